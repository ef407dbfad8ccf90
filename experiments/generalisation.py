"""Judges generalisation: held-out accuracy at one training cost, and the cost of a rate that is not the best."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.analysis import BATCH_SIZE, Evidence, Finding, Panel, Series, quartiles
from harness.inference import Comparison, Split, Verdict, censored, fewest_pairs, lower, split_replicas, together
from harness.report import interval, number

Array = NDArray[np.floating]

MARGIN = 0.01  # of the accuracy
REFERENCE = 8  # the batch size that larger ones are held against
ROBUST, OTHER = 4, 256  # the batch sizes of L10


def judge(evidence: Evidence) -> Iterator[Finding]:
    stopped = evidence.cells["target"].notna()
    yield at_one_cost(evidence, evidence.cells[stopped], evidence.cells[~stopped])
    yield robustness(evidence, evidence.cells[~stopped])


# L5


def at_one_cost(evidence: Evidence, cells: pd.DataFrame, others: pd.DataFrame) -> Finding:
    """L5: every batch size at its best rate, where the training cost crosses the target."""
    groups = {(str(name), int(B)): own for (name, B), own in cells.groupby(["dataset", "batch_size"])}
    larger = [key for key in groups if key[1] > REFERENCE]
    split = split_replicas(evidence.answer.n_replicas, fewest_pairs(len(larger)))
    tuned = {key: _tuned(evidence, own, split) for key, own in groups.items()}
    inverse = {key: 1 / np.where(one.accuracy > 0, one.accuracy, np.nan) for key, one in tuned.items()}  # NaN: lost
    arms = {key: (inverse[key[0], REFERENCE], inverse[key]) for key in larger}
    found = evidence.compare(arms, margin=MARGIN)
    verdicts = {
        key: Verdict.UNRESOLVED if tuned[key].edge or tuned[key[0], REFERENCE].edge else as_good(found[key])
        for key in larger
    }
    words = "; ".join(
        f"{name} (cost {number(tuned[name, REFERENCE].target)}): "
        + ", ".join(f"B={B} {_said(found[name, B])}" for other, B in larger if other == name)
        for name in dict.fromkeys(name for name, _ in larger)
    )
    edges = [f"{name} at B={B} ({one.edge}, {number(one.rate)})" for (name, B), one in tuned.items() if one.edge]
    extend = f" Best at the edge of its rates, extend them: {', '.join(edges)}." if edges else ""
    return Finding(
        "L5",
        together(verdicts.values()),
        f"Held-out accuracy over that of B={REFERENCE}, tuned, at one training cost: {words}.{extend}"
        f"{_untuned(evidence, others)}",
        unit=f"× the accuracy of B={REFERENCE}, at B={larger[-1][1]} ({larger[-1][0]})",
        effect=found[larger[-1]].ratio,
        replicas=evidence.answer.n_replicas,
        panels=[
            _accuracies(tuned),
            *(_by_rate_at_one_cost(evidence, cells, str(n)) for n in cells["dataset"].unique()[:2]),
        ],
    )


@dataclass(frozen=True, eq=False)
class Tuned:
    """A batch size at the rate whose held-out cost is lowest where the training cost crosses the target.

    Chosen by the choosing replicas; accuracy: of the reporting ones, NaN of those that did not come down to the target.
    """

    rate: float
    edge: str
    target: float
    accuracy: Array


def _tuned(evidence: Evidence, cells: pd.DataFrame, split: Split) -> Tuned:
    own = cells.sort_values("learning_rate")
    costs = [censored(_where_it_crosses(evidence, cell, "validation_cost")) for cell in own["cell"]]
    i = int(np.argmin([np.median(cost[split.selection]) for cost in costs]))
    chosen = own.iloc[i]
    accuracy = _where_it_crosses(evidence, chosen["cell"], "validation_accuracy")[split.report]
    return Tuned(float(chosen["learning_rate"]), _edge(i, len(own)), float(chosen["target"]), accuracy)


def _edge(i: int, n: int) -> str:
    return "" if 0 < i < n - 1 else "low" if i == 0 else "high"


def as_good(comparison: Comparison) -> Verdict:
    """The claim that a, an accuracy, is not lower than b by the margin: non-inferiority; open if one missed the target.

    All comparisons have to support it, so none needs an adjusted p for that; one that refutes it does.
    """
    worse = comparison.verdict == "a lower" and comparison.ratio.high < 1 - MARGIN
    kept = comparison.ratio.low >= 1 - MARGIN and comparison.finite == comparison.pairs
    return Verdict.REFUTED if worse else Verdict.SUPPORTED if kept else Verdict.UNRESOLVED


def seeds_to_tell(comparison: Comparison) -> str:
    """How many replicas would bring the interval's lower limit above the margin, if the estimate is right."""
    ratio, margin = comparison.ratio, np.log(1 - MARGIN)
    if as_good(comparison) is not Verdict.UNRESOLVED or not np.log(ratio.estimate) > margin or not ratio.low > 0:
        return ""
    needed = comparison.finite * (np.log(ratio.estimate / ratio.low) / (np.log(ratio.estimate) - margin)) ** 2
    return f", about {2 * max(6, int(np.ceil(needed)))} seeds would tell"  # one half of them chooses the rate


