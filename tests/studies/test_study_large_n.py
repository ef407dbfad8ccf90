"""large_n on sweeps made by hand: thresholds and knees that are planted are found, others are not."""

import numpy as np
import pytest
from synthetic import cell, evidence

from harness.analysis.study import judge_of
from harness.inference.intervals import Interval
from harness.inference.verdicts import Verdict
from harness.runs import studies

pytestmark = pytest.mark.slow  # sweeps made by hand, answered many times

JUDGE = judge_of("large_n", studies.EXPERIMENTS)
SIZES = [256 * 2**k for k in range(9)]
MODULE = JUDGE.__globals__
TOO_LONG = "how many times as long is too long"
TARGET = "the cost to be reached (multiples of the target)"


def sweep(us_per_update, sizes=SIZES, final=0.05, n_replicas=6):
    """us_per_update: N -> µs of an update at B=N; a mini-batch takes as many updates, of 100 µs each."""
    cells = []
    for N in sizes:
        for rate, factor in ((0.1, 3), (1.0, 1), (10.0, 3)):  # the best rate lies inside the grid
            about = {"n_train": N, "dataset.load.n_samples": N, "n_updates": 60, "final": final * factor}
            cells.append(cell(32, rate, update_us=100.0, **about))
            cells.append(cell(N, rate, update_us=us_per_update(N), **about))
    return evidence(*cells, n_replicas=n_replicas)


def findings(*arguments, **options):
    return {finding.claim: finding for finding in JUDGE(sweep(*arguments, **options))}


def test_a_cost_in_proportion_to_n_has_neither_threshold_nor_knee():
    found = findings(lambda N: 40 + N, sizes=SIZES[::2] + SIZES[1:2])
    assert found["C10"].verdict is Verdict.REFUTED
    assert ("1.25", "less than 256", "less than 256", "less than 256", "refuted") in found["C10"].rows
    assert "times as long as B=32 to the same cost" in found["C10"].sentence
    assert found["N1"].verdict is Verdict.REFUTED


def test_a_cost_that_jumps_at_2000_supports_the_threshold_whatever_is_too_long():
    found = findings(lambda N: 100 if N < 2048 else 2000, sizes=SIZES[::2] + SIZES[3:4])["C10"]
    assert found.verdict is Verdict.SUPPORTED
    assert set(found.along[TOO_LONG].values()) == {Verdict.SUPPORTED}
    assert {row[-1] for row in found.rows[1:]} == {"supported"}


def test_a_steady_growth_hangs_on_what_is_too_long():
    found = findings(lambda N: 100 * 3.8 * (N / 2048) ** 0.85)
    assert found["N1"].verdict is Verdict.REFUTED
    assert found["C10"].verdict is Verdict.CONDITIONAL
    no, yes = Verdict.REFUTED, Verdict.SUPPORTED
    assert found["C10"].along[TOO_LONG] == {1.25: no, 1.5: no, 2: no, 3: yes, 4: yes, 5: yes, 7: no, 10: no}
    assert found["C10"].sentence.startswith("There is no threshold")
    assert found["C10"].along[TARGET] == dict.fromkeys(MODULE["TARGETS"], Verdict.CONDITIONAL)
    assert found["C10"].plain.startswith("It depends on what is too long: at N=2048 the whole set takes 3.8")


def test_a_threshold_that_only_one_target_shows_is_conditional():
    """Above 2000 examples B=N reaches the easier target as early as a mini-batch, and the target itself late."""
    of = sweep(lambda N: 100, sizes=SIZES[::2] + SIZES[3:4])
    for row in of.cells[of.cells["batch_size"] >= 2048].itertuples():
        of.answer.to_target[row.cell]["seconds"] *= 20
    found = {finding.claim: finding for finding in JUDGE(of)}["C10"]
    assert found.verdict is Verdict.CONDITIONAL
    refuted = dict.fromkeys([1.25, 1.5, 2.0], Verdict.REFUTED)
    assert found.along[TARGET] == {1.0: Verdict.SUPPORTED} | refuted


def test_a_knee_at_2000_is_found_and_is_no_threshold_for_all_constants():
    found = findings(lambda N: 100 * max(1, N / 2048) ** 1.5, sizes=SIZES[::2] + SIZES[3:4])
    assert found["N1"].verdict is Verdict.SUPPORTED
    assert found["N1"].effect.estimate == pytest.approx(1.5, abs=0.1)
    assert set(found["N1"].along["the rise that makes a knee"].values()) == {Verdict.SUPPORTED}
    assert [row[0] for row in found["N1"].rows] == ["ratio of", "seconds", "epochs"]
    assert found["C10"].verdict is Verdict.CONDITIONAL
    assert "There is no threshold" not in found["C10"].sentence


