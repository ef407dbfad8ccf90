"""Judges schedules: raising the batch size against lowering the learning rate, and what a warm-up is for."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.analysis import Evidence, Finding, Panel, Series, costs_at, limits, median_cost, quartiles
from harness.inference import Interval, Verdict, all_hold, exactly, inside, lower, paired_ratio, together
from harness.report import interval, number, verdicts_along

Array = NDArray[np.floating]

BASE = 8  # batch size from which all begins
BANDS = (1.03, 1.05, 1.1)  # factors within which two costs are as good as each other
LOSSES = (1.05, 1.1, 1.25, 1.5, 2)  # times the cost of the small batch, above which the linear rule fails: nobody says
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
    """Raised batches against lowered rates, where it pays to lower the rate."""
    ratios = {own.name: _ratios(evidence, own) for own in settings}
    gains = {own.name: _ratio(evidence, own, "constant", own.ends[-1]) for own in settings}
    telling = [own for own in settings if inside(gains[own.name], BANDS[-1], np.inf) is Verdict.SUPPORTED]
    along = {band: together(_within(ratios[own.name], band) for own in telling) for band in BANDS} if telling else {}
    updates = {own.name: _updates(evidence, own) for own in telling}
    fewer = exactly(sum(raised_ >= lowered for raised_, lowered in updates.values()), 0)
    widest = max((found for own in telling for found in ratios[own.name]), key=_off, default=None)
    told = {
        name: f"{name} {_words(max(ratios[name], key=_off))}, with a constant rate {_words(gain)}"
        for name, gain in gains.items()
    }
    pays = "; ".join(f"{told[name]}, {a} in place of {b} updates" for name, (a, b) in updates.items())
    others = "; ".join(text for name, text in told.items() if name not in updates)
    return Finding(
        claim,
        all_hold([together(along.values()), fewer]) if telling else Verdict.UNRESOLVED,
        "Cost with the batch raised over that with the rate lowered, farthest from 1, where it pays to lower the rate: "
        f"{pays or 'nowhere'}."
        + (f" Along the band: {verdicts_along(along)}." if along else "")
        + (f" Not judged, as it does not pay there: {others}." if others else ""),
        unit="× the cost with the rate lowered (the setting that is farthest off)" if widest else "",
        effect=widest,
        replicas=evidence.answer.n_replicas,
        panels=[*_curves(evidence, (telling or settings)[-1]), _all_ratios(ratios, gains)] if settings else [],
    )


def _ratios(evidence: Evidence, setting: Setting) -> list[Interval]:
    return [_ratio(evidence, setting, "raised batch", epoch) for epoch in setting.ends]


def _ratio(evidence: Evidence, setting: Setting, arm: str, epoch: int) -> Interval:
    """Cost of the arm over that with the rate lowered, at the end of an epoch."""
    costs = [_costs(evidence, setting.cells[name], epoch) for name in (arm, "lowered rate")]
    return paired_ratio(*costs)


def _costs(evidence: Evidence, cell: pd.Series, epoch: int) -> Array:
    return np.asarray(costs_at(evidence.histories[cell["cell"]], "epoch", epoch), dtype=float)


def _within(ratios: list[Interval], band: float) -> Verdict:
    return all_hold(inside(ratio, 1 / band, band) for ratio in ratios)


def _off(ratio: Interval) -> float:
    with np.errstate(divide="ignore"):
        return float(np.abs(np.log([ratio.low, ratio.high])).max())


def _words(ratio: Interval) -> str:
    return "(lost in both)" if np.isnan(ratio.estimate) else interval(ratio)


def _updates(evidence: Evidence, setting: Setting) -> tuple[int, int]:
    """With the batch raised, and with the rate lowered."""
    cells = (setting.cells[arm]["cell"] for arm in ("raised batch", "lowered rate"))
    raised_, lowered = (int(evidence.histories[cell]["update"].max()) for cell in cells)
    return raised_, lowered


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

    @property
    def name(self) -> str:
        return f"{self.dataset} k={self.k}"


def warmed_up(evidence: Evidence) -> Iterator[Finding]:
    found = list(_large(evidence))
    if not found:
        yield from (Finding(claim, Verdict.UNRESOLVED, "No cell with a warm-up.") for claim in ("H2", "H2.cost"))
        return
    compared = evidence.compare({own.name: (own.warmed, own.without) for own in found})
    price = {own.name: paired_ratio(own.without, own.base) for own in found}
    failing = {
        loss: [name for name in price if inside(price[name], loss, np.inf) is Verdict.SUPPORTED] for loss in LOSSES
    }
    along = {loss: together(lower(compared[name]) for name in names) for loss, names in failing.items() if names}
    fine = [name for name in price if name not in failing[LOSSES[0]]]
    shown = {own.name: paired_ratio(own.warmed, own.without) for own in found if own.name not in fine}
    effect = next(((name, ratio) for name, ratio in shown.items() if _known(ratio)), None)
    yield Finding(
        "H2",
        together(along.values()),
        "Final cost at the linear rule's rate, with a warm-up over without: "
        f"{'; '.join(_gain(own, shown[own.name]) for own in found if own.name in shown) or 'it fails nowhere'}."
        + (f" By how many times the small batch's cost is a failure: {verdicts_along(along)}." if along else "")
        + (f" Not judged, as it does not surely fail there without one: {', '.join(fine)}." if fine else ""),
        unit=f"× the final cost without a warm-up ({effect[0]})" if effect else "",
        effect=effect[1] if effect else None,
        replicas=evidence.answer.n_replicas,
        panels=[_over_k(own, found) for own in dict.fromkeys(one.dataset for one in found)],
    )
    kept = {own.name: paired_ratio(own.warmed, own.base) for own in found}
    costs = {loss: together(inside(ratio, 0, loss) for ratio in kept.values()) for loss in LOSSES}
    title, (first, ratio) = f"Final cost over that at B={BASE}", next(iter(kept.items()))
    yield Finding(
        "H2.cost",
        together(costs.values()),
        "Final cost with a warm-up over that of the small batch: "
        + "; ".join(f"{name} {interval(ratio)}" for name, ratio in kept.items())
        + f". The claim, by the ratio that is a loss: {verdicts_along(costs)}.",
        unit=f"× the final cost at B={BASE} ({first})",
        effect=ratio,
        replicas=evidence.answer.n_replicas,
        panels=[_beside(title, list(kept), {"with a warm-up": list(kept.values())}, (LOSSES[0], LOSSES[-1]))],
    )


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


def _gain(own: Large, ratio: Interval) -> str:
    """The ratio, if it is finite, and how many diverged."""
    warmed, without = (int(np.isinf(costs).sum()) for costs in (own.warmed, own.without))
    lost = f"{warmed} diverged, without one {without}, of {len(own.base)}" if warmed or without else ""
    return f"{own.name} {', '.join(part for part in (interval(ratio) if _known(ratio) else '', lost) if part)}"


def _known(ratio: Interval) -> bool:
    return ratio.low > 0 and ratio.high < np.inf


def _over_k(dataset: str, found: list[Large]) -> Panel:
    own = [one for one in found if one.dataset == dataset]
    base, k = own[0].base, [1, *(one.k for one in own)]
    lines = [
        Series("without", k, *quartiles([base, *(one.without for one in own)])),
        Series("with a warm-up", k[1:], *quartiles([one.warmed for one in own])),
    ]
    return Panel(dataset, "k, times batch size and rate of B=8", "training cost per example", lines)
