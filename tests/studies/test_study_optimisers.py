"""The judge of optimisers on sweeps made by hand: momentum at large batches, ridges of Adam, sums and means."""

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from synthetic import cell, evidence

from experiments import optimisers as study
from harness.analysis import Ratio
from harness.analysis.study import judged
from harness.inference import Exponent, Interval, Status, Verdict, paired_ratio
from harness.runs import studies

pytestmark = pytest.mark.slow  # sweeps made by hand, answered many times

SUPPORTED, REFUTED, CONDITIONAL, UNRESOLVED = Verdict
N = 1024
SAVED = "the part of the updates that counts as saved"


def rule(name: str, batch_size: int, finals: list[float | None], first_rate: float = 0.1) -> list[dict[str, Any]]:
    """One rule at one batch size, at rates by factors of two: the lower the final cost, the earlier the goal."""
    rates = [first_rate * 2**i for i in range(len(finals))]
    params = {"optimizer.name": name}
    return [
        cell(batch_size, rate, final=final, n_updates=4000, n_train=N, noise=0.005, **params)
        for rate, final in zip(rates, finals, strict=True)
    ]


def judged_momentum(
    small: float | None, large: float, best: int = 1, n_replicas: int = 10, between: int = 1
) -> study.Finding:
    """Final costs of momentum at its best rate at B=4 and B=N; those of plain descent are 0.005.

    best, between: the place of momentum's best rate among three, at B=4 and B=N, and at B=64.
    """
    made = []
    for B, final, place in ((4, small, best), (64, 0.004, between), (N, large, best)):
        plain, own = [0.012, 0.005, 0.012], [0.012 if final else None] * 3
        own[place] = final
        made += rule("sgd", B, plain) + rule("momentum", B, own, first_rate=0.01)
    return study.momentum(evidence(*made, n_replicas=n_replicas, answered=False))


def momentum_verdict(*finals: float | None, **how: int) -> Verdict:
    return judged_momentum(*finals, **how).verdict


def test_momentum_that_helps_at_large_batches_only_is_found():
    found = judged_momentum(0.005, 0.001)
    assert found.verdict == SUPPORTED
    assert set(found.along[SAVED].values()) == {SUPPORTED}
    assert [row[1] for row in found.rows[1:]] == ["0.02", "0.025", "0.03"]
    assert found.rows[1][3].startswith("0.")  # between the smallest batch and the whole set


def test_momentum_that_harms_small_batches_helps_at_large_ones_only():
    """The claim has one side: a test for equality called this unresolved."""
    assert momentum_verdict(0.008, 0.001) == SUPPORTED


def test_momentum_that_never_arrives_at_the_small_batch_does_not_save_updates_there():
    assert momentum_verdict(None, 0.001) == UNRESOLVED  # no best rate, so the lowest of the grid: extend it


def test_momentum_that_helps_everywhere_or_nowhere_refutes():
    assert momentum_verdict(0.001, 0.001) == REFUTED
    assert momentum_verdict(0.005, 0.005) == REFUTED


def test_a_saving_that_is_one_by_some_limits_only_is_conditional():
    """At B=N momentum saves 19 %."""
    found = judged_momentum(0.005, 0.00408)
    assert found.verdict == CONDITIONAL
    assert (found.along[SAVED][0.1], found.along[SAVED][0.25]) == (SUPPORTED, REFUTED)


