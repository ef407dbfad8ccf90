"""The multi-layer perceptron: forward pass, backward pass. Gradients are *summed* over the batch.

Every array carries a leading axis R, a stack of networks of one shape that are computed together; each gets the same
bits as it would alone.
"""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import numpy as np

from harness.network.activations import ACTIVATIONS
from harness.network.extensions import Table
from harness.network.losses import LOSSES
from harness.network.memory import Buffers, Memory
from harness.network.parameters import Array, Indices, Parameters, operand

P = ParamSpec("P")
T = TypeVar("T")
USAGE = 'MLP(Parameters.initialized([64, 32, 10], "glorot_uniform", [rng]))'


def _with_usage(init: Callable[P, None]) -> Callable[P, None]:
    """Every TypeError of the constructor says what to pass."""

    @wraps(init)
    def checked(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            init(*args, **kwargs)
        except TypeError as refused:
            raise TypeError(f"{refused}: write {USAGE}") from None

    return checked


class MLP:
    """A stack of R multi-layer perceptrons of one shape.

    Layer l computes Z = A W[l] + b[l]; `activation` follows every layer but the last, whose Z are the logits that
    `loss` turns into a cost per example. sizes [D, K] is a single layer: a neuron, softmax or linear regression.
    memory: what passes write into; may be shared by networks that never run at the same time.
    """

    @_with_usage
    def __init__(
        self, params: Parameters, activation: str = "sigmoid", loss: str = "softmax_cross_entropy",
        memory: Memory | None = None,
    ) -> None:  # fmt: skip
        if not isinstance(params, Parameters):
            raise TypeError(f"MLP takes Parameters, got {type(params).__name__}")
        self.params = params
        self.memory = memory or Memory()
        self.activation, self.loss = _known("activation", activation, ACTIVATIONS), _known("loss", loss, LOSSES)
        self.activation_name, self.loss_name = activation, loss

    def select(self, keep: Indices) -> "MLP":
        """A copy that holds only the networks `keep` of the stack, in the same memory."""
        return MLP(self.params.select(keep), self.activation_name, self.loss_name, self.memory)

    def predict(self, X: Array) -> Array:
        """Probabilities (cross-entropies) or values (squared error), (R, B, K), of X (B, D) or (R, B, D)."""
        self._check(X)
        Z = self.scratch_logits(X).copy()
        with np.errstate(over="ignore"):
            self.loss.inplace_predict(Z)
        return Z

    def costs(self, X: Array, Y: Array) -> Array:
        """Cost of each example, (R, B): the reported cost of a set is its mean over B. Y (B, K) or (R, B, K)."""
        self._check(X, Y)
        return self.loss.costs(self.scratch_logits(X), Y)

    def gradient(self, X: Array, Y: Array) -> Parameters:
        """Gradient of the cost, summed over the examples of the batch. A new array."""
        self._check(X, Y)
        grads = self.params.empty_like()
        with np.errstate(over="ignore"):
            self.gradient_into(grads, X, Y)
        return grads

    def gradient_and_norms(self, X: Array, Y: Array) -> tuple[Parameters, Array]:
        """The summed gradient, and ‖g_i‖² of each example's own gradient, (R, B), without forming it."""
        self._check(X, Y)
        grads, squared_norms = self.params.empty_like(), np.zeros((len(self.params.flat), X.shape[-2]))
        with np.errstate(over="ignore"):
            self.gradient_into(grads, X, Y, squared_norms)
        return grads, squared_norms

    # For the engines: without checks, and in memory that the next pass overwrites.

    def scratch_logits(self, X: Array) -> Array:
        """Z of the last layer, (R, B, K)."""
        shapes = [(len(self.params.flat), X.shape[-2], n) for n in self.params.sizes[1:]]
        arrays = self.memory.arrays(shapes, self.params.flat.dtype)
        with np.errstate(over="ignore"):
            self._forward(self._operand(X), [operand(Z) for Z in arrays])
        return arrays[-1]

    def gradient_into(self, grads: Parameters, X: Array, Y: Array, squared_norms: Array | None = None) -> None:
        """`gradient` without a new array: grads <- Σ_i ∂cost_i/∂(W, b)."""
        X, Y = self._operand(X), operand(Y)
        shape = len(self.params.flat), X.shape[-2]
        buffers = self.memory.buffers.get(shape)
        if buffers is None:
            buffers = Buffers(self.params.sizes, *shape, self.params.flat.dtype, self.memory)
            self.memory.buffers[shape] = buffers
        self._forward(X, buffers.Z)
        self._backward(grads, X, Y, buffers, squared_norms)

    def _operand(self, X: Array) -> Array:
        dtype = self.params.flat.dtype
        return operand(X) if X.dtype == dtype else operand(X).astype(dtype)

    def _forward(self, A: Array, arrays: list[Array]) -> None:
        """A_0 = X; Z_l = A_(l−1) W_l + b_l; A_l = θ(Z_l), each written into its array."""
        product, last = self.params.product, arrays[-1]
        for (W, _, b), Z in zip(self.params.layers, arrays, strict=True):
            product(A, W, Z)
            np.add(Z, b, Z)
            if Z is not last:
                self.activation.inplace(Z)
            A = Z

    def _backward(self, grads: Parameters, X: Array, Y: Array, buffers: Buffers, squared_norms: Array | None) -> None:
        """delta_L = ∂cost/∂Z_L; dW_l = A_(l−1)ᵀ delta_l; db_l = Σ delta_l; delta_(l−1) = delta_l W_lᵀ ∘ θ'(Z_(l−1)).

        db is a product with a row of ones, because BLAS sums in the same order in a stack and alone.
        """
        product, ones = self.params.product, buffers.ones
        self.loss.inplace_delta(buffers.delta[-1], Y)
        for layer in range(len(buffers.Z) - 1, -1, -1):
            A, delta, (dW, _, db) = buffers.Z[layer - 1] if layer else X, buffers.delta[layer], grads.layers[layer]
            if squared_norms is not None:
                squared_norms += _squared_norms(A, delta)
            if buffers.outer is None:
                product(A.mT, delta, dW)
            else:
                pair = buffers.outer[layer]
                pair.A_row[...], pair.delta_row[...] = A, delta
                product(pair.A_T, pair.delta, dW)
            if ones.size == 1:
                db[...] = delta
            else:
                product(ones, delta, db)
            if layer:
                below = buffers.delta[layer - 1]
                product(delta, self.params.layers[layer].W_T, below)
                self.activation.inplace_backward(below, A)

    def _check(self, X: Array, Y: Array | None = None) -> None:
        """Refuse what is no array, and shapes that do not fit, class labels above all. Raises TypeError, ValueError."""
        for name, given in {"X": X, "Y": Y}.items():
            if not isinstance(given, np.ndarray | None):
                raise TypeError(f"{name}: expected a NumPy array, got {type(given).__name__}: write np.asarray({name})")
        (D, *_, K), R = self.params.sizes, len(self.params.flat)
        B = X.shape[-2] if X.ndim > 1 else len(X)
        if X.shape not in ((B, D), (1, B, D), (R, B, D)):
            raise ValueError(f"X: expected shape (B, {D}), or (R, B, {D}) with R={R}, got {X.shape}")
        if Y is not None and Y.shape not in ((B, K), (1, B, K), (R, B, K)):
            one_hot = f" (of class labels y: np.eye({K})[y])" if self.loss_name == "softmax_cross_entropy" else ""
            shapes = f"(B, {K}) with B={B}{one_hot}, or (R, B, {K})"
            raise ValueError(f"Y: expected targets of shape {shapes}, got {Y.shape}")


def _known(key: str, name: str, known: Table[T]) -> T:
    """What has this name. Raises ValueError."""
    try:
        return known[name]
    except KeyError:
        raise ValueError(f"{key}: expected {' | '.join(known.names())}, got {name!r}") from None


def _squared_norms(A: Array, delta: Array) -> Array:
    """One layer's part of ‖g_i‖²: (‖A_i‖² + 1)‖delta_i‖², as g_i is A_i delta_iᵀ and delta_i (Goodfellow 2015)."""
    return (np.square(A).sum(axis=-1) + 1) * np.square(delta).sum(axis=-1)
