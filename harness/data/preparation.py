"""Columns as inputs of a network: scikit-learn's own transformers, fitted on the training part and on nothing else."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.data.floats import Values
from harness.data.inputs import Column

if TYPE_CHECKING:
    import pandas as pd

LONGEST_LEVEL = 80  # characters of a level that the table of the columns shows
Numbers = NDArray[np.float64]
Places = dict[str, list[int]]  # name of a step -> the columns of X that it takes


@dataclass(frozen=True, eq=False)
class Scaler:
    """What StandardScaler has learned of D columns, by its names (D,); transforms as it does, without scikit-learn."""

    mean_: Numbers
    scale_: Numbers

    @classmethod
    def fitted(cls, values: Numbers) -> "Scaler":
        """On values (n, D). A constant column is only centred."""
        from sklearn.preprocessing import StandardScaler

        scaler = StandardScaler().fit(values)
        return cls(scaler.mean_, scaler.scale_)

    def transform(self, values: Numbers) -> Numbers:
        return (values - self.mean_) / self.scale_


def fitted(columns: Sequence[Column], X_train: Values) -> Any:
    """A transformer of X (n, D) to the inputs (n, D'), fitted on the rows of the training part.

    Where every column is complete and a number, or has two levels, it is a Scaler. Else numbers are standardised,
    after gaps were filled with their median; categories are filled with the most frequent level, one-hot encoded (one
    input for two levels; of many the most frequent have one each, the others share one) and standardised; and for each
    column with gaps one more input, standardised too, says where they are.
    """
    kept = [column for column in columns if column.kept]
    if not any(column.n_missing or column.width > 1 or column.shares for column in kept):
        return Scaler.fitted(X_train)
    from sklearn.compose import ColumnTransformer

    places = places_of(kept)
    steps: dict[str, Callable[[Sequence[Column]], Any]] = {
        "numbers": _numbers,
        "filled": _filled,
        "categories": _categories,
        "shared": _shared,
        "gaps": _gaps,
    }
    parts = [(name, make([kept[i] for i in places[name]]), places[name]) for name, make in steps.items()]
    return ColumnTransformer(parts, sparse_threshold=0).fit(X_train)


def places_of(kept: Sequence[Column]) -> Places:
    """Which columns of X each step of the ColumnTransformer takes."""
    gaps = [i for i, column in enumerate(kept) if column.n_missing]
    encoded = [i for i, column in enumerate(kept) if column.kind == "category" or (column.levels and column.n_missing)]
    filled = sorted(set(gaps) - set(encoded))
    numbers = sorted(set(range(len(kept))) - set(encoded) - set(filled))
    shared = [i for i in encoded if kept[i].shares]
    categories = [i for i in encoded if not kept[i].shares]
    return {"numbers": numbers, "filled": filled, "categories": categories, "shared": shared, "gaps": gaps}


def _numbers(_: Sequence[Column]) -> Any:
    from sklearn.preprocessing import StandardScaler

    return StandardScaler()


def _filled(_: Sequence[Column]) -> Any:
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler())


def _categories(columns: Sequence[Column], most: int | None = None) -> Any:
    """The levels are those of the whole file, so the width does not depend on the rows of the training part."""
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    levels = [np.arange(float(len(column.levels))) for column in columns]
    encoder = OneHotEncoder(categories=levels, drop="if_binary", max_categories=most, sparse_output=False)
    return make_pipeline(SimpleImputer(strategy="most_frequent", keep_empty_features=True), encoder, StandardScaler())


def _shared(columns: Sequence[Column]) -> Any:
    """Of columns with too many levels: apart, as scikit-learn's max_categories groups columns with just enough, too."""
    return _categories(columns, max((column.most for column in columns), default=None))


def _gaps(_: Sequence[Column]) -> Any:
    from sklearn.impute import MissingIndicator
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(MissingIndicator(features="all"), StandardScaler())


def column_table(columns: Sequence[Column], transformer: Any) -> "pd.DataFrame":
    """One row per column of the data: what it is, what was done to it, and what was learned from the training part.

    inputs: which inputs of the network it became, counted from 0; of a column with gaps the last one marks them.
    filled_with: what stands in place of a missing value. mean, standard_deviation: of a column whose values are one
    input. levels: those that have an input; "other" is the input that all others share.
    """
    import pandas as pd

    kept = [column for column in columns if column.kept]
    learned = iter(_learned(kept, transformer))
    rows = [
        {"column": _writable(c.name), "kind": c.kind, "missing": c.n_missing, "done": done(c)}
        | (next(learned) if c.kept else {})
        for c in columns
    ]
    names = ["column", "kind", "missing", "done", "inputs", "filled_with", "mean", "standard_deviation", "levels"]
    return pd.DataFrame(rows, columns=names)


def _writable(text: str) -> str:
    """A text that a file can hold: names and values of a program may hold signs that are no Unicode."""
    return text.encode(errors="backslashreplace").decode()


def done(column: Column) -> str:
    """What was decided about a column, in words."""
    if not column.kept:
        return {"constant": "left out: all rows hold the same value", "empty": "left out: no value"}[column.kind]
    unit = {"date": "as days since 1970, ", "duration": "as days, "}.get(column.kind, "")
    shift = f"minus {column.smallest}, " if column.smallest else ""
    gaps = "gaps filled and marked, " if column.n_missing else ""
    encoded = "one-hot encoded, " if column.kind == "category" else ""
    return f"{unit}{shift}{gaps}{encoded}standardised"


def _learned(kept: Sequence[Column], transformer: Any) -> list[dict[str, Any]]:
    if not hasattr(transformer, "named_transformers_"):  # a StandardScaler of all
        return [
            _of_numbers(str(i), mean, scale) | _levels_of(column)
            for i, (column, mean, scale) in enumerate(zip(kept, transformer.mean_, transformer.scale_, strict=True))
        ]
    about: list[dict[str, Any]] = [{} for _ in kept]
    for name, places in places_of(kept).items():
        if places:
            step, start = transformer.named_transformers_[name], transformer.output_indices_[name].start
            for place, found in zip(places, LEARNED[name](step, [kept[i] for i in places], start), strict=True):
                marked = {"inputs": f"{about[place]['inputs']}, {found.pop('inputs')}"} if name == "gaps" else {}
                about[place] |= found | marked
    return about


def _of_numbers(inputs: str, mean: float, scale: float) -> dict[str, Any]:
    return {"inputs": inputs, "mean": float(mean), "standard_deviation": float(scale)}


def _levels_of(column: Column, own: Sequence[str] = ()) -> dict[str, Any]:
    shown = [_writable(level)[:LONGEST_LEVEL] for level in own or column.levels]
    return {"levels": json.dumps(shown, ensure_ascii=False)} if shown else {}


def _numbers_learned(scaler: Any, columns: Sequence[Column], start: int) -> list[dict[str, Any]]:
    learned = enumerate(zip(columns, scaler.mean_, scaler.scale_, strict=True), start)
    return [_of_numbers(str(i), mean, scale) | _levels_of(column) for i, (column, mean, scale) in learned]


def _filled_learned(pipeline: Any, columns: Sequence[Column], start: int) -> list[dict[str, Any]]:
    imputer, scaler = pipeline
    numbers = _numbers_learned(scaler, columns, start)
    return [about | {"filled_with": float(v)} for about, v in zip(numbers, imputer.statistics_, strict=True)]


def _categories_learned(pipeline: Any, columns: Sequence[Column], start: int) -> list[dict[str, Any]]:
    imputer, encoder, scaler = pipeline
    rare = getattr(encoder, "infrequent_categories_", [None] * len(columns))
    found, first = [], 0
    for column, fill, others in zip(columns, imputer.statistics_, rare, strict=True):
        shared = set() if others is None else set(others.astype(int))
        own = [level for i, level in enumerate(column.levels) if i not in shared] + ["other"] * bool(shared)
        about = {"inputs": "-".join(str(start + i) for i in dict.fromkeys((first, first + column.width - 1)))}
        if column.width == 1:
            about |= _of_numbers(about["inputs"], scaler.mean_[first], scaler.scale_[first])
        if column.n_missing:
            about["filled_with"] = _writable(column.levels[int(fill)])
        found.append(about | _levels_of(column, own))
        first += column.width
    return found


def _gaps_learned(_: Any, columns: Sequence[Column], start: int) -> list[dict[str, Any]]:
    return [{"inputs": str(start + i)} for i in range(len(columns))]


LEARNED = {
    "numbers": _numbers_learned,
    "filled": _filled_learned,
    "categories": _categories_learned,
    "shared": _categories_learned,
    "gaps": _gaps_learned,
}
