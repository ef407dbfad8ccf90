"""Tests and intervals against enumeration by hand, textbook values and, over many draws, against what they promise."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from harness.inference.comparison import compare, equivalence_p, holm, seeds_needed, sign_flip_p
from harness.inference.intervals import (
    Interval,
    geometric_mean_ratio,
    mean_interval,
    median_interval,
    percentile_interval,
    proportion,
)

NAN, INF = np.nan, np.inf
finite = st.floats(-3, 3).map(lambda value: round(value, 3))
log_ratios = st.lists(finite, min_size=2, max_size=7)
few = settings(max_examples=40, deadline=None)


def rng(seed=0):
    return np.random.default_rng(seed)


def at_most(rate, nominal, draws):
    """Not above the nominal rate by more than three binomial standard errors."""
    return rate <= nominal + 3 * np.sqrt(nominal * (1 - nominal) / draws)


def flipped_means(values):
    """The means under all 2^n sign patterns, one at a time."""
    return np.array([np.dot(signs, values) / len(values) for signs in product([-1, 1], repeat=len(values))])


def limits(interval):
    return interval.low, interval.high


# sign flips


@few
@given(log_ratios)
def test_sign_flips_are_enumerated(values):
    means = flipped_means(values)
    assert sign_flip_p(values, rng()) == pytest.approx(np.mean(np.abs(means) >= abs(np.mean(values)) - 1e-12))


@few
@given(log_ratios, st.integers(0, 100))
def test_the_p_of_a_and_b_is_that_of_b_and_a_and_needs_no_luck(values, seed):
    assert sign_flip_p(values, rng()) == sign_flip_p(np.negative(values), rng(seed))


@pytest.mark.parametrize(("n", "floor"), [(3, 0.25), (5, 0.0625), (6, 0.03125), (10, 2 / 1024)])
def test_the_floor_of_p(n, floor):
    assert sign_flip_p(np.arange(1.0, n + 1), rng()) == pytest.approx(floor)


def test_beyond_sixteen_pairs_p_is_drawn_and_close_to_the_t_test():
    values = 0.5 + rng(3).normal(size=25)
    p = sign_flip_p(values, rng())
    assert p != sign_flip_p(values, rng(1))
    assert p == pytest.approx(stats.ttest_1samp(values, 0).pvalue, rel=0.2)


@pytest.mark.parametrize("values", [[], [0.7], [0.0, 0.0, 0.0]])
def test_nothing_to_flip_says_nothing(values):
    assert sign_flip_p(values, rng()) == 1


def test_sixteen_pairs_are_enumerated():
    values = rng(5).normal(size=16)
    assert sign_flip_p(values, rng(1)) == sign_flip_p(values, rng(2))
    signs = 1 - 2 * (np.arange(2**16)[:, None] >> np.arange(16) & 1)
    assert sign_flip_p(values, rng()) == np.mean(np.abs(signs @ values) >= abs(values.sum()) - 1e-12)


# equivalence


@few
@given(log_ratios, st.floats(0.01, 1))
def test_equivalence_is_two_one_sided_tests(values, margin):
    up, down = np.array(values) + np.log1p(margin), np.array(values) - np.log1p(margin)
    above = np.mean(flipped_means(up) >= np.mean(up) - 1e-12)
    below = np.mean(flipped_means(down) <= np.mean(down) + 1e-12)
    assert equivalence_p(values, margin, rng()) == pytest.approx(max(above, below))


@few
@given(log_ratios)
def test_a_wider_margin_is_easier_to_keep_at_its_ends(values):
    assert equivalence_p(values, 100.0, rng()) == pytest.approx(2.0 ** -len(values))
    assert equivalence_p(values, 0.0, rng()) >= sign_flip_p(values, rng()) / 2 - 1e-12


# Holm


def test_holm_by_hand():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.5, 0.6]), [1, 1])
    np.testing.assert_allclose(holm([NAN, 0.02, 0.03]), [NAN, 0.04, 0.04])
    assert holm([]).shape == (0,)


@few
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_lies_between_the_claim_alone_and_bonferroni_and_keeps_the_order(p):
    adjusted = holm(p)
    assert (adjusted >= np.array(p)).all()
    assert (adjusted <= np.minimum(1, np.array(p) * len(p)) + 1e-12).all()
    assert (np.diff(adjusted[np.argsort(p)]) >= 0).all()


# geometric mean ratio


def slow_bca(values, draws=300_000):
    """Efron 1987, eq. 2.3 and 6.6, written out."""
    n, mean = len(values), np.mean(values)
    means = rng(2).choice(values, size=(draws, n)).mean(axis=1)
    bias = stats.norm.ppf(np.mean(means < mean))
    left_out = np.array([np.mean(np.delete(values, i)) for i in range(n)])
    skew = left_out.mean() - left_out
    acceleration = np.sum(skew**3) / (6 * np.sum(skew**2) ** 1.5)
    z = bias + stats.norm.ppf([0.025, 0.975])
    return np.exp(np.quantile(means, stats.norm.cdf(bias + z / (1 - acceleration * z))))


def test_the_interval_is_bca():
    values = rng(1).exponential(size=12)
    ratios = [geometric_mean_ratio(values, rng(seed)) for seed in range(20)]
    assert ratios[0].estimate == pytest.approx(stats.gmean(np.exp(values)))
    np.testing.assert_allclose(np.mean([limits(r) for r in ratios], axis=0), slow_bca(values), rtol=0.03)


@few
@given(log_ratios.filter(lambda values: len(values) >= 3))
def test_a_over_b_is_one_over_b_over_a(values):
    ratio, inverse = geometric_mean_ratio(values, rng()), geometric_mean_ratio(np.negative(values), rng())
    np.testing.assert_allclose(
        np.log([ratio.estimate, *limits(ratio)]), -np.log([inverse.estimate, *limits(inverse)[::-1]]), atol=0.1
    )
    assert min(values) - 1e-9 <= np.log(ratio.low) <= np.log(ratio.estimate) + 1e-9
    assert np.log(ratio.estimate) - 1e-9 <= np.log(ratio.high) <= max(values) + 1e-9


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], (NAN, NAN, NAN)),
        ([0.0], (1, NAN, NAN)),
        ([0.0, np.log(4)], (2, NAN, NAN)),
        ([np.log(2)] * 4, (2, 2, 2)),
        ([0.0, 1e-14, 0.0], (1, 1, 1)),
        ([1e4] * 3, (INF, INF, INF)),
    ],
)
def test_degenerate_ratios(values, expected):
    ratio = geometric_mean_ratio(values, rng())
    np.testing.assert_allclose((ratio.estimate, *limits(ratio)), expected)


@pytest.mark.parametrize("tiny", [1e-11, 1e-9, 1e-3])
@pytest.mark.parametrize("level", [0.0, 5.0])
def test_one_pair_unlike_the_others_is_no_degenerate_bootstrap(tiny, level):
    ratio = geometric_mean_ratio([level, level, level, level, level + tiny], rng())
    assert ratio.low <= ratio.estimate <= ratio.high


# means, proportions and medians


def test_a_mean_has_students_limits():
    values = [4.9, 5.1, 5.6, 5.0]
    found = mean_interval(values, confidence=0.9)
    expected = stats.t.interval(0.9, 3, np.mean(values), stats.sem(values))
    np.testing.assert_allclose([found.low, found.high], expected)
    assert found.estimate == pytest.approx(5.15)


@pytest.mark.parametrize("values", [[], [1.0, 2.0], [1.0, 2.0, INF, 4.0]])
def test_a_mean_without_limits(values):
    assert np.isnan([mean_interval(values).low, mean_interval(values).high]).all()


@pytest.mark.parametrize(
    ("count", "n", "low", "high"),
    [(0, 10, 0, 0.3085), (1, 10, 0.0025, 0.4450), (5, 10, 0.1871, 0.8129), (10, 10, 0.6915, 1), (0, 0, 0, 1)],
)
def test_clopper_and_pearson(count, n, low, high):
    np.testing.assert_allclose(limits(proportion(count, n)), (low, high), atol=5e-5)


def test_no_failure_in_n_has_a_closed_form():
    assert proportion(0, 7).high == pytest.approx(1 - 0.025 ** (1 / 7))
    assert proportion(3, 12).estimate == 0.25
    assert np.isnan(proportion(0, 0).estimate)


@pytest.mark.parametrize(
    ("n", "low", "high", "confidence"),
    [
        (1, 1, 1, 0),
        (3, 1, 3, 0.75),
        (5, 1, 5, 0.9375),
        (6, 1, 6, 0.96875),
        (10, 2, 9, 1 - 22 / 1024),
        (20, 6, 15, 0.9586),
    ],
)
def test_the_median_lies_between_order_statistics(n, low, high, confidence):
    interval = median_interval(rng().permutation(n) + 1.0)
    assert interval == Interval((n + 1) / 2, low, high, pytest.approx(confidence, abs=5e-5))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2, 3, 4, INF, NAN], (3.5, 1, INF)),
        ([1, 2, 3, INF, NAN, INF], (INF, 1, INF)),
        ([INF] * 6, (INF, INF, INF)),
        ([], (NAN, NAN, NAN)),
    ],
)
def test_who_did_not_arrive_is_later_than_everyone(values, expected):
    interval = median_interval(values)
    np.testing.assert_array_equal((interval.estimate, *limits(interval)), expected)


@few
@given(st.lists(finite, min_size=1, max_size=12), st.integers(0, 11))
def test_losing_a_replica_never_makes_the_median_earlier(values, lost):
    later = np.array(values)
    later[lost % len(values)] = INF
    before, after = median_interval(values), median_interval(later)
    assert after.estimate >= before.estimate
    assert after.low >= before.low
    assert after.high >= before.high


def test_percentiles_of_draws():
    interval = percentile_interval(3.0, np.arange(1000.0))
    assert limits(interval) == (24, 974)
    assert limits(percentile_interval(3.0, np.array([1.0] * 90 + [INF] * 10))) == (1, INF)
    np.testing.assert_array_equal(limits(percentile_interval(3.0, np.array([1.0] * 90 + [NAN] * 10))), (NAN, NAN))
    assert 5 in Interval(4, 3, 5)
    assert 6 not in Interval(4, 3, 5)


# comparisons


def arms(shift, n=10, noise=0.05, seed=0):
    """Costs of two arms that share what is their replica's own; b is a times exp(shift) on average."""
    common, own = rng(seed).normal(size=n), noise * rng(seed + 1).normal(size=(2, n))
    return np.exp(common + own[0]), np.exp(common + own[1] + shift)


