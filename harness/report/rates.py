"""Learning rates against batch sizes: which is best, what the usual rules would have chosen, where training diverges.

Every panel comes twice: in raw units, the number that the user types, and as lr_mean, the rate that multiplies the
mean gradient of a batch (η for mean, ηB for sum), where both reductions do the same.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from harness.report.panels import (
    LINE,
    REDUCTIONS,
    batch_axis,
    headed,
    key,
    log_axis,
    log_limits,
    log_ticks,
    nothing,
    panels,
    plain,
    reductions_in,
    say,
    settings_in,
)
from harness.report.plots import COLOURS, styled

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COORDINATES = {
    "learning_rate": "learning rate",
    "lr_mean": "lr_mean",
}
UNITS = {"learning_rate": "raw learning rate", "lr_mean": "as lr_mean"}
MEANING = "lr_mean: η for mean, ηB for sum."
RAMP = "viridis_r"  # the lower, the brighter
RULES = {
    0.0: ("lr_mean constant", (0, (1, 1.5))),
    0.5: ("lr_mean ∝ √B", (0, (6, 2, 1, 2))),
    1.0: ("lr_mean ∝ B", (0, (6, 2.5))),
}
RIDGES = {
    "mean": {"color": "black", "lw": 2.4, "marker": "o", "ms": 8, "mec": "white"},
    "sum": {"color": COLOURS[1], "lw": 1.4, "marker": "D", "ms": 4.5, "mec": "white", "ls": "--"},
}
LOST = "#E4E4E4"
INCHES = (4.0, 3.0)  # of a heat map


@styled
def rate_heatmaps(cells: "pd.DataFrame", best: "pd.DataFrame", title: str) -> "Figure":
    """Final training cost over batch size × learning rate, a row a setting and reduction, the best rates as a ridge."""
    if cells.empty:
        return nothing(title, "no cell has finished")
    settings, said = settings_in(cells)
    rows = [(f, r) for f in settings for r in reductions_in(cells[cells["setting"] == f])]
    norm = _norm(cells["score"])
    note = f"Colour: median over replicas. Rules pass through the middle of the ridge. {MEANING}{said}"
    keys = _keys(cells, best)
    figure, axes = panels(len(rows), 2, title, note, keys, INCHES, right=1.55, heads=min(2, len(settings)))
    for row, (setting, reduction) in zip(axes, rows, strict=False):
        own = cells[(cells["setting"] == setting) & (cells["reduction"] == reduction)]
        ridges = {} if best.empty else dict(iter(best[best["setting"] == setting].groupby("reduction")))
        sizes = sorted(set(cells.loc[cells["setting"] == setting, "batch_size"]))
        for one, coordinate in zip(row, COORDINATES, strict=True):
            drawn = {n: r for n, r in ridges.items() if n == reduction or coordinate == "lr_mean"}
            _heatmap(one, own, drawn, coordinate, sizes, norm)
            _rules(one, ridges.get(reduction), coordinate, sizes)
            one.set_title(headed(setting, settings, f"{reduction}, {UNITS[coordinate]}"))
    _colour_bar(figure, axes, norm)
    return figure


def _norm(scores: "pd.Series") -> Any:
    """From cost to colour, by factors unless one is zero; None where there is no cost."""
    from matplotlib.colors import LogNorm, Normalize

    finite = scores[np.isfinite(scores)]
    if finite.empty:
        return None
    low, high = float(finite.min()), float(finite.max())
    if low <= 0:
        return Normalize(low, max(high, low + 1))
    return LogNorm(low, high) if high > 1.05 * low else LogNorm(low / 2.5, high * 2.5)


def _keys(cells: "pd.DataFrame", best: "pd.DataFrame") -> list[Any]:
    from matplotlib.patches import Patch

    keys: list[Any] = []
    if not best.empty:
        keys += [key(f"best rate, {name}", **RIDGES[name]) for name in reductions_in(best)]
        if best["batch_size"].nunique() > 1:
            keys += [key(label, color="#333333", lw=1.3, ls=dashes) for label, dashes in RULES.values()]
        if (best["edge"] != "").any():
            keys.append(key("best on the edge of the grid", color="black", marker="^", ls="", ms=8, mec="white"))
    if (cells["n_diverged"] > 0).any():
        label = "k of n replicas diverged; grey: all"
        keys.append(Patch(facecolor=LOST, edgecolor="#AAAAAA", hatch="////", lw=0, label=label))
    return keys


def _heatmap(
    axes: "Axes", cells: "pd.DataFrame", ridges: dict[str, "pd.DataFrame"], coordinate: str, sizes: list[int], norm: Any
) -> None:
    boxes = _boxes(cells, coordinate, sizes)
    low, high = boxes[:, 1].min(), boxes[:, 3].max()
    reach = [ridge[name] for ridge in ridges.values() for name in [coordinate]]
    limits = log_limits([[low, high], *reach], 0.03, 0.04)
    log_axis(axes, "y", limits)
    _size_ticks(axes, sizes)
    axes.grid(False)
    axes.set(ylabel=COORDINATES[coordinate], xlabel="batch size (examples)", xlim=(-0.5, len(sizes) - 0.5))
    _fill(axes, boxes, cells["score"].to_numpy(float), norm)
    _diverged(axes, boxes, cells, limits)
    for name, ridge in ridges.items():
        _ridge(axes, ridge.sort_values("batch_size"), coordinate, sizes, RIDGES[name])


def _size_ticks(axes: "Axes", sizes: list[int]) -> None:
    """A column a batch size; as many labels as have room, always the largest."""
    step = -(-len(sizes) // 10)
    shown = list(range(len(sizes)))[::-1][::step]
    axes.set_xticks(shown, [f"{int(sizes[i])}" for i in shown])


def _boxes(cells: "pd.DataFrame", coordinate: str, sizes: list[int]) -> "np.ndarray":
    """Left, bottom, right, top of each cell; in rates, a box ends half way (by factors) to its neighbour."""
    rates = np.log10(cells[coordinate].to_numpy(float))
    columns = np.searchsorted(sizes, cells["batch_size"])
    steps = np.concatenate([np.diff(np.unique(rates[columns == c])) for c in set(columns)])
    half = float(np.median(steps)) / 2 if steps.size else 0.25
    boxes = np.empty((len(cells), 4))
    for i, (rate, column) in enumerate(zip(rates, columns, strict=True)):
        away = rates[columns == column] - rate
        below, above = -away[away < 0], away[away > 0]
        down = min(below.min(initial=np.inf) / 2, 1.2 * half) if below.size else half
        up = min(above.min(initial=np.inf) / 2, 1.2 * half) if above.size else half
        boxes[i] = column - 0.5, 10 ** (rate - down), column + 0.5, 10 ** (rate + up)
    return boxes


def _polygons(boxes: "np.ndarray", **style: Any) -> Any:
    from matplotlib.collections import PolyCollection

    left, bottom, right, top = boxes.T
    corners = [(left, bottom), (left, top), (right, top), (right, bottom)]
    return PolyCollection(list(np.stack([np.stack(corner, axis=1) for corner in corners], axis=1)), **style)


def _fill(axes: "Axes", boxes: "np.ndarray", scores: "np.ndarray", norm: Any) -> None:
    fine = np.isfinite(scores)
    lost = {"facecolor": LOST, "edgecolor": "#AAAAAA", "hatch": "////", "linewidth": 0}
    axes.add_collection(_polygons(boxes[~fine], **lost), autolim=False)
    if fine.any():
        filled = _polygons(boxes[fine], array=scores[fine], norm=norm, cmap=RAMP, edgecolor="white", linewidth=0.4)
        axes.add_collection(filled, autolim=False)


def _diverged(axes: "Axes", boxes: "np.ndarray", cells: "pd.DataFrame", limits: tuple[float, float]) -> None:
    """Hatches where some replicas diverged, and in the corner, if it has room, how many."""
    some = ((cells["n_diverged"] > 0) & np.isfinite(cells["score"])).to_numpy()
    scale = INCHES[1] / np.log10(limits[1] / limits[0])
    heights = scale * np.log10(boxes[:, 3] / boxes[:, 1])
    roomy = INCHES[0] / (axes.get_xlim()[1] + 0.5) > 0.4
    hatches = {"facecolor": "none", "edgecolor": "#777777", "hatch": "////", "linewidth": 0}
    axes.add_collection(_polygons(boxes[some], **hatches), autolim=False)
    for cell, box, height in zip(cells[some].itertuples(), boxes[some], heights[some], strict=True):
        if roomy and height > 0.28:
            words = f"{cell.n_diverged:g}/{cell.n_replicas:g}"
            place = (box[2] - 0.05, box[3] * 10 ** (-0.03 / scale))
            plate = {"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 0.8}
            axes.text(*place, words, ha="right", va="top", fontsize=8, bbox=plate)


def _ridge(axes: "Axes", ridge: "pd.DataFrame", coordinate: str, sizes: list[int], style: dict[str, Any]) -> None:
    """The best rates, their intervals, and arrow heads where the best lies on the edge of the grid."""
    x = np.searchsorted(sizes, ridge["batch_size"])
    y = ridge[coordinate].to_numpy(float)
    factor = y / ridge["learning_rate"].to_numpy(float)
    low, high = (factor * ridge[name].to_numpy(float) for name in ("low_rate", "high_rate"))
    crowd = min(1.0, 25 / len(sizes))
    axes.vlines(x, low, high, color=style["color"], lw=1.2 * crowd, zorder=4)
    axes.plot(x, y, color="white", lw=style["lw"] + 1.6, alpha=0.7, zorder=4)
    zorder = 5 if style["marker"] == "o" else 6
    axes.plot(x, y, zorder=zorder, **style | {"marker": ""})
    for edge, mark, larger in (("", style["marker"], 0), ("low", "v", 3), ("high", "^", 3)):
        if not (at := (ridge["edge"] == edge).to_numpy()).any():
            continue
        marks = {"marker": mark, "ms": crowd * (style["ms"] + larger), "ls": "", "mew": crowd}
        axes.plot(x[at], y[at], clip_on=False, zorder=zorder, **style | marks)


def _rules(axes: "Axes", ridge: "pd.DataFrame | None", coordinate: str, sizes: list[int]) -> None:
    """lr_mean ∝ B^p through the ridge's middle, in the panel's units: raw rates of sum are lr_mean / B."""
    if ridge is None or len(sizes) < 2:
        return
    ridge = ridge.sort_values("batch_size")
    middle = ridge.iloc[len(ridge) // 2]
    relative = np.array(sizes) / middle["batch_size"]
    unit = -1 if coordinate == "learning_rate" and middle["reduction"] == "sum" else 0
    for power, (_, dashes) in RULES.items():
        rule = middle[coordinate] * relative ** (power + unit)
        axes.plot(range(len(sizes)), rule, color="white", lw=2.4, alpha=0.55, zorder=3)
        axes.plot(range(len(sizes)), rule, color="#333333", lw=1.2, ls=dashes, zorder=3.5)


def _colour_bar(figure: "Figure", axes: "np.ndarray", norm: Any) -> None:
    """One for all panels, beside the upper two rows."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LogNorm

    if norm is None:
        return
    width = figure.get_figwidth()
    last = axes[min(1, len(axes) - 1), -1].get_position()
    top = axes[0, -1].get_position().y1
    place = figure.add_axes((1 - 1.25 / width, last.y0, LINE / width, top - last.y0))
    ticks = log_ticks(float(norm.vmin or 1), float(norm.vmax or 1)) if isinstance(norm, LogNorm) else None
    bar = figure.colorbar(ScalarMappable(norm, RAMP), cax=place, ticks=ticks, format=plain)
    bar.minorticks_off()
    bar.outline.set_visible(False)
    bar.set_label("final training cost per example")
    place.grid(False)


