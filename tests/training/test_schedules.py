"""Schedules of the learning rate and of the batch size, against a plain loop and laws that hold to the bit."""

import math
from collections.abc import Callable
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from configs import configured
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import default_rng

from harness.config import Config, ConfigError
from harness.data.datasets import Dataset
from harness.network import SCHEDULES, Moments, Parameters
from harness.training import tables
from harness.training.cell import Cell, streams
from harness.training.checkpoints import next_checkpoint
from harness.training.estimate import training_seconds
from harness.training.order import Batches, Passes
from harness.training.rates import Rates
from harness.training.timing import time_updates

NUMBA = pytest.mark.skipif(find_spec("numba") is None, reason="engine=compiled is an extra")
ENGINES = [
    "vectorized", "per_example", pytest.param("compiled", marks=[NUMBA, pytest.mark.xdist_group("compiled")]),
]  # fmt: skip
N, EPOCHS = 54, 6  # examples to train on
GROWING = {"batch_size_schedule": "step", "milestones": [2, 3], "milestone_factor": 3}


def draw_dataset() -> Dataset:
    """90 examples of a linear function with noise, of which 54 are trained on."""
    rng = default_rng(0)
    X = rng.normal(size=(90, 4))
    return Dataset("made", "regression", X, X @ rng.normal(size=(4, 2)) + 0.3 * rng.normal(size=(90, 2)), (), "digest")


DATASET = draw_dataset()


def linear(**changes: Any) -> Config:
    """A cell of linear regression."""
    given = {"model_hidden": [], "dataset_task": "regression", "epochs": EPOCHS, "seeds": 2, "learning_rate": 0.05}
    return configured(**given | changes)


def trained(**changes: Any) -> tuple[Cell, Any]:
    cell = Cell(linear(**changes), DATASET)
    for _ in cell.train():
        pass
    return cell, cell.result()


def bits(**changes: Any) -> list[bytes]:
    """Every fingerprint, then the parameters at the end."""
    _, result = trained(**changes)
    taken = [repr(record.fingerprints).encode() for record in result.records]
    return [*taken, result.parameters.flat.tobytes()]


Rate = Callable[[float, float, int], float]  # epochs before the update, after it, and its batch size


def by_hand(config: Config, replica: int, rate: Rate, sizes: list[int], drop: bool = False) -> np.ndarray:
    """W and b of one replica after linear regression by a plain loop: one batch size for each epoch."""
    cell = Cell(config, DATASET)
    X, Y = cell.sets["train"]
    own = streams(config.seed, replica)
    start = Parameters.initialized((4, 2), config.model.initializer, [default_rng(own.weights)], np.dtype("float64"))
    W, b, rng = start.W[0][0].copy(), start.b[0][0, 0].copy(), default_rng(own.order)
    for epoch, B in enumerate(sizes):
        order = rng.permutation(N)
        end = N - N % B if drop else N
        for at in range(0, end, B):
            batch = order[at : at + B]
            delta = X[batch] @ W + b - Y[batch]
            dW, db = X[batch].T @ delta, delta.sum(axis=0)
            n = len(batch) if config.reduction == "mean" else 1
            eta = rate(epoch + at / end, epoch + min(at + B, end) / end, B)
            W, b = W - eta * dW / n, b - eta * db / n
    return np.concatenate([W.ravel(), b])


def fall(before: float, warm_up: float = 0.0) -> float:
    return min(1.0, max(0.0, (before - warm_up) / (EPOCHS - warm_up)))


