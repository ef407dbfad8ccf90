"""The judge of critical_batch_growth on trainings whose B_noise is known at every epoch."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from branches import BASE, N, branch
from synthetic import cell, evidence

from harness.analysis.evidence import Evidence
from harness.analysis.study import judge_of
from harness.inference.verdicts import Verdict
from harness.runs.studies import EXPERIMENTS

pytestmark = pytest.mark.slow  # sweeps made by hand, answered many times

judge = judge_of("critical_batch_growth", EXPERIMENTS)
module = SimpleNamespace(**judge.__globals__)  # type: ignore[attr-defined]

BRANCHES = {1: 4, 2: 7, 4: 13}  # epochs at which it leaves, and of its budget


def rising(epoch):
    return 8 * (1 + 4 * epoch)


def constant(epoch):
    return np.full_like(epoch, 64.0)


def looked_into(noise, times, batch_size, seed):
    """Noise scales `times` as large as B_noise."""
    update = np.unique(np.geomspace(1, 16 * N / batch_size, 60).round())
    scale = times * noise(update * batch_size / N) * np.exp(0.05 * np.random.default_rng(seed).normal(size=len(update)))
    columns = dict.fromkeys(("squared_norm", "batch_squared_norm"), 1.0) | dict.fromkeys(("variance",), scale)
    table = pd.DataFrame({"update": update, **columns, "batch_variance": scale})
    params = {"milestones": None, "milestone_factor": 2, "diagnostics": "full", "seeds": 1, "seed": seed}
    params["batch_size_schedule"] = "constant"
    return cell(batch_size, 0.1, n_train=N, files={"diagnostics.csv": table}, **params)


def planted(noise, times=1.0, best=0.1):
    """The rate `best` and the rule sqrt are right: all others are slower."""
    rates = [(rate, 1.0 if rate == best else 1.5) for rate in (0.05, 0.1, 0.2)]
    cells = [branch(noise, (), 2, 16 if B == BASE else 8, B, *one) for B in (4, 8, 32, 128, 512) for one in rates]
    for e, end in BRANCHES.items():
        trunk = {"batch_size_schedule": "constant", "learning_rate_schedule": "step"}
        cells += [branch(noise, (e,), factor, end, slower=1.5, **trunk) for factor in (0.5, 2)]
        for rule, slower in (("constant", 1.5), ("sqrt", 1.0), ("linear", 1.5)):
            cells += [branch(noise, (e,), m, end, slower=slower, learning_rate_rule=rule) for m in (2, 8, 32, 128)]
    cells += [looked_into(noise, times, B, seed) for B in (4, 32) for seed in range(6)]
    return cells


def judged(noise, times=1.0, *more, best=0.1):
    cells = [*planted(noise, times, best), *more]
    found = evidence(*cells, shared=0.0, answered=False, n_replicas=12)
    found = {finding.claim: finding for finding in judge(found)}
    for finding in found.values():
        assert "nan" not in f"{finding.sentence} {finding.rows} {finding.plain}"
        assert len(finding.sentence) <= 400
    return found


def row_of(finding, *first):
    """The row that begins with these cells."""
    (row,) = [row for row in finding.rows if tuple(row[: len(first)]) == first]
    return row


def test_a_noise_scale_that_grows_is_found_to_grow_and_to_tell():
    found = judged(rising)
    assert (found["B1"].verdict, found["B2"].verdict) == (Verdict.SUPPORTED, Verdict.SUPPORTED)
    assert found["B1"].effect.estimate > 3
    assert list(found["B1"].along["how much slower is critical"].items()) == [
        (x, Verdict.SUPPORTED) for x in module.SLOWER
    ]
    assert "rises to" in found["B1"].sentence
    assert "falls" not in found["B1"].sentence


def test_a_noise_scale_that_stays_is_not_found_to_grow_and_has_its_size():
    found = judged(constant)
    assert found["B1"].verdict is Verdict.REFUTED
    assert found["B1"].effect.estimate == pytest.approx(1, rel=0.1)
    assert found["B2"].effect.estimate == pytest.approx((64 + BASE) / 64, rel=0.1)


def test_a_first_moment_that_differs_is_no_growth_along_training():
    """B_noise is as large at 1/2 of the first epoch as at the end: it depends on what is called the start."""
    found = judged(lambda epoch: np.where(epoch < 1 / 8, 4.0, 64.0))["B1"]
    assert found.verdict is Verdict.CONDITIONAL
    looked = found.along["epochs over which the start is compared"]
    assert [looked[1 / 8], looked[1.0]] == [Verdict.SUPPORTED, Verdict.REFUTED]
    assert "On digits it rises" in found.plain
    assert "by epochs over which the start is compared: 0.125" in found.plain
    assert "1 no" in found.plain
    assert row_of(found, "digits", "0", "0.125")[-1] == Verdict.SUPPORTED
    assert row_of(found, "digits", "0", "1")[-1] == Verdict.REFUTED


def test_a_noise_scale_ten_times_as_large_does_not_tell():
    assert judged(rising, times=10)["B2"].verdict is Verdict.REFUTED
    threefold = judged(rising, times=3)["B2"]
    assert threefold.verdict is Verdict.CONDITIONAL
    assert "by average S over average ‖G‖², from batches, 2 to 3 at epoch 0, 1, 2 and 4." in threefold.plain
    assert [threefold.along["the factor"][x] for x in (3, 4)] == [Verdict.CONDITIONAL, Verdict.SUPPORTED]


def test_a_replica_that_ended_early_or_diverged_has_no_cost():
    own = pd.DataFrame({"replica": 0, "epoch": [0.0, 1.0, 2.0], "train_cost": [1.0, 0.5, 0.25], "outcome": ""})
    lost = own.assign(replica=2, outcome=["", "", "diverged"])
    rows = pd.concat([own, own.iloc[:2].assign(replica=1), lost])
    found = Evidence.log_costs(SimpleNamespace(histories={"it": rows}), "it", 2)  # type: ignore[arg-type]
    assert found.tolist() == [np.log(0.25), np.inf, np.inf]


def test_the_best_of_a_size_s_rates_counts():
    """A branch whose rate is too large, beside one that is right, changes nothing."""
    one = judged(constant)
    two = judged(constant, 1.0, branch(lambda epoch: np.full_like(epoch, 1.0), (4,), 8, 13, rate=0.2))
    assert two["B1"].effect.estimate == pytest.approx(one["B1"].effect.estimate, rel=0.02)


def test_a_noise_scale_that_rises_and_falls_again_has_not_grown():
    found = judged(lambda epoch: np.where((epoch >= 1) & (epoch < 4), 64.0, 16.0))["B1"]
    assert found.verdict is Verdict.REFUTED
    assert found.effect.estimate == pytest.approx(1, rel=0.1)
    assert "rises to" in found.sentence
    assert "falls to" in found.sentence


def test_a_size_at_which_no_rate_makes_progress_gives_limits_and_not_a_point():
    """From B=8 on the cost rises at first, least at the middle rate: B_crit is between 0 and (8 − 4) / 0.2."""
    rates = ((0.05, -1.0), (0.1, -2.0), (0.2, -1.0))
    stuck = [branch(constant, (), 2, 8, B, rate, slower=how) for B in (8, 32, 128) for rate, how in rates]
    cells = [own for own in planted(constant) if own["params"]["milestones"] or own["batch_size"] == BASE]
    own = {finding.claim: finding for finding in judge(evidence(*cells, *stuck, shared=0.0, answered=False))}
    assert row_of(own["B1"], "digits", "0", "0.125")[3] == "10 [0, 20]"
    assert "B_crit is 10 [0, 20] at the start" in own["B1"].sentence


def test_a_best_rate_on_the_edge_of_its_grid_concludes_nothing():
    found = judged(constant, best=0.2)
    assert "edge of its grid at B=4" in found["B1"].sentence
    assert found["B1"].verdict is Verdict.UNRESOLVED
    assert "edge of its grid at B=4" in row_of(found["B1"], "digits", "0", "0.125")[3]


def test_a_size_of_which_the_first_examples_are_no_whole_update_is_left_out():
    cells = evidence(*planted(constant), shared=0.0, answered=False).cells.assign(n_steps=0)
    arms = module.arms_of(cells.assign(steps=[[]] * len(cells), rate_after=0.1))
    assert sorted(arms[0]) == [4, 8, 32, 128]  # an eighth of an epoch is 128 examples


def test_where_every_run_that_is_looked_into_has_diverged_the_noise_is_not_known():
    cells = [own for own in planted(constant) if own["params"]["diagnostics"] != "full"]
    lost = [looked_into(constant, np.nan, B, seed) for B in (4, 32) for seed in range(6)]
    for own in lost:
        own["files"]["diagnostics.csv"] = own["files"]["diagnostics.csv"].assign(squared_norm=np.nan)
    (found,) = [f for f in judge(evidence(*cells, *lost, shared=0.0, answered=False, n_replicas=12)) if f.claim == "B2"]
    assert found.verdict is Verdict.UNRESOLVED
    assert "not known" in found.sentence
