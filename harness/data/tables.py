"""A text file as a table: pandas reads it, after what pandas does not find out itself was found out."""

import io
import re
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

from harness.config import ConfigError
from harness.data.columns import quoted, word
from harness.data.contents import PATH, utf8
from harness.data.layout import Layout, described, layout_of
from harness.data.sample import BLANKS, RUNS


def read_text(content: bytes, path: Path, keys: dict[str, Any]) -> tuple[Any, Layout, list[str]]:
    """The columns of a text file as pandas types them, the layout found out, and notes. Raises ConfigError."""
    content, encoding = utf8(content, keys["encoding"], path)
    notes = []
    if zeros := content.count(b"\0"):
        content = content.replace(b"\0", b"")
        notes.append(f"{zeros} NUL bytes taken out")
    layout = layout_of(content, keys["sep"], keys["decimal"], keys["header"])
    notes = [described(layout, encoding), *layout.notes, *notes]
    body, comments = _without_comments(content[layout.start : layout.end])
    notes += [f"{comments} lines that begin with # skipped"] if comments else []
    frame, told = _parsed(body, layout, keys, path)
    names, renamed = unique_names(layout.names, frame.shape[1])
    frame.columns = names
    if empty := [name for name in names if name.startswith("Unnamed: ") and frame[name].isna().all()]:
        notes.append(f"{len(empty)} columns without name and values left out")
        frame = frame.drop(columns=empty)
    return frame, layout, notes + told + renamed


def _without_comments(body: bytes) -> tuple[bytes, int]:
    """The rows without lines that begin with # where that is no value: they are few, or not as wide as the others."""
    starts = [found.start() for found in re.finditer(rb"^#", body, re.MULTILINE)]
    if not starts or 2 * len(starts) > body.count(b"\n"):
        return body, 0
    outside = [start for start in starts if b'"' not in body or body.count(b'"', 0, start) % 2 == 0]
    kept: list[bytes] = []
    last = 0
    for start in outside:
        end = body.find(b"\n", start) + 1 or len(body)
        kept, last = [*kept, body[last:start]], end
    return b"".join([*kept, body[last:]]), len(outside)


def _parsed(body: bytes, layout: Layout, keys: dict[str, Any], path: Path) -> tuple[Any, list[str]]:
    """pandas' table with one more column than there are names, for values that are too many in their row."""
    import pandas as pd

    n = len(layout.names)
    sep = {BLANKS: r"\s+", RUNS: "\t"}.get(layout.sep, layout.sep)
    if layout.sep == RUNS:
        body = re.sub(rb"(?m)^ +| +$", b"", re.sub(rb"(?m)[ \t]{2,}(?=\S)", b"\t", re.sub(rb"(?m)^[ \t]+", b"", body)))
    usual = keys["missing"] != []
    options: dict[str, Any] = {
        "sep": sep, "header": None, "names": range(n + 1), "index_col": False, "low_memory": False,
        "decimal": layout.decimal, "thousands": keys["thousands"], "skipinitialspace": layout.blank_after,
        "keep_default_na": usual, "na_values": list(map(str, keys["missing"] or [])) if usual else [""],
        "on_bad_lines": "skip" if keys["bad_rows"] == "drop" else "error",
    }  # fmt: skip
    notes: list[str] = []
    try:
        frame = _read(body, options)
    except pd.errors.ParserError as error:
        if "EOF inside string" not in str(error):
            raise _ragged(error, layout, path) from error
        frame = _read(body, options | {"quoting": 3})
        notes.append("a quote is opened and never closed: quotes are taken as letters")
    frame, told = _without_surplus(frame, n, keys["bad_rows"], layout)
    empty = frame.isna().all(axis="columns") if n < 5000 else None
    if empty is not None and empty.any():
        frame = frame[~empty].reset_index(drop=True)
        told = [*told, f"{int(empty.sum())} empty rows left out"]
    return frame, notes + told


def _read(body: bytes, options: dict[str, Any]) -> Any:
    import pandas as pd

    if not body.strip():
        return pd.DataFrame({name: [] for name in options["names"]})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pd.errors.ParserWarning)
        return pd.read_csv(io.BytesIO(body), **options)


def _ragged(error: Exception, layout: Layout, path: Path) -> ConfigError:
    found = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", str(error))
    if not found:
        return ConfigError(PATH, f"a readable table in {str(path)!r}", " ".join(str(error).split()))
    return _too_many(len(layout.names), f"{found[3]} in line {int(found[2]) + layout.first_row - 1}")


def _too_many(n: int, found: str) -> ConfigError:
    allowed = f"{n} values in every row ({word('dataset.load.bad_rows', 'drop')} leaves out rows with more)"
    return ConfigError(PATH, allowed, found)


def _without_surplus(frame: Any, n: int, bad_rows: Any, layout: Layout) -> tuple[Any, list[str]]:
    """The table without the column of surplus values, which separators at the ends of rows leave empty."""
    surplus = frame[n].notna()
    if not surplus.any():
        return frame.drop(columns=n), []
    if bad_rows != "drop":
        raise _too_many(n, f"{n + 1} in row {int(surplus.argmax()) + 1} of the table")
    return frame[~surplus].drop(columns=n).reset_index(drop=True), [
        f"{int(surplus.sum())} rows of too many values left out"
    ]


def unique_names(given: list[str], n: int) -> tuple[list[str], list[str]]:
    """The names of n columns as pandas makes them: "a", "a.1" for two a, "Unnamed: 3" for none; and a note."""
    names = [str(name) if str(name).strip() else f"Unnamed: {i}" for i, name in enumerate(given)]
    names += [f"Unnamed: {i}" for i in range(len(names), n)]
    taken, seen, result = set(names), Counter[str](), []
    for name in names:
        other = name
        while seen[name] and (other in taken or other == name):
            other, seen[name] = f"{name}.{seen[name]}", seen[name] + 1
        seen[name] += not seen[name]
        taken.add(other)
        result.append(other)
    repeated = [name for name, n in Counter(names).items() if n > 1]
    note = f"several columns of one name, numbered as {repeated[0]!r}, {repeated[0] + '.1'!r}: " if repeated else ""
    return result, [note + quoted(repeated)] if repeated else []
