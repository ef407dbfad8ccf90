"""A journal when processes die, lines are cut short, disks are full, or several processes deliver it at once."""

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

from harness.store import journal as journal_module
from harness.store.journal import Journal
from tests.store.stand_in import append


class AwayError(Exception):
    """The store does not answer."""


def die(journal):
    """What a killed process leaves behind: its files, and locks that are free."""
    journal._file.close()
    journal._lock.release()


def contents(operations):
    return [operation.content["n"] for operation in operations]


def deliver_all(root):
    """Deliver every idle journal; returns the numbers in the order of their delivery."""
    sent = []
    for journal in Journal.abandoned(root):
        journal.deliver(lambda operations: sent.extend(contents(operations)))
    return sent


def test_operations_are_sent_in_order_and_those_of_one_request_together(tmp_path):
    journal, groups = Journal.create(tmp_path), []
    for n, kind in enumerate(["create", "points", "points", "tags", "tags", "points", "finish"]):
        append(journal, kind, n=n, points=[])
    journal.deliver(lambda operations: groups.append(contents(operations)))
    assert groups == [[0], [1, 2, 3, 4, 5], [6]]
    journal.release()
    assert list(tmp_path.iterdir()) == []


def test_what_could_not_be_sent_is_sent_again(tmp_path):
    journal, sent = Journal.create(tmp_path), []

    def send(operations):
        if len(sent) == 2:
            raise AwayError
        sent.extend(contents(operations))

    for n in range(4):
        append(journal, "dataset", n=n)
    with pytest.raises(AwayError):
        journal.deliver(send)
    assert [operation.content["n"] for operation in journal.pending()] == [2, 3]
    die(journal)
    assert deliver_all(tmp_path) == [2, 3]
    assert deliver_all(tmp_path) == []


@given(sizes=st.lists(st.integers(0, 300), min_size=1, max_size=8), cut=st.integers(0, 3000), zeros=st.booleans())
@settings(max_examples=40, deadline=None)
def test_a_journal_that_is_cut_anywhere_keeps_its_whole_lines(tmp_path_factory, sizes, cut, zeros):
    """A kill, a full disk or a power cut may leave any part of the last lines, or zeros in their place."""
    root = tmp_path_factory.mktemp("cut")
    journal = Journal.create(root)
    for n, size in enumerate(sizes):
        append(journal, "tags", n=n, text="x" * size)
    die(journal)
    file = journal.folder / "journal.jsonl"
    whole = file.read_bytes()
    kept = whole[:cut]
    file.write_bytes(kept + bytes(len(whole) - len(kept) if zeros else 0))
    assert deliver_all(root) == list(range(kept.count(b"\n")))


def test_a_state_that_is_newer_than_its_journal_is_no_end(tmp_path):
    """After a power cut the file system may know the last state but not the last lines."""
    journal = Journal.create(tmp_path)
    for n in range(3):
        append(journal, "tags", n=n)
    journal.deliver(lambda operations: None)
    die(journal)
    (journal.folder / "journal.jsonl").write_bytes(b"")
    (heir,) = Journal.abandoned(tmp_path)
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
    journal, said = Journal.create(root), []
    disk = journal._file = FullDisk(journal._file, room)
    for n in range(12):
        with suppress(OSError):
            append(journal, "tags", n=n)
            said.append(n)
    disk.room = 10_000  # somebody has made room
    append(journal, "tags", n=99)
    assert contents(journal.pending()) == [*said, 99]
    die(journal)
    assert deliver_all(root) == [*said, 99]


def test_a_journal_is_bounded_and_counts_what_it_leaves_out(tmp_path, monkeypatch):
    monkeypatch.setattr(journal_module, "MAX_WAITING_BYTES", 1000)
    journal = Journal.create(tmp_path)
    for n in range(100):
        append(journal, "points", n=n, points=[["cost", 1.0, 2, 3]])
    said = contents(journal.pending())
    assert said == list(range(len(said)))
    assert journal.n_dropped == 100 - len(said) > 0
    assert journal.waiting_bytes < 1100
    append(journal, "finish", n=100)  # what is no point is always taken
    journal.deliver(lambda operations: None)
    append(journal, "points", n=101, points=[["cost", 1.0, 2, 3]])  # there is room again
    assert contents(journal.pending()) == [101]
    journal.release()


def test_files_go_with_the_operation_that_names_them(tmp_path):
    journal = Journal.create(tmp_path)
    folder = journal.new_folder()
    (folder / "table.csv").write_text("a\n1\n")
    append(journal, "files", folder=folder.name, n=0)
    assert (folder / "table.csv").exists()
    journal.deliver(lambda operations: None)
    assert not folder.exists()
    journal.release()


def test_a_journal_that_somebody_holds_is_not_idle(tmp_path):
    held = Journal.create(tmp_path)
    append(held, "tags", n=0)
    free = Journal.create(tmp_path)
    append(free, "tags", n=1)
    die(free)
    assert deliver_all(tmp_path) == [1]
    held.release()
    assert deliver_all(tmp_path) == [0]
    assert list(tmp_path.iterdir()) == []


def test_journals_are_delivered_in_the_order_of_their_age(tmp_path):
    for n in range(20):
        journal = Journal.create(tmp_path)
        append(journal, "tags", n=n)
        die(journal)
    assert deliver_all(tmp_path) == list(range(20))


@pytest.mark.parametrize("state", [None, "", '{"offs'])
def test_a_journal_of_a_process_that_died_while_making_it_is_removed(tmp_path, state):
    journal = Journal.create(tmp_path)
    die(journal)
    (journal.folder / "state.json").unlink()
    if state is not None:
        (journal.folder / "state.json").write_text(state)
    assert list(Journal.abandoned(tmp_path)) == []
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_to_is_an_os_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        Journal.create(tmp_path / "file")


HEIR = """
import json, sys, time
from pathlib import Path
from harness.store.journal import Journal
root, start = Path(sys.argv[1]), float(sys.argv[2])
while time.time() < start:
    pass
for journal in Journal.abandoned(root):
    journal.deliver(lambda operations: [print(json.dumps(o.content["n"])) for o in operations] and time.sleep(0.001))
"""


@pytest.mark.slow
def test_several_processes_never_deliver_the_same_journal(tmp_path):
    for number in range(12):
        journal = Journal.create(tmp_path / "undelivered")
        for n in range(5):
            append(journal, "tags", n=[number, n])
        die(journal)
    command = [sys.executable, "-c", HEIR, str(tmp_path / "undelivered"), str(time.time() + 1.5)]
    heirs = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    outputs = [heir.communicate(timeout=60) for heir in heirs]
    assert [errors for _, errors in outputs] == [""] * 4
    sent = [tuple(json.loads(line)) for output, _ in outputs for line in output.splitlines()]
    assert Counter(sent) == {(number, n): 1 for number in range(12) for n in range(5)}
    assert list((tmp_path / "undelivered").iterdir()) == []
