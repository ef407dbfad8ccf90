"""The command as a user types it: a process of its own in a fresh folder, read back through MLflow's own client."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from harness.runs import recovery
from harness.store import Store

ROOT = Path(__file__).parents[2]
SMALL = ["dataset=iris", "epochs=3", "seeds=3"]


def environment() -> dict[str, str]:
    """As a user's, with nothing that points MLflow elsewhere; RuntimeWarnings of the child are errors."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW")}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error::RuntimeWarning", "MLFLOW_DISABLE_TELEMETRY": "1"}


def harness(folder: Path, *words: str, code: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run `python -m harness WORDS` in a folder; with `code`, that Python program in its place."""
    command = [sys.executable, "-m", "harness", *words] if code is None else [sys.executable, "-c", code, *words]
    return subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=300)


class Runs:
    """What a folder's store holds, through MlflowClient, from a default place that only the folder decides."""

    def __init__(self, folder: Path) -> None:
        from mlflow.tracking import MlflowClient

        self.client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
        runs = self.client.search_runs(["1"], order_by=["attributes.start_time ASC"])
        self.parents = [run for run in runs if run.data.tags.get("kind") == "sweep"]
        self.cells = [run for run in runs if run.data.tags.get("kind") == "cell"]

    def artifact(self, run, path: str) -> Path:
        return Path(self.client.download_artifacts(run.info.run_id, path))

    def files(self, run, path: str = "") -> set[str]:
        listed = self.client.list_artifacts(run.info.run_id, path)
        return {f for item in listed for f in (self.files(run, item.path) if item.is_dir else {item.path})}

    def table(self, run, name: str) -> pd.DataFrame:
        return pd.read_csv(self.artifact(run, name), keep_default_na=False, na_values=["nan"])


@pytest.fixture(scope="session")
def sweep(tmp_path_factory):
    """A small sweep: 2 batch sizes × 2 reductions on iris."""
    folder = tmp_path_factory.mktemp("sweep")
    done = harness(folder, "-m", "batch_size=16,full", "reduction=sum,mean", "learning_rate=0.01", *SMALL)
    assert done.returncode == 0, done.stderr
    return done, folder, Runs(folder)


SWEEP = pytest.mark.xdist_group("sweep")  # one worker builds the module's fixture, once


@SWEEP
def test_a_sweep_leaves_one_parent_and_its_cells(sweep):
    _, _, runs = sweep
    (parent,) = runs.parents
    assert [cell.info.run_name for cell in runs.cells] == [
        "iris B=16 η=0.01 sum",
        "iris B=16 η=0.01 mean",
        "iris B=90 η=0.01 sum",
        "iris B=90 η=0.01 mean",
    ]
    for cell in runs.cells:
        assert cell.data.tags["mlflow.parentRunId"] == cell.data.tags["sweep"] == parent.info.run_id
        assert (cell.info.status, cell.data.tags["outcome"]) == ("FINISHED", "completed")
    assert parent.info.status == "FINISHED"


@SWEEP
def test_params_are_what_the_knobs_came_to(sweep):
    _, _, runs = sweep
    full_sum = runs.cells[2].data.params
    assert full_sum["batch_size"] == "90"  # of 150 examples, 60 % train
    assert float(full_sum["lr_mean"]) == pytest.approx(0.9)
    assert float(full_sum["lr_per_example"]) == pytest.approx(0.01)
    assert full_sum["optimizer.name"] == "sgd"
    assert not any("null" in key or value == "None" for key, value in full_sum.items())


@SWEEP
def test_metrics_are_grouped_and_agree_with_the_history(sweep):
    _, _, runs = sweep
    cell = runs.cells[0]
    groups = {name.split("/")[0] for name in cell.data.metrics}
    assert {"cost", "validation", "gradient", "progress", "final", "diverged", "time", "noise"} <= groups
    assert min(groups) == "cost"  # the UI draws charts in this order
    history = runs.table(cell, "history.csv")
    medians = history.groupby("update")["train_cost"].median()
    points = {m.step: m.value for m in runs.client.get_metric_history(cell.info.run_id, "cost/train")}
    assert points == pytest.approx(medians[list(points)].to_dict(), rel=1e-12)
    last = 18  # 3 epochs of ceil(90 / 16) updates
    assert list(medians.index) == [0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 13, 16, 18]
    assert list(points) == [0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 13, 16, last]  # all of so few
    assert cell.data.metrics["final/train_cost"] == pytest.approx(medians.iloc[-1])
    assert 0 < cell.data.metrics["time/tracking_share"] < 1


@SWEEP
def test_every_metric_is_finite(sweep):
    _, _, runs = sweep
    for cell in runs.cells:
        assert all(abs(value) < 1e300 for value in cell.data.metrics.values())


@SWEEP
def test_artifacts_say_what_was_done_and_load_without_executing_anything(sweep):
    _, _, runs = sweep
    cell = runs.cells[1]
    assert {
        "config.yaml", "environment.json", "history.csv", "batch_costs.csv", "replicas.csv", "weights.npz",
        "columns.csv", "diagnostics.csv", "figures/curves.png", "figures/batch_costs.png",
    } <= runs.files(cell)  # fmt: skip
    config = yaml.safe_load(runs.artifact(cell, "config.yaml").read_text(encoding="utf8"))
    assert (config["batch_size"], config["reduction"], config["dataset"]["name"]) == (16, "mean", "iris")
    assert json.loads(runs.artifact(cell, "environment.json").read_text())["packages"]["numpy"] == np.__version__
    with np.load(runs.artifact(cell, "weights.npz"), allow_pickle=False) as weights:
        assert {name: weights[name].shape for name in weights.files} == {
            "W0": (3, 4, 32),
            "b0": (3, 32),
            "W1": (3, 32, 3),
            "b1": (3, 3),
        }
    assert list(runs.table(cell, "replicas.csv")["outcome"]) == ["completed"] * 3


@SWEEP
def test_the_dataset_and_the_note_are_recorded(sweep):
    _, _, runs = sweep
    (record,) = runs.client.get_run(runs.cells[0].info.run_id).inputs.dataset_inputs
    assert record.dataset.name == "iris"
    assert len({cell.inputs.dataset_inputs[0].dataset.digest for cell in runs.cells}) == 1
    note = runs.cells[0].data.tags["mlflow.note.content"]
    assert "| training cost per example" in note
    assert "| gradient noise scale B_simple, pooled from single batches" in note
    assert "the same" not in note  # each row stands on its own


@SWEEP
def test_the_parent_compares_the_cells(sweep):
    _, _, runs = sweep
    (parent,) = runs.parents
    figures = {f"figures/{name}.png" for name in ("clocks", "to_target", "timing")}
    assert figures | {"cells.csv", "cells.json", "report.html"} <= runs.files(parent)
    table = runs.table(parent, "cells.csv")
    assert list(table["label"]) == [cell.info.run_name for cell in runs.cells]
    note = parent.data.tags["mlflow.note.content"]
    assert all(cell.info.run_name in note for cell in runs.cells)
    assert "python -m harness -m" in note


@SWEEP
def test_replicas_start_alike_in_every_cell(sweep):
    """Common random numbers: the cost before any update is the same number for replica r in every cell."""
    _, _, runs = sweep
    starts = [runs.table(cell, "history.csv").query("update == 0")["train_cost"].tolist() for cell in runs.cells]
    assert starts.count(starts[0]) == len(starts)
    assert len(set(starts[0])) == 3


@SWEEP
def test_the_terminal_is_quiet_and_ends_with_the_answer_and_the_address(sweep):
    done, folder, runs = sweep
    assert done.stdout == ""
    said = done.stderr.strip().splitlines()
    few, *lines = [line for line in said if not line.startswith("Seconds:")]  # which a busy machine disturbs
    assert few.startswith("With seeds=3 no difference can be shown")
    assert re.fullmatch(r"training 4 of 4 cells, (about|roughly) \S+ s", lines.pop(0))
    assert lines[0].startswith("4 of 4 cells trained in")
    note = runs.parents[0].data.tags["mlflow.note.content"]
    assert [f"**{line}**" for line in lines[1:3]] == note.split("\n\n")[:2]
    assert lines[1].startswith("iris: ")
    assert lines[2].startswith("Sum or mean: ")
    assert lines[4].split() == ["cell", "cost", "[quartiles]", "accuracy", "(0.333)", "train", "s"]
    assert [line.startswith("B=") for line in lines[5:9]] == [True] * 4
    parent = runs.parents[0].info
    report, start, browse = lines[-3:]
    assert (folder / report.removeprefix("Report: ")).samefile(Path(parent.artifact_uri) / "report.html")
    assert start == "Start:  python -m harness ui"
    assert browse == f"Browse: http://127.0.0.1:5000/#/runs/{parent.run_id}"


@SWEEP
def test_nothing_but_the_three_places_is_written(sweep):
    _, folder, _ = sweep
    assert {path.name for path in folder.iterdir()} == {"mlflow.db", "mlruns", "multirun"}


@pytest.mark.slow
@SWEEP
def test_the_same_command_gives_the_same_numbers(sweep, tmp_path):
    """Twice in fresh folders: identical apart from clocks."""
    _, _, first = sweep
    done = harness(tmp_path, "-m", "batch_size=16,full", "reduction=sum,mean", "learning_rate=0.01", *SMALL)
    assert done.returncode == 0, done.stderr
    assert_identical(first, Runs(tmp_path))


def assert_identical(first: Runs, second: Runs) -> None:
    assert len(first.cells) == len(second.cells) > 0
    for one, other in zip(first.cells, second.cells, strict=True):
        assert one.data.params == other.data.params
        assert one.data.tags["signature"] == other.data.tags["signature"]
        timeless = [
            {k: v for k, v in run.data.metrics.items() if not k.startswith("time/") and "seconds" not in k}
            for run in (one, other)
        ]
        assert timeless[0] == timeless[1]
        tables = [
            runs.table(run, "history.csv").drop(columns="train_seconds")
            for runs, run in ((first, one), (second, other))
        ]
        pd.testing.assert_frame_equal(*tables, check_exact=True)


@pytest.mark.slow
def test_the_headline_command_twice_gives_the_same_numbers(tmp_path):
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
        assert harness(folder, "-m", "batch_size=1,64,512").returncode == 0
    assert_identical(*(Runs(folder) for folder in folders))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)]
)
def test_an_interrupt_closes_every_run(tmp_path, sent, code):
    """The first cell is finished, the second is long: its run and the parent end as KILLED, with a report."""
    command = [sys.executable, "-m", "harness", "-m", "epochs=1,2000000", "dataset=iris", "seeds=2"]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        time.sleep(0.5)
        if (tmp_path / "mlflow.db").exists() and list(tmp_path.glob("multirun/*")) and len(Runs(tmp_path).cells) == 2:
            break
    time.sleep(0.5)
    process.send_signal(sent)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in stderr
    runs = Runs(tmp_path)
    assert [cell.info.status for cell in runs.cells] == ["FINISHED", "KILLED"]
    (parent,) = runs.parents
    assert parent.info.status == "KILLED"
    assert "figures/clocks.png" in runs.files(parent)


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_paired_values_are_trained_and_recorded(project, launcher):
    words = ["-m", "batch_size=8,16", "learning_rate=${batch_size}", f"hydra/launcher={launcher}", *SMALL]
    code, said = project.run(*words)
    assert code == 0, said
    cells = {cell.data.params["batch_size"]: cell for cell in project.runs("cell")}
    assert {size: cell.data.params["learning_rate"] for size, cell in cells.items()} == {"8": "8.0", "16": "16.0"}
    about = json.loads(project.artifact(cells["8"], "environment.json").read_text(encoding="utf8"))
    assert about["overrides"][:2] == ["batch_size=8", "learning_rate=${batch_size}"]
    (parent,) = project.runs("sweep")
    assert (
        "Seconds were measured in 5 or more short blocks" in parent.data.tags["mlflow.note.content"]
    )  # by one process


