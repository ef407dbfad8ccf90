"""Judges accumulation_cost: the time of an update in parts, and updates after every part in place of accumulating."""

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from harness.analysis import Evidence, Finding, Panel, Series, at_the_edge, limits
from harness.inference import Comparison, Interval, Verdict, geometric_mean_ratio, inside, lower, together
from harness.report import answers, interval, number
from harness.training import readings

Array = NDArray[np.floating]
TIMED = 512  # batch size at which updates are timed
MARGINS = (1.05, 1.1, 1.25, 1.5, 2.0)  # times as long
SHOWN = 8  # number of micro-batches whose ratio is the effect
EACH, PARTS = (16, 1), (64, 4)  # batch size, micro_batches: an update after each of 16 examples, or of four times 16
CLOCKS = ("epochs", "seconds")
TARGETS = (1.0, 1.5, 2.0)  # times a tenth of the initial cost: on the way to it every run passes these
Arms = dict[tuple[str, str], tuple[Array, Array]]


def judge(evidence: Evidence) -> Iterator[Finding]:
    yield as_long(evidence)
    yield update_after_each(evidence)


def as_long(evidence: Evidence) -> Finding:
    """K7: an update in parts over one in one piece, block by block, at every margin."""
    ratios = time_ratios(evidence)
    if not ratios:
        return Finding("K7", Verdict.UNRESOLVED, "No update in parts was timed beside one in one piece.")
    along = {margin: together(inside(ratio, 0, margin) for ratio in ratios.values()) for margin in MARGINS}
    verdict, shown = together(along.values()), SHOWN if SHOWN in ratios else max(ratios)
    least, most = (by(ratios, key=lambda n: ratios[n].estimate) for by in (min, max))
    return Finding(
        "K7",
        verdict,
        f"An update of B={TIMED} takes from {number(ratios[least].estimate)} (in {least} micro-batches) to "
        f"{number(ratios[most].estimate)} (in {most}) times as long as in one piece.",
        unit=f"× the time of an update in one piece ({shown} micro-batches of {TIMED / shown:g})",
        effect=ratios[shown],
        replicas=1,
        panels=[_times(ratios)],
        rows=list(_by_size(ratios)),
        along={"the margin (times as long as in one piece)": along},
        plain=f"An update takes {_within(ratios)}." if verdict is Verdict.CONDITIONAL else "",
    )


def _by_size(ratios: Mapping[int, Interval]) -> Iterator[tuple[str, ...]]:
    yield "micro-batches", "examples in each", "time of an update (× in one piece)", "an update takes"
    for n, ratio in ratios.items():
        yield str(n), f"{TIMED / n:g}", interval(ratio), _longer(ratio)


def _within(ratios: Mapping[int, Interval]) -> str:
    """`at most 5 % longer in micro-batches of 256 examples, more than 2 times as long in those of 16 and 4`."""
    sizes: dict[str, list[str]] = {}
    for n, ratio in ratios.items():
        sizes.setdefault(_longer(ratio), []).append(f"{TIMED / n:g}")
    (first, own), *others = sizes.items()
    rest = (f", {words} in those of {answers.joined(those)}" for words, those in others)
    return f"{first} in micro-batches of {answers.joined(own)} examples{''.join(rest)}"


def _longer(ratio: Interval) -> str:
    """By the largest margin that its interval is beyond, and the smallest one that it keeps."""
    found = {margin: inside(ratio, 0, margin) for margin in MARGINS}
    beyond, *_ = [100 * (margin - 1) for margin in reversed(MARGINS) if found[margin] is Verdict.REFUTED] or [0]
    kept, *_ = [100 * (margin - 1) for margin in MARGINS if found[margin] is Verdict.SUPPORTED] or [0]
    if beyond and kept:
        return f"{beyond:.0f} to {kept:.0f} % longer"
    if kept:
        return f"at most {kept:.0f} % longer"
    return f"more than {1 + beyond / 100:g} times as long" if beyond else "a time that is not decided"


def time_ratios(evidence: Evidence) -> dict[int, Interval]:
    """Number of micro-batches -> time of an update over that of one in one piece."""
    blocks, own = evidence.data.blocks, evidence.cells[evidence.cells["batch_size"] == TIMED]
    seconds = {} if blocks is None else readings(blocks)
    times = {
        int(n): seconds[cell] for n, cell in zip(own["micro_batches"], own["cell"], strict=True) if cell in seconds
    }
    whole = times.pop(1, np.empty(0))
    n_blocks = min((len(own) for own in (whole, *times.values())), default=0)
    ratios = {n: geometric_mean_ratio(np.log(times[n][:n_blocks] / whole[:n_blocks])) for n in sorted(times)}
    return ratios if n_blocks else {}


