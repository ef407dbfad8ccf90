"""Launchers that give up, cells that kill their workers, sweeps that are interrupted anywhere and repeated."""

import shutil
import signal
from contextlib import suppress
from functools import cache
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.app.composition import compose_cells
from harness.runs import grid as grids
from harness.runs import parent as sweep
from harness.runs import recording, recovery
from harness.runs.grid import GridCell
from harness.runs.jobs import Job
from harness.runs.recording import record_cell
from harness.store import tracking
from harness.store.interrupts import INTERRUPTS, Interrupted
from harness.store.journal import Journal
from harness.store.tracking import Store
from harness.training import Identity


def cell(name):
    return GridCell(None, [name], Identity(f"signature of {name}", {}, "", "", None), name)


class Workers:
    """A launcher with workers that die: at a cell of `poison` always, at the n-th cell that is begun for n in `deaths`.

    A death ends the launch, as joblib's does: cells that other workers were at are lost with it.
    """

    def __init__(self, poison=(), deaths=(), n_workers=2):
        self.poison, self.deaths, self.n_workers = set(poison), set(deaths), n_workers
        self.status, self.begun, self.launches = {}, [], []

    def launch(self, cells):
        self.launches.append([one.label for one in cells])
        todo = list(cells)
        while todo:
            at_work, todo = todo[: self.n_workers], todo[self.n_workers :]
            dead = [one for one in at_work if self._kills(one)]
            for one in at_work:
                self.status[one.signature] = "KILLED" if dead else "FINISHED"
            if dead:
                raise RuntimeError("a worker was killed")
        return []

    def _kills(self, one):
        self.begun.append(one.label)
        return one.label in self.poison or len(self.begun) in self.deaths

    # as a store

    def deliver_waiting(self, wait_seconds=0.0):
        return tracking.Delivery(0, 0, "", [])

    def orphaned_runs(self):
        return []

    def open_cells(self, unused):
        return []

    def cells(self, unused):
        return [
            SimpleNamespace(data=SimpleNamespace(tags={"signature": signature}), info=SimpleNamespace(status=status))
            for signature, status in self.status.items()
        ]

    def finished(self):
        return sorted(
            signature.removeprefix("signature of ") for signature, s in self.status.items() if s == "FINISHED"
        )


def train(workers, names):
    recovery.train_all([cell(name) for name in names], workers, "sweep", workers.launch)


def test_a_signal_of_which_a_launcher_makes_another_exception_ends_the_sweep():
    launches = []

    def launch(cells):
        launches.append(cells)
        with suppress(Interrupted):
            signal.raise_signal(signal.SIGTERM)
        raise SystemExit("as Ray does")

    with pytest.raises(Interrupted), INTERRUPTS:
        recovery.train_all([cell("a")], Workers(), "sweep", launch)
    assert len(launches) == 1


def test_without_deaths_everything_is_launched_once():
    workers = Workers()
    train(workers, "abcde")
    assert workers.launches == [list("abcde")]
    assert workers.finished() == list("abcde")


@given(
    n_cells=st.integers(1, 9),
    poison=st.sets(st.integers(0, 8), max_size=4),
    deaths=st.sets(st.integers(1, 12), max_size=2),
    n_workers=st.integers(1, 4),
)
@settings(max_examples=100, deadline=None)
def test_a_dead_worker_costs_no_more_than_the_cells_that_always_kill_it(n_cells, poison, deaths, n_workers):
    """At most one more for each death without a reason that meets a cell's second try."""
    names = [str(n) for n in range(n_cells)]
    workers = Workers({str(n) for n in poison}, deaths, n_workers)
    train(workers, names)
    lost = set(names) - set(workers.finished())
    assert lost >= {str(n) for n in poison} & set(names)
    assert len(lost - {str(n) for n in poison}) <= len(deaths)
    assert set(names) <= set(workers.begun)


def test_suspects_are_tried_again_alone_and_last():
    workers = Workers(poison=["b"])
    train(workers, "abcd")
    assert workers.launches == [list("abcd"), list("cd"), ["a"], ["b"]]
    assert workers.finished() == list("acd")


def test_a_launcher_that_cannot_begin_is_given_up():
    launches = []

    def launch(cells):
        launches.append(len(cells))
        raise OSError("no workers here")

    with pytest.raises(OSError, match="no workers here"):
        recovery.train_all([cell("a"), cell("b")], Workers(), "sweep", launch)
    assert launches == [2] * recovery.ATTEMPTS


def test_an_interrupt_launches_nothing_more():
    launches = []

    def launch(cells):
        launches.append(len(cells))
        raise Interrupted(130)

    with pytest.raises(Interrupted):
        recovery.train_all([cell("a")], Workers(), "sweep", launch)
    assert launches == [1]


