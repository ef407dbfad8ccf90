"""seeds=auto without training: sweeps whose cells get replicas from a known truth until nothing needs more."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from synthetic import cell, made

from harness.analysis import LOOKS, WALL, Answer, Standing, SweepCell, SweepData, answer, needs, sweep_data
from harness.inference import SIGNIFICANCE
from harness.report import duration, figures, note

AT = (10, 20, 40)


def grown(cells: Sequence[SweepCell], looks: Sequence[int] = AT) -> tuple[SweepData, Answer]:
    """The sweep at its end. cells: with as many replicas as the last look has, of which each round shows the first."""
    have = dict.fromkeys((one.identity.signature for one in cells), looks[0])
    while True:
        shown = [first_replicas(one, have[one.identity.signature]) for one in cells]
        data = sweep_data("made up", {LOOKS: " ".join(map(str, looks)), "cells": str(len(cells))}, shown)
        found = answer(data)
        wanted = needs(data, found)
        if not wanted:
            return data, found
        for need in wanted:
            have |= {key: max(have[key], need.seeds) for key in need.cells}


def first_replicas(one: SweepCell, n: int) -> SweepCell:
    replicas, history = (table[table["replica"] < n] for table in (one.replicas, one.history))
    return replace(one, replicas=replicas, history=history, summary={**one.summary, WALL: 0.5 * n})


def sweep(*cells: dict[str, Any], seed: int = 0) -> tuple[SweepData, Answer]:
    return grown(made(*cells, n_replicas=AT[-1], seed=seed))


def counts(data: SweepData) -> list[int]:
    return data.cells["n_replicas"].tolist()


def standings(found: Answer) -> set[Standing]:
    return {lead.standing for headline in found.headlines for lead in headline.leads}


def test_what_is_clear_at_the_first_look_gets_no_more():
    data, found = sweep(cell(8, final=0.1), cell(64, final=0.2), cell(512, final=0.4))
    assert counts(data) == [10, 10, 10]
    assert standings(found) == {Standing.LOWER}


def test_the_note_says_what_was_tested_and_no_more():
    clear = cell(8, final=0.1), cell(64, final=0.2), cell(512, final=0.4)
    text = note(*sweep(*clear))
    assert "tests were planned at 10, 20 and 40 replicas, and no cell got more than 10; p is 3 times" in text
    assert "got more while" not in text
    once = note(*grown(made(*clear, n_replicas=10), looks=(10,)))
    assert "seeds=auto: comparisons were tested at 10 replicas." in once
    assert "times the smallest so far" not in once
    grew = note(*sweep(cell(8, noise=0.3), cell(64, noise=0.3)))
    assert "and their cells got more while they were unresolved; p is 3 times the smallest so far" in grew


def test_the_two_lowest_get_more_and_the_others_stay():
    data, found = sweep(cell(8, noise=0.3), cell(64, noise=0.3), cell(512, final=0.9, noise=0.3))
    assert counts(data)[2] == 10
    assert counts(data)[0] == counts(data)[1] > 10
    text = note(data, found)
    assert f"10 to {counts(data)[0]} replicas" in text
    assert "tested at 10, 20 and 40 replicas" in text
    assert figures(data, found)


@pytest.mark.slow
def test_all_rates_of_both_arms_get_more_so_that_luck_at_the_first_look_does_not_last():
    """At ten replicas an erratic rate looks best at B = 8. With it alone, B = 64 would win though both are alike."""
    lucky = 0
    for seed in range(6):
        rates = {0.01: (0.5, 0.1), 0.03: (0.1, 0.1), 0.1: (0.11, 0.5), 0.3: (0.6, 0.1)}
        made_up = [cell(B, rate, final=final, noise=s) for B in (8, 64) for rate, (final, s) in rates.items()]
        swept = made(*made_up, n_replicas=40, seed=seed)
        data, found = grown(swept)
        lucky += set(_best(first_look(swept))) != {0.03}
        assert _best(found)[:2] == [0.03, 0.03] or len(set(counts(data))) == 1
        own = data.cells.groupby("batch_size")["n_replicas"]
        assert (own.nunique() == 1).all()
        assert note(data, found)
    assert lucky


def first_look(cells: Sequence[SweepCell]) -> Answer:
    return answer(sweep_data("made up", {}, [first_replicas(one, AT[0]) for one in cells]))


def _best(found: Answer) -> list[float]:
    return found.best["learning_rate"].to_list()


def test_nothing_is_added_for_arms_that_may_not_be_compared():
    on_edge = [cell(B, rate, final=rate, noise=0.3) for B in (8, 64) for rate in (0.1, 0.3, 0.9)]
    data, found = sweep(*on_edge)
    assert set(counts(data)) == {10}
    assert standings(found) == {Standing.NOT_COMPARED}


def test_nothing_is_added_where_all_diverged():
    data, _ = sweep(cell(8, final=None), cell(64, final=None))
    assert counts(data) == [10, 10]


def test_sum_against_mean_gets_both_arms():
    rates = {0.03: 0.5, 0.1: 0.1, 0.3: 0.6}
    arms = [
        cell(8, rate / (8 if reduction == "sum" else 1), reduction, final=final, noise=0.3)
        for reduction in ("sum", "mean")
        for rate, final in rates.items()
    ]
    data, found = sweep(*arms)
    assert min(counts(data)) > 10
    assert len(found.sum_or_mean) == 1


@pytest.mark.parametrize(("hoped", "wanted"), [(256, 1), (257, 0)])
def test_nothing_is_added_for_seconds_that_cannot_have_as_many_readings(hoped, wanted):
    cells = made(cell(8, noise=0.6), cell(64, noise=0.6), n_replicas=10, seed=1)
    data = sweep_data("made up", {LOOKS: "10 20 400", "cells": "2"}, cells)
    found = answer(data)
    (headline,) = found.headlines
    lead = headline.leads[0]
    assert lead.comparison is not None
    unsure = replace(lead.comparison, verdict="unresolved", seeds_hoped=hoped)
    for clock, n in (("train seconds", wanted), ("epochs", 1)):
        asked = replace(headline, leads=[replace(lead, clock=clock, comparison=unsure)])
        assert len(needs(data, replace(found, headlines=[asked], sum_or_mean=[]))) == n


def test_what_stays_open_says_its_price():
    data, found = sweep(cell(8, noise=0.6), cell(64, noise=0.6), seed=1)
    lead = next(lead for lead in found.headlines[0].leads if lead.clock == "epochs")
    assert lead.standing is Standing.OPEN
    assert lead.comparison.seeds_needed > 1000
    more = sum(0.5 * (1000 - n) for n in counts(data))
    assert f"more than 1000 seeds would tell (over {duration(more)} more)" in note(data, found)


@pytest.mark.slow
def test_at_most_5_percent_of_null_sweeps_have_a_false_lower():
    """Equal at equal epochs; three batch sizes."""
    draws = 150
    wrong = [
        any(lead.clock == "epochs" and lead.standing is Standing.LOWER for lead in found.headlines[0].leads)
        for _, found in (sweep(*(cell(B, noise=0.2) for B in (8, 16, 32)), seed=seed) for seed in range(draws))
    ]
    assert np.mean(wrong) <= SIGNIFICANCE + 3 * np.sqrt(SIGNIFICANCE * (1 - SIGNIFICANCE) / draws)
