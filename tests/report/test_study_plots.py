"""Figures of findings: a panel that is a table, and lines of many points."""

import numpy as np
import pytest

from harness.analysis.study import Panel, Series
from harness.report.findings import ALONG, finding_figure

pytestmark = pytest.mark.slow  # sweeps made by hand, answered many times

NAMES = ["sgd, B=64: η/B", "weight decay λ: η/B, λB", "adam: η, εB"]


def test_names_along_y_are_the_rows_of_a_table_from_the_top():
    panel = Panel("", "residual", "", [Series("digits", [1e-12, 1e-3, 1.0], [0, 1, 2], kind="marks")], "x", NAMES, "y")
    figure = finding_figure("C2: title", "note", [panel])
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.get_yticklabels()] == NAMES
    bottom, top = axes.get_ylim()
    assert bottom > top
    figure.draw_without_rendering()
    assert all(text.get_window_extent().x0 >= 0 for text in axes.get_yticklabels())


def test_a_long_line_has_few_marks():
    x = np.arange(1.0, 61)
    (axes,) = finding_figure("", "", [Panel("", "epochs", "cost", [Series("derived", x, x)])]).axes
    (line,) = axes.get_lines()
    assert len(x[:: line.get_markevery()]) <= 60 // (60 // ALONG)
