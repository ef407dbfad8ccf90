"""A store whose rows and files anybody may have changed: each command ends in one line or in an answer that says so."""

import io
import json
import shutil
import sqlite3
import sys
import time
from contextlib import closing, redirect_stderr, redirect_stdout

import pytest

from harness.app import main

pytestmark = pytest.mark.xdist_group("damaged")  # one worker builds the module's fixture, once

SWEEP = ("-m", "batch_size=8,32", "dataset=iris", "updates=20", "seeds=2")
PATIENCE = 15.0  # seconds; a store that is waited for costs a minute


class Made:
    """A project with a sweep of two cells; each test finds it as it was made."""

    def __init__(self, folder):
        self.folder = folder

    def run(self, *words):
        """(exit code, what it said)."""
        said = io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stderr(said), redirect_stdout(said):
            patch.chdir(self.folder)
            patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{self.folder / 'mlflow.db'}")
            patch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
            patch.setattr(sys, "argv", ["harness", *words])
            code = main()
        return code, said.getvalue()

    def sql(self, text):
        with closing(sqlite3.connect(self.folder / "mlflow.db")) as database:
            found = database.execute(text).fetchall()
            database.commit()
        return found

    def file(self, run, name):
        return self.folder / "mlruns" / "1" / run / "artifacts" / name

    def edit(self, run, name, change):
        path = self.file(run, name)
        path.write_text(change(path.read_text(encoding="utf8")), encoding="utf8")


@pytest.fixture(scope="module")
def backup(tmp_path_factory):
    made = Made(tmp_path_factory.mktemp("damaged") / "project")
    made.folder.mkdir()
    code, said = made.run(*SWEEP)
    assert code == 0, said
    made.sweep, made.cell, _ = (row[0] for row in made.sql("SELECT run_uuid FROM runs ORDER BY start_time"))
    shutil.copytree(made.folder, made.folder.parent / "backup")
    return made


@pytest.fixture
def made(backup):
    """The database is filled again, not replaced: MLflow keeps its connection open."""
    kept = backup.folder.parent / "backup"
    with (
        closing(sqlite3.connect(kept / "mlflow.db")) as source,
        closing(sqlite3.connect(backup.folder / "mlflow.db")) as own,
    ):
        source.backup(own)
    shutil.rmtree(backup.folder / "mlruns")
    shutil.copytree(kept / "mlruns", backup.folder / "mlruns")
    return backup


def set_in(key, value):
    """Change grid.json: key is a path through its first cell."""
    *path, last = key.split("/")

    def change(text):
        rows = json.loads(text)
        place = rows[0]
        for part in path:
            place = place[part]
        place[last] = value
        return json.dumps(rows)

    return lambda made: made.edit(made.sweep, "grid.json", change)


def set_cell(file, column, value):
    """Change the first row of a table of the first cell."""

    def change(text):
        head, first, *rest = text.split("\n")
        values = first.split(",")
        values[head.split(",").index(column)] = value
        return "\n".join([head, ",".join(values), *rest])

    return lambda made: made.edit(made.cell, file, change)


def sql(text):
    return lambda made: made.sql(text.format(cell=made.cell, sweep=made.sweep))


def text_of(run, file, text):
    return lambda made: made.edit(getattr(made, run), file, lambda _: text)


def tag(run, key, value):
    return sql(f"INSERT OR REPLACE INTO tags (key, value, run_uuid) VALUES ('{key}', '{value}', '{{{run}}}')")


def without_tag(run, key):
    return sql(f"DELETE FROM tags WHERE key = '{key}' AND run_uuid = '{{{run}}}'")


def place(run, uri):
    return sql(f"UPDATE runs SET artifact_uri = {uri} WHERE run_uuid = '{{{run}}}'")


