"""Faults inside a command: each function changes the process in which the command is about to run."""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

MESSAGE = "sabotaged"
POISON = Path(__file__).parent / "poison"  # on PYTHONPATH: its sitecustomize.py is the first thing a worker runs


def in_training() -> None:
    """The cell of B=16 raises in its third epoch."""
    from harness.training.cell import Cell

    train = Cell.train

    def broken(cell):
        for record in train(cell):
            if cell.config.batch_size == 16 and record.update > 18:
                raise RuntimeError(MESSAGE)
            yield record

    Cell.train = broken


def in_plotting() -> None:
    """The figure of the cell of B=16 raises."""
    from harness.report import curves

    cell_curves = curves.cell_curves

    def broken(history, title, baseline):
        if "B=16" in title:
            raise RuntimeError(MESSAGE)
        return cell_curves(history, title, baseline)

    curves.cell_curves = broken


def in_the_answer() -> None:
    """The sweep's own figures raise."""
    from harness.runs import parent as sweep

    def broken(*unused):
        raise RuntimeError(MESSAGE)

    sweep.figures = broken


def in_logging() -> None:
    """MLflow's client raises what no store says, at the first points of the cell of B=16."""
    broken_runs = set()

    def check(run_id, items):
        if any(param.key == "batch_size" and param.value == "16" for param in items.get("params", ())):
            broken_runs.add(run_id)
        if run_id in broken_runs and items.get("metrics"):
            raise RuntimeError(MESSAGE)

    _before_items(check)


def _before_items(check: Callable[[str, dict[str, list]], None]) -> None:
    """Have each call of the client that takes a run's points, parameters and tags checked before it is made."""
    from harness.store.client import Client

    def checked(method: Callable) -> Callable:
        def call(client, run_id, *folders, **items):
            check(run_id, items)
            return method(client, run_id, *folders, **items)

        return call

    Client.log_batch, Client.log_whole = checked(Client.log_batch), checked(Client.log_whole)


def by_exit() -> None:
    """Somebody's code calls sys.exit(0) while the cell of B=16 is trained."""
    from harness.training.cell import Cell

    train = Cell.train

    def leaving(cell):
        if cell.config.batch_size == 16:
            sys.exit(0)
        yield from train(cell)

    Cell.train = leaving


def by_deleting_the_folder() -> None:
    """The current folder is gone."""
    gone = Path("gone").absolute()
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()


def by_ignoring_hangups() -> None:
    """As nohup does."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def by_forgetting_the_user() -> None:
    """As in a container that runs with a number that no user has, and without a folder for temporary files."""
    import pwd
    import tempfile

    for name in ("HOME", "USER", "LOGNAME", "LNAME", "USERNAME"):
        os.environ.pop(name, None)
    os.environ["TMPDIR"], tempfile.tempdir = str(Path("nowhere").absolute()), None

    def unknown(number):
        raise KeyError(f"getpwuid(): uid not found: {number}")

    pwd.getpwuid = unknown


class Lease:
    """Heartbeats and a lease that are short, and training that takes some seconds longer per cell: all seconds."""

    def __init__(self, beat: float, lease: float, longer: float = 0.0) -> None:
        self.beat, self.lease, self.longer = beat, lease, longer

    def __call__(self) -> None:
        from harness.store import claims
        from harness.training.cell import Cell

        claims.BEAT_SECONDS, claims.LEASE_SECONDS = self.beat, self.lease
        train, pause = Cell.train, self.longer / 120  # SWEEP has so many epochs

        def slow(cell):
            for record in train(cell):
                time.sleep(pause)
                yield record

        Cell.train = slow


def impatient() -> None:
    """A part that the store refuses is waited for 2 s in place of 20 s, for trials of what comes after the wait."""
    from harness.store import tracking
    from harness.store.writer import RunWriter

    RunWriter.deliver.__defaults__ = (0.0, 2.0)
    tracking.REFUSAL_SECONDS = 2.0


def bucketless() -> None:
    """A bucket turns out to be unreachable when the first file is handed in, as one whose password is missing does."""
    from harness.store import hosts

    hosts.find_spec = lambda module: True
    impatient()


class Stopped:
    """The process stops itself (SIGSTOP), once, before it calls a function of a module of the harness."""

    def __init__(self, module: str, function: str) -> None:
        self.module, self.function = module, function

    def __call__(self) -> None:
        from importlib import import_module

        module = import_module(self.module)
        function = getattr(module, self.function)

        def stopping(*arguments, **options):
            setattr(module, self.function, function)
            os.kill(os.getpid(), signal.SIGSTOP)
            return function(*arguments, **options)

        setattr(module, self.function, stopping)


def hurried_by_locks() -> None:
    """Another command that opens the store is waited for 3 s in place of 120 s."""
    from harness.store import connection

    connection.LOCKED_SECONDS = 3.0


class ClockSet:
    """The clock is set by so many seconds, at the n-th time that it is read."""

    def __init__(self, seconds: float, n: int) -> None:
        self.seconds, self.n = seconds, n

    def __call__(self) -> None:
        clock = time.time

        def read() -> float:
            self.n -= 1
            return clock() + (self.seconds if self.n < 0 else 0.0)

        time.time = read
        time.time_ns = lambda: int(read() * 1e9)


class Both:
    """Two changes."""

    def __init__(self, *changes: Callable[[], None]) -> None:
        self.changes = changes

    def __call__(self) -> None:
        for change in self.changes:
            change()


class StruckAtCall:
    """A signal to oneself at the n-th call of MLflow's client that changes something: before it, or just after it.

    `witness` is a file that exists afterwards; a command that makes fewer calls is not struck.
    """

    CHANGES = (
        "create_run",
        "log_batch",
        "log_whole",
        "log_artifact",
        "log_artifacts",
        "log_inputs",
        "set_terminated",
        "set_tag",
        "set_experiment_tag",
        "delete_run",
        "delete_tag",
        "update_run",
    )

    def __init__(self, number: int, n: int, after: bool, witness: Path) -> None:
        self.number, self.n, self.after, self.witness = number, n, after, witness

    def __call__(self) -> None:
        from harness.store.client import Client

        for name in self.CHANGES:
            setattr(Client, name, self._counted(getattr(Client, name)))

    def _strike(self) -> None:
        self.witness.touch()
        os.kill(os.getpid(), self.number)

    def _counted(self, method: Callable) -> Callable:
        def call(*arguments, **options):
            self.n -= 1
            now = self.n == 0
            if now and not self.after:
                self._strike()
            done = method(*arguments, **options)
            if now and self.after:
                self._strike()
            return done

        return call


class Refusing:
    """MLflow's client raises for these calls while a file exists: as a store answers that refuses one kind."""

    def __init__(self, code: str, message: str, until_gone: Path, argument: str) -> None:
        self.code, self.message, self.until_gone, self.argument = code, message, until_gone, argument

    def __call__(self) -> None:
        from mlflow.exceptions import MlflowException
        from mlflow.protos.databricks_pb2 import ErrorCode

        def check(run_id, items):
            if self.until_gone.exists() and items.get(self.argument):
                raise MlflowException(self.message, error_code=ErrorCode.Value(self.code))

        _before_items(check)


def without_files() -> None:
    """The second journal that is read finds no free file descriptor."""
    import errno

    from harness.store import journal

    read_state, n = journal.read_state, 0

    def scarce(folder):
        nonlocal n
        n += 1
        if n == 1:
            raise OSError(errno.EMFILE, "Too many open files")
        return read_state(folder)

    journal.read_state = scarce
