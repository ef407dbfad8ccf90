"""The judge of critical_batch_growth on trainings whose B_noise is known at every epoch."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from synthetic import cell, evidence

from harness.analysis.evidence import Evidence
from harness.analysis.study import judge_of
from harness.inference.learning_rates import split_replicas
from harness.inference.verdicts import Verdict
from harness.runs.studies import EXPERIMENTS

pytestmark = pytest.mark.slow  # sweeps made by hand, answered many times

judge = judge_of("critical_batch_growth", EXPERIMENTS)
module = SimpleNamespace(**judge.__globals__)  # type: ignore[attr-defined]

N, BASE, STEP, SPEED = 1024, 4, 1 / 64, 0.8
BRANCHES = {1: 4, 2: 7, 4: 13}  # epochs at which it leaves, and of its budget


def rising(epoch):
    return 8 * (1 + 4 * epoch)


def constant(epoch):
    return np.full_like(epoch, 64.0)


def history(noise, n_epochs, batch_size, slower):
    """One replica: log cost falls by SPEED / (1 + B/B_noise) / slower an epoch. batch_size, slower: of the epoch."""
    epoch = np.arange(0, n_epochs + STEP / 2, STEP)
    size = batch_size(epoch)
    fall = STEP * SPEED / (1 + size / noise(epoch)) / slower(epoch)
    fall = np.concatenate([[0], np.cumsum(fall)[:-1]])
    update = np.concatenate([[0], np.cumsum(STEP * N / size)[:-1]])
    cost = np.exp(-fall)

    def made(factor):
        about = {"train_seconds": update, "validation_cost": cost, "validation_accuracy": 0.9, "outcome": ""}
        return pd.DataFrame(
            {"update": update, "epoch": epoch, "examples": N * epoch, "train_cost": factor * cost, **about}
        )

    return made


def sized(steps, factor):
    return lambda epoch: BASE * float(factor) ** np.searchsorted(steps, epoch, side="right")


def branch(noise, steps, factor, n_epochs, batch_size=BASE, rate=0.1, slower=1.0, **schedules):
    """slower: how many times, after the first step."""
    params = {
        "milestones": str(list(steps)) if steps else None,
        "milestone_factor": factor,
        "epochs": n_epochs,
        "diagnostics": "cheap",
    }
    params |= {"batch_size_schedule": "step" if steps else "constant", **schedules}
    grows = params["batch_size_schedule"] == "step"
    sizes = sized(steps, factor) if grows else lambda epoch: np.full_like(epoch, float(batch_size))
    made = history(noise, n_epochs, sizes, lambda epoch: np.where(epoch >= (*steps, 0)[0], slower, 1.0))
    return cell(batch_size, rate, n_train=N, noise=1e-3, history=made, **params)


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
    cells += [branch(noise, (1, 2, 4), 2, 8, BASE, *one, learning_rate_rule="sqrt") for one in rates]
    cells += [looked_into(noise, times, B, seed) for B in (4, 32) for seed in range(6)]
    return cells


def judged(noise, times=1.0, *more, best=0.1):
    cells = [*planted(noise, times, best), *more]
    found = evidence(*cells, shared=0.0, answered=False, n_replicas=12)
    found = {finding.claim: finding for finding in judge(found)}
    assert not any("nan" in finding.sentence for finding in found.values())
    return found


def test_a_noise_scale_that_grows_is_found_to_grow_and_to_tell():
    found = judged(rising)
    assert (found["B1"].verdict, found["B2"].verdict) == (Verdict.SUPPORTED, Verdict.SUPPORTED)
    assert found["B1"].effect.estimate > 3
    assert "0.1 to 1 supported" in found["B1"].sentence


def test_a_noise_scale_that_stays_is_not_found_to_grow_and_has_its_size():
    found = judged(constant)
    assert found["B1"].verdict is Verdict.REFUTED
    assert found["B1"].effect.estimate == pytest.approx(1, rel=0.1)
    assert found["B2"].effect.estimate == pytest.approx((64 + BASE) / 64, rel=0.1)


def test_a_first_moment_that_differs_is_no_growth_along_training():
    """B_noise is as large at 1/2 of the first epoch as at the end: it depends on what is called the start."""
    found = judged(lambda epoch: np.where(epoch < 1 / 8, 4.0, 64.0))["B1"]
    assert found.verdict is Verdict.CONDITIONAL
    assert "supported; 1 refuted" in found.sentence


def test_a_noise_scale_ten_times_as_large_does_not_tell():
    assert judged(rising, times=10)["B2"].verdict is Verdict.REFUTED
    assert judged(rising, times=3)["B2"].verdict is Verdict.CONDITIONAL


def test_where_only_the_first_epoch_needs_small_batches_a_growing_batch_is_found_to_save():
    found = judged(lambda epoch: np.where(epoch < 1, 4.0, 4000.0))["B3"]
    assert found.verdict is Verdict.SUPPORTED
    assert "69% fewer updates" in found.sentence


def test_where_every_size_is_small_a_growing_batch_is_not_needed():
    assert judged(lambda epoch: np.full_like(epoch, 1e6))["B3"].verdict is Verdict.REFUTED


def test_where_every_size_is_large_a_growing_batch_costs():
    assert judged(lambda epoch: np.full_like(epoch, 2.0))["B3"].verdict is Verdict.REFUTED


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


def test_a_size_at_which_no_rate_makes_progress_gives_limits_and_not_a_point():
    """From B=8 on the cost rises at first, least at the middle rate: B_crit is between 0 and (8 − 4) / 0.2."""
    rates = ((0.05, -1.0), (0.1, -2.0), (0.2, -1.0))
    stuck = [branch(constant, (), 2, 8, B, rate, slower=how) for B in (8, 32, 128) for rate, how in rates]
    cells = [own for own in planted(constant) if own["params"]["milestones"] or own["batch_size"] == BASE]
    own = {finding.claim: finding for finding in judge(evidence(*cells, *stuck, shared=0.0, answered=False))}
    assert "10 [0, 20] after 0 epochs" in own["B1"].sentence


def test_a_best_rate_on_the_edge_of_its_grid_concludes_nothing():
    found = judged(constant, best=0.2)
    assert "edge of its grid at B=4" in found["B1"].sentence
    assert (found["B1"].verdict, found["B3"].verdict) == (Verdict.UNRESOLVED, Verdict.UNRESOLVED)
    assert "edge of its grid: B=4: high, the growing batch: high, B=32: high" in found["B3"].sentence


def test_a_size_of_which_the_first_examples_are_no_whole_update_is_left_out():
    cells = evidence(*planted(constant), shared=0.0, answered=False).cells.assign(n_steps=0)
    arms = module.arms_of(cells.assign(steps=[[]] * len(cells), rate_after=0.1))
    assert sorted(arms[0]) == [4, 8, 32, 128]  # an eighth of an epoch is 128 examples


def test_one_lost_replica_does_not_hide_three_times_the_cost():
    own = {B: np.full(12, np.log(cost)) for B, cost in ((4, 1.0), (32, 3.0), (8, 3.0))}
    own[32][7] = np.inf
    frame = pd.DataFrame(
        {"cell": [4, 8, 32], "batch_size": [4, 4, 32], "n_steps": [0, 3, 0], "steps": [[], [1, 2, 4], []]}
    )
    frame = frame.assign(milestone_factor=2, n_train=N, learning_rate=0.1, rate_after=0.1)
    history = pd.DataFrame({"epoch": [8.0], "update": [100.0]})
    given = SimpleNamespace(histories={8: history}, log_costs=lambda name, epoch: own[name])
    found = module.growing(given, frame, split_replicas(12, 6))
    assert found.large.low == pytest.approx(3)
    assert found.edges  # a single rate
