"""Judges errata: printed formulas against derived ones, in training and against central differences.

The sweep trains the derived formula; the judge trains each printed one from the same splits, weights and orders.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.analysis import Evidence, Finding, Panel, Series, median_cost
from harness.inference import Comparison, Verdict, equal, exactly, opposite, together
from harness.network import ACTIVATIONS, LOSSES, MLP, REDUCTIONS, Engine, Parameters, inplace_reduce, inplace_sigmoid
from harness.report import interval, number
from harness.training import Cell, Outcome, tables

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.floating]
DERIVED = "derived"
MARGIN = 0.05
GRADIENT = 1e-7
STEP = 1e-5  # of the central differences
KINK = 1e-6  # where two steps give other slopes, as they do across a kink
VALUE = 1e-6
SHOWN_RATE = 0.1
AGAINST, DISTANCE = "Gradient against central differences", "largest distance / largest slope"
Key = tuple[str, str, float]  # formula, dataset, learning rate


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
    histories = _histories(evidence)
    found = _compared(evidence, histories)
    for claim, formula in CLAIMS.items():
        yield _in_training(claim, formula, histories, found)
    yield _in_the_cost(found, evidence.rng)
    yield _shapes()
    yield _values()
    yield _output_layer(evidence.rng)
    yield _recursion(evidence.rng)
    yield _minimum(evidence.rng)


# E1 to E7: what a printed formula does to training.


def _histories(evidence: Evidence) -> "dict[Key, pd.DataFrame]":
    """The checkpoints of every cell as it was trained, and as each printed formula trains it."""
    found = {}
    for _, row in evidence.cells.iterrows():
        setting = str(row["dataset"]), float(row["learning_rate"])
        found[DERIVED, *setting] = evidence.histories[str(row["cell"])]
        cell = evidence.again(str(row["cell"]))
        found |= {(formula, *setting): train_as_printed(cell, formula) for formula in MISPRINTS}
    return found


def final_costs(history: "pd.DataFrame") -> Array:
    """(R,) training costs at the end, +inf where the replica diverged."""
    last = history.sort_values("update", kind="stable").groupby("replica").tail(1).sort_values("replica")
    return last["train_cost"].where(last["outcome"] != Outcome.DIVERGED, np.inf).fillna(np.inf).to_numpy(dtype=float)


def _compared(evidence: Evidence, histories: "Mapping[Key, pd.DataFrame]") -> dict[Key, Comparison]:
    """Each printed formula against the derived one, on one dataset after the other."""
    costs = {key: final_costs(history) for key, history in histories.items()}
    of_dataset = [(dataset, formula) for dataset in dict.fromkeys(key[1] for key in costs) for formula in MISPRINTS]
    keys = [key for dataset, formula in of_dataset for key in costs if key[:2] == (formula, dataset)]
    return evidence.compare({key: (costs[key], costs[DERIVED, *key[1:]]) for key in keys}, margin=MARGIN)


def _in_training(
    claim: str, formula: str, histories: "Mapping[Key, pd.DataFrame]", found: dict[Key, Comparison]
) -> Finding:
    own = {key: comparison for key, comparison in found.items() if key[0] == formula}
    if not own:
        return Finding(claim, Verdict.UNRESOLVED, "Printed and derived formula were not both trained.")
    words = "; ".join(f"{key[1]} at η={key[2]:g} {_what(histories[key], own[key])}{_also(own[key])}" for key in own)
    first = next(iter(own.values()))
    return Finding(
        claim,
        together(equal(comparison) for comparison in own.values()),
        f"Printed against derived: {words}.",
        unit="× the cost of the derived update (first dataset)",
        effect=first.ratio if np.isfinite(first.ratio.low) else None,
        replicas=min(history["replica"].nunique() for history in histories.values()),
        panels=list(_curves(histories, formula)),
    )


def _what(history: "pd.DataFrame", comparison: Comparison) -> str:
    """diverges, ascends, or the ratio of the costs."""
    cost, start = final_costs(history), history.query("update == 0")["train_cost"].median()
    lost, above = int(np.isinf(cost).sum()), int((cost > start).sum())
    verdict = {"a lower": "lower", "b lower": "higher"}.get(comparison.verdict, comparison.verdict)
    known = comparison.finite > 0
    ratio = f"{interval(comparison.ratio)} × the cost ({verdict})" if known else "is not to be compared"
    if 2 * lost > len(cost):
        return f"diverges in {lost} of {len(cost)} replicas"
    if 2 * above > len(cost):
        return f"ends above the initial cost in {above} of {len(cost)} replicas, {ratio}"
    return ratio + (f", diverged in {lost}" if lost else "")


def _also(comparison: Comparison) -> str:
    """A note where the derived update diverges, because that refutes no printed one."""
    lost = comparison.diverged[1]
    return f" (the derived one diverges in {lost} replicas)" if lost else ""


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


def _in_the_cost(found: dict[Key, Comparison], rng: np.random.Generator) -> Finding:
    """E7: a wrong step need not be a wrong cost."""
    wrong = {formula: distance for formula, distance in _step_distances(rng).items() if distance > GRADIENT}
    hidden = {
        formula: [equal(comparison) for key, comparison in found.items() if key[0] == formula] for formula in wrong
    }
    hidden = {formula: verdicts for formula, verdicts in hidden.items() if verdicts}
    words = "; ".join(
        f"{formula} {number(wrong[formula])} and {sum(v is Verdict.SUPPORTED for v in verdicts)} of {len(verdicts)}"
        for formula, verdicts in hidden.items()
    )
    sentence = f"Relative error of a step, and settings with the same cost (within 5 %): {words}."
    sentence = sentence if words else "Printed and derived formulas were not both trained."
    return Finding("E7", _shows(list(hidden.values())), sentence, panels=[_scatter(found, wrong)] if words else ())


def _shows(hidden: Sequence[Sequence[Verdict]]) -> Verdict:
    """hidden: for each wrong formula whether its cost is that of the derived one, setting by setting."""
    if not hidden:
        return Verdict.UNRESOLVED
    if any(set(verdicts) == {Verdict.SUPPORTED} for verdicts in hidden):
        return Verdict.REFUTED
    if any(Verdict.SUPPORTED in verdicts for verdicts in hidden):
        return Verdict.CONDITIONAL
    return opposite(together(verdict for verdicts in hidden for verdict in verdicts))


def _scatter(found: dict[Key, Comparison], wrong: dict[str, float]) -> Panel:
    """A row for each formula: the ratio of costs in every setting, where it is finite."""
    names = list(wrong)
    datasets = list(dict.fromkeys(key[1] for key in found))
    lines = []
    for i, dataset in enumerate(datasets):
        own = [key for key in found if key[1] == dataset and key[0] in names and not any(found[key].diverged)]
        places = [names.index(key[0]) + 0.22 * (i - (len(datasets) - 1) / 2) for key in own]
        lines.append(Series(dataset, [found[key].ratio.estimate for key in own], places, kind="marks"))
    lines.append(Series("the same cost", [1.0, 1.0], [-0.5, len(names) - 0.5], kind="reference"))
    rows = [f"{name}: step off by {number(wrong[name])}" for name in names]
    title, axis = "Wrong steps and their costs (diverged: no mark)", "final cost, printed over derived"
    return Panel(title, axis, "", lines, log="x", names=rows, named="y")


def _step_distances(rng: np.random.Generator) -> dict[str, float]:
    """Formula -> smallest ‖step − derived step‖/‖derived step‖ over random networks and batches of eight."""
    nearest = dict.fromkeys(MISPRINTS, np.inf)
    for network, X, Y in networks(rng, depths=(1,)):
        derived = network.gradient(X, Y)
        for formula in MISPRINTS:
            own = network.gradient(X, Y)
            inplace_misprint(formula, own, network, X, Y, SHOWN_RATE)
            gap = np.linalg.norm(own.flat - derived.flat) / np.linalg.norm(derived.flat)
            nearest[formula] = min(nearest[formula], float(gap))
    return nearest


# E8 and E9: what can be evaluated at all.


def _shapes() -> Finding:
    m, n_in, n_out, n_classes = 64, 5, 4, 3
    dJ_dz, Y = np.ones((m, n_out)), np.ones((n_classes, m))
    right = {
        "(W)ᵀ ∂J/∂z with W of shape (inputs, outputs)": _has_shape(lambda: np.ones((n_in, n_out)).T @ dJ_dz, (m, n_in)),
        "the same with W of shape (outputs, inputs)": _has_shape(lambda: np.ones((n_out, n_in)).T @ dJ_dz, (m, n_in)),
        "reshape((1, m)) of one-hot targets": _has_shape(lambda: Y.reshape((1, m)), (n_classes, m)),
    }
    failed = [name for name, conforms in right.items() if not conforms]
    verdict = together(Verdict.SUPPORTED if conforms else Verdict.REFUTED for conforms in right.values())
    words = "; ".join(failed) or "none"
    return Finding("E8", verdict, f"Of {len(right)} expressions {len(failed)} cannot be evaluated: {words}.")


def _has_shape(expression: Callable[[], Array], shape: tuple[int, ...]) -> bool:
    try:
        return expression().shape == shape
    except ValueError:
        return False


def _values() -> Finding:
    """E9: the formulas as printed, where e^(−z) overflows and log gets 0."""
    z = np.arange(-1000.0, 1001.0)
    stable = z.copy()
    with np.errstate(all="ignore"):
        slope = np.exp(-z) / (1 + np.exp(-z)) ** 2
        prediction = 1 / (1 + np.exp(-z))
        inplace_sigmoid(stable)
        costs = {y: -(y * np.log(prediction) + (1 - y) * np.log(1 - prediction)) for y in (0.0, 1.0)}
        pairs = {"derivative": (slope, stable * (1 / (1 + np.exp(z))))}
    exact = {y: LOSSES["sigmoid_cross_entropy"].costs(z[:, None], np.full((len(z), 1), y)) for y in costs}
    pairs |= {f"cost at y={y:g}": (costs[y], exact[y]) for y in costs}
    worst = max(float(_wrong(*pair).sum()) for pair in pairs.values())
    words = "; ".join(f"the {name} {_lost(z, *pair)}" for name, pair in pairs.items())
    near = np.abs(z) <= 100
    lines = [
        Series("from the logit", z[near][::4], exact[0.0][near][::4]),
        Series("as printed", z[near][::4], costs[0.0][near][::4], kind="marks"),
    ]
    panel = Panel("Cost of a sigmoid neuron, y = 0", "z", "cost", lines, log="")
    return Finding("E9", exactly(worst, 0), f"As printed, of {len(z)} inputs: {words}.", panels=[panel])


def _lost(z: Array, value: Array, truth: Array) -> str:
    endless = ~np.isfinite(value)
    off = _wrong(value, truth) & ~endless
    return f"is not finite at {int(endless.sum())}{_first(z, endless)}, off at {int(off.sum())} more{_first(z, off)}"


def _wrong(value: Array, truth: Array) -> NDArray[np.bool_]:
    """Not finite, or off by more than VALUE, relative; below the smallest normal number anything will do."""
    tiny = np.abs(truth) < np.finfo(float).tiny
    close = np.isclose(value, truth, rtol=VALUE, atol=0) | (tiny & (np.abs(value) <= np.finfo(float).tiny))
    wrong: NDArray[np.bool_] = ~close
    return wrong


def _first(z: Array, bad: NDArray[np.bool_]) -> str:
    return f" (from |z| = {np.abs(z[bad]).min():g})" if bad.any() else ""


# C6 to C8: what is right.


def networks(rng: np.random.Generator, depths: Sequence[int]) -> Iterator[tuple[MLP, Array, Array]]:
    """Every activation × cost × number of hidden layers, with eight random examples."""
    for activation in ACTIVATIONS:
        for loss in LOSSES:
            for depth in depths:
                yield draw(rng, activation, loss, depth)


def draw(rng: np.random.Generator, activation: str, loss: str, depth: int) -> tuple[MLP, Array, Array]:
    sizes = (4, *(5, 4, 3, 3)[:depth], 3)
    params = Parameters.initialized(sizes, "glorot_normal", [rng])
    for b in params.b:
        b[:] = rng.normal(size=b.shape) / 2
    return MLP(params, activation, loss), rng.normal(size=(8, 4)), np.eye(3)[rng.integers(3, size=8)]


def slopes(network: MLP, X: Array, Y: Array, step: float) -> Array:
    """Central differences of the mean cost per example along every parameter, (P,): all moved networks in one stack."""
    theta = network.params.flat[0]
    moved = theta + step * np.concatenate([np.eye(len(theta)), -np.eye(len(theta))])
    stack = MLP(Parameters(network.params.sizes, moved), network.activation_name, network.loss_name)
    above, below = stack.costs(X, Y).mean(axis=-1).reshape(2, -1)
    found: Array = (above - below) / (2 * step)
    return found


def error(network: MLP, X: Array, Y: Array, gradient: Array) -> tuple[float, int]:
    """(largest distance from the slopes over the largest slope, coordinates at a kink) of the mean's gradient (P,)."""
    near, far = slopes(network, X, Y, STEP / 2), slopes(network, X, Y, STEP)
    largest = np.abs(near).max()
    smooth = np.abs(near - far) <= KINK * largest
    return float(np.abs(gradient - far)[smooth].max() / largest), int((~smooth).sum())


