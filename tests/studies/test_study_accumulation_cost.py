"""accumulation_cost on sweeps made by hand: what is planted is found, what is not is not."""

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest
from synthetic import cell, evidence

from experiments import accumulation_cost as study
from harness.analysis.study import Finding, judged
from harness.inference import Interval, Verdict
from harness.runs import studies

SUPPORTED, REFUTED, UNRESOLVED, CONDITIONAL = (
    Verdict.SUPPORTED, Verdict.REFUTED, Verdict.UNRESOLVED, Verdict.CONDITIONAL,
)  # fmt: skip
RATES, N = (0.25, 0.5, 1.0, 2.0), 1024


def timed(longer: dict[int, float], noise: float = 0.01) -> list[dict[str, Any]]:
    """Updates of 512, in one piece and in parts that take so many times as long."""
    return [
        cell(study.TIMED, n_train=1024, update_us=1000 * times, block_noise=noise, last_batch="drop", micro_batches=n)
        for n, times in {1: 1.0, **longer}.items()
    ]


def falling(batch_size: int, epochs: float, factor: float) -> pd.DataFrame:
    """A replica whose cost is a tenth of the initial one after so many epochs, times its factor."""
    epoch = np.linspace(0, 2 * epochs, 60)
    cost = 2.0 * 0.1 ** (epoch / (epochs * factor))
    about = {"train_seconds": 0.0, "validation_cost": cost, "validation_accuracy": 0.9, "outcome": "completed"}
    return pd.DataFrame(
        {"update": epoch * N / batch_size, "epoch": epoch, "examples": epoch * N, "train_cost": cost} | about
    )


def two_ways(saved: dict[str, float], best: float = 0.5, noise: float = 0.01) -> list[dict[str, Any]]:
    """Batches of 16, and of 64 in four parts, at four rates each. saved: dataset -> how many times fewer epochs."""
    cells = []
    for dataset, times in saved.items():
        for (B, n), epochs, us in ((study.EACH, 10 / times, 50.0), (study.PARTS, 10.0, 200.0)):
            for rate in RATES:
                history = partial(falling, B, epochs * (1 if rate == best else 1.4))
                own = {"dataset": dataset, "noise": noise, "update_us": us, "block_noise": 0.01, "n_train": N}
                cells.append(cell(B, rate, history=history, micro_batches=n, **own))
    return cells


def verdicts(*cells: dict[str, Any], n_replicas: int = 10) -> dict[str, Verdict]:
    return {claim: finding.verdict for claim, finding in found_in(*cells, n_replicas=n_replicas).items()}


def found_in(*cells: dict[str, Any], n_replicas: int = 10) -> dict[str, Finding]:
    swept = evidence(*cells, n_replicas=n_replicas, answered=False)
    findings = judged(studies.definition("accumulation_cost"), study.judge, swept)
    assert not any("nan" in finding.sentence for finding in findings)
    assert max(len(finding.sentence) for finding in findings) <= 400
    return {finding.claim: finding for finding in findings}


@pytest.mark.parametrize(
    ("longer", "verdict"),
    [
        ({2: 1.0, 8: 1.02}, SUPPORTED),
        ({2: 3.0, 8: 10.0}, REFUTED),
        ({2: 1.0, 8: 10.0}, CONDITIONAL),
        ({2: 1.3, 8: 1.3}, CONDITIONAL),  # refuted at the small margins, supported at the large ones
    ],
)
def test_the_time_in_parts_is_judged_at_every_margin(longer, verdict):
    assert verdicts(*timed(longer))["K7"] is verdict


def test_the_answer_says_from_which_micro_batch_on_it_takes_as_long():
    found = found_in(*timed({2: 0.96, 8: 1.42, 32: 3.3, 128: 10.0}))["K7"]
    assert found.plain == (
        "An update takes at most 5 % longer in micro-batches of 256 examples, 25 to 50 % longer in those of 64, more "
        "than 2 times as long in those of 16 and 4."
    )
    assert found.sentence.startswith("An update of B=512 takes from 0.9")
    assert [(row[0], row[1], row[3]) for row in found.rows[1:]] == [
        ("2", "256", "at most 5 % longer"), ("8", "64", "25 to 50 % longer"),
        ("32", "16", "more than 2 times as long"), ("128", "4", "more than 2 times as long"),
    ]  # fmt: skip
    (along,) = found.along.values()
    assert along == dict.fromkeys(study.MARGINS, CONDITIONAL)
    assert found_in(*timed({2: 1.0, 8: 1.02}))["K7"].plain == ""


