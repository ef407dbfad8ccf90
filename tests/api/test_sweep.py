"""`harness.sweep`: the tables and the answer of the command line, and what a Python program sees of them."""

import pickle
import re

import numpy as np
import pytest
from matplotlib.figure import Figure
from pandas.testing import assert_frame_equal
from sklearn.datasets import load_iris

import harness
from harness.runs.loading import load_sweep
from harness.store.tracking import Store

SMALL = {"dataset": "iris", "epochs": 3, "seeds": 3}
# Columns that no repetition has: clocks and the runs themselves.
OWN = ("time/", "to_target_seconds", "to_target/seconds", "train_seconds", "run_id")


def stable(table):
    return table[[column for column in table if not column.startswith(OWN)]]


@pytest.fixture(scope="module")
def small():
    return harness.sweep({"batch_size": [8, 64, "full"], "reduction": ["sum", "mean"]}, **SMALL)


@pytest.mark.slow
def test_the_tables_are_those_of_the_command_line(project, monkeypatch):
    words = ["batch_size=8,full,90", "optimizer=sgd,adam", "model.hidden=[4],[5,3]", "target=0.5"]
    code, said = project.run("-m", *[f"{key}={value}" for key, value in SMALL.items()], *words)
    assert code == 0, said
    (parent,) = project.runs("sweep")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", project.uri)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", project.experiment)
    monkeypatch.chdir(project.path)
    stored = load_sweep(Store.open(), parent.info.run_id)
    grid = {"batch_size": [8, "full", 90], "optimizer": ["sgd", "adam"], "hidden": [[4], [5, 3]]}
    own = harness.sweep(grid, target=0.5, **SMALL)
    assert len(own) == 8  # full and 90 are one
    assert repr(own).splitlines()[0] == f"{stored.title}: 8 cells"
    assert_frame_equal(stable(own.cells), stable(stored.cells), check_like=True, rtol=1e-15, atol=0)
    assert_frame_equal(stable(own.replicas), stable(stored.replicas), check_dtype=False, rtol=1e-15, atol=0)
    assert_frame_equal(stable(own.histories), stable(stored.histories), check_dtype=False, rtol=1e-15, atol=0)


def test_a_cell_of_a_sweep_is_the_same_cell_alone(small):
    alone = harness.train(**SMALL, batch_size=64, reduction="sum")
    (same,) = [result for result in small.results if result.signature == alone.signature]
    assert same.weights["W0"].tobytes() == alone.weights["W0"].tobytes()
    assert set(small.cells["cell"]) == {result.signature for result in small.results}
    assert list(small.cells["label"]) == [result.label for result in small.results]


def test_tables_are_tidy(small):
    assert len(small) == 6
    assert len(small.replicas) == 6 * 3
    joined = small.histories.merge(small.cells[["cell", "label"]], on="cell")
    assert len(joined) == len(small.histories)
    assert {"replica", "update", "train_cost", "batch_size", "reduction"} <= set(joined)
    changed = small.cells
    changed["label"] = "mine"
    assert "mine" not in set(small.cells["label"])


def test_the_answer_in_tables_words_and_pictures(small):
    assert set(small.answer().best["batch_size"]) == {8, 64, 90}
    assert small.answer() is small.answer()
    assert len(repr(small.answer())) < 400
    note = small.note()
    assert note.startswith("**iris: ")
    assert "python -m harness -m epochs=3 seeds=3 dataset=iris batch_size=8,64,full reduction=sum,mean" in note
    assert note._repr_markdown_() == note
    drawn = small.figures()
    assert {"clocks", "to_target", "timing"} <= set(drawn)
    assert all(isinstance(figure, Figure) for figure in drawn.values())
    assert drawn._repr_html_().count("data:image/png;base64,") == len(drawn)


