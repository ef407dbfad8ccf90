"""What a sweep found: how soon each batch size reaches the target, what an update costs, how every cell ended.

Tables in, figures out. A colour and a mark name the reduction: the small diamond of a sum lies on the large disc of a
mean wherever the two do the same.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from harness.report.panels import (
    REDUCTIONS,
    SMALL,
    batch_axis,
    evenly,
    headed,
    key,
    log_axis,
    log_limits,
    nothing,
    panels,
    reductions_in,
    rounded,
    say,
    settings_in,
    shortened,
)
from harness.report.plots import COLOURS, DIVERGED, NOT_COMPARABLE, distinct_words, palette, styled

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

IN_KEY = 36  # settings
IN_FOREST = 40  # cells
COST = "training cost per example"
TARGET_CLOCKS = {"updates": "updates", "epochs": "epochs", "seconds": "train seconds"}


@styled
def to_target(targets: "pd.DataFrame", fits: "pd.DataFrame", target_text: str, title: str) -> "Figure":
    """Updates, epochs and train seconds to the target against batch size, at the best rate of each."""
    if targets.empty:
        return nothing(title, "no cell was trained towards a target, or every cell diverged")
    settings, said = settings_in(targets)
    note = f"Target: {target_text}. At the best learning rate of each batch size; bars: intervals over replicas.{said}"
    figure, axes = panels(
        len(settings), 3, title, note, _target_keys(targets, fits), (3.3, 2.9), heads=min(2, len(settings))
    )
    for row, setting in zip(axes, settings, strict=False):
        own = targets[targets["setting"] == setting]
        for one, (clock, label) in zip(row, TARGET_CLOCKS.items(), strict=True):
            _to_target(one, own, clock)
            one.set(ylabel=label, title=headed(setting, settings, f"{label.capitalize()} to target"))
        if not fits.empty:
            _critical_size(row[0], own, fits[fits["setting"] == setting])
    return figure


def _target_keys(targets: "pd.DataFrame", fits: "pd.DataFrame") -> list["Line2D"]:
    keys = [key(name, linestyle="", **REDUCTIONS[name]) for name in reductions_in(targets)]
    if targets[np.isfinite(targets["updates"])].duplicated(["setting", "reduction"]).any():
        keys.append(key("perfect scaling: updates ∝ 1/B, same epochs", color="#333333", linestyle=":"))
    if not fits.empty and fits["resolved"].any():
        keys.append(key("fit S_min (1 + B_crit/B); shaded: B_crit", color="#777777", linewidth=1.5))
    if not np.isfinite(targets["updates"]).all():
        keys.append(key("not reached", color="#333333", marker="^", mfc="none", linestyle="", markersize=9))
    return keys


def _to_target(axes: "Axes", targets: "pd.DataFrame", clock: str) -> None:
    batch_axis(axes, targets["batch_size"])
    if targets[clock].isna().all():
        axes.set_yticks([])
        say(axes, NOT_COMPARABLE)
        return
    bounds = [targets[name] for name in (clock, f"{clock}_low", f"{clock}_high")]
    log_axis(axes, "y", log_limits(bounds, 0.26 if clock == "updates" else 0.1, 0.14))
    for name in reductions_in(targets):
        own = targets[targets["reduction"] == name].sort_values("batch_size")
        reached = own[np.isfinite(own[clock]) & (own[clock] > 0)]
        _reached(axes, reached, clock, REDUCTIONS[name])
        _not_reached(axes, own.loc[~np.isfinite(own[clock]), "batch_size"], REDUCTIONS[name])
    if not (np.isfinite(targets[clock]) & (targets[clock] > 0)).any():
        axes.set_yticks([])
        started = np.isfinite(targets[clock]).any()
        say(
            axes,
            "every replica starts\nat the target" if started else "the target was not reached\nby half of the replicas",
        )


def _reached(axes: "Axes", reached: "pd.DataFrame", clock: str, style: dict[str, Any]) -> None:
    """Points, bars that end at the edge where the interval has no upper end, and what perfect scaling would give."""
    if reached.empty:
        return
    low, high = axes.get_ylim()
    bars = reached[[f"{clock}_low", f"{clock}_high"]].clip(low, high)
    thick: dict[str, Any] = {"lw": 3, "alpha": 0.45} if style["marker"] == "o" else {"lw": 1.4}
    axes.vlines(reached["batch_size"], *bars.to_numpy().T, color=style["color"], **thick)
    axes.plot(reached["batch_size"], reached[clock], linestyle="", mec="white", mew=0.7, zorder=4, **style)
    if clock != "seconds" and len(reached) > 1:
        start, sizes = reached.iloc[0], np.array(axes.get_xlim())
        power = {"updates": -1, "epochs": 0}[clock]
        ideal = start[clock] * (sizes / start["batch_size"]) ** power
        axes.plot(sizes, ideal, ":", color=style["color"], lw=1.3, zorder=1.5)


def _not_reached(axes: "Axes", sizes: "pd.Series", style: dict[str, Any]) -> None:
    axes.plot(
        sizes,
        np.full(len(sizes), 0.945),
        "^",
        color=style["color"],
        mfc="none",
        ms=style["markersize"],
        transform=axes.get_xaxis_transform(),
    )


def _critical_size(axes: "Axes", targets: "pd.DataFrame", fits: "pd.DataFrame") -> None:
    """The fitted curve, B_crit with its interval, and their numbers in the corner that the curve leaves free."""
    from matplotlib.offsetbox import AnchoredOffsetbox, TextArea, VPacker

    limits = np.array(axes.get_xlim())
    said: list[Any] = []
    for fit in fits.sort_values("reduction").itertuples():
        colour, words = REDUCTIONS[fit.reduction]["color"], f"{fit.reduction}: B_crit unresolved"
        if fit.resolved and np.isfinite([fit.s_min, fit.b_crit]).all():
            sizes = np.geomspace(*_range(targets["batch_size"]), 60)
            axes.plot(sizes, fit.s_min * (1 + fit.b_crit / sizes), color=colour, lw=1.5, alpha=0.8)
            axes.axvspan(*np.clip([fit.b_crit_low, fit.b_crit_high], *limits), color=colour, alpha=0.1, lw=0)
            if limits[0] < fit.b_crit < limits[1]:
                axes.axvline(fit.b_crit, color=colour, lw=1, ls="-.")
            interval = f" ({rounded(fit.b_crit_low)} to {rounded(fit.b_crit_high)})"
            words = f"{fit.reduction}: B_crit {rounded(fit.b_crit)}{interval}"
        said.append(TextArea(words, textprops={"color": colour, "fontsize": 9}))
    if said and np.isfinite(targets["updates"]).any():
        box = AnchoredOffsetbox("lower left", child=VPacker(children=said, pad=0, sep=2), pad=0.2, borderpad=0.3)
        box.patch.set(alpha=0.85, linewidth=0)
        axes.add_artist(box)


def _range(values: "pd.Series") -> tuple[float, float]:
    return float(values.min()), float(values.max())


@styled
def timing(cells: "pd.DataFrame", title: str) -> "Figure":
    """Time per update and per example against batch size, split as overhead per update + B × cost per example."""
    if cells.empty:
        return nothing(title, "no cell has finished")
    settings = list(dict.fromkeys(cells["setting"]))
    timed = cells[np.isfinite(cells["time/update_us"]) & (cells["time/update_us"] > 0)]
    splits = {setting: overhead_split(timed[timed["setting"] == setting]) for setting in settings}
    colours = dict(zip(settings, palette(len(settings)), strict=True))
    keys = [_split_key(setting, settings, splits[setting], colours[setting]) for setting in evenly(settings, IN_KEY)]
    note = "Points: cells, of any learning rate and reduction; lines: overhead + batch size × cost of an example."
    figure, axes = panels(1, 2, title, note if any(splits.values()) else "Points: cells.", keys, (4.4, 3.3))
    for one, unit in zip(axes.flat, ("update", "example"), strict=True):
        column = f"time/{unit}_us"
        one.set(ylabel=f"train time per {unit} (µs)", title=f"Time per {unit}")
        batch_axis(one, cells["batch_size"])
        log_axis(one, "y", log_limits([timed[column]]))
        for setting in settings:
            own = timed[timed["setting"] == setting]
            one.plot(own["batch_size"], own[column], "o", color=colours[setting], ms=6, alpha=0.5, mew=0)
            _split_line(one, own, splits[setting], unit, colours[setting])
        if timed.empty:
            one.set_yticks([])
            say(one, "no cell was timed")
    return figure


def overhead_split(timed: "pd.DataFrame") -> tuple[float, float] | None:
    """a, b ≥ 0 of t = a + bB in µs: least squares of the relative error at the median time of each batch size.

    None for a single batch size, which cannot tell the two apart.
    """
    medians = timed.groupby("batch_size")["time/update_us"].median()
    if len(medians) < 2:
        return None
    sizes, times = medians.index.to_numpy(float), medians.to_numpy(float)
    columns = np.stack([1 / times, sizes / times], axis=1)
    a, b = np.linalg.lstsq(columns, np.ones(len(times)), rcond=None)[0]
    if min(a, b) < 0:  # the optimum lies on the border that was crossed
        a, b = (column.sum() / (column @ column) * (kept >= 0) for column, kept in zip(columns.T, (a, b), strict=True))
    return float(a), float(b)


def _split_key(setting: str, settings: list[str], split: tuple[float, float] | None, colour: Any) -> "Line2D":
    words = [shortened(setting, 50)] if len(settings) > 1 else []
    if split:
        words.append(f"overhead {rounded(split[0])} µs per update, {rounded(split[1])} µs per example")
    return key(": ".join(words) or "cells", color=colour, marker="o", alpha=0.8, linestyle="-" if split else "")


def _split_line(axes: "Axes", timed: "pd.DataFrame", split: tuple[float, float] | None, unit: str, colour: Any) -> None:
    if split:
        sizes = np.geomspace(*_range(timed["batch_size"]), 60)
        time = split[0] + split[1] * sizes
        axes.plot(sizes, time if unit == "update" else time / sizes, color=colour, lw=1.6)


@styled
def outcomes(cells: "pd.DataFrame", title: str) -> "Figure":
    """Final training cost of every cell, best first; quartiles where the columns q25 and q75 give them."""
    if cells.empty:
        return nothing(title, "no cell has finished")
    order = cells.assign(label=distinct_words(list(cells["cell"]))).sort_values("score", kind="stable")
    shown = order.head(IN_FOREST).reset_index(drop=True)
    best = f"The {IN_FOREST} best of {len(order)} cells. " if len(order) > IN_FOREST else ""
    note = f"{best}Points: median over the replicas that did not diverge; bars: their quartiles."
    widest = max(len(label) for label in shown["label"])
    left, height = 0.5 + 0.088 * min(widest, 60), max(1.2, 0.27 * len(shown) + 0.2)
    figure, ((axes,),) = panels(1, 1, title, note, (), (max(4.5, 8 - left), height), left=left, right=1.75, heads=0)
    axes.grid(False, axis="y")
    axes.set(xlabel=f"final {COST}", ylim=(len(shown) - 0.4, -0.6))
    axes.set_yticks(range(len(shown)), [shortened(label, 60) for label in shown["label"]], fontsize=SMALL)
    _forest(axes, shown)
    return figure


def _forest(axes: "Axes", cells: "pd.DataFrame") -> None:
    """A point and a bar a row; a cross at the right edge where no replica was left."""
    fine = cells[np.isfinite(cells["score"])]
    if {"q25", "q75"} <= set(cells.columns):
        axes.hlines(fine.index, fine["q25"], fine["q75"], color=COLOURS[0], lw=3, alpha=0.4)
    axes.plot(fine["score"], fine.index, "o", color=COLOURS[0], ms=7)
    _forest_axis(axes, fine)
    margin = axes.get_yaxis_transform()
    for cell in cells[(cells["n_diverged"] > 0) | ~np.isfinite(cells["score"])].itertuples():
        if cell.n_diverged == cell.n_replicas:
            axes.plot(1, cell.Index, DIVERGED, color=COLOURS[1], ms=9, transform=margin, clip_on=False)
        words = f"{cell.n_diverged:g} of {cell.n_replicas:g} diverged" if cell.n_diverged > 0 else "no result"
        axes.text(1.03, cell.Index, words, transform=margin, va="center", fontsize=SMALL, color=COLOURS[1])


def _forest_axis(axes: "Axes", fine: "pd.DataFrame") -> None:
    """Costs on a log axis where they differ by factors, as in every other figure."""
    if fine.empty:
        axes.set(xlim=(0, 1), xticks=[])
        return
    drawn = [fine[name] for name in ("q25", "score", "q75") if name in fine]
    low, high = min(column.min() for column in drawn), max(column.max() for column in drawn)
    if 0 < 3 * low < high:
        log_axis(axes, "x", log_limits(drawn, 0.04, 0.06))
    else:
        axes.margins(x=0.1)
