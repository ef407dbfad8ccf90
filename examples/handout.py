"""The hand-out: one page (PDF) on stochastic, mini-batch and batch gradient descent, trained when it is made."""

from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from harness import Sweep

TARGET = 0.24  # cost per example: about a tenth of the cost at the start, ln 10 = 2.3
# Each batch size has rates on both sides of its best one, and epochs enough to reach the target.
GRIDS = (
    {"batch_size": [1], "learning_rate": [0.03, 0.1, 0.3, 1.0], "epochs": [6]},
    {"batch_size": [64], "learning_rate": [0.3, 1.0, 3.0, 10.0, 30.0], "epochs": [15]},
    {"batch_size": ["full"], "learning_rate": [1.0, 3.0, 10.0, 30.0], "epochs": [100]},
)
NAMES = ("stochastic", "mini-batch", "batch")
COLOURS = ("#D55E00", "#009E73", "#0072B2")
UNITS = {"epochs": 1, "updates": 1, "ms": 1000}  # of the table, and how many of them one of the clock has
CLOCKS = {"epochs": "epoch", "updates": "update", "seconds": "train_seconds"}  # and the columns of histories


class Ahead(NamedTuple):
    """Which batch size has the lowest median on a clock, and in how many of the replicas it is the lowest."""

    batch_size: int
    n_lowest: int
    n_replicas: int


def write(path: Path) -> Path:
    """Train the three methods on digits and write the page."""
    import harness

    figure = page(harness.sweep([dict(grid) for grid in GRIDS], dataset="digits", target=TARGET))
    figure.savefig(path, metadata={"Title": "Three methods, three clocks"})
    return path


def best_cells(replicas: "pd.DataFrame") -> dict[int, str]:
    """For each batch size the cell whose median number of updates to the target is lowest; not reached is infinite."""
    reached = replicas.assign(updates=replicas["to_target_updates"].fillna(np.inf))
    medians = reached.groupby(["batch_size", "cell"])["updates"].median().reset_index()
    lowest = medians.loc[medians.groupby("batch_size")["updates"].idxmin()]
    return {int(row.batch_size): row.cell for row in lowest.itertuples()}


def to_target(replicas: "pd.DataFrame", cells: dict[int, str], clock: str) -> "pd.DataFrame":
    """What each replica (rows) of each batch size (columns) needed to reach the target; infinite if it did not."""
    import pandas as pd

    columns = {
        size: replicas[replicas["cell"] == cell].set_index("replica")[f"to_target_{clock}"]
        for size, cell in cells.items()
    }
    return pd.DataFrame(columns).fillna(np.inf)


def ahead(needed: "pd.DataFrame") -> Ahead:
    """See `Ahead`; needed: as `to_target` returns it."""
    best = needed.median().idxmin()
    return Ahead(int(best), int((needed.idxmin(axis=1) == best).sum()), len(needed))


