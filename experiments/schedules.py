"""Judges schedules: raising the batch size against lowering the learning rate, and what a warm-up is for."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.analysis import Evidence, Finding, Panel, Series, costs_at, limits, median_cost, quartiles
from harness.inference import Interval, Verdict, all_hold, exactly, inside, lower, paired_ratio, together
from harness.report import answers, interval, number

Array = NDArray[np.floating]
Ratios = dict[str, list[Interval]]  # setting -> raised batch over lowered rate, at the end of each period

BASE = 8  # batch size from which all begins
BANDS = (1.03, 1.05, 1.1)  # factors within which two costs are as good as each other
LOSSES = (1.05, 1.1, 1.25, 1.5, 2)  # times the cost of the small batch, above which the linear rule fails: nobody says
ARMS = ("constant", "lowered rate", "raised batch")


@dataclass(frozen=True, eq=False)
class Setting:
    """The three arms of one dataset, optimiser and rate: their cells, and the epochs at which a period ends."""

    name: str
    cells: dict[str, pd.Series]
    ends: list[int]

    @property
    def dataset(self) -> str:
        return str(self.cells["constant"]["dataset"])


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
    verdict = all_hold([together(along.values()), fewer]) if telling else Verdict.UNRESOLVED
    others = [own.name for own in settings if own not in telling]
    share = max((raised_ / lowered for raised_, lowered in updates.values()), default=np.nan)
    seen = f"{answers.spread(ratio for own in telling for ratio in ratios[own.name])}, with "
    seen += f"{answers.percent(share)} of the updates or less"
    return Finding(
        claim,
        verdict,
        "Cost with the batch raised over that with the rate lowered, by setting and period, where it pays to lower "
        f"the rate: {seen if telling else 'nowhere'}."
        + (f" Not judged, as it does not pay there: {', '.join(others)}." if others else ""),
        unit="× the cost with the rate lowered (the setting that is farthest off)" if widest else "",
        effect=widest,
        replicas=evidence.answer.n_replicas,
        panels=[*_curves(evidence, (telling or settings)[-1]), _all_ratios(ratios, gains)] if settings else [],
        rows=list(_rows(evidence, settings, telling, ratios, gains)) if settings else (),
        along={"the band (ratio)": along} if along else {},
        plain="" if verdict in answers.DECIDED or not telling else _in_bands(telling, ratios),
    )


def _rows(
    evidence: Evidence, settings: list[Setting], telling: list[Setting], ratios: Ratios, gains: Mapping[str, Interval]
) -> Iterator[tuple[str, ...]]:
    head = "setting", "× the rate lowered, by period", "a constant rate × the rate lowered", "updates (rate lowered)"
    yield *head, *(f"within {band:g}" for band in BANDS)
    for own in settings:
        raised_, lowered = _updates(evidence, own)
        verdicts = (_within(ratios[own.name], band) if own in telling else "" for band in BANDS)
        by_period = "; ".join(map(_words, ratios[own.name]))
        yield own.name, by_period, _words(gains[own.name]), f"{raised_} ({lowered})", *verdicts


def _in_bands(telling: list[Setting], ratios: Ratios) -> str:
    """Within which bands both end at the same cost, and on which data."""
    names = {f"{band}": f"within {answers.percent(band - 1)}" for band in BANDS}
    data = dict.fromkeys(own.dataset for own in telling)
    parts = {
        (f"{band}", name): together(_within(ratios[own.name], band) for own in telling if own.dataset == name)
        for band in BANDS
        for name in data
    }
    found = {name: [one for own in telling if own.dataset == name for one in ratios[own.name]] for name in data}
    lower_at = {
        (band, name)
        for (band, name), verdict in parts.items()
        if verdict is Verdict.REFUTED and _only_lower(found[name], float(band))
    }
    told = {
        (band, f"{name}{' (lower there)' * ((band, name) in lower_at)}"): own for (band, name), own in parts.items()
    }
    words = answers.differing(told, names)
    return f"{words[0].upper()}{words[1:]}."


def _only_lower(ratios: list[Interval], band: float) -> bool:
    """Whether a ratio lies wholly below the band, and none wholly above."""
    return min(one.high for one in ratios) < 1 / band and max(one.low for one in ratios) <= band


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


def _all_ratios(ratios: Ratios, gains: dict[str, Interval]) -> Panel:
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

    @property
    def key(self) -> tuple[str, float]:
        return self.dataset, float(BASE * self.k)

    @property
    def size(self) -> str:
        return f"{BASE * self.k} ({self.k})"

    @property
    def lost(self) -> tuple[int, int]:
        """Replicas that diverged, with a warm-up and without."""
        return int(np.isinf(self.warmed).sum()), int(np.isinf(self.without).sum())


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
    judged = [own for own in found if own.name not in fine]
    shown = {own.name: paired_ratio(own.warmed, own.without) for own in found}
    effect = next(((own.name, shown[own.name]) for own in judged if _known(shown[own.name])), None)
    warm, cold = (sum(own.lost[i] for own in judged) for i in (0, 1))
    ends = {own.name: lower(compared[own.name]) for own in judged}
    verdict = together(along.values())
    yield Finding(
        "H2",
        verdict,
        f"Of {len(found)} settings (data, k) the linear rule fails in {len(judged)} without a warm-up. With one it "
        f"ends lower in {list(ends.values()).count(Verdict.SUPPORTED)} of these; {warm} of "
        f"{sum(len(own.base) for own in judged)} replicas diverge, without one {cold}." + _not_judged(fine, price),
        unit=f"× the final cost without a warm-up ({effect[0]})" if effect else "",
        effect=effect[1] if effect else None,
        replicas=evidence.answer.n_replicas,
        panels=[_over_k(own, found) for own in dict.fromkeys(one.dataset for one in found)],
        rows=list(_warm_up_rows(found, price, shown, ends)),
        along={"what is a failure (times the small batch's cost)": along} if along else {},
        plain=_helps([own for own in found if own.name in fine], shown)
        if verdict is Verdict.SUPPORTED
        else ""
        if verdict is Verdict.REFUTED or not judged
        else f"Where it fails, {_at_sizes(judged, ends)}.",
    )
    yield as_low(evidence, found)


def _not_judged(fine: list[str], price: Mapping[str, Interval]) -> str:
    """The settings in which the linear rule does not fail without a warm-up, or not surely."""
    lower_ = [name for name in fine if price[name].high < 1]
    groups = {"does not fail": lower_, "does not surely fail": [name for name in fine if name not in lower_]}
    return "".join(f" Not judged, as it {w} there without one: {', '.join(own)}." for w, own in groups.items() if own)


def _helps(fine: list[Large], shown: Mapping[str, Interval]) -> str:
    """What a warm-up costs where the linear rule does not fail; empty where it surely costs nothing."""
    dear = [own for own in fine if shown[own.name].low > 1]
    costs = (
        answers.joined(
            f"{number(shown[own.name].estimate)} times on {own.dataset} at B = {own.key[1]:g}" for own in dear
        )
        if dear
        else ""
    )
    helps = "Yes: where the linear rule fails without a warm-up, it ends lower with one"
    return f"{helps}; where it does not fail, a warm-up can cost: {costs}." if dear else ""


def _at_sizes(judged: list[Large], ends: Mapping[str, Verdict]) -> str:
    return answers.by_size({own.key: ends[own.name] for own in judged})


def _warm_up_rows(
    found: list[Large], price: Mapping[str, Interval], shown: Mapping[str, Interval], ends: Mapping[str, Verdict]
) -> Iterator[tuple[str, ...]]:
    yield "data", "B (k)", "without a warm-up × small batch", "with × without one", "diverged: with, without", "verdict"
    for own in found:
        ratios = _finite(price[own.name]), _finite(shown[own.name])
        diverged = f"{own.lost[0]}, {own.lost[1]} of {len(own.base)}"
        yield own.dataset, own.size, *ratios, diverged, ends.get(own.name, "")


def as_low(evidence: Evidence, found: list[Large]) -> Finding:
    """H2.cost: with a warm-up against the small batch."""
    kept = {own.key: paired_ratio(own.warmed, own.base) for own in found}
    costs = {loss: together(inside(ratio, 0, loss) for ratio in kept.values()) for loss in LOSSES}
    verdict, names = together(costs.values()), [own.name for own in found]
    marks = {"with a warm-up": list(kept.values())}
    return Finding(
        "H2.cost",
        verdict,
        "Final cost with k times the batch and a warm-up over that of the small batch, by data and k: "
        f"{answers.spread(kept.values())}.",
        unit=f"× the final cost at B={BASE} ({names[0]})",
        effect=kept[found[0].key],
        replicas=evidence.answer.n_replicas,
        panels=[_beside(f"Final cost over that at B={BASE}", names, marks, (LOSSES[0], LOSSES[-1]))],
        rows=[
            ("data", "B (k)", "× the small batch", *(f"below {loss:g}" for loss in LOSSES)),
            *(
                (own.dataset, own.size, _words(kept[own.key]), *(inside(kept[own.key], 0, x) for x in LOSSES))
                for own in found
            ),
        ],
        along={"how many times the small batch's cost is a loss": costs},
        plain="" if verdict in answers.DECIDED else _up_to(kept),
    )


def _up_to(kept: Mapping[tuple[str, float], Interval]) -> str:
    """Where the cost is below the lowest limit, and where below the highest."""
    strict = answers.by_size({key: inside(ratio, 0, LOSSES[0]) for key, ratio in kept.items()})
    lenient = [key for key, ratio in kept.items() if inside(ratio, 0, LOSSES[-1]) is Verdict.SUPPORTED]
    shown = answers.places(lenient, kept)
    return f"Below {LOSSES[0]} times the cost {strict}; below {LOSSES[-1]} times it is shown {shown}."


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


def _finite(ratio: Interval) -> str:
    """Empty where replicas that diverged leave no limits."""
    return interval(ratio) if _known(ratio) else ""


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
