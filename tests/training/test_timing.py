"""The time of an update: measured in turns, block by block. Most tests use a clock that only they move."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from configs import configured

import harness.training.clock
import harness.training.timer
import harness.training.timing
from harness.config.schema import Config
from harness.data.datasets import Dataset
from harness.training.cell import Cell, Plan, plan_of
from harness.training.order import Order
from harness.training.stack import Stack
from harness.training.timer import Block, Timer
from harness.training.timing import (
    FEWEST_BLOCKS,
    MOST_BLOCKS,
    TRIES,
    pass_seconds,
    readings,
    replica_seconds,
    time_updates,
)
from harness.training.work import RATE, cells_of, work_of

N_TRAIN = 54
ENOUGH = 1e6  # seconds


def draw_dataset() -> Dataset:
    """90 examples of three classes: 54 to train on."""
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    X = rng.normal(size=(90, 4)) + y[:, None]
    return Dataset("three", "classification", X, y, ("a", "b", "c"), "digest")


DATASET = draw_dataset()


def grid(*changes: dict[str, Any]) -> dict[str, tuple[Config, Plan]]:
    """Cells by a name that stands for their signature."""
    configs = [configured(**own) for own in changes]
    return {f"cell {i}": (config, plan_of(config, DATASET)) for i, config in enumerate(configs)}


def timed(*changes: dict[str, Any], seconds: float = ENOUGH, seed: int = 0) -> pd.DataFrame:
    return time_updates(grid(*changes), lambda _: DATASET, seconds, np.random.default_rng(seed))


def sizes(*batch_sizes: int | str, **common: Any) -> list[dict[str, Any]]:
    return [{"batch_size": batch_size, **common} for batch_size in batch_sizes]


class Machine:
    """Its clocks move when updates are made or examples shuffled, and at no other time."""

    def __init__(self) -> None:
        self.now = self.cpu = 0.0
        self.stretches: list[tuple[int, int]] = []  # batch size and number of updates of each call of `advance`
        self.update_seconds: Callable[[int, int], float] = lambda batch_size, update: 0.25  # of a whole batch
        self.factor: Callable[[], float] = lambda: 1.0  # of a stretch
        self.stopped: Callable[[], float] = lambda: 0.0  # wall seconds during a stretch
        self.shuffling = 0.0  # seconds
        self.cores = 1

    def run(self, seconds: float) -> None:
        self.now += seconds
        self.cpu += self.cores * seconds

    def shuffle(self, order: Order) -> None:
        self.run(self.shuffling)

    def advance(self, stack: Stack, to_update: int) -> None:
        """In place of training."""
        batch_size, factor = stack.batches.batch_size, self.factor()
        self.stretches.append((batch_size, to_update - stack.update))
        per_epoch = -(-N_TRAIN // batch_size)
        with stack.clock:
            for update in range(stack.update, to_update):
                if update % per_epoch == 0 and stack.batches.order:
                    stack.batches.order.draw()
                is_short = update % per_epoch == per_epoch - 1 and N_TRAIN % batch_size
                share = (N_TRAIN % batch_size) / batch_size if is_short else 1
                self.run(factor * share * self.update_seconds(batch_size, update))
            self.now += self.stopped()
        stack.update = to_update


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine()
    monkeypatch.setattr(harness.training.timing, "BLOCK_SECONDS", 0.01)
    for module in (harness.training.clock, harness.training.timing):
        monkeypatch.setattr(module, "perf_counter", lambda: machine.now)
    for name in ("process_time", "thread_time"):
        monkeypatch.setattr(harness.training.timer, name, lambda: machine.cpu)
    monkeypatch.setattr(Stack, "advance", lambda stack, to_update: machine.advance(stack, to_update))
    monkeypatch.setattr(Order, "draw", lambda order: machine.shuffle(order))
    return machine


def nth(number: int, value: float, otherwise: float) -> Callable[[], float]:
    """A value that is another one at its call of that number, from 0."""
    calls = iter(range(10**9))
    return lambda: value if next(calls) == number else otherwise


# What is measured


def test_the_time_of_an_update_is_measured_for_every_cell(machine):
    machine.update_seconds = lambda batch_size, update: 0.001 * batch_size
    table = timed(*sizes(1, 9, 54))
    for name, expected in {"cell 0": 0.001, "cell 1": 0.009, "cell 2": 0.054}.items():
        assert readings(table)[name] == pytest.approx(np.full(5, expected))
    assert np.allclose(table["update_cpu_seconds"], table["update_seconds"])
    assert not table["interrupted"].any()


def test_each_replica_has_a_block_within_limits(machine):
    for seeds, blocks in ((1, FEWEST_BLOCKS), (10, 10), (400, MOST_BLOCKS)):
        table = timed(*sizes(1, 9, seeds=seeds))
        assert [own["block"].tolist() for _, own in table.groupby("signature")] == [list(range(blocks))] * 2


def test_cells_of_the_same_work_have_the_same_seconds(machine):
    """Their ratio is exactly 1, however much the clock varies."""
    machine.factor = np.random.default_rng(1).uniform
    table = timed({}, {"learning_rate": 0.5, "seed": 3, "seeds": 2}, {"batch_size": 9})
    assert table.groupby("signature")["work"].unique().map(list).to_dict() == {
        "cell 0": [0],
        "cell 1": [0],
        "cell 2": [1],
    }
    seconds = readings(table)
    assert np.array_equal(seconds["cell 0"], seconds["cell 1"])
    assert len(set(seconds["cell 0"])) == 5
    assert not np.isclose(seconds["cell 0"], seconds["cell 2"]).any()


SAME_WORK = [
    {"learning_rate": 3.0}, {"seed": 7}, {"seeds": 9}, {"epochs": 1}, {"updates": 5}, {"target": 0.1},
    {"target": 0.1, "target_on": "validation"}, {"diagnostics": "full"}, {"model_initializer": "glorot_normal"},
    {"learning_rate_rule": "linear"}, {"reference_batch_size": 2}, {"train_seconds": 1.0}, {"dataset_name": "four"},
    {"accumulate": "sum"},
]  # fmt: skip
OTHER_WORK = [
    {"batch_size": 9}, {"reduction": "sum"}, {"last_batch": "drop"}, {"order": "none"}, {"dtype": "float32"},
    {"micro_batches": 2}, {"micro_batches": 2, "accumulate": "sum"},
    {"engine": "per_example"}, {"threads": 2}, {"model_activation": "relu"}, {"model_hidden": [6]},
    {"optimizer_clip_norm": 1.0}, {"optimizer_weight_decay": 0.1}, {"dataset_resample": True},
    {"optimizer_name": "momentum", "optimizer_momentum": 0.9}, {"dataset_test_fraction": 0.4},
]  # fmt: skip


def test_what_does_not_change_the_time_of_an_update_does_not_change_the_work():
    assert len({work_of(*cell) for cell in grid({}, *SAME_WORK).values()}) == 1


def test_what_may_change_the_time_of_an_update_changes_the_work():
    works = {work_of(*cell) for cell in grid({}, *OTHER_WORK).values()}
    assert len(works) == 1 + len(OTHER_WORK)


def test_a_batch_of_n_is_the_full_batch():
    assert len({work_of(*cell) for cell in grid(*sizes(N_TRAIN, "full", 999)).values()}) == 1


# Rounds


def blocks_in_order(machine: Machine, seed: int) -> list[int]:
    """The batch sizes of the timed stretches of ten rounds, in the order of measurement."""
    machine.stretches.clear()
    timed(*sizes(1, 9, 27, 54, seeds=10), seed=seed)
    return [batch_size for batch_size, _ in machine.stretches][-2 * 4 * 10 :][1::2]  # every second one is a lead-in


def test_every_round_has_each_work_once_in_an_order_of_its_own(machine):
    in_order = blocks_in_order(machine, seed=0)
    rounds = [tuple(in_order[i : i + 4]) for i in range(0, 40, 4)]
    assert {tuple(sorted(own)) for own in rounds} == {(1, 9, 27, 54)}
    assert len(set(rounds)) > 5


def test_the_first_block_of_a_work_is_not_reported(machine):
    """Two works: their first blocks are slow here, those in the table are not."""
    blocks = iter([100.0] * 4)  # lead-in and block
    machine.factor = lambda: next(blocks, 1.0)
    table = timed(*sizes(1, 9))
    assert np.allclose(table["update_seconds"], 0.25)


def test_the_first_update_of_a_stack_is_not_timed(machine):
    """It may compile code; its arrays are in no cache."""
    machine.update_seconds = lambda batch_size, update: 0.25 if update else 1000.0
    assert np.allclose(timed(*sizes(1, 9, 54))["update_seconds"], 0.25)


# Part of an epoch


@pytest.mark.parametrize("batch_size", [1, 4, 9, 20, 30, 54])
@pytest.mark.parametrize("seconds", [1e-6, 1.0, 10.0, 1000.0])
def test_a_block_of_any_length_tells_the_mean_of_an_epoch(machine, batch_size, seconds):
    """Updates of a second, shuffling of 0.3 s, a short last batch in proportion: as if whole epochs were timed."""
    machine.update_seconds = lambda size, update: 1.0
    machine.shuffling = 0.3
    (cell,) = cells_of({work_of(*own): own for own in grid(*sizes(batch_size)).values()}, lambda _: DATASET)
    timer = Timer(cell)
    block = timer.block(timer.fitting(seconds))
    per_epoch = -(-N_TRAIN // batch_size)
    shuffling = 0.3 if batch_size < N_TRAIN else 0.0
    assert block.seconds / block.updates == pytest.approx((N_TRAIN / batch_size + shuffling) / per_epoch)
    assert block.cpu_seconds == pytest.approx(block.seconds)


@pytest.mark.parametrize(
    ("wanted", "fitting"), [(0.1, 1), (1.9, 1), (3.4, 3), (6.9, 3), (7.0, 7), (13.9, 7), (15.0, 14)]
)
def test_a_block_has_whole_epochs_or_part_of_one(wanted, fitting):
    """54 examples in batches of 8 are 7 updates, of which 1 is the lead-in and the last is short."""
    assert Timer(Cell(configured(batch_size=8), DATASET)).fitting(wanted) == fitting


@pytest.mark.parametrize("batch_size", [54, 30])
def test_without_room_for_part_of_an_epoch_a_block_has_a_whole_one(batch_size):
    timer = Timer(Cell(configured(batch_size=batch_size), DATASET))
    assert timer.fitting(0.1) == timer.per_epoch


# Interruptions


def test_an_interrupted_block_is_measured_again(machine):
    """Stretches: the first block of the only work is 0 and 1; 2 and 3 are the lead-in and block of round 0."""
    machine.stopped = nth(3, 5.0, 0.0)
    table = timed({"batch_size": 9}, seconds=1000)
    assert np.allclose(table["update_seconds"], 0.25)
    assert not table["interrupted"].any()
    assert len(machine.stretches) == 2 * (1 + FEWEST_BLOCKS + 1)


def test_a_block_that_stays_interrupted_is_marked(machine):
    machine.stopped = lambda: 0.05
    table = timed(*sizes(1, 54), seconds=1000)
    assert table["interrupted"].all()
    assert np.allclose(table["update_seconds"], 0.25 + 0.05 / table["updates"])
    assert np.allclose(table["update_cpu_seconds"], 0.25)
    assert len(machine.stretches) == TRIES * 2 * 2 * (1 + FEWEST_BLOCKS)


def test_each_try_is_half_as_long(machine):
    """A shorter block is more likely to lie between two interruptions."""
    machine.update_seconds = lambda batch_size, update: 2**-13
    first = 7  # stretches of the first block: a lead-in, 1, 2, 4, ..., 32 updates
    machine.stopped = lambda: 1.0 if len(machine.stretches) > first else 0.0
    timed({"batch_size": 54}, seconds=1000.0)
    assert [n for _, n in machine.stretches[first:]][1 : 2 * TRIES : 2] == [81, 40, 20, 10, 5]


def test_nothing_is_measured_again_when_the_time_for_it_is_spent(machine):
    machine.stopped = lambda: 100.0
    timed({}, seconds=40)
    assert len(machine.stretches) < TRIES * 2 * (1 + FEWEST_BLOCKS)


@pytest.mark.parametrize(
    ("wall", "cpu", "interrupted"), [(1.0, 1.0, False), (1.09, 1.0, False), (1.11, 1.0, True), (1.0, 2.0, False)]
)
def test_interrupted_is_more_wall_than_cpu_time(wall, cpu, interrupted):
    assert Block(10, wall, cpu).interrupted == interrupted


def test_a_tick_of_the_cpu_clock_is_no_interruption(monkeypatch):
    monkeypatch.setattr(harness.training.timer, "CPU_TICK", 1 / 64)
    assert not Block(10, 0.02, 0.015).interrupted
    assert Block(10, 0.04, 0.015).interrupted


@pytest.mark.parametrize(("threads", "seconds"), [(1, 5.0), (2, 7.0)])
def test_cpu_time_is_that_of_the_threads_which_train(machine, monkeypatch, threads, seconds):
    """With one, whatever another thread of the process does is no CPU time of the training; with several, all count."""
    monkeypatch.setattr(harness.training.timer, "thread_time", lambda: 5 * machine.now)
    monkeypatch.setattr(harness.training.timer, "process_time", lambda: 7 * machine.now)
    table = timed({"threads": threads})
    assert np.allclose(table["update_cpu_seconds"], seconds * table["update_seconds"])


def test_two_threads_that_work_are_no_interruption_and_hide_none_of_the_whole_process(machine):
    machine.cores = 2
    assert not timed({"threads": 2})["interrupted"].any()
    machine.stopped = lambda: 1.0
    assert timed({"threads": 2})["interrupted"].all()


# Bounds


def counts(table: pd.DataFrame) -> list[int]:
    return [len(own) for _, own in table.groupby("signature")]


def test_the_pass_keeps_to_its_time(machine):
    machine.update_seconds = lambda batch_size, update: 1e-5 * batch_size
    for seconds in (0.5, 2.0, 8.0):
        before = machine.now
        assert counts(timed(*sizes(1, 2, 9, 27, 54, seeds=10), seconds=seconds)) == [10] * 5
        assert machine.now - before <= seconds


def test_blocks_are_not_longer_than_they_need_be(machine):
    machine.update_seconds = lambda batch_size, update: 1e-4 * batch_size
    timed(*sizes(1, 54), seconds=1000.0)
    assert machine.now < 10


def test_slow_updates_have_fewer_blocks(machine):
    """An update of a second does not fit into the time of one block; ten of them would not fit into the pass."""
    machine.update_seconds = lambda batch_size, update: 1.0 if batch_size == 54 else 1e-3
    table = timed(*sizes(1, 54, seeds=20), seconds=24.0)
    few = counts(table)[1]
    assert counts(table)[0] == 20
    assert table.loc[table["signature"] == "cell 0", "updates"].nunique() == 1
    assert FEWEST_BLOCKS <= few < 20
    assert machine.now <= 24
    assert table.loc[table["signature"] == "cell 1", "updates"].unique().tolist() == [1]
    assert counts(timed(*sizes(1, 54, seeds=20), seconds=100.0)) == [20, 20]


def test_a_machine_that_becomes_slower_has_shorter_blocks(machine):
    """At a fifth of its speed after the first blocks: all others are still measured in the time that there is."""
    machine.update_seconds = lambda batch_size, update: 1e-4
    machine.factor = lambda: 1.0 if machine.now < 0.0125 else 5.0
    table = timed(*sizes(9, 54, seeds=10), seconds=0.4)
    assert counts(table) == [10, 10]
    assert machine.now < 0.42
    updates = table.loc[table["signature"] == "cell 0", "updates"].tolist()
    assert updates[0] > 2 * updates[-1]


def test_out_of_time_every_work_still_has_a_block(machine):
    machine.update_seconds = lambda batch_size, update: 100.0
    assert counts(timed(*sizes(1, 9, 54), seconds=1.0)) == [1, 1, 1]


def test_a_pass_takes_a_twentieth_of_the_training_but_may_take_a_second():
    assert pass_seconds(3600.0) == 180.0
    assert pass_seconds(0.1) == 1.0


def test_nothing_to_measure():
    assert timed().empty
    assert readings(timed()) == {}


# On stacks that train


@pytest.mark.parametrize("changes", [{}, {"dataset_resample": True}, {"order": "sorted"}], ids=str)
def test_training_is_the_same_after_a_pass_to_the_bit(changes):
    def weights(cell: Cell) -> np.ndarray:
        for _ in cell.train():
            pass
        return cell.result().parameters.flat

    before = weights(Cell(configured(**changes), DATASET))
    cell = Cell(configured(**changes), DATASET)
    time_updates({"own": (cell.config, cell.plan)}, lambda _: DATASET, 0.05, np.random.default_rng(0))
    assert np.array_equal(weights(cell), before)


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("resample", [False, True])
@pytest.mark.parametrize("batch_size", [1, 8, "full"])
def test_what_is_timed_is_shaped_like_replica_zero(seeds, resample, batch_size):
    """A replica alone, on data that it shares or has for itself, without a record of its batches."""
    config = configured(seeds=seeds, dataset_resample=resample, batch_size=batch_size, diagnostics="full")
    trained = Cell(config, DATASET)
    (cell,) = cells_of({work_of(config, trained.plan): (config, trained.plan)}, lambda _: DATASET)
    stack, alone = Timer(cell)._stack(), next(trained.stacks())
    assert [V.shape for V in stack.engine.train_set] == [V.shape for V in alone.engine.train_set]
    assert type(stack.engine) is type(alone.engine)
    assert stack.network.params.flat.shape == alone.network.params.flat.shape
    assert stack.observer is None
    assert stack.advance(10) == []


OPTIMIZERS = [
    {"optimizer_name": "sgd"},
    {"optimizer_name": "momentum", "optimizer_momentum": 0.9},
    {"optimizer_name": "nesterov", "optimizer_momentum": 0.9},
    {"optimizer_name": "adam", "optimizer_beta1": 0.9, "optimizer_beta2": 0.999, "optimizer_epsilon": 1e-8},
    {"optimizer_name": "rmsprop", "optimizer_beta2": 0.99, "optimizer_epsilon": 1e-8},
]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda changes: changes["optimizer_name"])
def test_weights_stay_where_they_are_whatever_the_rate(optimizer, dtype):
    """And no state of the optimiser is a denormal number, which would be slow."""
    config = configured(learning_rate=1e3, learning_rate_rule="linear", reduction="sum", dtype=dtype, **optimizer)
    plan = plan_of(config, DATASET)
    (cell,) = cells_of({work_of(config, plan): (config, plan)}, lambda _: DATASET)
    stack = Timer(cell)._stack()
    start = stack.network.params.flat.copy()
    stack.advance(300)
    assert np.abs(stack.network.params.flat - start).max() <= 300 * N_TRAIN * 10 * RATE
    state = np.abs(np.concatenate([slot.ravel() for slot in (*stack.engine.optimizer.slots, np.ones(1))]))
    assert state[state > 0].min() > np.finfo(dtype).tiny


def test_works_of_one_dataset_share_its_examples():
    cells = grid(*sizes(1, 9, 54), {"seed": 5}, {"reduction": "sum"}, {"dataset_resample": True}, {"dtype": "float32"})
    *shared, own, single = cells_of({work_of(*cell): cell for cell in cells.values()}, lambda _: DATASET)
    assert {id(cell.sets) for cell in shared} == {id(shared[0].sets)}
    assert own.sets is not shared[0].sets
    assert single.sets["train"][0].dtype == np.float32


def test_each_work_has_its_own_engine():
    cells = grid({}, {"engine": "per_example"}, {"engine": "per_example", "batch_size": 9})
    timed_cells = cells_of({work_of(*cell): cell for cell in cells.values()}, lambda _: DATASET)
    engines = [type(Timer(cell)._stack().engine).__name__ for cell in timed_cells]
    assert engines == ["Vectorized", "PerExample", "PerExample"]


@pytest.mark.slow
def test_single_examples_take_less_time_than_a_batch_on_the_real_clock():
    """In CPU time, whatever else the machine does."""
    table = timed(*sizes(1, 54, seeds=10), seconds=2.0)
    assert (table.groupby("signature")["update_cpu_seconds"].median().diff().dropna() > 0).all()


# What the readings are for


def test_seconds_of_a_replica_are_its_updates_times_its_block():
    own = replica_seconds(np.array([0, 10, 10, 20, 30]), np.array([0, 0, 1, 2, 4]), np.array([1.0, 2.0, 4.0]))
    assert own.tolist() == [0.0, 10.0, 20.0, 80.0, 60.0]


def blocks_of(rows):
    """Blocks of (signature, number, wall seconds, CPU seconds if it was interrupted)."""
    whole = [(*row[:3], row[3] if len(row) > 3 else row[2], len(row) > 3) for row in rows]
    return pd.DataFrame(whole, columns=["signature", "block", "update_seconds", "update_cpu_seconds", "interrupted"])


def test_of_an_interrupted_block_the_cpu_time_counts():
    """Also where that is most of the blocks: the work of others is no part of an update. A clock of 0 knows nothing."""
    found = readings(blocks_of([("a", 0, 9.0, 3.0), ("a", 1, 3.1), ("a", 2, 20.0, 3.2), ("b", 0, 4.0, 0.0)]))
    assert {key: own.tolist() for key, own in found.items()} == {"a": [3.0, 3.1, 3.2], "b": [4.0]}


def test_readings_are_in_the_order_of_blocks():
    rows = [("a", 1, 5.0), ("b", 0, 2.0), ("a", 0, 3.0)]
    table = blocks_of(rows)
    assert {key: own.tolist() for key, own in readings(table).items()} == {"a": [3.0, 5.0], "b": [2.0]}
