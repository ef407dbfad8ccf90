"""Judges learning_rate_scaling: how the best rate and the range of good ones change with the batch size."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.analysis import BATCH_SIZE, CLOCK_COLUMNS, Evidence, Finding, Panel, Series, limits
from harness.inference import (
    UNKNOWN,
    Exponent,
    Interval,
    Status,
    Verdict,
    as_ratio,
    censored,
    inside,
    pairs_to_tell,
    percentile_interval,
    resampled_medians,
    scaling_exponent,
    together,
)
from harness.report import interval, price
from harness.report.answers import WORDS, where

Array = NDArray[np.floating]
Grid = dict[float, Array]  # lr_mean -> costs (R,)
Grids = dict[float, Grid]  # B -> its grid
Setting = tuple[str, str]  # dataset, clock
Exponents = Mapping[Setting, Exponent]

CLOCKS = ("epochs", "updates")
LINEAR, ROOT = 1.0, 0.5
BATCHES = {LINEAR: ("twice", 2, "the linear rule"), ROOT: ("four times", 4, "the root")}  # at which a rule says twice
NEAR = (0.1, 0.15, 0.2, 0.25)  # an exponent so far from a rule's is still that rule's; at .25 the two rules meet
GOOD, GOODS = 2.0, (1.5, 2.0, 3.0)  # times the lowest cost of a batch size: rates below are good ones
LESS, LESSER = 0.1, (0.05, 0.1, 0.2)  # to be narrower is to lose so many doublings per fourfold batch
ROUNDING = 1e-9


@dataclass(frozen=True)
class Reading:
    """The cells of one dataset when all have spent the same on one clock. start: the cost before the first update."""

    dataset: str
    clock: str
    start: float
    grids: Grids


@dataclass(frozen=True)
class Range:
    """Widths of a range of rates by batch size, in doublings, and their slope per fourfold batch.

    open_ends: batch sizes at which it goes on beyond the grid, in words.
    """

    widths: dict[float, float]
    slope: Interval
    open_ends: list[str]


def judge(evidence: Evidence) -> Iterator[Finding]:
    readings = [reading for clock in CLOCKS for reading in read(evidence, clock)]
    bends = evidence.critical_sizes
    exponents = {
        (own.dataset, own.clock): scaling_exponent(up_to(own.grids, bends[own.dataset]), evidence.rng)
        for own in readings
        if own.dataset in bends
    }
    yield rule("L1", LINEAR, evidence, exponents, readings, bends)
    yield rule("L2", ROOT, evidence, exponents, readings, bends)
    yield good_ranges(evidence, readings)


def read(evidence: Evidence, clock: str) -> Iterator[Reading]:
    """For each dataset: costs of the mean's cells at the most that every cell has spent that did not diverge."""
    mean = evidence.cells[evidence.cells["reduction"] == "mean"]
    for dataset, own in mean.groupby("dataset"):
        _, costs = evidence.when_spent(own, CLOCK_COLUMNS[clock])
        grids: Grids = {float(B): {} for B in sorted(set(own["batch_size"]))}
        for row in own[own["cell"].isin(costs)].sort_values("lr_mean").itertuples():
            grids[float(row.batch_size)][float(row.lr_mean)] = costs[str(row.cell)]
        first = evidence.histories[own["cell"].iloc[0]]
        start = float(first.loc[first["update"] == 0, "train_cost"].median())
        if costs:
            yield Reading(str(dataset), clock, start, grids)


def up_to(grids: Grids, bend: float) -> Grids:
    return {B: grids[B] for B in grids if bend >= B}


def best_rate(grid: Mapping[float, Array]) -> float:
    """The rate with the lowest median cost; the lowest rate if none has a finite one."""
    medians = {rate: float(np.median(costs)) for rate, costs in grid.items()}
    return min(medians, key=lambda rate: (medians[rate], rate))


