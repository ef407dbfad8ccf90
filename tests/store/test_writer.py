"""A run that is written to a store which fails at any moment, before or after it has carried out a request.

The store is a stand-in for MLflow's client with the same semantics and planned failures; everything else is real.
"""

import json
import os
import signal
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

from harness.store import delivery, writer
from harness.store.connection import UnreachableError
from harness.store.interrupts import INTERRUPTS, Interrupted
from harness.store.journal import Journal
from tests.store.stand_in import AWAY, DIED, DIES, FINE, LOST, KilledError, heard, store, tell


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Every operation is an attempt to deliver."""
    monkeypatch.setattr(writer, "PAUSE_SECONDS", (0.0, 0.0))
    monkeypatch.setattr(writer, "FLUSH_SECONDS", -1.0)


def without_failures(root, n_points):
    calm = store(root)
    tell(calm.start("cell", {"kind": "cell"}), n_points)
    return heard(calm)


@given(plan=st.lists(st.sampled_from([FINE, FINE, AWAY, LOST]), max_size=40), n_points=st.integers(0, 12))
@settings(max_examples=40, deadline=None)
def test_a_store_that_fails_ends_like_one_that_does_not(tmp_path_factory, plan, n_points):
    root = tmp_path_factory.mktemp("journals")
    shaky = store(root / "shaky", plan)
    tell(shaky.start("cell", {"kind": "cell"}), n_points)
    shaky.client.plan.clear()
    shaky.deliver_waiting()
    assert heard(shaky) == without_failures(root / "calm", n_points)
    assert list((root / "shaky").iterdir()) == []


@given(
    before=st.lists(st.sampled_from([FINE, FINE, AWAY, LOST]), max_size=30),
    death=st.sampled_from([DIES, DIED]),
    after=st.lists(st.sampled_from([FINE, AWAY, LOST, DIES, DIED]), max_size=15),
)
@settings(max_examples=60, deadline=None)
def test_what_was_said_before_the_process_died_arrives_once_and_in_order(tmp_path_factory, before, death, after):
    """The processes that take the journal over may die, too; each knows only what is on disk."""
    root = tmp_path_factory.mktemp("journals")
    shaky, n_points, said = store(root / "shaky", [*before, death]), 8, 0
    run = None
    with suppress(KilledError):
        run = shaky.start("cell", {"kind": "cell"})
        with run:
            for step in range(n_points):
                said = step + 1
                run.points({"cost/train": float(step)}, step)
    for fates in ([*after[i : i + 5]] for i in (0, 5, 10)):
        inherit(shaky, fates)
    inherit(shaky, [])
    assert list((root / "shaky").iterdir()) == []
    for one in shaky.client.runs.values():
        assert one.status in ("FINISHED", "KILLED")
        steps = [step for _, step, _ in one.told]
        assert steps == list(range(len(steps)))
    if run is not None:
        (one,) = shaky.client.runs.values()
        assert [step for _, step, _ in one.told] == list(range(said))


def inherit(shaky, fates):
    """A later process delivers what it finds, unless it dies of it."""
    shaky.client.plan, shaky.client.dead = list(fates), False
    with suppress(KilledError):
        shaky.deliver_waiting()


@pytest.fixture(autouse=True)
def the_dead_do_nothing(monkeypatch):
    """After KilledError a process writes nothing more: no journal line, no state; its locks are free."""
    release = Journal.release

    def release_or_let_go(journal):
        if journal.state.get("dead"):
            journal._file.close()
            journal._lock.release()
        else:
            release(journal)

    def unless_dead(method):
        def call(journal, *arguments, **content):
            if journal.state.get("dead"):
                raise KilledError
            return method(journal, *arguments, **content)

        return call

    def send(client, journal, operations, training, of=writer.send):
        try:
            of(client, journal, operations, training)
        except KilledError:
            journal.state["dead"] = True
            raise

    monkeypatch.setattr(Journal, "append", unless_dead(Journal.append))
    monkeypatch.setattr(Journal, "save", unless_dead(Journal.save))
    monkeypatch.setattr(Journal, "release", release_or_let_go)
    monkeypatch.setattr(writer, "send", send)


def test_a_run_that_ended_while_the_store_was_away_keeps_its_end(tmp_path):
    """Not KILLED: that is for the runs of processes that died before they ended them."""
    told = store(tmp_path, [AWAY] * 100)
    tell(told.start("cell", {}), 3)
    assert told.client.runs == {}
    told.client.plan.clear()
    assert told.deliver_waiting().n_runs == 1
    assert heard(told)["status"] == "FINISHED"


@pytest.mark.parametrize(
    ("error", "status", "outcome"),
    [
        (RuntimeError("no"), "FAILED", "failed"),
        (SystemExit(0), "FAILED", "failed"),
        (Interrupted(130), "KILLED", "killed"),
        (KeyboardInterrupt(), "KILLED", "killed"),
    ],
)
@pytest.mark.parametrize("plan", [[], [AWAY] * 100])
def test_how_a_run_ends(tmp_path, error, status, outcome, plan):
    told = store(tmp_path, plan)
    with pytest.raises(type(error)), told.start("cell", {}):
        raise error
    told.client.plan.clear()
    told.deliver_waiting()
    ended = heard(told)
    assert (ended["status"], ended["tags"]["outcome"]) == (status, outcome)
    assert ("traceback.txt" in ended["files"]) == (status == "FAILED")
    if status == "FAILED":
        assert ended["tags"]["error"] == f"{type(error).__name__}: {error}"


@pytest.mark.parametrize("name", ["log_batch", "set_terminated"])
def test_a_signal_while_a_run_ends_waits_until_its_end_is_written(tmp_path, monkeypatch, name):
    """Points that still wait are delivered first: neither this request nor the next may be the run's last."""
    told = store(tmp_path)
    send = getattr(told.client, name)

    def struck(*arguments, **options):
        os.kill(os.getpid(), signal.SIGINT)
        return send(*arguments, **options)

    run = told.start("cell", {})
    monkeypatch.setattr(writer, "FLUSH_SECONDS", 60.0)
    run.points({"cost/train": 1.0}, 1)
    monkeypatch.setattr(told.client, name, struck)
    with pytest.raises(Interrupted), INTERRUPTS, run:
        pass
    assert heard(told)["status"] == "FINISHED"
    assert heard(told)["points"] == [("cost/train", 1, 1.0)]


