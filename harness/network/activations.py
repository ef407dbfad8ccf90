"""Activation functions of the hidden layers, by name; in place, because a temporary costs as much as the arithmetic."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from harness.network.extensions import Table
from harness.network.parameters import Array


class Activation(NamedTuple):
    """inplace(Z): Z becomes A = θ(Z). inplace_backward(delta, A): delta becomes delta ∘ θ'(Z), A is destroyed.

    θ' is written in A itself, so Z need not be kept.
    """

    inplace: Callable[[Array], object]
    inplace_backward: Callable[[Array, Array], object]


def inplace_sigmoid(Z: Array) -> None:
    """θ(z) = 1 / (1 + e^(−z)). e^(−z) may overflow: 1 / inf = 0 is right, so callers ignore that warning of NumPy."""
    np.negative(Z, Z)
    np.exp(Z, Z)
    np.add(Z, 1.0, Z)
    np.divide(1.0, Z, Z)


def _sigmoid_backward(delta: Array, A: Array) -> None:
    """θ' = A(1 − A)."""
    np.multiply(delta, A, delta)
    np.subtract(1.0, A, A)
    np.multiply(delta, A, delta)


def _tanh_backward(delta: Array, A: Array) -> None:
    """θ' = 1 − A²."""
    np.multiply(A, A, A)
    np.subtract(1.0, A, A)
    np.multiply(delta, A, delta)


def _relu_backward(delta: Array, A: Array) -> None:
    """θ' = 1 where A > 0, else 0 (at the kink too): the sign of A, which is never negative."""
    np.sign(A, A)
    np.multiply(delta, A, delta)


ACTIVATIONS = Table(
    "activations",
    {
        "sigmoid": Activation(inplace_sigmoid, _sigmoid_backward),
        "tanh": Activation(lambda Z: np.tanh(Z, Z), _tanh_backward),
        "relu": Activation(lambda Z: np.maximum(Z, 0.0, out=Z), _relu_backward),
        "identity": Activation(lambda Z: None, lambda delta, A: None),
    },
    lambda thing: isinstance(thing, Activation),
    "an Activation(inplace, inplace_backward)",
)
