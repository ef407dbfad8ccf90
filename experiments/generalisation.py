"""Judges generalisation: held-out accuracy at one training cost, and the cost of a rate that is not the best."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.analysis import BATCH_SIZE, Evidence, Finding, Panel, Ratio, Series, quartiles
from harness.inference import (
    Comparison,
    Split,
    Verdict,
    censored,
    fewest_pairs,
    lower,
    paired_ratio,
    split_replicas,
    together,
)
from harness.report import held, interval, number, verdicts_along

Array = NDArray[np.floating]

MARGINS = (0.01, 0.02)  # an accuracy lower by this part is as good
REFERENCE = 8  # the batch size that larger ones are held against
ROBUST, OTHER = 4, 256  # the batch sizes of L10


def judge(evidence: Evidence) -> Iterator[Finding]:
    stopped = evidence.cells["target"].notna()
    yield at_one_cost(evidence, evidence.cells[stopped], evidence.cells[~stopped])
    yield robustness(evidence, evidence.cells[~stopped])


# L5


def at_one_cost(evidence: Evidence, cells: pd.DataFrame, others: pd.DataFrame) -> Finding:
    """L5: every batch size at its best rate, where the training cost crosses the target."""
    tuned = {(str(name), int(B)): _tuned(evidence, own) for (name, B), own in cells.groupby(["dataset", "batch_size"])}
    found = {key: _accuracy_ratio(tuned[key], tuned[key[0], REFERENCE]) for key in tuned if key[1] > REFERENCE}
    parts = {margin: together(own.inside(1 - margin, np.inf) for own in found.values()) for margin in MARGINS}
    words = "; ".join(
        f"{name} (cost {number(tuned[name, REFERENCE].target)}): "
        + ", ".join(f"B={B} {_said(found[name, B], tuned[name, B])}" for other, B in found if other == name)
        for name in dict.fromkeys(name for name, _ in found)
    )
    last = next(reversed(found))
    return Finding(
        "L5",
        together(parts.values()),
        f"Held-out accuracy over that of B={REFERENCE}, tuned, at one training cost: {words}. As good is lower by at "
        f"most this part: {verdicts_along(parts)}.{_untuned(evidence, others)}",
        unit=f"× the accuracy of B={REFERENCE}, at B={last[1]} ({last[0]})",
        effect=found[last].effect,
        replicas=min(own.n_replicas for own in found.values()),
        panels=[
            _accuracies(tuned),
            *(_by_rate_at_one_cost(evidence, cells, str(n)) for n in cells["dataset"].unique()[:2]),
        ],
    )


def _accuracy_ratio(larger: "Tuned", reference: "Tuned") -> Ratio:
    """Accuracy of the larger batch over that of the reference; a replica that missed the target counts as lost."""
    inverse = [1 / np.where(one.accuracy > 0, one.accuracy, np.nan) for one in (reference, larger)]
    edge = next(
        (f"best at the {one.edge} edge of its rates, extend them" for one in (larger, reference) if one.edge), ""
    )
    return Ratio(paired_ratio(*inverse), len(larger.accuracy), larger.n_replicas, edge)


@dataclass(frozen=True, eq=False)
class Tuned:
    """A batch size at the rate whose held-out cost is lowest where the training cost crosses the target.

    Chosen by the choosing replicas; accuracy: of the reporting ones, NaN of those that did not come down to the target.
    """

    rate: float
    edge: str
    target: float
    accuracy: Array
    n_replicas: int


def _tuned(evidence: Evidence, cells: pd.DataFrame) -> Tuned:
    own = cells.sort_values("learning_rate")
    split = _split(evidence, cells)
    costs = [censored(_where_it_crosses(evidence, cell, "validation_cost")) for cell in own["cell"]]
    i = int(np.argmin([np.median(cost[split.selection]) for cost in costs]))
    chosen = own.iloc[i]
    accuracy = _where_it_crosses(evidence, chosen["cell"], "validation_accuracy")[split.report]
    return Tuned(float(chosen["learning_rate"]), _edge(i, len(own)), float(chosen["target"]), accuracy, len(costs[i]))


def _edge(i: int, n: int) -> str:
    return "" if 0 < i < n - 1 else "low" if i == 0 else "high"


def _split(evidence: Evidence, cells: pd.DataFrame, n_comparisons: int = 1) -> Split:
    n_replicas = min(len(evidence.final_costs[cell]) for cell in cells["cell"])
    return split_replicas(n_replicas, fewest_pairs(n_comparisons))


def _where_it_crosses(evidence: Evidence, cell: str, column: str) -> Array:
    """A column of the history (R,) at the update that `to_target` names; NaN of replicas that did not reach it."""
    updates = evidence.to_target[cell]["updates"]
    own = evidence.histories[cell].groupby("replica")
    found = [np.interp(at, h["update"], h[column]) for at, (_, h) in zip(updates, own, strict=True)]
    return np.where(np.isfinite(updates), found, np.nan)


def _said(ratio: Ratio, tuned: Tuned) -> str:
    missed = int(np.isnan(tuned.accuracy).sum())
    also = f", not reached by {missed} of {len(tuned.accuracy)}" if missed else ""
    return held(ratio, *((1 - margin, np.inf) for margin in MARGINS)) + also


def _untuned(evidence: Evidence, cells: pd.DataFrame) -> str:
    """At equal epochs and the small batch's best rate: what tuning is for."""
    parts = []
    for name, own in cells.groupby("dataset", sort=False):
        small, large = _sizes(own)
        chosen = _best(evidence, small, _split(evidence, own))
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


def _sizes(cells: pd.DataFrame) -> list[pd.DataFrame]:
    return [cells[cells["batch_size"] == B] for B in (ROBUST, OTHER)]


def _cost(evidence: Evidence, cell: str, part: str) -> Array:
    """Final cost of a part (R,), at most that of the network before it was trained: so of a replica that diverged."""
    diverged = np.isinf(evidence.final_costs[cell])
    history = evidence.histories[cell].sort_values("replica")
    untrained = history.loc[history["update"] == 0, "validation_cost"].to_numpy(dtype=float)
    return np.minimum(untrained, np.where(diverged, np.inf, censored(evidence.replicas(cell, f"final_{part}_cost"))))


def robustness(evidence: Evidence, cells: pd.DataFrame) -> Finding:
    """L10: what the neighbours of the best rate cost, of a small batch over a large one."""
    n_datasets = cells["dataset"].nunique()
    chosen = {
        str(name): [_best(evidence, at, _split(evidence, own, n_datasets)) for at in _sizes(own)]
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
        replicas=min((comparison.pairs for comparison in found.values()), default=0),
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
