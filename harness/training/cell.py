"""From a configuration to a result: the unit that a sweep repeats.

Cells have common random numbers: replica r has the same split, initial weights and order of examples in every cell.
"""

import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.random import default_rng

from harness.config import (
    Config,
    ConfigError,
    OptimizerConfig,
    batch_sizes,
    check_within,
    effective_batch_size,
    effective_learning_rate,
    learning_rate_factor,
)
from harness.data import Dataset, column_table, loss_for, n_inputs_of, n_outputs_of, n_train_of
from harness.network import (
    LOSSES,
    MLP,
    OPTIMIZERS,
    Accumulated,
    Array,
    Engine,
    Memory,
    Optimizer,
    Parameters,
    PerExample,
    Set,
    Vectorized,
    balanced_accuracy,
    baseline,
)
from harness.training.checkpoints import Target
from harness.training.clock import pinned_blas
from harness.training.diagnostics import OBSERVERS, Observer
from harness.training.loop import Budget, Record, train
from harness.training.order import Batches, Passes
from harness.training.rates import Rates
from harness.training.sets import HELD_OUT, PRESORTED, Drawn, draw_sets, set_of, streams
from harness.training.stack import Stack

if TYPE_CHECKING:
    import pandas as pd

MakeEngine = Callable[[MLP, Optimizer, Set, str], Engine]
CACHE_BYTES = 1 << 20  # the working set of a stack is kept below this, about a core's own cache
REPLICAS_PER_THREAD = 8  # of a compiled stack, at least: its threads share them out, one after the other in the cache
UNEVEN = 1.5  # above it, accuracy is mostly about the most frequent class


@dataclass(frozen=True)
class Plan:
    """What the configuration comes to on this data: sizes in examples, rates in the cell's own units.

    Where the batch size grows, batch_size and updates_per_epoch are those of the first epoch; rates are those of the
    first batch size, before a schedule or a warm-up multiplies them.
    """

    n_train: int
    batch_size: int
    learning_rate: float
    last_batch: str
    updates_per_epoch: int
    sizes: tuple[int, ...]
    loss: str
    lr_mean: float  # the rate with which a mean makes the same updates, see `canonical_rate`
    lr_per_example: float  # lr_mean / B
    rate_factor: float = 1.0  # learning_rate over the key of that name, see `learning_rate_factor`
    later_sizes: tuple[tuple[int, int], ...] = ()  # epoch, batch size from its beginning on

    @property
    def passes(self) -> Passes:
        return Passes(self.n_train, self.last_batch, [(0, self.batch_size), *self.later_sizes])

    @property
    def largest_batch(self) -> int:
        return max(self.batch_size, *(size for _, size in self.later_sizes), 1)

    def constant_sizes(self) -> "list[Plan]":
        """Of each phase of a growing batch, a plan whose batches have that size throughout."""
        phases = self.passes.phases
        return [
            replace(self, batch_size=phase.batch_size, updates_per_epoch=phase.per_epoch, later_sizes=())
            for phase in phases
        ]


@dataclass
class CellResult:
    """Every record, the parameters of each replica (R, P), cost and score on the test set (R,).

    baseline: "validation", "test" -> (R,), the score of the best constant prediction. balanced: likewise, the balanced
    accuracy at the end; empty unless a class has UNEVEN times the share that it has when all are equally frequent.
    columns: what was done to each column of the data, with what was learned from the first replica's training part.
    """

    plan: Plan
    records: list[Record]
    parameters: Parameters
    test_cost: Array
    test_score: Array
    baseline: Mapping[str, Array] = field(default_factory=dict)
    balanced: Mapping[str, Array] = field(default_factory=dict)
    columns: "pd.DataFrame | None" = None


def with_task(config: Config, dataset: Dataset) -> Config:
    """The configuration with the task of these data, which decide where it is left out; its own loss is null."""
    loss = None if config.model.loss == loss_for(dataset) else config.model.loss
    return replace(config, dataset=replace(config.dataset, task=dataset.task), model=replace(config.model, loss=loss))


def plan_of(config: Config, dataset: Dataset) -> Plan:
    """Nothing is split for it: the sizes of the parts do not depend on the seed."""
    n_train = n_train_of(dataset, config.dataset)
    return plan_for(config, n_train, n_inputs_of(dataset), n_outputs_of(dataset), _loss_of(config, dataset))


