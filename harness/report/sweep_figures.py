"""All figures of a sweep, from its tables and its answer."""

from typing import TYPE_CHECKING

from harness.analysis import Answer, SweepData
from harness.report.clocks import clocks
from harness.report.markdown import number
from harness.report.outcomes import outcomes
from harness.report.rates import rate_heatmaps, stability
from harness.report.targets import to_target
from harness.report.timing import timing

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def figures(data: SweepData, found: Answer) -> dict[str, "Figure"]:
    """The figures that suit what the sweep varied, by name."""
    cells, title = data.cells[data.cells["status"] == "FINISHED"], data.title
    if cells.empty:
        return {}
    settings, seconds = cells.groupby("setting"), data.timing != "mixed"
    n_sizes, n_rates = (settings[key].nunique().max() for key in ("batch_size", "learning_rate"))
    drawn = _named("clocks", clocks(cells, data.histories, found.best, title, seconds))
    if n_sizes > 1:
        goals = "; ".join(f"{setting}: {number(cost)}" for setting, cost in found.targets_at.items())
        drawn["to_target"] = to_target(found.targets, found.fits, f"training cost {goals}", title)
        timed = seconds and "time/update_us" in cells and cells["time/update_us"].notna().any()
        drawn |= {"timing": timing(cells, title)} if timed else {}
    if n_rates > 1:
        drawn["learning_rates"] = rate_heatmaps(cells, found.best, title)
        drawn["stability"] = stability(found.frontier, title)
    few = len(cells) == len(found.best) and settings.size().max() > 1 and not cells["n_diverged"].any()
    if len(cells) > 1 and not few:  # the clocks show where a few lines end
        drawn["outcomes"] = outcomes(cells, title)
    return drawn


def _named(name: str, figures: dict[str, "Figure"]) -> dict[str, "Figure"]:
    """The figures by `name`, followed by what each is of where there are several."""
    return {f"{name} {of}" if len(figures) > 1 else name: figure for of, figure in figures.items()}
