"""Sweeps whose truth is known, made by hand: what the judges of studies are tried on.

A cell is a dict: `cell(64, 0.3, final=0.1)`. Costs fall from `start` to `final` as a power of the update; replica r is
off by a factor that it has in every cell (so pairs share it) and by one of its own. `evidence(*cells)` is what a
judge gets.
"""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis.answers import SEED, answer
from harness.analysis.batch_sizes import best_rates, final_costs, target_costs, targets_table, updates_to_target
from harness.analysis.evidence import Evidence
from harness.analysis.sweep_tables import SweepCell, SweepData, sweep_data
from harness.analysis.timing import BLOCKS
from harness.config import exact_text
from harness.network import OPTIMIZERS
from harness.training import Identity, Plan

START = 2.0
PARAMS = {
    "optimizer.name": "sgd", "optimizer.weight_decay": 0.0, "last_batch": "keep", "order": "reshuffle",
    "target": None, "optimizer.clip_norm": None, "target_on": "train", "engine": "vectorized", "epochs": 10, "seed": 0,
}  # fmt: skip


def cell(
    batch_size: int,
    learning_rate: float = 0.1,
    reduction: str = "mean",
    dataset: str = "digits",
    n_train: int = 1024,
    final: float | None = 0.1,
    n_updates: int | None = None,
    noise: float = 0.02,
    update_us: float | None = None,
    block_noise: float = 0.0,
    rate_factor: float = 1.0,
    test_accuracy: float = 0.9,
    history: pd.DataFrame | Callable[[float], pd.DataFrame] | None = None,
    files: dict[str, Any] | None = None,
    **params: Any,
) -> dict[str, Any]:
    """One cell. final: its cost at the end, None for diverged. noise: standard deviation of the replicas' own factor.

    block_noise: standard deviation of the log time of an update in the blocks, of which replica r has the r-th.
    rate_factor: learning_rate over what was asked for, by a rule for the batch size.

    history: one replica's checkpoints, instead of the made-up fall, or what makes them from the replica's factor.
    files: name -> table, or (R, P) weights for "weights.npz". params: other values of the configuration; `seeds` is its
    number of replicas.
    """
    n_updates = n_updates or 10 * -(-n_train // batch_size)
    update_us = 40.0 + batch_size if update_us is None else update_us
    return {**locals(), "params": {**PARAMS, **params}}


def evidence(
    *cells: dict[str, Any], n_replicas: int = 10, shared: float = 0.1, seed: int = 0, answered: bool = True
) -> Evidence:
    """shared: standard deviation of the log factor that a replica has in every cell.

    answered: whether the sweep's whole answer is computed, most of the time that this takes; else only the tables of
    best rates, of those that a judge asks for.
    """
    swept = made(*cells, n_replicas=n_replicas, shared=shared, seed=seed)
    about = {"command": "python -m harness -m experiment=made_up", "cells": str(len(cells))}
    measured = [_blocks(own, one.identity.signature) for own, one in zip(cells, swept, strict=True)]
    data = replace(sweep_data("made up", about, swept), timing=BLOCKS, blocks=pd.concat(measured, ignore_index=True))
    files = {one.identity.signature: own["files"] or {} for one, own in zip(swept, cells, strict=True)}
    found: Any = answer(data) if answered else Rates(data)
    return Files(data, found, lambda run_id, name: Path(run_id, name), np.random.default_rng(seed), files)


def made(*cells: dict[str, Any], n_replicas: int = 10, shared: float = 0.1, seed: int = 0) -> list[SweepCell]:
    """The cells that `evidence` has in its tables."""
    rng = np.random.default_rng(seed)
    sizes = [int(own["params"].get("seeds", n_replicas)) for own in cells]
    common = np.exp(shared * rng.normal(size=max(sizes)))
    return [_cell(own, common[:size], rng) for own, size in zip(cells, sizes, strict=True)]


class Rates:
    """Of an answer, what judges ask for most, when they do."""

    def __init__(self, data: SweepData, times: float = 1.0) -> None:
        self.data, self.times, self.final_costs = data, times, final_costs(data.replicas)
        self.rng = np.random.default_rng(SEED)
        self.n_replicas = max(len(row) for row in self.final_costs.values())

    @cached_property
    def best(self) -> pd.DataFrame:
        return best_rates(self.data.cells, self.final_costs, self.rng)

    @cached_property
    def targets_at(self) -> dict[str, float]:
        goals, _ = target_costs(self.data.cells, self.data.histories)
        return {setting: self.times * goal for setting, goal in goals.items()}

    @cached_property
    def to_target(self) -> dict[str, dict[str, Any]]:
        return updates_to_target(self.data.histories, self.targets_at, self.data.cells)

    @cached_property
    def targets(self) -> pd.DataFrame:
        return targets_table(self.data.cells, self.to_target, self.rng)


class Files(Evidence):
    """Evidence whose files are in memory."""

    def __init__(self, data: Any, answer: Any, download: Any, rng: Any, files: dict[str, dict[str, Any]]) -> None:
        super().__init__(data, answer, download, rng)
        object.__setattr__(self, "files", files)

    def at_target(self, times: float) -> Evidence:
        if times == 1 or not isinstance(self.answer, Rates):
            return super().at_target(times)
        return Files(self.data, Rates(self.data, times), self.download, self.rng, self.files)  # type: ignore[attr-defined]

    def table(self, cell: str, name: str) -> pd.DataFrame:
        return self.files[cell][name]  # type: ignore[attr-defined]

    def weights(self, cell: str) -> Any:
        return self.files[cell]["weights.npz"]  # type: ignore[attr-defined]

    def again(self, cell: str) -> Any:
        return self.files[cell]["cell"]  # type: ignore[attr-defined]


def _cell(own: dict[str, Any], common: Any, rng: np.random.Generator) -> SweepCell:
    factors = common * np.exp(own["noise"] * rng.normal(size=len(common)))
    parts = [_history(own, factor) for factor in factors]
    history = pd.concat(parts, ignore_index=True)
    history = history.assign(replica=np.repeat(np.arange(len(parts)), [len(part) for part in parts]))
    B, rate, N = own["batch_size"], own["learning_rate"], own["n_train"]
    multiplied = own["reduction"] == "sum" and OPTIMIZERS[own["params"]["optimizer.name"]].grows_with_gradient
    lr_mean = rate * (B if multiplied else 1) * _of_parts(own)
    knobs = {"batch_size": B, "learning_rate": rate, "reduction": own["reduction"], "dataset.name": own["dataset"]}
    values = knobs | own["params"]
    signature = hashlib.sha256(exact_text(values).encode()).hexdigest()[:16]
    if own["block_noise"]:
        seconds = _blocks(own, signature)["update_seconds"].to_numpy()
        history["train_seconds"] = history["update"] * seconds[history["replica"]]
    rates = lr_mean, lr_mean / B, own["rate_factor"]
    plan = Plan(N, B, rate, "keep", -(-N // B), (3, 2), "softmax_cross_entropy", *rates)
    return SweepCell(
        Identity(signature, values, "", "", plan), "FINISHED", "diverged" if own["final"] is None else "completed",
        summary={
            "time/update_us": own["update_us"], "time/example_us": own["update_us"] / B,
            "time/train_seconds": own["update_us"] * own["n_updates"] / 1e6,
        },
        replicas=pd.DataFrame([{"replica": r} | _replica(part, own) for r, part in enumerate(parts)]),
        history=history, run_id=signature,
    )  # fmt: skip


def _of_parts(own: dict[str, Any]) -> float:
    """What micro-batches multiply the mean gradient by."""
    n_parts, how = own["params"].get("micro_batches", 1), (own["reduction"], own["params"].get("accumulate"))
    return {("mean", "sum"): n_parts, ("sum", "mean_of_means"): 1 / n_parts}.get(how, 1)


def _blocks(own: dict[str, Any], signature: str, n_blocks: int = 20) -> pd.DataFrame:
    """What the timing pass would have measured; replica r has block r."""
    noise = own["block_noise"] * np.random.default_rng(int(signature, 16)).normal(size=n_blocks)
    seconds = 1e-6 * own["update_us"] * np.exp(noise)
    about = {"signature": signature, "work": signature, "update_cpu_seconds": seconds, "interrupted": False}
    return pd.DataFrame({"block": range(n_blocks), "update_seconds": seconds, **about})


def _history(own: dict[str, Any], factor: float) -> pd.DataFrame:
    if own["history"] is not None:
        return own["history"](factor) if callable(own["history"]) else own["history"].copy()
    end, final = own["n_updates"], 100.0 if own["final"] is None else own["final"]
    update = np.unique(np.concatenate([[0], np.geomspace(1, end, 40).round()]))
    fall = np.log1p(update) / np.log1p(end)
    cost = START * (final * factor / START) ** fall
    examples = np.minimum(update * own["batch_size"], update / end * 10 * own["n_train"])
    return pd.DataFrame(
        {
            "update": update, "epoch": examples / own["n_train"], "examples": examples,
            "train_seconds": update * own["update_us"] / 1e6, "train_cost": cost, "validation_cost": 1.1 * cost,
            "validation_accuracy": 0.9,
            "outcome": [""] * (len(update) - 1) + ["diverged" if own["final"] is None else "completed"],
        }
    )  # fmt: skip


def _replica(history: pd.DataFrame, own: dict[str, Any]) -> dict[str, Any]:
    last = history.iloc[-1]
    return {
        "outcome": last["outcome"], "end_update": last["update"], "final_train_cost": last["train_cost"],
        "last_finite_cost": last["train_cost"], "final_validation_cost": last["validation_cost"],
        "best_validation_cost": history["validation_cost"].min(), "final_test_cost": 1.2 * last["train_cost"],
        "best_validation_accuracy": history["validation_accuracy"].max(), "final_test_accuracy": own["test_accuracy"],
        "final_validation_accuracy": last["validation_accuracy"],
    }  # fmt: skip
