"""How time and memory of a training grow with examples, width, depth, batch size, replicas and cells.

    python -m benchmarks.scaling [--short] [--to FOLDER]      (from the root of the project; at most 8 minutes)

Trains cells on synthetic data, one axis at a time, with one BLAS thread. Times come from the training clock (updates)
and from the wall clock between checkpoints (everything else); repeats go round all points of an axis in turn, the first
round is discarded, and a point is the median of the others with its quartiles. Laws are fitted to relative errors, with
coefficients that cannot be negative, and are then held against cells that they have not seen.

Memory is what `tracemalloc` counts at the peak: NumPy reports every array to it, so the number is exact, repeats to the
byte and tells data, splitting and training apart, which resident memory does not (the allocator keeps what was freed,
and BLAS keeps buffers of its own). The peak of the resident memory of a fresh process stands beside it as a check from
outside. Writes scaling.csv, scaling.md and scaling.png.
"""

import argparse
import csv
import gc
import math
import resource
import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks import DOCS, ROOT, Spread, child_environment, machine, markdown_table, number, say, spread
from harness.cell import Cell
from harness.cli import _register
from harness.composition import compose_cells
from harness.config import Config
from harness.data import Dataset
from harness.mlp import Parameters
from harness.optimizers import OPTIMIZERS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.floating]

N_INPUTS, N_CLASSES = 20, 10
FLOAT, INDEX = 8, 8  # bytes of a float64, and of an index in the order of the examples
MEGA = 1e6

# What is measured.


@dataclass(frozen=True)
class Point:
    """One cell. n_examples: of the whole dataset, of which eight tenths are trained on."""

    axis: str
    n_examples: int = 2000
    batch_size: int = 64
    hidden: tuple[int, ...] = (32,)
    replicas: int = 1
    optimizer: str = "sgd"

    @property
    def sizes(self) -> tuple[int, ...]:
        return (N_INPUTS, *self.hidden, N_CLASSES)

    @property
    def n_train(self) -> int:
        return self.n_examples - math.ceil(self.n_examples * 0.2 - 1e-9)

    @property
    def n_params(self) -> int:
        """P, weights and biases of one replica."""
        return Parameters.count(self.sizes)

    @property
    def n_units(self) -> int:
        """Outputs of all layers: what is computed of one example besides products of matrices."""
        return sum(self.sizes[1:])


class Plan(NamedTuple):
    """The points of every axis, and how long each axis may take, in seconds."""

    timed: dict[str, list[Point]]
    traced: dict[str, list[Point]]
    resident: list[Point]
    cells: list[int]
    unseen: list[Point]
    train_seconds: float  # on the training clock, for one measurement of a point
    axis_seconds: float
    cells_seconds: float


FULL = Plan(
    timed={
        "examples": [Point("examples", n) for n in (1000, 3000, 10_000, 30_000, 100_000, 300_000, 1_000_000)],
        "batch size": [Point("batch size", 12_000, 2**k) for k in range(14)],
        "width": [Point("width", hidden=(2**k, 2**k)) for k in range(3, 11)],
        "depth": [Point("depth", hidden=(64,) * depth) for depth in range(7)],
        "replicas": [Point("replicas", replicas=2**k) for k in range(7)],
    },
    traced={
        "examples": [
            Point("examples", n, 4000, (8,), 2) for n in (10_000, 30_000, 100_000, 300_000, 1_000_000)
        ],
        "batch size": [Point("batch size", 12_000, 2**k, replicas=4) for k in range(6, 14)],
        "width": [Point("width", hidden=(2**k, 2**k), replicas=4) for k in range(5, 10)],
        "width, adam": [Point("width, adam", hidden=(2**k, 2**k), replicas=4, optimizer="adam") for k in range(5, 10)],
        "replicas": [Point("replicas", replicas=2**k, hidden=(64, 64)) for k in range(7)],
    },
    resident=[Point("examples", n, 4000, (8,), 2) for n in (30_000, 100_000, 300_000, 1_000_000)],
    cells=[1, 3, 10, 50],
    unseen=[
        Point("unseen", 3000, 48, (100,), 5),
        Point("unseen", 50_000, 256, (64, 64), 2),
        Point("unseen", 20_000, 16, (), 3),
        Point("unseen", 6000, 1500, (200, 50), 10),
    ],
    train_seconds=0.25,
    axis_seconds=35,
    cells_seconds=60,
)  # fmt: skip
SHORT = Plan(
    timed={
        "examples": [Point("examples", n) for n in (1000, 3000, 10_000)],
        "batch size": [Point("batch size", 3000, 4**k) for k in range(6)],
        "width": [Point("width", hidden=(4**k, 4**k)) for k in range(2, 5)],
        "depth": [Point("depth", hidden=(64,) * depth) for depth in range(3)],
        "replicas": [Point("replicas", replicas=2**k) for k in range(4)],
    },
    traced={
        "examples": [Point("examples", n, 800, (8,), 4) for n in (3000, 10_000, 30_000)],
        "batch size": [Point("batch size", 3000, 4**k, replicas=2) for k in range(3, 6)],
        "width": [Point("width", hidden=(4**k, 4**k), replicas=2) for k in range(2, 4)],
        "width, adam": [Point("width, adam", hidden=(4**k, 4**k), replicas=2, optimizer="adam") for k in range(2, 4)],
        "replicas": [Point("replicas", replicas=4**k) for k in range(3)],
    },
    resident=[Point("examples", 100_000, 800, (8,), 4)],
    cells=[1, 2],
    unseen=[Point("unseen", 3000, 48, (100,), 3)],
    train_seconds=0.02,
    axis_seconds=1,
    cells_seconds=1,
)  # fmt: skip


