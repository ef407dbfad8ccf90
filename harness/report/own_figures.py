"""Figures of the user's own: extensions/figures/NAME.py, or those of installed packages, drawn for every sweep."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from harness.analysis import Answer, SweepData
from harness.network import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIGURES: Table[Callable[[SweepData, Answer], Any]] = Table("figures", {}, callable, "a function of (data, answer)")


def own_figures(
    data: SweepData, found: Answer, tell: Callable[[str], None], made: "Callable[[Figure], Any]" = lambda figure: figure
) -> dict[str, Any]:
    """Name -> what is made of each figure. One that fails, or of which nothing can be made, costs itself and is told
    of; one that is None does not suit the sweep.
    """
    from matplotlib.figure import Figure

    every = dict[str, Any]()
    for name in FIGURES.names():
        try:
            figure = FIGURES[name](data, found)
            if not isinstance(figure, Figure | None):
                raise TypeError(f"expected a matplotlib Figure or None, got {type(figure).__name__}")
            every |= {name: made(figure)} if figure is not None else {}
        except Exception as error:
            tell(f"the figure {name} was left out: {' '.join(f'{type(error).__name__}: {error}'.split())[:300]}")
    return every
