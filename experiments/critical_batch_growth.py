"""Judges critical_batch_growth: B_crit by branching along training, against noise scales."""

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.analysis import BATCH_SIZE, Evidence, Finding, Panel, Series, limits
from harness.inference import (
    RESAMPLES,
    SCALING_POWERS,
    UNKNOWN,
    Interval,
    Slowdown,
    Split,
    Verdict,
    bounded_interval,
    edge_of,
    fewest_pairs,
    geometric_mean_ratio,
    inside,
    pairs_to_tell,
    percentile_interval,
    ratio_of_bounds,
    split_replicas,
    together,
)
from harness.report import bounds, price, verdicts_along
from harness.report.answers import by_constants, joined
from harness.training import average_noise_scale

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.floating]
Starts = Mapping[float, dict[str, dict[int, Slowdown]]]  # as STARTS -> dataset -> `branches`
Look = tuple[str, int, float]  # dataset, epoch of the branch, epochs over which it is compared
Scales = Mapping[str, Interval]  # as SCALES

SLOWER = (0.1, 0.2, 0.5, 1.0)  # per example than the smallest batch: where a size is critical
SHOWN = 0.2
FIRST = 1 / 8  # epochs until costs are compared at the start; later, as many as there were before
STARTS = (FIRST, 1 / 4, 1 / 2, 1.0)  # the same, tried: B_crit at the start depends on how long it is looked at
LONGEST = "a whole epoch"  # the last of them
GROWS = (1.25, 1.5, 2.0)  # times as large
FACTORS = (2.0, 3.0, 4.0)  # between B_crit and a noise scale that tells it
AT_EDGE = "best rate on the edge of its grid"
SCALES = {"exact": "by the time average of S/‖G‖²", "pooled": "by average S over average ‖G‖², from batches"}
BRANCH = ("data", "leaves after (epochs)", "compared over (epochs)")  # columns


def judge(evidence: Evidence) -> Iterator[Finding]:
    seed = int(evidence.rng.integers(2**32))
    steps = [json.loads(own) if isinstance(own, str) and own else [] for own in evidence.cells["milestones"]]
    cells = evidence.cells.assign(steps=steps, n_steps=[len(own) for own in steps])
    cells["rate_after"] = [rate_after(row) for row in cells.to_dict("records")]
    looked_at = {str(name): own for name, own in cells[cells["diagnostics"] == "full"].groupby("dataset")}
    trained = {str(name): own for name, own in cells[cells["diagnostics"] != "full"].groupby("dataset")}
    split = split_replicas(evidence.answer.n_replicas, fewest_pairs(1))
    starts = {x: {name: branches(evidence, own, split, seed, x) for name, own in trained.items()} for x in STARTS}
    yield along_training(evidence, starts, len(split.report))
    yield against_noise(evidence, starts, looked_at, len(split.report))


def rate_after(row: Mapping[str, Any]) -> float:
    """The learning rate after the last milestone, of the rate's or of the batch size's schedule."""
    power = SCALING_POWERS.get(row.get("learning_rate_rule", ""), 0) * (row["batch_size_schedule"] == "step")
    power -= row.get("learning_rate_schedule") == "step"
    return float(row["learning_rate"] * row["milestone_factor"] ** (power * row["n_steps"]))


def critical(curve: Slowdown, slower: float = SHOWN) -> Array:
    """(2, K + 1): bounds of B_crit, (B − B_0) / slower of the B where progress per example is so much slower.

    The law of McCandlish et al. is progress ∝ 1/(1 + B/B_noise): then it is B_noise + B_0 whatever `slower` is.
    """
    return (curve.crossing(1 + slower) - curve.sizes[0]) / slower


def arms_of(own: "pd.DataFrame", start: float = FIRST) -> dict[int, dict[float, list[str]]]:
    """Epoch of the branch -> batch size after it -> its cells by rate. Epoch 0: cells without a branch.

    Without the sizes that the examples until the costs are compared are no whole number of updates of.
    """
    found: dict[int, dict[float, list[str]]] = {}
    for row in own[own["n_steps"] < 2].sort_values("rate_after").to_dict("records"):
        epoch, grows = (*row["steps"], 0)[0], row["batch_size_schedule"] == "step"
        size = float(row["batch_size"] * (row["milestone_factor"] if grows else 1))
        if (epoch or start) * row["n_train"] % size == 0:
            found.setdefault(epoch, {}).setdefault(size, []).append(row["cell"])
    return dict(sorted(found.items()))


