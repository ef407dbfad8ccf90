"""Activations and losses as machine code: the equations of `network.activations` and `network.losses`."""

from typing import Any

import numpy as np

from harness.compiled.vectors import (
    VECTOR_BYTES,
    compiled,
    filled,
    inplace_exp,
    largest,
    plus,
    set_vector,
    total,
    vector_at,
)

# Compiled functions choose by these codes.
ACTIVATIONS = {"identity": 0, "sigmoid": 1, "tanh": 2, "relu": 3}
LOSSES = {"half_squared_error": 0, "sigmoid_cross_entropy": 1, "softmax_cross_entropy": 2}


# Activations, of all numbers of a layer in a row: (n,).


@compiled
def inplace_sigmoid(z: Any) -> None:
    """1 / (1 + e^(−z))."""
    one = z.dtype.type(1)
    for i in range(z.size):
        z[i] = -z[i]
    inplace_exp(z)
    for i in range(z.size):
        z[i] = one / (one + z[i])


@compiled
def inplace_activation(code: int, z: Any) -> None:
    """z <- θ(z)."""
    zero = z.dtype.type(0)
    if code == 1:
        inplace_sigmoid(z)
    elif code == 2:
        for i in range(z.size):
            z[i] = np.tanh(z[i])
    elif code == 3:
        for i in range(z.size):
            z[i] = zero if z[i] < zero else z[i]


@compiled
def inplace_activation_backward(code: int, delta: Any, a: Any) -> None:
    """delta <- delta ∘ θ'(z), written in a = θ(z)."""
    zero, one = a.dtype.type(0), a.dtype.type(1)
    if code == 1:
        for i in range(a.size):
            delta[i] = delta[i] * a[i] * (one - a[i])
    elif code == 2:
        for i in range(a.size):
            delta[i] = delta[i] * (one - a[i] * a[i])
    elif code == 3:
        for i in range(a.size):
            delta[i] = delta[i] if a[i] > zero else delta[i] * zero


# Losses: logits z of n examples, K columns each in rows of `width`, become ∂cost/∂z = prediction − y.


@compiled
def inplace_softmax(z: Any, n: int, width: int, K: int) -> None:
    """z_k <- e^(z_k − max z) / Σ_k e^(z_k − max z), row by row; the padding beyond K becomes 0."""
    lanes, one, lowest = VECTOR_BYTES // z.itemsize, z.dtype.type(1), z.dtype.type(-1e30)
    zeros, ones = filled(z.dtype.type(0)), filled(one)
    for start in range(0, n * width, width):
        for k in range(start + K, start + width):
            z[k] = lowest
        top = largest(vector_at(z, start))
        for k in range(start + lanes, start + width, lanes):
            top = max(top, largest(vector_at(z, k)))
        for k in range(start, start + width, lanes):
            set_vector(z, k, plus(vector_at(z, k), -top, ones))
    inplace_exp(z)
    for start in range(0, n * width, width):
        whole = zeros
        for k in range(start, start + width, lanes):
            whole = plus(whole, one, vector_at(z, k))
        factor = one / total(whole)
        for k in range(start, start + width, lanes):
            set_vector(z, k, plus(zeros, factor, vector_at(z, k)))


@compiled
def inplace_delta(code: int, z: Any, n: int, width: int, y: Any, y_at: int, K: int) -> None:
    """z <- prediction − y, and zero beyond K."""
    if code == 1:
        inplace_sigmoid(z)
    elif code == 2:
        inplace_softmax(z, n, width, K)
    for i in range(n):
        for k in range(K):
            z[i * width + k] -= y[y_at + i * K + k]
        for k in range(K, width):
            z[i * width + k] = 0
