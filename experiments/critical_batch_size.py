"""Judges critical_batch_size: updates to target fall like 1/B, bend, and stay flat."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.analysis import BATCH_SIZE, Evidence, Finding, Panel, Series, quartiles, targets_table, updates_to_target
from harness.inference import (
    UNKNOWN,
    BatchScaling,
    Interval,
    Status,
    Verdict,
    all_hold,
    as_ratio,
    fewest_pairs,
    fit_batch_scaling,
    inside,
    mean_interval,
    median_interval,
    paired_ratio,
    pairs_to_tell,
    split_replicas,
    together,
)
from harness.report import interval, number, price, verdicts_along

Array = NDArray[np.floating]
Reached = dict[str, dict[str, Array]]  # cell -> "updates" -> (R,), +inf where the target was not reached

# Free constants: the value that is stated, and the range over which the verdict is shown.
FALL, FALLS = 10.0, (5.0, 7.0, 10.0)  # the target is the initial cost over this
STEEP, STEEPS = 0.15, (0.15, 0.2, 0.3)  # distance of the slope from −1
FLAT, FLATS = 0.8, (0.7, 0.75, 0.8)  # S(N)/S(N/6)
MISS, MISSES = 1.2, (1.2, 1.3, 1.5)  # factor between S and the fitted law

FIRST = 4  # the slope is taken up to this batch size
APART = 6.0  # the plateau lies between N over this, and N


@dataclass(frozen=True, eq=False)
class Curve:
    """Updates to target (C, R) of one dataset at batch sizes (C,), best rate each, with the law fitted to them.

    R are the replicas that did not choose the rates, if there are enough. slope: of log S over log B up to B = FIRST.
    plateau: S(N)/S(N/6). misses: S over the law with the replica's own S_min, at each batch size. untold: why none of
    this is known, in words.
    """

    dataset: str
    batch_sizes: Array
    updates: Array
    fit: BatchScaling
    slope: Interval
    plateau: Interval
    misses: list[Interval]
    untold: str

    @property
    def size(self) -> float:
        """N over B_crit."""
        return float(self.batch_sizes[-1] / self.fit.b_crit.estimate)


def judge(evidence: Evidence) -> Iterator[Finding]:
    yield three_regimes(evidence, {fall: list(scaling_curves(evidence, to_a_part(evidence, fall))) for fall in FALLS})


def to_a_part(evidence: Evidence, fall: float) -> Reached:
    """Updates to the initial cost over `fall`."""
    goals = {setting: FALL * goal / fall for setting, goal in evidence.answer.targets_at.items()}
    return updates_to_target(evidence.data.histories, goals, evidence.cells)


def scaling_curves(evidence: Evidence, reached: Reached) -> Iterator[Curve]:
    """Of the mean's cells without full diagnostics."""
    cells = evidence.cells[(evidence.cells["diagnostics"] != "full") & (evidence.cells["reduction"] == "mean")]
    targets = targets_table(cells, reached, evidence.rng)
    dataset = cells.set_index("cell")["dataset"]
    for _, own in targets.sort_values("batch_size").groupby("setting"):
        updates = np.stack([reached[cell]["updates"] for cell in own["cell"]])
        updates = updates[:, split_replicas(updates.shape[1], fewest_pairs(1)).report]
        edges = [f"B={row.batch_size:g} ({row.edge})" for row in own.itertuples() if row.edge]
        fit = fit_batch_scaling(own["batch_size"], updates, evidence.rng, own["excess"])
        yield curve(str(dataset[own["cell"].iloc[0]]), own["batch_size"].to_numpy(dtype=float), updates, fit, edges)


def curve(dataset: str, sizes: Array, updates: Array, fit: BatchScaling, edges: list[str]) -> Curve:
    with np.errstate(invalid="ignore"):  # 0 × ∞ where the fit found no bend
        law = (fit.s_min.estimate * (1 + fit.b_crit.estimate / sizes))[:, None]
        level = np.exp(np.log(updates / law).mean(axis=0))  # of each replica: its S_min over that of all
    misses = [paired_ratio(*both) for both in zip(updates, law * np.where(np.isfinite(level), level, 1.0), strict=True)]
    lost = [f"B={B:g}" for B, own in zip(sizes, updates, strict=True) if np.isinf(np.median(own))]
    untold = "" if fit.status is Status.RESOLVED else fit.status.text
    untold = f"half of the replicas or more did not arrive at {', '.join(lost)}" if lost else untold
    untold = f"the best rate is on the edge of its grid at {', '.join(edges)}; extend it" if edges else untold
    return Curve(dataset, sizes, updates, fit, first_slope(sizes, updates), plateau(sizes, updates), misses, untold)


def first_slope(sizes: Array, updates: Array) -> Interval:
    """Least-squares slope of log S over log B up to FIRST: of each replica, then their mean (median with losses)."""
    own = sizes <= FIRST
    if np.count_nonzero(own) < 2:
        return UNKNOWN
    x = np.log(sizes[own] / sizes[0])
    x = x - x.mean()
    with np.errstate(invalid="ignore"):
        slopes = x @ np.log(updates[own]) / (x @ x)
    return mean_interval(slopes) if np.isfinite(slopes).all() else median_interval(slopes)


