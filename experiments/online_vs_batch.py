"""Judges online_vs_batch: epochs to a target, and the accuracy along the way, of updates after one or after all."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.analysis import Evidence, Finding, Panel, Series, quartiles
from harness.inference import Comparison, Verdict, lower, median_interval, together
from harness.report import interval, number

Array = NDArray[np.floating]

MARGIN = 0.01  # of the accuracy
ARMS = ("on-line", "batch")


@dataclass(frozen=True, eq=False)
class Arm:
    """A method at its best rate on one dataset: epochs to target (R,), accuracy (R,), and the rate with its edge."""

    epochs: Array
    accuracy: Array
    learning_rate: float
    edge: str


def judge(evidence: Evidence) -> Iterator[Finding]:
    yield fewer_epochs(evidence)


def fewer_epochs(evidence: Evidence) -> Finding:
    """L9: B=1 against B=N, dataset by dataset."""
    arms = best_arms(evidence)
    datasets = list(arms)
    epochs = evidence.compare({name: (one.epochs, whole.epochs) for name, (one, whole) in arms.items()})
    inverse = {name: (_inverse(whole.accuracy), _inverse(one.accuracy)) for name, (one, whole) in arms.items()}
    accuracy = evidence.compare(inverse, margin=MARGIN)
    edges = {name: _edges(arms[name]) for name in datasets}
    fewer = together(Verdict.UNRESOLVED if edges[name] else lower(epochs[name]) for name in datasets)
    worse = [
        name for name in datasets if accuracy[name].verdict == "a lower" and accuracy[name].ratio.estimate < 1 - MARGIN
    ]
    words = "; ".join(
        f"{name} {_ratio(epochs[name])} ({_median(arms[name][0])} against {_median(arms[name][1])} epochs"
        f"{edges[name]}), accuracy {_accuracy(accuracy[name])}"
        for name in datasets
    )
    return Finding(
        "L9",
        Verdict.CONDITIONAL if worse and fewer is Verdict.SUPPORTED else fewer,
        f"Epochs to a tenth of the initial cost, on-line over batch, each at its best rate: {words}.",
        unit=f"× the epochs of batch training ({datasets[0]})",
        effect=epochs[datasets[0]].ratio,
        replicas=evidence.answer.n_replicas,
        panels=[_epochs(arms), _rates(evidence, datasets[0]), _accuracies(arms)],
    )


def best_arms(evidence: Evidence) -> dict[str, tuple[Arm, Arm]]:
    """Dataset -> on-line and batch, each at the rate that needs the fewest updates; those that have both."""
    found: dict[str, tuple[Arm, Arm]] = {}
    best = evidence.answer.targets.merge(evidence.cells[["cell", "dataset", "n_train"]], on="cell")
    for name, own in best.groupby("dataset", sort=False):
        one, whole = own[own["batch_size"] == 1], own[own["batch_size"] == own["n_train"]]
        if len(one) and len(whole):
            found[str(name)] = (_arm(evidence, one.iloc[0]), _arm(evidence, whole.iloc[0]))
    return found


def _arm(evidence: Evidence, row: pd.Series) -> Arm:
    accuracy = evidence.replicas(row["cell"], "best_validation_accuracy")
    return Arm(evidence.to_target[row["cell"]]["epochs"], accuracy, float(row["learning_rate"]), str(row["edge"]))


def _inverse(accuracy: np.ndarray) -> np.ndarray:
    """1/accuracy (R,), NaN of replicas without one: compared as a cost, it counts them as lost."""
    return 1 / np.where(accuracy > 0, accuracy, np.nan)


def _edges(arms: tuple[Arm, Arm]) -> str:
    at = [
        f"{name} best at the {arm.edge} end of its rates, {number(arm.learning_rate)}: extend them"
        for name, arm in zip(ARMS, arms, strict=True)
        if arm.edge
    ]
    return f"; {' and '.join(at)}" if at else ""


def _median(arm: Arm) -> str:
    middle = float(np.median(arm.epochs))
    return number(middle) if np.isfinite(middle) else "more"


def _ratio(comparison: Comparison) -> str:
    if not comparison.finite:
        return "not reached by one of them"
    missed = sum(comparison.diverged)
    return interval(comparison.ratio) + (f", {missed} trainings did not reach it" if missed else "")


def _accuracy(comparison: Comparison) -> str:
    """The ratio, and what may be said of it."""
    words = {"equivalent": f"equal within {MARGIN:.0%}", "a lower": "on-line lower", "b lower": "on-line higher"}
    needed = f", about {comparison.seeds_needed} seeds would tell" if comparison.seeds_needed else ""
    open_end = f"not lower by {MARGIN:.0%}" if comparison.ratio.low >= 1 - MARGIN else f"unresolved{needed}"
    return f"{interval(comparison.ratio)} × that of batch ({words.get(comparison.verdict, open_end)})"


def _by_dataset(arms: dict[str, tuple[Arm, Arm]], column: str) -> list[Series]:
    """Medians with their quartiles."""
    lines = []
    for i, label in enumerate(ARMS):
        x = np.arange(len(arms)) + 0.16 * (i - 0.5)
        lines.append(Series(label, x, *quartiles(getattr(pair[i], column) for pair in arms.values()), kind="marks"))
    return lines


def _epochs(arms: dict[str, tuple[Arm, Arm]]) -> Panel:
    return Panel("Epochs to a tenth of the cost", "", "epochs", _by_dataset(arms, "epochs"), log="y", names=list(arms))


def _accuracies(arms: dict[str, tuple[Arm, Arm]]) -> Panel:
    lines = _by_dataset(arms, "accuracy")
    return Panel("Best validation accuracy", "", "accuracy", lines, log="", names=list(arms))


def _rates(evidence: Evidence, dataset: str) -> Panel:
    own = evidence.cells[evidence.cells["dataset"] == dataset].sort_values("learning_rate")
    lines = []
    for label, at in zip(ARMS, (own[own["batch_size"] == 1], own[own["batch_size"] == own["n_train"]]), strict=True):
        found = [median_interval(evidence.to_target[cell]["epochs"]) for cell in at["cell"]]
        y, low, high = (np.array([getattr(value, part) for value in found]) for part in ("estimate", "low", "high"))
        lines.append(Series(label, at["learning_rate"], y, low, high))
    return Panel(f"Epochs to a tenth of the cost, {dataset}", "learning rate (of the sum)", "epochs", lines)
