"""Judges textbook: the figures of D2L's chapter on mini-batches, over many seeds, and its sentences."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.analysis import (
    BATCH_SIZE,
    Evidence,
    Finding,
    Panel,
    Series,
    at_the_edge,
    quartiles,
    targets_table,
    updates_to_target,
)
from harness.inference import (
    Comparison,
    Verdict,
    all_hold,
    fewest_pairs,
    geometric_mean_ratio,
    inside,
    lower,
    mean_interval,
    split_replicas,
    together,
)
from harness.report import interval, number, verdicts_along
from harness.training import curve

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.floating]
Asked = Mapping[str, tuple[float, float, str]]  # what is asked -> the batch sizes of a ratio, and of which clock
Found = dict[tuple[str, str], Comparison]  # ("printed" | "tuned", what is asked) -> answer

PRINTED: dict[float, float] = {1: 0.005, 10: 0.05, 100: 0.4}  # B -> the chapter's rate
PRINTED_FULL = 1.0  # of B=N
LOSSES = (0.3, 0.28, 0.27, 0.26)  # from 0.5; least squares has 0.24
LITTLE = (0.5, 0.8, 0.9)  # shares of the way to the lowest cost, below which somebody may call progress little
GAINS = (0.003, 0.01, 0.03)  # of that way: less in updates 7 to 10 may be called none
STALLED, LAST = 6, 10  # updates
SAME = (0.01, 0.02, 0.05, 0.1)  # relative differences of costs, below which two curves may be called identical
DRAWN = "replacement"  # the order of the cell with B=N whose rows are drawn and gathered
FASTER = (0.8, 0.9, 0.95)  # ratios of times below which one may be called faster
# The rate that is typed, and the gradient of L2Loss, MeanSquaredError and MSELoss over that of ½ (ŷ − y)²
FRAMEWORKS = {"MXNet": (0.05, 1), "TensorFlow": (0.05, 2), "PyTorch": (0.01, 2)}
REPEATED, LONGER = 10, 4  # the batch size of their run, and the epochs of PyTorch's


def judge(evidence: Evidence) -> Iterator[Finding]:
    drawn = evidence.cells["order"] == DRAWN
    cells, loaded = evidence.cells[~drawn], loading(evidence, evidence.cells[drawn])
    yield time_of_an_epoch(evidence, cells, loaded)
    yield progress(evidence, cells)
    yield from times_to_a_loss(evidence, cells[cells["epochs"] != LONGER], loaded)
    yield identical_behaviour(evidence, cells)


def effective_rate(framework: str) -> float:
    """What multiplies the gradient of the mean of ½ (ŷ − y)² over the batch."""
    rate, factor = FRAMEWORKS[framework]
    return rate * factor


def at_rate(cells: "pd.DataFrame", B: float, rate: float) -> "pd.Series":
    """The cell of a batch size and rate. Raises ValueError when it is not there."""
    own = cells[(cells["batch_size"] == B) & np.isclose(cells["learning_rate"], rate)]
    if own.empty:
        raise ValueError(f"no cell with B={B:g} at a rate of {rate:g}")
    return own.iloc[0]


def whole(cells: "pd.DataFrame") -> float:
    return float(cells["n_train"].iloc[0])


def loading(evidence: Evidence, drawn: "pd.DataFrame") -> Array:
    """(K,): time of an update of B=N that gathers its rows, as the chapter's loader does, over one that does not."""
    N = whole(drawn)
    plain = evidence.cells[(evidence.cells["batch_size"] == N) & (evidence.cells["order"] != DRAWN)]
    with_rows, without = evidence.blocks(drawn), evidence.blocks(plain)
    return (with_rows[N] / without[N]).to_numpy(dtype=float)


# D1


