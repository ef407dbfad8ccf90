"""The multi-layer perceptron: parameters, forward pass, backward pass.

Every array carries a leading axis R, a stack of networks of one shape that are computed together; the code does not
know what is stacked, and each network of a stack gets the same bits as it would alone. Rows are examples:
Z = A W + b, dW = Aᵀ delta, db = Σ_rows delta, and delta goes back through Wᵀ. Gradients are *summed* over the batch.
"""

import math
from collections.abc import Callable, Hashable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, DTypeLike, NDArray

from harness.network.activations import ACTIVATIONS
from harness.network.losses import LOSSES

Array = NDArray[np.floating]

# Each draws the (n_in, n_out) weights of a layer: Glorot & Bengio 2010, He et al. 2015. Biases start at zero.
INITIALIZERS: dict[str, Callable[[Generator, int, int], Array]] = {
    "glorot_uniform": lambda rng, n_in, n_out: rng.uniform(-1, 1, (n_in, n_out)) * np.sqrt(6 / (n_in + n_out)),
    "glorot_normal": lambda rng, n_in, n_out: rng.normal(size=(n_in, n_out)) * np.sqrt(2 / (n_in + n_out)),
    "he_uniform": lambda rng, n_in, n_out: rng.uniform(-1, 1, (n_in, n_out)) * np.sqrt(6 / n_in),
    "he_normal": lambda rng, n_in, n_out: rng.normal(size=(n_in, n_out)) * np.sqrt(2 / n_in),
    "zeros": lambda rng, n_in, n_out: np.zeros((n_in, n_out)),
}


class Layer(NamedTuple):
    """Views of one layer's parameters or gradients as products take them, made once: see `operand`."""

    W: Array
    W_T: Array
    b: Array


LINE = 64  # bytes of a line of the cache, on which arrays begin


def operand(A: Array) -> Array:
    """(R, ...) as it is; (1, ...) without its first axis, because np.dot multiplies two matrices at less overhead."""
    return A[0] if A.ndim == 3 and len(A) == 1 else A


class Parameters:
    """All weights and biases of a stack in one array, so that an update touches memory once.

    flat: (R, P). W[l]: (R, n_in, n_out) and b[l]: (R, 1, n_out) are views into it. Gradients have the same form.
    """

    def __init__(self, sizes: Sequence[int], flat: Array) -> None:
        self.sizes = tuple(sizes)
        self.flat = flat
        self.W: list[Array] = []
        self.b: list[Array] = []
        start = 0
        for n_in, n_out in pairwise(self.sizes):
            middle, end = start + n_in * n_out, start + (n_in + 1) * n_out
            self.W.append(flat[:, start:middle].reshape(-1, n_in, n_out))
            self.b.append(flat[:, middle:end].reshape(-1, 1, n_out))
            start = end
        self.product: Callable[[Array, Array, Array], Array] = np.dot if len(flat) == 1 else np.matmul
        self.layers = [Layer(*map(operand, (W, W.mT, b))) for W, b in zip(self.W, self.b, strict=True)]

    @staticmethod
    def count(sizes: Sequence[int]) -> int:
        """P, the number of parameters of one network."""
        return sum((n_in + 1) * n_out for n_in, n_out in pairwise(sizes))

    @classmethod
    def empty(cls, sizes: Sequence[int], n_stack: int, dtype: DTypeLike) -> "Parameters":
        return cls(sizes, np.empty((n_stack, cls.count(sizes)), dtype=dtype))

    @classmethod
    def from_weights(cls, W: Sequence[ArrayLike], b: Sequence[ArrayLike]) -> "Parameters":
        """Copies of W[l] (n_in, n_out) or (R, n_in, n_out) and b[l] (n_out,) or (R, n_out)."""
        Ws = [np.asarray(w) if np.ndim(w) == 3 else np.asarray(w)[None] for w in W]
        sizes = [Ws[0].shape[1], *(w.shape[2] for w in Ws)]
        params = cls.empty(sizes, len(Ws[0]), np.result_type(*Ws, np.float32))
        for own_W, own_b, new_W, new_b in zip(params.W, params.b, Ws, b, strict=True):
            own_W[:] = new_W
            own_b[:, 0] = new_b
        return params

    @classmethod
    def initialized(
        cls, sizes: Sequence[int], initializer: str, rngs: Sequence[Generator], dtype: DTypeLike = np.float64
    ) -> "Parameters":
        """Network r of the stack drawn from rngs[r], biases zero. Drawn in float64, so both dtypes start alike."""
        params = cls.empty(sizes, len(rngs), np.float64)
        draw = INITIALIZERS[initializer]
        for r, rng in enumerate(rngs):
            for W, b, (n_in, n_out) in zip(params.W, params.b, pairwise(sizes), strict=True):
                W[r], b[r] = draw(rng, n_in, n_out), 0
        return cls(sizes, params.flat.astype(dtype))

    def select(self, keep: NDArray[np.intp]) -> "Parameters":
        """A copy that holds only the networks `keep` of the stack."""
        return Parameters(self.sizes, self.flat[keep])


