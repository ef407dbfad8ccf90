"""A store read with plain SQL, and the comparison of a disturbed sweep with an undisturbed one.

Nothing here uses the harness or MLflow's client: what they wrote is read behind their backs.
"""

import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import sqlalchemy

Point = tuple[str, int, float]  # key, step, value


@dataclass
class Run:
    """A run with its tags and its points, in the order of their times."""

    run_id: str
    name: str
    status: str
    artifacts: Path
    tags: dict[str, str] = field(default_factory=dict)
    points: list[Point] = field(default_factory=list)
    times: list[int] = field(default_factory=list)  # of the points, ms since 1970

    def files(self) -> set[str]:
        return {str(path.relative_to(self.artifacts)) for path in self.artifacts.rglob("*") if path.is_file()}

    def table(self, name: str) -> pd.DataFrame:
        return pd.read_csv(self.artifacts / name, keep_default_na=False, na_values=["nan", ""])


class Records:
    """All runs of an experiment but deleted ones, now. artifacts: the folder that `mlflow-artifacts:/` stands for."""

    def __init__(self, uri: str, experiment: str = "harness", artifacts: Path | None = None) -> None:
        engine = sqlalchemy.create_engine(uri, poolclass=sqlalchemy.NullPool)
        with engine.connect() as connection:
            ask = lambda query: connection.execute(sqlalchemy.text(query), {"experiment": experiment})  # noqa: E731
            of = "JOIN runs r USING (run_uuid) JOIN experiments e USING (experiment_id) WHERE e.name = :experiment"
            found = ask(
                "SELECT run_uuid, r.name, status, artifact_uri FROM runs r JOIN experiments e USING (experiment_id)"
                " WHERE e.name = :experiment AND r.lifecycle_stage = 'active' ORDER BY start_time, run_uuid"
            )
            self.runs = {row[0]: Run(row[0], row[1], row[2], _place(row[3], artifacts)) for row in found}
            for run_id, key, value in ask(f"SELECT run_uuid, t.key, t.value FROM tags t {of}"):
                if run_id in self.runs:  # and not created just now
                    self.runs[run_id].tags[key.removeprefix("mlflow.harness.")] = value
            points = f"SELECT run_uuid, m.key, step, value, timestamp FROM metrics m {of}"
            for run_id, key, step, value, time in ask(points + " ORDER BY timestamp, step, m.key"):
                if run_id in self.runs:
                    self.runs[run_id].points.append((key, step, value))
                    self.runs[run_id].times.append(time)
        engine.dispose()

    def of_kind(self, kind: str) -> list[Run]:
        return [run for run in self.runs.values() if run.tags.get("kind") == kind]

    @cached_property
    def cells(self) -> list[Run]:
        return self.of_kind("cell")

    @cached_property
    def parents(self) -> list[Run]:
        return self.of_kind("sweep")

    def finished(self) -> dict[str, list[Run]]:
        """Signature -> finished runs of that cell."""
        runs = defaultdict(list)
        for run in self.cells:
            if run.status == "FINISHED":
                runs[run.tags["signature"]].append(run)
        return runs


def _place(uri: str, artifacts: Path | None) -> Path:
    path = uri.removeprefix("mlflow-artifacts:/")
    return artifacts / path.lstrip("/") if artifacts else Path(uri.removeprefix("file://"))


@dataclass
class Tally:
    """The result of one trial, or of all trials of a fault; complaints: other failures, one sentence each.

    tracebacks: shown where no error was planted in the program. executed: how often planted code ran.
    """

    tried: int = 0
    runs_lost: int = 0
    points_lost: int = 0
    duplicates: int = 0
    running: int = 0
    tracebacks: int = 0
    executed: int = 0
    identical: int = 0
    complaints: list[str] = field(default_factory=list)

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(**{key: getattr(self, key) + getattr(other, key) for key in self.__dataclass_fields__})

    @property
    def good(self) -> bool:
        bad = self.runs_lost, self.points_lost, self.duplicates, self.running, self.tracebacks, self.executed
        return not any(bad) and not self.complaints and self.identical == self.tried > 0


def compare(reference: Records, after: Records) -> Tally:
    """A sweep that was disturbed and repeated, beside the same sweep undisturbed."""
    tally, finished = Tally(tried=1), after.finished()
    identical = True
    for signature, (wanted,) in reference.finished().items():
        own = finished.get(signature, [])
        tally.runs_lost += not own
        tally.duplicates += max(0, len(own) - 1)
        for run in own:
            tally.points_lost += _n_missing(wanted.points, run.points)
            identical &= _same_tables(wanted, run)
        for run in after.cells:
            if run.tags["signature"] == signature and run.status != "FINISHED":
                tally.complaints += _unless_prefix(wanted, run)
    tally.duplicates += sum(count_duplicates(run) for run in after.cells)
    tally.running = sum(run.status == "RUNNING" for run in after.runs.values())
    tally.complaints += _parents_closed(after)
    last = after.parents[-1] if after.parents else None
    if last is None or "cells.csv" not in last.files():
        tally.complaints.append("the last sweep has no table of cells")
    elif differing := _differing_cells(reference.parents[-1], last):
        identical = False
        tally.complaints.append(f"the table of cells differs in {', '.join(differing)}")
    tally.identical = int(identical)
    return tally


