"""A journal under bad luck: processes that die, lines cut short, full disks, several heirs at once."""

import errno
import json
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.store import journal as outbox_module
from harness.store.journal import Outbox


class AwayError(Exception):
    """The store does not answer."""


def die(outbox):
    """What a killed process leaves behind: its files, and locks that are free."""
    outbox._journal.close()
    outbox._lock.release()


def contents(operations):
    return [operation.content["n"] for operation in operations]


def deliver_all(root):
    """Deliver every idle journal; returns the numbers in the order of their delivery."""
    sent = []
    for outbox in Outbox.idle(root):
        outbox.deliver(lambda operations: sent.extend(contents(operations)))
    return sent


def test_operations_are_sent_in_order_and_points_together(tmp_path):
    outbox, groups = Outbox.create(tmp_path), []
    for n, kind in enumerate(["create", "points", "points", "tags", "tags", "points", "finish"]):
        outbox.append(kind, n=n, points=[])
    outbox.deliver(lambda operations: groups.append(contents(operations)))
    assert groups == [[0], [1, 2], [3], [4], [5], [6]]
    outbox.release()
    assert list(tmp_path.iterdir()) == []


def test_what_could_not_be_sent_is_sent_again(tmp_path):
    outbox, sent = Outbox.create(tmp_path), []

    def send(operations):
        if len(sent) == 2:
            raise AwayError
        sent.extend(contents(operations))

    for n in range(4):
        outbox.append("tags", n=n)
    with pytest.raises(AwayError):
        outbox.deliver(send)
    assert [operation.content["n"] for operation in outbox.pending()] == [2, 3]
    die(outbox)
    assert deliver_all(tmp_path) == [2, 3]
    assert deliver_all(tmp_path) == []


@given(sizes=st.lists(st.integers(0, 300), min_size=1, max_size=8), cut=st.integers(0, 3000), zeros=st.booleans())
@settings(max_examples=40, deadline=None)
def test_a_journal_that_is_cut_anywhere_keeps_its_whole_lines(tmp_path_factory, sizes, cut, zeros):
    """A kill, a full disk or a power cut may leave any part of the last lines, or zeros in their place."""
    root = tmp_path_factory.mktemp("cut")
    outbox = Outbox.create(root)
    for n, size in enumerate(sizes):
        outbox.append("tags", n=n, text="x" * size)
    die(outbox)
    file = outbox.folder / "journal.jsonl"
    whole = file.read_bytes()
    kept = whole[:cut]
    file.write_bytes(kept + bytes(len(whole) - len(kept) if zeros else 0))
    assert deliver_all(root) == list(range(kept.count(b"\n")))


def test_a_state_that_is_newer_than_its_journal_is_no_end(tmp_path):
    """After a power cut the file system may know the last state but not the last lines."""
    outbox = Outbox.create(tmp_path)
    for n in range(3):
        outbox.append("tags", n=n)
    outbox.deliver(lambda operations: None)
    die(outbox)
    (outbox.folder / "journal.jsonl").write_bytes(b"")
    (heir,) = Outbox.idle(tmp_path)
    assert heir.waiting_bytes == 0
    assert list(tmp_path.iterdir()) == []


class FullDisk:
    """A journal file on a disk with room for so many more bytes: it takes what fits, then refuses, as Linux does."""

    def __init__(self, file, room):
        self.file, self.room = file, room

    def write(self, data):
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = data[: min(self.room, 7)]  # never all at once
        self.room -= len(taken)
        return self.file.write(taken)

    def __getattr__(self, name):
        return getattr(self.file, name)


@given(room=st.integers(0, 200))
@settings(max_examples=40, deadline=None)
def test_a_full_disk_takes_an_operation_whole_or_not_at_all(tmp_path_factory, room):
    root = tmp_path_factory.mktemp("full")
    outbox, said = Outbox.create(root), []
    disk = outbox._journal = FullDisk(outbox._journal, room)
    for n in range(12):
        with suppress(OSError):
            outbox.append("tags", n=n)
            said.append(n)
    disk.room = 10_000  # somebody has made room
    outbox.append("tags", n=99)
    assert contents(outbox.pending()) == [*said, 99]
    die(outbox)
    assert deliver_all(root) == [*said, 99]


def test_a_journal_is_bounded_and_counts_what_it_leaves_out(tmp_path, monkeypatch):
    monkeypatch.setattr(outbox_module, "LIMIT_BYTES", 1000)
    outbox = Outbox.create(tmp_path)
    for n in range(100):
        outbox.append("points", n=n, points=[["cost", 1.0, 2, 3]])
    said = contents(outbox.pending())
    assert said == list(range(len(said)))
    assert outbox.n_dropped == 100 - len(said) > 0
    assert outbox.waiting_bytes < 1100
    outbox.append("finish", n=100)  # what is no point is always taken
    outbox.deliver(lambda operations: None)
    outbox.append("points", n=101, points=[["cost", 1.0, 2, 3]])  # there is room again
    assert contents(outbox.pending()) == [101]
    outbox.release()


def test_files_go_with_the_operation_that_names_them(tmp_path):
    outbox = Outbox.create(tmp_path)
    folder = outbox.new_folder()
    (folder / "table.csv").write_text("a\n1\n")
    outbox.append("files", folder=folder.name, n=0)
    assert (folder / "table.csv").exists()
    outbox.deliver(lambda operations: None)
    assert not folder.exists()
    outbox.release()


def test_a_journal_that_somebody_holds_is_not_idle(tmp_path):
    held = Outbox.create(tmp_path)
    held.append("tags", n=0)
    free = Outbox.create(tmp_path)
    free.append("tags", n=1)
    die(free)
    assert deliver_all(tmp_path) == [1]
    held.release()
    assert deliver_all(tmp_path) == [0]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("state", [None, "", '{"offs'])
def test_a_journal_of_a_process_that_died_while_making_it_is_removed(tmp_path, state):
    outbox = Outbox.create(tmp_path)
    die(outbox)
    (outbox.folder / "state.json").unlink()
    if state is not None:
        (outbox.folder / "state.json").write_text(state)
    assert list(Outbox.idle(tmp_path)) == []
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_to_is_an_os_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        Outbox.create(tmp_path / "file")


HEIR = """
import json, sys, time
from pathlib import Path
from harness.store.journal import Outbox
root, start = Path(sys.argv[1]), float(sys.argv[2])
while time.time() < start:
    pass
for outbox in Outbox.idle(root):
    outbox.deliver(lambda operations: [print(json.dumps(o.content["n"])) for o in operations] and time.sleep(0.001))
"""


def test_several_processes_never_deliver_the_same_journal(tmp_path):
    for journal in range(12):
        outbox = Outbox.create(tmp_path / "undelivered")
        for n in range(5):
            outbox.append("tags", n=[journal, n])
        die(outbox)
    command = [sys.executable, "-c", HEIR, str(tmp_path / "undelivered"), str(time.time() + 1.5)]
    heirs = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    outputs = [heir.communicate(timeout=60) for heir in heirs]
    assert [errors for _, errors in outputs] == [""] * 4
    sent = [tuple(json.loads(line)) for output, _ in outputs for line in output.splitlines()]
    assert Counter(sent) == {(journal, n): 1 for journal in range(12) for n in range(5)}
    assert list((tmp_path / "undelivered").iterdir()) == []
