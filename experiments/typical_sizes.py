"""Judges typical_sizes: what it costs to take a batch size of 64 to 512, beside the best of the others."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.analysis import (
    BATCH_SIZE,
    Evidence,
    Finding,
    Panel,
    Series,
    at_the_edge,
    limits,
    targets_table,
    updates_to_target,
)
from harness.inference import (
    UNKNOWN,
    Interval,
    Verdict,
    fewest_pairs,
    inside,
    median_interval,
    paired_ratio,
    pairs_to_tell,
    split_replicas,
    together,
)
from harness.report import interval, price, verdicts_along

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.floating]
Seconds = dict[float, Array]  # batch size -> (R,)
Reached = dict[str, dict[str, Array]]  # cell -> "seconds" -> (R,), +inf where the target was missed
TYPICAL = (64, 512)
COSTS = (1.1, 1.25, 1.5)  # times the seconds of the best other size, which may still be called fastest
SHARES = (0.3, 0.2, 0.1)  # of the initial cost, that may be asked for: every training passes them on its way
FEWEST_REPLICAS = 5


@dataclass(frozen=True)
class Regret:
    """The best typical size and the best other one, and the seconds of the first over those of the second.

    smallest: whether the best other one is the smallest size that was tried, so that a smaller one may be faster.
    pairs: how many replicas compare them.
    """

    typical: float
    other: float
    ratio: Interval
    smallest: bool
    pairs: int

    def verdict(self, cost: float) -> Verdict:
        """The claim that a typical size takes at most `cost` times as long as any other."""
        found = inside(self.ratio, 0, cost)
        return Verdict.UNRESOLVED if self.smallest and found is Verdict.SUPPORTED else found


def judge(evidence: Evidence) -> Iterator[Finding]:
    """C16: on each dataset, the regret of the typical sizes."""
    by_share = {share: to_a_share(evidence, share) for share in SHARES}
    seconds, found, _ = by_share[SHARES[-1]]
    verdicts = {cost: _everywhere(found, cost) for cost in COSTS}
    shares = {
        share: Verdict.UNRESOLVED if at_edge else together(_everywhere(own, cost) for cost in COSTS)
        for share, (_, own, at_edge) in by_share.items()
    }
    shown, edges = next(iter(found.values())), "".join(dict.fromkeys(own[2] for own in by_share.values()))
    few = " Too few replicas to tell how sure that is." if np.isnan(shown.ratio.low) else ""
    verdict, pairs = together(shares.values()), min(one.pairs for one in found.values())
    needed = [pairs_to_tell(one.ratio, one.pairs, 0, COSTS[0]) for one in found.values()]
    cost = price(evidence.price(needed, pairs)) if verdict is Verdict.UNRESOLVED and pairs else ""
    yield Finding(
        "C16",
        verdict,
        f"Seconds to a tenth of the initial cost: {'; '.join(_said(name, one) for name, one in found.items())}. The "
        f"claim, by how many times as long is still fastest: {verdicts_along(verdicts)}; by the share of the initial "
        f"cost that is to be reached: {verdicts_along(shares)}.{few}{edges}{cost}",
        unit=f"× the train seconds of the best other size, at the best of 64 to 512 ({next(iter(found))})",
        effect=shown.ratio if np.isfinite(shown.ratio.estimate) else None,
        replicas=int(evidence.answer.n_replicas),
        panels=[_seconds_panel(seconds)],
    )


def to_a_share(evidence: Evidence, share: float) -> tuple[dict[str, Seconds], dict[str, Regret], str]:
    """Seconds and regret of each dataset to this share of the initial cost; which best rates lie on an edge."""
    goals = {setting: goal * share / SHARES[-1] for setting, goal in evidence.answer.targets_at.items()}
    reached = updates_to_target(evidence.data.histories, goals, evidence.cells)
    best = targets_table(evidence.cells, reached, evidence.rng)
    about = evidence.cells.set_index("cell")[["dataset", "n_train"]]
    rows = best.join(about, on="cell").sort_values("batch_size").groupby("dataset", sort=False)
    seconds = {str(name): _seconds(reached, own, evidence.data.n_blocks) for name, own in rows}
    found = {str(name): regret(seconds[str(name)], float(own["n_train"].max()), len(seconds)) for name, own in rows}
    return seconds, found, at_the_edge(best)


def _everywhere(found: dict[str, Regret], cost: float) -> Verdict:
    return together(one.verdict(cost) for one in found.values())


def _seconds(reached: Reached, best: "pd.DataFrame", n_blocks: int | None) -> Seconds:
    """B -> seconds to target (R,), each replica with its own block of the clock; +inf where it was not reached."""
    return {float(row.batch_size): reached[str(row.cell)]["seconds"][:n_blocks] for row in best.itertuples()}


def regret(seconds: Seconds, n_train: float, n_datasets: int) -> Regret:
    """The first half of the replicas chooses the two sizes, the other compares them. The whole set is no typical size.

    A replica that misses the target counts against its size. The ratio is unknown for fewer than five replicas.
    """
    split = split_replicas(len(next(iter(seconds.values()))), fewest_pairs(n_datasets))
    middle = {B: float(np.median(own[split.selection])) for B, own in seconds.items()}
    typical = [B for B in seconds if TYPICAL[0] <= B <= TYPICAL[1] and n_train > B]
    others = [B for B in seconds if B not in typical]
    if not typical or not others:
        return Regret(np.nan, np.nan, UNKNOWN, False, 0)
    a, b = (min(sizes, key=middle.__getitem__) for sizes in (typical, others))
    known = len(split.report) >= FEWEST_REPLICAS
    ratio = paired_ratio(seconds[a][split.report], seconds[b][split.report]) if known else UNKNOWN
    return Regret(a, b, ratio, b == min(seconds), len(split.report))


def _said(dataset: str, found: Regret) -> str:
    """digits B=128 takes 0.9 [0.85, 0.95] times as long as B=32, the best outside 64 to 512"""
    if np.isnan(found.typical):
        return f"{dataset} has no size to compare with"
    known = not np.isnan(found.ratio.estimate)
    takes = f"takes {interval(found.ratio)} times as long as" if known else "cannot be compared with"
    smallest = " (the smallest that was tried)" if found.smallest else ""
    return f"{dataset} B={found.typical:g} {takes} B={found.other:g}, the best outside 64 to 512{smallest}"


def _seconds_panel(seconds: dict[str, Seconds]) -> Panel:
    lines = [Series(name, list(own), *limits(map(median_interval, own.values()))) for name, own in seconds.items()]
    return Panel("To a tenth of the initial cost", BATCH_SIZE, "train seconds", lines)
