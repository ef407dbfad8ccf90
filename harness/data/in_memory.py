"""Arrays and DataFrames that a Python program passes in place of the name of a dataset.

They go through the same checks as what a loader returns, so the same values have the same digest whichever way they
came. The task follows from the targets where that is clear.
"""

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np

from harness.config import ConfigError
from harness.data.checks import Dataset, checked, tables_of
from harness.data.files import listing

Columns = Hashable | list[Hashable]  # the name of a column, or of several

FEW = 20  # numbers with at most so many different values look like labels of classes
NAME = "data"
SOURCES = "a dataset's name, (X, y), a DataFrame or a scikit-learn Bunch"


def in_memory(data: Any, task: str | None = None, target_column: Columns | None = None, name: str = NAME) -> Dataset:
    """The examples in (X, y), in a DataFrame or in a scikit-learn Bunch.

    X (n, D): an array or a DataFrame. y (n,) or (n, K): an array, a Series or a DataFrame. Of a lone DataFrame
    `target_column` is y (the last column unless given), the others are X. Without `task`, text, truth values and
    integers of at most 20 different values are labels of a classification; floats with fractions or with more different
    values, and several columns, are targets of a regression. Other targets need a task.
    Raises ConfigError for data that cannot be trained on. Copies nothing that has the right type already.
    """
    inputs, targets, class_names = tables_of(_pair(data, target_column))
    return checked(name, task or _task(targets), inputs, targets, class_names)


def _pair(data: Any, target_column: Columns | None) -> Any:
    """What a loader would return: (X, y) or a Bunch."""
    import pandas as pd

    if isinstance(data, pd.DataFrame):
        return _cut(data, target_column)
    if target_column is not None:
        raise ConfigError("target_column", "None, because only a DataFrame has columns by name", target_column)
    if isinstance(data, Mapping) or (isinstance(data, tuple | list) and len(data) == 2):
        return data if isinstance(data, Mapping) else tuple(data)
    raise ConfigError("dataset", SOURCES, f"a {type(data).__name__}")


def _cut(frame: Any, target_column: Columns | None) -> tuple[Any, Any]:
    names = list(frame.columns)
    wanted = names[-1] if target_column is None else target_column
    wanted = wanted if isinstance(wanted, list) else [wanted]
    if missing := [str(name) for name in wanted if name not in names]:
        allowed = f"columns of the DataFrame: {listing([str(name) for name in names], 40)}"
        raise ConfigError("target_column", allowed, listing(missing))
    return frame.drop(columns=wanted), frame[wanted]


def _task(targets: Any) -> str:
    """Classification or regression, from the type of the targets (n, K) and how many different values they have."""
    from pandas.api.types import is_bool_dtype, is_float_dtype, is_numeric_dtype

    if targets.shape[1] > 1:
        return "regression"
    column = targets.iloc[:, 0]
    if not is_numeric_dtype(column.dtype) or is_bool_dtype(column.dtype):
        return "classification"
    values = column.dropna()
    labels = values.nunique() <= FEW and bool((values == np.rint(values)).all())
    if labels is is_float_dtype(column.dtype):
        found = f"{values.nunique()} different values of type {column.dtype}"
        raise ConfigError("task", "classification or regression, because these targets may mean either", found)
    return "classification" if labels else "regression"
