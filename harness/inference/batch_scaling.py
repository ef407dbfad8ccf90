"""How the updates to target fall as the batch grows: S(B) = S_min (1 + B_crit/B), with intervals over replicas."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from harness.inference.fits import (
    FEWEST_CELLS,
    FEWEST_REPLICAS,
    Status,
    bootstrap_interval,
    censored_log,
    resampled_medians,
    vertex,
)
from harness.inference.intervals import UNKNOWN, Array, Interval

SEARCH_MARGIN = 100.0  # the search for B_crit goes beyond the sweep's batch sizes by this factor on either side
SEARCH_STEPS = 50  # grid points of that search per factor e in B_crit


@dataclass(frozen=True)
class BatchScaling:
    """S(B) = S_min (1 + B_crit/B): s_min in updates, b_crit in examples.

    slope: of log S over log B between the two smallest batch sizes fitted, −1 where doubling the batch halves the
    updates. rms: root mean square of the residuals of log S. censored: number of batch sizes left out because half of
    the replicas or more did not reach the target.
    """

    status: Status
    s_min: Interval
    b_crit: Interval
    slope: Interval
    rms: float
    censored: int


def fit_batch_scaling(batch_sizes: ArrayLike, updates: ArrayLike, rng: np.random.Generator) -> BatchScaling:
    """Least squares of log S = log S_min + log(1 + B_crit/B) on the medians S of updates (C, R) at batch_sizes (C,).

    The batch sizes differ from one another; updates are to target, +inf or NaN where it was not reached. B_crit is 0
    where S does not fall at all and +inf where it falls like 1/B to the end. It is resolved when its interval lies
    within the batch sizes fitted: beyond them it is extrapolation. Each S is taken at one learning rate. If the best
    rate was chosen on the same replicas, the intervals do not include the uncertainty of that choice.
    """
    order = np.argsort(batch_sizes)
    B, log_updates = np.asarray(batch_sizes, dtype=np.float64)[order], censored_log(updates)[order]
    medians = resampled_medians(log_updates, rng)
    usable = np.isfinite(medians[0])
    left_out = int(np.count_nonzero(~usable))
    if len(B) - left_out < FEWEST_CELLS:
        return BatchScaling(Status.FEW_CELLS, UNKNOWN, UNKNOWN, UNKNOWN, np.nan, left_out)
    B, medians = B[usable], np.where(np.isfinite(medians), medians, np.nan)[:, usable]
    log_s_min, log_b_crit, rms = _least_squares(B, medians)
    slopes = (medians[:, 1] - medians[:, 0]) / np.log(B[1] / B[0])
    draws, n_replicas = (np.exp(log_s_min), np.exp(log_b_crit), slopes), log_updates.shape[1]
    s_min, b_crit, slope = (bootstrap_interval(each, n_replicas) for each in draws)
    return BatchScaling(_status(b_crit, B, n_replicas), s_min, b_crit, slope, float(rms[0]), left_out)


def _least_squares(B: Array, log_s: Array) -> tuple[Array, Array, Array]:
    """log S_min, log B_crit and the rms residual, each (K,), for log_s (K, C); NaN cells are left out.

    Given B_crit the best log S_min is a mean, so the search is along log B_crit alone: the vertex over an even grid,
    whose ends stand for −inf and +inf. All K fits at once, because scipy's fit of one takes a millisecond. NaN for
    fewer than three cells.
    """
    n = np.maximum(1, np.count_nonzero(~np.isnan(log_s), axis=1))
    low, high = np.log([B[0] / SEARCH_MARGIN, B[-1] * SEARCH_MARGIN])
    grid = np.linspace(low, high, 1 + int(SEARCH_STEPS * (high - low)))
    place, _ = vertex(grid, _squares(np.log1p(np.exp(grid)[:, None] / B), log_s))
    place = np.where(place == grid[0], -np.inf, place)
    residuals = log_s - np.log1p(np.exp(place)[:, None] / B)
    mean = np.nansum(residuals, axis=1) / n
    rms = np.sqrt(np.nansum(np.square(residuals - mean[:, None]), axis=1) / n)
    straight, few = place == grid[-1], n < FEWEST_CELLS
    log_s_min, log_b_crit = np.where(straight, -np.inf, mean), np.where(straight, np.inf, place)
    return np.where(few, np.nan, log_s_min), np.where(few, np.nan, log_b_crit), rms


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