def _output_layer(rng: np.random.Generator) -> Finding:
    errors = {}
    for loss in LOSSES:
        network, X, Y = draw(rng, "identity", loss, depth=0)
        wrong = network.predict(X)[0] - Y
        printed_gradient = Parameters.from_weights([X.T @ wrong / len(X)], [wrong.mean(axis=0)]).flat[0]
        errors[loss], _ = error(network, X, Y, printed_gradient)
    words = ", ".join(f"{loss.replace('_', ' ')} {value:.0e}" for loss, value in errors.items())
    text = f"(ŷ − y)x and ŷ − y, averaged over a batch, against central differences: {words}."
    names = [loss.replace("_", " ") for loss in errors]
    lines = [
        Series("measured", list(errors.values()), range(len(errors)), kind="marks"),
        Series("1e-7", [GRADIENT] * 2, [-0.5, len(errors) - 0.5], kind="reference"),
    ]
    panel = Panel(AGAINST, DISTANCE, "", lines, log="x", names=names, named="y")
    return Finding("C6", exactly(float(np.max(list(errors.values()))), GRADIENT), text, panels=[panel])


def _recursion(rng: np.random.Generator) -> Finding:
    depths = (1, 2, 3, 4)
    errors: dict[tuple[str, str], float] = {}
    n = kinks = 0
    for network, X, Y in networks(rng, depths):
        for reduction in REDUCTIONS:
            gradient = network.gradient(X, Y).flat
            inplace_reduce(gradient, reduction, len(X))
            own, skipped = error(network, X, Y, gradient[0] / (len(X) if reduction == "sum" else 1))
            key = network.activation_name, network.loss_name
            errors[key] = float(np.maximum(own, errors.get(key, 0.0)))
            n, kinks = n + 1, kinks + skipped
    worst = float(np.max(list(errors.values())))
    lines = [
        Series(loss.replace("_", " "), range(len(ACTIVATIONS)), [errors[a, loss] for a in ACTIVATIONS], kind="marks")
        for loss in LOSSES
    ]
    lines.append(Series("1e-7", [-0.5, len(ACTIVATIONS) - 0.5], [GRADIENT] * 2, kind="reference"))
    return Finding(
        "C7",
        exactly(worst, GRADIENT),
        f"In {n} combinations of activation, cost, depth 1 to 4 and reduction the gradient is within {worst:.0e} of "
        f"central differences, relative to the largest slope; {kinks} coordinates lay at a kink.",
        panels=[Panel(AGAINST, "", DISTANCE, lines, log="y", names=list(ACTIVATIONS))],
    )


