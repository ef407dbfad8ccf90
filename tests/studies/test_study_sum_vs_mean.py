"""The judge of sum_vs_mean: on pairs of cells whose distance is known, and on small cells that were really trained."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from synthetic import Files, cell, evidence

from experiments import sum_vs_mean as study
from harness.analysis.study import judged
from harness.inference.verdicts import Verdict
from harness.runs import studies
from tests.training.test_cell import run

pytestmark = pytest.mark.slow  # sweeps made by hand, answered many times

REFUTED, SUPPORTED, UNRESOLVED = Verdict.REFUTED, Verdict.SUPPORTED, Verdict.UNRESOLVED
RATE, KNOB = 0.05, {"optimizer.weight_decay": 0.05, "optimizer.clip_norm": 0.2, "optimizer.epsilon": 1e-8}
WEIGHTS = np.random.default_rng(0).normal(size=(3, 40))
PERCENTS, CLEARLY = 0.02, 0.3


def distance(case: study.Case) -> float:
    """What mathematics says of a case."""
    if case in study.KEPT:
        return PERCENTS
    if case in (study.DECAYED[0], study.CLIPPED[0], *study.DIVIDED, *study.NOT_SCALED):
        return CLEARLY
    if case in (*study.OTHER_B, *study.LOOPED, *study.UNCHANGED):
        return 1e-14
    return 1e-6 if case in study.SINGLE else 0.0


def arm(case: study.Case, reduction: str, gap: float, dataset: str) -> dict[str, Any]:
    """One of the two cells of a case; the sum's weights are off by the gap in every replica."""
    B, scaled = case.where["batch_size"], case.scaled if reduction == "sum" else ()
    used = {key: KNOB[key] for key, value in case.where.items() if value is True}
    if case.where["optimizer.name"] in study.ADAPTIVE:
        used[study.EPSILON] = KNOB[study.EPSILON]
    knobs = {key: str(value * (B if key in scaled else 1)) for key, value in used.items()}
    params = {key: str(value) for key, value in case.where.items() if key not in study.KNOBS and key != "batch_size"}
    engine = case.engine if reduction == "sum" else "vectorized"
    costs = pd.DataFrame({"update": [1.0, 2.0], "gradient_norm": [0.5, 0.4]})
    return cell(
        B,
        RATE / B if "rate" in scaled else RATE,
        reduction,
        dataset,
        noise=0.0,
        files={"weights.npz": WEIGHTS * (1 + gap), "diagnostics.csv": costs},
        **{"engine": engine, **params, **knobs},
    )


def cells(gap: Any = distance) -> list[dict[str, Any]]:
    """Every case, each cell once; all on two datasets would say no more."""
    made: dict[Any, dict[str, Any]] = {}
    for case in study.LIST:
        for reduction in ("mean", "sum"):
            own = arm(case, reduction, gap(case) if reduction == "sum" else 0.0, "digits")
            made.setdefault((reduction, own["batch_size"], own["learning_rate"], str(own["params"])), own)
    return list(made.values())


@pytest.fixture(scope="module")
def whole_list() -> Files:
    return evidence(*cells(), n_replicas=3)


@pytest.fixture
def verdicts(whole_list: Files) -> Any:
    """Claim -> verdict, when the sums are as far from the means as gap(case) says."""

    def found(gap: Any = distance) -> dict[str, Verdict]:
        names = whole_list.cells["cell"]
        whole_list.files.update({name: own["files"] for name, own in zip(names, cells(gap), strict=True)})
        return said_by(whole_list)

    return found


def said_by(own: Files) -> dict[str, Verdict]:
    found = judged(studies.definition("sum_vs_mean"), study.judge, own)
    assert not any("nan" in finding.sentence for finding in found)
    assert max(len(finding.sentence) for finding in found) <= 400
    return {finding.claim: finding.verdict for finding in found}


def test_what_mathematics_says_is_found(verdicts):
    expected = dict.fromkeys(studies.definition("sum_vs_mean").claims, SUPPORTED)
    expected |= {"C2": Verdict.CONDITIONAL, "C20": REFUTED}
    assert verdicts() == expected


def test_the_plain_answer_names_the_settings_that_the_runs_tell_apart(verdicts, whole_list):
    verdicts()
    found = {case.name: study.residuals(whole_list, case) for case in study.LIST}
    finding = study._doesnt_matter(found, 3)
    same, rounding, another = finding.plain.split("; ")
    assert same == "Once the rate of the sum is divided by B: the same bits with B=64"
    assert rounding == "the same up to rounding with B=50 and single precision"
    assert another == "another training with a short last batch, weight decay, clipping and adaptive rules."
    assert len(finding.plain) <= 220
    assert finding.sentence.endswith("sum at η/B: at most 1.0e-06 in 3 of 7 settings; 0.02 to 0.3 in 4 of 7 settings.")
    head, *rows = finding.rows
    assert head == ("sum with", "from mean at η, digits", "one training")
    assert ("sgd, B=64: η/B", "0", "to the bit") in rows
    assert ("sgd in single precision, B=50: η/B", "1e-06", "up to rounding") in rows
    assert ("weight decay λ: η/B, λ", "0.3", "no") in rows
    assert len(rows) == len(study.LIST)
    equal = {name: {"digits": np.zeros(3)} for name in found}
    assert study._doesnt_matter(equal, 3).plain == ""


