"""A ratio of two arms held against a band: replicas that report, losses, edges."""

import numpy as np
import pytest

from harness.analysis import Ratio, ratio_of
from harness.inference import Verdict, split_replicas

SUPPORTED, REFUTED, _, UNRESOLVED = Verdict
INF = np.inf


def test_the_replicas_that_chose_a_rate_do_not_report():
    a = np.array([9.0] * 8 + [0.8, 0.81, 0.79, 0.8, 0.8, 0.81, 0.8, 0.79])
    found = ratio_of(a, np.ones(16), split_replicas(16, 6))
    assert found.inside(0, 0.9) is SUPPORTED
    assert (found.pairs, found.n_replicas) == (8, 16)


@pytest.mark.parametrize("n_lost", [3, 9])
def test_a_lost_arm_is_not_lower_by_what_is_left(n_lost):
    a = np.array([0.5] * (12 - n_lost) + [INF] * n_lost)
    verdict = ratio_of(a, np.ones(12), split_replicas(12, None)).inside(0, 0.9)
    assert verdict is UNRESOLVED


def test_an_arm_that_is_lost_in_all_pairs_is_higher():
    assert ratio_of(np.full(12, INF), np.ones(12), split_replicas(12, None)).inside(0, 0.9) is REFUTED


def test_on_an_edge_nothing_is_said():
    assert ratio_of(np.full(12, 0.5), np.ones(12), split_replicas(12, None), "extend it").inside(0, 0.9) is UNRESOLVED


def test_limits_that_are_unknown_are_no_effect():
    assert ratio_of(np.ones(2), np.ones(2), split_replicas(2, None)).effect is None
    assert isinstance(ratio_of(np.ones(3), np.ones(3), split_replicas(3, None)), Ratio)
