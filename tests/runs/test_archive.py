"""Runs that travel in a file: nothing of them is lost, nothing comes twice, and no crafted file does any harm."""

import io
import json
import os
import re
import shutil
import stat
import sys
import tracemalloc
import zipfile
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from random import Random
from types import SimpleNamespace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from mlflow.tracking import MlflowClient

import harness
from harness.app import main
from harness.config import ConfigError
from harness.runs import Archive, archive_unpacking
from harness.runs.archive import MANIFEST, RUNS
from harness.runs.archive_checks import RUN, Refused, checked_points, checked_run
from harness.runs.archive_unpacking import _without_foreign
from harness.runs.archive_writing import file_digest
from harness.store import Bulk, Store, bulk
from harness.store.client import Client
from harness.store.rows import Tables

pytestmark = pytest.mark.xdist_group("archive")  # one worker builds the module's fixture, once

SWEEP = ("-m", "batch_size=8,16", "dataset=iris", "seeds=2", "epochs=3")


def command(folder, *words):
    """(exit code, what it said) of `python -m harness WORDS` in a folder with a store of its own."""
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stderr(said), redirect_stdout(said):
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        patch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
        patch.setattr(sys, "argv", ["harness", *words])
        code = main()
    return code, said.getvalue()


@contextmanager
def opened(folder):
    """The store of a folder, in which the process then is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        patch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
        yield Store.open()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project with a sweep, the same as an archive, and an empty store, as making one takes seconds."""
    root = tmp_path_factory.mktemp("archive")
    (root / "empty").mkdir()
    (root / "source").mkdir()
    with opened(root / "empty") as store:
        store.client._tracking_client.store.engine.dispose()
    shutil.copy(root / "empty" / "mlflow.db", root / "source")
    assert command(root / "source", *SWEEP)[0] == 0
    code, said = command(root / "source", "pack", "-o", str(root / "runs.zip"))
    assert (code, "cells: 2, sweeps: 1" in said) == (0, True), said
    return SimpleNamespace(root=root, source=root / "source", archive=root / "runs.zip", empty=root / "empty")


@pytest.fixture
def target(made, tmp_path):
    folder = tmp_path / "target"
    folder.mkdir()
    shutil.copy(made.empty / "mlflow.db", folder)
    return folder


