"""Cells by their signatures, from the command to the answer: what is one, what is two, which are missing and why."""

from pathlib import Path

import pandas as pd
import pytest

from harness.analysis import SweepCell, sweep_data
from harness.app.composition import compose_cells
from harness.config import ConfigError
from harness.data import load
from harness.report import file_names
from harness.runs import grid as grids
from harness.runs import parent as sweep
from harness.runs import recording, recovery
from harness.runs.loading import SUMMARIES, load_cells, load_sweep
from harness.store import Store
from harness.store.client import Client
from harness.training import Cell, Outcome, identity, tables

TINY = ["dataset=iris", "epochs=2", "seeds=2", "model.hidden=[4]"]


@pytest.fixture(autouse=True)
def undrawn(monkeypatch):
    """Figures take most of the time."""
    monkeypatch.setattr(recording, "draw_cell", lambda folder, *about: None)
    monkeypatch.setattr(sweep, "figures", lambda *about: {})


def note_of(run):
    return run.data.tags["mlflow.note.content"]


@pytest.mark.slow
def test_the_whole_set_is_one_cell_however_it_is_asked_for(project):
    code, said = project.run("-m", "batch_size=90,full,1000", *TINY)
    assert code == 0, said
    assert said.startswith("training 1 cell, about ")
    assert "\n1 of 1 cells trained" in said
    code, said = project.run("-m", "batch_size=full,64", *TINY)
    assert "2 of 2 cells trained (1 found finished in the store)" in said
    assert [run.data.params["batch_size"] for run in project.runs("cell")] == ["90", "64"]
    assert "iris B=90 η=0.1 mean" in note_of(project.runs("sweep")[-1])


@pytest.mark.slow
def test_a_rate_is_one_cell_whether_a_rule_or_the_user_scaled_it(project):
    project.run("-m", "batch_size=32", "learning_rate=0.05", *TINY)
    code, said = project.run("-m", "batch_size=32,64", "learning_rate_rule=constant,linear", "learning_rate=0.1", *TINY)
    assert code == 0, said
    assert "3 of 3 cells trained (1 found finished in the store)" in said
    table = project.table(project.runs("sweep")[-1], "cells.csv")
    assert list(table["label"]) == ["iris B=32 η=0.1 mean", "iris B=32 η=0.05 mean", "iris B=64 η=0.1 mean"]
    assert set(table["setting"]) == {"iris"}


@pytest.mark.slow
def test_values_that_read_alike_are_cells_of_their_own(project):
    words = ["learning_rate=0.1,0.10000001", "model.hidden=[4,2],[2,2]", "dataset=iris", "epochs=1", "seeds=1"]
    code, said = project.run("-m", *words)
    assert code == 0, said
    table = project.table(project.runs("sweep")[0], "cells.csv")
    assert list(table["label"]) == [run.info.run_name for run in project.runs("cell")] == [
        "iris B=64 η=0.1 mean hidden=[4,2]",
        "iris B=64 η=0.1 mean hidden=[2,2]",
        "iris B=64 η=0.10000001 mean hidden=[4,2]",
        "iris B=64 η=0.10000001 mean hidden=[2,2]",
    ]  # fmt: skip
    assert list(table["setting"]) == ["iris hidden=[4,2]", "iris hidden=[2,2]"] * 2


@pytest.mark.slow
def test_sweeps_that_held_different_things_fixed_are_reported_together(project):
    for epochs in (2, 3):
        project.run("-m", "batch_size=16,64", "dataset=iris", "seeds=2", f"epochs={epochs}")
    first, second = (run.info.run_id for run in project.runs("sweep"))
    code, said = project.run("report", first, second)
    assert code == 0, said
    table = project.table(project.runs("sweep")[0], "cells.csv")
    assert list(table["setting"]) == ["iris epochs=2"] * 2 + ["iris epochs=3"] * 2
    assert list(table["label"]) == [f"iris B={B} η=0.1 mean epochs={n}" for n in (2, 3) for B in (16, 64)]
    note = note_of(project.runs("sweep")[0])
    assert "4 of 4 cells finished" in note
    assert "**iris epochs=2: " in note
    assert "**iris epochs=3: " in note


