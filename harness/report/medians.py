"""Lines of medians over all replicas of a cell with quartiles as bands, and marks on them.

Marks: where replicas diverge, where they reach the target. A diverged replica counts as infinite, so the median leaves
the axes once half of them have diverged.
"""

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.report.labels import End
from harness.report.style import DIVERGED, key

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

CUT_OFF = 3  # times the first cost: what lies higher is cut off
LARGEST = 1e30  # beyond any axis, far from where drawing overflows
LOOKS: dict[str, dict[str, Any]] = {
    "lost": {"marker": DIVERGED, "ms": 9, "mec": "white", "mew": 0.6},
    "gone": {"marker": "^", "ms": 8.5, "mfc": "white", "mew": 1.4},
    "reached": {"marker": "o", "ms": 7.5, "mfc": "white", "mew": 1.4},
}
MEANING = {
    "lost": "first replica diverged",
    "gone": "half diverged: the median is infinite",
    "reached": "first replica at the target: it keeps its cost",
}
Limits = tuple[float, float]  # of what is drawn: (-inf, edge) for costs, (edge, inf) for scores
EVERYTHING = (-np.inf, np.inf)
Marks = dict[str, tuple[float, float]]  # of MEANING -> its place


def edge_of(first_costs: "pd.Series") -> float:
    """The cost at which lines are cut off: a diverging one would press the others flat."""
    return CUT_OFF * max(first_costs[np.isfinite(first_costs) & (first_costs > 0)], default=1.0)


def on_axes(values: Any, within: Limits) -> "np.ndarray":
    """The values as they are drawn: infinite ones at the edge."""
    values = np.asarray(values, dtype=float)
    return np.where(np.isinf(values), np.clip(values, *within), np.clip(values, -LARGEST, LARGEST))


def median_line(table: "pd.DataFrame", within: Limits) -> "np.ndarray":
    """The median of a `curve` as it is drawn: it ends at the edge where it becomes infinite."""
    gone = np.cumsum(np.isinf(table["median"])) > 1
    return np.where(gone, np.nan, on_axes(table["median"], within))


def marks(table: "pd.DataFrame", clock: str, within: Limits) -> Marks:
    """Where the first replica diverged, where the median became infinite, and where the first reached the target.

    table: a `curve`. A mark beyond the edge is put at it. Of the first two at one checkpoint, only the first is given.
    """
    x, y = table[clock].to_numpy(float), np.clip(table["median"].to_numpy(float), *within)
    lost, reached = (table[name].to_numpy() > 0 for name in ("diverged", "reached"))
    is_so = {"lost": lost, "gone": np.isinf(table["median"].to_numpy(float)), "reached": reached}
    first = {name: int(np.argmax(so)) for name, so in is_so.items() if so.any()}
    if first.get("gone") == first.get("lost"):
        first.pop("gone", None)
    if first.get("reached", 0) >= min(first.get("gone", np.inf), len(table) - 1):
        first.pop("reached", None)  # no line goes on from there
    return {name: (x[i], y[i]) for name, i in first.items()}


def draw(axes: "Axes", table: "pd.DataFrame", clock: str, within: Limits, style: dict[str, Any]) -> None:
    """The median of a `curve` with its quartiles as a band, and its marks."""
    x = table[clock].to_numpy(float)
    axes.plot(x, median_line(table, within), markevery=max(1, len(x) // 6), **style)
    low, high = (on_axes(table[quartile], within) for quartile in ("q25", "q75"))
    axes.fill_between(x, low, high, color=style["color"], alpha=0.15, lw=0)
    for name, place in marks(table, clock, within).items():
        falls = name == "gone" and within[0] > -np.inf  # a score leaves the axes at the lower edge
        look = LOOKS[name] | ({"marker": "v"} if falls else {})
        axes.plot(*place, color=style["color"], ls="", clip_on=False, zorder=5, **look)


def end_of(table: "pd.DataFrame", clock: str, within: Limits, name: str, colour: str) -> End:
    """Where the line of a `curve` ends."""
    line = median_line(table, within)
    last = np.flatnonzero(np.isfinite(line))[-1]
    return End(float(table[clock].iloc[last]), float(line[last]), name, colour)


def mark_keys(used: Collection[str]) -> list[Any]:
    """Entries of a figure's key for the marks that it has, of MEANING."""
    return [key(text, color="#555555", ls="", **LOOKS[name]) for name, text in MEANING.items() if name in used]
