"""A sweep as three tidy tables: its cells, their replicas, their histories.

Whatever answers, draws or reports works on these tables and on nothing else, so it works on a hand-written table too.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

BUDGETS = ("epochs=", "updates=", "train_seconds=")


@dataclass(frozen=True, eq=False)
class SweepData:
    """Tables of one sweep.

    cells: one row per run - setting (what its label says besides B, η and reduction), cell (the label), status,
    outcome, params, summary metrics, score (median final training cost, NaN if all diverged) with q25 and q75,
    n_replicas, n_diverged, run_id. replicas and histories: the rows of replicas.csv and history.csv of the finished
    cells, with setting, cell, batch_size, learning_rate and reduction in front. timing: how the cells were timed -
    exclusive, shared (other workers trained meanwhile), or mixed (not all alike, or not on one machine: their seconds
    do not compare).
    """

    title: str
    about: dict[str, str]
    cells: "pd.DataFrame"
    replicas: "pd.DataFrame"
    histories: "pd.DataFrame"
    timing: str = "exclusive"


def setting_of(label: str) -> str:
    """The label without its B, η and reduction."""
    words = [word for word in label.split() if not word.startswith(("B=", "η=")) and word not in ("sum", "mean")]
    return " ".join(words)


def settings(labels: "Sequence[str]") -> dict[str, str]:
    """Label -> setting. A budget that only follows from the other knobs (few epochs at B=1, many at B=N) makes none."""
    without = {label: " ".join(word for word in label.split() if not word.startswith(BUDGETS)) for label in labels}
    merged = len(set(without.values())) == len(without)
    return {label: setting_of(without[label] if merged else label) for label in labels}


def spread(replicas: "pd.DataFrame") -> dict[str, float]:
    diverged = replicas["outcome"] == "diverged"
    costs = replicas.loc[~diverged, "final_train_cost"].to_numpy()
    q25, score, q75 = np.quantile(costs, [0.25, 0.5, 0.75]) if len(costs) else [np.nan] * 3
    return {"score": score, "q25": q25, "q75": q75, "n_replicas": len(replicas), "n_diverged": int(diverged.sum())}
