"""three_methods on sweeps made by hand: what is planted is found, what is not is not."""

from functools import cache

import numpy as np
import pandas as pd
import pytest
from synthetic import START, cell, evidence

from harness.analysis.study import judge_of
from harness.config import config_from
from harness.data.datasets import load
from harness.inference import Interval
from harness.inference.verdicts import Verdict
from harness.runs import studies
from harness.training.cell import Cell

pytestmark = pytest.mark.slow  # sweeps made by hand, answered many times

JUDGE = judge_of("three_methods", studies.EXPERIMENTS)
UPDATES = 20
TARGET = "the target (share of the initial cost)"


@cache
def trained() -> tuple[Cell, np.ndarray]:
    """A tiny cell at B=N, and the parameters (2, P) that it ends with."""
    tree = {
        "dataset": {
            "name": "blobs", "task": "classification", "validation_fraction": 0.2, "test_fraction": 0.2,
            "load": {"_target_": "sklearn.datasets.make_blobs", "n_samples": 60, "random_state": 0}, "resample": False,
            "prepare": "auto", "max_categories": 20, "missing_targets": "refuse", "rare_classes": "refuse",
        },
        "model": {"hidden": [4], "activation": "sigmoid", "initializer": "glorot_normal", "loss": None},
        "optimizer": {
            "name": "sgd", "weight_decay": 0.0, "clip_norm": None, "momentum": None, "beta1": None, "beta2": None,
            "epsilon": None,
        },
        "batch_size": "full", "learning_rate": 1.0, "reduction": "mean", "learning_rate_rule": "constant",
        "learning_rate_schedule": "constant", "warm_up_epochs": 0, "batch_size_schedule": "constant",
        "milestones": [], "milestone_factor": 5, "reference_batch_size": 64, "epochs": UPDATES,
        "updates": None, "train_seconds": None, "target": None, "target_on": "train",
        "micro_batches": 1, "accumulate": "by_examples",
        "order": "none", "last_batch": "keep", "seeds": 2, "first_replica": 0,
        "seeds_at_most": 40, "seeds_at_most_seconds": None, "seed": 0, "dtype": "float64",
        "engine": "vectorized", "threads": 1, "diagnostics": "off", "rerun": "missing",
        "dry_run": False, "log_model": False, "cells_per_job": "auto", "size": "full", "study": {},
    }  # fmt: skip
    config = config_from(tree)
    own = Cell(config, load(config.dataset))
    for _ in own.train():
        pass
    params = own.result().parameters
    return own, np.concatenate([array.reshape(2, -1) for array in (*params.W, *params.b)], axis=1)


BUDGETS = {1: 10240, 64: 160, 1024: 1000}  # updates
EVEN = {1: 0.05, 64: 0.05, 1024: 0.05}
NOTHING: dict[int, float] = {}
US = {1: 40.0, 64: 100.0, 1024: 900.0}


def sweep(finals=EVEN, off=0.0, drawn=0.1, us=US, rates=(0.1, 1.0, 10.0), n_replicas=10):
    """Three batch sizes at their rates; finals: B -> final cost at rate 1; us: B -> µs per update.

    off, drawn: how much the parameters at B=N are off, and differ with replacement.
    """
    cells = [
        cell(B, rate, final=final * (1 if rate == 1.0 else 3), n_updates=BUDGETS[B], update_us=us[B], epochs=10)
        for B, final in finals.items()
        for rate in rates
    ]
    for order, change in (("none", off), ("replacement", drawn)):
        own, weights = trained()
        files = {"weights.npz": weights + change, "cell": own}
        cells.append(cell(1024, 2.0, order=order, files=files))
    return evidence(*cells, n_replicas=n_replicas)


def findings(of):
    return {finding.claim: finding for finding in JUDGE(of)}


def alone(function, of):
    """One of the judge's own functions: the others take time."""
    return JUDGE.__globals__[function](of)


def test_the_order_of_a_whole_set_is_found_to_matter_only_if_it_does():
    found = alone("order_of_a_whole_set", sweep(NOTHING))
    assert found.verdict is Verdict.SUPPORTED
    assert "digits" in found.sentence
    assert [row[0] for row in found.rows[1:]] == ["digits"]
    assert alone("order_of_a_whole_set", sweep(NOTHING, off=1e-6)).verdict is Verdict.REFUTED


