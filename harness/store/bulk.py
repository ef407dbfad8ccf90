"""Rows straight from and to the tables of a SQLite store: MLflow's client takes 50 to 100 ms for each run.

Used for what a run in training logs, for the points of runs that are packed, and for runs that are unpacked: each call
is one transaction, so that a kill leaves all of it or nothing. tests/store/test_bulk.py and tests/runs/test_archive.py
compare what MLflow's client then reads. Where MLflow's tables are not as expected, or the store is a server, there is
no Bulk, and the client does it.
"""

import math
import re
import sqlite3
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from harness.config import ConfigError
from harness.store.connection import UnreachableError, query, reason
from harness.store.names import hidden
from harness.store.places import path_of

if TYPE_CHECKING:
    import sqlalchemy
    from mlflow.entities import Metric, Param, RunTag

    from harness.store.tracking import Store

CONTEXT = "mlflow.data.context"  # tag of a run's dataset: what it was used for
Point = tuple[str, float, int, int]  # key, value, milliseconds since 1970, step
ORDER = ("key", "step", "timestamp", "value")  # of points
MAX_POINTS, MAX_ITEMS = 1000, 100  # in one list; parameters or tags in one call
CACHE_KIBIBYTES = 1 << 18  # of the database's pages while runs are written; SQLite's own 2 MiB are read again and again
DATASET = ("name", "digest", "source_type", "source", "schema", "profile")  # fields of MLflow's Dataset
PLAIN_KEY = re.compile(r"\w[\w. -]{,99}(/\w[\w. -]{,99})?")  # of those that MLflow takes as they are
# What is done with a row that is there: of a tag, of a parameter or point, of a last point
NEW_VALUE = "ON CONFLICT (key, run_uuid) DO UPDATE SET value = excluded.value"
AS_IT_IS = "ON CONFLICT DO NOTHING"
LATER = """ON CONFLICT (key, run_uuid) DO UPDATE
    SET value = excluded.value, timestamp = excluded.timestamp, step = excluded.step, is_nan = excluded.is_nan
    WHERE (excluded.step, excluded.timestamp, excluded.value)
        > (latest_metrics.step, latest_metrics.timestamp, latest_metrics.value)"""
MAX_TEXT = 5000  # characters of a value that MLflow takes as it is; it cuts longer ones, or refuses them
RENAMES = "mlflow.runName"  # the tag that is a column of the run, too
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


class NewRun(NamedTuple):
    """A run that has ended, to be written. datasets: MLflow's fields and `context`; user: who writes it."""

    id: str
    experiment: str
    name: str
    user: str
    status: str
    start: int
    end: int
    artifact_uri: str
    tags: Mapping[str, str]
    params: Mapping[str, str]
    datasets: Sequence[Mapping[str, str | None]]


