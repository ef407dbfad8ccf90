"""Judges accumulation: batches whose gradient is computed in parts, right and with the mistakes that libraries made.

The sweep trains whole batches and the right accumulation; the judge trains each mistake, and what repairs it, from the
same splits, weights and orders.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.analysis import Evidence, Finding, MakeEngine, Panel, Series, Trained, limits, relative, train_again
from harness.inference import Comparison, Verdict, all_hold, exactly, opposite
from harness.network import MLP, Accumulated, Parameters, Rows, gather, inplace_reduce
from harness.report import answers, number

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.floating]
Found = Mapping[tuple[str, str], Comparison]  # claim, name -> cost of the mistake against that in one piece
ROUNDING = {"float64": 1e-10, "float32": 1e-4}
VISIBLE = 1e-3  # a relative difference of all parameters, far above rounding
LOWEST = 1e-18  # where a figure with a log axis shows zero
TOKENS, SHARDS, PARTS = (2, 6, 16, 40), (1, 2, 4, 8), 4
ALIKE = ["dataset", "batch_size", "last_batch", "order", "dtype", "epochs", "optimizer.name"]
ALIKE += ["optimizer.weight_decay", "optimizer.clip_norm"]
WAYS = {  # reduction, accumulate -> what is put together at which rate
    ("mean", "mean_of_means"): "mean of means at η",
    ("mean", "sum"): "sum of means at η/K",
    ("sum", "mean_of_means"): "mean of sums at ηK/B",
}
RANDOM, NOTHING, MEANS, RIGHT = ", random shards", "No cell was trained for it.", "mean_of_means", "by_examples"
COSTS = {
    "a lower": "lower",
    "b lower": "higher",
    "equivalent": "within 5 %",
}  # of the mistake, by a comparison's verdict
ANOTHER = {  # answers to which is added how much the cost moves: another training need not be much worse
    "K3": "Yes: it is another training, and counting all examples, or tokens, repairs it.",
    "K4": "Yes: it is a sum at η/B; dividing by the examples that it has repairs it.",
    "K6": "Yes: it is another training; clipping their sum is training with B.",
}


class Unequal(Accumulated):
    """Micro-batches whose lengths are in given proportions."""

    def __init__(self, lengths: Sequence[int], accumulate: str, *parts: Any) -> None:
        super().__init__(MLP.gradient_into, len(lengths), accumulate, *parts)
        self.ends = np.cumsum([0, *lengths])

    def edges(self, batch_size: int) -> list[int]:
        return [int(end) for end in self.ends * batch_size // self.ends[-1]]


class Tokens(Accumulated):
    """Each example of the training set has a number of tokens; means are over tokens, of a part or of the batch."""

    def __init__(self, micro_batches: int, accumulate: str, *parts: Any) -> None:
        super().__init__(self.weighted, micro_batches, accumulate, *parts)
        self.tokens = np.resize(TOKENS, (self.train_set[1].shape[-2], 1))
        self.part, self.n_tokens = gather(self.tokens, slice(0, 1)), np.zeros(1)  # of a part, of the batch so far

    def micro_batches_of(self, *batch: Any) -> Iterator[tuple[Rows, int]]:
        for rows, n_examples in super().micro_batches_of(*batch):
            self.part = gather(self.tokens, rows)
            yield rows, n_examples

    def weighted(self, network: MLP, grads: Parameters, X: Array, Y: Array) -> None:
        """grads <- Σ_i n_i ∇e_i over the examples i of a part, n_i their tokens."""
        loss = network.loss

        def inplace_delta(Z: Array, Y: Array) -> None:
            loss.inplace_delta(Z, Y)
            np.multiply(stack := Z.reshape(-1, *Z.shape[-2:]), self.part, stack)

        network.loss = loss._replace(inplace_delta=inplace_delta)
        network.gradient_into(grads, X, Y)
        network.loss = loss

    def inplace_part(self, n_examples: int) -> None:
        self.n_tokens = self.n_tokens + self.part.sum(axis=-2)
        self.grads.flat /= 1 if self.accumulate == RIGHT else self.part.sum(axis=-2)

    def inplace_whole(self, n_parts: int, n_examples: int) -> None:
        self.total /= self.n_tokens if self.accumulate == RIGHT else n_parts
        self.n_tokens = np.zeros(1)


class FullCount(Accumulated):
    """The sum of means is divided by K also where fewer micro-batches are left."""

    def inplace_whole(self, n_parts: int, n_examples: int) -> None:
        inplace_reduce(self.total, "mean", self.micro_batches)


class ClippedFirst(Accumulated):
    """Each micro-batch's mean is clipped, before they are put together."""

    def inplace_part(self, n_examples: int) -> None:
        super().inplace_part(n_examples)
        clip_norm, norms = self.optimizer.clip_norm or np.inf, np.linalg.norm(self.grads.flat, axis=1, keepdims=True)
        self.grads.flat *= np.minimum(1, clip_norm / norms)


