"""Cost and score of a stack over a whole set: mean cost per example, whatever the reduction, and accuracy or R².

Rows are taken in pieces of fixed size: memory stays at one piece, and a replica's number does not depend on its stack.
"""

import numpy as np

from harness.network.mlp import MLP
from harness.network.parameters import Array

PIECE = 1024  # examples


def evaluate(network: MLP, X: Array, Y: Array) -> tuple[Array, Array]:
    """(cost (R,), score (R,)) of X (N, D) or (R, N, D): mean cost per example, and accuracy (classification) or R²."""
    n_examples, n_stack = X.shape[-2], len(network.params.flat)
    cost, quality = np.zeros(n_stack), np.zeros((n_stack, 1))
    with np.errstate(all="ignore"):
        for start in range(0, n_examples, PIECE):
            rows = slice(start, min(start + PIECE, n_examples))
            Z, Y_piece = network.scratch_logits(X[..., rows, :]), Y[..., rows, :]
            cost += network.loss.costs(Z, Y_piece).sum(axis=-1, dtype=np.float64)
            quality = quality + network.loss.quality(Z, Y_piece)
        return cost / n_examples, score(network.loss_name, quality, Y)


def score(loss_name: str, quality: Array, Y: Array) -> Array:
    """Accuracy, or R² = 1 − Σ(z − y)² / Σ(y − ȳ)², the mean over outputs, (R,). quality: summed, see `Loss`."""
    if loss_name != "half_squared_error":
        return quality[:, 0] / Y.shape[-2]
    Y = Y.astype(np.float64)
    spread = np.square(Y - Y.mean(axis=-2, keepdims=True)).sum(axis=-2)
    return (1 - quality / spread).mean(axis=-1)
