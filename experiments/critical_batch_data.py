"""Judges critical_batch_data: whether the critical batch size grows with data, with the width, or with neither."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.analysis import BATCH_SIZE, Evidence, Finding, Panel, Series, limits
from harness.inference import (
    Interval,
    Verdict,
    crossing,
    edge_of,
    inside,
    percentile_interval,
    resampled_medians,
    together,
)
from harness.report import interval, verdicts_along

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.floating]
Curves = Mapping[tuple[int, int], "Curve"]  # width, data

DATA = (128, 512, 2048)  # examples
OVERHEAD = 0.2
GROWS = (1.25, 1.5, 2.0)  # times as large
SAME = (1.5, 2.0, 3.0)  # factors within which it does not depend on the width


@dataclass(frozen=True, eq=False)
class Curve:
    """Examples to the cost that the smallest batch has after `data` examples, over `data`.

    sizes (C,); draws (K + 1, C): medians over all replicas that report, then over these drawn anew, the same ones in
    every curve. at_edge (C,): whether the best learning rate is on the edge of its grid.
    """

    sizes: Array
    draws: Array
    at_edge: NDArray[np.bool_]

    @property
    def edges(self) -> list[str]:
        """The sizes, up to the first that needs 20 % more examples, whose best rate is on the edge of its grid."""
        above = self.draws[0] > 1 + OVERHEAD
        last = int(above.argmax()) if above.any() else len(above)
        return [f"B={B:g}" for B, edge in zip(self.sizes[: last + 1], self.at_edge, strict=False) if edge]

    @property
    def critical(self) -> Array:
        """(K + 1,): the batch size that needs 20 % more examples; NaN where `edges` is not empty."""
        return crossing(self.sizes, self.draws, 1 + OVERHEAD) * (np.nan if self.edges else 1)


def judge(evidence: Evidence) -> Iterator[Finding]:
    seed = int(evidence.rng.integers(2**32))
    widths = evidence.cells["model.hidden"].astype(str).str.strip("[]").astype(int)
    curves = {
        (int(width), data): curve_of(evidence, own, data, seed)
        for width, own in evidence.cells.groupby(widths)
        for data in DATA
        if data <= own["n_train"].min()
    }
    found = {key: curve.critical for key, curve in curves.items()}
    n_replicas = evidence.answer.n_replicas
    least, most = min(data for _, data in curves), max(data for _, data in curves)
    grown = {f"width {w}": ratio_of(found[w, most], found[w, least]) for w, data in curves if data == least}
    narrow, wide = min(width for width, _ in curves), max(width for width, _ in curves)
    wider = {f"{n} examples": ratio_of(found[wide, n], found[narrow, n]) for w, n in curves if w == narrow}
    with_data = {x: together(inside(own, x, np.inf) for own in grown.values()) for x in GROWS}
    with_width = {x: together(inside(own, 1 / x, x) for own in wider.values()) for x in SAME}
    said = f"B_crit - {_listed(curves)}. {most} over {least} examples - {_ratios(grown)}. At least: "
    yield _finding("B4", with_data, said, grown, "of the few examples", n_replicas, [_critical_panel(curves)])
    said = f"B_crit of width {wide} over that of width {narrow} - {_ratios(wider)}. Within a factor of: "
    yield _finding("B5", with_width, said, wider, "of the narrow network", n_replicas, list(_panels(curves)))


def curve_of(evidence: Evidence, cells: "pd.DataFrame", data: int, seed: int) -> Curve:
    """Of one width. The first half of the replicas chooses the rate of each size, the second reports."""
    epoch = data / float(cells["n_train"].iloc[0])
    by_size = {float(B): own.sort_values("learning_rate")["cell"] for B, own in cells.groupby("batch_size")}
    first, *others = (list(by_size[B]) for B in sorted(by_size))
    at_data = np.array([log_costs(evidence.histories[cell], epoch) for cell in first])
    n = at_data.shape[1] // 2
    best = int(np.median(at_data[:, :n], axis=1).argmin())
    rows, at_edge = [np.ones(at_data.shape[1])], [edge_of(best, len(first)) != ""]
    for own in others:
        came = np.array([arrivals(evidence.histories[cell], at_data[best]) / epoch for cell in own])
        medians = np.median(came[:, :n], axis=1)
        place = int(medians.argmin())
        rows.append(came[place])
        at_edge.append(edge_of(place, len(own)) != "" and np.isfinite(medians[place]))
    draws = resampled_medians(np.array(rows)[:, n:], np.random.default_rng(seed))
    return Curve(np.array(sorted(by_size)), draws, np.array(at_edge))


def log_costs(history: "pd.DataFrame", epoch: float) -> Array:
    """(R,): log of the training costs after so many epochs; +inf of a replica that has diverged before."""
    found = np.full(history["replica"].nunique(), np.inf)
    for replica, own in history.groupby("replica"):
        if own["epoch"].iloc[-1] >= epoch and own["outcome"].iloc[-1] != "diverged":
            found[replica] = np.interp(epoch, own["epoch"], np.log(own["train_cost"]))
    return found


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


def ratio_of(a: Array, b: Array) -> Interval:
    """Of two rows of draws (K + 1,)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        ratios = a / b
    return percentile_interval(float(ratios[0]), ratios[1:])


def critical_of(curve: Curve) -> Interval:
    return percentile_interval(float(curve.critical[0]), curve.critical[1:])


def _text(value: Interval) -> str:
    return "not known" if np.isnan([value.estimate, value.low]).any() else interval(value)


def _ratios(found: Mapping[str, Interval]) -> str:
    return "; ".join(f"{name}: {_text(value)}" for name, value in found.items())


def _listed(curves: Curves) -> str:
    parts = []
    for (width, data), curve in curves.items():
        edges = f" (best rate on the edge of its grid at {', '.join(curve.edges)})" if curve.edges else ""
        parts.append(f"width {width}, {data} examples: {_text(critical_of(curve))}{edges}")
    return "; ".join(parts)


def _finding(
    claim: str, along: Mapping[float, Verdict], said: str, effects: Mapping[str, Interval], unit: str, replicas: int,
    panels: list[Panel],
) -> Finding:  # fmt: skip
    first = next((name for name, found in effects.items() if np.isfinite([found.low, found.high]).all()), None)
    effect, unit = (effects[first], f"× that {unit} ({first})") if first else (None, "")
    return Finding(claim, together(along.values()), f"{said}{verdicts_along(along)}.", unit, effect, replicas, panels)


def _critical_panel(curves: Curves) -> Panel:
    lines = []
    for width in dict.fromkeys(width for width, _ in curves):
        own = {data: critical_of(curve) for (w, data), curve in curves.items() if w == width}
        lines.append(Series(f"width {width}", list(own), *limits(own.values())))
    return Panel("B_crit", "examples that set the target", "batch size (examples)", lines)


def _panels(curves: Curves) -> Iterator[Panel]:
    for data in dict.fromkeys(data for _, data in curves):
        lines = []
        for (width, n), curve in curves.items():
            if n == data:
                own = [percentile_interval(float(x[0]), x[1:]) for x in curve.draws.T]
                lines.append(Series(f"width {width}", curve.sizes, *limits(own)))
                ends = curve.sizes[[0, -1]]
        lines.append(Series(f"{OVERHEAD:.0%} more", ends, [1 + OVERHEAD] * 2, kind="reference"))
        yield Panel(f"Target: cost after {data} examples", BATCH_SIZE, "examples needed / these", lines)
