"""Journals that cannot be read: each is set aside with one sentence, the others are delivered, nothing is deleted."""

import errno
import json
import os
import resource
from contextlib import suppress

import pytest

from harness.store import journal as journal_module
from harness.store import journal_files
from harness.store.journal import Journal
from tests.store.stand_in import WHOLE, append, heard, store, tell


def die(journal):
    """What a killed process leaves behind: its files, and locks that are free."""
    journal._file.close()
    journal._lock.release()


def left_behind(root, n):
    journal = Journal.create(root, store="s", ended=False)
    for step in range(4):
        append(journal, "tags", n=[n, step], tags={})
    die(journal)
    return journal.folder


def delivered(root):
    """(numbers that were sent, sentences)"""
    sent, told = [], []
    for journal in Journal.abandoned(root, told):
        journal.deliver(lambda operations: sent.extend(one.content["n"] for one in operations))
    return sent, told


def state(**changes):
    def damage(folder):
        text = json.loads((folder / "state.json").read_text())
        (folder / "state.json").write_text(json.dumps({**text, **changes}))

    return damage


def write(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def as_folder(name):
    def damage(folder):
        (folder / name).unlink()
        (folder / name).mkdir()
        (folder / name / "kept").write_text("kept")

    return damage


STATES = {
    "empty state": write("state.json", b""),
    "a list": write("state.json", b"[]"),
    "null": write("state.json", b"null"),
    "a number": write("state.json", b"7"),
    "a text": write("state.json", b'"offset"'),
    "an empty object": write("state.json", b"{}"),
    "cut": write("state.json", b'{"offset": 0, "run'),
    "binary": write("state.json", bytes(range(256))),
    "nested without end": write("state.json", b"[" * 100_000),
    "of a newer version": state(version=2),
    "of another program": write("state.json", b'{"version": "0.1", "layout": "notebook"}'),
    "offset below zero": state(offset=-1),
    "offset a text": state(offset="0"),
    "offset true": state(offset=True),
    "run a list": state(run_id=["a"]),
    "held a number": state(held=3),
    "held of another form": state(held=[[1, 2]]),
    "held backwards": state(held=[[9, 3, "tags", "why"]]),
    "missing": lambda folder: (folder / "state.json").unlink(),
    "a folder": as_folder("state.json"),
    "lines missing": lambda folder: (folder / "journal.jsonl").unlink(),
    "lines a folder": as_folder("journal.jsonl"),
}


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "lock"
    }


@pytest.mark.parametrize("damage", sorted(STATES))
def test_a_journal_without_a_sound_state_is_set_aside(tmp_path, damage):
    root = tmp_path / "undelivered"
    folders = [left_behind(root, n) for n in range(3)]
    STATES[damage](folders[1])
    before = contents(folders[1])
    sent, told = delivered(root)
    assert sent == [[n, step] for n in (0, 2) for step in range(4)]
    (sentence,) = told
    aside = tmp_path / "unreadable" / folders[1].name
    assert sentence.startswith(f"{aside}: ")
    assert sentence.endswith("; it was moved there")
    assert "\n" not in sentence
    assert contents(aside) == before
    assert list(root.iterdir()) == []
    assert delivered(root) == ([], [])


LINES = {
    "garbage": b"garbage\n",
    "binary": bytes(range(10)) + bytes(range(11, 256)) + b"\n",
    "zeros": bytes(4096) + b"\n",
    "a number": b"7\n",
    "null": b"null\n",
    "one word": b'["tags"]\n',
    "no content": b'["tags",7]\n',
    "no kind": b"[7,{}]\n",
    "empty": b"\n",
    "nested without end": b"[" * 100_000 + b"\n",
    "a path out of the journal": b'["files",{"n":0,"folder":"../../../home"}]\n',
    "an absolute path": b'["files",{"n":0,"folder":"/etc"}]\n',
    "not UTF-8": b'["tags",{"n":"\xff"}]\n',
    "of no known kind": b'["rename",{"name":"x"}]\n',
    **{
        f"{kind} with {field} {value}": json.dumps([kind, WHOLE[kind] | {field: value}]).encode() + b"\n"
        for kind in ("create", "params", "tags", "points", "dataset", "finish")
        for field in WHOLE[kind]
        for value in (None, True, [7], {"a": 7}, 2**70)
    },
    **{
        f"{kind} without {field}": json.dumps([kind, {k: v for k, v in WHOLE[kind].items() if k != field}]).encode()
        + b"\n"
        for kind in ("create", "params", "tags", "points", "dataset", "finish")
        for field in WHOLE[kind]
    },
    "files without a folder": b'["files",{}]\n',
    "files in a number": b'["files",{"folder":5}]\n',
    "no end of a run": b'["finish",{"status":"RUNNING","time":1}]\n',
    "a point of three": b'["points",{"points":[["cost",1.0,1]]}]\n',
    "a point of texts": b'["points",{"points":[["cost","1.0",1,1]]}]\n',
}


