"""The noise scale against what it is defined by: every example's own gradient, one at a time."""

import math
from itertools import combinations, product

import numpy as np
import pytest

from harness.network.mlp import MLP
from harness.network.parameters import Parameters
from harness.training.noise import average_noise_scale, batch_noise, mean_gradient, pooled_noise_scale


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


def exact_noise(net, X, Y):
    """(S (R,), ‖G‖² (R,)) over all N examples; a batch without replacement has E‖g_B − G‖² = (S/B)(N − B)/(N − 1)."""
    mean, mean_squared_norm = mean_gradient(net, X, Y)
    squared_mean = np.square(mean).sum(axis=-1)
    return mean_squared_norm - squared_mean, squared_mean


def test_the_exact_noise_is_the_spread_around_the_mean_gradient(problem, monkeypatch):
    monkeypatch.setattr("harness.training.noise.PIECE", 16)  # the set is taken in pieces
    net, X, Y = problem
    each = per_example_gradients(net, X, Y)
    mean = each.mean(axis=1, keepdims=True)
    spread, squared_mean = exact_noise(net, X, Y)
    np.testing.assert_allclose(spread, np.square(each - mean).sum(axis=-1).mean(axis=-1), rtol=1e-11)
    np.testing.assert_allclose(squared_mean, np.square(mean[:, 0]).sum(axis=-1), rtol=1e-11)


def seven_examples():
    """So few that every batch of them can be drawn."""
    rng = np.random.default_rng(4)
    X, Y = rng.normal(size=(7, 5)), np.eye(3)[rng.integers(3, size=7)]
    return network("tanh", "softmax_cross_entropy", (5, 4, 3), n_stack=1), X, Y


def test_the_law_of_a_batch_drawn_without_replacement():
    """E‖g_B − G‖² = (S/B)(N − B)/(N − 1), over every batch of 3 out of 7."""
    net, X, Y = seven_examples()
    each = per_example_gradients(net, X, Y)[0]
    errors = [
        np.square(each[list(batch)].mean(axis=0) - each.mean(axis=0)).sum() for batch in combinations(range(7), 3)
    ]
    spread, _ = exact_noise(net, X, Y)
    assert np.mean(errors) == pytest.approx(spread[0] / 3 * (7 - 3) / (7 - 1), rel=1e-12)


def estimate(net, X, Y, rows, population):
    """(S, ‖G‖²) from the batch `rows` alone."""
    gradient, mean_squared_norm = mean_gradient(net, X[rows], Y[rows])
    return batch_noise(float(mean_squared_norm[0]), float(np.square(gradient).sum()), len(rows), population)


@pytest.mark.parametrize("batch_size", [2, 3, 6, 7])
def test_estimates_from_batches_drawn_without_replacement_are_right_on_average(batch_size):
    """Averaged over every batch there is, not one digit off: the −S/N of such batches is added back."""
    net, X, Y = seven_examples()
    spread, squared_mean = exact_noise(net, X, Y)
    estimates = [estimate(net, X, Y, list(rows), 7) for rows in combinations(range(7), batch_size)]
    np.testing.assert_allclose(np.mean(estimates, axis=0), [spread[0], squared_mean[0]], rtol=1e-11)


@pytest.mark.parametrize("batch_size", [2, 3])
def test_estimates_from_batches_drawn_with_replacement_are_right_on_average(batch_size):
    """All 7^B ordered draws; with the correction for the others they would be wrong."""
    net, X, Y = seven_examples()
    spread, squared_mean = exact_noise(net, X, Y)
    draws = [list(rows) for rows in product(range(7), repeat=batch_size)]
    estimates = [estimate(net, X, Y, rows, math.inf) for rows in draws]
    np.testing.assert_allclose(np.mean(estimates, axis=0), [spread[0], squared_mean[0]], rtol=1e-11)
    corrected = np.mean([estimate(net, X, Y, rows, 7) for rows in draws], axis=0)
    assert corrected[1] - squared_mean[0] == pytest.approx(spread[0] / 7, rel=1e-9)


def test_one_example_says_nothing_of_the_spread():
    assert all(math.isnan(value) for value in batch_noise(2.0, 2.0, 1, 100))
    assert all(math.isnan(value) for value in batch_noise(2.0, 1.0, 8, math.nan))  # no random sample


def test_the_noise_scale_of_a_run_is_a_ratio_of_time_averages():
    """Two measurements that stand for 1 and 9 updates: (1·10 + 9·20) / (1·5 + 9·1)."""
    updates = np.array([1, 10])
    assert pooled_noise_scale(updates, np.array([10.0, 20.0]), np.array([5.0, 1.0])) == pytest.approx(190 / 14)
    assert pooled_noise_scale(updates, np.array([np.nan, 20.0]), np.array([np.nan, 4.0])) == pytest.approx(5)


def test_an_exact_noise_scale_is_the_time_average_of_the_ratio():
    updates, spread, squared_mean = np.array([4, 14]), np.array([10.0, 20.0]), np.array([5.0, 1.0])
    assert average_noise_scale(updates, spread, squared_mean) == pytest.approx((4 * 2 + 10 * 20) / 14)
    assert math.isnan(average_noise_scale(updates, np.full(2, np.nan), squared_mean))


def test_a_noise_scale_can_be_unresolved():
    """No estimate, none that is finite, or a squared norm that comes out negative."""
    updates = np.array([1, 10])
    assert math.isnan(pooled_noise_scale(updates, np.array([10.0, 20.0]), np.array([5.0, -1.0])))
    assert math.isnan(pooled_noise_scale(updates, np.full(2, np.inf), np.full(2, np.nan)))
    assert math.isnan(pooled_noise_scale(np.array([]), np.array([]), np.array([])))


def test_examples_that_agree_make_no_noise():
    net = network("sigmoid", "half_squared_error", (2, 3, 1), n_stack=1)
    X, Y = np.tile([[0.5, -1.0]], (6, 1)), np.full((6, 1), 2.0)
    spread, squared_mean = exact_noise(net, X, Y)
    assert squared_mean[0] > 0
    assert abs(spread[0]) <= 1e-12 * squared_mean[0]
