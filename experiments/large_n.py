"""Judges large_n: seconds to a cost at B=N over those of the faster mini-batch, as a function of N."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.analysis import Evidence, Finding, Panel, Series, at_the_edge, limits
from harness.inference import (
    CONFIDENCE,
    Interval,
    Verdict,
    fewest_pairs,
    geometric_mean_ratio,
    inside,
    split_replicas,
    together,
)
from harness.report import answers, duration, interval, number

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.floating]
CLAIMED = 2000  # examples
BEND = 2048  # where the two lines join: the N of the grid that is nearest
NEAR = (CLAIMED / 2, CLAIMED * 2)  # a threshold in here would be the one that is claimed
TOO_LONG = (1.25, 1.5, 2, 3, 4, 5, 7, 10)  # times the seconds of the mini-batch: nobody says which
TARGETS = (1.0, 1.25, 1.5, 2.0)  # times the target: on the way to it every run passes these
TOLD = (2, 4, 10)  # of these, the ones whose N is told
KNEE = (1 / 3, 1 / 2, 1)  # rise of a slope: a third, half, all of the way from no dependence on N to proportion
FEWEST_SPARE = 2  # degrees of freedom of the scatter around the two lines
MOST = 3  # that a sentence names of what is not known
N_AXIS = "training examples N"
UNKNOWN = Interval(np.nan, np.nan, np.nan)


def judge(evidence: Evidence) -> Iterator[Finding]:
    best = best_cells(evidence)
    edges = _edges(best)
    ratios = {clock: ratio_table(evidence, best, clock) for clock in ("seconds", "epochs")}
    bent = knee(evidence, ratios, edges, int(best["n_replicas"].min()))
    targets = {times: at_one_target(evidence.at_target(times)) for times in TARGETS}
    yield threshold(evidence, best, ratios, targets, edges, smooth=bent.verdict is Verdict.REFUTED)
    yield bent


def _edges(best: "pd.DataFrame") -> str:
    """The first best rates that lie on the edge of their grid, and how many more do."""
    own = best[best["edge"] != ""]
    more = f" And {len(own) - MOST} more." if len(own) > MOST else ""
    return f"{at_the_edge(own.head(MOST))}{more}"


def at_one_target(evidence: Evidence) -> Verdict:
    """On C10, whatever too long may be; unresolved where a replica misses the target or a best rate is on an edge."""
    best = best_cells(evidence)
    by_n = ratio_table(evidence, best, "seconds")
    known = not at_the_edge(best) and not any(np.isnan(ratio.estimate) for ratio in by_n.values())
    return together(thresholds(by_n).values()) if known else Verdict.UNRESOLVED


def thresholds(by_n: dict[float, Interval]) -> dict[float, Verdict]:
    """Times as long that are too long -> whether that begins near 2000 examples."""
    return {factor: inside(crossing(by_n, factor), *NEAR) for factor in TOO_LONG}


def best_cells(evidence: Evidence) -> "pd.DataFrame":
    """For each N the best cell at B=N and that of the mini-batch; columns N and arm.

    One size of mini-batch for all N, the fastest on average: were it chosen at each N, noise would choose with it. The
    replicas that choose it are those that choose the rates; seconds: medians of the others.
    """
    about = evidence.cells.set_index("cell")["n_train"]
    best = evidence.answer.targets.assign(N=lambda table: table["cell"].map(about))
    reached, chose = evidence.answer.to_target, split_replicas(evidence.answer.n_replicas, fewest_pairs(1)).selection
    best["seconds"] = [float(np.median(evidence.reported(reached[cell], "seconds"))) for cell in best["cell"]]
    best["chose"] = [float(np.median(reached[cell]["seconds"][chose])) for cell in best["cell"]]
    best["arm"] = np.where(best["batch_size"] == best["N"], "B=N", "mini-batch")
    small = best[best["arm"] == "mini-batch"]
    mean = np.log(small["chose"]).groupby(small["batch_size"]).mean()
    kept = (best["arm"] == "B=N") | (best["batch_size"] == (mean.idxmin() if len(mean) else np.nan))
    return best[kept].sort_values(["N", "arm"])


def ratio_table(evidence: Evidence, best: "pd.DataFrame", clock: str) -> dict[float, Interval]:
    """N -> B=N over the mini-batch, replica by replica; NaN where a replica of either misses the cost."""
    found = {}
    for N, own in best.groupby("N"):
        cell = own.set_index("arm")["cell"]
        if {"B=N", "mini-batch"} <= set(cell.index):
            a, b = (evidence.reported(evidence.answer.to_target[cell[arm]], clock) for arm in ("B=N", "mini-batch"))
            with np.errstate(divide="ignore", invalid="ignore"):
                logs = np.log(a / b)
            found[float(N)] = geometric_mean_ratio(logs) if np.isfinite(logs).all() else UNKNOWN
    return found


def threshold(
    evidence: Evidence,
    best: "pd.DataFrame",
    ratios: dict[str, dict[float, Interval]],
    targets: dict[float, Verdict],
    edges: str,
    smooth: bool,
) -> Finding:
    """C10: whether B=N begins to take too long near 2000 examples, by what too long may be. smooth: without a knee.

    targets: times the target -> `at_one_target`.
    """
    by_n, other = ratios["seconds"], mini_batch(evidence)
    near = min(by_n, key=lambda N: abs(np.log(N / CLAIMED)))
    text = "There is no threshold, the ratio grows without a knee (N1). " if smooth else ""
    text += (
        f"At N={near:g} the whole set takes {interval(by_n[near])} times as long as {other} to the same cost, each at "
        f"its best rate. The claim holds for a meaning of too long that begins between N={NEAR[0]:g} and N={NEAR[1]:g}."
    )
    if unknown := [N for N in sorted(by_n) if np.isnan(by_n[N].estimate)]:
        more = f" and {len(unknown) - MOST} more" if len(unknown) > MOST else ""
        text = f"Not every replica reaches the cost at N={', '.join(f'{N:g}' for N in unknown[:MOST])}{more}."
    verdict = Verdict.UNRESOLVED if edges or unknown else together(targets.values())
    plain = (
        f"It depends on what is too long: at N={near:g} the whole set takes {number(by_n[near].estimate)} times as "
        f"long as a mini-batch{''.join(f', {words}' for words in _reached(by_n))}."
    )
    return Finding(
        "C10",
        verdict,
        text + edges,
        plain=plain if verdict is Verdict.CONDITIONAL else "",
        unit=f"× the train seconds of {other} at N={near:g}",
        effect=by_n[near] if np.isfinite(by_n[near].estimate) else None,
        replicas=int(best["n_replicas"].min()),
        panels=[_seconds_panel(best, evidence), _ratio_panel(ratios)],
        rows=[] if unknown else _threshold_rows(by_n),
        along={
            "how many times as long is too long": thresholds(by_n),
            "the cost to be reached (multiples of the target)": targets,
        },
    )


def mini_batch(evidence: Evidence) -> str:
    """The faster of B=64 and 128."""
    cells = evidence.cells
    sizes = sorted(set(cells.loc[cells["batch_size"] < cells["n_train"], "batch_size"]))
    words = " and ".join(f"{B:g}" for B in sizes)
    return f"the faster of B={words}" if len(sizes) > 1 else f"B={words}"


def crossing(by_n: dict[float, Interval], factor: float) -> Interval:
    """The N from which on the ratio is above factor: 0 if at every N, inf if not at the largest; NaN if unknown.

    Its limits are where the upper and the lower limits of the ratios cross.
    """
    sizes = np.array(sorted(by_n))
    curves = (np.array([getattr(by_n[N], name) for N in sizes]) for name in ("estimate", "high", "low"))
    return Interval(*(_crossing(np.log(sizes), np.log(curve), np.log(factor)) for curve in curves))


def _crossing(x: Array, y: Array, level: float) -> float:
    if np.isnan(y).any():
        return float("nan")
    below = np.flatnonzero(y <= level)
    if not len(below):
        return 0.0
    i = int(below[-1])
    if i == len(y) - 1:
        return float("inf")
    return float(np.exp(x[i] + (level - y[i]) / (y[i + 1] - y[i]) * (x[i + 1] - x[i])))


def _reached(by_n: dict[float, Interval]) -> Iterator[str]:
    """Near which N it takes 2, 4 and 10 times as long, of those that it does somewhere."""
    for factor in TOLD:
        place = crossing(by_n, factor).estimate
        if 0 < place < np.inf:
            yield f"{factor:g} times as long from about {float(f'{place:.2g}'):g} examples on"


def _threshold_rows(by_n: dict[float, Interval]) -> list[tuple[str, ...]]:
    """From which N on it takes so many times as long, or that it does so everywhere, or nowhere."""
    first, last = min(by_n), max(by_n)
    columns = "too long is, times as long", "from N on", "at least", "at most", f"N from {NEAR[0]:g} to {NEAR[1]:g}"
    rows: list[tuple[str, ...]] = [columns]
    for factor, verdict in thresholds(by_n).items():
        found = crossing(by_n, factor)
        start, *ends = (_place(place, first, last) for place in (found.estimate, found.low, found.high))
        rows.append((f"{factor:g}", start, *ends, str(verdict)))
    return rows


def _place(N: float, first: float, last: float) -> str:
    """An N; 0 and inf are beyond those that were tried."""
    if np.isnan(N):
        return "not known"
    return f"less than {first:g}" if N == 0 else f"more than {last:g}" if np.isinf(N) else number(N)


def knee(evidence: Evidence, ratios: dict[str, dict[float, Interval]], edges: str, n_replicas: int) -> Finding:
    """N1: whether the slope of the log ratio changes at 2000 examples."""
    bends = {clock: bend(by_n) for clock, by_n in ratios.items()}
    _, change = bends["seconds"]
    verdicts = {rise: inside(change, rise, np.inf) for rise in KNEE}
    known = {clock: own for clock, own in bends.items() if not np.isnan(own[1].low)}
    if "seconds" not in known:
        text = f"{len(ratios['seconds'])} sizes with a ratio are too few for two lines and their scatter."
    else:
        growths = (
            f"{clock} like N^{below:.2f} below N={BEND} and N^{below + own.estimate:.2f} above"
            for clock, (below, own) in known.items()
        )
        *some, last = (f"{rise:.2g}" for rise in KNEE)
        text = f"The ratio grows in {', in '.join(growths)}. "
        text += f"A knee is a rise of the slope by at least {', '.join(some)} or {last}."
        text += _price(evidence, change, verdicts, len(ratios["seconds"]))
    return Finding(
        "N1",
        Verdict.UNRESOLVED if edges else together(verdicts.values()),
        f"{text}{edges}",
        plain=_open(change, verdicts) if not edges and together(verdicts.values()) is Verdict.UNRESOLVED else "",
        unit=f"change of the slope of log ratio over log N at N={BEND}",
        effect=None if np.isnan(change.low) else change,
        replicas=n_replicas,
        panels=[_ratio_panel(ratios, lines=True)],
        rows=[
            ("ratio of", f"slope below N={BEND}", "slope above", "change"),
            *((c, f"{at:.2f}", f"{at + own.estimate:.2f}", _signed(own)) for c, (at, own) in known.items()),
        ],
        along={"the rise that makes a knee": verdicts},
    )


def _price(evidence: Evidence, change: Interval, verdicts: dict[float, Verdict], n_sizes: int) -> str:
    """How many N would tell, and how long their cells train, if the estimate is right: limits go like 1/√n."""
    still = [abs(change.estimate - rise) for rise, verdict in verdicts.items() if verdict is Verdict.UNRESOLVED]
    if not still or min(still) == 0:
        return ""
    times = max(1.0, ((change.high - change.low) / 2 / min(still)) ** 2)
    seconds = times * float(evidence.cells["time/wall_seconds"].sum()) if "time/wall_seconds" in evidence.cells else 0.0
    return f" About {np.ceil(n_sizes * times):.0f} sizes would tell{f' ({duration(seconds)})' if seconds else ''}."


def bend(by_n: dict[float, Interval]) -> tuple[float, Interval]:
    """Slope below BEND, and its change there: log ratio = c + s log N + d max(0, log N/BEND), least squares.

    The limits of d are Student's, from the residuals: the scatter of the clocks and of the draws of the data is in
    them. NaN for fewer than five N, for N on one side of BEND only, and where a ratio is unknown.
    """
    x, y = np.log(sorted(by_n)), np.log([by_n[N].estimate for N in sorted(by_n)])
    columns = np.stack([np.ones_like(x), x, np.maximum(0, x - np.log(BEND))], axis=1)
    spare = len(x) - 3
    if spare < FEWEST_SPARE or np.isnan(y).any() or np.linalg.matrix_rank(columns) < 3:
        return np.nan, UNKNOWN
    from scipy import stats

    solution, *_ = np.linalg.lstsq(columns, y, rcond=None)
    variance = np.square(y - columns @ solution).sum() / spare * np.linalg.inv(columns.T @ columns)[2, 2]
    reach = stats.t(spare).ppf((1 + CONFIDENCE) / 2) * np.sqrt(variance)
    return float(solution[1]), Interval(float(solution[2]), float(solution[2] - reach), float(solution[2] + reach))


def _open(change: Interval, verdicts: dict[float, Verdict]) -> str:
    """Which rises of the slope are decided, the largest first."""
    rises: dict[Verdict, list[str]] = {}
    for rise in sorted(verdicts, reverse=True):
        rises.setdefault(verdicts[rise], []).insert(0, f"{rise:.2g}")
    told = "; ".join(f"by {' or '.join(own)}: {answers.WORDS[verdict]}" for verdict, own in rises.items())
    known = not np.isnan(change.low)
    return f"Whether the slope rises {told}. It changes by {_signed(change)}." if known else ""


def _signed(value: Interval) -> str:
    return f"{value.estimate:+.2f} [{value.low:+.2f}, {value.high:+.2f}]"


def _seconds_panel(best: "pd.DataFrame", evidence: Evidence) -> Panel:
    goal = number(next(iter(evidence.answer.targets_at.values())))
    lines = [
        Series({"B=N": "B = N", "mini-batch": mini_batch(evidence)}[str(arm)], own["N"], own["seconds"])
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
        label = f"{', '.join(map(str, TOLD))} times as long"
        drawn += [Series(label, sizes, [factor] * len(sizes), kind="reference") for factor in TOLD]
    return Panel("B = N over the mini-batch", N_AXIS, "ratio", drawn)
