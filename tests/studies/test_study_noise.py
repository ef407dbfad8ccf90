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
LIMITS = {0.05: Verdict.SUPPORTED, 0.1: Verdict.SUPPORTED, 0.2: Verdict.UNRESOLVED, 0.3: Verdict.REFUTED}


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
    findings = {found.claim: found for found in judge(synthetic.evidence(*cells, n_replicas=1, answered=False))}
    assert all(len(found.sentence) <= 400 and len(found.plain) <= 220 for found in findings.values())
    return findings


def along(finding, *words):
    """The verdicts by the constant whose name begins with these words."""
    (found,) = (parts for name, parts in finding.along.items() if name.startswith(words))
    return found


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
    assert list(along(found, "the share of epochs")) == [0.05, 0.1, 0.2, 0.3]
    assert len(found.rows) == 1 + 3 * len(DATASETS)


def test_the_answer_says_which_curves_are_noisy():
    found = judged(*runs(full=CALM))["C11"]
    assert re.fullmatch(
        r"Noisy if more than \d+ % of epochs end higher: the last batch's cost and the epoch's average yes; "
        r"the training set's cost no\.",
        found.plain,
    )
    assert {row[0] for row in found.rows[1:] if set(row[3:]) == {"refuted"}} == {"training set after the epoch"}


def test_the_answer_says_by_which_limit_where_all_curves_are_alike():
    found = {limit: dict.fromkeys([("last", "iris"), ("full", "iris")], verdict) for limit, verdict in LIMITS.items()}
    words = judge.__globals__["_which_are_noisy"](found, LIMITS)
    assert (
        words
        == "By the share of epochs above which a curve is noisy: by 0.05 and 0.1 yes, by 0.3 no, by 0.2 not decided."
    )


def test_datasets_may_disagree():
    cells = [*runs(datasets=["iris"]), *runs(datasets=["wine"], batch=CALM, full=CALM)]
    found = judged(*cells)["C11"]
    assert found.verdict == Verdict.CONDITIONAL
    assert found.plain.endswith("the epoch's average and the training set's cost on iris yes, on wine no.")


def test_two_runs_tell_nothing():
    found = judged(*runs(2, datasets=["iris"]))
    assert {finding.verdict for finding in found.values()} == {Verdict.UNRESOLVED}
    assert not any("nan" in finding.sentence for finding in found.values())


def test_a_run_at_full_batch_is_compared():
    found = judged(*runs(), *(run("iris", N, seed, full=CALM) for seed in range(3)))
    assert "at B=N at most 0 for the training set." in found["C11"].sentence
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
    found = judged(*runs(far=3.0, late=0.3))["C12"]
    (row,) = (row for row in found.rows if row[0] == "iris")
    assert re.fullmatch(r"[23]\.\d+ \[.*\]", row[1])
    assert re.fullmatch(r"0\.[23]\d* \[.*\]", row[2])
    assert found.plain == (
        "If far begins at 1 times the true gradient's length: with early updates counting more yes; with all updates "
        "counting alike no. Batches follow the law of sampling."
    )


def test_the_answer_says_on_which_data_a_gradient_is_far_and_by_which_factor_the_law_holds():
    found = judged(*runs(datasets=["iris"], far=1.25), *runs(datasets=["wine"], far=3.0))["C12"]
    assert found.verdict == Verdict.CONDITIONAL
    assert (
        ": with early updates counting more and with all updates counting alike on wine yes, on iris no. "
        in found.plain
    )
    assert set(along(found, "the factor").values()) == {Verdict.SUPPORTED}
    law = judged(*runs(factor=1.4))["C12"]
    assert along(law, "the factor")[1.5] == Verdict.SUPPORTED
    assert "Batches follow the law of sampling: within 1.5 yes, within 1.2" in law.plain


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
