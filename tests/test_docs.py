"""What the pages say of the code is true: the files and functions that they name exist."""

import ast
import inspect
import re
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from harness.app import main
from harness.app.options import OF_VERBS
from harness.config import DatasetConfig
from harness.config.names import Known
from harness.config.schema import RULES
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


def test_the_page_lists_every_room():
    assert set(ROOMS) <= set(re.findall(r"^\| `(\w+)` \|", ARCHITECTURE, re.MULTILINE))


def test_the_page_on_speed_has_the_numbers_of_the_benchmark():
    """Of the table in docs/speed.md and the one for double precision in docs/benchmarks/kernel.md."""
    measured = times((ROOT / "docs" / "benchmarks" / "kernel.md").read_text(encoding="utf8").partition("## float32")[0])
    shown = times((ROOT / "docs" / "speed.md").read_text(encoding="utf8"))
    assert len(shown) == len(KERNEL) == 6
    assert shown == {name: pytest.approx(measured[KERNEL[name]], rel=0.05) for name in shown}


KERNEL = {
    "harness, 30 networks in a stack": "harness, stack",
    "harness, `engine=compiled`, stack": "harness, compiled stack",
    "scikit-learn": "scikit-learn",
    "PyTorch, eager": "PyTorch eager",
    "JAX, jit and scan": "JAX jit, scan",
    "JAX, jit and vmap over 30": "JAX jit, vmap",
}  # a row of the page on speed -> one of the benchmark


def times(page: str) -> dict[str, list[float]]:
    """The rows of a page's first table by name: the number at the beginning of each of its cells."""
    _, _, *lines = page[page.index("\n|") + 1 :].partition("\n\n")[0].splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines]
    return {name: [float(cell.split()[0]) for cell in cells] for name, *cells in rows if "fastest" not in name}


DATA = (ROOT / "docs" / "data.md").read_text(encoding="utf8")


def test_the_page_on_data_has_every_key_and_every_ending():
    named = set(re.findall(r"`dataset\.load\.(\w+)`", DATA))
    assert named == set(inspect.signature(files.read_file).parameters) - {"path"}
    assert set(re.findall(r"`dataset\.(\w+)[`=]", DATA)) <= {field.name for field in fields(DatasetConfig)}
    assert set(files.KINDS) <= set(re.findall(r"`(\.\w+)`", DATA))


KEYS = (ROOT / "docs" / "keys.md").read_text(encoding="utf8")


def test_the_page_of_keys_has_every_ending_of_a_file_and_every_option_of_a_query():
    (about,) = re.findall(r"^### `dataset=file`\n\n(.*)$", KEYS, re.MULTILINE)
    assert set(files.KINDS) <= set(re.findall(r"\.\w+", about))
    (row,) = re.findall(r"^\| `python -m harness query .*$", KEYS, re.MULTILINE)
    assert {option for option in OF_VERBS["query"] if option.startswith("-")} <= set(re.findall(r"--?\w+", row))


@pytest.mark.parametrize("key", [key for key, rule in RULES.items() if isinstance(rule, Known) and "optim" not in key])
def test_the_page_of_keys_says_where_a_name_may_be_one_of_your_own(key):
    part = KEYS.partition(f"### `{key}`\n")[2].partition("\n#")[0]
    assert "or [one of your own](extending.md)" in part


@pytest.mark.slow
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


def test_what_changed_has_the_verdicts_of_the_page():
    """Each claim of changed.md has the verdict there that the page has; and it is another one than before."""
    page = (ROOT / "docs" / "findings.md").read_text(encoding="utf8")
    verdicts = {claim: verdict for verdict, claim in re.findall(r"\*\*(\w+)\*\* \[([\w.]+)\]", page)}
    changed = (ROOT / "docs" / "findings" / "changed.md").read_text(encoding="utf8")
    rows = re.findall(r"^\| (?:[^|]*; now )?([A-Z]\d+[\w.]*)[^|]*\| (\w+) \| (\w+) \|", changed, re.MULTILINE)
    kept = re.findall(r"^- \*\*([\w.]+)\*\*(?: and \*\*([\w.]+)\*\*)?[^(]*\((\w+)(?:, (\w+))?\)", changed, re.MULTILINE)
    assert len(rows) >= 10
    assert len(kept) >= 4
    assert {claim: now for claim, _, now in rows} == {claim: verdicts[claim] for claim, _, _ in rows}
    assert not [claim for claim, before, now in rows if before == now]
    same = {claim: now for one, other, *own in kept for claim, now in zip((one, other), own, strict=True) if claim}
    assert same == {claim: verdicts[claim] for claim in same}


STUDIES = sorted(path for path in (ROOT / "docs" / "findings").glob("*.md") if path.name != "changed.md")
SAID = re.compile(r"^!\[.*\n\n(.+)$|^The claim: .*\n\n(?!!\[)(.+)$", re.MULTILINE)


@pytest.mark.parametrize("page", STUDIES, ids=lambda path: path.stem)
def test_what_was_found_can_be_read_aloud(page):
    text = page.read_text(encoding="utf8")
    said = [found[1] or found[2] for found in SAID.finditer(text)]
    assert len(said) == text.count("\n## ")
    assert max(map(len, said)) <= 600  # with the effect and the number of replicas


def test_an_answer_says_on_what_it_depends():
    page = (ROOT / "docs" / "findings.md").read_text(encoding="utf8")
    answers = re.findall(r"^\| [^*|]+ \| ([^|]+) \| \*\*\w+\*\*", page, re.MULTILINE)
    assert len(answers) > 80
    vague = re.compile(r"It depends\b(?![^.]*:)|In some settings|In part, or by some")
    assert [answer for answer in answers if vague.match(answer)] == []
