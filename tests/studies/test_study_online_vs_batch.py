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


def judged(*plans, n_replicas=10, seed=0, accuracies=None, scatter=0.0, diverged=None, slow=1.0):
    """plans: (B, rate, dataset, epochs to a tenth of the cost), which replicas have but for 1 %.

    accuracies: B -> what is added to its accuracy. scatter: of the accuracies. diverged: B -> replicas that did.
    slow: how many times more epochs B = 1 takes once it has a tenth of the cost.
    """
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
            tenths = table.loc[own, "epoch"] / (epochs * np.exp(0.01 * rng.normal()))
            late = (tenths - 1).clip(lower=0) * (1 - 1 / slow if B == 1 else 0)
            table.loc[own, "train_cost"] = 10 ** (late - tenths)
    for B, shift in (accuracies or {}).items():
        own = evidence.data.replicas["batch_size"] == B
        evidence.data.replicas.loc[own, "best_validation_accuracy"] += shift
    replicas = evidence.data.replicas
    replicas["best_validation_accuracy"] += scatter * rng.normal(size=len(replicas))
    for B, n in (diverged or {}).items():
        for cell in evidence.cells.loc[evidence.cells["batch_size"] == B, "cell"]:
            evidence.final_costs[cell][:n] = np.inf
    (found,) = judge(evidence)
    return found


@pytest.mark.parametrize(
    ("batch", "verdict"), [(3.0, Verdict.SUPPORTED), (1.0, Verdict.REFUTED), (0.4, Verdict.REFUTED)]
)
def test_fewer_epochs(batch, verdict):
    found = judged(*sweep("iris", batch), *sweep("wine", batch))
    assert found.verdict == verdict
    assert "nan" not in f"{found.sentence} {found.rows}"


def test_datasets_may_disagree():
    found = judged(*sweep("iris", 3.0), *sweep("wine", 0.4))
    assert found.verdict == Verdict.CONDITIONAL
    assert found.plain.startswith("With B = 1 fewer epochs on iris yes, on wine no; more than 98 % of the accuracy ")
    assert [row[3] for row in found.rows] == ["fewer epochs", "supported", "refuted"]


def test_accuracy_may_be_the_price():
    found = judged(*sweep("iris", 3.0), accuracies={1: -0.05})
    assert found.verdict == Verdict.CONDITIONAL
    assert found.rows[1][-2:] == ("on-line lower", "refuted")
    assert found.plain == "With B = 1 fewer epochs yes; more than 98 % of the accuracy no."


def test_a_wide_interval_of_accuracies_supports_nothing():
    found = judged(*sweep("iris", 3.0), accuracies={1: -0.02}, scatter=0.08)
    assert found.verdict == Verdict.UNRESOLVED
    assert found.rows[1][-2:] == ("no difference shown", "unresolved")


def test_the_accuracy_that_may_be_lost_decides():
    found = judged(*sweep("iris", 3.0), accuracies={1: -0.023})
    assert found.verdict == Verdict.CONDITIONAL
    no, yes = Verdict.REFUTED, Verdict.SUPPORTED
    assert found.along["the share of the accuracy that may be lost"] == {0.02: no, 0.03: yes, 0.05: yes}
    assert found.plain.endswith("by the share of the accuracy that may be lost: 0.03 and 0.05 yes, 0.02 no.")


def test_a_higher_accuracy_is_told():
    found = judged(*sweep("iris", 3.0), accuracies={1: 0.05})
    assert found.verdict == Verdict.SUPPORTED
    assert "On-line is more accurate on iris." in found.sentence


@pytest.mark.parametrize(("lost", "verdict"), [(1, Verdict.UNRESOLVED), (128, Verdict.SUPPORTED)])
def test_losses_count_against_the_arm_that_has_them(lost, verdict):
    """Nine of ten trainings of one arm diverge: the pair that is left does not decide."""
    found = judged(*sweep("iris", 3.0), diverged={lost: 9})
    assert found.verdict == verdict if lost == N else found.verdict != Verdict.SUPPORTED
    assert f"9 of 10 trainings of {'on-line' if lost == 1 else 'batch'} diverged" in found.rows[1][-2]
    assert "9 trainings diverged: they count as lost." in found.sentence


def test_a_higher_accuracy_names_the_trainings_that_diverged():
    found = judged(*sweep("iris", 3.0), diverged={N: 9})
    assert "more accurate on iris (9 of 10 trainings of batch diverged)" in found.sentence


def test_one_training_is_not_called_trainings():
    epochs = compare_family({0: (np.r_[np.ones(7), np.inf], np.full(8, 2.0))}, 0.05)[0]
    assert judge.__globals__["_ratio"](epochs).endswith(", 1 training did not reach it")


def test_the_share_to_be_reached_decides_where_it_does():
    """On-line is ahead at first, and behind in the end."""
    found = judged(*sweep("iris", 3.0), slow=20.0)
    assert found.verdict == Verdict.CONDITIONAL
    no, yes = Verdict.REFUTED, Verdict.SUPPORTED
    assert found.along["the share of the initial cost to be reached"] == {0.2: yes, 0.1: yes, 0.05: no}
    assert "by the share of the initial cost to be reached: 0.2 and 0.1 yes, 0.05 no" in found.plain


def test_a_best_rate_on_the_edge_makes_no_claim():
    found = judged(*sweep("iris", 3.0, best=False))
    assert found.verdict == Verdict.UNRESOLVED
    assert "A best rate is the last of its grid: on-line on iris" in found.sentence
    assert "low end" in found.rows[1][2]


def test_three_replicas_do_not_tell():
    assert judged(*sweep("iris", 3.0), n_replicas=3).verdict == Verdict.UNRESOLVED


def test_equal_arms_are_seldom_told_apart():
    rng = np.random.default_rng(1)
    arms = 10 * np.exp(0.2 * rng.normal(size=(40, 2, 8)))
    wrong = sum(lower(compare_family({0: (a, b)}, 0.05)[0]) == Verdict.SUPPORTED for a, b in arms)
    assert wrong <= stats.binom.ppf(0.999, 40, 0.025)
