"""How curved the cost is where the weights are: λ_max, the largest eigenvalue of the Hessian of the mean cost.

Gradient descent on a quadratic is stable while η λ_max < 2 (heavy ball: 2(1 + μ)), η of the *mean* gradient.
"""

from collections.abc import Callable

import numpy as np
from numpy.random import Generator

from harness.network import MLP, Array, Parameters

STEP = 1e-5  # of the central difference, times 1 + ‖θ‖
TOLERANCE = 1e-3  # of the residual ‖Hv − λv‖, relative to λ; the error of λ itself is of second order in it
VECTORS = 20  # that Lanczos' method keeps
RESTARTS = 10  # with about as many products each
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

    By Lanczos' method, ARPACK's. Power iteration would do with close eigenvalues (those of inputs that are hardly
    correlated) what it must not: stop with a small residual at a mixture of them, some per cent below the largest.
    NaN where a product is not finite, and what has not converged after RESTARTS: it would be a lower bound only,
    which says nothing of η λ_max < 2.
    """
    from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh

    def finite(vector: Array) -> Array:
        image = product(vector)
        if not np.isfinite(image).all():
            raise FloatingPointError
        return image

    start = rng.normal(size=size)
    matrix = LinearOperator((size, size), matvec=finite, dtype=np.float64)
    try:
        if not finite(start).any():  # ARPACK refuses a matrix of zeros
            return 0.0
        if size <= VECTORS:
            return float(np.linalg.eigvalsh(np.array([finite(e) for e in np.eye(size)]))[-1])
        (value,) = eigsh(matrix, 1, which="LA", v0=start, ncv=VECTORS, maxiter=RESTARTS, tol=TOLERANCE,
                         return_eigenvectors=False)  # fmt: skip
    except (ArpackError, FloatingPointError):  # of ARPACK's the usual one is that it has not converged
        return np.nan
    return float(value)


def sharpness(network: MLP, X: Array, Y: Array, rng: Generator) -> float:
    """λ_max of the mean cost of X (N, D) or (1, N, D) at the parameters of the stack's first network.

    NaN where the weights overflow, and where Lanczos' method has not converged.
    Of more than MAX_EXAMPLES examples, that many are drawn: an rng in the same state draws the same ones.
    The optimiser's weight decay, which adds to the curvature, is no part of the cost.
    """
    if X.shape[-2] > MAX_EXAMPLES:
        rows = np.sort(rng.choice(X.shape[-2], MAX_EXAMPLES, replace=False))
        X, Y = X[..., rows, :], Y[..., rows, :]
    with np.errstate(all="ignore"):
        return largest_eigenvalue(mean_hessian(network, X, Y), network.params.flat.shape[1], rng)