STEPS = {"learning_rate_schedule": "step", "milestones": [2, 3], "milestone_factor": 2.5}
CASES: dict[str, tuple[dict[str, Any], Rate]] = {
    "step": (STEPS, lambda before, after, B: 0.05 / 2.5 ** ((before >= 2) + (before >= 3))),
    "cosine": (
        {"learning_rate_schedule": "cosine"},
        lambda before, after, B: 0.025 * (1 + math.cos(math.pi * before / EPOCHS)),
    ),
    "linear": ({"learning_rate_schedule": "linear"}, lambda before, after, B: 0.05 * (1 - before / EPOCHS)),
    "inverse": ({"learning_rate_schedule": "inverse"}, lambda before, after, B: 0.05 / math.sqrt(1 + N * int(before))),
    "warm-up": ({"warm_up_epochs": 1.5}, lambda before, after, B: 0.05 * min(1, after / 1.5)),
    "warm-up and cosine": (
        {"learning_rate_schedule": "cosine", "warm_up_epochs": 2},
        lambda before, after, B: 0.025 * min(1, after / 2) * (1 + math.cos(math.pi * fall(before, 2))),
    ),
    "growing": (GROWING, lambda before, after, B: 0.05),
    "growing, linear rule": (
        {**GROWING, "learning_rate_rule": "linear", "reference_batch_size": 8},
        lambda before, after, B: 0.05 * B / 8,
    ),
    "growing, root rule, warm-up, linear": (
        {**GROWING, "learning_rate_rule": "sqrt", "learning_rate_schedule": "linear", "warm_up_epochs": 1}
        | {"reference_batch_size": 8},
        lambda before, after, B: 0.05 * math.sqrt(B / 8) * min(1, after) * (1 - fall(before, 1)),
    ),
}


def sizes_of(changes: dict[str, Any], batch_size: int) -> list[int]:
    if "batch_size_schedule" not in changes:
        return [batch_size] * EPOCHS
    return [min(N, batch_size * 3 ** ((epoch >= 2) + (epoch >= 3))) for epoch in range(EPOCHS)]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("case", CASES)
def test_training_is_that_of_a_plain_loop(case, engine):
    changes, rate = CASES[case]
    cell, result = trained(engine=engine, **changes)
    sizes = sizes_of(changes, 8)
    assert [cell.plan.passes.phase_at(cell.plan.passes.updates(e)).batch_size for e in range(EPOCHS)] == sizes
    for replica in (0, 1):
        expected = by_hand(cell.config, replica, rate, sizes)
        np.testing.assert_allclose(result.parameters.flat[replica], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("batch_size", [1, 5])
@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("last_batch", ["keep", "drop"])
def test_short_batches_are_kept_or_dropped_at_every_size(batch_size, reduction, last_batch):
    rates = {"learning_rate": 0.01, "learning_rate_schedule": "linear"}
    changes = {"batch_size": batch_size, "reduction": reduction, "last_batch": last_batch, **GROWING, **rates}
    cell, result = trained(**changes)
    expected = by_hand(
        cell.config, 1, lambda before, after, B: 0.01 * (1 - before / EPOCHS), sizes_of(changes, batch_size),
        drop=last_batch == "drop",
    )  # fmt: skip
    np.testing.assert_allclose(result.parameters.flat[1], expected, rtol=0, atol=1e-12)


@NUMBA
@pytest.mark.xdist_group("compiled")
@pytest.mark.parametrize("optimizer", ["momentum", "nesterov", "adam", "rmsprop"])
def test_every_rule_has_the_rates_of_the_schedule_in_machine_code_too(optimizer):
    values = {"momentum": {"momentum": 0.9}, "nesterov": {"momentum": 0.9}}.get(optimizer, {"epsilon": 1e-3})
    values |= {"adam": {"beta1": 0.9, "beta2": 0.99}, "rmsprop": {"beta2": 0.99}}.get(optimizer, {})
    own = {"optimizer_name": optimizer} | {f"optimizer_{key}": value for key, value in values.items()}
    changes = {**own, **GROWING, "learning_rate_schedule": "cosine", "warm_up_epochs": 1, "learning_rate": 0.01}
    one, other = (trained(engine=engine, **changes)[1].parameters.flat for engine in ("vectorized", "compiled"))
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)
    constant = trained(**own, learning_rate=0.01)[1].parameters.flat
    assert np.abs(one - constant).max() > 1e-4