@styled
def stability(frontier: "pd.DataFrame", title: str) -> "Figure":
    """The largest rate at which no replica diverged and the next one, at which some did, against batch size."""
    if frontier.empty:
        return nothing(title, "no cell has finished")
    settings, said = settings_in(frontier)
    found = frontier[["stable", "unstable"]].notna()
    note = f"Marks: the largest rate at which no replica diverged; crosses: the next, where some did. {MEANING}{said}"
    keys = [key(name, linestyle="-", **REDUCTIONS[name]) for name in reductions_in(frontier)]
    if found["unstable"].any():
        keys.append(key("some replica diverged", color="#555555", marker="X", linestyle="", markersize=8))
    figure, axes = panels(len(settings), 2, title, note, keys, (4.3, 3.2), heads=min(2, len(settings)))
    for row, setting in zip(axes, settings, strict=False):
        own = frontier[frontier["setting"] == setting]
        for one, coordinate in zip(row, COORDINATES, strict=True):
            _stability(one, _in_units(own, coordinate))
            named = f"Stability frontier, {UNITS[coordinate]}"
            one.set(ylabel=COORDINATES[coordinate], title=headed(setting, settings, named))
    return figure


def _in_units(frontier: "pd.DataFrame", coordinate: str) -> "pd.DataFrame":
    """Rates as typed, or as what multiplies the mean gradient of a batch, which has n_train examples at the most."""
    if coordinate == "learning_rate":
        return frontier
    size = np.minimum(frontier["batch_size"], frontier["n_train"])
    factor = np.where(frontier["reduction"] == "sum", size, 1)
    return frontier.assign(stable=factor * frontier["stable"], unstable=factor * frontier["unstable"])


