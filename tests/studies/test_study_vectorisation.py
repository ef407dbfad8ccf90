"""vectorisation on readings made by hand: gains and saturation that are there are found, others are not."""

import numpy as np
import pandas as pd
import pytest
from synthetic import cell, evidence

from harness.analysis.study import judge_of
from harness.inference.verdicts import Verdict
from harness.runs import studies

pytestmark = pytest.mark.slow  # sweeps made by hand, answered many times

JUDGE = judge_of("vectorisation", studies.EXPERIMENTS)
SIZES = (1, 16, 64, 128, 1024)
LOOP = dict.fromkeys(SIZES, 30.0)  # µs per example
FALLS = {1: 30.0, 16: 4.0, 64: 1.2, 128: 1.0, 1024: 0.99}
RISES = {1: 30.0, 16: 20.0, 64: 9.0, 128: 4.0, 1024: 1.0}


def sweep(matrix, loop=LOOP, gathered=None, blocks=5, scatter=0.02, seed=0):
    """matrix, loop, gathered: B -> µs per example, in place of what `Evidence.blocks` makes of cells."""
    rng = np.random.default_rng(seed)
    arms = {
        ("per_example", "none"): loop,
        ("vectorized", "none"): matrix,
        ("vectorized", "replacement"): gathered or matrix,
    }
    of = evidence(*(cell(64, engine=engine, order=order) for engine, order in arms), n_replicas=1)
    tables = {
        arm: pd.DataFrame([times.values()] * blocks, columns=times) * np.exp(scatter * rng.normal(size=(blocks, 5)))
        for arm, times in arms.items()
    }
    object.__setattr__(of, "blocks", lambda cells: tables[cells["engine"].iloc[0], cells["order"].iloc[0]])
    return of


def findings(*arguments, **options):
    return {finding.claim: finding for finding in JUDGE(sweep(*arguments, **options))}


def test_a_gain_is_found_and_saturates_before_the_whole_set():
    found = findings(FALLS)
    assert found["C9"].verdict is Verdict.SUPPORTED
    assert found["C9"].effect.estimate == pytest.approx(30, rel=0.05)
    assert found["V1"].verdict is Verdict.REFUTED
    assert (found["V1"].effect.low, found["V1"].effect.high) == (128, 128)
    assert "rows as they lie: on digits from B=128 [128, 128] of 1024 on (B=64 takes 1." in found["V1"].sentence


def test_what_is_nearly_as_fast_decides_where_the_gain_goes_on_by_little():
    found = findings({1: 30.0, 16: 9.0, 64: 2.0, 128: 1.35, 1024: 1.0})["V1"]
    assert found.verdict is Verdict.CONDITIONAL
    assert "1.05 to 1.25 supported; 1.5 to 2 refuted" in found.sentence


def test_an_advantage_of_the_whole_set_that_gathering_takes_away_is_no_gain_of_the_matrix():
    """The old rule took the whole set as it lay and smaller batches gathered, and so supported the claim."""
    found = findings(FALLS, gathered={B: us + 0.4 for B, us in FALLS.items()})["V1"]
    assert found.verdict is Verdict.REFUTED
    assert findings(RISES, gathered=FALLS)["V1"].verdict is Verdict.CONDITIONAL


def test_a_gain_that_is_small_is_none_for_who_asks_for_more():
    found = findings({B: us / 1.3 for B, us in LOOP.items()}, scatter=0.01)["C9"]
    assert found.verdict is Verdict.CONDITIONAL
    assert "1.05 supported; 1.5 to 2 refuted" in found.sentence


def test_blocks_that_the_loop_does_not_have_are_left_out():
    of = sweep(FALLS, blocks=8)
    whole = of.blocks
    object.__setattr__(
        of, "blocks", lambda cells: whole(cells).iloc[: 5 if cells["engine"].iloc[0] == "per_example" else 8]
    )
    assert {one.claim: one.verdict for one in JUDGE(of)}["C9"] is Verdict.SUPPORTED


def test_without_a_gain_none_is_found():
    found = findings({B: us * 1.2 for B, us in LOOP.items()})["C9"]
    assert found.verdict is Verdict.REFUTED


def test_a_gain_within_the_scatter_is_left_open():
    assert findings(LOOP, scatter=0.3)["C9"].verdict in (Verdict.UNRESOLVED, Verdict.CONDITIONAL)


def test_a_gain_that_goes_on_to_the_whole_set_is_found():
    found = findings(RISES)["V1"]
    assert found.verdict is Verdict.SUPPORTED


def test_one_block_is_no_basis_for_where_it_saturates():
    found = findings(FALLS, blocks=1)
    assert {finding.verdict for finding in found.values()} == {Verdict.UNRESOLVED}
    assert not any("nan" in finding.sentence for finding in found.values())


def test_a_size_on_the_border_is_rarely_called_by_chance():
    """At 10 % above the best nobody can tell: a verdict is given in few of 40 repeats with a clear best elsewhere."""
    saturation = JUDGE.__globals__["saturation"]
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(40):
        times = np.array([8.0, 1.0, 1.0 / 1.1]) * np.exp(0.03 * rng.normal(size=(5, 3)))
        found = saturation(pd.DataFrame(times, columns=[1.0, 128.0, 1024.0]), 1.1, rng)
        wrong += found.low == found.high
    assert wrong <= 14  # the 99.9 % point of Binomial(40, 0.16): five blocks cover 84 % of the time
