"""What a run in an archive may be: each field of each line is checked before anything is written."""

import math
import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from posixpath import normpath
from typing import Any

from harness.store import odd_tag

Point = tuple[str, float, int, int]  # key, value, milliseconds since 1970, step
Points = list[Point]

ID, DIGEST = re.compile(r"[0-9a-f]{32}"), re.compile(r"[0-9a-f]{64}")
KEY = re.compile(r"[\w./ :-]{1,250}")  # of a parameter, a tag or a metric, as MLflow has it
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # names of devices on Windows
MAX_NAME, MAX_TEXT = 250, 65_535  # characters of a name, of a text of a dataset
MAX_VALUE = {"tags": 8000, "params": 6000}
MAX_DEPTH = 16  # folders of a path
MAX_POINTS, MAX_ITEMS, MAX_FILES, MAX_PATH = 1000, 1000, 10_000, 400  # a line; tags or parameters of a run
FAR = 1 << 62  # steps and times are smaller
STATUSES, KINDS = ("FINISHED", "FAILED", "KILLED"), ("cell", "sweep")
DATASET = {"name": MAX_NAME * 2, "digest": 36, "source_type": 36, "source": MAX_TEXT, "schema": MAX_TEXT,
           "profile": MAX_TEXT, "context": MAX_NAME}  # fmt: skip  # field -> characters

OPTIONAL = ("schema", "profile")


class Refused(ValueError):  # noqa: N818 - the archive's reader makes an error with the file's name of it
    """A field that an archive may not have."""

    def __init__(self, allowed: str, found: object) -> None:
        super().__init__(allowed, found)
        self.allowed = allowed
        self.found = shown(found)


def shown(value: object) -> str:
    """What came, for a message of one line: text that a stranger wrote."""
    text = str(value)[:120].encode("utf8", "backslashreplace").decode()
    return CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def no_constant(text: str) -> float:
    """For json.loads: NaN and Infinity are no JSON."""
    raise Refused("finite numbers", text)


def checked_run(fields: object) -> dict[str, Any]:
    """The fields of a run. Raises Refused for one that is missing, unknown or not as `pack` writes it."""
    if not isinstance(fields, dict) or fields.keys() != RUN.keys():
        raise Refused(f"a run with {', '.join(RUN)}", sorted(fields) if isinstance(fields, dict) else fields)
    for name, check in RUN.items():
        check(name, fields[name])
    if fields["tags"].get("kind") not in KINDS:
        raise Refused(f"runs whose tag kind is {' or '.join(KINDS)}", fields["tags"].get("kind"))
    if odd := odd_tag(fields["tags"]):
        what, allowed, found = odd
        raise Refused(f"{what} as {allowed}", found)
    if fields["start"] > fields["end"]:
        raise Refused("a start before the end", fields["start"])
    return fields


def checked_points(rows: Any, last: Point | None = None) -> Points:
    """At most MAX_POINTS points, in ascending order of key, step, time and value, after `last`. Raises Refused."""
    if not isinstance(rows, list) or not 0 < len(rows) <= MAX_POINTS:
        raise Refused(f"lists of 1 to {MAX_POINTS} points", type(rows).__name__)
    for row in rows:
        if not isinstance(row, list | tuple) or len(row) != 4:
            raise Refused("points of key, value, time and step", row)
        key, value, time, step = row
        _key("metric", key)
        if type(value) not in (int, float) or abs(value) > 1e308 or not math.isfinite(value):
            raise Refused("finite values", value)
        _integer("time", time)
        _integer("step", step)
    points = [(key, float(value), time, step) for key, value, time, step in rows]
    in_order = [*([_order(last)] if last else []), *map(_order, points)]
    if any(one >= other for one, other in pairwise(in_order)):
        raise Refused("each point once, in ascending order", points[0][0])
    return points


def _order(point: Point) -> tuple[str, int, int, float]:
    key, value, time, step = point
    return key, step, time, value


