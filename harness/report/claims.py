"""The figure of a finding: its panels, as the judge of a study describes them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.analysis import BATCH_SIZE, Panel, Series
from harness.report.panels import LEFT, batch_axis, key, log_axis, log_limits, panels, say
from harness.report.plots import COLOURS, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKERS = "oDs^vPX"
LINESTYLES = {"line": "-", "marks": ""}
COLUMNS = 3
MARKS = 12  # along a line of many points
ROW, LETTER = 0.3, 0.078  # inches: of a row with a name, of a letter of that name
REFERENCE = {"color": "#444444", "linewidth": 1.2, "linestyle": (0, (5, 3))}


@styled
def finding(title: str, note: str, shown: Sequence[Panel]) -> "Figure":
    """Panels in rows of three, one key for all of them: a label looks the same wherever it is."""
    styles = _styles(shown)
    columns = min(COLUMNS, len(shown))
    keys = [key(label, **style) for label, style in styles.items() if label]
    rows = [panel.names for panel in shown if panel.named == "y"]
    height = max([3.0 if columns > 1 else 3.4, *(ROW * len(names) for names in rows)])
    size = (4.1 if columns > 1 else 6.4, height)
    left = max([LEFT, *(0.4 + LETTER * len(name) for names in rows for name in names)])
    keys = keys if len(styles) > 1 else []
    figure, grid = panels(-(-len(shown) // columns), columns, title, note, keys, size=size, left=left)
    places = grid.ravel()
    for axes, panel in zip(places, shown, strict=False):
        _draw(axes, panel, styles)
    for axes in places[len(shown) :]:
        axes.set_axis_off()
    return figure


def _styles(shown: Sequence[Panel]) -> dict[str, dict[str, Any]]:
    """Label -> how it is drawn: a colour and a marker each, references in grey with dashes of their own."""
    every = [line for panel in shown for line in panel.lines]
    lines = {line.label: line for line in sorted(every, key=lambda line: line.kind == "line")}  # the key shows a line
    lines = {label: lines[label] for label in dict.fromkeys(line.label for line in every)}
    styles: dict[str, dict[str, Any]] = {}
    n_data = n_references = 0
    for label, line in lines.items():
        if line.kind == "reference":
            dash = (0, (5, 3)) if not n_references else (0, (1, 1 + n_references))
            styles[label] = {**REFERENCE, "linestyle": dash}
            n_references += 1
        else:
            look = {"color": COLOURS[n_data % len(COLOURS)], "marker": MARKERS[n_data % len(MARKERS)], "markersize": 6}
            styles[label] = {**look, "linestyle": LINESTYLES[line.kind], "linewidth": 1.6}
            n_data += 1
    return styles


def _draw(axes: "Axes", panel: Panel, styles: dict[str, dict[str, Any]]) -> None:
    known = [_finite(line) for line in panel.lines]
    for line, (x, y, low, high) in zip(panel.lines, known, strict=True):
        style = styles[line.label]
        own = {} if line.kind == "reference" else {"linestyle": LINESTYLES[line.kind]}
        every = max(1, len(x) // MARKS) if line.kind == "line" else 1
        axes.plot(x, y, **style | own, markevery=every, zorder=2 if line.kind == "reference" else 3)
        if low is not None and len(x) > 40:
            axes.fill_between(x, low, high, color=style["color"], alpha=0.2, linewidth=0)
        elif low is not None:
            axes.vlines(x, low, high, color=style["color"], linewidth=1.6, zorder=3)
    axes.set(title=panel.title, xlabel=panel.x, ylabel=panel.y)
    if any(len(x) for x, *_ in known):
        _scale(axes, panel, known)
    else:
        say(axes, "nothing to show")


def _finite(line: Series) -> tuple[Any, Any, Any, Any]:
    """x, y, low, high (None without limits) where x and y are finite; limits that are not are put at y."""
    x, y = np.asarray(line.x, dtype=float), np.asarray(line.y, dtype=float)
    kept = np.isfinite(x) & np.isfinite(y)
    if line.low is None or line.high is None:
        return x[kept], y[kept], None, None
    limits = (np.asarray(limit, dtype=float) for limit in (line.low, line.high))
    low, high = (np.where(np.isfinite(limit), limit, y)[kept] for limit in limits)
    return x[kept], y[kept], low, high


def _scale(axes: "Axes", panel: Panel, known: list[tuple[Any, Any, Any, Any]]) -> None:
    """Log axes over everything drawn, and the names of the places on an axis that has names."""
    for name, places in (("x", (0,)), ("y", (1, 2, 3))):
        values = [line[i] for line in known for i in places if line[i] is not None]
        if name == "x" and panel.x == BATCH_SIZE:
            data = [x for x, line in zip(values, panel.lines, strict=True) if line.kind != "reference"]
            batch_axis(axes, (round(size) for x in data for size in x))
        elif name in panel.log:
            log_axis(axes, name, log_limits(values))
    if panel.names and panel.named == "y":
        axes.set_yticks(range(len(panel.names)), list(panel.names), fontsize=10)
        axes.set_ylim(len(panel.names) - 0.5, -0.5)
    elif panel.names:
        slanted = max(len(text) for text in panel.names) * len(panel.names) > 36
        look: dict[str, Any] = {"rotation": 25, "ha": "right", "fontsize": 9} if slanted else {}
        axes.set_xticks(range(len(panel.names)), list(panel.names), **look)
        axes.set_xlim(-0.5, len(panel.names) - 0.5)
        axes.grid(visible=False, axis="x")
