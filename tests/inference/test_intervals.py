"""Intervals against textbook values, slower code and, over many draws, against the coverage that they promise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from harness.inference.intervals import (
    Interval,
    geometric_mean_ratio,
    mean_interval,
    median_interval,
    paired_ratio,
    percentile_interval,
    proportion,
)

NAN, INF = np.nan, np.inf
finite = st.floats(-3, 3).map(lambda value: round(value, 3))
log_ratios = st.lists(finite, min_size=2, max_size=7)
few = settings(max_examples=40, deadline=None)


def rng(seed=0):
    return np.random.default_rng(seed)


def limits(interval):
    return interval.low, interval.high


# geometric mean ratio


def test_the_limits_are_students():
    values = rng(1).exponential(size=12)
    ratio, expected = geometric_mean_ratio(values), stats.t.interval(0.95, 11, values.mean(), stats.sem(values))
    assert ratio.estimate == pytest.approx(stats.gmean(np.exp(values)))
    np.testing.assert_allclose(limits(ratio), np.exp(expected))


@few
@given(log_ratios.filter(lambda values: len(values) >= 3))
def test_a_over_b_is_one_over_b_over_a(values):
    ratio, inverse = geometric_mean_ratio(values), geometric_mean_ratio(np.negative(values))
    np.testing.assert_allclose(
        np.log([ratio.estimate, *limits(ratio)]), -np.log([inverse.estimate, *limits(inverse)[::-1]]), atol=1e-9
    )
    assert ratio.low <= ratio.estimate <= ratio.high


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
    ratio = geometric_mean_ratio(values)
    np.testing.assert_allclose((ratio.estimate, *limits(ratio)), expected)


@pytest.mark.parametrize("tiny", [1e-11, 1e-9, 1e-3])
@pytest.mark.parametrize("level", [0.0, 5.0])
def test_one_pair_unlike_the_others_is_no_degenerate_bootstrap(tiny, level):
    ratio = geometric_mean_ratio([level, level, level, level, level + tiny])
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


# ratios of pairs


def test_without_losses_it_is_the_geometric_mean():
    a, b = np.exp(rng(2).normal(size=(2, 9)))
    assert paired_ratio(a, b) == geometric_mean_ratio(np.log(a / b))


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([1, 2, 3, 4, 5, INF], [1] * 6, (3.5, 1, INF)),
        ([1, 2, 3, 4, 5, 6], [1, 1, 1, 1, 1, NAN], (2.5, 0, 5)),
        ([1, 2, 3, 4, 5, INF], [1, 1, 1, 1, 1, INF], (3, 0, INF)),  # both lost: it may have been anything
        ([1, 1, 1] + [INF] * 9, [1, 1, 1] + [INF] * 9, (1, 0, INF)),
        ([1, 2, 3, 4, INF], [1] * 5, (3, NAN, NAN)),  # five order statistics do not reach 95 %
        ([INF] * 6, [INF] * 6, (NAN, 0, INF)),
    ],
)
def test_losses_count_against_their_arm(a, b, expected):
    found = paired_ratio(a, b)
    np.testing.assert_allclose((found.estimate, *limits(found)), expected)


def test_with_losses_the_true_median_is_held_as_often_as_promised():
    generator, held = rng(3), 0
    for _ in range(400):
        ratios = np.exp(0.3 + 0.2 * generator.standard_t(2, size=12))
        held += np.exp(0.3) in paired_ratio(np.where(ratios > np.quantile(ratios, 0.9), INF, ratios), np.ones(12))
    assert held >= 370  # 95 % of 400 less three standard deviations is 367


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


# over many draws

MANY = [pytest.param(400, id="some"), pytest.param(4000, id="many", marks=pytest.mark.slow)]


@pytest.mark.parametrize("draws", MANY)
@pytest.mark.parametrize(("distribution", "low", "high"), [("normal", 0.95, 0.95), ("heavy", 0.95, 0.98)])
@pytest.mark.parametrize("n", [3, 5, 10, 20])
def test_ratios_are_covered_as_often_as_they_say(n, distribution, low, high, draws):
    source = rng(14)
    values = source.normal(size=(draws, n)) if distribution == "normal" else source.standard_t(2, size=(draws, n))
    covered = np.mean([np.exp(0.2) in geometric_mean_ratio(0.2 + 0.3 * row) for row in values])
    error = 3 * np.sqrt(0.05 * 0.95 / draws)
    assert low - error <= covered <= high + error


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
