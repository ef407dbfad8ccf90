"""Judges sum_vs_mean: pairs of cells that should be one training, and how far apart they end."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.analysis import BATCH_SIZE, Evidence, Finding, Panel, Series
from harness.inference import Verdict, exactly, geometric_mean_ratio, together
from harness.network import ACTIVATIONS, LOSSES, MLP, Parameters, inplace_reduce
from harness.report import number

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.floating]
ROUNDING = {"float64": 1e-10, "float32": 1e-4}
VISIBLE = 1e-2  # a relative difference of all parameters, far above rounding
RAGGED = (1e-3, 1.0)  # "by percents"
COSINE = 1e-12
SAME = 0.01  # two penalties closer than this are one
KNOBS = DECAY, CLIP, EPSILON = ("optimizer.weight_decay", "optimizer.clip_norm", "optimizer.epsilon")
ALIKE = ("dataset", "optimizer.name", "batch_size", "last_batch", "dtype")
PLAIN = ("sgd", "momentum", "nesterov")
ADAPTIVE = ("adam", "rmsprop")
LOWEST = 1e-18  # where a figure with a log axis shows zero


class Case(NamedTuple):
    """A row of the list: which cells of the mean, what of the sum is scaled by B (the rate: divided), what it shows."""

    name: str
    where: Mapping[str, Any]
    scaled: tuple[str, ...] = ("rate",)
    engine: str = "vectorized"


def _plain(rule: str, batch_size: int, last_batch: str = "drop", dtype: str = "float64") -> dict[str, Any]:
    where = {"optimizer.name": rule, "batch_size": batch_size, "last_batch": last_batch, "dtype": dtype}
    return {**where, DECAY: 0.0, CLIP: 0.0}


def _other(rule: str, **knobs: bool) -> dict[str, Any]:
    """B=64, whole batches, and knobs by their last name that are used (True): any value but 0."""
    used = {f"optimizer.{name}": used for name, used in knobs.items()}
    return {"optimizer.name": rule, "batch_size": 64, "last_batch": "drop", "dtype": "float64", **used}


POWER = [Case(f"{rule}, B=64: η/B", _plain(rule, 64)) for rule in PLAIN]
POWER += [Case("sgd in single precision, B=64: η/B", _plain("sgd", 64, dtype="float32"))]
OTHER_B = [Case(f"{rule}, B=50: η/B", _plain(rule, 50)) for rule in PLAIN]
SINGLE = [Case("sgd in single precision, B=50: η/B", _plain("sgd", 50, dtype="float32"))]
KEPT = [Case(f"{rule}, short last batch: η/B", _plain(rule, 64, "keep")) for rule in PLAIN]
DECAYED = [
    Case("weight decay λ: η/B, λ", _other("sgd", weight_decay=True)),
    Case("weight decay λ: η/B, λB", _other("sgd", weight_decay=True), ("rate", DECAY)),
]
CLIPPED = [
    Case("clipping at c: η/B, c", _other("sgd", clip_norm=True)),
    Case("clipping at c: η/B, cB", _other("sgd", clip_norm=True), ("rate", CLIP)),
]
DIVIDED = [Case(f"{rule}: η/B, εB", _other(rule), ("rate", EPSILON)) for rule in ADAPTIVE]
UNCHANGED = [Case(f"{rule}: η, ε", _other(rule), ()) for rule in ADAPTIVE]
SCALED = [Case(f"{rule}: η, εB", _other(rule), (EPSILON,)) for rule in ADAPTIVE]
NOT_SCALED = [Case("sgd, B=64: η", _plain("sgd", 64), ())]
LOOPED = [Case("sgd, a loop over the examples: η/B", _plain("sgd", 64), engine="per_example")]
LOOP = Case("sgd, sum: loop and matrix", {})
LIST = [*POWER, *OTHER_B, *SINGLE, *LOOPED, *KEPT, *DECAYED, *CLIPPED, *DIVIDED, *UNCHANGED, *SCALED, *NOT_SCALED]

Residuals = dict[str, dict[str, Array]]  # name of a case -> dataset -> (R,)


def judge(evidence: Evidence) -> Iterator[Finding]:
    found = {case.name: residuals(evidence, case) for case in LIST}
    replicas = int(evidence.cells["n_replicas"].min())
    yield _sum_of_examples(evidence)
    yield _doesnt_matter(found, replicas)
    yield _power(found)
    yield _rounding(found)
    yield _ragged(evidence, found)
    yield _two_ways("C2.decay", found, DECAYED[:1], DECAYED[1:], "the decay as it is", "the decay times B")
    yield _two_ways("C2.clip", found, CLIPPED[:1], CLIPPED[1:], "the norm as it is", "the norm times B")
    yield _two_ways("C2.adaptive", found, DIVIDED, SCALED, "η/B", "η and epsilon times B")
    yield _reported(evidence)
    yield _scikit_learn()
    yield _signs(evidence.rng)
    yield _prose_and_formulas(found)


# Pairs of cells.


def residuals(evidence: Evidence, case: Case) -> dict[str, Array]:
    """Dataset -> ‖θ_sum − θ_mean‖/‖θ_mean‖ (R,) at the end; where the sweep has no such pair, no entry."""
    cells = _with_knobs(evidence.cells)
    found = {}
    for _, mean in cells[_of_the_mean(cells, case)].iterrows():
        partner = cells[_partners(cells, mean, case)]
        if len(partner):
            arms = (evidence.weights(cell) for cell in (partner["cell"].iloc[0], mean["cell"]))
            found[str(mean["dataset"])] = relative(*arms)
    return found


def relative(one: Array, other: Array) -> Array:
    """‖one − other‖/‖other‖ of each row; 0 for the same bits, inf where nothing finite can be said."""
    with np.errstate(all="ignore"):
        size, gap = (np.linalg.norm(V.astype(float), axis=1) for V in (other, one - other))
        found = np.nan_to_num(gap / size, nan=np.inf)
    same = ((one == other) | (np.isnan(one) & np.isnan(other))).all(axis=1)
    return np.where(same, 0.0, found)


def _with_knobs(cells: "pd.DataFrame") -> "pd.DataFrame":
    """The cells with the optimiser's knobs as numbers, 0 where there is none."""
    columns = {key: cells[key].astype(float).fillna(0.0) if key in cells else 0.0 for key in KNOBS}
    return cells.assign(**columns)


