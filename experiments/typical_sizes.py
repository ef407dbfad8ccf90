"""Judges typical_sizes: which batch size reaches the target first, and whether a power of two is special."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.analysis import BATCH_SIZE, Evidence, Finding, Panel, Series, at_the_edge, limits
from harness.inference import Comparison, Interval, Verdict, inside, lower, percentile_interval, together
from harness.report import interval, number

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.floating]
TYPICAL = (64, 512)
CLOSE = 1.1  # times the fewest seconds
MARGIN = 0.05  # of times per example that count as equal
FEWEST_REPLICAS = 5
FEWEST_BLOCKS = 8  # of which a sign-flip test of five pairs can reach p < .05: 5 × 2/2^8
RESAMPLES = 1999
POWERS = ((64, 63), (64, 65), (128, 127), (128, 129))  # and the neighbours that they are compared with
MULTIPLES = ((96, 100),)  # of 32, which is said of the same batch sizes


def judge(evidence: Evidence) -> Iterator[Finding]:
    """The cells of C17 drop the short batch, as no others do."""
    timed = evidence.cells["last_batch"] == "drop"
    yield fastest(evidence, evidence.cells[~timed])
    yield powers_of_two(evidence, evidence.cells[timed])


def fastest(evidence: Evidence, cells: "pd.DataFrame") -> Finding:
    """C16: the batch size with the fewest seconds to target, on each dataset."""
    best = evidence.answer.targets[evidence.answer.targets["cell"].isin(cells["cell"])]
    best = best.assign(dataset=best["cell"].map(cells.set_index("cell")["dataset"]))
    seconds = {str(name): seconds_drawn(evidence, own) for name, own in best.groupby("dataset", sort=False)}
    n_replicas = int(evidence.answer.n_replicas)
    first = {name: smallest(sizes, draws, n_replicas) for name, (sizes, draws) in seconds.items()}
    unreached = [name for name, found in first.items() if np.isnan(found.estimate)]
    missing = f" No batch size reaches the target on {', '.join(unreached)}." if unreached else ""
    edges = at_the_edge(best)
    said = "; ".join(_fastest_on(name, first[name], *seconds[name]) for name in first if name not in unreached)
    shown = next((found for name, found in first.items() if name not in unreached), None)
    few = " Too few replicas to tell how sure that is." if n_replicas < FEWEST_REPLICAS else ""
    return Finding(
        "C16",
        Verdict.UNRESOLVED if edges or missing else together(inside(found, *TYPICAL) for found in first.values()),
        f"Fewest seconds to a tenth of the initial cost: {said or 'unknown'}.{few}{missing}{edges}",
        unit=f"examples in the fastest batch ({next(iter(first))})",
        effect=shown,
        replicas=n_replicas,
        panels=[_seconds_panel(seconds)],
    )


def seconds_drawn(evidence: Evidence, best: "pd.DataFrame") -> tuple[Array, Array]:
    """Batch sizes (C,) and median seconds to target (K + 1, C): as measured, then K draws of the replicas.

    Each replica has its own block of the clock.
    """
    best = best.sort_values("batch_size")
    seconds = np.stack([evidence.to_target[cell]["seconds"] for cell in best["cell"]])
    n_replicas = seconds.shape[1]
    replicas = np.vstack([np.arange(n_replicas), evidence.rng.integers(n_replicas, size=(RESAMPLES, n_replicas))])
    return best["batch_size"].to_numpy(dtype=float), np.median(seconds[:, replicas], axis=-1).T


def smallest(sizes: Array, draws: Array, n_replicas: int) -> Interval:
    """The size with the lowest of (K + 1, C); limits from all rows but the first; NaN where none is finite."""
    found = np.where(np.isfinite(draws).any(axis=1), sizes[np.nan_to_num(draws, nan=np.inf).argmin(axis=1)], np.nan)
    return percentile_interval(float(found[0]), found[1:] if n_replicas >= FEWEST_REPLICAS else np.array([np.nan]))


def _fastest_on(dataset: str, found: Interval, sizes: Array, draws: Array) -> str:
    seconds = draws[0]
    best = np.nanmin(seconds)
    close = ", ".join(f"{B:g}" for B in sizes[seconds <= CLOSE * best])
    sure = "" if np.isnan(found.low) else f" [{found.low:g}, {found.high:g}]"
    last = number(seconds[-1] / best) + " times as long" if np.isfinite(seconds[-1]) else "too long"
    text = f"{dataset} B={found.estimate:g}{sure} with {number(1000 * best)} ms (within 10 %: {close}"
    return f"{text}; B={sizes[-1]:g} takes {last})"


def _seconds_panel(seconds: dict[str, tuple[Array, Array]]) -> Panel:
    lines = []
    for name, (sizes, draws) in seconds.items():
        known = np.where(np.isfinite(draws), draws, np.nan)
        low, high = (np.full(len(sizes), np.nan) for _ in range(2))
        sure = np.isfinite(known).all(axis=0)
        low[sure], high[sure] = np.quantile(known[:, sure], [0.025, 0.975], axis=0)
        lines.append(Series(name, sizes, known[0], low, high))
    return Panel("To a tenth of the initial cost", BATCH_SIZE, "train seconds", lines)


def powers_of_two(evidence: Evidence, cells: "pd.DataFrame") -> Finding:
    """C17: times per example of neighbours, block by block."""
    times = evidence.blocks(cells)
    pairs = {(a, b): (times[a], times[b]) for a, b in (*POWERS, *MULTIPLES) if {a, b} <= set(times)}
    found = evidence.compare(pairs, margin=MARGIN)
    said = ", ".join(f"{a}/{b}: {interval(comparison.ratio)}" for (a, b), comparison in found.items())
    powers = {pair: comparison for pair, comparison in found.items() if pair in POWERS}
    first = next(iter(found.values())).ratio if found else None
    return Finding(
        "C17",
        together(map(lower, powers.values())) if len(powers) == len(POWERS) else Verdict.UNRESOLVED,
        f"Ratios of the time per example: {said or 'none'}. {_resolution(times, found)}",
        unit="× the time per example of B=63 at B=64",
        effect=first,
        replicas=1,
        panels=[_ratios_panel(found)],
    )


def _resolution(times: "pd.DataFrame", found: dict[tuple[int, int], Comparison]) -> str:
    """What the readings can tell: how many, how far they scatter, and which pairs they leave open."""
    if len(times) < FEWEST_BLOCKS:
        return f"Read in {len(times)} block{'s' * (len(times) > 1)}; to tell takes {FEWEST_BLOCKS}."
    scatter = float(np.log(times).std(ddof=1).median())
    text = f"{len(times)} blocks, in which the readings of one size scatter by {scatter:.1%}"
    equal = [f"{a}/{b}" for (a, b), comparison in found.items() if comparison.verdict == "equivalent"]
    unresolved = [f"{a}/{b}" for (a, b), comparison in found.items() if comparison.verdict == "unresolved"]
    text += f"; equal within 5 %: {', '.join(equal) or 'none'}"
    return f"{text}; not resolved: {', '.join(unresolved)}." if unresolved else f"{text}."


def _ratios_panel(found: dict[tuple[int, int], Comparison]) -> Panel:
    names = [f"{a} / {b}" for a, b in found]
    places = np.arange(len(names), dtype=float)
    ratio, low, high = limits(comparison.ratio for comparison in found.values())
    ends = [-0.5, len(names) - 0.5]
    lines = [
        Series("time per example at one / at the other", places, ratio, low, high, "marks"),
        Series("5 % slower", ends, [1 + MARGIN] * 2, kind="reference"),
        Series("5 % faster", ends, [1 / (1 + MARGIN)] * 2, kind="reference"),
    ]
    return Panel("Is a power of two faster than its neighbour?", "batch sizes compared", "ratio", lines, "", names)
