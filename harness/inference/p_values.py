"""p-values of paired differences by sign flips, and their correction for several claims (Holm).

scipy is imported by the first call, not with the module: the import takes a second.
"""

import numpy as np
from numpy.typing import ArrayLike

from harness.inference.intervals import Array

ENUMERATED_PAIRS = 16  # up to which all 2^n sign patterns are tried; beyond, 2^16 random ones


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
    The margin says which differences are too small to matter; it has to be fixed before the costs are seen.
    """
    values, limit = np.asarray(log_ratios, dtype=np.float64), np.log1p(margin)
    return max(_mean_p(values + limit, "greater", rng), _mean_p(values - limit, "less", rng))


def _mean_p(values: Array, alternative: str, rng: np.random.Generator) -> float:
    """p of the mean of `values` (n,) among its means under flipped signs; 1 for fewer than two values."""
    from scipy import stats

    if len(values) < 2:
        return 1.0
    n_resamples = 2**ENUMERATED_PAIRS
    test = stats.permutation_test(
        (values,), np.mean, permutation_type="samples", alternative=alternative, n_resamples=n_resamples, rng=rng
    )
    return float(test.pvalue)


def holm(p_values: ArrayLike) -> Array:
    """p-values (m,) adjusted because they are m claims of one study, in the given order (Holm 1979); skips NaN."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p)[: np.count_nonzero(~np.isnan(p))]
    adjusted = np.full_like(p, np.nan)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)))
    return adjusted
