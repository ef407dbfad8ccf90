"""A sweep of cells whose batch size grows and whose rate falls: recorded, timed, found again, verified."""

import pytest

TINY = ["dataset=iris", "model.hidden=[4]", "epochs=3", "seeds=3", "milestones=[1]", "milestone_factor=3"]


@pytest.mark.slow
def test_a_sweep_of_growing_batches_is_recorded_timed_found_and_verified(project):
    words = ["-m", "batch_size=8", "batch_size_schedule=constant,step", "learning_rate_schedule=constant,cosine"]
    code, said = project.run(*words, "warm_up_epochs=1", *TINY)
    assert code == 0, said
    assert "Seconds" not in said
    (sweep,) = project.runs("sweep")
    cells = {
        tuple(run.data.params[f"{key}_schedule"] for key in ("batch_size", "learning_rate")): run
        for run in project.runs("cell")
    }
    assert len(cells) == 4
    timing = project.table(sweep, "timing.csv")
    grown = cells["step", "cosine"]
    own = timing[timing["signature"] == grown.data.tags["signature"]]
    assert sorted(set(own["phase"])) == [0, 1]
    history = project.table(grown, "history.csv")
    assert history["update"].max() == 12 + 2 * 4  # 90 examples in batches of 8, then of 24
    assert history["epoch"].max() == 3
    table = project.table(sweep, "cells.csv").set_index("run_id")
    assert table.loc[grown.info.run_id, "learning_rate"] == 0.1
    assert "batch_size_schedule=step" in table.loc[grown.info.run_id, "label"]

    assert "4 of 4 cells trained (4 found finished in the store)" in project.run(*words, "warm_up_epochs=1", *TINY)[1]
    code, said = project.run("verify", sweep.info.run_id)
    assert code == 0, said
    assert "4 of 4 finished cells are identical bit for bit" in said
    assert project.run("report", sweep.info.run_id)[0] == 0


def test_a_batch_that_would_grow_beyond_the_set_is_told(project):
    code, said = project.run("batch_size=64", "batch_size_schedule=step", *TINY)
    assert code == 0, said
    assert "batch_size_schedule=step: 64 × 3 is larger than N=90: clipped to N" in said
