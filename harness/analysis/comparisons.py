"""Comparisons of arms replica by replica: costs at one budget of a clock, and the family of all that a note makes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from harness.inference import Array, Comparison, Interval, Verdict, compare_family, equal, lower

if TYPE_CHECKING:
    import pandas as pd

Arms = tuple[Array, Array]
MARGIN = 0.05  # costs within 5 % count as equal
CLOCK_COLUMNS = {"epochs": "epoch", "updates": "update", "train seconds": "train_seconds"}  # columns of a history


class Standing(StrEnum):
    """What may be said of the first of two arms. OPEN: the test does not tell. NOT_COMPARED: no test was allowed."""

    LOWER = "lower"
    HIGHER = "higher"
    EQUAL = "equal"
    OPEN = "unresolved"
    NOT_COMPARED = "not compared"


@dataclass(frozen=True, eq=False, kw_only=True)
class Question:
    """Two arms and what comparing them came to.

    arms: costs (R,) of the same replicas, +inf where one diverged; None where no comparison is allowed.
    """

    arms: Arms | None = None
    comparison: Comparison | None = None

    @property
    def standing(self) -> Standing:
        if self.comparison is None:
            return Standing.NOT_COMPARED
        if equal(self.comparison) is Verdict.SUPPORTED:
            return Standing.EQUAL
        found = {Verdict.SUPPORTED: Standing.LOWER, Verdict.REFUTED: Standing.HIGHER}
        return found.get(lower(self.comparison), Standing.OPEN)


Q = TypeVar("Q", bound=Question)


def answered(questions: Sequence[Q], rng: np.random.Generator) -> tuple[list[Q], int]:
    """The questions with their comparisons, which are one family of claims, and the size of that family.

    The same arms asked about twice are one comparison, in whichever order.
    """
    distinct: dict[tuple[bytes, bytes], Arms] = {}
    for one in questions:
        if one.arms and _key(*reversed(one.arms)) not in distinct:
            distinct[_key(*one.arms)] = one.arms
    known = compare_family(distinct, MARGIN, rng)
    turned = {(b, a): reversed_comparison(comparison) for (a, b), comparison in known.items() if a != b}
    comparison = turned | known
    after = [replace(one, comparison=comparison[_key(*one.arms)]) if one.arms else one for one in questions]
    return after, len(distinct)


def _key(a: Array, b: Array) -> tuple[bytes, bytes]:
    return a.tobytes(), b.tobytes()


def reversed_comparison(comparison: Comparison) -> Comparison:
    """Of b with a."""
    ratio, swapped = comparison.ratio, {"a lower": "b lower", "b lower": "a lower"}
    return replace(
        comparison,
        ratio=Interval(1 / ratio.estimate, 1 / ratio.high, 1 / ratio.low),
        verdict=swapped.get(comparison.verdict, comparison.verdict),
        diverged=comparison.diverged[::-1],
    )


def costs_when_spent(
    cells: "pd.DataFrame", histories: "pd.DataFrame", column: str, n_blocks: int | None = None
) -> tuple[float, dict[str, Array]]:
    """The most of a clock that every cell has spent, and cell -> training cost (R,) then.

    Cells of which half of the replicas or more diverged end early and do not bound the budget. NaN and no costs if all
    cells are such. n_blocks: at equal seconds only so many replicas, which were timed independently; None: all.
    """
    steady = set(cells.loc[cells["n_diverged"] < cells["n_replicas"] / 2, "cell"])
    curves: dict[str, Any] = dict(tuple(histories[histories["cell"].isin(cells["cell"])].groupby("cell", sort=False)))
    budget = min((spent(rows, column) for cell, rows in curves.items() if cell in steady), default=np.nan)
    most = n_blocks if column == "train_seconds" else None
    return budget, {cell: costs_at(curves[cell], column, budget)[:most] for cell in cells["cell"]} if steady else {}


def spent(history: "pd.DataFrame", column: str) -> float:
    """What every replica of a cell has spent that did not diverge; seconds differ between replicas."""
    last = history.groupby("replica")[[column, "outcome"]].last()
    if column != "train_seconds":
        return float(last[column].max())
    return float(last.loc[last["outcome"] != "diverged", column].min())


def costs_at(history: "pd.DataFrame", column: str, budget: float) -> Array:
    """Training cost (R,) of the replicas when `column` is at `budget`, log-linear in between; inf: diverged by then."""
    costs = []
    for _, own in history.groupby("replica"):
        lost = own[column].iloc[-1] <= budget * (1 + 1e-12) and own["outcome"].iloc[-1] == "diverged"
        with np.errstate(divide="ignore"):
            cost = np.exp(np.interp(budget, own[column], np.log(own["train_cost"].to_numpy(dtype=float))))
        costs.append(np.inf if lost or np.isnan(cost) else cost)
    return np.array(costs)
