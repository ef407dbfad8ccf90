"""The judge of learning_rate_scaling where the best rates are known.

A cost at some budget is (1 + B_crit/B)^a exp(c log²(η/η*)), with η* as planted and the noise of ten replicas.
"""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from synthetic import START, cell, evidence

from harness.analysis.evidence import Evidence
from harness.analysis.study import judge_of
from harness.inference import fits
from harness.inference.intervals import proportion
from harness.inference.learning_rates import scaling_exponent
from harness.inference.verdicts import Verdict, inside
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
    return module.Reading("digits", clock, 10.0, grids)


def _ceiling(B):
    return 0.1 * min(B, 64)


def nothing_else():
    """What a judge asks for beside its readings."""
    return Evidence(None, SimpleNamespace(n_replicas=10, pairs=[]), None, np.random.default_rng(0))


def ruled(power):
    own = reading(lambda B: 0.1 * B**power)
    rng = np.random.default_rng(0)
    exponents = {
        ("digits", clock): scaling_exponent(module.up_to(own.grids, B_CRIT * 2), rng) for clock in module.CLOCK_COLUMNS
    }
    arguments = (nothing_else(), exponents, [own], {"digits": B_CRIT * 2})
    return [module.rule(claim, limits, *arguments) for claim, limits in (("L1", module.LINEAR), ("L2", module.ROOT))]


@pytest.mark.parametrize(
    ("power", "linear", "root"),
    [
        (1.0, Verdict.SUPPORTED, Verdict.REFUTED),
        (0.5, Verdict.REFUTED, Verdict.SUPPORTED),
        (0.75, Verdict.UNRESOLVED, Verdict.UNRESOLVED),
        (0.0, Verdict.REFUTED, Verdict.REFUTED),
    ],
)
def test_the_rule_that_the_best_rate_follows_is_found_and_the_other_is_not(power, linear, root):
    found = ruled(power)
    assert [finding.verdict for finding in found] == [linear, root]
    assert found[0].effect.estimate == pytest.approx(power, abs=0.1)


def test_an_exponent_between_the_rules_is_seldom_given_to_one_of_them(monkeypatch):
    monkeypatch.setattr(fits, "RESAMPLES", 299)
    seen = 0
    for repeat in range(REPEATS):
        rng, grids = np.random.default_rng(repeat), {}
        for B in (1.0, 4.0, 16.0, 64.0):
            off = np.log(2.0) * (np.arange(-2, 3) + rng.uniform(-0.5, 0.5))
            rates = B**0.75 * np.exp(off)
            grids[B] = {r: np.exp(0.3 * a**2 + 0.1 * rng.normal(size=10)) for r, a in zip(rates, off, strict=True)}
        seen += module.within(scaling_exponent(grids, rng), module.LINEAR) is Verdict.SUPPORTED
    assert proportion(seen, REPEATS).low < 0.05


def rules(own, bend=B_CRIT):
    return module.rules_against_tuning(nothing_else(), [own], {"digits": bend})


def test_a_linear_rule_that_holds_up_to_the_bend_and_fails_beyond_is_seen_in_both_parts():
    found = rules(reading(_ceiling, steps=range(-10, 11)))
    assert "as good as tuned up to B_crit/3: supported; worse from 3 B_crit: supported" in found.sentence
    assert found.verdict is Verdict.CONDITIONAL  # at B = 1024, as far above the best rate as the unscaled one is below


def test_a_rule_that_costs_nothing_is_not_called_worse():
    found = rules(reading(_ceiling, curvature=lambda B: 1e-4, steps=range(-10, 11)))
    assert "worse from 3 B_crit: refuted" in found.sentence
    assert "unscaled the worst from B=64: supported" not in found.sentence


def test_a_best_rate_on_the_edge_of_its_grid_makes_no_claim():
    found = rules(reading(lambda B: 0.1 * B, steps=range(-4, 1)))
    assert found.verdict is Verdict.UNRESOLVED
    assert "edge" in found.sentence


