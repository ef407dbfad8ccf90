"""Judges schedules: raising the batch size against lowering the learning rate, and what a warm-up is for."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.analysis import Evidence, Finding, Panel, Series, costs_at, limits, median_cost, quartiles
from harness.inference import Comparison, Interval, Verdict, inside, lower, median_interval, together
from harness.report import interval, number, verdicts_along

Array = NDArray[np.floating]

BASE = 8  # batch size from which all begins
BANDS = (1.03, 1.05, 1.1)  # factors within which two costs are as good as each other
LOSS = 1.1  # times the cost of the small batch, above which the linear rule has lost something
ARMS = ("constant", "lowered rate", "raised batch")


@dataclass(frozen=True)
class Setting:
    """The three arms of one dataset, optimiser and rate: their cells, and the epochs at which a period ends."""

    name: str
    cells: dict[str, pd.Series]
    ends: list[int]


def judge(evidence: Evidence) -> Iterator[Finding]:
    settings = list(_settings(evidence.cells))
    yield raised("H1", evidence, [own for own in settings if own.cells["constant"]["optimizer.name"] == "sgd"])
    yield raised("H1.adam", evidence, [own for own in settings if own.cells["constant"]["optimizer.name"] == "adam"])
    yield from warmed_up(evidence)


# H1


def _settings(cells: pd.DataFrame) -> Iterator[Setting]:
    """Those in which all three arms were trained."""
    for (dataset, rule, rate, epochs), own in cells.groupby(
        ["dataset", "optimizer.name", "learning_rate", "epochs"], sort=False
    ):
        arms = {_arm(cell): cell for _, cell in own[own["batch_size"] <= BASE].iterrows()}
        if set(ARMS) <= arms.keys():
            milestones = [int(epoch) for epoch in str(arms[ARMS[1]]["milestones"]).strip("[]").split(",")]
            ends = [*milestones[1:], int(epochs)]
            yield Setting(f"{dataset}{'' if rule == 'sgd' else f' {rule}'} η={number(rate)}", arms, ends)


def _arm(cell: pd.Series) -> str:
    if cell["batch_size_schedule"] == "step":
        return "raised batch"
    return "lowered rate" if cell["learning_rate_schedule"] == "step" else "constant"


def raised(claim: str, evidence: Evidence, settings: list[Setting]) -> Finding:
    """Raised batches against lowered rates, where lowering changes anything."""
    ratios = {own.name: _ratios(evidence, own) for own in settings}
    gains = {own.name: _ratio(evidence, own, "constant", own.ends[-1]) for own in settings}
    telling = [name for name, gain in gains.items() if inside(gain, 1 / BANDS[-1], BANDS[-1]) == Verdict.REFUTED]
    along = {band: together(_within(ratios[name], band) for name in telling) for band in BANDS} if telling else {}
    widest = max((found for name in telling for found in ratios[name]), key=_off, default=None)
    saved = "; ".join(f"{own.name} {_updates(evidence, own)}" for own in settings if own.name in telling)
    alike = [name for name in gains if name not in telling]
    return Finding(
        claim,
        together(along.values()) if along else Verdict.UNRESOLVED,
        (f"Cost with the batch raised over that with the rate lowered, farthest from 1: {interval(widest)}. "
         f"Verdicts along the band: {verdicts_along(along)}. Updates: {saved}." if widest else "")
        + (f" Lowering the rate changes too little to tell anything on {', '.join(alike)}." if alike else ""),
        unit="× the cost with the rate lowered (the setting that is farthest off)" if widest else "",
        effect=widest,
        replicas=evidence.answer.n_replicas,
        panels=[*_curves(evidence, settings[-1]), _all_ratios(ratios, gains)] if settings else [],
    )  # fmt: skip


def _ratios(evidence: Evidence, setting: Setting) -> list[Interval]:
    return [_ratio(evidence, setting, "raised batch", epoch) for epoch in setting.ends]


def _ratio(evidence: Evidence, setting: Setting, arm: str, epoch: int) -> Interval:
    """Cost of the arm over that with the rate lowered, at the end of an epoch."""
    costs = [_costs(evidence, setting.cells[name], epoch) for name in (arm, "lowered rate")]
    return _median_ratio(*costs)


def _costs(evidence: Evidence, cell: pd.Series, epoch: int) -> Array:
    return np.asarray(costs_at(evidence.histories[cell["cell"]], "epoch", epoch), dtype=float)


def _median_ratio(one: Array, other: Array) -> Interval:
    """Of replicas, with the 95 % limits; a replica that is lost in either arm counts against the first."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return median_interval(np.where(np.isfinite(one) & np.isfinite(other), one / other, np.inf))


def _within(ratios: list[Interval], band: float) -> Verdict:
    return together(inside(ratio, 1 / band, band) for ratio in ratios)


def _off(ratio: Interval) -> float:
    return float(np.abs(np.log([ratio.low, ratio.high])).max())


def _updates(evidence: Evidence, setting: Setting) -> str:
    lowered, raised_ = (
        int(evidence.histories[setting.cells[arm]["cell"]]["update"].max()) for arm in ("lowered rate", "raised batch")
    )
    return f"{raised_} in place of {lowered}"


