"""Running a command again: what is found in the store, what is trained, and what the parent shows of both.

The command runs in this process, which spares each test the imports; its store is a real one in a folder of its own.
"""

import json
import os
from pathlib import Path

import pandas as pd
import pytest

from harness.runs import answered
from harness.store.names import hidden

SMALL = ["dataset=iris", "epochs=2", "seeds=2"]


def test_finished_cells_are_found_and_the_grid_is_whole(project):
    """A second sweep that overlaps the first trains its own cells only; its parent compares all of them."""
    assert project.run("-m", "batch_size=16,32", *SMALL)[0] == 0
    before = [run.info.run_id for run in project.runs("cell")]
    code, said = project.run("-m", "batch_size=32,64", "optimizer=sgd,momentum", *SMALL)
    assert code == 0
    assert "4 of 4 cells trained (1 found finished in the store)" in said
    trained = [run for run in project.runs("cell") if run.info.run_id not in before]
    assert len(trained) == 3
    _, parent = project.runs("sweep")
    table = project.table(parent, "cells.csv")
    assert list(table["label"]) == [
        "iris B=32 η=0.1 mean optimizer=sgd",
        "iris B=32 η=0.1 mean optimizer=momentum",
        "iris B=64 η=0.1 mean optimizer=sgd",
        "iris B=64 η=0.1 mean optimizer=momentum",
    ]
    assert table["run_id"][0] == before[1]
    assert parent.data.tags["cells_found_finished"] == "1"


@pytest.mark.slow
def test_a_sweep_that_was_answered_tells_its_answer_and_has_no_second_parent(project):
    words = ("-m", "batch_size=16,32", *SMALL)
    _, first = project.run(*words)
    (parent,) = project.runs("sweep")
    code, said = project.run(*words)
    assert (code, len(project.runs("sweep")), len(project.runs("cell"))) == (0, 1, 2)
    count, by, *answer = said.splitlines()
    assert count == "2 of 2 cells trained (2 found finished in the store)"
    assert by.startswith(f"Answered before, by sweep {parent.info.run_id[:8]} ")
    assert answer == first.splitlines()[-len(answer) :]


@pytest.mark.slow
def test_words_that_name_other_runs_are_not_believed(project):
    words = ("-m", "batch_size=16,32", *SMALL)
    project.run(*words)
    signatures = [run.data.tags["signature"] for run in project.runs("cell")]
    for odd in ("../" * 10, 7, None, "0" * 32):
        _changed(project, answered.WORDS, _of_cells(project, dict.fromkeys(signatures, odd)))
        assert "Answered before" not in project.run(*words)[1]
        project.client.delete_run(project.runs("sweep")[1].info.run_id)


OTHERWISE = {
    "a report of two sweeps": lambda project, words, patch: _reported_together(project),
    "its words are numbers": lambda project, words, patch: _changed(
        project, answered.WORDS, '{"sentences": [1], "table": {"columns": {}, "below": []}}'
    ),
    "its table is crooked": lambda project, words, patch: _changed(
        project, answered.WORDS, '{"sentences": [], "table": {"columns": {"a": ["1"], "b": []}, "below": []}}'
    ),
    "another order": lambda project, words, patch: ["-m", "batch_size=32,16", *SMALL],
    "fewer cells": lambda project, words, patch: ["-m", "batch_size=16", *SMALL],
    "a model of each": lambda project, words, patch: [*words, "log_model=true"],
    "as JSON": lambda project, words, patch: [*words, "--json"],
    "other code": lambda project, words, patch: patch.setattr(answered, "code_digest", lambda: "other"),
    "a figure of the user's": lambda project, words, patch: patch.setattr(answered.FIGURES, "names", lambda: ["own"]),
    "its report is gone": lambda project, words, patch: _changed(project, "report.html", None),
    "its words are gone": lambda project, words, patch: _changed(project, answered.WORDS, None),
    "its words are no words": lambda project, words, patch: _changed(project, answered.WORDS, '{"sentences": 1}'),
    "its words name no cells": lambda project, words, patch: _changed(project, answered.WORDS, _of_cells(project, {})),
    "it is killed": lambda project, words, patch: project.client.set_terminated(
        project.runs("sweep")[0].info.run_id, "KILLED"
    ),
}


def _of_cells(project, cells):
    """cells: signature -> id."""
    words = json.loads(Path(project.runs("sweep")[0].info.artifact_uri, answered.WORDS).read_text())
    return json.dumps(words | {"cells": cells})


def _reported_together(project):
    project.run("-m", "batch_size=64", *SMALL)
    assert project.run("report", *(run.info.run_id for run in project.runs("sweep")))[0] == 0


def _changed(project, name, text):
    path = Path(project.runs("sweep")[0].info.artifact_uri, name)
    path.unlink() if text is None else path.write_text(text)


