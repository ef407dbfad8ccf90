"""Sweeps drawn from each truth, how often their answers were right, and the tables of that."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from typing import NamedTuple, Protocol, TypeVar

import numpy as np

from benchmarks import markdown_table, say
from benchmarks.calibration.claims import Found, found_in, laws_in, said_in
from benchmarks.calibration.population import met, rows
from benchmarks.calibration.scenarios import CLOCKS, FITS, LAWS, LIMITS, NULLS, POWERS, REPLICAS, SPREADS
from benchmarks.calibration.shapes import SHAPES, drawn, law_inside
from benchmarks.calibration.sweeps import Truth

SIGNIFICANCE = 0.05
WORDS = 20  # sweeps of a truth without an effect whose words are read too
X = TypeVar("X")


class Draws(Protocol):
    """What `read` finds for each of these seeds."""

    def __call__(self, read: Callable[[int], X], seeds: Iterable[int]) -> list[X]: ...


class Table(NamedTuple):
    """text: in Markdown. wrong: rows in which more is false than chance explains."""

    text: str
    wrong: list[str]


@contextmanager
def workers(n: int) -> Iterator[Draws]:
    """Draws in n processes."""
    with ProcessPoolExecutor(n, mp_context=get_context("spawn")) as pool:
        yield lambda read, seeds: list(pool.map(read, seeds, chunksize=5))


def at_most(share: float, n: int) -> float:
    """A share of n that is above what 5 % would give by chance, once in a thousand."""
    return share + 3 * float(np.sqrt(share * (1 - share) / n))


def percent(values: Iterable[bool]) -> str:
    """`2.0 % (5 of 250, 0.9 to 4.6)`, with the 95 % limits of Wilson (1927)."""
    from scipy import stats

    known = list(values)
    if not known:
        return ""
    k, n = sum(known), len(known)
    limits = stats.binomtest(k, n).proportion_ci(method="wilson")
    return f"{100 * k / n:.1f} % ({k} of {n}, {100 * limits.low:.1f} to {100 * limits.high:.1f})"


def nulls(n: int, draws: Draws) -> Table:
    """n sweeps of each null on each clock."""
    rows, wrong = [], []
    together: dict[str, tuple[Found, ...]] = dict.fromkeys(CLOCKS, ())
    for name, truth in (NULLS | LIMITS).items():
        by_clock = {clock: tuple(_null_draws(replace(truth, equal_on=clock), n, draws)) for clock in CLOCKS}
        say(" | ".join(map(str, _null_row(name, by_clock))))
        if name in NULLS:
            together = {clock: (*together[clock], *own) for clock, own in by_clock.items()}
            false = [one.false() for own in by_clock.values() for one in own]
            if np.mean(false) > at_most(SIGNIFICANCE, len(false)):
                wrong.append(f"{name}: {percent(false)} of {len(false)} sweeps have a false claim.")
        rows.append(_null_row(name, by_clock))
    rows.insert(len(NULLS), _null_row("all of these together", together))
    header = ("sweeps without an effect", "drawn", "any false “lower”", *CLOCKS, "sum or mean")
    return Table(markdown_table(header, rows), wrong)


def _null_draws(truth: Truth, n: int, draws: Draws) -> list[Found]:
    return draws(partial(found_in, truth), range(min(n, WORDS))) + draws(partial(said_in, truth), range(WORDS, n))


def _null_row(name: str, by_clock: Mapping[str, Sequence[Found]]) -> tuple[object, ...]:
    every = [one for own in by_clock.values() for one in own]
    clocks = [percent(one.false(clock) for one in own) for clock, own in by_clock.items()]
    return name, len(every), percent(one.false() for one in every), *clocks, percent(one.false("") for one in every)


def power(n: int, draws: Draws) -> Table:
    """The share of n sweeps in which a cost that is 20 % higher is found at equal epochs."""
    rows = []
    for spread, where in SPREADS.items():
        say(f"a spread of {spread:.0%}")
        every = [draws(partial(said_in, POWERS[spread, R]), range(n)) for R in REPLICAS]
        found = [percent(one.lower("epochs") for one in own) for own in every]
        say(" | ".join(found))
        rows.append((f"{spread:.0%}", where, *found))
    header = ("spread of the ratio between replicas", "measured on", *(f"found by {R} replicas" for R in REPLICAS))
    return Table(markdown_table(header, rows), [])


def laws(n: int, draws: Draws) -> Table:
    """How often the intervals of n sweeps hold the truth, of those that are resolved and so shown."""
    rows, names = [], ("B_crit", "S_min", "exponent")
    for name, truth in LAWS.items():
        say(name)
        found = draws(partial(laws_in, truth), range(n))
        held = {key: [each for one in found for each in one.get(key, [])] for key in names}
        resolved = [percent(key in one for one in found) for key in ("B_crit", "exponent")]
        rows.append((name, n, *(percent(held[key]) for key in names), *resolved))
        say(" | ".join(map(str, rows[-1])))
    inside = [f"{key} inside" for key in names]
    header = ("sweeps with a law", "drawn", *inside, "B_crit resolved", "exponent resolved")
    return Table(markdown_table(header, rows), [])


def met_in(seed: int) -> dict[str, list[bool]]:
    return laws_in(met(seed), seed)


def population(n: int, draws: Draws) -> Table:
    """How often the intervals of n sweeps as users make them hold the truth, of those that are given."""
    truths, lines, names = [met(seed) for seed in range(n)], [], ("exponent", "B_crit", "S_min")
    found = draws(met_in, range(n))
    for name, is_in in rows().items():
        own = [one for one, truth in zip(found, truths, strict=True) if is_in(truth)]
        held = [percent(each for one in own for each in one.get(key, [])) for key in names]
        given = [f"{100 * np.mean([key in one for one in own]):.0f} %" if own else "" for key in names[:2]]
        lines.append((name, len(own), *held, *given))
        say(" | ".join(map(str, lines[-1])))
    inside, given = [f"{key} inside" for key in names], [f"{key} given" for key in names[:2]]
    return Table(markdown_table(("sweeps as users make them", "drawn", *inside, *given), lines), [])


def exponents(n: int, draws: Draws) -> Table:
    """How often the intervals of n exponents hold the truth, and how wide they are, by the shape of the cost over η."""
    rows = []
    for shape in SHAPES:
        found = [draws(partial(drawn, shape, R), range(n)) for R in REPLICAS]
        held = [percent(one.inside for one in own if one.inside is not None) for own in found]
        widths = [f"{np.median([one.width for one in own if one.inside is not None] or [np.nan]):.2f}" for own in found]
        rows.append((shape, *held, *widths))
        say(" | ".join(rows[-1]))
    header = ("cost over η", *(f"{text} {R} replicas" for text in ("inside,", "width,") for R in REPLICAS))
    return Table(markdown_table(header, rows), [])


def fits(n: int, draws: Draws) -> Table:
    """How often the intervals of n fits of a law hold the truth, of those that are resolved and so shown."""
    rows = []
    for name, truth in FITS.items():
        found = [own for own in draws(partial(law_inside, truth), range(n)) if own]
        rows.append((name, *(percent(own[i] for own in found) for i in (0, 1))))
        say(" | ".join(rows[-1]))
    return Table(markdown_table(("updates that follow a law", "B_crit inside", "S_min inside"), rows), [])


TABLES = {"nulls": nulls, "power": power, "laws": laws, "population": population, "fits": fits, "exponents": exponents}
