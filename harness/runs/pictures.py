"""The figures of one cell, in its run: drawn when it ends, or in a large sweep when `report CELL` asks for them."""

from pathlib import Path
from typing import TYPE_CHECKING

from harness.report import cell_figures, save

if TYPE_CHECKING:
    import pandas as pd

LATER = "`python -m harness report` with the id of this run draws its figures."  # in the note of a run without
MOST_DRAWN = 12  # cells to train, of which each is drawn at its end: that takes longer than a small cell itself


def draw_cell(
    folder: Path, history: "pd.DataFrame", batch_costs: "pd.DataFrame", replicas: "pd.DataFrame", name: str
) -> None:
    """From the cell's tables."""
    baseline = replicas.filter(regex="^baseline_validation_(?!balanced_)").median()
    save(cell_figures(history, batch_costs, name, float(baseline.iloc[0])), folder / "figures")
