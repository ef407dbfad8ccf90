"""What is required of a dataset: numbers without gaps, targets of one kind, enough examples for three parts."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.config import ConfigError
from harness.data.columns import listing, one_line

ROUNDING = 1e-9  # an excess that is not rounded up: 10 × (0.1 + 0.2) is 3
LARGEST_VALUE = 1e100  # inputs and targets stay below it, so that their squares, and sums of them, are finite


@dataclass(frozen=True, eq=False)
class Dataset:
    """All examples, unscaled and in the order of their source.

    X (n, D) float64. y: for classification (n,) int64, the index into `class_names` (sorted labels); for regression
    (n,) or (n, K) float64 in the target's own unit, and `class_names` is empty. digest: sha256 over both arrays.
    """

    name: str
    task: str
    X: NDArray[np.float64]
    y: NDArray[Any]
    class_names: tuple[str, ...]
    digest: str


def checked(name: str, task: str, inputs: Any, targets: Any, target_names: Any) -> Dataset:
    """The dataset in these DataFrames of X and y. Raises ConfigError for what cannot be trained on."""
    if text := _text_columns(inputs):
        found = listing(f"{name} ({value!r})" for name, value in text.items())
        raise ConfigError("dataset.load", "numbers in every input column (encode text first, or drop it)", found)
    X = _floats(inputs)
    y, class_names = _class_indices(targets, target_names) if task == "classification" else (_quantities(targets), ())
    digest = hashlib.sha256()
    for array in (X, y):
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(array.tobytes())
    return Dataset(name, task, X, y, class_names, digest.hexdigest())


def tables_of(result: Any, key: str, allowed: str) -> tuple[Any, Any, Any]:
    """DataFrames of X and y, and a Bunch's own names of the classes. `key` and `allowed` are of the refusal."""
    if isinstance(result, Mapping) and {"data", "target"} <= result.keys():
        X, y, names = result["data"], result["target"], result.get("target_names")
    elif isinstance(result, tuple | list) and len(result) == 2:
        (X, y), names = result, None
    else:
        raise ConfigError(key, allowed, result)
    inputs, targets = _table(X, "X"), _table(y, "y")
    if not 0 < len(inputs) == len(targets):
        raise ConfigError("dataset.load", "one target per example", f"{len(inputs)} examples, {len(targets)} targets")
    return inputs, targets, names


def _table(values: Any, name: str) -> Any:
    """A DataFrame of the columns of X (n, D), or of y (n,) or (n, K). Raises ConfigError for any other shape."""
    import pandas as pd

    kinds = list(values.dtypes) if isinstance(values, pd.DataFrame) else []
    if hasattr(values, "tocsr") or any(isinstance(kind, pd.SparseDtype) for kind in kinds):
        raise ConfigError("dataset.load", f"a dense {name}, because sparse ones are not supported", "a sparse one")
    if kinds:
        return values
    try:
        array = values if isinstance(values, pd.Series) else np.asarray(values)
    except ValueError as error:  # lists of different lengths
        raise ConfigError("dataset.load", f"{name} as an array", one_line(error)) from error
    if name == "y" and array.ndim == 1:
        return pd.DataFrame({str(getattr(values, "name", None) or "target"): array})
    if array.ndim != 2 or not array.shape[1]:
        shape = "(examples, inputs)" if name == "X" else "(examples,) or (examples, outputs)"
        raise ConfigError("dataset.load", f"{name} of shape {shape}", f"{name} of shape {array.shape}")
    return pd.DataFrame(array, columns=[f"{name}[:, {i}]" for i in range(array.shape[1])], copy=False)


def _floats(table: Any) -> NDArray[np.float64]:
    """(n, D) of columns of numbers. Raises ConfigError where one is missing."""
    _refuse_missing(table)
    return np.ascontiguousarray(table.to_numpy(dtype=np.float64))


def _is_numeric(column: Any) -> bool:
    from pandas.api.types import is_numeric_dtype

    return bool(is_numeric_dtype(column.dtype)) and column.dtype.kind != "c"


