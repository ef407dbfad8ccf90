"""The judge of rules_of_thumb where the best rates are known.

The cost at some budget is exp(c log²(η/η*)), with η* as planted and the noise of twenty replicas.
"""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from synthetic import START, cell, evidence

from harness.analysis.evidence import Evidence
from harness.analysis.parts import WALL
from harness.analysis.study import judge_of
from harness.inference.verdicts import Verdict
from harness.runs.studies import EXPERIMENTS

pytestmark = pytest.mark.slow  # sweeps made by hand, answered many times

judge = judge_of("rules_of_thumb", EXPERIMENTS)
module = SimpleNamespace(**judge.__globals__)  # type: ignore[attr-defined]

SIZES = (1, 4, 8, 16, 64, 256, 1024)
B_CRIT = 50


def reading(best, curvature=0.3, steps=range(-20, 21), noise=0.02):
    """Costs at rates √2^steps times .1, which is the best one of the base."""
    rng, grids = np.random.default_rng(0), {}
    rates = 0.1 * 2.0 ** (np.array(steps) / 2)
    for B in SIZES:
        costs = np.exp(curvature * np.log(rates / best(B)) ** 2)
        made = np.exp(noise * rng.normal(size=(len(rates), 20)))
        grids[float(B)] = {float(r): cost * own for r, cost, own in zip(rates, costs, made, strict=True)}
    return module.Reading("digits", 10.0, grids)


def ceiling(B):
    """Linear from the base up to B = 64, then level."""
    return 0.1 * min(B, 64) / 4


def rules(*own, bend=B_CRIT):
    data = SimpleNamespace(finished=pd.DataFrame({WALL: [60.0]}))
    of = Evidence(data, SimpleNamespace(n_replicas=20), None, np.random.default_rng(0))
    return module.rules_against_tuning(of, list(own), {one.dataset: bend for one in own})


def parts(found):
    """Part of the claim -> its verdicts by batch size, where it says something."""
    columns, *rows = found.rows
    return {
        part: {float(row[1]): row[columns.index(words)] for row in rows if row[columns.index(words)]}
        for part, words in module.PARTS.items()
    }


def test_a_linear_rule_that_holds_up_to_the_bend_and_fails_beyond_is_seen_in_both_parts():
    found = rules(reading(ceiling))
    assert parts(found)["good"] == {8: "supported", 16: "supported"}
    assert parts(found)["beyond"] == {256: "supported", 1024: "supported"}
    assert " Up to B_crit/3 lie only B=8 and 16." in found.sentence
    assert ("digits", "16", "1.76", "1.14", "= tuned") in [row[:5] for row in found.rows]
    assert found.plain.startswith(
        "Times the batch a rate is as good as any to 5% up to B_crit/3: yes; worse than tuned "
        "from 3 B_crit on: yes. Unscaled it is worst from B=64 on: "
    )
    assert found.verdict is Verdict.CONDITIONAL  # at B = 1024, as far above the best rate as the unscaled one is below


def test_a_linear_rule_that_is_off_by_one_step_is_found_to_be_worse():
    """With grids of steps of 2 the rule and tuning would be one cell."""
    found = rules(reading(lambda B: ceiling(B) * (1 if B == 4 else 2**-0.5), curvature=1.0))
    assert parts(found)["good"] == {8: "refuted", 16: "refuted"}
    assert "up to B_crit/3: no;" in found.plain
    assert found.effect.low > 1.05


def test_a_rule_that_is_the_tuned_rate_is_not_compared_with_itself():
    of = reading(ceiling)
    own = module.rule_costs(of.grids, 8.0)
    assert own["tuned"][0] == own["linear"][0] != own["other"][0]
    assert rules(of).effect.high < 1


def test_rates_are_chosen_and_compared_on_disjoint_halves():
    """A rate that is by far the lowest on the half that compares, and not on the half that chooses, is not taken."""
    grid = {1.0: np.r_[np.ones(5), np.ones(5)], 2.0: np.r_[np.full(5, 2.0), np.full(5, 1e-9)]}
    rate, costs = module.rule_costs({4.0: grid, 16.0: grid}, 16.0)["tuned"]
    assert (rate, costs.tolist()) == (1.0, [1.0] * 5)


def test_the_answer_names_the_data_on_which_the_linear_rule_holds_and_those_on_which_it_does_not():
    holds = reading(ceiling)
    fails = reading(lambda B: ceiling(B) * (1 if B == 4 else 2**-0.5), curvature=1.0)
    found = rules(holds, module.Reading("wine", fails.epochs, fails.grids))
    assert "up to B_crit/3: on digits yes, on wine no; worse than tuned from 3 B_crit on: yes." in found.plain
    assert len(found.plain) <= 220
    assert {row[0] for row in found.rows[1:]} == {"digits", "wine"}


