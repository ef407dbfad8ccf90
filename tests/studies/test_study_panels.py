"""The figure of a finding: what its axes are made of."""

from harness.analysis.study import BATCH_SIZE, Panel, Series
from harness.report.findings import finding_figure


def test_an_axis_of_batch_sizes_has_its_ticks_at_the_sizes_of_the_data_not_at_those_of_a_reference():
    data, reference = Series("data", [1, 64], [1, 2]), Series("∝ B", [1, 3, 9, 27], [1, 3, 9, 27], kind="reference")
    figure = finding_figure("title", "note", [Panel("panel", BATCH_SIZE, "rate", [data, reference])])
    assert sorted(figure.axes[0].get_xticks()) == [1, 64]


def test_a_panel_without_data_says_so():
    figure = finding_figure("title", "note", [Panel("panel", BATCH_SIZE, "rate", [])])
    assert "nothing to show" in [text.get_text() for text in figure.axes[0].texts]
