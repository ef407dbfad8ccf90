"""Winners: the cell with the lowest cost when all cells have spent the same epochs, updates or train seconds."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.analysis.comparisons import MARGIN, adjusted
from harness.inference import Comparison, compare

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.floating]
CLOCKS = {"epochs": "epoch", "updates": "update", "train seconds": "train_seconds"}  # columns of a history


@dataclass(frozen=True)
class Winner:
    """The cell with the lowest median cost at one budget of a clock, and the best cell of another batch size."""

    setting: str
    clock: str
    budget: float
    cell: str
    batch_size: float
    cost: float
    runner_up: str
    comparison: Comparison | None


def winners(
    cells: "pd.DataFrame", histories: "pd.DataFrame", clocks: Mapping[str, str], rng: np.random.Generator
) -> list[Winner]:
    """The winner of each setting on each clock, at the most that every cell of the setting has spent.

    Cells of which half of the replicas or more diverged do not compete.
    """
    found = []
    for setting, own in histories.groupby("setting") if len(histories) else ():
        stable = set(cells.loc[cells["n_diverged"] < cells["n_replicas"] / 2, "cell"])
        curves = {cell: rows for cell, rows in own.groupby("cell", sort=False) if cell in stable}
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
