"""log_model=true: an MLflow model predicts what the run's weights predict, from rows of the user's table."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest

from harness.app.command import configurations
from harness.data import load
from harness.network import MLP, Parameters
from harness.runs import recording
from harness.runs.models import NONE, median_replica
from harness.training import Cell

CELL = ["epochs=3", "seeds=3", "model.hidden=[4]", "learning_rate=0.3"]


@pytest.fixture(autouse=True)
def undrawn(monkeypatch):
    """Figures take most of the time."""
    monkeypatch.setattr(recording, "draw_cell", lambda folder, *about: None)


@pytest.fixture
def flowers(tmp_path):
    """A table with a column of each kind that a CSV file has, and two tables of it: the target is text or a number."""
    rng, n = np.random.default_rng(0), 120
    frame = pd.DataFrame(
        {
            "length": np.where(rng.random(n) < 0.1, np.nan, rng.normal(5, 1, n).round(2)),
            "petals": rng.integers(3, 9, n),
            "garden": rng.choice(["Ulm", "Köln", "Bern"], n),
            "picked": pd.Timestamp("2024-05-01") + pd.to_timedelta(rng.integers(0, 90, n), "D"),
            "wild": rng.random(n) < 0.5,
            "kind": rng.choice(["rose", "tulip"], n),
        }
    )
    frame.to_csv(tmp_path / "flowers.csv", index=False)
    return frame, tmp_path / "flowers.csv"


def model_of(project, run):
    return mlflow.pyfunc.load_model(str(project.artifact(run, "model")))


def predicted(project, run, words):
    """Of the chosen replica, by the harness: its own inputs, and the weights in the run's weights.npz."""
    replica = int(run.data.tags["model"].removeprefix("replica "))
    (config,) = configurations(words)
    dataset = load(config.dataset)
    cell = Cell(config, dataset)
    with np.load(project.artifact(run, "weights.npz")) as stored:
        layers = range(len(stored) // 2)
        own = [[stored[f"{name}{i}"][replica] for i in layers] for name in "Wb"]
    network = MLP(Parameters.from_weights(*own), config.model.activation, cell.plan.loss)
    split = cell.splits[replica if config.dataset.resample else 0]
    return dataset, split, network.predict(split.train.X)[0]


def train(project, *words):
    code, said = project.run(*words, *CELL, "log_model=true")
    assert code == 0, said
    return project.runs("cell")[-1]


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    "words", [["dataset=blobs"], ["dataset=breast_cancer", "dtype=float32"], ["dataset=iris", "dataset.resample=true"]]
)
def test_an_array_of_numbers_gets_the_probabilities_of_the_weights(project, words):
    run = train(project, *words)
    dataset, split, expected = predicted(project, run, [*words, *CELL])
    found = model_of(project, run).predict(dataset.X[split.rows])
    probabilities = found.filter(like="probability_").to_numpy()
    if expected.shape[1] == 1:
        expected = np.concatenate([1 - expected, expected], axis=1)
    assert np.array_equal(probabilities, expected)
    names = [int(name) if name.isdigit() else name for name in dataset.class_names]
    assert list(found["prediction"]) == [names[k] for k in expected.argmax(axis=1)]


@pytest.mark.slow
def test_the_rows_of_a_file_get_their_labels(project, flowers):
    frame, path = flowers
    words = ["dataset=file", f"dataset.load.path={path}"]
    run = train(project, *words)
    _, split, expected = predicted(project, run, [*words, *CELL])
    model = model_of(project, run)
    rows = frame.iloc[split.rows].reset_index(drop=True)
    found = model.predict(rows)
    assert np.array_equal(found["probability_tulip"], expected[:, 0])
    assert list(found["prediction"]) == list(np.where(expected[:, 0] > 0.5, "tulip", "rose"))
    types = {column.name: str(column.type.name) for column in model.metadata.get_input_schema()}
    assert types == {
        "length": "double", "petals": "long", "garden": "string", "picked": "datetime", "wild": "boolean",
    }  # fmt: skip
    with pytest.raises(ValueError, match="column 'garden': expected one of Bern, Köln, Ulm, got 'Rom'"):
        model.predict(rows.assign(garden="Rom"))
    assert len(model.predict(model.metadata.load_input_example(str(project.artifact(run, "model"))))) == 1


