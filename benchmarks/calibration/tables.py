"""Sweeps drawn from each truth, how often their answers were right, and the tables of that."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from typing import NamedTuple

import numpy as np

from benchmarks import markdown_table, say
from benchmarks.calibration.claims import Found, found_in
from benchmarks.calibration.scenarios import CLOCKS, LAWS, LIMITS, NULLS, POWERS, REPLICAS, SPREADS
from benchmarks.calibration.sweeps import Truth

SIGNIFICANCE = 0.05
WORKERS = 2
Draws = Callable[[Truth, int], list[Found]]


class Table(NamedTuple):
    """text: in Markdown. wrong: rows in which more is false than chance explains."""

    text: str
    wrong: list[str]


@contextmanager
def workers() -> Iterator[Draws]:
    """n sweeps of a truth, drawn and answered in two processes."""
    with ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn")) as pool:
        yield lambda truth, n: list(pool.map(partial(found_in, truth), range(n), chunksize=5))


def at_most(share: float, n: int) -> float:
    """A share of n that is above what 5 % would give by chance, once in a thousand."""
    return share + 3 * float(np.sqrt(share * (1 - share) / n))


def percent(values: Iterable[bool]) -> str:
    known = list(values)
    return f"{100 * np.mean(known):.1f} %" if known else ""


def nulls(n: int, draws: Draws) -> Table:
    """n sweeps of each null on each clock."""
    rows, wrong = [], []
    together: dict[str, tuple[Found, ...]] = dict.fromkeys(CLOCKS, ())
    for name, truth in (NULLS | LIMITS).items():
        by_clock = {clock: tuple(draws(replace(truth, equal_on=clock), n)) for clock in CLOCKS}
        say(name)
        if name in NULLS:
            together = {clock: (*together[clock], *own) for clock, own in by_clock.items()}
            false = [one.false() for own in by_clock.values() for one in own]
            if np.mean(false) > at_most(SIGNIFICANCE, len(false)):
                wrong.append(f"{name}: {percent(false)} of {len(false)} sweeps have a false claim.")
        rows.append(_null_row(name, by_clock))
    rows.insert(len(NULLS), _null_row("all of these together", together))
    header = ("sweeps without an effect", "drawn", "any false “lower”", *CLOCKS, "sum or mean")
    return Table(markdown_table(header, rows), wrong)


def _null_row(name: str, by_clock: Mapping[str, Sequence[Found]]) -> tuple[object, ...]:
    every = [one for own in by_clock.values() for one in own]
    clocks = [percent(one.false(clock) for one in own) for clock, own in by_clock.items()]
    return name, len(every), percent(one.false() for one in every), *clocks, percent(one.false("") for one in every)


def power(n: int, draws: Draws) -> Table:
    """The share of n sweeps in which a cost that is 20 % higher is found at equal epochs."""
    rows = []
    for spread in SPREADS:
        say(f"a spread of {spread:.0%}")
        found = [percent(one.lower("epochs") for one in draws(POWERS[spread, R], n)) for R in REPLICAS]
        rows.append((f"{spread:.0%}", *found))
    header = ("spread of the ratio between replicas", *(f"found by {R} replicas" for R in REPLICAS))
    return Table(markdown_table(header, rows), [])


def laws(n: int, draws: Draws) -> Table:
    """How often the intervals of n sweeps hold the truth, of those that are resolved and so shown."""
    rows, names = [], ("B_crit", "S_min", "exponent")
    for name, truth in LAWS.items():
        say(name)
        found = draws(truth, n)
        held = {key: [each for one in found for each in one.covered.get(key, [])] for key in names}
        resolved = [percent(key in one.covered for one in found) for key in ("B_crit", "exponent")]
        rows.append((name, n, *(percent(held[key]) for key in names), *resolved))
    inside = [f"{key} inside" for key in names]
    header = ("sweeps with a law", "drawn", *inside, "B_crit resolved", "exponent resolved")
    return Table(markdown_table(header, rows), [])


TABLES = {"nulls": nulls, "power": power, "laws": laws}
