"""Figures of sweeps from hand-made tables: what is drawn lies where the table says, whatever the sweep looks like."""

import io
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.collections import PolyCollection
from matplotlib.text import Text
from scipy.optimize import nnls

from harness.analysis import SweepData
from harness.report import clocks as clock_plots
from harness.report import figures, medians, sweep_figures
from harness.report.layout import log_limits
from harness.report.rates import rate_heatmaps, stability
from harness.report.style import plain
from harness.report.sweep_figures import outcomes
from harness.report.targets import to_target
from harness.training import curve

N = 1437
UPDATES = (0, 1, 3, 10, 30)


def sweep(sizes=(1, 64, N), rates=(0.01, 0.1, 1.0), reductions=("sum", "mean"), settings=("digits",), **options):
    """The six tables of a sweep in which a cell diverges where its lr_mean exceeds `limit`."""
    options = {"replicas": 3, "limit": 5.0, "target": 0.7, "whole": True} | options
    keys = [(f, r, b, rate) for f in settings for r in reductions for b in sizes for rate in rates]
    cells = pd.DataFrame([cell(*key, **options) for key in keys])
    histories = pd.DataFrame([row for own in cells.to_dict("records") for row in history(own)])
    groups = [own for _, own in cells.groupby(["setting", "reduction", "batch_size"], sort=False)]
    best = pd.DataFrame([best_rate(own) for own in groups if np.isfinite(own["score"]).any()], columns=BEST)
    targets = pd.DataFrame([time_to_target(own, **options) for own in groups])
    fits = pd.DataFrame([fit(*key) for key in sorted({(f, r) for f, r, _, _ in keys})])
    frontier = pd.DataFrame([edge_of_stability(own) for own in groups])
    cells = cells.assign(train_cost_at_equal_epochs=cells["score"])
    return SimpleNamespace(cells=cells, histories=histories, best=best, targets=targets, fits=fits, frontier=frontier)


BEST = [
    "setting", "reduction", "batch_size", "learning_rate", "lr_mean", "cell", "score", "edge", "low_rate", "high_rate",
    "n_rates",
]  # fmt: skip


def cell(setting, reduction, size, rate, replicas, limit, **_):
    lr_mean = rate * (size if reduction == "sum" else 1)
    lost = lr_mean > limit
    score = np.inf if lost else 2.3 / (1 + 30 * lr_mean)
    return {
        "dataset": setting.split()[0],
        "task": setting.split()[0],
        "setting": setting,
        "cell": f"{abs(hash((setting, reduction, size, rate))):x}",
        "name": f"B={size} (η={rate:g}, {reduction})",
        "label": f"{setting} B={size} η={rate:g} {reduction}",
        "status": "FINISHED",
        "target_on": "train",
        "batch_size": size,
        "learning_rate": rate,
        "lr_mean": lr_mean,
        "lr_per_example": lr_mean / size,
        "reduction": reduction,
        "n_train": N,
        "score": score,
        "q25": score * 0.9,
        "q75": score * 1.2,
        "n_replicas": replicas,
        "n_diverged": replicas if lost else 1 if lr_mean > limit / 2 and replicas > 1 else 0,
        "time/update_us": 45 + 0.9 * size,
        "time/example_us": 45 / size + 0.9,
    }


def history(cell):
    named = {key: cell[key] for key in ("setting", "cell", "batch_size", "learning_rate", "reduction")}
    for replica in range(cell["n_replicas"]):
        lost = replica < cell["n_diverged"]
        ended = "diverged" if lost else "completed"
        for update in UPDATES:
            cost = 2.3 * (4.0**update if lost else 1 / (1 + (1 + replica / 10) * update * cell["lr_mean"]))
            clocks = {"examples": update * cell["batch_size"], "train_seconds": update * 1e-4, "update": update}
            costs = {"train_cost": cost, "validation_cost": cost, "epoch": clocks["examples"] / N}
            outcome = ended if update == UPDATES[-1] else ""
            yield named | clocks | costs | {"replica": replica, "outcome": outcome}


def best_rate(cells):
    best = cells.loc[cells["score"].idxmin()]
    edge = {cells["learning_rate"].min(): "low", cells["learning_rate"].max(): "high"}.get(best["learning_rate"], "")
    kept = best[BEST[:7]].to_dict()
    rate = best["learning_rate"]
    return kept | {"edge": edge, "low_rate": rate / 2, "high_rate": rate * 2, "n_rates": len(cells)}


def time_to_target(cells, target, replicas, **_):
    first = cells.iloc[0]
    updates = 40 * (1 + 100 / first["batch_size"]) if cells["score"].min() <= target else np.inf
    row = {key: first[key] for key in ("setting", "reduction", "batch_size")}
    for clock, unit in (("updates", 1), ("epochs", first["batch_size"] / N), ("seconds", 1e-4)):
        row |= {clock: unit * updates, f"{clock}_low": 0.8 * unit * updates, f"{clock}_high": np.inf}
    chosen = {"learning_rate": first["learning_rate"], "edge": "", "n_rates": len(cells), "disjoint": False}
    return row | chosen | {"n_reached": replicas, "n_replicas": replicas}


