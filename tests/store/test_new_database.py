"""A new store that begins as a copy of an empty one, beside one that MLflow made by itself."""

import sqlite3
from contextlib import closing

import pytest
from mlflow.tracking import MlflowClient

from harness.config import kept as keeping
from harness.store import new_database
from harness.store.new_database import made_in_a_moment


@pytest.fixture(autouse=True)
def kept(tmp_path, monkeypatch):
    kept = tmp_path / "kept"
    kept.mkdir()
    monkeypatch.setattr(keeping, "FOLDER", kept)
    return kept


def made(file):
    """A store as `connect` makes it."""
    file.parent.mkdir(exist_ok=True)
    with made_in_a_moment(file):
        MlflowClient(f"sqlite:///{file}").search_experiments()
    return file


def contents(file):
    """Tables, indices and triggers, and all rows; times of creation left out."""
    with closing(sqlite3.connect(file)) as database:
        schema = sorted(database.execute("SELECT type, name, tbl_name, sql FROM sqlite_master"))
        tables = [name for kind, name, *_ in schema if kind == "table"]
        rows = {name: database.execute(f"SELECT * FROM {name}").fetchall() for name in tables}
    rows["experiments"] = [
        tuple(str(value).replace(str(file.parent), "HERE") for value in row if not str(value).isdecimal())
        for row in rows["experiments"]
    ]
    return schema, rows


def names(file):
    """MLflow writes the constraints of a table in another order each time."""
    schema, rows = contents(file)
    return [row[:3] for row in schema], rows


@pytest.fixture
def no_migrations(monkeypatch):
    """What MLflow would do to make the tables."""
    from mlflow.store.tracking import sqlalchemy_store

    def refuse(engine):
        raise AssertionError("it is made by migrations")

    monkeypatch.setattr(sqlalchemy_store.mlflow.store.db.utils, "_initialize_tables", refuse)


@pytest.mark.slow
def test_a_copy_is_what_mlflow_makes(tmp_path, kept, monkeypatch, request):
    monkeypatch.chdir(tmp_path)
    theirs = made(tmp_path / "first" / "mlflow.db")
    assert [path.suffix for path in kept.iterdir()] == [".db"]
    request.getfixturevalue("no_migrations")
    own = made(tmp_path / "second" / "mlflow.db")
    assert contents(own) == contents(theirs)
    assert list(own.parent.iterdir()) == [own]


def test_a_store_that_is_there_is_left_alone(tmp_path, no_migrations):
    file = tmp_path / "mlflow.db"
    file.write_bytes(b"no database")
    with made_in_a_moment(file):
        pass
    with made_in_a_moment(None):
        pass
    assert file.read_bytes() == b"no database"


@pytest.mark.sample(1)
@pytest.mark.parametrize("what", ["cut", "empty", "text", "folder"])
def test_a_copy_that_cannot_be_used_is_made_anew_by_mlflow(tmp_path, kept, monkeypatch, what):
    theirs = made(tmp_path / "first" / "mlflow.db")
    (bad,) = kept.iterdir()
    whole, wanted = bad.read_bytes(), names(bad)
    if what == "folder":
        bad.unlink()
        bad.mkdir()
    else:
        bad.write_bytes({"cut": whole[: len(whole) // 2], "empty": b"", "text": b"no database" * 999}[what])
    assert names(made(tmp_path / "second" / "mlflow.db"))[0] == names(theirs)[0]
    assert what == "folder" or names(bad) == wanted


@pytest.mark.slow
def test_where_nothing_can_be_kept_mlflow_makes_it(tmp_path, kept):
    kept.rmdir()
    kept.write_bytes(b"in the way")
    assert contents(made(tmp_path / "first" / "mlflow.db"))[1]["experiments"]


def test_a_copy_of_another_version_is_replaced(tmp_path, kept, monkeypatch):
    (kept / f"store-{'0' * 16}.db").write_bytes(b"of an older MLflow")
    made(tmp_path / "first" / "mlflow.db")
    assert list(kept.iterdir()) == [keeping.kept_place("store.db", *new_database._versions())]
    monkeypatch.setattr("mlflow.__version__", "99.0")
    assert list(kept.iterdir()) != [keeping.kept_place("store.db", *new_database._versions())]


@pytest.mark.slow
def test_a_store_to_which_somebody_has_written_meanwhile_is_not_kept(tmp_path, kept):
    file = tmp_path / "mlflow.db"
    with made_in_a_moment(file):
        client = MlflowClient(f"sqlite:///{file}")
        client.create_run("0")
    assert not list(kept.iterdir())
    assert len(client.search_runs(["0"])) == 1
