"""Which examples are in which batch: properties that hold for every N, B, order and number of replicas."""

import tracemalloc
from collections.abc import Callable, Iterator
from itertools import chain, islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.network.engine import Rows, Vectorized, cut, gather
from harness.network.optimizers import OPTIMIZERS
from harness.training.order import PIECE, Batches, Order, examples_seen, updates_per_epoch
from harness.training.stack import Stack

PERMUTING = ["reshuffle", "once", "none"]
ORDERS = [*PERMUTING, "replacement"]
LAST_BATCH = ["keep", "drop"]


@st.composite
def sizes(draw: Callable) -> tuple[int, int]:
    """(N, B) with 1 <= B <= N, the ends more often than chance would have it."""
    n_examples = draw(st.integers(1, 40))
    return n_examples, draw(st.one_of(st.just(1), st.just(n_examples), st.integers(1, n_examples)))


def properties(test: Callable) -> Callable:
    return settings(max_examples=60, deadline=None)(given(sizes=sizes(), last_batch=st.sampled_from(LAST_BATCH))(test))


def generators(replicas: range) -> list[np.random.Generator]:
    return [np.random.default_rng([3, r]) for r in replicas]


def indices(batch: Rows, n_examples: int, n_stack: int) -> np.ndarray:
    """(R, b): a slice means the same rows for every replica."""
    return np.tile(np.arange(n_examples)[batch], (n_stack, 1)) if isinstance(batch, slice) else batch.copy()


def epochs(
    n_examples: int, batch_size: int, order: str, last_batch: str, n_epochs: int, replicas: range = range(3)
) -> list[list[np.ndarray]]:
    """The batches of each epoch, as (R, b) indices."""
    endless = Batches(n_examples, batch_size, order, last_batch, generators(replicas))
    n = updates_per_epoch(n_examples, batch_size, last_batch)
    return [[indices(batch, n_examples, len(replicas)) for batch in islice(endless, n)] for _ in range(n_epochs)]


@pytest.mark.parametrize("order", PERMUTING)
@properties
def test_an_epoch_visits_each_example_once_for_each_replica(sizes, last_batch, order):
    """None is lost or doubled; a dropped last batch leaves out N mod B of them, never visiting any twice."""
    n_examples, batch_size = sizes
    visited = n_examples if last_batch == "keep" else n_examples - n_examples % batch_size
    for epoch in epochs(*sizes, order, last_batch, n_epochs=3):
        for own in np.concatenate(epoch, axis=1):
            assert len(own) == len(set(own)) == visited
            assert set(own) <= set(range(n_examples))


@pytest.mark.parametrize("order", ORDERS)
@properties
def test_all_batches_have_b_examples_but_for_a_kept_last_one(sizes, last_batch, order):
    n_examples, batch_size = sizes
    rest = n_examples % batch_size
    expected = n_examples // batch_size * [batch_size] + ([rest] if rest and last_batch == "keep" else [])
    for epoch in epochs(*sizes, order, last_batch, n_epochs=2):
        assert [batch.shape for batch in epoch] == [(3, size) for size in expected]


@properties
def test_updates_per_epoch_is_n_over_b_rounded(sizes, last_batch):
    n_examples, batch_size = sizes
    exact = n_examples / batch_size
    assert updates_per_epoch(*sizes, last_batch) == (np.ceil(exact) if last_batch == "keep" else np.floor(exact)) >= 1


@pytest.mark.parametrize("order", ORDERS)
@properties
def test_examples_seen_agrees_with_counting(sizes, last_batch, order):
    """The x axis of the plots, at every update of three epochs."""
    counted = 0
    for update, batch in enumerate(chain(*epochs(*sizes, order, last_batch, n_epochs=3))):
        assert examples_seen(update, *sizes, last_batch) == counted
        counted += batch.shape[1]
    assert examples_seen(update + 1, *sizes, last_batch) == counted


@pytest.mark.parametrize("order", ORDERS)
@properties
def test_order_of_a_replica_is_the_same_whoever_else_is_in_the_stack(sizes, last_batch, order):
    together = epochs(*sizes, order, last_batch, 2, range(4))
    for r in range(4):
        alone = epochs(*sizes, order, last_batch, 2, range(r, r + 1))
        for many, one in zip(chain(*together), chain(*alone), strict=True):
            assert (many[r] == one[0]).all()


