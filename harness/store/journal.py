"""The journal of a run: operations on disk, in order, until the store has them.

So no point is lost when the store is away or the process is killed: any later process may deliver the rest.
"""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import groupby, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple
from uuid import uuid4

if TYPE_CHECKING:
    from filelock import BaseFileLock

MAX_WAITING_BYTES = 32 << 20  # beyond it points are counted and left out; the run's tables still have them


class Operation(NamedTuple):
    """One line of a journal: what to do, with what, and the offset in the file at which the next line begins."""

    kind: str
    content: dict[str, Any]
    end: int


class Journal:
    """The journal of one run: a folder with `journal.jsonl`, `state.json` and the files that are still to be sent.

    state: `offset` of the first operation that is not delivered; `run_id` once the store has created the run; `tried`
    when it may have, though its answer was lost; and what the creator added. One process holds the lock until it ends.
    """

    def __init__(self, folder: Path, lock: "BaseFileLock", state: dict[str, Any]) -> None:
        self.folder, self._lock, self.state = folder, lock, state
        self._file = (folder / "journal.jsonl").open("a+b", buffering=0)
        self._size = _size_of_whole_lines(self._file)
        self._file.seek(self._file.truncate(self._size))
        state["offset"] = min(state["offset"], self._size)  # a power cut may keep the state and lose the line
        self.n_dropped = 0  # points left out because the journal was full

    @classmethod
    def create(cls, root: Path, **state: Any) -> "Journal":
        """A new journal below `root`, locked by this process. Raises OSError if it cannot be written."""
        token = f"{time.time_ns():x}{uuid4().hex}"  # tokens sort by age
        hidden = root / f".{token}"  # until it is locked and has a state
        hidden.mkdir(parents=True)
        lock = _locked(hidden)
        journal = cls(hidden.rename(root / token), lock, {"offset": 0, "run_id": None, "tried": False, **state})
        journal.save()
        return journal

    @classmethod
    def abandoned(cls, root: Path) -> Iterator["Journal"]:
        """The journals that no process holds, oldest first; this process holds each until it asks for the next."""
        for folder in sorted(filter(Path.is_dir, root.glob("[!.]*"))):
            try:
                lock = _locked(folder)
            except OSError:  # another process holds it, or has delivered and removed it meanwhile
                continue
            try:
                state = json.loads((folder / "state.json").read_text(encoding="utf8"))
            except (OSError, ValueError):  # its process was killed while it created or removed the journal
                _remove(folder)
                lock.release()
                continue
            journal = cls(folder, lock, state)
            try:
                yield journal
            finally:
                journal.release()

    @property
    def waiting_bytes(self) -> int:
        """Size of the operations that are not delivered yet."""
        return self._size - int(self.state["offset"])

    def append(self, kind: str, **content: Any) -> None:
        """Write an operation to disk. Raises OSError when the disk is full; then no part of it is kept."""
        if kind == "points" and self.waiting_bytes > MAX_WAITING_BYTES:
            self.n_dropped += len(content["points"])
            return
        line = json.dumps([kind, content], separators=(",", ":")).encode() + b"\n"
        try:
            while rest := line[self._file.tell() - self._size :]:
                self._file.write(rest)
        except OSError:
            self._file.seek(self._file.truncate(self._size))
            raise
        self._size += len(line)

    def new_folder(self) -> Path:
        """An empty folder for the files that an operation will name; removed when that operation is delivered."""
        folder = self.folder / "files" / uuid4().hex
        folder.mkdir(parents=True)
        return folder

    def pending(self) -> Iterator[Operation]:
        """The operations that are not delivered yet."""
        with (self.folder / "journal.jsonl").open("rb") as file:
            end = file.seek(self.state["offset"])
            for line in file:
                kind, content = json.loads(line)
                end += len(line)
                yield Operation(kind, content, end)

    def deliver(self, send: Callable[[list[Operation]], None]) -> None:
        """Send the pending operations in order, consecutive `points` together; mark each once it is sent.

        An exception of `send` ends the delivery and is raised; the rest is sent at the next call.
        """
        for _, group in groupby(self.pending(), key=lambda one: "points" if one.kind == "points" else one.end):
            send(operations := list(group))
            self.mark_delivered(operations)

    def mark_delivered(self, operations: list[Operation]) -> None:
        """Move the offset behind these operations and delete their files."""
        self.state["offset"] = operations[-1].end
        self.save()
        for operation in operations:
            if "folder" in operation.content:
                shutil.rmtree(self.folder / "files" / operation.content["folder"], ignore_errors=True)

    def save(self) -> None:
        """Replace state.json in one step, so that the file is complete whenever a process dies."""
        new = self.folder / "state.new"
        new.write_text(json.dumps(self.state), encoding="utf8")
        new.replace(self.folder / "state.json")

    def release(self) -> None:
        """Release the lock. An empty journal is removed; any other stays until a process delivers it."""
        self._file.close()
        if not self.waiting_bytes:
            _remove(self.folder)  # not the root: another process may be about to make a journal in it
        self._lock.release()


def _size_of_whole_lines(file: BinaryIO) -> int:
    """Bytes up to the end of the last complete line: a kill may cut a line short, a power cut may leave zeros."""
    file.seek(0)
    return sum(len(line) for line in takewhile(lambda line: line.endswith(b"\n") and b"\0" not in line, file))


def _remove(folder: Path) -> None:
    """The state first: without it `abandoned` knows that nothing is left to deliver."""
    with suppress(OSError):
        (folder / "state.json").unlink()
    shutil.rmtree(folder, ignore_errors=True)


def _locked(folder: Path) -> "BaseFileLock":
    """The folder's lock, acquired. Raises filelock.Timeout, an OSError, while another process holds it."""
    from filelock import FileLock

    lock = FileLock(folder / "lock")
    lock.acquire(blocking=False)
    return lock
