"""What is required of a dataset: inputs and targets of one length, of which a network can learn something."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.config import ConfigError, visible
from harness.data.columns import Doubt, one_line
from harness.data.doubts import doubts
from harness.data.floats import name_of
from harness.data.inputs import Column, TableOptions, decisions, prepared_width, read_columns, refuse_unready
from harness.data.targets import Targets, classes, decided_task, quantities, readable, rows_with_target, said_of_task

COPIES = 3  # of the prepared inputs that are in memory at once
BYTES = 8  # of a float64
LONGEST = 400  # characters of a note


@dataclass(frozen=True, eq=False)
class Dataset:
    """All examples, unscaled and in the order of their source.

    X (n, D) float64: of a category the places of its levels, of a date days; NaN where a value is missing. y: for
    classification (n,) int64, the index into `class_names` (sorted labels, rare ones merged into a last one); for
    regression (n,) or (n, K) float64 in the target's own unit, and `class_names` is empty. digest: sha256 over both
    arrays and, unless all columns are complete numbers, what was decided about the columns. columns: all of the table;
    the kept ones are those of X. notes: what was found out or done, a line each. kept_as: see `bundled`.
    """

    name: str
    task: str
    X: NDArray[np.float64]
    y: NDArray[Any]
    class_names: tuple[str, ...]
    digest: str
    columns: tuple[Column, ...] = ()
    notes: tuple[str, ...] = ()
    kept_as: str = ""


class Tables(NamedTuple):
    """DataFrames of X and y, a Bunch's own names of the classes, and what a reader found out about its file."""

    inputs: Any
    targets: Any
    class_names: Any = None
    notes: tuple[str, ...] = ()


def checked(name: str, task: str | None, tables: Tables, options: TableOptions) -> Dataset:
    """The dataset in these tables, its task decided if it is None. Raises ConfigError for what cannot be trained on."""
    inputs, labels, class_names, notes = tables
    if options.prepare == "strict":
        refuse_unready(inputs)
    rows = rows_with_target(labels, options)
    notes = (*notes, *_left_out(len(inputs) - len(rows)))
    labels, found = readable(labels.iloc[rows], task)
    chosen = task or decided_task(labels, options)
    y, names, kept, more = classes(labels, class_names, options) if chosen == "classification" else quantities(labels)
    rows = rows[kept]
    X, columns, done = read_columns(inputs if len(rows) == len(inputs) else inputs.iloc[rows], options)
    said = [] if task else [said_of_task(chosen, labels, names, options)]
    _check_memory(len(X), prepared_width(columns) + len(names), columns)
    targets = [name_of(label, "y") for label in labels.columns]
    doubted = doubts(X, [c for c in columns if c.kept], Targets(y, names, kept, []), targets, options)
    told = tuple(map(_shortened, dict.fromkeys((*notes, *found, *said, *more, *doubted, *done))))
    return Dataset(name, chosen, X, y, names, digest_of(X, y, columns), columns, told)


def _shortened(note: str) -> str:
    """A line that fits into a terminal's few; names of columns may have any length."""
    text, longest = visible(note), 2 * LONGEST if isinstance(note, Doubt) else LONGEST
    return type(note)(text if len(text) <= longest else f"{text[:longest]} ...")


def _left_out(n_rows: int) -> list[str]:
    return [f"{n_rows} rows without a target left out"] * bool(n_rows)


def digest_of(X: NDArray[np.float64], y: NDArray[Any], columns: tuple[Column, ...]) -> str:
    digest = hashlib.sha256()
    for array in (X, y):
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(array.tobytes())
    for text in decisions(columns):
        digest.update(text.encode(errors="surrogatepass") + b"\0")
    return digest.hexdigest()


def _check_memory(n: int, width: int, columns: tuple[Column, ...]) -> None:
    """Refuse encoded data that do not fit into this machine's memory, before they are made."""
    if all(column.plain for column in columns) or not hasattr(os, "sysconf"):
        return
    memory, needed = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), COPIES * BYTES * n * width
    if needed > memory:
        sizes = f"{n} rows of {width} inputs need {needed / 1e9:.0f} GB of {memory / 1e9:.0f} GB"
        allowed = f"fewer inputs per column of text, because {sizes}"
        raise ConfigError("dataset.max_categories", allowed, max(column.most for column in columns))


def tables_of(result: Any, key: str, allowed: str) -> Tables:
    """What a loader returned or a program gave, as tables. `key` and `allowed` are of the refusal."""
    if isinstance(result, Mapping) and {"data", "target"} <= result.keys():
        X, y = result["data"], result["target"]
        names, notes = result.get("target_names"), tuple(result.get("notes", ()))
    elif isinstance(result, tuple | list) and len(result) == 2:
        (X, y), names, notes = result, None, ()
    else:
        raise ConfigError(key, allowed, result)
    inputs, targets = _table(X, "X"), _table(y, "y")
    if not 0 < len(inputs) == len(targets):
        allowed = "one target per example" if len(inputs) != len(targets) else "at least one example"
        raise ConfigError("dataset.load", allowed, f"{len(inputs)} examples, {len(targets)} targets")
    return Tables(inputs, targets, names, notes)


def _table(values: Any, name: str) -> Any:
    """A DataFrame of the columns of X (n, D), or of y (n,) or (n, K). Raises ConfigError for any other shape."""
    import pandas as pd

    types = list(values.dtypes) if isinstance(values, pd.DataFrame) else []
    if hasattr(values, "tocsr") or any(isinstance(dtype, pd.SparseDtype) for dtype in types):
        raise ConfigError("dataset.load", f"a dense {name}, because sparse ones are not supported", "a sparse one")
    if types:
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
    if array.dtype.kind == "U":  # NumPy made text of a row's numbers because others are text
        return pd.DataFrame(array.astype(object)).apply(_as_numbers)
    frame = pd.DataFrame(array, copy=False)
    return frame.infer_objects() if array.dtype == object else frame


def _as_numbers(column: Any) -> Any:
    """A column of text as numbers, where all of it reads as such; NumPy has made "nan" of missing values."""
    import pandas as pd

    known = column.where(column != "nan", None)
    try:
        return pd.to_numeric(known)
    except ValueError:
        return known
