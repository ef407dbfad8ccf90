"""Judges stability: the largest stable rate over batch sizes under both reductions, and against 2/λ_max."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.analysis import BATCH_SIZE, Evidence, Finding, Panel, Series
from harness.inference import (
    CONFIDENCE,
    RESAMPLES,
    Interval,
    Verdict,
    inside,
    median_interval,
    percentile_interval,
    proportion,
    together,
)
from harness.report import answers, interval, number

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.floating]
Key = tuple[str, str, float]  # problem, reduction, batch size

SINGLE, MINI = 1.0, 64.0


@dataclass(frozen=True)
class Rule:
    """The free constants of C15.

    share: a rate is unstable if more than this share of the trainings diverge. times: a training has diverged at so
    many times its initial cost. spread: costs spread less if B=64 has at most so many times the spread of B=1.
    """

    share: float = 0.5
    times: float = 10.0
    spread: float = 1.0


USUAL = Rule()
RULES = {
    "the share that diverges at an unstable rate": {x: Rule(share=x) for x in (0.25, 0.5, 0.75)},
    "what counts as diverged (times the initial cost)": {x: Rule(times=x) for x in (2.0, 5.0, 10.0)},
    "what counts as less spread (times that of B=1)": {x: Rule(spread=x) for x in (0.5, 0.8, 1.0)},
}
MEASURES = {  # of C15, in words
    "mean": "larger stable rates under mean",
    "sum": "larger stable rates under sum",
    "spread": "less spread of the final cost",
}
BANDS = {  # claim -> what its constant is, and by its values the band of the frontier over 2/λ_max
    "S1": ("how far from 2/λ_max (share of it)", {x: (1 - x, 1 + x) for x in (0.02, 0.05, 0.1, 0.25)}),
    "S1.network": ("how far from 2/λ_max (factor)", {x: (1 / x, x) for x in (1.1, 1.25, 1.5, 2.0)}),
}


@dataclass(frozen=True)
class Frontier:
    """Rates in the cell's own units, ascending, with the cell and the fraction diverged at each.

    stable: the largest rate at which, and at all below, surely less than a share diverge; unstable: the smallest at
    which surely more than that do. NaN: no such rate on the grid.
    """

    rates: list[float]
    cells: list[str]
    diverged: list[Interval]
    stable: float
    unstable: float
    n_train: float

    @property
    def bracket(self) -> Interval:
        """The rates between which the frontier lies; their geometric mean is the estimate."""
        return Interval(float(np.sqrt(self.stable * self.unstable)), self.stable, self.unstable)


def judge(evidence: Evidence) -> Iterator[Finding]:
    limits = sharpness_limits(evidence)
    frontiers = frontiers_of(evidence)
    yield mini_batches(evidence, frontiers, limits)
    yield batch_descent("S1", evidence, frontiers, limits)
    yield batch_descent("S1.network", evidence, frontiers, limits)


def problem_of(cells: "pd.DataFrame") -> "pd.Series[str]":
    """The dataset, and whether a layer alone or a network learns it."""
    kind = np.where(cells["model.hidden"].astype(str) == "[]", "linear", "network")
    return cells["dataset"] + " " + kind


def frontiers_of(evidence: Evidence, rule: Rule = USUAL) -> dict[Key, Frontier]:
    """Linear problems first."""
    cells = evidence.cells[evidence.cells["diagnostics"] != "full"]
    cells = cells.assign(problem=problem_of(cells)).sort_values("learning_rate")
    found = {}
    for (problem, reduction, B), own in cells.groupby(["problem", "reduction", "batch_size"], sort=False):
        lost = [diverged(evidence.histories[cell], rule.times) for cell in own["cell"]]
        shares = [proportion(k, int(n)) for k, n in zip(lost, own["n_replicas"], strict=True)]
        rates = [float(rate) for rate in own["learning_rate"]]
        limits, N = bracket(rates, shares, rule.share), float(own["n_train"].iloc[0])
        found[str(problem), str(reduction), float(B)] = Frontier(rates, list(own["cell"]), shares, *limits, N)
    return dict(sorted(found.items(), key=lambda item: (item[0][0].endswith("network"), item[0])))


def diverged(history: "pd.DataFrame", times: float) -> int:
    """Replicas that diverged, or whose cost was above `times` its initial value at two checkpoints in a row."""
    replica = history["replica"]
    over = history["train_cost"] > times * history.groupby("replica")["train_cost"].transform("first")
    twice = over & over.groupby(replica).shift(fill_value=False)
    return int(replica[twice | (history["outcome"] == "diverged")].nunique())


def bracket(rates: list[float], diverged: list[Interval], share: float) -> tuple[float, float]:
    """(stable, unstable) as of `Frontier`."""
    stable = np.nan
    for rate, own in zip(rates, diverged, strict=True):
        if own.high >= share:
            break
        stable = rate
    unstable = [rate for rate, own in zip(rates, diverged, strict=True) if own.low > share]
    return stable, min(unstable, default=np.nan)


def sharpness_limits(evidence: Evidence) -> dict[str, Interval]:
    """Problem -> 2/λ_max of the training cost before the first update, median over the trainings looked into.

    Its limits are those of the median. A quadratic cost has one λ_max wherever the weights are: one training tells it.
    """
    looked_at = evidence.cells[evidence.cells["diagnostics"] == "full"]
    measured: dict[str, list[float]] = {}
    for problem, cell in zip(problem_of(looked_at), looked_at["cell"], strict=True):
        first = evidence.table(cell, "diagnostics.csv").sort_values("update").iloc[0]
        if first["lambda_max"] > 0:
            measured.setdefault(str(problem), []).append(2 / float(first["lambda_max"]))
    found = {problem: median_interval(values) for problem, values in measured.items()}
    return {
        problem: own
        for problem, own in found.items()
        if own.confidence >= CONFIDENCE or (len(measured[problem]) == 1 and problem.endswith("linear"))
    }


# C15


def _by_stated_rules(parts: Mapping[tuple[str, str], Verdict], names: Mapping[str, str]) -> str:
    return f"By the stated rules, B=64 against B=1: {answers.differing(parts, names)}."


def mini_batches(evidence: Evidence, frontiers: Mapping[Key, Frontier], limits: Mapping[str, Interval]) -> Finding:
    """B=64 against B=1: where they diverge under either reduction, and how their costs spread; by all rules."""
    problems = compared(frontiers)
    along = {
        constant: {x: more_stable(evidence, frontiers_of(evidence, rule), rule) for x, rule in rules.items()}
        for constant, rules in RULES.items()
    }
    pairs = {(r, p): pair for p in problems for r in ("mean", "sum") if (pair := pair_of(frontiers, p, r))}
    growths = {at: growth(*pair) for at, pair in pairs.items()}
    spreads = {problem: spread_ratio(evidence, frontiers, problem) for problem in problems}
    first = next((at for at, found in growths.items() if np.isfinite([found.low, found.high]).all()), None)
    verdict = together(verdict for found in along.values() for verdict in found.values())
    parts = {at: rises(*pair) for at, pair in pairs.items()}
    parts |= {("spread", p): inside(found, 0, USUAL.spread) for p, (found, _) in spreads.items()}
    names = {measure: words for measure, words in MEASURES.items() if measure in {of for of, _ in parts}}
    return Finding(
        "C15",
        verdict,
        _growths(growths, spreads) if pairs else "Nothing to compare.",
        unit=f"× the largest stable rate of B=1 ({first[1]}, {first[0]})" if first else "",
        effect=growths[first] if first else None,
        replicas=evidence.answer.n_replicas,
        panels=[_frontier_panel(frontiers, problem, limits) for problem in problems],
        rows=_frontier_rows(frontiers, spreads, parts),
        along=along,
        plain=_by_stated_rules(parts, names) if verdict is Verdict.CONDITIONAL else "",
    )


def compared(frontiers: Mapping[Key, Frontier]) -> list[str]:
    """The problems that were trained with more than one batch size."""
    sizes = Counter(problem for problem, _ in dict.fromkeys((problem, B) for problem, _, B in frontiers))
    return [problem for problem, n in sizes.items() if n > 1]


def more_stable(evidence: Evidence, frontiers: Mapping[Key, Frontier], rule: Rule) -> Verdict:
    """The verdict of one rule, over all problems, reductions and both measures."""
    parts = []
    for problem in compared(frontiers):
        pairs = [pair_of(frontiers, problem, reduction) for reduction in ("mean", "sum")]
        parts += [rises(*pair) for pair in pairs if pair]
        parts.append(inside(spread_ratio(evidence, frontiers, problem)[0], 0, rule.spread))
    return together(parts)


def pair_of(frontiers: Mapping[Key, Frontier], problem: str, reduction: str) -> tuple[Frontier, Frontier] | None:
    """The frontiers of B=1 and of B=64, if the grid has both."""
    single, mini = (frontiers.get((problem, reduction, B)) for B in (SINGLE, MINI))
    return (single, mini) if single and mini else None


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
    pair = pair_of(frontiers, problem, "mean")
    both = set.intersection(*(set(own.rates) for own in pair)) if pair else set()
    rates = [rate for rate in both if pair and rate <= min(own.stable for own in pair)]
    if not (pair and rates):
        return Interval(np.nan, np.nan, np.nan), np.nan
    single, mini = (evidence.final_costs[own.cells[own.rates.index(max(rates))]] for own in pair)
    draws = np.vstack([np.arange(len(mini)), evidence.rng.integers(len(mini), size=(RESAMPLES, len(mini)))])
    with np.errstate(invalid="ignore", divide="ignore"):
        ratios = spread_of(mini[draws]) / spread_of(single[draws])
    return percentile_interval(float(ratios[0]), ratios[1:]), max(rates)


def spread_of(costs: Array) -> Array:
    """Standard deviation of each row; infinite where a training was lost."""
    with np.errstate(invalid="ignore"):
        return np.nan_to_num(costs.std(axis=1), nan=np.inf)


def _growths(growths: Mapping[tuple[str, str], Interval], spreads: Mapping[str, tuple[Interval, float]]) -> str:
    own = {r: [found for (of, _), found in growths.items() if of == r] for r in ("mean", "sum")}
    rates = "; ".join(f"{answers.spread(found)} under {r}" for r, found in own.items() if found)
    return (
        f"Largest stable rate (less than half of the trainings diverge) at B=64 over that at B=1: {rates}. Standard "
        f"deviation of the final cost over that at B=1: {answers.spread(found for found, _ in spreads.values())}."
    )


def _frontier_rows(
    frontiers: Mapping[Key, Frontier],
    spreads: Mapping[str, tuple[Interval, float]],
    parts: Mapping[tuple[str, str], Verdict],
) -> list[tuple[str, ...]]:
    """Rates of every batch size; what B=64 is against B=1, and its spread where rates are of the mean."""
    columns = "problem", "reduction", "B", "largest stable rate", "smallest diverging rate", "more than at B=1"
    rows: list[tuple[str, ...]] = [(*columns, "spread of the cost over B=1", "less spread")]
    for (problem, reduction, B), own in frontiers.items():
        if problem in spreads:
            size, at = "N" if own.n_train == B else f"{B:g}", (reduction if B == MINI else "", problem)
            spread = _spread(*spreads[problem]), str(parts["spread", problem])
            against = str(parts.get(at, "")), *(spread if at in parts and reduction == "mean" else ("", ""))
            rows.append((problem, reduction, size, _rate(own.stable), _rate(own.unstable), *against))
    return rows


def _spread(found: Interval, rate: float) -> str:
    return f"{interval(found)} at rate {rate:g}" if np.isfinite(found.low) else "no rate stable at both"


def _rate(value: float) -> str:
    return number(value) if np.isfinite(value) else "none on the grid"


def _frontier_panel(frontiers: Mapping[Key, Frontier], problem: str, limits: Mapping[str, Interval]) -> Panel:
    lines, sizes = [], [B for p, _, B in frontiers if p == problem]
    for reduction in ("mean", "sum"):
        own = {B: f.bracket for (p, r, B), f in sorted(frontiers.items()) if (p, r) == (problem, reduction)}
        middle, low, high = ([getattr(b, name) for b in own.values()] for name in ("estimate", "low", "high"))
        lines.append(Series(reduction, list(own), middle, low, high))
    if problem in limits:
        ends, limit = [min(sizes), max(sizes)], limits[problem].estimate
        lines.append(Series("2/λ_max at the start", ends, [limit, limit], kind="reference"))
    return Panel(problem, BATCH_SIZE, "learning rate, stable below", lines)


# S1


def at_full_batch(frontiers: Mapping[Key, Frontier], limits: Mapping[str, Interval], kind: str) -> dict[str, Interval]:
    """Problem -> the bracket of the frontier at B=N under mean, over 2/λ_max."""
    found = {}
    for (problem, reduction, B), own in frontiers.items():
        if reduction == "mean" and own.n_train == B and problem in limits and problem.endswith(kind):
            at, limit = own.bracket, limits[problem]
            found[problem] = Interval(at.estimate / limit.estimate, at.low / limit.high, at.high / limit.low)
    return found


def reaches(ratio: Interval, low: float, high: float) -> Verdict:
    """Whether the frontier lies in the band; it does not if training is stable above it, or diverges below it."""
    if ratio.low > high or ratio.high < low:
        return Verdict.REFUTED
    return inside(ratio, low, high)


def batch_descent(
    claim: str, evidence: Evidence, frontiers: Mapping[Key, Frontier], limits: Mapping[str, Interval]
) -> Finding:
    """The frontier at B=N over 2/λ_max, problem by problem, in all bands of the claim."""
    (constant, bands), ratios = BANDS[claim], at_full_batch(frontiers, limits, "linear" if claim == "S1" else "network")
    if not ratios:
        return Finding(claim, Verdict.UNRESOLVED, "No sharpness was measured at B=N.")
    each = {name: {x: reaches(found, *band) for x, band in bands.items()} for name, found in ratios.items()}
    along = {x: together(own[x] for own in each.values()) for x in bands}
    first = next((name for name, found in ratios.items() if np.isfinite([found.low, found.high]).all()), None)
    verdict = together(along.values())
    columns = "problem", "2/λ_max", "× it: stable at least at", "diverging at most at"
    body = [
        (name, _limit(limits[name]), _times(own.low), _times(own.high), *map(str, each[name].values()))
        for name, own in ratios.items()
    ]
    return Finding(
        claim,
        verdict,
        "Rate at which training with the whole set in one batch begins to diverge, between the largest stable and the "
        f"smallest diverging one, over 2/λ_max: {answers.spread(ratios.values())} ({answers.joined(ratios)}).",
        unit=f"× 2/λ_max ({first})" if first else "",
        effect=ratios[first] if first else None,
        replicas=evidence.answer.n_replicas,
        panels=[_fraction_panel(frontiers, problem, limits[problem]) for problem in ratios],
        rows=[(*columns, *(f"within {x:g}" for x in bands)), *body],
        along={constant: along},
        plain=_near(constant, ratios, each) if verdict is Verdict.CONDITIONAL else "",
    )


def _near(constant: str, ratios: Mapping[str, Interval], each: Mapping[str, Mapping[float, Verdict]]) -> str:
    """Of each problem the narrowest band in which the frontier lies, and those that are narrower, in plain words."""
    words = []
    for name, found in each.items():
        enough = min((x for x, verdict in found.items() if verdict is Verdict.SUPPORTED), default=max(found))
        known = {f"{x:g}": verdict for x, verdict in found.items() if x <= enough}
        own = ratios[name]
        beyond = f"stable at {own.low:.3g}" if own.low > 1 else f"diverging at {own.high:.3g}"
        far = found[enough] is Verdict.REFUTED
        words.append(f"on {name} {f'over {enough:g} ({beyond} times it)' if far else answers.where(known, 'within ')}")
    return f"{constant.capitalize()}: {'; '.join(words)}."


def _limit(limit: Interval) -> str:
    return number(limit.estimate) if limit.low == limit.high else interval(limit)


def _times(value: float) -> str:
    return f"{value:.4g}" if np.isfinite(value) else "none on the grid"


def _fraction_panel(frontiers: Mapping[Key, Frontier], problem: str, limit: Interval) -> Panel:
    lines, linear = [], problem.endswith("linear")  # whose rates at B=N are a fine grid: it is shown alone
    for (p, reduction, B), found in sorted(frontiers.items()):
        if p == problem and reduction == "mean" and (found.n_train == B or not linear):
            shares = found.diverged
            low, high = [share.low for share in shares], [share.high for share in shares]
            x = np.array(found.rates) / limit.estimate
            lines.append(
                Series("B=N" if found.n_train == B else f"B={B:g}", x, [share.estimate for share in shares], low, high)
            )
    lines.append(Series("2/λ_max at the start", [1, 1], [0, 1], kind="reference"))
    log = "" if linear else "x"
    return Panel(problem, "learning rate of the mean × λ_max / 2", "fraction diverged", lines, log)
