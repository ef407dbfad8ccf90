"""Sum or mean: the one place where a batch's summed gradient becomes the gradient that the optimiser sees.

A short last batch is divided by its own size.
"""

import numpy as np
from numpy.typing import NDArray

REDUCTIONS = ("sum", "mean")


def inplace_reduce(grads: NDArray[np.floating], reduction: str, n_examples: int) -> None:
    """grads <- Σ_i g_i (sum) or Σ_i g_i / b (mean), b = n_examples; grads is (R, P), summed over the batch."""
    if reduction == "mean" and n_examples != 1:
        np.divide(grads, n_examples, grads)
