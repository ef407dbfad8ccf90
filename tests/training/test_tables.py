"""Tables from hand-written records: every number is one that can be checked by eye."""

from dataclasses import fields

import numpy as np
import pandas as pd
import pytest

from harness.app.composition import compose_cells
from harness.network.parameters import Parameters
from harness.training import tables
from harness.training.cell import CellResult, Plan
from harness.training.checkpoints import Outcome
from harness.training.diagnostics import Diagnostics
from harness.training.loop import Record
from harness.training.spread import Latest, curve, quartiles

SETTING = Plan(10, 4, 0.5, "keep", 3, (2, 1), "sigmoid_cross_entropy", 0.5, 0.125)


@pytest.fixture(scope="module")
def config():
    ((config, _),) = compose_cells(["target=0.25"]).cells
    return config


def record(update, costs, outcomes, replicas=None, seconds=0.0):
    costs = np.array(costs, dtype=float)
    replicas = np.arange(len(costs)) if replicas is None else np.array(replicas)
    return Record(update, seconds, replicas, costs, costs + 1, 1 - costs / 10, outcomes)


@pytest.fixture
def result():
    """Three replicas: 0 completes, 1 diverges at update 2, 2 reaches the target 0.25 between updates 1 and 2."""
    records = [
        record(0, [4, 4, 4], [None] * 3),
        record(1, [2, 50, 1], [None] * 3, seconds=1.0),
        record(2, [1, np.nan, 0.0625], [None, Outcome.DIVERGED, None], seconds=2.0),
        record(3, [0.5, 0.0625], [Outcome.COMPLETED, Outcome.REACHED], replicas=[0, 2], seconds=3.0),
    ]
    records[1].batch_costs = [(0, 0, 3.5)]
    parameters = Parameters((2, 1), np.zeros((3, 3)))
    return CellResult(SETTING, records, parameters, np.array([0.6, np.nan, 0.1]), np.array([0.8, 0.1, 0.9]))


def test_history_has_a_row_per_replica_and_checkpoint(result, config):
    table = tables.history(result, config)
    assert len(table) == 3 + 3 + 3 + 2
    assert table.query("update == 3")["examples"].tolist() == [10, 10]  # 4 + 4 + 2
    assert table.query("update == 2")["epoch"].tolist() == [0.8] * 3


def test_a_diverged_replica_is_counted_and_is_the_worst_in_every_median(result, config):
    replicas = tables.replicas(result, config)
    summary = tables.summary(result, replicas)
    assert replicas["outcome"].tolist() == ["completed", "diverged", "reached"]
    assert summary["diverged/fraction"] == pytest.approx(1 / 3)
    assert summary["diverged/first_update"] == 2
    assert summary["diverged/last_finite_cost"] == 50
    assert summary["final/train_cost"] == 0.5  # of 0.0625, 0.5 and infinity
    assert summary["final/test_cost"] == 0.6
    assert summary["final/test_accuracy"] == 0.8  # of 0.9, 0.8 and minus infinity
    assert np.isfinite(list(summary.values())).all()


def test_to_target_interpolates_in_the_logarithm_of_the_cost(result, config):
    """From 1 at update 1 to 1/16 at update 2, the cost 1/4 lies half way."""
    replicas = tables.replicas(result, config)
    assert replicas["to_target_updates"].tolist() == pytest.approx([np.nan, np.nan, 1.5], nan_ok=True)
    assert replicas["to_target_seconds"].tolist()[2] == pytest.approx(1.5)
    assert replicas["to_target_epochs"].tolist()[2] == pytest.approx(0.6)


def test_a_median_over_censored_replicas_is_left_out(result, config):
    """One of three reached the target: the median is beyond the budget, not at its end."""
    summary = tables.summary(result, tables.replicas(result, config))
    assert summary["to_target/fraction"] == pytest.approx(1 / 3)
    assert "to_target/updates" not in summary


@pytest.mark.parametrize(
    ("costs", "updates"),
    [
        ([4, 1, 0.5], np.nan),  # never
        ([4, 0.2, 3, 0.2, 0.2], 2 + np.log(3 / 0.25) / np.log(3 / 0.2)),  # the dip at 1 is not sustained
        ([4, 3, 0.2], np.nan),  # only at the last checkpoint
        ([0.2, 0.2, 0.2], 0.0),  # there from the start
        ([0.25, 0.25], 0.0),
    ],
)
def test_a_target_counts_once_it_is_sustained(costs, updates):
    steps = np.arange(len(costs))
    history = pd.DataFrame({"update": steps, "epoch": steps, "train_seconds": steps, "train_cost": costs})
    assert tables.to_target(history, 0.25, "train")["to_target_updates"] == pytest.approx(updates, nan_ok=True)