def test_unscaled_is_the_worst_only_where_it_is_worse_than_both_other_rules():
    """Far above the best rate the linear rule costs more than the unscaled one, which costs more than √B."""
    found = rules(reading(lambda B: 0.1 * (B / 4) ** 0.3))
    costs = {float(row[1]): row[2:5] for row in found.rows[1:]}
    assert all(float(costs[B][1]) < float(costs[B][0]) < float(costs[B][2]) for B in (256, 1024))
    assert set(parts(found)["worst"].values()) == {"refuted"}
    assert found.plain.endswith("Unscaled it is worst from B=64 on: no.")


def test_settings_that_differ_are_counted():
    yes, no, open_ = Verdict.SUPPORTED, Verdict.REFUTED, Verdict.UNRESOLVED
    assert module._in_how_many([no, no, open_]) == "no in 2 of 3 settings"
    assert module._in_how_many([yes, no, open_]) == "yes in 1, no in 1 of 3 settings"
    assert module._in_how_many([]) == "not decided"


def test_of_many_best_rates_on_an_edge_three_are_named():
    assert module._on_edges(list("abcde")).endswith("the best rate of a, b, c and 2 more; extend it.")


def test_noise_alone_makes_no_rule_worse():
    """Costs hardly depend on the rate: linear is as good as any, and nothing else of the claim holds."""
    found = rules(reading(ceiling, curvature=0.002))
    assert {part: set(own.values()) for part, own in parts(found).items()} == {
        "good": {"supported"}, "beyond": {"refuted"}, "worst": {"refuted"},
    }  # fmt: skip
    assert "up to B_crit/3: yes; worse than tuned from 3 B_crit on: no. Unscaled" in found.plain


def test_a_part_that_is_left_open_has_a_price():
    found = rules(reading(ceiling, curvature=0.02, noise=0.3))
    assert found.verdict in (Verdict.UNRESOLVED, Verdict.CONDITIONAL)
    assert found.verdict is Verdict.CONDITIONAL or "seeds would tell" in found.sentence


def test_a_verdict_that_hangs_on_the_margin_is_conditional_on_it():
    """One step of √2 off costs 12.8 %: no more than 20 %, and more than 10 %."""
    found = rules(reading(lambda B: ceiling(B) * (1 if B == 4 else 2**-0.5), curvature=1.0, noise=0.001))
    along = found.along["how close costs are equal"]
    assert set(along) == set(module.CLOSES)
    assert along[0.2] is Verdict.CONDITIONAL
    assert found.verdict is Verdict.CONDITIONAL


def test_a_best_rate_on_the_edge_of_its_grid_makes_no_claim():
    found = rules(reading(lambda B: 10.0, steps=range(-4, 1)))
    assert found.verdict is Verdict.UNRESOLVED
    assert "edge" in found.sentence


def on_edge(*sizes):
    """The best rate of these batch sizes is the lowest of their grid."""
    of = reading(ceiling)
    of.grids.update({B: {r: own for r, own in of.grids[B].items() if r >= ceiling(B) * 0.99} for B in sizes})
    return rules(of)


def test_an_edge_between_the_bounds_on_b_crit_is_read_by_no_part():
    """B_crit is 50: within a factor of 1.5, the narrowest that is tried, nothing is judged."""
    found = on_edge(64.0)
    assert found.verdict is Verdict.CONDITIONAL
    assert "edge" not in found.sentence


def test_an_edge_leaves_open_the_part_that_reads_it_and_no_other():
    found = on_edge(8.0)
    assert parts(found)["good"] == {8: "unresolved", 16: "supported"}
    assert set(parts(found)["beyond"].values()) == {"supported"}
    assert "up to B_crit/3: not decided; worse than tuned from 3 B_crit on: yes" in found.plain
    assert "not judged: the best rate of digits B=8; extend it" in found.sentence


def test_an_edge_of_the_base_leaves_everything_open():
    assert on_edge(4.0).verdict is Verdict.UNRESOLVED


def test_above_a_rate_that_diverged_a_rule_counts_as_diverged_and_elsewhere_it_has_no_cell():
    grid = {1.0: np.ones(4), 2.0: np.full(4, np.inf)}
    assert module.rate_near(grid, 1.1) == 1.0
    assert np.isinf(module.rate_near(grid, 64.0))
    assert np.isnan(module.rate_near(grid, 0.1))


def test_from_cells_to_a_finding():
    def history(factor):
        update = np.arange(0, 101.0)
        columns = {"update": update, "epoch": update / 10, "train_seconds": update, "validation_accuracy": 0.9}
        columns |= {"train_cost": START / (1 + update * factor), "validation_cost": 1.0}
        return pd.DataFrame(columns).assign(outcome=[""] * 100 + ["completed"])

    cells = [cell(B, 0.1 * 2**step, history=history) for B in (4, 16, 64) for step in (-1, 0, 1)]
    (found,) = judge(evidence(*cells, n_replicas=4))
    assert found.claim == "G1"
    assert "nan" not in found.sentence
