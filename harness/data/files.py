"""The user's own data: a CSV, Parquet or NPZ file as inputs and targets. Nothing is guessed, nothing is executed."""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from harness.config import ConfigError

DECIMAL = re.compile(r"\s*[-+]?\d*\.\d+([eE][-+]?\d+)?\s*")  # not the name of a column; an integer may be one


def read_file(path: str, target: str | None = None) -> tuple[Any, Any]:
    """The inputs and targets in a file of the user's, read by its suffix; `dataset=file` calls it.

    .csv and .parquet: a DataFrame of inputs and a Series, the column that `target` names (the last one unless given).
    A CSV is UTF-8, separated by commas, with a header; empty cells and NA, null, None, nan are missing values.
    .npz: arrays X (n, D) and y (n,) or (n, K), never unpickled; no `target`. Raises ConfigError for any other file.
    """
    file = Path(os.path.expanduser(path))
    read = READERS.get(file.suffix.lower())
    if read is None:
        raise ConfigError("dataset.load.path", f"a file that ends in {' | '.join(READERS)}", str(path))
    try:
        with file.open("rb") as stream:
            return read(stream, target)
    except ConfigError:
        raise
    except FileNotFoundError as error:
        allowed = f"a file that exists (a relative path starts at {Path.cwd()})"
        raise ConfigError("dataset.load.path", allowed, str(file)) from error
    except Exception as error:  # parsers raise nearly any exception for damaged bytes
        allowed = f"a readable {file.suffix} file at {str(file)!r}"
        raise ConfigError("dataset.load.path", allowed, one_line(error)) from error


def _read_csv(stream: BinaryIO, target: str | None) -> tuple[Any, Any]:
    import pandas as pd

    header = pd.read_csv(stream, header=None, nrows=1, dtype=str, keep_default_na=False)
    names = [name for name in header.iloc[0] if name]
    if values := [name for name in names if DECIMAL.fullmatch(name)]:
        raise ConfigError("dataset.load.path", "a header of column names as the first line", listing(values))
    _refuse_duplicates(names)
    stream.seek(0)
    frame = pd.read_csv(stream, low_memory=False)
    if not frame.index.equals(pd.RangeIndex(len(frame))):  # pandas takes the surplus for row labels
        raise ConfigError("dataset.load.path", "as many names in the header as values in a row", "more values")
    return _inputs_and_target_column(frame, target)


def _read_parquet(stream: BinaryIO, target: str | None) -> tuple[Any, Any]:
    import pandas as pd
    from pyarrow.parquet import read_schema

    _refuse_duplicates(read_schema(stream).names)
    stream.seek(0)
    return _inputs_and_target_column(pd.read_parquet(stream), target)


def _read_npz(stream: BinaryIO, target: str | None) -> tuple[Any, Any]:
    if target is not None:
        raise ConfigError("dataset.load.target", "null for a .npz file, whose targets are its array y", target)
    arrays = np.load(stream, allow_pickle=False)
    names = getattr(arrays, "files", [])  # a lone array saved by np.save has no names
    if not {"X", "y"} <= set(names):
        raise ConfigError("dataset.load.path", "arrays named X and y in the .npz file", listing(names) or "none")
    return arrays["X"], arrays["y"]


READERS = {".csv": _read_csv, ".npz": _read_npz, ".parquet": _read_parquet}


def _refuse_duplicates(names: list[str]) -> None:
    if repeated := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        allowed = "a header in which every column has its own name"
        raise ConfigError("dataset.load.path", allowed, f"more than once: {listing(repeated)}")


def _inputs_and_target_column(frame: Any, target: str | None) -> tuple[Any, Any]:
    """The DataFrame without the target's column, and that column."""
    frame = frame.set_axis([str(name) for name in frame.columns], axis="columns")
    if len(frame.columns) < 2 or not len(frame):
        allowed = "a table of an input column, a target column (separated by commas in a CSV) and rows"
        raise ConfigError("dataset.load.path", allowed, f"{len(frame)} rows of {listing(frame) or 'no column'}")
    target = None if target is None else str(target)
    inputs, targets = take_columns(frame, target, "dataset.load.target", "the file")
    return inputs, targets.squeeze(axis="columns")


def take_columns(frame: Any, target: Any, key: str, source: str) -> tuple[Any, Any]:
    """The DataFrame without its target columns, and these. target: a name or a list of names, None for the last."""
    target = frame.columns[-1] if target is None else target
    wanted = target if isinstance(target, list) else [target]
    if missing := [name for name in wanted if name not in frame.columns]:
        raise ConfigError(key, f"columns of {source}: {listing(frame, 40)}", listing(missing))
    return frame.drop(columns=wanted), frame[wanted]


def listing(names: Iterable[Any], most: int = 8) -> str:
    """The first names, and how many more there are, on one line."""
    texts = list(map(str, names))
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return " ".join((", ".join(texts[:most]) + more).split())


def one_line(error: Exception) -> str:
    """An exception's type and message, on one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