def page(sweep: "Sweep") -> "Figure":
    """The page as a figure of A4 size."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    cells = best_cells(sweep.replicas)
    needed = {clock: to_target(sweep.replicas, cells, clock) for clock in CLOCKS}
    rates = sweep.cells.set_index("cell")["learning_rate"]
    names = dict(zip(cells, (f"{name}, B = {size}" for name, size in zip(NAMES, cells, strict=True)), strict=True))
    with rc_context({"font.size": 10.5, "axes.spines.top": False, "axes.spines.right": False, "pdf.fonttype": 42}):
        figure = Figure(figsize=(8.27, 11.69))
        figure.text(0.08, 0.945, "Three methods, three clocks", fontsize=21, weight="bold")
        figure.text(0.08, 0.915, _headline(needed), fontsize=11.5)
        for k, (clock, column) in enumerate(CLOCKS.items()):
            axes = figure.add_axes((0.12 + 0.29 * k, 0.635, 0.25, 0.23), xscale="log", yscale="log")
            _draw(axes, sweep.histories, cells, column)
            axes.set(
                xlabel=f"training {clock}" if clock == "seconds" else clock, title=f"equal {clock}", ylim=(0.15, 10)
            )
            axes.set_yticks([0.2, 0.5, 1, 2, 5, 10], [] if k else ["0.2", "0.5", "1", "2", "5", "10"])
            axes.set_yticks([], minor=True)
            if not k:
                axes.set_ylabel("training cost per example")
        for name, colour, x in zip(names.values(), COLOURS, (0.12, 0.41, 0.70), strict=True):
            figure.text(x, 0.575, f"● {name}", color=colour, weight="bold")
        _table(figure, needed, names, {size: rates[cell] for size, cell in cells.items()})
        figure.text(0.08, 0.395, _explanation(needed, sweep), va="top", linespacing=1.45)
    return figure


def _headline(needed: dict[str, "pd.DataFrame"]) -> str:
    found = {clock: ahead(table) for clock, table in needed.items()}
    first = ", ".join(f"B = {one.batch_size} per {clock[:-1]}" for clock, one in found.items())
    return f"First at the target of {TARGET}: {first}."


def _draw(axes: object, histories: "pd.DataFrame", cells: dict[int, str], column: str) -> None:
    """Median cost with the band between the quartiles over replicas, as long as half of them still train."""
    for cell, colour in zip(cells.values(), COLOURS, strict=True):
        rows = histories[(histories["cell"] == cell) & (histories["update"] > 0)]
        by_update = rows.groupby("update")
        kept = by_update["replica"].count() >= rows["replica"].nunique() / 2
        cost, time = by_update["train_cost"], by_update[column].median()[kept]
        axes.fill_between(time, cost.quantile(0.25)[kept], cost.quantile(0.75)[kept], color=colour, alpha=0.2, lw=0)
        axes.plot(time, cost.median()[kept], color=colour, lw=1.6)
    axes.axhline(TARGET, color="black", lw=0.8, ls=":")


def _table(figure: "Figure", needed: dict[str, "pd.DataFrame"], names: dict[int, str], rates: dict[int, float]) -> None:
    """Medians with quartiles of what each method needed, the lowest of each clock in bold."""
    rows = [
        [
            f"{names[size]}",
            f"{rates[size]:g}",
            *(_spread(needed[clock][size] * UNITS[unit]) for clock, unit in zip(CLOCKS, UNITS, strict=True)),
        ]
        for size in names
    ]
    axes = figure.add_axes((0.08, 0.425, 0.86, 0.13))
    axes.axis("off")
    header = ["method", "best rate η", *(f"{unit} to the target" for unit in UNITS)]
    drawn = axes.table(rows, colLabels=header, loc="center", cellLoc="center", edges="horizontal",
                       colWidths=[0.24, 0.13, 0.21, 0.21, 0.21])  # fmt: skip
    drawn.auto_set_font_size(False)
    drawn.set_fontsize(9.5)
    drawn.scale(1, 2)
    for column, clock in enumerate(CLOCKS, start=2):
        row = list(names).index(ahead(needed[clock]).batch_size) + 1
        drawn[row, column].get_text().set_weight("bold")


def _spread(values: "pd.Series") -> str:
    """The median, and in brackets the quartiles."""
    lower, median, upper = (f"{value:.3g}" for value in values.quantile([0.25, 0.5, 0.75], interpolation="nearest"))
    return f"{median} [{lower}, {upper}]"


def _explanation(needed: dict[str, "pd.DataFrame"], sweep: "Sweep") -> str:
    counts = ", ".join(
        f"{clock}: B = {one.batch_size} in {one.n_lowest} of {one.n_replicas}"
        for clock, one in ((clock, ahead(table)) for clock, table in needed.items())
    )
    n_train = int(sweep.cells["n_train"].iloc[0])
    paragraphs = (
        f"How to read it. One epoch uses all N = {n_train} training examples once; one update is one step of the "
        f"weights. B = 1 makes {n_train} updates in an epoch, B = N makes one. Lines are medians of ten trainings "
        "(replicas), bands the quartiles; dotted is the target. Both axes grow by equal factors.",
        f"In how many replicas is the winner of the medians the lowest? {counts}.",
        "Why. A gradient from few examples is noisy but cheap. Per epoch, many noisy steps go further than one good "
        "step. Per update, the good step goes further, because it allows a larger learning rate. In seconds it depends "
        "on what an update costs: a batch of 64 costs far less than 64 updates of one example.",
        "What it does not say. Each method has its own best learning rate, chosen on the same replicas by updates to "
        "the target, which flatters all three a little. It is one network (64-32-10), one data set (scikit-learn's "
        "digits), one machine: seconds differ elsewhere, and N is small.",
        f"Make it yourself: python -m examples handout handout.pdf (a sweep of {len(sweep)} cells, 10 replicas each).",
    )
    return "\n\n".join(fill(text, 94) for text in paragraphs)
