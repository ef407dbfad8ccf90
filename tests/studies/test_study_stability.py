"""The judge of stability on trainings that diverge above a known rate."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from synthetic import cell, evidence

from harness.analysis.study import judge_of
from harness.inference.intervals import proportion
from harness.inference.verdicts import Verdict
from harness.runs.studies import EXPERIMENTS

pytestmark = pytest.mark.slow  # sweeps made by hand, answered many times

judge = judge_of("stability", EXPERIMENTS)
module = SimpleNamespace(**judge.__globals__)  # type: ignore[attr-defined]

N = 1024
LAMBDA = 2.0
REPEATS = 40


def found(limit, sum_limit=None, mini_noise=0.02, at_n=(0.97, 1.03), looked_into=True, sizes=(1, 64)):
    """limit, sum_limit: B -> the rate, in the cell's own units, above which a training diverges."""
    cells = []
    for B in sizes:
        noise = mini_noise if B == 64 else 0.2
        for rate in (0.06, 0.5, 1.5):
            cells.append(made(B, rate, "mean", None if rate > limit(B) else 0.1, noise))
        for rate in (0.01, 0.2, 0.8, 3) if sum_limit else ():
            cells.append(made(B, rate, "sum", None if rate > sum_limit(B) else 0.1, noise))
    for rate in at_n:
        cells.append(made(N, rate * 2 / LAMBDA, "mean", None if rate > limit(N) * LAMBDA / 2 else 0.1, 0.02))
    if looked_into:
        table = pd.DataFrame({"update": [1.0, 2.0], "lambda_max": [LAMBDA, 3 * LAMBDA]})
        files = {"diagnostics.csv": table}
        params = {"model.hidden": "[]", "diagnostics": "full"}
        cells.append(cell(N, 0.1, dataset="diabetes", n_train=N, files=files, **params))
    return {finding.claim: finding for finding in judge(evidence(*cells, shared=0.0))}


def made(B, rate, reduction, final, noise):
    params = {"model.hidden": "[]", "diagnostics": "cheap"}
    return cell(B, rate, reduction, "diabetes", n_train=N, final=final, noise=noise, **params)


def rising(B):
    return {1: 0.3, 64: 1.0}.get(B, 1.0)


def test_a_rate_that_rises_under_mean_and_falls_under_sum_depends_on_the_reduction():
    both = found(rising, lambda B: rising(B) / B)
    assert both["C15"].verdict is Verdict.CONDITIONAL
    assert "(B=64 higher)" in both["C15"].sentence
    assert "(B=64 lower)" in both["C15"].sentence
    assert both["S1"].verdict is Verdict.SUPPORTED
    assert both["S1"].effect.estimate == pytest.approx(1, abs=0.01)


def test_a_rate_that_rises_either_way_supports_and_one_that_falls_either_way_refutes():
    assert found(rising, rising)["C15"].verdict is Verdict.SUPPORTED
    falling = found(lambda B: 0.3 if B == 64 else 1.0, lambda B: 0.3 if B == 64 else 1.0, mini_noise=2.0)
    assert falling["C15"].verdict is Verdict.REFUTED


def test_a_rate_that_does_not_change_is_not_called_higher():
    equal = found(lambda B: 1.0)
    assert equal["C15"].verdict is Verdict.UNRESOLVED
    assert "not told apart" in equal["C15"].sentence


def test_a_training_that_is_stable_far_above_the_limit_refutes_it():
    assert found(lambda B: 3.0, at_n=(0.97, 1.03, 1.9, 4))["S1"].verdict is Verdict.REFUTED


def test_where_nothing_diverges_or_no_sharpness_was_measured_nothing_is_claimed():
    calm = found(lambda B: 9.0)
    assert calm["S1"].verdict is Verdict.UNRESOLVED
    assert "none on the grid" in calm["C15"].sentence
    blind = found(rising, looked_into=False)
    assert blind["S1"].verdict is Verdict.UNRESOLVED
    assert not any("nan" in finding.sentence for finding in (*calm.values(), *blind.values()))


def test_a_rate_at_which_half_diverge_is_neither_stable_nor_unstable():
    shares = [proportion(k, 10) for k in (0, 1, 5, 10)]
    assert module.bracket([1.0, 2.0, 3.0, 4.0], shares) == (2.0, 4.0)


def test_a_frontier_that_does_not_move_is_seldom_seen_to_move():
    """Half of the trainings diverge at rate 1 whatever the batch size."""
    rates, seen = np.geomspace(0.25, 4, 9), 0
    p = rates**2 / (1 + rates**2)
    for repeat in range(REPEATS):
        rng = np.random.default_rng(repeat)
        single, mini = (_frontier(rates, rng.binomial(10, p)) for _ in range(2))
        seen += module.rises(single, mini) is Verdict.SUPPORTED
    assert proportion(seen, REPEATS).low < 0.05


def _frontier(rates, counts):
    shares = [proportion(int(k), 10) for k in counts]
    return module.Frontier(list(rates), shares, *module.bracket(list(rates), shares), N)
