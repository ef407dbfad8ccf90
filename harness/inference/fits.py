"""Fits over batch sizes: medians over resampled replicas, the vertex of a parabola, and S(B) = S_min (1 + B_crit/B).

Diverged and not reached are +inf. Intervals come from subsets of the replicas, the same ones in every cell, so that
what a replica has in common in all cells cancels.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.inference.intervals import UNKNOWN, Array, Interval, censored
from harness.inference.subsets import FEWEST_REPLICAS, copies, subset_interval, subset_middles

Flags = NDArray[np.bool_]

RESAMPLES = 1999
FEWEST_CELLS = 3  # batch sizes: a line of two parameters fits any two points
SEARCH_MARGIN = 100.0  # the search for B_crit goes beyond the sweep's batch sizes by this factor on either side
SEARCH_STEPS = 5  # grid points of that search per factor e in B_crit
REFINEMENTS = 4  # Gauss-Newton steps after it


class Status(StrEnum):
    """Whether the sweep supports a fit: RESOLVED, or why not."""

    RESOLVED = "resolved"
    FEW_CELLS = "it takes three or more batch sizes at which the value is known"
    FEW_REPLICAS = "fewer than six replicas"
    MAYBE_BELOW = "B_crit may be below the smallest batch size"
    MAYBE_ABOVE = "B_crit may be above the largest batch size"
    UNBOUNDED = "B_crit is not bounded on either side by the batch sizes"
    NOT_REACHED = "at a batch size no learning rate brings half of the replicas to the target"
    AT_EDGE = "a best learning rate is at the edge of its grid"
    ONE_RATE = "a batch size has a single learning rate, which is not tuned"
    STOPPED = "training stopped at a target, for each batch size after other epochs"
    COARSE = "beside a best learning rate none reaches the target: train longer, as one between may take far fewer"
    FEWER_RATES = "one batch size has more than twice as many learning rates as another"

    @property
    def text(self) -> str:
        """`resolved`, or `unresolved: ` and why."""
        return self.value if self is Status.RESOLVED else f"unresolved: {self.value}"


def resampled_medians(values: Array, rng: np.random.Generator) -> Array:
    """(K + 1, C) medians of values (C, R) over replicas: of all R first, then of K draws of R replicas each."""
    n_replicas = values.shape[-1]
    draws = np.vstack([np.arange(n_replicas), rng.integers(n_replicas, size=(RESAMPLES, n_replicas))])
    with np.errstate(invalid="ignore"):
        return np.median(values[:, draws], axis=-1).T


def censored_log(values: ArrayLike) -> Array:
    """log of the values, with NaN as +inf; −inf for 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(censored(values))


