"""What the time of an update depends on, and cells that make such updates for nothing but the clock."""

from collections.abc import Callable, Iterator, Mapping
from copy import copy
from dataclasses import replace
from typing import NamedTuple

from harness.config import Config, DatasetConfig
from harness.data import Dataset
from harness.training.cell import Cell, Plan

RATE = 1e-9  # learning rate: weights stay where they are, and their changes do not become denormal numbers


class Work(NamedTuple):
    """What the time of an update depends on. own_data: each replica has a split of its own."""

    sizes: tuple[int, ...]
    n_train: int
    own_data: bool
    batch_size: int
    last_batch: str
    order: str
    activation: str
    loss: str
    reduction: str
    optimizer: str
    decays: bool
    clips: bool
    dtype: str
    engine: str
    threads: int


def work_of(config: Config, plan: Plan) -> Work:
    """Cells with the same work share one measurement: they differ in rates, seeds, budgets, targets, or values of X."""
    return Work(
        sizes=plan.sizes,
        n_train=plan.n_train,
        own_data=config.dataset.resample and config.seeds > 1,
        batch_size=plan.batch_size,
        last_batch=config.last_batch,
        order=config.order,
        activation=config.model.activation,
        loss=plan.loss,
        reduction=config.reduction,
        optimizer=config.optimizer.name,
        decays=config.optimizer.weight_decay > 0,
        clips=config.optimizer.clip_norm is not None,
        dtype=config.dtype,
        engine=config.engine,
        threads=config.threads,
    )


def cells_of(works: Mapping[Work, tuple[Config, Plan]], load: Callable[[DatasetConfig], Dataset]) -> Iterator[Cell]:
    """A cell of two replicas for each work; those with one dataset and engine share one split of it."""
    shared: dict[str, Cell] = {}
    for work, (config, plan) in works.items():
        dataset = replace(config.dataset, resample=work.own_data)
        own = replace(config, dataset=dataset, seeds=2, diagnostics="off")
        key = repr((dataset, config.dtype, config.engine, config.threads))
        if key not in shared:
            shared[key] = Cell(own, load(config.dataset))
        cell = copy(shared[key])
        cell.config, cell.plan = own, replace(plan, learning_rate=RATE)
        yield cell
