"""The only module that talks to MLflow: opens the store, asks it, tells it what runs have to say.

MLflow's default place (mlflow.db and mlruns/ in the current folder) is ours too, so `mlflow ui` finds it without flags;
MLFLOW_TRACKING_URI and MLFLOW_EXPERIMENT_NAME are honoured. A store may be away for a while: questions are asked again,
and what runs say waits in their journals (see `writing`).
"""

import getpass
import hashlib
import json
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, TypeVar

from harness.config import ConfigError
from harness.store.journal import Journal, Operation
from harness.store.processes import identity, is_dead
from harness.store.redaction import redacted
from harness.store.writer import RunWriter, UnreachableError

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

T = TypeVar("T")

DEFAULT_EXPERIMENT = "harness"
UNDELIVERED = Path("mlruns") / "undelivered"  # journals of runs, below the current folder
BATCH_POINTS = 1000  # MLflow's limit for one call
BATCH_PARAMS = 100  # likewise
OUTAGE_SECONDS = 60.0  # seconds that a question, or the end of a sweep, waits for a store that is away
UI = "http://127.0.0.1:5000"
TIMEOUT = "MLFLOW_HTTP_REQUEST_TIMEOUT"
HASTY = "5"  # seconds that training waits for an answer
DEFAULTS = {  # of MLflow's own variables. It would retry for minutes while training waits; our journals retry instead
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    TIMEOUT: "20",
}
CONFLICTS = ("IntegrityError", "UniqueViolation")  # in MLflow's message when somebody else wrote the same row first
REFUSALS = {  # MLflow's words for what will not be any better the next time; everything else may pass
    "BAD_REQUEST", "INVALID_PARAMETER_VALUE", "INVALID_STATE", "NOT_IMPLEMENTED", "PERMISSION_DENIED",
    "RESOURCE_ALREADY_EXISTS", "RESOURCE_DOES_NOT_EXIST", "UNAUTHENTICATED",
}  # fmt: skip


@dataclass(frozen=True)
class Delivered:
    """What a look at the waiting journals came to: runs delivered, runs that still wait, why, and what was refused."""

    n_runs: int
    n_waiting: int
    reason: str
    refused: list[str]