def branches(
    evidence: Evidence, own: "pd.DataFrame", split: Split, seed: int, start: float = FIRST
) -> dict[int, Slowdown]:
    """Epoch of the branch -> its curve. The trunk keeps the rate that the branches leave with. start: as FIRST."""
    found, rates = {}, own.loc[own["n_steps"] == 1, "learning_rate"]
    trunk = own[(own["n_steps"] == 0) & own["learning_rate"].isin(rates)].sort_values("batch_size").iloc[0]
    after = dict(zip(own["cell"], own["rate_after"], strict=True))
    for epoch, sizes in arms_of(own, start).items():
        if epoch:
            sizes[trunk["batch_size"]] = sorted(
                [*sizes.get(trunk["batch_size"], []), trunk["cell"]], key=after.__getitem__
            )
        before = evidence.log_costs(trunk["cell"], epoch)
        end, best, at_edge = epoch + (epoch or start), [], []
        for _, arm in sorted(sizes.items()):
            progress = np.array([before - evidence.log_costs(cell, end) for cell in arm])
            place = int(progress[:, split.selection].mean(axis=1).argmax())
            best.append(progress[place])
            at_edge.append(edge_of(place, len(arm)) != "")
        n = len(split.report)
        again = np.random.default_rng(seed).integers(n, size=(RESAMPLES, n))
        means = np.array(best)[:, split.report[np.vstack([np.arange(n), again])]].mean(axis=-1)
        with np.errstate(divide="ignore", invalid="ignore"):
            draws = np.where(means[0] > 0, np.where(means > 0, means[0] / means, np.inf), np.nan).T
        found[epoch] = Slowdown(np.array(sorted(sizes)), draws, np.array(at_edge))
    return found


def along_training(evidence: Evidence, starts: Starts, n: int) -> Finding:
    curves = starts[FIRST]
    growth = {x: {name: _growth(own, x) for name, own in curves.items()} for x in SLOWER}
    shown = list(growth[SHOWN].values())
    slower = {x: together(inside(found, GROWS[0], np.inf) for found in own.values()) for x, own in growth.items()}
    times = {x: together(inside(found, x, np.inf) for found in shown) for x in GROWS}
    looked = {x: together(inside(_growth(own), GROWS[0], np.inf) for own in s.values()) for x, s in starts.items()}
    along = {
        "how much slower is critical": slower,
        "how many times as large": times,
        "epochs over which the start is compared": looked,
    }
    verdict = together(found for own in along.values() for found in own.values())
    cost = price(evidence.price([pairs_to_tell(found, n, GROWS[0], np.inf) for found in shown], n))
    said = _growth_said(starts) + (cost if verdict is Verdict.UNRESOLVED else "")
    panels = [_branch_panel(*own) for own in curves.items()]
    rows = [(*BRANCH, "B_crit (examples)", "last B_crit over it", f"at least {GROWS[0]:g}"), *_growth_rows(starts)]
    plain = _growth_answer(*next(iter(curves.items())), along) if verdict is Verdict.CONDITIONAL else ""
    return _finding("B1", verdict, said, growth[SHOWN], "the first B_crit", n, panels, rows, along, plain)


def _growth_said(starts: Starts) -> str:
    """The way of B_crit on the first dataset; the last over the first, and over the start that is compared longest."""
    name, curves = next(iter(starts[FIRST].items()))
    first, *later = (bounds(bounded_interval(critical(curve))) for curve in curves.values())
    moves = zip(_moves(curves), later, list(curves)[1:], strict=True)
    way = [f"{f'{move} to' if move else 'is'} {found} after {epoch} epochs" for move, found, epoch in moves]
    edges = dict.fromkeys(B for own in starts[FIRST].values() for curve in own.values() for B in curve.edges(1 + SHOWN))
    longest = _growth(starts[STARTS[-1]][name])
    return (
        f"On {name} B_crit is {', '.join([f'{first} at the start', *way])}: the last is {bounds(_growth(curves))} × "
        f"the first, and {bounds(longest)} × it if the start is compared over {LONGEST}. A branch is compared over as "
        "many epochs as it is old: only at the start are the two told apart."
        + (f" Not known: {AT_EDGE} at {', '.join(edges)}." if edges else "")
    )


def _growth_answer(name: str, curves: Mapping[int, Slowdown], along: Mapping[str, Mapping[float, Verdict]]) -> str:
    way = " and then ".join(move for move in _moves(curves) if move)
    told = f"On {name} it {way}, each branch compared over longer. " if way else ""
    return f"{told}At least {GROWS[0]:g} times as large at the end as at the start, {by_constants(along)}."


def _moves(curves: Mapping[int, Slowdown]) -> list[str]:
    """From each branch to the next B_crit rises or falls; empty where that is open."""
    steps = [_ratio(after, before) for before, after in itertools.pairwise(curves.values())]
    return ["rises" if step.low > 1 else "falls" if step.high < 1 else "" for step in steps]


