"""The study `schedules`: its judges on sweeps in which the claims hold, fail, or cannot be told."""

import pytest
import synthetic

from harness.analysis.study import judge_of
from harness.inference import Interval, Verdict
from harness.runs.studies import EXPERIMENTS

judge = judge_of("schedules", EXPERIMENTS)


def cell(B, rate, dataset, final, noise=0.002, **params):
    """With every key that the judge asks for."""
    keys = {"learning_rate_schedule": "constant", "batch_size_schedule": "constant", "warm_up_epochs": 0}
    return synthetic.cell(B, rate, dataset=dataset, final=final, noise=noise, **(keys | params))


def three_arms(raised=0.1, constant=0.2, dataset="digits", rate=0.3, lowered=0.1, updates=1279, **params):
    """Final costs of the arms, in cells of ten epochs. updates: with the batch raised, of 1280."""
    steps = {"milestones": [5, 8], "milestone_factor": 5, **params}
    return [
        cell(8, rate, dataset, constant, **params),
        cell(8, rate, dataset, lowered, learning_rate_schedule="step", **steps),
        cell(8, rate, dataset, raised, batch_size_schedule="step", n_updates=updates, **steps),
    ]


def warm(without=None, warmed=0.1, base=0.1, dataset="digits", k=8, **params):
    """A large batch with and without a warm-up, and the small one."""
    return [
        cell(8, 1.0, dataset, base, epochs=12, **params),
        cell(8 * k, 1.0 * k, dataset, without, epochs=12, **params),
        cell(8 * k, 1.0 * k, dataset, warmed, epochs=12, warm_up_epochs=3, **params),
    ]


def verdicts(*cells, n_replicas=16):
    evidence = synthetic.evidence(*cells, n_replicas=n_replicas, answered=False)
    found = {finding.claim: finding for finding in judge(evidence)}
    assert set(found) == {"H1", "H1.adam", "H2", "H2.cost"}
    assert not any("nan" in finding.sentence for finding in found.values())
    return found


# H1


@pytest.mark.parametrize(
    ("how", "verdict"),
    [
        ({}, Verdict.SUPPORTED),
        ({"constant": 0.05}, Verdict.UNRESOLVED),  # lowering the rate does harm
        ({"constant": 0.05, "raised": 0.2}, Verdict.UNRESOLVED),
        ({"constant": None}, Verdict.SUPPORTED),
        ({"lowered": None, "raised": None}, Verdict.UNRESOLVED),
        ({"updates": 1280}, Verdict.REFUTED),
        ({"raised": 0.13}, Verdict.REFUTED),
        ({"raised": 0.07}, Verdict.REFUTED),
        ({"raised": None}, Verdict.REFUTED),
        ({"raised": 0.107}, Verdict.CONDITIONAL),  # on the band
        ({"constant": 0.1}, Verdict.UNRESOLVED),  # lowering the rate changes nothing
        ({"constant": 0.1, "raised": 0.2}, Verdict.UNRESOLVED),
        ({"noise": 0.1}, Verdict.UNRESOLVED),
    ],
    ids=str,
)
def test_a_raised_batch_against_a_lowered_rate(how, verdict):
    found = verdicts(*three_arms(**how))
    assert found["H1"].verdict == verdict
    assert found["H1.adam"].verdict == Verdict.UNRESOLVED
    assert len(found["H1"].panels) == 3


def test_the_verdict_along_the_band_is_told():
    found = verdicts(*three_arms(raised=0.107))["H1"]
    assert list(found.along["the band (ratio)"].values()) == [Verdict.REFUTED, Verdict.REFUTED, Verdict.SUPPORTED]
    assert found.plain == "Within 3 % and within 5 % no; within 10 % yes."


def test_settings_may_disagree():
    found = verdicts(*three_arms(), *three_arms(raised=0.2, dataset="wine"))
    assert found["H1"].verdict == Verdict.CONDITIONAL
    assert found["H1"].effect.estimate == pytest.approx(2, rel=0.05)
    assert found["H1"].plain == "Within 3 %, within 5 % and within 10 % on digits yes, on wine no."
    assert [row[-1] for row in found["H1"].rows[1:]] == [Verdict.SUPPORTED, Verdict.REFUTED]


