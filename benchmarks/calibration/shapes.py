"""Intervals of fits, drawn without sweeps, which is cheap: costs over learning rates of several shapes, around a known
best rate; updates to target that follow a known law.
"""

from typing import NamedTuple
from zlib import crc32

import numpy as np

from benchmarks.calibration.costs import SHAPES as COSTS
from benchmarks.calibration.sweeps import NOISE as KINDS
from benchmarks.calibration.sweeps import S_MIN, Truth
from harness.inference import Exponent, Status, fit_batch_scaling, scaling_exponent

SIZES = (1, 8, 64, 512)
STEP = 3.0  # from one learning rate to the next
NOISE = 0.1  # standard deviation of a replica's log cost, in all cells and in each, and of its log η*, in each
PARABOLA, FEW, ANY = "parabola", "parabola, three learning rates", "any of the other shapes, three learning rates"
SHAPES = {PARABOLA: 4, FEW: 1, **dict.fromkeys(COSTS, 4), ANY: 1}  # learning rates on either side of the best


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
    others = [name for name in COSTS if name != PARABOLA]
    name = others[rng.integers(len(others))] if shape == ANY else PARABOLA if shape == FEW else shape
    log_cost, beyond = COSTS[name], SHAPES[shape]
    first, common = rng.uniform() * np.log(STEP), NOISE * rng.normal(size=replicas)
    grids = {}
    for B in SIZES:
        best = first + power * np.log(B)
        log_rates = np.log(STEP) * (round(best / np.log(STEP)) + np.arange(-beyond, beyond + 1))
        of_rate, of_cost = NOISE * rng.normal(size=(2, len(log_rates), replicas))
        costs = np.exp(log_cost(log_rates[:, None] - best + of_rate) + of_cost + common)
        grids[float(B)] = dict(zip(np.exp(log_rates).tolist(), costs, strict=True))
    return scaling_exponent(grids, rng)
