"""Subsets of replicas: middles against slow ones, and intervals that hold the truth as often as they say."""

from itertools import combinations

import numpy as np
import pytest

from harness.inference.fits import fit_batch_scaling
from harness.inference.intervals import mean_interval
from harness.inference.learning_rates import UNKNOWN_SHAPE, _parabola_error
from harness.inference.subsets import MOST_SUBSETS, copies, subset_interval, subset_middles, subsets

INF = np.inf


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("n", [1, 2, 6, 10])
def test_all_subsets_but_the_empty_one(n):
    found = {tuple(np.flatnonzero(row)) for row in subsets(n, rng())}
    assert found == {own for k in range(1, n + 1) for own in combinations(range(n), k)}


def test_of_many_replicas_subsets_are_drawn_with_probability_one_half():
    found = subsets(20, rng())
    assert found.shape == (MOST_SUBSETS, 20)
    assert found.any(axis=1).all()
    assert found.mean() == pytest.approx(0.5, abs=0.02)


def test_middles_are_means_and_medians_where_a_value_is_infinite():
    values = rng().normal(size=(3, 7))
    values[1, 2], values[2, :5] = INF, INF
    chosen, found = subsets(7, rng()), subset_middles(values, rng())
    np.testing.assert_allclose(found[0], [values[0].mean(), np.median(values[1]), INF])
    np.testing.assert_allclose(found[1:, 0], [values[0, own].mean() for own in chosen])
    for row in (1, 2):
        np.testing.assert_allclose(found[1:, row], [np.median(values[row, own]) for own in chosen])


@pytest.mark.parametrize("n", [6, 7, 8, 9, 10, 14])
def test_each_tail_has_at_most_2_5_percent_of_the_gaps_between_results(n):
    """Repeated results are no further gaps."""
    n_subsets = len(subsets(n, rng()))
    found = subset_interval(np.r_[0, np.repeat(np.arange(1.0, n_subsets + 1), copies(n))], n)
    assert found.low / (n_subsets + 1) <= 0.025 < (found.low + 1) / (n_subsets + 1)
    assert found.low + found.high == n_subsets + 1


def test_few_replicas_and_many_unknown_results_have_no_limits():
    assert np.isnan(subset_interval(np.arange(32.0), 5).low)
    results = np.arange(1024.0)
    results[1:52] = np.nan
    assert subset_interval(results, 10).low == 52 + 23
    results[1:60] = np.nan
    assert np.isnan(subset_interval(results, 10).low)


@pytest.mark.parametrize("draw", [rng(1).standard_normal, lambda n: rng(2).standard_t(2, n)])
def test_a_mean_of_ten_is_held_in_95_percent_however_heavy_the_tails(draw):
    samples = draw(600 * 10) if draw(1).shape == (1,) else None
    held = [0 in subset_interval(subset_middles(own[None], rng())[:, 0], 10) for own in samples.reshape(600, 10)]
    assert abs(np.mean(held) - 0.95) <= 3 * np.sqrt(0.05 * 0.95 / 600)


def test_limits_of_a_mean_are_about_those_of_student():
    sample = rng(3).normal(size=20)
    found, student = subset_interval(subset_middles(sample[None], rng())[:, 0], 20), mean_interval(sample)
    np.testing.assert_allclose([found.low, found.high], [student.low, student.high], atol=0.1)


def test_b_crit_is_where_the_scores_of_its_subsets_have_both_signs():
    """The interval of B_crit is that of a test which flips the signs of what each replica pulls B_crit by."""
    B, source = np.array([1, 8, 64, 512.0]), rng(4)
    updates = 200 * (1 + 32 / B)[:, None] * np.exp(0.15 * source.normal(size=(4, 10)))
    fit = fit_batch_scaling(B, updates, source)
    weight = 1 / (1 + B / fit.b_crit.low)
    pulls = (weight - weight.mean()) @ (np.log(updates) - np.log1p(fit.b_crit.low / B)[:, None])
    sums = subsets(10, rng()) @ pulls
    assert np.mean(sums <= 0) == pytest.approx(0.025, abs=0.005)


# the error of a parabola


PLACES = np.linspace(-0.5, 0.5, 9)


def error(shape, n=7):
    """Of costs (L,) whose lowest lies at these places beside a point of the grid, in steps."""
    x = np.arange(n) - n // 2 + 0.0
    return _parabola_error([x] * len(PLACES), [shape(x - place) for place in PLACES])


def test_parabolas_have_no_error():
    assert error(lambda d: 0.3 * d**2) == pytest.approx(0)
    uneven = np.array([0, 1, 1.5, 3, 4, 6])
    assert _parabola_error([uneven] * 3, [(uneven - place) ** 2 for place in (1.6, 2, 3)]) == pytest.approx(0)


@pytest.mark.parametrize("steepness", [1, 2, 4, 8])
def test_kinks_have_more_error_the_less_alike_their_slopes_are(steepness):
    """Between the error itself and three times that."""
    found = error(lambda d: np.where(d > 0, steepness * d, -d))
    f = 1 / (1 + steepness)
    true = 3 - 2 * np.sqrt(f) - 2 * np.sqrt(1 - f)  # range in steps, half of it in half steps
    assert true <= found <= 1.5 * true + 1e-9


def test_a_smooth_lopsided_cost_has_less_error_than_a_kink():
    smooth = error(lambda d: np.exp(d) - d - 1)
    assert 0.05 < smooth < error(lambda d: np.where(d > 0, 6 * d, -d))


@pytest.mark.parametrize("n", [3, 4])
def test_three_rates_do_not_show_the_shape(n):
    assert error(lambda d: d**2, n=n) == UNKNOWN_SHAPE


def test_a_rate_that_diverged_two_steps_above_the_best_hides_it():
    assert error(lambda d: np.where(d > 1.5, INF, d**2)) == UNKNOWN_SHAPE


def test_costs_that_are_level_two_steps_away_hide_the_slopes_beside_the_best_rate():
    """A cost that stays at the initial one wherever training makes no progress."""
    kink = lambda d: np.where(d > 0, 8 * d, -d)  # noqa: E731
    assert error(lambda d: np.minimum(kink(d), 1.2)) >= UNKNOWN_SHAPE
    assert error(lambda d: np.minimum(d**2, 1.2)) >= UNKNOWN_SHAPE


@pytest.mark.parametrize("y", [[1, 1, 1, 1, 1], [5, 3, 0, 3, 5], [2, 1, 1, 1, 2]])
def test_whatever_the_costs_the_error_is_between_none_and_half_a_step(y):
    x = np.arange(5.0)
    assert 0 <= _parabola_error([x], [np.array(y, dtype=float)]) <= 1
