"""Cost over learning rate: a curve for each batch size and reduction, in the user's units and in canonical ones."""

from typing import TYPE_CHECKING, Any

import numpy as np

from harness.report.layout import log_axis, log_cost, log_limits, setting_panels
from harness.report.rates import LR_MEAN, RATE_LABELS
from harness.report.style import DIVERGED, key, palette, styled

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINES: dict[str, dict[str, Any]] = {
    "mean": {"ls": "-", "lw": 3.2, "alpha": 0.5, "marker": "o", "ms": 6},
    "sum": {"ls": "--", "lw": 1.6, "marker": "D", "ms": 4},
}
GREY = "#555555"


@styled()
def slices(cells: "pd.DataFrame", edge: float, title: str) -> "Figure":
    """cells: with score, q25, q75 and knobs. edge: the cost at which a curve is cut off.

    Under lr_mean the curves of sum and mean lie on one another where the two are the same training.
    """
    sizes = sorted(set(cells["batch_size"]))
    colours = dict(zip(sizes, palette(len(sizes)), strict=True))
    keys = [key(f"B={size:.0f}", color=colour, lw=2) for size, colour in colours.items()]
    both = sorted(set(cells["reduction"]))
    keys += [key(name, color=GREY, **LINES[name]) for name in both] if len(both) > 1 else []
    lost = np.isinf(cells["score"]).any()
    keys += [key("half of the replicas or more diverged", color=GREY, marker=DIVERGED, ms=8, ls="")] if lost else []
    note = f"Points: median over all replicas; bars: quartiles. {LR_MEAN}"
    texts = [f"cost over {name}" for name in RATE_LABELS.values()]
    figure, rows = setting_panels(cells, texts, title, note, keys, (4.6, 3.3))
    for axes, own in rows:
        for one, (column, name) in zip(axes, RATE_LABELS.items(), strict=True):
            _panel(one, own, column, colours, edge)
            log_axis(one, "x", log_limits([own[column]], 0.05, 0.05))
            log_cost(one)
            one.set_xlabel(name)
        axes[0].set_ylabel("final training cost per example")
    return figure


def _panel(axes: "Axes", cells: "pd.DataFrame", rate: str, colours: dict[float, Any], edge: float) -> None:
    for (size, reduction), own in cells.sort_values(rate).groupby(["batch_size", "reduction"]):
        gone, colour = np.isinf(own["score"]), colours[float(size)]
        known = own[~gone & own["score"].notna()]
        low, cost, high = (known[name].clip(upper=edge) for name in ("q25", "score", "q75"))
        axes.plot(known[rate], cost, color=colour, **LINES[str(reduction)])
        axes.vlines(known[rate], low, high, color=colour, lw=1)
        axes.plot(
            own.loc[gone, rate], np.ones(gone.sum()), DIVERGED, color=colour, ms=8 if reduction == "mean" else 5,
            mec="white", mew=0.6, transform=axes.get_xaxis_transform(), clip_on=False,
        )  # fmt: skip
