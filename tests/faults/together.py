"""Faults of several commands that need the same cells: each cell is trained once, and every sweep has it."""

import os
import shutil
import signal
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing, suppress

from harness.store.names import hidden

from . import sabotage
from .commands import Command
from .deliveries import tables_of_runs
from .fault import fault
from .records import Tally
from .servers import Site
from .trial import JOBLIB, SWEEP, ServerTrial, Trial, own_tally

SMALL = ("dataset=iris", "seeds=2", "epochs=120")
BEAT, LEASE = 0.3, 3.0  # seconds, in place of 10 and 60
SLOW = 8.0  # seconds that a cell takes longer, so that others wait for it
WAITS = "that another command trains"


def _all_end(trial: Trial, commands: Sequence[Command]) -> None:
    """Every command ends with the answer, without a traceback."""
    for command in commands:
        code = command.wait()
        trial.expect(code == 0, f"exit code {code}: {command.stderr}")
        trial.expect("Traceback" not in command.stderr, command.stderr)


def _all_complete(trial: Trial, n_sweeps: int) -> Tally:
    """Every sweep is FINISHED and has all cells; the rest as after any fault."""
    records = trial.records()
    statuses = [parent.status for parent in records.parents]
    trial.expect(statuses == ["FINISHED"] * n_sweeps, f"the sweeps are {statuses}")
    for parent in records.parents:
        own = {run.tags["signature"] for run in records.cells if f"sweep.{parent.run_id}" in run.tags}
        wanted = set(trial.reference.records.finished())
        trial.expect(own == wanted, f"a sweep has {len(own)} of {len(wanted)} cells")
    trial.nothing_runs()
    return trial.compared()


def _at_once(trial: Trial, n: int, *words: str) -> Tally:
    commands = []
    for _ in range(n):
        commands.append(trial.start(*words))
        time.sleep(trial.rng.choice([0.0, trial.rng.uniform(0, 1.0)]))
    _all_end(trial, commands)
    return _all_complete(trial, n)


@fault("two identical sweeps at once")
def two_sweeps(trial: Trial) -> Tally:
    return _at_once(trial.with_store(), 2)


@fault("two identical sweeps at once under joblib")
def two_parallel_sweeps(trial: Trial) -> Tally:
    return _at_once(trial.with_store(), 2, *SWEEP, JOBLIB)


@fault("eight identical sweeps at once")
def eight_sweeps(trial: Trial) -> Tally:
    return _at_once(trial.with_store(), 8)


@fault("two identical sweeps at once on a server", group="server")
def two_sweeps_on_a_server(trial: ServerTrial, site: Site) -> Tally:
    trial.connect(site)
    return _at_once(trial, 2)


@fault("eight identical sweeps at once on a server", group="server")
def eight_sweeps_on_a_server(trial: ServerTrial, site: Site) -> Tally:
    trial.connect(site)
    return _at_once(trial, 8)


@fault("two identical sweeps at once on a server that goes away for 15 s", group="server")
def two_sweeps_and_an_outage(trial: ServerTrial, site: Site) -> Tally:
    """Cells that begin meanwhile are trained without a claim, by both; one of the two runs ends as superseded."""
    proxy = trial.connect(site)
    commands = [trial.start(sabotage=sabotage.Lease(BEAT, LEASE, SLOW)) for _ in range(2)]
    for command in commands:
        trial.wait_for_points(command)
    time.sleep(trial.rng.uniform(0, SLOW))
    proxy.close()
    time.sleep(15)
    proxy.open()
    for command in commands:
        command.wait()
        trial.expect("Traceback" not in command.stderr, command.stderr)
    return trial.again()


@fault("a sweep with rerun=all beside the same sweep without it")
def rerun_beside(trial: Trial) -> Tally:
    """The one trains every cell anew, the other what nobody has finished. A third finds the newest run of each cell."""
    trial.with_store()
    lines = trial.rng.sample([SWEEP, (*SWEEP, "rerun=all")], 2)
    commands = []
    for words in lines:
        commands.append(trial.start(*words))
        time.sleep(trial.rng.choice([0.0, trial.rng.uniform(0, 1.0)]))
    _all_end(trial, commands)
    _all_complete(trial, 2)
    tally = trial.again()
    for runs in trial.after.finished().values():
        tally.duplicates -= len(runs) - 1  # two trainings of a cell are what rerun=all is for
        counts = [run for run in runs if f"sweep.{trial.after.parents[-1].run_id}" in run.tags]
        tally.complaints += [] if counts == [runs[-1]] else ["the newest run of a cell does not count"]
    return tally


@fault("a command is stopped (Ctrl-Z) while it opens the store; others say so and end")
def stopped_at_the_door(trial: Trial) -> Tally:
    first = trial.with_store().start(sabotage=sabotage.Stopped("harness.store.places", "repair"))
    trial.wait_until(lambda: first.is_stopped, first)
    other = trial.start("deliver", sabotage=sabotage.hurried_by_locks)
    trial.expect(other.wait(60) == 2, f"exit code {other.code}: {other.stderr}")
    trial.expect("no other command is opening" in other.stderr, f"not told: {other.stderr}")
    trial.expect(len(other.stderr.splitlines()) == 1, other.stderr)
    first.signal(signal.SIGCONT)
    _all_end(trial, [first])
    return trial.again()