def _loss_of(config: Config, dataset: Dataset) -> str:
    """The one that is asked for, or that of the task. Raises ConfigError for one of another task."""
    default, asked = loss_for(dataset), config.model.loss
    if asked is None or asked == default:
        return default
    if asked in LOSSES or LOSSES[asked].of_quantities is not LOSSES[default].of_quantities:
        use = f" ({asked} is for a regression)" if asked in LOSSES and LOSSES[asked].of_quantities else ""
        allowed = f"null, {default} or an extension's loss for a {dataset.task}, the task of these data{use}"
        raise ConfigError("model.loss", allowed, asked)
    return asked


def plan_for(config: Config, n_train: int, n_inputs: int, n_outputs: int, loss: str) -> Plan:
    batch_size = effective_batch_size(config, n_train)
    if config.micro_batches > batch_size:
        raise ConfigError("micro_batches", f"at most {batch_size}, the examples of a batch", config.micro_batches)
    rate = effective_learning_rate(config, batch_size)
    lr_mean = canonical_rate(rate, batch_size, config)
    sizes = (n_inputs, *config.model.hidden, n_outputs)
    asked = batch_sizes(config, batch_size, n_train)
    passes = Passes(n_train, config.last_batch, asked)
    if config.updates is not None:
        n_epochs = float(passes.epoch(min(config.updates, sys.maxsize)))  # NumPy counts no further
        check_within(config, n_epochs, f"{n_epochs:.6g}, the epochs of updates={config.updates} at B={batch_size}")
    rates = lr_mean, lr_mean / batch_size, learning_rate_factor(config, batch_size)
    return Plan(n_train, batch_size, rate, config.last_batch, passes.updates(1), sizes, loss, *rates, tuple(asked[1:]))


def most_updates(config: Config, plan: Plan) -> int | None:
    """The updates of the budget; None where only seconds end training."""
    limits = config.updates, config.epochs and plan.passes.updates(config.epochs)
    return min(filter(None, limits), default=None)


def canonical_rate(learning_rate: float, batch_size: int, config: Config) -> float:
    """The rate at which the mean over a batch of B examples makes the updates that config's reduction makes at η.

    ηB for a sum, where the step grows with the gradient; η for a sum under adam and rmsprop, whose step does not change
    when the gradient is multiplied by B (but for epsilon), and for every mean. K micro-batches: K times that where the
    sum of their means is taken, and 1/K of it where the mean of their sums is.
    """
    if not OPTIMIZERS[config.optimizer.name].grows_with_gradient:
        return learning_rate
    of_parts = {("mean", "sum"): config.micro_batches, ("sum", "mean_of_means"): batch_size / config.micro_batches}
    multiplied = batch_size if _is_multiplied(config) else 1
    return learning_rate * of_parts.get((config.reduction, config.accumulate), multiplied)


def _is_multiplied(config: Config) -> bool:
    return config.reduction == "sum" and OPTIMIZERS[config.optimizer.name].grows_with_gradient


