"""The scores of a sweep beside what a constant prediction scores: a sentence for each dataset, without a verdict."""

from typing import TYPE_CHECKING

from harness.report.curves import BASELINES
from harness.report.markdown import number

if TYPE_CHECKING:
    import pandas as pd

# Name of a score in metrics -> how it is said, and what its baseline does.
SCORES = {
    "accuracy": ("accuracy", BASELINES["validation_accuracy"]),
    "r2": ("R²", BASELINES["validation_r2"]),
    "balanced_accuracy": ("balanced accuracy", "always the same class"),
}


def score_sentences(cells: "pd.DataFrame") -> list[str]:
    """cells: the finished ones. Medians over replicas at the end of training, from the lowest cell to the highest."""
    sentences = []
    for dataset, own in cells.groupby("dataset", sort=False):
        parts = [part for name in SCORES if (part := _range(own, name))]
        sentences += [f"{dataset}: {'; '.join(parts)}."] if parts else []
    return sentences


def _range(cells: "pd.DataFrame", name: str) -> str:
    """Empty where no cell has the score: of the other task, even classes, diverged replicas."""
    column, chance = f"final/validation_{name}", f"baseline/validation_{name}"
    if column not in cells or chance not in cells or not (known := cells[column].notna() & cells[chance].notna()).any():
        return ""
    said, constant = SCORES[name]
    values, n = cells.loc[known, column], int(known.sum())
    ends = dict.fromkeys((number(values.min()), number(values.max())))
    span = f"{' to '.join(ends)} over {n} cells" if n > 1 else number(values.iloc[0])
    return f"validation {said} {span} ({constant}: {number(cells.loc[known, chance].median())})"
