"""Comparisons of arms replica by replica: costs at one budget of a clock, and the family of all that a note makes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from harness.analysis.courses import Courses
from harness.inference import Array, Comparison, Interval, compare_family

if TYPE_CHECKING:
    import pandas as pd

Arms = tuple[Array, Array]
MARGIN = 0.05  # costs within 5 % count as equal
CLOCK_COLUMNS = {"epochs": "epoch", "updates": "update", "train seconds": "train_seconds"}  # columns of a history


class Standing(StrEnum):
    """What may be said of the first of two arms: a comparison's verdict, or that no comparison was allowed."""

    LOWER = "a lower"
    HIGHER = "b lower"
    EQUAL = "equivalent"
    OPEN = "unresolved"
    NOT_COMPARED = "not compared"


@dataclass(eq=False, kw_only=True)
class Question:
    """Two arms and, once `compare` has answered it, what comparing them came to.

    arms: costs (R,) of the same replicas, +inf where one diverged; None where no comparison is allowed.
    """

    arms: Arms | None = None
    comparison: Comparison | None = None

    @property
    def most_pairs(self) -> float:
        """That more replicas can bring."""
        return np.inf

    @property
    def standing(self) -> Standing:
        return Standing(self.comparison.verdict) if self.comparison else Standing.NOT_COMPARED


def compare(questions: Sequence[Question], looks: Sequence[int] = ()) -> int:
    """Answer the questions as one family of claims; returns the size of that family.

    The same arms asked about twice are one comparison, in whichever order. looks: see `compare_family`.
    """
    keys = [tuple(costs.tobytes() for costs in one.arms or ()) for one in questions]
    distinct: dict[tuple[bytes, ...], Arms] = {}
    for key, one in zip(keys, questions, strict=True):
        if one.arms and key[::-1] not in distinct:
            distinct[key] = one.arms
    known = compare_family(distinct, MARGIN, looks)
    known = {key[::-1]: _turned(comparison) for key, comparison in known.items()} | known
    for key, one in zip(keys, questions, strict=True):
        one.comparison = known.get(key)
    return len(distinct)


def _turned(comparison: Comparison) -> Comparison:
    """Of b with a."""
    ratio, turned = comparison.ratio, {"a lower": "b lower", "b lower": "a lower"}
    with np.errstate(divide="ignore"):  # a limit may be 0, or infinite
        ratio = Interval(*(1 / np.array([ratio.estimate, ratio.high, ratio.low])).tolist())
    verdict = turned.get(comparison.verdict, comparison.verdict)
    return replace(comparison, ratio=ratio, verdict=verdict, diverged=comparison.diverged[::-1])


def costs_when_spent(
    cells: "pd.DataFrame", courses: Courses, column: str, n_blocks: int | None = None
) -> tuple[float, dict[str, Array]]:
    """The most of a clock that every cell has spent, and cell -> training cost (R,) then.

    Cells of which half of the replicas or more diverged end early and do not bound the budget. 0 and no costs if all
    cells are such, or a replica stopped before its first update. n_blocks: at equal seconds only so many replicas,
    which were timed independently; None: all.
    """
    names = [str(cell) for cell in cells["cell"]]
    steady = (cells["n_diverged"] < cells["n_replicas"] / 2).to_numpy()
    if not steady.any():
        return 0.0, {}
    own, n = courses.of(names)
    budget = float(courses.spent(own, n, column)[steady].min())
    most = n_blocks if column == "train_seconds" else None
    costs = courses.split(courses.costs_at(own, column, budget), n) if budget else []
    return budget, {cell: costs[:most] for cell, costs in zip(names, costs, strict=bool(budget))}


def spent(history: "pd.DataFrame", column: str) -> float:
    """What every replica of a cell has spent that did not diverge: less where one has stopped at a target."""
    courses = Courses(history)
    return float(courses.spent(*courses.all_of_one(), column)[0])


def costs_at(history: "pd.DataFrame", column: str, budget: float) -> Array:
    """Training cost (R,) of the replicas of a cell when `column` is at `budget`, see `Courses.costs_at`."""
    courses = Courses(history)
    return courses.costs_at(courses.all_of_one()[0], column, budget)
