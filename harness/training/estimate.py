"""How long a cell will take: counts of what its training does, times what that takes on stacks of its own.

The cell itself, and its randomness, are left as they are.
"""

from collections.abc import Callable
from copy import copy
from time import perf_counter
from typing import NamedTuple

import numpy as np

from harness.network import gather
from harness.training.cell import Cell, Plan
from harness.training.checkpoints import CHECKPOINTS_PER_DECADE, next_geometric
from harness.training.clock import pinned_blas
from harness.training.diagnostics import OBSERVERS, Observer
from harness.training.order import Passes
from harness.training.stack import Stack

# Recording, measured with an SQLite store on the local disk; with a server it takes three times as long.
CELL_SECONDS = 0.07  # start and end of a run, its points and files; in a small sweep figures take twice as long again


class Work(NamedTuple):
    """How often a cell does what takes time; batch costs and observations are those of replica 0."""

    updates: int
    checkpoints: int
    batch_costs: int
    observations: int


class Rates(NamedTuple):
    """What each takes, in wall seconds of one stack."""

    update: float
    checkpoint: float
    batch_cost: float
    observation: float


def estimate_seconds(cell: Cell, patience: float) -> float:
    """Wall seconds that training and recording the cell will take when nothing else runs.

    An upper estimate: replicas may diverge or reach their target before the budget is spent, which is not predicted.
    patience: wall seconds that the estimate itself may take, exceeded when single updates or evaluations take longer.
    Not included: loading libraries and data, and the first moments of a process.
    """
    seconds, _ = training_seconds(cell, patience)
    return seconds + CELL_SECONDS


def training_seconds(cell: Cell, patience: float) -> tuple[float, Work]:
    """The part of it that iterating over `cell.train()` takes, and how often training does what takes time.

    (updates × their rate + checkpoints × their rate) over all stacks, + batch costs and observations of replica 0.
    Updates have a rate for each batch size; all else has that of the first.
    """
    rates = [_replica_rates(cell, plan, patience / len(cell.plan.passes.phases)) for plan in cell.plan.constant_sizes()]
    first, others = rates[0]
    affordable = np.inf if cell.budget.seconds is None else max(1.0, cell.budget.seconds / first.update)
    n_updates = int(min(affordable, cell.budget.updates or np.inf))
    work = count_work(n_updates, cell.plan.passes, OBSERVERS.get(cell.config.diagnostics))
    shares = zip(cell.plan.passes.by_phase(n_updates), rates, strict=True)
    training = sum(n * (alone.update + together.update) for n, (alone, together) in shares)
    seconds = work.checkpoints * (first.checkpoint + others.checkpoint) + work.batch_costs * first.batch_cost
    return training + seconds + work.observations * first.observation, work


def _replica_rates(cell: Cell, plan: Plan, patience: float) -> tuple[Rates, Rates]:
    """Of replica 0, and of all other replicas together, at a plan of one batch size.

    Their stacks have one width, but for the last: one is timed for all, by the replica.
    """
    part = copy(cell)
    part.plan = plan
    stacks = part.stacks()
    timed, second = next(stacks), next(stacks, None)
    with pinned_blas(cell.config.blas_threads):
        first = _rates(timed, patience / 2)
        others = _rates(second, patience / 2) if second else first
    n_others = (len(cell.config.replicas) - 1) / len(second.replicas) if second else 0.0
    return first, Rates(*(n_others * seconds for seconds in others))


def count_work(n_updates: int, passes: Passes, observer: Observer | type[Observer] | None) -> Work:
    """What so many updates of `loop.train` come with, without a loop over the updates.

    Checkpoints: update 0, the geometric ones, the end of every epoch, the last update.
    """
    geometric = _grid(n_updates, CHECKPOINTS_PER_DECADE) | {n_updates}
    within_epochs = sum(passes.updates(passes.epochs_done(update)) != update for update in geometric)
    return Work(
        updates=n_updates,
        checkpoints=1 + within_epochs + passes.epochs_done(n_updates),
        batch_costs=1 + len(_grid(n_updates - 1, (observer or Observer).batch_costs_per_decade)),
        observations=len(_grid(n_updates, observer.per_decade)) if observer else 0,
    )


def _grid(largest: int, per_decade: int) -> set[int]:
    """The geometric updates up to `largest`."""
    found, update = set(), next_geometric(0, per_decade)
    while update <= largest:
        found.add(update)
        update = next_geometric(update, per_decade)
    return found


def _rates(stack: Stack, patience: float) -> Rates:
    """Times what happens off the clock, then trains the stack for about half of `patience`."""
    stack.warm_up()
    engine, network, observer = stack.engine, stack.network, stack.observer
    X, Y = (gather(V, slice(0, stack.batches.batch_size)) for V in engine.train_set)

    engine.evaluate(network, X, Y)  # compiled now, if it was not

    def evaluate() -> None:
        for examples in (engine.train_set, stack.validation_set):
            engine.evaluate(network, *examples)

    def observe() -> None:
        if observer:
            observer.before_update(network, X, Y, engine.train_set)
            observer.after_update(network)

    with np.errstate(all="ignore"):  # as in training
        works = (evaluate, lambda: network.costs(X, Y), observe)
        checkpoint, batch_cost, observation = (_seconds(work, patience / 12) for work in works)
    stack.observer = None
    start = perf_counter()
    while not stack.update or perf_counter() - start < patience / 4:  # the next round is as long as all before it
        stack.advance(max(1, 2 * stack.update))
    return Rates(stack.clock.seconds / stack.update, checkpoint, batch_cost, observation)


def _seconds(work: Callable[[], object], patience: float) -> float:
    """Wall seconds of a call: the quicker of two, because the first touches code and memory; of one that is long."""
    seconds = []
    for _ in range(2):
        start = perf_counter()
        work()
        seconds.append(perf_counter() - start)
        if seconds[0] > patience:
            break
    return min(seconds)
