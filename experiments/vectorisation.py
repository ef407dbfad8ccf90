"""Judges vectorisation: what a matrix of examples saves over a loop through them, and from which batch size on."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.analysis import BATCH_SIZE, Evidence, Finding, Panel, Series
from harness.inference import Interval, Verdict, geometric_mean_ratio, inside, percentile_interval, together
from harness.report import answers, interval, number

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
    verdict, data = together(verdicts.values()), dict.fromkeys(dataset for dataset, _ in batches)
    span = answers.span(ratio.estimate for ratio in batches.values())
    return Finding(
        "C9",
        verdict,
        f"An example in a loop takes {span} times as long as in one matrix, in batches of "
        f"{answers.span(B for _, B in batches)} examples on {answers.joined(data)}.{_caution(times)}",
        unit=f"× the time per example in one matrix ({largest[0]}, B={largest[1]:g})",
        effect=batches[largest],
        replicas=1,
        panels=_gains(times, ratios),
        rows=[
            ("data", "examples in a batch", "time per example in a loop (× in one matrix)"),
            *((dataset, f"{B:g}", interval(ratio)) for (dataset, B), ratio in ratios.items()),
        ],
        along={"what counts as faster (ratio)": verdicts},
        plain=_with_one(ratios) if verdict is Verdict.SUPPORTED else "",
    )


def _ratio(loop: "pd.Series", matrix: "pd.Series") -> Interval:
    """Of the blocks that both have."""
    return geometric_mean_ratio(np.log(loop / matrix).dropna())


def _with_one(ratios: Mapping[tuple[str, float], Interval]) -> str:
    """The answer, with what a loop costs at B=1, where the matrix has no other examples to gain from."""
    answer = "Yes: one matrix is faster than a loop over its examples, at every batch size above 1 that was tried"
    single = [ratio for (_, B), ratio in ratios.items() if B == 1]
    if not single:
        return f"{answer}."
    already = "already " if all(ratio.low > 1 for ratio in single) else ""
    times = answers.span(ratio.estimate for ratio in single)
    return f"{answer}; at B=1, one example each, the loop {already}takes {times} times as long."


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
    needed = {
        close: {key: inside(place, max(tables[key]), np.inf) for key, place in found.items()}
        for close, found in enough.items()
    }
    verdicts = {close: together(own.values()) for close, own in needed.items()}
    verdict, first = together(verdicts.values()), next(iter(tables))
    shares = answers.span(100 * place.estimate / max(tables[key]) for key, place in enough[TOLD].items())
    middles = [table.median() for table in tables.values()]
    usual = answers.span(middle[USUAL] / middle.min() for middle in middles if USUAL in middle)
    return Finding(
        "V1",
        verdict,
        f"The smallest batch whose time per example is within {answers.percent(TOLD - 1)} of the best has {shares} % "
        f"of the set's examples, over {len(tables)} settings; B={USUAL} takes {usual} times the best."
        f"{_caution(times)}",
        unit=f"examples in a batch that is nearly as fast per example as any ({first[0]}, {ROWS[first[1]]})",
        effect=enough[TOLD][first],
        replicas=1,
        panels=[_saturation_panel(order, tables) for order in ROWS],
        rows=list(_smallest(tables, enough)),
        along={"what counts as nearly as fast (× the best time)": verdicts},
        plain=_takes_it_all(tables, enough[TOLD], needed[TOLD], verdicts) if verdict is Verdict.CONDITIONAL else "",
    )


def _smallest(tables: Tables, enough: Mapping[float, Mapping[tuple[str, str], Interval]]) -> Iterator[tuple[str, ...]]:
    """The smallest batch that is nearly as fast as the best, of each setting and by each margin."""
    yield "data", "rows", *(f"B within {close:g} × the best" for close in enough), f"B={USUAL} (× the best)"
    for (dataset, order), table in tables.items():
        places = [own[dataset, order] for own in enough.values()]
        middle = table.median()
        usual = number(middle[USUAL] / middle.min()) if USUAL in table else ""
        told = (f"{place.estimate:g}{_limits(place)}" for place in places)
        yield f"{dataset}, N={max(table):g}", ROWS[order], *told, usual


def _takes_it_all(
    tables: Tables,
    enough: Mapping[tuple[str, str], Interval],
    needed: Mapping[tuple[str, str], Verdict],
    verdicts: Mapping[float, Verdict],
) -> str:
    """In which settings it takes the whole set to be within TOLD of the best, and where a part does."""
    names: dict[str, list[tuple[str, str]]] = {}
    for dataset, order in needed:
        alike = len({verdict for (name, _), verdict in needed.items() if name == dataset}) == 1
        names.setdefault(dataset if alike else f"{dataset} ({ROWS[order]})", []).append((dataset, order))
    by = {name: needed[keys[0]] for name, keys in names.items()}
    whole, still = ([name for name, own in by.items() if own is of] for of in (Verdict.SUPPORTED, Verdict.UNRESOLVED))
    parts = [f"on {answers.joined(whole)} no smaller size that was tried is enough"] if whole else []
    parts += [
        f"on {name} {max(enough[key].high for key in keys):g} of {max(tables[keys[0]]):g} examples are enough"
        for name, keys in names.items()
        if by[name] is Verdict.REFUTED
    ]
    parts += [f"on {answers.joined(still)} that is not decided"] if still else []
    ways = ", rows in place or gathered" if all(len(keys) == len(ROWS) for keys in names.values()) else ""
    loose = [close for close, verdict in verdicts.items() if verdict is Verdict.REFUTED]
    also = f" Within {loose[0]:g} times the best a part is enough everywhere." if loose else ""
    return f"Within {answers.percent(TOLD - 1)} of the best time{ways}, {', '.join(parts)}.{also}"


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