def _growth_rows(starts: Starts) -> Iterator[tuple[str, ...]]:
    for name, curves in starts[FIRST].items():
        *_, last = curves.values()
        looks = [(0, x, own[name][0]) for x, own in starts.items()]
        looks += [(epoch, epoch, curve) for epoch, curve in curves.items() if epoch]
        for epoch, span, curve in looks:
            ratio = _ratio(last, curve)
            ends = (bounds(ratio) if curve is not last else "", "" if epoch else inside(ratio, GROWS[0], np.inf))
            yield name, f"{epoch}", f"{span:g}", _at(curve), *ends


def _branch_panel(name: str, curves: Mapping[int, Slowdown]) -> Panel:
    lines = [Series(f"after {epoch} epochs", own.sizes, *limits(own.ratios)) for epoch, own in curves.items()]
    ends = curves[min(curves)].sizes[[0, -1]]
    lines.append(Series(f"{SHOWN:.0%} slower", ends, [1 + SHOWN, 1 + SHOWN], kind="reference"))
    return Panel(name, BATCH_SIZE, "progress of the smallest / progress", lines)


def _growth(curves: Mapping[int, Slowdown], slower: float = SHOWN) -> Interval:
    """B_crit of the last branch over that of the first."""
    first, *_, last = curves.values()
    return _ratio(last, first, slower)


def _ratio(a: Slowdown, b: Slowdown, slower: float = SHOWN) -> Interval:
    return bounded_interval(ratio_of_bounds(critical(a, slower), critical(b, slower)))


def _at(curve: Slowdown) -> str:
    edges = curve.edges(1 + SHOWN)
    return bounds(bounded_interval(critical(curve))) + (f" ({AT_EDGE} at {', '.join(edges)})" if edges else "")


def _finding(
    claim: str, verdict: Verdict, said: str, effects: Mapping[str, Interval], unit: str, *more: Any
) -> Finding:
    """more: from the replicas on."""
    first = next((name for name, found in effects.items() if np.isfinite([found.low, found.high]).all()), None)
    effect, unit = (effects[first], f"× {unit} ({first})") if first else (None, "")
    return Finding(claim, verdict, said, unit, effect, *more)


def noise_in(evidence: Evidence, cells: "pd.DataFrame", start: float, end: float) -> dict[str, Interval]:
    """Between two epochs: the exact noise scale in runs of the smallest batch, pooled in runs of the largest.

    Of the runs that have not diverged until the last update that is measured there: the others have no noise.
    """
    exact, spread, squared = [], [], []
    for row in cells.itertuples():
        table, per_epoch = evidence.table(row.cell, "diagnostics.csv"), row.n_train / row.batch_size
        own = table[(table["update"] > start * per_epoch) & (table["update"] <= end * per_epoch)]
        if not len(own) or not own["squared_norm"].iloc[-1] > 0:
            continue
        if row.batch_size == cells["batch_size"].min():
            columns = own[["update", "variance", "squared_norm"]].to_numpy(dtype=float).T
            exact.append(average_noise_scale(columns[0] - start * per_epoch, *columns[1:]))
        if row.batch_size == cells["batch_size"].max():
            spread.append(own["batch_variance"].mean())
            squared.append(own["batch_squared_norm"].mean())
    return {
        "exact": geometric_mean_ratio(np.log(exact)) if exact else UNKNOWN,
        "pooled": pooled(evidence, np.array(spread), np.array(squared)) if spread else UNKNOWN,
    }


def pooled(evidence: Evidence, spread: Array, squared: Array) -> Interval:
    """Mean of S over mean of ‖G‖², both estimated from batches (runs,); +inf where the latter is not positive."""
    draws = np.vstack([np.arange(len(spread)), evidence.rng.integers(len(spread), size=(RESAMPLES, len(spread)))])
    above, below = spread[draws].mean(axis=1), squared[draws].mean(axis=1)
    ratios = np.where(below > 0, above / np.where(below > 0, below, 1), np.inf)
    return percentile_interval(float(ratios[0]), ratios[1:])


def over(a: Interval, b: Interval) -> Interval:
    """a/b of independent estimates: their errors in log add up in squares."""
    with np.errstate(invalid="ignore", divide="ignore"):
        x, y = (np.log([value.estimate, value.low, value.high]) for value in (a, b))
        low, high = np.hypot(x[0] - x[1], y[2] - y[0]), np.hypot(x[2] - x[0], y[0] - y[1])
        return Interval(*(float(np.exp(value)) for value in (x[0] - y[0], x[0] - y[0] - low, x[0] - y[0] + high)))


