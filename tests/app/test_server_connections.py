"""A sweep whose runs are in PostgreSQL behind `mlflow server`: how many connections the database sees."""

import threading
import time

import pytest

from tests.app.test_launchers import harness, tables
from tests.faults.servers import Site, why_not

# SQLAlchemy's pool in the server: 5 connections that stay, 10 more while they are needed; as many workers as may train.
POOL = 15
SWEEP = ["-m", "dataset=iris", "updates=60", "seeds=3", "batch_size=4,8,16,32", "learning_rate=0.01,0.1,1"]
QUESTION = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


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


@pytest.mark.slow
def test_a_server_has_at_most_its_pool_of_connections_however_many_workers_train(tmp_path):
    if missing := why_not():
        pytest.skip(missing)
    site = Site(tmp_path / "site")
    try:
        site.wait()
        uri = f"http://127.0.0.1:{site.server.port}"
        with Connections(site.postgres.uri) as seen:
            launcher = ["hydra/launcher=joblib", "cells_per_job=1"]
            done = harness(tmp_path / "laptop", *SWEEP, *launcher, MLFLOW_TRACKING_URI=uri)
            time.sleep(0.2)
        assert done.returncode == 0, done.stderr
        assert len(tables(uri)) == 12
        assert 1 <= max(seen.counts) <= POOL
        assert len(seen.counts) > 20
        assert not list((tmp_path / "laptop").rglob("*.csv"))  # the server has the files
    finally:
        site.stop()
