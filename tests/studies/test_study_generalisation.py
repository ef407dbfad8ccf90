"""The study `generalisation`: its judge on sweeps whose accuracies and whose valleys are known."""

import numpy as np
import pytest
import synthetic
from scipy import stats

from harness.analysis import Ratio
from harness.analysis.study import judge_of
from harness.inference import paired_ratio
from harness.inference.verdicts import Verdict
from harness.runs.studies import EXPERIMENTS

pytestmark = pytest.mark.slow  # sweeps made by hand, answered many times

judge = judge_of("generalisation", EXPERIMENTS)
at_one_cost, robustness = (judge.__globals__[name] for name in ("at_one_cost", "robustness"))
N, TARGET = 512, 0.2
RATES = (0.1, 0.3, 1.0)
VALLEY = (0.1, 0.2, 0.4, 0.8, 1.6)


def stopped(dataset, n_updates=None):
    """B=8, 64 and N at three rates, which all come to the target."""
    return [
        synthetic.cell(B, rate, dataset=dataset, n_train=N, final=0.05, target=TARGET, n_updates=n_updates)
        for B in (8, 64, N)
        for rate in RATES
    ]


def valleys(dataset, small=1.3, large=3.0, best=2, far=2.0, rates=VALLEY):
    """B=4 and B=256 after equal epochs; small, large: final cost at the best rate's neighbours over that at it.

    far: final cost of B=4 two steps from the best rate over that at one step; of B=256 it is twice as high.
    """
    return [
        synthetic.cell(
            B, rate, dataset=dataset, n_train=N, noise=0.005, final=0.1 * (1, rise, rise * farther, 4, 5)[abs(i - best)]
        )
        for B, rise, farther in ((4, small, far), (256, large, 2.0))
        for i, rate in enumerate(rates)
    ]


def made(cells, accuracy=None, n_replicas=16, seed=0, best=1, scatter=0.003):
    """accuracy: (dataset, B) -> held-out accuracy; every replica's own differs by the scatter.

    best: number of the rate whose held-out cost is lowest.
    """
    evidence = synthetic.evidence(*cells, n_replicas=n_replicas, seed=seed, answered=False)
    table, rng = evidence.data.histories, np.random.default_rng(seed)
    shift = table.groupby(["cell", "replica"], sort=False)["update"].transform(lambda own: scatter * rng.normal())
    about = evidence.cells.set_index("cell").loc[table["cell"]]
    middle = [
        (accuracy or {}).get((d, int(B)), 0.95) for d, B in zip(about["dataset"], about["batch_size"], strict=True)
    ]
    table["validation_accuracy"] = np.array(middle) + shift
    at = about["target"].notna().to_numpy()
    table.loc[at, "validation_cost"] *= 1 + abs(np.log(table.loc[at, "learning_rate"] / RATES[best]))
    return evidence


def l5(cells, **how):
    return stated(made(cells, **how))


def stated(evidence):
    return readable(at_one_cost(evidence, evidence.cells, evidence.cells.iloc[:0]))


def l10(*cells, **how):
    evidence = made(cells, **how)
    return readable(robustness(evidence, evidence.cells))


def readable(found):
    assert "nan" not in f"{found.sentence} {found.rows} {found.plain}"
    assert len(found.sentence) <= 400
    return found


def row_of(found, *first):
    """The row that begins with these cells."""
    (row,) = [row for row in found.rows if tuple(row[: len(first)]) == first]
    return row


# L5


@pytest.mark.parametrize(
    ("accuracy", "verdict"),
    [
        ({}, Verdict.SUPPORTED),
        ({("wine", 64): 0.99, ("wine", N): 0.99}, Verdict.SUPPORTED),  # better is no loss
        ({("wine", 64): 0.9, ("wine", N): 0.9}, Verdict.REFUTED),
        ({("wine", N): 0.9}, Verdict.CONDITIONAL),
    ],
)
def test_a_loss_of_accuracy(accuracy, verdict):
    found = l5(stopped("wine"), accuracy=accuracy)
    assert found.verdict == verdict
    assert (found.plain != "") == (verdict == Verdict.CONDITIONAL)