def _text(name: str, value: Any, most: int = MAX_NAME, several_lines: bool = False) -> None:
    if not isinstance(value, str) or len(value) > most:
        raise Refused(f"{name} of at most {most} characters", value)
    if not several_lines and CONTROL.search(value):
        raise Refused(f"{name} without control characters", value)
    if "\0" in value or any("\ud800" <= sign <= "\udfff" for sign in value):
        raise Refused(f"{name} in UTF-8 and without NUL", repr(value))


def _key(name: str, value: Any) -> None:
    if not (isinstance(value, str) and _is_key(value)):
        raise Refused(f"a {name}'s key as MLflow takes it", value)


@lru_cache(1024)  # a million points have a few dozen keys
def _is_key(value: str) -> bool:
    return bool(KEY.fullmatch(value) and normpath(value) == value and value[0] not in "/.")


def _matching(pattern: re.Pattern[str]) -> Callable[[str, Any], None]:
    def check(name: str, value: Any) -> None:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise Refused(f"{name} of hexadecimal digits", value)

    return check


def _integer(name: str, value: Any) -> None:
    if type(value) is not int or not -FAR < value < FAR:
        raise Refused(f"{name} as an integer", value)


def _status(name: str, value: Any) -> None:
    if value not in STATUSES:
        raise Refused(f"runs that have ended ({', '.join(STATUSES)})", value)


def _items(name: str, value: Any) -> None:
    if not isinstance(value, dict) or len(value) > MAX_ITEMS:
        raise Refused(f"at most {MAX_ITEMS} {name}", type(value).__name__)
    for key, text in value.items():
        _key(name.removesuffix("s"), key)
        _text(f"{name} {key}", text, MAX_VALUE[name], several_lines=True)


def _datasets(name: str, value: Any) -> None:
    if not isinstance(value, list) or len(value) > 100:
        raise Refused("at most 100 datasets", type(value).__name__)
    for dataset in value:
        if not isinstance(dataset, dict) or dataset.keys() != DATASET.keys():
            raise Refused(f"datasets with {', '.join(DATASET)}", dataset)
        for field, most in DATASET.items():
            if not (dataset[field] is None and field in OPTIONAL):
                _text(f"dataset {field}", dataset[field], most)


def _files(name: str, value: Any) -> None:
    if not isinstance(value, dict) or len(value) > MAX_FILES:
        raise Refused(f"at most {MAX_FILES} files of a run", type(value).__name__)
    folded = set()
    for path, digest in value.items():
        _path(path)
        _matching(DIGEST)("SHA-256", digest)
        folded.add(_folded(path))
    if len(folded) < len(value):
        raise Refused("paths that differ in more than capitals and accents", "two alike")
    for path in folded:
        parts = path.split("/")
        if any("/".join(parts[:i]) in folded for i in range(1, len(parts))):
            raise Refused("no file that is a folder too", path)


def _folded(path: str) -> str:
    return unicodedata.normalize("NFKC", path).casefold()


def _path(path: str) -> None:
    """A relative path that every file system takes, below the run's folder."""
    _text("a path", path, MAX_PATH)
    if path.count("/") > MAX_DEPTH:
        raise Refused(f"paths of at most {MAX_DEPTH} folders", path)
    for part in path.split("/"):
        is_bad = part in ("", ".", "..") or re.search(r'[\\:*?"<>|]', part) or RESERVED.fullmatch(part)
        if is_bad or part != part.strip() or part.endswith(".") or len(part.encode()) > MAX_NAME:
            raise Refused("relative paths of plain names", path)


RUN: dict[str, Callable[[str, Any], None]] = {
    "id": _matching(ID), "origin": _matching(ID), "name": _text, "status": _status, "start": _integer,
    "end": _integer, "tags": _items, "params": _items, "datasets": _datasets, "files": _files,
}  # fmt: skip
