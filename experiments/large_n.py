"""Judges large_n: seconds to a cost at B=N over those of the best mini-batch, as a function of N."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.analysis import Evidence, Finding, Panel, Series, at_the_edge, limits
from harness.inference import CONFIDENCE, Interval, Verdict, geometric_mean_ratio, inside
from harness.report import interval, number

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.floating]
CLAIMED = 2000  # examples
BEND = 2048  # where the two lines join: the N of the grid that is nearest
NEAR = (CLAIMED / 2, CLAIMED * 2)  # a threshold in here would be the one that is claimed
TOO_LONG = 1.25  # times the seconds of the best mini-batch
KNEE = 0.5  # of a slope: half of the way from no dependence on N to cost in proportion to it
FEWEST_SPARE = 2  # degrees of freedom of the scatter around the two lines
N_AXIS = "training examples N"


def judge(evidence: Evidence) -> Iterator[Finding]:
    best = best_cells(evidence)
    edges = at_the_edge(best)
    ratios = {clock: ratio_table(evidence, best, clock) for clock in ("seconds", "epochs")}
    yield threshold(evidence, best, ratios, edges)
    yield knee(evidence, ratios, edges)


def best_cells(evidence: Evidence) -> "pd.DataFrame":
    """For each N the best cell at B=N and that of the mini-batch; columns N and arm.

    One size of mini-batch for all N, the fastest on average: were it chosen at each N, noise would choose with it.
    """
    about = evidence.cells.set_index("cell")["n_train"]
    best = evidence.answer.targets.assign(N=lambda table: table["cell"].map(about))
    best["seconds"] = [float(np.median(evidence.to_target[cell]["seconds"])) for cell in best["cell"]]
    best["arm"] = np.where(best["batch_size"] == best["N"], "B=N", "mini-batch")
    small = best[best["arm"] == "mini-batch"]
    mean = np.log(small["seconds"]).groupby(small["batch_size"]).mean()
    kept = (best["arm"] == "B=N") | (best["batch_size"] == (mean.idxmin() if len(mean) else np.nan))
    return best[kept].sort_values(["N", "arm"])


def ratio_table(evidence: Evidence, best: "pd.DataFrame", clock: str) -> dict[float, Interval]:
    """N -> B=N over the best mini-batch, replica by replica; NaN where half of the pairs or more lack a value."""
    found = {}
    for N, own in best.groupby("N"):
        cell = own.set_index("arm")["cell"]
        if {"B=N", "mini-batch"} <= set(cell.index):
            a, b = (evidence.to_target[cell[arm]][clock] for arm in ("B=N", "mini-batch"))
            reached = np.isfinite(a) & np.isfinite(b)
            usable = reached if 2 * reached.sum() > len(a) else np.zeros_like(reached)
            found[float(N)] = geometric_mean_ratio(np.log(a[usable] / b[usable]))
    return found


def threshold(
    evidence: Evidence, best: "pd.DataFrame", ratios: dict[str, dict[float, Interval]], edges: str
) -> Finding:
    """C10: from which N on B=N takes too long."""
    by_n = ratios["seconds"]
    found = crossing(by_n)
    near = min(by_n, key=lambda N: abs(np.log(N / CLAIMED)))
    sizes = sorted(by_n)
    shown = ", ".join(f"{interval(by_n[N])} at N={N:g}" for N in sorted({sizes[0], near, sizes[-1]}))
    text = f"Batch gradient descent takes as many times as long as the best mini-batch: {shown}; "
    text += f"more than {TOO_LONG:g} {_from_where(found, sizes)}."
    if unknown := [N for N in sizes if np.isnan(by_n[N].estimate)]:
        text = f"Too few replicas reach the cost at N={', '.join(f'{N:g}' for N in unknown)}."
    return Finding(
        "C10",
        Verdict.UNRESOLVED if edges or unknown else inside(found, *NEAR),
        text + edges,
        unit=f"× the train seconds of the best mini-batch at N={near:g}",
        effect=by_n[near] if np.isfinite(by_n[near].estimate) else None,
        replicas=int(evidence.answer.n_replicas),
        panels=[_seconds_panel(best, evidence), _ratio_panel(ratios)],
    )


def crossing(by_n: dict[float, Interval]) -> Interval:
    """The N from which on the ratio is TOO_LONG: 0 if it is at every N, inf if not at the largest; NaN if unknown.

    Its limits are where the upper and the lower limits of the ratios cross.
    """
    sizes = np.array(sorted(by_n))
    curves = (np.array([getattr(by_n[N], name) for N in sizes]) for name in ("estimate", "high", "low"))
    return Interval(*(_crossing(np.log(sizes), np.log(curve)) for curve in curves))


def _crossing(x: Array, y: Array) -> float:
    level = np.log(TOO_LONG)
    if np.isnan(y).any():
        return float("nan")
    below = np.flatnonzero(y <= level)
    if not len(below):
        return 0.0
    i = int(below[-1])
    if i == len(y) - 1:
        return float("inf")
    return float(np.exp(x[i] + (level - y[i]) / (y[i + 1] - y[i]) * (x[i + 1] - x[i])))


def _from_where(found: Interval, sizes: list[float]) -> str:
    if found.estimate == 0:
        return f"at every N from {sizes[0]:g} on"
    if np.isinf(found.estimate):
        return f"not up to N={sizes[-1]:g}"
    if np.isnan(found.low):
        return f"from N={number(found.estimate)} on"
    low = f"less than {sizes[0]:g}" if found.low == 0 else number(found.low)
    high = f"more than {sizes[-1]:g}" if np.isinf(found.high) else number(found.high)
    return f"from N={number(found.estimate)} on (between {low} and {high})"


def knee(evidence: Evidence, ratios: dict[str, dict[float, Interval]], edges: str) -> Finding:
    """N1: whether the slope of the log ratio changes at 2000 examples."""
    bends = {clock: bend(by_n) for clock, by_n in ratios.items()}
    below, change = bends["seconds"]
    if np.isnan(change.low):
        text = f"{len(ratios['seconds'])} sizes with a ratio are too few for two lines and their scatter."
    else:
        text = (
            f"The ratio of the seconds grows like N^{below:.2f} below N={BEND} and like "
            f"N^{below + change.estimate:.2f} above: the slope changes by {_signed(change)}. In epochs, which no clock "
            f"can disturb, it changes by {_signed(bends['epochs'][1])}."
        )
    return Finding(
        "N1",
        Verdict.UNRESOLVED if edges else inside(change, KNEE, np.inf),
        f"{text}{edges}",
        unit=f"change of the slope of log ratio over log N at N={BEND}",
        effect=None if np.isnan(change.low) else change,
        replicas=int(evidence.answer.n_replicas),
        panels=[_ratio_panel(ratios, lines=True)],
    )


def bend(by_n: dict[float, Interval]) -> tuple[float, Interval]:
    """Slope below BEND, and its change there: log ratio = c + s log N + d max(0, log N/BEND), least squares.

    The limits of d are Student's, from the residuals: the scatter of the clocks and of the draws of the data is in
    them. NaN for fewer than five N, for N on one side of BEND only, and where a ratio is unknown.
    """
    x, y = np.log(sorted(by_n)), np.log([by_n[N].estimate for N in sorted(by_n)])
    columns = np.stack([np.ones_like(x), x, np.maximum(0, x - np.log(BEND))], axis=1)
    spare = len(x) - 3
    if spare < FEWEST_SPARE or np.isnan(y).any() or np.linalg.matrix_rank(columns) < 3:
        return np.nan, Interval(np.nan, np.nan, np.nan)
    from scipy import stats

    solution, *_ = np.linalg.lstsq(columns, y, rcond=None)
    variance = np.square(y - columns @ solution).sum() / spare * np.linalg.inv(columns.T @ columns)[2, 2]
    reach = stats.t(spare).ppf((1 + CONFIDENCE) / 2) * np.sqrt(variance)
    return float(solution[1]), Interval(float(solution[2]), float(solution[2] - reach), float(solution[2] + reach))


def _signed(value: Interval) -> str:
    return f"{value.estimate:+.2f} [{value.low:+.2f}, {value.high:+.2f}]"


def _seconds_panel(best: "pd.DataFrame", evidence: Evidence) -> Panel:
    goal = number(next(iter(evidence.answer.targets_at.values())))
    lines = [
        Series({"B=N": "B = N", "mini-batch": "the best mini-batch"}[str(arm)], own["N"], own["seconds"])
        for arm, own in best.groupby("arm")
    ]
    return Panel(f"Train seconds to a cost of {goal}", N_AXIS, "train seconds", lines)


def _ratio_panel(ratios: dict[str, dict[float, Interval]], lines: bool = False) -> Panel:
    drawn = []
    for clock, by_n in ratios.items():
        sizes = sorted(by_n)
        ratio, low, high = limits(by_n[N] for N in sizes)
        drawn.append(Series(f"in {clock}", sizes, ratio, low, high, "marks" if lines else "line"))
    sizes = sorted(ratios["seconds"])
    below, change = bend(ratios["seconds"])
    if lines and not np.isnan(change.low):
        x = np.geomspace(sizes[0], sizes[-1], 50)
        y = below * np.log(x) + change.estimate * np.maximum(0, np.log(x / BEND))
        measured = np.log([ratios["seconds"][N].estimate for N in sizes])
        at = measured.mean() - np.interp(np.log(sizes), np.log(x), y).mean()
        drawn.append(Series(f"two lines that join at N={BEND}", x, np.exp(y + at), kind="reference"))
    if not lines:
        drawn.append(Series(f"{TOO_LONG:g}: too long", sizes, [TOO_LONG] * len(sizes), kind="reference"))
    return Panel("B = N over the best mini-batch", N_AXIS, "ratio", drawn)