def test_an_answer_names_the_batch_size_that_is_less_accurate():
    assert l5(stopped("wine"), accuracy={("wine", N): 0.9}).plain.startswith(
        "On wine at B = 64 yes, on wine at B = 512 no;"
    )


@pytest.mark.parametrize("best", [0, 2])
def test_a_best_rate_on_the_edge_makes_no_claim(best):
    found = l5(stopped("wine"), best=best)
    assert found.verdict == Verdict.UNRESOLVED
    assert "extend" in found.sentence


def test_an_edge_at_an_easier_cost_only_is_named():
    """Above the target the lowest rate has the lowest held-out cost."""
    evidence = made(stopped("wine", n_updates=400))
    table = evidence.data.histories
    above = (table["batch_size"] == 64) & (table["train_cost"] > 1.15 * TARGET)
    table.loc[above, "validation_cost"] = table["learning_rate"]
    found = stated(evidence)
    assert found.verdict == Verdict.UNRESOLVED
    yes, unknown = Verdict.SUPPORTED, Verdict.UNRESOLVED
    assert found.along["the training cost, in multiples of the target"] == {1.0: yes, 1.25: unknown, 1.5: unknown}
    assert "edge of its grid on wine: extend it" in found.sentence
    at_target, easier = row_of(found, "wine", "64")[3:5]
    assert "edge" not in at_target
    assert "best at the low edge of its rates" in easier


def test_the_accuracy_is_that_at_the_crossing_not_that_at_the_end():
    """Whoever overshoots the target has trained longer."""
    evidence = made(stopped("wine"))
    table = evidence.data.histories
    later = (table["batch_size"] == 8) & (table["train_cost"] < 0.5 * TARGET)
    assert later.any()
    table.loc[later, "validation_accuracy"] = 1.0
    assert stated(evidence).verdict == Verdict.SUPPORTED


def test_a_difference_at_one_of_the_costs_only_is_conditional_on_it():
    """The large batch is behind until shortly before the target."""
    evidence = made(stopped("wine", n_updates=400))
    table = evidence.data.histories
    table.loc[(table["batch_size"] == N) & (table["train_cost"] > 1.15 * TARGET), "validation_accuracy"] = 0.85
    found = stated(evidence)
    assert found.verdict == Verdict.CONDITIONAL
    some = Verdict.CONDITIONAL
    assert found.along["the training cost, in multiples of the target"] == {
        1.0: Verdict.SUPPORTED,
        1.25: some,
        1.5: some,
    }
    assert "by the training cost, in multiples of the target: 1 yes, 1.25 and 1.5 in part" in found.plain


def test_three_replicas_do_not_tell():
    assert l5(stopped("wine"), n_replicas=3, scatter=0.02).verdict == Verdict.UNRESOLVED


def with_losses(n_lost, accuracy=None, n_replicas=16):
    """The last replicas of B=N do not come to the target. Half of all choose the rates, the last ones report."""
    evidence = made(stopped("wine"), accuracy, n_replicas=n_replicas)
    table = evidence.data.histories
    table.loc[(table["batch_size"] == N) & (table["replica"] >= n_replicas - n_lost), "train_cost"] = 1.0
    return stated(evidence)


def test_the_survivors_of_a_batch_size_do_not_speak_for_the_lost():
    """Three of eight are left, and as accurate as those of B=8."""
    found = with_losses(5)
    assert found.verdict != Verdict.SUPPORTED
    assert "not reached by 5 of 8" in row_of(found, "wine", str(N))[2]
    assert "Some replicas do not come to the target on wine." in found.sentence


def test_losses_count_against_the_batch_size_that_has_them():
    assert with_losses(8).verdict == Verdict.CONDITIONAL  # B=64 is as good, B=N refuted


def test_a_single_loss_of_twelve_does_not_decide():
    assert with_losses(1, n_replicas=24).verdict == Verdict.SUPPORTED


