"""A network trained in a stack has the same bits as the network trained alone: `==`, never "close".

Otherwise the number of seeds would change the result of each, and no run could be repeated by itself. Everything goes
through the production loop: batches, gather, gradient, reduction, optimiser, checkpoints, retirement.
"""

from functools import cache

import numpy as np
import pytest

from harness.network.activations import ACTIVATIONS
from harness.network.engine import Vectorized
from harness.network.evaluation import PIECE, evaluate
from harness.network.losses import LOSSES
from harness.network.mlp import MLP
from harness.network.optimizers import OPTIMIZERS
from harness.network.parameters import Parameters
from harness.training.checkpoints import Outcome, Target
from harness.training.loop import Budget, train
from harness.training.order import Batches
from harness.training.stack import Stack

N = 66  # batches of 7 and of 64 leave a ragged rest
REPLICAS = range(30)
DTYPES = [np.float64, np.float32]
LOSS = "softmax_cross_entropy"
RATES = {"sgd": 0.3, "momentum": 0.05, "nesterov": 0.05, "adam": 0.01, "rmsprop": 0.01}


@pytest.fixture(scope="module")
def histories(draw_examples, draw_network):
    """history(replica, …) of the replicas trained together: every checkpoint's numbers and the final parameters."""

    @cache
    def trained(
        replicas, optimizer, batch_size, dtype, own_data, order="reshuffle", reduction="mean", rates=None, target=None
    ):
        network = draw_network(LOSS, [5], "tanh", replicas, dtype)
        train_set = draw_examples(LOSS, N, replicas if own_data else None, dtype)
        validation_set = draw_examples(LOSS, 20, replicas if own_data else None, dtype)
        rule = OPTIMIZERS[optimizer](
            network.params, rates or RATES[optimizer], weight_decay=1e-3, clip_norm=1.0 if reduction == "mean" else None
        )
        rngs = [np.random.default_rng([5, r]) for r in replicas]
        cut = Batches(N, batch_size, order, "keep", rngs)
        members = list(range(len(replicas)))  # positions, as `train` numbers the replicas of a run from zero
        stack = Stack(members, Vectorized(network, rule, train_set, reduction), cut, validation_set)
        points = {r: [] for r in replicas}
        budget = Budget(updates=70 if batch_size == 1 else 16)  # beyond the first epoch
        for record in train([stack], budget, target):
            for update, member, cost in record.batch_costs:
                points[replicas[member]].append((update, repr(cost)))
            for i, member in enumerate(record.replica):
                numbers = record.train_cost[i], record.validation_cost[i], record.validation_score[i]
                points[replicas[member]].append((record.update, *map(repr, numbers), record.outcome[i]))
        return {r: (points[r], stack.final[m].tobytes()) for m, r in enumerate(replicas)}

    return trained


def assert_alone_or_not_is_the_same(histories, *cell):
    for size, members in {2: (0, 1), 5: (1,), 30: (0, 29)}.items():
        stack = histories(tuple(REPLICAS[:size]), *cell)
        for r in members:
            assert stack[r] == histories((r,), *cell)[r]


@pytest.mark.sample(12)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch_size", [1, 2, 7, 64, N])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_training_in_a_stack_is_training_alone(histories, optimizer, batch_size, dtype):
    """Weights, costs and scores at every checkpoint, batch costs: for stacks of 2, 5 and 30."""
    assert_alone_or_not_is_the_same(histories, optimizer, batch_size, dtype, False)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch_size", [1, 2, 7, 64, N])
def test_training_in_a_stack_with_data_per_replica_is_training_alone(histories, batch_size, dtype):
    """The same when each replica has a split of its own, (R, N, D)."""
    assert_alone_or_not_is_the_same(histories, "nesterov", batch_size, dtype, True)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("order", ["reshuffle", "once", "none", "replacement"])
