"""A split's preparation as plain values: a program without scikit-learn makes the same inputs of a new table."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from harness.data.checks import Dataset
from harness.data.floats import LARGEST_VALUE, Values
from harness.data.inputs import Column
from harness.data.preparation import places_of
from harness.data.splits import Splits

Recipe = dict[str, Any]  # of JSON
SCALES = ("mean", "scale")  # of a StandardScaler
NUMERIC = ("number", "yes/no", "empty")  # kinds of columns that an array of numbers may have


def recipe(dataset: Dataset, splits: Splits) -> Recipe:
    """What `fitted` has learned. Input j of the network is (value - mean[j]) / scale[j].

    columns: of each kept column its name and place in the table, its kind, and which inputs it becomes: `input` takes
    the value, `level_inputs` has one input (or none) for each of its levels, `gap_input` is 1 where a value is missing,
    and `fill` stands there in its place (of a category the place of a level). named: the columns have names, or are not
    all numbers; else X is an array. target: mean and scale of a quantity.
    """
    mean, scale = scales(splits.transformer)
    places = [i for i, column in enumerate(dataset.columns) if column.kept]
    kept = [dataset.columns[i] for i in places]
    columns = [_described(column, place) for column, place in zip(kept, places, strict=True)]
    for place, found in _inputs(kept, splits.transformer):
        columns[place] |= found
    target = splits.target_scaler and {name: getattr(splits.target_scaler, f"{name}_").tolist() for name in SCALES}
    return {
        "columns": columns,
        "n_columns": len(dataset.columns),
        "named": not all(column.name.startswith("X[:, ") and column.kind in NUMERIC for column in dataset.columns),
        "largest_value": LARGEST_VALUE,
        "mean": mean.tolist(),
        "scale": scale.tolist(),
        "classes": list(dataset.class_names),
        "target": target,
    }


def _described(column: Column, place: int) -> dict[str, Any]:
    known = {name: getattr(column, name) for name in ("name", "kind", "whole", "smallest")}
    return {**known, "place": place, "levels": list(column.levels), "may_miss": column.n_missing > 0}


def scales(transformer: Any) -> tuple[Values, Values]:
    """Mean and standard deviation of each input, (D',)."""
    if hasattr(transformer, "mean_"):
        return transformer.mean_, transformer.scale_
    steps = [transformer.named_transformers_[name] for name, _, places in transformer.transformers_ if places]
    scalers = [step if hasattr(step, "mean_") else step[-1] for step in steps]
    return np.concatenate([s.mean_ for s in scalers]), np.concatenate([s.scale_ for s in scalers])


def _inputs(kept: Sequence[Column], transformer: Any) -> Iterator[tuple[int, dict[str, Any]]]:
    """(place among the kept columns, what is known of its inputs)."""
    if hasattr(transformer, "mean_"):
        yield from ((i, {"input": i}) for i in range(len(kept)))
        return
    for name, places in places_of(kept).items():
        if not places:
            continue
        step, start = transformer.named_transformers_[name], transformer.output_indices_[name].start
        if name in ("categories", "shared"):
            yield from zip(places, _level_inputs(step, [kept[i] for i in places], start), strict=True)
            continue
        key = "gap_input" if name == "gaps" else "input"
        fills = [{"fill": float(v)} for v in step[0].statistics_] if name == "filled" else [{}] * len(places)
        yield from ((place, {key: start + i, **fills[i]}) for i, place in enumerate(places))


def _level_inputs(step: Any, columns: Sequence[Column], start: int) -> Iterator[dict[str, Any]]:
    """The encoder is asked what it makes of each level."""
    imputer, encoder, _ = step
    for i, (column, fill) in enumerate(zip(columns, imputer.statistics_, strict=True)):
        codes = np.zeros((len(column.levels), len(columns)))
        codes[:, i] = np.arange(len(column.levels))
        own = encoder.transform(codes)[:, slice(first := sum(c.width for c in columns[:i]), first + column.width)]
        inputs = [start + first + int(row.argmax()) if row.any() else None for row in own]
        yield {"level_inputs": inputs, "fill": int(fill)}
