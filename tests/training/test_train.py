"""The training loop: when it measures, when it stops, what it times and what it reports.

Time is counted by a clock that the tests turn by hand, so nothing here depends on how fast the machine is.
"""

import math
import sys
from collections.abc import Callable, Sequence
from itertools import chain, pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import harness.network.engine
from harness.network.engine import GradientInto, Vectorized
from harness.network.evaluation import evaluate
from harness.network.mlp import MLP
from harness.network.optimizers import SGD
from harness.network.parameters import Parameters
from harness.training.checkpoints import (
    CHECKPOINTS_PER_DECADE,
    Outcome,
    StoppingRule,
    Target,
    is_geometric,
    next_checkpoint,
    next_geometric,
)
from harness.training.diagnostics import FullObserver, Observer
from harness.training.loop import Budget, train
from harness.training.order import Batches, Passes, updates_per_epoch
from harness.training.stack import Stack

N, BATCH_SIZE, PER_EPOCH = 50, 8, 7
LOSS = "softmax_cross_entropy"


@pytest.fixture
def make_stack(draw_examples, draw_network) -> Callable[..., Stack]:
    """A stack of the replicas given, with the examples that all share."""

    def made(
        replicas: Sequence[int] = (0,), rate: Any = 0.1, loss: str = LOSS, batch_size: int = BATCH_SIZE,
        gradient_into: GradientInto = MLP.gradient_into, **others: Any,
    ) -> Stack:  # fmt: skip
        network = draw_network(loss, [5], replicas=replicas)
        order = Batches(N, batch_size, "reshuffle", "keep", [np.random.default_rng([9, r]) for r in replicas])
        engine = Vectorized(network, SGD(network.params, rate), draw_examples(loss, N), "mean")
        engine.gradient_into = gradient_into
        return Stack(replicas, engine, order, draw_examples(loss, 20), **others)

    return made


