"""All figures of a sweep, from its tables and its answer; here the timing of an update and how every cell ended."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.analysis import BLOCKS, TUNED, Answer, SweepData
from harness.report.clocks import clocks
from harness.report.layout import batch_axis, evenly_spaced, log_axis, log_limits, panels
from harness.report.markdown import COSTS, number
from harness.report.medians import edge_of
from harness.report.rates import rate_heatmaps, stability
from harness.report.slices import slices
from harness.report.style import COLOURS, DIVERGED, MARKS, SMALL, key, palette, short_names, styled, two_digits
from harness.report.targets import to_target
from harness.report.titles import titled, winners

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_SETTINGS = 36  # in the key of the timing
SETTING, LABEL = 50, 60  # letters of a setting's name and of a cell's
MOST_CELLS = 40
ROW, LETTER = 0.27, 0.088  # inches
Split = tuple[float, float]  # µs per update, µs per example


def figures(data: SweepData, found: Answer) -> dict[str, "Figure"]:
    """The figures that suit what the sweep varied, by name."""
    cells = data.finished
    if cells.empty:
        return {}

    def title(name: str) -> str:
        return titled(name, data, found)

    seconds = data.timing == BLOCKS or len(cells) == 1
    parts = clocks(cells, data.histories, found.best, data.title, seconds, winners(found))
    drawn = {f"clocks {part}" if len(parts) > 1 else "clocks": figure for part, figure in parts.items()}
    if len(sized := _varied(cells, ["setting"], ["batch_size"])):
        targets, goals = _like(found.targets, sized), _goals(cells, found.targets_at)
        drawn["to_target"] = to_target(targets, found.fits, goals, title("to_target"))
        timed = seconds and "time/update_us" in cells and cells["time/update_us"].notna().any()
        drawn |= {"timing": timing(cells, title("timing"))} if timed else {}
    curves = _varied(cells, ["setting", "reduction", "batch_size"], ["learning_rate"])
    if len(sliced := cells[cells["setting"].isin(curves["setting"])]):
        first_costs = data.histories.groupby("cell")["train_cost"].first()
        drawn["slices"] = slices(sliced, edge_of(first_costs), title("slices"))
    if len(grid := _varied(cells, ["setting", "reduction"], ["batch_size", "learning_rate"])):
        tuned = found.cells.set_index("cell")[TUNED]
        drawn["learning_rates"] = rate_heatmaps(
            grid.assign(score=grid["cell"].map(tuned)), found.best, title("learning_rates")
        )
        drawn["stability"] = stability(_like(found.frontier, grid), title("stability"))
    few = len(cells) == len(found.best) and not cells["setting"].is_unique and not cells["n_diverged"].any()
    if len(cells) > 1 and not few:  # the clocks show where a few lines end
        drawn["outcomes"] = outcomes(cells, title("outcomes"))
    return drawn


def _varied(table: "pd.DataFrame", by: list[str], columns: list[str]) -> "pd.DataFrame":
    """The groups in which each of the columns has two values at least: fewer are no panel."""
    return table[(table.groupby(by)[columns].transform("nunique") > 1).all(axis=1)]


def _like(table: "pd.DataFrame", cells: "pd.DataFrame") -> "pd.DataFrame":
    """The rows of the settings of these cells, in their order."""
    order = {setting: i for i, setting in enumerate(cells["setting"].unique())}
    own = table[table["setting"].isin(list(order))]
    return own.sort_values("setting", key=lambda settings: settings.map(order), kind="stable")


def _goals(cells: "pd.DataFrame", targets_at: Mapping[str, float]) -> str:
    """training cost ≤ 0.5; with the setting in front where there are several."""
    target_on = cells.groupby("setting")["target_on"].first()
    goals = {s: f"{COSTS[target_on[s]]} ≤ {number(cost)}" for s, cost in targets_at.items() if s in target_on}
    return "; ".join(goal if len(goals) == 1 else f"{setting}: {goal}" for setting, goal in goals.items())


@styled()
def timing(cells: "pd.DataFrame", title: str) -> "Figure":
    """Time per update and per example against batch size, split as overhead per update + B × cost per example."""
    settings = [(str(s), own[own["time/update_us"] > 0]) for s, own in cells.groupby("setting", sort=False)]
    names = short_names([setting for setting, _ in settings], SETTING) if len(settings) > 1 else [""]
    splits, colours = [overhead_split(own) for _, own in settings], palette(len(settings))
    marks = [MARKS[i % len(MARKS)] for i in range(len(settings))]
    keys = evenly_spaced([_key(*about) for about in zip(names, splits, colours, marks, strict=True)], MOST_SETTINGS)
    lines = ", of any learning rate and reduction; lines: overhead + batch size × cost of an example"
    note = f"Points: median of the blocks of a cell{lines if any(splits) else ''}; bars: quartiles of the blocks."
    figure, ((left, right),) = panels([["Time per update", "Time per example"]], title, note, keys, (4.4, 3.3))
    for axes, unit in ((left, "update"), (right, "example")):
        batch_axis(axes, cells["batch_size"])
        log_axis(axes, "y", log_limits([cells[f"time/{unit}_us"], *_ends(cells, unit)]))
        axes.set_ylabel(f"train time per {unit} (µs)")
        for (_, own), split, colour, mark in zip(settings, splits, colours, marks, strict=True):
            axes.plot(own["batch_size"], own[f"time/{unit}_us"], mark, color=colour, ms=6, alpha=0.5, mew=0)
            if ends := _ends(own, unit):
                axes.vlines(own["batch_size"], *ends, color=colour)
            if split:
                sizes = np.geomspace(own["batch_size"].min(), own["batch_size"].max(), 60)
                time = split[0] + split[1] * sizes
                axes.plot(sizes, time if unit == "update" else time / sizes, color=colour, lw=1.6)
    return figure


def _ends(cells: "pd.DataFrame", unit: str) -> "list[pd.Series]":
    """The quartiles of the time of cells, where they are known."""
    part = cells[f"time/{unit}_us"] / cells["time/update_us"]
    return [part * cells[name] for name in ("time/update_us_q25", "time/update_us_q75") if name in cells]


def overhead_split(timed: "pd.DataFrame") -> Split | None:
    """a, b ≥ 0 of t = a + bB in µs: least squares of the relative error at the median time of each batch size.

    None for a single batch size, which cannot tell the two apart.
    """
    medians = timed.groupby("batch_size")["time/update_us"].median()
    if len(medians) < 2:
        return None
    sizes, times = medians.index.to_numpy(float), medians.to_numpy(float)
    columns = np.stack([1 / times, sizes / times], axis=1)
    found = np.linalg.lstsq(columns, np.ones(len(times)), rcond=None)[0]
    if found.min() < 0:  # the other one alone: its least squares
        found = (found > 0) * columns.sum(axis=0) / (columns**2).sum(axis=0)
    return float(found[0]), float(found[1])


def _key(name: str, split: Split | None, colour: Any, mark: str) -> Any:
    costs = f"overhead {two_digits(split[0])} µs per update, {two_digits(split[1])} µs per example" if split else ""
    label = ": ".join(text for text in (name, costs) if text) or "cells"
    return key(label, color=colour, marker=mark, alpha=0.8, linestyle="-" if split else "")


@styled()
def outcomes(cells: "pd.DataFrame", title: str) -> "Figure":
    """Final training cost of every cell with its quartiles, best first; a cross at the right edge if half diverged.

    On a log axis where costs differ by factors, as in every other figure.
    """
    order = cells.assign(name=short_names(list(cells["label"]), LABEL)).sort_values(["score", "q25", "n_diverged"])
    shown = order.head(MOST_CELLS).reset_index(drop=True)
    best = f"The {MOST_CELLS} best of {len(order)} cells. " if len(order) > MOST_CELLS else ""
    lost = " A diverged replica counts as infinite." if (shown["n_diverged"] > 0).any() else ""
    note = f"{best}Points: median over all replicas; bars: quartiles.{lost}"
    left, height = 0.5 + LETTER * shown["name"].str.len().max(), max(1.2, ROW * len(shown) + 0.2)
    figure, ((axes,),) = panels([[""]], title, note, (), (max(4.5, 8 - left), height), left=left, right=1.75)
    axes.grid(False, axis="y")
    axes.set(xlabel="final training cost per example", ylim=(len(shown) - 0.4, -0.6))
    axes.set_yticks(range(len(shown)), shown["name"], fontsize=SMALL)
    _cost_limits(axes, shown)
    right = axes.get_xlim()[1]
    known, fine = shown[np.isfinite(shown["q25"])], shown[np.isfinite(shown["score"])]
    axes.hlines(known.index, known["q25"], known["q75"].clip(upper=right), color=COLOURS[0], lw=3, alpha=0.4)
    axes.plot(fine["score"], fine.index, "o", color=COLOURS[0], ms=7)
    edge = axes.get_yaxis_transform()
    for cell in shown[(shown["n_diverged"] > 0) | shown["score"].isna()].itertuples():
        if np.isinf(cell.score):
            axes.plot(1, cell.Index, DIVERGED, color=COLOURS[1], ms=9, transform=edge, clip_on=False)
        text = f"{cell.n_diverged:g} of {cell.n_replicas:g} diverged" if cell.n_diverged > 0 else "no result"
        axes.text(1.03, cell.Index, text, transform=edge, va="center", fontsize=SMALL, color=COLOURS[1])
    return figure


def _cost_limits(axes: "Axes", cells: "pd.DataFrame") -> None:
    """The cost axis over all finite scores and quartiles, logarithmic where they differ by factors."""
    every = cells[["q25", "score", "q75"]].to_numpy(float)
    every = every[np.isfinite(every)]
    if not every.size:
        axes.set(xlim=(0, 1), xticks=[])
    elif 0 < 3 * every.min() < every.max():
        log_axis(axes, "x", log_limits([every], 0.04, 0.06))
    else:
        free = 0.1 * (np.ptp(every) or abs(every.max()) or 1)
        axes.set_xlim(every.min() - free, every.max() + free)
