"""Files that are made once and kept until a version changes."""

import pytest

from harness.config import kept, kept_place, kept_text


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "FOLDER", tmp_path / "kept")
    return tmp_path / "kept"


class Maker:
    """Makes another text at each call."""

    n = 0

    def __call__(self):
        self.n += 1
        return f"text {self.n} é\r\n\n"


def test_a_text_is_made_once_for_a_version(folder):
    make = Maker()
    assert [kept_text("a.js", make, "1") for _ in range(3)] == ["text 1 é\r\n\n"] * 3
    assert kept_text("a.js", make, "1", "") == "text 2 é\r\n\n"  # other versions
    assert kept_text("b.js", make, "1", "") == "text 3 é\r\n\n"
    assert kept_text("a.js", make, "1", "") == "text 2 é\r\n\n"
    assert sorted(folder.iterdir()) == [kept_place("a.js", "1", ""), kept_place("b.js", "1", "")]
    assert kept_text("a.js", make, "1") == "text 4 é\r\n\n"  # that of another version was removed


@pytest.mark.parametrize("change", [lambda raw: raw[:-1], lambda raw: b"", lambda raw: raw + b"x", lambda raw: b"\xff"])
def test_a_text_that_is_not_whole_is_made_again(change):
    make, place = Maker(), kept_place("a.js")
    kept_text("a.js", make)
    place.write_bytes(change(place.read_bytes()))
    assert [kept_text("a.js", make) for _ in range(2)] == ["text 2 é\r\n\n"] * 2


def test_where_nothing_can_be_kept_it_is_made_each_time(folder):
    folder.write_text("in the way")
    make = Maker()
    assert [kept_text("a.js", make) for _ in range(2)] == ["text 1 é\r\n\n", "text 2 é\r\n\n"]


def test_a_file_that_could_not_be_made_leaves_nothing(folder):
    def fail(path):
        path.write_text("half")
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        kept.keep(kept_place("a.js"), fail)
    assert list(folder.iterdir()) == []
