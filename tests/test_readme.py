"""What the README says is run: its ten lines, its commands, its keys."""

import re
from pathlib import Path

from harness.config.schema import RULES

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf8")


def test_the_ten_lines_of_the_notebook_run(capsys):
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names: dict[str, object] = {}
    exec(example, names)
    printed = capsys.readouterr().out
    assert printed.startswith("cost")
    network, X, Y = names["network"], names["X"], names["Y"]
    after = network.costs(X, Y)
    assert names["sgd"].n_steps == 4
    assert after.shape == (1, 256)
    assert after.mean() < float(printed.split()[1])  # four updates lowered the cost that was printed before them


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
