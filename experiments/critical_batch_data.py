"""Judges critical_batch_data: whether the critical batch size grows with data, with the width, or with neither."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.analysis import BATCH_SIZE, Evidence, Finding, Panel, Series, limits
from harness.inference import (
    Interval,
    Slowdown,
    Split,
    Verdict,
    bounded_interval,
    edge_of,
    fewest_pairs,
    inside,
    pairs_to_tell,
    ratio_of_bounds,
    resampled_medians,
    split_replicas,
    together,
)
from harness.report import bounds, price, verdicts_along
from harness.report.answers import by_constants, joined, percent, where

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.floating]
Curves = Mapping[tuple[int, int], Slowdown]  # width, data
Bands = Mapping[float, tuple[float, float]]  # value of a free constant -> where the ratio has to lie

DATA = (256, 512, 2048)  # examples
OVERHEAD = 0.2
GROWS: Bands = {x: (x, np.inf) for x in (1.25, 1.5, 2.0)}  # times as large
SAME: Bands = {x: (1 / x, x) for x in (1.5, 2.0, 3.0)}  # factors within which it does not depend on the width
AT_EDGE = "best rate on the edge of its grid"


def judge(evidence: Evidence) -> Iterator[Finding]:
    seed = int(evidence.rng.integers(2**32))
    split = split_replicas(evidence.answer.n_replicas, fewest_pairs(1))
    widths = evidence.cells["model.hidden"].astype(str).str.strip("[]").astype(int)
    curves = {
        (int(width), data): curve_of(evidence, own, data, split, seed)
        for width, own in evidence.cells.groupby(widths)
        for data in DATA
        if data <= own["n_train"].min()
    }
    yield with_data(evidence, curves, len(split.report))
    yield with_width(evidence, curves, len(split.report))


def with_data(evidence: Evidence, curves: Curves, n: int) -> Finding:
    """B4: after more examples."""
    least, most = min(data for _, data in curves), max(data for _, data in curves)
    found = {f"width {w}": ratio_of(curves[w, most], curves[w, least]) for w, data in curves if data == least}
    cost = price(evidence.price([pairs_to_tell(own, n, *GROWS[min(GROWS)]) for own in found.values()], n))
    said = (
        f"B_crit needs {percent(OVERHEAD)} more examples than the smallest batch. With a target set by {most} examples "
        f"it is {_ratios(found)} times as large as with one set by {least}.{_at_edges(curves)}"
    )
    rows = [("width", "target set by (examples)", "B_crit (examples)", f"over that of {least}", "by how much larger")]
    for (width, data), curve in curves.items():
        ratio = ratio_of(curve, curves[width, least])
        told = (bounds(ratio) if data > least else "", verdicts_along(_by(ratio, GROWS)) if data == most else "")
        rows.append((f"{width}", f"{data}", _at(curve), *told))
    answer = where({name: together(_by(own, GROWS).values()) for name, own in found.items()}, "at ")
    finding = _finding("B4", said, cost, found, "of the few examples", "how many times as large", GROWS, answer)
    return replace(finding, replicas=n, panels=[_critical_panel(curves)], rows=rows)


def with_width(evidence: Evidence, curves: Curves, n: int) -> Finding:
    """B5: in a wider network."""
    narrow, wide = min(width for width, _ in curves), max(width for width, _ in curves)
    every = {data: (curves[w, data], curves[wide, data]) for w, data in curves if w == narrow}
    found = {f"{data} examples": ratio_of(b, a) for data, (a, b) in every.items()}
    said = f"B_crit of width {wide} over that of width {narrow}: {_ratios(found)}."
    rows = [("target set by", *(f"B_crit at width {w} (examples)" for w in (narrow, wide)), "ratio", "by the factor")]
    for (data, ratio), pair in zip(found.items(), every.values(), strict=True):
        rows.append((data, *map(_at, pair), bounds(ratio), verdicts_along(_by(ratio, SAME))))
    along = {x: together(_by(own, SAME)[x] for own in found.values()) for x in SAME}
    near, still = ([x for x, own in along.items() if own is of] for of in (Verdict.SUPPORTED, Verdict.UNRESOLVED))
    cost = price(evidence.price([pairs_to_tell(own, n, *SAME[x]) for own in found.values() for x in still], n))
    answer = where({name: together(_by(own, SAME).values()) for name, own in found.items()}, "after ")
    finding = _finding(
        "B5",
        said + _at_edges(curves),
        cost,
        found,
        "of the narrow network",
        "factor within which it is the same",
        SAME,
        answer,
    )
    if near and still and finding.verdict is Verdict.UNRESOLVED:
        plain = f"Within a factor of {min(near):g} yes, on the one dataset tried; within {max(still):g} is not decided."
        finding = replace(finding, plain=plain)
    return replace(finding, replicas=n, panels=list(_panels(curves)), rows=rows)


def curve_of(evidence: Evidence, cells: "pd.DataFrame", data: int, split: Split, seed: int) -> Slowdown:
    """Examples to the cost that the smallest batch has after `data` examples, over `data`; of one width.

    Without the sizes of which one update takes more than 20 % of the data: 20 % more of it is no number of their
    updates. The replicas that do not report choose the rate of each size: the first to arrive, the lowest cost at the
    end where none does.
    """
    epoch = data / float(cells["n_train"].iloc[0])
    by_size = {float(B): own.sort_values("learning_rate")["cell"] for B, own in cells.groupby("batch_size")}
    sizes = sorted(B for B in by_size if OVERHEAD * data >= B or min(by_size) == B)
    first, *others = (list(by_size[B]) for B in sizes)
    at_data = np.array([evidence.log_costs(cell, epoch) for cell in first])
    best = int(np.median(at_data[:, split.selection], axis=1).argmin())
    rows, places = [np.ones(at_data.shape[1])], [edge_of(best, len(first))]
    for own in others:
        came = np.array([arrivals(evidence.histories[cell], at_data[best]) / epoch for cell in own])
        ends = [np.median(evidence.final_costs[cell][split.selection]) for cell in own]
        place = int(np.lexsort((ends, np.median(came[:, split.selection], axis=1)))[0])
        rows.append(came[place])
        places.append(edge_of(place, len(own)))
    draws = resampled_medians(np.array(rows)[:, split.report], np.random.default_rng(seed))
    return Slowdown(np.array(sizes), draws, np.array(places) != "")


def arrivals(history: "pd.DataFrame", targets: Array) -> Array:
    """(R,): the epoch at which each replica's log cost first comes to its target, by straight lines; +inf: never."""
    found = np.full(len(targets), np.inf)
    for replica, own in history.groupby("replica"):
        epoch, cost = own["epoch"].to_numpy(dtype=float), np.log(own["train_cost"].to_numpy(dtype=float))
        i = int((cost <= targets[replica]).argmax())
        if i and np.isfinite(targets[replica]):
            part = (cost[i - 1] - targets[replica]) / (cost[i - 1] - cost[i])
            found[replica] = epoch[i - 1] + part * (epoch[i] - epoch[i - 1])
    return found


