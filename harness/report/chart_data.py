"""The numbers behind the moving charts of a report, ready for JSON: what `page.js` draws, filters and explains.

A number that is not finite is null: of a cost, half of the replicas or more have diverged there.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from harness.analysis import BLOCKS, Answer, SweepData
from harness.config import KNOBS
from harness.report.clocks import CLOCK_LABELS
from harness.report.curves import SCORE_LABELS
from harness.report.medians import edge_of
from harness.report.style import palette, short_names
from harness.training import curve

if TYPE_CHECKING:
    import pandas as pd

MEASURES = {
    "train_cost": "training cost per example",
    "validation_cost": "validation cost per example",
    **{column: f"validation {name}" for column, name in SCORE_LABELS.items()},
}
MOST_POINTS = 48  # of a curve
MOST_CELLS = 300  # whose curves a page holds; of more, those at the best rates
NAME = 60  # letters
COLOURED = ("batch_size", "setting", "learning_rate")  # the first that varies is what colours tell apart


def chart_data(data: SweepData, found: Answer) -> dict[str, Any]:
    """cells: what each finished cell is and ended at; curves: cell -> its checkpoints; and the names of it all."""
    cells, best = data.finished, set(found.best["cell"])
    drawn = cells if len(cells) <= MOST_CELLS else cells[cells["cell"].isin(best)].head(MOST_CELLS)
    histories = data.histories[data.histories["cell"].isin(drawn["cell"])]
    settings = list(dict.fromkeys(cells["setting"]))
    coloured = next((key for key in COLOURED if cells[key].nunique() > 1), COLOURED[-1])
    return {
        "cells": [_cell(row, row.cell in best) for row in cells.itertuples()],
        "curves": {str(cell): _curve(own) for cell, own in histories.groupby("cell", sort=False)},
        "settings": dict(zip(settings, short_names(settings, NAME), strict=True)),
        "clocks": {key: name for key, name in CLOCK_LABELS.items() if key != "train_seconds" or _timed(data)},
        "measures": {key: name for key, name in MEASURES.items() if key in histories},
        "coloured": coloured,
        "palette": [_hex(colour) for colour in palette(cells[coloured].nunique())],
        "edge": _rounded(edge_of(histories.groupby("cell")["train_cost"].first())) if len(histories) else 1.0,
        "varied": [key for key in KNOBS if cells[key].nunique() > 1],
    }


def _timed(data: SweepData) -> bool:
    return data.timing == BLOCKS or len(data.finished) == 1


def _cell(row: Any, is_best: bool) -> dict[str, Any]:
    return {
        "id": row.cell,
        "name": row.label,
        "setting": row.setting,
        "batch_size": int(row.batch_size),
        "learning_rate": row.learning_rate,
        "lr_mean": row.lr_mean,
        "reduction": row.reduction,
        "cost": [_rounded(value) for value in (row.q25, row.score, row.q75)],
        "lost": int(row.n_diverged),
        "n": int(row.n_replicas),
        "run": row.run_id,
        "best": is_best,
    }


def _curve(history: "pd.DataFrame") -> dict[str, Any]:
    """Clocks, quartiles of each measure, and how many replicas had diverged, at up to MOST_POINTS checkpoints."""
    tables = {name: curve(history, name) for name in MEASURES if name in history}
    first = next(iter(tables.values()))
    kept = np.unique(np.linspace(0, len(first) - 1, min(len(first), MOST_POINTS)).astype(int))
    own = {clock: _column(first[clock], kept) for clock in CLOCK_LABELS}
    spread = {
        name: [_column(table[quartile], kept) for quartile in ("q25", "median", "q75")]
        for name, table in tables.items()
    }
    return own | spread | {"lost": first["diverged"].iloc[kept].astype(int).tolist()}


def _column(values: "pd.Series", kept: "np.ndarray") -> list[float | None]:
    return [_rounded(value) for value in values.iloc[kept]]


def _rounded(value: float) -> float | None:
    """To four significant digits; None if it is not finite."""
    return float(f"{value:.4g}") if np.isfinite(value) else None


def _hex(colour: Any) -> str:
    from matplotlib.colors import to_hex

    return str(to_hex(colour))
