"""Packs runs that have ended, with their points and artifacts, into one file."""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from harness.config import ConfigError
from harness.runs.archive import PackedRun
from harness.runs.archive_checks import STATUSES, Points, Refused, checked_points, checked_run, shown
from harness.runs.archive_writing import file_digest, write_archive
from harness.runs.loading import find_run
from harness.store import INTERRUPTS, ORIGIN, Bulk, Store, bulk, journal_files, places, query

if TYPE_CHECKING:
    from filelock import BaseFileLock
    from mlflow.entities import DatasetInput, Run

REQUESTS = 8  # to a server at once
CHUNK = 1000  # points in one line
SCRATCH = ".harness-pack-"  # beginning of the names of folders in which archives are made
NEW_SECONDS = 60.0  # in which the process that made such a folder may not hold its lock yet


def pack(store: Store, words: Sequence[str], path: Path, say: Callable[[str], None]) -> str:
    """Write the runs of these ids, a sweep with its cells, or all that have ended; returns a sentence.

    Raises ConfigError for a run that cannot be packed.
    """
    ended = _chosen(store, words, say)
    if not ended:
        raise ConfigError("pack", f"a store with runs that have ended ({store.uri} has none)", " ".join(words) or None)
    try:
        _write(store, ended, path)
    except OSError as error:
        raise ConfigError("pack -o", "a file that can be written", f"{path}: {error.strerror or error}") from error
    n_sweeps = sum(run.data.tags["kind"] == "sweep" for run in ended)
    megabytes = path.stat().st_size / 1e6
    return f"Packed into {path}: cells: {len(ended) - n_sweeps}, sweeps: {n_sweeps}, {megabytes:.1f} MB"


def _write(store: Store, runs: "Sequence[Run]", path: Path) -> None:
    tables, files = Bulk.of(store.client.tracking_uri), dict[str, Path]()
    with _scratch(path.absolute().parent) as folder:
        packed = (_packed(store, run, tables, folder, files) for run in runs)
        write_archive(path, folder, packed, files)


@contextmanager
def _scratch(around: Path) -> Iterator[Path]:
    """A folder on the disk of the archive, removed at the end; also those that killed processes left here."""
    for left in around.glob(f"{SCRATCH}*"):
        with suppress(OSError):  # filelock.Timeout is one, too: its process packs
            if time.time() - (left / "lock").stat().st_mtime > NEW_SECONDS:
                _remove(left, journal_files.locked(left))
    folder = Path(tempfile.mkdtemp(dir=around, prefix=SCRATCH))
    lock = journal_files.locked(folder)
    try:
        yield folder
    finally:
        with INTERRUPTS.deferred():
            _remove(folder, lock)


def _remove(folder: Path, lock: "BaseFileLock") -> None:
    lock.release()
    shutil.rmtree(folder, ignore_errors=True)


def _chosen(store: Store, words: Sequence[str], say: Callable[[str], None]) -> "list[Run]":
    """Cells before sweeps; each in the order of their start."""
    named = [find_run(store, word, "pack") for word in words]
    found = {run.info.run_id: run for run in named or store.cells_and_sweeps()}
    for run in named:
        if run.info.status not in STATUSES:
            raise ConfigError("pack", "runs that have ended", f"{run.info.run_id} ({run.info.status})")
        if run.data.tags["kind"] == "sweep":
            found |= {cell.info.run_id: cell for cell in store.cells(run.info.run_id)}
    ended = [run for run in found.values() if run.info.status in STATUSES]
    if len(ended) < len(found):
        say(f"left out, as they have not ended: {len(found) - len(ended)} runs")
    return sorted(ended, key=lambda run: (run.data.tags["kind"] == "sweep", run.info.start_time))