class Memory:
    """What passes over batches write into, one after the other: there is as much of it as the largest of them takes.

    Those that take turns may share one: networks of one shape and dtype, or whoever gathers their batches. `kept` holds
    what was made of its arrays, by whatever tells one from another, until there has to be more memory.
    """

    def __init__(self) -> None:
        self.kept: dict[Hashable, Any] = {}
        self._bytes = np.empty(0, np.uint8)

    def arrays(self, shapes: Sequence[tuple[int, ...]], dtype: DTypeLike) -> list[Array]:
        """Uninitialised arrays side by side, over those that were given before."""
        itemsize = np.dtype(dtype).itemsize
        ends = np.cumsum([-(-math.prod(shape) * itemsize // LINE) * LINE for shape in shapes]).tolist()
        if ends[-1] + LINE > self._bytes.size:
            self.kept.clear()
            self._bytes = np.empty(0, np.uint8)  # what there was is free before there is more
            self._bytes = np.empty(ends[-1] + LINE, np.uint8)
        first = -self._bytes.ctypes.data % LINE
        starts = [first, *(first + end for end in ends[:-1])]
        return [np.ndarray(shape, dtype, self._bytes, at) for shape, at in zip(shapes, starts, strict=True)]


class Padded:
    """The factors of dW = Aᵀ delta for a batch of one example in a stack, with a second row each that stays zero.

    np.matmul multiplies a column by a row without BLAS, at a quarter of its speed. With two rows BLAS does it, and the
    second adds 0 · 0 to every product.
    """

    def __init__(self, n_stack: int, n_in: int, n_out: int, dtype: DTypeLike) -> None:
        self.A, self.delta = np.zeros((n_stack, 2, n_in), dtype), np.zeros((n_stack, 2, n_out), dtype)
        self.A_row, self.delta_row, self.A_T = self.A[:, :1], self.delta[:, :1], self.A.mT

    def multiply_into(self, dW: Array, A: Array, delta: Array) -> None:
        self.A_row[...], self.delta_row[...] = A, delta
        np.matmul(self.A_T, self.delta, dW)


class Buffers:
    """The arrays that one pass over a batch of B examples writes into, made once and used for every update."""

    def __init__(
        self, sizes: Sequence[int], n_stack: int, n_examples: int, dtype: DTypeLike, memory: Memory | None = None
    ) -> None:
        shapes = [(n_stack, n_examples, n) for n in (*sizes[1:], *sizes[1:-1])]
        arrays = [operand(V) for V in (memory or Memory()).arrays(shapes, dtype)]
        self.Z = arrays[: len(sizes) - 1]  # each becomes A_l, and the last delta_L
        self.delta = [*arrays[len(sizes) - 1 :], self.Z[-1]]
        self.ones = np.ones((1, n_examples), dtype)
        needs_padding = n_examples == 1 and n_stack > 1
        self.padded = [Padded(n_stack, *shape, dtype) for shape in pairwise(sizes)] if needs_padding else None


class MLP:
    """A stack of R multi-layer perceptrons of one shape.

    Layer l computes Z = A W[l] + b[l]; `activation` follows every layer but the last, whose Z are the logits that
    `loss` turns into a cost per example. sizes [D, K] is a single layer: a neuron, softmax or linear regression.
    memory: what passes write into; its own, or one that it shares with networks that take turns with it.
    """

    def __init__(
        self,
        params: Parameters,
        activation: str = "sigmoid",
        loss: str = "softmax_cross_entropy",
        memory: Memory | None = None,
    ) -> None:
        self.params = params
        self.memory = memory or Memory()
        self.activation = ACTIVATIONS[activation]
        self.loss = LOSSES[loss]
        self.activation_name, self.loss_name = activation, loss

    def logits(self, X: Array, arrays: list[Array] | None = None) -> Array:
        """Z of the last layer, (R, B, K), for X (B, D) or (R, B, D). A new array, or the last of those given."""
        arrays = arrays or [np.empty(shape, self.params.flat.dtype) for shape in self._shapes(X.shape[-2])]
        with np.errstate(over="ignore"):
            self._forward(self._operand(X), [operand(Z) for Z in arrays])
        return arrays[-1]

    def layer_arrays(self, n_examples: int) -> list[Array]:
        """What a forward pass writes, one (R, B, n) for each layer, in memory: they hold until the next pass."""
        return self.memory.arrays(self._shapes(n_examples), self.params.flat.dtype)

    def _shapes(self, n_examples: int) -> list[tuple[int, ...]]:
        return [(len(self.params.flat), n_examples, n) for n in self.params.sizes[1:]]

    def costs(self, X: Array, Y: Array) -> Array:
        """Cost of each example, (R, B): the reported cost of a set is its mean over B."""
        return self.loss.costs(self.logits(X, self.layer_arrays(X.shape[-2])), Y)

    def predict(self, X: Array) -> Array:
        """Probabilities (cross-entropies) or values (squared error), (R, B, K)."""
        Z = self.logits(X)
        with np.errstate(over="ignore"):
            self.loss.inplace_predict(Z)
        return Z

    def gradient(self, X: Array, Y: Array) -> Parameters:
        """Gradient of the cost, summed over the examples of the batch. A new array."""
        grads = Parameters(self.params.sizes, np.empty_like(self.params.flat))
        with np.errstate(over="ignore"):
            self.gradient_into(grads, X, Y)
        return grads

    def gradient_and_norms(self, X: Array, Y: Array) -> tuple[Parameters, Array]:
        """The summed gradient, and ‖g_i‖² of each example's own gradient, (R, B), without forming it."""
        grads = Parameters(self.params.sizes, np.empty_like(self.params.flat))
        squared_norms = np.zeros((len(self.params.flat), X.shape[-2]))
        with np.errstate(over="ignore"):
            self.gradient_into(grads, X, Y, squared_norms)
        return grads, squared_norms

    def gradient_into(self, grads: Parameters, X: Array, Y: Array, squared_norms: Array | None = None) -> None:
        """`gradient` without a temporary: writes into grads, and into memory."""
        X, Y = self._operand(X), operand(Y)
        shape = len(self.params.flat), X.shape[-2]
        buffers = self.memory.kept.get(shape)
        if buffers is None:
            buffers = Buffers(self.params.sizes, *shape, self.params.flat.dtype, self.memory)
            self.memory.kept[shape] = buffers
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
        """delta_L = ∂cost/∂Z_L; dW_l = A_(l−1)ᵀ delta_l; db_l = Σ delta_l; delta_(l−1) = delta_l W_lᵀ ∘ θ'(Z_(l−1))."""
        delta = buffers.delta[-1]
        self.loss.inplace_delta(delta, Y)
        for layer in range(len(buffers.Z) - 1, -1, -1):
            A, delta = buffers.Z[layer - 1] if layer else X, buffers.delta[layer]
            if squared_norms is not None:
                squared_norms += _squared_norms(A, delta)
            self._layer_gradient_into(grads, layer, A, delta, buffers)
            if layer:
                below = buffers.delta[layer - 1]
                self.params.product(delta, self.params.layers[layer].W_T, below)
                self.activation.inplace_backward(below, A)

    def _layer_gradient_into(self, grads: Parameters, layer: int, A: Array, delta: Array, buffers: Buffers) -> None:
        """dW = Aᵀ delta; db = Σ_rows delta, a product with a row of ones: BLAS sums alike whatever else is stacked."""
        dW, _, db = grads.layers[layer]
        if buffers.padded is None:
            self.params.product(A.mT, delta, dW)
        else:
            buffers.padded[layer].multiply_into(dW, A, delta)
        if buffers.ones.size == 1:
            db[...] = delta
        else:
            self.params.product(buffers.ones, delta, db)


def _squared_norms(A: Array, delta: Array) -> Array:
    """One layer's share of ‖g_i‖²: (‖A_i‖² + 1)‖delta_i‖², as g_i is A_i delta_iᵀ and delta_i (Goodfellow 2015)."""
    return (np.square(A).sum(axis=-1) + 1) * np.square(delta).sum(axis=-1)