class Store:
    """An open tracking store and the experiment that runs go to."""

    def __init__(self, client: "MlflowClient", experiment_id: str, undelivered: Path) -> None:
        self.client, self.experiment_id, self.undelivered = client, experiment_id, undelivered

    @classmethod
    def open(cls, experiment_id: str | None = None) -> "Store":
        """Open (the first time: create) the store of the current folder, or the one MLFLOW_TRACKING_URI names.

        experiment_id: of a sweep that is under way; then nothing is asked of a server, which may be away.
        Raises ConfigError when the store cannot be opened.
        """
        os.environ.setdefault("MLFLOW_TRACKING_URI", f"sqlite:///{Path.cwd() / 'mlflow.db'}")
        for name, value in DEFAULTS.items():
            os.environ.setdefault(name, value)
        uri = os.environ["MLFLOW_TRACKING_URI"]
        _check_folder(uri)
        import mlflow
        from mlflow.tracking import MlflowClient

        _quiet()
        try:
            with _creation_lock(uri), _answering():
                client = MlflowClient()
                name = os.environ.get("MLFLOW_EXPERIMENT_NAME", DEFAULT_EXPERIMENT)
                experiment_id = experiment_id or mlflow.set_experiment(name).experiment_id
        except UnreachableError as away:
            raise ConfigError("MLFLOW_TRACKING_URI", f"a store that answers ({away})", redacted(uri)) from away
        return cls(client, experiment_id, Path.cwd() / UNDELIVERED)

    @property
    def uri(self) -> str:
        """Where the store is, without the password that a server's address may hold."""
        return redacted(self.client.tracking_uri)

    # Telling

    def start(self, name: str, tags: Mapping[str, str], parent: str | None = None) -> RunWriter:
        """A new run; inside a sweep, below its parent."""
        own = {"mlflow.user": getpass.getuser(), "mlflow.source.name": "harness", "mlflow.source.type": "LOCAL"}
        nested = {"mlflow.parentRunId": parent} if parent else {}
        writer = RunWriter(Journal.create(self.undelivered, store=self.uri, creates=True, ended=False), self._send)
        try:
            writer.create(self.experiment_id, name, {**own, **nested, **identity(), **tags})
        except BaseException as error:  # a signal that came meanwhile: the run may exist, and must end
            writer.__exit__(type(error), error, error.__traceback__)
            raise
        return writer

    @contextmanager
    def attach(self, run_id: str) -> Iterator[RunWriter]:
        """A writer for a run that exists; at the end what it said is delivered, if the store answers in time."""
        journal = Journal.create(self.undelivered, store=self.uri, creates=False, ended=True)
        journal.state["run_id"] = run_id
        journal.save()
        with RunWriter(journal, self._send) as writer:
            try:
                yield writer
            finally:
                writer.deliver(OUTAGE_SECONDS)

    def deliver_waiting(self, patience: float = 0.0) -> Delivered:
        """Deliver the journals that nobody holds any more; a run whose process died before it ended it is KILLED.

        What the store refuses, as for a run that somebody has deleted, is left out: it must not keep the rest waiting.
        """
        n_runs, n_waiting, reason, refused = 0, 0, "", list[str]()
        deadline = time.monotonic() + patience
        for journal in Journal.idle(self.undelivered):
            left = deadline - time.monotonic()
            if journal.state["store"] != self.uri:
                continue
            if n_waiting and left <= 0:  # one more question to a store that is away would only take time
                n_waiting += 1
                continue
            try:
                refused += self._deliver_rest(journal, max(0.0, left))
                n_runs += 1
            except (UnreachableError, OSError) as away:  # OSError: the disk is full
                n_waiting, reason = n_waiting + 1, _reason(away)
        return Delivered(n_runs, n_waiting, reason, refused)

    def _deliver_rest(self, journal: Journal, patience: float) -> list[str]:
        """Deliver a journal in place of its process; returns what was refused. Raises UnreachableError."""
        refused: list[str] = []

        def send(journal: Journal, operations: list[Operation]) -> None:
            try:
                self._send(journal, operations, hasty=False)
            except UnreachableError:
                raise
            except Exception as error:
                refused.append(_reason(error))
                if journal.state["creates"]:
                    journal.state["refused"] = refused[-1]

        writer = RunWriter(journal, send)
        if journal.state["creates"] and not (journal.state["ended"] or journal.waits("finish")):
            writer.tags({"outcome": "killed"})
            writer.finish("KILLED")
        if writer.deliver(patience) and "refused" in journal.state:  # a finished run has all its points
            writer.tags({"outcome": "failed", "error": journal.state["refused"]})
            writer.finish("FAILED")
            writer.deliver(patience)
        if writer.unreachable:
            raise writer.unreachable
        return refused

    def orphaned_runs(self) -> list["Run"]:
        """The runs that are RUNNING though their process is certainly dead."""
        return [run for run in self._search("attributes.status = 'RUNNING'") if is_dead(run.data.tags)]

    def has_ended(self, run: "Run") -> bool:
        """Whether the run has ended, or its process certainly has."""
        return run.info.status != "RUNNING" or is_dead(run.data.tags)

    def mark_killed(self, run: "Run") -> None:
        """Say for a run, in place of the process that cannot any more, that it was killed."""
        with self.attach(run.info.run_id) as writer:
            writer.tags({"outcome": "killed"})
            writer.finish("KILLED")

    def _send(self, journal: Journal, operations: list[Operation], hasty: bool = True) -> None:
        """Do what neighbouring operations of one kind say. Raises UnreachableError if they may be said again later.

        hasty: training waits less long for an answer than anybody else.
        """
        with _answering(), _timeout(HASTY if hasty else DEFAULTS[TIMEOUT]):
            SENDERS[operations[0].kind](self, journal, operations)

    # Asking

    def _query(self, question: Callable[[], T]) -> T:
        """The answer, waiting up to OUTAGE_SECONDS for a store that is away. Raises UnreachableError after that."""
        deadline = time.monotonic() + OUTAGE_SECONDS
        while True:
            try:
                with _answering():
                    return question()
            except UnreachableError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(1.0)

    def _search(self, filter_string: str, most: int = 50_000) -> list["Run"]:
        """Runs of the experiment in the order in which they were started."""
        order = ["attributes.start_time ASC"]
        return self._query(lambda: list(self.client.search_runs([self.experiment_id], filter_string, 1, most, order)))

    def get(self, run_id: str) -> "Run":
        return self._query(lambda: self.client.get_run(run_id))

    def kind(self, run_id: str) -> str | None:
        """'sweep' or 'cell'; None for a run that is not there, or not ours."""
        from mlflow.exceptions import MlflowException

        try:
            return self.get(run_id).data.tags.get("kind")
        except MlflowException:
            return None

    def cells(self, sweep: str) -> list["Run"]:
        """The cell runs of a sweep, those it found finished too, in the order in which they were started."""
        return self._search(_of_sweep(sweep))

    def last_study(self, name: str, size: str) -> "Run | None":
        """The newest finished sweep of a study."""
        found = self._search(
            f"attributes.status = 'FINISHED' and tags.kind = 'sweep' and tags.study = '{name}' and tags.size = '{size}'"
        )
        return found[-1] if found else None

    def finished_cell(self, signature: str) -> "Run | None":
        """The newest finished run of a cell that still has its tables."""
        found = self._search(
            f"attributes.status = 'FINISHED' and tags.kind = 'cell' and tags.signature = '{signature}'", 1000
        )
        return next((run for run in reversed(found) if self.has_file(run.info.run_id, "history.csv")), None)

    def has_file(self, run_id: str, path: str) -> bool:
        """Whether a file lies among a run's artifacts, in no folder."""
        return any(item.path == path for item in self._query(lambda: self.client.list_artifacts(run_id)))

    def add_to_sweep(self, run_id: str, sweep: str) -> None:
        """Make a finished cell part of another sweep."""
        self._query(lambda: self.client.set_tag(run_id, *sweep_tag(sweep)))

    def download(self, run: "Run", path: str, to: Path) -> Path:
        """One of a run's files, copied into a folder."""
        return Path(self._query(lambda: self._download(run, path, to)))

    def _download(self, run: "Run", path: str, to: Path) -> str:
        """Straight from where the run says that its files are: by its id, MLflow asks again, and for models, too."""
        from mlflow.exceptions import MlflowException
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        try:
            files = get_artifact_repository(run.info.artifact_uri, tracking_uri=self.client.tracking_uri)
            return files.download_artifacts(path, str(to))
        except (MlflowException, OSError):
            return self._download_by_id(run.info.run_id, path, to)

    def _download_by_id(self, run_id: str, path: str, to: Path) -> str:
        """MLflow says of every download that fails that the path is wrong; so it is only if the path is not listed."""
        from mlflow.exceptions import MlflowException

        try:
            return self.client.download_artifacts(run_id, path, str(to))
        except MlflowException as error:
            folder = str(PurePosixPath(path).parent)
            if any(item.path == path for item in self.client.list_artifacts(run_id, None if folder == "." else folder)):
                raise UnreachableError(_reason(error)) from error
            raise

    # Links into the UI

    @property
    def _ui(self) -> str:
        """A server is its own UI."""
        return self.uri.rstrip("/") if self.uri.startswith("http") else UI

    @property
    def how_to_browse(self) -> str:
        """What comes before an address of the UI."""
        return "open" if self._ui != UI else "run `mlflow ui` here, then open"

    def run_link(self, run_id: str) -> str:
        """The page of one run in the UI."""
        return f"{self._ui}/#/experiments/{self.experiment_id}/runs/{run_id}?workflowType=machine_learning"

    def table_link(self, sweep: str | None = None) -> str:
        """The table of runs in the UI's model-training view; of a sweep, its cells with the columns of `save_view`."""
        link = f"{self._ui}/#/experiments/{self.experiment_id}/runs?workflowType=machine_learning"
        return link + (f"&viewStateShareKey={sweep}" if sweep else "")

    def save_view(self, sweep: str, columns: Sequence[str], order_by: str) -> None:
        """Save what the UI shows of a sweep: its cells as flat rows with these columns, best first.

        The key is not documented; a version of MLflow that does not know it shows all runs instead. Ordered by the
        date, which is the default, cells would stay folded under their parent.
        """
        view = {
            "searchFilter": _of_sweep(sweep),
            "selectedColumns": list(columns),
            "orderByKey": order_by,
            "orderByAsc": True,
            "startTime": "ALL",
            "lifecycleFilter": "Active",
            "modelVersionFilter": "All Runs",
            "datasetsFilter": [],
        }
        key, value = f"mlflow.sharedViewState.{sweep}", json.dumps(view)
        self._query(lambda: self.client.set_experiment_tag(self.experiment_id, key, value))