def fit(setting, reduction):
    row = {"setting": setting, "reduction": reduction, "s_min": 40.0, "b_crit": 100.0, "resolved": reduction == "sum"}
    return row | {"s_min_low": 30.0, "s_min_high": 50.0, "b_crit_low": 60.0, "b_crit_high": np.inf}


def edge_of_stability(cells):
    first = cells.iloc[0]
    stable = cells.loc[cells["n_diverged"] == 0, "learning_rate"].max()
    unstable = cells.loc[cells["n_diverged"] > 0, "learning_rate"].min()
    kept = {key: first[key] for key in ("setting", "reduction", "batch_size")}
    unit = first["lr_mean"] / first["learning_rate"]
    in_lr_mean = {"stable_lr_mean": unit * stable, "unstable_lr_mean": unit * unstable}
    return kept | {"stable": stable, "unstable": unstable} | in_lr_mean


def clocks(tables, title="title"):
    return clock_plots.clocks(tables.cells, tables.histories, tables.best, title)


def every_figure(tables, title="digits"):
    return [
        *clocks(tables, title).values(),
        to_target(tables.targets, tables.fits, "training cost ≤ 0.7", title),
        sweep_figures.timing(tables.cells, title),
        outcomes(tables.cells, title),
        rate_heatmaps(tables.cells, tables.best, title),
        stability(tables.frontier, title),
    ]


SWEEPS = {
    "both reductions": {"sizes": (1, 64), "rates": (0.01, 1.0)},
    "one cell": {"sizes": (64,), "rates": (0.1,), "reductions": ("mean",)},
    "two cells": {"sizes": (8, 64), "rates": (0.1,), "reductions": ("mean",)},
    "sum only, one replica": {"reductions": ("sum",), "replicas": 1},
    "everything diverged": {"limit": 0.0, "reductions": ("sum",)},
    "nothing diverged, nobody reached the target": {"limit": 1e9, "target": 0.0, "reductions": ("mean",)},
    "settings with long names": {"settings": ("digits", "optimizer=adam " * 8), "reductions": ("mean",)},
    "200 cells": {"sizes": (1, 2, 4, 8, 16, 32, 64, 128, 512, N), "rates": np.geomspace(1e-4, 1, 10), "replicas": 1},
}


LARGE = ("settings with long names", "200 cells")


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [pytest.param(s, id=name, marks=[pytest.mark.slow] * (name in LARGE)) for name, s in SWEEPS.items()]
)
def test_no_figure_is_empty_and_every_word_stays_inside(options):
    """Words in axes lie within the figure, and the key below lies under all axes and their labels."""
    for figure in every_figure(sweep(**options), title="digits: a title that is rather long, " * 3):
        for words in [*figure.texts, *figure.legends]:
            assert inside(words.get_window_extent(), figure.bbox), words
        keys = max((key.get_window_extent().y1 for key in figure.legends), default=0)
        for axes in figure.axes:
            box = axes.get_tightbbox()  # around labels, ticks, words and marks
            assert inside(box, figure.bbox)
            assert box.y0 >= keys
            assert axes.lines or axes.collections or axes.texts


def inside(box, outer, slack=1.0):
    return (
        outer.x0 - slack <= box.x0
        and box.x1 <= outer.x1 + slack
        and outer.y0 - slack <= box.y0
        and box.y1 <= outer.y1 + slack
    )


@pytest.mark.slow
def test_figures_are_drawn_without_a_warning():
    for figure in every_figure(sweep()):
        figure.savefig(io.BytesIO())


def test_costs_beyond_any_axis_do_no_harm():
    tables = sweep(sizes=(1, 64))
    tables.histories.loc[tables.histories["train_cost"] > 100, "train_cost"] = 1e300
    figure = clocks(tables)["digits"]
    figure.savefig(io.BytesIO())
    assert figure.axes[0].get_ylim()[1] == pytest.approx(3 * 2.3)


def figures_of(tables, timing="blocks"):
    data = SweepData("digits", {}, tables.cells, pd.DataFrame(), tables.histories, timing)
    return figures(data, SimpleNamespace(**vars(tables), targets_at={"digits": 0.7}, headlines=[], exponents={}))


def test_a_sweep_without_a_finished_cell_has_no_figures():
    tables = sweep()
    tables.cells["status"] = "FAILED"
    assert figures_of(tables) == {}


