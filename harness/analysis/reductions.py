"""Sum against mean: cells that are one training in exact arithmetic, and each reduction at its best learning rate."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.analysis.arms import COMPARED, Arm, Tuning, arm, tuning
from harness.analysis.batch_sizes import shared
from harness.analysis.comparisons import CLOCK_COLUMNS, Question, Standing, costs_when_spent
from harness.analysis.courses import Courses
from harness.inference import Array, Interval, geometric_mean_ratio

if TYPE_CHECKING:
    import pandas as pd

Both = tuple[Arm, Arm]  # of sum and of mean


@dataclass(frozen=True)
class Pair:
    """Sum and mean at one canonical rate: the largest relative difference of a replica's final cost.

    Over the replicas that did not diverge in one of the two alone; alone: how many did, in sum and in mean.
    """

    setting: str
    batch_size: float
    lr_mean: float
    difference: float
    alone: tuple[int, int]
    n_replicas: int


@dataclass(eq=False, kw_only=True)
class SumOrMean(Question):
    """Sum against mean in one setting, each at its best rate for each batch size, at equal epochs.

    pairs: of one lr_mean. By batch size, best: the arms; ratios: cost of sum over that of mean; tunings. The batch
    sizes with the best tuning are compared, by the geometric mean of the costs over them.
    """

    setting: str
    pairs: list[Pair]
    best: dict[float, Both]
    ratios: dict[float, Interval]
    tunings: dict[float, Tuning]

    @property
    def tuning(self) -> Tuning | None:
        """The best one; None where all batches have one example, which leaves nothing to reduce."""
        larger = {each for B, each in self.tunings.items() if B > 1}
        return next((each for each in Tuning if each in larger), None)

    @property
    def sizes(self) -> list[float]:
        """The batch sizes that have it."""
        return [B for B, each in self.tunings.items() if B > 1 and each is self.tuning]

    @property
    def lower_at(self) -> dict[str, list[float]]:
        """Reduction -> of sizes, those at which the 95 % interval says so, or half of the other diverged."""
        lower: dict[str, list[float]] = {"sum": [], "mean": []}
        for B in self.sizes:
            ratio, (total, mean) = self.ratios[B], (arm.cost for arm in self.best[B])
            if np.isfinite(total) and (np.isinf(mean) or ratio.high < 1):
                lower["sum"].append(B)
            elif np.isfinite(mean) and (np.isinf(total) or ratio.low > 1):
                lower["mean"].append(B)
        return lower

    @property
    def disagree(self) -> bool:
        """Whether both are lower somewhere: the mean over the batch sizes would hide that."""
        return all(self.lower_at.values())

    @property
    def standing(self) -> Standing:
        """Of sum, by the geometric mean over the batch sizes; OPEN where they disagree."""
        return Standing.OPEN if self.comparison and self.disagree else super().standing


def sum_or_mean(cells: "pd.DataFrame", courses: Courses, pairs: Sequence[Pair]) -> list[SumOrMean]:
    """Of each setting with both reductions at a common batch size, yet to be compared. pairs: `matched_pairs`."""
    found = []
    for setting, own in cells.groupby("setting", sort=False) if len(cells) else ():
        if best := dict(_best(own, courses)):
            ratios = {B: _ratio(*arms) for B, arms in best.items()}
            tunings = {B: tuning(*arms, "reduction") for B, arms in best.items()}
            mine = [pair for pair in pairs if pair.setting == setting]
            row = SumOrMean(setting=str(setting), pairs=mine, best=best, ratios=ratios, tunings=tunings)
            row.arms = _over_sizes([best[B] for B in row.sizes]) if row.tuning in COMPARED else None
            found.append(row)
    return found


def _best(cells: "pd.DataFrame", courses: Courses) -> Iterator[tuple[float, Both]]:
    for B, own in cells.groupby("batch_size"):
        by_reduction = dict(tuple(own.groupby("reduction")))
        both = {"sum", "mean"} <= by_reduction.keys()
        if both and (costs := costs_when_spent(own, courses, CLOCK_COLUMNS["epochs"])[1]):
            total, mean = (arm(by_reduction[reduction], costs, grid=own) for reduction in ("sum", "mean"))
            yield float(B), (total, mean)


def _ratio(total: Arm, mean: Arm) -> Interval:
    """Over the pairs in which neither diverged."""
    costs = np.array(list(shared({0: total.costs, 1: mean.costs}).values()))
    fine = (np.isfinite(costs) & (costs > 0)).all(axis=0)
    return geometric_mean_ratio(np.log(costs[0, fine]) - np.log(costs[1, fine]))


def _over_sizes(best: list[Both]) -> tuple[Array, Array]:
    same = shared({(B, i): both[i].costs for B, both in enumerate(best) for i in (0, 1)})
    total, mean = (_geometric_mean(np.array([same[B, i] for B in range(len(best))])) for i in (0, 1))
    return total, mean


def _geometric_mean(costs: Array) -> Array:
    """(R,) of (C, R); the costs themselves, to the bit, where C is 1."""
    if len(costs) == 1:
        return costs[0]
    with np.errstate(divide="ignore"):
        return np.exp(np.log(costs).mean(axis=0))


def matched_pairs(cells: "pd.DataFrame", costs: dict[str, Array]) -> list[Pair]:
    """Cells that differ only in the reduction and in the units of the rate: one lr_mean, both reductions.

    Without those that have no cost to compare, as all replicas of both diverged.
    """
    pairs = []
    for (setting, B), own in cells.groupby(["setting", "batch_size"]) if len(cells) else ():
        totals, means = (own[own["reduction"] == reduction] for reduction in ("sum", "mean"))
        rates = totals["lr_mean"].to_numpy(float)[:, None], means["lr_mean"].to_numpy(float)
        for i, j in np.argwhere(np.isclose(*rates, rtol=1e-9, atol=0)):
            a, b = costs[totals["cell"].iloc[i]], costs[means["cell"].iloc[j]]
            if np.isfinite(a).any() or np.isfinite(b).any():
                pairs.append(_pair(str(setting), float(B), float(rates[1][j]), a, b))
    return pairs


def _pair(setting: str, batch_size: float, lr_mean: float, a: Array, b: Array) -> Pair:
    """Two replicas that both diverged differ by 0; a cost of 0 and a larger one by +inf."""
    a, b = shared({0: a, 1: b}).values()
    lost_a, lost_b = np.isinf(a), np.isinf(b)
    with np.errstate(invalid="ignore", divide="ignore"):
        difference = np.where(a == b, 0.0, np.abs(a - b) / np.minimum(np.abs(a), np.abs(b)))
    worst = float(difference[lost_a == lost_b].max(initial=0.0))
    alone = int((lost_a & ~lost_b).sum()), int((lost_b & ~lost_a).sum())
    return Pair(setting, batch_size, lr_mean, worst, alone, len(a))
