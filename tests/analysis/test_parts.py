"""Parts of cells, trained at different times, are one cell in every table."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from configs import configured

from harness.analysis import SweepCell, answer, joined, sweep_data
from harness.data import Dataset
from harness.training import Cell, identify, tables

CLOCKS = ("train_seconds", "to_target_seconds", "time/", "to_target/seconds", "seconds", "cell", "more_runs", "run_id")
BATCH_SIZES = (1, 8, "full")


def dataset() -> Dataset:
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    X = 2 * rng.normal(size=(60, 4)) + y[:, None] * [1.0, -1.0, 2.0, 0.0]
    return Dataset("three", "classification", X, y, ("a", "b", "c"), "digest")


def trained(**changes: Any) -> SweepCell:
    config = configured(learning_rate=1.0, target=0.6, epochs=4, **changes)
    cell = Cell(config, dataset())
    for _ in cell.train():
        pass
    result, identity = cell.result(), identify(config, dataset())
    replicas = tables.replicas(result, config)
    found = {"summary": tables.summary(result, replicas), "outcome": str(tables.cell_outcome(replicas))}
    history = tables.history(result, config)
    return SweepCell(identity, "FINISHED", run_id=identity.signature, replicas=replicas, history=history, **found)


def part(first: int, seeds: int, batch_size: int | str) -> SweepCell:
    return trained(first_replica=first, seeds=seeds, batch_size=batch_size)


def but_clocks(table: pd.DataFrame) -> pd.DataFrame:
    return table[[name for name in table if not name.startswith(CLOCKS)]]


@pytest.fixture(scope="module")
def whole() -> list[SweepCell]:
    return [trained(seeds=7, batch_size=B) for B in BATCH_SIZES]


@pytest.fixture(scope="module")
def parts() -> list[SweepCell]:
    """In an order in which no launcher would end them."""
    return [part(*ends, B) for ends in ((5, 7), (0, 2), (2, 5)) for B in BATCH_SIZES]


def test_joined_parts_are_the_whole_sweep_table_by_table(whole, parts):
    one, other = sweep_data("", {}, whole), sweep_data("", {}, joined(parts))
    assert set(other.cells["more_runs"].str.count(" ")) == {1}
    for name in ("cells", "replicas", "histories"):
        mine, theirs = (
            but_clocks(getattr(data, name)).drop(columns="reason", errors="ignore") for data in (other, one)
        )
        pd.testing.assert_frame_equal(mine, theirs[list(mine)], check_exact=True)
        assert set(mine) == set(theirs)


def test_their_answer_is_that_of_the_whole_sweep(whole, parts):
    one, other = answer(sweep_data("", {}, whole)), answer(sweep_data("", {}, joined(parts)))
    for name in ("best", "targets", "fits", "frontier", "cells"):
        mine, theirs = (but_clocks(getattr(found, name)) for found in (other, one))
        pd.testing.assert_frame_equal(mine, theirs, check_exact=True)
    pairs = [[lead.comparison for headline in found.headlines for lead in headline.leads] for found in (one, other)]
    assert pairs[0] == pairs[1]
    assert len(pairs[0]) == 2


def test_a_part_that_has_not_finished_ends_the_cell_and_what_nothing_comes_before_stays_alone(parts):
    last, first, middle = (next(one for one in parts if _ends(one) == ends) for ends in ((5, 7), (0, 2), (2, 5)))
    lost = replace(middle, status="KILLED", replicas=None, history=None, summary={})
    (cell,) = joined([last, first, lost])
    assert len(cell.replicas) == 2
    assert (cell.status, cell.more_runs, cell.run_id) == ("FINISHED", (), first.run_id)
    alone = joined([last, first])
    assert [_ends(one) for one in alone] == [(5, 7), (0, 2)]
    assert [len(one.replicas) for one in alone] == [2, 2]
    (unfinished,) = joined([replace(first, status="KILLED", replicas=None, history=None), middle, last])
    assert (unfinished.status, unfinished.replicas) == ("KILLED", None)


def test_of_parts_that_begin_alike_the_finished_and_longest_counts(parts):
    first, middle = (next(one for one in parts if _ends(one) == ends) for ends in ((0, 2), (2, 5)))
    longer = part(2, 6, 1)
    assert [len(one.replicas) for one in joined([first, middle, longer])] == [6, 3]
    waiting = replace(longer, status="MISSING", replicas=None, history=None)
    assert joined([first, middle, waiting])[0].identity.values["seeds"] == 5


def _ends(cell: SweepCell) -> tuple[int, int]:
    return cell.identity.values.get("first_replica", 0), cell.identity.values["seeds"]
