"""Many runs at once, from and to the tables of a SQLite store: for archives, and for tags of many runs.

Each call is one transaction, so that a kill leaves all of it or nothing. tests/runs/test_archive.py compares what
MLflow's client then reads. Where there are no `Tables`, `add_run` does it through the client.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from harness.config import ConfigError
from harness.store.connection import UnreachableError, query, reason
from harness.store.names import hidden
from harness.store.places import path_of
from harness.store.rows import CONTEXT, DATASET, NEW_VALUE, RUN_NAME, Point, Tables

if TYPE_CHECKING:
    import sqlalchemy

    from harness.store.tracking import Store

ORDER = ("key", "step", "timestamp", "value")  # of points
MAX_POINTS, MAX_ITEMS = 1000, 100  # in one list; parameters or tags in one call
CACHE_KIBIBYTES = 1 << 18  # of the database's pages while runs are written; SQLite's own 2 MiB are read again and again


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


class Bulk(Tables):
    """Reads and writes whole runs."""

    def root(self, experiment: str) -> str | None:
        """The local folder below which the artifacts of the experiment lie; None if they lie elsewhere."""
        question = "SELECT artifact_location FROM experiments WHERE experiment_id = ?"
        with self.engine.connect() as connection:
            return path_of(str(connection.exec_driver_sql(question, (int(experiment),)).scalar() or ""))

    def points(self, run_id: str) -> Iterator[list[Point]]:
        """Every point of a run, in ORDER."""
        question = f"""SELECT key, value, timestamp, step FROM metrics WHERE run_uuid = ? AND NOT is_nan
                       ORDER BY {", ".join(ORDER)}"""
        with self.engine.connect() as connection:
            for some in connection.exec_driver_sql(question, (run_id,)).partitions(MAX_POINTS):
                yield [tuple(row) for row in some]

    def ids_in_use(self, ids: Iterable[str]) -> set[str]:
        """Those of these ids that a run has, in any experiment, or deleted."""
        with self.engine.connect() as connection:
            every = {row[0] for row in connection.exec_driver_sql("SELECT run_uuid FROM runs")}
        return every & set(ids)

    def write(self, runs: Iterable[tuple[NewRun, Iterable[Sequence[Point]]]]) -> None:
        """Write runs with their points, all or none. Raises UnreachableError if the database does not take them."""
        import sqlalchemy

        try:
            with self.engine.begin() as connection:
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
            with self.engine.begin() as connection:
                self._insert(connection, "tags", *((key, value, run_id) for run_id in run_ids), conflict=NEW_VALUE)
        except sqlalchemy.exc.SQLAlchemyError as error:
            raise UnreachableError(reason(error)) from error

    def _write_run(self, connection: "sqlalchemy.Connection", run: NewRun) -> None:
        row = (run.id, run.name, "UNKNOWN", "", "", run.user, run.status, run.start, run.end, "", "active")
        self._insert(connection, "runs", (*row, run.artifact_uri, int(run.experiment)))
        tags = {**{hidden(key): value for key, value in run.tags.items()}, RUN_NAME: run.name}
        self._insert(connection, "tags", *((key, value, run.id) for key, value in tags.items()))
        self._insert(connection, "params", *((key, value, run.id) for key, value in run.params.items()))
        for dataset in run.datasets:
            self._link(connection, int(run.experiment), run.id, dataset)


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
