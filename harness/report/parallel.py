"""Parallel coordinates: an axis for each key that varied and one for the cost, a line for each cell."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.report.layout import evenly_spaced

if TYPE_CHECKING:
    import pandas as pd
    from bokeh.plotting import figure

KEYS = {"setting": "setting", "batch_size": "B", "learning_rate": "η", "reduction": "reduction"}  # columns
COST = "final training cost"
INK = "#767676"  # of axes and names: readable on white and on black
HEIGHT = 360  # pixels
MOST_LINES = 1000
LETTERS = 24  # of a value


def parallel(cells: "pd.DataFrame", keys: Sequence[str]) -> "figure":
    """The lower the cost, the brighter and the wider the line; cells of which half or more diverged end on top.

    Of more than MOST_LINES cells, so many from the lowest to the highest cost.
    """
    from bokeh.models import ColumnDataSource, HoverTool
    from bokeh.plotting import figure

    plot = figure(
        name="parallel", height=HEIGHT, sizing_mode="stretch_width", tools="reset", toolbar_location=None,
        x_range=(-0.3, len(keys) + 0.3), y_range=(-0.08, 1.08),
    )  # fmt: skip
    place, ranks = {key: _places(cells[key]) for key in keys}, _ranks(cells)
    if len(cells) > MOST_LINES:
        drawn = np.argsort(ranks, kind="stable")[evenly_spaced(range(len(ranks)), MOST_LINES)]
        cells, ranks = cells.iloc[drawn], ranks[drawn]
    ys = [[*(place[key][value] for key, value in zip(keys, row, strict=True)), rank]
          for row, rank in zip(cells[list(keys)].itertuples(index=False), ranks, strict=True)]  # fmt: skip
    last = len(keys)
    source = ColumnDataSource({
        "xs": [list(range(last + 1))] * len(ys), "ys": ys, "name": list(cells["label"]),
        "cost": [f"{cost:.3g}" if np.isfinite(cost) else "half or more diverged" for cost in cells["score"]],
        "alpha": 0.15 + 0.8 * (1 - ranks) ** 2, "width": 1 + 2.5 * (1 - ranks) ** 3, "colour": _colours(ranks),
    })  # fmt: skip
    lines = plot.multi_line(
        "xs", "ys", source=source, line_color="colour", line_alpha="alpha", line_width="width", hover_line_width=5
    )
    plot.add_tools(HoverTool(renderers=[lines], tooltips="<b>@name</b><br>@cost"))
    several = cells["task"].nunique() > 1
    ends = {0.0: "lowest of its data" if several else f"lowest {cells['score'].min():.3g}", 1.0: "highest"}
    for x, texts in enumerate([*({y: _text(v) for v, y in place[key].items()} for key in keys), ends]):
        plot.line([x, x], [0, 1], color=INK)
        side, offset = ("right", -6) if x == last else ("left", 6)  # inside a narrow page
        plot.text([x] * len(texts), list(texts), list(texts.values()), x_offset=offset, y_offset=5, text_color=INK,
                  text_align=side, text_font_size="12px")  # fmt: skip
    plot.xaxis.ticker = list(range(last + 1))
    plot.xaxis.major_label_overrides = dict(enumerate([*(KEYS[key] for key in keys), COST]))
    plot.yaxis.visible = plot.grid.visible = False
    quiet(plot)
    return plot


def _places(values: "pd.Series") -> dict[Any, float]:
    """The different values in order, evenly spaced from 0 to 1."""
    different = sorted(set(values))
    return {value: i / max(1, len(different) - 1) for i, value in enumerate(different)}


def _ranks(cells: "pd.DataFrame") -> "np.ndarray":
    """0 for the lowest cost of a task up to 1 for its highest; infinite ones are 1."""
    scores = cells.groupby("task")["score"]
    ranks = scores.rank(method="average") - 1
    return np.nan_to_num((ranks / ranks.groupby(cells["task"]).transform("max").clip(lower=1)).to_numpy(), nan=1.0)


def _colours(ranks: "np.ndarray") -> list[str]:
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return [to_hex(colormaps["viridis"](0.15 + 0.7 * (1 - rank))) for rank in ranks]


def _text(value: Any) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= LETTERS else f"{text[: LETTERS - 1]}…"


def quiet(plot: "figure") -> None:
    """On the page's own ground, light or dark."""
    plot.background_fill_alpha = plot.border_fill_alpha = 0
    plot.outline_line_color = None
    plot.grid.grid_line_color, plot.grid.grid_line_alpha = INK, 0.25
    for axis in plot.axis:
        axis.axis_label_text_font_style = "normal"
        axis.axis_label_text_color = axis.major_label_text_color = INK
        axis.axis_line_color = axis.major_tick_line_color = axis.minor_tick_line_color = INK