def test_momentum_keeps_the_rates_of_earlier_updates_in_its_velocity():
    """v <- μ v − η_t g, as scikit-learn has it; not θ <- θ − η_t v."""
    theta, velocity = np.array([1.0]), np.array([0.0])
    params = Parameters.empty((1, 1), 1, np.dtype("float64"))
    params.flat[:] = [[1.0, 0.0]]
    from harness.network import Momentum

    rule = Momentum(params, 0.1, momentum=0.5)
    for factor, gradient in ((1.0, 2.0), (0.2, 3.0), (0.0, 5.0)):
        velocity = 0.5 * velocity - 0.1 * factor * gradient
        theta = theta + velocity
        rule.scale(factor)
        rule.inplace_step(params.flat, np.array([[gradient, 0.0]]))
    np.testing.assert_allclose(params.flat[0, 0], theta[0], rtol=1e-15)


def test_inverse_is_the_invscaling_of_scikit_learn(draw_examples, draw_network, fit_scikit_learn):
    """Their `t` counts examples at the ends of epochs: after one epoch of N the rate is 1/√(N + 1) of the first."""
    from harness.network import SGD, Vectorized
    from harness.training.stack import Stack

    X, Y = draw_examples("softmax_cross_entropy", N)
    network = draw_network("softmax_cross_entropy", (5,), "tanh")
    rng = default_rng(4)
    orders = [rng.permutation(N) for _ in range(EPOCHS)]
    theirs = {"solver": "sgd", "momentum": 0, "learning_rate": "invscaling", "power_t": 0.5}
    led = fit_scikit_learn(network, X, Y.argmax(axis=1), 16, orders, alpha=0, learning_rate_init=0.3, **theirs)
    before = network.params.flat.copy()
    cut = Batches(N, 16, "reshuffle", "keep", [default_rng(4)])
    rates = Rates(configured(learning_rate_schedule="inverse"), cut.passes, None, 0.3, multiplied=False)
    engine = Vectorized(network, SGD(network.params, 0.3), (X, Y), "mean")
    Stack([0], engine, cut, (X, Y), rates=rates).advance(EPOCHS * 4)
    assert np.abs(network.params.flat - before).max() > 0.01
    for W, theirs_W in zip(network.params.W, led.coefs_, strict=True):
        np.testing.assert_allclose(W[0], theirs_W, rtol=0, atol=1e-12)
    for b, theirs_b in zip(network.params.b, led.intercepts_, strict=True):
        np.testing.assert_allclose(b[0, 0], theirs_b, rtol=0, atol=1e-12)


# Laws that hold to the bit.

SETTINGS = {
    "batch_size": st.sampled_from([1, 7, 54, "full"]), "reduction": st.sampled_from(["sum", "mean"]),
    "learning_rate": st.floats(1e-4, 1e-3), "last_batch": st.sampled_from(["keep", "drop"]),
    "order": st.sampled_from(["reshuffle", "once", "none", "replacement"]), "seed": st.integers(0, 99),
    "optimizer_clip_norm": st.sampled_from([None, 0.5]), "dtype": st.sampled_from(["float64", "float32"]),
}  # fmt: skip


@settings(deadline=None, max_examples=15)
@given(changes=st.fixed_dictionaries(SETTINGS), milestones=st.sampled_from([[1], [2, 3], [1, 2, 3, 4, 5]]))
def test_a_step_by_the_factor_one_is_no_step(changes, milestones):
    own = {"milestones": milestones, "milestone_factor": 1}
    rules = {"learning_rate_rule": "linear", "reference_batch_size": 54 if changes["batch_size"] == "full" else 1}
    plain = bits(**changes, **rules)
    assert bits(**changes, **rules, learning_rate_schedule="step", **own) == plain
    assert bits(**changes, **rules, batch_size_schedule="step", **own) == plain


