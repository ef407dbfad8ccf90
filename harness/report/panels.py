"""Panels: rows and columns of axes under a title and over a key, their places computed in inches.

Layout engines draw every figure twice, so the room for words is estimated from their lengths. Axes here carry batch
sizes, rates and times, all of them on log scales with plain numbers.
"""

import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.report.plots import COLOURS, log_scale

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

TITLE, SMALL = 13, 10  # sizes of letters in points
LEFT, RIGHT, GAP, LINE = 0.95, 0.3, 0.92, 0.235  # inches
MOST_SETTINGS = 6
# In coordinates where sum and mean coincide, the small mark lies on the large one and both are seen.
REDUCTIONS: dict[str, dict[str, Any]] = {
    "mean": {"color": COLOURS[0], "marker": "o", "markersize": 9},
    "sum": {"color": COLOURS[1], "marker": "D", "markersize": 4.5},
}


def panels(
    rows: int,
    columns: int,
    title: str,
    note: str = "",
    keys: Sequence[Any] = (),
    size: tuple[float, float] = (4.1, 3.0),
    left: float = LEFT,
    right: float = RIGHT,
    sharey: bool = False,
    heads: int = 1,
) -> tuple["Figure", "np.ndarray"]:
    """A figure and its axes (rows, columns), each `size` inches under a title of `heads` lines.

    The note stands under the figure's title, the keys at the bottom.
    """
    from matplotlib.figure import Figure

    gap = 0.3 if sharey else GAP
    width = left + columns * size[0] + (columns - 1) * gap + right
    n_columns, key_height = _key_size([key.get_label() for key in keys], width)
    heading, notes = _wrapped(title, width, TITLE), _wrapped(note, width, SMALL)
    head, foot = 0.12 + 0.21 * heads, 0.62
    top, bottom = 0.25 + 0.26 * len(heading) + 0.2 * len(notes) + head, foot + key_height
    height = top + rows * size[1] + (rows - 1) * (head + foot) + bottom
    figure = Figure(figsize=(width, height))
    figure.subplots_adjust(
        left=left / width,
        right=1 - right / width,
        bottom=bottom / height,
        top=1 - top / height,
        wspace=gap / size[0],
        hspace=(head + foot) / size[1],
    )
    figure.suptitle("\n".join(heading), fontsize=TITLE, y=1 - 0.12 / height)
    below = 1 - (0.17 + 0.26 * len(heading)) / height
    figure.text(0.5, below, "\n".join(notes), ha="center", va="top", fontsize=SMALL, color="#444444")
    if keys:
        figure.legend(handles=list(keys), loc="lower center", bbox_to_anchor=(0.5, 0), ncols=n_columns, fontsize=SMALL)
    return figure, figure.subplots(rows, columns, squeeze=False, sharey=sharey)


def _wrapped(text: str, width: float, size: float) -> list[str]:
    """The lines of a text that has to fit into so many inches; letters are 0.57 of their size wide."""
    return textwrap.wrap(text, max(20, int(72 * (width - 0.3) / (0.57 * size))))


