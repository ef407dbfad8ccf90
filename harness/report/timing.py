"""What an update costs: time per update and per example against batch size."""

from typing import TYPE_CHECKING, Any

import numpy as np

from harness.report.layout import batch_axis, evenly_spaced, log_axis, log_limits, panels
from harness.report.style import key, palette, short_names, styled, two_digits

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

IN_KEY = 36  # settings
LONGEST = 50  # letters of a setting's name
Split = tuple[float, float]  # µs per update, µs per example


@styled()
def timing(cells: "pd.DataFrame", title: str) -> "Figure":
    """Time per update and per example against batch size, split as overhead per update + B × cost per example."""
    settings = [(str(s), own[own["time/update_us"] > 0]) for s, own in cells.groupby("setting", sort=False)]
    names = short_names([setting for setting, _ in settings], LONGEST) if len(settings) > 1 else [""]
    splits, colours = [overhead_split(own) for _, own in settings], palette(len(settings))
    keys = evenly_spaced([_key(*about) for about in zip(names, splits, colours, strict=True)], IN_KEY)
    lines = ", of any learning rate and reduction; lines: overhead + batch size × cost of an example"
    note = f"Points: cells{lines if any(splits) else ''}."
    figure, ((left, right),) = panels([["Time per update", "Time per example"]], title, note, keys, (4.4, 3.3))
    for axes, unit in ((left, "update"), (right, "example")):
        batch_axis(axes, cells["batch_size"])
        log_axis(axes, "y", log_limits([cells[f"time/{unit}_us"]]))
        axes.set_ylabel(f"train time per {unit} (µs)")
        for (_, own), split, colour in zip(settings, splits, colours, strict=True):
            axes.plot(own["batch_size"], own[f"time/{unit}_us"], "o", color=colour, ms=6, alpha=0.5, mew=0)
            if split:
                sizes = np.geomspace(own["batch_size"].min(), own["batch_size"].max(), 60)
                time = split[0] + split[1] * sizes
                axes.plot(sizes, time if unit == "update" else time / sizes, color=colour, lw=1.6)
    return figure


def overhead_split(timed: "pd.DataFrame") -> Split | None:
    """a, b ≥ 0 of t = a + bB in µs: least squares of the relative error at the median time of each batch size.

    None for a single batch size, which cannot tell the two apart.
    """
    medians = timed.groupby("batch_size")["time/update_us"].median()
    if len(medians) < 2:
        return None
    sizes, times = medians.index.to_numpy(float), medians.to_numpy(float)
    columns = np.stack([1 / times, sizes / times], axis=1)
    a, b = np.linalg.lstsq(columns, np.ones(len(times)), rcond=None)[0]
    if min(a, b) < 0:  # the optimum lies on the border that was crossed
        a, b = (column.sum() / (column @ column) * (kept >= 0) for column, kept in zip(columns.T, (a, b), strict=True))
    return float(a), float(b)


def _key(name: str, split: Split | None, colour: Any) -> Any:
    texts = [name] if name else []
    if split:
        texts.append(f"overhead {two_digits(split[0])} µs per update, {two_digits(split[1])} µs per example")
    return key(": ".join(texts) or "cells", color=colour, marker="o", alpha=0.8, linestyle="-" if split else "")