def time_of_an_epoch(evidence: Evidence, cells: "pd.DataFrame", loaded: Array) -> Finding:
    times, N = evidence.blocks(cells), whole(cells)
    others = {"B=1": times[1.0], "B=10": times[10.0], "B=N": times[N], "B=N, gathered": times[N] * loaded}
    ratios = {text: geometric_mean_ratio(np.log(times[100.0] / own)) for text, own in others.items()}
    verdicts = {text: {limit: inside(ratio, 0, limit) for limit in FASTER} for text, ratio in ratios.items()}
    words = "; ".join(
        f"{interval(ratios[text])} of that with {text} ({verdicts_along(own)})" for text, own in verdicts.items()
    )
    seconds = Series("one epoch", list(times), *quartiles(times[B] * N / 1000 for B in times))
    return Finding(
        "D1",
        together(verdict for along in verdicts.values() for verdict in along.values()),
        f"The time of an epoch with B=100, and whether that is less by the limit that is asked for, is {words}.",
        unit="× the time of an epoch with B=N, gathered",
        effect=ratios["B=N, gathered"],
        replicas=len(times),
        panels=[Panel("Time of an epoch, 1500 examples", BATCH_SIZE, "ms", [seconds])],
    )


# D2


def progress(evidence: Evidence, cells: "pd.DataFrame") -> Finding:
    N, lowest = whole(cells), np.min([evidence.final_costs[cell] for cell in cells["cell"]], axis=0)
    printed = at_rate(cells, N, PRINTED_FULL)
    other = at_rate(cells, N, PRINTED_FULL / 2)
    covered, ended = (_covered(evidence.histories[printed["cell"]], lowest, update) for update in (STALLED, LAST))
    share, gain = mean_interval(covered), mean_interval(ended - covered)
    best = mean_interval(_covered(evidence.histories[other["cell"]], lowest, LAST))
    little = {limit: inside(share, 0, limit) for limit in LITTLE}
    stalls = {limit: inside(gain, -np.inf, limit) for limit in GAINS}
    sharpness = float(evidence.table(printed["cell"], "diagnostics.csv")["eta_lambda_max"].median())
    runs = [_line(evidence, one["cell"], f"η={one['learning_rate']:g}", "update") for one in (other, printed)]
    return Finding(
        "D2",
        all_hold([together(little.values()), together(stalls.values())]),
        f"After {STALLED} updates {interval(share)} of the way to the lowest cost are covered. That this is little, "
        f"along where little ends: {verdicts_along(little)}. Updates {STALLED + 1} to {LAST} add {interval(gain)}; "
        f"that it stalls, along what counts as none: {verdicts_along(stalls)}. The rate times λ_max is "
        f"{number(sharpness)}, stable below 2; at half of the rate {interval(best)} are covered after {LAST} updates.",
        unit=f"of the way covered after {STALLED} updates",
        effect=share,
        replicas=len(covered),
        panels=[Panel("Batch gradient descent", "updates", "½ (ŷ − y)² per example", runs, log="")],
    )


def _covered(history: "pd.DataFrame", lowest: Array, update: int) -> Array:
    """(R,): which part of the way from the initial to the lowest cost is covered at an update."""
    cost = history.pivot(index="update", columns="replica", values="train_cost")
    start = cost.loc[0].to_numpy()
    return (start - cost.loc[update].to_numpy()) / (start - lowest)


def _line(evidence: Evidence, cell: str, label: str, column: str, unit: float = 1) -> Series:
    """Median and quartiles of the training cost of a cell over a column of its history, after the first update."""
    own = curve(evidence.histories[cell], "train_cost").iloc[1:]
    return Series(label, own[column] / unit, own["median"], own["q25"], own["q75"])


# D3, D4


