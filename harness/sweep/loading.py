"""A sweep read back from the store as tables, and the grid that its parent run keeps."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.analysis import SweepData, settings, spread
from harness.store import Store
from harness.sweep.grid import GridCell

if TYPE_CHECKING:
    import pandas as pd

SUMMARIES = ("final", "best", "to_target", "diverged", "time", "noise")  # groups of metrics that say one thing a cell
FIRST = ("batch_size", "learning_rate", "reduction")  # of the params in a table
GRID = "grid.csv"  # of the parent run
KNOBS = ("batch_size", "learning_rate", "lr_mean", "lr_per_example", "n_train")


def write_grid(folder: Path, cells: Sequence[GridCell]) -> None:
    """The cells that a sweep consists of, by signature, and what this sweep calls them: a file for its parent run."""
    import pandas as pd

    rows = [(cell.label, cell.signature) for cell in cells]
    pd.DataFrame(rows, columns=["cell", "signature"]).to_csv(folder / GRID, index=False)


def grid_labels(store: Store, sweep: Any) -> dict[str, str]:
    """Signature -> label of the cells that a sweep, given as its run, consists of."""
    table = _read(store, sweep, GRID)
    return dict(zip(table["signature"], table["cell"], strict=True))


def load_sweep(store: Store, sweep: str, *others: str) -> SweepData:
    """Read a sweep, and others as parts of it; cells that are not finished have a row in `cells` only.

    Of the runs of one cell the one that was started last counts, a finished one before any that is not.
    """
    import pandas as pd

    parent, *more = (store.get(run_id) for run_id in (sweep, *others))
    labels = {key: label for part in (*more, parent) for key, label in grid_labels(store, part).items()}
    runs = _latest([run for part in (sweep, *others) for run in store.cells(part)])
    rows, replicas, histories = [], [], []
    for run in runs:
        row = _cell_row(run, labels[run.data.tags["signature"]])
        if run.info.status == "FINISHED":
            own = _read(store, run, "replicas.csv")
            row |= spread(own)
            shared = {key: row[key] for key in ("setting", "cell", "batch_size", "learning_rate", "reduction")}
            replicas.append(_with(own, shared))
            histories.append(_with(_read(store, run, "history.csv"), shared))
        rows.append(row)
    both = [pd.concat(parts, ignore_index=True) if parts else pd.DataFrame() for parts in (replicas, histories)]
    about = dict(parent.data.tags) | ({"cells": str(len(runs))} if others else {})
    merged = settings([row["cell"] for row in rows])
    for table in (cells := pd.DataFrame(rows), *both):
        if len(table):
            table["setting"] = table["cell"].map(merged)
    return SweepData(parent.info.run_name, about, cells, both[0], both[1], _timing(runs))


def _timing(runs: list[Any]) -> str:
    finished = [run.data.tags for run in runs if run.info.status == "FINISHED"]
    ways = {(tags["timing"], tags["process.host"]) for tags in finished}
    return "mixed" if len(ways) > 1 else next(iter(ways), ("exclusive",))[0]


def _latest(runs: list[Any]) -> list[Any]:
    in_order = sorted(runs, key=lambda run: (run.info.status == "FINISHED", run.info.start_time))
    chosen = {run.data.tags["signature"]: run for run in in_order}
    return [run for run in runs if chosen[run.data.tags["signature"]] is run]


def _read(store: Store, run: Any, name: str) -> "pd.DataFrame":
    import pandas as pd

    with tempfile.TemporaryDirectory() as scratch:
        return pd.read_csv(store.download(run, name, Path(scratch)), keep_default_na=False, na_values=["", "nan"])


def _with(table: "pd.DataFrame", shared: dict[str, Any]) -> "pd.DataFrame":
    outcome = table["outcome"].fillna("")
    return table.assign(**shared, outcome=outcome)


def _cell_row(run: Any, label: str) -> dict[str, Any]:
    params: dict[str, Any] = dict(sorted(run.data.params.items(), key=lambda item: (item[0] not in FIRST, item)))
    params |= {key: float(params[key]) for key in KNOBS if key in params}
    summary = {key: value for key, value in sorted(run.data.metrics.items()) if key.split("/")[0] in SUMMARIES}
    return {
        "setting": "",  # when all are known
        "cell": label,
        "status": run.info.status,
        "outcome": run.data.tags.get("outcome", ""),
        **params,
        **summary,
        "run_id": run.info.run_id,
    }
