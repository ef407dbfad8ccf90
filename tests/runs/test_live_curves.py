"""Points of a cell's run: some of its checkpoints, and few enough for a store with many cells."""

import pytest

from harness.runs.live_curves import PARTS

SMALL = ["batch_size=8", "dataset=iris", "seeds=2"]


def points(project, run, metric="cost/train"):
    return {m.step: m.value for m in project.client.get_metric_history(run.info.run_id, metric)}


@pytest.mark.sample(1)
@pytest.mark.parametrize("budget", ["epochs=60", "updates=700", "train_seconds=0.02"])
def test_curves_have_their_ends_and_a_point_in_each_part(project, budget):
    words = [budget] if budget.startswith("epochs") else [budget, "epochs=null"]
    assert project.run(*SMALL, *words)[0] == 0
    (cell,) = project.runs("cell")
    medians = project.table(cell, "history.csv").groupby("update")["train_cost"].median()
    found = points(project, cell)
    assert found == pytest.approx(medians[list(found)].to_dict(), rel=1e-12)
    assert {medians.index[0], medians.index[-1]} <= set(found)
    assert len(found) <= PARTS + 1
    clocks = [points(project, cell, f"progress/{name}") for name in ("epochs", "train_seconds")]
    assert all(set(clock) == set(found) for clock in clocks)
    if not budget.startswith("train_seconds"):
        first = {PARTS * update // medians.index[-1]: update for update in reversed(medians.index)}
        assert set(found) == set(first.values())


def test_a_cell_that_diverges_has_its_last_checkpoint(project):
    """Long before the budget is spent."""
    assert project.run(*SMALL, "epochs=200", "learning_rate=1e4", "reduction=sum", "model.activation=relu")[0] == 0
    (cell,) = project.runs("cell")
    ended = project.table(cell, "replicas.csv")["end_update"].max()
    assert ended in points(project, cell, "progress/epochs")


@pytest.mark.slow
def test_a_default_cell_has_at_most_200_rows(project):
    """The default but for replicas, which share their points."""
    assert project.run("batch_size=1", "seeds=1")[0] == 0
    (cell,) = project.runs("cell")
    assert sum(len(points(project, cell, metric)) for metric in cell.data.metrics) <= 200
