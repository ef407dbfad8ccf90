"""Judges learning_rate_scaling: best rates over batch sizes at three budgets, what rules of thumb cost, good ranges."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.analysis import BATCH_SIZE, CLOCK_COLUMNS, Evidence, Finding, Panel, Series, costs_at, quartiles, spent
from harness.inference import (
    Exponent,
    Interval,
    Status,
    Verdict,
    censored,
    equal,
    inside,
    lower,
    percentile_interval,
    resampled_medians,
    scaling_exponent,
    together,
)
from harness.report import interval, number

Array = NDArray[np.floating]
Grid = dict[float, Array]  # lr_mean -> costs (R,)
Grids = dict[float, Grid]  # B -> its grid

LINEAR, ROOT = (0.75, 1.25), (0.25, 0.75)  # exponents that are nearest to 1, and to ½
RULES = {"unscaled": 0.0, "√B": 0.5, "linear": 1.0}
BASE = 4  # batch size at which a rule's rate is tuned
FAR = 16  # times the base, from where an unscaled rate is to be the worst
ABOUT = 3.0  # B_crit is known to this factor only
GOOD = 2.0  # times the lowest cost at the budget: rates below are good ones
ROUNDING = 1e-9


@dataclass(frozen=True)
class Reading:
    """The cells of one dataset and reduction when all have spent the same on one clock."""

    dataset: str
    clock: str
    budget: float
    grids: Grids


def judge(evidence: Evidence) -> Iterator[Finding]:
    readings = [reading for clock in CLOCK_COLUMNS for reading in read(evidence, clock)]
    bends = critical_sizes(evidence)
    exponents = {
        (own.dataset, own.clock): scaling_exponent(up_to(own.grids, bends[own.dataset]), evidence.rng)
        for own in readings
        if own.dataset in bends
    }
    yield rule("L1", LINEAR, evidence, exponents, readings, bends)
    yield rule("L2", ROOT, evidence, exponents, readings, bends)
    at_equal_epochs = [own for own in readings if own.clock == "epochs"]
    yield rules_against_tuning(evidence, at_equal_epochs, bends)
    yield good_ranges(evidence, [own for own in readings if own.clock != "train seconds"])


# Readings


def read(evidence: Evidence, clock: str) -> Iterator[Reading]:
    """For each dataset: costs of the mean's cells at the most that every cell has spent that did not diverge."""
    mean = evidence.cells[evidence.cells["reduction"] == "mean"]
    for dataset, own in mean.groupby("dataset"):
        whole = own.loc[own["n_diverged"] < own["n_replicas"] / 2, "cell"]
        if whole.empty:
            continue
        column, n_timed = CLOCK_COLUMNS[clock], evidence.data.n_blocks if clock == "train seconds" else None
        budget, grids = min(spent(evidence.histories[cell], column) for cell in whole), dict[float, Grid]()
        for row in own.sort_values("lr_mean").itertuples():
            costs = costs_at(evidence.histories[row.cell], column, budget)[:n_timed]
            grids.setdefault(float(row.batch_size), {})[float(row.lr_mean)] = costs
        yield Reading(str(dataset), clock, budget, dict(sorted(grids.items())))


def critical_sizes(evidence: Evidence) -> dict[str, float]:
    """Dataset -> B_crit, fitted to the updates to target of the mean's cells, where that is resolved."""
    fits = evidence.answer.fits
    fits = fits[(fits["reduction"] == "mean") & fits["resolved"].astype(bool)]
    dataset = evidence.cells.drop_duplicates("setting").set_index("setting")["dataset"]
    return {str(dataset[row.setting]): float(row.b_crit) for row in fits.itertuples()}


def up_to(grids: Grids, bend: float) -> Grids:
    return {B: grids[B] for B in grids if bend >= B}


def best_rate(grid: Grid) -> float:
    """The rate with the lowest median cost; the lowest rate if none has a finite one."""
    medians = {rate: float(np.median(costs)) for rate, costs in grid.items()}
    return min(medians, key=lambda rate: (medians[rate], rate))


