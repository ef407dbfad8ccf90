"""What cells allocate, and what they should."""

import gc
import resource
import sys
import tracemalloc
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from benchmarks.scaling.points import FLOAT, INDEX, Point, configured, synthetic
from harness.network import OPTIMIZERS, PIECE
from harness.training import Cell


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


def copies_of_parameters(optimizer: str) -> int:
    """k: parameters, gradient, scratch and the optimiser's state."""
    return 3 + OPTIMIZERS[optimizer].n_slots


def floats_per_example(sizes: Sequence[int]) -> int:
    """m: of every example of a batch its row (D + K), all activations, the deltas of the hidden layers, and a one."""
    return sizes[0] + sizes[-1] + sum(sizes[1:]) + sum(sizes[1:-1]) + 1


def expected_training(point: Point, widest: int) -> float:
    """Bytes: R k P floats, R orders of the examples, and what the `widest` stack, whose turn it is, needs for a moment.

    That is a batch and a pass over it, m B floats per replica; of a piece that is evaluated the outputs of all layers,
    where these are more; and four arrays as wide as the outputs for its costs, or the parameters at the end.
    """
    R, P, B, N = point.replicas, point.n_params, min(point.batch_size, point.n_train), point.n_train
    rows, D, K = min(PIECE, N), point.sizes[0], point.sizes[-1]
    in_pass = floats_per_example(point.sizes) - D - K
    passes = widest * (B * (D + K) + max(B * in_pass, rows * point.n_units))
    moment = max(widest * max(rows, B) * 4 * K, R * P)
    return FLOAT * (R * copies_of_parameters(point.optimizer) * P + passes + moment) + INDEX * R * N


def widest_stack(point: Point) -> int:
    cell = Cell(configured(point), synthetic(point.n_examples))
    return max(len(stack.replicas) for stack in cell.stacks())
