"""Judges training_curves: scikit-learn's strategies of training and a blog's three methods, over many seeds."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.analysis import CLOCK_COLUMNS, Evidence, Finding, Panel, Series, at_the_edge, costs_at, quartiles, spent
from harness.inference import (
    Comparison,
    Interval,
    Verdict,
    all_hold,
    fewest_pairs,
    inside,
    lower,
    opposite,
    proportion,
    split_replicas,
    together,
)
from harness.report import number, verdicts_along
from harness.training import curve

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.floating]
Costs = Mapping[str, Array]  # strategy -> final costs (R,)

PRINTED = {"constant": 0.2, "momentum": 0.2, "nesterov": 0.2, "inverse scaling": 0.2, "adam": 0.01}  # rates
HOWS = ("printed", "tuned")
ENOUGH = (0.5, 0.65, 0.8)  # shares of single runs that have to show the usual winner; 20 of 20 runs are above 0.83
ONE_RATE = 0.1  # of the blog's three methods
LABELS = {"printed": "at one rate", "tuned": "tuned"}
BUDGETS = (0.25, 0.5, 1.0)  # shares of what the three methods have all spent


def judge(evidence: Evidence) -> Iterator[Finding]:
    blog = evidence.cells["model.activation"] == "sigmoid"
    yield from strategies(evidence, evidence.cells[~blog])
    yield three_methods(evidence, evidence.cells[blog])


# T1 to T4


def strategies(evidence: Evidence, cells: "pd.DataFrame") -> Iterator[Finding]:
    cells = cells.assign(strategy=[_strategy(row) for _, row in cells.iterrows()])
    printed = {name: _printed(own) for name, own in cells.groupby("dataset", sort=False)}
    best = _best(evidence, cells)
    tuned = {
        name: dict(zip(own["strategy"], own["cell"], strict=True)) for name, own in best.groupby("dataset", sort=False)
    }
    costs = {
        "printed": {
            name: {key: evidence.final_costs[cell] for key, cell in own.items()} for name, own in printed.items()
        },
        "tuned": {name: {key: _reporting(evidence, cell) for key, cell in own.items()} for name, own in tuned.items()},
    }
    curves, rates = [_curves(evidence, name, own) for name, own in printed.items()], _rates(evidence, cells)
    n, edges = int(evidence.answer.n_replicas), {name: at_the_edge(own) for name, own in best.groupby("strategy")}

    def finding(claim: str, pairs: Mapping[str, str], panels: list[Panel], negated: bool = False) -> Finding:
        """Whether the first strategy of each pair is lower than the second; negated: whether it is not."""
        found = {how: evidence.compare(_arms(own, pairs)) for how, own in costs.items()}
        at = "".join(edges.get(name, "") for name in dict.fromkeys([*pairs, *pairs.values()]))
        verdicts = {
            how: together(opposite(lower(one)) if negated else lower(one) for one in own.values())
            for how, own in found.items()
        }
        verdicts |= {"tuned": Verdict.UNRESOLVED} if at else {}
        words = "; ".join(f"{how} ({verdicts[how]}): {_ratios(own, pairs)}" for how, own in found.items())
        shown = next(iter(found["printed"].values())).ratio
        return Finding(
            claim,
            together(verdicts.values()),
            f"Final training costs - {words}.{at}",
            unit=f"× the cost of {next(iter(pairs.values()))} ({next(iter(costs['printed']))}, as printed)",
            effect=shown if np.isfinite(shown.estimate) else None,
            replicas=n,
            panels=panels,
        )

    yield finding("T1", {"momentum": "constant", "nesterov": "constant"}, curves)
    yield finding("T2", {"momentum": "adam"}, rates, negated=True)
    yield finding("T3", {"constant": "inverse scaling"}, rates)
    yield one_run(costs["printed"], curves)


def _strategy(cell: "pd.Series") -> str:
    if cell["learning_rate_schedule"] == "inverse":
        return "inverse scaling"
    return {"sgd": "constant"}.get(cell["optimizer.name"], str(cell["optimizer.name"]))


def _printed(cells: "pd.DataFrame") -> dict[str, str]:
    """Strategy -> its cell at the rate of the example."""
    found = {}
    for strategy, rate in PRINTED.items():
        own = cells[(cells["strategy"] == strategy) & np.isclose(cells["learning_rate"], rate)]
        found[strategy] = str(own["cell"].iloc[0])
    return found


def _best(evidence: Evidence, cells: "pd.DataFrame") -> "pd.DataFrame":
    """The rows of the answer's best rates, with data set and strategy."""
    return evidence.answer.best.merge(cells[["cell", "dataset", "strategy"]], on="cell")


