"""Judges three_methods: who is fastest on which clock, and what is exact about the three methods."""

from collections.abc import Iterator, Mapping
from math import ceil
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.analysis import (
    BATCH_SIZE,
    TARGET_LABELS,
    Evidence,
    Finding,
    Panel,
    Series,
    at_the_edge,
    limits,
    quartiles,
    targets_table,
    updates_to_target,
)
from harness.inference import (
    Comparison,
    Interval,
    Verdict,
    exactly,
    geometric_mean_ratio,
    inside,
    lower,
    median_interval,
    together,
)
from harness.report import answers, interval, number
from harness.training import Cell, pinned_blas

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.floating]
ROUNDING = 1e-10
LOWEST = 1e-18  # where a figure with a log axis shows zero
SEEN = 1e-3  # what sampling with replacement must change at least, or the comparison is blind
FASTER = (0.95, 0.8, 2 / 3)  # ratios of times below which one is faster: nobody says which
SHARES = (0.5, 0.2, 0.1)  # of the initial cost: the targets that "converge" may mean; the last is the sweep's own
COUNTS = ("update", "example")
Reached = dict[str, dict[str, Array]]  # cell -> clock -> (R,)
OTHERS = ("B=1", "B=N")
ALL = "on all data"
Compared = dict[tuple[str, str, str], Comparison]  # dataset, other method, clock


def judge(evidence: Evidence) -> Iterator[Finding]:
    yield order_of_a_whole_set(evidence)
    yield updates_of_an_epoch(evidence)
    yield time_of_an_update(evidence)
    yield convergence(evidence)


def order_of_a_whole_set(evidence: Evidence) -> Finding:
    """C4: full-batch training that never shuffled, against the kernel led over the same rows in a new order each time.

    The harness takes a whole set in the order of the data, so two of its orders would agree whatever is true. Sampling
    with replacement is the control: without a difference there, the comparison could not detect one.
    """
    whole = evidence.cells[evidence.cells["batch_size"] == evidence.cells["n_train"]]
    shuffled, drawn = {}, {}
    for name, own in whole.groupby("dataset"):
        still, other = (own.loc[own["order"] == order, "cell"].iloc[0] for order in ("none", "replacement"))
        trained = evidence.weights(still)[0]
        shuffled[str(name)] = _apart(trained, train_in_new_orders(evidence.again(still), evidence.rng))
        drawn[str(name)] = _apart(trained, evidence.weights(other)[0])
    worst, control = float(np.max(list(shuffled.values()))), min(drawn.values())
    lines = [
        Series(label, range(len(found)), [max(LOWEST, value) for value in found.values()], kind="marks")
        for label, found in (("in a new order each time", shuffled), ("drawn with replacement", drawn))
    ]
    return Finding(
        "C4",
        exactly(worst, ROUNDING) if control > SEEN else Verdict.UNRESOLVED,
        f"On {', '.join(shuffled)} the parameters of full-batch training differ by at most {worst:.1e} of the largest "
        f"when the rows of the set are put in a new order before every update; drawn with replacement, by at least "
        f"{control:.1e}.",
        replicas=1,
        panels=[
            Panel("Against rows as they lie", "", "largest difference / largest parameter", lines, "y", list(shuffled))
        ],
        rows=[
            ("largest difference / largest parameter", *(str(line.label) for line in lines)),
            *((name, number(off), number(drawn[name])) for name, off in shuffled.items()),
        ],
    )


def train_in_new_orders(cell: Cell, rng: np.random.Generator) -> Array:
    """Parameters (P,) of replica 0 after as many updates as the cell made, each from all rows in a new order."""
    engine, n_train = next(cell.stacks()).engine, cell.plan.n_train
    with pinned_blas(cell.config.threads):
        for _ in range(cell.budget.updates or 0):
            engine.make_updates(rng.permutation(n_train)[None], n_train)
    params = engine.network.params
    return np.concatenate([array[0].ravel() for array in (*params.W, *params.b)])


def _apart(a: Array, b: Array) -> float:
    return float(np.abs(a - b).max() / np.abs(a).max())


def updates_of_an_epoch(evidence: Evidence) -> Finding:
    """C5: what every replica that was not stopped counted."""
    wrong, counted = 0, 0
    made: dict[tuple[str, int], dict[float, float]] = {}
    for _, cell in evidence.cells.iterrows():
        expected = int(cell["epochs"]) * ceil(cell["n_train"] / cell["batch_size"])
        ended = evidence.data.replicas[evidence.data.replicas["cell"] == cell["cell"]]
        whole = ended[ended["outcome"] == "completed"]
        wrong, counted = wrong + int((whole["end_update"] != expected).sum()), counted + len(whole)
        if len(whole):
            name = str(cell["dataset"]), int(cell["n_train"])
            made.setdefault(name, {})[float(cell["batch_size"])] = whole["end_update"].median() / int(cell["epochs"])
    lines = [Series(f"{name}, N={N}", list(own), list(own.values()), kind="marks") for (name, N), own in made.items()]
    sizes = {N: np.unique(np.geomspace(1, N, 200).astype(int)) for _, N in made}
    lines += [Series(f"ceil(N/B), N={N}", B, np.ceil(N / B), kind="reference") for N, B in sizes.items()]
    text = f"{counted - wrong} of {counted} trainings made ceil(N/B) updates in every epoch."
    panels = [Panel("Updates of an epoch", BATCH_SIZE, "updates", lines)] if made else []
    return Finding("C5", exactly(wrong, 0), text, panels=panels)


