"""What a sweep found: best rates, targets, scaling, sum against mean, stability, and who wins on which clock."""

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.analysis import batch_sizes
from harness.analysis.batch_sizes import GROUP, TARGET_LABELS, by_cell, final_costs, targets_table, to_goals
from harness.analysis.comparisons import CLOCK_COLUMNS, compare, costs_when_spent
from harness.analysis.courses import Courses
from harness.analysis.headlines import Headline, headlines
from harness.analysis.improvement import Improvement, improvements
from harness.analysis.reductions import Pair, SumOrMean, matched_pairs, sum_or_mean
from harness.analysis.sweep_tables import SweepData
from harness.analysis.timing import BLOCKS
from harness.analysis.variance import Shares, variance_shares
from harness.inference import Array, Exponent, median_intervals

if TYPE_CHECKING:
    import pandas as pd

TUNED = "train_cost_at_equal_epochs"  # of all learning rates of a batch size
SEED = 20_210_114  # of the resampling only: an answer is the same each time it is asked for


@dataclass(repr=False, frozen=True, eq=False)
class Answer:
    """What the note and the figures show. Cells are given by their signatures, settings by their names."""

    targets_at: dict[str, float]  # setting -> cost per example
    given_targets: set[str]  # settings whose target was asked for
    n_replicas: int
    final_costs: dict[str, Array]  # cell -> (R,), as `batch_sizes.final_costs`
    to_target: dict[str, dict[str, Array]]  # cell -> updates, epochs, seconds -> (R,), as `updates_to_target`
    cells: "pd.DataFrame"  # per cell: final, best and to-target values, medians over replicas with their limits
    best: "pd.DataFrame"
    targets: "pd.DataFrame"
    fits: "pd.DataFrame"
    frontier: "pd.DataFrame"
    exponents: dict[tuple[str, str], Exponent]
    pairs: list[Pair]
    headlines: list[Headline]  # of each task and of each setting that has something to compare
    sum_or_mean: list[SumOrMean]  # of each setting that has both
    n_comparisons: int  # that these two make: one family of claims
    shares: list[Shares]
    improvements: list[Improvement]

    def __repr__(self) -> str:
        parts = ", ".join(field.name for field in fields(self))
        return (
            f"Answer of {len(self.cells)} cells, {self.n_comparisons} comparisons (note() has its sentences): {parts}"
        )

    @property
    def most_pairs(self) -> int:
        """Pairs of replicas that tell something, in that comparison which has most of them."""
        asked = [*(lead for each in self.headlines for lead in each.leads), *self.sum_or_mean]
        return max((one.comparison.pairs for one in asked if one.comparison), default=0)


def answer(data: SweepData) -> Answer:
    """Answer from the finished cells of a sweep; every table is empty when there are none."""
    rng = np.random.default_rng(SEED)
    cells = data.finished
    goals, given = batch_sizes.target_costs(cells, data.histories)
    costs = final_costs(data.replicas)
    courses = Courses(data.histories)
    reached = to_goals(courses, goals, cells)
    n_replicas = max((len(row) for row in costs.values()), default=0)
    tuned = costs | at_equal_epochs(cells, courses)
    best = batch_sizes.best_rates(cells, tuned, rng)
    targets = targets_table(cells, reached, rng, data.n_blocks)
    own_cells = cell_intervals(data.replicas, costs, tuned, reached, data.n_blocks)
    if data.timing != BLOCKS:
        for own in (targets, own_cells):
            own[[name for name in own if name.startswith("seconds")]] = np.nan
    pairs = matched_pairs(cells, costs)
    first, reductions, n_comparisons = compared(data, courses, pairs)
    return Answer(
        targets_at=goals,
        given_targets=given,
        n_replicas=n_replicas,
        final_costs=costs,
        to_target=reached,
        cells=own_cells,
        best=best,
        targets=targets,
        fits=batch_sizes.fits_table(targets, reached, rng),
        frontier=batch_sizes.frontier_table(cells),
        exponents=batch_sizes.exponents(cells, tuned, rng),
        pairs=pairs,
        headlines=first,
        sum_or_mean=reductions,
        n_comparisons=n_comparisons,
        shares=variance_shares(cells, costs),
        improvements=improvements(first, courses, rng),
    )


def compared(data: SweepData, courses: Courses, pairs: list[Pair]) -> tuple[list[Headline], list[SumOrMean], int]:
    """All that a sweep compares, as one family of claims, and its size. Seconds only of blocks.

    courses: of its histories. pairs: `matched_pairs`.
    """
    clocks = {name: own for name, own in CLOCK_COLUMNS.items() if name != "train seconds" or data.timing == BLOCKS}
    first = headlines(data.cells, courses, clocks, data.n_blocks)
    reductions = sum_or_mean(data.finished, courses, pairs)
    n_comparisons = compare([*(lead for each in first for lead in each.leads), *reductions], data.looks)
    return first, reductions, n_comparisons


def at_equal_epochs(cells: "pd.DataFrame", courses: Courses) -> dict[str, Array]:
    """Cell -> training cost (R,) at the most epochs that all learning rates of its batch size have trained.

    That is the final cost, unless some stopped early: at a target, or at a budget in seconds. Without groups of which
    half of the replicas or more of every cell diverged.
    """
    groups = (own for _, own in cells.groupby(GROUP)) if len(cells) else ()
    return {cell: row for own in groups for cell, row in costs_when_spent(own, courses, "epoch")[1].items()}


def cell_intervals(
    replicas: "pd.DataFrame",
    costs: dict[str, Array],
    tuned: dict[str, Array],
    reached: dict[str, dict[str, Array]],
    n_blocks: int | None = None,
) -> "pd.DataFrame":
    """Per cell the median over all replicas, and its limits, of the final cost (`costs`), of that which chooses a rate
    (`tuned`), of the best cost, and of updates, epochs and seconds to target.

    Unreached targets and diverged costs are coded +inf. Seconds: of the first n_blocks replicas, which are independent.
    """
    import pandas as pd

    best = by_cell(replicas, "best_validation_cost") if costs else {}
    samples = {"final_train_cost": costs, TUNED: tuned, "best_validation_cost": best}
    for axis in TARGET_LABELS:
        most = n_blocks if axis == "seconds" else None
        samples[f"{axis}_to_target"] = {cell: own[axis][:most] for cell, own in reached.items()}
    columns: dict[str, Any] = {"cell": list(costs)}
    for name, own in samples.items() if costs else ():
        limits = median_intervals([own[cell] for cell in costs])
        columns |= {f"{name}{end}": column for end, column in zip(("", "_low", "_high"), limits, strict=True)}
    return pd.DataFrame(columns)
