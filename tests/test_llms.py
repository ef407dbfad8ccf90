"""llms.txt: short, in its form, with links that exist and commands that the program knows."""

import re
import shlex
import sys
from pathlib import Path

import pytest

from harness.app import main
from harness.app.composition import checked_cells
from harness.app.options import OF_VERBS, TABLES
from harness.app.verbs import VERBS

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "llms.txt").read_text(encoding="utf8")
COMMANDS = [
    line.partition("python -m harness ")[2] for line in TEXT.splitlines() if line.startswith("python -m harness")
]


def test_it_has_the_form_of_llmstxt_org():
    first, empty, summary, *_ = TEXT.splitlines()
    assert first.startswith("# ")
    assert empty == ""
    assert summary.startswith("> ")
    assert len(TEXT) < 4000
    sections = re.split(r"^## .*\n", TEXT, flags=re.MULTILINE)[1:]
    assert len(sections) >= 2
    for line in "".join(sections).splitlines():
        assert line == "" or re.match(r"- \[[^\]]+\]\([^)]+\)", line)


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)]+)\)", TEXT))
def test_a_link_leads_to_a_file(link):
    assert (ROOT / link).is_file()


@pytest.mark.sample(4)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_one_that_the_program_takes(command, tmp_path, monkeypatch, capsys):
    """A verb with its options, or a grid that composes; a run id is not known here, and that alone is refused."""
    words = [{"RUN_ID": "abcdef", "FOLDER": str(tmp_path / "paper")}.get(word, word) for word in shlex.split(command)]
    if words[0] == "--help":
        return
    if words[0].startswith("-"):
        assert checked_cells([word for word in words if word != "--json"]).cells
        return
    verb, *rest = words
    assert verb in VERBS
    assert {word for word in rest if word.startswith("-")} <= set(OF_VERBS.get(verb, ()))
    assert set(rest) & set(TABLES) or "--table" not in rest
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(sys, "argv", ["harness", *words])
    code, said = main(), capsys.readouterr()
    assert code == 0 or "expected the address of a store, or a current folder that holds one" in said.err


def test_it_leads_to_the_pages_that_a_program_looks_up():
    linked = set(re.findall(r"\]\(docs/(\w+)\.md\)", TEXT))
    assert {"keys", "records", "python", "query", "models", "extending", "data"} <= linked


def test_it_shows_every_way_to_get_an_answer():
    assert len(COMMANDS) >= 8
    assert {"query", "report", "verify", "studies"} <= {command.split()[0] for command in COMMANDS}
