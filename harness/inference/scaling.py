"""How updates to target and the best learning rate change with the batch size, with intervals over replicas.

A cell's number is the median over its replicas, with diverged and not reached as +inf. The intervals come from drawing
replicas anew, the same ones in every cell: what a replica has in common everywhere (its split, its initial weights)
then cancels as it does in the data. A fit that the sweep does not support says so in its status.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.inference.statistics import SIGNIFICANCE, Interval, censored, median_interval, percentile_interval

Array = NDArray[np.floating]
Indices = NDArray[np.intp]
Flags = NDArray[np.bool_]

RESAMPLES = 1999
FEWEST_CELLS = 3  # batch sizes: two parameters fit two points whatever they are
FEWEST_REPLICAS = 5  # percentiles of resampled medians cover 75 % of the time from three replicas, 95 % from five
FEWEST_CHOOSERS = 3  # two replicas have three resamples: no telling how sure their choice is
SMALLEST_HALF = 6  # replicas to choose with, and as many to report with: the fewest that can reach p < .05
STEPS_PER_E = 50  # of the search for log B_crit
BEYOND = 100.0  # factor by which that search leaves the batch sizes of the sweep
VERTEX_REACH = 0.5  # of half a step of the grid: how far a parabola's vertex may be from the best learning rate
RULES = {"constant": 0.0, "sqrt": 0.5, "linear": 1.0}
CENTRAL = [SIGNIFICANCE / 2, 1 - SIGNIFICANCE / 2]
UNKNOWN = Interval(np.nan, np.nan, np.nan)


class Status(StrEnum):
    """Whether the sweep supports a fit."""

    RESOLVED = "resolved"
    FEW_CELLS = "unresolved: fewer than three batch sizes are sure to have a value"
    FEW_REPLICAS = "unresolved: fewer than five replicas"
    MAYBE_BELOW = "unresolved: B_crit may be below the smallest batch size"
    MAYBE_ABOVE = "unresolved: B_crit may be above the largest batch size"
    UNBOUNDED = "unresolved: B_crit is not bounded on either side by the batch sizes"
    AT_EDGE = "unresolved: a best learning rate is at the edge of its grid"


@dataclass(frozen=True)
class BatchScaling:
    """S(B) = S_min (1 + B_crit/B): s_min in updates, b_crit in examples.

    slope: of log S over log B between the two smallest batch sizes fitted, −1 where doubling the batch halves the
    updates. rms: root mean square of the residuals of log S. censored: batch sizes left out because half of the
    replicas or more did not reach the target.
    """

    status: Status
    s_min: Interval
    b_crit: Interval
    slope: Interval
    rms: float
    censored: int


@dataclass(frozen=True)
class Split:
    """Indices of the replicas that choose a learning rate and of those that report its cost."""

    selection: Indices
    report: Indices
    disjoint: bool


@dataclass(frozen=True)
class BestRate:
    """The learning rate with the lowest median cost over the selection replicas; NaN when none has a finite one.

    edge: the side on which the grid should be extended, "low", "high", "both" (a single rate) or "" (none); "low" also
    when everything diverged. cost: median over the report replicas. agreement: share of resamples of the selection
    replicas that choose the same rate; low and high: the rates that the central 95 % of them choose (all three NaN
    for fewer than three of them).
    """

    rate: float
    edge: str
    cost: Interval
    agreement: float
    low: float
    high: float
    disjoint: bool


@dataclass(frozen=True)
class Exponent:
    """p in best learning rate ∝ B^p. best: η* per batch size. rms: residuals of log η* around the line.

    verdicts: for each rule in RULES "supported" (the only one in p's interval), "refuted" (outside) or "unresolved".
    at_edge: batch sizes whose best rate is at the edge of the grid; left_out: those where everything diverged.
    """

    status: Status
    p: Interval
    verdicts: dict[str, str]
    best: dict[float, float]
    rms: float
    at_edge: tuple[float, ...]
    left_out: tuple[float, ...]


def split_replicas(n: int) -> Split:
    """The first half chooses, the second (larger if n is odd) reports; below n = 12 all n do both: not disjoint."""
    everyone = np.arange(n)
    if n < 2 * SMALLEST_HALF:
        return Split(everyone, everyone, False)
    return Split(everyone[: n // 2], everyone[n // 2 :], True)


def resampled_medians(values: Array, rng: np.random.Generator) -> Array:
    """(K + 1, C) medians of values (C, R) over replicas: first as they are, then over K draws of R replicas each."""
    n_replicas = values.shape[-1]
    draws = rng.integers(n_replicas, size=(RESAMPLES, n_replicas))
    draws = np.vstack([np.arange(n_replicas), draws])
    with np.errstate(invalid="ignore"):
        return np.median(values[:, draws], axis=-1).T


def _interval(medians: Array, n_replicas: int) -> Interval:
    """From (K + 1,): the estimate, then its bootstrap draws."""
    draws = medians[1:] if n_replicas >= FEWEST_REPLICAS else np.full(1, np.nan)
    return percentile_interval(medians[0], draws)


def _log(values: ArrayLike) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(censored(values))


def _table(costs: Mapping[float, ArrayLike]) -> Array:
    """(L, R), learning rates ascending."""
    return np.array([censored(costs[rate]) for rate in sorted(costs)])


def vertex(x: Array, y: Array) -> tuple[Array, Flags]:
    """Where each row of y (K, G) over ascending x (G,) is lowest, (K,), and whether that was smoothed.

    The vertex of the parabola through the lowest point and its neighbours, at most half a step from that point; the
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


def fit_batch_scaling(batch_sizes: ArrayLike, updates: ArrayLike, rng: np.random.Generator) -> BatchScaling:
    """Least squares of log S = log S_min + log(1 + B_crit/B) on the medians S of updates (C, R) at batch_sizes (C,).

    The batch sizes differ from one another; updates are to target, +inf or NaN where it was not reached. B_crit is 0
    where S does not fall at all and +inf where it falls like 1/B to the end. It is resolved when its interval lies
    within the batch sizes fitted: beyond them it is extrapolation. Each S is taken at one learning rate; that the best
    was chosen on the same replicas is not in the intervals.
    """
    order = np.argsort(batch_sizes)
    B, log_updates = np.asarray(batch_sizes, dtype=np.float64)[order], _log(updates)[order]
    medians = resampled_medians(log_updates, rng)
    usable = np.isfinite(medians[0])
    left_out = int(np.count_nonzero(~usable))
    if len(B) - left_out < FEWEST_CELLS:
        return BatchScaling(Status.FEW_CELLS, UNKNOWN, UNKNOWN, UNKNOWN, np.nan, left_out)
    B, medians = B[usable], np.where(np.isfinite(medians), medians, np.nan)[:, usable]
    log_s_min, log_b_crit, rms = _fit_bend(B, medians)
    slopes = (medians[:, 1] - medians[:, 0]) / np.log(B[1] / B[0])
    draws, n_replicas = (np.exp(log_s_min), np.exp(log_b_crit), slopes), log_updates.shape[1]
    s_min, b_crit, slope = (_interval(each, n_replicas) for each in draws)
    return BatchScaling(_bend_status(b_crit, B, n_replicas), s_min, b_crit, slope, float(rms[0]), left_out)


def _fit_bend(B: Array, log_s: Array) -> tuple[Array, Array, Array]:
    """log S_min, log B_crit and the rms residual, each (K,), for log_s (K, C); NaN cells are left out.

    Given B_crit the best log S_min is a mean, so the search is along log B_crit alone: the vertex over an even grid.
    Its ends stand for −inf and +inf. NaN for fewer than three cells.
    """
    n = np.maximum(1, np.count_nonzero(~np.isnan(log_s), axis=1))
    ends = np.log([B[0] / BEYOND, B[-1] * BEYOND])
    grid = np.linspace(ends[0], ends[1], 1 + int(STEPS_PER_E * (ends[1] - ends[0])))
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


def _bend_status(b_crit: Interval, B: Array, n_replicas: int) -> Status:
    if np.isnan(b_crit.low):
        return Status.FEW_REPLICAS if n_replicas < FEWEST_REPLICAS else Status.FEW_CELLS
    below, above = b_crit.low < B[0], b_crit.high > B[-1]
    if below and above:
        return Status.UNBOUNDED
    return Status.MAYBE_BELOW if below else Status.MAYBE_ABOVE if above else Status.RESOLVED


def best_learning_rate(costs: Mapping[float, ArrayLike], split: Split, rng: np.random.Generator) -> BestRate:
    """From costs per learning rate, (R,) each and +inf or NaN where diverged, the rate with the lowest median.

    Of equals, the lowest rate. A DataFrame with a column per rate will do for `costs`.
    """
    rates = np.array(sorted(costs), dtype=np.float64)
    table = _table(costs)
    medians = resampled_medians(table[:, split.selection], rng)
    chosen, found = medians.argmin(axis=1), np.isfinite(medians.min(axis=1))
    if not found[0]:
        cost = median_interval(np.full(len(split.report), np.inf))
        return BestRate(np.nan, "low", cost, np.nan, np.nan, np.nan, split.disjoint)
    best, agreement, (low, high) = chosen[0], np.nan, (np.nan, np.nan)
    if len(split.selection) >= FEWEST_CHOOSERS:
        agreement = np.mean(found[1:] & (chosen[1:] == best))
        low, high = np.quantile(rates[chosen[1:][found[1:]]], CENTRAL, method="inverted_cdf")
    return BestRate(
        rate=float(rates[best]),
        edge=_edge(best, len(rates)),
        cost=median_interval(table[best, split.report]),
        agreement=float(agreement),
        low=float(low),
        high=float(high),
        disjoint=split.disjoint,
    )


def _edge(index: int, n_rates: int) -> str:
    if n_rates == 1:
        return "both"
    return {0: "low", n_rates - 1: "high"}.get(index, "")


def scaling_exponent(grids: Mapping[float, Mapping[float, ArrayLike]], rng: np.random.Generator) -> Exponent:
    """p of best learning rate ∝ B^p by least squares on log η*(B), from costs (R,) per batch size and learning rate.

    η* is the vertex of a parabola in log η through the lowest median log cost and its neighbours, or the grid's rate
    where that cannot be drawn (a neighbour diverged). A grid does not tell more: the draws behind the interval scatter
    the rate evenly over half a step to each side, a vertex over a quarter. (Where the cost rises up to eight times as
    steeply as it falls, a vertex is off by a quarter of a step or less, beside an offset that all batch sizes share.)
    So the interval is never narrower than the grid allows, and too wide for true parabolas. p is of the learning rates
    given: those of sum and of mean differ by 1. Every cell has the same R replicas. Verdicts need a best rate inside
    every grid, three batch sizes and five replicas.
    """
    batch_sizes = np.array(sorted(grids), dtype=np.float64)
    rates = [sorted(grids[B]) for B in sorted(grids)]
    costs = np.vstack([_table(grids[B]) for B in sorted(grids)])
    starts = np.cumsum([len(own) for own in rates])[:-1]
    medians = np.split(resampled_medians(_log(costs), rng), starts, axis=1)
    best = np.stack([_log_best(np.log(own), y, rng) for own, y in zip(rates, medians, strict=True)], axis=1)
    found = np.isfinite(best[0])
    inside = np.array([not _edge(int(y[0].argmin()), y.shape[1]) for y in medians])
    p, rms = UNKNOWN, np.nan
    if found.sum() >= FEWEST_CELLS:
        slopes, rms = _line(np.log(batch_sizes[found]), best[:, found])
        p = _interval(slopes, costs.shape[1])
    status = _exponent_status(p, bool(inside[found].all()), costs.shape[1])
    return Exponent(
        status=status,
        p=p,
        verdicts=_rule_verdicts(p, status),
        best=dict(zip(batch_sizes[found].tolist(), np.exp(best[0, found]).tolist(), strict=True)),
        rms=float(rms),
        at_edge=tuple(batch_sizes[found & ~inside].tolist()),
        left_out=tuple(batch_sizes[~found].tolist()),
    )


def _log_best(log_rates: Array, medians: Array, rng: np.random.Generator) -> Array:
    """log η* (K + 1,), all but the first scattered, from medians (K + 1, L) of the log cost; NaN: none is finite."""
    place, smooth = vertex(log_rates, medians)
    lowest = medians.argmin(axis=1)
    reach = np.concatenate([[0.0], np.diff(log_rates) / 2, [0.0]])
    share = np.where(smooth, VERTEX_REACH, 1.0)
    place[1:] = rng.uniform(place - share * reach[lowest], place + share * reach[lowest + 1])[1:]
    place[np.isposinf(medians.min(axis=1))] = np.nan
    return place


def _line(x: Array, y: Array) -> tuple[Array, float]:
    """Slopes (K,) of y (K, C) over x (C,), and the rms residual of the first."""
    x = x - x.mean()
    slopes = y @ x / (x @ x)
    residuals = y[0] - y[0].mean() - slopes[0] * x
    return slopes, float(np.sqrt(np.mean(np.square(residuals))))


def _exponent_status(p: Interval, inside: bool, n_replicas: int) -> Status:
    if np.isnan(p.estimate):
        return Status.FEW_CELLS
    if not inside:
        return Status.AT_EDGE
    if n_replicas < FEWEST_REPLICAS:
        return Status.FEW_REPLICAS
    return Status.FEW_CELLS if np.isnan(p.low) else Status.RESOLVED


def _rule_verdicts(p: Interval, status: Status) -> dict[str, str]:
    if status is not Status.RESOLVED:
        return dict.fromkeys(RULES, "unresolved")
    inside = [rule for rule, power in RULES.items() if power in p]
    verdict = "supported" if len(inside) == 1 else "unresolved"
    return {rule: verdict if rule in inside else "refuted" for rule in RULES}
