"""Tables as people have them, from the command line to the note: numbers, text, gaps, truth values and dates."""

import json
import re

import numpy as np
import pandas as pd
import pytest

import harness
from harness.runs import parent as sweep
from harness.runs import recording

TINY = ["epochs=2", "seeds=2", "model.hidden=[4]", "dataset=file"]


@pytest.fixture(autouse=True)
def undrawn(monkeypatch):
    """Figures take most of the time."""
    monkeypatch.setattr(recording, "draw_cell", lambda folder, *about: None)
    monkeypatch.setattr(sweep, "figures", lambda *about: {})


def passengers(n: int = 300) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    age = pd.Series(rng.normal(30, 12, n).round(1)).mask(rng.random(n) < 0.2)
    port = pd.Series(rng.choice(["S", "C", "Q"], n)).mask(rng.random(n) < 0.02)
    return pd.DataFrame(
        {
            "name": [f"passenger {i}" for i in range(n)],
            "sex": rng.choice(["male", "female"], n),
            "age": age,
            "port": port,
            "crew": rng.random(n) < 0.2,
            "booked": pd.date_range("1912-01-01", periods=n, freq="6h"),
            "deck*": "A",
            "fare": rng.exponential(30, n),
            "class": rng.choice(["first", "second", "third"], n, p=[0.15, 0.15, 0.7]),
        }
    )


def note_of(run):
    return run.data.tags["mlflow.note.content"]


@pytest.mark.slow
def test_a_table_of_all_kinds_trains_and_everything_done_is_said_and_recorded(project, tmp_path):
    passengers().to_parquet(tmp_path / "passengers.parquet")
    code, said = project.run("-m", "batch_size=16,64", f"dataset.load.path={tmp_path / 'passengers.parquet'}", *TINY)
    assert code == 0, said
    told = [line for line in said.splitlines() if line.startswith("data: ")]
    kinds = [line.split(": ")[1] for line in told]
    assert kinds.index("3 classes in 'class'") < kinds.index("left out, because all rows hold the same value")
    assert any(line.startswith("data: warning: the texts of 'name' all differ") for line in told)
    assert sum("'age' (" in line for line in told) == 1
    runs = [*project.runs("cell"), *project.runs("sweep")]
    for run in runs:
        assert "3 classes in 'class'" in note_of(run)
        assert "'deck\\*'" in note_of(run)
    table = project.table(runs[0], "columns.csv").set_index("column")
    assert table["kind"].to_dict() == {
        "name": "category",
        "sex": "category",
        "age": "number",
        "port": "category",
        "crew": "yes/no",
        "booked": "date",
        "deck*": "constant",
        "fare": "number",
    }
    assert json.loads(table.loc["sex", "levels"]) == ["female", "male"]
    assert table.loc["age", "missing"] == passengers()["age"].isna().sum()
    assert int(runs[0].data.params["n_parameters"]) == (20 + 1 + 2 + 4 + 1 + 1 + 1) * 4 + 4 + 4 * 3 + 3
    (score,) = re.findall(r"file: validation accuracy .* \(always the most frequent class: (0\.[67]\d*)\); (.*)", said)
    assert score[1].startswith("validation balanced accuracy 0.")
    assert score[1].endswith("(always the same class: 0.333).")
    assert f"(always the most frequent class: {score[0]})" in note_of(runs[-1])
    code, said = project.run("verify", runs[-1].info.run_id)
    assert code == 0, said
    code, said = project.run(
        "-m",
        "batch_size=16",
        f"dataset.load.path={tmp_path / 'passengers.parquet'}",
        *TINY,
        "dataset.task=classification",
    )
    assert "1 of 1 cells trained (1 found finished in the store)" in said


@pytest.mark.slow
def test_a_regression_has_r2_beside_zero(project, tmp_path):
    passengers().to_parquet(tmp_path / "passengers.parquet")
    words = [f"dataset.load.path={tmp_path / 'passengers.parquet'}", "dataset.load.target=fare", *TINY]
    code, said = project.run("-m", "batch_size=64", *words, "dataset.resample=true", "dtype=float32")
    assert code == 0, said
    assert "data: numbers in 'fare': a regression" in said
    assert "(always the mean: 0)" in said
    assert "class" not in said.replace("'class'", "")


@pytest.mark.sample(1)
@pytest.mark.parametrize("way", ["dataset.rare_classes=drop", "dataset.rare_classes=merge"])
def test_a_refusal_is_one_line_and_its_key_helps(project, tmp_path, way):
    table = passengers()
    table.loc[:13, "class"] = ["crew"] * 7 + ["staff"] * 7
    table.to_parquet(tmp_path / "passengers.parquet")
    words = [f"dataset.load.path={tmp_path / 'passengers.parquet'}", *TINY]
    code, said = project.run(*words)
    assert (code, len(said.splitlines())) == (2, 1)
    assert way in said
    code, said = project.run(*words, way)
    assert code == 0, said
    assert "rare classes" in said


def test_strict_refuses_what_auto_prepares(project, tmp_path):
    passengers().to_parquet(tmp_path / "passengers.parquet")
    words = [f"dataset.load.path={tmp_path / 'passengers.parquet'}", *TINY]
    code, said = project.run(*words, "dataset.prepare=strict")
    assert (code, len(said.splitlines())) == (2, 1)
    assert "dataset.prepare=auto encodes it" in said
    code, said = project.run(*words, "dataset.prepare=maybe")
    assert (code, "dataset.prepare: expected auto | strict" in said) == (2, True)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:data. the texts of 'name' all differ")
def test_a_program_and_the_command_line_train_the_same_cell(project, tmp_path):
    table = passengers()
    table.to_parquet(tmp_path / "passengers.parquet")
    project.run(f"dataset.load.path={tmp_path / 'passengers.parquet'}", *TINY)
    result = harness.train(table, epochs=2, seeds=2, hidden=[4], rare_classes="refuse")
    (run,) = project.runs("cell")
    with np.load(project.artifact(run, "weights.npz")) as stored:
        for name, array in result.weights.items():
            np.testing.assert_array_equal(array, stored[name])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:data. the texts of 'name' all differ")
def test_a_result_has_the_table_of_its_columns_also_from_the_store(project, tmp_path, monkeypatch):
    table = passengers()
    table.to_parquet(tmp_path / "passengers.parquet")
    project.run("-m", "batch_size=64", f"dataset.load.path={tmp_path / 'passengers.parquet'}", *TINY)
    (parent,) = project.runs("sweep")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", project.uri)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", project.experiment)
    (stored,) = harness.load(parent.info.run_id).results
    made = harness.sweep({"batch_size": [64]}, table, epochs=2, seeds=2, hidden=[4])
    pd.testing.assert_frame_equal(stored.columns(), made.results[0].columns())
    assert made.results[0].columns()["mean"].dtype == float
    assert "'age' (" in made.note()
