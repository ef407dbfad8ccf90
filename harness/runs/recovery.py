"""What to do when something dies: workers, whole processes, the store.

Three moments: while a sweep is launched (a worker that dies takes others with it), when it has ended (what runs had to
say must reach the store), and at the next start (a process that was killed could not close its runs).
"""

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from harness.runs.grid import GridCell
from harness.runs.parent import close_sweep
from harness.store import OUTAGE_SECONDS, Interrupted, Store, UnreachableError

if TYPE_CHECKING:
    from mlflow.entities import Run

Say = Callable[[str], None]

ATTEMPTS = 3  # to launch cells none of which has begun, before the launcher itself is taken to be broken
DYING_SECONDS = 5.0  # that workers may take to end after the interrupt that ended the sweep


def train_all(
    cells: Sequence[GridCell], store: Store, sweep: str, launch: Callable[[Sequence[GridCell]], None]
) -> None:
    """Launch the cells; when a worker is killed, and its launcher gives up on all of them, launch what is left.

    Which of the cells that were being trained killed its worker is not known: each gets a second try, after the others
    and alone, so that a cell that always kills its worker costs none but itself. Raises what a launcher that cannot
    begin any cell raises.
    """
    left, suspects, in_vain = list(cells), [], 0
    while left and (broken := _launch(left, launch)):
        status = _status(store, sweep)
        suspects += [cell for cell in left if status.get(cell.signature) == "KILLED"]
        not_begun = [cell for cell in left if cell.signature not in status]
        in_vain = in_vain + 1 if len(not_begun) == len(left) else 0
        if in_vain == ATTEMPTS:
            raise broken
        left = not_begun
    for cell in suspects:
        _launch([cell], launch)


def _launch(cells: Sequence[GridCell], launch: Callable[[Sequence[GridCell]], None]) -> BaseException | None:
    """What the launcher died of, if it did."""
    try:
        launch(cells)
    except Interrupted:
        raise
    except (Exception, SystemExit) as broken:
        return broken
    return None


def _status(store: Store, sweep: str) -> dict[str, str]:
    """Signature -> status of the cells that have begun, when those whose workers died are closed."""
    _wait_for_the_dying(store, sweep)
    store.deliver_waiting()
    _close_dead_cells(store)
    return {run.data.tags["signature"]: run.info.status for run in store.cells(sweep)}


def _wait_for_the_dying(store: Store, sweep: str) -> None:
    """Workers that were told to end need a moment for it."""
    deadline = time.monotonic() + DYING_SECONDS
    while time.monotonic() < deadline and any(not store.has_ended(run) for run in store.cells(sweep)):
        time.sleep(0.2)


def drain(store: Store, say: Say, sweep: str | None = None, killed: bool = False) -> bool:
    """After training: tell the store what still waits, and close runs that nobody runs. False: the store is away.

    sweep: whose launcher has returned, so none of its cells is run by anybody - unless the sweep was `killed`, when
    its jobs on other machines may go on.
    """
    try:
        if sweep and killed:
            _wait_for_the_dying(store, sweep)
        if not _deliver(store, say):
            return False
        _close_dead_cells(store)
        for run in store.cells(sweep) if sweep and not killed else []:
            if run.info.status == "RUNNING" and run.data.tags.get("sweep") == sweep:
                store.mark_killed(run)
    except (UnreachableError, OSError) as away:  # OSError: the disk is full
        say(f"{store.uri} does not answer ({away}). Runs that may still be open there are closed at the next start.")
        return False
    return True


def recover(store: Store, say: Say) -> bool:
    """At a start: deliver what waits, close runs whose process is dead, answer their sweeps. False: some waits on."""
    delivered = _deliver(store, say, patience=0.0)
    dead = store.orphaned_runs()
    if dead:
        say(f"runs that a killed process left open, closed now: {len(dead)}")
    _close_dead_cells(store)
    for run in dead:
        if _is_sweep(run):
            close_sweep(store, run.info.run_id, killed=True)
    return delivered


def _close_dead_cells(store: Store) -> None:
    """Not their sweeps: those stay open until a start has answered them, however often that is interrupted."""
    for run in store.orphaned_runs():
        if not _is_sweep(run):
            store.mark_killed(run)


def _is_sweep(run: "Run") -> bool:
    return run.data.tags.get("kind") == "sweep"


def _deliver(store: Store, say: Say, patience: float = OUTAGE_SECONDS) -> bool:
    delivered = store.deliver_waiting(patience)
    for reason in delivered.refused:
        say(f"{store.uri} refused a part of what waited: {reason}")
    if delivered.n_waiting:
        say(
            f"{store.uri} does not answer ({delivered.reason}): {delivered.n_waiting} runs wait in {store.undelivered}."
            " `python -m harness deliver`, or the next start, sends them once it does."
        )
    return not delivered.n_waiting
