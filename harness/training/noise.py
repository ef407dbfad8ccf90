"""How noisy a batch's gradient is: the gradient noise scale B_simple = S / ‖G‖², in examples (McCandlish et al. 2018).

g_i is the gradient of example i, G their mean over all N, S = tr Σ = mean_i ‖g_i − G‖² = mean_i ‖g_i‖² − ‖G‖².
"""

import numpy as np

from harness.network import MLP, PIECE, Array


def mean_gradient(network: MLP, X: Array, Y: Array) -> tuple[Array, Array]:
    """(mean gradient (R, P), mean_i ‖g_i‖² (R,)) over the examples given.

    Each piece of PIECE examples is summed in the network's own dtype, the pieces are added up in double precision.
    """
    n_examples, flat = X.shape[-2], network.params.flat
    total, squared_norms = np.zeros(flat.shape), np.zeros(len(flat))
    with np.errstate(all="ignore"):
        for start in range(0, n_examples, PIECE):
            rows = slice(start, start + PIECE)
            grads, norms = network.gradient_and_norms(X[..., rows, :], Y[..., rows, :])
            total += grads.flat
            squared_norms += norms.sum(axis=-1)
        return total / n_examples, squared_norms / n_examples


def batch_noise(mean_squared_norm: float, squared: float, n_examples: int, population: float) -> tuple[float, float]:
    """Unbiased estimates of (S, ‖G‖²) from one batch of B examples; the second may be negative. B = 1 gives NaN.

    With n2 = mean ‖g_i‖² and q = `squared` = ‖mean g_i‖²: (n2 − q) B/(B − 1) and (B q − n2)/(B − 1), for examples drawn
    with replacement (population = inf). Drawn without replacement from N, the first has the expectation S N/(N − 1),
    which is taken back, and the second falls short of ‖G‖² by a 1/N of the first, which is added.
    Not corrected: within an epoch the weights depend on which examples are left for its later batches.
    """
    if n_examples == 1:
        return np.nan, np.nan
    spread = (mean_squared_norm - squared) * n_examples / (n_examples - 1)
    squared_mean = (n_examples * squared - mean_squared_norm) / (n_examples - 1) + spread / population
    return spread * (1 - 1 / population), squared_mean


def average_noise_scale(updates: Array, spread: Array, squared_mean: Array) -> float:
    """Time average along a run of B_simple = S/‖G‖², in examples, from exact measurements; NaN if none is finite.

    A measurement stands for the updates since the one before it. A critical batch size is compared with this average.
    """
    known = np.isfinite(spread) & np.isfinite(squared_mean) & (squared_mean > 0)
    weights = np.diff(updates[known], prepend=0)
    return float(np.average(spread[known] / squared_mean[known], weights=weights)) if known.any() else np.nan


def pooled_noise_scale(updates: Array, spread: Array, squared_mean: Array) -> float:
    """Time average of S over time average of ‖G‖², in examples, from noisy estimates; NaN when the latter is not > 0.

    A ratio taken before averaging would be biased by the noise of single estimates. But now the early updates, whose
    gradients are large, weigh more: where the noise scale grows, this lies below `average_noise_scale` (digits: 2-7 ×).
    """
    known = np.isfinite(spread) & np.isfinite(squared_mean)
    weights = np.diff(updates[known], prepend=0)
    total = float(weights @ squared_mean[known])
    return float(weights @ spread[known]) / total if total > 0 else np.nan