def test_the_answer_says_which_micro_batches_are_not_decided():
    wide, narrow = Interval(1.0, 0.5, 3.0), Interval(1.0, 0.99, 1.01)
    assert study._within({2: narrow, 8: wide}) == (
        "at most 5 % longer in micro-batches of 256 examples, a time that is not decided in those of 64"
    )


def test_noisy_blocks_decide_nothing():
    assert verdicts(*timed({2: 1.3}, noise=1.0))["K7"] is UNRESOLVED


@pytest.mark.parametrize(
    ("saved", "verdict"),
    [
        ({"digits": 4.0, "wine": 3.0}, SUPPORTED),
        ({"digits": 0.25, "wine": 0.3}, REFUTED),
        ({"digits": 4.0, "wine": 0.3}, CONDITIONAL),
        ({"digits": 1.0, "wine": 1.0}, REFUTED),  # the null: as many
    ],
)
def test_an_update_after_every_part_is_judged_by_epochs_and_seconds(saved, verdict):
    assert verdicts(*two_ways(saved))["K8"] is verdict


def test_the_ratios_stand_in_a_table_and_their_extremes_in_the_sentence():
    found = found_in(*two_ways({"digits": 4.0, "wine": 2.0}))["K8"]
    assert [row[:2] for row in found.rows[1:]] == [
        (name, clock) for name in ("digits", "wine") for clock in study.CLOCKS
    ]
    assert all(len(row) == 2 + len(study.TARGETS) for row in found.rows)
    assert found.rows[1][2].startswith("0.25")
    assert found.sentence.startswith("At best rates an update after every micro-batch needs 0.25")
    assert found.sentence.endswith(" times the epochs or seconds of accumulating four to a tenth of the initial cost.")


def test_a_best_rate_on_the_edge_makes_no_claim():
    found = found_in(*two_ways({"digits": 4.0, "wine": 3.0}, best=RATES[-1]))["K8"]
    assert found.verdict is UNRESOLVED
    assert "add higher rates" in found.sentence


def test_a_verdict_that_hangs_on_the_target_is_conditional():
    """An update after every part falls late and steeply: behind at two tenths of the initial cost, ahead at one."""
    cells = two_ways({"digits": 1.0, "wine": 1.0})
    for own in cells[: len(RATES)] + cells[2 * len(RATES) : 3 * len(RATES)]:
        usual = own["history"]

        def late(factor, usual=usual):
            part = usual(1.0)["epoch"] / usual(1.0)["epoch"].max() * 2 / (0.8 * factor)
            return usual(1.0).assign(train_cost=2.0 * np.exp(-(part**8)))

        own["history"] = late
    found = {finding.claim: finding for finding in study.judge(evidence(*cells, answered=False))}["K8"]
    assert found.verdict is CONDITIONAL
    (along,) = found.along.values()
    assert {f"{share:g}": verdict for share, verdict in along.items()} == {
        "0.1": SUPPORTED, "0.15": REFUTED, "0.2": REFUTED,
    }  # fmt: skip


@pytest.mark.parametrize("half", [slice(0, 8), slice(8, 16)])
def test_replicas_that_choose_a_rate_do_not_report_it(half, monkeypatch):
    """Half of the replicas are lucky with an update after every part; with the others it takes as many."""
    monkeypatch.setattr(study, "TARGETS", (1.0,))
    swept = evidence(*two_ways({"digits": 1.0, "wine": 1.0}), n_replicas=16, answered=False)
    for row in swept.cells[swept.cells["batch_size"] == study.EACH[0]].itertuples():
        for values in swept.answer.to_target[row.cell].values():
            values[half] *= 0.01
    found = {finding.claim: finding for finding in study.judge(swept)}["K8"]
    assert found.verdict is (REFUTED if half.start == 0 else SUPPORTED)
    assert found.replicas == 8


def test_three_replicas_decide_nothing_about_epochs():
    assert verdicts(*two_ways({"digits": 4.0, "wine": 3.0}), n_replicas=3)["K8"] is UNRESOLVED


def test_without_its_cells_a_claim_is_unresolved():
    assert set(verdicts(cell(64, micro_batches=1)).values()) == {UNRESOLVED}
