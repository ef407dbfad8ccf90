"""Files that carry the types of their columns: Parquet, Feather, NPZ, NPY and ARFF. Nothing is unpickled."""

import io
import re
from pathlib import Path
from typing import Any

import numpy as np

from harness.config import ConfigError
from harness.data.columns import bare, quoted, word
from harness.data.contents import MOST_BYTES, PATH, utf8
from harness.data.tables import unique_names

PAIRS = (("X", "y"), ("data", "target"), ("data", "labels"), ("features", "labels"), ("images", "labels"))
ATTRIBUTE = re.compile(r"@attribute\s+('(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|\S+)\s+(.+)", re.IGNORECASE)
NUMERIC = ("numeric", "real", "integer")


def read_parquet(content: bytes) -> tuple[Any, list[str]]:
    """The columns of a Parquet file; an index that pandas wrote is left out."""
    from pyarrow.parquet import ParquetFile

    file = ParquetFile(io.BytesIO(content))
    _refuse_many(file.metadata.num_rows * file.metadata.num_columns)
    return _from_arrow(file.read())


def read_feather(content: bytes) -> tuple[Any, list[str]]:
    """The columns of a Feather file."""
    from pyarrow import feather

    return _from_arrow(feather.read_table(io.BytesIO(content)))


def _from_arrow(table: Any) -> tuple[Any, list[str]]:
    import pyarrow as pa

    names, notes = unique_names(table.column_names, table.num_columns)
    stored = ((table.schema.pandas_metadata or {}).get("index_columns") or []) if table.schema.metadata else []
    index = [name for name in stored if isinstance(name, str) and name in names]
    notes += [f"the index {quoted(index)} left out, as pandas wrote it"] if index else []
    table = table.rename_columns(names).drop_columns(index).replace_schema_metadata(None)
    for i, kind in enumerate(table.schema):
        if pa.types.is_decimal(kind.type):
            table = table.set_column(i, kind.name, table.column(i).cast(pa.float64()))
        elif pa.types.is_date(kind.type):
            table = table.set_column(i, kind.name, table.column(i).cast(pa.timestamp("s")))
        elif pa.types.is_dictionary(kind.type):
            table = table.set_column(i, kind.name, table.column(i).cast(kind.type.value_type))
    return _nullable(table.to_pandas(), table), notes


def _nullable(frame: Any, table: Any) -> Any:
    """Truth values with gaps as pandas' own type: Arrow gives objects."""
    import pyarrow as pa

    gaps = [f.name for f in table.schema if pa.types.is_boolean(f.type) and table.column(f.name).null_count]
    return frame.astype(dict.fromkeys(gaps, "boolean")) if gaps else frame


def _refuse_many(cells: int) -> None:
    if 8 * cells > 2 * MOST_BYTES:
        allowed = f"at most {2 * MOST_BYTES // 8} cells, which are kept in memory (keep fewer rows or columns)"
        raise ConfigError(PATH, allowed, f"{cells} cells")


