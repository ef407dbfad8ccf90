"""The table of cells that a terminal shows."""

import numpy as np
import pytest

from harness.report.terminal import MOST_ROWS, cells_table
from tests.synthetic import cell, evidence


def lines(*cells, width=80, **options):
    one = evidence(*cells, **options)
    return cells_table(one.data, one.answer).lines(width), one.data


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_no_line_is_wider_than_the_terminal(width):
    cells = [
        cell(b, r, red, final=None if r > 1 else 0.1) for b in (1, 512) for r in (0.001, 3) for red in ("sum", "mean")
    ]
    shown, _ = lines(*cells, width=width)
    table = shown[: len(cells) + 1]
    assert max(map(len, table)) <= width
    assert all(line.startswith("B=") for line in table[1:])


def test_the_best_cell_comes_first_and_a_diverged_one_last():
    shown, data = lines(cell(1, final=0.3), cell(8, final=0.1), cell(64, final=None))
    assert [line.split()[0] for line in shown[1:4]] == ["B=8", "B=1", "B=64"]
    assert f"{data.cells['score'].min():.3g}" in shown[1]
    assert "10/10 diverged" in shown[3]


def test_of_many_cells_the_best_are_shown_and_the_others_counted():
    shown, _ = lines(*[cell(b, r) for b in (1, 2, 4, 8, 16) for r in (0.1, 0.2, 0.3, 0.4, 0.5)])
    assert sum(line.startswith("B=") for line in shown) == MOST_ROWS
    assert "and 5 more in the report" in shown


def test_a_cell_that_is_missing_says_why():
    one = evidence(cell(1), cell(8))
    cells = one.data.cells
    cells.loc[1, ["status", "reason", "score", "q25", "q75"]] = ["FAILED", "no ink", np.nan, np.nan, np.nan]
    assert any("no ink" in line for line in cells_table(one.data, one.answer).lines())


def test_the_quartiles_have_the_digits_of_the_median_between_them():
    one = evidence(cell(1), cell(8))
    one.data.cells.loc[0, ["score", "q25", "q75"]] = [1.27, 1.2541, 1.2901]
    assert any("1.27   [1.25, 1.29]" in line for line in cells_table(one.data, one.answer).lines())


def test_the_standing_on_each_clock_is_one_line():
    shown, _ = lines(cell(1, final=0.05), cell(64, final=0.5))
    assert shown[-1].startswith("equal epochs: resolved")
