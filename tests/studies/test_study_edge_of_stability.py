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


def runs(dataset, B, end, start=None, n_runs=8, spread=0.01, lost=0, last=None, later=None, unsettled=()):
    """Runs whose η λ_max goes from `start` to `end` in the first 100 updates; the first `lost` of them diverge.

    last: where the last run goes instead. From update 900 on all go on to `later`, unless that is None. unsettled:
    of the first run, the places in UPDATES at which λ_max was not found.
    """
    rng = np.random.default_rng(B)
    for seed in range(n_runs):
        part = np.clip(np.log(UPDATES) / np.log(100), 0, 1)
        first = STARTS[dataset] if start is None else start
        goal = last if last is not None and seed == n_runs - 1 else end
        goals = np.where(UPDATES > 900, goal if later is None else later, goal)
        values = (first + part * (goals - first)) * np.exp(spread * rng.normal(size=len(UPDATES)))
        values[list(unsettled) if seed == 0 else []] = np.nan
        files = {"diagnostics.csv": pd.DataFrame({"update": UPDATES, "eta_lambda_max": values})}
        final = None if seed < lost else 0.1
        yield cell(B, 0.1, dataset=dataset, n_train=N, files=files, final=final, seeds=1, seed=seed)


def judged(full=2.0, small=0.9, middle=1.4, other=None, little=None, **how):
    """other: what the second problem's η λ_max goes to at B=N, unless as on the first. little: of the runs of B=8."""
    cells = []
    for dataset, end in (("diabetes", full), ("friedman", full if other is None else other)):
        cells += [*runs(dataset, N, end, **how), *runs(dataset, 32, middle), *runs(dataset, 8, small, **(little or {}))]
    return {finding.claim: finding for finding in judge(evidence(*cells, shared=0.0, answered=False))}


def test_sharpness_that_rises_to_the_edge_and_stays_is_found_there():
    found = judged()
    assert (found["S2"].verdict, found["S3"].verdict) == (Verdict.SUPPORTED, Verdict.SUPPORTED)
    assert found["S2"].effect.estimate == pytest.approx(2, rel=0.01)
    assert set(found["S2"].along["the margin"].items()) == {(x, Verdict.SUPPORTED) for x in (0.1, 0.15, 0.2, 0.25)}
    assert {cell for row in found["S2"].rows[1:] for cell in row[4:]} == {"supported"}
    assert [len(found[claim].panels) for claim in ("S2", "S3")] == [2, 2]


def test_a_value_that_was_not_found_is_left_out():
    found = judged(unsettled=[-2], little={"unsettled": [-3]})
    assert (found["S2"].verdict, found["S3"].verdict) == (Verdict.SUPPORTED, Verdict.SUPPORTED)
    assert "nan" not in "".join(f"{own.sentence} {own.rows}" for own in found.values())


def test_a_run_whose_late_values_was_not_found_decides_nothing():
    late = np.flatnonzero(UPDATES > 180)
    found = judged(unsettled=late[:-1], little={"unsettled": late[:-1]})
    assert (found["S2"].verdict, found["S3"].verdict) == (Verdict.UNRESOLVED, Verdict.UNRESOLVED)


def test_sharpness_that_stays_where_it_started_is_at_no_edge():
    still = judged(full=0.6, other=0.9)["S2"]
    assert still.verdict is Verdict.REFUTED
    assert set(still.along["the margin"].values()) == {Verdict.REFUTED}


def test_sharpness_that_was_at_the_edge_from_the_start_did_not_rise():
    assert judged(start=2.0)["S2"].verdict is Verdict.REFUTED


def test_a_problem_that_does_not_sharpen_makes_it_conditional():
    found = judged(other=0.1)["S2"]
    assert found.verdict is Verdict.CONDITIONAL
    assert found.plain == "η λ_max rises to about 2 and stays there: on diabetes yes, on friedman no."


