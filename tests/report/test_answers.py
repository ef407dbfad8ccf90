"""Answers in plain words, made from verdicts by setting."""

import numpy as np

from harness.analysis import Ratio
from harness.inference import Comparison, Interval, Verdict
from harness.report.answers import (
    by_constants,
    by_size,
    compared,
    differing,
    joined,
    percent,
    places,
    span,
    spread,
    telling,
    where,
    why_open,
    why_undecided,
    within,
)


def test_names_are_joined_as_in_a_sentence():
    assert [joined(names) for names in (["a"], ["a", "b"], ["a", "b", "c"])] == ["a", "a and b", "a, b and c"]


def test_each_name_stands_with_its_verdict():
    found = {"iris": Verdict.REFUTED, "wine": Verdict.SUPPORTED, "digits": Verdict.SUPPORTED}
    assert where(found) == "on wine and digits yes, on iris no"
    half = {"5 %": Verdict.UNRESOLVED, "10 %": Verdict.CONDITIONAL}
    assert where(half, "by ") == "by 10 % in part, by 5 % not decided"


def test_margins_are_told_in_percent():
    found = {0.01: Verdict.REFUTED, 0.05: Verdict.REFUTED, 0.1: Verdict.SUPPORTED}
    assert within(found) == "within 10 % yes, within 1 % and 5 % no"


def test_names_that_speak_for_themselves_need_no_word_before():
    found = {"per update": Verdict.SUPPORTED, "per example": Verdict.REFUTED}
    assert where(found, "") == "per update yes, per example no"
    assert where({"wine": Verdict.UNRESOLVED}) == "on wine not decided"


def test_a_dataset_with_one_verdict_stands_without_its_sizes():
    yes, no = Verdict.SUPPORTED, Verdict.REFUTED
    found = {("iris", 8.0): yes, ("iris", 1.0): yes, ("digits", 1.0): no, ("digits", 8.0): no, ("digits", 64.0): yes}
    assert by_size(found) == "on iris and on digits at B = 64 yes, on digits at B = 1 and 8 no"
    assert by_size(dict.fromkeys(found, no)) == "everywhere no"
    assert places([("iris", 8.0)], found, "k") == "on iris at k = 8"
    assert places([], found) == "nowhere"
    assert places([("digits", 1.0), ("iris", 1.0)], found) == "on digits and iris at B = 1"
    assert places([("digits", 1.0), ("iris", 1.0), ("iris", 8.0)], found) == "on iris and on digits at B = 1"


def test_reasons_for_what_is_open_are_told_in_short():
    wide, lost = Interval(1.1, 1.0, 1.21), Interval(1.0, np.nan, np.nan)
    ratios = [
        Ratio(Interval(1.5, 1.4, 1.6), 10, 20),
        Ratio(wide, 10, 20),
        Ratio(wide, 10, 20, "edge"),
        Ratio(lost, 2, 4),
    ]
    assert why_open(ratios[:1], (0, 1.05)) == ""
    reasons = "1 with a best rate on the edge of its grid, 1 that about 84 seeds would tell"
    assert why_open(ratios, (0, 1.05)) == f" Open, of 4 ratios: {reasons} and 1 with lost or too few replicas."


def test_a_spread_is_the_lowest_and_the_highest_of_what_is_known():
    found = [Interval(2.0, 1.0, 3.0), Interval(np.nan, np.nan, np.nan), Interval(0.5, 0.4, 0.6)]
    assert spread(found) == "0.5 [0.4, 0.6] to 2 [1, 3]"
    assert spread(found[:1]) == "2 [1, 3]"
    assert spread(found[1:2]) == "not known"


def test_a_part_is_told_in_percent():
    assert [percent(part) for part in (0.07, 0.025, 1.0)] == ["7 %", "2.5 %", "100 %"]


def test_constants_stand_with_the_verdict_of_each_value_unless_all_support():
    yes, no = Verdict.SUPPORTED, Verdict.REFUTED
    along = {"the margin": {0.05: no, 0.1: yes, 0.25: yes}, "the factor": {2: yes, 3: yes}}
    assert by_constants(along) == "by the margin: 0.1 and 0.25 yes, 0.05 no"
    assert by_constants({"the factor": {2: yes}}) == ""


def test_the_constant_that_tells_most_has_both_answers():
    yes, no, open_ = Verdict.SUPPORTED, Verdict.REFUTED, Verdict.UNRESOLVED
    along = {
        1.0: {"a": yes, "b": yes, "c": yes},
        1.5: {"a": yes, "b": open_, "c": no},
        2.0: {"a": yes, "b": no, "c": no},
    }
    assert telling(along) == 2.0
    assert telling({1.0: along[1.0]}) is None


def test_names_that_agree_on_every_dataset_stand_together():
    found = {
        (name, dataset): Verdict.REFUTED if dataset == "wine" and name != "median" else Verdict.SUPPORTED
        for name in ("mean", "median", "sum")
        for dataset in ("iris", "wine")
    }
    names = {"mean": "the mean", "median": "the median", "sum": "the sum"}
    assert differing(found, names) == "the mean and the sum on iris yes, on wine no; the median yes"


def comparison(verdict, seeds_needed=None, diverged=(0, 0), ends=(0.5, 0.4, 0.6)):
    about = {"p": 0.2, "equivalence_p": 0.2, "seeds_hoped": None, "finite": 9, "dropped": 0, "fewest_pairs": 6}
    own = {
        "ratio": Interval(*ends),
        "verdict": verdict,
        "seeds_needed": seeds_needed,
        "diverged": diverged,
        "pairs": 10,
    }
    return Comparison(**about, **own, margin=0.05)


def test_a_comparison_that_is_open_says_why():
    assert compared(comparison("a lower")) == "0.5 [0.4, 0.6]"
    lost = compared(comparison("unresolved", 40, (1, 0)))
    assert lost == "0.5 [0.4, 0.6] (about 40 seeds would tell, 1 and 0 of 10 lost)"
    assert compared(comparison("a lower"), "on the edge") == "0.5 [0.4, 0.6] (on the edge)"
    assert compared(comparison("unresolved", ends=(np.nan,) * 3)) == "not known"
    half = compared(comparison("unresolved", 40), n_replicas=20)  # of which 10 are compared
    assert half == "0.5 [0.4, 0.6] (about 80 seeds would tell)"


def test_what_leaves_comparisons_open_is_told_in_short():
    lower, noisy = comparison("a lower"), comparison("unresolved", 40)
    assert why_undecided([(lower, "", 0)]) == ""
    assert why_undecided([(noisy, "", 20)]) == " Open, of 1 comparisons: 1 that about 80 seeds would tell."
    reasons = "1 with a best rate on the edge of its grid, 1 that about 40 seeds would tell and 1 with lost or too few"
    found = [(lower, "", 0), (noisy, "", 0), (lower, "edge", 0), (comparison("unresolved"), "", 0)]
    assert why_undecided(found) == f" Open, of 4 comparisons: {reasons} replicas."


def test_a_span_is_that_of_the_numbers_that_are_known():
    assert span([2.0, np.nan, 0.5, np.inf]) == "0.5 to 2"
    assert (span(iter([1.0, 1.001])), span([np.inf])) == ("1", "not known")
