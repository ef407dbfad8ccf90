"""The stability frontier: where between two learning rates of the grid training begins to diverge."""

from typing import TYPE_CHECKING, Any

import numpy as np

from harness.report.layout import batch_axis, log_axis, log_limits, panels, row_titles, setting_rows
from harness.report.rates import LR_MEAN, RATES
from harness.report.style import BARS, DIVERGED, REDUCTIONS, key, styled

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINES: dict[str, dict[str, Any]] = {"mean": {"lw": 3.2, "alpha": 0.45}, "sum": {"lw": 1.4, "ls": "--"}}


@styled()
def stability(frontier: "pd.DataFrame", title: str) -> "Figure":
    """The largest rate at which no replica diverged and the next one, at which some did, against batch size."""
    rows, said = setting_rows(frontier)
    note = f"Marks: the largest rate at which no replica diverged; crosses: the next, where some did. {LR_MEAN}{said}"
    keys = [key(name, linestyle="-", **REDUCTIONS[name]) for name in sorted(set(frontier["reduction"]))]
    if frontier["unstable"].notna().any():
        keys.append(key("some replica diverged", color="#555555", marker=DIVERGED, linestyle="", markersize=8))
    texts = [f"Stability frontier, {name}" for name in RATES.values()]
    titles = [row_titles(setting, texts, len(rows) > 1) for setting in rows]
    figure, axes = panels(titles, title, note, keys, (4.3, 3.2))
    for (raw, canonical), own in zip(axes, rows.values(), strict=True):
        _stability(raw, own, RATES["learning_rate"])
        size = np.minimum(own["batch_size"], own["n_train"])  # what a sum multiplies a rate by
        factor = np.where(own["reduction"] == "sum", size, 1)
        as_lr_mean = own.assign(stable=factor * own["stable"], unstable=factor * own["unstable"])
        _stability(canonical, as_lr_mean, RATES["lr_mean"])
    return figure


def _stability(axes: "Axes", frontier: "pd.DataFrame", name: str) -> None:
    batch_axis(axes, frontier["batch_size"])
    log_axis(axes, "y", log_limits([frontier["stable"], frontier["unstable"]], 0.2, 0.2))
    axes.set_ylabel(name)
    for reduction, own in frontier.groupby("reduction"):
        _frontier(axes, own.sort_values("batch_size"), str(reduction))
    place: dict[str, Any] = {"ha": "center", "transform": axes.transAxes, "fontsize": 10}
    if frontier["unstable"].isna().all():
        axes.text(0.5, 0.04, "no cell diverged: the frontier lies above the grid", **place)
    elif frontier["stable"].isna().all():
        axes.text(0.5, 0.92, "every cell diverged: the frontier lies below the grid", **place)


def _frontier(axes: "Axes", frontier: "pd.DataFrame", reduction: str) -> None:
    """Brackets from stable to unstable; arrows, an eighth of the axis long, where the grid has no other side."""
    style, bar = REDUCTIONS[reduction], BARS[reduction]
    colour = style["color"]
    marks: dict[str, Any] = {"linestyle": "", "mec": "white", "mew": 0.7, "zorder": 4}
    x, stable, unstable = (frontier[name] for name in ("batch_size", "stable", "unstable"))
    low, high = axes.get_ylim()
    eighth = (high / low) ** (1 / 8)
    axes.plot(x, stable, color=colour, **LINES[reduction])
    axes.vlines(x, stable.fillna(unstable / eighth), unstable.fillna(stable * eighth), color=colour, **bar)
    axes.plot(x, stable, **marks, **style)
    axes.plot(x, unstable, color=colour, marker=DIVERGED, ms=style["markersize"] + 1, **marks)
    tip = {"color": colour, "ms": 4 + bar["lw"], "alpha": bar.get("alpha"), "linestyle": ""}
    axes.plot(x[unstable.isna()], stable[unstable.isna()] * eighth, marker="^", **tip)
    axes.plot(x[stable.isna()], unstable[stable.isna()] / eighth, marker="v", **tip)
