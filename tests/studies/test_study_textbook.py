"""The study `textbook`: its judge on sweeps whose times, costs and differences are known."""

import numpy as np
import pandas as pd
import pytest
import synthetic

from harness.analysis.study import judge_of
from harness.inference.verdicts import Verdict
from harness.runs.studies import EXPERIMENTS

pytestmark = pytest.mark.slow  # sweeps made by hand, answered many times

judge = judge_of("textbook", EXPERIMENTS)
own = judge.__globals__
N = 1500
RATES = {N: (0.25, 0.5, 1.0), 1: (0.0025, 0.005, 0.01), 10: (0.05, 0.1, 0.2), 100: (0.2, 0.4, 0.8)}
EPOCHS = {N: 10, 1: 12, 10: 2, 100: 2}
FALL = {N: 1.0, 1: 0.05, 10: 0.06, 100: 0.2}  # epochs in which the distance to least squares falls to 1/e
US = {N: 40.0, 1: 10.0, 10: 11.0, 100: 12.0}  # microseconds of an update
LEAST = 0.24


def history(B, epochs, fall, floor=LEAST):
    """One replica's checkpoints: the cost falls exponentially from 0.5."""

    def made(factor):
        end = epochs * N // B
        update = np.unique(np.r_[0:11, np.geomspace(1, end, 60).round()])
        update = update[update <= end]
        epoch = update * B / N
        cost = floor + (0.5 - floor) * np.exp(-epoch / (fall * factor))
        table = pd.DataFrame({"update": update, "epoch": epoch, "examples": update * B, "train_seconds": 0.0})
        return table.assign(train_cost=cost, validation_cost=cost, validation_accuracy=0.5, outcome="")

    return made


def cell(B, rate, fall, epochs=None, us=None, floor=LEAST, weights=None):
    files = {"diagnostics.csv": pd.DataFrame({"eta_lambda_max": [2.1 * rate] * 3})}
    files["weights.npz"] = np.ones((20, 6)) if weights is None else weights
    made = history(B, epochs or EPOCHS[B], fall, floor)
    return synthetic.cell(
        B, rate, dataset="airfoil_like", n_train=N, history=made, files=files, epochs=epochs or EPOCHS[B],
        update_us=(us or US)[B], block_noise=0.01, noise=0.01,
    )  # fmt: skip


def cells(fall=FALL, us=US, best=1, floor=LEAST, gathered=1.2):
    """Four batch sizes at three rates, of which number `best` falls fastest, and B=10 once more for four epochs.

    gathered: how many times longer an update takes that gathers the whole set.
    """
    made = [
        cell(B, rate, fall[B] * (1 if i == best else 1.4), us=us, floor=floor if B == N else LEAST)
        for B, rates in RATES.items()
        for i, rate in enumerate(rates)
    ]
    drawn = synthetic.cell(
        N, 0.5, dataset="airfoil_like", n_train=N, order="replacement", update_us=us[N] * gathered, block_noise=0.01,
        history=history(N, 10, fall[N]),
    )  # fmt: skip
    return [*made, cell(10, 0.02, fall[10], epochs=4, us=us), drawn]


def findings(*made):
    return {
        found.claim: found for found in judge(synthetic.evidence(*made, n_replicas=20, shared=0.02, answered=False))
    }


def alone(function, made):
    evidence = synthetic.evidence(*made, n_replicas=20, shared=0.02, answered=False)
    return own[function](evidence, evidence.cells[evidence.cells["order"] != "replacement"])


def split(made):
    evidence = synthetic.evidence(*made, n_replicas=20, shared=0.02, answered=False)
    drawn = evidence.cells["order"] == "replacement"
    return evidence, evidence.cells[~drawn], own["loading"](evidence, evidence.cells[drawn])


def test_every_claim_has_a_finding_that_can_be_read():
    found = findings(*cells())
    assert found.keys() == {"D1", "D2", "D3", "D4", "D5"}
    assert not any("nan" in finding.sentence for finding in found.values())


@pytest.mark.parametrize(
    ("us", "gathered", "verdict"),
    [
        ({N: 400.0, 1: 10.0, 10: 11.0, 100: 12.0}, 1.2, Verdict.SUPPORTED),
        ({N: 40.0, 1: 10.0, 10: 11.0, 100: 12.0}, 1.2, Verdict.CONDITIONAL),  # faster than B=1 and 10, slower than B=N
        ({N: 150.0, 1: 0.1, 10: 1.0, 100: 10.0}, 1.0, Verdict.REFUTED),  # no difference: the null case
        ({N: 170.0, 1: 0.114, 10: 1.14, 100: 10.0}, 1.0, Verdict.CONDITIONAL),  # 12 % faster: the limit decides
    ],
)
def test_the_time_of_an_epoch(us, gathered, verdict):
    found = own["time_of_an_epoch"](*split(cells(us=us, gathered=gathered)))
    assert found.verdict == verdict
    assert [row[0] for row in found.rows[1:]] == ["B=1", "B=10", "B=N", "B=N, gathered"]