# L1, L2


def rule(
    claim: str,
    limits: tuple[float, float],
    evidence: Evidence,
    exponents: Mapping[tuple[str, str], Exponent],
    readings: list[Reading],
    bends: Mapping[str, float],
) -> Finding:
    """Whether the exponents of all datasets and budgets lie within the limits."""
    datasets = list(dict.fromkeys(own.dataset for own in readings))
    verdicts = {key: within(fit, limits) for key, fit in exponents.items()}
    for dataset in datasets:
        verdicts |= {} if dataset in bends else {(dataset, "any"): Verdict.UNRESOLVED}
    parts = [
        f"{dataset} (B up to {bends[dataset]:.0f}): "
        + ", ".join(f"{_exponent(exponents[dataset, clock])} at equal {clock}" for clock in CLOCK_COLUMNS)
        if dataset in bends
        else f"{dataset}: B_crit is not resolved"
        for dataset in datasets
    ]
    first = next((key for key, fit in exponents.items() if fit.status is Status.RESOLVED), None)
    return Finding(
        claim,
        together(verdicts.values()) if verdicts else Verdict.UNRESOLVED,
        f"Exponent p of the best rate, up to the critical batch size - {'; '.join(parts)}. "
        f"{_beyond(readings, bends)}{_sum(evidence)}".strip(),
        unit=f"= p ({' at equal '.join(first)})" if first else "",
        effect=exponents[first].p if first else None,
        replicas=evidence.answer.n_replicas,
        panels=_rate_panels(readings) if claim == "L1" else [_exponent_panel(exponents)],
    )


def within(fit: Exponent, limits: tuple[float, float]) -> Verdict:
    return inside(fit.p, *limits) if fit.status is Status.RESOLVED else Verdict.UNRESOLVED


def _exponent(fit: Exponent) -> str:
    if fit.status is Status.AT_EDGE:
        return f"a best rate on the edge of its grid at B={', '.join(f'{B:g}' for B in fit.at_edge)}: extend it"
    if fit.status is not Status.RESOLVED:
        return fit.status.text
    return interval(fit.p)


def _beyond(readings: list[Reading], bends: Mapping[str, float]) -> str:
    """How the best rate goes on from the batch size nearest to B_crit to the whole set, at equal epochs."""
    parts = []
    for own in readings:
        if own.dataset in bends and own.clock == "epochs":
            near = min(own.grids, key=lambda B: abs(np.log(B / bends[own.dataset])))
            last = max(own.grids)
            growth = best_rate(own.grids[last]) / best_rate(own.grids[near])
            parts.append(f"{number(growth)} from B={near:g} to {last:g} ({own.dataset})")
    return f"Beyond it the best rate at equal epochs is multiplied by {', '.join(parts)}. " if parts else ""


def _sum(evidence: Evidence) -> str:
    """What the pairs of sum and mean at one canonical rate say of the other reduction."""
    pairs = evidence.answer.pairs
    if not pairs:
        return ""
    worst = max(pair.difference for pair in pairs)
    if worst > ROUNDING:
        return f"Of sum nothing follows: at one canonical rate its costs are up to {worst:.1g} off those of mean."
    sizes = ", ".join(f"{B:g}" for B in sorted({pair.batch_size for pair in pairs}))
    return (
        f"{len(pairs)} pairs of sum at η and mean at ηB (B = {sizes}) end at the same costs, to {worst:.0g}: the rate "
        "of a sum goes with B^(p − 1)."
    )


def _rate_panels(readings: list[Reading]) -> list[Panel]:
    panels = []
    for clock in CLOCK_COLUMNS:
        own = [reading for reading in readings if reading.clock == clock]
        lines = [Series(r.dataset, list(r.grids), [best_rate(grid) for grid in r.grids.values()]) for r in own]
        if own:
            B = np.array(sorted({B for r in own for B in r.grids}))[[0, -1]]
            lowest = min(best_rate(next(iter(r.grids.values()))) for r in own)
            top = max(best_rate(grid) for r in own for grid in r.grids.values())
            for name, power in (("∝ B", 1.0), ("∝ √B", 0.5)):
                reach = np.geomspace(B[0], min(B[1], B[0] * (2 * top / lowest) ** (1 / power)), 20)
                lines.append(Series(name, reach, lowest * (reach / B[0]) ** power, kind="reference"))
        panels.append(Panel(f"Best rate at equal {clock}", BATCH_SIZE, "learning rate of the mean", lines))
    return panels


