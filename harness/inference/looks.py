"""When to test while replicas are added: looks (interim analyses), planned before the first replica is trained.

Each of L looks has an equal share of the error: a comparison is tested at level α/L by the first n₁, n₂, ... n_L
replicas of its arms. The probability of a false claim at any look is then at most α, however the looks depend on each
other (Bonferroni's bound). So L times the smallest p so far is a p-value at every look (a sequential p-value: Liu and
Anderson 2008), Holm's correction takes these as it takes others, and training may stop for any reason.

Equal shares were chosen by simulation: looks at 10, 20 and 40, one comparison, a ratio of 1.2, normal log-ratios of
standard deviation .2 (and .3). Claimed by the second look: .93 (.55), by the third: 1.00 (.91). Pocock's boundary,
which needs jointly normal means: .94 (.60), 1.00 (.93). O'Brien and Fleming's: .80 (.36), 1.00 (.96). A betting
martingale that is told the true effect and spread, valid at any time: .84 (.42), .99 (.82).
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from harness.inference.intervals import SIGNIFICANCE, Array
from harness.inference.sign_flips import fewest_pairs

FIRST = 10  # replicas at the first look, if these can resolve the family
STEP = 2  # each look has about this many times the replicas of the one before


def plan_looks(n_comparisons: int, at_most: int) -> tuple[int, ...]:
    """Numbers of replicas at which a family is tested, the last one at_most, each about twice the one before.

    The first look comes late enough for any of the n_comparisons to be resolved at it, if at_most allows that.
    """
    n_looks = _number_of_looks(FIRST, at_most)
    able = fewest_pairs(n_comparisons, SIGNIFICANCE / n_looks) or at_most
    first = min(max(FIRST, able), at_most)
    looks = np.geomspace(first, at_most, _number_of_looks(first, at_most))
    return (*(int(n) for n in looks[:-1].round()), at_most)


def _number_of_looks(first: int, at_most: int) -> int:
    return 1 + max(0, round(math.log(at_most / first, STEP)))


def samples_at(values: Array, looks: Sequence[int]) -> list[Array]:
    """The first replicas of values (R, ...) at each look up to R, and all R if they end between two. No looks: all."""
    return [values[:n] for n in sorted({min(n, len(values)) for n in looks or (len(values),)})]


def sequential_p(test: Callable[[ArrayLike], float], samples: Sequence[Array], n_looks: int) -> float:
    """The p-values of the looks so far as one that is valid whenever one stops, of n_looks planned ones."""
    return min(1.0, n_looks * min(map(test, samples)))
