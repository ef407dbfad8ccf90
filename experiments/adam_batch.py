"""Judges adam_batch: β2 over batch sizes, plain gradient descent beside Adam, scaling rules by whole curves."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.analysis import (
    MARGIN,
    Evidence,
    Finding,
    Panel,
    Ratio,
    Series,
    costs_at,
    limits,
    median_cost,
    ratio_of,
    spent,
)
from harness.inference import (
    Array,
    Interval,
    Verdict,
    all_hold,
    fewest_pairs,
    inside,
    median_interval,
    paired_ratio,
    split_replicas,
    together,
)
from harness.report import answers, held, interval, number

if TYPE_CHECKING:
    import pandas as pd

REFERENCE = 64  # the batch size at which both rules for β2 are one
HALF_LIFE, FIXED = "half-life", "β2"  # what is the same at every batch size
BASES = (0.95, 0.999)  # β2 at the reference
LOWER = (0.0, 1 / (1 + MARGIN))  # ratios of costs that are lower by more than the margin
HIGHER = (1 + MARGIN, np.inf)
LESS = (0.02, MARGIN, 0.1)  # a cost lower by this part is lower
AS_GOOD = (0.05, 0.1, 0.2)  # a cost higher by this part is still as good

BASE, BETA1, BETA2 = 16, 0.9, 0.999  # batch size and decays that are scaled by κ = B/BASE
RULES = {
    "A4": (0.5, True),
    "A4.linear": (1.0, True),
    "A4.betas": (0.5, False),
}  # power of κ in η; are β1, β2, ε scaled?
PARTS = (1 / 8, 1 / 4, 1 / 2, 1)  # of the examples of a run, where curves are compared
SAME = (0.05, 0.1, 0.2)  # curves this close are one


def judge(evidence: Evidence) -> Iterator[Finding]:
    cells = evidence.cells
    whole = cells["last_batch"] == "drop"
    arms = best_arms(evidence, cells[~whole])
    yield half_life(arms)
    yield plain_descent(evidence, arms, cells[~whole])
    curves = curves_of(evidence, cells[whole & (cells["optimizer.name"] == "adam")])
    yield from (one_curve(evidence, claim, curves) for claim in RULES)


# A2, A3: at the best rate


@dataclass(frozen=True, eq=False)
class Arm:
    """A way to train at one batch size, at its best rate: final costs (R,), of which the first half chose it.

    edge: where its grid has to be extended, as of `BestRate`.
    """

    costs: Array
    edge: str


Arms = dict[tuple[str, float, str, float], Arm]  # (dataset, batch size, optimiser, its β2 or 0) -> arm


def best_arms(evidence: Evidence, cells: "pd.DataFrame") -> Arms:
    about = cells[["cell", "dataset", "optimizer.name", "optimizer.beta2"]]
    found: Arms = {}
    for _, row in evidence.answer.best.merge(about, on="cell").iterrows():
        name = str(row["optimizer.name"])
        beta2 = float(row["optimizer.beta2"]) if name == "adam" else 0.0
        arm = Arm(evidence.final_costs[row["cell"]], str(row["edge"]))
        found[str(row["dataset"]), float(row["batch_size"]), name, beta2] = arm
    return found


def beta2_at(batch_size: float, base: float, rule: str) -> float:
    """The β2 of a batch size, where it is `base` at the reference: fixed, or with its half-life fixed in examples.

    β2^(t/B) = 1/2 after t examples, so log β2 ∝ B (Marek et al. 2025).
    """
    return base if rule == FIXED else float(base ** (batch_size / REFERENCE))


def adam_arm(arms: Arms, dataset: str, batch_size: float, base: float, rule: str) -> Arm | None:
    beta2 = beta2_at(batch_size, base, rule)
    close = (arm for key, arm in arms.items() if key[:3] == (dataset, batch_size, "adam") and _alike(key[3], beta2))
    return next(close, None)


def _alike(beta2: float, other: float) -> bool:
    return bool(np.isclose(1 - beta2, 1 - other, rtol=1e-3))


def half_life(arms: Arms) -> Finding:
    """A2: cost with the half-life fixed over cost with β2 fixed, at every batch size below the reference."""
    found = {base: own for base in BASES if (own := _both_rules(arms, base))}
    if not found:
        return Finding("A2", Verdict.UNRESOLVED, "Adam was not trained with both rules for β2.")
    parts = {base: together(one.inside(*LOWER) for one in own.values()) for base, own in found.items()}
    every = [one for own in found.values() for one in own.values()]
    bands = [(0.0, 1 / (1 + less)) for less in LESS]
    margins = {less: together(one.inside(*band) for one in every) for less, band in zip(LESS, bands, strict=True)}
    base, own = next(iter(found.items()))
    smallest = min(own, key=lambda key: key[1])
    return Finding(
        "A2",
        verdict := together([*parts.values(), *margins.values()]),
        "Final training cost with the half-life of β2 fixed in examples over that with β2 itself, each at its best "
        f"rate: {answers.spread(one.limits for one in every)}. Lower is by more than "
        f"{', '.join(map(answers.percent, LESS))}.{answers.why_open(every, *bands)}",
        unit=f"× the cost with β2 = {base:g} ({_at(smallest)})",
        effect=own[smallest].effect,
        replicas=min(one.pairs for one in every),
        panels=[_ratios(found)],
        rows=[
            (
                f"β2 at B={REFERENCE}",
                "data",
                "B",
                "× the cost with β2 itself",
                *(f"lower by more than {answers.percent(less)}" for less in LESS),
            ),
            *(
                (f"{base:g}", key[0], f"{key[1]:g}", held(one, *bands), *(one.inside(*x) for x in bands))
                for base, own in found.items()
                for key, one in own.items()
            ),
        ],
        along={
            f"β2 at B={REFERENCE} (lower is by more than {answers.percent(MARGIN)})": parts,
            "how much lower is lower (as a part)": margins,
        },
        plain=""
        if verdict in answers.DECIDED
        else f"By more than {answers.percent(MARGIN)}: {'; '.join(_lower(base, own) for base, own in found.items())}.",
    )


def _lower(base: float, own: Mapping[tuple[str, float], Ratio]) -> str:
    """A2 from one β2: where the cost is lower, and where it is even higher, both by more than the margin."""
    higher = [key for key, one in own.items() if one.inside(*HIGHER) is Verdict.SUPPORTED]
    more = f"by more than {answers.percent(MARGIN)}"
    words = answers.by_size({key: one.inside(*LOWER) for key, one in own.items()})
    return f"for β2 = {base:g} {words}{f' ({answers.places(higher, own)} {more} higher)' if higher else ''}"


def _both_rules(arms: Arms, base: float) -> dict[tuple[str, float], Ratio]:
    found = {}
    for dataset, B in sorted({key[:2] for key in arms if key[1] < REFERENCE}):
        scaled, fixed = (adam_arm(arms, dataset, B, base, rule) for rule in (HALF_LIFE, FIXED))
        if scaled and fixed:
            found[dataset, B] = _over(scaled, fixed)
    return found


def plain_descent(evidence: Evidence, arms: Arms, cells: "pd.DataFrame") -> Finding:
    """A3: plain gradient descent over Adam, with its β2 fixed and with its half-life fixed, at B=1; shown at all B."""
    found: dict[tuple[str, float, str], Ratio] = {}
    for dataset, B, name, beta2 in arms:
        for rule in (FIXED, HALF_LIFE) if name == "sgd" else ():
            if (adam := adam_arm(arms, dataset, B, BETA2, rule)) and (B < REFERENCE or rule == FIXED):
                found[dataset, B, rule] = _over(arms[dataset, B, name, beta2], adam)
    single = {key: one for key, one in found.items() if key[1] == 1}
    if not single:
        return Finding("A3", Verdict.UNRESOLVED, "Not both of gradient descent and Adam were trained at B=1.")
    parts = {more: together(one.inside(0, 1 + more) for one in single.values()) for more in AS_GOOD}
    bands = [(0.0, 1 + more) for more in AS_GOOD]
    first, ratio = next(iter(single.items()))
    return Finding(
        "A3",
        verdict := together(parts.values()),
        "Final training cost of gradient descent without momentum over that of Adam at B=1, each at its best rate: "
        f"{answers.spread(one.limits for one in single.values())}. As good is higher by at most "
        f"{', '.join(map(answers.percent, AS_GOOD))}.{answers.why_open(single.values(), *bands)}",
        unit=f"× the cost of Adam ({_at(first[:2])})",
        effect=ratio.effect,
        replicas=min(one.pairs for one in single.values()),
        panels=[_by_rate(evidence, cells, str(dataset)) for dataset in dict.fromkeys(cells["dataset"])],
        rows=[
            (
                "data",
                "B",
                "fixed over B",
                "× the cost of Adam",
                *(f"higher by at most {answers.percent(m)}" for m in AS_GOOD),
            ),
            *(
                (name, f"{B:g}", rule, held(one, *bands * (B == 1)), *(one.inside(*x) if B == 1 else "" for x in bands))
                for (name, B, rule), one in sorted(found.items(), key=lambda item: item[0][1])
            ),
        ],
        along={"how much higher is as good (as a part)": parts},
        plain="" if verdict in answers.DECIDED else f"At B = 1, {'; '.join(_as_good(single))}.",
    )


def _as_good(single: Mapping[tuple[str, float, str], Ratio]) -> Iterator[str]:
    """A3 by data set: within which margins, whatever Adam's β2."""
    for dataset in dict.fromkeys(key[0] for key in single):
        own = [one for key, one in single.items() if key[0] == dataset]
        yield f"on {dataset} {answers.within({m: together(one.inside(0, 1 + m) for one in own) for m in AS_GOOD})}"