def _of_the_mean(cells: "pd.DataFrame", case: Case) -> "pd.Series":
    chosen = (cells["reduction"] == "mean") & (cells["engine"] == "vectorized")
    for key, value in case.where.items():
        chosen &= (cells[key] != 0) if value is True else (cells[key] == value)
    return chosen


def _partners(cells: "pd.DataFrame", mean: "pd.Series", case: Case) -> "pd.Series":
    B = mean["batch_size"]
    chosen = (cells["reduction"] == "sum") & (cells["engine"] == case.engine)
    for key in ALIKE:
        chosen &= cells[key] == mean[key]
    rate = mean["learning_rate"] / (B if "rate" in case.scaled else 1)
    chosen &= np.isclose(cells["learning_rate"], rate, rtol=1e-9, atol=0)
    for key in KNOBS:
        value = mean[key] * (B if key in case.scaled else 1)
        chosen &= np.isclose(cells[key], value, rtol=1e-9, atol=0)
    return chosen


# From residuals to verdicts.


def _worst(found: Residuals, cases: Sequence[Case]) -> float:
    """The largest of all replicas, datasets and cases; NaN without any."""
    values = [own.max() for case in cases for own in found[case.name].values()]
    return float(np.max(values)) if values else float("nan")


def _smallest(found: Residuals, cases: Sequence[Case]) -> float:
    values = [own.min() for case in cases for own in found[case.name].values()]
    return float(np.min(values)) if values else float("nan")


def _above(residual: float, bound: float) -> Verdict:
    if np.isnan(residual):
        return Verdict.UNRESOLVED
    return Verdict.SUPPORTED if residual > bound else Verdict.REFUTED


def _both(one: Verdict, other: Verdict) -> Verdict:
    """A claim of two parts: refuted with either of them."""
    return Verdict.REFUTED if Verdict.REFUTED in (one, other) else together([one, other])


def _incomplete(claim: str, found: Residuals, cases: Sequence[Case]) -> Finding | None:
    """What is said where the sweep has no pair of cells for one of the cases."""
    missing = [case.name for case in cases if not found[case.name]]
    text = f"The sweep has no pair of cells for {len(missing)} of {len(cases)} settings: {'; '.join(missing)}."
    return Finding(claim, Verdict.UNRESOLVED, text) if missing else None


