"""Exact tests of paired differences by sign flips, Holm's correction, and the fewest pairs that can show anything.

If there is no effect, a difference is as likely to have one sign as the other. So p is the share of sign patterns under
which the sum is at least as far out as it is (Fisher 1935). No random numbers are needed.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from harness.inference.intervals import ROUNDING, SIGNIFICANCE, Array

FLIPS = 16  # 2^FLIPS sign patterns at most


def scores(log_ratios: ArrayLike) -> Array:
    """What the tests sum: the log-ratios (n,) if all are finite; else their signed ranks, infinite ones highest.

    ±inf stands for a pair of which one arm was lost. Ranks are those of Wilcoxon (1945), ties at their middle rank,
    with zeros ranked and then scored 0 (Pratt 1959). Which pairs are infinite does not change when signs flip, so a
    test by sign flips is exact with either.
    """
    values = np.asarray(log_ratios, dtype=np.float64)
    if np.isfinite(values).all():
        return values
    size = np.abs(values).round(-round(math.log10(ROUNDING)))
    ordered = np.sort(size)
    ranks = (np.searchsorted(ordered, size, "left") + np.searchsorted(ordered, size, "right") + 1) / 2
    return np.where(size == 0, 0.0, np.sign(values) * ranks)


def _patterns(n: int) -> list[int]:
    """FLIPS bits for each pair: sign pattern s flips pair i if s & pattern_i has an odd number of ones."""
    return [1 << i if i < FLIPS else pow(3, i, (1 << FLIPS) + 1) for i in range(n)]


def flipped_sums(differences: Array) -> Array:
    """Sums of differences (n,) under sign patterns, first the one without flips: (2^min(n, 16),).

    Up to n = 16 all 2^n patterns. Beyond, 2^16 that form a group: the test stays exact and needs no random numbers
    (Koning and Hemerik 2023). The sums are a Walsh-Hadamard transform.
    """
    bits = min(len(differences), FLIPS)
    sums = np.zeros(2**bits)
    np.add.at(sums, _patterns(len(differences)), differences)
    for _ in range(bits):
        even, odd = sums[::2], sums[1::2]
        sums = np.concatenate([even + odd, even - odd])
    return sums


def flip_p(differences: ArrayLike, two_sided: bool = True) -> float:
    """p of mean = 0, or one-sided of mean ≤ 0, of paired differences (n,): the share of flips as far out.

    Up to n = 16 never below 2/2^n, one-sided 1/2^n: five pairs cannot give p < .05. Assumes that the differences are
    independent and, if there is no effect, symmetric around 0.
    """
    values = np.asarray(differences, dtype=np.float64)
    sums = flipped_sums(values)
    sums = np.abs(sums) if two_sided else sums
    return float(np.mean(sums >= sums[0] - ROUNDING * np.abs(values).sum()))


def difference_p(log_ratios: ArrayLike) -> float:
    """Two-sided p of a ratio of 1, of log-ratios (n,), which may be infinite."""
    return flip_p(scores(log_ratios))


def equivalence_p(log_ratios: ArrayLike, margin: float) -> float:
    """p of a ratio outside [1/(1 + margin), 1 + margin], of log-ratios (n,), which may be infinite.

    Two one-sided tests (Schuirmann 1987): the larger p of mean ≤ −log(1 + margin) and of mean ≥ log(1 + margin).
    """
    return max(flip_p(scores(shifted), two_sided=False) for shifted in shifts(log_ratios, margin))


def shifts(log_ratios: ArrayLike, margin: float) -> tuple[Array, Array]:
    """Distances (n,) above the lower and below the upper end of the margin; equivalence: both are positive."""
    values, limit = np.asarray(log_ratios, dtype=np.float64), np.log1p(margin)
    return limit + values, limit - values


def holm(p_values: ArrayLike) -> Array:
    """p-values (m,) adjusted because they are m claims of one family, in the given order (Holm 1979); skips NaN."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p)[: np.count_nonzero(~np.isnan(p))]
    adjusted = np.full_like(p, np.nan)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)))
    return adjusted


def fewest_pairs(n_comparisons: int, level: float = SIGNIFICANCE, sides: int = 2) -> int | None:
    """The smallest n at which one of n_comparisons can be claimed at all: n_comparisons × sides/2^n ≤ level.

    sides: 2 for a difference, 1 for an equivalence. None if 2^16 sign patterns are too few for such a family.
    """
    n = math.ceil(math.log2(max(1, n_comparisons) * sides / level))
    return n if n <= FLIPS else None
