"""What mattered: parts of the variance of log cost by key, and how often one value has the lower cost over datasets."""

from collections.abc import Mapping
from html import escape

from harness.analysis import Answer, Improvement, Shares
from harness.report.markdown import interval, listed, table


def section(found: Answer) -> list[str]:
    """Lines of the note: a table for each task with a whole grid, then one over the datasets."""
    return [*(line for each in found.shares for line in _of_task(each)), *_over_datasets(found.improvements)]


def _of_task(each: Shares) -> list[str]:
    without = f", without learning rates {listed(each.left_out)}, where a cost is infinite" if each.left_out else ""
    about = f"parts of the variance of log final training cost over {each.n_cells} cells"
    rows = [(source, f"{share:.1%}") for source, share in _ranked(each.shares)]
    said = f"{each.of}: {about}{without}. They are of this grid: a wider range of a key has a larger part."
    return ["", said, "", *table(("source", "part"), rows)]


def _over_datasets(found: list[Improvement]) -> list[str]:
    if not found:
        return []
    about = f"Over {found[0].n} datasets, at equal epochs, values that were tuned alike, each at its best cell"
    chose = "the replicas chose these cells themselves"
    rows = [(one.along, one.first, one.second, interval(one.probability)) for one in found]
    columns = ("key", "first", "second", "part of replicas in which the first has the lower cost")
    return ["", f"{about} ({chose}); limits are of other seeds, not of other datasets:", "", *table(columns, rows)]


def bars(found: Answer) -> str:
    """The same parts as bars in HTML."""
    return "".join(f'<p class="caption">{escape(each.of)}</p>{_bars(each.shares)}' for each in found.shares)


def _bars(shares: Mapping[str, float]) -> str:
    parts = "".join(
        f'<dt>{escape(name)}</dt><dd><span style="width:{100 * part:.1f}%"></span>{part:.1%}</dd>'
        for name, part in _ranked(shares)
    )
    return f'<dl class="parts">{parts}</dl>'


def _ranked(shares: Mapping[str, float]) -> list[tuple[str, float]]:
    return sorted(shares.items(), key=lambda item: -item[1])