def test_somewhat_above_the_edge_depends_on_what_about_means():
    found = judged(full=2.35)["S2"]
    assert found.verdict is Verdict.CONDITIONAL
    no, yes = Verdict.REFUTED, Verdict.SUPPORTED
    assert found.along["the margin"] == {0.1: no, 0.15: no, 0.2: yes, 0.25: yes}


def test_small_batches_at_the_edge_too_refute_that_they_stay_below():
    assert judged(small=2.1, middle=2.1)["S3"].verdict is Verdict.REFUTED
    assert judged(middle=2.1)["S3"].verdict is Verdict.CONDITIONAL


def test_the_answer_says_how_far_below_two_small_batches_stay():
    found = judged(middle=1.83)["S3"]
    assert found.verdict is Verdict.CONDITIONAL
    assert found.plain.startswith("Below 2 in all ")
    assert found.plain.endswith("; 5 % below 2 yes; 10 % below 2 in part.")
    assert {row[1]: row[4:] for row in found.rows[1:]} == {
        "32": ("supported", "supported", "refuted"), "8": ("supported", "supported", "supported"),
    }  # fmt: skip


def test_a_run_that_diverges_is_neither_at_the_edge_nor_below_it():
    assert judged(lost=1)["S2"].verdict is Verdict.UNRESOLVED


def test_few_runs_and_wide_ones_conclude_nothing():
    assert judged(n_runs=2)["S2"].verdict is Verdict.UNRESOLVED
    assert judged(spread=0.5)["S2"].verdict is not Verdict.SUPPORTED


def test_without_a_run_at_full_batch_nothing_is_concluded():
    cells = [*runs("diabetes", 64, 1.0)]
    found = list(judge(evidence(*cells, shared=0.0, answered=False)))
    assert {own.verdict for own in found} == {Verdict.UNRESOLVED}


def test_where_a_run_at_a_small_batch_begins_says_nothing_of_where_it_stays():
    assert judged(little={"start": 2.6})["S3"].verdict is Verdict.SUPPORTED


def test_one_run_of_six_that_passes_two_is_no_run_below_it():
    """Peaks of 1, 1, 1, 1, 1 and 2.4: their mean is below 2, with its whole interval."""
    found = judged(small=1.0, little={"last": 2.4, "n_runs": 6, "spread": 0.0})["S3"]
    assert found.verdict is Verdict.CONDITIONAL
    passing = {(row[1], row[2]) for row in found.rows[1:]}
    assert passing == {("8", "1 of 6"), ("32", "0 of 8")}
    assert "2 of 28 runs have η λ_max of 2 or more" in found.sentence


def test_five_runs_below_two_are_too_few_for_that():
    found = judged(little={"n_runs": 5})["S3"]
    assert found.verdict is Verdict.UNRESOLVED
    assert "Fewer than six runs of a setting say nothing." in found.sentence


def test_a_level_that_is_left_again_depends_on_the_part_that_is_read():
    found = judged(later=0.5)["S2"]
    assert found.verdict is Verdict.CONDITIONAL
    after, ends = (own for words, own in found.along.items() if words.startswith("the part"))
    assert after == dict.fromkeys([0.1, 0.25, 0.5], Verdict.REFUTED)
    assert ends[0.5] is not Verdict.REFUTED
    assert list(ends) == [0.5, 0.75, 1.0]


def test_a_peak_on_the_way_is_told():
    assert all(row[3].startswith("2.0") for row in judged()["S2"].rows[1:])


def test_a_wide_band_is_no_reason_for_a_start_in_it():
    """1.7 is within 20 % of 2: where the band is wide, too, a run from 1.7 to 2 has risen."""
    assert judged(start=1.7)["S2"].verdict is Verdict.SUPPORTED


def test_a_small_batch_at_which_a_run_diverges_is_said_and_concludes_nothing():
    found = judged(little={"lost": 1})["S3"]
    assert found.verdict is Verdict.UNRESOLVED
    assert ("diabetes, η=0.1", "8", "a run diverged", "not known") in [row[:4] for row in found.rows]
    assert "4 settings, not known in 2, where a run diverged" in found.sentence
