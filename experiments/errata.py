"""Judges errata: printed formulas against derived ones, in training and in their first step.

The sweep trains the derived formula; the judge trains each printed one from the same splits, weights and orders.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.analysis import Evidence, Finding, Panel, Series, median_cost
from harness.inference import Comparison, Verdict, equal, opposite, together
from harness.network import MLP, Engine, Parameters
from harness.report import interval, number, price, verdicts_along
from harness.report.answers import DECIDED, joined, percent, places, spread
from harness.training import Cell, Outcome, tables

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.floating]
DERIVED = "derived"
MARGINS = (0.02, 0.05, 0.1)  # of costs that are alike: nobody says which
WRONG = 1e-7  # a step that is off by more is not the derived one
SHOWN_RATE = 0.1
Key = tuple[str, str, float]  # formula, dataset, learning rate
Rows = list[tuple[str, ...]]
HARM = {"diverges": "training diverges", "b lower": "the final cost is {} higher"}  # how costs compare -> in words
REST = {"a lower": "{} lower", "equivalent": f"the same within {percent(MARGINS[0])}", "unresolved": "not decided"}
COLUMNS = (
    "data", "η", "first step off by", "final cost, printed over derived", "diverged", "ended above the initial cost",
    "derived: diverged", "the same cost, by the margin",
)  # fmt: skip


# The formulas in print. Each changes the derived gradient, summed over n examples, so that plain descent on the mean
# makes the printed step. Of the biases: from the summed db, the db of the last example, W, b, n and the rate η.
BIASES: dict[str, Callable[[Array, Array, Array, Array, int, float], Array]] = {
    # b <- b − Σ_i ∂J_i/∂z: neither learning rate nor 1/n
    "bias_without_rate": lambda db, last, W, b, n, rate: db * (n / rate),
    # b <- b − Σ_i ∂J_i/∂z / n: no learning rate
    "bias_mean_without_rate": lambda db, last, W, b, n, rate: db / rate,
    # b <- b − η ∂J_i/∂z, without a sum over i: of the last example, where a loop over i leaves it
    "bias_of_one_example": lambda db, last, W, b, n, rate: last * n,
    # b <- w − η Σ_i ∂J_i/∂z / n: from the weight of a neuron's first input
    "bias_from_weights": lambda db, last, W, b, n, rate: db + (b - W[:, :1]) * (n / rate),
}
OF_ALL: dict[str, Callable[[Array, int], Array]] = {
    # ∂J/∂a = (y − a)/(a(1 − a)) at the output: every derivative behind it changes its sign
    "lost_sign": lambda g, n: -g,
    # 1/n in ∂J/∂a, and once more in the update
    "divided_twice": lambda g, n: g / n,
}
MISPRINTS = (*BIASES, *OF_ALL)
CLAIMS = {f"E{i}": formula for i, formula in enumerate(MISPRINTS, 1)}


def inplace_misprint(formula: str, grads: Parameters, network: MLP, X: Array, Y: Array, learning_rate: float) -> None:
    """The derived gradient of the batch becomes the printed one."""
    n = X.shape[-2]
    if formula in OF_ALL:
        grads.flat[:] = OF_ALL[formula](grads.flat, n)
        return
    last = network.gradient(X[..., -1:, :], Y[..., -1:, :])
    for db, own, W, b in zip(grads.b, last.b, network.params.W, network.params.b, strict=True):
        db[:] = BIASES[formula](db, own, W, b, n, learning_rate)


class Printed(Engine):
    """Trains by a printed formula, for plain gradient descent on the mean."""

    def __init__(self, formula: str, *parts: Any) -> None:
        super().__init__(*parts)
        self.formula = formula

    def gradient_into(self, network: MLP, grads: Parameters, X: Array, Y: Array) -> None:
        network.gradient_into(grads, X, Y)
        inplace_misprint(self.formula, grads, network, X, Y, float(self.optimizer.eta[0, 0]))


def train_as_printed(cell: Cell, formula: str) -> "pd.DataFrame":
    """The checkpoints of the cell's replicas, trained by a printed formula."""
    cell.engine = partial(Printed, formula)
    for _ in cell.train():
        pass
    return tables.history(cell.result(), cell.config)


def judge(evidence: Evidence) -> Iterator[Finding]:
    histories, steps = _trained(evidence)
    found = {margin: _compared(evidence, histories, margin) for margin in MARGINS}
    for claim, formula in CLAIMS.items():
        yield _in_training(evidence, claim, formula, histories, steps, found)
    yield _in_the_cost(found, steps)


