"""Judges batch_warm_up: a batch that grows in steps, beside its first and its last size throughout."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.analysis import Evidence, Finding, Panel, Series, limits
from harness.inference import (
    Interval,
    Split,
    Verdict,
    all_hold,
    edge_of,
    fewest_pairs,
    inside,
    paired_ratio,
    pairs_to_tell,
    split_replicas,
    together,
)
from harness.report import interval, price, verdicts_along

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.floating]

AT_EDGE = "best rate on the edge of its grid"
WORSE = (0.05, 0.1, 0.25)  # of the final cost


@dataclass(frozen=True)
class Growing:
    """Final costs over those of the smallest batch throughout: of the batch that grows, of its last size throughout.

    saved: share of the updates that the growing batch does not make. edges: arms whose best rate is on one.
    """

    grown: Interval
    large: Interval
    saved: float
    edges: list[str]

    def parts(self, margin: float) -> list[tuple[Interval, float, float]]:
        """The growing batch costs no more, up to the margin, and the large one more than that."""
        return [(self.grown, 0, 1 + margin), (self.large, 1 + margin, np.inf)]

    def holds(self, margin: float) -> Verdict:
        return Verdict.UNRESOLVED if self.edges else all_hold(inside(*part) for part in self.parts(margin))


def growing(evidence: Evidence, own: "pd.DataFrame", split: Split) -> Growing:
    """Each arm at the rate, and the growing one at the rule, that is best on the replicas that do not report."""
    grows = own["batch_size_schedule"] == "step"
    grown, constant = own[grows], own[~grows]
    row = grown.iloc[0]
    n_steps = len(json.loads(row["milestones"]))
    sizes = float(row["batch_size"]), float(row["batch_size"] * row["milestone_factor"] ** n_steps)
    small, large = (constant[constant["batch_size"] == B] for B in sizes)
    history = evidence.histories[row["cell"]]
    end, updates = float(history["epoch"].max()), float(history["update"].max())
    arms = {f"B={sizes[0]:g}": small, "the growing batch": grown, f"B={sizes[1]:g}": large}
    best = {name: best_of(evidence, arm, end, split) for name, arm in arms.items()}
    costs = [np.exp(found[split.report]) for found, _ in best.values()]
    edges = [f"{name}: {edge}" for name, (_, edge) in best.items() if edge]
    ratios = [paired_ratio(found, costs[0]) for found in costs[1:]]
    return Growing(ratios[0], ratios[1], 1 - updates * sizes[0] / (end * row["n_train"]), edges)


def best_of(evidence: Evidence, arm: "pd.DataFrame", end: float, split: Split) -> tuple[Array, str]:
    """(R,) log costs of the cell that is best on the replicas that choose; which edge of its rule's rates it is on."""
    logs = {cell: evidence.log_costs(cell, end) for cell in arm["cell"]}
    best = min(logs, key=lambda cell: np.median(logs[cell][split.selection]))
    rule = dict(zip(arm["cell"], arm["rule"], strict=True))[best]
    rates = list(arm[arm["rule"] == rule].sort_values("learning_rate")["cell"])
    return logs[best], edge_of(rates.index(best), len(rates))


def judge(evidence: Evidence) -> Iterator[Finding]:
    split = split_replicas(evidence.answer.n_replicas, fewest_pairs(1))
    cells = evidence.cells.assign(rule=evidence.cells["learning_rate_rule"].fillna("constant"))
    arms = {str(name): growing(evidence, own, split) for name, own in cells.groupby("dataset", sort=False)}
    along = {margin: together(own.holds(margin) for own in arms.values()) for margin in WORSE}
    told = "; ".join(
        f"{name}: {own.saved:.0%} fewer updates, {interval(own.grown)} × the cost; its last size from the start "
        f"{interval(own.large)} ×" + (f" ({AT_EDGE}: {', '.join(own.edges)})" if own.edges else "")
        for name, own in arms.items()
    )
    said = f"A batch that grows, against the smallest throughout - {told}. Not worse by: {verdicts_along(along)}."
    n, verdict, plain = len(split.report), together(along.values()), ""
    shown = next(iter(arms.values()))
    if verdict is Verdict.UNRESOLVED and not any(own.edges for own in arms.values()):
        still = [margin for margin in WORSE if along[margin] is verdict]
        parts = [part for own in arms.values() for margin in still for part in own.parts(margin)]
        said += price(evidence.price([pairs_to_tell(found, n, *band) for found, *band in parts], n))
        plain = (
            f"Not decided: a batch that grows makes {shown.saved:.0%} fewer updates at {interval(shown.grown)} × the "
            f"cost; its last size from the start ends at {interval(shown.large)} ×, and how much worse it has to be is "
            "open."
        )
    places, (first, *_) = np.arange(len(arms)), arms
    lines = [
        Series("grows", places - 0.1, *limits(own.grown for own in arms.values()), kind="marks"),
        Series("largest from the start", places + 0.1, *limits(own.large for own in arms.values()), kind="marks"),
        Series("smallest", [-0.5, len(arms) - 0.5], [1, 1], kind="reference"),
    ]
    panel = Panel("Final training cost", "", "× that of the smallest batch", lines, log="y", names=list(arms))
    unit = f"× the final cost of the smallest batch ({first})"
    yield Finding("B3", verdict, said, unit, shown.grown, n, [panel], plain=plain)
