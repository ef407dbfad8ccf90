"""Figures of one cell: its costs and score over the epochs (see `medians`), and the cost of single batches."""

from typing import TYPE_CHECKING, Any

import numpy as np

from harness.report.labels import end_labels, margin
from harness.report.layout import empty_axes, log_axis, log_cost, panels
from harness.report.medians import EVERYTHING, LOOKS, Limits, draw, edge_of, end_of, mark_keys, marks
from harness.report.style import COLOURS, key, styled
from harness.training import curve

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BATCH = "batch, before its update"
SCORE_LABELS = {"validation_accuracy": "accuracy", "validation_r2": "R²"}
BASELINES = {"validation_accuracy": "always the most frequent class", "validation_r2": "always the mean"}
LINES: dict[str, dict[str, Any]] = {
    "train": {"color": COLOURS[0], "lw": 1.8},
    "validation": {"color": COLOURS[1], "lw": 1.8, "ls": "--"},
}
BASELINE: dict[str, Any] = {"color": "black", "lw": 1, "ls": ":"}
MANY = 100  # batches, whose points are small
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
    above = baseline is not None and bool(np.isfinite(scores["median"]).any())
    keys = [key(name, **look) for name, look in LINES.items()]
    keys += [key(BASELINES[column], **BASELINE)] if above else []
    keys += mark_keys(marks(train, "epoch", EVERYTHING))
    note, heads = _note(train, history["replica"].nunique()), [["Cost", f"Validation {score}"]]
    figure, ((left, right),) = panels(heads, title, note, keys, size=SIZE, beside=margin(LINES))
    top = edge_of(history.loc[history["update"] == 0, ["train_cost", "validation_cost"]].median())
    _median(left, train, (-np.inf, top), "train")
    _median(left, validation, (-np.inf, top), "validation")
    _median(right, scores, (_bottom(scores), np.inf), "validation")
    if np.isinf(scores["q25"]).any():
        right.set_ylim(bottom=_bottom(scores))
    if above:
        right.axhline(baseline, label=BASELINES[column], **BASELINE)
    left.set(xlabel="epochs", ylabel="cost per example")
    right.set(xlabel="epochs", ylabel=f"validation {score}")
    log_cost(left)
    if left.dataLim.y1 >= top:
        left.set_ylim(top=top)
    lines = {"train": train, "validation": validation}
    end_labels(left, [end_of(own, "epoch", (-np.inf, top), name, LINES[name]["color"]) for name, own in lines.items()])
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


def _median(axes: "Axes", table: "pd.DataFrame", within: Limits, name: str) -> None:
    if np.isinf(table["median"]).all():
        empty_axes(axes, "half of the replicas or more diverged\nbefore the first checkpoint")
    draw(axes, table, "epoch", within, {"label": name, **LINES[name]})
    axes.locator_params(nbins=5)


@styled()
def cell_batch_costs(batch_costs: "pd.DataFrame", history: "pd.DataFrame", title: str) -> "Figure":
    """The cost of each batch recorded of the first replica, over that of the whole training set; where it diverged."""
    first = history["replica"].min()
    every, batches = (table[table["replica"] == first] for table in (history, batch_costs))
    own, seen = (table[table["update"] > 0] for table in (every, batches))
    whole: dict[str, Any] = {"color": COLOURS[0], "lw": 1.8}
    batch: dict[str, Any] = {"color": COLOURS[1], "marker": ".", "ls": "", "ms": 4 if len(seen) > MANY else 8}
    lost = every[every["outcome"] == "diverged"]
    keys = [key("whole training set", **whole), key(BATCH, **batch), *mark_keys({"lost"} if len(lost) else ())]
    figure, ((axes,),) = panels([[f"Cost at each update, replica {first}"]], title, keys=keys, size=SIZE)
    axes.plot(own["update"], own["train_cost"], label="whole training set", **whole)
    axes.plot(seen["update"], seen["batch_cost"], alpha=0.7, label=BATCH, **batch)
    axes.set(xlabel="updates", ylabel="cost per example")
    log_axis(axes, "x")
    log_cost(axes)
    top: dict[str, Any] = {"transform": axes.get_xaxis_transform(), "clip_on": False}
    axes.plot(lost["update"], np.ones(len(lost)), color=COLOURS[0], ls="", **top, **LOOKS["lost"])
    if seen.empty and own.empty:
        empty_axes(axes, f"replica {first} made no update")
    return figure
