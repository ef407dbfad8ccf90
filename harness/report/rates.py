"""Learning rates against batch sizes: which is best, what the usual rules would have chosen, where training diverges.

Every panel comes twice: with the rate that the user types, and with lr_mean, under which both reductions do the same;
but once where the two are equal throughout.
"""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.report.labels import value_ticks
from harness.report.layout import batch_axis, log_axis, log_limits, log_ticks, setting_panels
from harness.report.style import BARS, COLOURS, DIVERGED, REDUCTIONS, key, plain, styled

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RATE_LABELS = {"learning_rate": "learning rate", "lr_mean": "lr_mean"}  # column -> name
LR_MEAN = "lr_mean: η for mean, ηB for sum (η under adam and rmsprop)."
COLOUR_MAP = "viridis_r"  # the lower, the brighter
SCALING_STYLES = {
    0.0: ("lr_mean constant", (0, (1, 1.5))),
    0.5: ("lr_mean ∝ √B", (0, (6, 2, 1, 2))),
    1.0: ("lr_mean ∝ B", (0, (6, 2.5))),
}
RIDGES: dict[str, dict[str, Any]] = {
    "mean": {"color": "black", "lw": 2.4, "marker": "o", "ms": 8, "zorder": 5},
    "sum": {"color": COLOURS[1], "lw": 1.4, "marker": "D", "ms": 4.5, "ls": "--", "zorder": 6},
}
FRONTIERS: dict[str, dict[str, Any]] = {"mean": {"lw": 3.2, "alpha": 0.45}, "sum": {"lw": 1.4, "ls": "--"}}
ARROWS = {"low": "v", "high": "^"}  # where the best rate lies on the edge of the grid
LOST: dict[str, Any] = {"facecolor": "#E4E4E4", "edgecolor": "#AAAAAA", "hatch": "////", "linewidth": 0.6}
SOME_LOST: dict[str, Any] = {"facecolor": "none", "edgecolor": "#777777", "hatch": "////", "linewidth": 0}
SIZE = (4.0, 3.0)  # inches of a heat map
MOST_RATES = 8  # labels beside a frontier
BAR = 0.235  # inches: width of the colour bar


@styled()
def rate_heatmaps(cells: "pd.DataFrame", best: "pd.DataFrame", title: str) -> "Figure":
    """Final training cost over batch size × learning rate, a row a setting and reduction, the best rates as a ridge."""
    norm, units = _norm(cells["score"]), rate_units(cells["learning_rate"], cells["lr_mean"])
    note = f"Colour: median over all replicas. Rules pass through the middle of the ridge. {LR_MEAN}"
    keys = _keys(cells, best)
    figure, rows = setting_panels(cells, units.values(), title, note, keys, SIZE, by=["reduction"], right=1.55)
    for axes, own in rows:
        setting, reduction = own[["setting", "reduction"]].iloc[0]
        alike, ridges = cells[cells["setting"] == setting], best[best["setting"] == setting]
        sizes, ridge = sorted(set(alike["batch_size"])), ridges[ridges["reduction"] == reduction]
        for one, rate in zip(axes, units, strict=True):
            raw = rate == "learning_rate"
            shown, both = (own, ridge) if raw else (alike, ridges)  # sum and mean have one range of lr_mean
            limits = _limits(shown, both, rate, sizes)
            _heatmap(one, own, both, rate, limits, sizes, norm)
            if len(ridge) and len(sizes) > 1:
                multiplied = (own["lr_mean"] != own["learning_rate"]).any()
                _rules(one, ridge, rate, sizes, power=-1 if raw and multiplied else 0)
    _colour_bar(figure, [row for row, _ in rows], norm)
    return figure


def rate_units(learning_rates: "pd.Series", lr_means: "pd.Series") -> dict[str, str]:
    """Column -> name of the units that show something: lr_mean only where it is not the learning rate throughout."""
    return {"learning_rate": "learning rate"} if learning_rates.equals(lr_means) else RATE_LABELS


