"""Columns by name: how a message lists them, what to type for one, and which are inputs and targets."""

import difflib
import re
import shlex
from collections.abc import Iterable, Sequence
from typing import Any

from harness.config import ConfigError

PLAIN = re.compile(
    r"(?!(?:null|true|false|nan|inf|yes|no|on|off)$)(?:[A-Za-z_%/]|\.{1,2}/)[\w./%-]*", re.ASCII | re.IGNORECASE
)
OF_A_SHELL = "'$`\\!"  # signs that a shell does not leave alone in one of its two kinds of quotes
MOST_COMPARED = 2000  # column names that a wrong one is compared with: difflib takes a millisecond for each


class Doubt(str):
    """A note on data that asks the user to act: it is told as a warning."""

    __slots__ = ()


def listing(names: Iterable[Any], most: int = 8) -> str:
    """The first names, and how many more there are, on one line."""
    texts = list(map(str, names))
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return " ".join((", ".join(texts[:most]) + more).split())


def quoted(names: Iterable[Any], most: int = 8) -> str:
    """The first names in quotes, so that blanks and line ends in them are seen, and how many more there are."""
    texts = [repr(str(name)) for name in names]
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(text if len(text) <= 60 else f"{text[:50]}...'" for text in texts[:most]) + more


def one_line(error: Exception) -> str:
    """An exception's type and message, on one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def word(key: str, value: Any) -> str:
    """`dataset.load.KEY=VALUE` as a shell takes it: Hydra's quotes inside, the shell's outside, each where needed."""
    values = f"[{','.join(map(_hydra, value))}]" if isinstance(value, list | tuple) else _hydra(value)
    text = f"{key}={values}"
    return f'"{text}"' if "'" in text and not set(text) & set(f'"{OF_A_SHELL[1:]}') else shlex.quote(text)


def _hydra(value: Any) -> str:
    """A text as Hydra's grammar takes it: in quotes unless it is a plain word."""
    text = str(value)
    if PLAIN.fullmatch(text):
        return text
    if set(text) & set(OF_A_SHELL) and '"' not in text:
        return f'"{_escaped(text, chr(34))}"'
    return f"'{_escaped(text, chr(39))}'"


def _escaped(text: str, quote: str) -> str:
    """Hydra unescapes quotes and the backslashes in front of them; `${` would begin an interpolation."""
    text = re.sub(rf"(\\*){quote}", rf"\1\1\\{quote}", text)
    text += "\\" * (len(text) - len(text.rstrip("\\")))
    return text.replace("${", "\\${")


def resembling(name: str, names: Sequence[str]) -> str | None:
    """The name that was probably meant: it differs in blanks, case or a few letters."""
    alike = [other for other in names if bare(other) == bare(name)]
    return next(iter(alike or difflib.get_close_matches(name, names[:MOST_COMPARED], n=1, cutoff=0.6)), None)


def bare(name: str) -> str:
    """A name without what a reader does not see: case, and blanks at its ends or repeated."""
    return " ".join(name.split()).casefold()


def chosen(frame: Any, given: Any, key: str, source: str = "the file") -> list[str]:
    """The columns of `frame` that a name or a list of names means. Raises ConfigError with the nearest name."""
    wanted = [str(name) for name in (given if isinstance(given, list | tuple) else [given])]
    names = list(frame.columns)
    present = set(names)
    if missing := [name for name in wanted if name not in present]:
        near = resembling(missing[0], names)
        hint = f" (did you mean {near!r}? {_as_typed(key, near, wanted, missing[0])})" if near is not None else ""
        raise ConfigError(
            key,
            f"columns of {source}{hint}: {quoted(names, 40 if near is None else 8)}",
            missing[0] if len(missing) == 1 else missing,
        )
    if not wanted and not key.endswith("drop"):
        raise ConfigError(key, f"at least one column of {source}", given)
    if repeated := [name for name in dict.fromkeys(wanted) if wanted.count(name) > 1]:
        raise ConfigError(key, "every column once", repeated)
    return wanted


def _as_typed(key: str, near: str, wanted: list[str], wrong: str) -> str:
    names = [near if name == wrong else name for name in wanted]
    if "." not in key:  # an argument of a Python function
        return f"{key}={near!r}"
    return word(key, names if len(names) > 1 else near)


def take_columns(frame: Any, target: Any, key: str, source: str) -> tuple[Any, Any]:
    """The DataFrame without its target columns, and these. target: a name or a list of names, None for the last."""
    wanted = [frame.columns[-1]] if target is None else chosen(frame, target, key, source)
    return frame.drop(columns=wanted), frame[wanted]
