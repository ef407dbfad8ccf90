"""The judge of learning_rate_scaling where the best rates are known.

A cost at some budget is (1 + B_crit/B)^a exp(c log²(η/η*)), with η* as planted and the noise of ten replicas.
"""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from synthetic import START, cell, evidence

from harness.analysis.evidence import Evidence
from harness.analysis.parts import WALL
from harness.analysis.study import judge_of
from harness.inference import fits
from harness.inference.intervals import proportion
from harness.inference.learning_rates import scaling_exponent
from harness.inference.verdicts import Verdict
from harness.runs.studies import EXPERIMENTS

pytestmark = pytest.mark.slow  # sweeps made by hand, answered many times

judge = judge_of("learning_rate_scaling", EXPERIMENTS)
module = SimpleNamespace(**judge.__globals__)  # type: ignore[attr-defined]

SIZES = (1, 4, 16, 64, 256, 1024)
B_CRIT = 50
REPEATS = 40


def reading(best, curvature=lambda B: 0.3, level=lambda B: 1.0, steps=range(-4, 5), clock="epochs"):
    """Costs at rates 2^steps times the planted best of each batch size."""
    rng, grids = np.random.default_rng(0), {}
    for B in SIZES:
        rates = best(B) * 2.0 ** np.array(steps)
        costs = [level(B) * np.exp(curvature(B) * np.log(rate / best(B)) ** 2) for rate in rates]
        noise = np.exp(0.02 * rng.normal(size=(len(rates), 10)))
        grids[float(B)] = {float(r): cost * own for r, cost, own in zip(rates, costs, noise, strict=True)}
    return module.Reading("digits", clock, 1e3, grids)


def nothing_else():
    """What a judge asks for beside its readings."""
    data = SimpleNamespace(finished=pd.DataFrame({WALL: [60.0]}))
    return Evidence(data, SimpleNamespace(n_replicas=10, pairs=[]), None, np.random.default_rng(0))


def ruled(power):
    own = reading(lambda B: 0.1 * B**power)
    rng = np.random.default_rng(0)
    exponents = {
        ("digits", clock): scaling_exponent(module.up_to(own.grids, B_CRIT * 2), rng) for clock in module.CLOCKS
    }
    arguments = (nothing_else(), exponents, [own], {"digits": B_CRIT * 2})
    return [module.rule(claim, power, *arguments) for claim, power in (("L1", module.LINEAR), ("L2", module.ROOT))]


@pytest.mark.parametrize(
    ("power", "linear", "root"),
    [
        (1.0, Verdict.SUPPORTED, Verdict.REFUTED),
        (0.5, Verdict.REFUTED, Verdict.SUPPORTED),
        (0.75, Verdict.UNRESOLVED, Verdict.UNRESOLVED),
        (0.87, Verdict.CONDITIONAL, Verdict.REFUTED),  # within a fourth of the linear rule, and not within a tenth
        (0.0, Verdict.REFUTED, Verdict.REFUTED),
    ],
)
def test_the_rule_that_the_best_rate_follows_is_found_and_the_other_is_not(power, linear, root):
    found = ruled(power)
    assert [finding.verdict for finding in found] == [linear, root]
    assert found[0].effect.estimate == pytest.approx(power, abs=0.1)
    assert ("seeds would tell" in found[0].sentence) == (linear is Verdict.UNRESOLVED)
    assert found[0].along["how far p may be from 1"].keys() == set(module.NEAR)
    assert all(len(finding.sentence) < 400 and len(finding.plain) <= 220 for finding in found)


def test_the_answer_says_within_which_powers_the_rule_holds():
    """Within a fourth of the linear rule, and not within a tenth; on a second dataset the best rate does not grow."""
    own = [reading(lambda B: 0.1 * B**0.87), replace(reading(lambda B: 0.1), dataset="iris")]
    rng, bends = np.random.default_rng(0), {"digits": B_CRIT * 2, "iris": B_CRIT * 2}
    exponents = {
        (one.dataset, clock): scaling_exponent(module.up_to(one.grids, 100), rng)
        for one in own
        for clock in module.CLOCKS
    }
    found = module.rule("L1", module.LINEAR, nothing_else(), exponents, own, bends)
    assert found.plain.startswith("Less than twice: up to the critical batch size twice the batch takes 1.0")
    assert " to 1.8" in found.plain
    assert found.plain.endswith(
        "times the rate (surely below 2 in 4 of 4 settings); near the linear rule (power within 0.25 of 1): in 2 yes, "
        "in 2 no."
    )
    assert [row[-1] for row in found.rows] == ["p within 0.25 of 1", *["supported"] * 2, *["refuted"] * 2]