def time_of_an_update(evidence: Evidence) -> Finding:
    """C13: times per example in blocks; those per update follow from them."""
    times = {str(name): evidence.blocks(own) for name, own in evidence.cells.groupby("dataset", sort=False)}
    ratios = {
        (name, unit): geometric_mean_ratio(np.log(own[1.0] / own[64.0] / (64 if unit == "update" else 1)))
        for name, own in times.items()
        for unit in COUNTS
    }
    verdicts = {factor: together(inside(ratio, 0, factor) for ratio in ratios.values()) for factor in FASTER}
    verdict, first = together(verdicts.values()), next(iter(times))
    spans = [answers.span(ratio.estimate for (_, of), ratio in ratios.items() if of == unit) for unit in COUNTS]
    return Finding(
        "C13",
        verdict,
        f"B=1 takes {spans[0]} × the time of B=64 per update and {spans[1]} × its time per example, on "
        f"{answers.joined(times)}.",
        unit=f"× the time per update of B=64 ({first})",
        effect=ratios[first, "update"],
        panels=[_times_panel(times, unit) for unit in COUNTS],
        rows=[
            ("data", "time per", "B=1 (× B=64)", "faster"),
            *((name, unit, interval(own), str(_faster(own))) for (name, unit), own in ratios.items()),
        ],
        along={"what counts as faster (ratio)": verdicts},
        plain=_by_count(ratios) if verdict is Verdict.CONDITIONAL else "",
    )


def _faster(ratio: Interval) -> Verdict:
    """By all that may be called faster."""
    return together(inside(ratio, 0, factor) for factor in FASTER)


def _by_count(ratios: dict[tuple[str, str], Interval]) -> str:
    """On which count B=1 is faster, and on which data where these differ."""
    parts = []
    for unit in COUNTS:
        own = {name: _faster(ratio) for (name, of), ratio in ratios.items() if of == unit}
        alike = f"{answers.where({unit: together(own.values())}, 'per ')} on all data"
        parts.append(alike if len(set(own.values())) == 1 else f"per {unit} {answers.where(own)}")
    return f"P{'; '.join(parts).removeprefix('p')}."


def _times_panel(times: "dict[str, pd.DataFrame]", unit: str) -> Panel:
    lines = []
    for name, own in times.items():
        factor = {B: B if unit == "update" else 1.0 for B in own}
        lines.append(Series(name, list(own), *quartiles(own[B] * factor[B] for B in own)))
    return Panel(f"Time per {unit}", BATCH_SIZE, f"µs per {unit}", lines)


def convergence(evidence: Evidence) -> Finding:
    """C14: B=64 against the two others, each at its own best rate, on three clocks."""
    best, reached = _to(evidence, SHARES[-1])
    compared = {share: _compared(evidence, *_to(evidence, share)) for share in SHARES}
    verdicts = {share: _verdict(*own) for share, own in compared.items()}
    found, edges = compared[SHARES[-1]]
    verdict = Verdict.UNRESOLVED if edges else together(verdicts.values())
    on = {clock: together(lower(c) for key, c in found.items() if key[2] == clock) for clock in TARGET_LABELS}
    words = ", ".join(f"in {TARGET_LABELS[clock]} {own}" for clock, own in on.items())
    times = (answers.span(c.ratio.estimate for key, c in found.items() if key[1:] == (of, "seconds")) for of in OTHERS)
    also = [f"{share:g}" for share, (_, own) in compared.items() if own and share != SHARES[-1]]
    shown = next((c.ratio for key, c in found.items() if key[1:] == ("B=1", "updates")), None)
    return Finding(
        "C14",
        verdict,
        f"To a tenth of the initial cost, at best rates, B=64 needs {next(times)} × the train seconds of B=1 and "
        f"{next(times)} × those of B=N.{edges or f' The claim is {words}.'}"
        + (f" To {answers.joined(also)} of the cost a best rate lies on the edge of its grid." if also else ""),
        unit="× the updates of B=1 (first dataset)",
        effect=shown if shown and np.isfinite(shown.estimate) else None,
        replicas=min((len(own["updates"]) for own in reached.values()), default=0),
        panels=[_to_target(reached, best, clock) for clock in TARGET_LABELS],
        rows=list(_by_target({share: own for share, (own, _) in compared.items()}, evidence.answer.n_replicas)),
        along={"the target (share of the initial cost)": verdicts},
        plain=_fewer(compared, verdicts) if verdict is Verdict.CONDITIONAL else "",
    )


