"""Which runs of a SQLite store have a value of a tag, asked again and again while runs are added."""

from typing import TYPE_CHECKING, NamedTuple

from harness.store.rows import Tables

if TYPE_CHECKING:
    import sqlalchemy


class Known(NamedTuple):
    """The runs up to a row, their number, and the ids of those with the tag by its value."""

    row: int
    n_runs: int
    ids: dict[str, set[str]]


class Tagged(Tables):
    """Reads a row of each run once, where a search of MLflow reads all of them each time."""

    def __init__(self, engine: "sqlalchemy.Engine") -> None:
        super().__init__(engine)
        self._known: dict[str, Known] = {}  # by key

    def ids(self, key: str, text: str) -> set[str] | None:
        """Of the runs that were created with this tag; None where the database does not answer."""
        import sqlalchemy

        try:
            with self._engine.connect() as connection:
                known = self._known[key] = _with_new(connection, key, self._known.get(key))
        except sqlalchemy.exc.SQLAlchemyError:
            return None
        return known.ids.get(text, set())


def _with_new(connection: "sqlalchemy.Connection", key: str, known: Known | None) -> Known:
    """With the runs that are new; all are read again where one is gone, as its row may be that of a new one."""
    known = known or Known(0, 0, {})
    numbers = "SELECT coalesce(max(rowid), 0), count(*), count(CASE WHEN rowid > ? THEN 1 END) FROM runs"
    last, n_runs, n_new = connection.exec_driver_sql(numbers, (known.row,)).one()
    if n_runs != known.n_runs + n_new:
        known = Known(0, 0, {})
    rows = """SELECT tags.value, tags.run_uuid FROM runs JOIN tags ON tags.run_uuid = runs.run_uuid AND tags.key = ?
              WHERE runs.rowid > ? AND runs.rowid <= ?"""
    for text, run_id in connection.exec_driver_sql(rows, (key, known.row, last)):
        known.ids.setdefault(text, set()).add(run_id)
    return Known(last, n_runs, known.ids)