EQUAL = MLP.gradient_into, PARTS
MISTAKES: dict[str, dict[str, MakeEngine]] = {  # claim -> the mistake, and what repairs it
    "K3": {"mean of means": partial(Unequal, TOKENS, MEANS), "by count": partial(Unequal, TOKENS, RIGHT)},
    "K4": {"divided by K": partial(FullCount, *EQUAL, MEANS), "by examples": partial(Accumulated, *EQUAL, RIGHT)},
    "K5": {"mean of means": partial(Unequal, SHARDS, MEANS), "weighed by length": partial(Unequal, SHARDS, RIGHT)},
    "K6": {"clipped first": partial(ClippedFirst, *EQUAL, MEANS), "clipped after": partial(Accumulated, *EQUAL, RIGHT)},
}

# K3 with tokens: in one piece, the mistake, the repair
BY_TOKENS = [partial(Tokens, 1, RIGHT), partial(Tokens, PARTS, MEANS), partial(Tokens, PARTS, RIGHT)]


class Tried(NamedTuple):
    """A mistake on one dataset: a cell that was trained in one piece, and both ways to compute it in parts."""

    name: str
    whole: Trained
    wrong: Trained
    right: Trained

    @property
    def off(self) -> Array:
        """How far the mistake ends from batches in one piece, (R,)."""
        return relative(self.wrong.weights, self.whole.weights)

    @property
    def left(self) -> Array:
        """The same of the right way."""
        return relative(self.right.weights, self.whole.weights)


def judge(evidence: Evidence) -> Iterator[Finding]:
    tried = {claim: list(_tried(evidence, claim)) for claim in MISTAKES}
    arms = {(claim, one.name): (one.wrong.costs, one.whole.costs) for claim, own in tried.items() for one in own}
    found = evidence.compare(arms)
    yield _to_rounding(evidence)
    yield _factors(evidence)
    yield _said("K3", _another_training(tried["K3"]), tried["K3"], found)
    yield _last_window(evidence, tried["K4"], found)
    yield _said("K5", _another_cost(tried["K5"], found), tried["K5"], found)
    yield _said("K6", _another_training(tried["K6"]), tried["K6"], found)


def _pairs(evidence: Evidence, own: "pd.DataFrame", others: "pd.DataFrame", *same: str) -> dict[str, Array]:
    """Cell of `own` -> relative differences (R,) to its partner among `others`: ALIKE, also in `same` and lr_mean."""
    keys, found = [*ALIKE, *same], {}
    for _, cell in own.iterrows():
        alike = others[(others[keys].map(str) == cell[keys].map(str)).all(axis=1)]
        alike = alike[np.isclose(alike["lr_mean"], cell["lr_mean"], rtol=1e-9, atol=0)]
        if len(alike):
            weights = (evidence.weights(str(name)) for name in (cell["cell"], alike["cell"].iloc[0]))
            found[str(cell["cell"])] = relative(*weights)
    return found


