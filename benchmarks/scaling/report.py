"""What was found, in words and tables."""

from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks import Spread, machine, markdown_table, number, spread
from benchmarks.scaling.laws import Law, Laws, linear, median, predict
from benchmarks.scaling.measurement import UNSEEN_EPOCHS, Found, slope
from benchmarks.scaling.memory import PIECE, Memory
from benchmarks.scaling.points import FLOAT, INDEX, MEGA, N_CLASSES, N_INPUTS, Point


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
            "point lies above its line. The expected memory leaves out small temporaries.",
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
        f"a checkpoint evaluates all of them: {_written(laws.checkpoint)}. {_quality(laws.checkpoint)}",
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
        "**Training** should take, on top of that, R × k × P + S × m × B floats: k = 3 (parameters, gradient, scratch) "
        "and one more for every array of the optimiser's state (momentum 1, adam 2); S the replicas of the widest "
        "stack, as stacks take turns in the same memory; m = D + 2K + 2H + 1 with H hidden units in all (the batch's "
        "rows, activations, deltas). Besides, 8 bytes per training example and replica for the order, which every "
        f"epoch writes over (four would do, but NumPy gathers and shuffles 64-bit numbers faster); and, where a batch "
        f"is smaller, the outputs of the {number(PIECE)} examples that a stack evaluates at a time.",
        _verdict(slope(by_examples, "training", lambda p: p.n_train * p.replicas)),
        _memory_table(found),
        "**Result**: at the end the replicas look at the test set, stack by stack in the same memory.",
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
        "something else grows with the examples."
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
        f"A sweep of more than 12 cells that hardly train (fewer have figures each) takes "
        f"{_duration(law.coefficients['1'])} + {_duration(law.coefficients['x'])} per cell, in a store that exists. "
        f"{_quality(law)}",
        markdown_table(["cells", "wall seconds", "quartiles", "repeats"], rows),
    ]


def cells_law(cells: Mapping[int, Sequence[float]]) -> Law:
    return linear(list(cells), [float(np.median(seconds)) for seconds in cells.values()])