ARITHMETIC = "mlflow.harness.arithmetic"
GRIDS = {
    "values/batch_size": ["x", "full", 0, 10**400, True, None],
    "values/learning_rate": [[1], "x", None, -1, 10**400],
    "values/seeds": [None, "x", 10**400],
    "values/reduction": ["max", 5],
    "values/dataset.name": [5, None, ["a"]],
    "values/updates": [{"a": 1}, "x"],
    "values/target": ["x"],
    "values/anything": [{"a": 1}],
    "plan/learning_rate": ["x", 0, None],
    "plan/rate_factor": [0, "x"],
    "plan/n_train": [0, -5, 10**400, "90"],
    "plan/updates_per_epoch": [0],
    "plan/lr_mean": ["x"],
    "plan/sizes": [["a", "b"], [], [4], 5, [4, 0]],
    "plan/loss": ["x", []],
    "plan/later_sizes": [5, [3], [["x", 2]], [[1, 0]], [[2, 8], [1, 9]], [[1, 2, 3]]],
    "signature": [5, "a\nb"],
    "code": [5, None],
    "data": [[]],
}
REFUSED = {  # of `report SWEEP`: in one line
    **{f"grid {key}={str(value)[:12]}": set_in(key, value) for key, values in GRIDS.items() for value in values},
    "grid []": text_of("sweep", "grid.json", "[]"),
    "grid {}": text_of("sweep", "grid.json", "{}"),
    "grid deep": text_of("sweep", "grid.json", "[" * 900 + "]" * 900),
    "grid 1e400": lambda made: made.edit(
        made.sweep, "grid.json", lambda text: text.replace('"batch_size": 8,', '"batch_size": 1e400,')
    ),
    "kind=cell": tag("sweep", "kind", "cell"),
    "looks": tag("sweep", "looks", "1 2 x"),
    "looks down": tag("sweep", "looks", "20 10"),
    "data_notes": tag("sweep", "data_notes", "5"),
    "data_notes deep": tag("sweep", "data_notes", "[" * 3000),
    "start_time": sql("UPDATE runs SET start_time = NULL WHERE run_uuid = '{sweep}'"),
    "start_time of a cell": sql("UPDATE runs SET start_time = NULL WHERE run_uuid = '{cell}'"),
    "no place": place("sweep", "NULL"),
    "empty place": place("sweep", "''"),
    "place with NUL": place("sweep", "'/tmp/a' || char(0) || 'b'"),
    "place on dbfs": place("sweep", "'dbfs:/x'"),
    "place on a server": place("sweep", "'mlflow-artifacts:/x'"),
    "place in a run": place("sweep", "'runs:/x/y'"),
    "relative place": place("sweep", "'x/y'"),
}


@pytest.mark.sample(15)
@pytest.mark.parametrize("damage", REFUSED.values(), ids=REFUSED)
def test_a_sweep_that_is_not_as_written_is_refused_at_once(made, damage):
    damage(made)
    started = time.perf_counter()
    code, said = made.run("report", made.sweep)
    *before, refusal = said.splitlines()
    assert (code, refusal.startswith("harness: ")) == (2, True), said
    assert len(before) <= 1, said  # that no seconds were measured, for the same reason
    assert "Traceback" not in said
    assert time.perf_counter() - started < PATIENCE


LEFT_OUT = {  # of `report SWEEP`: the other cell is reported, and what is missing is said
    **{
        f"{file} {column}={value}": set_cell(file, column, value)
        for file, column, value in [
            ("history.csv", "train_cost", "x"),
            ("history.csv", "update", "x"),
            ("history.csv", "update", "-1"),
            ("history.csv", "replica", "0.5"),
            ("history.csv", "outcome", "happy"),
            ("history.csv", "validation_accuracy", "True"),
            ("replicas.csv", "final_train_cost", "x"),
            ("replicas.csv", "end_update", ""),
            ("replicas.csv", "outcome", "1"),
        ]
    },
    "empty history": text_of("cell", "history.csv", ""),
    "history without rows": lambda made: made.edit(made.cell, "history.csv", lambda text: text.split("\n")[0] + "\n"),
    "no signature": without_tag("cell", "signature"),
    "signature": tag("cell", "signature", "a/b"),
    "arithmetic": tag("cell", ARITHMETIC, "[1]"),
    "arithmetic of numbers": tag("cell", ARITHMETIC, '{{"numpy": [1]}}'),
    "no place": place("cell", "NULL"),
    "place on dbfs": place("cell", "'dbfs:/x'"),
}


