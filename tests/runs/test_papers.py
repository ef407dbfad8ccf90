"""The folder of a paper: only what this command wrote is replaced, and a refusal comes before anything is done."""

import json
import os

import pytest

from harness.config import ConfigError
from harness.runs.papers import MADE, _replace, check_folder

FILES = {"main.tex": b"main", "numbers.tex": b"one", "figure-a-1.pdf": b"%PDF"}


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "paper"
    made.mkdir()
    _replace(made, FILES)
    return made


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_an_unchanged_folder_is_written_again_and_old_files_go(folder):
    (folder / "own.tex").write_text("mine")
    check_folder(folder)
    _replace(folder, {"main.tex": b"new", "table-x.tex": b"x"})
    assert (folder / "main.tex").read_bytes() == b"new"
    assert names(folder) == {"main.tex", "table-x.tex", "own.tex", MADE}
    check_folder(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_was_edited_is_kept_and_the_refusal_names_it(folder, name):
    (folder / name).write_text("edited")
    with pytest.raises(ConfigError, match=f"report --paper: expected a folder in which {name} is as this command"):
        check_folder(folder)
    (folder / name).rename(folder / "own.tex")
    check_folder(folder)


@pytest.mark.parametrize("name", ["main.tex", "table-mine.tex", "figure-1.pdf"])
def test_a_file_of_the_same_name_in_a_folder_of_others_is_kept(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(ConfigError, match="move the file away"):
        check_folder(tmp_path)


def test_other_files_do_not_matter(tmp_path):
    for name in ("paper.tex", "references.bib", "figure.png"):
        (tmp_path / name).write_text("mine")
    check_folder(tmp_path)


def test_a_link_in_place_of_a_file_is_refused(folder, tmp_path):
    (tmp_path / "elsewhere").write_bytes(FILES["main.tex"])
    (folder / "main.tex").unlink()
    (folder / "main.tex").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match=r"main\.tex"):
        check_folder(folder)


def test_a_list_that_names_files_elsewhere_removes_none(folder, tmp_path):
    outside = tmp_path / "main.tex"
    outside.write_bytes(b"main")
    listed = json.loads((folder / MADE).read_text())
    (folder / MADE).write_text(
        json.dumps(listed | {"../main.tex": listed["main.tex"], str(outside): listed["main.tex"]})
    )
    _replace(folder, {"numbers.tex": b"one"})
    assert outside.exists()
    assert names(folder) == {"numbers.tex", MADE}


@pytest.mark.parametrize("text", ["", "[]", "{", '{"main.tex": 3}', '{"main.tex": null}', "\x00"])
def test_a_list_that_cannot_be_read_makes_no_file_ours(folder, text):
    (folder / MADE).write_text(text)
    with pytest.raises(ConfigError, match=r"expected a folder in which \S+ is as this command wrote it"):
        check_folder(folder)


def test_an_interrupted_call_can_be_repeated(folder, monkeypatch):
    """As after a signal between two files: some are new, some old, and all are ours."""
    files = {"main.tex": b"new main", "numbers.tex": b"two", "table-x.tex": b"x"}
    written = []

    def stops(path, content):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(path)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    monkeypatch.setattr("harness.runs.papers._put", stops)
    with pytest.raises(KeyboardInterrupt):
        _replace(folder, files)
    monkeypatch.undo()
    check_folder(folder)
    _replace(folder, files)
    assert names(folder) == {*files, MADE}


def test_a_file_in_place_of_the_folder_and_a_folder_of_nowhere_are_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "no" / "paper", tmp_path / ("x" * 300)):
        with pytest.raises(ConfigError, match="report --paper: expected a folder"):
            check_folder(path)
    check_folder(tmp_path / "new")
    assert not os.path.lexists(tmp_path / "new")
