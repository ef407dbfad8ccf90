"""The paths of trainings over the contours of a cost surface, moving on several clocks: a page without a network."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]

CLOCKS = ("epochs", "updates", "seconds")
COLOURS = {1: "#D55E00", 64: "#009E73", 256: "#0072B2"}  # of the batch sizes
WIDTH, HEIGHT = 400, 320  # of a panel, in units of its drawing
FRAMES = 150


def animation(
    w: Array,
    b: Array,
    surface: Array,
    paths: Mapping[int, Array],
    clocks: Mapping[str, Mapping[int, Array]],
    start: Array,
) -> str:
    """A page in HTML.

    surface: (len(b), len(w)), the cost. paths: for each batch size its points (T, 2). clocks: for each clock and
    batch size what it shows at these points, (T,). start: where all paths begin.
    """
    values = {
        "width": WIDTH, "height": HEIGHT, "contours": _contours(w, b, surface), "start": _pixels(w, b, start),
        "ticks": {"w": _ticks(w, b, w, 0), "b": _ticks(w, b, b, 1)},
        "paths": [
            {"name": f"B = {B}{' = N' * (max(paths) == B)}", "colour": COLOURS[B], "points": _pixels(w, b, path)}
            for B, path in paths.items()
        ],
        "clocks": [_clock(name, clocks[name]) for name in CLOCKS],
    }  # fmt: skip
    page = Path(__file__).with_name("animation.html").read_text(encoding="utf8")
    return page.replace("{{ values }}", json.dumps(values))


def _clock(name: str, times: Mapping[int, Array]) -> dict[str, object]:
    """Of each frame the time, and for each path how many of its points have been reached.

    Time runs in equal factors, from the first update of any method to the last of all: each decade is as long.
    """
    frames = np.geomspace(min(t[1] for t in times.values()), max(t[-1] for t in times.values()), FRAMES)
    reached = [np.searchsorted(t, frames * (1 + 1e-9), side="right").tolist() for t in times.values()]
    done = [int(np.searchsorted(frames, t[-1] * (1 - 1e-9))) for t in times.values()]
    return {"name": name, "times": frames.tolist(), "reached": reached, "done": done}


def _pixels(w: Array, b: Array, points: Array) -> list[list[float]]:
    x = (points[..., 0] - w[0]) / (w[-1] - w[0]) * WIDTH
    y = (b[-1] - points[..., 1]) / (b[-1] - b[0]) * HEIGHT
    return np.stack([x, y], axis=-1).round(1).tolist()


def _ticks(w: Array, b: Array, values: Array, axis: int) -> list[list[float]]:
    """[place, value] of the whole numbers on an axis."""
    whole = np.arange(np.ceil(values[0]), np.floor(values[-1]) + 1, 1)
    points = np.zeros((len(whole), 2))
    points[:, axis] = whole
    return [[point[axis], float(value)] for point, value in zip(_pixels(w, b, points), whole, strict=True)]


def _contours(w: Array, b: Array, surface: Array) -> list[list[list[float]]]:
    """Lines of equal cost, each level above the lowest cost by the same factor more than the one before."""
    from contourpy import contour_generator

    lowest = surface.min()
    levels = lowest + np.geomspace(0.004, surface.max() - lowest, 13)[:-1]
    lines = contour_generator(w, b, surface)
    return [_pixels(w, b, line) for level in levels for line in lines.lines(level)]
