"""Where the seconds of the command go: from the interpreter's start to the report, and how long an answer takes.

    python -m benchmarks.command [--short] [--to FOLDER]      (from the root of the project; at most 6 minutes)

Each command runs as a user's would, in a process and a folder of its own, by way of `probe`: that replaces functions of
the harness and of the import system by ones that say when they begin and end, and then calls the command line. Time is
charged to the innermost phase that is open, so phases add up to the whole; what a phase calls that has a phase of its
own is not counted twice. A function that is not there any more leaves its time to whatever calls it, and is named.
Beside wall seconds stands CPU time (user + system, child processes included), which other processes disturb less.
Writes command.csv, command.md and command.png.

Nothing heavy is imported here at module level: the probed process imports this module, too.
"""

import argparse
import csv
import importlib
import json
import math
import os
import resource
import shlex
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import DOCS, child_environment, machine, markdown_table, number, say

# In the probed process.

LIBRARIES = {"antlr4": "hydra", "omegaconf": "hydra", "pyarrow": "pandas"}
LIBRARIES |= {name: name for name in ("mlflow", "sklearn", "pandas", "matplotlib", "scipy", "hydra", "numpy", "rich")}

PHASES = {
    "harness.cli": {"_hydra_main": "composing the help"},
    "harness.composition": {"compose_cells": "composing", "launch": "composing each job again"},
    "harness.tracking": {
        "Store.open": "opening the store",
        "Store._ask": "tracking",
        "Store.start": "tracking",
        "Store.deliver_waiting": "tracking",
    },
    "harness.recording": {"load_dataset": "data", "_write_tables": "tables", "_draw": "figures of cells"},
    "harness.cell": {"Cell.__init__": "data", "evaluate": "evaluation"},
    "harness.train": {"evaluate": "evaluation"},
    "harness.diagnostics": {"Observer.look": "diagnostics", "Observer.report": "diagnostics"},
    "harness.tables": {"replicas": "tables", "summary": "tables", "checkpoint_metrics": "tables"},
    "harness.provenance": {"environment": "provenance", "uncommitted": "provenance", "signature": "provenance"},
    "harness.sweep": {"write_answer": "report", "figures": "report: figures", "_png": "report: figures"},
    "harness.sweep_data": {"load_sweep": "report: reading"},
    "harness.answer": {"answer": "report: statistics"},
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
    """Run the command line in sys.argv with every phase charged; writes what was found where PROBE_TO says."""
    ledger = Ledger()
    started = time.time()
    _watch_imports(ledger)
    try:
        from harness.cli import main

        return main()
    finally:
        ledger.close()
        found = {"started": started, "phases": ledger.phases, "calls": ledger.calls, "missing": ledger.missing}
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
    if name == "harness.cell":
        _replace(name, "Cell.train", ledger, lambda train: _training(train, ledger))
    if name == "harness.writing":
        _replace(name, "RunWriter.timed", ledger, lambda timed: _tracking(timed, ledger))
    if name == "mlflow.tracking.client":
        for method in COUNTED:
            _replace(name, f"MlflowClient.{method}", ledger, lambda call, own=method: _counted(call, own, ledger))
    if name == "harness.plots" and os.environ.get("PROBE_WITHOUT_FIGURES"):
        for drawing in ("cell_curves", "cell_batch_costs", "save"):
            _replace(name, drawing, ledger, lambda function: lambda *arguments: None)


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
    """What the report reads from the store and writes into it is a part of the report."""
    return "report: store" if phase == "tracking" and ledger.innermost.startswith("report") else phase


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


# Around it.


class Run(NamedTuple):
    """One command: its wall and CPU seconds, and the phases of both, which add up to them."""

    wall: float
    cpu: float
    phases: dict[str, tuple[float, float]]
    calls: dict[str, tuple[float, float]]
    missing: list[str]


OUTSIDE = "interpreter: start and end"


def account(found: Mapping[str, Any], wall: float, cpu: float) -> Run:
    """What the child did not see is the interpreter's, and for CPU time that of its own child processes."""
    phases = {name: (seconds[0], seconds[1]) for name, seconds in found["phases"].items()}
    inside = [sum(seconds[i] for seconds in phases.values()) for i in (0, 1)]
    phases[OUTSIDE] = (wall - inside[0], cpu - inside[1])
    return Run(wall, cpu, phases, {name: tuple(c) for name, c in found["calls"].items()}, found["missing"])


def run(folder: Path, words: Sequence[str], fails: bool = False, figures: bool = True) -> Run:
    """Run the command in a folder. fails: it is expected to refuse its words."""
    program = "import sys; from benchmarks.command import probe; sys.exit(probe())"
    to = folder / "probe.json"
    environment = {**child_environment(), "PROBE_TO": str(to), **({} if figures else {"PROBE_WITHOUT_FIGURES": "1"})}
    cpu, start = _cpu_of_children(), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
    )
    wall, cpu = time.perf_counter() - start, _cpu_of_children() - cpu
    if (done.returncode != 0) != fails:
        raise RuntimeError(f"{shlex.join(words)} ended with {done.returncode}:\n{done.stderr}")
    return account(json.loads(to.read_text(encoding="utf8")), wall, cpu)


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def last_sweep(folder: Path) -> str:
    """The id of the sweep that was started last in the folder's store."""
    query = (
        "SELECT runs.run_uuid FROM runs JOIN tags ON runs.run_uuid = tags.run_uuid "
        "WHERE tags.key = 'kind' AND tags.value = 'sweep' ORDER BY runs.start_time DESC LIMIT 1"
    )
    with sqlite3.connect(folder / "mlflow.db") as store:
        return str(store.execute(query).fetchone()[0])


