"""Training cost on four clocks: epochs, updates, examples, train seconds; which cell is ahead depends on the clock.

One line a cell. Lines are medians over the replicas that have not diverged, bands their quartiles; a cross ends the
line of a cell in which one diverged.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.report.layout import NOT_COMPARABLE, empty_axes, evenly_spaced, log_axis, log_cost, panels
from harness.report.style import DIVERGED, key, palette, short_names, styled

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SECONDS = "train seconds of one replica"
CLOCK_LABELS = {"epoch": "epochs", "update": "updates", "examples": "examples seen", "train_seconds": SECONDS}
IN_COLOUR = 12  # cells, all of them drawn in colour; of more, the best rates
IN_CONTEXT = 60  # grey lines
IN_KEY = 36
LONGEST = 90  # letters of a name in the key
CUT_OFF = 3  # times the first cost: what lies higher is cut off, its cross stands at the edge
LARGEST_COST = 1e30  # a cost beyond any axis, far from where drawing overflows
GREY = "#C8C8C8"
RATE_MARKS = "o^svDP*"

Lines = Mapping[str, np.ndarray]  # cell -> (4, checkpoints): a clock, then lower quartile, median, upper quartile
Crosses = Mapping[str, tuple[float, float]]
Styles = Mapping[str, dict[str, Any]]


def clocks(
    cells: "pd.DataFrame", histories: "pd.DataFrame", best: "pd.DataFrame", title: str, seconds: bool = True
) -> dict[str, "Figure"]:
    """Training cost against epochs, updates, examples and train seconds: a figure for each part of the sweep, by name.

    A part is a dataset if its cells can be told apart on common axes, else a setting. Of more than IN_COLOUR cells, the
    cells of `best` are drawn in colour and others in grey. seconds: whether they compare between cells.
    """
    parts: dict[str, pd.DataFrame] = {}
    for dataset, own in cells.groupby("dataset", sort=False):
        settings = {str(setting): part for setting, part in own.groupby("setting", sort=False)}
        one_task = len(own.filter(regex=r"^dataset\b").drop_duplicates()) == 1  # else their costs do not compare
        together = one_task and (len(settings) == len(own) or len(own) <= IN_COLOUR)
        parts |= {str(dataset): own} if together or len(settings) == 1 else settings
    return {
        name: _clocks(own, histories, set(best["cell"]), f"{title}: {name}" if len(parts) > 1 else title, seconds)
        for name, own in parts.items()
    }


@styled()
def _clocks(cells: "pd.DataFrame", histories: "pd.DataFrame", best: set[str], title: str, seconds: bool) -> "Figure":
    in_colour = cells if len(cells) <= IN_COLOUR or cells["setting"].is_unique else cells[cells["cell"].isin(best)]
    styles = _line_styles(in_colour)
    grey = [cell for cell in cells["cell"] if cell not in styles]
    context = evenly_spaced(grey, IN_CONTEXT)
    histories = histories[histories["cell"].isin([*context, *styles])]
    curves, edge = _curves(histories), _edge(histories)
    died = histories[histories["outcome"] == "diverged"].groupby("cell")[list(CLOCK_LABELS)].median()
    note = _note(histories["replica"].nunique(), len(grey), len(context), bool(styles))
    keys = [key(**style) for style in evenly_spaced(list(styles.values()), IN_KEY)]
    keys += [key("other cells", color=GREY, linewidth=1)] if grey else []
    keys += [] if died.empty else [key("a replica diverged", color="#555555", marker=DIVERGED, ls="", markersize=8)]
    figure, axes = panels([["", ""], ["", ""]], title, note, keys, (4.7, 2.9), sharey=True)
    for i, (one, (clock, name)) in enumerate(zip(axes.flat, CLOCK_LABELS.items(), strict=True)):
        one.set_xlabel(name)
        if clock == "train_seconds" and not seconds:
            one.set_xticks([])
            empty_axes(one, NOT_COMPARABLE)
            continue
        after = -1 if clock == "epoch" else 0  # a log axis cannot show the state before the first update
        lines = {cell: curve[[i, 4, 5, 6]][:, curve[i] > after] for cell, curve in curves.items()}
        crosses = _crosses(lines, died[clock], after, edge)
        _context(one, lines, crosses, context)
        _in_colour(one, lines, crosses, styles)
        drawn = any((line[2] < edge).any() for line in lines.values())
        if not drawn:
            why = "crosses say when" if crosses else "before the first checkpoint"
            empty_axes(one, f"every replica diverged\n{why}")
        if clock != "epoch" and (drawn or crosses):
            log_axis(one, "x")
    _cost_axis(axes, edge)
    return figure


def _line_styles(cells: "pd.DataFrame") -> Styles:
    """Cell -> style of its line: colour by setting and batch size, dashes by reduction, marks by rate.

    Colour by rate where there is one setting and batch size; no marks where lines can be told apart without them.
    """
    names = short_names(list(cells["label"]), LONGEST)
    place = cells.groupby("setting", sort=False).ngroup()
    cells = cells[["cell", "reduction", "batch_size", "learning_rate"]].assign(place=place, name=names)
    cells = cells.sort_values(["reduction", "place", "batch_size", "learning_rate"])
    colour, rate = cells.groupby(["place", "batch_size"]).ngroup(), cells.groupby("learning_rate").ngroup()
    cells = cells.assign(colour=colour if colour.any() else rate, rate=rate)
    colours = palette(cells["colour"].nunique())
    marked = cells.duplicated(["colour", "reduction"]).any()
    both = cells["reduction"].nunique() > 1
    styles = {}
    for c in cells.itertuples():
        pale = both and c.reduction == "mean"  # wide and pale, so that a dashed line on top leaves it visible
        width, alpha = (3.2, 0.5) if pale else (1.7, 1.0)
        line = {"linestyle": "--" if c.reduction == "sum" else "-", "linewidth": width, "alpha": alpha}
        mark = {"marker": RATE_MARKS[c.rate % len(RATE_MARKS)] if marked else "", "markersize": 5}
        styles[c.cell] = {"label": c.name, "color": colours[c.colour], **line, **mark}
    return styles


def _curves(histories: "pd.DataFrame") -> dict[str, np.ndarray]:
    """Cell -> (7, checkpoints): clocks, quartiles of the training cost; all at once, which is ten times as fast."""
    fine = histories[(histories["outcome"] != "diverged") & np.isfinite(histories["train_cost"])]
    if fine.empty:
        return {}
    costs = (
        fine["train_cost"].clip(upper=LARGEST_COST).groupby([fine["cell"], *(fine[clock] for clock in CLOCK_LABELS)])
    )
    table = costs.quantile([0.25, 0.5, 0.75]).unstack().reset_index()
    cells, starts = np.unique(table.pop("cell").to_numpy(str), return_index=True)
    return dict(zip(cells.tolist(), np.split(table.to_numpy(float).T, starts[1:], axis=1), strict=True))


def _edge(histories: "pd.DataFrame") -> float:
    """The cost at which lines are cut off: a diverging one would press the others flat."""
    first = histories.groupby("cell")["train_cost"].first()
    return CUT_OFF * max(first[np.isfinite(first) & (first > 0)], default=1.0)


def _note(n_replicas: int, n_grey: int, n_drawn: int, any_best: bool) -> str:
    colour = "In colour: the best rate of each batch size and reduction" if any_best else "No best rate to colour"
    grey = f"{n_drawn} of {n_grey}" if n_drawn < n_grey else f"{n_grey}"
    lines = f"Lines: median of {n_replicas} replicas; bands: quartiles." if n_replicas > 1 else "Lines: one replica."
    return f"{colour}; grey: {grey} other cells. {lines}" if n_grey else lines


def _crosses(lines: Lines, died: "pd.Series", after: float, edge: float) -> Crosses:
    """Where cells with a diverged replica are marked: at the line's end; without a line, at the edge, when it died."""
    ends = {cell: lines[cell][[0, 2], -1] for cell in died.index if cell in lines and lines[cell].size}
    alone = {cell: (x, edge) for cell, x in died.items() if x > after}
    return alone | {cell: (x, min(y, edge)) for cell, (x, y) in ends.items()}


