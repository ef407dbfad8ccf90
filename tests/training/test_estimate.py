"""The estimate of a dry run: it counts what training does, times what that takes, and leaves the cell as it is."""

from time import perf_counter, sleep

import numpy as np
import pytest

import harness.training.estimate
from harness.app.composition import compose_cells
from harness.data.datasets import load
from harness.network import Vectorized
from harness.training.cell import Cell
from harness.training.diagnostics import Observer
from harness.training.estimate import CELL_SECONDS, Rates, Work, count_work, estimate_seconds, training_seconds
from harness.training.loop import Record
from harness.training.order import Passes
from harness.training.stack import Stack

PASSES = Passes(90, "keep", [(0, 8)])  # of iris: 12 updates an epoch


def composed(*words: str) -> Cell:
    """A cell on iris: 12 updates an epoch at B = 8."""
    config = compose_cells(["dataset=iris", "batch_size=8", *words]).cells[0][0]
    return Cell(config, load(config.dataset))


def trained(cell: Cell) -> list[Record]:
    return list(cell.train())


@pytest.fixture
def known_rates(monkeypatch) -> None:
    """Rates that anybody can multiply with: 1 s an update for replica 0 and 3 s for every other stack."""

    def rates(stack: Stack, patience: float) -> Rates:
        return Rates(1.0, 100.0, 1e4, 1e6) if stack.replicas[0] == 0 else Rates(3.0, 500.0, np.nan, np.nan)

    monkeypatch.setattr(harness.training.estimate, "_rates", rates)


@pytest.mark.parametrize(
    "words",
    [
        ("epochs=1",),
        ("epochs=20",),
        ("epochs=null", "updates=117"),
        ("epochs=9", "updates=11"),
        ("batch_size=1", "epochs=3", "diagnostics=off"),
        ("batch_size=full", "epochs=40", "diagnostics=full"),
    ],
    ids=" ".join,
)
def test_what_training_does_is_counted_right(words):
    """Against a training, record by record."""
    cell = composed("seeds=2", *words)
    _, predicted = training_seconds(cell, patience=0.0)
    records = trained(cell)
    assert predicted == Work(
        updates=records[-1].update,
        checkpoints=len(records),
        batch_costs=sum(len(record.batch_costs) for record in records),
        observations=sum(record.diagnostics is not None for record in records),
    )


def test_counting_does_not_take_as_long_as_training():
    """A hundred million epochs: their ends, and a few hundred geometric updates."""
    epochs = 10**8
    work = count_work(12 * epochs, PASSES, None)
    assert work.updates == 12 * epochs
    assert epochs < work.checkpoints < epochs + 100
    assert work.batch_costs < 10 * 300
    assert work.observations == 0


def test_an_observer_counts_by_its_own_grid():
    observer = Observer(90, 0.1, np.random.SeedSequence(0))
    assert count_work(100, PASSES, observer).observations == len({round(10 ** (k / 5)) for k in range(11)})


@pytest.mark.usefixtures("known_rates")
def test_the_estimate_is_counts_times_rates(monkeypatch):
    """36 updates and 17 checkpoints of replica 0; 1½ stacks of 2 others, of which the first was timed."""
    monkeypatch.setattr(harness.training.cell, "_groups", lambda *_: iter([[0], [1, 2], [3]]))
    seconds, work = training_seconds(composed("seeds=4", "epochs=3"), patience=1.0)
    assert work == Work(updates=36, checkpoints=17, batch_costs=36, observations=8)
    assert seconds == (36 + 17 * 100 + 36 * 1e4 + 8 * 1e6) + 1.5 * (36 * 3 + 17 * 500)


@pytest.mark.usefixtures("known_rates")
def test_one_replica_has_no_others():
    seconds, work = training_seconds(composed("seeds=1", "epochs=3", "diagnostics=off"), patience=1.0)
    assert seconds == work.updates + 100 * work.checkpoints + 1e4 * work.batch_costs


@pytest.mark.usefixtures("known_rates")
@pytest.mark.parametrize(("words", "updates"), [((), 25), (("updates=7",), 7), (("epochs=2",), 24)])
def test_a_budget_in_seconds_is_as_many_updates_as_replica_zero_makes(words, updates):
    """At a second each; unless another budget is spent before."""
    _, work = training_seconds(composed("epochs=null", "train_seconds=25.5", *words), patience=1.0)
    assert work.updates == updates


def test_recording_is_added(monkeypatch):
    monkeypatch.setattr(harness.training.estimate, "training_seconds", lambda cell, patience: (50.0, Work(9, 7, 5, 3)))
    assert estimate_seconds(composed(), 1.0) == pytest.approx(50 + CELL_SECONDS)


def test_what_the_first_evaluation_compiles_does_not_count(monkeypatch):
    seconds = iter([0.2])
    evaluate = Vectorized.evaluate

    def slow_at_first(self, *arguments):
        sleep(next(seconds, 0.0))
        return evaluate(self, *arguments)

    monkeypatch.setattr(Vectorized, "evaluate", slow_at_first)
    training, work = training_seconds(composed("updates=100", "epochs=null"), patience=0.1)
    assert not list(seconds)
    assert training < 0.2 * work.checkpoints / 2


def test_patience_is_a_limit(monkeypatch):
    """Without any, each of the two stacks that are timed makes one update."""
    updates = []
    advance = Stack.advance

    def counted(stack: Stack, to_update: int) -> list[tuple[int, int, float]]:
        updates.append((stack.replicas.tolist(), to_update))
        return advance(stack, to_update)

    monkeypatch.setattr(Stack, "advance", counted)
    estimate_seconds(composed("seeds=3"), patience=0.0)
    assert updates == [([0], 1), ([1, 2], 1)]


@pytest.mark.parametrize("words", [(), ("diagnostics=full",), ("learning_rate=1e300",)], ids=str)
def test_the_cell_is_left_as_it_is(words):
    """Estimated or not, it trains to the same bits; and what diverges in a calibration does so in silence."""
    estimated, untouched = (composed("seeds=3", "epochs=3", "dataset.resample=true", *words) for _ in range(2))
    assert estimate_seconds(estimated, patience=0.05) > 0
    records, expected = trained(estimated), trained(untouched)
    assert [record.fingerprints for record in records] == [record.fingerprints for record in expected]
    assert estimated.result().parameters.flat.tobytes() == untouched.result().parameters.flat.tobytes()
    assert estimated.result().records == records


def test_the_estimate_is_about_what_training_takes():
    """Digits at B = 64, within a factor of 3: other processes may come and go between estimates and training."""
    cell = composed("dataset=digits", "batch_size=64", "epochs=10", "seeds=4")
    estimates = [training_seconds(cell, patience=0.3)[0]]
    start = perf_counter()
    trained(cell)
    seconds = perf_counter() - start
    estimates.append(training_seconds(cell, patience=0.3)[0])
    assert min(estimates) / 3 < seconds < 3 * max(estimates)


def test_ten_times_the_epochs_take_about_ten_times_as_long():
    """Less only by the geometric checkpoints, which are dense at the start; the machine may change its mind, too.

    The least of three estimates in turns: one that something else has interrupted says little.
    """
    cells = [composed(f"epochs={n}", "seeds=3") for n in (30, 300)]
    turns = [[training_seconds(cell, patience=0.2)[0] for cell in cells] for _ in range(3)]
    few, many = map(min, zip(*turns, strict=True))
    assert 4 < many / few < 25
