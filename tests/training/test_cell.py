"""Whole cells: replicas share their random numbers across cells, and nothing else decides what they become."""

import math
from importlib.util import find_spec
from typing import Any

import numpy as np
import pandas as pd
import pytest
from configs import configured

import harness.training.cell
from harness.config import ConfigError
from harness.config.schema import DIAGNOSTIC_LEVELS
from harness.data.datasets import Dataset
from harness.training import tables
from harness.training.cell import Cell, streams
from harness.training.loop import Record

NUMBA = pytest.mark.skipif(find_spec("numba") is None, reason="engine=compiled is an extra")
COMPILED = pytest.param({"engine": "compiled"}, marks=[NUMBA, pytest.mark.xdist_group("compiled")])


def draw_dataset() -> Dataset:
    """90 examples of three classes, unscaled."""
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    X = 5 + 3 * rng.normal(size=(90, 4)) + y[:, None] * [1.0, -1.0, 2.0, 0.0]
    return Dataset("three", "classification", X, y, ("a", "b", "c"), "digest")


def run(**changes: Any) -> tuple[Cell, np.ndarray]:
    """The cell after its training, and the final parameters (R, P)."""
    cell = Cell(configured(**changes), draw_dataset())
    for _ in cell.train():
        pass
    return cell, cell.result().parameters.flat


def start(**changes: Any) -> tuple[Cell, np.ndarray]:
    """The cell and its initial weights: those after one update that only moves biases off zero, by next to nothing."""
    cell, flat = run(**{"learning_rate": 1e-300, "epochs": None, "updates": 1} | changes)
    return cell, np.where(np.abs(flat) < 1e-200, 0, flat)


@pytest.mark.parametrize(
    "changes",
    [
        {"batch_size": 1},
        {"batch_size": "full"},
        {"learning_rate": 1e-290},
        {"reduction": "sum"},
        {"order": "once"},
        {"last_batch": "drop"},
        {"micro_batches": 3},
        {"updates": 2},
        {"optimizer_name": "momentum", "optimizer_momentum": 0.9},
        {"engine": "per_example"},
        COMPILED,
        {"model_activation": "relu"},
    ],
    ids=str,
)
@pytest.mark.parametrize("resample", [False, True])
def test_what_is_swept_leaves_initial_weights_and_split_untouched(changes, resample):
    """Common random numbers: cells differ by what was swept and by nothing else."""
    base, weights = start(dataset_resample=resample)
    other, other_weights = start(dataset_resample=resample, **changes)
    assert weights.tobytes() == other_weights.tobytes()
    for one, two in zip(base.splits, other.splits, strict=True):
        for part in ("train", "validation", "test"):
            assert getattr(one, part).X.tobytes() == getattr(two, part).X.tobytes()
            assert getattr(one, part).Y.tobytes() == getattr(two, part).Y.tobytes()


def test_single_precision_starts_from_the_same_weights_and_split_rounded():
    (double, weights), (single, rounded) = start(), start(dtype="float32")
    assert rounded.dtype == np.float32
    assert (rounded == weights.astype(np.float32)).all()
    np.testing.assert_array_equal(single.splits[0].train.X, double.splits[0].train.X.astype(np.float32))


def test_a_wider_network_keeps_the_split_and_another_seed_does_not():
    (base, weights), (wider, _), (other, other_weights) = start(), start(model_hidden=[9]), start(seed=1)
    assert (base.splits[0].train.X == wider.splits[0].train.X).all()
    assert (base.splits[0].train.X != other.splits[0].train.X).any()
    assert (weights != other_weights).any()


def test_the_streams_of_replicas_and_purposes_are_all_different():
    states = [stream.generate_state(4).tolist() for seed in (0, 1) for r in range(5) for stream in streams(seed, r)]
    assert len({tuple(state) for state in states}) == 2 * 5 * 4


@pytest.mark.parametrize("batch_size", [1, 7, 54, "full"])
@pytest.mark.parametrize("last_batch", ["keep", "drop"])
def test_a_cell_makes_n_over_b_updates_an_epoch(batch_size, last_batch):
    """C5: ⌈N/B⌉ · epochs, or ⌊N/B⌋ · epochs when the short batch is dropped; N = 54."""
    cell, _ = run(batch_size=batch_size, last_batch=last_batch, seeds=2)
    n = 54 / (54 if batch_size == "full" else batch_size)
    assert cell.plan.n_train == 54
    assert cell.result().records[-1].update == 3 * (math.ceil(n) if last_batch == "keep" else math.floor(n))


