"""Around the probed process: commands, run one after the other, and what they took."""

import json
import math
import resource
import shlex
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import child_environment, say


class Run(NamedTuple):
    """One command: its wall and CPU seconds, and the phases of both, which add up to them.

    training_begins: seconds from its start, wall and CPU; NaN if nothing is trained.
    """

    wall: float
    cpu: float
    phases: dict[str, tuple[float, float]]
    calls: dict[str, tuple[float, float]]
    missing: list[str]
    training_begins: tuple[float, float]


OUTSIDE = "interpreter: start and end"


def account(found: Mapping[str, Any], wall: float, cpu: float, begun: float = 0.0) -> Run:
    """What the child did not see is the interpreter's, and for CPU time that of its own child processes.

    begun: seconds since 1970.
    """
    phases = {name: (seconds[0], seconds[1]) for name, seconds in found["phases"].items()}
    inside = [sum(seconds[i] for seconds in phases.values()) for i in (0, 1)]
    phases[OUTSIDE] = (wall - inside[0], cpu - inside[1])
    times = [(at - begun, used) for name, (at, used) in found["first"].items() if name.startswith("training")]
    first = min(times, default=(math.nan, math.nan))
    return Run(wall, cpu, phases, {name: tuple(c) for name, c in found["calls"].items()}, found["missing"], first)


def run(folder: Path, words: Sequence[str], fails: bool = False, figures: bool = True, imports: bool = True) -> Run:
    """Run the command in a folder. fails: it is expected to refuse its words. imports: all is watched, not training."""
    program = "import sys; from benchmarks.command.probe import probe; sys.exit(probe())"
    to = folder / "probe.json"
    left_out = {"PROBE_WITHOUT_FIGURES": not figures, "PROBE_TRAINING": not imports}
    environment = {**child_environment(), "PROBE_TO": str(to), **{name: "1" for name, so in left_out.items() if so}}
    cpu, start, begun = _cpu_of_children(), time.perf_counter(), time.time()
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
    return account(json.loads(to.read_text(encoding="utf8")), wall, cpu, begun)


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
UNWATCHED, COMPILED = "headline sweep, only its training watched", "headline sweep, compiled"
HELP, REFUSED, UNKNOWN = "--help", "a refused value", "an unknown key"


def watched(found: Runs) -> Runs:
    """Those whose phases are known."""
    return {name: runs for name, runs in found.items() if name not in (UNWATCHED, COMPILED)}


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
        for _ in range(3 if plan.large else 1):
            bench.run(UNWATCHED, *plan.headline, "rerun=all", imports=False)
            if plan.large and find_spec("numba"):
                bench.run(COMPILED, *plan.headline, "rerun=all", "engine=compiled", imports=False)
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
