"""A trained cell as a Python program sees it."""

from functools import cached_property
from typing import TYPE_CHECKING

from harness.config import Config
from harness.sweep import weights
from harness.training import CellResult, Outcome, tables

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray


class Result:
    """One cell after its training: R replicas of one configuration.

    label: the cell's name for people. signature: 16 hexadecimal digits that identify what was trained; the command line
    has the same. config: every setting. Costs are means per example; scores are accuracy, or R² for a regression.
    """

    def __init__(self, config: Config, signature: str, result: CellResult, label: str) -> None:
        self.config, self.signature, self.label = config, signature, label
        self._result = result

    def history(self) -> "pd.DataFrame":
        """One row for each replica and checkpoint.

        Columns: replica, update, epoch, examples (seen so far), train_seconds (of replica 0), train_cost,
        validation_cost, validation_accuracy or validation_r2, outcome (empty until the replica has ended).
        """
        return tables.history(self._result, self.config)

    def replicas(self) -> "pd.DataFrame":
        """One row for each replica: outcome, where it ended, its final, best and test figures."""
        return self._replicas.copy()

    @cached_property
    def _replicas(self) -> "pd.DataFrame":
        return tables.replicas(self._result, self.config)

    @cached_property
    def summary(self) -> dict[str, float]:
        """The cell in a few numbers, medians over the replicas that did not diverge; names as in MLflow.

        final/..., best/..., to_target/..., diverged/fraction, time/... (seconds; µs per update and example),
        noise/... (examples). What does not exist is left out.
        """
        return tables.summary(self._result, self._replicas)

    @cached_property
    def outcome(self) -> Outcome:
        """How most replicas ended: completed, reached, diverged."""
        return tables.cell_outcome(self._replicas)

    @property
    def weights(self) -> "dict[str, NDArray[np.floating]]":
        """At the end: W0 (R, D, H), b0 (R, H), W1, ... to the output layer."""
        return weights(self._result.parameters)

    def __repr__(self) -> str:
        score = tables.SCORES[self.config.dataset.task]
        figures = {"training cost": "final/train_cost", f"validation {score}": f"final/validation_{score}"}
        said = ", ".join(f"{name} {self.summary[key]:.3g}" for name, key in figures.items() if key in self.summary)
        n = self.config.seeds
        return f"<{self.label}: {self.outcome}{', ' * bool(said)}{said} ({n} {'replicas' if n > 1 else 'replica'})>"
