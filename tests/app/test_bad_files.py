"""Files that hold no data to train on, each refused by the command line in one line with exit code 2."""

import bz2
import gzip
import io
import os
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness.app import main

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4
TABLE = b"a,b,kind\n" + b"1,2,x\n3,4,y\n" * 20


def saved(write: Any) -> bytes:
    stream = io.BytesIO()
    write(stream)
    return stream.getvalue()


def zipped(**members: bytes) -> bytes:
    def write(stream: io.BytesIO) -> None:
        with zipfile.ZipFile(stream, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)

    return saved(write)


def npy(array: Any) -> bytes:
    return saved(lambda stream: np.save(stream, array, allow_pickle=True))


def npz(**arrays: Any) -> bytes:
    return saved(lambda stream: np.savez(stream, **arrays))


def parquet(**columns: Any) -> bytes:
    return saved(lambda stream: pd.DataFrame(columns).to_parquet(stream))


def arff(header: str, rows: str) -> bytes:
    return f"@relation r\n{header}\n@data\n{rows}".encode()


ATTRIBUTES = "@attribute x numeric\n@attribute y {a,b}"

# the name of the file, its content
FILES: list[tuple[str, bytes]] = [
    ("empty.csv", b""),
    ("blank_lines.csv", b"\n\n  \n"),
    ("mark_only.csv", b"\xef\xbb\xbf"),
    ("zeros.csv", bytes(1000)),
    ("header_only.csv", b"a,b,c\n"),
    ("commas.csv", b",,,\n,,,\n,,,\n"),
    ("one_cell.csv", b"5"),
    ("one_word.csv", b"hello"),
    ("one_column.csv", b"a\n1\n2\n3\n" * 20),
    ("one_row.csv", b"a,b,c\n1,2,3\n"),
    ("two_rows.csv", b"a,b,c\n1,2,3\n4,5,6\n"),
    ("comments_only.csv", b"# a\n# b\n# c\n"),
    ("picture.csv", PNG),
    ("noise.csv", np.random.default_rng(0).bytes(5000)),
    ("prose.txt", b"It was the best of times, it was the worst of times.\nIt was the age of wisdom\n" * 3),
    ("page.csv", b"<!DOCTYPE html><html><body>404</body></html>"),
    ("xml.csv", b"<?xml version='1.0'?><a><b/></a>"),
    ("json.csv", b'{"a": [1, 2, 3], "b": {"c": 4}}'),
    ("lines.json", b'{"a": 1}\n{"a": 2}\n'),
    ("pointer.csv", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n"),
    ("sheet.csv", zipped(**{"xl/workbook.xml": b"<x/>"})),
    ("sheet.xlsx", zipped(**{"xl/workbook.xml": b"<x/>"})),
    ("base.csv", b"SQLite format 3\0" + bytes(100)),
    ("pickle.pkl", b"\x80\x04K\x01."),
    ("pickle.csv", b"\x80\x04]\x94(K\x01K\x02e."),
    ("no_suffix", TABLE),
    ("packed.csv", gzip.compress(TABLE)),
    ("not_packed.csv.gz", TABLE),
    ("cut.csv.gz", gzip.compress(TABLE)[:-12]),
    ("nothing.csv.gz", gzip.compress(b"")),
    ("cut.csv.bz2", bz2.compress(TABLE)[:-8]),
    ("cut.zip", zipped(**{"a.csv": TABLE})[:-30]),
    ("empty.zip", zipped()),
    ("two.zip", zipped(**{"a.csv": TABLE, "b.csv": TABLE})),
    ("picture.zip", zipped(**{"a.png": PNG})),
    ("zip_in_zip.zip", zipped(**{"a.zip": zipped(**{"a.csv": TABLE})})),
    ("ragged.csv", b"a,b\n1,2\n3,4,5,6\n" + b"1,2\n" * 30),
    ("utf16_cut.csv", TABLE.decode().encode("utf-16")[:-1]),
    ("no_values.csv", b"a,b,kind\n" + b",,x\n,,y\n" * 20),
    ("no_target.csv", b"a,b,kind\n" + b"1,2,\n3,4,\n" * 20),
    ("gaps_in_target.csv", TABLE + b"1,2,\n"),
    ("one_class.csv", b"a,kind\n" + b"1,x\n3,x\n" * 20),
    ("all_constant.csv", b"a,b,kind\n" + b"1,2,x\n1,2,y\n" * 20),
    ("every_class_once.csv", b"a,kind\n" + b"".join(b"1,name %d\n" % i for i in range(40))),
    ("infinite_target.csv", b"a,y\n1,0.5\n2,inf\n" + b"1,2.5\n3,1e999\n" * 20),
    ("broken.parquet", b"PAR1" + bytes(50) + b"PAR1"),
    ("cut.parquet", parquet(a=[1, 2], b=[3, 4])[:-20]),
    ("lists.parquet", parquet(a=[[1, 2]] * 40, b=[1, 2] * 20)),
    ("no_rows.parquet", parquet(a=np.zeros(0), b=np.zeros(0))),
    ("broken.feather", b"ARROW1\0\0" + bytes(50)),
    ("text.feather", TABLE),
    ("pickled.npy", npy(np.array([{"a": 1}, None], object))),
    ("cube.npy", npy(np.zeros((4, 3, 2)))),
    ("number.npy", npy(np.float64(3))),
    ("complex.npy", npy(np.ones((40, 3)) * 1j)),
    ("cut.npy", npy(np.zeros((40, 3)))[:-50]),
    ("text.npy", TABLE),
    ("empty.npz", npz()),
    ("other_names.npz", npz(first=np.zeros(3), second=np.zeros(3))),
    ("lengths.npz", npz(X=np.zeros((40, 2)), y=np.zeros(39))),
    ("pickled.npz", npz(X=np.array([None] * 9, object), y=np.zeros(9))),
    ("text.npz", TABLE),
    ("no_data.arff", ATTRIBUTES.encode()),
    ("no_attributes.arff", arff("", "1,a\n")),
    ("sparse.arff", arff(ATTRIBUTES, "{0 1, 1 a}\n")),
    ("text_for_number.arff", arff(ATTRIBUTES, "one,a\ntwo,b\n" * 20)),
    ("ragged.arff", arff(ATTRIBUTES, "1,a,2,3\n1,b\n" * 20)),
    ("blanks.csv", b" " * 500),
    ("carriage_returns.csv", b"\r" * 50),
    ("tabs.tsv", b"\t\t\n" * 20),
    ("semicolons.csv", b";;;\n" * 20),
    ("header_only.tsv", b"a\tb\tkind\n"),
    ("header_twice.csv", b"a,b,kind\na,b,kind\n"),
    ("one_line.txt", b"a b c d e f"),
    ("mark_and_header.csv", b"\xef\xbb\xbfa,b,kind\n"),
    ("utf32.csv", b"\xff\xfe\x00\x00" + bytes(3)),
    ("one_long_field.csv", b"a" * 200_000),
    ("mail.csv", b"Dear all,\n\nplease find enclosed nothing.\n\nYours\n"),
    ("markdown.txt", b"# Title\n\n- one\n- two\n"),
    ("list.json", b"[1, 2, 3]"),
    ("lines.csv", b'{"a": 1}\n{"a": 2}\n'),
    ("photo.csv", b"\xff\xd8\xff\xe0" + bytes(400)),
    ("page.tsv", b"<html><head></head><body>Sign in</body></html>"),
    ("sheet.ods", zipped(mimetype=b"application/vnd.oasis.opendocument.spreadsheet")),
    ("old_sheet.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500)),
    ("document.csv", b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n"),
    ("tree.h5", b"\x89HDF\r\n\x1a\n" + bytes(500)),
    ("archive.tar.gz", gzip.compress(bytes(1024))),
    ("picture.csv.gz", gzip.compress(PNG)),
    ("twice.csv.gz", gzip.compress(gzip.compress(TABLE))),
    ("noise.csv.xz", np.random.default_rng(1).bytes(3000)),
    ("noise.csv.bz2", np.random.default_rng(2).bytes(3000)),
    ("header_only.csv.gz", gzip.compress(b"a,b,kind\n")),
    ("header_only.zip", zipped(**{"a.csv": b"a,b,kind\n"})),
    ("empty_member.zip", zipped(**{"a.csv": b""})),
    ("noise.zip", np.random.default_rng(3).bytes(3000)),
    ("all_targets_missing.csv", b"a,kind\n" + b"1,\n2,NA\n" * 20),
    ("constant_number.csv", b"a,b,y\n" + b"1,2,0.5\n3,4,0.5\n" * 20),
    ("empty.parquet", b""),
    ("noise.parquet", np.random.default_rng(4).bytes(3000)),
    ("one_column.parquet", parquet(a=[1, 2] * 20)),
    ("one_row.parquet", parquet(a=[1], kind=["x"])),
    ("dictionaries.parquet", parquet(a=[{"b": 1}] * 40, b=[1, 2] * 20)),
    ("empty.npy", b""),
    ("one_number.npy", npy(np.zeros(1))),
    ("nothing.npy", npy(np.zeros((0, 3)))),
    ("texts.npy", npy(np.array([["a", "b"]] * 40))),
    ("cut.npz", npz(X=np.zeros((40, 2)), y=np.zeros(40))[:-60]),
    ("only_inputs.npz", npz(X=np.zeros((40, 2)))),
    ("empty.arff", b""),
    ("relation_only.arff", b"@relation r\n"),
    ("empty.feather", b""),
]


def refusal(folder: Path, monkeypatch, capsys, *words: str) -> str:
    """What the command line says, without the dataset's group."""
    before = sorted(path.name for path in folder.iterdir())
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["harness", "dataset=file", *words])
    code, said = main(), capsys.readouterr()
    assert (code, said.out) == (2, ""), said.err
    assert sorted(path.name for path in folder.iterdir()) == before
    return said.err


@pytest.mark.sample(16)
@pytest.mark.parametrize(("name", "content"), FILES, ids=[name for name, _ in FILES])
def test_a_bad_file_is_refused_in_one_line(name, content, tmp_path, monkeypatch, capsys):
    (tmp_path / name).write_bytes(content)
    told = refusal(tmp_path, monkeypatch, capsys, f"dataset.load.path={name}")
    assert told.startswith("harness: dataset")
    assert ": expected " in told
    assert ", got " in told
    assert told.count("\n") == 1
    assert len(told) < 1200
    assert "Traceback" not in told


def test_they_are_many():
    assert len(dict(FILES)) >= 100


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_loop(path: Path) -> None:
    path.symlink_to(path)


def make_link_to_zeros(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [Path.mkdir, make_pipe, make_loop, make_link_to_zeros, lambda path: None])
def test_what_is_no_file_is_refused_at_once(make, tmp_path, monkeypatch, capsys):
    make(tmp_path / "data.csv")
    told = refusal(tmp_path, monkeypatch, capsys, "dataset.load.path=data.csv")
    assert told.startswith("harness: dataset.load.path: expected ")
    assert told.count("\n") == 1


@pytest.mark.sample(4)
@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("picture.csv", "the first bytes of a .png file"),
        ("json.csv", "JSON in its place"),
        ("utf16_cut.csv", "expected a whole file in utf-16"),
        ("cut.zip", "expected a readable .zip file"),
        ("empty.zip", "0 files: none"),
        ("text.npy", "no .npy file, as NumPy writes it: it begins with"),
        ("gaps_in_target.csv", "dataset.missing_targets=drop leaves them out"),
        ("ragged.csv", "dataset.load.bad_rows=drop leaves out rows with more"),
        ("two.zip", "dataset.load.member=a.csv reads that one"),
        ("no_target.csv", "dataset.load.target=b predicts another column"),
    ],
)
def test_a_refusal_says_what_the_file_is_or_what_to_type(name, told, tmp_path, monkeypatch, capsys):
    (tmp_path / name).write_bytes(dict(FILES)[name])
    assert told in refusal(tmp_path, monkeypatch, capsys, f"dataset.load.path={name}")


