"""The judge of adam_batch on sweeps made by hand: decays, plain descent, and curves that are one or are not."""

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from synthetic import cell, evidence

from experiments import adam_batch as study
from harness.analysis.study import judged
from harness.inference import Verdict
from harness.runs import studies

pytestmark = pytest.mark.slow  # sweeps made by hand, answered many times

SUPPORTED, REFUTED, CONDITIONAL, UNRESOLVED = Verdict
GRIDS = yaml.safe_load(Path(study.__file__).with_suffix(".yaml").read_text(encoding="utf8"))["study"]["grids"]


def adam(beta2: float, beta1: float = 0.9, **more: Any) -> dict[str, Any]:
    return {"optimizer.name": "adam", "optimizer.beta1": beta1, "optimizer.beta2": beta2, **more}


def at_rates(B: int, final: float | None, best: int = 1, noise: float = 0.005, **params: Any) -> list[dict[str, Any]]:
    """Three rates by factors of two, of which one is the best."""
    finals = [0.2, 0.2, 0.2] if final else [None] * 3
    finals[best] = final
    return [cell(B, 0.01 * 2**i, final=own, noise=noise, **params) for i, own in enumerate(finals)]


# A2


def decays(costs: dict[float, float | None], n_replicas: int = 12, **more: Any) -> study.Finding:
    """base β2 -> cost with its half-life fixed, at B=1 and 8, where that with β2 fixed is 0.1."""
    made: list[dict[str, Any]] = []
    for (base, cost), B in product(costs.items(), (1, 8)):
        made += at_rates(B, 0.1, **adam(base), **more)
        made += at_rates(B, cost, **adam(base ** (B / 64)), **more)
    return study.half_life(study.best_arms(own := evidence(*made, n_replicas=n_replicas, answered=False), own.cells))


def test_a_fixed_half_life_that_helps_is_found():
    assert decays({0.95: 0.08, 0.999: 0.08}).verdict is SUPPORTED


@pytest.mark.parametrize("cost", [0.1, 0.12], ids=["the same", "worse"])
def test_a_fixed_half_life_that_does_not_help_refutes(cost):
    """The null: equal costs are no reason to change β2."""
    assert decays({0.95: cost, 0.999: cost}).verdict is REFUTED


def test_a_half_life_that_helps_from_one_decay_only_is_conditional_on_it():
    found = decays({0.95: 0.08, 0.999: 0.1})
    assert found.verdict is CONDITIONAL
    assert found.along["β2 at B=64 (lower is by more than 5 %)"] == {0.95: SUPPORTED, 0.999: REFUTED}
    assert found.plain == "By more than 5 %: for β2 = 0.95 everywhere yes; for β2 = 0.999 everywhere no."
    assert [row[:3] for row in found.rows[1:]] == [(b, "digits", B) for b in ("0.95", "0.999") for B in ("1", "8")]


def test_a_half_life_that_makes_it_worse_is_said_to():
    assert decays({0.95: 0.08, 0.999: 0.12}).plain.endswith(
        "; for β2 = 0.999 everywhere no (on digits by more than 5 % higher)."
    )


def test_a_decided_claim_keeps_its_own_answer():
    assert decays({0.95: 0.08, 0.999: 0.08}).plain == plain(1.5).plain == ""


@pytest.mark.parametrize("more", [{"n_replicas": 2}, {"best": 2}, {"noise": 0.3}], ids=["few", "edge", "noise"])
def test_too_few_replicas_an_edge_and_noise_leave_it_open(more):
    assert decays({0.95: 0.09, 0.999: 0.08}, **more).verdict is UNRESOLVED


def test_replicas_that_diverge_are_not_left_out():
    """Half of the replicas of the better arm are lost: what is left would support it."""
    arm, fixed = np.array([0.05] * 6 + [np.inf] * 6), np.full(12, 0.1)
    arms = {
        ("digits", 1.0, "adam", beta2): study.Arm(costs, "")
        for beta2, costs in ((0.95 ** (1 / 64), arm), (0.95, fixed))
    }
    assert study.half_life(arms).verdict is not SUPPORTED


