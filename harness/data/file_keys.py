"""The arguments of `read_file`, each with its type and form, before the file is opened."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from harness.config import ConfigError
from harness.data.layout import MARKS, NO_HEADER

LOAD = "dataset.load."
DECIMALS = ("point", "comma")
GROUPS = ("comma", "point", "blank", "apostrophe")  # marks of thousands
A_DAY = datetime(2001, 2, 3, 4, 5, 6)


class Form(NamedTuple):
    """A predicate on a value that is not null, and the words that describe it."""

    holds: Callable[[Any], bool]
    allowed: str


def check_keys(keys: Mapping[str, Any]) -> None:
    """Raises ConfigError for the first argument that means nothing, whatever the file holds."""
    for key, form in FORMS.items():
        if keys[key] is not None and not form.holds(keys[key]):
            raise ConfigError(f"{LOAD}{key}", f"{form.allowed}, or null", keys[key])
    decimal, thousands = (_mark(keys[key]) for key in ("decimal", "thousands"))
    if decimal is not None and decimal == thousands:
        allowed = f"another sign than the decimal {keys['decimal']} (or null: numbers without groups of digits)"
        raise ConfigError(f"{LOAD}thousands", allowed, keys["thousands"])


def _mark(value: Any) -> str | None:
    return None if value is None else MARKS.get(str(value).lower(), str(value))


def _is_name(value: Any) -> bool:
    """Of a column, an array or a value: a text or a number."""
    return isinstance(value, str | int | float)


def _are_names(value: Any) -> bool:
    return all(map(_is_name, value)) if isinstance(value, list | tuple) else _is_name(value)


def _one_of(words: tuple[str, ...]) -> Form:
    signs = {*words, *(MARKS[word] for word in words)}
    return Form(lambda v: isinstance(v, str) and (v in signs or v.lower() in signs), " | ".join(words))


def _is_format(value: Any) -> bool:
    """Whether `value` says how dates are written; True is the same as null."""
    if isinstance(value, bool):
        return True
    if not isinstance(value, str):
        return False
    try:
        written = A_DAY.strftime(value)
        datetime.strptime(written, value)  # which Python does not do with a directive that it does not know
    except ValueError:
        return False
    return written != value


def _is_line(value: Any) -> bool:
    text = str(value).lower()
    return isinstance(value, bool | int | str) and (value is True or text in NO_HEADER or text.isdecimal())


NAMES = Form(_are_names, "the name of a column, or a list of names: [NAME, ...]")
FORMS = {
    **dict.fromkeys(("target", "inputs", "drop"), NAMES),
    "missing": Form(_are_names, "what stands for a missing value, or a list: [-999,unknown], or []"),
    "decimal": _one_of(DECIMALS),
    "thousands": _one_of(GROUPS),
    "dates": Form(_is_format, "the format of dates, such as %d/%m/%Y, or false: dates stay text"),
    "header": Form(_is_line, "the line of the column names (the first is 1), or false: there is none"),
    "bad_rows": Form(lambda v: v == "drop", "drop"),
    "encoding": Form(lambda v: isinstance(v, str), "utf-8, utf-16, cp1252, latin-1, ..."),
    "member": Form(lambda v: isinstance(v, str), "the name of a file in the .zip"),
}  # fmt: skip
