"""Activations and losses as machine code: the equations of `network.activations` and `network.losses`."""

from typing import Any

import numpy as np

from harness.compiled.compiler import chosen, compiled
from harness.compiled.vectors import (
    BYTES,
    exp32,
    exp64,
    filled,
    first,
    inplace_exp,
    lanes_of,
    larger,
    largest,
    load,
    load_first,
    plus,
    store,
    total,
)

# Activations: z <- θ(z), all numbers of a layer: (n,).


@compiled
def inplace_identity(z: Any) -> None:
    """z."""


@compiled
def inplace_sigmoid(z: Any) -> None:
    """1 / (1 + e^(−z))."""
    one = z.dtype.type(1)  # in one loop: the processor divides while it multiplies
    if lanes_of(z) == BYTES // 8:
        for i in range(z.size):
            z[i] = one / (one + exp64(-z[i]))
    else:
        for i in range(z.size):
            z[i] = one / (one + exp32(-z[i]))


@compiled
def inplace_tanh(z: Any) -> None:
    for i in range(z.size):
        z[i] = np.tanh(z[i])


@compiled
def inplace_relu(z: Any) -> None:
    """max(z, 0)."""
    zero = z.dtype.type(0)
    for i in range(z.size):
        z[i] = zero if z[i] < zero else z[i]


# Their slopes: delta <- delta ∘ θ'(z), written in a = θ(z).


@compiled
def inplace_backward_identity(delta: Any, a: Any) -> None:
    """θ' = 1."""


@compiled
def inplace_backward_sigmoid(delta: Any, a: Any) -> None:
    """θ' = a (1 − a)."""
    one = a.dtype.type(1)
    for i in range(a.size):
        delta[i] = delta[i] * a[i] * (one - a[i])


@compiled
def inplace_backward_tanh(delta: Any, a: Any) -> None:
    """θ' = 1 − a²."""
    one = a.dtype.type(1)
    for i in range(a.size):
        delta[i] = delta[i] * (one - a[i] * a[i])


@compiled
def inplace_backward_relu(delta: Any, a: Any) -> None:
    """θ' = 1 where a > 0, else 0."""
    zero = a.dtype.type(0)
    for i in range(a.size):
        delta[i] = delta[i] if a[i] > zero else delta[i] * zero


inplace_activation = chosen(
    {"identity": inplace_identity, "sigmoid": inplace_sigmoid, "tanh": inplace_tanh, "relu": inplace_relu}
)
inplace_backward = chosen(
    {
        "identity": inplace_backward_identity, "sigmoid": inplace_backward_sigmoid,
        "tanh": inplace_backward_tanh, "relu": inplace_backward_relu,
    }
)  # fmt: skip


# Losses: logits z of n examples, K columns each in rows of `width`, become ∂cost/∂z = prediction − y, zero beyond K.
# The targets y are these `rows`, of those that begin at y_at.


@compiled
def inplace_difference(z: Any, n: int, width: int, y: Any, y_at: int, rows: Any, K: int) -> None:
    """z <- z − y."""
    lanes, one, zeros = lanes_of(z), z.dtype.type(1), filled(z.dtype.type(0))
    for i in range(n):
        y_i = y_at + rows[i] * K
        for k in range(0, width, lanes):
            difference = plus(load(z, i * width + k), -one, load_first(y, y_i + k, K - k))
            store(z, i * width + k, first(difference, K - k, zeros))


@compiled
def inplace_sigmoid_difference(z: Any, n: int, width: int, y: Any, y_at: int, rows: Any, K: int) -> None:
    inplace_sigmoid(z)
    inplace_difference(z, n, width, y, y_at, rows, K)


