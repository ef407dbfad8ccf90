"""Families of comparisons: planted effects, losses, zero costs, what more seeds would do, and their error on chance."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from harness.inference.comparison import Levels, compare_family, seeds_needed
from harness.inference.intervals import SIGNIFICANCE
from harness.inference.sign_flips import difference_p, equivalence_p, fewest_pairs

NAN, INF = np.nan, np.inf
few = settings(max_examples=40, deadline=None)
MANY = [pytest.param(400, id="some"), pytest.param(4000, id="many", marks=pytest.mark.slow)]
ALONE = Levels(SIGNIFICANCE, SIGNIFICANCE)


def rng(seed=0):
    return np.random.default_rng(seed)


def at_most(rate, nominal, draws):
    """Not above the nominal rate by more than three binomial standard errors."""
    return rate <= nominal + 3 * np.sqrt(nominal * (1 - nominal) / draws)


def compare(a, b, margin=0.05):
    """A family of one comparison."""
    return compare_family({"": (a, b)}, margin)[""]


def arms(shift, n=10, noise=0.05, seed=0):
    """Costs of two arms that share what is their replica's own; b is a times exp(shift) on average."""
    common, own = rng(seed).normal(size=n), noise * rng(seed + 1).normal(size=(2, n))
    return np.exp(common + own[0]), np.exp(common + own[1] + shift)


# one comparison


def test_a_planted_difference_is_found_in_its_direction():
    a, b = arms(0.2)
    forth, back = compare(a, b), compare(b, a)
    assert (forth.verdict, back.verdict) == ("a lower", "b lower")
    assert forth.p == back.p < 0.01
    assert np.exp(-0.2) in forth.ratio
    assert forth.ratio.estimate == pytest.approx(1 / back.ratio.estimate)
    assert forth.seeds_needed is None
    assert (forth.pairs, forth.finite, forth.dropped, forth.diverged) == (10, 10, 0, (0, 0))


def test_no_difference_is_equivalence_only_within_the_margin():
    a, b = arms(0.0, noise=0.02)
    assert compare(a, b, 0.1).verdict == "equivalent"
    unsure = compare(a, b, 0.001)
    assert unsure.verdict == "unresolved"
    assert unsure.seeds_needed > 10


def test_a_clear_difference_below_the_margin_is_equivalence():
    a, b = arms(0.02, noise=0.001)
    result = compare(a, b)
    assert result.p < 0.05
    assert result.verdict == "equivalent"


def test_five_pairs_cannot_show_a_difference_six_can():
    assert [compare(*arms(1.0, n)).verdict for n in (5, 6)] == ["unresolved", "a lower"]
    assert compare(*arms(1.0, 5)).seeds_needed == 6


@pytest.mark.parametrize("cost", [1.0, 0.0])
@pytest.mark.parametrize("n", [1, 2, 3, 10])
def test_equal_arms_are_equivalent_however_few(n, cost):
    a = cost * arms(0.0, n)[0]
    result = compare(a, a * (1 + 1e-15))
    assert (result.verdict, result.pairs, result.finite) == ("equivalent", n, n)
    assert (result.p, result.equivalence_p, result.seeds_needed) == (1, 0, None)
    assert result.ratio.estimate == pytest.approx(1)


# losses and zeros


def test_lost_pairs_count_and_the_ratio_is_that_of_the_finite_ones():
    a, b = arms(0.2, n=12)
    a[0], b[1], b[2], a[3] = INF, NAN, INF, 0.0
    result = compare(a, b)
    assert (result.pairs, result.finite, result.dropped, result.diverged) == (12, 8, 0, (1, 2))
    assert result.verdict == "a lower"
    assert result.ratio.estimate == pytest.approx(stats.gmean(a[4:] / b[4:]))
    assert result.p == difference_p([INF, -INF, -INF, -INF, *np.log(a[4:] / b[4:])])


def test_a_pair_of_which_both_arms_are_lost_tells_nothing():
    a, b = arms(0.2, n=12)
    with_lost = compare([*a, INF, NAN], [*b, INF, INF])
    assert (with_lost.pairs, with_lost.dropped, with_lost.diverged) == (12, 2, (2, 2))
    assert with_lost.p == compare(a, b).p


