"""The timing pass of a sweep: its table is kept and read again; whatever becomes of it, nothing else is lost."""

import os
import signal
from pathlib import Path

import pandas as pd
import pytest

from harness.analysis.timing import BLOCKS, ONE_READING
from harness.runs import timing
from harness.runs.loading import load_sweep
from harness.store.client import Client
from harness.store.tracking import Store

SMALL = ["dataset=iris", "epochs=2", "seeds=3"]


@pytest.fixture(autouse=True)
def without_pictures(monkeypatch):
    monkeypatch.setattr("harness.runs.parent.figures", lambda data, found: {})
    monkeypatch.setattr("harness.runs.recording.draw_cell", lambda *arguments: None)


def loaded(project, *sweeps):
    experiment = project.client.get_experiment_by_name(project.experiment).experiment_id
    store = Store(Client(project.client.tracking_uri), experiment, project.path)
    return load_sweep(store, *(run.info.run_id for run in sweeps))


def failing(*arguments):
    raise RuntimeError("no clock\nat all")


def interrupted(*arguments):
    os.kill(os.getpid(), signal.SIGINT)
    pytest.fail("the signal did not interrupt")


def test_the_table_of_a_sweep_is_read_again_and_makes_its_seconds(project, monkeypatch):
    code, said = project.run("-m", "batch_size=16,32", *SMALL)
    assert code == 0, said
    (parent,) = project.runs("sweep")
    table = pd.read_csv(project.artifact(parent, "timing.csv"), dtype={"signature": str})
    assert set(table["signature"]) == {run.data.tags["signature"] for run in project.runs("cell")}
    data = loaded(project, parent)
    assert (data.timing, data.n_blocks) == (BLOCKS, 5)
    last = data.histories.groupby(["cell", "replica"])[["update", "train_seconds"]].last().reset_index()
    for own in last.itertuples():
        measured = table.query("signature == @own.cell and block == @own.replica")["update_seconds"].iloc[0]
        assert own.train_seconds == pytest.approx(own.update * measured)
    monkeypatch.setattr(timing, "time_updates", failing)
    code, said = project.run("report", parent.info.run_id)
    assert "not measured" not in said


@pytest.mark.slow
@pytest.mark.parametrize(("trouble", "code", "status"), [(failing, 0, "FINISHED"), (interrupted, 130, "FINISHED")])
def test_a_pass_that_fails_or_is_interrupted_costs_the_seconds_only(project, monkeypatch, trouble, code, status):
    with monkeypatch.context() as patch:
        patch.setattr(timing, "time_updates", trouble)
        try:
            ended, said = project.run("-m", "batch_size=16,32", *SMALL)
            assert "Seconds were not measured (no clock): nothing is concluded from them." in said
        except SystemExit as interrupt:
            ended = interrupt.code
    assert ended == code
    (parent,) = project.runs("sweep")
    assert (parent.info.status, loaded(project, parent).timing) == (status, ONE_READING)
    assert {run.info.status for run in project.runs("cell")} == {"FINISHED"}
    assert "Seconds: one reading of each cell's clock" in parent.data.tags["mlflow.note.content"]
    assert "report.html" in project.files(parent)
    code, said = project.run("report", parent.info.run_id)
    assert (code, loaded(project, parent).timing) == (0, BLOCKS), said


@pytest.mark.slow
def test_a_command_that_trains_nothing_keeps_the_seconds_of_the_sweep_that_did(project, monkeypatch):
    assert project.run("-m", "batch_size=16,32", *SMALL)[0] == 0
    (first,) = project.runs("sweep")
    with monkeypatch.context() as patch:
        patch.setattr(timing, "time_updates", failing)
        code, said = project.run("-m", "batch_size=32", *SMALL)
    assert code == 0, said
    assert f"Seconds are those that sweep {first.info.run_id[:8]} measured of the same cells." in said
    second = max(project.runs("sweep"), key=lambda run: run.info.start_time)
    own, other = (pd.read_csv(project.artifact(run, "timing.csv"), dtype={"signature": str}) for run in (second, first))
    assert set(own["signature"]) < set(other["signature"])
    assert own["update_seconds"].tolist() == other[other["signature"].isin(own["signature"])]["update_seconds"].tolist()
    assert loaded(project, second).timing == BLOCKS


@pytest.mark.slow
def test_a_command_that_trains_one_cell_times_all(project):
    for sizes in ("16,32", "16,32,64"):
        code, said = project.run("-m", f"batch_size={sizes}", *SMALL)
        assert code == 0, said
        assert "Seconds are those" not in said
    assert loaded(project, max(project.runs("sweep"), key=lambda run: run.info.start_time)).timing == BLOCKS


@pytest.mark.slow
def test_the_cells_of_several_sweeps_are_timed_together(project):
    """Readings of two passes do not compare: the machine may have changed in between."""
    for size in (16, 32):
        project.run("-m", f"batch_size={size}", *SMALL)
    sweeps = project.runs("sweep")
    assert loaded(project, *sweeps).timing == ONE_READING
    code, said = project.run("report", *(run.info.run_id for run in sweeps))
    assert code == 0, said
    assert loaded(project, *sweeps).timing == loaded(project, *sweeps[::-1]).timing == BLOCKS


@pytest.mark.slow
def test_cells_of_other_code_are_not_timed(project, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(timing, "time_updates", failing)
        project.run("-m", "batch_size=16,32", *SMALL)
    project.client.set_tag(project.runs("cell")[0].info.run_id, "code", "another")
    (parent,) = project.runs("sweep")
    code, said = project.run("report", parent.info.run_id)
    assert code == 0
    assert "Seconds were not measured (run " in said
    assert "another code" in said
    assert loaded(project, parent).timing == ONE_READING


@pytest.mark.slow
def test_a_table_that_cannot_be_read_is_no_table(project):
    project.run("-m", "batch_size=16,32", *SMALL)
    (parent,) = project.runs("sweep")
    for text in ("", "signature,update_seconds\na,fast\n", "\x00"):
        Path(parent.info.artifact_uri, "timing.csv").write_text(text)
        assert loaded(project, parent).timing == ONE_READING


def test_parts_of_cells_are_answered_alone_and_with_those_before_them(project):
    """No replica of theirs has the number 0."""
    words = ("-m", "batch_size=16,32", "dataset=iris", "epochs=2")
    codes = [project.run(*words, *part)[0] for part in (["seeds=2"], ["seeds=5", "first_replica=2"])]
    assert codes == [0, 0]
    first, second = project.runs("sweep")
    assert project.table(second, "cells.csv")["n_replicas"].tolist() == [3, 3]
    assert (project.table(second, "cells.csv")["time/update_us"] > 0).all()
    assert project.run("report", first.info.run_id, second.info.run_id)[0] == 0
    assert project.table(first, "cells.csv")["n_replicas"].tolist() == [5, 5]