def contents(folder):
    """Everything that the client reads of the runs that count, by the id of the store that trained them."""
    client = Client(f"sqlite:///{folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("harness").experiment_id
    found = [run for run in client.search_runs([experiment], max_results=1000) if "kind" in run.data.tags]
    ids = {run.info.run_id: run.data.tags.get("origin", run.info.run_id) for run in found}
    return {ids[run.info.run_id]: _described(client, run, ids) for run in found}


def _described(client, run, ids):
    def named(text):
        for own, origin in ids.items():
            text = text.replace(own, origin)
        return text

    dropped = ("process.", "origin", "journal", "answered")  # they mean something in one store only
    tags = {named(k): named(v) for k, v in run.data.tags.items() if not k.startswith(dropped)}
    points = {key: [(p.value, p.step, p.timestamp) for p in client.get_metric_history(run.info.run_id, key)]
              for key in run.data.metrics}  # fmt: skip
    folder = Path(run.info.artifact_uri)
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    if run.data.tags["kind"] == "sweep":
        files = {name: named(data.decode("latin1")) for name, data in files.items()}
    info = run.info
    return {
        "info": (info.run_name, info.status, info.start_time, info.end_time, info.lifecycle_stage),
        "tags": tags, "params": run.data.params, "last": run.data.metrics,
        "points": {key: sorted(history) for key, history in points.items()}, "files": files,
        "datasets": [(one.dataset.to_dictionary(), [(tag.key, tag.value) for tag in one.tags])
                     for one in run.inputs.dataset_inputs],
    }  # fmt: skip


def through_the_client(patch):
    """As with a server, which gives new ids."""
    patch.setattr(Tables, "of", lambda uri: None)


@pytest.mark.parametrize("client", [False, True], ids=["tables", "client"])
def test_a_store_receives_everything_once(made, target, monkeypatch, client):
    """The client's reading of runs that were written to its tables is that of runs that it wrote itself."""
    if client:
        through_the_client(monkeypatch)
    code, said = command(target, "unpack", str(made.archive))
    assert (code, "runs: 3, there already: 0" in said) == (0, True), said
    wanted, found = contents(made.source), contents(target)
    assert len(found) == 3
    for origin, run in wanted.items():
        for field, value in run.items():
            assert found[origin][field] == value, field
    code, said = command(target, "unpack", str(made.archive))
    assert (code, "runs: 0, there already: 3" in said) == (0, True), said
    assert contents(target) == found


@pytest.mark.slow
@pytest.mark.parametrize("client", [False, True], ids=["tables", "client"])
def test_the_runs_can_be_used_as_where_they_were_made(made, target, monkeypatch, client):
    with pytest.MonkeyPatch.context() as patch:
        if client:
            through_the_client(patch)
        command(target, "unpack", str(made.archive))
    code, said = command(target, *SWEEP)
    assert (code, "2 found finished" in said) == (0, True), said
    with opened(target) as store:
        sweep = store.last_sweep = store._search("tags.kind = 'sweep'")[0].info.run_id
        assert len(harness.load(sweep).cells) == 2
        assert f"sharedViewState.{sweep}" in str(store.client.get_experiment(store.experiment_id).tags)
    assert command(target, "verify", sweep)[1].endswith("2 of 2 finished cells are identical bit for bit\n")
    assert command(target, "report", sweep)[0] == 0
    assert command(target, "studies")[0] == 0


def test_a_packed_archive_of_unpacked_runs_has_the_same_origins(made, target, tmp_path):
    command(target, "unpack", str(made.archive))
    assert command(target, "pack", "-o", str(tmp_path / "again.zip"))[0] == 0
    with Archive(made.archive) as first, Archive(tmp_path / "again.zip") as second:
        assert {run.origin for run in first.runs} == {run.origin for run in second.runs}
    assert "runs: 0, there already: 3" in command(made.source, "unpack", str(tmp_path / "again.zip"))[1]


def test_a_cell_that_was_there_joins_the_sweep_that_comes_later(made, target, tmp_path):
    with opened(made.source) as store:
        (sweep,) = store._search("tags.kind = 'sweep'")
        cell = store.cells(sweep.info.run_id)[0].info.run_id
    assert command(made.source, "pack", cell[:8], "-o", str(tmp_path / "cell.zip"))[0] == 0
    assert "runs: 1," in command(target, "unpack", str(tmp_path / "cell.zip"))[1]
    with opened(target) as store:
        assert not [tag for tag in store.get(cell).data.tags if tag.startswith("sweep")]
    assert "runs: 2, there already: 1" in command(target, "unpack", str(made.archive))[1]
    with opened(target) as store:
        assert len(store.cells(sweep.info.run_id)) == 2


def test_a_run_that_finished_elsewhere_comes_beside_the_one_that_was_given_up(made, target):
    command(target, "unpack", str(made.archive))
    with opened(target) as store:
        (sweep,) = store._search("tags.kind = 'sweep'")
        store.client.set_terminated(sweep.info.run_id, "KILLED")
    assert "runs: 1, there already: 2" in command(target, "unpack", str(made.archive))[1]
    assert "runs: 0, there already: 3" in command(target, "unpack", str(made.archive))[1]


def test_a_run_that_was_deleted_gets_a_new_id(made, target):
    command(target, "unpack", str(made.archive))
    with opened(target) as store:
        for run in store.cells_and_sweeps():
            store.client.delete_run(run.info.run_id)
    assert "runs: 3, there already: 0" in command(target, "unpack", str(made.archive))[1]
    assert {k: v["files"] for k, v in contents(target).items()} == {
        k: v["files"] for k, v in contents(made.source).items()
    }


# Ends in the middle


@pytest.mark.sample(3)
@pytest.mark.parametrize("call", [*range(12), 25, 29])
@pytest.mark.parametrize("client", [False, True], ids=["tables", "client"])
def test_an_end_in_the_middle_leaves_no_half_run(made, target, monkeypatch, client, call):
    """At the n-th call that writes; nothing that the process would do afterwards counts."""
    left = [call]

    def dying(function):
        def either(*arguments, **options):
            if left[0] == 0:
                raise KilledError
            left[0] -= 1
            return function(*arguments, **options)

        return either

    with pytest.MonkeyPatch.context() as patch:
        if client:
            through_the_client(patch)
            for name in ("create_run", "log_batch", "log_inputs", "log_artifacts", "set_terminated", "set_tag"):
                patch.setattr(MlflowClient, name, dying(getattr(MlflowClient, name)))
        else:
            for name in ("_write_run", "_write_points"):
                patch.setattr(Bulk, name, dying(getattr(Bulk, name)))
            patch.setattr(archive_unpacking, "_extract", dying(archive_unpacking._extract))
        with suppress(KilledError):
            command(target, "unpack", str(made.archive))
    assert left == [0] or call > 8
    wanted = contents(made.source)
    for origin, run in contents(target).items():
        assert run["files"].keys() == wanted[origin]["files"].keys()
        assert run["points"] == wanted[origin]["points"]
    with pytest.MonkeyPatch.context() as patch:
        if client:
            through_the_client(patch)
        patch.setattr("harness.store.searching.is_dead", lambda tags: True)
        command(target, "deliver")
        assert command(target, "unpack", str(made.archive))[0] == 0
    found = contents(target)
    assert {k: (v["info"], v["files"]) for k, v in found.items()} == {
        k: (v["info"], v["files"]) for k, v in wanted.items()
    }
    with opened(target) as store:
        assert not store._search("attributes.status = 'RUNNING'")
        assert len(store.cells_and_sweeps()) == 3


class KilledError(BaseException):
    """In place of SIGKILL."""


# What may not be in an archive


def rebuilt(made, path, change):
    """The archive after a change to its manifest, the first run's line, all lines, or its files; digests fit."""
    with zipfile.ZipFile(made.archive) as old:
        about = json.loads(old.read(MANIFEST))
        lines = [json.loads(line) for line in old.read(RUNS).splitlines()]
        files = {name: old.read(name) for name in old.namelist() if name.startswith("files/")}
    parts = SimpleNamespace(about=about, lines=lines, run=lines[0]["run"], files=files, infos={}, after=None, raw=None)
    change(parts)
    text = parts.raw or b"".join(json.dumps(line).encode() + b"\n" for line in parts.lines)
    contents = {RUNS: text, **parts.files}
    if parts.about.get("members"):
        about["members"] = {
            name: {"bytes": len(data), "sha256": digest(data)} for name, data in contents.items()
        } | parts.about.get("lies", {})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name, data in ({MANIFEST: json.dumps(about).encode()} | contents).items():
            new.writestr(parts.infos.get(name, name), data)
        if parts.after:
            parts.after(new)
    return path


def digest(data):
    import hashlib

    return hashlib.sha256(data).hexdigest()


def path_named(name):
    def change(parts):
        parts.run["files"] = {name: next(iter(parts.run["files"].values())), **parts.run["files"]}

    return change


def setting(field, value):
    return lambda parts: parts.run.__setitem__(field, value)


def tagged(key, value):
    return lambda parts: parts.run["tags"].__setitem__(key, value)


def member(**attributes):
    """A zip entry that is no plain file."""

    def change(parts):
        name = next(iter(parts.files))
        parts.infos[name] = zipfile.ZipInfo(name)
        for key, value in attributes.items():
            setattr(parts.infos[name], key, value)

    return change


def with_file(name, data):
    def change(parts):
        parts.files[name] = data

    return change


def bomb(parts):
    """One content, again and again: no member is large, and what would be written is."""
    name, data = f"files/{digest(b'0' * 900_000)}", b"0" * 900_000
    parts.files[name] = data
    parts.run["files"] |= {f"bomb/{i}": name.removeprefix("files/") for i in range(900)}


def many_folders(parts):
    """No byte in any file."""
    parts.files[f"files/{digest(b'')}"] = b""
    parts.run["files"] |= {f"{i}/" + "a/" * 15 + "b": digest(b"") for i in range(9000)}


def twice(parts):
    parts.lines.append(parts.lines[0])


@pytest.mark.sample(20)
@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("change", "told"),
    [
        *[(path_named(name), "relative paths|control|characters") for name in (
            "../x", "/etc/passwd", "a/../../x", "a\\..\\x", "C:x", "a//b", "./a", "a/", "", "a\0b", "a\nb", "con",
            "NUL.txt", "a.", "a ", "\u202egnp.exe", "x" * 300, "a/" * 300 + "a", "a:b", "a|b", "~/" + "\x1b[2J",
        )],
        (path_named("HISTORY.csv"), "capitals"), (path_named("history.csv/x"), "a folder too"),
        (path_named("ﬁgures/curves.png"), "capitals"),
        (member(external_attr=(stat.S_IFLNK | 0o777) << 16), "plain files"),
        (member(external_attr=(stat.S_IFDIR | 0o777) << 16), "plain files"),
        (member(external_attr=(stat.S_IFCHR | 0o777) << 16), "plain files"),
        (with_file("../../evil", b"x"), "SHA-256"), (with_file("files/evil", b"x"), "SHA-256"),
        (with_file(f"files/{'0' * 64}", b"x"), "SHA-256"), (with_file(f"files/{digest(b'x')}", b"x"), "its runs list"),
        (lambda parts: parts.files.popitem(), "its runs list"),
        (lambda parts: setattr(parts, "after", lambda new: new.writestr(RUNS, b"")), "the members"),
        (lambda parts: setattr(parts, "after", lambda new: new.writestr("extra", b"")), "the members"),
        (lambda parts: setattr(parts, "after", lambda new: setattr(new, "comment", b"x")), "without a comment"),
        (lambda parts: parts.about.update(lies={RUNS: {"bytes": 1, "sha256": "0"}}), "size that is listed"),
        (lambda parts: parts.about.update(format="other"), 'version 1'), (bomb, "200 times"),
        (lambda parts: parts.about.update(version=2), "version 1"), (lambda parts: parts.about.clear(), "fields"),
        (lambda parts: parts.about.update(members={"": 1}, lies={"a": 1e999}), "finite|fields"),
        (path_named("a/" * 17 + "b"), "16 folders"), (many_folders, "200 times"),
        *[(member(compress_type=kind), "stored or deflated") for kind in (zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2)],
        (lambda parts: parts.about.update(version=True), "version 1"),
        (tagged("arithmetic", "[1]"), "arithmetic"), (tagged("looks", "1 2 x"), "looks"),
        (twice, "each run once"), (lambda parts: parts.lines.insert(0, {"points": []}), "run before its points"),
        (lambda parts: parts.lines.insert(1, {"points": []}), "1 to 1000 points"),
        (lambda parts: parts.lines.insert(1, {"points": [["a", 1, 1, 1]] * 2}), "each point once"),
        (lambda parts: parts.lines.insert(1, {"points": [["a", 1, 1, 1 << 70]]}), "step"),
        (lambda parts: parts.lines.insert(1, {"points": [["a", "1", 1, 1]]}), "finite"),
        (lambda parts: parts.lines.insert(1, {"points": [["a", True, 1, 1]]}), "finite"),
        (lambda parts: parts.lines.insert(1, {"points": [["../a", 1, 1, 1]]}), "key"),
        (lambda parts: parts.lines.insert(1, {"points": 7}), "points"),
        (lambda parts: parts.lines.insert(0, 7), "fields"),
        (lambda parts: parts.lines.insert(0, {"run": [7]}), "a run with"),
        (lambda parts: setattr(parts, "raw", b'{"run":' * 100_000), "deeply nested"),
        (lambda parts: setattr(parts, "raw", b"[" * 5_000_000), "lines of at most"),
        (lambda parts: setattr(parts, "raw", b'{"points": [["a", NaN, 1, 1]]}'), "finite"),
        (lambda parts: setattr(parts, "raw", b"\xff\xfe{"), "fields"),
        (lambda parts: setattr(parts, "raw", b"no\n"), "fields"),
        (setting("status", "RUNNING"), "that have ended"), (setting("id", "../../x"), "hexadecimal"),
        (setting("origin", "' OR 1=1 --"), "hexadecimal"), (setting("name", "a\x1b[2Jb"), "control"),
        (setting("name", "\ud800"), "UTF-8"),
        (setting("start", 10.5), "integer"), (setting("start", 1 << 60), "before"),
        (setting("tags", {}), "kind"), (setting("extra", 1), "a run with"), (setting("files", []), "files"),
        (tagged("kind", "other"), "kind"), (tagged("a" * 300, "x"), "key"), (tagged("a\nb", "x"), "key"),
        (tagged("../x", "x"), "key"), (tagged("x", "y" * 9000), "8000"), (tagged("x", 7), "8000"),
        (setting("params", {"a": None}), "6000"), (setting("datasets", [{"name": "x"}]), "datasets with"),
    ],
)  # fmt: skip
def test_what_pack_does_not_write_is_refused_before_anything_is_written(made, tmp_path, change, told):
    path = rebuilt(made, tmp_path / "crafted.zip", change)
    _refused(path, tmp_path, told)


