"""The keyword arguments of `train` and `sweep` as words of a command line: one set of defaults, one way to refuse."""

import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import fields
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, TypeAlias, TypeVar

from harness.config import ConfigError, did_you_mean, schema

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike

P = ParamSpec("P")
Returned = TypeVar("Returned")
Data: TypeAlias = "str | tuple[ArrayLike, ArrayLike] | pd.DataFrame | Mapping[str, Any]"
Grid: TypeAlias = Mapping[str, Iterable[Any]]
# A keyword of a part is written without the part's name: hidden is model.hidden.
FULL_NAMES = {
    field.name: f"{part}.{field.name}"
    for part, kind in schema.PARTS.items()
    for field in fields(kind)
    if field.name not in ("name", "load")
}
COMMAND_LINE = ("experiment", "size", "rerun", "dry_run", "cells_per_job", "log_model")  # keys that no call has
PLAIN = re.compile(r"(?!(null|true|false|nan|inf)$)[a-z][a-z0-9_]*")  # text that is text without quotes


def keywords(
    dataset: Data = "digits",
    *,
    target_column: Hashable | list[Hashable] | None = None,
    task: Literal["classification", "regression"] | None = None,
    validation_fraction: float | None = None,
    test_fraction: float | None = None,
    resample: bool | None = None,
    prepare: Literal["auto", "strict"] | None = None,
    max_categories: int | None = None,
    missing_targets: Literal["refuse", "drop"] | None = None,
    rare_classes: Literal["refuse", "merge", "drop"] | None = None,
    model: Literal["mlp", "linear"] = "mlp",
    hidden: Sequence[int] | None = None,
    activation: Literal["sigmoid", "tanh", "relu", "identity"] | None = None,
    initializer: str | None = None,
    loss: str | None = None,
    optimizer: Literal["sgd", "momentum", "nesterov", "adam", "rmsprop"] = "sgd",
    weight_decay: float | None = None,
    clip_norm: float | None = None,
    momentum: float | None = None,
    beta1: float | None = None,
    beta2: float | None = None,
    epsilon: float | None = None,
    batch_size: int | Literal["full"] = 64,
    learning_rate: float = 0.1,
    reduction: Literal["mean", "sum"] = "mean",
    learning_rate_rule: Literal["constant", "linear", "sqrt"] = "constant",
    reference_batch_size: int = 64,
    learning_rate_schedule: str = "constant",
    warm_up_epochs: float = 0,
    batch_size_schedule: Literal["constant", "step"] = "constant",
    milestones: Sequence[int] = (),
    milestone_factor: float = 5,
    epochs: int | None = 30,
    updates: int | None = None,
    train_seconds: float | None = None,
    target: float | None = None,
    target_on: Literal["train", "validation"] = "train",
    order: Literal["reshuffle", "once", "none", "sorted", "source", "replacement"] = "reshuffle",
    last_batch: Literal["keep", "drop"] = "keep",
    seeds: int | Literal["auto"] = 10,
    first_replica: int = 0,
    seeds_at_most: int = 40,
    seeds_at_most_seconds: float | None = None,
    seed: int = 0,
    dtype: Literal["float64", "float32"] = "float64",
    engine: Literal["vectorized", "per_example", "compiled"] = "vectorized",
    threads: int = 1,
    diagnostics: Literal["off", "cheap", "full"] = "cheap",
) -> None:
    """What `help(harness.train)` shows. The values come from conf/; a test compares these defaults with it."""


def with_keywords(shared: Callable[P, None]) -> Callable[[Callable[..., Returned]], Callable[P, Returned]]:
    """Give a function of **settings the signature of `shared`, for type checkers, `help` and tab completion."""
    return lambda function: _showing(function, shared)


def with_grid_and_keywords(
    shared: Callable[P, None],
) -> Callable[[Callable[..., Returned]], Callable[Concatenate[Grid | Sequence[Grid], P], Returned]]:
    """The same for a function of (grid, **settings)."""
    return lambda function: _showing(function, shared)


