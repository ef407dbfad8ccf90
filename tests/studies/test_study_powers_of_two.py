"""powers_of_two on readings made by hand: a power of two that is special is found, another one is not."""

import re

import numpy as np
import pandas as pd
import pytest
from synthetic import cell, evidence

from harness.analysis.study import judge_of
from harness.inference.verdicts import Verdict
from harness.runs import studies

pytestmark = pytest.mark.slow  # judged many times

JUDGE = judge_of("powers_of_two", studies.EXPERIMENTS)
TIMED = (63, 64, 65, 96, 100, 127, 128, 129)


def finding(power=1.0, scatter=0.03, blocks=32, seed=0, sizes=TIMED):
    """A table of blocks in place of cells: what `Evidence.blocks` makes of them is tested elsewhere."""
    rng = np.random.default_rng(seed)
    of = evidence(cell(64), n_replicas=1)
    factors = [power if B in (64, 128) else 1.0 for B in sizes]
    table = pd.DataFrame(factors * np.exp(scatter * rng.normal(size=(blocks, len(sizes)))), columns=sizes)
    object.__setattr__(of, "blocks", lambda cells: table)
    (found,) = JUDGE(of)
    assert "nan" not in found.sentence
    return found


@pytest.mark.parametrize(
    ("power", "verdict", "along"),
    [
        (1.0, Verdict.REFUTED, (Verdict.REFUTED, Verdict.REFUTED)),
        (0.8, Verdict.SUPPORTED, (Verdict.SUPPORTED, Verdict.SUPPORTED)),
        (0.93, Verdict.CONDITIONAL, (Verdict.SUPPORTED, Verdict.REFUTED)),
        (1.2, Verdict.REFUTED, (Verdict.REFUTED, Verdict.REFUTED)),
    ],
)
def test_a_power_of_two_is_special_if_it_is(power, verdict, along):
    found = finding(power, scatter=0.01)
    assert found.verdict is verdict
    assert found.along == {"the difference that counts as faster": dict(zip((0.05, 0.1), along, strict=True))}
    assert "32 blocks" in found.sentence
    assert len(found.sentence) <= 400


def test_each_pair_has_a_row_and_a_multiple_of_32_no_verdict():
    columns, *rows = finding(0.93, scatter=0.01).rows
    assert columns[2:] == ("faster by 5 %", "faster by 10 %")
    assert [row[0] for row in rows] == ["64, 63", "64, 65", "128, 127", "128, 129", "96, 100"]
    assert {row[2:] for row in rows[:4]} == {("supported", "refuted")}
    assert rows[4][2:] == ("", "")


def test_scattering_or_few_readings_and_missing_sizes_are_not_resolved():
    assert finding(scatter=0.3).verdict is Verdict.UNRESOLVED
    few = finding(blocks=7)
    assert few.verdict is Verdict.UNRESOLVED
    assert few.sentence == "Read in 7 blocks; to tell takes 8."
    assert few.along == {}
    assert {row[2:] for row in few.rows[1:]} == {("", "")}
    assert finding(sizes=(64, 65)).verdict is Verdict.UNRESOLVED
    assert finding(sizes=(64,)).verdict is Verdict.UNRESOLVED


def test_a_power_of_two_like_any_other_is_never_called_faster():
    found = [finding(scatter=0.05, seed=seed).verdict for seed in range(30)]
    assert set(found) <= {Verdict.REFUTED, Verdict.UNRESOLVED}
    assert found.count(Verdict.REFUTED) > 20


def test_what_is_open_says_how_many_blocks_would_tell():
    open_ = finding(scatter=0.3)
    (needed,) = re.findall(r"About (\d+) blocks would tell", open_.sentence)
    assert open_.verdict is Verdict.UNRESOLVED
    assert int(needed) > 32
    assert "would tell" not in finding(scatter=0.01).sentence