@fault("two identical commands with one cell at once")
def two_single_cells(trial: Trial) -> Tally:
    trial.with_store()
    commands = [trial.start("batch_size=16", *SMALL) for _ in range(2)]
    _all_end(trial, commands)
    records = trial.records()
    trial.expect(len(records.cells) == 1, f"{len(records.cells)} runs of one cell")
    return own_tally(trial, records.cells, wanted=1)


@fault("two overlapping grids at once")
def overlapping_grids(trial: Trial) -> Tally:
    trial.with_store()
    _all_end(trial, [trial.start("-m", f"batch_size={sizes}", *SMALL) for sizes in ("8,16", "16,32")])
    return trial.again()


@fault("two identical sweeps with seeds=auto at once")
def two_growing_sweeps(trial: Trial) -> Tally:
    words = ("-m", "batch_size=8,32", "dataset=iris", "seeds=auto", "seeds_at_most=20", "epochs=40")
    trial.with_store()
    _all_end(trial, [trial.start(*words) for _ in range(2)])
    records = trial.records()
    trial.expect([parent.status for parent in records.parents] == ["FINISHED"] * 2, "a sweep is not FINISHED")
    return own_tally(trial, records.cells, wanted=len({run.tags["signature"] for run in records.cells}))


# One of two is struck


def _owner_and_waiter(trial: Trial, lease: float) -> tuple[Command, Command]:
    """A slow sweep, and another that has trained the rest and waits for the cell that the slow one trains."""
    owner = trial.start(sabotage=sabotage.Lease(BEAT, lease, SLOW))
    trial.wait_until(lambda: trial.records().cells, owner)
    waiter = trial.start(sabotage=sabotage.Lease(BEAT, lease))
    trial.wait_until(lambda: WAITS in waiter.stderr, waiter)
    time.sleep(trial.rng.uniform(0, 1.0))
    return owner, waiter


@fault("SIGKILL of a sweep while another waits for its cell")
def owner_killed(trial: Trial) -> Tally:
    """On the same machine its death is seen at once, long before the lease of a minute ends."""
    owner, waiter = _owner_and_waiter(trial.with_store(), lease=60.0)
    owner.signal(signal.SIGKILL)
    owner.wait()
    killed = time.monotonic()
    _all_end(trial, [waiter])
    trial.expect(time.monotonic() - killed < 30, "the cell was not taken at once")
    return trial.again()


def _stopped(trial: Trial, owner: Command, waiter: Command) -> Tally:
    """The owner goes on while the waiter trains its cell, or later."""
    moment = time.monotonic() + trial.rng.uniform(LEASE, LEASE + 4.0)
    while time.monotonic() < moment and waiter.running:
        time.sleep(0.02)
    owner.signal(signal.SIGCONT)
    _all_end(trial, [waiter, owner])
    return _all_complete(trial, 2)


@fault("a sweep is stopped (SIGSTOP) for longer than its lease while another waits for its cell, and goes on")
def owner_stopped(trial: Trial) -> Tally:
    owner, waiter = _owner_and_waiter(trial.with_store(), LEASE)
    owner.signal(signal.SIGSTOP)
    return _stopped(trial, owner, waiter)


@fault("the same, stopped before or after one of the calls of MLflow's client")
def owner_stopped_at_a_call(trial: Trial) -> Tally:
    """Moments that a random time rarely hits: the run is to be ended next, for instance."""
    trial.with_store()
    witness = trial.folder.parent / "struck"
    n, after = trial.rng.randrange(2, 40), trial.rng.random() < 0.5
    strike = sabotage.StruckAtCall(signal.SIGSTOP, n, after, witness)
    owner = trial.start(sabotage=sabotage.Both(sabotage.Lease(BEAT, LEASE), strike))
    trial.wait_until(lambda: witness.exists() or trial.records().finished(), owner)
    waiter = trial.start(sabotage=sabotage.Lease(BEAT, LEASE))
    return _stopped(trial, owner, waiter)


@fault("SIGKILL of one of two identical sweeps before or after one of the calls of MLflow's client")
def one_of_two_killed_at_a_call(trial: Trial) -> Tally:
    trial.with_store()
    n, after = trial.rng.randrange(1, 60), trial.rng.random() < 0.5
    strike = sabotage.StruckAtCall(signal.SIGKILL, n, after, trial.folder.parent / "struck")
    struck, other = trial.start(sabotage=strike), trial.start()
    _all_end(trial, [other])
    struck.wait()
    trial.witness()
    return trial.again()


