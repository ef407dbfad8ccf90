"""Training cost on four clocks: epochs, updates, examples, train seconds; a line for each cell (see `medians`)."""

import re
from collections.abc import Mapping
from itertools import islice
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.report.labels import LONGEST, end_labels, margin
from harness.report.layout import (
    NOT_COMPARABLE,
    RIGHT,
    empty_axes,
    evenly_spaced,
    log_axis,
    log_cost,
    log_limits,
    panels,
)
from harness.report.medians import EVERYTHING, Limits, Marks, draw, edge_of, end_of, mark_keys, marks, median_line
from harness.report.style import DIVERGED, MARKS, key, palette, short_names, styled
from harness.training import curve

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SECONDS = "train seconds of one replica"
CLOCK_LABELS = {"epoch": "epochs", "update": "updates", "examples": "examples seen", "train_seconds": SECONDS}
NAMED = 0.7  # part of the width, right of which the end of a line has its name beside it
KEY = re.compile(r"\b[a-z_.]{2,}=")
MOST_PARTS = 12  # with a figure of their own: more are not looked at, and take half of the time of a report
IN_COLOUR = 12  # cells, all of them drawn in colour; of more, the best rates
IN_CONTEXT = 60  # grey lines
IN_KEY = 36
LONGEST_IN_KEY = 90  # letters of a name
GREY, GREY_CROSS = "#C8C8C8", "#8C8C8C"

Curves = Mapping[str, "pd.DataFrame"]  # by cell
Styles = Mapping[str, dict[str, Any]]


def clocks(
    cells: "pd.DataFrame",
    histories: "pd.DataFrame",
    best: "pd.DataFrame",
    title: str,
    seconds: bool = True,
    findings: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, "Figure"]:
    """Training cost against epochs, updates, examples and train seconds: a figure for each part of the sweep, by name.

    A part is a dataset if its cells can be told apart on common axes, else a setting; the first MOST_PARTS are drawn.
    Of more than IN_COLOUR cells, the cells of `best` are drawn in colour and others in grey. seconds: whether they
    compare between cells. findings: of a part, or of the sweep first, for the title.
    """
    parts: dict[str, pd.DataFrame] = {}
    for dataset, own in cells.groupby("dataset", sort=False):
        settings = {str(setting): part for setting, part in own.groupby("setting", sort=False)}
        one_task = len(own.filter(regex=r"^dataset\b").drop_duplicates()) == 1  # else their costs do not compare
        together = one_task and (len(settings) == len(own) or len(own) <= IN_COLOUR)
        parts |= {str(dataset): own} if together or len(settings) == 1 else settings
    several = len(parts) > 1
    more = f"The first {MOST_PARTS} of {len(parts)} settings have such a figure." if len(parts) > MOST_PARTS else ""
    drawn = {}
    for name, own in islice(parts.items(), MOST_PARTS):
        finding = findings.get(name, "") if several else next(iter(findings.values()), "")
        of = f"{title}: {name}" if several else title
        heading = f"{finding}\n{of}" if finding else of
        drawn[name] = _clocks(own, histories, set(best["cell"]), heading, seconds, more)
    return drawn


@styled()
def _clocks(
    cells: "pd.DataFrame", histories: "pd.DataFrame", best: set[str], title: str, seconds: bool, more: str
) -> "Figure":
    """more: what else the note says."""
    in_colour = cells if len(cells) <= IN_COLOUR or cells["setting"].is_unique else cells[cells["cell"].isin(best)]
    styles = _line_styles(in_colour)
    grey = [cell for cell in cells["cell"] if cell not in styles]
    context = evenly_spaced(grey, IN_CONTEXT)
    histories = histories[histories["cell"].isin([*context, *styles])]
    edge = edge_of(histories.groupby("cell")["train_cost"].first())
    curves = {str(cell): curve(own, "train_cost") for cell, own in histories.groupby("cell", sort=False)}
    note = _note(histories["replica"].nunique(), len(grey), len(context), bool(styles), curves)
    note = f"{note} {more}".rstrip()
    names = _end_names(cells[cells["cell"].isin(list(curves))], styles)
    beside, keys = margin(names.values()), _keys(cells, styles, curves, grey)
    heads, right = [["", ""], ["", ""]], RIGHT + beside
    figure, axes = panels(heads, title, note, keys, (4.3, 2.9), right=right, sharey=True, beside=beside)
    for one, (clock, name) in zip(axes.flat, CLOCK_LABELS.items(), strict=True):
        one.set_xlabel(name)
        if clock == "train_seconds" and not seconds:
            one.set_xticks([])
            empty_axes(one, NOT_COMPARABLE)
            continue
        after = -1 if clock == "epoch" else 0  # a log axis cannot show the state before the first update
        _panel(one, {cell: own[own[clock] > after] for cell, own in curves.items()}, clock, (-np.inf, edge), styles)
    _cost_axis(axes, edge)
    for one, clock in zip(axes.flat, CLOCK_LABELS, strict=True):
        if beside and one.lines:
            ends = [end_of(curves[c], clock, (-np.inf, edge), names[c], styles[c]["color"]) for c in names]
            end_labels(one, ends, NAMED)
    return figure