def sweep_tag(sweep: str) -> tuple[str, str]:
    """The tag that makes a cell part of a sweep: one for each, as a finished cell may serve several."""
    return f"sweep.{sweep}", "yes"


def _of_sweep(sweep: str) -> str:
    key, value = sweep_tag(sweep)
    return f"tags.`{key}` = '{value}'"


# Telling MLflow what a journal says, by the kind of operation.


def _create(store: Store, journal: Journal, operations: list[Operation]) -> None:
    """Create the run, once: if an earlier attempt got no answer it may exist, and then carries the journal's name.

    Asked for first even when it cannot exist: a store that hangs should hang on a question.
    """
    content = operations[0].content
    found = store.client.search_runs([content["experiment"]], f"tags.journal = '{journal.token}'", 1, 1)
    if journal.state["tried"] and found:
        journal.state["run_id"] = found[0].info.run_id
        return
    journal.state["tried"] = True
    journal.save()
    tags = {**content["tags"], "journal": journal.token}
    run = store.client.create_run(content["experiment"], content["time"], tags, content["name"])
    journal.state["run_id"] = run.info.run_id


def _params(store: Store, journal: Journal, operations: list[Operation]) -> None:
    from mlflow.entities import Param

    items = [Param(key, value) for key, value in operations[0].content["params"].items()]
    for start in range(0, len(items), BATCH_PARAMS):
        store.client.log_batch(journal.state["run_id"], params=items[start : start + BATCH_PARAMS])


