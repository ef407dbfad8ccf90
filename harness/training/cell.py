"""From a configuration to a result: the unit that a sweep repeats.

A cell trains `seeds` replicas with common random numbers: replica r draws its split, its initial weights and its order
of examples from three independent streams that depend on the root seed and on r only, never on what is swept.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator, SeedSequence, default_rng
from numpy.typing import NDArray

from harness.config import Config, OptimizerConfig, effective_batch_size, effective_learning_rate
from harness.data import Dataset, Examples, Splits, loss_for, n_outputs_of, n_train_of, split
from harness.network import MLP, OPTIMIZERS, Memory, Optimizer, Parameters, errata, per_example
from harness.training.clock import pinned_blas
from harness.training.diagnostics import OBSERVERS, Observer
from harness.training.loop import Budget, GradientInto, Record, Runner, Set, Stack, Target, train
from harness.training.order import batches, updates_per_epoch

Array = NDArray[np.floating]

# How gradients are computed; `compiled` runs whole updates by itself, and its gradient serves the warm-up only.
ENGINES: dict[str, GradientInto] = {
    "vectorized": MLP.gradient_into,
    "per_example": per_example.gradient_into,
    "compiled": MLP.gradient_into,
}
PARTS = ("train", "validation", "test")
# Orders in which the examples of the training part lie, by the field of Splits that sorts them.
LYING = {"sorted": "sort_key", "source": "rows"}
CACHE_BYTES = 1 << 20  # the working set of a stack is kept below this, about a core's own cache


class Streams(NamedTuple):
    """The sources of randomness of one replica: three that decide its training, one for looking at it."""

    split: SeedSequence
    weights: SeedSequence
    order: SeedSequence
    diagnostics: SeedSequence


def streams(seed: int, replica: int) -> Streams:
    """Independent streams for one replica; the same for every cell that shares the root seed."""
    return Streams(*SeedSequence(seed, spawn_key=(replica,)).spawn(len(Streams._fields)))


@dataclass(frozen=True)
class Plan:
    """What the configuration comes to on this data: sizes in examples, rates in the cell's own units."""

    n_train: int
    batch_size: int
    learning_rate: float
    last_batch: str
    updates_per_epoch: int
    sizes: tuple[int, ...]
    loss: str
    lr_mean: float  # η for mean, ηB for sum: the canonical coordinate
    lr_per_example: float  # lr_mean / B


@dataclass
class CellResult:
    """What training left: every record, the parameters of each replica (R, P), and the test set's verdict (R,)."""

    plan: Plan
    records: list[Record]
    parameters: Parameters
    test_cost: Array
    test_score: Array


def plan_of(config: Config, dataset: Dataset) -> Plan:
    """Nothing is split for it: the sizes of the parts do not depend on the seed."""
    n_train = n_train_of(dataset, config.dataset)
    batch_size = effective_batch_size(config, n_train)
    rate = effective_learning_rate(config, batch_size)
    lr_mean = rate * batch_size if config.reduction == "sum" else rate
    sizes = (dataset.X.shape[1], *config.model.hidden, n_outputs_of(dataset))
    per_epoch = updates_per_epoch(n_train, batch_size, config.last_batch)
    return Plan(
        n_train, batch_size, rate, config.last_batch, per_epoch, sizes, loss_for(dataset), lr_mean, lr_mean / batch_size
    )


class Cell:
    """One cell: iterate over `train()` for its checkpoints, then ask for the `result()`.

    config is checked, dataset loaded. The splits are drawn at once, everything else when `train` is iterated.
    """

    def __init__(self, config: Config, dataset: Dataset) -> None:
        self.config = config
        n_splits = config.seeds if config.dataset.resample else 1
        self.splits, self.sets = _side_by_side(lambda replica: _split(config, dataset, replica), n_splits)
        self.plan = plan_of(config, dataset)
        self.budget = _budget(config, self.plan)
        self._stacks: list[Stack] = []
        _runner(config)  # its BLAS must be loaded before it can be pinned
        self._records: list[Record] = []

    def train(self) -> Iterator[Record]:
        """Train every replica, yielding each checkpoint as it is reached."""
        config, plan = self.config, self.plan
        with pinned_blas(config.threads):
            self._stacks = list(self.stacks())
            self._stacks[0].warm_up(plan.batch_size)
            for record in train(self._stacks, plan.updates_per_epoch, self.budget, _target(config)):
                self._records.append(record)
                yield record

    def stacks(self) -> Iterator[Stack]:
        """New stacks of all replicas as they are before the first update: replica 0 alone, then the others."""
        pieces, memories = _pieces(self.config, self.plan), (Memory(), Memory())
        return (_stack(self.config, self.plan, self.sets, own, *memories) for own in pieces)

    def result(self) -> CellResult:
        """Put the replicas back in order and look at the test set, once."""
        config, plan = self.config, self.plan
        final = {replica: flat for stack in self._stacks for replica, flat in stack.final.items()}
        parameters = Parameters(plan.sizes, np.stack([final[r] for r in range(config.seeds)]))
        first, verdicts = self._stacks[0], []
        with pinned_blas(config.threads):
            for own in _pieces(config, plan):  # not all at once: memory for one stack will do
                network = MLP(
                    parameters.select(np.array(own)), config.model.activation, plan.loss, first.network.memory
                )
                verdicts.append(first.evaluate(network, *_set_of(own, self.sets["test"])))
        return CellResult(plan, self._records, parameters, *map(np.concatenate, zip(*verdicts, strict=True)))


