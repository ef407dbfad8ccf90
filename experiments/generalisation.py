"""Judges generalisation: held-out accuracy at one training cost, and the cost of a rate that is not the best."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.analysis import BATCH_SIZE, Evidence, Finding, Panel, Ratio, Series, quartiles, updates_to_target
from harness.inference import (
    Comparison,
    Split,
    Verdict,
    censored,
    fewest_pairs,
    lower,
    paired_ratio,
    split_replicas,
    together,
)
from harness.report import held, number, price, verdicts_along
from harness.report.answers import by_constants, by_size, compared, differing, joined, spread

Array = NDArray[np.floating]
Key = tuple[str, float]  # dataset, batch size
Ratios = dict[float, dict[Key, Ratio]]  # by times the target
Reached = dict[str, dict[str, Array]]  # cell -> updates, epochs and seconds to a target (R,), +inf where it was missed
Open = tuple[
    str, int | None, int
]  # a comparison that is: its dataset, the replicas that would tell, and those there are

MARGINS = (0.01, 0.02)  # an accuracy lower by this part is as good
EASIER = (1.0, 1.25, 1.5)  # times the target at which a training stops: it passes all of them
REFERENCE = 8  # the batch size that larger ones are held against
ROBUST, OTHER = 4, 256  # the batch sizes of L10
STEPS = {1: 2.0, 2: 4.0}  # of its grids, and the factor by which a rate is then off


def judge(evidence: Evidence) -> Iterator[Finding]:
    stopped = evidence.cells["target"].notna()
    yield at_one_cost(evidence, evidence.cells[stopped], evidence.cells[~stopped])
    yield robustness(evidence, evidence.cells[~stopped])


# L5


def at_one_cost(evidence: Evidence, cells: pd.DataFrame, others: pd.DataFrame) -> Finding:
    """L5: every batch size at its best rate, where the training cost crosses the target."""
    by_target = {times: tuned_at(evidence, cells, times) for times in EASIER}
    ratios = {
        times: {key: _accuracy_ratio(own[key], own[key[0], REFERENCE]) for key in own if key[1] > REFERENCE}
        for times, own in by_target.items()
    }
    good = [
        (times, margin, key, ratio, ratio.inside(1 - margin, np.inf))
        for times, own in ratios.items()
        for margin in MARGINS
        for key, ratio in own.items()
    ]
    along = {
        "the margin": {x: together(verdict for _, at, *_, verdict in good if at == x) for x in MARGINS},
        "the training cost, in multiples of the target": {
            x: together(verdict for at, *_, verdict in good if at == x) for x in EASIER
        },
    }
    still_open = [
        (name, ratio.seeds_to_tell(1 - margin, np.inf), ratio.n_replicas)
        for _, margin, (name, _), ratio, verdict in good
        if verdict is Verdict.UNRESOLVED
    ]
    verdict = together(verdict for *_, verdict in good)
    tuned, found = by_target[EASIER[0]], ratios[EASIER[0]]
    last, shown = next(reversed(found)), cells["dataset"].unique()[:2]
    plain = f"{by_size({key: together(by for *_, of, _, by in good if of == key) for key in found})}; "
    plain += f"{by_constants(along)}."
    return Finding(
        "L5",
        verdict,
        _accuracy_said(ratios, tuned) + _price(evidence, cells, verdict, still_open),
        unit=f"× the accuracy of B={REFERENCE}, at B={last[1]:g} ({last[0]})",
        effect=found[last].effect,
        replicas=min(own.n_replicas for own in found.values()),
        panels=[_accuracies(tuned), *(_by_rate_at_one_cost(evidence, cells, str(name)) for name in shown)],
        rows=[*_accuracy_rows(ratios, tuned), *_untuned(evidence, others)],
        along=along,
        plain=plain[0].upper() + plain[1:] if verdict is Verdict.CONDITIONAL else "",
    )


def _accuracy_said(ratios: Ratios, tuned: "dict[Key, Tuned]") -> str:
    """The ratios at the target; on which data replicas do not come there, or a best rate is on an edge at any cost."""
    missed = {name: None for (name, _), own in tuned.items() if np.isnan(own.accuracy).any()}
    edges = {name: None for own in ratios.values() for (name, _), ratio in own.items() if ratio.edge}
    return (
        "Tuned, and compared where the training cost crosses the target, larger batches have "
        f"{spread(own.limits for own in ratios[EASIER[0]].values())} × the held-out accuracy of B={REFERENCE}."
        + (f" Some replicas do not come to the target on {joined(missed)}." if missed else "")
        + (f" A best rate is on the edge of its grid on {joined(edges)}: extend it." if edges else "")
    )


def _accuracy_rows(ratios: Ratios, tuned: "dict[Key, Tuned]") -> Iterator[tuple[str, ...]]:
    over = (f"at {times:g} × the target" for times in EASIER[1:])
    yield "data", "B", "accuracy at the target", f"over that of B={REFERENCE}", *over, "by the margin"
    for (name, B), own in tuned.items():
        missed, reached = int(np.isnan(own.accuracy).sum()), own.accuracy[np.isfinite(own.accuracy)]
        accuracy = number(float(np.median(reached))) if len(reached) else "none"
        also = f" (not reached by {missed} of {len(own.accuracy)})" if missed else ""
        each = [by_key[name, B] for by_key in ratios.values() if (name, B) in by_key]
        cells = [held(ratio, *((1 - margin, np.inf) for margin in MARGINS)) for ratio in each]
        by = {x: together(ratio.inside(1 - x, np.inf) for ratio in each) for x in MARGINS} if each else {}
        yield name, f"{B:g}", accuracy + also, *(cells or [""] * len(EASIER)), verdicts_along(by)


def tuned_at(evidence: Evidence, cells: pd.DataFrame, times: float) -> "dict[Key, Tuned]":
    """Dataset and batch size -> its best rate where the training cost is so many times the target."""
    histories = evidence.data.histories
    goals = times * cells.drop_duplicates("setting").set_index("setting")["target"]
    reached = updates_to_target(histories[histories["cell"].isin(cells["cell"])], goals.to_dict(), cells)
    grids = cells.groupby(["dataset", "batch_size"])
    return {(str(name), float(B)): _tuned(evidence, own, reached) for (name, B), own in grids}


def _price(evidence: Evidence, cells: pd.DataFrame, verdict: Verdict, still_open: list[Open]) -> str:
    """Of the dearest of the comparisons that are open; nothing where one of them has no price."""
    found = [evidence.price([needed], n, cells[cells["dataset"] == name]) for name, needed, n in still_open]
    known = [each for each in found if each]
    return price(max(known)) if verdict is Verdict.UNRESOLVED and known and len(known) == len(found) else ""


def _accuracy_ratio(larger: "Tuned", reference: "Tuned") -> Ratio:
    """Accuracy of the larger batch over that of the reference; a replica that missed the target counts as lost."""
    inverse = [1 / np.where(one.accuracy > 0, one.accuracy, np.nan) for one in (reference, larger)]
    edges = [one.edge for one in (larger, reference) if one.edge]
    edge = f"best at the {edges[0]} edge of its rates, extend them" if edges else ""
    return Ratio(paired_ratio(*inverse), len(larger.accuracy), larger.n_replicas, edge)


@dataclass(frozen=True, eq=False)
class Tuned:
    """A batch size at the rate whose held-out cost is lowest where the training cost crosses the target.

    Chosen by the choosing replicas; accuracy: of the reporting ones, NaN of those that did not come down to the target.
    """

    rate: float
    edge: str
    target: float
    accuracy: Array
    n_replicas: int


def _tuned(evidence: Evidence, cells: pd.DataFrame, reached: Reached) -> Tuned:
    own = cells.sort_values("learning_rate")
    split = _split(evidence, cells)
    costs = [censored(_where_it_crosses(evidence, reached, cell, "validation_cost")) for cell in own["cell"]]
    i = int(np.argmin([np.median(cost[split.selection]) for cost in costs]))
    chosen = own.iloc[i]
    accuracy = _where_it_crosses(evidence, reached, chosen["cell"], "validation_accuracy")[split.report]
    return Tuned(float(chosen["learning_rate"]), _edge(i, len(own)), float(chosen["target"]), accuracy, len(costs[i]))


def _edge(i: int, n: int) -> str:
    return "" if 0 < i < n - 1 else "low" if i == 0 else "high"


def _split(evidence: Evidence, cells: pd.DataFrame, n_comparisons: int = 1) -> Split:
    n_replicas = min(len(evidence.final_costs[cell]) for cell in cells["cell"])
    return split_replicas(n_replicas, fewest_pairs(n_comparisons))


def _where_it_crosses(evidence: Evidence, reached: Reached, cell: str, column: str) -> Array:
    """A column of the history (R,) at the update that reached the target; NaN of replicas that did not come there."""
    updates = reached[cell]["updates"]
    own = evidence.histories[cell].groupby("replica")
    found = [np.interp(at, h["update"], h[column]) for at, (_, h) in zip(updates, own, strict=True)]
    return np.where(np.isfinite(updates), found, np.nan)


def _untuned(evidence: Evidence, cells: pd.DataFrame) -> Iterator[tuple[str, ...]]:
    """Rows of the table: at equal epochs and the small batch's best rate, on the test data: what tuning is for."""
    for name, own in cells.groupby("dataset", sort=False):
        small, large = _sizes(own)
        chosen = _best(evidence, small, _split(evidence, own))
        same = large[np.isclose(large["learning_rate"], chosen.rate)]
        for B, cell in ((ROBUST, chosen.cell), (OTHER, same["cell"].iloc[0])) if len(same) else ():
            about = f"{name}, untuned: test data, equal epochs, best rate of B={ROBUST}"
            yield about, f"{B}", _median_accuracy(evidence, cell), *[""] * (len(EASIER) + 1)