def _key_size(labels: Sequence[str], width: float) -> tuple[int, float]:
    """Columns and height in inches of a key with these labels."""
    if not labels:
        return 1, 0.0
    widest = max(len(label) for label in labels)
    columns = max(1, min(len(labels), int((width - 0.2) / (0.75 + 0.086 * widest))))
    return columns, 0.12 + LINE * -(-len(labels) // columns)


def key(label: str, **style: Any) -> "Line2D":
    """An entry of the key: a line or mark that is drawn like what it names."""
    from matplotlib.lines import Line2D

    return Line2D([], [], label=label, **style)


def reductions_in(table: "pd.DataFrame") -> list[str]:
    return [name for name in REDUCTIONS if (table["reduction"] == name).any()]


def settings_in(table: "pd.DataFrame") -> tuple[list[str], str]:
    """The settings that get panels, in their order; and, when there are too many, the words that say so."""
    names = list(dict.fromkeys(table["setting"]))
    said = f" Shown: the first {MOST_SETTINGS} of {len(names)} settings." if len(names) > MOST_SETTINGS else ""
    return names[:MOST_SETTINGS], said


def headed(setting: str, settings: Sequence[str], text: str) -> str:
    """The title of a panel, which names the setting in a first line where there are several."""
    return f"{shortened(setting, 34)}\n{text}" if len(settings) > 1 else text


def shortened(text: str, most: int) -> str:
    """The text, its middle left out if it is longer than `most` letters."""
    part = (most - 3) // 2
    return text if len(text) <= most else f"{text[:part]} … {text[-part:]}"


def plain(value: float, _: Any = None) -> str:
    """A number as it is spoken: 0.00001, 0.3, 512, 20k, 3M; 1e-12 where nobody would count the zeros."""
    for size, letter in ((1e6, "M"), (1e4, "k")):
        if value >= size:
            return f"{value / (1e6 if letter == 'M' else 1e3):g}{letter}"
    return (
        f"{value:g}"
        if value >= 1e-4 or value < 9e-6
        else np.format_float_positional(value, precision=3, fractional=False, trim="-")
    )


def log_axis(axes: "Axes", name: str, limits: tuple[float, float] | None = None) -> None:
    """A log axis with plain numbers, over what was drawn or over the limits."""
    log_scale(axes, name)
    if limits:
        axes.set(**{f"{name}lim": limits})
    axis = axes.xaxis if name == "x" else axes.yaxis
    axis.set_major_locator(log_ticks(*axis.get_view_interval()))
    axis.set_major_formatter(plain)


def log_ticks(low: float, high: float) -> Any:
    """At 1, 2, 5, 10 over a factor of 50, at 1, 3, 10 over a few decades, at powers of ten over many."""
    from matplotlib.ticker import LogLocator

    return LogLocator(subs=(1, 2, 5) if high < 50 * low else (1, 3) if high < 3000 * low else (1,))


def log_limits(values: Iterable[Any], below: float = 0.08, above: float = 0.08) -> tuple[float, float]:
    """Limits of a log axis that leave these parts free below and above all positive finite values."""
    every = np.concatenate([np.ravel(np.asarray(v, dtype=float)) for v in values])
    every = np.log10(every[np.isfinite(every) & (every > 0)])
    low, high = (every.min(), every.max()) if every.size else (0.0, 1.0)
    if (lacking := 0.6 - (high - low)) > 0:  # less than a factor 4 is no range to read from
        low, high = low - lacking / 2, high + lacking / 2
    unit = (high - low) / (1 - below - above)
    return 10 ** (low - below * unit), 10 ** (high + above * unit)


def batch_axis(axes: "Axes", sizes: Iterable[int]) -> None:
    """A log axis of batch sizes: ticks at the sizes themselves, as many as have room, always at the largest."""
    sizes = sorted(set(sizes)) or [1]
    low, high = log_limits([sizes], 0.06, 0.06)
    log_axis(axes, "x", (low, high))
    kept: list[int] = []
    for size in reversed(sizes):
        if not kept or np.log(kept[-1] / size) > 0.12 * np.log(high / low):
            kept.append(size)
    axes.set_xticks(kept, [f"{int(size)}" for size in kept])
    axes.set_xlabel("batch size (examples)")


def rounded(value: float) -> str:
    """Two digits, as they are spoken."""
    return plain(float(f"{value:.2g}")) if np.isfinite(value) else "∞"


def evenly(items: list[Any], most: int) -> list[Any]:
    """All items, or of more than `most` evenly spaced ones."""
    if len(items) <= most:
        return items
    return [items[i] for i in np.linspace(0, len(items) - 1, most).astype(int)]


def nothing(title: str, why: str) -> "Figure":
    """A figure for a table without rows."""
    figure, ((axes,),) = panels(1, 1, title, size=(6.0, 1.5))
    axes.set_axis_off()
    say(axes, why)
    return figure


def say(axes: "Axes", text: str) -> None:
    """Why there is nothing in these axes."""
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes, fontsize=11)
