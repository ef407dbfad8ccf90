"""What a sweep found: best rates, updates to target, scaling, sum against mean, stability, and who wins on which clock.

Tables in, tables out, through the tests and intervals of `harness.inference`. Rates are chosen on some replicas
and reported on others where there are enough of them. Nothing here knows how the tables were loaded or will be shown.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.analysis.sweep_tables import SweepData
from harness.inference import (
    SIGNIFICANCE,
    Comparison,
    Exponent,
    Split,
    Status,
    best_learning_rate,
    compare,
    fit_batch_scaling,
    holm,
    median_interval,
    scaling_exponent,
    split_replicas,
)
from harness.training import to_target

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.floating]

FALL = 10  # without a target of its own, a sweep's target is the initial cost divided by this
MARGIN = 0.05  # costs within 5 % count as equal
CLOCKS = {"epochs": "epoch", "updates": "update", "train seconds": "train_seconds"}
GROUP = ["setting", "reduction", "batch_size"]
SEED = 20_210_114  # of the resampling only: an answer is the same each time it is asked for


@dataclass(frozen=True)
class Winner:
    """The cell with the lowest median cost when all cells have spent the same on one clock, and the next best B."""

    setting: str
    clock: str
    budget: float
    cell: str
    batch_size: float
    cost: float
    runner_up: str
    comparison: Comparison | None


@dataclass(frozen=True)
class Pair:
    """Sum and mean at one canonical rate: the largest relative difference of a replica's final cost."""

    setting: str
    batch_size: float
    lr_mean: float
    difference: float
    n_replicas: int


@dataclass(frozen=True, eq=False)
class Answer:
    """Everything that the figures and the note say. Tables have the columns that `sweep_plots` draws."""

    targets_at: dict[str, float]  # setting -> cost per example
    given_targets: set[str]  # settings whose target was asked for
    disjoint: bool  # rates chosen and reported on different replicas
    n_replicas: int
    cells: "pd.DataFrame"  # per cell: final, best and to-target values, medians over replicas with their limits
    best: "pd.DataFrame"
    targets: "pd.DataFrame"
    fits: "pd.DataFrame"
    frontier: "pd.DataFrame"
    exponents: dict[tuple[str, str], Exponent]
    pairs: list[Pair]
    at_best: dict[tuple[str, float], Comparison]  # (setting, B) -> sum against mean, each at its own best rate
    winners: list[Winner]


def answer(data: SweepData) -> Answer:
    """Answer from the finished cells of a sweep; every table is empty when there are none."""
    rng = np.random.default_rng(SEED)
    cells = data.cells[data.cells["status"] == "FINISHED"]
    goals, given = target_costs(cells, data.histories)
    costs = final_costs(data.replicas)
    reached = updates_to_target(data.histories, goals, cells)
    n_replicas = max((len(row) for row in costs.values()), default=0)
    best = best_rates(cells, costs, rng)
    targets = targets_table(cells, reached, rng)
    clocks = {name: column for name, column in CLOCKS.items() if data.timing != "mixed" or column != "train_seconds"}
    if data.timing == "mixed":
        targets[[name for name in targets if name.startswith("seconds")]] = np.nan
    return Answer(
        targets_at=goals,
        given_targets=given,
        disjoint=split_replicas(n_replicas).disjoint,
        n_replicas=n_replicas,
        cells=cell_intervals(data.replicas, costs, reached),
        best=best,
        targets=targets,
        fits=fits_table(targets, reached, rng),
        frontier=frontier_table(cells),
        exponents=exponents(cells, costs, rng),
        pairs=matched_pairs(cells, costs),
        at_best=best_against_best(best, costs, rng),
        winners=winners(cells, data.histories, clocks, rng),
    )


def target_costs(cells: "pd.DataFrame", histories: "pd.DataFrame") -> tuple[dict[str, float], set[str]]:
    """The target of each setting: the configured one, else a tenth of the median cost before the first update.

    And the settings that have a configured one.
    """
    if cells.empty:
        return {}, set()
    start = histories[histories["update"] == 0].groupby("setting")["train_cost"].median()
    goals = {str(setting): float(cost) / FALL for setting, cost in start.items()}
    given = cells[cells["target"].notna()] if "target" in cells else cells.iloc[:0]
    asked = {str(setting): float(own["target"].iloc[0]) for setting, own in given.groupby("setting")}
    return goals | asked, set(asked)


