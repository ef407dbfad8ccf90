"""How long cells take: on the training clock, between checkpoints, and as whole commands."""

import math
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from itertools import pairwise
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from benchmarks import child_environment
from benchmarks.scaling.points import Point, configured, synthetic
from harness.training import Cell


class Timing(NamedTuple):
    """Of one training: seconds per update on the training clock, per checkpoint off it, and of everything together."""

    update: float
    checkpoint: float
    wall: float


def train_timed(cell: Cell) -> tuple[Timing, int]:
    """How long training took, and its updates; what comes before the first checkpoint is in `wall` only."""
    start = perf_counter()
    checkpoints = [(perf_counter(), record.update, record.train_seconds) for record in cell.train()]
    wall = checkpoints[-1][0] - start
    off_clock = [(b[0] - a[0]) - (b[2] - a[2]) for a, b in pairwise(checkpoints)]
    _, n_updates, seconds = checkpoints[-1]
    return Timing(seconds / n_updates, float(np.median(off_clock)), wall), n_updates


def time_axis(points: Sequence[Point], seconds: float, train_seconds: float) -> dict[Point, list[Timing]]:
    """Rounds over the points, in an order that turns, until the seconds are spent; two of them at least count.

    The first round is discarded: it finds out how many epochs take `train_seconds`.
    """
    cells = {}
    for point in points:
        timing, n_updates = train_timed(Cell(configured(point), synthetic(point.n_examples)))
        epochs = 1 if point.axis == "replicas" else math.ceil(train_seconds / (timing.update * n_updates))
        cells[point] = Cell(configured(point, min(epochs, 200)), synthetic(point.n_examples))
    found: dict[Point, list[Timing]] = {point: [] for point in points}
    return _rounds(points, lambda point: train_timed(cells[point])[0], found, seconds, least=2)


def _rounds(points: Sequence[Any], measure: Callable[[Any], Any], found: Any, seconds: float, least: int) -> Any:
    """Append a measurement of every point in turn, until the seconds will not do for another round."""
    start, n_rounds = perf_counter(), 0
    while n_rounds < least or (perf_counter() - start) * (n_rounds + 1) / n_rounds < seconds:
        for point in points[:: -1 if n_rounds % 2 else 1]:
            found[point].append(measure(point))
        n_rounds += 1
    return found


def time_cells(counts: Sequence[int], seconds: float) -> dict[int, list[float]]:
    """Wall seconds of the whole command for sweeps of so many cells that hardly train, in a store that exists."""
    found: dict[int, list[float]] = {count: [] for count in counts}
    with tempfile.TemporaryDirectory() as folder:
        harness(folder, "dry_run=true")  # creates the store
        return _rounds(counts, lambda count: run_sweep(folder, count), found, seconds, least=1)


def run_sweep(folder: str, n_cells: int) -> float:
    """Three updates of two replicas per cell: what is left is the cost of having a cell."""
    rates = ",".join(f"{0.001 * (k + 1):.3f}" for k in range(n_cells))
    start = perf_counter()
    harness(folder, "-m", "dataset=iris", "updates=3", "seeds=2", "rerun=all", f"learning_rate={rates}")
    return perf_counter() - start


def harness(folder: str, *words: str) -> None:
    command = [sys.executable, "-m", "harness", *words]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=600, env=child_environment())
