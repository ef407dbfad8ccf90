"""Micro-batches against plain loops: a sigmoid neuron in Python's own numbers, and the whole batch at once."""

import math
from itertools import pairwise

import numpy as np
import pytest

from harness.network import ACCUMULATIONS, MLP, OPTIMIZERS, REDUCTIONS, Accumulated, Parameters, PerExample, Vectorized

N, D, UPDATES_OF = 22, 3, 8  # examples, inputs, examples of a batch: two whole batches and one of 6
RATE = 0.3
LOSS = "sigmoid_cross_entropy"
# K -> where the micro-batches of a batch of 8, and of the last one, of 6, begin and end
CUTS = {
    1: ([0, 8], [0, 6]),
    2: ([0, 4, 8], [0, 4, 6]),
    3: ([0, 2, 5, 8], [0, 2, 5, 6]),
    4: ([0, 2, 4, 6, 8], [0, 2, 4, 6]),
    8: ([0, 1, 2, 3, 4, 5, 6, 7, 8], [0, 1, 2, 3, 4, 5, 6]),
}


def data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    return rng.normal(size=(N, D)), rng.integers(2, size=(N, 1)).astype(float)


def neuron(n_stack: int = 1) -> MLP:
    params = Parameters.initialized((D, 1), "glorot_normal", [np.random.default_rng(r) for r in range(n_stack)])
    return MLP(params, "identity", LOSS)


def literal_gradient(w: list[float], x: list[float], y: float) -> list[float]:
    """(p − y) (x, 1) of one example; w: the weights, then the bias."""
    p = 1 / (1 + math.exp(-sum(w[i] * x[i] for i in range(D)) - w[D]))
    return [(p - y) * v for v in (*x, 1.0)]


def literal_update(w: list[float], X: list, Y: list, edges: list[int], reduction: str, accumulate: str) -> list[float]:
    """One step, with every sum and every division written out."""
    reduced = []
    for start, stop in pairwise(edges):
        own = [literal_gradient(w, X[i], Y[i]) for i in range(start, stop)]
        total = [sum(g[j] for g in own) for j in range(D + 1)]
        reduced.append([t / (stop - start) if reduction == "mean" else t for t in total])
    sizes = [stop - start for start, stop in pairwise(edges)]
    n, j = sum(sizes), len(sizes)
    weights = {
        "sum": [1.0] * j,
        "mean_of_means": [1 / j] * j,
        "by_examples": [b / n if reduction == "mean" else 1.0 for b in sizes],
    }[accumulate]
    g = [sum(weights[k] * reduced[k][i] for k in range(j)) for i in range(D + 1)]
    return [w[i] - RATE * g[i] for i in range(D + 1)]


def literal(network: MLP, micro_batches: int, reduction: str, accumulate: str, epochs: int = 2) -> list[float]:
    X, Y = data()
    w = [*network.params.W[0][0, :, 0].tolist(), network.params.b[0].item()]
    whole, short = CUTS[micro_batches]
    for _ in range(epochs):
        for start in range(0, N, UPDATES_OF):
            edges = whole if start + UPDATES_OF <= N else short
            own = slice(start, start + UPDATES_OF)
            w = literal_update(w, X[own].tolist(), Y[own, 0].tolist(), edges, reduction, accumulate)
    return w


def trained(
    micro_batches: int, reduction: str, accumulate: str, n_stack: int = 1, gathered: bool = False, kind=Vectorized,
    rule: str = "sgd", batch_size: int = UPDATES_OF, n_examples: int = N, rate: float = RATE, **hyperparameters,
) -> np.ndarray:  # fmt: skip
    """The parameters (n_stack, P) after two epochs in the order in which the data lie."""
    network, (X, Y) = neuron(n_stack), data()
    optimizer = OPTIMIZERS[rule](network.params, rate, **hyperparameters)
    parts = network, optimizer, (X, Y), reduction
    engine = Accumulated(kind.gradient_into, micro_batches, accumulate, *parts) if micro_batches else kind(*parts)
    rows = np.tile(np.arange(n_examples), (n_stack, 1)) if gathered else slice(0, n_examples)
    for _ in range(2):
        engine.make_updates(rows, batch_size)
    return network.params.flat


@pytest.mark.parametrize("kind", [Vectorized, PerExample])
@pytest.mark.parametrize("gathered", [False, True])
@pytest.mark.parametrize("accumulate", ACCUMULATIONS)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("micro_batches", CUTS)
def test_an_accumulated_update_is_the_one_written_out_in_loops(micro_batches, reduction, accumulate, gathered, kind):
    expected = literal(neuron(), micro_batches, reduction, accumulate)
    np.testing.assert_allclose(trained(micro_batches, reduction, accumulate, 1, gathered, kind)[0], expected, 1e-12)


OTHER_RULES = [
    ("momentum", {"momentum": 0.9}), ("adam", {}), ("rmsprop", {}),
    ("sgd", {"clip_norm": 0.1}), ("sgd", {"weight_decay": 0.1}),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "hyperparameters"), [("sgd", {}), *OTHER_RULES])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("micro_batches", CUTS)
def test_by_examples_is_the_whole_batch_to_rounding(micro_batches, reduction, rule, hyperparameters):
    """Also of a short last batch, under every rule, and where clipping or weight decay follow."""
    whole = trained(0, reduction, "", rule=rule, **hyperparameters)
    own = trained(micro_batches, reduction, "by_examples", rule=rule, **hyperparameters)
    np.testing.assert_allclose(own, whole, rtol=1e-12, atol=1e-14)
    assert (own != neuron().params.flat).all()


@pytest.mark.parametrize("micro_batches", [2, 4, 8])
def test_three_ways_have_the_same_bits_where_micro_batches_have_a_power_of_two(micro_batches):
    """16 examples in two whole batches: dividing by 2^k is exact, so only the rate tells the ways apart."""
    same = {"n_examples": 16, "gathered": True}
    by_examples = trained(micro_batches, "mean", "by_examples", **same)
    assert (trained(micro_batches, "mean", "mean_of_means", **same) == by_examples).all()
    assert (trained(micro_batches, "mean", "sum", rate=RATE / micro_batches, **same) == by_examples).all()
    summed = trained(micro_batches, "sum", "mean_of_means", rate=RATE * micro_batches / UPDATES_OF, **same)
    assert (summed == by_examples).all()


@pytest.mark.parametrize("accumulate", ACCUMULATIONS)
def test_a_replica_in_a_stack_has_the_bits_that_it_has_alone(accumulate):
    three, network = trained(3, "mean", accumulate, 3, gathered=True), neuron(3)
    engine = Accumulated(
        Vectorized.gradient_into, 3, accumulate, network, OPTIMIZERS["sgd"](network.params, RATE), data(), "mean"
    )
    engine.select(np.array([1]))
    for _ in range(2):
        engine.make_updates(np.arange(N)[None], UPDATES_OF)
    assert engine.network.params.flat[0].tobytes() == three[1].tobytes()


def test_the_warm_up_moves_nothing():
    network = neuron()
    before = network.params.flat.copy()
    engine = Accumulated(
        Vectorized.gradient_into, 3, "sum", network, OPTIMIZERS["sgd"](network.params, RATE), data(), "mean"
    )
    engine.warm_up(UPDATES_OF)
    assert (network.params.flat == before).all()
