"""What is measured of one update, against every example's gradient written out; and that looking changes nothing."""

import math
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from numpy.random import SeedSequence

from harness.network.engine import Vectorized, gather
from harness.network.mlp import MLP
from harness.network.optimizers import OPTIMIZERS
from harness.training import sharpness
from harness.training.checkpoints import is_geometric
from harness.training.diagnostics import OBSERVERS, Diagnostics
from harness.training.loop import Budget, train
from harness.training.order import Batches
from harness.training.stack import Stack

N, LOSS, RATE = 50, "softmax_cross_entropy", 0.3
STREAM = SeedSequence(3)
BATCH_FIELDS = ["gradient_norm", "example_norm", "batch_variance", "batch_squared_norm", "update_size"]


@pytest.fixture
def make_stack(draw_examples, draw_network) -> Callable[..., Stack]:
    """A stack of replica 0, observed at the level given."""

    def made(level: str = "off", batch_size: int = 8, optimizer: str = "sgd", dtype: Any = np.float64) -> Stack:
        network = draw_network(LOSS, [5], dtype=dtype)
        order = Batches(N, batch_size, "reshuffle", "keep", [np.random.default_rng(9)])
        train_set, validation_set = draw_examples(LOSS, N, dtype=dtype), draw_examples(LOSS, 20, dtype=dtype)
        observer = OBSERVERS[level](N, RATE, STREAM) if level != "off" else None
        rule = OPTIMIZERS[optimizer](network.params, RATE)
        return Stack([0], Vectorized(network, rule, train_set, "mean"), order, validation_set, observer)

    return made


def observed(stack: Stack, n_updates: int) -> dict[int, Diagnostics]:
    records = train([stack], Budget(updates=n_updates))
    return {record.update: record.diagnostics for record in records if record.diagnostics}


def each_gradient(network: MLP, X: np.ndarray, Y: np.ndarray) -> np.ndarray:
    """(n, P), by asking for the gradient of one example n times."""
    return np.array([network.gradient(X[i : i + 1], Y[i : i + 1]).flat[0] for i in range(len(X))])


def directly(stack: Stack) -> Diagnostics:
    """One update of an unobserved stack of batches of 8, with every gradient written out."""
    network, (X, Y) = stack.network, stack.engine.train_set
    before = network.params.flat[0].copy()
    rows = next(stack.batches)
    own, whole = each_gradient(network, gather(X, rows)[0], gather(Y, rows)[0]), each_gradient(network, X, Y)
    g, G = own.mean(axis=0), whole.mean(axis=0)
    b, n2, q = len(own), np.square(own).sum(axis=1).mean(), g @ g
    lambda_max = sharpness.sharpness(network, X, Y, np.random.default_rng(STREAM))
    stack.engine.make_updates(rows, 8)
    stack.update += 1
    spread = (n2 - q) * b / (b - 1)
    return Diagnostics(
        gradient_norm=np.linalg.norm(g),
        example_norm=np.sqrt(n2),
        batch_variance=spread * (N - 1) / N,
        batch_squared_norm=(b * q - n2) / (b - 1) + spread / N,
        update_size=np.linalg.norm(network.params.flat[0] - before),
        variance=np.square(whole - G).sum(axis=1).mean(),
        squared_norm=G @ G,
        cosine=g @ G / np.linalg.norm(g) / np.linalg.norm(G),
        squared_distance=np.square(g - G).sum(),
        lambda_max=lambda_max,
        eta_lambda_max=RATE * lambda_max,
    )


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
def test_every_figure_is_what_the_gradients_written_out_give(make_stack, optimizer):
    """At each due update of two epochs, whose seventh batch holds 2 examples: the batch is the one then used."""
    expected = {}
    stack = make_stack(optimizer=optimizer)
    for update in range(1, 15):
        figures = directly(stack)
        if is_geometric(update, 10):
            expected[update] = asdict(figures)
    found = observed(make_stack("full", optimizer=optimizer), 14)
    assert found.keys() == expected.keys() == {1, 2, 3, 4, 5, 6, 8, 10, 13}
    for update, figures in found.items():
        assert asdict(figures) == pytest.approx(expected[update], rel=1e-9), update


def test_the_update_of_sgd_is_the_learning_rate_times_the_gradient(make_stack):
    for figures in observed(make_stack("cheap"), 20).values():
        assert figures.update_size == pytest.approx(RATE * figures.gradient_norm, rel=1e-9)


def test_cheap_is_sparser_and_looks_at_the_batch_only(make_stack):
    cheap, full = observed(make_stack("cheap"), 40), observed(make_stack("full"), 40)
    assert list(cheap) == [u for u in range(41) if is_geometric(u, 5)] == [1, 2, 3, 4, 6, 10, 16, 25, 40]
    for update, figures in cheap.items():
        values, all_values = asdict(figures), asdict(full[update])
        assert [name for name, value in values.items() if not math.isnan(value)] == BATCH_FIELDS
        assert [values[name] for name in BATCH_FIELDS] == [all_values[name] for name in BATCH_FIELDS]
        assert np.isfinite(list(all_values.values())).all()


def test_the_whole_set_as_a_batch_agrees_with_itself(make_stack):
    for figures in observed(make_stack("full", batch_size=N), 10).values():
        assert figures.cosine == pytest.approx(1, rel=1e-12)
        assert figures.squared_distance <= 1e-25
        assert figures.batch_variance == pytest.approx(figures.variance, rel=1e-12)
        assert figures.batch_squared_norm == pytest.approx(figures.squared_norm, rel=1e-12)


def test_a_batch_of_one_has_norms_and_no_noise_scale(make_stack):
    for figures in observed(make_stack("full", batch_size=1), 10).values():
        assert math.isnan(figures.batch_variance)
        assert math.isnan(figures.batch_squared_norm)
        assert figures.gradient_norm == pytest.approx(figures.example_norm, rel=1e-12)
        assert figures.variance > 0


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("batch_size", [1, 8, N])
def test_looking_changes_no_bit_of_the_training(make_stack, batch_size, dtype):
    ends, costs = set(), set()
    for level in ("off", *OBSERVERS):
        stack = make_stack(level, batch_size, "momentum", dtype)
        records = list(train([stack], Budget(updates=40)))
        ends.add(stack.final[0].tobytes())
        costs.add(tuple(float(record.train_cost[0]) for record in records))
        assert stack.engine.train_set[0].dtype == stack.network.params.flat.dtype == dtype
    assert len(ends) == len(costs) == 1


def test_single_precision_is_measured_in_double(make_stack):
    single, double = (observed(make_stack("full", dtype=dtype), 3)[3] for dtype in (np.float32, np.float64))
    assert asdict(single) == pytest.approx(asdict(double), rel=1e-3)


def test_a_divergence_is_diagnosed_in_silence(make_stack):
    """Warnings are errors here; the last figures may not be finite, and whoever writes them leaves those out."""
    stack = make_stack("full")
    stack.engine.optimizer.eta[:] = 1e200
    assert 1 in observed(stack, 40)