@lru_cache(maxsize=1)
def synthetic(n_examples: int) -> Dataset:
    """Classes that are clouds around centres of their own, every class of the same size."""
    rng = np.random.default_rng(0)
    y = np.arange(n_examples) % N_CLASSES
    X = rng.standard_normal((n_examples, N_INPUTS))
    X += rng.standard_normal((N_CLASSES, N_INPUTS))[y]
    return Dataset("synthetic", "classification", X, y, tuple(map(str, range(N_CLASSES))), "")


@lru_cache(maxsize=1)
def defaults() -> Config:
    """The configuration that every cell starts from."""
    _register()
    words = ["dataset=digits", "diagnostics=off", "learning_rate=0.001"]
    ((config, _),) = compose_cells(words, ROOT / "conf").cells
    return config


def configured(point: Point, epochs: int = 1) -> Config:
    config = deepcopy(defaults())
    config.batch_size, config.seeds, config.epochs = point.batch_size, point.replicas, epochs
    config.model.hidden = list(point.hidden)
    if point.optimizer == "adam":
        config.optimizer = replace(config.optimizer, name="adam", beta1=0.9, beta2=0.999, epsilon=1e-8)
    return config


# Time.


class Timing(NamedTuple):
    """Of one training: seconds per update on the training clock, per checkpoint off it, and of everything together."""

    update: float
    checkpoint: float
    wall: float


def train_timed(cell: Cell) -> tuple[Timing, int]:
    """How long training took, and its updates; what comes before the first checkpoint is in `wall` only."""
    start = perf_counter()
    looks = [(perf_counter(), record.update, record.train_seconds) for record in cell.train()]
    wall = looks[-1][0] - start
    off_clock = [(b[0] - a[0]) - (b[2] - a[2]) for a, b in pairwise(looks)]
    _, n_updates, seconds = looks[-1]
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
        harness(folder, "deliver")  # creates the store
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


# Memory.


class Memory(NamedTuple):
    """Bytes at the peak. data: the dataset and its parts, which stay. The others, one after the other, are on top."""

    data: float
    splitting: float
    training: float
    result: float


def trace(point: Point) -> Memory:
    """What a cell allocates until it has a result; two epochs, so that one order of the examples replaces another."""
    dataset, config = synthetic(point.n_examples), configured(point, epochs=2)
    given = dataset.X.nbytes + dataset.y.nbytes
    gc.collect()
    tracemalloc.start()
    try:
        cell = Cell(config, dataset)
        kept, peak = tracemalloc.get_traced_memory()
        splitting = peak - kept
        tracemalloc.reset_peak()
        for _ in cell.train():
            pass
        training = tracemalloc.get_traced_memory()[1] - kept
        tracemalloc.reset_peak()
        cell.result()
        return Memory(given + kept, splitting, training, tracemalloc.get_traced_memory()[1] - kept)
    finally:
        tracemalloc.stop()


