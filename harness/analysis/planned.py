"""What a sweep can resolve, before it is trained: the comparisons that its answer will make, the seeds they need."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.analysis.comparisons import CLOCK_COLUMNS
from harness.analysis.headlines import epochs_tell, scopes
from harness.analysis.sweep_tables import families
from harness.config import Values
from harness.inference import fewest_pairs

if TYPE_CHECKING:
    import pandas as pd


def n_comparisons(cells: Sequence[Values]) -> int:
    """How many comparisons the note of a sweep of these cells will make at most, from their values."""
    import pandas as pd

    rows = [{**family._asdict(), **one} for family, one in zip(families(cells), cells, strict=True)]
    table = pd.DataFrame(rows).assign(status="FINISHED")
    leads = [len(CLOCK_COLUMNS) - epochs_tell(own) for _, along, own, _ in scopes(table) if along]
    return sum(leads) + sum(_both_beside_sizes(own) for _, own in table.groupby("setting"))


def _both_beside_sizes(cells: "pd.DataFrame") -> bool:
    """Whether sum against mean is a comparison of its own: at a single batch size it is the headline's."""
    both = cells[cells["batch_size"] > 1].groupby("batch_size")["reduction"].nunique() == 2
    return bool(both.any()) and cells["batch_size"].nunique() > 1


def too_few_seeds(n_comparisons: int, seeds: int, at_most: bool = False, pairs: int | None = None) -> str:
    """A sentence if no difference can be shown with so many seeds, whatever the costs are; else empty.

    at_most: before training, when the answer may turn out to make fewer comparisons. pairs: of replicas that tell
    something, once that is known: where both arms diverged they tell nothing.
    """
    fewest = fewest_pairs(n_comparisons)
    if n_comparisons == 0 or (fewest is not None and (seeds if pairs is None else pairs) >= fewest):
        return ""
    if pairs is not None and fewest is not None and seeds >= fewest:
        return (
            f"No difference can be shown, as in every comparison both arms diverged in {seeds - pairs} replicas or "
            f"more of {seeds}; {fewest} pairs with one that did not can."
        )
    more = f"seeds={fewest} can" if fewest else "no number of seeds can: make the grid smaller"
    unsure = at_most and n_comparisons > 1 and seeds >= (fewest_pairs(1) or 0)
    perhaps, up_to = ("perhaps ", "up to ") if unsure else ("", "")
    comparisons = f"{up_to}{n_comparisons} comparison{'s' if n_comparisons > 1 else ''}"
    return (
        f"With seeds={seeds} {perhaps}no difference can be shown, as the answer makes {comparisons} "
        f"(p < .05 after Holm's correction); {more}."
    )