@pytest.mark.sample(2)
@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, {"clocks", "to_target", "timing", "slices", "learning_rates", "stability", "outcomes"}),
        ({"sizes": (64,), "rates": (0.1,), "reductions": ("mean",)}, {"clocks"}),
        ({"rates": (0.01,), "reductions": ("mean",)}, {"clocks", "to_target", "timing"}),  # clocks show all three ends
        ({"sizes": (64,), "limit": 1e9, "reductions": ("mean",)}, {"clocks", "slices", "outcomes"}),
    ],
)
def test_a_sweep_has_the_figures_of_what_it_varied(options, names):
    assert set(figures_of(sweep(**options))) == names


def test_seconds_that_do_not_compare_are_not_drawn():
    drawn = figures_of(sweep(), timing="one reading")
    assert "timing" not in drawn
    seconds = drawn["clocks"].axes[3]
    assert not seconds.lines
    assert "do not compare" in seconds.texts[0].get_text()


@pytest.mark.slow
def test_no_figure_shows_a_signature():
    tables = sweep(sizes=(1, 64), rates=(0.1, 1.0), settings=("digits", "iris"))
    for figure in figures_of(tables).values():
        shown = " ".join(text.get_text() for text in figure.findobj(Text))
        assert not any(cell in shown for cell in tables.cells["cell"])


def notes_of(figure):
    return " ".join(" ".join(text.get_text() for text in figure.texts).split())


@pytest.mark.sample(1)
@pytest.mark.parametrize(("on", "words"), [("train", "training cost ≤ 0.7"), ("validation", "validation cost ≤ 0.7")])
def test_a_target_is_titled_by_what_it_is_on(on, words):
    tables = sweep()
    tables.cells["target_on"] = on
    assert f"Target: {words}, at the best learning rate tried" in notes_of(figures_of(tables)["to_target"])


def test_each_setting_has_its_own_target():
    tables = sweep(settings=("digits", "digits target_on=validation"))
    tables.cells["target_on"] = tables.cells["setting"].map(lambda s: "validation" if "validation" in s else "train")
    goals = {"digits": 0.7, "digits target_on=validation": 0.4}
    words = "digits: training cost ≤ 0.7; digits target_on=validation: validation cost ≤ 0.4"
    assert sweep_figures._goals(tables.cells, goals) == words


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    ("rates", "words"),
    [((0.1,), "at the only learning rate tried"), ((0.1, 1.0), "at the best learning rate tried of each batch size.")],
)
def test_one_rate_is_not_called_the_best(rates, words):
    tables = sweep(rates=rates, limit=1e9)
    assert words in notes_of(figures_of(tables)["to_target"])


def test_where_some_batch_sizes_have_one_rate_only_that_is_said():
    tables = sweep(limit=1e9)
    tables.targets.loc[0, "n_rates"] = 1
    assert "which for some is the only one." in notes_of(figures_of(tables)["to_target"])


# Clocks


def line(axes, label):
    (found,) = [drawn for drawn in axes.get_lines() if drawn.get_label() == label]
    return found


def crosses(axes):
    drawn = [line for line in axes.get_lines() if line.get_marker() == "X"]
    return sorted((float(x), float(y)) for line in drawn for x, y in zip(*line.get_data(), strict=True))


def test_a_cell_is_drawn_on_four_clocks_at_the_medians_of_its_replicas():
    tables = sweep(sizes=(64,), rates=(0.01, 0.1), reductions=("mean",))
    figure = clocks(tables)["digits"]
    table = curve(tables.histories[tables.histories["learning_rate"] == 0.1], "train_cost")
    for axes, clock in zip(figure.axes, ("epoch", "update", "examples", "train_seconds"), strict=True):
        shown = table if clock == "epoch" else table[table["update"] > 0]  # a log axis has no 0
        drawn = line(axes, "η=0.1")
        assert drawn.get_xdata() == pytest.approx(shown[clock].to_numpy())
        assert drawn.get_ydata() == pytest.approx(shown["median"].to_numpy())
    assert "updates" in figure.axes[1].get_xlabel()
    assert "seconds" in figure.axes[3].get_xlabel()


def test_of_many_cells_the_best_are_in_colour_and_the_rest_in_grey():
    tables = sweep(rates=(0.003, 0.01, 0.03, 0.1))
    axes = clocks(tables)["digits"].axes[1]
    grey, *coloured = [drawn for drawn in axes.get_lines() if drawn.get_marker() != "X"]
    others = tables.cells[~tables.cells["cell"].isin(tables.best["cell"])]
    n_points = (others["n_diverged"] < others["n_replicas"]).sum() * (len(UPDATES) - 1)
    n_early = (others["n_diverged"] == others["n_replicas"]).sum() * (len(UPDATES) - 1)
    assert np.isfinite(grey.get_ydata()).sum() == n_points + n_early  # the last of these at the edge
    assert len(coloured) == len(tables.best)
    assert {drawn.get_linestyle() for drawn in coloured} == {"-", "--"}