def test_the_half_life_in_examples_is_that_of_the_reference():
    for B in (1, 8, 64):
        examples = B * np.log(0.5) / np.log(study.beta2_at(B, 0.95, study.HALF_LIFE))
        assert examples == pytest.approx(64 * np.log(0.5) / np.log(0.95))
        assert study.beta2_at(B, 0.95, study.FIXED) == 0.95


# A3


def plain(ratio: float | None, noise: float = 0.005) -> study.Finding:
    """Plain descent over Adam at B=1, with either β2; at B=64 it costs twice as much."""
    made = [*at_rates(64, 0.2), *at_rates(64, 0.1, **adam(0.999))]
    made += at_rates(1, 0.1 * ratio if ratio else None, noise=noise)
    for beta2 in (0.999, 0.999 ** (1 / 64)):
        made += at_rates(1, 0.1, noise=noise, **adam(beta2))
    own = evidence(*made, n_replicas=12, answered=False)
    return study.plain_descent(own, study.best_arms(own, own.cells), own.cells)


@pytest.mark.parametrize(
    ("ratio", "verdict"), [(0.8, SUPPORTED), (1.0, SUPPORTED), (1.5, REFUTED), (1.13, CONDITIONAL), (None, UNRESOLVED)]
)
def test_plain_descent_is_as_good_or_is_not(ratio, verdict):
    found = plain(ratio)
    assert found.verdict is verdict
    assert "nan" not in found.sentence


def test_the_table_has_a_verdict_where_the_claim_is_judged():
    assert [row[1] for row in plain(1.13).rows[1:]] == ["1", "1", "64"]
    assert [row[4:] for row in plain(1.13).rows[2:]] == [(REFUTED, REFUTED, SUPPORTED), ("", "", "")]


def test_the_margins_within_which_plain_descent_is_as_good_are_named():
    assert plain(1.13).plain == "At B = 1, on digits within 20 % yes, within 5 % and 10 % no."


def test_wide_intervals_do_not_make_plain_descent_as_good():
    assert plain(1.0, noise=0.4).verdict is UNRESOLVED


# A4


def curve(rates: dict[int, float], powers: dict[int, float], scaled: bool = True) -> list[dict[str, Any]]:
    """The base and cells at the rates, whose cost falls as examples^−power; 1 is the power of the base."""

    def fall(power: float) -> Any:
        examples = np.unique(np.geomspace(1, 8192, 40).round())
        about = {"epoch": examples / 1024, "examples": examples, "train_seconds": examples, "validation_cost": 1.0}
        ends = [""] * (len(examples) - 1) + ["completed"]
        return lambda factor: pd.DataFrame(
            {
                "update": examples,
                "train_cost": factor * examples**-power,
                "validation_accuracy": 0.9,
                "outcome": ends,
                **about,
            }
        )

    made = [cell(16, 0.01, history=fall(1), last_batch="drop", noise=0.01, **adam(0.999))]
    for B, rate in rates.items():
        decays = (1 - 0.001 * B / 16, 1 - 0.1 * B / 16) if scaled else (0.999, 0.9)
        made.append(cell(B, rate, history=fall(powers[B]), last_batch="drop", noise=0.01, **adam(*decays)))
    return made


def curves_verdict(claim: str, *made: dict[str, Any], n_replicas: int = 10) -> study.Finding:
    own = evidence(*made, n_replicas=n_replicas, answered=False)
    return study.one_curve(own, claim, study.curves_of(own, own.cells))


RATES = {"A4": {4: 0.005, 64: 0.02}, "A4.linear": {4: 0.0025, 64: 0.04}, "A4.betas": {4: 0.005, 64: 0.02}}


@pytest.mark.parametrize("claim", study.RULES)
@pytest.mark.parametrize(
    ("powers", "verdict"),
    [({4: 1, 64: 1}, SUPPORTED), ({4: 1.1, 64: 0.9}, REFUTED), ({4: 1, 64: 0.9}, CONDITIONAL)],
    ids=["one", "apart", "one at small batches"],
)
def test_curves_that_are_one_are_told_from_others(claim, powers, verdict):
    found = curves_verdict(claim, *curve(RATES[claim], powers, scaled=claim != "A4.betas"))
    assert found.verdict is verdict
    assert [row[2] for row in found.rows[1:]] == ["4", "64"]


