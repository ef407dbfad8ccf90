"""docs/records.md names what runs store: every metric, parameter, tag and file, and nothing else."""

import re
from pathlib import Path
from typing import Any

import pytest

from harness.runs import recording
from harness.store import journal, names

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "records.md").read_text(encoding="utf8")
KEYS = (ROOT / "docs" / "keys.md").read_text(encoding="utf8")
STUDY = """
study:
  name: tiny
  question: Does the page name the files of a study?
  claims:
    T1: {says: It does., source: this test, measure: Nothing., supported: always., refuted: never.}
  grids: [{dataset: iris, batch_size: "8,32", epochs: 1}]
seeds: 2
hydra: {mode: MULTIRUN}
small: {seeds: 2}
"""
JUDGE = """
from harness.analysis import Finding
from harness.inference import Verdict


def judge(evidence):
    yield Finding("T1", Verdict.SUPPORTED, "It does.")
"""


def listed(section: str) -> set[str]:
    """The names in the first columns of the tables of a section."""
    text = PAGE.split(f"## {section}\n")[1].split("\n## ")[0]
    return {name for cell in re.findall(r"^\| (`.*?) \|", text, re.MULTILINE) for name in re.findall(r"`(.+?)`", cell)}


class Stored:
    """What some runs stored, by kind of run: names of metrics, parameters, tags and files."""

    def __init__(self, project: Any) -> None:
        self.metrics: dict[str, set[str]] = {"cell": set(), "sweep": set()}
        self.files: dict[str, set[str]] = {"cell": set(), "sweep": set()}
        self.params: set[str] = set()
        self.tags: set[str] = set()
        for kind in self.metrics:
            for run in project.runs(kind):
                self.metrics[kind] |= run.data.metrics.keys()
                self.files[kind] |= {re.sub(r"^model/.*", "model/", name) for name in project.files(run)}
                self.tags |= {re.sub(r"^(sweep|claim)\..*", self._any, key) for key in run.data.tags}
                self.params |= run.data.params.keys()

    @staticmethod
    def _any(found: re.Match[str]) -> str:
        return {"sweep": "sweep.RUN_ID", "claim": "claim.ID"}[found[1]]


@pytest.fixture
def stored(project, monkeypatch) -> Stored:
    """Of small commands that together store everything: text, gaps, divergence, a target, a study, a failure."""
    rows = [f"{i % 7}.5,{'ab'[i % 2]},{'yes' if i % 9 == 0 else 'no'}\n" for i in range(90)]
    (project.path / "uneven.csv").write_text("x,kind,label\n" + "".join(rows), encoding="utf8")
    (project.path / "experiments").mkdir()
    (project.path / "experiments" / "tiny.yaml").write_text(STUDY, encoding="utf8")
    (project.path / "experiments" / "tiny.py").write_text(JUDGE, encoding="utf8")
    uneven = "dataset=file dataset.load.path=uneven.csv diagnostics=full"
    for line, code in {
        f"-m {uneven} seeds=2 epochs=3 batch_size=8,16 learning_rate=0.1,5000 target=0.1": 0,
        "dataset=linnerud optimizer=adam batch_size=1000 seeds=2 epochs=40 target=1.2 log_model=true": 0,
        "-m experiment=tiny": 0,
        "-m dataset=iris epochs=1 batch_size=8,32 seeds=auto seeds_at_most=10": 0,
        "pack -o runs.zip": 0,
    }.items():
        assert project.run(*line.split())[0] == code, line
    with monkeypatch.context() as patch:
        patch.setattr(recording, "_write_result", _fail)
        patch.setattr(journal, "MAX_WAITING_BYTES", 0)
        project.run("dataset=iris", "seed=3", "epochs=1")
    return Stored(project)


def _fail(*about: object) -> None:
    raise RuntimeError("this cell fails")


@pytest.mark.drawn
@pytest.mark.slow
def test_the_page_has_every_name_and_no_other(stored):
    curves, numbers = "Metrics of a cell that form curves", "Metrics of a cell that are single numbers"
    assert stored.metrics["cell"] == listed(curves) | listed(numbers)
    assert stored.metrics["sweep"] == listed("Metrics of a sweep")
    assert stored.files["cell"] - {"uncommitted.diff"} == listed("Files of a cell") - {"uncommitted.diff"}
    assert {name for name in stored.files["sweep"] if "claim" not in name} == listed("Files of a sweep")
    own, keys = listed("Parameters of a cell"), set(re.findall(r"^### `([\w.]+)`", KEYS, re.MULTILINE))
    assert own <= stored.params <= own | keys
    tags = listed("Tags")
    of_mlflow = {name for name in stored.tags if name.startswith("mlflow.") and not name.startswith(names.PREFIX)}
    assert stored.tags - of_mlflow <= tags
    hidden = {f"{names.PREFIX}{key}" for key in names.BOOKKEEPING}
    assert {name for name in tags if name.startswith(names.PREFIX) and "process" not in name} == hidden
    assert tags - stored.tags - hidden <= {"origin", "origin.user"}  # of other stores: tests/runs/test_archive.py
