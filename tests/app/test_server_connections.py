"""A sweep whose runs are in PostgreSQL behind `mlflow server`: how many connections the database sees, how many
requests the server, and when its runs need not be read again.
"""

import threading
import time
from collections import Counter

import pytest

from harness.store import searching
from harness.store.client import Client
from harness.store.searching import Runs
from tests.app.test_launchers import harness
from tests.faults.servers import Proxy, Site, why_not

# SQLAlchemy's pool in the server: 5 connections that stay, 10 more while they are needed; as many workers as may train.
POOL = 15
SWEEP = ["-m", "dataset=iris", "updates=60", "seeds=3", "batch_size=4,8,16,32", "learning_rate=0.01,0.1,1"]
QUESTION = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


# What a cell asks of a server, as docs/scale.md has it: about the run, files, lists of them, and when the sweep is
# answered, two of its tables.
KINDS = {
    "POST mlflow/runs/search": 2,
    "POST mlflow/runs/create": 1,
    "POST mlflow/runs/log-inputs": 1,
    "POST mlflow/runs/log-batch": 2,
    "POST mlflow/runs/update": 1,
    "PUT mlflow-artifacts/artifacts/": 9,
    "GET mlflow-artifacts/artifacts?": 2 + 2,
    "GET mlflow-artifacts/artifacts/": 2,
}


class Connections:
    """Asks a database now and then how many connections it has, besides this one."""

    def __init__(self, uri: str) -> None:
        self.uri, self.counts, self._end = uri, list[int](), threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)

    def _ask(self) -> None:
        import psycopg

        with psycopg.connect(self.uri, autocommit=True) as database:
            while not self._end.wait(0.05):
                self.counts.append(database.execute(QUESTION).fetchone()[0])

    def __enter__(self) -> "Connections":
        self._thread.start()
        return self

    def __exit__(self, *unused: object) -> None:
        self._end.set()
        self._thread.join(30)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    if missing := why_not():
        pytest.skip(missing)
    site = Site(tmp_path_factory.mktemp("site"))
    try:
        site.wait()
        yield site
    finally:
        site.stop()


@pytest.mark.slow
def test_a_server_has_at_most_its_pool_of_connections_however_many_workers_train(site, tmp_path):
    uri = f"http://127.0.0.1:{site.server.port}"
    with Connections(site.postgres.uri) as seen:
        launcher = ["hydra/launcher=joblib", "cells_per_job=1"]
        named = {"MLFLOW_TRACKING_URI": uri, "MLFLOW_EXPERIMENT_NAME": "connections"}
        done = harness(tmp_path / "laptop", *SWEEP, *launcher, **named)
        time.sleep(0.2)
    assert done.returncode == 0, done.stderr
    assert "12 of 12 cells trained in" in done.stderr
    assert 1 <= max(seen.counts) <= POOL
    assert len(seen.counts) > 20
    assert not list((tmp_path / "laptop").rglob("*.csv"))  # the server has the files


@pytest.mark.slow
def test_a_cell_asks_a_server_only_for_what_it_needs_and_the_same_command_only_for_lists(site, tmp_path):
    asked = Counter[str]()

    def count(method, path):
        words = f"{method} {path.removeprefix('/api/2.0/')}"
        if not path.endswith("/uncommitted.diff"):  # of who works on the harness
            asked[next((kind for kind in KINDS if words.startswith(kind)), "other")] += 1
        return False

    def sweep(sizes):
        asked.clear()
        words = ["-m", "dataset=iris", "updates=30", "seeds=3", f"batch_size={','.join(map(str, sizes))}"]
        done = harness(tmp_path / "laptop", *words, MLFLOW_TRACKING_URI=proxy.uri)
        assert done.returncode == 0, done.stderr
        return Counter(asked), done.stderr

    proxy = Proxy(site.server.port)
    proxy.concerns = count
    try:
        few, many, again = sweep(range(5, 25)), sweep(range(30, 70)), sweep(range(30, 70))
    finally:
        proxy.close()
    assert {kind: (many[0][kind] - few[0][kind]) / 20 for kind in KINDS} == KINDS
    assert many[0]["other"] - few[0]["other"] < 10  # heartbeats
    assert "Answered before" in again[1]
    assert again[0].pop("GET mlflow-artifacts/artifacts?") < 40 + 5
    assert again[0].total() < 20


