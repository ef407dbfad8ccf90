"""How noisy a batch's gradient is: the gradient noise scale, exact on the whole training set or estimated from a batch.

With g_i the gradient of example i, G their mean over all N and S = tr Σ = mean_i ‖g_i − G‖², the noise scale is
B_simple = S / ‖G‖², in examples (McCandlish et al. 2018): batches far below it are mostly noise, batches far above it
have nearly the same gradient.
"""

import numpy as np
from numpy.typing import NDArray

from harness.network import MLP, PIECE

Array = NDArray[np.floating]


def mean_gradient(network: MLP, X: Array, Y: Array) -> tuple[Array, Array]:
    """(mean gradient (R, P), mean_i ‖g_i‖² (R,)) over the examples given, in double precision, piece by piece."""
    n_examples = X.shape[-2]
    total = np.zeros_like(network.params.flat, dtype=np.float64)
    squared_norms = np.zeros(len(total))
    with np.errstate(all="ignore"):
        for start in range(0, n_examples, PIECE):
            rows = slice(start, start + PIECE)
            grads, norms = network.gradient_and_norms(X[..., rows, :], Y[..., rows, :])
            total += grads.flat
            squared_norms += norms.sum(axis=-1)
        return total / n_examples, squared_norms / n_examples


def batch_noise(
    mean_squared_norm: float, squared_mean: float, n_examples: int, population: float
) -> tuple[float, float]:
    """Unbiased estimates of (S, ‖G‖²) from one batch of B examples; the second may be negative. NaN for B = 1.

    With n2 = mean ‖g_i‖² and q = ‖mean g_i‖² over the batch: (n2 − q) B/(B − 1) and (B q − n2)/(B − 1), for examples
    drawn with replacement (population = inf). Drawn without replacement from N, the first has the expectation
    S N/(N − 1), which is taken back, and the second falls short of ‖G‖² by a 1/N of the first, which is added.
    Not corrected: within an epoch the weights depend on which examples are left for its later batches.
    """
    if n_examples == 1:
        return np.nan, np.nan
    spread = (mean_squared_norm - squared_mean) * n_examples / (n_examples - 1)
    squared = (n_examples * squared_mean - mean_squared_norm) / (n_examples - 1) + spread / population
    return spread * (1 - 1 / population), squared


def average_noise_scale(updates: Array, spread: Array, squared_mean: Array) -> float:
    """Time average along a run of B_simple = S/‖G‖², in examples, from exact measurements; NaN if there is none.

    This is what a critical batch size is compared with (McCandlish et al. 2018). A measurement stands for the updates
    since the one before it; those that are not finite are left out.
    """
    known = np.isfinite(spread) & np.isfinite(squared_mean) & (squared_mean > 0)
    weights = np.diff(updates[known], prepend=0)
    return float(np.average(spread[known] / squared_mean[known], weights=weights)) if known.any() else np.nan


def pooled_noise_scale(updates: Array, spread: Array, squared_mean: Array) -> float:
    """Time average of S over time average of ‖G‖², in examples, from noisy estimates; NaN when the latter is not > 0.

    Estimates must be averaged before the ratio is taken, which would otherwise be biased by the noise of each. The
    price is that updates with a large gradient, the early ones, weigh more: where the noise scale grows along a run it
    lies below `average_noise_scale`, by a factor of two to seven on digits.
    """
    known = np.isfinite(spread) & np.isfinite(squared_mean)
    weights = np.diff(updates[known], prepend=0)
    total = float(weights @ squared_mean[known])
    return float(weights @ spread[known]) / total if total > 0 else np.nan
