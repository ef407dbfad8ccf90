"""How curved the cost is where the weights are: λ_max, the largest eigenvalue of the Hessian of the mean cost.

Gradient descent on a quadratic is stable while η λ_max < 2 (heavy ball: 2(1 + μ)), η of the *mean* gradient.
"""

from collections.abc import Callable

import numpy as np
from numpy.random import Generator

from harness.network import MLP, Array, Parameters

STEP = 1e-5  # of the central difference, times 1 + ‖θ‖
TOLERANCE = 0.01  # of the residual ‖Hv − λv‖, relative to λ; the error of λ itself is of second order in it
MAX_PRODUCTS = 100
MAX_EXAMPLES = 4096  # a larger training set is represented by so many of its examples


def mean_hessian(network: MLP, X: Array, Y: Array) -> Callable[[Array], Array]:
    """v -> H v, (P,) to (P,), for the Hessian of the mean cost of the stack's first network, in double precision.

    H v = (∇(θ + εv) − ∇(θ − εv)) / 2ε + O(ε²), both gradients as one stack of two networks.
    """
    theta = network.params.flat[0].astype(np.float64)
    pair = Parameters.empty(network.params.sizes, 2, np.float64)
    networks = MLP(pair, network.activation_name, network.loss_name)

    def product(vector: Array) -> Array:
        step = STEP * (1 + np.linalg.norm(theta)) / np.linalg.norm(vector)
        pair.flat[:] = theta + step * vector, theta - step * vector
        above, below = networks.gradient(X, Y).flat
        return (above - below) / (2 * step * X.shape[-2])

    return product


def largest_eigenvalue(product: Callable[[Array], Array], size: int, rng: Generator) -> float:
    """The largest (not the largest in absolute value) eigenvalue of a symmetric matrix known by its products, or NaN.

    Power iteration finds the largest in absolute value. If that is negative, or if two of opposite signs keep it from
    settling, it is repeated on H + ρI, ρ = ‖Hv‖, which has none below zero. NaN is what has not settled after
    MAX_PRODUCTS: it would be a lower bound only, which says nothing of η λ_max < 2.
    """
    start = rng.normal(size=size)
    value, radius, converged = _power_iteration(product, start)
    if (converged and value >= 0) or not np.isfinite(value):
        return value
    value, _, converged = _power_iteration(product, start, shift=radius)
    return value if converged else np.nan


def _power_iteration(product: Callable[[Array], Array], start: Array, shift: float = 0.0) -> tuple[float, float, bool]:
    """v <- Mv / ‖Mv‖, M = H + shift I, until ‖Hv − λv‖ <= TOLERANCE |λ|: (λ = vᵀHv, ‖Hv‖, whether it converged).

    The tolerance is relative to λ, not to λ + shift: a start in the null space of H would pass for converged.
    """
    vector = start / np.linalg.norm(start)
    for _ in range(MAX_PRODUCTS):
        image = product(vector)
        value, radius = float(vector @ image), float(np.linalg.norm(image))
        residual = float(np.linalg.norm(image - value * vector))
        if residual <= TOLERANCE * abs(value) or not radius > 0:  # a NaN ends it as well
            return value, radius, True
        image = image + shift * vector
        vector = image / np.linalg.norm(image)
    return value, radius, False


def sharpness(network: MLP, X: Array, Y: Array, rng: Generator) -> float:
    """λ_max of the mean cost of X (N, D) or (1, N, D) at the parameters of the stack's first network.

    NaN where the weights overflow, and where the power iteration has not settled.
    Of more than MAX_EXAMPLES examples, that many are drawn: an rng in the same state draws the same ones.
    The optimiser's weight decay, which adds to the curvature, is no part of the cost.
    """
    if X.shape[-2] > MAX_EXAMPLES:
        rows = np.sort(rng.choice(X.shape[-2], MAX_EXAMPLES, replace=False))
        X, Y = X[..., rows, :], Y[..., rows, :]
    with np.errstate(all="ignore"):
        return largest_eigenvalue(mean_hessian(network, X, Y), network.params.flat.shape[1], rng)
