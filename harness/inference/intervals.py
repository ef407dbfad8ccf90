"""Intervals for means, medians, proportions and ratios over replicas.

+inf stands for a cost after divergence and for a target that was not reached; NaN is read as +inf. Distributions are
those of scipy.special, imported by the first call: scipy.stats, which has them too, takes 0.3 s to be imported.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.floating]

SIGNIFICANCE = 0.05
CONFIDENCE = 1 - SIGNIFICANCE
CENTRAL = (SIGNIFICANCE / 2, 1 - SIGNIFICANCE / 2)  # the quantiles that enclose the central 95 %
FEWEST_VALUES = 3  # two values have three resamples: no interval
ROUNDING = 1e-12  # log-ratios closer than this are equal


@dataclass(frozen=True)
class Interval:
    """An estimate, and limits that cover the true value with probability `confidence`; NaN with too few replicas."""

    estimate: float
    low: float
    high: float
    confidence: float = CONFIDENCE

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


UNKNOWN = Interval(np.nan, np.nan, np.nan)


def as_ratio(effect: Interval) -> Interval:
    """exp of an effect and of its limits: the effect lies in [a, b] where this lies in [exp(a), exp(b)]."""
    return Interval(*(float(np.exp(value)) for value in (effect.estimate, effect.low, effect.high)))


def censored(values: ArrayLike) -> Array:
    """The values in float64, with NaN (diverged or not reached) as +inf."""
    values = np.asarray(values, dtype=np.float64)
    return np.where(np.isnan(values), np.inf, values)


def geometric_mean_ratio(log_ratios: ArrayLike) -> Interval:
    """exp(mean(log_ratios)) of finite log-ratios (n,), with the limits of `mean_interval`.

    Simulated coverage at n = 6, 10 and 20: 95 % of normal log-ratios, 97 % of symmetric ones with heavy tails (t with 2
    degrees of freedom), 89 to 92 % of exponential ones. BCa limits cover 84 % of normal ones at n = 5, 90 % at 10.
    """
    mean = mean_interval(log_ratios)
    with np.errstate(over="ignore"):
        return Interval(*(float(np.exp(value)) for value in (mean.estimate, mean.low, mean.high)))


def paired_ratio(a: ArrayLike, b: ArrayLike) -> Interval:
    """a/b of arms (R,) of the same replicas, +inf (or NaN) where a replica was lost: what a band is held against.

    Without losses that of `geometric_mean_ratio`. With losses the median of the pairs, and order statistics as limits:
    a loss is as far out as can be against its arm, and a pair that lost both as far out on both sides. NaN limits of
    fewer than six pairs then, because order statistics of five do not reach 95 %.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = censored(a) / censored(b)
    if (np.isfinite(ratios) & (ratios > 0)).all():
        return geometric_mean_ratio(np.log(ratios))
    low, high = (median_interval(np.where(np.isnan(ratios), end, ratios)) for end in (0.0, np.inf))
    middle = median_interval(ratios[~np.isnan(ratios)]).estimate
    return Interval(middle, *((low.low, high.high) if low.confidence >= CONFIDENCE else (np.nan, np.nan)))


def mean_interval(values: ArrayLike, confidence: float = CONFIDENCE) -> Interval:
    """The mean of values (n,) with Student's limits; NaN limits of fewer than three values, or if one is not finite."""
    from scipy.special import stdtrit

    sample = np.asarray(values, dtype=np.float64)
    mean = float(sample.mean()) if len(sample) else np.nan
    if len(sample) < FEWEST_VALUES or not np.isfinite(mean):
        return Interval(mean, np.nan, np.nan, confidence)
    error = sample.std(ddof=1) / np.sqrt(len(sample))
    half = float(stdtrit(len(sample) - 1, (1 + confidence) / 2) * error)
    return Interval(mean, mean - half, mean + half, confidence)


def proportion(count: int, n: int) -> Interval:
    """count / n with the exact limits of Clopper and Pearson (1934); without trials the limits are 0 and 1."""
    from scipy.special import betaincinv

    if n == 0:
        return Interval(np.nan, 0.0, 1.0)
    low = betaincinv(count, n - count + 1, CENTRAL[0]) if count else 0.0
    high = betaincinv(count + 1, n - count, CENTRAL[1]) if count < n else 1.0
    return Interval(count / n, float(low), float(high))


def median_interval(values: ArrayLike) -> Interval:
    """The median of values (n,) and the two order statistics that cover the true median of any distribution.

    The limits are the k-th smallest and the k-th largest value, with the largest k for which they miss the true median
    with 2 P(Bin(n, ½) < k) ≤ .05; `confidence` is the exact coverage. Fewer than six values cannot reach 95 %: then k
    is 1 and `confidence` is lower (.9375 for five values, .75 for three, 0 for one).
    """
    ranked = np.sort(censored(values))
    n = len(ranked)
    if n == 0:
        return Interval(np.nan, np.nan, np.nan, 0.0)
    k, confidence = _rank_of_limits(n)
    return Interval(float(np.median(ranked)), float(ranked[k - 1]), float(ranked[n - k]), confidence)


def median_intervals(samples: Sequence[Array]) -> Array:
    """(3, C): the median and the limits of `median_interval` of each of C samples, which may differ in their length."""
    found = np.full((3, len(samples)), np.nan)
    lengths = np.array([len(sample) for sample in samples], dtype=int)
    for n in np.unique(lengths[lengths > 0]):
        alike = np.flatnonzero(lengths == n).tolist()
        ranked = np.sort(censored([samples[i] for i in alike]), axis=1)
        k, _ = _rank_of_limits(int(n))
        found[:, alike] = np.median(ranked, axis=1), ranked[:, k - 1], ranked[:, n - k]
    return found


@cache
def _rank_of_limits(n: int) -> tuple[int, float]:
    """k and the confidence for n values; cached because a report needs it a thousand times."""
    from scipy.special import bdtr

    below = bdtr(np.arange(n + 1), n, 0.5)  # P(Bin(n, ½) <= k)
    k = max(1, int(np.searchsorted(below, SIGNIFICANCE / 2)))
    return k, float(1 - 2 * below[k - 1])


def percentile_interval(estimate: float, draws: Array) -> Interval:
    """The central 95 % of bootstrap draws (K,), which may be infinite; NaN limits if over 5 % of them are NaN."""
    known = draws[~np.isnan(draws)]
    if len(known) < CONFIDENCE * len(draws):
        return Interval(float(estimate), np.nan, np.nan)
    low, high = np.quantile(known, CENTRAL, method="inverted_cdf")
    return Interval(float(estimate), float(low), float(high))