def test_a_comparison_that_sees_no_replacement_says_nothing():
    assert alone("order_of_a_whole_set", sweep(NOTHING, drawn=0.0)).verdict is Verdict.UNRESOLVED


def test_the_kernel_was_led_over_other_orders():
    """Were the rows left as they lie, the parameters would agree to the last bit, and the check would be empty."""
    own, weights = trained()
    again = JUDGE.__globals__["train_in_new_orders"](own, np.random.default_rng(0))
    assert 0 < np.abs(again - weights[0]).max() < 1e-10


def test_updates_are_counted():
    of = sweep({64: 0.05}, rates=(1.0,))
    of.data.replicas["end_update"] = of.data.replicas["batch_size"].map({64: 160, 1024: 10})
    assert alone("updates_of_an_epoch", of).verdict is Verdict.SUPPORTED
    of.data.replicas.loc[0, "end_update"] += 1
    assert alone("updates_of_an_epoch", of).verdict is Verdict.REFUTED


@pytest.mark.parametrize(
    ("us", "verdict"),
    [
        ({1: 40.0, 64: 100.0, 1024: 900.0}, Verdict.CONDITIONAL),  # per update yes, per example no
        ({1: 100.0, 64: 100.0, 1024: 900.0}, Verdict.REFUTED),
        ({1: 1.0, 64: 100.0, 1024: 900.0}, Verdict.SUPPORTED),
    ],
)
def test_the_time_of_an_update(us, verdict):
    found = alone("time_of_an_update", sweep({1: 0.05, 64: 0.05}, us=us))
    assert found.verdict is verdict
    plain = "Per update yes on all data; per example no on all data."
    assert found.plain == (plain if verdict is Verdict.CONDITIONAL else "")
    (along,) = found.along.values()
    assert set(along.values()) == {verdict}


def test_the_times_stand_in_a_table_and_their_extremes_in_the_sentence():
    found = alone("time_of_an_update", sweep({1: 0.05, 64: 0.05}))
    assert found.sentence == ("B=1 takes 0.4 × the time of B=64 per update and 25.6 × its time per example, on digits.")
    assert found.rows == [
        ("data", "time per", "B=1 (× B=64)", "faster"),
        ("digits", "update", "0.4 [0.4, 0.4]", "supported"),
        ("digits", "example", "25.6 [25.6, 25.6]", "refuted"),
    ]


def test_the_answer_names_the_data_on_which_an_update_is_faster():
    by_count = JUDGE.__globals__["_by_count"]
    fast, slow, example = (Interval(own, own, own) for own in (0.4, 1.2, 20.0))
    ratios = {("digits", "update"): fast, ("wine", "update"): slow}
    ratios |= {(name, "example"): example for name in ("digits", "wine")}
    assert by_count(ratios) == "Per update on digits yes, on wine no; per example no on all data."


def test_mini_batches_that_win_on_every_clock_are_found():
    found = alone("convergence", sweep({1: 0.15, 64: 1e-30, 1024: 0.15}))
    assert found.verdict is Verdict.SUPPORTED
    assert found.along == {TARGET: dict.fromkeys((0.5, 0.2, 0.1), Verdict.SUPPORTED)}
    assert found.plain == ""
    assert found.effect.high < 1


def test_the_verdict_depends_on_the_clock_where_it_does():
    found = alone("convergence", sweep())  # fewer updates than B=1, but more epochs
    assert found.verdict is Verdict.CONDITIONAL
    assert "The claim is in updates " in found.sentence
    assert len(found.sentence) <= 400
    fewer = {row[1:3]: row[-1] for row in found.rows[1:]}
    assert len(fewer) == 6
    assert (fewer["updates", "B=1"], fewer["epochs", "B=1"]) == ("supported", "refuted")
    assert found.plain.startswith("To 0.5, 0.2 and 0.1 of the initial cost B=64 takes fewer ")
    by_clock = {part.split()[1]: part for part in found.plain.partition(" takes ")[2].rstrip(".").split("; ")}
    assert "than B=1" in by_clock["updates"]
    assert "than B=1" not in by_clock["epochs"]


