"""The training loop: stacks of replicas move from checkpoint to checkpoint, and a record is yielded at each.

Replica 0 trains alone and on the clock, the others follow in stacks off the clock, so that stacking cannot flatter
small batches. The clock covers shuffling, gathering and updating; it is stopped before anything is measured. How a
replica ended is a value: completed, reached (the target) or diverged.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from harness.network import MLP, Memory, Optimizer, Parameters, evaluate, inplace_reduce
from harness.training.clock import Clock
from harness.training.diagnostics import Diagnostics, Observer
from harness.training.fingerprint import Fingerprint, fingerprint
from harness.training.order import Batch, Batches, Gatherer

Array = NDArray[np.floating]
Set = tuple[Array, Array]  # X and Y: (N, D) and (N, K) shared by a stack, or one of each per replica: (R, N, ...)
GradientInto = Callable[[MLP, Parameters, Array, Array], None]


class Runner(Protocol):
    """What works on whole sets in one call.

    run: makes all updates that come of cutting `examples`, as they follow, into batches; returns how many.
    evaluate: see `evaluation.evaluate`.
    """

    def run(
        self, network: MLP, grads: Parameters, optimizer: Optimizer, train_set: Set, examples: Batch, batch_size: int,
        reduction: str,
    ) -> int: ...  # fmt: skip

    def evaluate(self, network: MLP, X: Array, Y: Array) -> tuple[Array, Array]: ...


CHECKPOINTS_PER_DECADE = 10
DIVERGED_AT = 10  # times the initial cost ...
SUSTAINED = 2  # ... at so many checkpoints in a row; a target counts as reached likewise


class Outcome(StrEnum):
    """How a replica or a cell ended. Training itself knows the first three; the others are a cell's only."""

    COMPLETED = "completed"
    REACHED = "reached"
    DIVERGED = "diverged"
    FAILED = "failed"
    KILLED = "killed"


def inplace_update(
    network: MLP,
    grads: Parameters,
    X: Array,
    Y: Array,
    reduction: str,
    optimizer: Optimizer,
    gradient_into: GradientInto = MLP.gradient_into,
) -> None:
    """One update: the batch's summed gradient, reduced by its true size, moves the parameters."""
    gradient_into(network, grads, X, Y)
    inplace_reduce(grads.flat, reduction, n_examples=X.shape[-2])
    optimizer.inplace_step(network.params.flat, grads.flat)


def next_geometric(update: int, per_decade: int) -> int:
    """The smallest integer above `update` of the grid round(10^(k/per_decade)): the same grid for every batch size."""
    k = math.floor(per_decade * math.log10(update)) if update else 0
    while round(10 ** (k / per_decade)) <= update:
        k += 1
    return round(10 ** (k / per_decade))


def is_geometric(update: int, per_decade: int) -> bool:
    """Whether the update lies on the geometric grid."""
    return update > 0 and next_geometric(update - 1, per_decade) == update