def _curves(evidence: Evidence, setting: Setting) -> Iterator[Panel]:
    """Cost over epochs, and over updates."""
    histories = {arm: evidence.histories[setting.cells[arm]["cell"]] for arm in ARMS}
    lines = [median_cost(history, arm) for arm, history in histories.items()]
    yield Panel(setting.name, "epoch", "training cost per example", lines, log="y")
    over_updates = [
        Series(line.label, history.groupby("epoch")["update"].first().reindex(np.asarray(line.x)), line.y)
        for line, history in zip(lines, histories.values(), strict=True)
    ]
    yield Panel(setting.name, "updates", "training cost per example", over_updates, log="y")


def _all_ratios(ratios: dict[str, list[Interval]], gains: dict[str, Interval]) -> Panel:
    marks = {"raised batch": [own[-1] for own in ratios.values()], "constant": list(gains.values())}
    return _beside("Final cost over that with the rate lowered", list(ratios), marks, (1 / BANDS[1], BANDS[1]))


def _beside(title: str, names: list[str], marks: dict[str, list[Interval]], edges: tuple[float, ...]) -> Panel:
    """A place for each name, a mark with its interval for each series, and dashed lines at the edges of a band."""
    places, lines = np.arange(len(names)), []
    for i, (label, found) in enumerate(marks.items()):
        lines.append(Series(label, places + 0.15 * (i - (len(marks) - 1) / 2), *limits(found), kind="marks"))
    lines += [Series("", [-0.5, len(names) - 0.5], [edge, edge], kind="reference") for edge in edges]
    return Panel(title, "", "ratio of costs", lines, log="y", names=names)


# H2


@dataclass(frozen=True)
class Large:
    """A large batch at the rate of the linear rule: costs (R,) without and with a warm-up, and of the base."""

    dataset: str
    k: int
    without: Array
    warmed: Array
    base: Array


def warmed_up(evidence: Evidence) -> Iterator[Finding]:
    found = list(_large(evidence))
    if not found:
        yield from (Finding(claim, Verdict.UNRESOLVED, "No cell with a warm-up.") for claim in ("H2", "H2.cost"))
        return
    comparisons = evidence.compare({(own.dataset, own.k): (own.warmed, own.without) for own in found})
    kept = {(own.dataset, own.k): _median_ratio(own.warmed, own.base) for own in found}
    lost = {(own.dataset, own.k): int(np.isinf(own.without).sum()) for own in found}
    each = "; ".join(
        f"{name} k={k}: {_gain(comparison)}, without it {lost[name, k]} of {len(found[0].base)} diverged"
        for (name, k), comparison in comparisons.items()
    )
    yield Finding(
        "H2",
        together(lower(comparison) for comparison in comparisons.values()),
        f"Final cost at the linear rule's rate, with a warm-up over without: {each}.",
        unit=f"× the final cost without a warm-up ({found[0].dataset}, k={found[0].k})",
        effect=comparisons[found[0].dataset, found[0].k].ratio,
        replicas=evidence.answer.n_replicas,
        panels=[_over_k(own, found) for own in dict.fromkeys(one.dataset for one in found)],
    )
    names, title = [f"{name} k={k}" for name, k in kept], f"Final cost over that at B={BASE}"
    yield Finding(
        "H2.cost",
        together(inside(ratio, 0, LOSS) for ratio in kept.values()),
        "Final cost with a warm-up over that of the small batch: "
        + "; ".join(f"{name} {interval(ratio)}" for name, ratio in zip(names, kept.values(), strict=True)) + ".",
        unit=f"× the final cost at B={BASE} ({found[0].dataset}, k={found[0].k})",
        effect=kept[found[0].dataset, found[0].k],
        replicas=evidence.answer.n_replicas,
        panels=[_beside(title, names, {"with a warm-up": list(kept.values())}, (LOSS,))],
    )  # fmt: skip


def _large(evidence: Evidence) -> Iterator[Large]:
    """Each dataset and k with and without a warm-up, beside the base with as many epochs."""
    cells = evidence.cells
    plain = (cells["learning_rate_schedule"] == "constant") & (cells["batch_size_schedule"] == "constant")
    cells, costs = cells[plain & (cells["optimizer.name"] == "sgd")], evidence.final_costs
    for (dataset, _), own in cells.groupby(["dataset", "epochs"], sort=False):
        warm = own[own["warm_up_epochs"] > 0].sort_values("batch_size")
        cold = own[own["warm_up_epochs"] == 0].set_index("batch_size")["cell"]
        for row in warm.itertuples():
            base = cold.index.min()
            arms = costs[cold[row.batch_size]], costs[row.cell], costs[cold[base]]
            yield Large(str(dataset), round(row.batch_size / base), *arms)


def _gain(comparison: Comparison) -> str:
    """The ratio, or how few replicas diverged in neither arm."""
    known = np.isfinite([comparison.ratio.low, comparison.ratio.high]).all()
    return interval(comparison.ratio) if known else f"{comparison.finite} replicas diverged in neither"


def _over_k(dataset: str, found: list[Large]) -> Panel:
    own = [one for one in found if one.dataset == dataset]
    base, k = own[0].base, [1, *(one.k for one in own)]
    lines = [
        Series("without", k, *quartiles([base, *(one.without for one in own)])),
        Series("with a warm-up", k[1:], *quartiles([one.warmed for one in own])),
    ]
    return Panel(dataset, "k, times batch size and rate of B=8", "training cost per example", lines)
