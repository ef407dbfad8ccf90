"""What the answer of a drawn sweep claims, in its tables and in its words, and whether it is true."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

import numpy as np

from benchmarks.calibration.sweeps import TrueCell, Truth, draw
from harness.analysis import MARGIN, Answer, Arm, Standing, SweepData, answer, targets_table
from harness.analysis.answers import SEED, at_equal_epochs, compared
from harness.analysis.batch_sizes import exponents, final_costs, fits_table, target_costs, to_goals
from harness.analysis.courses import Courses
from harness.analysis.headlines import Headline
from harness.analysis.reductions import SumOrMean, matched_pairs
from harness.inference import Exponent, Status
from harness.report import headlines, note

if TYPE_CHECKING:
    import pandas as pd

LOWER = re.compile(r"has (?:a|the) lower training cost")  # in the headline
IN_TABLES = re.compile(r"\| (?:lower|sum lower|mean lower)\b")  # in the rest of the note
SAME = 1e-9  # log ratio


class Claim(NamedTuple):
    """That a cost is "lower", or "equal" within the margin. clock: "" of sum against mean."""

    clock: str
    what: str
    true: bool


@dataclass(frozen=True)
class Found:
    """Of one sweep. said: the claims. unfounded: whether words of the note claim what the answer does not.

    covered: name of an interval that the note shows -> whether it holds the truth.
    """

    said: list[Claim]
    unfounded: bool
    covered: dict[str, list[bool]]

    def false(self, clock: str | None = None) -> bool:
        """Whether a cost is falsely said to be lower (on a clock)."""
        wrong = [claim for claim in self.said if claim.what == "lower" and not claim.true]
        return self.unfounded or any(clock in (None, claim.clock) for claim in wrong)

    def lower(self, clock: str) -> bool:
        """Whether a truly lower cost is said to be lower on this clock."""
        return any(claim.what == "lower" and claim.true and claim.clock == clock for claim in self.said)


def found_in(truth: Truth, seed: int) -> Found:
    """Draw a sweep, answer it, read the answer. Sweeps of different truths share no random numbers."""
    data, cells = _drawn(truth, seed)
    own = answer(data)
    said = [*_of_leads(own.headlines, cells), *_of_reductions(own.sum_or_mean, cells)]
    first, text = " ".join(headlines(own)), note(data, own)
    n_lower = sum(claim.what == "lower" for claim in said)
    unfounded = (n_lower == 0) and bool(LOWER.search(first) or IN_TABLES.search(text))
    return Found(said, unfounded, _covered(truth, own))


def said_in(truth: Truth, seed: int) -> Found:
    """What the same sweep's comparisons claim, without the rest of the answer and its words: twice as fast."""
    data, cells = _drawn(truth, seed)
    pairs = matched_pairs(data.finished, final_costs(data.replicas))
    leads, reductions, _ = compared(data, Courses(data.histories), pairs)
    return Found([*_of_leads(leads, cells), *_of_reductions(reductions, cells)], False, {})


def laws_in(truth: Truth, seed: int) -> dict[str, list[bool]]:
    """Which intervals of laws the same sweep's answer has, as `Found.covered`, without the rest of it."""
    data, _ = _drawn(truth, seed)
    cells, rng = data.finished, np.random.default_rng(SEED)
    goals, _ = target_costs(cells, data.histories)
    courses = Courses(data.histories)
    reached = to_goals(courses, goals, cells)
    fits = fits_table(targets_table(cells, reached, rng), reached, rng)
    tuned = final_costs(data.replicas) | at_equal_epochs(cells, courses)
    return _laws(truth, fits, exponents(cells, tuned, rng))


def _drawn(truth: Truth, seed: int) -> tuple[SweepData, dict[str, TrueCell]]:
    return draw(truth, np.random.default_rng([seed, crc32(repr(truth).encode())]))


def _of_leads(headlines: Iterable[Headline], cells: Mapping[str, TrueCell]) -> Iterator[Claim]:
    for headline in headlines:
        for lead in headline.leads:
            costs = [_best(arm, cells, lead.clock, lead.budget) for arm in (lead.first, lead.second)]
            yield from _claims(lead.clock, lead.standing, costs[0] - costs[1])


def _of_reductions(reductions: Iterable[SumOrMean], cells: Mapping[str, TrueCell]) -> Iterator[Claim]:
    """At equal epochs sum and mean have the same X, so they differ by their factors at most."""
    for each in reductions:
        ratios = [_best(a, cells, "epochs", 1.0) - _best(b, cells, "epochs", 1.0) for a, b in each.best.values()]
        yield from _claims("", each.standing, float(np.mean(ratios)))


def _best(arm: Arm, cells: Mapping[str, TrueCell], clock: str, spent: float) -> float:
    """The truly lowest log cost of the arm."""
    return min(cells[name].log_cost(clock, spent) for name in arm.cells["cell"])


def _claims(clock: str, standing: Standing, ratio: float) -> Iterator[Claim]:
    """ratio: log of the true cost of the first arm over that of the second."""
    if standing in (Standing.LOWER, Standing.HIGHER):
        yield Claim(clock, "lower", (ratio if standing is Standing.LOWER else -ratio) < -SAME)
    elif standing is Standing.EQUAL:
        yield Claim(clock, "equal", abs(ratio) <= np.log1p(MARGIN) + SAME)


def _covered(truth: Truth, own: Answer) -> dict[str, list[bool]]:
    """Of intervals that the note shows: of the fits and exponents that are resolved, of ratios."""
    found = _laws(truth, own.fits, own.exponents)
    for each in own.sum_or_mean:
        for ratio in each.ratios.values():
            if not np.isnan(ratio.low):
                found.setdefault("ratio of costs", []).append(1 in ratio)
    return found


def _laws(truth: Truth, fits: "pd.DataFrame", powers: Mapping[tuple[str, str], Exponent]) -> dict[str, list[bool]]:
    found: dict[str, list[bool]] = {}
    for fit in fits[fits["resolved"].astype(bool)].itertuples() if truth.b_crit else ():
        found.setdefault("B_crit", []).append(fit.b_crit_low <= truth.b_crit <= fit.b_crit_high)
        found.setdefault("S_min", []).append(fit.s_min_low <= truth.s_min <= fit.s_min_high)
    for exponent in powers.values() if truth.b_crit else ():
        if exponent.status is Status.RESOLVED:
            found.setdefault("exponent", []).append(truth.power in exponent.p)
    return found
