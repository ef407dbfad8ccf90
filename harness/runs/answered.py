"""A sweep that was answered before: the same command finds all cells, and the same code would answer the same.

So nothing is read but the parent's own words. A study is judged again, and user's figures are drawn again, as their
code may have changed; so is an answer from parts of cells, or from seconds that were not measured in blocks.
"""

import hashlib
import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from harness.analysis import BLOCKS
from harness.report import FIGURES, CellsTable, cells_table
from harness.runs.grid import GridCell
from harness.store import Store, UnreachableError, stored_json

if TYPE_CHECKING:
    from mlflow.entities import Run

    from harness.runs.parent import Told

TAG, WORDS = "answered", "answer.json"
PACKAGE = Path(__file__).resolve().parents[1]


class Answered(NamedTuple):
    """What the terminal said of a sweep, and of which runs: signature -> id."""

    sweep: "Run"
    sentences: list[str]
    table: CellsTable
    cells: dict[str, str]

    def is_of(self, cells: Sequence[GridCell]) -> bool:
        """Whether these are the runs that were found."""
        return self.cells == {cell.signature: cell.run_id for cell in cells}


def write_words(folder: Path, told: "Told") -> None:
    """Keep what is told among the files of a sweep, and of which runs."""
    cells = dict(zip(told.data.cells["cell"], told.data.cells["run_id"], strict=True))
    words = {"sentences": told.sentences, "table": cells_table(told.data, told.found)._asdict(), "cells": cells}
    (folder / WORDS).write_text(json.dumps(words), encoding="utf8")


def tag(store: Store, told: "Told") -> dict[str, str]:
    """The tag by which the same command finds the sweep, once it has its words; empty: it is to be answered anew."""
    data = told.data
    if told.judged or data.looks or data.timing != BLOCKS or data.cells["more_runs"].any():
        return {TAG: ""}
    return {TAG: _digest(store, zip(data.cells["cell"], data.cells["asked_rate"], strict=True))}


def earlier(cells: Sequence[GridCell], store: Store) -> Iterator[Answered]:
    """Answers of finished sweeps of these cells, the newest first, whatever became of their runs."""
    configs = [cell.config for cell in cells]
    if FIGURES.names() or any(config.log_model or config.study or config.rerun == "all" for config in configs):
        return
    plans = {cell.signature: cell.identity.plan for cell in cells}
    rates = ((signature, plan.learning_rate / plan.rate_factor) for signature, plan in plans.items())
    for found in reversed(store.finished_with(TAG, _digest(store, rates))):
        if store.report_of(found.info.run_id) and (known := _words(store, found, plans)):
            yield known


def _words(store: Store, sweep: "Run", signatures: Iterable[str]) -> Answered | None:
    """None if they cannot be read."""
    with tempfile.TemporaryDirectory() as scratch, suppress(LookupError, TypeError, ValueError, UnreachableError):
        words = stored_json(store.download(sweep, WORDS, Path(scratch)))
        runs = {signature: words["cells"][signature] for signature in signatures}
        known = Answered(sweep, words["sentences"], CellsTable(**words["table"]), runs)
        if all(isinstance(line, str) for line in [*known.sentences, *known.table.lines()]):
            return known
    return None


@cache
def code_digest() -> str:
    """Of the whole package as it was at the first call: a sweep that trains for hours is answered by no later code."""
    digest = hashlib.sha256()
    for file in sorted(PACKAGE.rglob("*.py")):
        digest.update(file.relative_to(PACKAGE).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def _digest(store: Store, cells: Iterable[tuple[str, float]]) -> str:
    """Of all that the answer depends on but the runs: the cells in their order, the rates that were asked for, the
    code, and where the links lead.
    """
    own = [(signature, f"{rate:.12g}") for signature, rate in cells]
    return hashlib.sha256(json.dumps([own, code_digest(), store.ui.root]).encode()).hexdigest()
