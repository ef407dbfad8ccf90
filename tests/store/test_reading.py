"""Files of a store that somebody else made: they are read within bounds, as plain values, or refused."""

import io
import zipfile

import numpy as np
import pytest

from harness.store import reading, stored_json, stored_yaml


def write(folder, name, content):
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder / name


LAUGHS = "a: &a [x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefghij", "bcdefghijk", strict=True)
)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (LAUGHS, "aliases"),
        ("a: &a [*a]\n", "aliases"),
        ("a: !!python/object/apply:os.system [x]\n", "constructor"),
        ("a: !!python/name:os.system\n", "constructor"),
        ("[" * 5000, "too deeply"),
        ("{" * 100_000, "too deeply"),
        ("- " * 5000, "too deeply"),
        ("a: [\n", "plain YAML"),
        ("a: b: c\n", "plain YAML"),
        ("\0", "plain YAML"),
    ],
    ids=range(10),
)
def test_yaml_that_is_more_than_plain_values_is_refused(tmp_path, text, why):
    with pytest.raises(ValueError, match=why):
        stored_yaml(write(tmp_path, "x.yaml", text))


def test_plain_yaml_is_read(tmp_path):
    assert stored_yaml(write(tmp_path, "x.yaml", "a: [1, 2.5, null]\nb: {c: 'é'}\n")) == {
        "a": [1, 2.5, None],
        "b": {"c": "é"},
    }


@pytest.mark.parametrize(
    "text", ["[" * 1_000_000, '{"a":' * 100_000, "{", "", "\ufeff{}", "[" + "9" * 5000 + "]"], ids=range(6)
)
def test_json_that_is_none_is_refused(tmp_path, text):
    with pytest.raises(ValueError):  # noqa: PT011 - of any kind
        stored_json(write(tmp_path, "x.json", text))


def test_json_is_read(tmp_path):
    assert stored_json(write(tmp_path, "x.json", '{"a": [1, "é"]}')) == {"a": [1, "é"]}


@pytest.mark.parametrize(("read", "most"), [(stored_yaml, "MOST_YAML"), (stored_json, "MOST_JSON")])
def test_files_of_any_size_are_not_read(tmp_path, monkeypatch, read, most):
    monkeypatch.setattr(reading, most, 10)
    assert read(write(tmp_path, "x", "[1, 2]")) == [1, 2]
    with pytest.raises(ValueError, match="11 bytes, more than the 10"):
        read(write(tmp_path, "x", "[1, 2, 3]  "))


# Weights.


def npz(folder, **members):
    with zipfile.ZipFile(folder / "weights.npz", "w", zipfile.ZIP_STORED) as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return folder / "weights.npz"


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def test_weights_as_this_version_writes_them_are_read(tmp_path):
    np.savez(tmp_path / "weights.npz", W0=np.ones((2, 3, 4)), b0=np.zeros((2, 4)))
    assert reading._parameters(tmp_path / "weights.npz").sizes == (3, 4)


def test_packed_weights_are_not_unpacked(tmp_path):
    """A few kilobytes would be a gigabyte of zeros."""
    np.savez_compressed(tmp_path / "weights.npz", W0=np.zeros((1, 1000, 1000)), b0=np.zeros((1, 1000)))
    assert (tmp_path / "weights.npz").stat().st_size < 20_000
    with pytest.raises(ValueError, match=r"packed arrays: W0\.npy, b0\.npy"):
        reading._parameters(tmp_path / "weights.npz")


def test_weights_that_say_to_be_100_gib_take_no_memory(tmp_path):
    header = npy(np.zeros((1, 1, 1)))
    huge = header.replace(b"(1, 1, 1)", b"(1, 9, 9)".replace(b"9, 9", b"117000,117000"))
    lied = huge[:8] + len(huge[10 : huge.index(b"\n") + 1]).to_bytes(2, "little") + huge[10:]
    path = npz(tmp_path, W0=lied, b0=npy(np.zeros((1, 1))))
    with pytest.raises((ValueError, MemoryError)):
        reading._parameters(path)


@pytest.mark.parametrize("name", ["../W0", "/etc/W0", "W0/../../x"])
def test_members_of_odd_names_are_written_nowhere(tmp_path, name):
    path = npz(tmp_path, **{name: npy(np.zeros((1, 1, 1)))})
    with pytest.raises((ValueError, LookupError)):
        reading._parameters(path)
    assert [file.name for file in tmp_path.iterdir()] == ["weights.npz"]
