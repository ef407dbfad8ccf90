"""The files of a journal, as they may be found: whole, cut short, of another version, or of another program."""

import json
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple
from uuid import uuid4

if TYPE_CHECKING:
    from filelock import BaseFileLock

VERSION = 1  # of the form of a journal; one of another form is set aside
LINES, STATE = "journal.jsonl", "state.json"
UNREADABLE = "unreadable"  # kind of an operation, and the folder of journals that are set aside
REMOVED = ".removed-"  # begins the name of a folder whose journal is delivered
FOLDER_NAME = re.compile("[0-9a-f]{32}")  # of files; another name may be a path to anywhere


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
        if isinstance(kind, str) and FOLDER_NAME.fullmatch(content.get("folder", "0" * 32)):
            return Operation(kind, content, begin, end)
    except (AttributeError, RecursionError, TypeError, ValueError):
        pass
    return Operation(UNREADABLE, {}, begin, end)


def read_state(folder: Path) -> dict[str, Any]:
    """Raises UnreadableError, or OSError for what may be read at another time or by another user."""
    try:
        state = json.loads((folder / STATE).read_bytes())
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
        json.loads((folder / STATE).read_bytes()).keys()
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
        told.append(f"{root}: {error.strerror or error}; it stays there")
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
        return f"{folder}: {why}; it stays there ({error.strerror or error})"
    return f"{to}: {why}; it was moved there"


def remove(folder: Path) -> None:
    """In one step for others, so that nobody finds a part of it."""
    try:
        folder = folder.rename(folder.with_name(REMOVED + uuid4().hex))  # as a process that looked may make it anew
    except OSError:  # the disk is read-only: the next process finds it empty, and removes it
        return
    shutil.rmtree(folder, ignore_errors=True)


def sync(folder: Path) -> None:
    """Force the names in a folder to the disk, where the system can."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def locked(folder: Path) -> "BaseFileLock":
    """The folder's lock, acquired. Raises filelock.Timeout, an OSError, while another process holds it."""
    from filelock import FileLock

    lock = FileLock(folder / "lock")
    lock.acquire(blocking=False)
    return lock
