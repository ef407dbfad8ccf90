"""How a replica ends: it completes its budget, reaches the target, or diverges."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
DIVERGED_AT = 10  # times the initial cost ...
SUSTAINED = 2  # ... at so many checkpoints in a row; a target counts as reached likewise


class Outcome(StrEnum):
    """How a replica or a cell ended. Training itself knows the first three; the others are a cell's only."""

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
