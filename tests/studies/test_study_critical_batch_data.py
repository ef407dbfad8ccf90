"""The judge of critical_batch_data on trainings whose B_noise depends on data, on width, or on neither."""

import numpy as np
import pandas as pd
import pytest
from synthetic import cell, evidence

from harness.analysis.study import judge_of
from harness.inference.verdicts import Verdict
from harness.runs.studies import EXPERIMENTS

pytestmark = pytest.mark.slow  # sweeps made by hand, answered many times

judge = judge_of("critical_batch_data", EXPERIMENTS)

N = 4096
EXAMPLES = np.unique(np.concatenate([[0], np.geomspace(16, 2 * N, 400)]))
RATES = (0.1, 0.2, 0.4)


def history(noise, width, batch_size, slower):
    """One replica: log cost falls by 1/(1 + B/B_noise) per 1000 examples, B_noise as when so many were seen."""
    pace = 1 / (1 + batch_size / noise(EXAMPLES, width)) / slower
    cost = np.exp(-np.concatenate([[0], np.cumsum(pace[:-1] * np.diff(EXAMPLES))]) / 1000)
    about = {"train_seconds": EXAMPLES, "validation_cost": cost, "validation_accuracy": 0.9, "outcome": ""}
    update = EXAMPLES / batch_size

    def made(factor):
        epoch = {"update": update, "epoch": EXAMPLES / N, "examples": EXAMPLES}
        return pd.DataFrame({**epoch, "train_cost": factor * cost, **about})

    return made


def judged(noise, best=0.2, sizes=(4, 16, 32, 64, 256), n_replicas=12, highest=None):
    """highest: the best rate of all sizes but the smallest, unless it is `best`."""
    cells = []
    for width in (8, 64):
        for B in sizes:
            for rate in RATES:
                made = history(noise, width, B, 1 if rate == ((B > 4 and highest) or best) else 1.5)
                params = {"model.hidden": f"[{width}]", "history": made}
                cells.append(cell(B, rate, n_train=N, noise=1e-4, **params))
    found = {f.claim: f for f in judge(evidence(*cells, shared=0.0, answered=False, n_replicas=n_replicas))}
    for finding in found.values():
        assert "nan" not in f"{finding.sentence} {finding.rows} {finding.plain}"
        assert len(finding.sentence) <= 400
    return found


def at(found, width, data):
    """B_crit, its ratio to that of the fewest examples, and the verdict on this."""
    (row,) = [row for row in found["B4"].rows if row[:2] == (str(width), str(data))]
    return row[2:]


def test_a_critical_size_that_grows_with_data_alone_is_found_so():
    found = judged(lambda examples, width: 16 * (1 + examples / 100))
    assert (found["B4"].verdict, found["B5"].verdict) == (Verdict.SUPPORTED, Verdict.SUPPORTED)


def test_a_critical_size_that_grows_with_the_width_alone_is_found_so():
    found = judged(lambda examples, width: np.full_like(examples, 2.0 * width))
    assert (found["B4"].verdict, found["B5"].verdict) == (Verdict.REFUTED, Verdict.REFUTED)


def test_a_critical_size_that_stays_is_found_to_stay_and_has_its_size():
    found = judged(lambda examples, width: np.full_like(examples, 64.0))
    assert (found["B4"].verdict, found["B5"].verdict) == (Verdict.REFUTED, Verdict.SUPPORTED)
    assert found["B4"].effect.estimate == pytest.approx(1, rel=0.05)
    assert at(found, 8, 2048)[0].startswith("17.6 [")  # 4 + 0.2 (64 + 4)


def test_a_best_rate_on_the_edge_of_its_grid_concludes_nothing():
    found = judged(lambda examples, width: np.full_like(examples, 64.0), best=0.4)
    assert {finding.verdict for finding in found.values()} == {Verdict.UNRESOLVED}
    assert "edge of its grid at B=4, B=16, B=32" in found["B4"].sentence
    assert "edge of its grid at B=4, B=16, B=32" in at(found, 8, 2048)[0]


def test_beyond_the_largest_size_the_growth_is_bounded_from_below():
    """B_crit is 18 at first and beyond 32, the largest size, later: at least 1.7 times as large, and open how much."""
    found = judged(lambda examples, width: np.where(examples < 300, 64.0, 1e6), sizes=(4, 16, 32))
    assert at(found, 8, 2048)[0] == "at least 32"
    assert "at least 1.7" in found["B4"].sentence
    assert at(found, 8, 2048)[1].startswith("at least 1.7")
    assert at(found, 8, 2048)[2] == "1.25 to 1.5 supported; 2 unresolved"
    yes, unknown = Verdict.SUPPORTED, Verdict.UNRESOLVED
    assert found["B4"].along == {"how many times as large": {1.25: yes, 1.5: yes, 2.0: unknown}}


def test_an_answer_names_the_widths_and_the_data_of_which_it_holds():
    """That of the wide network grows, and that of the narrow one stays at what the other has at first."""
    found = judged(lambda examples, width: np.where((width > 8) & (examples > 300), 640.0, 16.0))
    assert found["B4"].verdict is Verdict.CONDITIONAL
    assert found["B4"].plain.startswith("At width 64 yes, at width 8 no;")
    assert found["B5"].verdict is Verdict.CONDITIONAL
    assert found["B5"].plain.startswith("After 256 examples yes, after 2048 examples no, after 512 examples in part;")


def test_a_size_that_comes_to_no_target_has_its_edge_where_its_cost_is_lowest():
    """From B=16 on nothing gets there, and the highest rate comes nearest: a higher one might."""
    never = lambda examples, width: np.full_like(examples, 1.0)  # noqa: E731 - B=4 needs 5 times as much as B → 0
    found = judged(never, highest=0.4)
    assert "edge of its grid at B=16" in found["B4"].sentence
    assert found["B4"].verdict is Verdict.UNRESOLVED


def test_the_replicas_that_report_are_counted():
    assert judged(lambda examples, width: np.full_like(examples, 64.0), n_replicas=16)["B4"].replicas == 8
