"""The training loop: stacks of replicas move from checkpoint to checkpoint, and a record is yielded at each.

Replica 0 trains alone and on the clock, the others follow in stacks off the clock, so that stacking cannot flatter
small batches. The clock covers shuffling, gathering and updating; it is stopped before anything is measured.
"""

import hashlib
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from harness.network import Array, Indices, Set
from harness.training.checkpoints import Outcome, StoppingRule, Target, is_geometric, next_checkpoint
from harness.training.diagnostics import Diagnostics
from harness.training.order import Passes
from harness.training.stack import BatchCost, Stack


@dataclass(frozen=True)
class Budget:
    """Training ends with the first that is spent; at least one is given. Seconds are train seconds of replica 0."""

    updates: int | None = None
    seconds: float | None = None
    extra_checkpoints: tuple[int, ...] = ()  # further updates to measure at, to repeat a budget in seconds


class Fingerprint(NamedTuple):
    """A replica's parameters at one update; norm: ‖θ‖₂, inf when the sum of the squares overflows."""

    replica: int
    digest: str
    norm: float


@dataclass
class Record:
    """One checkpoint. The arrays have one entry per replica that was still training: its number, costs and score."""

    update: int
    train_seconds: float  # replica 0's clock, extrapolated at its last rate once that replica has ended
    replica: Indices
    train_cost: Array
    validation_cost: Array
    validation_score: Array
    outcome: list[Outcome | None]
    batch_costs: list[BatchCost] = field(default_factory=list)  # since the last record
    diagnostics: Diagnostics | None = None  # of replica 0's last update before the checkpoint, if one was due
    fingerprints: list[Fingerprint] = field(default_factory=list)  # of all replicas at geometric updates, or that ended


def train(stacks: list[Stack], budget: Budget, target: Target | None = None) -> Iterator[Record]:
    """Train until the budget is spent or every replica has ended; yields a record at update 0 and each checkpoint.

    stacks: the first is one replica, whose clock counts. A replica's last record has its outcome.
    """
    stopping_rule = StoppingRule(1 + max(stack.replicas[-1] for stack in stacks), target)
    time, passes = TimeBudget(stacks[0], budget.seconds), stacks[0].batches.passes
    update = 0
    while stacks:
        batch_costs: list[BatchCost] = []
        for stack in stacks:
            batch_costs += stack.advance(update)
        seconds = time.seconds_at(update)
        spent = time.is_spent(seconds) or update >= (budget.updates or sys.maxsize)
        record = _measured(stacks, update, seconds, stopping_rule, spent)
        record.batch_costs = batch_costs
        yield record
        ended = record.replica[[bool(outcome) for outcome in record.outcome]]
        for stack in stacks:
            stack.retire(ended)
        stacks = [stack for stack in stacks if len(stack.replicas)]
        update = _next_update(update, passes, budget, time)


class TimeBudget:
    """Train seconds of replica 0, extrapolated at its last rate once that replica has ended; and their limit."""

    def __init__(self, timed: Stack, limit: float | None) -> None:
        self.timed, self.limit = timed, limit
        self.update, self.seconds = 0, 0.0  # as far as replica 0 has come

    def seconds_at(self, update: int) -> float:
        if len(self.timed.replicas):
            self.update, self.seconds = update, self.timed.clock.seconds
        return self.seconds * (update / self.update) if self.update else 0.0

    def is_spent(self, seconds: float) -> bool:
        """Also when replica 0 has ended without an update: there is no rate at which seconds could be spent."""
        no_rate = not len(self.timed.replicas) and not self.update
        return self.limit is not None and (no_rate or seconds >= self.limit)

    def last_update(self, update: int) -> int:
        """The update at which the limit will be reached, at the rate so far; at least the next one."""
        if self.limit is None:
            return sys.maxsize
        return max(update + 1, int(self.limit / (self.seconds / self.update))) if self.update else update + 1


def _next_update(update: int, passes: Passes, budget: Budget, time: TimeBudget) -> int:
    extra = (extra for extra in budget.extra_checkpoints if extra > update)
    return min(next_checkpoint(update, passes), time.last_update(update), budget.updates or sys.maxsize, *extra)


def _measured(stacks: list[Stack], update: int, seconds: float, stopping_rule: StoppingRule, spent: bool) -> Record:
    """Evaluate every stack, apply the rule; when the budget is spent, replicas that still train have completed."""
    replica = np.concatenate([stack.replicas for stack in stacks])
    train_cost, _ = _evaluated(stacks, [stack.engine.train_set for stack in stacks])
    validation_cost, score = _evaluated(stacks, [stack.validation_set for stack in stacks])
    outcome = stopping_rule(replica, train_cost, validation_cost)
    if spent:
        outcome = [o or Outcome.COMPLETED for o in outcome]
    record = Record(update, seconds, replica, train_cost, validation_cost, score, outcome)
    record.diagnostics = next((stack.diagnostics for stack in stacks if stack.diagnostics), None)
    record.fingerprints = _fingerprints(stacks, update, outcome)
    return record


def _evaluated(stacks: list[Stack], sets: list[Set]) -> tuple[Array, Array]:
    """(cost, score) of all replicas, each stack on its own set."""
    found = [stack.engine.evaluate(stack.network, *own) for stack, own in zip(stacks, sets, strict=True)]
    costs, scores = zip(*found, strict=True)
    return np.concatenate(costs), np.concatenate(scores)


def _fingerprints(stacks: list[Stack], update: int, outcome: list[Outcome | None]) -> list[Fingerprint]:
    """Of every replica at update 0 and on the geometric grid, which no batch size changes; then of those that ended."""
    due = update == 0 or is_geometric(update)
    rows = ((int(r), row) for stack in stacks for r, row in zip(stack.replicas, stack.network.params.flat, strict=True))
    return [fingerprint(r, row) for (r, row), ended in zip(rows, outcome, strict=True) if due or ended]


def fingerprint(replica: int, theta: Array) -> Fingerprint:
    """theta (P,): all weights and biases of the replica."""
    with np.errstate(over="ignore", invalid="ignore"):  # a diverged replica has a fingerprint too
        norm = math.sqrt(np.square(theta, dtype=np.float64).sum())
    return Fingerprint(replica, digest(theta), norm)


def digest(theta: Array) -> str:
    """blake2b, 16 hexadecimal digits, over the name of the dtype and the little-endian bytes of theta (P,).

    One bit of one parameter changes it, the sign of a zero too. NaN counts as one value: its bit pattern may differ
    between a stack and a replica alone.
    """
    plain = np.where(np.isnan(theta), np.array(np.nan, theta.dtype), theta)
    little_endian = np.ascontiguousarray(plain, dtype=plain.dtype.newbyteorder("<"))
    hashed = hashlib.blake2b(plain.dtype.name.encode(), digest_size=8)
    hashed.update(little_endian.data)
    return hashed.hexdigest()