@pytest.mark.parametrize(
    ("lost_a", "lost_b", "verdict"), [(10, 0, "b lower"), (0, 6, "a lower"), (10, 10, "unresolved"), (5, 5, "a lower")]
)
def test_an_arm_that_mostly_diverges_loses(lost_a, lost_b, verdict):
    a, b = arms(3.0, n=13, noise=0.01)
    a, b = a[:10], b[:10]
    a[:lost_a], b[:lost_b] = INF, INF
    if (lost_a, lost_b) == (5, 5):
        a, b = np.append(a, a[5:]), np.append(b, b[5:])  # half or fewer are lost: ten pairs are left
    result = compare(a, b)
    assert result.verdict == verdict
    assert result.diverged == (lost_a, lost_b)


def test_reaching_zero_is_lower_than_anything_else():
    costs = arms(0.0)[1]
    assert compare(np.zeros(10), costs).verdict == "a lower"
    assert compare(costs, np.zeros(10)).verdict == "b lower"
    assert compare(np.zeros(10), np.full(10, INF)).verdict == "a lower"


def test_zero_against_zero_is_a_pair_like_any_equal_one():
    a, b = arms(1.0, n=8)
    a[:2], b[:2] = 0, 0
    result = compare(a, b)
    assert (result.pairs, result.finite, result.diverged) == (8, 8, (0, 0))
    assert result.p == 2 / 2**6


@pytest.mark.parametrize("n", [0, 1, 2])
def test_too_few_pairs_are_unresolved(n):
    a, b = arms(0.5, n)
    result = compare(a, b)
    assert result.verdict == "unresolved"
    assert (result.seeds_needed is None) == (n < 2)


costs = st.lists(st.sampled_from([0.0, 0.5, 1.0, 1.0 + 1e-13, 7.0, 1e300, INF, NAN]), min_size=2, max_size=16)


@few
@given(costs)
def test_no_costs_crash_a_comparison(costs):
    half = len(costs) // 2
    result = compare(costs[:half], costs[half : 2 * half])
    assert result.pairs + result.dropped == half
    assert result.finite <= result.pairs
    assert result.verdict in ("a lower", "b lower", "equivalent", "unresolved")


@few
@given(costs, st.floats(0.01, 100))
def test_swapped_arms_have_the_swapped_verdict(costs, unit):
    half = len(costs) // 2
    a, b = np.array(costs[:half]), np.array(costs[half : 2 * half])
    forth, back = compare(a, b), compare(unit * b, unit * a)
    swapped = {"a lower": "b lower", "b lower": "a lower"}
    assert back.verdict == swapped.get(forth.verdict, forth.verdict)
    assert (back.p, back.equivalence_p) == (forth.p, forth.equivalence_p)
    assert (back.seeds_needed, back.diverged) == (forth.seeds_needed, forth.diverged[::-1])


# families


def weak(seed=0):
    """Eight pairs of which seven point one way: p = 2 · (number of sums as large)/2^8."""
    ratios = np.array([0.3, 0.5, 0.2, 0.4, 0.6, 0.45, 0.35, -0.25]) * (1 + 1e-3 * rng(seed).random(8))
    return np.exp(ratios), np.ones(8)


def test_many_comparisons_are_one_family_of_claims():
    """Of ten tables of noise at p = .03 none is left after Holm; one at p = .001 is, and identity needs no p."""
    alone = compare(*weak())
    assert alone.verdict == "b lower"
    family = {i: weak(i) for i in range(9)} | {"clear": arms(1.0, 12), "same": (np.ones(3), np.ones(3))}
    found = compare_family(family, 0.05)
    assert [one.verdict for one in found.values()] == ["unresolved"] * 9 + ["a lower", "equivalent"]
    assert found["clear"].p == pytest.approx(11 * 2 / 2**12)
    assert found[0].p == pytest.approx(min(1, 10 * alone.p))
    assert {one.fewest_pairs for one in found.values()} == {fewest_pairs(11)} == {9}


