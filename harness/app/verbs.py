"""The verbs of the command line: what to do with runs and studies that exist."""

import os
import sys
import webbrowser
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from harness.app.command import libraries_are_imported, say
from harness.app.composition import Composed, checked_cells
from harness.app.ending import Result, tell_address
from harness.app.hints import unknown_verb
from harness.app.options import PAPER, check_new, split_options
from harness.app.queries import query
from harness.app.session import SMALL
from harness.app.train import train
from harness.config import ConfigError, did_you_mean, visible
from harness.runs import (
    Archive,
    Told,
    check_folder,
    check_run_id,
    draw_stored,
    find_run,
    measure_again,
    pack,
    recover,
    recovery,
    studies,
    tell_cell,
    unpack,
    verify,
    write_answer,
    write_paper,
)
from harness.store import Interrupted, Store, check_exists, holds_journals, is_there, serving, set_defaults

if TYPE_CHECKING:
    from mlflow.entities import Run


def run(verb: str, words: Sequence[str], result: Result) -> int:
    """Do what a first word without `=` asks for; returns the exit code. Raises ConfigError."""
    if verb not in VERBS:
        raise unknown_verb(verb, words, list(VERBS))
    if {"--help", "-h"} & {*words}:
        print(f"python -m harness {VERBS[verb].__doc__ or verb}")
        return 0
    if verb in WITH_RESULT:
        return WITH_RESULT[verb](words, result)
    if result.as_json:
        raise ConfigError("--json", "a command that trains, `report` or `query`", verb)
    return VERBS[verb](words)


def _existing_store() -> Store:
    """None is made in a folder of another project. Raises ConfigError."""
    check_exists()
    return _opened(Store.open())


def _opened(store: Store) -> Store:
    libraries_are_imported()
    return store


def _report(words: Sequence[str], result: Result) -> int:
    """report CELL, or SWEEP [SWEEP ...] [--paper FOLDER]: draw a cell's figures, or answer again, from all."""
    ids, options = split_options("report", words, [PAPER])
    if not ids:
        allowed = "the run id of a cell, of a sweep, or of several sweeps to be taken together (an address ends in it)"
        raise ConfigError("report", allowed, None)
    for word in ids:
        check_run_id(word, "report")
    folder = Path(options[PAPER]) if PAPER in options else None
    if folder:
        check_folder(folder)
    store = _existing_store()
    found = recover(store, say)
    runs = [find_run(store, word, "report", ["cell", "sweep"] if len(ids) == 1 else ["sweep"]) for word in ids]
    told = (_draw if runs[0].data.tags["kind"] == "cell" else _answer)(store, *runs)
    stored = recovery.drain(store, say, told=found.refused_runs) == frozenset()  # or else the store lacks a part of it
    if folder:
        write_paper(store, runs, told, folder)
        say(f"Paper: {folder / 'main.tex'} (in the folder, twice: pdflatex main)")
        result.values["paper"] = str(folder)
    result.tell(store, runs[0].info.run_id, told)
    return int(not stored)


def _answer(store: Store, *sweeps: "Run") -> Told:
    ids = [sweep.info.run_id for sweep in sweeps]
    if disturbed := measure_again(store, *ids):
        say(disturbed)
    return write_answer(store, *ids)


def _draw(store: Store, cell: "Run") -> Told:
    told = tell_cell(store, cell)
    draw_stored(store, cell)
    return told


def _verify(words: Sequence[str]) -> int:
    """verify RUN: train a cell, or every cell of a sweep, again from what the store holds; 1 if a bit differs."""
    if len(words) != 1:
        raise ConfigError("verify", "the run id of one cell or sweep", " ".join(words) or None)
    check_run_id(words[0], "verify")
    store = _existing_store()
    return 0 if verify(store, find_run(store, words[0], "verify"), say) else 1


def _deliver(words: Sequence[str]) -> int:
    """deliver: send what waits in journals to the store, close the runs of dead processes, answer their sweeps."""
    if words:
        raise ConfigError("deliver", "no further words", words[0])
    store = _opened(Store.open()) if holds_journals() else _existing_store()
    if not recover(store, say).complete:
        return 1
    say(f"Nothing waits to be delivered to {store.uri}")
    return 0


def _pack(words: Sequence[str]) -> int:
    """pack [RUN ...] -o FILE: runs, a sweep with its cells, or all that have ended, as one file."""
    chosen, marks, files = list(words), words.count("-o"), [word for mark, word in pairwise(words) if mark == "-o"]
    if marks != 1 or not files:
        raise ConfigError("pack", "run ids, or none for all runs, and -o FILE", " ".join(words) or None)
    at = chosen.index("-o")
    del chosen[at : at + 2]
    for word in chosen:
        check_run_id(word, "pack")
    path = Path(files[0])
    check_new("pack -o", path)
    store = _existing_store()
    found = recover(store, say)
    say(pack(store, chosen, path, say))
    if not found.complete:
        say(f"{path} lacks what the store lacks: after `python -m harness deliver`, pack again")
    return int(not found.complete)


