"""A sweep that was answered before: the same command finds all cells, and the same code would answer the same.

So nothing is read but the parent's own words. A study is judged again, and user's figures are drawn again, as their
code may have changed; so is the answer in a checkout whose changes git cannot tell.
"""

import hashlib
import json
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from harness.report import FIGURES, CellsTable, cells_table
from harness.runs.grid import GridCell
from harness.runs.recording import source_tags
from harness.store import Store, UnreachableError, stored_json, uncommitted_diff

if TYPE_CHECKING:
    from harness.runs.parent import Told
    from harness.store import RunWriter

TAG, WORDS = "answered", "answer.json"


class Answered(NamedTuple):
    """What the terminal said of a sweep."""

    sweep: str
    sentences: list[str]
    table: CellsTable


def keep(parent: "RunWriter", folder: Path, store: Store, told: "Told") -> None:
    """Keep what is told on the parent run, for the same command; `folder` takes files of the run."""
    words = {"sentences": told.sentences, "table": cells_table(told.data, told.found)._asdict()}
    (folder / WORDS).write_text(json.dumps(words), encoding="utf8")
    cells = zip(told.data.cells["cell"], told.data.cells["run_id"], strict=True)
    parent.tags({TAG: _digest(store, cells)})


def earlier(cells: Sequence[GridCell], store: Store) -> Answered | None:
    """The answer of a finished sweep that had just these runs; None if there is none that can be read."""
    if FIGURES.names() or any(cell.config.log_model or cell.config.study for cell in cells):
        return None
    digest = _digest(store, ((cell.signature, str(cell.run_id)) for cell in cells))
    found = store.last_finished(TAG, digest)
    if found is None or not store.report_of(found.info.run_id):
        return None
    with tempfile.TemporaryDirectory() as scratch, suppress(LookupError, TypeError, ValueError, UnreachableError):
        words = stored_json(store.download(found, WORDS, Path(scratch)))
        return Answered(found.info.run_id, words["sentences"], CellsTable(**words["table"]))
    return None


def _digest(store: Store, cells: Iterable[tuple[str, str]]) -> str:
    """Of all that the answer depends on: the runs in their order, the code, where its links lead."""
    about = [list(cells), source_tags(), uncommitted_diff(), store.ui.root]
    return hashlib.sha256(json.dumps(about).encode()).hexdigest()