def _to_rounding(evidence: Evidence) -> Finding:
    """K1: in parts against in one piece."""
    cells = evidence.cells
    parts = cells[(cells["micro_batches"] > 1) & (cells["accumulate"] == "by_examples")]
    pairs = _pairs(evidence, parts, cells[cells["micro_batches"] == 1], "reduction", "learning_rate")
    about = parts.set_index("cell")
    off = [(str(about["dtype"][cell]), float(own.max())) for cell, own in pairs.items()]
    worst = {dtype: max((one for of, one in off if of == dtype), default=0.0) for dtype in ROUNDING}
    verdicts = [exactly(one, ROUNDING[dtype]) for dtype, one in off]
    rows: dict[str, dict[str, Array]] = {}
    for cell, own in sorted(pairs.items(), key=lambda pair: int(about["micro_batches"][pair[0]])):
        single, dataset = ", float32" if about["dtype"][cell] == "float32" else "", about["dataset"][cell]
        row = rows.setdefault(f"in {about['micro_batches'][cell]} parts{single}", {})
        row[dataset] = np.append(row.get(dataset, []), own)
    return Finding(
        "K1",
        all_hold(verdicts) if verdicts else Verdict.UNRESOLVED,
        f"In {len(pairs)} pairs of cells batches in parts end at most {number(worst['float64'])} from those in one "
        f"piece, relative to the parameters ({number(worst['float32'])} in single precision); with the same bits in "
        f"{sum(not own.any() for own in pairs.values())}.",
        panels=[_table(rows, "How far batches in parts end from batches in one piece")],
        rows=_numbers(rows, "largest relative difference, computed"),
    )


def _factors(evidence: Evidence) -> Finding:
    """K2: other ways at the rate that makes up for their factor."""
    cells = evidence.cells[evidence.cells["micro_batches"] > 1]
    right = cells[(cells["accumulate"] == "by_examples") & (cells["reduction"] == "mean")]
    rows: dict[str, dict[str, Array]] = {}
    for (reduction, accumulate), words in WAYS.items():
        own = cells[(cells["accumulate"] == accumulate) & (cells["reduction"] == reduction)]
        datasets = dict(zip(own["cell"], own["dataset"], strict=True))
        for cell, off in _pairs(evidence, own, right, "micro_batches").items():
            rows.setdefault(words, {})[datasets[cell]] = off
    verdicts = [exactly(float(off.max()), 0.0) for own in rows.values() for off in own.values()]
    worst = max((float(off.max()) for own in rows.values() for off in own.values()), default=np.nan)
    said = f"Largest relative difference to by examples at η: {number(worst)}, of "
    return Finding(
        "K2",
        all_hold(verdicts) if len(rows) == len(WAYS) else Verdict.UNRESOLVED,
        f"{said}{answers.joined(rows)}, over {len(verdicts)} pairs of cells." if rows else NOTHING,
        panels=[_table(rows, "How far three ways at one lr_mean end from by examples")],
        rows=_numbers(rows, "largest relative difference of"),
    )


def _tried(evidence: Evidence, claim: str) -> Iterator[Tried]:
    cells = evidence.cells[(evidence.cells["micro_batches"] == 1) & (evidence.cells["reduction"] == "mean")]
    for _, row in cells[_of_claim(cells, claim)].sort_values("order", ascending=False, kind="stable").iterrows():
        cell = str(row["cell"])
        whole = Trained(evidence.weights(cell), evidence.final_costs[cell])
        name = str(row["dataset"]) + (RANDOM if (claim, row["order"]) == ("K5", "none") else "")
        yield Tried(name, whole, *(train_again(evidence.again(cell), engine) for engine in MISTAKES[claim].values()))
        if claim == "K3":
            yield Tried(f"{name}, tokens", *(train_again(evidence.again(cell), engine) for engine in BY_TOKENS))


