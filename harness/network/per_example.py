"""The batch gradient as in the textbook: one forward and one backward pass for each example, then the sum.

Slow and literal on purpose: the oracle of the vectorised pass, and the for-loop that studies compare it with.
"""

from collections.abc import Callable

import numpy as np

from harness.network.engine import Engine
from harness.network.mlp import MLP
from harness.network.parameters import Array, Parameters

Function = Callable[[Array], Array]

# θ(s) and θ'(s) of one layer's inputs s, written from the definition.
FUNCTIONS: dict[str, tuple[Function, Function]] = {
    "sigmoid": (lambda s: 1 / (1 + np.exp(-s)), lambda s: np.exp(-np.abs(s)) / (1 + np.exp(-np.abs(s))) ** 2),
    "tanh": (np.tanh, lambda s: 1 - np.tanh(s) ** 2),
    "relu": (lambda s: np.where(s > 0, s, 0 * s), lambda s: np.where(s > 0, 1 + 0 * s, 0 * s)),
    "identity": (lambda s: s, lambda s: np.ones_like(s)),
}


def _softmax(s: Array) -> Array:
    e = np.exp(s - s.max())
    return e / e.sum()


OUTPUTS: dict[str, Function] = {
    "sigmoid_cross_entropy": lambda s: 1 / (1 + np.exp(-s)),
    "softmax_cross_entropy": _softmax,
    "half_squared_error": lambda s: s,
}


def gradient_into(network: MLP, grads: Parameters, X: Array, Y: Array) -> None:
    """grads <- Σ_k ∇e_k over the examples k of the batch; X (B, D) or (R, B, D), Y likewise with K columns."""
    n_stack, n_examples = len(network.params.flat), X.shape[-2]
    X, Y = (np.broadcast_to(V, (n_stack, n_examples, V.shape[-1])) for V in (X, Y))
    grads.flat[:] = 0
    for r in range(n_stack):
        for x, y in zip(X[r], Y[r], strict=True):
            _accumulate(network, grads, r, x, y)


def _accumulate(network: MLP, grads: Parameters, r: int, x: Array, y: Array) -> None:
    """Add one example's gradient: s_j = Σ_i w_ij x_i + b_j; δ_i = θ'(s_i) Σ_j w_ij δ_j; ∂e/∂w_ij = x_i δ_j."""
    theta, theta_prime = FUNCTIONS[network.activation_name]
    inputs, sums = [x], []
    for W, b in zip(network.params.W, network.params.b, strict=True):
        sums.append(inputs[-1] @ W[r] + b[r, 0])
        inputs.append(theta(sums[-1]))
    delta = OUTPUTS[network.loss_name](sums[-1]) - y
    for layer in range(len(sums) - 1, -1, -1):
        grads.W[layer][r] += np.outer(inputs[layer], delta)
        grads.b[layer][r, 0] += delta
        if layer:
            delta = theta_prime(sums[layer - 1]) * (network.params.W[layer][r] @ delta)


class PerExample(Engine):
    """One example after the other, as the textbook's loop has it."""

    gradient_into = staticmethod(gradient_into)