def plateau(sizes: Array, updates: Array) -> Interval:
    """S(N)/S(N/6), N the largest batch; log S between two batch sizes by a straight line over log B."""
    place = np.log(sizes[-1] / APART)
    if place < np.log(sizes[0]):
        return UNKNOWN
    with np.errstate(invalid="ignore"):
        before = [np.interp(place, np.log(sizes), np.log(own)) for own in updates.T]
    return paired_ratio(updates[-1], np.exp(before))


def perfect_at_first(own: Curve, steep: float) -> Verdict:
    return inside(own.slope, -1 - steep, -1 + steep)


def flat_at_last(own: Curve, flat: float) -> Verdict | None:
    """None where the law itself falls further than that between N/APART and N, because N is too near to B_crit."""
    return inside(own.plateau, flat, np.inf) if own.size >= (APART * flat - 1) / (1 - flat) else None


def follows_the_law(own: Curve, miss: float) -> Verdict:
    return all_hold(inside(each, 1 / miss, miss) for each in own.misses)


REGIMES: dict[str, tuple[Callable[[Curve, float], Verdict | None], tuple[float, ...], float]] = {
    "the slope may be so far from −1": (perfect_at_first, STEEPS, STEEP),
    "updates at N are to be so large a part of those at N/6": (flat_at_last, FLATS, FLAT),
    "the law may miss by so large a factor": (follows_the_law, MISSES, MISS),
}


def three_regimes(evidence: Evidence, curves: Mapping[float, list[Curve]]) -> Finding:
    stated = curves[FALL]
    along = {
        words: {value: on_all(stated, holds, value) for value in values}
        for words, (holds, values, _) in REGIMES.items()
    }
    along["the target is so small a part of the initial cost"] = {
        1 / fall: together(on_all(own, holds, at) for holds, _, at in REGIMES.values()) for fall, own in curves.items()
    }
    verdict = together(each for own in along.values() for each in own.values())
    n = min((own.updates.shape[1] for own in stated), default=0)
    found = evidence.price([each for own in stated for each in needed(own)], n)
    first = next((own for own in stated if np.isfinite(own.slope.low)), None)
    return Finding(
        "L3",
        verdict,
        f"Updates to a tenth of the initial cost - {'; '.join(map(_regimes, stated))}. {_along(along)}"
        f"{price(found) if verdict is Verdict.UNRESOLVED else ''}"
        if stated
        else "No cell reached the target.",
        unit=f"= slope from B=1 to {FIRST} ({first.dataset})" if first else "",
        effect=first.slope if first else None,
        replicas=n,
        panels=[_curve_panel(own) for own in stated],
    )


def on_all(curves: Iterable[Curve], holds: Callable[[Curve, float], Verdict | None], value: float) -> Verdict:
    """Together on all datasets on which it can be judged."""
    tried = [Verdict.UNRESOLVED if own.untold else holds(own, value) for own in curves]
    return together([each for each in tried if each] or [Verdict.UNRESOLVED])


def _along(along: Mapping[str, Mapping[float, Verdict]]) -> str:
    return " ".join(f"Verdict where {words}: {verdicts_along(own)}." for words, own in along.items())


def needed(own: Curve) -> list[int | None]:
    """How many replicas would tell whether slope, plateau and misses lie inside their stated bands."""
    if own.untold:
        return [None]
    bands = [
        (as_ratio(own.slope), np.exp(-1 - STEEP), np.exp(-1 + STEEP)),
        *((each, 1 / MISS, MISS) for each in own.misses),
    ]
    bands += [(own.plateau, FLAT, np.inf)] if flat_at_last(own, FLAT) else []
    return [pairs_to_tell(effect, own.updates.shape[1], *ends) for effect, *ends in bands]


def _regimes(own: Curve) -> str:
    if own.untold:
        return f"{own.dataset}: {own.untold}"
    worst = max(range(len(own.misses)), key=lambda i: abs(np.log(own.misses[i].estimate)))
    short = "" if flat_at_last(own, FLAT) else f", not judged, as N is only {own.size:.1f} B_crit"
    return (
        f"{own.dataset}: slope {interval(own.slope)} up to B={FIRST}; S(N)/S(N/{APART:g}) = {interval(own.plateau)}"
        f"{short}; S_min (1 + B_crit/B) with B_crit = {interval(own.fit.b_crit)} examples and S_min = "
        f"{interval(own.fit.s_min)} updates misses S by × {interval(own.misses[worst])} at B={own.batch_sizes[worst]:g}"
        f" and by less elsewhere (rms of log S {number(own.fit.rms)})"
    )


def _curve_panel(own: Curve) -> Panel:
    lines = [Series("median and quartiles", own.batch_sizes, *quartiles(own.updates), kind="marks")]
    fine = np.geomspace(own.batch_sizes[0], own.batch_sizes[-1], 60)
    if np.isfinite(own.fit.s_min.estimate) and np.isfinite(own.fit.b_crit.estimate):
        fitted = own.fit.s_min.estimate * (1 + own.fit.b_crit.estimate / fine)
        perfect = fitted[0] * fine[0] / fine
        within = perfect > 0.5 * fitted[-1]
        lines.append(Series("S_min (1 + B_crit/B)", fine, fitted, kind="reference"))
        lines.append(Series("perfect scaling, 1/B", fine[within], perfect[within], kind="reference"))
    return Panel(own.dataset, BATCH_SIZE, "updates to target", lines)
