"""The whole measurement, and its numbers as a table."""

import csv
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from benchmarks import Spread, say, spread
from benchmarks.scaling.laws import Laws, Times, fit_laws, linear, predict
from benchmarks.scaling.memory import Memory, expected_training, resident, trace, widest_stack
from benchmarks.scaling.points import Plan, Point, configured, synthetic
from benchmarks.scaling.times import time_axis, time_cells, train_timed
from harness.training import Cell


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
