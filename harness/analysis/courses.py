"""The histories of many cells as arrays, so that what is asked of each replica is one operation for all of them."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.inference import Array
from harness.training import checkpoints

if TYPE_CHECKING:
    import pandas as pd

Indices = NDArray[np.intp]
LATER = 1 + 1e-12  # a clock that has come to a budget, but for rounding


class Courses:
    """The courses of replicas, those of a cell in a row, in ascending order of replicas; rows as in their history.

    cells: in the order of their first rows; the courses of cell i are those from first[i] to first[i + 1]. The rows of
    course j are those from start[j] to start[j + 1].
    """

    def __init__(self, histories: "pd.DataFrame") -> None:
        import pandas as pd

        own = histories if "cell" in histories or histories.empty else histories.assign(cell="")
        cell, names = pd.factorize(own["cell"]) if len(own) else (np.empty(0, dtype=int), [])
        replica = own["replica"].to_numpy() if len(own) else np.empty(0)
        order = np.lexsort((replica, cell))
        begins = np.diff(cell[order], prepend=-1) != 0
        starts = begins | (np.diff(replica[order], prepend=np.nan) != 0)
        self.start = np.append(np.flatnonzero(starts), len(order))
        self.first = np.append(np.flatnonzero(begins[self.start[:-1]]), len(self.start) - 1)
        self.cells = {str(name): i for i, name in enumerate(names)}
        self._histories, self._order = histories, order
        self._columns: dict[str, Array] = {}
        self.lost = self.text("outcome")[self.start[1:] - 1] == "diverged" if len(order) else np.empty(0, dtype=bool)

    def text(self, name: str) -> "NDArray[np.object_]":
        """A column of texts, a row each."""
        return self._histories[name].to_numpy()[self._order]

    def column(self, name: str) -> Array:
        """A column of numbers, a row each; `log_cost` is that of the training cost, whose infinity it keeps."""
        if name not in self._columns:
            self._columns[name] = self._read(name)
        return self._columns[name]

    def _read(self, name: str) -> Array:
        if name == "log_cost":
            with np.errstate(divide="ignore"):
                return np.asarray(np.log(self.column("train_cost")))
        return self._histories[name].to_numpy(dtype=float)[self._order]

    def of(self, cells: Iterable[str]) -> tuple[Indices, Indices]:
        """The courses of these cells, one cell after the other, and how many each cell has."""
        places = np.array([self.cells[cell] for cell in cells], dtype=int)
        n = self.first[places + 1] - self.first[places]
        return _ranges(self.first[places], n), n

    def all_of_one(self) -> tuple[Indices, Indices]:
        """The same for the history of a single cell, which need not name it."""
        return self.of(list(self.cells))

    def split(self, values: Array, n: Indices) -> list[Array]:
        """Values of the courses that `of` gave, cell by cell."""
        return np.split(values, np.cumsum(n)[:-1])

    def spent(self, courses: Indices, n: Indices, column: str) -> Array:
        """What every replica of each cell has spent that did not diverge; infinite where all have."""
        ends = np.where(self.lost[courses], np.inf, self.column(column)[self.start[courses + 1] - 1])
        return np.asarray(np.minimum.reduceat(ends, np.cumsum(n) - n))

    def costs_at(self, courses: Indices, column: str, budget: float) -> Array:
        """Training cost when `column` is at `budget`, log-linear in between, as np.interp; inf: diverged by then."""
        x, y, start, end = self.column(column), self.column("log_cost"), self.start[courses], self.start[courses + 1]
        n = end - start
        is_before = x[_ranges(start, n)] <= budget
        before = np.add.reduceat(is_before, np.cumsum(n) - n, dtype=int)  # how many rows of a course
        j, k = start + np.maximum(before - 1, 0), start + np.minimum(before, n - 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = (y[k] - y[j]) / (x[k] - x[j])
            between, from_behind = slope * (budget - x[j]) + y[j], slope * (budget - x[k]) + y[k]
        level = np.where(np.isnan(from_behind) & (y[j] == y[k]), y[j], from_behind)
        between = np.where(np.isnan(between), level, between)
        cost = np.exp(np.where((j == k) | (x[j] == budget), y[j], between))
        lost = self.lost[courses] & (x[end - 1] <= budget * LATER)
        return np.where(lost | np.isnan(cost), np.inf, cost)

    def reaching(self, cost: Array, goal: Array) -> tuple[Indices, Indices, Array]:
        """Where the cost (a row each) of a course comes to its goal (a course each) and stays, as `to_target` has it.

        The row before the first one below; that row, -1 where there is none; how far between the two the goal lies.
        """
        n = np.diff(self.start)
        is_below = cost <= np.repeat(goal, n)
        left = np.repeat(self.start[1:], n) - np.arange(len(cost))  # rows to the end of the course, with this one
        stays = is_below & (left >= checkpoints.SUSTAINED)
        for ahead in range(1, checkpoints.SUSTAINED):
            stays[:-ahead] &= is_below[ahead:]
        rows = np.where(stays, np.arange(len(cost)), len(cost))
        first = np.minimum.reduceat(rows, self.start[:-1])
        reached = first < len(cost)
        first = np.where(reached, first, -1)
        before = np.where(reached, np.maximum(first - 1, self.start[:-1]), -1)
        with np.errstate(divide="ignore", invalid="ignore"):
            high, low = np.log(cost[before]), np.log(cost[first])
            part = np.where(high - low > 0, (high - np.log(goal)) / (high - low), 1.0)
        return before, first, part


def _ranges(start: Indices, n: Indices) -> Indices:
    """start[0], start[0] + 1, ... (n[0] of them), start[1], ..."""
    return np.repeat(start - (np.cumsum(n) - n), n) + np.arange(n.sum())