@pytest.mark.sample(1)
@settings(deadline=None, max_examples=15)
@given(changes=st.fixed_dictionaries(SETTINGS), epoch=st.integers(1, 5))
@pytest.mark.parametrize(
    "kind", [{"learning_rate_schedule": "step"}, {"batch_size_schedule": "step", "learning_rate_rule": "linear"}]
)
def test_cells_that_step_at_an_epoch_have_one_training_before_it(kind, changes, epoch):
    """So a growing batch with the linear rule is a branch from one checkpoint: common random numbers."""
    if changes["batch_size"] == "full":
        changes = changes | {"batch_size": 27}
    own = {"reference_batch_size": changes["batch_size"]}
    plain, stepped = (
        trained(**changes, **own, **more)[1].records
        for more in ({}, {**kind, "milestones": [epoch], "milestone_factor": 2})
    )
    branch = Passes(N, changes["last_batch"], [(0, changes["batch_size"])]).updates(epoch)
    ours, theirs = ([r for r in records if r.update <= branch] for records in (plain, stepped))
    assert [r.update for r in ours] == [r.update for r in theirs]
    assert ours[-1].update == branch
    for one, other in zip(ours, theirs, strict=True):
        assert one.train_cost.tobytes() == other.train_cost.tobytes()
        assert one.fingerprints == other.fingerprints


def test_a_branch_is_training_on_from_the_checkpoint_with_the_larger_batch():
    """The rest of the growing cell, trained by a loop that starts from the parameters at the milestone."""
    grown = trained(**{**GROWING, "milestones": [2]}, learning_rate_rule="linear", reference_batch_size=8)[1]
    short = trained(epochs=2)[1]
    cell = Cell(linear(), DATASET)
    X, Y = cell.sets["train"]
    rng, (W,), (b,) = default_rng(streams(0, 1).order), short.parameters.W, short.parameters.b
    W, b = W[1].copy(), b[1, 0].copy()
    orders = [rng.permutation(N) for _ in range(EPOCHS)]
    for order in orders[2:]:
        for at in range(0, N, 24):
            batch = order[at : at + 24]
            delta = X[batch] @ W + b - Y[batch]
            eta = 0.15 / len(batch)
            W, b = W - eta * X[batch].T @ delta, b - eta * delta.sum(axis=0)
    np.testing.assert_allclose(grown.parameters.flat[1], np.concatenate([W.ravel(), b]), rtol=0, atol=1e-12)


def test_a_replica_in_a_stack_has_the_bits_that_it_has_alone():
    changes = {**GROWING, "learning_rate_schedule": "cosine", "learning_rate_rule": "sqrt"}
    together = trained(seeds=5, **changes)[1].parameters.flat
    assert together[3].tobytes() == trained(seeds=4, first_replica=3, **changes)[1].parameters.flat[0].tobytes()


# How updates, epochs and examples correspond.


@settings(deadline=None)
@given(
    n=st.integers(2, 60),
    last_batch=st.sampled_from(["keep", "drop"]),
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=4),
    gaps=st.lists(st.integers(1, 3), min_size=3, max_size=3),
)
def test_passes_agree_with_counting_batches(n, last_batch, sizes, gaps):
    starts = [0, *np.cumsum(gaps).tolist()]
    phases = [(epoch, min(size, n)) for epoch, size in zip(starts, sizes, strict=False)]
    batches = Batches(n, phases[0][1], "none", last_batch, [], phases[1:])
    passes, seen, ends = batches.passes, [0], [0]
    for epoch in range(starts[-1] + 2):
        size = [size for start, size in phases if start <= epoch][-1]
        left = n if last_batch == "keep" else n - n % size
        while left > 0:
            rows = next(batches)
            assert batches.batch_size == size
            assert rows.stop - rows.start == min(size, left)
            seen.append(seen[-1] + rows.stop - rows.start)
            left -= size
        ends.append(len(seen) - 1)
    assert [passes.examples(update) for update in range(len(seen))] == seen
    assert passes.examples(np.arange(len(seen))).tolist() == seen
    assert [passes.updates(epoch) for epoch in range(len(ends))] == ends
    epochs = passes.epoch(np.arange(len(seen)))
    assert epochs[ends].tolist() == list(range(len(ends)))
    assert (np.diff(epochs) > 0).all()
    for begin, end in pairwise(ends):
        assert {passes.end_after(update) for update in range(begin, end)} == {end}
        assert {passes.epochs_done(update) for update in range(begin, end)} == {ends.index(begin)}
        assert all(next_checkpoint(update, passes) <= end for update in range(begin, end))


