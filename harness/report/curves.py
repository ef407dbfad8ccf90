"""Figures of one cell: its costs and score over the epochs, and the cost of single batches.

Lines are medians over the replicas that have not diverged, bands their quartiles.
"""

from typing import TYPE_CHECKING

from harness.report.layout import empty_axes, log_axis, log_cost, panels
from harness.report.style import COLOURS, styled
from harness.training import curve

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BATCH = "batch, before its update"
SCORE_LABELS = {"validation_accuracy": "accuracy", "validation_r2": "R²"}
SIZE = (4.8, 3.1)  # inches


def cell_figures(history: "pd.DataFrame", batch_costs: "pd.DataFrame", title: str) -> dict[str, "Figure"]:
    """The figures of a cell by file name, from its tables."""
    return {"curves": cell_curves(history, title), "batch_costs": cell_batch_costs(batch_costs, history, title)}


@styled()
def cell_curves(history: "pd.DataFrame", title: str) -> "Figure":
    """Train and validation cost against epochs, and the validation score."""
    column, score = next((column, name) for column, name in SCORE_LABELS.items() if column in history)
    figure, ((left, right),) = panels([["Cost", f"Validation {score}"]], title, size=SIZE)
    _median(left, history, "train_cost", COLOURS[0], "train")
    _median(left, history, "validation_cost", COLOURS[1], "validation")
    _median(right, history, column, COLOURS[1])
    left.set(xlabel="epochs", ylabel="cost per example")
    right.set(xlabel="epochs", ylabel=f"validation {score}")
    log_cost(left)
    left.legend(loc="upper right")  # where there is room when costs fall; looking for the best place takes time
    return figure


def _median(axes: "Axes", history: "pd.DataFrame", column: str, colour: str, label: str = "") -> None:
    table = curve(history, column)
    if table.empty:
        empty_axes(axes, "every replica diverged\nbefore the first checkpoint")
    axes.plot(table["epoch"], table["median"], color=colour, label=label, lw=1.8)
    axes.fill_between(table["epoch"], table["q25"], table["q75"], color=colour, alpha=0.2, lw=0)
    axes.locator_params(nbins=5)


@styled()
def cell_batch_costs(batch_costs: "pd.DataFrame", history: "pd.DataFrame", title: str) -> "Figure":
    """The cost of each recorded batch of replica 0, over its cost on the whole training set."""
    figure, ((axes,),) = panels([["Cost at each update, replica 0"]], title, size=SIZE)
    seen, own = (table[(table["replica"] == 0) & (table["update"] > 0)] for table in (batch_costs, history))
    axes.plot(seen["update"], seen["batch_cost"], ".", ms=3.5, alpha=0.6, color=COLOURS[5], label=BATCH)
    axes.plot(own["update"], own["train_cost"], color=COLOURS[0], label="whole training set")
    axes.set(xlabel="updates", ylabel="cost per example")
    log_axis(axes, "x")
    log_cost(axes)
    axes.legend(loc="lower left")
    if seen.empty and own.empty:
        empty_axes(axes, "replica 0 made no update")
    return figure