def rule(
    claim: str, power: float, evidence: Evidence, exponents: Exponents, readings: list[Reading], bends: dict[str, float]
) -> Finding:
    """Whether the exponents of all datasets and budgets are near that of the rule."""
    fits = {(own.dataset, clock): exponents.get((own.dataset, clock)) for own in readings for clock in CLOCKS}
    nears = {off: {at: near(fit, power, off) for at, fit in fits.items()} for off in NEAR}
    along = {off: together(own.values() or [Verdict.UNRESOLVED]) for off, own in nears.items()}
    known = {at: fit.p for at, fit in fits.items() if fit and fit.status is Status.RESOLVED}
    first, verdict, n = next(iter(known), None), together(along.values()), evidence.answer.n_replicas
    ends = np.exp([power - NEAR[-1], power + NEAR[-1]])
    needed = [pairs_to_tell(as_ratio(p), n, *ends) for p in known.values()] if len(known) == len(fits) else []
    return Finding(
        claim,
        verdict,
        (f"{_grows(known)}{_unknown(fits)}{_sum(evidence)}".strip() or "Nothing to compare.")
        + (price(evidence.price(needed, n)) if verdict is Verdict.UNRESOLVED else ""),
        unit=f"= p ({' at equal '.join(first)})" if first else "",
        effect=known[first] if first else None,
        replicas=n,
        panels=_rate_panels(readings) if claim == "L1" else [_exponent_panel(exponents)],
        rows=_exponent_rows(fits, bends, nears, power),
        along={f"how far p may be from {power:g}": along},
        plain=_how_near(known, nears, power) if known and verdict in (Verdict.CONDITIONAL, Verdict.UNRESOLVED) else "",
    )


def near(fit: Exponent | None, power: float, off: float) -> Verdict:
    known = fit is not None and fit.status is Status.RESOLVED
    return inside(fit.p, power - off, power + off) if fit and known else Verdict.UNRESOLVED


def _how_near(known: Mapping[Setting, Interval], nears: Mapping[float, Mapping[Setting, Verdict]], power: float) -> str:
    """How many times the rate a batch takes, and in how many settings that is near the rule, in plain words."""
    words, times, name = BATCHES[power]
    factors = span((times**p.estimate for p in known.values()), ".2f")
    sure = {"below": sum(p.high < power for p in known.values()), "above": sum(p.low > power for p in known.values())}
    sides = {"Less": [p.estimate < power for p in known.values()], "More": [p.estimate > power for p in known.values()]}
    only = [side for (side, own), n in zip(sides.items(), sure.values(), strict=True) if all(own) and n]
    start = f"{only[0]} than twice: up" if only else "Up"
    told = " and ".join(f"surely {side} 2 in {n}" for side, n in sure.items() if n) or "surely below or above 2 in none"
    named = nears[NEAR[-1]]
    return (
        f"{start} to the critical batch size {words} the batch takes {factors} times the rate ({told} of {len(named)} "
        f"settings); near {name} (power within {NEAR[-1]:g} of {power:g}): {_counts(named)}."
    )


def _counts(verdicts: Mapping[Setting, Verdict]) -> str:
    """`in 3 yes, in 2 not decided`."""
    counts = Counter(WORDS[verdict] for verdict in verdicts.values())
    return ", ".join(f"in {counts[word]} {word}" for word in WORDS.values() if counts[word])


def in_words(found: Mapping[Setting, Verdict], shared: int) -> dict[str, Verdict]:
    """Verdicts by setting; settings that share the dataset (0) or the clock (1) are one where their verdicts agree."""
    said = {}
    for key in found:
        alike = {found[other] for other in found if other[shared] == key[shared]}
        dataset, clock = f"on {key[0]}", f"at equal {key[1]}"
        said[(dataset, clock)[shared] if len(alike) == 1 else f"{dataset} {clock}"] = found[key]
    return said


def span(values: Iterable[float], form: str) -> str:
    """The smallest and the largest, or the only one."""
    found = sorted(values)
    return " to ".join(dict.fromkeys(format(value, form) for value in (found[0], found[-1])))


def _grows(known: Mapping[Setting, Interval]) -> str:
    if not known:
        return ""
    powers = span((p.estimate for p in known.values()), ".2f")
    return f"Up to the critical batch size the best rate grows like B^p, with p = {powers} in {len(known)} settings."


