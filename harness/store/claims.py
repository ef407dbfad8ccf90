"""Which of several commands trains a cell: the cell's run is also the claim on it, and a heartbeat keeps the claim.

MLflow has no compare-and-set. Claimants follow the one-bit algorithm of Burns and Lamport (Lamport, The mutual
exclusion problem II, 1986): each creates its run, then looks; it trains only if that look shows no other run of the
cell that is open or finished. A run is visible when its creation has returned, in SQLite and in PostgreSQL; so of two
claimants the one whose run was created last sees the other's, whatever their clocks say. Of claimants that see each
other, those with the larger run ids withdraw. A store that answers from a delayed copy of
its database would break this.

A claim ends with its process. A process that has not changed the tag `heartbeat` of its run for LEASE_SECONDS, by the
clock of the process that waits for it, has lost its claim: the run is closed with the tag `closed_by`. If the owner
comes back after that, it finds this tag and ends its run as KILLED, outcome superseded, if the cell has another run.
"""

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from harness.store.connection import unreachable_errors
from harness.store.forms import is_sound, lost_file
from harness.store.processes import is_dead, is_of_this_machine

if TYPE_CHECKING:
    from mlflow.entities import Run

    from harness.store.client import Client

HEARTBEAT, CLOSED_BY = "heartbeat", "closed_by"  # tags: ms since 1970 of the last sign of life; who closed the run
BEAT_SECONDS = 10.0
LEASE_SECONDS = 60.0  # without a sign of life, after which a cell may be trained by another process
ABANDONED_SECONDS = 900.0  # likewise, after which the next start on any host closes the run; clocks may differ by less
DECIDING_SECONDS = 2.0  # that a claimant waits for others that have created a run and not begun to train
LOOK_SECONDS = 0.05  # between looks meanwhile
PROVISIONAL = "provisional"  # in a journal's state: the run is FAILED until its own end can be sent
OUTCOME = "outcome"  # a tag, and in a journal's state as the process of the run wrote it
KILLED = "killed"  # the outcome of a run that another process has closed
CLAIM = "claim"  # in a journal's state and, if it is NONE, a tag
WANTED, HELD, NONE = "wanted", "held", "none"  # NONE: the store was away, so the cell is trained without


class TakenError(Exception):
    """Another process trains this cell, or has finished it."""


def may_train(own: str, rivals: Iterable["Run"]) -> bool | None:
    """Whether the claimant with this run id may train after a look that showed these runs; None: look again."""
    rivals = list(rivals)
    if any(rival.info.run_id < own or _has_begun(rival) for rival in rivals):
        return False
    return None if rivals else True


def _has_begun(run: "Run") -> bool:
    """Whether the claimant has decided: a run in training has parameters. One without a claim decides at its end."""
    return run.info.status == "FINISHED" or bool(run.data.params and run.data.tags.get(CLAIM) != NONE)


def rivals(client: "Client", experiment: str, signature: str, own: str | None = None) -> list["Run"]:
    """The runs of a cell that are finished, with their tables, or open, but for those of dead processes."""
    return [run for run in client.tagged(experiment, "signature", signature, own) if _counts(client, run)]


def _counts(client: "Client", run: "Run") -> bool:
    """As `Store.finished_cell` and `Store.claimed_cells` have it: a run that only one of them saw would never end."""
    if run.data.tags.get("kind") != "cell" or not is_sound(run, client.tracking_uri):
        return False
    if run.info.status == "FINISHED":
        return not lost_file(client, run.info.run_id, run.info.artifact_uri)
    return run.info.status == "RUNNING" and is_claim(run) and not is_dead(run.data.tags)


def is_claim(run: "Run") -> bool:
    """Whether an open run has a heartbeat; older versions gave none, and their runs hold up nobody."""
    return HEARTBEAT in run.data.tags


def acquire(client: "Client", experiment: str, signature: str, own: str) -> bool:
    """Whether the cell is this run's to train, or to finish; the run is in the store already."""
    deadline = time.monotonic() + DECIDING_SECONDS
    while True:
        verdict = may_train(own, rivals(client, experiment, signature, own))
        if verdict is not None or time.monotonic() > deadline:
            return bool(verdict)
        time.sleep(LOOK_SECONDS)


def _acquire_late(client: "Client", run_id: str) -> bool:
    """The same for a run that was trained while the store was away, or did not take its end and called it FAILED."""
    run = client.get_run(run_id)
    if run.info.status != "RUNNING":
        client.update_run(run_id, "RUNNING")  # before the look
    return acquire(client, run.info.experiment_id, run.data.tags["signature"], run_id)


def finish(client: "Client", state: dict[str, Any], status: str, end: int, training: bool) -> None:
    """End the run of a journal with this state; a cell that has another run by now ends KILLED, and state `taken`.

    training: the process that ends the run has trained it. If its claim is young then, nobody has closed the run.

    FINISHED is written before the look for `closed_by` and for other runs; a process that takes over writes
    `closed_by`, and its own run, before it looks for others. So at least one of the two gives way.
    """
    run_id = state["run_id"]
    if status != "FINISHED" or CLAIM not in state:
        client.set_terminated(run_id, status, end)
        return
    lost = state[CLAIM] != HELD or PROVISIONAL in state
    taken = lost and not _acquire_late(client, run_id)
    if not taken:
        client.set_terminated(run_id, status, end)
        young = training and clock() - state["claimed"] < LEASE_SECONDS / 2
        taken = not young and taken_over(client, state, "FINISHED")
        if not (young or taken):
            _restore_outcome(client, state)
    if taken:
        state["taken"] = True
        client.set_tag(run_id, OUTCOME, "superseded")
        client.set_terminated(run_id, "KILLED", end)


