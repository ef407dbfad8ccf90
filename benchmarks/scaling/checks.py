"""What must hold on any machine, however slow or busy: memory by its formula, and ratios of times, with much room."""

from collections.abc import Iterator

from benchmarks.scaling.laws import Times, median
from benchmarks.scaling.measurement import Found
from benchmarks.scaling.memory import Memory

SLACK = 200_000  # bytes of whatever is small and counted nowhere


def broken(found: Found) -> Iterator[str]:
    """A line for everything that does not hold."""
    for points in found.memory.values():
        for point, memory in points.items():
            limit = 1.1 * found.expected[point] + SLACK
            if max(memory.training, memory.result) > limit:
                yield f"{point}: training takes {_peak(memory):,.0f} bytes, the formula says {limit:,.0f} at most"
    examples, sizes, replicas = (_ratio(found.times, axis, of) for axis, of in RATIOS)
    if examples > 4:
        yield f"an update takes {examples:.1f} times as long where there are ten times the examples"
    if sizes > 0.5 * _growth(found.times, "batch size"):
        yield f"the largest batch takes {sizes:.0f} times as long as the smallest: an example is hardly cheaper in it"
    if replicas > 1.5 * _growth(found.times, "replicas"):
        yield f"a cell of many replicas takes {replicas:.1f} times as long as one of one: longer than one by one"


RATIOS = (("examples", "update"), ("batch size", "update"), ("replicas", "wall"))


def _peak(memory: Memory) -> float:
    return max(memory.training, memory.result)


def _ratio(times: Times, axis: str, name: str) -> float:
    """How many times as long the last point of an axis takes as the first."""
    points = [point for point in times if point.axis == axis]
    return median(times[points[-1]], name) / median(times[points[0]], name)


def _growth(times: Times, axis: str) -> float:
    """How many times as much there is to do."""
    points = [point for point in times if point.axis == axis]
    name = {"batch size": "batch_size"}.get(axis, axis)
    return getattr(points[-1], name) / getattr(points[0], name)