def test_an_interrupt_is_heard_even_if_the_disk_is_full(tmp_path, monkeypatch):
    """The failed write must not hide the signal."""
    told = store(tmp_path)

    def full(*unused, **ignored):
        raise OSError(28, "No space left on device")

    run = told.start("cell", {})
    monkeypatch.setattr(Journal, "append", full)
    with pytest.raises(Interrupted), run:
        raise Interrupted(130)


def test_a_refusal_does_not_end_training_and_lets_the_rest_pass(tmp_path):
    told = store(tmp_path)
    with told.start("cell", {}) as run:
        run.params({"batch_size": 8})
        run.params({"batch_size": 9})
        assert "the store refuses parameters: params do not change" in run.trouble
        run.points({"cost/train": 1.0}, 5)
        assert heard(told)["points"] == [("cost/train", 5, 1.0)]
    assert heard(told)["status"] == "RUNNING"  # a finished run has everything that was written
    told.deliver_waiting()
    assert heard(told)["status"] == "FAILED"


def test_what_is_refused_later_is_reported_and_lets_the_rest_pass(tmp_path):
    """The process that wrote it is gone, and a start must not fail because of it."""
    told = store(tmp_path, [AWAY] * 100)
    with told.start("cell", {}) as run:
        run.params({"batch_size": 8})
        run.params({"batch_size": 9})
        run.points({"cost/train": 1.0}, 5)
    told.client.plan.clear()
    delivered = told.deliver_waiting()
    assert (delivered.n_runs, delivered.n_waiting) == (1, 0)
    (reason,) = delivered.refused
    assert "params do not change" in reason
    ended = heard(told)
    assert ended["points"] == [("cost/train", 5, 1.0)]
    assert (ended["status"], ended["tags"]["outcome"]) == ("FAILED", "failed")


def test_a_run_whose_last_words_are_refused_is_not_finished(tmp_path, monkeypatch):
    """Points are sent in batches: some of them may be sent only with the end of the run."""
    monkeypatch.setattr(writer, "FLUSH_SECONDS", 60.0)
    told = store(tmp_path)
    log_batch = told.client.log_batch

    def refuse_points(run_id, metrics=(), **words):
        if metrics:
            raise MlflowException("no such points here", error_code=INVALID_PARAMETER_VALUE)
        log_batch(run_id, **words)

    told.client.log_batch = refuse_points
    with told.start("cell", {}) as run:
        run.points({"cost/train": 1.0}, 5)
    told.deliver_waiting()
    ended = heard(told)
    assert (ended["status"], ended["tags"]["outcome"]) == ("FAILED", "failed")
    assert "no such points" in ended["tags"]["error"]


def test_a_store_that_stays_away_is_asked_once_and_not_once_for_each_journal(tmp_path):
    told = store(tmp_path, [AWAY] * 200)
    for _ in range(5):
        tell(told.start("cell", {}), 2)
    told.client.plan = [AWAY] * 200
    delivered = told.deliver_waiting()
    assert (delivered.n_runs, delivered.n_waiting) == (0, 5)
    assert len(told.client.plan) >= 199
    assert "no answer" in delivered.reason


