"""From tests and intervals to a verdict on a claim.

A test that found no difference leaves a claim unresolved: only equivalence within a margin that was stated beforehand
means "no difference".
"""

import math
from collections.abc import Iterable
from enum import StrEnum

import numpy as np

from harness.inference.comparison import Comparison
from harness.inference.intervals import Interval


class Verdict(StrEnum):
    SUPPORTED = "supported"
    REFUTED = "refuted"
    CONDITIONAL = "conditional"  # it holds on some clock, rule, optimiser or dataset, and fails on another
    UNRESOLVED = "unresolved"  # the sweep does not decide it


def exactly(residual: float, bound: float) -> Verdict:
    """A claim of equality up to rounding: supported if the residual is within the bound, else refuted; NaN: neither."""
    if np.isnan(residual):
        return Verdict.UNRESOLVED
    return Verdict.SUPPORTED if residual <= bound else Verdict.REFUTED


def inside(effect: Interval, low: float, high: float) -> Verdict:
    """The claim that the effect lies in [low, high]: supported if its interval does, refuted if no part does."""
    if np.isnan([effect.low, effect.high]).any():
        return Verdict.UNRESOLVED
    if low <= effect.low and effect.high <= high:
        return Verdict.SUPPORTED
    return Verdict.REFUTED if effect.high < low or high < effect.low else Verdict.UNRESOLVED


def pairs_to_tell(ratio: Interval, n_pairs: int, low: float, high: float) -> int | None:
    """About how many pairs would make `inside` decide on this ratio, if its estimate is right; None if nothing tells.

    Limits approach the estimate like 1/√n; each has to come nearer to it, in factors, than the end of the band on its
    side.
    """
    ends = [end for end in (low, high) if 0 < end < np.inf]
    if not (ratio.low > 0 and ratio.high < np.inf and ratio.estimate > 0 and ends):  # NaN, too
        return None
    limits = [ratio.low if end < ratio.estimate else ratio.high for end in ends]
    reach = [abs(np.log(limit / ratio.estimate)) for limit in limits]
    distance = [abs(np.log(end / ratio.estimate)) for end in ends]
    if min(distance) == 0:
        return None
    return math.ceil(n_pairs * max(1.0, *((own / there) ** 2 for own, there in zip(reach, distance, strict=True))))


def lower(comparison: Comparison) -> Verdict:
    """The claim that arm a is lower than arm b; "equivalent" refutes it."""
    return _decided(comparison, supported_by="a lower")


def equal(comparison: Comparison) -> Verdict:
    """The claim that the arms do not differ by more than the margin that the comparison was made with.

    A difference refutes it if the whole interval of the ratio lies outside the margin, or if losses are in it: that
    costs differ a little is no news, and enough replicas always show it.
    """
    verdict, limit = _decided(comparison, supported_by="equivalent"), 1 + comparison.margin
    known = comparison.finite == comparison.pairs
    if verdict is Verdict.REFUTED and known and inside(comparison.ratio, 1 / limit, limit) is not Verdict.REFUTED:
        return Verdict.UNRESOLVED
    return verdict


def _decided(comparison: Comparison, supported_by: str) -> Verdict:
    if comparison.verdict == "unresolved":
        return Verdict.UNRESOLVED
    return Verdict.SUPPORTED if comparison.verdict == supported_by else Verdict.REFUTED


def opposite(verdict: Verdict) -> Verdict:
    """The verdict on the claim's negation."""
    turned = {Verdict.SUPPORTED: Verdict.REFUTED, Verdict.REFUTED: Verdict.SUPPORTED}
    return turned.get(verdict, verdict)


def together(parts: Iterable[Verdict]) -> Verdict:
    """The verdict on one claim that was tried in several settings (datasets, clocks, rules), of which all count.

    Conditional if it is supported in some and refuted in others; unresolved if they differ otherwise.
    """
    found = set(parts)
    if len(found) == 1:
        return found.pop()
    if Verdict.CONDITIONAL in found or {Verdict.SUPPORTED, Verdict.REFUTED} <= found:
        return Verdict.CONDITIONAL
    return Verdict.UNRESOLVED


def all_hold(parts: Iterable[Verdict]) -> Verdict:
    """The verdict on a claim of several different parts: refuted as soon as one of them is, else `together`."""
    found = list(parts)
    return Verdict.REFUTED if Verdict.REFUTED in found else together(found)
