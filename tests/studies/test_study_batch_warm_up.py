"""The judge of batch_warm_up on trainings whose B_noise is known at every epoch."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from branches import BASE, N, branch
from synthetic import evidence

from harness.analysis.study import judge_of
from harness.inference.intervals import Interval
from harness.inference.learning_rates import split_replicas
from harness.inference.verdicts import Verdict
from harness.runs.studies import EXPERIMENTS

pytestmark = pytest.mark.slow  # sweeps made by hand, answered many times

judge = judge_of("batch_warm_up", EXPERIMENTS)
module = SimpleNamespace(**judge.__globals__)  # type: ignore[attr-defined]


def found(noise, best=0.1):
    """Batches of 4 and of 32 throughout, and one that grows from 4 to 32; all rates but `best` are slower."""
    rates = [(rate, 1.0 if rate == best else 1.5) for rate in (0.05, 0.1, 0.2)]
    cells = [branch(noise, (), 2, 8, B, *one, learning_rate_rule="constant") for B in (BASE, 32) for one in rates]
    cells += [branch(noise, (1, 2, 4), 2, 8, BASE, *one, learning_rate_rule="sqrt") for one in rates]
    (finding,) = judge(evidence(*cells, shared=0.0, answered=False, n_replicas=12))
    assert "nan" not in f"{finding.sentence} {finding.rows} {finding.plain}"
    assert len(finding.sentence) <= 400
    return finding


def test_where_only_the_first_epoch_needs_small_batches_a_growing_batch_is_found_to_save():
    own = found(lambda epoch: np.where(epoch < 1, 4.0, 4000.0))
    assert own.verdict is Verdict.SUPPORTED
    assert "69 % fewer updates" in own.sentence
    assert [row[1] for row in own.rows[1:]] == ["B=4", "the growing batch", "B=32"]
    assert own.rows[2][-1] == "as low: 0.05 to 0.25 supported"
    assert own.plain == ""


@pytest.mark.parametrize("noise", [1e6, 2.0])
def test_where_every_size_is_small_or_every_size_is_large_the_claim_does_not_hold(noise):
    """Then its last size from the start ends as low; or the growing batch ends higher."""
    assert found(lambda epoch: np.full_like(epoch, noise)).verdict is Verdict.REFUTED


def test_a_last_size_that_ends_fifteen_per_cent_higher_depends_on_the_margin():
    own = found(lambda epoch: np.where(epoch < 1 / 2, 5.5, 4000.0))
    assert own.verdict is Verdict.CONDITIONAL
    assert own.along == {"the margin": {0.05: Verdict.SUPPORTED, 0.1: Verdict.SUPPORTED, 0.25: Verdict.REFUTED}}
    assert own.plain == (
        "That the growing batch ends as low and its last size from the start ends higher: "
        "by a margin of 5 % and 10 % yes, by a margin of 25 % no."
    )
    assert own.rows[3][-1] == "higher: 0.05 to 0.1 supported; 0.25 refuted"


def test_an_answer_that_is_open_says_by_which_margin_and_of_which_part():
    yes, unknown = Verdict.SUPPORTED, Verdict.UNRESOLVED
    own = module.Growing(Interval(0.7, 0.6, 0.8), Interval(1.3, 1.2, 1.4), 0.5, [])
    told = module._answer({0.1: yes, 0.25: unknown}, [own])
    assert told == (
        "That the growing batch ends as low and its last size from the start ends higher: "
        "by a margin of 10 % yes, by a margin of 25 % not decided (whether its last size from the start ends higher)."
    )


def test_a_best_rate_on_the_edge_of_its_grid_concludes_nothing():
    own = found(lambda epoch: np.full_like(epoch, 64.0), best=0.2)
    assert own.verdict is Verdict.UNRESOLVED
    assert "edge of its grid: B=4: high, the growing batch: high, B=32: high" in own.sentence
    assert own.plain == ""
    assert own.rows[1][2] == "constant, 0.2 (high edge)"


def test_one_lost_replica_does_not_hide_three_times_the_cost():
    own = {B: np.full(12, np.log(cost)) for B, cost in ((4, 1.0), (32, 3.0), (8, 3.0))}
    own[32][7] = np.inf
    frame = pd.DataFrame(
        {"cell": [4, 8, 32], "batch_size": [4, 4, 32], "batch_size_schedule": ["constant", "step", "constant"]}
    )
    about = {"milestones": "[1, 2, 4]", "milestone_factor": 2, "rule": "constant"}
    frame = frame.assign(n_train=N, learning_rate=0.1, **about)
    history = pd.DataFrame({"epoch": [8.0], "update": [100.0]})
    given = SimpleNamespace(histories={8: history}, log_costs=lambda name, epoch: own[name])
    found = module.growing(given, frame, split_replicas(12, 6))
    assert found.large.low == pytest.approx(3)
    assert found.edges  # a single rate
