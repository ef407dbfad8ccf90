"""Two arms that were trained on the same replicas, compared pair by pair through the log-ratio of their costs.

Updates to target are compared in the same way. +inf (or NaN) marks a replica that diverged or missed the target.
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from harness.inference.intervals import ROUNDING, SIGNIFICANCE, Array, Interval, censored, geometric_mean_ratio

POWER = 0.8  # of the number of seeds that an unresolved comparison asks for
FEWEST_PAIRS = 6  # the smallest n at which a two-sided sign-flip test can reach p < .05
ENUMERATED_PAIRS = 16  # up to which all 2^n sign patterns are tried; beyond, 2^16 random ones


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
    "equivalent" if the ratio is within the margin at p ≤ .05, or if all pairs are equal to rounding, however few;
    "a lower" or "b lower" at p < .05 with 1 outside the ratio's interval.
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
    seeds, n = seeds_needed(log_ratios, margin) if verdict == "unresolved" else None, len(log_ratios)
    return Comparison(ratio, p, same, verdict, seeds, n, len(a) - n, diverged, by_divergence=lost_a != lost_b)


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
    (z_.95 + z_.9)² s²/(log(1 + margin) − |m|)² for the equivalence; the smaller of the two, but more than n. Right
    within a factor of a few. None if there are fewer than two pairs.
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


def sign_flip_p(differences: ArrayLike, rng: np.random.Generator) -> float:
    """Two-sided p of mean(differences) = 0 for paired `differences` (n,), such as log-ratios.

    Exact up to n = 16: the share of the 2^n sign patterns whose mean is at least as far from 0. So p is never below
    2/2^n: five pairs cannot give p < .05. Beyond, (k + 1)/(2^16 + 1) from 2^16 random patterns.
    Assumes that the differences are independent and, if there is no effect, symmetric around 0 (Fisher 1935).
    """
    return _mean_p(np.asarray(differences, dtype=np.float64), "two-sided", rng)


def equivalence_p(log_ratios: ArrayLike, margin: float, rng: np.random.Generator) -> float:
    """p of a geometric-mean ratio outside [1/(1 + margin), 1 + margin]: two one-sided sign-flip tests.

    The larger of the p of mean ≤ −log(1 + margin) and of mean ≥ log(1 + margin) (Schuirmann 1987); never below 2^−n.
    """
    values, limit = np.asarray(log_ratios, dtype=np.float64), np.log1p(margin)
    return max(_mean_p(values + limit, "greater", rng), _mean_p(values - limit, "less", rng))


def _mean_p(values: Array, alternative: str, rng: np.random.Generator) -> float:
    """p of the mean of `values` (n,) among its means under flipped signs; 1 for fewer than two values."""
    from scipy import stats

    if len(values) < 2:
        return 1.0
    options = {"permutation_type": "samples", "n_resamples": 2**ENUMERATED_PAIRS, "alternative": alternative}
    return float(stats.permutation_test((values,), np.mean, rng=rng, **options).pvalue)


def holm(p_values: ArrayLike) -> Array:
    """p-values (m,) adjusted because they are m claims of one study, in the given order (Holm 1979); skips NaN."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p)[: np.count_nonzero(~np.isnan(p))]
    adjusted = np.full_like(p, np.nan)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)))
    return adjusted
