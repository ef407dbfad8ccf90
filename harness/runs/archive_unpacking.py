"""Unpacks an archive into a store: every run once, whole, and nothing of it is run.

A run is known by its origin, the id in the store that trained it. Ids are kept where the store can keep them; where
it gives new ones, every mention of an old id in tags, notes and the texts of sweeps is replaced.
"""

import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING

from harness.config import ConfigError
from harness.runs import answered
from harness.runs.archive import Archive, PackedRun
from harness.runs.archive_checks import Points
from harness.runs.parent import ORDER_BY, VIEW
from harness.store import (
    COMMIT_TAG,
    INTERRUPTS,
    ORIGIN,
    Bulk,
    NewRun,
    Store,
    add_run,
    bulk,
    connection,
    places,
    sweep_tag,
)

if TYPE_CHECKING:
    from mlflow.entities import Run

PATIENCE = 2.0  # seconds that another command may unpack here before it is said
WRITERS = 8  # runs that are sent to a server at once
TRAINED_BY = f"{ORIGIN}.user"  # tag: who trained a run, as its archive says
NOTE = "mlflow.note.content"
OF_MLFLOW = (NOTE, "mlflow.loggedArtifacts", COMMIT_TAG)  # tags of MLflow's that say something of the training
OF_A_STORE = ("journal", "sweep", answered.TAG, places.MOVED, ORIGIN)  # tags that mean something in one store only
TEXTS = (".csv", ".html", ".json", ".md", ".yaml")  # files of a sweep that may name runs
RUN_ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")
FOREIGN = (  # what in a note would load something from elsewhere: pictures, their addresses below, HTML
    (re.compile(r"!\[([^\]]*)\](?!\(get-artifact\?)(\([^)]*\)|\[[^\]]*\])?"), r"\1"),
    (re.compile(r"^\s*\[[^\]]*\]:.*$", re.MULTILINE), ""),
    (re.compile(r"<(?=[a-zA-Z/!?])"), "&lt;"),
    # what is left of pictures inside pictures becomes a link, unless it shows a file of the store
    (re.compile(r"!+(?=\[)(?!\[[^\[\]\\\n]*\]\(get-artifact\?[^()\s\\]*\))"), ""),
)

Ids = Mapping[str, str]  # of a run in the archive -> in this store


def unpack(archive: Archive, store: Store, say: Callable[[str], None]) -> str:
    """Add the runs that the store does not have, and memberships of sweeps; returns a sentence.

    One process of a project at a time; that it waits for another is said. Raises ConfigError if the disk has no room,
    UnreachableError if the store fails; then the same call completes it.
    """
    with _alone(store.undelivered.parent / ".unpack.lock", say), bulk.refusing(store):
        known = _known(store)
        new = [run for run in archive.runs if not _is_known(run, known)]
        ids = {run.id: known[run.origin].info.run_id for run in archive.runs if run.origin in known}
        archive.check_room(new, Path.cwd())
        _add(archive, store, new, ids)
        for run in archive.runs:
            if _is_known(run, known):
                _join_sweeps(store, run, known[run.origin], ids)
    for run in new:
        if run.kind == "sweep":
            store.save_view(ids[run.id], VIEW, ORDER_BY)
    return f"Unpacked into {store.uri}: runs: {len(new)}, there already: {len(archive.runs) - len(new)}"


@contextmanager
def _alone(path: Path, say: Callable[[str], None]) -> Iterator[None]:
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    try:
        lock.acquire(timeout=PATIENCE)
    except OSError as error:
        if not isinstance(error, Timeout):
            allowed = f"a file that may be written, for a lock (move what is there away: {error.strerror})"
            raise ConfigError(str(path), allowed, "something else") from error
        say(f"waiting for another command that unpacks here (if it was stopped: `fg` continues it); it holds {path}")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _add(archive: Archive, store: Store, new: Sequence[PackedRun], ids: dict[str, str]) -> None:
    """Adds their ids in this store to `ids`."""
    tables = Bulk.of(store.client.tracking_uri)
    root = tables.root(store.experiment_id) if tables else None
    if tables and root:
        ids |= _new_ids(tables, new)
        _write_tables(archive, store, tables, Path(root), new, ids)
    else:
        _send(archive, store, new, ids)


def _known(store: Store) -> "dict[str, Run]":
    """Origin -> run, a finished one before any that is not."""
    found = sorted(store.cells_and_sweeps(), key=lambda run: run.info.status == "FINISHED")
    return {run.data.tags.get(ORIGIN, run.info.run_id): run for run in found}


def _is_known(run: PackedRun, known: "Mapping[str, Run]") -> bool:
    """A run that finished elsewhere is new where it was given up."""
    there = known.get(run.origin)
    return there is not None and (there.info.status == "FINISHED" or run.status != "FINISHED")


