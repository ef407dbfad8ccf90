"""The judge of noise_scale where the critical batch size and the noise scale are planted."""

from functools import cache
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from synthetic import START, cell, evidence

from harness.analysis.study import judge_of
from harness.inference.intervals import Interval
from harness.inference.verdicts import Verdict
from harness.runs.studies import EXPERIMENTS

pytestmark = pytest.mark.slow  # sweeps made by hand, answered many times

judge = judge_of("noise_scale", EXPERIMENTS)
module = SimpleNamespace(**judge.__globals__)  # type: ignore[attr-defined]

SIZES = (1, 4, 64, 256, 1024)
B_CRIT = 20


def fall(S, batch_size):
    """factor -> checkpoints of a replica that needs S updates to a tenth of its cost."""

    def history(factor):
        update = np.unique(np.concatenate([[0], np.geomspace(1, 20 * S, 25).round()]))
        cost = START / (1 + 9 * update / (S * factor))
        columns = {"update": update, "epoch": update * batch_size / 1024, "train_seconds": 1e-4 * update}
        columns |= {"train_cost": cost, "validation_cost": cost, "validation_accuracy": 0.9}
        return pd.DataFrame(columns).assign(outcome=[""] * (len(update) - 1) + ["completed"])

    return history


def looked_into(seed, b_simple=B_CRIT, of_batches=1.0, late=50.0, reaches=True):
    """A cell with exact diagnostics: the noise scale is `b_simple` up to the target, then `late` times that."""
    update = np.array([1.0, 10.0, 20.0, 40.0, 80.0])
    scale = b_simple * (1 + 0.05 * seed) * np.array([1, 1, 1, 1, late])
    table = pd.DataFrame({"update": update, "variance": scale, "squared_norm": 1.0})
    table = table.assign(batch_variance=of_batches * table["variance"], batch_squared_norm=1.0)
    history = fall(60, 16) if reaches else lambda factor: fall(60, 16)(factor).assign(train_cost=0.9 * START)
    return cell(16, 0.1, seed=seed, history=history, files={"diagnostics.csv": table}, diagnostics="full")


@cache
def found(runs=3, lost=0, **planted):
    cells = [looked_into(seed, reaches=seed >= lost, **planted) for seed in range(runs)]
    for B in SIZES:
        for rate in (0.8, 1, 1.25):
            S = 20 * (1 + B_CRIT / B) * (1 + np.log(rate) ** 2)
            cells.append(cell(B, 0.1 * rate, history=fall(S, B), diagnostics="cheap"))
    (finding,) = judge(evidence(*cells, n_replicas=6, shared=0.02))
    assert "nan" not in f"{finding.sentence} {finding.rows} {finding.plain}"
    assert len(finding.sentence) <= 400
    return finding


def test_a_noise_scale_at_the_bend_is_found_in_each_way():
    finding = found()
    assert finding.verdict is Verdict.SUPPORTED
    assert finding.effect.estimate == pytest.approx(1 / 1.05, rel=0.15)
    (row,) = finding.rows[1:]
    assert row[:3] == ("digits", "B=16, η=0.1", "3")
    assert row[-1] == "supported, supported, supported"


def test_a_noise_scale_elsewhere_refutes():
    assert found(b_simple=20 * B_CRIT).verdict is Verdict.REFUTED


def test_a_noise_scale_that_is_near_by_one_factor_and_far_by_another_is_conditional():
    """2.4 times the bend: within a factor of 3 and 5, not of 1.5 and 2."""
    finding = found(b_simple=2.4 * B_CRIT)
    yes, no = Verdict.SUPPORTED, Verdict.REFUTED
    assert finding.along["the factor, average of S/‖G‖²"] == {1.5: no, 2.0: no, 3.0: yes, 5.0: yes}
    assert finding.verdict is Verdict.CONDITIONAL


def test_ways_to_average_that_disagree_are_conditional():
    finding = found(of_batches=30.0)
    assert set(finding.along["the factor, the same of batches"].values()) == {Verdict.REFUTED}
    assert finding.verdict is Verdict.CONDITIONAL
    assert finding.rows[1][-1] == "supported, supported, refuted"


def test_the_answer_says_on_which_data_each_way_tells_and_misses():
    near, far, wide = Interval(1.0, 0.9, 1.1), Interval(9.0, 8.0, 10.0), Interval(2.0, 0.1, 40.0)
    found = {("digits", "exact", "B=4"): near, ("digits", "exact", "B=16"): near, ("wine", "exact", "B=4"): wide}
    found |= {("digits", "pooled", "B=4"): far, ("digits", "pooled", "B=16"): near, ("wine", "pooled", "B=4"): far}
    assert module._answer(found) == (
        "Of 3 settings, within a factor of 3: the averaged ratio of noise to gradient tells it in 2 (on digits), "
        "misses in none; the ratio of averages tells it in 1 (on digits), misses in 2 (on all data)."
    )


def test_the_pooled_scale_weighs_the_early_updates_more_where_gradients_shrink():
    table = pd.DataFrame({"update": [1.0, 2.0], "variance": [8.0, 8.0], "squared_norm": [4.0, 1.0]})
    assert module.WAYS["exact"](table) == pytest.approx((2 + 8) / 2)
    assert module.WAYS["pooled"](table) == pytest.approx(16 / 5)


def test_without_runs_that_were_looked_into_nothing_is_said_of_noise():
    alone = found(runs=0)
    assert alone.verdict is Verdict.UNRESOLVED
    assert "No dataset" in alone.sentence


@pytest.mark.parametrize(("lost", "verdict"), [(1, Verdict.SUPPORTED), (2, Verdict.UNRESOLVED)])
def test_trainings_that_reach_the_target_do_not_speak_for_many_that_do_not(lost, verdict):
    finding = found(runs=4, lost=lost)
    assert finding.verdict is verdict
    assert f"({lost} more did not reach the target)" in finding.rows[1][2]
    assert f"{lost} of the trainings did not reach the target" in finding.sentence


def test_the_noise_after_the_target_does_not_count():
    """It is fifty times as large at update 80; the target is reached after 60 or so."""
    assert found().panels[1].lines[0].x.max() == 40


def test_errors_of_bend_and_noise_add_up_in_squares():
    ratio = module.ratio(Interval(100, 50, 200), Interval(100, 50, 200))
    assert [ratio.estimate, ratio.low, ratio.high] == pytest.approx([1, 2 ** -(2**0.5), 2 ** (2**0.5)])
