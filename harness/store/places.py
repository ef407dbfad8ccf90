"""Where the artifacts of the project's own store lie: MLflow keeps absolute paths, so they are repaired after a move.

Only mlflow.db in the current folder is ever changed. Every path that lay inside the old project then lies inside this
one, so that nothing is written to the old folder, even if it still exists. Other places (s3://, another disk) stay.
"""

import json
import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from harness.config import ConfigError
from harness.store.names import hidden
from harness.store.processes import process_tags
from harness.store.redaction import redacted

DATABASE, RUNS = "mlflow.db", "mlruns"  # in the project's folder
MOVED = "moved"  # tag of a run that another machine was training when the project moved: its process is not waited for
FORMER = "harness.former_folders"  # tag of an experiment: folders in which the project was, as JSON; journals name them
LOCK_SECONDS = 20.0  # to wait for another process that writes to the database
PLACES = (  # table, column and condition of everything in MLflow's schema that names a place of files
    ("experiments", "artifact_location", "1"),
    ("runs", "artifact_uri", "1"),
    ("logged_models", "artifact_location", "1"),
    ("model_versions", "source", "1"),
    ("model_versions", "storage_location", "1"),
    ("trace_tags", "value", "key IN ('mlflow.artifactLocation', 'mlflow.trace.archiveLocation')"),
    ("workspaces", "default_artifact_root", "1"),
    ("workspaces", "trace_archival_location", "1"),
)
ROOTS = f"""
    SELECT DISTINCT substr(place, 1, length(place) - length(suffix)), is_run FROM (
        SELECT artifact_location AS place, '/{RUNS}/' || experiment_id AS suffix, 0 AS is_run FROM experiments
        UNION ALL
        SELECT artifact_uri, '/{RUNS}/' || experiment_id || '/' || run_uuid || '/artifacts', 1 FROM runs
    ) WHERE substr(place, -length(suffix)) = suffix
"""


@dataclass(frozen=True)
class Repair:
    """What was changed: number of runs whose places were below `old`; of those that finished, `n_lost` have no files
    here; `n_open` were being trained on another machine."""

    old: str
    n_runs: int
    n_lost: int
    n_open: int

    def __str__(self) -> str:
        lost = f" The files of {self.n_lost} are not here: copy the folder {RUNS} too." if self.n_lost else ""
        gone = f" {self.n_open} that another machine was training are closed as KILLED." if self.n_open else ""
        old = self.old if self.old.isprintable() else ascii(self.old)
        return f"This project was in {old}: {self.n_runs} runs now have their files here.{lost}{gone}"


def repair(project: Path, must: bool = True) -> None:
    """Repair the places in the store of a project's folder; say so in one line on stderr.

    Raises ConfigError if they must be repaired and the database cannot be written to; else that is said, too.
    """
    try:
        for repaired in repaired_places(project):
            sys.stderr.write(f"{redacted(str(repaired))}\n")
    except (sqlite3.Error, OSError) as error:
        allowed = "a store that can be written to: the project has moved, and its artifact places are of the old folder"
        refused = ConfigError(DATABASE, allowed, f"{project / DATABASE}: {error}")
        if must:
            raise refused from error
        sys.stderr.write(f"harness: {refused}\n")


def repaired_places(project: Path) -> list[Repair]:
    """Rewrite the places below each old folder of the project, all in one transaction. Raises sqlite3.Error, OSError.

    project: absolute. Nothing is done for a database that does not have MLflow's tables.
    """
    if not os.path.exists(project / DATABASE):
        return []
    with _database(project, "ro") as database:
        if not _has(database, "runs", "artifact_uri") or not _old_roots(database, project):
            return []
    with _database(project, "rw") as database:
        database.execute("BEGIN IMMEDIATE")
        found = [_move(database, root, project) for root in _old_roots(database, project)]
        database.execute("COMMIT")
    return [repaired for repaired in found if repaired.n_runs and repaired.old != str(project)]


@contextmanager
def _database(project: Path, mode: str) -> Iterator[sqlite3.Connection]:
    """Transactions are explicit: one that is not committed has no effect, whenever the process ends."""
    address = f"{(project / DATABASE).as_uri()}?mode={mode}"
    with closing(sqlite3.connect(address, uri=True, timeout=LOCK_SECONDS, isolation_level=None)) as database:
        yield database


def _has(database: sqlite3.Connection, table: str, column: str) -> bool:
    return any(row[1] == column for row in database.execute(f"PRAGMA table_info({table})"))


def place(path: str) -> str:
    """A path as MLflow reads it back: it takes %41 in a plain path for an A, and a path ends at a ? for it."""
    return Path(path).as_uri() if set("%?") & set(path) or os.name == "nt" else path


def path_of(place: str) -> str | None:
    """The absolute path that a place names; None if it is on a server."""
    if place.startswith("file:"):
        return unquote(urlsplit(place).path)
    return place if os.path.isabs(place) else None