def _over(a: Arm, b: Arm) -> Ratio:
    split = split_replicas(min(len(a.costs), len(b.costs)), fewest_pairs(1))
    why = "a best rate lies on the edge of its grid, extend it" if a.edge or b.edge else ""
    return ratio_of(a.costs, b.costs, split, why)


def _at(key: tuple[str, float]) -> str:
    return f"{key[0]} B={key[1]:g}"


def _ratios(found: dict[float, dict[tuple[str, float], Ratio]]) -> Panel:
    keys = list(dict.fromkeys(key for own in found.values() for key in own))
    lines = []
    for i, (base, own) in enumerate(found.items()):
        places = [keys.index(key) + 0.16 * (i - 0.5) for key in own]
        shown = limits(one.limits for one in own.values())
        lines.append(Series(f"β2 = {base:g} at B={REFERENCE}", places, *shown, kind="marks"))
    lines.append(Series("5 % lower", [-0.5, len(keys) - 0.5], [LOWER[1]] * 2, kind="reference"))
    title = "Half-life fixed over β2 fixed"
    return Panel(title, "", "ratio of training costs", lines, log="y", names=[_at(key) for key in keys])


def _by_rate(evidence: Evidence, cells: "pd.DataFrame", dataset: str) -> Panel:
    """At B=1: what each optimiser costs at each of its rates."""
    own, lines = cells[(cells["dataset"] == dataset) & (cells["batch_size"] == 1)].sort_values("learning_rate"), []
    for (name, beta2), at in own.groupby(["optimizer.name", own["optimizer.beta2"].astype(float)], dropna=False):
        label = "plain descent" if name == "sgd" else f"Adam, 1 − β2 = {number(1 - beta2)}"
        found = limits(median_interval(evidence.final_costs[cell]) for cell in at["cell"])
        lines.append(Series(label, at["learning_rate"], *found))
    return Panel(f"{dataset}, B=1", "learning rate", "training cost per example", lines)


