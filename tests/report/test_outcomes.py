"""How cells and sweeps end, and what they say of it: divergence, failure, clipping, studies, answers written again."""

import os
import re
import subprocess
import sys

import pytest

from harness.report import curves
from harness.runs import recording

SMALL = ["dataset=iris", "epochs=2", "seeds=2"]


def test_divergence_is_a_result(project):
    """Digits, sum of 512 gradients at rate 1: every replica diverges, in silence, and is drawn and counted."""
    code, said = project.run("reduction=sum", "learning_rate=1", "batch_size=512", "seeds=3")
    assert code == 0
    assert "Warning" not in said
    assert "Traceback" not in said
    (cell,) = project.runs("cell")
    metrics = cell.data.metrics
    assert (cell.info.status, cell.data.tags["outcome"]) == ("FINISHED", "diverged")
    assert metrics["diverged/fraction"] == 1
    assert 1 <= metrics["diverged/first_update"] <= 90
    assert 0 < metrics["diverged/last_finite_cost"] < 1e300
    assert "final/train_cost" not in metrics


@pytest.mark.slow
def test_a_study_needs_no_multirun_flag(project):
    code, said = project.run("experiment=three_methods", *SMALL)
    assert code == 0, said
    cells = project.runs("cell")
    assert {cell.data.params["batch_size"] for cell in cells} == {"1", "64", "90"}
    assert {cell.data.tags["study"] for cell in cells} == {"three_methods"}


def test_a_batch_larger_than_the_data_is_clipped_with_a_warning(project):
    code, said = project.run("batch_size=5000", *SMALL)
    assert code == 0
    assert "warning: batch_size=5000 is larger than N=90: clipped to N" in said
    (cell,) = project.runs("cell")
    assert cell.data.params["batch_size"] == "90"
    assert cell.data.tags["batch_size_requested"] == "5000"


@pytest.mark.slow
@pytest.mark.drawn
def test_a_figure_that_fails_costs_neither_the_cell_nor_the_sweep(project, monkeypatch):
    def broken(*unused):
        raise RuntimeError("no ink")

    monkeypatch.setattr(curves, "cell_curves", broken)
    code, said = project.run("-m", "batch_size=16", *SMALL)
    assert code == 0, said
    (line,) = [line for line in said.splitlines() if "left out" in line]
    assert "B=16 η=0.1 mean: its figures were left out: RuntimeError: no ink" in line
    assert "Traceback" not in said
    (cell,), (parent,) = project.runs("cell"), project.runs("sweep")
    assert (cell.info.status, parent.info.status) == ("FINISHED", "FINISHED")
    assert "RuntimeError: no ink" in project.artifact(cell, "traceback.txt").read_text()
    assert "draws its figures" in cell.data.tags["mlflow.note.content"]


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{"MPLBACKEND": "nonsense"}, {"MPLBACKEND": "module://no.such"}])
def test_figures_are_drawn_whatever_backend_the_environment_names(tmp_path, settings):
    code = "from harness.report.style import palette, styled\nwith styled():\n    print(len(palette(9)))"
    words = [sys.executable, "-c", code]
    ended = subprocess.run(words, env=os.environ | settings, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "9\n", "")


@pytest.mark.slow
def test_settings_of_matplotlib_that_are_no_text_are_refused_in_one_line(tmp_path):
    (tmp_path / "matplotlibrc").write_bytes(b"\xff\xfe")
    code = "from harness.report.style import styled\nwith styled():\n    pass"
    words = [sys.executable, "-c", code]
    ended = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.stderr.splitlines()[-1].endswith(
        "matplotlibrc: expected settings as text in UTF-8 (or move the file elsewhere), got 'matplotlibrc'"
    )