class Plan(NamedTuple):
    """headline: words of the sweep; sweeps: batch sizes × rates × reductions, cells that hardly train."""

    headline: list[str]
    sweeps: dict[str, tuple[int, int, int]]
    large: tuple[int, int, int] | None
    minute: bool
    seconds: float  # after so many of them nothing more is begun that can be left out


HEADLINE = ["-m", "batch_size=1,64,512"]
FULL = Plan(HEADLINE, {"10 cells": (5, 1, 2), "50 cells": (5, 5, 2)}, (5, 20, 2), True, 330)
SHORT = Plan([*HEADLINE, "epochs=1", "seeds=2"], {"4 cells": (2, 2, 1)}, None, False, 0)


def grid(n_sizes: int, n_rates: int, n_reductions: int) -> list[str]:
    """Words of a sweep of cells that hardly train."""
    sizes = ",".join(str(2**k) for k in range(n_sizes))
    rates = ",".join(f"{0.001 * (k + 1):.3f}" for k in range(n_rates))
    reductions = ",".join(("mean", "sum")[:n_reductions])
    cells = [f"batch_size={sizes}", f"learning_rate={rates}", f"reduction={reductions}"]
    return ["-m", "dataset=iris", "updates=3", "seeds=2", *cells]


Runs = dict[str, list[Run]]
NEW, OLD, MINUTE = "headline sweep, new store", "headline sweep", "one-minute sweep"
HELP, REFUSED, UNKNOWN = "--help", "a refused value", "an unknown key"


class Bench:
    """Runs commands in one folder and keeps what they took, by name, in the order of their first run."""

    def __init__(self, folder: Path, seconds: float) -> None:
        self.folder, self.seconds = folder, seconds
        self.found: Runs = {}
        self._started = time.perf_counter()

    def run(self, name: str, *words: str, **options: Any) -> Run:
        say(name)
        self.found.setdefault(name, []).append(run(self.folder, words, **options))
        return self.found[name][-1]

    def has_time_for(self, seconds: float) -> bool:
        return time.perf_counter() - self._started + seconds < self.seconds


