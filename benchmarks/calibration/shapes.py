"""Intervals of fits, drawn without sweeps, which is cheap: costs over learning rates of several shapes, around a known
best rate; updates to target that follow a known law.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

import numpy as np

from benchmarks.calibration.sweeps import NOISE as KINDS
from benchmarks.calibration.sweeps import S_MIN, Truth
from harness.inference import Exponent, Status, fit_batch_scaling, scaling_exponent

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.floating]

SIZES = (1, 8, 64, 512)
STEP = 3.0  # from one learning rate to the next
NOISE = 0.1  # standard deviation of a replica's log cost, in all cells and in each, and of its log η*, in each
SHAPES: "dict[str, tuple[int, Callable[[Array], Array]]]" = {  # rates on either side; log cost over log η
    "parabola": (4, lambda d: 0.3 * d**2),
    "parabola, three learning rates (its shape is unknown)": (1, lambda d: 0.3 * d**2),
    "smooth, lopsided (exponential − straight line)": (4, lambda d: 0.5 * (np.exp(np.minimum(d, 20)) - d - 1)),
    "flat between walls (fourth power)": (4, lambda d: 0.05 * d**4),
    "kink, falls as it rises": (4, np.abs),
    "kink, rises 4 times as steeply": (4, lambda d: np.where(d > 0, 2 * d, -0.5 * d)),
    "kink, rises 8 times as steeply": (4, lambda d: np.where(d > 0, 8 * d, -d)),
    "falls, then diverges": (4, lambda d: np.where(d > 0, np.inf, -0.5 * d)),
}


def law_inside(truth: Truth, seed: int) -> tuple[bool, bool] | None:
    """Whether the intervals of one fit hold B_crit and S_min; None: it is not resolved, so not shown."""
    rng, B = np.random.default_rng([seed, crc32(repr(truth).encode())]), np.array(truth.sizes, dtype=float)
    assert truth.b_crit
    noise, shape = KINDS[truth.noise], (len(B), truth.replicas)
    log_updates = np.log(S_MIN * (1 + truth.b_crit / B))[:, None] + truth.common * noise(rng, truth.replicas)
    updates = np.exp(log_updates + truth.spread * noise(rng, shape))
    fit = fit_batch_scaling(B, np.where(rng.random(shape) < truth.lost, np.inf, updates), rng)
    return (truth.b_crit in fit.b_crit, truth.s_min in fit.s_min) if fit.status is Status.RESOLVED else None


class Drawn(NamedTuple):
    """Whether an interval holds the exponent, and its width; None: not resolved, so not shown."""

    inside: bool | None
    width: float


def drawn(shape: str, replicas: int, seed: int) -> Drawn:
    """The exponent is drawn from 0 to 1, and where the first best rate lies between two of the grid."""
    rng = np.random.default_rng([seed, replicas, list(SHAPES).index(shape)])
    power = rng.uniform()
    found = _exponent(shape, power, replicas, rng)
    if found.status is not Status.RESOLVED:
        return Drawn(None, np.nan)
    return Drawn(power in found.p, found.p.high - found.p.low)


def _exponent(shape: str, power: float, replicas: int, rng: np.random.Generator) -> Exponent:
    beyond, log_cost = SHAPES[shape]
    first, common = rng.uniform() * np.log(STEP), NOISE * rng.normal(size=replicas)
    grids = {}
    for B in SIZES:
        best = first + power * np.log(B)
        log_rates = np.log(STEP) * (round(best / np.log(STEP)) + np.arange(-beyond, beyond + 1))
        of_rate, of_cost = NOISE * rng.normal(size=(2, len(log_rates), replicas))
        costs = np.exp(log_cost(log_rates[:, None] - best + of_rate) + of_cost + common)
        grids[float(B)] = dict(zip(np.exp(log_rates).tolist(), costs, strict=True))
    return scaling_exponent(grids, rng)