@pytest.mark.slow
def test_a_figure_that_cannot_be_drawn_is_left_out_with_a_warning(small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (folder := tmp_path / "extensions" / "figures").mkdir(parents=True)
    body = "    figure = Figure()\n    figure.suptitle('$\\\\nonsense$')\n    return figure\n"
    (folder / "odd.py").write_text(
        f"from matplotlib.figure import Figure\n\n\ndef odd(data, answer):\n{body}", encoding="utf8"
    )
    with pytest.warns(UserWarning, match="the figure odd was left out: ValueError"):
        assert "odd" not in small.figures()


def test_seconds_come_in_blocks_that_differ_between_replicas(small):
    last = small.histories.groupby(["cell", "replica"])["train_seconds"].last().unstack()
    assert (last.nunique(axis=1) == 3).all()
    assert (small.cells["time/update_us_q25"] <= small.cells["time/update_us_q75"]).all()
    assert re.search(r"Seconds were measured in \d or more short blocks", small.note())  # 5, if nothing else runs
    one_work = small.cells.groupby(["batch_size", "reduction"])["time/update_us"].nunique()
    assert (one_work == 1).all()


@pytest.mark.parametrize("trouble", [RuntimeError("no clock"), KeyboardInterrupt()], ids=repr)
def test_a_timing_pass_that_fails_costs_the_seconds_only(monkeypatch, trouble):
    def fail(*arguments):
        raise trouble

    monkeypatch.setattr("harness.api.training.time_updates", fail)
    with pytest.warns(UserWarning, match="seconds were not measured"):
        own = harness.sweep({"batch_size": [8, 64]}, **SMALL)
    assert len(own.results) == 2
    assert "Seconds: one reading" in own.note()
    assert {lead.clock for each in own.answer().headlines for lead in each.leads} == {"epochs", "updates"}


def test_how_it_reads_in_a_notebook(small):
    first, header, *rows = repr(small).splitlines()
    assert first == "iris batch_size=8,64,90 reduction=sum,mean: 6 cells"
    assert header.split("  ")[-1].strip() == "µs per update"
    assert len(rows) == 6
    assert "iris B=90 η=0.1 mean completed" in rows[-1]
    assert small._repr_html_().count("<tr") == 7


def test_a_sweep_can_be_kept_by_pickle(small):
    again = pickle.loads(pickle.dumps(small))
    assert again.note() == small.note()
    assert again.results[0].weights["W0"].tobytes() == small.results[0].weights["W0"].tobytes()


def test_several_grids_follow_each_other():
    pairs = harness.sweep([{"batch_size": [8], "epochs": [1]}, {"batch_size": [64], "epochs": [2]}], "iris", seeds=2)
    assert list(pairs.cells["batch_size"]) == [8, 64]
    assert list(pairs.histories.groupby("batch_size")["epoch"].max()) == [1, 2]
    assert pairs.note().count("python -m harness -m") == 2


def test_arrays_are_compared_like_any_data():
    grid = {"batch_size": np.array([8, 64]), "learning_rate": np.logspace(-1, 0, 2)}
    arrays = harness.sweep(grid, load_iris(return_X_y=True), epochs=3, seeds=3, validation_fraction=0.2)
    assert list(arrays.cells["label"]) == [f"data B={B} η={rate} mean" for B in (8, 64) for rate in ("0.1", "1")]
    assert arrays.note().startswith("**data: ")
    assert "(on data from Python)" in arrays.note()


def test_a_sweep_over_datasets():
    both = harness.sweep({"dataset": ["iris", "wine"]}, epochs=1, seeds=2)
    assert list(both.cells["dataset"]) == ["iris", "wine"]
    assert list(both.cells["setting"]) == ["iris", "wine"]


@pytest.mark.parametrize("grid", [[], "batch_size", [[1, 2]], 3])
def test_a_grid_is_a_mapping_or_a_list_of_mappings(grid):
    with pytest.raises(harness.ConfigError, match="grid: expected a mapping"):
        harness.sweep(grid)


def test_everything_is_refused_before_anything_is_trained(monkeypatch):
    monkeypatch.setattr("harness.api.training._trained", None)
    with pytest.raises(harness.ConfigError, match=r"optimizer.momentum: expected null"):
        harness.sweep({"optimizer": ["momentum", "sgd"]}, "iris", momentum=0.9)
    with pytest.raises(harness.ConfigError, match="at least 20 examples of every class"):
        harness.sweep({"validation_fraction": [0.1, 0.05]}, (np.eye(36), ["a", "b"] * 18))


def test_an_exception_is_an_exception_and_an_interrupt_too(monkeypatch):
    from harness.runs.progress import SweepProgress

    def interrupted(self, *_):
        if self.done:
            raise KeyboardInterrupt

    monkeypatch.setattr(SweepProgress, "show", interrupted)
    with pytest.raises(KeyboardInterrupt):
        harness.sweep({"batch_size": [8, 64]}, **SMALL)


def test_a_sweep_says_how_many_cells_it_has():
    one = harness.sweep({"batch_size": [8]}, "iris", seeds=1, epochs=1)
    assert repr(one).startswith("iris: 1 cell\n")
    assert "iris: 1 cell</p>" in one._repr_html_()