def _timed(key: str) -> bool:
    """Whether the metric is a reading of a clock."""
    return key.startswith("time/") or "seconds" in key


def _n_missing(wanted: list[Point], found: list[Point]) -> int:
    """Points of the one list that the other has not; of a clock's readings only that they are there."""
    comparable = [
        Counter((key, step, None if _timed(key) else value) for key, step, value in points)
        for points in (wanted, found)
    ]
    return (comparable[0] - comparable[1]).total()


def count_duplicates(run: Run) -> int:
    """A metric has one point at a step."""
    return sum(count - 1 for count in Counter((key, step) for key, step, _ in run.points).values())


def n_lost_of_own_history(run: Run) -> int:
    """Checkpoints in a finished run's table that are no points of its curve, though the first in a 19th of the run."""
    medians = run.table("history.csv").groupby("update")["train_cost"].median()
    medians = medians.groupby(19 * medians.index // medians.index[-1]).head(1)
    points = {step: value for key, step, value in run.points if key == "cost/train"}
    return sum(not np.isclose(points.get(step, np.nan), cost, rtol=1e-12) for step, cost in medians.items())


def _unless_prefix(wanted: Run, cut: Run) -> list[str]:
    """The curve of a cell that did not finish must be the beginning of the undisturbed one."""
    curves = [[(step, v) for key, step, v in run.points if key == "cost/train"] for run in (wanted, cut)]
    whole, begun = (sorted(curve) for curve in curves)
    return [] if begun == whole[: len(begun)] else [f"{cut.name} ({cut.status}) has holes in its curve"]


def _same_tables(wanted: Run, run: Run) -> bool:
    for name in ("history.csv", "fingerprints.csv", "batch_costs.csv"):
        one, other = (each.table(name).drop(columns="train_seconds", errors="ignore") for each in (wanted, run))
        if not one.equals(other):
            return False
    with np.load(wanted.artifacts / "weights.npz") as one, np.load(run.artifacts / "weights.npz") as other:
        return one.files == other.files and all(one[name].tobytes() == other[name].tobytes() for name in one.files)


def _differing_cells(wanted: Run, parent: Run) -> list[str]:
    """The columns in which the tables of two sweeps differ."""
    one, other = (_timeless(run.table("cells.csv")) for run in (wanted, parent))
    shared = [name for name in one if name in other]
    return [*set(one) ^ set(other), *(name for name in shared if not one[name].equals(other[name]))]


def _timeless(cells: pd.DataFrame) -> pd.DataFrame:
    """Without clocks and ids; PostgreSQL returns params and tags in any order, so columns come in any order, too."""
    kept = [name for name in sorted(cells.columns) if not _timed(name) and name != "run_id"]
    return cells[kept].sort_values("cell").reset_index(drop=True)


def _parents_closed(after: Records) -> list[str]:
    """Every sweep that trained something has a report, the last one is complete."""
    complaints = []
    for parent in after.parents:
        has_cells = any(f"sweep.{parent.run_id}" in cell.tags for cell in after.cells)
        if has_cells and "report.html" not in parent.files():
            complaints.append(f"the sweep {parent.run_id} ({parent.status}) has no report")
    if after.parents and after.parents[-1].status != "FINISHED":
        complaints.append(f"the repeated sweep is {after.parents[-1].status}")
    return complaints


def journaled(folder: Path) -> dict[str, list[Point]]:
    """The points that wait in the journals of a folder, by the run's id or, if it is not known, the journal's name.

    Whole lines only. Several journals may wait for one run: that of its answer is another one.
    """
    waiting: dict[str, list[Point]] = {}
    for state_file in (folder / "mlruns" / "undelivered").glob("[!.]*/state.json"):
        state = json.loads(state_file.read_text())
        text = (state_file.parent / "journal.jsonl").read_bytes()
        parts = [text[begin:end] for begin, end, *_ in state.get("held", ())] + [text[state["offset"] :]]
        lines = [line for part in parts for line in part.splitlines(keepends=True)]
        said = [json.loads(line) for line in lines if line.endswith(b"\n")]
        waiting.setdefault(state["run_id"] or state_file.parent.name, []).extend(
            (key, step, value) for kind, what in said if kind == "points" for key, value, _, step in what["points"]
        )
    return waiting


def n_lost_since(witness: tuple[Records, dict[str, list[Point]]], after: Records) -> int:
    """Points that the store or a journal held at some moment and the store has not now."""
    then, waiting = witness
    lost = sum(_n_missing(run.points, after.runs[run_id].points) for run_id, run in then.runs.items())
    runs = after.runs | {run.tags.get("journal"): run for run in after.runs.values()}
    for name, points in waiting.items():
        lost += _n_missing(points, runs[name].points if name in runs else [])
    return lost
