"""Sweeps drawn from a known truth: the tables that training would leave, without training.

A replica's cost falls as START · 10^(−log2(1 + x/X)), with x what it has spent of a clock and X what it needs until a
tenth of START. Cells with one X are equal on that clock, whatever their batch size, and differ on the others.
"""

from dataclasses import dataclass, field, replace
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.calibration.costs import SHAPES
from harness.analysis import SweepCell, SweepData, sweep_data
from harness.analysis.sweep_tables import LOOKS
from harness.training import Identity, Plan
from harness.training.timing import FEWEST_BLOCKS, MOST_BLOCKS

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    Array = NDArray[np.floating]

START, N_TRAIN, S_MIN = 2.0, 1024, 200.0
CHECKPOINTS = np.r_[0, np.geomspace(0.15, 4, 19)]  # in units of X at the best learning rate
STEP = 8**0.5  # from one learning rate to the next
OUTER = 1.5  # factor of the cost at the smallest and the largest of three learning rates or more
OPTIMIZERS = ("sgd", "momentum", "nesterov")
PARAMS = {
    "dataset.name": "drawn", "optimizer.weight_decay": 0.0, "optimizer.clip_norm": None, "last_batch": "keep",
    "target": None, "target_on": "train", "seed": 0,
}  # fmt: skip
NOISE = {  # each with a median of 0
    "normal": lambda rng, size: rng.normal(size=size),
    "heavy tails": lambda rng, size: rng.standard_t(2, size=size),
    "skewed": lambda rng, size: rng.exponential(size=size) - np.log(2),
    "ties": lambda rng, size: rng.integers(-1, 2, size=size).astype(float),
}
MEAN = {"skewed": 1 - np.log(2)}  # of noise, where it is not 0


@dataclass(frozen=True)
class Truth:
    """What sweeps are drawn from.

    sizes: batch sizes, each with so many learning rates. looks: numbers of replicas at which seeds=auto tests. All
    cells need the same X of the clock `equal_on`, and costs of the first batch size (of the first optimizer, where
    there are several) are `effect` times as high. spread, common: standard deviations of the log cost of a replica, its
    own in each cell and what it has in all cells, distributed as `noise`; first_noise: its own at the first batch size,
    if that is not alike. twins: sum and mean are one training. lost, zero: the probability that a replica diverges,
    that it ends at a cost of 0. block_error, cell_error: standard deviations of the log of a reading of the clock,
    drawn for each block, and once for each cell.
    b_crit: if given, updates to target are S_MIN (1 + b_crit/B) at the best learning rate, which is ∝ B^power; spread
    and common are then those of log X. between: best rates lie between two of the grid, where that falls. steps: from
    one learning rate to the next, repeated. shape: of log X over log η, one of SHAPES. beyond: if given, all batch
    sizes have one grid, with so many rates below the lowest best one and above the highest.
    """

    sizes: tuple[int, ...] = (8, 64)
    rates: tuple[int, ...] = (4, 4)
    replicas: int = 10
    looks: tuple[int, ...] = ()
    equal_on: str = "epochs"
    reductions: tuple[str, ...] = ("mean",)
    optimizers: int = 1
    effect: float = 1.0
    spread: float = 0.1
    common: float = 0.1
    noise: str = "normal"
    first_noise: str = ""
    twins: bool = False
    lost: float = 0.0
    zero: float = 0.0
    block_error: float = 0.05
    cell_error: float = 0.0
    b_crit: float | None = None
    power: float = 0.5
    between: bool = False
    steps: tuple[float, ...] = field(default=(STEP,), repr=False)  # the repr is what random numbers depend on
    shape: str = field(default="parabola", repr=False)
    beyond: int | None = field(default=None, repr=False)

    @property
    def s_min(self) -> float:
        """Of geometric means over replicas."""
        return S_MIN * float(np.exp((self.spread + self.common) * MEAN.get(self.noise, 0)))


@dataclass(frozen=True)
class TrueCell:
    """A cell of the grid. learning_rate: as lr_mean. trained: updates. needed: X in updates, +inf where all replicas
    diverge. factor: of the cost.
    """

    batch_size: int
    learning_rate: float
    reduction: str
    optimizer: str
    trained: float
    needed: float
    factor: float

    @property
    def name(self) -> str:
        return f"{self.optimizer} {self.batch_size} {self.learning_rate!r} {self.reduction}"

    def log_cost(self, clock: str, spent: float) -> float:
        """When so much of a clock is spent, if there were no noise."""
        return float(_log_fall(spent / per_update(clock, self.batch_size) / self.needed) + np.log(self.factor))


def per_update(clock: str, batch_size: int) -> float:
    """What an update takes of a clock."""
    return {"epochs": batch_size / N_TRAIN, "updates": 1.0, "train seconds": 4e-5 + 1e-6 * batch_size}[clock]


def _log_fall(x: "Array | float") -> "Array":
    return np.log(START) - np.log(10) * np.log2(1 + np.asarray(x))


def log_rate(truth: Truth, place: int) -> float:
    """Of the grid that all learning rates are taken from."""
    cycles, rest = divmod(place, len(truth.steps))
    return float(np.log(0.01) + cycles * np.log(truth.steps).sum() + np.log(truth.steps[:rest]).sum())


