"""What is asked of all replicas at once is what a loop over them finds, to the bit."""

import numpy as np
import pandas as pd
import pytest

from harness.analysis.batch_sizes import updates_to_target
from harness.analysis.courses import Courses
from harness.inference import median_interval, median_intervals
from harness.training import to_target

BUDGETS = (0.0, 1.0, 2.5, 3.0, 1e9)


def drawn(seed: int, n_cells: int = 12) -> pd.DataFrame:
    """Histories of cells whose replicas end at different checkpoints, diverge, or have a cost of 0 or none."""
    rng, rows = np.random.default_rng(seed), []
    for cell in rng.permutation(n_cells):
        for replica in rng.permutation(rng.integers(1, 5)):
            n = rng.integers(1, 7)
            cost = np.round(rng.lognormal(size=n), 1)
            cost[rng.random(n) < 0.1] = np.inf
            outcome = ["completed"] * (n - 1) + [str(rng.choice(["diverged", "completed", "reached"]))]
            steps = enumerate(zip(cost, outcome, strict=True))
            rows += [(f"c{cell}", replica, i, 0.7 * i, i / 3, c, c * 1.1, how) for i, (c, how) in steps]
    names = ["cell", "replica", "update", "train_seconds", "epoch", "train_cost", "validation_cost", "outcome"]
    table = pd.DataFrame(rows, columns=names).assign(setting="s")
    return table.sort_values(["cell", "update"], kind="stable", ignore_index=True)  # as a history: by checkpoints


def replicas_of(table: pd.DataFrame) -> list[pd.DataFrame]:
    return [own for _, own in table.groupby(["cell", "replica"], sort=True)]


@pytest.mark.sample(12)
@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("column", ["update", "train_seconds"])
def test_costs_at_a_budget_are_those_of_a_loop(seed, column):
    table = drawn(seed)
    courses = Courses(table)
    own, n = courses.of(sorted(courses.cells))
    assert n.sum() == len(replicas_of(table))
    for budget in BUDGETS:
        expected = []
        for rows in replicas_of(table):
            x, last = rows[column].to_numpy(float), rows.iloc[-1]
            with np.errstate(divide="ignore"):
                cost = np.exp(np.interp(budget, x, np.log(rows["train_cost"].to_numpy())))
            lost = last["outcome"] == "diverged" and last[column] <= budget
            expected.append(np.inf if lost or np.isnan(cost) else cost)
        assert courses.costs_at(own, column, budget).tolist() == expected


@pytest.mark.parametrize("seed", range(20))
def test_what_was_spent_is_that_of_a_loop(seed):
    table = drawn(seed)
    courses = Courses(table)
    cells = sorted(courses.cells)
    found = courses.spent(*courses.of(cells), "update")
    for cell, most in zip(cells, found, strict=True):
        last = [rows.iloc[-1] for rows in replicas_of(table[table["cell"] == cell])]
        assert most == min((row["update"] for row in last if row["outcome"] != "diverged"), default=np.inf)


@pytest.mark.sample(12)
@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("on", ["train", "validation"])
def test_updates_to_target_are_those_of_a_loop(seed, on):
    table = drawn(seed)
    cells = table[["cell", "setting"]].drop_duplicates().assign(target_on=on)
    found = updates_to_target(table, {"s": 0.9}, cells)
    assert any(np.isfinite(own["updates"]).any() for own in found.values())
    for cell, own in found.items():
        with np.errstate(divide="ignore", invalid="ignore"):  # of costs that are 0 or infinite
            rows = [to_target(one, 0.9, on) for one in replicas_of(table[table["cell"] == cell])]
        for axis, values in own.items():
            assert values.tolist() == [np.nan_to_num(row[f"to_target_{axis}"], nan=np.inf) for row in rows]


def test_intervals_of_many_medians_are_those_of_each():
    rng = np.random.default_rng(0)
    samples = [rng.choice([1.0, 2.0, 3.5, np.inf, np.nan], size=n) for n in rng.integers(0, 12, size=60)]
    each = [median_interval(sample) for sample in samples]
    expected = [[one.estimate for one in each], [one.low for one in each], [one.high for one in each]]
    assert np.array_equal(median_intervals(samples), expected, equal_nan=True)