def _median_accuracy(evidence: Evidence, cell: str) -> str:
    """On the test set at the end, over all replicas: a diverged one has less than any other."""
    scores = np.where(np.isinf(evidence.final_costs[cell]), -np.inf, evidence.replicas(cell, "final_test_accuracy"))
    median = float(np.median(scores))
    return number(median) if np.isfinite(median) else "none (half diverged)"


def _accuracies(tuned: dict[Key, Tuned]) -> Panel:
    lines = []
    for name in dict.fromkeys(name for name, _ in tuned):
        sizes = [B for other, B in tuned if other == name]
        lines.append(Series(name, sizes, *quartiles(tuned[name, B].accuracy for B in sizes)))
    return Panel("Accuracy at one training cost, tuned, where reached", BATCH_SIZE, "held-out accuracy", lines, log="x")


def _by_rate_at_one_cost(evidence: Evidence, cells: pd.DataFrame, dataset: str) -> Panel:
    lines = []
    own = cells[cells["dataset"] == dataset].sort_values(["batch_size", "learning_rate"])
    for B, at in own.groupby("batch_size"):
        accuracy = [_where_it_crosses(evidence, evidence.to_target, cell, "validation_accuracy") for cell in at["cell"]]
        name = "B=N" if at["n_train"].iloc[0] == B else f"B={B:g}"
        lines.append(Series(name, at["learning_rate"], *quartiles(accuracy)))
    return Panel(f"The same, all rates, {dataset}", "learning rate", "held-out accuracy", lines, log="x")


