"""Judges typical_sizes: what it costs to take a batch size of 64 to 512, beside the best of the others."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.analysis import BATCH_SIZE, Evidence, Finding, Panel, Series, at_the_edge, limits
from harness.inference import (
    Interval,
    Verdict,
    fewest_pairs,
    geometric_mean_ratio,
    inside,
    median_interval,
    split_replicas,
    together,
)
from harness.report import interval, verdicts_along

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.floating]
TYPICAL = (64, 512)
COSTS = (1.1, 1.25, 1.5)  # times the seconds of the best other size, which may still be called fastest
FEWEST_REPLICAS = 5


@dataclass(frozen=True)
class Regret:
    """The best typical size and the best other one, and the seconds of the first over those of the second.

    smallest: whether the best other one is the smallest size that was tried, so that a smaller one may be faster.
    """

    typical: float
    other: float
    ratio: Interval
    smallest: bool

    def verdict(self, cost: float) -> Verdict:
        """The claim that a typical size takes at most `cost` times as long as any other."""
        found = inside(self.ratio, 0, cost)
        return Verdict.UNRESOLVED if self.smallest and found is Verdict.SUPPORTED else found


def judge(evidence: Evidence) -> Iterator[Finding]:
    """C16: on each dataset, the regret of the typical sizes."""
    about = evidence.cells.set_index("cell")[["dataset", "n_train"]]
    best = evidence.answer.targets.join(about, on="cell").sort_values("batch_size")
    seconds = {str(name): _seconds(evidence, own) for name, own in best.groupby("dataset", sort=False)}
    n_train = best.groupby("dataset")["n_train"].max()
    found = {name: regret(own, float(n_train[name]), len(seconds)) for name, own in seconds.items()}
    verdicts = {cost: together(one.verdict(cost) for one in found.values()) for cost in COSTS}
    edges, shown = at_the_edge(best), next(iter(found.values()))
    few = " Too few replicas to tell how sure that is." if np.isnan(shown.ratio.low) else ""
    yield Finding(
        "C16",
        Verdict.UNRESOLVED if edges else together(verdicts.values()),
        f"Seconds to a tenth of the initial cost: {'; '.join(_said(name, one) for name, one in found.items())}. The "
        f"claim, by how many times as long is still fastest: {verdicts_along(verdicts)}.{few}{edges}",
        unit=f"× the train seconds of the best other size, at the best of 64 to 512 ({next(iter(found))})",
        effect=shown.ratio if np.isfinite(shown.ratio.estimate) else None,
        replicas=int(evidence.answer.n_replicas),
        panels=[_seconds_panel(seconds)],
    )


def _seconds(evidence: Evidence, best: "pd.DataFrame") -> dict[float, Array]:
    """B -> seconds to target (R,), each replica with its own block of the clock; +inf where it was not reached."""
    return {float(row.batch_size): evidence.to_target[row.cell]["seconds"] for row in best.itertuples()}


def regret(seconds: dict[float, Array], n_train: float, n_datasets: int) -> Regret:
    """The first half of the replicas chooses the two sizes, the other compares them. The whole set is no typical size.

    The ratio is unknown if a replica misses the target at one of them, and for fewer than five replicas.
    """
    split = split_replicas(len(next(iter(seconds.values()))), fewest_pairs(n_datasets))
    middle = {B: float(np.median(own[split.selection])) for B, own in seconds.items()}
    typical = [B for B in seconds if TYPICAL[0] <= B <= TYPICAL[1] and n_train > B]
    others = [B for B in seconds if B not in typical]
    if not typical or not others:
        return Regret(np.nan, np.nan, Interval(np.nan, np.nan, np.nan), False)
    a, b = (min(sizes, key=middle.__getitem__) for sizes in (typical, others))
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(seconds[a] / seconds[b])[split.report]
    known = np.isfinite(logs).all() and len(logs) >= FEWEST_REPLICAS
    ratio = geometric_mean_ratio(logs) if known else Interval(np.nan, np.nan, np.nan)
    return Regret(a, b, ratio, b == min(seconds))


def _said(dataset: str, found: Regret) -> str:
    """digits B=128 takes 0.9 [0.85, 0.95] times as long as B=32, the best outside 64 to 512"""
    if np.isnan(found.typical):
        return f"{dataset} has no size to compare with"
    known = np.isfinite(found.ratio.low)
    takes = f"takes {interval(found.ratio)} times as long as" if known else "cannot be compared with"
    smallest = " (the smallest that was tried)" if found.smallest else ""
    return f"{dataset} B={found.typical:g} {takes} B={found.other:g}, the best outside 64 to 512{smallest}"


def _seconds_panel(seconds: dict[str, dict[float, Array]]) -> Panel:
    lines = [Series(name, list(own), *limits(map(median_interval, own.values()))) for name, own in seconds.items()]
    return Panel("To a tenth of the initial cost", BATCH_SIZE, "train seconds", lines)