def test_crosses_lie_where_the_first_replica_diverged_at_the_edge_if_above():
    tables = sweep(sizes=(1,), rates=(1.0, 4.0, 8.0), reductions=("mean",))  # 0, 1 and 3 of 3 diverge
    axes = clocks(tables)["digits"].axes[1]
    some = curve(tables.histories[tables.histories["learning_rate"] == 4.0], "train_cost")
    edge = 3 * 2.3
    assert np.array(crosses(axes)) == pytest.approx(np.array([(30.0, some["median"].iloc[-1]), (30.0, edge)]))
    assert axes.get_ylim()[1] == pytest.approx(edge)


def replicas(costs, outcome, at, n=10, ended=9, clock="update"):
    """A cell of n replicas with one of `costs` at each update; the first `ended` of them end at update `at`."""
    rows = [
        {"setting": "digits", "cell": "c", "replica": r, "update": u, "epoch": u / 2, "examples": 4 * u,
         "train_seconds": u * 1e-3, "train_cost": cost, "validation_cost": cost,
         "outcome": outcome if r < ended and u == at else "completed" if u == len(costs) - 1 else ""}
        for u, cost in enumerate(costs) for r in range(n) if r >= ended or u <= at
    ]  # fmt: skip
    cells = sweep(sizes=(1,), rates=(0.1,), reductions=("mean",), replicas=n).cells.assign(cell="c")
    cells["n_diverged"] = ended if outcome == "diverged" else 0
    return SimpleNamespace(cells=cells, histories=pd.DataFrame(rows), best=cells)


def drawn_at(axes, look):
    """Places of the marks with a look of `medians.LOOKS`."""
    looks = medians.LOOKS[look]
    lines = [
        line for line in axes.get_lines() if line.get_marker() == looks["marker"] and line.get_linestyle() == "None"
    ]
    return [(float(x), float(y)) for line in lines for x, y in zip(*line.get_data(), strict=True)]


def test_with_nine_of_ten_diverged_the_line_leaves_the_axes():
    figure = clocks(replicas([2.3, 2.0, 1.6, 1.2], "diverged", at=2))["digits"]
    axes = figure.axes[1]
    line = max(axes.get_lines(), key=lambda own: len(own.get_xdata()))
    assert line.get_ydata()[:2].tolist() == [2.0, pytest.approx(3 * 2.3)]
    assert np.isnan(line.get_ydata()[2])
    assert drawn_at(axes, "lost") == [(2, pytest.approx(3 * 2.3))]
    assert axes.get_ylim()[1] == pytest.approx(3 * 2.3)
    assert "9 of 10 diverged" in figure.legends[0].get_texts()[0].get_text()
    assert "diverged replica counts as infinite" in notes_of(figure)


def test_with_few_diverged_the_line_goes_on_and_is_marked_where_the_first_was_lost():
    axes = clocks(replicas([2.3, 2.0, 1.6, 1.2], "diverged", at=2, ended=2))["digits"].axes[1]
    line = max(axes.get_lines(), key=lambda own: len(own.get_xdata()))
    assert line.get_ydata().tolist() == [2.0, 1.6, 1.2]
    assert drawn_at(axes, "lost") == [(2, 1.6)]
    assert drawn_at(axes, "gone") == []


def test_where_the_median_is_lost_later_than_the_first_replica_both_are_marked():
    tables = replicas([2.3, 2.0, 1.6, 1.2], "diverged", at=3)
    first = (tables.histories["replica"] == 0) & (tables.histories["update"] == 2)
    tables.histories.loc[first, "outcome"] = "diverged"
    tables.histories = tables.histories[(tables.histories["replica"] > 0) | (tables.histories["update"] <= 2)]
    axes = clocks(tables)["digits"].axes[1]
    assert drawn_at(axes, "lost") == [(2, 1.6)]
    assert drawn_at(axes, "gone") == [(3, pytest.approx(3 * 2.3))]


def test_with_nine_of_ten_at_the_target_the_line_keeps_their_cost_and_is_marked():
    figure = clocks(replicas([2.3, 0.19, 1.7, 1.7], "reached", at=1))["digits"]
    line = max(figure.axes[1].get_lines(), key=lambda own: len(own.get_xdata()))
    assert line.get_ydata().tolist() == [0.19, 0.19, 0.19]
    assert drawn_at(figure.axes[1], "reached") == [(1, 0.19)]
    assert medians.MEANING["reached"] in [text.get_text() for text in figure.legends[0].get_texts()]


def test_one_replica_that_diverges_ends_at_the_edge():
    axes = clocks(replicas([2.3, 2.0, 1.6], "diverged", at=2, n=1, ended=1))["digits"].axes[1]
    assert drawn_at(axes, "lost") == [(2, pytest.approx(3 * 2.3))]


