"""Replicas that are trained together, update by update, with the clock stopped for everything that is measured."""

from collections.abc import Sequence

import numpy as np

from harness.network import MLP, Array, Engine, Indices, Rows, Set, cut, gather
from harness.training.checkpoints import is_geometric, next_geometric
from harness.training.clock import Clock
from harness.training.diagnostics import Diagnostics, Observer
from harness.training.order import Batches
from harness.training.rates import Rates

BatchCost = tuple[int, int, float]  # update, replica, mean cost of the batch before that update


class Stack:
    """An engine for the networks of some replicas, the order of their batches, and (of one replica) an observer.

    rates: those of the updates, where they change.
    """

    def __init__(
        self, replicas: Sequence[int], engine: Engine, batches: Batches, validation_set: Set,
        observer: Observer | None = None, record_batch_costs: bool = True, rates: Rates | None = None,
    ) -> None:  # fmt: skip
        self.replicas = np.asarray(replicas)
        self.engine, self.batches, self.validation_set = engine, batches, validation_set
        self.observer, self.rates = observer, rates
        self._cost_due = 0 if record_batch_costs else -1  # the next update whose batch's cost is recorded
        self._costs_per_decade = (observer or Observer).batch_costs_per_decade
        self.diagnostics: Diagnostics | None = None  # of the update that the last `advance` ended with
        self.clock = Clock()
        self.update = 0
        self.final: dict[int, Array] = {}  # replica -> its parameters (P,) when it ended

    @property
    def network(self) -> MLP:
        return self.engine.network

    def warm_up(self) -> None:
        """Touch the code and the memory of one update without moving anything."""
        with np.errstate(all="ignore"):  # as in `advance`
            for phase in reversed(self.batches.passes.phases):  # the first size last: it is used next
                self.engine.warm_up(phase.batch_size)

    def advance(self, to_update: int) -> list[BatchCost]:
        """Train until `to_update` updates are done; returns the batch costs recorded on the way, off the clock.

        The engine gets all batches of the epoch at once, up to the next one that is measured.
        """
        batch_costs: list[BatchCost] = []
        observer, last = self.observer, to_update - 1
        if observer and not is_geometric(to_update, observer.per_decade):
            observer = None
        with np.errstate(all="ignore"):  # divergence is a result, judged at the next checkpoint
            while self.update < to_update:
                cost_is_due = self.update == self._cost_due
                if cost_is_due:
                    self._cost_due = next_geometric(self.update, self._costs_per_decade)
                measured = (last if observer else -1, self._cost_due)
                stop = min(update for update in (to_update, *measured) if update > self.update)
                with self.clock:
                    rows, n_updates = self.batches.take(stop - self.update)
                if cost_is_due:
                    batch_costs += self._batch_costs(rows)
                if observer and self.update == last:
                    if self.rates:
                        observer.learning_rate = self.rates.lr_mean_at(self.update)
                    observer.before_update(self.network, *self._first_batch(rows), self.engine.train_set)
                with self.clock:
                    factors = self.rates.factors(self.update, n_updates) if self.rates else None
                    self.engine.make_updates(rows, self.batches.batch_size, factors)
                self.update += n_updates
            self.diagnostics = observer.after_update(self.network) if observer else None
        return batch_costs

    def _first_batch(self, rows: Rows) -> Set:
        batch, _ = next(cut(rows, self.batches.batch_size))
        X, Y = self.engine.train_set
        return gather(X, batch), gather(Y, batch)

    def _batch_costs(self, rows: Rows) -> list[BatchCost]:
        costs = self.network.costs(*self._first_batch(rows)).mean(axis=-1)
        return [(self.update, int(r), float(c)) for r, c in zip(self.replicas, costs, strict=True)]

    def retire(self, replicas: Indices) -> None:
        """Take those of these replicas out that are here, keeping the parameters that they ended with."""
        ended = np.isin(self.replicas, replicas)
        if not ended.any():
            return
        flat = self.network.params.flat
        self.final |= {int(r): flat[i].copy() for i, r in enumerate(self.replicas) if ended[i]}
        kept = np.flatnonzero(~ended)
        self.replicas = self.replicas[kept]
        self.engine.select(kept)
        self.batches.select(kept)
        X, Y = self.validation_set
        self.validation_set = (X[kept], Y[kept]) if X.ndim == 3 else (X, Y)
