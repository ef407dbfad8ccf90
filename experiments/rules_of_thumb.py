"""Judges rules_of_thumb: what a learning rate costs that was tuned at a small batch and scaled by a rule."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.analysis import BATCH_SIZE, CLOCK_COLUMNS, Evidence, Finding, Panel, Series, quartiles
from harness.inference import (
    UNKNOWN,
    Interval,
    Verdict,
    all_hold,
    inside,
    paired_ratio,
    pairs_to_tell,
    split_replicas,
    together,
)
from harness.report import number, price
from harness.report.answers import WORDS, joined, where

Array = NDArray[np.floating]
Grid = dict[float, Array]  # lr_mean -> costs (R,)
Grids = dict[float, Grid]  # B -> its grid
Choices = dict[str, tuple[float, Array]]  # "tuned", "other" or a rule -> its rate at a batch size, and costs (R,)
Found = Mapping[tuple[str, float], Choices]  # dataset, B ->

PARTS = {  # of the claim: up to B_crit, beyond it, and about an unscaled rate
    "good": "linear as good as any",
    "beyond": "linear worse than tuned",
    "worst": "unscaled the worst",
}
RULES = {"unscaled": 0.0, "√B": 0.5, "linear": 1.0}  # power of B
BASE = 4  # batch size at which a rule's rate is tuned
FAR = 16  # times the base, from where an unscaled rate is to be the worst
ABOUT, ABOUTS = 3.0, (1.5, 2.0, 3.0, 5.0)  # factor to which B_crit is known: within it nothing is judged
CLOSE, CLOSES = 0.05, (0.02, 0.05, 0.1, 0.2)  # costs this close count as equal
MOST = 3  # settings that a sentence names
HALF_STEP = 1.01 * np.log(2) / 4  # of grids whose rates go in steps of √2


@dataclass(frozen=True)
class Reading:
    """The cells of one dataset after as many epochs."""

    dataset: str
    epochs: float
    grids: Grids


@dataclass(frozen=True)
class Held:
    """That a ratio of costs is at most so high, as a part of the claim says of a dataset and batch size."""

    setting: tuple[str, float]
    part: str
    ratio: Interval
    highest: float

    @property
    def verdict(self) -> Verdict:
        return inside(self.ratio, 0, self.highest)


def judge(evidence: Evidence) -> Iterator[Finding]:
    yield rules_against_tuning(evidence, list(read(evidence)), evidence.critical_sizes)


def read(evidence: Evidence) -> Iterator[Reading]:
    """For each dataset: costs of the mean's cells at the most epochs that all have trained that did not diverge."""
    mean = evidence.cells[evidence.cells["reduction"] == "mean"]
    for dataset, own in mean.groupby("dataset"):
        budget, costs = evidence.when_spent(own, CLOCK_COLUMNS["epochs"])
        grids: Grids = {float(B): {} for B in sorted(set(own["batch_size"]))}
        for row in own[own["cell"].isin(costs)].sort_values("lr_mean").itertuples():
            grids[float(row.batch_size)][float(row.lr_mean)] = costs[str(row.cell)]
        if costs:
            yield Reading(str(dataset), budget, grids)


def best_rate(grid: Mapping[float, Array]) -> float:
    """The rate with the lowest median cost; the lowest rate if none has a finite one."""
    medians = {rate: float(np.median(costs)) for rate, costs in grid.items()}
    return min(medians, key=lambda rate: (medians[rate], rate))


