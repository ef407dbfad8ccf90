"""A family of comparisons: each of two arms that were trained on the same replicas, through their log-ratios of costs.

Updates to target are compared in the same way. +inf (or NaN) marks a replica that diverged or missed the target.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import NormalDist
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from harness.inference.intervals import ROUNDING, SIGNIFICANCE, Array, Interval, censored, geometric_mean_ratio
from harness.inference.looks import samples_at, sequential_p
from harness.inference.sign_flips import difference_p, equivalence_p, fewest_pairs, holm, scores, shifts

K = TypeVar("K")

z = NormalDist().inv_cdf
POWER = 0.8  # of the number of seeds that an unresolved comparison asks for
LUCK = z(1 - SIGNIFICANCE / 2)  # standard errors from a mean to the end of its interval


@dataclass(frozen=True)
class Comparison:
    """The result of comparing arms a and b, as one of a family of comparisons.

    ratio: geometric mean of a/b over the finite pairs. p: of a ratio of 1, equivalence_p: of one outside the margin,
    both corrected for looks and for the family (Holm); 1 and 0 where all pairs are equal to rounding, which is no
    chance.
    verdict: "a lower", "b lower", "equivalent" or "unresolved".
    pairs: that tell something; dropped: that do not, as both arms were lost. finite: pairs in which neither was lost.
    diverged: numbers of replicas of a and of b at +inf.
    seeds_needed: a rough number of replicas that would resolve it at the corrected level; None if it is resolved or
    nothing can be estimated. seeds_hoped: likewise if the mean is at the end of its 95 % interval that is easier to
    resolve. fewest_pairs: that could resolve any comparison of this family; None: no number can.
    margin: of the equivalence.
    """

    ratio: Interval
    p: float
    equivalence_p: float
    verdict: str
    seeds_needed: int | None
    seeds_hoped: int | None
    pairs: int
    finite: int
    dropped: int
    diverged: tuple[int, int]
    fewest_pairs: int | None
    margin: float

    @property
    def only_a_tie(self) -> bool:
        """Whether so many seeds as are needed can show a tie, but have too few pairs for any difference."""
        n_replicas, needed = self.pairs + self.dropped, self.seeds_needed
        return needed is not None and needed * self.pairs < (self.fewest_pairs or math.inf) * n_replicas


class Levels(NamedTuple):
    """Largest p at which a difference, and an equivalence, is claimed after all corrections."""

    difference: float
    equivalence: float


def compare_family(
    arms: Mapping[K, tuple[ArrayLike, ArrayLike]], margin: float, looks: Sequence[int] = ()
) -> dict[K, Comparison]:
    """Arms a and b of each comparison, costs (R,) ≥ 0 of the same replicas in the same order, +inf (or NaN) if lost.

    Of an arm with more replicas than the other the first ones are compared. looks: planned numbers of replicas (see
    `plan_looks`) while replicas are added to arms for as long as these comparisons are unresolved.

    One family of claims: at most 5 % of families without any effect get a false "a lower" or "b lower", and at most
    5 % of families at the margin a false "equivalent". A loss counts against its arm: a pair with one lost arm is as
    far out as can be. Two lost arms tell nothing. Identical arms are in the family, too: it is planned before anybody
    knows them. A cost of 0 equals another one and is infinitely lower than any else.
    In this order: "equivalent" if all pairs are equal to rounding, however few, or if the ratio is within the margin
    at p ≤ .05; "a lower" or "b lower" at p ≤ .05.
    """
    paired = {key: _paired(*both) for key, both in arms.items()}
    ratios = {key: [log_ratios(*pairs.T) for pairs in samples_at(own, looks)] for key, own in paired.items()}
    share = SIGNIFICANCE / max(1, len(looks))
    differ, same = (
        holm([surely if _identical(own[-1]) else sequential_p(test, own, len(looks) or 1) for own in ratios.values()])
        for test, surely in ((difference_p, 1), (partial(equivalence_p, margin=margin), 0))
    )
    levels = Levels(*(share / max(1, int(np.sum(own > SIGNIFICANCE))) for own in (differ, same)))
    fewest, found = fewest_pairs(len(ratios), share), {}
    for (key, (*_, own)), p, q in zip(ratios.items(), differ.tolist(), same.tolist(), strict=True):
        finite = own[np.isfinite(own)]
        verdict, n_replicas = _verdict(ratios[key], p, q), len(paired[key])
        more = [seeds_needed(own, n_replicas, margin, levels, luck, fewest) for luck in (0, LUCK)]
        needed, hoped = more if verdict == "unresolved" else (None, None)
        diverged = int(np.isinf(paired[key][:, 0]).sum()), int(np.isinf(paired[key][:, 1]).sum())
        sizes, ratio = (len(own), len(finite), n_replicas - len(own)), geometric_mean_ratio(finite)
        found[key] = Comparison(ratio, p, q, verdict, needed, hoped, *sizes, diverged, fewest, margin)
    return found


def _paired(costs_a: ArrayLike, costs_b: ArrayLike) -> Array:
    """(R, 2): the costs of the replicas that both arms have."""
    a, b = censored(costs_a), censored(costs_b)
    n = min(len(a), len(b))
    return np.stack([a[:n], b[:n]], axis=1)


def log_ratios(a: Array, b: Array) -> Array:
    """log a/b of the pairs (R,) that tell something: ±inf where one arm was lost or is 0, 0 where both are 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.where((a == 0) & (b == 0), 0.0, np.log(a) - np.log(b))
    return ratios[~np.isnan(ratios)]


