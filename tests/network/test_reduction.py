"""Sum versus mean: every case in which one reproduces the other, with what has to be rescaled, and what is left over.

Each test trains the same network twice, from the same weights through the same batches. `==` means the same bits. The
rows are: plain gradient steps, a ragged last batch, weight decay, adaptive steps, clipping, the reported cost, and the
L2 term of scikit-learn. Then mistakes are planted, and each must fail the tests above.
"""

from collections.abc import Callable
from itertools import islice

import numpy as np
import pytest

import harness.network.engine
from harness.network.engine import Vectorized
from harness.network.evaluation import evaluate
from harness.network.mlp import MLP
from harness.network.optimizers import OPTIMIZERS
from harness.network.parameters import Parameters
from harness.network.reduction import REDUCTIONS, inplace_reduce
from harness.training.loop import Budget, train
from harness.training.order import Batches, updates_per_epoch
from harness.training.stack import Stack

N = 1024
LOSS = "softmax_cross_entropy"
DTYPES = [np.float64, np.float32]
PLAIN = ["sgd", "momentum", "nesterov"]
ADAPTIVE = ["adam", "rmsprop"]
ROUNDING = 1e-12  # relative, after a few epochs in float64
VISIBLE = 1e-3  # relative: a difference that nobody would call rounding


@pytest.fixture
def fit(draw_examples, draw_network) -> Callable[..., np.ndarray]:
    """fit(reduction, learning rate, B, …) -> weights, as movement from the start, which all fits share.

    before_batch(rule, b) may change the optimiser for a batch of b examples.
    """

    def fitted(
        reduction: str,
        learning_rate: float,
        batch_size: int,
        *,
        optimizer: str = "sgd",
        n_examples: int | None = None,
        epochs: int = 2,
        last_batch: str = "keep",
        dtype: type = np.float64,
        before_batch: Callable | None = None,
        gradient_into: Callable = MLP.gradient_into,
        **hyperparameters: float,
    ) -> np.ndarray:
        n_examples = n_examples or (N if batch_size > 1 else 128)
        network = draw_network(LOSS, [6], "tanh", dtype=dtype)
        start = network.params.flat.copy()
        examples = draw_examples(LOSS, n_examples, dtype=dtype)
        rule = OPTIMIZERS[optimizer](network.params, learning_rate, **hyperparameters)
        order = Batches(n_examples, batch_size, "reshuffle", last_batch, [np.random.default_rng(8)])
        engine = Vectorized(network, rule, examples, reduction)
        engine.gradient_into = gradient_into
        n_updates = epochs * updates_per_epoch(n_examples, batch_size, last_batch)
        if before_batch:
            for batch in islice(order, n_updates):
                before_batch(rule, batch.shape[1])
                engine.make_updates(batch, batch_size)
        else:
            Stack([0], engine, order, examples).advance(n_updates)
        return network.params.flat - start

    return fitted


def difference(one: np.ndarray, other: np.ndarray) -> float:
    """Relative to how far training moved the weights."""
    return float(np.linalg.norm(one - other) / np.linalg.norm(other))


# Plain gradient steps: mean at η is sum at η/B.


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch_size", [1, 64, 512])
@pytest.mark.parametrize("optimizer", PLAIN)
def test_sum_at_lr_over_b_is_mean_at_lr_to_the_bit_when_b_is_a_power_of_two(fit, optimizer, batch_size, dtype):
    """Dividing by 2^k is exact and commutes with every rounding of these rules, in single precision too (C2)."""
    mean = fit("mean", 0.1, batch_size, optimizer=optimizer, dtype=dtype)
    assert (fit("sum", 0.1 / batch_size, batch_size, optimizer=optimizer, dtype=dtype) == mean).all()
    assert np.abs(mean).max() > VISIBLE