@pytest.fixture
def no_pictures(monkeypatch):
    """They take a second."""
    monkeypatch.setattr("harness.runs.parent.figures", lambda *unused: {})


@pytest.mark.sample(3)
@pytest.mark.parametrize("damage", LEFT_OUT.values(), ids=LEFT_OUT)
def test_a_cell_that_is_not_as_written_is_missing_and_that_is_said(made, no_pictures, damage):
    damage(made)
    code, said = made.run("report", made.sweep)
    assert code == 0, said
    assert "Traceback" not in said
    cells = self_table(made)
    assert sorted(cells["status"]) == ["FINISHED", "MISSING"]
    (reason,) = cells["reason"][cells["status"] == "MISSING"]
    assert made.cell in (reason if reason != "never started" else said)


def self_table(made):
    import pandas as pd

    return pd.read_csv(made.file(made.sweep, "cells.csv"), keep_default_na=False)


CELLS = {  # of `report CELL`: in one line
    "no code": without_tag("cell", "mlflow.harness.code"),
    "no signature": without_tag("cell", "signature"),
    "loss": sql("UPDATE params SET value = 'x' WHERE key = 'loss' AND run_uuid = '{cell}'"),
    "no n_train": sql("DELETE FROM params WHERE key = 'n_train' AND run_uuid = '{cell}'"),
    **{
        f"n_train={value}": sql(f"UPDATE params SET value = '{value}' WHERE key = 'n_train' AND run_uuid = '{{cell}}'")
        for value in ("x", "0", "-5", "1e3", "9" * 400)
    },
    "history": set_cell("history.csv", "train_cost", "x"),
    "replicas": set_cell("replicas.csv", "final_train_cost", "x"),
}


@pytest.mark.parametrize("damage", CELLS.values(), ids=CELLS)
def test_a_cell_by_itself_is_refused_in_one_line(made, damage):
    damage(made)
    code, said = made.run("report", made.cell)
    assert (code, said.count("\n")) == (2, 1), said


def other_digest(made):
    set_cell("fingerprints.csv", "digest", "0" * 16)(made)


def environment(**values):
    def damage(made):
        other_digest(made)
        made.edit(made.cell, "environment.json", lambda text: json.dumps(json.loads(text) | values))

    return damage


def nested(depth):
    return json.loads("[" * depth + "1" + "]" * depth)


@pytest.mark.parametrize(
    "values", [{"arithmetic": 5}, {"arithmetic": [1]}, {"arithmetic": {"blas": 1}}, {"blas": nested(600)}], ids=range(4)
)
def test_an_environment_of_another_form_is_refused_by_verify(made, values):
    environment(**values)(made)
    code, said = made.run("verify", made.cell)
    assert (code, said.count("\n")) == (2, 1), said
    assert "environment.json" in said


def test_what_a_store_says_stays_in_its_line(made):
    environment(python="3\nharness: all is well\x1b[2J")(made)
    code, said = made.run("verify", made.cell)
    assert code == 1
    assert not any(line.startswith("harness: all is well") for line in said.splitlines())
    assert "\x1b" not in said


@pytest.mark.slow
def test_a_sweep_trains_again_what_is_not_as_written_and_adopts_the_rest(made):
    tag("cell", ARITHMETIC, "[1]")(made)
    code, said = made.run(*SWEEP)
    assert code == 0, said
    assert f"left out: run {made.cell}: tag arithmetic" in said
    assert "2 of 2 cells trained (1 found finished in the store)" in said


@pytest.mark.slow
def test_a_damaged_table_costs_a_later_sweep_its_cell_and_no_other(made):
    set_cell("history.csv", "train_cost", "x")(made)
    code, said = made.run(*SWEEP[:1], "batch_size=8,32,16", *SWEEP[2:])
    assert code == 1
    assert "Traceback" not in said
    assert f"run {made.cell}: history.csv: expected a table as this version writes it (rerun=all" in said
    code, said = made.run(*SWEEP, "rerun=all")
    assert code == 0, said
    assert "Missing" not in said
