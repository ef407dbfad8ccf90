"""The vectorised gradient against two slower, stupider ones: one example at a time, and a neuron in plain Python."""

import math

import numpy as np
import pytest

from harness.network.activations import ACTIVATIONS
from harness.network.engine import Engine, PerExample, Vectorized
from harness.network.losses import LOSSES
from harness.network.mlp import MLP
from harness.network.optimizers import SGD
from harness.network.parameters import Parameters
from harness.network.reduction import inplace_reduce
from harness.training.order import Batches, updates_per_epoch
from harness.training.stack import Stack

REPLICAS = (0, 1, 2)
DEPTHS = {0: [], 1: [5], 2: [5, 4], 3: [6, 5, 4]}
ENGINES = [Vectorized, PerExample]


def assert_same(one: Parameters, other: Parameters, tolerance: float) -> None:
    """Each W and b within `tolerance` of its own largest entry: a small layer may not hide behind a large one."""
    for A, B in zip([*one.W, *one.b], [*other.W, *other.b], strict=True):
        assert np.abs(A - B).max() <= tolerance * np.abs(B).max()


@pytest.mark.parametrize("own_data", [False, True], ids=["shared data", "data per replica"])
@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_batch_gradient_is_the_sum_of_the_gradients_of_its_examples(
    draw_examples, draw_network, activation, loss, depth, own_data
):
    """C1: accumulated over 13 single backward passes, it is the one matrix pass up to the order of the sum."""
    network = draw_network(loss, DEPTHS[depth], activation, REPLICAS)
    X, Y = draw_examples(loss, 13, REPLICAS if own_data else None)
    slow = Parameters(network.params.sizes, np.empty_like(network.params.flat))
    PerExample.gradient_into(network, slow, X, Y)
    assert_same(network.gradient(X, Y), slow, 1e-12)


@pytest.mark.parametrize("loss", LOSSES)
def test_batch_gradient_is_the_sum_over_any_partition_of_the_batch(draw_examples, draw_network, loss):
    """Linearity (C1) without a second implementation: 13 = 5 + 7 + 1 examples."""
    network = draw_network(loss, [5, 4], "tanh", REPLICAS)
    X, Y = draw_examples(loss, 13)
    parts = [network.gradient(X[rows], Y[rows]).flat for rows in (slice(0, 5), slice(5, 12), slice(12, 13))]
    assert_same(network.gradient(X, Y), Parameters(network.params.sizes, sum(parts)), 1e-12)


def neuron_gradient(w: list[float], b: float, X: list[list[float]], Y: list[float]) -> tuple[list[float], float]:
    """(ŷ − y) x and ŷ − y summed over examples: a sigmoid neuron with cross-entropy, in loops (C6)."""
    dw, db = [0.0] * len(w), 0.0
    for x, y in zip(X, Y, strict=True):
        z = b
        for i in range(len(w)):
            z += w[i] * x[i]
        error = 1 / (1 + math.exp(-z)) - y
        for i in range(len(w)):
            dw[i] += error * x[i]
        db += error
    return dw, db


def test_single_neuron_equals_plain_python_loops(draw_examples, draw_network):
    """The third opinion: no NumPy, no shared code, the formula of the output layer as a textbook prints it."""
    network = draw_network("sigmoid_cross_entropy", [])
    X, Y = draw_examples("sigmoid_cross_entropy", 9)
    params = network.params
    dw, db = neuron_gradient(params.W[0][0, :, 0].tolist(), params.b[0].item(), X.tolist(), Y[:, 0].tolist())
    for engine in ENGINES:
        grads = Parameters(params.sizes, np.empty_like(params.flat))
        engine.gradient_into(network, grads, X, Y)
        np.testing.assert_allclose(grads.W[0][0, :, 0], dw, rtol=1e-12)
        np.testing.assert_allclose(grads.b[0].item(), db, rtol=1e-12)


