"""Quartiles over all replicas of a cell, the diverged ones with it: the cost +inf, the score -inf.

One that reached its target and stopped keeps its last values.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.network import Array, Indices
from harness.training.checkpoints import Outcome
from harness.training.loop import Record

if TYPE_CHECKING:
    import pandas as pd

Mask = NDArray[np.bool_]
WORST = {"train_cost": np.inf, "validation_cost": np.inf, "validation_score": -np.inf}  # fields of a record


def worst_of(column: str) -> float:
    """What a diverged replica has in a column of costs, or of scores."""
    return np.inf if column.endswith("cost") else -np.inf


def quartiles(values: ArrayLike, worst: ArrayLike = np.inf) -> Array:
    """(3, ...) from values (R, ...): lower quartile, median, upper quartile, linear between ranks. NaN is `worst`.

    A quartile between a finite and an infinite value is infinite, so half of the replicas decide the median.
    """
    values = np.asarray(values, dtype=float)
    ranked = np.sort(np.where(np.isnan(values), worst, values), axis=0)
    place = np.array([0.25, 0.5, 0.75]) * (len(ranked) - 1)
    below, above = ranked[np.floor(place).astype(int)], ranked[np.ceil(place).astype(int)]
    part = (place % 1).reshape(-1, *[1] * (values.ndim - 1))
    with np.errstate(invalid="ignore"):  # 0 inf, where both are the same value
        return np.where(below == above, below, (1 - part) * below + part * above)


class Latest:
    """The costs and scores that all replicas have come to while they train, from one record after the other."""

    def __init__(self) -> None:
        self.rows: dict[int, Array] = {}

    def take(self, record: Record) -> dict[str, Array]:
        """The fields of WORST, (R,) each: from this record, and from earlier ones of replicas that have ended."""
        rows = np.stack([getattr(record, name) for name in WORST], axis=1).astype(float)
        rows[[outcome is Outcome.DIVERGED for outcome in record.outcome]] = list(WORST.values())
        self.rows |= dict(zip(record.replica.tolist(), rows, strict=True))
        return dict(zip(WORST, np.stack(list(self.rows.values()), axis=1), strict=True))


def curve(history: "pd.DataFrame", column: str) -> "pd.DataFrame":
    """Quartiles of a column of one cell over all its replicas at each checkpoint, infinite where too many diverged.

    Columns: update, epoch, examples, train_seconds (median of those that still train), q25, median, q75, and how many
    replicas have diverged and reached the target up to there.
    """
    import pandas as pd

    update, first, place = np.unique(history["update"].to_numpy(), return_index=True, return_inverse=True)
    _, replica = np.unique(history["replica"].to_numpy(), return_inverse=True)
    shape = replica.max() + 1, len(update)
    values, seconds = np.full((2, *shape), np.nan)
    values[replica, place], seconds[replica, place] = history[column], history["train_seconds"]
    last = np.zeros(shape[0], dtype=int)
    np.maximum.at(last, replica, place)
    outcome, checkpoints = history["outcome"].to_numpy(), np.arange(len(update))
    lost, reached = (_since(replica, place, outcome == o, shape) for o in (Outcome.DIVERGED, Outcome.REACHED))
    values = np.take_along_axis(values, np.minimum(checkpoints, last[:, None]), axis=1)
    values[lost] = worst_of(column)
    table = history[["update", "epoch", "examples"]].iloc[first].reset_index(drop=True)
    table["train_seconds"] = np.maximum.accumulate(np.nanmedian(seconds, axis=0))
    spread = pd.DataFrame(quartiles(values, worst_of(column)).T, columns=["q25", "median", "q75"])
    return pd.concat([table, spread], axis=1).assign(diverged=lost.sum(axis=0), reached=reached.sum(axis=0))


def _since(replica: Indices, place: Indices, ended: Mask, shape: tuple[int, int]) -> Mask:
    """(R, checkpoints): whether the replica has ended so at this checkpoint or before it."""
    first = np.full(shape[0], shape[1])
    first[replica[ended]] = place[ended]
    return np.arange(shape[1]) >= first[:, None]