@pytest.mark.sample(1)
@pytest.mark.parametrize("target", ["length", "[petals,length]"])
def test_a_quantity_comes_in_its_own_unit(project, flowers, target):
    frame, path = flowers
    frame.dropna().to_csv(path, index=False)
    words = ["dataset=file", f"dataset.load.path={path}", f"dataset.load.target={target}", "dataset.task=regression"]
    run = train(project, *words)
    _, split, expected = predicted(project, run, [*words, *CELL])
    rows = frame.dropna().iloc[split.rows]
    found = model_of(project, run).predict(rows.drop(columns=target.strip("[]").split(",")))
    assert np.array_equal(found, expected * split.target_scaler.scale_ + split.target_scaler.mean_)
    names = ["prediction"] if target == "length" else ["prediction_0", "prediction_1"]
    assert list(found) == names


@pytest.mark.slow
def test_a_finished_cell_gets_its_model_without_being_trained_again(project, monkeypatch):
    project.run("-m", "dataset=iris", "batch_size=8,64", *CELL)
    before = project.runs("cell")
    assert not any("model" in run.data.tags for run in before)
    monkeypatch.setattr(Cell, "train", lambda self: pytest.fail("trained again"))
    code, said = project.run("-m", "dataset=iris", "batch_size=8,64", *CELL, "log_model=true")
    assert code == 0, said
    assert said.count("its model was made from the stored weights") == 2
    for run in project.runs("cell"):
        assert run.data.tags["model"].startswith("replica ")
        assert model_of(project, run).predict(np.ones((2, 4))).shape == (2, 4)
    code, said = project.run("dataset=iris", "batch_size=8", *CELL, "log_model=true")
    assert code == 0
    assert "its model" not in said
    assert [run.info.run_id for run in project.runs("cell")] == [run.info.run_id for run in before]


@pytest.mark.slow
def test_the_model_that_comes_later_is_the_one_that_comes_at_once(project):
    run = train(project, "dataset=iris", "seed=1")
    project.run("dataset=iris", "seed=1", *CELL, "rerun=all")
    project.run("dataset=iris", "seed=1", *CELL, "log_model=true")
    later = project.runs("cell")[-1]
    assert later.info.run_id != run.info.run_id
    for file in ("artifacts/recipe.json", "network_model.py", "requirements.txt", "artifacts/weights.npz"):
        one, other = (project.artifact(own, f"model/{file}").read_bytes() for own in (run, later))
        assert one == other or file.endswith("npz")


def test_of_diverged_replicas_there_is_none(project):
    run = train(project, "dataset=iris", "learning_rate=1e4", "reduction=sum", "model.activation=relu", "epochs=20")
    assert run.data.tags["model"] == NONE
    assert not any(path.startswith("model") for path in project.files(run))


def test_the_replica_is_the_median_one():
    replicas = pd.DataFrame(
        {"replica": [3, 4, 5, 6], "outcome": "completed", "final_validation_cost": [0.4, 0.1, 0.3, 0.2]}
    )
    assert median_replica(replicas) == 6
    replicas.loc[3, "outcome"] = "diverged"
    assert median_replica(replicas) == 5
    replicas["outcome"] = ["diverged", "completed", "diverged", "diverged"]
    assert median_replica(replicas) is None


def test_a_model_that_fails_costs_no_cell(project, monkeypatch):
    def fails(*about, **more):
        raise RuntimeError("no such flavour")

    monkeypatch.setattr("harness.runs.models.save_model", fails)
    code, said = project.run("dataset=iris", "seed=2", *CELL, "log_model=true")
    assert code == 0
    assert "its model was left out: RuntimeError: no such flavour (traceback.txt of its run)" in " ".join(said.split())
    assert "model" not in project.runs("cell")[-1].data.tags


