"""Judges noise_scale: the critical batch size of the updates to target against the gradient noise scale."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.analysis import Evidence, Finding, Panel, Series, fits_table, limits, targets_table, updates_to_target
from harness.inference import UNKNOWN, Interval, Verdict, geometric_mean_ratio, inside, together
from harness.report import bounds
from harness.report.answers import DECIDED, joined, spread
from harness.training import average_noise_scale, pooled_noise_scale

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.floating]
Reached = dict[str, dict[str, Array]]  # cell -> "updates" -> (R,), +inf where the target was not reached
Key = tuple[str, str, str]  # dataset, way, setting
Ratios = dict[Key, Interval]  # B_crit over the noise scale

# Free constants: the value that is stated, and the range over which the verdict is shown.
FALL, FALLS = 10.0, (5.0, 7.0, 10.0)  # the target is the initial cost over this
MOST_LOST = 0.25  # of the runs, that did not reach the target
AGREES, AGREE = 3.0, (1.5, 2.0, 3.0, 5.0)  # factor between B_crit and the noise scale


@dataclass(frozen=True, eq=False)
class Noise:
    """B_simple of one dataset in runs of one batch size and rate, up to the target; where it was read along them.

    scales: "exact", the time average of S/‖G‖² of the whole training set; "pooled", the time average of S over that of
    ‖G‖²; "batches", the same of what single batches tell.
    """

    dataset: str
    setting: str
    scales: dict[str, Interval]
    n_runs: int
    n_left_out: int
    update: Array
    middle: Array


def judge(evidence: Evidence) -> Iterator[Finding]:
    looked_into = evidence.cells.loc[evidence.cells["diagnostics"] == "full", "cell"]
    tables = {cell: evidence.table(cell, "diagnostics.csv") for cell in looked_into}
    reached = {fall: to_a_part(evidence, fall) for fall in FALLS}
    bends = {fall: critical_sizes(evidence, own) for fall, own in reached.items()}
    noises = {fall: list(noise_scales(evidence, own, tables)) for fall, own in reached.items()}
    yield bend_and_noise(bends, noises)


def to_a_part(evidence: Evidence, fall: float) -> Reached:
    """Updates to the initial cost over `fall`."""
    goals = {setting: FALL * goal / fall for setting, goal in evidence.answer.targets_at.items()}
    return updates_to_target(evidence.data.histories, goals, evidence.cells)


def critical_sizes(evidence: Evidence, reached: Reached) -> dict[str, Interval]:
    """Dataset -> B_crit of the cells without full diagnostics; unknown limits where it is not resolved."""
    cells = evidence.cells[evidence.cells["diagnostics"] != "full"]
    fits = fits_table(targets_table(cells, reached, evidence.rng), reached, evidence.rng)
    dataset = cells.drop_duplicates("setting").set_index("setting")["dataset"]
    return {
        str(dataset[row.setting]): Interval(row.b_crit, row.b_crit_low, row.b_crit_high) if row.resolved else UNKNOWN
        for row in fits.itertuples()
    }


def noise_scales(evidence: Evidence, reached: Reached, tables: "Mapping[str, pd.DataFrame]") -> Iterator[Noise]:
    """Of each dataset, batch size and rate; runs that did not reach the target are left out.

    If more than a quarter are, those that did reach it do not speak for the others: the scales are unknown.
    """
    cells = evidence.cells[evidence.cells["cell"].isin(tables)]
    for (dataset, B, rate), own in cells.groupby(["dataset", "batch_size", "lr_mean"]):
        ends = {cell: float(reached[cell]["updates"][0]) for cell in own["cell"]}
        runs = [tables[cell][tables[cell]["update"] <= end] for cell, end in ends.items() if np.isfinite(end)]
        few = len(runs) < (1 - MOST_LOST) * len(own)
        scales = {
            way: UNKNOWN if few else geometric_mean_ratio(np.log([measure(run) for run in runs]))
            for way, measure in WAYS.items()
        }
        yield Noise(str(dataset), f"B={B:g}, η={rate:g}", scales, len(runs), len(own) - len(runs), *_median_run(runs))


def _measured(average: Callable[[Array, Array, Array], float], *columns: str) -> "Callable[[pd.DataFrame], float]":
    return lambda run: average(*run[["update", *columns]].to_numpy(dtype=float).T)


WAYS = {
    "exact": _measured(average_noise_scale, "variance", "squared_norm"),
    "pooled": _measured(pooled_noise_scale, "variance", "squared_norm"),
    "batches": _measured(pooled_noise_scale, "batch_variance", "batch_squared_norm"),
}


WORDS = {"exact": "average of S/‖G‖²", "pooled": "average S over average ‖G‖²", "batches": "the same of batches"}
PLAIN = {"exact": "the averaged ratio of noise to gradient", "pooled": "the ratio of averages"}  # in an answer
COLUMNS = (
    "data", "batch and rate", "trainings", "B_crit (examples)", *(f"over {words}" for words in WORDS.values()),
    f"each within a factor of {AGREES:g}",
)  # fmt: skip


def _median_run(runs: "list[pd.DataFrame]") -> tuple[Array, Array]:
    """B_simple at the updates at which more than half of the runs were read, their median."""
    if not runs:
        return np.array([]), np.array([])
    import pandas as pd

    table = pd.concat(runs)
    ratio = (table["variance"] / table["squared_norm"]).groupby(table["update"])
    read = ratio.median()[ratio.size() > len(runs) / 2]
    return read.index.to_numpy(dtype=float), read.to_numpy(dtype=float)


def bend_and_noise(bends: Mapping[float, dict[str, Interval]], noises: Mapping[float, list[Noise]]) -> Finding:
    ratios = {fall: bend_over_noise(bends[fall], noises[fall]) for fall in bends}
    stated, own_bends, own_noises = ratios[FALL], bends[FALL], noises[FALL]
    along = {f"the factor, {WORDS[way]}": {factor: agree(_of(stated, way), factor) for factor in AGREE} for way in WAYS}
    along[f"the part of the initial cost that is the target, factor {AGREES:g}"] = {
        1 / fall: agree(own.values(), AGREES) for fall, own in ratios.items()
    }
    first = next((key for key, found in stated.items() if np.isfinite(found.low)), None)
    verdict = together(each for own in along.values() for each in own.values())
    return Finding(
        "L4",
        verdict,
        _said(own_bends, own_noises, stated) if stated else "No dataset has both a fit and a measured noise scale.",
        unit=f"= B_crit / B_simple ({', '.join(first)})" if first else "",
        effect=stated[first] if first else None,
        replicas=min((noise.n_runs for noise in own_noises), default=0),
        panels=[_scales_panel(dataset, bend, own_noises) for dataset, bend in own_bends.items()]
        + [_along_panel(dataset, own_noises) for dataset in own_bends],
        rows=[COLUMNS, *_rows(own_bends, own_noises, stated)],
        along=along,
        plain=_answer(stated) if verdict is Verdict.CONDITIONAL else "",
    )


def _of(ratios: Ratios, way: str) -> list[Interval]:
    return [found for key, found in ratios.items() if key[1] == way]


def agree(ratios: Iterable[Interval], factor: float) -> Verdict:
    return together([inside(found, 1 / factor, factor) for found in ratios] or [Verdict.UNRESOLVED])


def bend_over_noise(bends: Mapping[str, Interval], noises: Iterable[Noise]) -> Ratios:
    return {
        (noise.dataset, way, noise.setting): ratio(bends[noise.dataset], scale)
        for noise in noises
        if noise.dataset in bends
        for way, scale in noise.scales.items()
    }


def ratio(b_crit: Interval, scale: Interval) -> Interval:
    """Both were measured on different runs: their errors in log add up in squares."""
    bend, average = (np.log([value.estimate, value.low, value.high]) for value in (b_crit, scale))
    middle = bend[0] - average[0]
    below = np.hypot(bend[0] - bend[1], average[2] - average[0])
    above = np.hypot(bend[2] - bend[0], average[0] - average[1])
    return Interval(*(float(np.exp(value)) for value in (middle, middle - below, middle + above)))


def _said(bends: Mapping[str, Interval], noises: Iterable[Noise], ratios: Ratios) -> str:
    """The range of each way to measure the noise scale; trainings and data of which it is not known."""
    ways = joined(f"{spread(_of(ratios, way))} ({words})" for way, words in WORDS.items())
    n_lost, open_ones = (
        sum(noise.n_left_out for noise in noises),
        [name for name, own in bends.items() if np.isnan(own.low)],
    )
    lost = f" {n_lost} of the trainings did not reach the target." if n_lost else ""
    return f"B_crit of the updates to a tenth of the initial cost, over B_simple on the way there: {ways}.{lost}" + (
        f" B_crit is not resolved on {joined(open_ones)}." if open_ones else ""
    )


def _answer(ratios: Ratios) -> str:
    """In how many settings, and on which data, the noise scale tells B_crit and misses it."""
    parts = []
    for way, words in PLAIN.items():
        found = {key: inside(own, 1 / AGREES, AGREES) for key, own in ratios.items() if key[1] == way}
        tells, misses = (_counted([key for key in found if found[key] is of], found) for of in DECIDED)
        parts.append(f"{words} tells it in {tells}, misses in {misses}")
    return f"Of {len(found)} settings, within a factor of {AGREES:g}: {'; '.join(parts)}."


def _counted(some: Iterable[Key], every: Iterable[Key]) -> str:
    """`6 (on digits and iris)`, `9 (on all data)`, `none`: how many settings, and on which data."""
    chosen = list(some)
    names, n_data = dict.fromkeys(key[0] for key in chosen), len({key[0] for key in every})
    on = "all data" if len(names) == n_data > 1 else joined(names) if names else ""
    return f"{len(chosen)} (on {on})" if chosen else "none"


def _rows(bends: Mapping[str, Interval], noises: Iterable[Noise], ratios: Ratios) -> Iterator[tuple[str, ...]]:
    for noise in noises:
        if noise.dataset in bends:
            own = [ratios[noise.dataset, way, noise.setting] for way in WAYS]
            left_out = f" ({noise.n_left_out} more did not reach the target)" if noise.n_left_out else ""
            verdicts = ", ".join(inside(found, 1 / AGREES, AGREES) for found in own)
            about = noise.dataset, noise.setting, f"{noise.n_runs}{left_out}", bounds(bends[noise.dataset])
            yield *about, *map(bounds, own), verdicts


def _scales_panel(dataset: str, bend: Interval, noises: Iterable[Noise]) -> Panel:
    mine = [noise for noise in noises if noise.dataset == dataset]
    places, ends = np.arange(len(mine)), np.array([-0.5, len(mine) - 0.5])
    lines = [
        Series(f"B_simple, {WORDS[way]}", places + 0.2 * (i - 1), *limits(noise.scales[way] for noise in mine), "marks")
        for i, way in enumerate(WAYS)
    ]
    lines += [
        Series(label, ends, [value] * 2, kind="reference")
        for label, value in (("B_crit", bend.estimate), ("its limits", bend.low), ("its limits", bend.high))
        if np.isfinite(value)
    ]
    return Panel(dataset, "", "examples", lines, log="y", names=[noise.setting for noise in mine])


def _along_panel(dataset: str, noises: Iterable[Noise]) -> Panel:
    lines = [Series(noise.setting, noise.update, noise.middle) for noise in noises if noise.dataset == dataset]
    return Panel(f"{dataset}: noise along the runs", "updates", "S/‖G‖² (examples)", lines)
