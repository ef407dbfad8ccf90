"""The gradient is that of the *reported* cost: central differences along random directions, block by block (C6, C7).

A direction that is not zero in one W or one b only tells which equation is wrong, and keeps an error in a layer whose
gradient is small from hiding behind the others.
"""

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from harness.network.activations import ACTIVATIONS
from harness.network.evaluation import evaluate
from harness.network.losses import LOSSES
from harness.network.mlp import MLP
from harness.network.parameters import Parameters
from harness.network.reduction import REDUCTIONS, inplace_reduce

STEP = 2e-3  # along a direction of length 1; the five-point formula leaves an error of the order STEP⁴
TOLERANCE = 1e-9  # of the length of the block's gradient
REPLICAS = (0, 1, 2)
DEPTHS = {0: [], 1: [5], 2: [5, 4], 3: [6, 5, 4]}
N_EXAMPLES = 5


def slope(cost: Callable[[np.ndarray], np.ndarray], theta: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """d cost(theta + t direction) / dt at t = 0, from four evaluations."""
    near, far = (cost(theta + t * direction) - cost(theta - t * direction) for t in (STEP, 2 * STEP))
    return (8 * near - far) / (12 * STEP)


def directions(params: Parameters, rng: np.random.Generator) -> Iterator[tuple[str, np.ndarray]]:
    """For each W and b a random (R, P) direction within it, of length 1 for every network of the stack."""
    for kind in ("W", "b"):
        for layer in range(len(params.W)):
            direction = Parameters(params.sizes, np.zeros_like(params.flat))
            block = getattr(direction, kind)[layer]
            block[:] = rng.normal(size=block.shape)
            direction.flat /= np.linalg.norm(direction.flat, axis=1, keepdims=True)
            yield f"{kind}[{layer}]", direction.flat


def mismatches(network: MLP, grads: np.ndarray, X: np.ndarray, Y: np.ndarray, reduction: str) -> list[str]:
    """A line for each block where `grads` is not the derivative of the mean cost per example, or of B times it."""
    factor = X.shape[-2] if reduction == "sum" else 1

    def cost(flat: np.ndarray) -> np.ndarray:
        moved = MLP(Parameters(network.params.sizes, flat), network.activation_name, network.loss_name)
        return factor * evaluate(moved, X, Y)[0]

    lines = []
    for name, direction in directions(network.params, np.random.default_rng(3)):
        analytic = (grads * direction).sum(axis=1)
        numeric = slope(cost, network.params.flat, direction)
        size = np.linalg.norm(grads * (direction != 0), axis=1)
        if (np.abs(analytic - numeric) > TOLERANCE * size).any():
            lines.append(
                f"{name}: analytic {analytic.tolist()}, numeric {numeric.tolist()}, gradient's length {size.tolist()}"
            )
    return lines


def hidden_inputs(params: Parameters, X: np.ndarray) -> list[np.ndarray]:
    """The pre-activations of the hidden layers of a ReLU network, (R, B, n) each."""
    Z, A = [], X
    for W, b in zip(params.W[:-1], params.b[:-1], strict=True):
        Z.append(A @ W + b)
        A = np.maximum(Z[-1], 0)
    return Z


def away_from_kinks(network: MLP, X: np.ndarray, Y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The N_EXAMPLES examples whose pre-activations are the furthest from the kink of ReLU at zero."""
    Z = hidden_inputs(network.params, X)
    if network.activation_name != "relu" or not Z:
        return X[:N_EXAMPLES], Y[:N_EXAMPLES]
    distance = np.min([np.abs(z).min(axis=(0, 2)) for z in Z], axis=0)
    best = np.argsort(distance)[-N_EXAMPLES:]
    for _, direction in directions(network.params, np.random.default_rng(3)):
        for end in (-2 * STEP, 2 * STEP):
            moved = Parameters(network.params.sizes, network.params.flat + end * direction)
            for z, z_moved in zip(Z, hidden_inputs(moved, X), strict=True):
                assert ((z[:, best] > 0) == (z_moved[:, best] > 0)).all(), "the segment crosses a kink: draw again"
    return X[best], Y[best]


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradient_is_the_derivative_of_the_reported_cost(
    draw_examples, draw_network, activation, loss, reduction, depth
):
    """mean: of the mean cost per example; sum: of B times it."""
    network = draw_network(loss, DEPTHS[depth], activation, REPLICAS)
    X, Y = away_from_kinks(network, *draw_examples(loss, 3000))
    grads = network.gradient(X, Y).flat
    inplace_reduce(grads, reduction, n_examples=N_EXAMPLES)
    assert not mismatches(network, grads, X, Y, reduction)


@pytest.mark.parametrize("loss", LOSSES)
def test_gradient_of_a_stack_whose_replicas_have_their_own_data(draw_examples, draw_network, loss):
    """X and Y with the axis R: network r must see the examples of r only."""
    network = draw_network(loss, [5, 4], "tanh", REPLICAS)
    X, Y = draw_examples(loss, N_EXAMPLES, REPLICAS)
    assert not mismatches(network, network.gradient(X, Y).flat, X, Y, "sum")


@pytest.mark.parametrize("loss", ["sigmoid_cross_entropy", "softmax_cross_entropy"])
def test_gradient_for_soft_labels(draw_network, loss):
    """∂cost/∂z = prediction − y holds for every y of a distribution, not for 0 and 1 only."""
    network = draw_network(loss, [5], "sigmoid", REPLICAS)
    rng = np.random.default_rng(5)
    X, Y = rng.normal(size=(N_EXAMPLES, 4)), rng.uniform(size=(N_EXAMPLES, network.params.sizes[-1]))
    if loss == "softmax_cross_entropy":
        Y /= Y.sum(axis=1, keepdims=True)
    assert not mismatches(network, network.gradient(X, Y).flat, X, Y, "sum")


def test_the_check_sees_one_wrong_weight(draw_examples, draw_network):
    """A check that cannot fail proves nothing: one weight's gradient off by 1e-7 is named, and nothing else."""
    network = draw_network("softmax_cross_entropy", [5, 4], "tanh", REPLICAS)
    X, Y = draw_examples("softmax_cross_entropy", N_EXAMPLES)
    grads = network.gradient(X, Y)
    grads.W[1][0, 2, 3] *= 1 + 1e-7
    lines = mismatches(network, grads.flat, X, Y, "sum")
    assert [line.split(":")[0] for line in lines] == ["W[1]"]


def test_the_check_sees_a_mean_that_is_called_a_sum(draw_examples, draw_network):
    """The reductions differ by the factor B in every block."""
    network = draw_network("half_squared_error", [5], "tanh", REPLICAS)
    X, Y = draw_examples("half_squared_error", N_EXAMPLES)
    grads = network.gradient(X, Y).flat
    assert len(mismatches(network, grads, X, Y, "mean")) == 4
