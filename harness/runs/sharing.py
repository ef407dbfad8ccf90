"""Cells that several commands need at the same time: each is trained once, and the others wait for it.

Workers pass over a cell that another process trains. When nothing else is left to train, the command waits for these
cells here. A cell whose owner fails, dies or does not answer for the time of its lease is trained by this command.
"""

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from harness.report import duration
from harness.runs.grid import GridCell
from harness.runs.recovery import Say, close_orphaned_cells
from harness.store import INTERRUPTS, LeaseWatch, Store, UnreachableError, described

if TYPE_CHECKING:
    from mlflow.entities import Run

POLL_SECONDS = 1.0
MOST_NAMED = 3  # cells
Train = Callable[[Sequence[GridCell]], Sequence[GridCell]]
Found = Callable[[str], None]


def train_shared(cells: Sequence[GridCell], store: Store, train: Train, found: Found, say: Say) -> None:
    """Train cells, each once among all commands.

    train: trains cells and returns those of which other processes have a run. found: takes the id of a run that another
    command has finished.
    """
    watch, left, others = LeaseWatch(3 * POLL_SECONDS), list(cells), list[GridCell]()
    while left:
        others += train(left)
        if not others:
            return
        try:
            left, others = _wait(others, store, watch, found, say)
        except (UnreachableError, OSError) as away:
            say(f"{store.uri} does not answer ({away}): no longer waiting for the cells of other commands")
            return


def adopt(cells: Sequence[GridCell], store: Store, sweep: str, say: Say) -> None:
    """Make cells part of the sweep that another command finished while the store was away from this one."""
    lacking = [cell for cell in cells if not cell.run_id and cell.config.rerun != "all"]
    try:
        own = (
            {run.data.tags["signature"] for run in store.cells(sweep) if run.info.status == "FINISHED"}
            if lacking
            else {}
        )
        for cell in lacking:
            if cell.signature not in own:
                _is_finished(cell, store, lambda run_id: store.add_to_sweep(run_id, sweep))
    except (UnreachableError, OSError) as away:
        say(f"{store.uri} does not answer ({away}): cells that other commands finished were not looked for")


def _wait(
    cells: Sequence[GridCell], store: Store, watch: LeaseWatch, found: Found, say: Say
) -> tuple[list[GridCell], list[GridCell]]:
    """Until some of the cells are free, as no living process trains them: these, and those that are still trained."""
    told = False
    while True:
        INTERRUPTS.insist()
        claims = _living_claims(store, {cell.signature for cell in cells}, watch)
        free = [cell for cell in cells if cell.signature not in claims and not _is_finished(cell, store, found)]
        held = [cell for cell in cells if cell.signature in claims]
        if free or not held:
            return free, held
        if not told:
            say(_waiting_for([(cell, claims[cell.signature]) for cell in held]))
            told = True
        cells = held
        time.sleep(POLL_SECONDS)


def _is_finished(cell: GridCell, store: Store, found: Found) -> bool:
    run = store.finished_cell(cell.signature)
    if run:
        found(run.info.run_id)
    return run is not None


def _living_claims(store: Store, signatures: set[str], watch: LeaseWatch) -> "dict[str, Run]":
    """Signature -> the run that trains this cell; runs of dead and of silent processes are closed."""
    claims = {key: run for key, run in store.claimed_cells().items() if key in signatures}
    dead = [run for run in claims.values() if store.has_ended(run)]
    if dead:
        close_orphaned_cells(store, store.deliver_waiting().refused_runs)  # it may have finished the cell
    silent = [run for run in watch.lapsed(list(claims.values()), time.monotonic()) if run not in dead]
    for run in silent:
        store.mark_killed(run)
    gone = {run.info.run_id for run in (*dead, *silent)}
    return {key: run for key, run in claims.items() if run.info.run_id not in gone}


def _waiting_for(held: Sequence[tuple[GridCell, "Run"]]) -> str:
    """Waiting for 2 cells that others train: B=8 by process 4711 on laptop, for 12 s so far; ..."""
    names = [
        f"{cell.label or run.info.run_name} by {described(run.data.tags)}, for "
        f"{duration(max(0.0, time.time() - run.info.start_time / 1000))} so far"
        for cell, run in held
    ]
    more = f"; and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    cells = f"{len(names)} cells" if len(names) > 1 else "a cell"
    return f"waiting for {cells} that another command trains: {'; '.join(names[:MOST_NAMED])}{more}"