def _trained(evidence: Evidence) -> "tuple[dict[Key, pd.DataFrame], dict[Key, float]]":
    """The checkpoints of every cell as it was trained and as each formula trains it; how far first steps are off."""
    histories: dict[Key, pd.DataFrame] = {}
    steps: dict[Key, float] = {}
    for _, row in evidence.cells.iterrows():
        setting = str(row["dataset"]), float(row["learning_rate"])
        histories[DERIVED, *setting] = evidence.histories[str(row["cell"])]
        cell = evidence.again(str(row["cell"]))
        steps |= {(formula, *setting): off for formula, off in first_steps(cell, setting[1]).items()}
        histories |= {(formula, *setting): train_as_printed(cell, formula) for formula in MISPRINTS}
    return histories, steps


def first_steps(cell: Cell, learning_rate: float) -> dict[str, float]:
    """Formula -> ‖step − derived step‖/‖derived step‖ of replica 0's first update, from the first rows of its set."""
    engine = next(cell.stacks()).engine
    network, (X, Y) = engine.network, (V[..., : cell.plan.batch_size, :] for V in engine.train_set)
    derived, found = network.gradient(X, Y), {}
    for formula in MISPRINTS:
        own = network.gradient(X, Y)
        inplace_misprint(formula, own, network, X, Y, learning_rate)
        found[formula] = float(np.linalg.norm(own.flat[0] - derived.flat[0]) / np.linalg.norm(derived.flat[0]))
    return found


def final_costs(history: "pd.DataFrame") -> Array:
    """(R,) training costs at the end, +inf where the replica diverged."""
    last = history.sort_values("update", kind="stable").groupby("replica").tail(1).sort_values("replica")
    return last["train_cost"].where(last["outcome"] != Outcome.DIVERGED, np.inf).fillna(np.inf).to_numpy(dtype=float)


def _compared(evidence: Evidence, histories: "Mapping[Key, pd.DataFrame]", margin: float) -> dict[Key, Comparison]:
    """Each printed formula against the derived one, on one dataset after the other: one family."""
    costs = {key: final_costs(history) for key, history in histories.items()}
    of_dataset = [(dataset, formula) for dataset in dict.fromkeys(key[1] for key in costs) for formula in MISPRINTS]
    keys = [key for dataset, formula in of_dataset for key in costs if key[:2] == (formula, dataset)]
    return evidence.compare({key: (costs[key], costs[DERIVED, *key[1:]]) for key in keys}, margin=margin)


# E1 to E6: what one printed formula does to training.


def _in_training(
    evidence: Evidence,
    claim: str,
    formula: str,
    histories: "Mapping[Key, pd.DataFrame]",
    steps: Mapping[Key, float],
    found: Mapping[float, Mapping[Key, Comparison]],
) -> Finding:
    verdicts = {margin: together(map(equal, _of(formula, by_key).values())) for margin, by_key in found.items()}
    own = _of(formula, found[MARGINS[0]])
    if not own:
        return Finding(claim, Verdict.UNRESOLVED, "Printed and derived formula were not both trained.")
    verdict = together(verdicts.values())
    first = next(iter(own.values()))
    cost = _price(evidence, formula, found) if verdict is Verdict.UNRESOLVED else ""
    return Finding(
        claim,
        verdict,
        _said(own, steps) + cost,
        unit="× the cost of the derived update (first dataset)",
        effect=first.ratio if np.isfinite(first.ratio.low) and first.finite == first.pairs else None,
        replicas=min(history["replica"].nunique() for history in histories.values()),
        panels=list(_curves(histories, formula)),
        rows=_rows(histories, steps, {margin: _of(formula, by_key) for margin, by_key in found.items()}),
        along={"the margin": verdicts},
        plain="" if verdict in DECIDED else _harm(own),
    )


def _of(formula: str, found: Mapping[Key, Comparison]) -> dict[Key, Comparison]:
    return {key: comparison for key, comparison in found.items() if key[0] == formula}


def _price(evidence: Evidence, formula: str, found: Mapping[float, Mapping[Key, Comparison]]) -> str:
    """Seeds that would tell, and the time of all trainings of the datasets that need them: by each formula, too."""
    every = [pair for by_key in found.values() for pair in _of(formula, by_key).items()]
    needed = {key: seeds for key, one in every if equal(one) is Verdict.UNRESOLVED and (seeds := _seeds(one))}
    dear = max(needed, key=needed.__getitem__, default=None)
    if dear is None:
        return ""
    n = max(one.pairs + one.dropped for key, one in every if key == dear)
    found_price = evidence.price([needed[dear]], n, evidence.cells[evidence.cells["dataset"] == dear[1]])
    return price(found_price and (found_price[0], found_price[1] * (1 + len(MISPRINTS))))


