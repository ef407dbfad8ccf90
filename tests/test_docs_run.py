"""Every command, and every piece of Python, on README and the pages of docs/ is executed, page by page.

A page is read from top to bottom in an empty folder, as a student would who types everything:

- a block of `console` has commands, each after `$ `, and below a command what it prints. Every line that is shown must
  be printed; numbers may differ, and `...` stands for anything. A command without output that trains gets few epochs
  and replicas;
- a block of `python` is executed whole, all blocks of a page in one namespace, with `>>>` as a doctest;
- a block below a line that is a file's name, `` `name.ext`: ``, is that file;
- `RUN_ID` is the sweep or cell that the page trained last.

A page with commands takes some seconds, so it is marked slow. tests/test_concepts.py runs the pages on concepts.
"""

import doctest
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import pytest

from harness.app import main
from harness.app.composition import checked_cells
from harness.app.options import OF_VERBS
from harness.app.verbs import VERBS

ROOT = Path(__file__).parents[1]
CONCEPTS = ROOT / "docs" / "concepts"
OTHERS = [page for page in sorted((ROOT / "docs").rglob("*.md")) if page.parent != CONCEPTS]
PAGES = [ROOT / "README.md", CONCEPTS / "index.md", *OTHERS]
SMALL = {"epochs": "epochs=1", "seeds": "seeds=2"}  # appended to a command that trains
NOT_RUN = {  # beginning of a command: why no page executes it
    "python3 -m venv": "an environment of its own: .ci/run makes one with this line",
    "pip install": "likewise",
    "python -m harness ui": "ends at Ctrl-C: tests/report/test_mlflow_pages.py opens it",
    "python -m pytest": "this runs inside it",
    "python -m sphinx": "tests/test_site.py builds the pages",
    "python -m benchmarks": "takes an hour: .ci/run runs its short form",
    "python -m tests.faults": "takes an hour: tests/faults/test_faults.py runs each of them once",
    "python -m harness -m batch_size=1,64,512 hydra/launcher=ray": "a cluster: tests/app/test_launchers.py starts one",
    "python -m harness -m batch_size=1,64,512 hydra/launcher=submitit_slurm": "likewise, with a SLURM that it imitates",
    "marimo": "a server: tests/test_docs_serve.py starts it",
    "python -m http.server": "likewise",
    "mlflow models serve": "likewise",
    "curl": "likewise: the server that it asks",
    "python -m examples browser pages --offline": "needs the network",
    "python -m examples html": "needs marimo: tests/lessons/test_pages.py",
    "python -m examples ipynb": "likewise",
    "python -m examples handout": "tests/lessons/test_handout.py",
}
ELSEWHERE = {  # a page: which test runs its commands
    "README.md": "tests/test_readme.py",
    "docs/examples.md": "tests/test_readme.py",
    "docs/extending.md": "tests/test_extending.py",
}
NUMBER = r"[-+−]?\d+(?:[.,]\d+)*(?:e[-+]?\d+)?"