def test_batch_costs_are_those_of_replica_zero():
    """The one that trains alone and on the clock; the costs of single batches say enough for one."""
    cell, _ = run()
    assert {r for record in cell.result().records for _, r, _ in record.batch_costs} == {0}


def numbers(records: list[Record], r: int) -> list[tuple]:
    """What the records say of one replica, apart from seconds."""
    rows = []
    for record in records:
        (i,) = np.flatnonzero(record.replica == r)
        own = record.train_cost[i], record.validation_cost[i], record.validation_score[i]
        rows.append((record.update, *map(float, own), record.outcome[i]))
    return rows


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("resample", [False, True], ids=["one split", "split per replica"])
def test_a_replica_does_not_depend_on_how_many_seeds_there_are(resample, dtype):
    """Replica r of ten is replica r of four, and replica 0 of ten is the only one of one, to the bit."""
    cells = {seeds: run(seeds=seeds, dataset_resample=resample, dtype=dtype) for seeds in (10, 4, 1)}
    ten, weights = cells[10]
    for seeds in (4, 1):
        cell, fewer = cells[seeds]
        assert fewer.tobytes() == weights[:seeds].tobytes()
        for r in range(seeds):
            assert numbers(cell.result().records, r) == numbers(ten.result().records, r)
        assert (cell.result().test_cost == ten.result().test_cost[:seeds]).all()
        assert (cell.result().test_score == ten.result().test_score[:seeds]).all()


@pytest.mark.parametrize("resample", [False, True], ids=["one split", "split per replica"])
def test_a_replica_does_not_depend_on_how_stacks_are_cut(monkeypatch, resample):
    """However small the cache is taken to be: 1 + 5 replicas, or six alone."""
    together, weights = run(seeds=6, dataset_resample=resample)
    monkeypatch.setattr(harness.training.cell, "CACHE_BYTES", 0)
    one_by_one, alone = run(seeds=6, dataset_resample=resample)
    assert weights.tobytes() == alone.tobytes()
    for r in range(6):
        assert numbers(together.result().records, r) == numbers(one_by_one.result().records, r)


@pytest.mark.parametrize("order", ["reshuffle", "sorted"])
@pytest.mark.parametrize("resample", [False, True], ids=["one split", "split per replica"])
def test_examples_are_held_once_and_stacks_that_take_turns_share_their_memory(resample, order):
    cell = Cell(configured(seeds=6, dataset_resample=resample, order=order), draw_dataset())
    one, others = cell.stacks()
    for stack in (one, others):
        for part, (X, _) in (("train", stack.engine.train_set), ("validation", stack.validation_set)):
            mine = getattr(cell.splits[stack.replicas[0] if resample else 0], part).X
            assert np.shares_memory(X, mine)
    assert one.network.memory is others.network.memory


@pytest.mark.parametrize("order", ["reshuffle", "once", "none", "sorted", "source", "replacement"])
def test_a_cell_repeats_itself_to_the_bit(order):
    (_, one), (_, two) = run(order=order), run(order=order)
    assert one.tobytes() == two.tobytes()


@pytest.mark.sample(2)
@pytest.mark.parametrize(
    "changes",
    [{}, {"batch_size": "full", "epochs": 9}, {"dataset_resample": True}, {"engine": "per_example"}, COMPILED],
    ids=str,
)
def test_diagnostics_change_no_bit_of_any_replica(changes):
    """Only what is known beside the numbers changes; and that is the same in every repetition."""
    cells = {level: run(diagnostics=level, **changes) for level in DIAGNOSTIC_LEVELS}
    assert len({flat.tobytes() for _, flat in cells.values()}) == 1
    histories = [[numbers(cell.result().records, r) for r in range(4)] for cell, _ in cells.values()]
    assert histories[0] == histories[1] == histories[2]
    found = {
        level: [r.diagnostics for r in cell.result().records if r.diagnostics] for level, (cell, _) in cells.items()
    }
    assert found["off"] == []
    assert 0 < len(found["cheap"]) < len(found["full"])
    again, _ = run(diagnostics="full", **changes)
    assert [r.diagnostics for r in again.result().records if r.diagnostics] == found["full"]


