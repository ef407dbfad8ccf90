"""`report --paper` from the command line: the numbers of its JSON, the statement, and what is already in the folder."""

import json
import re

import pytest

from harness.store.names import hidden

MACRO = re.compile(r"^\\newcommand\{\\(\w+)\}\{.*\}% (\S+): .*; runs? ([0-9a-f ]+)$", re.MULTILINE)


@pytest.mark.slow
def test_a_sweep_becomes_a_folder_whose_numbers_are_those_of_the_json(project, tmp_path):
    assert project.run("-m", "dataset=iris", "batch_size=16,64", "epochs=2", "seeds=3")[0] == 0
    sweep = project.runs("sweep")[0].info.run_id
    code, said = project.run("report", sweep, "--paper", str(tmp_path / "paper"), "--json")
    assert code == 0, said
    told = json.loads(next(line for line in said.splitlines() if line.startswith("{")))
    folder = tmp_path / "paper"
    assert told["paper"] == str(folder)
    found = {
        name: (float(value), runs.split()) for name, value, runs in MACRO.findall((folder / "numbers.tex").read_text())
    }
    for cell in told["cells"]:
        name = f"IrisB{'OneSix' if cell['batch_size'] == 16 else 'SixFour'}RateZeroPointOneMean"
        assert found[f"{name}Cost"] == (cell["train_cost"], [cell["run_id"]])
        assert found[f"{name}CostHigh"][0] == cell["train_cost_q75"]
        assert found[f"{name}Test"][0] == cell["test_accuracy"]
        assert found[f"{name}UpdateMicroseconds"][0] == cell["update_us"]
    statement = (folder / "reproducibility.tex").read_text().replace(r"\allowbreak{}", "").replace("{}", "")
    tags = project.runs("cell")[0].data.tags
    for text in (
        sweep,
        tags[hidden("code")],
        tags[hidden("data_digest")],
        "batch\\_size=16,64",
        "Python 3",
        "numpy ",
        "replicas 0 to 2",
    ):
        assert text in statement
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert project.run("report", sweep, "--paper", str(folder))[0] == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before

    (folder / "main.tex").write_text("my own")
    code, said = project.run("report", sweep, "--paper", str(folder))
    assert (code, said.count("\n")) == (2, 1)
    assert "main.tex is as this command wrote it" in said
    assert (folder / "main.tex").read_text() == "my own"


@pytest.mark.slow
def test_a_cell_alone_becomes_a_folder_too(project, tmp_path):
    assert project.run("dataset=diabetes", "epochs=1", "seeds=2")[0] == 0
    cell = project.runs("cell")[0].info.run_id
    assert project.run("report", cell, "--paper", str(tmp_path / "paper"))[0] == 0
    found = MACRO.findall((tmp_path / "paper" / "numbers.tex").read_text())
    assert {run for *_, runs in found for run in runs.split()} == {cell}
    assert any(name.endswith("MeanTest") for name, *_ in found)
