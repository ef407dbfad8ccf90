"""A new SQLite store in a moment: MLflow makes its tables by dozens of migrations, a second of work and of waiting.

So the first store that MLflow makes is kept beside this module without its experiments, and later ones begin as copies.
Whatever cannot be kept or copied, MLflow makes.
"""

import hashlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from harness.store.journal_files import sync

KEPT = Path(__file__).parent / "__pycache__"
FILLED = {"alembic_version", "experiments", "workspaces"}  # tables in which a new store has rows


@contextmanager
def made_in_a_moment(file: Path | None) -> Iterator[None]:
    """In the context MLflow opens the store in this file, if it is in one, and makes what is not there yet."""
    if file is None or os.path.lexists(file):
        yield
        return
    kept = KEPT / f"store-{_version()}.db"
    with suppress(OSError, sqlite3.Error):
        _begin(file, kept)
    is_new = not file.exists()
    yield
    if is_new:
        with suppress(OSError, sqlite3.Error):
            _keep(file, kept)


def _version() -> str:
    """Of MLflow and its tables."""
    import mlflow

    migrations = Path(mlflow.__file__).parent / "store" / "db_migrations" / "versions"
    names = sorted(path.name for path in migrations.glob("*.py"))
    return hashlib.sha256("\n".join([mlflow.__version__, *names]).encode()).hexdigest()[:16]


def _begin(file: Path, kept: Path) -> None:
    """A whole file at once, and never in place of another."""
    with closing(sqlite3.connect(f"{kept.as_uri()}?mode=ro", uri=True)) as database:
        if database.execute("PRAGMA quick_check").fetchone() != ("ok",) or not kept.stat().st_size:
            return
    new = file.with_name(f".{os.getpid()}-{file.name}"[-200:])
    try:
        shutil.copyfile(kept, new)
        sync(new)
        os.link(new, file)
        sync(file.absolute().parent)
    finally:
        new.unlink(missing_ok=True)


def _keep(file: Path, kept: Path) -> None:
    """As `kept`, in place of those of other versions."""
    new = kept.with_name(f"{kept.name}.{os.getpid()}")
    kept.parent.mkdir(exist_ok=True)
    try:
        with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(new)) as copy:
            source.backup(copy)
            tables = [row[0] for row in copy.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            if any(copy.execute(f'SELECT 1 FROM "{name}"').fetchone() for name in set(tables) - FILLED):
                return
            copy.execute("DELETE FROM experiments")
            copy.commit()
        sync(new)
        for other in kept.parent.glob("store-" + "[0-9a-f]" * 16 + ".db"):
            other.unlink(missing_ok=True)
        new.rename(kept)
    finally:
        new.unlink(missing_ok=True)
