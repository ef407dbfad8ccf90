"""The memory that a cell is said to need is a lower bound of what it takes, and close where it matters."""

import tracemalloc

import numpy as np
import pytest
from configs import configured

from harness.data import Dataset
from harness.training import Cell, least_bytes, tables
from harness.training.cell import plan_of

X = np.random.default_rng(0).normal(size=(90, 4))
DATASET = Dataset("three", "classification", X, np.arange(90) % 3, ("a", "b", "c"), "digest")


def peak_bytes(config):
    """The most that was allocated at the same time while a cell was trained and its history written down."""
    tracemalloc.start()
    try:
        cell = Cell(config, DATASET)
        for _ in cell.train():
            pass
        tables.history(cell.result(), config)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    "changes",
    [
        {"model_hidden": [400, 400], "epochs": 1, "seeds": 6},
        {"model_hidden": [400, 400], "epochs": 1, "seeds": 6, "optimizer_name": "momentum", "optimizer_momentum": 0.9},
        {"model_hidden": [400, 400], "epochs": 1, "seeds": 6, "dtype": "float32"},
        {"model_hidden": [400, 400], "epochs": 1, "seeds": 6, "batch_size": "full", "micro_batches": 4},
        {"model_hidden": [2], "epochs": 1500, "seeds": 2, "batch_size": "full"},
        {"model_hidden": [2], "epochs": 1, "seeds": 3000},
    ],
    ids=[
        "large networks",
        "with velocities",
        "in single precision",
        "in micro-batches",
        "many checkpoints",
        "many replicas",
    ],
)
def test_it_is_a_lower_bound(changes):
    config = configured(**changes)
    bound, peak = least_bytes(config, plan_of(config, DATASET)), peak_bytes(config)
    assert peak / 12 < bound < peak


def test_checkpoints_count_only_if_they_are_sure_to_come():
    """A target or a time may end training long before its epochs."""
    many = {"epochs": 10**9, "seeds": 1}
    bounds = [
        least_bytes(config, plan_of(config, DATASET))
        for config in (configured(**many), configured(**many, target=0.1), configured(**many, train_seconds=1.0))
    ]
    assert bounds[0] > 10**11
    assert max(bounds[1:]) < 10**6


def test_numbers_beyond_reason_are_counted_too():
    config = configured(seeds=10**30, epochs=10**30, model_hidden=[10**9])
    assert least_bytes(config, plan_of(config, DATASET)) > 10**60
