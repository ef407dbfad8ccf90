"""What a run logs into a SQLite store by its tables, beside what MLflow's own client makes of the same calls."""

import shutil
import sqlite3
from contextlib import closing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from harness.store.client import Client
from harness.store.direct import Direct


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    client.create_experiment("here", f"{folder}/runs")
    return folder


@pytest.fixture
def uri(folder):
    return f"sqlite:///{folder}/mlflow.db"


def new_run(client):
    return client.create_run(client.get_experiment_by_name("here").experiment_id, 1).info.run_id


def contents(client, run_id):
    """All that MLflow reads back of a run."""
    run = client.get_run(run_id)
    history = {
        key: sorted((one.step, one.timestamp, one.value) for one in client.get_metric_history(run_id, key))
        for key in run.data.metrics
    }
    tags = {key: text for key, text in run.data.tags.items() if key != "mlflow.runName"}
    return run.data.metrics, run.data.params, tags, history


KEYS = st.sampled_from(["cost", "time/train seconds", "a.b-c", "validation/score"])
VALUES = st.floats(allow_nan=False, allow_infinity=False, width=32) | st.integers(-5, 5)
BATCH = st.tuples(
    st.lists(st.builds(Metric, KEYS, VALUES, st.integers(0, 3), st.integers(0, 2)), max_size=6),
    st.dictionaries(st.sampled_from(["B", "η", "reduction"]), st.just("0.1"), max_size=3),
    st.dictionaries(st.sampled_from(["outcome", "mlflow.note.content", "journal"]), st.text("aé\n ", max_size=9)),
)


@pytest.mark.slow
@given(batches=st.lists(BATCH, max_size=4), again=st.booleans())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_run_reads_as_if_mlflow_had_written_it(uri, batches, again):
    ours, theirs, bulk = MlflowClient(uri), MlflowClient(uri), Direct.of(uri)
    own, other = new_run(ours), new_run(theirs)
    for metrics, params, tags in batches:
        items = [Param(*item) for item in params.items()], [RunTag(*item) for item in tags.items()]
        for _ in range(1 + again):
            assert bulk.log(own, metrics, *items)
        theirs.log_batch(other, metrics, *items)
    assert contents(ours, own) == contents(theirs, other)


LEFT = {
    "a long parameter": ([], [Param("a", "x" * 6001)], []),
    "a long tag": ([], [], [RunTag("a", "x" * 8001)]),
    "a name that is a path": ([Metric("../a", 1.0, 0, 0)], [], []),
    "a name with two slashes": ([], [Param("a//b", "1")], []),
    "no number": ([Metric("a", float("nan"), 0, 0)], [], []),
    "infinite": ([Metric("a", float("inf"), 0, 0)], [], []),
    "the run's name": ([], [], [RunTag("mlflow.runName", "new")]),
    "a step beyond the database": ([Metric("a", 1.0, 0, 2**70)], [], []),
    "no text": ([], [], [RunTag("a", "\ud800")]),
    "another value of a parameter": ([Metric("a", 1.0, 0, 0)], [Param("there", "2")], [RunTag("a", "1")]),
}


@pytest.mark.sample(5)
@pytest.mark.parametrize("what", LEFT)
def test_what_mlflow_changes_or_refuses_is_left_to_it(uri, what):
    client, bulk = MlflowClient(uri), Direct.of(uri)
    run_id = new_run(client)
    client.log_batch(run_id, params=[Param("there", "1")])
    before = contents(client, run_id)
    assert not bulk.log(run_id, *LEFT[what])
    assert contents(client, run_id) == before


def test_a_run_that_is_deleted_or_unknown_is_refused_by_mlflow(uri):
    client = Client(uri)
    run_id = new_run(client)
    client.delete_run(run_id)
    for gone in (run_id, "0" * 32):
        with pytest.raises(MlflowException, match=r"deleted|not found"):
            client.log_batch(gone, [Metric("a", 1.0, 0, 0)])
    with closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as database:
        count = "SELECT count(*) FROM metrics WHERE run_uuid IN (?, ?)"
        assert database.execute(count, (run_id, "0" * 32)).fetchone() == (0,)


