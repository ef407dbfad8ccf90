"""What the terminal shows while cells train: which cell of how many, epoch, cost, time left.

On stderr, and only when that is a terminal, or in a notebook; elsewhere only warnings are written.
"""

import sys
from typing import Any, Self

from harness.training import Budget, Latest, Outcome, Plan, Record, quartiles


class _Live:
    """A line with a bar and the time left, removed when the context ends."""

    def __init__(self, left: str, total: float, live: bool = True) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self.console = Console(stderr=True, highlight=False)
        shown = live and (self.console.is_jupyter or sys.stderr.isatty())
        if self.console.is_jupyter:  # plain text that is overwritten: rich's own way needs ipywidgets
            self.console = Console(file=sys.stdout, force_jupyter=False, force_terminal=True)
        before, after = (TextColumn(f"{{task.fields[{name}]}}", markup=False) for name in ("left", "right"))
        columns = before, BarColumn(bar_width=20), after, TimeRemainingColumn(compact=True)
        self.bar = Progress(*columns, console=self.console, transient=True, disable=not shown)
        self.task = self.bar.add_task("", total=total, left=left, right="")

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self.bar.stop()


class CellProgress(_Live):
    """A live line for one cell, replaced by how it ended. live=False (parallel workers): only the last line."""

    def __init__(self, name: str, number: int, n_cells: int, live: bool) -> None:
        self.title = f"cell {number + 1}/{n_cells}  {name}"
        super().__init__(self.title, 1.0, live)
        self.cost, self.latest, self._warned = float("nan"), Latest(), False

    def show(self, plan: Plan, budget: Budget, record: Record) -> None:
        """A checkpoint of the cell."""
        self.cost = _cost(self.latest, record)
        self.bar.update(self.task, completed=_share(budget, record), right=_state(plan, record, self.cost))

    def warn(self, message: str) -> None:
        """A warning, above the live line."""
        self.console.print(f"warning: {message}", markup=False)

    def warn_once(self, trouble: str, consequence: str) -> None:
        """Warn of the first trouble with the store; none is empty."""
        if trouble and not self._warned:
            self._warned = True
            self.warn(f"{trouble}; {consequence}")

    def finish(self, outcome: Outcome, update_us: str, score: str) -> None:
        """Print how the cell ended. update_us: the time of an update on its clock, with quartiles."""
        time = f", {update_us} µs per update" if update_us else ""
        if sys.stderr.isatty():
            self.console.print(f"{self.title}  {outcome}, cost {self.cost:.4g}{score}{time}", markup=False)


class SweepProgress(_Live):
    """One bar for all cells that a Python program trains: cells done, epoch and cost of the present one, time left."""

    def __init__(self, n_cells: int) -> None:
        super().__init__(f"cell 1/{n_cells}", n_cells)
        self.n_cells, self.done, self.latest = n_cells, 0, Latest()

    def show(self, label: str, plan: Plan, budget: Budget, record: Record) -> None:
        """A checkpoint of the present cell."""
        state = f"{label}  {_state(plan, record, _cost(self.latest, record))}"
        self.bar.update(self.task, completed=self.done + _share(budget, record), right=state)

    def tell(self, message: str) -> None:
        """A line that stays, where a bar is shown."""
        if not self.bar.disable:
            self.console.print(message, markup=False)

    def next_cell(self) -> None:
        """Count the present cell as done."""
        self.done, self.latest = self.done + 1, Latest()
        self.bar.update(self.task, completed=self.done, left=f"cell {min(self.done + 1, self.n_cells)}/{self.n_cells}")


def _state(plan: Plan, record: Record, cost: float) -> str:
    return f"epoch {record.update / plan.updates_per_epoch:.4g}  cost {cost:.4g}"


def _cost(latest: Latest, record: Record) -> float:
    """Median training cost per example over all replicas."""
    return float(quartiles(latest.take(record)["train_cost"])[1])


def _share(budget: Budget, record: Record) -> float:
    """The part of the budget that is spent, 0 to 1."""
    of_updates = record.update / budget.updates if budget.updates else 0.0
    return min(1.0, max(of_updates, record.train_seconds / budget.seconds if budget.seconds else 0.0))