def _refused(path, tmp_path, told=""):
    fresh = tmp_path / "fresh"
    fresh.mkdir(exist_ok=True)
    code, said = command(fresh, "unpack", str(path))
    assert (code, len(said.splitlines())) == (2, 1), said
    assert said.isprintable() or said[:-1].isprintable()
    assert re.search(told, said), said
    assert list(fresh.iterdir()) == []


@pytest.mark.parametrize("size", [0, 1, 21, 22, 100, 10_000, -1])
def test_a_file_that_is_cut_short_is_refused(made, tmp_path, size):
    (tmp_path / "cut.zip").write_bytes(made.archive.read_bytes()[:size])
    _refused(tmp_path / "cut.zip", tmp_path)


@pytest.mark.parametrize("what", ["missing", "folder", "device", "text", "pickle"])
def test_what_is_no_archive_is_refused(tmp_path, what):
    path = tmp_path / what
    if what == "folder":
        path.mkdir()
    elif what == "device":
        path = Path("/dev/null")
    elif what != "missing":
        path.write_bytes({"text": b"hello\n" * 99, "pickle": b"\x80\x04cposix\nsystem\n."}[what])
    _refused(path, tmp_path)


@pytest.mark.slow
def test_a_bit_that_flips_is_found(made, tmp_path):
    """Or it lies where nothing is read: then every run is as before."""
    data, rng = made.archive.read_bytes(), Random(0)
    with Archive(made.archive) as archive:
        wanted = archive.runs
    for _ in range(150):
        place = rng.randrange(len(data))
        flipped = bytearray(data)
        flipped[place] ^= 1 << rng.randrange(8)
        path = tmp_path / "flipped.zip"
        path.write_bytes(flipped)
        try:
            with Archive(path) as archive:
                assert archive.runs == wanted
        except ConfigError:
            pass