class Waiting(Workers):
    """A store of which `delivery` is the state, with one run that a dead process left open."""

    uri, undelivered = "http://store", "mlruns/undelivered"

    def __init__(self, delivery):
        super().__init__()
        self.delivery, self.closed = delivery, []

    def deliver_waiting(self, wait_seconds=0.0):
        return self.delivery

    def orphaned_runs(self):
        return [SimpleNamespace(info=SimpleNamespace(run_id="a"), data=SimpleNamespace(tags={"kind": "cell"}))]

    def mark_killed(self, run):
        self.closed.append(run.info.run_id)


def test_what_a_store_refuses_is_told_in_one_line_once():
    reasons = ["artifacts weights.npz: 413 Client Error", "artifacts curve.png: 413 Client Error"]
    store, said = Waiting(tracking.Delivery(1, 0, "", reasons, frozenset({"a"}))), []
    assert recovery.drain(store, said.append) == {"a"}
    assert said == [
        "http://store refuses a part of 1 run: artifacts weights.npz: 413 Client Error (and 1 more): kept in "
        "mlruns/undelivered; `python -m harness deliver` tries again; delete its folder to give it up"
    ]
    assert store.closed == []  # its own end waits
    recovery.drain(store, said.append, told=frozenset({"a"}))
    assert len(said) == 1
    assert not recovery.recover(store, said.append).complete


def test_journals_that_cannot_be_read_are_told_in_one_line():
    unreadable = ["mlruns/unreadable/1: state.json is no JSON; it was moved there", "more"]
    store, said = Waiting(tracking.Delivery(0, 0, "", unreadable=unreadable)), []
    assert recovery.drain(store, said.append) == frozenset()
    assert said == [f"a journal of a run cannot be read: {unreadable[0]} (and 1 more)"]
    assert store.closed == ["a"]
    assert not recovery.recover(store, said.append).complete


# A real store, real cells, and a process that dies at any of its writes


class KilledError(BaseException):
    """In place of SIGKILL."""


class Process:
    """What a process does to the outside world, which ends at its n-th write: before it, or just after it.

    Writes are the journal's lines and states, and the calls of MLflow's client that change something. After its death a
    process writes nothing, whatever Python still runs of it; its locks are free and its runs are those of a dead one.
    """

    CALLS = (
        "create_run",
        "log_batch",
        "log_artifacts",
        "log_inputs",
        "set_terminated",
        "set_tag",
        "set_experiment_tag",
    )

    def __init__(self, monkeypatch, n=None, after=False):
        from harness.store.client import Client

        self.n_writes, self.n, self.after, self.dead = 0, n, after, False
        self.journals = []
        monkeypatch.setattr(Journal, "__init__", self._noted(Journal.__init__))
        for name in self.CALLS:
            monkeypatch.setattr(Client, name, self._mortal(getattr(Client, name)))
        for name in ("append", "save"):
            monkeypatch.setattr(Journal, name, self._mortal(getattr(Journal, name)))
        monkeypatch.setattr(Journal, "release", self._released(Journal.release))
        if n is not None:
            gone = {**tracking.process_tags(), "process.pid": "1", "process.started": "1.5"}
            monkeypatch.setattr(tracking, "process_tags", lambda: gone)

    def _mortal(self, method):
        def call(*arguments, **options):
            if self.dead:
                raise KilledError
            self.n_writes += 1
            last = self.n_writes == self.n
            if last and not self.after:
                self._die()
            done = method(*arguments, **options)
            if last:
                self._die()
            return done

        return call

    def _die(self):
        self.dead = True
        raise KilledError

    def _noted(self, init):
        def call(journal, *arguments):
            self.journals.append(journal)
            init(journal, *arguments)

        return call

    def bury(self):
        """The kernel closes what a dead process had open."""
        for journal in self.journals:
            journal._file.close()
            journal._lock.release()

    def _released(self, release):
        def call(journal):
            if not self.dead:
                return release(journal)
            journal._file.close()
            return journal._lock.release()

        return call


@cache
def composed():
    """Three small cells, as the command line composes them."""
    words = ["-m", "dataset=iris", "model.hidden=[4]", "batch_size=8,16,32", "epochs=2", "seeds=2"]
    return compose_cells(words).cells


def command(store):
    """What the command line does for a sweep, without Hydra's launcher."""
    cells = grids.grid(composed())
    recovery.recover(store, lambda text: None)
    cells = grids.look_up(cells, store)
    context = sweep.open_sweep(store, cells, "sweep")

    def launch(some):
        for number, one in enumerate(some):
            record_cell(one.config, store, context, Job(number, True, "basic", one.overrides))

    recovery.train_all(grids.missing(cells), store, context.run_id, launch)
    assert recovery.drain(store, pytest.fail, context.run_id) == frozenset()
    sweep.close_sweep(store, context.run_id, killed=False)
    return context.run_id


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """A store whose tables are made; making them takes seconds."""
    folder = tmp_path_factory.mktemp("empty")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        Store.open()
    return folder / "mlflow.db"


