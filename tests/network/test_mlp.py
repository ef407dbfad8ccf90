"""What a network refuses, in one line that says what to pass; and what it returns stays as it is."""

import numpy as np
import pandas as pd
import pytest

from harness.network.engine import inplace_update
from harness.network.mlp import MLP
from harness.network.optimizers import SGD
from harness.network.parameters import Parameters

SIZES, B = (4, 5, 3), 7


@pytest.fixture
def network() -> MLP:
    return MLP(Parameters.initialized(SIZES, "glorot_uniform", [np.random.default_rng(r) for r in range(2)]))


@pytest.fixture
def examples() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(B, 4)), np.eye(3)[rng.integers(3, size=B)]


@pytest.mark.parametrize("sizes", [[64, 32, 10], (4, 3), np.zeros((1, 20))], ids=str)
def test_sizes_are_refused_with_what_to_write(sizes):
    with pytest.raises(
        TypeError, match=r"^MLP takes Parameters, got \w+: write MLP\(Parameters\.initialized\(\[64, 32,"
    ):
        MLP(sizes)


@pytest.mark.parametrize(
    "labels", [lambda Y: Y.argmax(axis=1), lambda Y: Y.argmax(axis=1)[:, None], lambda Y: Y[:-1], lambda Y: Y[:, :2]]
)
def test_targets_of_another_shape_are_refused_with_what_to_pass(network, examples, labels):
    """Class labels above all: (B,) would broadcast against (B, K) to nonsense wherever B = K."""
    X, Y = examples
    message = r"^Y: expected targets of shape \(B, 3\) with B=7 \(of class labels y: np\.eye\(3\)\[y\]\), .* got \("
    for call in (network.costs, network.gradient, network.gradient_and_norms):
        with pytest.raises(ValueError, match=message):
            call(X, labels(Y))
    with pytest.raises(ValueError, match=message):
        inplace_update(network, SGD(network.params, 0.1), X, labels(Y))


def test_a_column_of_a_regression_is_refused_without_a_word_about_classes(examples):
    X, Y = examples
    params = Parameters.initialized((4, 1), "zeros", [np.random.default_rng(0)])
    with pytest.raises(
        ValueError, match=r"^Y: expected targets of shape \(B, 1\) with B=7, or \(R, B, 1\), got \(7,\)$"
    ):
        MLP(params, loss="half_squared_error").costs(X, Y[:, 0])


def test_what_is_no_array_is_refused_with_what_to_write(network, examples):
    X, Y = examples
    for call in (network.predict, lambda X: network.costs(X, Y), lambda X: network.gradient(X, Y)):
        for given in (X.tolist(), pd.DataFrame(X)):
            with pytest.raises(TypeError, match=r"^X: expected a NumPy array, got \w+: write np\.asarray\(X\)$"):
                call(given)
    with pytest.raises(TypeError, match=r"^Y: expected a NumPy array, got list: write np\.asarray\(Y\)$"):
        network.gradient_and_norms(X, Y.tolist())


def test_unknown_names_are_refused_with_those_that_are_known(network):
    with pytest.raises(ValueError, match=r"^loss: expected .*softmax_cross_entropy .*, got 'mse'$"):
        MLP(network.params, loss="mse")
    with pytest.raises(ValueError, match=r"^activation: expected .*sigmoid.*, got 'swish'$"):
        MLP(network.params, activation="swish")


def test_an_optimiser_of_something_else_is_refused_with_what_to_write(network):
    with pytest.raises(TypeError, match=r"^SGD takes Parameters, got MLP: write mlp\.params$"):
        SGD(network, 0.1)


@pytest.mark.parametrize("shape", [(4,), (B, 5), (3, B, 4), (1, 1, B, 4)], ids=str)
def test_inputs_of_another_shape_are_refused(network, examples, shape):
    X, Y = np.zeros(shape), examples[1]
    for call in (network.predict, lambda X: network.costs(X, Y), lambda X: network.gradient(X, Y)):
        with pytest.raises(ValueError, match=r"^X: expected shape \(B, 4\), or \(R, B, 4\) with R=2, got \("):
            call(X)


@pytest.mark.parametrize("own", [1, 2])
def test_sets_of_one_or_of_each_network_are_taken(network, examples, own):
    X, Y = (np.stack(own * [V]) for V in examples)
    assert (network.costs(X, Y) == network.costs(*examples)).all()


def test_what_is_returned_is_not_overwritten_by_the_next_pass(network, examples):
    X, Y = examples
    found = network.predict(X), network.costs(X, Y), network.gradient(X, Y).flat
    copies = [array.copy() for array in found]
    network.predict(2 * X)
    network.gradient(-X, Y)
    for array, copy in zip(found, copies, strict=True):
        assert (array == copy).all()


def test_an_update_of_a_notebook_is_gradient_reduction_and_step(network, examples):
    X, Y = examples
    expected = network.params.flat - 0.1 * network.gradient(X, Y).flat / B
    inplace_update(network, SGD(network.params, 0.1), X, Y)
    np.testing.assert_allclose(network.params.flat, expected, rtol=1e-14)
