"""Whole answers of sweeps drawn from a known truth: how often they are wrong, by benchmarks/calibration."""

import re
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # the benchmarks are no part of the package

from benchmarks.calibration.__main__ import with_table  # noqa: E402
from benchmarks.calibration.claims import Found, found_in, laws_in  # noqa: E402
from benchmarks.calibration.population import BEYOND, REPLICAS, STEPS, met  # noqa: E402
from benchmarks.calibration.scenarios import CLOCKS, FITS, LAW, NULLS, POWERS  # noqa: E402
from benchmarks.calibration.shapes import ANY, FEW, Drawn, drawn, law_inside  # noqa: E402
from benchmarks.calibration.sweeps import Truth, draw, per_update, true_cells  # noqa: E402
from benchmarks.calibration.tables import TABLES, at_most  # noqa: E402

PAGE = (ROOT / "docs" / "statistics.md").read_text(encoding="utf8")
CLEAR = Truth(effect=2.0, rates=(1, 1))


def false(truth, n, clock=None):
    return np.mean([found_in(truth, seed).false(clock) for seed in range(n)])


# The simulator


@pytest.mark.parametrize("clock", CLOCKS)
def test_cells_drawn_alike_on_a_clock_are_alike_there_and_nowhere_else(clock):
    _, cells = draw(replace(CLEAR, effect=1.0, equal_on=clock), np.random.default_rng(0))
    spent = {each: per_update(each, 64) * 200 for each in CLOCKS}
    gap = {each: np.ptp([cell.log_cost(each, spent[each]) for cell in cells.values()]) for each in CLOCKS}
    assert gap.pop(clock) < 1e-12
    assert min(gap.values()) > 0.1


@pytest.mark.parametrize("clock", CLOCKS)
def test_a_clear_effect_is_found_and_is_no_false_claim(clock):
    found = found_in(replace(CLEAR, equal_on=clock), 0)
    assert found.lower(clock)
    assert not found.false()


def test_a_clock_that_is_wrong_in_all_blocks_misleads():
    """So false claims are seen, where there are any."""
    assert false(Truth(rates=(1, 1), equal_on="train seconds", cell_error=0.5, spread=0.02), 8, "train seconds") > 0.5


# Sweeps as users make them


@pytest.mark.slow
def test_they_have_any_exponent_and_best_rates_anywhere_between_two_of_the_grid():
    truths = [met(seed) for seed in range(400)]
    powers = np.sort([truth.power for truth in truths])
    assert np.abs(powers - np.linspace(0, 1, 400)).max() < 0.1
    for name, values in (("steps", tuple(STEPS.values())), ("beyond", BEYOND), ("replicas", REPLICAS)):
        assert {getattr(truth, name) for truth in truths} == set(values)
    places = [place for seed, truth in enumerate(truths) if len(truth.steps) == 1 for place in off_grid(truth, seed)]
    assert np.abs(np.sort(places) - np.linspace(-0.5, 0.5, len(places))).max() < 0.1


def off_grid(truth, seed):
    """For each batch size how far the best rate is from the grid's next one, in steps."""
    parabolas = replace(truth, shape="parabola")
    cells = true_cells(parabolas, np.random.default_rng(seed))
    for B in truth.sizes:
        own = [cell for cell in cells if cell.batch_size == B]
        x, needed = np.log([cell.learning_rate for cell in own]), np.log([cell.needed for cell in own])
        best = -np.divide(*np.polyfit(x, needed, 2)[[1, 0]]) / 2
        assert np.argmin(np.abs(x - best)) >= truth.beyond
        yield (best - x[np.abs(x - best).argmin()]) / np.log(truth.steps[0])


def test_in_the_special_laws_best_rates_lie_alike_between_two_of_the_grid():
    truth = replace(LAW, between=True)
    for power in (0.0, 0.5, 1.0):
        cells = true_cells(replace(truth, power=power), np.random.default_rng(0))
        least = [min(cell.needed for cell in cells if cell.batch_size == B) for B in truth.sizes]
        excess = np.array(least) / [1 + truth.b_crit / B for B in truth.sizes]
        np.testing.assert_allclose(excess, excess[0])


