"""What is told about a file: every note names the key that says the same, every refusal a way out; both are tried."""

import bz2
import gzip
import lzma
import os
import re
import shlex
import socket
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from harness.config import ConfigError
from harness.data import contents
from harness.data.columns import word
from harness.data.files import read_file

FILES = Path(__file__).parent / "files"
CSV = b"a,b,kind\n1,2.5,x\n3,4,y\n"
TABLE = pd.DataFrame({"a": [1, 3], "b": [2.5, 4.0], "kind": ["x", "y"]})


def refused(path: Path, **keys: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        read_file(str(path), **keys)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 700
    return message


def advised(message: str) -> dict[str, Any]:
    """The keys that a message tells to type, as a shell and Hydra read them."""
    pattern = r"""(?:"dataset\.load\.[^"]*"|'dataset\.load\.(?:[^']|'"'"')*'|dataset\.load\.\w+=[^\s'",;)]+)"""
    words = [shlex.split(found[0])[0] for found in re.finditer(pattern, message)]
    overrides = [OverridesParser.create().parse_override(word) for word in words]
    return {override.key_or_group.removeprefix("dataset.load."): override.value() for override in overrides}


def written(folder: Path, content: bytes | str, name: str = "data.csv") -> Path:
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder / name


def same(read: dict[str, Any], expected: pd.DataFrame = TABLE) -> None:
    found = pd.concat([read["data"], read["target"]], axis="columns")
    pd.testing.assert_frame_equal(found, expected, check_dtype=False)


# Words to type.


@given(st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1))
def test_any_name_can_be_typed(name):
    for value in name, [name, "other"]:
        [typed] = shlex.split(word("dataset.load.target", value))
        assert OverridesParser.create().parse_override(typed).value() in (value, *([[str(name), "other"]]))


@pytest.mark.parametrize("name", ["x.csv", "a/b_c.csv", "/tmp/x.csv", "../x.csv", "label"])
def test_a_plain_word_needs_no_quotes(name):
    assert word("dataset.load.path", name) == f"dataset.load.path={name}"


# Notes.


@pytest.mark.parametrize("path", sorted(FILES.iterdir()), ids=lambda path: path.name)
def test_the_keys_of_the_note_say_what_was_found_out(path):
    needs = {"ragged.csv": {"bad_rows": "drop"}}.get(path.name, {})
    found = read_file(str(path), **needs)
    keys = dict(re.findall(r"\((sep|decimal|header|encoding)=([^)]+)\)", found["notes"][0]))
    assert {"sep", "header"} <= set(keys)
    again = read_file(str(path), **needs, **keys)
    pd.testing.assert_frame_equal(found["data"], again["data"])
    assert found["notes"] == again["notes"]


@pytest.mark.parametrize(
    ("name", "note"),
    [
        (
            "plain.csv",
            "read as ,-separated (sep=comma), names in line 1 (header=1); dataset.load.KEY=VALUE says otherwise",
        ),
        ("plain.csv", "the target is the last column, 'kind' (dataset.load.target=NAME takes another)"),
        (
            "decimal_comma_blanks.txt",
            "read as blank-separated (sep=blanks), decimal comma (decimal=comma), no header (header=false); "
            "dataset.load.KEY=VALUE says otherwise",
        ),
        ("index.csv", "the first column has no name and numbers the rows: left out (dataset.load.drop=[] keeps it)"),
        ("row_names.txt", "the first column has no name and names the rows: left out (dataset.load.drop=[] keeps it)"),
        ("dates_ambiguous.csv", "dates (dates=%m/%d/%Y): 'day'"),
        ("dollars.csv", "'$' taken off, ',' between thousands taken off: 'price'"),
        ("thousands.csv", "',' between thousands taken off (decimal=comma reads decimals): 'b'"),
        ("titles.csv", "2 lines above the table skipped: 'A survey of 2020', 'by me'"),
        ("footer.csv", "1 lines below the table skipped: 'Source: my own measurements'"),
        ("units.csv", "line 2 skipped, as it holds units of numbers: 'mm', 'cm', ''"),
        ("times.csv", "times (dates=false keeps them text): 'at', 'took', 'alarm'"),
        ("short_rows.csv", "rows of fewer values (the first in line 3): those at their ends are missing"),
        ("gaps_word.csv", "'b' is text because of 'unknown': 'dataset.load.missing=[unknown]' makes it numbers"),
        (
            "na_is_a_class.csv",
            "2 values of the target 'country' are missing (dataset.load.missing=[] keeps texts such as NA as classes)",
        ),
    ],
)
def test_what_was_found_out_is_told(name, note):
    assert note in read_file(str(FILES / name))["notes"]


