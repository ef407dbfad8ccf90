"""Where the store is, and what can be wrong with it when it is opened: one line each, with a way out."""

import difflib
import getpass
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

from harness.config import ConfigError
from harness.store.hosts import check_place
from harness.store.redaction import redacted

if TYPE_CHECKING:
    from mlflow.entities import Experiment

RUNS, DATABASE = Path("mlruns"), Path("mlflow.db")  # in the current folder
VARIABLE = "MLFLOW_TRACKING_URI"
SCHEMES = ("sqlite", "postgresql", "mysql", "mssql", "http", "https", "databricks")
DRIVERS = {  # module: what pip installs
    "MySQLdb": "mysqlclient", "pymysql": "pymysql", "psycopg2": "psycopg2-binary", "psycopg": "psycopg[binary]",
    "pyodbc": "pyodbc",
}  # fmt: skip
TIMED = ("psycopg", "psycopg2", "pymysql", "mysqldb")  # drivers that know connect_timeout
CONNECTION_SECONDS = 10  # that a database server may take to answer
NO_MLFLOW = "an MLflow server (another program answers there: check host, port and path)"
NAME_BYTES = 250  # of a database: SQLite makes files with longer names beside it
MOST_LETTERS = 500  # of an experiment's name: MLflow's limit
LONGEST = 300  # characters of a reason


def user() -> str:
    """Who runs this process. In a container its number may have no name, of which getpass makes an exception."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # KeyError before Python 3.13, OSError since
        return str(os.getuid())


def check_here() -> None:
    """Refuse a current folder that was deleted, or that may not be read."""
    try:
        os.getcwd()
    except OSError as error:
        allowed = "a folder that exists: this one was deleted or moved meanwhile (cd to another)"
        raise ConfigError("current folder", allowed, os.environ.get("PWD")) from error
    if not os.access(".", os.R_OK | os.X_OK):
        raise ConfigError("current folder", "a folder that you may read (cd to another, or chmod u+rx .)", os.getcwd())


def address() -> str:
    """What MLFLOW_TRACKING_URI says, or else mlflow.db in the current folder."""
    return os.environ.get(VARIABLE) or _own()


def in_file(uri: str) -> Path | None:
    """The file of an SQLite store; None for every other store."""
    if not re.match(r"sqlite(\+\w+)?:", uri):
        return None
    return Path(uri.partition(":///")[2].partition("?")[0])


def is_misread(uri: str) -> bool:
    """Whether MLflow would misread places of the own store: a path ends at a ? for it, and %41 is an A."""
    return uri == _own() and _has_signs()


def lock_folder() -> Path:
    """The folder for locks that all of a user's processes share."""
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError:  # no folder for temporary files at all
        return RUNS


def check_exists() -> None:
    """Refuse a store in a file that is not there; whether a server has it shows when it is opened."""
    if not is_there():
        allowed = f"the address of a store, or a current folder that holds one ({DATABASE})"
        raise ConfigError(VARIABLE, allowed, redacted(address()) if os.environ.get(VARIABLE) else str(Path.cwd()))
    if file := in_file(address()):
        check_plain(file, address())


def is_there() -> bool:
    """Whether the file of the store exists; that of a server is not asked for."""
    check_here()
    file = in_file(address())
    return file is None or os.path.lexists(file)


def holds_journals() -> bool:
    """Whether something in the current folder waits for a store, which may have been removed."""
    try:
        return any((RUNS / "undelivered").iterdir())
    except OSError:  # there is none, or somebody else's
        return False


def check_folder() -> None:
    """Refuse a current folder in which neither the store's files nor a journal can be written."""
    check_here()
    for folder in (RUNS, RUNS / "undelivered"):
        if os.path.lexists(folder) and not os.path.isdir(folder):
            found = "a file" if os.path.exists(folder) else f"a link to {os.readlink(folder)}, which is not there"
            allowed = f"a folder, for what belongs to runs (move the {found.split()[1]} away)"
            raise ConfigError(str(folder), allowed, found)
    try:
        RUNS.mkdir(exist_ok=True)
        for folder in filter(os.path.isdir, (RUNS, RUNS / "undelivered")):
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(bytes(1 << 16))
    except OSError as error:
        allowed = "one that can be written to, with room on its disk: runs are recorded here"
        raise ConfigError("current folder", allowed, f"{Path.cwd() / folder}: {error.strerror}") from error


