"""Figures from hand-written tables: what is drawn, where it lies, and that no case is left empty or crashes."""

import sys

import numpy as np
import pandas as pd
import pytest

from harness.report import plots


def history(costs, score="validation_accuracy", outcome="completed"):
    """One replica per row of costs (R, checkpoints), ending with `outcome`."""
    costs = np.atleast_2d(np.asarray(costs, dtype=float))
    n_replicas, n_checkpoints = costs.shape
    update = np.tile(np.arange(n_checkpoints), n_replicas)
    return pd.DataFrame(
        {
            "replica": np.repeat(np.arange(n_replicas), n_checkpoints),
            "update": update,
            "epoch": update / 2,
            "examples": update * 10,
            "train_seconds": update * 1e-3,
            "train_cost": costs.ravel(),
            "validation_cost": costs.ravel() * 1.1,
            score: 1 / (1 + costs.ravel()),
            "outcome": np.where(update == n_checkpoints - 1, outcome, ""),
        }
    )


def line(axes, label):
    (found,) = [drawn for drawn in axes.get_lines() if drawn.get_label() == label]
    return found


def test_the_comparison_draws_the_median_of_every_cell_on_both_clocks():
    costs = [[4, 2, 1], [4, 3, 2], [4, 2.5, 1.5]]
    figure = plots.comparison({"iris B=1 mean": history(costs), "iris B=8 mean": history([[4, 3.5, 3]])}, "title")
    by_epoch, by_second = figure.axes
    assert line(by_epoch, "B=1").get_ydata().tolist() == [4, 2.5, 1.5]
    assert line(by_epoch, "B=1").get_xdata().tolist() == [0, 0.5, 1]
    assert line(by_second, "B=8").get_xdata().tolist() == [0.001, 0.002]  # a log axis has no 0
    assert by_epoch.get_yscale() == by_second.get_xscale() == "log"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["B=1", "B=8"]
    assert "seconds" in by_second.get_xlabel()


def test_a_cell_with_a_diverged_replica_is_marked_where_it_ends():
    cells = {"fine": history([[4, 2, 1]]), "wild": history([[4, 8, np.nan]], outcome="diverged")}
    by_epoch = plots.comparison(cells, "title").axes[0]
    crosses = [drawn for drawn in by_epoch.get_lines() if drawn.get_marker() == "X"]
    assert [(c.get_xdata()[0], c.get_ydata()[0]) for c in crosses] == [(0.5, 8)]


@pytest.mark.parametrize("n_cells", [1, 2, 7, 8, 40, pytest.param(200, marks=pytest.mark.slow)])
def test_any_number_of_cells_keeps_its_legend_inside_the_figure(n_cells):
    cells = {f"digits B={2**i % 1000} η={i} mean": history([[4, 2, 1 + i]]) for i in range(n_cells)}
    figure = plots.comparison(cells, "title")
    figure.canvas.draw()
    box = figure.legends[0].get_window_extent()
    assert box.x0 >= figure.axes[1].get_window_extent().x1
    assert box.x1 <= figure.bbox.x1
    assert box.y0 >= 0


def test_nothing_left_to_draw_is_said():
    wild = history([[np.inf]], outcome="diverged")
    for figure in (plots.comparison({"wild": wild}, "title"), plots.cell_curves(wild, "title")):
        assert all("diverged" in axes.texts[0].get_text() for axes in figure.axes)


@pytest.mark.parametrize(("score", "name"), [("validation_accuracy", "accuracy"), ("validation_r2", "R²")])
def test_a_cells_curves_show_train_validation_and_the_score(score, name):
    left, right = plots.cell_curves(history([[4, 2, 1]] * 3, score), "title").axes
    assert line(left, "validation").get_ydata().tolist() == pytest.approx([4.4, 2.2, 1.1])
    assert name in right.get_ylabel()
    assert left.get_xlabel() == right.get_xlabel() == "epochs"


def test_a_cost_of_zero_is_drawn_on_a_linear_axis():
    left, _ = plots.cell_curves(history([[1, 0.5, 0.0]]), "title").axes
    assert left.get_yscale() == "linear"


def test_batch_costs_lie_over_the_cost_of_the_whole_set():
    batches = pd.DataFrame({"update": [0, 1, 2], "replica": 0, "batch_cost": [5, 1, 3], "epoch": [0, 0.5, 1]})
    (axes,) = plots.cell_batch_costs(batches, history([[4, 2, 1]]), "title").axes
    assert line(axes, plots.BATCH).get_ydata().tolist() == [1, 3]
    assert line(axes, "whole training set").get_ydata().tolist() == [2, 1]


def test_words_that_all_cells_share_are_left_out_of_the_legend():
    assert plots.distinct_words(["digits B=1 mean", "digits B=8 mean"]) == ["B=1", "B=8"]
    assert plots.distinct_words(["digits B=1 mean"]) == ["digits B=1 mean"]
    assert plots.distinct_words(["same", "same"]) == ["same", "same"]


def test_figures_need_no_display_and_leave_no_state(tmp_path):
    plots.save(plots.comparison({"a": history([[2, 1]])}, "title"), tmp_path / "new" / "figure.png")
    assert (tmp_path / "new" / "figure.png").read_bytes()[:4] == b"\x89PNG"
    assert "matplotlib.pyplot" not in sys.modules
