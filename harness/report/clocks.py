"""Training cost on four clocks: epochs, updates, examples, train seconds; who is ahead depends on the clock.

One line a cell: its colour is the batch size, dashes are a sum, marks tell rates apart. Lines are medians over the
replicas that have not diverged, bands their quartiles; a cross ends the line of a cell in which one diverged.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from harness.report.panels import evenly, key, log_axis, panels, say
from harness.report.plots import DIVERGED, NOT_COMPARABLE, distinct_words, log_cost, palette, styled

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

AXES = {
    "epoch": "epochs",
    "update": "updates",
    "examples": "examples seen",
    "train_seconds": "train seconds of one replica",
}
QUARTILES = {"q25": 0.25, "median": 0.5, "q75": 0.75}
IN_COLOUR = 12  # cells, all of them drawn in colour; of more, the best rates
IN_CONTEXT = 60  # grey lines
IN_KEY = 36
CUT_OFF = 3  # times the first cost: what lies higher is cut off, its cross stands at the edge
LARGEST = 1e30  # a cost beyond any axis, far from where drawing overflows
GREY = "#C8C8C8"
RATE_MARKS = "o^svDP*"

Columns = dict[str, np.ndarray]  # clocks and quartiles of one cell, one value a checkpoint


def clocks(histories: "pd.DataFrame", best: "pd.DataFrame", title: str, seconds: bool = True) -> dict[str, "Figure"]:
    """Setting -> training cost against epochs, updates, examples and train seconds, one line a cell.

    Of more than IN_COLOUR cells, the cells of `best` are drawn in colour and others in grey. seconds: whether they
    compare between cells.
    """
    settings = [] if histories.empty else list(dict.fromkeys(histories["setting"]))
    figures = {}
    for setting in settings:
        own = histories[histories["setting"] == setting]
        chosen = set() if best.empty else set(best.loc[best["setting"] == setting, "cell"])
        figures[setting] = _clocks(own, chosen, title if len(settings) == 1 else f"{title}: {setting}", seconds)
    return figures


@styled
def _clocks(histories: "pd.DataFrame", best: set[str], title: str, seconds: bool) -> "Figure":
    cells = histories.drop_duplicates("cell").set_index("cell")
    styles = _line_styles(cells if len(cells) <= IN_COLOUR else cells[cells.index.isin(best)])
    others = evenly([cell for cell in cells.index if cell not in styles], IN_CONTEXT)
    drawn = histories[histories["cell"].isin([*others, *styles])]
    curves, edge = _curves(drawn), _edge(drawn)
    diverged = histories[histories["outcome"] == "diverged"].groupby("cell")[list(AXES)].median()
    note = _note(histories["replica"].nunique(), len(cells) - len(styles), len(others), bool(styles))
    figure, axes = panels(2, 2, title, note, _keys(styles, others, diverged), (4.7, 2.9), sharey=True, heads=0)
    for one, clock in zip(axes.flat, AXES, strict=True):
        if clock == "train_seconds" and not seconds:
            one.set(xlabel=AXES[clock], xticks=[])
            say(one, NOT_COMPARABLE)
            continue
        crosses = _crosses(curves, diverged, clock, edge)
        _context(one, [curves[c] for c in others if c in curves], [crosses[c] for c in others if c in crosses], clock)
        for cell, style in styles.items():
            _cell_line(one, curves.get(cell), crosses.get(cell), clock, style)
        _clock_axis(one, clock, edge)
    _cost_axis(axes, edge)
    return figure


def _line_styles(cells: "pd.DataFrame") -> dict[str, dict[str, Any]]:
    """Cell -> how its line is drawn: colour by batch size, dashes by reduction, marks by rate where rates differ."""
    cells = cells.sort_values(["reduction", "batch_size", "learning_rate"])
    sizes, rates = sorted(set(cells["batch_size"])), sorted(set(cells["learning_rate"]))
    colours = dict(zip(sizes, palette(len(sizes)), strict=True))
    marked = cells.duplicated(["batch_size", "reduction"]).any()
    both = cells["reduction"].nunique() > 1
    labels = [f"B={c.batch_size:g} η={c.learning_rate:.3g} {c.reduction}" for c in cells.itertuples()]
    styles: dict[str, dict[str, Any]] = {}
    for c, label in zip(cells.itertuples(), distinct_words(labels), strict=True):
        pale = both and c.reduction == "mean"  # wide and pale, so that a dashed line on top leaves it visible
        styles[c.Index] = {
            "label": label,
            "color": colours[c.batch_size],
            "linestyle": "--" if c.reduction == "sum" else "-",
            "linewidth": 3.2 if pale else 1.7,
            "alpha": 0.5 if pale else 1.0,
            "marker": RATE_MARKS[rates.index(c.learning_rate) % len(RATE_MARKS)] if marked else "",
            "markersize": 5,
        }
    return styles


def _curves(histories: "pd.DataFrame") -> dict[str, Columns]:
    """Cell -> what `tables.curve` says of its training cost; for all cells at once, which is ten times as fast."""
    fine = histories[(histories["outcome"] != "diverged") & np.isfinite(histories["train_cost"])]
    if fine.empty:
        return {}
    costs = fine["train_cost"].clip(upper=LARGEST)
    table = costs.groupby([fine["cell"], *(fine[clock] for clock in AXES)]).quantile(list(QUARTILES.values()))
    table = table.unstack().set_axis(list(QUARTILES), axis=1).reset_index()
    names, starts = np.unique(table["cell"].to_numpy(str), return_index=True)
    columns = {name: np.split(table[name].to_numpy(float), starts[1:]) for name in [*AXES, *QUARTILES]}
    return {str(cell): {name: parts[i] for name, parts in columns.items()} for i, cell in enumerate(names)}


def _edge(histories: "pd.DataFrame") -> float:
    """The cost at which lines are cut off: a diverging one would press the others flat."""
    first = histories.groupby("cell")["train_cost"].first()
    return CUT_OFF * max(first[np.isfinite(first) & (first > 0)], default=1.0)


def _note(n_replicas: int, n_others: int, n_drawn: int, any_best: bool) -> str:
    lines = f"median of {n_replicas} replicas; bands: quartiles" if n_replicas > 1 else "one replica"
    if not n_others:
        return f"Lines: {lines}."
    grey = f"{n_drawn} of {n_others}" if n_drawn < n_others else f"{n_others}"
    colour = "In colour: the best rate of each batch size and reduction" if any_best else "No best rate to colour"
    return f"{colour}; grey: {grey} other cells. Lines: {lines}."


def _keys(styles: dict[str, dict[str, Any]], others: list[str], diverged: "pd.DataFrame") -> list[Any]:
    keys = [key(**style) for style in evenly(list(styles.values()), IN_KEY)]
    if others:
        keys.append(key("other cells", color=GREY, linewidth=1))
    if len(diverged):
        keys.append(key("a replica diverged", color="#555555", marker=DIVERGED, linestyle="", markersize=8))
    return keys


def _on(clock: str, curve: Columns | None, name: str) -> "np.ndarray":
    """A column, without what a log axis cannot show: the state before the first update."""
    if curve is None:
        return np.empty(0)
    return curve[name] if clock == "epoch" else curve[name][curve[clock] > 0]


def _crosses(
    curves: dict[str, Columns], diverged: "pd.DataFrame", clock: str, edge: float
) -> dict[str, tuple[float, float]]:
    """Where cells with a diverged replica are marked: at the line's end; without a line, at the edge, when it died."""
    crosses = {}
    for cell, died in diverged[clock].items():
        x, y = (_on(clock, curves.get(str(cell)), name) for name in (clock, "median"))
        if x.size:
            crosses[str(cell)] = float(x[-1]), min(float(y[-1]), edge)
        elif died > 0 or clock == "epoch":
            crosses[str(cell)] = float(died), edge
    return crosses