def test_the_sizes_against_which_an_epoch_is_faster_are_named():
    found = own["time_of_an_epoch"](*split(cells()))
    slower = "the whole set as it lies and the whole set gathered"
    assert found.plain == f"B = 100 against B = 1 and B = 10 yes, against {slower} no."


@pytest.mark.parametrize(
    ("fall", "floor", "verdict"),
    [
        (0.5, 0.45, Verdict.SUPPORTED),  # it comes down by a fifth of the way, and stays there
        (0.5, 0.325, Verdict.CONDITIONAL),  # by two thirds: where little ends decides
        (1.0, LEAST, Verdict.REFUTED),  # nearly all of the way
        (30.0, LEAST, Verdict.REFUTED),  # little, and it does not stall
        (2.7, 0.47, Verdict.CONDITIONAL),  # little, and what counts as standing still decides
    ],
)
def test_progress(fall, floor, verdict):
    found = alone("progress", cells(fall=FALL | {N: fall}, floor=floor))
    assert found.verdict == verdict
    assert "times λ_max is 2.1" in found.sentence
    assert [row[0] for row in found.rows[1:]] == ["1", "0.5"]
    assert found.plain.startswith("Little: below ") == (verdict == Verdict.CONDITIONAL)


@pytest.mark.parametrize(
    ("after", "verdict"),
    [
        (lambda more: 0.0 * more, Verdict.SUPPORTED),  # it stays where it is: the null case
        (lambda more: 0.002 * more, Verdict.REFUTED),  # it rises by 3 % of the way
        (lambda more: 0.0013 * more, Verdict.CONDITIONAL),  # by 2 %: what counts as none decides
        (lambda more: 0.02 * (more % 2), Verdict.REFUTED),  # it swings, and is back after the last update
    ],
)
def test_a_cost_that_rises_or_swings_does_not_stall(after, verdict):
    """After update 6 the cost of batch gradient descent, which has made little progress, goes on as `after` has it."""
    made = cells(fall=FALL | {N: 0.5}, floor=0.45)
    for one in made:
        if one["batch_size"] == N and one["history"]:
            one["history"] = changed(one["history"], after)
    found = alone("progress", made)
    assert found.verdict == verdict
    assert set(found.along["where little ends"].values()) == {Verdict.SUPPORTED}


def changed(history, after):
    def made(factor):
        table = history(factor)
        return table.assign(train_cost=table["train_cost"] + after(np.maximum(0, table["update"] - 6)))

    return made


def times(**how):
    evidence, chapter, loaded = split(cells(**how))
    return {one.claim: one for one in own["times_to_a_loss"](evidence, chapter[chapter["epochs"] != 4], loaded)}


def test_fewer_examples_and_more_time_are_found():
    assert times()["D3"].verdict == Verdict.SUPPORTED


def test_where_nothing_differs_nothing_is_found():
    """The null case: B=1 and B=10 take as long for an example as B=N, and fall as fast."""
    found = times(fall=dict.fromkeys(FALL, 1.0), us={B: 40.0 * B / N for B in US})
    assert {one.verdict for one in found.values()}.isdisjoint({Verdict.SUPPORTED})


@pytest.mark.parametrize(
    ("how", "claim", "verdict"),
    [
        ({"fall": FALL | {1: 3.0}}, "D3", Verdict.REFUTED),  # more examples
        ({"us": US | {N: 40000.0}}, "D3", Verdict.REFUTED),  # and less time
        ({"us": US | {N: 400.0}}, "D4", Verdict.SUPPORTED),
        ({"us": US | {N: 4.0}, "gathered": 100.0}, "D4", Verdict.CONDITIONAL),  # whether the whole set is gathered
        ({"us": US | {N: 4.0}}, "D4", Verdict.REFUTED),  # the whole set is faster
    ],
)
def test_times_to_a_loss(how, claim, verdict):
    assert times(**how)[claim].verdict == verdict


