"""Cost over learning rate: a curve for each batch size and reduction, in the user's units and in canonical ones."""

from typing import TYPE_CHECKING, Any

import numpy as np

from harness.report.labels import End, end_labels, margin, value_ticks
from harness.report.layout import empty_axes, log_axis, log_cost, log_limits, setting_panels
from harness.report.rates import about_units, rate_units
from harness.report.style import DIVERGED, MARKS, key, palette, styled

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINES: dict[str, dict[str, Any]] = {
    "mean": {"ls": "-", "lw": 3.2, "alpha": 0.5, "ms": 7},
    "sum": {"ls": "--", "lw": 1.6, "ms": 4.5},
}
CROSSES = {"mean": 9, "sum": 6}  # points: a cross of sum lies on that of mean
GREY = "#555555"
STRIP = 0.05  # of the height: a row of crosses, one for each batch size, above the costs


@styled()
def slices(cells: "pd.DataFrame", edge: float, title: str) -> "Figure":
    """cells: with score, q25, q75, n_diverged and knobs. edge: the cost at which a curve is cut off.

    Under lr_mean the curves of sum and mean lie on one another where the two are the same training.
    """
    styles = _styles(sorted(set(cells["batch_size"])))
    units = rate_units(cells["learning_rate"], cells["lr_mean"])
    note = f"Points: median over all replicas; bars: quartiles.{about_units(units)}"
    texts = [f"cost over {name}" for name in units.values()]
    beside = max(margin(_names(own).values()) for _, own in cells.groupby("setting"))
    figure, rows = setting_panels(cells, texts, title, note, _keys(cells, styles), (4.4, 3.4), beside=beside)
    for axes, own in rows:
        for one, (column, name) in zip(axes, units.items(), strict=True):
            log_axis(one, "x", log_limits([own[column]], 0.05, 0.05))
            if (own[column] == own["learning_rate"]).all():
                value_ticks(one, "x", own[column])
            _panel(one, own, column, styles, edge)
            one.set_xlabel(name)
        axes[0].set_ylabel("final training cost per example")
    return figure


def _styles(sizes: list[float]) -> dict[float, dict[str, Any]]:
    """A colour and a mark for each batch size."""
    colours = palette(len(sizes))
    return {size: {"color": colours[i], "marker": MARKS[i % len(MARKS)]} for i, size in enumerate(sizes)}


def _keys(cells: "pd.DataFrame", styles: dict[float, dict[str, Any]]) -> list[Any]:
    keys = [key(f"B={size:.0f}", lw=2, ms=5, **style) for size, style in styles.items()]
    both = sorted(set(cells["reduction"]))
    keys += [key(name, color=GREY, **LINES[name]) for name in both] if len(both) > 1 else []
    lost, cross = np.isinf(cells["score"]), {"color": GREY, "marker": DIVERGED, "ms": 8, "ls": ""}
    keys += [key("half of the replicas or more diverged", **cross)] if lost.any() else []
    some = (cells["n_diverged"] > 0) & ~lost
    return keys + ([key("fewer than half diverged", **cross | {"mfc": "white"})] if some.any() else [])


def _names(cells: "pd.DataFrame") -> dict[tuple[float, str], str]:
    """Batch size and reduction -> the name at the end of the curve."""
    several = cells["reduction"].nunique() > 1
    return {(b, r): f"B={b:.0f} {r}" if several else f"B={b:.0f}" for b, r in _curves(cells)}


def _curves(cells: "pd.DataFrame") -> dict[tuple[float, str], "pd.DataFrame"]:
    return {(float(b), str(r)): own for (b, r), own in cells.groupby(["batch_size", "reduction"])}


def _panel(axes: "Axes", cells: "pd.DataFrame", rate: str, styles: dict[float, dict[str, Any]], edge: float) -> None:
    """Curves with their names; above them a strip with a row of crosses for each batch size that diverged."""
    names, ends = _names(cells), []
    for (size, reduction), own in _curves(cells.sort_values(rate)).items():
        known, style = own[np.isfinite(own["score"])], styles[size] | LINES[reduction]
        low, cost, high = (known[name].clip(upper=edge) for name in ("q25", "score", "q75"))
        axes.plot(known[rate], cost, **style)
        axes.vlines(known[rate], low, high, color=style["color"], lw=1)
        some = known["n_diverged"] > 0
        axes.plot(known.loc[some, rate], cost[some], DIVERGED, color=style["color"], mfc="white", ms=8, zorder=4)
        if len(known):
            ends.append(End(known[rate].iloc[-1], cost.iloc[-1], names[size, reduction], style["color"]))
    log_cost(axes)
    _crosses(axes, cells[np.isinf(cells["score"])], rate, styles)
    if not ends:
        axes.set_yticks([])
        empty_axes(axes, "half of the replicas or more\ndiverged in every cell")
    elif margin(names.values()):
        end_labels(axes, ends)


def _crosses(axes: "Axes", lost: "pd.DataFrame", rate: str, styles: dict[float, dict[str, Any]]) -> None:
    """Where half diverged, a row each batch size; the limits leave a strip for them."""
    sizes = sorted(set(lost["batch_size"]), reverse=True)
    row = min(STRIP, 0.35 / max(1, len(sizes)))
    to_scale = axes.transScale + axes.transLimits
    top = to_scale.inverted().transform((0.5, 1 / (1 - row * len(sizes))))[1]
    axes.set_ylim(top=top)
    for (size, reduction), own in _curves(lost).items():
        level = np.full(len(own), 1 - row * (sizes.index(size) + 0.5))
        axes.plot(
            own[rate], level, DIVERGED, color=styles[size]["color"], ms=CROSSES[reduction], mec="white", mew=0.5,
            transform=axes.get_xaxis_transform(), clip_on=False,
        )  # fmt: skip