def test_a_cell_without_a_finite_cost_is_a_cross_where_it_died():
    tables = sweep(sizes=(1,), rates=(0.1, 9.0), reductions=("mean",))
    lost = tables.histories["learning_rate"] == 9.0
    tables.histories.loc[lost & (tables.histories["update"] > 0), ["train_cost", "outcome"]] = [np.inf, "diverged"]
    tables.histories = tables.histories[~lost | (tables.histories["update"] <= 1)]
    assert crosses(clocks(tables)["digits"].axes[1]) == [(1.0, 3 * 2.3)]


def test_colours_follow_the_batch_size_and_are_a_ramp_when_many():
    tables = sweep(sizes=(1, 2, 4, 8, 16, 32, 64, 128), rates=(0.01,), reductions=("mean",))
    axes = clocks(tables)["digits"].axes[0]
    colours = [line(axes, f"B={size}").get_color() for size in (1, 2, 4, 8, 16, 32, 64, 128)]
    greens = [colour[1] for colour in colours]
    assert greens == sorted(greens)


def test_few_cells_of_one_dataset_share_a_figure_and_can_be_told_apart():
    settings = ("digits optimizer=sgd", "digits optimizer=adam")
    (figure,) = clocks(sweep(sizes=(1, 64), rates=(0.01,), settings=settings)).values()
    lines = [drawn for drawn in figure.axes[0].get_lines() if drawn.get_label()[0] != "_"]
    assert {drawn.get_label() for drawn in lines} == {
        f"optimizer={name} B={size} {reduction}"
        for size in (1, 64) for reduction in ("sum", "mean") for name in ("sgd", "adam")
    }  # fmt: skip
    assert len({(drawn.get_color(), drawn.get_linestyle()) for drawn in lines}) == 8


@pytest.mark.slow
def test_many_cells_have_a_figure_for_each_setting_unless_that_is_one_cell():
    settings = [f"digits seed={i}" for i in range(20)]
    assert list(clocks(sweep(settings=settings[:3]))) == settings[:3]
    assert list(clocks(sweep(settings=settings, sizes=(64,), rates=(0.1,), reductions=("mean",)))) == ["digits"]
    drawn = clocks(sweep(settings=settings, sizes=(1, 64)))
    assert list(drawn) == settings[:12]
    assert {figure.texts[1].get_text().endswith("such a figure.") for figure in drawn.values()} == {True}


def test_costs_of_different_data_do_not_share_axes():
    one_rate = {"sizes": (1, 64), "rates": (0.1,), "reductions": ("mean",)}
    assert list(clocks(sweep(settings=("digits", "iris"), **one_rate))) == ["digits", "iris"]
    settings = ("mine target=price sum", "mine target=price mean")
    tables = sweep(settings=settings, **one_rate)
    tables.cells["dataset.load.target"] = tables.cells["setting"].str.split("=").str[1]
    assert list(clocks(tables)) == list(settings)


def test_many_cells_without_a_best_rate_are_grey():
    assert "In colour: the best rate tried of each batch size" in clocks(sweep())["digits"].texts[1].get_text()
    figure = clocks(sweep(limit=0.0))["digits"]
    assert "No best rate" in figure.texts[1].get_text()
    assert len(crosses(figure.axes[1])) == 18


def test_panels_of_settings_that_differ_in_the_middle_have_different_titles():
    settings = [f"digits optimizer=adam {'epsilon' * 3}={i} last_batch=drop engine=vectorized" for i in (1, 2)]
    axes = stability(sweep(settings=settings).frontier, "title").axes
    assert axes[0].get_title() != axes[2].get_title()


# To target


def marks(axes, marker):
    drawn = [line for line in axes.get_lines() if line.get_marker() == marker]
    return sorted((float(x), float(y)) for line in drawn for x, y in zip(*line.get_data(), strict=True))


def test_points_to_target_lie_at_the_tables_values_with_bars_and_perfect_scaling():
    tables = sweep(reductions=("sum",), limit=1e9, target=9.0)
    figure = to_target(tables.targets, tables.fits, "cost ≤ 9", "title")
    for axes, clock in zip(figure.axes, ("updates", "epochs", "seconds"), strict=True):
        assert marks(axes, "D") == sorted(zip(tables.targets["batch_size"], tables.targets[clock], strict=True))
        bars = axes.collections[0].get_segments()
        assert [bar[0, 1] for bar in bars] == pytest.approx(list(tables.targets[f"{clock}_low"]))
        assert [bar[1, 1] for bar in bars] == pytest.approx([axes.get_ylim()[1]] * 3)  # no upper end: to the edge
    (ideal,) = [drawn for drawn in figure.axes[0].get_lines() if drawn.get_linestyle() == ":"]
    assert np.prod(ideal.get_data(), axis=0) == pytest.approx([4040.0] * 2)  # updates × B, as at B = 1
    (flat,) = [drawn for drawn in figure.axes[1].get_lines() if drawn.get_linestyle() == ":"]
    assert np.ptp(flat.get_ydata()) == 0


