"""Shapes of a cost over the learning rate: its logarithm by the distance from the best rate, in log η; 0 there."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.floating]

BOWL = 0.3  # of log cost over the square of log η
SHAPES: "dict[str, Callable[[Array], Array]]" = {
    "parabola": lambda d: BOWL * d**2,
    "smooth, lopsided (exponential − straight line)": lambda d: 0.5 * (np.exp(np.minimum(d, 20)) - d - 1),
    "flat between walls (fourth power)": lambda d: 0.05 * d**4,
    "kink, falls as it rises": np.abs,
    "kink, rises 4 times as steeply": lambda d: np.where(d > 0, 2 * d, -0.5 * d),
    "kink, rises 8 times as steeply": lambda d: np.where(d > 0, 8 * d, -d),
    "falls, then diverges": lambda d: np.where(d > 0, np.inf, -0.5 * d),
}
