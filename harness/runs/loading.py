"""The grid that a sweep's parent run keeps, and a sweep read back from the store as tables."""

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.analysis import LOOKS, SweepCell, SweepData, joined, sweep_data, usable
from harness.config import ConfigError, sweep_label, visible
from harness.network import LOSSES
from harness.runs.cell_files import Read, read_tables
from harness.runs.grid_file import read_grid
from harness.runs.recording import NO_CHARTS
from harness.store import ARITHMETIC, Store, first_line, read_run
from harness.training import Identity, decisive_values, plan_for, tables

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.entities import Run

SUMMARIES = ("final", "best", "baseline", "to_target", "diverged", "time", "noise")  # groups: one value a cell
TIMING = "timing.csv"  # of the parent run
TYPES = {"signature": str, "update_seconds": float, "update_cpu_seconds": float, "interrupted": bool}
COUNT = r"[1-9]\d{0,14}"
REASONS = {"KILLED": "killed", "RUNNING": "not finished yet"}


def check_run_id(digits: object, key: str = "run id") -> None:
    """Refuse what cannot be the id of a run, before a store is opened. Raises ConfigError."""
    if not (isinstance(digits, str) and re.fullmatch(r"[0-9a-f]{6,32}", digits)):
        raise ConfigError(key, "a run id: 32 hexadecimal digits, or at least the first 6 of them", digits)


def find_run(store: Store, digits: str, key: str = "run id", kinds: Sequence[str] = ("cell", "sweep")) -> "Run":
    """The run of these kinds whose id this is, or begins with these 6 digits or more. Raises ConfigError."""
    check_run_id(digits, key)
    found = [run for run in store.beginning_with(digits) if run.data.tags.get("kind") in kinds]
    if not found:
        raise ConfigError(key, f"the run id of a {' or a '.join(kinds)} in {store.uri}", digits)
    if len(found) > 1:
        ids = ", ".join(run.info.run_id for run in found[:3])
        raise ConfigError(key, f"more digits, because {len(found)} runs begin with these ({ids})", digits)
    return found[0]


def load_runs(store: Store, runs: "Sequence[Run]") -> SweepData:
    """Sweeps as parts of the first, or cells as one sweep. Raises ConfigError."""
    ids = [run.info.run_id for run in runs]
    kinds = {run.data.tags["kind"] for run in runs}
    if len(kinds) > 1:
        raise ConfigError("run id", "those of sweeps, or those of cells", ", ".join(ids))
    return load_sweep(store, *ids) if kinds == {"sweep"} else load_cells(store, runs)


def load_cells(store: Store, runs: "Sequence[Run]") -> SweepData:
    """Read finished cells by their own runs, whether or not a sweep trained them."""
    chosen = _latest(runs)
    read = _with_runs(store, [(_identity_of(store, run), run) for run in chosen.values()])
    for cell in read:
        if cell.status != "FINISHED":
            raise ConfigError("run id", "cells whose tables can be read", cell.reason)
    cells = joined(read)
    title = sweep_label([cell.identity.asked for cell in cells])
    return sweep_data(title, {"cells": str(len(cells))}, cells)


def _identity_of(store: Store, run: "Run") -> Identity:
    """What a cell is, from the files of its run."""
    if run.info.status != "FINISHED":
        raise ConfigError(f"run {run.info.run_id}", "a cell that has finished", run.info.status)
    stored = read_run(store, run)
    n_train, loss = int(_checked(run, "param n_train", COUNT)), _checked(run, "param loss", "|".join(LOSSES.names()))
    code, sizes = _checked(run, "tag code", r"\w+"), stored.parameters.sizes
    values = decisive_values(stored.config, n_train)
    plan = plan_for(stored.config, n_train, sizes[0], sizes[-1], loss)
    return Identity(stored.tags["signature"], values, code, stored.tags["data_digest"], plan)


def _checked(run: "Run", what: str, form: str) -> str:
    """A parameter or tag that matches the pattern. Raises ConfigError."""
    kind, _, key = what.partition(" ")
    found = (run.data.params if kind == "param" else run.data.tags).get(key)
    if found is None or not re.fullmatch(form, found, re.ASCII):
        allowed = "a value as the harness writes it (rerun=all trains the cell again)"
        raise ConfigError(f"run {run.info.run_id}: {what}", allowed, found)
    return str(found)


