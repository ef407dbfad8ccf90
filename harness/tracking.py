"""The only module that talks to MLflow: opens the store, writes runs, closes them on every path.

MLflow's default place (mlflow.db and mlruns/ in the current folder) is ours too, so `mlflow ui` finds it without flags;
MLFLOW_TRACKING_URI and MLFLOW_EXPERIMENT_NAME are honoured. Points are buffered and written in batches while training
goes on: one write per point would cost more than the training.
"""

import getpass
import hashlib
import json
import os
import re
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.interrupts import INTERRUPTS

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

DEFAULT_EXPERIMENT = "harness"
BATCH_POINTS = 1000  # MLflow's limit for one call
BATCH_PARAMS = 100  # likewise
FLUSH_SECONDS = 2.0
UI = "http://127.0.0.1:5000"


class Store:
    """An open tracking store and the experiment that runs go to."""

    def __init__(self, client: "MlflowClient", experiment_id: str) -> None:
        self.client, self.experiment_id = client, experiment_id

    @classmethod
    def open(cls) -> "Store":
        """Open (the first time: create) the store of the current folder, or the one MLFLOW_TRACKING_URI names."""
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_TRACKING_URI", f"sqlite:///{Path.cwd() / 'mlflow.db'}")
        import mlflow
        from mlflow.tracking import MlflowClient

        _quiet()
        with _creation_lock():
            client = MlflowClient()
            name = os.environ.get("MLFLOW_EXPERIMENT_NAME", DEFAULT_EXPERIMENT)
            experiment_id = mlflow.set_experiment(name).experiment_id
        return cls(client, experiment_id)

    def start(self, name: str, tags: Mapping[str, str], parent: str | None = None) -> "RunWriter":
        """Create a run; inside a sweep, below its parent."""
        own = {"mlflow.user": getpass.getuser(), "mlflow.source.name": "harness", "mlflow.source.type": "LOCAL"}
        nested = {"mlflow.parentRunId": parent} if parent else {}
        with INTERRUPTS.deferred():
            run = self.client.create_run(self.experiment_id, run_name=name, tags={**own, **nested, **tags})
        return RunWriter(self.client, run.info.run_id)

    def attach(self, run_id: str) -> "RunWriter":
        """A writer for a run that exists."""
        return RunWriter(self.client, run_id)

    @property
    def uri(self) -> str:
        """Where the store is, without the password that a server's address may hold."""
        return re.sub(r"://[^/@]*@", "://", self.client.tracking_uri)

    def get(self, run_id: str) -> "Run":
        return self.client.get_run(run_id)

    def is_sweep(self, run_id: str) -> bool:
        """Whether there is a parent run of this id."""
        from mlflow.exceptions import MlflowException

        try:
            return self.get(run_id).data.tags.get("kind") == "sweep"
        except MlflowException:
            return False

    def cells(self, sweep: str) -> list["Run"]:
        """The cell runs of a sweep, in the order in which they were started."""
        found = self.client.search_runs(
            [self.experiment_id],
            filter_string=_filter(sweep),
            order_by=["attributes.start_time ASC"],
            max_results=50_000,
        )
        return list(found)

    def download(self, run_id: str, path: str, to: Path) -> Path:
        return Path(self.client.download_artifacts(run_id, path, str(to)))

    def run_link(self, run_id: str) -> str:
        """The page of one run in the UI."""
        return f"{UI}/#/experiments/{self.experiment_id}/runs/{run_id}?workflowType=machine_learning"

    def table_link(self, sweep: str | None = None) -> str:
        """The table of runs in the UI's model-training view; of a sweep, its cells with the columns of `save_view`."""
        link = f"{UI}/#/experiments/{self.experiment_id}/runs?workflowType=machine_learning"
        return link + (f"&viewStateShareKey={sweep}" if sweep else "")

    def save_view(self, sweep: str, columns: Sequence[str], order_by: str) -> None:
        """Save what the UI shows of a sweep: its cells as flat rows with these columns, best first.

        The key is not documented; a version of MLflow that does not know it shows all runs instead. Ordered by the
        date, which is the default, cells would stay folded under their parent.
        """
        view = {
            "searchFilter": _filter(sweep),
            "selectedColumns": list(columns),
            "orderByKey": order_by,
            "orderByAsc": True,
            "startTime": "ALL",
            "lifecycleFilter": "Active",
            "modelVersionFilter": "All Runs",
            "datasetsFilter": [],
        }
        self.client.set_experiment_tag(self.experiment_id, f"mlflow.sharedViewState.{sweep}", json.dumps(view))