@pytest.mark.sample(60)
@pytest.mark.parametrize("damage", sorted(LINES))
@pytest.mark.parametrize("place", [0, 2, 4])
def test_a_line_that_cannot_be_read_costs_no_other_line(tmp_path, damage, place):
    root = tmp_path / "undelivered"
    folders = [left_behind(root, n) for n in range(3)]
    state(run_id="run")(folders[1])
    lines = (folders[1] / "journal.jsonl").read_bytes().splitlines(keepends=True)
    whole = b"".join([*lines[:place], LINES[damage], *lines[place:]])
    (folders[1] / "journal.jsonl").write_bytes(whole)
    sent, told = delivered(root)
    assert sent == [[n, step] for n in range(3) for step in range(4)]
    (sentence,) = told
    assert f"at byte {sum(map(len, lines[:place]))}; it was moved there" in sentence
    assert (tmp_path / "unreadable" / folders[1].name / "journal.jsonl").read_bytes() == whole
    assert list(root.iterdir()) == []


@pytest.mark.parametrize("tail", [b"garbage", bytes(range(1, 9)), b"{", b"PK\3\4" + bytes(100)])
def test_a_rest_that_is_no_line_cut_short_is_kept(tmp_path, tail):
    root = tmp_path / "undelivered"
    folder = left_behind(root, 0)
    state(run_id="run")(folder)
    with (folder / "journal.jsonl").open("ab") as file:
        file.write(tail)
    sent, told = delivered(root)
    assert (len(sent), len(told)) == (4, 1)
    assert tail in (tmp_path / "unreadable" / folder.name / "journal.jsonl").read_bytes()


def test_a_journal_of_garbage_is_set_aside(tmp_path):
    folder = left_behind(tmp_path / "undelivered", 0)
    (folder / "journal.jsonl").write_bytes(os.urandom(5000).replace(b"[", b"!").replace(b"\0", b"\1") + b"\n")
    sent, told = delivered(tmp_path / "undelivered")
    assert (sent, len(told)) == ([], 1)
    assert len((tmp_path / "unreadable" / folder.name / "journal.jsonl").read_bytes()) == 5001


@pytest.mark.parametrize("damage", ["garbage", "of a newer version"])
def test_the_run_of_such_a_journal_is_ended_and_its_cell_is_not_taken_for_finished(tmp_path, damage):
    root = tmp_path / "undelivered"
    told = store(root)
    run = told.start("cell", {})
    refuse = told.client.log_batch
    told.client.log_batch = lambda *arguments, **words: (_ for _ in ()).throw(ConnectionError("away"))
    tell(run, 3)
    told.client.log_batch = refuse
    (folder,) = root.iterdir()
    lines = (folder / "journal.jsonl").read_bytes().splitlines(keepends=True)
    if damage == "garbage":
        (folder / "journal.jsonl").write_bytes(b"".join([*lines[:-2], b"garbage\n", *lines[-2:]]))
    else:
        state(version=2)(folder)
    delivered = told.deliver_waiting()
    assert len(delivered.unreadable) == 1
    assert not delivered.refused
    assert not delivered.complete
    if damage == "garbage":
        assert heard(told)["status"] == "FAILED"
        assert len(heard(told)["points"]) == 6
    assert told.deliver_waiting().complete


