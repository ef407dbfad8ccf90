"""Which runs of a SQLite store have a value of a tag: asked again and again while runs are added, or read whole.

MLflow's search takes more than a millisecond for each run. tests/store/test_tagged.py compares what it finds.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from harness.store.rows import Tables

if TYPE_CHECKING:
    import sqlalchemy
    from mlflow.entities import Run

MOST_IDS = 500  # in one question
ABOUT = "run_uuid, experiment_id, user_id, status, start_time, end_time, lifecycle_stage, artifact_uri, name"
END = ABOUT.split(", ").index("end_time")  # the only one that may be unknown


class Known(NamedTuple):
    """The last row of the runs, the id there, and the ids of the runs with the tag up to there by its value."""

    row: int
    last: str | None
    ids: dict[str, set[str]]


class Tagged(Tables):
    """Finds runs by a tag; each question has a connection of its own, so threads may ask at the same time."""

    def __init__(self, engine: "sqlalchemy.Engine") -> None:
        super().__init__(engine)
        self._known: dict[str, Known] = {}  # by key

    def ids(self, key: str, text: str) -> set[str] | None:
        """Of the runs that were created with this tag, also deleted ones; None where the database does not answer.

        A row is read once, where a search of MLflow reads all of them each time.
        """
        import sqlalchemy

        try:
            with self.engine.connect() as connection:
                known = self._known[key] = _with_new(connection, key, self._known.get(key))
        except sqlalchemy.exc.SQLAlchemyError:
            return None
        return known.ids.get(text, set())

    def runs(self, experiment_id: str, key: str, texts: Collection[str]) -> "list[Run] | None":
        """Runs of the experiment with one of these values of a tag, in the order of their start, without their inputs.

        None where the database does not answer, or holds what MLflow may refuse to read.
        """
        import sqlalchemy

        wanted = set(texts)
        try:
            with self.engine.connect() as connection:
                tags = connection.exec_driver_sql("SELECT value, run_uuid FROM tags WHERE key = ?", (key,))
                ids = sorted(run_id for text, run_id in tags if text in wanted)
                parts = [ids[i : i + MOST_IDS] for i in range(0, len(ids), MOST_IDS)]
                found = [run for part in parts for run in _read(connection, experiment_id, part)]
                found.sort(key=lambda run: (run.info.start_time, run.info.run_id))
        except (sqlalchemy.exc.SQLAlchemyError, _OddError, TypeError):  # a start that is text
            return None
        return found


class _OddError(Exception):
    """A row that the harness does not write."""


def _read(connection: "sqlalchemy.Connection", experiment_id: str, ids: Sequence[str]) -> "list[Run]":
    from mlflow.entities import Metric, Param, Run, RunData, RunInfo, RunTag

    signs = f"({', '.join('?' * len(ids))})"

    def rows(columns: str, table: str) -> Sequence[Any]:
        return connection.exec_driver_sql(f"SELECT {columns} FROM {table} WHERE run_uuid IN {signs}", tuple(ids)).all()

    def of_runs(columns: str, table: str) -> dict[str, list[Any]]:
        own = defaultdict[str, list[Any]](list)
        for run_id, *row in rows(f"run_uuid, {columns}", table):
            _check(row)
            own[run_id].append(row)
        return own

    every = rows(ABOUT, "runs")  # first: a run that has ended has all its rows
    tags, params = of_runs("key, value", "tags"), of_runs("key, value", "params")
    metrics = of_runs("key, value, timestamp, step, is_nan", "latest_metrics")
    found = list[Run]()
    for row in every:
        _check(one for place, one in enumerate(row) if place != END)
        run_id, experiment, user, status, start, end, stage, place, name = row
        if (str(experiment), stage) != (experiment_id, "active"):
            continue
        points = ((key, float("nan") if is_nan else value, *when) for key, value, *when, is_nan in metrics[run_id])
        data = RunData(
            [Metric(*point) for point in points],
            [Param(*item) for item in params[run_id]],
            [RunTag(*item) for item in tags[run_id]],
        )
        found.append(Run(RunInfo(run_id, experiment_id, user, status, start, end, stage, place, name), data))
    return found


def _with_new(connection: "sqlalchemy.Connection", key: str, known: Known | None) -> Known:
    """With the runs that are new; all are read again where the last is gone, as a new one may have its row."""
    of_row = "SELECT run_uuid FROM runs WHERE rowid = ?"
    if known is None or connection.exec_driver_sql(of_row, (known.row,)).scalar() != known.last:
        known = Known(0, None, {})
    row, last = connection.exec_driver_sql("SELECT max(rowid), run_uuid FROM runs").one()
    # CROSS: from the new runs to their tags; SQLite would look through all tags of the key
    tags = """SELECT tags.value, tags.run_uuid FROM runs CROSS JOIN tags
              ON tags.run_uuid = runs.run_uuid AND tags.key = ? WHERE runs.rowid > ? AND runs.rowid <= ?"""
    for text, run_id in connection.exec_driver_sql(tags, (key, known.row, row or 0)):
        known.ids.setdefault(text, set()).add(run_id)
    return Known(row or 0, last, known.ids)


def _check(row: Iterable[Any]) -> None:
    """Raises _OddError for a value that is missing, or bytes."""
    if any(value is None or isinstance(value, bytes) for value in row):
        raise _OddError
