"""The judge of formulas: its verdicts on what is in print, and its yardsticks against planted mistakes."""

import numpy as np
import pytest
from synthetic import cell, evidence

from experiments import formulas as study
from harness.analysis.study import judged
from harness.inference.verdicts import Verdict
from harness.network.losses import LOSSES
from harness.runs import studies

slow = pytest.mark.slow  # thousands of networks
SUPPORTED, REFUTED = Verdict.SUPPORTED, Verdict.REFUTED


@slow
def test_what_is_right_and_what_cannot_be_evaluated_is_found():
    found = {one.claim: one for one in judged(studies.definition("formulas"), study.judge, evidence(cell(64)))}
    verdicts = {claim: one.verdict for claim, one in found.items()}
    refuted = {"E8", "E9", "C3", "C2.sklearn"}
    assert verdicts == dict.fromkeys(("C6", "C7", "C8"), SUPPORTED) | dict.fromkeys(refuted, REFUTED)
    assert not any("nan" in one.sentence or len(one.sentence) > 400 for one in found.values())
    assert [row[1] for row in found["E8"].rows[1:]] == ["no value"] * 3
    assert found["E8"].sentence.startswith("0 of 3 expressions have the shape of what they define; 3 have no value")
    assert found["E9"].rows[1] == ("derivative", "291 (from |z| = 710 on)", "354 (from |z| = 355 on)")
    assert "the derivative at 645 (from |z| = 355 on)" in found["E9"].sentence
    assert [row[0] for row in found["C6"].rows[1:]] == [name.replace("_", " ") for name in LOSSES]
    assert {row[2] for row in found["C2.sklearn"].rows[1:]} == {"1"}  # alpha/B


@slow
@pytest.mark.parametrize(("step", "caught"), [(0.0, False), (1e-6, True)])
def test_the_gradient_check_sees_one_wrong_coordinate(step, caught):
    network, X, Y = study.draw(np.random.default_rng(1), "tanh", "softmax_cross_entropy", 2)
    gradient = network.gradient(X, Y).flat[0] / len(X)
    gradient[7] += step * np.abs(gradient).max()
    error, kinks = study.error(network, X, Y, gradient)
    assert (error > study.GRADIENT) == caught
    assert kinks == 0


@slow
def test_a_kink_is_left_out_and_counted():
    """One example right at the kink of a hidden unit: its slopes depend on the step, and say nothing."""
    network, X, Y = study.draw(np.random.default_rng(1), "relu", "half_squared_error", 1)
    network.params.b[0][0, 0, 0] -= (X[0] @ network.params.W[0][0])[0] + network.params.b[0][0, 0, 0] - study.STEP / 3
    gradient = network.gradient(X, Y).flat[0] / len(X)
    error, kinks = study.error(network, X, Y, gradient)
    assert error <= study.GRADIENT
    assert kinks > 0


@slow
def test_the_scan_sees_a_cost_that_is_smallest_elsewhere(monkeypatch):
    tilted = LOSSES["sigmoid_cross_entropy"]._replace(costs=lambda Z, Y: np.square(Z - Y - 0.3).sum(axis=-1))
    monkeypatch.setitem(study.LOSSES, "sigmoid_cross_entropy", tilted)
    assert study._minimum(np.random.default_rng(0)).verdict is REFUTED
