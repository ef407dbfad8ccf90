"""The judge of edge_of_stability on sharpness that is known, and on sharpness that does not move."""

import numpy as np
import pandas as pd
import pytest
from synthetic import cell, evidence

from harness.analysis.study import judge_of
from harness.inference.verdicts import Verdict
from harness.runs.studies import EXPERIMENTS

pytestmark = pytest.mark.slow  # sweeps made by hand, answered many times

judge = judge_of("edge_of_stability", EXPERIMENTS)

N, UPDATES = 256, np.unique(np.geomspace(1, 2000, 34).round())
STARTS = {"diabetes": 0.6, "friedman": 0.9}


def runs(dataset, B, end, start=None, n_runs=8, spread=0.01, lost=0):
    """Runs whose η λ_max goes from `start` to `end` in the first 100 updates; the first `lost` of them diverge."""
    rng = np.random.default_rng(B)
    for seed in range(n_runs):
        part = np.clip(np.log(UPDATES) / np.log(100), 0, 1)
        first = STARTS[dataset] if start is None else start
        values = (first + part * (end - first)) * np.exp(spread * rng.normal(size=len(UPDATES)))
        files = {"diagnostics.csv": pd.DataFrame({"update": UPDATES, "eta_lambda_max": values})}
        final = None if seed < lost else 0.1
        yield cell(B, 0.1, dataset=dataset, n_train=N, files=files, final=final, seeds=1, seed=seed)


def judged(full=2.0, small=0.9, middle=1.4, other=None, **how):
    """other: what the second problem's η λ_max goes to at B=N, unless as on the first."""
    cells = []
    for dataset, end in (("diabetes", full), ("friedman", full if other is None else other)):
        cells += [*runs(dataset, N, end, **how), *runs(dataset, 32, middle), *runs(dataset, 8, small)]
    return {finding.claim: finding for finding in judge(evidence(*cells, shared=0.0, answered=False))}


def test_sharpness_that_rises_to_the_edge_and_stays_is_found_there():
    found = judged()
    assert (found["S2"].verdict, found["S3"].verdict) == (Verdict.SUPPORTED, Verdict.SUPPORTED)
    assert found["S2"].effect.estimate == pytest.approx(2, rel=0.01)
    assert "by a margin of 0.1 to 0.25 supported" in found["S2"].sentence
    assert [len(found[claim].panels) for claim in ("S2", "S3")] == [2, 2]


def test_sharpness_that_stays_where_it_started_is_at_no_edge():
    still = judged(full=0.6, other=0.9)["S2"]
    assert still.verdict is Verdict.REFUTED
    assert "0.1 to 0.25 refuted" in still.sentence


def test_sharpness_that_was_at_the_edge_from_the_start_did_not_rise():
    assert judged(start=2.0)["S2"].verdict is Verdict.REFUTED


def test_a_problem_that_does_not_sharpen_makes_it_conditional():
    assert judged(other=0.1)["S2"].verdict is Verdict.CONDITIONAL


def test_somewhat_above_the_edge_depends_on_what_about_means():
    found = judged(full=2.35)["S2"]
    assert found.verdict is Verdict.CONDITIONAL
    assert "0.1 to 0.15 refuted; 0.2 to 0.25 supported" in found.sentence


def test_small_batches_at_the_edge_too_refute_that_they_stay_below():
    assert judged(small=2.1, middle=2.1)["S3"].verdict is Verdict.REFUTED
    assert judged(middle=2.1)["S3"].verdict is Verdict.CONDITIONAL


def test_a_run_that_diverges_is_neither_at_the_edge_nor_below_it():
    assert judged(lost=1)["S2"].verdict is Verdict.UNRESOLVED


def test_few_runs_and_wide_ones_conclude_nothing():
    assert judged(n_runs=2)["S2"].verdict is Verdict.UNRESOLVED
    assert judged(spread=0.5)["S2"].verdict is not Verdict.SUPPORTED


def test_without_a_run_at_full_batch_nothing_is_concluded():
    cells = [*runs("diabetes", 64, 1.0)]
    found = list(judge(evidence(*cells, shared=0.0, answered=False)))
    assert {own.verdict for own in found} == {Verdict.UNRESOLVED}
