"""Tables of text, gaps, truth values and dates against scikit-learn and pandas by hand.

The hand-made pipeline takes the table itself, with its texts; the harness a matrix of places among sorted levels. They
share the rows of each part and nothing else.
"""

import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from harness.config.schema import ConfigError, DatasetConfig
from harness.data.checks import Dataset
from harness.data.datasets import in_memory, load
from harness.data.inputs import TableOptions, prepared_width
from harness.data.parts import check_parts
from harness.data.preparation import column_table
from harness.data.splits import Splits, n_inputs_of
from tests.splits import split

SEED = np.random.SeedSequence(7)
N = 120
TEXT = ["ant", "bee", "Cat", "dog,", 'e"gg', "fly ", "gnu", "hen", "Ibis", "jay", "ключ", ""]


def labels(n: int = N) -> np.ndarray:
    return np.tile(["no", "yes"], n // 2)


def numbers(rng: np.random.Generator, n: int = N) -> np.ndarray:
    return rng.normal(5, 3, n)


def texts(rng: np.random.Generator, n_levels: int, n: int = N) -> np.ndarray:
    return np.array(TEXT[:n_levels], dtype=object)[rng.integers(n_levels, size=n)]


def with_gaps(values: Any, rng: np.random.Generator, share: float = 0.2) -> pd.Series:
    return pd.Series(values).mask(rng.random(len(values)) < share)


def by_hand(table: pd.DataFrame, train: np.ndarray, most: int = 20) -> ColumnTransformer:
    """What scikit-learn's documentation does with such a table; columns in the order of the harness."""
    gaps = [name for name in table if table[name].isna().any()]
    text = [name for name in table if table[name].dtype == object or (table[name].dtype == "boolean" and name in gaps)]
    filled = [name for name in gaps if name not in text]
    complete = [name for name in table if name not in text and name not in filled]
    levels = {name: sorted(table[name].dropna().unique()) for name in text}
    few, many = ([name for name in text if (len(levels[name]) > most) is is_many] for is_many in (False, True))

    def encoded(names: list[str], most: int | None) -> Any:
        fill = SimpleImputer(strategy="most_frequent", missing_values=None)
        own = [np.array(levels[name], object) for name in names]
        encoder = OneHotEncoder(categories=own, drop="if_binary", max_categories=most, sparse_output=False)
        return make_pipeline(fill, encoder, StandardScaler())

    if not gaps and all(len(levels[name]) == 2 for name in text):  # one input for each column, in their order
        each = [(name, encoded([name], None) if name in text else StandardScaler(), [name]) for name in table]
        return ColumnTransformer(each).fit(plain(table).iloc[train])
    transformer = ColumnTransformer(
        [
            ("complete", StandardScaler(), complete),
            ("filled", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), filled),
            ("few", encoded(few, None), few),
            ("many", encoded(many, most), many),
            ("gaps", make_pipeline(FunctionTransformer(lambda own: own.isna().astype(float)), StandardScaler()), gaps),
        ]
    )
    return transformer.fit(plain(table).iloc[train])


def plain(table: pd.DataFrame) -> pd.DataFrame:
    """Missing values as None in text, dates as days."""
    found = {}
    for name, column in table.items():
        if column.dtype.kind == "M":
            found[name] = (column - pd.Timestamp("1970-01-01")) / pd.Timedelta(days=1)
        elif column.dtype in (object, "boolean"):
            found[name] = column.astype(object).where(column.notna(), None)
        else:
            found[name] = column
    return pd.DataFrame(found)


def parts(dataset: Dataset, splits: Splits) -> list[np.ndarray]:
    """The rows of the three parts, from the split of a table that holds the row number."""
    rows = np.arange(len(dataset.y), dtype=float)
    twin = Dataset("rows", dataset.task, rows[:, None], dataset.y, dataset.class_names, "")
    scaler = (other := split(twin, 0.1, 0.1, SEED, "float64")).transformer
    found = [
        np.rint(part.X[:, 0] * scaler.scale_ + scaler.mean_).astype(int)
        for part in (other.train, other.validation, other.test)
    ]
    assert np.array_equal(found[0], splits.rows)
    return found