@compiled
def inplace_softmax_difference(z: Any, n: int, width: int, y: Any, y_at: int, rows: Any, K: int) -> None:
    """z_k <- e^(z_k − max z) / Σ_k e^(z_k − max z) − y_k, row by row."""
    lanes, one = lanes_of(z), z.dtype.type(1)
    zeros, ones, lowest = filled(z.dtype.type(0)), filled(one), filled(z.dtype.type(-1e30))
    for start in range(0, n * width, width):
        tops = first(load(z, start), K, lowest)
        for k in range(lanes, width, lanes):
            tops = larger(tops, first(load(z, start + k), K - k, lowest))
        top = largest(tops)
        for k in range(start, start + width, lanes):
            store(z, k, plus(load(z, k), -top, ones))
    inplace_exp(z)
    for i in range(n):
        start, y_i, whole = i * width, y_at + rows[i] * K, zeros
        for k in range(0, width, lanes):
            whole = plus(whole, one, first(load(z, start + k), K - k, zeros))
        factor = one / total(whole)
        for k in range(0, width, lanes):
            prediction = plus(zeros, factor, load(z, start + k))
            difference = plus(prediction, -one, load_first(y, y_i + k, K - k))
            store(z, start + k, first(difference, K - k, zeros))


inplace_delta = chosen(
    {
        "half_squared_error": inplace_difference, "sigmoid_cross_entropy": inplace_sigmoid_difference,
        "softmax_cross_entropy": inplace_softmax_difference,
    }
)  # fmt: skip


# Each takes logits z of n examples, K columns in rows of `width`, and targets y from y_at on; returns the sum of their
# costs, and adds to quality (K,) the counts or squared errors of the score. z is overwritten.


@compiled
def squared_errors(z: Any, n: int, width: int, y: Any, y_at: int, K: int, quality: Any) -> float:
    """½ Σ_k (z_k − y_k)²; quality: Σ (z_k − y_k)² of each output."""
    cost = 0.0
    for i in range(n):
        for k in range(K):
            difference = np.float64(z[i * width + k] - y[y_at + i * K + k])
            cost += 0.5 * difference * difference
            quality[k] += difference * difference
    return cost


@compiled
def sigmoid_costs(z: Any, n: int, width: int, y: Any, y_at: int, K: int, quality: Any) -> float:
    """Σ_k max(z, 0) − zy + log(1 + e^(−|z|)); quality: correct predictions, of which NaN is none."""
    cost, zero = 0.0, z.dtype.type(0)
    for i in range(n):
        for k in range(K):
            z_k, y_k = z[i * width + k], y[y_at + i * K + k]
            cost += (z_k if z_k > zero else zero) - z_k * y_k + np.log1p(np.exp(-abs(z_k)))
            quality[k] += np.isfinite(z_k) and (z_k > zero) == (y_k > 0.5)
    return cost


@compiled
def softmax_costs(z: Any, n: int, width: int, y: Any, y_at: int, K: int, quality: Any) -> float:
    """log(1 + Σ' e^(z_k − max z)) − Σ_k y_k (z_k − max z), Σ' without the largest; quality[0]: correct predictions."""
    cost, lanes, one, lowest = 0.0, lanes_of(z), z.dtype.type(1), z.dtype.type(-1e30)
    for i in range(n):
        row, y_row = i * width, y_at + i * K
        predicted, target, top, most = 0, 0, z[row], y[y_row]
        for k in range(1, K):
            z_k, y_k = z[row + k], y[y_row + k]
            predicted, top = (k, z_k) if z_k > top else (predicted, top)
            target, most = (k, y_k) if y_k > most else (target, most)
        chosen = z.dtype.type(0)
        for k in range(K):
            z[row + k] -= top
            chosen += y[y_row + k] * z[row + k]
        cost -= chosen
        quality[0] += np.isfinite(chosen) and predicted == target
        z[row + predicted] = lowest
        for k in range(row + K, row + width):
            z[k] = lowest
    inplace_exp(z)
    for start in range(0, n * width, width):
        others = load(z, start)
        for k in range(start + lanes, start + width, lanes):
            others = plus(others, one, load(z, k))
        cost += np.log1p(total(others))
    return cost


costs = chosen(
    {
        "half_squared_error": squared_errors, "sigmoid_cross_entropy": sigmoid_costs,
        "softmax_cross_entropy": softmax_costs,
    }
)  # fmt: skip