def test_the_sharpness_is_set_against_the_learning_rate_of_the_mean_gradient():
    """(sum, η/B) and (mean, η) train alike, and are as close to the edge of stability."""
    (mean, _), (total, _) = (
        run(batch_size=2, diagnostics="full", reduction=reduction, learning_rate=rate)
        for reduction, rate in (("mean", 0.1), ("sum", 0.05))
    )
    assert [r.diagnostics for r in mean.result().records] == [r.diagnostics for r in total.result().records]
    figures = mean.result().records[1].diagnostics
    assert figures.eta_lambda_max == 0.1 * figures.lambda_max


@pytest.mark.parametrize(
    ("order", "known"), [("reshuffle", True), ("replacement", True), ("sorted", False), ("source", False)]
)
def test_nothing_is_estimated_from_batches_that_are_no_random_sample(order, known):
    cell, _ = run(order=order, diagnostics="cheap")
    figures = [r.diagnostics for r in cell.result().records if r.diagnostics]
    assert all(np.isfinite(f.batch_variance) == np.isfinite(f.batch_squared_norm) == known for f in figures)
    assert all(np.isfinite(f.gradient_norm) for f in figures)


def test_sorted_matters_for_small_batches_only():
    """The same 54 examples, sorted by label: another training at B = 8, the same up to rounding at B = N."""
    (_, lying), (_, by_label) = run(order="none", batch_size=8), run(order="sorted", batch_size=8)
    assert np.abs(lying - by_label).max() > 1e-2
    (_, lying), (_, by_label) = run(order="none", batch_size="full"), run(order="sorted", batch_size="full")
    assert 0 < np.abs(lying - by_label).max() <= 1e-12


def test_source_is_the_order_in_which_the_rows_came():
    """`none` is the random order of the split."""
    cells = {order: run(order=order, batch_size=8)[0] for order in ("source", "none")}
    labels = {order: next(cell.stacks()).engine.train_set[1].argmax(axis=1) for order, cell in cells.items()}
    rows = cells["none"].splits[0].rows
    np.testing.assert_array_equal(labels["source"], draw_dataset().y[np.sort(rows)])
    np.testing.assert_array_equal(labels["none"], draw_dataset().y[rows])
    assert (rows != np.sort(rows)).any()


def test_sum_and_mean_of_a_cell_meet_in_the_canonical_coordinates():
    """(sum, η/B) and (mean, η) at B = 2 with an even N: equal lr_mean, equal lr_per_example, equal bits."""
    (mean, one), (total, other) = run(batch_size=2), run(batch_size=2, reduction="sum", learning_rate=0.05)
    assert one.tobytes() == other.tobytes()
    assert mean.plan.lr_mean == total.plan.lr_mean == 0.1
    assert mean.plan.lr_per_example == total.plan.lr_per_example == 0.05


@pytest.mark.parametrize(("name", "betas"), [("adam", {"beta1": 0.9, "beta2": 0.999}), ("rmsprop", {"beta2": 0.99})])
def test_rates_of_optimisers_whose_step_does_not_grow_with_the_gradient_are_canonical_as_they_are(name, betas):
    """Sum with ε·B is mean with ε, at one η, to the bit, and they have one lr_mean."""
    rule = {"optimizer_name": name, **{f"optimizer_{key}": value for key, value in betas.items()}, "batch_size": 2}
    mean, one = run(**rule, optimizer_epsilon=1e-8)
    total, other = run(**rule, optimizer_epsilon=2e-8, reduction="sum")
    assert one.tobytes() == other.tobytes()
    assert mean.plan.lr_mean == total.plan.lr_mean == 0.1
    assert mean.plan.lr_per_example == total.plan.lr_per_example == 0.05


