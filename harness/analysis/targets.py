"""Targets: the cost that each setting is trained to, what it takes to reach it, how that falls with the batch size."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.analysis.rates import GROUP, groups, split_of
from harness.inference import Status, best_learning_rate, fit_batch_scaling, median_interval
from harness.training import to_target

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.floating]
TARGET_CLOCKS = {"updates": "updates", "epochs": "epochs", "seconds": "train seconds"}  # counted until a target
FALL = 10  # without a target of its own, a sweep's target is the initial cost divided by this


def target_costs(cells: "pd.DataFrame", histories: "pd.DataFrame") -> tuple[dict[str, float], set[str]]:
    """The target of each setting (cost per example), and the settings whose target was configured.

    Without one it is a tenth of the median cost before the first update.
    """
    if cells.empty:
        return {}, set()
    start = histories[histories["update"] == 0].groupby("setting")["train_cost"].median()
    goals = {str(setting): float(cost) / FALL for setting, cost in start.items()}
    given = cells[cells["target"].notna()]
    asked = {str(setting): float(own["target"].iloc[0]) for setting, own in given.groupby("setting")}
    return goals | asked, set(asked)


def updates_to_target(
    histories: "pd.DataFrame", goals: dict[str, float], cells: "pd.DataFrame"
) -> dict[str, dict[str, Array]]:
    """Cell -> updates, epochs and seconds to target, (R,) each, +inf where it was not reached."""
    if histories.empty:
        return {}
    target_on = cells.set_index("cell")["target_on"]
    found: dict[str, dict[str, Array]] = {}
    for cell, own in histories.groupby("cell", sort=False):
        goal = goals[str(own["setting"].iloc[0])]
        rows = [to_target(replica, goal, target_on[cell]) for _, replica in own.groupby("replica")]
        found[str(cell)] = {
            axis: np.array([np.inf if np.isnan(row[f"to_target_{axis}"]) else row[f"to_target_{axis}"] for row in rows])
            for axis in TARGET_CLOCKS
        }
    return found


def targets_table(
    cells: "pd.DataFrame", reached: dict[str, dict[str, Array]], rng: np.random.Generator
) -> "pd.DataFrame":
    """Each group at the rate that takes the fewest updates: updates, epochs and seconds to target with intervals."""
    import pandas as pd

    rows = []
    for key, own in groups(cells):
        by_rate = dict(zip(own["learning_rate"], own["cell"], strict=True))
        by_updates = {rate: reached[cell]["updates"] for rate, cell in by_rate.items()}
        split = split_of(by_updates.values())
        found = best_learning_rate(by_updates, split, rng)
        cell = by_rate.get(found.rate, own["cell"].iloc[0])
        report = {axis: values[split.report] for axis, values in reached[cell].items()}
        row = {**key, "cell": cell, "learning_rate": found.rate, "edge": found.edge if len(own) > 1 else ""}
        for axis, values in report.items():
            interval = median_interval(values)
            row |= {axis: interval.estimate, f"{axis}_low": interval.low, f"{axis}_high": interval.high}
        row |= {"n_reached": int(np.isfinite(report["updates"]).sum()), "n_replicas": len(report["updates"])}
        rows.append(row)
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=[*GROUP, "updates", "epochs", "seconds"])


def fits_table(
    targets: "pd.DataFrame", reached: dict[str, dict[str, Array]], rng: np.random.Generator
) -> "pd.DataFrame":
    """S_min (1 + B_crit/B) through the updates to target of each setting and reduction, on the report replicas."""
    import pandas as pd

    rows = []
    for (setting, reduction), own in targets.groupby(["setting", "reduction"]) if len(targets) else ():
        updates = [reached[cell]["updates"] for cell in own["cell"]]
        if len(own) < 2 or len({len(values) for values in updates}) > 1:
            continue
        fit = fit_batch_scaling(own["batch_size"].to_numpy(), np.stack(updates)[:, split_of(updates).report], rng)
        status = Status.AT_EDGE if (own["edge"] != "").any() else fit.status
        intervals = {"s_min": fit.s_min, "b_crit": fit.b_crit}
        row = {"setting": setting, "reduction": reduction, "resolved": status is Status.RESOLVED}
        for name, interval in intervals.items():
            row |= {name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}
        rows.append(row | {"rms": fit.rms, "status": status.value, "slope": fit.slope.estimate})
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=["setting", "reduction", "resolved"])
