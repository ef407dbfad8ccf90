"""From numbers to verdicts: each rule on cases whose answer is known, and how often a rule is wrong on pure chance."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from harness.inference.comparison import compare_family
from harness.inference.intervals import Interval, geometric_mean_ratio
from harness.inference.verdicts import Verdict, equal, exactly, inside, lower, opposite, pairs_to_tell, together

SUPPORTED, REFUTED, CONDITIONAL, UNRESOLVED = Verdict
NAN = np.nan
MARGIN = 0.05
REPEATS = 60


def pairs(effect, n=10, noise=0.05, seed=0):
    """Costs of arm a and of arm b, which share what a replica has in common; a is lower by the factor `effect`."""
    rng = np.random.default_rng(seed)
    shared, own = np.exp(0.3 * rng.normal(size=n)), np.exp(noise * rng.normal(size=n))
    return effect * shared * own, shared


def compared(effect, seed=0, **options):
    return alone(*pairs(effect, seed=seed, **options), seed=seed)


def alone(a, b, seed=0):
    """A family of one comparison."""
    return compare_family({"": (a, b)}, MARGIN)[""]


def test_equality_is_a_matter_of_rounding():
    assert exactly(1e-13, 1e-12) is SUPPORTED
    assert exactly(1e-11, 1e-12) is REFUTED
    assert exactly(np.inf, 1e-12) is REFUTED


EDGES = [(NAN, 1.5), (1.5, NAN), (NAN, NAN)]
COSTS = [([], []), ([NAN], [1.0]), ([1.0, 2.0], [3.0, 4.0]), ([NAN] * 9, [NAN] * 9), (np.ones(5), np.full(5, 9.0))]
CASES = [
    ("nothing measured", exactly(NAN, 1e-12)),
    *((f"limits {low}, {high}", inside(Interval(1.5, low, high), 1, 2)) for low, high in EDGES),
    *((f"no estimate, {low}", inside(Interval(NAN, low, NAN), 1, 2)) for low in (NAN, 1.2)),
    *((f"{len(a)} pairs, {rule.__name__}", rule(alone(a, b))) for a, b in COSTS for rule in (lower, equal)),
]


@pytest.mark.parametrize(("case", "verdict"), CASES, ids=[case for case, _ in CASES])
def test_what_is_not_a_number_or_too_few_pairs_decides_nothing(case, verdict):
    """Of every rule: neither the claim nor its negation."""
    assert verdict is UNRESOLVED
    assert opposite(verdict) is UNRESOLVED


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(1.2, 1.8, SUPPORTED), (0.5, 0.9, REFUTED), (2.1, 3, REFUTED), (0.9, 1.5, UNRESOLVED), (np.nan, 1.5, UNRESOLVED)],
)
def test_an_interval_lies_inside_outside_or_across(low, high, verdict):
    assert inside(Interval(1.5, low, high), 1, 2) is verdict


def test_a_planted_difference_is_found_on_its_side():
    assert lower(compared(0.7)) is SUPPORTED
    assert lower(compared(1.4)) is REFUTED
    assert equal(compared(0.7)) is equal(compared(1.4)) is REFUTED


def test_equality_within_the_margin_is_found_and_refutes_a_difference():
    same = compared(1.0, noise=0.01, n=16)
    assert equal(same) is SUPPORTED
    assert lower(same) is REFUTED


@pytest.mark.parametrize(
    ("n", "lost_a", "lost_b", "verdict"),
    [(10, 0, 10, SUPPORTED), (10, 10, 0, REFUTED), (3, 0, 3, UNRESOLVED), (10, 4, 6, UNRESOLVED)],
)
def test_an_arm_that_diverged_loses_if_that_is_more_than_chance(n, lost_a, lost_b, verdict):
    a, b = np.ones(n), np.ones(n)
    a[:lost_a], b[:lost_b] = np.inf, np.inf
    found = alone(a, b)
    assert lower(found) is verdict
    assert equal(found) is (UNRESOLVED if verdict is UNRESOLVED else REFUTED)


def test_a_difference_within_the_margin_does_not_refute_equality():
    """A ratio of 1.04: enough replicas show that it is not 1, which was not the claim."""
    found = [compared(1.04, noise=0.02, n=14, seed=seed) for seed in range(REPEATS)]
    assert sum(one.verdict == "b lower" for one in found) > REPEATS / 4
    assert not often(sum(equal(one) is REFUTED for one in found), 0.05)
    assert equal(compared(1.04, noise=0.02, n=100)) is SUPPORTED
    assert equal(compared(1.2, noise=0.02, n=14)) is REFUTED


def test_noise_larger_than_the_margin_settles_nothing():
    noisy = compared(1.0, noise=0.5)
    assert lower(noisy) is equal(noisy) is UNRESOLVED


def often(count, rate):
    """More often than a rule with this rate of error is wrong in REPEATS tries, but for one time in a thousand."""
    return count > binom.ppf(0.999, REPEATS, rate)


def test_chance_alone_is_seldom_a_difference():
    found = [lower(compared(1.0, seed=seed, noise=0.2)) for seed in range(REPEATS)]
    assert not often(sum(verdict is not UNRESOLVED for verdict in found), 0.05)


def test_a_difference_at_the_margin_is_seldom_called_equal():
    found = [equal(compared(1 + MARGIN, seed=seed, noise=0.02)) for seed in range(REPEATS)]
    assert not often(found.count(SUPPORTED), 0.05)


def test_a_true_value_is_seldom_put_outside():
    """The bootstrap of ten pairs covers nine times in ten (its docstring), so it may be wrong as often."""
    found = []
    for seed in range(REPEATS):
        a, b = pairs(1.0, seed=seed, noise=0.2)
        ratio = geometric_mean_ratio(np.log(a / b))
        found.append(inside(ratio, 1.0, np.inf))
    assert not often(found.count(REFUTED), 0.05)
    assert not often(found.count(SUPPORTED), 0.05)


def test_arms_that_both_diverge_half_of_the_time_are_seldom_told_apart():
    """They were every second time, when an arm that diverged in over half of its replicas lost without a test."""
    rng, found = np.random.default_rng(5), []
    for _ in range(REPEATS):
        a, b = np.where(rng.random((2, 10)) < 0.5, np.inf, rng.lognormal(size=(2, 10)))
        found.append(lower(alone(a, b)))
    assert not often(sum(verdict is not UNRESOLVED for verdict in found), 0.05)


@given(st.lists(st.sampled_from(Verdict), min_size=1))
def test_no_part_can_be_left_out(parts):
    """Whatever is said of the whole, every part is compatible with it; the order does not matter."""
    whole = together(parts)
    assert whole is together(reversed(parts))
    if whole in (SUPPORTED, REFUTED):
        assert set(parts) == {whole}
    if {SUPPORTED, REFUTED} <= set(parts):
        assert whole is CONDITIONAL
    if whole is CONDITIONAL:
        assert CONDITIONAL in parts or {SUPPORTED, REFUTED} <= set(parts)


def test_the_negation_of_a_claim():
    assert [opposite(verdict) for verdict in Verdict] == [REFUTED, SUPPORTED, CONDITIONAL, UNRESOLVED]


def test_nothing_is_nothing():
    assert together([]) is UNRESOLVED


@pytest.mark.parametrize(
    ("ratio", "n", "expected"),
    [
        (Interval(1, 0.8, 1.25), 10, 50),  # log 1.25 / log 1.1 squared is 5.48
        (Interval(1.2, 1.0, 1.44), 10, 44),
        (Interval(1, 0.99, 1.01), 10, 10),  # it decides as it is
        (Interval(1.1, 1.0, 1.2), 10, None),  # on the very end
        (Interval(1, 0, np.inf), 10, None),
        (Interval(1, NAN, NAN), 10, None),
    ],
)
def test_the_pairs_that_would_tell(ratio, n, expected):
    found = pairs_to_tell(ratio, n, 1 / 1.1, 1.1)
    assert found == (None if expected is None else pytest.approx(expected, rel=0.15))


def test_so_many_pairs_do_tell():
    few = paired(11, seed=1)
    assert inside(few, 0.95, np.inf) is UNRESOLVED
    n = pairs_to_tell(few, 11, 0.95, np.inf)
    low, high = (few.estimate * (end / few.estimate) ** np.sqrt(11 / n) for end in (few.low, few.high))
    assert inside(Interval(few.estimate, low, high), 0.95, np.inf) is not UNRESOLVED


def paired(n, seed):
    a, b = pairs(1.0, n=n, noise=0.2, seed=seed)
    return geometric_mean_ratio(np.log(a / b))


def test_the_price_is_that_of_the_side_on_which_the_limit_lies():
    """A lopsided interval that contains a limit asks for more pairs than it has; the other side does not matter."""
    lopsided = Interval(1.36, 1.24, 1.4)
    n = pairs_to_tell(lopsided, 512, 1.25, np.inf)
    assert n == pytest.approx(512 * (np.log(1.24 / 1.36) / np.log(1.25 / 1.36)) ** 2, abs=1)
    assert n > 512
    assert pairs_to_tell(Interval(1.36, 1.24, 9.0), 512, 1.25, np.inf) == n