def _reporting(evidence: Evidence, cell: str) -> Array:
    costs = evidence.final_costs[cell]
    return costs[split_replicas(len(costs), fewest_pairs(1)).report]


def _arms(costs: Mapping[str, Costs], pairs: Mapping[str, str]) -> dict[tuple[str, str], tuple[Array, Array]]:
    return {(name, a): (own[a], own[b]) for name, own in costs.items() for a, b in pairs.items()}


def _ratios(found: Mapping[tuple[str, str], Comparison], pairs: Mapping[str, str]) -> str:
    """momentum 0.1 / 0.2 / 0.3 / 0.4 × constant on circles / digits / iris / moons."""
    parts = []
    for a, b in pairs.items():
        own = {name: one.ratio.estimate for (name, key), one in found.items() if key == a}
        values = " / ".join(number(own[name]) if np.isfinite(own[name]) else "(all lost)" for name in sorted(own))
        parts.append(f"{a} {values} × {b} on {' / '.join(sorted(own))}")
    return ", ".join(parts)


def one_run(costs: Mapping[str, Costs], panels: list[Panel]) -> Finding:
    """T4: in how many replicas the strategy is lowest that is so most often."""
    winners = {name: _winners(own) for name, own in costs.items()}
    shares: dict[str, Interval] = {}
    for name, own in winners.items():
        shares[name] = proportion(own.most_common(1)[0][1], own.total())
    along = {limit: together(inside(share, limit, 1) for share in shares.values()) for limit in ENOUGH}
    words = "; ".join(
        f"{name}: {', '.join(f'{strategy} in {count}' for strategy, count in own.most_common())} of {own.total()}"
        for name, own in winners.items()
    )
    first = next(iter(shares))
    return Finding(
        "T4",
        together(along.values()),
        f"The lowest final training cost has, on {words}. That one run is enough, along the share of runs that must "
        f"show the usual winner: {verdicts_along(along)}.",
        unit=f"of the runs show the usual winner ({first})",
        effect=shares[first],
        replicas=winners[first].total(),
        panels=panels,
    )


def _winners(costs: Costs) -> Counter[str]:
    """Strategy -> in how many replicas it has the lowest cost."""
    names, table = list(costs), np.stack(list(costs.values()))
    return Counter(names[i] for i in table.argmin(axis=0))


def _curves(evidence: Evidence, name: str, cells: Mapping[str, str]) -> Panel:
    lines = []
    for strategy, cell in cells.items():
        own = curve(evidence.histories[cell], "train_cost")
        lines.append(Series(strategy, own["epoch"], own["median"], own["q25"], own["q75"]))
    return Panel(f"{name}, printed rates", "epoch", "cost per example", lines, log="y")


def _rates(evidence: Evidence, cells: "pd.DataFrame") -> list[Panel]:
    panels = []
    for name, at in cells.groupby("dataset", sort=False):
        lines = []
        for strategy, own in at.sort_values("learning_rate").groupby("strategy"):
            costs = [evidence.final_costs[cell] for cell in own["cell"]]
            lines.append(Series(str(strategy), own["learning_rate"], *quartiles(costs)))
        panels.append(Panel(f"{name}, at the end", "learning rate", "cost per example", lines))
    return panels


# T5