def test_the_outcome_of_a_cell_is_that_of_most_replicas_and_of_equals_the_worse():
    def outcome(*names):
        return tables.cell_outcome(pd.DataFrame({"outcome": names}))

    assert outcome("completed", "completed", "diverged") == Outcome.COMPLETED
    assert outcome("completed", "diverged") == Outcome.DIVERGED
    assert outcome("reached", "completed") == Outcome.COMPLETED
    assert outcome("reached") == Outcome.REACHED


def metrics_of(result):
    """The metrics of each checkpoint, as they are written while the cell trains."""
    latest = Latest()
    return [tables.checkpoint_metrics(one, latest.take(one), SETTING, "accuracy") for one in result.records]


def test_checkpoint_metrics_are_medians_of_all_replicas(result):
    metrics = metrics_of(result)[2]
    assert metrics["cost/train"] == 1  # of 0.0625, 1 and infinity
    assert metrics["validation/accuracy"] == 0.9  # of 0.99375, 0.9 and minus infinity
    assert metrics["progress/epochs"] == 8 / SETTING.n_train


def cell_of(costs, outcome, at):
    """A cell of ten replicas with one of `costs` at each checkpoint; the first nine end with `outcome` at `at`."""
    ended = [outcome] * 9 + [None]
    records = [record(i, [cost] * 10, ended if i == at else [None] * 10) for i, cost in enumerate(costs[: at + 1])]
    last = len(costs) - 1
    records += [
        record(i, costs[i : i + 1], [Outcome.COMPLETED if i == last else None], [9]) for i in range(at + 1, last + 1)
    ]
    parameters = Parameters((2, 1), np.zeros((10, 3)))
    return CellResult(SETTING, records, parameters, np.full(10, 0.5), np.full(10, 0.5))


def test_with_nine_of_ten_diverged_no_median_falls(config):
    lost = cell_of([4, 3, 2, 1], Outcome.DIVERGED, at=1)
    found = metrics_of(lost)
    assert [one.get("cost/train") for one in found] == [4, None, None, None]
    table = curve(tables.history(lost, config), "train_cost")
    assert table["median"].tolist() == table["q25"].tolist() == [4, np.inf, np.inf, np.inf]
    assert table["diverged"].tolist() == [0, 9, 9, 9]
    scores = curve(tables.history(lost, config), "validation_accuracy")
    assert scores["median"].tolist() == [0.6, -np.inf, -np.inf, -np.inf]
    summary = tables.summary(lost, tables.replicas(lost, config))
    assert not any(name.startswith(("final/", "best/")) for name in summary)


def test_with_nine_of_ten_at_the_target_no_median_jumps(config):
    arrived = cell_of([4, 0.19, 1.7, 1.7], Outcome.REACHED, at=1)
    found = metrics_of(arrived)
    assert [one["cost/train"] for one in found] == [4, 0.19, 0.19, 0.19]
    table = curve(tables.history(arrived, config), "train_cost")
    assert table["median"].tolist() == [4, 0.19, 0.19, 0.19]
    assert table["reached"].tolist() == [0, 9, 9, 9]
    assert table["update"].tolist() == [0, 1, 2, 3]


def test_one_replica_is_its_own_median(config):
    records = [record(0, [4], [None]), record(1, [2], [None]), record(2, [50], [Outcome.DIVERGED])]
    alone = CellResult(SETTING, records, Parameters((2, 1), np.zeros((1, 3))), np.full(1, np.nan), np.zeros(1))
    assert curve(tables.history(alone, config), "train_cost")["median"].tolist() == [4, 2, np.inf]


