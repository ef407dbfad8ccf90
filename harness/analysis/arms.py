"""The arms of a comparison: which cells each has, which of these is its best, and whether both were tuned alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from harness.analysis.batch_sizes import GROUP
from harness.inference import Array, edge_of

if TYPE_CHECKING:
    import pandas as pd


class Tuning(StrEnum):
    """Whether the best cells of two arms may be compared.

    Both need the same numbers of learning rates, as the lowest of many cells is lower by chance than the lowest of few
    (6 against 1, ten replicas: a false winner in 8 % of the cases). And the best rate of each batch size has to lie
    inside its grid, also where another batch size is better so far, or the wider grid wins; unless nothing but what is
    compared varies. Beside a gap of more than WIDEST it is not known to be near the best one.
    """

    ALIKE = "tuned alike"
    ONE_RATE = "one learning rate each"
    ON_EDGE = "a best learning rate is on the edge of its grid"
    BY_GAP = "beside a best learning rate the next one is over ten times as large or small"
    UNEQUAL = "not tried at the same batch sizes and reductions with the same numbers of learning rates"


WIDEST = 10 * (1 + 1e-9)  # ratio of neighbouring learning rates of a grid
COMPARED = (Tuning.ALIKE, Tuning.ONE_RATE)


@dataclass(frozen=True, eq=False)
class Arm:
    """Cells of which the best one stands for all.

    best: its signature; costs: of it, (R,). edges: the cells that are best at their batch size and on an edge of their
    grid of learning rates -> which, "low", "high" or "both" (a single rate). gaps: best cells inside their grid, but
    beside a gap of it -> what the rate in its middle is to theirs. Sum and mean of a batch size are one training in
    exact arithmetic, so the better of them stands for both; each for itself under weight decay or clipping.
    """

    cells: "pd.DataFrame"
    best: str
    edges: dict[str, str]
    gaps: dict[str, float]
    costs: Array

    @property
    def cost(self) -> float:
        return float(np.median(self.costs))

    @property
    def n_diverged(self) -> int:
        """Of the best cell's replicas."""
        return int(np.isinf(self.costs).sum())

    def number_of(self, cell: str, column: str) -> float:
        return float(self.cells.set_index("cell").loc[cell, column])

    def of_best(self, column: str) -> float:
        """A number of the best cell."""
        return self.number_of(self.best, column)


def arm(cells: "pd.DataFrame", costs: dict[str, Array], grid: "pd.DataFrame") -> Arm:
    """The arm of these cells; costs: cell -> (R,). grid: the cells among whose learning rates the best may be the last.

    The lowest median is best; of several, one inside its grid, then mean before sum and the lowest rate.
    """
    by_group = _cells_of(grid.sort_values("learning_rate"), GROUP)
    edge = {cell: edge_of(i, len(own)) for own in by_group for i, cell in enumerate(own)}
    gaps = _gaps(by_group, dict(zip(grid["cell"], grid["learning_rate"].astype(float), strict=True)))

    def rank(cell: str) -> tuple[float, bool]:
        median = float(np.median(costs[cell]))
        return median, bool(edge[cell]) and np.isfinite(median)

    apart = (cells["optimizer.weight_decay"].astype(float) > 0).any() or cells["optimizer.clip_norm"].notna().any()
    ordered = cells.sort_values(["reduction", "learning_rate"])
    found = [min(own, key=rank) for own in _cells_of(ordered, GROUP if apart else ["setting", "batch_size"])]
    best = min(found, key=rank)
    edges, inside = {cell: edge[cell] for cell in found if edge[cell]}, [cell for cell in found if not edge[cell]]
    return Arm(cells, best, edges, {cell: gaps[cell] for cell in inside if cell in gaps}, costs[best])


def _gaps(groups: Sequence[Sequence[str]], rates: Mapping[str, float]) -> dict[str, float]:
    """Cell beside a gap of its grid -> the square root of the ratio of the rate beyond the gap to its own."""
    pairs = [pair for cells in groups for pair in pairwise(cells)]
    ratios = [(low, high, rates[high] / rates[low]) for low, high in pairs]
    wide = [(low, high, float(np.sqrt(ratio))) for low, high, ratio in ratios if ratio > WIDEST]
    return {high: 1 / middle for _, high, middle in wide} | {low: middle for low, _, middle in wide}


def _cells_of(cells: "pd.DataFrame", keys: list[str]) -> list[list[str]]:
    """The signatures of each group, in ascending order of groups. Without pandas, whose groups take milliseconds."""
    found: dict[tuple[object, ...], list[str]] = {}
    for key, cell in zip(zip(*(cells[key] for key in keys), strict=True), cells["cell"], strict=True):
        found.setdefault(key, []).append(cell)
    return [found[key] for key in sorted(found)]


def tuning(one: Arm, other: Arm, along: str) -> Tuning:
    """along: the column in which the arms differ. Learning rates themselves need no tuning."""
    if along == "learning_rate":
        return Tuning.ALIKE
    keys = [key for key in ("batch_size", "reduction") if key != along]
    n_rates, others = (each.cells.groupby(keys).size().to_dict() for each in (one, other))
    if n_rates != others:
        return Tuning.UNEQUAL
    if set(n_rates.values()) == {1}:
        return Tuning.ONE_RATE
    if one.edges or other.edges:
        return Tuning.ON_EDGE
    return Tuning.BY_GAP if one.gaps or other.gaps else Tuning.ALIKE
