"""The code of a logged model: this file is copied into it and is all that runs there. It needs NumPy, pandas, MLflow.

Nothing of the package is imported, so the model loads where there is no harness. See docs/models.md.
"""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel
from numpy.typing import NDArray

Array = NDArray[Any]


def _sigmoid(Z: Array) -> Array:
    with np.errstate(over="ignore"):
        return 1.0 / (1.0 + np.exp(-Z))


def _softmax(Z: Array) -> Array:
    exponentials = np.exp(Z - Z.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


Function = Callable[[Array], Array]
ACTIVATIONS: dict[str, Function] = {
    "sigmoid": _sigmoid,
    "tanh": np.tanh,
    "relu": lambda Z: np.maximum(Z, 0.0),
    "identity": lambda Z: Z,
}
OUTPUTS: dict[str, Function] = {
    "sigmoid_cross_entropy": lambda Z: np.concatenate([1.0 - _sigmoid(Z), _sigmoid(Z)], axis=1),
    "softmax_cross_entropy": _softmax,
    "half_squared_error": lambda Z: Z,
}


class Network(PythonModel):  # type: ignore[misc]
    """Makes inputs of a table as the training did, then Z = A W + b layer by layer."""

    def load_context(self, context: Any) -> None:
        with open(context.artifacts["recipe"], encoding="utf8") as file:
            self.recipe = json.load(file)
        with np.load(context.artifacts["weights"], allow_pickle=False) as stored:
            self.layers = [(stored[f"W{i}"], stored[f"b{i}"]) for i in range(len(stored) // 2)]

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """One row for each row of the table; see `output` for the columns."""
        A = inputs(self.recipe, model_input).astype(self.layers[0][0].dtype)
        for i, (W, b) in enumerate(self.layers):
            Z = A @ W + b
            A = ACTIVATIONS[self.recipe["activation"]](Z) if i < len(self.layers) - 1 else Z
        return output(self.recipe, OUTPUTS[self.recipe["loss"]](A))


def output(recipe: dict[str, Any], values: Array) -> pd.DataFrame:
    """`prediction`, a label, with the probability of each class; or one quantity or several, in the target's unit."""
    if classes := recipe["classes"]:
        labels = np.array([int(name) for name in classes] if recipe["integer_classes"] else classes, object)
        table = pd.DataFrame({"prediction": labels[values.argmax(axis=1)]}).infer_objects()
        return table.assign(**{f"probability_{name}": values[:, k] for k, name in enumerate(classes)})
    values = values * np.array(recipe["target"]["scale"]) + np.array(recipe["target"]["mean"])
    n_outputs = values.shape[1]
    names = ["prediction"] if n_outputs == 1 else [f"prediction_{k}" for k in range(n_outputs)]
    return pd.DataFrame(values, columns=names)


def inputs(recipe: dict[str, Any], table: Any) -> Array:
    """(n, D') in float64, of a DataFrame (by name) or an array (by place). Raises ValueError for what does not fit."""
    U = np.zeros((len(table), len(recipe["mean"])))
    for column in recipe["columns"]:
        values = table[column["name"]] if recipe["named"] else pd.DataFrame(table).iloc[:, column["place"]]
        numbers = READERS[column["kind"]](values, column)
        numbers = np.where(np.abs(numbers) < recipe["largest_value"], numbers, np.nan)
        _fill_inputs(U, numbers, column)
    return (U - np.array(recipe["mean"])) / np.array(recipe["scale"])


def _fill_inputs(U: Array, numbers: Array, column: dict[str, Any]) -> None:
    gaps = np.isnan(numbers)
    if gaps.any():
        if not column["may_miss"]:
            raise ValueError(f"column {column['name']!r}: expected a value in each row, as the training data had")
        numbers = np.where(gaps, column["fill"], numbers)
    if "gap_input" in column:
        U[:, column["gap_input"]] = gaps
    if "input" in column:
        U[:, column["input"]] = numbers
        return
    for level, place in enumerate(column["level_inputs"]):
        if place is not None:
            U[numbers == level, place] = 1.0


def _numbers(values: Any, column: dict[str, Any]) -> Array:
    if not (smallest := column["smallest"]):
        return np.asarray(values.to_numpy(dtype=np.float64, na_value=np.nan))
    return np.array([np.nan if pd.isna(value) else float(int(value) - smallest) for value in values])


def _truth_values(values: Any, column: dict[str, Any]) -> Array:
    return np.asarray(values.astype(object).map(float, na_action="ignore").to_numpy(dtype=np.float64, na_value=np.nan))


def _places(values: Any, column: dict[str, Any]) -> Array:
    """The place of each text among the levels."""
    levels = {level: float(i) for i, level in enumerate(column["levels"])}
    texts = values.astype(object).map(str, na_action="ignore")
    if unknown := sorted(set(texts.dropna()) - levels.keys()):
        known = ", ".join(column["levels"][:8]) + (", ..." if len(levels) > 8 else "")
        raise ValueError(f"column {column['name']!r}: expected one of {known}, got {unknown[0]!r}")
    return np.array([np.nan if pd.isna(text) else levels[text] for text in texts])


def _days_since_1970(values: Any, column: dict[str, Any]) -> Array:
    times = pd.to_datetime(values, utc=True).dt.tz_localize(None).to_numpy()
    whole = times.astype("datetime64[D]")
    days = whole.astype(np.int64) + (times - whole.astype(times.dtype)) / np.timedelta64(1, "D")
    return np.where(np.isnat(times), np.nan, days)


def _days(values: Any, column: dict[str, Any]) -> Array:
    return np.asarray((pd.to_timedelta(values) / pd.Timedelta(days=1)).to_numpy(np.float64, na_value=np.nan))


READERS = {
    "number": _numbers,
    "yes/no": _truth_values,
    "category": _places,
    "date": _days_since_1970,
    "duration": _days,
}

set_model(Network())
