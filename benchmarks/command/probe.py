"""In the probed process: functions of the harness and of the import system say when they begin and end.

Nothing heavy is imported here at module level.
"""

import importlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

LIBRARIES = {"antlr4": "hydra", "omegaconf": "hydra", "pyarrow": "pandas"}
LIBRARIES |= {name: name for name in ("mlflow", "sklearn", "pandas", "matplotlib", "scipy", "hydra", "numpy", "rich")}

PHASES = {
    "harness.app.composition": {"compose_cells": "composing"},
    "harness.app.session": {
        "answer_question": "composing the help",
        "Session.run": "composing each job again",
        "Session.launch": "composing each job again",
    },
    "harness.store.tracking": {
        "Store.open": "opening the store",
        "query": "tracking",
        "Store.start": "tracking",
        "Store.deliver_waiting": "tracking",
    },
    "harness.store.searching": {"query": "tracking"},
    "harness.runs.recording": {"load_dataset": "data", "_write_tables": "tables", "draw_cell": "figures of cells"},
    "harness.training.cell": {"Cell.__init__": "data"},
    "harness.network.engine": {"Engine.evaluate": "evaluation"},
    "harness.compiled.engine": {"Compiled.evaluate": "evaluation"},
    "harness.training.diagnostics": {"Observer.before_update": "diagnostics", "Observer.after_update": "diagnostics"},
    "harness.training.tables": {"replicas": "tables", "summary": "tables", "checkpoint_metrics": "tables"},
    "harness.store.provenance": {"environment": "provenance", "uncommitted_diff": "provenance"},
    "harness.training.identity": {"signature": "provenance"},
    "harness.runs.timing": {"measure": "timing pass"},
    "harness.runs.parent": {"write_answer": "report", "figures": "report: figures"},
    "harness.report.encoding": {"pngs": "drawing"},
    "harness.runs.loading": {"load_sweep": "report: reading"},
    "harness.analysis.answers": {"answer": "report: statistics"},
}  # module -> function -> phase
COUNTED = (
    "create_run", "download_artifacts", "get_run", "list_artifacts", "log_artifacts", "log_batch", "log_inputs",
    "search_runs", "set_experiment_tag", "set_tag", "set_terminated",
)  # fmt: skip


class Ledger:
    """Wall and CPU seconds of every phase; the clock runs for the innermost that is open."""

    def __init__(self, wall: Callable[[], float] = time.perf_counter, cpu: Callable[[], float] = time.process_time):
        self._wall, self._cpu = wall, cpu
        self.phases: dict[str, list[float]] = {}
        self.calls: dict[str, list[float]] = {}  # name -> times called and seconds, whatever happens inside
        self.missing: list[str] = []
        self.first: dict[str, list[float]] = {}  # name -> when it first began: seconds since 1970, CPU seconds
        self._open = ["everything else"]
        self._last = wall(), cpu()

    @property
    def innermost(self) -> str:
        return self._open[-1]

    def _charge(self) -> None:
        now = self._wall(), self._cpu()
        spent = self.phases.setdefault(self.innermost, [0.0, 0.0])
        spent[0] += now[0] - self._last[0]
        spent[1] += now[1] - self._last[1]
        self._last = now

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Other threads than the main one leave no trace: what they do goes on at the same time."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self._charge()
        self.first.setdefault(name, [time.time(), time.process_time()])
        self._open.append(name)
        try:
            yield
        finally:
            self._charge()
            self._open.pop()

    def move(self, source: str, to: str, wall: float, cpu: float) -> None:
        """Give seconds that were charged to one phase to another."""
        for i, seconds in enumerate((wall, cpu)):
            self.phases.setdefault(source, [0.0, 0.0])[i] -= seconds
            self.phases.setdefault(to, [0.0, 0.0])[i] += seconds

    def count(self, name: str, seconds: float) -> None:
        called = self.calls.setdefault(name, [0, 0.0])
        called[0] += 1
        called[1] += seconds

    def close(self) -> None:
        self._charge()


def probe() -> int:
    """Run the command line in sys.argv with every phase charged; writes what was found where PROBE_TO says.

    With PROBE_TRAINING only training is: to watch three thousand imports takes a second.
    """
    ledger = Ledger()
    if os.environ.get("PROBE_TRAINING"):
        importlib.import_module("harness.training.cell")
        _patch("harness.training.cell", ledger)
    else:
        _watch_imports(ledger)
    try:
        from harness.app import main

        return main()
    finally:
        ledger.close()
        found = {name: getattr(ledger, name) for name in ("phases", "calls", "first", "missing")}
        Path(os.environ["PROBE_TO"]).write_text(json.dumps(found), encoding="utf8")


