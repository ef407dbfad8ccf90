"""Numbers, intervals, verdicts and tables as Markdown."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from harness.analysis import MARGIN
from harness.inference import Comparison, Interval

LONGEST = 7500  # characters; MLflow keeps 8000 of a tag


def number(value: float) -> str:
    """Three significant digits, without an exponent where it can be read without one."""
    if value == 0 or not np.isfinite(value):
        return f"{value:g}"
    return f"{value:.3g}" if 1e-3 <= abs(value) < 1e3 else f"{value:.0f}" if 1e3 <= abs(value) < 1e6 else f"{value:.2g}"


def interval(value: Interval) -> str:
    if np.isnan(value.low):
        return number(value.estimate)
    return f"{number(value.estimate)} [{number(value.low)}, {number(value.high)}]"


def verdict(comparison: Comparison, a_lower: str, b_lower: str) -> str:
    """What a comparison of a with b came to; a_lower, b_lower: the words for these two."""
    words = {"a lower": a_lower, "b lower": b_lower, "equivalent": f"equal within {MARGIN:.0%}"}
    return words.get(comparison.verdict, comparison.verdict)


def table(columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> list[str]:
    """Lines of a Markdown table; none without rows."""
    columns = list(columns)
    body = ["| " + " | ".join(str(value).replace("|", r"\|") for value in row) + " |" for row in rows]
    return ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|", *body] if body else []


def shortened(text: str) -> str:
    """As much as MLflow keeps of a description, cut between lines; report.html has the whole."""
    if len(text) <= LONGEST:
        return text
    return text[:LONGEST].rpartition("\n")[0] + "\n\nThe rest is in `report.html`, all cells in `cells.csv`.\n"