@pytest.mark.sample(1)
@pytest.mark.parametrize("how", OTHERWISE)
def test_it_is_answered_again_where_the_answer_may_be_another(project, monkeypatch, how):
    words = ["-m", "batch_size=16,32", *SMALL]
    project.run(*words)
    changed = OTHERWISE[how](project, words, monkeypatch)
    code, said = project.run(*(changed or words))
    assert (code, "Answered before" in said) == (0, False)
    if how in ("another order", "a report of two sweeps"):
        return
    assert len(project.runs("sweep")) == 2
    tables = [project.table(parent, "cells.csv") for parent in project.runs("sweep")]
    timeless = [name for name in tables[1] if not ("time/" in name or "seconds" in name)]
    assert tables[0].head(len(tables[1]))[timeless].equals(tables[1][timeless])  # seconds may be measured again


@pytest.mark.slow
def test_an_older_answer_is_told_where_its_runs_are_found(project):
    words = ["-m", "batch_size=16,32", *SMALL]
    project.run(*words)
    project.run(*words, "rerun=all")
    assert f"Answered before, by sweep {project.runs('sweep')[1].info.run_id[:8]} " in project.run(*words)[1]
    for run in project.runs("cell")[2:]:
        project.client.delete_run(run.info.run_id)
    assert f"Answered before, by sweep {project.runs('sweep')[0].info.run_id[:8]} " in project.run(*words)[1]


HARM = {
    "deleted": lambda project, run: project.client.delete_run(run.info.run_id),
    "without a table": lambda project, run: Path(run.info.artifact_uri, "history.csv").unlink(),
    "without weights": lambda project, run: Path(run.info.artifact_uri, "weights.npz").write_bytes(b""),
}


@pytest.mark.slow
@pytest.mark.parametrize("harm", HARM)
def test_a_cell_that_was_lost_since_the_answer_is_trained_again(project, harm):
    words = ["-m", "batch_size=16,32", *SMALL]
    project.run(*words)
    HARM[harm](project, project.runs("cell")[0])
    code, said = project.run(*words)
    assert code == 0
    assert "2 of 2 cells trained (1 found finished in the store)" in said
    assert "Answered before" in project.run(*words)[1]


@pytest.mark.slow
def test_a_cell_that_was_trained_again_since_the_answer_has_another(project):
    words = ["-m", "batch_size=16,32", *SMALL]
    project.run(*words)
    project.run("batch_size=16", "rerun=all", *SMALL)
    code, said = project.run(*words)
    assert (code, "Answered before" in said) == (0, False)
    newest = {run.data.params["batch_size"]: run.info.run_id for run in project.runs("cell")}
    assert list(project.table(project.runs("sweep")[-1], "cells.csv")["run_id"]) == [newest["16"], newest["32"]]


AUTO, LINEAR = ["seeds=auto", "seeds_at_most=20"], ["learning_rate_rule=linear", "reference_batch_size=8"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "second"),
    [
        (AUTO, ["seeds=10"]),
        (["seeds=10"], AUTO),
        (["learning_rate=0.2", "seeds=3"], ["learning_rate=0.1", "seeds=3", *LINEAR]),
    ],
)
def test_the_same_runs_with_other_questions_have_another_answer(project, first, second):
    words = ["-m", "batch_size=16", "dataset=iris", "epochs=2"]
    for own in (first, second):
        code, said = project.run(*words, *own)
        assert (code, "Answered before" in said) == (0, False), said


@pytest.mark.slow
def test_rerun_all_trains_everything_again(project):
    project.run("-m", "batch_size=16,32", *SMALL)
    code, said = project.run("-m", "batch_size=16,32", "rerun=all", *SMALL)
    assert code == 0
    assert "2 of 2 cells trained in" in said
    signatures = [run.data.tags["signature"] for run in project.runs("cell")]
    assert signatures[:2] == signatures[2:]
    _, again = project.runs("sweep")
    assert set(project.table(again, "cells.csv")["run_id"]) == {run.info.run_id for run in project.runs("cell")[2:]}


@pytest.mark.slow
def test_what_changes_the_numbers_makes_another_cell(project):
    for words in ([], ["seed=1"], ["diagnostics=full"]):
        code, said = project.run("-m", "batch_size=16", *SMALL, *words)
        assert code == 0
        assert "found finished" not in said


def test_identical_cells_of_one_grid_run_once(project):
    code, said = project.run("-m", "batch_size=16,16", "learning_rate=0.1,0.10", *SMALL)
    assert code == 0, said
    assert said.startswith("training 1 cell, about ")
    assert "\n1 of 1 cells trained in" in said
    assert len(project.runs("cell")) == 1


