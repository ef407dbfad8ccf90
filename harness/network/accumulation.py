"""Gradient accumulation: the gradients of a batch's micro-batches are computed one after the other, then put together.

It saves memory, and data-parallel training does the same with a micro-batch, its shard, on each machine. Here sum or
mean is asked a second time: over the examples of a micro-batch, and over the micro-batches.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from harness.network.engine import Engine, GradientInto, Rows, cut, gather
from harness.network.parameters import Array, Indices
from harness.network.reduction import inplace_reduce

ACCUMULATIONS = ("by_examples", "mean_of_means", "sum")


class Accumulated(Engine):
    """Each batch in micro_batches K, whose gradients become the gradient of the batch by a rule of ACCUMULATIONS.

    With r_k the gradient of micro-batch k, reduced (sum or mean) over its own examples:
    sum: Σ_k r_k. mean_of_means: Σ_k r_k / j, where j micro-batches are in this batch. by_examples: the gradients,
    summed over all examples of the batch, are reduced once; this is the update of the whole batch, to rounding,
    whatever the sizes of its micro-batches.

    gradient_into: as of an engine. Clipping and weight decay come afterwards, once for each batch.
    """

    def __init__(self, gradient_into: GradientInto, micro_batches: int, accumulate: str, *parts: Any) -> None:
        super().__init__(*parts)
        self.gradient_into = gradient_into
        self.micro_batches, self.accumulate = micro_batches, accumulate
        self.total = np.empty_like(self.grads.flat)

    def edges(self, batch_size: int) -> list[int]:
        """Where the micro-batches of a whole batch begin, and where the last one ends: (K + 1,) from 0 to batch_size.

        Their sizes differ by one example at most.
        """
        return [k * batch_size // self.micro_batches for k in range(self.micro_batches + 1)]

    def micro_batches_of(self, batch: Rows, n_examples: int, batch_size: int) -> Iterator[tuple[Rows, int]]:
        """The micro-batches and their sizes; a short batch has the first ones, of which the last may be short too."""
        starts = [edge for edge in self.edges(batch_size) if edge < n_examples]
        for start, stop in pairwise((*starts, n_examples)):
            if isinstance(batch, slice):
                yield slice(batch.start + start, batch.start + stop), stop - start
            else:
                yield batch[:, start:stop], stop - start

    def make_updates(self, rows: Rows, batch_size: int, factors: Array | None = None) -> None:
        for i, (batch, n_examples) in enumerate(cut(rows, batch_size)):
            if factors is not None:
                self.optimizer.scale(factors[i])
            self.inplace_gradient(batch, n_examples, batch_size)
            self.optimizer.inplace_step(self.network.params.flat, self.grads.flat)

    def inplace_gradient(self, batch: Rows, n_examples: int, batch_size: int) -> None:
        """grads <- the reduced gradient of a batch; batch_size: examples of a batch that is not short."""
        X, Y = self.train_set
        self.total[:] = 0
        n_parts = 0
        for part, n_part in self.micro_batches_of(batch, n_examples, batch_size):
            self.gradient_into(self.network, self.grads, gather(X, part), gather(Y, part))
            self.inplace_part(n_part)
            self.total += self.grads.flat
            n_parts += 1
        self.inplace_whole(n_parts, n_examples)
        self.grads.flat[:] = self.total

    def inplace_part(self, n_examples: int) -> None:
        """The summed gradient of a micro-batch, in grads, becomes what is added up."""
        if self.accumulate != "by_examples":
            inplace_reduce(self.grads.flat, self.reduction, n_examples)

    def inplace_whole(self, n_parts: int, n_examples: int) -> None:
        """The sum over the micro-batches, in total, becomes the gradient of the batch."""
        if self.accumulate == "by_examples":
            inplace_reduce(self.total, self.reduction, n_examples)
        elif self.accumulate == "mean_of_means":
            inplace_reduce(self.total, "mean", n_parts)

    def warm_up(self, batch_size: int) -> None:
        super().warm_up(-(-batch_size // self.micro_batches))

    def select(self, keep: Indices) -> None:
        super().select(keep)
        self.total = np.empty_like(self.grads.flat)