def test_the_client_writes_by_the_tables_and_hides_bookkeeping(uri, monkeypatch):
    client = Client(uri)
    run_id = new_run(client)
    with monkeypatch.context() as patch:
        patch.delattr(MlflowClient, "log_batch")
        client.log_batch(run_id, [Metric("a", 1.0, 0, 0)], tags=[RunTag("journal", "x"), RunTag("kind", "cell")])
    tags = MlflowClient(uri).get_run(run_id).data.tags
    assert (tags["mlflow.harness.journal"], tags["kind"]) == ("x", "cell")


def test_what_the_database_does_not_take_is_left_to_mlflow(tmp_path, folder, uri):
    """Locked by another program; the wait is SQLite's, shortened here."""
    import sqlalchemy

    bulk, run_id = Direct.of(uri), new_run(MlflowClient(uri))
    bulk.engine = sqlalchemy.create_engine(uri, poolclass=sqlalchemy.NullPool, connect_args={"timeout": 0.1})
    with closing(sqlite3.connect(folder / "mlflow.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert not bulk.log(run_id, [Metric("a", 1.0, 0, 0)], [], [])
    assert bulk.log(run_id, [Metric("a", 1.0, 0, 0)], [], [])


def test_a_database_that_is_gone_is_not_made_anew(tmp_path):
    path = tmp_path / "a b.db"
    client = MlflowClient(f"sqlite:///{path}")
    client.create_experiment("here")
    bulk = Direct.of(f"sqlite:///{path}")
    assert bulk.log(new_run(client), [Metric("a", 1.0, 0, 0)], [], [])
    path.unlink()
    assert not bulk.log("0" * 32, [Metric("a", 1.0, 0, 0)], [], [])
    assert Direct.of(f"sqlite:///{path}") is None
    assert not path.exists()


@pytest.mark.parametrize(
    "uri", ["http://127.0.0.1:1", "postgresql://nobody@nowhere/none", "sqlite:////nowhere/none.db"]
)
def test_any_other_store_has_none(uri):
    assert Direct.of(uri) is None


def everything(client, run_id):
    """All that MLflow reads back of a run and of its data, with the run's id and the ids of tables left out."""
    run = client.get_run(run_id)
    info = {key: value for key, value in dict(run.info).items() if key != "run_id"}
    place = info["artifact_uri"].replace(run_id, "ID")
    inputs = [(dict(one.dataset), [dict(tag) for tag in one.tags]) for one in run.inputs.dataset_inputs]
    return info | {"artifact_uri": place, "artifact_location": ""}, run.data.params, run.data.tags, inputs


TAGS = st.dictionaries(st.sampled_from(["mlflow.user", "kind", "mlflow.harness.journal"]), st.text("aé ", max_size=9))
DATA = st.lists(st.tuples(st.sampled_from(["iris", "digits"]), st.sampled_from(["0", "1"])), max_size=2, unique=True)


CONTEXT = [InputTag("mlflow.data.context", "training")]


@pytest.mark.slow
@given(st.text("aé/", min_size=1, max_size=9), TAGS, DATA, st.sampled_from(["FINISHED", "KILLED"]))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_run_begins_has_data_and_ends_as_mlflow_would_have_it(uri, name, tags, data, status):
    theirs, direct = MlflowClient(uri), Direct.of(uri)
    experiment = theirs.get_experiment_by_name("here").experiment_id
    inputs = [DatasetInput(Dataset(*one, "code", "{}", None, "{}"), CONTEXT) for one in data]
    own, place, user = direct.create(experiment, name, 5, tags)
    other = theirs.create_run(experiment, 5, tags, name).info.run_id
    assert (place, user) == (theirs.get_run(own).info.artifact_uri, tags.get("mlflow.user", "unknown"))
    for _ in range(2):  # done twice it has the effect of once
        assert direct.log(own, inputs=inputs)
        assert direct.end(own, status, 9)
    theirs.log_inputs(other, inputs)
    theirs.set_terminated(other, status, 9)
    assert everything(theirs, own) == everything(theirs, other)


def test_what_mlflow_refuses_of_a_run_and_its_data_is_left_to_it(uri, folder):
    client, direct = MlflowClient(uri), Direct.of(uri)
    experiment, run_id = client.get_experiment_by_name("here").experiment_id, new_run(client)
    gone = client.create_experiment("gone")
    client.delete_experiment(gone)
    far = client.create_experiment("far", "s3://bucket/runs")
    long = client.create_experiment("long", f"{folder}/{'x' * 200}")
    for where, name, tags in (
        (gone, "a", {}), (far, "a", {}), (long, "a", {}), ("12345", "a", {}), (experiment, "", {}),
        (experiment, "x" * 251, {}), (experiment, "a", {"a": "x" * 9000}), (experiment, "a", {"../a": "1"}),
    ):  # fmt: skip
        assert direct.create(where, name, 1, tags) is None
    whole = {"name": "iris", "digest": "0", "source_type": "code", "source": "{}"}
    odd = [
        ({"name": "x" * 501}, CONTEXT),
        ({"digest": "x" * 37}, CONTEXT),
        ({}, []),
        ({}, [*CONTEXT, InputTag("b", "1")]),
    ]
    for change, tags in odd:
        assert not direct.log(run_id, inputs=[DatasetInput(Dataset(**whole | change), tags)])
    assert not direct.end(run_id, "SCHEDULED", 1)
    client.delete_run(run_id)
    for run in (run_id, "0" * 32):
        assert not direct.log(run, inputs=[DatasetInput(Dataset(**whole), CONTEXT)])
        assert not direct.end(run, "FINISHED", 1)


@pytest.mark.sample(1)
@pytest.mark.parametrize("in_place", [False, True])
def test_a_database_that_was_replaced_is_written_to(tmp_path, in_place):
    """As by a backup that is put back, under the same name or into the same file."""
    path, backup = tmp_path / "a.db", tmp_path / "backup.db"
    client = MlflowClient(f"sqlite:///{path}")
    client.create_experiment("here")
    run_id, bulk = new_run(client), Direct.of(f"sqlite:///{path}")
    shutil.copy(path, backup)
    assert bulk.log(run_id, [Metric("a", 1.0, 0, 0)])
    shutil.copy(backup, path) if in_place else backup.replace(path)
    assert bulk.log(run_id, [Metric("b", 2.0, 0, 0)])
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT key FROM metrics").fetchall() == [("b",)]
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_one_connection_serves_many_calls(uri, monkeypatch):
    bulk, run_id = Direct.of(uri), new_run(MlflowClient(uri))
    assert bulk.log(run_id, [Metric("b", 1.0, 0, 0)])  # the first since somebody else has written
    monkeypatch.setattr(sqlite3, "connect", None)
    for step in range(3):
        assert bulk.log(run_id, [Metric("a", 1.0, 0, step)])


def test_a_backup_over_the_file_is_noticed_where_as_much_was_written_since_as_was_lost(tmp_path):
    """SQLite compares the number of changes, and would take the pages that it has for those of the file."""
    path, backup = tmp_path / "a.db", tmp_path / "backup.db"
    client = MlflowClient(f"sqlite:///{path}")
    client.create_experiment("here")
    run_id, kept = new_run(client), Direct.of(f"sqlite:///{path}")
    shutil.copy(path, backup)
    for step in range(3):
        assert kept.log(run_id, [Metric("lost", 1.0, 0, step)])
    shutil.copy(backup, path)
    other = Direct.of(f"sqlite:///{path}")
    for step in range(3):
        assert other.log(run_id, [Metric("new", 1.0, 0, step)])
    assert kept.log(run_id, [Metric("last", 1.0, 0, 0)])
    with closing(sqlite3.connect(path)) as database:
        assert sorted(database.execute("SELECT key FROM metrics")) == [("last",), ("new",), ("new",), ("new",)]