def _where_it_crosses(evidence: Evidence, cell: str, column: str) -> Array:
    """A column of the history (R,) at the update that `to_target` names; NaN of replicas that did not reach it."""
    updates = evidence.to_target[cell]["updates"]
    own = evidence.histories[cell].groupby("replica")
    found = [np.interp(at, h["update"], h[column]) for at, (_, h) in zip(updates, own, strict=True)]
    return np.where(np.isfinite(updates), found, np.nan)


def _said(comparison: Comparison) -> str:
    if not comparison.finite:
        return "not reached"
    words = {Verdict.SUPPORTED: "as good", Verdict.REFUTED: "worse"}
    lost = comparison.pairs + comparison.dropped - comparison.finite
    missed = f", not reached in {lost} pairs" if lost else ""
    said = words.get(as_good(comparison), f"unresolved{seeds_to_tell(comparison)}")
    return f"{interval(comparison.ratio)} ({said}{missed})"


def _untuned(evidence: Evidence, cells: pd.DataFrame) -> str:
    """At equal epochs and the small batch's best rate: what tuning is for."""
    parts, split = [], split_replicas(evidence.answer.n_replicas, fewest_pairs(1))
    for name, own in cells.groupby("dataset", sort=False):
        small, large = (own[own["batch_size"] == B] for B in (ROBUST, OTHER))
        chosen = _best(evidence, small, split)
        same = large[np.isclose(large["learning_rate"], chosen.rate)]
        if len(same):
            a, b = (_median_accuracy(evidence, cell) for cell in (same["cell"].iloc[0], chosen.cell))
            parts.append(f"{name} {a} against {b}")
    if not parts:
        return ""
    return (
        f" Untuned, at equal epochs and the rate that is best for B={ROBUST}, B={OTHER} has the accuracy "
        f"{', '.join(parts)} of B={ROBUST}."
    )


def _median_accuracy(evidence: Evidence, cell: str) -> str:
    """On the test set at the end, over all replicas: a diverged one has less than any other."""
    scores = np.where(np.isinf(evidence.final_costs[cell]), -np.inf, evidence.replicas(cell, "final_test_accuracy"))
    median = float(np.median(scores))
    return number(median) if np.isfinite(median) else "none (half diverged)"


def _accuracies(tuned: dict[tuple[str, int], Tuned]) -> Panel:
    lines = []
    for name in dict.fromkeys(name for name, _ in tuned):
        sizes = [B for other, B in tuned if other == name]
        lines.append(Series(name, sizes, *quartiles(tuned[name, B].accuracy for B in sizes)))
    return Panel("Accuracy at one training cost, tuned, where reached", BATCH_SIZE, "held-out accuracy", lines, log="x")


def _by_rate_at_one_cost(evidence: Evidence, cells: pd.DataFrame, dataset: str) -> Panel:
    lines = []
    own = cells[cells["dataset"] == dataset].sort_values(["batch_size", "learning_rate"])
    for B, at in own.groupby("batch_size"):
        accuracy = [_where_it_crosses(evidence, cell, "validation_accuracy") for cell in at["cell"]]
        name = "B=N" if at["n_train"].iloc[0] == B else f"B={B:g}"
        lines.append(Series(name, at["learning_rate"], *quartiles(accuracy)))
    return Panel(f"The same, all rates, {dataset}", "learning rate", "held-out accuracy", lines, log="x")


# L10