def read_npz(content: bytes, inputs: Any, target: Any) -> tuple[Any, Any, list[str]]:
    """The arrays X and y of an NPZ file, or two that the keys name; X and its last column as y where y is not there."""
    arrays = _loaded(content, ".npz")
    names = [str(name) for name in getattr(arrays, "files", [])]  # a lone array saved by np.save has no names
    if zipped := getattr(arrays, "zip", None):
        _refuse_many(sum(member.file_size for member in zipped.infolist()) // 8)
    pair = _pair(names, inputs, target)
    note = f"read as arrays X = {pair[0]!r} (inputs={pair[0]}), y = {pair[1]!r} (target={pair[1]})"
    return arrays[pair[0]], arrays[pair[1]], [note]


def _loaded(content: bytes, suffix: str) -> Any:
    """What np.load gives; of another file it would say that it is pickled, and how to run it."""
    if not content.startswith((b"\x93NUMPY", b"PK")):
        raise ValueError(f"no {suffix} file, as NumPy writes it: it begins with {content[:20]!r}")
    return np.load(io.BytesIO(content), allow_pickle=False)


def _pair(names: list[str], inputs: Any, target: Any) -> tuple[str, str]:
    for key, name in ("inputs", inputs), ("target", target):
        if name is not None and str(name) not in names:
            raise ConfigError(f"dataset.load.{key}", f"an array of the .npz file: {quoted(names)}", name)
    if inputs is not None and target is not None:
        return str(inputs), str(target)
    known = {bare(name): name for name in reversed(names)}
    for X, y in PAIRS:
        if (inputs or X.lower() in known) and (target or y in known):
            return str(inputs or known[X.lower()]), str(target or known[y])
    way_out = ""
    if len(names) > 1:
        words = word("dataset.load.inputs", inputs or names[0]), word("dataset.load.target", target or names[1])
        way_out = f" ({' '.join(words)} name two others)"
    raise ConfigError(PATH, f"arrays named X and y in the .npz file{way_out}", quoted(names) or "none")


def read_npy(content: bytes) -> tuple[Any, list[str]]:
    """The columns of one array: its fields, or of a matrix (n, D + 1) the numbers 0, 1, ... as names."""
    import pandas as pd

    array = _loaded(content, ".npy")
    if not isinstance(array, np.ndarray):
        raise ConfigError(PATH, "one array in the .npy file (a file of several ends in .npz)", "several")
    if array.dtype.names:
        return pd.DataFrame(array), []
    if array.ndim != 2:
        allowed = "a matrix (examples, inputs and target), or a .npz file of X and y"
        raise ConfigError(PATH, allowed, f"an array of shape {array.shape}")
    return pd.DataFrame(array, columns=[str(i) for i in range(array.shape[1])]), []


def read_arff(content: bytes, path: Path, encoding: str | None) -> tuple[Any, list[str]]:
    """The attributes of an ARFF file: numbers, dates, and text for nominal and string ones; ? is missing."""
    import pandas as pd

    text = utf8(content, encoding, path)[0].decode()
    found = re.search(r"^\s*@data[^\S\n]*\r?$", text, re.IGNORECASE | re.MULTILINE)
    attributes = [ATTRIBUTE.match(line.strip()) for line in text[: found.start() if found else 0].splitlines()]
    names, kinds = zip(*[(a[1], a[2].strip()) for a in attributes if a], strict=True) if any(attributes) else ((), ())
    if not (found and names):
        raise ConfigError(PATH, "an .arff file with @attribute lines and @data", f"{len(names)} attributes")
    rows = re.sub(r"(?m)^\s*%.*\n?", "", text[found.end() :])
    if rows.lstrip().startswith("{"):
        raise ConfigError(PATH, "dense rows in the .arff file (save it dense, or as CSV)", "sparse ones: {...}")
    quote = '"' if rows.count('"') > rows.count("'") else "'"
    options: dict[str, Any] = {"skipinitialspace": True, "quotechar": quote, "escapechar": "\\"}
    frame = pd.read_csv(
        io.StringIO(rows), header=None, names=range(len(names)), dtype=str, keep_default_na=False, na_values=["?"],
        index_col=False, **options,
    )  # fmt: skip
    frame.columns, notes = unique_names([_unquoted(name) for name in names], len(names))
    return frame.apply(_as_declared, kinds=dict(zip(frame.columns, kinds, strict=True))), notes


def _unquoted(name: str) -> str:
    return re.sub(r"\\(.)", r"\1", name[1:-1]) if name[0] in "'\"" else name


def _as_declared(column: Any, kinds: dict[str, str]) -> Any:
    import pandas as pd

    kind = kinds[column.name].lower()
    if kind.split()[0] in NUMERIC:
        return pd.to_numeric(column)
    return pd.to_datetime(column) if kind.split()[0] == "date" else column.str.strip()
