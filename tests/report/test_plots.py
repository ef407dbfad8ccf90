"""Figures of a cell from hand-written tables, and the names of cells on figures."""

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.report import curves
from harness.report.layout import LOWEST
from harness.report.style import short_names


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


def test_nothing_left_to_draw_is_said():
    wild = history([[np.inf]], outcome="diverged")
    assert all("diverged" in axes.texts[0].get_text() for axes in curves.cell_curves(wild, "title").axes)


def ended(costs, outcome, at):
    """Ten replicas with one of `costs` at each checkpoint, nine of which end at checkpoint `at`."""
    table = history([costs] * 10)
    nine = table["replica"] < 9
    table.loc[nine & (table["update"] == at), "outcome"] = outcome
    return table[~nine | (table["update"] <= at)]


def test_with_nine_of_ten_diverged_no_line_falls_calmly():
    figure = curves.cell_curves(ended([4, 3, 2, 1], "diverged", at=2), "title")
    left, right = figure.axes
    cost = line(left, "train").get_ydata()
    assert cost[:2].tolist() == [4, 3]
    assert cost[2] == left.get_ylim()[1] == pytest.approx(3 * 4.4)
    assert np.isnan(cost[3])
    score = right.get_lines()[0].get_ydata()
    assert score[:2].tolist() == [1 / 5, 1 / 4]
    assert score[2] == right.get_ylim()[0] < 1 / 5
    assert "9 of 10 replicas diverged and count as infinite." in [text.get_text() for text in figure.texts]


def test_with_nine_of_ten_at_the_target_the_cells_median_stays():
    figure = curves.cell_curves(ended([4, 0.2, 2, 2], "reached", at=1), "title")
    assert line(figure.axes[0], "train").get_ydata().tolist() == [4, 0.2, 0.2, 0.2]
    assert "9 of 10 replicas reached the target and keep their cost." in [text.get_text() for text in figure.texts]


@pytest.mark.parametrize(("score", "name"), [("validation_accuracy", "accuracy"), ("validation_r2", "R²")])
def test_a_cells_curves_show_train_validation_and_the_score(score, name):
    left, right = curves.cell_curves(history([[4, 2, 1]] * 3, score), "title").axes
    assert line(left, "validation").get_ydata().tolist() == pytest.approx([4.4, 2.2, 1.1])
    assert name in right.get_ylabel()
    assert left.get_xlabel() == right.get_xlabel() == "epochs"


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    ("score", "says"), [("validation_accuracy", "always the most frequent class"), ("validation_r2", "always the mean")]
)
def test_a_cells_score_is_drawn_with_its_baseline(score, says):
    figure = curves.cell_curves(history([[4, 2, 1]] * 3, score), "title", baseline=0.1)
    _, right = figure.axes
    assert list(line(right, says).get_ydata()) == [0.1, 0.1]
    assert keys(figure) == ["train", "validation", says]
    assert right.get_ylim()[0] < 0.1
    assert says not in keys(curves.cell_curves(history([[4, 2, 1]] * 3, score), "title"))


def keys(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_train_and_validation_differ_in_their_dashes_and_are_named_at_their_ends():
    left, _ = curves.cell_curves(history([[4, 2, 1]] * 3), "title").axes
    assert {line(left, name).get_linestyle() for name in ("train", "validation")} == {"-", "--"}
    assert [text.get_text() for text in left.texts] == ["train", "validation"]


def test_a_replica_that_diverged_is_marked_on_its_batch_costs():
    batches = pd.DataFrame({"update": [0, 1, 2], "replica": 0, "batch_cost": [5, 1e-300, 1e200], "epoch": [0, 0.5, 1]})
    for outcome, crosses in (("diverged", [2]), ("completed", [])):
        figure = curves.cell_batch_costs(batches, history([[4, 2, 1e200]], outcome=outcome), "title")
        (axes,) = figure.axes
        (drawn,) = [own for own in axes.get_lines() if own.get_marker() == "X"]
        assert list(drawn.get_xdata()) == crosses
        assert ("first replica diverged" in keys(figure)) == bool(crosses)
        assert axes.get_ylim()[0] >= LOWEST


def test_a_cost_of_zero_is_drawn_on_a_linear_axis():
    left, _ = curves.cell_curves(history([[1, 0.5, 0.0]]), "title").axes
    assert left.get_yscale() == "linear"


@pytest.mark.parametrize("first", [0, 7])
def test_batch_costs_lie_over_the_cost_of_the_whole_set(first):
    """first: replica of a cell or, of a part of one, another than 0."""
    batches = pd.DataFrame({"update": [0, 1, 2], "replica": first, "batch_cost": [5, 1, 3], "epoch": [0, 0.5, 1]})
    (axes,) = curves.cell_batch_costs(batches, history([[4, 2, 1]]).assign(replica=first), "title").axes
    assert axes.get_title().endswith(f"replica {first}")
    assert line(axes, curves.BATCH).get_ydata().tolist() == [1, 3]
    assert line(axes, "whole training set").get_ydata().tolist() == [2, 1]


def test_words_that_all_cells_share_are_left_out():
    assert short_names(["digits B=1 mean", "digits B=8 mean"], 60) == ["B=1", "B=8"]
    assert short_names(["digits B=1 mean"], 60) == ["digits B=1 mean"]
    assert short_names(["same", "same"], 60) == ["same", "same"]
    assert short_names(['m target="price mean"', 'm target="price sum"'], 60) == [
        'target="price mean"',
        'target="price sum"',
    ]
    assert short_names(["s t x", "t s x", "s t y"], 60) == ["s t x", "t s x", "s t y"]  # two would be x


def test_long_names_lose_their_middle_unless_that_is_what_tells_them_apart():
    assert short_names(["a" * 100], 60) == ["a" * 28 + " … " + "a" * 28]
    alike = ["a" * 50 + middle + "a" * 50 for middle in "bc"]
    assert short_names(alike, 60) == alike


WORDS = st.sampled_from(["a", "b", "mean", 't="a b"', '"', "x" * 9 + "y" * 9])


@given(st.lists(st.lists(WORDS, max_size=5).map(" ".join), max_size=6))
def test_no_two_labels_get_one_name(labels):
    names = short_names(labels, 12)
    assert len(set(zip(labels, names, strict=True))) == len(set(labels)) == len(set(names))


FRESH = """
import sys
from pathlib import Path
from harness.report import curves
from harness.report.encoding import save
from tests.report.test_plots import BATCHES, history
save(curves.cell_figures(history([[2, 1]]), BATCHES, "title"), Path(sys.argv[1]))
print("matplotlib.pyplot" in sys.modules)
"""
BATCHES = pd.DataFrame({"update": [0, 1], "replica": 0, "batch_cost": [5, 1], "epoch": [0, 0.5]})


@pytest.mark.slow
def test_figures_need_no_display_and_leave_no_state(tmp_path):
    """In a process of its own: whatever else this one has imported is not the figures' doing."""
    environment = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "MPLBACKEND")}
    command = [sys.executable, "-c", FRESH, str(tmp_path / "new")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert done.stdout == "False\n"
    assert done.stderr == ""
    for name in ("curves", "batch_costs"):
        assert (tmp_path / "new" / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