class Bulk:
    """The tables of a store that is a SQLite database. It keeps no connection open."""

    def __init__(self, engine: "sqlalchemy.Engine") -> None:
        self._engine = engine

    @classmethod
    def of(cls, uri: str) -> "Self | None":
        """None unless the store is a SQLite database with the tables of WRITTEN. One that is gone is not made anew."""
        import sqlalchemy

        if not uri.startswith("sqlite:"):
            return None
        url = sqlalchemy.make_url(uri)
        if url.query or not url.database:
            return None
        place = f"{Path(url.database).absolute().as_uri()}?mode=rw"
        engine = sqlalchemy.create_engine(
            "sqlite://", creator=lambda: sqlite3.connect(place, uri=True), poolclass=sqlalchemy.NullPool
        )
        try:
            with engine.connect() as connection:
                return cls(engine) if all(_fits(connection, *item) for item in WRITTEN.items()) else None
        except sqlalchemy.exc.SQLAlchemyError:
            return None

    def log(
        self, run_id: str, metrics: "Sequence[Metric]", params: "Sequence[Param]", tags: "Sequence[RunTag]"
    ) -> bool:
        """As MLflow's log_batch does; False, and nothing is written, for what MLflow may change or refuse.

        So also where the database does not take it: MLflow tries again, and says why. Done twice, it has the effect of
        once.
        """
        import sqlalchemy

        texts = [*params, *tags]
        if not (all(map(_is_plain, texts)) and all(math.isfinite(one.value) and _is_key(one.key) for one in metrics)):
            return False
        points = [(one.key, one.value, one.timestamp, one.step) for one in metrics]
        try:
            with self._engine.connect() as connection, connection.begin() as transaction:
                self._write_points(connection, run_id, [points])
                self._insert(connection, "tags", *((one.key, one.value, run_id) for one in tags), conflict=NEW_VALUE)
                self._insert(connection, "params", *((one.key, one.value, run_id) for one in params), conflict=AS_IT_IS)
                if self._is_active(connection, run_id) and self._has_params(connection, run_id, params):
                    return True
                transaction.rollback()
        except (sqlalchemy.exc.SQLAlchemyError, OverflowError, UnicodeError):
            pass
        return False

    def _is_active(self, connection: "sqlalchemy.Connection", run_id: str) -> bool:
        question = "SELECT lifecycle_stage FROM runs WHERE run_uuid = ?"
        return connection.exec_driver_sql(question, (run_id,)).scalar() == "active"

    def _has_params(self, connection: "sqlalchemy.Connection", run_id: str, params: "Sequence[Param]") -> bool:
        """Whether they have these values: MLflow refuses to change one."""
        if not params:
            return True
        question = "SELECT key, value FROM params WHERE run_uuid = ?"
        known = {row[0]: row[1] for row in connection.exec_driver_sql(question, (run_id,))}
        return all(known[one.key] == one.value for one in params)

    def root(self, experiment: str) -> str | None:
        """The local folder below which the artifacts of the experiment lie; None if they lie elsewhere."""
        question = "SELECT artifact_location FROM experiments WHERE experiment_id = ?"
        with self._engine.connect() as connection:
            return path_of(str(connection.exec_driver_sql(question, (int(experiment),)).scalar() or ""))

    def points(self, run_id: str) -> Iterator[list[Point]]:
        """Every point of a run, in ORDER."""
        question = f"""SELECT key, value, timestamp, step FROM metrics WHERE run_uuid = ? AND NOT is_nan
                       ORDER BY {", ".join(ORDER)}"""
        with self._engine.connect() as connection:
            for some in connection.exec_driver_sql(question, (run_id,)).partitions(MAX_POINTS):
                yield [tuple(row) for row in some]

    def ids_in_use(self, ids: Iterable[str]) -> set[str]:
        """Those of these ids that a run has, in any experiment, or deleted."""
        with self._engine.connect() as connection:
            every = {row[0] for row in connection.exec_driver_sql("SELECT run_uuid FROM runs")}
        return every & set(ids)

    def write(self, runs: Iterable[tuple[NewRun, Iterable[Sequence[Point]]]]) -> None:
        """Write runs with their points, all or none. Raises UnreachableError if the database does not take them."""
        import sqlalchemy

        try:
            with self._engine.begin() as connection:
                connection.exec_driver_sql(f"PRAGMA cache_size = -{CACHE_KIBIBYTES}")
                for run, chunks in runs:
                    self._write_run(connection, run)
                    self._write_points(connection, run.id, chunks)
        except sqlalchemy.exc.SQLAlchemyError as error:
            raise UnreachableError(reason(error)) from error

    def tag(self, run_ids: Sequence[str], key: str, value: str) -> None:
        """Set a tag of many runs, all or none. Raises UnreachableError if the database does not take it."""
        import sqlalchemy

        try:
            with self._engine.begin() as connection:
                self._insert(connection, "tags", *((key, value, run_id) for run_id in run_ids), conflict=NEW_VALUE)
        except sqlalchemy.exc.SQLAlchemyError as error:
            raise UnreachableError(reason(error)) from error

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

    def _write_run(self, connection: "sqlalchemy.Connection", run: NewRun) -> None:
        row = (run.id, run.name, "UNKNOWN", "", "", run.user, run.status, run.start, run.end, "", "active")
        self._insert(connection, "runs", (*row, run.artifact_uri, int(run.experiment)))
        tags = {**{hidden(key): value for key, value in run.tags.items()}, "mlflow.runName": run.name}
        self._insert(connection, "tags", *((key, value, run.id) for key, value in tags.items()))
        self._insert(connection, "params", *((key, value, run.id) for key, value in run.params.items()))
        for source, dataset in {self._dataset(connection, run, one): one for one in run.datasets}.items():
            link = uuid.uuid4().hex
            self._insert(connection, "inputs", (link, "DATASET", source, "RUN", run.id, 0))
            self._insert(connection, "input_tags", (link, CONTEXT, dataset["context"]))

    def _dataset(self, connection: "sqlalchemy.Connection", run: NewRun, dataset: Mapping[str, str | None]) -> str:
        """The id of the dataset, which is written if the experiment does not have it."""
        question = "SELECT dataset_uuid FROM datasets WHERE experiment_id = ? AND name = ? AND digest = ?"
        same, new = (int(run.experiment), dataset["name"], dataset["digest"]), uuid.uuid4().hex
        found = connection.exec_driver_sql(question, same).scalar()
        if found is None:
            fields = (dataset[name] for name in DATASET)
            self._insert(connection, "datasets", (new, int(run.experiment), *fields))
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