def _split(config: Config, dataset: Dataset, replica: int) -> Splits:
    """The parts of one replica; its training examples lie as the order wants them, if it is one of LYING."""
    fractions = config.dataset.validation_fraction, config.dataset.test_fraction
    drawn = split(dataset, *fractions, streams(config.seed, replica).split, np.dtype(config.dtype))
    if config.order not in LYING:
        return drawn
    places = np.argsort(getattr(drawn, LYING[config.order]), kind="stable")
    train = Examples(drawn.train.X[places], drawn.train.Y[places])
    return replace(drawn, train=train, sort_key=drawn.sort_key[places], rows=drawn.rows[places])


def _side_by_side(draw: Callable[[int], Splits], n_splits: int) -> tuple[list[Splits], dict[str, Set]]:
    """The splits, and each part of all of them: (n, D) of a single one, which replicas share, or (R, n, D).

    Splits of several are views of these arrays, and so is the set of any stack: examples are held once.
    """
    if n_splits == 1:
        one = draw(0)
        return [one], {name: (getattr(one, name).X, getattr(one, name).Y) for name in PARTS}
    sets: dict[str, Set] = {}
    splits = []
    for r in range(n_splits):
        one = draw(r)
        for name in PARTS:
            examples = getattr(one, name)
            X, Y = sets[name] = sets.get(name) or _room_for(examples, n_splits)
            X[r], Y[r] = examples.X, examples.Y
        train, validation, test = (Examples(X[r], Y[r]) for X, Y in sets.values())
        splits.append(Splits(train, validation, test, one.sort_key, one.rows))
        del one, examples  # before the next is drawn
    return splits, sets


def _room_for(examples: Examples, n_splits: int) -> Set:
    X, Y = examples.X, examples.Y
    return np.empty((n_splits, *X.shape), X.dtype), np.empty((n_splits, *Y.shape), Y.dtype)


def _pieces(config: Config, plan: Plan) -> Iterator[list[int]]:
    """Replica 0 alone, then the others in stacks small enough for the cache."""
    n_params = Parameters.count(plan.sizes)
    per_replica = (3 * n_params + plan.batch_size * (plan.sizes[0] + 2 * sum(plan.sizes[1:]))) * 8
    width = max(1, CACHE_BYTES // per_replica)
    yield [0]
    for start in range(1, config.seeds, width):
        yield list(range(start, min(start + width, config.seeds)))


def _stack(
    config: Config, plan: Plan, sets: dict[str, Set], replicas: list[int], passes: Memory, gathered: Memory
) -> Stack:
    """passes, gathered: the memory of the network and of its batches, which all stacks of a cell share."""

    def rngs(stream: str) -> list[Generator]:
        return [default_rng(getattr(streams(config.seed, r), stream)) for r in replicas]

    params = Parameters.initialized(plan.sizes, config.model.initializer, rngs("weights"), np.dtype(config.dtype))
    order = "none" if config.order in LYING else config.order
    return Stack(
        replicas=replicas,
        network=MLP(params, config.model.activation, plan.loss, passes),
        optimizer=_optimizer(config.optimizer, params, plan.learning_rate),
        train_set=_set_of(replicas, sets["train"]),
        validation_set=_set_of(replicas, sets["validation"]),
        batches=batches(plan.n_train, plan.batch_size, order, config.last_batch, rngs("order")),
        reduction=config.reduction,
        gradient_into=_gradient(config, plan),
        record_batch_costs=replicas == [0],
        observer=_observer(config, plan) if replicas == [0] else None,
        runner=_runner(config),
        gathered=gathered,
    )


def _gradient(config: Config, plan: Plan) -> GradientInto:
    if config.formula == errata.DERIVED:
        return ENGINES[config.engine]
    return errata.printed(config.formula, plan.learning_rate)


def _runner(config: Config) -> Runner | None:
    if config.engine != "compiled":
        return None
    from harness.compiled import Compiled  # an optional extra, and slow to import

    return Compiled(config.threads)


def _observer(config: Config, plan: Plan) -> Observer | None:
    """Of replica 0. Batches of data in an order of its own are no random samples: nothing is estimated from one."""
    if config.diagnostics == "off":
        return None
    population = {"replacement": np.inf, **dict.fromkeys(LYING, np.nan)}.get(config.order, plan.n_train)
    return OBSERVERS[config.diagnostics](population, plan.lr_mean, streams(config.seed, 0).diagnostics)


def _set_of(replicas: list[int], examples: Set) -> Set:
    """What a stack of replicas, which follow each other, sees of a part: all when it is shared, else a slice."""
    X, Y = examples
    own = slice(replicas[0], replicas[-1] + 1)
    return (X[own], Y[own]) if X.ndim == 3 else examples


def _optimizer(config: OptimizerConfig, params: Parameters, learning_rate: float) -> Optimizer:
    rule = OPTIMIZERS[config.name]
    hyperparameters: dict[str, Any] = {key: asdict(config)[key] for key in rule.hyperparameters}
    return rule(params, learning_rate, weight_decay=config.weight_decay, clip_norm=config.clip_norm, **hyperparameters)


def _budget(config: Config, plan: Plan) -> Budget:
    candidates = [config.updates, config.epochs and config.epochs * plan.updates_per_epoch]
    updates = [n for n in candidates if n is not None]
    return Budget(min(updates) if updates else None, config.train_seconds)


def _target(config: Config) -> Target | None:
    return None if config.target is None else Target(config.target, config.target_on)
