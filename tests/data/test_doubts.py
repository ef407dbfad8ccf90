"""Warnings of inputs that give the target away and of columns that name the rows: told where it is so, nowhere else."""

import re
import shlex
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from sklearn.datasets import load_diabetes, load_digits, load_iris, load_wine

from harness.config import DatasetConfig
from harness.data import Dataset, in_memory, load
from harness.data.columns import Doubt

N = 120
RNG = np.random.default_rng(3)
KIND = np.array(["ant", "bee", "cat"])[RNG.integers(3, size=N)]
NUMBERS = {"a": RNG.normal(size=N), "b": RNG.normal(size=N)}
BITS = {f"bit{i}": RNG.integers(2, size=N) for i in range(5)}


def doubts(dataset: Dataset) -> list[str]:
    return [note for note in dataset.notes if isinstance(note, Doubt)]


def from_file(folder: Any, table: pd.DataFrame, *words: str) -> Dataset:
    """The table as a CSV file, read with these words of a command line."""
    table.to_csv(folder / "table.csv", index=False)
    source: dict[str, Any] = {"_target_": "harness.data.files.read_file", "path": str(folder / "table.csv")}
    for word in words:
        override = OverridesParser.create().parse_override(word)
        source[override.key_or_group.removeprefix("dataset.load.")] = override.value()
    return load(replace(DatasetConfig("file", None, source, 0.1, 0.1, False)))


def one_hot(prefix: str) -> dict[str, Any]:
    return {f"{prefix}{name}": (name == KIND).astype(int) for name in ("ant", "bee", "cat")}


TABLES: dict[str, tuple[dict[str, Any], str]] = {
    "a code of the classes": ({"code": np.unique(KIND, return_inverse=True)[1], "kind": KIND}, "'code' holds"),
    "a text of the classes": ({"word": np.char.upper(KIND), "kind": KIND}, "'word' holds"),
    "two classes turned": ({"no": 1 - BITS["bit0"], "y": BITS["bit0"]}, "'no' holds"),
    "indicators of classes": (one_hot("is ") | {"kind": KIND}, "each of 'is ant', 'is bee', 'is cat' tells"),
    "a copy": ({"copy": NUMBERS["a"], "y": NUMBERS["a"]}, "'copy' holds the target 'y'"),
    "another unit": ({"fahrenheit": np.round(1.8 * NUMBERS["a"] + 32, 4), "y": NUMBERS["a"]}, "'fahrenheit' holds"),
    "minus": ({"minus": -NUMBERS["a"], "y": NUMBERS["a"]}, "'minus' holds"),
    "one-hot": (one_hot("k="), "'k=ant', 'k=bee' and the target 'k=cat' are one-hot"),
    "one-hot of truth values": ({k: v == 1 for k, v in one_hot("k ").items()}, "'k ant', 'k bee' and the target"),
    "numbers of rows": ({"id": np.arange(1, N + 1), "kind": KIND}, "'id' numbers the rows"),
    "names of rows": ({"id": [f"C{i}" for i in range(N)], "kind": KIND}, "the texts of 'id' all differ"),
}


@pytest.mark.parametrize("what", TABLES)
def test_it_is_told_and_the_key_that_is_named_ends_it(tmp_path, what):
    columns, told = TABLES[what]
    table = pd.DataFrame({"x": NUMBERS["b"], "z": NUMBERS["b"] ** 2} | columns)
    (doubt,) = doubts(from_file(tmp_path, table))
    assert doubt.startswith(told)
    assert any(note.startswith(told) for note in doubts(in_memory(table))) or what == "numbers of rows"
    keys = [
        shlex.split(found)[0] for found in re.findall(r"""(['"]dataset\.load\..*?['"]) (?:leaves|predicts)""", doubt)
    ]
    for key in keys:
        assert doubts(from_file(tmp_path, table, key)) == []
    assert len(keys) == (2 if "one-hot" in what else 1)