def test_the_fit_is_drawn_where_it_is_resolved_and_said_where_not():
    tables = sweep(limit=1e9, target=9.0)
    axes = to_target(tables.targets, tables.fits, "cost ≤ 9", "title").axes[0]
    (fitted,) = [drawn for drawn in axes.get_lines() if len(drawn.get_xdata()) == 60]
    assert fitted.get_ydata() == pytest.approx(40 * (1 + 100 / fitted.get_xdata()))
    assert 100.0 in [drawn.get_xdata()[0] for drawn in axes.get_lines() if len(drawn.get_xdata())]
    words = [text.get_text() for text in axes.findobj(Text)]
    assert "mean: B_crit unresolved" in words
    assert "sum: B_crit 100 (60 to ∞)" in words


def test_batch_sizes_that_do_not_reach_the_target_are_open_triangles_at_the_top():
    tables = sweep(reductions=("mean",), target=0.0)
    tables.targets.loc[0, "updates"] = 50.0
    updates, epochs, _ = to_target(tables.targets, tables.fits, "cost", "title").axes
    assert [x for x, _ in marks(updates, "^")] == [64, N]
    assert [x for x, _ in marks(epochs, "^")] == [1, 64, N]
    assert "not reached" in epochs.texts[0].get_text()


# Timing


def test_times_are_split_into_overhead_and_cost_of_an_example():
    tables = sweep()
    figure = sweep_figures.timing(tables.cells, "title")
    assert sweep_figures.overhead_split(tables.cells) == pytest.approx((45, 0.9))
    assert marks(figure.axes[0], "o") == sorted(
        zip(tables.cells["batch_size"], tables.cells["time/update_us"], strict=True)
    )
    assert figure.legends[0].get_texts()[0].get_text() == "overhead 45 µs per update, 0.9 µs per example"


@pytest.mark.parametrize(
    ("times", "split"), [([10, 100], (0, 10)), ([50, 5], None), ([100, 10_000], (0, None)), ([20, 20], (20, 0))]
)
def test_neither_part_of_the_split_is_negative(times, split):
    cells = pd.DataFrame({"batch_size": [1, 10], "time/update_us": times})
    found = sweep_figures.overhead_split(cells)
    assert min(found) >= 0
    for got, wanted in zip(found, split or (None, 0), strict=True):
        assert wanted is None or got == pytest.approx(wanted, abs=1e-9)


@given(st.lists(st.floats(1e-2, 1e4), min_size=2, max_size=6))
def test_the_split_is_the_least_squares_of_scipy(times):
    sizes = 2 ** np.arange(len(times))
    found = sweep_figures.overhead_split(pd.DataFrame({"batch_size": sizes, "time/update_us": times}))
    columns = np.stack([1 / np.array(times), sizes / times], axis=1)
    _, error = nnls(columns, np.ones(len(times)))
    assert min(found) >= 0
    assert np.linalg.norm(columns @ found - 1) == pytest.approx(error, rel=1e-6, abs=1e-9)


def test_one_batch_size_has_points_only():
    cells = sweep(sizes=(64,)).cells
    assert sweep_figures.overhead_split(cells) is None
    assert all(len(drawn.get_xdata()) < 60 for drawn in sweep_figures.timing(cells, "title").axes[0].get_lines())


def test_cells_that_were_not_timed_are_left_out():
    tables = sweep(reductions=("mean",))
    times = ["time/update_us", "time/example_us"]
    tables.cells.loc[0, times] = np.nan
    points, _ = sweep_figures.timing(tables.cells, "title").axes[0].get_lines()
    assert len(points.get_xdata()) == len(tables.cells) - 1
    tables.cells[times] = np.nan
    assert "timing" not in figures_of(tables)
    tables.cells = tables.cells.drop(columns=times)
    assert "timing" not in figures_of(tables)


# Outcomes


def test_the_forest_lists_cells_best_first_with_crosses_for_the_diverged():
    cells = sweep(sizes=(1,), rates=(4.0, 8.0, 0.1), reductions=("mean",)).cells  # 1, 3 and 0 of 3 diverge
    (axes,) = outcomes(cells, "title").axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["η=4", "η=0.1", "η=8"]
    assert marks(axes, "o") == sorted(zip(cells["score"][np.isfinite(cells["score"])], (0, 1), strict=True))
    assert marks(axes, "X") == [(1, 2)]
    assert [(text.get_position()[1], text.get_text()) for text in axes.texts] == [
        (0, "1 of 3 diverged"),
        (2, "3 of 3 diverged"),
    ]
    assert axes.collections[0].get_segments()[0][:, 0].tolist() == cells.loc[0, ["q25", "q75"]].tolist()