def _exponent_panel(exponents: Mapping[tuple[str, str], Exponent]) -> Panel:
    datasets = list(dict.fromkeys(dataset for dataset, _ in exponents))
    lines = []
    for i, clock in enumerate(CLOCK_COLUMNS):
        fits = [exponents[dataset, clock].p for dataset in datasets]
        place = np.arange(len(datasets)) + 0.15 * (i - 1)
        low, high = [fit.low for fit in fits], [fit.high for fit in fits]
        lines.append(Series(f"at equal {clock}", place, [fit.estimate for fit in fits], low, high, kind="marks"))
    ends = [-0.5, len(datasets) - 0.5]
    lines += [
        Series("linear", ends, [1, 1], kind="reference"),
        Series("square root", ends, [0.5, 0.5], kind="reference"),
    ]
    return Panel("Exponent up to the critical batch size", "", "p", lines, log="", names=datasets)


# G1


def rules_against_tuning(evidence: Evidence, readings: list[Reading], bends: Mapping[str, float]) -> Finding:
    """The three parts of the claim; all their comparisons are one family, the other ratios are only shown."""
    arms: dict[tuple[str, str, float, str], tuple[Array, Array]] = {}
    verdicts: dict[str, list[Verdict]] = {"good": [], "beyond": [], "worst": []}
    edges, shown = [], []
    for own in readings:
        bend = bends.get(own.dataset, np.nan)
        costs = {B: rule_costs(own.grids, B) for B in own.grids if B > BASE} if BASE in own.grids else {}
        edges += [f"{own.dataset} B={B:g}" for B in own.grids if B >= BASE and on_edge(own.grids[B])]
        shown.append(f"{own.dataset} " + ", ".join(f"B={B:g}: {_costs(found)}" for B, found in costs.items()))
        for B, found in costs.items():
            for part, a, b in claimed(B, bend):
                if a in found and b in found:
                    arms[part, own.dataset, B, a + b] = found[a], found[b]
                else:
                    verdicts[part].append(Verdict.UNRESOLVED)
    compared = evidence.compare(arms)
    for (part, *_), comparison in compared.items():
        verdicts[part].append(equal(comparison) if part == "good" else lower(comparison))
    each = {part: together(own) if own else Verdict.UNRESOLVED for part, own in verdicts.items()}
    edge = f" On the edge of its grid: the best rate of {', '.join(edges)}; extend it." if edges else ""
    inner = [comparison.ratio for (part, *_), comparison in compared.items() if part == "good"]
    effect = inner[0] if inner and np.isfinite(inner[0].low) and not edges else None
    return Finding(
        "G1",
        Verdict.UNRESOLVED if edges else together(each.values()),
        f"Cost at equal epochs over that of the tuned rate, with the rate tuned at B={BASE} unscaled / times √ / times "
        f"the batch - {'; '.join(shown)}. Linear as good as tuned up to B_crit/{ABOUT:g}: {each['good']}; worse from "
        f"{ABOUT:g} B_crit: {each['beyond']}; unscaled the worst from B={FAR * BASE}: {each['worst']}.{edge}",
        unit="× the tuned cost, linear rule below B_crit" if effect else "",
        effect=effect,
        replicas=evidence.answer.n_replicas,
        panels=[_rule_panel(own) for own in readings],
    )


def claimed(batch_size: float, bend: float) -> Iterator[tuple[str, str, str]]:
    """What the claim says of a batch size: the part, and the arms that are equal ("good") or of which one is lower."""
    if batch_size <= bend / ABOUT:
        yield "good", "linear", "tuned"
    if batch_size >= bend * ABOUT:
        yield "beyond", "tuned", "linear"
    if batch_size >= FAR * BASE:
        yield "worst", "√B", "unscaled"
        yield "worst", "linear", "unscaled"


