"""The files of a journal, as they may be found: whole, cut short, of another version, or of another program."""

import errno
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple
from uuid import uuid4

from harness.config import visible

if TYPE_CHECKING:
    from filelock import BaseFileLock

VERSION = 1  # of the form of a journal; one of another form is set aside
LINES, STATE = "journal.jsonl", "state.json"
UNREADABLE = "unreadable"  # kind of an operation, and the folder of journals that are set aside
REMOVED = ".removed-"  # begins the name of a folder whose journal is delivered
FOLDER_NAME = re.compile("[0-9a-f]{32}")  # of files; another name may be a path to anywhere


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return type(value) is int and -(2**63) <= value < 2**63  # of a database


def _are_texts(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_text, value.values()))


def _are_points(value: Any) -> bool:
    return isinstance(value, list) and all(
        _is_text(key) and (type(number) is float or _is_number(number)) and _is_number(time) and _is_number(step)
        for key, number, time, step in value
    )


FIELDS: dict[
    str, dict[str, Callable[[Any], object]]
] = {  # kind of an operation -> field -> whether a value has its form
    "create": {"experiment": _is_text, "name": _is_text, "tags": _are_texts, "time": _is_number},
    "params": {"params": _are_texts},
    "tags": {"tags": _are_texts},
    "points": {"points": _are_points},
    "files": {"folder": FOLDER_NAME.fullmatch},
    "dataset": dict.fromkeys(("name", "digest", "source", "profile"), _is_text),
    "finish": {"status": ("FINISHED", "FAILED", "KILLED").__contains__, "time": _is_number},
}


class UnreadableError(Exception):
    """What is on disk is no journal of this version; the message says why."""


class Operation(NamedTuple):
    """One line of a journal: what to do, with what, and where in the file the line begins and ends.

    kind: UNREADABLE for a line that is none of ours.
    """

    kind: str
    content: dict[str, Any]
    begin: int
    end: int


class Held(NamedTuple):
    """Operations of one kind that the store refuses: first and last byte in the file, and why."""

    begin: int
    end: int
    kind: str
    reason: str


def end_last_line(file: BinaryIO) -> int:
    """The size in bytes, now of whole lines: a kill may cut the last one short, a power cut may leave zeros.

    Such a rest is cut off; any other is ended as a line, which cannot be read but is kept.
    """
    file.seek(0)
    text = file.read()
    size = text.rfind(b"\n") + 1
    if text[size:].rstrip(b"\0")[:2] in (b"", b"[", b'["'):
        return file.seek(file.truncate(size))
    file.write(b"\n")
    return len(text) + 1


def read_operation(line: bytes, begin: int) -> Operation:
    end = begin + len(line)
    try:
        kind, content = json.loads(line)
        if all(has_form(content[field]) for field, has_form in FIELDS[kind].items()):
            return Operation(kind, content, begin, end)
    except (KeyError, RecursionError, TypeError, ValueError):
        pass
    return Operation(UNREADABLE, {}, begin, end)


def _contents(path: Path) -> bytes:
    """Raises FileNotFoundError for a pipe too, which would be waited for."""
    if path.exists() and not path.is_file():
        raise FileNotFoundError(errno.ENOENT, "no file", str(path))
    return path.read_bytes()


def read_state(folder: Path) -> dict[str, Any]:
    """Raises UnreadableError, or OSError for what may be read at another time or by another user."""
    try:
        state = json.loads(_contents(folder / STATE))
    except (FileNotFoundError, IsADirectoryError) as error:
        raise UnreadableError(f"{STATE} is missing") from error
    except (RecursionError, ValueError) as error:
        raise UnreadableError(f"{STATE} is no JSON") from error
    if not _is_state(state):
        raise UnreadableError(f"{STATE} is of another version or of another program")
    if not (folder / LINES).is_file():
        raise UnreadableError(f"{LINES} is missing")
    return dict(state)