def test_where_half_diverged_the_forest_has_a_cross_and_a_bar_to_the_edge():
    """Ten replicas each: all finite, then 3, 5, 9 and 10 diverged; ranked in this order whatever the survivors cost."""
    cells = sweep(sizes=(1,), rates=(0.1, 0.2, 0.3, 0.4, 0.5), reductions=("mean",), replicas=10).cells
    cells["n_diverged"] = [10, 9, 5, 3, 0]
    cells["q25"] = [np.inf, np.inf, 0.01, 0.02, 0.5]
    cells["score"] = [np.inf, np.inf, np.inf, 0.6, 0.5]
    cells["q75"] = [np.inf, np.inf, np.inf, np.inf, 0.7]
    (axes,) = outcomes(cells, "title").axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [f"η={rate}" for rate in (0.5, 0.4, 0.3, 0.2, 0.1)]
    assert marks(axes, "o") == [(0.5, 0), (0.6, 1)]
    assert marks(axes, "X") == [(1, 2), (1, 3), (1, 4)]
    ends = [bar[:, 0].tolist() for bar in axes.collections[0].get_segments()]
    assert ends == [[0.5, 0.7], [0.02, axes.get_xlim()[1]], [0.01, axes.get_xlim()[1]]]
    assert [text.get_text() for text in axes.texts] == [f"{k} of 10 diverged" for k in (3, 5, 9, 10)]


def test_of_many_cells_the_forest_shows_the_best_and_says_so():
    cells = sweep(rates=np.geomspace(0.001, 0.01, 20), reductions=("mean",)).cells
    figure = outcomes(cells, "title")
    assert len(marks(figure.axes[0], "o")) == 40
    assert any("40 best of 60" in text.get_text() for text in figure.texts)


def test_a_cell_without_a_result_is_said():
    cells = sweep(sizes=(1,), rates=(0.1,)).cells
    cells.loc[0, ["score", "q25", "q75", "n_replicas", "n_diverged"]] = np.nan
    assert [text.get_text() for text in outcomes(cells, "title").axes[0].texts] == ["no result"]


# Rates


def boxes(axes):
    drawn = [c for c in axes.collections if isinstance(c, PolyCollection) and c.get_array() is not None]
    return [path.vertices for collection in drawn for path in collection.get_paths()]


def test_each_cell_has_its_box_in_raw_and_in_canonical_units():
    tables = sweep()
    axes = rate_heatmaps(tables.cells, tables.best, "title").axes
    titles = ["sum, learning rate", "sum, lr_mean", "mean, learning rate", "mean, lr_mean"]
    assert sorted(one.get_title() for one in axes[:4]) == sorted(titles)
    for one in axes[:4]:
        reduction, unit = one.get_title().split(", ")
        own = tables.cells[(tables.cells["reduction"] == reduction) & np.isfinite(tables.cells["score"])]
        rates = own["lr_mean" if unit == "lr_mean" else "learning_rate"]
        columns = np.searchsorted([1, 64, N], own["batch_size"])
        for box, rate, column in zip(boxes(one), rates, columns, strict=True):
            assert box[:, 0].min() == column - 0.5
            assert box[:, 1].min() == pytest.approx(rate / 10**0.5)
            assert box[:, 1].max() == pytest.approx(rate * 10**0.5)


def test_the_ridge_goes_through_the_best_rates_and_the_rules_through_its_middle():
    tables = sweep(limit=1e9, reductions=("mean",))
    tables.best["learning_rate"] = tables.best["lr_mean"] = [0.01, 0.1, 1.0]
    raw = rate_heatmaps(tables.cells, tables.best, "title").axes[0]
    lines = [(drawn.get_color(), list(drawn.get_ydata())) for drawn in raw.get_lines()]
    assert ("black", [0.01, 0.1, 1.0]) in lines
    rules = [ys for colour, ys in lines if colour == "#333333"]
    relative = np.array([1, 64, N]) / 64
    assert rules == [pytest.approx(0.1 * relative**power) for power in (0, 0.5, 1)]


def test_the_rules_of_a_sum_are_those_of_its_lr_mean():
    tables = sweep(limit=1e9, reductions=("sum",))
    raw, canonical = rate_heatmaps(tables.cells, tables.best, "title").axes[:2]
    for axes, unit in ((raw, [1, 64, N]), (canonical, [1, 1, 1])):
        rules = [drawn.get_ydata() for drawn in axes.get_lines() if drawn.get_color() == "#333333"]
        assert rules[0] * unit == pytest.approx([rules[0][1] * unit[1]] * 3)


