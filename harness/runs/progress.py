"""What the terminal shows while cells train: which cell of how many, epoch, cost, time left of the command.

On stderr, live when that is a terminal, or in a notebook; elsewhere warnings, and a plain line now and then.
"""

import sys
import threading
import time
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, Self

from harness.training import Budget, Latest, Outcome, Plan, Record, quartiles

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from harness.runs.forecast import Forecast

WATCH_SECONDS = 2.0  # between looks at cells that workers train, at least
WATCH_SHARE = 0.05  # of a core, for these looks: the store takes a second for some thousand cells


class _Live:
    """A line with a bar and the time left, removed when the context ends."""

    def __init__(self, left: str, total: float, live: bool = True, timed: bool = True) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self.console = Console(stderr=True, highlight=False)
        shown = live and (self.console.is_jupyter or sys.stderr.isatty())
        if self.console.is_jupyter:  # plain text that is overwritten: rich's own way needs ipywidgets
            self.console = Console(file=sys.stdout, force_jupyter=False, force_terminal=True)
        before, after = (TextColumn(f"{{task.fields[{name}]}}", markup=False) for name in ("left", "right"))
        columns = before, BarColumn(bar_width=20), after, *([TimeRemainingColumn(compact=True)] if timed else [])
        self.bar = Progress(*columns, console=self.console, transient=True, disable=not shown)
        self.task = self.bar.add_task("", total=total, left=left, right="")

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self.bar.stop()


class CellProgress(_Live):
    """A live line for one cell, replaced by how it ended. live=False (parallel workers): only the last line.

    forecast: of all cells of the command, of which this is `cell`: then bar and time left are the command's.
    """

    def __init__(
        self, name: str, number: int, n_cells: int, live: bool, forecast: "Forecast | None" = None, cell: str = ""
    ) -> None:
        self.title = f"cell {number + 1}/{n_cells}  {name}"
        self.forecast, self.cell, self.live = forecast if forecast and forecast.seconds else None, cell, live
        super().__init__(self.title, 1.0, live, timed=self.forecast is None)
        self.latest, self._warned = Latest(), False
        self._costs: ArrayLike = [float("nan")]

    @property
    def cost(self) -> float:
        """Median training cost per example over all replicas, at the last checkpoint."""
        return float(quartiles(self._costs)[1])

    def show(self, plan: Plan, budget: Budget, record: Record) -> None:
        """A checkpoint of the cell."""
        self._costs = self.latest.take(record)["train_cost"]
        part, forecast = share(budget, record), self.forecast if self.live else None
        if self.bar.disable:  # nobody sees a line: none is composed
            if forecast:
                _say_now_and_then(self, forecast, part, self.cell)
            return
        state = _state(plan, record, self.cost)
        if forecast:
            state = f"{state}  {forecast.state(part, self.cell).partition(', about ')[2]:<10}"
            part = forecast.part(part, self.cell)
        self.bar.update(self.task, completed=part, right=state)

    def __exit__(self, *error: Any) -> None:
        if self.forecast:
            self.forecast.ended([self.cell])
        super().__exit__(*error)

    def warn(self, message: str) -> None:
        """A warning, above the live line."""
        self.console.print(f"warning: {message}", markup=False, soft_wrap=True)

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


class Watch(_Live):
    """A live line for cells that workers train: how many have ended, and the time left. ended: asks the store."""

    def __init__(self, forecast: "Forecast", ended: Callable[[], Collection[str]]) -> None:
        super().__init__(f"{len(forecast.seconds)} cells on {forecast.workers} workers", 1.0, timed=False)
        self.forecast, self.ended, self._closed = forecast, ended, threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        self._closed.set()
        self._thread.join(WATCH_SECONDS)
        super().__exit__(*error)

    def _run(self) -> None:
        spent = 0.0
        while not self._closed.wait(max(WATCH_SECONDS, spent / WATCH_SHARE)):
            begun = time.perf_counter()
            try:
                self.forecast.ended(self.ended())
            except Exception:  # a store that is away has said so elsewhere
                continue
            finally:
                spent = time.perf_counter() - begun
            _say_now_and_then(self, self.forecast)
            self.bar.update(self.task, completed=self.forecast.part(), right=self.forecast.state())


def _say_now_and_then(shown: _Live, forecast: "Forecast", part: float = 0.0, of: str = "") -> None:
    """Where no live line is shown."""
    if shown.bar.disable and forecast.is_due():
        shown.console.print(forecast.state(part, of), markup=False, soft_wrap=True)


class SweepProgress(_Live):
    """One bar for all cells that a Python program trains: cells done, epoch and cost of the present one, time left."""

    def __init__(self, n_cells: int) -> None:
        super().__init__(f"cell 1/{n_cells}", n_cells)
        self.n_cells, self.done, self.latest = n_cells, 0, Latest()

    def show(self, label: str, plan: Plan, budget: Budget, record: Record) -> None:
        """A checkpoint of the present cell."""
        cost = float(quartiles(self.latest.take(record)["train_cost"])[1])
        state = f"{label}  {_state(plan, record, cost)}"
        self.bar.update(self.task, completed=self.done + share(budget, record), right=state)

    def tell(self, message: str) -> None:
        """A line that stays, where a bar is shown."""
        if not self.bar.disable:
            self.console.print(message, markup=False)

    def next_cell(self) -> None:
        """Count the present cell as done."""
        self.done, self.latest = self.done + 1, Latest()
        self.bar.update(self.task, completed=self.done, left=f"cell {min(self.done + 1, self.n_cells)}/{self.n_cells}")


def _state(plan: Plan, record: Record, cost: float) -> str:
    """Of one width: the bar has the rest of a narrow terminal, and would jump."""
    return f"epoch {plan.passes.epoch(record.update):.4g}  cost {cost:.3g}".ljust(25)


def share(budget: Budget, record: Record) -> float:
    """The part of the budget that is spent, 0 to 1."""
    of_updates = record.update / budget.updates if budget.updates else 0.0
    return min(1.0, max(of_updates, record.train_seconds / budget.seconds if budget.seconds else 0.0))