def test_a_loss_between_the_margins_is_conditional_on_them():
    found = l5(stopped("wine"), accuracy={("wine", 64): 0.935, ("wine", N): 0.935})  # 1.6 % of .95
    assert found.verdict == Verdict.CONDITIONAL
    assert found.along["the margin"] == {0.01: Verdict.REFUTED, 0.02: Verdict.SUPPORTED}
    assert row_of(found, "wine", "64")[-1] == "0.01 refuted; 0.02 supported"
    assert "by the margin: 0.02 yes, 0.01 no" in found.plain


def test_a_loss_as_large_as_the_margin_is_seldom_called_none():
    """Exactly 1 % lower, in replicas that differ by two points."""
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(40):
        b = 0.95 + 0.02 * rng.normal(size=8)
        a = b * 0.99 * np.exp(0.02 * rng.normal(size=8))
        wrong += Ratio(paired_ratio(a, b), 8, 16).inside(0.99, np.inf) == Verdict.SUPPORTED
    assert wrong <= stats.binom.ppf(0.999, 40, 0.05)


# L10


@pytest.mark.parametrize(
    ("small", "large", "verdict"),
    [(1.3, 3.0, Verdict.SUPPORTED), (3.0, 1.3, Verdict.REFUTED), (2.0, 2.0, Verdict.REFUTED)],
)
def test_robustness(small, large, verdict):
    found = l10(*valleys("wine", small, large))
    assert found.verdict == verdict
    assert found.plain == ""


def test_a_training_that_diverged_counts_as_untrained():
    """The cost at the start is 2: a penalty of √(3 · 2/0.1) that is larger than that of any valley here."""
    cells = valleys("wine", 1.3, 3.0)
    cells[-2]["final"] = None
    found = l10(*cells)
    assert found.verdict == Verdict.SUPPORTED
    assert row_of(found, "wine", "2")[3].startswith("7.")


def test_datasets_may_disagree_and_the_answer_says_which():
    found = l10(*valleys("wine"), *valleys("iris", 3.0, 1.3))
    assert found.verdict == Verdict.CONDITIONAL
    assert found.plain == "Off by a factor of 2 and off by a factor of 4 on wine yes, on iris no."
    assert row_of(found, "wine", "2")[-1] == "supported"
    assert row_of(found, "iris", "4")[-1] == "refuted: higher"


def test_the_factor_by_which_a_rate_is_off_decides_where_it_does():
    found = l10(*valleys("wine", 1.3, 3.0, far=11.0))
    assert found.verdict == Verdict.CONDITIONAL
    assert found.along == {"the factor by which the rate is off": {2.0: Verdict.SUPPORTED, 4.0: Verdict.REFUTED}}
    assert found.plain == "Off by a factor of 2 yes; off by a factor of 4 no."


def test_a_grid_without_rates_that_are_four_times_off_says_so():
    found = l10(*valleys("wine", best=1, rates=VALLEY[:3]))
    assert found.verdict == Verdict.UNRESOLVED
    assert "No rate is 4 times off for wine B=4, wine B=256: extend" in found.sentence
    assert row_of(found, "wine", "4")[2:4] == ("none (best at 0.2)", "none (best at 0.2)")


def test_what_is_left_open_has_a_price():
    found = l10(*[one | {"noise": 0.15} for one in valleys("wine", 1.3, 1.3)], n_replicas=8)
    assert found.verdict == Verdict.UNRESOLVED
    assert "seeds would tell" in found.sentence


@pytest.mark.parametrize("best", [0, 4])
def test_no_penalty_is_known_on_the_edge(best):
    found = l10(*valleys("wine", best=best))
    assert found.verdict == Verdict.UNRESOLVED
    assert "extend" in found.sentence


def test_both_claims_are_judged_from_one_sweep():
    found = {one.claim: one for one in judge(made([*stopped("wine"), *valleys("wine")]))}
    assert {one.verdict for one in found.values()} == {Verdict.SUPPORTED}
    untuned = [row for row in found["L5"].rows if "untuned" in row[0]]
    assert [row[1] for row in untuned] == ["4", "256"]
