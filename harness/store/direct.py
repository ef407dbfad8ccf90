"""What a run in training writes into a SQLite store, by its tables: MLflow's client takes 5 to 11 ms for each call.

Each call has the effect of MLflow's own, in one transaction; done twice, that of once. It returns None or False, and
writes nothing, for what MLflow may change or refuse, and where the database does not take it: then MLflow tries, and
says why. tests/store/test_direct.py compares what MLflow's client then reads.
"""

import math
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from harness.store.places import path_of
from harness.store.rows import AS_IT_IS, CONTEXT, DATASET, NEW_VALUE, RUN_NAME, Tables

if TYPE_CHECKING:
    import sqlalchemy
    from mlflow.entities import DatasetInput, Metric, Param, RunTag

T = TypeVar("T")

PLAIN_KEY = re.compile(r"\w[\w. -]{,99}(/\w[\w. -]{,99})?")  # of those that MLflow takes as they are
MAX_TEXT = 5000  # characters of a value that MLflow takes as it is; it cuts longer ones, or refuses them
ENDS = ("FINISHED", "FAILED", "KILLED")  # of runs
MAX_NAME, MAX_PLACE = 250, 200  # characters of a run's name, and of the place of its artifacts, that the tables keep
MAX_FIELDS = {"name": 500, "digest": 36, "source_type": 36, "context": 500}  # characters; of other fields MAX_TEXT
USER = "mlflow.user"


class Direct(Tables):
    """Writes parts of one run."""

    def create(self, experiment_id: str, name: str, start: int, tags: Mapping[str, str]) -> tuple[str, str, str] | None:
        """A new run, which is open: its id, the place of its artifacts, and who started it."""
        run_id, user = uuid.uuid4().hex, tags.get(USER, "unknown")

        def write(connection: "sqlalchemy.Connection") -> str | None:
            question = (
                "SELECT artifact_location FROM experiments WHERE experiment_id = ? AND lifecycle_stage = 'active'"
            )
            root = str(connection.exec_driver_sql(question, (int(experiment_id),)).scalar() or "")
            place = f"{root.rstrip('/')}/{run_id}/artifacts"
            if path_of(root) is None or "?" in root or "#" in root or len(place) > MAX_PLACE:
                return None
            row = (run_id, name, "UNKNOWN", "", "", user, "RUNNING", start, None, "", "active", place)
            self._insert(connection, "runs", (*row, int(experiment_id)))
            items = {**tags, RUN_NAME: name}
            self._insert(connection, "tags", *((key, text, run_id) for key, text in items.items()))
            return place

        if not (0 < len(name) <= MAX_NAME and all(_is_plain(*item) for item in tags.items())):
            return None
        place = self._in_one(write)
        return (run_id, place, user) if place else None

    def log(
        self,
        run_id: str,
        metrics: "Sequence[Metric]" = (),
        params: "Sequence[Param]" = (),
        tags: "Sequence[RunTag]" = (),
        inputs: "Sequence[DatasetInput]" = (),
    ) -> bool:
        """Points, parameters, tags, and datasets, each of which has one tag: its context."""
        points = [(one.key, one.value, one.timestamp, one.step) for one in metrics]
        rows = [
            {name: getattr(one.dataset, name) for name in DATASET} | {tag.key: tag.value for tag in one.tags}
            for one in inputs
        ]

        def write(connection: "sqlalchemy.Connection") -> bool:
            self._write_points(connection, run_id, [points])
            self._insert(connection, "tags", *((one.key, one.value, run_id) for one in tags), conflict=NEW_VALUE)
            self._insert(connection, "params", *((one.key, one.value, run_id) for one in params), conflict=AS_IT_IS)
            question = "SELECT experiment_id FROM runs WHERE run_uuid = ? AND lifecycle_stage = 'active'"
            experiment = connection.exec_driver_sql(question, (run_id,)).scalar()
            if experiment is None:
                return False
            for row in rows:
                self._link(connection, experiment, run_id, {**row, "context": row[CONTEXT]})
            return self._has_params(connection, run_id, params)

        texts = [(one.key, one.value) for one in (*params, *tags)]
        plain = (
            all(_is_plain(*text) for text in texts) and all(map(_is_finite, metrics)) and all(map(_is_dataset, rows))
        )
        return plain and bool(self._in_one(write))

    def end(self, run_id: str, status: str, end: int) -> bool:
        """Status and time."""

        def write(connection: "sqlalchemy.Connection") -> bool:
            change = "UPDATE runs SET status = ?, end_time = ? WHERE run_uuid = ? AND lifecycle_stage = 'active'"
            return connection.exec_driver_sql(change, (status, end, run_id)).rowcount == 1

        return status in ENDS and bool(self._in_one(write))

    def _in_one(self, write: "Callable[[sqlalchemy.Connection], T]") -> T | None:
        """What `write` returns, in one transaction, of which nothing is kept if that is false or cannot be written."""
        import sqlalchemy

        try:
            with self.engine.connect() as connection, connection.begin() as transaction:
                if done := write(connection):
                    return done
                transaction.rollback()
        except (sqlalchemy.exc.SQLAlchemyError, OverflowError, UnicodeError):
            pass
        return None

    def _has_params(self, connection: "sqlalchemy.Connection", run_id: str, params: "Sequence[Param]") -> bool:
        """Whether they have these values: MLflow refuses to change one."""
        if not params:
            return True
        question = "SELECT key, value FROM params WHERE run_uuid = ?"
        known = {row[0]: row[1] for row in connection.exec_driver_sql(question, (run_id,))}
        return all(known[one.key] == one.value for one in params)


def _is_plain(key: str, text: object) -> bool:
    return isinstance(text, str) and len(text) <= MAX_TEXT and _is_key(key)


def _is_finite(metric: "Metric") -> bool:
    return math.isfinite(metric.value) and _is_key(metric.key)


def _is_key(key: str) -> bool:
    return key != RUN_NAME and PLAIN_KEY.fullmatch(key) is not None


def _is_dataset(row: Mapping[str, str | None]) -> bool:
    """Whether it has what the tables ask for, no longer than they keep it, and no tag but the context."""
    texts = {**row, "context": row.get(CONTEXT)}
    short = all(len(text) <= MAX_FIELDS.get(name, MAX_TEXT) for name, text in texts.items() if text is not None)
    needed = (texts[name] for name in ("name", "digest", "source_type", "source", "context"))
    return short and None not in needed and row.keys() == {*DATASET, CONTEXT}