def _unpack(words: Sequence[str]) -> int:
    """unpack FILE: add the runs of an archive that the store does not have. It is read to its end before."""
    if len(words) != 1:
        raise ConfigError("unpack", "one file that `pack` wrote", " ".join(words) or None)
    with Archive(Path(words[0])) as archive:
        store = _opened(Store.open())
        say(unpack(archive, store, say))
        tell_address(store)
    return 0


def _studies(words: Sequence[str]) -> int:
    """studies [--all | NAME ...] [KEY=VALUE ...]: list claims and verdicts; first run all studies, or some."""
    overrides = [word for word in words if "=" in word]
    chosen = [word for word in words if "=" not in word and word != "--all"]
    if unknown := [word for word in chosen if word not in studies.names()]:
        known = ("--all", *studies.names())
        hint = did_you_mean(unknown[0], known).strip()
        raise ConfigError("studies", " | ".join(known) + (f" ({hint})" if hint else ""), unknown[0])
    everything = "--all" in words
    size = "small" if SMALL in overrides else "full"
    names = studies.names() if everything or not chosen else chosen
    failed = _run_studies(names, overrides) if everything or chosen else []
    if not (everything or chosen) and (extra := [word for word in overrides if word not in (SMALL, "size=full")]):
        raise ConfigError("studies", "a study to run with that (NAME or --all), or size=small", extra[0])
    if failed:
        say(f"Without an answer: {', '.join(failed)}. The same command again trains what is missing.")
    elif everything and size == "full":
        say(f"Written: {studies.write_pages(Store.open(), size, Path.cwd())}")
    print(visible(studies.listing(Store.open() if is_there() else None, size, names), kept="\n"))
    return int(bool(failed))


def _run_studies(names: Sequence[str], overrides: Sequence[str]) -> list[str]:
    """Run studies; those that failed or refuse the overrides are returned. Raises ConfigError if all refuse them."""
    refusals, failed = dict[str, ConfigError](), []
    for i, name in enumerate(names):
        words = ["-m", f"experiment={name}", *overrides]
        try:
            composed = checked_cells(words)
        except ConfigError as refused:
            refusals[name] = refused
            continue
        say(f"\nStudy {i + 1} of {len(names)}: {name}")
        if _study(words, composed):
            failed.append(name)
    if len(refusals) == len(names):
        raise refusals[names[0]]
    for name, reason in refusals.items():
        say(f"harness: {name}: {reason}")
    return [name for name in names if name in failed or name in refusals]


def _study(words: Sequence[str], composed: Composed) -> int:
    """Run one study of several; data that are refused are reported, so that the next one can run."""
    try:
        return train(words, composed, Result())
    except ConfigError as refused:
        say(f"harness: {refused}")
        return 2


def _ui(words: Sequence[str]) -> int:
    """ui: serve MLflow's UI of the current folder's store until Ctrl-C, and open the page of the last sweep."""
    if words:
        raise ConfigError("ui", "no further words (it takes a free port)", words[0])
    set_defaults()
    store = _opened(Store.open_to_read())
    if store.ui.is_running:
        _browse(store)
        return 0
    say("MLflow's UI starts, which takes some seconds")
    try:
        with serving(store.client.tracking_uri, store.uri) as server:
            _browse(store, "  (Ctrl-C ends the UI)")
            return server.wait()
    except Interrupted:
        return 0


def _browse(store: Store, remark: str = "") -> None:
    """Print the address of the last page; open it where somebody sees the screen."""
    address = _last_page(store)
    say(f"Browse: {address}{remark}")
    if sys.stderr.isatty() and _has_display():
        webbrowser.open(address)


def _last_page(store: Store) -> str:
    """The page of the newest sweep, else of the newest cell, else the table of all runs."""
    last = store.last(kind="sweep") or store.last(kind="cell")
    return store.ui.address(last.info.run_id) if last else store.ui.table_link()


def _has_display() -> bool:
    return sys.platform in ("darwin", "win32") or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))


WITH_RESULT: dict[str, Callable[[Sequence[str], Result], int]] = {"query": query, "report": _report}  # take --json
VERBS: dict[str, Callable[..., int]] = {
    "deliver": _deliver, "pack": _pack, **WITH_RESULT, "studies": _studies, "ui": _ui, "unpack": _unpack,
    "verify": _verify,
}  # fmt: skip
