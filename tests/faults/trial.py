"""One sweep in a folder of its own: started, disturbed by somebody else, repeated as a user would, compared."""

import re
import shutil
import signal
import sqlite3
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from random import Random

from .commands import Command, environment
from .records import Records, Run, Tally, compare, count_duplicates, journaled, n_lost_of_own_history, n_lost_since
from .servers import Proxy, Site

SWEEP = ("-m", "batch_size=8,16,32", "dataset=iris", "seeds=2", "epochs=120")
LONG = ("-m", "batch_size=1,2", "dataset=digits", "seeds=1", "epochs=120", "diagnostics=off")  # some ten seconds a cell
JOBLIB = "hydra/launcher=joblib"
REDRAWS = 4  # of a moment that came after the end of the command


@dataclass(frozen=True)
class Reference:
    """The undisturbed sweep: what it left, how long it took, and an empty store to start from."""

    records: Records
    seconds: float
    empty_store: Path

    @property
    def folder(self) -> Path:
        """Of the project that left it."""
        return self.empty_store.parents[1] / "second"

    @classmethod
    def make(cls, folder: Path) -> "Reference":
        """The first sweep makes the store (and warms up the machine), the second one is timed in another."""
        (folder / "first").mkdir(parents=True)
        Command(folder / "first", [*SWEEP, "dry_run=true"], environment()).wait()
        (folder / "second").mkdir()
        copy_store(folder / "first" / "mlflow.db", folder / "second")
        command = Command(folder / "second", SWEEP, environment())
        code = command.wait()
        assert code == 0, command.stderr
        seconds = time.monotonic() - command.started
        return cls(Records(f"sqlite:///{folder / 'second' / 'mlflow.db'}"), seconds, folder / "first" / "mlflow.db")


def copy_store(database: Path, folder: Path) -> None:
    """A store whose tables are made takes seconds to make; its artifacts are to lie in the new folder."""
    shutil.copyfile(database, folder / "mlflow.db")
    with closing(sqlite3.connect(folder / "mlflow.db")) as copy, copy:
        for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
            move = f"UPDATE {table} SET {column} = replace({column}, ?, ?)"
            copy.execute(move, (str(database.parent), str(folder)))


class Trial:
    """A sweep to be disturbed. The commands it starts are ended with it."""

    words: Sequence[str] = SWEEP

    def __init__(self, reference: Reference, folder: Path, rng: Random) -> None:
        self.reference, self.folder, self.rng = reference, folder / "work", rng
        self.folder.mkdir(parents=True)
        self.environ = environment()
        self.uri, self.experiment, self.artifacts = f"sqlite:///{self.folder / 'mlflow.db'}", "harness", None
        self.complaints: list[str] = []
        self.n_executed = 0  # times that planted code ran
        self.printed: list[str] = []  # by commands that were not started with `start`
        self._started: list[Command] = []
        self._witness = None

    def __enter__(self) -> "Trial":
        return self

    def __exit__(self, *unused: object) -> None:
        for command in self._started:
            command.signal_group(signal.SIGKILL)

    # Disturbing

    def with_store(self) -> "Trial":
        copy_store(self.reference.empty_store, self.folder)
        return self

    def with_trained_store(self) -> "Trial":
        """A copy of what the undisturbed sweep left, as if it had been trained here."""
        copy_store(self.reference.folder / "mlflow.db", self.folder)
        shutil.copytree(self.reference.folder / "mlruns", self.folder / "mlruns")
        return self

    def start(self, *words: str, sabotage: Callable[[], None] | None = None, **environ: str) -> Command:
        """The sweep, or these words, as a command."""
        command = Command(self.folder, words or self.words, {**self.environ, **environ}, sabotage)
        self._started.append(command)
        return command

    def struck(self, strike: Callable[[Command], None], *words: str, **options) -> Command:
        """A command and what happens to it at a random moment of its life; returns it when it has ended.

        A moment that comes after its end counts for nothing: then once more, in an empty folder, somewhat sooner.
        """
        span = 1.5 * self.reference.seconds  # other trials go on at the same time
        for _ in range(REDRAWS):
            command = self.start(*words, **options)
            moment = self.rng.uniform(0.05, span)
            while command.running and time.monotonic() < command.started + moment:
                time.sleep(0.005)
            if command.running:
                strike(command)
                command.wait()
                return command
            self.start_over()
            span *= 0.7
        raise AssertionError(f"every command ended before it could be struck:\n{command.stderr}")

    def start_over(self) -> None:
        for path in self.folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        self.with_store()

    def wait_for_points(self, command: Command, n_cells: int = 1, seconds: float = 90.0) -> None:
        """Until so many cells have delivered some."""
        self.wait_until(lambda: sum(bool(cell.points) for cell in self.records().cells) >= n_cells, command, seconds)

    def wait_until(self, happens: Callable[[], bool], command: Command, seconds: float = 90.0) -> None:
        deadline = time.monotonic() + seconds
        while not happens():
            assert command.running, f"ended too early, with {command.code}:\n{command.stderr}"
            assert time.monotonic() < deadline, f"in vain for {seconds} s:\n{command.stderr}"
            time.sleep(0.1)

    # Looking

    def records(self) -> Records:
        return Records(self.uri, self.experiment, self.artifacts)

    def witness(self) -> None:
        """Remember what is in the store and in the journals: from now on it must not get lost."""
        self._witness = self.records(), journaled(self.folder)

    def still_has(self) -> None:
        """What was witnessed is in the store; it is witnessed again."""
        n_lost = n_lost_since(self._witness, self.records())
        self.expect(not n_lost, f"{n_lost} points are lost")
        self.witness()

    def expect(self, truth: object, otherwise: str) -> None:
        if not truth:
            self.complaints.append(otherwise)

    def n_tracebacks(self) -> int:
        """In all that its commands printed."""
        printed = [*self.printed, *(command.stderr for command in self._started)]
        return sum(text.count("Traceback (most recent call last)") for text in printed)

    def nothing_runs(self) -> None:
        """A command that ended in order has left no run open."""
        runs = [
            f"{run.name} of {run.tags.get('kind')}" for run in self.records().runs.values() if run.status == "RUNNING"
        ]
        self.expect(not runs, f"left RUNNING at its end: {', '.join(runs)}")

    def again(self, *words: str) -> Tally:
        """The next start: the same command, undisturbed; then the comparison."""
        self.last = command = self.start(*words)
        code = command.wait()
        self.expect(code == 0, f"the next start ended with {code}: {command.stderr[-1500:]}")
        told = re.search(r"Answered before, by sweep (\w+)", command.stderr)
        return self.compared(told[1] if told else "")

    def compared(self, answered: str = "") -> Tally:
        """answered: how the id of the sweep begins whose answer was told, if that is not the last one's."""
        self.after = after = self.records()
        if answered:
            own = next(run_id for run_id in after.runs if run_id.startswith(answered))
            after.runs[own] = after.runs.pop(own)  # as the last one
        tally = compare(self.reference.records, after)
        if self._witness:
            tally.points_lost += n_lost_since(self._witness, after)
        undelivered = list((self.folder / "mlruns" / "undelivered").glob("[!.]*"))
        self.expect(not undelivered, f"{len(undelivered)} journals are left")
        tally.complaints += self.complaints
        return tally