def test_it_is_counted_in_how_many_cases_it_takes_less_time():
    found = times(us=US | {N: 4.0}, gathered=100.0)["D4"]
    ends = "B = 100 less than the whole set as it lies in none (in 8 not); than the whole set gathered in 8."
    assert found.plain == f"Of 8 cases (losses and choices of rates): B = 10 takes less time than B = 1 in 8; {ends}"
    yes, no = Verdict.SUPPORTED, Verdict.REFUTED
    assert [row[-1] for row in found.rows[1:]] == [yes, yes, no, no, yes, yes]


def test_a_tuned_rate_on_the_edge_makes_no_claim():
    found = times(best=2)
    assert found["D3"].verdict == Verdict.UNRESOLVED
    assert "12 with a best rate on the edge of its grid" in found["D3"].sentence
    assert {row[1] for row in found["D3"].rows if "add higher rates" in row[2]} == {"tuned"}


def with_an_edge(B, us):
    """The best rate of a batch size is the highest of its grid, those of the others are in the middle."""
    middle, edge = (cells(us=us, best=best) for best in (1, 2))
    made = [high if high["batch_size"] == B else one for one, high in zip(middle, edge, strict=True)]
    evidence, chapter, loaded = split(made)
    found = own["times_to_a_loss"](evidence, chapter[chapter["epochs"] != 4], loaded)
    return {one.claim: one for one in found}


@pytest.mark.parametrize(("B", "open_to"), [(10, {"D4"}), (N, {"D3", "D4"})])
def test_an_edge_voids_only_what_is_held_against_its_batch_size(B, open_to):
    found = with_an_edge(B, US | {N: 400.0})
    assert {claim for claim, one in found.items() if one.verdict == Verdict.UNRESOLVED} == open_to


def test_an_edge_of_one_part_does_not_hide_that_the_other_fails():
    found = with_an_edge(10, US | {N: 4.0})["D4"]
    assert found.verdict == Verdict.REFUTED
    assert {row[:2] for row in found.rows if "B=10: add higher rates" in "".join(row)} == {(found.rows[1][0], "tuned")}


def frameworks(change, weights=None):
    """Three cells of B=10, two of which fall in `change` times the epochs."""
    falls = {0.05: 1.0, 0.1: change, 0.02: change}
    return [
        cell(10, rate, 0.2 * fall, epochs=4 if rate == 0.02 else 2, weights=weights if rate == 0.1 else None)
        for rate, fall in falls.items()
    ]


@pytest.mark.parametrize(
    ("change", "verdict"), [(1.0, Verdict.SUPPORTED), (1.1, Verdict.CONDITIONAL), (3.0, Verdict.REFUTED)]
)
def test_identical_behaviour(change, verdict):
    assert alone("identical_behaviour", frameworks(change)).verdict == verdict


def test_how_near_identical_is_is_told_by_framework():
    found = alone("identical_behaviour", frameworks(1.1))
    assert found.plain.startswith("TensorFlow within ")
    assert all(" % yes, within 1 %" in words for words in found.plain.split("; PyTorch "))


def test_the_distance_of_the_weights_is_told():
    found = alone("identical_behaviour", frameworks(3.0, weights=np.full((20, 6), 1.5)))
    rows = {name: (rate, weights) for name, rate, _, weights, *_ in found.rows[1:]}
    assert rows == {"TensorFlow": ("0.1", "0.5"), "PyTorch": ("0.02", "0")}


@pytest.mark.parametrize(
    ("framework", "loss", "typed"),
    [
        ("MXNet", lambda errors: np.sum(errors**2 / 2) / len(errors), 0.05),  # L2Loss; Trainer.step(B) divides by B
        ("TensorFlow", lambda errors: np.mean(errors**2), 0.05),  # MeanSquaredError
        ("PyTorch", lambda errors: np.mean(errors**2), 0.01),  # MSELoss(reduction='none'), then .mean()
    ],
)
def test_the_effective_rate_is_that_of_a_step_with_the_loss_as_the_chapter_has_it(framework, loss, typed):
    """By central differences of each loss, against the gradient of the harness."""
    rng = np.random.default_rng(0)
    X, y, w = rng.normal(size=(10, 5)), rng.normal(size=10), rng.normal(size=5)
    gradient = [(loss(X @ (w + d) - y) - loss(X @ (w - d) - y)) / 2e-6 for d in 1e-6 * np.eye(5)]
    ours = X.T @ (X @ w - y) / 10  # of the mean of ½ (ŷ − y)²
    np.testing.assert_allclose(typed * np.array(gradient), own["effective_rate"](framework) * ours, rtol=1e-6)
