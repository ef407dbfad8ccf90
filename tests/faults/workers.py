"""Faults of workers under joblib, Ray and submitit, and of the command that started them."""

import os
import signal
import time
from importlib.util import find_spec

from . import sabotage
from .commands import Command, environment
from .fault import NotHere, fault
from .records import Tally
from .trial import JOBLIB, SWEEP, Trial

PARALLEL = (*SWEEP, JOBLIB)


def _worker_pids(trial: Trial) -> list[int]:
    return [int(cell.tags["process.pid"]) for cell in trial.records().cells if cell.status == "RUNNING"]


def _in_the_middle(trial: Trial, launcher: str) -> Command:
    """A sweep at a random moment at which its workers train."""
    command = trial.with_store().start(*SWEEP, launcher)
    trial.wait_until(lambda: _worker_pids(trial), command)
    time.sleep(trial.rng.uniform(0, 1.0))
    return command


def _kill_a_worker(trial: Trial, launcher: str) -> Tally:
    """The worker loses its own cell at most, and that has a second try."""
    if find_spec(launcher.partition("_")[0]) is None:
        raise NotHere(f"{launcher} is not installed")
    command = _in_the_middle(trial, f"hydra/launcher={launcher}")
    pids = _worker_pids(trial)
    if pids:
        os.kill(trial.rng.choice(pids), signal.SIGKILL)
    command.wait()
    finished = len(trial.records().finished())
    trial.expect(finished >= 2, f"{finished} of 3 cells trained")
    trial.expect(command.code == (finished < 3), f"exit code {command.code}: {command.stderr}")
    trial.expect(f"{finished} of 3 cells trained" in command.stderr, f"no summary: {command.stderr}")
    trial.nothing_runs()
    trial.witness()
    return trial.again()


@fault("SIGKILL of one of two joblib workers")
def sigkill_of_a_worker(trial: Trial) -> Tally:
    return _kill_a_worker(trial, "joblib")


@fault("SIGKILL of one of two workers of Ray")
def sigkill_of_a_worker_of_ray(trial: Trial) -> Tally:
    return _kill_a_worker(trial, "ray")


@fault("SIGKILL of one of two jobs of submitit")
def sigkill_of_a_job(trial: Trial) -> Tally:
    return _kill_a_worker(trial, "submitit_local")


@fault("a cell that kills every joblib worker that trains it")
def poison(trial: Trial) -> Tally:
    path = os.pathsep.join([str(sabotage.POISON), environment()["PYTHONPATH"]])
    command = trial.with_store().start(*PARALLEL, PYTHONPATH=path)
    code = command.wait()
    records = trial.records()
    trial.expect(len(records.finished()) == 2, f"{len(records.finished())} of 3 cells trained")
    trial.expect(code == 1 and "2 of 3 cells trained" in command.stderr, f"exit code {code}: {command.stderr}")
    trial.expect({c.status for c in records.cells if "B=16" in c.name} == {"KILLED"}, "the poisoned cell is not KILLED")
    trial.nothing_runs()
    trial.witness()
    return trial.again()


@fault("SIGKILL of the parent of joblib workers")
def sigkill_of_the_parent(trial: Trial) -> Tally:
    """Workers finish the cell that they are at; the next start waits for it."""
    command = _in_the_middle(trial, JOBLIB)
    command.signal(signal.SIGKILL)
    command.wait()
    trial.witness()
    code = (repeated := trial.start()).wait()
    trial.expect(code == 0, f"exit code {code}: {repeated.stderr}")
    deadline = time.monotonic() + 20
    while _worker_pids(trial) and time.monotonic() < deadline:
        time.sleep(0.2)
    command.signal_group(signal.SIGKILL)  # workers that idle, or wait for their parent
    trial.start("deliver").wait()
    return trial.compared()


@fault("Ctrl-C to the whole group of joblib workers and their parent")
def sigint_of_the_group(trial: Trial) -> Tally:
    command = _in_the_middle(trial, JOBLIB)
    command.signal_group(signal.SIGINT)
    command.wait()
    trial.expect(command.code == 130, f"exit code {command.code}: {command.stderr}")
    trial.expect("Traceback" not in command.stderr, command.stderr)
    trial.nothing_runs()
    trial.witness()
    return trial.again()


@fault("SIGTERM to the parent of joblib workers")
def sigterm_of_the_parent(trial: Trial) -> Tally:
    command = _in_the_middle(trial, JOBLIB)
    command.signal(signal.SIGTERM)
    command.wait()
    trial.expect(command.code in (0, 143), f"exit code {command.code}: {command.stderr}")  # 0: it had just ended
    trial.nothing_runs()
    trial.witness()
    return trial.again()


@fault("the same sweep under joblib, undisturbed: nested, and bit-identical to the serial one")
def parallel(trial: Trial) -> Tally:
    trial.with_store().start(*PARALLEL).wait()
    records = trial.records()
    (parent,) = records.parents
    trial.expect({cell.tags.get("mlflow.parentRunId") for cell in records.cells} == {parent.run_id}, "not nested")
    trial.expect({cell.tags["timing"] for cell in records.cells} == {"shared"}, "timings not tagged shared")
    return trial.compared()
