"""What a sweep can resolve, before it is trained: the comparisons that its answer will make, the seeds they need."""

from collections import defaultdict
from collections.abc import Sequence

from harness.analysis.comparisons import CLOCK_COLUMNS
from harness.analysis.sweep_tables import settings
from harness.config import Values
from harness.inference import fewest_pairs


def n_comparisons(cells: Sequence[Values]) -> int:
    """Comparisons that the answer to these cells makes: the winner of each setting on each clock, and sum with mean.

    One for each clock in a setting of two cells or more, one for each batch size at which both reductions are trained.
    """
    by_setting = defaultdict(list)
    for setting, values in zip(settings(cells), cells, strict=True):
        by_setting[setting].append(values)
    winners = len(CLOCK_COLUMNS) * sum(len(own) > 1 for own in by_setting.values())
    return winners + sum(_both_reductions(own) for own in by_setting.values())


def _both_reductions(cells: Sequence[Values]) -> int:
    """Batch sizes of a setting at which both reductions are trained."""
    sizes = [{one["batch_size"] for one in cells if one["reduction"] == reduction} for reduction in ("sum", "mean")]
    return len(sizes[0] & sizes[1])


def too_few_seeds(n_comparisons: int, seeds: int) -> str:
    """A sentence if no difference can be shown with so many seeds, whatever the costs are; else empty."""
    fewest = fewest_pairs(n_comparisons)
    if n_comparisons == 0 or (fewest is not None and seeds >= fewest):
        return ""
    more = f"seeds={fewest} can" if fewest else "no number of seeds can: make the grid smaller"
    plural = "s" if n_comparisons > 1 else ""
    return (
        f"With seeds={seeds} no difference can be shown, as the answer makes {n_comparisons} comparison{plural} "
        f"(p < .05 after Holm's correction); {more}."
    )
