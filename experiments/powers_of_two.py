"""Judges powers_of_two: the time per example of a power of two beside that of its neighbours, in turns."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from harness.analysis import Evidence, Finding, Panel, Series, limits
from harness.inference import Interval, Verdict, geometric_mean_ratio, inside, pairs_to_tell, together
from harness.report import interval, number

if TYPE_CHECKING:
    import pandas as pd

Pair = tuple[int, int]
FASTER = (0.05, 0.1)  # by how much: nobody says which
FEWEST_BLOCKS = 8
POWERS = ((64, 63), (64, 65), (128, 127), (128, 129))  # and the neighbours that they are compared with
MULTIPLES = ((96, 100),)  # of 32, which is said of the same batch sizes


def judge(evidence: Evidence) -> Iterator[Finding]:
    """C17: times per example of neighbours, block by block."""
    times = evidence.blocks(evidence.cells)
    pairs = [pair for pair in (*POWERS, *MULTIPLES) if {*pair} <= {*times}]
    found = {(a, b): geometric_mean_ratio(np.log(times[a] / times[b])) for a, b in pairs}
    verdicts = {by: together(_faster(found[pair], by) for pair in POWERS if pair in found) for by in FASTER}
    enough = len(times) >= FEWEST_BLOCKS and {*POWERS} <= {*found}
    yield Finding(
        "C17",
        together(verdicts.values()) if enough else Verdict.UNRESOLVED,
        _said(found, times) + _price(found, verdicts, times) if enough else _too_few(times),
        unit="× the time per example of B=63 at B=64",
        effect=found.get(POWERS[0]),
        replicas=1,
        panels=[_ratios_panel(found)],
        rows=_rows(found, enough),
        along={"the difference that counts as faster": verdicts} if enough else {},
    )


def _faster(ratio: Interval, by: float) -> Verdict:
    return inside(ratio, 0, 1 / (1 + by))


def _said(found: dict[Pair, Interval], times: "pd.DataFrame") -> str:
    """Between which limits the ratios lie, and what the readings can tell: how many there are, how far they scatter."""
    own = [found[pair] for pair in POWERS]
    low, high = min(ratio.low for ratio in own), max(ratio.high for ratio in own)
    marks = " and ".join(f"{100 * by:g} % faster is {number(1 / (1 + by))}" for by in FASTER)
    scatter = float(np.log(times).std(ddof=1).median())
    return (
        "Time per example at a power of two over that at its neighbour: all intervals lie between "
        f"{number(low)} and {number(high)}, where {marks}. {len(times)} blocks, in which the readings of one size "
        f"scatter by {100 * scatter:.1f} %."
    )


def _too_few(times: "pd.DataFrame") -> str:
    if len(times) < FEWEST_BLOCKS:
        return f"Read in {len(times)} block{'s' * (len(times) != 1)}; to tell takes {FEWEST_BLOCKS}."
    return "Not every power of two was read together with its neighbours."


def _rows(found: dict[Pair, Interval], enough: bool) -> list[tuple[str, ...]]:
    """A row for each pair; a multiple of 32 is told, and counts for no verdict."""
    names = "batch sizes", "time per example, first over second", *(f"faster by {100 * by:g} %" for by in FASTER)
    judged = {pair: [str(_faster(found[pair], by)) for by in FASTER] for pair in POWERS if enough}
    not_judged = [""] * len(FASTER)
    return [names, *((f"{a}, {b}", interval(one), *judged.get((a, b), not_judged)) for (a, b), one in found.items())]


def _price(found: dict[Pair, Interval], verdicts: dict[float, Verdict], times: "pd.DataFrame") -> str:
    """How many blocks would tell, if the ratios are right; none if the claim is decided, or if none would."""
    if together(verdicts.values()) is not Verdict.UNRESOLVED:
        return ""
    bands = [
        (found[pair], 0, 1 / (1 + by))
        for by, verdict in verdicts.items()
        for pair in POWERS
        if verdict is Verdict.UNRESOLVED and pair in found
    ]
    needed = [pairs_to_tell(ratio, len(times), *band) for ratio, *band in bands]
    known = [n for n in needed if n is not None]
    return f" About {max(known)} blocks would tell." if known and len(known) == len(needed) else ""


def _ratios_panel(found: dict[Pair, Interval]) -> Panel:
    names = [f"{a} / {b}" for a, b in found]
    ends = [-0.5, len(names) - 0.5]
    lines = [
        Series("time per example at one / at the other", range(len(names)), *limits(found.values()), "marks"),
        *(Series(f"{100 * by:g} % faster", ends, [1 / (1 + by)] * 2, kind="reference") for by in FASTER),
    ]
    return Panel("Is a power of two faster than its neighbour?", "batch sizes compared", "ratio", lines, "", names)
