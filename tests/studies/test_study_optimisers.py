"""The judge of optimisers on sweeps made by hand: momentum at large batches, ridges of Adam, sums and means."""

from typing import Any

import numpy as np
import pytest
from synthetic import cell, evidence

from experiments import optimisers as study
from harness.analysis.study import judged
from harness.inference.verdicts import Verdict
from harness.runs import studies

pytestmark = pytest.mark.slow  # sweeps made by hand, answered many times

SUPPORTED, REFUTED, UNRESOLVED = Verdict.SUPPORTED, Verdict.REFUTED, Verdict.UNRESOLVED
N = 1024


def rule(name: str, batch_size: int, finals: list[float], first_rate: float = 0.1) -> list[dict[str, Any]]:
    """One rule at one batch size, at rates by factors of two: the lower the final cost, the earlier the goal."""
    rates = [first_rate * 2**i for i in range(len(finals))]
    params = {"optimizer.name": name}
    return [
        cell(batch_size, rate, final=final, n_updates=4000, n_train=N, noise=0.005, **params)
        for rate, final in zip(rates, finals, strict=True)
    ]


def momentum_verdict(small: float, large: float, best: int = 1, n_replicas: int = 10) -> tuple[Verdict, str]:
    """Final costs of momentum at its best rate at B=4 and B=N; those of plain descent are 0.005."""
    grids = {4: small, N: large}
    made = []
    for B, final in grids.items():
        plain, own = [0.012, 0.012, 0.012], [0.012, 0.012, 0.012]
        plain[1], own[best] = 0.005, final
        made += rule("sgd", B, plain) + rule("momentum", B, own, first_rate=0.01)
    found = study.momentum(evidence(*made, n_replicas=n_replicas))
    return found.verdict, found.sentence


def test_momentum_that_helps_at_large_batches_only_is_found():
    assert momentum_verdict(0.005, 0.001)[0] == SUPPORTED


def test_momentum_that_helps_everywhere_or_nowhere_refutes():
    assert momentum_verdict(0.001, 0.001)[0] == REFUTED
    assert momentum_verdict(0.005, 0.005)[0] == REFUTED


def test_a_best_rate_on_the_edge_is_unresolved_and_says_where_to_go():
    verdict, sentence = momentum_verdict(0.005, 0.001, best=2)
    assert verdict == UNRESOLVED
    assert "digits momentum B=1024 higher" in sentence


def test_three_replicas_leave_momentum_unresolved():
    assert momentum_verdict(0.005, 0.001, n_replicas=3)[0] == UNRESOLVED


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


RATES = [float(rate) for rate in np.geomspace(0.001, 1, 7)]


@pytest.mark.parametrize(
    ("power", "verdict"), [(0.5, SUPPORTED), (0.0, REFUTED), (1.0, REFUTED)], ids=["sqrt", "constant", "linear"]
)
def test_the_exponent_of_the_best_rate_decides(power, verdict):
    grid = RATES if power < 1 else [*RATES, 3.0]
    assert study.square_root(evidence(*adam_grid(power, grid), n_replicas=6)).verdict is verdict


def test_a_best_rate_of_adam_on_the_edge_is_unresolved():
    found = study.square_root(evidence(*adam_grid(0.5, RATES[:4]), n_replicas=6))
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


def test_an_epsilon_that_matters_is_told_from_one_that_does_not():
    found = {f.claim: f.verdict for f in study.reductions(evidence(*sums_and_means({1e-8: 1.0, 0.01: 0.5})))}
    assert found == {"L2.reduction": SUPPORTED, "L2.epsilon": REFUTED}


def test_costs_that_scatter_widely_leave_the_reduction_unresolved():
    found = list(study.reductions(evidence(*sums_and_means({1e-8: 1.0}, noise=0.3))))
    assert [f.verdict for f in found] == [UNRESOLVED, UNRESOLVED]


def test_equal_reductions_are_seldom_called_different():
    """The null with noise that 5 % does not cover: of 40 sweeps few refute."""
    rng, bare = np.random.default_rng(0), evidence(*sums_and_means({1e-8: 1.0}))
    noisy = [np.exp(0.1 * rng.normal(size=(2, 10))) for _ in range(40)]
    wrong = sum(study.equal(bare.compare({0: (a, b)})[0]) is REFUTED for a, b in noisy)
    assert wrong <= 6  # P(more | rate .05) < .01


def test_without_its_cells_every_claim_is_unresolved():
    found = judged(studies.definition("optimisers"), study.judge, evidence(cell(64)))
    assert {finding.verdict for finding in found} == {UNRESOLVED}
    assert not any("nan" in finding.sentence for finding in found)
