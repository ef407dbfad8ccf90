"""How every cell ended: its final training cost, and how many of its replicas diverged."""

from typing import TYPE_CHECKING

from harness.report.layout import log_axis, log_limits, panels
from harness.report.style import COLOURS, DIVERGED, SMALL, short_names, styled

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

SHOWN = 40  # cells
LONGEST = 60  # letters of a name
ROW, LETTER = 0.27, 0.088  # inches


@styled()
def outcomes(cells: "pd.DataFrame", title: str) -> "Figure":
    """Final training cost of every cell with its quartiles, best first; a cross at the right edge if all diverged.

    On a log axis where costs differ by factors, as in every other figure.
    """
    order = cells.assign(name=short_names(list(cells["label"]), LONGEST)).sort_values("score", kind="stable")
    shown = order.head(SHOWN).reset_index(drop=True)
    best = f"The {SHOWN} best of {len(order)} cells. " if len(order) > SHOWN else ""
    note = f"{best}Points: median over the replicas that did not diverge; bars: their quartiles."
    left, height = 0.5 + LETTER * shown["name"].str.len().max(), max(1.2, ROW * len(shown) + 0.2)
    figure, ((axes,),) = panels([[""]], title, note, (), (max(4.5, 8 - left), height), left=left, right=1.75)
    axes.grid(False, axis="y")
    axes.set(xlabel="final training cost per example", ylim=(len(shown) - 0.4, -0.6))
    axes.set_yticks(range(len(shown)), shown["name"], fontsize=SMALL)
    fine = shown[shown["score"].notna()]
    axes.hlines(fine.index, fine["q25"], fine["q75"], color=COLOURS[0], lw=3, alpha=0.4)
    axes.plot(fine["score"], fine.index, "o", color=COLOURS[0], ms=7)
    if fine.empty:
        axes.set(xlim=(0, 1), xticks=[])
    elif 0 < 3 * fine["q25"].min() < fine["q75"].max():
        log_axis(axes, "x", log_limits([fine["q25"], fine["q75"]], 0.04, 0.06))
    else:
        axes.margins(x=0.1)
    edge = axes.get_yaxis_transform()
    for cell in shown[(shown["n_diverged"] > 0) | shown["score"].isna()].itertuples():
        if cell.n_diverged == cell.n_replicas:
            axes.plot(1, cell.Index, DIVERGED, color=COLOURS[1], ms=9, transform=edge, clip_on=False)
        text = f"{cell.n_diverged:g} of {cell.n_replicas:g} diverged" if cell.n_diverged > 0 else "no result"
        axes.text(1.03, cell.Index, text, transform=edge, va="center", fontsize=SMALL, color=COLOURS[1])
    return figure
