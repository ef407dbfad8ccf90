"""Arrays and DataFrames as data: the digest of the same values from elsewhere, the task that their targets mean."""

import numpy as np
import pandas as pd
import pytest
from sklearn import datasets

from harness.config.schema import ConfigError, DatasetConfig
from harness.data.datasets import in_memory, load
from harness.data.inputs import TableOptions


def by_name(function: str, task: str):
    return load(DatasetConfig(function, task, {"_target_": f"sklearn.datasets.{function}"}, 0.1, 0.1, False))


def frame(n: int = 40, **columns) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame({"a": rng.normal(size=n), "b": rng.integers(9, size=n)} | columns)


@pytest.mark.parametrize("function", ["load_iris", "load_digits", "load_diabetes", "load_linnerud", "load_wine"])
@pytest.mark.parametrize(
    "given",
    [
        lambda bunch: (bunch.data, bunch.target),
        lambda bunch: [bunch.data.tolist(), bunch.target.tolist()],
        lambda bunch: (pd.DataFrame(bunch.data), pd.DataFrame(bunch.target)),
        lambda bunch: bunch,
    ],
    ids=["arrays", "lists", "frames", "bunch"],
)
def test_the_same_values_have_the_same_digest_and_task_whichever_way_they_come(function, given):
    bunch = getattr(datasets, function)()
    task = "regression" if function in ("load_diabetes", "load_linnerud") else "classification"
    named, own = by_name(function, task), in_memory(given(bunch))
    assert (own.task, own.digest) == (task, named.digest)
    assert own.X.tobytes() == named.X.tobytes()
    assert own.y.tobytes() == named.y.tobytes()


def test_a_bunch_brings_the_names_of_its_classes():
    assert in_memory(datasets.load_iris()).class_names == ("setosa", "versicolor", "virginica")
    assert in_memory(datasets.load_iris(return_X_y=True)).class_names == ("0", "1", "2")


def test_of_a_frame_one_column_is_the_target_and_the_others_are_inputs(tmp_path):
    """As in a file of the same content."""
    table = frame(label=["x", "y"] * 20)
    table.to_csv(tmp_path / "table.csv", index=False)
    load_file = {"_target_": "harness.data.files.read_file", "path": str(tmp_path / "table.csv")}
    last = in_memory(table)
    assert last.digest == load(DatasetConfig("file", "classification", load_file, 0.1, 0.1, False)).digest
    assert in_memory(table[["label", "a", "b"]], target_column="label").digest == last.digest
    assert in_memory((table[["a", "b"]], table["label"])).digest == last.digest


def test_several_columns_are_a_regression():
    two = in_memory(frame(c=np.arange(40)), target_column=["a", "b"])
    assert (two.task, two.y.shape, two.X.shape) == ("regression", (40, 2), (40, 1))


@pytest.mark.parametrize(
    ("targets", "task"),
    [
        (["no", "yes"] * 20, "classification"),
        ([False, True] * 20, "classification"),
        (pd.Categorical(list("abcd") * 10), "classification"),
        (np.arange(40) % 20, "classification"),
        ((np.arange(40) % 20).astype(np.uint8), "classification"),
        (np.linspace(0, 1, 40), "regression"),
        (np.arange(40) % 2 / 2, "regression"),
        (np.arange(40.0), "regression"),
    ],
)
def test_the_task_follows_from_the_targets(targets, task):
    assert in_memory((frame(), targets)).task == task


@pytest.mark.parametrize("targets", [np.arange(40), np.arange(40) % 2 * 1.0], ids=["many integers", "few floats"])
def test_targets_that_may_mean_either_need_a_task(targets):
    with pytest.raises(ConfigError, match=r"task: expected classification or regression, because .* may mean either"):
        in_memory((frame(), targets))
    assert in_memory((frame(), targets), task="regression").task == "regression"
    assert in_memory((frame(), targets), task="classification").class_names[:2] == ("0", "1")


@pytest.mark.parametrize(
    ("data", "target_column", "message"),
    [
        (np.ones((4, 2)), None, r"dataset: expected a dataset's name, \(X, y\), .*, got an array of shape \(4, 2\)"),
        (([[1.0], [2.0]], ["a"]), None, "dataset.load: expected one target per example"),
        ((np.ones(4), np.ones(4)), None, r"X of shape \(examples, inputs\)"),
        (
            (frame(), [None] + ["x"] * 39),
            None,
            r"dataset.missing_targets: expected drop, .* 1 of 40 rows 'target' has no",
        ),
        (frame(), "c", "target_column: expected columns of the DataFrame: 'a', 'b', got 'c'"),
        ((frame(), ["x", "y"] * 20), "a", "target_column: expected None, because only a DataFrame"),
    ],
)
def test_data_that_cannot_be_trained_on_are_refused_in_one_line(data, target_column, message):
    with pytest.raises(ConfigError, match=message) as refused:
        in_memory(data, target_column=target_column)
    assert "\n" not in str(refused.value)


def test_strict_refuses_text_and_gaps():
    with pytest.raises(ConfigError, match=r"numbers in every input column .*, got \"text \('x'\)\""):
        in_memory((frame(text="x"), ["x", "y"] * 20), options=TableOptions(prepare="strict"))
    with pytest.raises(ConfigError, match="no value that is missing"):
        in_memory((frame(), [None] + ["x"] * 39), options=TableOptions(prepare="strict"))
