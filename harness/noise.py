"""How noisy a batch's gradient is: the gradient noise scale, exact on the whole training set.

N is small enough here that the mean gradient G and the spread of the examples' gradients around it can be computed
instead of estimated from batches.
"""

import numpy as np
from numpy.typing import NDArray

from harness.evaluation import PIECE
from harness.mlp import MLP

Array = NDArray[np.floating]


def exact_noise(network: MLP, X: Array, Y: Array) -> tuple[Array, Array]:
    """(S (R,), ‖G‖² (R,)): S = tr Σ = mean_i ‖g_i − G‖² over all N examples, G the mean gradient.

    The noise scale is B_simple = S / ‖G‖² (McCandlish et al. 2018), in examples; over several checkpoints it is a
    ratio of averages. A batch drawn without replacement has E‖g_B − G‖² = (S/B)(N − B)/(N − 1).
    """
    n_examples = X.shape[-2]
    total = np.zeros_like(network.params.flat, dtype=np.float64)
    squared_norms = np.zeros(len(total))
    with np.errstate(all="ignore"):
        for start in range(0, n_examples, PIECE):
            rows = slice(start, start + PIECE)
            grads, norms = network.gradient_and_norms(X[..., rows, :], Y[..., rows, :])
            total += grads.flat
            squared_norms += norms.sum(axis=-1)
        squared_mean = np.square(total / n_examples).sum(axis=-1)
        return squared_norms / n_examples - squared_mean, squared_mean