def test_a_likely_target_that_is_not_the_last_column_is_named(tmp_path):
    note = read_file(str(written(tmp_path, "label,a,b\nx,1,2\ny,3,4\n")))["notes"][1]
    assert advised(note) == {"target": "label"}


# Refusals, and the way out that each names.


@pytest.mark.parametrize(
    ("content", "keys", "contents"),
    [
        ("height, y\n1,2\n3,4\n", {"target": "y"}, ["did you mean ' y'?", "'height', ' y'"]),
        ("height,width,kind\n1,2,3\n4,5,6\n", {"target": "hieght"}, ["did you mean 'height'?"]),
        ("pH (soil),it's,k\n1,2,3\n4,5,6\n", {"target": "ph (soil)"}, ["did you mean 'pH (soil)'?"]),
        ("it's,b,k\n1,2,3\n4,5,6\n", {"target": "its"}, ['did you mean "it\'s"?']),
        ("a,b,c,k\n1,2,3,4\n4,5,6,7\n", {"drop": ["B", "a"]}, ["dataset.load.drop", "did you mean 'b'?"]),
        ("a,b,k\n1,2,3\n4,5,6\n", {"inputs": "A"}, ["dataset.load.inputs", "did you mean 'a'?"]),
        ("a,b\n1,2\n3,4,5\n6,7\n", {}, ["2 values in every row", "'3 in row 2 of the table'"]),
        ("a,b\n1,2\n3,4,5,6\n6,7\n", {}, ["2 values in every row", "'4 in line 3'"]),
        ("1 1:5 3:2 4:1\n0 2:1\n1 1:3\n", {}, ["2 values in every row"]),
        ("a,b\n1,2,3\n4,5,6\n", {}, ["as many names in the header", "2 names, 3 values"]),
    ],
)
def test_the_way_out_of_a_refusal_is_one(tmp_path, content, keys, contents):
    path = written(tmp_path, content)
    message = refused(path, **keys)
    assert [text for text in contents if text not in message] == [], message
    way_out = advised(message)
    assert way_out, message
    read_file(str(path), **{**keys, **way_out})


@pytest.mark.parametrize(
    ("keys", "contents"),
    [
        ({"sep": "xx"}, ["dataset.load.sep", "semicolon", "'xx'"]),
        ({"decimal": "1"}, ["dataset.load.decimal", "point | comma", "'1'"]),
        ({"thousands": "ab"}, ["dataset.load.thousands", "apostrophe"]),
        ({"header": 99}, ["dataset.load.header", "the last looked at 3", "99"]),
        ({"header": "first"}, ["dataset.load.header", "'first'"]),
        ({"member": "a.csv"}, ["dataset.load.member", "null"]),
        ({"target": "kind", "drop": ["kind"]}, ["dataset.load.drop", "target"]),
        ({"target": "kind", "inputs": ["kind", "a"]}, ["dataset.load.inputs", "target"]),
        ({"drop": ["a", "b", "kind"]}, ["dataset.load.drop", "leave an input"]),
        ({"target": ["a", "b", "kind"]}, ["dataset.load.target", "leave an input"]),
        ({"target": []}, ["dataset.load.target", "at least one column"]),
        ({"inputs": []}, ["dataset.load.inputs", "at least one column"]),
        ({"target": ["a", "a"]}, ["dataset.load.target", "once", "'a'"]),
    ],
)
def test_a_bad_key_is_refused_by_its_name(tmp_path, keys, contents):
    message = refused(written(tmp_path, CSV), **keys)
    assert [text for text in contents if text not in message] == [], message