def _watch_imports(ledger: Ledger) -> None:
    """Charge imports to the library that somebody asked for, and patch modules of the harness when they are loaded.

    What a library imports in turn counts as its own, unless it is one of LIBRARIES itself.
    """
    bootstrap: Any = importlib._bootstrap  # type: ignore[attr-defined]
    find_and_load = bootstrap._find_and_load

    def watched(name: str, *rest: Any) -> Any:
        if name in sys.modules:  # another import got there first
            return find_and_load(name, *rest)
        outer = ledger.innermost if ledger.innermost.startswith("import ") else "import harness"
        library = LIBRARIES.get(name.partition(".")[0])
        with ledger.phase(f"import {library}" if library else outer):
            module = find_and_load(name, *rest)
        _patch(name, ledger)
        return module

    bootstrap._find_and_load = watched


def _patch(name: str, ledger: Ledger) -> None:
    """Make the functions of a module that was just loaded say when they run."""
    for path, phase in PHASES.get(name, {}).items():
        _replace(name, path, ledger, lambda function, phase=phase: _in_phase(function, phase, ledger))
    if name == "harness.training.cell":
        _replace(name, "Cell.train", ledger, lambda train: _training(train, ledger))
    if name == "harness.store.writer":
        _replace(name, "RunWriter.timed", ledger, lambda timed: _tracking(timed, ledger))
    if name == "mlflow.tracking.client":
        for method in COUNTED:
            _replace(name, f"MlflowClient.{method}", ledger, lambda call, own=method: _counted(call, own, ledger))
    if name == "harness.runs.recording" and os.environ.get("PROBE_WITHOUT_FIGURES"):
        _replace(name, "draw_cell", ledger, lambda function: lambda *arguments: None)


def _replace(module: str, path: str, ledger: Ledger, change: Callable[[Any], Any]) -> None:
    """Change a function, or a method where a dot says so, keeping what kind of method it is."""
    *owners, name = path.split(".")
    owner: Any = sys.modules[module]
    for outer in owners:
        owner = getattr(owner, outer, None)
    found = vars(owner).get(name) if owner is not None else None
    if found is None:
        ledger.missing.append(f"{module}.{path}")
    elif isinstance(found, classmethod):
        setattr(owner, name, classmethod(change(found.__func__)))
    else:
        setattr(owner, name, change(found))


def _in_phase(function: Callable[..., Any], phase: str, ledger: Ledger) -> Callable[..., Any]:
    @wraps(function)
    def charged(*arguments: Any, **options: Any) -> Any:
        with ledger.phase(_within_report(phase, ledger)):
            return function(*arguments, **options)

    return charged


def _within_report(phase: str, ledger: Ledger) -> str:
    """What the report reads, writes and draws is a part of the report."""
    inside = ledger.innermost.startswith("report")
    if phase == "drawing":
        return "report: figures" if inside else ledger.innermost
    return "report: store" if phase == "tracking" and inside else phase


def _counted(function: Callable[..., Any], name: str, ledger: Ledger) -> Callable[..., Any]:
    @wraps(function)
    def counted(*arguments: Any, **options: Any) -> Any:
        start = time.perf_counter()
        try:
            return function(*arguments, **options)
        finally:
            ledger.count(name, time.perf_counter() - start)

    return counted


def _tracking(timed: Callable[[Any], Any], ledger: Ledger) -> Callable[[Any], Any]:
    """The context manager around everything that a run writes."""

    @contextmanager
    def tracked(self: Any) -> Iterator[None]:
        with ledger.phase(_within_report("tracking", ledger)), timed(self):
            yield

    return tracked


def _training(train: Callable[[Any], Any], ledger: Ledger) -> Callable[[Any], Any]:
    """What the training clock says is replica 0's; the rest of training, without evaluation, is the others'."""
    rest, clock = "training, other replicas", "training, replica 0 (the train clock)"

    def charged(self: Any) -> Iterator[Any]:
        records, read = train(self), 0.0
        while True:
            before = ledger.phases.get(rest, [0.0, 0.0])[:]
            with ledger.phase(rest):
                record = next(records, None)
            if record is None:
                return
            wall, cpu = (now - then for now, then in zip(ledger.phases[rest], before, strict=True))
            own = min(max(0.0, record.train_seconds - read), wall)
            read = record.train_seconds
            ledger.move(rest, clock, own, cpu * own / wall if wall else 0.0)
            yield record

    return charged
