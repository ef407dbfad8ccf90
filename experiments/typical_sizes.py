"""Judges typical_sizes: what it costs to take a batch size of 64 to 512, beside the best of the others."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.analysis import BATCH_SIZE, Evidence, Finding, Panel, Series, limits, targets_table, updates_to_target
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
from harness.report import interval, number, price
from harness.report.answers import joined, where

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


@dataclass(frozen=True)
class AtShare:
    """Seconds and regret of each dataset to a share of the initial cost. edges: sizes whose best rate is on one."""

    seconds: dict[str, Seconds]
    found: dict[str, Regret]
    edges: list[float]

    def verdict(self, dataset: str, cost: float) -> Verdict:
        return Verdict.UNRESOLVED if self.edges else self.found[dataset].verdict(cost)

    def everywhere(self, cost: float) -> Verdict:
        return together(self.verdict(dataset, cost) for dataset in self.found)


def judge(evidence: Evidence) -> Iterator[Finding]:
    """C16: on each dataset, the regret of the typical sizes."""
    by_share = {share: to_a_share(evidence, share) for share in SHARES}
    least = by_share[SHARES[-1]]
    shares = {share: together(map(own.everywhere, COSTS)) for share, own in by_share.items()}
    (first, shown), *_ = least.found.items()
    verdict, pairs = together(shares.values()), min(one.pairs for one in least.found.values())
    needed = [pairs_to_tell(one.ratio, one.pairs, 0, COSTS[0]) for one in least.found.values()]
    cost = price(evidence.price(needed, pairs)) if verdict is Verdict.UNRESOLVED and pairs else ""
    yield Finding(
        "C16",
        verdict,
        _said(least.found) + _open(by_share) + cost,
        unit=f"× the train seconds of the best other size, at the best of 64 to 512 ({first})",
        effect=shown.ratio if np.isfinite(shown.ratio.estimate) else None,
        replicas=int(evidence.answer.n_replicas),
        panels=[_seconds_panel(least.seconds)],
        rows=_rows(by_share),
        along={
            "how many times as long is still fastest (to a tenth of the initial cost)": {
                cost: least.everywhere(cost) for cost in COSTS
            },
            "the share of the initial cost that is to be reached": shares,
        },
        plain=_plain(least, shares) if verdict in (Verdict.CONDITIONAL, Verdict.UNRESOLVED) else "",
    )


def to_a_share(evidence: Evidence, share: float) -> AtShare:
    """Each size at the rate that comes to this share of the initial cost in the fewest updates."""
    goals = {setting: goal * share / SHARES[-1] for setting, goal in evidence.answer.targets_at.items()}
    reached = updates_to_target(evidence.data.histories, goals, evidence.cells)
    best = targets_table(evidence.cells, reached, evidence.rng)
    about = evidence.cells.set_index("cell")[["dataset", "n_train"]]
    rows = best.join(about, on="cell").sort_values("batch_size").groupby("dataset", sort=False)
    seconds = {str(name): _seconds(reached, own, evidence.data.n_blocks) for name, own in rows}
    found = {str(name): regret(seconds[str(name)], float(own["n_train"].max()), len(seconds)) for name, own in rows}
    return AtShare(seconds, found, sorted(set(best.loc[best["edge"] != "", "batch_size"])))


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


def _said(found: dict[str, Regret]) -> str:
    """The least and the largest of the ratios, to a tenth of the initial cost."""
    known = {name: one.ratio for name, one in found.items() if not np.isnan(one.ratio.estimate)}
    if not known:
        return "No two sizes can be compared."
    ends = dict.fromkeys(pick(known, key=lambda name: known[name].estimate) for pick in (min, max))
    least_and_largest = " to ".join(f"{interval(known[name])} on {name}" for name in ends)
    few = " Too few replicas to tell how sure that is." if any(np.isnan(one.low) for one in known.values()) else ""
    return (
        "Seconds to a tenth of the initial cost, at the best size from 64 to 512 over those at the best other one: "
        f"{least_and_largest}.{few}"
    )


def _open(by_share: dict[float, AtShare]) -> str:
    """What leaves some of it open: sizes with a best rate on an edge, and datasets whose best size is the smallest."""
    edges = sorted({B for own in by_share.values() for B in own.edges})
    smallest = [name for name, one in by_share[SHARES[-1]].found.items() if one.smallest]
    words = f" A best rate lies on the edge of its grid at B={joined(f'{B:g}' for B in edges)}." if edges else ""
    words += f" On {joined(smallest)} the best other size is the smallest that was tried." if smallest else ""
    return words


def _plain(least: AtShare, shares: dict[float, Verdict]) -> str:
    """On which data it is so, and by how much not on others; or to which cost, where all data agree to a tenth."""
    if shares[SHARES[-1]] in (Verdict.SUPPORTED, Verdict.REFUTED):
        known = {f"{share:g}": verdict for share, verdict in shares.items()}
        return f"By the share of the initial cost that is to be reached: {where(known, 'to ')}."
    within = {dataset: least.verdict(dataset, COSTS[0]) for dataset in least.found}
    slow = [name for name, verdict in within.items() if verdict is Verdict.REFUTED]
    times = joined(f"{_as_long(least.found[name])} on {name}" for name in slow) if slow else ""
    if set(within.values()) == {Verdict.UNRESOLVED}:
        return ""
    limit = f"{100 * (COSTS[0] - 1):.0f} %"
    return f"To a tenth of the initial cost, within {limit} of the best other size: {where(within)}." + (
        f" The best of them takes {times}." if slow else ""
    )


def _as_long(one: Regret) -> str:
    if np.isinf(one.ratio.estimate):
        return "no finite time, as half of its replicas miss that cost,"
    return f"{number(one.ratio.estimate)} times as long as B={one.other:g}"


def _rows(by_share: dict[float, AtShare]) -> list[tuple[str, ...]]:
    """A row for each dataset and share of the initial cost."""
    columns = "data", "share of the initial cost", "best of 64 to 512", "best other size", "times as long"
    body = [
        (name, number(share), *_compared(one), *(str(own.verdict(name, cost)) for cost in COSTS))
        for share, own in by_share.items()
        for name, one in own.found.items()
    ]
    return [(*columns, *(f"at most {cost:g} times" for cost in COSTS)), *sorted(body, key=lambda row: row[0])]


def _compared(one: Regret) -> tuple[str, str, str]:
    if np.isnan(one.typical):
        return "", "", "not known"
    known = not np.isnan(one.ratio.estimate)
    return f"{one.typical:g}", f"{one.other:g}", interval(one.ratio) if known else "not known"


def _seconds_panel(seconds: dict[str, Seconds]) -> Panel:
    lines = [Series(name, list(own), *limits(map(median_interval, own.values()))) for name, own in seconds.items()]
    return Panel("To a tenth of the initial cost", BATCH_SIZE, "train seconds", lines)
