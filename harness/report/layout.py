"""The layout of every figure: rows and columns of panels under a title and over a key, their axes and scales.

Places are computed in inches from the lengths of texts: matplotlib's layout engines draw a figure twice, which takes
1.6 times as long. Figures are made without pyplot, so they need no display and leave no state behind.
"""

import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.config import visible
from harness.report.columns import BELOW, columns_wide, key_size, one_on_another
from harness.report.labels import value_ticks
from harness.report.style import SMALL, TITLE, plain, short_names

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEFT, RIGHT, BETWEEN = 1.02, 0.3, 0.98  # inches beside the panels, and between them for the numbers of an axis
LOWEST = 1e-12  # cost on a log axis: rounding errors lie below
MOST_SETTINGS = 6
SETTING = 34  # letters of its name in a line
NOT_COMPARABLE = "one reading of each clock:\nseconds do not compare"


def panels(
    titles: Sequence[Sequence[str]],
    title: str,
    note: str = "",
    keys: Sequence[Any] = (),
    size: tuple[float, float] = (4.1, 3.0),
    left: float = LEFT,
    right: float = RIGHT,
    sharey: bool = False,
    beside: float = 0.0,
) -> tuple["Figure", "np.ndarray"]:
    """A figure and its axes (rows, columns), one for each of `titles`, `size` inches each.

    The note stands under the figure's title, after the title's second line; the keys at the bottom. The last row may be
    shorter. beside: inches between the panels of a row for the labels of lines.
    """
    from matplotlib.figure import Figure

    title, _, second = title.partition("\n")
    note = f"{second}. {note}" if second else note
    if columns_wide.get():
        return one_on_another(titles, f"{title}. {note}".removesuffix(". "), keys, size, left, right, sharey)
    rows, columns = len(titles), len(titles[0])
    between = beside + (0.3 if sharey else BETWEEN)
    width = left + columns * size[0] + (columns - 1) * between + right
    heading, notes = _wrapped(title, width, TITLE), _wrapped(note, width, SMALL)
    n_columns, key_height = key_size([key.get_label() for key in keys], width)
    above = 0.16 + 0.21 * max(len(text.splitlines()) for row in titles for text in row)
    top, bottom = 0.25 + 0.26 * len(heading) + 0.2 * len(notes) + above, BELOW + key_height
    height = top + rows * size[1] + (rows - 1) * (above + BELOW) + bottom
    figure = Figure(figsize=(width, height))
    figure.subplots_adjust(left / width, bottom / height, 1 - right / width, 1 - top / height)
    figure.subplots_adjust(wspace=between / size[0], hspace=(above + BELOW) / size[1])
    figure.suptitle("\n".join(heading), fontsize=TITLE, y=1 - 0.12 / height)
    place = 1 - (0.17 + 0.26 * len(heading)) / height
    figure.text(0.5, place, "\n".join(notes), ha="center", va="top", fontsize=SMALL, color="#444444")
    if keys:
        figure.legend(handles=list(keys), loc="lower center", bbox_to_anchor=(0.5, 0), ncols=n_columns, fontsize=SMALL)
    axes = figure.subplots(rows, columns, squeeze=False, sharey=sharey)
    texts = [text for row in titles for text in row]
    for one, text in zip(axes.flat, texts, strict=False):
        one.set_title(text)
    for one in axes.flat[len(texts) :]:
        one.set_axis_off()
    return figure, axes


def _wrapped(text: str, width: float, size: float) -> list[str]:
    """The lines of a text that has to fit into so many inches; letters are 0.57 of their size wide."""
    return textwrap.wrap(visible(text), max(20, int(72 * (width - 0.3) / (0.57 * size))))