class Cell:
    """One cell: iterate over `train()` for its checkpoints, then ask for the `result()`.

    The splits are drawn at once, everything else when `train` is iterated. A study may replace `engine` before that.
    draw: gives the splits, which are only read.
    """

    def __init__(self, config: Config, dataset: Dataset, draw: Callable[[Config, Dataset], Drawn] = draw_sets) -> None:
        self.config = config = with_task(config, dataset)
        self.splits, self.sets = draw(config, dataset)
        self.plan = plan_of(config, dataset)
        self.budget = Budget(most_updates(config, self.plan), config.train_seconds)
        self.engine = engine_of(config)
        self.uneven = are_uneven(dataset)
        self._columns = dataset.columns
        self._stacks: list[Stack] = []
        self._records: list[Record] = []

    def train(self) -> Generator[Record]:
        """Train every replica from its beginning, yielding each checkpoint as it is reached."""
        config = self.config
        target = None if config.target is None else Target(config.target, config.target_on)
        with pinned_blas(config.blas_threads):
            self._stacks, self._records = list(self.stacks()), []
            self._stacks[0].warm_up()
            for record in train(self._stacks, self.budget, target):
                self._records.append(record)
                yield record

    def stacks(self) -> Iterator[Stack]:
        """New stacks of all replicas as they are before the first update: the first alone, then the others."""
        config, plan, memory = self.config, self.plan, Memory()  # of passes over batches: all stacks share it
        rates = Rates(config, plan.passes, most_updates(config, plan), plan.lr_mean, _is_multiplied(config))
        together = REPLICAS_PER_THREAD * config.threads if config.engine == "compiled" else 1
        for replicas in _groups(config, plan, together):
            seeds = [streams(config.seed, replica) for replica in replicas]
            weights, orders = [default_rng(own.weights) for own in seeds], [default_rng(own.order) for own in seeds]
            params = Parameters.initialized(plan.sizes, config.model.initializer, weights, np.dtype(config.dtype))
            network = MLP(params, config.model.activation, plan.loss, memory)
            optimizer = _optimizer(config.optimizer, params, plan.learning_rate)
            order = "none" if config.order in PRESORTED else config.order
            yield Stack(
                replicas,
                self.engine(network, optimizer, self._set("train", replicas), config.reduction),
                Batches(plan.n_train, plan.batch_size, order, config.last_batch, orders, plan.later_sizes),
                self._set("validation", replicas),
                rates=None if rates.are_constant else rates,
                observer=_observer(config, plan) if replicas == [config.first_replica] else None,
                record_batch_costs=replicas == [config.first_replica],
            )

    def result(self) -> CellResult:
        """Put the replicas back in order and evaluate the test set, once."""
        config, plan, engine = self.config, self.plan, self._stacks[0].engine
        final = {replica: flat for stack in self._stacks for replica, flat in stack.final.items()}
        parameters = Parameters(plan.sizes, np.stack([final[r] for r in config.replicas]))
        networks = MLP(parameters, config.model.activation, plan.loss, engine.network.memory)
        with pinned_blas(config.blas_threads):
            found = [  # one stack after the other, in the memory of one
                engine.evaluate(networks.select(np.array(own) - config.first_replica), *self._set("test", own))
                for own in _groups(config, plan)
            ]
            balanced = {part: self._balanced(networks, part) for part in HELD_OUT if self.uneven}
        chance = {
            part: np.broadcast_to(baseline(plan.loss, self.sets[part][1]), len(config.replicas)) for part in HELD_OUT
        }
        cost, score = map(np.concatenate, zip(*found, strict=True))
        columns = column_table(self._columns, self.splits[0].transformer) if self._columns else None
        return CellResult(plan, self._records, parameters, cost, score, chance, balanced, columns)

    def _set(self, part: str, replicas: list[int]) -> Set:
        return set_of([r - self.config.first_replica for r in replicas], self.sets[part])

    def _balanced(self, networks: MLP, part: str) -> Array:
        found = [
            balanced_accuracy(networks.select(np.array(own) - self.config.first_replica), *self._set(part, own))
            for own in _groups(self.config, self.plan)
        ]
        return np.concatenate(found)


def are_uneven(dataset: Dataset) -> bool:
    """Whether one of K classes has more than UNEVEN / K of the examples; never of a regression."""
    n_classes = len(dataset.class_names)
    return bool(n_classes) and np.bincount(dataset.y).max() > UNEVEN / n_classes * len(dataset.y)


def _groups(config: Config, plan: Plan, least: int = 1) -> Iterator[list[int]]:
    """The first replica alone, then the others in stacks small enough for the cache, or of `least` replicas."""
    n_params = Parameters.count(plan.sizes)
    per_replica = (3 * n_params + plan.largest_batch * (plan.sizes[0] + 2 * sum(plan.sizes[1:]))) * 8
    width = max(least, CACHE_BYTES // per_replica)
    first, *others = config.replicas
    yield [first]
    for start in range(0, len(others), width):
        yield others[start : start + width]


def engine_of(config: Config) -> MakeEngine:
    """What makes the engine of a stack from its network, optimiser, training set and reduction."""
    if config.engine == "compiled":
        from harness.compiled import Compiled  # slow; and its BLAS must be loaded before it can be pinned

        return partial(Compiled, threads=config.threads)
    engine: type[Engine] = {"vectorized": Vectorized, "per_example": PerExample}[config.engine]
    if config.micro_batches == 1:
        return engine
    return partial(Accumulated, engine.gradient_into, config.micro_batches, config.accumulate)


def _observer(config: Config, plan: Plan) -> Observer | None:
    """Of the first replica. Batches of presorted data are no random samples: nothing is estimated from one."""
    if config.diagnostics == "off":
        return None
    population = {"replacement": np.inf, **dict.fromkeys(PRESORTED, np.nan)}.get(config.order, plan.n_train)
    return OBSERVERS[config.diagnostics](
        population, plan.lr_mean, streams(config.seed, config.first_replica).diagnostics
    )


def _optimizer(config: OptimizerConfig, params: Parameters, learning_rate: float) -> Optimizer:
    rule = OPTIMIZERS[config.name]
    values: dict[str, Any] = {key: getattr(config, key) for key in ("weight_decay", "clip_norm", *rule.hyperparameters)}
    return rule(params, learning_rate, **values)