@dataclass(frozen=True, eq=False)
class Reached:
    """Updates, epochs and seconds to a loss, and which cell has which batch size as printed and tuned."""

    values: dict[str, dict[str, Array]]
    arms: Mapping[str, Mapping[float, str]]  # "printed" | "tuned" -> B -> cell
    edges: "pd.DataFrame"  # rows of `targets_table` whose tuned rate lies at the edge of its grid

    def of(self, how: str, B: float, clock: str, n_blocks: int | None) -> Array:
        """(R,) of the replicas that report; seconds of those that were timed independently."""
        own = self.values[self.arms[how][B]][clock]
        own = own[split_replicas(len(own), fewest_pairs(1)).report] if how == "tuned" else own
        return own if clock == "epochs" else own[:n_blocks]


def reach(evidence: Evidence, cells: "pd.DataFrame", loss: float, loaded: Array) -> Reached:
    """A clock beside updates, epochs and seconds is "gathered": the seconds of a whole set that is gathered, too."""
    N, histories = whole(cells), evidence.data.histories
    goals = dict.fromkeys(cells["setting"], loss)
    found = updates_to_target(histories[histories["cell"].isin(cells["cell"])], goals, cells)
    is_whole = cells.set_index("cell")["batch_size"] == N
    values = {cell: _whole_updates(own) for cell, own in found.items()}
    for cell, own in values.items():
        own["gathered"] = own["seconds"] * (np.resize(loaded, len(own["seconds"])) if is_whole[cell] else 1)
    best = targets_table(cells, values, np.random.default_rng(0))
    printed = {float(B): str(at_rate(cells, B, rate)["cell"]) for B, rate in {**PRINTED, N: PRINTED_FULL}.items()}
    tuned = dict(zip(best["batch_size"].astype(float), best["cell"], strict=True))
    return Reached(values, {"printed": printed, "tuned": tuned}, best[best["edge"] != ""])


def _whole_updates(own: dict[str, Array]) -> dict[str, Array]:
    """The same with updates rounded up: batch gradient descent takes one or two, and no update can be halved."""
    updates = own["updates"]
    with np.errstate(invalid="ignore"):
        factor = np.where(np.isfinite(updates), np.ceil(updates) / updates, 1)
    return {clock: values * factor for clock, values in own.items()}


def times_to_a_loss(evidence: Evidence, cells: "pd.DataFrame", loaded: Array) -> Iterator[Finding]:
    N, reached = whole(cells), {loss: reach(evidence, cells, loss, loaded) for loss in LOSSES}
    questions = {
        "D3": {
            "epochs of B=1 over B=N": (1.0, N, "epochs"),
            "seconds of B=N over B=1": (N, 1.0, "seconds"),
            "of B=N, gathered, over B=1": (N, 1.0, "gathered"),
        },
        "D4": {
            "seconds of B=10 over B=1": (10.0, 1.0, "seconds"),
            "of B=100 over B=N": (100.0, N, "seconds"),
            "of B=100 over B=N, gathered": (100.0, N, "gathered"),
        },
    }
    panels = [_seconds(evidence, reached[LOSSES[-1]], cells, how) for how in ("printed", "tuned")]
    for claim, asked in questions.items():
        found = {loss: _compared(evidence, own, asked) for loss, own in reached.items()}
        read = {B for sizes in asked.values() for B in sizes[:2]}
        edges = {loss: own.edges[own.edges["batch_size"].isin(read)] for loss, own in reached.items()}
        along = {loss: _parts(own, asked, set(edges[loss]["batch_size"])) for loss, own in found.items()}
        first = found[LOSSES[-1]]["printed", next(iter(asked))].ratio
        yield Finding(
            claim,
            together(along.values()),
            f"To a loss of {' / '.join(map(number, LOSSES))}: "
            f"{'; '.join(_told(found, how, text) for text in asked for how in ('printed', 'tuned'))}. Along the loss "
            f"to be reached: {verdicts_along(along)}.{''.join(dict.fromkeys(map(at_the_edge, edges.values())))}",
            unit=f"× {next(iter(asked))} to a loss of {LOSSES[-1]}, as printed",
            effect=first if np.isfinite(first.estimate) else None,
            replicas=int(evidence.answer.n_replicas),
            panels=panels,
        )