def test_an_answer_whose_sides_are_mixed_begins_with_neither():
    known = {("a", "epochs"): module.Interval(0.7, 0.6, 0.8), ("b", "epochs"): module.Interval(1.3, 1.2, 1.4)}
    nears = {module.NEAR[-1]: dict.fromkeys(known, Verdict.UNRESOLVED)}
    assert module._how_near(known, nears, module.LINEAR) == (
        "Up to the critical batch size twice the batch takes 1.62 to 2.46 times the rate (surely below 2 in 1 and "
        "surely above 2 in 1 of 2 settings); near the linear rule (power within 0.25 of 1): in 2 not decided."
    )


def test_an_exponent_between_the_rules_is_seldom_given_to_one_of_them(monkeypatch):
    monkeypatch.setattr(fits, "RESAMPLES", 299)
    seen = 0
    for repeat in range(REPEATS):
        rng, grids = np.random.default_rng(repeat), {}
        for B in (1.0, 4.0, 16.0, 64.0):
            off = np.log(2.0) * (np.arange(-2, 3) + rng.uniform(-0.5, 0.5))
            rates = B**0.75 * np.exp(off)
            grids[B] = {r: np.exp(0.3 * a**2 + 0.1 * rng.normal(size=10)) for r, a in zip(rates, off, strict=True)}
        seen += module.near(scaling_exponent(grids, rng), module.LINEAR, module.NEAR[-1]) is Verdict.SUPPORTED
    assert proportion(seen, REPEATS).low < 0.05


def narrows(B):
    return 0.3 * B**0.3


def widens(B):
    return 3 * B**-0.3


def ranges(*readings):
    return module.good_ranges(nothing_else(), list(readings))


def test_a_range_that_narrows_at_every_budget_is_found_and_one_that_widens_refutes():
    both = [reading(lambda B: 0.1, narrows, clock=clock, steps=range(-4, 9)) for clock in module.CLOCKS]
    assert ranges(*both).verdict is Verdict.SUPPORTED
    both = [reading(lambda B: 0.1, widens, clock=clock, steps=range(-4, 9)) for clock in module.CLOCKS]
    assert ranges(*both).verdict is Verdict.REFUTED


def test_a_range_of_one_width_is_not_called_narrower():
    same = ranges(reading(lambda B: 0.1, lambda B: 0.5, steps=range(-4, 9)))
    assert same.verdict is Verdict.REFUTED
    assert same.effect.estimate == pytest.approx(0, abs=0.05)


def test_each_batch_size_is_held_against_its_own_lowest_cost():
    """A large batch that learns less has no narrower range for that reason: then it would be one of reachability."""
    own = reading(lambda B: 0.1, lambda B: 0.5, level=lambda B: B**0.3, steps=range(-4, 9))
    assert module.widths(own, 2.0, np.random.default_rng(0)).slope.estimate == pytest.approx(0, abs=0.05)


def test_a_range_that_narrows_at_one_budget_and_widens_at_the_other_depends_on_the_budget():
    one = reading(lambda B: 0.1, narrows, steps=range(-4, 9))
    other = reading(lambda B: 0.1, widens, steps=range(-4, 9), clock="updates")
    found = ranges(one, other)
    assert found.verdict is Verdict.CONDITIONAL
    assert found.effect.high < 0
    assert found.plain.startswith("The range of good rates narrows: at equal epochs yes, at equal updates no.")
    assert [row[:2] + row[5:6] for row in found.rows[1:]] == [
        ("digits", "epochs", "supported"), ("digits", "updates", "refuted"),
    ]  # fmt: skip


def test_data_that_disagree_at_one_budget_are_named_and_those_that_agree_at_another_are_not():
    found = {("a", "epochs"): Verdict.SUPPORTED, ("b", "epochs"): Verdict.REFUTED}
    found |= {(name, "updates"): Verdict.SUPPORTED for name in "ab"}
    by_clock, by_data = (module.in_words(found, shared) for shared in (1, 0))
    assert list(by_clock) == ["on a at equal epochs", "on b at equal epochs", "at equal updates"]
    assert list(by_data) == ["on a", "on b at equal epochs", "on b at equal updates"]
    assert by_clock["on b at equal epochs"] is Verdict.REFUTED


