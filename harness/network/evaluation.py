"""Cost and score of a stack over a whole set: mean cost per example, whatever the reduction, and accuracy or R².

Rows are taken in pieces of fixed size: memory stays at one piece, and a replica's number does not depend on its stack.
"""

import numpy as np
from numpy.typing import NDArray

from harness.network.losses import LOSSES
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
    """Accuracy, or R² = 1 − Σ(z − y)² / Σ(y − ȳ)², the mean over outputs, (R,). quality: summed, see `Loss`.

    As scikit-learn's `r2_score`: where y does not vary R² is 1 without an error and 0 with one, and NaN, which means
    undefined, of fewer than two examples.
    """
    if not LOSSES[loss_name].of_quantities:
        return quality[:, 0] / Y.shape[-2]
    if Y.shape[-2] < 2:
        return np.full(len(quality), np.nan)
    constant, Y = (Y[..., :1, :] == Y).all(axis=-2), Y.astype(np.float64)
    spread = np.where(constant, 0.0, np.square(Y - Y.mean(axis=-2, keepdims=True)).sum(axis=-2))
    with np.errstate(all="ignore"):
        unexplained = np.where(spread > 0, quality / spread, np.where(np.isfinite(quality), quality > 0, quality))
        return (1 - unexplained).mean(axis=-1)


def baseline(loss_name: str, Y: Array) -> Array:
    """The score of the best constant prediction, () or (R,): the share of the most frequent class, or R² = 0."""
    if LOSSES[loss_name].of_quantities:
        return np.zeros(Y.shape[:-2])
    return _classes(Y).mean(axis=-2).max(axis=-1)


def balanced_accuracy(network: MLP, X: Array, Y: Array) -> Array:
    """The mean over classes of the share of their examples that is predicted correctly, (R,).

    Classes without an example are left out, as in scikit-learn's `balanced_accuracy_score`.
    """
    classes = _classes(Y)
    hits = np.zeros((len(network.params.flat), classes.shape[-1]))
    with np.errstate(all="ignore"):
        for start in range(0, X.shape[-2], PIECE):
            rows = slice(start, start + PIECE)
            Z = network.scratch_logits(X[..., rows, :])
            predicted = _classes(Z, 0.0) & np.isfinite(Z).all(axis=-1, keepdims=True)
            hits += (predicted & classes[..., rows, :]).sum(axis=-2)
        return np.nanmean(hits / classes.sum(axis=-2), axis=-1)


def _classes(Y: Array, threshold: float = 0.5) -> NDArray[np.bool_]:
    """Which class each example is of, (..., N, classes): of one column by the threshold, of several the largest."""
    if Y.shape[-1] == 1:
        return np.concatenate([threshold >= Y, threshold < Y], axis=-1)
    return Y.argmax(axis=-1)[..., None] == np.arange(Y.shape[-1])
