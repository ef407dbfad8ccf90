"""Figures can be read: labels do not overlap, nothing is told by colour alone, what was asked for is on the axes."""

import itertools
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.text import Text

from harness.analysis import Panel, Series
from harness.report import cell_figures, style, sweep_figures
from harness.report.findings import finding_figure
from harness.report.labels import spread, value_ticks
from harness.report.layout import log_axis, panels
from harness.report.rates import rate_heatmaps, stability
from harness.report.slices import slices
from harness.report.targets import to_target
from harness.runs.front import PIXELS
from tests.report.test_plots import history
from tests.report.test_sweep_plots import clocks, every_figure, figures_of, inside, marks, sweep

SIZES = [(1, 64, 90), (1, 3, 7, 100, 1437), (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024), (60_000, 464_809)]


def slices_of(tables, **options):
    return slices(tables.cells, 3 * 2.3, "title", **options)


def every_sweep_figure(tables):
    return [*every_figure(tables), slices_of(tables)]


def a_cell():
    batches = pd.DataFrame({"update": [0, 1, 2], "replica": 0, "batch_cost": [5, 1, 3], "epoch": [0, 0.5, 1]})
    return cell_figures(history([[4, 2, 1]] * 3), batches, "title", baseline=0.1).values()


def a_finding():
    lines = tuple(Series(name, (1.0, 8.0), (0.1 * i, 0.2)) for i, name in enumerate("abcdefgh"))
    return finding_figure("title", "note", [Panel("panel", "x", "y", lines)])


def labels(axes, name="x"):
    """The ticks that have a label: place -> text."""
    axis = axes.xaxis if name == "x" else axes.yaxis
    ticks = zip(axis.get_majorticklocs(), axis.get_majorticklabels(), strict=True)
    return {float(place): text.get_text().strip() for place, text in ticks if text.get_text().strip()}


def apart(texts):
    """Whether no two of these texts overlap as they are drawn; of one in the second row, that row counts."""
    boxes = [Text.get_window_extent(text) for text in texts if text.get_text().strip()]
    for text, box in zip((text for text in texts if text.get_text().strip()), boxes, strict=True):
        box.y1 -= text.get_text().count("\n") * box.height / 2
    return not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_labels_are_spread_as_little_as_possible(places):
    places, gap = np.array(places), 0.05
    moved = spread(places, gap, 0, 1)
    assert np.diff(np.sort(moved)).min(initial=gap) >= gap - 1e-9
    assert -1e-9 <= moved.min() <= moved.max() <= 1 + 1e-9
    order = np.argsort(places, kind="stable")
    assert list(np.argsort(moved, kind="stable")) == list(order)
    free = places[order] - gap * np.arange(len(places))
    against = [max(0.0, before - after) / 2 for before, after in itertools.combinations(free, 2)]
    least = max([*against, -free.min(), free.max() - (1 - gap * (len(places) - 1))])  # no order moves all by less
    assert np.abs(moved - places).max() <= max(least, 0) + 1e-9


@pytest.mark.parametrize("low", [1e-6, 2e-6, 1.4e-5, 1.1e-4, 4e-4, 0.02, 1, 30])
def test_numbers_below_a_log_axis_do_not_overlap(low):
    for factor in (4, 30, 400, 2900, 1e5):
        figure, ((axes,),) = panels([["title"]], "title")
        log_axis(axes, "x", (low, factor * low))
        figure.draw_without_rendering()
        shown = [text for text in axes.get_xticklabels() if axes.bbox.x0 - 1 <= text.get_window_extent().x1]
        inside_limits = [t for t in shown if low <= t.get_position()[0] <= factor * low]
        assert apart(inside_limits), (factor, [t.get_text() for t in inside_limits])


@pytest.mark.sample(1)
@pytest.mark.parametrize("rate", [0.01, 1e-9], ids=["apart", "all at one cost"])
def test_names_at_the_ends_of_lines_do_not_overlap_and_stay_beside_their_panel(rate):
    tables = sweep(sizes=(1, 2, 4, 8, 16, 64), rates=(rate,))
    for figure, shown in ((clocks(tables)["digits"], (1, 3)), (slices_of(tables), (0, 1))):
        figure.draw_without_rendering()
        for axes in (figure.axes[i] for i in shown):
            names = axes.texts
            assert sorted(name.get_text() for name in names) == sorted(
                f"B={size} {reduction}" for size in (1, 2, 4, 8, 16, 64) for reduction in ("sum", "mean")
            )
            assert apart(names)
            others = [one.bbox for one in figure.axes if one is not axes]
            for name in names:
                box = Text.get_window_extent(name)
                assert inside(box, figure.bbox)
                assert box.x0 > axes.bbox.x1
                assert not any(box.overlaps(other) for other in others)


