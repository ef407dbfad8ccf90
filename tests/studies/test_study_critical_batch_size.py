"""The judge of critical_batch_size on updates to target that follow a known law."""

from functools import cache
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from synthetic import START, cell, evidence

from harness.analysis.study import judge_of
from harness.inference import fits
from harness.inference.intervals import Interval, proportion
from harness.inference.verdicts import Verdict, inside
from harness.runs.studies import EXPERIMENTS

pytestmark = pytest.mark.slow  # sweeps made by hand, answered many times

judge = judge_of("critical_batch_size", EXPERIMENTS)
module = SimpleNamespace(**judge.__globals__)  # type: ignore[attr-defined]

SIZES = (1, 4, 64, 256, 1024)
B_CRIT = 20
REPEATS = 40


def fall(S, batch_size):
    """factor -> checkpoints of a replica that needs S updates to a tenth of its cost."""

    def history(factor):
        update = np.unique(np.concatenate([[0], np.geomspace(1, 20 * S, 25).round()]))
        cost = START / (1 + 9 * update / (S * factor))
        columns = {"update": update, "epoch": update * batch_size / 1024, "train_seconds": 1e-4 * update}
        columns |= {"train_cost": cost, "validation_cost": cost, "validation_accuracy": 0.9}
        return pd.DataFrame(columns).assign(outcome=[""] * (len(update) - 1) + ["completed"])

    return history


def looked_into(b_simple, seed):
    """A cell with exact diagnostics: the noise scale is `b_simple` up to the target, then fifty times that."""
    update = np.array([1.0, 10.0, 20.0, 40.0, 80.0])
    table = pd.DataFrame({"update": update, "variance": b_simple * np.array([1, 1, 1, 1, 50.0]), "squared_norm": 1.0})
    history, files = fall(60, 16), {"diagnostics.csv": table}
    return cell(16, 0.1, seed=seed, history=history, files=files, diagnostics="full")


def bent(B):
    return 20 * (1 + B_CRIT / B)


@cache
def found(law, b_simple=B_CRIT, rates=(0.5, 1, 2), sizes=SIZES, runs=3):
    cells = [looked_into(b_simple * (1 + 0.1 * seed), seed) for seed in range(runs)]
    for B in sizes:
        for rate in rates:
            S = law(B) * (1 + np.log(rate) ** 2)
            cells.append(cell(B, 0.1 * rate, history=fall(S, B), diagnostics="cheap"))
    return {finding.claim: finding for finding in judge(evidence(*cells, n_replicas=6))}


def test_three_regimes_and_a_noise_scale_at_the_bend_are_found():
    both = found(bent)
    assert both["L3"].verdict is Verdict.SUPPORTED
    assert both["L4"].verdict is Verdict.SUPPORTED
    assert both["L4"].effect.estimate == pytest.approx(1 / 1.1, rel=0.15)


def test_a_noise_scale_elsewhere_refutes():
    far = found(bent, b_simple=20 * B_CRIT)
    assert far["L3"].verdict is Verdict.SUPPORTED
    assert far["L4"].verdict is Verdict.REFUTED


def test_without_a_fall_there_are_no_three_regimes():
    flat = found(lambda B: 200, sizes=(1, 8, 64))
    assert {finding.verdict for finding in flat.values()} == {Verdict.UNRESOLVED}
    assert "nan" not in flat["L3"].sentence + flat["L4"].sentence


def test_data_that_end_before_the_plateau_do_not_refute_it():
    slope, sizes = Interval(-1, -1, -1), np.array([1, 4, 455])
    fit = SimpleNamespace(b_crit=Interval(60, 50, 70), status=fits.Status.RESOLVED, slope=slope, rms=0)
    curve = SimpleNamespace(fit=fit, edges=[], lost=[], plateau=Interval(0.6, 0.5, 0.7), batch_sizes=sizes)
    assert module.regimes(curve) == [Verdict.SUPPORTED, Verdict.UNRESOLVED, Verdict.SUPPORTED]


def test_a_power_law_does_not_scale_perfectly_at_first():
    root = found(lambda B: 2000 / B**0.5)
    assert root["L3"].verdict is not Verdict.SUPPORTED


def test_a_best_rate_on_the_edge_of_its_grid_makes_no_claim():
    edge = found(bent, rates=(1, 2))
    assert {finding.verdict for finding in edge.values()} == {Verdict.UNRESOLVED}
    assert "on the edge of its grid at B=1 (low)" in edge["L3"].sentence


def test_without_runs_that_were_looked_into_nothing_is_said_of_noise():
    alone = found(bent, runs=0)
    assert alone["L4"].verdict is Verdict.UNRESOLVED
    assert "No dataset" in alone["L4"].sentence


def test_the_noise_after_the_target_does_not_count():
    """It is fifty times as large at update 80; the target is reached after 60 or so."""
    assert found(bent)["L4"].panels[1].lines[0].x.max() == 40


def test_errors_of_bend_and_noise_add_up_in_squares():
    one, resolved = Interval(1, 1, 1), fits.Status.RESOLVED
    fit = SimpleNamespace(b_crit=Interval(100, 50, 200), status=resolved, slope=one, rms=0)
    curve = SimpleNamespace(fit=fit, edges=[], lost=[], plateau=one, batch_sizes=np.array([1, 1000]))
    ratio = module.ratio(curve, SimpleNamespace(average=Interval(100, 50, 200)))
    assert [ratio.estimate, ratio.low, ratio.high] == pytest.approx([1, 2 ** -(2**0.5), 2 ** (2**0.5)])


def test_a_curve_that_falls_by_just_the_bound_is_seldom_called_flat(monkeypatch):
    monkeypatch.setattr(fits, "RESAMPLES", 299)
    seen = 0
    for repeat in range(REPEATS):
        rng = np.random.default_rng(repeat)
        updates = np.array([[2.0], [1 / module.FLAT], [1.0]]) * np.exp(0.2 * rng.normal(size=(3, 10)))
        seen += inside(module.plateau(np.array([1, 100, 600]), updates, rng), module.FLAT, np.inf) is Verdict.SUPPORTED
    assert proportion(seen, REPEATS).low < 0.05
