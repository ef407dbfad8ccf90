"""Judges formulas: printed expressions evaluated as they stand, and derived ones against central differences.

Nothing of this needs a training; the sweep has one small cell, because every study has one.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import cycle

import numpy as np
from numpy.typing import NDArray

from harness.analysis import BATCH_SIZE, Evidence, Finding, Panel, Series
from harness.inference import Verdict, exactly, together
from harness.network import ACTIVATIONS, LOSSES, MLP, REDUCTIONS, Parameters, inplace_reduce, inplace_sigmoid
from harness.report import number

Array = NDArray[np.floating]
GRADIENT = 1e-7
STEP = 1e-5  # of the central differences
KINK = 1e-6  # where two steps give other slopes, as they do across a kink
VALUE = 1e-6
COSINE = 1e-12
SAME = 0.01  # two penalties closer than this are one
AGAINST, DISTANCE = "Gradient against central differences", "largest distance / largest slope"


def judge(evidence: Evidence) -> Iterator[Finding]:
    yield _shapes()
    yield _values()
    yield _output_layer(evidence.rng)
    yield _recursion(evidence.rng)
    yield _minimum(evidence.rng)
    yield _signs(evidence.rng)
    yield _scikit_learn()


# E8 and E9: what can be evaluated at all.


def _shapes() -> Finding:
    m, n_in, n_out, n_classes = 64, 5, 4, 3
    dJ_dz, Y = np.ones((m, n_out)), np.ones((n_classes, m))
    expressions = {
        "(W)ᵀ ∂J/∂z, W of shape (inputs, outputs)": (lambda: np.ones((n_in, n_out)).T @ dJ_dz, (m, n_in)),
        "(W)ᵀ ∂J/∂z, W of shape (outputs, inputs)": (lambda: np.ones((n_out, n_in)).T @ dJ_dz, (m, n_in)),
        "reshape((1, m)) of one-hot targets": (lambda: Y.reshape((1, m)), (n_classes, m)),
    }
    shapes = {name: (_shape(expression), needed) for name, (expression, needed) in expressions.items()}
    right = [shape == needed for shape, needed in shapes.values()]
    without = sum(shape is None for shape, _ in shapes.values())
    body = [(name, str(shape or "no value"), str(needed)) for name, (shape, needed) in shapes.items()]
    return Finding(
        "E8",
        together(Verdict.SUPPORTED if fits else Verdict.REFUTED for fits in right),
        f"{sum(right)} of {len(right)} expressions have the shape of what they define; {without} have no value, as the "
        "shapes of their parts do not fit.",
        rows=[("expression", "its shape", "shape of what it defines"), *body],
    )


def _shape(expression: Callable[[], Array]) -> tuple[int, ...] | None:
    try:
        return expression().shape
    except ValueError:
        return None


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
    words = ", ".join(f"the {name} at {_where(z, _wrong(*pair))}" for name, pair in pairs.items())
    near = np.abs(z) <= 100
    lines = [
        Series("from the logit", z[near][::4], exact[0.0][near][::4]),
        Series("as printed", z[near][::4], costs[0.0][near][::4], kind="marks"),
    ]
    panel = Panel("Cost of a sigmoid neuron, y = 0", "z", "cost", lines, log="")
    columns = "formula", "not finite at inputs", "finite, but off at inputs"
    text = f"Of {len(z)} inputs z, not finite or off by more than {VALUE:g}: {words}."
    rows = [columns, *((name, *_lost(z, *pair)) for name, pair in pairs.items())]
    return Finding("E9", exactly(worst, 0), text, panels=[panel], rows=rows)


def _lost(z: Array, value: Array, truth: Array) -> tuple[str, str]:
    endless = ~np.isfinite(value)
    return _where(z, endless), _where(z, _wrong(value, truth) & ~endless)


def _wrong(value: Array, truth: Array) -> NDArray[np.bool_]:
    """Not finite, or off by more than VALUE, relative; below the smallest normal number anything will do."""
    tiny = np.abs(truth) < np.finfo(float).tiny
    close = np.isclose(value, truth, rtol=VALUE, atol=0) | (tiny & (np.abs(value) <= np.finfo(float).tiny))
    wrong: NDArray[np.bool_] = ~close
    return wrong


def _where(z: Array, bad: NDArray[np.bool_]) -> str:
    """645 (from |z| = 355 on): at how many inputs, and the nearest to 0."""
    return f"{bad.sum()}" + (f" (from |z| = {np.abs(z[bad]).min():g} on)" if bad.any() else "")


# C6 to C8: what is right.


def networks(
    rng: np.random.Generator, depths: Sequence[int], batch_sizes: Sequence[int] = (8,)
) -> Iterator[tuple[MLP, Array, Array]]:
    """Every activation × cost × number of hidden layers, with random examples; the batch sizes take turns."""
    sizes = cycle(batch_sizes)
    for activation in ACTIVATIONS:
        for loss in LOSSES:
            for depth in depths:
                yield draw(rng, activation, loss, depth, next(sizes))


def draw(rng: np.random.Generator, activation: str, loss: str, depth: int, n: int = 8) -> tuple[MLP, Array, Array]:
    sizes = (4, *(5, 4, 3, 3)[:depth], 3)
    params = Parameters.initialized(sizes, "glorot_normal", [rng])
    for b in params.b:
        b[:] = rng.normal(size=b.shape) / 2
    return MLP(params, activation, loss), rng.normal(size=(n, 4)), np.eye(3)[rng.integers(3, size=n)]


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
    worst = float(np.max(list(errors.values())))
    names = [loss.replace("_", " ") for loss in errors]
    rows = [("cost", DISTANCE), *zip(names, map("{:.0e}".format, errors.values()), strict=True)]
    text = (
        f"(ŷ − y)x and ŷ − y, averaged over a batch, are within {worst:.0e} of central differences, relative to the "
        f"largest slope, for each of {len(errors)} costs."
    )
    lines = [
        Series("measured", list(errors.values()), range(len(errors)), kind="marks"),
        Series("1e-7", [GRADIENT] * 2, [-0.5, len(errors) - 0.5], kind="reference"),
    ]
    panel = Panel(AGAINST, DISTANCE, "", lines, log="x", names=names, named="y")
    return Finding("C6", exactly(worst, GRADIENT), text, panels=[panel], rows=rows)


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


# C3 and C2.sklearn: sums and means of one batch.


def _signs(rng: np.random.Generator) -> Finding:
    """C3: signs and direction of sum and mean of the same per-example gradients."""
    n_components = n_mixed = n_turned = 0
    largest, lines = 0.0, {}
    for network, X, Y in networks(rng, depths=(0, 1, 2, 3), batch_sizes=(3, 50, 64)):
        each = np.concatenate([network.gradient(X[i : i + 1], Y[i : i + 1]).flat for i in range(len(X))])
        total, mean = (network.gradient(X, Y).flat[0] for _ in range(2))
        inplace_reduce(mean[None], "mean", len(X))
        n_components += total.size
        n_mixed += int(((each > 0).any(axis=0) & (each < 0).any(axis=0)).sum())
        n_turned += int((np.sign(total) != np.sign(mean)).sum())
        largest = max(largest, abs(1 - total @ mean / (np.linalg.norm(total) * np.linalg.norm(mean))))
        lines[len(X)] = Series(f"B={len(X)}", mean, total, kind="marks")
    lost = Verdict.SUPPORTED if n_turned or largest > COSINE else Verdict.REFUTED
    title = "Components of the gradient, one network for each B"
    return Finding(
        "C3",
        lost if n_mixed else Verdict.UNRESOLVED,
        f"In {n_mixed} of {n_components} components the examples of a batch pull both ways, and in {n_turned} of all "
        f"components sum and mean differ in sign; the cosine between the two is 1 within {largest:.0e}. Cancelling is "
        "done by the addition, which both have; a positive factor turns nothing.",
        panels=[Panel(title, "mean over the examples", "sum over the examples", [*lines.values()], log="")],
    )


def _scikit_learn() -> Finding:
    """C2.sklearn: λ from one update, ΔW(alpha) − ΔW(0) = −η λ W."""
    penalties = {size: _penalty(size) for size in (32, 128, 512)}
    low, high = min(penalties.values()), max(penalties.values())
    verdict = Verdict.SUPPORTED if high <= (1 + SAME) * low else Verdict.REFUTED
    rows = [(f"{size}", number(value), number(value * size)) for size, value in penalties.items()]
    (small, most, times_small), *_, (large, least, times_large) = rows
    text = (
        f"alpha=1 is a weight decay of {most} with batches of {small} examples and of {least} with {large}; times the "
        f"batch size that is {times_small} and {times_large}."
    )
    sizes = list(penalties)
    lines = [
        Series("measured", sizes, list(penalties.values()), kind="marks"),
        Series("1/B", sizes, [1 / size for size in sizes], kind="reference"),
    ]
    return Finding(
        "C2.sklearn",
        verdict,
        text,
        rows=[(BATCH_SIZE, "weight decay λ of alpha=1", "λ times the batch size"), *rows],
        panels=[Panel("What alpha=1 is", BATCH_SIZE, "weight decay λ", lines)],
    )


def _penalty(batch_size: int) -> float:
    """The weight decay that alpha=1 is in scikit-learn's classifier, in a batch of so many examples."""
    from sklearn.neural_network import MLPClassifier

    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(batch_size, 4)), np.arange(batch_size) % 2
    rate = {"tiny": 1e-30, "free": 0.1, "bound": 0.1}
    how = {"solver": "sgd", "momentum": 0, "batch_size": batch_size, "random_state": 0}
    W = {}
    for name, alpha in (("tiny", 0.0), ("free", 0.0), ("bound", 1.0)):
        network = MLPClassifier((3,), alpha=alpha, learning_rate_init=rate[name], **how)
        W[name] = network.partial_fit(X, y, classes=[0, 1]).coefs_[0]
    return float(np.median((W["free"] - W["bound"]) / (0.1 * W["tiny"])))