def _text_columns(table: Any) -> dict[str, str]:
    """Columns that hold something else than real numbers, each with its first value that does not read as one."""
    import pandas as pd

    found = {}
    for name, column in table.items():
        if not _is_numeric(column):
            text = column.astype(str)
            odd = pd.to_numeric(text, errors="coerce").isna() & column.notna()
            found[str(name)] = str(text.iloc[odd.argmax()])  # the very first value if all read as numbers
    return found


def _refuse_missing(table: Any) -> None:
    if found := [f"{name} ({n} of {len(table)})" for name, column in table.items() if (n := _n_missing(column))]:
        allowed = f"no value that is missing, infinite or beyond {LARGEST_VALUE:g} (fill the gaps, or drop their rows)"
        raise ConfigError("dataset.load", allowed, listing(found))


def _n_missing(column: Any) -> int:
    if not _is_numeric(column):
        return int(column.isna().sum())
    return int(np.sum(~(np.abs(column.to_numpy(dtype=np.float64, na_value=np.nan)) < LARGEST_VALUE)))


def _class_indices(table: Any, target_names: Any) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """y (n,): the place of each label among the sorted labels, and the names of these."""
    if table.shape[1] != 1:
        allowed = "regression, because classification takes one label per example"
        raise ConfigError("dataset.task", allowed, f"classification of {table.shape[1]} target columns")
    _refuse_missing(table)
    labels, indices = np.unique(_labels(table.iloc[:, 0].to_numpy()), return_inverse=True)
    if len(labels) < 2:
        raise ConfigError("dataset", "at least 2 classes", f"only {labels[0]}")
    named = target_names is not None and np.array_equal(labels, np.arange(len(target_names)))
    return indices.astype(np.int64), tuple(str(name) for name in (target_names if named else labels))


def _labels(values: NDArray[Any]) -> NDArray[Any]:
    """Labels of one type: 1.0 is the class 1, and what is neither number nor truth value is text."""
    if values.dtype.kind == "f":
        if len(continuous := values[(values != np.rint(values)) | (np.abs(values) > 2**53)]):
            allowed = f"regression, because the target is continuous ({continuous[0]})"
            raise ConfigError("dataset.task", allowed, "classification")
        return values.astype(np.int64)
    return values if values.dtype.kind in "biu" else values.astype(str)


def _quantities(table: Any) -> NDArray[np.float64]:
    """y (n,) or (n, K): numbers, none of the K constant."""
    if text := _text_columns(table):
        name, value = next(iter(text.items()))
        allowed = f"classification, or numbers in the target ({name!r} holds {value!r})"
        raise ConfigError("dataset.task", allowed, "regression")
    values = _floats(table)
    if len(constant := table.columns[np.ptp(values, axis=0) == 0]):
        raise ConfigError("dataset.load", "a target that varies", f"a constant: {listing(constant)}")
    return values[:, 0] if values.shape[1] == 1 else values


def check_parts(dataset: Dataset, validation_fraction: float, test_fraction: float) -> None:
    """Refuse too few examples: a class needs about one in each part, as stratification does; R² needs two in each."""
    if dataset.class_names:
        smallest = min(1 - validation_fraction - test_fraction, validation_fraction, test_fraction)
        least = math.ceil(1 / smallest - ROUNDING)
        counts = np.bincount(dataset.y)
        if counts[rarest := int(counts.argmin())] < least:
            allowed = f"at least {least} examples of every class, for one in each of train, validation and test"
            found = f"{counts[rarest]} of class {dataset.class_names[rarest]}, {len(dataset.y)} examples in all"
            raise ConfigError("dataset", allowed, found)
    elif min(sizes := part_sizes(len(dataset.y), validation_fraction, test_fraction)) < 2:
        found = f"{sum(sizes)} examples: {sizes[0]} / {sizes[1]} / {sizes[2]}"
        raise ConfigError("dataset", "at least 2 examples in each of train / validation / test", found)


def part_sizes(n: int, validation_fraction: float, test_fraction: float) -> tuple[int, int, int]:
    """Training, validation and test sizes: what is held out is rounded up, and then the test part of it."""
    held_out = math.ceil(n * (validation_fraction + test_fraction) - ROUNDING)
    n_test = math.ceil(held_out * test_fraction / (validation_fraction + test_fraction) - ROUNDING)
    return n - held_out, held_out - n_test, n_test