class ServerTrial(Trial):
    """A sweep whose store is behind a bad connection, in an experiment of its own."""

    def connect(self, site: Site) -> Proxy:
        self.site, self.proxy = site, Proxy(site.server.port)
        self.uri = site.postgres.uri.replace("postgresql:", "postgresql+psycopg:")
        self.experiment, self.artifacts = f"trial {uuid.uuid4().hex[:8]}", site.server.artifacts
        self.environ |= {"MLFLOW_TRACKING_URI": self.proxy.uri, "MLFLOW_EXPERIMENT_NAME": self.experiment}
        return self.proxy

    def __exit__(self, *unused: object) -> None:
        super().__exit__(*unused)
        self.proxy.close()

    def train_through(self, away: Callable[[], None], *words: str) -> tuple[float, float]:
        """Call `away` at a random moment of the training; when it returns all is well again. Returns both times."""
        command = self.start(*words)
        self.wait_for_points(command)
        time.sleep(self.rng.uniform(0, 2.0))
        begun = time.time()
        away()
        ended = time.time()
        code = command.wait()
        self.expect(code == 0, f"exit code {code}: {command.stderr}")
        self.expect("Traceback" not in command.stderr, command.stderr)
        return begun, ended

    def trained_on(self, begun: float, ended: float, longest: float) -> None:
        """Points were measured all the time, not only before and after."""
        times = sorted(time / 1000 for cell in self.records().cells for time in cell.times)
        during = [time for time in times if begun <= time <= ended]
        last = min(ended, times[-1])
        gaps = [b - a for a, b in zip([begun, *during], [*during, last], strict=True)]
        self.expect(max(gaps) < longest, f"training stood still for {max(gaps):.1f} s of {ended - begun:.1f} s")


def own_tally(trial: Trial, runs: list[Run], wanted: int) -> Tally:
    """Without an undisturbed sweep to compare with: each run beside its own table."""
    finished = [run for run in runs if run.status == "FINISHED"]
    return Tally(
        tried=1,
        runs_lost=wanted - len(finished),
        points_lost=sum(n_lost_of_own_history(run) for run in finished),
        duplicates=sum(count_duplicates(run) for run in runs),
        running=sum(run.status == "RUNNING" for run in trial.records().runs.values()),
        identical=1,
        complaints=trial.complaints,
    )