class Ticker:
    """A clock that stands still unless somebody calls `tick`."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def tick(self, seconds: float, function: Callable) -> Callable:
        """The function, which now takes so many seconds."""

        def slow(*args: Any) -> Any:
            self.now += seconds
            return function(*args)

        return slow


@pytest.fixture
def ticker(monkeypatch) -> Ticker:
    ticker = Ticker()
    monkeypatch.setattr("harness.training.clock.perf_counter", ticker)
    return ticker


# When it measures.


@settings(deadline=None)
@given(st.integers(0, 10**7), st.sampled_from([1, 3, CHECKPOINTS_PER_DECADE, Observer.batch_costs_per_decade]))
def test_next_geometric_is_the_next_of_one_grid_for_all(update, per_decade):
    """The rounded powers of 10^(1/per_decade), listed and searched."""
    grid = sorted({round(10 ** (k / per_decade)) for k in range(8 * per_decade + 1)})
    assert next_geometric(update, per_decade) == min(g for g in grid if g > update)
    assert is_geometric(update, per_decade) == (update in grid)


def test_geometric_checkpoints_have_the_same_relative_resolution_everywhere():
    """Ten in each decade, ratio 10^0.1 = 1.26, as soon as integers are dense enough."""
    grid = [next_geometric(99, 10)]
    while grid[-1] < 10**6:
        grid.append(next_geometric(grid[-1], 10))
    assert len(grid) == 4 * 10 + 1
    np.testing.assert_allclose(np.divide(grid[1:], grid[:-1]), 10**0.1, rtol=0.01)


@settings(deadline=None)
@given(st.integers(0, 10**5), st.integers(1, 5000))
def test_no_checkpoint_skips_the_end_of_an_epoch(update, per_epoch):
    later = next_checkpoint(update, Passes(per_epoch, "keep", [(0, 1)]))
    assert later > update
    assert all(u % per_epoch for u in range(update + 1, later))


@pytest.mark.parametrize("batch_size", [1, 8, N])
def test_records_come_at_zero_at_geometric_updates_at_each_epoch_and_at_the_end(make_stack, batch_size):
    per_epoch, last = updates_per_epoch(N, batch_size, "keep"), 117
    records = list(train([make_stack(batch_size=batch_size)], Budget(updates=last)))
    expected = {0, last} | {u for u in range(1, last) if is_geometric(u, 10) or u % per_epoch == 0}
    assert [record.update for record in records] == sorted(expected)


def test_a_record_is_what_evaluation_says_of_the_parameters_at_that_update(make_stack):
    """Looking changes nothing: a stack advanced in one go has the parameters and costs of the last record."""
    watched, unwatched = make_stack((0, 1, 2)), make_stack((0, 1, 2))
    *_, record = train([watched], Budget(updates=30))
    unwatched.advance(30)
    train_cost, _ = evaluate(unwatched.network, *unwatched.engine.train_set)
    validation_cost, score = evaluate(unwatched.network, *unwatched.validation_set)
    assert (record.train_cost == train_cost).all()
    assert (record.validation_cost == validation_cost).all()
    assert (record.validation_score == score).all()
    assert [watched.final[r].tobytes() for r in range(3)] == [row.tobytes() for row in unwatched.network.params.flat]


# When it stops.


@pytest.mark.parametrize("last", [1, 2, 7, 50, 51])
def test_budget_in_updates_is_spent_exactly(make_stack, last):
    """By every replica, in as many gradients; the last record says completed and no earlier one says anything."""
    calls = []

    def counted(network, *args):
        calls.append(len(network.params.flat))
        network.gradient_into(*args)

    stacks = [make_stack((0,), gradient_into=counted), make_stack((1, 2), gradient_into=counted)]
    *before, record = train(stacks, Budget(updates=last))
    assert record.update == last
    assert record.outcome == 3 * [Outcome.COMPLETED]
    assert all(outcome is None for earlier in before for outcome in earlier.outcome)
    assert sorted(calls) == last * [1] + last * [2]
    assert set(stacks[0].final) | set(stacks[1].final) == {0, 1, 2}


def test_budget_in_seconds_is_that_of_replica_zero_and_the_others_do_as_many_updates(make_stack, ticker):
    """Replica 0 needs 2 s for an update, the others 1000 s each: they are off the clock."""
    alone = make_stack((0,), gradient_into=ticker.tick(2.0, MLP.gradient_into))
    others = make_stack((1, 2), gradient_into=ticker.tick(1000.0, MLP.gradient_into))
    records = list(train([alone, others], Budget(seconds=86.0)))
    assert (alone.update, others.update, records[-1].update) == (43, 43, 43)
    assert [record.train_seconds for record in records] == [2.0 * record.update for record in records]
    assert records[-1].outcome == 3 * [Outcome.COMPLETED]


@pytest.mark.parametrize(
    ("budget", "last"),
    [(Budget(updates=20, seconds=86.0), 20), (Budget(updates=90, seconds=86.0), 43), (Budget(seconds=1.0), 1)],
)
def test_the_first_budget_that_is_spent_ends_training(make_stack, ticker, budget, last):
    stack = make_stack(gradient_into=ticker.tick(2.0, MLP.gradient_into))
    *_, record = train([stack], budget)
    assert record.update == stack.update == last


def test_a_budget_in_seconds_goes_on_at_the_last_rate_when_replica_zero_has_ended(make_stack, ticker):
    """Its pace, 2 s per update, is extrapolated, so the others stop where they would have stopped."""
    alone = make_stack((0,), rate=1e300, gradient_into=ticker.tick(2.0, MLP.gradient_into))
    others = make_stack((1, 2), gradient_into=ticker.tick(1000.0, MLP.gradient_into))
    records = list(train([alone, others], Budget(seconds=86.0)))
    assert alone.update < 10
    assert others.update == 43
    assert records[-1].replica.tolist() == [1, 2]
    assert [record.train_seconds for record in records] == [2.0 * record.update for record in records]


def judged(costs: Sequence[float], target: Target | None = None, validation: Sequence[float] | None = None) -> list:
    """The outcomes of one replica with these costs at its checkpoints."""
    judge = StoppingRule(1, target)
    pairs = zip(costs, validation or len(costs) * [1.0], strict=True)
    return [judge(np.array([0]), np.array([c]), np.array([v]))[0] for c, v in pairs]


D, R = Outcome.DIVERGED, Outcome.REACHED


@pytest.mark.parametrize(
    ("costs", "outcomes"),
    [
        ([1.0, 9.0, 10.0, 10.0], [None, None, None, None]),  # ten times is not more than ten times
        ([1.0, 10.1, 10.1], [None, None, D]),
        ([1.0, 10.1, 9.9, 10.1, 11.0], [None, None, None, None, D]),  # two in a row
        ([0.01, 0.2, 0.2], [None, None, D]),  # relative to the cost at the start, not to 1
        ([1.0, math.inf], [None, D]),
        ([1.0, math.nan], [None, D]),
        ([math.nan], [D]),
        ([math.inf], [D]),
    ],
)
def test_divergence_is_a_cost_that_is_not_finite_or_twice_above_ten_times_the_first(costs, outcomes):
    assert judged(costs) == outcomes


@pytest.mark.parametrize(
    ("costs", "outcomes"),
    [
        ([1.0, 0.5, 0.4], [None, None, R]),  # at the target counts
        ([1.0, 0.4, 0.6, 0.4, 0.4], [None, None, None, None, R]),  # a dip does not
        ([0.1, 0.1], [None, R]),
        ([1.0, 0.6, 0.6], [None, None, None]),
    ],
)
def test_a_target_is_reached_when_it_is_sustained_for_two_checkpoints(costs, outcomes):
    assert judged(costs, Target(0.5)) == outcomes
    assert judged(len(costs) * [1.0], Target(0.5, "validation"), costs) == outcomes
    assert judged(costs, Target(0.5, "validation")) == len(costs) * [None]


@pytest.mark.parametrize("cost", [math.inf, math.nan])
def test_a_validation_cost_that_is_not_finite_is_a_divergence_too(cost):
    """Of a replica whose training cost still is; and it comes before a target that is reached."""
    assert judged([1.0, 0.5], validation=[1.0, cost]) == [None, D]
    assert judged([1.0, 0.4, 0.4], Target(0.5), [1.0, 1.0, cost]) == [None, None, D]


def test_judge_keeps_replicas_apart():
    """The counts belong to the replica, not to its place: place 0 is another one after somebody has ended."""
    judge = StoppingRule(3, Target(0.5))
    assert judge(np.array([0, 1, 2]), np.array([1.0, np.nan, 100.0]), np.ones(3)) == [None, D, None]
    assert judge(np.array([0, 2]), np.array([11.0, 101.0]), np.ones(2)) == [None, None]
    assert judge(np.array([0, 2]), np.array([11.0, 0.5]), np.ones(2)) == [D, None]
    assert judge(np.array([2]), np.array([0.5]), np.ones(1)) == [R]


@pytest.mark.parametrize(
    ("budget", "last"), [(Budget(seconds=86.0), 1), (Budget(updates=9, seconds=86.0), 1), (Budget(updates=9), 9)]
)
def test_without_an_update_of_replica_zero_no_seconds_can_be_spent(make_stack, ticker, budget, last):
    """It starts with weights that are not finite: the others end at once, unless it is updates that count."""
    alone, others = make_stack((0,)), make_stack((1, 2), gradient_into=ticker.tick(1.0, MLP.gradient_into))
    alone.network.params.flat[:] = np.nan
    first, *_, record = train([alone, others], budget)
    assert first.outcome == [D, None, None]
    assert (record.update, record.train_seconds, record.replica.tolist()) == (last, 0.0, [1, 2])
    assert record.outcome == 2 * [Outcome.COMPLETED]


@pytest.mark.parametrize("on", ["train", "validation"])
def test_training_ends_at_the_second_checkpoint_at_or_below_the_target(make_stack, on):
    """The free run says where that is; the other replicas of the stack go on until they get there too."""
    free = list(train([make_stack((0, 1))], Budget(updates=200)))
    curves = np.array([record.train_cost if on == "train" else record.validation_cost for record in free])
    target = float(curves[len(curves) // 2].max())
    ends = {}
    for record in train([make_stack((0, 1))], Budget(updates=200), Target(target, on)):
        ends |= {int(r): (record.update, o) for r, o in zip(record.replica, record.outcome, strict=True) if o}
    for r, curve in enumerate(curves.T):
        under = curve <= target
        first = next(i for i in range(1, len(curve)) if under[i - 1] and under[i])
        assert ends[r] == (free[first].update, Outcome.REACHED)


@pytest.mark.parametrize("loss", ["half_squared_error", "softmax_cross_entropy", "sigmoid_cross_entropy"])
def test_divergence_is_silent_and_leaves_the_others_alone(make_stack, loss):
    """No warning (they are errors here), no value that is not finite in the costs of those who go on."""
    stacks = [make_stack((0,), rate=1e200, loss=loss), make_stack((1, 2, 3), rate=(0.1, 1e200, 0.1), loss=loss)]
    records = list(train(stacks, Budget(updates=40)))
    ends = {int(r): o for rec in records for r, o in zip(rec.replica, rec.outcome, strict=True) if o}
    assert ends == {0: D, 1: Outcome.COMPLETED, 2: D, 3: Outcome.COMPLETED}
    assert records[-1].replica.tolist() == [1, 3]
    assert np.isfinite(records[-1].train_cost).all()
    alone = make_stack((3,), loss=loss)
    alone.advance(40)
    assert stacks[1].final[3].tobytes() == alone.network.params.flat.tobytes()


def test_a_slow_divergence_ends_by_the_rule_of_ten(make_stack):
    """A learning rate a little above 2/λ: still finite, and over ten times the first cost at two checkpoints."""
    records = list(train([make_stack(rate=1.5, loss="half_squared_error", batch_size=N)], Budget(updates=3000)))
    costs = [record.train_cost[0] for record in records]
    assert records[-1].outcome == [D]
    assert np.isfinite(costs).all()
    assert min(costs[-2:]) > 10 * costs[0]
    assert not any(min(pair) > 10 * costs[0] for pair in pairwise(costs[:-1]))


def test_nobody_left_ends_training_before_the_budget(make_stack):
    *_, record = train([make_stack((0, 1), rate=1e300)], Budget(updates=10**9))
    assert record.update < 100
    assert record.outcome == [D, D]


@pytest.mark.parametrize("loss", ["sigmoid_cross_entropy", "softmax_cross_entropy"])
def test_a_diverged_network_predicts_nothing_correctly(make_stack, loss):
    """NaN > 0 is false, which must not pass for the class 0."""
    stack = make_stack(loss=loss)
    stack.network.params.flat[:] = np.nan
    cost, score = evaluate(stack.network, *stack.engine.train_set)
    assert np.isnan(cost[0])
    assert score[0] == 0


def test_an_update_is_five_calls_deep(make_stack):
    """From `train` to a product of matrices, so that a reader can follow it."""
    stack, paths = make_stack(), set()
    product = stack.network.params.product

    def spied(*arrays: np.ndarray) -> np.ndarray:
        path, frame = [], sys._getframe(1)
        while frame.f_code is not train.__code__:
            path.append(frame.f_code.co_name)
            frame = frame.f_back
        paths.add(tuple(name for name in reversed(path) if name != "<listcomp>"))
        return product(*arrays)

    stack.network.params.product = spied
    list(train([stack], Budget(updates=3)))
    updating = {path for path in paths if path[0] == "advance" and "make_updates" in path}
    assert updating == {("advance", "make_updates", "gradient_into", step) for step in ("_forward", "_backward")}


# What it reports about batches.


def slow_cost(params: Parameters, r: int, X: np.ndarray, Y: np.ndarray) -> float:
    """Mean of −log softmax over the examples of a batch, in plain Python, for a tanh network with one hidden layer."""
    costs = []
    for x, y in zip(X.tolist(), Y.tolist(), strict=True):
        A = x
        for layer, (W, b) in enumerate(zip(params.W, params.b, strict=True)):
            Z = [sum(a * w for a, w in zip(A, column, strict=True)) for column in W[r].T.tolist()]
            A = [z + b_j for z, b_j in zip(Z, b[r, 0].tolist(), strict=True)]
            A = [math.tanh(z) for z in A] if layer == 0 else A
        log_sum = math.log(sum(math.exp(z) for z in A))
        costs.append(sum(y_k * (log_sum - z) for y_k, z in zip(y, A, strict=True)))
    return sum(costs) / len(costs)


def test_batch_costs_are_those_of_the_batch_before_its_update(make_stack):
    """Recomputed in loops from what the gradient was given; ragged batches included."""
    given = []

    def spied(network, grads, X, Y):
        copy = Parameters(network.params.sizes, network.params.flat.copy())
        given.append((copy, np.array(X), np.array(Y)))
        network.gradient_into(grads, X, Y)

    stack = make_stack((0, 1), gradient_into=spied)
    records = train([stack], Budget(updates=30))
    recorded = [cost for record in records for cost in record.batch_costs]
    assert [(u, r) for u, r, _ in recorded] == [(u, r) for u in range(30) for r in (0, 1)]
    for update, r, cost in recorded:
        params, X, Y = given[update]
        assert cost == pytest.approx(slow_cost(params, r, X[r], Y[r]), rel=1e-12)


def test_batch_costs_are_thinned_geometrically_and_come_with_the_next_record(make_stack):
    stack = make_stack()
    before, recorded = 0, []
    for record in train([stack], Budget(updates=1500)):
        assert all(before <= update < record.update for update, _, _ in record.batch_costs)
        recorded += [update for update, _, _ in record.batch_costs]
        before = record.update
    assert recorded == [0] + [u for u in range(1, 1500) if is_geometric(u, Observer.batch_costs_per_decade)]


def test_a_full_observer_has_the_cost_of_every_batch(make_stack):
    stack = make_stack(observer=FullObserver(N, 0.1, np.random.SeedSequence(0)))
    records = train([stack], Budget(updates=1500))
    assert [update for record in records for update, *_ in record.batch_costs] == list(range(1500))


def test_batch_costs_can_be_left_out_without_changing_the_training(make_stack):
    stacks = [make_stack(record_batch_costs=choice) for choice in (True, False)]
    records = [list(train([stack], Budget(updates=30))) for stack in stacks]
    assert [len(list(chain(*(record.batch_costs for record in rs)))) for rs in records] == [30, 0]
    assert stacks[0].final[0].tobytes() == stacks[1].final[0].tobytes()


# What it times.


def test_the_clock_runs_while_updating_and_for_nothing_else(make_stack, ticker, monkeypatch):
    """An update takes 1 s and drawing its batch 10 s; whatever else is done takes ages."""
    monkeypatch.setattr(harness.network.engine, "evaluate", ticker.tick(1e6, evaluate))
    observer = FullObserver(N, 0.1, np.random.SeedSequence(0))
    observer.before_update = ticker.tick(1e6, observer.before_update)
    observer.after_update = ticker.tick(1e6, observer.after_update)
    stack = make_stack(gradient_into=ticker.tick(1.0, MLP.gradient_into), observer=observer)
    stack.batches.take = ticker.tick(10.0, stack.batches.take)
    monkeypatch.setattr(stack.network, "costs", ticker.tick(1e6, stack.network.costs))
    for record in train([stack], Budget(updates=40)):
        ticker.now += 1e6
        assert record.train_seconds == 11.0 * record.update


def test_the_warm_up_moves_nothing_and_is_not_on_the_clock(make_stack, ticker):
    stack = make_stack(gradient_into=ticker.tick(1.0, MLP.gradient_into))
    before = stack.network.params.flat.copy()
    stack.warm_up()
    assert ticker.now == 1.0
    assert (stack.clock.seconds, stack.update) == (0.0, 0)
    assert (stack.network.params.flat == before).all()
    warm, cold = ([*train([s], Budget(updates=9))][-1].train_cost for s in (stack, make_stack()))
    assert (warm == cold).all()


def test_the_warm_up_is_as_silent_as_training(make_stack):
    """A hidden sigmoid that saturates from the start overflows to the right answer; warnings are errors here."""
    stack = make_stack()
    stack.engine.network = MLP(stack.network.params, "sigmoid", LOSS)
    stack.network.params.flat[:] *= 1000
    stack.warm_up()


def test_the_clock_that_counts_is_real(make_stack):
    """Without the hand-turned one: seconds grow from record to record, and are fewer than the wall saw."""
    from time import perf_counter

    start = perf_counter()
    seconds = [record.train_seconds for record in train([make_stack()], Budget(updates=40))]
    assert seconds == sorted(seconds)
    assert 0 == seconds[0] < seconds[-1] < perf_counter() - start