def load_sweep(store: Store, sweep: str, *others: str, runs: "Sequence[Run] | None" = None) -> SweepData:
    """Read a sweep, and others as parts of it; cells that are not finished have a row in `cells` only.

    Of the runs of one cell the one that was started last counts, a finished one before any that is not. Seconds are
    those of one timing pass over all cells: readings of two passes do not compare.

    runs: of the cells, if they were read already.
    """
    grid = whole_grid(store, sweep, *others)
    latest = latest_runs(store, sweep, *others) if runs is None else _latest(runs)
    cells = joined(_with_runs(store, [(cell, latest.get(key)) for key, cell in grid.items()]))
    parent = store.get(sweep)
    about = dict(parent.data.tags) | {"cells": str(len(cells))} | _looks(store, sweep, *others)
    finished = [cell.identity.signature for cell in cells if cell.history is not None]
    return sweep_data(visible(parent.info.run_name), about, cells, read_blocks(store, finished, sweep, *others))


def _looks(store: Store, *sweeps: str) -> dict[str, str]:
    """Of the sweep that planned most of them, if one did."""
    planned = [store.get(sweep).data.tags.get(LOOKS, "") for sweep in sweeps]
    return {LOOKS: most} if (most := max(planned, key=lambda looks: len(looks.split()))) else {}


def whole_grid(store: Store, sweep: str, *others: str) -> dict[str, Identity]:
    """Signature -> cell, of a sweep and then of others, each cell as the first that has it. Raises ConfigError."""
    grid: dict[str, Identity] = {}
    for part in (sweep, *others):
        grid = grid | read_grid(store, store.get(part)) | grid
    return grid


def latest_runs(store: Store, *sweeps: str) -> "dict[str, Run]":
    """Signature -> the run of a cell that counts."""
    return _latest([run for part in sweeps for run in store.cells(part)])


def read_blocks(store: Store, cells: Sequence[str], *sweeps: str) -> "pd.DataFrame | None":
    """The table of the first sweep whose timing pass had several blocks of each of these cells; None: no sweep's."""
    for sweep in sweeps:
        table = _blocks(store, sweep)
        if usable(table, cells):
            return table
    return None


def _blocks(store: Store, sweep: str) -> "pd.DataFrame | None":
    """None without a table, or with one that cannot be read."""
    import pandas as pd

    if not store.has_file(sweep, TIMING):
        return None
    with tempfile.TemporaryDirectory() as scratch:
        try:
            return pd.read_csv(store.download(store.get(sweep), TIMING, Path(scratch)), dtype=TYPES)
        except ValueError:  # pandas' own are such
            return None


def _latest(runs: "Sequence[Run]") -> "dict[str, Run]":
    in_order = sorted(runs, key=lambda run: (run.info.status == "FINISHED", run.info.start_time))
    return {run.data.tags["signature"]: run for run in in_order}


def _with_runs(store: Store, cells: "Sequence[tuple[Identity, Run | None]]") -> list[SweepCell]:
    finished = [run for _, run in cells if run is not None and run.info.status == "FINISHED"]
    tables = [read_tables(store, finished, name) for name in ("replicas", "history")]
    of = {run.info.run_id: own for run, *own in zip(finished, *tables, strict=True)}
    return [_with_run(cell, run, *of.get(run.info.run_id if run else "", (None, None))) for cell, run in cells]


def _with_run(cell: Identity, run: "Run | None", replicas: "Read | None", history: "Read | None") -> SweepCell:
    """A finished cell whose tables cannot be read is a missing one: the reason says what is wrong."""
    if run is None:
        return SweepCell(cell, "MISSING", reason="never started")
    tags, status = run.data.tags, run.info.status
    try:
        for table in (replicas, history):
            if isinstance(table, ConfigError):
                raise table
        summary = _summary(run, replicas)
    except ConfigError as wrong:
        return SweepCell(cell, "MISSING", "", visible(f"run {run.info.run_id}: {wrong}"), run.info.run_id)
    reason = "" if status == "FINISHED" else visible(tags.get("error", REASONS.get(status, status.lower())))
    found = (tags.get("outcome", ""), reason, run.info.run_id, summary)
    return SweepCell(cell, status, *found, replicas, history, tags.get(ARITHMETIC, ""))


def _summary(run: "Run", replicas: "pd.DataFrame | None") -> dict[str, float]:
    """A finished cell in one row. Earlier versions wrote all of it as metrics, this one not what NO_CHARTS names."""
    metrics = {key: value for key, value in sorted(run.data.metrics.items()) if key.split("/")[0] in SUMMARIES}
    if replicas is None or any(key.startswith(NO_CHARTS) for key in metrics):
        return metrics
    try:
        return dict(sorted((tables.of_replicas(replicas) | metrics).items()))
    except (LookupError, TypeError, ValueError) as error:
        raise ConfigError("replicas.csv", "a table as this version writes it", first_line(error)) from error
