"""Finished cells by the thousand in a store, for commands that read them: copies of cells that were trained.

A copy has its own signature, parameters and configuration; points and tables are those of a trained cell of the same
batch size.
"""

import os
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.app.composition import checked_cells
from harness.runs import GridCell, grid
from harness.store import Bulk, NewRun, Store, bulk

if TYPE_CHECKING:
    from mlflow.entities import Run

CONFIG = "config.yaml"  # of a cell's artifacts, the one that a copy does not share


def add_copies(words: Sequence[str]) -> int:
    """Make each cell of a command finished in the current folder's SQLite store; returns how many were added."""
    cells, store = grid.grid(checked_cells(words).cells), Store.open()
    trained = {(run.data.params["batch_size"], run.data.params["reduction"]): run for run in store.cells_and_sweeps()
               if run.data.tags["kind"] == "cell"}  # fmt: skip
    missing = grid.missing(grid.look_up(cells, store))
    tables = Bulk.of(store.client.tracking_uri)
    assert tables is not None
    root = Path(str(tables.root(store.experiment_id)))
    tables.write(_copies(missing, trained, tables, root))
    return len(missing)


def _copies(
    cells: Sequence[GridCell], trained: "dict[tuple[str, str], Run]", tables: Bulk, root: Path
) -> Iterator[tuple[NewRun, list[list[bulk.Point]]]]:
    points = {run.info.run_id: list(tables.points(run.info.run_id)) for run in trained.values()}
    for cell in cells:
        run = trained[str(cell.identity.plan.batch_size), cell.config.reduction]
        own = _with_values(run, cell)
        folder = root / own.id / "artifacts"
        _link_files(root / run.info.run_id / "artifacts", folder)
        text = (root / run.info.run_id / "artifacts" / CONFIG).read_text(encoding="utf8")
        was, now = (
            f"learning_rate: {rate}\n" for rate in (run.data.params["learning_rate"], cell.config.learning_rate)
        )
        (folder / CONFIG).write_text(text.replace(was, now), encoding="utf8")
        yield own, points[run.info.run_id]


def _with_values(run: "Run", cell: GridCell) -> NewRun:
    rate = str(cell.config.learning_rate)
    about = {"signature": cell.signature, "code": cell.identity.code, "data_digest": cell.identity.data}
    tags = {key: text for key, text in run.data.tags.items() if not key.startswith("sweep")} | about
    params = dict(run.data.params) | {"learning_rate": rate, "lr_mean": rate}
    run_id = uuid.uuid4().hex
    place = run.info.artifact_uri.replace(run.info.run_id, run_id)
    info = run.info
    times = info.start_time, info.end_time
    return NewRun(run_id, info.experiment_id, cell.label, "", info.status, *times, place, tags, params, [])


def _link_files(of: Path, to: Path) -> None:
    to.mkdir(parents=True)
    for path in of.iterdir():
        if path.is_file() and path.name != CONFIG:
            os.link(path, to / path.name)
