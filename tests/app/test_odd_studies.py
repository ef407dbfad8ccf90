"""What lies in the user's experiments/ and is no study, and verdicts that a stranger wrote."""

import os

import pytest

from harness.app import main
from harness.runs import studies


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "experiments").mkdir()
    return tmp_path / "experiments"


@pytest.mark.sample(2)
@pytest.mark.parametrize(
    "content",
    [b"study: [1]", b"study: 5", b"study: [1", b"\xff\xfe\0", b"[" * 5000, b"!!python/object:os.x {}", b"? [1]\n: 2"],
)
def test_a_file_that_is_no_study_is_named_in_one_line(content, folder, monkeypatch, capsys):
    (folder / "x.yaml").write_bytes(content)
    (folder / "x.py").write_text("")
    monkeypatch.setattr("sys.argv", ["harness", "studies"])
    code, said = main(), capsys.readouterr().err
    if code:  # without `study` it is a file of values
        assert (code, said.count("\n")) == (2, 1)
        assert said.startswith("harness: experiments/x.yaml")
    assert code or content == b"? [1]\n: 2"


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_file_is_no_study(make, folder):
    make(folder / "x.yaml")
    make(folder / "noise.py")
    assert "x" not in studies.names()


def test_a_verdict_moves_no_cursor(folder, monkeypatch, capsys):
    monkeypatch.setattr(studies, "listing", lambda *arguments: "noise: ?\n  N1 \x1b[2J\x07supported")
    monkeypatch.setattr("sys.argv", ["harness", "studies"])
    assert main() == 0
    said = capsys.readouterr().out
    assert "supported" in said
    assert said.replace("\n", "").isprintable()
