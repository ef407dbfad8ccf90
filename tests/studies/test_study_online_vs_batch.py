"""The study `online_vs_batch`: its judge on sweeps where one of the two is known to need fewer epochs, or neither."""

import numpy as np
import pytest
import synthetic
from scipy import stats

from harness.analysis.study import judge_of
from harness.inference.comparison import compare_family
from harness.inference.verdicts import Verdict, lower
from harness.runs.studies import EXPERIMENTS

pytestmark = pytest.mark.slow  # sweeps made by hand, answered many times

judge = judge_of("online_vs_batch", EXPERIMENTS)
N = 128
RATES = {1: (0.03, 0.1, 0.3), N: (0.003, 0.01, 0.03)}
SLOWER = {True: (3, 1, 3), False: (1, 2, 3)}  # epochs at each rate, over those at the best one
EPOCHS = 100


def sweep(dataset, batch=1.0, best=True):
    """On-line needs 10 epochs at its best rate, `batch` times as many in batches. best: it is the middle one."""
    return [
        (B, rate, dataset, 10 * slower * (1 if B == 1 else batch))
        for B, rates in RATES.items()
        for rate, slower in zip(rates, SLOWER[best], strict=True)
    ]


def judged(*plans, n_replicas=10, seed=0, accuracies=None):
    """plans: (B, rate, dataset, epochs to a tenth of the cost), which replicas have but for 1 %."""
    cells = [
        synthetic.cell(B, rate, "sum", dataset=dataset, n_train=N, n_updates=EPOCHS * N // B)
        for B, rate, dataset, _ in plans
    ]
    evidence = synthetic.evidence(*cells, n_replicas=n_replicas, seed=seed, answered=False)
    table, rng = evidence.data.histories, np.random.default_rng(seed)
    dataset_of = table["cell"].map(evidence.cells.set_index("cell")["dataset"])
    table["epoch"] = table["update"] * table["batch_size"] / N
    for B, rate, dataset, epochs in plans:
        for r in range(n_replicas):
            own = (dataset_of == dataset) & (table["batch_size"] == B) & (table["learning_rate"] == rate)
            own &= table["replica"] == r
            table.loc[own, "train_cost"] = 10 ** (-table.loc[own, "epoch"] / (epochs * np.exp(0.01 * rng.normal())))
    for B, shift in (accuracies or {}).items():
        own = evidence.data.replicas["batch_size"] == B
        evidence.data.replicas.loc[own, "best_validation_accuracy"] += shift
    (found,) = judge(evidence)
    return found


@pytest.mark.parametrize(
    ("batch", "verdict"), [(3.0, Verdict.SUPPORTED), (1.0, Verdict.REFUTED), (0.4, Verdict.REFUTED)]
)
def test_fewer_epochs(batch, verdict):
    found = judged(*sweep("iris", batch), *sweep("wine", batch))
    assert found.verdict == verdict
    assert "nan" not in found.sentence


def test_datasets_may_disagree():
    assert judged(*sweep("iris", 3.0), *sweep("wine", 0.4)).verdict == Verdict.CONDITIONAL


def test_accuracy_may_be_the_price():
    found = judged(*sweep("iris", 3.0), accuracies={1: -0.05})
    assert found.verdict == Verdict.CONDITIONAL
    assert "on-line lower" in found.sentence


def test_a_best_rate_on_the_edge_makes_no_claim():
    found = judged(*sweep("iris", 3.0, best=False))
    assert found.verdict == Verdict.UNRESOLVED
    assert "low end" in found.sentence


def test_three_replicas_do_not_tell():
    assert judged(*sweep("iris", 3.0), n_replicas=3).verdict == Verdict.UNRESOLVED


def test_equal_arms_are_seldom_told_apart():
    rng = np.random.default_rng(1)
    arms = 10 * np.exp(0.2 * rng.normal(size=(40, 2, 8)))
    wrong = sum(lower(compare_family({0: (a, b)}, 0.05)[0]) == Verdict.SUPPORTED for a, b in arms)
    assert wrong <= stats.binom.ppf(0.999, 40, 0.025)