def final_costs(replicas: "pd.DataFrame") -> dict[str, Array]:
    """Cell -> final training cost (R,), +inf where the replica diverged."""
    if replicas.empty:
        return {}
    cost = replicas["final_train_cost"].where(replicas["outcome"] != "diverged", np.inf).fillna(np.inf)
    ordered = replicas.assign(cost=cost).sort_values("replica")
    return {str(cell): own["cost"].to_numpy(dtype=float) for cell, own in ordered.groupby("cell")}


def updates_to_target(
    histories: "pd.DataFrame", goals: dict[str, float], cells: "pd.DataFrame"
) -> dict[str, dict[str, Array]]:
    """Cell -> updates, epochs and seconds to target, (R,) each, +inf where it was not reached."""
    if histories.empty:
        return {}
    on = str(cells["target_on"].iloc[0]) if "target_on" in cells else "train"
    found: dict[str, dict[str, Array]] = {}
    for cell, own in histories.groupby("cell"):
        goal = goals[str(own["setting"].iloc[0])]
        rows = [to_target(replica, goal, on) for _, replica in own.groupby("replica")]
        found[str(cell)] = {
            axis: np.array([np.inf if np.isnan(row[f"to_target_{axis}"]) else row[f"to_target_{axis}"] for row in rows])
            for axis in ("updates", "epochs", "seconds")
        }
    return found


def cell_intervals(
    replicas: "pd.DataFrame", costs: dict[str, Array], reached: dict[str, dict[str, Array]]
) -> "pd.DataFrame":
    """Per cell the median over all replicas, and its limits, of final and best cost and of updates, epochs, seconds.

    What did not happen is inf: a final cost after divergence, a target that was not reached.
    """
    import pandas as pd

    rows = []
    for cell, final in costs.items():
        best = replicas.loc[replicas["cell"] == cell, "best_validation_cost"].to_numpy(dtype=float)
        values = {"final_train_cost": final, "best_validation_cost": best}
        values |= {f"{axis}_to_target": steps for axis, steps in reached[cell].items()}
        row: dict[str, Any] = {"cell": cell}
        for name, sample in values.items():
            interval = median_interval(sample)
            row |= {name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}
        rows.append(row)
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=["cell"])


def _groups(cells: "pd.DataFrame") -> Iterator[tuple[dict[str, Any], "pd.DataFrame"]]:
    """Each setting × reduction × batch size, with its cells in the order of their rates."""
    if not cells.empty:
        for key, own in cells.groupby(GROUP):
            yield dict(zip(GROUP, key, strict=True)), own.sort_values("learning_rate")


def _split(cells: Iterable[Array]) -> Split:
    """Who chooses and who reports among the replicas that these cells have; settings may differ in their number."""
    return split_replicas(min(len(values) for values in cells))


def best_rates(cells: "pd.DataFrame", costs: dict[str, Array], rng: np.random.Generator) -> "pd.DataFrame":
    """The rate of each group with the lowest median final cost, how sure that is, its cost on the report replicas."""
    import pandas as pd

    rows = []
    for key, own in _groups(cells):
        by_rate = dict(zip(own["learning_rate"], own["cell"], strict=True))
        by_cost = {rate: costs[cell] for rate, cell in by_rate.items()}
        found = best_learning_rate(by_cost, _split(by_cost.values()), rng)
        if np.isnan(found.rate):
            continue
        lr_mean = float(own.set_index("cell").loc[by_rate[found.rate], "lr_mean"])
        rows.append(
            {
                **key,
                "learning_rate": found.rate,
                "lr_mean": lr_mean,
                "edge": found.edge if len(own) > 1 else "",
                "low_rate": found.low,
                "high_rate": found.high,
                "agreement": found.agreement,
                "cost": found.cost.estimate,
                "cost_low": found.cost.low,
                "cost_high": found.cost.high,
                "n_rates": len(own),
                "cell": by_rate[found.rate],
            }
        )
    columns = [*GROUP, "learning_rate", "lr_mean", "edge", "low_rate", "high_rate", "n_rates", "cell"]
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=columns)


