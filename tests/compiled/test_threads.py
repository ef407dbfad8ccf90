"""What `threads` are under each engine: of BLAS, or of replicas that are trained at the same time."""

from dataclasses import replace
from threading import Thread

import pytest

pytest.importorskip("numba", reason='engine=compiled is an extra: pip install -e ".[compiled]"')

from harness.config import DatasetConfig
from harness.runs.kept import load_dataset
from harness.training import Cell, thread_pools
from tests.configs import configured

pytestmark = pytest.mark.xdist_group("compiled")  # one process compiles, once


def cell(engine, seeds=3):
    data = DatasetConfig("digits", None, {"_target_": "sklearn.datasets.load_digits"}, 0.2, 0.2, resample=True)
    config = replace(configured(engine=engine, threads=2, seeds=seeds, epochs=1, batch_size=512), dataset=data)
    return Cell(config, load_dataset(config.dataset))


@pytest.mark.parametrize(("engine", "of_blas"), [("compiled", 1), ("vectorized", 2)])
def test_blas_has_those_that_no_replica_has(engine, of_blas):
    for _ in cell(engine).train():
        libraries = [library for library in thread_pools().info() if library["user_api"] == "blas"]
        assert {library["num_threads"] for library in libraries} == {of_blas}


def test_however_large_a_batch_is_each_thread_has_replicas_to_train():
    """With NumPy they would not fit into the cache together."""
    assert [len(stack.replicas) for stack in cell("compiled", seeds=18).stacks()] == [1, 16, 1]
    assert max(len(stack.replicas) for stack in cell("vectorized", seeds=18).stacks()) == 2


@pytest.mark.slow
def test_threads_are_started_once_for_many_short_calls(monkeypatch):
    alone, together = cell("compiled").stacks()
    started, start = [], Thread.start
    monkeypatch.setattr(Thread, "start", lambda thread: (started.append(thread), start(thread)))
    for stack, most in ((alone, 0), (together, 2)):
        for _ in range(20):
            stack.advance(1)
            stack.engine.evaluate(stack.network, *stack.validation_set)
        assert len(started) <= most
