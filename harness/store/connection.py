"""The connection to MLflow: its settings, its client, and which of its errors may pass.

MLflow's default place (mlflow.db and mlruns/ in the current folder) is ours too, so `mlflow ui` finds it without flags;
MLFLOW_TRACKING_URI and MLFLOW_EXPERIMENT_NAME are honoured.
"""

import getpass
import hashlib
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from harness.config import ConfigError
from harness.store.redaction import redacted

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

T = TypeVar("T")

EXPERIMENT = "harness"  # unless MLFLOW_EXPERIMENT_NAME names another
RUNS, DATABASE = Path("mlruns"), Path("mlflow.db")  # in the current folder
OUTAGE_SECONDS = 60.0  # that a query, or the end of a sweep, waits for a store that does not answer
TIMEOUT = "MLFLOW_HTTP_REQUEST_TIMEOUT"
DEFAULTS = {  # of MLflow's own variables. It would retry for minutes while training waits; our journals retry instead
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    TIMEOUT: "20",
}
REFUSALS = {  # MLflow's codes of errors that repeat at every attempt; any other may pass
    "BAD_REQUEST", "INVALID_PARAMETER_VALUE", "INVALID_STATE", "NOT_IMPLEMENTED", "PERMISSION_DENIED",
    "RESOURCE_ALREADY_EXISTS", "RESOURCE_DOES_NOT_EXIST", "UNAUTHENTICATED",
}  # fmt: skip


class UnreachableError(Exception):
    """The store does not answer, or answers with an error that may pass; the same call may succeed later."""


def connect(experiment_id: str | None = None) -> tuple["MlflowClient", str]:
    """A client of the store (created if it is not there yet) and the id of the experiment that runs go to.

    experiment_id: of a sweep that is under way; then no question is sent to a server, which may be away.
    Raises ConfigError when the store cannot be opened.
    """
    os.environ.setdefault("MLFLOW_TRACKING_URI", f"sqlite:///{Path.cwd() / DATABASE}")
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    uri = os.environ["MLFLOW_TRACKING_URI"]
    _check_folder()
    import mlflow
    from mlflow.tracking import MlflowClient

    _silence_loggers()
    try:
        with _creation_lock(uri), unreachable_errors():
            client = MlflowClient()
            return client, experiment_id or mlflow.set_experiment(_experiment()).experiment_id
    except UnreachableError as away:
        raise ConfigError("MLFLOW_TRACKING_URI", f"a store that answers ({away})", redacted(uri)) from away


def connect_to_read() -> tuple["MlflowClient", str]:
    """The same for a store that exists: nothing is created, and no setting of the process is changed."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not uri and not DATABASE.exists():
        allowed = "the address of a store, or a current folder that holds one (mlflow.db)"
        raise ConfigError("MLFLOW_TRACKING_URI", allowed, str(Path.cwd()))
    from mlflow.tracking import MlflowClient

    client = MlflowClient(uri or f"sqlite:///{Path.cwd() / DATABASE}")
    try:
        with unreachable_errors():
            found = client.get_experiment_by_name(_experiment())
    except UnreachableError as away:
        raise ConfigError("MLFLOW_TRACKING_URI", f"a store that answers ({away})", redacted(uri)) from away
    if found is None:
        raise ConfigError("MLFLOW_EXPERIMENT_NAME", f"an experiment of {redacted(client.tracking_uri)}", _experiment())
    return client, found.experiment_id


def _experiment() -> str:
    return os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)


@contextmanager
def unreachable_errors() -> Iterator[None]:
    """Raise UnreachableError, with a reason of one line, for an error that may pass; a refusal is raised as it is.

    REFUSALS are MLflow's own codes: under another code a refusal would be taken for an outage and sent again for ever.
    """
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code in REFUSALS:
            raise
        raise UnreachableError(reason(error)) from error
    except OSError as error:  # also the base class of what `requests` raises
        raise UnreachableError(reason(error)) from error


def reason(error: Exception) -> str:
    """The message on one line of at most 200 characters, without secrets."""
    text = " ".join(redacted(str(error)).partition("[SQL:")[0].split())  # SQLAlchemy repeats the statement
    return text if len(text) < 200 else text[:90] + " ... " + text[-100:]


def query(question: Callable[[], T]) -> T:
    """The answer, asking again for up to OUTAGE_SECONDS. Raises UnreachableError after that."""
    deadline = time.monotonic() + OUTAGE_SECONDS
    while True:
        try:
            with unreachable_errors():
                return question()
        except UnreachableError:
            if time.monotonic() > deadline:
                raise
            time.sleep(1.0)


@contextmanager
def request_timeout(seconds: str) -> Iterator[None]:
    """Give MLflow's requests another timeout for a while; a value that the user chose stays.

    MLflow reads its variable at every request. If a version read it once only, a server that hangs would hold up
    training for the default of 20 s instead of 5 s.
    """
    usual = os.environ.get(TIMEOUT)
    if usual == DEFAULTS[TIMEOUT]:
        os.environ[TIMEOUT] = seconds
    try:
        yield
    finally:
        if usual == DEFAULTS[TIMEOUT]:
            os.environ[TIMEOUT] = usual


def _check_folder() -> None:
    """Refuse a current folder in which neither the store's files nor a journal can be written."""
    try:
        RUNS.mkdir(exist_ok=True)
        with tempfile.TemporaryFile(dir=RUNS) as file:
            file.write(bytes(1 << 16))
    except OSError as error:
        allowed = "one that can be written to, with room on its disk: runs are recorded here"
        raise ConfigError("current folder", allowed, f"{Path.cwd()}: {error.strerror}") from error


def _silence_loggers() -> None:
    """MLflow and alembic report the creation of the store line by line, and an outage with tracebacks of their own."""
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("mlflow").setLevel(logging.CRITICAL)


@contextmanager
def _creation_lock(uri: str) -> Iterator[None]:
    """One process at a time opens the store: two that create the same database at once break each other."""
    from filelock import FileLock

    digest = hashlib.sha256(uri.encode()).hexdigest()[:16]
    with FileLock(Path(tempfile.gettempdir()) / f"harness-{getpass.getuser()}-{digest}.lock"):
        yield
