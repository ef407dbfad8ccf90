"""Judges vectorisation: what a matrix of examples saves over a loop through them, and from which batch size on."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.analysis import BATCH_SIZE, Evidence, Finding, Panel, Series
from harness.inference import Interval, geometric_mean_ratio, inside, percentile_interval, together
from harness.report import interval, number, verdicts_along

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.floating]
FASTER = (1.05, 1.5, 2)  # ratios of times above which the loop is slower: nobody says which
CLOSE = (1.05, 1.1, 1.25, 1.5, 2)  # times the best time per example, which may be nearly as fast: likewise
TOLD = 1.1  # of these, the one whose batch sizes are told
USUAL = 64  # the batch size whose time is told beside them
FEWEST_BLOCKS = 4  # below, resampled blocks are too few to say how sure the smallest batch size is
RESAMPLES = 1999
ENGINES = {"per_example": "a loop through the batch", "vectorized": "the batch in one matrix"}
LIES = "none"  # rows as they lie, whatever the batch size; else every batch is drawn and gathered, the whole set too
ROWS = {LIES: "rows as they lie", "replacement": "rows drawn and gathered"}
Times = dict[tuple[str, str, str], "pd.DataFrame"]  # dataset, engine, order -> µs per example (blocks, batch sizes)
Tables = dict[tuple[str, str], "pd.DataFrame"]  # dataset, order -> the same, in one matrix


def judge(evidence: Evidence) -> Iterator[Finding]:
    arms = evidence.cells.groupby(["dataset", "engine", "order"], sort=False)
    times = {(str(d), str(engine), str(order)): evidence.blocks(cells) for (d, engine, order), cells in arms}
    yield loop_over_matrix(times)
    yield whole_set_in_one(evidence, times)


def loop_over_matrix(times: Times) -> Finding:
    """C9: the loop over the matrix, block by block."""
    ratios = {
        (dataset, float(B)): _ratio(loop[B], times[dataset, "vectorized", LIES][B])
        for (dataset, engine, _), loop in times.items()
        if engine == "per_example"
        for B in loop
    }
    batches = {key: ratio for key, ratio in ratios.items() if key[1] > 1}
    largest = max(batches, key=lambda key: batches[key].estimate)
    verdicts = {factor: together(inside(ratio, factor, np.inf) for ratio in batches.values()) for factor in FASTER}
    said = "; ".join(_ratios_of(dataset, ratios) for dataset in dict.fromkeys(dataset for dataset, _ in ratios))
    return Finding(
        "C9",
        together(verdicts.values()),
        f"An example in a loop takes, as a multiple of its time in a matrix: {said}. The claim, by the ratio that "
        f"counts as faster: {verdicts_along(verdicts)}.{_caution(times)}",
        unit=f"× the time per example in one matrix ({largest[0]}, B={largest[1]:g})",
        effect=batches[largest],
        replicas=1,
        panels=_gains(times, ratios),
    )


def _ratio(loop: "pd.Series", matrix: "pd.Series") -> Interval:
    """Of the blocks that both have."""
    return geometric_mean_ratio(np.log(loop / matrix).dropna())


def _ratios_of(dataset: str, ratios: dict[tuple[str, float], Interval]) -> str:
    parts = [f"{interval(ratio)} at B={B:g}" for (name, B), ratio in ratios.items() if name == dataset]
    return f"{dataset} {', '.join(parts)}"


def _caution(times: Times) -> str:
    blocks = min(map(len, times.values()))
    return "" if blocks >= FEWEST_BLOCKS else f" Too few blocks ({blocks}) to tell how sure that is."


def _gains(times: Times, ratios: dict[tuple[str, float], Interval]) -> list[Panel]:
    panels = []
    for dataset in dict.fromkeys(dataset for dataset, _ in ratios):
        lines = []
        for engine, words in ENGINES.items():
            low, middle, high = (times[dataset, engine, LIES].quantile(q) for q in (0.25, 0.5, 0.75))
            lines.append(Series(words, middle.index, middle, low, high))
        gains = [ratio.estimate for (name, _), ratio in ratios.items() if name == dataset]
        panels.append(Panel(f"{dataset}: up to {number(max(gains))} times", BATCH_SIZE, "µs per example", lines))
    return panels


def whole_set_in_one(evidence: Evidence, times: Times) -> Finding:
    """V1: where the time per example stops falling, by what is nearly as fast as the best."""
    tables = {(dataset, order): own for (dataset, engine, order), own in times.items() if engine == "vectorized"}
    enough = {close: {key: saturation(own, close, evidence.rng) for key, own in tables.items()} for close in CLOSE}
    verdicts = {
        close: together(inside(place, max(tables[key]), np.inf) for key, place in found.items())
        for close, found in enough.items()
    }
    said = "; ".join(_saturates(order, tables, enough[TOLD]) for order in ROWS)
    first = next(iter(tables))
    return Finding(
        "V1",
        together(verdicts.values()),
        f"The time per example is within {100 * (TOLD - 1):.0f} % of the best, {said}. The claim, by how many times "
        f"the best time is nearly as fast: {verdicts_along(verdicts)}.{_caution(times)}",
        unit=f"examples in a batch that is nearly as fast per example as any ({first[0]}, {ROWS[first[1]]})",
        effect=enough[TOLD][first],
        replicas=1,
        panels=[_saturation_panel(order, tables) for order in ROWS],
    )


def _saturates(
    order: str, tables: "dict[tuple[str, str], pd.DataFrame]", enough: dict[tuple[str, str], Interval]
) -> str:
    """rows as they lie: on wine from B=64 [64, 106] of 106 on (B=64 takes 1.05 times the best), ..."""
    parts = []
    for (dataset, own), table in tables.items():
        if own == order:
            middle, found = table.median(), enough[dataset, own]
            usual = (
                f" (B={USUAL} takes {number(middle[USUAL] / middle.min())} times the best)" if USUAL in table else ""
            )
            parts.append(f"on {dataset} from B={found.estimate:g}{_limits(found)} of {max(table):g} on{usual}")
    return f"{ROWS[order]}: {', '.join(parts) or 'not measured'}"


def saturation(table: "pd.DataFrame", close: float, rng: np.random.Generator) -> Interval:
    """The smallest B within `close` times the best time per example; table (blocks, batch sizes), sizes ascending."""
    sizes, log_times = np.array(table.columns, dtype=float), np.log(table.to_numpy(dtype=float))
    estimate = _smallest_close(sizes, log_times.mean(axis=0)[None], close)[0]
    if len(table) < FEWEST_BLOCKS:
        return Interval(float(estimate), np.nan, np.nan)
    draws = rng.integers(len(table), size=(RESAMPLES, len(table)))
    return percentile_interval(estimate, _smallest_close(sizes, log_times[draws].mean(axis=1), close))


def _smallest_close(sizes: Array, log_times: Array, close: float) -> Array:
    """For each row of log_times (K, C), the first of the sizes (C,) within `close` times the row's lowest."""
    near = log_times <= log_times.min(axis=1, keepdims=True) + np.log(close)
    return sizes[near.argmax(axis=1)]


def _limits(found: Interval) -> str:
    return "" if np.isnan(found.low) else f" [{found.low:g}, {found.high:g}]"


def _saturation_panel(order: str, tables: Tables) -> Panel:
    lines, sizes = [], set()
    for (dataset, own), table in tables.items():
        if own == order:
            best = table.median().min()
            low, middle, high = (table.quantile(q) / best for q in (0.25, 0.5, 0.75))
            lines.append(Series(f"{dataset}, N={max(table):g}", middle.index, middle, low, high))
            sizes |= set(table)
    limit = Series("10 % above the best", [min(sizes), max(sizes)], [TOLD, TOLD], kind="reference") if sizes else None
    title = ROWS[order].capitalize()
    return Panel(title, BATCH_SIZE, "time per example ÷ the best", [*lines, limit] if limit else lines)