@pytest.fixture(scope="module")
def swept(site, tmp_path_factory):
    """The runs of an experiment on a server, a sweep of 20 cells and its cells: signature -> id."""
    uri = f"http://127.0.0.1:{site.server.port}"
    words = ["-m", "dataset=iris", "updates=2", "seeds=1", f"batch_size={','.join(map(str, range(5, 25)))}"]
    named = {"MLFLOW_TRACKING_URI": uri, "MLFLOW_EXPERIMENT_NAME": "swept"}
    assert harness(tmp_path_factory.mktemp("laptop"), *words, **named).returncode == 0
    client = Client(uri)
    runs = Runs(client, client.get_experiment_by_name("swept").experiment_id)
    (sweep,) = client.search_runs([runs.experiment_id], "tags.kind = 'sweep'")
    return runs, sweep, {run.data.tags["signature"]: run.info.run_id for run in runs.cells(sweep.info.run_id)}


def other_run(runs, signature, start):
    """A finished run of a cell, which is none of the sweep's."""
    tags = {"kind": "cell", "signature": signature}
    run_id = runs.client.create_run(runs.experiment_id, start, tags, "other").info.run_id
    runs.client.set_terminated(run_id, "FINISHED", start + 1)
    return run_id


@pytest.mark.slow
def test_runs_are_not_read_again_unless_something_became_of_them(swept, site, monkeypatch):
    runs, sweep, cells = swept
    client, signature = runs.client, next(iter(cells))
    own = cells[signature]
    assert runs.finds_again(cells, sweep)
    table = site.server.artifacts / runs.experiment_id / own / "artifacts" / "history.csv"
    away = table.with_name("away.csv")
    for harm, mend in (
        (lambda: client.delete_run(own), lambda: client.restore_run(own)),
        (lambda: client.set_terminated(own, "FAILED"), lambda: client.set_terminated(own, "FINISHED")),
        (lambda: table.rename(away), lambda: away.rename(table)),
    ):
        harm()
        assert not runs.finds_again(cells, sweep)
        mend()
        assert runs.finds_again(cells, sweep)
    with monkeypatch.context() as patch:  # of many runs each has its folder, and some are listed
        patch.setattr(searching, "MOST_LISTED", 3)
        assert runs.finds_again(cells, sweep)
        folder = table.parent.parent
        folder.rename(folder.with_name("away"))
        assert not runs.finds_again(cells, sweep)
        folder.with_name("away").rename(folder)
        patch.setattr(searching, "MOST_LISTED", len(cells) - 1)
        asked = []
        patch.setattr(searching, "lost_file", lambda client, run_id, place: asked.append(run_id) or "")
        assert runs.finds_again(cells, sweep)
        assert len(set(asked)) == len(asked) == len(cells) - 1
        patch.setattr(searching, "lost_file", lambda *asked: "history.csv")
        assert not runs.finds_again(cells, sweep)
    other_run(runs, "another cell", sweep.info.start_time + 1)
    assert runs.finds_again(cells, sweep)
    with monkeypatch.context() as patch:
        patch.setattr(searching, "MOST_OTHERS", 0)
        assert not runs.finds_again(cells, sweep)
    again = other_run(runs, signature, sweep.info.start_time)  # which began and ended while the sweep went on
    assert not runs.finds_again(cells, sweep)
    client.delete_run(again)
    assert runs.finds_again(cells, sweep)
    client.restore_run(again)
    assert not runs.finds_again(cells, sweep)
    client.delete_run(again)
    for odd in ("../" * 8, "0" * 32, None):
        assert not runs.finds_again(cells | {signature: odd}, sweep)
    client.set_tag(sweep.info.run_id, "cells_found_finished", "1")
    assert not runs.finds_again(cells, runs.get(sweep.info.run_id))
