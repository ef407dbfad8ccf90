"""vectorisation on readings made by hand: gains and saturation that are there are found, others are not."""

import numpy as np
import pandas as pd
import pytest
from synthetic import cell, evidence

from harness.analysis.study import judge_of
from harness.inference import Interval, Verdict
from harness.runs import studies

pytestmark = pytest.mark.slow  # sweeps made by hand, answered many times

JUDGE = judge_of("vectorisation", studies.EXPERIMENTS)
ROWS = JUDGE.__globals__["ROWS"]
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
    found = {finding.claim: finding for finding in JUDGE(sweep(*arguments, **options))}
    assert max(len(finding.sentence) for finding in found.values()) <= 400
    return found


def test_a_gain_is_found_and_saturates_before_the_whole_set():
    found = findings(FALLS)
    assert found["C9"].verdict is Verdict.SUPPORTED
    assert found["C9"].effect.estimate == pytest.approx(30, rel=0.05)
    assert found["V1"].verdict is Verdict.REFUTED
    assert (found["V1"].effect.low, found["V1"].effect.high) == (128, 128)
    assert "within 10 % of the best has 12.5 % of the set's examples, over 2 settings; B=64 takes 1." in (
        found["V1"].sentence
    )
    head, *rows = found["V1"].rows
    assert [row[:2] for row in rows] == [("digits, N=1024", words) for words in ROWS.values()]
    assert [row[head.index("B within 1.1 × the best")] for row in rows] == ["128 [128, 128]"] * 2
    assert [row[head.index("B within 2 × the best")] for row in rows] == ["64 [64, 64]"] * 2
    assert found["V1"].plain == ""


def test_the_loop_at_one_example_is_told_in_the_answer_and_the_table():
    found = findings(FALLS, loop=LOOP | {1: 75.0})["C9"]
    assert "at every batch size above 1 that was tried;" in found.plain
    assert found.plain.endswith(" at B=1, one example each, the loop already takes 2.51 times as long.")
    assert "in batches of 16 to 1024 examples on digits." in found.sentence
    assert [row[:2] for row in found.rows[1:]] == [("digits", f"{B}") for B in SIZES]
    assert found.rows[1][2].startswith("2.51 [")
    assert "the loop takes 1.0" in findings(FALLS, scatter=0.03)["C9"].plain  # as long, up to scatter
    without = {("digits", 64.0): Interval(9.0, 8.0, 10.0)}
    assert JUDGE.__globals__["_with_one"](without).endswith("at every batch size above 1 that was tried.")


def test_what_is_nearly_as_fast_decides_where_the_gain_goes_on_by_little():
    found = findings({1: 30.0, 16: 9.0, 64: 2.0, 128: 1.35, 1024: 1.0})["V1"]
    assert found.verdict is Verdict.CONDITIONAL
    (along,) = found.along.values()
    assert along == {**dict.fromkeys((1.05, 1.1, 1.25), Verdict.SUPPORTED), **dict.fromkeys((1.5, 2), Verdict.REFUTED)}
    assert found.plain == (
        "Within 10 % of the best time, rows in place or gathered, on digits no smaller size that was tried is enough. "
        "Within 1.5 times the best a part is enough everywhere."
    )


def test_an_advantage_of_the_whole_set_that_gathering_takes_away_is_no_gain_of_the_matrix():
    """The old rule took the whole set as it lay and smaller batches gathered, and so supported the claim."""
    found = findings(FALLS, gathered={B: us + 0.4 for B, us in FALLS.items()})["V1"]
    assert found.verdict is Verdict.REFUTED
    found = findings(RISES, gathered=FALLS)["V1"]
    assert found.verdict is Verdict.CONDITIONAL
    assert found.plain == (
        "Within 10 % of the best time, on digits (rows as they lie) no smaller size that was tried is enough, on "
        "digits (rows drawn and "
        "gathered) 128 of 1024 examples are enough."
    )
    assert len(found.plain) <= 220


def test_the_answer_says_where_it_is_not_decided():
    tables = {("digits", order): pd.DataFrame(columns=[64.0, 1024.0]) for order in ROWS}
    enough = dict.fromkeys(tables, Interval(1024.0, 64.0, 1024.0))
    still = dict.fromkeys(tables, Verdict.UNRESOLVED)
    said = JUDGE.__globals__["_takes_it_all"](tables, enough, still, {1.1: Verdict.UNRESOLVED})
    assert said.endswith("on digits that is not decided.")


def test_a_gain_that_is_small_is_none_for_who_asks_for_more():
    found = findings({B: us / 1.3 for B, us in LOOP.items()}, scatter=0.01)["C9"]
    assert found.verdict is Verdict.CONDITIONAL
    assert found.along == {
        "what counts as faster (ratio)": {1.05: Verdict.SUPPORTED, 1.5: Verdict.REFUTED, 2: Verdict.REFUTED}
    }


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
