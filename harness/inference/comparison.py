"""Two arms that were trained on the same replicas, compared pair by pair through the log-ratio of their costs.

Updates to target are compared in the same way. +inf (or NaN) marks a replica that diverged or missed the target.
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from harness.inference.intervals import ROUNDING, SIGNIFICANCE, Array, Interval, censored, geometric_mean_ratio
from harness.inference.p_values import equivalence_p, sign_flip_p

POWER = 0.8  # of the number of seeds that an unresolved comparison asks for
FEWEST_PAIRS = 6  # the smallest n at which a two-sided sign-flip test can reach p < .05


@dataclass(frozen=True)
class Comparison:
    """The result of comparing arms a and b.

    ratio: geometric mean of a/b over the usable pairs. p: of a ratio of 1. equivalence_p: of one outside the margin.
    verdict: "a lower", "b lower", "equivalent" or "unresolved". seeds_needed: a rough number of pairs that would
    resolve an unresolved comparison; None if it is resolved, or if fewer than two pairs are usable. pairs, dropped:
    numbers of usable and unusable pairs. diverged: numbers of replicas of a and of b at +inf.
    by_divergence: the verdict rests on one arm having diverged in most replicas, not on the ratio.
    """

    ratio: Interval
    p: float
    equivalence_p: float
    verdict: str
    seeds_needed: int | None
    pairs: int
    dropped: int
    diverged: tuple[int, int]
    by_divergence: bool


def compare(costs_a: ArrayLike, costs_b: ArrayLike, margin: float, rng: np.random.Generator) -> Comparison:
    """Arms a and b, costs (R,) of the same replicas in the same order, +inf (or NaN) where one diverged.

    Pairs of two finite, positive costs are compared; the others are counted. An arm that diverged in more than half of
    its replicas loses against one that did not; if both did, the verdict is "unresolved". Otherwise, in this order:
    "equivalent" if the ratio is within the margin at p ≤ .05, even if a smaller difference is significant, or if all
    pairs are equal to rounding, however few (chance does not do that); "a lower" or "b lower" at p < .05 with 1 outside
    the ratio's interval. A minority of diverged replicas does not change the ratio: read it together with `diverged`.
    """
    a, b = censored(costs_a), censored(costs_b)
    usable = np.isfinite(a) & np.isfinite(b) & (a > 0) & (b > 0)
    log_ratios = np.log(a[usable]) - np.log(b[usable])
    diverged = int(np.isinf(a).sum()), int(np.isinf(b).sum())
    lost_a, lost_b = (2 * count > len(a) for count in diverged)
    ratio, p = geometric_mean_ratio(log_ratios, rng), sign_flip_p(log_ratios, rng)
    same = equivalence_p(log_ratios, margin, rng)
    if lost_a or lost_b:
        verdict = "unresolved" if lost_a and lost_b else "b lower" if lost_a else "a lower"
    else:
        verdict = _verdict(log_ratios, ratio, p, same)
    return Comparison(
        ratio=ratio,
        p=p,
        equivalence_p=same,
        verdict=verdict,
        seeds_needed=seeds_needed(log_ratios, margin) if verdict == "unresolved" else None,
        pairs=len(log_ratios),
        dropped=len(a) - len(log_ratios),
        diverged=diverged,
        by_divergence=lost_a != lost_b,
    )


def _verdict(log_ratios: Array, ratio: Interval, p: float, same: float) -> str:
    identical = len(log_ratios) > 0 and np.abs(log_ratios).max() <= ROUNDING
    if identical or same <= SIGNIFICANCE:
        return "equivalent"
    if p < SIGNIFICANCE and ratio.high < 1:
        return "a lower"
    if p < SIGNIFICANCE and ratio.low > 1:
        return "b lower"
    return "unresolved"


def seeds_needed(log_ratios: ArrayLike, margin: float) -> int | None:
    """Pairs that would show, with power .8, a difference or an equivalence as large as these log-ratios (n,) suggest.

    Normal approximation, mean m and standard deviation s: (z_.975 + z_.8)² s²/m² for the difference, and
    (z_.95 + z_.9)² s²/(log(1 + margin) − |m|)² for the equivalence; the smaller of the two, but more than n.
    m and s are estimates, so the result is right within a factor of a few. None if there are fewer than two pairs.
    """
    values, z = np.asarray(log_ratios, dtype=np.float64), NormalDist().inv_cdf
    if len(values) < 2:
        return None
    mean, spread = abs(values.mean()), values.std(ddof=1)
    room = np.log1p(margin) - mean
    with np.errstate(divide="ignore", invalid="ignore"):
        difference = np.square((z(1 - SIGNIFICANCE / 2) + z(POWER)) * spread / mean)
        equivalence = np.square((z(1 - SIGNIFICANCE) + z((1 + POWER) / 2)) * spread / room) if room > 0 else np.inf
    return int(np.ceil(max(FEWEST_PAIRS, len(values) + 1, float(np.fmin(difference, equivalence)))))
