"""The command."""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

import benchmarks.many_cells
from benchmarks import DOCS, child_environment, machine, markdown_table, say

SMALL = ("-m", "dataset=iris", "updates=30", "seeds=3")
MOST_GROWTH = 1.1  # of the time of a cell, from the beginning of a sweep to its end
MOST_GROWTH_SHORT = 2.0  # the same of 40 cells, of which few are compared
POLL_SECONDS = 0.5
MOST_RUNS = 50_000  # that MLflow gives at once


class Taken(NamedTuple):
    """Wall seconds and CPU seconds of a command; its memory in bytes, each time it was looked at (since 1970)."""

    wall: float
    cpu: float
    memory: list[tuple[float, int]]
    said: str

    def memory_at(self, moment: float) -> int:
        return min(self.memory, key=lambda look: abs(look[0] - moment))[1]


def words(n_cells: int, joblib: bool) -> list[str]:
    rates = ",".join(f"{0.001 * (k + 1):.3f}" for k in range(n_cells // 2))
    each = [f"learning_rate={rates}", "batch_size=8,16"]  # the sizes take unlike times: both are everywhere
    return [*SMALL, *each, *(["hydra/launcher=joblib"] if joblib else [])]


def run(folder: Path, command: Sequence[str], uri: str) -> Taken:
    import psutil

    before, begun, seen = os.times(), time.perf_counter(), list[tuple[float, int]]()
    with (folder / "said").open("w+", encoding="utf8") as said:
        child = subprocess.Popen(
            [sys.executable, "-m", "harness", *command],
            cwd=folder, env={**child_environment(), "MLFLOW_TRACKING_URI": uri}, stdout=said, stderr=said,
        )  # fmt: skip
        while child.poll() is None:
            seen.append((time.time(), psutil.Process(child.pid).memory_info().rss))
            time.sleep(POLL_SECONDS)
        wall, after = time.perf_counter() - begun, os.times()
        said.seek(0)
        text = said.read()
    if child.returncode:
        raise RuntimeError(text)
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Taken(wall, cpu, seen, text)


class Cells(NamedTuple):
    """Seconds from one cell's start to the next, medians of the first and the last tenth of the cells; and when the
    first tenth ended and the last cell began, seconds since 1970.
    """

    early: float
    late: float
    tenth_at: float
    last_at: float


def cells_of(uri: str) -> Cells:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("harness").experiment_id
    runs = client.search_runs([experiment], max_results=MOST_RUNS)
    starts = np.sort([run.info.start_time for run in runs if "mlflow.parentRunId" in run.data.tags]) / 1000
    gaps = np.diff(starts)
    tenth = max(5, len(gaps) // 10)
    return Cells(float(np.median(gaps[:tenth])), float(np.median(gaps[-tenth:])), starts[tenth], starts[-1])


@contextmanager
def store(kind: str, folder: Path) -> Iterator[str]:
    """The address of a new store."""
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'mlflow.db'}"
        return
    from tests.faults.servers import Site, why_not

    if missing := why_not():
        raise SystemExit(missing)
    site = Site(folder / "site")
    try:
        site.wait()
        yield f"http://127.0.0.1:{site.server.port}"
    finally:
        site.stop()


def report(kind: str, n_cells: int, first: Taken, second: Taken, cells: Cells) -> str:
    sizes = first.memory_at(cells.tenth_at), first.memory_at(cells.last_at), max(size for _, size in first.memory)
    megabytes = [f"{size / 2**20:.0f}" for size in sizes]
    rows = [
        ("the sweep, wall seconds", first.wall),
        ("the sweep, CPU seconds of the command", first.cpu),
        ("seconds of a cell with its training, first tenth", cells.early),
        ("the same, last tenth", cells.late),
        (f"last over first (goal: at most {MOST_GROWTH})", cells.late / cells.early),
        ("memory of the command, MiB: at the end of the first tenth", megabytes[0]),
        ("the same, at the last cell", megabytes[1]),
        ("the same, at most: while the answer is made from all cells", megabytes[2]),
        ("the same command again, wall seconds", second.wall),
    ]
    where = "PostgreSQL and one worker of mlflow server" if kind == "server" else "SQLite"
    title = f"# {n_cells:,} small cells with {where}"
    about = f"Measured by `python -m benchmarks.many_cells --cells {n_cells} --store {kind}`. {machine()}"
    return "\n\n".join([title, about, markdown_table(("what", "value"), rows)])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.many_cells",
        description=benchmarks.many_cells.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--cells", type=int, default=2000, help="how many (default 2000)")
    parser.add_argument("--store", choices=("sqlite", "server"), default="sqlite")
    parser.add_argument("--joblib", action="store_true", help="train on all cores")
    parser.add_argument("--short", action="store_true", help="40 cells; fails if a check does not hold")
    asked = parser.parse_args(arguments)
    if asked.cells < 20:
        parser.error(f"--cells: at least 20, of which tenths can be compared, not {asked.cells}")
    n_cells = 40 if asked.short else asked.cells
    with tempfile.TemporaryDirectory() as place, store(asked.store, Path(place)) as uri:
        say(f"{n_cells} cells")
        first = run(Path(place), words(n_cells, asked.joblib), uri)
        cells = cells_of(uri)
        say("the same command again")
        second = run(Path(place), words(n_cells, asked.joblib), uri)
    text = report(asked.store, n_cells, first, second, cells)
    print(text)
    if not asked.short:
        (DOCS / f"many_cells_{asked.store}.md").write_text(text + "\n", encoding="utf8")
        return 0
    found_all = f"({n_cells} found finished in the store)" in second.said
    return int(cells.late > MOST_GROWTH_SHORT * cells.early or not found_all)


if __name__ == "__main__":
    raise SystemExit(main())
