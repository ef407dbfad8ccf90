"""What each column of a table is: a number, a date, a truth value, a category; decided once, from all rows.

So every split of a dataset has the same inputs. What is learned from values of the training part is in `preparation`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.config import ConfigError, DatasetConfig
from harness.data.columns import listing
from harness.data.floats import (
    LARGEST_EXACT,
    LARGEST_VALUE,
    TRUTH,
    Values,
    from_smallest,
    is_numeric,
    name_of,
    read_other,
    strict_floats,
    survey,
)


class TableOptions(NamedTuple):
    """What the keys `dataset.*` ask for where a table is not ready to be trained on; see conf/every_dataset.yaml.

    drop_key: the key that leaves columns out; empty where the data have none. dropped: what it leaves out already.
    """

    prepare: str = "auto"
    max_categories: int = 20
    missing_targets: str = "refuse"
    rare_classes: str = "refuse"
    validation_fraction: float = 0.1
    test_fraction: float = 0.1
    drop_key: str = ""
    dropped: tuple[str, ...] = ()

    @classmethod
    def of(cls, config: DatasetConfig, drop_key: str = "") -> "TableOptions":
        values = {name: getattr(config, name) for name in cls._fields if not name.startswith("drop")}
        dropped = config.load.get("drop") if drop_key else None
        several = dropped if isinstance(dropped, list | tuple) else [] if dropped is None else [dropped]
        return cls(**values, drop_key=drop_key, dropped=tuple(map(str, several)))


@dataclass(frozen=True)
class Column:
    """A column of a table. kind: number, duration, date, yes/no, category; constant and empty ones are left out.

    levels: of a category (sorted) and of yes/no; X holds their places. n_missing: rows without a value. most: inputs
    that a category may have. smallest: what was subtracted from integers that float64 does not hold. whole: its type
    has integers only.
    """

    name: str
    kind: str
    levels: tuple[str, ...] = ()
    n_missing: int = 0
    most: int = 0
    smallest: int = 0
    whole: bool = False

    @property
    def kept(self) -> bool:
        return self.kind not in ("constant", "empty")

    @property
    def width(self) -> int:
        """The number of inputs of its values, without the one that marks a gap."""
        if self.kind != "category":
            return int(self.kept)
        n_inputs = min(len(self.levels), self.most)
        return 1 if n_inputs == 2 else n_inputs

    @property
    def shares(self) -> bool:
        """Whether it has so many levels that the rare ones share an input."""
        return self.kind == "category" and len(self.levels) > self.most

    @property
    def plain(self) -> bool:
        """Whether the values are standardised as they came, and no more."""
        return self.kind in ("number", "yes/no") and not self.n_missing and not self.smallest


def prepared_width(columns: Sequence[Column]) -> int:
    """D', the number of inputs of a network for these columns."""
    return sum(column.width + (column.kept and column.n_missing > 0) for column in columns)


def decisions(columns: Sequence[Column]) -> Iterator[str]:
    """What was decided, in texts for a digest; none where every column is standardised as it came."""
    if all(column.plain for column in columns):
        return
    for column in columns:
        yield f"{column.name!r} {column.kind} {column.n_missing} {column.most} {column.smallest} {len(column.levels)}"
        yield from column.levels


def read_columns(table: Any, options: TableOptions) -> tuple[Values, tuple[Column, ...], list[str]]:
    """X (n, D) of the kept columns of a DataFrame, NaN where a value is missing; every column; what to tell.

    Constant columns are left out if columns have names: of an array they stay, and are 0 when standardised. Raises
    ConfigError for values that are no numbers, dates, truth values or text, and if no column is left.
    """
    if options.prepare == "strict":
        about = zip(_names(table), _kinds_of_numbers(table), _are_whole(table), strict=True)
        return strict_floats(table, "X"), tuple(Column(name, kind, whole=own) for name, kind, own in about), []
    values, columns, n_infinite = _read_all(table, options.max_categories)
    kept = [i for i, column in enumerate(columns) if column.kept]
    if not kept:
        found = listing(repr(column.name) for column in columns) or "no input column"
        raise ConfigError("dataset.load", "an input column whose values differ", found)
    X = values if len(kept) == len(columns) else values[:, kept]
    return np.ascontiguousarray(X), columns, told(columns, n_infinite, len(X), options)


def refuse_unready(table: Any) -> None:
    """Raises ConfigError for a table of inputs that is not numbers without a gap."""
    strict_floats(table, "X")


def _names(table: Any) -> list[str]:
    return [name_of(label, "X") for label in table.columns]