def against_noise(evidence: Evidence, starts: Starts, looked_at: Mapping[str, "pd.DataFrame"], n: int) -> Finding:
    curves = {name: own for name, own in starts[FIRST].items() if name in looked_at}
    looks: dict[Look, Slowdown] = {
        (name, epoch, epoch or FIRST): curve for name, own in curves.items() for epoch, curve in own.items()
    }
    stated = list(looks)
    looks |= {(name, 0, x): own[name][0] for x, own in starts.items() for name in curves}
    noise = {(name, e, x): noise_in(evidence, looked_at[name], e, e + x) for name, e, x in looks}
    ratios = {look: _over_noise(curve, noise[look]) for look, curve in looks.items()}
    along = {
        "the factor": {x: _tells([ratios[look] for look in stated], x) for x in FACTORS},
        f"epochs over which the start is compared, factor {FACTORS[-1]:g}": {
            x: _tells([ratios[name, 0, x] for name in curves], FACTORS[-1]) for x in starts
        },
    }
    verdict = together(found for own in along.values() for found in own.values())
    said = _noise_said(ratios, stated) if stated else "No training was looked into."
    effects = {f"{name} after {epoch} epochs": ratios[name, epoch, x]["exact"] for name, epoch, x in stated}
    panels = [_noise_panel(name, own, noise) for name, own in curves.items()]
    rows = [(*BRANCH, "noise scale", "is (examples)", "B_crit over it", "by the factor"), *_noise_rows(noise, ratios)]
    plain = _noise_answer(ratios, stated) if verdict is Verdict.CONDITIONAL else ""
    return _finding("B2", verdict, said, effects, "the exact noise scale", n, panels, rows, along, plain)


def _over_noise(curve: Slowdown, noise: Scales) -> dict[str, Interval]:
    """B_crit over each of the noise scales."""
    return {scale: over(bounded_interval(critical(curve)), value) for scale, value in noise.items()}


def _tells(ratios: Iterable[Scales], factor: float) -> Verdict:
    return together(inside(ratio, 1 / factor, factor) for own in ratios for ratio in own.values())


def _noise_said(ratios: Mapping[Look, Scales], stated: list[Look]) -> str:
    """On the first dataset: at the start, after the last branch, and at the start that is compared longest."""
    name, last = stated[0][0], max(epoch for _, epoch, _ in stated)
    places = (stated[0], (name, last, last or FIRST), (name, 0, STARTS[-1]))
    exact, pooled = ([bounds(ratios[look][scale]) for look in places] for scale in SCALES)
    return (
        f"On {name} B_crit over the exact noise scale is {exact[0]} at the start and {exact[1]} after {last} epochs, "
        f"over the pooled one {pooled[0]} and {pooled[1]}; {exact[2]} and {pooled[2]} if the start is compared over "
        f"{LONGEST}."
    )


def _noise_answer(ratios: Mapping[Look, Scales], stated: list[Look]) -> str:
    """On the first dataset: within which factor each scale tells B_crit, at which epochs."""
    name, parts = stated[0][0], []
    for scale, words in SCALES.items():
        epochs: dict[str, list[str]] = {}
        for look in stated:
            if look[0] == name:
                epochs.setdefault(_agreement(ratios[look][scale]), []).append(f"{look[1]}")
        parts.append(f"{words}, {', '.join(f'{found} at epoch {joined(own)}' for found, own in epochs.items())}")
    return f"The two differ on {name} by a factor of: {'; '.join(parts)}."


def _agreement(ratio: Interval) -> str:
    """The smallest factor within which it is 1, and the largest within which it is not."""
    along = _by_factor(ratio)
    near, far = ([x for x, own in along.items() if own is found] for found in (Verdict.SUPPORTED, Verdict.REFUTED))
    if near:
        return f"{max(far):g} to {min(near):g}" if far else f"at most {min(near):g}"
    return f"more than {max(far):g}" if far else "not decided"


def _by_factor(ratio: Interval) -> dict[float, Verdict]:
    return {x: inside(ratio, 1 / x, x) for x in FACTORS}


def _noise_rows(noise: Mapping[Look, Scales], ratios: Mapping[Look, Scales]) -> Iterator[tuple[str, ...]]:
    for (name, epoch, span), own in sorted(ratios.items(), key=lambda item: item[0]):
        for scale, ratio in own.items():
            numbers = bounds(noise[name, epoch, span][scale]), bounds(ratio)
            yield name, f"{epoch}", f"{span:g}", scale, *numbers, verdicts_along(_by_factor(ratio))


def _noise_panel(name: str, curves: Mapping[int, Slowdown], noise: Mapping[Look, Scales]) -> Panel:
    x = [epoch + (epoch or FIRST) / 2 for epoch in curves]
    lines = [Series("B_crit by branching", x, *limits(bounded_interval(critical(own)) for own in curves.values()))]
    for scale in ("exact", "pooled"):
        lines.append(
            Series(f"B_simple, {scale}", x, *limits(noise[name, epoch, epoch or FIRST][scale] for epoch in curves))
        )
    return Panel(name, "epochs", "examples", lines)