def _of_claim(cells: "pd.DataFrame", claim: str) -> "pd.Series":
    """The cells on which a mistake is tried."""
    clipped, left = cells["optimizer.clip_norm"].astype(float) > 0, cells["n_train"] % cells["batch_size"]
    plain = (cells["optimizer.name"] == "sgd") & (cells["optimizer.weight_decay"] == 0) & (cells["dtype"] == "float64")
    plain &= (cells["batch_size"] < cells["n_train"]) & ~clipped
    windows = (left > 0) & (left % (cells["batch_size"] / PARTS) == 0)  # the last one has whole micro-batches
    whole_set = cells["batch_size"] == cells["n_train"]
    return {"K3": plain & ~windows, "K4": plain & windows, "K5": whole_set, "K6": clipped}[claim]


def _another_training(tried: Sequence[Tried]) -> Verdict:
    """Whether the mistake is visible everywhere, and nothing of it is left in the right way."""
    return all_hold([*(opposite(exactly(float(own.off.min()), VISIBLE)) for own in tried), *_repaired(tried)])


def _repaired(tried: Sequence[Tried]) -> list[Verdict]:
    return [exactly(float(own.left.max()), ROUNDING["float64"]) for own in tried]


def _another_cost(tried: Sequence[Tried], found: Found) -> Verdict:
    """K5: whether the cost is higher where shards differ in what they contain."""
    higher = {"b lower": Verdict.SUPPORTED, "unresolved": Verdict.UNRESOLVED}
    words = (found["K5", own.name].verdict for own in tried if RANDOM not in own.name)
    return all_hold([all_hold(higher.get(word, Verdict.REFUTED) for word in words), *_repaired(tried)])


def _last_window(evidence: Evidence, tried: Sequence[Tried], found: Found) -> Finding:
    """K4: a mistake for the mean, but what the sum does."""
    cells = evidence.cells[(evidence.cells["reduction"] == "sum") & (evidence.cells["micro_batches"] == 1)]
    totals = [evidence.weights(str(cell)) for own in tried for cell in cells.loc[cells["dataset"] == own.name, "cell"]]
    if not totals:
        return Finding("K4", Verdict.UNRESOLVED, NOTHING)
    to_sum = float(relative(tried[0].wrong.weights, totals[0]).max())
    verdict = all_hold([_another_training(tried), exactly(to_sum, ROUNDING["float64"])])
    also = f" Divided by K they end at most {number(to_sum)} from the sum at η/B."
    return _said("K4", verdict, tried, found, also)


def _said(claim: str, verdict: Verdict, tried: Sequence[Tried], found: Found, also: str = "") -> Finding:
    if not tried:
        return Finding(claim, Verdict.UNRESOLVED, NOTHING)
    wrong, right = MISTAKES[claim]
    first, left = found[claim, tried[0].name].ratio, max(float(one.left.max()) for one in tried)
    rows = {wrong: {one.name: one.off for one in tried}, right: {one.name: one.left for one in tried}}
    own, off = {one.name: found[claim, one.name] for one in tried}, np.concatenate([one.off for one in tried])
    return Finding(
        claim,
        verdict,
        f"The mistake ({wrong}) ends {answers.span(off)} from batches in one piece, relative to the parameters, at "
        f"{_costs(own)}. The repair ({right}) ends at most {number(left)} from them.{also}",
        unit=f"× the final cost ({tried[0].name})",
        effect=first if np.isfinite(first.low) else None,
        replicas=min(len(one.whole.costs) for one in tried),
        panels=[_table(rows, "How far both end from batches in one piece", across=True), _ratios(wrong, own)],
        rows=list(_both_ways(tried, own, wrong, right)),
        plain=f"{ANOTHER[claim]} {_moved(own)}" if claim in ANOTHER and verdict is Verdict.SUPPORTED else "",
    )


