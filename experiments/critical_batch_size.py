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
from harness.report.answers import joined, percent, spread, where

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
    this is known, in words; at: the batch sizes that are the reason.
    """

    dataset: str
    batch_sizes: Array
    updates: Array
    fit: BatchScaling
    slope: Interval
    plateau: Interval
    misses: list[Interval]
    untold: str
    at: str = ""

    @property
    def size(self) -> float:
        """N over B_crit."""
        return float(self.batch_sizes[-1] / self.fit.b_crit.estimate)

    @property
    def worst(self) -> int:
        """Which batch size the law misses most."""
        return max(range(len(self.misses)), key=lambda i: abs(np.log(self.misses[i].estimate)))


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
    untold, at = ("half of the replicas or more did not arrive", ", ".join(lost)) if lost else (untold, "")
    untold, at = ("the best rate is on the edge of its grid", ", ".join(edges)) if edges else (untold, at)
    return Curve(dataset, sizes, updates, fit, first_slope(sizes, updates), plateau(sizes, updates), misses, untold, at)


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


Part = Callable[[Curve, float], Verdict | None]
REGIMES: dict[str, tuple[Part, tuple[float, ...], float]] = {
    "how far the slope may be from −1": (perfect_at_first, STEEPS, STEEP),
    "the factor by which the law may miss": (follows_the_law, MISSES, MISS),
    "the least of updates at N over those at N/6": (flat_at_last, FLATS, FLAT),
}
PARTS: dict[Part, str] = {
    perfect_at_first: f"Slope within {STEEP:g} of -1 at first",
    follows_the_law: f"law within a factor of {MISS:g}",
    flat_at_last: f"{APART:g} times the batch at last saves under {percent(1 - FLAT)}",
}


def three_regimes(evidence: Evidence, curves: Mapping[float, list[Curve]]) -> Finding:
    stated = curves[FALL]
    along = {
        words: {value: on_all(stated, holds, value) for value in values}
        for words, (holds, values, _) in REGIMES.items()
    }
    along["the part of the initial cost that is the target"] = {
        1 / fall: together(on_all(own, holds, at) for holds, _, at in REGIMES.values()) for fall, own in curves.items()
    }
    verdict = together(each for own in along.values() for each in own.values())
    n = min((own.updates.shape[1] for own in stated), default=0)
    found = evidence.price([each for own in stated for each in needed(own)], n)
    first = next((own for own in stated if np.isfinite(own.slope.low)), None)
    return Finding(
        "L3",
        verdict,
        _said(stated) + (price(found) if verdict is Verdict.UNRESOLVED else ""),
        unit=f"= slope from B=1 to {FIRST} ({first.dataset})" if first else "",
        effect=first.slope if first else None,
        replicas=n,
        panels=[_curve_panel(own) for own in stated],
        rows=[("data", "part", "is", "by its constant"), *(row for own in stated for row in _rows(own))],
        along=along,
        plain=_answer(stated) if verdict is Verdict.CONDITIONAL else "",
    )


def on_all(curves: Iterable[Curve], holds: Part, value: float) -> Verdict:
    """Together on all datasets on which it can be judged."""
    return together(on_each(curves, holds, value).values() or [Verdict.UNRESOLVED])


def on_each(curves: Iterable[Curve], holds: Part, value: float) -> dict[str, Verdict]:
    """Of the datasets on which it can be judged."""
    tried = {own.dataset: Verdict.UNRESOLVED if own.untold else holds(own, value) for own in curves}
    return {name: verdict for name, verdict in tried.items() if verdict}


def _answer(curves: list[Curve]) -> str:
    """On which data each part holds with the stated constants."""
    parts = {PARTS[holds]: on_each(curves, holds, at) for holds, _, at in REGIMES.values()}
    return "; ".join(f"{part}: {where(own) or 'not judged'}" for part, own in parts.items()) + "."


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


def _said(curves: list[Curve]) -> str:
    """Of the data on which they are known: the slopes, the largest miss of the law, the end where it is judged."""
    known, untold = ([own for own in curves if bool(own.untold) is lost] for lost in (False, True))
    why = "; ".join(dict.fromkeys(own.untold for own in untold))
    lost = f"Not known on {joined(own.dataset for own in untold)}: {why}." if untold else ""
    if not known:
        return lost or "No cell reached the target."
    worst = max(known, key=lambda own: abs(np.log(own.misses[own.worst].estimate)))
    ends = [own for own in known if flat_at_last(own, FLAT)]
    flat = f"{spread(own.plateau for own in ends)} ({joined(own.dataset for own in ends)})" if ends else "nowhere"
    return (
        f"Slope of log updates over log B up to B={FIRST}: {spread(own.slope for own in known)}. The law S_min (1 + "
        f"B_crit/B) misses most on {worst.dataset} at B={worst.batch_sizes[worst.worst]:g}, by × "
        f"{interval(worst.misses[worst.worst])}. Updates at N over those at N/{APART:g}, judged where N is far above "
        f"B_crit: {flat}. {lost}".strip()
    )


def _rows(own: Curve) -> Iterator[tuple[str, str, str, str]]:
    if own.untold:
        yield own.dataset, "all", f"not known: {own.untold}{f' at {own.at}' if own.at else ''}", Verdict.UNRESOLVED
        return
    values = {
        f"slope of log updates over log B up to B={FIRST}": own.slope,
        f"misses of the law, the furthest at B={own.batch_sizes[own.worst]:g}": own.misses[own.worst],
        f"updates at N over those at N/{APART:g}": own.plateau,
    }
    for (part, value), (holds, constants, _) in zip(values.items(), REGIMES.values(), strict=True):
        by = {x: verdict for x in constants if (verdict := holds(own, x))}
        yield own.dataset, part, interval(value), verdicts_along(by) or f"not judged: N is {own.size:.1f} B_crit"
    yield own.dataset, "B_crit (examples)", interval(own.fit.b_crit), ""
    yield own.dataset, "S_min (updates)", interval(own.fit.s_min), ""
    yield own.dataset, "rms of log updates around the law", number(own.fit.rms), ""


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