def test_a_curve_has_the_clock_of_those_that_still_train_and_never_runs_back():
    own = pd.DataFrame({"replica": [0, 1, 0, 1, 1], "update": [0, 0, 1, 1, 2]})
    own = own.assign(epoch=own["update"] / 2, examples=own["update"] * 4, train_cost=1.0, outcome="")
    own["train_seconds"] = [0, 0, 3.0, 1.0, 1.5]  # each replica has a clock of its own
    assert curve(own, "train_cost")["train_seconds"].tolist() == [0, 2, 2]


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 10, 11])
def test_quartiles_are_numpys_where_all_is_finite_and_infinite_where_too_many_are_lost(n):
    values = np.random.default_rng(n).normal(size=(n, 3))
    assert quartiles(values) == pytest.approx(np.quantile(values, [0.25, 0.5, 0.75], axis=0))
    values[: n // 2 + 1, 0] = np.nan
    assert quartiles(values)[1:, 0].tolist() == [np.inf] * 2
    assert quartiles(values, worst=-np.inf)[:2, 0].tolist() == [-np.inf] * 2
    assert quartiles([1.0] * n + [np.inf] * n)[1] == np.inf  # half of them


def figures(**known):
    fields = {"gradient_norm": 3.0, "example_norm": 5.0, "update_size": 0.25}
    return Diagnostics(**{"batch_variance": np.nan, "batch_squared_norm": np.nan} | fields | known)


EXACT = {"variance": 6.0, "squared_norm": 2.0, "cosine": 0.5, "squared_distance": 1.5, "lambda_max": 8.0}


def test_diagnostics_are_metrics_and_what_is_not_known_is_none():
    cheap = {"gradient/norm": 3.0, "gradient/update_size": 0.25}
    assert tables.diagnostics_metrics(figures()) == cheap
    of_batch = {"batch_variance": 4.0, "batch_squared_norm": -1.0}  # in the table only
    assert tables.diagnostics_metrics(figures(**of_batch, eta_lambda_max=np.inf, **EXACT)) == cheap | {
        "gradient/variance": 6.0, "gradient/squared_norm": 2.0, "gradient/noise_scale": 3.0, "gradient/cosine": 0.5,
        "gradient/squared_distance": 1.5, "sharpness/lambda_max": 8.0,
    }  # fmt: skip


def test_every_figure_of_the_diagnostics_has_a_column_and_a_metric(result):
    assert set(tables.DIAGNOSTICS) == {field.name for field in fields(Diagnostics)}
    result.records[1].diagnostics, result.records[3].diagnostics = figures(), figures(**EXACT)
    table = tables.diagnostics(result)
    assert table["update"].tolist() == [1, 3]
    assert table["variance"].tolist() == pytest.approx([np.nan, 6.0], nan_ok=True)


@pytest.mark.parametrize(
    ("first", "second", "pooled"),
    [
        ((), (), None),  # B = 1
        ((5.0, 1.0), (7.0, 4.0), (5 + 2 * 7) / (1 + 2 * 4)),  # the second stands for updates 2 and 3
        ((5.0, -9.0), (7.0, 4.0), None),  # drowned in noise: unresolved, not negative
    ],
)
def test_the_noise_scale_pooled_from_batches_is_known_or_left_out(result, config, first, second, pooled):
    for number, known in ((1, first), (3, second)):
        names = ("batch_variance", "batch_squared_norm")[: len(known)]
        result.records[number].diagnostics = figures(**dict(zip(names, known, strict=True)))
    summary = tables.summary(result, tables.replicas(result, config))
    assert summary.get("noise/b_simple_pooled") == (None if pooled is None else pytest.approx(pooled))
    assert "noise/b_simple" not in summary  # nothing was exact


def test_an_exact_noise_scale_is_averaged_over_time(result, config):
    """6/2 at update 3, which stands for updates 2 and 3, and 12/1 at update 1."""
    early = {**EXACT, "variance": 12.0, "squared_norm": 1.0}
    result.records[1].diagnostics, result.records[3].diagnostics = figures(**early), figures(**EXACT)
    assert tables.summary(result, tables.replicas(result, config))["noise/b_simple"] == pytest.approx((12 + 2 * 3) / 3)


def test_without_diagnostics_there_is_an_empty_table_and_no_noise_scale(result, config):
    assert len(tables.diagnostics(result)) == 0
    assert "noise/b_simple" not in tables.summary(result, tables.replicas(result, config))


def test_time_is_read_from_replica_0_only(result, config):
    summary = tables.summary(result, tables.replicas(result, config))
    assert summary["time/update_us"] == pytest.approx(1e6)
    assert summary["time/example_us"] == pytest.approx(3e5)


def test_the_clock_has_the_quartiles_of_its_stretches_weighted_by_updates():
    """1 update of 9 s, 11 of 1 s, 20 of 2 s, 10 of 3 s, of replica 0; one interruption counts little."""
    clock = {0: 0.0, 1: 9.0, 12: 20.0, 32: 60.0, 42: 90.0}
    records = [record(update, [1.0], [None], seconds=seconds) for update, seconds in clock.items()]
    records.append(record(50, [1.0], [None], replicas=[1], seconds=999.0))
    times = tables._time_summary(CellResult(SETTING, records, Parameters((2, 1), np.zeros((2, 3))), *np.zeros((2, 2))))
    assert [times[f"time/update_us{name}"] for name in ("_q25", "", "_q75")] == [1e6, 2e6, 3e6]
    assert times["time/train_seconds"] == 90.0


def test_in_a_curve_the_diverged_are_highest(result, config):
    table = curve(tables.history(result, config), "train_cost")
    assert table["median"].tolist() == [4, 2, 1, 0.5]
    assert table["diverged"].tolist() == [0, 0, 1, 1]
    assert table["train_seconds"].tolist() == [0, 1, 2, 3]


def test_all_diverged_at_once_gives_an_infinite_curve_and_no_final_figures(config):
    start = record(0, [np.inf, np.nan], [Outcome.DIVERGED] * 2)
    gone = CellResult(SETTING, [start], Parameters((2, 1), np.zeros((2, 3))), np.full(2, np.nan), np.zeros(2))
    replicas = tables.replicas(gone, config)
    summary = tables.summary(gone, replicas)
    assert curve(tables.history(gone, config), "train_cost")["median"].tolist() == [np.inf]
    assert summary == {"diverged/fraction": 1.0, "diverged/first_update": 0.0, "to_target/fraction": 0.0}