@pytest.mark.parametrize("lacking", ["what waits in the journal", "the finished run"])
def test_a_single_cell_that_the_store_lacks_is_a_failure(project, monkeypatch, lacking):
    if lacking == "the finished run":
        monkeypatch.setattr(Store, "finished_cell", lambda self, signature: None)
    else:
        monkeypatch.setattr(recovery, "drain", lambda *unused: None)
    code, said = project.run(*SMALL)
    assert code == 1, said


@pytest.mark.slow
def test_nothing_is_collected_while_the_command_imports_its_libraries(tmp_path):
    """Their objects stay: a fortieth of the time of the headline sweep was spent on looking through them."""
    code = """
import gc
from harness.app import main
begun, freeze = [], gc.freeze
gc.callbacks.append(lambda phase, _: begun.append(phase))
gc.freeze = lambda: (print(len(begun), gc.get_count()[0] > 100_000), freeze())
main()
print(gc.get_freeze_count() > 100_000, gc.get_threshold()[0])
"""
    ended = harness(tmp_path, "dataset=iris", "epochs=1", "seeds=1", code=code)
    assert ended.stdout.splitlines()[:2] == ["0 True", "True 50000"]


def test_a_refused_sweep_writes_nothing(tmp_path):
    """The last of four cells is bad: none is trained, no store is made."""
    done = harness(tmp_path, "-m", "batch_size=16,0", "reduction=sum,mean")
    assert done.returncode == 2
    assert done.stderr == "harness: batch_size: expected an integer >= 1 or full, got 0\n"
    assert list(tmp_path.iterdir()) == []


def test_help_shows_every_key(tmp_path):
    done = harness(tmp_path, "--help")
    assert done.returncode == 0
    for key in ("batch_size", "learning_rate", "reduction", "seeds", "order", "dtype", "target"):
        assert re.search(rf"^{key}: ", done.stdout, re.MULTILINE), key
    assert list(tmp_path.iterdir()) == []
