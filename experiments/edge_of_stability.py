"""Judges edge_of_stability: whether sharpness rises to 2/η at B=N and stays there, and stays below at small B."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.analysis import BATCH_SIZE, Evidence, Finding, Panel, Series, limits
from harness.inference import Interval, Verdict, all_hold, inside, mean_interval, together
from harness.report import interval, number, verdicts_along

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.floating]

EDGE = 2.0  # of η λ_max
ABOUT = (0.1, 0.15, 0.2, 0.25)  # of 2: what "about 2" means
BELOW = (0.0, 0.05, 0.1)  # of 2: what "below 2" means
LATE = 0.25  # the level is read in the updates after this part of a run
SMALL = 1 / 8  # of N, at most: the sizes that S3 is about


@dataclass(frozen=True, eq=False)
class Arm:
    """η λ_max of the runs of one problem, rate and batch size.

    Means over the runs. start: at the first update. level: late in the run. peak: the largest value that was measured.
    Level and peak are infinite, without limits, if a run diverged. update, middle: the median over the runs at
    each measured update.
    """

    problem: str
    rate: float
    batch_size: float
    n_train: float
    start: Interval
    level: Interval
    peak: Interval
    n_runs: int
    update: Array
    middle: Array

    @property
    def name(self) -> str:
        return f"{self.problem}, η={self.rate:g}"


def judge(evidence: Evidence) -> Iterator[Finding]:
    arms = list(arms_of(evidence))
    whole = [arm for arm in arms if arm.batch_size == arm.n_train]
    small = [arm for arm in arms if arm.batch_size <= SMALL * arm.n_train]
    yield full_batch(whole)
    yield small_batches(small, arms)


def arms_of(evidence: Evidence) -> Iterator[Arm]:
    cells = evidence.cells
    for (problem, B, rate), own in cells.groupby(["dataset", "batch_size", "learning_rate"], sort=False):
        tables = [evidence.table(cell, "diagnostics.csv").sort_values("update") for cell in own["cell"]]
        lost = [bool((evidence.histories[cell]["outcome"] == "diverged").any()) for cell in own["cell"]]
        starts = [table["eta_lambda_max"].iloc[0] for table in tables]
        levels = [np.inf if gone else level_of(table) for table, gone in zip(tables, lost, strict=True)]
        peaks = [np.inf if gone else table["eta_lambda_max"].max() for table, gone in zip(tables, lost, strict=True)]
        start, level, peak = (mean_interval(values) for values in (starts, levels, peaks))
        about = str(problem), float(rate), float(B), float(own["n_train"].iloc[0])
        yield Arm(*about, start, level, peak, len(own), *_median_run(tables))


def level_of(table: "pd.DataFrame") -> float:
    """Mean of η λ_max over the measured updates after the first quarter of the run."""
    late = table.loc[table["update"] > LATE * table["update"].max(), "eta_lambda_max"]
    return float(late.mean())


def _median_run(tables: "list[pd.DataFrame]") -> tuple[Array, Array]:
    import pandas as pd

    found = pd.concat(tables).groupby("update")["eta_lambda_max"].median()
    return found.index.to_numpy(dtype=float), found.to_numpy(dtype=float)


# S2


def rises_and_stays(arm: Arm, margin: float) -> Verdict:
    """η λ_max starts below the band around 2 and ends inside it."""
    low, high = EDGE * (1 - margin), EDGE * (1 + margin)
    return all_hold([inside(arm.start, 0, low), inside(arm.level, low, high)])


def full_batch(arms: list[Arm]) -> Finding:
    along = {margin: together(rises_and_stays(arm, margin) for arm in arms) for margin in ABOUT}
    each = {arm.name: _along({m: rises_and_stays(arm, m) for m in ABOUT}) for arm in arms}
    shown = "; ".join(
        f"{arm.name}: from {number(arm.start.estimate)} to {interval(arm.level)} ({each[arm.name]})" for arm in arms
    )
    said = f"η λ_max at B=N, at the start and after the first quarter of a run - {shown}. About: {_along(along)}."
    return _finding("S2", together(along.values()), said, arms, [arm.level for arm in arms], _courses(arms))


# S3


def stays_below(arm: Arm, margin: float) -> Verdict:
    """η λ_max is below 2, by the margin, at every update that was measured."""
    return inside(arm.peak, 0, EDGE * (1 - margin))


def small_batches(arms: list[Arm], every: list[Arm]) -> Finding:
    along = {margin: together(stays_below(arm, margin) for arm in arms) for margin in BELOW}
    shown = "; ".join(f"{arm.name}, B={arm.batch_size:g}: {interval(arm.peak)}" for arm in arms)
    said = f"The largest η λ_max of a run, B at most N/{1 / SMALL:g} - {shown}. Below: {_along(along)}."
    return _finding("S3", together(along.values()), said, arms, [arm.peak for arm in arms], list(_peaks(every)))


def _along(verdicts: dict[float, Verdict]) -> str:
    return f"by a margin of {verdicts_along(verdicts)}"


def _finding(
    claim: str, verdict: Verdict, said: str, arms: list[Arm], values: list[Interval], panels: list[Panel]
) -> Finding:
    if not arms:
        return Finding(claim, Verdict.UNRESOLVED, "No run of this size was measured.")
    unit = f"= η λ_max ({arms[0].name}, B={arms[0].batch_size:g})"
    return Finding(claim, verdict, said, unit, values[0], min(arm.n_runs for arm in arms), panels)


def _by_problem(arms: Iterable[Arm]) -> dict[str, list[Arm]]:
    found: dict[str, list[Arm]] = {}
    for arm in arms:
        found.setdefault(arm.problem, []).append(arm)
    return found


def _courses(arms: list[Arm]) -> list[Panel]:
    panels = []
    for problem, own in _by_problem(arms).items():
        lines = [Series(_rank(i), arm.update, arm.middle) for i, arm in enumerate(own)]
        ends = [min(arm.update[0] for arm in own), max(arm.update[-1] for arm in own)]
        rates = ", ".join(f"{arm.rate:g}" for arm in own)
        lines.append(Series("2", ends, [EDGE, EDGE], kind="reference"))
        panels.append(Panel(f"{problem}, B=N, η = {rates}", "updates", "η λ_max (median run)", lines, log="x"))
    return panels


def _rank(place: int) -> str:
    return {0: "lowest η", 1: "second η"}.get(place, f"η number {place + 1}")


def _peaks(arms: list[Arm]) -> Iterator[Panel]:
    for problem, own in _by_problem(arms).items():
        lines = []
        for i, rate in enumerate(sorted({arm.rate for arm in own})):
            line = sorted((arm for arm in own if arm.rate == rate), key=lambda arm: arm.batch_size)
            sizes = [arm.batch_size for arm in line]
            lines.append(Series(_rank(i), sizes, *limits(arm.peak for arm in line)))
        ends = [min(arm.batch_size for arm in own), max(arm.batch_size for arm in own)]
        lines.append(Series("2", ends, [EDGE, EDGE], kind="reference"))
        yield Panel(problem, BATCH_SIZE, "largest η λ_max of a run", lines, log="x")
