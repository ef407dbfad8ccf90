"""seeds=auto on the command line: rounds, what is trained in each, and that it goes on wherever it was ended."""

import json

import pytest

from harness.runs import parent, recording, timing
from harness.store import Interrupted

SMALL = ["dataset=iris", "epochs=2", "seeds=auto"]
UNLIKE = ["batch_size=4,full", "learning_rate=1"]  # resolved at ten replicas
ALIKE = ["order=reshuffle,replacement", "batch_size=1", "learning_rate=1"]  # not resolved by twenty


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Neither figures nor a timing pass: what is compared is the same each time."""
    monkeypatch.setattr(recording, "draw_cell", lambda folder, *about: None)
    monkeypatch.setattr(parent, "figures", lambda *about: {})
    monkeypatch.setattr(timing, "measure", lambda *about: "")


def ranges(project):
    """First and last replica of each cell that was trained, in order."""
    tables = [project.table(run, "replicas.csv")["replica"] for run in project.runs("cell")]
    return [(replicas.min(), replicas.max()) for replicas in tables]


@pytest.mark.slow
def test_what_is_resolved_gets_no_more_replicas(project):
    code, said = project.run("-m", *UNLIKE, *SMALL)
    assert code == 0
    assert "round" not in said
    assert "has a lower training cost" in said
    assert ranges(project) == [(0, 9)] * 2
    (sweep,) = project.runs("sweep")
    assert sweep.data.tags["looks"] == "10 20 40"


@pytest.mark.slow
def test_what_is_unresolved_gets_more_up_to_the_bound(project):
    code, said = project.run("-m", *ALIKE, *SMALL, "seeds_at_most=20")
    assert code == 0
    assert "round 2: 2 cells get replicas 10-19: order=re" in said
    assert "is unresolved (p = " in said
    assert "round 3" not in said
    assert ranges(project) == [(0, 9)] * 2 + [(10, 19)] * 2
    (sweep,) = project.runs("sweep")
    assert sweep.info.status == "FINISHED"
    table = project.table(sweep, "cells.csv")
    assert list(table["n_replicas"]) == [20, 20]
    assert list(table["seeds"]) == ["auto", "auto"]
    assert list(table["more_runs"]) == [run.info.run_id for run in project.runs("cell")[2:]]
    names = [run.info.run_name for run in project.runs("cell")]
    assert names[2:] == [f"{name} replicas 10-19" for name in names[:2]]


@pytest.mark.slow
@pytest.mark.parametrize("other", ["20", "8"])
def test_no_look_is_added_once_the_looks_are_spent(project, other):
    """The looks of a sweep share its 5 %; a repeated sweep with further ones would have more."""
    words = ["-m", *UNLIKE, *SMALL]
    assert project.run(*words, "seeds_at_most=10")[0] == 0
    before = [run.info.run_id for run in project.runs("cell")]
    code, said = project.run(*words, f"seeds_at_most={other}")
    assert code != 0
    assert "seeds_at_most: expected 10, as these cells were tested at 10 replicas before" in said
    assert f"got {other}" in said
    assert project.run(*words, "seeds_at_most=10")[0] == 0
    assert [run.info.run_id for run in project.runs("cell")] == before
    assert project.run(*words, f"seeds_at_most={other}", "seed=1")[0] == 0


@pytest.mark.slow
def test_the_same_command_finds_every_part(project):
    words = ["-m", *ALIKE, *SMALL, "seeds_at_most=20"]
    project.run(*words)
    before = [run.info.run_id for run in project.runs("cell")]
    code, said = project.run(*words)
    assert code == 0
    assert "4 of 4 parts of cells trained (4 found finished in the store)" in said
    assert [run.info.run_id for run in project.runs("cell")] == before
    assert project.run(*words, "seeds_at_most_seconds=0.001")[0] == 0  # what is there costs nothing
    assert [run.info.run_id for run in project.runs("cell")] == before
    one, *again = (project.table(sweep, "cells.csv") for sweep in project.runs("sweep"))
    assert all(one.equals(table) for table in again)
    code, said = project.run("-m", *ALIKE, *SMALL[:2], "seeds=10")
    assert "2 of 2 cells trained (2 found finished in the store)" in said


@pytest.mark.slow
@pytest.mark.parametrize("begun", [0, 1])
def test_a_sweep_that_is_ended_between_rounds_or_in_one_goes_on(project, monkeypatch, begun):
    words, train = ["-m", *ALIKE, *SMALL, "seeds_at_most=20"], recording.Cell.train
    left = [2 + begun]

    def ended(cell):
        left[0] -= 1
        if left[0] < 0:
            raise Interrupted("SIGINT")
        return train(cell)

    with monkeypatch.context() as patch:
        patch.setattr(recording.Cell, "train", ended)
        with pytest.raises(Interrupted):
            project.run(*words)
    (killed,) = project.runs("sweep")
    assert killed.info.status == "KILLED"
    assert list(project.table(killed, "cells.csv")["n_replicas"]) == [20 if i < begun else 10 for i in range(2)]
    assert project.run(*words)[0] == 0
    finished = [run for run in project.runs("cell") if run.info.status == "FINISHED"]
    assert len(finished) == 4
    assert list(project.table(project.runs("sweep")[-1], "cells.csv")["n_replicas"]) == [20, 20]


@pytest.mark.slow
def test_a_part_that_fails_is_not_tried_again(project, monkeypatch):
    train = recording.Cell.train

    def failing(cell):
        if cell.config.first_replica and cell.config.order == "reshuffle":
            raise RuntimeError("no luck")
        return train(cell)

    monkeypatch.setattr(recording.Cell, "train", failing)
    code, said = project.run("-m", *ALIKE, *SMALL)
    assert code == 1
    assert "no luck" in said
    assert "round 3" not in said
    (sweep,) = project.runs("sweep")
    assert list(project.table(sweep, "cells.csv")["n_replicas"]) == [10, 20]
    assert len(json.loads(project.artifact(sweep, "grid.json").read_text())) == 4


@pytest.mark.slow
def test_no_round_begins_that_would_take_too_long(project):
    code, said = project.run("-m", *ALIKE, *SMALL, "seeds_at_most_seconds=0.001")
    assert code == 0
    assert "round 2: no further round: it would take about" in said
    assert "more than seeds_at_most_seconds=0.001 leaves" in said
    assert ranges(project) == [(0, 9)] * 2


@pytest.mark.slow
def test_where_all_diverged_nothing_is_added(project):
    code, said = project.run("-m", "batch_size=8,16", "learning_rate=1e300", *SMALL)
    assert code == 0
    assert "round 2" not in said
    assert ranges(project) == [(0, 9)] * 2


@pytest.mark.slow
def test_a_dry_run_says_the_looks_and_the_price(project):
    code, said = project.run("-m", *ALIKE, *SMALL, "dry_run=true")
    assert code == 0
    assert "comparisons are tested at 10, 20, 40 replicas" in said
    assert project.runs("cell") == []


@pytest.mark.slow
def test_rounds_in_workers_are_those_of_one_process(project):
    words = ["-m", *ALIKE, *SMALL, "seeds_at_most=20"]
    project.run(*words)
    alone = project.table(project.runs("sweep")[-1], "cells.csv")["score"]
    code, _ = project.run(*words, "rerun=all", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    assert code == 0
    assert project.table(project.runs("sweep")[-1], "cells.csv")["score"].equals(alone)


@pytest.mark.sample(4)
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["seeds=auto"], "seeds: expected an integer for a single cell"),
        (["-m", "seeds=auto,10"], "seeds: expected auto, with its bounds, for all cells of a sweep or for none"),
        (["-m", "seeds=auto", "seeds_at_most=20,40"], "seeds: expected auto, with its bounds, for all cells"),
        (["-m", "seeds=auto", "train_seconds=1"], "seeds: expected an integer where train_seconds ends training"),
        (["-m", "seeds=auto", "first_replica=10"], "first_replica: expected 0 with seeds=auto"),
        (["-m", "seeds=auto", "experiment=order"], "seeds: expected an integer in a study"),
        (["-m", "seeds=automatic"], "seeds: expected an integer >= 1, or auto in a sweep"),
        (["-m", "seeds=auto", "seeds_at_most=0"], "seeds_at_most: expected an integer >= 1"),
        (["-m", "seeds=auto", "seeds_at_most_seconds=0"], "seeds_at_most_seconds: expected a finite number > 0"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(project, words, message):
    code, said = project.run(*words)
    assert code == 2
    assert f"harness: {message}" in said
    assert len(said.strip().splitlines()) == 1
