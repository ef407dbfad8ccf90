"""Replicas are added while a family is unresolved: the plan of looks, and the error and the power over all of them."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_comparison import at_most, rng

from harness.inference import SIGNIFICANCE, compare_family, fewest_pairs, plan_looks

LOOKS, FEW_LOOKS = (10, 20, 40), (8, 10, 12)
SHORT = pytest.param(FEW_LOOKS, 150, id="some")
LONG = pytest.param(LOOKS, 1000, id="many", marks=pytest.mark.slow)


def family(draw, n, m=3, effects=(), noise=0.2):
    """m comparisons of arms (n,) that share a factor of each replica; effects: log-ratios of the first of them."""
    own, shift = noise / np.sqrt(2) * draw.standard_t(5, size=(m, 2, n)), [*effects, *np.zeros(m)][:m]
    common = draw.normal(size=(m, 1, n))
    costs = np.exp(common + own + np.array(shift)[:, None, None] * [[1.0], [0.0]])
    return {i: (a, b) for i, (a, b) in enumerate(costs)}


def added(arms, looks, margin=0.05):
    """What stands after each look, when arms get replicas until their comparison is resolved."""
    have, found = dict.fromkeys(arms, looks[0]), {}
    while True:
        now = {key: (a[: have[key]], b[: have[key]]) for key, (a, b) in arms.items()}
        found = compare_family(now, margin, looks)
        yield found
        more = [key for key in arms if found[key].verdict == "unresolved" and have[key] < looks[-1]]
        if not more:
            return
        have |= {key: next(n for n in looks if n > have[key]) for key in more}


@given(st.integers(1, 60), st.integers(1, 300))
@settings(max_examples=60)
def test_looks_grow_to_the_bound_and_the_first_one_can_resolve_the_family(m, bound):
    looks = plan_looks(m, bound)
    assert looks[-1] == bound
    assert all(a < b for a, b in itertools.pairwise(looks))
    able = fewest_pairs(m, SIGNIFICANCE / len(looks))
    assert len(looks) == 1 or (able is not None and looks[0] >= able)
    assert len(looks) == 1 or looks[0] >= 10
    assert all(b <= 3 * a for a, b in itertools.pairwise(looks))


def test_the_usual_looks():
    assert plan_looks(3, 40) == (10, 20, 40)
    assert plan_looks(26, 40) == (12, 22, 40)
    assert plan_looks(3, 8) == (8,)
    assert plan_looks(10_000, 40) == (40,)  # no number of pairs could resolve this family


@pytest.mark.slow
@pytest.mark.parametrize(("looks", "draws"), [SHORT, LONG])
def test_at_most_5_percent_of_families_without_an_effect_are_resolved_at_any_look(looks, draws):
    source = rng(1)
    for margin, wrong in ((0.001, ("a lower", "b lower")), (np.expm1(0.1), ("equivalent",))):
        effects = () if len(wrong) == 2 else (0.1,) * 3  # no difference; or at the margin
        rate = np.mean(
            [
                any(one.verdict in wrong for one in found.values())
                for found in (
                    list(added(family(source, looks[-1], effects=effects), looks, margin))[-1] for _ in range(draws)
                )
            ]
        )
        assert at_most(rate, SIGNIFICANCE, draws)


def test_without_the_correction_for_looks_there_would_be_too_many():
    source, draws, looks = rng(2), 200, FEW_LOOKS
    wrong = 0
    for _ in range(draws):
        arms = family(source, looks[-1], m=1)
        at_each = [compare_family({0: tuple(own[:n] for own in arms[0])}, 0.001)[0].p for n in range(6, 13)]
        wrong += min(at_each) <= SIGNIFICANCE
    assert not at_most(wrong / draws, SIGNIFICANCE, draws)


@pytest.mark.slow
def test_an_effect_of_a_fifth_is_found_with_power_of_80_percent_before_the_last_look():
    source = rng(3)
    arms = [family(source, 40, m=1, effects=(np.log(1.2),), noise=0.15) for _ in range(200)]
    found = [list(added(own, LOOKS))[-1][0] for own in arms]
    assert np.mean([one.verdict == "b lower" for one in found]) > 0.95
    assert np.mean([one.verdict == "b lower" and one.pairs <= 20 for one in found]) > 0.8


@given(st.integers(0, 10**6))
@settings(max_examples=20)
def test_what_is_resolved_stays_resolved(seed):
    arms = family(rng(seed), 12, effects=(0.3, 0.0), noise=0.15)
    before: dict[int, str] = {}
    for found in added(arms, FEW_LOOKS):
        assert all(found[key].verdict == verdict for key, verdict in before.items())
        before = {key: one.verdict for key, one in found.items() if one.verdict != "unresolved"}


@pytest.mark.parametrize("n", [8, 10, 12])
def test_one_look_or_none_is_the_ordinary_family(n):
    arms = family(rng(4), n)
    assert compare_family(arms, 0.05, (n,)) == compare_family(arms, 0.05)


def test_of_an_arm_with_more_replicas_the_first_are_compared():
    arms = family(rng(5), 20)
    ragged = {key: (a, b[:10]) for key, (a, b) in arms.items()}
    cut = {key: (a[:10], b[:10]) for key, (a, b) in arms.items()}
    assert compare_family(ragged, 0.05, LOOKS) == compare_family(cut, 0.05, LOOKS)


def test_p_is_that_of_the_look_with_the_smallest_times_their_number():
    a, b = np.ones(12), np.r_[np.full(8, 1.5), np.full(4, 0.1)]  # clear at the first look, turned later
    found = compare_family({0: (a, b)}, 0.05, FEW_LOOKS)[0]
    assert found.p == pytest.approx(3 * 2 / 2**8)
    assert found.verdict == "a lower"
    assert found.fewest_pairs == fewest_pairs(1, SIGNIFICANCE / 3)


def test_hope_needs_fewer_replicas_than_the_estimate():
    found = compare_family(family(rng(6), 10, m=1, effects=(0.05,), noise=0.3), 0.001, LOOKS)[0]
    assert found.verdict == "unresolved"
    assert found.seeds_needed is not None
    assert 10 < found.seeds_hoped < found.seeds_needed
