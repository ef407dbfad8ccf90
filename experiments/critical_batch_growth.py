"""Judges critical_batch_growth: B_crit by branching along training, against noise scales; a batch that grows."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.analysis import BATCH_SIZE, Evidence, Finding, Panel, Series, limits
from harness.inference import (
    RESAMPLES,
    Interval,
    Verdict,
    all_hold,
    crossing,
    geometric_mean_ratio,
    inside,
    percentile_interval,
    together,
)
from harness.report import interval, verdicts_along
from harness.training import average_noise_scale

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.floating]

SLOWER = (0.1, 0.2, 0.5, 1.0)  # per example than the smallest batch: where a size is critical
SHOWN = 0.2
GROWS = 1.25  # times as large
FACTORS = (2.0, 3.0, 4.0)  # between B_crit and a noise scale that tells it
WORSE = (0.05, 0.1, 0.25)  # of the final cost


@dataclass(frozen=True, eq=False)
class Curve:
    """Progress per example of the smallest batch over that of each size: sizes (C,), draws (K + 1, C).

    Progress: the fall of the log cost over the same examples, the best of a size's learning rates; +inf: none. draws:
    of the means over all replicas, then over replicas drawn anew, the same ones for every curve.
    """

    sizes: Array
    draws: Array

    @property
    def ratios(self) -> list[Interval]:
        return [percentile_interval(float(own[0]), own[1:]) for own in self.draws.T]

    def critical(self, slower: float) -> Array:
        """(K + 1,): B_crit as (B − B_0) / slower, B where progress per example is so much slower; +inf: nowhere.

        The law of McCandlish et al. is progress ∝ 1/(1 + B/B_noise): then it is B_noise + B_0 whatever `slower` is.
        """
        return (crossing(self.sizes, self.draws, 1 + slower) - self.sizes[0]) / slower


def log_costs(history: "pd.DataFrame", epoch: float) -> Array:
    """(R,): log of the training costs after so many epochs; +inf of a replica that has diverged before."""
    found = np.full(history["replica"].nunique(), np.inf)
    for replica, own in history.groupby("replica"):
        if own["epoch"].iloc[-1] >= epoch and own["outcome"].iloc[-1] != "diverged":
            found[replica] = np.interp(epoch, own["epoch"], np.log(own["train_cost"]))
    return found


def judge(evidence: Evidence) -> Iterator[Finding]:
    seed = int(evidence.rng.integers(2**32))
    steps = [json.loads(own) if isinstance(own, str) and own else [] for own in evidence.cells["milestones"]]
    cells = evidence.cells.assign(steps=steps, n_steps=[len(own) for own in steps])
    looked_at = {str(name): own for name, own in cells[cells["diagnostics"] == "full"].groupby("dataset")}
    trained = {str(name): own for name, own in cells[cells["diagnostics"] != "full"].groupby("dataset")}
    curves = {name: branches(evidence, own, seed) for name, own in trained.items()}
    yield along_training(curves, evidence.answer.n_replicas)
    yield against_noise(evidence, curves, looked_at)
    yield growing_batches(evidence, trained)


def horizon(epoch: int) -> float:
    return epoch or 1 / 8  # epochs until the costs are compared: as many as there were before


def arms_of(own: "pd.DataFrame") -> dict[int, dict[float, list[str]]]:
    """Epoch of the branch -> batch size after it -> its cells, of different rates. Epoch 0: cells without a branch."""
    found: dict[int, dict[float, list[str]]] = {}
    for row in own[own["n_steps"] < 2].to_dict("records"):
        epoch, grows = (*row["steps"], 0)[0], row["batch_size_schedule"] == "step"
        size = float(row["batch_size"] * (row["milestone_factor"] if grows else 1))
        found.setdefault(epoch, {}).setdefault(size, []).append(row["cell"])
    return dict(sorted(found.items()))


def branches(evidence: Evidence, own: "pd.DataFrame", seed: int) -> dict[int, Curve]:
    """Epoch of the branch -> its curve. The trunk keeps the rate that the branches leave with."""
    arms, found = arms_of(own), {}
    rates = own.loc[own["n_steps"] == 1, "learning_rate"]
    trunk = own[(own["n_steps"] == 0) & own["learning_rate"].isin(rates)].sort_values("batch_size").iloc[0]
    base, keeps = float(trunk["batch_size"]), str(trunk["cell"])
    for epoch, sizes in arms.items():
        by_size = {**sizes, base: [*sizes.get(base, []), keeps]}
        before = log_costs(evidence.histories[keeps], epoch)
        end, cells = epoch + horizon(epoch), [cell for own in by_size.values() for cell in own]
        after = {cell: log_costs(evidence.histories[cell], end) for cell in cells}
        progress = [[before - after[cell] for cell in by_size[size]] for size in sorted(by_size)]
        n = len(before)
        picks = np.vstack([np.arange(n), np.random.default_rng(seed).integers(n, size=(RESAMPLES, n))])
        best = [np.array(rows)[:, picks].mean(axis=-1).max(axis=0) for rows in progress]
        with np.errstate(divide="ignore", invalid="ignore"):
            draws = np.stack([np.where(row > 0, best[0] / row, np.inf) for row in best], axis=1)
        found[epoch] = Curve(np.array(sorted(by_size)), draws)
    return found


def critical_of(curve: Curve, slower: float = SHOWN) -> Interval:
    found = curve.critical(slower)
    return percentile_interval(float(found[0]), found[1:])


def along_training(curves: Mapping[str, dict[int, Curve]], n_replicas: int) -> Finding:
    growth = {x: dict(pair for name, own in curves.items() for pair in _growth(name, own, x)) for x in SLOWER}
    along = {x: together(inside(found, GROWS, np.inf) for found in own.values()) for x, own in growth.items()}
    shown = "; ".join(f"{name}: {_path(own)}" for name, own in curves.items())
    said = f"B_crit in examples, where progress is {SHOWN:.0%} slower - {shown}. Slower by: {verdicts_along(along)}."
    panels = [_branch_panel(name, own) for name, own in curves.items()]
    return _finding("B1", along, said, growth[SHOWN], "the B_crit of the branch before", n_replicas, panels)


def _branch_panel(name: str, curves: Mapping[int, Curve]) -> Panel:
    lines = [Series(f"after {epoch} epochs", own.sizes, *limits(own.ratios)) for epoch, own in curves.items()]
    ends = curves[min(curves)].sizes[[0, -1]]
    lines.append(Series(f"{SHOWN:.0%} slower", ends, [1 + SHOWN, 1 + SHOWN], kind="reference"))
    return Panel(name, BATCH_SIZE, "progress of the smallest / progress", lines)


def _growth(name: str, curves: Mapping[int, Curve], slower: float) -> Iterator[tuple[str, Interval]]:
    """B_crit of each branch over that of the branch before."""
    for before, after in pairwise(curves):
        with np.errstate(invalid="ignore", divide="ignore"):
            ratios = curves[after].critical(slower) / curves[before].critical(slower)
        yield f"{name}, after {after} epochs", percentile_interval(float(ratios[0]), ratios[1:])


def _path(curves: Mapping[int, Curve]) -> str:
    return ", ".join(f"{_examples(critical_of(curve))} after {epoch} epochs" for epoch, curve in curves.items())


def _examples(value: Interval) -> str:
    return "not known" if np.isnan([value.estimate, value.low]).any() else interval(value)


def _finding(
    claim: str, along: Mapping[float, Verdict], said: str, effects: Mapping[str, Interval], unit: str, replicas: int,
    panels: list[Panel],
) -> Finding:  # fmt: skip
    first = next((name for name, found in effects.items() if np.isfinite([found.low, found.high]).all()), None)
    effect, unit = (effects[first], f"× {unit} ({first})") if first else (None, "")
    return Finding(claim, together(along.values()), said, unit, effect, replicas, panels)


def noise_in(evidence: Evidence, cells: "pd.DataFrame", start: float, end: float) -> dict[str, Interval]:
    """Between two epochs: the exact noise scale in runs of the smallest batch, pooled in runs of the largest."""
    exact, spread, squared = [], [], []
    for row in cells.itertuples():
        table, per_epoch = evidence.table(row.cell, "diagnostics.csv"), row.n_train / row.batch_size
        own = table[(table["update"] > start * per_epoch) & (table["update"] <= end * per_epoch)]
        if row.batch_size == cells["batch_size"].min():
            columns = own[["update", "variance", "squared_norm"]].to_numpy(dtype=float).T
            exact.append(average_noise_scale(columns[0] - start * per_epoch, *columns[1:]))
        if row.batch_size == cells["batch_size"].max():
            spread.append(own["batch_variance"].mean())
            squared.append(own["batch_squared_norm"].mean())
    return {
        "exact": geometric_mean_ratio(np.log(exact)),
        "pooled": pooled(evidence, np.array(spread), np.array(squared)),
    }


def pooled(evidence: Evidence, spread: Array, squared: Array) -> Interval:
    """Mean of S over mean of ‖G‖², both estimated from batches (runs,); +inf where the latter is not positive."""
    draws = np.vstack([np.arange(len(spread)), evidence.rng.integers(len(spread), size=(RESAMPLES, len(spread)))])
    above, below = np.nanmean(spread[draws], axis=1), np.nanmean(squared[draws], axis=1)
    ratios = np.where(below > 0, above / np.where(below > 0, below, 1), np.inf)
    return percentile_interval(float(ratios[0]), ratios[1:])


def over(a: Interval, b: Interval) -> Interval:
    """a/b of independent estimates: their errors in log add up in squares."""
    with np.errstate(invalid="ignore", divide="ignore"):
        x, y = (np.log([value.estimate, value.low, value.high]) for value in (a, b))
        low, high = np.hypot(x[0] - x[1], y[2] - y[0]), np.hypot(x[2] - x[0], y[0] - y[1])
        return Interval(*(float(np.exp(value)) for value in (x[0] - y[0], x[0] - y[0] - low, x[0] - y[0] + high)))


def against_noise(
    evidence: Evidence, curves: Mapping[str, dict[int, Curve]], looked_at: Mapping[str, "pd.DataFrame"]
) -> Finding:
    noise = {
        (name, epoch): noise_in(evidence, looked_at[name], epoch, epoch + horizon(epoch))
        for name, own in curves.items()
        if name in looked_at
        for epoch in own
    }
    ratios = {
        (*key, scale): over(critical_of(curves[key[0]][key[1]]), value)
        for key, own in noise.items()
        for scale, value in own.items()
    }
    along = {x: together(inside(found, 1 / x, x) for found in ratios.values()) for x in FACTORS}
    shown = "; ".join(
        f"{name} after {epoch} epochs: {_examples(ratios[name, epoch, 'exact'])} × the exact one, "
        f"{_examples(ratios[name, epoch, 'pooled'])} × the pooled one"
        for name, epoch in noise
    )
    said = f"B_crit where progress is {SHOWN:.0%} slower, over B_simple - {shown}. Factor: {verdicts_along(along)}."
    effects = {f"{name} after {epoch} epochs": own for (name, epoch, scale), own in ratios.items() if scale == "exact"}
    panels = [_noise_panel(name, curves[name], noise) for name in curves if name in looked_at]
    return _finding("B2", along, said, effects, "the exact noise scale", evidence.answer.n_replicas, panels)


def _noise_panel(
    name: str, curves: Mapping[int, Curve], noise: Mapping[tuple[str, int], Mapping[str, Interval]]
) -> Panel:
    x = [epoch + horizon(epoch) / 2 for epoch in curves]
    lines = [Series("B_crit by branching", x, *limits(map(critical_of, curves.values())))]
    for scale in ("exact", "pooled"):
        lines.append(Series(f"B_simple, {scale}", x, *limits(noise[name, epoch][scale] for epoch in curves)))
    return Panel(name, "epochs", "examples", lines)


@dataclass(frozen=True)
class Growing:
    """Final costs over those of the smallest batch throughout: of the batch that grows, of its last size throughout.

    saved: share of the updates that the growing batch does not make.
    """

    grown: Interval
    large: Interval
    saved: float
    n_replicas: int

    def holds(self, margin: float) -> Verdict:
        """The growing batch costs no more, up to the margin, and the large one more than that."""
        return all_hold([inside(self.grown, 0, 1 + margin), inside(self.large, 1 + margin, np.inf)])


def growing(evidence: Evidence, own: "pd.DataFrame") -> Growing:
    """The best of the rates of each arm."""
    grown, whole = own[own["n_steps"] > 1], arms_of(own)[0]
    row = grown.iloc[0]
    small = float(row["batch_size"])
    arms = whole[small], list(grown["cell"]), whole[small * row["milestone_factor"] ** len(row["steps"])]
    history = evidence.histories[arms[1][0]]
    end, updates = float(history["epoch"].max()), float(history["update"].max())
    logs = [min((log_costs(evidence.histories[cell], end) for cell in arm), key=np.median) for arm in arms]
    more, large = (geometric_mean_ratio(found - logs[0]) for found in logs[1:])
    return Growing(more, large, 1 - updates * small / (end * row["n_train"]), len(logs[0]))


def growing_batches(evidence: Evidence, trained: Mapping[str, "pd.DataFrame"]) -> Finding:
    arms = {name: growing(evidence, own) for name, own in trained.items() if own["n_steps"].max() > 1}
    if not arms:
        return Finding("B3", Verdict.UNRESOLVED, "No batch that grows in steps.")
    along = {margin: together(own.holds(margin) for own in arms.values()) for margin in WORSE}
    shown = "; ".join(
        f"{name}: {own.saved:.0%} fewer updates, {interval(own.grown)} × the cost; its last size from the start "
        f"{interval(own.large)} ×"
        for name, own in arms.items()
    )
    said = f"A batch that grows, against the smallest throughout - {shown}. Not worse by: {verdicts_along(along)}."
    places, (first, *_) = np.arange(len(arms)), arms
    lines = [
        Series("grows", places - 0.1, *limits(own.grown for own in arms.values()), kind="marks"),
        Series("largest from the start", places + 0.1, *limits(own.large for own in arms.values()), kind="marks"),
        Series("smallest", [-0.5, len(arms) - 0.5], [1, 1], kind="reference"),
    ]
    panel = Panel("Final training cost", "", "× that of the smallest batch", lines, log="y", names=list(arms))
    unit, replicas = f"× the final cost of the smallest batch ({first})", min(own.n_replicas for own in arms.values())
    return Finding("B3", together(along.values()), said, unit, arms[first].grown, replicas, [panel])