@dataclass(frozen=True, eq=False)
class Chosen:
    """The best rate of a batch size, by the validation cost of the choosing replicas.

    penalty: of the reporting replicas, test cost at its neighbours over that at the rate, geometric mean; None on an
    edge of the grid.
    """

    rate: float
    cell: str
    edge: str
    penalty: Array | None


def _best(evidence: Evidence, cells: pd.DataFrame, split: Split) -> Chosen:
    own = cells.sort_values("learning_rate")
    names, rates = list(own["cell"]), list(own["learning_rate"])
    validation = [np.median(_cost(evidence, cell, "validation")[split.selection]) for cell in names]
    i = int(np.argmin(validation))
    edge, penalty = _edge(i, len(names)), None
    if not edge:
        below, at, above = (np.log(_cost(evidence, names[j], "test")[split.report]) for j in (i - 1, i, i + 1))
        penalty = np.exp((below + above) / 2 - at)
    return Chosen(float(rates[i]), names[i], edge, penalty)


def _cost(evidence: Evidence, cell: str, part: str) -> Array:
    """Final cost of a part (R,), at most that of the network before it was trained: so of a replica that diverged."""
    diverged = np.isinf(evidence.final_costs[cell])
    history = evidence.histories[cell].sort_values("replica")
    untrained = history.loc[history["update"] == 0, "validation_cost"].to_numpy(dtype=float)
    return np.minimum(untrained, np.where(diverged, np.inf, censored(evidence.replicas(cell, f"final_{part}_cost"))))


def robustness(evidence: Evidence, cells: pd.DataFrame) -> Finding:
    """L10: what the neighbours of the best rate cost, of a small batch over a large one."""
    split = split_replicas(evidence.answer.n_replicas, fewest_pairs(cells["dataset"].nunique()))
    chosen = {
        str(name): [_best(evidence, own[own["batch_size"] == B], split) for B in (ROBUST, OTHER)]
        for name, own in cells.groupby("dataset", sort=False)
    }
    arms = {}
    for name, (small, large) in chosen.items():
        if small.penalty is not None and large.penalty is not None:
            arms[name] = (small.penalty, large.penalty)
    found = evidence.compare(arms)
    words = "; ".join(_penalties(name, pair, found.get(name)) for name, pair in chosen.items())
    first = next((name for name, comparison in found.items() if comparison.finite), None)
    return Finding(
        "L10",
        together(lower(found[name]) if name in found else Verdict.UNRESOLVED for name in chosen),
        f"Test cost at twice and half the best rate over that at it, B={ROBUST} against B={OTHER}, equal epochs: "
        f"{words}.",
        unit=f"× the penalty of B={OTHER}, of B={ROBUST} ({first})" if first else "",
        effect=found[first].ratio if first else None,
        replicas=evidence.answer.n_replicas,
        panels=[_by_rate(evidence, cells, name) for name in chosen],
    )


def _penalties(name: str, pair: list[Chosen], comparison: Comparison | None) -> str:
    if comparison is None:
        at = [
            f"B={B} is best at the {one.edge} end of its rates, {number(one.rate)}"
            for B, one in zip((ROBUST, OTHER), pair, strict=True)
            if one.edge
        ]
        return f"{name}: {' and '.join(at)}, extend them"
    small, large = (number(float(np.median(one.penalty))) for one in pair if one.penalty is not None)
    words = {"equivalent": "equal within 5 %", "a lower": f"B={ROBUST} is more robust", "b lower": f"B={OTHER} is"}
    needed = f", about {comparison.seeds_needed} seeds would tell" if comparison.seeds_needed else ""
    said = words.get(comparison.verdict, f"unresolved{needed}")
    ratio = interval(comparison.ratio) if comparison.finite else "not comparable"
    return f"{name} {small} against {large}, ratio {ratio} ({said})"


def _by_rate(evidence: Evidence, cells: pd.DataFrame, dataset: str) -> Panel:
    lines = []
    for B in (ROBUST, OTHER):
        own = cells[(cells["dataset"] == dataset) & (cells["batch_size"] == B)].sort_values("learning_rate")
        costs = quartiles(_cost(evidence, cell, "test") for cell in own["cell"])
        lines.append(Series(f"B={B}", own["learning_rate"], *costs))
    return Panel(f"Final test cost, {dataset}", "learning rate", "cost per example", lines)