def targets_table(
    cells: "pd.DataFrame", reached: dict[str, dict[str, Array]], rng: np.random.Generator
) -> "pd.DataFrame":
    """Each group at the rate that takes the fewest updates: updates, epochs and seconds to target with intervals."""
    import pandas as pd

    rows = []
    for key, own in _groups(cells):
        by_rate = dict(zip(own["learning_rate"], own["cell"], strict=True))
        by_updates = {rate: reached[cell]["updates"] for rate, cell in by_rate.items()}
        split = _split(by_updates.values())
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
        fit = fit_batch_scaling(own["batch_size"].to_numpy(), np.stack(updates)[:, _split(updates).report], rng)
        status = Status.AT_EDGE if (own["edge"] != "").any() else fit.status
        intervals = {"s_min": fit.s_min, "b_crit": fit.b_crit}
        row = {"setting": setting, "reduction": reduction, "resolved": status is Status.RESOLVED}
        for name, interval in intervals.items():
            row |= {name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}
        rows.append(row | {"rms": fit.rms, "status": status.value, "slope": fit.slope.estimate})
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=["setting", "reduction", "resolved"])


def frontier_table(cells: "pd.DataFrame") -> "pd.DataFrame":
    """The largest rate below which no replica diverged, and the smallest at which one did; NaN: none on the grid."""
    import pandas as pd

    rows = []
    for key, own in _groups(cells):
        diverged = own.loc[own["n_diverged"] > 0, "learning_rate"]
        unstable = float(diverged.min()) if len(diverged) else np.nan
        below = own.loc[~(own["learning_rate"] >= unstable), "learning_rate"]
        stable = float(below.max()) if len(below) else np.nan
        rows.append({**key, "stable": stable, "unstable": unstable, "n_train": own["n_train"].iloc[0]})
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=[*GROUP, "stable", "unstable", "n_train"])


def exponents(
    cells: "pd.DataFrame", costs: dict[str, Array], rng: np.random.Generator
) -> dict[tuple[str, str], Exponent]:
    """p in best lr_mean ∝ B^p of each setting and reduction with two batch sizes and rates or more; on all replicas.

    In canonical units, in which the rules are stated: the raw rate of sum goes with B^(p − 1).
    """
    found = {}
    for (setting, reduction), own in cells.groupby(["setting", "reduction"]) if len(cells) else ():
        grids = {
            float(B): {rate: costs[cell] for rate, cell in zip(at["lr_mean"], at["cell"], strict=True)}
            for B, at in own.groupby("batch_size")
        }
        if len(grids) > 1 and max(len(grid) for grid in grids.values()) > 1:
            found[str(setting), str(reduction)] = scaling_exponent(grids, rng)
    return found


def matched_pairs(cells: "pd.DataFrame", costs: dict[str, Array]) -> list[Pair]:
    """Cells that differ only in the reduction and in the units of the rate: one lr_mean, both reductions."""
    pairs = []
    for (setting, B), own in cells.groupby(["setting", "batch_size"]) if len(cells) else ():
        for _, a in own[own["reduction"] == "sum"].iterrows():
            for _, b in own[own["reduction"] == "mean"].iterrows():
                if np.isclose(a["lr_mean"], b["lr_mean"], rtol=1e-9, atol=0):
                    pairs.append(_pair(str(setting), float(B), float(b["lr_mean"]), costs[a["cell"]], costs[b["cell"]]))
    return pairs


def _pair(setting: str, batch_size: float, lr_mean: float, a: Array, b: Array) -> Pair:
    """Two that diverged alike differ by nothing; one that diverged alone differs by infinity."""
    same = a == b
    with np.errstate(invalid="ignore"):
        difference = np.where(same, 0.0, np.abs(a - b) / np.minimum(np.abs(a), np.abs(b)))
    return Pair(setting, batch_size, lr_mean, float(np.nan_to_num(difference, nan=np.inf).max()), len(a))