def test_a_planted_difference_is_found_in_its_direction():
    a, b = arms(0.2)
    forth, back = compare(a, b, 0.05, rng()), compare(b, a, 0.05, rng())
    assert (forth.verdict, back.verdict) == ("a lower", "b lower")
    assert forth.p == back.p < 0.01
    assert np.exp(-0.2) in forth.ratio
    assert forth.ratio.estimate == pytest.approx(1 / back.ratio.estimate)
    assert forth.seeds_needed is None
    assert (forth.pairs, forth.dropped, forth.diverged, forth.by_divergence) == (10, 0, (0, 0), False)


def test_no_difference_is_equivalence_only_within_the_margin():
    a, b = arms(0.0, noise=0.02)
    assert compare(a, b, 0.1, rng()).verdict == "equivalent"
    unsure = compare(a, b, 0.001, rng())
    assert unsure.verdict == "unresolved"
    assert unsure.seeds_needed > 10


def test_a_clear_difference_below_the_margin_is_equivalence():
    a, b = arms(0.02, noise=0.001)
    result = compare(a, b, 0.05, rng())
    assert result.p < 0.05
    assert result.verdict == "equivalent"


def test_five_pairs_cannot_show_a_difference_six_can():
    assert [compare(*arms(1.0, n), 0.05, rng()).verdict for n in (5, 6)] == ["unresolved", "a lower"]
    assert compare(*arms(1.0, 5), 0.05, rng()).seeds_needed == 6


