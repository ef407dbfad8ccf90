"""What the commands took, in words and tables."""

import csv
import math
import shlex
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks import machine, markdown_table
from benchmarks.command.runs import (
    COMPILED,
    HELP,
    MINUTE,
    OLD,
    OUTSIDE,
    REFUSED,
    UNKNOWN,
    UNWATCHED,
    Plan,
    Run,
    Runs,
    watched,
)

GROUPS = {
    "start and imports": (OUTSIDE, "import "),
    "composing": ("composing",),
    "opening the store": ("opening",),
    "data": ("data",),
    "training": ("training", "diagnostics"),
    "evaluation": ("evaluation",),
    "timing pass": ("timing pass",),
    "tracking": ("tracking", "tables", "provenance"),
    "figures of cells": ("figures",),
    "report": ("report",),
}  # by how the names of their phases begin; the rest is "other"
OVERHEAD = ("tracking", "figures of cells", "report")
WORDS = ("tables", "report: statistics", "report: reading")  # what of it neither tracks nor draws


def grouped(phases: Mapping[str, tuple[float, float]], i: int) -> dict[str, float]:
    """Seconds of each group: wall (i = 0) or CPU (i = 1)."""
    sums = dict.fromkeys([*GROUPS, "other"], 0.0)
    for name, seconds in phases.items():
        group = next((group for group, starts in GROUPS.items() if name.startswith(starts)), "other")
        sums[group] += seconds[i]
    return sums