def test_tables_count_examples_and_epochs_of_a_growing_batch():
    cell, result = trained(**GROWING)
    history = tables.history(result, cell.config).drop_duplicates("update").set_index("update")
    ends = [7, 14, 17, 18, 19, 20]  # 54 examples in batches of 8, 8, 24, 54
    assert history.loc[ends, "epoch"].tolist() == [1, 2, 3, 4, 5, 6]
    assert history.loc[ends, "examples"].tolist() == [54 * epoch for epoch in range(1, 7)]
    assert history.index.max() == 20
    assert cell.budget.updates == 20
    assert history.loc[16, "examples"] == 2 * 54 + 48


def test_a_budget_in_updates_and_one_in_epochs_are_one_training():
    changes = {**GROWING, "learning_rate_schedule": "linear"}
    assert bits(**changes) == bits(**changes, epochs=None, updates=20)


def test_what_a_growing_cell_does_is_counted_right():
    cell, result = trained(**GROWING, diagnostics="full")
    _, work = training_seconds(cell, patience=0.0)
    assert (work.updates, work.checkpoints) == (20, len(result.records))
    assert work.observations == sum(record.diagnostics is not None for record in result.records)


def test_the_sharpness_is_told_with_the_rate_of_its_update():
    """η λ_max, η that of the mean gradient at that moment: for a sum, of the momentary batch."""
    changes = {**GROWING, "learning_rate_schedule": "linear", "diagnostics": "full", "learning_rate_rule": "linear"}
    cell, result = trained(reduction="sum", learning_rate=0.001, reference_batch_size=8, **changes)
    told = [(r.update, r.diagnostics) for r in result.records if r.diagnostics]
    assert {update for update, _ in told} > {1, 16, 20}
    for update, found in told:
        B = 8 if update <= 14 else 24 if update <= 17 else 54
        eta = 0.001 * (B / 8) * (1 - cell.plan.passes.epoch(update - 1) / EPOCHS)
        assert found.eta_lambda_max == pytest.approx(eta * B * found.lambda_max)


def test_each_batch_size_of_a_growing_cell_is_timed():
    cell = Cell(linear(**GROWING), DATASET)
    plain = Cell(linear(), DATASET)
    cells = {"grows": (cell.config, cell.plan), "plain": (plain.config, plain.plan)}
    table = time_updates(cells, lambda _: DATASET, 0.05, default_rng(0))
    work = table.drop_duplicates(["signature", "phase"]).set_index(["signature", "phase"])["work"]
    assert work["grows"].index.tolist() == [0, 1, 2]
    assert work["grows", 0] == work["plain", 0]
    assert work["grows"].nunique() == 3


# What a schedule may be, and what is refused.


@pytest.mark.parametrize("name", ["constant", "step", "cosine", "linear", "inverse"])
def test_a_schedule_begins_at_the_full_rate_and_never_rises(name):
    epoch = np.linspace(0, 10, 101)
    at = Moments(np.arange(101), epoch, 10.0, 54, 0.0, (3, 7), 2.0)
    factors = SCHEDULES[name](at)
    assert factors[0] == 1
    assert factors.shape == (101,)
    assert (np.diff(factors) <= 0).all()
    assert (factors[-1] < 1) == (name != "constant")


@pytest.mark.parametrize("found", [np.nan, -1.0, np.inf, 1j, np.zeros((2, 2)), [1, [2, 3]], None, {}, "wrong"])
def test_a_schedule_that_gives_no_factors_is_refused_where_it_is_asked(monkeypatch, found):
    monkeypatch.setitem(SCHEDULES, "odd", lambda at: np.full(at.epoch.shape, found) if np.isscalar(found) else found)
    with pytest.raises(ConfigError, match="learning_rate_schedule: expected odd to return a finite factor") as refused:
        trained(learning_rate_schedule="odd")
    assert "\n" not in str(refused.value)


