"""What the README says is run: its examples, its commands, its keys."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from harness.config.schema import RULES

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf8")


EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
SMALL = ("epochs=1", "seeds=2")  # appended to what trains


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_python_example_runs(example, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(example, names)
    assert capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_the_updates_of_the_kernel_example_lower_the_cost(capsys):
    (example,) = [text for text in EXAMPLES if "inplace_update" in text]
    names: dict[str, object] = {}
    exec(example, names)
    network, X, Y = names["network"], names["X"], names["Y"]
    after = network.costs(X, Y)
    assert names["sgd"].n_steps == 4
    assert after.shape == (1, 256)
    assert after.mean() < float(capsys.readouterr().out.split()[1])  # that was printed before the four updates


def commands() -> list[list[str]]:
    """Every command line of a code block that starts the harness, with one word for each optional or open one."""
    blocks = re.findall(r"```\n(.*?)```", README, re.DOTALL)
    lines = [line.split("  ")[0] for block in blocks for line in block.splitlines()]
    found = [line.partition("python -m harness")[2] for line in lines if "python -m harness" in line]
    shown = [line.replace("[--all | NAME ...]", "vectorisation size=small") for line in dict.fromkeys(found)]
    return [shlex.split(line) for line in shown]


@pytest.mark.slow
def test_every_command_runs(tmp_path):
    """In their order in one folder, as a reader would; with few epochs and replicas."""
    (tmp_path / "my.csv").write_text("a,b,label\n" + "".join(f"{i % 7},{i % 5},{i % 2}\n" for i in range(60)))
    sweeps: list[str] = []
    for words in commands():
        if words == ["ui"]:  # it ends at Ctrl-C: tests/report/test_mlflow_pages.py
            continue
        ids = iter(sweeps)
        words = [next(ids) if "RUN_ID" in word else word for word in words if word not in ("[RUN_ID", "...]")]
        trains = not words or "=" in words[0] or words[0] == "-m"
        asked = [*words, *SMALL] if trains and "experiment=" not in " ".join(words) else words
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


def test_ci_runs_the_readmes_test_command():
    assert README.count("<!-- test command -->") == 1
    assert "<!-- test command -->" in (ROOT / ".ci" / "run").read_text()


def test_every_top_level_key_is_in_the_table():
    keys = {key for key in RULES if "." not in key} | {"dataset", "model", "optimizer"}
    table = README[README.index("| key |") : README.index("A bad value")]
    assert keys - set(re.findall(r"`([a-z_]+)`", table)) - {"reference_batch_size"} == set()


def test_every_dataset_is_in_the_table():
    options = {path.stem for path in Path(ROOT / "conf" / "dataset").glob("[a-z]*.yaml")}
    assert options <= set(re.findall(r"`([a-z_]+)`", README))
