"""Tests by sign flips against enumeration, scipy and, over many draws, against the error that they promise."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from harness.inference.sign_flips import (
    FLIPS,
    difference_p,
    equivalence_p,
    fewest_pairs,
    flip_p,
    flipped_sums,
    holm,
    scores,
)

NAN, INF = np.nan, np.inf
finite = st.floats(-3, 3).map(lambda value: round(value, 3))
log_ratios = st.lists(finite, min_size=2, max_size=7)
with_losses = st.lists(st.one_of(finite, st.sampled_from([INF, -INF])), min_size=2, max_size=7)
few = settings(max_examples=40, deadline=None)
MANY = [pytest.param(400, id="some"), pytest.param(4000, id="many", marks=pytest.mark.slow)]


def rng(seed=0):
    return np.random.default_rng(seed)


def at_most(rate, nominal, draws):
    """Not above the nominal rate by more than three binomial standard errors."""
    return rate <= nominal + 3 * np.sqrt(nominal * (1 - nominal) / draws)


def flipped_means(values):
    """The means under all 2^n sign patterns, one at a time."""
    return np.array([np.dot(signs, values) / len(values) for signs in product([-1, 1], repeat=len(values))])


# sign flips


@few
@given(log_ratios)
def test_all_sign_patterns_are_summed_once(values):
    sums = flipped_sums(np.array(values))
    np.testing.assert_allclose(np.sort(sums), np.sort(flipped_means(values) * len(values)), atol=1e-12)
    assert sums[0] == pytest.approx(sum(values), abs=1e-12)


@few
@given(log_ratios)
def test_sign_flips_are_enumerated(values):
    means = flipped_means(values)
    assert flip_p(values) == pytest.approx(np.mean(np.abs(means) >= abs(np.mean(values)) - 1e-12))


@few
@given(log_ratios, st.sampled_from(["two-sided", "greater"]))
def test_p_is_that_of_scipys_permutation_test(values, alternative):
    options = {"permutation_type": "samples", "n_resamples": np.inf, "alternative": alternative}
    expected = stats.permutation_test((np.array(values),), np.mean, **options).pvalue
    assert flip_p(values, two_sided=alternative == "two-sided") == pytest.approx(expected)


@few
@given(with_losses)
def test_the_p_of_a_and_b_is_that_of_b_and_a(values):
    assert difference_p(values) == difference_p(np.negative(values))
    assert equivalence_p(values, 0.1) == equivalence_p(np.negative(values), 0.1)


@few
@given(log_ratios, st.randoms(use_true_random=False))
def test_p_does_not_depend_on_the_order_of_the_pairs(values, source):
    mixed = list(values)
    source.shuffle(mixed)
    assert flip_p(mixed) == flip_p(values)


@pytest.mark.parametrize(("n", "floor"), [(3, 0.25), (5, 0.0625), (6, 0.03125), (10, 2 / 1024)])
def test_the_floor_of_p(n, floor):
    assert flip_p(np.arange(1.0, n + 1)) == pytest.approx(floor)
    assert difference_p([*np.arange(1.0, n), INF]) == pytest.approx(floor)


@pytest.mark.parametrize("values", [[], [0.7], [0.0, 0.0, 0.0]])
def test_nothing_to_flip_says_nothing(values):
    assert flip_p(values) == 1


def test_sixteen_pairs_are_enumerated():
    values = rng(5).normal(size=16)
    signs = 1 - 2 * (np.arange(2**16)[:, None] >> np.arange(16) & 1)
    assert flip_p(values) == np.mean(np.abs(signs @ values) >= abs(values.sum()) - 1e-12)


# beyond sixteen pairs


@pytest.mark.parametrize("n", [17, 24, 60, 300])
def test_beyond_sixteen_pairs_the_patterns_form_a_group(n):
    """Pattern s times pattern t is pattern s xor t; all are different, and each pair is flipped by half of them."""
    rows = range(n) if n < 30 else [0, 1, n - 1]
    own = np.stack([flipped_sums(np.eye(n)[i]) for i in rows])
    assert set(np.unique(own)) == {-1, 1}
    assert (own.sum(axis=1) == 0).all()
    s, t = rng().integers(2**FLIPS, size=(2, 100))
    np.testing.assert_array_equal(own[:, s] * own[:, t], own[:, s ^ t])
    if n < 30:
        assert len(np.unique(own.astype(np.int8), axis=1).T) == 2**FLIPS
        np.testing.assert_array_equal(own @ own.T, np.eye(n) * 2**FLIPS)  # no two pairs are flipped together


def exact_p(values):
    """By enumeration of two halves: |sum of one + sum of the other|, all pairs of the two counted by sorting."""
    halves = [np.sort([np.dot(s, half) for s in product([-1, 1], repeat=len(half))]) for half in np.split(values, 2)]
    beyond = abs(values.sum()) * (1 - 1e-12)
    return 2 * np.sum(len(halves[1]) - np.searchsorted(halves[1], beyond - halves[0])) / 2 ** len(values)


def test_beyond_sixteen_pairs_p_is_close_to_full_enumeration():
    shifts, source = np.linspace(0.3, 0.8, 12), rng(4)
    samples = [shift + source.normal(size=20) for shift in shifts]
    exact = np.array([exact_p(values) for values in samples])
    assert ((exact > 1e-4) & (exact < 0.05)).sum() > 5
    np.testing.assert_allclose([flip_p(values) for values in samples], exact, rtol=0.15, atol=1e-4)


def test_beyond_sixteen_pairs_p_is_close_to_the_t_test():
    values = 0.5 + rng(3).normal(size=25)
    assert flip_p(values) == pytest.approx(stats.ttest_1samp(values, 0).pvalue, rel=0.2)


# lost pairs


def test_ranks_by_hand():
    np.testing.assert_array_equal(scores([0.5, -0.1, 0.0, INF, -INF, 0.5]), [3.5, -2, 0, 5.5, -5.5, 3.5])
    np.testing.assert_array_equal(scores([0.5, -0.1]), [0.5, -0.1])
    np.testing.assert_array_equal(scores([0.1 + 0.2, -0.3, INF]), [1.5, -1.5, 3])  # equal to rounding


@few
@given(with_losses.filter(lambda values: not np.isfinite(values).all()))
def test_with_a_lost_pair_p_is_that_of_the_signed_rank_test(values):
    """scipy enumerates a permutation test of Wilcoxon's statistic; lost pairs as values beyond all others."""
    far = np.clip(values, -1e3, 1e3)
    if not np.any(far):
        return
    method = stats.PermutationMethod(n_resamples=np.inf)
    expected = stats.wilcoxon(far, zero_method="zsplit", method=method).pvalue
    assert difference_p(values) == pytest.approx(expected)


