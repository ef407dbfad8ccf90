"""Learning rates: the best of each batch size, where training diverges, how the best one scales with the batch size.

Rates are chosen on some replicas and reported on others where there are enough of them.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.inference import Exponent, Split, best_learning_rate, scaling_exponent, split_replicas

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.floating]
GROUP = ["setting", "reduction", "batch_size"]


def final_costs(replicas: "pd.DataFrame") -> dict[str, Array]:
    """Cell -> final training cost (R,), +inf where the replica diverged."""
    if replicas.empty:
        return {}
    cost = replicas["final_train_cost"].where(replicas["outcome"] != "diverged", np.inf).fillna(np.inf)
    ordered = replicas.assign(cost=cost).sort_values("replica", kind="stable")
    return {str(cell): own["cost"].to_numpy(dtype=float) for cell, own in ordered.groupby("cell", sort=False)}


def groups(cells: "pd.DataFrame") -> Iterator[tuple[dict[str, Any], "pd.DataFrame"]]:
    """Each setting × reduction × batch size, with its cells in the order of their rates."""
    if not cells.empty:
        for key, own in cells.groupby(GROUP):
            yield dict(zip(GROUP, key, strict=True)), own.sort_values("learning_rate")


def split_of(cells: Iterable[Array]) -> Split:
    """Which replicas choose a rate and which report its cost; cells may differ in their number of replicas."""
    return split_replicas(min(len(values) for values in cells))


def best_rates(cells: "pd.DataFrame", costs: dict[str, Array], rng: np.random.Generator) -> "pd.DataFrame":
    """The rate of each group with the lowest median final cost, how sure that is, its cost on the report replicas."""
    import pandas as pd

    rows = []
    for key, own in groups(cells):
        by_rate = dict(zip(own["learning_rate"], own["cell"], strict=True))
        by_cost = {rate: costs[cell] for rate, cell in by_rate.items()}
        found = best_learning_rate(by_cost, split_of(by_cost.values()), rng)
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


def frontier_table(cells: "pd.DataFrame") -> "pd.DataFrame":
    """The largest rate below which no replica diverged, and the smallest at which one did; NaN: none on the grid."""
    import pandas as pd

    rows = []
    for key, own in groups(cells):
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