def test_one_hot_columns_are_found_whichever_of_them_is_the_target(tmp_path):
    table = pd.DataFrame(NUMBERS | one_hot("k") | BITS)
    (doubt,) = doubts(from_file(tmp_path, table, "dataset.load.target=kbee"))
    assert doubt.startswith("'kant', 'kcat' and the target 'kbee' are one-hot")
    joined = from_file(tmp_path, table, "dataset.load.target=[kant,kcat,kbee]")
    assert joined.class_names == ("kant", "kbee", "kcat")
    np.testing.assert_array_equal(np.array(joined.class_names)[joined.y], np.char.add("k", KIND))


def test_what_is_left_out_already_stays_in_the_key(tmp_path):
    table = pd.DataFrame(NUMBERS | {"id": range(N), "copy": NUMBERS["a"] * 2, "y": NUMBERS["a"]})
    told = doubts(from_file(tmp_path, table, "dataset.load.drop=[a]"))
    assert ["dataset.load.drop=[a,id]" in note for note in told] == [True, False]
    assert "dataset.load.drop=[a,copy]" in told[1]


@pytest.mark.parametrize("first", [0, 1])
def test_a_column_that_numbers_the_rows_is_told(tmp_path, first):
    table = pd.DataFrame(NUMBERS | {"id": np.arange(first, N + first), "kind": KIND})
    assert doubts(from_file(tmp_path, table)) == ["'id' numbers the rows: 'dataset.load.drop=[id]' leaves it out"]
    assert doubts(from_file(tmp_path, table.assign(id=table["id"] + 2))) == []
    assert doubts(from_file(tmp_path, table.assign(id=table["id"].iloc[::-1].to_numpy()))) == []


def test_a_column_that_numbers_the_rows_that_are_left_is_told(tmp_path):
    table = pd.DataFrame(
        {"x": np.tile(NUMBERS["a"], 2), "id": np.tile(np.arange(N) + 1, 2), "y": np.append(KIND, [""] * N)}
    )
    table.to_csv(tmp_path / "table.csv", index=False)
    source = {"_target_": "harness.data.files.read_file", "path": str(tmp_path / "table.csv")}
    dataset = load(DatasetConfig("file", None, source, 0.1, 0.1, False, missing_targets="drop"))
    assert doubts(dataset) == ["'id' numbers the rows: 'dataset.load.drop=[id]' leaves it out"]


def test_a_target_that_numbers_the_rows_is_told(tmp_path):
    table = pd.DataFrame(NUMBERS | {"id": np.arange(5, N + 5)})
    assert doubts(from_file(tmp_path, table)) == [
        "the target 'id' numbers the rows: is it the right one? (dataset.load.target=NAME takes another)"
    ]


@pytest.mark.parametrize("source", [load_iris, load_wine, load_digits, load_diabetes])
def test_nothing_is_told_of_good_data(source):
    assert doubts(in_memory(source(as_frame=True).frame, task="regression" if source is load_diabetes else None)) == []


@pytest.mark.parametrize("target", [KIND, BITS["bit0"], NUMBERS["a"], BITS["bit0"] + BITS["bit1"]])
def test_nothing_is_told_of_independent_columns(target):
    apart = RNG.permutation(KIND)
    others = {f"is {name}": (name == apart) for name in ("ant", "bee", "cat")}
    table = pd.DataFrame(
        BITS | NUMBERS | others | {"with gaps": np.where(BITS["bit1"] == 0, np.nan, 1.0), "text": apart}
    )
    table = table.drop(columns=["a", "bit0"])
    assert doubts(in_memory((table, target), "regression" if target is NUMBERS["a"] else "classification")) == []


def test_correlated_inputs_are_no_copies():
    noisy = NUMBERS["a"] + 0.01 * NUMBERS["b"]
    assert doubts(in_memory((pd.DataFrame({"x": noisy}), NUMBERS["a"]), "regression")) == []
