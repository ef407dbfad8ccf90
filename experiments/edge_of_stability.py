"""Judges edge_of_stability: whether sharpness rises to 2/η at B=N and stays there, and stays below at small B."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.analysis import BATCH_SIZE, Evidence, Finding, Panel, Series, limits
from harness.inference import UNKNOWN, Interval, Verdict, all_hold, inside, mean_interval, together
from harness.report import answers, bounds, number

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.floating]

EDGE = 2.0  # of η λ_max
ABOUT = (0.1, 0.15, 0.2, 0.25)  # of 2: what "about 2" means
BELOW = (0.0, 0.05, 0.1)  # of 2: what "below 2" means
SHOWN = 0.2  # the band around 2 for which the verdict is also told along what follows
START = 0.1  # of 2: how far below it a run has to begin, so that it can rise to it
LATE = (0.25, 0.1, 0.5)  # the updates after this part of a run are read; the first one unless said otherwise
LENGTHS = (1.0, 0.75, 0.5)  # of a run, as if it ended there
FEWEST_RUNS = 6  # if all of them are below 2, so is the median run: 1 - 2 × 0.5^6 is above 95 %
SMALL = 1 / 8  # of N, at most: the sizes that S3 is about


@dataclass(frozen=True, eq=False)
class Arm:
    """η λ_max of the runs of one problem, rate and batch size: updates and values of each. lost: one diverged."""

    problem: str
    rate: float
    batch_size: float
    n_train: float
    runs: list[tuple[Array, Array]]
    lost: bool

    @property
    def name(self) -> str:
        return f"{self.problem}, η={self.rate:g}"

    @property
    def start(self) -> Interval:
        """Mean over the runs, at the first update."""
        return mean_interval([values[0] for _, values in self.runs])

    def late(self, part: float = LATE[0], length: float = LENGTHS[0]) -> list[Array]:
        """Of each run, the values that were measured after this part of so long a run; NaN if there is none."""
        ends = [length * update[-1] for update, _ in self.runs]
        late = [
            values[(update > part * end) & (update <= end)]
            for (update, values), end in zip(self.runs, ends, strict=True)
        ]
        return [own if own.size else np.array([np.nan]) for own in late]

    def level(self, part: float = LATE[0], length: float = LENGTHS[0]) -> Interval:
        """Mean over the runs of their mean late values; unknown if a run diverged."""
        return UNKNOWN if self.lost else mean_interval([own.mean() for own in self.late(part, length)])

    def peaks(self, part: float = LATE[0], length: float = LENGTHS[0]) -> Array:
        """The largest late value of each run."""
        return np.array([own.max() for own in self.late(part, length)])

    @property
    def highest(self) -> float:
        """The largest value of a whole run, mean over the runs."""
        return float(np.mean([values.max() for _, values in self.runs]))

    @property
    def middle(self) -> tuple[Array, Array]:
        """Each measured update, and the median over the runs there."""
        import pandas as pd

        found = pd.concat([pd.Series(values, index=update) for update, values in self.runs]).groupby(level=0).median()
        return found.index.to_numpy(dtype=float), found.to_numpy(dtype=float)


def judge(evidence: Evidence) -> Iterator[Finding]:
    arms = list(arms_of(evidence))
    whole = [arm for arm in arms if arm.batch_size == arm.n_train]
    small = [arm for arm in arms if arm.batch_size <= SMALL * arm.n_train]
    yield full_batch(whole) if whole else unmeasured("S2")
    yield small_batches(small, arms) if small else unmeasured("S3")


def unmeasured(claim: str) -> Finding:
    return Finding(claim, Verdict.UNRESOLVED, "No run of this size was measured.")


def arms_of(evidence: Evidence) -> Iterator[Arm]:
    for (problem, B, rate), own in evidence.cells.groupby(["dataset", "batch_size", "learning_rate"], sort=False):
        tables = [_measured(evidence.table(cell, "diagnostics.csv")) for cell in own["cell"]]
        runs = [
            (table["update"].to_numpy(dtype=float), table["eta_lambda_max"].to_numpy(dtype=float)) for table in tables
        ]
        lost = any((evidence.histories[cell]["outcome"] == "diverged").any() for cell in own["cell"])
        yield Arm(str(problem), float(rate), float(B), float(own["n_train"].iloc[0]), runs, lost)


def _measured(table: "pd.DataFrame") -> "pd.DataFrame":
    """The updates at which λ_max was found."""
    return table.dropna(subset=["eta_lambda_max"]).sort_values("update")


Along = dict[str, dict[float, Verdict]]  # constant -> its values -> the verdict with each
Rule = Callable[..., Verdict]  # of an arm, a margin, the part of a run after which it is read, and its length


def along(arms: list[Arm], rule: Rule, margins: tuple[float, ...], shown: float) -> Along:
    """The verdict over all arms, along each constant."""
    at = f"(with a margin of {shown:g})"
    return {
        "the margin": {x: together(rule(arm, x) for arm in arms) for x in margins},
        f"the part of a run after which it is read {at}": {
            x: together(rule(arm, shown, x) for arm in arms) for x in sorted(LATE)
        },
        f"the part of a run at which it ends {at}": {
            x: together(rule(arm, shown, LATE[0], x) for arm in arms) for x in sorted(LENGTHS)
        },
    }


def overall(found: Along) -> Verdict:
    return together(verdict for own in found.values() for verdict in own.values())


# S2


def rises_and_stays(arm: Arm, margin: float, part: float = LATE[0], length: float = LENGTHS[0]) -> Verdict:
    """η λ_max starts below 2 and ends inside the band around it."""
    low, high = EDGE * (1 - margin), EDGE * (1 + margin)
    return all_hold([inside(arm.start, 0, EDGE * (1 - START)), inside(arm.level(part, length), low, high)])


def full_batch(arms: list[Arm]) -> Finding:
    levels = [arm.level() for arm in arms]
    said = (
        f"η λ_max at B=N after the first quarter of a run, mean over runs: {answers.spread(levels)}{_settings(levels)}."
    )
    columns = "setting", "η λ_max at the start", "after the first quarter", "largest on the way"
    body = [
        (arm.name, number(arm.start.estimate), bounds(level), number(arm.highest), *_by(rises_and_stays, arm, ABOUT))
        for arm, level in zip(arms, levels, strict=True)
    ]
    rows = [(*columns, *(f"to within {answers.percent(x)} of 2" for x in ABOUT)), *body]
    found = along(arms, rises_and_stays, ABOUT, SHOWN)
    parts = {problem: overall(along(own, rises_and_stays, ABOUT, SHOWN)) for problem, own in _by_problem(arms).items()}
    plain = f"η λ_max rises to about 2 and stays there: {answers.where(parts)}."
    return _finding("S2", said, arms, levels, _courses(arms), rows, found, plain)


# S3


def stays_below(arm: Arm, margin: float, part: float = LATE[0], length: float = LENGTHS[0]) -> Verdict:
    """η λ_max is below 2, by the margin, at every late update of every run; conditional if in some runs only."""
    peaks = arm.peaks(part, length)
    if arm.lost or len(arm.runs) < FEWEST_RUNS or np.isnan(peaks).any():
        return Verdict.UNRESOLVED
    return together(Verdict.SUPPORTED if own else Verdict.REFUTED for own in peaks < EDGE * (1 - margin))


def small_batches(arms: list[Arm], every: list[Arm]) -> Finding:
    peaks = [peak_of(arm) for arm in arms]
    known = [arm for arm in arms if not arm.lost]
    passing = f"{sum((arm.peaks() >= EDGE).sum() for arm in known)} of {sum(len(arm.runs) for arm in known)}"
    few = " Fewer than six runs of a setting say nothing." if any(len(arm.runs) < FEWEST_RUNS for arm in arms) else ""
    said = (
        f"At B of at most N/{1 / SMALL:g}, {passing} runs have η λ_max of 2 or more after their first quarter; the "
        f"largest of a run is on average {answers.spread(peaks)}{_settings(peaks)}.{few}"
    )
    names = {x: f"{answers.percent(x)} below 2" if x else "below 2" for x in BELOW}
    body = [
        (arm.name, f"{arm.batch_size:g}", _passing(arm), bounds(peak), *_by(stays_below, arm, BELOW))
        for arm, peak in zip(arms, peaks, strict=True)
    ]
    rows = [("setting", "B", "runs that pass 2", "largest η λ_max, mean over runs", *names.values()), *body]
    parts = {
        (names[x], problem): together(stays_below(arm, x) for arm in own)
        for x in BELOW
        for problem, own in _by_problem(arms).items()
    }
    plain = f"{_nearest(known)}; {answers.differing(parts, {name: name for x, name in names.items() if x})}."
    found = along(arms, stays_below, BELOW, BELOW[0])
    return _finding("S3", said, arms, peaks, list(_peaks(every)), rows, found, plain)


def _nearest(known: list[Arm]) -> str:
    """In how many runs it is below 2, and which setting comes nearest."""
    if not known:
        return "A run diverged in every setting"
    every = np.concatenate([arm.peaks() for arm in known])
    n, top = int((every < EDGE).sum()), max(known, key=lambda arm: np.nan_to_num(peak_of(arm).estimate))
    runs = f"all {n}" if n == every.size else f"{n} of {every.size}"
    at = f"on average {number(peak_of(top).estimate)} on {top.name}, B={top.batch_size:g}"
    return f"Below 2 in {runs} runs after their first quarter (highest {at})"


def _passing(arm: Arm) -> str:
    return "a run diverged" if arm.lost else f"{(arm.peaks() >= EDGE).sum()} of {len(arm.runs)}"


def _by(rule: Rule, arm: Arm, margins: Iterable[float]) -> Iterator[str]:
    return (str(rule(arm, margin)) for margin in margins)


def _settings(values: list[Interval]) -> str:
    """How many there are, and of how many nothing is known."""
    lost = sum(np.isnan(value.estimate) for value in values)
    unknown = f", not known in {lost}, where a run diverged or no λ_max was found" if lost else ""
    return f" ({len(values)} settings{unknown})"


def peak_of(arm: Arm) -> Interval:
    return UNKNOWN if arm.lost else mean_interval(arm.peaks())


def _finding(
    claim: str,
    said: str,
    arms: list[Arm],
    values: list[Interval],
    panels: list[Panel],
    rows: Sequence[Sequence[str]],
    found: Along,
    plain: str,
) -> Finding:
    """plain: the answer where the verdict is conditional."""
    verdict, unit = overall(found), f"= η λ_max ({arms[0].name}, B={arms[0].batch_size:g})"
    shown = plain if verdict is Verdict.CONDITIONAL else ""
    n_runs = min(len(arm.runs) for arm in arms)
    return Finding(claim, verdict, said, unit, values[0], n_runs, panels, rows, found, shown)


def _by_problem(arms: Iterable[Arm]) -> dict[str, list[Arm]]:
    found: dict[str, list[Arm]] = {}
    for arm in arms:
        found.setdefault(arm.problem, []).append(arm)
    return found


def _courses(arms: list[Arm]) -> list[Panel]:
    panels = []
    for problem, own in _by_problem(arms).items():
        lines = [Series(_rank(i), *arm.middle) for i, arm in enumerate(own)]
        ends = [min(arm.runs[0][0][0] for arm in own), max(arm.runs[0][0][-1] for arm in own)]
        rates = ", ".join(f"{arm.rate:g}" for arm in own)
        lines.append(Series("2", ends, [EDGE, EDGE], kind="reference"))
        panels.append(Panel(f"{problem}, B=N, η = {rates}", "updates", "η λ_max (median run)", lines, log="x"))
    return panels


def _rank(place: int) -> str:
    return {0: "lowest η", 1: "second η"}.get(place, f"η number {place + 1}")


def _peaks(arms: list[Arm]) -> Iterator[Panel]:
    for problem, own in _by_problem(arms).items():
        lines = []
        for i, rate in enumerate(sorted({arm.rate for arm in own})):
            line = sorted((arm for arm in own if arm.rate == rate), key=lambda arm: arm.batch_size)
            sizes = [arm.batch_size for arm in line]
            lines.append(Series(_rank(i), sizes, *limits(map(peak_of, line))))
        ends = [min(arm.batch_size for arm in own), max(arm.batch_size for arm in own)]
        lines.append(Series("2", ends, [EDGE, EDGE], kind="reference"))
        yield Panel(problem, BATCH_SIZE, "largest late η λ_max of a run", lines, log="x")