FENCE = re.compile(r"(?:^`([\w./]+\.\w+)`:\n\n)?^```(\w+)[ \t]*([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    file: str  # or empty
    language: str
    about: str
    text: str


def blocks(page: Path) -> list[Block]:
    return [Block(*one) for one in FENCE.findall(page.read_text(encoding="utf8"))]


def is_run(block: Block) -> bool:
    return bool(block.file) or block.language in ("console", "python")


def commands(text: str) -> Iterator[tuple[str, list[str]]]:
    """Each command of a block of `console` with the lines that are shown below it."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, shown = part.replace("\\\n", "").partition("\n")
        yield command.strip(), [line.strip() for line in shown.splitlines() if line.strip()]


class Reader:
    """Reads a page in a folder: what was trained, and the names that its Python has defined."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys
        self.names: dict[str, Any] = {"__name__": "page"}
        self.run_id = "RUN_ID"

    def read(self, block: Block) -> None:
        text = block.text.replace("RUN_ID", self.run_id)
        if block.file:
            path = Path(block.file)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf8")
        elif block.language == "console":
            for command, shown in commands(block.text):
                self.type(command.replace("RUN_ID", self.run_id), shown)
        elif block.language == "python":
            self.python(text)

    def type(self, command: str, shown: list[str]) -> None:
        if command.startswith(tuple(NOT_RUN)):
            return
        code, printed = self.harness(command, shown) if is_harness(command) else shell(command)
        assert code == 0 or (code == 2 and shown), f"{command}: exit code {code}\n{printed}"
        ids = re.findall(r"/([0-9a-f]{32})", printed)
        self.run_id = ids[-1] if ids else self.run_id
        lines = [line.strip() for line in printed.splitlines()]
        for line in shown:
            assert any(re.fullmatch(like(line), one) for one in lines), f"{command} does not print {line!r}:\n{printed}"

    def harness(self, command: str, shown: list[str]) -> tuple[int, str]:
        """In this process: its imports take seconds."""
        words = shlex.split(command.partition("harness")[2])
        trains = not words or words[0] == "-m" or "=" in words[0]
        if trains and not shown:
            given = {word.partition("=")[0] for word in words}
            small = [word for key, word in SMALL.items() if key not in given]
            words += ["size=small"] * ("size" not in given) if "experiment" in given else small
        self.capsys.readouterr()
        with mock.patch.object(sys, "argv", ["harness", *words]):
            code = main()
        said = self.capsys.readouterr()
        return code, said.out + said.err

    def python(self, text: str) -> None:
        if ">>> " not in text:
            exec(compile(text, "page", "exec"), self.names)
            return
        test = doctest.DocTestParser().get_doctest(text, self.names, "page", None, 0)
        said: list[str] = []
        runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
        runner.run(test, out=said.append, clear_globs=False)
        self.names |= test.globs
        assert not said, "".join(said)


def is_harness(command: str) -> bool:
    """One command of harness and nothing else of the shell."""
    plain = re.sub("'.*?'", "", command)
    return command.startswith(("python -m harness", "harness")) and not re.search(r"[|>&;]|\$\(", plain)


def shell(command: str) -> tuple[int, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=env, timeout=600)
    return done.returncode, done.stdout + done.stderr


def like(line: str) -> str:
    """A pattern of what is shown: any number for a number, anything for `...`."""
    parts = re.split(rf"([0-9a-f]{{32}}|{NUMBER}|\.\.\.)", line)
    return "".join(
        ".*" if part == "..." else r"\S+" if i % 2 else re.sub(r"(\\ )+", r"\\s+", re.escape(part))
        for i, part in enumerate(parts)
    )


def executed(page: Path) -> Any:
    slow = any(block.language == "console" for block in blocks(page))
    return pytest.param(page, id=str(page.relative_to(ROOT)), marks=[pytest.mark.slow] if slow else [])


@pytest.mark.parametrize("page", [executed(page) for page in PAGES if any(map(is_run, blocks(page)))])
def test_a_reader_can_type_everything(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "HARNESS_"))}
    monkeypatch.setattr("mlflow.tracking._tracking_service.utils._tracking_uri", None)  # a page may set it
    with mock.patch.dict(os.environ, kept | {"MPLBACKEND": "agg"}, clear=True):
        reader = Reader(capsys)
        for block in filter(is_run, blocks(page)):
            reader.read(block)


COMMAND = r"^(?: {4})?((?:python3?|harness|marimo|mlflow|curl|pip|git|npm|ray) \S.*)"


def not_executed(page: Path) -> list[str]:
    """The commands of a page that stand in other blocks than those that are executed, without a meaning beside them."""
    text = page.read_text(encoding="utf8")
    for block in filter(is_run, blocks(page)):
        text = text.replace(block.text, "")
    return [re.split(r" {2,}", line)[0] for line in re.findall(COMMAND, text, re.MULTILINE)]


@pytest.mark.parametrize(
    ("page", "command"),
    [
        pytest.param(page, command, id=f"{page.relative_to(ROOT)}: {command[:60]}")
        for page in [*PAGES, ROOT / "CONTRIBUTING.md"]
        if str(page.relative_to(ROOT)) not in ELSEWHERE
        for command in not_executed(page)
    ],
)
def test_a_command_that_is_only_shown_is_one_that_exists(page, command):
    """It has a reason why it is not run; or it is a grid that composes, or a verb with options that it has."""
    if command.startswith(tuple(NOT_RUN)):
        return
    assert command.startswith("python -m harness ")
    verb, *words = shlex.split(command.removeprefix("python -m harness "))
    if verb in VERBS:
        assert {word for word in words if word.startswith("-")} <= set(OF_VERBS.get(verb, ()))
    else:
        assert checked_cells([verb, *words]).cells


def test_every_reason_names_a_test_that_exists_and_a_command_that_a_page_has():
    for reason in [*NOT_RUN.values(), *ELSEWHERE.values()]:
        assert all((ROOT / file).is_file() for file in re.findall(r"tests/[\w/]+\.py", reason))
    shown = "\n".join(page.read_text(encoding="utf8") for page in [*PAGES, ROOT / "CONTRIBUTING.md"])
    assert [command for command in NOT_RUN if command not in shown] == []


def test_what_is_shown_must_be_printed():
    assert re.fullmatch(like("3 of 3 cells trained in 7.3 s"), "3 of 3 cells trained in 12 s")
    assert re.fullmatch(like("B=8  0.972..."), "B=8    0.97  0.11 ±1.5%")
    assert re.fullmatch(like("Report: .../report.html"), "Report: mlruns/1/report.html")
    assert not re.fullmatch(like("3 of 3 cells trained in 7.3 s"), "3 of 3 cells failed in 7.3 s")


def test_a_page_with_a_wrong_command_fails(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    reader = Reader(capsys)
    with pytest.raises(AssertionError, match="exit code 2"):
        reader.read(Block("", "console", "", "$ python -m harness batch_size=0\n"))
    with pytest.raises(AssertionError, match="does not print"):
        reader.read(Block("", "console", "", "$ echo one\ntwo\n"))
    with pytest.raises(AssertionError, match="Got"):
        reader.read(Block("", "python", "", ">>> 1 + 1\n3\n"))