def _end_names(cells: "pd.DataFrame", styles: Styles) -> dict[str, str]:
    """Cell -> the name beside the end of its line: B=8 adam for B=8 optimizer=adam, where that tells all apart."""
    shown = cells[cells["cell"].isin(styles)]
    names = short_names(list(shown["label"]), LONGEST)
    values = [KEY.sub("", name) for name in short_names(list(shown["label"]), LONGEST_IN_KEY)]
    return dict(zip(shown["cell"], values if len(set(values)) == len(set(names)) else names, strict=True))


def _keys(cells: "pd.DataFrame", styles: Styles, curves: Curves, grey: list[str]) -> list[Any]:
    """Of lines with how many replicas diverged, of grey lines, of marks."""
    about = cells.set_index("cell")
    keys = []
    for cell, style in evenly_spaced(list(styles.items()), IN_KEY):
        lost, n = about.loc[cell, ["n_diverged", "n_replicas"]]
        keys.append(key(**style | {"label": f"{style['label']}{f': {lost:g} of {n:g} diverged' if lost > 0 else ''}"}))
    keys += [key("other cells", color=GREY, linewidth=1)] if grey else []
    found = {cell: marks(own, "epoch", EVERYTHING) for cell, own in curves.items()}
    used = {name for cell, own in found.items() for name in own if cell in styles or name == "lost"}
    return keys + mark_keys(used)


def _panel(axes: "Axes", curves: Curves, clock: str, within: Limits, styles: Styles) -> None:
    """Lines and marks on one clock; or, if every median is infinite, why there is none."""
    placed = {cell: marks(own, clock, within) for cell, own in curves.items() if len(own)}
    _context(axes, curves, clock, within, {cell: own for cell, own in placed.items() if cell not in styles})
    for cell, style in styles.items():
        if cell in placed:
            draw(axes, curves[cell], clock, within, style)
    if not (drawn := any((own["median"] < within[1]).any() for own in curves.values())):
        why = "marks say when" if any(placed.values()) else "before the first checkpoint"
        empty_axes(axes, f"every cell diverged\n{why}")
    if clock == "epoch":
        axes.locator_params("x", nbins=6)
    elif drawn or any(placed.values()):
        log_axis(axes, "x", log_limits([axes.dataLim.intervalx], 0.045, 0.045))


def _line_styles(cells: "pd.DataFrame") -> Styles:
    """Cell -> style of its line: colour by setting and batch size, dashes by reduction, a mark each of all three.

    Colour by rate where there is one setting and batch size.
    """
    names = short_names(list(cells["label"]), LONGEST_IN_KEY)
    place = cells.groupby("setting", sort=False).ngroup()
    cells = cells[["cell", "reduction", "batch_size", "learning_rate"]].assign(place=place, name=names)
    cells = cells.sort_values(["reduction", "place", "batch_size", "learning_rate"])
    colour, rate = cells.groupby(["place", "batch_size"]).ngroup(), cells.groupby("learning_rate").ngroup()
    mark = cells.groupby(["place", "batch_size", "learning_rate"]).ngroup()
    cells = cells.assign(colour=colour if colour.any() else rate, mark=mark)
    colours = palette(cells["colour"].nunique())
    both = cells["reduction"].nunique() > 1
    styles = {}
    for c in cells.itertuples():
        pale = both and c.reduction == "mean"  # wide and pale, so that a dashed line on top leaves it visible
        width, alpha = (3.2, 0.5) if pale else (1.7, 1.0)
        line = {"linestyle": "--" if c.reduction == "sum" else "-", "linewidth": width, "alpha": alpha}
        marker = {"marker": MARKS[c.mark % len(MARKS)], "markersize": 7 if pale else 5}
        styles[c.cell] = {"label": c.name, "color": colours[c.colour], **line, **marker}
    return styles


def _note(n_replicas: int, n_grey: int, n_drawn: int, any_best: bool, curves: Curves) -> str:
    colour = "In colour: the best rate tried of each batch size and reduction" if any_best else "No best rate to colour"
    grey = f"{n_drawn} of {n_grey}" if n_drawn < n_grey else f"{n_grey}"
    lines = f"Lines: median of {n_replicas} replicas; bands: quartiles." if n_replicas > 1 else "Lines: one replica."
    lost = any(own["diverged"].any() for own in curves.values())
    lines += " A diverged replica counts as infinite." if lost and n_replicas > 1 else ""
    return f"{colour}; grey: {grey} other cells. {lines}" if n_grey else lines


def _context(axes: "Axes", curves: Curves, clock: str, within: Limits, placed: Mapping[str, Marks]) -> None:
    """All grey lines as one with gaps, as sixty lines are slow."""
    gap = np.full((2, 1), np.nan)
    lines = [np.stack([curves[cell][clock], median_line(curves[cell], within)]) for cell in placed]
    axes.plot(*np.hstack([gap, *(part for line in lines for part in (line, gap))]), color=GREY, lw=0.8, zorder=1)
    if lost := [own["lost"] for own in placed.values() if "lost" in own]:
        axes.plot(*np.transpose(lost), DIVERGED, color=GREY_CROSS, ms=6, mew=0, clip_on=False, zorder=1.5)


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
