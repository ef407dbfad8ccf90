"""Intervals from the subsets of the replicas: what an estimate would be if other replicas were left out.

An estimate that makes the sum of scores of the replicas zero, as a fit to their means does, is computed anew from each
subset. Where the errors are symmetric the true value lies between any two neighbours of the sorted results with the
same probability, however few replicas there are (typical values: Hartigan 1969, Journal of the American Statistical
Association 64, 1303). A bootstrap has that property for many replicas only.
"""

import numpy as np
from numpy.typing import NDArray

from harness.inference.intervals import CENTRAL, CONFIDENCE, Array, Interval

MOST_SUBSETS = 1023  # all of ten replicas; of more, drawn ones
FEWEST_REPLICAS = 6  # five have 31 subsets, too few for 2.5 % on either side


def subsets(n: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """(S, n): which of n replicas each subset has. All but the empty one, or MOST_SUBSETS drawn with probability ½."""
    if 2**n - 1 > MOST_SUBSETS:
        drawn = rng.random((MOST_SUBSETS, n)) < 0.5
        drawn[~drawn.any(axis=1)] = True
        return drawn
    return np.arange(1, 2**n)[:, None] >> np.arange(n) & 1 == 1


def subset_middles(values: Array, rng: np.random.Generator) -> Array:
    """(S + 1, C) middles of values (C, R) over replicas: of all R first, then of S subsets, the same ones in all rows.

    The middle is the mean; in a row with infinite values, which has none, the median.
    """
    chosen = subsets(values.shape[1], rng)
    finite = np.isfinite(values).all(axis=1)
    found = np.empty((1 + len(chosen), len(values)))
    found[0, finite] = values[finite].mean(axis=1)
    found[1:, finite] = (chosen / chosen.sum(axis=1, keepdims=True)) @ values[finite].T
    found[:, ~finite] = _medians(values[~finite], np.vstack([np.full(values.shape[1], True), chosen]))
    return found


def _medians(values: Array, chosen: NDArray[np.bool_]) -> Array:
    """(K, C) medians of values (C, R) over those that are chosen (K, R)."""
    ranked = np.sort(np.where(chosen[:, None], values, np.inf), axis=-1)
    n = chosen.sum(axis=1)[:, None, None]
    low, high = (np.take_along_axis(ranked, place, axis=-1)[..., 0] for place in ((n - 1) // 2, n // 2))
    with np.errstate(invalid="ignore"):
        return np.where(low == high, low, (low + high) / 2)


def copies(n_replicas: int) -> int:
    """How often each subset is to be repeated where a result has a random part, for about MOST_SUBSETS results."""
    return max(1, MOST_SUBSETS // (2**n_replicas - 1))


def subset_interval(estimates: Array, n_replicas: int) -> Interval:
    """From (K + 1,): the estimate, then the results of the subsets, each once or `copies` times.

    At most 2.5 % of the results lie beyond each limit: with 63 subsets one of them. Where results have a random part,
    the limits lie between two ranks, so that it is 2.5 %.

    NaN limits for fewer than six replicas, or if over 5 % of the results are NaN; other NaN are left out.
    """
    known = np.sort(estimates[1:][~np.isnan(estimates[1:])])
    if n_replicas < FEWEST_REPLICAS or len(known) < CONFIDENCE * (len(estimates) - 1):
        return Interval(float(estimates[0]), np.nan, np.nan)
    repeated = max(1, len(known) // (2**n_replicas - 1))
    rank = CENTRAL[0] * (len(known) // repeated + 1)
    part = rank % 1 if repeated > 1 else 0.0
    ends = [(known[repeated * k - 1], known[-repeated * k]) for k in (int(rank), int(rank) + 1)]
    low, high = (a + part * (b - a) if np.isfinite(a + b) else a for a, b in zip(*ends, strict=True))
    return Interval(float(estimates[0]), float(low), float(high))
