"""accumulation_cost on sweeps made by hand: what is planted is found, what is not is not."""

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest
from synthetic import cell, evidence

from experiments import accumulation_cost as study
from harness.analysis.study import judged
from harness.inference import Verdict
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
    swept = evidence(*cells, n_replicas=n_replicas, answered=False)
    findings = judged(studies.definition("accumulation_cost"), study.judge, swept)
    assert not any("nan" in finding.sentence for finding in findings)
    return {finding.claim: finding.verdict for finding in findings}


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


def test_a_best_rate_on_the_edge_makes_no_claim():
    assert verdicts(*two_ways({"digits": 4.0, "wine": 3.0}, best=RATES[-1]))["K8"] is UNRESOLVED


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
    assert found.sentence.endswith("in multiples of a tenth of the initial cost: 1 supported; 1.5 to 2 refuted.")


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
