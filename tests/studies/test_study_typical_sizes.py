"""typical_sizes on sweeps made by hand: what a typical size costs beside the others is found where it is planted."""

import re

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
    assert "nan" not in found.sentence + found.plain
    assert len(found.sentence) <= 400
    assert len(found.plain) <= 220
    assert len({len(row) for row in found.rows}) == 1
    return found


def by_factor(found):
    return next(parts for words, parts in found.along.items() if words.startswith("how many times as long"))


def by_share(found):
    return found.along["the share of the initial cost that is to be reached"]


YES, NO, OPEN = [Verdict.SUPPORTED], [Verdict.REFUTED], [Verdict.UNRESOLVED]


@pytest.mark.parametrize(
    ("us", "verdict", "along"),
    [
        ({8: 200.0, 16: 100.0, 128: 50.0, 1024: 900.0}, Verdict.SUPPORTED, 3 * YES),
        ({8: 200.0, 16: 50.0, 128: 50.0, 1024: 900.0}, Verdict.SUPPORTED, 3 * YES),  # equal is as good
        ({8: 200.0, 16: 20.0, 128: 50.0, 1024: 900.0}, Verdict.REFUTED, 3 * NO),
        ({8: 200.0, 16: 50.0, 128: 65.0, 1024: 900.0}, Verdict.CONDITIONAL, 2 * NO + YES),
        ({8: 20.0, 16: 50.0, 128: 65.0, 1024: 900.0}, Verdict.REFUTED, 3 * NO),
        ({8: 100.0, 128: 50.0, 1024: 900.0}, Verdict.UNRESOLVED, 3 * OPEN),
    ],
)
def test_what_a_typical_size_costs_is_found(us, verdict, along):
    found = finding(to_target(us))
    assert found.verdict is verdict
    assert by_factor(found) == dict(zip((1.1, 1.25, 1.5), along, strict=True))
    smallest = "the smallest that was tried" in found.sentence
    assert smallest == (min((B for B in us if B != 128), key=us.get) == 8)
    assert found.rows[-1][-3:] == tuple(map(str, along))


def test_the_answer_says_on_which_data_and_by_how_much_not():
    """On digits a typical size is the fastest, on iris B=16 takes 1/1.3 of its time."""
    us = {8: 200.0, 16: 100.0, 128: 50.0, 1024: 900.0}
    cells = [
        cell(B, rate, update_us=own, block_noise=0.02, n_updates=60, final=0.05 * high, noise=0.01, dataset=name)
        for name, times in (("digits", us), ("iris", us | {16: 50.0, 128: 65.0}))
        for B, own in times.items()
        for rate, high in zip((0.1, 1.0, 10.0), (2, 1, 2), strict=True)
    ]
    found = finding(evidence(*cells, n_replicas=20))
    assert found.verdict is Verdict.CONDITIONAL
    words = r"on digits yes, on iris no\. The best of them takes 1\.[23]\d* times as long as B=16 on iris\."
    assert re.search(words, found.plain)
    assert {row[0] for row in found.rows[1:]} == {"digits", "iris"}
    assert len(found.rows) == 1 + 2 * 3


def test_the_whole_set_is_no_typical_size():
    found = finding(to_target({8: 200.0, 16: 100.0, 128: 50.0, 455: 20.0}, n_train=455))
    assert found.verdict is Verdict.REFUTED
    assert found.rows[-1][2:4] == ("128", "455")


def test_clocks_that_scatter_much_leave_it_open():
    found = finding(to_target({8: 200.0, 16: 50.0, 128: 60.0, 1024: 900.0}, scatter=1.0))
    assert found.verdict is Verdict.UNRESOLVED


def test_few_replicas_a_target_out_of_reach_and_an_edge_leave_it_open():
    us = {8: 200.0, 16: 100.0, 128: 50.0}
    edge = to_target(us, worse=(1, 2, 2))
    for of in (to_target(us, n_replicas=3), to_target(us, final=1.5), edge, to_target({128: 50.0})):
        assert finding(of).verdict is Verdict.UNRESOLVED
    assert "edge of its grid at B=8, 16 and 128" in finding(edge).sentence
    assert set(by_factor(finding(edge)).values()) == {Verdict.UNRESOLVED}


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
    assert by_share(found) == {0.3: Verdict.REFUTED, 0.2: Verdict.SUPPORTED, 0.1: Verdict.SUPPORTED}
    assert found.plain.endswith("to be reached: to 0.2 and 0.1 yes, to 0.3 no.")


def test_sizes_that_are_alike_are_not_called_slow_because_the_best_of_many_was_chosen():
    """The null: eight sizes of one speed, five of them not typical. The best is chosen by other replicas."""
    rng, found = np.random.default_rng(0), []
    for _ in range(40):
        seconds = {float(B): np.exp(0.1 * rng.normal(size=20)) for B in (8, 16, 32, 64, 128, 256, 1024, 2048)}
        found.append(MODULE["regret"](seconds, 2048.0, 1).verdict(1.1))
    assert found.count(Verdict.REFUTED) == 0
    assert found.count(Verdict.SUPPORTED) > 10
