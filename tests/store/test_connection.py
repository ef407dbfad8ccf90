"""What can be wrong with a store is told before, or when, it is opened; tests/faults/openings.py has the processes."""

import errno
import getpass
import os
import sqlite3
import tempfile
from types import SimpleNamespace

import pytest
from mlflow.exceptions import MlflowException

from harness.config import ConfigError
from harness.store import connection, opening


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


def refusal(call, *arguments):
    with pytest.raises(ConfigError) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("uri", ["sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite+pysqlite:///", "sqlite:x"])
def test_a_store_that_keeps_nothing_is_refused(here, uri):
    assert "keeps nothing" in refusal(opening.check_address, uri)


def test_a_database_that_is_read_only_is_refused(here, monkeypatch):
    (here / "mlflow.db").touch()
    opening.check_address(opening.address())
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    told = refusal(opening.check_address, opening.address())
    assert told.startswith("mlflow.db: expected a file that you may write to (chmod u+rw ")
    assert refusal(opening.check_address, f"sqlite:///{here}/./mlflow.db").startswith("MLFLOW_TRACKING_URI: ")


@pytest.mark.parametrize(("name", "check"), [("mlruns", opening.check_folder), ("mlflow.db", None)])
def test_a_link_that_leads_nowhere_is_refused_at_once(here, name, check):
    (here / name).symlink_to(here / "unmounted" / name)
    told = refusal(check) if check else refusal(opening.check_address, opening.address())
    assert told.startswith(f"{name}: expected a f")
    assert "unmounted" in told


def test_a_file_store_in_mlruns_is_refused_where_it_would_be_shown(here):
    """`mlflow ui` opens it in place of mlflow.db; with an address of the user's it is nobody's business."""
    (here / "mlruns" / "0").mkdir(parents=True)
    (here / "mlruns" / "0" / "meta.yaml").touch()
    assert "(mv mlruns/0 elsewhere)" in refusal(opening.check_address, opening.address())
    opening.check_address("sqlite:///other.db")
    (here / "mlruns" / "0").rename(here / "mlruns" / "0 kept")
    opening.check_address(opening.address())


@pytest.mark.parametrize(
    ("name", "misread"),
    [("plain", False), ("a b", False), ("a#b", False), ("a?b", True), ("a%41b", True), ("é", False)],
)
def test_mlflow_is_told_a_place_only_where_it_would_misread_it(here, monkeypatch, name, misread):
    (here / name).mkdir()
    monkeypatch.chdir(here / name)
    assert opening.is_misread(opening.address()) is misread
    assert opening.in_file(opening.address()).absolute() == here / name / "mlflow.db"
    assert not opening.is_misread("http://localhost")


def test_artifacts_need_a_folder_that_can_be_made(here):
    opening.check_artifacts(str(here / "new" / "1"))
    opening.check_artifacts("s3://bucket/1")
    assert not (here / "new").exists()
    (here / "new").touch()
    for place in (str(here / "new" / "1"), (here / "new" / "1").as_uri()):
        assert "move away or chmod" in refusal(opening.check_artifacts, place)


@pytest.mark.parametrize(("key", "value"), [("name", "another"), ("experiment_id", "")])
def test_what_is_no_experiment_is_refused(key, value):
    found = {"name": "harness", "experiment_id": "1", "lifecycle_stage": "active", "artifact_location": "/1"}
    opening.check_experiment(SimpleNamespace(**found), "harness", "http://localhost")
    told = refusal(opening.check_experiment, SimpleNamespace(**found | {key: value}), "harness", "http://localhost")
    assert "another program answers" in told


@pytest.mark.parametrize("error", [KeyError("uid not found"), OSError("No username set in the environment")])
def test_a_user_without_a_name_has_a_number(monkeypatch, error):
    def unknown():
        raise error

    monkeypatch.setattr(getpass, "getuser", unknown)
    assert opening.user() == str(os.getuid())


def test_without_a_folder_for_temporary_files_locks_lie_in_mlruns(monkeypatch):
    def none():
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    assert opening.lock_folder() == opening.RUNS


def test_whatever_is_raised_becomes_one_line_without_secrets(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "correct horse")

    def open_it():
        with opening.refusing_to_open("postgresql://me:correct horse@host/db"):
            raise RuntimeError("connection to\ncorrect horse failed")

    told = refusal(open_it)
    assert "connection to *** failed" in told
    assert "horse" not in told


@pytest.mark.parametrize("error", [
    MlflowException("Run with id=1 not found\nx"), connection.UnreachableError("away"),
    ConfigError("sweep 1", "a whole grid", "none"), OSError(errno.ENOSPC, "No space left on device"),
])  # fmt: skip
def test_what_the_store_or_the_machine_did_is_one_line(error, capsys):
    connection.print_failure("the answer was not written", error)
    said = capsys.readouterr().err
    assert said.startswith("harness: the answer was not written: ")
    assert said.count("\n") == 1


def test_a_mistake_in_the_program_keeps_its_traceback(capsys):
    connection.print_failure("the answer was not written", KeyError("x"))
    assert capsys.readouterr().err == "KeyError: 'x'\n"


def test_a_folder_in_which_mlflow_makes_no_store_is_refused(tmp_path, monkeypatch):
    folder = tmp_path / "a'b\"c"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(ConfigError, match="current folder: expected a path without"):
        connection.connect()
    assert not (folder / "mlflow.db").exists()


def locked_for(n_times: int):
    """What fails so often, as MLflow does while another program holds the lock of its database."""
    left = [sqlite3.OperationalError("database is locked")] * n_times

    def ask():
        if left:
            raise left.pop()
        return "answer"

    return ask


def test_a_locked_database_is_waited_for_and_that_is_said(capsys):
    assert connection._unless_locked(locked_for(2)) == "answer"
    assert capsys.readouterr().err == "harness: the store: database is locked by another program; waiting for it\n"


def test_a_database_that_stays_locked_is_refused_after_the_time_of_an_outage(monkeypatch):
    monkeypatch.setattr(connection, "OUTAGE_SECONDS", -1.0)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        connection._unless_locked(locked_for(1))


@pytest.mark.parametrize("uri", ["postgresql://me:horse@127.0.0.1:1/db", "postgresql://me:horse@/db?host=/nowhere"])
@pytest.mark.parametrize("connect", [connection.connect, connection.connect_to_read])
def test_a_database_server_that_is_not_there_is_refused_before_mlflow_waits_for_it(uri, connect, here, monkeypatch):
    from harness.store import client

    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setattr(client, "Client", lambda *address: pytest.fail("MLflow would try again for two minutes"))
    told = refusal(connect)
    assert "a store that answers" in told
    assert "horse" not in told


@pytest.mark.parametrize("uri", [
    "sqlite:///file:x.db?mode=memory&uri=true", "sqlite:///file::memory:?cache=shared&uri=true",
    "sqlite:///file:mlflow.db?mode=ro&uri=true",
])  # fmt: skip
def test_addresses_of_sqlite_itself_are_refused(uri):
    assert "sqlite:///FILE" in refusal(opening.check_address, uri)


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: os.symlink("mlflow.db", path), os.mkdir])
@pytest.mark.parametrize("connect", [connection.connect, connection.connect_to_read])
def test_what_is_no_file_in_place_of_the_database_is_refused_before_it_is_opened(make, connect, here):
    make("mlflow.db")
    assert "a database; here is" in refusal(connect)
