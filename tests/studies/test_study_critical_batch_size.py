"""The judge of critical_batch_size on updates to target that follow a known law."""

from functools import cache
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from synthetic import START, cell, evidence

from harness.analysis.study import judge_of
from harness.inference.intervals import Interval, proportion
from harness.inference.verdicts import Verdict, inside
from harness.runs.studies import EXPERIMENTS

pytestmark = pytest.mark.slow  # sweeps made by hand, answered many times

judge = judge_of("critical_batch_size", EXPERIMENTS)
module = SimpleNamespace(**judge.__globals__)  # type: ignore[attr-defined]

N = 4096
SIZES = (1, 2, 4, 64, 512, N)
UNIT = Interval(1.0, 1.0, 1.0)
B_CRIT = 60
REPEATS = 40


def fall(S, batch_size):
    """factor -> checkpoints of a replica that needs S updates to a tenth of its cost."""

    def history(factor):
        update = np.unique(np.concatenate([[0], np.geomspace(1, 20 * S, 25).round()]))
        cost = START / (1 + 9 * update / (S * factor))
        columns = {"update": update, "epoch": update * batch_size / N, "train_seconds": 1e-4 * update}
        columns |= {"train_cost": cost, "validation_cost": cost, "validation_accuracy": 0.9}
        return pd.DataFrame(columns).assign(outcome=[""] * (len(update) - 1) + ["completed"])

    return history


def bent(B):
    return 20 * (1 + B_CRIT / B)


@cache
def found(law, rates=(0.5, 1, 2), sizes=SIZES):
    cells = []
    for B in sizes:
        for rate in rates:
            S = law(B) * (1 + np.log(rate) ** 2)
            cells.append(cell(B, 0.1 * rate, history=fall(S, B), n_train=N, diagnostics="cheap"))
    (finding,) = judge(evidence(*cells, n_replicas=6, shared=0.02))
    assert "nan" not in f"{finding.sentence} {finding.rows} {finding.plain}"
    assert len(finding.sentence) <= 400
    return finding


def test_three_regimes_are_found():
    finding = found(bent)
    assert finding.verdict is Verdict.SUPPORTED
    assert finding.effect.estimate == pytest.approx(-0.97, abs=0.03)
    assert {found for own in finding.along.values() for found in own.values()} == {Verdict.SUPPORTED}
    assert list(finding.along["the part of the initial cost that is the target"]) == [1 / 5, 1 / 7, 1 / 10]
    parts = {row[1]: row[3] for row in finding.rows[1:]}
    assert parts["updates at N over those at N/6"] == "0.7 to 0.8 supported"
    assert "B_crit (examples)" in parts


def test_without_a_fall_there_are_no_three_regimes():
    flat = found(lambda B: 200, sizes=(1, 8, 64))
    assert flat.verdict is Verdict.UNRESOLVED
    assert "Not known on digits" in flat.sentence


def curve_of(slope=UNIT, plateau=UNIT, misses=(UNIT,), b_crit=20, n=1024, dataset="digits", **more):
    fit = SimpleNamespace(b_crit=Interval(b_crit, b_crit, b_crit), s_min=UNIT, rms=0.1)
    return module.Curve(dataset, np.array([1.0, n]), np.ones((2, 15)), fit, slope, plateau, list(misses), **more)


def test_the_answer_says_which_part_holds_on_which_data():
    good, off = Interval(-1.0, -1.02, -0.98), Interval(1.6, 1.55, 1.65)
    curves = [
        curve_of(good, dataset="digits", untold=""),
        curve_of(Interval(-0.5, -0.52, -0.48), dataset="iris", misses=[UNIT, off], b_crit=200, untold=""),
        curve_of(good, dataset="wine", untold="the best rate is on the edge of its grid", at="B=1 (low)"),
    ]
    assert module._answer(curves) == (
        "Slope within 0.15 of -1 at first: on digits yes, on iris no, on wine not decided; "
        "law within a factor of 1.2: on digits yes, on iris no, on wine not decided; "
        "6 times the batch at last saves under 20 %: on digits yes, on wine not decided."
    )
    said = module._said(curves)
    assert "misses most on iris at B=1024, by × 1.6 [1.55, 1.65]" in said
    assert "far above B_crit: 1 [1, 1] (digits)" in said
    assert "Not known on wine: the best rate is on the edge of its grid." in said
    assert len(said) <= 400
    (row,) = module._rows(curves[2])
    assert row[2] == "not known: the best rate is on the edge of its grid at B=1 (low)"
    assert ("iris", "updates at N over those at N/6", "1 [1, 1]", "not judged: N is 5.1 B_crit") in module._rows(
        curves[1]
    )