def on_edge(grid: Grid) -> bool:
    """Whether the best rate has no neighbour on one side."""
    return len(grid) > 1 and best_rate(grid) in (min(grid), max(grid))


def rule_costs(grids: Grids, B: float) -> dict[str, Array]:
    """Costs (R,) at B of "tuned" and of each rule; a rule whose rate has no cell is left out."""
    base = best_rate(grids[BASE])
    found: dict[str, Array | None] = {"tuned": grids[B][best_rate(grids[B])]}
    found |= {name: cost_near(grids[B], base * (B / BASE) ** power) for name, power in RULES.items()}
    return {name: costs for name, costs in found.items() if costs is not None}


def cost_near(grid: Grid, rate: float) -> Array | None:
    """Costs at the nearest rate of the grid; inf above one at which half of the replicas diverged; None: no such."""
    nearest = min(grid, key=lambda own: abs(np.log(own / rate)))
    if abs(np.log(nearest / rate)) <= 1.01 * np.log(2) / 2:
        return grid[nearest]
    lost = [own for own, costs in grid.items() if own < rate and np.isinf(np.median(costs))]
    return np.full(len(grid[nearest]), np.inf) if lost else None


def _costs(found: Mapping[str, Array]) -> str:
    """Median cost of each rule over that of the tuned rate."""
    ratios = []
    for name in RULES:
        ratio = float(np.median(found[name]) / np.median(found["tuned"])) if name in found else np.nan
        ratios.append("no cell" if np.isnan(ratio) else number(ratio) if np.isfinite(ratio) else "diverged")
    return " / ".join(ratios)


def _rule_panel(own: Reading) -> Panel:
    sizes = [B for B in own.grids if B > BASE] if BASE in own.grids else []
    costs = {B: rule_costs(own.grids, B) for B in sizes}
    lines = []
    for name in ("tuned", *RULES):
        at = [B for B in sizes if name in costs[B]]
        lines.append(Series(name, at, *quartiles(costs[B][name] for B in at)))
    return Panel(f"{own.dataset}, {own.budget:g} epochs", BATCH_SIZE, "training cost (diverged: not drawn)", lines)


# L8


def good_ranges(evidence: Evidence, readings: list[Reading]) -> Finding:
    """The slope of the good range's width over the batch size, for each dataset at equal epochs and updates."""
    slopes, open_ends, widths = {}, [], {}
    for own in readings:
        level = np.log(GOOD * min(float(np.median(c)) for grid in own.grids.values() for c in grid.values()))
        drawn = {B: width(grid, level, evidence.rng) for B, grid in own.grids.items()}
        widths[own.dataset, own.clock] = {B: float(w[0]) for B, w in drawn.items()}
        for side in ("lower", "higher"):
            sizes = [f"{B:g}" for B, grid in own.grids.items() if side in open_sides(grid, level)]
            open_ends += [f"{own.dataset} B={', '.join(sizes)} at equal {own.clock} ({side} rates)"] if sizes else []
        slopes[own.dataset, own.clock] = slope_of(drawn) if len(drawn) > 1 else Interval(np.nan, np.nan, np.nan)
    verdicts = {key: inside(slope, -np.inf, 0) for key, slope in slopes.items()}
    shown = "; ".join(
        f"{dataset} at equal {clock} {_widths(widths[dataset, clock])}, slope {_signed(slope)}"
        for (dataset, clock), slope in slopes.items()
    )
    edge = f" The range reaches the edge of the grid; extend it for {', '.join(open_ends)}." if open_ends else ""
    first = None if open_ends else next((key for key, slope in slopes.items() if np.isfinite(slope.low)), None)
    return Finding(
        "L8",
        Verdict.UNRESOLVED if open_ends or not verdicts else together(verdicts.values()),
        f"Width of the range of rates with a cost within {GOOD:g} times the lowest at that budget, in doublings, and "
        f"its slope per fourfold batch - {shown}.{edge} In factors it is one width, whether rates are of the mean or "
        "per example.",
        unit=f"doublings of the rate per fourfold batch ({' at equal '.join(first)})" if first else "",
        effect=slopes[first] if first else None,
        replicas=evidence.answer.n_replicas,
        panels=[_width_panel(widths, clock) for clock in ("epochs", "updates")]
        + [_range_panel(own, evidence.rng) for own in readings if own.clock == "epochs"],
    )


