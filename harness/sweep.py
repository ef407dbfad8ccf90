"""A sweep's parent run: opened before the cells, closed on every path with the comparison of whatever they left.

Everything about the cells is read back from the store, never handed over in memory: cells may have been trained in
this process, in workers, or earlier.
"""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness import plots
from harness.config import Config
from harness.labels import sweep_label, varied_keys
from harness.recording import source_tags
from harness.tracking import Store

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.entities import Run

VIEW = [
    "params.`batch_size`",
    "params.`learning_rate`",
    "params.`reduction`",
    "tags.`outcome`",
    "metrics.`final/train_cost`",
    "metrics.`final/validation_cost`",
    "metrics.`time/train_seconds`",
    "metrics.`time/update_us`",
    "metrics.`time/example_us`",
]  # what the UI's table shows of the cells
COLUMNS = ("batch_size", "learning_rate", "reduction")  # first in the table of cells


def open_sweep(store: Store, configs: Sequence[Config], command: str) -> str:
    """Create the parent run; returns its run id, which is the sweep's name everywhere else."""
    study = configs[0].study.get("name")
    tags = {
        "kind": "sweep",
        "cells": str(len(configs)),
        "varied": json.dumps(varied_keys(configs)),
        "command": command,
        "mlflow.note.content": f"`{command}`\n\n{len(configs)} cells: training.",
        **({"study": study} if study else {}),
        **source_tags(),
    }
    sweep = store.start(sweep_label(configs), tags).run_id
    store.save_view(sweep, VIEW, order_by="metrics.`final/train_cost`")
    return sweep


def close_sweep(store: Store, sweep: str, killed: bool) -> list["Run"]:
    """Write the comparison and end the parent; returns the cells. FAILED if a cell failed or is missing."""
    parent, about = store.attach(sweep), store.get(sweep).data.tags
    cells = store.cells(sweep)
    complete = [cell for cell in cells if cell.info.status == "FINISHED"]
    status = "KILLED" if killed else "FINISHED" if len(complete) == int(about["cells"]) else "FAILED"
    try:
        with tempfile.TemporaryDirectory() as folder:
            _write_comparison(store, complete, Path(folder), store.get(sweep).info.run_name)
            parent.folder(Path(folder))
        parent.note(sweep_note(about, cell_table(cells), status))
    finally:
        parent.finish(status)
    return cells


def _write_comparison(store: Store, cells: list["Run"], folder: Path, title: str) -> None:
    import pandas as pd

    histories = {}
    for cell in cells:
        with tempfile.TemporaryDirectory() as scratch:
            path = store.download(cell.info.run_id, "history.csv", Path(scratch))
            histories[cell.info.run_name] = pd.read_csv(path, keep_default_na=False, na_values=["nan", "NaN"])
    cell_table(cells).to_csv(folder / "cells.csv", index=False)
    if histories:
        plots.save(plots.comparison(histories, title), folder / "figures" / "comparison.png")


def cell_table(cells: list["Run"]) -> "pd.DataFrame":
    """One row per cell: name, status, outcome, run id, parameters (the knobs first), summary metrics."""
    import pandas as pd

    rows = []
    for cell in cells:
        given = cell.data.params
        knobs = {key: given[key] for key in COLUMNS if key in given}
        summary = {k: v for k, v in cell.data.metrics.items() if k.split("/")[0] in SUMMARIES}
        head = {"cell": cell.info.run_name, "status": cell.info.status, "outcome": cell.data.tags.get("outcome", "")}
        rows.append({**head, **knobs, **given, **summary, "run_id": cell.info.run_id})
    return pd.DataFrame(rows)


SUMMARIES = ("final", "best", "to_target", "diverged", "time", "noise")


def sweep_note(about: dict[str, str], table: "pd.DataFrame", status: str) -> str:
    """The parent's description: the command, the picture's place and one line per cell."""
    columns = {
        "outcome": "outcome",
        "final/train_cost": "final training cost",
        "final/validation_cost": "final validation cost",
        "time/train_seconds": "train seconds",
        "time/update_us": "µs per update",
        "time/example_us": "µs per example",
    }
    present = {key: text for key, text in columns.items() if key in table}
    lines = ["| cell | " + " | ".join(present.values()) + " |", "|---" * (len(present) + 1) + "|"]
    for _, row in table.iterrows():
        values = [f"{row[key]:.4g}" if isinstance(row[key], float) else str(row[key]) for key in present]
        lines.append(f"| {row['cell']} | " + " | ".join(values) + " |")
    head = f"`{about['command']}`\n\n{len(table)} of {about['cells']} cells, sweep {status.lower()}."
    return head + " Medians over replicas; figures under Artifacts.\n\n" + "\n".join(lines) + "\n"