def table_of(kind: str) -> pd.DataFrame:
    rng = np.random.default_rng(5)
    days = pd.Series(pd.date_range("2021-03-01 06:00", periods=N, freq="7h")).dt.as_unit("ns")
    made = {
        "two texts": {"x": numbers(rng), "t": texts(rng, 2)},
        "three texts": {"x": numbers(rng), "t": texts(rng, 3)},
        "two columns of text": {"t": texts(rng, 3), "x": numbers(rng), "u": texts(rng, 5)},
        "gaps in numbers": {"x": with_gaps(numbers(rng), rng), "z": numbers(rng)},
        "gaps everywhere": {"x": with_gaps(numbers(rng), rng), "t": with_gaps(texts(rng, 4), rng)},
        "gaps in two texts": {"t": with_gaps(texts(rng, 2), rng), "x": numbers(rng)},
        "only text": {"t": texts(rng, 6)},
        "truth values": {"b": rng.random(N) < 0.3, "x": numbers(rng), "t": texts(rng, 3)},
        "truth values with gaps": {"b": with_gaps(rng.random(N) < 0.3, rng).astype("boolean"), "x": numbers(rng)},
        "dates": {"d": days, "x": numbers(rng), "t": texts(rng, 3)},
        "dates with gaps": {"d": with_gaps(days, rng), "x": numbers(rng)},
        "integers with gaps": {"i": with_gaps(rng.integers(9, size=N), rng), "x": numbers(rng), "t": texts(rng, 2)},
        "all kinds": {
            "d": with_gaps(days, rng),
            "t": with_gaps(texts(rng, 7), rng),
            "b": rng.random(N) < 0.5,
            "x": with_gaps(numbers(rng), rng),
            "z": rng.integers(4, size=N),
            "u": texts(rng, 2),
        },
        "a gap in one row": {"x": pd.Series(numbers(rng)).where(np.arange(N) != 3), "t": texts(rng, 12)},
    }[kind]
    table = pd.DataFrame(made)
    return table.astype({name: object for name in ("t", "u") if name in table})


KINDS = [
    *("two texts", "three texts", "two columns of text", "gaps in numbers", "gaps everywhere", "gaps in two texts"),
    *("only text", "truth values", "truth values with gaps", "dates", "dates with gaps", "integers with gaps"),
    *("all kinds", "a gap in one row"),
]


def check_against_hand(table: pd.DataFrame, most: int) -> None:
    dataset = in_memory((table, labels(len(table))), options=TableOptions(max_categories=most))
    splits = split(dataset, 0.1, 0.1, SEED, "float64")
    rows = parts(dataset, splits)
    transformer = by_hand(table, rows[0], most)
    assert n_inputs_of(dataset) == splits.train.X.shape[1]
    for part, own in zip((splits.train, splits.validation, splits.test), rows, strict=True):
        np.testing.assert_allclose(part.X, transformer.transform(plain(table).iloc[own]), rtol=1e-12, atol=1e-12)


