"""Faults of the command and of its machine: exceptions, signals, disks, several commands at once."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import closing, contextmanager
from pathlib import Path

from . import sabotage
from .commands import Command, environment
from .fault import NotHere, fault
from .records import Tally
from .trial import Trial, own_tally

INTERRUPTS = {signal.SIGINT: 130, signal.SIGTERM: 143}

# Faults inside the command


def _one_cell_fails(trial: Trial, cause: Callable[[], None], told: str) -> Tally:
    """The error is printed once and its traceback kept; the other cells are trained."""
    trial.with_store()
    command = trial.start(sabotage=cause)
    code = command.wait()
    records = trial.records()
    failed = [cell for cell in records.cells if cell.status == "FAILED"]
    trial.expect(code == 1, f"exit code {code}: {command.stderr}")
    trial.expect(
        sorted(cell.status for cell in records.cells) == ["FAILED", "FINISHED", "FINISHED"], "others not trained"
    )
    trial.expect(len(failed) == 1 and "traceback.txt" in failed[0].files(), "no traceback.txt")
    trial.expect(
        failed and told in (failed[0].artifacts / "traceback.txt").read_text(), "its traceback.txt says nothing"
    )
    trial.expect(failed and failed[0].tags.get("outcome") == "failed", "outcome")
    trial.expect(command.stderr.count("Traceback (most recent call last)") == 1, f"told not once: {command.stderr}")
    trial.expect("2 of 3 cells trained" in command.stderr, f"no summary: {command.stderr}")
    trial.expect([parent.status for parent in records.parents] == ["FAILED"], "the parent is not FAILED")
    trial.nothing_runs()
    trial.witness()
    return trial.again()


@fault("an exception in the training of one cell", bug=True)
def exception_in_training(trial: Trial) -> Tally:
    return _one_cell_fails(trial, sabotage.in_training, sabotage.MESSAGE)


@fault("an exception in the figures of one cell", bug=True)
def exception_in_plotting(trial: Trial) -> Tally:
    trial.with_store()
    command = trial.start(sabotage=sabotage.in_plotting)
    code = command.wait()
    records = trial.records()
    without = [cell for cell in records.cells if "traceback.txt" in cell.files()]
    trial.expect(code == 0, f"exit code {code}: {command.stderr}")
    trial.expect([cell.status for cell in records.cells] == ["FINISHED"] * 3, "a figure cost a cell")
    trial.expect(len(without) == 1, "no traceback.txt")
    trial.expect(command.stderr.count("figures were left out") == 1, f"told not once: {command.stderr}")
    trial.expect("Traceback" not in command.stderr, command.stderr)
    trial.nothing_runs()
    return trial.again()


@fault("MLflow's client raises for one cell", bug=True)
def exception_in_logging(trial: Trial) -> Tally:
    return _one_cell_fails(trial, sabotage.in_logging, sabotage.MESSAGE)


@fault("sys.exit(0) in one cell", bug=True)
def exit_in_a_cell(trial: Trial) -> Tally:
    return _one_cell_fails(trial, sabotage.by_exit, "SystemExit: 0")


@fault("an exception in the sweep's own figures", bug=True)
def exception_in_the_answer(trial: Trial) -> Tally:
    trial.with_store()
    command = trial.start(sabotage=sabotage.in_the_answer)
    command.wait()
    records = trial.records()
    (parent,) = records.parents
    trial.expect([cell.status for cell in records.cells] == ["FINISHED"] * 3, "cells not trained")
    trial.expect(parent.status == "FAILED" and "traceback.txt" in parent.files(), "the parent keeps no traceback")
    trial.expect(command.stderr.count("Traceback (most recent call last)") == 1, f"told not once: {command.stderr}")
    trial.nothing_runs()
    tally = trial.again()
    without = [complaint for complaint in tally.complaints if not complaint.endswith("(FAILED) has no report")]
    tally.complaints = without  # of the first sweep: that is the fault
    return tally


# Signals


def _interrupted(trial: Trial, number: signal.Signals) -> Tally:
    command = trial.with_store().struck(lambda command: command.signal(number))
    return _ended_in_order(trial, command, number)


def _ended_in_order(trial: Trial, command: Command, number: signal.Signals) -> Tally:
    """Exit code, no noise, nothing left open; then the repetition."""
    in_a_shell = 128 + number if command.code == -number and not command.stderr else command.code
    trial.expect(in_a_shell == INTERRUPTS[number], f"exit code {command.code}: {command.stderr}")
    trial.expect("Traceback" not in command.stderr, command.stderr)
    trial.nothing_runs()
    statuses = {parent.status for parent in trial.records().parents}
    trial.expect(statuses <= {"KILLED", "FINISHED"}, f"the parent is {statuses}")
    trial.witness()
    return trial.again()


@fault("Ctrl-C (SIGINT)")
def sigint(trial: Trial) -> Tally:
    return _interrupted(trial, signal.SIGINT)


@fault("SIGTERM")
def sigterm(trial: Trial) -> Tally:
    return _interrupted(trial, signal.SIGTERM)


@fault("Ctrl-C before or after one of the calls of MLflow's client")
def sigint_at_a_call(trial: Trial) -> Tally:
    command = _struck_at_a_call(trial, signal.SIGINT)
    return _ended_in_order(trial, command, signal.SIGINT)


@fault("SIGKILL")
def sigkill(trial: Trial) -> Tally:
    trial.with_store().struck(lambda command: command.signal(signal.SIGKILL))
    trial.witness()
    return trial.again()


@fault("SIGKILL before or after one of the calls of MLflow's client")
def sigkill_at_a_call(trial: Trial) -> Tally:
    """Moments that a random time rarely hits: a run is created, for instance, and its id not yet in the journal."""
    _struck_at_a_call(trial, signal.SIGKILL)
    trial.witness()
    return trial.again()


def _struck_at_a_call(trial: Trial, number: signal.Signals) -> Command:
    """The number of calls is not known beforehand: points are delivered when some time has passed."""
    witness = trial.folder.parent / "struck"
    for most in (60, 40, 20, 10):
        trial.start_over()
        n, after = trial.rng.randrange(1, most), trial.rng.random() < 0.5
        command = trial.start(sabotage=sabotage.StruckAtCall(number, n, after, witness))
        command.wait()
        if witness.exists():
            return command
    raise AssertionError("every command made fewer calls than were wanted")


@fault("SIGKILL, and again during the repetition")
def sigkill_twice(trial: Trial) -> Tally:
    trial.with_store().struck(lambda command: command.signal(signal.SIGKILL))
    trial.witness()
    second = trial.start()
    time.sleep(trial.rng.uniform(0.05, trial.reference.seconds / 2))
    second.signal(signal.SIGKILL)
    second.wait()
    return trial.again()


@fault("power cut: all processes end at once, lines are cut short, the machine boots again")
def power_cut(trial: Trial) -> Tally:
    trial.with_store().struck(lambda command: command.signal_group(signal.SIGKILL))
    for journal in trial.folder.glob("mlruns/undelivered/*/journal.jsonl"):
        whole = journal.read_bytes()
        journal.write_bytes(whole[: -trial.rng.randrange(1, 40)] if len(whole) > 40 else whole)
    _sql(
        trial,
        "UPDATE tags SET value = ? WHERE key LIKE '%process.boot'",
        str(uuid.UUID(int=trial.rng.getrandbits(128))),
    )
    _sql(trial, "UPDATE tags SET value = ? WHERE key LIKE '%process.pid'", str(os.getpid()))  # somebody else's by now
    trial.witness()
    return trial.again()


@fault("runs of processes that live: on this machine, in another container, on another host")
def live_runs(trial: Trial) -> Tally:
    """Neither a killed sweep's repetition nor `deliver` may touch them."""
    trial.with_store().struck(lambda command: command.signal(signal.SIGKILL))
    trial.witness()
    with _live_process(trial.folder) as live:
        planted = live.stdout.readline().split()
        tally = trial.again()
        trial.start("deliver").wait()
        runs = trial.records().runs
        still = sum(runs[run_id].status == "RUNNING" for run_id in planted)
        tally.running -= still
        if still != len(planted) or len(planted) != 3:
            tally.complaints.append("the run of a live process was closed")
    return tally


