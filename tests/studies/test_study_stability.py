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
FINE = (0.985, 0.995, 1.005, 1.015)  # times 2/λ_max


def found(limit, sum_limit=None, mini_noise=0.02, at_n=FINE, looked_into=1, sizes=(1, 64), hidden="[]", spread=0.0):
    """limit, sum_limit: B -> the rate, in the cell's own units, above which a training diverges.

    looked_into: how many trainings; their λ_max are up to ±spread around LAMBDA.
    """
    cells = []
    for B in sizes:
        noise = mini_noise if B == 64 else 0.2
        for rate in (0.06, 0.5, 1.5):
            cells.append(made(B, rate, "mean", None if rate > limit(B) else 0.1, noise, hidden))
        for rate in (0.01, 0.2, 0.8, 3) if sum_limit else ():
            cells.append(made(B, rate, "sum", None if rate > sum_limit(B) else 0.1, noise, hidden))
    for rate in at_n:
        final = None if rate > limit(N) * LAMBDA / 2 else 0.1
        cells.append(made(N, rate * 2 / LAMBDA, "mean", final, 0.02, hidden))
    for seed, factor in enumerate(np.linspace(1 - spread, 1 + spread, looked_into)):
        table = pd.DataFrame({"update": [1.0, 2.0], "lambda_max": [factor * LAMBDA, 3 * LAMBDA]})
        params = {"model.hidden": hidden, "diagnostics": "full", "files": {"diagnostics.csv": table}, "seed": seed}
        cells.append(cell(N, 0.1, dataset="diabetes", n_train=N, **params))
    return {finding.claim: finding for finding in judge(evidence(*cells, shared=0.0, n_replicas=14, answered=False))}


def made(B, rate, reduction, final, noise, hidden):
    params = {"model.hidden": hidden, "diagnostics": "cheap"}
    return cell(B, rate, reduction, "diabetes", n_train=N, final=final, noise=noise, **params)


def more(finding):
    """Reduction and batch size -> whether it is stable at a rate at which B=1 diverges, where that is asked."""
    return {row[1:3]: row[5] for row in finding.rows[1:] if row[5]}


def bands(finding):
    """The verdict by how far from 2/λ_max."""
    (found,) = finding.along.values()
    return found


def rising(B):
    return {1: 0.3, 64: 1.0}.get(B, 1.0)


def test_a_rate_that_rises_under_mean_and_falls_under_sum_depends_on_the_reduction():
    both = found(rising, lambda B: rising(B) / B)
    assert both["C15"].verdict is Verdict.CONDITIONAL
    assert more(both["C15"]) == {("mean", "64"): "supported", ("sum", "64"): "refuted"}
    assert both["C15"].plain == (
        "By the stated rules, B=64 against B=1: larger stable rates under mean and less spread of the final cost yes; "
        "larger stable rates under sum no."
    )
    assert both["S1"].verdict is Verdict.SUPPORTED
    assert both["S1"].effect.estimate == pytest.approx(1, abs=0.01)


def test_a_rate_that_rises_either_way_supports_and_one_that_falls_either_way_refutes():
    assert found(rising, rising)["C15"].verdict is Verdict.SUPPORTED
    falling = found(lambda B: 0.3 if B == 64 else 1.0, lambda B: 0.3 if B == 64 else 1.0, mini_noise=2.0)
    assert falling["C15"].verdict is Verdict.REFUTED


def test_a_rate_that_does_not_change_is_not_called_higher():
    equal = found(lambda B: 1.0)
    assert equal["C15"].verdict is Verdict.UNRESOLVED
    assert more(equal["C15"]) == {("mean", "64"): "unresolved"}


def test_a_training_that_is_stable_far_above_the_limit_refutes_it_for_networks_and_quadratic_costs_alike():
    linear, network = (
        found(lambda B: 3.0, at_n=(*FINE, 2.5, 4), hidden=hidden, looked_into=8) for hidden in ("[]", "[32]")
    )
    assert (linear["S1"].verdict, linear["S1.network"].verdict) == (Verdict.REFUTED, Verdict.UNRESOLVED)
    assert (network["S1"].verdict, network["S1.network"].verdict) == (Verdict.UNRESOLVED, Verdict.REFUTED)