def resident(point: Point) -> float:
    """Bytes by which a fresh process's peak of resident memory rises when it loads, splits and trains."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_resident_rise, point).result()


def _resident_rise(point: Point) -> float:
    """A small cell first, so that libraries are loaded before the count begins."""
    small = replace(point, n_examples=1000)
    for of in (small, point):
        before = _peak_bytes()
        cell = Cell(configured(of), synthetic(of.n_examples))
        for _ in cell.train():
            pass
        cell.result()
    return _peak_bytes() - before


def _peak_bytes() -> float:
    """Peak of the resident memory. On Linux `getrusage` would begin with that of the process that started this one."""
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return 1024 * float(line.split()[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


# What training should take, if it is parameters × stack and one batch per replica: compared with what it does take.

PIECE = 1024  # examples that are evaluated at a time


def copies_of_parameters(optimizer: str) -> int:
    """k: parameters, gradient, scratch and the optimiser's state."""
    return 3 + OPTIMIZERS[optimizer].n_slots


def floats_per_example(sizes: Sequence[int]) -> int:
    """m: of every example of a batch its row (D + K), all activations, the deltas of the hidden layers, and a one."""
    return sizes[0] + sizes[-1] + sum(sizes[1:]) + sum(sizes[1:-1]) + 1


def expected_training(point: Point, widest: int) -> float:
    """Bytes: R (k P + m (B + b)) floats, b the short last batch of an epoch, R orders of the examples, and a moment's.

    A moment's are the outputs of all layers, and four arrays as wide as the last, of a piece that a stack of the
    `widest` evaluates, or of the batch whose cost is recorded; or the parameters that a stack ends with.
    """
    R, P, B, N = point.replicas, point.n_params, min(point.batch_size, point.n_train), point.n_train
    rows = max(widest * min(PIECE, N), B)
    moment = max(rows * (sum(point.sizes[1:]) + 4 * N_CLASSES), widest * P)
    kept = R * (copies_of_parameters(point.optimizer) * P + floats_per_example(point.sizes) * (B + N % B))
    return FLOAT * (kept + moment) + INDEX * R * N


def widest_stack(point: Point) -> int:
    cell = Cell(configured(point), synthetic(point.n_examples))
    return max(len(stack.replicas) for stack in cell.stacks())


# Laws.


class Law(NamedTuple):
    """value = Σ coefficient × term, with what it misses: median and largest relative error over its points."""

    coefficients: dict[str, float]
    typical: float
    worst: float

    def __call__(self, terms: Mapping[str, float]) -> float:
        return sum(coefficient * terms[name] for name, coefficient in self.coefficients.items())


def fit(terms: Mapping[str, Sequence[float]], values: Sequence[float]) -> Law:
    """Least squares of the relative errors, no coefficient negative: a term of cost cannot save anything."""
    from scipy.optimize import nnls

    goal = np.asarray(values, dtype=float)
    matrix = np.column_stack([np.asarray(term, dtype=float) for term in terms.values()]) / goal[:, None]
    scale = np.where(matrix.any(axis=0), np.abs(matrix).max(axis=0), 1.0)
    coefficients = nnls(matrix / scale, np.ones(len(goal)))[0] / scale
    errors = np.abs(matrix @ coefficients - 1)
    named = dict(zip(terms, map(float, coefficients), strict=True))
    return Law(named, float(np.median(errors)), float(errors.max()))


def linear(x: Sequence[float], values: Sequence[float]) -> Law:
    """a + b·x."""
    return fit({"1": [1.0] * len(x), "x": x}, values)


def update_terms(point: Point) -> dict[str, float]:
    """Of one update: interpreter per layer, products of matrices, elementwise work, and the optimiser."""
    B, P = point.batch_size, point.n_params
    return {"1": 1.0, "L": len(point.sizes) - 1, "B·P": B * P, "B·U": B * (point.n_units + N_INPUTS), "P": P}


def checkpoint_terms(point: Point) -> dict[str, float]:
    """Of one checkpoint of one replica: cost and score of training and validation set."""
    N = 0.9 * point.n_examples
    return {"1": 1.0, "N·P": N * point.n_params, "N·U": N * (point.n_units + N_INPUTS), "P": point.n_params}


FLOPS = ("1", "B·P", "P")


class Laws(NamedTuple):
    """Times in seconds: of an update, of a checkpoint of a replica, of preparing an example, of a replica more."""

    flops: Law
    update: Law
    checkpoint: Law
    batch: Law
    replicas: Law


Times = dict[Point, list[Timing]]