def test_a_saving_that_comes_late_is_conditional_on_the_cost_to_be_reached():
    """At B=N momentum is level with plain descent down to 1.35 times the goal, and there far ahead at once."""

    def late(factor):
        update = np.unique(np.concatenate([[0], np.geomspace(1, 4000, 400).round()]))
        cost = 2.0 * (0.005 * factor / 2.0) ** (np.log1p(update) / np.log1p(4000))
        ahead = np.where(cost < 0.027, 0.3 * cost, cost)
        table = pd.DataFrame({"update": update, "epoch": update, "examples": update, "train_seconds": update})
        return table.assign(train_cost=ahead, validation_cost=ahead, validation_accuracy=0.9, outcome="")

    made = []
    for B in (4, N):
        made += rule("sgd", B, [0.012, 0.005, 0.012]) + rule("momentum", B, [0.012, 0.005, 0.012], first_rate=0.01)
    made[-2]["history"] = late
    found = study.momentum(evidence(*made, answered=False))
    assert found.verdict is CONDITIONAL
    goals = next(own for name, own in found.along.items() if name.startswith("the cost to be reached"))
    assert (goals[1], goals[1.5]) == (SUPPORTED, REFUTED)
    assert (
        found.plain
        == "If a saving is 20 % or more, to the lowest cost on digits yes; to 1.5 times that cost on digits no "
        "(no such saving with the whole set)."
    )


def test_a_best_rate_on_the_edge_is_unresolved_and_says_where_to_go():
    found = judged_momentum(0.005, 0.001, best=2)
    assert found.verdict == UNRESOLVED
    assert "with a best rate on the edge of its grid" in found.sentence
    assert "add rates: momentum higher" in found.rows[1][2]


def test_an_edge_that_the_criterion_does_not_read_voids_nothing():
    assert momentum_verdict(0.005, 0.001, between=2) == SUPPORTED


def test_two_replicas_leave_momentum_unresolved():
    assert momentum_verdict(0.005, 0.001, n_replicas=2) == UNRESOLVED


def test_a_saving_of_exactly_the_limit_is_seldom_decided():
    """The null: at B=N momentum saves 20 %, so it neither saves more nor less than that."""
    rng, found = np.random.default_rng(1), []
    for _ in range(100):
        at = [np.exp(np.log(ratio) + 0.2 * rng.normal(size=12)) for ratio in (1, 0.8)]
        sizes = {B: Ratio(paired_ratio(own, np.ones(12)), 12, 24) for B, own in zip((4.0, 64.0), at, strict=True)}
        found.append(study.large_only(sizes, 0.2))
    assert sum(verdict is not UNRESOLVED for verdict in found) <= 11  # P(more | rate .05) < .01


def adam_grid(power: float, rates: list[float]) -> list[dict[str, Any]]:
    """Costs that are parabolas in log η around 0.01 (B/4)^power."""
    params = {"optimizer.name": "adam", "optimizer.epsilon": "1e-08"}
    return [
        cell(
            B, rate, final=0.01 * float(np.exp(0.5 * np.log(rate / (0.01 * (B / 4) ** power)) ** 2)), noise=0.01,
            **params,
        )
        for B in (4, 32, 256)
        for rate in rates
    ]  # fmt: skip


RATES = [0.001 * 2**i for i in range(11)]


@pytest.mark.parametrize(
    ("power", "verdict"), [(0.5, SUPPORTED), (0.0, REFUTED), (1.0, REFUTED)], ids=["sqrt", "constant", "linear"]
)
def test_the_exponent_of_the_best_rate_decides(power, verdict):
    grid = RATES if power < 1 else [*RATES, 2.0, 4.0]
    found = study.square_root(evidence(*adam_grid(power, grid), n_replicas=6))
    assert found.verdict is verdict
    assert float(found.rows[1][2]) == pytest.approx(4**power, rel=0.05)  # times the rate at four times the batch


def test_how_near_the_exponent_is_to_the_root_is_said():
    found = study.square_root(evidence(*adam_grid(0.67, RATES), n_replicas=6))
    assert found.verdict is CONDITIONAL
    assert re.search(
        r"the batch takes 2.\d+ times the rate on digits. Its exponent is near 1/2: within .*0.25 yes,.* 0.1",
        found.plain,
    )


def test_an_exponent_between_two_rules_is_not_called_that_of_the_root():
    assert study.square_root(evidence(*adam_grid(0.75, RATES), n_replicas=6)).verdict is not SUPPORTED


def test_a_wide_interval_that_holds_the_root_supports_nothing():
    wide, narrow = (Exponent(Status.RESOLVED, Interval(0.5, *ends), {}, {}, ()) for ends in ((0.1, 0.9), (0.4, 0.6)))
    assert study.near_root(wide, 0.25) is UNRESOLVED
    assert study.near_root(narrow, 0.25) is SUPPORTED


