"""Judges batch_warm_up: a batch that grows in steps, beside its first and its last size throughout."""

import json
from collections.abc import Iterable, Iterator, Mapping
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
from harness.report.answers import DECIDED, joined, percent, where

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.floating]

AT_EDGE = "best rate on the edge of its grid"
WORSE = (0.05, 0.1, 0.25)  # of the final cost
PARTS = {"as low": "the growing batch ends as low", "higher": "its last size from the start ends higher"}
COLUMNS = ("data", "batch", "rule, first rate", "updates", "final cost / that of the smallest", "by the margin")


@dataclass(frozen=True, eq=False)
class Arm:
    """A way to choose the batch size, at its best rate and rule: its cell, the log costs (R,); edge: of its rates."""

    name: str
    cell: str
    costs: Array
    edge: str


@dataclass(frozen=True, eq=False)
class Growing:
    """Final costs over those of the smallest batch throughout: of the batch that grows, of its last size throughout.

    saved: share of the updates that the growing batch does not make. arms: the smallest, the growing, the largest.
    """

    grown: Interval
    large: Interval
    saved: float
    arms: list[Arm]

    @property
    def edges(self) -> list[str]:
        """Arms whose best rate is on the edge of their grid."""
        return [f"{arm.name}: {arm.edge}" for arm in self.arms if arm.edge]

    def parts(self, margin: float) -> list[tuple[Interval, float, float]]:
        """The growing batch costs no more, up to the margin, and the large one more than that."""
        return [(self.grown, 0, 1 + margin), (self.large, 1 + margin, np.inf)]

    def each(self, margin: float) -> list[Verdict]:
        return [Verdict.UNRESOLVED if self.edges else inside(*part) for part in self.parts(margin)]


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
    cells = {f"B={sizes[0]:g}": small, "the growing batch": grown, f"B={sizes[1]:g}": large}
    arms = [best_of(evidence, name, arm, end, split) for name, arm in cells.items()]
    costs = [np.exp(arm.costs[split.report]) for arm in arms]
    ratios = [paired_ratio(found, costs[0]) for found in costs[1:]]
    return Growing(ratios[0], ratios[1], 1 - updates * sizes[0] / (end * row["n_train"]), arms)


def best_of(evidence: Evidence, name: str, arm: "pd.DataFrame", end: float, split: Split) -> Arm:
    """At the cell that is best on the replicas that choose; which edge of its rule's rates it is on."""
    logs = {cell: evidence.log_costs(cell, end) for cell in arm["cell"]}
    best = min(logs, key=lambda cell: np.median(logs[cell][split.selection]))
    rule = dict(zip(arm["cell"], arm["rule"], strict=True))[best]
    rates = list(arm[arm["rule"] == rule].sort_values("learning_rate")["cell"])
    return Arm(name, best, logs[best], edge_of(rates.index(best), len(rates)))


def judge(evidence: Evidence) -> Iterator[Finding]:
    split = split_replicas(evidence.answer.n_replicas, fewest_pairs(1))
    cells = evidence.cells.assign(rule=evidence.cells["learning_rate_rule"].fillna("constant"))
    arms = {str(name): growing(evidence, own, split) for name, own in cells.groupby("dataset", sort=False)}
    along = {margin: together(all_hold(own.each(margin)) for own in arms.values()) for margin in WORSE}
    n, verdict, (first, shown) = len(split.report), together(along.values()), next(iter(arms.items()))
    edges = "; ".join(f"{', '.join(own.edges)} ({name})" for name, own in arms.items() if own.edges)
    said = (
        f"On {first} a batch that grows makes {percent(round(shown.saved, 2))} fewer updates than the smallest "
        f"throughout and ends at {interval(shown.grown)} × its cost; its last size from the start ends at "
        f"{interval(shown.large)} ×." + (f" Not judged, {AT_EDGE}: {edges}." if edges else "")
    )
    if verdict is Verdict.UNRESOLVED and not edges:
        still = [margin for margin in WORSE if along[margin] is verdict]
        parts = [part for own in arms.values() for margin in still for part in own.parts(margin)]
        said += price(evidence.price([pairs_to_tell(found, n, *band) for found, *band in parts], n))
    yield Finding(
        "B3",
        verdict,
        said,
        unit=f"× the final cost of the smallest batch ({first})",
        effect=shown.grown,
        replicas=n,
        panels=[_panel(arms)],
        rows=[COLUMNS, *_rows(evidence, cells.set_index("cell"), arms)],
        along={"the margin": along},
        plain="" if edges or verdict in DECIDED else _answer(along, arms.values()),
    )


def _answer(along: Mapping[float, Verdict], arms: Iterable[Growing]) -> str:
    """By which margins it holds, and which of its two parts leave the others open."""
    still = [own.each(margin) for margin in along for own in arms if along[margin] is Verdict.UNRESOLVED]
    open_parts = [words for i, words in enumerate(PARTS.values()) if any(own[i] is Verdict.UNRESOLVED for own in still)]
    told = where({percent(margin): found for margin, found in along.items()}, "by a margin of ")
    still_open = f" (whether {joined(open_parts)})" if open_parts else ""
    return f"That {' and '.join(PARTS.values())}: {told}{still_open}."


def _rows(evidence: Evidence, cells: "pd.DataFrame", arms: Mapping[str, Growing]) -> Iterator[tuple[str, ...]]:
    for name, own in arms.items():
        ratios = ("1", interval(own.grown), interval(own.large))
        parts = {words: {margin: own.each(margin)[i] for margin in WORSE} for i, words in enumerate(PARTS)}
        by = ["", *(f"{words}: {verdicts_along(part)}" for words, part in parts.items())]
        for arm, ratio, verdicts in zip(own.arms, ratios, by, strict=True):
            rate = f"{cells.loc[arm.cell, 'rule']}, {cells.loc[arm.cell, 'learning_rate']:g}"
            updates = f"{evidence.histories[arm.cell]['update'].max():g}"
            yield name, arm.name, rate + (f" ({arm.edge} edge)" if arm.edge else ""), updates, ratio, verdicts


def _panel(arms: Mapping[str, Growing]) -> Panel:
    places = np.arange(len(arms))
    lines = [
        Series("grows", places - 0.1, *limits(own.grown for own in arms.values()), kind="marks"),
        Series("largest from the start", places + 0.1, *limits(own.large for own in arms.values()), kind="marks"),
        Series("smallest", [-0.5, len(arms) - 0.5], [1, 1], kind="reference"),
    ]
    return Panel("Final training cost", "", "× that of the smallest batch", lines, log="y", names=list(arms))