def test_what_another_user_may_not_read_stays_where_it_is(tmp_path, monkeypatch):
    """As an error of the system, because a test that runs as root may read everything."""
    root = tmp_path / "undelivered"
    folders = [left_behind(root, n) for n in range(3)]
    locked = journal_module.locked

    def refused(folder):
        if folder == folders[1]:
            raise PermissionError(errno.EACCES, "Permission denied", str(folder / "lock"))
        return locked(folder)

    monkeypatch.setattr(journal_module, "locked", refused)
    sent, told = delivered(root)
    assert sent == [[n, step] for n in (0, 2) for step in range(4)]
    assert told == [f"{folders[1]}: Permission denied; it stays there"]
    monkeypatch.undo()
    assert delivered(root) == ([[1, step] for step in range(4)], [])


def test_what_cannot_be_moved_stays_and_is_told(tmp_path):
    root = tmp_path / "undelivered"
    folder = left_behind(root, 0)
    (folder / "state.json").write_text("null")
    (tmp_path / "unreadable").write_text("a file is in the way")
    _, (sentence,) = delivered(root)
    assert sentence.startswith(f"{folder}: state.json is of another version or of another program; it stays there (")
    assert (folder / "journal.jsonl").exists()


def test_too_many_open_files_cost_no_journal(tmp_path):
    root = tmp_path / "undelivered"
    for n in range(3):
        left_behind(root, n)
    delivered(tmp_path / "another")  # imports what is needed
    usual, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    for spare in range(8):
        last, told = os.open(tmp_path, os.O_RDONLY), []
        resource.setrlimit(resource.RLIMIT_NOFILE, (last + 1 + spare, most))
        try:
            for journal in Journal.abandoned(root, told):
                with suppress(OSError):
                    journal.deliver(away)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (usual, most))
            os.close(last)
        assert all(sentence.endswith("Too many open files; it stays there") for sentence in told)
        assert told or spare > 1
    assert delivered(root) == ([[n, step] for n in range(3) for step in range(4)], [])


def away(operations):
    raise ConnectionError("the store is away")


def test_no_folder_of_journals_is_no_error(tmp_path):
    assert delivered(tmp_path / "nothing") == ([], [])
    (tmp_path / "file").write_text("in the way")
    sent, told = delivered(tmp_path / "file")
    assert sent == []
    assert told == [f"{tmp_path / 'file'}: Not a directory; it stays there"]


def test_what_a_killed_removal_leaves_is_removed(tmp_path, monkeypatch):
    left_behind(tmp_path, 0)
    monkeypatch.setattr(journal_files.shutil, "rmtree", lambda *unused, **ignored: None)  # killed here
    assert len(delivered(tmp_path)[0]) == 4
    assert [path.name[:9] for path in tmp_path.iterdir()] == [".removed-"]
    monkeypatch.undo()
    assert delivered(tmp_path) == ([], [])
    assert list(tmp_path.iterdir()) == []


# Power cuts


