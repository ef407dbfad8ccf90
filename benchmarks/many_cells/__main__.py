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
    """Wall seconds and CPU seconds of a command; its memory in bytes after a tenth of its time, and at most."""

    wall: float
    cpu: float
    early: int
    most: int
    said: str


def words(n_cells: int, joblib: bool) -> list[str]:
    rates = ",".join(f"{0.001 * (k + 1):.3f}" for k in range(n_cells // 2))
    each = [f"learning_rate={rates}", "batch_size=8,16"]  # the sizes take unlike times: both are everywhere
    return [*SMALL, *each, *(["hydra/launcher=joblib"] if joblib else [])]


def run(folder: Path, command: Sequence[str], uri: str) -> Taken:
    import psutil

    before, begun, seen = os.times(), time.perf_counter(), list[int]()
    with (folder / "said").open("w+", encoding="utf8") as said:
        child = subprocess.Popen(
            [sys.executable, "-m", "harness", *command],
            cwd=folder, env={**child_environment(), "MLFLOW_TRACKING_URI": uri}, stdout=said, stderr=said,
        )  # fmt: skip
        while child.poll() is None:
            seen.append(psutil.Process(child.pid).memory_info().rss)
            time.sleep(POLL_SECONDS)
        wall, after = time.perf_counter() - begun, os.times()
        said.seek(0)
        text = said.read()
    if child.returncode:
        raise RuntimeError(text)
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Taken(wall, cpu, seen[len(seen) // 10], max(seen), text)


def cell_seconds(uri: str) -> tuple[float, float]:
    """Median distance between the starts of consecutive cells: in the first tenth of the sweep, in the last."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("harness").experiment_id
    runs = client.search_runs([experiment], max_results=MOST_RUNS)
    gaps = np.diff(sorted(run.info.start_time for run in runs if "mlflow.parentRunId" in run.data.tags)) / 1000
    tenth = max(5, len(gaps) // 10)
    return float(np.median(gaps[:tenth])), float(np.median(gaps[-tenth:]))


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


def report(kind: str, n_cells: int, first: Taken, second: Taken, early: float, late: float) -> str:
    megabytes = [f"{size / 2**20:.0f}" for size in (first.early, first.most)]
    rows = [
        ("the sweep, wall seconds", first.wall),
        ("the sweep, CPU seconds of the command", first.cpu),
        ("seconds of a cell with its training, first tenth", early),
        ("the same, last tenth", late),
        (f"last over first (goal: at most {MOST_GROWTH})", late / early),
        ("memory of the command, MiB: after a tenth of its time", megabytes[0]),
        ("the same, at most", megabytes[1]),
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
        early, late = cell_seconds(uri)
        say("the same command again")
        second = run(Path(place), words(n_cells, asked.joblib), uri)
    text = report(asked.store, n_cells, first, second, early, late)
    print(text)
    if not asked.short:
        (DOCS / f"many_cells_{asked.store}.md").write_text(text + "\n", encoding="utf8")
        return 0
    found_all = f"({n_cells} found finished in the store)" in second.said
    return int(late > MOST_GROWTH_SHORT * early or not found_all)


if __name__ == "__main__":
    raise SystemExit(main())
