"""Comparisons of cells replica by replica: sum against mean, and the p-values of a family of claims."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.analysis.rates import split_of
from harness.inference import SIGNIFICANCE, Comparison, compare, holm

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.floating]
MARGIN = 0.05  # costs within 5 % count as equal


@dataclass(frozen=True)
class Pair:
    """Sum and mean at one canonical rate: the largest relative difference of a replica's final cost."""

    setting: str
    batch_size: float
    lr_mean: float
    difference: float
    n_replicas: int


def matched_pairs(cells: "pd.DataFrame", costs: dict[str, Array]) -> list[Pair]:
    """Cells that differ only in the reduction and in the units of the rate: one lr_mean, both reductions."""
    pairs = []
    for (setting, B), own in cells.groupby(["setting", "batch_size"]) if len(cells) else ():
        for _, a in own[own["reduction"] == "sum"].iterrows():
            for _, b in own[own["reduction"] == "mean"].iterrows():
                if np.isclose(a["lr_mean"], b["lr_mean"], rtol=1e-9, atol=0):
                    pairs.append(_pair(str(setting), float(B), float(b["lr_mean"]), costs[a["cell"]], costs[b["cell"]]))
    return pairs


def _pair(setting: str, batch_size: float, lr_mean: float, a: Array, b: Array) -> Pair:
    """Two replicas that both diverged differ by 0; one that diverged alone differs by +inf."""
    same = a == b
    with np.errstate(invalid="ignore"):
        difference = np.where(same, 0.0, np.abs(a - b) / np.minimum(np.abs(a), np.abs(b)))
    return Pair(setting, batch_size, lr_mean, float(np.nan_to_num(difference, nan=np.inf).max()), len(a))


def best_against_best(
    best: "pd.DataFrame", costs: dict[str, Array], rng: np.random.Generator
) -> dict[tuple[str, float], Comparison]:
    """Sum against mean at each batch size, each at its own best rate, on the report replicas.

    Left out where a best rate is on the edge of its grid: the reduction with the wider grid would win.
    """
    found = {}
    for (setting, B), own in best.groupby(["setting", "batch_size"]) if len(best) else ():
        cells = own.set_index("reduction")["cell"]
        if {"sum", "mean"} <= set(cells.index) and not (own["edge"] != "").any():
            a, b = (costs[cells[reduction]] for reduction in ("sum", "mean"))
            report = split_of([a, b]).report
            found[str(setting), float(B)] = compare(a[report], b[report], margin=MARGIN, rng=rng)
    return dict(zip(found, adjusted(list(found.values())), strict=True))


def adjusted(comparisons: list[Comparison]) -> list[Comparison]:
    """The comparisons of one family of claims with Holm's p-values; unresolved where the adjusted p is too large.

    Identical arms, and arms of which one diverged, are decided without a test and do not belong to the family.
    """
    chance = [c for c in comparisons if not (_identical(c) or c.by_divergence)]
    differ, equal = holm([c.p for c in chance]), holm([c.equivalence_p for c in chance])
    after = iter([_adjusted(c, float(p), float(q)) for c, p, q in zip(chance, differ, equal, strict=True)])
    return [c if _identical(c) or c.by_divergence else next(after) for c in comparisons]


def _identical(comparison: Comparison) -> bool:
    return comparison.ratio.low == comparison.ratio.high == comparison.ratio.estimate


def _adjusted(comparison: Comparison, p: float, equivalence_p: float) -> Comparison:
    supported = {"a lower": p < SIGNIFICANCE, "b lower": p < SIGNIFICANCE, "equivalent": equivalence_p <= SIGNIFICANCE}
    verdict = comparison.verdict if supported.get(comparison.verdict, False) else "unresolved"
    return replace(comparison, p=p, equivalence_p=equivalence_p, verdict=verdict)