def setting_panels(
    table: "pd.DataFrame",
    texts: Iterable[str],
    title: str,
    note: str,
    keys: Sequence[Any],
    size: tuple[float, float],
    by: Sequence[str] = (),
    right: float = RIGHT,
    beside: float = 0.0,
) -> tuple["Figure", list[tuple["np.ndarray", "pd.DataFrame"]]]:
    """A figure with a row of panels for each of the first settings and value of the columns `by`.

    texts: what each panel of a row shows. Returns for each row its axes and its part of the table, too.
    """
    names = short_names(list(table["setting"].unique()), SETTING)
    place = table.groupby("setting", sort=False).ngroup().rename("place")
    rows = [(key, own) for key, own in table.groupby([place, *by]) if key[0] < MOST_SETTINGS]
    said = f" Shown: the first {MOST_SETTINGS} of {len(names)} settings." if len(names) > MOST_SETTINGS else ""
    heads = [textwrap.fill(name, SETTING) + "\n" if len(names) > 1 else "" for name in names]
    titles = [[heads[i] + ", ".join([*values, text]) for text in texts] for (i, *values), _ in rows]
    figure, axes = panels(titles, title, note + said, keys, size, right=right + beside, beside=beside)
    return figure, [(row, own) for row, (_, own) in zip(axes, rows, strict=True)]


def evenly_spaced(items: Sequence[Any], most: int) -> list[Any]:
    """All items; of more than `most`, evenly spaced ones."""
    return [items[i] for i in np.linspace(0, len(items) - 1, min(len(items), most)).astype(int)]


def empty_axes(axes: "Axes", why: str) -> None:
    """Say in the middle of the axes why they are empty."""
    axes.text(0.5, 0.5, why, ha="center", va="center", transform=axes.transAxes, fontsize=11)


def log_axis(axes: "Axes", name: str, limits: tuple[float, float] | None = None) -> None:
    """Make axis x or y a log axis with plain numbers, over these limits or over what was drawn.

    There are no minor ticks: making them takes half of the time that a figure takes.
    """
    from matplotlib.ticker import NullLocator

    axes.set(**{f"{name}scale": "log"}, **({f"{name}lim": limits} if limits else {}))
    axis = axes.xaxis if name == "x" else axes.yaxis
    low, high = axis.get_view_interval()
    narrow = name == "x" and (columns_wide.get() or low <= 1e-4)  # room for half as many numbers; or they are long
    axis.set_major_locator(log_ticks(low, high * (high / low) if narrow else high))
    axis.set_major_formatter(plain)
    axis.set_minor_locator(NullLocator())


def log_ticks(low: float, high: float) -> Any:
    """Closer over a small factor; at 1, 3, 10 over a few decades, at powers of ten over many."""
    from matplotlib.ticker import LogLocator

    parts = {5: (1, 1.5, 2, 3, 4, 6, 8), 50: (1, 2, 5), 3000: (1, 3)}
    return LogLocator(subs=next((subs for factor, subs in parts.items() if high < factor * low), (1,)))


def log_limits(values: Iterable[Any], below: float = 0.08, above: float = 0.08) -> tuple[float, float]:
    """Limits of a log axis that leave these parts free below and above all positive finite values."""
    every = np.concatenate([np.ravel(np.asarray(v, dtype=float)) for v in values])
    every = np.log10(every[np.isfinite(every) & (every > 0)])
    low, high = (every.min(), every.max()) if every.size else (0.0, 1.0)
    if (lacking := 0.6 - (high - low)) > 0:  # less than a factor 4 is no range to read from
        low, high = low - lacking / 2, high + lacking / 2
    unit = (high - low) / (1 - below - above)
    return 10 ** (low - below * unit), 10 ** (high + above * unit)


def log_cost(axes: "Axes") -> None:
    """Costs fall by factors, so they are drawn on a log axis; not where one is not positive, or they hardly fall."""
    low, high = axes.dataLim.intervaly
    if 0 < 3 * low < high < np.inf:
        axes.set_yscale("log")
        log_axis(axes, "y", (max(axes.get_ylim()[0], LOWEST), axes.get_ylim()[1]))


def batch_axis(axes: "Axes", sizes: Iterable[float]) -> None:
    """A log axis of batch sizes with ticks at the sizes themselves."""
    sizes = sorted(set(sizes)) or [1]
    log_axis(axes, "x", log_limits([sizes], 0.06, 0.06))
    value_ticks(axes, "x", sizes)
    axes.set_xlabel("batch size (examples)")
