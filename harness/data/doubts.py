"""What to know before a score is believed: inputs that give the target away, and columns that name the rows."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from harness.data.columns import Doubt, quoted, word
from harness.data.inputs import Column, TableOptions
from harness.data.targets import Targets

FEWEST, ENOUGH = 3, 10  # rows: of fewer, columns count, or are alike, by chance
SAME = 1e-6  # 1 - |correlation| of a quantity and itself in another unit, rounded to a few digits
CHUNK = 1 << 20  # values that are looked at together
LONGEST_RUN = 64  # neighbours that are looked at as one-hot columns
Array = NDArray[np.float64]


def doubts(
    X: Array, columns: Sequence[Column], targets: Targets, names: Sequence[str], options: TableOptions
) -> list[str]:
    """Notes on inputs X (n, D) and targets that make a score look better than it is.

    columns: those of X. names: of the targets' columns.
    """
    if len(X) < FEWEST:
        return []
    told = []
    if options.drop_key and (counting := [columns[i].name for i in _counting(X)]):
        told.append(f"{quoted(counting)} numbers the rows: {left_out(counting, options)}")
    if len(X) >= ENOUGH:
        told += _of_many(X, columns, targets, names, options)
    return list(map(Doubt, told))


def _counting(X: Array) -> Iterator[int]:
    """The columns that are 0 ... n - 1 or 1 ... n."""
    rows = np.arange(len(X))
    for i in map(int, np.flatnonzero(np.isin(X[0], (0, 1)) & (X[1] == X[0] + 1))):
        if np.array_equal(X[:, i], rows + X[0, i]):
            yield i


def _of_many(
    X: Array, columns: Sequence[Column], targets: Targets, names: Sequence[str], options: TableOptions
) -> Iterator[str]:
    y = targets.y.reshape(len(targets.y), -1)
    found = _of_labels(X, columns, targets, names) if targets.class_names else _of_quantities(X, columns, y, names)
    for what, inputs in found:
        if inputs:
            yield f"{what}; if made from it, {left_out(inputs, options)}"
    if len(names) == 1 and set(targets.class_names) in ({"0", "1"}, {"False", "True"}):
        yield from _siblings(X, columns, y[:, 0], names[0], options)
    if named := [c.name for c in columns if c.kind == "category" and len(c.levels) == len(X)]:
        yield f"the texts of {quoted(named)} all differ, so nothing is learned from them: {left_out(named, options)}"
    if counted := [names[k] for k in range(y.shape[1]) if not targets.class_names and set(np.diff(y[:, k])) == {1.0}]:
        other = f" ({word('dataset.load.target', 'NAME')} takes another)" * bool(options.drop_key)
        yield f"the target {quoted(counted)} numbers the rows: is it the right one?{other}"


def left_out(names: Sequence[str], options: TableOptions) -> str:
    """What to type to leave these columns out too."""
    it = "it" if len(names) == 1 else "them"
    return (
        f"{word(options.drop_key, [*options.dropped, *names])} leaves {it} out"
        if options.drop_key
        else f"leave {it} out"
    )


Found = Iterator[tuple[str, list[str]]]  # what the inputs are, and their names


def _of_labels(X: Array, columns: Sequence[Column], targets: Targets, names: Sequence[str]) -> Found:
    """Inputs of one value for each class: all different, or of one class apart."""
    _, first = np.unique(targets.y, return_index=True)
    of_class = X[first]  # (K, D)
    copies, indicators = list[str](), dict[str, str]()
    for i in map(int, np.flatnonzero(_equal(X, of_class, targets.y))):
        values, counts = np.unique(of_class[:, i], return_counts=True)
        if len(values) == len(first):
            copies.append(columns[i].name)
        elif len(values) == 2 and counts.min() == 1:
            k = int(np.flatnonzero(of_class[:, i] == values[counts.argmin()])[0])
            indicators[columns[i].name] = targets.class_names[k]
    yield f"{quoted(copies)} holds the target {quoted(names)} in other words", copies
    classes = quoted(dict.fromkeys(indicators.values()))
    yield f"each of {quoted(indicators)} tells one class of the target from all others ({classes})", list(indicators)


def _equal(X: Array, of_class: Array, y: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(D,) whether a column has one value in all rows of each class."""
    equal = np.empty(X.shape[1], bool)
    step = max(1, CHUNK // len(X))
    for start in range(0, X.shape[1], step):
        part = slice(start, start + step)
        equal[part] = (X[:, part] == of_class[y, part]).all(axis=0)
    return equal


def _of_quantities(X: Array, columns: Sequence[Column], y: Array, names: Sequence[str]) -> Found:
    """Inputs that are a multiple of a target, apart from a constant and rounding."""
    for k, name in enumerate(names):
        alike = [column for column, r in zip(columns, _correlations(X, y[:, k]), strict=True) if 1 - abs(r) < SAME]
        copies = [column.name for column in alike if column.kind in ("number", "yes/no", "date", "duration")]
        yield f"{quoted(copies)} holds the target {name!r}, perhaps in another unit", copies


def _correlations(X: Array, y: Array) -> Array:
    """(D,) of each column with y; NaN for a column with a gap or of one value."""
    centred, found = y - y.mean(), np.empty(X.shape[1])
    step = max(1, CHUNK // len(X))
    with np.errstate(all="ignore"):
        for start in range(0, X.shape[1], step):
            part = X[:, start : start + step] - X[:, start : start + step].mean(axis=0)
            norms = np.sqrt((part**2).sum(axis=0) * (centred**2).sum())
            found[start : start + step] = centred @ part / norms
    return found


def _siblings(X: Array, columns: Sequence[Column], y: Array, name: str, options: TableOptions) -> Iterator[str]:
    """A note on neighbours of which one is 1 in every row where the target is 0: the columns are one-hot."""
    apart = ((X == 0) | (X == 1)).all(axis=0) & (X.max(axis=0) == 1) & (y @ np.nan_to_num(X) == 0)
    for start in map(int, np.flatnonzero(apart)):
        total = y.astype(np.float64)
        for stop in range(start, min(start + LONGEST_RUN, len(columns))):
            total = total + X[:, stop]
            if not apart[stop] or total.max() > 1:
                break
            if stop > start and total.min() == 1:
                yield _one_hot_told([column.name for column in columns[start : stop + 1]], name, options)
                return


def _one_hot_told(siblings: list[str], name: str, options: TableOptions) -> str:
    together = f"{word('dataset.load.target', [*siblings, name])} predicts all together"
    ways = f"{together if options.drop_key else 'give all as targets'}, {left_out(siblings, options)}"
    return f"{quoted(siblings)} and the target {name!r} are one-hot, so that the inputs give it away: {ways}"
