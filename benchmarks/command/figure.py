"""What the commands took, as bars."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import number
from benchmarks.command.report import GROUPS, grouped, typical
from benchmarks.command.runs import HELP, OLD, REFUSED, UNKNOWN, Runs, watched

COLOURS = (
    "#999999", "#56B4E9", "#CC79A7", "#8C6D31", "#0072B2", "#009E73", "#7A5195", "#E69F00", "#F0C27A", "#D55E00",
    "#DDDDDD",
)  # fmt: skip


def draw(found: Runs, path: Path) -> None:
    """A bar for every command, as long as its wall time, in the colours of what it did."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    from harness.report import STYLE

    long = [name for name in watched(found) if name not in (HELP, REFUSED, UNKNOWN)]
    with rc_context(
        {
            **STYLE,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "axes.grid.axis": "x",
            "axes.axisbelow": True,
        }
    ):
        figure = Figure(figsize=(13.5, 7.2), dpi=130, layout="constrained")
        above, below = figure.subplots(2, 1, height_ratios=[len(long) + 0.6, 3.6])
        _bars(above, found, long)
        _bars(below, found, [HELP, REFUSED, UNKNOWN])
        above.set_title(_headline(found))
        slowest = max(typical(found[name]).wall for name in (HELP, REFUSED, UNKNOWN))
        verdict = "within a second" if slowest <= 1 else f"in up to {number(slowest)} s, asked for is one"
        below.set(title=f"What needs no training is answered {verdict}", xlabel="wall seconds of the command")
        below.axvline(1.0, color="black", lw=1.4, ls="--")
        figure.legend(*above.get_legend_handles_labels(), loc="outside right upper", frameon=False)
        figure.savefig(path)


def _headline(found: Runs) -> str:
    one = typical(found[OLD])
    parts = grouped(one.phases, 0)
    share = (parts["training"] + parts["evaluation"]) / one.wall
    start = parts["start and imports"] / one.wall
    return f"Of its {number(one.wall)} s the headline sweep trains {share:.0%}, and starts and imports {start:.0%}"


def _bars(axes: Any, found: Runs, names: Sequence[str]) -> None:
    """Stacked from left to right; the total stands at the end."""
    left = [0.0] * len(names)
    shares = [grouped(typical(found[name]).phases, 0) for name in names]
    for group, colour in zip([*GROUPS, "other"], COLOURS, strict=True):
        widths = [max(0.0, share[group]) for share in shares]
        axes.barh(names, widths, left=left, color=colour, label=group, height=0.68, edgecolor="white", lw=0.6)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    for i, total in enumerate(left):
        axes.text(total, i, f" {number(total)} s", va="center")
    axes.invert_yaxis()
    axes.set_xlim(0, 1.09 * max(left))