def test_a_best_rate_of_adam_on_the_edge_is_unresolved():
    found = study.square_root(evidence(*adam_grid(0.5, RATES[:5]), n_replicas=6))
    assert found.verdict is UNRESOLVED
    assert "edge" in found.sentence


def sums_and_means(ratios: dict[float, float], noise: float = 0.01) -> list[dict[str, Any]]:
    """epsilon -> final cost of the sum over that of the mean."""
    weights = {"weights.npz": np.ones((10, 4))}
    return [
        cell(
            64, 0.01, reduction, final=0.1 * (ratio if reduction == "sum" else 1.0), noise=noise, files=weights,
            last_batch="drop",
            **{"optimizer.name": "adam", "optimizer.epsilon": str(epsilon)},
        )
        for epsilon, ratio in ratios.items()
        for reduction in ("mean", "sum")
    ]  # fmt: skip


def reduction_verdicts(ratios: dict[float, float], noise: float = 0.01) -> dict[str, Verdict]:
    return {found.claim: found.verdict for found in study.reductions(evidence(*sums_and_means(ratios, noise)))}


def test_an_epsilon_that_matters_is_told_from_one_that_does_not():
    found = reduction_verdicts({1e-8: 1.0, 0.01: 0.5}, noise=0.001)
    assert found == {"A1.reduction": SUPPORTED, "A1.epsilon": REFUTED}


def test_the_epsilons_that_matter_are_named():
    found = list(study.reductions(evidence(*sums_and_means({1e-8: 1.0, 1e-4: 1.0, 0.01: 0.5}, noise=0.001))))[1]
    assert found.verdict is CONDITIONAL
    assert found.along["epsilon"] == {1e-4: SUPPORTED, 0.01: REFUTED}
    assert found.plain == "At an epsilon of 0.0001 yes; at 0.01 no."
    assert [row[0] for row in found.rows[1:]] == ["0.0001", "0.01"]


def test_costs_that_scatter_widely_leave_the_reduction_unresolved():
    assert set(reduction_verdicts({1e-8: 1.0, 1e-4: 1.0}, noise=0.3).values()) == {UNRESOLVED}


def test_a_difference_between_the_margins_makes_the_reduction_conditional_on_them():
    assert reduction_verdicts({1e-8: 1.04}, noise=0.002)["A1.reduction"] is CONDITIONAL


def test_a_difference_between_the_margins_makes_the_epsilon_conditional_on_them():
    found = list(study.reductions(evidence(*sums_and_means({1e-4: 1.04}, noise=0.002))))[1]
    assert found.verdict is CONDITIONAL
    assert found.along["the margin"] == {0.01: REFUTED, 0.02: REFUTED, 0.05: SUPPORTED, 0.1: SUPPORTED}
    assert found.plain == "At an epsilon of 0.0001 within 5 % and 10 % yes, within 1 % and 2 % no."


def test_equal_reductions_are_seldom_called_different():
    """The null with noise that 5 % does not cover: of 40 sweeps few refute."""
    rng = np.random.default_rng(0)
    noisy = (paired_ratio(*np.exp(0.1 * rng.normal(size=(2, 10)))) for _ in range(40))
    wrong = sum(study.Pair("", "", ratio).equal(0.05) is REFUTED for ratio in noisy)
    assert wrong <= 6  # P(more | rate .05) < .01


def test_a_lost_sum_is_not_equal_to_its_mean():
    lost = paired_ratio([1.0] * 9 + [np.inf] * 3, np.ones(12))
    assert study.Pair("", "", lost).equal(0.05) is UNRESOLVED


def test_without_its_cells_every_claim_is_unresolved():
    found = judged(studies.definition("optimisers"), study.judge, evidence(cell(64)))
    assert {finding.verdict for finding in found} == {UNRESOLVED}
    assert not any("nan" in finding.sentence for finding in found)
