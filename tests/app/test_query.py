"""`query`: rows for programs are those of the Python API, in the columns that the page lists; nothing is changed."""

import csv
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import harness
from harness.app import main
from harness.app.options import TABLES
from harness.app.queries import as_csv

pytestmark = pytest.mark.xdist_group("query")  # one worker builds the module's fixture, once

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "query.md").read_text(encoding="utf8")
GRID = ("-m", "dataset=iris", "batch_size=16,64", "learning_rate=0.1,1e6", "epochs=2", "seeds=2", "diagnostics=full")
MORE = ("dataset=diabetes", "optimizer=adam", "epochs=2", "seeds=2", "target=0.4")


def command(folder: Path, experiment: str, *words: str) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        patch.setenv("MLFLOW_EXPERIMENT_NAME", experiment)
        patch.setattr(sys, "argv", ["harness", *words])
        patch.setattr("harness.runs.recording.draw_cell", lambda folder, *about: None)  # no figure is asked for
        patch.setattr("harness.runs.parent.figures", lambda *about: {})
        return main()


@pytest.fixture(scope="module")
def trained(_project_folder):
    """A sweep, then a cell alone, once for all tests; the name of their experiment."""
    assert [command(_project_folder, "query", *words) for words in (GRID, MORE)] == [0, 0]
    return "query"


@pytest.fixture
def store(project, trained):
    project.experiment = trained
    return project


@pytest.fixture
def sweep(store):
    return store.runs("sweep")[0].info.run_id


def rows(project, *words):
    """What a program reads from standard output."""
    return list(csv.DictReader(io.StringIO(run(project, *words)[0])))


def run(project, *words):
    """(standard output, standard error) of a query that succeeds."""
    project.capsys.readouterr()
    assert command(project.path, project.experiment, "query", *words) == 0
    said = project.capsys.readouterr()
    return said.out, said.err


