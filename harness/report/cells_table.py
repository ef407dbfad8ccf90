"""The table of all cells in a report, which `page.js` sorts by a click on the name of a column."""

from collections.abc import Callable, Iterable, Mapping
from html import escape
from typing import Any

import numpy as np

from harness.analysis import SweepData
from harness.config import visible
from harness.report.markdown import number
from harness.report.style import apart

Link = Callable[[str], str]
MOST_ROWS = 1000  # a browser takes seconds to lay out more


def cells_table(data: SweepData, link: Link) -> str:
    """A row for each cell of the grid, those of a task best first; of more than MOST_ROWS, the first of each task.

    link: the id of a run -> the address of its page.
    """
    every = data.best_first
    most = max(1, MOST_ROWS // every["task"].nunique()) if len(every) > MOST_ROWS else len(every)
    cells = every.groupby("task", sort=False).head(most)
    left = len(every) - len(cells)
    more = (
        f"<p>{len(cells)} of {len(every)} cells, the best first: all are in <code>cells.csv</code>.</p>" if left else ""
    )
    several = cells["setting"].nunique() > 1
    scores = [name for name in cells if name.startswith("final/test_") and not name.endswith("cost")][:1]
    names = [
        "cell",
        "B",
        "η",
        "reduction",
        "final training cost [quartiles]",
        *_score_name(scores),
        "train seconds",
        "outcome",
    ]
    head = "".join(f'<th scope="col"><button type="button">{escape(name)}</button></th>' for name in names)
    rates = apart(cells["learning_rate"])
    rows = "".join(f"<tr>{_row(row, several, scores, rates, link)}</tr>" for row in cells.to_dict("records"))
    table = f'<table class="cells"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
    return f'{more}<div class="wide">{table}</div>'


def _score_name(scores: list[str]) -> list[str]:
    return [f"{name.removeprefix('final/').replace('_', ' ')} (baseline)" for name in scores]


def _row(
    cell: Mapping[str, Any],
    several: bool,
    scores: Iterable[str],
    rates: Mapping[float, str],
    link: Callable[[str], str],
) -> str:
    name = escape(visible(str(cell["label"] if several else cell["name"])))
    named = f'<a href="{escape(link(cell["run_id"]))}">{name}</a>' if cell["run_id"] else name
    costs = [cell.get(key, np.nan) for key in ("score", "q25", "q75")]
    spread = f"{number(costs[0])} [{number(costs[1])}, {number(costs[2])}]" if np.isfinite(costs[0]) else ""
    lost, n = cell.get("n_diverged", 0), cell.get("n_replicas", 0)
    reached = cell.get("n_stopped", n)
    some = f"{reached:g} of {n:g} reached" if cell["outcome"] == "reached" and reached < n else ""
    ended = f"{lost:g} of {n:g} diverged" if lost > 0 else str(some or cell["outcome"] or cell["reason"])
    values = [
        (named, cell["label"]),
        (f"{cell['batch_size']:.0f}", cell["batch_size"]),
        (rates[cell["learning_rate"]], cell["learning_rate"]),
        (escape(str(cell["reduction"])), cell["reduction"]),
        (spread, costs[0]),
        *((_with_baseline(cell, score), cell[score]) for score in scores),
        (_or_empty(cell.get("time/train_seconds", np.nan)), cell.get("time/train_seconds", np.nan)),
        (escape(visible(ended)), lost),
    ]
    return "".join(f'<td data-value="{escape(str(value))}">{text}</td>' for text, value in values)


def _with_baseline(cell: Mapping[str, Any], score: str) -> str:
    baseline = cell.get(score.replace("final/", "baseline/"), np.nan)
    beside = f" ({number(baseline)})" if np.isfinite([baseline, cell[score]]).all() else ""
    return f"{_or_empty(cell[score])}{beside}"


def _or_empty(value: float) -> str:
    return number(value) if np.isfinite(value) else ""