class Disk:
    """What a disk holds when the power fails: the size of each file, and the names, as last forced to it."""

    def __init__(self, monkeypatch):
        self.sizes, self.log = {}, []
        monkeypatch.setattr(os, "fsync", self.fsync)

    def fsync(self, descriptor):
        place = os.readlink(f"/proc/self/fd/{descriptor}")
        self.sizes[place] = os.fstat(descriptor).st_size
        self.log.append(os.path.basename(place))


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs Linux's names of open files")
def test_a_power_cut_costs_the_points_of_a_second(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(journal_module.time, "monotonic", lambda: now[0])
    disk = Disk(monkeypatch)
    journal = Journal.create(tmp_path)
    append(journal, "create", time=0)
    written = {}
    for n in range(1000):
        now[0] += 0.05
        append(journal, "points", points=[["cost", 1.0, n, n]])
        written[journal._size] = now[0]
        kept = disk.sizes.get(str(journal.folder / "journal.jsonl"), 0)
        lost = [time for size, time in written.items() if size > kept]
        assert not lost or max(lost) - min(lost) <= journal_module.SYNC_SECONDS
    assert 40 <= disk.log.count("journal.jsonl") <= 60  # of 50 seconds
    append(journal, "finish", time=1)
    assert disk.sizes[str(journal.folder / "journal.jsonl")] == journal._size
    die(journal)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs Linux's names of open files")
def test_a_state_is_on_the_disk_before_it_replaces_another(tmp_path, monkeypatch):
    disk, replaced = Disk(monkeypatch), []
    replace = journal_module.Path.replace
    monkeypatch.setattr(
        journal_module.Path, "replace", lambda path, to: (replaced.append(list(disk.log)), replace(path, to))[1]
    )
    journal = Journal.create(tmp_path / "undelivered")
    append(journal, "dataset", n=0)
    append(journal, "dataset", n=1)
    assert not disk.log  # in the first second
    journal._sync()
    assert disk.log == ["state.json", journal.folder.name, "undelivered", "journal.jsonl"]
    with suppress(ConnectionError):
        journal.deliver(lambda operations: away(operations) if operations[0].content["n"] else None)
    journal.release()
    assert replaced[-1][-1] == "state.new"
    assert disk.log[-1] == journal.folder.name
    assert len(replaced) == 2  # not one for each operation


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs Linux's names of open files")
def test_files_are_on_the_disk_before_the_end_of_their_run_and_before_a_copy_is_deleted(tmp_path, monkeypatch):
    disk = Disk(monkeypatch)
    journal = Journal.create(tmp_path / "undelivered")
    folder = journal.new_folder()
    (folder / "figures").mkdir()
    for name in ("history.csv", "figures/curves.png"):
        (folder / name).write_text("1234")
    append(journal, "files", folder=folder.name)
    append(journal, "finish")
    files = [str(folder / name) for name in ("history.csv", "figures/curves.png")]
    assert [disk.sizes.get(file) for file in files] == [4, 4]
    assert max(disk.log.index(name) for name in ("curves.png", folder.name)) < len(disk.log) - 1
    assert disk.log[-1] == "journal.jsonl"
    for linked in (True, False):
        if not linked:
            monkeypatch.setattr(os, "link", lambda *unused: (_ for _ in ()).throw(OSError(errno.EXDEV, "other disk")))
        to = tmp_path / f"project {linked}" / "artifacts"
        journal_files.put([(path, path.relative_to(folder)) for path in journal_files.below(folder)], to)
        assert linked or [disk.sizes.get(str(to / name)) for name in ("history.csv", "figures/curves.png")] == [4, 4]
        assert (to / "figures" / "curves.png").read_text() == "1234"
        assert {str(to), str(to / "figures"), str(to.parent), str(tmp_path)} <= disk.sizes.keys()
    die(journal)


def test_a_journal_is_complete_as_soon_as_it_can_be_found(tmp_path, monkeypatch):
    """A kill while it is made leaves a hidden folder, which nobody takes for a journal with lost lines."""

    def killed(journal, forced):
        die(journal)
        raise KeyboardInterrupt

    monkeypatch.setattr(Journal, "_write_state", killed)
    with pytest.raises(KeyboardInterrupt):
        Journal.create(tmp_path)
    assert delivered(tmp_path) == ([], [])


def test_a_journal_whose_process_died_before_its_first_line_is_nothing_to_tell(tmp_path):
    told = store(tmp_path)
    die(Journal.create(tmp_path, store=told.uri, ended=False))
    delivered = told.deliver_waiting()
    assert (delivered.refused, delivered.n_waiting) == ([], 0)
    assert told.client.runs == {}
    assert not list(tmp_path.glob("[!.]*"))


@pytest.mark.parametrize("line", ['["files",{}]', '["finish",{}]', '["finish",{"status":"FINISHED"}]'])
def test_an_odd_line_is_told_in_one_line_even_below_a_folder_with_a_name_of_two(tmp_path, line):
    told = store(tmp_path / "undelivered")
    tell(told.start("cell", {}), 1)
    folder = tmp_path / "undelivered" / "two\nlines"
    folder.mkdir(parents=True)
    (folder / "journal.jsonl").write_text(f"{line}\n")
    state = {"version": 1, "offset": 0, "held": [], "run_id": "run 0", "store": told.uri, "ended": True}
    (folder / "state.json").write_text(json.dumps(state))
    delivered = told.deliver_waiting()
    (sentence,) = delivered.unreadable
    assert "two\\nlines: a line of journal.jsonl that cannot be read, at byte 0; it was moved there" in sentence
    assert len(sentence.splitlines()) == 1
    assert heard(told)["status"] == "FINISHED"


def test_a_pipe_in_place_of_the_state_is_set_aside_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "state.json")
    with pytest.raises(journal_files.UnreadableError, match="missing"):
        journal_files.read_state(tmp_path)