# L10


@dataclass(frozen=True, eq=False)
class Chosen:
    """The best rate of a batch size, by the validation cost of the choosing replicas.

    penalties: steps of the grid -> of the reporting replicas, geometric mean of the test costs so far below and above
    over that at the rate; without steps that leave the grid.
    """

    rate: float
    cell: str
    penalties: dict[int, Array]


def _best(evidence: Evidence, cells: pd.DataFrame, split: Split) -> Chosen:
    own = cells.sort_values("learning_rate")
    names = list(own["cell"])
    validation = [np.median(_cost(evidence, cell, "validation")[split.selection]) for cell in names]
    i = int(np.argmin(validation))
    penalties = {}
    for steps in STEPS:
        if steps <= i < len(names) - steps:
            below, at, above = (np.log(_cost(evidence, names[i + j], "test")[split.report]) for j in (-steps, 0, steps))
            penalties[steps] = np.exp((below + above) / 2 - at)
    return Chosen(float(own["learning_rate"].iloc[i]), names[i], penalties)


def _sizes(cells: pd.DataFrame) -> list[pd.DataFrame]:
    return [cells[cells["batch_size"] == B] for B in (ROBUST, OTHER)]


def _cost(evidence: Evidence, cell: str, part: str) -> Array:
    """Final cost of a part (R,), at most that of the network before it was trained: so of a replica that diverged."""
    diverged = np.isinf(evidence.final_costs[cell])
    history = evidence.histories[cell].sort_values("replica")
    untrained = history.loc[history["update"] == 0, "validation_cost"].to_numpy(dtype=float)
    return np.minimum(untrained, np.where(diverged, np.inf, censored(evidence.replicas(cell, f"final_{part}_cost"))))


