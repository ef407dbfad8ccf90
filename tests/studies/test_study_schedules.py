"""The study `schedules`: its judges on sweeps in which the claims hold, fail, or cannot be told."""

import pytest
import synthetic

from harness.analysis.study import judge_of
from harness.inference.verdicts import Verdict
from harness.runs.studies import EXPERIMENTS

judge = judge_of("schedules", EXPERIMENTS)


def cell(B, rate, dataset, final, noise=0.002, **params):
    """With every key that the judge asks for."""
    keys = {"learning_rate_schedule": "constant", "batch_size_schedule": "constant", "warm_up_epochs": 0}
    return synthetic.cell(B, rate, dataset=dataset, final=final, noise=noise, **(keys | params))


def three_arms(raised=0.1, constant=0.2, dataset="digits", rate=0.3, lowered=0.1, **params):
    """Final costs of the arms, in cells of ten epochs."""
    steps = {"milestones": [5, 8], "milestone_factor": 5, **params}
    return [
        cell(8, rate, dataset, constant, **params),
        cell(8, rate, dataset, lowered, learning_rate_schedule="step", **steps),
        cell(8, rate, dataset, raised, batch_size_schedule="step", **steps),
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
        ({"constant": 0.05}, Verdict.SUPPORTED),  # lowering the rate may also do harm: raising does the same harm
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
    assert "1.03 to 1.05 refuted; 1.1 supported" in verdicts(*three_arms(raised=0.107))["H1"].sentence


def test_settings_may_disagree():
    found = verdicts(*three_arms(), *three_arms(raised=0.2, dataset="wine"))
    assert found["H1"].verdict == Verdict.CONDITIONAL
    assert found["H1"].effect.estimate == pytest.approx(2, rel=0.05)


def test_a_setting_that_tells_nothing_is_named_and_left_out():
    found = verdicts(*three_arms(), *three_arms(constant=0.1, raised=0.2, dataset="wine"))["H1"]
    assert found.verdict == Verdict.SUPPORTED
    assert found.sentence.endswith("Lowering the rate changes too little to tell anything on wine η=0.3.")


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
        ({"without": 0.1}, Verdict.REFUTED, Verdict.SUPPORTED),  # nothing that a warm-up could mend
        ({"without": 0.05}, Verdict.REFUTED, Verdict.SUPPORTED),
        ({"warmed": 0.2}, Verdict.SUPPORTED, Verdict.REFUTED),
        ({"without": 0.1, "warmed": None}, Verdict.REFUTED, Verdict.REFUTED),
        ({"without": None, "warmed": None}, Verdict.UNRESOLVED, Verdict.REFUTED),
        ({"without": 0.11, "noise": 0.5}, Verdict.UNRESOLVED, Verdict.UNRESOLVED),
    ],
    ids=str,
)
def test_a_warm_up_and_the_linear_rule(how, verdict, cost):
    found = verdicts(*warm(**how))
    assert (found["H2"].verdict, found["H2.cost"].verdict) == (verdict, cost)


def test_batches_may_disagree():
    found = verdicts(*warm(), *warm(k=32, without=0.2, warmed=0.3)[1:])
    assert found["H2"].verdict == found["H2.cost"].verdict == Verdict.CONDITIONAL
    assert "digits k=32" in found["H2.cost"].sentence


def test_cells_of_the_other_claim_are_not_taken_for_a_base():
    """They have other epochs."""
    found = verdicts(*three_arms(constant=0.5, rate=1.0, lowered=0.4, raised=0.4), *warm())
    assert found["H2.cost"].verdict == Verdict.SUPPORTED
    assert found["H1"].verdict == Verdict.SUPPORTED
