"""Learning rates against batch sizes: which is best, what the usual rules would have chosen.

Every panel comes twice: with the rate that the user types, and with lr_mean, the rate that multiplies the mean gradient
of a batch (η for mean, ηB for sum), where both reductions do the same.
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.report.layout import log_axis, log_limits, log_ticks, panels, row_titles, setting_rows
from harness.report.style import COLOURS, key, plain, styled

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RATES = {"learning_rate": "learning rate", "lr_mean": "lr_mean"}  # column -> name
LR_MEAN = "lr_mean: η for mean, ηB for sum."
COLOUR_MAP = "viridis_r"  # the lower, the brighter
RULES = {
    0.0: ("lr_mean constant", (0, (1, 1.5))),
    0.5: ("lr_mean ∝ √B", (0, (6, 2, 1, 2))),
    1.0: ("lr_mean ∝ B", (0, (6, 2.5))),
}
RIDGES: dict[str, dict[str, Any]] = {
    "mean": {"color": "black", "lw": 2.4, "marker": "o", "ms": 8, "zorder": 5},
    "sum": {"color": COLOURS[1], "lw": 1.4, "marker": "D", "ms": 4.5, "ls": "--", "zorder": 6},
}
ARROWS = {"low": "v", "high": "^"}  # where the best rate lies on the edge of the grid
LOST: dict[str, Any] = {"facecolor": "#E4E4E4", "edgecolor": "#AAAAAA", "hatch": "////", "linewidth": 0}
SOME_LOST: dict[str, Any] = {"facecolor": "none", "edgecolor": "#777777", "hatch": "////", "linewidth": 0}
SIZE = (4.0, 3.0)  # inches of a heat map
BAR = 0.235  # inches: width of the colour bar


@styled()
def rate_heatmaps(cells: "pd.DataFrame", best: "pd.DataFrame", title: str) -> "Figure":
    """Final training cost over batch size × learning rate, a row a setting and reduction, the best rates as a ridge."""
    settings, said = setting_rows(cells)
    rows = [(setting, str(r), part) for setting, own in settings.items() for r, part in own.groupby("reduction")]
    norm = _norm(cells["score"])
    note = f"Colour: median over replicas. Rules pass through the middle of the ridge. {LR_MEAN}{said}"
    titles = [row_titles(s, [f"{r}, {name}" for name in RATES.values()], len(settings) > 1) for s, r, _ in rows]
    figure, axes = panels(titles, title, note, _keys(cells, best), SIZE, right=1.55)
    for row, (setting, reduction, own) in zip(axes, rows, strict=True):
        sizes = sorted(set(settings[setting]["batch_size"]))
        ridges = {str(r): part for r, part in best[best["setting"] == setting].groupby("reduction")}
        own_ridge = {reduction: ridges[reduction]} if reduction in ridges else {}
        for one, rate, shown in zip(row, RATES, (own_ridge, ridges), strict=True):
            _heatmap(one, own, shown, rate, sizes, norm)
            if own_ridge and len(sizes) > 1:
                _rules(one, ridges[reduction], rate, sizes)
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
        keys += [key(f"best rate, {name}", mec="white", **RIDGES[name]) for name in sorted(set(best["reduction"]))]
        if best["batch_size"].nunique() > 1:
            keys += [key(label, color="#333333", lw=1.3, ls=dashes) for label, dashes in RULES.values()]
        if (best["edge"] != "").any():
            keys.append(key("best on the edge of the grid", color="black", marker="^", ls="", ms=8, mec="white"))
    if (cells["n_diverged"] > 0).any():
        keys.append(Patch(**LOST, label="k of n replicas diverged; grey: all"))
    return keys


def _heatmap(
    axes: "Axes", cells: "pd.DataFrame", ridges: Mapping[str, "pd.DataFrame"], rate: str, sizes: list[int], norm: Any
) -> None:
    cells = cells.sort_values(["batch_size", rate])
    boxes = _boxes(cells, rate, sizes)
    limits = log_limits([boxes[:, [1, 3]], *(ridge[rate] for ridge in ridges.values())], 0.03, 0.04)
    log_axis(axes, "y", limits)
    axes.grid(False)
    axes.set(ylabel=RATES[rate], xlabel="batch size (examples)", xlim=(-0.5, len(sizes) - 0.5))
    shown = range(len(sizes))[:: -math.ceil(len(sizes) / 10)]  # as many labels as have room, always the largest
    axes.set_xticks(shown, [f"{int(sizes[i])}" for i in shown])
    _fill(axes, boxes, cells, norm)
    if SIZE[0] / len(sizes) > 0.4:
        _counts(axes, boxes, cells, SIZE[1] / np.log10(limits[1] / limits[0]))
    for name, ridge in ridges.items():
        _ridge(axes, ridge.sort_values("batch_size"), rate, sizes, RIDGES[name])


def _boxes(cells: "pd.DataFrame", rate: str, sizes: list[int]) -> "np.ndarray":
    """Left, bottom, right, top of each cell; in rates, a box ends half way (by factors) to its neighbour.

    cells: in the order of batch sizes and rates.
    """
    rates = np.log10(cells[rate].to_numpy(float))
    columns = np.searchsorted(sizes, cells["batch_size"])
    gaps, neighbours = np.diff(rates), np.diff(columns) == 0
    half = float(np.median(gaps[neighbours])) / 2 if neighbours.any() else 0.25
    reach = np.where(neighbours, np.minimum(gaps / 2, 1.2 * half), half)
    bottom, top = rates - np.append(half, reach), rates + np.append(reach, half)
    return np.stack([columns - 0.5, 10**bottom, columns + 0.5, 10**top], axis=1)


def _fill(axes: "Axes", boxes: "np.ndarray", cells: "pd.DataFrame", norm: Any) -> None:
    """Colours by cost, hatches where some replicas diverged, grey where all did."""
    from matplotlib.collections import PolyCollection

    corners, scores = boxes[:, [[0, 1], [0, 3], [2, 3], [2, 1]]], cells["score"].to_numpy(float)
    fine, some = np.isfinite(scores), (cells["n_diverged"] > 0).to_numpy()
    colours: dict[str, Any] = {"array": scores[fine], "norm": norm, "cmap": COLOUR_MAP}
    for part, style in (
        (~fine, LOST),
        (fine, {"edgecolor": "white", "linewidth": 0.4, **colours}),
        (fine & some, SOME_LOST),
    ):
        axes.add_collection(PolyCollection(corners[part], **style), autolim=False)


def _counts(axes: "Axes", boxes: "np.ndarray", cells: "pd.DataFrame", decade: float) -> None:
    """In the corner of a box that has room: how many replicas diverged. decade: height of a factor of ten, inches."""
    plate = {"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 0.8}
    for cell, (_, bottom, right, top) in zip(cells.itertuples(), boxes, strict=True):
        if cell.n_diverged > 0 and np.isfinite(cell.score) and decade * np.log10(top / bottom) > 0.28:
            place = right - 0.05, top * 10 ** (-0.03 / decade)
            text = f"{cell.n_diverged:g}/{cell.n_replicas:g}"
            axes.text(*place, text, ha="right", va="top", fontsize=8, bbox=plate)


def _ridge(axes: "Axes", ridge: "pd.DataFrame", rate: str, sizes: list[int], style: dict[str, Any]) -> None:
    """The best rates, their intervals, and arrow heads where the best lies on the edge of the grid."""
    x = np.searchsorted(sizes, ridge["batch_size"])
    y = ridge[rate].to_numpy(float)
    low, high = (y / ridge["learning_rate"] * ridge[name] for name in ("low_rate", "high_rate"))
    crowd = min(1.0, 25 / len(sizes))
    axes.vlines(x, low, high, color=style["color"], lw=1.2 * crowd, zorder=4)
    axes.plot(x, y, color="white", lw=style["lw"] + 1.6, alpha=0.7, zorder=4)
    axes.plot(x, y, **style | {"marker": ""})
    for edge, own in ridge.assign(x=x).groupby("edge"):
        larger = 3 if edge in ARROWS else 0
        marks = {"marker": ARROWS.get(edge, style["marker"]), "ms": crowd * (style["ms"] + larger), "ls": ""}
        axes.plot(own["x"], own[rate], clip_on=False, mec="white", mew=crowd, **style | marks)


def _rules(axes: "Axes", ridge: "pd.DataFrame", rate: str, sizes: list[int]) -> None:
    """lr_mean ∝ B^p through the ridge's middle, in the panel's units: raw rates of sum are lr_mean / B."""
    ridge = ridge.sort_values("batch_size")
    middle = ridge.iloc[len(ridge) // 2]
    relative = np.array(sizes) / middle["batch_size"]
    unit = -1 if rate == "learning_rate" and middle["reduction"] == "sum" else 0
    for power, (_, dashes) in RULES.items():
        rule = middle[rate] * relative ** (power + unit)
        axes.plot(rule, color="white", lw=2.4, alpha=0.55, zorder=3)
        axes.plot(rule, color="#333333", lw=1.2, ls=dashes, zorder=3.5)


def _colour_bar(figure: "Figure", axes: "np.ndarray", norm: Any) -> None:
    """One for all panels, beside the upper two rows."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LogNorm

    if norm is None:
        return
    width = figure.get_figwidth()
    bottom = axes[:2][-1, -1].get_position().y0
    top = axes[0, -1].get_position().y1
    place = figure.add_axes((1 - 1.25 / width, bottom, BAR / width, top - bottom))
    low, high = norm.vmin, norm.vmax
    ticks = log_ticks(low, high) if isinstance(norm, LogNorm) else None
    bar = figure.colorbar(ScalarMappable(norm, COLOUR_MAP), cax=place, ticks=ticks, format=plain)
    bar.minorticks_off()
    bar.outline.set_visible(False)
    bar.set_label("final training cost per example")
    place.grid(False)