def vertex(x: Array, y: Array) -> tuple[Array, Flags]:
    """Where each row of y (K, G) over ascending x (G,) is lowest, (K,), and whether that is a vertex.

    The vertex of the parabola through the lowest point and its two neighbours; the point itself at either end, where a
    neighbour is not finite, and where the three are level.
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


@dataclass(frozen=True)
class BatchScaling:
    """S(B) = S_min (1 + B_crit/B): s_min in updates, b_crit in examples.

    slope: of log S over log B between the two smallest batch sizes fitted, −1 where doubling the batch halves the
    updates. rms: root mean square of the residuals of log S.
    """

    status: Status
    s_min: Interval
    b_crit: Interval
    slope: Interval
    rms: float


def fit_batch_scaling(
    batch_sizes: ArrayLike, updates: ArrayLike, rng: np.random.Generator, excess: ArrayLike = 0.0
) -> BatchScaling:
    """Least squares of log S = log S_min + log(1 + B_crit/B) on updates to target (C, R) at batch_sizes (C,).

    S is the geometric mean over the replicas, at a batch size where one did not reach the target (+inf or NaN) the
    median. The batch sizes differ from one another; those with an infinite S are left out. B_crit is 0 where S does not
    fall at all and +inf where it falls like 1/B to the end. It is resolved when its interval lies within the batch
    sizes fitted. If the learning rates were chosen on the same replicas, the intervals do not include the uncertainty
    of that choice.

    excess: (C,), how far log S may at most be above that of the best learning rate (`grid_excess`). The limits are
    those of S that is lower by a part of it, drawn evenly; the upper one of S_min is that of S as it is. Nothing is
    resolved if one is infinite.
    """
    order = np.argsort(batch_sizes)
    B, log_updates = np.asarray(batch_sizes, dtype=np.float64)[order], censored_log(updates)[order]
    log_s = subset_middles(log_updates, rng)
    usable = np.isfinite(log_s[0])
    if np.count_nonzero(usable) < FEWEST_CELLS:
        return BatchScaling(Status.FEW_CELLS, UNKNOWN, UNKNOWN, UNKNOWN, np.nan)
    B, log_s = B[usable], np.where(np.isfinite(log_s), log_s, np.nan)[:, usable]
    above, n_replicas = np.broadcast_to(excess, order.shape)[order][usable], log_updates.shape[1]
    *draws, rms = _parameters(B, log_s)
    s_min, b_crit, slope = (subset_interval(each, n_replicas) for each in draws)
    if above.any() and np.isfinite(above).all():
        again = np.r_[0, np.repeat(np.arange(1, len(log_s)), copies(n_replicas))]
        part = rng.uniform(0, above, (len(again), len(B)))
        part[0] = 0
        *draws, _ = _parameters(B, log_s[again] - part)
        lower, b_crit, slope = (subset_interval(each, n_replicas) for each in draws)
        s_min = replace(s_min, low=lower.low)
    status = _status(b_crit, B, n_replicas) if np.isfinite(above).all() else Status.COARSE
    return BatchScaling(status, s_min, b_crit, slope, float(rms[0]))


def _parameters(B: Array, log_s: Array) -> tuple[Array, Array, Array, Array]:
    """S_min, B_crit, the slope between the two smallest B, and the rms residual, each (K,)."""
    log_s_min, log_b_crit, rms = _least_squares(B, log_s)
    return np.exp(log_s_min), np.exp(log_b_crit), (log_s[:, 1] - log_s[:, 0]) / np.log(B[1] / B[0]), rms


def grid_excess(log_rates: Array, updates: Array, chosen: int) -> float:
    """How far log S at the rate `chosen` of a grid may be above that at the best rate, which lies beside it.

    log_rates (L,) ascending, updates (L, R). If log S is convex over log η, then between two rates it is above the two
    lines that come from the pairs of rates before and after. +inf where there is no such line, as none reached the
    target, and where one is reached at once.
    """
    log_updates = censored_log(updates)
    if np.isneginf(log_updates).any():  # a training that begins at the target
        return np.inf
    mean = log_updates.mean(axis=1)
    y = np.pad(np.where(np.isfinite(mean), mean, np.median(log_updates, axis=1)), 2, constant_values=np.inf)
    x = np.pad(log_rates, 2, constant_values=(-np.inf, np.inf))
    least = [_least_between(x[first : first + 4], y[first : first + 4]) for first in (chosen, chosen + 1)]
    return max(0.0, float(y[chosen + 2] - min(least)))


def _least_between(x: Array, y: Array) -> float:
    """The lowest value that a convex function through four points can have between the middle two."""
    with np.errstate(divide="ignore", invalid="ignore"):
        falls, rises = (y[1] - y[0]) / (x[1] - x[0]), (y[3] - y[2]) / (x[3] - x[2])
        places = np.array([x[1], x[2], (y[2] - rises * x[2] - y[1] + falls * x[1]) / (falls - rises)])
        before, after = y[1] + falls * (places - x[1]), y[2] + rises * (places - x[2])
    lines = np.maximum(*(np.where(np.isfinite(line), line, -np.inf) for line in (before, after)))
    return float(lines[(places >= x[1]) & (places <= x[2])].min())


def _least_squares(B: Array, log_s: Array) -> tuple[Array, Array, Array]:
    """log S_min, log B_crit and the rms residual, each (K,), for log_s (K, C); NaN cells are left out.

    Given B_crit the best log S_min is a mean, so the search is along log B_crit alone: over an even grid, whose ends
    stand for −inf and +inf, then by Gauss and Newton's steps. All K fits at once, because scipy's fit of one takes a
    millisecond. NaN for fewer than three cells.
    """
    n = np.maximum(1, np.count_nonzero(~np.isnan(log_s), axis=1))
    low, high = np.log([B[0] / SEARCH_MARGIN, B[-1] * SEARCH_MARGIN])
    grid = np.linspace(low, high, 1 + int(SEARCH_STEPS * (high - low)))
    place, _ = vertex(grid, _squares(np.log1p(np.exp(grid)[:, None] / B), log_s))
    place = _refined(place, B, log_s, (grid[0], grid[-1]))
    place = np.where(place == grid[0], -np.inf, place)
    residuals = log_s - np.log1p(np.exp(place)[:, None] / B)
    mean = np.nansum(residuals, axis=1) / n
    rms = np.sqrt(np.nansum(np.square(residuals - mean[:, None]), axis=1) / n)
    straight, few = place == grid[-1], n < FEWEST_CELLS
    log_s_min, log_b_crit = np.where(straight, -np.inf, mean), np.where(straight, np.inf, place)
    return np.where(few, np.nan, log_s_min), np.where(few, np.nan, log_b_crit), rms


def _refined(place: Array, B: Array, log_s: Array, ends: tuple[float, float]) -> Array:
    """log B_crit (K,) where the squares are least, within a step of the search from `place`; the ends stay."""
    known, within = ~np.isnan(log_s), (place > ends[0]) & (place < ends[1])
    n, found = np.maximum(1, known.sum(axis=1, keepdims=True)), place
    for _ in range(REFINEMENTS):
        b = np.exp(found)[:, None]
        residuals = np.where(known, log_s - np.log1p(b / B), 0)
        slopes = np.where(known, b / (b + B), 0)
        slopes = np.where(known, slopes - slopes.sum(axis=1, keepdims=True) / n, 0)
        step = (slopes * residuals).sum(axis=1) / np.maximum(np.square(slopes).sum(axis=1), np.finfo(float).tiny)
        found = np.clip(found + step, place - 1 / SEARCH_STEPS, place + 1 / SEARCH_STEPS)
    return np.where(within, found, place)


def _squares(bend: Array, log_s: Array) -> Array:
    """Σ (log_s − log S_min − bend)² over the cells, (K, G), at the best log S_min for each row of bend (G, C)."""
    weight = (~np.isnan(log_s)).astype(np.float64)
    n = np.maximum(1, weight.sum(axis=1, keepdims=True))
    y = np.nan_to_num(log_s - np.nansum(log_s, axis=1, keepdims=True) / n)
    squares = np.square(y).sum(axis=1, keepdims=True) - 2 * y @ bend.T + weight @ np.square(bend).T
    return squares - np.square(weight @ bend.T) / n


def _status(b_crit: Interval, B: Array, n_replicas: int) -> Status:
    if np.isnan(b_crit.low):
        return Status.FEW_REPLICAS if n_replicas < FEWEST_REPLICAS else Status.FEW_CELLS
    below, above = b_crit.low < B[0], b_crit.high > B[-1]
    if below and above:
        return Status.UNBOUNDED
    return Status.MAYBE_BELOW if below else Status.MAYBE_ABOVE if above else Status.RESOLVED
