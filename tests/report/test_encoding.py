"""Figures as files: the pixels are those that matplotlib writes by itself."""

import io

import numpy as np
import pytest
from matplotlib import rc_context
from matplotlib.figure import Figure
from PIL import Image

from harness.report.encoding import COLOURS, png, pngs, shrunk, webps


def a_figure(width=3.7, text="title", **options):
    figure = Figure(figsize=(width, 2.5), **options)
    axes = figure.subplots()
    axes.plot([1, 2, 3], [1, 3, 2])
    axes.set_title(text)
    return figure


def pixels(picture):
    return np.asarray(Image.open(io.BytesIO(picture)).convert("RGBA"))


def by_matplotlib(figure):
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi="figure")
    return pixels(stream.getvalue())


def test_each_figure_has_the_pixels_that_matplotlib_writes():
    own = {
        "a": a_figure(),
        "b": a_figure(5.02, "$x^2$", dpi=110),
        "c": a_figure(facecolor="none"),
        "d": a_figure(dpi=80),
    }
    pictures = pngs(own)
    assert list(pictures) == list(own)
    for name, figure in own.items():
        np.testing.assert_array_equal(pixels(pictures[name]), by_matplotlib(figure))


def test_a_figure_stays_where_it_is_shown():
    figure = a_figure()
    shown_in = figure.canvas
    png(figure)
    assert figure.canvas is shown_in


def test_a_file_has_the_size_in_inches():
    figure = a_figure(dpi=110)
    assert Image.open(io.BytesIO(png(figure))).info["dpi"] == pytest.approx((110, 110), abs=0.1)


def test_settings_of_the_user_do_not_matter():
    figure = a_figure()
    plain = png(figure)
    with rc_context({"savefig.bbox": "tight", "savefig.dpi": 300, "savefig.transparent": True}):
        assert png(figure) == plain


def test_a_figure_that_cannot_be_drawn_is_no_file():
    bad = a_figure(text="$\\nonsense$")
    with pytest.raises(ValueError, match="nonsense"):
        pngs({"good": a_figure(), "bad": bad})


def test_a_small_picture_is_the_large_one():
    large = png(a_figure(8))
    small = pixels(shrunk(large, 400))
    assert small.shape[:2] == (125, 400)
    assert np.abs(small.mean((0, 1)) - pixels(large).mean((0, 1))).max() < 1
    np.testing.assert_array_equal(pixels(shrunk(large, 2000)), pixels(large))


def test_a_page_is_white_below_what_is_transparent():
    figure = a_figure(facecolor="none")
    figure.axes[0].set_facecolor("none")
    figure.axes[0].get_lines()[0].set_alpha(0.4)
    own = pixels(webps({"a": png(figure)})["a"])
    figure.set_facecolor("white")
    assert np.abs(own.astype(int) - pixels(png(figure))).mean() < 1


def test_a_page_has_the_largest_picture_that_it_can():
    figure = a_figure(0.5, dpi=100)
    figure.set_figheight(200)
    assert pixels(webps({"a": png(figure)})["a"]).shape[:2] == (16383, 41)


def test_a_page_has_few_colours_and_all_pixels():
    large = png(a_figure(8))
    own = pixels(webps({"a": large})["a"])
    assert own.shape == pixels(large).shape
    assert len(np.unique(own.reshape(-1, 4), axis=0)) <= COLOURS
    assert np.abs(own.astype(int) - pixels(large)).mean() < 1