def typical(runs: Sequence[Run]) -> Run:
    """The run of median CPU time."""
    return sorted(runs, key=lambda one: one.cpu)[(len(runs) - 1) // 2]


WHOLE = {UNWATCHED: 12.0, COMPILED: 7.0}  # seconds


class Goal(NamedTuple):
    """What was asked for: seconds, or a share, of CPU and of wall time, at most `limit`."""

    text: str
    cpu: float
    wall: float
    limit: float


def goals(found: Runs, largest: str) -> list[Goal]:
    """largest: the name of the report of the largest sweep."""
    answers = [
        Goal(f"{name} answers, s", *(statistics.median(getattr(one, of) for one in found[name]) for of in _BOTH), 1.0)
        for name in (HELP, REFUSED, UNKNOWN)
    ]
    first = [statistics.median(one.training_begins[i] for one in found[UNWATCHED]) for i in (1, 0)]
    whole = {name: [statistics.median(getattr(one, of) for one in found[name]) for of in _BOTH]
             for name in (UNWATCHED, COMPILED) if name in found}  # fmt: skip
    headline, minute = typical(found[OLD]), typical(found.get(MINUTE, found[OLD]))
    report, above = typical(found[largest]), "tracking and figures"
    share = overhead(minute, 1) / minute.cpu, overhead(minute, 0) / minute.wall
    tracking = [overhead(headline, i) - sum(headline.phases.get(name, (0, 0))[i] for name in WORDS) for i in (1, 0)]
    return [
        *answers,
        Goal("from Enter to the beginning of the headline sweep's training, s", *first, 2.5),
        *(Goal(f"{name}, s", *taken, WHOLE[name]) for name, taken in whole.items()),
        Goal(f"{above}, on top of the headline sweep, s", *tracking, 3.0),
        Goal("the same with tables and statistics, s", overhead(headline, 1), overhead(headline, 0), 3.0),
        Goal("and with importing mlflow and matplotlib, s", *(_with_imports(headline, i) for i in (1, 0)), 3.0),
        Goal(f"{above}, tables and statistics, as a share of a one-minute sweep", *share, 0.1),
        Goal(f"{largest}, s", report.cpu, report.wall, 20.0),
    ]


_BOTH = ("cpu", "wall")


def overhead(one: Run, i: int) -> float:
    """Wall (i = 0) or CPU (i = 1) seconds of tracking, figures and report; importing what they need is left out."""
    shares = grouped(one.phases, i)
    return sum(shares[group] for group in OVERHEAD)


def _with_imports(one: Run, i: int) -> float:
    return overhead(one, i) + sum(one.phases.get(f"import {name}", (0, 0))[i] for name in ("mlflow", "matplotlib"))


def write_csv(path: Path, found: Runs) -> None:
    """One row per command, repeat and phase."""
    with path.open("w", newline="", encoding="utf8") as file:
        writer = csv.writer(file)
        writer.writerow(["command", "repeat", "phase", "wall_seconds", "cpu_seconds"])
        for name, runs in found.items():
            for i, one in enumerate(runs):
                writer.writerow([name, i, "all", f"{one.wall:.4f}", f"{one.cpu:.4f}"])
                for phase, (wall, cpu) in sorted(one.phases.items(), key=lambda item: -item[1][0]):
                    writer.writerow([name, i, phase, f"{wall:.4f}", f"{cpu:.4f}"])


def report(found: Runs, imports: Mapping[str, float], plan: Plan) -> str:
    largest = [name for name in found if name.startswith("report of")][-1]
    missing = sorted({name for runs in found.values() for one in runs for name in one.missing})
    return "\n\n".join(
        [
            "# Where the time of the command goes",
            f"Measured by `python -m benchmarks.command`. {machine()} The headline sweep is "
            f"`python -m harness {shlex.join(plan.headline)}`, its store exists unless said otherwise. "
            "[Every number](command.csv).",
            "![Where the time of the command goes](command.png)",
            "## What was asked for",
            _goals_table(goals(found, largest)),
            "## Where it goes, wall seconds",
            _groups_table(watched(found), 0),
            "## Where it goes, CPU seconds",
            _groups_table(watched(found), 1),
            "## The headline sweep by phase",
            _phases_table(typical(found[OLD])),
            "## A cell more, and its words to MLflow",
            *_per_cell(found, plan),
            "## Imports, each alone in a process",
            markdown_table(["library", "seconds"], sorted(imports.items(), key=lambda item: -item[1])),
            "## Limits",
            "The probe costs about a microsecond per call, and imports take a tenth longer. CPU time counts child "
            "processes (git) under the interpreter. What a library imports in turn is its own, so who comes first pays "
            "for what two share."
            + (f" Not found, and therefore part of what calls it: {', '.join(missing)}." * bool(missing)),
        ]
    )


def _goals_table(asked: Sequence[Goal]) -> str:
    rows = [[goal.text, goal.limit, goal.cpu, goal.wall, _holds(goal)] for goal in asked]
    return markdown_table(["goal", "at most", "CPU", "wall", "holds"], rows)


def _holds(goal: Goal) -> str:
    if goal.wall <= goal.limit:
        return "yes"
    return "by CPU time only" if goal.cpu <= goal.limit else "no"


def _groups_table(found: Runs, i: int) -> str:
    rows = []
    for name, runs in found.items():
        one = typical(runs)
        rows.append([name, (one.wall, one.cpu)[i], *grouped(one.phases, i).values()])
    return markdown_table(["command", "all", *GROUPS, "other"], _rounded(rows))


def _rounded(rows: Sequence[Sequence[object]]) -> list[list[str]]:
    return [[cell if isinstance(cell, str) else f"{cell:.2f}" for cell in row] for row in rows]


def _phases_table(one: Run) -> str:
    rows = [[name, wall, cpu] for name, (wall, cpu) in sorted(one.phases.items(), key=lambda item: -item[1][0])]
    return markdown_table(["phase", "wall", "CPU"], _rounded([[*row] for row in rows if max(row[1:]) >= 0.005]))


def _per_cell(found: Runs, plan: Plan) -> list[str]:
    """From the largest sweep of cells that hardly train."""
    name, shape = list(plan.sweeps.items())[-1]
    one, n_cells = typical(found[name]), math.prod(shape)
    rows = [
        [group, 1e3 * wall / n_cells, 1e3 * cpu / n_cells]
        for (group, wall), cpu in zip(grouped(one.phases, 0).items(), grouped(one.phases, 1).values(), strict=True)
        if group != "start and imports"
    ]
    calls = [[call, n / n_cells, 1e3 * seconds / n_cells] for call, (n, seconds) in sorted(one.calls.items())]
    return [
        f"The sweep of {name}, divided by their number:",
        markdown_table(["per cell", "wall, ms", "CPU, ms"], rows),
        markdown_table(["MLflow client", "calls per cell", "wall, ms per cell"], calls),
    ]
