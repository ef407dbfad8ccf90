"""The answer of a sweep in words: Markdown for the parent's description and for the report.

Each sentence states its evidence: replicas, target, interval. An unresolved question names what would resolve it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.analysis import (
    BLOCKS,
    MARGIN,
    TARGET_LABELS,
    Answer,
    Lead,
    Standing,
    SweepData,
    Tuning,
    interruption,
    too_few_seeds,
)
from harness.inference import Exponent, Interval, Status, proportion
from harness.report import mattered, reductions
from harness.report.headlines import best_rates, headlines
from harness.report.markdown import (
    COSTS,
    TIED,
    about_data,
    code,
    further,
    harmless,
    identical,
    interval,
    number,
    p_of,
    table,
)  # fmt: skip
from harness.report.scores import score_sentences

if TYPE_CHECKING:
    import pandas as pd

MOST_NAMED, MOST_RATES = 10, 4  # cells, and sentences on best learning rates
EDGE = "edge of the grid"
OF_A_TIE = f" beside a tie, p is of a difference of more than {MARGIN:.0%}."
BRACKETS = (
    "In brackets: 95 % intervals; of a median of fewer than six replicas, the lowest and the highest; in the table of "
    "all cells, quartiles."
)
TIMES = {"time/train_seconds": "train s", "time/update_us": "µs/update", "time/example_us": "µs/example"}
NOISE = {
    "noise/b_simple": "averages",
    "noise/b_simple_pooled": "is, pooled from single batches (diagnostics=full measures it exactly),",
}


def note(data: SweepData, found: Answer) -> str:
    """The answer first, as the UI folds all but a few lines; then every section and the table of cells."""
    head = [f"**{sentence}**" for sentence in [*headlines(found), *best_rates(found)[:MOST_RATES]]]
    head += score_sentences(data.finished)
    about = [_finished(data, found, len(data.finished)), *_missing(data.cells), *_sections(data.finished, found)]
    columns = [section] if (section := about_data(data.data_notes)) else []
    ends = [code(data.about.get("command", "")), *map(harmless, about), *columns, "### All cells"]
    return "\n\n".join([*map(harmless, head), *ends, harmless(cells_table(data))])


def _finished(data: SweepData, found: Answer, n_done: int) -> str:
    text = f"{n_done} of {data.about.get('cells', len(data.cells))} cells finished, {_replicas(data, found)}."
    text += f" {_seconds(data)}" if n_done else ""
    stopped = n_done and data.cells["n_stopped"].any()
    text += " Costs are compared at what was spent when the first replica stopped at its target." if stopped else ""
    if differing := data.other_arithmetic():
        text += f" Cells were trained with different arithmetic ({'; '.join(differing)}), so bits need not repeat."
    n = found.n_comparisons
    family = f" p-values are Holm's, over the {n} comparisons of this note;{OF_A_TIE}" if n > 1 else ""
    family += f" {few}" if (few := too_few_seeds(n, found.n_replicas, pairs=found.most_pairs)) else ""
    family += _looks(data.looks, found.n_replicas) if n and data.looks else ""
    whole = data.cells[data.cells["batch_size"] == data.cells["n_train"]].drop_duplicates(["dataset", "n_train"])
    full = "".join(f" B={row.n_train:.0f} is the whole training set of {row.dataset}." for row in whole.itertuples())
    return f"{text}{family}{full} {BRACKETS}"


def _replicas(data: SweepData, found: Answer) -> str:
    """10 replicas each; 10 to 40 replicas, where some cells got more."""
    most = found.n_replicas
    fewest = int(data.cells["n_replicas"].min()) if most and data.looks else most
    return f"{fewest} to {most} replicas" if fewest < most else f"{most} replicas each"


def _looks(looks: Sequence[int], n_replicas: int) -> str:
    *first, last = map(str, looks)
    if not first:
        return f" seeds=auto: comparisons were tested at {last} replicas."
    at = f"{', '.join(first)} and {last} replicas"
    if n_replicas > looks[0]:
        text = f"comparisons were tested at {at}, and their cells got more while they were unresolved"
    else:
        text = f"tests were planned at {at}, and no cell got more than {first[0]}"
    return f" seeds=auto: {text}; p is {len(looks)} times the smallest so far, before Holm's correction."


def _seconds(data: SweepData) -> str:
    """Where the seconds of the cells come from, and what disturbed them."""
    if data.blocks is None:
        return "Seconds: one reading of each cell's clock; nothing is concluded from them."
    stopped = f"; {text}" if (text := interruption(data.blocks)) else ""
    return (
        f"Seconds were measured in {data.n_blocks} or more short blocks of each cell, in turns after training{stopped}."
    )


def _missing(cells: "pd.DataFrame") -> list[str]:
    missing = cells[cells["status"] != "FINISHED"]
    named = [f"{row.label} ({row.reason})" for row in missing.head(MOST_NAMED).itertuples()]
    more = [f"and {len(missing) - MOST_NAMED} more"] if len(missing) > MOST_NAMED else []
    return [f"Missing: {'; '.join([*named, *more])}."] if named else []


def _sections(cells: "pd.DataFrame", found: Answer) -> Iterator[str]:
    """cells: the finished ones."""
    sections = {
        "Who wins": _who_wins(cells, found),
        "Learning rate": _learning_rate(found),
        "Sum or mean": reductions.section(cells, found),
        "Updates to target": _to_target(cells, found),
        "Divergence": _divergence(cells, found),
        "What mattered": mattered.section(found),
    }
    for title, lines in sections.items():
        if text := "\n".join(lines).strip("\n"):
            yield f"### {title}\n\n{text}"


def _who_wins(cells: "pd.DataFrame", found: Answer) -> list[str]:
    names = dict(zip(cells["cell"], cells["label"], strict=True))
    rows = [
        (each.of, f"{number(lead.budget)} {lead.clock}", names[lead.first.best], *_against(lead, names))
        for each in found.headlines
        for lead in each.leads
    ]
    header = ("data", "at equal", "lowest training cost", "median", "next", "cost of lowest / next", "p", "")
    return table(header, rows)


def _against(lead: Lead, names: Mapping[str, str]) -> tuple[str, ...]:
    """The lowest median, the next arm, the ratio over the pairs in which both are finite, p, and what that comes to."""
    comparison, row = lead.comparison, (number(lead.first.cost), names[lead.second.best])
    if comparison is None:
        return *row, "", "", str(lead.tuning)
    ratio = interval(comparison.ratio) if comparison.finite else ""
    diverged = f"{', ' if ratio else ''}diverged in {lead.first.n_diverged} / {lead.second.n_diverged} replicas"
    lost = diverged if any(comparison.diverged) else ""
    words = {Standing.LOWER: "lower", Standing.EQUAL: TIED}
    how = ", each at the only learning rate tried" if lead.tuning is Tuning.ONE_RATE else ""
    if identical(lead):
        return *row, f"{ratio}{lost}", "", f"identical{how}"
    return *row, f"{ratio}{lost}", number(p_of(lead)), words.get(lead.standing, "unresolved") + how


def _learning_rate(found: Answer) -> list[str]:
    best = found.best[found.best["n_rates"] > 1]
    rows = []
    for r in best.itertuples():
        rate = interval(Interval(r.learning_rate, r.low_rate if r.low_rate < r.high_rate else np.nan, r.high_rate))
        costs = number(r.lr_mean), number(r.cost)
        rows.append((r.setting, r.reduction, f"{r.batch_size:.0f}", rate, *costs, _edge(r)))
    header = (
        "data",
        "reduction",
        "B",
        "best rate",
        "as lr_mean",
        "training cost at equal epochs within each batch size",
        EDGE,
    )
    chose = "did not choose the rate." if best["disjoint"].all() else "chose the rate, so they flatter."
    lines = [f"The costs are of replicas that {chose}", "", *table(header, rows)] if rows else []
    found_out = [f"{setting}, {red}: {_exponent(fit)}" for (setting, red), fit in found.exponents.items()]
    return [*lines, "", *(f"- {text}" for text in (*found_out, *_extend(best)))]


def _exponent(fit: Exponent) -> str:
    if fit.status is not Status.RESOLVED:
        return f"how the best rate scales with B is unresolved, as {fit.status.value}."
    verdicts = ", ".join(f"{rule} {verdict}" for rule, verdict in fit.verdicts.items())
    return f"best lr_mean ∝ B^p with p = {interval(fit.p)}: {verdicts}."


def _extend(best: "pd.DataFrame") -> Iterator[str]:
    """What to add to the grid where its edge won: no claim is made there."""
    for (setting, reduction), own in best[best["edge"] != ""].groupby(["setting", "reduction"]):
        sizes = ", ".join(f"B={row.batch_size:.0f} ({row.edge})" for row in own.itertuples())
        rates = further(zip(own["asked_rate"], own["edge"], strict=True))
        yield f"{setting}, {reduction}: best at the edge for {sizes}; **extend the grid to learning_rate={rates}**."


def _to_target(cells: "pd.DataFrame", found: Answer) -> list[str]:
    target_on = cells.groupby("setting")["target_on"].first() if len(cells) else {}
    lines = [
        f"{setting}: target {COSTS[target_on[setting]]} {number(cost)} per example, "
        f"{'as given' if setting in found.given_targets else 'a tenth of the initial one'}."
        for setting, cost in found.targets_at.items()
    ]
    lines += [f"Each row: {_at_which_rates(found.targets)}."] if len(found.targets) else []
    rows = []
    for r in found.targets.itertuples():
        values = [number(r.learning_rate), *(_spent(r, clock) for clock in TARGET_LABELS)]
        values = values if np.isfinite(r.updates) else ["", "not reached", "", ""]
        how_many = f"{r.n_reached} of {r.n_replicas}"
        rows.append((r.setting, r.reduction, f"{r.batch_size:.0f}", *values, how_many, _edge(r)))
    header = ("data", "reduction", "B", "rate", "updates", "epochs", "train seconds", "replicas that reached it", EDGE)
    return [*lines, "", *table(header, rows), "", *(f"- {text}" for text in _critical(cells, found))]


def _at_which_rates(targets: "pd.DataFrame") -> str:
    """What the learning rate of a row is, and who reports."""
    if (targets["n_rates"] == 1).all():
        return "at the only learning rate tried for each batch size"
    return f"at the learning rate of each batch size that takes the fewest updates{_halves(targets)}"


def _halves(targets: "pd.DataFrame") -> str:
    """Which replicas chose the rates and which report, where these are others."""
    split = targets[targets["disjoint"]]
    if split.empty:
        return ""
    some = "" if len(split) == (targets["n_rates"] > 1).sum() else ", where there are enough replicas"
    numbers = set(zip(split["n_chose"], split["n_replicas"], strict=True))
    if len(numbers) > 1:
        return f"{some}, chosen on the first half of the replicas, reported on the other"
    ((chose, reported),) = numbers
    return f"{some}, chosen on the first {chose} replicas, reported on the other {reported}"


def _spent(row: Any, clock: str) -> str:
    """The median until the target and its interval."""
    median, low, high = (getattr(row, f"{clock}{end}") for end in ("", "_low", "_high"))
    return "" if np.isnan(median) else interval(Interval(median, low, high))


def _edge(row: Any) -> str:
    """Where the grid has to go on before the rate is a best one."""
    return "" if np.isnan(row.learning_rate) else {"both": "the only rate"}.get(row.edge, row.edge)


def _noise(cells: "pd.DataFrame", found: Answer, fit: Any) -> str:
    """Median B_simple of the cells that the fit went through, and how it compares; exact only with diagnostics=full."""
    at = found.targets[(found.targets["setting"] == fit.setting) & (found.targets["reduction"] == fit.reduction)]
    own = cells[cells["cell"].isin(at["cell"])]
    for name, how in NOISE.items():
        measured = own[name].median() if name in own else np.nan
        if np.isfinite(measured):
            return f"{how} {number(measured)} examples, B_crit is {fit.b_crit / measured:.2g} times that"
    return "was not resolved"


def _critical(cells: "pd.DataFrame", found: Answer) -> Iterator[str]:
    for fit in found.fits.itertuples():
        head = f"{fit.setting}, {fit.reduction}"
        if not fit.resolved:
            yield f"{head}: the batch size at which more examples stop saving updates is {fit.status}."
            continue
        bend = interval(Interval(fit.b_crit, fit.b_crit_low, fit.b_crit_high))
        least = interval(Interval(fit.s_min, fit.s_min_low, fit.s_min_high))
        text = f"{head}: updates to target = S_min (1 + B_crit/B), B_crit = {bend} examples, S_min = {least} updates"
        yield f"{text}; the gradient noise scale along these runs {_noise(cells, found, fit)}."


def _divergence(cells: "pd.DataFrame", found: Answer) -> list[str]:
    diverged = cells[cells["n_diverged"] > 0] if len(cells) else cells
    if diverged.empty:
        return ["No replica of any cell diverged."] if len(cells) else []
    lines = []
    frontier = found.frontier[found.frontier["unstable"].notna()]
    for (setting, reduction), own in frontier.groupby(["setting", "reduction"]):
        places = ", ".join(f"B={row.batch_size:.0f}: {_bracket(row)}" for row in own.itertuples())
        lines.append(f"- {setting}, {reduction}: stable up to / diverged from: {places}.")
    some = diverged[diverged["n_diverged"] < diverged["n_replicas"]]
    for row in some.head(MOST_NAMED).itertuples():
        share = proportion(int(row.n_diverged), int(row.n_replicas))
        lines.append(f"- {row.label}: {row.n_diverged:g} of {row.n_replicas:g} diverged, {interval(share)}.")
    return lines


def _bracket(row: Any) -> str:
    return f"{number(row.stable) if np.isfinite(row.stable) else 'none'} / {number(row.unstable)}"


def cells_table(data: SweepData) -> str:
    """One line per cell: outcome, final costs with the quartiles, timings and whose clock they are of."""
    rows = []
    clock = "in blocks" if data.timing == BLOCKS else "of each training"
    for row in data.cells.to_dict("records"):
        spent = [_quartiles(row, key, f"{key}_q25", f"{key}_q75") for key in TIMES]
        lost = f"{row.get('n_diverged', 0):g} of {row.get('n_replicas', 0):g} diverged"
        cost = lost if np.isinf(row.get("score", np.nan)) else _quartiles(row, "score", "q25", "q75")
        rows.append((row["label"], row["outcome"] or row["status"].lower(), cost, *spent))
    times = [f"{name}, {clock}" for name in TIMES.values()]
    return "\n".join(table(("cell", "outcome", "final training cost [quartiles]", *times), rows)) + "\n"


def _quartiles(row: "Mapping[str, Any]", *names: str) -> str:
    """A median with its quartiles, if it has them; nothing without a median."""
    median, low, high = (row.get(name, np.nan) for name in names)
    return "" if np.isnan(median) else interval(Interval(median, low, high))