def next_checkpoint(update: int, updates_per_epoch: int) -> int:
    """The next geometric update or end of an epoch, whichever comes first."""
    return min(next_geometric(update, CHECKPOINTS_PER_DECADE), (update // updates_per_epoch + 1) * updates_per_epoch)


@dataclass(frozen=True)
class Budget:
    """Training ends with the first that is spent; at least one is given. Seconds are train seconds of replica 0.

    looks: updates that are checkpoints besides those of the rule, to repeat a training that spent a budget of seconds.
    """

    updates: int | None = None
    seconds: float | None = None
    looks: tuple[int, ...] = ()


@dataclass(frozen=True)
class Target:
    """The cost to reach on the named set ('train' or 'validation')."""

    cost: float
    on: str = "train"


@dataclass
class Record:
    """One checkpoint. The arrays have one entry per replica that was still training: its number, costs and score.

    train_seconds is replica 0's clock; once that replica has ended, it is extrapolated at its last rate.
    batch_costs: (update, replica, mean cost of the batch before that update) since the last record.
    diagnostics: of replica 0's last update before the checkpoint, if an observer was due there.
    fingerprints: of every replica at update 0 and at geometric updates, elsewhere of those that ended.
    """

    update: int
    train_seconds: float
    replica: NDArray[np.intp]
    train_cost: Array
    validation_cost: Array
    validation_score: Array
    outcome: list[Outcome | None]
    batch_costs: list[tuple[int, int, float]] = field(default_factory=list)
    diagnostics: Diagnostics | None = None
    fingerprints: list[Fingerprint] = field(default_factory=list)


class Stack:
    """Replicas that are trained together: their network, optimiser, data and order of batches.

    gradient_into: computes the gradient of each update; or a runner makes many updates at a time: those up to the next
    one whose batch is looked at.
    observer: diagnoses the last update before its geometric checkpoints; for a stack of one replica.
    gathered: where the rows of batches go; stacks that take turns may share it.
    """

    def __init__(
        self,
        replicas: Sequence[int],
        network: MLP,
        optimizer: Optimizer,
        train_set: Set,
        validation_set: Set,
        batches: Batches,
        reduction: str,
        gradient_into: GradientInto = MLP.gradient_into,
        record_batch_costs: bool = True,
        observer: Observer | None = None,
        runner: Runner | None = None,
        gathered: Memory | None = None,
    ) -> None:
        self.replicas = np.asarray(replicas)
        self.network, self.optimizer, self.batches = network, optimizer, batches
        self.train_set, self.validation_set = train_set, validation_set
        self.reduction, self.gradient_into = reduction, gradient_into
        self.observer, self.runner = observer, runner
        self.evaluate = runner.evaluate if runner else evaluate
        self.diagnostics: Diagnostics | None = None  # of the update that the last `advance` ended with
        self.clock = Clock()
        self.update = 0
        self.final: dict[int, Array] = {}  # replica -> its parameters (P,) when it ended
        self._batch_costs_per_decade = (observer or Observer).batch_costs_per_decade
        self._next_batch_cost: int | None = 0 if record_batch_costs else None
        self._allocate(gathered)

    def _allocate(self, gathered: Memory | None) -> None:
        self.grads = Parameters(self.network.params.sizes, np.empty_like(self.network.params.flat))
        self.gather = Gatherer(*self.train_set, n_stack=len(self.replicas), memory=gathered)

    def warm_up(self, batch_size: int) -> None:
        """Touch the code and the memory of one update without moving anything."""
        X, Y = self.gather(slice(0, batch_size))
        with np.errstate(all="ignore"):  # as in `advance`
            self.gradient_into(self.network, self.grads, X, Y)
            if self.runner:
                self._make_updates(slice(0, 0), X, Y)

    def advance(self, to_update: int) -> list[tuple[int, int, float]]:
        """Train until `to_update` updates are done; returns the batch costs recorded on the way, off the clock."""
        batch_costs = []
        observer = self._due(to_update)
        with np.errstate(all="ignore"):  # divergence is a result, judged at the next checkpoint
            self.clock.start()
            while self.update < to_update:
                examples = self._next_examples(to_update, observer)
                X, Y = self.gather(examples if self.runner is None else _first(examples, self.batches.batch_size))
                if self.update == self._next_batch_cost:
                    self.clock.stop()
                    batch_costs += self._batch_costs(X, Y)
                    self.clock.start()
                if observer and self.update == to_update - 1:
                    self.clock.stop()
                    observer.look(self.network, X, Y, self.train_set)
                    self.clock.start()
                self.update += self._make_updates(examples, X, Y)
            self.clock.stop()
            self.diagnostics = observer.report(self.network) if observer else None
        return batch_costs

    def _due(self, checkpoint: int) -> Observer | None:
        """The observer, if the checkpoint lies on its grid."""
        due = self.observer is not None and is_geometric(checkpoint, self.observer.per_decade)
        return self.observer if due else None

    def _next_examples(self, to_update: int, observer: Observer | None) -> Batch:
        """The next batch; for a runner those after it too, up to the one that is looked at next."""
        if self.runner is None:
            return next(self.batches)
        until = to_update - 1 if observer and self.update < to_update - 1 else to_update
        due = self._next_batch_cost
        if due is not None:
            due = due if due > self.update else next_geometric(self.update, self._batch_costs_per_decade)
            until = min(until, due)
        return self.batches.take(until - self.update)

    def _make_updates(self, examples: Batch, X: Array, Y: Array) -> int:
        """One update from X and Y, or all that a runner makes of the examples; returns how many."""
        if self.runner is None:
            inplace_update(self.network, self.grads, X, Y, self.reduction, self.optimizer, self.gradient_into)
            return 1
        batch_size = self.batches.batch_size
        return self.runner.run(
            self.network, self.grads, self.optimizer, self.train_set, examples, batch_size, self.reduction
        )

    def _batch_costs(self, X: Array, Y: Array) -> list[tuple[int, int, float]]:
        self._next_batch_cost = next_geometric(self.update, self._batch_costs_per_decade)
        costs = self.network.costs(X, Y).mean(axis=-1)
        return [(self.update, int(r), float(c)) for r, c in zip(self.replicas, costs, strict=True)]

    def retire(self, ended: NDArray[np.bool_]) -> None:
        """Take the marked replicas out, keeping the parameters that they ended with; the others go on as they are."""
        flat = self.network.params.flat
        self.final |= {int(r): flat[i].copy() for i, r in enumerate(self.replicas) if ended[i]}
        kept = np.flatnonzero(~ended)
        self.replicas = self.replicas[kept]
        old = self.network
        self.network = MLP(old.params.select(kept), old.activation_name, old.loss_name, old.memory)
        self.optimizer.select(kept)
        self.batches.select(kept)
        self.train_set, self.validation_set = _own(self.train_set, kept), _own(self.validation_set, kept)
        self._allocate(self.gather.memory)


def _first(examples: Batch, batch_size: int) -> Batch:
    """The first batch of many."""
    if isinstance(examples, slice):
        return slice(examples.start, min(examples.start + batch_size, examples.stop))
    return examples[:, :batch_size]


def _own(examples: Set, kept: NDArray[np.intp]) -> Set:
    """The sets of the replicas `kept`, if each has its own."""
    X, Y = examples
    return (X[kept], Y[kept]) if X.ndim == 3 else examples


class Judge:
    """Decides at each checkpoint which of the replicas 0 .. n − 1 have diverged or reached the target."""

    def __init__(self, n_replicas: int, target: Target | None) -> None:
        self.target = target
        self.initial = np.full(n_replicas, np.inf)
        self.over = np.zeros(n_replicas, dtype=int)
        self.under = np.zeros(n_replicas, dtype=int)

    def __call__(self, replica: NDArray[np.intp], train_cost: Array, validation_cost: Array) -> list[Outcome | None]:
        """Diverged: a cost that is not finite, or train cost > 10 × initial at two checkpoints in a row."""
        first = np.isinf(self.initial[replica])
        self.initial[replica] = np.where(first, train_cost, self.initial[replica])
        over = train_cost > DIVERGED_AT * self.initial[replica]
        self.over[replica] = np.where(over, self.over[replica] + 1, 0)
        diverged = ~np.isfinite(train_cost + validation_cost) | (self.over[replica] >= SUSTAINED)
        reached = self._reached(replica, train_cost, validation_cost)
        return [
            Outcome.DIVERGED if d else Outcome.REACHED if r else None for d, r in zip(diverged, reached, strict=True)
        ]

    def _reached(self, replica: NDArray[np.intp], train_cost: Array, validation_cost: Array) -> NDArray[np.bool_]:
        if self.target is None:
            return np.zeros(len(replica), dtype=bool)
        cost = train_cost if self.target.on == "train" else validation_cost
        self.under[replica] = np.where(cost <= self.target.cost, self.under[replica] + 1, 0)
        return self.under[replica] >= SUSTAINED


class Pace:
    """Replica 0's train seconds as a function of the update, extrapolated at its last rate after it has ended."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.update, self.seconds = 0, 0.0

    def read(self, update: int, running: bool) -> float:
        if running:
            self.update, self.seconds = update, self.clock.seconds
        return self.seconds * (update / self.update) if self.update else 0.0

    def stopped_before_it_began(self, running: bool) -> bool:
        """Without a single update of replica 0 there is no rate to spend a budget of seconds at."""
        return not running and not self.update

    def affordable(self, update: int, budget: float) -> int:
        """The update at which the budget of seconds will be spent, at the rate so far; at least the next one."""
        if not self.update:
            return update + 1
        seconds_per_update = self.seconds / self.update
        return max(update + 1, int(budget / seconds_per_update))


def train(
    stacks: list[Stack],
    updates_per_epoch: int,
    budget: Budget,
    target: Target | None = None,
) -> Iterator[Record]:
    """Train until the budget is spent or every replica has ended; yields a record at update 0 and each checkpoint.

    stacks: the first holds replica 0 alone, whose clock counts.
    A consumer sees the outcome of a replica in the record at which it ended; the last record closes the others.
    """
    judge = Judge(sum(len(stack.replicas) for stack in stacks), target)
    timed = stacks[0]
    pace = Pace(timed.clock)
    update, live = 0, stacks
    while True:
        batch_costs = [cost for stack in live for cost in stack.advance(update)]
        running = timed in live
        seconds = pace.read(update, running and update > 0)
        spent = _spent(budget, update, seconds, pace.stopped_before_it_began(running))
        record = _measure(live, update, seconds, judge, spent)
        record.batch_costs = batch_costs
        record.diagnostics = timed.diagnostics if running else None
        yield record
        live = _retire_ended(live, record)
        if not live:
            return
        update = _next_update(update, updates_per_epoch, budget, pace)


def _spent(budget: Budget, update: int, seconds: float, no_rate: bool) -> bool:
    """no_rate: how long an update takes will never be known, so a budget of seconds cannot go on."""
    updates_spent = budget.updates is not None and update >= budget.updates
    return updates_spent or (budget.seconds is not None and (no_rate or seconds >= budget.seconds))


def _next_update(update: int, updates_per_epoch: int, budget: Budget, pace: Pace) -> int:
    candidates = [next_checkpoint(update, updates_per_epoch), *(look for look in budget.looks if look > update)]
    if budget.updates is not None:
        candidates.append(budget.updates)
    if budget.seconds is not None:
        candidates.append(pace.affordable(update, budget.seconds))
    return min(candidates)


def _measure(stacks: list[Stack], update: int, seconds: float, judge: Judge, spent: bool) -> Record:
    """Evaluate every stack and ask the judge; when the budget is spent, whoever still trains has completed."""
    replica = np.concatenate([stack.replicas for stack in stacks])
    on_train = [stack.evaluate(stack.network, *stack.train_set) for stack in stacks]
    on_validation = [stack.evaluate(stack.network, *stack.validation_set) for stack in stacks]
    train_cost = np.concatenate([cost for cost, _ in on_train])
    validation_cost = np.concatenate([cost for cost, _ in on_validation])
    outcome = judge(replica, train_cost, validation_cost)
    if spent:
        outcome = [o or Outcome.COMPLETED for o in outcome]
    score = np.concatenate([score for _, score in on_validation])
    record = Record(update, seconds, replica, train_cost, validation_cost, score, outcome)
    record.fingerprints = _fingerprints(stacks, update, outcome)
    return record


def _fingerprints(stacks: list[Stack], update: int, outcome: list[Outcome | None]) -> list[Fingerprint]:
    """Of every replica at update 0 and on the geometric grid, which no batch size changes; then of those that ended."""
    due = update == 0 or is_geometric(update, CHECKPOINTS_PER_DECADE)
    rows = ((int(r), row) for stack in stacks for r, row in zip(stack.replicas, stack.network.params.flat, strict=True))
    return [fingerprint(r, row) for (r, row), ended in zip(rows, outcome, strict=True) if due or ended]


def _retire_ended(stacks: list[Stack], record: Record) -> list[Stack]:
    """Take out the replicas that ended in this record; returns the stacks in which somebody still trains."""
    ended = {int(r) for r, outcome in zip(record.replica, record.outcome, strict=True) if outcome}
    for stack in stacks:
        mark = np.array([int(r) in ended for r in stack.replicas])
        if mark.any():
            stack.retire(mark)
    return [stack for stack in stacks if len(stack.replicas)]
