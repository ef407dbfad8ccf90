"""How figures look: colours, marks and sizes of letters, numbers and names; the same for one thing in every figure."""

import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.config import ConfigError

if TYPE_CHECKING:
    from matplotlib.lines import Line2D

# Okabe & Ito's colours, which readers with any colour vision tell apart; black is left to axes and references.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D31")
DIVERGED = "X"  # the marker
MARKS = "osD^vP*<>dhp"  # markers of lines, beside their colours
# Where sum and mean coincide, the small mark and the thin bar lie on the large ones and both are seen.
REDUCTIONS: dict[str, dict[str, Any]] = {
    "mean": {"color": COLOURS[0], "marker": "o", "markersize": 9},
    "sum": {"color": COLOURS[1], "marker": "D", "markersize": 4.5},
}
BARS: dict[str, dict[str, Any]] = {"mean": {"lw": 3, "alpha": 0.45}, "sum": {"lw": 1.4}}
TITLE, SMALL = 13, 10  # points
WORD = re.compile(r'(?:"(?:\\.|[^"\\])*"|\S)+')  # of a name; a space within quotation marks does not end it
STYLE = {
    "text.parse_math": False,  # a $ in a name is a $
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.titlepad": 8.5,  # above marks on the upper edge
    "axes.titley": 1.0,  # a fixed place: matplotlib finds one by measuring every tick label
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "figure.dpi": 110,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
}


@contextmanager
def styled() -> Iterator[None]:
    """Decorates a function that draws: the harness's style holds, not the user's settings."""
    _import_matplotlib()
    from matplotlib import rc_context

    with rc_context(STYLE):
        yield


def _import_matplotlib() -> None:
    """Also where the environment names a backend that matplotlib refuses: figures are made without pyplot.

    A backend that it takes stays that of a notebook. Raises ConfigError for settings that are no text; matplotlib would
    be imported by half.
    """
    if "matplotlib" in sys.modules:
        return
    for path in (Path("matplotlibrc"), Path(os.environ.get("MATPLOTLIBRC") or ".")):
        _check_text(path / "matplotlibrc" if path.is_dir() else path)
    backend = os.environ.pop("MPLBACKEND", "")
    import matplotlib

    if backend:
        os.environ["MPLBACKEND"] = backend
        with suppress(ValueError):
            matplotlib.rcParams["backend"] = backend


def _check_text(path: Path) -> None:
    try:
        path.read_text(encoding="utf8")
    except UnicodeError as error:
        raise ConfigError(
            "matplotlibrc", "settings as text in UTF-8 (or move the file elsewhere)", str(path)
        ) from error
    except OSError:  # there is none, or matplotlib may not read it either and goes on to the next
        pass


def palette(n: int) -> list[Any]:
    """The named colours while they suffice, then a ramp that ends before yellow, which is pale on white."""
    if n <= len(COLOURS):
        return list(COLOURS[:n])
    from matplotlib import colormaps

    return [colormaps["viridis"](0.85 * i / (n - 1)) for i in range(n)]


def key(label: str, **style: Any) -> "Line2D":
    """An entry of a figure's key: a line or a mark in the style of what it names."""
    from matplotlib.lines import Line2D

    return Line2D([], [], label=f" {label}" if label.startswith("_") else label, **style)  # else _... is left out


def plain(value: float, _: Any = None) -> str:
    """0.00001, 0.3, 512, 20k, 3M; 1e-12 or 1e+12 where nobody counts the zeros. The second argument is matplotlib's."""
    if 1e4 <= value < 1e9:
        return f"{value / 1e6:g}M" if value >= 1e6 else f"{value / 1e3:g}k"
    return np.format_float_positional(value, 3, fractional=False, trim="-") if 9e-6 <= value < 1e-4 else f"{value:g}"


def apart(values: Iterable[float]) -> dict[float, str]:
    """A text for each value: six digits, or as many as make different values different."""
    different, texts = set(values), dict[float, str]()
    for digits in range(6, 18):
        texts = {value: f"{value:.{digits}g}" for value in different}
        if len(set(texts.values())) == len(different):
            break
    return texts


def two_digits(value: float) -> str:
    return plain(float(f"{value:.2g}")) if np.isfinite(value) else "∞"


def short_names(names: Sequence[str], most: int) -> list[str]:
    """The names without the words that all share, of `most` letters; longer where different names would be equal."""
    shared = set.intersection(*(set(WORD.findall(name)) for name in names)) if len(names) > 1 else set()
    own = [" ".join(word for word in WORD.findall(name) if word not in shared) or name for name in names]
    own = own if len(set(own)) == len(set(names)) else list(names)
    part = (most - 3) // 2
    short = [name if len(name) <= most else f"{name[:part]} … {name[-part:]}" for name in own]
    return short if len(set(short)) == len(set(own)) else own