@pytest.mark.parametrize("batch_size", [5, 12, 23])
def test_replacement_draws_n_indices_an_epoch_with_repeats(batch_size):
    """1 − (1 − 1/N)^N of the examples, about 63 %, appear in an epoch of N draws; in the long run all equally often."""
    n_examples, n_epochs = 23, 3000
    many = epochs(n_examples, batch_size, "replacement", "keep", n_epochs, range(1))
    drawn = np.array([np.concatenate(epoch, axis=1)[0] for epoch in many])
    distinct = np.mean([len(set(epoch)) for epoch in drawn])
    assert distinct / n_examples == pytest.approx(1 - (1 - 1 / n_examples) ** n_examples, abs=0.01)
    counts = np.bincount(drawn.flatten(), minlength=n_examples)
    chi_squared = np.square(counts - n_epochs).sum() / n_epochs
    assert chi_squared < 22 + 5 * np.sqrt(2 * 22)


def test_the_whole_set_with_replacement_is_a_bootstrap_sample():
    """B = N skips the shuffle only where the order cannot matter; here it decides which examples are in the batch."""
    ((batch,),) = epochs(50, 50, "replacement", "keep", 1)
    assert all(len(set(own)) < 50 for own in batch)


def test_reshuffle_draws_anew_each_epoch_and_once_does_not():
    for order, same in [("reshuffle", False), ("once", True)]:
        first, second = (np.concatenate(epoch, axis=1) for epoch in epochs(40, 7, order, "keep", 2))
        assert [(a == b).all() for a, b in zip(first, second, strict=True)] == 3 * [same]
        assert not (first == np.arange(40)).all(axis=1).any()


def test_none_takes_the_examples_as_they_lie():
    assert (np.concatenate(epochs(40, 7, "none", "keep", 1)[0], axis=1) == np.arange(40)).all()


def test_shuffling_is_uniform():
    """Each example is as likely in each place: a shuffle that swaps too little keeps early examples early."""
    n_examples, n_epochs = 6, 6000
    many = epochs(n_examples, 2, "reshuffle", "keep", n_epochs, range(1))
    orders = np.array([np.concatenate(epoch, axis=1)[0] for epoch in many])
    for place in range(n_examples):
        counts = np.bincount(orders[:, place], minlength=n_examples)
        assert np.abs(counts - n_epochs / n_examples).max() < 5 * np.sqrt(n_epochs / n_examples)


def partners(epoch: list[np.ndarray]) -> set[frozenset[int]]:
    """Which examples share a batch, for the first replica."""
    return {frozenset(batch[0].tolist()) for batch in epoch}


def shuffled_batches(n_examples: int, batch_size: int) -> Iterator[np.ndarray]:
    """The planted mistake: batches are cut once, and only their order is shuffled."""
    rng, parts = np.random.default_rng(0), np.arange(n_examples).reshape(-1, batch_size)
    while True:
        for batch in rng.permutation(len(parts)):
            yield parts[batch][None]


@pytest.mark.parametrize("n_examples", [1, 40, 3 * PIECE, 3 * PIECE + 1])
def test_orders_are_those_of_the_generator_itself(n_examples):
    """Drawn in pieces into an array that is kept, and yet the bits of `permutation` and `integers`, epoch for epoch."""
    own, theirs = np.random.default_rng(0), np.random.default_rng(0)
    for rule, draw in (("reshuffle", theirs.permutation), ("replacement", lambda n: theirs.integers(n, size=n))):
        order = Order(n_examples, rule, [own])
        for _ in range(3):
            assert (order.draw()[0] == draw(n_examples)).all()
    assert own.bit_generator.state == theirs.bit_generator.state


@pytest.mark.parametrize("order", ORDERS)
def test_replicas_that_stay_keep_their_orders_when_others_leave(order):
    """In the middle of an epoch and in the epochs after it."""
    whole, some = (Batches(23, 5, order, "keep", generators(range(5))) for _ in range(2))
    for update in range(12):
        if update in (2, 7):
            some.select(np.array([1, 2, 4]) if update == 2 else np.array([0, 2]))
        stayed = [0, 1, 2, 3, 4] if update < 2 else [1, 2, 4] if update < 7 else [1, 4]
        one, other = (indices(next(drawn), 23, n) for drawn, n in ((whole, 5), (some, len(stayed))))
        assert (one[stayed] == other).all()


def test_orders_take_eight_bytes_per_example_and_replica():
    """And drawing them next to nothing more, for a moment."""
    tracemalloc.start()
    endless = Batches(200_000, 1000, "reshuffle", "keep", generators(range(3)))
    for _ in range(3 * 200):
        next(endless)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.05 * 3 * 8 * 200_000