def _unknown(fits: Mapping[Setting, Exponent | None]) -> str:
    reasons = [_why_unknown(fit) for fit in fits.values() if not (fit and fit.status is Status.RESOLVED)]
    words = "; ".join(dict.fromkeys(reasons))
    return f" Not known in {len(reasons)} of {len(fits)} settings: {words}." if reasons else ""


def _why_unknown(fit: Exponent | None) -> str:
    if fit is None:
        return "B_crit is not resolved"
    return "a best rate on the edge of its grid" if fit.status is Status.AT_EDGE else fit.status.text


def _exponent_rows(
    fits: Mapping[Setting, Exponent | None],
    bends: Mapping[str, float],
    nears: Mapping[float, Mapping[Setting, Verdict]],
    power: float,
) -> list[tuple[str, ...]]:
    rows = [("data", "B up to", "at equal", "exponent p", *(f"p within {off:g} of {power:g}" for off in NEAR))]
    for key, fit in fits.items():
        bend = f"{bends[key[0]]:.0f}" if key[0] in bends else ""
        rows.append((key[0], bend, key[1], _exponent(fit), *(str(nears[off][key]) for off in NEAR)))
    return rows


def _exponent(fit: Exponent | None) -> str:
    if fit and fit.status is Status.RESOLVED:
        return interval(fit.p)
    at = f" at B={', '.join(f'{B:g}' for B in fit.at_edge)}: extend it" if fit and fit.at_edge else ""
    return f"{_why_unknown(fit)}{at}"


def _sum(evidence: Evidence) -> str:
    """What the pairs of sum and mean at one canonical rate say of the other reduction."""
    pairs = evidence.answer.pairs
    if not pairs:
        return ""
    worst = max(pair.difference for pair in pairs)
    if worst > ROUNDING:
        return f" Of sum nothing follows: at one canonical rate its costs are up to {worst:.1g} off those of mean."
    return (
        f" {len(pairs)} pairs of sum at η and mean at ηB end at the same costs, to {worst:.0g}: the rate of a sum goes "
        "with B^(p − 1)."
    )


def _rate_panels(readings: list[Reading]) -> list[Panel]:
    panels = []
    for clock in CLOCKS:
        own = [reading for reading in readings if reading.clock == clock]
        lines = [Series(r.dataset, list(r.grids), [best_rate(grid) for grid in r.grids.values()]) for r in own]
        if own:
            B = np.array(sorted({B for r in own for B in r.grids}))[[0, -1]]
            lowest = min(best_rate(next(iter(r.grids.values()))) for r in own)
            top = max(best_rate(grid) for r in own for grid in r.grids.values())
            for name, power in (("∝ B", LINEAR), ("∝ √B", ROOT)):
                reach = np.geomspace(B[0], min(B[1], B[0] * (2 * top / lowest) ** (1 / power)), 20)
                lines.append(Series(name, reach, lowest * (reach / B[0]) ** power, kind="reference"))
        panels.append(Panel(f"Best rate at equal {clock}", BATCH_SIZE, "learning rate of the mean", lines))
    return panels


def _exponent_panel(exponents: Exponents) -> Panel:
    datasets = list(dict.fromkeys(dataset for dataset, _ in exponents))
    lines = []
    for i, clock in enumerate(CLOCKS):
        fits = limits(exponents[dataset, clock].p for dataset in datasets)
        lines.append(Series(f"at equal {clock}", np.arange(len(datasets)) + 0.2 * i - 0.1, *fits, kind="marks"))
    ends = [-0.5, len(datasets) - 0.5]
    lines += [Series(name, ends, [power] * 2, kind="reference") for name, power in (("linear", LINEAR), ("√B", ROOT))]
    return Panel("Exponent up to the critical batch size", "", "p", lines, log="", names=datasets)


# L8