def _packed(
    store: Store, run: "Run", tables: Bulk | None, scratch: Path, files: dict[str, Path]
) -> tuple[PackedRun, Iterator[Points]]:
    """The run and its points; the places of its files go to `files`."""
    with _naming(run.info.run_id):
        found = [(path, file_digest(place), place) for path, place in _artifacts(store, run, scratch)]
    files |= {digest: place for _, digest, place in found if digest not in files}
    tags = dict(run.data.tags)
    inputs = run.inputs.dataset_inputs if run.inputs else []
    fields = {
        "id": run.info.run_id,
        "origin": tags.pop(ORIGIN, run.info.run_id),
        "name": run.info.run_name,
        "status": run.info.status,
        "start": run.info.start_time,
        "end": max(run.info.end_time or 0, run.info.start_time),
        "tags": tags,
        "params": dict(run.data.params),
        "datasets": [_dataset(one) for one in inputs],
        "files": {path: digest for path, digest, _ in found},
    }
    with _refusing(run.info.run_id):
        packed = PackedRun(**checked_run(fields))
    points = tables.points(packed.id) if tables else _points(store, packed.id, list(run.data.metrics))
    return packed, _checked(packed.id, points)


@contextmanager
def _naming(run_id: str) -> Iterator[None]:
    """Raises ConfigError for an artifact, or a folder of them, that may not be read."""
    try:
        yield
    except PermissionError as error:
        place = error.filename
        allowed = f"artifacts that can be read (chmod -R u+rX {place}, or pack as the user whose they are)"
        raise ConfigError(f"run {run_id}", allowed, f"{place}: {error.strerror}") from error


def _checked(run_id: str, chunks: Iterator[Points]) -> Iterator[Points]:
    for points in chunks:
        with _refusing(run_id):
            yield checked_points(points)


@contextmanager
def _refusing(run_id: str) -> Iterator[None]:
    """What an archive may not have, in one line: it is said here, not where it would be unpacked."""
    try:
        yield
    except Refused as problem:
        raise ConfigError(
            f"run {run_id}", f"one that an archive can hold: {problem.allowed}", problem.found
        ) from problem


def _artifacts(store: Store, run: "Run", scratch: Path) -> Iterator[tuple[str, Path]]:
    """Path and place of every plain file, in order; links are left out, as they may lead anywhere."""
    local = places.path_of(run.info.artifact_uri)
    folder = Path(local) if local else scratch / "artifacts" / run.info.run_id
    if local:
        _check_own(folder, run.info.run_id)
    if not local and not folder.exists():
        folder.mkdir(parents=True)
        for item in query(lambda: store.client.list_artifacts(run.info.run_id)):
            query(partial(store.client.download_artifacts, run.info.run_id, item.path, str(folder)))
    for root, _, names in sorted(os.walk(folder, onerror=_unless_missing)):
        for found in (Path(root, name) for name in sorted(names)):
            if found.is_file() and not found.is_symlink():
                yield found.relative_to(folder).as_posix(), found


def _unless_missing(error: OSError) -> None:
    """Raise it, but where artifacts were deleted."""
    if not isinstance(error, FileNotFoundError):
        raise error


def _check_own(folder: Path, run_id: str) -> None:
    """Refuse a folder that only the store says to be the run's: its files would be handed on. Raises ConfigError."""
    if folder.parts[-2:] != (run_id, "artifacts") or folder.is_symlink() or folder.parent.is_symlink():
        allowed = f"artifacts in a folder of its own, {run_id}/artifacts, as MLflow makes it, and no link"
        raise ConfigError(f"run {run_id}", allowed, shown(folder))


def _dataset(found: "DatasetInput") -> dict[str, str | None]:
    context = {tag.key: tag.value for tag in found.tags}.get(bulk.CONTEXT, "")
    return {name: getattr(found.dataset, name) for name in bulk.DATASET} | {"context": context}


def _points(store: Store, run_id: str, keys: Sequence[str]) -> Iterator[Points]:
    """As Bulk.points, through MLflow's client: a request for each metric."""
    with ThreadPoolExecutor(REQUESTS) as pool:
        ask = lambda key: query(lambda: store.client.get_metric_history(run_id, key))  # noqa: E731
        for history in pool.map(ask, sorted(keys)):
            found = sorted({(point.key, point.step, point.timestamp, point.value) for point in history})
            for i in range(0, len(found), CHUNK):
                yield [(key, value, time, step) for key, step, time, value in found[i : i + CHUNK]]