def test_a_coarse_grid_decides_the_wide_bands_only():
    coarse = found(rising, at_n=(0.93, 1.03))["S1"]
    assert coarse.verdict is Verdict.UNRESOLVED
    assert [x for x, verdict in bands(coarse).items() if verdict is Verdict.UNRESOLVED] == [0.02, 0.05]
    assert [x for x, verdict in bands(coarse).items() if verdict is Verdict.SUPPORTED] == [0.1, 0.25]
    assert coarse.rows[1][4:] == ("unresolved", "unresolved", "supported", "supported")
    assert set(bands(found(rising)["S1"]).values()) == {Verdict.SUPPORTED}


def test_a_network_that_is_stable_somewhat_above_the_limit_depends_on_what_near_means():
    near = found(lambda B: 1.35, at_n=(0.9, 1.3, 1.4), hidden="[32]", looked_into=8)["S1.network"]
    assert near.verdict is Verdict.CONDITIONAL
    assert [x for x, verdict in bands(near).items() if verdict is Verdict.REFUTED] == [1.1, 1.25]
    assert [x for x, verdict in bands(near).items() if verdict is Verdict.SUPPORTED] == [1.5, 2.0]
    assert near.plain == ("How far from 2/λ_max (factor): on diabetes network within 1.5 yes, within 1.1 and 1.25 no.")


def test_a_limit_that_differs_between_trainings_is_known_as_well_as_its_median():
    """Of eight values the outermost are the limits of the median; one alone says nothing of another network's."""
    scattered = found(rising, looked_into=8, spread=0.08, hidden="[32]")["S1.network"]
    assert scattered.effect.low == pytest.approx(0.995 * 0.92)
    assert scattered.effect.high == pytest.approx(1.005 * 1.08)
    assert set(bands(scattered).values()) == {Verdict.SUPPORTED}
    assert found(rising, looked_into=1, hidden="[32]")["S1.network"].verdict is Verdict.UNRESOLVED
    wide = bands(found(rising, looked_into=8, spread=0.08)["S1"])
    assert [x for x, verdict in wide.items() if verdict is Verdict.UNRESOLVED] == [0.02, 0.05]


def test_the_share_that_must_diverge_is_counted_for_each_rule():
    history = pd.DataFrame({"replica": [0] * 3 + [1] * 3, "train_cost": [1, 3, 4, 1, 3, 1], "outcome": ""})
    assert [module.diverged(history, times) for times in (2, 5)] == [1, 0]
    history.loc[5, "outcome"] = "diverged"
    assert [module.diverged(history, times) for times in (2, 5)] == [2, 1]


def test_a_lost_training_spreads_infinitely():
    costs = np.array([[1.0, 1.0, 3.0], [1.0, np.inf, 1.0]])
    assert module.spread_of(costs).tolist() == [costs[0].std(), np.inf]


def test_where_nothing_diverges_or_no_sharpness_was_measured_nothing_is_claimed():
    calm = found(lambda B: 9.0)
    assert calm["S1"].verdict is Verdict.UNRESOLVED
    assert {row[4] for row in calm["C15"].rows[1:]} == {"none on the grid"}
    blind = found(rising, looked_into=0)
    assert blind["S1"].verdict is Verdict.UNRESOLVED
    every = (*calm.values(), *blind.values())
    assert not any("nan" in f"{finding.sentence} {finding.rows} {finding.plain}" for finding in every)


def test_the_answer_says_how_far_beyond_every_factor_a_network_is_stable():
    ratios = {"iris network": module.Interval(8.0, 7.0, 9.0), "wine network": module.Interval(1.2, 1.15, 1.24)}
    each = {
        name: {x: module.reaches(own, *band) for x, band in module.BANDS["S1.network"][1].items()}
        for name, own in ratios.items()
    }
    assert module._near("how far (factor)", ratios, each) == (
        "How far (factor): on iris network over 2 (stable at 7 times it); on wine network within 1.25 yes, within 1.1 "
        "no."
    )


def test_a_rate_at_which_half_diverge_is_neither_stable_nor_unstable():
    shares = [proportion(k, 10) for k in (0, 1, 5, 10)]
    assert module.bracket([1.0, 2.0, 3.0, 4.0], shares, 0.5) == (2.0, 4.0)


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
    return module.Frontier(list(rates), [], shares, *module.bracket(list(rates), shares, 0.5), N)