def shares(log_costs: Array, level: float) -> Array:
    """Of each step of the grid, the part with a cost at or below the level: (K, L) -> (K, L − 1).

    The log cost is a straight line over the log rate; towards a rate that diverged half of the step is good.
    """
    a, b = log_costs[:, :-1], log_costs[:, 1:]
    low, high = np.minimum(a, b), np.maximum(a, b)
    with np.errstate(invalid="ignore", divide="ignore"):
        part = np.where(np.isinf(high), 0.5, (level - low) / (high - low))
    return np.where(high <= level, 1.0, np.where(low > level, 0.0, part))


def width(grid: Grid, level: float, rng: np.random.Generator) -> Array:
    """log2 of (highest / lowest good rate), (K + 1,): of the medians as they are, then of resampled replicas."""
    steps = np.diff(np.log2(sorted(grid)))
    return shares(_medians(grid, rng), level) @ steps


def _medians(grid: Grid, rng: np.random.Generator) -> Array:
    with np.errstate(divide="ignore"):
        return resampled_medians(np.log([censored(grid[rate]) for rate in sorted(grid)]), rng)


def open_sides(grid: Grid, level: float) -> list[str]:
    """The sides on which the grid ends inside the good range."""
    ends = {"lower": min(grid), "higher": max(grid)}
    return [side for side, rate in ends.items() if np.log(np.median(grid[rate])) <= level]


def slope_of(drawn: Mapping[float, Array]) -> Interval:
    """Least-squares slope of the widths (K + 1,) over log4 B."""
    x = np.log(list(drawn)) / np.log(4)
    x = x - x.mean()
    slopes = np.stack(list(drawn.values()), axis=1) @ x / (x @ x)
    return percentile_interval(float(slopes[0]), slopes[1:])


def _widths(own: Mapping[float, float]) -> str:
    return f"{', '.join(f'{value:.1f}' for value in own.values())} at B={', '.join(f'{B:g}' for B in own)}"


def _signed(slope: Interval) -> str:
    if np.isnan(slope.low):
        return "unknown"
    return f"{slope.estimate:+.2f} [{slope.low:+.2f}, {slope.high:+.2f}]"


def _width_panel(widths: Mapping[tuple[str, str], Mapping[float, float]], clock: str) -> Panel:
    lines = [Series(name, list(own), list(own.values())) for (name, at), own in widths.items() if at == clock]
    return Panel(f"Width of the good range, equal {clock}", BATCH_SIZE, "doublings of the rate", lines, log="x")


def _range_panel(own: Reading, rng: np.random.Generator) -> Panel:
    """Ends of the good range per example, from the steps of the grid that it covers."""
    level = np.log(GOOD * min(float(np.median(c)) for grid in own.grids.values() for c in grid.values()))
    sizes, best, low, high = [], [], [], []
    for B, grid in own.grids.items():
        rate, rates = best_rate(grid), np.log(sorted(grid))
        covered = shares(_medians(grid, rng)[:1], level)[0] * np.diff(rates)
        if covered.any():
            centre = int(np.searchsorted(rates, np.log(rate)))
            below, above = covered[:centre].sum(), covered[centre:].sum()
            sizes.append(B)
            best.append(rate / B)
            low.append(rate * np.exp(-below) / B)
            high.append(rate * np.exp(above) / B)
    return Panel(
        f"Good rates of {own.dataset}, equal epochs", BATCH_SIZE, "learning rate per example",
        [Series("best rate and good range", sizes, best, low, high)],
    )  # fmt: skip
