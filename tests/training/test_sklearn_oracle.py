"""scikit-learn's MLP, led through the same weights and batches, must arrive where this one does.

It shares no code with the harness, and its L2 term is switched off: what that does is tested with the reductions.
"""

import numpy as np
import pytest

from harness.network.activations import ACTIVATIONS
from harness.network.engine import Vectorized
from harness.network.evaluation import evaluate
from harness.network.losses import LOSSES
from harness.network.optimizers import OPTIMIZERS
from harness.network.parameters import Parameters
from harness.training.order import Batches
from harness.training.stack import Stack

N, BATCH_SIZE, EPOCHS = 110, 32, 6  # the last batch has 14 examples, and scikit-learn keeps it
RATE = 0.02
SEED = 4
TOLERANCE = 1e-12  # largest difference of any weight

SOLVERS = {  # name: (our rule, our settings, their settings)
    "sgd": ("sgd", {}, {"solver": "sgd", "momentum": 0}),
    "heavy ball": ("momentum", {"momentum": 0.9}, {"solver": "sgd", "momentum": 0.9, "nesterovs_momentum": False}),
    "nesterov": ("nesterov", {"momentum": 0.9}, {"solver": "sgd", "momentum": 0.9, "nesterovs_momentum": True}),
    "adam": ("adam", {"epsilon": 1e-3}, {"solver": "adam", "epsilon": 1e-3}),  # an ε that shows where it is added
}


def labels(loss: str, Y: np.ndarray) -> np.ndarray:
    """What scikit-learn calls y."""
    if loss == "softmax_cross_entropy":
        return Y.argmax(axis=1)
    return Y[:, 0] if Y.shape[1] == 1 else Y


@pytest.fixture
def fit_both(draw_examples, draw_network, fit_scikit_learn):
    """(our network, their estimator, X, y) after EPOCHS epochs from the same weights in the same order."""

    def fitted(loss, activation="tanh", solver="sgd", reduction="mean", n_targets=1):
        X, Y = draw_examples(loss, N)
        network = draw_network(loss, (7, 5), activation)
        if loss == "half_squared_error" and n_targets == 1:
            Y, network.params = Y[:, :1], first_output(network.params)
        rule, ours, theirs = SOLVERS[solver]
        rng = np.random.default_rng(SEED)
        orders = [rng.permutation(N) for _ in range(EPOCHS)]
        y = labels(loss, Y)
        led = fit_scikit_learn(network, X, y, BATCH_SIZE, orders, alpha=0, learning_rate_init=RATE, **theirs)
        optimizer = OPTIMIZERS[rule](network.params, RATE, **ours)
        cut = Batches(N, BATCH_SIZE, "reshuffle", "keep", [np.random.default_rng(SEED)])
        Stack([0], Vectorized(network, optimizer, (X, Y), reduction), cut, (X, Y)).advance(EPOCHS * 4)
        return network, led, X, Y

    return fitted


def first_output(params: Parameters) -> Parameters:
    """The network with the first of its outputs only."""
    W, b = [W[0] for W in params.W], [b[0, 0] for b in params.b]
    return Parameters.from_weights([*W[:-1], W[-1][:, :1]], [*b[:-1], b[-1][:1]])


def largest_difference(params: Parameters, led) -> float:
    pairs = [*zip(params.W, led.coefs_, strict=True), *zip(params.b, led.intercepts_, strict=True)]
    return max(np.abs(own[0] - theirs).max() for own, theirs in pairs)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("loss", LOSSES)
def test_weights_after_training_are_those_of_scikit_learn(fit_both, loss, activation, solver):
    """Two hidden layers, six epochs with a ragged last batch."""
    network, led, _, _ = fit_both(loss, activation, solver)
    assert largest_difference(network.params, led) <= TOLERANCE


@pytest.mark.parametrize("loss", ["sigmoid_cross_entropy", "softmax_cross_entropy"])
def test_predictions_and_accuracy_are_those_of_scikit_learn(fit_both, loss):
    network, led, X, Y = fit_both(loss)
    own = network.predict(X)[0]
    theirs = led.predict_proba(X)[:, -own.shape[1] :]
    np.testing.assert_allclose(own, theirs, rtol=0, atol=TOLERANCE)
    assert evaluate(network, X, Y)[1][0] == led.score(X, labels(loss, Y))


def test_predictions_and_r2_are_those_of_scikit_learn(fit_both):
    network, led, X, Y = fit_both("half_squared_error")
    np.testing.assert_allclose(network.predict(X)[0, :, 0], led.predict(X), rtol=0, atol=TOLERANCE)
    assert evaluate(network, X, Y)[1][0] == pytest.approx(led.score(X, Y[:, 0]), rel=1e-10)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_cost_is_the_one_that_scikit_learn_reports(fit_both, loss):
    """Its log loss, which works from probabilities, and half of its mean squared error."""
    from sklearn.metrics import log_loss, mean_squared_error

    network, led, X, Y = fit_both(loss)
    cost = evaluate(network, X, Y)[0][0]
    if loss == "half_squared_error":
        assert cost == pytest.approx(mean_squared_error(Y[:, 0], led.predict(X)) / 2, rel=1e-9)
    else:
        assert cost == pytest.approx(log_loss(labels(loss, Y), led.predict_proba(X)), rel=1e-9)


def test_a_sum_in_place_of_the_mean_is_noticed(fit_both):
    """The oracle can fail: the other reduction is a thousand million tolerances away."""
    network, led, _, _ = fit_both("softmax_cross_entropy", reduction="sum")
    assert largest_difference(network.params, led) > 0.1


def test_several_targets_give_the_same_weights_although_the_reported_costs_differ(fit_both):
    """It follows the gradient of ½ Σ_k (z_k − y_k)², as we do, but what it calls its loss averages over k."""
    from sklearn.neural_network._base import LOSS_FUNCTIONS

    network, led, X, Y = fit_both("half_squared_error", n_targets=2)
    assert largest_difference(network.params, led) <= TOLERANCE
    cost, r2 = evaluate(network, X, Y)
    assert cost[0] == pytest.approx(2 * LOSS_FUNCTIONS["squared_error"](Y, led.predict(X)), rel=1e-9)
    assert r2[0] == pytest.approx(led.score(X, Y), rel=1e-9)


def test_scikit_learn_was_led(fit_both, draw_network):
    """It did train: its weights moved. It did follow our order: from the batches as they lie it ends elsewhere."""
    _, led, X, Y = fit_both("softmax_cross_entropy")
    other = draw_network("softmax_cross_entropy", (7, 5), "tanh")
    assert largest_difference(other.params, led) > 1e-2
    cut = Batches(N, BATCH_SIZE, "none", "keep", [np.random.default_rng(SEED)])
    engine = Vectorized(other, OPTIMIZERS["sgd"](other.params, RATE), (X, Y), "mean")
    Stack([0], engine, cut, (X, Y)).advance(EPOCHS * 4)
    assert largest_difference(other.params, led) > 1e-6