def rules_against_tuning(evidence: Evidence, readings: list[Reading], bends: Mapping[str, float]) -> Finding:
    based = [own for own in readings if BASE in own.grids]
    found = {(own.dataset, B): rule_costs(own.grids, B) for own in based for B in own.grids if B > BASE}
    edges = {(own.dataset, B) for own in readings for B in own.grids if B >= BASE and on_edge(own.grids[B])}
    arms = {key: tuned(choices, *(at in edges for at in ((key[0], BASE), key))) for key, choices in found.items()}
    stated = held(arms, bends, ABOUT, CLOSE)
    along = {about: overall(held(arms, bends, about, CLOSE)) for about in ABOUTS}
    margins = {close: overall(held(arms, bends, ABOUT, close)) for close in CLOSES}
    verdict = together([*along.values(), *margins.values()])
    read = sorted(
        f"{dataset} B={B:g}" for dataset, B in edges if B == BASE or tuning_counts(B, bends.get(dataset, np.nan))
    )
    inner = [one.ratio for one in stated if one.part == "good" and np.isfinite(one.ratio.low)]
    n = min((len(costs) for own in found.values() for _, costs in own.values()), default=0)
    needed = [pairs_to_tell(one.ratio, n, 0, one.highest) for one in stated]
    return Finding(
        "G1",
        verdict,
        f"Median cost at equal epochs with the rate tuned at B={BASE} unscaled, times √B and times B, over that of the "
        f"tuned rate.{_judged(stated)}{_diverging(found)}{_on_edges(read)}"
        + (price(evidence.price(needed, n)) if verdict is Verdict.UNRESOLVED else ""),
        unit="× the cost of the best other rate, linear rule below B_crit" if inner else "",
        effect=inner[0] if inner else None,
        replicas=n,
        panels=[_rule_panel(own, found) for own in readings],
        rows=_rows(found, stated),
        along={"the factor to which B_crit is known": along, "how close costs are equal": margins},
        plain=_advice(stated) if verdict is Verdict.CONDITIONAL else "",
    )


def _advice(stated: list[Held]) -> str:
    """Of each part of the claim, with its constants as stated, where it holds; in plain words."""
    good, beyond = (_where(settled(stated, part)) for part in ("good", "beyond"))
    worst = _in_how_many(list(settled(stated, "worst").values()))
    return (
        f"Times the batch a rate is as good as any to {CLOSE:.0%} up to B_crit/{ABOUT:g}: {good}; worse than "
        f"tuned from {ABOUT:g} B_crit on: {beyond}. Unscaled it is worst from B={FAR * BASE} on: {worst}."
    )


def _where(own: Mapping[tuple[str, float], Verdict]) -> str:
    names = dict.fromkeys(dataset for dataset, _ in own)
    said = {name: together(verdict for (of, _), verdict in own.items() if of == name) for name in names}
    return where(said) if len(set(said.values())) > 1 else WORDS[next(iter(said.values()), Verdict.UNRESOLVED)]


def _in_how_many(own: list[Verdict]) -> str:
    """`no`, or `no in 7 of 8 settings`: the others are not decided."""
    if len(set(own)) < 2:
        return WORDS[own[0] if own else Verdict.UNRESOLVED]
    counts = {word: own.count(of) for of, word in WORDS.items() if of in own and of is not Verdict.UNRESOLVED}
    return f"{', '.join(f'{word} in {n}' for word, n in counts.items())} of {len(own)} settings"


def _judged(stated: list[Held]) -> str:
    """The batch sizes at which the linear rule is to be as good as any."""
    sizes = sorted({B for _, B in settled(stated, "good")})
    return f" Up to B_crit/{ABOUT:g} lie only B={joined(f'{B:g}' for B in sizes)}." if sizes else ""


def _diverging(found: Found) -> str:
    """In how many settings the linear rule fails where the unscaled rate is to be the worst."""
    costs = [own["linear"][1] for (_, B), own in found.items() if B >= FAR * BASE and "linear" in own]
    lost = sum(bool(np.isinf(np.median(own))) for own in costs)
    seen = f"In {lost} of {len(costs)} settings from B={FAR * BASE} on the linear rule's median training diverges."
    return f" {seen}" if costs else ""


def _on_edges(read: list[str]) -> str:
    more = f" and {len(read) - MOST} more" if len(read) > MOST else ""
    words = ", ".join(read[:MOST]) + more
    return f" On the edge of its grid, so not judged: the best rate of {words}; extend it." if read else ""


def _rows(found: Found, stated: list[Held]) -> list[tuple[str, ...]]:
    rows = [("data", "B", *(f"{name}, × the tuned rate's cost" for name in RULES), *PARTS.values())]
    verdicts = [settled(stated, part) for part in PARTS]
    for at, own in found.items():
        rows.append((at[0], f"{at[1]:g}", *_costs(own), *(str(each[at]) if at in each else "" for each in verdicts)))
    return rows


def held(
    found: Mapping[tuple[str, float], Choices], bends: Mapping[str, float], about: float, close: float
) -> list[Held]:
    """What the claim says of every batch size, at one value of both constants."""
    return [
        Held((dataset, B), part, paired_ratio(own[a][1], own[b][1]) if a in own and b in own else UNKNOWN, highest)
        for (dataset, B), own in found.items()
        for part, a, b, highest in claimed(B, bends.get(dataset, np.nan), about, close)
    ]


