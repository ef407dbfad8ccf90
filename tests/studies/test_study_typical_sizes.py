"""typical_sizes on sweeps made by hand: a fastest size and a special power of two are found where they are planted."""

import numpy as np
import pandas as pd
import pytest
from synthetic import cell, evidence

from harness.analysis.study import judge_of
from harness.inference.verdicts import Verdict
from harness.runs import studies

pytestmark = pytest.mark.slow  # sweeps made by hand, answered many times

JUDGE = judge_of("typical_sizes", studies.EXPERIMENTS)
MODULE = JUDGE.__globals__
TIMED = (63, 64, 65, 96, 100, 127, 128, 129)


def to_target(us, timed=False, n_replicas=10, scatter=0.02, final=0.05):
    """us: B -> µs per update at equal numbers of updates; timed: also cells that are compared per example."""
    cells = [
        cell(B, rate, update_us=own, block_noise=scatter, n_updates=60, final=final * worse)
        for B, own in us.items()
        for rate, worse in ((0.1, 2), (1.0, 1), (10.0, 2))
    ]
    cells += [cell(B, update_us=B, n_updates=10, last_batch="drop", block_noise=0.2) for B in TIMED if timed]
    return evidence(*cells, n_replicas=n_replicas)


def finding(function, of):
    timed = of.cells["last_batch"] == "drop"
    return MODULE[function](of, of.cells[timed if function == "powers_of_two" else ~timed])


@pytest.mark.parametrize(
    ("us", "verdict"),
    [
        ({16: 100.0, 128: 50.0, 1024: 900.0}, Verdict.SUPPORTED),
        ({16: 30.0, 128: 50.0, 1024: 900.0}, Verdict.REFUTED),
        ({16: 50.0, 128: 50.0, 1024: 900.0}, Verdict.UNRESOLVED),
    ],
)
def test_the_fastest_size_is_found_if_there_is_one(us, verdict):
    found = finding("fastest", to_target(us, scatter=0.05 if us[16] == us[128] else 0.02))
    assert found.verdict is verdict
    assert "B=1024" in found.sentence


def test_few_replicas_a_target_out_of_reach_and_an_edge_leave_it_open():
    us = {16: 100.0, 128: 50.0}
    edge = to_target(us)
    edge.answer.targets["edge"] = "low"
    for of in (to_target(us, n_replicas=3), to_target(us, final=1.5), edge):
        found = finding("fastest", of)
        assert found.verdict is Verdict.UNRESOLVED
        assert "nan" not in found.sentence


@pytest.mark.parametrize(("power", "verdict"), [(1.0, Verdict.REFUTED), (0.8, Verdict.SUPPORTED)])
def test_a_power_of_two_is_special_if_it_is(power, verdict):
    of = evidence_of_blocks(power, 0.01)
    found = MODULE["powers_of_two"](of, of.cells)
    assert found.verdict is verdict
    assert "8 blocks" in found.sentence


def evidence_of_blocks(power, scatter, blocks=9, seed=0):
    """A table of blocks in place of cells: what `Evidence.blocks` makes of them is tested elsewhere."""
    rng = np.random.default_rng(seed)
    of = evidence(cell(64), n_replicas=1)
    factors = [power if B in (64, 128) else 1.0 for B in TIMED]
    table = pd.DataFrame(factors * np.exp(scatter * rng.normal(size=(blocks - 1, len(TIMED)))), columns=TIMED)
    object.__setattr__(of, "blocks", lambda cells: table)
    return of


def test_scattering_readings_are_not_resolved():
    of = evidence_of_blocks(1.0, 0.2)
    found = MODULE["powers_of_two"](of, of.cells)
    assert found.verdict is Verdict.UNRESOLVED
    assert "not resolved" in found.sentence


def test_both_claims_are_judged_in_the_small_form():
    of = to_target({16: 100.0, 128: 50.0}, timed=True, n_replicas=3)
    found = {one.claim: one for one in JUDGE(of)}
    assert found.keys() == {"C16", "C17"}
    assert found["C17"].verdict is Verdict.UNRESOLVED
    assert "20 blocks" in found["C17"].sentence
    assert not any("nan" in one.sentence for one in found.values())


def test_a_power_of_two_like_any_other_is_rarely_called_faster():
    rng, called = np.random.default_rng(0), 0
    of = evidence(cell(64), n_replicas=1)
    for _ in range(40):
        table = pd.DataFrame(np.exp(0.1 * rng.normal(size=(8, 4))), columns=[63, 64, 127, 128])
        pairs = {(a, b): (table[a], table[b]) for a, b in ((64, 63), (128, 127))}
        called += any(c.verdict == "a lower" for c in of.compare(pairs, margin=0.05).values())
    assert called <= 5  # the 99.9 % point of Binomial(40, 0.025)