def test_above_a_rate_that_diverged_a_rule_counts_as_diverged_and_elsewhere_it_has_no_cell():
    grid = {1.0: np.ones(4), 2.0: np.full(4, np.inf)}
    assert module.cost_near(grid, 1.3) is grid[1.0]
    assert np.isinf(module.cost_near(grid, 64.0)).all()
    assert module.cost_near(grid, 0.1) is None


def narrows(B):
    return 0.2 * B**0.5


def test_a_range_that_narrows_at_every_budget_is_found_and_one_that_widens_refutes():
    both = [reading(lambda B: 0.1, narrows, clock=clock) for clock in ("epochs", "updates")]
    assert module.good_ranges(nothing_else(), both).verdict is Verdict.SUPPORTED
    both = [reading(lambda B: 0.1, lambda B: 6 / narrows(B) / 10, clock=clock) for clock in ("epochs", "updates")]
    assert module.good_ranges(nothing_else(), both).verdict is Verdict.REFUTED


def test_a_range_that_narrows_at_one_budget_and_widens_at_the_other_depends_on_the_budget():
    one = reading(lambda B: 0.1, level=lambda B: 1 + B / 500)
    other = reading(lambda B: 0.1, level=lambda B: 1 + 2 / B, clock="updates")
    found = module.good_ranges(nothing_else(), [one, other])
    assert found.verdict is Verdict.CONDITIONAL
    assert found.effect.high < 0


def test_a_range_that_goes_on_beyond_the_grid_makes_no_claim():
    found = module.good_ranges(nothing_else(), [reading(lambda B: 0.1, narrows, steps=range(5))])
    assert found.verdict is Verdict.UNRESOLVED
    assert "(lower rates)" in found.sentence


def test_towards_a_rate_that_diverged_half_of_the_step_is_good():
    assert module.shares(np.array([[2.0, 0.0, 1.0, np.inf]]), 1.0).tolist() == [[0.5, 1.0, 0.5]]


def test_a_slope_of_the_width_that_is_not_there_is_seldom_seen(monkeypatch):
    monkeypatch.setattr(fits, "RESAMPLES", 299)
    seen = 0
    for repeat in range(REPEATS):
        rng = np.random.default_rng(repeat)
        x = np.log(2.0) * np.arange(-3, 4)
        grids = {B: {np.exp(a): np.exp(0.5 * a**2 + 0.3 * rng.normal(size=10)) for a in x} for B in (1, 8, 64)}
        drawn = {B: module.width(grid, np.log(2), rng) for B, grid in grids.items()}
        seen += inside(module.slope_of(drawn), -np.inf, 0) is Verdict.SUPPORTED
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


def test_from_cells_to_findings():
    cells = []
    for B in (1, 4, 16, 64, 1024):
        for step in (0.25, 0.5, 1, 2, 4):
            S, n_updates = 20 * (1 + B_CRIT / B) * np.exp(0.3 * np.log(step) ** 2), max(10 * 1024 // B, 100)
            cells.append(cell(B, 0.1 * B * step, history=fall(S, n_updates, B), n_updates=n_updates))
    found = {finding.claim: finding for finding in judge(evidence(*cells, n_replicas=6))}
    assert found["L2"].verdict is Verdict.REFUTED
    assert found["L1"].effect.estimate == pytest.approx(1, abs=0.1)
    assert not any("nan" in finding.sentence for finding in found.values())


def test_without_a_bend_there_is_nothing_to_compare_up_to():
    cells = [cell(B, 0.1, history=fall(1000 / B, 2000, B), n_updates=2000) for B in (1, 4)]
    found = {finding.claim: finding for finding in judge(evidence(*cells, n_replicas=3))}
    assert {finding.verdict for finding in found.values()} == {Verdict.UNRESOLVED}
    assert "B_crit is not resolved" in found["L1"].sentence
