"""Figures of cells: in passing where a sweep is small, else when somebody asks for those of a cell."""

import pytest

from harness.runs import pictures

FIGURES = {"figures/curves.png", "figures/batch_costs.png"}
SIZES = ["-m", "batch_size=8,16", "dataset=iris", "epochs=1", "seeds=2"]


@pytest.mark.slow
@pytest.mark.drawn
def test_cells_of_a_large_sweep_are_drawn_when_asked_for(project, monkeypatch):
    assert project.run(*SIZES)[0] == 0
    small = {cell.info.run_name: cell for cell in project.runs("cell")}
    assert all(project.files(cell) >= FIGURES for cell in small.values())
    assert all("draws its figures" not in cell.data.tags["mlflow.note.content"] for cell in small.values())

    monkeypatch.setattr("harness.runs.recording.MOST_DRAWN", 1)
    assert project.run(*SIZES, "rerun=all")[0] == 0
    _, _, *large = project.runs("cell")
    assert not any(project.files(cell) & FIGURES for cell in large)
    assert all("`python -m harness report`" in cell.data.tags["mlflow.note.content"] for cell in large)

    code, said = project.run("report", large[0].info.run_id)
    assert code == 0
    assert large[0].info.run_id in said
    assert project.files(large[0]) >= FIGURES
    for name in FIGURES:  # as those of the same training, drawn from memory
        own, in_passing = project.artifact(large[0], name), project.artifact(small[large[0].info.run_name], name)
        assert own.read_bytes() == in_passing.read_bytes()


def test_a_cell_is_not_taken_together_with_other_runs(project):
    assert project.run("batch_size=8", "dataset=iris", "epochs=1", "seeds=1")[0] == 0
    (cell,) = project.runs("cell")
    code, said = project.run("report", cell.info.run_id, cell.info.run_id)
    assert code == 2
    assert "the run id of a sweep" in said


def test_the_headline_sweep_is_small():
    assert pictures.MOST_DRAWN >= 3