def listed(section: str) -> set[str]:
    """The columns that the page lists under this heading."""
    (part,) = re.findall(rf"^## `{section}`.*?\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    return {name for row in re.findall(r"^\|(.*?)\|", part, re.MULTILINE) for name in re.findall(r"`([^`]+)`", row)}


def api(project, run_id, monkeypatch):
    monkeypatch.chdir(project.path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", project.uri)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", project.experiment)
    return harness.load(run_id)


def test_rows_are_those_of_the_python_api_to_the_last_digit(store, sweep, monkeypatch):
    loaded = api(store, sweep, monkeypatch)
    for name in ("cells", "replicas", "histories"):
        expected, found = getattr(loaded, name), rows(store, sweep, "--table", name)
        assert list(found[0]) == list(expected)
        assert len(found) == len(expected)
        for column, own in expected.items():
            for text, value in zip((row[column] for row in found), own, strict=True):
                same = text == "" if pd.isna(value) else text == str(value)
                assert same or float(text) == value, (column, text, value)


def test_json_has_the_same_rows_and_null_for_what_is_not_finite(store, sweep):
    told = json.loads(run(store, sweep, "--json")[0])
    assert (told["exit_code"], told["table"]) == (0, "cells")
    assert told["meaning"].startswith("read: ")
    as_text = rows(store, sweep)
    assert told["columns"] == list(as_text[0])
    for row, text in zip(told["rows"], as_text, strict=True):
        assert list(row) == told["columns"]
        for name, value in row.items():
            assert (value is None) == (text[name] in ("", "inf")) or value == "", name
            assert not isinstance(value, float) or value == float(text[name])
    assert any(text["score"] == "inf" for text in as_text)  # of a learning rate of a million


@pytest.mark.slow
def test_answers_are_the_comparisons_of_the_report(store, sweep):
    told = json.loads(run(store, sweep, "--table", "answers", "--json")[0])
    code, said = store.run("report", sweep, "--json")
    assert code == 0
    answered = json.loads(next(line for line in said.splitlines() if line.startswith("{")))
    assert told["rows"] == [{name: one[name] for name in told["columns"]} for one in answered["comparisons"]]
    assert set(told["rows"][0]) == set(answered["comparisons"][0])


def test_every_column_is_on_the_page_and_every_column_of_the_page_is_there(store, sweep):
    cell = store.runs("cell")[-1].info.run_id
    for table in TABLES:
        found = set()
        for own in [()] if table == "runs" else [(sweep,), (cell,)]:
            found |= set(json.loads(run(store, *own, "--table", table, "--json")[0])["columns"])
        known = listed(table)
        families = tuple(name.removesuffix("*") for name in known if name.endswith("*"))
        assert not {name for name in found - known if not name.startswith(families or ("?",))}, table
        assert not {name for name in known - found if not name.endswith("*")} - SELDOM, table
        assert all(any(name.startswith(family) for name in found) for family in families)


# Columns that these two do not have: uneven classes, parts of cells, keys that nothing uses, what no replica did.
SELDOM = {
    "accumulate", "milestones", "milestone_factor",
    "final/test_balanced_accuracy", "final/validation_balanced_accuracy", "baseline/test_balanced_accuracy",
    "baseline/validation_balanced_accuracy", "final_test_balanced_accuracy", "final_validation_balanced_accuracy",
    "baseline_test_balanced_accuracy", "baseline_validation_balanced_accuracy", "noise/b_simple",
    "noise/b_simple_pooled", "to_target/updates", "to_target/epochs", "to_target/seconds",
}  # fmt: skip


def test_without_ids_runs_are_listed_newest_first_without_the_cells_of_sweeps(store, sweep):
    found = rows(store)
    assert [row["kind"] for row in found] == ["cell", "sweep"]
    assert found[1] | {"run_id": sweep, "cells": "4", "status": "FINISHED"} == found[1]
    assert "batch_size=16,64" in found[1]["command"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", found[0]["started"])


def test_without_ids_another_table_is_of_the_last_sweep_and_says_which(store, sweep):
    out, err = run(store, "--table", "cells")
    assert out == run(store, sweep)[0]
    assert err.startswith(f"query: the last sweep, {sweep} (")


def test_rows_go_to_a_new_file(store, sweep, tmp_path):
    file, as_json = tmp_path / "rows.csv", tmp_path / "rows.json"
    assert run(store, sweep, "-o", str(file))[0] == ""
    assert file.read_text(encoding="utf8") == run(store, sweep)[0]
    code, said = store.run("query", sweep, "-o", str(file))
    assert (code, said.count("\n")) == (2, 1)
    assert "a file that does not exist yet" in said
    run(store, sweep, "-o", str(as_json))
    told = json.loads(run(store, sweep, "--json")[0])
    assert json.loads(as_json.read_text())["rows"] == told["rows"]
    told = json.loads(run(store, sweep, "--json", "-o", str(tmp_path / "third"))[0])
    assert (told["file"], told["n_rows"], "rows" in told) == (str(tmp_path / "third"), 4, False)


@pytest.mark.parametrize(
    ("words", "allowed"),
    [("-o x.parquet", ".csv or .json"), ("--json -o x.csv", ".json (with --json)"),
     ("--csv -o x.JSON", ".csv (with --csv)")],
)  # fmt: skip
def test_an_ending_that_is_not_of_the_format_is_refused(store, sweep, words, allowed):
    code, said = store.run("query", sweep, *words.split())
    assert code == 2
    assert f"harness: query -o: expected a name that ends in {allowed}, got 'x." in said
    assert not list(store.path.glob("x.*"))


def test_an_ending_chooses_the_format_in_capitals_too(store, sweep, tmp_path):
    run(store, sweep, "-o", str(tmp_path / "rows.JSON"))
    assert json.loads((tmp_path / "rows.JSON").read_text())["table"] == "cells"


@pytest.mark.slow
def test_a_reader_that_wants_one_line_gets_one(store, sweep):
    variables = {"MLFLOW_TRACKING_URI": store.uri, "MLFLOW_EXPERIMENT_NAME": store.experiment}
    command = f"{sys.executable} -m harness query {sweep} --table histories | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=store.path, env=os.environ | variables | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines() == [",".join(listed_in_order(store, sweep)), "0"]
    assert done.stderr == ""


def listed_in_order(store, sweep):
    return json.loads(run(store, sweep, "--table", "histories", "--json")[0])["columns"]


def test_a_query_changes_nothing(store, sweep):
    before = {path: path.read_bytes() for path in store.path.rglob("*") if path.is_file() and "mlruns" in path.parts}
    for table in TABLES:
        run(store, *([sweep] if table != "runs" else []), "--table", table)
    assert before == {
        path: path.read_bytes() for path in store.path.rglob("*") if path.is_file() and "mlruns" in path.parts
    }


def test_a_text_is_no_formula_and_no_row_has_two_lines():
    texts = ["=cmd|' /C calc'!A0", "+1", "-1", "@x", "\tx", "a\nb", 'say "a, b"', "η"]
    table = pd.DataFrame({"=name": texts, "number": [-1.5, float("inf"), float("nan"), 0.1, 1e-300, 1, 2, 3]})
    lines = as_csv(table).splitlines()
    assert len(lines) == 1 + len(texts)
    found = list(csv.reader(lines))
    assert found[0] == ["'=name", "number"]
    assert [row[0] for row in found[1:5]] == ["'=cmd|' /C calc'!A0", "'+1", "'-1", "'@x"]
    assert [row[0] for row in found[5:]] == [r"\tx", r"a\nb", 'say "a, b"', "η"]
    assert [row[1] for row in found[1:]] == ["-1.5", "inf", "", "0.1", "1e-300", "1.0", "2.0", "3.0"]


@pytest.mark.slow
def test_of_a_sweep_without_finished_cells_tables_are_empty(project):
    project.run("-m", "dataset=iris", "batch_size=8,16", "epochs=1", "seeds=1")
    sweep = project.runs("sweep")[0].info.run_id
    for cell in project.runs("cell"):
        project.client.set_terminated(cell.info.run_id, "KILLED")
    assert [row["status"] for row in rows(project, sweep)] == ["KILLED", "KILLED"]
    for table in ("replicas", "histories", "answers"):
        assert rows(project, sweep, "--table", table) == []