def test_batch_size_one_is_a_hand_written_stochastic_gradient_descent(draw_examples, draw_network):
    """C4: 300 updates of a neuron, one example each, against the loop a student would write."""
    network = draw_network("sigmoid_cross_entropy", [])
    X, Y = draw_examples("sigmoid_cross_entropy", 60)
    w, b = network.params.W[0][0, :, 0].tolist(), network.params.b[0].item()
    engine = Vectorized(network, SGD(network.params, 0.3), (X, Y), "mean")
    stack = Stack([0], engine, _in_order(60, 1), (X, Y))
    stack.advance(300)
    for t in range(300):
        dw, db = neuron_gradient(w, b, [X[t % 60].tolist()], [Y[t % 60, 0].item()])
        w, b = [w_i - 0.3 * dw_i for w_i, dw_i in zip(w, dw, strict=True)], b - 0.3 * db
    np.testing.assert_allclose(network.params.flat[0], [*w, b], rtol=0, atol=1e-12)


def _in_order(n_examples: int, batch_size: int):
    return Batches(n_examples, batch_size, "none", "keep", [np.random.default_rng(0)])


@pytest.mark.parametrize("engine", ENGINES)
def test_parameters_stay_as_they_are_within_a_batch(draw_examples, draw_network, engine):
    """C5: weights change between batches only, ⌈N/B⌉ times an epoch, whichever engine computes the gradient."""
    network = draw_network("softmax_cross_entropy", [5])
    X, Y = draw_examples("softmax_cross_entropy", 23)
    seen = []

    def watched(network: MLP, grads: Parameters, X: np.ndarray, Y: np.ndarray) -> None:
        before = network.params.flat.tobytes()
        engine.gradient_into(network, grads, X, Y)
        assert network.params.flat.tobytes() == before
        seen.append(before)

    watching = Engine(network, SGD(network.params, 0.1), (X, Y), "mean")
    watching.gradient_into = watched
    stack = Stack([0], watching, _in_order(23, 5), (X, Y))
    stack.advance(2 * updates_per_epoch(23, 5, "keep"))
    assert len(set(seen)) == len(seen) == 2 * 5


def test_updating_after_each_example_of_a_batch_would_be_noticed(draw_examples, draw_network):
    """The mistake that C5 excludes moves the weights by far more than rounding."""
    X, Y = draw_examples("softmax_cross_entropy", 16)
    right, wrong = (draw_network("softmax_cross_entropy", [5]) for _ in range(2))
    grads = right.gradient(X, Y).flat
    inplace_reduce(grads, "mean", 16)
    SGD(right.params, 0.5).inplace_step(right.params.flat, grads)
    optimizer = SGD(wrong.params, 0.5 / 16)
    for x, y in zip(X, Y, strict=True):
        optimizer.inplace_step(wrong.params.flat, wrong.gradient(x[None], y[None]).flat)
    assert 1e-4 < np.abs(right.params.flat - wrong.params.flat).max() < 1e-1


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_both_engines_train_the_same_network(draw_examples, draw_network, reduction):
    """Ten epochs with a ragged last batch: rounding is all that separates them."""
    X, Y = draw_examples("softmax_cross_entropy", 23, REPLICAS)
    trained = []
    for engine in ENGINES:
        network = draw_network("softmax_cross_entropy", [5], replicas=REPLICAS)
        order = Batches(23, 5, "reshuffle", "keep", [np.random.default_rng(r) for r in REPLICAS])
        Stack(REPLICAS, engine(network, SGD(network.params, 0.05), (X, Y), reduction), order, (X, Y)).advance(50)
        trained.append(network.params)
    assert_same(trained[0], trained[1], 1e-12)


@pytest.mark.parametrize("engine", ENGINES)
def test_engines_write_every_entry_of_the_gradient_and_keep_its_dtype(draw_examples, draw_network, engine):
    """What was in `grads` and in the buffers before must not leak in: the second call repeats the first."""
    network = draw_network("softmax_cross_entropy", [5, 4], "relu", REPLICAS, np.float32)
    X, Y = draw_examples("softmax_cross_entropy", 7, dtype=np.float32)
    results = []
    for stale in (np.nan, 1e30):
        grads = Parameters(network.params.sizes, np.full_like(network.params.flat, stale))
        engine.gradient_into(network, grads, X, Y)
        engine.gradient_into(network, Parameters(grads.sizes, np.empty_like(grads.flat)), X[:3], Y[:3])
        results.append(grads.flat)
    assert results[0].dtype == np.float32
    assert results[0].tobytes() == results[1].tobytes()