@pytest.mark.sample(4)
@pytest.mark.parametrize("engine", ["vectorized", "per_example"])
@pytest.mark.parametrize(
    ("reduction", "accumulate", "rate"),
    [("mean", "mean_of_means", 0.1), ("mean", "sum", 0.05), ("sum", "by_examples", 0.05), ("sum", "sum", 0.05),
     ("sum", "mean_of_means", 0.1)],
)  # fmt: skip
def test_one_canonical_rate_is_one_training_however_micro_batches_are_put_together(reduction, accumulate, rate, engine):
    """B = 2 of 54 examples in two micro-batches of one: the bits of by_examples, and of its lr_mean."""
    alike = {"batch_size": 2, "micro_batches": 2, "engine": engine}
    same, one = run(**alike, accumulate="by_examples")
    cell, other = run(**alike, reduction=reduction, accumulate=accumulate, learning_rate=rate)
    assert one.tobytes() == other.tobytes()
    assert same.plan.lr_mean == cell.plan.lr_mean == 0.1
    np.testing.assert_allclose(one, run(batch_size=2, engine=engine)[1], rtol=1e-11)


@pytest.mark.parametrize(("batch_size", "most"), [(8, 8), ("full", 54), (999, 54)])
def test_more_micro_batches_than_examples_are_refused(batch_size, most):
    Cell(configured(batch_size=batch_size, micro_batches=most), draw_dataset())
    with pytest.raises(ConfigError, match=rf"micro_batches: expected at most {most}, .* got {most + 1}"):
        Cell(configured(batch_size=batch_size, micro_batches=most + 1), draw_dataset())


@NUMBA
def test_micro_batches_are_refused_where_the_engine_has_none():
    with pytest.raises(ConfigError, match=r"micro_batches: expected 1 with engine=compiled .*engine=vectorized"):
        configured(micro_batches=2, engine="compiled")


@pytest.mark.parametrize("batch_size", [2, 6])
def test_the_linear_rule_for_a_mean_is_the_constant_rule_for_a_sum(batch_size):
    """Both multiply the rate of the mean gradient by B: the same updates, to the bit at powers of two."""
    own = {"batch_size": batch_size, "learning_rate": 0.01}
    scaled = own | {"learning_rate_rule": "linear", "reference_batch_size": 1}
    (mean, one), (total, other) = run(**scaled), run(**own, reduction="sum")
    assert mean.plan.lr_mean == total.plan.lr_mean == 0.01 * batch_size
    if batch_size == 2:
        assert one.tobytes() == other.tobytes()
    np.testing.assert_allclose(one, other, rtol=1e-12)
    assert run(**scaled | {"reduction": "sum"})[0].plan.lr_mean == pytest.approx(0.01 * batch_size**2)


@pytest.mark.parametrize(("counts", "uneven"), [([45, 22, 23], False), ([46, 22, 22], True)])
@pytest.mark.parametrize("resample", [False, True])
def test_scores_have_baselines_and_uneven_classes_a_balanced_accuracy(counts, uneven, resample):
    """With 3 classes, above half of the examples."""
    y = np.repeat(np.arange(3), counts)
    X = np.random.default_rng(0).normal(size=(90, 4)) + y[:, None]
    config = configured(dataset_resample=resample)
    cell = Cell(config, Dataset("three", "classification", X, y, ("a", "b", "c"), "digest"))
    list(cell.train())
    result = cell.result()
    table, parts = tables.replicas(result, config), ("validation", "test")
    for part in parts:
        shares = [
            np.bincount(split_part.Y.argmax(axis=1)).max() / len(split_part.Y) for split_part in held_out(cell, part)
        ]
        assert table[f"baseline_{part}_accuracy"].tolist() == pytest.approx(shares)
        assert (f"final_{part}_balanced_accuracy" in table) == uneven
        assert table.get(f"baseline_{part}_balanced_accuracy", pd.Series([1 / 3] * 4)).tolist() == [1 / 3] * 4
    summary = tables.summary(result, table)
    assert summary["baseline/test_accuracy"] == pytest.approx(0.5, abs=0.05)
    assert ("final/test_balanced_accuracy" in summary) == uneven


def held_out(cell, part):
    return [getattr(cell.splits[r % len(cell.splits)], part) for r in range(cell.config.seeds)]


def test_the_baseline_of_r2_is_zero_and_nothing_is_balanced():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 3))
    config = configured(dataset_task="regression")
    cell = Cell(config, Dataset("line", "regression", X, X[:, 0], (), "digest"))
    list(cell.train())
    summary = tables.summary(cell.result(), tables.replicas(cell.result(), config))
    assert summary["baseline/validation_r2"] == summary["baseline/test_r2"] == 0
    assert not any("balanced" in name for name in summary)
