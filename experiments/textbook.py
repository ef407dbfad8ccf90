"""Judges textbook: the figures of D2L's chapter on mini-batches, over many seeds, and its sentences."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.analysis import BATCH_SIZE, Evidence, Finding, Panel, Series, quartiles, targets_table, updates_to_target
from harness.inference import (
    Comparison,
    Interval,
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
from harness.report import answers, interval, number
from harness.training import curve

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.floating]
Asked = Mapping[str, tuple[float, float, str]]  # what is asked -> the batch sizes of a ratio, and of which clock

PRINTED: dict[float, float] = {1: 0.005, 10: 0.05, 100: 0.4}  # B -> the chapter's rate
PRINTED_FULL = 1.0  # of B=N
LOSSES = (0.3, 0.28, 0.27, 0.26)  # from 0.5; least squares has 0.24
LITTLE = (0.5, 0.8, 0.9)  # shares of the way to the lowest cost, below which somebody may call progress little
GAINS = (0.003, 0.01, 0.03)  # of that way: a change in updates 7 to 10, up or down, that may be called none
STALLED, LAST = 6, 10  # updates
SIDES = {"low": "lower", "high": "higher", "both": "lower and higher"}  # edge of a grid -> which rates to add
IN_WORDS = {
    "B=1": "B = 1", "B=10": "B = 10", "B=N": "the whole set as it lies", "B=N, gathered": "the whole set gathered",
    "epochs of B=1 over B=N": "B = 1 needs fewer epochs than the whole set",
    "seconds of B=N over B=1": "more seconds than the whole set as it lies",
    "of B=N, gathered, over B=1": "than the whole set gathered",
    "seconds of B=10 over B=1": "B = 10 takes less time than B = 1",
    "of B=100 over B=N": "B = 100 less than the whole set as it lies",
    "of B=100 over B=N, gathered": "than the whole set gathered",
}  # fmt: skip
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
    along = {limit: together(own[limit] for own in verdicts.values()) for limit in FASTER}
    verdict = together(verdict for own in verdicts.values() for verdict in own.values())
    against = {IN_WORDS[text]: together(own.values()) for text, own in verdicts.items()}
    seconds = Series("one epoch", list(times), *quartiles(times[B] * N / 1000 for B in times))
    return Finding(
        "D1",
        verdict,
        f"Time of an epoch with B=100 over that of one with another batch size: {answers.spread(ratios.values())}.",
        unit="× the time of an epoch with B=N, gathered",
        effect=ratios["B=N, gathered"],
        replicas=len(times),
        panels=[Panel("Time of an epoch, 1500 examples", BATCH_SIZE, "ms", [seconds])],
        rows=[
            ("B=100 over", "ratio of times", *(f"below {limit:g}" for limit in FASTER)),
            *((text, interval(ratios[text]), *own.values()) for text, own in verdicts.items()),
        ],
        along={"what counts as less (ratio)": along},
        plain="" if verdict in answers.DECIDED else f"B = 100 {answers.where(against, 'against ')}.",
    )


# D2


def progress(evidence: Evidence, cells: "pd.DataFrame") -> Finding:
    N, lowest = whole(cells), np.min([evidence.final_costs[cell] for cell in cells["cell"]], axis=0)
    printed = at_rate(cells, N, PRINTED_FULL)
    other = at_rate(cells, N, PRINTED_FULL / 2)
    covered = _covered(evidence.histories[printed["cell"]], lowest)
    share, gains = mean_interval(covered[STALLED]), _gains(covered)
    little = {limit: inside(share, 0, limit) for limit in LITTLE}
    stalls = {limit: all_hold(inside(gain, -limit, limit) for gain in gains.values()) for limit in GAINS}
    verdict = all_hold([together(little.values()), together(stalls.values())])
    runs = [_line(evidence, one["cell"], f"η={one['learning_rate']:g}", "update") for one in (other, printed)]
    return Finding(
        "D2",
        verdict,
        f"After {STALLED} updates {interval(share)} of the way to the lowest cost are covered; up to update {LAST} "
        f"that changes by {interval(gains[LAST])}. The rate times λ_max is "
        f"{number(_sharpness(evidence, printed))}, stable below 2.",
        unit=f"of the way covered after {STALLED} updates",
        effect=share,
        replicas=len(covered[STALLED]),
        panels=[Panel("Batch gradient descent", "updates", "½ (ŷ − y)² per example", runs, log="")],
        rows=[
            (
                "rate",
                "rate × λ_max",
                f"covered after {STALLED} updates",
                *(f"update {u} changes that by" for u in gains),
            ),
            *(_way(evidence, one, lowest) for one in (printed, other)),
        ],
        along={"where little ends": little, "up to which change it stalls": stalls},
        plain={
            Verdict.SUPPORTED: "",
            Verdict.REFUTED: _on(share, gains[LAST], together(stalls.values()), _sharpness(evidence, printed)),
        }.get(verdict, f"Little: {answers.within(little, 'below ')}; a stall: {answers.within(stalls)}."),
    )


def _on(share: Interval, gain: Interval, stalls: Verdict, sharpness: float) -> str:
    """How far the printed rate comes until it is said to stall, how its cost goes on, and whether it is stable."""
    changes = "rises" if gain.high < 0 else "falls on" if gain.low > 0 else "swings"
    return (
        f"No: after {STALLED} updates {answers.percent(share.estimate)} of the way is covered, and then the cost "
        f"{'stays' if stalls is Verdict.SUPPORTED else changes}; the rate is {number(sharpness)}/λ_max, "
        f"{'above' if sharpness > 2 else 'below'} the stable 2/λ_max."
    )


def _sharpness(evidence: Evidence, one: "pd.Series") -> float:
    return float(evidence.table(one["cell"], "diagnostics.csv")["eta_lambda_max"].median())


def _way(evidence: Evidence, one: "pd.Series", lowest: Array) -> tuple[str, ...]:
    """A row: how far a rate comes until it is said to stall, and how it goes on."""
    covered = _covered(evidence.histories[one["cell"]], lowest)
    gains = map(interval, _gains(covered).values())
    rate, sharpness = number(one["learning_rate"]), number(_sharpness(evidence, one))
    return rate, sharpness, interval(mean_interval(covered[STALLED])), *gains


def _gains(covered: Mapping[int, Array]) -> dict[int, Interval]:
    """Update -> what the way covered has changed by since update STALLED; a cost that rises, or swings, is no stall."""
    return {update: mean_interval(covered[update] - covered[STALLED]) for update in range(STALLED + 1, LAST + 1)}


def _covered(history: "pd.DataFrame", lowest: Array) -> dict[int, Array]:
    """Update -> (R,): which part of the way from the initial to the lowest cost is covered."""
    cost = history.pivot(index="update", columns="replica", values="train_cost")
    start = cost.loc[0].to_numpy()
    return {update: (start - cost.loc[update].to_numpy()) / (start - lowest) for update in range(STALLED, LAST + 1)}


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
        found = [one for loss, own in reached.items() for one in _compared(evidence, loss, own, asked)]
        along = {loss: _both([own for own in found if own.loss == loss]) for loss in LOSSES}
        verdict, first = together(along.values()), next(own.one.ratio for own in found if own.loss == LOSSES[-1])
        yield Finding(
            claim,
            verdict,
            f"To losses of {LOSSES[0]} to {LOSSES[-1]}, at printed and tuned rates: "
            f"{'; '.join(_range(found, text) for text in asked)}."
            f"{answers.why_undecided((own.one, own.edge, own.n_replicas) for own in found)}",
            unit=f"× {next(iter(asked))} to a loss of {LOSSES[-1]}, as printed",
            effect=first if np.isfinite(first.estimate) else None,
            replicas=int(evidence.answer.n_replicas),
            panels=panels,
            rows=[
                ("ratio", "rates", *(f"to {loss:g}" for loss in LOSSES), "verdict"),
                *(_row(text, how, found) for text in asked for how in ("printed", "tuned")),
            ],
            along={"the loss to be reached": along},
            plain="" if verdict in answers.DECIDED else _counted(found, asked),
        )


@dataclass(frozen=True)
class Held:
    """What is asked at one loss, as "printed" or "tuned". edge: what keeps it open, in words, or "".

    n_replicas: of the sweep, where one half of them chose the rates.
    """

    loss: float
    how: str
    text: str
    one: Comparison
    edge: str
    n_replicas: int

    @property
    def verdict(self) -> Verdict:
        return Verdict.UNRESOLVED if self.edge else lower(self.one)


def _compared(evidence: Evidence, loss: float, reached: Reached, asked: Asked) -> Iterator[Held]:
    of = partial(reached.of, n_blocks=evidence.data.n_blocks)
    clocks = {(how, text): own for how in reached.arms for text, own in asked.items()}
    arms = {(how, text): (of(how, a, c), of(how, b, c)) for (how, text), (a, b, c) in clocks.items()}
    for (how, text), one in evidence.compare(arms).items():
        at = reached.edges[reached.edges["batch_size"].isin(asked[text][:2])] if how == "tuned" else reached.edges[:0]
        yield Held(
            loss,
            how,
            text,
            one,
            "; ".join(_to_add(row) for _, row in at.iterrows()),
            evidence.answer.n_replicas * (how == "tuned"),
        )


def _to_add(row: "pd.Series") -> str:
    words = "no rate reaches it" if np.isnan(row["learning_rate"]) else f"add {SIDES[row['edge']]} rates"
    return f"B={row['batch_size']:g}: {words}"


def _both(found: list[Held]) -> Verdict:
    """At one loss, as printed and tuned: both parts, the second with the whole set as it lies and gathered."""
    by_how: dict[str, list[Verdict]] = {}
    for own in found:
        by_how.setdefault(own.how, []).append(own.verdict)
    return together(all_hold([first, together(others)]) for first, *others in by_how.values())


def _range(found: list[Held], text: str) -> str:
    known = [own.one.ratio.estimate for own in found if own.text == text and np.isfinite(own.one.ratio.estimate)]
    return f"{text} {number(min(known))} to {number(max(known))}" if known else f"{text} not known"


def _row(text: str, how: str, found: list[Held]) -> tuple[str, ...]:
    """A ratio to every loss, with what keeps it open."""
    own = [one for one in found if (one.text, one.how) == (text, how)]
    return text, how, *(answers.compared(x.one, x.edge, x.n_replicas) for x in own), together(x.verdict for x in own)


def _counted(found: list[Held], asked: Asked) -> str:
    """In how many cases, by loss and choice of rates, each part of the claim holds, and in how many it fails."""
    verdicts = {text: [own.verdict for own in found if own.text == text] for text in asked}
    told = []
    for text, own in verdicts.items():
        yes, no = (own.count(verdict) for verdict in answers.DECIDED)
        told.append(f"{IN_WORDS[text]} in {yes or 'none'}{f' (in {no} not)' if no else ''}")
    return f"Of {len(LOSSES) * 2} cases (losses and choices of rates): {'; '.join(told)}."


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
    verdict, rates = together(along.values()), {name: number(effective_rate(name)) for name in of}
    lines = [_line(evidence, cell, f"{name}, {effective_rate(name):g}", "epoch") for name, cell in of.items()]
    parts = {name: {limit: inside(value, 0, limit) for limit in SAME} for name, value in apart.items()}
    return Finding(
        "D5",
        verdict,
        "Largest difference of the training cost from that of MXNet's version, as a part of it: "
        f"{', '.join(f'{name} {interval(value)}' for name, value in apart.items())}. They train at rates of "
        f"{answers.joined(rates[name] for name in apart)}, MXNet's at {rates['MXNet']}.",
        unit="of the cost of MXNet's version, by which TensorFlow's is furthest from it",
        effect=apart["TensorFlow"],
        replicas=len(weights["MXNet"]),
        panels=[Panel("One experiment in three frameworks", "epoch", "½ (ŷ − y)² per example", lines, log="x")],
        rows=[
            (
                "version",
                "rate",
                "× the cost apart",
                "× their norm the weights apart",
                *(f"within {answers.percent(x)}" for x in SAME),
            ),
            *((name, rates[name], interval(apart[name]), number(far[name]), *parts[name].values()) for name in apart),
        ],
        along={"the difference that is allowed": along},
        plain=""
        if verdict in answers.DECIDED
        else f"{'; '.join(f'{name} {answers.within(own)}' for name, own in parts.items())}.",
    )


def _apart(evidence: Evidence, cell: str, other: str) -> Array:
    """(R,): the largest |a/b − 1| of the training costs at one update, as long as both train."""
    a, b = (evidence.histories[one].set_index(["replica", "update"])["train_cost"] for one in (cell, other))
    return (a / b - 1).dropna().abs().groupby("replica").max().to_numpy()


def _distance(a: Array, b: Array) -> Array:
    return np.linalg.norm(a - b, axis=1) / np.linalg.norm(b, axis=1)