def test_under_adam_a_sum_has_the_rules_and_the_frontier_of_a_mean():
    """Its rates are canonical as they are: the figures read the column, they do not multiply by B."""
    settings = "digits optimizer=adam", "digits optimizer=sgd"
    tables = sweep(limit=1e9, reductions=("sum",), settings=settings)
    for table in (tables.cells, tables.best):
        table["lr_mean"] = table["learning_rate"].where(table["setting"] == settings[0], table["lr_mean"])
    raw, canonical = rate_heatmaps(tables.cells, tables.best, "title").axes[:2]
    for axes in (raw, canonical):
        constant = next(drawn.get_ydata() for drawn in axes.get_lines() if drawn.get_color() == "#333333")
        assert constant == pytest.approx([constant[0]] * 3)
    own, adam = sweep(reductions=("sum",), settings=settings).frontier, [0, 1, 2]
    own.loc[adam, ["stable_lr_mean", "unstable_lr_mean"]] = own.loc[adam, ["stable", "unstable"]].to_numpy()
    raw, canonical = stability(own, "title").axes[:2]
    for one, other in zip(raw.get_lines(), canonical.get_lines(), strict=True):
        np.testing.assert_array_equal(np.asarray(one.get_ydata(), float), np.asarray(other.get_ydata(), float))


def test_canonical_panels_show_the_ridges_of_both_reductions():
    tables = sweep()
    axes = rate_heatmaps(tables.cells, tables.best, "title").axes[:4]
    ridges = {one.get_title(): {drawn.get_color() for drawn in one.get_lines()} & {"black", "#D55E00"} for one in axes}
    assert ridges["mean, lr_mean"] == ridges["sum, lr_mean"] == {"black", "#D55E00"}
    assert ridges["mean, learning rate"] == {"black"}
    assert ridges["sum, learning rate"] == {"#D55E00"}


def test_diverged_cells_are_hatched_and_counted():
    cells = sweep(sizes=(1,), rates=(0.1, 1.0, 4.0, 8.0), reductions=("mean",)).cells
    axes = rate_heatmaps(cells, pd.DataFrame(columns=BEST), "title").axes[0]
    assert [text.get_text() for text in axes.texts] == ["1/3"]
    hatched = [len(c.get_paths()) for c in axes.collections if c.get_hatch()]
    assert hatched == [1, 1]  # one lost, one with a survivor


def test_a_box_is_grey_where_half_of_the_replicas_diverged_and_says_how_many():
    cells = sweep(sizes=(1,), rates=(0.1, 1.0), reductions=("mean",), replicas=10).cells
    cells[["n_diverged", "score", "q75"]] = [[9, np.inf, np.inf], [0, 0.5, 0.6]]
    axes = rate_heatmaps(cells, pd.DataFrame(columns=BEST), "title").axes[0]
    assert [text.get_text() for text in axes.texts] == ["9/10"]
    assert len(boxes(axes)) == 1
    assert len(next(c for c in axes.collections if c.get_hatch()).get_paths()) == 1


def test_one_colour_bar_with_plain_numbers():
    tables = sweep()
    figure = rate_heatmaps(tables.cells, tables.best, "title")
    bar = figure.axes[-1]
    figure.draw_without_rendering()
    assert len(figure.axes) == 5
    assert {"0.1", "1"} <= {label.get_text() for label in bar.get_yticklabels()}


@pytest.mark.parametrize("score", [0.0, 0.5])
def test_equal_costs_have_a_colour(score):
    tables = sweep(limit=1e9)
    figure = rate_heatmaps(tables.cells.assign(score=score), tables.best, "title")
    figure.draw_without_rendering()


def test_the_frontier_is_a_bracket_or_an_arrow():
    tables = sweep(limit=1.5)
    raw, canonical = stability(tables.frontier, "title").axes
    sums = tables.frontier[tables.frontier["reduction"] == "sum"]
    stable = sums[sums["stable"].notna()]
    drawn = [mark for mark in marks(raw, "D") if np.isfinite(mark[1])]
    assert drawn == sorted(zip(stable["batch_size"], stable["stable"], strict=True))
    drawn = [mark for mark in marks(canonical, "D") if np.isfinite(mark[1])]
    assert drawn == sorted(zip(stable["batch_size"], stable["stable"] * stable["batch_size"], strict=True))
    assert len(marks(raw, "v")) == sums["stable"].isna().sum()


def test_nothing_diverged_is_said_with_arrows_upwards():
    tables = sweep(limit=1e9)
    for axes in stability(tables.frontier, "title").axes:
        assert axes.texts[0].get_text() == "no cell diverged: the frontier lies above the grid"
        assert len(marks(axes, "^")) == len(tables.frontier)


# Words and numbers


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.00001, "0.00001"), (0.3, "0.3"), (512, "512"), (20_000, "20k"), (3e6, "3M"), (0, "0"), (1000, "1000")],
)
def test_numbers_are_plain(value, words):
    assert plain(value) == words


def test_limits_of_nothing_and_of_one_value_are_wide_enough_to_read():
    for values in ([], [np.nan, np.inf, 0], [5.0]):
        low, high = log_limits([values])
        assert 0 < low < high < np.inf
        assert high >= 4 * low
