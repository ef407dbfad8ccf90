"""Tables over the batch sizes: best learning rates, where training diverges, updates to target; and fits through them.

Where there is more than one rate, it is chosen on some replicas and reported on others if there are enough of them.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from harness.analysis.courses import Courses
from harness.inference import (
    Array,
    Exponent,
    Interval,
    Split,
    Status,
    best_learning_rate,
    censored,
    fewest_pairs,
    fit_batch_scaling,
    grid_excess,
    median_interval,
    scaling_exponent,
    split_replicas,
)

if TYPE_CHECKING:
    import pandas as pd

K = TypeVar("K")

GROUP = ["setting", "reduction", "batch_size"]
RATES = ["learning_rate", "asked_rate", "lr_mean", "cell"]  # of a group's best cell
HOW_CHOSEN = ["edge", "n_rates", "disjoint"]  # about a group's best rate
TARGET_LABELS = {"updates": "updates", "epochs": "epochs", "seconds": "train seconds"}  # counted until a target
FALL = 10  # without a target of its own, a sweep's target is the initial cost divided by this


def final_costs(replicas: "pd.DataFrame") -> dict[str, Array]:
    """Cell -> final training cost (R,), +inf where the replica diverged."""
    if replicas.empty:
        return {}
    cost = replicas["final_train_cost"].where(replicas["outcome"] != "diverged", np.inf).fillna(np.inf)
    return by_cell(replicas.assign(cost=cost).sort_values("replica", kind="stable"), "cost")


def by_cell(table: "pd.DataFrame", column: str) -> dict[str, Array]:
    """Cell -> its values of a column, in their order."""
    import pandas as pd

    cell, names = pd.factorize(table["cell"])
    values = table[column].to_numpy(dtype=float)[np.argsort(cell, kind="stable")]
    ends = np.cumsum(np.bincount(cell, minlength=len(names)))
    return dict(zip(map(str, names), np.split(values, ends[:-1]), strict=True))


def groups(cells: "pd.DataFrame") -> Iterator[tuple[dict[str, Any], "pd.DataFrame"]]:
    """Each setting × reduction × batch size, with its cells in the order of their rates."""
    for key, own in cells.groupby(GROUP) if len(cells) else ():
        yield dict(zip(GROUP, key, strict=True)), own.sort_values("learning_rate")


def shared(samples: Mapping[K, Array]) -> dict[K, Array]:
    """Of each sample (R,) the replicas that all of them have."""
    n = min((len(own) for own in samples.values()), default=0)
    return {key: own[:n] for key, own in samples.items()}


def split_of(cells: Iterable[Array], n_rates: int) -> Split:
    """Which replicas choose a rate and which report its cost: all do both where there is one rate.

    Cells may differ in their number of replicas.
    """
    return split_replicas(min(len(values) for values in cells), fewest_pairs(1) if n_rates > 1 else None)


def table(rows: list[dict[str, Any]], *columns: str) -> "pd.DataFrame":
    """The rows; without any, these columns."""
    import pandas as pd

    return pd.DataFrame(rows, columns=None if rows else list(columns))


def with_limits(name: str, interval: Interval) -> dict[str, float]:
    """Three columns of a row."""
    return {name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}


# Learning rates


def best_rates(cells: "pd.DataFrame", costs: dict[str, Array], rng: np.random.Generator) -> "pd.DataFrame":
    """The rate of each group with the lowest median final cost, how sure that is, its cost on the report replicas."""
    rows = []
    for key, own in groups(cells):
        by_cost = shared({rate: costs[cell] for rate, cell in zip(own["learning_rate"], own["cell"], strict=True)})
        split = split_of(by_cost.values(), len(own))
        found = best_learning_rate(by_cost, split, rng)
        if np.isnan(found.rate):
            continue
        best = own[own["learning_rate"] == found.rate].iloc[0]
        row = {**key, **best[RATES], "low_rate": found.low, "high_rate": found.high}
        row |= {"edge": found.edge, "n_rates": len(own), "disjoint": split.disjoint}
        rows.append(row | with_limits("cost", found.cost))
    columns = (*GROUP, *RATES, *HOW_CHOSEN, "low_rate", "high_rate", "cost")
    return table(rows, *columns)


def why_untuned(groups: "pd.DataFrame") -> Status | None:
    """Why nothing is estimated over these rows of `targets_table`; None if each was tuned.

    A group is tuned if its best rate lies inside its grid, so has a lower and a higher one beside it. The best of many
    rates is lower by chance than the best of few: numbers of rates that differ by more than a factor of two do not do.
    """
    not_reached = Status.NOT_REACHED if groups["learning_rate"].isna().any() else None
    at_edge = Status.AT_EDGE if (groups["edge"] != "").any() else None
    return not_reached or _why_other_rates(groups["n_rates"]) or at_edge


def _why_other_rates(n_rates: Collection[int]) -> Status | None:
    if min(n_rates) == 1:
        return Status.ONE_RATE
    return Status.FEWER_RATES if max(n_rates) > 2 * min(n_rates) else None


def frontier_table(cells: "pd.DataFrame") -> "pd.DataFrame":
    """The largest rate below which no replica diverged, and the smallest at which one did; NaN: none on the grid.

    Both also as lr_mean.
    """
    rows = []
    for key, own in groups(cells):
        rates, lr_mean = own["learning_rate"], own.set_index("learning_rate")["lr_mean"]
        unstable = rates[own["n_diverged"] > 0].min()
        found = {"stable": rates[~(rates >= unstable)].max(), "unstable": unstable}
        rows.append(key | found | {f"{name}_lr_mean": lr_mean.get(rate, np.nan) for name, rate in found.items()})
    return table(rows, *GROUP, "stable", "unstable", "stable_lr_mean", "unstable_lr_mean")


def exponents(
    cells: "pd.DataFrame", costs: dict[str, Array], rng: np.random.Generator
) -> dict[tuple[str, str], Exponent]:
    """p in best lr_mean ∝ B^p of each setting and reduction with two batch sizes and rates or more; on all replicas.

    In canonical units, in which the rules are stated: there sum and mean have one p. No rule is judged where a batch
    size was not tuned, or training stopped at a target.
    """
    found = {}
    for (setting, reduction), own in cells.groupby(["setting", "reduction"]) if len(cells) else ():
        same = shared({cell: costs[cell] for cell in own["cell"]})
        grids = {
            float(B): {rate: same[cell] for rate, cell in zip(at["lr_mean"], at["cell"], strict=True)}
            for B, at in own.groupby("batch_size")
        }
        n_rates = [len(grid) for grid in grids.values()]
        if len(grids) > 1 and max(n_rates) > 1:
            exponent = scaling_exponent(grids, rng)
            if why := Status.STOPPED if own["n_stopped"].any() else _why_other_rates(n_rates):
                exponent = replace(exponent, status=why, verdicts=dict.fromkeys(exponent.verdicts, "unresolved"))
            found[str(setting), str(reduction)] = exponent
    return found


# Targets


def target_costs(cells: "pd.DataFrame", histories: "pd.DataFrame") -> tuple[dict[str, float], set[str]]:
    """The target of each setting (cost per example), and the settings whose target was configured.

    Without one it is a tenth of the median cost, training or validation as target_on says, before the first update.
    """
    if cells.empty:
        return {}, set()
    start = histories[histories["update"] == 0].groupby("setting")[["train_cost", "validation_cost"]].median()
    target_on = cells.groupby("setting")["target_on"].first()
    goals = {str(name): float(start.loc[name, f"{on}_cost"]) / FALL for name, on in target_on.items()}
    given = cells[cells["target"].notna()]
    asked = {str(setting): float(own["target"].iloc[0]) for setting, own in given.groupby("setting")}
    return goals | asked, set(asked)


def updates_to_target(
    histories: "pd.DataFrame", goals: dict[str, float], cells: "pd.DataFrame"
) -> dict[str, dict[str, Array]]:
    """Cell -> updates, epochs and seconds to target, (R,) each, +inf where it was not reached."""
    return to_goals(Courses(histories), goals, cells)


def to_goals(courses: Courses, goals: dict[str, float], cells: "pd.DataFrame") -> dict[str, dict[str, Array]]:
    """The same; all cells of the courses are among `cells`."""
    if not courses.cells:
        return {}
    about = cells.drop_duplicates("cell").set_index("cell").loc[list(courses.cells)]
    n = np.diff(courses.first)  # courses of each cell
    goal = np.repeat(about["setting"].map(goals).to_numpy(float), n)
    on_train = np.repeat(np.repeat((about["target_on"] == "train").to_numpy(), n), np.diff(courses.start))
    costs = np.where(on_train, *(courses.column(f"{part}_cost") for part in ("train", "validation")))
    before, first, part = courses.reaching(costs, goal)
    reached: dict[str, list[Array]] = {}
    for axis, column in {"updates": "update", "epochs": "epoch", "seconds": "train_seconds"}.items():
        value = courses.column(column)
        steps = value[before] + part * (value[first] - value[before])
        reached[axis] = np.split(censored(np.where(first < 0, np.nan, steps)), courses.first[1:-1])
    return {cell: {axis: reached[axis][i] for axis in TARGET_LABELS} for i, cell in enumerate(courses.cells)}


def targets_table(
    cells: "pd.DataFrame", reached: dict[str, dict[str, Array]], rng: np.random.Generator, n_blocks: int | None = None
) -> "pd.DataFrame":
    """Each group at the rate that takes the fewest updates: updates, epochs and seconds to target with intervals.

    n_blocks: seconds of so many replicas in a row are independent, so no more are taken; None: all.
    """
    rows = []
    for key, own in groups(cells):
        by_rate = dict(zip(own["learning_rate"], own["cell"], strict=True))
        by_updates = shared({rate: reached[cell]["updates"] for rate, cell in by_rate.items()})
        split = split_of(by_updates.values(), len(own))
        found = best_learning_rate(by_updates, split, rng)
        cell = by_rate.get(found.rate, own["cell"].iloc[0])
        row = {**key, "cell": cell, "learning_rate": found.rate}
        row |= {"edge": found.edge, "n_rates": len(own), "disjoint": split.disjoint}
        for axis, values in reached[cell].items():
            row |= with_limits(axis, median_interval(values[split.report][: n_blocks if axis == "seconds" else None]))
        updates = reached[cell]["updates"][split.report]
        row |= {"n_reached": int(np.isfinite(updates).sum()), "n_replicas": len(updates)}
        rows.append(row | {"n_chose": len(split.selection), "excess": _excess(by_updates, found.rate, split)})
    return table(rows, *GROUP, "learning_rate", *HOW_CHOSEN, *TARGET_LABELS)


def _excess(by_updates: Mapping[float, Array], rate: float, split: Split) -> float:
    """`grid_excess` of the chosen rate, on the report replicas; +inf where no rate was chosen."""
    if np.isnan(rate):
        return np.inf
    updates = np.stack(list(by_updates.values()))[:, split.report]
    return grid_excess(np.log(list(by_updates)), updates, list(by_updates).index(rate))


def fits_table(
    targets: "pd.DataFrame", reached: dict[str, dict[str, Array]], rng: np.random.Generator
) -> "pd.DataFrame":
    """S_min (1 + B_crit/B) through the updates to target of each setting and reduction, on the report replicas."""
    rows = []
    for (setting, reduction), own in targets.groupby(["setting", "reduction"]) if len(targets) else ():
        if len(own) < 2:
            continue
        updates = np.stack(list(shared({cell: reached[cell]["updates"] for cell in own["cell"]}).values()))
        split = split_of(updates, own["n_rates"].max())
        fit = fit_batch_scaling(own["batch_size"], updates[:, split.report], rng, own["excess"])
        status = why_untuned(own) or fit.status
        row = {"setting": setting, "reduction": reduction, "status": status.text}
        row["resolved"] = status is Status.RESOLVED
        rows.append(row | with_limits("s_min", fit.s_min) | with_limits("b_crit", fit.b_crit))
    return table(rows, "setting", "reduction", "resolved")
