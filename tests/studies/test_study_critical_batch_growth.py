"""The judge of critical_batch_growth on trainings whose B_noise is known at every epoch."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from synthetic import cell, evidence

from harness.analysis.study import judge_of
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


def history(noise, n_epochs, batch_size):
    """One replica: log cost falls by SPEED / (1 + B/B_noise) an epoch. batch_size: epoch -> B."""
    epoch = np.arange(0, n_epochs + STEP / 2, STEP)
    size = batch_size(epoch)
    fall = np.concatenate([[0], np.cumsum(STEP * SPEED / (1 + size / noise(epoch)))[:-1]])
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


def branch(noise, steps, factor, n_epochs, batch_size=BASE):
    params = {
        "milestones": str(list(steps)) if steps else None,
        "milestone_factor": factor,
        "epochs": n_epochs,
        "diagnostics": "cheap",
    }
    params["batch_size_schedule"] = "step" if steps else "constant"
    sizes = sized(steps, factor) if steps else lambda epoch: np.full_like(epoch, float(batch_size))
    made = history(noise, n_epochs, sizes)
    return cell(batch_size, 0.1, n_train=N, noise=1e-3, history=made, **params)


def looked_into(noise, times, batch_size, seed):
    """Noise scales `times` as large as B_noise."""
    update = np.unique(np.geomspace(1, 16 * N / batch_size, 60).round())
    scale = times * noise(update * batch_size / N) * np.exp(0.05 * np.random.default_rng(seed).normal(size=len(update)))
    columns = dict.fromkeys(("squared_norm", "batch_squared_norm"), 1.0) | dict.fromkeys(("variance",), scale)
    table = pd.DataFrame({"update": update, **columns, "batch_variance": scale})
    params = {"milestones": None, "milestone_factor": 2, "diagnostics": "full", "seeds": 1, "seed": seed}
    params["batch_size_schedule"] = "constant"
    return cell(batch_size, 0.1, n_train=N, files={"diagnostics.csv": table}, **params)


def planted(noise, times=1.0):
    cells = [branch(noise, (), 2, 16 if B == BASE else 8, B) for B in (4, 8, 16, 32, 64, 128, 256)]
    cells += [branch(noise, (e,), m, end) for e, end in BRANCHES.items() for m in (2, 4, 8, 16, 32, 64)]
    cells += [branch(noise, (1, 2, 4), 2, 8)]
    cells += [looked_into(noise, times, B, seed) for B in (4, 32) for seed in range(6)]
    return cells


def judged(noise, times=1.0):
    cells = planted(noise, times)
    found = {finding.claim: finding for finding in judge(evidence(*cells, shared=0.0, answered=False))}
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
    found = module.log_costs(pd.concat([own, own.iloc[:2].assign(replica=1), lost]), 2)
    assert found.tolist() == [np.log(0.25), np.inf, np.inf]


def test_the_best_of_a_size_s_rates_counts():
    """A branch whose rate is too large, beside one that is right, changes nothing."""
    one = {finding.claim: finding for finding in judge(evidence(*planted(constant), shared=0.0, answered=False))}
    slow = branch(lambda epoch: np.full_like(epoch, 1.0), (4,), 8, 13)
    slow["learning_rate"] = 0.2
    two = {finding.claim: finding for finding in judge(evidence(*planted(constant), slow, shared=0.0, answered=False))}
    assert two["B1"].effect.estimate == pytest.approx(one["B1"].effect.estimate, rel=0.02)
