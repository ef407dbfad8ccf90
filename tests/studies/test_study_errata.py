"""The judge of errata: on printed formulas whose effect is known, and its own yardsticks against planted mistakes."""

from typing import Any

import numpy as np
import pytest
from synthetic import cell, evidence

from experiments import errata as study
from harness.analysis.study import judged
from harness.inference.verdicts import Verdict
from harness.network.errata import DERIVED
from harness.network.losses import LOSSES
from harness.runs import studies

pytestmark = pytest.mark.slow  # sweeps made by hand, answered many times

SUPPORTED, REFUTED, UNRESOLVED = Verdict.SUPPORTED, Verdict.REFUTED, Verdict.UNRESOLVED
FINAL = 0.1


def trained(formula: str, final: float | None, dataset: str = "digits", noise: float = 0.01) -> dict[str, Any]:
    return cell(64, 0.1, dataset=dataset, final=final, noise=noise, formula=formula)


def verdicts(finals: dict[str, list[float | None]], n_replicas: int = 10, **options: Any) -> dict[str, Verdict]:
    """finals: formula -> final cost on each dataset, None for diverged; the derived one ends at FINAL."""
    datasets = ("digits", "breast_cancer")[: len(next(iter(finals.values())))]
    made = [trained(DERIVED, FINAL, dataset) for dataset in datasets]
    for formula, costs in finals.items():
        made += [trained(formula, cost, dataset) for dataset, cost in zip(datasets, costs, strict=True)]
    found = judged(studies.definition("errata"), study.judge, evidence(*made, n_replicas=n_replicas, **options))
    assert not any("nan" in finding.sentence for finding in found)
    return {finding.claim: finding.verdict for finding in found}


def test_what_each_formula_does_is_found():
    found = verdicts(
        {
            "bias_without_rate": [None, None],
            "bias_mean_without_rate": [FINAL, FINAL * 1.005],
            "bias_of_one_example": [FINAL, FINAL * 1.3],
            "lost_sign": [4.0, None],
            "divided_twice": [0.3, 0.2],
        }
    )
    assert found["E1"] == found["E5"] == found["E6"] == REFUTED
    assert found["E2"] == SUPPORTED
    assert found["E3"] == Verdict.CONDITIONAL
    assert found["E4"] == UNRESOLVED  # was not trained
    assert found["E7"] == REFUTED  # one mistake hides everywhere
    assert found["E8"] == found["E9"] == REFUTED
    assert found["C6"] == found["C7"] == found["C8"] == SUPPORTED


def cheaper(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the claims that need no sweep."""
    blank = {"E8": "_shapes", "E9": "_values", "C6": "_output_layer", "C7": "_recursion", "C8": "_minimum"}
    for claim, name in blank.items():
        monkeypatch.setattr(study, name, lambda *_, claim=claim: study.Finding(claim, UNRESOLVED, ""))


def test_a_mistake_that_always_shows_supports_that_mistakes_show(monkeypatch):
    cheaper(monkeypatch)
    found = verdicts({"divided_twice": [0.3], "lost_sign": [None]})
    assert found["E7"] == SUPPORTED
    assert verdicts({"divided_twice": [0.3, FINAL]})["E7"] == Verdict.CONDITIONAL


def test_three_replicas_cannot_call_costs_equal(monkeypatch):
    cheaper(monkeypatch)
    found = verdicts({"bias_mean_without_rate": [FINAL]}, n_replicas=3)
    assert found["E2"] == found["E7"] == UNRESOLVED


def test_equal_costs_are_seldom_called_different(monkeypatch):
    """The null: a printed formula whose cost is the derived one's but for noise that leaves 5 % in doubt."""
    cheaper(monkeypatch)
    rng = np.random.default_rng(0)
    arms = {
        r: (FINAL * np.exp(0.1 * rng.normal(size=10)), FINAL * np.exp(0.1 * rng.normal(size=10))) for r in range(40)
    }
    bare = evidence(trained(DERIVED, FINAL))
    wrong = sum(study.equal(bare.compare({r: arm}, margin=study.MARGIN)[r]) is REFUTED for r, arm in arms.items())
    assert wrong <= 6  # P(more | rate .05) < .01


@pytest.mark.parametrize(("step", "caught"), [(0.0, False), (1e-6, True)])
def test_the_gradient_check_sees_one_wrong_coordinate(step, caught):
    network, X, Y = study.draw(np.random.default_rng(1), "tanh", "softmax_cross_entropy", 2)
    gradient = network.gradient(X, Y).flat[0] / len(X)
    gradient[7] += step * np.abs(gradient).max()
    error, kinks = study.error(network, X, Y, gradient)
    assert (error > study.GRADIENT) == caught
    assert kinks == 0


def test_a_kink_is_left_out_and_counted():
    """One example right at the kink of a hidden unit: its slopes depend on the step, and say nothing."""
    network, X, Y = study.draw(np.random.default_rng(1), "relu", "half_squared_error", 1)
    network.params.b[0][0, 0, 0] -= (X[0] @ network.params.W[0][0])[0] + network.params.b[0][0, 0, 0] - study.STEP / 3
    gradient = network.gradient(X, Y).flat[0] / len(X)
    error, kinks = study.error(network, X, Y, gradient)
    assert error <= study.GRADIENT
    assert kinks > 0


def test_the_scan_sees_a_cost_that_is_smallest_elsewhere(monkeypatch):
    tilted = LOSSES["sigmoid_cross_entropy"]._replace(costs=lambda Z, Y: np.square(Z - Y - 0.3).sum(axis=-1))
    monkeypatch.setitem(study.LOSSES, "sigmoid_cross_entropy", tilted)
    assert study._minimum(np.random.default_rng(0)).verdict is REFUTED