def test_a_setting_that_tells_nothing_is_named_and_left_out():
    found = verdicts(*three_arms(), *three_arms(constant=0.1, raised=0.2, dataset="wine"))["H1"]
    assert found.verdict == Verdict.SUPPORTED
    assert "Not judged, as it does not pay there: wine η=0.3" in found.sentence
    assert found.rows[2][-3:] == ("", "", "")


def test_one_period_in_which_they_differ_refutes_a_setting():
    """The other may be too uncertain to tell."""
    within, ratio = judge.__globals__["_within"], Interval
    assert within([ratio(1.08, 1.07, 1.09), ratio(1.05, 1.0, 1.1)], 1.05) is Verdict.REFUTED
    assert within([ratio(1.0, 0.99, 1.01), ratio(1.05, 1.0, 1.1)], 1.05) is Verdict.UNRESOLVED
    assert within([ratio(1.0, 0.99, 1.01)] * 2, 1.05) is Verdict.SUPPORTED


def test_adam_is_a_claim_of_its_own():
    found = verdicts(*three_arms(), *three_arms(raised=0.2, **{"optimizer.name": "adam"}))
    assert (found["H1"].verdict, found["H1.adam"].verdict) == (Verdict.SUPPORTED, Verdict.REFUTED)


def test_two_replicas_do_not_tell():
    assert verdicts(*three_arms(noise=0.02), n_replicas=2)["H1"].verdict == Verdict.UNRESOLVED


# H2


@pytest.mark.parametrize(
    ("how", "verdict", "cost"),
    [
        ({}, Verdict.SUPPORTED, Verdict.SUPPORTED),
        ({"without": 0.3}, Verdict.SUPPORTED, Verdict.SUPPORTED),
        ({"without": 0.1}, Verdict.UNRESOLVED, Verdict.SUPPORTED),  # no failure that a warm-up could mend
        ({"without": 0.05}, Verdict.UNRESOLVED, Verdict.SUPPORTED),
        ({"without": 0.1, "warmed": None}, Verdict.UNRESOLVED, Verdict.REFUTED),
        ({"warmed": 0.25}, Verdict.SUPPORTED, Verdict.REFUTED),
        ({"warmed": 0.115}, Verdict.SUPPORTED, Verdict.CONDITIONAL),  # 1.15 times: by what is a loss
        ({"without": 0.3, "warmed": 0.3}, Verdict.REFUTED, Verdict.REFUTED),  # the null: it fails with one, too
        ({"without": 0.3, "warmed": 0.4}, Verdict.REFUTED, Verdict.REFUTED),
        ({"without": None, "warmed": None}, Verdict.UNRESOLVED, Verdict.REFUTED),
        ({"without": 0.11, "noise": 0.5}, Verdict.UNRESOLVED, Verdict.UNRESOLVED),
    ],
    ids=str,
)
def test_a_warm_up_and_the_linear_rule(how, verdict, cost):
    found = verdicts(*warm(**how))
    assert (found["H2"].verdict, found["H2.cost"].verdict) == (verdict, cost)


def test_only_where_it_fails_is_a_warm_up_judged():
    found = verdicts(*warm(), *warm(k=32, without=0.1, warmed=0.3)[1:])["H2"]
    assert found.verdict is Verdict.SUPPORTED
    assert found.sentence.endswith("Not judged, as it does not surely fail there without one: digits k=32.")
    assert [row[-1] for row in found.rows[1:]] == [Verdict.SUPPORTED, ""]


def test_divergence_is_told_by_its_numbers():
    found = verdicts(*warm(without=None))["H2"]
    assert "0 of 16 replicas diverge, without one 16." in found.sentence
    assert found.rows[1][4] == "0, 16 of 16"
    assert found.effect is None


def test_batches_may_disagree():
    found = verdicts(*warm(), *warm(k=32, without=0.2, warmed=0.3)[1:])
    assert found["H2"].verdict == found["H2.cost"].verdict == Verdict.CONDITIONAL
    ends = "on digits at B = 64 yes, on digits at B = 256 no"
    assert found["H2"].plain == f"Where it fails, {ends}."
    assert found["H2.cost"].plain == f"Below 1.05 times the cost {ends}; below 2 times it is shown on digits at B = 64."


def test_cells_of_the_other_claim_are_not_taken_for_a_base():
    """They have other epochs."""
    found = verdicts(*three_arms(constant=0.5, rate=1.0, lowered=0.4, raised=0.4), *warm())
    assert found["H2.cost"].verdict == Verdict.SUPPORTED
    assert found["H1"].verdict == Verdict.SUPPORTED
