"""Writes one run: every operation goes to the run's journal first, then to MLflow, which may be away.

Training does not wait for the store: what cannot be delivered is tried again, with growing pauses.
"""

import json
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.config import visible
from harness.store import connection
from harness.store.connection import UnreachableError, reason
from harness.store.interrupts import INTERRUPTS, Interrupted
from harness.store.journal import Journal, Operation
from harness.store.redaction import redacted

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.tracking import MlflowClient

FLUSH_SECONDS = 2.0  # between deliveries of points; every other operation is delivered at once
MAX_POINTS, MAX_PARAMS = 1000, 100  # MLflow's limits for one call
MAX_DIGEST, MAX_DATASET, MAX_SOURCE = 36, 500, 65_535  # characters of a dataset's digest, name, source; as MLflow has
MAX_NAME = 250  # characters of a run's name that a database of MLflow keeps
TRAINING_TIMEOUT = "5"  # seconds that a request may take while training waits
CONFLICTS = ("IntegrityError", "UniqueViolation")  # the database's words for a row that exists; MLflow has no code
PAUSE_SECONDS = (1.0, 30.0)  # between attempts while the store is away: the first, doubled up to the last, ...
PAUSE_PER_ATTEMPT = 4  # ... and at least so many times as long as the last attempt took, as a store may hang


class RunWriter:
    """Writes one run through its journal. As a context manager it ends the run: FINISHED, FAILED or KILLED.

    training: it waits, so a request has less time, and what the store refuses is raised; else `refused` takes the
    reason. seconds: wall time spent in here. unreachable: why the last attempt to deliver failed, if it did.
    """

    def __init__(self, journal: Journal, client: "MlflowClient", training: bool = True) -> None:
        self.journal, self._client, self._training = journal, client, training
        self.refused: list[str] = []
        self.seconds = 0.0
        self.unreachable: UnreachableError | None = None
        self._pause, self._next_attempt, self._delivered_at = 0.0, 0.0, time.monotonic()

    @property
    def run_id(self) -> str | None:
        """None until the store has created the run."""
        return self.journal.state["run_id"]

    def __enter__(self) -> "RunWriter":
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            if not self.journal.state["ended"]:
                self._end_with(error) if error else self.finish("FINISHED")
        except Exception as refused:  # the store refuses one of the last operations: a finished run has all its points
            self._end_with(refused)
            raise
        finally:
            self.journal.release()

    def leave_running(self) -> None:
        """Do not end the run when this writer closes: another writer will."""
        self.journal.state["ended"] = True

    def _end_with(self, error: BaseException) -> None:
        """Write what disk and store take; raises nothing, so that the caller sees `error` and no other."""
        if isinstance(error, Interrupted | KeyboardInterrupt):
            status, tags = "KILLED", {"outcome": "killed"}
        else:
            status, tags = "FAILED", {"outcome": "failed", "error": redacted(f"{type(error).__name__}: {error}")[:500]}
            with suppress(Exception):
                self.traceback(error)
        with suppress(Exception):
            self.tags(tags)
        with suppress(Exception):
            self.finish(status)

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Adds the time spent inside to `seconds`; a signal waits until the write is done."""
        start = time.perf_counter()
        with INTERRUPTS.deferred():
            yield
            self.seconds += time.perf_counter() - start

    def create(self, experiment: str, name: str, tags: Mapping[str, str]) -> None:
        """The first operation of a new run."""
        self._write("create", experiment=experiment, name=_clean_text(name)[:MAX_NAME], tags=_clean(tags), time=_now())

    def params(self, params: Mapping[str, Any]) -> None:
        """What was asked for: written once, it cannot be changed."""
        self._write("params", params=_clean(params))

    def tags(self, tags: Mapping[str, str]) -> None:
        """Set tags; a later value replaces an earlier one."""
        self._write("tags", tags=_clean(tags))

    def points(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Metrics at a step; values that are not finite are left out. Delivered every FLUSH_SECONDS."""
        now = _now()
        points = [[key, float(value), now, step] for key, value in metrics.items() if np.isfinite(value)]
        self._write("points", points=points)

    def traceback(self, error: BaseException) -> None:
        """The error's traceback as an artifact, without secrets."""
        with self.files() as folder:
            text = redacted("".join(traceback.format_exception(error)))
            (folder / "traceback.txt").write_text(text, encoding="utf8")

    @contextmanager
    def files(self) -> Iterator[Path]:
        """A folder; the files in it become artifacts when the context ends without an exception."""
        with self.timed():
            folder = self.journal.new_folder()
            yield folder
            self.journal.append("files", folder=folder.name)
            self._try_to_deliver()

    def table(self, path: str, table: "pd.DataFrame") -> None:
        """A table as an artifact that the UI can show and compare between runs."""
        with self.files() as folder:
            table.to_json(folder / path, orient="split", index=False)
        self.tags(connection.table_tags(path))

    def dataset(self, name: str, digest: str, source: Mapping[str, Any], rows: int, inputs: int) -> None:
        """Name and digest of the data, as MLflow's own dataset record."""
        origin, profile = redacted(json.dumps({"tags": source})), json.dumps({"num_rows": rows, "num_inputs": inputs})
        name = _clean_text(name)[:MAX_DATASET]
        self._write("dataset", name=name, digest=digest[:MAX_DIGEST], source=origin[:MAX_SOURCE], profile=profile)

    def finish(self, status: str, **tags: str) -> None:
        """End the run: FINISHED, FAILED or KILLED."""
        if self.journal.n_dropped:
            tags["points_left_out"] = str(self.journal.n_dropped)
        if tags:
            self.tags(tags)
        self.journal.state["ended"] = True
        self._write("finish", status=status, time=_now())

    def deliver(self, wait_seconds: float = 0.0) -> bool:
        """Deliver what waits, trying again for so many seconds; returns whether all is delivered."""
        deadline = time.monotonic() + wait_seconds
        while True:
            self._next_attempt = 0.0
            with self.timed():
                self._try_to_deliver()
            left = deadline - time.monotonic()
            if self.unreachable is None or left <= 0:
                return self.unreachable is None
            time.sleep(min(PAUSE_SECONDS[0], left))

    def _write(self, kind: str, **content: Any) -> None:
        with self.timed():
            self.journal.append(kind, **content)
            if kind != "points" or time.monotonic() - self._delivered_at > FLUSH_SECONDS:
                self._try_to_deliver()

    def _try_to_deliver(self) -> None:
        """Deliver what waits, unless the store was away a moment ago. A refusal by the store is raised."""
        if (begun := time.monotonic()) < self._next_attempt:
            return
        try:
            self.journal.deliver(self._send)
            self.unreachable, self._pause = None, 0.0
        except UnreachableError as away:
            now, self.unreachable = time.monotonic(), away
            self._pause = float(np.clip(max(2 * self._pause, PAUSE_PER_ATTEMPT * (now - begun)), *PAUSE_SECONDS))
            self._next_attempt = now + self._pause
        self._delivered_at = time.monotonic()

    def _send(self, operations: list[Operation]) -> None:
        """An operation that the store refuses is not sent again: everything behind it would wait for ever."""
        try:
            send(self._client, self.journal, operations, self._training)
        except UnreachableError:
            raise
        except Exception as error:
            if self._training:
                self.journal.mark_delivered(operations)
                raise
            self.refused.append(reason(error))
            if self.journal.state["tried"]:  # this journal has created the run, and decides how it ended
                self.journal.state["refused"] = self.refused[-1]


