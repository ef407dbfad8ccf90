"""`harness.load`: sweeps and cells from a store, by whole or short ids."""

from types import SimpleNamespace

import pytest
from pandas.testing import assert_frame_equal

import harness
from harness.runs.loading import find_run
from harness.store.tracking import Store

SMALL = {"dataset": "iris", "epochs": 2, "seeds": 2}
WORDS = [f"{key}={value}" for key, value in SMALL.items()]
TIMED = ("time/", "to_target_seconds", "to_target/seconds", "train_seconds", "run_id")


@pytest.fixture
def here(project, monkeypatch):
    """The project's folder and store are the current ones."""
    monkeypatch.chdir(project.path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", project.uri)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", project.experiment)
    return project


def swept(project, *words: str) -> str:
    code, said = project.run("-m", *WORDS, *words)
    assert code == 0, said
    return project.runs("sweep")[-1].info.run_id


def test_a_sweep_from_the_store_is_the_one_trained_here(here):
    run_id = swept(here, "batch_size=8,full", "learning_rate=0.1,1", "target=0.9")
    grid = {"batch_size": [8, "full"], "learning_rate": [0.1, 1]}
    own, loaded = harness.sweep(grid, target=0.9, **SMALL), harness.load(run_id)
    for name in ("cells", "replicas", "histories"):
        one, other = (getattr(sweep, name) for sweep in (own, loaded))
        repeated = [column for column in one if not column.startswith(TIMED)]
        assert_frame_equal(one[repeated], other[repeated], check_dtype=False, rtol=1e-15, atol=0)
        assert set(one) <= set(other)
    assert loaded.answer().targets_at == own.answer().targets_at
    assert set(loaded.figures()) == set(own.figures())
    assert repr(loaded).splitlines()[0] == repr(own).splitlines()[0]
    for one, other in zip(own.results, loaded.results, strict=True):
        assert (one.label, one.signature, one.outcome, one.config) == (
            other.label, other.signature, other.outcome, other.config
        )  # fmt: skip
        assert {name: array.tobytes() for name, array in one.weights.items()} == {
            name: array.tobytes() for name, array in other.weights.items()
        }
        repeated = [column for column in one.history() if column != "train_seconds"]
        assert_frame_equal(one.history()[repeated], other.history()[repeated], check_dtype=False, rtol=1e-15, atol=0)
        assert set(one.summary) <= set(other.summary)


@pytest.mark.slow
def test_short_ids_and_several_sweeps(here):
    ids = [swept(here, "batch_size=8,64"), swept(here, "batch_size=64,full")]
    both = harness.load(*(run_id[:8] for run_id in ids))
    assert list(both.cells["batch_size"]) == [8, 64, 90]
    assert list(harness.load(ids[1]).cells["batch_size"]) == [64, 90]


@pytest.mark.slow
def test_a_cell_by_itself(here):
    code, said = here.run(*WORDS, "model.hidden=[4,3]")
    assert code == 0, said
    (run,) = here.runs("cell")
    loaded = harness.load(run.info.run_id)
    alone = harness.train(**SMALL, hidden=[4, 3])
    assert list(loaded.cells["cell"]) == [alone.signature]
    assert list(loaded.cells["n_parameters"]) == [4 * 4 + 4 + 4 * 3 + 3 + 3 * 3 + 3]
    assert loaded.results[0].weights["W1"].tobytes() == alone.weights["W1"].tobytes()
    assert loaded.note()


@pytest.mark.slow
def test_sweeps_and_cells_do_not_mix(here):
    sweep, cell = swept(here, "batch_size=8,64"), here.runs("cell")[0].info.run_id
    with pytest.raises(harness.ConfigError, match="run id: expected those of sweeps, or those of cells"):
        harness.load(sweep, cell)


def test_a_cell_that_failed_is_in_the_table_with_its_reason(here, monkeypatch):
    monkeypatch.setattr("harness.training.tables.batch_costs", lambda result: 1 / 0)
    code, _ = here.run("-m", *WORDS, "batch_size=8")
    assert code == 1
    parent, cell = here.runs("sweep")[0].info.run_id, here.runs("cell")[0].info.run_id
    loaded = harness.load(parent)
    assert list(loaded.cells["status"]) == ["FAILED"]
    assert "ZeroDivisionError" in loaded.cells["reason"][0]
    assert loaded.results == []
    assert loaded.figures() == {}
    assert "failed" in repr(loaded)
    with pytest.raises(harness.ConfigError, match="expected a cell that has finished, got 'FAILED'"):
        harness.load(cell)


@pytest.mark.parametrize("digits", ["0" * 32, pytest.param("f" * 31, marks=pytest.mark.slow)])
def test_an_id_that_no_run_has(here, digits):
    here.run("-m", *WORDS, "dry_run=true")  # the store is there
    with pytest.raises(harness.ConfigError, match=rf"expected the run id of a cell or a sweep in .*, got '{digits}'"):
        harness.load(digits)


def test_an_id_that_several_runs_have():
    runs = [
        SimpleNamespace(info=SimpleNamespace(run_id=f"abcdef{i}"), data=SimpleNamespace(tags={"kind": "cell"}))
        for i in (1, 2)
    ]
    store = SimpleNamespace(beginning_with=lambda digits: runs, uri="sqlite:///mlflow.db")
    with pytest.raises(harness.ConfigError, match=r"more digits, because 2 runs begin with these \(abcdef1, abcdef2\)"):
        find_run(store, "abcdef")


@pytest.mark.parametrize("digits", ["abcde", "a%b%c%d%", "A" * 32, "", 3])
def test_what_is_no_id_is_refused(digits):
    with pytest.raises(harness.ConfigError, match="expected a run id: 32 hexadecimal digits, or at least the first 6"):
        find_run(None, digits)


def test_nothing_is_made_where_there_is_no_store(tmp_path, monkeypatch):
    import os

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(harness.ConfigError, match=r"a current folder that holds one \(mlflow.db\)"):
        harness.load("0" * 32)
    assert list(tmp_path.iterdir()) == []
    assert "MLFLOW_TRACKING_URI" not in os.environ


def test_an_experiment_that_is_not_there(here, monkeypatch):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "another")
    with pytest.raises(harness.ConfigError, match="MLFLOW_EXPERIMENT_NAME: expected an experiment of"):
        Store.open_to_read()
