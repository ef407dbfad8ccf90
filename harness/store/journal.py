"""The journal of a run: operations on disk, in order, until the store has them.

So no point is lost when the store is away or the process is killed: any later process may deliver the rest. The store
may also refuse one operation and take others: then the journal holds that one, with the reason, and tries it again.
"""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from harness.config import visible
from harness.store.connection import RefusedError
from harness.store.journal_files import (
    LINES,
    STATE,
    UNREADABLE,
    VERSION,
    Held,
    Operation,
    UnreadableError,
    below,
    end_last_line,
    has_content,
    journal_folders,
    locked,
    read_operation,
    read_state,
    remove,
    set_aside,
    sync,
)

if TYPE_CHECKING:
    from filelock import BaseFileLock

MAX_WAITING_BYTES = 32 << 20  # beyond it points are counted and left out; the run's tables still have them
TOGETHER = ("params", "points", "tags")  # kinds of operations of which one request may have several
WHOLE = (*TOGETHER, "dataset", "files")  # what a run has between its first operation and its last
MAX_WHOLE_BYTES = 1 << 20  # that are sent as a whole: others wait for the store meanwhile
SYNC_SECONDS = 1.0  # of training, in which lines are forced to the disk once


class Journal:
    """The journal of one run: a folder with `journal.jsonl`, `state.json` and the files that are still to be sent.

    state: `offset` of the first operation that was never sent; `held`, the ones before it that were refused; `run_id`
    once the store has created the run; and what the creator added. One process holds the lock until it ends.
    """

    def __init__(self, folder: Path, lock: "BaseFileLock", state: dict[str, Any]) -> None:
        self.folder, self._lock, self.state = folder, lock, state
        self._file = (folder / LINES).open("a+b", buffering=0)
        self._size = end_last_line(self._file)
        state["offset"] = min(state["offset"], self._size)  # a power cut may keep the state and lose the line
        state["held"] = [
            Held(begin, end, kind, visible(why)) for begin, end, kind, why in state.get("held", ()) if end <= self._size
        ]
        self._synced = self._saved = time.monotonic()
        self._is_saved = True
        self._is_new = True  # to the disk: its folder may not be there after a power cut
        self._unsynced: list[Path] = []  # folders of files that are named by lines after the last sync
        self.n_dropped = 0  # points left out because the journal was full

    @classmethod
    def create(cls, root: Path, **state: Any) -> "Journal":
        """A new journal below `root`, locked by this process. Raises OSError if it cannot be written."""
        token = f"{time.time_ns():x}{uuid4().hex}"  # tokens sort by age
        hidden = root / f".{token}"  # until it is locked and complete
        hidden.mkdir(parents=True)
        first = {"version": VERSION, "offset": 0, "held": [], "run_id": None}
        journal = cls(hidden, locked(hidden), {**first, **state})
        journal._write_state(forced=False)
        journal.folder = hidden.rename(root / token)
        return journal

    @classmethod
    def abandoned(cls, root: Path, unreadable: list[str] | None = None) -> Iterator["Journal"]:
        """The journals that no process holds, oldest first; this process holds each until it asks for the next.

        unreadable: takes a sentence for each that cannot be read: what is wrong, and where it is now.
        """
        told = [] if unreadable is None else unreadable
        for folder in journal_folders(root, told):
            if (journal := cls._take_over(folder, told)) is None:
                continue
            try:
                yield journal
            finally:
                if why := journal.hopeless():
                    told.append(set_aside(journal.folder, why))
                journal.release()

    @classmethod
    def _take_over(cls, folder: Path, told: list[str]) -> "Journal | None":
        """None if another process holds it, if it was never begun, or if it cannot be read."""
        from filelock import Timeout

        lock = None
        try:
            lock = locked(folder)
            return cls(folder, lock, read_state(folder))
        except (Timeout, FileNotFoundError):  # held, or delivered and removed meanwhile
            pass
        except UnreadableError as error:
            told.append(set_aside(folder, str(error))) if has_content(folder) else remove(folder)
        except OSError as error:  # of this moment or of this user: the journal itself may be sound
            told.append(visible(f"{folder}: {error.strerror or error}; it stays there"))
        if lock:
            lock.release()
        return None

    @property
    def held(self) -> list[Held]:
        """What the store refuses, oldest first."""
        return list(self.state["held"])

    @property
    def waiting_bytes(self) -> int:
        """Size of the operations that are not delivered yet."""
        return self._size - int(self.state["offset"]) + sum(one.end - one.begin for one in self.held)

    def append(self, kind: str, **content: Any) -> None:
        """Write an operation. Raises OSError when the disk is full; then no part of it is kept.

        A power cut costs what was written in the SYNC_SECONDS after the last line that was forced to the disk.
        """
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
        if kind == "files":
            self._unsynced.append(self.folder / "files" / content["folder"])
        if kind == "finish" or time.monotonic() - self._synced > SYNC_SECONDS:
            self._sync()

    def _sync(self) -> None:
        """Force the lines to the disk, and before them the files that they name, unless these are delivered."""
        folders = [folder for folder in self._unsynced if folder.is_dir()]
        paths = [path for folder in folders for path in reversed(below(folder))]
        own = [self.folder / STATE, self.folder, self.folder.parent] if self._is_new else [self.folder] if paths else []
        sync(*paths, *([self.folder / "files"] if paths else []), *own)
        os.fsync(self._file.fileno())
        self._unsynced, self._synced, self._is_new = [], time.monotonic(), False

    def new_folder(self) -> Path:
        """An empty folder for the files that an operation will name; removed when that operation is delivered."""
        folder = self.folder / "files" / uuid4().hex
        folder.mkdir(parents=True)
        return folder

    def pending(self) -> Iterator[Operation]:
        """The operations that are not delivered yet: first those that are held, then those that were never sent."""
        for one in self.held:
            yield from self.operations(one.begin, one.end)
        yield from self.operations(self.state["offset"], self._size)

    def operations(self, begin: int, end: int) -> Iterator[Operation]:
        """The lines between two offsets, delivered or not."""
        with (self.folder / LINES).open("rb") as file:
            file.seek(begin)
            while begin < end and (line := file.readline()):
                yield read_operation(line, begin)
                begin += len(line)

    def deliver(
        self, send: Callable[[list[Operation]], None], send_whole: Callable[[list[Operation]], bool] | None = None
    ) -> None:
        """Send the pending operations, consecutive ones of TOGETHER in one group; mark each group once it is sent.

        send_whole: asked first to send all at once; returns whether it did.

        Of a group that `send` refuses with a RefusedError each kind is sent by itself; what is refused again is held,
        and what follows is sent; but nothing can follow the creation of the run. Any other exception ends the delivery:
        the rest is sent at the next call.
        """
        try:
            if not (send_whole and self._deliver_whole(send_whole)):
                for operations in self._groups():
                    self._deliver_group(operations, send)
        except Exception:
            self._save_if_moved()
            raise

    def _deliver_whole(self, send_whole: Callable[[list[Operation]], bool]) -> bool:
        if self.held or not 0 < self.waiting_bytes <= MAX_WHOLE_BYTES:
            return False
        operations = list(self.pending())
        if any(one.kind not in WHOLE for one in operations):
            return False
        if self._unsynced:
            self._sync()
        if done := send_whole(operations):
            self._mark_delivered(operations)
        return done

    def _deliver_group(self, operations: list[Operation], send: Callable[[list[Operation]], None]) -> None:
        if (refused := self._refusal(operations, send)) is None:
            self._mark_delivered(operations)
        elif len({one.kind for one in operations}) > 1:
            for part in _by_kind(operations):
                self._deliver_group(part, send)
        elif operations[0].kind == "create":
            raise refused
        else:
            self.hold(operations, str(refused))

    def _refusal(self, operations: list[Operation], send: Callable[[list[Operation]], None]) -> RefusedError | None:
        """Send a group; returned, not raised, so that the error of a part has no traceback of the whole before it."""
        try:
            if operations[0].kind == UNREADABLE:
                raise RefusedError(f"a line of {LINES} that cannot be read, at byte {operations[0].begin}")
            if self._unsynced and operations[0].kind == "files":
                self._sync()
            send(operations)
        except RefusedError as refused:
            return refused
        return None

    def _groups(self) -> Iterator[list[Operation]]:
        """The pending operations as they are sent; what is held, as it was refused."""
        for one in self.held:
            yield list(self.operations(one.begin, one.end))
        new = self.operations(self.state["offset"], self._size)
        for _, group in groupby(new, key=lambda one: "together" if one.kind in TOGETHER else one.end):
            yield list(group)

    def hold(self, operations: list[Operation], reason: str) -> None:
        """Keep a group to be sent again; points that follow refused points become a part of their group."""
        new = Held(operations[0].begin, operations[-1].end, operations[0].kind, reason)
        others = [one for one in self.held if one.begin != new.begin]
        if others and others[-1].kind == new.kind == "points" and others[-1].end == new.begin:
            new = new._replace(begin=others.pop().begin)
        if (held := sorted([*others, new])) != self.held:
            self._move(new.end, held)

    def _mark_delivered(self, operations: list[Operation]) -> None:
        """Move the offset behind these operations and delete their files."""
        begin, end = operations[0].begin, operations[-1].end
        self._move(end, [one for one in self.held if one.begin != begin])
        for operation in operations:
            if "folder" in operation.content:
                shutil.rmtree(self.folder / "files" / operation.content["folder"], ignore_errors=True)

    def _move(self, end: int, held: list[Held]) -> None:
        """Saved once in SYNC_SECONDS, as forcing it to the disk takes milliseconds: an older state sends more again."""
        self.state["offset"], self.state["held"] = max(self.state["offset"], end), held
        self._is_saved = False
        if time.monotonic() - self._saved > SYNC_SECONDS:
            self.save()

    def _save_if_moved(self) -> None:
        if not self._is_saved:
            with suppress(OSError):  # the disk is full: the older state is as good
                self.save()

    def save(self) -> None:
        """Replace state.json in one step, so that the file is complete whenever a process dies or the power fails."""
        self._write_state(forced=True)
        sync(self.folder)
        self._is_saved, self._saved = True, time.monotonic()

    def _write_state(self, forced: bool) -> None:
        new = self.folder / "state.new"
        with new.open("w", encoding="utf8") as file:
            json.dump(self.state, file)
            file.flush()
            if forced:
                os.fsync(file.fileno())
        new.replace(self.folder / STATE)

    def n_left(self) -> tuple[int, int]:
        """Bytes of the operations, and files, that are not delivered yet."""
        return self.waiting_bytes, sum(map(Path.is_file, (self.folder / "files").rglob("*")))

    def forget(self) -> None:
        """Nothing of it is to be sent; its run was not created and will not end."""
        self.state["ended"] = True
        self._move(self._size, [])

    def release(self) -> None:
        """Release the lock. An empty journal is removed; any other stays until a process delivers it."""
        self._file.close()
        if not self.waiting_bytes:
            remove(self.folder)  # not the root: another process may be about to make a journal in it
        else:
            self._save_if_moved()
        self._lock.release()

    def hopeless(self) -> str:
        """The first line that cannot be read, once nothing else waits, or nothing else can be sent without it."""
        bad = [one.reason for one in self.held if one.kind == UNREADABLE]
        kinds = {one.kind for one in self.pending()} if bad else set()
        lost = self.state["run_id"] is None and "create" not in kinds
        return bad[0] if bad and (lost or kinds <= {UNREADABLE, "finish"}) else ""


def _by_kind(operations: list[Operation]) -> Iterator[list[Operation]]:
    """Consecutive points, and every other operation by itself: a refused one holds up no other."""
    for _, group in groupby(operations, key=lambda one: "points" if one.kind == "points" else one.end):
        yield list(group)
