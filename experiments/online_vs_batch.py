"""Judges online_vs_batch: epochs to a target, and the accuracy along the way, of updates after one or after all."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.analysis import Evidence, Finding, Panel, Series, quartiles, targets_table, updates_to_target
from harness.inference import Comparison, Verdict, fewest_pairs, lower, median_interval, split_replicas, together
from harness.report import answers, interval, number

Array = NDArray[np.floating]

TARGETS = (0.2, 0.1, 0.05)  # of the initial cost
MAIN = 0.1  # the target of the numbers that are told
MARGINS = (0.02, 0.03, 0.05)  # of the accuracy; one of iris' 30 held-out examples is 3 %
ARMS = ("on-line", "batch")
WORDS = {
    "equivalent": f"equal within {answers.percent(MARGINS[0])}",
    "a lower": "on-line lower",
    "b lower": "on-line higher",
    "unresolved": "no difference shown",
}
LEAST = f"more than {answers.percent(1 - MARGINS[0])}"  # of the accuracy of batch training
COLUMNS = (
    "data", "median epochs, on-line / batch", "ratio of pairs that reach it", "fewer epochs",
    "median accuracy, on-line / batch", "ratio of pairs", "is", f"{LEAST} of batch's",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Arm:
    """A method at the rate that needs the fewest updates to a target, on one dataset.

    epochs: to the target, of the replicas that did not choose the rate. accuracy: of all R, NaN where one diverged.
    """

    epochs: Array
    accuracy: Array
    learning_rate: float
    edge: str


Arms = dict[str, tuple[Arm, Arm]]


def judge(evidence: Evidence) -> Iterator[Finding]:
    yield fewer_epochs(evidence)


def fewer_epochs(evidence: Evidence) -> Finding:
    """L9: B=1 against B=N, dataset by dataset, along the target and along the accuracy that may be lost."""
    by_target = {share: best_arms(evidence, share) for share in TARGETS}
    arms = by_target[MAIN]
    found = {share: evidence.compare(_epochs_of(own)) for share, own in by_target.items()}
    fewer = {
        share: {name: _fewer(by_target[share][name], one) for name, one in own.items()} for share, own in found.items()
    }
    kept = {margin: {name: lower(one) for name, one in keeps(evidence, arms, margin).items()} for margin in MARGINS}
    along = {
        "the share of the initial cost to be reached": {x: together(own.values()) for x, own in fewer.items()},
        "the share of the accuracy that may be lost": {x: together(own.values()) for x, own in kept.items()},
    }
    parts = {("epochs", name): together(own[name] for own in fewer.values()) for name in arms}
    parts |= {("accuracy", name): verdict for name, verdict in kept[MARGINS[0]].items()}
    inverse = {name: (_inverse(whole), _inverse(one)) for name, (one, whole) in arms.items()}
    accuracy = evidence.compare(inverse, MARGINS[0])
    first, verdict = next(iter(arms)), _verdict(*(together(own.values()) for own in along.values()))
    return Finding(
        "L9",
        verdict,
        f"Epochs to a tenth of the initial cost, on-line over batch, each at its best rate: "
        f"{answers.spread(one.ratio for one in found[MAIN].values() if one.finite)}. Best validation accuracy: "
        f"{answers.spread(one.ratio for one in accuracy.values() if one.finite)} times that of batch."
        f"{_lost(arms)}{_more_accurate(arms, accuracy)}",
        unit=f"× the epochs of batch training ({first})",
        effect=found[MAIN][first].ratio,
        replicas=evidence.answer.n_replicas,
        panels=[_epochs(arms), _rates(evidence, first), _accuracies(arms)],
        rows=[COLUMNS, *(_row(name, arms[name], found[MAIN][name], accuracy[name], parts) for name in arms)],
        along=along,
        plain=_where(parts, along) if verdict is Verdict.CONDITIONAL else "",
    )


def _where(parts: Mapping[tuple[str, str], Verdict], along: Mapping[str, Mapping[float, Verdict]]) -> str:
    """On which data each half of the claim holds, and by which constant, in plain words."""
    halves = {"epochs": "fewer epochs", "accuracy": f"{LEAST} of the accuracy"}
    tell = {words: own for words, own in along.items() if {*answers.DECIDED} <= {*own.values()}}
    return "; ".join(filter(None, [f"With B = 1 {answers.differing(parts, halves)}", answers.by_constants(tell)])) + "."


def _verdict(fewer: Verdict, kept: Verdict) -> Verdict:
    """Without fewer epochs the claim is refuted, whatever the accuracy; with a loss of accuracy it is conditional."""
    return Verdict.REFUTED if fewer is Verdict.REFUTED else together([fewer, kept])


def best_arms(evidence: Evidence, share: float) -> Arms:
    """Dataset -> on-line and batch, each at the rate that needs the fewest updates to that share of the first cost."""
    goals = {setting: cost * share / MAIN for setting, cost in evidence.answer.targets_at.items()}
    reached = updates_to_target(evidence.data.histories, goals, evidence.cells)
    best = targets_table(evidence.cells, reached, np.random.default_rng(0))
    best = best.merge(evidence.cells[["cell", "dataset", "n_train"]], on="cell")
    found: Arms = {}
    for name, own in best.groupby("dataset", sort=False):
        one, whole = own[own["batch_size"] == 1], own[own["batch_size"] == own["n_train"]]
        if len(one) and len(whole):
            found[str(name)] = (_arm(evidence, one.iloc[0], reached), _arm(evidence, whole.iloc[0], reached))
    return found


def _arm(evidence: Evidence, row: pd.Series, reached: dict[str, dict[str, Array]]) -> Arm:
    epochs, accuracy = reached[row["cell"]]["epochs"], evidence.replicas(row["cell"], "best_validation_accuracy")
    report = split_replicas(len(epochs), fewest_pairs(1)).report
    ended = np.isfinite(evidence.final_costs[row["cell"]])
    return Arm(epochs[report], np.where(ended, accuracy, np.nan), float(row["learning_rate"]), str(row["edge"]))


def _epochs_of(arms: Arms) -> dict[str, tuple[Array, Array]]:
    return {name: (one.epochs, whole.epochs) for name, (one, whole) in arms.items()}


def _fewer(arms: tuple[Arm, Arm], epochs: Comparison) -> Verdict:
    return Verdict.UNRESOLVED if any(arm.edge for arm in arms) else lower(epochs)


def keeps(evidence: Evidence, arms: Arms, margin: float) -> dict[str, Comparison]:
    """Whether on-line is as accurate as batch but for the margin: "a lower" if it is shown, "b lower" if the opposite.

    A replica without an accuracy counts as lost in its arm. No two arms are equivalent here, unless they are equal.
    """
    shifted = {name: ((1 - margin) * _inverse(one), _inverse(whole)) for name, (one, whole) in arms.items()}
    return evidence.compare(shifted, margin=0.0)


def _inverse(arm: Arm) -> Array:
    """1/accuracy (R,), NaN of replicas without one: compared as a cost, it counts them as lost."""
    return 1 / np.where(arm.accuracy > 0, arm.accuracy, np.nan)


def _row(
    name: str, arms: tuple[Arm, Arm], epochs: Comparison, accuracy: Comparison, parts: Mapping[tuple[str, str], Verdict]
) -> tuple[str, ...]:
    """One dataset: both medians with their ratio, what diverged or is on an edge, and the verdicts."""
    medians, middles = (" / ".join(map(of, arms)) for of in (_median, _middle))
    ratio, lost = f"{_ratio(epochs)}{_edges(arms)}", _diverged(arms)
    said = f"{WORDS[accuracy.verdict]}{'; ' if lost else ''}{lost}"
    fewer, kept = (str(parts[half, name]) for half in ("epochs", "accuracy"))
    return name, medians, ratio, fewer, middles, _of_finite(accuracy), said, kept


def _median(arm: Arm) -> str:
    middle = float(np.median(arm.epochs))
    return number(middle) if np.isfinite(middle) else "more"


def _middle(arm: Arm) -> str:
    """The median accuracy; a training that diverged counts as one without any."""
    return number(float(np.median(np.nan_to_num(arm.accuracy))))


def _ratio(epochs: Comparison) -> str:
    missed = sum(epochs.diverged)
    trainings = "1 training" if missed == 1 else f"{missed} trainings"
    return _of_finite(epochs) + (f", {trainings} did not reach it" if missed and epochs.finite else "")


def _of_finite(comparison: Comparison) -> str:
    return interval(comparison.ratio) if comparison.finite else "not reached by one of them"


def _edges(arms: tuple[Arm, Arm]) -> str:
    at = [
        f"{name} best at the {arm.edge} end of its rates, {number(arm.learning_rate)}: extend them"
        for name, arm in zip(ARMS, arms, strict=True)
        if arm.edge
    ]
    return f"; {' and '.join(at)}" if at else ""


def _diverged(arms: tuple[Arm, Arm]) -> str:
    counts = [
        (name, int(np.isnan(arm.accuracy).sum()), len(arm.accuracy)) for name, arm in zip(ARMS, arms, strict=True)
    ]
    return "; ".join(f"{lost} of {n} trainings of {name} diverged" for name, lost, n in counts if lost)


def _lost(arms: Arms) -> str:
    """Trainings that count as lost, and best rates that leave the claim open, in short; the table has the rest."""
    counts = {
        "did not reach it": sum(int(np.isinf(arm.epochs).sum()) for pair in arms.values() for arm in pair),
        "diverged": sum(int(np.isnan(arm.accuracy).sum()) for pair in arms.values() for arm in pair),
    }
    words = [f"{n} training{'s' * (n != 1)} {what}" for what, n in counts.items() if n]
    edges = [
        f"{name} on {data}" for data, pair in arms.items() for name, arm in zip(ARMS, pair, strict=True) if arm.edge
    ]
    open_ends = f" A best rate is the last of its grid: {answers.joined(edges)}." if edges else ""
    return (f" {' and '.join(words)}: they count as lost." if words else "") + open_ends


def _more_accurate(arms: Arms, accuracy: dict[str, Comparison]) -> str:
    """Where the accuracies differ, which the claim's source says they do not; a training that diverged has none."""
    higher = [name for name, found in accuracy.items() if found.verdict == "b lower"]
    lost = {name: f" ({words})" if (words := _diverged(arms[name])) else "" for name in higher}
    words = ", ".join(f"{name}{lost[name]}" for name in higher)
    return f" On-line is more accurate on {words}." if higher else ""


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
