"""Seconds in a sweep's tables and its answer: those of the blocks, with their scatter; or nothing is concluded."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from synthetic import cell, evidence

from harness.analysis.answers import answer
from harness.analysis.comparisons import CLOCK_COLUMNS, compare, spent
from harness.analysis.courses import Courses
from harness.analysis.headlines import headlines
from harness.analysis.sweep_tables import SweepCell, SweepData, sweep_data
from harness.analysis.timing import BLOCKS, ONE_READING, interruption, usable
from harness.report.notes import note
from harness.training import Identity, Plan

SECONDS = {"train seconds": CLOCK_COLUMNS["train seconds"]}


def blocks_of(seconds: dict[str, list[float]], interrupted: bool = False) -> pd.DataFrame:
    """signature -> seconds per update of its blocks; CPU time is half of it."""
    rows = [(key, key, k, s, s / 2, interrupted) for key, own in seconds.items() for k, s in enumerate(own)]
    columns = ["signature", "work", "block", "update_seconds", "update_cpu_seconds", "interrupted"]
    return pd.DataFrame(rows, columns=columns)


def one_cell(batch_size: int = 4) -> SweepCell:
    """Three replicas with 10 updates of 4 examples, of which the first two reach a target after 5 and 6."""
    update = [0, 10]
    history = pd.DataFrame(
        {
            "replica": np.repeat(range(3), 2), "update": update * 3, "epoch": [0, 1] * 3, "examples": [0, 40] * 3,
            "train_seconds": [0, 99.0] * 3, "train_cost": 1.0, "validation_cost": 1.0, "outcome": ["", "completed"] * 3,
        }
    )  # fmt: skip
    reached = {"to_target_updates": [5, 6, np.nan], "to_target_seconds": [50, 60, np.nan]}
    replicas = {"replica": range(3), "outcome": "completed", "final_train_cost": 1.0, "best_validation_cost": 1.0}
    values = {"dataset.name": "made", "batch_size": batch_size, "learning_rate": 0.1, "reduction": "mean"}
    plan = Plan(40, batch_size, 0.1, "keep", 10, (2, 1), "", 0.1, 0.1 / batch_size)
    summary = {"time/update_us": 9.9e6, "time/train_seconds": 99.0, "to_target/updates": 6.0, "to_target/seconds": 60.0}
    rest = {"target": None, "target_on": "train"}
    return SweepCell(
        Identity(f"id {batch_size}", values | rest, "", "", plan), "FINISHED", "completed", summary=summary,
        replicas=pd.DataFrame({**replicas, **reached}), history=history,
    )  # fmt: skip


def test_every_time_of_a_cell_is_updates_times_the_blocks_of_its_replicas():
    data = sweep_data("made", {}, [one_cell()], blocks_of({"id 4": [1.0, 2.0]}))
    assert (data.timing, data.n_blocks) == (BLOCKS, 2)
    assert data.histories["train_seconds"].tolist() == [0, 10, 0, 20, 0, 10]
    assert data.replicas["to_target_seconds"].tolist()[:2] == [5, 12]
    (row,) = data.cells.to_dict("records")
    times = {key.removeprefix("time/"): row[key] for key in row if key.startswith("time/")}
    expected = {"update_us": 1.5e6, "update_us_q25": 1.25e6, "update_us_q75": 1.75e6, "example_us": 1.5e6 / 4}
    assert times == expected | {"train_seconds": 15.0}
    assert row["to_target/seconds"] == 12


@pytest.mark.parametrize(
    "blocks",
    [
        None,
        blocks_of({"id 4": [1.0, 2.0]}),
        blocks_of({"id 4": [1.0, 2.0], "id 8": [1.0]}),
        blocks_of({"id 4": [1.0, 2.0], "id 8": [1.0, np.nan]}),
        blocks_of({"id 4": [1.0, 2.0], "id 8": [1.0, 2.0]}).drop(columns="block"),
    ],
)
def test_without_several_blocks_of_every_cell_nothing_is_concluded_from_seconds(blocks):
    assert not usable(blocks, ["id 4", "id 8"])
    data = sweep_data("made", {}, [one_cell(4), one_cell(8)], blocks)
    assert (data.timing, data.blocks, data.n_blocks) == (ONE_READING, None, None)
    assert data.histories["train_seconds"].max() == 99
    assert data.cells["time/train_seconds"].tolist() == [99, 99]


@pytest.fixture(scope="module")
def swept() -> SweepData:
    return evidence(cell(1), cell(64), answered=False).data


def test_a_sweep_of_single_readings_says_so_and_has_no_winner_at_equal_seconds(swept):
    data = replace(swept, timing=ONE_READING, blocks=None)
    found = answer(data)
    assert {lead.clock for each in found.headlines for lead in each.leads} == {"epochs", "updates"}
    assert found.targets["seconds"].isna().all()
    assert found.cells["seconds_to_target"].isna().all()
    words = note(data, found)
    assert "Seconds: one reading of each cell's clock; nothing is concluded from them." in words
    assert "| µs/update, of each training |" in words


def test_an_interruption_is_said(swept):
    assert interruption(swept.blocks) == ""
    once = swept.blocks.assign(interrupted=np.arange(len(swept.blocks)) == 0)
    assert interruption(once).startswith("1 of 40 blocks was interrupted")
    at = swept.blocks["block"] < 3
    stopped = swept.blocks.assign(interrupted=at, update_cpu_seconds=swept.blocks["update_seconds"] / (1 + 2 * at))
    data = replace(swept, blocks=stopped)
    words = note(data, answer(data))
    assert "Seconds were measured in 20 or more short blocks of each cell, in turns after training; 6 of 40" in words
    assert "| µs/update, in blocks |" in words
    assert "6 of 40 blocks were interrupted (the process was stopped, or others had its CPU) and took 3 times" in words


def test_the_budget_at_equal_seconds_is_what_every_replica_has_spent():
    """The slowest of cell A has 8 s, the fastest of B has made all its updates in 6; one that diverged counts not."""
    rows = {"replica": [0, 1, 2], "train_seconds": [8.0, 6.0, 1.0], "update": [5, 5, 1]}
    history = pd.DataFrame({**rows, "outcome": ["completed", "completed", "diverged"]})
    assert spent(history, "train_seconds") == 6
    assert spent(history, "update") == 5


def null_pairs(n_pairs: int) -> SweepData:
    """Pairs of arms of equal speed that learn alike; the clock of each errs by 5 %."""
    about = {"n_updates": 60, "update_us": 100.0, "block_noise": 0.05, "noise": 0.03}
    cells = [cell(B, dataset=f"d{i}", **about) for i in range(n_pairs) for B in (32, 64)]
    return evidence(*cells, answered=False).data


def n_resolved(data: SweepData, histories: pd.DataFrame) -> int:
    """Each pair as a sweep of its own."""
    found = []
    for _, own in histories.groupby("setting"):
        cells = data.cells[data.cells["cell"].isin(own["cell"])]
        (headline,) = headlines(cells, Courses(own), SECONDS, data.n_blocks)
        compare(headline.leads)
        found += headline.leads
    return sum(lead.comparison.verdict in ("a lower", "b lower") for lead in found)


@pytest.mark.slow
def test_arms_that_are_alike_are_resolved_in_few_of_forty_pairs():
    """5 % of them; of single readings, which all replicas of an arm share, most are."""
    data = null_pairs(40)
    first = data.blocks.groupby("signature")["update_seconds"].first()
    single = data.histories.assign(train_seconds=data.histories["update"] * data.histories["cell"].map(first))
    assert n_resolved(data, data.histories) <= 5  # the 98.6 % point of Binomial(40, 0.05)
    assert n_resolved(data, single) >= 15