@pytest.mark.parametrize("arms", [{"B=N"}, {"mini-batch"}, {"B=N", "mini-batch"}])
def test_a_replica_that_misses_the_cost_counts(arms):
    of = sweep(lambda N: 40 + N, sizes=SIZES[:3])
    arm = of.cells.set_index("cell")["batch_size"].map(lambda B: "mini-batch" if B == 32 else "B=N")
    for name, own in of.answer.to_target.items():
        own["seconds"][0] = np.inf if arm[name] in arms else own["seconds"][0]
    found = {finding.claim: finding for finding in JUDGE(of)}
    assert {finding.verdict for finding in found.values()} == {Verdict.UNRESOLVED}
    assert "Not every replica reaches the cost at N=256, 512, 1024" in found["C10"].sentence
    assert not any("nan" in f"{finding.sentence} {finding.rows}" for finding in found.values())


@pytest.mark.parametrize(("half", "verdict"), [(slice(0, 6), Verdict.REFUTED), (slice(6, 12), Verdict.SUPPORTED)])
def test_replicas_that_choose_a_rate_do_not_report_it(half, verdict, monkeypatch):
    """A jump at 2000 examples in one half of the replicas only."""
    monkeypatch.setitem(MODULE, "TARGETS", (1.0,))
    of = sweep(lambda N: 100, sizes=SIZES[::2] + SIZES[3:4], n_replicas=12)
    for row in of.cells[of.cells["batch_size"] >= 2048].itertuples():
        of.answer.to_target[row.cell]["seconds"][half] *= 20
    found = {finding.claim: finding for finding in JUDGE(of)}["C10"]
    assert (found.verdict, found.replicas) == (verdict, 6)


def test_what_never_takes_too_long_refutes_the_threshold():
    found = findings(lambda N: 50, sizes=SIZES[:2])
    assert found["C10"].verdict is Verdict.REFUTED
    assert {row[1] for row in found["C10"].rows[1:]} == {"more than 512"}
    assert found["N1"].verdict is Verdict.UNRESOLVED


def test_a_cost_that_is_not_reached_or_an_edge_leaves_all_open():
    found = findings(lambda N: N, sizes=SIZES[:2], final=1.0)
    assert {finding.verdict for finding in found.values()} == {Verdict.UNRESOLVED}
    assert not any("nan" in finding.sentence for finding in found.values())
    edge = sweep(lambda N: N, sizes=SIZES[:2])
    edge.answer.targets["edge"] = "high"
    assert {finding.verdict for finding in JUDGE(edge)} == {Verdict.UNRESOLVED}
    assert all("A best rate lies on the edge of its grid" in finding.sentence for finding in JUDGE(edge))
    assert all("And 1 more." in finding.sentence for finding in JUDGE(edge))


def test_where_lines_cross():
    by_n = {N: Interval(N / 1600, N / 2000, N / 1280) for N in (500.0, 1000.0, 2000.0, 4000.0)}
    found = MODULE["crossing"](by_n, 1.25)
    assert [found.low, found.estimate, found.high] == pytest.approx([1600, 2000, 2500])


def test_an_open_knee_tells_how_many_sizes_would_close_it():
    """The limits reach 0.15 to either side, and 1/3 is 0.133 away: 15 (0.15/0.133)² sizes."""
    open_at_a_third = {1 / 3: Verdict.UNRESOLVED, 0.5: Verdict.REFUTED}
    of = sweep(lambda N: N, sizes=SIZES[:2])
    assert MODULE["_price"](of, Interval(0.2, 0.05, 0.35), open_at_a_third, 15).startswith(" About 19 sizes would tell")
    assert MODULE["_price"](of, Interval(0.2, 0.05, 0.35), {0.5: Verdict.REFUTED}, 15) == ""


def test_an_open_answer_says_which_rises_are_decided():
    verdicts = {1 / 3: Verdict.UNRESOLVED, 0.5: Verdict.REFUTED, 1.0: Verdict.REFUTED}
    assert MODULE["_open"](Interval(0.2, 0.05, 0.35), verdicts) == (
        "Whether the slope rises by 0.5 or 1: no; by 0.33: not decided. It changes by +0.20 [+0.05, +0.35]."
    )


def test_scatter_around_a_straight_line_is_rarely_a_knee():
    """No change of slope: its interval misses 0 in about 5 % of repeats, and none is found."""
    rng = np.random.default_rng(0)
    missed = found = 0
    for _ in range(40):
        values = {float(N): float(N / 300 * np.exp(0.1 * rng.normal())) for N in SIZES}
        _, change = MODULE["bend"]({N: Interval(value, value, value) for N, value in values.items()})
        missed += 0 not in change
        found += change.low > min(MODULE["KNEE"])
    assert missed <= 7  # the 99.9 % point of Binomial(40, 0.05)
    assert found == 0
