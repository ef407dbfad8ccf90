"""Fits and choices against slower ones, and over many sweeps drawn with a known S_min, B_crit and exponent."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from harness.inference.fits import Status, fit_batch_scaling, grid_excess, resampled_medians, vertex
from harness.inference.intervals import Interval
from harness.inference.learning_rates import (
    SCALING_POWERS,
    Split,
    _rule_verdicts,
    best_learning_rate,
    scaling_exponent,
    split_replicas,
)
from harness.inference.sign_flips import fewest_pairs

NAN, INF = np.nan, np.inf
BATCH_SIZES = np.array([1, 8, 64, 512, 1437])
FEWEST = fewest_pairs(1)
EVERYONE = split_replicas(9, FEWEST)


def rng(seed=0):
    return np.random.default_rng(seed)


def limits(interval):
    return interval.low, interval.high


# batch sizes


def updates(source, n_replicas=10, s_min=200, b_crit=32, B=BATCH_SIZES, common=0.2, own=0.15):
    """(C, R): S_min (1 + B_crit/B) times what a replica has in common in all cells and what it has in each."""
    noise = common * source.normal(size=n_replicas) + own * source.normal(size=(len(B), n_replicas))
    return (s_min * (1 + b_crit / np.asarray(B)))[:, None] * np.exp(noise)


@pytest.mark.parametrize(("s_min", "b_crit"), [(200, 32), (3, 5), (1e5, 700)])
def test_what_follows_the_law_gives_its_constants(s_min, b_crit):
    fit = fit_batch_scaling(BATCH_SIZES, updates(rng(), 6, s_min, b_crit, common=0, own=0), rng())
    assert fit.status is Status.RESOLVED
    for interval, truth in [(fit.s_min, s_min), (fit.b_crit, b_crit)]:
        np.testing.assert_allclose([interval.estimate, *limits(interval)], truth, rtol=1e-4)
    assert fit.rms < 1e-4


def test_the_fit_is_the_least_squares_of_scipy():
    for seed in range(8):
        measured = updates(rng(seed), own=0.5)
        log_s = np.log(measured).mean(axis=1)
        slow = optimize.least_squares(
            lambda x, y=log_s: x[0] + np.log1p(np.exp(x[1]) / BATCH_SIZES) - y, x0=[5, 3], xtol=1e-12, ftol=1e-12
        )
        fit = fit_batch_scaling(BATCH_SIZES, measured, rng())
        np.testing.assert_allclose([fit.s_min.estimate, fit.b_crit.estimate], np.exp(slow.x), rtol=1e-3)
        assert fit.rms == pytest.approx(np.sqrt(np.mean(slow.fun**2)), rel=1e-4)


def test_the_order_of_the_cells_does_not_matter():
    measured, order = updates(rng()), [3, 0, 4, 2, 1]
    assert fit_batch_scaling(BATCH_SIZES[order], measured[order], rng()) == fit_batch_scaling(
        BATCH_SIZES, measured, rng()
    )


def test_replicas_are_drawn_together():
    """What a replica does to all cells alike moves S_min, never B_crit or the slope."""
    fit = fit_batch_scaling(BATCH_SIZES, updates(rng(), 11, common=1, own=0), rng())
    np.testing.assert_allclose(limits(fit.b_crit), 32, rtol=1e-4)
    np.testing.assert_allclose(limits(fit.slope), fit.slope.estimate)
    assert fit.s_min.high > 1.3 * fit.s_min.low


def test_the_slope_between_the_two_smallest():
    fit = fit_batch_scaling([1, 2, 4, 8], 1000 / np.array([[1.0], [2], [4], [8]]) * np.ones(6), rng())
    assert (fit.slope.estimate, *limits(fit.slope)) == pytest.approx((-1, -1, -1))


def test_perfect_scaling_to_the_end_has_no_b_crit():
    fit = fit_batch_scaling([1, 8, 64], 1e4 / np.array([[1.0], [8], [64]]) * np.ones(6), rng())
    assert fit.status is Status.MAYBE_ABOVE
    assert (fit.b_crit.estimate, fit.b_crit.high, fit.s_min.estimate) == (INF, INF, 0)


def test_a_plateau_has_no_b_crit():
    fit = fit_batch_scaling([1, 8, 64], np.full((3, 6), 50.0), rng())
    assert fit.status is Status.MAYBE_BELOW
    assert (fit.b_crit.estimate, fit.b_crit.low, fit.s_min.estimate) == (0, 0, pytest.approx(50))


def test_noise_alone_bounds_nothing():
    fit = fit_batch_scaling([8, 16, 32], rng(1).lognormal(5, 1, size=(3, 6)), rng())
    assert fit.status is Status.UNBOUNDED


def test_cells_that_mostly_miss_the_target_are_left_out():
    measured = updates(rng())
    measured[0, :5], measured[-1] = INF, NAN
    fit = fit_batch_scaling(BATCH_SIZES, measured, rng())
    assert 32 in fit.b_crit
    without = fit_batch_scaling(BATCH_SIZES[1:-1], measured[1:-1], rng())
    assert fit.b_crit.estimate == without.b_crit.estimate


def test_a_few_replicas_that_miss_it_are_the_slowest():
    measured = updates(rng(), own=0.01, common=0.01)
    measured[0, :2] = INF
    fit = fit_batch_scaling(BATCH_SIZES, measured, rng())
    assert fit.b_crit.estimate == pytest.approx(32, rel=0.05)


def test_a_cell_that_may_well_be_missing_leaves_three_unresolved():
    measured = updates(rng(), B=BATCH_SIZES[:3])
    measured[0, :4] = INF
    fit = fit_batch_scaling(BATCH_SIZES[:3], measured, rng())
    assert fit.status is Status.FEW_CELLS
    assert np.isfinite(fit.b_crit.estimate)
    assert np.isnan(fit.b_crit.low)


@pytest.mark.parametrize("n_cells", [0, 1, 2, 5])
def test_nobody_reached_the_target(n_cells):
    fit = fit_batch_scaling(BATCH_SIZES[:n_cells], np.full((n_cells, 4), INF), rng())
    assert fit.status is Status.FEW_CELLS
    assert np.isnan([fit.s_min.estimate, *limits(fit.b_crit), fit.rms]).all()


@pytest.mark.parametrize("n_replicas", [1, 4])
def test_few_replicas_have_an_estimate_and_no_interval(n_replicas):
    fit = fit_batch_scaling(BATCH_SIZES, updates(rng(), n_replicas), rng())
    assert fit.status is Status.FEW_REPLICAS
    assert np.isfinite(fit.b_crit.estimate)
    assert np.isnan(limits(fit.b_crit)).all()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from([0.0, 1.0, 3.5, 1e9, INF, NAN]), min_size=24, max_size=24))
def test_no_updates_crash_the_fit(values):
    fit = fit_batch_scaling([1, 2, 4, 1000], np.reshape(values, (4, 6)), rng())
    assert isinstance(fit.status, Status)


# The best learning rate is not in the grid


STEPS = np.log(3) * np.arange(-4.0, 5)


def at_rates(log_updates, x=STEPS, n_replicas=6):
    return np.repeat(np.exp(log_updates(x))[:, None], n_replicas, axis=1)


@pytest.mark.parametrize("place", [-0.5, -0.2, 0.0, 0.3, 0.5])
@pytest.mark.parametrize(
    "log_cost", [np.abs, np.square, lambda d: 0.1 * d**4, lambda d: np.where(d > 0, 8 * d, -d), np.cosh]
)
def test_the_lowest_value_of_a_convex_function_is_never_lower_than_its_bound(log_cost, place):
    updates = at_rates(lambda x: log_cost(x - place * np.log(3)))
    chosen = int(updates[:, 0].argmin())
    bound = grid_excess(STEPS, updates, chosen)
    assert np.log(updates[chosen, 0]) - log_cost(np.zeros(1)) <= bound + 1e-9


def test_beside_a_kink_the_bound_is_exact():
    assert grid_excess(STEPS, at_rates(lambda x: 2 * np.abs(x - 0.4)), 4) == pytest.approx(0.8)
    assert grid_excess(STEPS, at_rates(np.abs), 4) == pytest.approx(0)


def test_beside_a_rate_that_diverges_the_updates_may_fall_on_to_it():
    falling = at_rates(lambda x: np.where(x > 0, INF, -0.5 * x))
    assert grid_excess(STEPS, falling, 4) == pytest.approx(0.5 * np.log(3))


@pytest.mark.parametrize("chosen", [0, 4, 8])
def test_where_the_neighbours_do_not_reach_the_target_nothing_bounds_it(chosen):
    updates = np.full((9, 6), INF)
    updates[chosen] = 100
    assert grid_excess(STEPS, updates, chosen) == INF


def test_at_the_edge_of_a_grid_nothing_bounds_it():
    assert grid_excess(STEPS, at_rates(lambda x: x), 0) == INF
    assert grid_excess(np.zeros(1), np.full((1, 6), 100.0), 0) == INF


def test_a_part_of_the_excess_widens_the_limits_downwards_and_moves_no_estimate():
    plain, wide = (fit_batch_scaling(BATCH_SIZES, updates(rng()), rng(), excess) for excess in (0.0, [0.5] * 5))
    assert wide.status is Status.RESOLVED
    for name in ("s_min", "b_crit", "slope"):
        before, after = getattr(plain, name), getattr(wide, name)
        assert after.estimate == before.estimate
        assert after.low <= before.low < before.high <= after.high
    assert wide.s_min.low < 0.9 * plain.s_min.low
    assert wide.s_min.high < 1.1 * plain.s_min.high


def test_an_excess_belongs_to_its_batch_size():
    measured, order, excess = updates(rng()), [3, 0, 4, 2, 1], np.array([0, 0, 0, 0, 0.5])
    moved = fit_batch_scaling(BATCH_SIZES[order], measured[order], rng(), excess[order])
    assert moved == fit_batch_scaling(BATCH_SIZES, measured, rng(), excess)


def test_without_a_bound_on_the_excess_nothing_is_resolved():
    fit = fit_batch_scaling(BATCH_SIZES, updates(rng()), rng(), [0, 0, INF, 0, 0])
    assert fit.status is Status.COARSE
    assert fit.b_crit == fit_batch_scaling(BATCH_SIZES, updates(rng()), rng()).b_crit


def test_resampled_medians_are_of_the_same_replicas_everywhere():
    row = rng().normal(size=7)
    medians = resampled_medians(np.stack([row, 2 * row, row + 1]), rng())
    np.testing.assert_allclose(medians[0], [np.median(row), 2 * np.median(row), np.median(row) + 1])
    np.testing.assert_allclose(medians[:, 1:], np.stack([2 * medians[:, 0], medians[:, 0] + 1], axis=1))


# learning rates


def test_halves_are_disjoint_from_twelve_replicas_on():
    for n in (1, 5, 9):
        assert split_replicas(n, FEWEST).disjoint is False
        np.testing.assert_array_equal(split_replicas(n, FEWEST).selection, split_replicas(n, FEWEST).report)
    for n in (12, 13, 30):
        split = split_replicas(n, FEWEST)
        assert split.disjoint
        assert sorted([*split.selection, *split.report]) == list(range(n))
        assert len(split.report) - len(split.selection) in (0, 1)


@pytest.mark.parametrize("m", [1, 3, 10, 26])
def test_disjoint_halves_can_resolve_the_family(m):
    fewest = fewest_pairs(m)
    for n in range(1, 40):
        split = split_replicas(n, fewest)
        assert split.disjoint == (n >= 2 * fewest)
        assert len(split.report) >= min(n, fewest)
    assert not split_replicas(1000, fewest_pairs(5000)).disjoint


def test_the_lowest_median_is_chosen_and_reported_on_others():
    costs = {0.1: [5.0] * 10, 1.0: [1, 1, 1, 9, 9, 3, 3, 3, 3, 4.0], 0.3: [2.0] * 10, 3.0: [INF] * 10}
    best = best_learning_rate(costs, Split(np.arange(5), np.arange(5, 10), True), rng())
    assert (best.rate, best.edge) == (1.0, "")
    assert (best.cost.estimate, *limits(best.cost)) == (3, 3, 4)
    assert (best.low, best.high) == (0.3, 1.0)


def test_a_table_with_a_column_per_rate_will_do():
    costs = {0.1: [2.0, 1.9, 2.1], 0.3: [1.0, 1.1, 0.9], 1.0: [NAN, 5.0, INF]}
    best = best_learning_rate(pd.DataFrame(costs), split_replicas(3, FEWEST), rng())
    assert best == best_learning_rate(costs, split_replicas(3, FEWEST), rng())
    assert (best.rate, best.low, best.high) == (0.3, 0.3, 0.3)


@pytest.mark.parametrize(
    ("medians", "edge"),
    [([1, 2, 3], "low"), ([3, 2, 1], "high"), ([3, 1, 2], ""), ([2, 1, INF], ""), ([1], "both"), ([INF] * 3, "low")],
)
def test_the_edge_of_the_grid(medians, edge):
    costs = {10.0**k: np.full(9, median) for k, median in enumerate(medians)}
    assert best_learning_rate(costs, EVERYONE, rng()).edge == edge


def test_of_equals_the_lowest_rate():
    assert best_learning_rate({1.0: [1, 1, 1], 0.1: [1, 1, 1]}, split_replicas(3, FEWEST), rng()).rate == 0.1


def test_all_diverged_there_is_no_rate():
    best = best_learning_rate({0.1: [INF] * 6, 1.0: [NAN] * 6}, split_replicas(6, FEWEST), rng())
    assert np.isnan([best.rate, best.low, best.high]).all()
    assert (best.cost.estimate, best.edge) == (INF, "low")


def test_one_replica_chooses_without_saying_how_surely():
    best = best_learning_rate({0.1: [2.0], 1.0: [1.0]}, split_replicas(1, FEWEST), rng())
    assert (best.rate, best.cost.estimate, best.cost.confidence) == (1, 1, 0)
    assert np.isnan([best.low, best.high]).all()


# exponents


def test_the_vertex_of_a_parabola_on_an_uneven_grid():
    x = np.array([0.0, 1.0, 3.0, 3.5, 7.0])
    centres = np.linspace(0.6, 4.0, 30)
    place, smooth = vertex(x, 2 * (x - centres[:, None]) ** 2 - 1)
    assert smooth.all()
    np.testing.assert_allclose(place, centres)


@pytest.mark.parametrize(
    ("y", "place"),
    [([1, 2, 3], 0), ([3, 2, 1], 2), ([2, 1, INF], 1), ([1, 1, 1], 0), ([-INF, 1, 2], 0), ([5, -INF, 2], 1)],
)
def test_without_a_parabola_the_lowest_point(y, place):
    assert [value.tolist() for value in vertex(np.arange(3.0), np.array([y], dtype=float))] == [[place], [False]]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=2, max_size=7))
def test_a_vertex_is_at_most_half_a_step_from_the_lowest_point(y):
    x = np.cumsum(1 + np.arange(len(y)) % 3.0)
    place, _ = vertex(x, np.array([y]))
    lowest = int(np.argmin(y))
    assert (x[max(0, lowest - 1)] + x[lowest]) / 2 - 1e-9 <= place[0]
    assert place[0] <= (x[lowest] + x[min(len(y) - 1, lowest + 1)]) / 2 + 1e-9


@pytest.mark.parametrize("steepness", [1, 2, 4, 8])
def test_a_vertex_between_unlike_slopes_is_off_by_a_quarter_of_a_step_beside_a_constant(steepness):
    x, truth = np.arange(-5.0, 6.0), np.linspace(-0.5, 0.5, 1001)
    d = x - truth[:, None]
    place, _ = vertex(x, np.where(d > 0, steepness * d, -d))
    assert np.ptp(place - truth) <= 2 * 0.25


def parabola(d):
    return 0.3 * d**2


def kink(d):
    """Falls by 0.5, rises by 2 per factor e."""
    return np.where(d > 0, 2 * d, -0.5 * d)


def cliff(d):
    """Better and better until it diverges."""
    return np.where(d > 0, INF, -0.5 * d)


def grids(source, power, shape=parabola, n_replicas=10, step=3.0, noise=0.1, B=(1, 8, 64, 512)):
    """Costs around a best rate that is B^power times somewhere between two points of the grid."""
    log_rates = np.log(step) * np.arange(-4, 10)
    offset, common = np.log(step) * source.uniform(), noise * source.normal(size=n_replicas)
    found = {}
    for batch_size in B:
        d = log_rates - offset - power * np.log(batch_size)
        own = noise * source.normal(size=(2, len(d), n_replicas))
        found[batch_size] = dict(
            zip(np.exp(log_rates), np.exp(shape(d[:, None] + own[0]) + own[1] + common), strict=True)
        )
    return found


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_a_planted_rule_is_supported_and_the_others_refuted(power):
    found = scaling_exponent(grids(rng(5), power), rng())
    assert found.status is Status.RESOLVED
    assert power in found.p
    expected = {rule: "supported" if value == power else "refuted" for rule, value in SCALING_POWERS.items()}
    assert found.verdicts == expected
    assert list(found.best) == [1, 8, 64, 512]


def test_a_rule_that_is_merely_not_excluded_is_not_supported():
    """The interval holds constant alone, but the exponent is nearer to sqrt."""
    assert set(_rule_verdicts(Interval(0.33, -0.14, 0.43), Status.RESOLVED).values()) == {"unresolved", "refuted"}
    supported = {"constant": "refuted", "sqrt": "supported", "linear": "refuted"}
    assert _rule_verdicts(Interval(0.49, 0.4, 0.58), Status.RESOLVED) == supported


def test_one_best_rate_at_all_batch_sizes_is_an_exponent_of_zero_to_the_bit():
    costs = {rate: np.full(10, cost) for rate, cost in {0.01: 0.4, 0.1: 0.3, 1.0: 0.5}.items()}
    assert scaling_exponent(dict.fromkeys([1, 16, 353], costs), rng()).p.estimate == 0


def test_parabolas_without_noise_give_the_exponent_exactly():
    found = scaling_exponent(grids(rng(), 0.37, noise=0), rng())
    assert found.p.estimate == pytest.approx(0.37)
    assert found.p.high - found.p.low < 0.2
    assert found.verdicts == dict.fromkeys(SCALING_POWERS, "refuted")


def test_swapping_sum_for_mean_moves_the_exponent_by_one():
    mean = grids(rng(1), 0.5)
    by_sum = {B: {rate / B: costs for rate, costs in grid.items()} for B, grid in mean.items()}
    p, moved = scaling_exponent(mean, rng()).p, scaling_exponent(by_sum, rng()).p
    np.testing.assert_allclose([p.estimate - 1, p.low - 1, p.high - 1], [moved.estimate, *limits(moved)])


def test_a_coarse_grid_over_few_batch_sizes_is_unresolved():
    found = scaling_exponent(grids(rng(1), 0.25, cliff, step=10, B=(8, 16, 32)), rng())
    assert Counter(found.verdicts.values())["unresolved"] >= 2


def test_a_best_rate_at_the_edge_voids_the_verdict():
    swept = grids(rng(5), 0.5)
    swept[512] = {rate: costs for rate, costs in swept[512].items() if rate < 10}
    found = scaling_exponent(swept, rng())
    assert (found.status, found.at_edge) == (Status.AT_EDGE, (512,))
    assert found.verdicts == dict.fromkeys(SCALING_POWERS, "unresolved")
    assert found.best[512] == max(swept[512])
    assert np.isfinite(found.p.estimate)


def test_a_batch_size_where_everything_diverged_is_left_out():
    swept = grids(rng(5), 0.5)
    swept[8] = dict.fromkeys(swept[8], np.full(10, NAN))
    found = scaling_exponent(swept, rng())
    assert (found.status, list(found.best)) == (Status.RESOLVED, [1, 64, 512])
    assert 0.5 in found.p


@pytest.mark.parametrize(
    ("batch_sizes", "n_replicas", "status"),
    [((1, 64), 10, Status.FEW_CELLS), ((1,), 10, Status.FEW_CELLS), ((1, 8, 64), 4, Status.FEW_REPLICAS)],
)
def test_too_little_for_an_exponent(batch_sizes, n_replicas, status):
    found = scaling_exponent(grids(rng(5), 0.5, n_replicas=n_replicas, B=batch_sizes), rng())
    assert found.status is status
    assert np.isnan(limits(found.p)).all()
    assert found.verdicts == dict.fromkeys(SCALING_POWERS, "unresolved")


def test_all_diverged_and_a_single_rate():
    nothing = scaling_exponent({B: {0.1: [INF] * 6, 1.0: [INF] * 6} for B in (1, 2, 4)}, rng())
    assert (nothing.status, nothing.best) == (Status.FEW_CELLS, {})
    single = scaling_exponent({B: {0.1: [1.0] * 6} for B in (1, 2, 4)}, rng())
    assert (single.status, single.at_edge, single.p.estimate) == (Status.AT_EDGE, (1, 2, 4), 0)
    assert scaling_exponent({1: {0.1: [0.0] * 6, 1: [0.0] * 6}}, rng()).status is Status.FEW_CELLS


# over many draws

MANY = [pytest.param(60, id="some"), pytest.param(1000, id="many", marks=pytest.mark.slow)]


def standard_error(draws):
    return np.sqrt(0.05 * 0.95 / draws)


@pytest.mark.slow
@pytest.mark.parametrize("draws", MANY)
@pytest.mark.parametrize("n_replicas", [6, 10])
def test_the_intervals_cover_s_min_and_b_crit_as_often_as_they_say(draws, n_replicas):
    source, fits = rng(21), []
    for _ in range(draws):
        fits.append(fit_batch_scaling(BATCH_SIZES, updates(source, n_replicas), source))
    slope = np.log((1 + 32 / 8) / (1 + 32)) / np.log(8)
    for covered in ([200 in f.s_min for f in fits], [32 in f.b_crit for f in fits], [slope in f.slope for f in fits]):
        # six replicas have 63 subsets, the outer two of which leave 3.1 %
        assert 0.95 - 3 * standard_error(draws) <= np.mean(covered) <= 0.97 + 3 * standard_error(draws)
    assert np.mean([f.status is Status.RESOLVED for f in fits]) > 0.95


@pytest.mark.slow
@pytest.mark.parametrize(
    ("b_crit", "B", "status"), [(5000, BATCH_SIZES, "MAYBE_ABOVE"), (2, [64, 128, 256, 512], "MAYBE_BELOW")]
)
def test_a_b_crit_outside_the_sweep_is_never_resolved(b_crit, B, status):
    source = rng(22)
    found = Counter(fit_batch_scaling(B, updates(source, b_crit=b_crit, B=B), source).status for _ in range(50))
    assert found[Status[status]] >= 40
    assert found[Status.RESOLVED] == 0


@pytest.mark.slow
@pytest.mark.parametrize("draws", MANY)
@pytest.mark.parametrize("shape", [parabola, kink, cliff])
def test_the_interval_covers_the_exponent_whatever_the_shape_of_the_cost(draws, shape):
    source = rng(23)
    found = [scaling_exponent(grids(source, 0.5, shape), source) for _ in range(draws)]
    assert np.mean([0.5 in each.p for each in found]) >= 0.95 - 3 * standard_error(draws)
    supported = Counter(rule for each in found for rule, verdict in each.verdicts.items() if verdict == "supported")
    assert supported["sqrt"] >= 0.85 * draws
    assert supported["constant"] + supported["linear"] == 0


@pytest.mark.parametrize(
    ("power", "step", "shape"), [(0.3, 2, kink), (0.7, 10, kink), (1.0, 3, cliff), (0.0, 3, cliff)]
)
@pytest.mark.slow
def test_other_exponents_and_grids_are_covered_too(power, step, shape):
    source = rng(24)
    found = [scaling_exponent(grids(source, power, shape, step=step), source) for _ in range(400)]
    inside = [power in each.p for each in found if each.status is Status.RESOLVED]
    assert len(inside) > 100
    assert np.mean(inside) >= 0.95 - 3 * standard_error(len(inside))


def test_a_target_that_is_reached_at_once_bounds_nothing_and_warns_of_nothing():
    updates = np.array([[0.0, 5, np.inf], [0, 4, 3], [7, 8, 9]])
    assert grid_excess(np.log([0.1, 0.3, 1]), updates, 1) == np.inf