def _compared(evidence: Evidence, reached: Reached, asked: Asked) -> Found:
    of = partial(reached.of, n_blocks=evidence.data.n_blocks)
    clocks = {(how, text): own for how in reached.arms for text, own in asked.items()}
    return evidence.compare({(how, text): (of(how, a, c), of(how, b, c)) for (how, text), (a, b, c) in clocks.items()})


def _parts(found: Found, asked: Asked, at_edge: set[float]) -> Verdict:
    """At one loss, as printed and tuned: both parts, the second with the whole set as it lies and gathered."""
    by_how: dict[str, list[Verdict]] = {}
    for (how, text), comparison in found.items():
        untuned = how == "tuned" and at_edge & set(asked[text][:2])
        by_how.setdefault(how, []).append(Verdict.UNRESOLVED if untuned else lower(comparison))
    return together(all_hold([first, together(others)]) for first, *others in by_how.values())


def _told(found: Mapping[float, Found], how: str, text: str) -> str:
    ratios = [own[how, text] for own in found.values()]
    values = " / ".join(number(own.ratio.estimate) if own.finite else "(not reached)" for own in ratios)
    return f"{text}, {how}: {values} ({together(map(lower, ratios))})"


def _seconds(evidence: Evidence, reached: Reached, cells: "pd.DataFrame", how: str) -> Panel:
    """The chapter's figure: loss over seconds."""
    about, lines = cells.set_index("cell"), []
    for B, cell in reached.arms[how].items():
        label = "B=N" if whole(cells) == B else f"B={B:g}"
        lines.append(_line(evidence, cell, label, "train_seconds", 1e-3))
    rates = ", ".join(f"{about.loc[cell, 'learning_rate']:g}" for cell in reached.arms[how].values())
    title = f"{how.capitalize()} rates ({rates})"
    return Panel(title, "train time (ms)", "½ (ŷ − y)² per example", lines, log="x")


# D5


def identical_behaviour(evidence: Evidence, cells: "pd.DataFrame") -> Finding:
    of = {name: at_rate(cells, REPEATED, effective_rate(name))["cell"] for name in FRAMEWORKS}
    apart = {name: mean_interval(_apart(evidence, of[name], of["MXNet"])) for name in of if name != "MXNet"}
    along = {limit: together(inside(value, 0, limit) for value in apart.values()) for limit in SAME}
    weights = {name: evidence.weights(cell) for name, cell in of.items()}
    far = {name: float(np.median(_distance(weights[name], weights["MXNet"]))) for name in apart}
    words = "; ".join(
        f"{name}, a rate of {number(effective_rate(name))}: the training cost differs by up to {interval(apart[name])} "
        f"of it, the weights at the end by {number(far[name])} of their norm"
        for name in apart
    )
    lines = [_line(evidence, cell, f"{name}, {effective_rate(name):g}", "epoch") for name, cell in of.items()]
    return Finding(
        "D5",
        together(along.values()),
        f"Compared with MXNet, a rate of {number(effective_rate('MXNet'))}: {words}. That they are identical, along "
        f"the difference that is allowed: {verdicts_along(along)}.",
        unit="of the cost, largest difference of TensorFlow to MXNet",
        effect=apart["TensorFlow"],
        replicas=len(weights["MXNet"]),
        panels=[Panel("One experiment in three frameworks", "epoch", "½ (ŷ − y)² per example", lines, log="x")],
    )


def _apart(evidence: Evidence, cell: str, other: str) -> Array:
    """(R,): the largest |a/b − 1| of the training costs at one update, as long as both train."""
    a, b = (evidence.histories[one].set_index(["replica", "update"])["train_cost"] for one in (cell, other))
    return (a / b - 1).dropna().abs().groupby("replica").max().to_numpy()


def _distance(a: Array, b: Array) -> Array:
    return np.linalg.norm(a - b, axis=1) / np.linalg.norm(b, axis=1)
