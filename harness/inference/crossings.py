"""Where a curve over batch sizes first comes above a level, and how surely: bounds, and limits made of them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.inference.intervals import Array, Interval, percentile_interval


def crossing(sizes: Array, ratios: Array, level: float) -> Array:
    """(2, K): bounds of where each row of ratios (K, C) over sizes (C,) is first above the level.

    Both the same, by straight lines, where the next ratio is finite. Where it is infinite, the size before it and its
    own: how fast the ratio rises between them is not known. The largest size and +inf where no ratio is above.
    """
    above, row = ratios > level, np.arange(len(ratios))
    after = np.clip(above.argmax(axis=1), 1, len(sizes) - 1)
    low, high = ratios[row, after - 1], ratios[row, after]
    with np.errstate(invalid="ignore", divide="ignore"):
        part = np.where(low > level, 0, np.clip((level - low) / (high - low), 0, 1))
    found = sizes[after - 1] + part * (sizes[after] - sizes[after - 1])
    last = np.where(np.isinf(high) & (low <= level), sizes[after], found)
    nowhere = ~above.any(axis=1)
    return np.array([np.where(nowhere, sizes[-1], found), np.where(nowhere, np.inf, last)])


def ratio_of_bounds(a: Array, b: Array) -> Array:
    """(2, K): bounds of a/b, from bounds (2, K) of each."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.array([a[0] / b[1], a[1] / b[0]])


def bounded_interval(bounds: Array) -> Interval:
    """The central 95 % of draws of which only bounds (2, K + 1) are known, wherever in them the draws lie.

    The first draw is that of all replicas: the estimate is the middle of its bounds, or its lower one if the other is
    infinite.
    """
    (low, high), draws = bounds[:, 0], bounds[:, 1:]
    estimate = (low + high) / 2 if np.isfinite(high) else low
    lowest, highest = (percentile_interval(estimate, own) for own in draws)
    return Interval(float(estimate), lowest.low, highest.high)


@dataclass(frozen=True, eq=False)
class Slowdown:
    """How many times as much each batch size needs as the smallest one: sizes (C,), draws (K + 1, C), at_edge (C,).

    draws: of all replicas that report, then of these drawn anew, the same ones in every curve; +inf: it never gets
    there. at_edge: whether the learning rate that the other replicas chose is on the edge of its grid.
    """

    sizes: Array
    draws: Array
    at_edge: NDArray[np.bool_]

    @property
    def ratios(self) -> list[Interval]:
        return [percentile_interval(float(own[0]), own[1:]) for own in self.draws.T]

    def edges(self, level: float) -> list[str]:
        """The sizes, up to the first above the level, whose best rate is on the edge of its grid."""
        above = self.draws[0] > level
        last = int(above.argmax()) if above.any() else len(above)
        return [f"B={B:g}" for B, edge in zip(self.sizes[: last + 1], self.at_edge, strict=False) if edge]

    def crossing(self, level: float) -> Array:
        """(2, K + 1): bounds of the size at which the level is crossed; NaN if there are `edges`."""
        return crossing(self.sizes, self.draws, level) * (np.nan if self.edges(level) else 1)
