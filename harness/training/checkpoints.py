"""Checkpoints: the updates at which training is measured, and the replicas that end there.

They are the ends of epochs and a geometric grid, by which updates to target have one relative resolution at every B.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from harness.network import Array, Indices
from harness.training.order import Passes

CHECKPOINTS_PER_DECADE = 10
DIVERGED_AT = 10  # times the initial cost ...
SUSTAINED = 2  # ... at so many checkpoints in a row; a target counts as reached likewise


def next_geometric(update: int, per_decade: int) -> int:
    """The smallest integer above `update` of the grid round(10^(k/per_decade))."""
    k = math.floor(per_decade * math.log10(update)) if update else 0
    while round(10 ** (k / per_decade)) <= update:
        k += 1
    return round(10 ** (k / per_decade))


def is_geometric(update: int, per_decade: int = CHECKPOINTS_PER_DECADE) -> bool:
    return update > 0 and next_geometric(update - 1, per_decade) == update


def next_checkpoint(update: int, passes: Passes) -> int:
    """The next geometric update or end of an epoch, whichever comes first."""
    return min(next_geometric(update, CHECKPOINTS_PER_DECADE), passes.end_after(update))


class Outcome(StrEnum):
    """How a replica or a cell ended. Replicas have the first three only."""

    COMPLETED = "completed"
    REACHED = "reached"
    DIVERGED = "diverged"
    FAILED = "failed"
    KILLED = "killed"


@dataclass(frozen=True)
class Target:
    """The cost to reach on the named set ('train' or 'validation')."""

    cost: float
    on: str = "train"


class StoppingRule:
    """Decides at each checkpoint which of the replicas 0 .. n − 1 have diverged or reached the target."""

    def __init__(self, n_replicas: int, target: Target | None) -> None:
        self.target = target or Target(-np.inf)
        self.initial = np.full(n_replicas, np.inf)
        self.over, self.under = np.zeros((2, n_replicas), dtype=int)  # checkpoints in a row, up to now

    def __call__(self, replica: Indices, train_cost: Array, validation_cost: Array) -> list[Outcome | None]:
        """Diverged: a cost that is not finite, or train cost > 10 × initial at two checkpoints in a row."""
        initial = self.initial[replica]
        self.initial[replica] = initial = np.where(np.isinf(initial), train_cost, initial)
        diverged = _sustained(self.over, replica, train_cost > DIVERGED_AT * initial)
        diverged |= ~np.isfinite(train_cost + validation_cost)
        cost = train_cost if self.target.on == "train" else validation_cost
        reached = _sustained(self.under, replica, cost <= self.target.cost)
        pairs = zip(diverged, reached, strict=True)
        return [Outcome.DIVERGED if over else Outcome.REACHED if under else None for over, under in pairs]


def _sustained(counts: NDArray[np.int_], replica: Indices, holds: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether it has held SUSTAINED times in a row; counts on."""
    counts[replica] = np.where(holds, counts[replica] + 1, 0)
    return counts[replica] >= SUSTAINED
