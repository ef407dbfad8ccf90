"""What is predicted: classes or quantities, as the user says or as the values suggest."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.config import ConfigError
from harness.data.columns import Doubt, listing
from harness.data.floats import (
    LARGEST_EXACT,
    from_smallest,
    has_value,
    is_numeric,
    kind_of,
    name_of,
    read_other,
    refuse_missing,
    strict_floats,
    survey,
    text_columns,
    text_of,
)
from harness.data.inputs import TableOptions
from harness.data.parts import least_of_class, way_with_rare

FEW = 20  # numbers with at most so many different values look like labels of classes
PER_CLASS = 10  # examples of a class, on average, without which whole numbers look like quantities


class Targets(NamedTuple):
    """y and its class names as in Dataset, the rows of the table that they belong to, and what to tell."""

    y: NDArray[Any]
    class_names: tuple[str, ...]
    rows: NDArray[np.intp]
    notes: list[str]


def name_of_target(targets: Any) -> str:
    return listing(repr(name_of(label, "y")) for label in targets.columns)


def likely_task(targets: Any) -> tuple[str, bool]:
    """Classification or regression, from type and number of different values of (n, K); False if it may be the other.

    Text, truth values and integers of few different values are classes; floats with fractions or of many different
    values, and several columns, are quantities. Many integers are rather quantities, few whole floats rather classes.
    """
    from pandas.api.types import is_bool_dtype, is_float_dtype

    if targets.shape[1] > 1:
        return "regression", True
    values = targets.iloc[:, 0].dropna()
    if not is_numeric(values.dtype) or is_bool_dtype(values.dtype):
        return "classification", True
    labels = values.nunique() <= FEW and bool((values == np.rint(values)).all())
    return ("classification" if labels else "regression"), labels is not is_float_dtype(values.dtype)


def decided_task(targets: Any, options: TableOptions) -> str:
    """The likely one; but regression for more than two whole numbers, if one is too rare for a class."""
    task, _ = likely_task(targets)
    values = targets.iloc[:, 0]
    if not is_numeric(values.dtype) or targets.shape[1] > 1 or values.nunique() <= 2:
        return task
    rare = options.rare_classes == "refuse" and values.value_counts().min() < _least(options)
    return "regression" if rare or values.nunique() * PER_CLASS > len(values) else task


def _least(options: TableOptions) -> int:
    return least_of_class(options.validation_fraction, options.test_fraction)


def said_of_task(task: str, targets: Any, class_names: Sequence[str], options: TableOptions) -> str:
    """What was decided where `dataset.task` was left out, with the keys that decide otherwise, if any do."""
    name, numbers = name_of_target(targets), is_numeric(targets.dtypes.iloc[0])
    if task == "classification":
        other = " (dataset.task=regression predicts the number)" if numbers and "True" not in class_names else ""
        return f"{len(class_names)} classes in {name}{other}"
    values = targets.iloc[:, 0]
    keys = None
    if targets.shape[1] == 1 and bool((values == np.rint(values)).all()):
        keys = way_with_rare(values.value_counts().to_numpy(), _least(options))
    other = f" (dataset.task=classification{keys} makes classes of its {values.nunique()} values)"
    return f"numbers in {name}: a regression{'' if keys is None else other}"


def readable(targets: Any, task: str | None) -> tuple[Any, list[str]]:
    """The columns with numbers and dates that pandas holds as objects as float64, one-hot columns as one of labels."""
    import pandas as pd

    if all(map(is_numeric, targets.dtypes)) and (task == "regression" or not _are_one_hot(targets)):
        return targets, []
    columns, notes = [], list[str]()
    for i, label in enumerate(targets.columns):
        column = targets.iloc[:, i]
        name = name_of(label, "y")
        kind = "number" if is_numeric(column.dtype) else kind_of(column, name)
        if not is_numeric(column.dtype) and kind not in ("category", "yes/no"):
            _, values, _, smallest = read_other(column, name)
            column = pd.Series(values, name=label)
            notes += [f"{kind} as days in the target {label!r}"] * (kind in ("date", "duration"))
            notes += [_large(label)] * bool(smallest)
        columns.append(column.reset_index(drop=True))
    table = pd.concat(columns, axis="columns")
    if task != "regression" and _are_one_hot(table):
        names = np.array([name_of(label, "y") for label in table.columns], object)
        labels = pd.Series(names[table.to_numpy(dtype=np.float64).argmax(axis=1)], name=", ".join(names))
        return labels.to_frame(), [*notes, f"one-hot targets as labels: {listing(map(repr, names))}"]
    return table, notes


def _large(label: Any) -> str:
    return f"integers too large for float64 in the target {label!r}, counted from their smallest"


def _are_one_hot(table: Any) -> bool:
    if table.shape[1] < 2 or not all(map(is_numeric, table.dtypes)):
        return False
    values = table.to_numpy(dtype=np.float64, na_value=np.nan)
    return bool(((values == 0) | (values == 1)).all() and (values.sum(axis=1) == 1).all())


def rows_with_target(targets: Any, options: TableOptions) -> NDArray[np.intp]:
    """The rows without a gap in (n, K). Raises ConfigError if there are others, unless they are to be left out."""
    has: NDArray[np.bool_] = np.column_stack([has_value(targets.iloc[:, i]) for i in range(targets.shape[1])])
    if options.prepare == "strict" and options.missing_targets == "refuse":
        refuse_missing(targets, "y", np.sum(~has, axis=0))
    usable = np.logical_and.reduce(has, axis=1)
    if not usable.any():
        raise ConfigError("dataset.load", "a target with values", f"none in {name_of_target(targets)}")
    if not usable.all() and options.missing_targets == "refuse":
        gaps = f"in {np.sum(~usable)} of {len(usable)} rows {name_of_target(targets)} has no finite value"
        way_out = "dataset.missing_targets=drop leaves them out"
        raise ConfigError("dataset.missing_targets", f"drop, because {gaps} ({way_out})", "refuse")
    return np.flatnonzero(usable)


def classes(table: Any, target_names: Any, options: TableOptions) -> Targets:
    """y (n,): the place of each label among the sorted labels, and the names of these; rare ones as wished."""
    if table.shape[1] != 1:
        allowed = "regression, because classification takes one label per example"
        raise ConfigError("dataset.task", allowed, f"classification of {table.shape[1]} target columns")
    labels, y = np.unique(_labels(table.iloc[:, 0]), return_inverse=True)
    named = target_names is not None and np.array_equal(labels, np.arange(len(target_names)))
    names = [str(name) for name in (target_names if named else labels)]
    found = _without_rare(y.astype(np.int64), names, options)
    if len(found.class_names) < 2:
        left = listing(map(repr, found.class_names)) or f"none of {len(names)}"
        raise ConfigError("dataset", f"at least 2 classes in {name_of_target(table)}", f"only {left}")
    return found._replace(notes=[*found.notes, *_alike(names)])


def _labels(column: Any) -> NDArray[Any]:
    """Labels of one type: 1.0 is the class 1, and what is neither number nor truth value is text."""
    values = column.to_numpy()
    if values.dtype.kind not in "biuf" and is_numeric(column.dtype):  # nullable ones
        values = values.astype(np.float64 if column.dtype.kind == "f" else np.int64)
    if values.dtype.kind == "f":
        if len(continuous := values[(values != np.rint(values)) | (np.abs(values) > LARGEST_EXACT)]):
            allowed = f"regression, because the target is continuous ({continuous[0]})"
            raise ConfigError("dataset.task", allowed, "classification")
        return values.astype(np.int64)
    return values if values.dtype.kind in "biu" else np.array(list(map(text_of, values)), object)


def _without_rare(y: NDArray[np.int64], names: list[str], options: TableOptions) -> Targets:
    """Classes that are too small to be split are refused later, left out or made one class, the last."""
    counts = np.bincount(y, minlength=len(names))
    rare = counts < _least(options)
    if not rare.any() or options.rare_classes == "refuse":
        return Targets(y, tuple(names), np.arange(len(y)), [])
    kept = [name for name, is_rare in zip(names, rare, strict=True) if not is_rare]
    listed = listing(f"{names[k]!r} ({counts[k]})" for k in np.flatnonzero(rare))
    place = np.where(rare, len(kept), np.cumsum(~rare) - 1)[y]
    if options.rare_classes == "drop":
        rows = np.flatnonzero(~rare[y])
        return Targets(place[rows], tuple(kept), rows, [f"rows of rare classes left out: {listed}"])
    merged = "other" if "other" not in kept else "other classes"
    return Targets(place, (*kept, merged), np.arange(len(y)), [f"rare classes are one, {merged!r}: {listed}"])


def _alike(names: Sequence[str]) -> list[str]:
    """A line on names that differ in blanks or capitals only."""
    alike: dict[str, list[str]] = {}
    for name in names:
        alike.setdefault("".join(name.split()).casefold(), []).append(name)
    found = [" and ".join(map(repr, some)) for some in alike.values() if len(some) > 1]
    return [Doubt(f"classes whose names differ in blanks or capitals only: {listing(found)}")] if found else []


def quantities(table: Any) -> Targets:
    """y (n,) or (n, K): numbers, none of the K constant."""
    if text := text_columns(table, "y"):
        name, value = next(iter(text.items()))
        if table.shape[1] > 1:
            allowed = f"one column, or several of numbers ({name!r} holds {value!r})"
            raise ConfigError("dataset.load.target", allowed, list(map(str, table.columns)))
        allowed = f"classification, or numbers in the target ({name!r} holds {value!r})"
        raise ConfigError("dataset.task", allowed, "regression")
    values, notes = strict_floats(table, "y"), list[str]()
    for i in map(int, np.flatnonzero(survey(values).largest > LARGEST_EXACT)):
        if table.dtypes.iloc[i].kind in "iu":
            values[:, i], _ = from_smallest(table.iloc[:, i])
            notes.append(_large(table.columns[i]))
    if (constant := np.flatnonzero(np.ptp(values, axis=0) == 0)).size:
        found = listing(name_of(table.columns[i], "y") for i in constant)
        raise ConfigError("dataset.load", "a target that varies", f"a constant: {found}")
    return Targets(values[:, 0] if values.shape[1] == 1 else values, (), np.arange(len(values)), notes)
