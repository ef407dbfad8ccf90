"""What trains a stack of networks: an update is gradient of the batch (summed), reduction, step of the optimiser.

The engines are `Vectorized` (here), `PerExample` (the textbook's loop) and `Compiled` (machine code).
"""

from collections.abc import Callable, Iterator

import numpy as np

from harness.network.evaluation import evaluate
from harness.network.mlp import MLP
from harness.network.optimizers import Optimizer
from harness.network.parameters import Array, Indices, Parameters
from harness.network.reduction import inplace_reduce

Set = tuple[Array, Array]  # X and Y: (N, D) and (N, K) shared by a stack, or one of each per replica: (R, N, ...)
Rows = slice | Indices  # which rows of a set: as they lie, or (R, n) indices, a row of them per replica
GradientInto = Callable[[MLP, Parameters, Array, Array], None]


class Engine:
    """A stack of networks with what its training needs: an optimiser, a training set and the reduction of a batch.

    gradient_into(network, grads, X, Y): how the gradient of a batch, summed over its examples, is computed.
    """

    gradient_into: GradientInto

    def __init__(self, network: MLP, optimizer: Optimizer, train_set: Set, reduction: str) -> None:
        self.network, self.optimizer, self.reduction = network, optimizer, reduction
        self.train_set = train_set
        self.grads = network.params.empty_like()

    def make_updates(self, rows: Rows, batch_size: int) -> None:
        """One update for each batch of these rows of the training set; the last batch may be short."""
        X, Y = self.train_set
        for batch, n_examples in cut(rows, batch_size):
            self.gradient_into(self.network, self.grads, gather(X, batch), gather(Y, batch))
            inplace_reduce(self.grads.flat, self.reduction, n_examples)
            self.optimizer.inplace_step(self.network.params.flat, self.grads.flat)

    def warm_up(self, batch_size: int) -> None:
        """Touch the code and the memory of an update without moving anything."""
        X, Y = (gather(V, slice(0, batch_size)) for V in self.train_set)
        self.gradient_into(self.network, self.grads, X, Y)

    def evaluate(self, network: MLP, X: Array, Y: Array) -> tuple[Array, Array]:
        """(cost (R,), score (R,)) of a whole set: see `evaluation.evaluate`."""
        return evaluate(network, X, Y)

    def select(self, keep: Indices) -> None:
        """Go on with the networks `keep` of the stack only."""
        X, Y = self.train_set
        self.network = self.network.select(keep)
        self.optimizer.select(keep)
        self.grads = self.network.params.empty_like()
        self.train_set = (X[keep], Y[keep]) if X.ndim == 3 else (X, Y)


class Vectorized(Engine):
    """The whole batch at once, in products of matrices."""

    gradient_into = staticmethod(MLP.gradient_into)


def cut(rows: Rows, batch_size: int) -> Iterator[tuple[Rows, int]]:
    """The batches, one after the other, and how many examples each has."""
    if isinstance(rows, slice):
        for start in range(rows.start, rows.stop, batch_size):
            stop = min(start + batch_size, rows.stop)
            yield slice(start, stop), stop - start
    else:
        for start in range(0, rows.shape[1], batch_size):
            batch = rows[:, start : start + batch_size]
            yield batch, batch.shape[1]


def gather(V: Array, rows: Rows) -> Array:
    """The rows of X or Y: a view if they are a slice, else a new array (R, n, columns)."""
    if isinstance(rows, slice):
        return V[..., rows, :]
    if V.ndim == 3:
        n_stack, n_rows, _ = V.shape
        V, rows = V.reshape(n_stack * n_rows, -1), rows + np.arange(0, n_stack * n_rows, n_rows)[:, None]
    return V.take(rows, axis=0)


def inplace_update(network: MLP, optimizer: Optimizer, X: Array, Y: Array, reduction: str = "mean") -> None:
    """One update from the batch X, Y, for loops of one's own: the engines make the same, without checks of shapes."""
    grads = network.gradient(X, Y)
    inplace_reduce(grads.flat, reduction, n_examples=X.shape[-2])
    optimizer.inplace_step(network.params.flat, grads.flat)