def _context(axes: "Axes", curves: list[Columns], crosses: list[tuple[float, float]], clock: str) -> None:
    """All grey lines as one with gaps, as sixty lines are slow."""
    gap = [np.nan]
    x, y = (np.concatenate([gap, *([*_on(clock, c, n), *gap] for c in curves)]) for n in (clock, "median"))
    axes.plot(x, y, color=GREY, lw=0.8, zorder=1)
    if crosses:
        axes.plot(*np.transpose(crosses), DIVERGED, color=GREY, ms=6, mew=0, clip_on=False, zorder=1.5)


def _cell_line(
    axes: "Axes", curve: Columns | None, cross: tuple[float, float] | None, clock: str, style: dict[str, Any]
) -> None:
    if curve:
        x, low, middle, high = (_on(clock, curve, name) for name in (clock, *QUARTILES))
        axes.plot(x, middle, markevery=max(1, len(x) // 6), **style)
        axes.fill_between(x, low, high, color=style["color"], alpha=0.15, lw=0)
    if cross:
        axes.plot(*cross, DIVERGED, color=style["color"], ms=9, mec="white", mew=0.6, clip_on=False, zorder=5)


def _clock_axis(axes: "Axes", clock: str, edge: float) -> None:
    heights = [(line.get_marker(), np.asarray(line.get_ydata(), dtype=float)) for line in axes.get_lines()]
    crosses = any(marker == DIVERGED and len(y) for marker, y in heights)
    lines = any(marker != DIVERGED and (y < edge).any() for marker, y in heights)
    if not lines:
        say(axes, "every replica diverged" + ("\ncrosses say when" if crosses else "\nbefore the first checkpoint"))
    if clock != "epoch" and (crosses or lines):
        log_axis(axes, "x")
    axes.set_xlabel(AXES[clock])


def _cost_axis(axes: "np.ndarray", edge: float) -> None:
    """One for the four panels."""
    first = axes[0, 0]
    log_cost(first)
    if first.dataLim.y1 >= edge:
        first.set_ylim(top=edge)
    if first.get_yscale() == "log":
        log_axis(first, "y", first.get_ylim())
    for one in axes[:, 0]:
        one.set_ylabel("training cost per example")