def test_intervals_are_those_of_the_whole_answer():
    truth = met(2)
    assert laws_in(truth, 2) == found_in(truth, 2).covered
    assert laws_in(truth, 2)


# The page


@pytest.mark.parametrize("name", TABLES)
def test_the_page_has_all_rows_of_a_table(name):
    """By their names, without drawing the sweeps."""
    text = re.search(f"<!-- {name} -->\n(.*)<!-- end of {name} -->", PAGE, re.DOTALL).group(1)
    nothing = {"exponents": Drawn(None, np.nan), "fits": (True, True), "laws": {}, "population": {}}
    expected = TABLES[name](1, lambda read, seeds: [nothing.get(name, Found([], False, {}))]).text
    assert [row.split("|")[1].strip() for row in text.splitlines()] == [
        row.split("|")[1].strip() for row in expected.splitlines()
    ]


def told_in(table):
    """Name of a row -> the shares in it, as they are written."""
    text = re.search(f"<!-- {table} -->\n(.*)<!-- end of {table} -->", PAGE, re.DOTALL).group(1)
    return {row.split("|")[1].strip(): re.findall(r"([\d.]+ %) \(", row) for row in text.splitlines()[2:]}


def test_the_shares_of_the_first_part_are_those_of_the_tables():
    nulls, (exponent, b_crit, s_min, *_) = told_in("nulls"), told_in("population")["all"]
    worst = max((nulls[name][0] for name in NULLS), key=lambda share: float(share.split()[0]))
    false, sum_lower = nulls["all of these together"][0], nulls["sum and mean, two batch sizes"][-1]
    first = PAGE.partition("## The tests")[0]
    assert re.findall(r"\*\*([\d.]+ %)\*\*", first) == [false, worst, sum_lower, exponent, b_crit, s_min]
    assert f"of {len(NULLS)} kinds of sweeps" in first


