"""Judges vectorisation: what a matrix of examples saves over a loop through them, and from which batch size on."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.analysis import BATCH_SIZE, Evidence, Finding, Panel, Series
from harness.inference import Interval, geometric_mean_ratio, inside, percentile_interval, together
from harness.report import interval, number

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.floating]
FASTER = 1.05  # a ratio of times above which the loop is slower
CLOSE = 1.1  # times the best time per example: nearly all of the gain
FEWEST_BLOCKS = 4  # below, resampled blocks are too few to say how sure the smallest batch size is
RESAMPLES = 1999
ENGINES = {"per_example": "a loop through the batch", "vectorized": "the batch in one matrix"}


def judge(evidence: Evidence) -> Iterator[Finding]:
    times = {
        str(dataset): {str(engine): evidence.blocks(cells) for engine, cells in own.groupby("engine")}
        for dataset, own in evidence.cells.groupby("dataset", sort=False)
    }
    yield loop_over_matrix(evidence, times)
    yield whole_set_in_one(evidence, times)


def loop_over_matrix(evidence: Evidence, times: "dict[str, dict[str, pd.DataFrame]]") -> Finding:
    """C9: the loop over the matrix, block by block."""
    ratios = {
        (dataset, B): geometric_mean_ratio(np.log(own["per_example"][B] / own["vectorized"][B]))
        for dataset, own in times.items()
        for B in own["vectorized"]
    }
    batches = {key: ratio for key, ratio in ratios.items() if key[1] > 1}
    largest = max(batches, key=lambda key: batches[key].estimate)
    verdict = together(inside(ratio, FASTER, np.inf) for ratio in batches.values())
    said = "; ".join(_ratios_of(dataset, ratios) for dataset in times)
    return Finding(
        "C9",
        verdict,
        f"An example in a loop takes, as a multiple of its time in a matrix: {said}.{_caution(times)}",
        unit=f"× the time per example in one matrix ({largest[0]}, B={largest[1]:g})",
        effect=batches[largest],
        replicas=1,
        panels=_gains(times, ratios),
    )


def _ratios_of(dataset: str, ratios: dict[tuple[str, float], Interval]) -> str:
    parts = [f"{interval(ratio)} at B={B:g}" for (name, B), ratio in ratios.items() if name == dataset]
    return f"{dataset} {', '.join(parts)}"


def _caution(times: "dict[str, dict[str, pd.DataFrame]]") -> str:
    blocks = min(len(table) for own in times.values() for table in own.values())
    return "" if blocks >= FEWEST_BLOCKS else f" Too few blocks ({blocks}) to tell how sure that is."


def _gains(times: "dict[str, dict[str, pd.DataFrame]]", ratios: dict[tuple[str, float], Interval]) -> list[Panel]:
    panels = []
    for dataset, own in times.items():
        lines = []
        for engine, words in ENGINES.items():
            low, middle, high = (own[engine].quantile(q) for q in (0.25, 0.5, 0.75))
            lines.append(Series(words, middle.index, middle, low, high))
        gains = [ratio.estimate for (name, _), ratio in ratios.items() if name == dataset]
        panels.append(Panel(f"{dataset}: up to {number(max(gains))} times", BATCH_SIZE, "µs per example", lines))
    return panels


def whole_set_in_one(evidence: Evidence, times: "dict[str, dict[str, pd.DataFrame]]") -> Finding:
    """V1: where the time per example stops falling."""
    enough = {dataset: saturation(own["vectorized"], evidence.rng) for dataset, own in times.items()}
    sizes = {dataset: float(max(own["vectorized"])) for dataset, own in times.items()}
    first = next(iter(enough))
    said = "; ".join(
        f"{dataset} from B={found.estimate:g}{_limits(found)} of N={sizes[dataset]:g} on, where "
        f"{_smallest_takes(times[dataset]['vectorized'])} times the best"
        for dataset, found in enough.items()
    )
    return Finding(
        "V1",
        together(inside(found, sizes[dataset], np.inf) for dataset, found in enough.items()),
        f"The time per example in one matrix is within 10 % of the best: {said}. Not all of that is the matrix: the "
        f"whole set is taken as it lies, smaller batches are shuffled and gathered.{_caution(times)}",
        unit=f"examples in a batch that is nearly as fast per example as any ({first})",
        effect=enough[first],
        replicas=1,
        panels=[_saturation_panel(times)],
    )


def saturation(table: "pd.DataFrame", rng: np.random.Generator) -> Interval:
    """The smallest B within 10 % of the best time per example; table (blocks, batch sizes), sizes ascending."""
    sizes, log_times = np.array(table.columns, dtype=float), np.log(table.to_numpy(dtype=float))
    estimate = _smallest_close(sizes, log_times.mean(axis=0)[None])[0]
    if len(table) < FEWEST_BLOCKS:
        return Interval(float(estimate), np.nan, np.nan)
    draws = rng.integers(len(table), size=(RESAMPLES, len(table)))
    return percentile_interval(estimate, _smallest_close(sizes, log_times[draws].mean(axis=1)))


def _smallest_close(sizes: Array, log_times: Array) -> Array:
    """For each row of log_times (K, C), the first of the sizes (C,) within CLOSE of the row's lowest."""
    close = log_times <= log_times.min(axis=1, keepdims=True) + np.log(CLOSE)
    return sizes[close.argmax(axis=1)]


def _limits(found: Interval) -> str:
    return "" if np.isnan(found.low) else f" [{found.low:g}, {found.high:g}]"


def _smallest_takes(table: "pd.DataFrame") -> str:
    middle = table.median()
    return f"B={middle.index[0]:g} takes {number(float(middle.iloc[0] / middle.min()))}"


def _saturation_panel(times: "dict[str, dict[str, pd.DataFrame]]") -> Panel:
    lines = []
    for dataset, own in times.items():
        table = own["vectorized"]
        best = table.median().min()
        low, middle, high = (table.quantile(q) / best for q in (0.25, 0.5, 0.75))
        lines.append(Series(dataset, middle.index, middle, low, high))
    sizes = [B for own in times.values() for B in own["vectorized"]]
    limit = Series("10 % above the best", [min(sizes), max(sizes)], [CLOSE, CLOSE], kind="reference")
    return Panel("How near to the best each batch size is", BATCH_SIZE, "time per example ÷ the best", [*lines, limit])
