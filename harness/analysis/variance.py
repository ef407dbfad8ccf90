"""What mattered: the variance of log cost over a grid, split between the keys that varied, their pairs and the seed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from harness.inference import ROUNDING, Array

if TYPE_CHECKING:
    import pandas as pd

FACTORS = ("variant", "batch_size", "learning_rate", "reduction")
SEED, REST = "seed", "rest"


@dataclass(frozen=True)
class Shares:
    """of: the task. shares: source -> part of the variance of log cost; they sum to 1. A pair is `a × b`.

    left_out: learning rates without which the grid is whole and every cost finite.
    """

    of: str
    shares: dict[str, float]
    n_cells: int
    left_out: tuple[float, ...]


def variance_shares(cells: "pd.DataFrame", costs: Mapping[str, Array]) -> list[Shares]:
    """For each task whose finished cells are a whole grid of two factors or more; costs: cell -> (R,).

    Costs that are infinite or 0 have no logarithm: learning rates at which a cell has one are left out, in all cells.
    Nothing for a grid of which fewer than two factors are left, or whose costs are all equal.
    """
    found = (_of_task(str(task), own, costs) for task, own in cells.groupby("task", sort=False))
    return [one for one in found if one]


def _of_task(task: str, cells: "pd.DataFrame", costs: Mapping[str, Array]) -> Shares | None:
    usable = cells["cell"].map(lambda cell: bool(np.all(np.isfinite(costs[cell]) & (costs[cell] > 0))))
    bad = set(cells.loc[~usable, "learning_rate"])
    whole = cells[~cells["learning_rate"].isin(bad)]
    factors = [name for name in FACTORS if whole[name].nunique() > 1]
    levels = [sorted(set(whole[name])) for name in factors]
    sizes = [len(each) for each in levels]
    if len(factors) < 2 or len(whole) != np.prod(sizes) or len({len(costs[cell]) for cell in whole["cell"]}) > 1:
        return None
    ordered = whole.sort_values(factors)
    logs = np.log(np.stack([costs[cell] for cell in ordered["cell"]])).reshape(*sizes, -1)
    if np.ptp(logs) <= ROUNDING:  # all costs are equal: there is no variance to split
        return None
    return Shares(task, dict(_split(logs, factors)), len(whole), tuple(sorted(bad)))


def _split(logs: Array, factors: Sequence[str]) -> Iterator[tuple[str, float]]:
    """Sums of squares of a balanced design, as parts of their sum. logs: an axis for each factor, then the seeds."""
    names = [*factors, SEED] if logs.shape[-1] > 1 else list(factors)
    whole, centred = np.square(logs - logs.mean()).sum(), logs - logs.mean()
    left = 1.0
    effects: dict[tuple[int, ...], Array] = {}
    pairs = combinations(range(len(factors)), 2)
    for axes in [*((i,) for i in range(len(names))), *pairs]:
        others = tuple(i for i in range(logs.ndim) if i not in axes)
        mean = centred.mean(axis=others, keepdims=True)
        effects[axes] = mean - sum(effects[i,] for i in axes if len(axes) > 1)
        share = float(np.square(effects[axes]).sum() * logs.size / effects[axes].size / whole)
        left -= share
        yield " × ".join(names[i] for i in axes), share
    yield REST, max(left, 0.0)