def claimed(batch_size: float, bend: float, about: float, close: float) -> Iterator[tuple[str, str, str, float]]:
    """What the claim says of a batch size: the part, two arms, and what the ratio of their costs is at most."""
    if batch_size <= bend / about:
        yield "good", "linear", "other", 1 + close
    if batch_size >= bend * about:
        yield "beyond", "tuned", "linear", 1 / (1 + close)
    if batch_size >= FAR * BASE:
        yield "worst", "√B", "unscaled", 1 / (1 + close)
        yield "worst", "linear", "unscaled", 1 / (1 + close)


def tuned(choices: Choices, base_on_edge: bool, on_edge: bool) -> Choices:
    """The arms that may be judged: without a best rate of the base no rule has a rate."""
    lost = RULES.keys() if base_on_edge else ("tuned", "other") if on_edge else ()
    return {name: own for name, own in choices.items() if name not in lost}


def tuning_counts(batch_size: float, bend: float) -> bool:
    """Whether the claim holds any rule against tuned rates of this batch size."""
    return any(part != "worst" for about in ABOUTS for part, *_ in claimed(batch_size, bend, about, CLOSE))


def overall(said: list[Held]) -> Verdict:
    """Of all parts in all settings: conditional if a part holds in one and a part, this or another, fails in one."""
    return together(v for part in PARTS for v in settled(said, part).values() or [Verdict.UNRESOLVED])


def settled(said: list[Held], part: str) -> dict[tuple[str, float], Verdict]:
    """By setting; worst is what is worse than each of the other rules."""
    own: dict[tuple[str, float], list[Verdict]] = {}
    for one in said:
        if one.part == part:
            own.setdefault(one.setting, []).append(one.verdict)
    return {setting: all_hold(verdicts) for setting, verdicts in own.items()}


def on_edge(grid: Grid) -> bool:
    """Whether the best rate has no neighbour on one side."""
    return len(grid) > 1 and best_rate(grid) in (min(grid), max(grid))


def rule_costs(grids: Grids, B: float) -> Choices:
    """Rate and costs at B of "tuned", of each rule, and of "other", the best rate but that of the linear rule.

    Rates are chosen on the first half of the replicas; costs are those of the other half. A rule whose rate has no cell
    is left out.
    """
    split = split_replicas(len(next(iter(grids[B].values()))), 1)
    chose = {size: {rate: costs[split.selection] for rate, costs in grids[size].items()} for size in (BASE, B)}
    base = best_rate(chose[BASE])
    rates = {"tuned": best_rate(chose[B])}
    rates |= {name: rate_near(grids[B], base * (B / BASE) ** power) for name, power in RULES.items()}
    others = {rate: costs for rate, costs in chose[B].items() if rate != rates["linear"]}
    rates["other"] = best_rate(others) if others else np.nan
    known = {name: rate for name, rate in rates.items() if not np.isnan(rate)}
    lost = np.full(len(split.report), np.inf)
    return {name: (rate, grids[B][rate][split.report] if rate in grids[B] else lost) for name, rate in known.items()}


def rate_near(grid: Grid, rate: float) -> float:
    """The nearest rate of the grid; inf above one at which half of the replicas diverged; NaN: no such."""
    nearest = min(grid, key=lambda own: abs(np.log(own / rate)))
    if abs(np.log(nearest / rate)) <= HALF_STEP:
        return nearest
    lost = [own for own, costs in grid.items() if own < rate and np.isinf(np.median(costs))]
    return np.inf if lost else np.nan


def _costs(own: Choices) -> Iterator[str]:
    """Median cost of each rule over that of the tuned rate, or that it is the tuned rate."""
    for name in RULES:
        rate, costs = own.get(name, (np.nan, np.array([np.nan])))
        ratio = float(np.median(costs) / np.median(own["tuned"][1]))
        told = "no cell" if np.isnan(ratio) else number(ratio) if np.isfinite(ratio) else "diverged"
        yield "= tuned" if rate == own["tuned"][0] else told


def _rule_panel(own: Reading, found: Found) -> Panel:
    costs = {B: choices for (dataset, B), choices in found.items() if dataset == own.dataset}
    lines = []
    for name in ("tuned", *RULES):
        at = {B: choices[name][1] for B, choices in costs.items() if name in choices}
        lines.append(Series(name, list(at), *quartiles(at.values())))
    return Panel(f"{own.dataset}, {own.epochs:g} epochs", BATCH_SIZE, "training cost", lines)
