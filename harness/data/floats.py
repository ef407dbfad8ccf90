"""The values of one column, or of all, as float64: numbers, dates as days, places among the levels of a category."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.config import ConfigError
from harness.data.columns import listing

LARGEST_VALUE = 1e100  # inputs and targets stay below it, so that their squares, and sums of them, are finite
LARGEST_EXACT = 2**53  # float64 does not hold every integer beyond it
TRUTH = ("False", "True")  # levels of yes/no
CHUNK = 1 << 20  # values that are looked at together
# pandas' word for the values of a column of objects -> kind of the column; any other word is refused
KINDS = {
    **dict.fromkeys(("floating", "mixed-integer-float", "decimal"), "number"),
    **dict.fromkeys(("string", "categorical", "bytes", "mixed", "mixed-integer", "interval", "time"), "category"),
    **dict.fromkeys(("date", "datetime", "datetime64", "period"), "date"),
    **dict.fromkeys(("timedelta", "timedelta64"), "duration"),
    "integer": "integer",
    "boolean": "yes/no",
    "empty": "empty",
}
Values = NDArray[np.float64]


def name_of(label: Any, array: str) -> str:
    """The name of a column; of one that is only numbered, as in an array, like X[:, 3]."""
    return f"{array}[:, {label}]" if isinstance(label, int | np.integer) else str(label)


def is_numeric(dtype: Any) -> bool:
    from pandas.api.types import is_numeric_dtype

    return bool(is_numeric_dtype(dtype)) and dtype.kind != "c"


def strict_floats(table: Any, array: str) -> Values:
    """(n, D) of columns of numbers without a gap. Raises ConfigError for any other table."""
    if text := text_columns(table, array):
        auto = ", or dataset.prepare=auto encodes it" if array == "X" else ""
        found = listing(f"{name} ({value!r})" for name, value in text.items())
        raise ConfigError("dataset.load", f"numbers in every input column (encode text first{auto})", found)
    values = table.to_numpy(dtype=np.float64, na_value=np.nan)
    refuse_missing(table, array, survey(values).n_missing)
    return np.ascontiguousarray(values)


def refuse_missing(table: Any, array: str, n_missing: NDArray[np.int64]) -> None:
    """Raises ConfigError if a column misses values. n_missing: rows without a usable value, of each column."""
    if (where := np.flatnonzero(n_missing)).size:
        found = listing(f"{name_of(table.columns[i], array)} ({n_missing[i]} of {len(table)})" for i in where)
        ways = {"X": "dataset.prepare=auto fills gaps", "y": "dataset.missing_targets=drop leaves out their rows"}
        allowed = f"no value that is missing, infinite or beyond {LARGEST_VALUE:g} ({ways[array]})"
        raise ConfigError("dataset.load", allowed, found)


def text_columns(table: Any, array: str) -> dict[str, str]:
    """Columns that hold something else than real numbers, each with its first value that does not read as one."""
    import pandas as pd

    found = {}
    for i in np.flatnonzero([not is_numeric(dtype) for dtype in table.dtypes]):
        column = table.iloc[:, i]
        text = column.astype(object).map(str)
        odd = pd.to_numeric(text, errors="coerce").isna().to_numpy() & column.notna().to_numpy()
        found[name_of(table.columns[i], array)] = text.iloc[odd.argmax()]  # the very first value if all read as numbers
    return found


def has_value(column: Any) -> NDArray[np.bool_]:
    """(n,) whether a row has a value; of numbers, a finite one below LARGEST_VALUE."""
    if not is_numeric(column.dtype):
        return np.asarray(column.notna(), bool)
    return np.abs(column.to_numpy(dtype=np.float64, na_value=np.nan)) < LARGEST_VALUE


class Survey(NamedTuple):
    """Of each column: rows without a usable value (finite, below LARGEST_VALUE), those of them that are not NaN,
    whether all rows are equal, and the largest |value| of the usable ones.
    """

    n_missing: NDArray[np.int64]
    n_infinite: NDArray[np.int64]
    constant: NDArray[np.bool_]
    largest: Values


def survey(values: Values) -> Survey:
    """Look at the rows in parts, so that little memory is needed beside them."""
    n, width = values.shape
    missing, infinite, largest = np.zeros(width, int), np.zeros(width, int), np.zeros(width)
    constant = np.ones(width, bool)
    step = max(1, CHUNK // max(1, width))
    for start in range(0, n, step):
        part = values[start : start + step]
        size = np.abs(part)
        usable = size < LARGEST_VALUE
        missing += len(part) - usable.sum(axis=0)
        infinite += (size >= LARGEST_VALUE).sum(axis=0)
        constant &= (part == values[0]).all(axis=0)
        largest = np.maximum(largest, size.max(axis=0, where=usable, initial=0.0))
    return Survey(missing, infinite, constant, largest)


Read = tuple[str, Values, tuple[str, ...], int]


def read_other(column: Any, name: str) -> Read:
    """Kind, values (n,), levels and smallest of a column that pandas does not hold as numbers. Raises ConfigError."""
    return READERS[kind_of(column, name)](column)


def kind_of(column: Any, name: str) -> str:
    """The kind of a column that pandas does not hold as numbers. Raises ConfigError for other values than KINDS."""
    from pandas.api.types import infer_dtype

    word = infer_dtype(column, skipna=True)
    kind = KINDS.get(word)
    if kind is None or (word.startswith("mixed") and any(map(_is_nested, column))):
        value = next(value for value in column if value is not None)
        raise ConfigError("dataset.load", f"numbers, text, truth values or dates in column {name!r}", value)
    return kind


def _is_nested(value: Any) -> bool:
    return hasattr(value, "__len__") and not isinstance(value, str | bytes)


def _floats(column: Any) -> Read:
    return "number", column.astype(object).map(float, na_action="ignore").to_numpy(np.float64, na_value=np.nan), (), 0


def _integers(column: Any) -> Read:
    values, smallest = from_smallest(column)
    return "number", values, (), smallest


def _truth_values(column: Any) -> Read:
    return "yes/no", _floats(column)[1], TRUTH, 0


def _nothing(column: Any) -> Read:
    return "empty", np.full(len(column), np.nan), (), 0


def _categories(column: Any) -> Read:
    import pandas as pd

    texts = np.empty(len(column), object)
    texts[:] = [None if gap else text_of(value) for value, gap in zip(column, column.isna(), strict=True)]
    codes, levels = pd.factorize(texts, sort=True)
    return "category", np.where(codes < 0, np.nan, codes), tuple(levels), 0


def text_of(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _dates(column: Any) -> Read:
    """Days since 1970, UTC. By NumPy, as pandas' nanoseconds do not reach every year."""
    import pandas as pd

    if hasattr(column.dtype, "freq"):
        column = column.dt.to_timestamp()
    if pd.api.types.infer_dtype(column, skipna=True) == "date":
        times = np.array([None if pd.isna(day) else day for day in column], "datetime64[D]")
    else:
        times = pd.to_datetime(column, utc=True).dt.tz_localize(None).to_numpy()
    whole = times.astype("datetime64[D]")
    days = whole.astype(np.int64) + (times - whole.astype(times.dtype)) / np.timedelta64(1, "D")
    return "date", np.where(np.isnat(times), np.nan, days), (), 0


def _durations(column: Any) -> Read:
    """Days."""
    import pandas as pd

    days = pd.to_timedelta(column) / pd.Timedelta(days=1)
    return "duration", days.to_numpy(np.float64, na_value=np.nan), (), 0


READERS: dict[str, Callable[[Any], Read]] = {
    "number": _floats,
    "integer": _integers,
    "yes/no": _truth_values,
    "category": _categories,
    "date": _dates,
    "duration": _durations,
    "empty": _nothing,
}


def from_smallest(column: Any) -> tuple[Values, int]:
    """Integers (n,) as float64, NaN where one is missing; minus the smallest of them if float64 does not hold them."""
    import pandas as pd

    integers = [None if pd.isna(value) else int(value) for value in column]
    known = [value for value in integers if value is not None]
    exact = not known or max(map(abs, known)) <= LARGEST_EXACT
    smallest = 0 if exact else min(known)
    return np.array([np.nan if value is None else float(value - smallest) for value in integers]), smallest
