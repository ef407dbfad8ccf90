"""Answers from hand-written sweeps whose truth is known: who wins, which rate, what breaks sum = mean."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from harness.analysis.answers import answer
from harness.analysis.comparisons import Question, Standing, compare, costs_at
from harness.analysis.sweep_tables import SweepCell, SweepData, sweep_data
from harness.analysis.timing import BLOCKS
from harness.inference import Interval, Status
from harness.report import figures, markdown, notes, page, png
from harness.training import Identity, Plan

CELL_PARAMS = {
    "optimizer.name": "sgd", "optimizer.weight_decay": 0.0, "last_batch": "keep", "target": None, "target_on": "train",
    "optimizer.clip_norm": None,
}  # fmt: skip


def history(final, replica_noise, batch_size, end, n_updates=64, outcome="completed", seconds_per_update=1e-4):
    """Costs that fall from 4 to `final` as a power of the update; with outcome diverged they grow instead."""
    update = np.unique(np.geomspace(1, n_updates, 13).round())
    update = np.concatenate([[0], update])
    fall = np.log(update + 1) / np.log(n_updates + 1)
    cost = 4 * (final * replica_noise / 4) ** fall
    rows = {"update": update, "epoch": update * batch_size / end, "examples": update * batch_size}
    table = pd.DataFrame({**rows, "train_seconds": update * seconds_per_update, "train_cost": cost})
    table["validation_cost"], table["validation_accuracy"] = table["train_cost"] * 1.1, 0.9
    table["outcome"] = [""] * (len(update) - 1) + [outcome]
    return table


def made_up(finals, n_replicas=10, n_train=1024, **params):
    """A sweep from {(B, η, reduction): final cost, or None for diverged}; replicas differ by a common factor."""
    rng = np.random.default_rng(0)
    factor = np.exp(0.1 * rng.normal(size=n_replicas))
    cells = [
        made_up_cell(B, rate, reduction, final, factor, n_train, params)
        for (B, rate, reduction), final in finals.items()
    ]
    about = {"command": "python -m harness -m ...", "cells": str(len(cells))}
    return replace(sweep_data("made up", about, cells), timing=BLOCKS)


def made_up_cell(B, rate, reduction, final, factor, n_train, params):
    lost = final is None
    outcome = "diverged" if lost else "completed"
    parts = [history(100 if lost else final, noise, B, n_train, outcome=outcome) for noise in factor]
    replicas = [
        {
            "replica": r,
            "outcome": outcome,
            "final_train_cost": own["train_cost"].iloc[-1],
            "best_validation_cost": own["validation_cost"].min(),
        }
        for r, own in enumerate(parts)
    ]
    values = {"dataset.name": "made", "batch_size": B, "learning_rate": rate, "reduction": reduction}
    lr_mean = rate * B if reduction == "sum" else rate
    name = f"id of {B} {rate!r} {reduction} {params}"
    plan = Plan(n_train, B, rate, "keep", 1, (2, 1), "", lr_mean, lr_mean / B)
    return SweepCell(
        Identity(name, {**values, **CELL_PARAMS, **params}, "", "", plan), "FINISHED", outcome,
        summary={"time/update_us": 40.0 + B, "time/example_us": 40.0 / B + 1, "time/train_seconds": 0.01},
        replicas=pd.DataFrame(replicas), run_id=name,
        history=pd.concat([own.assign(replica=r) for r, own in enumerate(parts)], ignore_index=True),
    )  # fmt: skip


def bowl(best, rate, floor=0.05):
    return floor * np.exp(np.log(rate / best) ** 2)


SIZES, RATES = (1, 8, 64), (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)


@pytest.fixture(scope="module")
def grid():
    """Best mean rate ∝ √B with 0.03 at B=1: 0.03, 0.085, 0.24; sum is the same in its own units."""
    finals = {(B, rate, "mean"): bowl(0.03 * B**0.5, rate) for B in SIZES for rate in RATES}
    finals |= {(B, rate / B, "sum"): bowl(0.03 * B**0.5, rate) for B in SIZES for rate in RATES}
    finals[64, 3.0, "mean"] = finals[64, 3.0 / 64, "sum"] = None
    return made_up(finals)


@pytest.fixture(scope="module")
def answered(grid):
    """It takes a second: the tests that only read it share it, in one worker."""
    return answer(grid)


ANSWERED = pytest.mark.xdist_group("answered")


@ANSWERED
def test_the_best_rate_of_each_batch_size(answered):
    best = answered.best.set_index(["reduction", "batch_size"])
    assert best.loc["mean", "learning_rate"].to_dict() == {1: 0.03, 8: 0.1, 64: 0.3}
    assert best.loc["sum", "lr_mean"].to_dict() == pytest.approx({1: 0.03, 8: 0.1, 64: 0.3})
    assert set(best["edge"]) == {""}


@ANSWERED
def test_the_square_root_rule_is_found_and_the_others_refuted(answered):
    found = answered.exponents["made", "mean"]
    assert found.p.estimate == pytest.approx(0.5, abs=1e-6)
    assert found.verdicts["sqrt"] == "supported"
    assert found.verdicts["linear"] == found.verdicts["constant"] == "refuted"
    same = answered.exponents["made", "sum"].p.estimate  # in canonical units there is one rule for both
    assert same == pytest.approx(found.p.estimate)


@ANSWERED
def test_sum_and_mean_at_one_canonical_rate_are_found_equal(grid, answered):
    pairs = answered.pairs
    assert len(pairs) == len(SIZES) * len(RATES) - 1  # at one rate all replicas of both diverged: no costs
    assert max(pair.difference for pair in pairs) == 0
    assert "17 pairs of cells with one lr_mean" in notes.note(grid, answered)


def test_a_planted_difference_between_sum_and_mean_is_found_and_named():
    finals = {(10, 0.1, "mean"): 0.1, (10, 0.01, "sum"): 0.12, (1, 0.1, "mean"): 0.1, (1, 0.1, "sum"): 0.1}
    data = made_up(finals, n_replicas=12, **{"optimizer.weight_decay": 0.001})
    text = notes.note(data, answer(data))
    assert "B=10, lr_mean 0.1: up to 20 % apart" in text
    assert "sum needs decay·B" in text
    assert "With N=1024, B=10 leaves a last batch of 4: mean weights its examples 2.5 times as much" in text
    assert "(B = 10, lr_mean 0.1 for sum and 0.1 for mean) mean has the lower training cost" in text
    assert "at its best" not in text  # there is one learning rate for each


@ANSWERED
def test_the_frontier_lies_below_the_first_rate_that_diverged(answered):
    frontier = answered.frontier.set_index(["reduction", "batch_size"])
    assert frontier.loc[("mean", 64.0), ["stable", "unstable"]].tolist() == [1.0, 3.0]
    assert np.isnan(frontier.loc[("mean", 8.0), "unstable"])


def test_a_best_rate_on_the_edge_voids_the_claim_and_names_what_to_add():
    data = made_up({(B, rate, "mean"): 1 / rate for B in SIZES for rate in RATES})
    found = answer(data)
    text = notes.note(data, found)
    assert set(found.best["edge"]) == {"high"}
    assert "extend the grid to learning_rate=9**" in text
    assert "supported" not in text


def test_the_winner_depends_on_the_clock():
    """Both make 64 updates. B=64 ends lower; an epoch of B=1 has 64 times as many updates, so it is far ahead there."""
    data = made_up({(1, 0.1, "mean"): 0.1, (64, 0.1, "mean"): 0.05})
    found = answer(data)
    (headline,) = found.headlines
    winners = {lead.clock: lead.first.of_best("batch_size") for lead in headline.leads}
    assert winners == {"epochs": 1, "updates": 64, "train seconds": 64}
    assert "the winner depends on the clock: B=1 (η=0.1, mean) has a lower" in notes.note(data, found).splitlines()[0]


def test_one_winner_on_every_clock_is_said_too():
    data = made_up({(1, 0.1, "mean"): 0.01, (64, 0.1, "mean"): 3.0})
    said = "B=1 (η=0.1, mean) has a lower training cost than B=64 (η=0.1, mean) on every clock"
    assert said in notes.note(data, answer(data)).splitlines()[0]


def test_costs_at_a_budget_are_log_linear():
    table = pd.DataFrame({"replica": 0, "update": [0, 2], "train_cost": [4.0, 1.0], "outcome": ["", "completed"]})
    assert costs_at(table, "update", 1.0) == pytest.approx([2.0])
    wild = table.assign(outcome=["", "diverged"])
    assert costs_at(wild, "update", 3.0).tolist() == [np.inf]


@ANSWERED
def test_the_default_target_is_a_tenth_of_the_initial_cost(answered):
    found = answered
    assert found.targets_at == pytest.approx({"made": 0.4})
    assert not found.given_targets
    assert (found.targets["n_reached"] == found.targets["n_replicas"]).all()


def test_with_one_rate_all_replicas_report():
    found = answer(data := made_up({(B, 0.1, "mean"): 0.1 for B in SIZES}, n_replicas=12))
    assert found.targets["n_replicas"].eq(12).all()
    text = notes.note(data, found)
    assert "12 of 12" in text
    assert "chosen on" not in text


def test_with_several_rates_the_note_says_which_replicas_chose_and_which_report():
    rates = {(B, rate, "mean"): rate for B in SIZES for rate in (0.1, 0.3)}
    text = notes.note(data := made_up(rates, n_replicas=13), answer(data))
    assert text.count("chosen on the first 6 replicas, reported on the other 7") == 1
    assert "7 of 7" in text
    alone = made_up(rates | {(512, 0.1, "mean"): 0.1}, n_replicas=13)
    assert "chosen on the first 6 replicas, reported on the other 7" in notes.note(alone, answer(alone))
    few = made_up(rates, n_replicas=5)
    assert "chosen on" not in notes.note(few, answer(few))


def test_medians_to_a_target_have_intervals():
    data = made_up({(B, 0.1, "mean"): 0.1 for B in SIZES})
    found = answer(data)
    text = notes.note(data, found)
    for row in found.targets.itertuples():
        for clock in ("updates", "epochs", "seconds"):
            values = Interval(*(getattr(row, clock + end) for end in ("", "_low", "_high")))
            assert values.low < values.estimate < values.high
            assert f"| {markdown.interval(values)} |" in text


@pytest.mark.parametrize(("beside", "resolved"), [(0.2, True), (0.5, False)])
def test_no_b_crit_is_claimed_where_the_rates_beside_the_best_one_do_not_reach_the_target(beside, resolved):
    """Then one between may take far fewer updates than the best of the grid."""
    finals = {0.01: beside, 0.1: 0.1, 1.0: beside}
    data = made_up({(B, rate, "mean"): final for B in SIZES for rate, final in finals.items()})
    found = answer(data)
    assert np.isfinite(found.targets["excess"]).all() == resolved
    text = notes.note(data, found)
    assert ("unresolved: beside a best learning rate none reaches the target" in text) != resolved
    assert resolved or "B_crit = " not in text


def test_each_table_of_costs_says_at_which_epochs():
    data = made_up({(B, rate, "mean"): rate for B in SIZES for rate in (0.1, 0.3)})
    text = notes.note(data, answer(data))
    assert text.count("| training cost at equal epochs within each batch size |") == 1


def test_a_target_that_nobody_reaches_is_said():
    data = made_up({(B, 0.1, "mean"): 3.0 for B in SIZES})
    found = answer(data)
    assert np.isinf(found.targets["updates"]).all()
    assert notes.note(data, found).count("not reached") == len(SIZES)


DEGENERATE = {
    "no cell": {},
    "one cell": {(8, 0.1, "mean"): 0.1},
    "all diverged": {(B, 1.0, "sum"): None for B in SIZES},
    "two reductions, one rate": {(8, 0.1, reduction): 0.1 for reduction in ("sum", "mean")},
    "two rates, one batch size": {(8, rate, "mean"): rate for rate in (0.1, 0.3)},
}


@pytest.mark.sample(4)
@pytest.mark.parametrize("n_replicas", [1, 2, 10])
@pytest.mark.parametrize("case", DEGENERATE)
def test_any_sweep_gets_a_note_figures_and_a_page(case, n_replicas):
    if case == "no cell":
        never = replace(made_up_cell(8, 0.1, "mean", 0.1, [1.0], 1024, {}), status="MISSING", replicas=None)
        data = sweep_data("none", {"cells": "3"}, [never])
    else:
        data = made_up(DEGENERATE[case], n_replicas)
    found = answer(data)
    text = notes.note(data, found)
    assert len(markdown.shortened(text)) <= 8000
    drawn = figures(data, found)
    shown = page(data, found, text, dict.fromkeys(drawn, png(Figure(figsize=(0.1, 0.1)))), str)
    assert shown.count("<img") == len(drawn)
    if case == "all diverged":
        assert "diverged" in text
        assert found.headlines[0].leads == []


def test_a_cell_that_failed_has_a_row_and_no_say(grid):
    failed = grid.cells.iloc[[0]].assign(
        status="FAILED", outcome="failed", reason="no ink", cell="lost", label="made B=2 η=1 mean"
    )
    data = SweepData("t", grid.about, pd.concat([grid.cells, failed]), grid.replicas, grid.histories)
    found = answer(data)
    assert 2.0 not in set(found.best["batch_size"])
    text = notes.note(data, found)
    assert f"{len(grid.cells)} of {len(grid.cells)} cells finished" in text
    assert "Missing: made B=2 η=1 mean (no ink)." in text


def test_markdown_escapes_what_it_is_given():
    shown = markdown.rendered("| x |\n|---|\n| <script>alert(1)</script> |\n")
    assert "<script" not in shown
    assert "<table>" in shown


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.25, "0.25"), (0.00012, "0.00012"), (1234.5, "1234"), (2.5e6, "2.5e+06"), (np.inf, "inf")],
)
def test_numbers_are_short(value, text):
    assert markdown.number(value) == text


@ANSWERED
def test_a_note_too_long_for_mlflow_is_cut_between_lines(grid, answered):
    text = notes.note(grid, answered) * 5
    cut = markdown.shortened(text)
    assert len(cut) <= 8000
    kept, _, rest = cut.partition("\n\nThe rest is in `report.html`")
    assert text.startswith(kept + "\n")
    assert rest
    assert markdown.shortened("short") == "short"


@ANSWERED
def test_every_cell_has_its_values_with_limits(grid, answered):
    table = answered.cells.merge(grid.cells[["cell", "label"]], on="cell").set_index("label")
    assert len(table) == len(grid.cells)
    own = table.loc["made B=8 η=0.1 mean"]
    assert own["final_train_cost_low"] < own["final_train_cost"] < own["final_train_cost_high"]
    assert own["updates_to_target_low"] <= own["updates_to_target"] <= own["updates_to_target_high"] < np.inf
    assert np.isinf(table.loc["made B=64 η=3 mean", "final_train_cost"])  # diverged


def test_cells_with_few_replicas_beside_cells_with_many_are_answered_from_what_each_has():
    """A study may look into a single training of one setting and repeat another."""
    factor = np.exp(0.1 * np.random.default_rng(0).normal(size=14))
    cells = [
        made_up_cell(8, rate, "mean", final, factor, 1024, {"seeds": 14})
        for rate, final in {0.1: 0.3, 0.3: 0.1, 1: 0.2}.items()
    ]
    cells.append(made_up_cell(8, 0.1, "mean", 0.2, factor[:1], 1024, {"seeds": 1}))
    best = answer(sweep_data("made up", {}, cells)).best.set_index("setting")
    assert best.loc["made seeds=14", "learning_rate"] == 0.3
    assert best.loc["made seeds=1", "learning_rate"] == 0.1


def fit_status(rates_of):
    """Of three batch sizes with these learning rates each, best at 0.1."""
    finals = {(B, rate, "mean"): bowl(0.1, rate) for B, rates in zip(SIZES, rates_of, strict=True) for rate in rates}
    found = answer(made_up(finals))
    (fit,) = found.fits.itertuples()
    exponent = found.exponents.get(("made", "mean"))
    return fit, exponent


@pytest.mark.parametrize(
    ("rates_of", "why"),
    [
        ([[0.1]] * 3, Status.ONE_RATE),
        ([RATES, RATES, [0.1]], Status.ONE_RATE),
        ([RATES, RATES, RATES[:3]], Status.AT_EDGE),
        ([RATES, RATES, [0.03, 0.1, 0.2]], None),
        ([(*RATES, 9.0), RATES, [0.03, 0.1, 0.2]], Status.FEWER_RATES),
    ],
)
def test_no_critical_batch_size_and_no_rule_from_rates_that_were_not_tuned(rates_of, why):
    fit, exponent = fit_status(rates_of)
    untuned = {Status.ONE_RATE.text, Status.AT_EDGE.text, Status.FEWER_RATES.text}
    assert (fit.status == why.text) if why else (fit.status not in untuned)
    assert not (why and fit.resolved)
    if why and exponent:
        assert exponent.status is why
        assert set(exponent.verdicts.values()) == {"unresolved"}
    assert (exponent is None) == (rates_of == [[0.1]] * 3)


def test_two_batch_sizes_are_too_few_for_a_critical_one_and_the_note_says_so():
    data = made_up({(B, rate, "mean"): bowl(0.1, rate) for B in (8, 64) for rate in RATES[:5]})
    words = notes.note(data, answer(data))
    assert "stop saving updates is unresolved: it takes three or more batch sizes at which the value is known." in words


def test_one_rate_is_both_edges_of_its_grid():
    found = answer(made_up({(B, 0.1, "mean"): 0.1 for B in SIZES}))
    assert set(found.best["edge"]) == set(found.targets["edge"]) == {"both"}


@pytest.mark.parametrize(
    ("n_replicas", "whose"), [(10, "chose the rate, so they flatter"), (16, "did not choose the rate")]
)
def test_a_note_says_whose_costs_are_reported(n_replicas, whose):
    data = made_up({(B, rate, "mean"): bowl(0.1, rate) for B in SIZES for rate in RATES[:5]}, n_replicas)
    text = notes.note(data, answer(data))
    assert f"The costs are of replicas that {whose}." in text
    assert ("chosen on the first 8 replicas, reported on the other 8" in text) == (n_replicas == 16)
    assert "disjoint halves" not in text


def test_a_note_names_the_cost_that_a_target_is_on():
    data = made_up({(8, 0.1, "mean"): 0.1}, target_on="validation", target=0.2)
    assert "made: target validation cost 0.2 per example, as given." in notes.note(data, answer(data))


def test_without_a_target_it_is_a_tenth_of_the_initial_cost_that_it_is_on():
    """Validation costs are 1.1 times the training costs here."""
    assert answer(made_up({(8, 0.1, "mean"): 0.1}, target_on="validation")).targets_at == pytest.approx({"made": 0.44})


def test_the_whole_set_has_one_name():
    data = made_up({(8, 0.1, "mean"): 0.1, (1024, 0.1, "mean"): 0.1})
    text = notes.note(data, answer(data))
    assert "B=1024 is the whole training set of made." in text
    assert "B=full" not in text


def test_arms_asked_about_twice_are_one_comparison_in_whichever_order():
    """However far apart: the ratio of costs of 1e-300 and 1e300 is 0 in floating point, and infinite the other way."""
    low, high = 1e-300 * np.linspace(1, 2, 10), 1e300 * np.linspace(2, 3, 10)
    there, back, unasked = Question(arms=(low, high)), Question(arms=(high, low)), Question()
    assert compare([there, back, unasked]) == 1
    assert [one.standing for one in (there, back, unasked)] == [Standing.LOWER, Standing.HIGHER, Standing.NOT_COMPARED]
    assert (there.comparison.ratio.estimate, back.comparison.ratio.estimate) == (0, np.inf)
    assert there.comparison.p == back.comparison.p
