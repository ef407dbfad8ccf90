"""The keyword arguments that `train` and `sweep` share: their names, types and defaults."""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, TypeAlias, TypeVar, cast

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike

P = ParamSpec("P")
Returned = TypeVar("Returned")
Data: TypeAlias = "str | tuple[ArrayLike, ArrayLike] | pd.DataFrame | Mapping[str, Any]"
Grid: TypeAlias = Mapping[str, Iterable[Any]]


def keywords(
    dataset: Data = "digits",
    *,
    target_column: Hashable | list[Hashable] | None = None,
    task: Literal["classification", "regression"] | None = None,
    validation_fraction: float | None = None,
    test_fraction: float | None = None,
    resample: bool | None = None,
    model: Literal["mlp", "linear"] = "mlp",
    hidden: Sequence[int] | None = None,
    activation: Literal["sigmoid", "tanh", "relu", "identity"] | None = None,
    initializer: str | None = None,
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
    epochs: int | None = 30,
    updates: int | None = None,
    train_seconds: float | None = None,
    target: float | None = None,
    target_on: Literal["train", "validation"] = "train",
    order: Literal["reshuffle", "once", "none", "sorted", "source", "replacement"] = "reshuffle",
    last_batch: Literal["keep", "drop"] = "keep",
    seeds: int = 10,
    seed: int = 0,
    dtype: Literal["float64", "float32"] = "float64",
    engine: Literal["vectorized", "per_example", "compiled"] = "vectorized",
    threads: int = 1,
    diagnostics: Literal["off", "cheap", "full"] = "cheap",
) -> None:
    """What `help(harness.train)` shows. The values come from conf/; a test compares these defaults with it."""


def with_keywords(shared: Callable[P, None]) -> Callable[[Callable[..., Returned]], Callable[P, Returned]]:
    """Give a function of **settings the signature of `shared`, for type checkers, `help` and tab completion."""

    def decorated(function: Callable[..., Returned]) -> Callable[P, Returned]:
        return cast("Callable[P, Returned]", _showing(function, shared))

    return decorated


def with_grid_and_keywords(
    shared: Callable[P, None],
) -> Callable[[Callable[..., Returned]], Callable[Concatenate[Grid | Sequence[Grid], P], Returned]]:
    """The same for a function of (grid, **settings)."""

    def decorated(function: Callable[..., Returned]) -> Callable[Concatenate[Grid | Sequence[Grid], P], Returned]:
        return cast("Callable[Concatenate[Grid | Sequence[Grid], P], Returned]", _showing(function, shared))

    return decorated


def _showing(function: Callable[..., Any], shared: Callable[..., None]) -> Callable[..., Any]:
    own, others = signature(function), signature(shared).parameters
    kept = [p for p in own.parameters.values() if p.kind is not Parameter.VAR_KEYWORD and p.name not in others]
    function.__signature__ = own.replace(parameters=[*kept, *others.values()])  # type: ignore[attr-defined]
    return function


def keyword_names() -> list[str]:
    return list(signature(keywords).parameters)
