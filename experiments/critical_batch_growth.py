"""Judges critical_batch_growth: B_crit by branching along training, against noise scales."""

import json
from collections.abc import Iterator, Mapping
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
from harness.training import average_noise_scale

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.floating]

SLOWER = (0.1, 0.2, 0.5, 1.0)  # per example than the smallest batch: where a size is critical
SHOWN = 0.2
FIRST = 1 / 8  # epochs until costs are compared at the start; later, as many as there were before
STARTS = (FIRST, 1 / 4, 1 / 2, 1.0)  # the same, tried: B_crit at the start depends on how long it is looked at
GROWS = (1.25, 1.5, 2.0)  # times as large
FACTORS = (2.0, 3.0, 4.0)  # between B_crit and a noise scale that tells it
AT_EDGE = "best rate on the edge of its grid"


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


def along_training(evidence: Evidence, starts: Mapping[float, dict[str, dict[int, Slowdown]]], n: int) -> Finding:
    """starts: epochs until costs are compared at the start -> dataset -> `branches`."""
    curves = starts[FIRST]
    growth = {x: {name: _growth(own, x) for name, own in curves.items()} for x in SLOWER}
    shown = list(growth[SHOWN].values())
    slower = {x: together(inside(found, GROWS[0], np.inf) for found in own.values()) for x, own in growth.items()}
    times = {x: together(inside(found, x, np.inf) for found in shown) for x in GROWS}
    looked = {
        x: together(inside(_growth(own, SHOWN), GROWS[0], np.inf) for own in s.values()) for x, s in starts.items()
    }
    told = "; ".join(
        f"{name}: {_path(own)}; last over first {bounds(growth[SHOWN][name])}; the first over "
        f"{', '.join(f'{x:g} epochs {_at(s[name][0])}' for x, s in starts.items() if x != FIRST)}"
        for name, own in curves.items()
    )
    said = (
        f"B_crit in examples, where progress is {SHOWN:.0%} slower - {told}. {GROWS[0]:g} times as large, slower by: "
        f"{verdicts_along(slower)}. At {SHOWN:.0%}, times as large: {verdicts_along(times)}; by the epochs over "
        f"which the first is compared: {verdicts_along(looked)}."
    )
    panels = [_branch_panel(name, own) for name, own in curves.items()]
    verdict = together([*slower.values(), *times.values(), *looked.values()])
    cost = price(evidence.price([pairs_to_tell(found, n, GROWS[0], np.inf) for found in shown], n))
    said += cost if verdict is Verdict.UNRESOLVED else ""
    return _finding("B1", verdict, said, growth[SHOWN], "the first B_crit", n, panels)


def _branch_panel(name: str, curves: Mapping[int, Slowdown]) -> Panel:
    lines = [Series(f"after {epoch} epochs", own.sizes, *limits(own.ratios)) for epoch, own in curves.items()]
    ends = curves[min(curves)].sizes[[0, -1]]
    lines.append(Series(f"{SHOWN:.0%} slower", ends, [1 + SHOWN, 1 + SHOWN], kind="reference"))
    return Panel(name, BATCH_SIZE, "progress of the smallest / progress", lines)


def _growth(curves: Mapping[int, Slowdown], slower: float) -> Interval:
    """B_crit of the last branch over that of the first."""
    first, *_, last = (critical(own, slower) for own in curves.values())
    return bounded_interval(ratio_of_bounds(last, first))


def _path(curves: Mapping[int, Slowdown]) -> str:
    return ", ".join(f"{_at(curve)} after {epoch} epochs" for epoch, curve in curves.items())


def _at(curve: Slowdown) -> str:
    edges = curve.edges(1 + SHOWN)
    return bounds(bounded_interval(critical(curve))) + (f" ({AT_EDGE} at {', '.join(edges)})" if edges else "")


def _finding(
    claim: str, verdict: Verdict, said: str, effects: Mapping[str, Interval], unit: str, replicas: int,
    panels: list[Panel],
) -> Finding:  # fmt: skip
    first = next((name for name, found in effects.items() if np.isfinite([found.low, found.high]).all()), None)
    effect, unit = (effects[first], f"× {unit} ({first})") if first else (None, "")
    return Finding(claim, verdict, said, unit, effect, replicas, panels)


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


def against_noise(
    evidence: Evidence,
    starts: Mapping[float, dict[str, dict[int, Slowdown]]],
    looked_at: Mapping[str, "pd.DataFrame"],
    n: int,
) -> Finding:
    """starts: as of `along_training`."""
    curves = {name: own for name, own in starts[FIRST].items() if name in looked_at}
    noise = {
        (name, epoch): noise_in(evidence, looked_at[name], epoch, epoch + (epoch or FIRST))
        for name, own in curves.items()
        for epoch in own
    }
    ratios = {key: _over_noise(curves[key[0]][key[1]], own) for key, own in noise.items()}
    every = [ratio for own in ratios.values() for ratio in own.values()]
    along = {x: together(inside(found, 1 / x, x) for found in every) for x in FACTORS}
    at_start = {
        x: {name: _over_noise(own[name][0], noise_in(evidence, looked_at[name], 0, x)) for name in curves}
        for x, own in starts.items()
    }
    factor = FACTORS[-1]
    looked = {
        x: together(inside(ratio, 1 / factor, factor) for both in own.values() for ratio in both.values())
        for x, own in at_start.items()
    }
    shown = "; ".join(
        f"{name}: "
        + ", ".join(f"{_told(ratios[name, epoch])} after {epoch} epochs" for epoch in curves[name])
        + "; of the start, over "
        + ", ".join(f"{x:g} epochs {_told(own[name])}" for x, own in at_start.items() if x != FIRST)
        for name in curves
    )
    said = (
        f"B_crit where progress is {SHOWN:.0%} slower, over B_simple, exact and pooled - {shown}. Factor: "
        f"{verdicts_along(along)}; of {factor:g}, by the epochs of the start: {verdicts_along(looked)}."
    )
    effects = {f"{name} after {epoch} epochs": own["exact"] for (name, epoch), own in ratios.items()}
    panels = [_noise_panel(name, own, noise) for name, own in curves.items()]
    verdict = together([*along.values(), *looked.values()])
    return _finding("B2", verdict, said, effects, "the exact noise scale", n, panels)


def _over_noise(curve: Slowdown, noise: Mapping[str, Interval]) -> dict[str, Interval]:
    """B_crit over each of the noise scales."""
    return {scale: over(bounded_interval(critical(curve)), value) for scale, value in noise.items()}


def _told(ratios: Mapping[str, Interval]) -> str:
    return f"{bounds(ratios['exact'])} and {bounds(ratios['pooled'])}"


def _noise_panel(
    name: str, curves: Mapping[int, Slowdown], noise: Mapping[tuple[str, int], Mapping[str, Interval]]
) -> Panel:
    x = [epoch + (epoch or FIRST) / 2 for epoch in curves]
    lines = [Series("B_crit by branching", x, *limits(bounded_interval(critical(own)) for own in curves.values()))]
    for scale in ("exact", "pooled"):
        lines.append(Series(f"B_simple, {scale}", x, *limits(noise[name, epoch][scale] for epoch in curves)))
    return Panel(name, "epochs", "examples", lines)