def test_data_that_end_before_the_plateau_do_not_refute_it():
    short = curve_of(plateau=Interval(0.6, 0.5, 0.65), b_crit=60, n=455, untold="")
    assert module.flat_at_last(short, 0.8) is None
    assert module.flat_at_last(curve_of(plateau=Interval(0.6, 0.5, 0.65), untold=""), 0.8) is Verdict.REFUTED
    assert module.on_all([short], module.flat_at_last, 0.8) is Verdict.UNRESOLVED


def test_no_part_is_decided_by_an_estimate_alone():
    """Inside the band by its estimate, with limits beyond it."""
    wide = Interval(1.0, 0.5, 2.0)
    own = curve_of(slope=Interval(-1.0, -1.2, -0.8), plateau=wide, misses=[UNIT, wide], untold="")
    held = [holds(own, at) for holds, _, at in module.REGIMES.values()]
    assert held == [Verdict.UNRESOLVED] * 3
    assert max(module.needed(own)) > 15


def test_a_law_that_misses_one_batch_size_is_refuted_there():
    own = curve_of(misses=[UNIT, Interval(1.4, 1.35, 1.45), UNIT], untold="")
    found_at = {miss: module.follows_the_law(own, miss) for miss in module.MISSES}
    assert list(found_at.values()) == [Verdict.REFUTED, Verdict.REFUTED, Verdict.SUPPORTED]


def test_a_power_law_does_not_scale_perfectly_at_first():
    root = found(lambda B: 2000 / B**0.5)
    assert root.verdict is not Verdict.SUPPORTED


def test_a_best_rate_on_the_edge_of_its_grid_makes_no_claim():
    edge = found(bent, rates=(1, 2))
    assert edge.verdict is Verdict.UNRESOLVED
    assert "Not known on digits: the best rate is on the edge of its grid." in edge.sentence
    assert "on the edge of its grid at B=1 (low)" in edge.rows[1][2]


def test_replicas_that_do_not_arrive_count():
    sizes, updates = np.array([1.0, 2.0, 4.0]), np.array([[40.0] * 12, [20.0] * 12, [10.0] * 12])
    assert module.first_slope(sizes, updates).estimate == pytest.approx(-1)
    updates[2, :4] = np.inf  # of the largest batch: the slope is +inf there
    slope = module.first_slope(sizes, updates)
    assert slope.estimate == pytest.approx(-1)
    assert np.isinf(slope.high)


def test_a_curve_that_falls_by_just_the_bound_is_seldom_called_flat():
    seen = 0
    for repeat in range(REPEATS):
        rng = np.random.default_rng(repeat)
        updates = np.array([[2.0], [1 / module.FLAT], [1.0]]) * np.exp(0.2 * rng.normal(size=(3, 10)))
        seen += inside(module.plateau(np.array([1, 100, 600]), updates), module.FLAT, np.inf) is Verdict.SUPPORTED
    assert proportion(seen, REPEATS).low < 0.05


def test_a_slope_at_the_end_of_its_band_is_seldom_called_perfect():
    sizes, seen = np.array([1.0, 2.0, 4.0]), 0
    for repeat in range(REPEATS):
        rng = np.random.default_rng(repeat)
        updates = sizes[:, None] ** (-1 + module.STEEP) * np.exp(0.1 * rng.normal(size=(3, 15)))
        slope = module.first_slope(sizes, updates)
        seen += inside(slope, -1 - module.STEEP, -1 + module.STEEP) is Verdict.SUPPORTED
    assert proportion(seen, REPEATS).low < 0.05