def _old_roots(database: sqlite3.Connection, project: Path) -> list[str]:
    """The folders in which the project was, inner ones first; itself if MLflow would misread its own path."""
    places: dict[str, bool] = {}
    for text, is_run in database.execute(ROOTS):
        places[text] = places.get(text, True) and bool(is_run)
    places.pop(place(str(project)), None)
    found = {path.rstrip("/"): is_run for text, is_run in places.items() if (path := path_of(text or "/")) is not None}
    roots = [root for root, is_run in found.items() if _is_former(database, root, is_run, project)]
    return sorted(roots, key=len, reverse=True)


def _is_former(database: sqlite3.Connection, root: str, is_run: bool, project: Path) -> bool:
    """Whether the project was in this folder: files of its runs are here now; or it is gone, or is a project itself.

    is_run: only runs name it. A folder of artifacts that the user chose elsewhere has the files, and no database.
    """
    if root == str(project):
        return True
    if os.path.exists(root) and os.path.samefile(root, project):  # a link that leads here
        return False
    if any(os.path.isdir(folder) for folder, _ in _run_folders(database, root, project)):
        return True
    return not is_run and (os.path.exists(f"{root}/{DATABASE}") or not os.path.exists(f"{root}/{RUNS}"))


def _run_folders(database: sqlite3.Connection, root: str, project: Path) -> Iterator[tuple[str, str]]:
    """Of the runs whose artifacts were below the root's mlruns: where they are here, and how the run ended."""
    for value, status in database.execute("SELECT artifact_uri, status FROM runs"):
        path = path_of(value or "")
        if path and path.startswith(f"{root}/{RUNS}/"):
            yield f"{project}{path.removeprefix(root)}", status


def _move(database: sqlite3.Connection, root: str, project: Path) -> Repair:
    """Rewrite every place below the root; remember it, and which open runs another machine was training."""
    folders = list(_run_folders(database, root, project))
    n_open = _give_up_open_runs(database, root) if root != str(project) else 0
    for table, column, condition in PLACES:
        if _has(database, table, column):
            _rewrite(database, table, column, condition, root, project)
    if root != str(project):
        _remember(database, root)
    n_lost = sum(status == "FINISHED" and not os.path.isdir(folder) for folder, status in folders)
    return Repair(root or "/", len(folders), n_lost, n_open)


def _rewrite(database: sqlite3.Connection, table: str, column: str, condition: str, root: str, project: Path) -> None:
    rows = database.execute(f"SELECT rowid, {column} FROM {table} WHERE {condition}").fetchall()
    new = [(moved, rowid) for rowid, value in rows if (moved := _moved(str(value or ""), root, project))]
    database.executemany(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", new)


def _moved(value: str, root: str, project: Path) -> str:
    """The place inside the project for one that is inside the root; empty for any other."""
    path = path_of(value) or ""
    rest = path.removeprefix(root)
    inside = path.startswith(f"{root}/" if root else f"/{RUNS}/") or (path == root and root)
    is_here = path.startswith(f"{project}/") and root != str(project)
    if not inside or is_here or ".." in rest.split("/"):
        return ""
    moved = place(f"{project}{rest}")
    return moved if moved != value else ""


def _give_up_open_runs(database: sqlite3.Connection, root: str) -> int:
    """Mark the open runs of other machines: their processes write to the old folder, not to this one."""
    other = f"SELECT run_uuid FROM tags WHERE key IN ('process.host', '{hidden('process.host')}') AND value != ?"
    open_runs = f"SELECT run_uuid, artifact_uri FROM runs WHERE status = 'RUNNING' AND run_uuid IN ({other})"
    rows = [
        (MOVED, root, run_id)
        for run_id, value in database.execute(open_runs, (process_tags()["process.host"],)).fetchall()
        if (path_of(value or "") or "").startswith(f"{root}/")
    ]
    database.executemany("INSERT OR REPLACE INTO tags (key, value, run_uuid) VALUES (?, ?, ?)", rows)
    return len(rows)


def _remember(database: sqlite3.Connection, root: str) -> None:
    """Add the root to the former folders that every experiment names."""
    found = database.execute("SELECT value FROM experiment_tags WHERE key = ?", (FORMER,)).fetchone()
    folders = json.dumps(sorted({*former_folders(found[0] if found else ""), root}))
    every = "INSERT OR REPLACE INTO experiment_tags (key, value, experiment_id) SELECT ?, ?, experiment_id"
    database.execute(f"{every} FROM experiments", (FORMER, folders))


def former_folders(text: str) -> list[str]:
    """What the tag FORMER says; nothing if it cannot be read."""
    try:
        return [folder for folder in json.loads(text) if isinstance(folder, str)]
    except (ValueError, TypeError):
        return []


def names_store_of(address: str, folder: str) -> bool:
    """Whether the address is that of the database in this folder; a relative one is meant from the current folder."""
    path = address.removeprefix("sqlite:///").removeprefix("file:").removesuffix("?uri=true")
    spelt = {os.path.abspath(path), os.path.abspath(unquote(path))}
    return address.startswith("sqlite:///") and f"{folder}/{DATABASE}" in spelt