def _seeds(comparison: Comparison) -> int | None:
    """That would resolve it; where a difference is sure, those whose interval would leave out the end of the margin."""
    if comparison.verdict == "unresolved":
        return comparison.seeds_needed
    ratio, n_replicas = comparison.ratio, comparison.pairs + comparison.dropped
    distance = np.abs(np.abs(np.log(ratio.estimate)) - np.log1p(comparison.margin))
    return int(np.ceil(n_replicas * (np.log(ratio.high / ratio.low) / 2 / distance) ** 2))


def _said(own: Mapping[Key, Comparison], steps: Mapping[Key, float]) -> str:
    """How far first steps are off, and where training ends all the same."""
    derived = sum(one.diverged[1] > 0 for one in own.values())
    also = f" The derived one diverges, too, in replicas of {derived} settings." if derived else ""
    return (
        f"Its first step is off by {_span(steps[key] for key in own)} times the length of the derived one. "
        f"Final cost over the derived one's: {_ends(own)}.{also}"
    )


def _ends(own: Mapping[Key, Comparison]) -> str:
    """0.98 [0.97, 0.99] to 1.1 [1, 1.2]; most replicas diverge in 2 of 6 settings."""
    ratios = [one.ratio for one in own.values() if not _diverges(one)]
    lost = len(own) - len(ratios)
    diverge = f"most replicas diverge in {lost} of {len(own)} settings"
    return "; ".join([spread(ratios)] * bool(ratios) + [diverge] * bool(lost))


def _span(values: Iterable[float]) -> str:
    own = list(values)
    return " to ".join(dict.fromkeys(map(number, (min(own), max(own)))))


def _diverges(comparison: Comparison) -> bool:
    """Whether the printed formula does, in most replicas."""
    return 2 * comparison.diverged[0] > comparison.pairs + comparison.dropped


def _harm(own: Mapping[Key, Comparison]) -> str:
    """On which data, or at which rates, the printed formula harms, and by how much; empty where nothing is decided."""
    kinds = {key: "diverges" if _diverges(one) else one.verdict for key, one in own.items()}
    if set(kinds.values()) == {"unresolved"}:
        return ""
    every, harm, rest = [key[1:] for key in own], [], []
    for kind in (one for one in (*HARM, *REST) if one in kinds.values()):
        some = [key for key in own if kinds[key] == kind]
        at, off = places([key[1:] for key in some], every, "η"), _off(own[key] for key in some)
        if kind in HARM:
            harm.append(f"{at}, where {HARM[kind].format(off)}")
        else:
            rest.append(f"{REST[kind].format(off)} {at}")
    parts = [f"it harms {', and '.join(harm)}"] * bool(harm) + [f"the final cost is {', '.join(rest)}"] * bool(rest)
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}."


def _off(some: Iterable[Comparison]) -> str:
    """4.1 to 14 %: how far these ratios are from 1."""
    return f"{_span(float(f'{100 * abs(one.ratio.estimate - 1):.2g}') for one in some)} %"


def _rows(
    histories: "Mapping[Key, pd.DataFrame]", steps: Mapping[Key, float], found: Mapping[float, Mapping[Key, Comparison]]
) -> Rows:
    """A row for each dataset and learning rate."""
    rows: Rows = [COLUMNS]
    for key, one in found[MARGINS[0]].items():
        cost, start = final_costs(histories[key]), histories[key].query("update == 0")["train_cost"].median()
        lost = int(np.isinf(cost).sum())
        counts = [f"{n} of {len(cost)}" for n in (lost, int((cost > start).sum()) - lost, one.diverged[1])]
        ratio = interval(one.ratio) if one.finite > 0 and not _diverges(one) else ""
        alike = verdicts_along({margin: equal(by_key[key]) for margin, by_key in found.items()})
        rows.append((key[1], f"{key[2]:g}", number(steps[key]), ratio, *counts, alike))
    return rows


def _curves(histories: "Mapping[Key, pd.DataFrame]", formula: str) -> Iterator[Panel]:
    """A panel for each dataset: the cost of both formulas along the epochs."""
    for dataset in dict.fromkeys(key[1] for key in histories):
        keys = {name: (name, dataset, SHOWN_RATE) for name in (DERIVED, formula)}
        own = {name: histories[key] for name, key in keys.items() if key in histories}
        lost = "".join(_how_many_lost(history, name) for name, history in own.items())
        series = [median_cost(history, name) for name, history in own.items()]
        yield Panel(f"{dataset}, η={SHOWN_RATE:g}{lost}", "epochs", "training cost per example", series, log="y")


