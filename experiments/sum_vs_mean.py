"""Judges sum_vs_mean: pairs of cells that should be one training, and how far apart they end."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.analysis import Evidence, Finding, Panel, Series
from harness.inference import Verdict, all_hold, exactly, geometric_mean_ratio, opposite, together
from harness.report import answers, number

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.floating]
ROUNDING = {"float64": 1e-10, "float32": 1e-4}
VISIBLE = 1e-2  # a relative difference of all parameters, far above rounding
RAGGED = (1e-3, 1.0)  # "by percents"
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
# what is scaled wrongly, what rightly, and both in words
TWO_WAYS = {
    "C2.decay": (DECAYED[:1], DECAYED[1:], "the decay as it is", "the decay times B"),
    "C2.clip": (CLIPPED[:1], CLIPPED[1:], "the norm as it is", "the norm times B"),
    "C2.adaptive": (DIVIDED, SCALED, "η/B", "η and epsilon times B"),
}

Residuals = dict[str, dict[str, Array]]  # name of a case -> dataset -> (R,)


def judge(evidence: Evidence) -> Iterator[Finding]:
    found = {case.name: residuals(evidence, case) for case in LIST}
    replicas = int(evidence.cells["n_replicas"].min())
    yield _sum_of_examples(evidence)
    yield _doesnt_matter(found, replicas)
    yield _incomplete("C2.power", found, POWER) or _power(found)
    yield _incomplete("C2.rounding", found, [*OTHER_B, *SINGLE]) or _rounding(found)
    yield _incomplete("C2.ragged", found, [*KEPT, *POWER[:3]]) or _ragged(found)
    for claim, (wrong, right, *words) in TWO_WAYS.items():
        yield _incomplete(claim, found, [*wrong, *right]) or _two_ways(claim, found, wrong, right, *words)
    yield _reported(evidence)
    yield _incomplete("C20", found, NOT_SCALED) or _prose_and_formulas(found)


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
    return np.where(_same(one, other).all(axis=1), 0.0, found)


def _same(one: Array, other: Array) -> NDArray[np.bool_]:
    return np.asarray((one == other) | (np.isnan(one) & np.isnan(other)))


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


def _values(found: Residuals, cases: Sequence[Case]) -> Array:
    """Of all replicas, datasets and cases; NaN without any."""
    return np.concatenate([own for case in cases for own in found[case.name].values()] or [np.array([np.nan])])


def _worst(found: Residuals, cases: Sequence[Case]) -> float:
    return float(_values(found, cases).max())


def _incomplete(claim: str, found: Residuals, cases: Sequence[Case]) -> Finding | None:
    """What is said where the sweep has no pair of cells for one of the cases."""
    missing = [case.name for case in cases if not found[case.name]]
    text = f"The sweep has no pair of cells for {len(missing)} of {len(cases)} settings: {'; '.join(missing)}."
    return Finding(claim, Verdict.UNRESOLVED, text) if missing else None


def _said(value: float) -> str:
    return "not measured" if np.isnan(value) else "nothing, to the bit" if value == 0 else f"at most {value:.1e}"


def _range(found: Residuals, cases: Sequence[Case]) -> str:
    own = _values(found, cases)
    return "not measured" if np.isnan(own).any() else f"{number(own.min())} to {number(own.max())}"


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
    text = f"One pass over the batch and a loop over its examples end {_said(worst)} apart, relative to the "
    text += f"parameters, on {', '.join(own) or 'no dataset'}."
    panels = [_table({LOOP.name: own}, [LOOP], "How far a loop over the examples ends from a matrix")] if own else []
    return Finding("C1", exactly(worst, ROUNDING["float64"]), text, panels=panels)


def _doesnt_matter(found: Residuals, replicas: int) -> Finding:
    """C2: with the learning rate alone."""
    settings = {
        "B=64": POWER,
        "B=50": OTHER_B,
        "single precision": SINGLE,
        "a short last batch": KEPT,
        "weight decay": DECAYED[:1],
        "clipping": CLIPPED[:1],
        "adaptive rules": DIVIDED,
    }
    verdicts = {
        name: together(exactly(_worst(found, [case]), ROUNDING[case.where["dtype"]]) for case in cases)
        for name, cases in settings.items()
    }
    verdict = together(verdicts.values())
    sizes = "; ".join(_sizes(found, settings, verdicts))
    text = f"Relative difference of the final parameters between mean at η and sum at η/B: {sizes}."
    plain = _where(found, settings, verdicts) if verdict is Verdict.CONDITIONAL else ""
    panels, rows = [_table(found)], _numbers(found)
    return Finding("C2", verdict, text, replicas=replicas, panels=panels, rows=rows, plain=plain)


def _sizes(found: Residuals, settings: Mapping[str, Sequence[Case]], verdicts: Mapping[str, Verdict]) -> Iterator[str]:
    """How large the differences are, of the settings of each verdict."""
    for of in dict.fromkeys(verdicts.values()):
        names = [name for name, verdict in verdicts.items() if verdict is of]
        cases = [case for name in names for case in settings[name]]
        size = _said(_worst(found, cases)) if of is Verdict.SUPPORTED else _range(found, cases)
        yield f"{size} in {len(names)} of {len(verdicts)} settings"


def _where(found: Residuals, settings: Mapping[str, Sequence[Case]], verdicts: Mapping[str, Verdict]) -> str:
    """In which settings the rate alone makes sum and mean one training, in plain words."""
    of = {verdict: [name for name, own in verdicts.items() if own is verdict] for verdict in Verdict}
    exact = [name for name in of[Verdict.SUPPORTED] if _worst(found, settings[name]) == 0]
    parts = {
        "the same bits with": exact,
        "the same up to rounding with": [name for name in of[Verdict.SUPPORTED] if name not in exact],
        "another training with": of[Verdict.REFUTED],
        "in part another with": of[Verdict.CONDITIONAL],
        "not measured with": of[Verdict.UNRESOLVED],
    }
    words = "; ".join(f"{text} {answers.joined(names)}" for text, names in parts.items() if names)
    return f"Once the rate of the sum is divided by B: {words}."


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


def _numbers(found: Residuals, cases: Sequence[Case] = LIST) -> list[tuple[str, ...]]:
    """The same as a table: the largest relative difference of a replica."""
    datasets = dict.fromkeys(name for case in cases for name in found[case.name])
    rows = [
        (case.name, *(number(own[name].max()) if name in own else "" for name in datasets), _alike(found, case))
        for case in cases
        if (own := found[case.name])
    ]
    return [("sum with", *(f"from mean at η, {name}" for name in datasets), "one training"), *rows] if rows else []


def _alike(found: Residuals, case: Case) -> str:
    worst = _worst(found, [case])
    bound = ROUNDING[case.where["dtype"]]
    return "to the bit" if worst == 0 else "up to rounding" if worst <= bound else "no"


def _power(found: Residuals) -> Finding:
    worst = _worst(found, POWER)
    text = f"At B=64 sgd, momentum and nesterov differ by {_said(worst)}, on {_datasets(found, POWER)}."
    return Finding("C2.power", exactly(worst, 0.0), text, panels=[_table(found, POWER)], rows=_numbers(found, POWER))


def _rounding(found: Residuals) -> Finding:
    double, single = _worst(found, OTHER_B), _worst(found, SINGLE)
    verdict = all_hold([exactly(double, ROUNDING["float64"]), exactly(single, ROUNDING["float32"])])
    text = f"At B=50 sgd, momentum and nesterov differ by {_said(double)}, on {_datasets(found, OTHER_B)}; in single "
    text += f"precision by {_said(single)}."
    cases = [*OTHER_B, *SINGLE]
    return Finding("C2.rounding", verdict, text, panels=[_table(found, cases)], rows=_numbers(found, cases))


def _ragged(found: Residuals) -> Finding:
    kept, dropped = _values(found, KEPT), _worst(found, POWER)
    by_percents = [opposite(exactly(kept.min(), RAGGED[0])), exactly(kept.max(), RAGGED[1])]
    verdict = all_hold([*by_percents, exactly(dropped, ROUNDING["float64"])])
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
        rows=_numbers(found, [*KEPT, *POWER[:3]]),
    )


def _two_ways(claim: str, found: Residuals, wrong: Sequence[Case], right: Sequence[Case], a: str, b: str) -> Finding:
    """Scaled one way the residual is visible, scaled the other way there is none."""
    verdict = all_hold([opposite(exactly(_values(found, wrong).min(), VISIBLE)), exactly(_worst(found, right), 0.0)])
    text = (
        f"With {a} sum and mean end {_range(found, wrong)} apart, relative to the parameters; with {b} "
        f"{_said(_worst(found, right))}, on {_datasets(found, right)}."
    )
    cases = [*wrong, *right]
    return Finding(claim, verdict, text, panels=[_table(found, cases)], rows=_numbers(found, cases))


def _reported(evidence: Evidence) -> Finding:
    """C2.cost: everything that a cell reports of two equal trainings."""
    cells = _with_knobs(evidence.cells)
    values = differing = 0
    for _, mean in cells[_of_the_mean(cells, POWER[0])].iterrows():
        for total in cells.loc[_partners(cells, mean, POWER[0]), "cell"]:
            for one, other in _reports(evidence, mean["cell"], total):
                values, differing = values + one.size, differing + int((~_same(one, other)).sum())
    text = f"Of {values} values in histories and diagnostics of equivalent trainings {differing} differ."
    return Finding("C2.cost", exactly(differing, 0) if values else Verdict.UNRESOLVED, text)


def _reports(evidence: Evidence, *cells: str) -> Iterator[list[Array]]:
    yield [evidence.histories[cell][["train_cost", "validation_cost"]].to_numpy(dtype=float) for cell in cells]
    yield [evidence.table(cell, "diagnostics.csv").to_numpy(dtype=float) for cell in cells]


def _prose_and_formulas(found: Residuals) -> Finding:
    """C20: at one rate; between rounding and what is visible nothing is concluded."""
    parts = [_one_training(residual) for residual in found[NOT_SCALED[0].name].values()]
    text = (
        f"At one and the same η the sum ends {_range(found, NOT_SCALED)} from the mean, relative to the parameters, on "
        f"{_datasets(found, NOT_SCALED)}; at η/B {_said(_worst(found, POWER))}."
    )
    cases = [*NOT_SCALED, *POWER[:1]]
    return Finding("C20", together(parts), text, panels=[_table(found, cases)], rows=_numbers(found, cases))


def _one_training(residual: Array) -> Verdict:
    if residual.min() > VISIBLE:
        return Verdict.REFUTED
    return Verdict.SUPPORTED if residual.max() <= ROUNDING["float64"] else Verdict.UNRESOLVED