def test_without_ties_p_is_wilcoxons_exact_one():
    values = np.array([0.3, -0.7, 1.1, 2.0, 0.2, -0.1, 0.9, 1.4])
    lost = np.append(values, INF)
    expected = stats.wilcoxon(np.append(values, 1e3), method="exact").pvalue
    assert difference_p(lost) == pytest.approx(expected)


@few
@given(st.lists(finite, min_size=2, max_size=7), st.integers(0, 6))
def test_losing_a_pair_that_was_the_largest_changes_no_rank(values, lost):
    """How far a lost pair is out does not matter, only that no other is farther."""
    first, second = np.array(values), np.array(values)
    first[lost % len(values)], second[lost % len(values)] = INF, 1e6
    ranks = np.sign(second) * stats.rankdata(np.abs(second))
    np.testing.assert_array_equal(scores(first), ranks)


# equivalence


@few
@given(log_ratios, st.floats(0.01, 1))
def test_equivalence_is_two_one_sided_tests(values, margin):
    up, down = np.array(values) + np.log1p(margin), np.array(values) - np.log1p(margin)
    above = np.mean(flipped_means(up) >= np.mean(up) - 1e-12)
    below = np.mean(flipped_means(down) <= np.mean(down) + 1e-12)
    assert equivalence_p(values, margin) == pytest.approx(max(above, below))


