"""Cost and score of a stack over a whole set: mean cost per example, whatever the reduction, and accuracy or R².

Rows are taken in pieces of fixed size: memory stays at one piece, and a replica's number does not depend on its stack.
"""

from collections.abc import Callable

import numpy as np

from harness.network.mlp import MLP
from harness.network.parameters import Array

PIECE = 1024  # examples


def evaluate(network: MLP, X: Array, Y: Array) -> tuple[Array, Array]:
    """(cost (R,), score (R,)) of X (N, D) or (R, N, D): mean cost per example, and accuracy (classification) or R²."""
    n_examples, n_stack = X.shape[-2], len(network.params.flat)
    cost = np.zeros(n_stack)
    quality = np.zeros((n_stack, 1))
    summed_quality = QUALITY[network.loss_name]
    with np.errstate(all="ignore"):
        for start in range(0, n_examples, PIECE):
            rows = slice(start, min(start + PIECE, n_examples))
            Z, Y_piece = network.scratch_logits(X[..., rows, :]), Y[..., rows, :]
            cost += network.loss.costs(Z, Y_piece).sum(axis=-1, dtype=np.float64)
            quality = quality + summed_quality(Z, Y_piece)
        return cost / n_examples, score(network.loss_name, quality, Y)


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
    return np.square((Z - Y).astype(np.float64)).sum(axis=-2)


QUALITY: dict[str, Callable[[Array, Array], Array]] = {
    "sigmoid_cross_entropy": _hits_binary, "softmax_cross_entropy": _hits, "half_squared_error": _squared_errors,
}  # fmt: skip


def score(loss_name: str, quality: Array, Y: Array) -> Array:
    """Accuracy, or R² = 1 − Σ(z − y)² / Σ(y − ȳ)², averaged over outputs with equal weight, (R,).

    quality: (R, 1) correct predictions, or (R, K) Σ(z − y)².
    """
    if loss_name != "half_squared_error":
        return quality[:, 0] / Y.shape[-2]
    Y = Y.astype(np.float64)
    spread = np.square(Y - Y.mean(axis=-2, keepdims=True)).sum(axis=-2)
    return (1 - quality / spread).mean(axis=-1)
