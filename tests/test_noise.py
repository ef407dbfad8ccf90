"""The noise scale against what it is defined by: every example's own gradient, one at a time."""

import numpy as np
import pytest

from harness.mlp import MLP, Parameters
from harness.noise import exact_noise


def network(activation, loss, sizes, n_stack=2):
    rngs = [np.random.default_rng(r) for r in range(n_stack)]
    return MLP(Parameters.initialized(sizes, "glorot_normal", rngs), activation, loss)


def per_example_gradients(net, X, Y):
    """(R, N, P), by asking for the gradient of a batch of one N times."""
    return np.stack([net.gradient(X[i : i + 1], Y[i : i + 1]).flat for i in range(len(X))], axis=1)


@pytest.fixture(params=["sigmoid", "tanh", "relu", "identity"])
def problem(request):
    rng = np.random.default_rng(3)
    X, Y = rng.normal(size=(40, 5)), np.eye(3)[rng.integers(3, size=40)]
    return network(request.param, "softmax_cross_entropy", (5, 7, 4, 3)), X, Y


def test_the_norm_of_each_examples_gradient_needs_no_gradient(problem):
    net, X, Y = problem
    each = per_example_gradients(net, X, Y)
    grads, squared_norms = net.gradient_and_norms(X, Y)
    np.testing.assert_allclose(squared_norms, np.square(each).sum(axis=-1), rtol=1e-12)
    np.testing.assert_allclose(grads.flat, each.sum(axis=1), rtol=1e-11, atol=1e-13)


def test_the_exact_noise_is_the_spread_around_the_mean_gradient(problem, monkeypatch):
    monkeypatch.setattr("harness.noise.PIECE", 16)  # the set is taken in pieces
    net, X, Y = problem
    each = per_example_gradients(net, X, Y)
    mean = each.mean(axis=1, keepdims=True)
    spread, squared_mean = exact_noise(net, X, Y)
    np.testing.assert_allclose(spread, np.square(each - mean).sum(axis=-1).mean(axis=-1), rtol=1e-11)
    np.testing.assert_allclose(squared_mean, np.square(mean[:, 0]).sum(axis=-1), rtol=1e-11)


def test_the_law_of_a_batch_drawn_without_replacement():
    """E‖g_B − G‖² = (S/B)(N − B)/(N − 1), over every batch of 3 out of 7."""
    from itertools import combinations

    rng = np.random.default_rng(4)
    X, Y = rng.normal(size=(7, 5)), np.eye(3)[rng.integers(3, size=7)]
    net = network("tanh", "softmax_cross_entropy", (5, 4, 3), n_stack=1)
    each = per_example_gradients(net, X, Y)[0]
    errors = [
        np.square(each[list(batch)].mean(axis=0) - each.mean(axis=0)).sum() for batch in combinations(range(7), 3)
    ]
    spread, _ = exact_noise(net, X, Y)
    assert np.mean(errors) == pytest.approx(spread[0] / 3 * (7 - 3) / (7 - 1), rel=1e-12)


def test_examples_that_agree_make_no_noise():
    net = network("sigmoid", "half_squared_error", (2, 3, 1), n_stack=1)
    X, Y = np.tile([[0.5, -1.0]], (6, 1)), np.full((6, 1), 2.0)
    spread, squared_mean = exact_noise(net, X, Y)
    assert squared_mean[0] > 0
    assert abs(spread[0]) <= 1e-12 * squared_mean[0]
