"""What is done when a worker, a process or the store fails: during the launch, after the sweep, at the next start."""

import time
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

from harness.config import ConfigError
from harness.runs.grid import GridCell
from harness.runs.parent import close_sweep
from harness.store import INTERRUPTS, OUTAGE_SECONDS, Delivery, Interrupted, Store, UnreachableError

if TYPE_CHECKING:
    from mlflow.entities import Run

Say = Callable[[str], None]
Launch = Callable[[Sequence[GridCell]], list[GridCell]]  # returns the cells of which other processes have a run

ATTEMPTS = 3  # launches in a row in which no cell began, after which the launcher counts as broken
ENDING_SECONDS = 5.0  # that workers may take to end after the interrupt that ended the sweep


def train_all(cells: Sequence[GridCell], store: Store, sweep: str, launch: Launch) -> list[GridCell]:
    """Launch the cells; when a killed worker ends the launch of all, launch those that have not begun.

    Which of the cells in training killed its worker is not known: each is tried once more at the end, alone.
    Returns the cells of which other processes have a run. Raises what the launcher raises when it begins no cell.
    """
    left, taken, suspects, fruitless = list(cells), list[GridCell](), [], 0
    while left:
        broken, taken = _launch(left, launch)
        if not broken:
            break
        status = _status(store, sweep)
        suspects += [cell for cell in left if status.get(cell.signature) == "KILLED"]
        not_begun = [cell for cell in left if cell.signature not in status]
        fruitless = fruitless + 1 if len(not_begun) == len(left) else 0
        if fruitless == ATTEMPTS:
            raise broken
        left = not_begun
    for cell in suspects:
        taken += _launch([cell], launch)[1]
    return taken


def _launch(cells: Sequence[GridCell], launch: Launch) -> tuple[BaseException | None, list[GridCell]]:
    """The exception that ended the launch, if one did, and what the launch returned."""
    try:
        return None, launch(cells)
    except (Interrupted, ConfigError):  # the second: what a scheduler refuses once, it refuses again
        raise
    except (Exception, SystemExit) as broken:
        INTERRUPTS.insist()  # Ray makes a plain SystemExit of what a signal raises
        return broken, []


def _status(store: Store, sweep: str) -> dict[str, str]:
    """Signature -> status of the cells that have begun; the runs of killed workers are closed first."""
    _wait_for_workers(store, sweep)
    close_orphaned_cells(store, store.deliver_waiting().refused_runs)
    return {run.data.tags["signature"]: run.info.status for run in store.cells(sweep)}


def _wait_for_workers(store: Store, sweep: str) -> None:
    """Until interrupted workers have ended, for ENDING_SECONDS at most."""
    deadline = time.monotonic() + ENDING_SECONDS
    while time.monotonic() < deadline and any(not store.has_ended(run) for run in store.open_cells(sweep)):
        time.sleep(0.2)


def drain(
    store: Store, say: Say, sweep: str | None = None, killed: bool = False, told: frozenset[str] = frozenset()
) -> frozenset[str] | None:
    """After training: deliver the journals and close the runs whose process has ended.

    Returns the ids of the runs of which the store refuses a part; None if it is away.
    sweep: none of its cells is being trained any more, unless it was `killed`: jobs on other machines may go on.
    told: runs of which a refusal was told already.
    """
    try:
        if sweep and killed:
            _wait_for_workers(store, sweep)
        delivered = _deliver(store, say, told=told)
        if delivered.n_waiting:
            return None
        close_orphaned_cells(store, delivered.refused_runs)
        for run in store.open_cells(sweep) if sweep and not killed else []:
            if run.info.run_id not in delivered.refused_runs and run.data.tags.get("sweep") == sweep:
                store.mark_killed(run)
    except (UnreachableError, OSError) as away:  # OSError: the disk is full
        say(f"{store.uri} does not answer ({away}). Runs that may still be open there are closed at the next start.")
        return None
    return delivered.refused_runs


def recover(store: Store, say: Say) -> Delivery:
    """At a start: deliver the journals, close orphaned runs, answer their sweeps."""
    delivered = _deliver(store, say, patience=0.0)
    if orphaned := store.orphaned_runs():
        say(f"open runs that no process trains any more, closed now: {len(orphaned)}")
    for sweep in close_orphaned_cells(store, delivered.refused_runs):
        close_sweep(store, sweep.info.run_id, killed=True, refused=sweep.info.run_id in delivered.refused_runs)
    return delivered


def close_orphaned_cells(store: Store, refused: Collection[str]) -> list["Run"]:
    """Returns the orphaned sweeps: each stays open until its answer is written, because that may be interrupted too.

    refused: runs whose own end waits in a journal, because the store does not take it.
    """
    orphaned = [run for run in store.orphaned_runs() if run.info.run_id not in refused]
    for run in orphaned:
        if run.data.tags.get("kind") != "sweep":
            store.mark_killed(run)
    return [run for run in orphaned if run.data.tags.get("kind") == "sweep"]


def _deliver(store: Store, say: Say, patience: float = OUTAGE_SECONDS, told: frozenset[str] = frozenset()) -> Delivery:
    delivered = store.deliver_waiting(patience)
    if delivered.unreadable:
        say(f"a journal of a run cannot be read: {_several(delivered.unreadable)}")
    if delivered.refused_runs - told:
        kept = f"kept in {store.undelivered}; `python -m harness deliver` tries again; delete its folder to give it up"
        n = len(delivered.refused_runs)
        runs = f"{n} run{'s' if n > 1 else ''}"
        say(f"{store.uri} refuses a part of {runs}: {_several(delivered.refused)}: {kept}")
    if delivered.n_waiting:
        waiting = f"{delivered.n_waiting} runs wait in {store.undelivered}"
        later = "`python -m harness deliver`, or the next start, sends them once it does."
        say(f"{store.uri} does not answer ({delivered.reason}): {waiting}. {later}")
    return delivered


def _several(sentences: Sequence[str]) -> str:
    """The first one; of several, how many more."""
    return sentences[0] + (f" (and {len(sentences) - 1} more)" if len(sentences) > 1 else "")