def _showing(function: Callable[..., Returned], shared: Callable[..., None]) -> Callable[..., Returned]:
    own, others = signature(function), signature(shared).parameters
    kept = [p for p in own.parameters.values() if p.kind is Parameter.POSITIONAL_OR_KEYWORD and p.name not in others]
    function.__signature__ = own.replace(parameters=[*kept, *others.values()])  # type: ignore[attr-defined]
    return function


def words_of(grid: Mapping[str, Any], fixed: Mapping[str, Any]) -> list[str]:
    """`key=value` of what all cells share, then `key=value,value` of the grid. Raises ConfigError.

    Of a part's keywords None stands for the value that the chosen dataset, model or optimizer has.
    """
    shared = [(full_name(key), value) for key, value in fixed.items() if not (value is None and key in FULL_NAMES)]
    varied = [(full_name(key), _values(key, values)) for key, values in grid.items()]
    keys = [key for key, _ in (*shared, *varied)]
    if repeated := [key for key in keys if keys.count(key) > 1]:
        raise ConfigError(repeated[0], "each key once, in the grid or as a keyword", f"{repeated[0]} twice")
    alone = [f"{key}={_text(key, _single(key, value))}" for key, value in shared]
    return alone + [f"{key}={','.join(_text(key, value) for value in values)}" for key, values in varied]


def full_name(key: str) -> str:
    """The configuration's key for a keyword or for itself: hidden and model.hidden are model.hidden."""
    known = list(signature(keywords).parameters)
    if key in FULL_NAMES or key in known:
        return FULL_NAMES.get(key, key)
    if "." in key and key.removeprefix("+").split(".")[0] in schema.PARTS:
        return key  # Hydra knows what there is
    if key in COMMAND_LINE:
        raise ConfigError(key, f"a known keyword ({key} belongs to the command line: python -m harness {key}=...)", key)
    raise ConfigError(key, f"a known keyword ({did_you_mean(key, known)}help(harness.train) lists them)", key)


def _values(key: str, values: Any) -> list[Any]:
    """The values of a key in a grid."""
    if isinstance(values, str | Mapping) or not isinstance(values, Iterable):
        raise ConfigError(key, "a list of values in the grid (a value that all cells share is a keyword)", values)
    if listed := list(values):
        return listed
    raise ConfigError(key, "at least one value in the grid", listed)


def _single(key: str, value: Any) -> Any:
    may_be_list = key in ("model.hidden", "milestones") or ("." in key and key not in FULL_NAMES.values())
    if (isinstance(value, list | tuple) or getattr(value, "ndim", 0) > 0) and not may_be_list:
        raise ConfigError(key, "one value (harness.sweep trains a cell for each of several)", value)
    return value


def _text(key: str, value: Any) -> str:
    """A value in Hydra's grammar; text that is no plain word is quoted, so that nothing in it counts as grammar."""
    if key == "dataset" and not isinstance(value, str):
        raise ConfigError(key, "the name of a dataset in a grid (data from Python is a keyword: dataset=(X, y))", value)
    if key in schema.PARTS and not isinstance(value, str):
        raise ConfigError(key, "a name; its settings are keywords of their own", value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int | float):
        return float.__repr__(value) if isinstance(value, float) else int.__repr__(value)  # plain for NumPy's, too
    if isinstance(value, str):
        if PLAIN.fullmatch(value):
            return value
        return "'" + re.sub(r"(\\*)('|$)", lambda found: 2 * found[1] + found[2].replace("'", r"\'"), value) + "'"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{name}:{_text(key, item)}" for name, item in value.items()) + "}"
    if isinstance(value, Sequence):
        return "[" + ",".join(_text(key, item) for item in value) + "]"
    if hasattr(value, "tolist"):  # of NumPy
        return _text(key, value.tolist())
    raise ConfigError(key, "a number, text, a truth value, None, or a list of these", value)