@pytest.mark.slow
def test_a_zip_bomb_takes_little_memory(tmp_path):
    """A thousand times its size, in a member that the manifest declares as it is."""
    path, data = tmp_path / "bomb.zip", b"0" * (1 << 28)
    about = {"format": "harness runs", "version": 1, "members": {RUNS: {"bytes": len(data), "sha256": digest(data)}}}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        new.writestr(MANIFEST, json.dumps(about))
        new.writestr(RUNS, data)
    del data
    tracemalloc.start()
    with pytest.raises(ConfigError, match="200 times"):
        Archive(path)
    assert tracemalloc.get_traced_memory()[1] < 1 << 24
    tracemalloc.stop()


def test_a_table_of_members_that_is_too_large_is_not_read(made, tmp_path, monkeypatch):
    monkeypatch.setattr("harness.runs.archive.MAX_DIRECTORY", 100)
    with pytest.raises(ConfigError, match="table of members"):
        Archive(made.archive)


def test_a_disk_without_room_is_refused(made, target, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    code, said = command(target, "unpack", str(made.archive))
    assert (code, "free bytes of the disk" in said) == (2, True)
    assert contents(target) == {}


def test_tags_that_mean_something_in_a_store_are_not_taken_from_a_file(made, target, tmp_path):
    claimed = {"mlflow.user": "root", "mlflow.source.name": "evil", "process.pid": "1", "process.host": "here",
               "journal": "mine", "moved": "/x", "mlflow.parentRunId": "f" * 32, "sweep": "f" * 32,
               f"sweep.{'f' * 32}": "yes", "origin.user": "alice", "mlflow.artifactLocation": "/etc",
               "mlflow.note.content": "![x](http://evil/a.png) ok"}  # fmt: skip
    path = rebuilt(made, tmp_path / "claims.zip", lambda parts: parts.run["tags"].update(claimed))
    assert command(target, "unpack", str(path))[0] == 0
    with Archive(path) as archive, opened(target) as store:
        run = store.get(archive.runs[0].id)
        assert run.info.artifact_uri == f"{target}/mlruns/1/{archive.runs[0].id}/artifacts"
    tags = run.data.tags
    left = {key for key, value in claimed.items() if tags.get(key) == value}
    assert left == {"origin.user"} | ({"mlflow.user"} if tags["mlflow.user"] == "root" else set())
    assert tags["mlflow.source.name"] == "harness"
    assert tags["mlflow.note.content"] == "x ok"


@pytest.mark.parametrize(
    ("note", "kept"),
    [
        ("![curve](get-artifact?path=a.png&run_uuid=1)", "![curve](get-artifact?path=a.png&run_uuid=1)"),
        ("![a](http://x/y.png)", "a"), ("![a][b]\n[b]: http://x", "a\n"), ("![a]( http://x)", "a"),
        ("<img src=x onerror=y>", "&lt;img src=x onerror=y>"), ("p < .05", "p < .05"), ("![a](//x)", "a"),
    ],
)  # fmt: skip
def test_a_note_loads_nothing_from_elsewhere(note, kept):
    assert "http" not in kept
    assert _without_foreign(note).startswith(kept)


PIECES = [
    "!", "[", "]", "(", ")", "\\", "<", ">", "a", "[b]: http://x\n", "http://x/y.png", "get-artifact?path=a", "!["
]  # fmt: skip


@given(st.lists(st.sampled_from([*PIECES, "](http://x/y.png)", "](get-artifact?path=a)", "&#33;", "\n"]), max_size=12))
@example(["![", "a", "![", "b", "](http://x/y.png)", "](http://x/y.png)"])
@example(["![", "![", "](get-artifact?path=a)", "](http://x/y.png)"])
@example(["![", "a", "\\", "](get-artifact?path=a)", "](http://x/y.png)"])
def test_no_note_whatever_its_brackets_has_a_picture_from_elsewhere(pieces):
    shown = MarkdownIt("commonmark").render(_without_foreign("".join(pieces)))
    assert all(source.startswith("get-artifact?") for source in re.findall(r"<img[^>]*?src=.([^\"' ]*)", shown)), shown


def test_a_disk_that_fills_up_is_told_in_one_line(made, target, monkeypatch):
    def full(*unused):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archive_unpacking, "_extract", full)
    code, said = command(target, "unpack", str(made.archive))
    assert (code, len(said.splitlines()), "No space left" in said) == (2, 1, True), said
    monkeypatch.undo()
    assert "runs: 3, there already: 0" in command(target, "unpack", str(made.archive))[1]


