"""What a printed formula does to the parameters, against the same formula in loops; and where it is refused."""

from dataclasses import replace

import numpy as np
import pytest

from harness.config.schema import ConfigError, check
from harness.network.errata import DERIVED, FORMULAS, MISPRINTS, printed
from harness.network.mlp import MLP, Parameters
from harness.network.optimizers import SGD
from harness.training.loop import Stack
from harness.training.order import batches
from tests.training.test_cell import configured, run

RATE, N_EXAMPLES, N_UPDATES = 0.3, 6, 3
SIZES = (3, 2, 1)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def derivatives(W, b, x, y, formula):
    """∂J/∂z of both layers for one example of a sigmoid network with cross-entropy, by the chain rule in print."""
    hidden = [sigmoid(sum(W[0][i][j] * x[i] for i in range(SIZES[0])) + b[0][j]) for j in range(SIZES[1])]
    a = sigmoid(sum(W[1][j][0] * hidden[j] for j in range(SIZES[1])) + b[1][0])
    dJ_da = (y - a) / (a * (1 - a)) if formula == "lost_sign" else (a - y) / (a * (1 - a))
    dJ_dz = dJ_da * a * (1 - a)
    below = [dJ_dz * W[1][j][0] * hidden[j] * (1 - hidden[j]) for j in range(SIZES[1])]
    return [list(x), hidden], [below, [dJ_dz]]


def literal_step(W, b, X, y, formula):
    """One update by the printed formulas: w = w − 1/m Σ λ ∂J/∂w, and what is in print for b."""
    m = len(X)
    parts = [derivatives(W, b, X[k], y[k], formula) for k in range(m)]
    new_W = [[list(row) for row in layer] for layer in W]
    new_b = [list(layer) for layer in b]
    for layer in (0, 1):
        for j in range(SIZES[layer + 1]):
            of_z = [dJ_dz[layer][j] for _, dJ_dz in parts]
            for i in range(SIZES[layer]):
                step = sum(RATE * of_z[k] * parts[k][0][layer][i] for k in range(m)) / m
                new_W[layer][i][j] -= step / m if formula == "divided_twice" else step
            new_b[layer][j] = {
                DERIVED: b[layer][j] - RATE * sum(of_z) / m,
                "lost_sign": b[layer][j] - RATE * sum(of_z) / m,
                "divided_twice": b[layer][j] - RATE * sum(of_z) / m / m,
                "bias_without_rate": b[layer][j] - sum(of_z),
                "bias_mean_without_rate": b[layer][j] - sum(of_z) / m,
                "bias_of_one_example": b[layer][j] - RATE * of_z[-1],
                "bias_from_weights": W[layer][0][j] - RATE * sum(of_z) / m,
            }[formula]
    return new_W, new_b


def literal(params: Parameters, X, y, formula):
    """The flat parameters after N_UPDATES literal steps over the whole set."""
    W, b = [w[0].tolist() for w in params.W], [v[0, 0].tolist() for v in params.b]
    for _ in range(N_UPDATES):
        W, b = literal_step(W, b, X, y, formula)
    return Parameters.from_weights(W, b).flat[0]


@pytest.mark.parametrize("n_stack", [1, 2])
@pytest.mark.parametrize("formula", FORMULAS)
def test_a_formula_makes_the_step_that_is_in_print(formula, n_stack):
    rng = np.random.default_rng(2)
    X, Y = rng.normal(size=(N_EXAMPLES, 3)), rng.integers(2, size=(N_EXAMPLES, 1)).astype(float)
    params = Parameters.initialized(SIZES, "glorot_normal", [np.random.default_rng(r) for r in range(n_stack)])
    params.flat += 0.1
    expected = [literal(params.select(np.array([r])), X, Y[:, 0], formula) for r in range(n_stack)]
    network = MLP(params, "sigmoid", "sigmoid_cross_entropy")
    rngs = [np.random.default_rng(r) for r in range(n_stack)]
    cut = batches(N_EXAMPLES, N_EXAMPLES, "none", "keep", rngs)
    hook = printed(formula, RATE)
    Stack(list(range(n_stack)), network, SGD(params, RATE), (X, Y), (X, Y), cut, "mean", hook).advance(N_UPDATES)
    np.testing.assert_allclose(network.params.flat, expected, rtol=1e-11, atol=1e-13)


def test_a_cell_trains_by_its_formula_and_each_is_another_training():
    weights = {formula: run(formula=formula, epochs=1, seeds=2)[1].tobytes() for formula in FORMULAS}
    assert len(set(weights.values())) == len(FORMULAS)
    assert weights[DERIVED] == run(epochs=1, seeds=2)[1].tobytes()


@pytest.mark.parametrize(
    "change",
    [{"engine": "per_example"}, {"reduction": "sum"}, {"optimizer_clip_norm": 1.0}, {"optimizer_name": "adam"}],
)
def test_what_is_not_in_print_is_refused_in_one_line(change):
    adam = {"optimizer_beta1": 0.9, "optimizer_beta2": 0.999, "optimizer_epsilon": 1e-8}
    config = configured(**change, **(adam if "optimizer_name" in change else {}))
    with pytest.raises(ConfigError, match=r"^formula: expected derived, or plain optimizer=sgd .* got 'lost_sign'$"):
        check(replace(config, formula="lost_sign"))


def test_every_misprint_is_a_value_of_the_key():
    assert set(MISPRINTS) == set(FORMULAS) - {DERIVED}
