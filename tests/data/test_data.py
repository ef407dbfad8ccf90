"""The data against independent sources: raw rows, files written by hand, and numbers recomputed without the module.

Every refusal is checked for its key and for what it tells the user, always in one line. There is no network in here:
the name server is replaced by one that does not answer.
"""

import http.client
import io
import pickle
import socket
import subprocess
import sys
import urllib.error
import urllib.request
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn.datasets  # noqa: F401  (now, because it keeps the urlopen that it finds, and tests replace that)
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.config.schema import ConfigError, DatasetConfig
from harness.data.datasets import Dataset, load
from harness.data.files import read_file
from harness.data.splits import Splits, loss_for, n_outputs_of, n_train_of
from tests.splits import split

CONF = Path(__file__).parents[2] / "conf" / "dataset"
SEED = np.random.SeedSequence(7)

# name: (examples, inputs, columns of Y, training examples, loss)
BUNDLED = {
    "iris": (150, 4, 3, 90, "softmax_cross_entropy"),
    "wine": (178, 13, 3, 106, "softmax_cross_entropy"),
    "breast_cancer": (569, 30, 1, 455, "sigmoid_cross_entropy"),
    "digits": (1797, 64, 10, 1437, "softmax_cross_entropy"),
    "diabetes": (442, 10, 1, 353, "half_squared_error"),
    "linnerud": (20, 3, 3, 12, "half_squared_error"),
    "moons": (2000, 2, 1, 1600, "sigmoid_cross_entropy"),
    "circles": (2000, 2, 1, 1600, "sigmoid_cross_entropy"),
    "blobs": (2000, 2, 4, 1600, "softmax_cross_entropy"),
    "classification": (2000, 20, 3, 1600, "softmax_cross_entropy"),
    "regression": (2000, 20, 1, 1600, "half_squared_error"),
    "blocks": (8000, 10, 4, 6400, "softmax_cross_entropy"),
}
ELSEWHERE = {"california_housing", "covtype", "openml", "file"}


def from_conf(name: str, /, **load_arguments: object) -> DatasetConfig:
    """What Hydra composes from conf/dataset: the files in `defaults` (/NAME@_here_, _self_), the later one wins."""
    own = yaml.safe_load((CONF / f"{name}.yaml").read_text(encoding="utf-8"))
    values: dict[str, Any] = {}
    for part in own.pop("defaults"):
        values |= own if part == "_self_" else yaml.safe_load((CONF.parent / f"{part[1:-7]}.yaml").read_text("utf-8"))
    values["load"] |= load_arguments
    return DatasetConfig(**values)


def config(function: str, task: str = "classification", /, held_out: float = 0.1, **arguments: object) -> DatasetConfig:
    return DatasetConfig("mine", task, {"_target_": function, **arguments}, held_out, held_out, False)


def file_config(path: Path, task: str = "classification", /, **arguments: object) -> DatasetConfig:
    return config("harness.data.files.read_file", task, path=str(path), **arguments)


def strict(path: Path, task: str = "classification", /, **arguments: object) -> DatasetConfig:
    """A table is refused that is not numbers without gaps."""
    return replace(file_config(path, task, **arguments), prepare="strict")


def npz(folder: Path, **arrays: object) -> Path:
    np.savez(folder / "data.npz", **arrays)
    return folder / "data.npz"