def test_journals_of_another_store_are_left_alone(tmp_path):
    one, other = store(tmp_path, [AWAY] * 100), store(tmp_path)
    tell(one.start("cell", {}), 2)
    other.client.tracking_uri = "fake://other"
    assert other.deliver_waiting().n_runs == 0
    one.client.plan.clear()
    assert one.deliver_waiting().n_runs == 1


def test_points_keep_the_time_at_which_they_were_measured(tmp_path, monkeypatch):
    told = store(tmp_path, [AWAY] * 20)
    times = iter(range(1_000, 2_000))
    monkeypatch.setattr(writer.time, "time", lambda: next(times))
    with told.start("cell", {}) as run:
        for step in range(5):
            run.points({"cost": 1.0}, step)
    told.client.plan.clear()
    told.deliver_waiting()
    (only,) = told.client.runs.values()
    assert [time for _, _, time in only.told] == [1000 * second for second in range(1001, 1006)]


def test_what_is_not_finite_is_no_metric(tmp_path):
    told = store(tmp_path)
    with told.start("cell", {}) as run:
        run.points({"a": float("nan"), "b": float("inf"), "c": 1.0})
    assert heard(told)["points"] == [("c", 0, 1.0)]


def test_points_that_found_the_journal_full_are_counted_on_the_run(tmp_path, monkeypatch):
    from harness.store import journal as journal_module

    monkeypatch.setattr(journal_module, "MAX_WAITING_BYTES", 3_000)
    told = store(tmp_path, [AWAY] * 500)
    with told.start("cell", {}) as run:
        for step in range(200):
            run.points({"cost/train": 1.0}, step)
    told.client.plan.clear()
    told.deliver_waiting()
    ended = heard(told)
    assert int(ended["tags"]["points_left_out"]) == 200 - len(ended["points"]) > 0


def test_while_the_store_is_away_nobody_asks_it_all_the_time(tmp_path, monkeypatch):
    """Between two attempts there is a pause that grows: a store that hangs must not hold up training."""
    monkeypatch.setattr(writer, "PAUSE_SECONDS", (10.0, 60.0))
    now = [0.0]
    monkeypatch.setattr(writer.time, "monotonic", lambda: now[0])
    told = store(tmp_path)
    run = told.start("cell", {})
    told.client.plan = [AWAY] * 1000
    for _ in range(300):
        now[0] += 1.0
        run.points({"cost/train": 1.0}, int(now[0]))
    attempts = 1000 - len(told.client.plan)
    assert 4 <= attempts <= 8
    assert isinstance(run.unreachable, UnreachableError)
    told.client.plan.clear()
    with run:
        pass
    told.deliver_waiting()
    assert len(heard(told)["points"]) == 300


def test_the_next_run_does_not_ask_a_store_that_kept_the_last_one_waiting(tmp_path, monkeypatch):
    """Each question to a store that hangs costs seconds of training, whichever run asks it."""
    monkeypatch.setattr(writer, "PAUSE_SECONDS", (1.0, 30.0))
    now = [0.0]
    monkeypatch.setattr(writer.time, "monotonic", lambda: now[0])
    told, attempts = store(tmp_path), []

    def hang(*unused):
        now[0] += 5.0
        attempts.append(now[0])
        raise ConnectionError("no answer")

    with monkeypatch.context() as patch:
        patch.setattr(told.client, "create_run", hang)
        for _ in range(5):
            with told.start("cell", {}) as run:
                assert run.unreachable
        assert len(attempts) == 1
        now[0] += 4 * 5.0
    with told.start("cell", {}) as run:
        assert run.run_id
    told.deliver_waiting()
    assert len(told.client.runs) == 6


def test_files_in_several_folders_wait_once_for_a_server_that_does_not_answer(tmp_path):
    asked = []

    class Hanging:
        tracking_uri = "http://store"

        def log_artifact(self, *call):
            asked.append(call)
            raise ConnectionError("no answer")

    for name in ("a.txt", "plots/b.txt", "weights/c.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(ConnectionError):
        delivery._log_files(Hanging(), "run", tmp_path)
    assert len(asked) == 1


def test_a_table_is_announced_to_the_ui(tmp_path):
    import pandas as pd

    told = store(tmp_path)
    with told.start("cell", {}) as run:
        run.table("cells.json", pd.DataFrame({"cell": ["a"], "cost": [1.0]}))
    assert json.loads(heard(told)["tags"]["mlflow.loggedArtifacts"]) == [{"path": "cells.json", "type": "table"}]
    assert json.loads(heard(told)["files"]["cells.json"])["data"] == [["a", 1.0]]
