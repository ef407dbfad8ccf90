"""`harness.train`: the cell of the command line, bit for bit, and what a Python program sees of it."""

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from sklearn.datasets import load_iris

import harness
from harness.training.clock import pinned_blas

SMALL = {"dataset": "iris", "epochs": 3, "seeds": 3}


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    ("words", "settings"),
    [
        ([], {}),
        (
            ["batch_size=full", "reduction=sum", "learning_rate=0.01", "model.hidden=[8,5]", "dtype=float32"],
            {"batch_size": "full", "reduction": "sum", "learning_rate": 0.01, "hidden": [8, 5], "dtype": "float32"},
        ),
        (
            ["optimizer=adam", "optimizer.weight_decay=0.001", "dataset.resample=true", "order=replacement"],
            {"optimizer": "adam", "weight_decay": 0.001, "resample": True, "order": "replacement"},
        ),
    ],
)
def test_a_cell_is_the_command_lines_bit_for_bit(project, words, settings):
    code, said = project.run(*[f"{key}={value}" for key, value in SMALL.items()], *words)
    assert code == 0, said
    (run,) = project.runs("cell")
    result = harness.train(**SMALL, **settings)
    assert result.signature == run.data.tags["signature"]
    assert result.outcome == run.data.tags["outcome"]
    with np.load(project.artifact(run, "weights.npz")) as stored:
        assert set(stored) == set(result.weights)
        for name in stored:
            assert stored[name].tobytes() == result.weights[name].tobytes()
    for name, own in (("history.csv", result.history()), ("replicas.csv", result.replicas())):
        stored_table = project.table(run, name)
        stored_table["outcome"] = stored_table["outcome"].fillna("")
        clocks = [column for column in own if "seconds" in column]
        assert_frame_equal(
            stored_table.drop(columns=clocks), own.drop(columns=clocks), check_dtype=False, rtol=1e-15, atol=0
        )
    left_out = ("time/", "best/", "baseline/")  # clocks; and what MLflow has no metrics of
    same = {key: value for key, value in result.summary.items() if not key.startswith(left_out)}
    assert same == {key: pytest.approx(run.data.metrics[key], rel=1e-15) for key in same}


def test_arrays_give_the_bits_of_the_data_by_name():
    fractions = {"validation_fraction": 0.2, "test_fraction": 0.2}
    named = harness.train(**SMALL)
    arrays = harness.train(load_iris(return_X_y=True), epochs=3, seeds=3, **fractions)
    assert arrays.config.dataset.task == "classification"
    assert arrays.weights["W1"].tobytes() == named.weights["W1"].tobytes()
    assert arrays.signature == harness.train(load_iris(), epochs=3, seeds=3, **fractions).signature
    assert arrays.signature != named.signature  # the name of the dataset is part of it


def test_a_frame_with_its_target_column():
    table = load_iris(as_frame=True).frame
    result = harness.train(table, target_column="petal width (cm)", epochs=2, seeds=2, **{"dataset.name": "widths"})
    assert result.config.dataset.task == "regression"
    assert "validation_r2" in result.history()
    assert result.label.startswith("widths B=64")
    chosen = harness.train(table, task="classification", epochs=2, seeds=2)
    assert chosen.weights["W1"].shape == (2, 32, 3)


def test_data_of_ones_own_have_no_loader():
    with pytest.raises(
        harness.ConfigError, match=r"dataset.load.n_samples: expected no loader beside data from Python"
    ):
        harness.train(load_iris(), **{"dataset.load.n_samples": 3})
    with pytest.raises(harness.ConfigError, match="target_column: expected None"):
        harness.train("iris", target_column="x")
    with pytest.raises(harness.ConfigError, match="at least 10 examples of every class"):
        harness.train((np.arange(12.0).reshape(6, 2), ["a", "b"] * 3))


def test_what_a_result_shows():
    result = harness.train(**SMALL, batch_size=16)
    assert repr(result).startswith("<iris B=16 η=0.1 mean: completed, training cost ")
    assert repr(result).endswith(" (3 replicas)>")
    assert isinstance(result.history(), pd.DataFrame)
    assert list(result.replicas()["replica"]) == [0, 1, 2]
    assert {name: array.shape for name, array in result.weights.items()} == {
        "W0": (3, 4, 32), "b0": (3, 32), "W1": (3, 32, 3), "b1": (3, 3)
    }  # fmt: skip
    assert result.config.batch_size == 16


def test_a_result_whose_replicas_all_diverged():
    result = harness.train("diabetes", learning_rate=1e6, epochs=2, seeds=2, model="linear")
    assert repr(result) == "<diabetes B=64 η=1e+06 mean: diverged (2 replicas)>"


@pytest.mark.parametrize(
    "call",
    [lambda: harness.train(**SMALL, batch_size=1000), lambda: harness.sweep({"batch_size": [8, 1000]}, **SMALL)],
    ids=["train", "sweep"],
)
def test_a_batch_larger_than_the_data_is_a_warning_at_the_line_of_the_call(call):
    with pytest.warns(UserWarning, match="batch_size=1000 is larger than N=90: clipped to N") as said:
        call()
    assert [warning.filename for warning in said] == [__file__]


def test_an_interrupt_is_an_exception_and_gives_blas_its_threads_back(monkeypatch):
    from threadpoolctl import threadpool_info

    from harness.runs.progress import SweepProgress

    def interrupted(*_):
        raise KeyboardInterrupt

    def threads():
        return [lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"]

    monkeypatch.setattr(SweepProgress, "show", interrupted)
    with pinned_blas(2):
        before = threads()
        with pytest.raises(KeyboardInterrupt) as raised:
            harness.train(**SMALL)
        assert threads() == before
    assert raised.traceback  # and with it the frames of the training


def test_nothing_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    harness.train(**SMALL)
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr() == ("", "")


def test_data_in_two_arguments_is_refused_with_the_way_to_write_it():
    X, y = np.ones((6, 2)), np.arange(6) % 2
    with pytest.raises(TypeError, match=r"write train\(\(X, y\), batch_size=64\)"):
        harness.train(X, y)
    with pytest.raises(TypeError, match=r"write sweep\(grid, \(X, y\), epochs=10\)"):
        harness.sweep({"batch_size": [4]}, X, y)


@pytest.mark.parametrize(("data", "got"), [(np.ones((90, 4)), r"an array of shape \(90, 4\)"), (None, "None")])
def test_what_is_no_data_is_described(data, got):
    with pytest.raises(harness.ConfigError, match=f"^dataset: expected a dataset's name.*, got {got}$"):
        harness.train(data)


def test_doubts_about_the_data_are_warnings():
    rng = np.random.default_rng(0)
    y = np.tile(["cat", "dog"], 30)
    table = pd.DataFrame({"x": rng.normal(size=60), "copy": np.char.upper(y), "y": y})
    with pytest.warns(UserWarning, match=r"^data: 'copy' holds the target 'y' in other words"):
        harness.train(table, epochs=1, seeds=1, batch_size=8)
    with pytest.warns(UserWarning, match=r"^data: 'copy' holds") as told:
        harness.sweep({"batch_size": [8, 16]}, table, epochs=1, seeds=1)
    assert len([one for one in told if "copy" in str(one.message)]) == 1
    harness.train(table.drop(columns="copy"), epochs=1, seeds=1, batch_size=8)