def csv(folder: Path, text: str | bytes) -> Path:
    (folder / "data.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder / "data.csv"


def refusal(dataset_config: DatasetConfig, key: str, *contents: str) -> str:
    """The message with which `load` refuses; it names the key, says all of `contents`, and is one line."""
    with pytest.raises(ConfigError) as caught:
        load(dataset_config)
    message = str(caught.value)
    assert caught.value.key == key, message
    assert [text for text in contents if text not in message] == [], message
    assert "\n" not in message
    assert len(message) < 700
    assert str(pickle.loads(pickle.dumps(caught.value))) == message  # it may cross from a worker to its parent
    return message


def numbered(labels: np.ndarray, task: str = "classification") -> Dataset:
    """A dataset whose first input is the example's own number, so that it can be found again after scaling."""
    rng = np.random.default_rng(3)
    X = np.column_stack([np.arange(len(labels), dtype=float), rng.normal(5, 9, size=len(labels))])
    names = tuple(str(k) for k in np.unique(labels)) if task == "classification" else ()
    return Dataset("numbered", task, X, labels, names, "")


def row_numbers(splits: Splits, n: int) -> list[np.ndarray]:
    """The example numbers of train, validation and test: scaling keeps their order, so the rank is the number."""
    first = [part.X[:, 0] for part in (splits.train, splits.validation, splits.test)]
    ranks = np.empty(n, dtype=int)
    ranks[np.argsort(np.concatenate(first))] = np.arange(n)
    return np.split(ranks, np.cumsum([len(x) for x in first])[:-1])


def split_or_error(
    dataset: Dataset, validation: float, test: float, seed: np.random.SeedSequence
) -> Splits | ConfigError:
    try:
        return split(dataset, validation, test, seed, "float64")
    except ConfigError as error:
        return error


# The datasets of conf/.


def test_every_conf_file_is_tested_here():
    assert {path.stem for path in CONF.glob("*.yaml")} == BUNDLED.keys() | ELSEWHERE


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_and_generated_datasets_load_and_split(name):
    n, n_inputs, n_outputs, n_train, loss = BUNDLED[name]
    options = from_conf(name)
    dataset = load(options)
    splits = split(dataset, options.validation_fraction, options.test_fraction, SEED, "float32")
    parts = (splits.train, splits.validation, splits.test)
    assert (dataset.name, dataset.X.shape, dataset.X.dtype) == (name, (n, n_inputs), np.float64)
    assert splits.train.X.shape == (n_train, n_inputs)
    assert (n_train_of(dataset, options), n_outputs_of(dataset)) == (n_train, n_outputs)
    assert sum(len(part.X) for part in parts) == n
    for part in parts:
        assert part.Y.shape == (len(part.X), n_outputs)
        for array in (part.X, part.Y):
            assert array.dtype == np.float32
            assert array.flags.c_contiguous
            assert np.isfinite(array).all()
    assert loss_for(dataset) == loss


@pytest.mark.parametrize("path", sorted(CONF.glob("*.yaml")), ids=lambda path: path.stem)
def test_conf_files_open_with_a_line_that_says_what_they_are(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# ")
    assert max(map(len, lines)) <= 120


def test_digits_are_1437_180_180():
    splits = split(load(from_conf("digits")), 0.1, 0.1, SEED, "float64")
    assert [len(part.X) for part in (splits.train, splits.validation, splits.test)] == [1437, 180, 180]


def test_class_names_are_those_of_the_source():
    assert load(from_conf("iris")).class_names == ("setosa", "versicolor", "virginica")
    assert load(from_conf("breast_cancer")).class_names == ("malignant", "benign")
    assert load(from_conf("digits")).class_names == tuple("0123456789")
    assert load(from_conf("linnerud")).class_names == ()


def test_frames_are_read_like_arrays():
    arrays, frames = load(from_conf("wine")), load(from_conf("wine", as_frame=True))
    pair = load(from_conf("wine", as_frame=True, return_X_y=True))
    assert arrays.digest == frames.digest == pair.digest
    several = [load(from_conf("linnerud", as_frame=as_frame)) for as_frame in (True, False)]
    assert several[0].digest == several[1].digest
    assert several[0].y.shape == (20, 3)


def test_arguments_reach_the_function():
    assert load(from_conf("moons", n_samples=60)).X.shape == (60, 2)
    assert load(from_conf("digits", n_class=4)).class_names == ("0", "1", "2", "3")


def test_the_digest_tells_data_apart_and_is_the_same_every_time():
    digests = [load(from_conf("moons", random_state=state)).digest for state in (0, 0, 1)]
    assert digests[0] == digests[1] != digests[2]
    assert len(digests[0]) == 64
    assert int(digests[0], 16) >= 0


def test_the_digest_sees_a_changed_target(tmp_path):
    X, y = np.arange(40.0).reshape(20, 2), np.repeat([0, 1], 10)
    before = load(file_config(npz(tmp_path, X=X, y=y))).digest
    as_text = load(file_config(npz(tmp_path, X=X, y=np.where(y, "spam", "ham")))).digest
    y[[0, 10]] = y[[10, 0]]
    assert load(file_config(npz(tmp_path, X=X, y=y))).digest != before == as_text


# Splitting.


def test_scaling_knows_the_training_rows_only():
    dataset = numbered(np.repeat([0, 1], [70, 50]))
    splits = split(dataset, 0.2, 0.1, SEED, "float64")
    rows = row_numbers(splits, 120)
    raw = dataset.X[rows[0]]
    mean = raw.sum(axis=0) / len(raw)
    deviation = np.sqrt(((raw - mean) ** 2).sum(axis=0) / len(raw))
    for part, own in zip((splits.train, splits.validation, splits.test), rows, strict=True):
        np.testing.assert_allclose(part.X, (dataset.X[own] - mean) / deviation, rtol=0, atol=1e-12)
    assert abs(dataset.X.mean(axis=0) - mean).max() > 0.05  # all rows would have given other numbers


def test_regression_targets_are_scaled_by_the_training_rows():
    y = np.random.default_rng(1).normal(200, 40, size=(90, 2))
    splits = split(numbered(y, "regression"), 0.2, 0.2, SEED, "float64")
    rows = row_numbers(splits, 90)
    mean, deviation = y[rows[0]].mean(axis=0), y[rows[0]].std(axis=0)
    for part, own in zip((splits.train, splits.validation, splits.test), rows, strict=True):
        np.testing.assert_allclose(part.Y * deviation + mean, y[own], rtol=1e-12)
    np.testing.assert_array_equal(splits.sort_key, y[rows[0], 0])
    np.testing.assert_array_equal(splits.rows, rows[0])


def test_predicting_the_mean_costs_half_the_variance_which_is_one():
    splits = split(load(from_conf("diabetes")), 0.1, 0.1, SEED, "float64")
    assert np.mean(0.5 * splits.train.Y**2) == pytest.approx(0.5)


def test_a_constant_input_becomes_zero():
    dataset = numbered(np.repeat([0, 1], 20))
    dataset.X[:, 1] = 3.0
    splits = split(dataset, 0.2, 0.2, SEED, "float64")
    assert not splits.train.X[:, 1].any()
    assert not splits.test.X[:, 1].any()


def test_two_classes_are_one_column_and_more_are_one_hot():
    for labels in (np.repeat([0, 1], [30, 50]), np.repeat([0, 1, 2], [30, 20, 40])):
        splits = split(numbered(labels), 0.1, 0.2, SEED, "float32")
        rows = row_numbers(splits, len(labels))
        for part, own in zip((splits.train, splits.validation, splits.test), rows, strict=True):
            one_hot = np.array([[float(label == k) for k in range(labels.max() + 1)] for label in labels[own]])
            np.testing.assert_array_equal(part.Y, one_hot if labels.max() > 1 else one_hot[:, 1:])
        np.testing.assert_array_equal(splits.sort_key, labels[rows[0]])


def test_classes_keep_their_proportions():
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [100, 300, 600]))
    rows = row_numbers(split(numbered(labels), 0.1, 0.2, SEED, "float64"), 1000)
    assert [np.bincount(labels[own]).tolist() for own in rows] == [[70, 210, 420], [10, 30, 60], [20, 60, 120]]