@pytest.mark.sample(14)
@pytest.mark.parametrize("most", [20, 4, 3, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_a_mixed_table_is_what_scikit_learn_makes_of_it_by_hand(kind, most):
    check_against_hand(table_of(kind), most)


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(st.data())
def test_any_mixed_table_is_what_scikit_learn_makes_of_it_by_hand(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    columns: dict[str, Any] = {}
    for i in range(data.draw(st.integers(1, 5))):
        kind = data.draw(st.sampled_from(["number", "text", "truth", "date"]))
        values: Any = {
            "number": lambda: numbers(rng) * 10.0 ** data.draw(st.integers(-6, 6)),
            "text": lambda: texts(rng, data.draw(st.integers(2, 12))),
            "truth": lambda: rng.random(N) < 0.5,
            "date": lambda: pd.Series(pd.to_datetime(rng.integers(0, 20_000, N), unit="D")),
        }[kind]()
        share = data.draw(st.sampled_from([0.0, 0.0, 0.02, 0.5]))
        columns[f"c{i}"] = with_gaps(values, rng, share)
        if kind == "text":
            columns[f"c{i}"] = columns[f"c{i}"].astype(object)
        elif kind == "truth" and columns[f"c{i}"].isna().any():
            columns[f"c{i}"] = columns[f"c{i}"].astype("boolean")
        elif kind == "truth":
            columns[f"c{i}"] = columns[f"c{i}"].astype(bool)
    check_against_hand(pd.DataFrame(columns), data.draw(st.integers(2, 13)))


@pytest.mark.parametrize("kind", KINDS)
def test_no_row_that_is_held_out_moves_a_number_of_the_training_part(kind):
    """All values of held-out rows are replaced, by others of the same levels."""
    table = table_of(kind)
    dataset = in_memory((table, labels()))
    before = split(dataset, 0.1, 0.1, SEED, "float64")
    held_out = np.setdiff1d(np.arange(N), before.rows)
    dataset.X[held_out] = dataset.X[before.rows[: len(held_out)]] + [0 if c.levels else 1e6 for c in dataset.columns]
    after = split(dataset, 0.1, 0.1, SEED, "float64")
    assert before.train.X.tobytes() == after.train.X.tobytes()
    assert before.test.X.tobytes() != after.test.X.tobytes()
    tables = [column_table(dataset.columns, one.transformer) for one in (before, after)]
    pd.testing.assert_frame_equal(*tables)


def test_every_split_has_the_same_width_also_without_some_levels():
    """Levels of one row each are absent from most training parts; a column with one value is absent from many, too."""
    rng = np.random.default_rng(0)
    rare = np.array(["common"] * N, object)
    rare[:25] = [f"rare {i}" for i in range(25)]
    table = pd.DataFrame(
        {"rare": rare, "gaps": [1.0] + [None] * (N - 1), "x": numbers(rng), "t": [None] * 118 + ["a", "b"]}
    )
    dataset = in_memory((table, labels()), options=TableOptions(max_categories=9))
    drawn = [split(dataset, 0.2, 0.3, np.random.SeedSequence(s), "float64") for s in range(20)]
    assert {part.X.shape[1] for one in drawn for part in (one.train, one.validation, one.test)} == {9 + 2 + 1 + 2}
    assert n_inputs_of(dataset) == prepared_width(dataset.columns) == 14
    assert all(np.isfinite(part.X).all() for one in drawn for part in (one.train, one.validation, one.test))


def test_the_table_of_the_columns_says_what_was_done_and_what_was_learned():
    table = table_of("all kinds").assign(const=3, void=None)
    dataset = in_memory((table, labels()), options=TableOptions(max_categories=4))
    splits = split(dataset, 0.1, 0.1, SEED, "float64")
    said = column_table(dataset.columns, splits.transformer).set_index("column")
    train = plain(table).iloc[splits.rows]
    assert said["kind"].to_dict() == {
        "d": "date",
        "t": "category",
        "b": "yes/no",
        "x": "number",
        "z": "number",
        "u": "category",
        "const": "constant",
        "void": "empty",
    }
    assert said.loc["x", "filled_with"] == train["x"].median()
    assert said.loc["t", "filled_with"] == train["t"].mode()[0]
    assert said.loc["z", "mean"] == pytest.approx(train["z"].mean())
    assert said.loc["x", "standard_deviation"] == pytest.approx(train["x"].fillna(train["x"].median()).std(ddof=0))
    own = json.loads(said.loc["t", "levels"])
    assert own[-1] == "other"
    filled = train["t"].fillna(said.loc["t", "filled_with"])
    assert set(own[:-1]) <= set(filled.value_counts().index[:4])
    assert said.loc["const", "done"] == "left out: all rows hold the same value"
    assert said.loc["void", "missing"] == N
    places = [int(i) for text in said["inputs"].dropna() for i in _places(text)]
    assert sorted(places) == list(range(n_inputs_of(dataset)))
    value, gap = map(int, said.loc["x", "inputs"].split(", "))
    standardised = (train["x"].fillna(train["x"].median()) - said.loc["x", "mean"]) / said.loc[
        "x", "standard_deviation"
    ]
    np.testing.assert_allclose(splits.train.X[:, value], standardised, atol=1e-12)
    assert np.array_equal(splits.train.X[:, gap] > 0, train["x"].isna())


def _places(text: str) -> list[int]:
    spans = [list(map(int, span.split("-"))) for span in text.split(", ")]
    return [i for span in spans for i in range(span[0], span[-1] + 1)]


# What columns are.


def test_integers_beyond_float64_keep_their_differences():
    ids = 10**18 + np.arange(N) * 3
    dataset = in_memory((pd.DataFrame({"id": ids, "x": np.arange(N) % 7}), labels()))
    np.testing.assert_array_equal(dataset.X[:, 0], np.arange(N) * 3.0)
    assert any("'id'" in note and "counted from their smallest" in note for note in dataset.notes)
    huge = [10**30 + i for i in range(N)]
    gap = pd.array([None, *(2**63 - 1 - i for i in range(N - 1))], dtype="Int64")
    dataset = in_memory((pd.DataFrame({"id": pd.Series(huge, dtype=object), "gap": gap}), labels()))
    np.testing.assert_array_equal(dataset.X[:, 0], np.arange(float(N)))
    np.testing.assert_array_equal(dataset.X[1:, 1], np.arange(N - 2.0, -1, -1))
    both = in_memory((pd.DataFrame({"i": np.array([-(2**63), 2**63 - 1] * (N // 2)), "x": range(N)}), labels()))
    np.testing.assert_array_equal(both.X[:, 0], [0, float(2**64 - 1)] * (N // 2))


def test_values_that_float64_confuses_are_no_constant():
    column = np.array([2**64 - 1 - i for i in range(N)], dtype=np.uint64)
    assert in_memory((pd.DataFrame({"u": column}), labels())).columns[0].kind == "number"


def test_text_that_is_no_unicode_and_dates_beyond_nanoseconds():
    far = np.array(["9999-12-31", "0001-01-01"] * (N // 2), dtype="datetime64[s]")
    table = pd.DataFrame({"t": pd.Series(["\ud800", "b"] * (N // 2), dtype=object), "far": far})
    dataset = in_memory((table, labels()))
    assert dataset.columns[0].levels == ("b", "\ud800")
    assert list(dataset.X[:2, 1]) == [2932896, -719162]
    found = split(dataset, 0.1, 0.1, SEED, "float64")
    assert len(column_table(dataset.columns, found.transformer)) == 2


def test_large_targets_keep_their_differences():
    dataset = in_memory((pd.DataFrame({"x": range(N)}), 10**18 + np.arange(N)), task="regression")
    np.testing.assert_array_equal(dataset.y, np.arange(float(N)))
    assert "counted from their smallest" in " ".join(dataset.notes)


def test_values_that_pandas_holds_as_objects():
    from datetime import date, datetime, timedelta, timezone
    from decimal import Decimal

    eastern = timezone(timedelta(hours=-5))
    table = pd.DataFrame(
        {
            "decimal": [Decimal(i) / 4 for i in range(N)],
            "day": [date(1970 + i, 1, 1) for i in range(N)],
            "far": [date(9999, 12, 31), *[date(1, 1, 1)] * (N - 1)],
            "time": [datetime(1970, 1, 1, 19, tzinfo=eastern) + timedelta(days=i) for i in range(N)],
            "truth": [None, *[True, False] * (N // 2 - 1), True],
            "bytes": [b"a", b"b"] * (N // 2),
            "mixed": [1, "x"] * (N // 2),
            "lasts": pd.to_timedelta(range(N), unit="h"),
            "month": pd.period_range("2000-01", periods=N, freq="M"),
        }
    )
    dataset = in_memory((table, labels()))
    kinds = {column.name: column.kind for column in dataset.columns}
    assert kinds == {
        "decimal": "number",
        "day": "date",
        "far": "date",
        "time": "date",
        "truth": "yes/no",
        "bytes": "category",
        "mixed": "category",
        "lasts": "duration",
        "month": "date",
    }
    values = dict(zip(kinds, dataset.X.T, strict=True))
    np.testing.assert_array_equal(values["decimal"], np.arange(N) / 4)
    assert list(values["day"][:3]) == [0, 365, 730]
    assert list(values["far"][:2]) == [2932896, -719162]
    assert list(values["time"][:2]) == [1, 2]
    assert np.isnan(values["truth"][0])
    np.testing.assert_allclose(values["lasts"], np.arange(N) / 24)
    assert list(values["month"][:2]) == [10957, 10988]
    assert next(c for c in dataset.columns if c.name == "mixed").levels == ("1", "x")


@pytest.mark.parametrize("dtype", ["category", "string", "object", "str"])
def test_text_is_text_whatever_holds_it(dtype):
    rng = np.random.default_rng(1)
    table = pd.DataFrame({"t": with_gaps(texts(rng, 5), rng).astype(object), "x": numbers(rng)})
    expected = in_memory((table, labels()))
    table["t"] = table["t"].where(table["t"].notna(), None).astype(dtype)
    found = in_memory((table, labels()))
    if dtype == "str" and pd.__version__.startswith("2"):
        pytest.skip("pandas 2 makes text of a missing value")
    assert found.columns == expected.columns
    assert found.digest == expected.digest


def test_nested_values_and_complex_numbers_are_refused():
    for value in ([1, 2], {"a": 1}, np.zeros(2), 1j):
        table = pd.DataFrame({"x": range(N), "bad": pd.Series([value] * N)})
        with pytest.raises(ConfigError, match=r"dataset.load: expected numbers, text, .* in column 'bad'"):
            in_memory((table, labels()))


def test_infinite_values_are_gaps_and_said_to_be():
    table = pd.DataFrame({"x": [np.inf, -np.inf, 1e200, np.nan, *range(N - 4)], "z": range(N)})
    dataset = in_memory((table, labels()))
    assert np.isnan(dataset.X[:4, 0]).all()
    assert dataset.columns[0].n_missing == 4
    assert "infinite or beyond 1e+100, taken as missing: 'x' (3)" in dataset.notes
    assert np.isinf(table["x"].iloc[0])  # the table of the program is as it was


def test_an_array_of_text_holds_numbers_where_all_of_a_column_reads_as_such():
    array = np.array([[str(i / 2), "ab"[i % 2], "nan" if i == 3 else str(i)] for i in range(N)])
    dataset = in_memory((array, labels()))
    assert [column.kind for column in dataset.columns] == ["number", "category", "number"]
    np.testing.assert_array_equal(dataset.X[:, 0], np.arange(N) / 2)
    assert dataset.columns[2].n_missing == 1


def test_constant_columns_are_left_out_of_a_table_and_stay_in_an_array():
    """Of an array too little is known, and scikit-learn's digits have constant pixels."""
    table = pd.DataFrame({"x": range(N), "one": 1.0, "text": "a", "none": None, "gaps": [1.0, None] * (N // 2)})
    dataset = in_memory((table, labels()))
    assert [column.kind for column in dataset.columns] == ["number", "constant", "constant", "empty", "number"]
    assert dataset.X.shape == (N, 2)
    array = in_memory((table[["x", "one"]].to_numpy(), labels()))
    assert array.X.shape == (N, 2)
    with pytest.raises(ConfigError, match="an input column whose values differ"):
        in_memory((table[["one", "text"]], labels()))


def test_the_digest_sees_a_decision_and_complete_numbers_need_none():
    rng = np.random.default_rng(2)
    table = pd.DataFrame({"t": texts(rng, 6), "x": numbers(rng)})
    digests = [in_memory((table, labels()), options=TableOptions(max_categories=most)).digest for most in (20, 3, 3)]
    assert digests[0] != digests[1] == digests[2]
    renamed = in_memory((table.replace({"t": {"ant": "ape"}}), labels()))
    assert renamed.digest != digests[0]
    plain_numbers = in_memory((table[["x"]], labels())).digest
    assert plain_numbers == in_memory((table[["x"]].to_numpy(), labels())).digest
    strict = in_memory((table[["x"]], labels()), options=TableOptions(prepare="strict"))
    assert plain_numbers == strict.digest


def test_notes_name_columns_in_quotes_and_the_key_that_changes_the_outcome(tmp_path):
    table = pd.DataFrame(
        {
            "name": [f"P {i}" for i in range(N)],
            " sex": ["f", "m"] * 60,
            "age": with_gaps(range(N), np.random.default_rng(0)),
        }
    )
    dataset = in_memory((table, labels()))
    text = "\n".join(dataset.notes)
    assert "dataset.max_categories=20" in text
    assert "'name' (120)" in text
    assert "' sex' (2)" in text
    assert f"'age' ({table['age'].isna().sum()} of 120)" in text
    assert all("\n" not in note and len(note) < 420 for note in dataset.notes)


def test_a_wide_table_answers_and_a_table_that_does_not_fit_is_refused(monkeypatch):
    wide = pd.DataFrame(np.random.default_rng(0).normal(size=(30, 50_000)), columns=[f"c{i}" for i in range(50_000)])
    assert in_memory((wide, ["a", "b"] * 15)).X.shape == (30, 50_000)
    monkeypatch.setattr("os.sysconf", lambda name: 4096 if name == "SC_PAGE_SIZE" else 10)
    table = pd.DataFrame({"t": [f"{i}" for i in range(N)], "x": range(N)})
    with pytest.raises(ConfigError, match=r"dataset.max_categories: expected fewer inputs"):
        in_memory((table, labels()))
    assert in_memory((table, labels()), options=TableOptions(max_categories=2)).X.shape == (N, 2)


# Targets.


def from_file(folder: Any, text: str, /, **keys: Any) -> Dataset:
    (folder / "data.csv").write_text(text, encoding="utf-8")
    source = {"_target_": "harness.data.files.read_file", "path": str(folder / "data.csv")}
    return load(replace(DatasetConfig("file", None, source, 0.1, 0.1, False), **keys))


def rows(*values: str, times: int = 20) -> str:
    return "x,kind\n" + "".join(f"{i},{value}\n" for i, value in enumerate(values * times))


@pytest.mark.parametrize(
    ("values", "task", "said"),
    [
        (("cat", "dog"), "classification", "2 classes in 'kind'"),
        (("3", "4", "5"), "classification", "3 classes in 'kind' (dataset.task=regression predicts the number)"),
        (("0.0", "1.0"), "classification", "2 classes in 'kind' (dataset.task=regression"),
        (("0.5", "1.5"), "regression", "numbers in 'kind': a regression"),
        (tuple(map(str, range(60))), "regression", "a regression (dataset.task=classification makes classes of its 60"),
    ],
)
def test_a_file_without_a_task_gets_one_and_says_which(tmp_path, values, task, said):
    dataset = from_file(tmp_path, rows(*values))
    assert dataset.task == task
    assert any(said in note for note in dataset.notes)
    other = {"classification": "regression", "regression": "classification"}[task]
    if "dataset.task=" in said:
        assert from_file(tmp_path, rows(*values), task=other).task == other
    assert from_file(tmp_path, rows(*values), task=task).digest == dataset.digest


def test_few_examples_of_each_whole_number_are_a_regression(tmp_path):
    assert from_file(tmp_path, rows(*map(str, range(12)), times=3)).task == "regression"


def test_whole_numbers_with_a_rare_value_are_a_regression_and_classes_by_the_keys_that_are_named(tmp_path):
    text = rows("1", "2", "3") + "7,4\n8,4\n"
    dataset = from_file(tmp_path, text)
    assert dataset.task == "regression"
    told = "(dataset.task=classification dataset.rare_classes=drop makes classes of its 4 values)"
    assert f"numbers in 'kind': a regression {told}" in dataset.notes
    assert from_file(tmp_path, text, task="classification", rare_classes="drop").class_names == ("1", "2", "3")
    assert from_file(tmp_path, text, rare_classes="drop").class_names == ("1", "2", "3")
    two = rows("1", "2", times=10) + "7,3\n"
    assert any("a regression (" in note for note in from_file(tmp_path, two).notes)
    alone = rows("1", times=30) + "7,2\n8,3\n"
    assert "numbers in 'kind': a regression" in from_file(tmp_path, alone).notes


def test_a_refusal_names_all_keys_that_are_needed(tmp_path):
    text = rows("cat", "dog") + "1,\n2,emu\n"
    with pytest.raises(ConfigError, match=r"missing_targets=drop .*; then dataset: .*dataset.rare_classes=drop leaves"):
        from_file(tmp_path, text)
    assert from_file(tmp_path, text, missing_targets="drop", rare_classes="drop").class_names == ("cat", "dog")


@pytest.mark.parametrize(
    "last", [lambda i: f"note number {i}", lambda i: "always", lambda i: "", lambda i: f"name {i}" if i else ""]
)
def test_where_the_last_column_is_no_target_one_that_is_is_named(tmp_path, last):
    text = "id,kind,x,note\n" + "".join(f"{i},{'ab'[i % 2]},{i},{last(i)}\n" for i in range(40))
    with pytest.raises(ConfigError, match=r"; dataset.load.target=kind predicts another column, got"):
        from_file(tmp_path, text)
    source = {"_target_": "harness.data.files.read_file", "path": str(tmp_path / "data.csv"), "target": "kind"}
    assert load(DatasetConfig("file", None, source, 0.1, 0.1, False)).class_names == ("a", "b")
    with pytest.raises(ConfigError) as refused:
        load(DatasetConfig("file", None, source | {"target": "note"}, 0.1, 0.1, False))
    assert "predicts another column" not in str(refused.value)


def test_a_target_with_gaps_is_named_with_the_key_that_leaves_its_rows_out(tmp_path):
    text = "x,kind,empty\n" + "".join(f"{i},{'ab'[i % 2] if i else ''},\n" for i in range(60))
    with pytest.raises(ConfigError, match=r"; dataset.load.target=kind dataset.missing_targets=drop predicts another"):
        from_file(tmp_path, text)


def test_several_targets_of_text_are_refused_by_the_key_of_the_targets(tmp_path):
    (tmp_path / "t.csv").write_text("x,y,z\n" + "1,a,2\n2,b,3\n" * 20)
    source = {"_target_": "harness.data.files.read_file", "path": str(tmp_path / "t.csv"), "target": ["y", "z"]}
    with pytest.raises(
        ConfigError, match=r"dataset.load.target: expected one column, or several of numbers \('y' holds 'a'\)"
    ):
        load(DatasetConfig("file", None, source, 0.1, 0.1, False))


def test_rows_without_a_target_are_left_out_by_the_key_that_the_refusal_names(tmp_path):
    text = rows("cat", "dog") + "7,\n8,\n"
    with pytest.raises(ConfigError, match=r"dataset.missing_targets: expected drop, .* 2 of 42 rows 'kind'"):
        from_file(tmp_path, text)
    dataset = from_file(tmp_path, text, missing_targets="drop")
    assert dataset.X.shape == (40, 1)
    assert "2 rows without a target left out" in dataset.notes
    assert dataset.digest == from_file(tmp_path, rows("cat", "dog")).digest


def test_rare_classes_are_merged_or_dropped_by_the_key_that_the_refusal_names(tmp_path):
    text = rows("cat", "dog") + "".join(f"{i},yak\n{i},emu\n" for i in range(6))
    with pytest.raises(ConfigError, match=r"dataset.rare_classes=drop leaves out .*; dataset.rare_classes=merge makes"):
        from_file(tmp_path, text)
    dropped = from_file(tmp_path, text, rare_classes="drop")
    assert (dropped.class_names, len(dropped.y)) == (("cat", "dog"), 40)
    assert "rows of rare classes left out: 'emu' (6), 'yak' (6)" in dropped.notes
    assert dropped.digest == from_file(tmp_path, rows("cat", "dog")).digest
    merged = from_file(tmp_path, text, rare_classes="merge")
    assert merged.class_names == ("cat", "dog", "other")
    np.testing.assert_array_equal(np.bincount(merged.y), [20, 20, 12])
    with pytest.raises(ConfigError, match=r"dataset.rare_classes=drop"):
        from_file(tmp_path, rows("cat", "dog") + "1,yak\n", rare_classes="merge")


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 25), min_size=2, max_size=6), st.sampled_from([0.1, 0.2, 0.3]), st.booleans())
def test_each_way_that_a_refusal_of_rare_classes_names_is_enough(counts, held_out, are_numbers):
    names = [str(k) if are_numbers else f"class {k}" for k in range(len(counts))]
    data = (pd.DataFrame({"x": range(sum(counts))}), np.repeat(names, counts))
    dataset = in_memory(data)
    ways = []
    try:
        check_parts(dataset, held_out, held_out)
    except ConfigError as refused:
        ways = re.findall(r"(dataset\.[\w.]+=[\w.]+(?: dataset\.[\w.]+=[\w.]+)?) [a-z]", str(refused))
    for way in ways:
        keys = dict(one.removeprefix("dataset.").split("=") for one in way.split())
        fractions = [float(keys.pop(f"{part}_fraction", held_out)) for part in ("validation", "test")]
        task = keys.pop("task", "classification")
        options = TableOptions(**keys, validation_fraction=fractions[0], test_fraction=fractions[1])
        targets = pd.Series(data[1]).astype(int) if task == "regression" else data[1]
        if task == "classification" or sum(counts) >= 20:
            check_parts(in_memory((data[0], targets), task, options=options), *fractions)


def test_larger_parts_that_the_refusal_names_are_enough(tmp_path):
    text = rows("cat", "dog") + "".join(f"{i},yak\n" for i in range(6))
    with pytest.raises(ConfigError, match=r"dataset.validation_fraction=0.17 dataset.test_fraction=0.17 hold out"):
        from_file(tmp_path, text)
    assert len(from_file(tmp_path, text, validation_fraction=0.17, test_fraction=0.17).class_names) == 3
    few = rows("0.5", "1.5", "2.5", times=3)
    with pytest.raises(
        ConfigError, match=r"dataset.validation_fraction=0.3 dataset.test_fraction=0.3 gives them"
    ) as refused:
        from_file(tmp_path, few)
    assert "class" not in str(refused.value)
    assert from_file(tmp_path, few, validation_fraction=0.3, test_fraction=0.3).task == "regression"


def test_classes_that_differ_in_blanks_or_capitals_are_told():
    dataset = in_memory((pd.DataFrame({"x": range(N)}), np.tile(["Yes", "yes", "no"], N // 3)))
    assert "classes whose names differ in blanks or capitals only: 'Yes' and 'yes'" in dataset.notes


def test_classes_that_differ_in_blanks_are_told_once(tmp_path):
    notes = from_file(tmp_path, rows("yes", " yes", "no")).notes
    assert [note for note in notes if "differ" in note] == [
        "classes whose names differ in blanks or capitals only: ' yes' and 'yes'"
    ]


def test_one_hot_targets_are_classes_unless_a_regression_is_asked_for():
    names = np.tile(["c", "a", "b"], N // 3)
    one_hot = pd.get_dummies(pd.Series(names))
    table = pd.concat([pd.DataFrame({"x": range(N)}), one_hot], axis="columns")
    dataset = in_memory(table, target_column=["a", "b", "c"], task="classification")
    assert dataset.class_names == ("a", "b", "c")
    np.testing.assert_array_equal(np.array(dataset.class_names)[dataset.y], names)
    assert in_memory(table, target_column=["a", "b", "c"], task="regression").y.shape == (N, 3)


def test_dates_as_targets_are_a_regression_in_days(tmp_path):
    table = pd.DataFrame({"x": range(N), "day": pd.date_range("1970-01-02", periods=N)})
    dataset = in_memory(table, task="regression")
    np.testing.assert_array_equal(dataset.y, np.arange(1.0, N + 1))