def three_methods(evidence: Evidence, cells: "pd.DataFrame") -> Finding:
    """The order of B=1, 64 and N by epochs, against that by updates and by seconds."""
    N = float(cells["n_train"].iloc[0])
    at_one = cells[np.isclose(cells["learning_rate"], ONE_RATE)]
    best = evidence.answer.best[evidence.answer.best["cell"].isin(cells["cell"])]
    arms = {
        how: dict(zip(own["batch_size"].astype(float), own["cell"], strict=True))
        for how, own in (("printed", at_one), ("tuned", best))
    }
    edges = at_the_edge(best)
    along, told = {}, {}
    for share in BUDGETS:
        found = {how: _orders(evidence, own, N, share, how == "tuned") for how, own in arms.items()}
        told[share] = {how: {clock: _order(own, clock) for clock in CLOCK_COLUMNS} for how, own in found.items()}
        verdicts = {how: all_hold(kept(own)) for how, own in found.items()}
        along[share] = all_hold([verdicts["printed"], Verdict.UNRESOLVED if edges else verdicts["tuned"]])
    words = "; ".join(
        f"{LABELS[how]}: {', '.join(f'{text} after equal {clock}' for clock, text in own.items())}"
        for how, own in told[BUDGETS[-1]].items()
    )
    return Finding(
        "T5",
        together(along.values()),
        f"Training costs after the budget that the three have in common (= within 5 %, ? not told apart) - {words}. "
        f"That the order by epochs is that of every clock, along the share of the budget: {verdicts_along(along)}."
        f"{edges}",
        replicas=len(evidence.final_costs[arms["printed"][64.0]]),
        panels=[_clock(evidence, arms[how], N, clock, how) for how in HOWS for clock in CLOCK_COLUMNS],
    )


def _orders(
    evidence: Evidence, arms: Mapping[float, str], N: float, share: float, halved: bool
) -> dict[tuple[str, str], Comparison]:
    """(clock, "1, 64" or "64, N") -> the comparison of the two costs after an equal share of the common budget."""
    costs: dict[tuple[str, float], Array] = {}
    for clock, column in CLOCK_COLUMNS.items():
        budget = share * min(spent(evidence.histories[cell], column) for cell in arms.values())
        for B, cell in arms.items():
            own = costs_at(evidence.histories[cell], column, budget)
            own = own[split_replicas(len(own), fewest_pairs(1)).report] if halved else own
            costs[clock, B] = own[: evidence.data.n_blocks] if column == "train_seconds" else own
    pairs = {"B=1, B=64": (1.0, 64.0), "B=64, B=N": (64.0, N)}
    return evidence.compare(
        {(clock, text): (costs[clock, a], costs[clock, b]) for clock in CLOCK_COLUMNS for text, (a, b) in pairs.items()}
    )


def kept(found: Mapping[tuple[str, str], Comparison]) -> Iterator[Verdict]:
    """Whether each order by epochs is that of another clock; where epochs decide nothing, nothing is said."""
    for (clock, pair), comparison in found.items():
        if clock != "epochs":
            by_epochs = found["epochs", pair].verdict
            known = by_epochs in ("a lower", "b lower") and comparison.verdict != "unresolved"
            same = Verdict.SUPPORTED if comparison.verdict == by_epochs else Verdict.REFUTED
            yield same if known else Verdict.UNRESOLVED


def _order(found: Mapping[tuple[str, str], Comparison], clock: str) -> str:
    """B=1 < B=64 < B=N, with = for equivalent, > and ? for unresolved."""
    signs = {"a lower": "<", "b lower": ">", "equivalent": "=", "unresolved": "?"}
    first, second = (signs[found[clock, pair].verdict] for pair in ("B=1, B=64", "B=64, B=N"))
    return f"B=1 {first} B=64 {second} B=N"


def _clock(evidence: Evidence, arms: Mapping[float, str], N: float, clock: str, how: str) -> Panel:
    lines = []
    for B, cell in sorted(arms.items()):
        own = curve(evidence.histories[cell], "train_cost")
        x = own[CLOCK_COLUMNS[clock]]
        lines.append(Series("B=N" if N == B else f"B={B:g}", x.where(x > 0), own["median"], own["q25"], own["q75"]))
    return Panel(f"{LABELS[how].capitalize()}, over {clock}", clock, "cost per example", lines)