@fault("SIGKILL of the parent of joblib workers while another sweep waits for their cells")
def parent_killed_others_wait(trial: Trial) -> Tally:
    """A worker finishes its cell, and the other sweep has it."""
    owner = trial.with_store().start(*SWEEP, JOBLIB)
    trial.wait_until(lambda: any(cell.status == "RUNNING" for cell in trial.records().cells), owner)
    waiter = trial.start()
    time.sleep(trial.rng.uniform(0, 1.5))
    with suppress(ProcessLookupError):
        os.kill(owner.pid, signal.SIGKILL)
    _all_end(trial, [waiter])
    owner.wait()
    owner.signal_group(signal.SIGKILL)  # workers that idle, or wait for their parent
    return trial.again()


@fault("Ctrl-C, SIGTERM or SIGHUP, once or twice, to a sweep that waits for another's cell")
def waiter_interrupted(trial: Trial) -> Tally:
    """It ends at once and in order; the other one goes on."""
    owner, waiter = _owner_and_waiter(trial.with_store(), lease=60.0)
    number = trial.rng.choice([signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    n_signals = trial.rng.choice([1, 2])
    for _ in range(n_signals):
        with suppress(ProcessLookupError):
            waiter.signal(number)
        time.sleep(trial.rng.uniform(0, 0.5))
    code = waiter.wait(60)
    trial.expect(code == 128 + number, f"exit code {code} after {number.name}: {waiter.stderr}")
    _all_end(trial, [owner])
    trial.nothing_runs()
    tally = trial.again()
    if n_signals == 2:  # the second one ends the writing of the answer
        tally.complaints = [one for one in tally.complaints if not one.endswith("(KILLED) has no report")]
    return tally


@fault("the server answers everything with 401 for 12 s while a sweep waits for another's cell", group="server")
def refused_while_waiting(trial: ServerTrial, site: Site) -> Tally:
    proxy = trial.connect(site)
    owner, waiter = _owner_and_waiter(trial, lease=60.0)
    proxy.fate = lambda: "401"
    time.sleep(12)
    proxy.fate = lambda: "pass"
    _all_end(trial, [owner, waiter])
    return _all_complete(trial, 2)


@fault("the store comes back empty while a sweep waits for another's cell")
def emptied_while_waiting(trial: Trial) -> Tally:
    """Both end with exit code 1 and say what is kept. Its folders are deleted, and all is trained again."""
    commands = _owner_and_waiter(trial.with_store(), lease=60.0)
    with closing(sqlite3.connect(trial.folder / "mlflow.db", timeout=20)) as database, database:
        for table in tables_of_runs(database):
            database.execute(f"DELETE FROM {table}")
    for command in commands:
        code = command.wait()
        trial.expect(code == 1 and "not found" in command.stderr, f"exit code {code}: {command.stderr}")
        trial.expect("delete its folder to give it up" in command.stderr, f"does not say what to do: {command.stderr}")
    for journal in trial.folder.glob("mlruns/undelivered/[!.]*"):
        shutil.rmtree(journal)
    return trial.again()


# Other hosts


def _as_of_another_host(trial: Trial, silent_seconds: float) -> None:
    """The runs that a killed sweep left open, as if it had run elsewhere and been killed so many seconds ago."""
    beat = str(int((time.time() - silent_seconds) * 1000))
    elsewhere = {"process.host": "elsewhere-12345678", "process.pid": "999999", "heartbeat": beat}
    with closing(sqlite3.connect(trial.folder / "mlflow.db")) as database, database:
        for key, value in elsewhere.items():
            only = "run_uuid IN (SELECT run_uuid FROM runs WHERE status = 'RUNNING')"
            changed = database.execute(f"UPDATE tags SET value = ? WHERE key = ? AND {only}", (value, hidden(key)))
            trial.expect(changed.rowcount > 0, f"no open run has the tag {key}")


def _killed_elsewhere(trial: Trial, silent_seconds: float) -> None:
    command = trial.with_store().start(sabotage=sabotage.Lease(BEAT, LEASE, SLOW))
    trial.wait_for_points(command)
    time.sleep(trial.rng.uniform(0, SLOW))
    command.signal(signal.SIGKILL)
    command.wait()
    for journal in trial.folder.glob("mlruns/undelivered/*"):  # it lies on the other host
        journal.rename(trial.folder.parent / journal.name)
    _as_of_another_host(trial, silent_seconds)


@fault("a sweep on another host died 20 minutes ago")
def dead_on_another_host(trial: Trial) -> Tally:
    """The next start closes its runs."""
    _killed_elsewhere(trial, silent_seconds=1200)
    trial.witness()
    return trial.again()


@fault("a sweep on another host died a minute ago")
def just_dead_on_another_host(trial: Trial) -> Tally:
    """It may live: its cell is trained when its lease has ended, and its other runs are closed later."""
    _killed_elsewhere(trial, silent_seconds=60)
    trial.witness()
    _all_end(trial, [waiter := trial.start(sabotage=sabotage.Lease(BEAT, LEASE))])
    trial.expect(WAITS in waiter.stderr and "on elsewhere" in waiter.stderr, f"does not wait: {waiter.stderr}")
    _as_of_another_host(trial, silent_seconds=1200)
    return trial.again()
