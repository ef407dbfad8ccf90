"""Runs found by a tag in the tables of a SQLite store, beside what MLflow's own search finds."""

import sqlite3
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow.entities import Metric, Param, RunTag
from mlflow.tracking import MlflowClient

from harness.store.tagged import Tagged

TEXTS = st.sampled_from(["a", "b", "'", "%"])


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    client = MlflowClient(f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db")
    for name in ("here", "elsewhere"):
        client.create_experiment(name)
    return client


def new_run(client, text, experiment="here", start=1, **tags):
    own = client.get_experiment_by_name(experiment).experiment_id
    return client.create_run(own, start, {"signature": text, **tags}).info.run_id


def contents(run):
    info = {key: value for key, value in dict(run.info).items() if key != "lifecycle_stage"}
    return info, run.data.metrics, run.data.params, run.data.tags


def searched(client, texts):
    experiment = client.get_experiment_by_name("here").experiment_id
    found = client.search_runs([experiment], "tags.kind = 'cell'", 1, 1000, ["attributes.start_time ASC"])
    return experiment, [run for run in found if run.data.tags["signature"] in texts]


RUNS = st.lists(st.tuples(TEXTS, st.sampled_from(["here", "elsewhere"]), st.integers(1, 3), st.booleans()), max_size=4)


@pytest.mark.slow
@given(runs=RUNS, wanted=st.sets(TEXTS))
@settings(max_examples=25, deadline=None)
def test_the_runs_are_those_of_mlflows_search(client, runs, wanted):
    tagged = Tagged.of(client.tracking_uri)
    for text, experiment, start, deleted in runs:
        run_id = new_run(client, text, experiment, start, kind="cell")
        values = [Metric("cost", 0.5, 3, 0), Metric("cost", 0.25, 4, 1), Metric("odd", float("nan"), 5, 2)]
        client.log_batch(run_id, values, [Param("B", "8")], [RunTag("note", "é\n")])
        if deleted:
            client.delete_run(run_id)
    experiment, theirs = searched(client, wanted)
    ours = tagged.runs(experiment, "signature", wanted)
    assert str(list(map(contents, ours))) == str(list(map(contents, theirs)))  # as texts, where NaN is NaN


@given(steps=st.lists(st.tuples(st.sampled_from(["add", "delete row", "ask"]), TEXTS), max_size=12))
@settings(max_examples=25, deadline=None)
def test_ids_are_complete_whatever_was_added_or_removed_between_the_questions(client, steps):
    tagged, place = Tagged.of(client.tracking_uri), client.tracking_uri.removeprefix("sqlite:///")
    with closing(sqlite3.connect(place)) as database:
        for step, text in [*steps, ("ask", "a")]:
            if step == "add":
                new_run(client, text, "elsewhere")  # those of the other test are cells, whichever test comes first
            elif step == "delete row":  # as `mlflow gc` does
                last = database.execute("SELECT run_uuid FROM runs ORDER BY rowid DESC").fetchone()
                for table in ("tags", "params", "metrics", "latest_metrics", "runs") if last else ():
                    database.execute(f"DELETE FROM {table} WHERE run_uuid = ?", last)
                database.commit()
            else:
                rows = database.execute("SELECT run_uuid FROM tags WHERE key = 'signature' AND value = ?", (text,))
                assert tagged.ids("signature", text) >= {row[0] for row in rows}


@pytest.mark.parametrize("change", ["user_id = NULL", "name = x'00'"])
def test_what_mlflow_may_refuse_to_read_is_left_to_it(client, change):
    run_id = new_run(client, "odd")
    experiment = client.get_experiment_by_name("here").experiment_id
    tagged = Tagged.of(client.tracking_uri)
    assert len(tagged.runs(experiment, "signature", ["odd"])) == 1
    with closing(sqlite3.connect(client.tracking_uri.removeprefix("sqlite:///"))) as database:
        database.execute(f"UPDATE runs SET {change} WHERE run_uuid = ?", (run_id,))
        database.commit()
    try:
        assert tagged.runs(experiment, "signature", ["odd"]) is None
    finally:
        client.delete_run(run_id) if "NULL" in change else None
        with closing(sqlite3.connect(client.tracking_uri.removeprefix("sqlite:///"))) as database:
            database.execute("DELETE FROM tags WHERE run_uuid = ?", (run_id,))
            database.commit()


def test_a_database_that_is_gone_has_no_answer(tmp_path):
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    client.create_experiment("here")
    tagged = Tagged.of(client.tracking_uri)
    (tmp_path / "mlflow.db").unlink()
    assert tagged.ids("signature", "a") is None
    assert tagged.runs("1", "signature", ["a"]) is None
    assert not (tmp_path / "mlflow.db").exists()
