"""The connection to MLflow: its settings and client, which of its errors may pass, and the names that its UI reads.

The store is where MLflow's own commands look for it. tests/store/test_mlflow_names.py checks the names that MLflow's
Python API does not promise.
"""

import errno
import hashlib
import importlib
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from harness.config import ConfigError, fault_of_extension, visible
from harness.store import opening, places
from harness.store.charts import cost_charts
from harness.store.new_database import made_in_a_moment
from harness.store.outage import OUTAGE, OUTAGE_SECONDS
from harness.store.redaction import print_traceback, redacted

if TYPE_CHECKING:
    from mlflow.entities import Experiment

    from harness.store.client import Client

T = TypeVar("T")

LOCKED = "database is locked"  # what SQLite says, after some seconds
NULL = "cannot be None"  # what MLflow says of a row that lacks a value: asking again does not help
LOCKED_PAUSE = 0.2  # seconds, besides those that SQLite waits itself
LOCKED_SECONDS = 120.0  # that another command may take to open, or to make, the same store
COMMIT_TAG = "mlflow.source.git.commit"  # the UI shows it as the run's version
TIMEOUT = "MLFLOW_HTTP_REQUEST_TIMEOUT"
DEFAULTS = {  # of MLflow's own variables. It would retry for minutes while training waits; our journals retry instead
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    TIMEOUT: "20",
}
# MLflow's codes of answers about a run; every other error may come from a proxy or a broken database, and may pass.
REFUSALS = {"INVALID_STATE", "NOT_IMPLEMENTED", "RESOURCE_ALREADY_EXISTS", "RESOURCE_DOES_NOT_EXIST"}


class UnreachableError(Exception):
    """The store does not answer, or answers with an error that may pass; the same call may succeed later."""


class RefusedError(UnreachableError):
    """The store answers other questions, but does not take this; it may after somebody has changed something there."""


def connect(experiment_id: str | None = None) -> tuple["Client", str]:
    """A client of the store (created if it is not there yet) and the id of the experiment that runs go to.

    experiment_id: of a sweep that is under way; then nothing is asked of a server, which may be away.
    Raises ConfigError when the store cannot be opened.
    """
    opening.check_folder()
    uri = os.environ[opening.VARIABLE] = opening.address()
    opening.check_address(uri)
    set_defaults()
    with opening.refusing_to_open(uri):
        if not experiment_id:
            opening.reach(uri)
        from filelock import FileLock

        from harness.store.client import Client

        logging.getLogger("alembic").setLevel(logging.WARNING)  # reports the creation of the store line by line
        logging.getLogger("mlflow").setLevel(logging.CRITICAL)  # reports an outage with a traceback
        digest = hashlib.sha256(uri.encode()).hexdigest()[:16]
        lock = opening.lock_folder() / f"harness-{opening.user()}-{digest}.lock"
        with FileLock(lock, timeout=LOCKED_SECONDS):  # processes that create a database at once break each other
            with made_in_a_moment(opening.in_file(uri)):
                client = _unless_locked(Client)
            if experiment_id:
                return client, experiment_id
            own = _unless_locked(lambda: _own_experiment(client, uri))
        opening.check_experiment(own, _experiment(), uri)
        return client, str(own.experiment_id)


def _unless_locked(ask: Callable[[], T]) -> T:
    """The answer, asking again for up to OUTAGE_SECONDS while another program holds the lock of an SQLite file."""
    deadline, told = time.monotonic() + OUTAGE_SECONDS, False
    while True:
        try:
            return ask()
        except Exception as error:
            if LOCKED not in str(error) or time.monotonic() > deadline:
                raise
            if not told:
                print(f"harness: the store: {LOCKED} by another program; waiting for it", file=sys.stderr)
            told = True
            time.sleep(LOCKED_PAUSE)


def _own_experiment(client: "Client", uri: str) -> "Experiment":
    own = client.get_experiment_by_name(_experiment()) or _created(client, uri)
    if not places.names_store_of(uri, str(Path.cwd())):
        return own
    places.repair(Path.cwd())
    return client.get_experiment(own.experiment_id)


def set_defaults() -> None:
    """Settle MLflow's own variables, where the user has not."""
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)


def import_libraries() -> None:
    """Import what `connect` imports; it opens nothing."""
    set_defaults()
    importlib.import_module("harness.store.client")
    if not opening.address().startswith("http"):
        importlib.import_module("mlflow.store.tracking.sqlalchemy_store")


def _created(client: "Client", uri: str) -> "Experiment":
    import mlflow
    from mlflow.entities import ViewType

    if not opening.is_misread(uri):
        return mlflow.set_experiment(_experiment())  # safe when several processes create it
    last = max(int(one.experiment_id) for one in client.search_experiments(ViewType.ALL))
    place = (Path.cwd() / opening.RUNS / str(last + 1)).as_uri()
    return client.get_experiment(client.create_experiment(_experiment(), place))


def connect_to_read() -> tuple["Client", str]:
    """The same for a store that exists: nothing is created, and no setting of the process is changed."""
    opening.check_exists()
    uri = opening.address()
    with opening.refusing_to_open(uri):
        opening.reach(uri)
        from harness.store.client import Client

        if places.names_store_of(uri, str(Path.cwd())):
            _unless_locked(lambda: places.repair(Path.cwd(), must=False))
        client = _unless_locked(lambda: Client(uri))
        found = _unless_locked(lambda: client.get_experiment_by_name(_experiment()))
        if found is None:
            allowed = f"an experiment of {redacted(uri)} (a command that trains makes it)"
            raise ConfigError("MLFLOW_EXPERIMENT_NAME", allowed, _experiment())
        opening.check_active(found, uri)
        return client, str(found.experiment_id)


