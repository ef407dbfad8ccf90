"""Many runs at once, straight from and to the tables of a database: MLflow's client takes 50 to 100 ms for each run.

Used for the points of runs that are packed, and for runs that are unpacked into a SQLite store: one transaction, so
that a kill leaves all of them or none. tests/runs/test_archive.py compares what the client then reads. Where MLflow's
tables are not as expected, or the store is a server, `Bulk.of` gives None and the client does it.
"""

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

    from harness.store.tracking import Store

CONTEXT = "mlflow.data.context"  # tag of a run's dataset: what it was used for
Point = tuple[str, float, int, int]  # key, value, milliseconds since 1970, step
ORDER = ("key", "step", "timestamp", "value")  # of points
MAX_POINTS, MAX_ITEMS = 1000, 100  # in one list; parameters or tags in one call
CACHE_KIBIBYTES = 1 << 18  # of the database's pages while runs are written; SQLite's own 2 MiB are read again and again
DATASET = ("name", "digest", "source_type", "source", "schema", "profile")  # fields of MLflow's Dataset
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
    """The tables of a store that is a database; its places of artifacts begin with `root`, a local path."""

    def __init__(self, engine: "sqlalchemy.Engine", tables: "Mapping[str, sqlalchemy.Table]", experiment: int) -> None:
        self._engine, self._tables, self.experiment = engine, tables, experiment

    @classmethod
    @contextmanager
    def of(cls, store: "Store") -> Iterator["Self | None"]:
        """None unless the store is a SQLite database with the tables of WRITTEN."""
        import sqlalchemy

        if not store.client.tracking_uri.startswith("sqlite:"):
            yield None
            return
        engine = sqlalchemy.create_engine(store.client.tracking_uri, poolclass=sqlalchemy.NullPool)
        try:
            tables = {name: sqlalchemy.Table(name, sqlalchemy.MetaData(), autoload_with=engine) for name in WRITTEN}
            fits = all(_fits(tables[name], columns) for name, columns in WRITTEN.items())
        except sqlalchemy.exc.SQLAlchemyError:
            fits = False
        try:
            yield cls(engine, tables, int(store.experiment_id)) if fits else None
        finally:
            engine.dispose()

    def root(self) -> str | None:
        """The local folder below which the artifacts of the experiment lie; None if they lie elsewhere."""
        import sqlalchemy

        question = sqlalchemy.text("SELECT artifact_location FROM experiments WHERE experiment_id = :id")
        with self._engine.connect() as connection:
            return path_of(str(connection.execute(question, {"id": self.experiment}).scalar() or ""))

    def points(self, run_id: str) -> Iterator[list[Point]]:
        """Every point of a run, in ORDER."""
        table = self._tables["metrics"]
        columns = [table.c[name] for name in ("key", "value", "timestamp", "step")]
        question = table.select().with_only_columns(*columns).where(table.c.run_uuid == run_id, ~table.c.is_nan)
        with self._engine.connect() as connection:
            found = connection.execute(question.order_by(*(table.c[name] for name in ORDER)))
            for some in found.partitions(MAX_POINTS):
                yield [tuple(row) for row in some]

    def ids_in_use(self, ids: Iterable[str]) -> set[str]:
        """Those of these ids that a run has, in any experiment, or deleted."""
        table = self._tables["runs"]
        with self._engine.connect() as connection:
            every = {row[0] for row in connection.execute(table.select().with_only_columns(table.c.run_uuid))}
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

        tags = self._tables["tags"]
        try:
            with self._engine.begin() as connection:
                has = tags.select().with_only_columns(tags.c.run_uuid).where(tags.c.key == key, tags.c.value == value)
                known = {row[0] for row in connection.execute(has)}
                self._insert(connection, "tags", *((key, value, run_id) for run_id in run_ids if run_id not in known))
        except sqlalchemy.exc.SQLAlchemyError as error:
            raise UnreachableError(reason(error)) from error

    def _insert(self, connection: "sqlalchemy.Connection", table: str, *rows: tuple[Any, ...]) -> None:
        """As the driver takes it: SQLAlchemy's own form costs more time than the database."""
        if rows:
            names = ", ".join(f'"{name}"' for name in WRITTEN[table])
            signs = ", ".join("?" * len(WRITTEN[table]))
            connection.exec_driver_sql(f"INSERT INTO {table} ({names}) VALUES ({signs})", list(rows))

    def _write_run(self, connection: "sqlalchemy.Connection", run: NewRun) -> None:
        row = (run.id, run.name, "UNKNOWN", "", "", run.user, run.status, run.start, run.end, "", "active")
        self._insert(connection, "runs", (*row, run.artifact_uri, self.experiment))
        tags = {**{hidden(key): value for key, value in run.tags.items()}, "mlflow.runName": run.name}
        self._insert(connection, "tags", *((key, value, run.id) for key, value in tags.items()))
        self._insert(connection, "params", *((key, value, run.id) for key, value in run.params.items()))
        for source, dataset in {self._dataset(connection, dataset): dataset for dataset in run.datasets}.items():
            link = uuid.uuid4().hex
            self._insert(connection, "inputs", (link, "DATASET", source, "RUN", run.id, 0))
            self._insert(connection, "input_tags", (link, CONTEXT, dataset["context"]))

    def _dataset(self, connection: "sqlalchemy.Connection", dataset: Mapping[str, str | None]) -> str:
        """The id of the dataset, which is written if the experiment does not have it."""
        table, new = self._tables["datasets"], uuid.uuid4().hex
        same = [table.c[name] == dataset[name] for name in ("name", "digest")]
        question = table.select().with_only_columns(table.c.dataset_uuid)
        found = connection.execute(question.where(table.c.experiment_id == self.experiment, *same)).scalar()
        if found is None:
            fields = (dataset[name] for name in DATASET)
            self._insert(connection, "datasets", (new, self.experiment, *fields))
        return str(found or new)

    def _write_points(
        self, connection: "sqlalchemy.Connection", run_id: str, chunks: Iterable[Sequence[Point]]
    ) -> None:
        """The last point of a key is the one of the greatest step, then time, then value, as in MLflow's own store."""
        last: dict[str, tuple[int, int, float]] = {}
        for points in chunks:
            rows = ((key, value, time, run_id, step, False) for key, value, time, step in points)
            self._insert(connection, "metrics", *rows)
            for key, value, time, step in points:
                last[key] = max(last.get(key, (step, time, value)), (step, time, value))
        lasts = ((key, value, time, step, False, run_id) for key, (step, time, value) in last.items())
        self._insert(connection, "latest_metrics", *lasts)


def _fits(table: "sqlalchemy.Table", columns: Sequence[str]) -> bool:
    """Whether a row of these columns can be written."""
    needed = {c.name for c in table.columns if not c.nullable and c.server_default is None}
    return needed <= set(columns) <= set(table.columns.keys())


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
