"""Judges training_curves: scikit-learn's strategies of training and a blog's three methods, over many seeds."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
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
from harness.report import answers, interval, number
from harness.training import curve

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.floating]
Costs = Mapping[str, Array]  # strategy -> final costs (R,)
Orders = dict[tuple[str, str], Comparison]  # (clock, pair of batch sizes) -> the comparison of their costs

PRINTED = {"constant": 0.2, "momentum": 0.2, "nesterov": 0.2, "inverse scaling": 0.2, "adam": 0.01}  # rates
HOWS = ("printed", "tuned")
ENOUGH = (0.5, 0.65, 0.8)  # shares of single runs that have to show the usual winner; 20 of 20 runs are above 0.83
ONE_RATE = 0.1  # of the blog's three methods
LABELS = {"printed": "at one rate", "tuned": "tuned"}
PAIRS = ("B=1, B=64", "B=64, B=N")
SIDES = {"low": "lower", "high": "higher", "both": "lower and higher"}  # of a grid -> which rates to add
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
    n = int(evidence.answer.n_replicas)
    edges = {(str(row["dataset"]), str(row["strategy"])): str(row["edge"]) for _, row in best.iterrows()}

    def finding(claim: str, pairs: Mapping[str, str], panels: list[Panel], negated: bool = False) -> Finding:
        """Whether the first strategy of each pair is lower than the second; negated: whether it is not."""
        asked = [
            Asked(
                how,
                name,
                strategy,
                one,
                opposite(lower(one)) if negated else lower(one),
                len(costs["printed"][name][strategy]),
            )
            for how, own in costs.items()
            for (name, strategy), one in evidence.compare(_arms(own, pairs)).items()
        ]
        asked = [own.at_edges(edges, pairs[own.strategy]) if own.how == "tuned" else own for own in asked]
        by_how = {how: [own for own in asked if own.how == how] for how in HOWS}
        verdicts = {how: together(one.verdict for one in own) for how, own in by_how.items()}
        verdicts |= {"tuned": Verdict.UNRESOLVED} if any(own.edge for own in asked) else {}
        verdict, shown = together(verdicts.values()), asked[0].comparison.ratio
        seen = (f"{how} rates {answers.spread(one.comparison.ratio for one in own)}" for how, own in by_how.items())
        return Finding(
            claim,
            verdict,
            f"Final training cost of {answers.joined(pairs)} over that of {next(iter(pairs.values()))}, by data set: "
            f"{'; '.join(seen)}."
            f"{answers.why_undecided((own.comparison, own.edge, own.n_replicas) for own in asked)}",
            unit=f"× the cost of {next(iter(pairs.values()))} ({next(iter(costs['printed']))}, as printed)",
            effect=shown if np.isfinite(shown.estimate) else None,
            replicas=n,
            panels=panels,
            rows=[
                ("rates", "data", "strategy", f"× the cost of {next(iter(pairs.values()))}", "verdict"),
                *map(_row, asked),
            ],
            plain="" if verdict in answers.DECIDED else (_adam(by_how) if negated else _by_data(by_how)),
        )

    yield finding("T1", {"momentum": "constant", "nesterov": "constant"}, curves)
    yield finding("T2", {"momentum": "adam"}, rates, negated=True)
    yield finding("T3", {"constant": "inverse scaling"}, rates)
    yield one_run(costs["printed"], curves)


@dataclass(frozen=True)
class Asked:
    """A strategy against another on one data set: how their rates were chosen, and what is said to the claim.

    n_replicas: that were trained; one half of them chose tuned rates. edge: what keeps it open, in words: a best rate
    on the edge of its grid.
    """

    how: str
    dataset: str
    strategy: str
    comparison: Comparison
    verdict: Verdict
    n_replicas: int
    edge: str = ""

    def at_edges(self, edges: Mapping[tuple[str, str], str], other: str) -> "Asked":
        sides = {name: edges.get((self.dataset, name), "") for name in (self.strategy, other)}
        words = [f"best {name} on the edge, add {SIDES[side]} rates" for name, side in sides.items() if side]
        return replace(self, edge="; ".join(words), verdict=Verdict.UNRESOLVED) if words else self


def _row(own: Asked) -> tuple[str, ...]:
    return own.how, own.dataset, own.strategy, _ratio(own.comparison, own.edge, own.n_replicas), own.verdict


def _by_data(by_how: Mapping[str, list[Asked]]) -> str:
    """`Printed rates: on iris yes, on digits no. Tuned rates: ...`, of all strategies together."""
    words = []
    for how, own in by_how.items():
        names = dict.fromkeys(one.dataset for one in own)
        parts = {name: together(one.verdict for one in own if one.dataset == name) for name in names}
        words.append(f"{how.capitalize()} rates: {answers.where(parts)}.")
    return " ".join(words)


def _adam(by_how: Mapping[str, list[Asked]]) -> str:
    """`Adam ends at printed rates lower on iris, higher on digits; at tuned rates ...`."""
    words = {"b lower": "lower", "equivalent": "about as low", "a lower": "higher", "unresolved": "not decided"}
    ends = []
    for how, own in by_how.items():
        of = {one.dataset: "unresolved" if one.edge else one.comparison.verdict for one in own}
        groups = {word: [name for name, verdict in of.items() if verdict == key] for key, word in words.items()}
        told = (f"{word} on {answers.joined(names)}" for word, names in groups.items() if names)
        ends.append(f"at {how} rates {', '.join(told)}")
    return f"Adam ends {'; '.join(ends)}."


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


def one_run(costs: Mapping[str, Costs], panels: list[Panel]) -> Finding:
    """T4: in how many replicas the strategy is lowest that is so most often."""
    winners = {name: _winners(own) for name, own in costs.items()}
    shares = {name: proportion(own.most_common(1)[0][1], own.total()) for name, own in winners.items()}
    along = {limit: together(inside(share, limit, 1) for share in shares.values()) for limit in ENOUGH}
    verdict, first = together(along.values()), next(iter(shares))
    parts = {name: together(inside(share, limit, 1) for limit in ENOUGH) for name, share in shares.items()}
    return Finding(
        "T4",
        verdict,
        "Share of single runs in which the strategy that has the lowest final training cost most often has it: "
        f"{answers.spread(shares.values())}, by data set.",
        unit=f"of the runs show the usual winner ({first})",
        effect=shares[first],
        replicas=winners[first].total(),
        panels=panels,
        rows=[
            ("data", "usual winner", "share of the runs", "runs", "other winners", "verdict"),
            *(_winner(name, own, shares[name], parts[name]) for name, own in winners.items()),
        ],
        along={"the share of runs that have to show it": along},
        plain="" if verdict in answers.DECIDED else f"At the printed rates {answers.where(parts)}.",
    )


def _winner(name: str, own: Counter[str], share: Interval, verdict: Verdict) -> tuple[str, ...]:
    (usual, _), *others = own.most_common()
    return name, usual, interval(share), str(own.total()), ", ".join(f"{key} {n}" for key, n in others), verdict


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
    found = {
        (how, share): _orders(evidence, own, N, share, how == "tuned") for share in BUDGETS for how, own in arms.items()
    }
    verdicts = {
        key: Verdict.UNRESOLVED if edges and key[0] == "tuned" else all_hold(kept(own)) for key, own in found.items()
    }
    along = {share: all_hold(verdicts[how, share] for how in HOWS) for share in BUDGETS}
    verdict, n = together(along.values()), len(evidence.final_costs[arms["printed"][64.0]])
    return Finding(
        "T5",
        verdict,
        "Training costs of B=1, 64 and N after equal epochs, updates and train seconds. After all that they have in "
        f"common, the order by epochs is {_order(found['printed', 1.0], 'epochs')} at one rate and "
        f"{_order(found['tuned', 1.0], 'epochs')} tuned (= is within 5 %, ? not told apart)."
        + (" A best rate lies on the edge of its grid." if edges else ""),
        replicas=n,
        panels=[_clock(evidence, arms[how], N, clock, how) for how in HOWS for clock in CLOCK_COLUMNS],
        rows=[
            ("rates", "budget", "costs of", *(f"by {clock}" for clock in CLOCK_COLUMNS), "same order"),
            *(row for key, own in found.items() for row in _by_clock(*key, own, edges, n)),
        ],
        along={"the share of the budget": along},
        plain="" if verdict is Verdict.SUPPORTED else _agreement(verdict, [found[how, 1.0] for how in HOWS], edges),
    )


def _orders(evidence: Evidence, arms: Mapping[float, str], N: float, share: float, halved: bool) -> Orders:
    """The comparisons of the costs after an equal share of the budget that all have in common."""
    costs: dict[tuple[str, float], Array] = {}
    for clock, column in CLOCK_COLUMNS.items():
        budget = share * min(spent(evidence.histories[cell], column) for cell in arms.values())
        for B, cell in arms.items():
            own = costs_at(evidence.histories[cell], column, budget)
            own = own[split_replicas(len(own), fewest_pairs(1)).report] if halved else own
            costs[clock, B] = own[: evidence.data.n_blocks] if column == "train_seconds" else own
    pairs = dict(zip(PAIRS, ((1.0, 64.0), (64.0, N)), strict=True))
    return evidence.compare(
        {(clock, text): (costs[clock, a], costs[clock, b]) for clock in CLOCK_COLUMNS for text, (a, b) in pairs.items()}
    )


def kept(found: Orders, clock: str = "") -> Iterator[Verdict]:
    """Whether each order by epochs is that of another clock, or of this one; where epochs decide nothing, no."""
    for (other, pair), comparison in found.items():
        if other == clock or (not clock and other != "epochs"):
            by_epochs = found["epochs", pair].verdict
            known = by_epochs in ("a lower", "b lower") and comparison.verdict != "unresolved"
            same = Verdict.SUPPORTED if comparison.verdict == by_epochs else Verdict.REFUTED
            yield same if known else Verdict.UNRESOLVED


def _agreement(verdict: Verdict, found: Sequence[Orders], edges: str) -> str:
    """Which clocks have the order of the epochs, after the whole budget, at one rate and tuned."""
    words = []
    for clock in (clock for clock in CLOCK_COLUMNS if clock != "epochs"):
        parts = {label: all_hold(kept(own, clock)) for label, own in zip(LABELS.values(), found, strict=True)}
        parts |= {LABELS["tuned"]: Verdict.UNRESOLVED} if edges else {}
        words.append(f"by {clock}, {answers.where(parts, '')}")
    start = "Not on every clock. " if verdict is Verdict.REFUTED else ""
    return f"{start}Is it the order by epochs? {'; '.join(words).capitalize()}."


def _by_clock(how: str, share: float, found: Orders, edges: str, n_replicas: int) -> Iterator[tuple[str, ...]]:
    """A row for each pair of batch sizes: its ratio on each clock."""
    n = n_replicas if how == "tuned" else 0
    for pair in PAIRS:
        own = {key: one for key, one in found.items() if key[1] == pair}
        verdict = Verdict.UNRESOLVED if edges and how == "tuned" else all_hold(kept(own))
        ratios = (_ratio(one, n_replicas=n) for one in own.values())
        yield LABELS[how], number(share), pair.replace(", ", " over "), *ratios, verdict


def _ratio(one: Comparison, edge: str = "", n_replicas: int = 0) -> str:
    return answers.compared(one, edge, n_replicas) + (" (a tie)" if one.verdict == "equivalent" else "")


def _order(found: Orders, clock: str) -> str:
    """B=1 < B=64 < B=N, with = for equivalent, > and ? for unresolved."""
    signs = {"a lower": "<", "b lower": ">", "equivalent": "=", "unresolved": "?"}
    first, second = (signs[found[clock, pair].verdict] for pair in PAIRS)
    return f"B=1 {first} B=64 {second} B=N"


def _clock(evidence: Evidence, arms: Mapping[float, str], N: float, clock: str, how: str) -> Panel:
    lines = []
    for B, cell in sorted(arms.items()):
        own = curve(evidence.histories[cell], "train_cost")
        x = own[CLOCK_COLUMNS[clock]]
        lines.append(Series("B=N" if N == B else f"B={B:g}", x.where(x > 0), own["median"], own["q25"], own["q75"]))
    return Panel(f"{LABELS[how].capitalize()}, over {clock}", clock, "cost per example", lines)
