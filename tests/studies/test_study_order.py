"""The study `order`: its law against simulation, its judge on sweeps where shuffling matters or not."""

import numpy as np
import pandas as pd
import pytest
import synthetic
import yaml
from scipy import stats

from harness.analysis.study import judge_of
from harness.data.blocks import make_blocks
from harness.inference.intervals import mean_interval
from harness.inference.verdicts import Verdict, inside
from harness.runs.studies import EXPERIMENTS

pytestmark = pytest.mark.slow  # sweeps made by hand, answered many times

judge = judge_of("order", EXPERIMENTS)
inflation, apart, shuffled, independent, LAWS, KEPT, CORRELATION = (
    judge.__globals__[name] for name in ("inflation", "apart", "shuffled", "independent", "LAWS", "KEPT", "CORRELATION")
)
N = 640
RATES = {0.1: 0.3, 0.3: 0.1, 1: 0.2}  # rate -> final cost


def orders(dataset, worse=3.0, at_full=1.0, best=0.3, source=None):
    """Unshuffled and reshuffled at three rates and at B=N; worse, source: sorted, and as in the file, over reshuffled.

    source: at B=8; None: it was not trained.
    """
    cells = []
    factors = {"reshuffle": 1.0, "sorted": worse} | ({} if source is None else {"source": source})
    for order, factor in factors.items():
        for rate, final in RATES.items():
            made = final * factor if best in RATES else rate * factor
            cells.append(arm(8, rate, dataset, order, made))
        cells.append(arm(N, 1.0, dataset, order, 0.2 * (at_full if order == "sorted" else 1), noise=0.0))
    return cells


def arm(B, rate, dataset, order, final, noise=0.02, **how):
    params = {"order": order, "diagnostics": "cheap", **how}
    files = params.pop("files", None)
    return synthetic.cell(B, rate, dataset=dataset, n_train=N, final=final, noise=noise, files=files, **params)


def blocks(law=1.0, shuffled=1.0, harm=1.3, n_runs=3):
    """Diagnosed runs in both orders, and what they end at. law, shuffled: variance over the predicted one."""
    cells = []
    for B in (8, 64):
        for order, factor in (("source", law), ("reshuffle", shuffled)):
            expected = inflation(B, 64 * KEPT, CORRELATION) if order == "source" else (N - B) / (N - 1)
            for i in range(n_runs):
                rng = np.random.default_rng([B, i, len(order)])
                spread = 2.0 / B * expected * factor * rng.chisquare(30, 60) / 30
                table = pd.DataFrame({"update": np.arange(60) * 10, "variance": 2.0, "squared_distance": spread})
                files = {"diagnostics.csv": table}
                cells.append(arm(B, 0.01, "blocks64", order, 0.3, diagnostics="full", run=i, files=files))
            cells.append(arm(B, 0.3, "blocks64", order, 0.1 * (harm if order == "source" else 1)))
    return cells


def judged(rule, cells, n_replicas=8):
    evidence = synthetic.evidence(*cells, n_replicas=n_replicas, answered=False)
    return rule(evidence, evidence.cells)


def test_both_claims_are_judged_from_one_sweep():
    evidence = synthetic.evidence(*orders("digits"), *blocks(n_runs=2), n_replicas=8, answered=False)
    assert {found.claim: found.verdict for found in judge(evidence)}["C18"] == Verdict.SUPPORTED


# C18


def test_lost_replicas_count_in_the_ratio_of_an_order():
    """Survivors alone would make it 1."""
    ratio = judge.__globals__["_median_ratio"]
    cost = np.linspace(1, 2, 12)
    lost = np.where(np.arange(12) < 7, np.inf, cost)
    assert ratio(cost, cost).estimate == 1
    assert ratio(lost, cost).estimate == np.inf
    assert ratio(cost, lost).estimate == 0
    assert ratio(lost, lost).estimate == 1  # where both are lost, nothing is known
    assert ratio(np.concatenate([cost, lost]), cost).high == 1


@pytest.mark.parametrize(
    ("how", "verdict"),
    [({}, Verdict.SUPPORTED), ({"worse": 1.0}, Verdict.REFUTED), ({"at_full": 1.1}, Verdict.REFUTED)],
)
def test_shuffling(how, verdict):
    found = judged(shuffled, [*orders("digits", **how), *orders("wine", **how)])
    assert found.verdict == verdict
    assert "nan" not in found.sentence


def test_datasets_may_disagree():
    found = judged(shuffled, [*orders("digits"), *orders("wine", worse=1.0)])
    assert found.verdict == Verdict.CONDITIONAL
    assert found.plain == "At B = 8, examples sorted by label on digits yes, on wine no."


@pytest.mark.parametrize(
    ("source", "verdict"), [(2.0, Verdict.SUPPORTED), (1.0, Verdict.CONDITIONAL), (0.5, Verdict.CONDITIONAL)]
)
def test_orders_may_disagree(source, verdict):
    """Sorted examples have to be shuffled; those in the order of the file perhaps not."""
    found = judged(shuffled, [*orders("digits", source=source), *orders("wine", source=source)])
    assert found.verdict == verdict
    assert "; in the order of the file " in found.sentence
    assert found.plain == ("" if source > 1 else "At B = 8, examples sorted by label yes; in the order of the file no.")