@pytest.mark.parametrize("looks", [(), (6,)])
def test_identical_arms_are_in_the_family_that_was_planned(looks):
    """Six pairs show a difference alone, but not beside a second comparison, whatever that one turns out to be."""
    clear, same = arms(0.5, 6, noise=0.01), (np.ones(6), np.ones(6))
    assert compare(*clear).p == pytest.approx(2 / 2**6)
    found = compare_family({"clear": clear, "same": same}, 0.05, looks)
    assert found["clear"].p == pytest.approx(2 * 2 / 2**6)
    assert (found["clear"].verdict, found["clear"].seeds_needed, found["clear"].fewest_pairs) == ("unresolved", 7, 7)
    assert (found["same"].verdict, found["same"].p, found["same"].equivalence_p) == ("equivalent", 1, 0)


def test_identical_arms_leave_the_others_their_chance_of_a_tie():
    """Holm: what is surely equal is claimed first."""
    tie, same = arms(0.0, noise=0.01), (np.ones(10), np.ones(10))
    assert compare_family({"tie": tie, "same": same}, 0.05)["tie"].equivalence_p == compare(*tie).equivalence_p


def test_three_comparisons_with_six_seeds_need_a_seventh():
    three = {seed: arms(0.5, 6, noise=0.01, seed=seed) for seed in range(3)}
    assert compare(*three[0]).verdict == "a lower"
    found = compare_family(three, 0.05)
    assert {(one.verdict, one.seeds_needed, one.fewest_pairs) for one in found.values()} == {("unresolved", 7, 7)}


def test_resolved_comparisons_lower_the_seeds_needed_by_the_others():
    """Holm: one comparison left is tested at α, four at α/4."""
    close = arms(0.05, noise=0.1)
    clear = {seed: arms(1.0, seed=seed) for seed in range(3)}
    alone = compare(*close, margin=0.001)
    with_clear = compare_family({"x": close, **clear}, 0.001)["x"]
    with_unclear = compare_family({"x": close, **dict.fromkeys(range(3), close)}, 0.001)["x"]
    assert alone.seeds_needed == with_clear.seeds_needed < with_unclear.seeds_needed


def test_an_empty_family():
    assert compare_family({}, 0.05) == {}


# seeds needed


def normal(mean, spread, n=10):
    return mean + spread * stats.zscore(rng().normal(size=n), ddof=1)


@pytest.mark.sample(1)
@pytest.mark.parametrize("level", [0.05, 0.05 / 3, 0.05 / 30])
def test_the_seeds_needed_have_the_power_promised_at_the_corrected_level(level):
    levels, draws = Levels(level, level), 300
    n = seeds_needed(normal(np.log(1.2), 0.2), 10, 0.01, levels)
    p = np.array([difference_p(np.log(1.2) + 0.2 * values) for values in rng(1).normal(size=(draws, n))])
    assert np.mean(p <= level) == pytest.approx(0.8, abs=0.08)
    n = seeds_needed(normal(0, 0.05), 10, 0.05, levels)
    p = np.array([equivalence_p(0.05 * values, 0.05) for values in rng(2).normal(size=(draws, n))])
    assert np.mean(p <= level) == pytest.approx(0.8, abs=0.08)


def test_with_losses_too_the_seeds_needed_have_the_power_promised():
    """One arm is lost in three replicas of ten, the other in one; otherwise they do not differ."""
    typical = np.array([INF, INF, INF, -INF, 0.1, -0.1, 0.2, -0.2, 0.3, -0.3])
    n, source = seeds_needed(typical, 10, 0.01, ALONE), rng(3)
    lost, values = source.random((300, n)), 0.2 * source.normal(size=(300, n))
    drawn = np.where(lost < 0.3, INF, np.where(lost < 0.4, -INF, values))
    assert np.mean([difference_p(row) <= SIGNIFICANCE for row in drawn]) == pytest.approx(0.8, abs=0.12)


