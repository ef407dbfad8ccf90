"""Costs of a whole set as machine code: the equations of `network.losses` and `network.evaluation`, piece by piece."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.compiled.network import PIECE, copy_rows, forward_pass, layout, n_padded
from harness.compiled.vectors import VECTOR_BYTES, compiled, entry_point, inplace_exp, plus, total, vector_at
from harness.network import MLP

Array = NDArray[np.floating]


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
    cost, lanes, one, lowest = 0.0, VECTOR_BYTES // z.itemsize, z.dtype.type(1), z.dtype.type(-1e30)
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
        others = vector_at(z, start)
        for k in range(start + lanes, start + width, lanes):
            others = plus(others, one, vector_at(z, k))
        cost += np.log1p(total(others))
    return cost


@entry_point
def evaluate_rows(
    theta: Any, sizes: Any, widths: Any, codes: Any, piece: int, X: Any, Y: Any, n_examples: int, A: Any, quality: Any
) -> float:
    """The summed cost of n_examples, `piece` at a time."""
    cost, last = 0.0, sizes.size - 1
    D, K, width = sizes[0], sizes[last], widths[last]
    for here in range(0, n_examples, piece):
        n = min(piece, n_examples - here)
        _, at = forward_pass(theta, sizes, widths, codes[0], n, X, here * D, A)
        z = A[at : at + n * width]
        if codes[1] == 0:
            cost += squared_errors(z, n, width, Y, here * K, K, quality)
        elif codes[1] == 1:
            cost += sigmoid_costs(z, n, width, Y, here * K, K, quality)
        else:
            cost += softmax_costs(z, n, width, Y, here * K, K, quality)
    return cost


def evaluated(network: MLP, r: int, X: Array, Y: Array) -> tuple[float, Array]:
    """Summed cost, and quality (K,) as in `evaluation`, of replica r; X and Y row after row, (n · D,) and (n · K,)."""
    dtype = network.params.flat.dtype
    sizes, widths, codes = layout(network)
    theta = np.zeros(n_padded(widths), dtype)
    copy_rows(network.params.flat[r], theta, sizes, widths, False)
    A, quality = np.empty(PIECE * widths[1:].sum(), dtype), np.zeros(sizes[-1])
    cost = evaluate_rows(theta, sizes, widths, codes, PIECE, X, Y, X.size // sizes[0], A, quality)
    return cost, quality
