"""From tests and intervals to one of four words about a claim.

What would support and what would refute a claim is fixed before its study runs; here is how a number decides. Absence
of evidence is never evidence: a test that did not find a difference leaves the claim unresolved, and only equivalence
within a margin stated beforehand says "no difference".
"""

from collections.abc import Iterable
from enum import StrEnum

import numpy as np

from harness.inference.comparison import Comparison
from harness.inference.intervals import SIGNIFICANCE, Interval


class Verdict(StrEnum):
    """What a study says of a claim."""

    SUPPORTED = "supported"
    REFUTED = "refuted"
    CONDITIONAL = "conditional"  # it holds on some clock, rule, optimiser or dataset, and fails on another
    UNRESOLVED = "unresolved"  # the sweep cannot tell


def exactly(residual: float, bound: float) -> Verdict:
    """A claim of equality, where mathematics decides: the residual is within the bound of rounding, or it is not."""
    return Verdict.SUPPORTED if residual <= bound else Verdict.REFUTED


def inside(effect: Interval, low: float, high: float) -> Verdict:
    """The claim that the effect lies in [low, high]: so does its whole interval, none of it, or nobody can tell."""
    if np.isnan([effect.low, effect.high]).any():
        return Verdict.UNRESOLVED
    if low <= effect.low and effect.high <= high:
        return Verdict.SUPPORTED
    return Verdict.REFUTED if effect.high < low or high < effect.low else Verdict.UNRESOLVED


def lower(comparison: Comparison) -> Verdict:
    """The claim that arm a is lower than arm b; "equivalent" refutes it."""
    decided = {"a lower": Verdict.SUPPORTED, "b lower": Verdict.REFUTED, "equivalent": Verdict.REFUTED}
    return decided.get(comparison.verdict, Verdict.UNRESOLVED) if _not_chance(comparison) else Verdict.UNRESOLVED


def equal(comparison: Comparison) -> Verdict:
    """The claim that the arms do not differ by more than the margin that the comparison was made with."""
    decided = {"a lower": Verdict.REFUTED, "b lower": Verdict.REFUTED, "equivalent": Verdict.SUPPORTED}
    return decided.get(comparison.verdict, Verdict.UNRESOLVED) if _not_chance(comparison) else Verdict.UNRESOLVED


def _not_chance(comparison: Comparison) -> bool:
    """Whether an arm that lost because most of its replicas diverged, or missed the target, did so by more than chance.

    Fisher's exact test (1922) of the two counts; of three replicas in each arm not even 3 against 0 can tell.
    """
    if not comparison.by_divergence:
        return True
    from scipy.stats import fisher_exact

    n = comparison.pairs + comparison.dropped
    return bool(fisher_exact([[lost, n - lost] for lost in comparison.diverged]).pvalue < SIGNIFICANCE)


def opposite(verdict: Verdict) -> Verdict:
    """Of the claim's negation."""
    turned = {Verdict.SUPPORTED: Verdict.REFUTED, Verdict.REFUTED: Verdict.SUPPORTED}
    return turned.get(verdict, verdict)


def together(parts: Iterable[Verdict]) -> Verdict:
    """One claim tried in several settings (datasets, clocks, rules), none of which may be left out.

    Supported or refuted where all say so; conditional where one supports and another refutes it; else unresolved.
    """
    found = set(parts)
    if len(found) == 1:
        return found.pop()
    if Verdict.CONDITIONAL in found or {Verdict.SUPPORTED, Verdict.REFUTED} <= found:
        return Verdict.CONDITIONAL
    return Verdict.UNRESOLVED


def all_hold(parts: Iterable[Verdict]) -> Verdict:
    """A claim of several parts that are not settings of one another: refuted as soon as one is, else `together`."""
    found = list(parts)
    return Verdict.REFUTED if Verdict.REFUTED in found else together(found)