@pytest.fixture(scope="module")
def undisturbed(empty, tmp_path_factory):
    """The table of cells that an undisturbed sweep ends in, and how many writes it takes."""
    with pytest.MonkeyPatch.context() as patch:
        store = open_copy(empty, tmp_path_factory.mktemp("undisturbed"), patch)
        process = Process(patch)
        parent = command(store)
        return ended(store, parent), process.n_writes


def open_copy(empty, folder, patch):
    """A store in a folder of its own; figures are left out, as they take most of the time and none of the risk."""
    from harness.store.client import Client

    patch.chdir(folder)
    shutil.copyfile(empty, folder / "mlflow.db")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    patch.setenv("MLFLOW_TRACKING_URI", uri)
    patch.setattr(recording, "draw_cell", lambda *unused: None)
    patch.setattr(sweep, "figures", lambda *unused: {})
    client = Client(uri)
    experiment = client.create_experiment("here", artifact_location=str(folder / "artifacts"))
    return Store(client, experiment, folder / "mlruns" / "undelivered")


def ended(store, parent):
    """Status of the sweep, its table without clocks and ids, and the curves of its finished cells."""
    data = sweep.load_sweep(store, parent)
    clocks = [name for name in data.cells.columns if "time" in name or "seconds" in name or name == "run_id"]
    histories = data.histories.drop(columns="train_seconds")
    return (
        store.get(parent).info.status,
        data.cells.drop(columns=clocks).sort_values("cell").reset_index(drop=True),
        histories.sort_values(["cell", "update", "replica"]).reset_index(drop=True),
    )


def assert_same_end(one, other):
    assert one[0] == other[0] == "FINISHED"
    for table, twin in zip(one[1:], other[1:], strict=True):
        pd.testing.assert_frame_equal(table, twin[table.columns], check_exact=True)


def assert_nothing_lost(store):
    """No run is RUNNING, no point is there twice, no curve has a hole, each cell is finished once."""
    runs = store._search("")
    assert {run.info.status for run in runs} <= {"FINISHED", "FAILED", "KILLED"}
    cells = [run for run in runs if run.data.tags["kind"] == "cell"]
    finished = [run.data.tags["signature"] for run in cells if run.info.status == "FINISHED"]
    assert len(finished) == len(set(finished)) == 3
    curves = {}
    for run in sorted(cells, key=lambda run: run.info.status == "FINISHED", reverse=True):
        points = sorted((p.step, p.value) for p in store.client.get_metric_history(run.info.run_id, "cost/train"))
        assert len({step for step, _ in points}) == len(points)
        whole = curves.setdefault(run.data.tags["signature"], points)
        assert points == whole[: len(points)]
    assert not list(store.undelivered.glob("[!.]*"))


def interrupted_and_repeated(empty, folder, undisturbed, deaths):
    """A sweep whose process dies at these writes, one process after the other, then one that lives."""
    with pytest.MonkeyPatch.context() as patch:
        store = open_copy(empty, folder, patch)
        for n, after in deaths:
            with pytest.MonkeyPatch.context() as of_process:
                process = Process(of_process, n, after)
                with suppress(KilledError):
                    command(store)
                process.bury()
        parent = command(store)
        assert_same_end(undisturbed[0], ended(store, parent))
        assert_nothing_lost(store)


@pytest.mark.slow
@given(moments=st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=3))
@settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.too_slow])
def test_a_sweep_that_is_killed_anywhere_and_repeated_ends_like_an_undisturbed_one(
    empty, tmp_path_factory, undisturbed, moments
):
    """The repetitions are killed, too; the last one is left in peace."""
    deaths = [(1 + int(moment * (undisturbed[1] - 1)), after) for moment, after in moments]
    interrupted_and_repeated(empty, tmp_path_factory.mktemp("killed"), undisturbed, deaths)


@pytest.mark.slow
def test_a_sweep_that_is_killed_at_each_of_its_writes_ends_like_an_undisturbed_one(
    empty, tmp_path_factory, undisturbed
):
    """Every tenth write, starting anywhere, before or after it."""
    rng = np.random.default_rng()
    for n in range(int(rng.integers(1, 11)), undisturbed[1], 10):
        after = bool(rng.integers(2))
        folder = tmp_path_factory.mktemp(f"killed at {n}")
        try:
            interrupted_and_repeated(empty, folder, undisturbed, [(n, after)])
        except BaseException as error:
            error.add_note(f"killed {'after' if after else 'before'} write {n} of {undisturbed[1]}")
            raise