class RunWriter:
    """Writes one run. As a context manager it ends the run on every path: FINISHED, FAILED or KILLED."""

    def __init__(self, client: "MlflowClient", run_id: str) -> None:
        self.client, self.run_id = client, run_id
        self.seconds = 0.0  # spent in here, in seconds of wall time
        self._points: list[Any] = []
        self._flushed_at = time.monotonic()

    def __enter__(self) -> "RunWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.flush()
        if error is None:
            self.finish("FINISHED")
        elif isinstance(error, Exception):
            self.text("traceback.txt", "".join(traceback.format_exception(error)))
            self.tags({"outcome": "failed", "error": f"{type(error).__name__}: {error}"[:500]})
            self.finish("FAILED")
        else:
            self.tags({"outcome": "killed"})
            self.finish("KILLED")

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Adds the time spent inside to `seconds`; a signal waits until the write is done."""
        start = time.perf_counter()
        with INTERRUPTS.deferred():
            yield
            self.seconds += time.perf_counter() - start

    def params(self, params: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        with self.timed():
            items = [Param(key, str(value)) for key, value in params.items()]
            for start in range(0, len(items), BATCH_PARAMS):
                self.client.log_batch(self.run_id, params=items[start : start + BATCH_PARAMS])

    def tags(self, tags: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        with self.timed():
            self.client.log_batch(self.run_id, tags=[RunTag(key, str(value)) for key, value in tags.items()])

    def points(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Add metrics at a step to the buffer; what is not finite is no metric."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self._points += [Metric(k, float(v), now, step) for k, v in metrics.items() if np.isfinite(v)]
        if len(self._points) >= BATCH_POINTS or time.monotonic() - self._flushed_at > FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        with self.timed():
            for start in range(0, len(self._points), BATCH_POINTS):
                self.client.log_batch(self.run_id, metrics=self._points[start : start + BATCH_POINTS])
            self._points = []
            self._flushed_at = time.monotonic()

    def text(self, path: str, text: str) -> None:
        with self.timed():
            self.client.log_text(self.run_id, text, path)

    def folder(self, folder: Path) -> None:
        """All files below `folder` become artifacts."""
        with self.timed():
            self.client.log_artifacts(self.run_id, str(folder))

    def table(self, path: str, table: "pd.DataFrame") -> None:
        """A table that the UI can show and compare between runs."""
        with self.timed():
            self.client.log_table(self.run_id, table, path)

    def dataset(self, name: str, digest: str, source: Mapping[str, Any], rows: int, inputs: int) -> None:
        """Name and digest of the data, as MLflow's own dataset record."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        record = Dataset(
            name=name,
            digest=digest[:36],
            source_type="code",
            source=json.dumps({"tags": source}),
            profile=json.dumps({"num_rows": rows, "num_inputs": inputs}),
        )
        with self.timed():
            self.client.log_inputs(self.run_id, [DatasetInput(record, [InputTag("mlflow.data.context", "training")])])

    def note(self, markdown: str) -> None:
        """The description that the UI shows on top of the run."""
        self.tags({"mlflow.note.content": markdown})

    def finish(self, status: str) -> None:
        with self.timed():
            self.client.set_terminated(self.run_id, status)


def _filter(sweep: str) -> str:
    return f"tags.sweep = '{sweep}'"


def _quiet() -> None:
    """MLflow and alembic announce the creation of the store line by line; warnings still come through."""
    import logging

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)


@contextmanager
def _creation_lock() -> Iterator[None]:
    """One process at a time opens the store: two that create the same database at once break each other."""
    try:
        import fcntl
    except ImportError:  # not on this platform: first use by several processes at once is then unprotected
        yield
        return
    digest = hashlib.sha256(os.environ["MLFLOW_TRACKING_URI"].encode()).hexdigest()[:16]
    with open(Path(tempfile.gettempdir()) / f"harness-{getpass.getuser()}-{digest}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
