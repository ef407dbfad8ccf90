"""What the pages say of the code is true: the files and functions that they name exist."""

import ast
import inspect
import re
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from harness.app import main
from harness.config import DatasetConfig
from harness.data import files

ROOT = Path(__file__).parents[1]
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf8")
STEPS = re.findall(r"^\| (harness/\S+\.py) \| `([\w.]+)` \|", ARCHITECTURE, re.MULTILINE)
ROOMS = sorted(path.parent.name for path in (ROOT / "harness").glob("*/__init__.py"))


def definitions(file: Path) -> set[str]:
    """Functions and classes of a module, and methods as Class.method."""
    found = set()
    for node in ast.parse(file.read_text(encoding="utf8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{inner.name}" for inner in node.body if isinstance(inner, ast.FunctionDef)}
    return found


def test_the_walk_goes_from_the_command_line_to_the_step():
    assert len(STEPS) >= 12
    assert STEPS[0] == ("harness/app/command.py", "main")
    assert STEPS[-1][0] == "harness/network/optimizers.py"


@pytest.mark.parametrize(("file", "name"), STEPS)
def test_each_step_of_the_walk_exists(file, name):
    assert name in definitions(ROOT / file)


@pytest.mark.parametrize("file", sorted(set(re.findall(r"harness/[\w/]+\.py", ARCHITECTURE))))
def test_each_file_that_the_page_names_exists(file):
    assert (ROOT / file).is_file()


@pytest.mark.parametrize(("name", "file"), re.findall(r"`(\w+)` in\s+`(harness/[\w/]+\.py)`", ARCHITECTURE))
def test_each_function_that_the_page_names_in_a_file_is_there(name, file):
    assert name in definitions(ROOT / file)


@pytest.mark.parametrize("page", ["README.md", "docs/architecture.md"])
def test_pages_list_every_room(page):
    rows = re.findall(r"^\| `(\w+)` \|", (ROOT / page).read_text(encoding="utf8"), re.MULTILINE)
    assert set(ROOMS) <= set(rows)


DATA = (ROOT / "docs" / "data.md").read_text(encoding="utf8")


def test_the_page_on_data_has_every_key_and_every_ending():
    named = set(re.findall(r"`dataset\.load\.(\w+)`", DATA))
    assert named == set(inspect.signature(files.read_file).parameters) - {"path"}
    assert set(re.findall(r"`dataset\.(\w+)[`=]", DATA)) <= {field.name for field in fields(DatasetConfig)}
    assert set(files.KINDS) <= set(re.findall(r"`(\.\w+)`", DATA))


def test_the_example_of_the_page_on_data_is_told_as_the_page_says(tmp_path, monkeypatch, capsys):
    """All that is told, and nothing else; tests/test_docs_run.py looks only for the lines that are shown."""
    (table,) = re.findall(r"^`my.csv`:\n\n```text\n(.*?)```", DATA, re.DOTALL | re.MULTILINE)
    command, told = re.findall(r"^\$ python -m harness (.*dry_run=true)\n((?:data: .*\n)+)", DATA, re.MULTILINE)[0]
    (tmp_path / "my.csv").write_text(table, encoding="utf8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["harness", *command.split()])
    assert main() == 0
    said = capsys.readouterr().err.splitlines()
    assert sorted(line for line in said if line.startswith("data:")) == sorted(told.splitlines())