@pytest.mark.parametrize("name", NULLS)
def test_the_page_reports_no_more_false_claims_than_chance_explains(name):
    drawn, text = re.search(rf"^\| {re.escape(name)} \| (\d+) \|(.*)$", PAGE, re.MULTILINE).groups()
    any_false, *by_clock = [float(each) / 100 for each in re.findall(r"([\d.]+) %", text)]
    assert any_false <= at_most(0.05, int(drawn))
    assert max(by_clock) <= at_most(0.05, int(drawn) // 3)


def test_the_page_reports_at_most_5_percent_in_all_kinds_of_sweeps_together():
    """On each clock too: thousands of sweeps leave chance no room."""
    drawn, text = re.search(r"^\| all of these together \| ([\d,]+) \|(.*)$", PAGE, re.MULTILINE).groups()
    assert int(drawn.replace(",", "")) >= 4000
    assert max(float(each) for each in re.findall(r"([\d.]+) %", text)) <= 5


def shares(table):
    """Name of a row, and the lower and upper limit of each share in it, in percent."""
    text = re.search(f"<!-- {table} -->\n(.*)<!-- end of {table} -->", PAGE, re.DOTALL).group(1)
    for row in text.splitlines()[2:]:
        yield row.split("|")[1].strip(), [tuple(map(float, own)) for own in re.findall(r"([\d.]+) to ([\d.]+)\)", row)]


def test_the_page_reports_intervals_of_fits_that_hold_the_truth_in_93_to_97_percent():
    for name, limits in shares("fits"):
        assert len(limits) == 2, name
        assert all(low <= 97 and high >= 93 and high - low <= 2.5 for low, high in limits), name


def test_the_page_reports_intervals_of_exponents_that_hold_the_truth_in_93_to_97_percent():
    """Up to what 2,000 draws leave open; always, with three rates, as the page says."""
    for name, limits in shares("exponents"):
        assert all(high >= 93 and high - low <= 2.5 for low, high in limits), name
        assert all(low <= 97 for low, _ in limits) != (name in (FEW, ANY)), name


def test_the_page_reports_intervals_in_sweeps_as_users_make_them_that_hold_the_truth_in_93_to_97_percent():
    """All kinds together: of exponents, of B_crit and of S_min."""
    _, row, *_ = re.search("<!-- population -->\n.*?\n.*?\n(.*?)<!-- end", PAGE, re.DOTALL).group(1).split("|", 2)
    assert row.strip() == "all"
    (_, limits), *_ = shares("population")
    (drawn,) = re.search(r"^\| all \| ([\d,]+) \|", PAGE, re.MULTILINE).groups()
    assert int(drawn.replace(",", "")) >= 1000
    assert len(limits) == 3
    assert all(low <= 97 and high >= 93 and high - low <= 5 for low, high in limits)


def test_the_page_reports_a_power_of_80_percent_up_to_a_spread_of_18_percent():
    found = {int(name.rstrip("%")): limits[0] for name, limits in shares("power")}
    assert all(high >= 80 for spread, (_, high) in found.items() if spread <= 18)
    assert all(low >= 80 for spread, (low, _) in found.items() if spread <= 15)


def test_a_table_takes_the_place_of_the_last_one():
    page = "a\n<!-- x -->\nold\n<!-- end of x -->\nb <!-- y -->\n"
    assert with_table(page, "x", "new\\1") == "a\n<!-- x -->\nnew\\1\n<!-- end of x -->\nb <!-- y -->\n"


# Over many draws


@pytest.mark.slow
@pytest.mark.parametrize("clock", CLOCKS)
@pytest.mark.parametrize(
    "name",
    [
        "two batch sizes, four learning rates each",
        "two batch sizes, one learning rate each",
        "six learning rates against one",
        "six batch sizes, one learning rate each",
        "three optimizers, two batch sizes",
        "a third of the costs are 0",
        "1 replica in 10 diverges",
        "heavy tails (t, 2 degrees of freedom)",
        "readings of the clock differ by 20 %",
    ],
)
def test_few_sweeps_without_an_effect_get_a_false_lower(name, clock):
    assert false(replace(NULLS[name], equal_on=clock), 60) <= at_most(0.05, 60)


@pytest.mark.slow
def test_ten_replicas_find_twenty_per_cent_where_they_differ_by_fifteen():
    found = np.mean([found_in(POWERS[0.15, 10], seed).lower("epochs") for seed in range(80)])
    assert found >= 0.8 - 3 * np.sqrt(0.8 * 0.2 / 80)


@cache
def held(n):
    return [found_in(LAW, seed).covered for seed in range(n)]


@pytest.mark.slow
@pytest.mark.parametrize("name", FITS)
def test_intervals_of_fits_hold_the_truth_as_often_as_they_say(name):
    found = [own for own in (law_inside(FITS[name], seed) for seed in range(1500)) if own]
    assert len(found) > 1400
    assert (np.abs(np.mean(found, axis=0) - 0.95) <= 0.02 + 3 * np.sqrt(0.05 * 0.95 / 1500)).all()


@pytest.mark.slow
def test_intervals_of_exponents_of_parabolas_are_neither_too_narrow_nor_too_wide():
    found = [drawn("parabola", 10, seed) for seed in range(800)]
    assert abs(np.mean([own.inside for own in found]) - 0.95) <= 0.02 + 3 * np.sqrt(0.05 * 0.95 / 800)
    assert np.median([own.width for own in found]) < 0.06


@cache
def held_in_population(n):
    return [laws_in(met(seed), seed) for seed in range(5000, 5000 + n)]  # others than those of the page


@pytest.mark.slow
@pytest.mark.parametrize("name", ["exponent", "B_crit"])
def test_intervals_in_sweeps_as_users_make_them_hold_the_truth_as_often_as_they_say(name):
    inside = [each for own in held_in_population(300) for each in own.get(name, [])]
    assert len(inside) >= {"exponent": 250, "B_crit": 90}[name]
    assert abs(np.mean(inside) - 0.95) <= 0.02 + 3 * np.sqrt(0.05 * 0.95 / len(inside))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["B_crit", "S_min", "exponent"])
def test_intervals_of_laws_hold_the_truth(name):
    inside = [each for own in held(80) for each in own.get(name, [])]
    assert len(inside) >= 70
    assert np.mean(inside) >= 0.93 - 3 * np.sqrt(0.93 * 0.07 / 80)
