"""Judges optimisers: updates with and without momentum, Adam's best rates, Adam on sums and on means."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from harness.analysis import BATCH_SIZE, Evidence, Finding, Panel, Series, median_cost, targets_table, updates_to_target
from harness.inference import Comparison, Exponent, Status, Verdict, equal, lower, opposite, together
from harness.report import interval, number

if TYPE_CHECKING:
    import pandas as pd

GOALS = {"digits": 0.02, "breast_cancer": 0.04, "classification": 0.3}  # cost per example
RULES = ("sgd", "momentum")
SMALL = 4.0
CLOSE = 0.2  # updates within 20 % count as the same at the small batch size
EPSILONS = {"L2.reduction": 1e-8, "L2.epsilon": 0.01}
SIDES = {"low": "lower", "high": "higher", "both": "lower and higher"}


def judge(evidence: Evidence) -> Iterator[Finding]:
    yield momentum(evidence)
    yield square_root(evidence)
    yield from reductions(evidence)


# L7: momentum.


def momentum(evidence: Evidence) -> Finding:
    """At its best rate each, at the smallest and at the largest batch size."""
    best, reached = best_rates(evidence)
    arms = {}
    for (dataset, B), own in best.groupby(["dataset", "batch_size"]):
        cell = own.set_index("optimizer.name")["cell"]
        if set(RULES) <= set(cell.index):
            arms[str(dataset), float(B)] = (reached[cell["momentum"]]["updates"], reached[cell["sgd"]]["updates"])
    found = evidence.compare(arms, margin=CLOSE)
    datasets = dict.fromkeys(dataset for dataset, _ in found)
    parts = [_large_only({B: c for (name, B), c in found.items() if name == dataset}) for dataset in datasets]
    words = "; ".join(f"{dataset} at B={B:g} {_ratio(comparison)}" for (dataset, B), comparison in found.items())
    edges = _edges(best)
    verdict = Verdict.UNRESOLVED if edges or not parts else together(parts)
    largest = [comparison for (_, B), comparison in found.items() if B > SMALL][-1:]
    return Finding(
        "L7",
        verdict,
        f"Updates with momentum over updates without, to a fixed cost: {words or 'not measured'}.{edges}",
        unit=f"× the updates without momentum ({next(reversed(found))[0]}, B=N)" if found else "",
        effect=largest[0].ratio if largest and np.isfinite(largest[0].ratio.low) else None,
        replicas=min((c.pairs for c in found.values()), default=0),
        panels=[_updates(best, str(dataset)) for dataset in dict.fromkeys(best["dataset"])],
    )


def best_rates(evidence: Evidence) -> "tuple[pd.DataFrame, dict[str, dict[str, np.ndarray]]]":
    """Each dataset, rule and batch size at the rate with the fewest updates to the goal; updates of all cells."""
    cells = evidence.cells[evidence.cells["optimizer.name"].isin(RULES) & evidence.cells["dataset"].isin(GOALS)]
    goals = {str(row["setting"]): GOALS[str(row["dataset"])] for _, row in cells.iterrows()}
    histories = evidence.data.histories[evidence.data.histories["cell"].isin(cells["cell"])]
    reached = updates_to_target(histories, goals, cells)
    best = targets_table(cells, reached, evidence.rng)
    named = cells[["cell", "dataset", "optimizer.name"]]
    return best.merge(named, on="cell", how="left"), reached


def _large_only(by_size: dict[float, Comparison]) -> Verdict:
    """None saved at the smallest batch size and some at the largest; unresolved without either."""
    if min(by_size) != SMALL or len(by_size) < 2:
        return Verdict.UNRESOLVED
    saves, does_not = lower(by_size[max(by_size)]), opposite(lower(by_size[SMALL]))
    return Verdict.REFUTED if Verdict.REFUTED in (saves, does_not) else together([saves, does_not])


def _ratio(comparison: Comparison) -> str:
    words = {"a lower": "fewer", "b lower": "more", "equivalent": "the same within 20 %"}
    ratio = interval(comparison.ratio) if comparison.finite else "not reached by both"
    return f"{ratio} ({words.get(comparison.verdict, comparison.verdict)})"


def _edges(best: "pd.DataFrame") -> str:
    lost = best[(best["edge"] != "")]
    sides = [
        f"{row['dataset']} {row['optimizer.name']} B={row['batch_size']:g} {SIDES[row['edge']]}"
        for _, row in lost.iterrows()
    ]
    return f" A best rate lies on the edge of its grid; add rates: {', '.join(sides)}." if sides else ""


def _updates(best: "pd.DataFrame", dataset: str) -> Panel:
    own = best[best["dataset"] == dataset]
    lines = [
        Series(str(rule), at["batch_size"], at["updates"], at["updates_low"], at["updates_high"])
        for rule, at in own.groupby("optimizer.name", sort=False)
    ]
    return Panel(f"{dataset}: updates to a cost of {GOALS[dataset]:g}", BATCH_SIZE, "updates", lines)


# L2: Adam's best rate.


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
        return Finding("L2", Verdict.UNRESOLVED, "Adam was not trained at several batch sizes and learning rates.")
    words = "; ".join(f"{dataset} p = {interval(e.p)}{_status(e)}" for dataset, e in found.items())
    first = next(iter(found.values()))
    return Finding(
        "L2",
        together(Verdict(e.verdicts["sqrt"]) for e in found.values()),
        f"Best learning rate of Adam ∝ B^p: {words}.",
        unit="(exponent, first dataset)",
        effect=first.p if np.isfinite(first.p.low) else None,
        replicas=int(chosen["n_replicas"].min()),
        panels=[_best(found)],
    )


def _status(exponent: Exponent) -> str:
    if exponent.status is Status.RESOLVED:
        return f", so √B is {exponent.verdicts['sqrt']}"
    at = f", at B={', '.join(f'{B:g}' for B in exponent.at_edge)}" if exponent.at_edge else ""
    return f" ({exponent.status.text}{at})"


def _best(found: dict[str, Exponent]) -> Panel:
    lines = [Series(dataset, list(e.best), list(e.best.values())) for dataset, e in found.items() if e.best]
    for name, power in (("√B", 0.5), ("B", 1.0)):
        if lines:
            B, first = np.asarray(lines[0].x), float(np.asarray(lines[0].y)[0])
            lines.append(Series(name, B, first * (B / B[0]) ** power, kind="reference"))
    return Panel("Adam's best learning rate after ten epochs", BATCH_SIZE, "learning rate", lines)


# Adam on sums and on means.


def reductions(evidence: Evidence) -> Iterator[Finding]:
    cells = evidence.cells
    own = cells[(cells["optimizer.name"] == "adam") & (cells["last_batch"] == "drop")]
    epsilon = own["optimizer.epsilon"].astype(float) if len(own) else own["cell"]
    cell = {
        (str(row["dataset"]), float(epsilon[i]), str(row["reduction"])): str(row["cell"]) for i, row in own.iterrows()
    }
    arms = {
        (dataset, value): (evidence.final_costs[total], evidence.final_costs[cell[dataset, value, "mean"]])
        for (dataset, value, reduction), total in cell.items()
        if reduction == "sum" and (dataset, value, "mean") in cell
    }
    found = evidence.compare(arms)
    for claim, value in EPSILONS.items():
        yield _reduction(claim, value, evidence, cell, {d: c for (d, e), c in found.items() if e == value})


def _reduction(
    claim: str,
    epsilon: float,
    evidence: Evidence,
    cell: dict[tuple[str, float, str], str],
    found: dict[str, Comparison],
) -> Finding:
    if not found:
        return Finding(claim, Verdict.UNRESOLVED, f"Adam was not trained on sums and means with epsilon {epsilon:g}.")
    words = []
    for dataset, comparison in found.items():
        total, mean = (evidence.weights(cell[dataset, epsilon, reduction]) for reduction in ("sum", "mean"))
        gap = float((np.linalg.norm(total - mean, axis=1) / np.linalg.norm(mean, axis=1)).max())
        words.append(f"{dataset} {interval(comparison.ratio)}, parameters up to {number(gap)} apart (relative)")
    first = next(iter(found.values()))
    return Finding(
        claim,
        together(equal(comparison) for comparison in found.values()),
        f"Cost of the sum over that of the mean at one learning rate and epsilon {epsilon:g}: {'; '.join(words)}.",
        unit="× the cost of the mean (first dataset)",
        effect=first.ratio if np.isfinite(first.ratio.low) else None,
        replicas=min(c.pairs for c in found.values()),
        panels=[_curves(evidence, cell, dataset, epsilon) for dataset in found],
    )


def _curves(evidence: Evidence, cell: dict[tuple[str, float, str], str], dataset: str, epsilon: float) -> Panel:
    arms = {reduction: evidence.histories[cell[dataset, epsilon, reduction]] for reduction in ("mean", "sum")}
    lines = [median_cost(history, reduction) for reduction, history in arms.items()]
    return Panel(f"{dataset}, epsilon {epsilon:g}", "epochs", "training cost per example", lines, log="y")