def check_address(uri: str) -> None:
    """Refuse a store that keeps nothing, or that cannot be written to, and one that `mlflow ui` would not find."""
    file = in_file(uri)
    if file is None:
        return
    if uri == _own() and {"'", '"'} <= set(str(Path.cwd())):  # MLflow writes the path into a statement, as Python does
        allowed = "a path without ' or without \", as MLflow makes no store in one that has both (rename a folder)"
        raise ConfigError("current folder", allowed, str(Path.cwd()))
    if str(file) in (".", ":memory:") or str(file).startswith("file:"):
        allowed = "sqlite:///FILE (a store in memory keeps nothing; SQLite's own file: addresses are not read)"
        raise ConfigError(VARIABLE, allowed, uri)
    if len(os.fsencode(file.name)) > NAME_BYTES:
        raise ConfigError(_name(uri), f"a file whose name has at most {NAME_BYTES} bytes", file.name)
    if not os.path.isdir(folder := os.path.dirname(os.path.realpath(file))):  # MLflow would try for minutes
        raise ConfigError(_name(uri), "a file in a folder that exists and may be written to", folder)
    check_plain(file, uri)
    if os.path.lexists(file) and not os.access(file, os.R_OK | os.W_OK):
        raise ConfigError(_name(uri), f"a file that you may write to (chmod u+rw {file})", "one that is read-only")
    for old in RUNS.glob("[0-9]*/meta.yaml") if uri == _own() else ():
        if old.parent.name.isdigit():
            allowed = f"no store of an older MLflow beside {DATABASE}, as `mlflow ui` would look for runs there"
            raise ConfigError(str(RUNS), f"{allowed} (mv {old.parent} elsewhere)", str(old))


def reach(uri: str) -> None:
    """Raises what a database server says that cannot be used; MLflow would try for two minutes in silence."""
    if re.match(r"(postgresql|mysql|mssql)\b", uri):
        from sqlalchemy import create_engine, make_url

        driver = make_url(uri).get_dialect().driver
        engine = create_engine(uri, connect_args={"connect_timeout": CONNECTION_SECONDS} if driver in TIMED else {})
        engine.connect().close()
        engine.dispose()


def check_plain(file: Path, uri: str) -> None:
    """Refuse a folder, a pipe, a device and a link to itself in place of a database: some would never answer."""
    if os.path.lexists(file) and not os.path.isfile(file):  # Path.is_file raises for a file in another user's folder
        found = "a folder" if os.path.isdir(file) else "no file"
        raise ConfigError(_name(uri), f"a database; here is {found} (move it away)", str(file))


def check_artifacts(place: str) -> None:
    """Refuse a place of artifacts that is a local folder which cannot be made, or not be written to."""
    if not place.startswith(("/", "file:")):
        return
    folder = Path(url2pathname(urlsplit(place).path if place.startswith("file:") else place))  # as MLflow reads it
    there = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    if not (os.path.isdir(there) and os.access(there, os.W_OK | os.X_OK)):
        allowed = "a folder for artifacts that can be made and written to (move away or chmod what is in its way)"
        raise ConfigError(str(folder), allowed, str(there))


def check_experiment(experiment: "Experiment", name: str, uri: str) -> None:
    """Refuse an experiment to which no run can be added."""
    if experiment.name != name or not experiment.experiment_id:
        raise ConfigError(VARIABLE, NO_MLFLOW, redacted(uri))
    check_active(experiment, uri)
    check_place(f"experiment {name}", experiment.artifact_location or "", uri)
    if in_file(uri):  # a server may have places that this machine does not know
        check_artifacts(experiment.artifact_location or "")


def check_active(experiment: "Experiment", uri: str) -> None:
    """Refuse an experiment that was deleted in the UI."""
    if experiment.lifecycle_stage == "deleted":
        here = f"{VARIABLE}=sqlite:///{DATABASE} " if uri == _own() else ""
        command = f"{here}mlflow experiments restore -x {experiment.experiment_id}"
        allowed = f"an experiment that is not deleted (to restore it: {command})"
        raise ConfigError("MLFLOW_EXPERIMENT_NAME", allowed, experiment.name)


@contextmanager
def refusing_to_open(uri: str) -> Iterator[None]:
    """Raise whatever MLflow, SQLAlchemy or a database raise as a ConfigError of one line, which names a way out."""
    try:
        yield
    except (ConfigError, MemoryError):
        raise
    except Exception as error:
        raise _refusal(error, uri) from error


