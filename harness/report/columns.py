"""Figures as wide as a column of a paper: each panel by itself, the title left to the caption, as PDF.

A panel is drawn larger and made smaller as a whole, so that letters, lines and marks keep their proportions. The panels
of a figure lie on one another while it is drawn, and all but one are hidden when it is written.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.report.latex import figure_text
from harness.report.style import SMALL

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMN = 3.3  # inches: width of a file
DRAWN = 4.6  # inches: width of a drawing, of which 11-point letters become 8-point ones
NARROWEST, HEIGHT = 2.2, 2.3  # inches of the axes in a drawing
BELOW = 0.75  # inches for two rows of numbers and the name of an x axis
KEY_ROW = 0.235  # inches
PANEL = "panel"  # label of the axes of a panel; others are colour bars
TRUETYPE = {"pdf.fonttype": 42, "pdf.compression": 9}
columns_wide: ContextVar[bool] = ContextVar("columns_wide", default=False)


@contextmanager
def in_columns() -> Iterator[None]:
    """Figures that are made here have their panels on one another; the label of a figure is its caption."""
    token = columns_wide.set(True)
    try:
        yield
    finally:
        columns_wide.reset(token)


def one_on_another(
    titles: Sequence[Sequence[str]],
    caption: str,
    keys: Sequence[Any],
    size: tuple[float, float],
    left: float,
    right: float,
    sharey: bool,
) -> tuple["Figure", "np.ndarray"]:
    """As `panels` of `layout`."""
    from matplotlib.figure import Figure

    texts = [text for row in titles for text in row]
    width = max(DRAWN, left + NARROWEST + right)
    n_columns, key_height = key_size([key.get_label() for key in keys], width)
    above = 0.16 + 0.21 * max(len(text.splitlines()) for text in texts)
    tall, bottom = max(HEIGHT, 0.7 * size[1]), BELOW - 0.1 + key_height
    height = bottom + tall + above
    figure = Figure(figsize=(width, height), label=caption)
    place = (left / width, bottom / height, 1 - (left + right) / width, tall / height)
    axes = np.empty((len(titles), len(titles[0])), dtype=object)
    for i in range(axes.size):
        first = axes.flat[0] if sharey and i else None
        axes.flat[i] = figure.add_axes(place, sharey=first, label=PANEL if i < len(texts) else "")
        axes.flat[i].set_title(texts[i]) if i < len(texts) else axes.flat[i].set_axis_off()
    if keys:
        figure.legend(handles=list(keys), loc="lower center", bbox_to_anchor=(0.5, 0), ncols=n_columns, fontsize=SMALL)
    return figure, axes


def key_size(labels: Sequence[str], width: float) -> tuple[int, float]:
    """Columns and height in inches of a key with these labels."""
    if not labels:
        return 1, 0.0
    widest = max(len(label) for label in labels)
    columns = max(1, min(len(labels), int((width - 0.2) / (0.75 + 0.086 * widest))))
    return columns, 0.12 + KEY_ROW * -(-len(labels) // columns)


def pdfs(figure: "Figure") -> list[bytes]:
    """A file for each panel that shows something, of a figure made `in_columns`; always the same bytes."""
    panels = [axes for axes in figure.axes if axes.get_label() == PANEL]
    name, files = "", []
    for axes in panels:
        name = axes.get_ylabel() or name  # panels that were beside one another have it once
        axes.set_ylabel(name)
    _replace_unknown_letters(figure)
    for shown in (axes for axes in panels if axes.has_data()):
        for axes in panels:
            axes.set_visible(axes is shown)
        files.append(_pdf(figure))
    return files


def _replace_unknown_letters(figure: "Figure") -> None:
    from matplotlib.font_manager import findfont, get_font
    from matplotlib.text import Text

    known = get_font(findfont("DejaVu Sans")).get_charmap()
    for text in figure.findobj(Text):
        text.set_text(figure_text(text.get_text(), known))


def _pdf(figure: "Figure") -> bytes:
    from matplotlib import rc_context
    from matplotlib.backends.backend_pdf import Op, PdfFile, RendererPdf

    figure.dpi = 72  # points of a PDF to an inch
    (width, height), stream = figure.get_size_inches(), io.BytesIO()
    scale = COLUMN / width
    with rc_context(TRUETYPE):
        file = PdfFile(stream, metadata={"CreationDate": None, "Producer": "matplotlib", "Creator": "harness"})
        file.newPage(COLUMN, scale * height)
        file.width, file.height = width, height  # lines are cut off at these
        file.output(scale, 0, 0, scale, 0, 0, Op.concat_matrix)
        renderer = RendererPdf(file, 72, height, width)
        figure.draw(renderer)
        renderer.finalize()
        file.finalize()
    return stream.getvalue()