def _kinds_of_numbers(table: Any) -> list[str]:
    from pandas.api.types import is_bool_dtype

    return ["yes/no" if is_bool_dtype(dtype) else "number" for dtype in table.dtypes]


def _are_whole(table: Any) -> list[bool]:
    return [dtype.kind in "iu" for dtype in table.dtypes]


def _read_all(table: Any, most: int) -> tuple[Values, tuple[Column, ...], NDArray[np.int64]]:
    """Values (n, D) of all columns, what these are, and how many infinite values each has."""
    names, kinds = _names(table), _kinds_of_numbers(table)
    numeric = np.array([is_numeric(dtype) for dtype in table.dtypes], bool)
    values, levels, smallest = _numbers(table, numeric), dict[int, tuple[str, ...]](), dict[int, int]()
    for i in map(int, np.flatnonzero(~numeric)):
        kinds[i], values[:, i], levels[i], smallest[i] = read_other(table.iloc[:, i], names[i])
    seen = survey(values)
    for i in map(int, np.flatnonzero(numeric & (seen.largest > LARGEST_EXACT))):
        if table.dtypes.iloc[i].kind in "iu":
            values[:, i], smallest[i] = from_smallest(table.iloc[:, i])
            seen.constant[i] = (values[:, i] == values[0, i]).all()
    if seen.n_missing.any():
        values = np.where(np.abs(values) < LARGEST_VALUE, values, np.nan)
    for i in map(int, np.flatnonzero(seen.constant | (seen.n_missing == len(values)))):
        if seen.n_missing[i]:
            kinds[i] = "empty"
        elif not isinstance(table.columns[i], int | np.integer):
            kinds[i] = "constant"
    columns, whole = [], _are_whole(table)
    for i, (name, kind) in enumerate(zip(names, kinds, strict=True)):
        own = levels.get(i, TRUTH if kind == "yes/no" else ())
        bound = most if kind == "category" else 0
        columns.append(Column(name, kind, own, int(seen.n_missing[i]), bound, smallest.get(i, 0), whole[i]))
    return values, tuple(columns), seen.n_infinite


def _numbers(table: Any, numeric: NDArray[np.bool_]) -> Values:
    """(n, D): the columns that pandas holds as numbers; any values in place of the others."""
    if numeric.all():
        return np.asarray(table.to_numpy(dtype=np.float64, na_value=np.nan))
    values = np.empty(table.shape)
    values[:, numeric] = table.iloc[:, np.flatnonzero(numeric)].to_numpy(dtype=np.float64, na_value=np.nan)
    return values


def told(columns: Sequence[Column], n_infinite: NDArray[np.int64], n_rows: int, options: TableOptions) -> list[str]:
    """A line for each thing that was done to columns beyond standardising them, with the key that changes it."""
    most = options.max_categories
    drop = f"; {options.drop_key}=[NAME] leaves a column out" if options.drop_key else ""
    lines: dict[str, tuple[Callable[[Column], bool], Callable[[Column], str]]] = {
        "left out, because all rows hold the same value": (lambda c: c.kind == "constant", _name),
        "left out, because no row holds a value": (lambda c: c.kind == "empty", _name),
        "text as an input for each value": (lambda c: c.kind == "category" and not c.shares, _with_levels),
        f"text of more than dataset.max_categories={most} values: the most frequent of the training part have an input "
        f"each, all others one together{drop}": (lambda c: c.shares, _with_levels),
        "dates as days since 1970": (lambda c: c.kind == "date", _name),
        "durations as days": (lambda c: c.kind == "duration", _name),
        "integers too large for float64, counted from their smallest": (lambda c: c.kept and c.smallest != 0, _name),
        "gaps filled with the median or the most frequent value of the training part, and marked by an input of their "
        "own": (lambda c: c.kept and c.n_missing > 0, lambda c: f"{c.name!r} ({c.n_missing} of {n_rows})"),
    }
    found = {text: [say(column) for column in columns if holds(column)] for text, (holds, say) in lines.items()}
    infinite = [f"{columns[i].name!r} ({n_infinite[i]})" for i in map(int, np.flatnonzero(n_infinite))]
    found[f"infinite or beyond {LARGEST_VALUE:g}, taken as missing"] = infinite
    return [f"{text}: {listing(names)}" for text, names in found.items() if names]


def _name(column: Column) -> str:
    return repr(column.name)


def _with_levels(column: Column) -> str:
    return f"{column.name!r} ({len(column.levels)})"