# Packing


def test_pack_says_what_it_cannot_do(made, target, tmp_path):
    for words, told in {
        (): "-o FILE", ("-o",): "-o FILE", ("zz", "-o", "a"): "32 hexadecimal", ("-o", "a", "-o", "b"): "-o FILE",
        ("-o", str(made.archive)): "does not exist yet", ("-o", "no/folder/x"): "a folder that exists",
        ("123456", "-o", "a"): "the run id", ("-o", "empty.zip"): "runs that have ended",
    }.items():  # fmt: skip
        code, said = command(target, "pack", *words)
        assert (code, len(said.splitlines()), told in said) == (2, 1, True), (words, said)
    assert command(target, "unpack")[0] == command(target, "unpack", "a", "b")[0] == 2


def test_open_runs_and_links_stay_behind(made, target, tmp_path):
    command(target, "unpack", str(made.archive))
    with opened(target) as store:
        cell = store._search("tags.kind = 'cell'")[0]
        (Path(cell.info.artifact_uri) / "secret").symlink_to("/etc/passwd")
        store.client.create_run(store.experiment_id, tags={"kind": "cell", "signature": "open"})
    code, said = command(target, "pack", "-o", str(tmp_path / "a.zip"))
    assert (code, "have not ended: 1 runs" in said) == (0, True), said
    with Archive(tmp_path / "a.zip") as archive:
        assert len(archive.runs) == 3
        assert not [name for run in archive.runs for name in run.files if name == "secret"]
    assert sorted(os.listdir(tmp_path)) == ["a.zip", "target"]


