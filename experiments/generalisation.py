"""Judges generalisation: held-out accuracy at one training cost, and the cost of a rate that is not the best."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.notes import interval, number
from harness.scaling import split_replicas
from harness.statistics import Comparison, censored
from harness.study import BATCH_SIZE, Evidence, Finding, Line, Panel
from harness.verdicts import Verdict, lower, together

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
    """L5: every batch size at its best rate, when the training cost has come down to the target."""
    columns = ["cell", "dataset", "n_train", "target"]
    best = evidence.answer.targets.merge(cells[columns], on="cell").sort_values("batch_size")
    chosen = {(str(row["dataset"]), int(row["batch_size"])): row for _, row in best.iterrows()}
    accuracy = {key: _where_it_crosses(evidence, str(row["cell"])) for key, row in chosen.items()}
    larger = [key for key in chosen if key[1] > REFERENCE]
    found = evidence.compare({key: (accuracy[key], accuracy[key[0], REFERENCE]) for key in larger}, margin=MARGIN)
    datasets = list(dict.fromkeys(name for name, _ in larger))
    edges = [f"{name} at B={B} ({row['edge']})" for (name, B), row in chosen.items() if row["edge"]]
    verdicts = [
        Verdict.UNRESOLVED if chosen[key]["edge"] or chosen[key[0], REFERENCE]["edge"] else as_good(found[key])
        for key in larger
    ]
    words = "; ".join(
        f"{name} (cost {number(float(chosen[name, REFERENCE]['target']))}): "
        + ", ".join(f"B={B} {_said(found[name, B])}" for other, B in larger if other == name)
        for name in datasets
    )
    extend = f" Best at the edge of its rates, extend them: {', '.join(edges)}." if edges else ""
    return Finding(
        "L5",
        together(verdicts),
        f"Held-out accuracy over that of B={REFERENCE}, tuned, at one training cost: {words}.{extend}"
        f"{_untuned(evidence, others)}",
        unit=f"× the accuracy of B={REFERENCE}, at B={larger[-1][1]} ({larger[-1][0]})",
        effect=found[larger[-1]].ratio,
        replicas=evidence.answer.n_replicas,
        panels=[_accuracies(accuracy), _updates(evidence, chosen)],
    )


def as_good(comparison: Comparison) -> Verdict:
    """The claim that a, an accuracy, is not lower than b by the margin."""
    if comparison.verdict in ("equivalent", "b lower"):
        return Verdict.SUPPORTED
    worse = comparison.verdict == "a lower" and comparison.ratio.high < 1 - MARGIN
    return Verdict.REFUTED if worse else Verdict.UNRESOLVED


def _where_it_crosses(evidence: Evidence, cell: str) -> Array:
    """Validation accuracy (R,) at the update that `to_target` names; NaN of replicas that did not come down to it."""
    updates = evidence.to_target[cell]["updates"]
    own = evidence.histories[cell].groupby("replica")
    found = [np.interp(at, h["update"], h["validation_accuracy"]) for at, (_, h) in zip(updates, own, strict=True)]
    return np.where(np.isfinite(updates), found, np.nan)


def _said(comparison: Comparison) -> str:
    if not comparison.pairs:
        return "not reached"
    words = {"equivalent": f"equal within {MARGIN:.0%}", "a lower": "lower", "b lower": "higher"}
    needed = f", about {comparison.seeds_needed} seeds would tell" if comparison.seeds_needed else ""
    missed = f", not reached in {comparison.dropped} pairs" if comparison.dropped else ""
    return f"{interval(comparison.ratio)} ({words.get(comparison.verdict, 'unresolved')}{needed}{missed})"


def _untuned(evidence: Evidence, cells: pd.DataFrame) -> str:
    """At equal epochs and the small batch's best rate: what tuning is for."""
    parts = []
    for name, own in cells.groupby("dataset", sort=False):
        small, large = (own[own["batch_size"] == B] for B in (ROBUST, OTHER))
        chosen = _best(evidence, small)
        same = large[np.isclose(large["learning_rate"], chosen.rate)]
        if len(same):
            a, b = (evidence.replicas(cell, "final_test_accuracy") for cell in (same["cell"].iloc[0], chosen.cell))
            parts.append(f"{name} {number(float(np.nanmedian(a)))} against {number(float(np.nanmedian(b)))}")
    if not parts:
        return ""
    return (
        f" Untuned, at equal epochs and the rate that is best for B={ROBUST}, B={OTHER} has the accuracy "
        f"{', '.join(parts)} of B={ROBUST}."
    )


def _quartiles(values: Array) -> Array:
    known = values[np.isfinite(values)]
    return np.quantile(known, [0.25, 0.5, 0.75]) if len(known) else np.full(3, np.nan)


def _lines(values: dict[tuple[str, int], Array]) -> list[Line]:
    lines = []
    for name in dict.fromkeys(name for name, _ in values):
        sizes = [B for other, B in values if other == name]
        q = np.array([_quartiles(values[name, B]) for B in sizes])
        lines.append(Line(name, sizes, q[:, 1], q[:, 0], q[:, 2]))
    return lines


def _accuracies(accuracy: dict[tuple[str, int], Array]) -> Panel:
    title = "Held-out accuracy at one training cost"
    return Panel(title, BATCH_SIZE, "accuracy (quartiles of the splits)", _lines(accuracy), log="x")


def _updates(evidence: Evidence, chosen: dict[tuple[str, int], pd.Series]) -> Panel:
    updates = {key: evidence.to_target[str(row["cell"])]["updates"] for key, row in chosen.items()}
    return Panel("Updates to that cost", BATCH_SIZE, "updates", _lines(updates))


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


def _best(evidence: Evidence, cells: pd.DataFrame) -> Chosen:
    own = cells.sort_values("learning_rate")
    names, rates = list(own["cell"]), list(own["learning_rate"])
    split = split_replicas(evidence.answer.n_replicas)
    validation = [np.median(_cost(evidence, cell, "validation")[split.selection]) for cell in names]
    i = int(np.argmin(validation))
    edge = "low" if i == 0 else "high" if i == len(names) - 1 else ""
    penalty = None
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
    chosen = {
        str(name): [_best(evidence, own[own["batch_size"] == B]) for B in (ROBUST, OTHER)]
        for name, own in cells.groupby("dataset", sort=False)
    }
    arms = {}
    for name, (small, large) in chosen.items():
        if small.penalty is not None and large.penalty is not None:
            arms[name] = (small.penalty, large.penalty)
    found = evidence.compare(arms)
    words = "; ".join(_penalties(name, pair, found.get(name)) for name, pair in chosen.items())
    first = next((name for name, comparison in found.items() if comparison.pairs), None)
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
    ratio = interval(comparison.ratio) if comparison.pairs else "not comparable"
    return f"{name} {small} against {large}, ratio {ratio} ({said})"


def _by_rate(evidence: Evidence, cells: pd.DataFrame, dataset: str) -> Panel:
    lines = []
    for B in (ROBUST, OTHER):
        own = cells[(cells["dataset"] == dataset) & (cells["batch_size"] == B)].sort_values("learning_rate")
        q = np.array([_quartiles(_cost(evidence, cell, "test")) for cell in own["cell"]])
        lines.append(Line(f"B={B}", own["learning_rate"], q[:, 1], q[:, 0], q[:, 2]))
    return Panel(f"Final test cost, {dataset}", "learning rate", "cost per example", lines)