def test_no_part_of_the_time_is_over_where_the_end_is_not_known():
    at = Moments(np.arange(3), np.arange(3.0), np.inf, 54, 0.0, (), 2.0)
    with pytest.raises(ValueError, match="part needs a budget of epochs or updates"):
        _ = at.part


@pytest.mark.parametrize("text", ["lambda: 1", "lambda at, more: 1", "0.5"])
def test_an_extension_that_takes_no_moments_is_refused_before_training(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    (folder := tmp_path / "extensions" / "schedules").mkdir(parents=True)
    (folder / "odd.py").write_text(f"odd = {text}\n")
    with pytest.raises(ConfigError, match=r"schedules/odd.py: expected odd to be a function of Moments"):
        linear(learning_rate_schedule="odd")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learning_rate_schedule": "step", "milestones": [2, 3]}, "milestones: expected epochs below 3, the epochs"),
        ({**GROWING, "milestones": [2, 5]}, "milestones: expected epochs below 4, the epochs of updates="),
        ({"warm_up_epochs": 3.5}, "warm_up_epochs: expected at most 3, the epochs of updates="),
    ],
)
def test_what_a_budget_of_updates_never_reaches_is_refused(changes, message):
    size = 9 if "batch_size_schedule" not in changes else 18  # batches of 54: 6 an epoch, or 3, which become 1
    n_updates = 18 if size == 9 else 3 + 3 + 1 + 1
    with pytest.raises(ConfigError) as refused:
        Cell(linear(epochs=None, updates=n_updates, batch_size=size, **changes), DATASET)
    assert str(refused.value).startswith(message)
    within = {"milestones": [2], "warm_up_epochs": 3} | {"batch_size_schedule": "step"}
    assert Cell(linear(epochs=None, updates=n_updates, batch_size=size, **within), DATASET)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learning_rate_schedule": "cosin"}, "learning_rate_schedule: expected constant | step | cosine | "),
        ({"batch_size_schedule": "cosine"}, "batch_size_schedule: expected constant | step, got 'cosine'"),
        ({"learning_rate_schedule": "step"}, "milestones: expected at least one epoch, because learning_rate"),
        ({"batch_size_schedule": "step"}, "milestones: expected at least one epoch, because batch_size_schedule=step"),
        ({"milestones": [3, 2]}, "milestones: expected a list of epochs, ascending integers >= 1, or [], got [3, 2]"),
        ({"milestones": [2, 2]}, "milestones: expected a list of epochs, ascending"),
        ({"milestones": [0]}, "milestones: expected a list of epochs, ascending"),
        ({"milestones": [1.5]}, "milestones: expected a list of epochs, ascending integers >= 1, or [], got [1.5]"),
        ({"milestones": [2, 6]}, "milestones: expected epochs below epochs=6, at which training ends, got 6"),
        ({"milestone_factor": 0}, "milestone_factor: expected a finite number > 0, got 0"),
        ({**GROWING, "milestone_factor": 2.5}, "milestone_factor: expected an integer >= 1, because batch_size"),
        ({"warm_up_epochs": -1}, "warm_up_epochs: expected a finite number >= 0, got -1"),
        ({"warm_up_epochs": 7}, "warm_up_epochs: expected at most epochs=6, got 7"),
        (
            {"learning_rate_schedule": "cosine", "epochs": None, "train_seconds": 1.0},
            "epochs: expected a number of epochs or updates, because learning_rate_schedule=cosine falls until the end",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_one_line(changes, message):
    with pytest.raises(ConfigError) as refused:
        linear(**changes)
    assert str(refused.value).startswith(message)
    assert "\n" not in str(refused.value)


def test_a_batch_that_would_grow_beyond_the_set_becomes_the_set():
    cell, result = trained(**{**GROWING, "milestone_factor": 100})
    assert cell.plan.later_sizes == ((2, N),)
    assert result.records[-1].update == 14 + 4