def test_the_seed_alone_decides():
    dataset = numbered(np.repeat([0, 1], 50))
    first, again, other = (split(dataset, 0.2, 0.2, np.random.SeedSequence(s), "float64") for s in (5, 5, 6))
    np.testing.assert_array_equal(first.train.X, again.train.X)
    np.testing.assert_array_equal(first.test.Y, again.test.Y)
    assert not np.array_equal(first.train.X, other.train.X)
    children = [split(dataset, 0.2, 0.2, child, "float64") for child in np.random.SeedSequence(5).spawn(2)]
    assert not np.array_equal(children[0].train.X, children[1].train.X)


def test_no_global_generator_is_used_or_moved():
    dataset = numbered(np.repeat([0, 1], 50))
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    first = split(dataset, 0.2, 0.2, SEED, "float64")
    np.testing.assert_array_equal(np.random.get_state()[1], before)
    np.random.seed(1)
    np.testing.assert_array_equal(split(dataset, 0.2, 0.2, SEED, "float64").train.X, first.train.X)


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.integers(1, 60), min_size=2, max_size=5),
    validation=st.floats(0.03, 0.6),
    test=st.floats(0.03, 0.35),
    seed=st.integers(0, 2**63),
)
def test_a_split_is_a_stratified_partition_or_a_refusal(counts, validation, test, seed):
    labels = np.repeat(np.arange(len(counts)), counts)
    dataset, n = numbered(labels), len(labels)
    enough = min(counts) * min(validation, test, 1 - validation - test) >= 1 - 1e-9
    splits = split_or_error(dataset, validation, test, np.random.SeedSequence(seed))
    assert isinstance(splits, Splits) == enough
    if isinstance(splits, ConfigError):
        assert splits.key == "dataset"
        assert f"{min(counts)} of class" in str(splits)
        return
    rows = row_numbers(splits, n)
    assert sorted(np.concatenate(rows)) == list(range(n))
    sizes = [len(own) for own in rows]
    assert min(sizes) >= len(counts)
    assert sizes[0] == pytest.approx((1 - validation - test) * n, abs=1)
    assert sizes[2] == pytest.approx(test * n, abs=2)
    in_train = np.bincount(labels[rows[0]], minlength=len(counts))
    assert np.abs(in_train - np.array(counts) * sizes[0] / n).max() < 1 + 1e-9


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 60), validation=st.floats(0.05, 0.45), test=st.floats(0.05, 0.45))
def test_a_regression_split_is_a_partition_or_a_refusal(n, validation, test):
    splits = split_or_error(numbered(np.arange(n) ** 2.0, "regression"), validation, test, SEED)
    if isinstance(splits, ConfigError):
        assert splits.key == "dataset"
        assert f"{n} examples" in str(splits)
        assert n * min(validation, test, 1 - validation - test) < 3.0001
        return
    rows = row_numbers(splits, n)
    assert sorted(np.concatenate(rows)) == list(range(n))
    assert min(map(len, rows)) >= 2


# Files.