def test_a_run_that_no_archive_can_hold_is_named(made, target, tmp_path):
    command(target, "unpack", str(made.archive))
    with opened(target) as store:
        cell = store._search("tags.kind = 'cell'")[0]
        (Path(cell.info.artifact_uri) / "a|b").write_text("x")
    code, said = command(target, "pack", "-o", str(tmp_path / "a.zip"))
    assert (code, cell.info.run_id in said, len(said.splitlines())) == (2, True, 1), said
    assert os.listdir(tmp_path) == ["target"]


def test_the_same_runs_give_the_same_file(made, tmp_path):
    assert command(made.source, "pack", "-o", str(tmp_path / "again.zip"))[0] == 0
    assert file_digest(tmp_path / "again.zip") == file_digest(made.archive)


def test_tables_of_another_form_are_left_to_the_client(made, target):
    """A column that must have a value, and of which this version knows nothing."""
    import sqlite3

    with opened(target) as store:
        assert Bulk.of(store.client.tracking_uri) is not None
    with sqlite3.connect(target / "mlflow.db") as database:
        database.execute("CREATE TABLE tags2 (key TEXT, value TEXT, run_uuid TEXT, new TEXT NOT NULL)")
        database.execute("ALTER TABLE tags RENAME TO tags_old")
        database.execute("ALTER TABLE tags2 RENAME TO tags")
    with opened(target) as store:
        assert Bulk.of(store.client.tracking_uri) is None