def measure(plan: Plan) -> Runs:
    """Every command; what can be left out comes last, and is left out when the time is up."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), plan.seconds)
        for _ in range(5 if plan.large else 1):
            bench.run(HELP, "--help")
            bench.run(REFUSED, "batch_size=0", fails=True)
            bench.run(UNKNOWN, "batchsize=1", fails=True)
        bench.run(NEW, *plan.headline)
        headline = bench.run(OLD, *plan.headline, "rerun=all")
        for name, shape in plan.sweeps.items():
            sweep = bench.run(name, *grid(*shape), "rerun=all")
        bench.run(f"report of {name}", "report", last_sweep(bench.folder))
        if plan.large and bench.has_time_for(3 * sweep.wall):
            _measure_large(bench, plan.large)
        if plan.minute and bench.has_time_for(75 * headline.wall / headline.cpu):
            bench.run(MINUTE, *plan.headline, "rerun=all", f"epochs={epochs_of_a_minute(headline)}")
        while bench.has_time_for(headline.wall) and len(bench.found[OLD]) < 5:
            headline = bench.run(OLD, *plan.headline, "rerun=all")
    return bench.found


def _measure_large(bench: Bench, shape: tuple[int, int, int]) -> None:
    """The report of a sweep whose cells are not measured: most are new, and draw no figures, which no report reads."""
    size = math.prod(shape)
    say(f"a sweep of {size} cells without figures of their own, for its report")
    run(bench.folder, grid(*shape), figures=False)
    bench.run(f"report of {size} cells", "report", last_sweep(bench.folder))


def epochs_of_a_minute(headline: Run) -> int:
    """Epochs with which the headline sweep would take a minute: training grows with them, the rest hardly."""
    training = sum(wall for name, (wall, _) in headline.phases.items() if name.startswith(("training", "evaluation")))
    return max(30, round(30 * (60 - (headline.wall - training)) / training))


def import_seconds(libraries: Sequence[str]) -> dict[str, float]:
    """Seconds that importing each takes by itself, in a process of its own, as -X importtime says."""
    return {name: _import_seconds(name) for name in libraries}


def _import_seconds(library: str) -> float:
    command = [sys.executable, "-X", "importtime", "-c", f"import {library}"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True, env=child_environment()).stderr
    cumulative = [line.split("|")[1] for line in lines.splitlines() if line.split("|")[-1].strip() == library]
    return float(cumulative[-1]) / 1e6


IMPORTED = ("numpy", "hydra", "mlflow", "pandas", "sklearn.model_selection", "scipy.stats", "matplotlib.figure")

# What it says.

GROUPS = {
    "start and imports": (OUTSIDE, "import "),
    "composing": ("composing",),
    "opening the store": ("opening",),
    "data": ("data",),
    "training": ("training", "diagnostics"),
    "evaluation": ("evaluation",),
    "tracking": ("tracking", "tables", "provenance"),
    "figures of cells": ("figures",),
    "report": ("report",),
}  # by how the names of their phases begin; the rest is "other"
OVERHEAD = ("tracking", "figures of cells", "report")


def grouped(phases: Mapping[str, tuple[float, float]], i: int) -> dict[str, float]:
    """Seconds of each group: wall (i = 0) or CPU (i = 1)."""
    sums = dict.fromkeys([*GROUPS, "other"], 0.0)
    for name, seconds in phases.items():
        group = next((group for group, starts in GROUPS.items() if name.startswith(starts)), "other")
        sums[group] += seconds[i]
    return sums


def typical(runs: Sequence[Run]) -> Run:
    """The run of median CPU time."""
    return sorted(runs, key=lambda one: one.cpu)[(len(runs) - 1) // 2]


class Goal(NamedTuple):
    """What was asked for: seconds, or a share, of CPU and of wall time, at most `limit`."""

    text: str
    cpu: float
    wall: float
    limit: float


def goals(found: Runs, largest: str) -> list[Goal]:
    """largest: the name of the report of the largest sweep."""
    answers = [
        Goal(f"{name} answers, s", *(statistics.median(getattr(one, of) for one in found[name]) for of in _BOTH), 1.0)
        for name in (HELP, REFUSED, UNKNOWN)
    ]
    headline, minute = typical(found[OLD]), typical(found.get(MINUTE, found[OLD]))
    report, above = typical(found[largest]), "tracking, figures and report"
    share = overhead(minute, 1) / minute.cpu, overhead(minute, 0) / minute.wall
    return [
        *answers,
        Goal(f"{above}, on top of the headline sweep, s", overhead(headline, 1), overhead(headline, 0), 3.0),
        Goal("the same with importing mlflow and matplotlib, s", *(_with_imports(headline, i) for i in (1, 0)), 3.0),
        Goal(f"{above}, as a share of a one-minute sweep", *share, 0.1),
        Goal(f"{largest}, s", report.cpu, report.wall, 20.0),
    ]


_BOTH = ("cpu", "wall")


def overhead(one: Run, i: int) -> float:
    """Wall (i = 0) or CPU (i = 1) seconds of tracking, figures and report; importing what they need is left out."""
    shares = grouped(one.phases, i)
    return sum(shares[group] for group in OVERHEAD)


def _with_imports(one: Run, i: int) -> float:
    return overhead(one, i) + sum(one.phases.get(f"import {name}", (0, 0))[i] for name in ("mlflow", "matplotlib"))


def write_csv(path: Path, found: Runs) -> None:
    """One row per command, repeat and phase."""
    with path.open("w", newline="", encoding="utf8") as file:
        writer = csv.writer(file)
        writer.writerow(["command", "repeat", "phase", "wall_seconds", "cpu_seconds"])
        for name, runs in found.items():
            for i, one in enumerate(runs):
                writer.writerow([name, i, "all", f"{one.wall:.4f}", f"{one.cpu:.4f}"])
                for phase, (wall, cpu) in sorted(one.phases.items(), key=lambda item: -item[1][0]):
                    writer.writerow([name, i, phase, f"{wall:.4f}", f"{cpu:.4f}"])


def report(found: Runs, imports: Mapping[str, float], plan: Plan) -> str:
    largest = [name for name in found if name.startswith("report of")][-1]
    missing = sorted({name for runs in found.values() for one in runs for name in one.missing})
    return "\n\n".join(
        [
            "# Where the time of the command goes",
            f"Measured by `python -m benchmarks.command`. {machine()} The headline sweep is "
            f"`python -m harness {shlex.join(plan.headline)}`, its store exists unless said otherwise. "
            "[Every number](command.csv).",
            "![Where the time of the command goes](command.png)",
            "## What was asked for",
            _goals_table(goals(found, largest)),
            "## Where it goes, wall seconds",
            _groups_table(found, 0),
            "## Where it goes, CPU seconds",
            _groups_table(found, 1),
            "## The headline sweep by phase",
            _phases_table(typical(found[OLD])),
            "## A cell more, and its words to MLflow",
            *_per_cell(found, plan),
            "## Imports, each alone in a process",
            markdown_table(["library", "seconds"], sorted(imports.items(), key=lambda item: -item[1])),
            "## Limits\n\nThe probe costs about a microsecond per call and import. CPU time counts child processes "
            "(git) under the interpreter. What a library imports in turn is its own, so who comes first pays for what "
            "two share." + (f" Not found, and therefore part of what calls it: {', '.join(missing)}." * bool(missing)),
        ]
    )


def _goals_table(asked: Sequence[Goal]) -> str:
    rows = [[goal.text, goal.limit, goal.cpu, goal.wall, _holds(goal)] for goal in asked]
    return markdown_table(["goal", "at most", "CPU", "wall", "holds"], rows)


def _holds(goal: Goal) -> str:
    if goal.wall <= goal.limit:
        return "yes"
    return "by CPU time only" if goal.cpu <= goal.limit else "no"


def _groups_table(found: Runs, i: int) -> str:
    rows = []
    for name, runs in found.items():
        one = typical(runs)
        rows.append([name, (one.wall, one.cpu)[i], *grouped(one.phases, i).values()])
    return markdown_table(["command", "all", *GROUPS, "other"], _rounded(rows))


def _rounded(rows: Sequence[Sequence[object]]) -> list[list[str]]:
    return [[cell if isinstance(cell, str) else f"{cell:.2f}" for cell in row] for row in rows]


def _phases_table(one: Run) -> str:
    rows = [[name, wall, cpu] for name, (wall, cpu) in sorted(one.phases.items(), key=lambda item: -item[1][0])]
    return markdown_table(["phase", "wall", "CPU"], _rounded([[*row] for row in rows if max(row[1:]) >= 0.005]))


def _per_cell(found: Runs, plan: Plan) -> list[str]:
    """From the largest sweep of cells that hardly train."""
    name, shape = list(plan.sweeps.items())[-1]
    one, n_cells = typical(found[name]), math.prod(shape)
    rows = [
        [group, 1e3 * wall / n_cells, 1e3 * cpu / n_cells]
        for (group, wall), cpu in zip(grouped(one.phases, 0).items(), grouped(one.phases, 1).values(), strict=True)
        if group != "start and imports"
    ]
    calls = [[call, n / n_cells, 1e3 * seconds / n_cells] for call, (n, seconds) in sorted(one.calls.items())]
    return [
        f"The sweep of {name}, divided by their number:",
        markdown_table(["per cell", "wall, ms", "CPU, ms"], rows),
        markdown_table(["MLflow client", "calls per cell", "wall, ms per cell"], calls),
    ]


# What it shows.

COLOURS = ("#999999", "#56B4E9", "#CC79A7", "#8C6D31", "#0072B2", "#009E73", "#E69F00", "#F0C27A", "#D55E00", "#DDDDDD")


def draw(found: Runs, path: Path) -> None:
    """A bar for every command, as long as its wall time, in the colours of what it did."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    from harness.plots import STYLE

    long = [name for name in found if name not in (HELP, REFUSED, UNKNOWN)]
    with rc_context(
        {
            **STYLE,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "axes.grid.axis": "x",
            "axes.axisbelow": True,
        }
    ):
        figure = Figure(figsize=(13.5, 7.2), dpi=130, layout="constrained")
        above, below = figure.subplots(2, 1, height_ratios=[len(long) + 0.6, 3.6])
        _bars(above, found, long)
        _bars(below, found, [HELP, REFUSED, UNKNOWN])
        above.set_title(_headline(found))
        slowest = max(typical(found[name]).wall for name in (HELP, REFUSED, UNKNOWN))
        verdict = "within a second" if slowest <= 1 else f"in up to {number(slowest)} s, asked for is one"
        below.set(title=f"What needs no training is answered {verdict}", xlabel="wall seconds of the command")
        below.axvline(1.0, color="black", lw=1.4, ls="--")
        figure.legend(*above.get_legend_handles_labels(), loc="outside right upper", frameon=False)
        figure.savefig(path)