def _tags(store: Store, journal: Journal, operations: list[Operation]) -> None:
    from mlflow.entities import RunTag

    tags = [RunTag(key, value) for key, value in operations[0].content["tags"].items()]
    store.client.log_batch(journal.state["run_id"], tags=tags)


def _points(store: Store, journal: Journal, operations: list[Operation]) -> None:
    """A point that is told twice is one point: it keeps the time at which it was measured."""
    from mlflow.entities import Metric

    points = [Metric(*point) for operation in operations for point in operation.content["points"]]
    for start in range(0, len(points), BATCH_POINTS):
        store.client.log_batch(journal.state["run_id"], metrics=points[start : start + BATCH_POINTS])


def _files(store: Store, journal: Journal, operations: list[Operation]) -> None:
    folder = journal.folder / "files" / operations[0].content["folder"]
    if folder.exists():
        store.client.log_artifacts(journal.state["run_id"], str(folder))


def _dataset(store: Store, journal: Journal, operations: list[Operation]) -> None:
    """Of two runs that name the same new dataset at once MLflow refuses one; the second time it finds the other's."""
    from mlflow.entities import Dataset, DatasetInput, InputTag
    from mlflow.exceptions import MlflowException

    record = Dataset(source_type="code", **operations[0].content)
    inputs = [DatasetInput(record, [InputTag("mlflow.data.context", "training")])]
    try:
        store.client.log_inputs(journal.state["run_id"], inputs)
    except MlflowException as conflict:
        if not any(word in str(conflict) for word in CONFLICTS):
            raise
        store.client.log_inputs(journal.state["run_id"], inputs)


def _finish(store: Store, journal: Journal, operations: list[Operation]) -> None:
    content = operations[0].content
    store.client.set_terminated(journal.state["run_id"], content["status"], content["time"])


SENDERS: dict[str, Callable[[Store, Journal, list[Operation]], None]] = {
    "create": _create,
    "params": _params,
    "tags": _tags,
    "points": _points,
    "files": _files,
    "dataset": _dataset,
    "finish": _finish,
}


@contextmanager
def _answering() -> Iterator[None]:
    """Whatever may pass becomes UnreachableError, with a reason of one line; a refusal goes on as it is."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code in REFUSALS:
            raise
        raise UnreachableError(_reason(error)) from error
    except OSError as error:  # the base of what `requests` raises, too
        raise UnreachableError(_reason(error)) from error


@contextmanager
def _timeout(seconds: str) -> Iterator[None]:
    """MLflow looks at its variable at every request. A value that the user chose stays."""
    usual = os.environ.get(TIMEOUT)
    if usual == DEFAULTS[TIMEOUT]:
        os.environ[TIMEOUT] = seconds
    try:
        yield
    finally:
        if usual == DEFAULTS[TIMEOUT]:
            os.environ[TIMEOUT] = usual


def _reason(error: Exception) -> str:
    text = " ".join(redacted(str(error)).partition("[SQL:")[0].split())  # SQLAlchemy repeats the statement
    return text if len(text) < 200 else text[:90] + " ... " + text[-100:]


def _check_folder(uri: str) -> None:
    """Refuse a folder in which neither the store's files nor a journal can be written."""
    try:
        UNDELIVERED.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryFile(dir=UNDELIVERED.parent) as file:
            file.write(bytes(1 << 16))
    except OSError as error:
        allowed = "one that can be written to, with room on its disk: runs are recorded here"
        raise ConfigError("current folder", allowed, f"{Path.cwd()}: {error.strerror}") from error


def _quiet() -> None:
    """MLflow and alembic announce the creation of the store line by line, and an outage with their own tracebacks."""
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("mlflow").setLevel(logging.CRITICAL)


@contextmanager
def _creation_lock(uri: str) -> Iterator[None]:
    """One process at a time opens the store: two that create the same database at once break each other."""
    from filelock import FileLock

    digest = hashlib.sha256(uri.encode()).hexdigest()[:16]
    with FileLock(Path(tempfile.gettempdir()) / f"harness-{getpass.getuser()}-{digest}.lock"):
        yield
