"""The grid that a sweep's parent run keeps, and a sweep read back from the store as tables."""

import io
import json
import re
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.analysis import LOOKS, SweepCell, SweepData, joined, sweep_data, usable
from harness.config import KNOBS, ConfigError, Values, sweep_label, visible
from harness.runs.grid import GridCell
from harness.runs.recording import NO_CHARTS
from harness.store import ARITHMETIC, Store, first_line, read_run, redacted, stored_json
from harness.training import Identity, Plan, decisive_values, plan_for, tables

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.entities import Run

SUMMARIES = ("final", "best", "baseline", "to_target", "diverged", "time", "noise")  # groups: one value a cell
GRID, TIMING = "grid.json", "timing.csv"  # of the parent run
TYPES = {"signature": str, "update_seconds": float, "update_cpu_seconds": float, "interrupted": bool}
TOGETHER = 1000  # tables that are in memory as texts
READERS = 8  # files that are read from a server at once
REASONS = {"KILLED": "killed", "RUNNING": "not finished yet"}


def write_grid(folder: Path, cells: Sequence[GridCell]) -> None:
    """What each cell of a sweep is, as a file for its parent run: known also of a cell that never starts."""
    rows = [asdict(cell.identity) for cell in cells]
    text = redacted(json.dumps(rows, indent=1, ensure_ascii=False))
    (folder / GRID).write_text(text, encoding="utf8", errors="backslashreplace")  # of paths that are no UTF-8


def read_grid(store: Store, sweep: "Run") -> dict[str, Identity]:
    """Signature -> cell. Raises ConfigError for a sweep whose grid cannot be read."""
    again = "a sweep of this version (run its command again: finished cells of this version are found)"
    if not store.has_file(sweep.info.run_id, GRID):
        raise ConfigError(f"sweep {sweep.info.run_id}", again, f"one without {GRID}")
    try:
        with tempfile.TemporaryDirectory() as scratch:
            rows = stored_json(store.download(sweep, GRID, Path(scratch)))
        return {row["signature"]: _identity(**row) for row in rows}
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise ConfigError(f"sweep {sweep.info.run_id}", again, f"a {GRID} of another form ({error!r})") from error


def _identity(values: Values, plan: dict[str, Any], **about: str) -> Identity:
    if lacking := {"dataset.name", *KNOBS} - values.keys():
        raise LookupError(*sorted(lacking))
    return Identity(values=values, plan=Plan(**{**plan, "sizes": tuple(plan["sizes"])}), **about)


def check_run_id(digits: str, key: str = "run id") -> None:
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
    cells = joined(_with_runs(store, [(_identity_of(store, run), run) for run in chosen.values()]))
    title = sweep_label([cell.identity.asked for cell in cells])
    return sweep_data(title, {"cells": str(len(cells))}, cells)


def _identity_of(store: Store, run: "Run") -> Identity:
    """What a cell is, from the files of its run."""
    if run.info.status != "FINISHED":
        raise ConfigError(f"run {run.info.run_id}", "a cell that has finished", run.info.status)
    stored, params = read_run(store, run), run.data.params
    n_train, sizes = int(params["n_train"]), stored.parameters.sizes
    values = decisive_values(stored.config, n_train)
    plan = plan_for(stored.config, n_train, sizes[0], sizes[-1], params["loss"])
    return Identity(stored.tags["signature"], values, stored.tags["code"], stored.tags["data_digest"], plan)


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
    tables = [_tables(store, finished, name) for name in ("replicas", "history")]
    of = {run.info.run_id: own for run, *own in zip(finished, *tables, strict=True)}
    return [_with_run(cell, run, *of.get(run.info.run_id if run else "", (None, None))) for cell, run in cells]


def _with_run(
    cell: Identity, run: "Run | None", replicas: "pd.DataFrame | None", history: "pd.DataFrame | None"
) -> SweepCell:
    if run is None:
        return SweepCell(cell, "MISSING", reason="never started")
    tags, status = run.data.tags, run.info.status
    reason = "" if status == "FINISHED" else visible(tags.get("error", REASONS.get(status, status.lower())))
    found = (tags.get("outcome", ""), reason, run.info.run_id, _summary(run, replicas))
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


def cell_tables(store: Store, run: "Run", *names: str) -> "list[pd.DataFrame]":
    """Tables of a finished cell by their names, without .csv. Raises ConfigError for other files."""
    return [_tables(store, [run], name)[0] for name in names]


def _tables(store: Store, runs: "Sequence[Run]", name: str) -> "list[pd.DataFrame]":
    """The table of this name of each finished cell. Raises ConfigError for another file.

    Tables of the same columns are parsed together, as a parser takes longer to begin than to read a small one.
    """
    read: list[pd.DataFrame] = []
    for i in range(0, len(runs), TOGETHER):
        texts = _texts(store, runs[i : i + TOGETHER], f"{name}.csv")
        alike: dict[str, list[int]] = {}
        for place, text in enumerate(texts):
            alike.setdefault(text.partition("\n")[0], []).append(place)
        found: dict[int, pd.DataFrame] = {}
        for places in alike.values():
            found |= zip(places, _parsed([texts[place] for place in places], f"{name}.csv"), strict=True)
        read += [found[place] for place in range(len(texts))]
    return read


def _texts(store: Store, runs: "Sequence[Run]", file: str) -> list[str]:
    """The file of each run; from a server several at a time."""

    def read(run: "Run") -> str:
        (folder := Path(scratch, run.info.run_id)).mkdir(exist_ok=True)
        path = store.download(run, file, folder)
        with _refused(file):
            return path.read_text(encoding="utf8")

    readers = READERS if len(runs) > 1 and store.uri.startswith("http") else 1
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(readers) as pool:
        return list(pool.map(read, runs)) if readers > 1 else list(map(read, runs))


def _parsed(texts: Sequence[str], file: str) -> "list[pd.DataFrame]":
    """The tables of texts with the same first line: one parse of all, unless a text may reach into the next one."""
    n_rows = [text.count("\n") - 1 for text in texts]
    if len(texts) > 1 and not any('"' in text or not text.endswith("\n") for text in texts):
        with suppress(ConfigError):
            whole = _table("".join([texts[0], *(text.partition("\n")[2] for text in texts[1:])]), file)
            if len(whole) == sum(n_rows):
                ends = accumulate(n_rows)
                return [whole.iloc[end - n : end].reset_index(drop=True) for end, n in zip(ends, n_rows, strict=True)]
    return [_table(text, file) for text in texts]


def _table(text: str, file: str) -> "pd.DataFrame":
    import pandas as pd

    with _refused(file):
        table = pd.read_csv(io.StringIO(text), keep_default_na=False, na_values=["", "nan"], low_memory=False)
        return table if file == "batch_costs.csv" else table.assign(outcome=table["outcome"].fillna(""))


@contextmanager
def _refused(file: str) -> Iterator[None]:
    try:
        yield
    except (LookupError, OSError, ValueError) as error:
        raise ConfigError(file, "a table as this version writes it", first_line(error)) from error