def test_a_wrong_file_name_is_told_the_nearest(tmp_path):
    path = written(tmp_path, CSV, "my data.csv")
    message = refused(tmp_path / "mydata.csv")
    assert advised(message) == {"path": str(path)}


@pytest.mark.parametrize(
    ("suffix", "content", "text"),
    [
        (".csv", b"PAR1....PAR1", ".parquet"),
        (".csv", b"\x1f\x8b\x08.....", ".gz"),
        (".txt", b"PK\x03\x04....", "save it as CSV"),
        (".csv", b"%PDF-1.7", "save it as CSV"),
        (".csv", b"\n<!DOCTYPE html><html>", "a web page"),
        (".csv", b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (".xlsx", b"PK\x03\x04", "save it as .csv with Excel"),
    ],
)
def test_a_file_of_another_kind_than_its_name_says(tmp_path, suffix, content, text):
    assert text in refused(written(tmp_path, content, f"data{suffix}"))


# What is no file, or too much of one.


def test_pipes_devices_sockets_and_folders_are_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    os.symlink("/dev/zero", tmp_path / "zeros.csv")
    with socket.socket(socket.AF_UNIX) as server:
        os.chdir(tmp_path)
        server.bind("socket.csv")
        for name in ("pipe.csv", "zeros.csv", "socket.csv"):
            assert "a regular file" in refused(tmp_path / name)
    (tmp_path / "folder.csv").mkdir()
    assert "IsADirectoryError" in refused(tmp_path / "folder.csv")


@pytest.mark.parametrize("packed", ["csv", "csv.gz", "zip"])
def test_no_more_is_read_than_the_bound(tmp_path, monkeypatch, packed):
    monkeypatch.setattr(contents, "MOST_BYTES", 2**20)
    monkeypatch.setattr(contents, "CHUNK", 2**16)
    zeros = b"0," * 2**20
    if packed == "zip":
        with zipfile.ZipFile(tmp_path / "data.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("data.csv", zeros)
    else:
        written(tmp_path, gzip.compress(zeros) if packed == "csv.gz" else zeros, f"data.{packed}")
    message = refused(tmp_path / f"data.{packed}")
    assert "kept in memory" in message
    assert "fewer rows" in message


# Packed files and files of other formats.


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)])
def test_packed_files(tmp_path, suffix, pack):
    same(read_file(str(written(tmp_path, pack(CSV), f"data.csv{suffix}"))))
    assert "a readable .csv file" in refused(written(tmp_path, pack(CSV)[:20], f"cut.csv{suffix}"))


