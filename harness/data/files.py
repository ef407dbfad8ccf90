"""The user's own data: a file as inputs and targets. What is found out about it is told; nothing in it is executed."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.config import ConfigError
from harness.data.columns import chosen, one_line, quoted, resembling, word
from harness.data.contents import PACKED, PATH, contents, suffixes
from harness.data.file_keys import check_keys
from harness.data.formats import read_arff, read_feather, read_npy, read_npz, read_parquet
from harness.data.layout import MARKS, named
from harness.data.tables import read_text
from harness.data.values import Spelling, typed

TEXT = (".csv", ".tsv", ".txt", ".tab", ".dat", ".data")
TYPED = {".parquet": read_parquet, ".feather": read_feather, ".npy": read_npy}
KINDS = (*TEXT, *TYPED, ".npz", ".arff")
OF_TEXT = ("sep", "decimal", "thousands", "encoding", "header", "missing", "dates", "bad_rows")
LABELS = ("target", "label", "class", "y")  # names that a column of targets often has
ELSEWHERE = {".xlsx": "Excel", ".xls": "Excel", ".ods": "LibreOffice", ".json": "pandas", ".pkl": "pandas"}


def read_file(
    path: str,
    target: Any = None,
    sep: str | None = None,
    decimal: str | None = None,
    thousands: str | None = None,
    encoding: str | None = None,
    header: int | str | None = None,
    missing: Any = None,
    dates: str | bool | None = None,
    drop: Any = None,
    inputs: Any = None,
    member: str | None = None,
    bad_rows: str | None = None,
) -> dict[str, Any]:
    """The inputs ("data"), targets ("target") and what was found out ("notes") in a file; `dataset=file` calls it.

    Text (.csv, .tsv, .txt, ...), .parquet, .feather, .npy, .npz, .arff, each perhaps .gz, .bz2, .xz or .zip. `target`:
    a column or several (the last unless given); `inputs`: the columns to learn from (all others), without those of
    `drop`. Names are those of the file, as text; "0", "1", ... without a header. In a .npz file `inputs` and `target`
    name arrays, X and y unless given. The other keys say how a text file is written, null finds it out:
    conf/dataset/file.yaml explains each. Raises ConfigError for anything that cannot be read.
    """
    check_keys(locals())
    keys = locals() | {"missing": _list(missing)}
    file = Path(os.path.expanduser(path))
    _check_suffix(file)
    try:
        suffix, content = contents(file, member)
        return _read(suffix, content, file, keys)
    except ConfigError:
        raise
    except FileNotFoundError as error:
        raise ConfigError(PATH, _existing(file), str(file)) from error
    except Exception as error:  # parsers raise nearly any exception for damaged bytes
        raise ConfigError(
            PATH, f"a readable {suffixes(file)[0] or suffixes(file)[1]} file at {str(file)!r}", one_line(error)
        ) from error


def _list(value: Any) -> list[Any] | None:
    return list(value) if isinstance(value, list | tuple) else None if value is None else [value]


def _check_suffix(file: Path) -> None:
    suffix, packing = suffixes(file)
    if suffix in KINDS or packing == ".zip":
        return
    allowed = f"a file that ends in {' | '.join(KINDS)}, perhaps followed by {' | '.join(PACKED)}"
    if suffix in ELSEWHERE:
        allowed += f" (save it as .csv with {ELSEWHERE[suffix]})"
    raise ConfigError(PATH, allowed, str(file))


def _existing(file: Path) -> str:
    folder = file.parent
    names = [name.name for name in folder.iterdir()] if folder.is_dir() else []
    near = resembling(file.name, names)
    hint = f" (did you mean {word(PATH, str(folder / near))}?)" if near else ""
    return f"a file that exists (a relative path starts at {Path.cwd()}){hint}"


def _read(suffix: str, content: bytes, file: Path, keys: dict[str, Any]) -> dict[str, Any]:
    _check_suffix(file.with_name(f"member{suffix}"))
    if suffix not in TEXT:
        _refuse_keys(suffix, keys)
    if suffix == ".npz":
        X, y, notes = read_npz(content, keys["inputs"], keys["target"])
        return {"data": X, "target": y, "notes": notes}
    if suffix == ".arff":
        frame, notes = read_arff(content, file, keys["encoding"])
        return _parts(frame, notes, keys, None)
    if suffix in TYPED:
        return _parts(*TYPED[suffix](content), keys, None)
    keys = {**keys, "thousands": named(keys["thousands"], MARKS, "thousands")}
    frame, layout, notes = read_text(content, file, keys)
    spelling = Spelling(layout.decimal, keys["thousands"], keys["dates"], keys["missing"])
    return _parts(frame, notes, keys, spelling)


def _refuse_keys(suffix: str, keys: Mapping[str, Any]) -> None:
    needless = OF_TEXT if suffix != ".arff" else tuple(key for key in OF_TEXT if key != "encoding")
    for key in (*needless, *(("drop",) if suffix == ".npz" else ())):
        if keys[key] is not None:
            raise ConfigError(f"dataset.load.{key}", f"null for a {suffix} file, which says it itself", keys[key])


def _parts(frame: Any, notes: list[str], keys: Mapping[str, Any], spelling: Spelling | None) -> dict[str, Any]:
    """Inputs and targets of the table. spelling: of a text file; None for one whose columns have types."""
    frame = frame.set_axis([str(name) for name in frame.columns], axis="columns")
    frame, told = _without_row_labels(frame, keys)
    if frame.shape[1] < 2 or not len(frame):
        way_out = "" if spelling is None else f", as {notes[0].removeprefix('read as ')}"
        allowed = f"a table of rows, an input column and a target column{way_out}"
        raise ConfigError(PATH, allowed, f"{len(frame)} rows of {quoted(frame) or 'no column'}")
    names, wanted, said = _choice(frame, keys)
    inputs, targets = frame[names], frame[wanted]
    notes = [*notes, *told, *said]
    if spelling is not None:
        inputs, of_inputs = typed(inputs, spelling, truth=True)
        targets, of_targets = typed(targets, spelling, truth=False)
        notes += of_inputs + of_targets
    notes += [*_missing_targets(targets)]
    return {"data": inputs, "target": targets.squeeze(axis="columns"), "notes": notes}


def _choice(frame: Any, keys: Mapping[str, Any]) -> tuple[list[str], list[str], list[str]]:
    """The names of the inputs and of the targets, and a note on targets that were not chosen by the user."""
    given = keys["target"]
    drop = [] if keys["drop"] is None else chosen(frame, keys["drop"], "dataset.load.drop")
    left = [name for name in frame.columns if name not in set(drop)]
    if not left:
        raise ConfigError("dataset.load.drop", "columns that leave an input and a target", keys["drop"])
    targets = [left[-1]] if given is None else chosen(frame, given, "dataset.load.target")
    if both := set(drop) & set(targets):
        raise ConfigError("dataset.load.drop", f"other columns than the target's {quoted(targets)}", sorted(both))
    wanted = left if keys["inputs"] is None else chosen(frame, keys["inputs"], "dataset.load.inputs")
    if keys["inputs"] is not None and (both := set(wanted) & ({*targets} | {*drop})):
        allowed = "other columns than those of target and drop"
        raise ConfigError("dataset.load.inputs", allowed, sorted(both))
    taken = set(targets)
    inputs = [name for name in wanted if name not in taken]
    if not inputs:
        raise ConfigError("dataset.load.target", "targets that leave an input column", targets)
    return inputs, targets, _target_told(left, targets[0]) if given is None else []


def _target_told(names: list[str], last: str) -> list[str]:
    likely = [name for name in names if name.casefold() in LABELS and name != last]
    other = word("dataset.load.target", likely[0] if likely else "NAME")
    return [f"the target is the last column, {last!r} ({other} takes {repr(likely[0]) if likely else 'another'})"]


def _without_row_labels(frame: Any, keys: Mapping[str, Any]) -> tuple[Any, list[str]]:
    """The table without a first column that has no name and numbers or names the rows."""
    first = str(frame.columns[0]) if frame.shape[1] else ""
    asked = {str(name) for key in ("target", "inputs", "drop") for name in _list(keys[key]) or []}
    nameless = first in ("Unnamed: 0", "__index_level_0__") and first not in asked and keys["drop"] != []
    if not nameless or frame.shape[1] < 2 or not len(frame):
        return frame, []
    column = frame[first]
    if column.dtype.kind == "f" or not column.is_unique:
        return frame, []
    what = "numbers" if column.dtype.kind in "iu" and column.is_monotonic_increasing else "names"
    way_out = "dataset.load.drop=[] keeps it"
    return frame.drop(columns=first), [f"the first column has no name and {what} the rows: left out ({way_out})"]


def _missing_targets(targets: Any) -> list[str]:
    """Notes on targets that are missing, which may be a class named NA."""
    told = []
    for name, column in targets.items():
        way_out = " (dataset.load.missing=[] keeps texts such as NA as classes)" if column.dtype.kind in "OUT" else ""
        told += [f"{n} values of the target {name!r} are missing{way_out}"] if (n := int(column.isna().sum())) else []
    return told
