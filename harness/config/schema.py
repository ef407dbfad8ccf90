"""The typed schema of a cell, whose values are in conf/, and the checks before anything is trained or written."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields
from importlib.util import find_spec
from typing import Any, NamedTuple

from harness.config.errors import ConfigError
from harness.config.names import LEARNING_RATE_RULES, Known, check_extensions
from harness.config.schedules import check_schedules
from harness.network import (
    ACCUMULATIONS,
    ACTIVATIONS,
    HYPERPARAMETERS,
    INITIALIZERS,
    LOSSES,
    OPTIMIZERS,
    REDUCTIONS,
    SCHEDULES,
)

DIAGNOSTIC_LEVELS = ("off", "cheap", "full")


@dataclass
class DatasetConfig:
    """A function that returns (X, y), named by `load._target_` beside its arguments, and how to split its examples."""

    name: str
    task: str | None  # null: the targets decide, see `harness.data`
    load: dict[str, Any]
    validation_fraction: float
    test_fraction: float
    resample: bool
    prepare: str = "auto"
    max_categories: int = 20
    missing_targets: str = "refuse"
    rare_classes: str = "refuse"


@dataclass
class ModelConfig:
    """A multi-layer perceptron; `hidden` lists the widths of its hidden layers, [] is a single layer."""

    hidden: list[int]
    activation: str
    initializer: str
    loss: str | None = None  # null: the task decides


@dataclass
class OptimizerConfig:
    """An update rule by name; fields that the named rule does not have must stay null."""

    name: str
    weight_decay: float
    clip_norm: float | None
    momentum: float | None = None
    beta1: float | None = None
    beta2: float | None = None
    epsilon: float | None = None


@dataclass
class Config:
    """One cell of the grid: everything that decides its numbers. conf/config.yaml says what each key means."""

    dataset: DatasetConfig
    model: ModelConfig
    optimizer: OptimizerConfig
    batch_size: int | str
    learning_rate: float
    reduction: str
    learning_rate_rule: str
    reference_batch_size: int
    learning_rate_schedule: str
    warm_up_epochs: float
    batch_size_schedule: str
    milestones: list[int]
    milestone_factor: float
    epochs: int | None
    updates: int | None
    train_seconds: float | None
    target: float | None
    target_on: str
    order: str
    last_batch: str
    micro_batches: int
    accumulate: str
    seeds: int | str
    first_replica: int
    seed: int
    dtype: str
    engine: str
    threads: int
    diagnostics: str
    rerun: str = "missing"  # this and the following are about the command, not the cell
    dry_run: bool = False
    cells_per_job: int | str = "auto"
    log_model: bool = False
    seeds_at_most: int = 40  # this and the following of seeds=auto
    seeds_at_most_seconds: float | None = None
    size: str = "full"  # of a study
    study: dict[str, Any] = field(default_factory=dict)

    @property
    def replicas(self) -> range:
        """The replicas that the cell trains, each as it is whichever are trained beside it. Not of seeds=auto."""
        return range(self.first_replica, int(self.seeds))

    @property
    def blas_threads(self) -> int:
        """Of one product; with engine: compiled the threads share replicas out, and no product is divided."""
        return 1 if self.engine == "compiled" else self.threads


class Rule(NamedTuple):
    """A predicate on one value and the words that describe it."""

    holds: Callable[[Any], bool]
    allowed: str


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _whole(value: object, least: int = 1) -> bool:
    return type(value) is int and value >= least


def _one_of(*names: str) -> Rule:
    return Rule(lambda v: v in names, " | ".join(names))


def _optional(rule: Rule) -> Rule:
    return Rule(lambda v: v is None or rule.holds(v), f"{rule.allowed}, or null")


POSITIVE = Rule(lambda v: _number(v) and v > 0, "a finite number > 0")
COUNT = Rule(_whole, "an integer >= 1")
BELOW_ONE = Rule(lambda v: _number(v) and 0 <= v < 1, "a number in [0, 1)")
TRUTH = Rule(lambda v: isinstance(v, bool), "true | false")
FRACTION = Rule(lambda v: _number(v) and 0 < v < 1, "a fraction between 0 and 1")

RULES: dict[str, Rule | Known] = {
    "dataset.task": _optional(_one_of("classification", "regression")),
    **dict.fromkeys(("dataset.resample", "dry_run", "log_model"), TRUTH),
    "dataset.prepare": _one_of("auto", "strict"),
    "dataset.max_categories": Rule(lambda v: _whole(v, 2), "an integer >= 2"),
    "dataset.missing_targets": _one_of("refuse", "drop"),
    "dataset.rare_classes": _one_of("refuse", "merge", "drop"),
    **dict.fromkeys(("dataset.validation_fraction", "dataset.test_fraction"), FRACTION),
    "model.hidden": Rule(lambda v: isinstance(v, list) and all(map(_whole, v)), "a list of integers >= 1, or []"),
    "model.activation": Known(ACTIVATIONS),
    "model.loss": Known(LOSSES, may_be_null=True),
    "model.initializer": _one_of(*INITIALIZERS),
    "optimizer.name": Known(OPTIMIZERS),
    "optimizer.weight_decay": Rule(lambda v: _number(v) and v >= 0, "a finite number >= 0"),
    **dict.fromkeys(("optimizer.momentum", "optimizer.beta1", "optimizer.beta2"), _optional(BELOW_ONE)),
    **dict.fromkeys(("optimizer.clip_norm", "optimizer.epsilon"), _optional(POSITIVE)),
    "batch_size": Rule(lambda v: v == "full" or _whole(v), "an integer >= 1 or full"),
    "learning_rate": POSITIVE,
    "reduction": _one_of(*REDUCTIONS),
    "learning_rate_rule": Known(LEARNING_RATE_RULES),
    "learning_rate_schedule": Known(SCHEDULES),
    "warm_up_epochs": Rule(lambda v: _number(v) and v >= 0, "a finite number >= 0"),
    "batch_size_schedule": _one_of("constant", "step"),
    "milestones": Rule(
        lambda v: isinstance(v, list) and all(map(_whole, v)) and sorted(set(v)) == v,
        "a list of epochs, ascending integers >= 1, or []",
    ),
    "milestone_factor": POSITIVE,
    **dict.fromkeys(("reference_batch_size", "threads", "seeds_at_most"), COUNT),
    **dict.fromkeys(("epochs", "updates"), _optional(COUNT)),
    **dict.fromkeys(("train_seconds", "target", "seeds_at_most_seconds"), _optional(POSITIVE)),
    "seeds": Rule(lambda v: v == "auto" or _whole(v), "an integer >= 1, or auto in a sweep"),
    "target_on": _one_of("train", "validation"),
    "order": _one_of("reshuffle", "once", "none", "sorted", "source", "replacement"),
    "last_batch": _one_of("keep", "drop"),
    "micro_batches": COUNT,
    "accumulate": _one_of(*ACCUMULATIONS),
    **dict.fromkeys(("first_replica", "seed"), Rule(lambda v: _whole(v, 0), "an integer >= 0")),
    "dtype": _one_of("float64", "float32"),
    "engine": Rule(
        lambda v: v in ("vectorized", "per_example") or (v == "compiled" and find_spec("numba") is not None),
        'vectorized | per_example, or compiled after pip install -e ".[compiled]"',
    ),
    "diagnostics": Rule(lambda v: v in DIAGNOSTIC_LEVELS, '"off" (in a YAML file with its quotes) | cheap | full'),
    "rerun": _one_of("missing", "all"),
    "cells_per_job": Rule(lambda v: v == "auto" or _whole(v), "an integer >= 1, or auto"),
    "size": _one_of("full", "small"),
}


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{'model': {'hidden': [32]}} -> {'model.hidden': [32]}; lists are leaves."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def check(config: Config) -> None:
    """Raises ConfigError for the first value that makes no sense, whatever the data are."""
    values = flatten(asdict(config))
    for key, rule in RULES.items():
        if not rule.holds(values[key]):
            raise ConfigError(key, rule.allowed, values[key])
    check_extensions(values)
    name = config.optimizer.name
    for key in HYPERPARAMETERS:
        value, used = values[f"optimizer.{key}"], key in OPTIMIZERS[name].hyperparameters
        if used is (value is None):
            allowed, does = ("a number", "needs") if used else ("null", "does not use")
            raise ConfigError(f"optimizer.{key}", f"{allowed}, because optimizer={name} {does} it", value)
    if config.epochs is None and config.updates is None and config.train_seconds is None:
        raise ConfigError("epochs", "a budget: at least one of epochs, updates, train_seconds", None)
    check_schedules(config)
    if config.micro_batches > 1 and config.engine == "compiled":
        allowed = "1 with engine=compiled (engine=vectorized cuts a batch into micro-batches)"
        raise ConfigError("micro_batches", allowed, config.micro_batches)
    _check_replicas(config)
    if config.size == "small" and not config.study:
        raise ConfigError("size", "small together with experiment=NAME only", config.size)
    fractions = config.dataset.validation_fraction + config.dataset.test_fraction
    if fractions >= 1:
        raise ConfigError("dataset.test_fraction", "validation_fraction + test_fraction < 1", fractions)


def _check_replicas(config: Config) -> None:
    if config.seeds == "auto":
        if config.study:
            raise ConfigError("seeds", "an integer in a study, whose rules were chosen for it", config.seeds)
        if config.train_seconds is not None:
            allowed = "an integer where train_seconds ends training, as replica 0 spends them for all"
            raise ConfigError("seeds", allowed, config.seeds)
        if config.first_replica:
            raise ConfigError("first_replica", "0 with seeds=auto", config.first_replica)
    elif not config.replicas:
        raise ConfigError("first_replica", f"an integer below seeds={config.seeds}", config.first_replica)
    if config.first_replica and config.train_seconds is not None:  # its clock would give it other updates
        allowed = "0 where train_seconds ends training, as replica 0 spends them for all"
        raise ConfigError("first_replica", allowed, config.first_replica)


def check_together(configs: Sequence[Config], sweep: bool) -> None:
    """Raises ConfigError for cells of which a command can do no more than one. sweep: or else a cell by itself."""
    for key in ("dry_run", "rerun", "cells_per_job", "log_model"):
        if len(values := {getattr(config, key) for config in configs}) > 1:
            raise ConfigError(key, "one value for all cells", sorted(values, key=str))
    asked = {(config.seeds == "auto", config.seeds_at_most, config.seeds_at_most_seconds) for config in configs}
    if any(auto for auto, *_ in asked):
        if not sweep:
            raise ConfigError(
                "seeds", "an integer for a single cell (a sweep, with -m, has comparisons to resolve)", "auto"
            )
        if len(asked) > 1:
            raise ConfigError("seeds", "auto, with its bounds, for all cells of a sweep or for none", "several")


def effective_batch_size(config: Config, n_train: int) -> int:
    """The number of examples in a batch: `full` is N, and nothing is larger than N."""
    return n_train if config.batch_size == "full" else min(int(config.batch_size), n_train)


def effective_learning_rate(config: Config, batch_size: int) -> float:
    """learning_rate × (B / reference_batch_size)^p with p = 0, 1 or ½: what multiplies the cell's reduced gradient.

    So linear for a mean is constant for a sum, and linear for a sum multiplies the mean gradient by B².
    """
    return config.learning_rate * learning_rate_factor(config, batch_size)


def learning_rate_factor(config: Config, batch_size: int) -> float:
    """What `learning_rate_rule` multiplies the key `learning_rate` by."""
    return float((batch_size / config.reference_batch_size) ** LEARNING_RATE_RULES[config.learning_rate_rule])


PARTS: dict[str, Any] = {"dataset": DatasetConfig, "model": ModelConfig, "optimizer": OptimizerConfig}
TYPES = {"name": str, "load": dict, "resample": bool, "study": dict}  # of what `check` has no rule for


def config_from(tree: object) -> Config:
    """The configuration that a config.yaml holds, checked. Raises ConfigError, for every key too many or too few."""
    values = _exactly(tree, Config, "")
    parts = {name: kind(**_exactly(values[name], kind, f"{name}.")) for name, kind in PARTS.items()}
    config = Config(**(values | parts))
    check(config)
    return config


def _exactly(tree: object, kind: Any, prefix: str) -> dict[str, Any]:
    """A dictionary with the fields of a dataclass as its keys, none more, none less."""
    if not isinstance(tree, dict):
        raise ConfigError("config.yaml", f"keys and values in {prefix or 'the file'}", tree)
    names = {field.name for field in fields(kind)}
    wrong = {"unknown": sorted(map(str, tree.keys() - names)), "missing": sorted(names - tree.keys())}
    if found := "; ".join(f"{word} {', '.join(prefix + key for key in keys)}" for word, keys in wrong.items() if keys):
        raise ConfigError("config.yaml", "the keys of this version (the run was made by one with other keys)", found)
    for key, value in tree.items():
        if key in TYPES and prefix in ("", "dataset.") and not isinstance(value, TYPES[key]):
            raise ConfigError(f"config.yaml: {prefix}{key}", f"a {TYPES[key].__name__}", value)
    return tree
