"""Comparisons of cells replica by replica: sum against mean, and the winner on each clock; families of p-values."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from harness.analysis.batch_sizes import split_of
from harness.inference import Array, Comparison, compare_family

if TYPE_CHECKING:
    import pandas as pd

MARGIN = 0.05  # costs within 5 % count as equal
CLOCK_COLUMNS = {"epochs": "epoch", "updates": "update", "train seconds": "train_seconds"}  # columns of a history


@dataclass(frozen=True)
class Pair:
    """Sum and mean at one canonical rate: the largest relative difference of a replica's final cost."""

    setting: str
    batch_size: float
    lr_mean: float
    difference: float


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


# Sum against mean


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
    """Two replicas that both diverged differ by 0; one that diverged alone differs by +inf."""
    with np.errstate(invalid="ignore"):
        difference = np.where(a == b, 0.0, np.abs(a - b) / np.minimum(np.abs(a), np.abs(b)))
    return Pair(setting, batch_size, lr_mean, float(np.nan_to_num(difference, nan=np.inf).max()))


def best_against_best(
    best: "pd.DataFrame", costs: dict[str, Array], rng: np.random.Generator
) -> dict[tuple[str, float], Comparison]:
    """Sum against mean at each batch size, each at its own best rate, on the report replicas.

    Left out where a best rate is on the edge of its grid: the reduction with the wider grid would win.
    """
    found = {}
    for (setting, B), own in best.groupby(["setting", "batch_size"]) if len(best) else ():
        cells = own.set_index("reduction")["cell"]
        if {"sum", "mean"} <= set(cells.index) and not (own["edge"] != "").any():
            a, b = (costs[cells[reduction]] for reduction in ("sum", "mean"))
            report = split_of([a, b]).report
            found[str(setting), float(B)] = a[report], b[report]
    return compare_family(found, MARGIN, rng)


# Winners: the cell with the lowest cost when all cells have spent the same epochs, updates or train seconds


def winners(
    cells: "pd.DataFrame",
    histories: "pd.DataFrame",
    clocks: Mapping[str, str],
    rng: np.random.Generator,
    n_blocks: int | None = None,
) -> list[Winner]:
    """The winner of each setting on each clock, at the most that every cell of the setting has spent.

    n_blocks: at equal seconds so many replicas are compared, which were timed independently; None: all.

    Cells of which half of the replicas or more diverged do not compete.
    """
    found: list[Winner] = []
    arms = {}
    for setting, own in histories.groupby("setting") if len(histories) else ():
        stable = set(cells.loc[cells["n_diverged"] < cells["n_replicas"] / 2, "cell"])
        curves = {cell: rows for cell, rows in own.groupby("cell", sort=False) if cell in stable}
        if len(curves) > 1:
            for clock, column in clocks.items():
                winner, at = _winner(str(setting), clock, column, curves, n_blocks)
                if winner.runner_up:
                    arms[len(found)] = at[winner.cell], at[winner.runner_up]
                found.append(winner)
    compared = compare_family(arms, MARGIN, rng)
    return [replace(winner, comparison=compared.get(i)) for i, winner in enumerate(found)]


def _winner(
    setting: str, clock: str, column: str, curves: dict[str, "pd.DataFrame"], n_blocks: int | None
) -> tuple[Winner, dict[str, Array]]:
    """The winner, not compared yet, and the costs (R,) of every cell at the budget."""
    most = n_blocks if column == "train_seconds" else None
    budget = min(spent(rows, column) for rows in curves.values())
    at = {cell: costs_at(rows, column, budget)[:most] for cell, rows in curves.items()}
    first, *others = sorted(at, key=lambda cell: float(np.median(at[cell])))
    size = {cell: float(rows["batch_size"].iloc[0]) for cell, rows in curves.items()}
    second = next((cell for cell in others if size[cell] != size[first]), "")
    return Winner(setting, clock, budget, first, size[first], float(np.median(at[first])), second, None), at


def spent(history: "pd.DataFrame", column: str) -> float:
    """What every replica of a cell has spent that did not diverge; seconds differ between replicas."""
    last = history.groupby("replica")[[column, "outcome"]].last()
    if column != "train_seconds":
        return float(last[column].max())
    return float(last.loc[last["outcome"] != "diverged", column].min())


def costs_at(history: "pd.DataFrame", column: str, budget: float) -> Array:
    """Training cost (R,) of the replicas when `column` is at `budget`, log-linear in between; inf: diverged."""
    costs = []
    for _, own in history.groupby("replica"):
        ended_early = own[column].iloc[-1] < budget * (1 - 1e-12) and own["outcome"].iloc[-1] == "diverged"
        with np.errstate(divide="ignore"):
            cost = np.exp(np.interp(budget, own[column], np.log(own["train_cost"].to_numpy(dtype=float))))
        costs.append(np.inf if ended_early or np.isnan(cost) else cost)
    return np.array(costs)