def _minimum(rng: np.random.Generator) -> Finding:
    two, scanned = _scan_of_two()
    three = _scan_of_three(rng)
    below = int((two < 0).sum() + (three < 0).sum())
    lines = [Series(f"y = {y:g}", *scanned[y]) for y in (0.0, 0.2, 0.5, 1.0)]
    return Finding(
        "C8",
        exactly(below, 0),
        f"Of {two.size + three.size} other predictions {below} cost less than the target itself; at a target of 0.5 "
        f"that smallest cost is {number(np.log(2))}, it is 0 for targets of 0 and 1 only.",
        panels=[Panel("Binary cross-entropy by prediction", "prediction ŷ", "cost", lines, log="")],
    )


def _scan_of_two() -> tuple[Array, dict[float, tuple[Array, Array]]]:
    """Excess over the cost at ŷ = y, (11, 1999), and the curves themselves."""
    predictions = np.linspace(0, 1, 2001)[1:-1]
    costs_at = LOSSES["sigmoid_cross_entropy"].costs
    excess: list[Array] = []
    curves: dict[float, tuple[Array, Array]] = {}
    for y in np.linspace(0, 1, 11):
        costs = costs_at(_logit(predictions)[:, None], np.full((len(predictions), 1), y))
        smallest = float(costs_at(_logit(np.array([[y]])), np.array([[y]]))[0]) if 0 < y < 1 else 0.0
        others = np.abs(predictions - y) > 1e-9
        excess.append(np.where(others, costs - smallest, 0.0))
        curves[float(y)] = predictions[::40], costs[::40]
    return np.array(excess), curves


def _logit(p: Array) -> Array:
    logit: Array = np.log(p) - np.log1p(-p)
    return logit


def _scan_of_three(rng: np.random.Generator) -> Array:
    """Excess over the cost at the target, (50, 2000)."""
    targets, others = rng.dirichlet(np.ones(3), size=50), rng.dirichlet(np.ones(3), size=2000)
    costs_at = LOSSES["softmax_cross_entropy"].costs
    at_target = np.array([costs_at(np.log(y)[None], y[None])[0] for y in targets])
    return np.array([costs_at(np.log(others), np.tile(y, (2000, 1))) for y in targets]) - at_target[:, None]