def _stability(axes: "Axes", frontier: "pd.DataFrame") -> None:
    batch_axis(axes, frontier["batch_size"])
    log_axis(axes, "y", log_limits([frontier["stable"], frontier["unstable"]], 0.2, 0.2))
    for name in reductions_in(frontier):
        own = frontier[frontier["reduction"] == name].sort_values("batch_size")
        _frontier(axes, own, REDUCTIONS[name])
    if frontier[["stable", "unstable"]].isna().all(axis=None):
        axes.set_yticks([])
        say(axes, "no cell has an outcome")
    elif frontier["unstable"].isna().all():
        words = "no cell diverged: the frontier lies above the grid"
        axes.text(0.5, 0.04, words, ha="center", transform=axes.transAxes, fontsize=10)
    elif frontier["stable"].isna().all():
        words = "every cell diverged: the frontier lies below the grid"
        axes.text(0.5, 0.92, words, ha="center", transform=axes.transAxes, fontsize=10)


def _frontier(axes: "Axes", frontier: "pd.DataFrame", style: dict[str, Any]) -> None:
    """Brackets from stable to unstable; arrows where the grid does not reach the other side."""
    colour, wide = style["color"], style["marker"] == "o"
    bracket: dict[str, Any] = {"lw": 4.5, "alpha": 0.35} if wide else {"lw": 1.4}
    axes.vlines(frontier["batch_size"], frontier["stable"], frontier["unstable"], color=colour, **bracket)
    line = {"linewidth": 3.2, "alpha": 0.45} if wide else {"linewidth": 1.4, "linestyle": "--"}
    axes.plot(frontier["batch_size"], frontier["stable"], color=colour, **line)
    axes.plot(frontier["batch_size"], frontier["stable"], linestyle="", mec="white", mew=0.7, zorder=4, **style)
    size = 10 if wide else 6
    axes.plot(frontier["batch_size"], frontier["unstable"], "X", color=colour, ms=size, mec="white", mew=0.7, zorder=4)
    for start, end, direction in (("stable", "unstable", 1), ("unstable", "stable", -1)):
        open_ended = frontier[frontier[end].isna() & frontier[start].notna()]
        _arrows(axes, open_ended["batch_size"], open_ended[start], direction, colour, bracket)


def _arrows(axes: "Axes", x: "pd.Series", y: "pd.Series", direction: int, colour: str, bracket: dict[str, Any]) -> None:
    """Up or down from the last rate of the grid, an eighth of the axis long."""
    low, high = axes.get_ylim()
    tips = y * (high / low) ** (direction / 8)
    axes.vlines(x, y, tips, color=colour, **bracket)
    axes.plot(x, tips, "^" if direction > 0 else "v", color=colour, ms=4 + bracket["lw"], alpha=bracket.get("alpha"))