def test_the_plain_answer_names_settings_that_are_another_training_in_part_or_not_measured(verdicts, whole_list):
    adam, _ = study.DIVIDED
    verdicts(lambda case: 0.0 if case == adam else distance(case))
    found = {case.name: study.residuals(whole_list, case) for case in study.LIST}
    found[study.CLIPPED[0].name] = {}
    *_, another, part, unknown = study._doesnt_matter(found, 3).plain.split("; ")
    assert another == "another training with a short last batch and weight decay"
    assert (part, unknown) == ("in part another with adaptive rules", "not measured with clipping.")


def test_a_table_has_the_rows_of_its_claim(verdicts, whole_list):
    verdicts()
    found = {case.name: study.residuals(whole_list, case) for case in study.LIST}
    assert study._numbers(found, study.CLIPPED)[1:] == [
        ("clipping at c: η/B, c", "0.3", "no"), ("clipping at c: η/B, cB", "0", "to the bit"),
    ]  # fmt: skip
    assert study._numbers({case: {} for case in found}) == []


def test_were_it_all_one_training_the_warnings_would_be_refuted(verdicts):
    found = verdicts(lambda case: 0.0)
    assert {claim for claim, verdict in found.items() if verdict is REFUTED} == {
        "C2.ragged", "C2.decay", "C2.clip", "C2.adaptive",
    }  # fmt: skip
    assert found["C2"] == found["C20"] == SUPPORTED


@pytest.mark.parametrize(
    "wrong",
    [
        {"C2.power": (study.POWER, 1e-15), "C2.rounding": (study.OTHER_B, 1e-9), "C1": (study.LOOPED, 1e-9),
         "C2.ragged": (study.KEPT, 1e-5), "C2.decay": (study.DECAYED[1:], 1e-12), "C2.adaptive": (study.SCALED, 1e-12)},
        {"C2.rounding": (study.SINGLE, 1e-3), "C2.ragged": (study.KEPT, 3.0), "C2.clip": (study.CLIPPED[:1], 1e-3)},
    ],
    ids=["a little", "much"],
)  # fmt: skip
def test_a_residual_on_the_wrong_side_of_its_bound_refutes(verdicts, wrong):
    gaps = {case.name: gap for cases, gap in wrong.values() for case in cases}
    found = verdicts(lambda case: gaps.get(case.name, distance(case)))
    assert {claim: found[claim] for claim in wrong} == dict.fromkeys(wrong, REFUTED)


def test_between_rounding_and_what_is_visible_nothing_is_concluded(verdicts):
    assert verdicts(lambda case: 1e-4 if case in study.NOT_SCALED else distance(case))["C20"] is UNRESOLVED


def test_without_pairs_nothing_is_concluded():
    alone = cell(64, RATE, last_batch="drop", dtype="float64", files={"weights.npz": WEIGHTS})
    found = said_by(evidence(alone, n_replicas=3))
    assert set(found.values()) == {UNRESOLVED}


def test_a_diverged_replica_is_as_far_as_can_be_unless_both_have_the_same_bits():
    one = np.array([[1.0, 2.0], [np.nan, np.inf], [np.nan, 1.0]])
    other = np.array([[1.0, 2.0], [np.nan, np.inf], [2.0, 1.0]])
    assert study.relative(one, other).tolist() == [0.0, 0.0, np.inf]


def trained(name: str = "sgd", **changes: Any) -> dict[str, Any]:
    """A cell of 54 examples that was really trained, as the judge sees it."""
    own = {"batch_size": 8, "last_batch": "drop", "learning_rate": 0.1, "reduction": "mean", **changes}
    _, weights = run(optimizer_name=name, seeds=3, **own)
    knobs = {f"optimizer.{key.removeprefix('optimizer_')}": str(v) for key, v in own.items() if "optimizer_" in key}
    alike = {"optimizer.name": name, "dtype": "float64", "engine": "vectorized", "last_batch": own["last_batch"]}
    files = {"weights.npz": weights}
    return cell(8, own["learning_rate"], own["reduction"], "three", files=files, **alike, **knobs)


def pair(name: str = "sgd", rate: float = 0.1 / 8, also: dict[str, float] | None = None, **changes: Any) -> Any:
    """Mean and sum of small cells, and how far apart the judge finds them."""
    case = study.Case("", {"optimizer.name": name}, ("rate",) if rate != 0.1 else ())
    made = [trained(name, **changes), trained(name, learning_rate=rate, reduction="sum", **changes | (also or {}))]
    keys = [f"optimizer.{key.removeprefix('optimizer_')}" for key in also or {}]
    case = case._replace(scaled=(*case.scaled, *keys))
    return study.residuals(evidence(*made, n_replicas=3), case)["three"]


def test_small_cells_confirm_the_list():
    """54 = 6 × 8 + 6: bits with the short batch dropped, percents with it, rescaled knobs, epsilon."""
    assert (pair() == 0).all()
    kept = pair(last_batch="keep")
    assert ((kept > 1e-3) & (kept < 1)).all()
    assert (pair(optimizer_weight_decay=0.5) > 1e-2).all()
    assert (pair(optimizer_weight_decay=0.5, also={"optimizer_weight_decay": 4.0}) == 0).all()
    adam = {"optimizer_beta1": 0.9, "optimizer_beta2": 0.999, "optimizer_epsilon": 1e-3}
    assert (pair("adam", 0.1, {"optimizer_epsilon": 8e-3}, **adam) == 0).all()
    assert (pair("adam", 0.1 / 8, {"optimizer_epsilon": 8e-3}, **adam) > 1e-2).all()