# A4: rules that scale Adam with the batch size


@dataclass(frozen=True, eq=False)
class Curve:
    """A cell scaled from the base, and its costs over those of the base at PARTS of the run."""

    dataset: str
    base_rate: float
    batch_size: float
    base: str
    cell: str
    ratios: tuple[Interval, ...]
    pairs: int

    def one(self, margin: float) -> Verdict:
        """Whether the two curves are one: everywhere within the margin; two if they are apart anywhere."""
        return all_hold(inside(ratio, 1 / (1 + margin), 1 + margin) for ratio in self.ratios)

    @property
    def worst(self) -> Interval:
        """Where the curves are furthest apart; a ratio that is not known counts as that."""
        return max(self.ratios, key=lambda ratio: np.nan_to_num(abs(np.log(ratio.estimate)), nan=np.inf))


def _distance(curve: Curve) -> float:
    return abs(float(np.log(curve.worst.estimate)))


def curves_of(evidence: Evidence, cells: "pd.DataFrame") -> dict[str, list[Curve]]:
    """Claim -> every cell that its rule leads to from the base cells."""
    found: dict[str, list[Curve]] = {claim: [] for claim in RULES}
    for _, base in cells[cells["batch_size"] == BASE].iterrows():
        own = cells[(cells["dataset"] == base["dataset"]) & (cells["batch_size"] != BASE)]
        for claim, (power, scaled) in RULES.items():
            for _, row in own.sort_values("batch_size").iterrows():
                rate = float(base["learning_rate"]) * (float(row["batch_size"]) / BASE) ** power
                if np.isclose(row["learning_rate"], rate) and is_scaled(row) == scaled:
                    found[claim].append(_curve(evidence, base, row))
    return found


