"""The study `noise`: its measures against slower ones, its judge on runs whose noise is known."""

import re
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import synthetic
from scipy import stats

from harness.analysis.study import judge_of
from harness.inference.intervals import mean_interval
from harness.inference.verdicts import Verdict, inside
from harness.runs.studies import EXPERIMENTS

pytestmark = pytest.mark.slow  # sweeps made by hand, answered many times

judge = judge_of("noise", EXPERIMENTS)
noisiness, recordings, sizes, law, weighted_median = (
    judge.__globals__[name] for name in ("noisiness", "recordings", "sizes", "law", "weighted_median")
)
N, EPOCHS = 20, 25
WILD, CALM = 0.6, 1e-4  # standard deviation of log cost around a trend that falls by 4 % an epoch
DATASETS = ("iris", "wine")


def run(dataset, B, seed, batch=WILD, full=WILD, factor=1.0, far=3.0, late=None):
    """A run of replica 0. batch, full: noise of the costs. factor: of ‖g_B − G‖² over the law's. far: ‖g_1 − G‖/‖G‖.

    late: the same of the last updates, which are measured seldom.
    """
    rng = np.random.default_rng([seed, B, len(dataset)])
    per_epoch = -(-N // B)
    trend = np.exp(-0.04 * np.arange(EPOCHS + 1))
    before = np.repeat(trend[:-1], per_epoch)
    costs = before * np.exp(batch * rng.normal(size=len(before)))
    table = pd.DataFrame({"update": np.arange(len(costs)), "replica": 0, "batch_cost": costs})
    history = pd.DataFrame({"update": per_epoch * np.arange(EPOCHS + 1), "epoch": np.arange(EPOCHS + 1.0)})
    history["train_cost"] = history["validation_cost"] = trend * np.exp(full * rng.normal(size=EPOCHS + 1))
    history = history.assign(examples=0.0, train_seconds=0.0, validation_accuracy=0.9, outcome="")
    update = np.arange(1, 40)
    S = np.full(len(update), 2.0)
    squared = factor * law(S, sizes(update, N, B), N) * rng.chisquare(8, len(update)) / 8
    diagnosed = pd.DataFrame({"update": update, "variance": S, "squared_distance": squared, "cosine": 0.3})
    diagnosed["squared_norm"] = 2.0 / far**2
    if late is not None:
        diagnosed.loc[diagnosed["update"] > 30, "squared_norm"] = 2.0 / late**2
        diagnosed.loc[diagnosed["update"] > 30, "update"] *= 100  # far apart, so each stands for many
    files = {"batch_costs.csv": table, "diagnostics.csv": diagnosed}
    return synthetic.cell(B, dataset=dataset, seed=seed, n_train=N, history=history, files=files)


def runs(n_seeds=6, datasets=DATASETS, **how):
    return [
        run(name, B, seed, **how)
        for name in datasets
        for B in (1, 8)[: 1 + (name == "wine")]
        for seed in range(n_seeds)
    ]


def judged(*cells):
    return {found.claim: found for found in judge(synthetic.evidence(*cells, n_replicas=1, answered=False))}


# The measures


def test_a_curve_that_falls_smoothly_is_not_noisy():
    look = noisiness(3 / np.arange(1, 30) ** 0.7)
    assert look.ups == 0
    assert look.jitter < 1e-9


def test_noise_without_a_trend_goes_up_every_other_time():
    noise = 0.1 * np.random.default_rng(0).normal(size=4000)
    look = noisiness(np.exp(noise))
    assert look.ups == pytest.approx(0.5, abs=0.02)
    assert look.von_neumann == pytest.approx(2, abs=0.1)
    assert look.jitter == pytest.approx(0.1 * np.sqrt(2), rel=0.05)


def test_a_wave_is_smoother_than_noise():
    assert noisiness(np.exp(np.sin(np.linspace(0, 12, 400)))).von_neumann < 0.01


def test_the_unit_of_the_cost_does_not_matter():
    curve = np.exp(np.random.default_rng(1).normal(size=20))
    np.testing.assert_allclose([*vars(noisiness(curve)).values()], [*vars(noisiness(1000 * curve)).values()], rtol=1e-9)


@pytest.mark.parametrize("curve", [[3, 2, 1], [1, 2, np.inf, 3, 4, 5], [1, 1, 0, 1, 1, 1]])
def test_too_short_or_diverged_curves_have_no_noisiness(curve):
    assert np.isnan(noisiness(curve).ups)


def test_three_recordings_of_two_epochs():
    batches = pd.DataFrame({"update": range(7), "batch_cost": [1.0, 2.0, 6.0, 4.0, 5.0, 9.0, 0.5]})
    history = pd.DataFrame({"update": [0, 1, 3, 6, 7], "train_cost": [8.0, 7.0, 5.0, 2.0, 1.0]})
    found = recordings(batches, history, per_epoch=3)
    assert [values.tolist() for values in found.values()] == [[6, 9], [3, 6], [5, 2]]


def test_averages_are_refused_where_batches_are_missing():
    history = pd.DataFrame({"update": [0, 3, 6], "train_cost": [8.0, 5.0, 2.0]})
    with pytest.raises(ValueError, match="diagnostics=full"):
        recordings(pd.DataFrame({"update": range(5), "batch_cost": 1.0}), history, per_epoch=3)


def test_the_last_batch_of_an_epoch_may_be_short():
    assert sizes(np.arange(1, 7), n_train=10, batch_size=4).tolist() == [4, 4, 2, 4, 4, 2]
    assert sizes([1, 2], n_train=10, batch_size=10).tolist() == [10, 10]
    assert sizes([1, 2, 3], n_train=10, batch_size=4, last_batch="drop").tolist() == [4, 4, 4]


@pytest.mark.parametrize("B", [1, 2, 3, 6])
def test_the_law_is_the_mean_over_all_batches_there_are(B):
    gradients = np.random.default_rng(2).normal(size=(6, 3))
    G = gradients.mean(axis=0)
    S = np.square(gradients - G).sum(axis=1).mean()
    distances = [np.square(gradients[list(rows)].mean(axis=0) - G).sum() for rows in combinations(range(6), B)]
    assert np.mean(distances) == pytest.approx(law(S, B, 6), abs=1e-12)


# C11


@pytest.mark.parametrize(
    ("noise", "verdict"),
    [
        ({}, Verdict.SUPPORTED),
        ({"batch": CALM, "full": CALM}, Verdict.REFUTED),
        ({"full": CALM}, Verdict.CONDITIONAL),  # the recording decides
        ({"batch": 0.04, "full": 0.04}, Verdict.CONDITIONAL),  # some epochs end higher: the limit decides
    ],
)
def test_a_noisy_curve(noise, verdict):
    found = judged(*runs(**noise))["C11"]
    assert found.verdict == verdict
    assert "nan" not in found.sentence
    assert "with a limit of 0.05" in found.sentence


def test_datasets_may_disagree():
    cells = [*runs(datasets=["iris"]), *runs(datasets=["wine"], batch=CALM, full=CALM)]
    assert judged(*cells)["C11"].verdict == Verdict.CONDITIONAL


def test_two_runs_tell_nothing():
    found = judged(*runs(2, datasets=["iris"]))
    assert {finding.verdict for finding in found.values()} == {Verdict.UNRESOLVED}
    assert not any("nan" in finding.sentence for finding in found.values())


def test_a_run_at_full_batch_is_compared():
    found = judged(*runs(), *(run("iris", N, seed, full=CALM) for seed in range(3)))
    assert "At B=N the training set's cost has 0." in found["C11"].sentence
    assert len(found["C11"].panels) == 3


# C12


@pytest.mark.parametrize(
    ("how", "verdict"),
    [
        ({}, Verdict.SUPPORTED),
        ({"factor": 2.0}, Verdict.REFUTED),
        ({"factor": 1.4}, Verdict.CONDITIONAL),  # the factor within which the law is asked to hold decides
        ({"factor": 1.07}, Verdict.SUPPORTED),  # within every factor, though surely not 1: a point, which no law meets
        ({"far": 0.3}, Verdict.REFUTED),
        ({"far": 1.25}, Verdict.CONDITIONAL),  # where far begins decides
        ({"far": 3.0, "late": 0.3}, Verdict.CONDITIONAL),  # which updates count decides
    ],
)
def test_one_gradient(how, verdict):
    assert judged(*runs(**how))["C12"].verdict == verdict


def test_a_distance_is_told_over_measured_updates_and_over_all():
    found = judged(*runs(far=3.0, late=0.3))["C12"].sentence
    assert re.search(r"iris [23]\.\d+ \[.*?\] and 0\.[23]\d* \[", found)


def test_a_weighted_median_is_that_of_repeated_values():
    values, weights = [3.0, 1.0, 2.0, 8.0], [1, 4, 1, 5]
    assert weighted_median(values, weights) == np.median(np.repeat(values, weights))
    assert weighted_median(values, np.ones(4)) == 2


def test_a_true_law_is_never_denied_and_one_that_is_off_by_the_factor_seldom_holds():
    """The intervals of two datasets together miss in 5 % of the studies; runs of 40 updates, 8 degrees of freedom."""
    rng = np.random.default_rng(3)
    ratios = rng.chisquare(8, size=(400, 2, 8, 40)).mean(axis=-1) / 8
    held = [[inside(mean_interval(row, 0.975), 1 / 1.25, 1.25) for row in rows] for rows in ratios]
    assert not any(Verdict.REFUTED in rows for rows in held)
    off = [[inside(mean_interval(1.25 * row, 0.975), 1 / 1.25, 1.25) for row in rows] for rows in ratios]
    assert sum(Verdict.SUPPORTED in rows for rows in off) <= stats.binom.ppf(0.999, 400, 0.05)
