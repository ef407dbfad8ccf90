"""A store names places of artifacts; MLflow opens none that would send the user's token to another host."""

from types import SimpleNamespace

import pytest
from mlflow.store.entities import PagedList

from harness.config import ConfigError
from harness.store import Store, hosts
from harness.store.hosts import check_place, is_allowed

LOCAL, SERVER = "sqlite:////home/me/mlflow.db", "https://runs.example:8080"


@pytest.mark.parametrize(
    ("place", "store"),
    [
        ("/home/me/mlruns/1/a/artifacts", LOCAL),
        ("file:///home/me/mlruns/1/a/artifacts", LOCAL),
        ("file:///home/me/50%25 ?#/artifacts", LOCAL),
        (r"C:\me\mlruns", LOCAL),
        ("file:///shared/artifacts", SERVER),
        ("mlflow-artifacts:/1/a/artifacts", SERVER),
        ("mlflow-artifacts://runs.example:8080/1/a", SERVER),
        ("https://runs.example:8080/api/2.0/mlflow-artifacts/artifacts/1", SERVER),
        ("s3://bucket/1", SERVER),
        ("gs://bucket/1", LOCAL),
        ("wasbs://box@account.blob.core.windows.net/1", SERVER),
        ("hdfs:///runs/1", SERVER),
        ("dbfs:/databricks/mlflow/1", "databricks"),
    ],
)
def test_places_of_this_machine_the_stores_server_and_clouds(place, store):
    assert is_allowed(place, store)
    check_place("run", place, store)


@pytest.mark.parametrize(
    ("place", "store"),
    [
        ("http://evil.example/x", LOCAL),
        ("https://evil.example/x", SERVER),
        ("http:///x", LOCAL),
        ("https://runs.example:8081/x", SERVER),
        ("https://runs.example:8080@evil.example/x", SERVER),
        ("mlflow-artifacts://evil.example/x", SERVER),
        ("mlflow-artifacts://evil.example/x", LOCAL),
        ("mlflow-artifacts:/x", LOCAL),
        ("dbfs:/x", LOCAL),
        ("/home/me/\0", LOCAL),
        (None, LOCAL),
        ("file://evil.example/share/x", LOCAL),
        ("ftp://evil.example/x", LOCAL),
        ("sftp://me@evil.example/x", SERVER),
        ("hdfs://evil.example/x", SERVER),
        ("wasbs://box@account.blob.core.evil.example/x", SERVER),
        ("abfss://box@evilcore.windows.net.evil.example/x", SERVER),
        ("r2://bucket@evil.example/x", SERVER),
        ("runs:/0123/x", LOCAL),
        ("models:/m/1", LOCAL),
        ("plugin://x", LOCAL),
        ("file:///home/me/mlruns/../../../etc", LOCAL),
        ("s3://bucket/../other", SERVER),
        ("http://[::1/x", SERVER),
        ("https://runs.example:port/x", SERVER),
    ],
)
def test_other_places_are_refused_in_one_line(place, store):
    assert not is_allowed(place, store)
    with pytest.raises(ConfigError) as refused:
        check_place("run 0123", place, store)
    assert str(refused.value).startswith("run 0123: expected artifacts on this machine")
    assert "\n" not in str(refused.value)


def test_the_password_in_a_place_is_not_told():
    with pytest.raises(ConfigError) as refused:
        check_place("run", "ftp://me:hunter2@evil.example/x", LOCAL)
    assert "hunter2" not in str(refused.value)


def _run(run_id, place):
    info = SimpleNamespace(run_id=run_id, artifact_uri=place, run_name="B=8", start_time=1)
    return SimpleNamespace(info=info, data=SimpleNamespace(tags={}))


class Client:
    """A store of which another hand has written three runs."""

    tracking_uri = LOCAL
    runs = (
        _run("good", "file:///home/me/1"), _run("evil", "http://evil.example/1"), _run("other", "file:///home/me/2")
    )  # fmt: skip

    def __init__(self, tables):
        self.tables = tables

    def runs_tagged(self, experiment, key, texts):
        return list(self.runs) if self.tables else None

    def search_runs(self, experiments, filter_string, kind, most, order, token):
        """A run a page."""
        first = int(token or 0)
        return PagedList(self.runs[first : first + 1], str(first + 1) if first + 1 < len(self.runs) else None)

    def get_run(self, run_id):
        return next(run for run in self.runs if run.info.run_id == run_id)


@pytest.mark.parametrize("tables", [True, False])
def test_runs_elsewhere_are_not_found_and_not_read(tmp_path, tables):
    store = Store(Client(tables), "1", tmp_path)
    assert [run.info.run_id for run in store.cells("sweep")] == ["good", "other"]
    assert store.get("good").info.run_id == "good"
    with pytest.raises(ConfigError, match="run evil"):
        store.get("evil")


@pytest.mark.parametrize(
    ("place", "package"),
    [("s3://bucket/1", "boto3"), ("gs://bucket/1", "google-cloud-storage"), ("wasbs://c@a/1", "azure-storage-blob")],
)
def test_a_bucket_whose_library_is_missing_is_refused_at_once(place, package, monkeypatch):
    monkeypatch.setattr(hosts, "find_spec", lambda module: None)
    with pytest.raises(ConfigError, match=f"pip install {package}"):
        hosts.check_library("experiment harness", place)
    monkeypatch.setattr(hosts, "find_spec", lambda module: object())
    hosts.check_library("experiment harness", place)


def test_other_places_need_no_library_of_a_cloud():
    for place in ("", "/home/me/1", "file:///home/me/1", "mlflow-artifacts:/1"):
        hosts.check_library("experiment harness", place)