def taken_over(client: "Client", state: Mapping[str, Any], status: str) -> bool:
    """Whether another process has closed the run and its cell has another run; else it has its own outcome again.

    state: of the run's journal. A run without a claim (a sweep, or under rerun=all) gives way to nobody.
    """
    run_id = state["run_id"]
    run = client.get_run(run_id)
    if CLOSED_BY not in run.data.tags:
        return False
    client.update_run(run_id, status)  # before the look, as in a claim
    if CLAIM in state and rivals(client, run.info.experiment_id, run.data.tags["signature"], run_id):
        return True
    _restore_outcome(client, state)
    client.delete_tag(run_id, CLOSED_BY)
    return False


def _restore_outcome(client: "Client", state: Mapping[str, Any]) -> None:
    """Whoever closed the run has called it killed, perhaps after its own outcome was sent."""
    run_id = state["run_id"]
    if client.get_run(run_id).data.tags.get(OUTCOME) != KILLED:
        return
    if OUTCOME in state:
        client.set_tag(run_id, OUTCOME, state[OUTCOME])
    else:
        client.delete_tag(run_id, OUTCOME)


class Heartbeat:
    """While the context is open, a thread sets the run's heartbeat every BEAT_SECONDS.

    A thread, as an epoch or a call of BLAS may take minutes. It dies with the process, and stops with it (SIGSTOP).
    state: of the run's journal; its `run_id` is None while the store has not created the run.
    """

    def __init__(self, client: "Client", state: Mapping[str, Any]) -> None:
        self._client, self._state = client, state
        self._closing, self._lock, self._taken = threading.Event(), threading.Lock(), False

    def __enter__(self) -> "Heartbeat":
        threading.Thread(target=self._run, name="heartbeat", daemon=True).start()
        return self

    def __exit__(self, *unused: object) -> None:
        with self._lock:  # a run that ends must not be opened again
            self._closing.set()

    def check(self) -> None:
        """Raises TakenError if another process has taken over the run's cell."""
        if self._taken:
            raise TakenError("another process trains this cell since this one did not answer")

    def _run(self) -> None:
        while not self._taken and not self._closing.wait(BEAT_SECONDS):
            with suppress(Exception):  # whatever a store that is away raises: the next beat tries again
                self._beat()

    def _beat(self) -> None:
        if not (run_id := self._state["run_id"]):
            return
        self._client.set_tag(run_id, HEARTBEAT, heartbeat())
        if CLOSED_BY not in self._client.get_run(run_id).data.tags:
            return
        with self._lock:
            if not self._closing.is_set():
                self._taken = taken_over(self._client, self._state, "RUNNING")
                if self._taken:  # at once, as it may take a while until the training thread asks
                    self._client.set_terminated(run_id, "KILLED")


def clock() -> float:
    """Seconds of a clock that goes on while the process is stopped or the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.time()


def heartbeat() -> str:
    """The value of the tag now."""
    return str(time.time_ns() // 1_000_000)


class LeaseWatch:
    """How long the processes of runs have given no sign of life, by the clock of the process that watches.

    Time in which nobody looked does not count: the watching process was stopped, or the store was away from it.
    """

    def __init__(self, longest_gap: float) -> None:
        self._longest_gap, self._looked = longest_gap, float("-inf")
        self._silent: dict[str, tuple[str, float]] = {}  # run id -> its heartbeat, and for how long it is the same

    def lapsed(self, runs: Sequence["Run"], now: float) -> list["Run"]:
        """Of open runs, seen `now` (seconds of any clock), those whose lease has ended."""
        gap, self._looked = min(now - self._looked, self._longest_gap), now
        beats = {run.info.run_id: run.data.tags.get(HEARTBEAT, "") for run in runs}
        for run_id, beat in beats.items():
            before, silent = self._silent.get(run_id, ("", 0.0))
            self._silent[run_id] = beat, silent + gap if beat == before else 0.0
        return [run for run in runs if self._silent[run.info.run_id][1] > LEASE_SECONDS]


def is_abandoned(tags: Mapping[str, str]) -> bool:
    """Whether a process that cannot be looked up from here has given no sign of life for ABANDONED_SECONDS."""
    if is_of_this_machine(tags):
        return False
    with suppress(KeyError, ValueError):
        return time.time() - int(tags[HEARTBEAT]) / 1000 > ABANDONED_SECONDS
    return False


def try_to_delete(client: "Client", run_id: str) -> bool:
    """Delete a run in which nothing was trained, so that no table shows it; False: the store is away."""
    with suppress(Exception), unreachable_errors():
        client.delete_run(run_id)
        return True
    return False
