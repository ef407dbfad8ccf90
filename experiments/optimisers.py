"""Judges optimisers: updates with and without momentum, Adam's best rates, Adam on sums and on means."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.analysis import (
    BATCH_SIZE,
    MARGIN,
    Evidence,
    Finding,
    Panel,
    Ratio,
    Series,
    median_cost,
    ratio_of,
    targets_table,
    updates_to_target,
)
from harness.inference import (
    Array,
    Exponent,
    Interval,
    Status,
    Verdict,
    all_hold,
    fewest_pairs,
    inside,
    paired_ratio,
    split_replicas,
    together,
)
from harness.report import answers, held, interval, number

if TYPE_CHECKING:
    import pandas as pd

GOALS = {"digits": 0.02, "breast_cancer": 0.04, "classification": 0.3}  # cost per example
EASIER = (1.0, 1.25, 1.5)  # times the goal: on the way to it every run passes these
RULES = ("sgd", "momentum")
Savings = dict[str, dict[float, Ratio]]  # dataset -> batch size -> updates with momentum over those without
SMALL = 4.0
SAVED = (0.1, 0.15, 0.2, 0.25)  # to save is to need so many fewer updates, as a part of those without momentum
STATED = 0.2
NEAR = (0.1, 0.15, 0.2, 0.25)  # an exponent so far from 1/2 is still that of the square root
MARGINS = (0.01, 0.02, MARGIN, 0.1)  # costs this close count as equal
DEFAULT = 1e-8  # epsilon
SIDES = {"low": "lower", "high": "higher", "both": "lower and higher"}


def judge(evidence: Evidence) -> Iterator[Finding]:
    yield momentum(evidence)
    yield square_root(evidence)
    yield from reductions(evidence)


# L7: momentum.


def momentum(evidence: Evidence) -> Finding:
    """Judged at the smallest and at the largest batch size, shown at all."""
    by_goal = {times: best_rates(evidence, times) for times in EASIER}
    savings = {times: _savings(*own) for times, own in by_goal.items()}
    best, found = by_goal[EASIER[0]][0], savings[EASIER[0]]
    parts = {saved: _everywhere(found, saved) for saved in SAVED}
    goals = {times: _everywhere(own, STATED) for times, own in savings.items()}
    ends = [(sizes[SMALL], sizes[max(sizes)]) for own in savings.values() for sizes in own.values() if SMALL in sizes]
    small, large = ([pair[i].limits for pair in ends[: len(found)]] for i in (0, 1))
    first = next((sizes[max(sizes)] for name, sizes in found.items() if name == "digits"), None)
    return Finding(
        "L7",
        verdict := together([*parts.values(), *goals.values()]),
        "Updates with momentum over updates without, each at its best rate, to the lowest cost: at "
        f"B={SMALL:g} {answers.spread(small)}, at B=N {answers.spread(large)}."
        + answers.why_open([one for pair in ends for one in pair], (1 - STATED, np.inf)),
        unit="× the updates without momentum (digits, B=N)" if first else "",
        effect=first.effect if first else None,
        replicas=min((own.pairs for sizes in found.values() for own in sizes.values()), default=0),
        panels=[_updates(best, str(dataset)) for dataset in dict.fromkeys(best["dataset"])],
        rows=_by_goal(savings) if found else (),
        along={
            "the part of the updates that counts as saved": parts,
            f"the cost to be reached, in multiples of the lowest (to save is {answers.percent(STATED)})": goals,
        },
        plain="" if verdict in answers.DECIDED or not found else _to_goals(savings),
    )


def _to_goals(savings: Mapping[float, Savings]) -> str:
    """On which data the claim holds to the lowest cost, and to the highest."""
    lowest, highest = (
        answers.where({name: large_only(sizes, STATED) for name, sizes in savings[times].items()})
        for times in (EASIER[0], EASIER[-1])
    )
    saving = f"If a saving is {answers.percent(STATED)} or more"
    failed = _failed(savings[EASIER[-1]])
    return f"{saving}, to the lowest cost {lowest}; to {EASIER[-1]:g} times that cost {highest}{failed}."


def _failed(found: Savings) -> str:
    """Which half of the claim fails, where it does."""
    no = [name for name, sizes in found.items() if large_only(sizes, STATED) is Verdict.REFUTED]
    large = [name for name in no if found[name][max(found[name])].inside(0, 1 - STATED) is Verdict.REFUTED]
    small = [name for name in no if found[name][SMALL].inside(1 - STATED, np.inf) is Verdict.REFUTED]
    halves = {"no such saving with the whole set": large, f"also saved at B = {SMALL:g}": small}
    told = [f"{half}{'' if own == no else f' on {answers.joined(own)}'}" for half, own in halves.items() if own]
    return f" ({'; '.join(told)})" if told else ""


def _by_goal(savings: Mapping[float, Savings]) -> list[tuple[str, ...]]:
    """A row for each dataset and cost: the ratio at the smallest B, at those between, at B=N."""
    every = [sizes for found in savings.values() for sizes in found.values()]
    between = sorted({B for sizes in every for B in sizes if SMALL < B < max(sizes)})
    head = ("data", "cost", *(f"× the updates at {B}" for B in (f"B={SMALL:g}", *(f"B={B:g}" for B in between), "B=N")))
    judged = (1 - STATED, np.inf)
    return [
        (*head, "large only"),
        *(
            (
                name,
                number(times * GOALS[name]),
                held(sizes[SMALL], judged) if SMALL in sizes else "",
                *(held(sizes[B]) if B in sizes else "" for B in between),
                held(sizes[max(sizes)], judged),
                large_only(sizes, STATED),
            )
            for times, found in savings.items()
            for name, sizes in found.items()
        ),
    ]


def _savings(best: "pd.DataFrame", reached: dict[str, dict[str, np.ndarray]]) -> Savings:
    found: Savings = {}
    for (dataset, B), own in best.groupby(["dataset", "batch_size"]):
        rows = {str(row["optimizer.name"]): row for _, row in own.iterrows()}
        if set(RULES) <= set(rows):
            found.setdefault(str(dataset), {})[float(B)] = _ratio([rows[rule] for rule in RULES], reached)
    return found


def _everywhere(found: Savings, saved: float) -> Verdict:
    return together([large_only(sizes, saved) for sizes in found.values()])


def best_rates(evidence: Evidence, times: float) -> "tuple[pd.DataFrame, dict[str, dict[str, np.ndarray]]]":
    """Each dataset, rule and batch size at the rate with the fewest updates to so many times the goal; of all cells."""
    cells = evidence.cells[evidence.cells["optimizer.name"].isin(RULES) & evidence.cells["dataset"].isin(GOALS)]
    goals = {str(row["setting"]): times * GOALS[str(row["dataset"])] for _, row in cells.iterrows()}
    histories = evidence.data.histories[evidence.data.histories["cell"].isin(cells["cell"])]
    reached = updates_to_target(histories, goals, cells)
    best = targets_table(cells, reached, evidence.rng)
    named = cells[["cell", "dataset", "optimizer.name"]]
    return best.merge(named, on="cell", how="left"), reached


def _ratio(rows: "list[pd.Series]", reached: dict[str, dict[str, np.ndarray]]) -> Ratio:
    """rows: without and with momentum."""
    plain, moved = (reached[row["cell"]]["updates"] for row in rows)
    edges = [f"{row['optimizer.name']} {SIDES[row['edge']]}" for row in rows if row["edge"]]
    why = f"a best rate lies on the edge of its grid, add rates: {', '.join(edges)}" if edges else ""
    return ratio_of(moved, plain, split_replicas(min(len(plain), len(moved)), fewest_pairs(1)), why)


def large_only(sizes: Mapping[float, Ratio], saved: float) -> Verdict:
    """Nothing is saved at the smallest batch size, and something at the largest; unresolved without either."""
    if SMALL not in sizes or len(sizes) < 2:
        return Verdict.UNRESOLVED
    return all_hold([sizes[SMALL].inside(1 - saved, np.inf), sizes[max(sizes)].inside(0, 1 - saved)])


def _updates(best: "pd.DataFrame", dataset: str) -> Panel:
    own = best[best["dataset"] == dataset]
    lines = [
        Series(str(rule), at["batch_size"], at["updates"], at["updates_low"], at["updates_high"])
        for rule, at in own.groupby("optimizer.name", sort=False)
    ]
    return Panel(f"{dataset}: updates to a cost of {GOALS[dataset]:g}", BATCH_SIZE, "updates", lines)


# A1: Adam's best rate.


def square_root(evidence: Evidence) -> Finding:
    cells = evidence.cells
    chosen = cells[
        (cells["optimizer.name"] == "adam") & (cells["reduction"] == "mean") & (cells["last_batch"] == "keep")
    ]
    found = {
        str(dataset): evidence.answer.exponents[str(setting), "mean"]
        for (dataset, setting), _ in chosen.groupby(["dataset", "setting"], sort=False)
        if (str(setting), "mean") in evidence.answer.exponents
    }
    if not found:
        return Finding("A1", Verdict.UNRESOLVED, "Adam was not trained at several batch sizes and learning rates.")
    parts = {limit: together(near_root(exponent, limit) for exponent in found.values()) for limit in NEAR}
    name, first = next(iter(found.items()))
    open_at = [f"{dataset}{why}" for dataset, e in found.items() if (why := _status(e))]
    unknown = f" Not known: {'; '.join(open_at)}." if open_at else ""
    return Finding(
        "A1",
        verdict := together(parts.values()),
        f"Best learning rate of Adam ∝ B^p: by dataset p = {answers.spread(e.p for e in found.values())}; that of the "
        f"square root is 1/2.{unknown}",
        unit=f"= p ({name})",
        effect=first.p if np.isfinite(first.p.low) else None,
        replicas=int(chosen["n_replicas"].min()),
        panels=[_best(found)],
        rows=[
            ("data", "p", "× the rate at 4 times the batch", *(f"within {limit:g} of 1/2" for limit in NEAR)),
            *(
                (dataset, f"{interval(e.p)}{_status(e)}", number(4**e.p.estimate), *(near_root(e, d) for d in NEAR))
                for dataset, e in found.items()
            ),
        ],
        along={"how far p may be from 1/2": parts},
        plain="" if verdict in answers.DECIDED or unknown else _four_times(found, parts),
    )


def _four_times(found: Mapping[str, Exponent], parts: Mapping[float, Verdict]) -> str:
    factors = answers.joined(f"{number(4**e.p.estimate)} times the rate on {dataset}" for dataset, e in found.items())
    near = answers.where({f"{limit:g}": verdict for limit, verdict in parts.items()}, "within ")
    return f"Four times the batch takes {factors}. Its exponent is near 1/2: {near}."


def near_root(exponent: Exponent, limit: float) -> Verdict:
    resolved = exponent.status is Status.RESOLVED
    return inside(exponent.p, 0.5 - limit, 0.5 + limit) if resolved else Verdict.UNRESOLVED


def _status(exponent: Exponent) -> str:
    if exponent.status is Status.RESOLVED:
        return ""
    at = f", at B={', '.join(f'{B:g}' for B in exponent.at_edge)}" if exponent.at_edge else ""
    return f" ({exponent.status.text}{at})"


def _best(found: dict[str, Exponent]) -> Panel:
    lines = [Series(dataset, list(e.best), list(e.best.values())) for dataset, e in found.items() if e.best]
    for name, power in (("√B", 0.5), ("B", 1.0)):
        if lines:
            B, first = np.asarray(lines[0].x), float(np.asarray(lines[0].y)[0])
            lines.append(Series(name, B, first * (B / B[0]) ** power, kind="reference"))
    return Panel("Adam's best learning rate after ten epochs", BATCH_SIZE, "learning rate", lines)


# A1.reduction, A1.epsilon: Adam on sums and on means.


@dataclass(frozen=True)
class Pair:
    """A sum and a mean that differ in nothing else: their cells, the cost of the sum over that of the mean."""

    total: str
    mean: str
    ratio: Interval

    def equal(self, margin: float) -> Verdict:
        return inside(self.ratio, 1 / (1 + margin), 1 + margin)


def reductions(evidence: Evidence) -> Iterator[Finding]:
    pairs = _pairs(evidence)
    yield _reduction(evidence, "A1.reduction", {epsilon: pairs[epsilon] for epsilon in pairs if epsilon == DEFAULT})
    yield _reduction(
        evidence, "A1.epsilon", {epsilon: pairs[epsilon] for epsilon in sorted(pairs) if epsilon > DEFAULT}
    )


def _pairs(evidence: Evidence) -> dict[float, dict[str, Pair]]:
    """Epsilon -> dataset -> its sum and its mean."""
    cells = evidence.cells
    own = cells[(cells["optimizer.name"] == "adam") & (cells["last_batch"] == "drop")]
    cell = {
        (str(row["dataset"]), float(row["optimizer.epsilon"]), str(row["reduction"])): str(row["cell"])
        for _, row in own.iterrows()
    }
    costs, found = evidence.final_costs, dict[float, dict[str, Pair]]()
    for (dataset, epsilon, reduction), total in cell.items():
        mean = cell.get((dataset, epsilon, "mean"))
        if reduction == "sum" and mean:
            pair = Pair(total, mean, paired_ratio(costs[total], costs[mean]))
            found.setdefault(epsilon, {})[dataset] = pair
    return found


def _reduction(evidence: Evidence, claim: str, pairs: Mapping[float, Mapping[str, Pair]]) -> Finding:
    """pairs: by epsilon and dataset."""
    known = [(epsilon, dataset, own) for epsilon, by_name in pairs.items() for dataset, own in by_name.items()]
    if not known:
        return Finding(claim, Verdict.UNRESOLVED, "Adam was not trained on sums and means with such an epsilon.")
    margins = {margin: together(own.equal(margin) for _, _, own in known) for margin in MARGINS}
    epsilons = {epsilon: together(_every(by_name.values())) for epsilon, by_name in pairs.items()}
    along: dict[str, dict[float, Verdict]] = {"the margin": margins}
    along |= {"epsilon": epsilons} if claim == "A1.epsilon" else {}
    gaps = [_gaps(evidence, own) for _, _, own in known]
    _, first, effect = known[-1] if claim == "A1.epsilon" else known[0]
    return Finding(
        claim,
        verdict := together(along.get("epsilon", margins).values()),
        "Final training cost of the sum over that of the mean, at one learning rate and an epsilon of "
        f"{' to '.join(dict.fromkeys(map(number, (min(pairs), max(pairs)))))}: "
        f"{answers.spread(own.ratio for _, _, own in known)}. Their parameters end up to {number(max(map(max, gaps)))} "
        "of their norm apart.",
        unit=f"× the cost of the mean ({first})",
        effect=effect.ratio if np.isfinite(effect.ratio.low) else None,
        replicas=min(len(evidence.final_costs[own.mean]) for _, _, own in known),
        panels=[_curves(evidence, own, f"{name}, epsilon {number(epsilon)}") for epsilon, name, own in known[-3:]],
        rows=[
            (
                "epsilon",
                "data",
                "× the cost of the mean",
                "parameters apart",
                *(f"within {answers.percent(m)}" for m in MARGINS),
            ),
            *(
                (number(epsilon), name, interval(own.ratio), _apart(gap), *map(own.equal, MARGINS))
                for (epsilon, name, own), gap in zip(known, gaps, strict=True)
            ),
        ],
        along=along,
        plain="" if verdict in answers.DECIDED else f"At an epsilon of {'; at '.join(_by_epsilon(pairs))}.",
    )


def _every(pairs: Iterable[Pair]) -> Iterator[Verdict]:
    return (one.equal(margin) for one in pairs for margin in MARGINS)


def _by_epsilon(pairs: Mapping[float, Mapping[str, Pair]]) -> Iterator[str]:
    """0.01 no; or, where margins disagree, within which; where datasets do, on which."""
    for epsilon, own in pairs.items():
        if (verdict := together(_every(own.values()))) in answers.DECIDED:
            yield f"{number(epsilon)} {answers.WORDS[verdict]}"
        else:
            by_margin = {margin: {name: one.equal(margin) for name, one in own.items()} for margin in MARGINS}
            agreed = {margin: next(iter(at.values())) for margin, at in by_margin.items() if len({*at.values()}) == 1}
            others = (
                f"within {answers.percent(m)} ({answers.where(at)})" for m, at in by_margin.items() if m not in agreed
            )
            yield f"{number(epsilon)} {', '.join(filter(None, [answers.within(agreed), *others]))}"


def _gaps(evidence: Evidence, pair: Pair) -> Array:
    """(R,): how far the parameters end apart, relative to those of the mean."""
    total, mean = evidence.weights(pair.total), evidence.weights(pair.mean)
    return np.linalg.norm(total - mean, axis=1) / np.linalg.norm(mean, axis=1)


def _apart(gaps: Array) -> str:
    return f"{number(float(np.median(gaps)))}, at most {number(float(gaps.max()))}"


def _curves(evidence: Evidence, pair: Pair, title: str) -> Panel:
    arms = {"mean": pair.mean, "sum": pair.total}
    lines = [median_cost(evidence.histories[cell], reduction) for reduction, cell in arms.items()]
    return Panel(title, "epochs", "training cost per example", lines, log="y")
