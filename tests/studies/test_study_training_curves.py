"""The study `training_curves`: its judge on sweeps whose winners are known, or that have none."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
import synthetic

from harness.analysis.study import judge_of
from harness.inference.verdicts import Verdict
from harness.runs.studies import EXPERIMENTS

pytestmark = pytest.mark.slow  # sweeps made by hand, answered many times

judge = judge_of("training_curves", EXPERIMENTS)
own = judge.__globals__
DATASETS = ("iris", "moons")
RULES = {"constant": "sgd", "momentum": "momentum", "nesterov": "nesterov", "adam": "adam", "inverse scaling": "sgd"}
AS_PICTURED = {"constant": 0.3, "momentum": 0.1, "nesterov": 0.11, "adam": 0.05, "inverse scaling": 0.9}
N, EPOCHS = 1024, 10
CLOCKS = {1: 0.05, 64: 0.2, N: 0.8}  # B -> final cost


def strategies(costs=AS_PICTURED, best=1, noise=0.02, datasets=DATASETS):
    """Each strategy at half, once and twice its printed rate, on every data set; number `best` has the lowest cost."""
    return [
        synthetic.cell(
            N, own["PRINTED"][name] * 2.0**i, dataset=dataset, n_train=N, noise=noise,
            final=costs[name] * (1 if i + 1 == best else 1.3 if i == 0 else 1.5),
            **{"optimizer.name": RULES[name], "model.activation": "relu"},
            learning_rate_schedule="inverse" if name == "inverse scaling" else "constant",
        )
        for dataset, name, i in product(datasets, RULES, (-1, 0, 1))
    ]  # fmt: skip


def course(B, final, us):
    """One replica's checkpoints over 10 epochs: the log cost falls along the root of the epoch."""

    def made(factor):
        end = EPOCHS * N // B
        update = np.unique(np.r_[0, np.geomspace(1, end, 60).round(), np.arange(1, EPOCHS + 1) * (N // B)])
        epoch = update * B / N
        cost = 2 * (final * factor / 2) ** np.sqrt(epoch / EPOCHS)
        table = pd.DataFrame(
            {"update": update, "epoch": epoch, "examples": update * B, "train_seconds": update * us * 1e-6}
        )
        return table.assign(train_cost=cost, validation_cost=cost, validation_accuracy=0.5, outcome="")

    return made


def methods(finals=CLOCKS, us=None, best=1):
    us = us or {1: 40.0, 64: 60.0, N: 600.0}
    return [
        synthetic.cell(
            B, 0.1 * 4.0**i, dataset="digits", n_train=N, update_us=us[B], block_noise=0.01,
            history=course(B, final * (1 if i == best else 1.3), us[B]),
            **{"model.activation": "sigmoid", "learning_rate_schedule": "constant"},
        )
        for B, final in finals.items()
        for i in range(3)
    ]  # fmt: skip


def evidence(cells):
    return synthetic.evidence(*cells, n_replicas=20, shared=0.02, answered=False)


def found(cells):
    of = evidence(cells)
    return {finding.claim: finding for finding in own["strategies"](of, of.cells)}


def blog(cells):
    of = evidence(cells)
    return own["three_methods"](of, of.cells)


def test_every_claim_has_a_finding_that_can_be_read():
    every = {finding.claim: finding for finding in judge(evidence([*strategies(), *methods()]))}
    assert every.keys() == {"T1", "T2", "T3", "T4", "T5"}
    assert not any("nan" in finding.sentence for finding in every.values())


def test_what_the_picture_suggests_is_found_where_it_is_planted():
    verdicts = {claim: finding.verdict for claim, finding in found(strategies()).items()}
    assert verdicts == dict.fromkeys(("T1", "T2", "T3", "T4"), Verdict.SUPPORTED)


def test_where_all_strategies_are_equal_none_is_better():
    """The null case. Adam is then as low as momentum, which is what T2 asks for."""
    verdicts = {claim: one.verdict for claim, one in found(strategies(dict.fromkeys(RULES, 0.1))).items()}
    assert (verdicts["T1"], verdicts["T2"], verdicts["T3"]) == (Verdict.REFUTED, Verdict.SUPPORTED, Verdict.REFUTED)
    assert verdicts["T4"] != Verdict.SUPPORTED


def test_the_other_way_round_is_found_too():
    costs = {"constant": 0.1, "momentum": 0.3, "nesterov": 0.3, "adam": 0.9, "inverse scaling": 0.05}
    verdicts = {claim: one.verdict for claim, one in found(strategies(costs)).items()}
    assert {verdicts[claim] for claim in ("T1", "T2", "T3")} == {Verdict.REFUTED}


def test_data_sets_may_disagree():
    turned = AS_PICTURED | {"constant": 0.01}
    cells = [*strategies(datasets=["iris"]), *strategies(turned, datasets=["moons"])]
    finding = found(cells)["T1"]
    assert finding.verdict == Verdict.CONDITIONAL
    assert finding.plain == "Printed rates: on iris yes, on moons no. Tuned rates: on iris yes, on moons no."
    assert [row[-1] for row in finding.rows[1:5]] == [Verdict.SUPPORTED] * 2 + [Verdict.REFUTED] * 2


def test_it_is_said_on_which_data_adam_ends_lower():
    """On iris Adam is lower, on moons momentum, on wine they are level."""
    adam = {"iris": 0.05, "moons": 0.9, "wine": AS_PICTURED["momentum"]}
    cells = [one for name, cost in adam.items() for one in strategies(AS_PICTURED | {"adam": cost}, datasets=[name])]
    finding = found(cells)["T2"]
    ends = "lower on iris, about as low on wine, higher on moons"
    assert finding.verdict == Verdict.CONDITIONAL
    assert finding.plain == f"Adam ends at printed rates {ends}; at tuned rates {ends}."
    assert sum("(a tie)" in row[3] for row in finding.rows) == 2


def test_tuned_rates_on_the_edge_make_no_claim():
    finding = found(strategies(best=2))["T1"]
    assert finding.verdict == Verdict.UNRESOLVED
    assert "with a best rate on the edge of its grid" in finding.sentence
    assert {row[0] for row in finding.rows if "add higher rates" in row[3]} == {"tuned"}


def test_a_close_race_is_not_told_by_one_run():
    """Five strategies that replicas confuse."""
    close = dict.fromkeys(RULES, 0.1)
    finding = found(strategies(close, noise=0.3))["T4"]
    assert finding.verdict != Verdict.SUPPORTED
    assert [row[3] for row in finding.rows[1:]] == ["20", "20"]


@pytest.mark.parametrize(
    ("finals", "us", "verdict"),
    [
        # an epoch costs one update at any size, and as many seconds: one order on every clock
        ({1: 1e-12, 64: 1e-3, N: 1.9}, {1: 0.01, 64: 0.6, N: 600.0}, Verdict.REFUTED),
        (CLOCKS, {1: 40.0, 64: 60.0, N: 600.0}, Verdict.REFUTED),  # by updates B=N is ahead of B=1
    ],
)
def test_a_clock_that_turns_the_order(finals, us, verdict):
    finding = blog(methods(finals, us))
    assert finding.verdict == verdict
    assert finding.plain.startswith("Not on every clock. ")
    assert len(finding.rows) == 1 + 2 * 3 * 2  # rates, budgets, pairs of sizes


def test_the_clocks_that_agree_with_the_epochs_are_named():
    """By updates B=N is ahead of B=1; seconds are those of the epochs, as each example takes as long."""
    finding = blog(methods(us={B: 1e3 * B for B in CLOCKS}))
    assert finding.plain == (
        "Not on every clock. Is it the order by epochs? By updates, at one rate and tuned no; by train seconds, at one "
        "rate and tuned yes."
    )


def test_a_race_that_single_runs_decide_is_conditional_on_the_data():
    """On iris Adam is far ahead, on moons all are level: there a single run tells nothing."""
    level = strategies(dict.fromkeys(RULES, 0.1), noise=0.3, datasets=["moons"])
    finding = found([*strategies(datasets=["iris"]), *level])["T4"]
    assert finding.verdict == Verdict.CONDITIONAL
    assert finding.plain.startswith("At the printed rates on iris yes, on moons ")


@pytest.mark.parametrize(
    ("by_epochs", "by_updates", "verdict"),
    [
        ("a lower", "a lower", Verdict.SUPPORTED),
        ("a lower", "b lower", Verdict.REFUTED),
        ("a lower", "equivalent", Verdict.REFUTED),
        ("a lower", "unresolved", Verdict.UNRESOLVED),
        ("equivalent", "equivalent", Verdict.UNRESOLVED),
    ],
)
def test_an_order_is_kept_where_the_other_clock_has_it_too(by_epochs, by_updates, verdict):
    class One:
        def __init__(self, verdict):
            self.verdict = verdict

    orders = {("epochs", "B=1, B=64"): One(by_epochs), ("updates", "B=1, B=64"): One(by_updates)}
    assert list(own["kept"](orders)) == [verdict]
