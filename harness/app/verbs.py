"""The verbs of the command line: what to do with runs and studies that exist."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from harness.app.command import say, tell_answer
from harness.app.composition import checked_cells
from harness.app.session import SMALL
from harness.app.train import train
from harness.config import ConfigError
from harness.runs import (
    Archive,
    check_run_id,
    find_run,
    measure_again,
    pack,
    recover,
    recovery,
    studies,
    unpack,
    verify,
    write_answer,
)
from harness.store import Store


def run(verb: str, words: Sequence[str]) -> int:
    """Do what a first word without `=` asks for; returns the exit code. Raises ConfigError."""
    if verb not in VERBS:
        raise ConfigError("command line", f"key=value, a flag, or a verb ({', '.join(VERBS)})", verb)
    return VERBS[verb](words)


def _report(words: Sequence[str]) -> int:
    """`report SWEEP [SWEEP ...]`: write the first sweep's answer again, from its cells and the other sweeps'."""
    if not words:
        raise ConfigError("report", "the run id of a sweep, or of several to be taken together", None)
    for word in words:
        check_run_id(word, "report")
    store = Store.open()
    sweeps = [find_run(store, word, "report", ["sweep"]).info.run_id for word in words]
    if disturbed := measure_again(store, *sweeps):
        say(disturbed)
    tell_answer(write_answer(store, *sweeps))
    if recovery.drain(store, say) != frozenset():  # the store lacks a part of it
        return 1
    say(f"Written: report.html and figures below {store.ui.run_link(sweeps[0])}")
    return 0


def _verify(words: Sequence[str]) -> int:
    """`verify RUN`: train a cell, or every cell of a sweep, again from what the store holds; 1 if a bit differs."""
    if len(words) != 1:
        raise ConfigError("verify", "the run id of one cell or sweep", " ".join(words) or None)
    check_run_id(words[0], "verify")
    store = Store.open()
    return 0 if verify(store, find_run(store, words[0], "verify"), say) else 1


def _deliver(words: Sequence[str]) -> int:
    """`deliver`: send what waits in journals to the store, close the runs of dead processes, answer their sweeps."""
    if words:
        raise ConfigError("deliver", "no further words", words[0])
    store = Store.open()
    if not recover(store, say):
        return 1
    say(f"Nothing waits to be delivered to {store.uri}")
    return 0


def _pack(words: Sequence[str]) -> int:
    """`pack [RUN ...] -o FILE`: runs, a sweep with its cells, or all that have ended, as one file."""
    chosen, marks, files = list(words), words.count("-o"), [word for mark, word in pairwise(words) if mark == "-o"]
    if marks != 1 or not files:
        raise ConfigError("pack", "run ids, or none for all runs, and -o FILE", " ".join(words) or None)
    at = chosen.index("-o")
    del chosen[at : at + 2]
    for word in chosen:
        check_run_id(word, "pack")
    path = Path(files[0])
    if not path.absolute().parent.is_dir():
        raise ConfigError("pack -o", "a file in a folder that exists", files[0])
    say(pack(Store.open(), chosen, path, say))
    return 0


def _unpack(words: Sequence[str]) -> int:
    """`unpack FILE`: add the runs of an archive that the store does not have. It is read to its end before."""
    if len(words) != 1:
        raise ConfigError("unpack", "one file that `pack` wrote", " ".join(words) or None)
    with Archive(Path(words[0])) as archive:
        store = Store.open()
        say(unpack(archive, store))
        say(f"Browse: {store.ui.hint}\n  {store.ui.table_link()}")
    return 0


def _studies(words: Sequence[str]) -> int:
    """`studies` lists claims and verdicts; with --all or names it runs studies, with --all it writes their page."""
    overrides = [word for word in words if "=" in word]
    chosen = [word for word in words if "=" not in word and word != "--all"]
    if unknown := [word for word in chosen if word not in studies.names()]:
        raise ConfigError("studies", " | ".join(("--all", *studies.names())), unknown[0])
    everything = "--all" in words
    size = "small" if SMALL in overrides else "full"
    names = studies.names() if everything or not chosen else chosen
    failed = []
    for i, name in enumerate(names if everything or chosen else []):
        say(f"\nStudy {i + 1} of {len(names)}: {name}")
        if _study(name, overrides):
            failed.append(name)
    if failed:
        say(f"Without an answer: {', '.join(failed)}. The same command again trains what is missing.")
    elif everything and size == "full":
        say(f"Written: {studies.write_page(Store.open(), size, Path.cwd())}")
    print(studies.listing(Store.open(), size, names))
    return int(bool(failed))


def _study(name: str, overrides: list[str]) -> int:
    """Run one study of several; a refusal is reported, so that the next one can run."""
    try:
        words = ["-m", f"experiment={name}", *overrides]
        return train(words, checked_cells(words))
    except ConfigError as refused:
        say(f"harness: {refused}")
        return 2


VERBS = {
    "deliver": _deliver,
    "pack": _pack,
    "report": _report,
    "studies": _studies,
    "unpack": _unpack,
    "verify": _verify,
}
