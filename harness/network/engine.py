"""What trains a stack of networks: an update is gradient of the batch (summed), reduction, step of the optimiser.

The engines are `Vectorized`, `PerExample` (the textbook's loop), `Accumulated` (a batch in parts, with the gradient of
one of these two) and, in its own room, `Compiled` (machine code).
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

    def make_updates(self, rows: Rows, batch_size: int, factors: Array | None = None) -> None:
        """One update for each batch of these rows of the training set; the last batch may be short.

        factors (n,): of the learning rate at each update, by a schedule; None: it stays as it is.
        """
        X, Y = self.train_set
        for i, (batch, n_examples) in enumerate(cut(rows, batch_size)):
            if factors is not None:
                self.optimizer.scale(factors[i])
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


class PerExample(Engine):
    """The textbook's loop: one forward and one backward pass for each example, then the sum.

    Slow and literal on purpose: the oracle of the vectorised pass, and the loop that studies compare it with.
    """

    @staticmethod
    def gradient_into(network: MLP, grads: Parameters, X: Array, Y: Array) -> None:
        """grads <- Σ_k ∇e_k over the examples k of the batch; X (B, D) or (R, B, D), Y likewise with K columns."""
        n_stack, n_examples = len(network.params.flat), X.shape[-2]
        X, Y = (np.broadcast_to(V, (n_stack, n_examples, V.shape[-1])) for V in (X, Y))
        grads.flat[:] = 0
        for r in range(n_stack):
            for x, y in zip(X[r], Y[r], strict=True):
                _accumulate(network, grads, r, x, y)


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


# What `PerExample` is made of.

Function = Callable[[Array], Array]

# θ(s) and θ'(s) of one layer's inputs s, written from the definition.
FUNCTIONS: dict[str, tuple[Function, Function]] = {
    "sigmoid": (lambda s: 1 / (1 + np.exp(-s)), lambda s: np.exp(-np.abs(s)) / (1 + np.exp(-np.abs(s))) ** 2),
    "tanh": (np.tanh, lambda s: 1 - np.tanh(s) ** 2),
    "relu": (lambda s: np.where(s > 0, s, 0 * s), lambda s: np.where(s > 0, 1 + 0 * s, 0 * s)),
    "identity": (lambda s: s, lambda s: np.ones_like(s)),
}


def _softmax(s: Array) -> Array:
    e = np.exp(s - s.max())
    return e / e.sum()


OUTPUTS: dict[str, Function] = {
    "sigmoid_cross_entropy": lambda s: 1 / (1 + np.exp(-s)),
    "softmax_cross_entropy": _softmax,
    "half_squared_error": lambda s: s,
}


def _accumulate(network: MLP, grads: Parameters, r: int, x: Array, y: Array) -> None:
    """Add one example's gradient: s_j = Σ_i w_ij x_i + b_j; δ_i = θ'(s_i) Σ_j w_ij δ_j; ∂e/∂w_ij = x_i δ_j."""
    theta, theta_prime = FUNCTIONS[network.activation_name]
    inputs, sums = [x], []
    for W, b in zip(network.params.W, network.params.b, strict=True):
        sums.append(inputs[-1] @ W[r] + b[r, 0])
        inputs.append(theta(sums[-1]))
    delta = OUTPUTS[network.loss_name](sums[-1]) - y
    for layer in range(len(sums) - 1, -1, -1):
        grads.W[layer][r] += np.outer(inputs[layer], delta)
        grads.b[layer][r, 0] += delta
        if layer:
            delta = theta_prime(sums[layer - 1]) * (network.params.W[layer][r] @ delta)