def is_scaled(row: "pd.Series") -> bool:
    """Whether 1 − β1 and 1 − β2 are κ times those of the base (epsilon, over √κ, is too small to matter)."""
    kappa, decays = float(row["batch_size"]) / BASE, {"optimizer.beta1": BETA1, "optimizer.beta2": BETA2}
    return all(np.isclose(1 - float(row[key]), kappa * (1 - decay)) for key, decay in decays.items())


def _curve(evidence: Evidence, base: "pd.Series", row: "pd.Series") -> Curve:
    names = str(row["cell"]), str(base["cell"])
    histories = [evidence.histories[name] for name in names]
    budget = min(spent(history, "examples") for history in histories)
    costs = [[costs_at(history, "examples", part * budget) for part in PARTS] for history in histories]
    ratios = tuple(paired_ratio(a, b) for a, b in zip(*costs, strict=True))
    about = str(row["dataset"]), float(base["learning_rate"]), float(row["batch_size"])
    return Curve(*about, names[1], names[0], ratios, len(costs[0][0]))


def one_curve(evidence: Evidence, claim: str, found: dict[str, list[Curve]]) -> Finding:
    if not (curves := found[claim]):
        return Finding(claim, Verdict.UNRESOLVED, "Adam was not trained at batch sizes that this rule leads to.")
    parts = {margin: together(curve.one(margin) for curve in curves) for margin in SAME}
    most = max(curves, key=_distance)
    return Finding(
        claim,
        verdict := together(parts.values()),
        f"Training cost over that of B={BASE} at an eighth, a quarter, half and all of the examples. Where a curve is "
        f"furthest from that of B={BASE}, its ratio is {answers.spread(curve.worst for curve in curves)}.",
        unit=f"× the cost of B={BASE} ({_at((most.dataset, most.batch_size))}, η = {number(most.base_rate)})",
        effect=most.worst if np.isfinite(most.worst.low) else None,
        replicas=min(curve.pairs for curve in curves),
        panels=[_along(evidence, curves, dataset) for dataset in dict.fromkeys(curve.dataset for curve in curves)],
        rows=[
            (
                "data",
                f"η at B={BASE}",
                "B",
                f"× the cost of B={BASE}, where furthest",
                *(f"within {answers.percent(m)}" for m in SAME),
            ),
            *(
                (own.dataset, number(own.base_rate), f"{own.batch_size:g}", interval(own.worst), *map(own.one, SAME))
                for own in curves
            ),
        ],
        along={"the margin": parts},
        plain="" if verdict in answers.DECIDED else _stays(curves),
    )


def _stays(curves: list[Curve]) -> str:
    """Where the curve stays within the widest margin, from every rate, and where within the narrowest."""
    wide, narrow = (_by_place(curves, margin) for margin in (max(SAME), min(SAME)))
    close = answers.places([at for at, verdict in narrow.items() if verdict is Verdict.SUPPORTED], narrow)
    most, least = map(answers.percent, (max(SAME), min(SAME)))
    verdicts = [curve.one(min(SAME)) for curve in curves]
    counts = {"no": verdicts.count(Verdict.REFUTED), "open": verdicts.count(Verdict.UNRESOLVED)}
    told = ", ".join(f"{word} in {n}" for word, n in counts.items() if n)
    others = f" ({told} of {len(verdicts)} settings)" if told else ""
    return f"Within {most} {answers.by_size(wide)}; within {least} {close}{others}."


def _by_place(curves: list[Curve], margin: float) -> dict[tuple[str, float], Verdict]:
    at = dict.fromkeys((curve.dataset, curve.batch_size) for curve in curves)
    return {key: together(one.one(margin) for one in curves if (one.dataset, one.batch_size) == key) for key in at}


def _along(evidence: Evidence, curves: list[Curve], dataset: str) -> Panel:
    """The curves of the largest rate of one dataset."""
    own = [curve for curve in curves if curve.dataset == dataset]
    rate = max(curve.base_rate for curve in own)
    shown = [curve for curve in own if curve.base_rate == rate]
    arms = {BASE: shown[0].base} | {int(curve.batch_size): curve.cell for curve in shown}
    lines = [median_cost(evidence.histories[arms[B]], f"B={B}") for B in sorted(arms)]
    title = f"{dataset}, from η = {number(rate)} at B={BASE}"
    return Panel(title, "epochs", "training cost per example", lines, log="y")
