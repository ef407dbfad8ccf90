"""The only module that draws. Tables in, figures out; nothing here loads or computes more than a position.

Lines are medians over replicas, bands their interquartile range. A cell in which a replica diverged is drawn as far as
it goes and marked with a cross. Figures are made without pyplot, so they need no display and leave no state behind.
"""

import io
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np

from harness.training import DIVERGED_AT, curve

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe & Ito's colours, which readers with any colour vision tell apart; black is left to axes and references.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D31")
P = ParamSpec("P")
Drawn = TypeVar("Drawn")
LEGEND_ROWS = 17
DIVERGED = "X"  # the marker
BATCH = "batch, before its update"
STYLE = {
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.titley": 1.0,  # a fixed place: finding one measures every tick label
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "figure.dpi": 110,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
}


def png(figure: "Figure") -> bytes:
    """The figure as a file; packed quickly rather than tightly, a sixth larger."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", pil_kwargs={"compress_level": 1})
    return stream.getvalue()


def save(figure: "Figure", path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png(figure))


def styled(draw: Callable[P, Drawn]) -> Callable[P, Drawn]:
    """Draw with the harness's style, whatever the user's own settings are."""

    @wraps(draw)
    def in_style(*arguments: P.args, **options: P.kwargs) -> Drawn:
        from matplotlib import rc_context

        with rc_context(STYLE):
            return draw(*arguments, **options)

    return in_style


def _canvas(columns: int, title: str, legend_width: float = 0.0) -> tuple["Figure", list["Axes"]]:
    """A row of axes with fixed margins, in inches: the layout engines draw every figure twice."""
    from matplotlib.figure import Figure

    axes_width, left, right, gap = 4.8, 0.95, 0.25, 0.95
    width = left + columns * axes_width + (columns - 1) * gap + right + legend_width
    figure = Figure(figsize=(width, 4.4))
    figure.subplots_adjust(
        left=left / width, right=1 - (right + legend_width) / width, bottom=0.13, top=0.84, wspace=gap / axes_width
    )
    figure.suptitle(title, fontsize=13, y=0.975)
    every = [figure.add_subplot(1, columns, i + 1) for i in range(columns)]
    for axes in every:
        axes.locator_params(nbins=5)  # a tick takes a millisecond
    return figure, every


@styled
def cell_curves(history: "pd.DataFrame", title: str) -> "Figure":
    """Train and validation cost against epochs, and the validation score."""
    score = next(c for c in history.columns if c in ("validation_accuracy", "validation_r2"))
    figure, (left, right) = _canvas(2, title)
    for column, label, colour in (
        ("train_cost", "train", COLOURS[0]),
        ("validation_cost", "validation", COLOURS[1]),
    ):
        _band(left, curve(history, column), "epoch", label, colour)
    left.set(xlabel="epochs", ylabel="cost per example", title="Cost")
    log_cost(left)
    left.legend(loc="upper right")  # where there is room when costs fall; looking for the best place takes time
    _band(right, curve(history, score), "epoch", None, COLOURS[1])
    name = "accuracy" if score == "validation_accuracy" else "R²"
    right.set(xlabel="epochs", ylabel=f"validation {name}", title=f"Validation {name}")
    _say_if_empty(left)
    _say_if_empty(right)
    return figure


@styled
def cell_batch_costs(batch_costs: "pd.DataFrame", history: "pd.DataFrame", title: str) -> "Figure":
    """What the updates saw: the cost of each recorded batch of replica 0, over its cost on the whole training set."""
    figure, (axes,) = _canvas(1, title)
    seen = batch_costs[(batch_costs["replica"] == 0) & (batch_costs["update"] > 0)]
    axes.plot(seen["update"], seen["batch_cost"], ".", ms=3.5, alpha=0.6, color=COLOURS[5], label=BATCH)
    own = history[(history["replica"] == 0) & (history["update"] > 0)]
    axes.plot(own["update"], own["train_cost"], color=COLOURS[0], label="whole training set")
    axes.set(xlabel="updates", ylabel="cost per example", title="Cost at each update, replica 0")
    log_scale(axes, "x")
    log_cost(axes)
    axes.legend(loc="lower left")
    _say_if_empty(axes)
    return figure


NOT_COMPARABLE = "cells were timed in different ways:\ntheir seconds do not compare"


@styled
def comparison(histories: Mapping[str, "pd.DataFrame"], title: str, seconds: bool = True) -> "Figure":
    """Training cost of every cell against epochs and, if their seconds compare, train seconds, one line a cell."""
    names = distinct_words(list(histories))
    listed, columns, legend_width = _legend_size(names)
    figure, (by_epoch, by_second) = _canvas(2, title, legend_width)
    for axes, x in ((by_epoch, "epoch"), (by_second, "train_seconds")):
        if x == "train_seconds" and not seconds:
            axes.text(0.5, 0.5, NOT_COMPARABLE, ha="center", va="center", transform=axes.transAxes)
            axes.set(xticks=[], yticks=[])
            continue
        for name, history, colour in zip(names, histories.values(), palette(len(names)), strict=True):
            table = curve(history, "train_cost")
            if x == "train_seconds":
                table = table[table["update"] > 0]
            _band(axes, table, x, name, colour)
            _mark_divergence(axes, table, history, x, colour)
        log_cost(axes)
        _cut_off(axes, top=DIVERGED_AT * max((h["train_cost"].iloc[0] for h in histories.values()), default=np.inf))
        _say_if_empty(axes)
    by_epoch.set(xlabel="epochs", ylabel="training cost per example", title="Cost per epoch")
    by_second.set(xlabel="train seconds of one replica", title="Cost per second of training")
    if seconds:
        log_scale(by_second, "x")
    if names:
        handles, labels = by_epoch.get_legend_handles_labels()
        handles, labels = [handles[i] for i in listed], [labels[i] for i in listed]
        figure.legend(handles, labels, loc="upper right", bbox_to_anchor=(0.995, 0.86), ncols=columns, fontsize=10)
    return figure


def _legend_size(names: list[str]) -> tuple[list[int], int, float]:
    """Which cells a legend lists, in how many columns, how wide in inches; of very many, some evenly spaced ones."""
    most = 2 * LEGEND_ROWS
    listed = range(len(names)) if len(names) <= most else np.linspace(0, len(names) - 1, LEGEND_ROWS).astype(int)
    columns = -(-len(listed) // LEGEND_ROWS)
    widest = max((len(names[i]) for i in listed), default=0)
    return list(listed), columns, columns * (0.75 + 0.085 * widest)


def distinct_words(labels: list[str]) -> list[str]:
    """The labels without the words that all of them share; a single label stays whole."""
    shared = set.intersection(*(set(label.split()) for label in labels)) if len(labels) > 1 else set()
    return [" ".join(word for word in label.split() if word not in shared) or label for label in labels]


def palette(n: int) -> list[Any]:
    """The named colours while they suffice, then a ramp in the order of the cells."""
    if n <= len(COLOURS):
        return list(COLOURS[:n])
    from matplotlib import colormaps

    ramp = colormaps["viridis"]
    return [ramp(0.95 * i / (n - 1)) for i in range(n)]


def _band(axes: "Axes", table: "pd.DataFrame", x: str, label: str | None, colour: Any) -> None:
    axes.plot(table[x], table["median"], color=colour, label=label, lw=1.8)
    axes.fill_between(table[x], table["q25"], table["q75"], color=colour, alpha=0.2, lw=0)


def _mark_divergence(axes: "Axes", table: "pd.DataFrame", history: "pd.DataFrame", x: str, colour: Any) -> None:
    """A cross where the line ends, if any replica diverged."""
    n_diverged = int((history["outcome"] == "diverged").sum())
    if n_diverged and len(table):
        end = table.iloc[-1]
        axes.plot([end[x]], [end["median"]], DIVERGED, color=colour, ms=9, clip_on=False, zorder=5)


def log_cost(axes: "Axes") -> None:
    """Costs fall by factors, so they are drawn on a log axis; not where one is not positive, or they hardly fall."""
    low, high = axes.dataLim.intervaly
    if 0 < 3 * low < high < np.inf:
        log_scale(axes, "y")


def log_scale(axes: "Axes", name: str) -> None:
    """A log axis with plain numbers: 0.01 reads faster than a power of ten, and is drawn faster.

    Minor ticks would not be seen, and making them takes half of the time that a figure takes.
    """
    from matplotlib.ticker import LogLocator, NullLocator

    axes.set(**{f"{name}scale": "log"})
    axis = axes.xaxis if name == "x" else axes.yaxis
    low, high = axes.dataLim.intervalx if name == "x" else axes.dataLim.intervaly
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 50 * low else (1,)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(NullLocator())


def _cut_off(axes: "Axes", top: float) -> None:
    """Leave out what lies far above: a diverging cost would press the others flat. Its cross moves to the edge."""
    if top < axes.dataLim.y1:
        axes.set_ylim(top=1.5 * top)
        for line in axes.get_lines():
            if line.get_marker() == DIVERGED:
                line.set_ydata(np.minimum(np.asarray(line.get_ydata(), dtype=float), 1.5 * top))


def _say_if_empty(axes: "Axes") -> None:
    if not any(np.size(line.get_xdata()) for line in axes.get_lines()):
        text = "every replica diverged\nbefore the first checkpoint"
        axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes)
