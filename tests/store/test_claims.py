"""Of several claimants of a cell exactly one trains it, and one run of it is finished, whatever happens when."""

import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.store import LeaseWatch, TakenError, claims, tracking, writer
from harness.store.claims import may_train
from harness.store.forms import TABLES, WEIGHTS
from harness.store.places import path_of
from harness.store.processes import process_tags
from harness.store.tracking import Store

# The algorithm, on a store that is a dictionary: every step of a claimant is atomic, and they come in any order


class Claimant:
    """Creates its run, looks until it knows, and begins or withdraws: each a step of its own."""

    def __init__(self, run_id, runs, patience=None, decide=may_train):
        self.run_id, self.runs, self.patience, self.decide = run_id, runs, patience, decide
        self.trains, self.steps = None, self._live()

    def _live(self):
        info, data = SimpleNamespace(run_id=self.run_id, status="RUNNING"), SimpleNamespace(params={}, tags={})
        self.runs[self.run_id] = SimpleNamespace(info=info, data=data)
        yield
        n_looks, verdict = 0, None
        while verdict is None and n_looks != self.patience:
            verdict = self.decide(self.run_id, [other for key, other in self.runs.items() if key != self.run_id])
            n_looks += 1
            yield
        self.trains = bool(verdict)
        if self.trains:
            data.params["batch_size"] = "8"
        else:
            del self.runs[self.run_id]
        yield


def run_to_the_end(claimants, order):
    """Steps in this order, then in turns until nobody has any left."""
    for index in order:
        next(claimants[index % len(claimants)].steps, None)
    for _ in range(1000):
        for claimant in claimants:
            next(claimant.steps, None)


ORDER = st.lists(st.integers(0, 5), max_size=60)


@given(ids=st.permutations(list("abcdef")), n=st.integers(1, 6), order=ORDER)
def test_exactly_one_claimant_trains_whatever_the_order_of_steps(ids, n, order):
    runs = {}
    claimants = [Claimant(run_id, runs) for run_id in ids[:n]]
    run_to_the_end(claimants, order)
    assert sum(claimant.trains for claimant in claimants) == 1
    assert len(runs) == 1


@given(ids=st.permutations(list("abcdef")), order=ORDER, patience=st.lists(st.integers(1, 4), min_size=6, max_size=6))
def test_never_two_when_claimants_lose_patience_or_die(ids, order, patience):
    """Who dies leaves its run open until somebody closes it; here nobody does. Nobody may train then, never two."""
    runs = {}
    claimants = [Claimant(run_id, runs, looks) for run_id, looks in zip(ids, patience, strict=True)]
    for index in order:
        next(claimants[index].steps, None)
    for claimant in claimants[:3]:  # the others have died
        for _ in range(10):
            next(claimant.steps, None)
    assert sum(bool(claimant.trains) for claimant in claimants) <= 1


def _smallest(own, others):
    return all(other.info.run_id > own for other in others)


def test_the_smaller_run_id_alone_would_not_decide():
    """The null case of the tests above: the larger id looks before the smaller one is there, and both train."""
    runs = {}
    claimants = [Claimant(run_id, runs, decide=_smallest) for run_id in "ba"]
    run_to_the_end(claimants, [0, 0, 0, 1, 1, 1])
    assert [claimant.trains for claimant in claimants] == [True, True]


# A real store


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    from harness.store.client import Client

    return Client(f"sqlite:///{tmp_path_factory.mktemp('store') / 'mlflow.db'}")


@pytest.fixture
def store(client, tmp_path, request):
    own = client.create_experiment(request.node.name, artifact_location=str(tmp_path / "artifacts"))
    return Store(client, own, tmp_path / "undelivered")


CELL = {"kind": "cell", "signature": "s"}


def claim(store, **tags):
    return store.start("cell", {**CELL, **tags}, claim=True)


def write_tables(run):
    with run.files() as folder:
        for table in TABLES:
            (folder / table).write_text("update\n0\n")


def finished(store, **tags):
    with claim(store, **tags) as run:
        write_tables(run)
    return run.run_id


def statuses(store):
    return [run.info.status for run in store._search("")]