def _context(axes: "Axes", lines: Lines, crosses: Crosses, cells: list[str]) -> None:
    """All grey lines as one with gaps, as sixty lines are slow."""
    gap = np.full((4, 1), np.nan)
    x, _, y, _ = np.hstack([gap, *(part for cell in cells if cell in lines for part in (lines[cell], gap))])
    axes.plot(x, y, color=GREY, lw=0.8, zorder=1)
    if ends := [crosses[cell] for cell in cells if cell in crosses]:
        axes.plot(*np.transpose(ends), DIVERGED, color=GREY, ms=6, mew=0, clip_on=False, zorder=1.5)


def _in_colour(axes: "Axes", lines: Lines, crosses: Crosses, styles: Styles) -> None:
    for cell, style in styles.items():
        if cell in lines:
            x, low, middle, high = lines[cell]
            axes.plot(x, middle, markevery=max(1, len(x) // 6), **style)
            axes.fill_between(x, low, high, color=style["color"], alpha=0.15, lw=0)
        if cell in crosses:
            mark = {"color": style["color"], "ms": 9, "mec": "white", "mew": 0.6}
            axes.plot(*crosses[cell], DIVERGED, clip_on=False, zorder=5, **mark)


def _cost_axis(axes: "np.ndarray", edge: float) -> None:
    """Name and scale of the cost axis, which the four panels share."""
    first = axes[0, 0]
    log_cost(first)
    if first.dataLim.y1 >= edge:
        first.set_ylim(top=edge)
    if first.get_yscale() == "log":
        log_axis(first, "y", first.get_ylim())
    for one in axes[:, 0]:
        one.set_ylabel("training cost per example")