@pytest.mark.parametrize("m", [1, 3, 10, 100])
def test_the_seeds_needed_are_never_below_the_floor_of_the_family(m):
    levels = Levels(SIGNIFICANCE / m, SIGNIFICANCE / m)
    assert seeds_needed(np.array([0.5, 0.5001]), 2, 0.05, levels) >= fewest_pairs(m)
    assert seeds_needed(np.array([INF, INF]), 2, 0.05, levels) >= fewest_pairs(m)
    assert seeds_needed(np.array([0.0001, -0.0001]), 2, 0.05, levels) >= fewest_pairs(m, sides=1)
    wide = np.array([0.5, 0.6])
    assert seeds_needed(wide, 2, 0.05, levels) >= seeds_needed(wide, 2, 0.05, ALONE)


def test_seeds_that_are_too_few_for_a_difference_can_only_show_a_tie():
    close, far = arms(0.0, 3, noise=0.001), arms(0.5, 3, noise=0.001)
    found = compare_family({"close": close, "far": far}, 0.05)
    assert [(one.seeds_needed, one.only_a_tie) for one in found.values()] == [(6, True), (7, False)]
    lost = [np.append(costs, [INF] * 3) for costs in close]  # six seeds for three pairs
    found = compare_family({"close": lost, "far": far}, 0.05)
    assert (found["close"].seeds_needed, found["close"].only_a_tie) == (12, True)


def test_what_is_resolved_elsewhere_does_not_lower_the_floor_of_the_family():
    """Ten pairs resolve one arm; the other, of three, needs the pairs that two comparisons need."""
    found = compare_family({"clear": arms(0.5), "few": arms(0.5, 3, noise=0.001)}, 0.05)
    assert [(one.verdict, one.seeds_needed) for one in found.values()] == [("a lower", None), ("unresolved", 7)]


def test_replicas_that_tell_nothing_raise_the_seeds_needed():
    values = normal(0.05, 0.2)
    assert seeds_needed(values, 20, 0.05, ALONE) == 2 * seeds_needed(values, 10, 0.05, ALONE)


@pytest.mark.parametrize("values", [[], [0.4], [INF]])
def test_seeds_needed_takes_two_pairs(values):
    assert seeds_needed(np.array(values), 5, 0.05, ALONE) is None


def test_no_number_of_seeds_is_enough():
    assert seeds_needed(np.array([0.1, -0.1]), 2, 0.0, ALONE) is None
    assert seeds_needed(np.array([INF, -INF]), 2, 0.05, ALONE) is None
    assert seeds_needed(np.array([0.5, 0.6]), 2, 0.05, Levels(1e-9, 1e-9)) is None


# over many draws


@pytest.mark.slow
@pytest.mark.parametrize("draws", MANY)
def test_a_comparison_without_an_effect_claims_one_in_at_most_five_percent(draws):
    source = rng(17)
    pairs = np.exp(source.normal(size=(draws, 1, 8)) + 0.2 * source.normal(size=(draws, 2, 8)))
    claims = [compare(a, b, 0.01).verdict for a, b in pairs]
    assert at_most(np.mean([claim != "unresolved" for claim in claims]), 0.05, draws)


def null_family(source, m, n, lost, ties):
    """m comparisons of arms whose costs have one law: each lost, or exactly 0, with such a probability; rounded."""
    costs = np.exp(source.standard_t(3, size=(m, 2, n))).round(1 if ties else 8)
    costs[source.random(costs.shape) < 0.1] = 0
    costs[source.random(costs.shape) < lost] = INF
    return {i: (a, b) for i, (a, b) in enumerate(costs)}


@pytest.mark.sample(2)
@pytest.mark.parametrize(("draws", "m"), [(150, 1), (100, 3), pytest.param(1500, 5, marks=pytest.mark.slow)])
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("lost", [0.1, 0.5])
def test_a_family_of_equal_arms_that_diverge_alike_has_a_false_claim_in_at_most_five_percent(draws, m, ties, lost):
    source, false = rng(18), 0
    for _ in range(draws):
        found = compare_family(null_family(source, m, 12, lost, ties), 0.05).values()
        false += any(one.verdict != "unresolved" for one in found)
    assert at_most(false / draws, SIGNIFICANCE, draws)
