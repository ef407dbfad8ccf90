"""What the README says is run: its examples, its commands, the answer that it shows. Its findings are those of docs."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from harness.app.keys import keys
from harness.config.schema import RULES

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf8")
EXAMPLES_PAGE = (ROOT / "docs" / "examples.md").read_text(encoding="utf8")
KEYS = ROOT / "docs" / "keys.md"
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXAMPLES = [text for kind, text in FENCE.findall(README + EXAMPLES_PAGE) if kind == "python"]
ANSWER = README.partition("<!-- answer -->")[2].partition("<!-- end of answer -->")[0]
ANSWER_OF = re.compile(r"^\|.*\| \*\*(\w+)\*\* \[(\S+?)\]\(", re.MULTILINE)  # a row ends with its verdict and claim
SMALL = ("epochs=1", "seeds=2")  # appended to what trains


def test_it_is_short():
    assert len(README) <= 6000


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_python_example_runs(example, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(example, names)
    assert capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_the_readme_trains_from_python_in_six_lines():
    (example,) = [text for kind, text in FENCE.findall(README) if kind == "python"]
    assert len([line for line in example.splitlines() if line]) == 6


def test_the_updates_of_the_kernel_example_lower_the_cost(capsys):
    (example,) = [text for text in EXAMPLES if "inplace_update" in text]
    names: dict[str, object] = {}
    exec(example, names)
    network, X, Y = names["network"], names["X"], names["Y"]
    after = network.costs(X, Y)
    assert names["sgd"].n_steps == 4
    assert after.shape == (1, 256)
    assert after.mean() < float(capsys.readouterr().out.split()[1])  # that was printed before the four updates


def help_text() -> str:
    """What --help lists as commands."""
    return yaml.safe_load((ROOT / "conf/hydra/help/harness.yaml").read_text(encoding="utf8"))["header"]


def commands() -> list[list[str]]:
    """Every command line of README, examples and --help, with one word for each optional or open one."""
    blocks = [text for _, text in FENCE.findall(README + EXAMPLES_PAGE)] + [help_text()]
    lines = [re.split(r" {2,}", line.strip())[0] for block in blocks for line in block.splitlines()]
    found = [line.partition("python -m harness")[2] for line in lines if line.startswith("python -m harness")]
    shown = [line.replace("[--all | NAME ...]", "vectorisation size=small") for line in dict.fromkeys(found)]
    return [shlex.split(line.replace("-m ...", "-m batch_size=1,64,512")) for line in shown]


def test_all_commands_are_found():
    """So that the slow test below runs them."""
    found = commands()
    assert {words[0] for words in found if words} >= {"-m", "studies", "report", "verify", "deliver", "pack", "unpack"}
    assert len(found) >= 17


@pytest.mark.slow
def test_every_command_runs(tmp_path):
    """In their order in one folder, as a reader would; with few epochs and replicas."""
    (tmp_path / "my.csv").write_text("a,b,label\n" + "".join(f"{i % 7},{i % 5},{i % 2}\n" for i in range(60)))
    sweeps: list[str] = []
    for words in commands():
        if words == ["ui"]:  # it ends at Ctrl-C: tests/report/test_mlflow_pages.py
            continue
        ids = iter(sweeps)
        words = [next(ids) if "RUN_ID" in word else word for word in words if word not in ("[RUN_ID", "...]", "[...]")]
        trains = not words or "=" in words[0] or words[0] == "-m"
        small = [word for word in SMALL if word.partition("=")[0] + "=" not in " ".join(words)]
        asked = [*words, *small] if trains and "experiment=" not in " ".join(words) else words
        asked = [*words, "size=small"] if "experiment=" in " ".join(words) else asked
        done = subprocess.run(
            [sys.executable, "-m", "harness", *asked],
            cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, timeout=600,
        )  # fmt: skip
        assert done.returncode == 0, f"{asked}: {done.stdout}{done.stderr}"
        sweeps += re.findall(r"^Report: .*/([0-9a-f]{32})/", done.stderr, re.MULTILINE)
    assert len(sweeps) >= 4


def environment(folder: Path) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "HARNESS_"))}
    return kept | {"PYTHONPATH": str(ROOT)}


def row(line: str) -> tuple[str, list[float]]:
    """A cell of the terminal's table: its name; its cost, quartiles and accuracy. The time is the machine's."""
    name, cost, quartiles, accuracy = re.split(r" {2,}", line)[:4]
    return name, [float(cost), *map(float, quartiles.strip("[]").split(", ")), float(accuracy)]


@pytest.mark.slow
def test_the_answer_that_is_shown_is_the_answer(tmp_path):
    """In a new store. Numbers of other machines may differ in the last of three digits."""
    command = [sys.executable, "-m", "harness", "-m", "batch_size=1,64,512"]
    done = subprocess.run(command, cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    told = [line for line in (done.stdout + done.stderr).splitlines() if line]
    first, header, *rows = ANSWER.replace("```text\n", "").replace("```", "").strip().splitlines()
    assert any(line.startswith(first.rstrip(" …")) for line in told)
    assert header in told
    cells = dict(row(line) for line in told if re.match(r"B=\d+ η=", line))
    assert len(cells) == 3
    assert {name: pytest.approx(values, rel=0.01) for name, values in map(row, rows[:3])} == cells


def test_the_readme_shows_the_command_of_its_answer():
    assert "\npython -m harness -m batch_size=1,64,512\n" in README.partition("<!-- answer -->")[0]


def test_ci_runs_the_readmes_test_command():
    assert README.count("<!-- test command -->") == 1
    assert "<!-- test command -->" in (ROOT / ".ci" / "run").read_text()


def test_what_was_found_has_the_verdicts_of_the_findings():
    findings = (ROOT / "docs" / "findings.md").read_text(encoding="utf8")
    verdicts = {claim: verdict for verdict, claim in ANSWER_OF.findall(findings)}
    told = re.findall(r"^- \*\*(\w+), [^*]*: (\w+)", README, re.MULTILINE)
    assert len(told) == 4
    assert told == [(claim, verdicts[claim]) for claim, _ in told]
    studies, claims = map(int, re.search(r"^(\d+) studies, (\d+) claims", findings, re.MULTILINE).groups())
    assert (studies, claims) == (28, 88)
    assert "Twenty-eight studies test 88 claims" in README


def test_every_top_level_key_is_explained_by_help():
    assert {key for key in RULES if "." not in key} <= set(re.findall(r"^([a-z_]+): .*#", keys(), re.MULTILINE))


def test_every_key_and_every_dataset_is_on_the_page_of_keys():
    text = KEYS.read_text(encoding="utf8")
    headings = set(re.findall(r"^### `([\w.=]+)`$", text, re.MULTILINE))
    assert {key for key in RULES if key != "optimizer.name"} <= headings
    assert {f"dataset={file.stem}" for file in (ROOT / "conf" / "dataset").glob("[a-z]*.yaml")} <= headings
    assert all(f"`{group}=NAME`" in text for group in ("dataset", "model", "optimizer"))


@pytest.mark.parametrize("page", sorted(set(re.findall(r"\]\(([^)#:]+)\)", README))))
def test_every_page_that_is_linked_exists(page):
    assert (ROOT / page).is_file()
