"""From `train` to the products of an update there are at most five calls, in every engine."""

import sys

import numpy as np
import pytest

from harness.network.engine import PerExample, Vectorized
from harness.network.optimizers import SGD
from harness.training.loop import Budget, train
from harness.training.order import Batches
from harness.training.stack import Stack

LOSS, N = "softmax_cross_entropy", 10


def frames_below_train():
    """Names of the Python functions from `train` to the caller of the product, comprehensions included."""
    names, frame = [], sys._getframe(2)
    while frame.f_code is not train.__code__:
        names.append(frame.f_code.co_name)
        frame = frame.f_back
    return ["train", *reversed(names)]


@pytest.fixture
def watch(monkeypatch):
    """watch(module, *names) -> a list, to which each call of these functions adds the frames above it."""

    def watched(module, *names):
        seen = []
        for name in names:
            monkeypatch.setattr(module, name, noted(getattr(module, name), seen))
        return seen

    def noted(function, seen):
        def call(*args, **options):
            seen.append(frames_below_train())
            return function(*args, **options)

        return call

    return watched


@pytest.mark.xdist_group("compiled")  # one process compiles, once
@pytest.mark.parametrize(
    ("engine", "n_stack", "batch_size"),
    [
        (Vectorized, 1, 1), (Vectorized, 3, 1), (Vectorized, 1, 8), (Vectorized, 3, 8),
        (PerExample, 1, 8), (PerExample, 3, 8), ("compiled", 1, 1), ("compiled", 3, 8),
    ],
)  # fmt: skip
def test_an_update_is_at_most_five_calls_deep(draw_examples, draw_network, watch, engine, n_stack, batch_size):
    if engine == "compiled":
        pytest.importorskip("numba", reason='engine=compiled is an extra: pip install -e ".[compiled]"')
        from harness.compiled import engine as machine_code

        engine, seen = machine_code.Compiled, watch(machine_code, "updates", "single_updates")
    else:
        seen = watch(np, "dot", "matmul", "outer")
    replicas = range(n_stack)
    network, data = draw_network(LOSS, [5], "tanh", replicas), draw_examples(LOSS, N)
    batches = Batches(N, batch_size, "reshuffle", "keep", [np.random.default_rng(r) for r in replicas])
    own = engine(network, SGD(network.params, 0.1), data, "mean")
    stack = Stack(replicas, own, batches, data, record_batch_costs=False)
    for _ in train([stack], Budget(updates=4)):
        pass
    products = [names for names in seen if "make_updates" in names]
    assert products
    assert max(map(len, products)) <= 5, max(products, key=len)  # the product itself is the fifth call