def test_the_order_of_examples_does_not_depend_on_the_stack(histories, order, reduction):
    """Each replica draws from its own generator, in every order that there is."""
    cell = "sgd", 7, np.float64, False, order, reduction, 0.02
    stack = histories(tuple(REPLICAS[:5]), *cell)
    for r in range(5):
        assert stack[r] == histories((r,), *cell)[r]


@pytest.mark.parametrize("own_data", [False, True], ids=["shared data", "data per replica"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
def test_survivors_do_not_notice_that_others_diverged(histories, optimizer, dtype, own_data):
    """Replicas with an absurd learning rate leave the stack during training, in two places; the rest keeps its bits."""
    sane, absurd = RATES[optimizer], 1e30
    rates = (sane, absurd, sane, sane, absurd, absurd, sane)
    stack = histories(tuple(REPLICAS[:7]), optimizer, 7, dtype, own_data, reduction="sum", rates=rates)
    for r, rate in enumerate(rates):
        alone = histories((r,), optimizer, 7, dtype, own_data, reduction="sum", rates=(rate,))[r]
        assert stack[r] == alone
        assert (alone[0][-1][-1] == Outcome.DIVERGED) == (rate == absurd)


@pytest.mark.parametrize("own_data", [False, True], ids=["shared data", "data per replica"])
def test_survivors_do_not_notice_that_others_reached_the_target(histories, own_data):
    """Replicas leave one after the other, so rows of the stack move up more than once."""
    cell = {"optimizer": "adam", "batch_size": 1, "dtype": np.float64, "own_data": own_data, "target": Target(1.0)}
    stack = histories(tuple(REPLICAS[:12]), **cell)
    for r in range(12):
        assert stack[r] == histories((r,), **cell)[r]
    assert len({len(points) for points, _ in stack.values()}) > 5


# Shapes with an axis of length one, where the strides of an array are arbitrary and BLAS has other routines.
SIZES = [(1, 1), (2, 1), (1, 3), (4, 3), (3, 8, 1), (5, 1, 2), (1, 4, 1), (64, 32, 10), (13, 17, 5, 3)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_examples", [1, 2, 7, 64, PIECE + 476])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_gradient_and_evaluation_of_a_stack_for_every_shape(sizes, n_examples, dtype):
    """One pass, for each loss and activation: more than one piece of an evaluation, too."""
    rng = np.random.default_rng(0)
    params = Parameters.initialized(sizes, "glorot_normal", [np.random.default_rng(r) for r in range(9)], dtype)
    X = rng.normal(size=(n_examples, sizes[0])).astype(dtype)
    for loss, activation in zip([*LOSSES, "softmax_cross_entropy"], ACTIVATIONS, strict=True):
        Y = rng.uniform(size=(n_examples, sizes[-1])).astype(dtype)
        together = MLP(params, activation, loss)
        grads, (cost, score) = together.gradient(X, Y).flat, evaluate(together, X, Y)
        for r in (0, 4, 8):
            alone = MLP(params.select(np.array([r])), activation, loss)
            assert alone.gradient(X, Y).flat.tobytes() == grads[r].tobytes()
            own_cost, own_score = evaluate(alone, X[None], Y[None])
            np.testing.assert_array_equal([own_cost[0], own_score[0]], [cost[r], score[r]])


def test_copies_of_one_network_stay_copies(draw_network, draw_examples):
    """Ten times the same network and the same order: one result, whatever its place in the stack."""
    network = draw_network(LOSS, [5], replicas=10 * (3,))
    X, Y = draw_examples(LOSS, N)
    rngs = [np.random.default_rng(3) for _ in range(10)]
    optimizer = OPTIMIZERS["nesterov"](network.params, 0.1)
    engine = Vectorized(network, optimizer, (X, Y), "mean")
    stack = Stack(range(10), engine, Batches(N, 7, "reshuffle", "keep", rngs), (X, Y))
    stack.advance(100)
    assert len({row.tobytes() for row in network.params.flat}) == 1
