"""Which learning rate is best at a batch size, how sure that is, and the power of B by which the best rate grows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.inference import fits
from harness.inference.fits import Status
from harness.inference.intervals import CENTRAL, ROUNDING, UNKNOWN, Array, Interval, censored, median_interval
from harness.inference.sign_flips import fewest_pairs
from harness.inference.subsets import FEWEST_REPLICAS, copies, subset_interval, subset_middles

Indices = NDArray[np.intp]

FEWEST_TO_CHOOSE = 3  # two replicas have three resamples: too few to say how sure their choice of a rate is
SCATTER = 0.88  # of what grid and shape may be wrong by: with all of it intervals hold the truth in 97 to 99 %
UNKNOWN_SHAPE = 0.67  # half steps: a parabola's error where the cost rises eight times as steeply as it falls
SCALING_POWERS = {"constant": 0.0, "sqrt": 0.5, "linear": 1.0}  # power of B by which the rule scales the learning rate


@dataclass(frozen=True)
class Split:
    """Indices of the replicas that choose a learning rate and of those that report its cost."""

    selection: Indices
    report: Indices
    disjoint: bool


@dataclass(frozen=True)
class BestRate:
    """The learning rate with the lowest median cost over the selection replicas; NaN when none has a finite one.

    edge: where to extend the grid, "low", "high", "both" (a single rate) or "" (nowhere); where everything diverged, as
    of the lowest rate. cost: median over the report replicas. low and high: the rates that the central 95 % of the
    resamples of the selection replicas choose; NaN for fewer than three of these.
    """

    rate: float
    edge: str
    cost: Interval
    low: float
    high: float


@dataclass(frozen=True)
class Exponent:
    """p in best learning rate ∝ B^p. best: η* by batch size, without those where everything diverged.

    verdicts: per rule of SCALING_POWERS "supported" (alone in p's interval, and the nearest one to p itself),
    "refuted" (outside) or "unresolved".
    at_edge: batch sizes whose best rate is at the edge of the grid.
    """

    status: Status
    p: Interval
    verdicts: dict[str, str]
    best: dict[float, float]
    at_edge: tuple[float, ...]


def split_replicas(n: int, fewest: int | None) -> Split:
    """The first half chooses, the second (larger if n is odd) reports. Below n = 2 fewest all n do both: not disjoint.

    fewest: pairs that the family of comparisons needs (`fewest_pairs`), so that the half that reports can resolve some.
    """
    everyone = np.arange(n)
    if fewest is None or n < 2 * fewest:
        return Split(everyone, everyone, False)
    return Split(everyone[: n // 2], everyone[n // 2 :], True)


def reported(values: Array) -> Array:
    """Of values (R,) those of the replicas that report where others, if there are enough, chose a rate."""
    return values[split_replicas(len(values), fewest_pairs(1)).report]


def _table(costs: Mapping[float, ArrayLike]) -> Array:
    """(L, R), learning rates ascending."""
    return np.array([censored(costs[rate]) for rate in sorted(costs)])


def best_learning_rate(costs: Mapping[float, ArrayLike], split: Split, rng: np.random.Generator) -> BestRate:
    """From costs per learning rate, (R,) each and +inf or NaN where diverged, the rate with the lowest median.

    The lowest rate of several with equal medians. `costs` may be a DataFrame with a column per rate.
    """
    rates, table = np.array(sorted(costs), dtype=np.float64), _table(costs)
    medians = fits.resampled_medians(table[:, split.selection], rng)
    chosen, found = medians.argmin(axis=1), np.isfinite(medians.min(axis=1))
    if not found[0]:
        return BestRate(
            np.nan, edge_of(0, len(rates)), median_interval(np.full(len(split.report), np.inf)), np.nan, np.nan
        )
    best, low, high = chosen[0], np.nan, np.nan
    if len(split.selection) >= FEWEST_TO_CHOOSE:
        low, high = np.quantile(rates[chosen[1:][found[1:]]], CENTRAL, method="inverted_cdf")
    cost = median_interval(table[best, split.report])
    return BestRate(float(rates[best]), edge_of(best, len(rates)), cost, float(low), float(high))


def edge_of(index: int, n_rates: int) -> str:
    """Which edge of a grid of n_rates, ascending, the rate at `index` is on: as `BestRate.edge`."""
    if n_rates == 1:
        return "both"
    return {0: "low", n_rates - 1: "high"}.get(index, "")


def scaling_exponent(grids: Mapping[float, Mapping[float, ArrayLike]], rng: np.random.Generator) -> Exponent:
    """p of best learning rate ∝ B^p by least squares on log η*(B), from costs (R,) per batch size and learning rate.

    η* is the vertex of a parabola in log η through the lowest log cost and its neighbours, or the grid's rate where
    there is no parabola (a neighbour diverged). The log cost of a rate is the mean over replicas, or the median where
    one diverged. p belongs to the learning rates given: p of sum and p of mean differ by 1. Every cell has the same R
    replicas. Verdicts need a best rate inside every grid, three batch sizes and six replicas.

    The interval is that of subsets of the replicas, with each η* scattered by what the grid and the parabola may be
    wrong by (`_scattered`).
    """
    batch_sizes = np.array(sorted(grids), dtype=np.float64)
    rates = [np.log(sorted(grids[B])) for B in sorted(grids)]
    costs = np.vstack([_table(grids[B]) for B in sorted(grids)])
    starts = np.cumsum([len(own) for own in rates])[:-1]
    log_costs = np.split(subset_middles(fits.censored_log(costs), rng), starts, axis=1)
    reach = _parabola_error(rates, [y[0] for y in log_costs])
    places = [_scattered(x, y, reach, costs.shape[1], rng) for x, y in zip(rates, log_costs, strict=True)]
    best = np.stack(places, axis=1)
    found = np.isfinite(best[0])
    inside = np.array([not edge_of(int(y[0].argmin()), y.shape[1]) for y in log_costs])
    p = UNKNOWN
    if found.sum() >= fits.FEWEST_CELLS:
        x = np.log(batch_sizes[found])
        x -= x.mean()
        p = subset_interval((best[:, found] - best[:, found][:, :1]) @ x / (x @ x), costs.shape[1])
    status = _exponent_status(p, bool(inside[found].all()), costs.shape[1])
    by_size = dict(zip(batch_sizes[found].tolist(), np.exp(best[0, found]).tolist(), strict=True))
    return Exponent(status, p, _rule_verdicts(p, status), by_size, tuple(batch_sizes[found & ~inside].tolist()))


def _parabola_error(log_rates: Sequence[Array], log_costs: Sequence[Array]) -> float:
    """How far a parabola's vertex may be from the lowest cost, in half steps, from how costs are bent on either side.

    log_rates and log_costs (L,) of each batch size; slopes and second derivatives are summed over these. Of parabolas
    the second derivative is the same everywhere: there the vertex has no error. Beside a kink, where the cost falls and
    rises with slopes in the ratio f : 1 − f, its error has a range of 3 − 2√f − 2√(1 − f) steps, and three times that
    covers the truth, as errors of neighbouring batch sizes are alike. Of a fourth power .6 does. Between these shapes
    the error is interpolated. Where a neighbour of the lowest cost lies above the line through that and the next one
    (far from the best rate no training makes progress, so costs are level), the slopes beside the best rate are not
    seen: at least as if the cost rose eight times as steeply as it falls. So it is, too, if fewer than half of the
    batch sizes have two finite costs on either side.
    """
    found = [_bends(x, y) for x, y in zip(log_rates, log_costs, strict=True)]
    known = [each for each in found if np.isfinite(each).all()]
    falls, before, at, after, rises = np.sum(known, axis=0) if 2 * len(known) >= len(found) else np.zeros(5)
    if at <= 0 or falls + rises <= 0:
        return UNKNOWN_SHAPE
    f = float(np.clip(falls / (falls + rises), 0, 1))
    kink = 3 * (1.5 - np.sqrt(f) - np.sqrt(1 - f))
    level, lean = (before + after) / (2 * at), abs(after - before) / (2 * at)  # 1 and 0 of parabolas
    unlike = max(float(np.interp(level, [1 / 3, 1, 4], [1, 0, 1])), min(1.0, lean / 4))
    least = UNKNOWN_SHAPE if min(before, after) < -ROUNDING * at else 0.0
    return min(1.0, max(least, kink * unlike, float(np.interp(level, [1, 4], [0, 0.6]))))


def _bends(x: Array, y: Array) -> Array:
    """How fast y falls two points before the lowest; second derivatives before, at and after it; how fast it rises."""
    place = int(y.argmin())
    if not 2 <= place < len(x) - 2:
        return np.full(5, np.nan)
    near = slice(place - 2, place + 3)
    with np.errstate(invalid="ignore"):
        slopes = np.diff(y[near]) / np.diff(x[near])
        bends = 2 * np.diff(slopes) / (x[near][2:] - x[near][:-2])
    return np.array([-slopes[0], *bends, slopes[-1]])


def _scattered(log_rates: Array, log_costs: Array, reach: float, n_replicas: int, rng: np.random.Generator) -> Array:
    """log η* from log costs (S + 1, L): of all replicas, and of each subset repeatedly, scattered; NaN if all are lost.

    Evenly, a grid's rate over SCATTER half steps to each side, a vertex over `reach` of that.
    """
    again = np.r_[0, np.repeat(np.arange(1, len(log_costs)), copies(n_replicas))]
    places, smooth = fits.vertex(log_rates, log_costs)
    place, lowest = places[again], log_costs.argmin(axis=1)[again]
    half_steps = np.concatenate([[0.0], np.diff(log_rates) / 2, [0.0]])
    scatter = SCATTER * np.where(smooth[again], reach, 1.0)
    place[1:] = rng.uniform(place - scatter * half_steps[lowest], place + scatter * half_steps[lowest + 1])[1:]
    place[np.isposinf(log_costs.min(axis=1))[again]] = np.nan
    return place


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
        return dict.fromkeys(SCALING_POWERS, "unresolved")
    inside = [rule for rule, power in SCALING_POWERS.items() if power in p]
    nearest = min(SCALING_POWERS, key=lambda rule: abs(SCALING_POWERS[rule] - p.estimate))
    verdict = "supported" if inside == [nearest] else "unresolved"
    return {rule: verdict if rule in inside else "refuted" for rule in SCALING_POWERS}
