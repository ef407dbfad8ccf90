"""A sweep's parent run: opened before the cells, closed on every path with the answer from the cells that finished.

Everything about the cells is read from the store, never handed over in memory: cells may have been trained in this
process, in workers, or earlier, and the answer can be written again at any time.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import yaml

from harness.analysis import DATA_NOTES, LOOKS, Answer, Finding, Study, SweepData, answer
from harness.config import sweep_label, varied_keys, visible
from harness.report import (
    code,
    figures,
    file_names,
    finding_figures,
    findings,
    headlines,
    note,
    own_figures,
    page,
    png,
    pngs,
    score_sentences,
)  # fmt: skip
from harness.runs import answered, front, studies
from harness.runs.cell_files import cell_tables
from harness.runs.grid import GridCell, data_notes, missing
from harness.runs.grid_file import GRID, read_grid, write_grid
from harness.runs.jobs import SweepContext
from harness.runs.loading import load_cells, load_sweep
from harness.runs.pictures import draw_cell
from harness.runs.recording import source_tags
from harness.store import INTERRUPTS, OUTAGE_SECONDS, RunWriter, Store, UnreachableError, note_tags, print_failure

if TYPE_CHECKING:
    from mlflow.entities import Run

# What the UI's table shows of the cells. It has all digits of a metric, and metrics before keys: costs are a tag.
VIEW = ["params.`batch_size`", "params.`learning_rate`", "params.`reduction`", "tags.`cost`", "tags.`outcome`"]
ORDER_BY = "metrics.`final/train_cost`"


class Told(NamedTuple):
    """What a command says at its end: sentences, and what the table of the cells is made of."""

    sentences: list[str]
    data: SweepData
    found: Answer
    judged: tuple[Study, list[Finding]] | None = None  # of a study


def tell_cell(store: Store, run: "Run") -> Told:
    """The same of a finished cell alone."""
    data = load_cells(store, [run])
    found = answer(data)
    return Told([*headlines(found), *score_sentences(data.finished)], data, found)


def draw_stored(store: Store, run: "Run") -> None:
    """The figures of a finished cell, from its tables. Raises ConfigError for tables of another form."""
    replicas, history, batch_costs = cell_tables(store, run, "replicas", "history", "batch_costs")
    with store.attach(run.info.run_id) as writer, writer.files() as folder:
        draw_cell(folder, history, batch_costs, replicas, visible(run.info.run_name))


def open_sweep(
    store: Store, cells: Sequence[GridCell], command: str, looks: Sequence[int] = (), quiet: ExitStack | None = None
) -> SweepContext:
    """Create the parent run and make the finished cells part of it. Raises UnreachableError if the store is away.

    looks: of seeds=auto, of which these cells are the first round.
    quiet: signals wait until the caller closes it, as from the end of this function on nobody else closes the run.
    """
    answered.code_digest()  # as it is before training
    first, values = cells[0].config, [cell.identity.values for cell in cells]
    todo = missing(cells)
    study = first.study.get("name", "")
    tags = {
        "kind": "sweep",
        "cells": str(len(cells)),
        "cells_found_finished": str(len(cells) - len(todo)),
        "varied": json.dumps(varied_keys(values)),
        "command": command,
        **note_tags(f"{code(command)}\n\n{len(cells)} cells, {len(todo)} of them to train."),
        **({"study": study, "size": first.size} if study else {}),
        **({DATA_NOTES: json.dumps(notes, ensure_ascii=False)} if (notes := data_notes(cells)) else {}),
        **({LOOKS: " ".join(map(str, looks))} if looks else {}),
        **source_tags(),
    }
    small = " (small)" if first.size == "small" else ""
    name = sweep_label([cell.identity.asked for cell in cells], study and f"{study}{small}")
    with store.start(name, tags) as parent:
        front.record_datasets(parent, cells)
        with parent.files() as folder:
            write_grid(folder, cells)
            if "claims" in first.study:
                claims = yaml.safe_dump(first.study, sort_keys=False, allow_unicode=True)
                (folder / studies.CLAIMS).write_text(claims, encoding="utf8")
        if not parent.deliver(OUTAGE_SECONDS):
            raise UnreachableError(parent.unreachable)
        sweep = str(parent.run_id)
        _add_finished(store, sweep, cells)
        store.save_view(sweep, VIEW, ORDER_BY)
        front.describe(store, sweep, name)
        if quiet:
            quiet.enter_context(INTERRUPTS.deferred(unless_repeated=True))
        parent.leave_running()  # until `close_sweep`
    return SweepContext(sweep, store.experiment_id, len(todo), store.client.tracking_uri)


def _add_finished(store: Store, sweep: str, cells: Sequence[GridCell]) -> None:
    store.add_all_to_sweep([cell.run_id for cell in cells if cell.run_id], sweep)


def add_cells(store: Store, sweep: str, cells: Sequence[GridCell], new: Sequence[GridCell]) -> None:
    """Make new cells part of an open sweep, which then has `cells`."""
    with store.attach(sweep) as parent, parent.files() as folder:
        write_grid(folder, cells)
    _add_finished(store, sweep, new)


def close_sweep(store: Store, sweep: str, killed: bool, refused: bool = False) -> tuple[list["Run"], Told | None]:
    """Write the answer and end the parent; returns the cells, and the answer, None if there is none.

    refused: the store does not take a part of the parent. If that is its grid, there is no answer; `report` writes it
    once the store has the grid.
    FINISHED with all cells; else KILLED or, if no signal explains it, FAILED, as when the answer itself fails.
    """
    status, cells, told = "FAILED", list["Run"](), None
    with store.attach(sweep) as parent:
        try:
            cells = store.cells(sweep)
            if refused and not _has_grid(store, sweep):
                return cells, None
            told = write_answer(store, sweep, runs=cells)
            finished = {cell.data.tags["signature"] for cell in cells if cell.info.status == "FINISHED"}
            readable = (told.data.cells["status"] == "FINISHED").all()
            complete = readable and finished >= read_grid(store, store.get(sweep)).keys()
            status = "FINISHED" if complete else "KILLED" if killed else "FAILED"
        except Exception as error:
            print_failure(f"the answer was not written (`python -m harness report {sweep[:8]}` tries again)", error)
            with suppress(OSError):  # the disk is full
                parent.traceback(error)
        except BaseException:  # a second signal: no answer then, but an end
            status = "KILLED"
            raise
        finally:
            _end(parent, status)
    return cells, told


def _has_grid(store: Store, sweep: str) -> bool:
    """False also where the files of a run cannot even be listed, as without the library for their place."""
    with suppress(Exception):
        return store.has_file(sweep, GRID)
    return False


def see_to_its_end(store: Store, sweep: str) -> None:
    """After a signal: `close_sweep` has ended the parent, unless a second signal came before or while it began."""
    with suppress(UnreachableError, OSError):
        store.mark_killed(store.get(sweep))


def _end(parent: RunWriter, status: str) -> None:
    """On a full disk the journal does not take the end: the next start ends the run."""
    try:
        parent.finish(status)
    except OSError as error:
        print_failure("the end of the sweep was not written", error)


def _tell_unreadable(data: SweepData) -> None:
    """Which finished cells count as missing, as their tables cannot be read."""
    cells = data.cells
    for reason in cells.loc[(cells["status"] == "MISSING") & (cells["run_id"] != ""), "reason"]:
        print(visible(f"harness: left out: {reason}"), file=sys.stderr)


def write_answer(store: Store, sweep: str, *others: str, runs: Sequence["Run"] | None = None) -> Told:
    """Note, figures, table of cells and report on the parent, from the store; replaces files of the same names.

    others: sweeps whose cells count as this one's, for a grid that was spread over several commands.
    runs: of the cells, if they were read already.
    """
    data = load_sweep(store, sweep, *others, runs=runs)
    _tell_unreadable(data)
    found = answer(data)
    judged = studies.judgement(store, sweep, data, found)
    said = findings.sentences(*judged) if judged else [*headlines(found), *score_sentences(data.finished)]
    told = Told(said, data, found, judged)
    words, pictures = _note(told), _pictures(told)
    table = data.cells.merge(found.cells, on="cell", how="left")
    with store.attach(sweep) as parent:
        with parent.files() as folder:
            _write_pictures(folder, pictures)
            table.to_csv(folder / "cells.csv", index=False)
            (folder / "report.html").write_text(page(data, found, words, pictures, store.ui.run_link), encoding="utf8")
            answered.write_words(folder, told)
            if judged:
                text = json.dumps(findings.records(*judged), indent=1, ensure_ascii=False)
                (folder / studies.FINDINGS).write_text(text, encoding="utf8")
        if judged:
            parent.tags({f"{studies.TAG}{finding.claim}": str(finding.verdict) for finding in judged[1]})
        parent.tags({answered.TAG: ""} if others else answered.tag(store, told))
        parent.table("cells.json", table)
        parent.points(front.metrics(data))
        parent.tags(note_tags(front.illustrated(words, bool(pictures), store, sweep)))
        parent.deliver(OUTAGE_SECONDS)
    return told


def _note(told: Told) -> str:
    """Markdown; of a study its findings come before what any sweep gets, and their numbers after it."""
    words = note(told.data, told.found)
    if not told.judged:
        return words
    return "\n\n".join(filter(None, [findings.note(*told.judged), words, findings.numbers(told.judged[1])]))


def _pictures(told: Told) -> dict[str, bytes]:
    """Title -> PNG: of a study's findings, of any sweep, of extensions."""
    drawn = (finding_figures(*told.judged) if told.judged else {}) | figures(told.data, told.found)
    own = own_figures(told.data, told.found, lambda text: print(visible(f"harness: {text}"), file=sys.stderr), png)
    return pngs(drawn) | own


def _write_pictures(folder: Path, pictures: Mapping[str, bytes]) -> None:
    (folder / "figures").mkdir()
    for title, name in file_names(list(pictures)).items():
        (folder / "figures" / f"{name}.png").write_bytes(pictures[title])
    front.draw(folder, pictures)
