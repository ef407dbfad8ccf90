"""Judges stability: the largest stable rate over batch sizes under both reductions, and against 2/λ_max."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.analysis import BATCH_SIZE, Evidence, Finding, Panel, Series
from harness.inference import RESAMPLES, Interval, Verdict, inside, percentile_interval, proportion, together
from harness.report import interval, number

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.floating]
Key = tuple[str, str, float]  # problem, reduction, batch size

SINGLE, MINI = 1.0, 64.0
HALF = 0.5
EXACT = (0.9, 1.1)  # of 2/λ_max


@dataclass(frozen=True)
class Frontier:
    """Rates in the cell's own units, ascending, with the fraction diverged at each.

    stable: the largest rate at which, and at all below, surely less than half diverge; unstable: the smallest at which
    surely more than half do. NaN: no such rate on the grid.
    """

    rates: list[float]
    diverged: list[Interval]
    stable: float
    unstable: float
    n_train: float

    @property
    def bracket(self) -> Interval:
        """The rates between which the frontier lies; their geometric mean is the estimate."""
        return Interval(float(np.sqrt(self.stable * self.unstable)), self.stable, self.unstable)


def judge(evidence: Evidence) -> Iterator[Finding]:
    frontiers = dict(sorted(frontiers_of(evidence), key=lambda item: (item[0][0].endswith("network"), item[0])))
    limits = sharpness_limits(evidence)
    yield mini_batches(evidence, frontiers, limits)
    yield batch_descent(evidence, frontiers, limits)


# Frontiers


def problem_of(cells: "pd.DataFrame") -> "pd.Series[str]":
    """The dataset, and whether a layer alone or a network learns it."""
    kind = np.where(cells["model.hidden"].astype(str) == "[]", "linear", "network")
    return cells["dataset"] + " " + kind


def frontiers_of(evidence: Evidence) -> Iterator[tuple[Key, Frontier]]:
    cells = evidence.cells[evidence.cells["diagnostics"] != "full"]
    cells = cells.assign(problem=problem_of(cells)).sort_values("learning_rate")
    for (problem, reduction, B), own in cells.groupby(["problem", "reduction", "batch_size"], sort=False):
        counted = zip(own["n_diverged"], own["n_replicas"], strict=True)
        shares = [proportion(int(k), int(n)) for k, n in counted]
        rates = [float(rate) for rate in own["learning_rate"]]
        found = Frontier(rates, shares, *bracket(rates, shares), float(own["n_train"].iloc[0]))
        yield (str(problem), str(reduction), float(B)), found


def bracket(rates: list[float], diverged: list[Interval]) -> tuple[float, float]:
    """(stable, unstable) as of `Frontier`."""
    stable = np.nan
    for rate, share in zip(rates, diverged, strict=True):
        if share.high >= HALF:
            break
        stable = rate
    unstable = [rate for rate, share in zip(rates, diverged, strict=True) if share.low > HALF]
    return stable, min(unstable, default=np.nan)


def sharpness_limits(evidence: Evidence) -> dict[str, float]:
    """Problem -> 2/λ_max of the training cost before the first update."""
    looked_at = evidence.cells[evidence.cells["diagnostics"] == "full"]
    limits = {}
    for problem, cell in zip(problem_of(looked_at), looked_at["cell"], strict=True):
        first = evidence.table(cell, "diagnostics.csv").sort_values("update").iloc[0]
        if first["lambda_max"] > 0:
            limits[str(problem)] = 2 / float(first["lambda_max"])
    return limits


# C15


def mini_batches(evidence: Evidence, frontiers: Mapping[Key, Frontier], limits: Mapping[str, float]) -> Finding:
    """B=64 against B=1: where they diverge under either reduction, and how their costs spread."""
    problems = list(dict.fromkeys(problem for problem, _, _ in frontiers))
    verdicts, said, growths = [], [], []
    for problem in problems:
        words = []
        for reduction in ("mean", "sum"):
            pair = [frontiers.get((problem, reduction, B)) for B in (SINGLE, MINI)]
            if pair[0] and pair[1]:
                verdicts.append(rises(pair[0], pair[1]))
                growths.append((problem, reduction, growth(pair[0], pair[1])))
                words.append(f"{reduction} {_path(frontiers, problem, reduction)}{_clearly(verdicts[-1])}")
        spread, rate = spread_ratio(evidence, frontiers, problem)
        verdicts.append(inside(spread, 0, 1))
        if np.isfinite(spread.low):
            words.append(f"spread of the final cost at rate {rate:g}, B=64 over B=1: {interval(spread)}")
        said.append(f"{problem}: {'; '.join(words) or 'nothing to compare'}")
    first = growths[0] if growths else None
    known = first is not None and np.isfinite([first[2].low, first[2].high]).all()
    return Finding(
        "C15",
        together(verdicts) if verdicts else Verdict.UNRESOLVED,
        f"Largest stable / smallest diverging rate - {'. '.join(said)}.",
        unit=f"× the largest stable rate of B=1 ({first[0]}, {first[1]})" if first and known else "",
        effect=first[2] if first and known else None,
        replicas=evidence.answer.n_replicas,
        panels=[_frontier_panel(frontiers, problem, limits) for problem in problems],
    )


def rises(single: Frontier, mini: Frontier) -> Verdict:
    """The claim that the mini-batch is stable at a rate, in the cells' own units, at which the single one diverges."""
    if mini.stable >= single.unstable:
        return Verdict.SUPPORTED
    return Verdict.REFUTED if single.stable >= mini.unstable else Verdict.UNRESOLVED


def growth(single: Frontier, mini: Frontier) -> Interval:
    """How many times the rate at the frontier is as large; limits from the brackets of both."""
    ratio = mini.bracket.estimate / single.bracket.estimate
    return Interval(ratio, mini.stable / single.unstable, mini.unstable / single.stable)