def fit_laws(times: Times) -> Laws:
    """The laws of time, from all points with one replica; that of replicas from its own axis."""
    alone = [point for point in times if point.replicas == 1]
    update = [median(times[point], "update") for point in alone]
    terms = _columns([update_terms(point) for point in alone])
    looks = _columns([checkpoint_terms(point) for point in alone])
    sizes, stacks = ([p for p in times if p.axis == axis] for axis in ("batch size", "replicas"))
    return Laws(
        flops=fit({name: terms[name] for name in FLOPS}, update),
        update=fit(terms, update),
        checkpoint=fit(looks, [median(times[point], "checkpoint") for point in alone]),
        batch=linear([p.batch_size for p in sizes], [median(times[p], "update") for p in sizes]),
        replicas=linear([p.replicas for p in stacks], [median(times[p], "wall") for p in stacks]),
    )


def _columns(rows: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


def median(timings: Sequence[Timing], name: str) -> float:
    return float(np.median([getattr(timing, name) for timing in timings]))


def n_checkpoints(n_updates: int, updates_per_epoch: int) -> int:
    """Update 0, ten per decade of updates, and every end of an epoch."""
    geometric = {round(10 ** (k / 10)) for k in range(10 * len(str(n_updates)))}
    looks = geometric | set(range(updates_per_epoch, n_updates, updates_per_epoch)) | {n_updates}
    return 1 + sum(update <= n_updates for update in looks)


def predict(point: Point, laws: Laws, epochs: int) -> float:
    """Wall seconds of a cell's training: updates and checkpoints of replica 0, then of the stacks of the others.

    What an update takes whatever the batch, a stack takes once; the rest every replica.
    """
    per_epoch = math.ceil(point.n_train / point.batch_size)
    n_updates = epochs * per_epoch
    n_looks = n_checkpoints(n_updates, per_epoch)
    others = point.replicas - 1
    stacks = math.ceil(others / widest_stack(replace(point, n_examples=min(point.n_examples, 20_000))))
    return sum(
        n * ((1 + others) * law(terms) - (others - stacks) * law({**dict.fromkeys(terms, 0.0), **_shared(terms)}))
        for n, law, terms in (
            (n_updates, laws.update, update_terms(point)),
            (n_looks, laws.checkpoint, checkpoint_terms(point)),
        )
    )


def _shared(terms: Mapping[str, float]) -> dict[str, float]:
    """The terms that do not grow with the work: calls from the interpreter."""
    return {name: terms[name] for name in ("1", "L") if name in terms}


# The whole measurement.


class Found(NamedTuple):
    times: Times
    memory: dict[str, dict[Point, Memory]]
    expected: dict[Point, float]  # bytes of training
    resident: dict[Point, float]
    cells: dict[int, list[float]]
    unseen: dict[Point, tuple[float, float]]  # predicted and measured seconds
    laws: Laws


UNSEEN_EPOCHS = 5


def measure(plan: Plan) -> Found:
    times: Times = {}
    for axis, points in plan.timed.items():
        say(f"time against {axis}, about {plan.axis_seconds:.0f} s")
        times |= time_axis(points, plan.axis_seconds, plan.train_seconds)
    laws = fit_laws(times)
    say(f"{len(plan.unseen)} cells that the laws have not seen")
    unseen = {point: (predict(point, laws, UNSEEN_EPOCHS), _unseen(point)) for point in plan.unseen}
    memory: dict[str, dict[Point, Memory]] = {}
    for axis, points in plan.traced.items():
        say(f"memory against {axis}")
        memory[axis] = {point: trace(point) for point in points}
    expected = {point: expected_training(point, widest_stack(point)) for axis in memory.values() for point in axis}
    say("memory of fresh processes")
    risen = {point: resident(point) for point in plan.resident}
    say(f"sweeps of {', '.join(map(str, plan.cells))} cells, about {plan.cells_seconds:.0f} s")
    cells = time_cells(plan.cells, plan.cells_seconds)
    return Found(times, memory, expected, risen, cells, unseen, laws)


def _unseen(point: Point) -> float:
    cell = Cell(configured(point, UNSEEN_EPOCHS), synthetic(point.n_examples))
    return train_timed(cell)[0].wall


# What it says.


def write_csv(path: Path, found: Found) -> None:
    """One row per point and quantity: what was varied, the cell, the quantity with its unit, median and quartiles."""
    header = ["axis", "examples", "batch_size", "hidden", "replicas", "optimizer", "parameters", "quantity"]
    with path.open("w", newline="", encoding="utf8") as file:
        writer = csv.writer(file)
        writer.writerow([*header, *Spread._fields])
        for point, quantity, values in _measured(found):
            hidden = "x".join(map(str, point.hidden))
            cell = [point.n_examples, point.batch_size, hidden, point.replicas, point.optimizer, point.n_params]
            writer.writerow([point.axis, *cell, quantity, *(f"{v:.6g}" for v in spread(values))])
        for n_cells, seconds in found.cells.items():
            writer.writerow(["cells", *[""] * 6, f"wall seconds of {n_cells} cells", *map(str, spread(seconds))])


def _measured(found: Found) -> list[tuple[Point, str, list[float]]]:
    rows = []
    for point, timings in found.times.items():
        rows.append((point, "update, µs", [t.update * 1e6 for t in timings]))
        rows.append((point, "update, µs per example", [t.update * 1e6 / point.batch_size for t in timings]))
        rows.append((point, "checkpoint, ms", [t.checkpoint * 1e3 for t in timings]))
        rows.append((point, "training, wall seconds", [t.wall for t in timings]))
    for points in found.memory.values():
        for point, memory in points.items():
            rows += [(point, f"{name}, bytes", [value]) for name, value in memory._asdict().items()]
    rows += [(point, "resident memory, bytes", [value]) for point, value in found.resident.items()]
    for point, (predicted, measured) in found.unseen.items():
        rows += [(point, "predicted wall seconds", [predicted]), (point, "training, wall seconds", [measured])]
    return rows


def slope(memory: Mapping[Point, Memory], name: str, x: Callable[[Point], float]) -> float:
    """Bytes per unit of x, where everything else is the same."""
    return linear([x(p) for p in memory], [getattr(m, name) for m in memory.values()]).coefficients["x"]


def report(found: Found) -> str:
    return "\n\n".join(
        [
            "# How time and memory scale",
            f"Measured by `python -m benchmarks.scaling`. {machine()} One BLAS thread, `engine=vectorized`, float64, "
            f"{N_INPUTS} inputs, {N_CLASSES} classes, sigmoid layers. [Every number](scaling.csv).",
            "![How time and memory scale](scaling.png)",
            *_about_time(found),
            *_about_memory(found),
            *_about_cells(found),
            "## Limits\n\nOne machine, one data type, dense layers. Absolute times hold for this machine only; what "
            "carries over is which term dominates where. Laws ignore caches: where a layer or a batch outgrows one, a "
            "point lies above its line. The expected memory leaves out small temporaries, and the arrays of the "
            "smaller piece that ends an evaluation.",
        ]
    )


def _about_time(found: Found) -> list[str]:
    laws = found.laws
    a, b = (laws.batch.coefficients[name] for name in ("1", "x"))
    more = laws.replicas.coefficients
    text = [
        "## Time",
        f"**Batch size.** An update takes {_duration(a)} + {_duration(b)} × B (one hidden layer of 32): up to "
        f"B ≈ {number(round(a / b) if b else np.inf)} larger batches make an example cheaper, beyond it hardly. "
        f"{_quality(laws.batch)}",
        f"**Products alone.** c0 + c1·B·P + c2·P with P parameters: {_written(laws.flops)}. {_quality(laws.flops)}",
        f"**All terms.** With L layers and U outputs and inputs of layers, an update takes {_written(laws.update)}. "
        f"{_quality(laws.update)}",
        f"**Examples.** An update does not depend on how many examples there are, but for finding its rows in memory; "
        f"a checkpoint looks at all of them: {_written(laws.checkpoint)}. {_quality(laws.checkpoint)}",
        f"**Replicas.** The same cell with R of them takes {_duration(more['1'])} + {_duration(more['x'])} "
        f"× R: a replica more costs {number(more['x'] / (more['1'] + more['x']))} of the first. "
        f"{_quality(laws.replicas)}",
    ]
    return [
        *text,
        "### What a cell takes, by these laws\n\nTraining alone; one cell, with everything that it writes, adds what "
        "stands under Cells.",
        _reckoner(laws),
        "### Cells that the laws have not seen",
        _unseen_table(found),
        "### Measured",
        _time_table(found),
    ]


RECKONED = [
    (Point("", 1800), 30),
    (Point("", 1800, replicas=10), 30),
    (Point("", 1800, 1, replicas=10), 30),
    (Point("", 1800, 512, replicas=10), 30),
    (Point("", 100_000, 64, (128, 128), 10), 10),
    (Point("", 1_000_000, 256, (64,), 3), 5),
]  # cells, and their epochs


def _reckoner(laws: Laws) -> str:
    header = ["a cell of N =", "B", "hidden", "R", "epochs", "takes about"]
    rows = [
        [p.n_examples, p.batch_size, _hidden(p), p.replicas, epochs, _duration(predict(p, laws, epochs))]
        for p, epochs in RECKONED
    ]
    return markdown_table(header, rows)


def _written(law: Law) -> str:
    """The terms with their unit, without those that are nothing."""
    return " + ".join(f"{_duration(value)}{'' if name == '1' else f' × {name}'}" for name, value in _terms(law))


def _duration(seconds: float) -> str:
    for size, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")):
        if seconds >= size:
            return f"{number(seconds / size)} {unit}"
    return f"{number(seconds * 1e12)} ps"


def _terms(law: Law) -> list[tuple[str, float]]:
    return [(name, value) for name, value in law.coefficients.items() if value > 0]


def _quality(law: Law) -> str:
    return f"(Off by {law.typical:.0%} at the median point, by {law.worst:.0%} at the worst.)"


def _time_table(found: Found) -> str:
    header = ["axis", "examples", "B", "hidden", "R", "P", "update, µs", "quartiles", "µs / example", "checkpoint, ms",
              "wall, s"]  # fmt: skip
    rows = []
    for point, timings in found.times.items():
        update = spread([t.update * 1e6 for t in timings])
        own = [point.axis, point.n_examples, point.batch_size, _hidden(point), point.replicas, point.n_params]
        rest = [update.median / point.batch_size, median(timings, "checkpoint") * 1e3, median(timings, "wall")]
        rows.append([*own, update.median, _range(update), *rest])
    return markdown_table(header, rows)


def _hidden(point: Point) -> str:
    return "×".join(map(str, point.hidden)) or "none"


def _range(values: Spread) -> str:
    return f"{number(values.q25)} .. {number(values.q75)}"


def _unseen_table(found: Found) -> str:
    header = ["examples", "B", "hidden", "R", "epochs", "predicted, s", "measured, s", "ratio"]
    rows = [
        [p.n_examples, p.batch_size, _hidden(p), p.replicas, UNSEEN_EPOCHS, guess, took, took / guess]
        for p, (guess, took) in found.unseen.items()
    ]
    return markdown_table(header, rows)


def _about_memory(found: Found) -> list[str]:
    by_examples = found.memory["examples"]
    data, splitting = (slope(by_examples, name, lambda p: p.n_examples) for name in ("data", "splitting"))
    return [
        "## Memory",
        f"**Data**, as it came and once more split and scaled, takes {number(data)} bytes per example of {N_INPUTS} "
        f"inputs and {N_CLASSES} classes, that is {number(data / FLOAT / (N_INPUTS + N_CLASSES))} times its inputs and "
        f"targets as the network takes them; splitting takes {number(splitting)} more for a moment.",
        "**Training** should take, on top of that, R × (k × P + m × (B + b)) floats: k = 3 (parameters, gradient, "
        "scratch) and one more for every array of the optimiser's state (momentum 1, adam 2); m = D + 2K + 2H + 1 with "
        "H hidden units in all (the batch's rows, activations, deltas); b is the short last batch of an epoch, which "
        "has arrays of its own. Besides, 8 bytes per training example and replica for the order, and for a moment the "
        f"outputs of the {number(PIECE)} examples that a stack evaluates at a time.",
        _verdict(slope(by_examples, "training", lambda p: p.n_train * p.replicas)),
        _memory_table(found),
        "**Result**: at the end all replicas look at the test set in one stack.",
        "A fresh process confirms it from outside (the peak of its resident memory, risen since a small cell):",
        _resident_table(found),
    ]


def _verdict(bytes_per_example: float) -> str:
    """Whether training allocates something that grows with the examples besides their order."""
    orders = bytes_per_example / INDEX
    if orders < 1.1:
        return "Nothing but the order grows with the number of examples: one per replica, up to the largest measured."
    return (
        f"Where one order of the examples per replica is in use, memory grows as if there were {number(orders)}: "
        "the next epoch's are drawn while the last ones are still kept."
    )


def _memory_table(found: Found) -> str:
    header = ["axis", "examples", "B", "hidden", "R", "P", "data, MB", "splitting, MB", "training, MB",
              "expected, MB", "ratio", "result, MB"]  # fmt: skip
    rows = []
    for axis, points in found.memory.items():
        for p, m in points.items():
            cell = [axis, p.n_examples, p.batch_size, _hidden(p), p.replicas, p.n_params]
            expected = found.expected[p]
            sizes = [m.data, m.splitting, m.training, expected]
            rows.append([*cell, *(s / MEGA for s in sizes), m.training / expected, m.result / MEGA])
    return markdown_table(header, rows)


def _resident_table(found: Found) -> str:
    traced = found.memory["examples"]
    rows = [
        [p.n_examples, value / MEGA, _peak(traced[p]) / MEGA if p in traced else np.nan]
        for p, value in found.resident.items()
    ]
    return markdown_table(["examples", "resident, MB", "traced, MB"], rows)


def _peak(memory: Memory) -> float:
    return memory.data + max(memory.splitting, memory.training, memory.result)


def _about_cells(found: Found) -> list[str]:
    law = cells_law(found.cells)
    rows = [[n, spread(s).median, _range(spread(s)), len(s)] for n, s in found.cells.items()]
    return [
        "## Cells",
        f"A sweep of cells that hardly train takes {_duration(law.coefficients['1'])} + "
        f"{_duration(law.coefficients['x'])} per cell, in a store that exists. {_quality(law)}",
        markdown_table(["cells", "wall seconds", "quartiles", "repeats"], rows),
    ]


def cells_law(cells: Mapping[int, Sequence[float]]) -> Law:
    return linear(list(cells), [float(np.median(seconds)) for seconds in cells.values()])


# What it shows.


def draw(found: Found, path: Path) -> None:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    from harness.plots import STYLE

    with rc_context({**STYLE, "axes.titlesize": 12.5, "axes.titleweight": "bold", "axes.titlelocation": "left"}):
        figure = Figure(figsize=(15.5, 8.6), dpi=130, layout="constrained")
        figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12, wspace=0.04, hspace=0.06)
        axes = figure.subplots(2, 3)
        for panel, own in zip(PANELS, axes.flat, strict=True):
            panel(own, found)
            own.margins(x=0.06)
        figure.savefig(path)


