"""Running a command again: what is found in the store, what is trained, and what the parent shows of both.

The command runs in this process, which spares each test the imports; its store is a real one in a folder of its own.
"""

import sys
from pathlib import Path

import pandas as pd
import pytest
from mlflow.tracking import MlflowClient

from harness import cli

SMALL = ["dataset=iris", "epochs=2", "seeds=2"]

pytestmark = pytest.mark.xdist_group("resume")  # one worker makes the store, once


class Folder:
    """A project folder: run commands in it, look at what they left."""

    def __init__(self, path: Path, experiment: str, patch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
        self.path, self.experiment, self.monkeypatch, self.capsys = path, experiment, patch, capsys
        self.client = MlflowClient(f"sqlite:///{path / 'mlflow.db'}")

    def run(self, *words: str) -> tuple[int, str]:
        """(exit code, what it said) of `python -m harness WORDS`."""
        self.monkeypatch.setattr(sys, "argv", ["harness", *words])
        code = cli.main()
        said = self.capsys.readouterr()
        return code, said.out + said.err

    def runs(self, kind: str) -> list:
        own = self.client.get_experiment_by_name(self.experiment).experiment_id
        return self.client.search_runs([own], f"tags.kind = '{kind}'", order_by=["attributes.start_time ASC"])

    def table(self, parent) -> pd.DataFrame:
        """cells.csv of a sweep."""
        return pd.read_csv(self.client.download_artifacts(parent.info.run_id, "cells.csv"))


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("project")


@pytest.fixture
def folder(path, request, monkeypatch, capsys):
    """One store for all tests, as making one takes seconds; an experiment of its own for each."""
    monkeypatch.chdir(path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{path / 'mlflow.db'}")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", request.node.name)
    return Folder(path, request.node.name, monkeypatch, capsys)


def test_finished_cells_are_found_and_the_grid_is_whole(folder):
    """A second sweep that overlaps the first trains its own cells only; its parent compares all of them."""
    assert folder.run("-m", "batch_size=16,32", *SMALL)[0] == 0
    before = [run.info.run_id for run in folder.runs("cell")]
    code, said = folder.run("-m", "batch_size=32,64", "optimizer=sgd,momentum", *SMALL)
    assert code == 0
    assert said.startswith("4 of 4 cells trained (1 found finished in the store)")
    trained = [run for run in folder.runs("cell") if run.info.run_id not in before]
    assert len(trained) == 3
    _, parent = folder.runs("sweep")
    table = folder.table(parent)
    assert list(table["cell"]) == [
        "iris B=32 η=0.1 mean optimizer=sgd",
        "iris B=32 η=0.1 mean optimizer=momentum",
        "iris B=64 η=0.1 mean optimizer=sgd",
        "iris B=64 η=0.1 mean optimizer=momentum",
    ]
    assert table["run_id"][0] == before[1]
    assert parent.data.tags["cells_found_finished"] == "1"


def test_a_sweep_that_is_done_trains_nothing_and_answers_again(folder):
    folder.run("-m", "batch_size=16,32", *SMALL)
    code, said = folder.run("-m", "batch_size=16,32", *SMALL)
    assert code == 0
    assert said.startswith("2 of 2 cells trained (2 found finished in the store)")
    first, again = folder.runs("sweep")
    assert len(folder.runs("cell")) == 2
    assert folder.table(first).equals(folder.table(again))


def test_rerun_all_trains_everything_again(folder):
    folder.run("-m", "batch_size=16,32", *SMALL)
    code, said = folder.run("-m", "batch_size=16,32", "rerun=all", *SMALL)
    assert code == 0
    assert said.startswith("2 of 2 cells trained in")
    signatures = [run.data.tags["signature"] for run in folder.runs("cell")]
    assert signatures[:2] == signatures[2:]
    _, again = folder.runs("sweep")
    assert set(folder.table(again)["run_id"]) == {run.info.run_id for run in folder.runs("cell")[2:]}


def test_what_changes_the_numbers_makes_another_cell(folder):
    for words in ([], ["seed=1"], ["diagnostics=full"]):
        code, said = folder.run("-m", "batch_size=16", *SMALL, *words)
        assert code == 0
        assert "found finished" not in said


def test_identical_cells_of_one_grid_run_once(folder):
    code, said = folder.run("-m", "batch_size=16,16", "learning_rate=0.1,0.10", *SMALL)
    assert code == 0
    assert said.startswith("1 of 1 cells trained in")
    assert len(folder.runs("cell")) == 1


def test_failed_and_killed_cells_are_trained_again(folder):
    folder.run("-m", "batch_size=16,32,64", *SMALL)
    failed, killed, _ = folder.runs("cell")
    folder.client.set_terminated(failed.info.run_id, "FAILED")
    folder.client.set_terminated(killed.info.run_id, "KILLED")
    code, said = folder.run("-m", "batch_size=16,32,64", *SMALL)
    assert code == 0
    assert "(1 found finished in the store)" in said
    assert [run.info.status for run in folder.runs("cell")] == ["FAILED", "KILLED"] + ["FINISHED"] * 3


def test_a_run_that_lost_its_tables_or_was_deleted_is_not_found(folder):
    folder.run("-m", "batch_size=16,32", *SMALL)
    lost, deleted = folder.runs("cell")
    Path(lost.info.artifact_uri, "history.csv").unlink()
    folder.client.delete_run(deleted.info.run_id)
    code, said = folder.run("-m", "batch_size=16,32", *SMALL)
    assert code == 0
    assert said.startswith("2 of 2 cells trained in")


def test_one_cell_alone_is_found_too(folder):
    folder.run("-m", "batch_size=16,32", *SMALL)
    code, said = folder.run("batch_size=16", *SMALL)
    assert code == 0
    assert said.startswith("Trained already (rerun=all trains it again): http://")
    assert folder.runs("cell")[0].info.run_id in said
    assert len(folder.runs("cell")) == 2


def test_a_dry_run_says_what_is_done_and_trains_nothing(folder):
    folder.run("-m", "batch_size=16", *SMALL)
    code, said = folder.run("-m", "batch_size=16,32", "dry_run=true", *SMALL)
    assert code == 0
    done, todo, total = said.strip().splitlines()
    assert done.startswith("iris B=16 η=0.1 mean  done, run ")
    assert todo.startswith("iris B=32 η=0.1 mean  about ")
    assert total.startswith("2 cells, 1 done, about ")
    assert len(folder.runs("cell")) == 1
    assert len(folder.runs("sweep")) == 1


def test_verify_repeats_a_cell_and_a_sweep(folder):
    folder.run("-m", "batch_size=16,32", *SMALL)
    (parent,) = folder.runs("sweep")
    code, said = folder.run("verify", folder.runs("cell")[0].info.run_id)
    assert code == 0
    assert said.startswith("identical bit for bit: iris B=16 η=0.1 mean, ")
    code, said = folder.run("verify", parent.info.run_id)
    assert code == 0
    assert said.strip().endswith("2 of 2 finished cells are identical bit for bit")


def test_verify_notices_a_parameter_that_differs(folder):
    folder.run("batch_size=16", *SMALL)
    (cell,) = folder.runs("cell")
    path = Path(cell.info.artifact_uri, "fingerprints.csv")
    table = pd.read_csv(path, dtype={"digest": str})
    row = table.index[table["update"] == 4][1]
    table.loc[row, "digest"] = "0123456789abcdef"
    table.to_csv(path, index=False)
    code, said = folder.run("verify", cell.info.run_id)
    assert code == 1
    assert said.startswith("not identical: iris B=16 η=0.1 mean, first at update 4, replica 1")


def test_a_moved_clock_is_never_compared(folder):
    """Cells that were timed in different ways share a sweep, but nothing is said of their seconds."""
    folder.run("-m", "batch_size=16", *SMALL)
    folder.client.set_tag(folder.runs("cell")[0].info.run_id, "timing", "shared")
    folder.run("-m", "batch_size=16,32", *SMALL)
    _, parent = folder.runs("sweep")
    note = parent.data.tags["mlflow.note.content"]
    assert "seconds do not compare" in note
    assert "train seconds |" not in note.split("### Updates to target")[0]
    figures = {item.path for item in folder.client.list_artifacts(parent.info.run_id, "figures")}
    assert "figures/clocks.png" in figures or "figures/comparison.png" in figures
    assert "figures/timing.png" not in figures


def test_the_overrides_and_the_process_are_recorded(folder):
    import json
    import os

    folder.run("-m", "batch_size=16", *SMALL)
    (cell,) = folder.runs("cell")
    about = json.loads(Path(folder.client.download_artifacts(cell.info.run_id, "environment.json")).read_text())
    assert about["overrides"] == ["batch_size=16", *SMALL]
    assert about["launcher"] == "BasicLauncher"
    assert cell.data.tags["process.pid"] == str(os.getpid())
    assert cell.data.tags["timing"] == "exclusive"