# Any text


def refusal(check):
    """Empty if there is none."""
    try:
        check()
    except Refused as problem:
        return f"{problem.allowed}: {problem.found}"
    return ""


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=9,
)
VALID = {
    "id": "0" * 32, "origin": "1" * 32, "name": "a", "status": "FINISHED", "start": 1, "end": 2,
    "tags": {"kind": "cell"}, "params": {}, "datasets": [], "files": {},
}  # fmt: skip


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(field=st.sampled_from(sorted(RUN)), value=JSON)
def test_any_field_is_taken_or_refused_in_one_line(field, value):
    said = refusal(lambda: checked_run({**VALID, field: value}))
    assert len(said.splitlines()) <= 1
    said.encode()


@settings(max_examples=300, deadline=None)
@given(rows=st.lists(JSON, max_size=3) | JSON)
def test_any_points_are_taken_or_refused(rows):
    said = refusal(lambda: checked_points(rows))
    assert len(said.splitlines()) <= 1
    said.encode()


@settings(max_examples=500, deadline=None)
@given(path=st.text(st.sampled_from("ab./\\:~ \0\n\u202e|CON"), max_size=12))
def test_any_path_that_is_taken_lies_in_the_folder(path):
    if refusal(lambda: checked_run({**VALID, "files": {path: "a" * 64}})):
        return
    place = Path("/runs/here", path)
    assert os.path.normpath(place) == str(place)
    assert str(place).startswith("/runs/here/")


def test_mlflow_takes_what_is_checked_here():
    from mlflow.utils import validation

    assert bulk.MAX_POINTS == validation.MAX_METRICS_PER_BATCH
    assert bulk.MAX_ITEMS == validation.MAX_PARAMS_TAGS_PER_BATCH
    assert validation.MAX_TAG_VAL_LENGTH >= 8000
    assert validation.MAX_PARAM_VAL_LENGTH >= 6000


@pytest.mark.slow
def test_names_in_several_lines_are_recorded_in_one_and_can_be_packed(tmp_path):
    with opened(tmp_path) as store, store.start("a\tb\nc", {"kind": "cell", "signature": "0" * 16}) as run:
        run.dataset("d\te", "0", {}, 1, 1)
        run.deliver(10.0)
        kept = store.client.get_run(run.run_id)
    assert "\t" not in kept.info.run_name + kept.inputs.dataset_inputs[0].dataset.name
    assert "\n" not in kept.info.run_name