@pytest.mark.slow
def test_failed_and_killed_cells_are_trained_again(project):
    project.run("-m", "batch_size=16,32,64", *SMALL)
    failed, killed, _ = project.runs("cell")
    project.client.set_terminated(failed.info.run_id, "FAILED")
    project.client.set_terminated(killed.info.run_id, "KILLED")
    code, said = project.run("-m", "batch_size=16,32,64", *SMALL)
    assert code == 0
    assert "(1 found finished in the store)" in said
    assert [run.info.status for run in project.runs("cell")] == ["FAILED", "KILLED"] + ["FINISHED"] * 3


@pytest.mark.slow
def test_a_run_that_lost_its_tables_or_was_deleted_is_not_found(project):
    project.run("-m", "batch_size=16,32", *SMALL)
    lost, deleted = project.runs("cell")
    Path(lost.info.artifact_uri, "history.csv").unlink()
    project.client.delete_run(deleted.info.run_id)
    code, said = project.run("-m", "batch_size=16,32", *SMALL)
    assert code == 0
    assert "2 of 2 cells trained in" in said


@pytest.mark.slow
def test_one_cell_alone_is_found_too(project):
    project.run("-m", "batch_size=16,32", *SMALL)
    code, said = project.run("batch_size=16", *SMALL)
    assert code == 0
    assert said.startswith("Trained already (rerun=all trains it again)\n")
    assert said.endswith(f"\nBrowse: http://127.0.0.1:5000/#/runs/{project.runs('cell')[0].info.run_id}\n")
    assert len(project.runs("cell")) == 2


@pytest.mark.slow  # it measures what a cell will take
def test_a_dry_run_says_what_is_done_and_trains_nothing(project):
    project.run("-m", "batch_size=16", *SMALL)
    code, said = project.run("-m", "batch_size=16,32", "dry_run=true", *SMALL)
    assert code == 0
    few, done, todo, total = sorted(said.strip().splitlines(), key=lambda line: "seeds=2" not in line)
    assert few.startswith("With seeds=2 no difference can be shown, as the answer makes 3 comparisons")
    assert few.endswith("seeds=7 can.")
    assert done.startswith("iris B=16 η=0.1 mean  done, run ")
    assert todo.startswith("iris B=32 η=0.1 mean  about ")
    assert total.startswith("2 cells, 1 done, about ")
    assert len(project.runs("cell")) == 1
    assert len(project.runs("sweep")) == 1


@pytest.mark.slow
def test_verify_repeats_a_cell_and_a_sweep(project):
    project.run("-m", "batch_size=16,32", *SMALL)
    (parent,) = project.runs("sweep")
    code, said = project.run("verify", project.runs("cell")[0].info.run_id)
    assert code == 0
    assert said.startswith("identical bit for bit: iris B=16 η=0.1 mean, ")
    code, said = project.run("verify", parent.info.run_id)
    assert code == 0
    assert said.strip().endswith("2 of 2 finished cells are identical bit for bit")


def test_verify_notices_a_parameter_that_differs(project):
    project.run("batch_size=16", *SMALL)
    (cell,) = project.runs("cell")
    path = Path(cell.info.artifact_uri, "fingerprints.csv")
    table = pd.read_csv(path, dtype={"digest": str})
    row = table.index[table["update"] == 4][1]
    table.loc[row, "digest"] = "0123456789abcdef"
    table.to_csv(path, index=False)
    code, said = project.run("verify", cell.info.run_id)
    assert code == 1
    assert said.startswith("not identical: iris B=16 η=0.1 mean, first at update 4, replica 1")


@pytest.mark.slow
@pytest.mark.drawn
def test_cells_that_were_trained_in_different_ways_are_timed_in_one(project):
    project.run("-m", "batch_size=16", *SMALL)
    project.client.set_tag(project.runs("cell")[0].info.run_id, "timing", "shared")
    project.run("-m", "batch_size=16,32", *SMALL)
    _, parent = project.runs("sweep")
    note = parent.data.tags["mlflow.note.content"]
    assert "Seconds were measured in" in note
    assert "train seconds |" in note.split("### Updates to target")[0]
    assert {"figures/clocks.png", "figures/timing.png"} <= set(project.files(parent, "figures"))


@pytest.mark.slow
def test_the_overrides_and_the_process_are_recorded(project):
    project.run("-m", "batch_size=16", *SMALL)
    (cell,) = project.runs("cell")
    about = json.loads(project.artifact(cell, "environment.json").read_text())
    assert about["overrides"] == ["batch_size=16", *SMALL]
    assert about["launcher"] == "basic"
    assert {library["num_threads"] for library in about["blas"]} == {1}
    assert cell.data.tags[hidden("process.pid")] == str(os.getpid())
    assert cell.data.tags["timing"] == "exclusive"
