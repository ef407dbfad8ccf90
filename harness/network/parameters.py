"""The weights and biases of a stack of networks, and how they are drawn."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, DTypeLike, NDArray

Array = NDArray[np.floating]
Indices = NDArray[np.intp]

# Each draws the (n_in, n_out) weights of a layer: Glorot & Bengio 2010, He et al. 2015. Biases start at zero.
INITIALIZERS: dict[str, Callable[[Generator, int, int], Array]] = {
    "glorot_uniform": lambda rng, n_in, n_out: rng.uniform(-1, 1, (n_in, n_out)) * np.sqrt(6 / (n_in + n_out)),
    "glorot_normal": lambda rng, n_in, n_out: rng.normal(size=(n_in, n_out)) * np.sqrt(2 / (n_in + n_out)),
    "he_uniform": lambda rng, n_in, n_out: rng.uniform(-1, 1, (n_in, n_out)) * np.sqrt(6 / n_in),
    "he_normal": lambda rng, n_in, n_out: rng.normal(size=(n_in, n_out)) * np.sqrt(2 / n_in),
    "zeros": lambda rng, n_in, n_out: np.zeros((n_in, n_out)),
}


class Layer(NamedTuple):
    """One layer's parameters or gradients as products take them (see `operand`): views that are made once."""

    W: Array
    W_T: Array
    b: Array


def operand(A: Array) -> Array:
    """A stack of one network without its first axis: np.dot multiplies two matrices faster than np.matmul a stack."""
    return A[0] if A.ndim == 3 and len(A) == 1 else A


class Parameters:
    """All weights and biases of a stack of R networks in one array, so that an update touches memory once.

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

    def empty_like(self) -> "Parameters":
        """Uninitialised parameters of the same shapes: room for a gradient."""
        return Parameters(self.sizes, np.empty_like(self.flat))

    def select(self, keep: Indices) -> "Parameters":
        """A copy that holds only the networks `keep` of the stack."""
        return Parameters(self.sizes, self.flat[keep])
