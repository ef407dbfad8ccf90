"""How soon each batch size reaches the target: in updates, epochs and train seconds."""

from typing import TYPE_CHECKING, Any

import numpy as np

from harness.analysis import TARGET_LABELS
from harness.report.layout import NOT_COMPARABLE, batch_axis, empty_axes, log_axis, log_limits, setting_panels
from harness.report.style import BARS, REDUCTIONS, key, styled, two_digits

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SCALING = {"updates": -1, "epochs": 0}  # power of B in perfect scaling
LATE = {"mean": 10, "sum": 6}  # points: triangles of batch sizes that do not reach the target
NOT_REACHED = 0.945  # of the height: where these triangles stand


@styled()
def to_target(targets: "pd.DataFrame", fits: "pd.DataFrame", target_text: str, title: str) -> "Figure":
    """Updates, epochs and train seconds to the target against batch size."""
    medians = "Medians over replicas, not reached as infinite; bars: intervals."
    note = f"Target: {target_text}, {_chosen(targets)} {medians}"
    texts = [f"{clock.capitalize()} to target" for clock in TARGET_LABELS.values()]
    figure, rows = setting_panels(targets, texts, title, note, _keys(targets, fits), (3.3, 2.9))
    for row, own in rows:
        for axes, (clock, name) in zip(row, TARGET_LABELS.items(), strict=True):
            _to_target(axes, own, clock)
            axes.set_ylabel(name)
        if np.isfinite(own["updates"]).any():
            _critical_size(row[0], own["batch_size"], fits[fits["setting"] == own["setting"].iloc[0]])
    return figure


def _chosen(targets: "pd.DataFrame") -> str:
    """How the learning rate of each batch size was chosen: one rate is not a best rate."""
    if (targets["n_rates"] == 1).all():
        return "at the only learning rate tried."
    some = ", which for some is the only one" if (targets["n_rates"] == 1).any() else ""
    at_edge = targets["learning_rate"].notna() & targets["edge"].isin(["low", "high"])
    edge = " Some rates lie on the edge of their grid." if at_edge.any() else ""
    return f"at the best learning rate tried of each batch size{some}.{edge}"


def _keys(targets: "pd.DataFrame", fits: "pd.DataFrame") -> list[Any]:
    keys = [key(name, linestyle="", **REDUCTIONS[name]) for name in sorted(set(targets["reduction"]))]
    reached = np.isfinite(targets["updates"])
    if targets[reached].duplicated(["setting", "reduction"]).any():
        keys.append(key("perfect scaling: updates ∝ 1/B, same epochs", color="#333333", linestyle=":"))
    if fits["resolved"].any():
        keys.append(key("fit S_min (1 + B_crit/B); shaded: B_crit", color="#777777", linewidth=1.5))
    if not reached.all():
        keys.append(key("not reached", color="#333333", marker="^", mfc="none", linestyle="", markersize=9))
    return keys


def _to_target(axes: "Axes", targets: "pd.DataFrame", clock: str) -> None:
    batch_axis(axes, targets["batch_size"])
    values = targets[clock]
    shown = np.isfinite(values) & (values > 0)
    if shown.any():
        bounds = [targets[name] for name in (clock, f"{clock}_low", f"{clock}_high")]
        log_axis(axes, "y", log_limits(bounds, 0.26 if clock == "updates" else 0.1, 0.14))
    else:
        axes.set_yticks([])
        why = "the target was not reached\nby half of the replicas"
        why = "every replica starts\nat the target" if np.isfinite(values).any() else why
        empty_axes(axes, NOT_COMPARABLE if values.isna().all() else why)
    for name, own in targets[values.notna()].groupby("reduction"):
        _reached(axes, own[shown[own.index]].sort_values("batch_size"), clock, str(name))
        late = own.loc[np.isinf(own[clock]), "batch_size"]
        mark = REDUCTIONS[name] | {"marker": "^", "mfc": "none", "linestyle": "", "markersize": LATE[name]}
        axes.plot(late, np.full(len(late), NOT_REACHED), transform=axes.get_xaxis_transform(), **mark)


def _reached(axes: "Axes", reached: "pd.DataFrame", clock: str, reduction: str) -> None:
    """Points, bars that end at the edge where the interval has no upper end, and what perfect scaling would give."""
    style = REDUCTIONS[reduction]
    low, high = (reached[f"{clock}_{end}"].clip(*axes.get_ylim()) for end in ("low", "high"))
    axes.vlines(reached["batch_size"], low, high, color=style["color"], **BARS[reduction])
    axes.plot(reached["batch_size"], reached[clock], linestyle="", mec="white", mew=0.7, zorder=4, **style)
    if clock in SCALING and len(reached) > 1:
        start, sizes = reached.iloc[0], np.array(axes.get_xlim())
        ideal = start[clock] * (sizes / start["batch_size"]) ** SCALING[clock]
        axes.plot(sizes, ideal, ":", color=style["color"], lw=1.3, zorder=1.5)


def _critical_size(axes: "Axes", sizes: "pd.Series", fits: "pd.DataFrame") -> None:
    """The fitted curve, B_crit with its interval, and their numbers in the corner that the curve leaves free."""
    limits = axes.get_xlim()
    sizes = np.geomspace(sizes.min(), sizes.max(), 60)
    for i, fit in enumerate(fits.sort_values("reduction", ascending=False).itertuples()):
        colour, text = REDUCTIONS[fit.reduction]["color"], f"{fit.reduction}: B_crit unresolved"
        if fit.resolved and np.isfinite([fit.s_min, fit.b_crit]).all():
            axes.plot(sizes, fit.s_min * (1 + fit.b_crit / sizes), color=colour, lw=1.5, alpha=0.8)
            axes.axvspan(*np.clip([fit.b_crit_low, fit.b_crit_high], *limits), color=colour, alpha=0.1, lw=0)
            if limits[0] < fit.b_crit < limits[1]:
                axes.axvline(fit.b_crit, color=colour, lw=1, ls="-.")
            interval = f"{two_digits(fit.b_crit_low)} to {two_digits(fit.b_crit_high)}"
            text = f"{fit.reduction}: B_crit {two_digits(fit.b_crit)} ({interval})"
        plate = {"facecolor": "white", "alpha": 0.85, "linewidth": 0, "pad": 1}
        axes.text(0.03, 0.03 + 0.07 * i, text, color=colour, fontsize=9, transform=axes.transAxes, bbox=plate)