def test_the_batch_sizes_at_which_a_curve_stays_are_named():
    found = curves_verdict("A4", *curve(RATES["A4"], {4: 1, 64: 0.9}))
    assert found.plain == (
        "Within 20 % on digits at B = 4 yes, on digits at B = 64 no; within 5 % on digits at B = 4 "
        "(no in 1 of 2 settings)."
    )


def test_a_curve_that_only_ends_at_the_same_cost_is_not_one():
    """Half as good at an eighth of the run, the same at its end."""
    own = evidence(*curve(RATES["A4"], {4: 1, 64: 1}), n_replicas=10, answered=False)
    curves = study.curves_of(own, own.cells)["A4"]
    same = curves[0].ratios[-1]
    apart = study.Interval(2.0, 1.9, 2.1)
    assert study.Curve("digits", 0.01, 64, "", "", (same, same), 10).one(0.1) is SUPPORTED
    assert study.Curve("digits", 0.01, 64, "", "", (apart, same), 10).one(0.1) is REFUTED


def test_three_noisy_replicas_decide_nothing_about_curves():
    assert curves_verdict("A4", *curve(RATES["A4"], {4: 1.02, 64: 0.98}), n_replicas=2).verdict is UNRESOLVED


def test_cells_of_another_rule_are_not_taken_for_the_full_one():
    """The rates of √κ with the decays of the base; and the linear rate."""
    unscaled, linear = curve(RATES["A4"], {4: 1, 64: 1}, scaled=False), curve(RATES["A4.linear"], {4: 1, 64: 1})
    assert curves_verdict("A4", *unscaled).verdict is UNRESOLVED
    assert curves_verdict("A4", *linear).verdict is UNRESOLVED


# The grids


def cells_of_the_grids() -> list[dict[str, Any]]:
    found = []
    for grid in GRIDS:
        lists = {
            key: str(value).split(",")
            for key, value in grid.items()
            if key in ("dataset", "learning_rate", "optimizer.beta2")
        }
        for values in product(*lists.values()):
            own = {
                "optimizer": "adam",
                "optimizer.beta1": 0.9,
                "optimizer.beta2": 0.999,
                "optimizer.epsilon": 1e-8,
                **grid,
            }
            found.append(own | dict(zip(lists, values, strict=True)))
    return found


def test_the_grid_has_the_decays_that_the_rules_ask_for():
    cells = [own for own in cells_of_the_grids() if own["optimizer"] == "adam"]
    tuned = {(own["batch_size"], float(own["optimizer.beta2"])) for own in cells if own.get("last_batch") != "drop"}
    for B, base, rule in product((1, 8), study.BASES, (study.HALF_LIFE, study.FIXED)):
        wanted = study.beta2_at(B, base, rule)
        assert any(size == B and study._alike(beta2, wanted) for size, beta2 in tuned)


def test_the_grid_has_every_cell_that_a_rule_leads_to():
    cells = [own for own in cells_of_the_grids() if own["optimizer"] == "adam" and own.get("last_batch") == "drop"]
    for (power, scaled), base, B in product(study.RULES.values(), (0.0025, 0.01), (1, 4, 64)):
        kappa = B / study.BASE
        rate = base * kappa**power
        own = [c for c in cells if c["batch_size"] == B and np.isclose(float(c["learning_rate"]), rate)]
        own = [c for c in own if study.is_scaled(pd.Series(c)) == scaled]
        assert len({c["dataset"] for c in own}) == 2
        assert all(np.isclose(float(c["optimizer.epsilon"]), 1e-8 / np.sqrt(kappa) if scaled else 1e-8) for c in own)


def test_without_its_cells_every_claim_is_unresolved():
    found = judged(studies.definition("adam_batch"), study.judge, evidence(cell(64, **adam(0.999))))
    assert {finding.verdict for finding in found} == {UNRESOLVED}
    assert not any("nan" in finding.sentence for finding in found)
