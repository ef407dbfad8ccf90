"""Every example in a docstring of the package is run."""

import doctest
from importlib import import_module
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "harness"
FILES = [path for path in PACKAGE.rglob("*.py") if "\n    >>> " in path.read_text() or "\n>>> " in path.read_text()]
MODULES = sorted(
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__") for path in FILES
)
STORED = "harness.api.results"  # whose example reads a sweep


@pytest.mark.parametrize("name", [name for name in MODULES if name != STORED])
def test_the_examples_of(name):
    tried = doctest.testmod(import_module(name))
    assert tried.attempted > 0
    assert tried.failed == 0


@pytest.mark.slow
def test_the_example_of_a_stored_sweep(project, monkeypatch):
    assert project.run("-m", "dataset=iris", "batch_size=8,64", "seeds=1", "epochs=1")[0] == 0
    monkeypatch.chdir(project.path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", project.uri)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", project.experiment)
    run_id = project.runs("sweep")[0].info.run_id
    assert doctest.testmod(import_module(STORED), extraglobs={"run_id": run_id}) == (0, 3)