def best_against_best(
    best: "pd.DataFrame", costs: dict[str, Array], rng: np.random.Generator
) -> dict[tuple[str, float], Comparison]:
    """Sum against mean at each batch size, each at its own best rate, on the report replicas.

    Left out where a best rate is on the edge of its grid: the reduction with the better grid would win.
    """
    found = {}
    for (setting, B), own in best.groupby(["setting", "batch_size"]) if len(best) else ():
        cells = own.set_index("reduction")["cell"]
        if {"sum", "mean"} <= set(cells.index) and not (own["edge"] != "").any():
            a, b = (costs[cells[reduction]] for reduction in ("sum", "mean"))
            report = _split([a, b]).report
            found[str(setting), float(B)] = compare(a[report], b[report], margin=MARGIN, rng=rng)
    return dict(zip(found, adjusted(list(found.values())), strict=True))


def adjusted(comparisons: list[Comparison]) -> list[Comparison]:
    """The comparisons of one family of claims with Holm's p-values; a claim that these do not bear is unresolved.

    Arms that are identical, or of which one diverged, leave nothing to chance and do not count as claims.
    """
    chance = [c for c in comparisons if not (_identical(c) or c.by_divergence)]
    differ, equal = holm([c.p for c in chance]), holm([c.equivalence_p for c in chance])
    after = iter([_adjusted(c, float(p), float(q)) for c, p, q in zip(chance, differ, equal, strict=True)])
    return [c if _identical(c) or c.by_divergence else next(after) for c in comparisons]


def _identical(comparison: Comparison) -> bool:
    return comparison.ratio.low == comparison.ratio.high == comparison.ratio.estimate


def _adjusted(comparison: Comparison, p: float, same: float) -> Comparison:
    borne = {"a lower": p < SIGNIFICANCE, "b lower": p < SIGNIFICANCE, "equivalent": same <= SIGNIFICANCE}
    verdict = comparison.verdict if borne.get(comparison.verdict, False) else "unresolved"
    return replace(comparison, p=p, equivalence_p=same, verdict=verdict)


def winners(
    cells: "pd.DataFrame", histories: "pd.DataFrame", clocks: dict[str, str], rng: np.random.Generator
) -> list[Winner]:
    """Who is lowest at equal epochs, updates and train seconds: the most that every cell of the setting has spent."""
    found = []
    for setting, own in histories.groupby("setting") if len(histories) else ():
        sound = set(cells.loc[cells["n_diverged"] < cells["n_replicas"] / 2, "cell"])
        curves = {cell: rows for cell, rows in own.groupby("cell") if cell in sound}
        for clock, column in clocks.items():
            if len(curves) > 1:
                found.append(_winner(str(setting), clock, column, curves, rng))
    compared = [i for i, winner in enumerate(found) if winner.comparison]
    after = adjusted([winner.comparison for winner in found if winner.comparison])
    for i, comparison in zip(compared, after, strict=True):
        found[i] = replace(found[i], comparison=comparison)
    return found


def _winner(
    setting: str, clock: str, column: str, curves: dict[str, "pd.DataFrame"], rng: np.random.Generator
) -> Winner:
    budget = min(float(rows[column].max()) for rows in curves.values())
    at = {cell: costs_at(rows, column, budget) for cell, rows in curves.items()}
    ranked = sorted(at, key=lambda cell: float(np.median(at[cell])))
    size = {cell: float(rows["batch_size"].iloc[0]) for cell, rows in curves.items()}
    first = ranked[0]
    others = [cell for cell in ranked if size[cell] != size[first]]
    comparison = compare(at[first], at[others[0]], margin=MARGIN, rng=rng) if others else None
    cost = float(np.median(at[first]))
    return Winner(setting, clock, budget, first, size[first], cost, others[0] if others else "", comparison)


def costs_at(history: "pd.DataFrame", column: str, budget: float) -> Array:
    """Training cost (R,) of the replicas when `column` is at `budget`, log-linear in between; inf: diverged."""
    costs = []
    for _, own in history.groupby("replica"):
        ended_early = own[column].iloc[-1] < budget * (1 - 1e-12) and own["outcome"].iloc[-1] == "diverged"
        with np.errstate(divide="ignore"):
            cost = np.exp(np.interp(budget, own[column], np.log(own["train_cost"].to_numpy(dtype=float))))
        costs.append(np.inf if ended_early or np.isnan(cost) else cost)
    return np.array(costs)