def test_a_name_is_level_with_the_end_of_its_line():
    axes = clocks(sweep(sizes=(64,), rates=(0.01, 0.1), reductions=("mean",)))["digits"].axes[0]
    axes.figure.draw_without_rendering()
    for name in axes.texts:
        (line,) = [own for own in axes.get_lines() if own.get_label() == name.get_text()]
        end = axes.transData.transform((line.get_xdata()[-1], line.get_ydata()[-1]))
        assert Text.get_window_extent(name).y0 < end[1] < Text.get_window_extent(name).y1


def test_a_cell_without_a_history_has_no_name():
    tables = sweep(sizes=(1, 8, 64), rates=(0.1,), reductions=("mean",))
    tables.histories = tables.histories[tables.histories["batch_size"] > 1]
    assert {text.get_text() for text in clocks(tables)["digits"].axes[1].texts} == {"B=8", "B=64"}


def test_of_many_lines_only_the_key_has_the_names():
    figure = clocks(sweep(sizes=(1, 2, 4, 8, 16, 32, 64), rates=(0.01,)))["digits"]
    assert not figure.axes[0].texts
    assert len(figure.legends[0].get_texts()) >= 14


@pytest.mark.sample(1)
@pytest.mark.parametrize("sizes", SIZES)
def test_every_size_that_was_asked_for_has_a_label_that_touches_no_other(sizes):
    tables = sweep(sizes=sizes, limit=1e9)
    shown = [
        *to_target(tables.targets, tables.fits, "cost", "title").axes,
        *sweep_figures.timing(tables.cells, "title").axes,
        *stability(tables.frontier, "title").axes,
        *rate_heatmaps(tables.cells, tables.best, "title").axes[:4],
    ]
    for axes in shown:
        axes.figure.draw_without_rendering()
        assert list(labels(axes).values()) == [str(size) for size in sizes]
        assert apart(axes.get_xticklabels())


def test_of_a_hundred_sizes_as_many_have_a_label_as_have_room_and_always_the_largest():
    (axes,) = sweep_figures.timing(sweep(sizes=range(1, 101), rates=(0.1,)).cells, "title").axes[:1]
    axes.figure.draw_without_rendering()
    assert max(labels(axes)) == 100
    assert apart(axes.get_xticklabels())
    assert 5 < len(labels(axes)) < 20


def test_the_rates_that_were_asked_for_have_labels():
    rates = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
    tables = sweep(rates=rates)
    heat = rate_heatmaps(tables.cells, tables.best, "title").axes
    raw = [labels(axes, "y") for axes in heat if axes.get_title().endswith("learning rate")]
    for shown in [*raw, labels(slices_of(tables).axes[0])]:
        assert list(shown) == pytest.approx(rates)


def test_rates_with_many_digits_are_cut_so_that_their_labels_stay_inside():
    rates = np.geomspace(1e-5, 1, 11)
    tables = sweep(rates=rates, reductions=("mean",), limit=1e9)
    figure = rate_heatmaps(tables.cells, tables.best, "title")
    assert list(labels(figure.axes[0], "y").values())[:3] == ["0.00001", "3.2e-05", "0.0001"]
    assert all(inside(axes.get_tightbbox(), figure.bbox) for axes in figure.axes)


def test_no_two_lines_differ_in_colour_alone():
    tables = sweep(sizes=(1, 8, 64), rates=(0.01, 0.1))
    for axes in (clocks(tables)["digits"].axes[0], slices_of(tables).axes[0], a_finding().axes[0]):
        lines = [line for line in axes.get_lines() if line.get_marker() not in ("X", "None", "")]
        assert len(lines) in (6, 8, 12)
        assert len({(line.get_marker(), line.get_linestyle()) for line in lines}) == len(lines)


def test_letters_have_six_pixels_at_half_size():
    for figure in (*every_sweep_figure(sweep(sizes=(1, 64), rates=(0.1, 4.0))), *a_cell(), a_finding()):
        sizes = [text.get_fontsize() * figure.dpi / 72 / 2 for text in figure.findobj(Text) if text.get_text()]
        assert min(sizes) >= 6


@pytest.mark.sample(1)
@pytest.mark.parametrize("options", [{"rates": np.geomspace(1e-3, 4, 9)}, {"limit": 0.0}, {"sizes": (8, 9)}], ids=str)
def test_no_two_labels_of_an_axis_overlap(options):
    for figure in (*every_sweep_figure(sweep(**options)), *a_cell(), a_finding()):
        figure.draw_without_rendering()
        for axes in figure.axes:
            assert apart(axes.get_xticklabels()), (figure._suptitle, axes)
            assert apart(axes.get_yticklabels()), (figure._suptitle, axes)