@pytest.mark.slow
def test_code_that_is_edited_meanwhile_trains_nothing_and_is_said(project, monkeypatch):
    """Between the first cell and the second a file that computes numbers changes, as for a worker that starts then."""
    write_result = recording._write_result

    def then_edit(*about):
        outcome = write_result(*about)
        monkeypatch.setattr(identity, "code_digest", lambda: "edited")
        return outcome

    monkeypatch.setattr(recording, "_write_result", then_edit)
    code, said = project.run("-m", "batch_size=16,32", *TINY)
    assert code == 1
    reason = (
        "cell: expected code, data and configuration as the sweep began with (its command again starts from today's), "
        "got 'other code'"
    )
    assert f"harness: {reason}\n" in said
    assert "1 of 2 cells trained" in said
    assert f"iris B=32 η=0.1 mean: ConfigError: {reason}" in said
    assert "Traceback" not in said
    asked, refused = project.runs("cell")
    assert refused.data.tags["signature"] != asked.data.tags["signature"]
    assert (refused.info.status, refused.data.metrics) == ("FAILED", {})
    (parent,) = project.runs("sweep")
    assert "1 of 2 cells finished" in note_of(parent)
    assert f"Missing: iris B=32 η=0.1 mean (ConfigError: {reason})." in note_of(parent)


def test_cells_that_never_started_are_named(project, monkeypatch):
    monkeypatch.setattr(recovery, "train_all", lambda *about: None)
    code, said = project.run("-m", "batch_size=16,full", *TINY)
    assert code == 1
    assert "0 of 2 cells trained" in said
    assert "2 never started: iris B=16 η=0.1 mean; iris B=90 η=0.1 mean\n" in said
    (parent,) = project.runs("sweep")
    assert parent.info.status == "FAILED"
    named = "Missing: iris B=16 η=0.1 mean (never started); iris B=90 η=0.1 mean (never started)."
    assert named in note_of(parent)
    assert list(project.table(parent, "cells.csv")["status"]) == ["MISSING"] * 2


def test_a_sweep_whose_grid_cannot_be_read_is_refused_in_one_line(project):
    """A grid of another form, and none, as of a version that wrote none."""
    project.run("-m", "batch_size=16", *TINY)
    (parent,) = project.runs("sweep")
    path = Path(parent.info.artifact_uri, "grid.json")
    refused = f"harness: sweep {parent.info.run_id}: expected a sweep of this version (run its command again"
    for text in ("[{}]", "{", "[1]", '[{"signature": "a", "plan": {"sizes": 1}}]', '{"a": 1}'):
        path.write_text(text)
        code, said = project.run("report", parent.info.run_id)
        assert (code, said.count("\n")) == (2, 1), said
        assert said.startswith(refused)
        assert "a grid.json of another form" in said
    path.unlink()
    code, said = project.run("report", parent.info.run_id)
    assert (code, said.count("\n")) == (2, 1), said
    assert said.startswith(refused)
    assert said.endswith("got 'one without grid.json'\n")


@pytest.mark.slow
def test_tables_from_memory_are_those_from_the_store(project):
    words = ["-m", "batch_size=16,full", "reduction=sum,mean", *TINY]
    assert project.run(*words)[0] == 0
    (parent,) = project.runs("sweep")
    own = project.client.get_experiment_by_name(project.experiment).experiment_id
    stored = load_sweep(Store(Client(project.client.tracking_uri), own, project.path), parent.info.run_id)
    made = [trained(one) for one in grids.grid(compose_cells(words).cells)]
    memory = sweep_data(stored.title, stored.about, made)
    clocks = ["train_seconds", "run_id", "arithmetic", *(key for key in stored.cells if key.startswith("time/"))]
    for name in ("cells", "replicas", "histories"):
        one, other = (getattr(data, name).drop(columns=clocks, errors="ignore") for data in (stored, memory))
        pd.testing.assert_frame_equal(one, other[one.columns], check_dtype=False, rtol=1e-12)


def trained(one: grids.GridCell) -> SweepCell:
    dataset = load(one.config.dataset)
    cell = Cell(one.config, dataset)
    list(cell.train())
    result = cell.result()
    replicas = tables.replicas(result, one.config)
    summary = {k: v for k, v in tables.summary(result, replicas).items() if k.split("/")[0] in SUMMARIES}
    return SweepCell(
        one.identity, "FINISHED", str(tables.cell_outcome(replicas)), summary=summary, replicas=replicas,
        history=tables.history(result, one.config),
    )  # fmt: skip


def test_a_figure_of_any_setting_has_a_file_name():
    titles = ['clocks file path="a/b.csv"', 'clocks file path="a|b.csv"', "clocks", "clocks " + 300 * "x"]
    names = file_names(titles)
    assert names[titles[2]] == "clocks"
    assert len(set(names.values())) == len(titles)
    assert all(len(name) < 120 and not set(name) & set('/\\|"<>:*?') for name in names.values())


def row_of(project, run):
    store = Store(Client(project.uri), "", project.path)
    (row,) = load_cells(store, [store.get(run.info.run_id)]).cells.to_dict("records")
    return row


def test_what_stands_before_the_curves_is_no_metric(project):
    """The UI draws a chart of each metric, in the order of their names, and compares runs by the first one."""
    assert project.run(*TINY)[0] == 0
    (run,) = project.runs("cell")
    sections = sorted({name.split("/")[0] for name in run.data.metrics})
    assert sections[0] == "cost"
    assert next(iter(run.data.metrics)) == "cost/train"
    assert not {"baseline", "best"} & {*sections}
    assert row_of(project, run)["best/epoch"] == 2


