"""A cell of a sweep, trained once more by another engine: what judges hold beside what its run ended with."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from harness.inference import Array
from harness.network import Engine
from harness.training import Cell, Outcome, tables

MakeEngine = Callable[..., Engine]


class Trained(NamedTuple):
    """Final parameters (R, P) in the order of `Evidence.weights`, and final training costs (R,), +inf if diverged."""

    weights: Array
    costs: Array


def train_again(cell: Cell, engine: MakeEngine) -> Trained:
    """The cell, trained by another engine."""
    cell.engine = engine
    for _ in cell.train():
        pass
    params = (result := cell.result()).parameters
    weights = [array.reshape(len(params.flat), -1) for array in (*params.W, *params.b)]
    last = tables.history(result, cell.config).groupby("replica").tail(1).sort_values("replica")
    costs = last["train_cost"].where(last["outcome"] != Outcome.DIVERGED, np.inf).fillna(np.inf)
    return Trained(np.concatenate(weights, axis=1), costs.to_numpy(dtype=float))


def relative(one: Array, other: Array) -> Array:
    """‖one − other‖/‖other‖ of each row; 0 for the same bits, inf where nothing finite can be said."""
    with np.errstate(all="ignore"):
        size, gap = (np.linalg.norm(V.astype(float), axis=1) for V in (other, one - other))
        found = np.nan_to_num(gap / size, nan=np.inf)
    return np.where((one == other).all(axis=1), 0.0, found)
