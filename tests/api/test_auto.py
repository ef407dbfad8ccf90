"""seeds="auto" in a program: the rounds of the command line, in memory."""

import numpy as np
import pandas as pd
import pytest

import harness
from harness.api import training
from harness.config import ConfigError

GRID = {"order": ["reshuffle", "replacement"]}  # not resolved by twenty replicas
SMALL = {"dataset": "iris", "epochs": 2, "batch_size": 1, "learning_rate": 1.0, "diagnostics": "off"}


@pytest.fixture(scope="module")
def sweeps() -> tuple[harness.Sweep, harness.Sweep]:
    """With seeds="auto", and with as many seeds from the start. Without a timing pass: it is not the same each time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "_blocks", lambda *about: None)
        auto = harness.sweep(GRID, **SMALL, seeds="auto", seeds_at_most=20)
        return auto, harness.sweep(GRID, **SMALL, seeds=20)


def test_cells_and_results_have_all_replicas(sweeps):
    auto, whole = sweeps
    assert list(auto.cells["n_replicas"]) == [20, 20]
    for one, other in zip(auto.results, whole.results, strict=True):
        for name in one.weights:
            np.testing.assert_array_equal(one.weights[name], other.weights[name])
        mine, theirs = (result.history().drop(columns="train_seconds") for result in (one, other))
        pd.testing.assert_frame_equal(mine, theirs, check_exact=True)
        clocks = ("time/", "noise/")
        figures = [{k: v for k, v in r.summary.items() if not k.startswith(clocks)} for r in (one, other)]
        assert figures[0] == figures[1]
        assert (one.config.seeds, one.outcome, one.label.split(" seeds")[0]) == (20, other.outcome, other.label)
        assert "(20 replicas)" in repr(one)


@pytest.mark.slow
def test_p_values_are_corrected_for_the_looks(sweeps):
    auto, whole = sweeps
    (mine,), (theirs,) = (
        [lead.comparison for lead in found.answer().headlines[0].leads if lead.clock == "epochs"]
        for found in (auto, whole)
    )
    assert mine.ratio == theirs.ratio
    assert mine.p >= theirs.p
    assert "10 and 20 replicas" in auto.note()


def test_what_is_resolved_has_ten():
    found = harness.sweep({"batch_size": [4, "full"]}, "iris", epochs=2, learning_rate=1.0, seeds="auto")
    assert list(found.cells["n_replicas"]) == [10, 10]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: harness.train("iris", seeds="auto"), "seeds: expected an integer for a single cell"),
        (lambda: harness.sweep({"seeds": ["auto", 3]}, "iris"), "seeds: expected auto, with its bounds, for all cells"),
        (lambda: harness.sweep(GRID, "iris", seeds="auto", train_seconds=1.0), "seeds: expected an integer where"),
    ],
)
def test_what_makes_no_sense_is_refused(call, message):
    with pytest.raises(ConfigError, match=message):
        call()
