"""How a command ends: sentences, the table of the cells, where to look; with --json one object on standard output."""

import json
import os
import sys
import textwrap
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.app.command import say

if TYPE_CHECKING:
    from harness.report import CellsTable
    from harness.runs import Answered, Told
    from harness.store import Store

MOST_TOLD = 8  # sentences of an answer
PLAIN_WIDTH = 80  # where nothing says how wide the terminal is
LEAST_WIDTH = 30
MEANINGS = {
    0: "done: every cell is finished, and the store has all of it",
    1: "incomplete: a cell failed, or the store lacks a part; the same command goes on from there",
    2: "refused: nothing was done",
}
INTERRUPTED = "interrupted by a signal; the same command goes on from there"


@dataclass
class Result:
    """What `--json` prints of a command: filled in on its way, complete whatever ends it."""

    as_json: bool = False
    values: dict[str, Any] = field(default_factory=dict)

    def tell(self, store: "Store", run_id: str, told: "Told | None") -> None:
        """Say how it ended, and where the report and the page of this run are."""
        from harness.report import cells_table, records

        if told:
            self.values |= records(told.data, told.found)
        self._tell(store, run_id, told.sentences if told else [], cells_table(told.data, told.found) if told else None)

    def tell_again(self, store: "Store", run_id: str, earlier: "Answered") -> None:
        """The same of a sweep that was answered before."""
        self._tell(store, run_id, earlier.sentences, earlier.table)

    def _tell(self, store: "Store", run_id: str, sentences: list[str], table: "CellsTable | None") -> None:
        if table:
            tell_sentences(sentences)
            for line in table.lines(width()):
                say(_wrapped(line))
            self.values["sentences"] = sentences
        places = {"report": store.report_of(run_id), "browse": store.ui.address(run_id)}
        if places["report"]:
            say(f"Report: {places['report']}")
        tell_address(store, run_id)
        self.values |= places

    def written(self, code: int) -> str:
        """The object, on one line of ASCII."""
        about = {"exit_code": code, "meaning": MEANINGS.get(code, INTERRUPTED if code > 128 else "failed")}
        return json.dumps(about | self.values, allow_nan=False)


def tell_sentences(sentences: "list[str]") -> None:
    """Those that the note says first, on a terminal broken at its width."""
    more = len(sentences) - MOST_TOLD
    for sentence in [*sentences[:MOST_TOLD], *([f"and {more} more in the note"] if more > 0 else [])]:
        say(_wrapped(sentence))


def tell_address(store: "Store", run_id: str | None = None) -> None:
    """A line with nothing but the address of a run's page, or of the table of all runs; before it, what has to run."""
    if not store.ui.is_running:
        say("Start:  python -m harness ui")
    say(f"Browse: {store.ui.address(run_id) if run_id else store.ui.table_link()}")


def width() -> int:
    """Columns of the terminal that shows what is said."""
    if not sys.stderr.isatty():
        return PLAIN_WIDTH
    try:
        asked = int(os.environ.get("COLUMNS", 0))
        return max(LEAST_WIDTH, asked or os.get_terminal_size(sys.stderr.fileno()).columns or PLAIN_WIDTH)
    except (OSError, ValueError):
        return PLAIN_WIDTH


def _wrapped(sentence: str) -> str:
    """Lines of a terminal's width; elsewhere one line, as programs read lines."""
    if not sys.stderr.isatty() or len(sentence) <= width():
        return sentence
    return textwrap.fill(sentence, width(), break_long_words=False, break_on_hyphens=False)
