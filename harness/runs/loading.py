"""The grid that a sweep's parent run keeps, and a sweep read back from the store as tables."""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.analysis import SweepCell, SweepData, sweep_data
from harness.config import KNOBS, ConfigError, Values
from harness.runs.grid import GridCell
from harness.store import Store, redacted
from harness.training import Identity, Plan

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.entities import Run

SUMMARIES = ("final", "best", "to_target", "diverged", "time", "noise")  # groups of metrics with one value a cell
GRID = "grid.json"  # of the parent run
REASONS = {"KILLED": "killed", "RUNNING": "not finished yet"}


def write_grid(folder: Path, cells: Sequence[GridCell]) -> None:
    """What each cell of a sweep is, as a file for its parent run: known also of a cell that never starts."""
    rows = [asdict(cell.identity) for cell in cells]
    (folder / GRID).write_text(redacted(json.dumps(rows, indent=1, ensure_ascii=False)), encoding="utf8")


def read_grid(store: Store, sweep: "Run") -> dict[str, Identity]:
    """Signature -> cell. Raises ConfigError for a sweep whose grid cannot be read."""
    again = "a sweep of this version (run its command again: finished cells of this version are found)"
    if not store.has_file(sweep.info.run_id, GRID):
        raise ConfigError(f"sweep {sweep.info.run_id}", again, f"one without {GRID}")
    try:
        with tempfile.TemporaryDirectory() as scratch:
            rows = json.loads(store.download(sweep, GRID, Path(scratch)).read_text(encoding="utf8"))
        return {row["signature"]: _identity(**row) for row in rows}
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise ConfigError(f"sweep {sweep.info.run_id}", again, f"a {GRID} of another form ({error!r})") from error


def _identity(values: Values, plan: dict[str, Any], **about: str) -> Identity:
    if lacking := {"dataset.name", *KNOBS} - values.keys():
        raise LookupError(*sorted(lacking))
    return Identity(values=values, plan=Plan(**{**plan, "sizes": tuple(plan["sizes"])}), **about)


def load_sweep(store: Store, sweep: str, *others: str) -> SweepData:
    """Read a sweep, and others as parts of it; cells that are not finished have a row in `cells` only.

    Of the runs of one cell the one that was started last counts, a finished one before any that is not.
    """
    parent, *more = (store.get(run_id) for run_id in (sweep, *others))
    grid: dict[str, Identity] = {}
    for part in (parent, *more):
        grid |= {key: cell for key, cell in read_grid(store, part).items() if key not in grid}
    runs = _latest([run for part in (sweep, *others) for run in store.cells(part)])
    cells = [_with_run(store, cell, runs.get(key)) for key, cell in grid.items()]
    about = dict(parent.data.tags) | {"cells": str(len(cells))}
    return sweep_data(parent.info.run_name, about, cells, _timing(runs))


def _timing(runs: "dict[str, Run]") -> str:
    finished = [run.data.tags for run in runs.values() if run.info.status == "FINISHED"]
    ways = {(tags["timing"], tags["process.host"]) for tags in finished}
    return "mixed" if len(ways) > 1 else next(iter(ways), ("exclusive",))[0]


def _latest(runs: "list[Run]") -> "dict[str, Run]":
    in_order = sorted(runs, key=lambda run: (run.info.status == "FINISHED", run.info.start_time))
    return {run.data.tags["signature"]: run for run in in_order}


def _with_run(store: Store, cell: Identity, run: "Run | None") -> SweepCell:
    if run is None:
        return SweepCell(cell, "MISSING", reason="never started")
    tags, status = run.data.tags, run.info.status
    reason = "" if status == "FINISHED" else tags.get("error", REASONS.get(status, status.lower()))
    summary = {key: value for key, value in sorted(run.data.metrics.items()) if key.split("/")[0] in SUMMARIES}
    tables = [_read(store, run, name) for name in ("replicas.csv", "history.csv")] if status == "FINISHED" else []
    return SweepCell(cell, status, tags.get("outcome", ""), reason, run.info.run_id, summary, *tables)


def _read(store: Store, run: "Run", name: str) -> "pd.DataFrame":
    import pandas as pd

    with tempfile.TemporaryDirectory() as scratch:
        return pd.read_csv(store.download(run, name, Path(scratch)), keep_default_na=False, na_values=["", "nan"])
