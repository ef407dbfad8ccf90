"""What the fits over batch sizes share: their status, medians over resampled replicas, the vertex of a parabola.

A cell's number is the median over its replicas, with diverged and not reached as +inf. Intervals come from drawing
replicas anew, the same ones in every cell: what a replica has in common in all cells (its split, its initial weights)
then cancels as it does in the data.
"""

from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.inference.intervals import Array, Interval, censored, percentile_interval

Flags = NDArray[np.bool_]

RESAMPLES = 1999
FEWEST_CELLS = 3  # batch sizes: a line of two parameters fits any two points
FEWEST_REPLICAS = 5  # percentiles of resampled medians cover 75 % of the time from three replicas, 95 % from five


class Status(StrEnum):
    """Whether the sweep supports a fit."""

    RESOLVED = "resolved"
    FEW_CELLS = "unresolved: fewer than three batch sizes are sure to have a value"
    FEW_REPLICAS = "unresolved: fewer than five replicas"
    MAYBE_BELOW = "unresolved: B_crit may be below the smallest batch size"
    MAYBE_ABOVE = "unresolved: B_crit may be above the largest batch size"
    UNBOUNDED = "unresolved: B_crit is not bounded on either side by the batch sizes"
    AT_EDGE = "unresolved: a best learning rate is at the edge of its grid"


def resampled_medians(values: Array, rng: np.random.Generator) -> Array:
    """(K + 1, C) medians of values (C, R) over replicas: of all R first, then of K draws of R replicas each."""
    n_replicas = values.shape[-1]
    draws = rng.integers(n_replicas, size=(RESAMPLES, n_replicas))
    draws = np.vstack([np.arange(n_replicas), draws])
    with np.errstate(invalid="ignore"):
        return np.median(values[:, draws], axis=-1).T


def bootstrap_interval(estimates: Array, n_replicas: int) -> Interval:
    """From (K + 1,): the estimate, then its bootstrap draws. NaN limits for fewer than five replicas."""
    draws = estimates[1:] if n_replicas >= FEWEST_REPLICAS else np.full(1, np.nan)
    return percentile_interval(estimates[0], draws)


def censored_log(values: ArrayLike) -> Array:
    """log of the values, with NaN as +inf; −inf for 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(censored(values))


def vertex(x: Array, y: Array) -> tuple[Array, Flags]:
    """Where each row of y (K, G) over ascending x (G,) is lowest, (K,), and whether that is a vertex.

    The vertex of the parabola through the lowest point and its two neighbours, at most half a step from that point; the
    point itself at either end, where a neighbour is not finite, and where the three are level.
    """
    lowest = y.argmin(axis=1)
    if len(x) < 3:
        return x[lowest], np.zeros(len(y), dtype=bool)
    middle, row = np.clip(lowest, 1, len(x) - 2), np.arange(len(y))
    x0, x1, x2 = (x[middle + step] for step in (-1, 0, 1))
    y0, y1, y2 = (y[row, middle + step] for step in (-1, 0, 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        left, right = (y1 - y0) / (x1 - x0), (y2 - y1) / (x2 - x1)
        place = (x0 + x1) / 2 - left * (x2 - x0) / (right - left) / 2
        smooth = (lowest == middle) & np.isfinite(left) & np.isfinite(right) & (right > left)
    return np.where(smooth, place, x[lowest]), smooth
