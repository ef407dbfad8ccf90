"""Bookkeeping of a run has a name that the UI does not show, and is read by its plain one; so are older runs."""

import pytest
from mlflow.tracking import MlflowClient

from harness.store.client import Client
from harness.store.names import PREFIX

OF_A_RUN = {"process.pid": "12", "journal": "j", "heartbeat": "1", "kind": "cell", "engine": "vectorized"}


@pytest.fixture(scope="module")
def clients(tmp_path_factory):
    uri = f"sqlite:///{tmp_path_factory.mktemp('store') / 'mlflow.db'}"
    return Client(uri), MlflowClient(uri)


def test_bookkeeping_is_out_of_sight_and_read_by_its_name(clients):
    ours, plain = clients
    run_id = ours.create_run("0", tags=OF_A_RUN).info.run_id
    ours.set_tag(run_id, "closed_by", "somebody")
    stored = plain.get_run(run_id).data.tags
    shown = {key for key in stored if not key.startswith("mlflow.")}
    assert shown == {"kind", "engine"}
    assert stored[f"{PREFIX}journal"] == "j"
    for read in (ours.get_run(run_id), ours.search_runs(["0"])[0]):
        assert {key: read.data.tags[key] for key in OF_A_RUN} == OF_A_RUN
        assert read.data.tags["closed_by"] == "somebody"
    ours.delete_tag(run_id, "closed_by")
    assert "closed_by" not in ours.get_run(run_id).data.tags


@pytest.mark.slow
def test_a_run_of_an_earlier_version_is_read(clients):
    ours, plain = clients
    run_id = plain.create_run("0", tags=OF_A_RUN).info.run_id
    tags = ours.get_run(run_id).data.tags
    assert {key: tags[key] for key in OF_A_RUN} == OF_A_RUN
    ours.delete_tag(run_id, "heartbeat")
    assert "heartbeat" not in ours.get_run(run_id).data.tags