def _times(ratios: Mapping[int, Interval]) -> Panel:
    sizes = [TIMED / n for n in ratios]
    lines = [
        Series("in parts", sizes, *limits(ratios.values())),
        Series("as long as in one piece", [min(sizes), TIMED], [1.0, 1.0], kind="reference"),
    ]
    return Panel(f"An update of B={TIMED}", "examples of a micro-batch", "time over that in one piece", lines)


def update_after_each(evidence: Evidence) -> Finding:
    """K8: each at its best rate, on the replicas that did not choose it; nothing is said where that lies on an edge."""
    along = {times: earlier(evidence.at_target(times)) for times in TARGETS}
    found, edge = along[1.0][1:]
    if not found:
        return Finding("K8", Verdict.UNRESOLVED, "The two ways were not both trained at several rates.")
    verdicts = {times: verdict for times, (verdict, *_) in along.items()}
    said = answers.span(own.ratio.estimate for own in found.values())
    lost = ", where both reach it" if any(own.finite < own.pairs + own.dropped for own in found.values()) else ""
    (dataset, _), first = next(iter(found.items()))
    return Finding(
        "K8",
        together(verdicts.values()),
        f"At best rates an update after every micro-batch needs {said} times the epochs or seconds of accumulating "
        f"four to a tenth of the initial cost{lost}.{edge}",
        unit=f"× the epochs to target ({dataset})",
        effect=first.ratio if np.isfinite(first.ratio.low) else None,
        replicas=min(own.pairs for own in found.values()),
        panels=[_ways(found, clock) for clock in CLOCKS],
        rows=list(_by_target({times: own for times, (_, own, _) in along.items()}, evidence.answer.n_replicas)),
        along={"the target (share of the initial cost)": {times / 10: own for times, own in verdicts.items()}},
    )


def _by_target(found: Mapping[float, Mapping[tuple[str, str], Comparison]], n: int) -> Iterator[tuple[str, ...]]:
    """Of each dataset and clock the ratio to every target. n: replicas of the sweep, of which some chose the rates."""
    yield "data", "clock", *(f"to {times / 10:g} of the initial cost (× accumulation's)" for times in found)
    for dataset, clock in found[TARGETS[0]]:
        yield dataset, clock, *(answers.compared(own[dataset, clock], n_replicas=n) for own in found.values())


def earlier(evidence: Evidence) -> tuple[Verdict, dict[tuple[str, str], Comparison], str]:
    """The verdict at one target, its comparisons by dataset and clock, and which best rates lie on an edge."""
    best = evidence.answer.targets.merge(evidence.cells[["cell", "dataset", "micro_batches"]], on="cell")
    best = best[best["n_rates"] > 1]
    arms, tuned = Arms(), {}
    for dataset, own in best.groupby("dataset", sort=False):
        cells = {(row.batch_size, row.micro_batches): row.cell for row in own.itertuples()}
        if {EACH, PARTS} <= cells.keys():
            each, parts = (evidence.answer.to_target[cells[way]] for way in (EACH, PARTS))
            for clock in CLOCKS:
                arms[str(dataset), clock] = evidence.reported(each, clock), evidence.reported(parts, clock)
            tuned[str(dataset)] = not (own["edge"] != "").any()
    found = evidence.compare(arms)
    verdicts = [lower(own) if tuned[dataset] else Verdict.UNRESOLVED for (dataset, _), own in found.items()]
    return together(verdicts), found, at_the_edge(best)


def _ways(found: Mapping[tuple[str, str], Comparison], clock: str) -> Panel:
    known = {
        dataset: own.ratio for (dataset, of), own in found.items() if of == clock and np.isfinite(own.ratio.estimate)
    }
    lines = [
        Series("an update after every micro-batch", range(len(known)), *limits(known.values()), kind="marks"),
        Series("as many as with accumulation", [-0.5, len(known) - 0.5], [1.0, 1.0], kind="reference"),
    ]
    name = {"epochs": "Epochs", "seconds": "Train seconds"}[clock]
    return Panel(f"{name} to target", "", "multiple of accumulation's", lines, log="y", names=list(known))