def test_examples_are_shuffled_not_batches():
    """Who shares a batch with whom changes between epochs; with the mistake it never does, and this test says so."""
    first, second = epochs(40, 8, "reshuffle", "keep", 2)
    assert not partners(first) & partners(second)
    wrong = shuffled_batches(40, 8)
    first, second = list(islice(wrong, 5)), list(islice(wrong, 5))
    assert [batch.tolist() for batch in first] != [batch.tolist() for batch in second]
    assert partners(first) == partners(second)


def test_replicas_have_orders_of_their_own():
    (epoch,) = epochs(40, 8, "reshuffle", "keep", 1)
    assert len({tuple(own) for own in np.concatenate(epoch, axis=1).tolist()}) == 3


# Gathering.


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4), st.integers(1, 9), st.booleans(), st.sampled_from([np.float64, np.float32]), st.data())
def test_gathering_fetches_the_rows_of_each_replica(n_stack, n_examples, own_data, dtype, data):
    """V[idx] of each replica, for batches of changing size."""
    rng = np.random.default_rng(0)
    shape = (n_stack, n_examples) if own_data else (n_examples,)
    V = rng.normal(size=(*shape, 3)).astype(dtype)
    for _ in range(3):
        size = data.draw(st.integers(1, n_examples))
        idx = rng.integers(n_examples, size=(n_stack, size))
        got = gather(V, idx)
        assert got.dtype == dtype
        for r in range(n_stack):
            np.testing.assert_array_equal(got[r], (V[r] if own_data else V)[idx[r]])


@pytest.mark.parametrize("shape", [(9,), (4, 9)], ids=["shared", "per replica"])
def test_a_slice_is_gathered_as_a_view(shape):
    """Data in the order in which it lies is never copied."""
    V = np.random.default_rng(0).normal(size=(*shape, 3))
    got = gather(V, slice(2, 5))
    np.testing.assert_array_equal(got, V[..., 2:5, :])
    assert np.shares_memory(got, V)


@pytest.mark.parametrize("order", ["none", "reshuffle"])
@properties
def test_a_run_of_batches_is_cut_into_the_batches_that_come_one_by_one(sizes, last_batch, order):
    """What `take` gives at once, up to the end of the epoch, and `next` one after the other."""
    n_examples, batch_size = sizes
    whole, single = (Batches(*sizes, order, last_batch, generators(range(3))) for _ in range(2))
    for _ in range(2):
        rows, n_batches = whole.take(n_examples)
        parts = list(cut(rows, batch_size))
        assert n_batches == len(parts) == updates_per_epoch(*sizes, last_batch)
        for part, n in parts:
            expected = indices(next(single), n_examples, 3)
            assert (indices(part, n_examples, 3) == expected).all()
            assert n == expected.shape[1]


# Batch gradient descent does not know the order (C4).


def trained(draw_examples, draw_network, order, batch_size=60) -> np.ndarray:
    """50 epochs of the batches `order`."""
    engine = whole_set_engine(draw_examples, draw_network)
    stack = Stack([0], engine, order, engine.train_set)
    stack.advance(50 * updates_per_epoch(60, batch_size, "keep"))
    return stack.network.params.flat


def whole_set_engine(draw_examples, draw_network) -> Vectorized:
    network = draw_network("softmax_cross_entropy", [5])
    optimizer = OPTIMIZERS["momentum"](network.params, 0.1)
    return Vectorized(network, optimizer, draw_examples("softmax_cross_entropy", 60), "mean")


def test_the_whole_set_is_invariant_to_the_seed_of_the_shuffle(draw_examples, draw_network):
    """Bit for bit, since it is not shuffled at all; and if it were, it would stay within 1e-10 over 50 epochs."""
    own = [Batches(60, 60, "reshuffle", "keep", [np.random.default_rng(seed)]) for seed in (0, 1)]
    one, other = (trained(draw_examples, draw_network, order) for order in own)
    assert (one == other).all()
    for seed in (0, 1):
        rng, literal = np.random.default_rng(seed), whole_set_engine(draw_examples, draw_network)
        for _ in range(50):
            literal.make_updates(rng.permutation(60)[None], 60)
        assert 0 < np.abs(literal.network.params.flat - one).max() <= 1e-10


def test_smaller_batches_do_depend_on_the_seed_of_the_shuffle(draw_examples, draw_network):
    """The contrast that gives the invariance its meaning."""
    one, other = (
        trained(draw_examples, draw_network, Batches(60, 20, "reshuffle", "keep", [np.random.default_rng(seed)]), 20)
        for seed in (0, 1)
    )
    assert np.abs(one - other).max() > 1e-3