def about_units(units: dict[str, str]) -> str:
    return f" {LR_MEAN}" if "lr_mean" in units else ""


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
            keys += [key(label, color="#333333", lw=1.3, ls=dashes) for label, dashes in SCALING_STYLES.values()]
        if best["edge"].isin(list(ARROWS)).any():
            keys.append(key("best on the edge of the grid", color="black", marker="^", ls="", ms=8, mec="white"))
    if (cells["n_diverged"] > 0).any():
        keys.append(Patch(**LOST, label="k/n: replicas that diverged; grey: half or more"))
    return keys


def _limits(cells: "pd.DataFrame", ridges: "pd.DataFrame", rate: str, sizes: list[int]) -> tuple[float, float]:
    """Of the rate axis, over all boxes: those of sum and mean, if both are given."""
    parts = [own.sort_values(["batch_size", rate]) for _, own in cells.groupby("reduction")]
    return log_limits([*(_boxes(own, rate, sizes)[:, [1, 3]] for own in parts), ridges[rate]], 0.03, 0.04)


def _heatmap(
    axes: "Axes",
    cells: "pd.DataFrame",
    ridges: "pd.DataFrame",
    rate: str,
    limits: tuple[float, float],
    sizes: list[int],
    norm: Any,
) -> None:
    cells = cells.sort_values(["batch_size", rate])
    boxes = _boxes(cells, rate, sizes)
    log_axis(axes, "y", limits)
    axes.grid(False)
    axes.set(ylabel=RATE_LABELS[rate], xlabel="batch size (examples)", xlim=(-0.5, len(sizes) - 0.5))
    value_ticks(axes, "x", sizes, range(len(sizes)))
    if (cells[rate] == cells["learning_rate"]).all():
        value_ticks(axes, "y", cells[rate])
    _fill(axes, boxes, cells, norm)
    if SIZE[0] / len(sizes) > 0.4:
        _counts(axes, boxes, cells, SIZE[1] / np.log10(limits[1] / limits[0]))
    for name, ridge in ridges.groupby("reduction"):
        _ridge(axes, ridge.sort_values("batch_size"), rate, sizes, RIDGES[name])


def _boxes(cells: "pd.DataFrame", rate: str, sizes: list[int]) -> "np.ndarray":
    """Left, bottom, right, top of the cells, sorted by size and rate; a box ends half way (by factors) to the next."""
    rates = np.log10(cells[rate].to_numpy(float))
    columns = np.searchsorted(sizes, cells["batch_size"])
    gaps, neighbours = np.diff(rates), np.diff(columns) == 0
    half = float(np.median(gaps[neighbours])) / 2 if neighbours.any() else 0.25
    reach = np.where(neighbours, np.minimum(gaps / 2, 1.2 * half), half)
    bottom, top = rates - np.append(half, reach), rates + np.append(reach, half)
    return np.stack([columns - 0.5, 10**bottom, columns + 0.5, 10**top], axis=1)


def _fill(axes: "Axes", boxes: "np.ndarray", cells: "pd.DataFrame", norm: Any) -> None:
    """Colours by cost, hatches where some replicas diverged, grey where half or more did."""
    from matplotlib.collections import PolyCollection

    corners, scores = boxes[:, [[0, 1], [0, 3], [2, 3], [2, 1]]], cells["score"].to_numpy(float)
    fine, some = np.isfinite(scores), (cells["n_diverged"] > 0).to_numpy()
    colours: dict[str, Any] = {"array": scores[fine], "norm": norm, "cmap": COLOUR_MAP}
    plain_boxes = {"edgecolor": "white", "linewidth": 0.4, **colours}
    for part, style in ((~fine, LOST), (fine, plain_boxes), (fine & some, SOME_LOST)):
        axes.add_collection(PolyCollection(corners[part], **style), autolim=False)


