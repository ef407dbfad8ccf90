"""Judges noise: how a curve depends on what was recorded, and how far one example's gradient is from the true one."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from harness.analysis import BATCH_SIZE, Evidence, Finding, Panel, Series, limits
from harness.inference import (
    SIGNIFICANCE,
    Interval,
    Verdict,
    all_hold,
    geometric_mean_ratio,
    inside,
    mean_interval,
    together,
)
from harness.report import interval, number, verdicts_along
from harness.report.answers import differing, telling, where

Array = NDArray[np.floating]
Key = tuple[str, str]  # curve or average, dataset
Found = dict[float, dict[Key, Verdict]]  # limit -> verdicts
Rows = list[tuple[str, ...]]

NOISY = (0.05, 0.1, 0.2, 0.3)  # shares of epochs that end higher, above which somebody may call a curve noisy
FAR = (1, 1.5, 2)  # ‖g_1 − G‖/‖G‖ above which an example's gradient may be called far; a gradient of zero has 1
COUNTED = {"far": "with early updates counting more", "far_each": "with all updates counting alike"}
LAW = (1.2, 1.25, 1.5)  # factors within which the law of sampling may be asked to hold
RECORDINGS = {
    "last": "last batch of the epoch",
    "average": "average over the epoch's batches",
    "full": "training set after the epoch",
}
CLAIMED = 1.0  # batch size


@dataclass(frozen=True)
class Noisiness:
    """Of a curve y (E,) of positive costs.

    jitter: standard deviation of the differences of log y from one epoch to the next, less those of its trend.
    ups: share of the steps that go up, ½ for noise around no trend and 0 for a curve that always falls.
    von_neumann: mean squared difference of neighbours over the variance of log y around its trend: 2 for independent
    noise, towards 0 for what is smooth (von Neumann 1941).
    """

    jitter: float
    ups: float
    von_neumann: float


def noisiness(curve: ArrayLike) -> Noisiness:
    """The trend is a parabola of log y over the logarithm of the epoch. Needs five points; not finite ones give NaN."""
    y = np.asarray(curve, dtype=float)
    if len(y) < 5 or not (np.isfinite(y) & (y > 0)).all():
        return Noisiness(np.nan, np.nan, np.nan)
    place, log_y = np.log(np.arange(1, len(y) + 1)), np.log(y)
    left = log_y - np.polyval(np.polyfit(place, log_y, 2), place)
    steps, variance = np.diff(left), left.var()
    ratio = float(np.square(steps).mean() / variance) if variance > 0 else 0.0
    return Noisiness(float(steps.std()), float((np.diff(y) > 0).mean()), ratio)


def recordings(batches: pd.DataFrame, history: pd.DataFrame, per_epoch: int) -> dict[str, Array]:
    """One run's three curves, (E,) each: a point for each whole epoch.

    batches: cost of every batch before its update. history: the checkpoints of the same replica. Raises ValueError
    when an epoch's batches were not all recorded.
    """
    n_epochs = int(history["update"].max()) // per_epoch
    cost = batches.sort_values("update")["batch_cost"].to_numpy()[: n_epochs * per_epoch]
    if len(batches) < n_epochs * per_epoch:
        raise ValueError(f"{len(batches)} recorded batches of {n_epochs * per_epoch}: averages need diagnostics=full")
    by_epoch = cost.reshape(n_epochs, per_epoch)
    after = history.set_index("update")["train_cost"].loc[per_epoch * np.arange(1, n_epochs + 1)]
    return {"last": by_epoch[:, -1], "average": by_epoch.mean(axis=1), "full": after.to_numpy()}


def sizes(updates: ArrayLike, n_train: int, batch_size: int, last_batch: str = "keep") -> Array:
    """Examples in the batch of each update, numbered from 1: the last of an epoch may be short."""
    if last_batch == "drop":
        return np.full(np.shape(updates), float(batch_size))
    per_epoch = -(-n_train // batch_size)
    last = np.asarray(updates) % per_epoch == 0
    return np.where(last, n_train - (per_epoch - 1) * batch_size, batch_size).astype(float)


def law(S: ArrayLike, B: ArrayLike, N: int) -> Array:
    """E‖g_B − G‖² of B examples drawn without replacement from N: (S/B)(N − B)/(N − 1)."""
    size = np.asarray(B, dtype=float)
    return np.asarray(S) / size * (N - size) / (N - 1)


def clipped(value: Interval, low: float, high: float) -> Interval:
    """With limits that the quantity cannot pass."""
    return replace(value, low=max(value.low, low), high=min(value.high, high))


def _named(parts: dict[float, Verdict]) -> dict[str, Verdict]:
    return {f"{limit:g}": verdict for limit, verdict in parts.items()}


def judge(evidence: Evidence) -> Iterator[Finding]:
    yield noisy_curve(evidence)
    yield one_gradient(evidence)


# C11


def noisy_curve(evidence: Evidence) -> Finding:
    """C11: three recordings of each run at B=1, and for comparison at B=N."""
    runs = _runs(evidence)
    datasets = [dataset for dataset, arm in runs if arm == "B=1"]
    of_arms = {
        arm: [{name: noisiness(curve) for name, curve in run.items()} for run in found] for arm, found in runs.items()
    }
    ups = {
        (*arm, name): clipped(mean_interval([recording[name].ups for recording in found]), 0, 1)
        for arm, found in of_arms.items()
        for name in RECORDINGS
    }
    own = {(name, dataset): ups[dataset, "B=1", name] for name in RECORDINGS for dataset in datasets}
    found = {limit: {key: inside(value, limit, 1) for key, value in own.items()} for limit in NOISY}
    parts = {limit: together(verdicts.values()) for limit, verdicts in found.items()}
    whole = [value.estimate for (_, arm, name), value in ups.items() if arm == "B=N" and name == "full"]
    compared = f"; at B=N at most {number(max(whole))} for the training set" if whole else ""
    ranges = [f"{_span(own[name, data] for data in datasets)} for the {text}" for name, text in RECORDINGS.items()]
    jitter = [np.log(recording["last"].jitter / recording["full"].jitter) for recording in of_arms[datasets[0], "B=1"]]
    shown = [(arm, found[0]) for arm, found in runs.items() if arm[0] == datasets[0]]
    verdict = together(parts.values())
    return Finding(
        "C11",
        verdict,
        f"Share of epochs at B=1 after which the curve is higher than before: {', '.join(ranges)}{compared}. "
        "The same weights make a wild or a smooth curve: say which is plotted.",
        unit=f"× as much jitter in the last batch's cost as in the training set's ({datasets[0]})",
        effect=geometric_mean_ratio(jitter),
        replicas=min(len(runs[dataset, "B=1"]) for dataset in datasets),
        panels=[*(_run(arm, curves) for arm, curves in shown), _ups(own, datasets)],
        rows=_shares(own, found),
        along={"the share of epochs that end higher, above which a curve is noisy": parts},
        plain=_which_are_noisy(found, parts) if verdict is Verdict.CONDITIONAL else "",
    )


def _shares(ups: dict[Key, Interval], found: Found) -> Rows:
    columns = "curve at B=1", "data", "share of epochs that end higher", *(f"noisy above {limit}" for limit in NOISY)
    verdicts = {key: [str(found[limit][key]) for limit in NOISY] for key in ups}
    return [columns, *((RECORDINGS[key[0]], key[1], interval(ups[key]), *verdicts[key]) for key in ups)]


def _which_are_noisy(found: Found, parts: dict[float, Verdict]) -> str:
    limit = telling(found)
    if limit is None:
        return f"By the share of epochs above which a curve is noisy: {where(_named(parts), 'by ')}."
    names = {"last": "the last batch's cost", "average": "the epoch's average", "full": "the training set's cost"}
    return f"Noisy if more than {100 * limit:g} % of epochs end higher: {differing(found[limit], names)}."


def _runs(evidence: Evidence) -> dict[tuple[str, str], list[dict[str, Array]]]:
    """(dataset, "B=1" or "B=N") -> the recordings of each run."""
    found: dict[tuple[str, str], list[dict[str, Array]]] = {}
    for _, cell in evidence.cells.iterrows():
        arm = {CLAIMED: "B=1", cell["n_train"]: "B=N"}.get(cell["batch_size"])
        if arm:
            found.setdefault((str(cell["dataset"]), arm), []).append(_curves(evidence, cell))
    return found


def _curves(evidence: Evidence, cell: pd.Series) -> dict[str, Array]:
    history = evidence.histories[cell["cell"]]
    per_epoch = -(-int(cell["n_train"]) // int(cell["batch_size"]))
    return recordings(evidence.table(cell["cell"], "batch_costs.csv"), history[history["replica"] == 0], per_epoch)


def _run(arm: tuple[str, str], curves: dict[str, Array]) -> Panel:
    lines = [Series(text, np.arange(1, len(curves[name]) + 1), curves[name]) for name, text in RECORDINGS.items()]
    return Panel(f"One run, {arm[0]}, {arm[1]}", "epoch", "cost per example", lines, log="")


def _ups(ups: dict[Key, Interval], datasets: list[str]) -> Panel:
    lines = []
    for i, (name, text) in enumerate(RECORDINGS.items()):
        found = [ups[name, dataset] for dataset in datasets]
        x = np.arange(len(datasets)) + 0.15 * (i - 1)
        y, low, high = ([getattr(value, part) for value in found] for part in ("estimate", "low", "high"))
        lines.append(Series(text, x, y, low, high, kind="marks"))
    ends = [-0.5, len(datasets) - 0.5]
    bounds = [Series(f"limits {NOISY[0]} to {NOISY[-1]}", ends, [limit, limit], kind="reference") for limit in NOISY]
    title = "Share of epochs that end higher, B=1"
    return Panel(title, "", "share of epochs", [*lines, *bounds], log="", names=datasets)


# C12


def one_gradient(evidence: Evidence) -> Finding:
    """C12: measured at the updates that were diagnosed, along training."""
    measured = pd.DataFrame([_distances(evidence, cell) for _, cell in evidence.cells.iterrows()])
    datasets = list(dict.fromkeys(measured["dataset"]))
    confidence = 1 - SIGNIFICANCE / len(datasets)
    ones = measured[measured["batch_size"] == CLAIMED].groupby("dataset", sort=False)
    parts = measured[measured["batch_size"] < measured["n_train"]].groupby("dataset", sort=False)
    far = {(how, name): geometric_mean_ratio(np.log(own[how])) for name, own in ones for how in COUNTED}
    ratios = {str(name): mean_interval(own["ratio"], confidence) for name, own in parts}
    cosines = {str(name): clipped(mean_interval(own["cosine"]), -1, 1) for name, own in ones}
    found = {limit: {key: inside(value, limit, np.inf) for key, value in far.items()} for limit in FAR}
    distances = {limit: together(own.values()) for limit, own in found.items()}
    laws = {factor: together(inside(value, 1 / factor, factor) for value in ratios.values()) for factor in LAW}
    verdict = all_hold([together(distances.values()), together(laws.values())])
    early, alike = (_span(far[how, name] for name in datasets) for how in COUNTED)
    return Finding(
        "C12",
        verdict,
        f"‖g_1 − G‖/‖G‖, median of a run: {early} over the measured updates, ten in each decade, so that early updates "
        f"count more; {alike} with every update counting alike. Squared distances are {_span(ratios.values())} times "
        "what the law of sampling without replacement says.",
        unit=f"× ‖G‖, median distance over the measured updates, B=1 ({datasets[0]})",
        effect=far["far", datasets[0]],
        replicas=int(ones.size().min()),
        panels=[
            _far(far, datasets),
            _scaled(measured, datasets),
            _held(ratios, datasets),
            _cosines(measured, datasets),
        ],
        rows=_by_data(far, cosines, ratios, found),
        along={
            "what counts as far (times ‖G‖)": distances,
            "the factor within which the law of sampling has to hold": laws,
        },
        plain=_how_far(found, distances, laws) if verdict is Verdict.CONDITIONAL else "",
    )


def _span(values: Iterable[Interval]) -> str:
    """From the least to the largest estimate."""
    own = [value.estimate for value in values]
    return " to ".join(dict.fromkeys(map(number, (min(own), max(own)))))


def _by_data(far: dict[Key, Interval], cosines: dict[str, Interval], ratios: dict[str, Interval], found: Found) -> Rows:
    distance, law_ = "‖g_1 − G‖/‖G‖", "squared distances, × the law's"
    rows: Rows = [("data", f"{distance}, early updates count more", "updates count alike", "cosine", law_, "far, from")]
    for name in ratios:
        verdicts = {limit: together(own[how, name] for how in COUNTED) for limit, own in found.items()}
        numbers = [*(far[how, name] for how in COUNTED), cosines[name], ratios[name]]
        rows.append((name, *map(interval, numbers), verdicts_along(verdicts)))
    return rows


def _how_far(found: Found, distances: dict[float, Verdict], laws: dict[float, Verdict]) -> str:
    """Where it is far, by the most telling limit; whether batches follow the law."""
    limit = telling(found)
    far = f"Far is, if it begins at a distance: {where(_named(distances), 'of ')}"
    if limit is not None:
        far = f"If far begins at {limit:g} times the true gradient's length: {differing(found[limit], COUNTED)}"
    law_ = "" if set(laws.values()) == {Verdict.SUPPORTED} else f": {where(_named(laws), 'within ')}"
    return f"{far}. Batches follow the law of sampling{law_}."


def _distances(evidence: Evidence, cell: pd.Series) -> dict[str, object]:
    """One run: far, cosine (medians over its measured updates), ratio of measured to predicted, and E‖g_B − G‖²/S.

    far_each: the median in which a measured update stands for all since the one before.
    """
    table = evidence.table(cell["cell"], "diagnostics.csv")
    B, N = int(cell["batch_size"]), int(cell["n_train"])
    b = sizes(table["update"], N, B, str(cell["last_batch"]))
    full = table[b == B]  # for the figure, where a short batch has no place
    squared, predicted = table["squared_distance"], law(table["variance"], b, N)
    distance = np.sqrt(squared / table["squared_norm"])
    return {
        "dataset": str(cell["dataset"]),
        "batch_size": B,
        "n_train": N,
        "far": float(distance.median()),
        "far_each": weighted_median(distance, np.diff(table["update"], prepend=0)),
        "cosine": float(table["cosine"].median()),
        "ratio": float(squared.sum() / predicted.sum()) if B < N else np.nan,
        "scaled": float(full["squared_distance"].sum() / full["variance"].sum()) * (N - 1) / (N - B)
        if B < N
        else np.nan,
    }


def weighted_median(values: ArrayLike, weights: ArrayLike) -> float:
    """The smallest of the values (n,) at which half of the weight (n,) is reached."""
    order = np.argsort(values)
    sums = np.cumsum(np.asarray(weights, dtype=float)[order])
    return float(np.asarray(values, dtype=float)[order][np.searchsorted(sums, sums[-1] / 2)])


def _far(far: dict[Key, Interval], datasets: list[str]) -> Panel:
    lines = []
    for i, (how, label) in enumerate({"far": "early updates count more", "far_each": "updates count alike"}.items()):
        x = np.arange(len(datasets)) + 0.16 * (i - 0.5)
        lines.append(Series(label, x, *limits(far[how, name] for name in datasets), kind="marks"))
    zero = Series("a gradient of zero", [-0.5, len(datasets) - 0.5], [1, 1], kind="reference")
    return Panel("Distance of one example's gradient", "", "‖g_1 − G‖ / ‖G‖", [*lines, zero], log="", names=datasets)


def _by_size(measured: pd.DataFrame, dataset: str, column: str) -> Series:
    own = measured[measured["dataset"] == dataset].dropna(subset=column).groupby("batch_size")[column]
    return Series(dataset, own.median().index, own.median(), own.min(), own.max(), kind="marks")


def _scaled(measured: pd.DataFrame, datasets: list[str]) -> Panel:
    B = np.array(sorted(measured.loc[measured["batch_size"] < measured["n_train"], "batch_size"].unique()))
    lines = [_by_size(measured, dataset, "scaled") for dataset in datasets]
    return Panel(
        "Distance from the true gradient", BATCH_SIZE, "‖g_B − G‖² (N−1)/(N−B) / S",
        [*lines, Series("law", B, 1 / B, kind="reference")],
    )  # fmt: skip


def _cosines(measured: pd.DataFrame, datasets: list[str]) -> Panel:
    lines = [_by_size(measured, dataset, "cosine") for dataset in datasets]
    return Panel("Cosine to the true gradient (median of a run)", BATCH_SIZE, "cosine", lines, log="x")


def _held(ratios: dict[str, Interval], datasets: list[str]) -> Panel:
    lines = [
        Series(name, [i], [ratios[name].estimate], [ratios[name].low], [ratios[name].high], kind="marks")
        for i, name in enumerate(datasets)
    ]
    predicted = Series("law", [-0.5, len(datasets) - 0.5], [1, 1], kind="reference")
    return Panel("Measured / predicted", "", "ratio of squared distances", [*lines, predicted], log="", names=datasets)
