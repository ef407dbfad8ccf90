"""A trained cell as a Python program sees it."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.config import Config
from harness.runs import weights
from harness.training import CellResult, tables

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """One cell after its training: R replicas of one configuration. Costs are means per example.

    label: the cell's name for people.
    signature: 16 hexadecimal digits that identify what was trained; the command line has the same.
    config: every setting.
    outcome: how most replicas ended - completed, reached or diverged.
    summary: the cell in a few numbers, medians over the replicas that did not diverge, by the names that they have in
        MLflow: final/..., best/..., to_target/..., diverged/fraction, time/... (seconds, or microseconds per update and
        example), noise/... (examples). What does not exist is left out.
    weights: at the end, W0 (R, D, H), b0 (R, H), W1, ... up to the output layer.
    """

    label: str
    signature: str
    config: Config
    outcome: str
    summary: dict[str, float]
    weights: "dict[str, NDArray[np.floating[Any]]]"
    _history: "pd.DataFrame" = field(repr=False)
    _replicas: "pd.DataFrame" = field(repr=False)

    def history(self) -> "pd.DataFrame":
        """One row for each replica and checkpoint.

        Columns: replica, update, epoch, examples (seen so far), train_seconds (of replica 0), train_cost,
        validation_cost, validation_accuracy or validation_r2, outcome (empty until the replica has ended).
        """
        return self._history.copy()

    def replicas(self) -> "pd.DataFrame":
        """One row for each replica: outcome, where it ended, its final, best and test figures."""
        return self._replicas.copy()

    def __repr__(self) -> str:
        score = tables.SCORES[self.config.dataset.task]
        figures = {"training cost": "final/train_cost", f"validation {score}": f"final/validation_{score}"}
        said = [f"{name} {self.summary[key]:.3g}" for name, key in figures.items() if key in self.summary]
        n = self.config.seeds
        return f"<{self.label}: {', '.join([self.outcome, *said])} ({n} {'replicas' if n > 1 else 'replica'})>"


def result_of(trained: CellResult, config: Config, signature: str, label: str) -> Result:
    """The tables and weights of a cell that has just been trained."""
    history, replicas = tables.history(trained, config), tables.replicas(trained, config)
    outcome, summary = tables.cell_outcome(replicas), tables.summary(trained, replicas)
    return Result(label, signature, config, str(outcome), summary, weights(trained.parameters), history, replicas)