def _said(value: float) -> str:
    return "not measured" if np.isnan(value) else "nothing, to the bit" if value == 0 else f"at most {value:.1e}"


def _range(found: Residuals, cases: Sequence[Case]) -> str:
    low, high = _smallest(found, cases), _worst(found, cases)
    return "not measured" if np.isnan(low) else f"{number(low)} to {number(high)}"


def _datasets(found: Residuals, cases: Sequence[Case]) -> str:
    return ", ".join(dict.fromkeys(name for case in cases for name in found[case.name])) or "no dataset"


def _sum_of_examples(evidence: Evidence) -> Finding:
    """C1: the same sums, once as a matrix and once in a loop."""
    cells = evidence.cells
    own = {}
    for _, loop in cells[cells["engine"] == "per_example"].iterrows():
        alike = (cells["engine"] == "vectorized") & (cells["cell"] != loop["cell"])
        for key in (*ALIKE, "reduction", "learning_rate", "epochs"):
            alike &= cells[key] == loop[key]
        if alike.any():
            matrix = cells.loc[alike, "cell"].iloc[0]
            own[str(loop["dataset"])] = relative(evidence.weights(loop["cell"]), evidence.weights(matrix))
    worst = max((residual.max() for residual in own.values()), default=float("nan"))
    text = f"One pass over the batch and a loop over its examples end {_said(worst)} apart on {', '.join(own) or '-'}."
    panel = _table({LOOP.name: own}, [LOOP], "How far a loop over the examples ends from a matrix")
    return Finding("C1", exactly(worst, ROUNDING["float64"]), text, panels=[panel] if own else [])


def _doesnt_matter(found: Residuals, replicas: int) -> Finding:
    """C2: with the learning rate alone."""
    settings = {
        "whole batches of B=64": POWER,
        "whole batches of B=50": OTHER_B,
        "those in single precision": SINGLE,
        "a short last batch": KEPT,
        "weight decay": DECAYED[:1],
        "clipping": CLIPPED[:1],
        "adam and rmsprop": DIVIDED,
    }
    verdicts = {
        name: together(exactly(_worst(found, [case]), _bound(case)) for case in cases)
        for name, cases in settings.items()
    }
    words = "; ".join(f"{name} {_size(found, settings[name], verdict)}" for name, verdict in verdicts.items())
    text = f"Relative difference of the final parameters between mean at η and sum at η/B: {words}."
    verdict = together(verdicts.values())
    plain = _where(found, settings, verdicts) if verdict is Verdict.CONDITIONAL else ""
    panels, rows = [_table(found)], _numbers(found)
    return Finding("C2", verdict, text, replicas=replicas, panels=panels, rows=rows, plain=plain)


def _where(found: Residuals, settings: Mapping[str, Sequence[Case]], verdicts: Mapping[str, Verdict]) -> str:
    """In which settings the rate alone makes sum and mean one training, in plain words."""
    same = [name for name, verdict in verdicts.items() if verdict is Verdict.SUPPORTED]
    exact = [name for name in same if _worst(found, settings[name]) == 0]
    parts = {
        "the same training, to the last bit, with": exact,
        "the same up to rounding with": [name for name in same if name not in exact],
        "another training with": [name for name, verdict in verdicts.items() if verdict is Verdict.REFUTED],
    }
    words = "; ".join(f"{text} {', '.join(names)}" for text, names in parts.items() if names)
    return f"Once the learning rate of the sum is divided by B: {words}."


def _bound(case: Case) -> float:
    return ROUNDING[case.where["dtype"]]


def _size(found: Residuals, cases: Sequence[Case], verdict: Verdict) -> str:
    worst = _worst(found, cases)
    return f"{_said(worst)}" if verdict is not Verdict.REFUTED else _range(found, cases)


def _table(found: Residuals, cases: Sequence[Case] = LIST, title: str = "How far sum ends from mean at η") -> Panel:
    """A row for each case, a mark for each dataset: the largest residual of a replica."""
    shown = [case.name for case in cases if found[case.name]]
    datasets = dict.fromkeys(name for case in shown for name in found[case])
    lines = []
    for i, dataset in enumerate(datasets):
        rows = [row for row, case in enumerate(shown) if dataset in found[case]]
        worst = [max(LOWEST, found[shown[row]][dataset].max()) for row in rows]
        offset = 0.22 * (i - (len(datasets) - 1) / 2)
        lines.append(Series(dataset, worst, [row + offset for row in rows], kind="marks"))
    bound = Series("1e-10: more is not rounding", [ROUNDING["float64"]] * 2, [-0.5, len(shown) - 0.5], kind="reference")
    axis = "relative difference of the parameters (1e-18: none, to the bit)"
    return Panel(title, axis, "", [*lines, bound], log="x", names=shown, named="y")


