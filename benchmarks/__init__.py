"""Measurements of the harness itself, each a command of its own; what they share is how they say what they found."""

import math
import os
import sys
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs" / "benchmarks"
START = perf_counter()


class Spread(NamedTuple):
    """Median and quartiles of n repeats."""

    median: float
    q25: float
    q75: float
    n: int


def spread(values: "ArrayLike") -> Spread:
    import numpy as np

    q25, median, q75 = np.quantile(np.asarray(values, dtype=float), [0.25, 0.5, 0.75])
    return Spread(float(median), float(q25), float(q75), int(np.size(values)))


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; numbers get three significant digits, and the columns that hold them are set to the right."""
    lines = [[cell if isinstance(cell, str) else number(cell) for cell in row] for row in rows]
    right = [all(_is_numeric(line[i]) for line in lines) for i in range(len(header))]
    rule = ["---:" if numeric else "---" for numeric in right]
    return "\n".join(f"| {' | '.join(line)} |" for line in [list(header), rule, *lines])


def _is_numeric(cell: str) -> bool:
    return not cell or cell[0].isdigit() or cell[0] in "-<"


def number(value: object) -> str:
    """Three significant digits, thousands apart by a comma: 0.00123, 45.6, 12,300."""
    size = float(value)  # type: ignore[arg-type]
    if not math.isfinite(size):
        return "-"
    if size.is_integer() and abs(size) < 1e12:
        return f"{int(size):,}"
    text = f"{size:.3g}"
    return f"{float(text):,.0f}" if "e+" in text else text


def machine() -> str:
    """One line: what the numbers were measured on, and when."""
    from harness.store import environment

    about = environment()
    packages = ", ".join(f"{name} {about['packages'][name]}" for name in ("numpy", "scikit-learn", "mlflow"))
    cores = f"{about['cores']} cores"
    return f"{date.today()}: {about['cpu']}, {cores}, {about['platform']}, Python {about['python']}, {packages}."


def say(message: str) -> None:
    """Progress on stderr, with the seconds since the start of the process."""
    print(f"[{perf_counter() - START:4.0f} s] {message}", file=sys.stderr, flush=True)


def child_environment() -> dict[str, str]:
    """Without variables that would lead the command to another store than the one in its folder, or that would have
    Python compile our sources, but nobody else's, at each start.
    """
    others = ("MLFLOW", "PYTHONDONTWRITEBYTECODE")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(others)}
    return {**kept, "PYTHONPATH": str(ROOT)}
