"""A new SQLite store in a moment: MLflow makes its tables by dozens of migrations, a second of work and of waiting.

So the first store that MLflow makes is kept without its experiments, and later ones begin as copies.
Whatever cannot be kept or copied, MLflow makes.
"""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from uuid import uuid4

from harness.config import keep, kept_place
from harness.store.journal_files import sync

FILLED = {"alembic_version", "experiments", "workspaces"}  # tables in which a new store has rows


@contextmanager
def made_in_a_moment(file: Path | None) -> Iterator[None]:
    """In the context MLflow opens the store in this file, if it is in one, and makes what is not there yet."""
    if file is None or os.path.lexists(file):
        yield
        return
    kept = kept_place("store.db", *_versions())
    with suppress(OSError, sqlite3.Error):
        _begin(file, kept)
    is_new = not file.exists()
    yield
    if is_new:
        with suppress(OSError, sqlite3.Error):
            keep(kept, partial(_copy_without_experiments, file))


def _versions() -> list[str]:
    """Of MLflow and its tables."""
    import mlflow

    migrations = Path(mlflow.__file__).parent / "store" / "db_migrations" / "versions"
    return [mlflow.__version__, *sorted(path.name for path in migrations.glob("*.py"))]


def _begin(file: Path, kept: Path) -> None:
    """A whole file at once, and never in place of another."""
    with closing(sqlite3.connect(f"{kept.as_uri()}?mode=ro", uri=True)) as database:
        if database.execute("PRAGMA quick_check").fetchone() != ("ok",) or not kept.stat().st_size:
            return
    new = file.with_name(f".{uuid4().hex}.new")
    try:
        shutil.copyfile(kept, new)
        sync(new)
        os.link(new, file)
        sync(file.absolute().parent)
    finally:
        new.unlink(missing_ok=True)


def _copy_without_experiments(file: Path, to: Path) -> None:
    """Raises OSError if there is more in it than in a new one: somebody else has written to it."""
    with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(to)) as copy:
        source.backup(copy)
        tables = [row[0] for row in copy.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for name in set(tables) - FILLED:
            if copy.execute(f'SELECT 1 FROM "{name}"').fetchone():
                raise OSError(f"{file} is no new store: {name} has rows")
        copy.execute("DELETE FROM experiments")
        copy.commit()
