"""The answer of a sweep in words: Markdown for the parent's description and for the report.

Each sentence states its evidence: replicas, target, interval. An unresolved question names what would resolve it.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.analysis import BLOCKS, CLOCK_COLUMNS, MARGIN, Answer, Pair, SweepData, Winner, interruption
from harness.inference import Exponent, Interval, Status, proportion
from harness.report.markdown import interval, number, table, verdict

if TYPE_CHECKING:
    import pandas as pd

MOST_NAMED = 10  # cells
ROUNDING = 1e-9  # relative; a larger difference between sum and mean has a cause
ADAPTIVE = ("adam", "rmsprop")  # their step does not grow with the gradient
TIMES = {"time/train_seconds": "train s", "time/update_us": "µs/update", "time/example_us": "µs/example"}
NOISE = {
    "noise/b_simple": "averages",
    "noise/b_simple_pooled": "is, pooled from single batches (diagnostics=full measures it exactly),",
}


def note(data: SweepData, found: Answer) -> str:
    """The answer first, as the UI folds all but a few lines; then every section and the table of cells."""
    done = data.cells[data.cells["status"] == "FINISHED"]
    labels = dict(zip(done["cell"], done["label"], strict=True))
    settings = dict.fromkeys(winner.setting for winner in found.winners)
    head = [_headline([w for w in found.winners if w.setting == setting], labels) for setting in settings]
    head += [f"`{data.about.get('command', '')}`", _finished(data, found, len(done)), *_missing(data.cells)]
    return "\n\n".join([*head, *_sections(done, found, labels), "### All cells", cells_table(data.cells)])


def _finished(data: SweepData, found: Answer, n_done: int) -> str:
    text = f"{n_done} of {data.about.get('cells', len(data.cells))} cells finished, {found.n_replicas} replicas each."
    text += f" {_seconds(data)}" if n_done else ""
    if (found.best["n_rates"] > 1).any():
        halves, same = "on disjoint halves of the replicas", "on the same replicas, so best costs flatter"
        text += f" Learning rates are chosen and reported {halves if found.disjoint else same}."
    return f"{text} p-values are Holm's, within each table." if n_done else text


def _seconds(data: SweepData) -> str:
    """Where the seconds of the cells come from, and what disturbed them."""
    if data.timing != BLOCKS:
        return "Seconds: one reading of each cell's clock; nothing is concluded from them."
    if data.blocks is None:
        return "Seconds were measured in blocks."
    stopped = interruption(data.blocks)
    text = f"Seconds were measured in {data.n_blocks} short blocks of each cell or more, in turns after training"
    return f"{text}; {stopped}." if stopped else f"{text}."


def _missing(cells: "pd.DataFrame") -> list[str]:
    missing = cells[cells["status"] != "FINISHED"]
    named = [f"{row.label} ({row.reason})" for row in missing.head(MOST_NAMED).itertuples()]
    more = [f"and {len(missing) - MOST_NAMED} more"] if len(missing) > MOST_NAMED else []
    return [f"Missing: {'; '.join([*named, *more])}."] if named else []


def _sections(cells: "pd.DataFrame", found: Answer, labels: Mapping[str, str]) -> Iterator[str]:
    """cells: the finished ones."""
    sections = {
        "Who wins": _who_wins(found, labels),
        "Learning rate": _learning_rate(found),
        "Sum or mean": _sum_or_mean(cells, found),
        "Updates to target": _to_target(cells, found),
        "Divergence": _divergence(cells, found),
    }
    for title, lines in sections.items():
        if text := "\n".join(lines):
            yield f"### {title}\n\n{text}"


def _who_wins(found: Answer, labels: Mapping[str, str]) -> list[str]:
    rows = [
        (w.setting, f"{number(w.budget)} {w.clock}", labels[w.cell], number(w.cost), _against(w, labels))
        for w in found.winners
    ]
    return table(
        ("data", "at equal", "lowest training cost", "median", "against the best of the next batch size"), rows
    )


def _headline(winners: list[Winner], labels: Mapping[str, str]) -> str:
    """Which batch size has the lowest cost on every clock, or on which one each."""
    sizes = {winner.batch_size for winner in winners}
    if len(sizes) == 1:
        clocks = " and ".join(winner.clock for winner in winners) if len(winners) < len(CLOCK_COLUMNS) else ""
        where = f"at equal {clocks}" if clocks else "on every clock"
        return f"**{winners[0].setting}: B={sizes.pop():.0f} has the lowest training cost {where}.**"
    wins = "; ".join(f"B={winner.batch_size:.0f} at equal {winner.clock}{_doubt(winner, labels)}" for winner in winners)
    return f"**{winners[0].setting}: the winner depends on the clock.** Lowest training cost: {wins}."


def _doubt(winner: Winner, labels: Mapping[str, str]) -> str:
    doubts = {"unresolved": "unresolved against", "equivalent": f"equal within {MARGIN:.0%} to"}
    verdict = winner.comparison.verdict if winner.comparison else ""
    return f" ({doubts[verdict]} {labels[winner.runner_up]})" if verdict in doubts else ""


def _against(winner: Winner, labels: Mapping[str, str]) -> str:
    comparison = winner.comparison
    if comparison is None:
        return "no other batch size"
    other = labels[winner.runner_up]
    lost = f" ({other} diverged in {comparison.diverged[1]} replicas)" if comparison.diverged[1] else ""
    ratio = f"{interval(comparison.ratio)} × " if comparison.finite else "against "
    text = f"{ratio}{other}{lost}, p = {number(comparison.p)}"
    text = f"{text}: {verdict(comparison, 'lower', 'higher')}"
    needed = comparison.seeds_needed if comparison.verdict == "unresolved" else None
    return f"{text}, about {needed} seeds would tell" if needed else text


def _learning_rate(found: Answer) -> list[str]:
    best = found.best[found.best["n_rates"] > 1]
    rows = [
        (r.setting, r.reduction, f"{r.batch_size:.0f}", _rate(r), number(r.lr_mean), number(r.cost), r.edge)
        for r in best.itertuples()
    ]
    header = ("data", "reduction", "B", "best rate", "as lr_mean", "final training cost", "edge of the grid")
    lines = table(header, rows)
    lines += [f"\n- {setting}, {red}: {_exponent(fit)}" for (setting, red), fit in found.exponents.items()]
    return lines + [f"- {text}" for text in _extend(best)]


def _rate(row: Any) -> str:
    low = row.low_rate if row.low_rate < row.high_rate else np.nan
    return interval(Interval(row.learning_rate, low, row.high_rate))


def _exponent(fit: Exponent) -> str:
    if fit.status is not Status.RESOLVED:
        return f"how the best rate scales with B is {fit.status.value.replace('unresolved: ', 'unresolved, as ')}."
    verdicts = ", ".join(f"{rule} {verdict}" for rule, verdict in fit.verdicts.items())
    return f"best lr_mean ∝ B^p with p = {interval(fit.p)}: {verdicts}."


def _extend(best: "pd.DataFrame") -> Iterator[str]:
    """What to add to the grid where its edge won: no claim is made there."""
    for (setting, reduction), own in best[best["edge"] != ""].groupby(["setting", "reduction"]):
        sizes = ", ".join(f"B={row.batch_size:.0f} ({row.edge})" for row in own.itertuples())
        further = own["learning_rate"] * np.where(own["edge"] == "high", 3, 1 / 3)
        rates = ",".join(f"{rate:.1g}" for rate in sorted(set(further)))
        yield f"{setting}, {reduction}: best at the edge for {sizes}; **extend the grid to learning_rate={rates}**."


def _sum_or_mean(cells: "pd.DataFrame", found: Answer) -> list[str]:
    """None where only one reduction ran."""
    if set(cells["reduction"]) != {"sum", "mean"}:
        return []
    lines = [f"- In exact arithmetic: {text}" for text in _in_exact_arithmetic(cells)]
    lines += [f"- {text}" for text in _measured_pairs(found.pairs)]
    rows = [
        (setting, f"{B:.0f}", interval(c.ratio), number(c.p), verdict(c, "sum lower", "mean lower"))
        for (setting, B), c in found.at_best.items()
    ]
    edges = sorted(set(found.best.loc[found.best["edge"] != "", "batch_size"]))
    if edges:
        sizes = ", ".join(f"{B:.0f}" for B in edges)
        lines.append(f"- Best against best is void at B = {sizes} until the grid is extended.")
    return [*lines, "", *table(("data", "B", "final cost of sum / mean, each at its best rate", "p", ""), rows)]


def _in_exact_arithmetic(cells: "pd.DataFrame") -> Iterator[str]:
    """What sum and mean have to do with one another, and what in this sweep breaks it (each case is a test)."""
    for optimizer in sorted(set(cells["optimizer.name"])):
        if optimizer in ADAPTIVE:
            yield f"{optimizer}: the reduction only changes what ε means; sum with ε·B is mean with ε, at one rate."
        else:
            yield f"{optimizer}: sum at η is mean at ηB, wherever every batch has B examples."
    ragged = cells[(cells["last_batch"] == "keep") & (cells["n_train"] % cells["batch_size"] != 0)]
    for (n_train, B), _ in ragged.groupby(["n_train", "batch_size"]):
        short = n_train % B
        yield f"B={B:.0f} leaves a last batch of {short:g}: mean weights its examples {B / short:.3g} times as much."
    if (cells["optimizer.weight_decay"].astype(float) > 0).any():
        yield "weight decay is added after the reduction: sum needs decay·B to be the same."
    if cells["optimizer.clip_norm"].notna().any():
        yield "clipping comes after the reduction: sum needs clip_norm·B to be the same."


def _measured_pairs(pairs: list[Pair]) -> Iterator[str]:
    if not pairs:
        yield "Measured: no two cells of this grid have the same lr_mean under both reductions."
        return
    if equal := [pair for pair in pairs if pair.difference <= ROUNDING]:
        worst = max(pair.difference for pair in equal)
        sizes = ", ".join(f"{B:.0f}" for B in sorted({pair.batch_size for pair in equal}))
        how = "bit for bit" if worst == 0 else f"to {worst:.1g}"
        yield f"Measured: {len(equal)} pairs of cells with one lr_mean (B = {sizes}) end at the same costs {how}."
    for pair in [pair for pair in pairs if pair.difference > ROUNDING]:
        yield f"Measured: B={pair.batch_size:.0f}, lr_mean {number(pair.lr_mean)}: up to {pair.difference:.2%} apart."


def _to_target(cells: "pd.DataFrame", found: Answer) -> list[str]:
    lines = [
        f"{setting}: target {number(cost)} per example, "
        f"{'as given' if setting in found.given_targets else 'a tenth of the initial cost'}."
        for setting, cost in found.targets_at.items()
    ]
    rows = [
        (r.setting, r.reduction, f"{r.batch_size:.0f}", *_reached(r), f"{r.n_reached} of {r.n_replicas}")
        for r in found.targets.itertuples()
    ]
    header = ("data", "reduction", "B", "rate", "updates", "epochs", "train seconds", "replicas that reached it")
    return [*lines, "", *table(header, rows), *[f"\n- {text}" for text in _critical(cells, found)]]


def _reached(row: Any) -> list[str]:
    if not np.isfinite(row.updates):
        return ["", "not reached", "", ""]
    seconds = "" if np.isnan(row.seconds) else number(row.seconds)
    return [number(row.learning_rate), number(row.updates), number(row.epochs), seconds]


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
    for (setting, reduction), own in found.frontier.groupby(["setting", "reduction"]):
        edge = own[own["unstable"].notna()]
        if len(edge):
            places = ", ".join(f"B={row.batch_size:.0f}: {_bracket(row)}" for row in edge.itertuples())
            lines.append(f"- {setting}, {reduction}: stable up to / diverged from: {places}.")
    some = diverged[diverged["n_diverged"] < diverged["n_replicas"]]
    for row in some.head(MOST_NAMED).itertuples():
        share = proportion(int(row.n_diverged), int(row.n_replicas))
        lines.append(f"- {row.label}: {row.n_diverged:g} of {row.n_replicas:g} diverged, {interval(share)}.")
    return lines


def _bracket(row: Any) -> str:
    return f"{number(row.stable) if np.isfinite(row.stable) else 'none'} / {number(row.unstable)}"


def cells_table(cells: "pd.DataFrame") -> str:
    """One line per cell: outcome, final costs with the quartiles, timings."""
    rows = []
    for _, row in cells.iterrows():
        times = [_with_quartiles(row, key) for key in TIMES]
        rows.append((row["label"], row["outcome"] or row["status"].lower(), _quartiles(row), *times))
    return "\n".join(table(("cell", "outcome", "final training cost [quartiles]", *TIMES.values()), rows)) + "\n"


def _with_quartiles(row: "pd.Series", key: str) -> str:
    """A time with its quartiles, if it has them."""
    time, low, high = (row.get(name, np.nan) for name in (key, f"{key}_q25", f"{key}_q75"))
    return "" if np.isnan(time) else interval(Interval(time, low, high))


def _quartiles(row: "pd.Series") -> str:
    score, low, high = (row.get(key, np.nan) for key in ("score", "q25", "q75"))
    if np.isinf(score):
        return f"{row['n_diverged']:g} of {row['n_replicas']:g} diverged"
    return "" if np.isnan(score) else interval(Interval(score, low, high))
