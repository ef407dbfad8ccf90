"""What was found, as a figure of six panels."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import Spread, number, spread
from benchmarks.scaling.laws import Times, checkpoint_terms, linear, update_terms
from benchmarks.scaling.measurement import Found
from benchmarks.scaling.points import MEGA, Point
from benchmarks.scaling.report import _duration, cells_law
from benchmarks.scaling.times import Timing

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw(found: Found, path: Path) -> None:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    from harness.report import STYLE

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
    from harness.report import COLOURS

    middle = np.array([v.median for v in values])
    bars = np.abs([[v.median - v.q25 for v in values], [v.q75 - v.median for v in values]])
    axes.errorbar(x, middle, bars, fmt="o", ms=6, lw=1.6, capsize=3, color=COLOURS[colour], label=label, zorder=3)


def _line(axes: "Axes", x: Sequence[float], y: Sequence[float], colour: int, **style: Any) -> None:
    from harness.report import COLOURS

    axes.plot(x, y, color=COLOURS[colour], lw=1.8, alpha=0.75, **style)


def _finish(axes: "Axes", title: str, xlabel: str, ylabel: str, legend: bool = True) -> None:
    from harness.report import log_axis

    axes.set(title=title, xlabel=xlabel, ylabel=ylabel)
    for axis, name in ((axes.xaxis, "x"), (axes.yaxis, "y")):
        log_axis(axes, name)
        axis.set_major_formatter(lambda value, place: _short(value))
    if legend:
        axes.legend(fontsize=10)


def _short(value: float) -> str:
    """3,000, 300k, 1M: longer numbers of an axis would touch."""
    if value >= MEGA:
        return f"{number(value / MEGA)}M"
    return f"{number(value / 1e3)}k" if value >= 1e4 else number(value)


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
    _finish(axes, title, "cells that hardly train (more than 12)", "the command, wall seconds", legend=False)


PANELS = (_panel_batch, _panel_parameters, _panel_examples, _panel_replicas, _panel_memory, _panel_cells)