def zipped(folder: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(folder / "data.zip", "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "."), content)
    return folder / "data.zip"


def test_a_zip_of_one_table_and_of_several(tmp_path):
    same(read_file(str(zipped(tmp_path, a__csv=CSV))))
    path = zipped(tmp_path, a__csv=CSV, readme__txt=b"hello")
    message = refused(path)
    assert "2 files: 'a.csv', 'readme.txt'" in message
    same(read_file(str(path), **advised(message)))
    assert "'a.csv', 'readme.txt'" in refused(path, member="b.csv")


def test_a_zip_in_a_zip_an_empty_and_an_encrypted_one(tmp_path):
    assert "unpack" in refused(zipped(tmp_path, inner__zip=b"PK"))
    assert "0 files" in refused(zipped(tmp_path))
    content = bytearray(zipped(tmp_path, a__csv=CSV).read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    assert "without a password" in refused(written(tmp_path, bytes(content), "data.zip"))


@pytest.mark.parametrize("suffix", ["parquet", "feather"])
def test_columnar_files(tmp_path, suffix):
    frame = TABLE.assign(day=pd.to_datetime(["2020-01-01", "2021-01-01"]), ok=pd.array([True, None], dtype="boolean"))
    getattr(frame, f"to_{suffix}")(tmp_path / f"t.{suffix}")
    read = read_file(str(tmp_path / f"t.{suffix}"), target="kind")
    pd.testing.assert_frame_equal(read["data"], frame.drop(columns="kind"), check_dtype=False)
    assert read["data"]["ok"].dtype == "boolean"
    assert read["data"]["day"].dtype.kind == "M"


def test_an_index_that_pandas_wrote_is_no_input(tmp_path):
    TABLE.set_index("kind").to_parquet(tmp_path / "t.parquet")
    read = read_file(str(tmp_path / "t.parquet"))
    assert list(read["data"]) == ["a"]
    assert "the index 'kind' left out, as pandas wrote it" in read["notes"]


def test_arrays(tmp_path):
    matrix = np.arange(12.0).reshape(4, 3)
    np.save(tmp_path / "m.npy", matrix)
    same(read_file(str(tmp_path / "m.npy")), pd.DataFrame(matrix, columns=["0", "1", "2"]))
    same(read_file(str(tmp_path / "m.npy"), target="0"), pd.DataFrame(matrix[:, [1, 2, 0]], columns=["1", "2", "0"]))
    np.save(tmp_path / "r.npy", np.array([(1, 2.5), (3, 4.0)], dtype=[("a", int), ("b", float)]))
    same(read_file(str(tmp_path / "r.npy")), TABLE[["a", "b"]])
    np.savez(tmp_path / "d.npz", data=matrix, target=matrix[:, 0])
    assert read_file(str(tmp_path / "d.npz"))["data"].shape == (4, 3)
    np.savez(tmp_path / "o.npz", first=matrix, second=matrix[:, 0])
    message = refused(tmp_path / "o.npz")
    read = read_file(str(tmp_path / "o.npz"), **advised(message))
    np.testing.assert_array_equal(read["data"], matrix)
    np.testing.assert_array_equal(read["target"], matrix[:, 0])
    np.save(tmp_path / "line.npy", matrix[0])
    assert "a matrix" in refused(tmp_path / "line.npy")


@pytest.mark.slow
def test_a_wide_table_and_a_long_one_of_free_text(tmp_path):
    """Seconds, not minutes: the first cells and rows tell what all are."""
    rng = np.random.default_rng(0)
    wide = pd.DataFrame(rng.integers(0, 9, size=(20, 20_000)), columns=[f"g{i}" for i in range(20_000)])
    wide.to_csv(tmp_path / "wide.csv", index=False)
    same(read_file(str(tmp_path / "wide.csv")), wide)
    texts = [f"row {i} says something, at length, that no other row says: {i * i}" for i in range(100_000)]
    long = pd.DataFrame({"text": texts, "kind": ["x", "y"] * 50_000})
    long.to_csv(tmp_path / "long.csv", index=False)
    same(read_file(str(tmp_path / "long.csv")), long)


def test_a_wide_table_without_a_header(tmp_path):
    wide = pd.DataFrame(np.random.default_rng(0).integers(0, 9, size=(20, 5000)))
    wide.to_csv(tmp_path / "wide.csv", index=False, header=False)
    same(read_file(str(tmp_path / "wide.csv")), wide.set_axis(wide.columns.astype(str), axis="columns"))


ARFF = """% by hand
@RELATION test
@attribute 'the size' REAL
@attribute day date "yyyy-MM-dd"
@attribute note string
@attribute kind {x, 'y z'}
@DATA
% a comment
1.5, '2020-01-31', 'it is, so', x
?, '2021-12-01', two, 'y z'
"""


def test_arff(tmp_path):
    days = pd.to_datetime(["2020-01-31", "2021-12-01"])
    table = {"the size": [1.5, None], "day": days, "note": ["it is, so", "two"], "kind": ["x", "y z"]}
    same(read_file(str(written(tmp_path, ARFF, "d.arff"))), pd.DataFrame(table))
    assert "sparse" in refused(written(tmp_path, ARFF.split("%  a")[0].split("% a c")[0] + "{0 1.5, 3 x}\n", "s.arff"))
    assert "@data" in refused(written(tmp_path, "@relation x\n", "e.arff"))