def true_cells(truth: Truth, rng: np.random.Generator) -> list[TrueCell]:
    """rng: where the best learning rates lie between two of a grid."""
    found, offset = [], rng.uniform() if truth.between else 0.0
    least = np.log(0.01) + offset * np.log(truth.steps).sum()
    bests = [least + truth.power * np.log(B) for B in truth.sizes]
    nearest = [min(range(-9, 99), key=lambda place, best=best: abs(log_rate(truth, place) - best)) for best in bests]
    for (v, name), (i, B) in product(enumerate(OPTIMIZERS[: truth.optimizers]), enumerate(truth.sizes)):
        n, first = truth.rates[i], (v if truth.optimizers > 1 else i) == 0
        places = range(nearest[i] - n // 2, nearest[i] - n // 2 + n)
        if truth.beyond is not None:
            places = range(min(nearest) - truth.beyond, max(nearest) + truth.beyond + 1)
        for place, reduction in product(places, truth.reductions):
            rate = log_rate(truth, place)
            if truth.b_crit is None:
                X = slower = 400 * per_update(truth.equal_on, 64) / per_update(truth.equal_on, B)
                factor = (truth.effect if first else 1.0) * (
                    OUTER if n > 2 and place in (places[0], places[-1]) else 1.0
                )
            else:
                X, factor = S_MIN * (1 + truth.b_crit / B), 1.0
                with np.errstate(over="ignore"):
                    slower = X * float(np.exp(SHAPES[truth.shape](np.array(rate - bests[i]))))
            found.append(TrueCell(B, float(np.exp(rate)), reduction, name, 4 * X, slower, factor))
    return found


def draw(truth: Truth, rng: np.random.Generator) -> tuple[SweepData, dict[str, TrueCell]]:
    """A sweep, and its cells by their signatures."""
    import pandas as pd

    cells = {own.name: own for own in true_cells(truth, rng)}
    common = truth.common * NOISE[truth.noise](rng, truth.replicas)
    kinds = {name: truth.first_noise if own.batch_size == truth.sizes[0] else "" for name, own in cells.items()}
    noise = {name: truth.spread * NOISE[k or truth.noise](rng, truth.replicas) + common for name, k in kinds.items()}
    if truth.twins:
        noise = {name: noise[replace(own, reduction="mean").name] for name, own in cells.items()}
    blocks = pd.concat([_blocks(own, truth, rng) for own in cells.values()], ignore_index=True)
    made = [_sweep_cell(own, truth, noise[name], rng) for name, own in cells.items()]
    about = {"command": "python -m benchmarks.calibration", "cells": str(len(cells))}
    about |= {LOOKS: " ".join(map(str, truth.looks))} if truth.looks else {}
    return sweep_data("drawn", about, made, blocks), cells


def _sweep_cell(own: TrueCell, truth: Truth, noise: "Array", rng: np.random.Generator) -> SweepCell:
    import pandas as pd

    R, B, lr_mean = truth.replicas, own.batch_size, own.learning_rate
    lost, zero = rng.random((2, R)) < [[truth.lost if np.isfinite(own.needed) else 1.0], [truth.zero]]
    history = _history(own, noise if truth.b_crit else 0 * noise, 0 * noise if truth.b_crit else noise, lost, zero)
    last = history.groupby("replica", as_index=False).last()
    final = {"final_train_cost": last["train_cost"], "best_validation_cost": last["validation_cost"]}
    replicas = pd.DataFrame({"replica": range(R), "outcome": last["outcome"], **final})
    learning_rate = lr_mean / B if own.reduction == "sum" else lr_mean
    knobs = {"batch_size": B, "learning_rate": learning_rate, "reduction": own.reduction}
    values = {**PARAMS, **knobs, "optimizer.name": own.optimizer, "seeds": R}
    plan = Plan(N_TRAIN, B, learning_rate, "keep", N_TRAIN // B, (3, 2), "", lr_mean, lr_mean / B)
    outcome = "diverged" if lost.mean() > 0.5 else "completed"
    identity = Identity(own.name, values, "", "", plan)
    return SweepCell(identity, "FINISHED", outcome, replicas=replicas, history=history, run_id=own.name)


def _history(own: TrueCell, of_x: "Array", of_cost: "Array", lost: "Array", zero: "Array") -> "pd.DataFrame":
    """Of all replicas. of_x, of_cost (R,): noise of log X, and of the log cost."""
    import pandas as pd

    n, update = len(CHECKPOINTS), own.trained / CHECKPOINTS[-1] * CHECKPOINTS
    cost = np.exp(_log_fall(update / (own.needed * np.exp(of_x[:, None]))))
    cost[:, 1:] *= own.factor * np.exp(of_cost[:, None])
    cost[zero, -1] = 0
    end = np.where(lost, n // 2, n)[:, None]  # a replica that diverges does so half way
    outcome = np.where(np.arange(n) < end - 1, "", np.where(lost[:, None], "diverged", "completed"))
    epoch = update * per_update("epochs", own.batch_size)
    columns = {"update": update, "epoch": epoch, "examples": epoch * N_TRAIN, "train_seconds": np.full(n, np.nan)}
    costs = {"train_cost": cost.ravel(), "validation_cost": cost.ravel(), "validation_accuracy": 0.9}
    everyone = {name: np.tile(column, len(lost)) for name, column in columns.items()}
    replica = np.repeat(np.arange(len(lost)), n)
    table = pd.DataFrame({**everyone, **costs, "outcome": outcome.ravel(), "replica": replica})
    return table[(np.arange(n) < end).ravel()].reset_index(drop=True)


def _blocks(own: TrueCell, truth: Truth, rng: np.random.Generator) -> "pd.DataFrame":
    """As `harness.training.time_updates` measures them."""
    import pandas as pd

    n = int(np.clip(truth.replicas, FEWEST_BLOCKS, MOST_BLOCKS))
    error = truth.block_error * rng.normal(size=n) + truth.cell_error * rng.normal()
    seconds = per_update("train seconds", own.batch_size) * np.exp(error)
    about = {"signature": own.name, "work": own.name, "updates": 100, "interrupted": False}
    return pd.DataFrame({"block": range(n), "update_seconds": seconds, "update_cpu_seconds": seconds, **about})
