"""The curves of a cell in MLflow while it trains: points of some checkpoints; the tables of its run have them all."""

from typing import TYPE_CHECKING

from harness.runs.progress import share
from harness.training import Latest, Observer, is_geometric, tables

if TYPE_CHECKING:
    from harness.network import Array
    from harness.store import RunWriter
    from harness.training import Budget, Plan, Record

PARTS = 19  # of a cell's budget, each with a point: a store takes longer for a point than a checkpoint takes


class LiveCurves:
    """Writes the points of a cell's records: of the first one in each part of the budget, and of the last."""

    def __init__(self, run: "RunWriter", plan: "Plan", budget: "Budget", score: str) -> None:
        self.run, self.plan, self.budget, self.score = run, plan, budget, score
        self._latest, self._part = Latest(), -1
        self._left: tuple[Record, dict[str, Array]] | None = None  # the last record, if it is not written

    def add(self, record: "Record") -> None:
        self._left = record, self._latest.take(record)
        if (part := int(PARTS * share(self.budget, record))) > self._part:
            self._part = part
            self._write(*self._left)
        if record.diagnostics:
            self.run.points(tables.diagnostics_metrics(record.diagnostics), record.update)
        for update, _, cost in record.batch_costs:
            if update == 0 or is_geometric(update, Observer.shown_batch_costs_per_decade):
                self.run.points({"cost/batch": cost}, update)

    def end(self) -> None:
        """The last record, at which replicas may have ended before the budget was spent."""
        if self._left:
            self._write(*self._left)

    def _write(self, record: "Record", latest: "dict[str, Array]") -> None:
        self.run.points(tables.checkpoint_metrics(record, latest, self.plan, self.score), record.update)
        self._left = None