def test_a_run_of_an_earlier_version_has_its_whole_summary_as_metrics(project):
    assert project.run(*TINY)[0] == 0
    (run,) = project.runs("cell")
    project.client.log_metric(run.info.run_id, "best/epoch", 1.5)
    project.client.log_metric(run.info.run_id, "train/cost", 1.0)
    (earlier,) = project.runs("cell")
    row = row_of(project, earlier)
    assert row["best/epoch"] == 1.5
    assert "baseline/test_accuracy" not in row


@pytest.mark.parametrize("column", ["best_epoch", "final_train_cost"])
def test_a_table_of_replicas_of_another_form_is_refused(project, column):
    assert project.run(*TINY)[0] == 0
    (run,) = project.runs("cell")
    path = Path(run.info.artifact_uri, "replicas.csv")
    table = pd.read_csv(path)
    table.assign(**{column: "x"}).to_csv(path, index=False)
    with pytest.raises(ConfigError, match=r"replicas.csv: expected a table as this version writes it"):
        row_of(project, run)


def test_the_note_of_a_cell_has_the_baseline_beside_each_score(project):
    assert project.run(*TINY)[0] == 0
    (run,) = project.runs("cell")
    assert "(always the most frequent class: 0.3333) |" in note_of(run)
    assert row_of(project, run)["baseline/validation_accuracy"] == pytest.approx(1 / 3)
    assert "balanced" not in note_of(run)


def test_a_score_that_is_not_defined_is_said_to_be_so():
    ((config, _),) = compose_cells(["dataset=diabetes"]).cells
    table = pd.DataFrame({"outcome": ["completed", "diverged"], "final_validation_r2": [float("nan"), 1.0]})
    table = table.assign(final_test_r2=0.25)
    summary = {"final/test_r2": 0.25, "baseline/test_r2": 0.0, "baseline/validation_r2": 0.0, "time/example_us": 2.0}
    note = recording.cell_note("name", config, Outcome.COMPLETED, table, summary)
    assert "| validation r2, at the end | undefined |" in note
    assert "| test r2, at the end | 0.25 (always the mean: 0) |" in note
    assert "| time per example of this training (replica 0), µs | 2 |" in note
    lost = table.assign(outcome="diverged", final_validation_r2=float("nan"))
    assert "undefined" not in recording.cell_note("name", config, Outcome.DIVERGED, lost, {})


def test_uneven_classes_have_a_balanced_accuracy_in_their_note():
    ((config, _),) = compose_cells(["dataset=wine"]).cells
    table = pd.DataFrame({"outcome": ["completed"], "final_test_accuracy": 0.9, "final_test_balanced_accuracy": 0.5})
    summary = {"final/test_accuracy": 0.9, "final/test_balanced_accuracy": 0.5}
    summary |= {"baseline/test_accuracy": 0.8, "baseline/test_balanced_accuracy": 1 / 3}
    note = recording.cell_note("name", config, Outcome.COMPLETED, table, summary)
    assert "| test balanced accuracy, at the end | 0.5 (always the most frequent class: 0.3333) |" in note


@pytest.mark.slow
def test_a_finished_cell_of_another_machine_is_found_and_the_note_says_so(project, monkeypatch):
    """Its signature does not change with the machine."""
    there = recording.arithmetic("vectorized") | {"cpu": "Abacus 1", "numpy": "1.0"}
    with monkeypatch.context() as patch:
        patch.setattr(recording, "arithmetic", lambda engine: there)
        assert project.run("-m", "batch_size=8", *TINY)[0] == 0
    code, said = project.run("-m", "batch_size=8,16", *TINY)
    assert (code, "(1 found finished in the store)" in said) == (0, True)
    here = recording.arithmetic("vectorized")
    first, second = (note_of(run) for run in project.runs("sweep"))
    assert "arithmetic" not in first
    differing = f"numpy: 1.0 | {here['numpy']}; cpu: Abacus 1 | {here['cpu']}"
    assert f"Cells were trained with different arithmetic ({differing}), so bits need not repeat." in second


@pytest.mark.slow
def test_the_name_of_a_sweep_has_the_learning_rates_that_were_typed(project):
    """Not those that learning_rate_rule made of them, of which there is one for each batch size."""
    words = ["-m", "dataset=iris", "epochs=1", "seeds=1", "batch_size=8,32", "learning_rate=0.1,0.3"]
    assert project.run(*words, "learning_rate_rule=linear")[0] == 0
    (sweep,) = project.runs("sweep")
    assert sweep.info.run_name == "iris batch_size=8,32 learning_rate=0.1,0.3"