def test_the_answer_names_count_method_and_data():
    """Where B=64 is lower than the others: planted as comparisons."""
    b1, bn = "B=1", "B=N"
    made = [("wine", b1, "updates", 0.1), ("digits", b1, "updates", 0.1), ("wine", b1, "seconds", 0.1)]
    made += [("digits", b1, "seconds", 3.0), ("wine", bn, "updates", 2.0), ("digits", bn, "updates", 2.0)]
    of, one = sweep({64: 0.05}, rates=(1.0,)), np.exp(0.01 * np.arange(12))
    found = of.compare({tuple(key): (ratio * one, one[::-1]) for *key, ratio in made})
    half = {key: comparison for key, comparison in found.items() if key[1] == "B=1"}
    compared = {0.5: (half, ""), 0.2: (found, ""), 0.1: (found, "")}
    verdicts = {share: JUDGE.__globals__["_verdict"](*own) for share, own in compared.items()}
    assert JUDGE.__globals__["_fewer"](compared, verdicts) == (
        "To 0.2 and 0.1 of the initial cost B=64 takes fewer updates only than B=1; "
        "fewer seconds only than B=1, on wine."
    )


@pytest.mark.parametrize(("half", "verdict"), [(slice(0, 8), Verdict.REFUTED), (slice(8, 16), Verdict.SUPPORTED)])
def test_replicas_that_choose_a_rate_do_not_report_it(half, verdict):
    """B=64 is lucky on one half of the replicas; on the other it needs more than B=1, on every clock."""
    of = sweep({1: 0.05, 64: 0.05}, n_replicas=16, us={1: 1.0, 64: 640.0, 1024: 900.0})
    found = {}
    for share in (0.5, 0.1):
        best, reached = JUDGE.__globals__["_to"](of, share)
        assert {len(values) for own in reached.values() for values in own.values()} == {8}
        found[share] = best
    for row in of.cells[of.cells["batch_size"] == 64].itertuples():
        for values in of.answer.to_target[row.cell].values():
            values[:] *= 50
            values[half] *= 1e-6
    best, reached = JUDGE.__globals__["_to"](of, 0.1)
    compared, edges = JUDGE.__globals__["_compared"](of, best, reached)
    assert JUDGE.__globals__["_verdict"](compared, edges) is verdict


def test_no_winner_is_made_up_where_a_rate_is_on_the_edge():
    of = sweep()
    of.answer.targets["edge"] = "high"
    found = alone("convergence", of)
    assert found.verdict is Verdict.UNRESOLVED
    assert "add higher rates" in found.sentence


def test_the_verdict_depends_on_the_target_where_it_does():
    """B=64 is fast at first and gets nowhere near a tenth; the others are even."""

    def falls(first, last):
        update = np.array([0, 2, 10, 1000, 2000])
        cost = [START, START * first, START * 0.3, START * last, START * last]
        about = {"epoch": update / 10, "examples": update, "train_seconds": update / 1e4, "outcome": ""}
        columns = {"train_cost": cost, "validation_cost": cost, "validation_accuracy": 0.9, **about}
        return lambda factor: pd.DataFrame({"update": update, **columns}).assign(
            train_cost=lambda table: table["train_cost"] * np.where(update > 0, factor, 1)
        )

    ends = {1: (0.9, 0.02), 64: (0.4, 0.08), 1024: (0.9, 0.02)}
    cells = [
        cell(B, rate, history=falls(*(own * (1 if rate == 1 else 1.1) for own in ends[B])))
        for B in ends
        for rate in (0.1, 1.0, 10.0)
    ]
    found = alone("convergence", evidence(*cells, shared=0.01))
    assert found.verdict is Verdict.CONDITIONAL
    assert found.along == {TARGET: {0.5: Verdict.SUPPORTED, 0.2: Verdict.REFUTED, 0.1: Verdict.REFUTED}}
    assert found.plain == "In shares of the initial cost, to 0.5 yes, to 0.2 and 0.1 no."


def test_without_mini_batches_nothing_is_concluded():
    of = sweep({1: 0.05, 64: 1.0}, rates=(1.0,))
    found = alone("convergence", of)  # no B=N, and a target that B=64 never reaches
    assert found.verdict in (Verdict.REFUTED, Verdict.CONDITIONAL, Verdict.UNRESOLVED)
    assert "nan" not in found.sentence
    assert findings(of).keys() == {"C4", "C5", "C13", "C14"}