def _headline(found: Runs) -> str:
    one = typical(found[OLD])
    parts = grouped(one.phases, 0)
    share = (parts["training"] + parts["evaluation"]) / one.wall
    start = parts["start and imports"] / one.wall
    return f"Of its {number(one.wall)} s the headline sweep trains {share:.0%}, and starts and imports {start:.0%}"


def _bars(axes: Any, found: Runs, names: Sequence[str]) -> None:
    """Stacked from left to right; the total stands at the end."""
    left = [0.0] * len(names)
    shares = [grouped(typical(found[name]).phases, 0) for name in names]
    for group, colour in zip([*GROUPS, "other"], COLOURS, strict=True):
        widths = [max(0.0, share[group]) for share in shares]
        axes.barh(names, widths, left=left, color=colour, label=group, height=0.68, edgecolor="white", lw=0.6)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    for i, total in enumerate(left):
        axes.text(total, i, f" {number(total)} s", va="center")
    axes.invert_yaxis()
    axes.set_xlim(0, 1.09 * max(left))


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.command", description=__doc__.split("\n")[0])
    parser.add_argument("--short", action="store_true", help="fewer and smaller sweeps, in about a minute")
    parser.add_argument("--to", type=Path, default=DOCS, help="folder for command.csv, .md and .png")
    arguments = parser.parse_args(words)
    arguments.to.mkdir(parents=True, exist_ok=True)
    plan = SHORT if arguments.short else FULL
    found = measure(plan)
    say("imports")
    imports = import_seconds(IMPORTED[:1] if arguments.short else IMPORTED)
    write_csv(arguments.to / "command.csv", found)
    draw(found, arguments.to / "command.png")
    (arguments.to / "command.md").write_text(report(found, imports, plan) + "\n", encoding="utf8")
    say(f"Written: command.csv, command.md and command.png in {arguments.to}")


if __name__ == "__main__":
    main()