@pytest.mark.slow
def test_a_model_is_text_and_arrays_and_travels(project, tmp_path):
    """No pickle is in it; an archive carries it; where the folder lies does not matter."""
    run = train(project, "dataset=iris", "seed=3")
    folder = project.artifact(run, "model")
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert not [name for name in files if name.endswith((".pkl", ".pickle", ".joblib"))]
    assert "harness" not in (folder / "requirements.txt").read_text() + (folder / "MLmodel").read_text()
    code, said = project.run("pack", run.info.run_id, "-o", str(tmp_path / "one.harness"))
    assert code == 0, said
    shutil.copytree(folder, tmp_path / "moved")
    X = np.random.default_rng(0).normal(size=(5, 4))
    moved = mlflow.pyfunc.load_model(str(tmp_path / "moved")).predict(X)
    assert moved.equals(model_of(project, run).predict(X))
    (tmp_path / "other").mkdir()
    other = type(project)(tmp_path / "other", "unpacked", project.capsys)
    code, said = other.run("unpack", str(tmp_path / "one.harness"))
    assert code == 0, said
    (unpacked,) = other.runs("cell")
    assert model_of(other, unpacked).predict(X).equals(moved)


@pytest.mark.slow
def test_what_reads_a_run_never_runs_its_model(project, tmp_path):
    run = train(project, "dataset=iris", "seed=4")
    folder = Path(run.info.artifact_uri, "model")
    (folder / "network_model.py").write_text("raise SystemExit('was run')")
    same = ["dataset=iris", "seed=4", *CELL, "log_model=true"]
    packed = str(tmp_path / "one.harness")
    for words in (["report", run.info.run_id], ["verify", run.info.run_id], ["pack", "-o", packed], same):
        code, said = project.run(*words)
        assert code == 0, said
        assert "was run" not in said
    with pytest.raises(SystemExit, match="was run"):
        mlflow.pyfunc.load_model(str(folder))


@pytest.mark.slow
def test_it_is_loaded_and_served_with_numpy_and_mlflow_alone(project, flowers, tmp_path):
    """A new environment that has no harness, and the words of docs/models.md."""
    frame, path = flowers
    run = train(project, "dataset=file", f"dataset.load.path={path}")
    folder = project.artifact(run, "model")
    expected = model_of(project, run).predict(frame.head(4))
    python = tmp_path / "env" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", str(python.parents[1])], check=True)
    needs = (folder / "requirements.txt").read_text().split()
    subprocess.run([str(python), "-m", "pip", "install", "-q", *needs], check=True)
    frame.head(4).to_json(tmp_path / "rows.json", orient="split", date_format="iso", index=False)
    rows = json.loads((tmp_path / "rows.json").read_text())
    (tmp_path / "rows.json").write_text(json.dumps({"dataframe_split": rows}))
    code = (
        "import sys, json, mlflow, pandas as pd\n"
        "frame = pd.read_csv(sys.argv[2], parse_dates=['picked']).head(4)\n"
        "print(mlflow.pyfunc.load_model(sys.argv[1]).predict(frame).to_json(orient='records', double_precision=15))\n"
        "assert not [name for name in sys.modules if name.split('.')[0] == 'harness']"
    )
    done = subprocess.run(
        [str(python), "-I", "-c", code, str(folder), str(path)], capture_output=True, text=True, check=True
    )
    loaded = pd.DataFrame(json.loads(done.stdout))
    served = _served(python, folder, tmp_path / "rows.json")
    for found in (loaded, served):
        assert list(found["prediction"]) == list(expected["prediction"])
        np.testing.assert_allclose(found["probability_tulip"], expected["probability_tulip"], rtol=1e-13)


def _served(python: Path, folder: Path, rows: Path) -> pd.DataFrame:
    """What `mlflow models serve --env-manager local` answers."""
    import socket
    import time
    import urllib.request
    from urllib.error import URLError

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["-m", "mlflow", "models", "serve", "-m", str(folder), "-p", str(port), "--env-manager", "local"]
    path = f"{python.parent}{os.pathsep}{os.environ['PATH']}"  # as in an activated environment
    own = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "PYTHON"))} | {
        "PATH": path
    }
    server = subprocess.Popen(
        [str(python), *words], env=own | {"PATH": path}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations", rows.read_bytes(), {"Content-Type": "application/json"}
    )
    try:
        for _ in range(120):
            assert server.poll() is None, "the server ended"
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    return pd.DataFrame(json.loads(answer.read())["predictions"])
            except (URLError, ConnectionError):
                time.sleep(1)
    finally:
        server.terminate()
        server.wait()
    raise AssertionError("the server did not answer")
