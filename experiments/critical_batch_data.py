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

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.floating]
Curves = Mapping[tuple[int, int], Slowdown]  # width, data

DATA = (256, 512, 2048)  # examples
OVERHEAD = 0.2
GROWS = (1.25, 1.5, 2.0)  # times as large
SAME = (1.5, 2.0, 3.0)  # factors within which it does not depend on the width


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
    n = len(split.report)
    least, most = min(data for _, data in curves), max(data for _, data in curves)
    narrow, wide = min(width for width, _ in curves), max(width for width, _ in curves)
    grown = {f"width {w}": ratio_of(curves[w, most], curves[w, least]) for w, data in curves if data == least}
    wider = {f"{data} examples": ratio_of(curves[wide, data], curves[w, data]) for w, data in curves if w == narrow}
    with_data = {x: together(inside(own, x, np.inf) for own in grown.values()) for x in GROWS}
    with_width = {x: together(inside(own, 1 / x, x) for own in wider.values()) for x in SAME}
    cost = price(evidence.price([pairs_to_tell(own, n, GROWS[0], np.inf) for own in grown.values()], n))
    said = f"B_crit - {_listed(curves)}. {most} over {least} examples - {_ratios(grown)}. At least: "
    yield _finding("B4", with_data, said, grown, "of the few examples", n, [_critical_panel(curves)], cost)
    still = [x for x, verdict in with_width.items() if verdict is Verdict.UNRESOLVED]
    cost = price(evidence.price([pairs_to_tell(own, n, 1 / x, x) for own in wider.values() for x in still], n))
    said = f"B_crit of width {wide} over that of width {narrow} - {_ratios(wider)}. Within a factor of: "
    near = [x for x, verdict in with_width.items() if verdict is Verdict.SUPPORTED]
    found = _finding("B5", with_width, said, wider, "of the narrow network", n, list(_panels(curves)), cost)
    plain = (
        f"Within a factor of {min(near):g} yes, on the one dataset tried; within {max(still):g} is not decided."
        if near and still and found.verdict is Verdict.UNRESOLVED
        else ""
    )
    yield replace(found, plain=plain)


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
    return "; ".join(f"{name}: {bounds(value)}" for name, value in found.items())


def _listed(curves: Curves) -> str:
    parts = []
    for (width, data), curve in curves.items():
        edges = ", ".join(curve.edges(1 + OVERHEAD))
        why = f" (best rate on the edge of its grid at {edges})" if edges else ""
        parts.append(f"width {width}, {data} examples: {bounds(bounded_interval(critical(curve)))}{why}")
    return "; ".join(parts)


def _finding(
    claim: str, along: Mapping[float, Verdict], said: str, effects: Mapping[str, Interval], unit: str, n: int,
    panels: list[Panel], cost: str,
) -> Finding:  # fmt: skip
    verdict = together(along.values())
    first = next((name for name, found in effects.items() if np.isfinite([found.low, found.high]).all()), None)
    effect, unit = (effects[first], f"× that {unit} ({first})") if first else (None, "")
    said = f"{said}{verdicts_along(along)}." + (cost if verdict is Verdict.UNRESOLVED else "")
    return Finding(claim, verdict, said, unit, effect, n, panels)


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