def _is_plain(text: "Param | RunTag") -> bool:
    return _is_key(text.key) and isinstance(text.value, str) and len(text.value) <= MAX_TEXT


def _is_key(key: str) -> bool:
    return key != RENAMES and PLAIN_KEY.fullmatch(key) is not None


def _fits(connection: "sqlalchemy.Connection", table: str, columns: Sequence[str]) -> bool:
    """Whether a row of these columns can be written."""
    there = connection.exec_driver_sql(f"PRAGMA table_info({table})").all()
    needed = {name for _, name, _, must_have_value, default, _ in there if must_have_value and default is None}
    return needed <= set(columns) <= {row[1] for row in there}


@contextmanager
def refusing(store: "Store") -> Iterator[None]:
    """A full disk, and what a server refuses, as a ConfigError."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (OSError, MlflowException) as error:
        allowed = "a store that takes its runs and a disk with room; then the same command completes it"
        raise ConfigError("unpack", allowed, f"{store.uri}: {reason(error)}") from error


def add_run(store: "Store", run_id: str, run: NewRun, points: Sequence[Point], folder: Path) -> None:
    """The same through MLflow's client, into an open run that exists; done twice, it has the effect of once.

    The tag `kind` comes last, so that a run which is not whole is no cell and no sweep.
    """
    from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag

    inputs = [
        DatasetInput(Dataset(**{name: dataset[name] for name in DATASET}), [InputTag(CONTEXT, dataset["context"])])
        for dataset in run.datasets
    ]
    metrics = [Metric(key, value, time, step) for key, value, time, step in points]
    params, tags = (
        [make(*item) for item in items.items()] for make, items in ((Param, run.params), (RunTag, run.tags))
    )
    batches = [{"metrics": metrics[i : i + MAX_POINTS]} for i in range(0, len(metrics), MAX_POINTS)]
    batches += [{"params": params[i : i + MAX_ITEMS]} for i in range(0, len(params), MAX_ITEMS)]
    if inputs:
        query(lambda: store.client.log_inputs(run_id, inputs))
    if any(folder.iterdir()):
        query(lambda: store.client.log_artifacts(run_id, str(folder)))
    for batch in [*batches, *({"tags": tags[i : i + MAX_ITEMS]} for i in range(0, len(tags), MAX_ITEMS))]:
        query(partial(store.client.log_batch, run_id, **batch))
    query(lambda: store.client.set_terminated(run_id, run.status, run.end))
    query(lambda: store.client.set_tag(run_id, "kind", run.tags["kind"]))