def _by_target(found: Mapping[float, Compared], n_replicas: int) -> Iterator[tuple[str, ...]]:
    """Of B=64 over each other method on each clock: the ratio to every target, and whether the last one is lower."""
    yield (
        "data",
        "clock",
        "B=64 over",
        *(f"to {share:g} of the initial cost" for share in found),
        f"lower, to {SHARES[-1]:g}",
    )
    for key, last in found[SHARES[-1]].items():
        known = (answers.compared(own[key], n_replicas=n_replicas) if key in own else "" for own in found.values())
        yield key[0], TARGET_LABELS[key[2]], key[1], *known, str(lower(last))


def _fewer(compared: Mapping[float, tuple[Compared, str]], verdicts: Mapping[float, Verdict]) -> str:
    """To which targets B=64 is lower; or, where that depends on more, on which clock, than which, on which data."""
    if Verdict.CONDITIONAL not in verdicts.values():
        shares = {f"{share:g}": own for share, own in verdicts.items()}
        return f"In shares of the initial cost, {answers.where(shares, 'to ')}."
    wins = {share: _wins(found) for share, (found, edges) in compared.items() if not edges}
    last = wins[[share for share, verdict in verdicts.items() if verdict is Verdict.CONDITIONAL][-1]]
    alike = answers.joined(f"{share:g}" for share, own in wins.items() if own == last)
    clocks = dict.fromkeys(clock for _, clock in last)
    parts = [
        _than(clock, {other: last[other, clock] for other in OTHERS if last.get((other, clock))}) for clock in clocks
    ]
    return f"To {alike} of the initial cost B=64 takes {'; '.join(parts)}."


def _wins(found: Compared) -> dict[tuple[str, str], str]:
    """Other method, clock -> the data on which B=64 is lower, in words."""
    by: dict[tuple[str, str], dict[str, bool]] = {}
    for (name, *key), comparison in found.items():
        by.setdefault((key[0], key[1]), {})[name] = lower(comparison) is Verdict.SUPPORTED
    return {key: _place(own) for key, own in by.items()}


def _place(won: Mapping[str, bool]) -> str:
    """Empty where it is on none."""
    names = [name for name, own in won.items() if own]
    return ALL if all(won.values()) else f"on {answers.joined(names)}" if names else ""


def _than(clock: str, won: Mapping[str, str]) -> str:
    """`fewer seconds than B=1 on all data and than B=N on wine`, or of one only; won: other method -> where."""
    if len(won) != 1:
        than = answers.joined(f"than {other} {place}" for other, place in won.items()) if won else "than neither"
        return f"fewer {clock} {than}"
    ((other, place),) = won.items()
    return f"fewer {clock} only than {other}{'' if place == ALL else f', {place}'}"


def _to(evidence: Evidence, share: float) -> "tuple[pd.DataFrame, Reached]":
    """The best cells to this share of the initial cost, of those that were shuffled, and what they need to it.

    On the replicas that did not choose the rate.
    """
    data, goals = evidence.data, {name: goal * share / SHARES[-1] for name, goal in evidence.answer.targets_at.items()}
    best, reached = evidence.answer.targets, evidence.answer.to_target
    if share != SHARES[-1]:
        reached = updates_to_target(data.histories, goals, data.finished)
        best = targets_table(data.finished, reached, evidence.rng, data.n_blocks)
    best = best.join(evidence.cells.set_index("cell")[["dataset", "n_train", "order"]], on="cell")
    best = best[best["order"] == "reshuffle"]
    return best, {
        cell: {clock: evidence.reported(reached[cell], clock) for clock in TARGET_LABELS} for cell in best["cell"]
    }


def _compared(evidence: Evidence, best: "pd.DataFrame", reached: Reached) -> tuple[Compared, str]:
    """B=64 against the others on each clock and dataset, one family; and which best rates are at an edge."""
    arms = {}
    for name, own in best.groupby("dataset"):
        cell = own.set_index("batch_size")["cell"]
        for other, B in {"B=1": 1.0, "B=N": float(own["n_train"].iloc[0])}.items():
            if {64.0, B} <= set(cell.index):
                for clock in TARGET_LABELS:
                    arms[str(name), other, clock] = (reached[cell[64.0]][clock], reached[cell[B]][clock])
    return evidence.compare(arms), at_the_edge(best)


def _verdict(found: Compared, edges: str) -> Verdict:
    return Verdict.UNRESOLVED if edges or not found else together(map(lower, found.values()))


def _to_target(reached: Reached, best: "pd.DataFrame", clock: str) -> Panel:
    lines = []
    for name, own in best.groupby("dataset"):
        place = np.select([own["batch_size"] == 1, own["batch_size"] == own["n_train"]], [0, 2], 1)
        middle, low, high = limits(median_interval(reached[cell][clock]) for cell in own["cell"])
        lines.append(Series(str(name), place, middle, low, high))
    title = f"{TARGET_LABELS[clock].capitalize()} to a tenth of the cost"
    return Panel(title, "examples in a batch", TARGET_LABELS[clock], lines, "y", ("1", "64", "all N"))