def _numbers(found: Residuals) -> list[tuple[str, ...]]:
    """The same as a table: the largest relative difference of a replica."""
    datasets = list(dict.fromkeys(name for own in found.values() for name in own))
    rows = [
        (case, *(number(own[name].max()) if name in own else "" for name in datasets))
        for case, own in found.items()
        if own
    ]
    return [("sum with", *(f"from mean at η, {name}" for name in datasets)), *rows]


def _power(found: Residuals) -> Finding:
    if lacking := _incomplete("C2.power", found, POWER):
        return lacking
    worst = _worst(found, POWER)
    text = f"At B=64 sgd, momentum and nesterov differ by {_said(worst)}, on {_datasets(found, POWER)}."
    return Finding("C2.power", exactly(worst, 0.0), text, panels=[_table(found, POWER)])


def _rounding(found: Residuals) -> Finding:
    if lacking := _incomplete("C2.rounding", found, [*OTHER_B, *SINGLE]):
        return lacking
    double, single = _worst(found, OTHER_B), _worst(found, SINGLE)
    verdict = _both(exactly(double, ROUNDING["float64"]), exactly(single, ROUNDING["float32"]))
    text = (
        f"At B=50 sgd, momentum and nesterov differ by {_said(double)}, on {_datasets(found, OTHER_B)}; in single "
        f"precision by {_said(single)}."
    )
    return Finding("C2.rounding", verdict, text, panels=[_table(found, [*OTHER_B, *SINGLE])])


def _ragged(evidence: Evidence, found: Residuals) -> Finding:
    if lacking := _incomplete("C2.ragged", found, [*KEPT, *POWER[:3]]):
        return lacking
    kept, dropped = (_smallest(found, KEPT), _worst(found, KEPT)), _worst(found, POWER)
    by_percents = _both(_above(kept[0], RAGGED[0]), exactly(kept[1], RAGGED[1]))
    verdict = _both(by_percents, exactly(dropped, ROUNDING["float64"]))
    own = next(iter(found[KEPT[0].name].values()))
    usable = np.isfinite(own).all() and (own > 0).all()
    return Finding(
        "C2.ragged",
        verdict,
        f"With the short last batch kept, sum and mean end {_range(found, KEPT)} apart, relative to the parameters, on "
        f"{_datasets(found, KEPT)}; with it dropped {_said(dropped)}.",
        unit="relative difference of the parameters (sgd, first dataset)",
        effect=geometric_mean_ratio(np.log(own)) if usable else None,
        replicas=len(own),
        panels=[_table(found, [*KEPT, *POWER[:3]])],
    )


def _two_ways(claim: str, found: Residuals, wrong: Sequence[Case], right: Sequence[Case], a: str, b: str) -> Finding:
    """Scaled one way the residual is visible, scaled the other way there is none."""
    if lacking := _incomplete(claim, found, [*wrong, *right]):
        return lacking
    verdict = _both(_above(_smallest(found, wrong), VISIBLE), exactly(_worst(found, right), 0.0))
    return Finding(
        claim,
        verdict,
        f"With {a} sum and mean end {_range(found, wrong)} apart, relative to the parameters; with {b} "
        f"{_said(_worst(found, right))}, on {_datasets(found, right)}.",
        panels=[_table(found, [*wrong, *right])],
    )


def _reported(evidence: Evidence) -> Finding:
    """C2.cost: everything that a cell reports of two equal trainings."""
    cells = _with_knobs(evidence.cells)
    values = differing = 0
    for case in POWER[:1]:
        for _, mean in cells[_of_the_mean(cells, case)].iterrows():
            for total in cells.loc[_partners(cells, mean, case), "cell"]:
                for one, other in _reports(evidence, mean["cell"], total):
                    values += one.size
                    differing += int((~((one == other) | (np.isnan(one) & np.isnan(other)))).sum())
    text = f"Of {values} values in histories and diagnostics of equivalent trainings {differing} differ."
    return Finding("C2.cost", exactly(differing, 0) if values else Verdict.UNRESOLVED, text)


