"""The noisy quadratic model, whose expected cost has a closed form (Zhang et al. 2019), through the real update code.

A single linear unit on a constant input √a has the output z = √a w + b, and one update with the targets y of a batch
moves it by −ηh(z − ȳ) with h = a + 1: gradient descent on ½(z − y)² seen as a quadratic of curvature h.
"""

import numpy as np
import pytest

from harness.network.engine import inplace_update
from harness.network.mlp import MLP
from harness.network.optimizers import SGD
from harness.network.parameters import Parameters

N_STACK, SPREAD, START = 4000, 1.5, 2.0


def expected_cost(t, eta, h, batch_size):
    """E ½z² = (1 − ηh)^2t ½z_0² + [ηh σ²/(2B(2 − ηh))] (1 − (1 − ηh)^2t), σ² the variance of a target."""
    decay = (1 - eta * h) ** (2 * t)
    return decay * START**2 / 2 + eta * h * SPREAD**2 / (2 * batch_size * (2 - eta * h)) * (1 - decay)


def costs_along(eta, a, batch_size, reduction, steps, seed):
    """½z² (R,) of every network of a stack after each of `steps` updates."""
    rng = np.random.default_rng(seed)
    params = Parameters.from_weights([np.zeros((N_STACK, 1, 1))], [np.full((N_STACK, 1), START)])
    network = MLP(params, "identity", "half_squared_error")
    sgd = SGD(params, eta)
    X = np.full((batch_size, 1), np.sqrt(a))
    found = {}
    for update in range(1, max(steps) + 1):
        Y = SPREAD * rng.normal(size=(N_STACK, batch_size, 1))
        inplace_update(network, sgd, X, Y, reduction)
        if update in steps:
            found[update] = np.square(network.predict(X[:1])[:, 0, 0]) / 2
    return found


@pytest.mark.parametrize(("eta", "batch_size"), [(0.05, 1), (0.3, 1), (0.3, 8), (0.8, 4)])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_expected_cost_is_met_within_three_standard_errors(eta, batch_size, reduction):
    a, steps = 1.0, (1, 3, 10, 30)
    rate = eta / batch_size if reduction == "sum" else eta
    for update, costs in costs_along(rate, a, batch_size, reduction, steps, seed=11).items():
        error = costs.std(ddof=1) / np.sqrt(N_STACK)
        assert abs(costs.mean() - expected_cost(update, eta, a + 1, batch_size)) < 3 * error, update


def test_a_wrong_reduction_would_be_seen():
    """The bound can fail: a mean taken for a sum at B = 8 is tens of standard errors off."""
    costs = costs_along(0.3 / 8, 1.0, 8, "mean", (10,), seed=11)[10]
    error = costs.std(ddof=1) / np.sqrt(N_STACK)
    assert abs(costs.mean() - expected_cost(10, 0.3, 2.0, 8)) > 30 * error