def good_ranges(evidence: Evidence, readings: list[Reading]) -> Finding:
    """Slopes over log4 B: of the good range's width by what is good, and of the distance to a training that fails."""
    found = {good: {key(own): widths(own, good, evidence.rng) for own in readings} for good in GOODS}
    away = {key(own): distances(own, evidence.rng) for own in readings}
    along = {good: narrower(own.values(), LESS) for good, own in found.items()}
    least = {less: narrower(found[GOOD].values(), less) for less in LESSER}
    n, stated = evidence.answer.n_replicas, found[GOOD]
    verdict = together([*along.values(), *least.values(), narrower(away.values(), LESS)])
    first = next((at for at, own in stated.items() if np.isfinite(own.slope.low)), None)
    needed = [pairs_to_tell(as_ratio(own.slope), n, 0, np.exp(-LESS)) for own in [*stated.values(), *away.values()]]
    verdicts = {at: (by_all(found, at), narrower([away[at]], LESS)) for at in stated}
    return Finding(
        "L8",
        verdict,
        "Slope per fourfold batch, in doublings of the rate, of the width of the range with costs up to "
        f"{GOOD:g} times the lowest of that size: {_slopes(stated)}; of the distance from the best rate up to one that "
        f"fails: {_slopes(away)}." + (price(evidence.price(needed, n)) if verdict is Verdict.UNRESOLVED else ""),
        unit=f"doublings of the rate per fourfold batch ({' at equal '.join(first)})" if first else "",
        effect=stated[first].slope if first else None,
        replicas=n,
        panels=[_width_panel(stated, clock, "Width of the good range") for clock in CLOCKS]
        + [_width_panel(away, clock, "From the best rate to failing") for clock in CLOCKS],
        rows=_width_rows(stated, away, verdicts),
        along={
            "how many times the lowest cost is good": along,
            "by how much the slope is below 0 where the range narrows": least,
        },
        plain=_narrows(verdicts) if verdict is Verdict.CONDITIONAL else "",
    )


def key(own: Reading) -> tuple[str, str]:
    return own.dataset, own.clock


def narrower(found: Iterable[Range], less: float) -> Verdict:
    return together([inside(own.slope, -np.inf, -less) for own in found] or [Verdict.UNRESOLVED])


def by_all(found: Mapping[float, Mapping[Setting, Range]], at: Setting) -> Verdict:
    """Whether the range narrows in one setting, whatever is good, and whatever is narrower."""
    by_good = [narrower([own[at]], LESS) for own in found.values()]
    return together([*by_good, *(narrower([found[GOOD][at]], less) for less in LESSER)])


def _narrows(verdicts: Mapping[Setting, tuple[Verdict, Verdict]]) -> str:
    """At which budget, or where, the range becomes narrower, and the distance to failing shorter; in plain words."""
    narrow = {at: own for at, (own, _) in verdicts.items()}
    nearer = {f"at equal {at}": together(own for (_, of), (_, own) in verdicts.items() if of == at) for _, at in narrow}
    return (
        f"The range of good rates narrows: {where(in_words(narrow, 1), '')}. The best rate comes nearer to rates that "
        f"fail: {where(nearer, '')}."
    )


def widths(own: Reading, good: float, rng: np.random.Generator) -> Range:
    """Of the range with a cost up to `good` times the lowest of its batch size.

    Without batch sizes at which half of the initial cost would be good: there rates are good that hardly train.
    """
    drawn, open_ends = dict[float, Array](), []
    for B, grid in own.grids.items():
        log_costs = _medians(grid, rng)
        level = np.log(good) + log_costs.min(axis=1, keepdims=True)
        if level[0] < np.log(own.start / 2):
            drawn[B] = shares(log_costs, level) @ np.diff(np.log2(sorted(grid)))
            open_ends += [f"B={B:g} (lower rates)"] if log_costs[0, 0] <= level[0] else []
            open_ends += [f"B={B:g} (higher rates)"] if log_costs[0, -1] <= level[0] else []
    return range_of(drawn, open_ends)


def distances(own: Reading, rng: np.random.Generator) -> Range:
    """From the best rate of each batch size up to that with the cost of no training."""
    drawn, open_ends = dict[float, Array](), []
    for B, grid in own.grids.items():
        log_costs, level = _medians(grid, rng), np.full((1, 1), np.log(own.start))
        above = np.arange(len(grid) - 1) >= log_costs.argmin(axis=1)[:, None]
        drawn[B] = (shares(log_costs, level) * above) @ np.diff(np.log2(sorted(grid)))
        open_ends += [f"B={B:g} (higher rates)"] if log_costs[0, -1] <= level else []
    return range_of(drawn, open_ends)