def test_of_eight_at_once_one_trains_and_the_others_leave_nothing(store):
    barrier, trained = threading.Barrier(8), []

    def train():
        barrier.wait()
        try:
            with claim(store) as run:
                run.params({"batch_size": 8})
                trained.append(run.run_id)
                time.sleep(0.5)
                write_tables(run)
        except TakenError:
            pass

    threads = [threading.Thread(target=train) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(trained) == 1
    assert statuses(store) == ["FINISHED"]
    assert list(store.undelivered.iterdir()) == []


def test_a_finished_cell_is_taken_and_one_without_tables_is_not(store):
    with claim(store):
        pass
    finished(store)
    with pytest.raises(TakenError):
        claim(store)
    assert statuses(store) == ["FINISHED"] * 2


@pytest.mark.slow
@pytest.mark.parametrize("lost", [*TABLES, WEIGHTS])
def test_a_finished_run_that_a_power_cut_has_emptied_is_told_and_its_cell_trained_again(store, lost, capsys):
    run_id = finished(store)
    assert store.finished_cell("s").info.run_id == run_id
    Path(path_of(store.get(run_id).info.artifact_uri), lost).write_bytes(b"")
    assert store.finished_cell("s") is None
    assert store.finished_cells(["s"]) == {}
    said = f"harness: left out: run {run_id}: {lost} is missing or empty, so its cell counts as not trained\n"
    assert capsys.readouterr().err == said
    again = finished(store)
    assert store.finished_cell("s").info.run_id == again


def test_an_open_run_holds_its_cell_unless_its_process_is_dead_or_of_an_older_version(store):
    gone = {"process.pid": "999999", "process.started": "1.0"}
    old = store.client.create_run(store.experiment_id, tags={**process_tags(), **CELL})
    dead = store.start("dead", {**CELL, **gone})
    run = claim(store)
    with pytest.raises(TakenError):
        claim(store)
    with run:
        write_tables(run)
    assert [store.get(key).info.status for key in (old.info.run_id, dead.run_id)] == ["RUNNING"] * 2
    dead.__exit__(None, None, None)


def test_rerun_claims_nothing_and_gives_way_to_nobody(store):
    finished(store)
    with store.start("again", CELL) as run:
        write_tables(run)
    assert statuses(store) == ["FINISHED"] * 2


def test_a_run_that_the_rest_of_the_harness_does_not_see_holds_up_nobody(store):
    """Else a command would wait for a cell that it finds free, without end."""
    beat = {**process_tags(), claims.HEARTBEAT: claims.heartbeat()}
    planted = {"no cell": {**beat, "signature": "s"}, "artifacts elsewhere": {**beat, **CELL}}
    elsewhere = store.client.create_experiment("elsewhere", artifact_location="http://elsewhere.example/artifacts")
    runs = [store.client.create_run(store.experiment_id, tags=planted["no cell"])]
    runs.append(store.client.create_run(elsewhere, tags=planted["artifacts elsewhere"]))
    assert claims.rivals(store.client, store.experiment_id, "s") == []
    assert claims.rivals(store.client, elsewhere, "s") == []
    for run in runs:
        store.client.set_terminated(run.info.run_id)


# What becomes of a run that was closed by another process


@pytest.fixture
def old(monkeypatch):
    """Every claim is older than its lease."""
    monkeypatch.setattr(claims, "LEASE_SECONDS", 0.0)


def closed(store, run):
    store.mark_killed(store.get(run.run_id))
    assert claims.CLOSED_BY in store.get(run.run_id).data.tags


def test_a_run_that_ended_after_it_was_found_open_stays_as_it_ended(store):
    with store.start("cell", CELL) as run:
        found_open = store.get(run.run_id)
    store.mark_killed(found_open)
    assert statuses(store) == ["FINISHED"]
    assert claims.CLOSED_BY not in store.get(run.run_id).data.tags


def test_a_run_that_was_taken_over_ends_as_superseded(store, old):
    with claim(store) as first:
        closed(store, first)
        second = finished(store)
        write_tables(first)
    assert first.taken
    run = store.get(first.run_id)
    assert (run.info.status, run.data.tags["outcome"]) == ("KILLED", "superseded")
    assert store.finished_cell("s").info.run_id == second


def test_a_run_that_was_closed_and_not_taken_over_is_finished(store, old):
    with claim(store) as first:
        closed(store, first)
        write_tables(first)
    assert not first.taken
    assert statuses(store) == ["FINISHED"]
    assert claims.CLOSED_BY not in store.get(first.run_id).data.tags


def test_of_owner_and_follower_one_run_is_finished_even_if_the_owner_is_late(store, old):
    """The follower trains while the owner ends: the owner gives way."""
    with claim(store) as first:
        closed(store, first)
        second = claim(store)
        second.params({"batch_size": 8})
        write_tables(first)
    with second:
        write_tables(second)
    assert sorted(statuses(store)) == ["FINISHED", "KILLED"]
    assert store.get(str(second.run_id)).info.status == "FINISHED"


def test_a_young_claim_ends_without_a_further_question(store, monkeypatch):
    with claim(store) as run:
        write_tables(run)
        monkeypatch.setattr(store.client, "get_run", lambda *unused: pytest.fail("asked"))
    assert statuses(store) == ["FINISHED"]


def while_away(store, monkeypatch, *signatures):
    """Runs whose cells begin while the store is away; whoever comes next asks it at once."""

    def away(*unused, **options):
        raise ConnectionError("away")

    with monkeypatch.context() as patch:
        for question in ("search_runs", "tagged"):
            patch.setattr(store.client, question, away)
        patch.setattr(writer, "PAUSE_PER_ATTEMPT", 0)
        return [claim(store, signature=signature) for signature in signatures]


def test_of_two_cells_that_were_trained_while_the_store_was_away_one_is_finished(store, monkeypatch):
    runs = while_away(store, monkeypatch, "s", "s")
    for run in runs:
        run.params({"batch_size": 8})
        write_tables(run)
        run.deliver()
    threads = [threading.Thread(target=run.__exit__, args=(None, None, None)) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses(store)) == ["FINISHED", "KILLED"]
    assert sorted(run.taken for run in runs) == [False, True]


def test_a_cell_that_was_trained_while_the_store_was_away_looks_for_others_at_its_end(store, monkeypatch):
    alone, late = while_away(store, monkeypatch, "alone", "s")
    finished(store)
    for run in (alone, late):
        write_tables(run)
        run.deliver()
        run.__exit__(None, None, None)
    assert [store.get(str(run.run_id)).info.status for run in (alone, late)] == ["FINISHED", "KILLED"]
    assert (alone.taken, late.taken) == (False, True)


# Heartbeat


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(claims, "BEAT_SECONDS", 0.02)


def until(happens, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def beat(store, run):
    return store.get(run.run_id).data.tags[claims.HEARTBEAT]


def test_the_heartbeat_goes_on_while_the_run_does_and_no_longer(store, quick):
    with claim(store) as run:
        before = beat(store, run)
        with store.heartbeat(run) as heartbeat:
            until(lambda: beat(store, run) > before)
            heartbeat.check()
        until(lambda: not any(thread.name == "heartbeat" for thread in threading.enumerate()))
        last = beat(store, run)
        time.sleep(0.1)
        assert beat(store, run) == last


def test_the_heartbeat_tells_the_owner_that_its_cell_was_taken(store, quick):
    def train():
        with claim(store) as run:
            closed(store, run)
            finished(store)
            with store.heartbeat(run) as heartbeat:
                deadline = time.monotonic() + 10
                while time.monotonic() < deadline:
                    heartbeat.check()
                    time.sleep(0.01)

    with pytest.raises(TakenError):
        train()
    assert sorted(statuses(store)) == ["FINISHED", "KILLED"]


def test_the_heartbeat_opens_a_run_that_was_closed_for_nobody(store, quick):
    with claim(store) as run:
        closed(store, run)
        with store.heartbeat(run) as heartbeat:
            until(lambda: claims.CLOSED_BY not in store.get(run.run_id).data.tags)
            assert store.get(run.run_id).info.status == "RUNNING"
            heartbeat.check()


def test_a_rerun_goes_on_though_it_was_closed_and_its_cell_is_finished(store, quick):
    finished(store)
    with store.start("again", CELL) as run, store.heartbeat(run) as heartbeat:
        store.mark_killed(store.get(run.run_id))
        until(lambda: claims.CLOSED_BY not in store.get(run.run_id).data.tags)
        heartbeat.check()
    assert statuses(store) == ["FINISHED"] * 2


@pytest.mark.parametrize("reopened", [False, True])
def test_a_run_that_was_closed_between_its_outcome_and_its_end_keeps_its_outcome(store, old, quick, reopened):
    """Its process was stopped there for longer than the lease, and nobody has begun its cell meanwhile."""
    with claim(store) as first:
        write_tables(first)
        first.tags({"outcome": "completed"})
        closed(store, first)
        assert store.get(first.run_id).data.tags["outcome"] == "killed"
        if reopened:
            with store.heartbeat(first):
                until(lambda: claims.CLOSED_BY not in store.get(first.run_id).data.tags)
    assert statuses(store) == ["FINISHED"]
    assert store.get(first.run_id).data.tags["outcome"] == "completed"


def test_another_process_that_ends_a_run_from_an_older_state_leaves_its_outcome(store, old):
    with claim(store) as first:
        write_tables(first)
        first.tags({"outcome": "completed"})
        del first.journal.state["outcome"]  # the state that was saved may be older than the tags that were sent
    assert store.get(first.run_id).data.tags["outcome"] == "completed"


def test_a_sweep_that_was_closed_and_goes_on_has_no_outcome_of_a_killed_one(store, quick):
    with store.start("sweep", {"kind": "sweep"}) as sweep:
        store.mark_killed(store.get(sweep.run_id))
        with store.heartbeat(sweep.run_id):
            until(lambda: claims.CLOSED_BY not in store.get(sweep.run_id).data.tags)
    run = store.get(sweep.run_id)
    assert run.info.status == "FINISHED"
    assert "outcome" not in run.data.tags


# Silence


def open_run(run_id="a", beat="1"):
    return SimpleNamespace(info=SimpleNamespace(run_id=run_id), data=SimpleNamespace(tags={claims.HEARTBEAT: beat}))


@given(looks=st.lists(st.tuples(st.floats(0.01, 500.0), st.booleans()), max_size=60))
def test_a_lease_ends_after_so_many_seconds_of_watching_without_a_change(looks):
    """Compared with a sum written out; a gap between two looks counts for 3 s at most, a change for none."""
    watch, now, silent, beat = LeaseWatch(longest_gap=3.0), 100.0, 0.0, 0
    assert watch.lapsed([open_run(beat="0")], now) == []
    for gap, changes in looks:
        now, beat = now + gap, beat + changes
        silent = 0.0 if changes else silent + min(gap, 3.0)
        lapsed = bool(watch.lapsed([open_run(beat=str(beat))], now))
        assert lapsed == (silent > claims.LEASE_SECONDS) or silent == pytest.approx(claims.LEASE_SECONDS)


def test_abandoned_is_who_is_elsewhere_and_long_silent():
    def tags(silent, **more):
        beat = str(int((time.time() - silent) * 1000))
        return {**process_tags(), "process.host": "elsewhere", claims.HEARTBEAT: beat, **more}

    long = claims.ABANDONED_SECONDS + 5
    assert claims.is_abandoned(tags(long))
    assert claims.is_abandoned({**process_tags(), "process.namespace": "pid:[1]", claims.HEARTBEAT: "1"})
    assert not claims.is_abandoned(tags(long - 10))
    assert not claims.is_abandoned({**process_tags(), claims.HEARTBEAT: "1"})
    for broken in ("", "yesterday", "nan"):
        assert not claims.is_abandoned(tags(long, **{claims.HEARTBEAT: broken}))
    assert not claims.is_abandoned({"process.host": "elsewhere"})


def test_a_start_closes_what_is_abandoned_and_nothing_else(store, monkeypatch):
    for silent in (0, claims.ABANDONED_SECONDS - 60, claims.ABANDONED_SECONDS + 60):
        with monkeypatch.context() as patch:
            patch.setattr(claims, "heartbeat", lambda silent=silent: str(int((time.time() - silent) * 1000)))
            patch.setattr(tracking, "process_tags", lambda: {**process_tags(), "process.host": "elsewhere"})
            with store.start(str(silent), {"kind": "cell"}) as run:
                run.leave_running()
    assert [run.info.run_name for run in store.orphaned_runs()] == [str(claims.ABANDONED_SECONDS + 60)]