def _new_ids(tables: Bulk, new: Sequence[PackedRun]) -> dict[str, str]:
    """Their origins, unless another run, perhaps a deleted one, has the id."""
    used = tables.ids_in_use(run.origin for run in new)
    return {run.id: uuid.uuid4().hex if run.origin in used else run.origin for run in new}


def _join_sweeps(store: Store, run: PackedRun, there: "Run", ids: Ids) -> None:
    """A cell that the store has may be part of a sweep that it did not have."""
    for tag in _sweep_tags(run, ids):
        if tag not in there.data.tags:
            store.add_to_sweep(there.info.run_id, tag.removeprefix(sweep_tag("")))


# Tags


def _tags(run: PackedRun, ids: Ids) -> dict[str, str]:
    """What the tags say of the training; who unpacks it, and ids of this store, in place of what they claim."""
    said = {key: _renamed(text, ids) for key, text in run.tags.items() if _says_something(key)}
    if NOTE in said:
        said[NOTE] = _without_foreign(said[NOTE])
    sweep = ids.get(run.tags.get("sweep", ""))
    by = run.tags.get(TRAINED_BY, run.tags.get("mlflow.user", ""))
    own = connection.run_tags(ids.get(run.tags.get("mlflow.parentRunId", "")))
    return {**said, **_sweep_tags(run, ids), **({"sweep": sweep} if sweep else {}), **own,
            ORIGIN: run.origin, TRAINED_BY: by}  # fmt: skip


def _says_something(key: str) -> bool:
    of_a_store = key in OF_A_STORE or key.startswith(("mlflow.", "process.", sweep_tag(""), f"{ORIGIN}."))
    return key in OF_MLFLOW or not of_a_store


def _sweep_tags(run: PackedRun, ids: Ids) -> dict[str, str]:
    """Of the sweeps that are in the archive or in the store."""
    sweeps = (key.removeprefix(sweep_tag("")) for key in run.tags if key.startswith(sweep_tag("")))
    return {sweep_tag(ids[sweep]): "yes" for sweep in sweeps if sweep in ids}


def _renamed(text: str, ids: Ids) -> str:
    return RUN_ID.sub(lambda found: ids.get(found[0], found[0]), text)


def _without_foreign(note: str) -> str:
    for pattern, instead in FOREIGN:
        note = pattern.sub(instead, note)
    return note


def _extract(archive: Archive, run: PackedRun, folder: Path, ids: Ids) -> None:
    archive.extract(run, folder)
    if run.kind == "sweep" and any(old != new for old, new in ids.items()):
        for path in (folder / name for name in run.files if name.endswith(TEXTS)):
            text = path.read_bytes().decode("utf8", "surrogateescape")
            path.write_bytes(_renamed(text, ids).encode("utf8", "surrogateescape"))


# Into a SQLite store


def _write_tables(archive: Archive, store: Store, tables: Bulk, root: Path, new: Sequence[PackedRun], ids: Ids) -> None:
    """Files first, then all runs in one transaction: a kill before its end leaves folders that no run names."""
    wanted = {run.id for run in new}
    for run in new:
        INTERRUPTS.check()
        shutil.rmtree(root / ids[run.id], ignore_errors=True)
        _extract(archive, run, root / ids[run.id] / "artifacts", ids)
    if hasattr(os, "sync"):
        os.sync()
    rows = ((_row(run, store.experiment_id, root, ids), points) for run, points in archive.stream() if run.id in wanted)
    tables.write(rows)


def _row(run: PackedRun, experiment: str, root: Path, ids: Ids) -> NewRun:
    tags, own = _tags(run, ids), ids[run.id]
    uri = places.place(str(root / own / "artifacts"))
    info = run.name, tags["mlflow.user"], run.status, run.start, run.end
    return NewRun(own, experiment, *info, uri, tags, run.params, run.datasets)


# Through MLflow's client


def _send(archive: Archive, store: Store, new: Sequence[PackedRun], ids: dict[str, str]) -> None:
    """Cells are sent before the sweeps that they belong to, whose ids they need: those are created first."""
    for run in new:
        if run.kind == "sweep":
            ids[run.id] = store.create_as(run.origin, run.name, run.start)
    wanted, n_writers = {run.id for run in new}, WRITERS if store.uri.startswith("http") else 1
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(n_writers) as pool:

        def send(run: PackedRun, points: Points) -> None:
            folder = Path(scratch, run.id)
            _extract(archive, run, folder, ids)
            own = ids.get(run.id) or store.create_as(run.origin, run.name, run.start)
            add_run(store, own, _row(run, store.experiment_id, folder, {**ids, run.id: own}), points, folder)
            shutil.rmtree(folder, ignore_errors=True)

        missing = ((run, [point for some in points for point in some]) for run, points in archive.stream())
        for _, runs in groupby((one for one in missing if one[0].id in wanted), key=lambda one: one[0].kind):
            while some := list(islice(runs, WRITERS)):
                INTERRUPTS.check()
                list(pool.map(lambda one: send(*one), some))