@pytest.mark.parametrize(("half", "verdict"), [(slice(0, 8), Verdict.REFUTED), (slice(8, 16), Verdict.SUPPORTED)])
def test_replicas_that_choose_a_rate_do_not_report_it(half, verdict):
    """Reshuffled is lucky on one half of the replicas only."""
    evidence = synthetic.evidence(*orders("digits", worse=1.0), n_replicas=16, answered=False)
    for row in evidence.cells[
        evidence.cells["order"].eq("reshuffle") & evidence.cells["batch_size"].eq(8)
    ].itertuples():
        evidence.final_costs[row.cell][half] *= 0.1
    found = shuffled(evidence, evidence.cells)
    assert (found.verdict, found.replicas) == (verdict, 8)


def test_a_best_rate_on_the_edge_makes_no_claim():
    found = judged(shuffled, orders("digits", best=None))
    assert found.verdict == Verdict.UNRESOLVED
    assert "1 with a best rate on the edge of its grid" in found.sentence
    assert "low end" in found.rows[1][2]


def test_the_table_has_a_row_for_each_dataset_and_order():
    once = arm(8, 0.3, "wine", "once", 0.1)
    head, *rows = judged(shuffled, [*orders("digits"), *orders("wine"), once]).rows
    at = {row[:2]: row[2:] for row in rows}
    assert at.keys() == {("digits", "sorted by label"), ("wine", "sorted by label"), ("wine", "shuffled once")}
    assert {len(row) for row in rows} == {len(head)}
    assert at["digits", "sorted by label"][0].startswith("3 [")  # it ends three times as high
    assert at["wine", "shuffled once"][::2] == ("", "")  # at one rate only, not judged


def test_three_replicas_do_not_tell():
    found = judged(shuffled, orders("digits"), n_replicas=3)
    assert found.verdict == Verdict.UNRESOLVED


# C19


@pytest.mark.parametrize(
    ("how", "verdict"),
    [
        ({}, Verdict.SUPPORTED),
        ({"law": 2.0}, Verdict.REFUTED),
        ({"law": 1.36}, Verdict.CONDITIONAL),  # the factor that is asked for decides
        ({"shuffled": 2.0}, Verdict.REFUTED),
        ({"harm": 1.0}, Verdict.REFUTED),
        ({"n_runs": 1}, Verdict.UNRESOLVED),
    ],
)
def test_correlated_blocks(how, verdict):
    found = judged(independent, blocks(**how))
    assert found.verdict == verdict
    assert [row[0] for row in found.rows[1:3]] == ["B=8, blocks of 64, shuffled", "B=8, blocks of 64, in order"]
    assert "nan" not in found.sentence


def test_the_factors_and_batch_sizes_that_disagree_are_named():
    laws = "within a factor of 1.5 yes, within a factor of 1.2 and 1.25 no"
    assert judged(independent, blocks(law=1.36)).plain == f"Both laws {laws}; a lower cost at B = 8 and 64 yes."


@pytest.mark.parametrize(("B", "block"), [(1, 8), (4, 16), (8, 5), (32, 8)])
def test_inflation_is_that_of_a_window_laid_anywhere(B, block):
    """Pair by pair, over all places at which a window can begin."""
    pairs = [
        sum((start + i) // block == (start + j) // block for i in range(B) for j in range(B) if i != j)
        for start in range(block)
    ]
    assert inflation(B, block, 0.3) == pytest.approx(1 + 0.3 * np.mean(pairs) / B)


def test_the_law_of_blocks_is_what_a_gradient_like_function_of_them_has():
    ratios = []
    for seed in range(20):
        X, _ = make_blocks(4000, 16, CORRELATION, random_state=seed)
        rows = np.sort(np.random.default_rng(seed).permutation(4000)[: int(4000 * KEPT)])
        values = np.tanh(X[rows])
        values = values - values.mean(axis=0)
        means = values.reshape(-1, 8, values.shape[1]).mean(axis=1)
        ratios.append(np.square(means).sum(axis=1).mean() / (np.square(values).sum(axis=1).mean() / 8))
    assert np.mean(ratios) == pytest.approx(inflation(8, 16 * KEPT, CORRELATION), rel=0.03)


def test_updates_apart():
    assert np.flatnonzero(apart(np.array([1, 2, 3, 5, 8, 9, 20]), 3)).tolist() == [0, 3, 4, 6]


def test_a_true_law_is_seldom_called_broken():
    rng = np.random.default_rng(0)
    runs = rng.chisquare(3, size=(400, 12, 20)).mean(axis=-1) / 3
    law = LAWS[1]
    refuted = sum(inside(mean_interval(row), 1 / law, law) == Verdict.REFUTED for row in runs)
    off = sum(inside(mean_interval(row), 1 / law, law) == Verdict.SUPPORTED for row in law * runs)
    assert refuted == 0
    assert off <= stats.binom.ppf(0.999, 400, 0.025)


def test_the_judge_knows_the_data_of_its_grid():
    grids = yaml.safe_load((EXPERIMENTS / "order.yaml").read_text(encoding="utf8"))["study"]["grids"]
    conf = yaml.safe_load((EXPERIMENTS.parent / "conf" / "dataset" / "blocks.yaml").read_text(encoding="utf8"))
    assert conf["load"]["correlation"] == CORRELATION
    named = {grid["dataset.name"]: grid["dataset.load.block"] for grid in grids if grid["dataset"] == "blocks"}
    assert named == {"blocks8": 8, "blocks64": 64}
