"""What a sweep says first: which arm has the lowest cost when all cells have spent the same of a clock."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.analysis.arms import COMPARED, Arm, Tuning, arm, tuning
from harness.analysis.comparisons import Question, costs_when_spent
from harness.analysis.courses import Courses
from harness.training import MOST_BLOCKS

if TYPE_CHECKING:
    import pandas as pd

ALONG = ("setting", "batch_size", "reduction", "learning_rate")  # of these, the first that varies is compared


@dataclass(eq=False, kw_only=True)
class Lead(Question):
    """The arm with the lowest median training cost at one budget of a clock, against the next one.

    Its comparison is of first with second, and there is one only if their tuning allows it.
    """

    clock: str
    budget: float
    first: Arm
    second: Arm
    tuning: Tuning

    @property
    def most_pairs(self) -> float:
        """Seconds are read in so many blocks, however many replicas there are."""
        return MOST_BLOCKS if self.clock == "train seconds" else np.inf


@dataclass(frozen=True, eq=False)
class Headline:
    """The comparison of the cells of a setting, or of the settings of a task.

    of: its name. along: the column of ALONG in which the arms differ; "" for a single finished cell. cells: those that
    finished. n_cells: with those that are missing. leads: one for each clock, without updates where equal epochs are
    equal updates; none for a single cell, and where half of the replicas or more of every cell diverged.
    """

    of: str
    along: str
    cells: "pd.DataFrame"
    n_cells: int
    leads: list[Lead]


def headlines(
    cells: "pd.DataFrame", courses: Courses, clocks: Mapping[str, str], n_blocks: int | None = None
) -> list[Headline]:
    """The headlines of all scopes, whose comparisons are yet to be made.

    cells: all of the sweep. clocks: name -> column of a history. n_blocks: as in `costs_when_spent`.
    """
    return [
        Headline(of, along, done, n_cells, _leads(done, courses, clocks, along, n_blocks))
        for of, along, done, n_cells in scopes(cells)
    ]


def scopes(cells: "pd.DataFrame") -> Iterator[tuple[str, str, "pd.DataFrame", int]]:
    """Of, along, cells, n_cells of each `Headline`: each task, and settings with several cells where it has several."""
    for task, own in cells.groupby("task", sort=False):
        settings = own.groupby("setting", sort=False) if own["setting"].nunique() > 1 else ()
        for of, part in [(task, own), *((name, part) for name, part in settings if len(part) > 1)]:
            done = part[part["status"] == "FINISHED"]
            if len(done):
                yield str(of), next((key for key in ALONG if done[key].nunique() > 1), ""), done, len(part)


def epochs_tell(cells: "pd.DataFrame") -> bool:
    """Whether equal epochs are equal updates."""
    return cells["batch_size"].nunique() == 1 and cells["last_batch"].nunique() == 1


def _leads(
    cells: "pd.DataFrame", courses: Courses, clocks: Mapping[str, str], along: str, n_blocks: int | None
) -> list[Lead]:
    found = []
    for clock, column in clocks.items() if along else ():
        budget, costs = costs_when_spent(cells, courses, column, n_blocks)
        if costs and not (clock == "updates" and epochs_tell(cells)):
            arms = [arm(own, costs, grid=cells) for _, own in cells.groupby(along, sort=False)]
            first, second = sorted(arms, key=lambda each: each.cost)[:2]
            how = tuning(first, second, along)
            compared = (first.costs, second.costs) if how in COMPARED else None
            found.append(Lead(clock=clock, budget=budget, first=first, second=second, tuning=how, arms=compared))
    return found
