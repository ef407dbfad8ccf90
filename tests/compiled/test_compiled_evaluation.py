"""Costs and scores by compiled code against `evaluation.evaluate`, and against the formulas in long double."""

import numpy as np
import pytest

pytest.importorskip("numba", reason='engine=compiled is an extra: pip install -e ".[compiled]"')

import numba

from harness.compiled import functions
from harness.compiled.compiler import Choice
from harness.compiled.engine import Compiled
from harness.compiled.network import PIECE, padded_width
from harness.network.activations import ACTIVATIONS
from harness.network.evaluation import evaluate
from harness.network.losses import LOSSES
from harness.network.optimizers import SGD

pytestmark = pytest.mark.xdist_group("compiled")  # one process compiles, once

N = 2 * PIECE + 5  # two whole pieces and a ragged rest
SOFTMAX = "softmax_cross_entropy"
TOLERANCE = {np.float64: 1e-12, np.float32: 1e-5}
DTYPES = [np.float64, pytest.param(np.float32, marks=pytest.mark.slow)]  # each is compiled anew


def compiled_evaluation(network, X: np.ndarray, Y: np.ndarray, threads: int = 1) -> tuple[np.ndarray, np.ndarray]:
    engine = Compiled(network, SGD(network.params, 0.1), (X, Y), "mean", threads)
    return engine.evaluate(network, X, Y)


def costs_of(loss: str, Z: np.ndarray, Y: np.ndarray) -> tuple[float, np.ndarray]:
    """Summed cost and quality of logits Z and targets Y, (n, K), by the compiled function of the loss."""
    n, K = Z.shape
    rows = np.full((n, padded_width(K, Z.itemsize)), 7, Z.dtype)  # what fills up rows must not count
    rows[:, :K] = Z
    quality = np.zeros(K)
    cost = costs(Choice(loss), rows.reshape(-1), n, rows.shape[1], Y.astype(Z.dtype).reshape(-1), 0, K, quality)
    return cost, quality


@numba.njit(error_model="numpy")
def costs(loss, z, n, width, y, y_at, K, quality):
    return functions.costs(loss, z, n, width, y, y_at, K, quality)


@pytest.mark.sample(3)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("own_data", [False, True])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("loss", LOSSES)
def test_costs_and_scores_are_those_of_the_vectorized_engine(
    draw_examples, draw_network, loss, activation, own_data, dtype
):
    replicas = (0, 1, 2)
    network = draw_network(loss, (5, 4), activation, replicas, dtype)
    X, Y = draw_examples(loss, N, replicas if own_data else None, dtype)
    for own, vectorized in zip(compiled_evaluation(network, X, Y), evaluate(network, X, Y), strict=True):
        np.testing.assert_allclose(own, vectorized, rtol=TOLERANCE[dtype], atol=0)


@pytest.mark.slow
def test_wide_layers(draw_examples, draw_network):
    network, (X, Y) = draw_network(SOFTMAX, (200, 100), "sigmoid"), draw_examples(SOFTMAX, N)
    np.testing.assert_allclose(compiled_evaluation(network, X, Y), evaluate(network, X, Y), rtol=1e-12)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_replica_in_a_stack_has_the_bits_that_it_has_alone(draw_examples, draw_network, threads):
    X, Y = draw_examples(SOFTMAX, N)
    cost, score = compiled_evaluation(draw_network(SOFTMAX, (5,), "tanh", range(5)), X, Y, threads)
    for r in range(5):
        alone = compiled_evaluation(draw_network(SOFTMAX, (5,), "tanh", [r]), X, Y)
        assert (alone[0][0], alone[1][0]) == (cost[r], score[r])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", [SOFTMAX, "sigmoid_cross_entropy"])
def test_costs_far_below_the_rounding_of_one_keep_their_digits(loss, dtype):
    """A confident and correct network: log(1 + e^(−z)) with e^(−z) down to 1e-30."""
    for far in np.linspace(1, 69, 40).astype(dtype):
        Z, Y = (np.array([[far, 0]], dtype), np.eye(2)[:1]) if loss == SOFTMAX else (np.array([[far]]), np.ones((1, 1)))
        cost, quality = costs_of(loss, Z, Y)
        assert cost == pytest.approx(float(np.log1p(np.exp(-np.longdouble(far)))), rel=4 * np.finfo(dtype).eps)
        assert quality[0] == 1


def test_of_equal_logits_the_first_is_predicted():
    """As NumPy's argmax has it; a tie costs log of how many there are."""
    cost, quality = costs_of(SOFTMAX, np.zeros((3, 3)), np.eye(3))
    assert cost == pytest.approx(3 * np.log(3), rel=1e-15)
    assert quality[0] == 1


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("column", [0, 1])
@pytest.mark.parametrize("loss", LOSSES)
def test_what_is_not_finite_costs_and_scores_what_it_does_in_the_vectorized_engine(loss, column, bad):
    Z = np.array([[1.0, 2.0], [0.5, -3.0], [4.0, 0.0]])
    Z[1, column] = bad
    Y = np.eye(2)[[1, 0, 0]]
    cost, quality = costs_of(loss, Z, Y)
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(cost, LOSSES[loss].costs(Z, Y).sum(), rtol=1e-14)
        theirs = LOSSES[loss].quality(Z[None], Y)[0]
    np.testing.assert_allclose(quality[: theirs.size], theirs, rtol=1e-14)