def _clean(texts: Mapping[str, Any]) -> dict[str, str]:
    return {key: _clean_text(str(value)) for key, value in texts.items()}


def _clean_text(text: str) -> str:
    """Without secrets, and without signs that a database cannot hold."""
    return visible(redacted(text), kept="\n\t")


def _now() -> int:
    return int(time.time() * 1000)  # milliseconds since 1970, as MLflow counts


def send(client: "MlflowClient", journal: Journal, operations: list[Operation], training: bool) -> None:
    """Send consecutive operations of one kind from the journal to MLflow; sent twice, they have the effect of one.

    training: wait less long for an answer. Raises UnreachableError if they may be sent again later.
    """
    kind, content, _ = operations[0]
    run_id = journal.state["run_id"]
    timeout = connection.request_timeout(TRAINING_TIMEOUT) if training else nullcontext()
    with connection.unreachable_errors(), timeout:
        match kind:
            case "create":
                _create(client, journal, content)
            case "files":
                if (folder := journal.folder / "files" / content["folder"]).exists():
                    client.log_artifacts(run_id, str(folder))
            case "dataset":
                _log_dataset(client, run_id, content)
            case "finish":
                client.set_terminated(run_id, content["status"], content["time"])
            case _:
                _log(client, run_id, kind, [operation.content[kind] for operation in operations])


def _create(client: "MlflowClient", journal: Journal, content: Mapping[str, Any]) -> None:
    """Create the run, once: if the answer to an earlier attempt was lost, a run carries the journal's name.

    The search comes first even when the run cannot exist yet: a store that hangs should hang on a search.
    """
    name = journal.folder.name
    found = client.search_runs([content["experiment"]], f"tags.journal = '{name}'", 1, 1)
    if not (journal.state["tried"] and found):
        journal.state["tried"] = True
        journal.save()
        tags = {**content["tags"], "journal": name}
        found = [client.create_run(content["experiment"], content["time"], tags, content["name"])]
    journal.state["run_id"] = found[0].info.run_id


def _log(client: "MlflowClient", run_id: str, kind: str, contents: list[Any]) -> None:
    """Parameters, tags or points. A point that is sent twice is one: it carries the time at which it was measured."""
    from mlflow.entities import Metric, Param, RunTag

    argument, make, most = {
        "params": ("params", Param, MAX_PARAMS), "tags": ("tags", RunTag, MAX_PARAMS),
        "points": ("metrics", Metric, MAX_POINTS),
    }[kind]  # fmt: skip
    items = [make(*one) for some in contents for one in (some.items() if isinstance(some, dict) else some)]
    for start in range(0, len(items), most):
        client.log_batch(run_id, **{argument: items[start : start + most]})


def _log_dataset(client: "MlflowClient", run_id: str, content: Mapping[str, Any]) -> None:
    """If two runs log the same new dataset at once, MLflow refuses one; its second attempt finds the dataset."""
    from mlflow.entities import Dataset, DatasetInput, InputTag
    from mlflow.exceptions import MlflowException

    inputs = [DatasetInput(Dataset(source_type="code", **content), [InputTag("mlflow.data.context", "training")])]
    try:
        client.log_inputs(run_id, inputs)
    except MlflowException as conflict:
        if not any(word in str(conflict) for word in CONFLICTS):
            raise
        client.log_inputs(run_id, inputs)
