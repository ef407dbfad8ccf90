"""Which cells are measured, on which data."""

import math
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from harness.app.composition import compose_cells
from harness.config import Config
from harness.data import Dataset
from harness.network import Parameters

N_INPUTS, N_CLASSES = 20, 10
FLOAT, INDEX = 8, 8  # bytes of a float64, and of an index in the order of the examples
MEGA = 1e6


@dataclass(frozen=True)
class Point:
    """One cell. n_examples: of the whole dataset, of which eight tenths are trained on."""

    axis: str
    n_examples: int = 2000
    batch_size: int = 64
    hidden: tuple[int, ...] = (32,)
    replicas: int = 1
    optimizer: str = "sgd"

    @property
    def sizes(self) -> tuple[int, ...]:
        return (N_INPUTS, *self.hidden, N_CLASSES)

    @property
    def n_train(self) -> int:
        return self.n_examples - math.ceil(self.n_examples * 0.2 - 1e-9)

    @property
    def n_params(self) -> int:
        """P, weights and biases of one replica."""
        return Parameters.count(self.sizes)

    @property
    def n_units(self) -> int:
        """Outputs of all layers: what is computed of one example besides products of matrices."""
        return sum(self.sizes[1:])


class Plan(NamedTuple):
    """The points of every axis, and how long each axis may take, in seconds."""

    timed: dict[str, list[Point]]
    traced: dict[str, list[Point]]
    resident: list[Point]
    cells: list[int]
    unseen: list[Point]
    train_seconds: float  # on the training clock, for one measurement of a point
    axis_seconds: float
    cells_seconds: float


FULL = Plan(
    timed={
        "examples": [Point("examples", n) for n in (1000, 3000, 10_000, 30_000, 100_000, 300_000, 1_000_000)],
        "batch size": [Point("batch size", 12_000, 2**k) for k in range(14)],
        "width": [Point("width", hidden=(2**k, 2**k)) for k in range(3, 11)],
        "depth": [Point("depth", hidden=(64,) * depth) for depth in range(7)],
        "replicas": [Point("replicas", replicas=2**k) for k in range(7)],
    },
    traced={
        "examples": [
            Point("examples", n, 4000, (8,), 2) for n in (10_000, 30_000, 100_000, 300_000, 1_000_000)
        ],
        "batch size": [Point("batch size", 12_000, 2**k, replicas=4) for k in range(6, 14)],
        "width": [Point("width", hidden=(2**k, 2**k), replicas=4) for k in range(5, 10)],
        "width, adam": [Point("width, adam", hidden=(2**k, 2**k), replicas=4, optimizer="adam") for k in range(5, 10)],
        "replicas": [Point("replicas", replicas=2**k, hidden=(64, 64)) for k in range(7)],
    },
    resident=[Point("examples", n, 4000, (8,), 2) for n in (30_000, 100_000, 300_000, 1_000_000)],
    cells=[20, 50, 100],  # up to 12, each has figures
    unseen=[
        Point("unseen", 3000, 48, (100,), 5),
        Point("unseen", 50_000, 256, (64, 64), 2),
        Point("unseen", 20_000, 16, (), 3),
        Point("unseen", 6000, 1500, (200, 50), 10),
    ],
    train_seconds=0.25,
    axis_seconds=35,
    cells_seconds=60,
)  # fmt: skip
SHORT = Plan(
    timed={
        "examples": [Point("examples", n) for n in (1000, 3000, 10_000)],
        "batch size": [Point("batch size", 3000, 4**k) for k in range(6)],
        "width": [Point("width", hidden=(4**k, 4**k)) for k in range(2, 5)],
        "depth": [Point("depth", hidden=(64,) * depth) for depth in range(3)],
        "replicas": [Point("replicas", replicas=2**k) for k in range(4)],
    },
    traced={
        "examples": [Point("examples", n, 800, (8,), 4) for n in (3000, 10_000, 100_000)],
        "batch size": [Point("batch size", 3000, 4**k, replicas=2) for k in range(3, 6)],
        "width": [Point("width", hidden=(4**k, 4**k), replicas=2) for k in range(2, 4)],
        "width, adam": [Point("width, adam", hidden=(4**k, 4**k), replicas=2, optimizer="adam") for k in range(2, 4)],
        "replicas": [Point("replicas", replicas=4**k) for k in range(3)],
    },
    resident=[Point("examples", 100_000, 800, (8,), 4)],
    cells=[1, 2],
    unseen=[Point("unseen", 3000, 48, (100,), 3)],
    train_seconds=0.02,
    axis_seconds=1,
    cells_seconds=1,
)  # fmt: skip


@lru_cache(maxsize=1)
def synthetic(n_examples: int) -> Dataset:
    """Classes that are clouds around centres of their own, every class of the same size."""
    rng = np.random.default_rng(0)
    y = np.arange(n_examples) % N_CLASSES
    X = rng.standard_normal((n_examples, N_INPUTS))
    X += rng.standard_normal((N_CLASSES, N_INPUTS))[y]
    return Dataset("synthetic", "classification", X, y, tuple(map(str, range(N_CLASSES))), "")


@lru_cache(maxsize=1)
def defaults() -> Config:
    """The configuration that every cell starts from."""
    words = ["dataset=digits", "diagnostics=off", "learning_rate=0.001"]
    ((config, _),) = compose_cells(words).cells
    return config


def configured(point: Point, epochs: int = 1) -> Config:
    config = deepcopy(defaults())
    config.batch_size, config.seeds, config.epochs = point.batch_size, point.replicas, epochs
    config.model.hidden = list(point.hidden)
    if point.optimizer == "adam":
        config.optimizer = replace(config.optimizer, name="adam", beta1=0.9, beta2=0.999, epsilon=1e-8)
    return config
