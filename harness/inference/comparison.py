"""A family of comparisons: each of two arms that were trained on the same replicas, through their log-ratios of costs.

Updates to target are compared in the same way. +inf (or NaN) marks a replica that diverged or missed the target.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from harness.inference.intervals import ROUNDING, SIGNIFICANCE, Array, Interval, censored, geometric_mean_ratio
from harness.inference.sign_flips import difference_p, equivalence_p, fewest_pairs, holm, scores, shifts

K = TypeVar("K")

POWER = 0.8  # of the number of seeds that an unresolved comparison asks for
z = NormalDist().inv_cdf


@dataclass(frozen=True)
class Comparison:
    """The result of comparing arms a and b, as one of a family of comparisons.

    ratio: geometric mean of a/b over the finite pairs. p: of a ratio of 1, equivalence_p: of one outside the margin,
    both with Holm's correction for the family; 1 and 0 where all pairs are equal to rounding, which is no chance.
    verdict: "a lower", "b lower", "equivalent" or "unresolved".
    pairs: that tell something; dropped: that do not, as both arms were lost. finite: pairs in which neither was lost.
    diverged: numbers of replicas of a and of b at +inf.
    seeds_needed: a rough number of replicas that would resolve it at the corrected level; None if it is resolved or
    nothing can be estimated. fewest_pairs: that could resolve any comparison of this family; None: no number can.
    """

    ratio: Interval
    p: float
    equivalence_p: float
    verdict: str
    seeds_needed: int | None
    pairs: int
    finite: int
    dropped: int
    diverged: tuple[int, int]
    fewest_pairs: int | None


class Levels(NamedTuple):
    """Largest p at which a difference, and an equivalence, is claimed after all corrections."""

    difference: float
    equivalence: float


def compare_family(
    arms: Mapping[K, tuple[ArrayLike, ArrayLike]], margin: float, rng: np.random.Generator
) -> dict[K, Comparison]:
    """Arms a and b of each comparison, costs (R,) ≥ 0 of the same replicas in the same order, +inf (or NaN) if lost.

    One family of claims: at most 5 % of families without any effect get a false "a lower" or "b lower", and at most
    5 % of families at the margin a false "equivalent". A loss counts against its arm: a pair with one lost arm is as
    far out as can be. Two lost arms tell nothing. A cost of 0 equals another one and is infinitely lower than any else.
    In this order: "equivalent" if all pairs are equal to rounding, however few, or if the ratio is within the margin
    at p ≤ .05; "a lower" or "b lower" at p ≤ .05. rng: for the interval of the ratio only.
    """
    ratios = {key: log_ratios(a, b) for key, (a, b) in arms.items()}
    tested = {key: own for key, own in ratios.items() if not _identical(own)}
    differ = dict(zip(tested, holm([difference_p(own) for own in tested.values()]).tolist(), strict=True))
    same = dict(zip(tested, holm([equivalence_p(own, margin) for own in tested.values()]).tolist(), strict=True))
    levels = Levels(*(SIGNIFICANCE / max(1, sum(p > SIGNIFICANCE for p in own.values())) for own in (differ, same)))
    fewest, found = fewest_pairs(len(tested)), {}
    for key, own in ratios.items():
        a, b = (censored(arm) for arm in arms[key])
        p, q, finite = differ.get(key, 1.0), same.get(key, 0.0), own[np.isfinite(own)]
        verdict = _verdict(own, p, q)
        needed = seeds_needed(own, len(a), margin, levels) if verdict == "unresolved" else None
        diverged = int(np.isinf(a).sum()), int(np.isinf(b).sum())
        sizes = len(own), len(finite), len(a) - len(own)
        found[key] = Comparison(geometric_mean_ratio(finite, rng), p, q, verdict, needed, *sizes, diverged, fewest)
    return found


def log_ratios(costs_a: ArrayLike, costs_b: ArrayLike) -> Array:
    """log a/b of the pairs (R,) that tell something: ±inf where one arm was lost or is 0, 0 where both are 0."""
    a, b = censored(costs_a), censored(costs_b)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.where((a == 0) & (b == 0), 0.0, np.log(a) - np.log(b))
    return ratios[~np.isnan(ratios)]


def _identical(log_ratios: Array) -> bool:
    return len(log_ratios) > 0 and bool(np.abs(log_ratios).max() <= ROUNDING)


def _verdict(log_ratios: Array, p: float, same: float) -> str:
    if same <= SIGNIFICANCE:
        return "equivalent"
    if p > SIGNIFICANCE:
        return "unresolved"
    return "a lower" if scores(log_ratios).mean() < 0 else "b lower"


def seeds_needed(log_ratios: Array, n_replicas: int, margin: float, levels: Levels) -> int | None:
    """Replicas that would show, with power .8, a difference or an equivalence as large as these pairs (n,) suggest.

    levels: after correction for the family (what Holm leaves of it). From the normal approximation, with mean m and
    standard deviation s of the scores: (z_{1−level/2} + z_.8)² s²/m² for a difference, (z_{1−level} + z_.9)² s²/m² for
    an equivalence (with the distances from the nearer end of the margin), both + z²/2 because s is estimated, both at
    least the fewest pairs at that level; the smaller, and more than there were; n_replicas/n of them for each pair.
    m and s are estimates: right within a factor of a few. None: fewer than two pairs, or no number is enough.
    """
    n = len(log_ratios)
    if n < 2:
        return None
    own = scores(log_ratios)
    to_differ = _pairs_needed(own * np.sign(own.mean()), levels.difference / 2, POWER)
    ends = [scores(distances) for distances in shifts(log_ratios, margin)]
    to_equal = max(_pairs_needed(end, levels.equivalence, (1 + POWER) / 2) for end in ends)
    floors = fewest_pairs(1, levels.difference), fewest_pairs(1, levels.equivalence, sides=1)
    needed = min(max(need, floor or math.inf) for need, floor in zip((to_differ, to_equal), floors, strict=True))
    return math.ceil(max(n + 1, math.ceil(needed)) * n_replicas / n) if math.isfinite(needed) else None


def _pairs_needed(own: Array, tail: float, power: float) -> float:
    """Pairs at which a sum of such scores lies in the upper tail of this probability; never if their mean is ≤ 0."""
    if own.mean() <= 0:
        return math.inf
    relative_spread = float(own.std(ddof=1) / own.mean())
    return ((z(1 - tail) + z(power)) * relative_spread) ** 2 + z(1 - tail) ** 2 / 2
