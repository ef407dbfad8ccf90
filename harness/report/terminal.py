"""The answer in a terminal: a table of the cells, the best first, as plain text of a given width."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from harness.analysis import Answer, SweepData
from harness.report.curves import BASELINES
from harness.report.markdown import number
from harness.report.style import apart, short_names
from harness.report.tiles import chip

if TYPE_CHECKING:
    import pandas as pd

MOST_ROWS = 20
NAME = 26  # letters of a setting
SCORES = {"final/test_accuracy": "accuracy", "final/test_r2": "R²"}
QUARTILES, SECONDS = "[quartiles]", "train s"
OPTIONAL = (SECONDS, QUARTILES)  # columns that a narrow terminal does without, in this order


class CellsTable(NamedTuple):
    """Name of a column -> a text for each cell, and lines that stand below, whatever their length."""

    columns: dict[str, list[str]]
    below: list[str]

    def lines(self, width: int = 80) -> list[str]:
        """As text whose rows have at most `width` letters."""
        return [*_fitted(self.columns, width), *self.below]


def cells_table(data: SweepData, found: Answer) -> CellsTable:
    """The cells of each task, best first, then those that are missing.

    Below them: what the numbers in brackets are, and the standing on each clock.
    """
    cells = data.best_first
    shown = cells.head(MOST_ROWS)
    columns = _columns(shown, several=cells["setting"].nunique() > 1)
    more = len(cells) - len(shown)
    below = [f"and {more} more in the report"] if more else []
    return CellsTable(columns, [*below, *_legend(columns), *_chips(found)])


def _legend(columns: Mapping[str, Sequence[str]]) -> list[str]:
    """What the numbers in brackets after a score are compared with."""
    scores = {name: key.removeprefix("final/test_") for key, name in SCORES.items()}
    return [
        f"{column.partition(' (')[0]} on the test part; in brackets: {BASELINES[f'validation_{scores[name]}']}"
        for column in columns
        if (name := column.partition(" (")[0]) in scores
    ]


def _columns(cells: "pd.DataFrame", several: bool) -> dict[str, list[str]]:
    """Column's name -> a text for each cell; without what is empty for all, or says `completed` of all."""
    rows, rates = cells.to_dict("records"), apart(cells["learning_rate"])
    columns = {"setting": short_names(list(cells["setting"]), NAME)} if several else {}
    columns |= {
        "cell": [f"B={row['batch_size']:.0f} η={rates[row['learning_rate']]} {row['reduction']}" for row in rows],
        "cost": [_number(row.get("score", np.nan)) for row in rows],
        QUARTILES: [_quartiles(row) for row in rows],
        **_scores(rows),
        SECONDS: [_seconds(row) for row in rows],
        "outcome": [_outcome(row) for row in rows],
    }
    return {name: own for name, own in columns.items() if set(own) - {"", "completed"}}


def _fitted(columns: Mapping[str, Sequence[str]], width: int) -> list[str]:
    """The table; as far as it would be too wide, seconds without their spread, and without the columns of OPTIONAL."""
    kept = dict(columns)
    if _width(kept) > width and SECONDS in kept:
        kept[SECONDS] = [text.partition(" ")[0] for text in kept[SECONDS]]
    for name in OPTIONAL:
        if _width(kept) > width:
            kept.pop(name, None)
    sizes = {name: max(map(len, (name, *own))) for name, own in kept.items()}
    rows = [list(kept), *map(list, zip(*kept.values(), strict=True))]
    lines = ["  ".join(text.ljust(size) for text, size in zip(row, sizes.values(), strict=True)) for row in rows]
    return [line.rstrip()[:width] for line in lines]


def _width(columns: Mapping[str, Sequence[str]]) -> int:
    return sum(max(map(len, (name, *own))) + 2 for name, own in columns.items()) - 2


def _number(value: float) -> str:
    return number(value) if np.isfinite(value) else ""


def _quartiles(row: Mapping[str, Any]) -> str:
    low, high = row.get("q25", np.nan), row.get("q75", np.nan)
    return f"[{number(low)}, {number(high)}]" if np.isfinite(low) else ""


def _scores(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """The test score; its baseline stands in the column's name, or beside each value where they differ."""
    name = next((name for name in SCORES if any(name in row for row in rows)), None)
    if name is None:
        return {}
    baselines = [_score(row.get(name.replace("final/", "baseline/"), np.nan)) for row in rows]
    scores = [_score(row.get(name, np.nan)) for row in rows]
    known = set(baselines) - {""}
    if len(known) == 1:
        return {f"{SCORES[name]} ({known.pop()})": scores}
    return {f"{SCORES[name]} (baseline)": [f"{a} ({b})" if b else a for a, b in zip(scores, baselines, strict=True)]}


def _score(value: float) -> str:
    return f"{value:.3f}" if np.isfinite(value) else ""


def _seconds(row: Mapping[str, Any]) -> str:
    """Train seconds of one replica; ± half the range between the quartiles of its blocks."""
    seconds, update = row.get("time/train_seconds", np.nan), row.get("time/update_us", np.nan)
    low, high = (row.get(f"time/update_us_{q}", np.nan) for q in ("q25", "q75"))
    spread = f" ±{(high - low) / 2 / update:.1%}" if np.isfinite(low) and update > 0 else ""
    return f"{seconds:.2g}{spread}" if np.isfinite(seconds) else ""


def _outcome(row: Mapping[str, Any]) -> str:
    if row["status"] != "FINISHED":
        return str(row["reason"] or row["status"].lower())
    lost, n = row.get("n_diverged", 0), row.get("n_replicas", 0)
    if lost > 0:
        return f"{lost:g}/{n:g} diverged"
    reached = row.get("n_stopped", n)
    return f"{reached:g}/{n:g} reached" if row["outcome"] == "reached" and reached < n else str(row["outcome"])


def _chips(found: Answer) -> list[str]:
    """equal epochs: resolved, equal updates: tied, equal train seconds: open."""
    several = len([each for each in found.headlines if each.leads]) > 1
    lines = []
    for each in found.headlines:
        said = ", ".join(f"equal {lead.clock}: {chip(lead)}" for lead in each.leads)
        lines += [f"{f'{each.of}: ' if several else ''}{said}"] if said else []
    return lines
