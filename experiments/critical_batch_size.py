"""Judges critical_batch_size: three regimes of updates to target, and the bend against the gradient noise scale."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.analysis import BATCH_SIZE, Evidence, Finding, Panel, Series, quartiles
from harness.inference import (
    BatchScaling,
    Interval,
    Status,
    Verdict,
    exactly,
    fit_batch_scaling,
    geometric_mean_ratio,
    inside,
    percentile_interval,
    resampled_medians,
    together,
)
from harness.report import interval, number
from harness.training import average_noise_scale

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.floating]

SLOPE = (-1.15, -0.85)  # of log S over log B where scaling is perfect
FLAT, APART = 0.8, 6.0  # S(N) / S(N/6) on the plateau
REACH = 19.0  # B_crit: the law itself has S(N)/S(N/6) below .8 where N is smaller
RMS = 0.15  # of the residuals of log S
AGREES = 3.0  # factor between B_crit and the noise scale


@dataclass(frozen=True, eq=False)
class Curve:
    """Updates to target (C, R) of one dataset at batch sizes (C,), best rate each, with the fit through their medians.

    plateau: S(N)/S(N/6). edges: batch sizes whose best rate lies on the edge of its grid. lost: those at which half of
    the replicas or more did not reach the target.
    """

    dataset: str
    batch_sizes: Array
    updates: Array
    fit: BatchScaling
    plateau: Interval
    edges: list[str]
    lost: list[str]


@dataclass(frozen=True, eq=False)
class Noise:
    """B_simple of one dataset along the runs up to the target: its time average in each run, and where it was read."""

    dataset: str
    average: Interval
    n_runs: int
    n_left_out: int
    update: Array
    middle: Array


def judge(evidence: Evidence) -> Iterator[Finding]:
    curves = list(scaling_curves(evidence))
    yield three_regimes(curves, evidence.answer.n_replicas)
    yield bend_and_noise(curves, {own.dataset: own for own in noise_scales(evidence)})


def scaling_curves(evidence: Evidence) -> Iterator[Curve]:
    """From the cells without full diagnostics."""
    diagnosed = evidence.cells.loc[evidence.cells["diagnostics"] == "full", "cell"]
    targets = evidence.answer.targets
    targets = targets[~targets["cell"].isin(diagnosed) & (targets["reduction"] == "mean")]
    dataset = evidence.cells.set_index("cell")["dataset"]
    for _, own in targets.sort_values("batch_size").groupby("setting"):
        sizes = own["batch_size"].to_numpy(dtype=float)
        updates = np.stack([evidence.to_target[cell]["updates"] for cell in own["cell"]])
        yield Curve(
            str(dataset[own["cell"].iloc[0]]),
            sizes,
            updates,
            fit_batch_scaling(sizes, updates, evidence.rng),
            plateau(sizes, updates, evidence.rng),
            [f"B={row.batch_size:g} ({row.edge})" for row in own.itertuples() if row.edge],
            [f"B={B:g}" for B, row in zip(sizes, updates, strict=True) if np.isinf(np.median(row))],
        )


def plateau(batch_sizes: Array, updates: Array, rng: np.random.Generator) -> Interval:
    """S(N)/S(N/6), N the largest batch; S between two batch sizes by a straight line over logs."""
    with np.errstate(invalid="ignore"):
        medians = resampled_medians(np.log(updates), rng)
        place = np.log(batch_sizes[-1] / APART)
        i = int(np.clip(np.searchsorted(np.log(batch_sizes), place), 1, len(batch_sizes) - 1))
        if len(batch_sizes) < 2 or place < np.log(batch_sizes[0]):
            return Interval(np.nan, np.nan, np.nan)
        part = (place - np.log(batch_sizes[i - 1])) / np.log(batch_sizes[i] / batch_sizes[i - 1])
        before = medians[:, i - 1] + part * (medians[:, i] - medians[:, i - 1])
        ratios = np.exp(medians[:, -1] - before)
    return percentile_interval(float(ratios[0]), ratios[1:])


# L3


def three_regimes(curves: list[Curve], n_replicas: int) -> Finding:
    verdicts = {own.dataset: regimes(own) for own in curves}
    shown = "; ".join(_regimes(own, verdicts[own.dataset]) for own in curves)
    first = curves[0] if curves else None
    known = first is not None and np.isfinite(first.fit.slope.low)
    return Finding(
        "L3",
        together(v for own in verdicts.values() for v in own) if curves else Verdict.UNRESOLVED,
        f"Updates to a tenth of the initial cost - {shown}." if curves else "No cell reached the target.",
        unit=f"= slope at the smallest batches ({first.dataset})" if first and known else "",
        effect=first.fit.slope if first and known else None,
        replicas=n_replicas,
        panels=[_curve_panel(own) for own in curves],
    )


def regimes(own: Curve) -> list[Verdict]:
    """Of perfect scaling, of the plateau, and of the bend between them."""
    if own.edges or own.lost or own.fit.status is not Status.RESOLVED:
        return [Verdict.UNRESOLVED]
    flat = inside(own.plateau, FLAT, np.inf) if reaches_plateau(own) else Verdict.UNRESOLVED
    return [inside(own.fit.slope, *SLOPE), flat, exactly(own.fit.rms, RMS)]


def reaches_plateau(own: Curve) -> bool:
    return bool(own.batch_sizes[-1] >= REACH * own.fit.b_crit.estimate)


def _regimes(own: Curve, verdicts: list[Verdict]) -> str:
    if own.edges:
        return f"{own.dataset}: the best rate is on the edge of its grid at {', '.join(own.edges)}; extend it"
    if own.lost:
        return f"{own.dataset}: half of the replicas or more did not arrive at {', '.join(own.lost)}"
    if own.fit.status is not Status.RESOLVED:
        return f"{own.dataset}: {own.fit.status.text}"
    first, second = own.batch_sizes[:2]
    short = "" if reaches_plateau(own) else f": N is only {own.batch_sizes[-1] / own.fit.b_crit.estimate:.1f} B_crit"
    perfect, flat, fits = verdicts
    return (
        f"{own.dataset}: slope {interval(own.fit.slope)} from B={first:g} to {second:g} ({perfect}), "
        f"S(N)/S(N/{APART:g}) = {interval(own.plateau)} ({flat}{short}), B_crit = {interval(own.fit.b_crit)} examples "
        f"and S_min = {interval(own.fit.s_min)} updates fit to an rms of {number(own.fit.rms)} ({fits})"
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


# L4


def noise_scales(evidence: Evidence) -> Iterator[Noise]:
    """Of each dataset, from the cells with exact diagnostics; runs that did not reach the target are left out."""
    cells = evidence.cells[evidence.cells["diagnostics"] == "full"]
    for dataset, own in cells.groupby("dataset"):
        runs, averages = [], []
        for cell in own["cell"]:
            table = evidence.table(cell, "diagnostics.csv")
            table = table[table["update"] <= evidence.to_target[cell]["updates"][0]]
            arrived = np.isfinite(evidence.to_target[cell]["updates"][0])
            scale = average_noise_scale(*table[["update", "variance", "squared_norm"]].to_numpy(dtype=float).T)
            if arrived and np.isfinite(scale):
                averages.append(scale)
                runs.append(table)
        update, middle = _median_run(runs)
        average = geometric_mean_ratio(np.log(averages))
        yield Noise(str(dataset), average, len(runs), len(own) - len(runs), update, middle)


def _median_run(runs: "list[pd.DataFrame]") -> tuple[Array, Array]:
    """B_simple at the updates at which more than half of the runs were read, their median."""
    if not runs:
        return np.array([]), np.array([])
    import pandas as pd

    table = pd.concat(runs)
    ratio = (table["variance"] / table["squared_norm"]).groupby(table["update"])
    read = ratio.median()[ratio.size() > len(runs) / 2]
    return read.index.to_numpy(dtype=float), read.to_numpy(dtype=float)


def bend_and_noise(curves: list[Curve], noises: dict[str, Noise]) -> Finding:
    both = [(own, noises[own.dataset]) for own in curves if own.dataset in noises]
    ratios = {own.dataset: ratio(own, noise) for own, noise in both}
    verdicts = [inside(found, 1 / AGREES, AGREES) for found in ratios.values()]
    shown = "; ".join(_both(own, noise, ratios[own.dataset]) for own, noise in both)
    first = next(iter(ratios), None)
    known = first is not None and np.isfinite(ratios[first].low)
    return Finding(
        "L4",
        together(verdicts) if verdicts else Verdict.UNRESOLVED,
        f"B_crit of the updates to target against the time average of B_simple on the way there - {shown}."
        if both
        else "No dataset has both a fit and a measured noise scale.",
        unit=f"= B_crit / B_simple ({first})" if known else "",
        effect=ratios[first] if first and known else None,
        replicas=min((noise.n_runs for _, noise in both), default=0),
        panels=[_both_panel(both), _along_panel([noise for _, noise in both])],
    )


def ratio(own: Curve, noise: Noise) -> Interval:
    """B_crit over the noise scale, which were measured on different runs: their errors in log add up in squares."""
    if regimes(own) == [Verdict.UNRESOLVED]:
        return Interval(np.nan, np.nan, np.nan)
    bend, average = (np.log([value.estimate, value.low, value.high]) for value in (own.fit.b_crit, noise.average))
    middle = bend[0] - average[0]
    below = np.hypot(bend[0] - bend[1], average[2] - average[0])
    above = np.hypot(bend[2] - bend[0], average[0] - average[1])
    return Interval(*(float(np.exp(value)) for value in (middle, middle - below, middle + above)))


def _both(own: Curve, noise: Noise, found: Interval) -> str:
    left_out = f" ({noise.n_left_out} more did not reach the target)" if noise.n_left_out else ""
    if not noise.n_runs:
        return f"{own.dataset}: no run with a measured noise scale reached the target"
    measured = f"B_simple = {interval(noise.average)} examples over {noise.n_runs} runs{left_out}"
    if np.isnan(found.estimate):
        return f"{own.dataset}: {measured}, but B_crit is not resolved"
    return f"{own.dataset}: B_crit = {interval(own.fit.b_crit)}, {measured}, ratio {interval(found)}"


def _both_panel(both: list[tuple[Curve, Noise]]) -> Panel:
    names = [own.dataset for own, _ in both]
    lines = []
    for label, shift, found in (
        ("B_crit, fitted", -0.1, [own.fit.b_crit for own, _ in both]),
        ("B_simple, measured", 0.1, [noise.average for _, noise in both]),
    ):
        middle, low, high = ([getattr(value, name) for value in found] for name in ("estimate", "low", "high"))
        lines.append(Series(label, np.arange(len(names)) + shift, middle, low, high, kind="marks"))
    return Panel("Bend and noise", "", "examples", lines, log="y", names=names)


def _along_panel(noises: list[Noise]) -> Panel:
    lines = [Series(noise.dataset, noise.update, noise.middle) for noise in noises]
    return Panel("Noise scale along the runs", "updates", "B_simple (examples)", lines)