@pytest.mark.parametrize("n", [1, 2, 3, 10])
def test_equal_arms_are_equivalent_however_few(n):
    a, _ = arms(0.0, n)
    result = compare(a, a * (1 + 1e-15), 0.05, rng())
    assert result.verdict == "equivalent"
    assert result.seeds_needed is None


def test_diverged_pairs_are_counted_not_compared():
    a, b = arms(0.2, n=12)
    a[0], b[1], b[2], a[3] = INF, NAN, INF, 0.0
    result = compare(a, b, 0.05, rng())
    assert (result.pairs, result.dropped, result.diverged) == (8, 4, (1, 2))
    assert (result.verdict, result.by_divergence) == ("a lower", False)


@pytest.mark.parametrize(
    ("lost_a", "lost_b", "verdict", "decisive"),
    [(10, 0, "b lower", True), (0, 6, "a lower", True), (10, 10, "unresolved", False), (5, 5, "a lower", False)],
)
def test_an_arm_that_mostly_diverges_loses(lost_a, lost_b, verdict, decisive):
    a, b = arms(3.0, n=13, noise=0.01)
    a, b = a[:10], b[:10]
    a[:lost_a], b[:lost_b] = INF, INF
    if (lost_a, lost_b) == (5, 5):
        a, b = np.append(a, a[5:]), np.append(b, b[5:])  # half or fewer are lost: ten pairs are left
    result = compare(a, b, 0.05, rng())
    assert (result.verdict, result.by_divergence) == (verdict, decisive)
    assert result.diverged == (lost_a, lost_b)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_too_few_pairs_are_unresolved(n):
    a, b = arms(0.5, n)
    result = compare(a, b, 0.05, rng())
    assert result.verdict == "unresolved"
    assert (result.seeds_needed is None) == (n < 2)


@few
@given(st.lists(st.sampled_from([0.0, 0.5, 1.0, 1.0 + 1e-13, 7.0, 1e300, INF, NAN]), min_size=2, max_size=16))
def test_no_costs_crash_a_comparison(costs):
    half = len(costs) // 2
    result = compare(costs[:half], costs[half : 2 * half], 0.05, rng())
    assert result.pairs + result.dropped == half
    assert result.verdict in ("a lower", "b lower", "equivalent", "unresolved")