ARGUMENTS = [
    "dates=%Q", "dates=%", "dates=x", "dates=5", "dates=[1]", "dates={a:1}", "missing=[[1]]", "missing={a:1}",
    "missing=[null]", "decimal=-", "decimal=5", "decimal=semicolon", "decimal=apostrophe", "decimal=[comma]",
    "thousands=_", "thousands=true", "thousands=[comma]", "sep=5", "sep=[1]", "encoding=5", "encoding=[x]",
    "encoding=base64", "header=1.5", "header=[1]", "header={a:1}", "header=-1", "header=99999999999999999999999999",
    "bad_rows=x", "bad_rows=true", "bad_rows=[drop]", "member=5", "member=[a]", "target=[[a]]", "target={a:1}",
    "target=[]", "inputs=[[a]]", "inputs={a:1}", "inputs=[]", "drop=[[a]]", "drop={a:1}",
]  # fmt: skip


@pytest.mark.sample(8)
@pytest.mark.parametrize("word", ARGUMENTS)
def test_an_argument_of_a_wrong_type_or_form_is_named(word, tmp_path, monkeypatch, capsys):
    (tmp_path / "good.csv").write_bytes(TABLE)
    told = refusal(tmp_path, monkeypatch, capsys, "dataset.load.path=good.csv", f"dataset.load.{word}")
    assert told.startswith(f"harness: dataset.load.{word.partition('=')[0]}: expected ")
    assert told.count("\n") == 1


def test_one_sign_is_not_both_the_decimal_and_between_thousands(tmp_path, monkeypatch, capsys):
    (tmp_path / "good.csv").write_bytes(TABLE)
    words = ["dataset.load.path=good.csv", "dataset.load.decimal=comma", "dataset.load.thousands=comma"]
    told = refusal(tmp_path, monkeypatch, capsys, *words)
    assert told.startswith("harness: dataset.load.thousands: expected another sign than the decimal comma")
