"""Where a curve over batch sizes comes above a level: bounds that hold whatever lies between two sizes."""

import numpy as np
import pytest

from harness.inference.crossings import Slowdown, bounded_interval, crossing, ratio_of_bounds


def test_a_level_is_crossed_on_a_straight_line_and_not_beyond_what_is_known():
    ratios = np.array(
        [[1.0, 1.1, 1.3, np.inf], [1.0, 1.0, 1.0, 1.0], [1.0, np.inf, np.inf, np.inf], [2.0, 2.0, 1.0, 1.0]]
    )
    low, high = crossing(np.array([4.0, 8.0, 16.0, 32.0]), ratios, 1.2)
    assert low.tolist() == pytest.approx([12, 32, 4, 4])
    assert high.tolist() == pytest.approx([12, np.inf, 8, 4])


def test_bounds_become_limits_and_not_a_point():
    """Were the lower bounds taken as known, this would be 20 [20, 20]."""
    found = bounded_interval(np.array([[20.0] * 40, [140.0] * 40]))
    assert (found.estimate, found.low, found.high) == (80, 20, 140)
    beyond = bounded_interval(np.array([[128.0] * 40, [np.inf] * 40]))
    assert (beyond.estimate, beyond.low, beyond.high) == (128, 128, np.inf)
    known = bounded_interval(np.array([np.arange(1.0, 42)] * 2))
    assert (known.estimate, known.low, known.high) == (1, 2, 40)


def test_beyond_the_largest_size_over_a_known_one_is_bounded_from_below_alone():
    ratio = ratio_of_bounds(np.array([[128.0], [np.inf]]), np.array([[100.0], [100.0]]))
    assert ratio[:, 0].tolist() == [1.28, np.inf]
    assert ratio_of_bounds(np.array([[8.0], [16.0]]), np.array([[4.0], [8.0]]))[:, 0].tolist() == [1, 4]


def test_a_best_rate_on_the_edge_of_its_grid_counts_up_to_the_first_size_above():
    sizes, draws = np.array([4.0, 8.0, 16.0]), np.array([[1.0, 1.4, 2.0]] * 40)
    beyond = Slowdown(sizes, draws, np.array([False, False, True]))
    assert (beyond.edges(1.2), beyond.edges(1.5)) == ([], ["B=16"])
    assert beyond.crossing(1.2)[:, 0].tolist() == [6, 6]
    assert np.isnan(beyond.crossing(1.5)).all()