def test_a_range_that_narrows_only_close_to_the_lowest_cost_is_conditional_on_what_is_good():
    """The cost is 1 near the best rate, up to a step that comes nearer with B, then 1.7, and 10 from step 4 on."""
    grids = {
        B: {2.0**x: np.full(10, 1.0 if abs(x) <= near else 1.7 if abs(x) < 4 else 10.0) for x in range(-5, 6)}
        for B, near in ((1, 2), (16, 1), (256, 0))
    }
    found = ranges(module.Reading("digits", "epochs", 9.0, grids))
    refuted = {2.0: Verdict.REFUTED, 3.0: Verdict.REFUTED}
    assert found.along["how many times the lowest cost is good"] == {1.5: Verdict.SUPPORTED} | refuted
    assert found.plain.startswith("The range of good rates narrows: at equal epochs in part.")
    assert found.verdict is Verdict.CONDITIONAL


def test_a_range_that_goes_on_beyond_the_grid_makes_no_claim():
    found = ranges(reading(lambda B: 0.1, narrows, steps=range(5)))
    assert found.verdict is Verdict.UNRESOLVED
    assert "not known in 1 of 1 settings (it goes on beyond the grid)" in found.sentence
    assert "(lower rates)" in found.rows[1][4]


def test_a_batch_size_that_hardly_trains_has_no_range():
    own = replace(reading(lambda B: 0.1, narrows, level=lambda B: 600 if B == 1 else 1), start=1e3)
    assert 1 not in module.widths(own, 2.0, np.random.default_rng(0)).widths


def test_the_distance_to_a_training_that_fails_is_measured_above_the_best_rate_only():
    x = 2.0 ** np.arange(-3, 4)
    costs = [9.0, 9.0, 1.0, 0.1, 1.0, 9.0, np.inf]
    own = module.Reading("digits", "epochs", 3.0, {1.0: {r: np.full(6, c) for r, c in zip(x, costs, strict=True)}})
    (found,) = module.distances(own, np.random.default_rng(0)).widths.values()
    assert found == pytest.approx(1.5)  # one step up to a cost of 1, and half of that to 9, in logs


def test_towards_a_rate_that_diverged_half_of_the_step_is_good():
    assert module.shares(np.array([[2.0, 0.0, 1.0, np.inf]]), np.ones((1, 1))).tolist() == [[0.5, 1.0, 0.5]]


def test_a_slope_of_the_width_that_is_not_there_is_seldom_seen(monkeypatch):
    monkeypatch.setattr(fits, "RESAMPLES", 299)
    seen = 0
    for repeat in range(REPEATS):
        rng = np.random.default_rng(repeat)
        x = np.log(2.0) * np.arange(-3, 4)
        grids = {B: {np.exp(a): np.exp(0.5 * a**2 + 0.3 * rng.normal(size=10)) for a in x} for B in (1, 8, 64)}
        own = module.Reading("digits", "epochs", 1e3, grids)
        seen += module.narrower([module.widths(own, 2.0, rng)], module.LESS) is Verdict.SUPPORTED
    assert proportion(seen, REPEATS).low < 0.05


def fall(S, n_updates, batch_size):
    """factor -> checkpoints of a replica whose cost is START / (1 + 9 u/S): a tenth after S updates."""

    def history(factor):
        update = np.unique(np.concatenate([[0], np.geomspace(1, n_updates, 20).round()]))
        cost = START / (1 + 9 * update / (S * factor))
        columns = {"update": update, "epoch": update * batch_size / 1024, "train_seconds": 1e-4 * update}
        columns |= {"train_cost": cost, "validation_cost": cost, "validation_accuracy": 0.9}
        return pd.DataFrame(columns).assign(outcome=[""] * (len(update) - 1) + ["completed"])

    return history


def sweep(power=1.0):
    cells = []
    for B in (1, 4, 16, 64, 1024):
        for step in (0.25, 0.5, 1, 2, 4):
            S, n_updates = 20 * (1 + B_CRIT / B) * np.exp(0.3 * np.log(step) ** 2), max(10 * 1024 // B, 100)
            cells.append(cell(B, 0.1 * B**power * step, history=fall(S, n_updates, B), n_updates=n_updates))
    return evidence(*cells, n_replicas=6)


def test_from_cells_to_findings():
    found = {finding.claim: finding for finding in judge(sweep())}
    assert found["L2"].verdict is Verdict.REFUTED
    assert found["L1"].effect.estimate == pytest.approx(1, abs=0.1)
    assert not any("nan" in finding.sentence for finding in found.values())


def test_without_a_bend_there_is_nothing_to_compare_up_to():
    cells = [cell(B, 0.1, history=fall(1000 / B, 2000, B), n_updates=2000) for B in (1, 4)]
    found = {finding.claim: finding for finding in judge(evidence(*cells, n_replicas=3))}
    assert {finding.verdict for finding in found.values()} == {Verdict.UNRESOLVED}
    assert "Not known in 2 of 2 settings: B_crit is not resolved." in found["L1"].sentence
    assert found["L1"].plain == ""