def _counts(axes: "Axes", boxes: "np.ndarray", cells: "pd.DataFrame", decade: float) -> None:
    """In the corner of a box that has room: how many replicas diverged. decade: height of a factor of ten, inches."""
    plate = {"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 0.8}
    for cell, (_, bottom, right, top) in zip(cells.itertuples(), boxes, strict=True):
        if 0 < cell.n_diverged < cell.n_replicas and decade * np.log10(top / bottom) > 0.28:
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


def _rules(axes: "Axes", ridge: "pd.DataFrame", rate: str, sizes: list[int], power: int = 0) -> None:
    """lr_mean ∝ B^p through the ridge's middle. power: of B in the panel's units; a sum's rate is lr_mean / B."""
    ridge = ridge.sort_values("batch_size")
    middle = ridge.iloc[len(ridge) // 2]
    relative = np.array(sizes) / middle["batch_size"]
    for rule_power, (_, dashes) in SCALING_STYLES.items():
        rule = middle[rate] * relative ** (rule_power + power)
        axes.plot(rule, color="white", lw=2.4, alpha=0.55, zorder=3)
        axes.plot(rule, color="#333333", lw=1.2, ls=dashes, zorder=3.5)


def _colour_bar(figure: "Figure", rows: Sequence["np.ndarray"], norm: Any) -> None:
    """One for all panels, beside the upper two rows."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LogNorm

    if norm is None:
        return
    width = figure.get_figwidth()
    bottom, top = rows[:2][-1][-1].get_position().y0, rows[0][-1].get_position().y1
    place = figure.add_axes((1 - 1.25 / width, bottom, BAR / width, top - bottom))
    low, high = norm.vmin, norm.vmax
    ticks = log_ticks(low, high) if isinstance(norm, LogNorm) else None
    bar = figure.colorbar(ScalarMappable(norm, COLOUR_MAP), cax=place, ticks=ticks, format=plain)
    bar.minorticks_off()
    bar.outline.set_visible(False)
    letters = int(72 * (top - bottom) * figure.get_figheight() / (0.57 * 11))  # along the bar, of 11 points
    bar.set_label(textwrap.fill("training cost per example at equal epochs", max(26, letters)))
    place.grid(False)


@styled()
def stability(frontier: "pd.DataFrame", title: str) -> "Figure":
    """The largest rate at which no replica diverged and the next one, at which some did, against batch size."""
    as_lr_mean = frontier.assign(stable=frontier["stable_lr_mean"], unstable=frontier["unstable_lr_mean"])
    tables = {"learning_rate": frontier, "lr_mean": as_lr_mean}
    units = rate_units(*(table[["stable", "unstable"]].astype(float).stack() for table in tables.values()))
    about = about_units(units)
    note = f"Marks: the largest rate at which no replica diverged; crosses: the next, where some did.{about}"
    keys = [key(name, linestyle="-", **REDUCTIONS[name]) for name in sorted(set(frontier["reduction"]))]
    if frontier["unstable"].notna().any():
        keys.append(key("some replica diverged", color="#555555", marker=DIVERGED, linestyle="", markersize=8))
    texts = [f"Stability frontier, {name}" for name in units.values()]
    figure, rows = setting_panels(frontier, texts, title, note, keys, (4.3, 3.2))
    for axes, own in rows:
        for one, (rate, name) in zip(axes, units.items(), strict=True):
            _stability(one, tables[rate].loc[own.index], name)
    return figure


def _stability(axes: "Axes", frontier: "pd.DataFrame", name: str) -> None:
    batch_axis(axes, frontier["batch_size"])
    log_axis(axes, "y", log_limits([frontier["stable"], frontier["unstable"]], 0.2, 0.2))
    rates = frontier[["stable", "unstable"]].stack().dropna().unique()
    if 1 < len(rates) <= MOST_RATES:
        value_ticks(axes, "y", rates)
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
    axes.plot(x, stable, color=colour, **FRONTIERS[reduction])
    axes.vlines(x, stable.fillna(unstable / eighth), unstable.fillna(stable * eighth), color=colour, **bar)
    axes.plot(x, stable, **marks, **style)
    axes.plot(x, unstable, color=colour, marker=DIVERGED, ms=7 + style["markersize"] / 3, **marks)
    tip = {"color": colour, "ms": 4 + bar["lw"], "alpha": bar.get("alpha"), "linestyle": ""}
    axes.plot(x[unstable.isna()], stable[unstable.isna()] * eighth, marker="^", **tip)
    axes.plot(x[stable.isna()], unstable[stable.isna()] / eighth, marker="v", **tip)
