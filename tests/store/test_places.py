"""A project that was moved, copied or handed in: its store's artifact places lead into the folder that it is in now."""

import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import mlflow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.tracking import MlflowClient

from harness.config import ConfigError
from harness.store import Store, places
from harness.store.journal import Journal
from harness.store.places import PLACES, former_folders, path_of, place, repair, repaired_places
from harness.store.processes import process_tags

NAMES = ["plain", "with blank", "é", "a#b", "a%41b", "100%", "a?b", "?#% é", "..."]
ELSEWHERE = ["s3://bucket/mlruns/7", "mlflow-artifacts:/7", "/elsewhere/artifacts", "file:///elsewhere/mlruns/8"]
OTHER_HOST = {**process_tags(), "process.host": "other-12345678"}


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A project with an experiment, a finished run and a run that another machine was training."""
    folder = tmp_path_factory.mktemp("places") / "original"
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
        experiment = client.create_experiment("harness")
        finished = client.create_run(experiment, tags={"kind": "cell", "signature": "0123"}).info.run_id
        for table in ("history.csv", "replicas.csv"):
            client.log_text(finished, "update\n0\n", table)
        client.set_terminated(finished)
        client.create_run(experiment, tags=OTHER_HOST)
        client.create_run(experiment, tags=process_tags())
        client._tracking_client.store.engine.dispose()
    return folder


@pytest.fixture
def moved(original, tmp_path):
    """A copy whose original is gone."""
    return _moved_to(original, tmp_path / "moved")


def _moved_to(original, folder, database_too=True):
    shutil.copytree(original, folder, dirs_exist_ok=True)
    sql(folder, "UPDATE experiments SET artifact_location = replace(artifact_location, ?, '/gone')", str(original))
    sql(folder, "UPDATE runs SET artifact_uri = replace(artifact_uri, ?, '/gone')", str(original))
    return folder


def sql(folder, statement, *values):
    with closing(sqlite3.connect(folder / "mlflow.db")) as database, database:
        return database.execute(statement, values).fetchall()


def artifacts(folder):
    return [row[0] for row in sql(folder, "SELECT artifact_uri FROM runs ORDER BY artifact_uri")]


def locations(folder):
    return [row[0] for row in sql(folder, "SELECT artifact_location FROM experiments")]


def test_mlflow_has_these_places_and_no_others(original):
    """A place that is missing here stays in the old folder; one that is gone is passed over."""
    every = "SELECT t.name, c.name FROM sqlite_master t, pragma_table_info(t.name) c WHERE t.type = 'table'"
    columns = set(sql(original, every))
    ours = {(table, column) for table, column, _ in PLACES}
    assert ours <= columns, f"MLflow {mlflow.__version__} has renamed {ours - columns}"
    named = {one for one in columns if re.search(r"artifact|location|_uri$", one[1])}
    assert named <= ours, f"MLflow {mlflow.__version__} has new places of files: {named - ours}"


def test_the_trace_tags_are_those_of_mlflow():
    from mlflow.utils import mlflow_tags

    (condition,) = [condition for table, _, condition in PLACES if table == "trace_tags"]
    for name in ("MLFLOW_ARTIFACT_LOCATION", "MLFLOW_TRACE_ARCHIVE_LOCATION"):
        assert getattr(mlflow_tags, name) in condition


@pytest.mark.slow
def test_a_moved_project_has_its_artifacts_in_its_folder(moved, capsys):
    repair(moved)
    assert capsys.readouterr().err == (
        "This project was in /gone: 3 runs now have their files here."
        " 1 that another machine was training are closed as KILLED.\n"
    )
    assert all(path.startswith(f"{moved}/mlruns/") for path in artifacts(moved) + locations(moved))
    repair(moved)
    assert capsys.readouterr().err == ""


def test_a_copy_beside_the_original_never_leads_to_it(original, tmp_path):
    before = (original / "mlflow.db").read_bytes()
    copy = Path(shutil.copytree(original, tmp_path / "copy"))
    (repaired,) = repaired_places(copy)
    assert (repaired.old, repaired.n_runs, repaired.n_lost) == (str(original), 3, 0)
    assert not any(str(original) in path for path in artifacts(copy) + locations(copy))
    assert (original / "mlflow.db").read_bytes() == before


@pytest.mark.parametrize("name", NAMES)
def test_mlflow_finds_the_files_below_any_name(original, tmp_path, name):
    folder = _moved_to(original, tmp_path / name / "project")
    repair(folder)
    listed = [item.path for uri in artifacts(folder) for item in get_artifact_repository(uri).list_artifacts()]
    assert listed == ["history.csv", "replicas.csv"]
    assert repaired_places(folder) == []


def test_a_path_that_mlflow_would_misread_is_written_as_a_uri(original, tmp_path, capsys):
    """MLflow takes %41 in a plain path for an A, and would write beside the project."""
    folder = _moved_to(original, tmp_path / "a%41b")
    sql(folder, "UPDATE experiments SET artifact_location = replace(artifact_location, '/gone', ?)", str(folder))
    sql(folder, "UPDATE runs SET artifact_uri = replace(artifact_uri, '/gone', ?)", str(folder))
    repair(folder)
    assert capsys.readouterr().err == "", "it has not moved"
    assert {path_of(uri) for uri in locations(folder)} == {f"{folder}/mlruns/0", f"{folder}/mlruns/1"}
    assert all(uri.startswith("file:///") for uri in locations(folder) + artifacts(folder))


def test_every_table_is_repaired_and_what_lay_elsewhere_stays(moved):
    for number, uri in enumerate(ELSEWHERE):
        sql(moved, "INSERT INTO experiments (name, artifact_location) VALUES (?, ?)", f"other {number}", uri)
    sql(moved, "INSERT INTO experiments (name, artifact_location) VALUES ('inside', '/gone/art/9')")
    sql(moved, "INSERT INTO experiments (name, artifact_location) VALUES ('near', '/gone too/mlruns')")
    sql(moved, "INSERT INTO experiments (name, artifact_location) VALUES ('out', '/gone/mlruns/../../etc')")
    sql(moved, "INSERT INTO trace_tags VALUES ('mlflow.artifactLocation', '/gone/mlruns/1/traces/t', 't')")
    sql(moved, "INSERT INTO trace_tags VALUES ('note', '/gone/mlruns/1', 't')")
    sql(
        moved,
        "INSERT INTO logged_models (model_id, experiment_id, name, artifact_location, creation_timestamp_ms,"
        " last_updated_timestamp_ms, status) VALUES ('m', 1, 'm', 'file:///gone/mlruns/1/models/m%20m', 0, 0, 1)",
    )
    repair(moved)
    assert set(ELSEWHERE) | {f"{moved}/art/9", "/gone too/mlruns", "/gone/mlruns/../../etc"} < set(locations(moved))
    assert sql(moved, "SELECT artifact_location FROM logged_models") == [(f"{moved}/mlruns/1/models/m m",)]
    values = dict(sql(moved, "SELECT key, value FROM trace_tags"))
    assert values == {"mlflow.artifactLocation": f"{moved}/mlruns/1/traces/t", "note": "/gone/mlruns/1"}


def test_a_root_that_the_user_chose_elsewhere_stays(moved, tmp_path):
    """It has the files of the runs; no database lies beside it, and the project has none of the files."""
    disk = tmp_path / "disk"
    shutil.move(moved / "mlruns", disk / "mlruns")
    sql(moved, "UPDATE experiments SET artifact_location = replace(artifact_location, '/gone', ?)", str(disk))
    sql(moved, "UPDATE runs SET artifact_uri = replace(artifact_uri, '/gone', ?)", str(disk))
    before = (moved / "mlflow.db").read_bytes()
    repair(moved)
    assert (moved / "mlflow.db").read_bytes() == before


def test_a_database_without_its_files_says_so(moved):
    shutil.rmtree(moved / "mlruns")
    (repaired,) = repaired_places(moved)
    assert repaired.n_lost == 1
    assert "The files of 1 are not here: copy the folder mlruns too." in str(repaired)
    assert not any("/gone" in path for path in artifacts(moved))


def test_another_name_of_the_same_folder_is_no_move(moved, tmp_path):
    (tmp_path / "link").symlink_to(moved)
    sql(moved, "UPDATE experiments SET artifact_location = replace(artifact_location, '/gone', ?)", f"{tmp_path}/link")
    sql(moved, "UPDATE runs SET artifact_uri = replace(artifact_uri, '/gone', ?)", f"{tmp_path}/link")
    assert repaired_places(moved) == []


def test_a_second_move_remembers_both_folders(moved, tmp_path):
    repair(moved)
    again = Path(shutil.move(moved, tmp_path / "again"))
    repair(again)
    (text,) = {row[0] for row in sql(again, "SELECT value FROM experiment_tags WHERE key = ?", places.FORMER)}
    assert former_folders(text) == sorted(["/gone", str(moved)])


def test_a_process_that_ends_in_between_leaves_the_store_as_it_was(moved, monkeypatch):
    def die(*unused):
        raise KeyboardInterrupt

    before = sql(moved, "SELECT * FROM runs"), locations(moved)
    monkeypatch.setattr(places, "_remember", die)
    with pytest.raises(KeyboardInterrupt):
        repair(moved)
    assert (sql(moved, "SELECT * FROM runs"), locations(moved)) == before
    monkeypatch.undo()
    assert len(repaired_places(moved)) == 1


def test_a_store_that_cannot_be_written_to_is_refused_or_read(moved, monkeypatch, capsys):
    """A lock, as root may write to a file that is read-only."""
    monkeypatch.setattr(places, "LOCK_SECONDS", 0.05)
    with closing(sqlite3.connect(moved / "mlflow.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(ConfigError, match=r"mlflow\.db.*locked"):
            repair(moved)
        repair(moved, must=False)
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert "/gone/mlruns/1" in locations(moved)


@pytest.mark.parametrize("content", [b"", b"no database" * 100])
def test_what_is_no_store_is_left_alone(tmp_path, content):
    (tmp_path / "mlflow.db").write_bytes(content)
    repair(tmp_path, must=False)
    assert (tmp_path / "mlflow.db").read_bytes() == content


@pytest.mark.parametrize("text", ["", "[", "null", "3", '{"a": 1}', "[1, null]"])
def test_a_tag_that_cannot_be_read_names_no_folder(text):
    assert former_folders(text) in ([], ["a"])


def test_the_store_of_the_moved_project_is_whole(moved, monkeypatch, capsys):
    """Finished cells are found, journals of the old folder are delivered, runs of the other machine are closed."""
    monkeypatch.chdir(moved)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for folder in ("/gone", "/another"):
        journal = Journal.create(moved / "mlruns" / "undelivered", store=f"sqlite:///{folder}/mlflow.db", ended=False)
        journal.append("create", experiment="1", name="waited", tags={"from": folder}, time=1)
        journal.release()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{moved / 'mlflow.db'}")
        store = Store.open()
        assert store.finished_cell("0123") is not None
        assert store.deliver_waiting().n_runs == 1
        waited = store.client.search_runs(["1"], "attributes.run_name = 'waited'")
        assert [run.data.tags["from"] for run in waited] == ["/gone"]
        orphaned = store.orphaned_runs()
    assert [run.data.tags["process.host"] for run in orphaned] == ["other-12345678"]
    assert "This project was in /gone" in capsys.readouterr().err


PARTS = st.text(st.characters(codec="utf8", exclude_characters="\0/"), min_size=1, max_size=8).filter(
    lambda part: part not in (".", "..")
)


@settings(max_examples=200, deadline=None)
@given(old=st.lists(PARTS, min_size=1, max_size=3), rest=st.lists(PARTS, max_size=3), new=st.lists(PARTS, max_size=3))
def test_any_place_inside_the_old_project_is_inside_the_new_one(old, rest, new):
    root, project = "/" + "/".join(old), Path("/new", *new)
    for spelling in ("/".join([root, *rest]), Path(root, *rest).as_uri()):
        moved = places._moved(spelling, root, project)
        if path_of(spelling).startswith(f"{project}/"):
            assert moved == ""
        elif path_of(spelling) is not None:
            assert path_of(moved) == "/".join([str(project), *rest])
    assert path_of(place(f"{project}/x")) == f"{project}/x"


@pytest.mark.parametrize(
    ("address", "is_own"),
    [
        ("sqlite:////a/b c/mlflow.db", True), ("sqlite:///file:/a/b%20c/mlflow.db?uri=true", True),
        ("sqlite:////a/b%20c/mlflow.db", True), ("sqlite:////x/a/b c/mlflow.db", False),
        ("sqlite:////a/b c/other.db", False), ("http://a/b c/mlflow.db", False), ("", False),
    ],
)  # fmt: skip
def test_addresses_of_a_folders_store(address, is_own):
    assert places.names_store_of(address, "/a/b c") is is_own


def test_a_relative_address_is_meant_from_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert places.names_store_of("sqlite:///mlflow.db", str(tmp_path))