@pytest.mark.slow
@pytest.mark.drawn
@pytest.mark.parametrize(
    "stop", [RuntimeError("no ink"), pytest.param(SystemExit(0), marks=pytest.mark.slow)], ids=["exception", "sys.exit"]
)
def test_a_cell_that_fails_does_not_stop_the_others_and_keeps_its_numbers(project, monkeypatch, stop):
    cell_note = recording.cell_note

    def broken(name, *of_the_cell):
        if "B=32" in name:
            raise stop
        return cell_note(name, *of_the_cell)

    monkeypatch.setattr(recording, "cell_note", broken)
    code, said = project.run("-m", "batch_size=16,32,64", *SMALL)
    assert code == 1
    told = f"{type(stop).__name__}: {stop}"
    assert said.count(told) == 3  # its traceback once, the summary, and its row
    assert "2 of 3 cells trained" in said
    assert "The same command again trains what is missing." in said
    cells = project.runs("cell")
    assert [cell.info.status for cell in cells] == ["FINISHED", "FAILED", "FINISHED"]
    assert cells[1].data.tags["outcome"] == "failed"
    assert told in project.artifact(cells[1], "traceback.txt").read_text()
    assert {"history.csv", "weights.npz", "config.yaml"} <= project.files(cells[1])
    assert "final/train_cost" in cells[1].data.metrics
    (parent,) = project.runs("sweep")
    assert parent.info.status == "FAILED"
    assert "figures/clocks.png" in project.files(parent)


@pytest.mark.drawn
@pytest.mark.slow
def test_the_answer_can_be_written_again_from_the_store(project):
    project.run("-m", "batch_size=16,full", "reduction=sum,mean", "learning_rate=0.01", *SMALL)
    (parent,) = project.runs("sweep")
    before = parent.data.tags["mlflow.note.content"]
    project.client.set_tag(parent.info.run_id, "mlflow.note.content", "lost")
    code, said = project.run("report", parent.info.run_id)
    assert code == 0, said
    (parent,) = project.runs("sweep")
    assert parent.data.tags["mlflow.note.content"] == before
    assert parent.info.status == "FINISHED"
    page = project.artifact(parent, "report.html").read_text(encoding="utf8")
    assert page.count("<img alt=") == 3  # clocks, updates to target, timing
    assert "Sum or mean" in page


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["report"], "report: expected the run id of a cell, of a sweep, or of several sweeps to be taken together"),
        (["report", "0" * 32], "report: expected the run id of a cell or a sweep in sqlite:///"),
        (["report", "nope"], "report: expected a run id: 32 hexadecimal digits, or at least the first 6 of them, got"),
        (["dataset=null"], "dataset: expected one name (with -m several, without brackets), got 'null'"),
        (["-m", "dataset=iris,null", "epochs=1"], "command line: expected a name for each group"),
        (["--hep"], "--hep: expected key=value without dashes, or a flag (did you mean --help? "),
        (["--cfg", "nojob"], "command line: expected flags that --hydra-help lists, got "),
        (["verify"], "verify: expected the run id of one cell or sweep, got None"),
        (["verify", "0" * 32], "verify: expected the run id of a cell or a sweep in sqlite:///"),
        (["deliver", "all"], "deliver: expected no further words, got 'all'"),
        (["replay"], "command line: expected key=value, a flag, or a verb (deliver, "),
    ],
)
def test_words_are_refused_in_one_line(project, words, message):
    code, said = project.run(*words)
    assert code == 2
    assert message in said
    assert len(said.splitlines()) == 1


def test_the_password_of_a_store_is_never_told(project, monkeypatch):
    """A server that is not there, with a password in its address."""
    monkeypatch.setattr(project, "uri", "http://reader:pa55word@127.0.0.1:9")
    code, said = project.run("batch_size=16", *SMALL)
    assert code == 2
    assert "pa55word" not in said
    assert re.match(r"harness: MLFLOW_TRACKING_URI: expected a store that answers \(.*\), got 'http://\*\*\*@127", said)
    assert len(said.splitlines()) == 1
