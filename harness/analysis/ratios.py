"""Two arms' costs as one ratio that is held against a band: with its edges, its losses and its price."""

from dataclasses import dataclass

import numpy as np

from harness.inference import Array, Interval, Split, Verdict, inside, paired_ratio, pairs_to_tell


@dataclass(frozen=True)
class Ratio:
    """Cost of one arm over that of another, of the replicas that did not choose the arms' rates.

    limits: see `paired_ratio`, in which losses count. pairs: of n_replicas that were trained. edge: which grid has to
    be extended before anything is said, in words.
    """

    limits: Interval
    pairs: int
    n_replicas: int
    edge: str = ""

    @property
    def effect(self) -> Interval | None:
        return self.limits if np.isfinite([self.limits.low, self.limits.high]).all() else None

    def inside(self, low: float, high: float) -> Verdict:
        """The claim that the ratio lies in [low, high]."""
        return Verdict.UNRESOLVED if self.edge else inside(self.limits, low, high)

    def seeds_to_tell(self, low: float, high: float) -> int | None:
        """About how many replicas would decide an open claim that it lies there; None: it is decided, or none would."""
        pairs = pairs_to_tell(self.limits, self.pairs, low, high)
        if self.edge or not pairs or self.inside(low, high) is not Verdict.UNRESOLVED:
            return None
        return -(-pairs * self.n_replicas // self.pairs)


def ratio_of(a: Array, b: Array, split: Split, edge: str = "") -> Ratio:
    """a over b, costs (R,) of the same replicas, +inf (or NaN) where one was lost; on the replicas that report."""
    report = split.report
    return Ratio(paired_ratio(a[report], b[report]), len(report), max(len(a), len(report)), edge)