def test_csv_parquet_and_npz_give_the_arrays_that_were_written(tmp_path):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 3)), rng.integers(3, size=40)
    frame = pd.DataFrame(X, columns=["a", "b", "c"]).assign(kind=y)
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_parquet(tmp_path / "t.parquet")
    np.savez(tmp_path / "t.npz", X=X, y=y)
    for suffix in ("csv", "parquet", "npz"):
        dataset = load(file_config(tmp_path / f"t.{suffix}"))
        # pandas 2 reads a decimal number to within a few units of its last place, pandas 3 exactly
        np.testing.assert_allclose(dataset.X, X, rtol=1e-13 if suffix == "csv" else 0, atol=0)
        np.testing.assert_array_equal(dataset.y, y)
        assert dataset.class_names == ("0", "1", "2")


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_the_target_may_be_any_column(tmp_path, suffix):
    frame = pd.DataFrame({"a": np.arange(30.0), "b": np.arange(30) % 2 == 0, "c": np.arange(30) // 7})
    getattr(frame, f"to_{suffix}")(tmp_path / f"t.{suffix}", index=False)
    dataset = load(file_config(tmp_path / f"t.{suffix}", "regression", target="a"))
    np.testing.assert_array_equal(dataset.y, np.arange(30.0))
    np.testing.assert_array_equal(dataset.X, np.column_stack([np.arange(30) % 2 == 0, np.arange(30) // 7]))


def test_text_labels_are_numbered_in_sorted_order(tmp_path):
    dataset = load(file_config(csv(tmp_path, "x,kind\n" + "1,dog\n2,ant\n3,cat\n" * 10)))
    assert dataset.class_names == ("ant", "cat", "dog")
    np.testing.assert_array_equal(dataset.y, np.tile([2, 0, 1], 10))


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (np.tile([1.0, 2.0], 10), ("1", "2")),
        (np.tile([True, False], 10), ("False", "True")),
        (np.tile([-1, 1], 10), ("-1", "1")),
        (np.tile(["b", "a"], 10)[:, None], ("a", "b")),
    ],
)
def test_labels_of_any_type_become_indices(tmp_path, labels, names):
    dataset = load(file_config(npz(tmp_path, X=np.arange(40.0).reshape(20, 2), y=labels)))
    assert dataset.class_names == names
    assert dataset.y.dtype == np.int64
    np.testing.assert_array_equal(
        dataset.y, [names.index(f"{v:g}" if v.dtype == "f8" else str(v)) for v in labels.flat]
    )


def test_several_targets_from_npz(tmp_path):
    y = np.random.default_rng(0).normal(size=(20, 2))
    dataset = load(file_config(npz(tmp_path, X=np.ones((20, 1)) * y[:, :1], y=y), "regression"))
    np.testing.assert_array_equal(dataset.y, y)


def test_nullable_columns_of_parquet(tmp_path):
    frame = pd.DataFrame({"a": pd.array(range(20), dtype="Int64"), "b": pd.array([0, 1] * 10, dtype="Int64")})
    frame.to_parquet(tmp_path / "t.parquet")
    np.testing.assert_array_equal(load(file_config(tmp_path / "t.parquet")).X[:, 0], np.arange(20.0))
    frame.loc[3, "a"] = pd.NA
    frame.to_parquet(tmp_path / "t.parquet")
    refusal(strict(tmp_path / "t.parquet"), "dataset.load", "a (1 of 20)")


def test_a_relative_path_starts_at_the_current_folder_and_a_tilde_at_home(tmp_path, monkeypatch):
    csv(tmp_path, "a,b\n1,2\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert [list(read_file(path)["data"]) for path in ("data.csv", "~/data.csv")] == [["a"], ["a"]]


def test_byte_order_mark_capital_suffix_and_quoted_line_breaks(tmp_path):
    (tmp_path / "T.CSV").write_bytes('\ufeffa,"b\nc"\n1,2\n'.encode())
    read = read_file(str(tmp_path / "T.CSV"))
    assert read["data"].columns.tolist() == ["a"]
    assert read["target"].name == "b\nc"
    refusal(file_config(tmp_path / "T.CSV", target="z"), "dataset.load.target", r"'a', 'b\nc'", "'z'")


def test_a_file_that_does_not_exist(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for suffix in ("csv", "npz", "parquet"):
        refusal(file_config(Path(f"no.{suffix}")), "dataset.load.path", f"'no.{suffix}'", "exists", str(tmp_path))


def test_a_file_without_permission_and_a_folder(tmp_path, monkeypatch):
    (tmp_path / "folder.parquet").mkdir()
    refusal(file_config(tmp_path / "folder.parquet"), "dataset.load.path", "IsADirectoryError")

    def refuse(self, *args):
        raise PermissionError(13, "Permission denied", str(self))

    path = csv(tmp_path, "a,b\n1,2\n")
    monkeypatch.setattr(Path, "open", refuse)
    refusal(file_config(path), "dataset.load.path", "Permission denied", "data.csv")


@pytest.mark.parametrize("name", ["data.tex", "data", "data.pdf.gz", "data.pkl"])
def test_an_unknown_suffix(name):
    refusal(file_config(Path(name)), "dataset.load.path", ".csv | ", " | .parquet | ", " | .npz | ", name)


@pytest.mark.parametrize("suffix", ["csv", "npz", "parquet"])
def test_an_empty_file(tmp_path, suffix):
    path = tmp_path / f"data.{suffix}"
    path.touch()
    allowed = "a table with rows" if suffix == "csv" else f"a readable .{suffix} file"
    refusal(file_config(path), "dataset.load.path", allowed)


@pytest.mark.parametrize("suffix", ["npz", "parquet"])
@pytest.mark.parametrize("content", [b"hello", b"PK\x03\x04rubbish", b"PAR1 and then rubbish PAR1", bytes(range(256))])
def test_rubbish(tmp_path, suffix, content):
    path = tmp_path / f"data.{suffix}"
    path.write_bytes(content)
    refusal(file_config(path), "dataset.load.path", f"a readable .{suffix} file", f"data.{suffix}")


def test_a_damaged_npz(tmp_path):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, X=np.random.default_rng(0).normal(size=(50, 4)), y=np.zeros(50))
    content = bytearray(buffer.getvalue())
    content[200:400] = bytes(200)
    (tmp_path / "data.npz").write_bytes(content)
    refusal(file_config(tmp_path / "data.npz"), "dataset.load.path", "a readable .npz file")


def test_text_of_another_encoding_than_the_one_given(tmp_path):
    path = csv(tmp_path, "a,b\n1,caf\xe9\n".encode("latin-1"))
    refusal(file_config(path, encoding="utf-8"), "dataset.load.encoding", "null: found out", "'utf-8'")
    refusal(file_config(path, encoding="utf-99"), "dataset.load.encoding", "cp1252", "'utf-99'")


def test_an_npz_packed_in_a_way_that_cannot_be_undone(tmp_path):
    content = npz(tmp_path, X=np.ones((4, 1)), y=[0, 1, 0, 1]).read_bytes()
    start = content.index(b"PK\x01\x02")
    (tmp_path / "data.npz").write_bytes(content[: start + 10] + b"\x63" + content[start + 11 :])
    refusal(file_config(tmp_path / "data.npz"), "dataset.load.path", "compression method is not supported")


def test_pickles_are_never_opened(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (Path(tmp_path / "exploded").touch, ())

    objects = np.empty(2, dtype=object)
    objects[:] = [Bomb(), Bomb()]
    refusal(file_config(npz(tmp_path, X=objects, y=[0, 1])), "dataset.load.path", "allow_pickle=False")
    (tmp_path / "data.npz").write_bytes(pickle.dumps(Bomb()))
    refusal(file_config(tmp_path / "data.npz"), "dataset.load.path", "pickle")
    assert not (tmp_path / "exploded").exists()


def test_npz_with_other_names(tmp_path):
    refusal(file_config(npz(tmp_path, inputs=[1], y=[2])), "dataset.load.path", "X and y", "'inputs', 'y'")
    np.save(tmp_path / "lone.npy", np.ones(3))
    (tmp_path / "lone.npy").rename(tmp_path / "lone.npz")
    refusal(file_config(tmp_path / "lone.npz"), "dataset.load.path", "X and y", "none")
    with zipfile.ZipFile(tmp_path / "zip.npz", "w") as archive:
        archive.writestr("readme.txt", "hello")
    refusal(file_config(tmp_path / "zip.npz"), "dataset.load.path", "X and y", "readme.txt")


def test_other_arrays_of_an_npz_are_named(tmp_path):
    path = npz(tmp_path, X=np.ones((4, 1)), y=[0, 1, 0, 1], z=[3, 4, 5, 6])
    assert read_file(str(path), target="z")["target"].tolist() == [3, 4, 5, 6]
    assert read_file(str(path), inputs="X", target="y")["target"].tolist() == [0, 1, 0, 1]
    refusal(file_config(path, target="w"), "dataset.load.target", "'X', 'y', 'z'", "'w'")
    refusal(file_config(path, sep=";"), "dataset.load.sep", "null", "';'")


def test_a_target_that_is_no_column(tmp_path):
    path = csv(tmp_path, "height,width,kind\n1,2,3\n")
    refusal(file_config(path, target="colour"), "dataset.load.target", "'height', 'width', 'kind'", "'colour'")
    wide = csv(tmp_path, ",".join(f"c{i}" for i in range(200)) + "\n" + ",".join("1" * 200) + "\n")
    refusal(file_config(wide, target="d"), "dataset.load.target", "'c39' and 160 more")


def test_repeated_column_names_are_numbered_as_pandas_does(tmp_path):
    assert read_file(str(csv(tmp_path, "a,b,a\n1,2,3\n")))["target"].name == "a.1"
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table([pa.array([1]), pa.array([2])], names=["b", "b"]), tmp_path / "data.parquet")
    assert read_file(str(tmp_path / "data.parquet"))["target"].name == "b.1"


@pytest.mark.parametrize(
    ("text", "contents"),
    [
        ("a,b\n", ["0 rows of 'a', 'b'", "an input column"]),
        ("a\n1\n2\n", ["2 rows of 'a'", "sep=comma"]),
        ("a,b\n1,2,3\n4,5,6\n", ["as many names in the header", "2 names, 3 values"]),
        ("a,b\n1,2\n4,5,6\n7,8\n", ["2 values in every row", "3 in row 2", "dataset.load.bad_rows=drop"]),
        ("a,b\n1,2\n4,5,6,7\n7,8\n", ["2 values in every row", "4 in line 3", "dataset.load.bad_rows=drop"]),
    ],
)
def test_malformed_csv(tmp_path, text, contents):
    refusal(file_config(csv(tmp_path, text)), "dataset.load.path", *contents)


# Values that cannot be trained on.


def test_missing_values_name_their_columns(tmp_path):
    rows = "1,2,0\n3,4,1\n" * 10
    path = csv(tmp_path, "age,income,kind\n" + rows + ",inf,0\n,5,1\nNA,5,1\n")
    refusal(strict(path), "dataset.load", "age (3 of 23)", "income (1 of 23)")
    refusal(strict(path, target="age"), "dataset.load", "income (1 of 23)")
    refusal(strict(path, "regression", target="age"), "dataset.load", "income (1 of 23)")


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("gap", [np.nan, np.inf, -np.inf, 1e200])
def test_missing_and_infinite_numbers(tmp_path, gap, task):
    X, y = np.arange(40.0).reshape(20, 2), np.repeat([0.0, 1.0], 10)
    X[[3, 5], 1] = gap
    refusal(strict(npz(tmp_path, X=X, y=y), task), "dataset.load", "X[:, 1] (2 of 20)")
    X[:], y[7] = 0, gap
    refusal(strict(npz(tmp_path, X=X, y=y), task), "dataset.load", "target (1 of 20)")


def test_missing_labels(tmp_path):
    path = csv(tmp_path, "x,kind\n" + "1,a\n2,b\n" * 10 + "3,\n")
    refusal(strict(path), "dataset.load", "kind (1 of 21)")


def test_many_offending_columns_are_not_all_listed(tmp_path):
    X = np.full((20, 30), np.nan)
    refusal(strict(npz(tmp_path, X=X, y=np.repeat([0, 1], 10))), "dataset.load", "X[:, 7]", "and 22 more")


def test_text_in_the_inputs_names_column_and_value(tmp_path):
    path = csv(tmp_path, "age,city,kind\n" + "1,Oslo,0\n2,Rome,1\n" * 10 + "old,Rome,1\n")
    refusal(strict(path), "dataset.load", "age ('old')", "city ('Oslo')", "numbers in every input column")
    path = npz(tmp_path, X=np.array([["1", "b"]] * 20), y=np.repeat([0, 1], 10))
    refusal(strict(path), "dataset.load", "X[:, 1] ('b')")


def test_dates_categories_and_complex_numbers_are_not_numbers(tmp_path):
    frame = pd.DataFrame({"day": pd.date_range("2020-01-01", periods=20), "size": pd.Categorical(["1", "2"] * 10)})
    frame.assign(kind=[0, 1] * 10).to_parquet(tmp_path / "t.parquet")
    refusal(strict(tmp_path / "t.parquet"), "dataset.load", "day ('2020-01-01", "size ('1')")
    path = npz(tmp_path, X=np.ones((20, 1)) * 1j, y=np.repeat([0, 1], 10))
    refusal(strict(path), "dataset.load", "numbers in every input column", "1j")


def test_shapes_that_are_no_table(tmp_path):
    y = np.repeat([0, 1], 10)
    for X in (np.ones(20), np.ones((20, 2, 2)), np.ones((20, 0)), np.ones(())):
        refusal(file_config(npz(tmp_path, X=X, y=y)), "dataset.load", "(examples, inputs)", f"X of shape {X.shape}")
    for labels in (np.ones((20, 2, 2)), np.ones(())):
        refusal(file_config(npz(tmp_path, X=np.ones((20, 2)), y=labels)), "dataset.load", f"y of shape {labels.shape}")
    refusal(file_config(npz(tmp_path, X=np.ones((19, 2)), y=y)), "dataset.load", "19 examples, 20 targets")
    refusal(file_config(npz(tmp_path, X=np.ones((0, 2)), y=y[:0])), "dataset.load", "0 examples, 0 targets")


def test_one_class(tmp_path):
    path = csv(tmp_path, "x,kind\n" + "1,cat\n2,cat\n" * 10)
    refusal(file_config(path), "dataset", "at least 2 classes", "cat")


def test_classification_of_continuous_targets(tmp_path):
    path = csv(tmp_path, "x,price\n" + "1,2.5\n2,3\n" * 10)
    refusal(file_config(path), "dataset.task", "regression", "2.5", "'classification'")
    path = npz(tmp_path, X=np.ones((20, 1)), y=np.ones((20, 2)))
    refusal(file_config(path), "dataset.task", "regression", "2 target columns")


def test_regression_on_text(tmp_path):
    path = csv(tmp_path, "x,price\n" + "1,2.5\n2,dear\n" * 10)
    refusal(file_config(path, "regression"), "dataset.task", "classification", "'price' holds 'dear'", "'regression'")


def test_a_constant_regression_target(tmp_path):
    path = csv(tmp_path, "x,price\n" + "1,3\n2,3\n" * 10)
    refusal(file_config(path, "regression"), "dataset.load", "varies", "price")
    y = np.column_stack([np.arange(20.0), np.full(20, 4.0)])
    refusal(file_config(npz(tmp_path, X=y, y=y), "regression"), "dataset.load", "varies", "y[:, 1]")


def test_a_class_with_too_few_members(tmp_path):
    path = csv(tmp_path, "x,kind\n" + "1,cat\n2,dog\n" * 15 + "3,yak\n" * 9)
    refusal(file_config(path), "dataset", "at least 10 examples of every class", "9 of class 'yak'", "39 examples")
    options = file_config(path)
    options.validation_fraction = options.test_fraction = 0.2
    assert load(options).class_names == ("cat", "dog", "yak")


def test_too_few_examples(tmp_path):
    X, y = np.arange(10.0).reshape(10, 1), np.arange(10) + 0.5
    refusal(file_config(npz(tmp_path, X=X, y=y), "regression"), "dataset", "10 examples: 8 / 1 / 1", "at least 2")
    refusal(file_config(npz(tmp_path, X=X[:1], y=[0])), "dataset", "at least 2 classes")
    refusal(file_config(npz(tmp_path, X=X[:2], y=[0, 1])), "dataset", "1 of class '0'", "2 examples")


def test_a_split_with_other_fractions_refuses_too():
    with pytest.raises(ConfigError, match="at least 100 examples of every class"):
        split(load(from_conf("iris")), 0.01, 0.01, SEED, "float64")


# Loaders.


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "sklearn.datasets.os.system",
        "sklearn.datasets._base.load_iris",
        "sklearn.datasets.clear_data_home",
        "sklearn.datasets.get_data_home",
        "sklearn.linear_model.load_iris",
        "sklearn.datasets.load_iris.__globals__",
        "harness.data.files.open",
        "harness.data.files.np.load",
        "harness.data.files",
        "load_iris",
        "",
        None,
        3,
    ],
)
def test_only_dataset_functions_are_called(target):
    allowed = "sklearn.datasets.load_*", "harness.data.files.read_file"
    refusal(config(target), "dataset.load._target_", *allowed, repr(target))


@pytest.mark.parametrize("target", ["sklearn.datasets.load_boston", "sklearn.datasets.make_nothing"])
def test_functions_that_do_not_exist(target):
    refusal(config(target), "dataset.load._target_", "which return (X, y)", target)


def test_a_target_is_needed():
    refusal(DatasetConfig("mine", "classification", {}, 0.1, 0.1, False), "dataset.load._target_", "None")


@pytest.mark.parametrize(
    ("name", "arguments", "content"),
    [
        ("moons", {"n_samples": -1}, "'n_samples' parameter of make_moons"),
        ("moons", {"n_samples": "many"}, "'n_samples' parameter of make_moons"),
        ("moons", {"n_samples": 10**14}, "MemoryError"),
        ("classification", {"n_informative": 40}, "ValueError"),
        ("file", {"path": 3}, "TypeError"),
    ],
)
def test_bad_arguments(name, arguments, content):
    options = from_conf(name, **arguments)
    refusal(options, "dataset.load", "arguments that", options.load["_target_"], content)


@pytest.mark.parametrize(
    ("name", "arguments", "content"),
    [("moons", {"n_sample": 10}, "n_samples, noise"), ("file", {"path": "x.csv", "separator": ";"}, "path, target")],
)
def test_unknown_arguments(name, arguments, content):
    unknown = list(arguments)[-1]
    options = from_conf(name, **arguments)
    refusal(options, f"dataset.load.{unknown}", options.load["_target_"], "may be given", content)


def test_mandatory_values():
    refusal(from_conf("openml"), "dataset.load.name", "no default", "???")
    refusal(from_conf("file"), "dataset.load.path", "no default", "???")


@pytest.mark.parametrize(
    ("target", "arguments"),
    [
        ("make_blobs", {"return_centers": True}),
        ("make_regression", {"coef": True}),
        ("make_spd_matrix", {"n_dim": 3}),
        ("load_sample_images", {}),
    ],
)
def test_functions_that_return_something_else(target, arguments):
    refusal(config(f"sklearn.datasets.{target}", **arguments), "dataset.load._target_", "(X, y)")


def test_sparse_inputs():
    options = config("sklearn.datasets.make_multilabel_classification", sparse=True)
    refusal(options, "dataset.load", "a dense X")


def test_several_labels_per_example():
    refusal(config("sklearn.datasets.make_multilabel_classification"), "dataset.task", "5 target columns")
    ragged = config("sklearn.datasets.make_multilabel_classification", return_indicator=False)
    refusal(ragged, "dataset.load", "y as an array")


def test_generators_of_numbers():
    dataset = load(config("sklearn.datasets.make_friedman1", "regression", n_samples=50, random_state=0))
    assert dataset.X.shape == (50, 10)
    assert loss_for(dataset) == "half_squared_error"
    refusal(config("sklearn.datasets.make_friedman1", n_samples=50, random_state=0), "dataset.task", "regression")


# Downloads.


@pytest.fixture
def data_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path))
    return tmp_path