def _is_state(state: Any) -> bool:
    def is_held(one: Any) -> bool:
        types = [type(value) for value in one] if isinstance(one, list) else []
        return types == [int, int, str, str] and 0 <= one[0] < one[1]

    return (
        isinstance(state, dict)
        and state.get("version", VERSION) == VERSION
        and type(state.get("offset")) is int
        and state["offset"] >= 0
        and isinstance(state.get("run_id", 0), str | None)
        and isinstance(held := state.get("held", []), list)
        and all(map(is_held, held))
    )


def has_content(folder: Path) -> bool:
    """Whether a journal without a sound state has lines or files, or its state is of another program."""
    try:
        json.loads(_contents(folder / STATE)).keys()
    except (AttributeError, OSError, RecursionError, ValueError):
        found = [folder / LINES, *(folder / "files").rglob("*")]
        return any(path.is_file() and path.stat().st_size for path in found)
    return True


def journal_folders(root: Path, told: list[str]) -> list[Path]:
    """The folders of journals, oldest first; what a killed process has not removed to the end is removed."""
    try:
        found = sorted(path for path in root.iterdir() if path.is_dir())
    except FileNotFoundError:
        return []
    except OSError as error:
        told.append(visible(f"{root}: {error.strerror or error}; it stays there"))
        return []
    for folder in found:
        if folder.name.startswith(REMOVED):
            shutil.rmtree(folder, ignore_errors=True)
    return [folder for folder in found if not folder.name.startswith(".")]


def set_aside(folder: Path, why: str) -> str:
    """Move a journal that cannot be read out of the way; returns a sentence that says so."""
    to = folder.parent.with_name(UNREADABLE) / folder.name
    try:
        to.parent.mkdir(exist_ok=True)
        folder.rename(to)
    except OSError as error:
        return visible(f"{folder}: {why}; it stays there ({error.strerror or error})")
    return visible(f"{to}: {why}; it was moved there")


def remove(folder: Path) -> None:
    """In one step for others, so that nobody finds a part of it."""
    try:
        folder = folder.rename(folder.with_name(REMOVED + uuid4().hex))  # as a process that looked may make it anew
    except OSError:  # the disk is read-only: the next process finds it empty, and removes it
        return
    shutil.rmtree(folder, ignore_errors=True)


def sync(*paths: Path) -> None:
    """Force files, and the names in folders, to the disk, where the system can.

    All are begun before the first is waited for: so a file system with a journal of its own writes it once.
    """
    steps = [_begin_to_write, os.fsync] if hasattr(os, "posix_fadvise") else [os.fsync] if os.name == "posix" else []
    for step in steps:
        for path in paths:
            descriptor = os.open(path, os.O_RDONLY)
            try:
                step(descriptor)
            finally:
                os.close(descriptor)


def _begin_to_write(descriptor: int) -> None:
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def below(folder: Path) -> list[Path]:
    """The files in a folder, and the folders, outer ones first; no links. Raises OSError if it is none."""
    found = [path for path in sorted(folder.iterdir()) if not path.is_symlink()]
    inner = [below(path) for path in found if path.is_dir()]
    return [folder, *filter(Path.is_file, found), *(path for paths in inner for path in paths)]


def put(named: Iterable[tuple[Path, Path]], to: Path) -> None:
    """Have these files, which are on the disk, on the disk below `to` by these names as well when this returns.

    A file has two names then, as a link takes no time to write; where the system does not allow that, it is copied.
    """
    new = [folder for folder in (to, *to.parents) if not folder.exists()]
    to.mkdir(parents=True, exist_ok=True)
    placed = {to, *(folder.parent for folder in new)}
    for path, name in named:
        own = to / name
        placed.add(own.parent)
        if path.is_dir():
            own.mkdir(exist_ok=True)
            continue
        own.unlink(missing_ok=True)
        try:
            os.link(path, own)
        except OSError:
            shutil.copyfile(path, own)
            placed.add(own)
    sync(*sorted(placed, reverse=True))  # what a folder names before the folder


def locked(folder: Path) -> "BaseFileLock":
    """The folder's lock, acquired. Raises filelock.Timeout, an OSError, while another process holds it."""
    from filelock import FileLock

    lock = FileLock(folder / "lock")
    lock.acquire(blocking=False)
    return lock
