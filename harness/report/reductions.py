"""Sum against mean in words: what is exact between them, what was measured, and which is lower at its best rate."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from harness.analysis import Answer, Pair
from harness.report.markdown import interval, number, table, verdict

if TYPE_CHECKING:
    import pandas as pd

ROUNDING = 1e-9  # relative; a larger difference between sum and mean has a cause
ADAPTIVE = ("adam", "rmsprop")  # their step does not grow with the gradient


def sum_or_mean(cells: "pd.DataFrame", found: Answer) -> list[str]:
    """Lines of the section; none where only one reduction ran. cells: the finished ones."""
    if set(cells["reduction"]) != {"sum", "mean"}:
        return []
    lines = [f"- In exact arithmetic: {text}" for text in _in_exact_arithmetic(cells)]
    lines += [f"- {text}" for text in _measured_pairs(found.pairs)]
    rows = [
        (setting, f"{B:.0f}", interval(c.ratio), number(c.p), verdict(c, "sum lower", "mean lower"))
        for (setting, B), c in found.at_best.items()
    ]
    header = ("data", "B", "final cost of sum / mean, each at its best rate", "p", "")
    edges = sorted(set(found.best.loc[found.best["edge"] != "", "batch_size"]))
    if edges:
        sizes = ", ".join(f"{B:.0f}" for B in edges)
        lines.append(f"- Best against best is void at B = {sizes} until the grid is extended.")
    return [*lines, "", *table(header, rows)]


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
    equal = [pair for pair in pairs if pair.difference <= ROUNDING]
    other = [pair for pair in pairs if pair.difference > ROUNDING]
    if equal:
        worst = max(pair.difference for pair in equal)
        sizes = ", ".join(f"{B:.0f}" for B in sorted({pair.batch_size for pair in equal}))
        how = "bit for bit" if worst == 0 else f"to {worst:.1g}"
        yield f"Measured: {len(equal)} pairs of cells with one lr_mean (B = {sizes}) end at the same costs {how}."
    for pair in other:
        yield f"Measured: B={pair.batch_size:.0f}, lr_mean {number(pair.lr_mean)}: up to {pair.difference:.2%} apart."
