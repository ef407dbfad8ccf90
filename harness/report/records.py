"""An answer as plain values, ready for JSON: comparisons clock by clock, then the cells, the best first."""

from typing import TYPE_CHECKING, Any

import numpy as np

from harness.analysis import Answer, Lead, SweepData
from harness.inference import Interval
from harness.report.markdown import p_of
from harness.report.tiles import chip

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = {  # of a sweep's cells -> names of a record
    "cell": "signature", "name": "name", "setting": "setting", "batch_size": "batch_size",
    "learning_rate": "learning_rate", "reduction": "reduction", "status": "status", "outcome": "outcome",
    "reason": "reason", "run_id": "run_id", "n_replicas": "replicas", "n_diverged": "diverged", "score": "train_cost",
    "q25": "train_cost_q25", "q75": "train_cost_q75",
    "final/test_accuracy": "test_accuracy", "final/test_r2": "test_r2",
    "baseline/test_accuracy": "baseline_test_accuracy", "baseline/test_r2": "baseline_test_r2",
    "time/train_seconds": "train_seconds", "time/update_us": "update_us",
}  # fmt: skip

COMPARISON = (  # of a comparison on one clock
    "of", "along", "clock", "budget", "standing", "winner", "lowest", "lowest_signature", "lowest_cost", "next",
    "next_signature", "next_cost", "ratio", "ratio_low", "ratio_high", "p",
)  # fmt: skip


def records(data: SweepData, found: Answer) -> dict[str, Any]:
    """Values that are not finite are null, as JSON has none: the cost of a cell of which half diverged."""
    cells = [_cell(row) for row in data.best_first.to_dict("records")]
    return {"title": data.title, "comparisons": comparisons(found), "cells": cells}


def comparisons(found: Answer) -> list[dict[str, Any]]:
    """A row for each clock of each headline, with the names of COMPARISON."""
    return [
        {"of": each.of, "along": each.along, **_lead(lead, each.cells)}
        for each in found.headlines
        for lead in each.leads
    ]


def plain_rows(table: "pd.DataFrame") -> list[dict[str, Any]]:
    """The rows of a table as plain values: what is missing or not finite is null."""
    return [{name: _plain(value) for name, value in row.items()} for row in table.to_dict("records")]


def _lead(lead: Lead, cells: "pd.DataFrame") -> dict[str, Any]:
    names = cells.set_index("cell")["name"]
    ratio = lead.comparison.ratio if lead.comparison and lead.comparison.finite else Interval(np.nan, np.nan, np.nan)
    values = {
        "clock": lead.clock, "budget": lead.budget, "standing": chip(lead), "lowest": names[lead.first.best],
        "lowest_signature": lead.first.best, "lowest_cost": lead.first.cost, "next": names[lead.second.best],
        "next_signature": lead.second.best, "next_cost": lead.second.cost, "ratio": ratio.estimate,
        "ratio_low": ratio.low, "ratio_high": ratio.high, "p": p_of(lead),
    }  # fmt: skip
    winner = values["lowest"] if values["standing"] == "resolved" else None
    return {name: _plain(value) for name, value in (values | {"winner": winner}).items()}


def _cell(row: dict[str, Any]) -> dict[str, Any]:
    return {name: _plain(row[column]) for column, name in COLUMNS.items() if column in row}


def _plain(value: Any) -> Any:
    """A number, text or None: no NumPy, no NaN, no infinity."""
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, float):
        return None if not np.isfinite(value) else int(value) if value.is_integer() and abs(value) < 1e15 else value
    return value
