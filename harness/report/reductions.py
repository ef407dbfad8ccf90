"""Sum against mean in words: the sentence at the top of a note, and the section with its evidence."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from harness.analysis import Answer, Arm, Pair, Standing, SumOrMean, Tuning
from harness.inference import Interval
from harness.network import OPTIMIZERS
from harness.report.markdown import TIED, identical, interval, listed, number, p_of, table, would_tell

if TYPE_CHECKING:
    import pandas as pd

LOWER = {Standing.LOWER: "sum", Standing.HIGHER: "mean"}
ROUNDING = 1e-9  # relative; a larger difference between sum and mean has a cause
MOST_PERCENT = 1000  # a larger difference is said as a factor


def sentence(found: SumOrMean, several: bool) -> str:
    parts = [part for part in (_exact(found), _measured(found), _verdict(found)) if part]
    return f"Sum or mean{f', {found.setting}' if several else ''}: {'; '.join(parts)}."


def _exact(found: SumOrMean) -> str:
    """What is so before anything is measured, and what of this setting breaks it (the section says how)."""
    if set(found.best) == {1}:
        return "only B = 1 has both, and one example leaves nothing to reduce, so they are one training"
    cell = next(iter(found.best.values()))[0].cells.iloc[0]
    rule = OPTIMIZERS[cell["optimizer.name"]]
    grows = rule.grows_with_gradient
    decay, clipping = (float(cell[f"optimizer.{key}"] or 0) > 0 for key in ("weight_decay", "clip_norm"))
    breaks = {"ε": not grows and "epsilon" in rule.hyperparameters, "weight decay": decay, "clipping": clipping}
    breaks |= {"a batch size that grows": grows and cell.get("batch_size_schedule") == "step"}
    but = " and ".join(name for name, so in breaks.items() if so)
    same = f"sum at η is mean at η{'B' if grows else ''}"
    return f"{same} but for {but}, where every batch is full" if but else f"{same} (exact where every batch is full)"


def _measured(found: SumOrMean) -> str:
    """At one lr_mean, above the batch size at which there is nothing to reduce."""
    if set(found.best) == {1}:
        return ""
    pairs = [pair for pair in found.pairs if pair.batch_size > 1]
    if not pairs:
        return "at no batch size above 1 were they tried at one lr_mean"
    lost = max(pairs, key=lambda pair: sum(pair.alone))
    alone = f"at {_where(lost)} {_alone(lost)}"
    pairs = [pair for pair in pairs if sum(pair.alone) < pair.n_replicas]
    if not pairs:
        return f"at one lr_mean no costs can be compared: {alone}"
    alone = f", but {alone}" if any(lost.alone) else ""
    n, worst = (
        f"{len(pairs)} pair{'s' if len(pairs) > 1 else ''} of cells",
        max(pairs, key=lambda pair: pair.difference),
    )
    if worst.difference <= ROUNDING:
        return f"at one lr_mean they end at the same costs, {_closeness(worst.difference)} ({n}){alone}"
    largest = f"{n}, most at {_where(worst)}" if len(pairs) > 1 else f"{n}, {_where(worst)}"
    return f"at one lr_mean their final costs differ by up to {_apart(worst.difference)} ({largest}){alone}"


def _where(pair: Pair) -> str:
    return f"B = {pair.batch_size:.0f}, lr_mean {number(pair.lr_mean)}"


def _alone(pair: Pair) -> str:
    """In which of the two replicas diverged that did not diverge in the other."""
    lost = [f"{name} alone diverged in {k}" for name, k in zip(("sum", "mean"), pair.alone, strict=True) if k]
    return " and ".join(f"{each} of {pair.n_replicas} replicas" for each in lost)


def _closeness(difference: float) -> str:
    return "bit for bit" if difference == 0 else f"to {difference:.1g}"


def _apart(share: float) -> str:
    if np.isinf(share):
        return "any factor, as one is 0"
    return f"{number(100 * share)} %" if share <= MOST_PERCENT / 100 else f"{number(1 + share)} times"


def _verdict(found: SumOrMean) -> str:
    """Each at its best rate, or why nothing is said of that."""
    sizes = _sizes(found.sizes)
    not_said = "no verdict on each at its best learning rate"
    if found.tuning is Tuning.ON_EDGE:
        return f"{not_said}: at {sizes} one is on the edge of its grid, extend it"
    if found.tuning is Tuning.BY_GAP:
        return f"{not_said}: {found.tuning}, at {sizes}"
    if found.tuning is Tuning.UNEQUAL:
        return f"{not_said}: at {sizes} their numbers of learning rates differ"
    if found.tuning is Tuning.ALIKE:
        return f"each at its best learning rate ({sizes}) {_stand(found)}"
    if found.tuning is None:
        return ""
    rates = ""
    if len(found.sizes) == 1:
        total, mean = (number(arm.of_best("lr_mean")) for arm in found.best[found.sizes[0]])
        rates = f", lr_mean {total} for sum and {mean} for mean"
    return f"each at the only learning rate tried ({sizes}{rates}) {_stand(found)}{_to_add(found)}"


def _sizes(sizes: Iterable[float]) -> str:
    return f"B = {', '.join(f'{B:.0f}' for B in sizes)}"


def _stand(found: SumOrMean) -> str:
    if found.disagree:
        sum_at, mean_at = (_sizes(own) for own in found.lower_at.values())
        return f"there is no verdict for all: so far sum is lower at {sum_at}, mean at {mean_at} (95 % intervals)"
    over = ", by the geometric mean over these batch sizes" if len(found.sizes) > 1 else ""
    if found.standing in LOWER:
        return f"{LOWER[found.standing]} has the lower training cost at equal epochs{over}"
    if found.standing is Standing.EQUAL:
        return "they are identical" if identical(found) else f"they are {TIED} at equal epochs{over}"
    more = f", {more}" if (more := would_tell(found)) else ""
    return f"it is unresolved which is lower at equal epochs{more}"


def _to_add(found: SumOrMean) -> str:
    """The rates of sum that have the lr_mean of the mean, where they were not tried."""
    rates = []
    for total, mean in (found.best[B] for B in found.sizes):
        factor = mean.of_best("lr_mean") / total.of_best("lr_mean")
        rates += [] if np.isclose(factor, 1, rtol=1e-9, atol=0) else [total.of_best("asked_rate") * factor]
    return f"; for one lr_mean add learning_rate={listed(rates, digits=10)} to sum, and tune both" if rates else ""


# The section


def section(cells: "pd.DataFrame", found: Answer) -> list[str]:
    """None where only one reduction ran."""
    if set(cells["reduction"]) != {"sum", "mean"}:
        return []
    lines = [f"- In exact arithmetic: {text}" for text in _in_exact_arithmetic(cells)]
    lines += [f"- {text}" for text in _measured_pairs(found.pairs)]
    rows = [
        (each.setting, f"{B:.0f}", _ratio(ratio, *each.best[B]), each.tunings[B], _judged(each, B))
        for each in found.sum_or_mean
        for B, ratio in each.ratios.items()
    ]
    header = ("data", "B", "cost of sum / mean at equal epochs, at the rate of the lowest cost", "learning rates", "")
    return [*lines, "", *table(header, rows)]


def _ratio(ratio: Interval, total: Arm, mean: Arm) -> str:
    """Over the replicas in which neither diverged, and how many did."""
    lost = [f"{name} diverged in {n}" for name, n in (("sum", total.n_diverged), ("mean", mean.n_diverged)) if n]
    measured = [interval(ratio)] if np.isfinite(ratio.estimate) else []
    return ", ".join([*measured, *(f"{each} of {len(mean.costs)}" for each in lost)])


def _judged(found: SumOrMean, batch_size: float) -> str:
    """The verdict of the first sentences, beside the batch sizes that it is about."""
    if batch_size not in found.sizes or found.comparison is None:
        return ""
    if found.disagree:
        return "no verdict, as these batch sizes disagree"
    together = " (these batch sizes together)" if len(found.sizes) > 1 else ""
    if identical(found):
        return f"identical{together}"
    same = TIED if found.standing is Standing.EQUAL else "unresolved"
    said = f"{LOWER[found.standing]} lower" if found.standing in LOWER else same
    return f"{said}{together}, p = {number(p_of(found))}"


def _in_exact_arithmetic(cells: "pd.DataFrame") -> Iterator[str]:
    """What sum and mean have to do with one another, and what in this sweep breaks it (each case is a test)."""
    for optimizer in sorted(set(cells["optimizer.name"])):
        rule = OPTIMIZERS[optimizer]
        if not rule.grows_with_gradient and "epsilon" not in rule.hyperparameters:
            yield f"{optimizer}: sum and mean make the same steps at one rate, wherever every batch has B examples."
        elif not rule.grows_with_gradient:
            yield f"{optimizer}: the reduction only changes what ε means; sum with ε·B is mean with ε, at one rate."
        else:
            yield f"{optimizer}: sum at η is mean at ηB, wherever every batch has B examples."
    ragged = cells[(cells["last_batch"] == "keep") & (cells["n_train"] % cells["batch_size"] != 0)]
    for (n_train, B), _ in ragged.groupby(["n_train", "batch_size"]):
        short = n_train % B
        batch = f"B={B:.0f} leaves a last batch of {short:g}"
        yield f"With N={n_train:g}, {batch}: mean weights its examples {B / short:.3g} times as much."
    if "batch_size_schedule" in cells and (cells["batch_size_schedule"] == "step").any():
        yield "where B grows, lr_mean is that of the first B; at one learning_rate_rule, sum's then grows with B."
    if (cells["optimizer.weight_decay"].astype(float) > 0).any():
        yield "weight decay is added after the reduction: sum needs decay·B to be the same."
    if cells["optimizer.clip_norm"].notna().any():
        yield "clipping comes after the reduction: sum needs clip_norm·B to be the same."


def _measured_pairs(pairs: list[Pair]) -> Iterator[str]:
    if not pairs:
        yield "Measured: no two cells of this grid have the same lr_mean under both reductions."
        return
    equal = [pair for pair in pairs if pair.difference <= ROUNDING and not any(pair.alone)]
    if equal:
        worst = max(pair.difference for pair in equal)
        pairs_of = f"{len(equal)} pairs of cells with one lr_mean ({_sizes(sorted({p.batch_size for p in equal}))})"
        yield f"Measured: {pairs_of} end at the same costs {_closeness(worst)}."
    for pair in [pair for pair in pairs if pair not in equal]:
        apart = f"up to {_apart(pair.difference)} apart" if pair.difference > ROUNDING else ""
        said = ", ".join(each for each in (apart, _alone(pair)) if each)
        yield f"Measured: B={pair.batch_size:.0f}, lr_mean {number(pair.lr_mean)}: {said}."