def range_of(drawn: Mapping[float, Array], open_ends: list[str]) -> Range:
    """Least-squares slope of the widths (K + 1,) over log4 B, unknown where a range goes on beyond its grid."""
    slope, x = UNKNOWN, np.log(list(drawn)) / np.log(4)
    if len(drawn) > 1 and not open_ends:
        x = x - x.mean()
        slopes = np.stack(list(drawn.values()), axis=1) @ x / (x @ x)
        slope = percentile_interval(float(slopes[0]), slopes[1:])
    return Range({B: float(own[0]) for B, own in drawn.items()}, slope, open_ends)


def shares(log_costs: Array, level: Array) -> Array:
    """Of each step of the grid, the part with a cost at or below the level (K, 1): (K, L) -> (K, L − 1).

    The log cost is a straight line over the log rate; towards a rate that diverged half of the step is good.
    """
    a, b = log_costs[:, :-1], log_costs[:, 1:]
    low, high = np.minimum(a, b), np.maximum(a, b)
    with np.errstate(invalid="ignore", divide="ignore"):
        part = np.where(np.isinf(high), 0.5, (level - low) / (high - low))
    return np.where(high <= level, 1.0, np.where(low > level, 0.0, part))


def _medians(grid: Grid, rng: np.random.Generator) -> Array:
    """log costs (K + 1, L): of the medians as they are, then of resampled replicas."""
    with np.errstate(divide="ignore"):
        return resampled_medians(np.log([censored(grid[rate]) for rate in sorted(grid)]), rng)


def _slopes(found: Mapping[Setting, Range]) -> str:
    """The smallest and the largest slope at each budget, and in how many settings it is not known."""
    known = {at: own.slope.estimate for at, own in found.items() if not np.isnan(own.slope.low)}
    words = [
        f"{span([slope for (_, at), slope in known.items() if at == clock], '+.2f')} at equal {clock}"
        for clock in dict.fromkeys(at for _, at in known)
    ]
    beyond = " (it goes on beyond the grid)" if any(own.open_ends for own in found.values()) else ""
    lost = len(found) - len(known)
    return ", ".join([*words, *([f"not known in {lost} of {len(found)} settings{beyond}"] if lost else [])])


def _width_rows(
    stated: Mapping[Setting, Range], away: Mapping[Setting, Range], verdicts: Mapping[Setting, tuple[Verdict, Verdict]]
) -> list[tuple[str, ...]]:
    """Widths and distances in doublings of the rate, their slopes per fourfold batch."""
    columns = (
        *("data", "at equal", "width at the smallest B, doublings of the rate", "at the largest B, doublings"),
        *("slope of the width, doublings per fourfold batch", "narrows"),
        *("slope of the distance to failing, doublings per fourfold batch", "nearer"),
    )
    rows: list[tuple[str, ...]] = [columns]
    for at, own in stated.items():
        first, *_, last = [f"{width:.1f} (B={B:g})" for B, width in own.widths.items()] * 2 or ["", ""]
        narrow, nearer = map(str, verdicts[at])
        rows.append((*at, first, last, _slope(own), narrow, _slope(away[at]), nearer))
    return rows


def _slope(own: Range) -> str:
    if own.open_ends:
        return f"unknown (beyond the grid at {', '.join(own.open_ends)})"
    if np.isnan(own.slope.low):
        return "unknown"
    return f"{own.slope.estimate:+.2f} [{own.slope.low:+.2f}, {own.slope.high:+.2f}]"


def _width_panel(found: Mapping[tuple[str, str], Range], clock: str, title: str) -> Panel:
    lines = [
        Series(name, list(own.widths), list(own.widths.values())) for (name, at), own in found.items() if at == clock
    ]
    return Panel(f"{title}, equal {clock}", BATCH_SIZE, "doublings of the rate", lines, log="x")
