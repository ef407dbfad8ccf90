"""typical_sizes on sweeps made by hand: what a typical size costs beside the others is found where it is planted."""

import numpy as np
import pytest
from synthetic import cell, evidence

from harness.analysis.study import judge_of
from harness.inference.verdicts import Verdict
from harness.runs import studies

pytestmark = pytest.mark.slow  # sweeps made by hand, answered many times

JUDGE = judge_of("typical_sizes", studies.EXPERIMENTS)
MODULE = JUDGE.__globals__


def to_target(us, n_replicas=20, scatter=0.02, final=0.05, worse=(2, 1, 2), **options):
    """us: B -> µs per update at equal numbers of updates. worse: final cost at three rates over that at the best."""
    cells = [
        cell(B, rate, update_us=own, block_noise=scatter, n_updates=60, final=final * high, noise=0.01, **options)
        for B, own in us.items()
        for rate, high in zip((0.1, 1.0, 10.0), worse, strict=True)
    ]
    return evidence(*cells, n_replicas=n_replicas)


def finding(of):
    (found,) = JUDGE(of)
    assert "nan" not in found.sentence
    return found


@pytest.mark.parametrize(
    ("us", "verdict", "words"),
    [
        ({8: 200.0, 16: 100.0, 128: 50.0, 1024: 900.0}, Verdict.SUPPORTED, "1.1 to 1.5 supported"),
        ({8: 200.0, 16: 50.0, 128: 50.0, 1024: 900.0}, Verdict.SUPPORTED, "1.1 to 1.5 supported"),  # equal is as good
        ({8: 200.0, 16: 20.0, 128: 50.0, 1024: 900.0}, Verdict.REFUTED, "1.1 to 1.5 refuted"),
        ({8: 200.0, 16: 50.0, 128: 65.0, 1024: 900.0}, Verdict.CONDITIONAL, "1.1 to 1.25 refuted; 1.5 supported"),
        ({8: 20.0, 16: 50.0, 128: 65.0, 1024: 900.0}, Verdict.REFUTED, "1.1 to 1.5 refuted"),
        ({8: 100.0, 128: 50.0, 1024: 900.0}, Verdict.UNRESOLVED, "the smallest that was tried"),
    ],
)
def test_what_a_typical_size_costs_is_found(us, verdict, words):
    found = finding(to_target(us))
    assert found.verdict is verdict
    assert words in found.sentence


def test_the_whole_set_is_no_typical_size():
    found = finding(to_target({8: 200.0, 16: 100.0, 128: 50.0, 455: 20.0}, n_train=455))
    assert found.verdict is Verdict.REFUTED
    assert "B=128 takes" in found.sentence
    assert "as long as B=455" in found.sentence


def test_clocks_that_scatter_much_leave_it_open():
    found = finding(to_target({8: 200.0, 16: 50.0, 128: 60.0, 1024: 900.0}, scatter=1.0))
    assert found.verdict is Verdict.UNRESOLVED


def test_few_replicas_a_target_out_of_reach_and_an_edge_leave_it_open():
    us = {8: 200.0, 16: 100.0, 128: 50.0}
    edge = to_target(us, worse=(1, 2, 2))
    for of in (to_target(us, n_replicas=3), to_target(us, final=1.5), edge, to_target({128: 50.0})):
        assert finding(of).verdict is Verdict.UNRESOLVED
    assert "edge of its grid" in finding(edge).sentence


@pytest.mark.parametrize(("n", "verdict"), [(1, "supported"), (5, "unresolved"), (10, "refuted")])
def test_replicas_that_miss_the_target_count_against_their_size(n, verdict):
    """Of ten that compare, n miss it at the typical size, which is the fastest for the others."""
    of = to_target({8: 200.0, 16: 100.0, 128: 50.0})
    table = of.data.histories
    table.loc[(table["batch_size"] == 128) & (table["replica"] >= 20 - n), "train_cost"] = 2.0
    assert finding(of).verdict == verdict


def test_the_cost_that_is_asked_for_decides_where_it_does():
    """B=16 is there at once with a quarter of the cost, and comes to a tenth in its last update."""
    of = to_target({8: 200.0, 16: 20.0, 128: 50.0})
    table = of.data.histories
    own = table["batch_size"] == 16
    falls = np.select([table["update"] < 2, table["update"] < 45], [2.0, 0.5], 0.1)
    table.loc[own, "train_cost"] = np.where(table["learning_rate"] == 1, falls, 2.0)[own]
    found = finding(of)
    assert found.verdict is Verdict.CONDITIONAL
    assert "that is to be reached: 0.3 refuted; 0.2 to 0.1 supported" in found.sentence


def test_sizes_that_are_alike_are_not_called_slow_because_the_best_of_many_was_chosen():
    """The null: eight sizes of one speed, five of them not typical. The best is chosen by other replicas."""
    rng, found = np.random.default_rng(0), []
    for _ in range(40):
        seconds = {float(B): np.exp(0.1 * rng.normal(size=20)) for B in (8, 16, 32, 64, 128, 256, 1024, 2048)}
        found.append(MODULE["regret"](seconds, 2048.0, 1).verdict(1.1))
    assert found.count(Verdict.REFUTED) == 0
    assert found.count(Verdict.SUPPORTED) > 10