def critical(curve: Slowdown) -> Array:
    return curve.crossing(1 + OVERHEAD)


def ratio_of(a: Slowdown, b: Slowdown) -> Interval:
    return bounded_interval(ratio_of_bounds(critical(a), critical(b)))


def _ratios(found: Mapping[str, Interval]) -> str:
    return joined(f"{bounds(value)} ({name})" for name, value in found.items())


def _at(curve: Slowdown) -> str:
    edges = ", ".join(curve.edges(1 + OVERHEAD))
    return bounds(bounded_interval(critical(curve))) + (f" ({AT_EDGE} at {edges})" if edges else "")


def _at_edges(curves: Curves) -> str:
    edges = dict.fromkeys(B for curve in curves.values() for B in curve.edges(1 + OVERHEAD))
    return f" Not known: {AT_EDGE} at {', '.join(edges)}." if edges else ""


def _by(ratio: Interval, bands: Bands) -> dict[float, Verdict]:
    return {x: inside(ratio, *band) for x, band in bands.items()}


def _finding(
    claim: str, said: str, cost: str, found: Mapping[str, Interval], unit: str, constant: str, bands: Bands, answer: str
) -> Finding:
    """cost: what would tell, if it is open. answer: in which settings it holds, if that depends on them."""
    along = {constant: {x: together(_by(own, bands)[x] for own in found.values()) for x in bands}}
    verdict = together(along[constant].values())
    first = next((name for name, own in found.items() if np.isfinite([own.low, own.high]).all()), None)
    effect, unit = (found[first], f"× that {unit} ({first})") if first else (None, "")
    said += cost if verdict is Verdict.UNRESOLVED else ""
    plain = f"{answer}; {by_constants(along)}.".capitalize() if verdict is Verdict.CONDITIONAL else ""
    return Finding(claim, verdict, said, unit, effect, along=along, plain=plain)


def _critical_panel(curves: Curves) -> Panel:
    lines = []
    for width in dict.fromkeys(width for width, _ in curves):
        own = {data: bounded_interval(critical(curve)) for (w, data), curve in curves.items() if w == width}
        lines.append(Series(f"width {width}", list(own), *limits(own.values())))
    return Panel("B_crit", "examples that set the target", "batch size (examples)", lines)


def _panels(curves: Curves) -> Iterator[Panel]:
    for data in dict.fromkeys(data for _, data in curves):
        lines = []
        for (width, n), curve in curves.items():
            if n == data:
                lines.append(Series(f"width {width}", curve.sizes, *limits(curve.ratios)))
                ends = curve.sizes[[0, -1]]
        lines.append(Series(f"{OVERHEAD:.0%} more", ends, [1 + OVERHEAD] * 2, kind="reference"))
        yield Panel(f"Target: cost after {data} examples", BATCH_SIZE, "examples needed / these", lines)