def _both_ways(tried: Sequence[Tried], found: Mapping[str, Comparison], *ways: str) -> Iterator[tuple[str, ...]]:
    off = [f"parameters off by (relative), {way}" for way in ways]
    yield "data", *off, f"final cost (× in one piece), {ways[0]}", "the cost is"
    for one in tried:
        cost = found[one.name]
        word = COSTS.get(cost.verdict, "unresolved")
        yield one.name, answers.span(one.off), answers.span(one.left), answers.compared(cost), word


def _costs(found: Mapping[str, Comparison]) -> str:
    """1.22 to 1.59 × (random shards: 0.988 to 1.02 ×) their final cost, where costs can be compared."""
    every, random = (
        answers.span(own.ratio.estimate for name, own in found.items() if (RANDOM in name) == of)
        for of in (False, True)
    )
    also = f" (random shards: {random} ×)" if any(RANDOM in name for name in found) else ""
    lost = " where neither diverged" if any(any(own.diverged) for own in found.values()) else ""
    return f"{every} ×{also} their final cost{lost}"


def _moved(found: Mapping[str, Comparison]) -> str:
    """By how much the final cost moves at most, by its intervals; where a comparison is unresolved nothing is said."""
    known = [own.ratio for own in found.values() if own.verdict in COSTS and np.isfinite(own.ratio.low)]
    if not known:
        return "How much the final cost moves is open."
    most = np.ceil(np.round(1000 * max(max(ratio.high - 1, 1 - ratio.low) for ratio in known), 6)) / 10
    moves = f"the final cost moves by at most {most:g} %"
    if len(known) == len(found):
        return f"{moves.capitalize()}."
    return f"In {len(known)} of {len(found)} settings {moves}; in the others that is open."


def _numbers(rows: Mapping[str, Mapping[str, Array]], first: str) -> list[tuple[str, ...]]:
    """The largest difference of a replica, by name and dataset."""
    datasets = dict.fromkeys(name for own in rows.values() for name in own)
    body = [(name, *(number(own[of].max()) if of in own else "" for of in datasets)) for name, own in rows.items()]
    return [(first, *datasets), *body] if body else []


def _table(rows: Mapping[str, Mapping[str, Array]], title: str, across: bool = False) -> Panel:
    """A row (or a column, if across) for each name, a mark for each dataset: the largest difference of a replica."""
    datasets, names = list(dict.fromkeys(name for own in rows.values() for name in own)), list(rows)
    lines = []
    for i, dataset in enumerate(datasets):
        places = np.array([place for place, own in enumerate(rows.values()) if dataset in own])
        worst = [max(LOWEST, float(rows[names[place]][dataset].max())) for place in places]
        places = places + 0.5 * ((i + 0.5) / len(datasets) - 0.5)
        x, y = (places, worst) if across else (worst, places)
        lines.append(Series(dataset, x, y, kind="marks"))
    bound, ends = [ROUNDING["float64"]] * 2, [-0.5, len(names) - 0.5]
    label, axis = "1e-10: more is not rounding (single precision: 1e-4)", "relative difference (1e-18: none)"
    lines.append(Series(label, ends if across else bound, bound if across else ends, kind="reference"))
    if across:
        return Panel(title, "", axis, lines, log="y", names=names)
    return Panel(title, axis, "", lines, log="x", names=names, named="y")


def _ratios(wrong: str, found: Mapping[str, Comparison]) -> Panel:
    """The final cost of a mistake, as a multiple of that in one piece."""
    known = {name: own.ratio for name, own in found.items() if np.isfinite(own.ratio.estimate)}
    ratios = Series(wrong, range(len(known)), *limits(known.values()), kind="marks")
    one = Series("the same cost", [-0.5, len(known) - 0.5], [1.0, 1.0], kind="reference")
    return Panel("Final training cost", "", "multiple of that in one piece", [ratios, one], log="", names=list(known))