def test_letters_have_six_pixels_on_the_front_however_long_the_names_are():
    settings = ("digits optimizer=momentum", "digits optimizer=adam")
    figure = clocks(sweep(sizes=(1, 1437), rates=(0.003,), settings=settings))["digits"]
    assert sorted(text.get_text() for text in figure.axes[1].texts) == sorted(
        f"{name} B={size} {reduction}"
        for name in ("momentum", "adam") for size in (1, 1437) for reduction in ("sum", "mean")
    )  # fmt: skip
    assert min(text.get_fontsize() for text in figure.findobj(Text) if text.get_text()) / 72 * PIXELS >= (
        6 * figure.get_figwidth()
    )


def test_marks_on_the_upper_edge_lie_below_the_title():
    lines = [Series("lost", (1.0, 8.0, 64.0), (1.0, 2.0, np.inf))]
    figure = finding_figure("title", "note", [Panel("panel", "x", "y", lines)])
    figure.draw_without_rendering()
    (axes,) = figure.axes
    (mark,) = [line for line in axes.get_lines() if line.get_marker() == "^"]
    assert mark.get_window_extent().y1 < axes.title.get_window_extent().y0


def test_no_key_lies_over_data():
    for figure in (*every_sweep_figure(sweep(sizes=(1, 64), rates=(0.1, 4.0))), *a_cell(), a_finding()):
        assert all(axes.get_legend() is None for axes in figure.axes)


@pytest.mark.slow
def test_a_setting_of_one_cell_has_no_panel_beside_grids():
    tables, alone = sweep(settings=("digits a", "digits b")), sweep(sizes=(64,), rates=(0.1,), settings=("digits c",))
    both = {name: pd.concat([own, getattr(alone, name)], ignore_index=True) for name, own in vars(tables).items()}
    drawn, whole = figures_of(SimpleNamespace(**both)), figures_of(tables)
    for name in ("to_target", "slices", "learning_rates", "stability"):
        assert len(drawn[name].axes) == len(whole[name].axes)
        assert not any("digits c" in axes.get_title() for axes in drawn[name].axes)


@pytest.mark.slow
def test_settings_have_one_order_in_all_figures():
    tables = sweep(settings=("digits b", "digits a"))
    for name in ("targets", "frontier"):
        setattr(tables, name, getattr(tables, name).sort_values("setting", kind="stable"))
    drawn = figures_of(tables)
    for name in ("to_target", "slices", "learning_rates", "stability"):
        titles = [axes.get_title().split("\n")[0] for axes in drawn[name].axes]
        assert list(dict.fromkeys(text for text in titles if text)) == ["b", "a"]


def test_a_panel_that_would_repeat_its_neighbour_is_left_out():
    tables = sweep(reductions=("mean",))
    assert len(slices_of(tables).axes) == 1
    assert len(stability(tables.frontier, "title").axes) == 1
    assert len(rate_heatmaps(tables.cells, tables.best, "title").axes) == 2  # with the colour bar


def test_sum_and_mean_have_one_range_of_lr_mean():
    tables = sweep()
    axes = rate_heatmaps(tables.cells, tables.best, "title").axes
    limits = [one.get_ylim() for one in axes if one.get_title().endswith("lr_mean")]
    assert limits[0] == pytest.approx(limits[1])


def test_every_cell_that_diverged_is_seen_on_the_slices():
    """Half or more: a cross in the row of its batch size, above all costs; fewer: an open one on its point."""
    tables = sweep(sizes=(1, 8, 64), rates=(0.1, 4.0, 8.0), reductions=("mean",))
    (axes,) = slices_of(tables).axes
    crosses = [line for line in axes.get_lines() if line.get_marker() == "X" and len(line.get_xdata())]
    full = [line for line in crosses if line.get_markerfacecolor() != "white"]
    levels = [float(line.get_ydata()[0]) for line in full]
    assert [list(line.get_xdata()) for line in full] == [[8.0]] * 3
    assert len(set(levels)) == 3
    top = (axes.transData - axes.transAxes).transform((1.0, tables.cells["q75"].replace(np.inf, 0).max()))[1]
    assert top < min(levels)
    assert [list(line.get_xdata()) for line in crosses if line not in full] == [[4.0]] * 3


def test_where_every_cell_diverged_the_slices_say_so():
    tables = sweep(limit=0.0, reductions=("mean",))
    (axes,) = slices_of(tables).axes
    assert "diverged in every cell" in axes.texts[0].get_text().replace("\n", " ")
    assert len(marks(axes, "X")) == 9


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([0.1, 0.3, 0.1], ["0.1", "0.3"]),
        ([0.1, 0.10000001], ["0.1", "0.10000001"]),
        ([1e6, 1e6 + 1], ["1000000", "1000001"]),
        ([0.1 * 2**0.5], ["0.141421"]),
    ],
)
def test_different_values_have_different_texts(values, texts):
    assert sorted(style.apart(values).values()) == texts


def test_ticks_of_values_that_three_digits_do_not_tell_apart():
    axes = Figure().subplots()
    value_ticks(axes, "y", [0.1, 0.10000001, 0.9], [0, 1, 2])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["0.1", "0.10000001", "0.9"]
