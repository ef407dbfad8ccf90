"""What a run writes in one transaction on a SQLite store's tables, beside the same in one call for each part."""

import sqlite3
from contextlib import closing

import pytest

from harness.store.client import Client
from harness.store.direct import Direct
from harness.store.journal import Journal
from harness.store.tracking import Store
from tests.store.stand_in import tell


@pytest.fixture
def opened(tmp_path):
    """A store whose files lie beside it."""
    client = Client(f"sqlite:///{tmp_path}/mlflow.db")
    experiment = client.create_experiment("here", (tmp_path / "mlruns").as_uri())
    return Store(client, experiment, tmp_path / "undelivered")


def read(opened, run_id):
    """All that MLflow's client reads of a run; its own names left out."""
    run, client = opened.client.get_run(run_id), opened.client
    history = {key: [(p.step, p.value) for p in client.get_metric_history(run_id, key)] for key in run.data.metrics}
    tags = {key: text for key, text in run.data.tags.items() if key not in ("journal", "heartbeat")}
    data = [(one.dataset.name, one.dataset.digest, one.tags[0].value) for one in run.inputs.dataset_inputs]
    folder = next((opened.undelivered.parent / "mlruns").glob(f"*{run_id}/artifacts"))
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    return run.info.status, run.data.params, tags, history, data, files


def transactions(monkeypatch):
    """The kinds of items of each transaction on the tables."""
    found, log = [], Direct.log

    def counted(self, run_id, *parts, **items):
        found.append({name for name, value in items.items() if value})
        return log(self, run_id, *parts, **items)

    monkeypatch.setattr(Direct, "log", counted)
    return found


def test_a_small_cell_is_one_transaction_between_its_start_and_its_end(opened, monkeypatch):
    written = transactions(monkeypatch)
    run = opened.start("cell", {"kind": "cell"})
    tell(run, 3)
    assert written == [{"metrics", "params", "tags", "inputs"}]
    assert not list(opened.undelivered.iterdir())
    own = read(opened, run.run_id)
    monkeypatch.setattr(Client, "has_tables", False)
    other = opened.start("cell", {"kind": "cell"})
    tell(other, 3)
    assert own == read(opened, other.run_id)
    assert (own[0], len(own[3]["cost/train"]), list(own[5])) == ("FINISHED", 3, ["history.csv"])


def test_what_the_tables_do_not_take_goes_in_parts(opened, monkeypatch):
    run = opened.start("cell", {})
    run.tags({"odd": "x" * 6000})  # MLflow cuts it, or takes it
    tell(run, 2)
    status, params, tags, history, *_ = read(opened, run.run_id)
    assert (status, params, len(history["cost/train"])) == ("FINISHED", {"batch_size": "8"}, 2)
    assert tags["odd"].startswith("xxx")


def test_a_process_that_died_after_the_transaction_did_it_once(opened, monkeypatch):
    """The journal does not know yet that it was sent; whoever finds it sends all again."""
    run = opened.start("cell", {})
    monkeypatch.setattr(Journal, "_mark_delivered", lambda *unused: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        tell(run, 2)
    monkeypatch.undo()
    assert opened.deliver_waiting().complete
    status, _, _, history, data, files = read(opened, run.run_id)
    assert (status, len(history["cost/train"]), data) == ("KILLED", 2, [("iris", "0123", "training")])
    assert list(files) == ["history.csv"]
    with closing(sqlite3.connect(opened.undelivered.parent / "mlflow.db")) as database:
        assert database.execute("SELECT count(*) FROM inputs").fetchone() == (1,)
