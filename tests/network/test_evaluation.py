"""Scores and their baselines against scikit-learn, also where R² has no spread to explain."""

import warnings
from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.dummy import DummyClassifier
from sklearn.metrics import balanced_accuracy_score, r2_score

from harness.network import SGD, PerExample, Vectorized
from harness.network.evaluation import PIECE, balanced_accuracy, baseline, evaluate, score

ENGINES = ["vectorized", "per_example"] + (["compiled"] if find_spec("numba") else [])
SMALL = st.integers(-2, 2).map(float)  # so that outputs are often constant, and errors often 0
SHAPES = st.tuples(st.integers(2, 6), st.integers(1, 3))


def engine_named(name, network, X, Y):
    if name == "compiled":
        from harness.compiled import Compiled

        return Compiled(network, SGD(network.params, 0.1), (X, Y), "mean", 1)
    return {"vectorized": Vectorized, "per_example": PerExample}[name](
        network, SGD(network.params, 0.1), (X, Y), "mean"
    )


@given(SHAPES.flatmap(lambda shape: st.tuples(*[arrays(float, shape, elements=SMALL)] * 2)))
def test_r2_is_that_of_scikit_learn(drawn):
    Z, Y = drawn
    expected = r2_score(Y, Z, multioutput="uniform_average", force_finite=True)
    assert score("half_squared_error", np.square(Z - Y).sum(axis=0)[None], Y)[0] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("value", [0.0, 1.0, 0.1, 1e8 / 3])
def test_an_output_without_spread_counts_0_or_1_whatever_rounding_does(value):
    """The mean of equal numbers may differ from them in the last bit, which is no spread."""
    for n in range(2, 12):
        Y = np.full((n, 1), value)
        assert score("half_squared_error", np.array([[0.0], [0.5]]), Y).tolist() == [1, 0]


def test_what_diverged_has_no_finite_r2():
    quality = np.array([[np.inf], [np.nan]])
    for Y in (np.ones((3, 1)), np.arange(3.0)[:, None]):
        np.testing.assert_array_equal(score("half_squared_error", quality, Y), [-np.inf, np.nan])


@pytest.mark.xdist_group("compiled")
@pytest.mark.parametrize("name", ENGINES)
def test_every_engine_gives_the_r2_of_scikit_learn_without_a_warning(draw_examples, draw_network, name):
    """Two outputs, one of them constant in one of two replicas; and one example alone, whose R² is undefined."""
    network = draw_network("half_squared_error", (5,), "tanh", (0, 1))
    X, Y = draw_examples("half_squared_error", PIECE + 3, (0, 1))
    Y[1, :, 0] = 0.1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        engine = engine_named(name, network, X, Y)
        found = engine.evaluate(network, X, Y)[1]
        alone = engine.evaluate(network, X[:, :1], Y[:, :1])[1]
    Z = network.predict(X)
    expected = [r2_score(Y[r], Z[r], multioutput="uniform_average", force_finite=True) for r in (0, 1)]
    assert found[0] == pytest.approx(expected[0], rel=1e-10)
    K = Y.shape[-1]
    others = [0.0] + [r2_score(Y[1, :, k], Z[1, :, k]) for k in range(1, K)]
    assert found[1] == pytest.approx(np.mean(others), rel=1e-10, abs=1e-12)
    assert np.isnan(alone).all()


@pytest.mark.sample(1)
@pytest.mark.parametrize(("loss", "n_classes"), [("sigmoid_cross_entropy", 2), ("softmax_cross_entropy", None)])
@given(seed=st.integers(0, 10**6), n=st.integers(1, 40))
def test_balanced_accuracy_and_baseline_as_in_scikit_learn(draw_examples, draw_network, loss, n_classes, seed, n):
    network = draw_network(loss, (4,), "tanh", (0, 1))
    X, Y = draw_examples(loss, n)
    n_classes = n_classes or Y.shape[-1]
    labels = np.random.default_rng(seed).integers(n_classes, size=n)
    Y = labels[:, None].astype(float) if n_classes == 2 else np.eye(n_classes)[labels]
    Z = network.predict(X)
    predicted = (Z[..., 0] > 0.5) if n_classes == 2 else Z.argmax(axis=-1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns of classes that are predicted only
        expected = [balanced_accuracy_score(labels, own) for own in predicted]
    assert balanced_accuracy(network, X, Y) == pytest.approx(expected, rel=1e-12)
    assert baseline(loss, Y) == pytest.approx(DummyClassifier().fit(X, labels).score(X, labels))


def test_balanced_accuracy_is_accuracy_where_classes_are_even_and_pieces_do_not_matter(draw_examples, draw_network):
    network, (X, _) = (
        draw_network("softmax_cross_entropy", (4,), "tanh", (0, 1)),
        draw_examples("softmax_cross_entropy", 3000),
    )
    K = network.params.sizes[-1]
    labels = np.arange(len(X) - len(X) % K) % K
    X, Y = X[: len(labels)], np.eye(K)[labels]
    assert balanced_accuracy(network, X, Y) == pytest.approx(evaluate(network, X, Y)[1], rel=1e-12)
    network.params.flat[0] = np.nan
    assert balanced_accuracy(network, X, Y)[0] == 0


def test_baselines_have_a_value_for_each_replica_with_own_examples():
    Y = np.array([[[1, 0], [1, 0], [0, 1]], [[1, 0], [0, 1], [0, 1]], [[0, 1]] * 3], float)
    assert baseline("softmax_cross_entropy", Y) == pytest.approx([2 / 3, 2 / 3, 1])
    assert baseline("half_squared_error", Y).tolist() == [0, 0, 0]
    assert baseline("sigmoid_cross_entropy", np.array([[0.0], [0], [1]])) == pytest.approx(2 / 3)