def _live_process(folder: Path) -> subprocess.Popen[str]:
    """Creates three runs, prints their ids and lives until its standard input is closed."""
    command, pipe = [sys.executable, "-c", PLANT], subprocess.PIPE
    return subprocess.Popen(command, cwd=folder, stdout=pipe, stdin=pipe, env=environment(), text=True)


PLANT = """
import sys
from mlflow.tracking import MlflowClient
from harness.store.processes import process_tags
client = MlflowClient("sqlite:///mlflow.db")
experiment = client.get_experiment_by_name("harness").experiment_id
here = {**process_tags(), "kind": "cell", "signature": "planted"}
there = {**here, "process.host": "elsewhere", "process.pid": "999999", "process.started": "1.0"}
container = {**here, "process.namespace": "pid:[1]", "process.pid": "999999", "process.started": "1.0"}
for tags in (here, there, container):
    print(client.create_run(experiment, tags=tags).info.run_id, end=" ")
print(flush=True)
sys.stdin.read()
"""


# Disks


@contextmanager
def small_disk(folder: Path, megabytes: float):
    """A folder on a file system of its own. Raises NotHere where nobody may mount one."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={int(megabytes * 1024)}k", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode:
        raise NotHere(f"no file system may be mounted: {done.stderr.strip()}")
    try:
        yield
    finally:
        for _ in range(50):
            if subprocess.run(["umount", str(folder)], capture_output=True).returncode == 0:
                break
            time.sleep(0.1)


def _remount(trial: Trial, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(trial.folder)], check=True)


@fault("the disk is full during the sweep; later there is room again")
def full_disk(trial: Trial) -> Tally:
    empty = trial.reference.empty_store.stat().st_size
    whole = sum(file.stat().st_size for file in trial.reference.folder.rglob("*"))
    with small_disk(trial.folder, (empty + trial.rng.uniform(0.05, 0.9) * (whole - empty)) / 2**20):
        command = trial.with_store().start()
        code = command.wait()
        trial.expect(code in (1, 2), f"exit code {code}: {command.stderr}")
        _remount(trial, "size=200m")
        trial.witness()
        tally = trial.again()
        if "the answer was not written" in command.stderr:  # `report` writes it when there is room
            tally.complaints = [one for one in tally.complaints if not one.endswith("(FAILED) has no report")]
        return tally


@fault("a folder that is read-only")
def read_only(trial: Trial) -> Tally:
    """Refused in one line, before anything is trained; then it may be written to."""
    with small_disk(trial.folder, 100):
        _remount(trial, "ro")
        command = trial.start()
        code = command.wait()
        trial.expect(code == 2, f"exit code {code}: {command.stderr}")
        trial.expect(len(command.stderr.splitlines()) == 1, command.stderr)
        trial.expect("Read-only file system" in command.stderr, command.stderr)
        trial.expect(not list(trial.folder.iterdir()), "something was written")
        _remount(trial, "rw")
        return trial.with_store().again()


@fault("SQLite's file is locked by another program for 25 s")
def locked_file(trial: Trial) -> Tally:
    command = trial.with_store().start()
    time.sleep(trial.rng.uniform(0.5, trial.reference.seconds / 2))
    with closing(sqlite3.connect(trial.folder / "mlflow.db", timeout=60, isolation_level=None)) as database:
        database.execute("BEGIN EXCLUSIVE")
        time.sleep(25)
        database.execute("ROLLBACK")
    code = command.wait()
    trial.expect(code == 0, f"exit code {code}: {command.stderr}")
    return trial.compared()


def _sql(trial: Trial, statement: str, *values: str) -> None:
    with closing(sqlite3.connect(trial.folder / "mlflow.db")) as database, database:
        database.execute(statement, values)


# Several at once


@fault("eight processes use a new folder at once")
def first_use(trial: Trial) -> Tally:
    commands = [trial.start(f"batch_size={8 + n}", "dataset=iris", "seeds=1", "epochs=3") for n in range(8)]
    for command in commands:
        code = command.wait()
        trial.expect(code == 0, f"exit code {code}: {command.stderr}")
    return own_tally(trial, trial.records().cells, wanted=8)


@fault("eight sweeps at once on one SQLite file")
def parallel_sweeps(trial: Trial) -> Tally:
    words = ("-m", "batch_size=8,32", "dataset=iris", "seeds=1", "epochs=60")
    commands = [trial.with_store().start(*words, f"seed={n}") for n in range(1)]
    commands += [trial.start(*words, f"seed={n}") for n in range(1, 8)]
    for command in commands:
        code = command.wait()
        trial.expect(code == 0, f"exit code {code}: {command.stderr}")
    records = trial.records()
    trial.expect([parent.status for parent in records.parents] == ["FINISHED"] * 8, "a sweep is not FINISHED")
    return own_tally(trial, records.cells, wanted=16)


@fault("a killed sweep is repeated by two commands at once")
def repeated_twice(trial: Trial) -> Tally:
    """Each missing cell is trained by one of them."""
    trial.with_store().struck(lambda command: command.signal(signal.SIGKILL))
    trial.witness()
    for command in (trial.start(), trial.start()):
        code = command.wait()
        trial.expect(code == 0, f"exit code {code}: {command.stderr}")
    return trial.compared()