def _reports(evidence: Evidence, one: str, other: str) -> Iterator[tuple[Array, Array]]:
    for tables in (
        [evidence.histories[cell][["train_cost", "validation_cost"]] for cell in (one, other)],
        [evidence.table(cell, "diagnostics.csv") for cell in (one, other)],
    ):
        a, b = (table.to_numpy(dtype=float) for table in tables)
        yield a, b


# What needs no sweep.


def _scikit_learn() -> Finding:
    """C2.sklearn: λ from one update, ΔW(alpha) − ΔW(0) = −η λ W."""
    penalties = {size: _penalty(size) for size in (32, 128, 512)}
    low, high = min(penalties.values()), max(penalties.values())
    verdict = Verdict.SUPPORTED if high <= (1 + SAME) * low else Verdict.REFUTED
    words = ", ".join(f"{number(value)} at B={size}" for size, value in penalties.items())
    text = f"alpha=1 is a weight decay of {words}: alpha/B, since the penalty is divided by the size of the batch."
    sizes = list(penalties)
    lines = [
        Series("measured", sizes, list(penalties.values()), kind="marks"),
        Series("1/B", sizes, [1 / size for size in sizes], kind="reference"),
    ]
    return Finding(
        "C2.sklearn",
        verdict,
        text if verdict is Verdict.REFUTED else f"alpha=1 is a weight decay of {words}.",
        panels=[Panel("What alpha=1 is", BATCH_SIZE, "weight decay λ", lines)],
    )


def _penalty(batch_size: int) -> float:
    """The weight decay that alpha=1 is in scikit-learn's classifier, in a batch of so many examples."""
    from sklearn.neural_network import MLPClassifier

    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(batch_size, 4)), np.arange(batch_size) % 2
    rate = {"tiny": 1e-30, "free": 0.1, "bound": 0.1}
    W = {}
    for name, alpha in (("tiny", 0.0), ("free", 0.0), ("bound", 1.0)):
        network = MLPClassifier(
            (3,),
            solver="sgd",
            momentum=0,
            alpha=alpha,
            learning_rate_init=rate[name],
            batch_size=batch_size,
            random_state=0,
        )
        W[name] = network.partial_fit(X, y, classes=[0, 1]).coefs_[0]
    return float(np.median((W["free"] - W["bound"]) / (0.1 * W["tiny"])))


def _signs(rng: np.random.Generator) -> Finding:
    """C3: signs and direction of sum and mean of the same per-example gradients."""
    n_components = n_mixed = n_turned = 0
    largest, lines = 0.0, {}
    for network, X, Y in random_networks(rng):
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


def random_networks(rng: np.random.Generator) -> Iterator[tuple[MLP, Array, Array]]:
    """Every activation × cost × depth, each with a batch of 3, 50 or 64 random examples."""
    sizes = [(5, 2), (5, 4, 2), (5, 4, 3, 2), (5, 4, 4, 3, 2)]
    for activation in ACTIVATIONS:
        for loss in LOSSES:
            for i, shape in enumerate(sizes):
                n = (3, 50, 64)[i % 3]
                params = Parameters.initialized(shape, "glorot_normal", [rng])
                X, label = rng.normal(size=(n, 5)), rng.integers(2, size=n)
                yield MLP(params, activation, loss), X, np.eye(2)[label]


def _prose_and_formulas(found: Residuals) -> Finding:
    """C20: at one rate; between rounding and what is visible nothing is concluded."""
    if lacking := _incomplete("C20", found, NOT_SCALED):
        return lacking
    cases, own = NOT_SCALED, found[NOT_SCALED[0].name]
    parts = [_one_training(residual) for residual in own.values()]
    text = (
        f"At one and the same η the sum ends {_range(found, cases)} from the mean, relative to the parameters, on "
        f"{_datasets(found, cases)}; at η/B {_said(_worst(found, POWER))}. The prose and the formulas agree only "
        "after the rate is rescaled."
    )
    return Finding("C20", together(parts), text, panels=[_table(found, [*NOT_SCALED, *POWER[:1]])])


def _one_training(residual: Array) -> Verdict:
    if residual.min() > VISIBLE:
        return Verdict.REFUTED
    return Verdict.SUPPORTED if residual.max() <= ROUNDING["float64"] else Verdict.UNRESOLVED
