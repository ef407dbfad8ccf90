"""Which answers may be told again; test_resume.py has whole commands."""

from types import SimpleNamespace

import pandas as pd
import pytest

from harness.analysis import BLOCKS
from harness.runs import answered
from harness.runs.archive_unpacking import _says_something
from harness.store.names import PREFIX

STORE = SimpleNamespace(ui=SimpleNamespace(root="http://127.0.0.1:5000"))


def told(judged=None, looks=(), timing=BLOCKS, **columns):
    cells = {"cell": ["s", "t"], "run_id": ["1", "2"], "asked_rate": [0.1, 0.2], "more_runs": ["", ""]} | columns
    return SimpleNamespace(judged=judged, data=SimpleNamespace(looks=looks, timing=timing, cells=pd.DataFrame(cells)))


def tag(**changes):
    return answered.tag(STORE, told(**changes))[answered.TAG]


@pytest.mark.parametrize(
    "change", [{"judged": ("study", [])}, {"looks": (10, 20)}, {"timing": "one reading"}, {"more_runs": ["3", ""]}]
)
def test_what_the_runs_alone_do_not_decide_has_no_tag(change):
    assert tag()
    assert tag(**change) == ""


@pytest.mark.parametrize("change", [{"cell": ["s", "u"]}, {"cell": ["t", "s"]}, {"asked_rate": [0.1, 0.20001]}])
def test_another_cell_order_or_rate_has_another_tag(change):
    assert tag() == tag(asked_rate=[0.1, 0.2 * (1 + 1e-15)])  # a product of the same factors
    assert tag(**change) != tag()


def test_other_code_and_other_links_have_another_tag(monkeypatch):
    first = tag()
    monkeypatch.setattr(STORE.ui, "root", "http://127.0.0.1:5001")
    assert tag() != first
    monkeypatch.undo()
    monkeypatch.setattr(answered, "code_digest", lambda: "other")
    assert tag() != first


def test_the_digest_of_the_code_has_every_file_of_the_package(tmp_path, monkeypatch):
    monkeypatch.setattr(answered, "PACKAGE", tmp_path)
    found = set()
    for path, text in (("a.py", "1"), ("room/b.py", "1"), ("room/b.py", "2"), ("room/c.txt", "1")):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
        answered.code_digest.cache_clear()
        found.add(answered.code_digest())
    answered.code_digest.cache_clear()
    assert len(found) == 3  # the text file is no code


def test_an_archive_does_not_carry_it_to_another_store():
    assert not _says_something(answered.TAG)
    assert not _says_something(PREFIX + answered.TAG)