def _experiment() -> str:
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or "harness"
    if len(name) > opening.MOST_LETTERS:
        raise ConfigError("MLFLOW_EXPERIMENT_NAME", f"a name of at most {opening.MOST_LETTERS} letters", name)
    return name


@contextmanager
def unreachable_errors(refusals: Collection[str] = REFUSALS) -> Iterator[None]:
    """Raise UnreachableError, with a reason of one line, for an error that may pass; a refusal is raised as it is."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, OSError) as error:  # OSError: also the base class of what `requests` raises
        if isinstance(error, MlflowException) and error.error_code in refusals:
            raise
        raise UnreachableError(reason(error)) from error


def is_answer(error: Exception) -> bool:
    """Whether somebody answered: no connection that failed, no database that is locked or gone."""
    from requests.exceptions import RetryError

    if isinstance(error, OSError):  # also the base class of what `requests` raises
        return getattr(error, "response", None) is not None
    if getattr(error, "error_code", "") == "TEMPORARILY_UNAVAILABLE":  # what MLflow makes of an OperationalError
        return False
    return isinstance(error.__context__, RetryError) or not isinstance(error.__context__, OSError)  # 500, 502, 429, ...


def reason(error: BaseException) -> str:
    """The message on one line of at most 200 characters, without secrets."""
    text = " ".join(redacted(str(error) or type(error).__name__).partition("[SQL:")[0].split())  # SQLAlchemy's own copy
    return text if len(text) < 200 else text[:90] + " ... " + text[-100:]


# What a machine lacks, or does not allow: nothing is wrong with the program.
OF_THE_MACHINE = {
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.EIO, errno.ESTALE,
}  # fmt: skip


def check_room(folder: Path, error: Exception) -> None:
    """Refuse a disk that was full when a file was copied from the store: waiting for the store would not help."""
    if getattr(error, "errno", 0) in OF_THE_MACHINE or os.strerror(errno.ENOSPC) in str(error):
        allowed = "a disk with room for the files of a run (TMPDIR=FOLDER names another folder for temporary files)"
        raise ConfigError("temporary files", allowed, f"{folder}: a full one") from error


def print_failure(what: str, error: BaseException) -> None:
    """On stderr: one line for what the store, the machine or an extension did; a traceback for another mistake."""
    from mlflow.exceptions import MlflowException

    of_the_machine = isinstance(error, OSError) and error.errno in OF_THE_MACHINE
    if of_the_machine or isinstance(error, UnreachableError | MlflowException | ConfigError):
        print(visible(f"harness: {what}: {reason(error)}"), file=sys.stderr)
    elif fault := fault_of_extension(error):
        print(visible(f"harness: {what}: {fault}"), file=sys.stderr)
    else:
        print_traceback(error)


def query(question: Callable[[], T], refusals: Collection[str] = REFUSALS) -> T:
    """The answer, asking again while the `Outage` may last. Raises UnreachableError after that, a refusal at once.

    Raises ConfigError for a row that MLflow cannot read.
    """
    from mlflow.exceptions import MlflowException

    asked = time.monotonic()
    while True:
        try:
            with unreachable_errors(refusals):
                answer = question()
            OUTAGE.ends()
            return answer
        except RefusedError:
            raise
        except UnreachableError as error:
            if NULL in str(error):
                allowed = "runs that MLflow can read (a row of its database lacks a value: restore it, or the database)"
                raise ConfigError("store", allowed, str(error)) from error
            if OUTAGE.left(asked) < 0:
                raise
            time.sleep(1.0)
        except MlflowException:  # it answers with a refusal
            OUTAGE.ends()
            raise


@contextmanager
def request_timeout(seconds: str) -> Iterator[None]:
    """Give MLflow's requests another timeout for a while; a value that the user chose stays."""
    is_ours = os.environ.get(TIMEOUT) == DEFAULTS[TIMEOUT]
    os.environ |= {TIMEOUT: seconds} if is_ours else {}
    try:
        yield
    finally:
        os.environ |= {TIMEOUT: DEFAULTS[TIMEOUT]} if is_ours else {}


def run_tags(parent: str | None) -> dict[str, str]:
    """Who created a run, with what, and below which run: documented system tags, shown as columns and as nesting."""
    tags = {"mlflow.user": opening.user(), "mlflow.source.name": "harness", "mlflow.source.type": "LOCAL"}
    return tags | ({"mlflow.parentRunId": parent} if parent else {})


def note_tags(markdown: str) -> dict[str, str]:
    """The description on top of a run's page: a documented system tag."""
    return {"mlflow.note.content": markdown}


def table_tags(path: str) -> dict[str, str]:
    """Announce an artifact as a table, as MLflow's log_table does. Not documented: changed, it is an ordinary file."""
    return {"mlflow.loggedArtifacts": json.dumps([{"path": path, "type": "table"}])}


def view_tag(sweep: str, filter_string: str, columns: Sequence[str], order_by: str) -> tuple[str, str]:
    """The tag of an experiment that saves a view of its runs, as the UI's "share view" does: cells as flat rows.

    Not documented: changed, `table_link` shows all runs. Ordered by date, cells would stay folded under their parent.
    """
    view = {"searchFilter": filter_string, "selectedColumns": list(columns), "orderByKey": order_by, "orderByAsc": True}
    view |= {"startTime": "ALL", "lifecycleFilter": "Active", "modelVersionFilter": "All Runs", "datasetsFilter": []}
    return f"mlflow.sharedViewState.{sweep}", json.dumps(view | cost_charts())
