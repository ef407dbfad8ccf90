"""Labels that do not overlap: under the ticks of an axis, and beside the ends of lines."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from harness.report.style import apart, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LETTER, GAP = 0.093, 0.06  # inches: width of a letter of a tick, and between two labels of ticks
LONG = 7  # letters of the text of a tick
MOST_ROWS = 24  # values with labels in two rows
ROW = 0.17  # inches: height of a row of labels of ticks or of lines
NAME, NAME_LETTER = 10, 0.081  # points: letters beside lines, and the width of one in inches
MOST_ENDS, LONGEST = 12, 24  # labels beside a panel, and letters of one


class End(NamedTuple):
    """Where a line ends, in units of the axes, and its name."""

    x: float
    y: float
    name: str
    colour: str


def value_ticks(axes: "Axes", name: str, values: Iterable[float], places: Iterable[float] | None = None) -> None:
    """Ticks of axis x or y at those of these values whose labels have room; limits and scale are final.

    Labels of x stand in two rows where one is too short, unless the values are many; the largest always has a label.
    places: of the values on the axis, where they are not the values.
    """
    values = sorted(set(values))
    at = np.array(values if places is None else sorted(places), dtype=float)
    column = 0 if name == "x" else 1
    inches = _inches(axes)[column] * (axes.transData - axes.transAxes).transform(np.column_stack([at, at]))[:, column]
    texts = [_text(value) for value in values]
    texts = texts if len(set(texts)) == len(texts) else [*map(apart(values).__getitem__, values)]
    sizes = [LETTER * len(text) + GAP for text in texts] if name == "x" else [ROW] * len(texts)
    n_rows = 2 if name == "x" and len(values) <= MOST_ROWS else 1
    shown = _rows(inches, texts, sizes, n_rows)
    kept = [i for i, text in enumerate(shown) if text]
    (axes.set_xticks if name == "x" else axes.set_yticks)(at[kept], [shown[i] for i in kept])


def _text(value: float) -> str:
    """A whole number in full, another one with three digits, or two where it would be long: 16512, 0.0316, 0.00028."""
    text = f"{int(value)}" if float(value).is_integer() and value < 1e6 else plain(float(f"{value:.3g}"))
    return text if len(text) <= LONG else f"{value:.2g}"


def _inches(axes: "Axes") -> "np.ndarray":
    """Width and height."""
    return np.array(axes.bbox.size) / axes.figure.dpi


def _rows(places: "np.ndarray", texts: Sequence[str], sizes: Sequence[float], n_rows: int) -> list[str]:
    """The texts, from the last one on each in the first row that has room, empty where none has; all in inches."""
    free, shown = [np.inf] * n_rows, [""] * len(texts)
    for i in reversed(range(len(texts))):
        row = next((r for r in range(n_rows) if places[i] + sizes[i] / 2 <= free[r]), None)
        if row is not None:
            free[row], shown[i] = places[i] - sizes[i] / 2, "\n" * row + texts[i]
    return shown


def margin(names: Iterable[str]) -> float:
    """Inches that `end_labels` needs beside the axes; 0 for a single name, for too many or too long ones."""
    names = list(names)
    widest = max(map(len, names), default=0)
    return 0.25 + NAME_LETTER * widest if 1 < len(names) <= MOST_ENDS and widest <= LONGEST else 0.0


def end_labels(axes: "Axes", ends: Sequence[End], right_of: float = 0.0) -> None:
    """Names beside the right edge, level with the ends of their lines or as near as they do not overlap.

    A dotted line leads from an end to its name. The limits of the axes are final. right_of: part of the width, from
    the left, in which ends have no name.
    """
    to_axes = axes.transData - axes.transAxes
    ends = [end for end in ends if to_axes.transform((end.x, end.y))[0] >= right_of]
    if not ends:
        return
    places = to_axes.transform([(end.x, end.y) for end in ends]).clip(0, 1)
    levels = spread(places[:, 1], ROW / _inches(axes)[1], 0, 1)
    for end, place, level in zip(ends, places, levels, strict=True):
        leader = {
            "arrowstyle": "-",
            "color": end.colour,
            "lw": 1,
            "ls": ":",
            "shrinkA": 0,
            "shrinkB": 0,
            "relpos": (0, 0.5),
        }
        axes.annotate(
            end.name, place, (1.03, level), "axes fraction", va="center", fontsize=NAME, arrowprops=leader,
            annotation_clip=False,
        )  # fmt: skip


def spread(places: "np.ndarray", gap: float, low: float, high: float) -> "np.ndarray":
    """The places, `gap` apart in the same order, from low to high; the largest move is as small as possible.

    They lie beyond `high` where they have no room.
    """
    order, steps = np.argsort(places, kind="stable"), gap * np.arange(len(places))
    free = places[order] - steps  # which may be equal, and have to rise: between what pushes up and what pushes down
    pushed = np.maximum.accumulate(free), np.minimum.accumulate(free[::-1])[::-1]
    apart = np.mean(pushed, axis=0).clip(low, max(low, high - steps[-1])) + steps
    return apart[np.argsort(order, kind="stable")]
