"""The tables of a store that is a SQLite database: MLflow's client takes milliseconds for each call.

Where MLflow's tables are not as expected, or the store is a server, there are none, and the client does it.
"""

import sqlite3
import uuid
import weakref
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import sqlalchemy

CONTEXT = "mlflow.data.context"  # tag of a run's dataset: what it was used for
RUN_NAME = "mlflow.runName"  # the tag that is a column of the run, too
CACHE_KIBIBYTES = 1 << 14  # of the pages of one connection
Point = tuple[str, float, int, int]  # key, value, milliseconds since 1970, step
DATASET = ("name", "digest", "source_type", "source", "schema", "profile")  # fields of MLflow's Dataset
# What is done with a row that is there: of a tag, of any, of a last point
NEW_VALUE = "ON CONFLICT (key, run_uuid) DO UPDATE SET value = excluded.value"
AS_IT_IS = "ON CONFLICT DO NOTHING"
LATER = """ON CONFLICT (key, run_uuid) DO UPDATE
    SET value = excluded.value, timestamp = excluded.timestamp, step = excluded.step, is_nan = excluded.is_nan
    WHERE (excluded.step, excluded.timestamp, excluded.value)
        > (latest_metrics.step, latest_metrics.timestamp, latest_metrics.value)"""
WRITTEN: dict[str, tuple[str, ...]] = {  # the columns that rows are written to; all others must take none
    "runs": ("run_uuid", "name", "source_type", "source_name", "entry_point_name", "user_id", "status", "start_time",
             "end_time", "source_version", "lifecycle_stage", "artifact_uri", "experiment_id"),
    "tags": ("key", "value", "run_uuid"),
    "params": ("key", "value", "run_uuid"),
    "metrics": ("key", "value", "timestamp", "run_uuid", "step", "is_nan"),
    "latest_metrics": ("key", "value", "timestamp", "step", "is_nan", "run_uuid"),
    "datasets": ("dataset_uuid", "experiment_id", "name", "digest", "dataset_source_type", "dataset_source",
                 "dataset_schema", "dataset_profile"),
    "inputs": ("input_uuid", "source_type", "source_id", "destination_type", "destination_id", "step"),
    "input_tags": ("input_uuid", "name", "value"),
}  # fmt: skip


class Tables:
    """Their connections are kept, as long as nobody else writes to the file."""

    def __init__(self, engine: "sqlalchemy.Engine") -> None:
        self.engine = engine
        weakref.finalize(self, engine.dispose)  # or else its connections are left to the garbage collector

    @classmethod
    def of(cls, uri: str) -> "Self | None":
        """None unless the store is a SQLite database with the tables of WRITTEN. One that is gone is not made anew."""
        if not uri.startswith("sqlite:"):
            return None
        import sqlalchemy  # a fifth of a second, which a server does not need

        url = sqlalchemy.make_url(uri)
        if url.query or not url.database:
            return None
        engine = _engine(Path(url.database).absolute())
        try:
            with engine.connect() as connection:
                fits = all(_fits(connection, *item) for item in WRITTEN.items())
        except sqlalchemy.exc.SQLAlchemyError:
            fits = False
        if fits:
            return cls(engine)
        engine.dispose()
        return None

    def _insert(
        self, connection: "sqlalchemy.Connection", table: str, *rows: tuple[Any, ...], conflict: str = ""
    ) -> None:
        """As the driver takes it: SQLAlchemy's own form costs more time than the database.

        conflict: what is done with a row that is there.
        """
        if rows:
            names = ", ".join(f'"{name}"' for name in WRITTEN[table])
            signs = ", ".join("?" * len(WRITTEN[table]))
            connection.exec_driver_sql(f"INSERT INTO {table} ({names}) VALUES ({signs}) {conflict}", list(rows))

    def _link(
        self, connection: "sqlalchemy.Connection", experiment: int, run_id: str, dataset: Mapping[str, str | None]
    ) -> None:
        """Make a dataset an input of a run, unless it is one. dataset: DATASET and `context`."""
        source, link = self._dataset(connection, experiment, dataset), uuid.uuid4().hex
        question = """SELECT 1 FROM inputs WHERE source_type = 'DATASET' AND source_id = ?
                      AND destination_type = 'RUN' AND destination_id = ?"""
        if not connection.exec_driver_sql(question, (source, run_id)).scalar():
            self._insert(connection, "inputs", (link, "DATASET", source, "RUN", run_id, 0))
            self._insert(connection, "input_tags", (link, CONTEXT, dataset["context"]))

    def _dataset(self, connection: "sqlalchemy.Connection", experiment: int, dataset: Mapping[str, str | None]) -> str:
        """The id of the dataset, which is written if the experiment does not have it."""
        question = "SELECT dataset_uuid FROM datasets WHERE experiment_id = ? AND name = ? AND digest = ?"
        same, new = (experiment, dataset["name"], dataset["digest"]), uuid.uuid4().hex
        found = connection.exec_driver_sql(question, same).scalar()
        if found is None:
            fields = (dataset[name] for name in DATASET)
            self._insert(connection, "datasets", (new, experiment, *fields))
        return str(found or new)

    def _write_points(
        self, connection: "sqlalchemy.Connection", run_id: str, chunks: Iterable[Sequence[Point]]
    ) -> None:
        """A point that is there already stays one. The last point of a key is the one of the greatest step, then time,
        then value, as in MLflow's own store.
        """
        last: dict[str, tuple[int, int, float]] = {}
        for points in chunks:
            rows = ((key, value, time, run_id, step, False) for key, value, time, step in points)
            self._insert(connection, "metrics", *rows, conflict=AS_IT_IS)
            for key, value, time, step in points:
                last[key] = max(last.get(key, (step, time, value)), (step, time, value))
        lasts = ((key, value, time, step, False, run_id) for key, (step, time, value) in last.items())
        self._insert(connection, "latest_metrics", *lasts, conflict=LATER)


class _Connection(sqlite3.Connection):
    seen: tuple[int, ...] | None = None  # the file as it was when this connection was last used


def _engine(file: Path) -> "sqlalchemy.Engine":
    """A new connection reads the definitions of all tables, and each page again: a kept one saves a millisecond.

    It is given up when the file is another one, or anybody else has written to it, perhaps a backup over it: SQLite may
    not notice that its pages are not those of the file any more.
    """
    import sqlalchemy

    def connect() -> _Connection:
        seen = _state(file)
        connection = sqlite3.connect(f"{file.as_uri()}?mode=rw", uri=True, factory=_Connection, check_same_thread=False)
        connection.seen = seen
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIBIBYTES}")
        return connection

    def check(connection: _Connection, *_: object) -> None:
        if connection.seen != _state(file):
            raise sqlalchemy.exc.DisconnectionError

    def remember(connection: _Connection | None, _: object) -> None:
        if connection is not None:
            connection.seen = _state(file)

    engine = sqlalchemy.create_engine("sqlite://", creator=connect, poolclass=sqlalchemy.QueuePool)
    sqlalchemy.event.listen(engine, "checkout", check)
    sqlalchemy.event.listen(engine, "checkin", remember)
    return engine


def _state(file: Path) -> tuple[int, ...] | None:
    """Which file is in this place, and when it was last written; None if there is none."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size


def _fits(connection: "sqlalchemy.Connection", table: str, columns: Sequence[str]) -> bool:
    """Whether a row of these columns can be written."""
    there = connection.exec_driver_sql(f"PRAGMA table_info({table})").all()
    needed = {name for _, name, _, must_have_value, default, _ in there if must_have_value and default is None}
    return needed <= set(columns) <= {row[1] for row in there}