def robustness(evidence: Evidence, cells: pd.DataFrame) -> Finding:
    """L10: what the neighbours of the best rate cost, of a small batch over a large one."""
    chosen = {
        str(name): [_best(evidence, at, _split(evidence, own, cells["dataset"].nunique())) for at in _sizes(own)]
        for name, own in cells.groupby("dataset", sort=False)
    }
    every = {factor: evidence.compare(_arms(chosen, steps)) for steps, factor in STEPS.items()}
    verdicts = {
        (factor, name): lower(own[name]) if name in own else Verdict.UNRESOLVED
        for factor, own in every.items()
        for name in chosen
    }
    along = {factor: together(verdicts[factor, name] for name in chosen) for factor in every}
    verdict, found = together(verdicts.values()), every[STEPS[1]]
    compared_pairs = [pair for own in every.values() for pair in own.items()]
    still_open = [
        (name, c.seeds_needed, c.pairs + c.dropped) for name, c in compared_pairs if c.verdict == "unresolved"
    ]
    ranges = joined(f"{spread(c.ratio for c in own.values())} off by a factor of {x:g}" for x, own in every.items())
    first = next((name for name, comparison in found.items() if comparison.finite), None)
    return Finding(
        "L10",
        verdict,
        f"Test cost off the best rate over that at it, after equal epochs, of B={ROBUST} over B={OTHER}: {ranges}."
        f"{_missing(chosen)}{_price(evidence, cells, verdict, still_open)}",
        unit=f"× the penalty of B={OTHER}, of B={ROBUST} ({first})" if first else "",
        effect=found[first].ratio if first else None,
        replicas=min((comparison.pairs for comparison in found.values()), default=0),
        panels=[_by_rate(evidence, cells, name) for name in chosen],
        rows=list(_penalty_rows(chosen, every)),
        along={"the factor by which the rate is off": along},
        plain=_where_robust(verdicts) if verdict is Verdict.CONDITIONAL else "",
    )


def _where_robust(verdicts: dict[tuple[float, str], Verdict]) -> str:
    names = {f"{factor:g}": f"off by a factor of {factor:g}" for factor, _ in verdicts}
    told = differing({(f"{factor:g}", name): found for (factor, name), found in verdicts.items()}, names)
    return f"{told[0].upper()}{told[1:]}."


def _arms(chosen: dict[str, list[Chosen]], steps: int) -> dict[str, tuple[Array, Array]]:
    pairs = {name: [one.penalties[steps] for one in pair if steps in one.penalties] for name, pair in chosen.items()}
    return {name: (own[0], own[1]) for name, own in pairs.items() if len(own) == 2}


def _missing(chosen: dict[str, list[Chosen]]) -> str:
    """Where the grid ends too early for the larger factor."""
    every = [(name, B, pair[i]) for name, pair in chosen.items() for i, B in enumerate((ROBUST, OTHER))]
    lost = [f"{name} B={B:g}" for name, B, one in every if max(STEPS) not in one.penalties]
    return f" No rate is {max(STEPS.values()):g} times off for {', '.join(lost)}: extend the grid." if lost else ""


def _penalty_rows(
    chosen: dict[str, list[Chosen]], every: dict[float, dict[str, Comparison]]
) -> Iterator[tuple[str, ...]]:
    """Penalties, geometric means as in their ratio, or best rates without rates so far off; whether B=4 is lower."""
    words = {"equivalent": "refuted: equal within 5 %", "a lower": "supported", "b lower": "refuted: higher"}
    penalties = (f"B={B:g}: cost off the best rate / at it" for B in (ROBUST, OTHER))
    yield "data", "off by a factor of", *penalties, "ratio", f"lower for B={ROBUST}"
    for steps, factor in STEPS.items():
        for name, pair in chosen.items():
            means = (
                number(float(np.exp(np.log(one.penalties[steps]).mean())))
                if steps in one.penalties
                else f"none (best at {number(one.rate)})"
                for one in pair
            )
            own = every[factor].get(name)
            ends = (compared(own), words.get(own.verdict, own.verdict)) if own else ("not known", "unresolved")
            yield name, f"{factor:g}", *means, *ends


def _by_rate(evidence: Evidence, cells: pd.DataFrame, dataset: str) -> Panel:
    lines = []
    for B in (ROBUST, OTHER):
        own = cells[(cells["dataset"] == dataset) & (cells["batch_size"] == B)].sort_values("learning_rate")
        costs = quartiles(_cost(evidence, cell, "test") for cell in own["cell"])
        lines.append(Series(f"B={B:g}", own["learning_rate"], *costs))
    return Panel(f"Final test cost, {dataset}", "learning rate", "cost per example", lines)