@few
@given(log_ratios)
def test_a_wider_margin_is_easier_to_keep_at_its_ends(values):
    assert equivalence_p(values, 100.0) == pytest.approx(2.0 ** -len(values))
    assert equivalence_p(values, 0.0) >= flip_p(values) / 2 - 1e-12


@few
@given(with_losses, st.floats(0.01, 1), st.floats(0.01, 1))
def test_a_wider_margin_is_never_harder_to_keep(values, margin, more):
    assert equivalence_p(values, margin + more) <= equivalence_p(values, margin) + 1e-12


@pytest.mark.parametrize("n", [1, 6, 20])
def test_an_arm_that_always_loses_is_not_equivalent(n):
    assert equivalence_p([INF] * n, 0.05) == equivalence_p([-INF] * n, 0.05) == 1


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


# the fewest pairs


@pytest.mark.parametrize(("n_comparisons", "pairs"), [(1, 6), (2, 7), (3, 7), (4, 8), (10, 9), (25, 10), (26, 11)])
def test_fewest_pairs_of_a_family(n_comparisons, pairs):
    """With all pairs on one side, the floor of p, the family's first claim is just possible."""
    floors = {n: flip_p(np.arange(1.0, n + 1)) for n in range(1, FLIPS + 1)}
    assert fewest_pairs(n_comparisons) == pairs == min(n for n, p in floors.items() if n_comparisons * p <= 0.05)


@pytest.mark.parametrize("n_comparisons", [1, 3, 10])
def test_an_equivalence_takes_a_pair_less(n_comparisons):
    pairs = fewest_pairs(n_comparisons, sides=1)
    assert pairs == fewest_pairs(n_comparisons) - 1
    enough, too_few = (n_comparisons * equivalence_p(np.zeros(n), 0.05) for n in (pairs, pairs - 1))
    assert enough <= 0.05 < too_few


def test_a_family_that_is_too_large_for_the_test():
    assert fewest_pairs(1638) == 16
    assert fewest_pairs(1639) is None
    assert fewest_pairs(0) == 6


# over many draws


@pytest.mark.sample(2)
@pytest.mark.parametrize("draws", MANY)
@pytest.mark.parametrize("law", ["normal", "laplace", "logistic"])
@pytest.mark.parametrize("n", [8, 20])
def test_without_an_effect_p_is_small_no_more_often_than_it_says(draws, law, n):
    p = np.array([flip_p(values) for values in getattr(rng(11), law)(size=(draws, n))])
    assert at_most(np.mean(p <= 0.05), 0.05, draws)
    assert at_most(np.mean(p <= 0.2), 0.2, draws)
    assert np.mean(p <= 0.2) > 0.1


@pytest.mark.parametrize("draws", MANY)
@pytest.mark.parametrize("side", [-1, 1])
def test_at_the_margin_equivalence_is_claimed_no_more_often_than_it_says(draws, side):
    source, limit = rng(12), np.log(1.05)
    p = [equivalence_p(side * limit + 0.03 * source.normal(size=7), 0.05) for _ in range(draws)]
    assert at_most(np.mean(np.array(p) <= 0.05), 0.05, draws)


@pytest.mark.slow
def test_within_the_margin_equivalence_is_found():
    source = rng(13)
    p = [equivalence_p(0.03 * source.normal(size=10), 0.05) for _ in range(200)]
    assert np.mean(np.array(p) <= 0.05) > 0.95


def test_holm_keeps_the_error_of_a_family():
    source = rng(18)
    families = np.array([holm(row).min() for row in source.uniform(size=(5000, 6))])
    assert at_most(np.mean(families < 0.05), 0.05, 5000)
    assert np.mean(families < 0.05) > 0.03