def _refusal(error: Exception, uri: str) -> ConfigError:
    if isinstance(error, ModuleNotFoundError) and error.name in DRIVERS:
        allowed = f"a database whose driver is installed (pip install {DRIVERS[error.name]})"
        return ConfigError(VARIABLE, allowed, redacted(uri))
    text = " ".join(redacted(str(error)).partition("[SQL:")[0].split())  # SQLAlchemy repeats the statement
    for pattern, remedy in REMEDIES.items():
        if found := re.search(pattern, text):
            return ConfigError(_name(uri), remedy(found, uri), redacted(uri))
    short = text if len(text) < LONGEST else f"{text[:140]} ... {text[-140:]}"
    if isinstance(error, Warning):
        allowed = f"unset, or a filter that makes no error of a library's warning ({short})"
        return ConfigError("PYTHONWARNINGS", allowed, os.environ.get("PYTHONWARNINGS"))
    if name := _other_variable(text):
        return ConfigError(name, f"unset, or a value that MLflow takes ({short})", redacted(os.environ[name]))
    return ConfigError(VARIABLE, f"a store that answers ({short or type(error).__name__})", redacted(uri))


def _other_variable(text: str) -> str:
    """The variable of MLflow's that its message is about: it has the name, or the value as a word; or ""."""
    values = {name: value for name, value in os.environ.items() if re.match(r"MLFLOW_(?!TRACKING_)", name)}
    quoted = {name: rf"(?i)[:'\"]\s?{re.escape(value)}(?!\w)" for name, value in values.items() if len(value) > 2}
    patterns = {name: rf"\b{name}\b" for name in values}, quoted
    found = (name for each in patterns for name, pattern in each.items() if re.search(pattern, text))
    return next(found, "")


def _own() -> str:
    """The address of the store that `mlflow ui` without flags shows; relative where a path would be misread."""
    return f"sqlite:///{DATABASE if _has_signs() else Path.cwd() / DATABASE}"


def _has_signs() -> bool:
    return bool(set("?%") & set(str(Path.cwd())))


def _name(uri: str) -> str:
    """The key of a refusal: what the user has chosen."""
    return str(DATABASE) if uri == _own() else VARIABLE


def _schema(found: re.Match[str], uri: str) -> str:
    """A database of an older MLflow can be upgraded; of a newer one this MLflow does not know the version."""
    import mlflow

    versions = Path(mlflow.__file__).parent / "store" / "db_migrations" / "versions"
    if not list(versions.glob(f"{found[1]}_*.py")):
        return f"a store of MLflow {mlflow.__version__} or older; a newer one wrote it (pip install --upgrade mlflow)"
    command = f"mlflow db upgrade {f'sqlite:///{DATABASE}' if uri == _own() else redacted(uri)}"
    return f"a store of MLflow {mlflow.__version__}; an older one wrote it (make a copy, then: {command})"


def _scheme(found: re.Match[str], uri: str) -> str:
    near = difflib.get_close_matches(uri.partition(":")[0], SCHEMES, n=1)
    hint = f", did you mean {near[0]}?" if near else ""
    return f"sqlite:///FILE, postgresql://..., mysql://..., mssql://..., http://... or https://...{hint}"


def _folder(found: re.Match[str], uri: str) -> str:
    move = "mlflow migrate-filestore --source FOLDER --target sqlite:///FILE copies its runs"
    return f"a database or a server; MLflow has given up stores in plain folders ({move})"


REMEDIES: dict[str, Callable[[re.Match[str], str], str]] = {  # of what MLflow and databases say
    r"(?i)connection refused|failed to resolve|name.* not known|no route to host|timed out": lambda f, uri: (
        f"a store that answers ({f[0].lower()}: start the server, or unset {VARIABLE} for the store of this folder)"
    ),
    r"out-of-date database schema \(found version (\w+)": _schema,
    r"unsupported URI": _scheme,
    r"MLFLOW_ALLOW_FILE_STORE": _folder,
    r"malformed|not a database|encrypted": lambda f, uri: (
        "a whole database (put a copy of it back, or move it away: then a new store begins, and all cells train again)"
    ),
    r"lock '(.*)' could not be acquired": lambda f, uri: (
        f"a store that no other command is opening for minutes (stopped? `fg` continues it; it holds {f[1]})"
    ),
    r"unable to open database file": lambda f, uri: "a file in a folder that exists and may be written to",
    r"not in a valid JSON format|error code (?:3\d\d|404|405)\b|'Not Found'": lambda f, uri: NO_MLFLOW,
    r"\b401\b|UNAUTHENTICATED": lambda f, uri: (
        "a server that lets you in (MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN)"
    ),
    r"\b403\b|PERMISSION_DENIED": lambda f, uri: (
        "a server that allows you to read and write (ask whoever runs it, or choose another MLFLOW_EXPERIMENT_NAME)"
    ),
}
