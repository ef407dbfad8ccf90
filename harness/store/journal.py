"""What a run still has to tell the store: operations in order, kept in a journal on disk until they are delivered.

A store can be away for a while, and a process can be killed between measuring and writing; neither may cost a point.
So whatever a run says is first a line of its journal, then delivered, then crossed off. A journal that nobody holds the
lock of belongs to nobody any more: any later process may deliver the rest. Knows nothing of MLflow.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

if TYPE_CHECKING:
    from filelock import BaseFileLock

LIMIT_BYTES = 32 << 20  # of lines that wait; beyond it points are counted and left out (their tables are not)


class Operation(NamedTuple):
    """One line of a journal: what to do, with what, and where in the file the next line begins."""

    kind: str
    content: dict[str, Any]
    end: int


class Journal:
    """The journal of one run: a folder that holds `journal.jsonl`, `state.json` and the files still to be sent.

    state: `offset` of the first operation that is not delivered, `run_id` once the store has given one, `tried` when a
    run may have been created without our hearing of it, and what the creator wrote there. Held by one process at a
    time; the lock goes with the process, however that ends.
    """

    def __init__(self, folder: Path, lock: "BaseFileLock", state: dict[str, Any]) -> None:
        self.folder, self._lock, self.state = folder, lock, state
        self._file = (folder / "journal.jsonl").open("a+b", buffering=0)
        self._size = _whole_lines(self._file)
        self._file.seek(self._size)
        self._file.truncate()
        state["offset"] = min(state["offset"], self._size)  # a power cut may keep the state and lose the line
        self.n_dropped = 0  # points that found the journal full

    @classmethod
    def create(cls, root: Path, **about: Any) -> "Journal":
        """A new journal below `root`, held by this process. Raises OSError where nothing can be written."""
        token = uuid4().hex
        unseen = root / f".{token}"  # until it is held and says whose it is
        unseen.mkdir(parents=True)
        lock = _lock(unseen)
        lock.acquire(blocking=False)
        folder = unseen.rename(root / token)
        journal = cls(folder, lock, {"offset": 0, "run_id": None, "tried": False, **about})
        journal.save()
        return journal

    @classmethod
    def idle(cls, root: Path) -> Iterator["Journal"]:
        """The journals that no process holds, oldest first; each is held by this process while it is looked at."""
        folders = [path for path in root.glob("[!.]*") if path.is_dir()]
        for folder in sorted(folders, key=_age):
            if (lock := _held(folder)) is None:
                continue
            try:
                state = json.loads((folder / "state.json").read_text(encoding="utf8"))
            except (OSError, ValueError):  # killed while it was being made: it says nothing
                _remove(folder)
                lock.release()
                continue
            journal = cls(folder, lock, state)
            try:
                yield journal
            finally:
                journal.release()

    @property
    def token(self) -> str:
        """A name that no other journal has."""
        return self.folder.name

    @property
    def waiting_bytes(self) -> int:
        return self._size - int(self.state["offset"])

    def waits(self, kind: str) -> bool:
        """Whether an operation of this kind is not delivered yet."""
        return any(operation.kind == kind for operation in self.pending())

    def append(self, kind: str, **content: Any) -> None:
        """Write an operation down. Raises OSError when the disk is full; then nothing of it is there."""
        if kind == "points" and self.waiting_bytes > LIMIT_BYTES:
            self.n_dropped += len(content["points"])
            return
        line = json.dumps([kind, content], separators=(",", ":")).encode() + b"\n"
        try:
            while line_left := line[self._file.tell() - self._size :]:
                self._file.write(line_left)
        except OSError:
            self._file.seek(self._size)
            self._file.truncate()
            raise
        self._size += len(line)

    def new_folder(self) -> Path:
        """An empty folder for files that an operation will name; removed when that is delivered."""
        folder = self.folder / "files" / uuid4().hex
        folder.mkdir(parents=True)
        return folder

    def pending(self) -> Iterator[Operation]:
        """The operations that are not delivered yet."""
        with (self.folder / "journal.jsonl").open("rb") as journal:
            journal.seek(self.state["offset"])
            end = journal.tell()
            for line in journal:
                kind, content = json.loads(line)
                end += len(line)
                yield Operation(kind, content, end)

    def deliver(self, send: Callable[[list[Operation]], None]) -> None:
        """Send what waits, in order, neighbours of the kind `points` together; each is crossed off once it is sent.

        What `send` raises ends the delivery and goes to the caller; what was not crossed off is sent again next time.
        """
        for operations in _grouped(self.pending()):
            send(operations)
            self.cross_off(operations)

    def cross_off(self, operations: list[Operation]) -> None:
        self.state["offset"] = operations[-1].end
        self.save()
        for operation in operations:
            if "folder" in operation.content:
                shutil.rmtree(self.folder / "files" / operation.content["folder"], ignore_errors=True)

    def save(self) -> None:
        """Replace state.json in one step, so that it is whole whenever a process dies."""
        new = self.folder / "state.new"
        new.write_text(json.dumps(self.state), encoding="utf8")
        new.replace(self.folder / "state.json")

    def release(self) -> None:
        """Let go: an empty journal vanishes, any other stays for whoever delivers it."""
        self._file.close()
        if not self.waiting_bytes:
            _remove(self.folder)  # not the root: another process may be about to make a journal in it
        self._lock.release()


def _whole_lines(journal: Any) -> int:
    """Bytes up to the end of the last complete line: a kill may have cut one short, a power cut left zeros."""
    journal.seek(0)
    return sum(len(line) for line in takewhile(_is_whole, journal))


def _is_whole(line: bytes) -> bool:
    return line.endswith(b"\n") and b"\0" not in line


def _remove(folder: Path) -> None:
    """The state first: who finds the rest without it knows that the journal says nothing any more."""
    with suppress(OSError):
        (folder / "state.json").unlink()
    shutil.rmtree(folder, ignore_errors=True)


def _lock(folder: Path) -> "BaseFileLock":
    from filelock import FileLock

    return FileLock(folder / "lock")


def _held(folder: Path) -> "BaseFileLock | None":
    """The folder's lock, or None while another process holds it."""
    from filelock import Timeout

    lock = _lock(folder)
    try:
        lock.acquire(blocking=False)
    except (Timeout, OSError):  # OSError: delivered and removed meanwhile
        return None
    return lock


def _grouped(operations: Iterator[Operation]) -> Iterator[list[Operation]]:
    """Runs of `points` together, everything else alone."""
    group: list[Operation] = []
    for operation in operations:
        if group and not (operation.kind == group[0].kind == "points"):
            yield group
            group = []
        group.append(operation)
    if group:
        yield group


def _age(folder: Path) -> float:
    try:
        return folder.stat().st_ctime
    except OSError:  # delivered and removed meanwhile
        return 0.0