def _how_many_lost(history: "pd.DataFrame", name: str) -> str:
    """A line of a panel's title: how many replicas diverged."""
    lost, n = int((history["outcome"] == Outcome.DIVERGED).sum()), history["replica"].nunique()
    return f"\n{name}: {lost} of {n} diverged" if lost else ""


# E7: a wrong step need not be a wrong cost.


def _in_the_cost(found: Mapping[float, Mapping[Key, Comparison]], steps: Mapping[Key, float]) -> Finding:
    wrong = [formula for formula in MISPRINTS if any(off > WRONG for key, off in steps.items() if key[0] == formula)]
    hidden = {
        margin: [list(map(equal, _of(name, by_key).values())) for name in wrong] for margin, by_key in found.items()
    }
    verdicts = {margin: _shows(own) for margin, own in hidden.items()}
    if not wrong:
        return Finding("E7", Verdict.UNRESOLVED, "Printed and derived formulas were not both trained.")
    same = [name.replace("_", " ") for name, own in zip(wrong, hidden[MARGINS[0]], strict=True) if _all(own)]
    n = len(hidden[MARGINS[0]][0])
    text = (
        f"Each of {len(wrong)} formulas makes another first step. Nevertheless the final cost is the derived one's "
        f"within {percent(MARGINS[0])} in all of {n} settings with {joined(same) if same else 'none of them'}."
    )
    return Finding(
        "E7",
        together(verdicts.values()),
        text,
        panels=[_scatter(found[MARGINS[0]], steps, wrong)],
        rows=_hidden_rows(found[MARGINS[0]], steps, wrong, hidden),
        along={"the margin": verdicts},
    )


def _hidden_rows(
    found: Mapping[Key, Comparison],
    steps: Mapping[Key, float],
    wrong: Sequence[str],
    hidden: Mapping[float, Sequence[Sequence[Verdict]]],
) -> Rows:
    """A row for each formula: over all settings, and in how many of them its cost is the derived one's."""
    within = (f"settings with the same cost within {percent(margin)}" for margin in hidden)
    rows: Rows = [("formula", "first step off by", "final cost, printed over derived", *within)]
    for i, name in enumerate(wrong):
        own = _of(name, found)
        counts = (f"{of[i].count(Verdict.SUPPORTED)} of {len(own)}" for of in hidden.values())
        rows.append((name.replace("_", " "), _span(steps[key] for key in own), _ends(own), *counts))
    return rows


def _all(verdicts: Sequence[Verdict]) -> bool:
    return set(verdicts) == {Verdict.SUPPORTED}


def _shows(hidden: Sequence[Sequence[Verdict]]) -> Verdict:
    """hidden: for each wrong formula whether its cost is that of the derived one, setting by setting."""
    if not hidden:
        return Verdict.UNRESOLVED
    if any(map(_all, hidden)):
        return Verdict.REFUTED
    if any(Verdict.SUPPORTED in verdicts for verdicts in hidden):
        return Verdict.CONDITIONAL
    return opposite(together(verdict for verdicts in hidden for verdict in verdicts))


def _scatter(found: Mapping[Key, Comparison], steps: Mapping[Key, float], names: Sequence[str]) -> Panel:
    """A row for each formula: the ratio of costs in every setting, where it is finite."""
    datasets = list(dict.fromkeys(key[1] for key in found))
    lines = []
    for i, dataset in enumerate(datasets):
        own = [key for key in found if key[1] == dataset and key[0] in names and not any(found[key].diverged)]
        places = [names.index(key[0]) + 0.22 * (i - (len(datasets) - 1) / 2) for key in own]
        lines.append(Series(dataset, [found[key].ratio.estimate for key in own], places, kind="marks"))
    lines.append(Series("the same cost", [1.0, 1.0], [-0.5, len(names) - 0.5], kind="reference"))
    off = {name: min(step for key, step in steps.items() if key[0] == name) for name in names}
    rows = [f"{name.replace('_', ' ')}: step off by at least {number(off[name])}" for name in names]
    title, axis = "Wrong steps and their costs (diverged: no mark)", "final cost, printed over derived"
    return Panel(title, axis, "", lines, log="x", names=rows, named="y")
