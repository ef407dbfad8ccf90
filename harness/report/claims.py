"""The figure of a study's finding: its panels, as the judge of the study describes them."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.analysis import BATCH_SIZE, Finding, Panel, Series, Study
from harness.report.findings import caption, picture_name
from harness.report.layout import LEFT, batch_axis, empty_axes, log_axis, log_limits, panels
from harness.report.style import COLOURS, key, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKERS = "oDs^vPX"
LINESTYLES = {"line": "-", "marks": ""}
COLUMNS = 3
MARKS = 12  # along a line of many points
BARS_UP_TO = 40  # points; the limits of more are a band
ROW, LETTER = 0.3, 0.078  # inches: of a row with a name, of a letter of that name


def finding_figures(study: Study, findings: Iterable[Finding]) -> dict[str, "Figure"]:
    """The figures of the findings that have panels, by file name."""
    return {picture_name(f): finding_figure(*caption(study, f), f.panels) for f in findings if f.panels}


@styled()
def finding_figure(title: str, note: str, shown: Sequence[Panel]) -> "Figure":
    """Panels in rows of three, one key for all of them: a label has the same style in each."""
    styles = _styles(shown)
    keys = [key(label, **style) for label, style in styles.items() if label] if len(styles) > 1 else []
    titles = [[panel.title for panel in shown[i : i + COLUMNS]] for i in range(0, len(shown), COLUMNS)]
    width, height = (4.1, 3.0) if len(shown) > 1 else (6.4, 3.4)
    names = [panel.names for panel in shown if panel.named == "y"]
    height = max([height, *(ROW * len(own) for own in names)])
    left = max([LEFT, *(0.4 + LETTER * len(name) for own in names for name in own)])
    figure, axes = panels(titles, title, note, keys, (width, height), left=left)
    for one, panel in zip(axes.flat, shown, strict=False):
        _draw(one, panel, styles)
    return figure


def _styles(shown: Sequence[Panel]) -> dict[str, dict[str, Any]]:
    """Label -> its style: a colour and a marker each, references in grey with dashes of their own."""
    every = [line for panel in shown for line in panel.lines]
    kinds = {line.label: line.kind for line in sorted(every, key=lambda line: line.kind == "line")}  # key: of a line
    styles: dict[str, dict[str, Any]] = {}
    n_data = n_references = 0
    for label in dict.fromkeys(line.label for line in every):
        if kinds[label] == "reference":
            dashes = (0, (1, 1 + n_references) if n_references else (5, 3))
            styles[label] = {"color": "#444444", "linewidth": 1.2, "linestyle": dashes}
            n_references += 1
        else:
            look = {"color": COLOURS[n_data % len(COLOURS)], "marker": MARKERS[n_data % len(MARKERS)], "markersize": 6}
            styles[label] = {**look, "linestyle": LINESTYLES[kinds[label]], "linewidth": 1.6}
            n_data += 1
    return styles


def _draw(axes: "Axes", panel: Panel, styles: dict[str, dict[str, Any]]) -> None:
    known = [_finite(line) for line in panel.lines]
    for line, (x, y, low, high) in zip(panel.lines, known, strict=True):
        style = styles[line.label]
        own = {} if line.kind == "reference" else {"linestyle": LINESTYLES[line.kind]}
        every = max(1, len(x) // MARKS) if line.kind == "line" else 1
        axes.plot(x, y, **style | own, markevery=every, zorder=2 if line.kind == "reference" else 3)
        if line.low is not None and len(x) > BARS_UP_TO:
            axes.fill_between(x, low, high, color=style["color"], alpha=0.2, linewidth=0)
        elif line.low is not None:
            axes.vlines(x, low, high, color=style["color"], linewidth=1.6, zorder=3)
    axes.set(xlabel=panel.x, ylabel=panel.y)
    if any(rows.size for rows in known):
        _scale(axes, panel, known)
    else:
        empty_axes(axes, "nothing to show")


def _finite(line: Series) -> "np.ndarray":
    """(4, n): x, y, low, high where x and y are finite; limits that are missing or not finite are put at y."""
    limits = [line.y if limit is None else limit for limit in (line.low, line.high)]
    rows = np.array([line.x, line.y, *limits], dtype=float)
    known = np.isfinite(rows)
    return np.where(known, rows, rows[1])[:, known[0] & known[1]]


def _scale(axes: "Axes", panel: Panel, known: list["np.ndarray"]) -> None:
    """Log axes over everything drawn, and the names of the places on an axis that has names."""
    drawn = np.hstack(known)
    if panel.x == BATCH_SIZE:
        data = [rows[0] for rows, line in zip(known, panel.lines, strict=True) if line.kind != "reference"]
        batch_axis(axes, np.hstack(data).round() if data else [])
    elif "x" in panel.log:
        log_axis(axes, "x", log_limits([drawn[0]]))
    if "y" in panel.log:
        log_axis(axes, "y", log_limits([drawn[1:]]))
    if panel.names and panel.named == "y":
        axes.set_yticks(range(len(panel.names)), list(panel.names), fontsize=10)
        axes.set_ylim(len(panel.names) - 0.5, -0.5)
    elif panel.names:
        slanted = max(len(text) for text in panel.names) * len(panel.names) > 36
        look: dict[str, Any] = {"rotation": 25, "ha": "right", "fontsize": 9} if slanted else {}
        axes.set_xticks(range(len(panel.names)), list(panel.names), **look)
        axes.set_xlim(-0.5, len(panel.names) - 0.5)
        axes.grid(visible=False, axis="x")
