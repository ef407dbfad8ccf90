"""The cost of each example, and its derivative, both from the logits.

From logits every cost is finite (no log 0, no overflow), and the output delta is prediction minus target for all three.
A loss returns one value per example; no reduction hides in here.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from harness.network.activations import inplace_sigmoid
from harness.network.extensions import Table
from harness.network.parameters import Array

MANY = 32  # examples


class Loss(NamedTuple):
    """costs(Z, Y): (..., B, K) -> (..., B). inplace_delta(Z, Y): Z becomes ∂(cost of the example)/∂Z.

    inplace_predict(Z): Z becomes the model's prediction: a probability or a value. quality(Z, Y): what the score of the
    examples is made from, (R, 1) correct predictions or (R, K) squared errors. of_quantities: of a regression.
    """

    costs: Callable[[Array, Array], Array]
    inplace_delta: Callable[[Array, Array], object]
    inplace_predict: Callable[[Array], object]
    quality: Callable[[Array, Array], Array]
    of_quantities: bool = False


def _sigmoid_cross_entropy(Z: Array, Y: Array) -> Array:
    """−y log σ(z) − (1 − y) log(1 − σ(z)) = max(z, 0) − zy + log(1 + e^(−|z|)), summed over outputs; y in [0, 1]."""
    return (np.maximum(Z, 0) - Z * Y + np.log1p(np.exp(-np.abs(Z)))).sum(axis=-1)


def _sigmoid_delta(Z: Array, Y: Array) -> None:
    """∂/∂z = σ(z) − y."""
    inplace_sigmoid(Z)
    np.subtract(Z, Y, Z)


def _softmax_cross_entropy(Z: Array, Y: Array) -> Array:
    """−Σ_k y_k log softmax(z)_k = log Σ_k e^(z_k − max z) − Σ_k y_k (z_k − max z); Σ_k y_k = 1.

    The largest term is e^0 = 1, so log1p of the sum of the others (`ties` are further largest ones) keeps costs far
    below the rounding of 1. Works on a copy whose memory runs along the examples.
    """
    columns = Z.mT.copy()
    np.subtract(columns, np.maximum.reduce(columns, axis=-2, keepdims=True), columns)
    chosen = np.add.reduce(columns * np.atleast_2d(Y).mT, axis=-2)
    smaller = np.less(columns, 0).astype(Z.dtype)
    ties = Z.shape[-1] - 1 - np.add.reduce(smaller, axis=-2)
    np.exp(columns, columns)
    np.multiply(columns, smaller, columns)
    return np.log1p(np.add.reduce(columns, axis=-2) + ties) - chosen


def _inplace_softmax(Z: Array) -> None:
    """z_k <- e^(z_k − max z) / Σ_k e^(z_k − max z)."""
    if Z.shape[-2] < MANY:
        largest = np.maximum.reduce(Z, axis=-1, keepdims=True)
    else:  # over a transposed copy: rows of few outputs leave SIMD idle
        largest = np.maximum.reduce(Z.mT.copy(), axis=-2)[..., None]
    np.subtract(Z, largest, Z)
    np.exp(Z, Z)
    np.divide(Z, np.add.reduce(Z, axis=-1, keepdims=True), Z)


def _softmax_delta(Z: Array, Y: Array) -> None:
    """∂/∂z = softmax(z) − y."""
    _inplace_softmax(Z)
    np.subtract(Z, Y, Z)


def _half_squared_error(Z: Array, Y: Array) -> Array:
    """½ Σ_k (z_k − y_k)²; a sum over outputs, so that its gradient is z − y for any number of them."""
    return 0.5 * np.square(Z - Y).sum(axis=-1)


def _hits_binary(Z: Array, Y: Array) -> Array:
    """Correct predictions (R, 1); NaN logits never count as correct."""
    return (((Z > 0) == (Y > 0.5)) & np.isfinite(Z)).sum(axis=-2)


def _hits(Z: Array, Y: Array) -> Array:
    """Correct predictions (R, 1); NaN logits never count as correct."""
    right, finite = Z.argmax(axis=-1) == Y.argmax(axis=-1), np.isfinite(Z)
    if not finite.all():
        right &= finite.all(axis=-1)
    return right.sum(axis=-1, keepdims=True)


def _squared_errors(Z: Array, Y: Array) -> Array:
    """Σ(z − y)² of each output, (R, K)."""
    return np.square((Z - Y).astype(np.float64)).sum(axis=-2)


LOSSES = Table(
    "losses",
    {
        "sigmoid_cross_entropy": Loss(_sigmoid_cross_entropy, _sigmoid_delta, inplace_sigmoid, _hits_binary),
        "softmax_cross_entropy": Loss(_softmax_cross_entropy, _softmax_delta, _inplace_softmax, _hits),
        "half_squared_error": Loss(
            _half_squared_error, lambda Z, Y: np.subtract(Z, Y, Z), lambda Z: None, _squared_errors, of_quantities=True
        ),
    },
    lambda thing: isinstance(thing, Loss),
    "a Loss(costs, inplace_delta, inplace_predict, quality)",
)
