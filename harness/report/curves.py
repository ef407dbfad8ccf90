"""Figures of one cell: its costs and score over the epochs (see `medians`), and the cost of single batches."""

from typing import TYPE_CHECKING

import numpy as np

from harness.report.layout import empty_axes, log_axis, log_cost, panels
from harness.report.medians import EVERYTHING, Limits, draw, edge_of, mark_keys, marks
from harness.report.style import COLOURS, styled
from harness.training import curve

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BATCH = "batch, before its update"
SCORE_LABELS = {"validation_accuracy": "accuracy", "validation_r2": "R²"}
BASELINES = {"validation_accuracy": "always the most frequent class", "validation_r2": "always the mean"}
SIZE = (4.8, 3.1)  # inches


def cell_figures(
    history: "pd.DataFrame", batch_costs: "pd.DataFrame", title: str, baseline: float | None = None
) -> dict[str, "Figure"]:
    """The figures of a cell by file name, from its tables. baseline: of the validation score."""
    curves = cell_curves(history, title, baseline)
    return {"curves": curves, "batch_costs": cell_batch_costs(batch_costs, history, title)}


@styled()
def cell_curves(history: "pd.DataFrame", title: str, baseline: float | None = None) -> "Figure":
    """Train and validation cost against epochs, and the validation score above its baseline, a thin line."""
    column, score = next((column, name) for column, name in SCORE_LABELS.items() if column in history)
    train, validation, scores = (curve(history, name) for name in ("train_cost", "validation_cost", column))
    note, keys = _note(train, history["replica"].nunique()), mark_keys(marks(train, "epoch", EVERYTHING))
    figure, ((left, right),) = panels([["Cost", f"Validation {score}"]], title, note, keys, size=SIZE)
    top = edge_of(history.loc[history["update"] == 0, ["train_cost", "validation_cost"]].median())
    _median(left, train, (-np.inf, top), COLOURS[0], "train")
    _median(left, validation, (-np.inf, top), COLOURS[1], "validation")
    _median(right, scores, (_bottom(scores), np.inf), COLOURS[1])
    if np.isinf(scores["q25"]).any():
        right.set_ylim(bottom=_bottom(scores))
    if baseline is not None and np.isfinite(scores["median"]).any():
        right.axhline(baseline, color="black", lw=0.8, ls="--", label=BASELINES[column])
        right.legend(loc="lower right")
    left.set(xlabel="epochs", ylabel="cost per example")
    right.set(xlabel="epochs", ylabel=f"validation {score}")
    log_cost(left)
    if left.dataLim.y1 >= top:
        left.set_ylim(top=top)
    left.legend(loc="upper right")  # where there is room when costs fall; looking for the best place takes time
    return figure


def _bottom(scores: "pd.DataFrame") -> float:
    """Where the line of scores leaves the axes: below everything that is finite, as a diverged replica has no score."""
    known = scores[["q25", "median", "q75"]].to_numpy(float)
    known = known[np.isfinite(known)]
    return float(known.min() - max(0.1 * np.ptp(known), 0.01)) if known.size else 0.0


def _note(train: "pd.DataFrame", n_replicas: int) -> str:
    """What became of the replicas, where it is not that all were trained to the end."""
    ends = {"diverged": "diverged and count as infinite", "reached": "reached the target and keep their cost"}
    counts = {name: int(train[name].iloc[-1]) for name in ends}
    said = [f"{count} of {n_replicas} replicas {ends[name]}" for name, count in counts.items() if count]
    return f"{'; '.join(said)}." if said else ""


def _median(axes: "Axes", table: "pd.DataFrame", within: Limits, colour: str, label: str = "") -> None:
    if np.isinf(table["median"]).all():
        empty_axes(axes, "half of the replicas or more diverged\nbefore the first checkpoint")
    draw(axes, table, "epoch", within, {"color": colour, "label": label, "lw": 1.8})
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