def spread_ratio(evidence: Evidence, frontiers: Mapping[Key, Frontier], problem: str) -> tuple[Interval, float]:
    """Standard deviation of the final cost at B=64 over that at B=1, resampling replicas, and the rate where."""
    unknown = Interval(np.nan, np.nan, np.nan), np.nan
    pair = [frontiers.get((problem, "mean", B)) for B in (SINGLE, MINI)]
    if not (pair[0] and pair[1]):
        return unknown
    rates = [rate for rate in pair[0].rates if rate in pair[1].rates and rate <= min(pair[0].stable, pair[1].stable)]
    if not rates:
        return unknown
    costs = [evidence.final_costs[_cell(evidence, problem, B, max(rates))] for B in (MINI, SINGLE)]
    draws = evidence.rng.integers(len(costs[0]), size=(RESAMPLES, len(costs[0])))
    draws = np.vstack([np.arange(len(costs[0])), draws])
    with np.errstate(invalid="ignore", divide="ignore"):
        ratios = np.divide(*(own[draws].std(axis=1) for own in costs))
    return percentile_interval(float(ratios[0]), ratios[1:]), max(rates)


def _cell(evidence: Evidence, problem: str, batch_size: float, rate: float) -> str:
    cells = evidence.cells[evidence.cells["diagnostics"] != "full"]
    mine = (problem_of(cells) == problem) & (cells["reduction"] == "mean")
    mine &= (cells["batch_size"] == batch_size) & (cells["learning_rate"] == rate)
    return str(cells.loc[mine, "cell"].iloc[0])


def _path(frontiers: Mapping[Key, Frontier], problem: str, reduction: str) -> str:
    own = {B: found for (p, r, B), found in frontiers.items() if (p, r) == (problem, reduction)}
    return ", ".join(
        f"{_rate(own[B].stable)} / {_rate(own[B].unstable)} at B={'N' if own[B].n_train == B else f'{B:g}'}"
        for B in sorted(own)
    )


def _rate(value: float) -> str:
    return number(value) if np.isfinite(value) else "none on the grid"


def _clearly(verdict: Verdict) -> str:
    return {Verdict.SUPPORTED: " (B=64 higher)", Verdict.REFUTED: " (B=64 lower)"}.get(verdict, " (not told apart)")


def _frontier_panel(frontiers: Mapping[Key, Frontier], problem: str, limits: Mapping[str, float]) -> Panel:
    lines, sizes = [], [B for p, _, B in frontiers if p == problem]
    for reduction in ("mean", "sum"):
        own = {B: f.bracket for (p, r, B), f in sorted(frontiers.items()) if (p, r) == (problem, reduction)}
        middle, low, high = ([getattr(b, name) for b in own.values()] for name in ("estimate", "low", "high"))
        lines.append(Series(reduction, list(own), middle, low, high))
    if problem in limits:
        lines.append(Series("2/λ_max at the start", [min(sizes), max(sizes)], [limits[problem]] * 2, kind="reference"))
    return Panel(problem, BATCH_SIZE, "learning rate, stable below", lines)


# S1


def batch_descent(evidence: Evidence, frontiers: Mapping[Key, Frontier], limits: Mapping[str, float]) -> Finding:
    """The frontier at B=N over 2/λ_max, problem by problem."""
    whole = {p: f for (p, reduction, B), f in frontiers.items() if reduction == "mean" and f.n_train == B}
    ratios = {
        problem: Interval(*(limit / limits[problem] for limit in _limits(found.bracket)))
        for problem, found in whole.items()
        if problem in limits
    }
    verdicts = [reaches(found) for found in ratios.values()]
    shown = "; ".join(
        f"{problem}: 2/λ_max = {number(limits[problem])}, {_times(found)}" for problem, found in ratios.items()
    )
    first = next((name for name, found in ratios.items() if np.isfinite([found.low, found.high]).all()), None)
    return Finding(
        "S1",
        together(verdicts) if verdicts else Verdict.UNRESOLVED,
        f"The whole training set in one batch - {shown}." if ratios else "No sharpness was measured at B=N.",
        unit=f"× 2/λ_max ({first})" if first else "",
        effect=ratios[first] if first else None,
        replicas=evidence.answer.n_replicas,
        panels=[_fraction_panel(frontiers, problem, limits[problem]) for problem in ratios],
    )


def _times(ratio: Interval) -> str:
    stable = f"stable at {number(ratio.low)} times that" if np.isfinite(ratio.low) else "stable nowhere on the grid"
    wild = f"diverging at {number(ratio.high)} times" if np.isfinite(ratio.high) else "diverging nowhere on the grid"
    return f"{stable}, {wild}"


def _limits(found: Interval) -> tuple[float, float, float]:
    return found.estimate, found.low, found.high


def reaches(ratio: Interval) -> Verdict:
    """Whether the frontier lies at 2/λ_max; it does not if training is stable well above, or diverges well below."""
    if ratio.low > EXACT[1] or ratio.high < EXACT[0]:
        return Verdict.REFUTED
    return inside(ratio, *EXACT)


def _fraction_panel(frontiers: Mapping[Key, Frontier], problem: str, limit: float) -> Panel:
    lines = []
    for (p, reduction, B), found in sorted(frontiers.items()):
        if p == problem and reduction == "mean":
            shares = found.diverged
            low, high = [share.low for share in shares], [share.high for share in shares]
            x = np.array(found.rates) / limit
            label = "B=N" if found.n_train == B else f"B={B:g}"
            lines.append(Series(label, x, [share.estimate for share in shares], low, high))
    return Panel(problem, "learning rate of the mean × λ_max / 2", "fraction diverged", lines, log="x")