def _points(axes: "Axes", x: Sequence[float], values: Sequence[Spread], colour: int, label: str | None = None) -> None:
    """Medians with bars from quartile to quartile."""
    from harness.plots import COLOURS

    middle = np.array([v.median for v in values])
    bars = np.abs([[v.median - v.q25 for v in values], [v.q75 - v.median for v in values]])
    axes.errorbar(x, middle, bars, fmt="o", ms=6, lw=1.6, capsize=3, color=COLOURS[colour], label=label, zorder=3)


def _line(axes: "Axes", x: Sequence[float], y: Sequence[float], colour: int, **style: Any) -> None:
    from harness.plots import COLOURS

    axes.plot(x, y, color=COLOURS[colour], lw=1.8, alpha=0.75, **style)


def _finish(axes: "Axes", title: str, xlabel: str, ylabel: str, legend: bool = True) -> None:
    from harness.plots import log_scale

    axes.set(title=title, xlabel=xlabel, ylabel=ylabel)
    for axis, name in ((axes.xaxis, "x"), (axes.yaxis, "y")):
        log_scale(axes, name)
        axis.set_major_formatter(lambda value, place: number(value))
    if legend:
        axes.legend(fontsize=10)


def _on(times: Times, axis: str) -> list[Point]:
    return [point for point in times if point.axis == axis]


