"""Sweeps with a law as users make them, drawn at random: of which the share of intervals that hold the truth is stated.

Laws that are chosen by hand can favour an interval: exponents of 0, ½ and 1 put the best rates of batch sizes that are
powers of 2 at the same place between two rates of the grid, so that the grid's errors cancel. Fixed before anything was
measured: nothing here is to be changed for what an interval does.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import numpy as np

from benchmarks.calibration.costs import SHAPES
from benchmarks.calibration.sweeps import NOISE, Truth

STEPS = {"2": (2.0,), "3 and 3.3 (1, 3, 10)": (3.0, 10 / 3), "10": (10.0,)}  # as people type them
BEYOND = (1, 2, 3)  # rates on either side of the best ones
SIZES = ((1, 8, 64, 512), (4, 16, 64, 256), (1, 4, 16, 64, 256, 1024))
REPLICAS = (6, 10, 20)
B_CRIT = (8.0, 128.0)  # inside all of these batch sizes
KINDS = tuple(kind for kind in NOISE if kind != "ties")
SPREAD = (0.05, 0.3)  # of a replica's own log X: digits to iris at best
X = TypeVar("X")


def met(seed: int) -> Truth:
    """The truth of sweep number `seed`. Its exponent is evenly distributed from 0 to 1, as is where the best rate lies
    between two of the grid; B_crit and the spread are evenly distributed on a log scale; the rest has equal chances.
    """
    rng = np.random.default_rng([seed, 2026])

    def one(several: Sequence[X]) -> X:
        return several[rng.integers(len(several))]

    sizes = one(SIZES)
    return Truth(
        sizes=sizes,
        rates=(1,) * len(sizes),
        beyond=one(BEYOND),
        steps=one(tuple(STEPS.values())),
        shape=one(tuple(SHAPES)),
        noise=one(KINDS),
        replicas=one(REPLICAS),
        power=rng.uniform(),
        b_crit=float(np.exp(rng.uniform(*np.log(B_CRIT)))),
        spread=float(np.exp(rng.uniform(*np.log(SPREAD)))),
        between=True,
    )


def rows() -> dict[str, Callable[[Truth], bool]]:
    """Name of a row of the table -> which truths it counts."""
    found: dict[str, Callable[[Truth], bool]] = {"all": lambda truth: True}
    steps = {f"learning rates in steps of {name}": each for name, each in STEPS.items()}
    found |= {name: partial(_has, "shape", name) for name in SHAPES}
    found |= {name: partial(_has, "steps", each) for name, each in steps.items()}
    found |= {f"learning rates beyond the best ones: {n}": partial(_has, "beyond", n) for n in BEYOND}
    found |= {f"{n} replicas": partial(_has, "replicas", n) for n in REPLICAS}
    return found | {f"replicas: {kind}": partial(_has, "noise", kind) for kind in KINDS}


def _has(name: str, value: object, truth: Truth) -> bool:
    return bool(getattr(truth, name) == value)