@pytest.mark.parametrize("optimizer", PLAIN)
@pytest.mark.parametrize("batch_size", [3, 60, 100])
def test_sum_at_lr_over_b_is_mean_at_lr_up_to_rounding_for_any_b(fit, optimizer, batch_size):
    """At a learning rate where training is stable: near the edge it amplifies rounding like any other difference."""
    n_examples, rate = batch_size * (1000 // batch_size), 0.1 if optimizer == "sgd" else 0.01
    mean = fit("mean", rate, batch_size, optimizer=optimizer, n_examples=n_examples)
    total = fit("sum", rate / batch_size, batch_size, optimizer=optimizer, n_examples=n_examples)
    assert 0 < difference(total, mean) <= ROUNDING


def test_in_single_precision_rounding_is_larger_but_still_rounding(fit):
    mean = fit("mean", 0.1, 60, n_examples=960, dtype=np.float32)
    assert difference(fit("sum", 0.1 / 60, 60, n_examples=960, dtype=np.float32), mean) <= 1e-5


@pytest.mark.parametrize("optimizer", PLAIN)
def test_the_same_learning_rate_is_not_the_same_training(fit, optimizer):
    """Without dividing η by B the sum takes steps B times as long."""
    assert difference(fit("sum", 0.01, 64, optimizer=optimizer), fit("mean", 0.01, 64, optimizer=optimizer)) > 1


# A ragged last batch: 1000 = 15 × 64 + 40.

RAGGED = {"n_examples": 1000, "epochs": 4}


@pytest.mark.parametrize("optimizer", PLAIN)
def test_ragged_last_batch_leaves_a_difference_of_percents(fit, optimizer):
    """No constant η repairs it: the mean gives each example of the short batch 64/40 times the weight of another."""
    mean = fit("mean", 0.1, 64, optimizer=optimizer, **RAGGED)
    assert 2e-3 < difference(fit("sum", 0.1 / 64, 64, optimizer=optimizer, **RAGGED), mean) < 0.2
    rates = 0.1 / np.linspace(35, 70, 8)
    best = min(difference(fit("sum", rate, 64, optimizer=optimizer, **RAGGED), mean) for rate in rates)
    assert best > VISIBLE


def test_mean_overweights_the_examples_of_the_short_batch_by_b_over_its_size(fit, draw_examples, draw_network):
    """To first order in η an epoch of the sum is the full gradient; the mean adds (64/40 − 1) × the short batch's."""
    rate, (X, Y), network = 1e-7, draw_examples(LOSS, 1000), draw_network(LOSS, [6])
    short = np.random.default_rng(8).permutation(1000)[960:]
    full, of_short = (network.gradient(X[rows], Y[rows]).flat for rows in (slice(None), short))
    total = fit("sum", rate / 64, 64, n_examples=1000, epochs=1)
    mean = fit("mean", rate, 64, n_examples=1000, epochs=1)
    np.testing.assert_allclose(total, -rate / 64 * full, rtol=1e-4)
    np.testing.assert_allclose(mean, -rate / 64 * (full + (64 / 40 - 1) * of_short), rtol=1e-4)


def rate_over_true_size(rule, n_examples):
    rule.eta[:] = 0.1 / n_examples


@pytest.mark.parametrize("optimizer", PLAIN)
def test_ragged_last_batch_is_exact_with_lr_over_its_own_size(fit, optimizer):
    """sum at η/b with the b of each batch; to the bit when all are powers of two (1056 = 16 × 64 + 32)."""
    mean = fit("mean", 0.1, 64, optimizer=optimizer, **RAGGED)
    total = fit("sum", 1.0, 64, optimizer=optimizer, before_batch=rate_over_true_size, **RAGGED)
    assert difference(total, mean) <= ROUNDING
    mean = fit("mean", 0.1, 64, optimizer=optimizer, n_examples=1056)
    assert (fit("sum", 1.0, 64, optimizer=optimizer, n_examples=1056, before_batch=rate_over_true_size) == mean).all()


@pytest.mark.parametrize("optimizer", PLAIN)
def test_ragged_last_batch_is_exact_when_it_is_dropped(fit, optimizer):
    mean = fit("mean", 0.1, 64, optimizer=optimizer, last_batch="drop", **RAGGED)
    total = fit("sum", 0.1 / 64, 64, optimizer=optimizer, last_batch="drop", **RAGGED)
    assert (total == mean).all()


# Weight decay: it is added to the reduced gradient, so it must be rescaled with it.


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("optimizer", PLAIN)
def test_weight_decay_must_be_multiplied_by_b_for_the_sum(fit, optimizer, dtype):
    """η/B and λB: to the bit. With λ as it is, the sum hardly decays at all."""
    setting = {"optimizer": optimizer, "dtype": dtype}
    mean = fit("mean", 0.1, 64, weight_decay=0.05, **setting)
    assert (fit("sum", 0.1 / 64, 64, weight_decay=0.05 * 64, **setting) == mean).all()
    unscaled = fit("sum", 0.1 / 64, 64, weight_decay=0.05, **setting)
    assert difference(unscaled, mean) > 0.1
    assert difference(unscaled, fit("mean", 0.1, 64, **setting)) < difference(unscaled, mean)


# Adaptive steps: they divide by the size of the gradient, so η stays and ε scales.


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch_size", [1, 64, 512])
@pytest.mark.parametrize("epsilon", [1e-8, 1e-2])
@pytest.mark.parametrize("optimizer", ADAPTIVE)
def test_adaptive_sum_at_the_same_lr_and_epsilon_times_b_is_mean_to_the_bit(fit, optimizer, epsilon, batch_size, dtype):
    setting = {"optimizer": optimizer, "dtype": dtype}
    mean = fit("mean", 0.01, batch_size, epsilon=epsilon, **setting)
    assert (fit("sum", 0.01, batch_size, epsilon=epsilon * batch_size, **setting) == mean).all()


@pytest.mark.parametrize("optimizer", ADAPTIVE)
def test_adaptive_with_lr_over_b_or_an_unscaled_epsilon_is_another_training(fit, optimizer):
    """η/B, the recipe of plain gradient steps, hardly moves; ε as it is matters as soon as ε is not negligible."""
    mean = fit("mean", 0.01, 64, optimizer=optimizer, epsilon=1e-2)
    assert difference(fit("sum", 0.01 / 64, 64, optimizer=optimizer, epsilon=1e-2 * 64), mean) > 0.5
    assert difference(fit("sum", 0.01, 64, optimizer=optimizer, epsilon=1e-2), mean) > 0.1


@pytest.mark.parametrize("optimizer", ADAPTIVE)
def test_adaptive_rounding_for_any_b(fit, optimizer):
    mean = fit("mean", 0.01, 60, optimizer=optimizer, n_examples=960, epsilon=1e-4)
    total = fit("sum", 0.01, 60, optimizer=optimizer, n_examples=960, epsilon=1e-4 * 60)
    assert difference(total, mean) <= ROUNDING


# Clipping at a global norm.


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("optimizer", PLAIN)
def test_clipping_norm_must_be_multiplied_by_b_for_the_sum(fit, optimizer, dtype):
    """η/B and cB: to the bit, where c is active. With c as it is, every step of the sum has the length of ηc/B."""
    setting = {"optimizer": optimizer, "dtype": dtype}
    mean = fit("mean", 0.1, 64, clip_norm=0.2, **setting)
    assert difference(mean, fit("mean", 0.1, 64, **setting)) > VISIBLE
    assert (fit("sum", 0.1 / 64, 64, clip_norm=0.2 * 64, **setting) == mean).all()
    assert difference(fit("sum", 0.1 / 64, 64, clip_norm=0.2, **setting), mean) > 0.5


# The reported cost.


def records(draw_examples, draw_network, reduction, batch_size, rate):
    network, examples = draw_network(LOSS, [6]), draw_examples(LOSS, N)
    order = Batches(N, batch_size, "reshuffle", "keep", [np.random.default_rng(8)])
    engine = Vectorized(network, OPTIMIZERS["sgd"](network.params, rate), examples, reduction)
    stack = Stack([0], engine, order, examples)
    return list(train([stack], Budget(updates=40)))


@pytest.mark.parametrize("batch_size", [1, 64, N])
def test_reported_cost_is_per_example_whatever_the_reduction(draw_examples, draw_network, batch_size):
    """Checkpoints and batch costs of two equivalent trainings have the same bits: nothing is multiplied by B."""
    mean = records(draw_examples, draw_network, "mean", batch_size, 0.1)
    total = records(draw_examples, draw_network, "sum", batch_size, 0.1 / batch_size)
    for one, other in zip(mean, total, strict=True):
        assert one.update == other.update
        assert one.batch_costs == other.batch_costs
        assert (one.train_cost, one.validation_cost) == (other.train_cost, other.validation_cost)


def test_reported_cost_before_training_is_the_same_for_every_batch_size(draw_examples, draw_network):
    """The first checkpoint knows neither B nor the reduction; it is the mean of the costs of the examples."""
    cells = [(reduction, batch_size) for reduction in REDUCTIONS for batch_size in (64, N)]
    first = [records(draw_examples, draw_network, *cell, 0.1)[0].train_cost[0] for cell in cells]
    costs = draw_network(LOSS, [6]).costs(*draw_examples(LOSS, N))[0]
    assert len(set(first)) == 1
    assert first[0] == pytest.approx(sum(costs.tolist()) / N, rel=1e-14)


def test_batch_cost_of_an_undecided_network_is_log_k_for_every_batch_size(draw_examples, draw_network):
    """All weights zero: each example costs log 3, so any other number would carry a factor of B."""
    X, Y = draw_examples(LOSS, N)
    for batch_size in (1, 64, N):
        network = draw_network(LOSS, [6])
        network.params.flat[:] = 0
        order = Batches(N, batch_size, "reshuffle", "keep", [np.random.default_rng(8)])
        rule = OPTIMIZERS["sgd"](network.params, 1e-9)
        costs = Stack([0], Vectorized(network, rule, (X, Y), "sum"), order, (X, Y)).advance(3)
        assert [cost for _, _, cost in costs] == pytest.approx(3 * [np.log(3)], rel=1e-6)


# scikit-learn divides its L2 term by the number of examples in the batch.

ALPHA = 3.0


def fit_with_alpha(fit_scikit_learn, draw_examples, draw_network, n_examples, batch_size):
    """scikit-learn's movement from the same weights through the same batches as `fit`, with alpha = ALPHA."""
    network, (X, Y) = draw_network(LOSS, [6], "tanh"), draw_examples(LOSS, n_examples)
    rng = np.random.default_rng(8)
    orders = [rng.permutation(n_examples) for _ in range(2)]
    led = fit_scikit_learn(
        network, X, Y.argmax(axis=1), batch_size, orders, solver="sgd", momentum=0, learning_rate_init=0.1, alpha=ALPHA
    )
    return Parameters.from_weights(led.coefs_, led.intercepts_).flat - network.params.flat


@pytest.fixture
def sklearn_fit(fit_scikit_learn, draw_examples, draw_network):
    return lambda n, batch_size: fit_with_alpha(fit_scikit_learn, draw_examples, draw_network, n, batch_size)


def decay_over_true_size(rule, n_examples):
    """λ = alpha/b at the weights, still 0 at the biases."""
    rule.decay[rule.decay != 0] = ALPHA / n_examples


@pytest.mark.parametrize(("n_examples", "batch_size"), [(1024, 64), (1000, 64), (1000, 300)])
def test_l2_of_scikit_learn_is_a_weight_decay_of_alpha_over_the_size_of_the_batch(
    sklearn_fit, fit, n_examples, batch_size
):
    """Modelled exactly, a ragged last batch included."""
    setting = {"n_examples": n_examples, "weight_decay": 1.0, "before_batch": decay_over_true_size}
    ours = fit("mean", 0.1, batch_size, **setting)
    assert np.abs(sklearn_fit(n_examples, batch_size) - ours).max() <= 1e-12


def test_l2_of_scikit_learn_is_the_weight_decay_of_the_sum(sklearn_fit, fit):
    """The same thing said simply: alpha is added to the *summed* gradient, then all of it is divided by B."""
    ours = fit("sum", 0.1 / 64, 64, weight_decay=ALPHA)
    assert np.abs(sklearn_fit(N, 64) - ours).max() <= 1e-12


def test_l2_of_scikit_learn_hides_the_batch_size(sklearn_fit, fit):
    """One alpha, two batch sizes, two penalties: λ = alpha/64 fits B = 64 only, λ = alpha/256 fits B = 256 only."""
    for batch_size, other in [(64, 256), (256, 64)]:
        theirs = sklearn_fit(N, batch_size)
        assert difference(theirs, fit("mean", 0.1, batch_size, weight_decay=ALPHA / batch_size)) <= ROUNDING
        assert difference(theirs, fit("mean", 0.1, batch_size, weight_decay=ALPHA / other)) > 10 * VISIBLE


# Planted mistakes: each must show in the tests above.


def divide_by_nominal_size(grads, reduction, n_examples):
    """The reduction that forgets that the last batch is short."""
    inplace_reduce(grads, reduction, 64)


def test_dividing_a_short_batch_by_the_nominal_size_is_noticed(fit, monkeypatch):
    """It makes mean equal to sum at η/B even with a ragged batch, where the truth differs by percents."""
    right = fit("mean", 0.1, 64, **RAGGED)
    monkeypatch.setattr(harness.network.engine, "inplace_reduce", divide_by_nominal_size)
    wrong = fit("mean", 0.1, 64, **RAGGED)
    assert difference(wrong, right) > VISIBLE
    assert (wrong == fit("sum", 0.1 / 64, 64, **RAGGED)).all()
    assert difference(fit("sum", 1.0, 64, before_batch=rate_over_true_size, **RAGGED), wrong) > VISIBLE


def gradient_with_decay_inside(network, grads, X, Y):
    """The penalty added before the reduction, which then divides it by B too."""
    network.gradient_into(grads, X, Y)
    for dW, W in zip(grads.W, network.params.W, strict=True):
        dW += 0.05 * W


def test_decay_inside_the_sum_is_noticed(fit):
    right = fit("mean", 0.1, 64, weight_decay=0.05)
    wrong = fit("mean", 0.1, 64, gradient_into=gradient_with_decay_inside)
    assert difference(wrong, right) > 0.1
    wrong_sum = fit("sum", 0.1 / 64, 64, gradient_into=gradient_with_decay_inside)
    assert (wrong_sum == wrong).all(), "it needs no rescaling, which is how it gives itself away"


def test_a_forgotten_division_is_noticed(fit, monkeypatch):
    right = fit("mean", 0.01, 64)
    monkeypatch.setattr(harness.network.engine, "inplace_reduce", lambda grads, reduction, n_examples: None)
    wrong = fit("mean", 0.01, 64)
    assert difference(wrong, right) > 1
    assert difference(fit("sum", 0.01 / 64, 64), wrong) > VISIBLE


def test_reduce_touches_the_mean_only_and_divides_by_the_examples_it_is_told():
    sums = np.array([[3.0, -6.0], [0.0, 9.0]])
    for reduction, factor in [("sum", 1), ("mean", 3)]:
        grads = sums.copy()
        inplace_reduce(grads, reduction, n_examples=3)
        np.testing.assert_array_equal(grads, sums / factor)


def test_a_whole_set_evaluation_is_not_the_mean_of_unequal_pieces(draw_examples, draw_network):
    """1500 examples are taken as 1024 + 476; averaging the two averages would be the ragged mistake once more."""
    network, (X, Y) = draw_network(LOSS, [6]), draw_examples(LOSS, 1500)
    costs = network.costs(X, Y)[0]
    assert evaluate(network, X, Y)[0][0] == pytest.approx(sum(costs.tolist()) / 1500, rel=1e-14)
    assert abs((costs[:1024].mean() + costs[1024:].mean()) / 2 - costs.mean()) > 1e-5