def _spreads(found: Found, points: Sequence[Point], value: Callable[[Point, Timing], float]) -> list[Spread]:
    return [spread([value(point, timing) for timing in found.times[point]]) for point in points]


def _panel_batch(axes: "Axes", found: Found) -> None:
    points, law = _on(found.times, "batch size"), found.laws.batch
    B = [p.batch_size for p in points]
    grid = np.geomspace(B[0], B[-1])
    predicted = np.array([law({"1": 1, "x": b}) for b in grid]) * 1e6
    _points(axes, B, _spreads(found, points, lambda p, t: t.update * 1e6), 0, "per update")
    _line(axes, grid, predicted, 0)
    _points(axes, B, _spreads(found, points, lambda p, t: t.update * 1e6 / p.batch_size), 1, "per example")
    _line(axes, grid, predicted / grid, 1)
    a, b = (law.coefficients[name] for name in ("1", "x"))
    _finish(axes, f"An update takes {_duration(a)} + {_duration(b)} × B", "batch size B, examples", "train clock, µs")


def _panel_parameters(axes: "Axes", found: Found) -> None:
    for colour, (axis, label) in enumerate((("width", "2 layers, wider"), ("depth", "64 wide, deeper"))):
        points = _on(found.times, axis)
        P = [p.n_params for p in points]
        _points(axes, P, _spreads(found, points, lambda p, t: t.update * 1e6), colour, label)
        _line(axes, P, [found.laws.update(update_terms(p)) * 1e6 for p in points], colour)
    _finish(axes, "Small nets cost by the layer, large by P", "parameters P (B = 64)", "train clock per update, µs")