def test_the_seeds_needed_have_the_power_promised():
    shape = stats.zscore(rng().normal(size=8), ddof=1)
    for_difference, for_equivalence = seeds_needed(0.1 + 0.15 * shape, 0.01), seeds_needed(0.15 * shape, 0.1)
    draws = 0.15 * rng(1).normal(size=(4000, for_difference))
    assert np.mean(stats.ttest_1samp(draws + 0.1, 0, axis=1).pvalue < 0.05) == pytest.approx(0.8, abs=0.06)
    draws, room = 0.15 * rng(2).normal(size=(4000, for_equivalence)), np.log(1.1)
    above = stats.ttest_1samp(draws, -room, axis=1, alternative="greater").pvalue
    below = stats.ttest_1samp(draws, room, axis=1, alternative="less").pvalue
    assert np.mean(np.maximum(above, below) < 0.05) == pytest.approx(0.8, abs=0.06)


# over many draws

MANY = [pytest.param(400, id="some"), pytest.param(4000, id="many", marks=pytest.mark.slow)]


@pytest.mark.parametrize("draws", MANY)
@pytest.mark.parametrize("law", ["normal", "laplace", "logistic"])
def test_without_an_effect_p_is_small_no_more_often_than_it_says(draws, law):
    source = rng(11)
    p = np.array([sign_flip_p(getattr(source, law)(size=8), source) for _ in range(draws)])
    assert at_most(np.mean(p < 0.05), 0.05, draws)
    assert at_most(np.mean(p < 0.2), 0.2, draws)
    assert np.mean(p < 0.2) > 0.1


@pytest.mark.parametrize("draws", MANY)
@pytest.mark.parametrize("side", [-1, 1])
def test_at_the_margin_equivalence_is_claimed_no_more_often_than_it_says(draws, side):
    source, limit = rng(12), np.log(1.05)
    p = [equivalence_p(side * limit + 0.03 * source.normal(size=7), 0.05, source) for _ in range(draws)]
    assert at_most(np.mean(np.array(p) <= 0.05), 0.05, draws)


@pytest.mark.slow
def test_within_the_margin_equivalence_is_found():
    source = rng(13)
    p = [equivalence_p(0.03 * source.normal(size=10), 0.05, source) for _ in range(200)]
    assert np.mean(np.array(p) <= 0.05) > 0.95


@pytest.mark.parametrize("draws", MANY)
def test_bca_covers_as_often_as_its_docstring_says(draws):
    """At n = 10 about 90 %, not 95 %."""
    source = rng(14)
    covered = np.mean([np.exp(0.2) in geometric_mean_ratio(source.normal(0.2, 0.3, 10), source) for _ in range(draws)])
    assert covered == pytest.approx(0.90, abs=0.01 + 3 * np.sqrt(0.09 / draws))


@pytest.mark.parametrize(("n", "nominal"), [(3, 0.73), (5, 0.84), (20, 0.92)])
@pytest.mark.slow
def test_bca_at_other_sizes(n, nominal):
    source = rng(15)
    covered = np.mean([1 in geometric_mean_ratio(source.normal(0, 0.3, n), source) for _ in range(3000)])
    assert covered == pytest.approx(nominal, abs=0.03)


@pytest.mark.parametrize("n", [3, 5, 10])
def test_median_intervals_cover_as_often_as_they_say_with_a_share_unreached(n):
    """True median 1; the slowest 30 % never arrive."""
    source = rng(16)
    values = source.lognormal(size=(1000, n))
    values[values > np.exp(stats.norm.ppf(0.7))] = INF
    intervals = [median_interval(row) for row in values]
    confidence = intervals[0].confidence
    covered = np.mean([1 in interval for interval in intervals])
    assert covered == pytest.approx(confidence, abs=3 * np.sqrt(confidence * (1 - confidence) / 1000))


@pytest.mark.slow
@pytest.mark.parametrize("draws", MANY)
def test_a_comparison_without_an_effect_claims_one_in_at_most_five_percent(draws):
    source = rng(17)
    pairs = np.exp(source.normal(size=(draws, 1, 8)) + 0.2 * source.normal(size=(draws, 2, 8)))
    claims = [compare(a, b, 0.01, source).verdict for a, b in pairs]
    assert at_most(np.mean([claim != "unresolved" for claim in claims]), 0.05, draws)


def test_holm_keeps_the_error_of_a_family():
    source = rng(18)
    families = np.array([holm(row).min() for row in source.uniform(size=(5000, 6))])
    assert at_most(np.mean(families < 0.05), 0.05, 5000)
    assert np.mean(families < 0.05) > 0.03
