"""The arms of a comparison: which cells each has, which of these is its best, and whether both were tuned alike."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from harness.analysis.batch_sizes import GROUP
from harness.inference import Array, edge_of

if TYPE_CHECKING:
    import pandas as pd


class Tuning(StrEnum):
    """Whether the best cells of two arms may be compared.

    Both need the same numbers of learning rates, as the lowest of many cells is lower by chance than the lowest of few
    (6 against 1, ten replicas: a false winner in 8 % of the cases). And a best rate has to lie inside its grid, or the
    wider grid wins; unless nothing but what is compared varies.
    """

    ALIKE = "tuned alike"
    ONE_RATE = "one learning rate each"
    ON_EDGE = "a best learning rate is on the edge of its grid"
    UNEQUAL = "not tried at the same batch sizes and reductions with the same numbers of learning rates"


COMPARED = (Tuning.ALIKE, Tuning.ONE_RATE)


@dataclass(frozen=True, eq=False)
class Arm:
    """Cells of which the best one stands for all.

    best: its signature; edge: on which edge of its grid of learning rates that lies, "low", "high", "both" (a single
    rate) or "". costs: of the best cell, (R,).
    """

    cells: "pd.DataFrame"
    best: str
    edge: str
    costs: Array

    @property
    def cost(self) -> float:
        return float(np.median(self.costs))

    @property
    def n_diverged(self) -> int:
        """Of the best cell's replicas."""
        return int(np.isinf(self.costs).sum())

    def of_best(self, column: str) -> float:
        """A number of the best cell."""
        return float(self.cells.set_index("cell").loc[self.best, column])


def arm(cells: "pd.DataFrame", costs: dict[str, Array], grid: "pd.DataFrame") -> Arm:
    """The arm of these cells; costs: cell -> (R,). grid: the cells among whose learning rates the best may be the last.

    The lowest median is best; of several, mean before sum and the lowest rate.
    """
    best = min(
        cells.sort_values(["reduction", "learning_rate"])["cell"], key=lambda cell: float(np.median(costs[cell]))
    )
    groups = grid.sort_values("learning_rate").groupby(GROUP, sort=False)
    grid = next(own for _, own in groups if best in set(own["cell"]))
    return Arm(cells, best, edge_of(list(grid["cell"]).index(best), len(grid)), costs[best])


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
    return Tuning.ON_EDGE if one.edge or other.edge else Tuning.ALIKE
