"""Replicas that stop at a target: costs are compared while all still train, and no exponent is claimed."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
from synthetic import cell, evidence

from harness.analysis import TUNED, Standing
from harness.analysis.comparisons import spent
from harness.inference import Status
from harness.report import figures, headlines, note

EPOCHS = 10


def history(factor: float, batch_size: int, rate: float, stops: bool, target: float = 0.5) -> pd.DataFrame:
    """Cost 2·exp(-rate·epoch), the same for every batch size; a replica may stop: each at its own epoch."""
    epoch = np.linspace(0, EPOCHS, 41)
    cost = 2 * np.exp(-rate * epoch)
    end = 1 + int(np.argmax(cost <= target * factor**5)) if stops else len(epoch)
    table = pd.DataFrame({"epoch": epoch, "update": epoch * 1024 / batch_size, "train_cost": cost}).head(end)
    outcome = ["reached" if end < len(epoch) else "completed"]
    table["outcome"] = [""] * (end - 1) + outcome
    return table.assign(
        examples=table["epoch"] * 1024, train_seconds=table["epoch"] * 1e-3, validation_cost=table["train_cost"],
        validation_accuracy=0.9,
    )  # fmt: skip


def made(batch_size: int, learning_rate: float, rate: float, stops: bool, target: float = 0.5):
    how = partial(history, batch_size=batch_size, rate=rate, stops=stops, target=target)
    return cell(batch_size, learning_rate, history=how, target=target)


def test_a_replica_that_stopped_bounds_the_budget():
    rows = {"replica": [0, 1, 2], "update": [5, 3, 1], "outcome": ["completed", "reached", "diverged"]}
    assert spent(pd.DataFrame(rows), "update") == 3


def test_arms_that_learn_alike_are_the_same_although_one_stops_at_its_target():
    """The replicas of B = 64 stop after different epochs: what they keep is no cost of a later one."""
    (headline,) = evidence(made(8, 0.1, 0.4, stops=False), made(64, 0.1, 0.4, stops=True)).answer.headlines
    epochs = headline.leads[0]
    assert epochs.clock == "epochs"
    assert 0 < epochs.budget < EPOCHS
    assert epochs.standing is Standing.EQUAL


def test_where_a_replica_starts_at_its_target_nothing_is_compared():
    found = evidence(*(made(B, 0.1, 0.4, stops=True, target=9.0) for B in (8, 64)))
    assert headlines(found.answer) == ["digits: no winner, as a replica starts at its target."]
    (lost,) = headlines(evidence(cell(8, final=None), cell(64, final=None)).answer)
    assert lost == "digits: no winner, as half of the replicas or more of every cell diverged."


@pytest.fixture(scope="module")
def swept():
    """Of the rates 0.1, 1 and 10 the middle one falls the fastest, so it stops first, at the highest cost."""
    speeds = {0.1: 0.2, 1.0: 0.6, 10.0: 0.2}
    return evidence(*(made(B, rate, speed, stops=rate == 1) for B in (1, 8, 64) for rate, speed in speeds.items()))


def test_the_best_rate_is_that_with_the_lowest_cost_at_equal_epochs_not_at_the_end(swept):
    assert set(swept.answer.best["learning_rate"]) == {1.0}
    assert swept.answer.best["edge"].eq("").all()


def test_no_rule_is_judged_from_trainings_that_stopped_after_different_epochs(swept):
    (exponent,) = swept.answer.exponents.values()
    assert exponent.status is Status.STOPPED
    assert set(exponent.verdicts.values()) == {"unresolved"}
    assert "at what was spent when the first replica stopped at its target." in note(swept.data, swept.answer)


def test_where_no_rate_reaches_the_target_that_is_the_reason_and_not_an_edge():
    found = evidence(*(made(B, rate, 0.01, stops=False) for B in (1, 8, 64) for rate in (0.1, 1.0, 10.0)))
    assert set(found.answer.fits["status"]) == {Status.NOT_REACHED.text}
    words = note(found.data, found.answer).partition("### Updates to target")[2]
    assert "is unresolved: at a batch size no learning rate brings half of the replicas to the target." in words
    assert "| digits | mean | 8 |  | not reached |  |  | 0 of 10 |  |" in words


def test_each_row_to_a_target_says_whether_its_own_rate_is_on_the_edge():
    """Inside for one data set, on the edge for the other, at the same batch size."""
    finals = {"digits": {0.1: 0.15, 1.0: 0.05, 10.0: 0.15}, "wine": {0.1: 0.15, 1.0: 0.1, 10.0: 0.05}}
    cells = [cell(8, rate, dataset=of, final=final) for of, by in finals.items() for rate, final in by.items()]
    found = evidence(*cells)
    edges = dict(zip(found.answer.targets["setting"], found.answer.targets["edge"], strict=True))
    assert edges == {"digits": "", "wine": "high"}
    text = note(found.data, found.answer).partition("### Updates to target")[2]
    own = {name: next(line for line in text.splitlines() if line.startswith(f"| {name} |")) for name in finals}
    assert own["digits"].endswith(" of 10 |  |")
    assert own["wine"].endswith(" of 10 | high |")


def test_the_heat_map_shows_the_costs_that_chose_the_best_rates(swept):
    """At the end the best rate has the highest cost of all, as it stopped first."""
    cells = swept.answer.cells.set_index("cell")
    best = swept.answer.best["cell"]
    rates = swept.data.cells.set_index("cell")["learning_rate"]
    assert (cells.loc[best, TUNED] < cells.drop(best)[TUNED].min()).all()
    assert set(rates[best]) == {1.0}
    boxes = figures(swept.data, swept.answer)["learning_rates"].axes[0].collections
    drawn = next(one.get_array() for one in boxes if one.get_array() is not None)
    assert sorted(drawn) == pytest.approx(sorted(cells[TUNED]))


def test_the_note_says_what_its_brackets_are():
    """Of five replicas no interval of a median has 95 %: it is their range."""
    found = evidence(cell(8, 0.1), cell(8, 1.0), n_replicas=5)
    assert "of a median of fewer than six replicas, the lowest and the highest" in note(found.data, found.answer)
    own = found.answer.cells.iloc[0]
    costs = found.data.replicas.query("cell == @own.cell")["final_train_cost"]
    assert (own["final_train_cost_low"], own["final_train_cost_high"]) == (costs.min(), costs.max())
