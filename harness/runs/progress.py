"""What the terminal shows while cells train: which cell of how many, epoch, cost, time left.

On stderr, and only when that is a terminal; elsewhere nothing but warnings is written while training. `SweepProgress`,
for a sweep in a Python program, writes in a notebook too.
"""

import sys
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from harness.training import Budget, Outcome, Plan, Record

if TYPE_CHECKING:
    from rich.console import Console


class _Live:
    """A line with a bar and the time left, removed when the context ends."""

    def __init__(self, console: "Console", before: str, after: str, shown: bool) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        left, right = (TextColumn(text, markup=False) for text in (before, after))
        columns = left, BarColumn(bar_width=20), right, TimeRemainingColumn(compact=True)
        self.bar = Progress(*columns, console=console, transient=True, disable=not shown)

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self.bar.stop()


class CellProgress(_Live):
    """A live line for one cell, replaced by how it ended. live=False (parallel workers): only the last line."""

    def __init__(self, name: str, number: int, n_cells: int, live: bool) -> None:
        from rich.console import Console

        self.title = f"cell {number + 1}/{n_cells}  {name}"
        self.console = Console(stderr=True, highlight=False)
        super().__init__(self.console, "{task.description}", "{task.fields[state]}", live and sys.stderr.isatty())
        self.cost = float("nan")
        self._warned = False

    def start(self, budget: Budget, updates_per_epoch: int) -> None:
        """Show the line, at nothing done."""
        self.budget, self.updates_per_epoch = budget, updates_per_epoch
        total = budget.updates if budget.updates is not None else budget.seconds
        self.task = self.bar.add_task(self.title, total=total, state="")

    def show(self, record: Record) -> None:
        """A checkpoint of the cell."""
        self.cost = _cost(record)
        done = record.update if self.budget.updates is not None else record.train_seconds
        state = f"epoch {record.update / self.updates_per_epoch:.4g}  cost {self.cost:.4g}"
        self.bar.update(self.task, completed=done, state=state)

    def warn(self, message: str) -> None:
        """A warning, above the live line."""
        self.console.print(f"warning: {message}", markup=False)

    def warn_unreachable_once(self, unreachable: Exception | None, consequence: str) -> None:
        """Warn that the store is away, the first time it is."""
        if unreachable and not self._warned:
            self._warned = True
            self.warn(f"the store does not answer ({unreachable}); {consequence}")

    def finish(self, outcome: Outcome) -> None:
        """Print how the cell ended."""
        if sys.stderr.isatty():
            self.console.print(f"{self.title}  {outcome}, cost {self.cost:.4g}", markup=False)


class SweepProgress(_Live):
    """One bar for all cells that a Python program trains: cells done, epoch and cost of the present one, time left."""

    def __init__(self, n_cells: int) -> None:
        from rich.console import Console

        console = Console(stderr=True)
        notebook = console.is_jupyter
        if notebook:  # plain text that is overwritten: rich's own way needs ipywidgets
            console = Console(file=sys.stdout, force_jupyter=False, force_terminal=True)
        before = "cell {task.fields[number]}/{task.total:.0f}"
        super().__init__(console, before, "{task.description}", notebook or sys.stderr.isatty())
        self.task = self.bar.add_task("", total=n_cells, number=1)
        self.n_cells, self.done = n_cells, 0

    def show(self, label: str, plan: Plan, budget: Budget, record: Record) -> None:
        """A checkpoint of the present cell."""
        state = f"{label}  epoch {record.update / plan.updates_per_epoch:.4g}  cost {_cost(record):.4g}"
        self.bar.update(self.task, completed=self.done + _share(budget, record), description=state)

    def next_cell(self) -> None:
        """Count the present cell as done."""
        self.done += 1
        self.bar.update(self.task, completed=self.done, number=min(self.done + 1, self.n_cells))


def _cost(record: Record) -> float:
    """Median training cost per example over the replicas that have not diverged."""
    fine = [outcome is not Outcome.DIVERGED for outcome in record.outcome]
    return float(np.median(record.train_cost[fine])) if any(fine) else float("nan")


def _share(budget: Budget, record: Record) -> float:
    """The part of the budget that is spent, 0 to 1."""
    of_updates = record.update / budget.updates if budget.updates else 0.0
    return min(1.0, max(of_updates, record.train_seconds / budget.seconds if budget.seconds else 0.0))
