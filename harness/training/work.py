"""What the time of an update depends on, and cells that make such updates for nothing but the clock."""

from collections.abc import Callable, Hashable, Iterator, Mapping
from copy import copy
from dataclasses import replace

from harness.config import Config, DatasetConfig
from harness.data import Dataset
from harness.training.cell import Cell, Plan

RATE = 1e-9  # learning rate: weights stay where they are, and their changes do not become denormal numbers


def work_of(config: Config, plan: Plan) -> Hashable:
    """All that the time of an update depends on; cells that have it in common share one measurement.

    They may differ in rates, seeds, budgets, targets, and in the values of X. plan: of one batch size.
    """
    optimizer, own_data = config.optimizer, _own_data(config)
    return (
        *(plan.sizes, plan.n_train, plan.batch_size, plan.loss, own_data, config.last_batch, config.order),
        *(config.reduction, config.dtype, config.engine, config.threads, config.model.activation),
        *(optimizer.name, optimizer.weight_decay > 0, optimizer.clip_norm is not None),
        *(config.learning_rate_schedule, config.warm_up_epochs > 0),
    )


def _own_data(config: Config) -> bool:
    """Whether each replica has a split of its own."""
    return config.dataset.resample and len(config.replicas) > 1


def cells_of(works: Mapping[Hashable, tuple[Config, Plan]], load: Callable[[DatasetConfig], Dataset]) -> Iterator[Cell]:
    """A cell of two replicas for each work; those with one dataset and engine share one split of it."""
    shared: dict[str, Cell] = {}
    for config, plan in works.values():
        dataset = replace(config.dataset, resample=_own_data(config))
        own = replace(config, dataset=dataset, seeds=2, first_replica=0, diagnostics="off")
        key = repr((dataset, config.dtype, config.engine, config.threads))
        if key not in shared:
            shared[key] = Cell(own, load(config.dataset))
        cell = copy(shared[key])
        cell.config, cell.plan = own, replace(plan, learning_rate=RATE)
        yield cell
