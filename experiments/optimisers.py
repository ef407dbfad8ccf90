"""Judges optimisers: updates with and without momentum, Adam's best rates, Adam on sums and on means."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.analysis import (
    BATCH_SIZE,
    MARGIN,
    Evidence,
    Finding,
    Panel,
    Ratio,
    Series,
    median_cost,
    ratio_of,
    targets_table,
    updates_to_target,
)
from harness.inference import (
    Exponent,
    Interval,
    Status,
    Verdict,
    all_hold,
    fewest_pairs,
    inside,
    paired_ratio,
    split_replicas,
    together,
)
from harness.report import held, interval, number, verdicts_along

if TYPE_CHECKING:
    import pandas as pd

GOALS = {"digits": 0.02, "breast_cancer": 0.04, "classification": 0.3}  # cost per example
EASIER = (1.0, 1.25, 1.5)  # times the goal: on the way to it every run passes these
RULES = ("sgd", "momentum")
Savings = dict[str, dict[float, Ratio]]  # dataset -> batch size -> updates with momentum over those without
SMALL = 4.0
SAVED = (0.1, 0.15, 0.2, 0.25)  # to save is to need so many fewer updates, as a part of those without momentum
STATED = 0.2
NEAR = (0.1, 0.15, 0.2, 0.25)  # an exponent so far from 1/2 is still that of the square root
MARGINS = (0.01, 0.02, MARGIN, 0.1)  # costs this close count as equal
DEFAULT = 1e-8  # epsilon
SIDES = {"low": "lower", "high": "higher", "both": "lower and higher"}


def judge(evidence: Evidence) -> Iterator[Finding]:
    yield momentum(evidence)
    yield square_root(evidence)
    yield from reductions(evidence)


# L7: momentum.


def momentum(evidence: Evidence) -> Finding:
    """Judged at the smallest and at the largest batch size, shown at all."""
    by_goal = {times: best_rates(evidence, times) for times in EASIER}
    savings = {times: _savings(*own) for times, own in by_goal.items()}
    best, found = by_goal[EASIER[0]][0], savings[EASIER[0]]
    parts = {saved: _everywhere(found, saved) for saved in SAVED}
    goals = {times: _everywhere(own, STATED) for times, own in savings.items()}
    first = next((sizes[max(sizes)] for name, sizes in found.items() if name == "digits"), None)
    return Finding(
        "L7",
        together([*parts.values(), *goals.values()]),
        f"Updates with momentum over updates without, to a fixed cost: {_ratios(found) or 'not measured'}. Where to "
        f"save is to need so many fewer, as a part: {verdicts_along(parts)}; where it is {STATED:g}, to so many times "
        f"that cost: {verdicts_along(goals)}.{_elsewhere(savings)}",
        unit="× the updates without momentum (digits, B=N)" if first else "",
        effect=first.effect if first else None,
        replicas=min((own.pairs for sizes in found.values() for own in sizes.values()), default=0),
        panels=[_updates(best, str(dataset)) for dataset in dict.fromkeys(best["dataset"])],
    )


def _savings(best: "pd.DataFrame", reached: dict[str, dict[str, np.ndarray]]) -> Savings:
    found: Savings = {}
    for (dataset, B), own in best.groupby(["dataset", "batch_size"]):
        rows = {str(row["optimizer.name"]): row for _, row in own.iterrows()}
        if set(RULES) <= set(rows):
            found.setdefault(str(dataset), {})[float(B)] = _ratio([rows[rule] for rule in RULES], reached)
    return found


def _everywhere(found: Savings, saved: float) -> Verdict:
    return together([large_only(sizes, saved) for sizes in found.values()])


def _elsewhere(savings: Mapping[float, Savings]) -> str:
    """What leaves an easier goal open, where the claim reads it: a best rate on the edge of its grid."""
    open_at = [
        f"{name} B={B:g} to {times:g} times the cost: {own.edge}"
        for times, found in savings.items()
        for name, sizes in found.items()
        for B, own in sizes.items()
        if times > EASIER[0] and own.edge and B in (SMALL, max(sizes))
    ]
    return f" Not judged: {'; '.join(open_at)}." if open_at else ""


def best_rates(evidence: Evidence, times: float) -> "tuple[pd.DataFrame, dict[str, dict[str, np.ndarray]]]":
    """Each dataset, rule and batch size at the rate with the fewest updates to so many times the goal; of all cells."""
    cells = evidence.cells[evidence.cells["optimizer.name"].isin(RULES) & evidence.cells["dataset"].isin(GOALS)]
    goals = {str(row["setting"]): times * GOALS[str(row["dataset"])] for _, row in cells.iterrows()}
    histories = evidence.data.histories[evidence.data.histories["cell"].isin(cells["cell"])]
    reached = updates_to_target(histories, goals, cells)
    best = targets_table(cells, reached, evidence.rng)
    named = cells[["cell", "dataset", "optimizer.name"]]
    return best.merge(named, on="cell", how="left"), reached


def _ratio(rows: "list[pd.Series]", reached: dict[str, dict[str, np.ndarray]]) -> Ratio:
    """rows: without and with momentum."""
    plain, moved = (reached[row["cell"]]["updates"] for row in rows)
    edges = [f"{row['optimizer.name']} {SIDES[row['edge']]}" for row in rows if row["edge"]]
    why = f"a best rate lies on the edge of its grid, add rates: {', '.join(edges)}" if edges else ""
    return ratio_of(moved, plain, split_replicas(min(len(plain), len(moved)), fewest_pairs(1)), why)


def large_only(sizes: Mapping[float, Ratio], saved: float) -> Verdict:
    """Nothing is saved at the smallest batch size, and something at the largest; unresolved without either."""
    if SMALL not in sizes or len(sizes) < 2:
        return Verdict.UNRESOLVED
    return all_hold([sizes[SMALL].inside(1 - saved, np.inf), sizes[max(sizes)].inside(0, 1 - saved)])


def _ratios(found: Mapping[str, Mapping[float, Ratio]]) -> str:
    bands = [(1 - saved, np.inf) for saved in SAVED]
    return "; ".join(
        f"{name} "
        + ", ".join(f"{held(own, *(bands if B in (SMALL, max(sizes)) else []))} at B={B:g}" for B, own in sizes.items())
        for name, sizes in found.items()
    )


def _updates(best: "pd.DataFrame", dataset: str) -> Panel:
    own = best[best["dataset"] == dataset]
    lines = [
        Series(str(rule), at["batch_size"], at["updates"], at["updates_low"], at["updates_high"])
        for rule, at in own.groupby("optimizer.name", sort=False)
    ]
    return Panel(f"{dataset}: updates to a cost of {GOALS[dataset]:g}", BATCH_SIZE, "updates", lines)


# A1: Adam's best rate.


def square_root(evidence: Evidence) -> Finding:
    cells = evidence.cells
    chosen = cells[
        (cells["optimizer.name"] == "adam") & (cells["reduction"] == "mean") & (cells["last_batch"] == "keep")
    ]
    found = {
        str(dataset): evidence.answer.exponents[str(setting), "mean"]
        for (dataset, setting), _ in chosen.groupby(["dataset", "setting"], sort=False)
        if (str(setting), "mean") in evidence.answer.exponents
    }
    if not found:
        return Finding("A1", Verdict.UNRESOLVED, "Adam was not trained at several batch sizes and learning rates.")
    parts = {limit: together(near_root(exponent, limit) for exponent in found.values()) for limit in NEAR}
    words = "; ".join(f"{dataset} p = {interval(e.p)}{_status(e)}" for dataset, e in found.items())
    first = next(iter(found.values()))
    return Finding(
        "A1",
        together(parts.values()),
        f"Best learning rate of Adam ∝ B^p: {words}. Where p may be so far from 1/2: {verdicts_along(parts)}.",
        unit="= p (first dataset)",
        effect=first.p if np.isfinite(first.p.low) else None,
        replicas=int(chosen["n_replicas"].min()),
        panels=[_best(found)],
    )


def near_root(exponent: Exponent, limit: float) -> Verdict:
    resolved = exponent.status is Status.RESOLVED
    return inside(exponent.p, 0.5 - limit, 0.5 + limit) if resolved else Verdict.UNRESOLVED


def _status(exponent: Exponent) -> str:
    if exponent.status is Status.RESOLVED:
        return ""
    at = f", at B={', '.join(f'{B:g}' for B in exponent.at_edge)}" if exponent.at_edge else ""
    return f" ({exponent.status.text}{at})"


def _best(found: dict[str, Exponent]) -> Panel:
    lines = [Series(dataset, list(e.best), list(e.best.values())) for dataset, e in found.items() if e.best]
    for name, power in (("√B", 0.5), ("B", 1.0)):
        if lines:
            B, first = np.asarray(lines[0].x), float(np.asarray(lines[0].y)[0])
            lines.append(Series(name, B, first * (B / B[0]) ** power, kind="reference"))
    return Panel("Adam's best learning rate after ten epochs", BATCH_SIZE, "learning rate", lines)


# A1.reduction, A1.epsilon: Adam on sums and on means.


@dataclass(frozen=True)
class Pair:
    """A sum and a mean that differ in nothing else: their cells, the cost of the sum over that of the mean."""

    total: str
    mean: str
    ratio: Interval

    def equal(self, margin: float) -> Verdict:
        return inside(self.ratio, 1 / (1 + margin), 1 + margin)


def reductions(evidence: Evidence) -> Iterator[Finding]:
    pairs = _pairs(evidence)
    default = {dataset: own for (dataset, epsilon), own in pairs.items() if epsilon == DEFAULT}
    margins = {margin: together(own.equal(margin) for own in default.values()) for margin in MARGINS}
    along = f" Where costs so close count as equal: {verdicts_along(margins)}."
    yield _reduction(evidence, "A1.reduction", {DEFAULT: default}, margins, along)
    larger = dict[float, dict[str, Pair]]()
    for (dataset, epsilon), own in pairs.items():
        if epsilon > DEFAULT:
            larger.setdefault(epsilon, {})[dataset] = own
    every = {epsilon: list(larger[epsilon].values()) for epsilon in sorted(larger)}
    epsilons = {
        epsilon: together(one.equal(margin) for one in own for margin in MARGINS) for epsilon, own in every.items()
    }
    margins = {margin: together(one.equal(margin) for own in every.values() for one in own) for margin in MARGINS}
    along = f" By epsilon: {verdicts_along(epsilons)}. Where costs so close count as equal: {verdicts_along(margins)}."
    yield _reduction(evidence, "A1.epsilon", {epsilon: larger[epsilon] for epsilon in epsilons}, epsilons, along)


def _pairs(evidence: Evidence) -> dict[tuple[str, float], Pair]:
    """(dataset, epsilon) -> its sum and its mean."""
    cells = evidence.cells
    own = cells[(cells["optimizer.name"] == "adam") & (cells["last_batch"] == "drop")]
    cell = {
        (str(row["dataset"]), float(row["optimizer.epsilon"]), str(row["reduction"])): str(row["cell"])
        for _, row in own.iterrows()
    }
    both = ((key[:2], total, cell.get((*key[:2], "mean"))) for key, total in cell.items() if key[2] == "sum")
    costs = evidence.final_costs
    return {key: Pair(total, mean, paired_ratio(costs[total], costs[mean])) for key, total, mean in both if mean}


def _reduction(
    evidence: Evidence, claim: str, pairs: dict[float, dict[str, Pair]], parts: dict[float, Verdict], along: str
) -> Finding:
    """pairs: by epsilon and dataset. parts: the verdicts along the free constant."""
    known = [(epsilon, dataset, own) for epsilon, by_name in pairs.items() for dataset, own in by_name.items()]
    if not known:
        return Finding(claim, Verdict.UNRESOLVED, "Adam was not trained on sums and means with such an epsilon.")
    words = "; ".join(
        f"at epsilon {number(epsilon)} " + ", ".join(f"{name} {_apart(evidence, own)}" for name, own in by_name.items())
        for epsilon, by_name in pairs.items()
    )
    _, first, effect = known[-1] if claim == "A1.epsilon" else known[0]
    return Finding(
        claim,
        together(parts.values()),
        f"Cost of the sum over that of the mean at one learning rate: {words}.{along}",
        unit=f"× the cost of the mean ({first})",
        effect=effect.ratio if np.isfinite(effect.ratio.low) else None,
        replicas=min(len(evidence.final_costs[own.mean]) for _, _, own in known),
        panels=[_curves(evidence, own, f"{name}, epsilon {number(epsilon)}") for epsilon, name, own in known[-3:]],
    )


def _apart(evidence: Evidence, pair: Pair) -> str:
    """With the distance of the parameters, relative to those of the mean: of the median replica, and the largest."""
    total, mean = evidence.weights(pair.total), evidence.weights(pair.mean)
    gaps = np.linalg.norm(total - mean, axis=1) / np.linalg.norm(mean, axis=1)
    middle, most = (number(float(gap)) for gap in (np.median(gaps), gaps.max()))
    return f"{interval(pair.ratio)} (parameters {middle} apart, at most {most})"


def _curves(evidence: Evidence, pair: Pair, title: str) -> Panel:
    arms = {"mean": pair.mean, "sum": pair.total}
    lines = [median_cost(evidence.histories[cell], reduction) for reduction, cell in arms.items()]
    return Panel(title, "epochs", "training cost per example", lines, log="y")