@pytest.fixture
def no_network(monkeypatch):
    def fail(*args, **kwargs):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    monkeypatch.setenv("no_proxy", "*")  # a proxy could be reached without asking for a name


@pytest.mark.parametrize(
    ("name", "arguments"), [("california_housing", {}), ("covtype", {}), ("openml", {"name": "mnist_784"})]
)
def test_a_download_without_a_network(no_network, data_folder, capfd, recwarn, name, arguments):
    message = refusal(
        from_conf(name, **arguments),
        "dataset.load",
        f"dataset {arguments.get('name', name)} must be downloaded",
        "no network",
        "once fetched",
        f"scikit-learn's data folder {data_folder}",
        "a bundled dataset such as digits",
        "URLError",
    )
    assert len(message) < 500
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list


@pytest.mark.parametrize(
    "error",
    [
        urllib.error.HTTPError("https://x", 503, "Service Unavailable", http.client.HTTPMessage(), None),
        urllib.error.URLError("timed out"),
        ConnectionResetError(104, "Connection reset by peer"),
        TimeoutError("timed out"),
        http.client.RemoteDisconnected("Remote end closed connection without response"),
        http.client.IncompleteRead(b"half"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_download_that_breaks_off(monkeypatch, data_folder, error):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(urllib.request, "urlopen", fail)
    options = from_conf("california_housing")
    refusal(options, "dataset.load", "must be downloaded", type(error).__name__)


def test_a_server_that_stays_silent_is_given_up_and_the_timeout_is_put_back(monkeypatch, data_folder):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        timeouts, connect = [], socket.create_connection

        def connect_to_silence(*args, **kwargs):
            timeouts.append(socket.getdefaulttimeout())
            return connect(silent.getsockname())

        monkeypatch.setattr("harness.data.datasets.SILENT_SECONDS", 0.2)
        monkeypatch.setattr(socket, "create_connection", connect_to_silence)
        options = from_conf("california_housing")
        refusal(options, "dataset.load", "must be downloaded", "timed out")
    assert timeouts == [0.2, 0.2]  # one attempt, and scikit-learn's least number of retries
    assert socket.getdefaulttimeout() is None


def test_a_download_that_is_not_wanted(data_folder):
    options = from_conf("california_housing", download_if_missing=False)
    refusal(options, "dataset.load", "Data not found")


def test_what_was_fetched_once_needs_no_network(no_network, data_folder):
    import joblib

    table = np.random.default_rng(0).uniform(1, 2, size=(40, 9))
    joblib.dump(table, data_folder / "cal_housing_py3.pkz")
    dataset = load(from_conf("california_housing"))
    assert dataset.X.shape == (40, 8)
    np.testing.assert_allclose(dataset.y, table[:, 0] / 100_000)


# What is imported when.


def loaded_after(code: str) -> set[str]:
    """Which of the heavy libraries a fresh interpreter has loaded after `code`."""
    ask = "import sys; print(*{'sklearn', 'pandas', 'pyarrow', 'scipy', 'mlflow', 'hydra'} & sys.modules.keys())"
    command = [sys.executable, "-W", "error", "-c", f"{code}\n{ask}"]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert result.stderr == ""
    return set(result.stdout.split())


def test_importing_the_module_loads_nothing_heavy():
    assert loaded_after("import harness.data.datasets") == set()


def test_a_bad_file_is_refused_without_scikit_learn(tmp_path):
    path = csv(tmp_path, "a,b\n1,\n2,3\n")
    code = f"""
from harness.data.datasets import ConfigError, DatasetConfig, load
source = {{"_target_": "harness.data.files.read_file", "path": {str(path)!r}}}
try:
    load(DatasetConfig("mine", "regression", source, 0.1, 0.1, False, "strict"))
except ConfigError as error:
    assert "b (1 of 2)" in str(error), error
else:
    raise AssertionError
"""
    assert loaded_after(code) <= {"pandas", "pyarrow"}