def _panel_examples(axes: "Axes", found: Found) -> None:
    points = _on(found.times, "examples")
    N = [p.n_examples for p in points]
    _points(axes, N, _spreads(found, points, lambda p, t: t.checkpoint * 1e3), 1, "a checkpoint")
    _line(axes, N, [found.laws.checkpoint(checkpoint_terms(p)) * 1e3 for p in points], 1)
    _points(axes, N, _spreads(found, points, lambda p, t: t.update * 1e3), 0, "an update, B = 64")
    _line(axes, N, [found.laws.update(update_terms(p)) * 1e3 for p in points], 0)
    _finish(axes, "More data slows checkpoints, not updates", "examples N", "milliseconds")


def _panel_replicas(axes: "Axes", found: Found) -> None:
    points, law = _on(found.times, "replicas"), found.laws.replicas
    R = [p.replicas for p in points]
    grid = np.geomspace(R[0], R[-1])
    _points(axes, R, _spreads(found, points, lambda p, t: t.wall), 0, "one cell of R replicas")
    _line(axes, grid, [law({"1": 1, "x": r}) for r in grid], 0)
    _line(axes, grid, [law({"1": 1, "x": 1}) * r for r in grid], 1, ls="--", label="R cells of one replica")
    share = law.coefficients["x"] / (law.coefficients["1"] + law.coefficients["x"])
    _finish(axes, f"A replica more costs {share:.0%} of the first", "replicas R", "training, wall seconds")