def _identical(log_ratios: Array) -> bool:
    return len(log_ratios) > 0 and bool(np.abs(log_ratios).max() <= ROUNDING)


def _verdict(at_looks: Sequence[Array], p: float, same: float) -> str:
    """The direction is that of the look with the smallest p."""
    if same <= SIGNIFICANCE:
        return "equivalent"
    if p > SIGNIFICANCE:
        return "unresolved"
    return "a lower" if scores(min(at_looks, key=difference_p)).mean() < 0 else "b lower"


def seeds_needed(
    log_ratios: Array, n_replicas: int, margin: float, levels: Levels, luck: float = 0.0, fewest: int | None = 0
) -> int | None:
    """Replicas that would show, with power .8, a difference or an equivalence as large as these pairs (n,) suggest.

    levels: after correction for looks and family (what Holm leaves of it). From the normal approximation, with mean m
    and standard deviation s of the scores: (z_{1−level/2} + z_.8)² s²/m² for a difference, (z_{1−level} + z_.9)² s²/m²
    for an equivalence (with the distances from the nearer end of the margin), both + z²/2 because s is estimated, both
    at least the fewest pairs at that level; the smaller, and more than there were; n_replicas/n of them for each pair.
    m and s are estimates: right within a factor of a few. luck: standard errors that are added to m. fewest: pairs for
    a difference in this family (None: no number is enough).
    None: fewer than two pairs, or no number is enough.
    """
    n = len(log_ratios)
    if n < 2:
        return None
    own = scores(log_ratios)
    to_differ = _pairs_needed(own * np.sign(own.mean()), levels.difference / 2, POWER, luck)
    ends = [scores(distances) for distances in shifts(log_ratios, margin)]
    to_equal = max(_pairs_needed(end, levels.equivalence, (1 + POWER) / 2, luck) for end in ends)
    floors = fewest_pairs(1, levels.difference), fewest_pairs(1, levels.equivalence, sides=1)
    to_differ = max(to_differ, math.inf if fewest is None else fewest)
    needed = min(max(need, floor or math.inf) for need, floor in zip((to_differ, to_equal), floors, strict=True))
    return math.ceil(max(n + 1, math.ceil(needed)) * n_replicas / n) if math.isfinite(needed) else None


def _pairs_needed(own: Array, tail: float, power: float, luck: float) -> float:
    """Pairs at which a sum of such scores lies in the upper tail of this probability; never if their mean is ≤ 0."""
    spread = float(own.std(ddof=1))
    mean = own.mean() + luck * spread / math.sqrt(len(own))
    if mean <= 0:
        return math.inf
    relative_spread = spread / mean
    return ((z(1 - tail) + z(power)) * relative_spread) ** 2 + z(1 - tail) ** 2 / 2