def _panel_memory(axes: "Axes", found: Found) -> None:
    traced = found.memory["examples"]
    N = [p.n_examples for p in traced]
    for colour, (name, label) in enumerate((("data", "data, raw and scaled"), ("training", "training, on top"))):
        values = [spread([getattr(memory, name) / MEGA]) for memory in traced.values()]
        _points(axes, N, values, colour, label)
        law = linear(N, [v.median for v in values])
        _line(axes, N, [law({"1": 1, "x": n}) for n in N], colour)
    seen = [(p.n_examples, value / MEGA) for p, value in found.resident.items() if value > MEGA]
    if seen:
        axes.plot(*zip(*seen, strict=True), "D", ms=8, mfc="none", mew=1.6, color="black", label="a process, both")
    most = traced[max(traced, key=lambda p: p.n_examples)]
    share = most.training / most.data
    title = f"Training adds {share:.0%} to the memory of the data"
    _finish(axes, title, "examples N", "peak memory, MB")


def _panel_cells(axes: "Axes", found: Found) -> None:
    law, n = cells_law(found.cells), list(found.cells)
    _points(axes, n, [spread(seconds) for seconds in found.cells.values()], 0)
    grid = np.geomspace(n[0], n[-1])
    _line(axes, grid, [law({"1": 1, "x": k}) for k in grid], 0)
    a, b = law.coefficients["1"], law.coefficients["x"]
    title = f"A sweep takes {_duration(a)} + {_duration(b)} per cell"
    _finish(axes, title, "cells that hardly train", "the command, wall seconds", legend=False)


PANELS = (_panel_batch, _panel_parameters, _panel_examples, _panel_replicas, _panel_memory, _panel_cells)


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__.split("\n")[0])
    parser.add_argument("--short", action="store_true", help="fewer and smaller points, in less than a minute")
    parser.add_argument("--to", type=Path, default=DOCS, help="folder for scaling.csv, .md and .png")
    arguments = parser.parse_args(words)
    arguments.to.mkdir(parents=True, exist_ok=True)
    found = measure(SHORT if arguments.short else FULL)
    write_csv(arguments.to / "scaling.csv", found)
    draw(found, arguments.to / "scaling.png")
    (arguments.to / "scaling.md").write_text(report(found) + "\n", encoding="utf8")
    say(f"Written: scaling.csv, scaling.md and scaling.png in {arguments.to}")


if __name__ == "__main__":
    main()
