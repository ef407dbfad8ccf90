"""Judges order: what shuffling is worth, and what correlated examples do to a batch without it."""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.analysis import BATCH_SIZE, Evidence, Finding, Panel, Series
from harness.inference import (
    Comparison,
    Interval,
    Verdict,
    all_hold,
    exactly,
    inside,
    lower,
    mean_interval,
    median_interval,
    paired_ratio,
    reported,
    together,
)
from harness.report import answers, interval, number

Array = NDArray[np.floating]

SMALL = 8  # the batch size at which orders are compared
ROUNDING = 1e-6  # relative difference of costs at B=N that a different order of summation may grow to
LAWS = (1.2, 1.25, 1.5)  # factors within which the laws may be asked to hold
CORRELATION = 0.5  # of two examples of a block, as order.yaml has it
KEPT = 0.8  # share of a block's examples that are in the training part
UNSHUFFLED = {"sorted": "sorted by label", "source": "in the order of the file"}
ORDERS = ("once", "none", "replacement", *UNSHUFFLED)  # against reshuffle
WORDS = UNSHUFFLED | {
    "once": "shuffled once",
    "none": "in the random order of the split",
    "replacement": "with replacement",
}


def judge(evidence: Evidence) -> Iterator[Finding]:
    blocks = evidence.cells["dataset"].str.startswith("blocks")
    yield shuffled(evidence, evidence.cells[~blocks])
    yield independent(evidence, evidence.cells[blocks])


# C18


def shuffled(evidence: Evidence, cells: pd.DataFrame) -> Finding:
    """C18: unshuffled against reshuffled where batches are small, and where the batch is the whole set."""
    best = evidence.answer.best.merge(cells[["cell", "dataset", "order"]], on="cell")
    chosen = best[best["batch_size"] == SMALL].set_index(["dataset", "order"])
    datasets = list(dict.fromkeys(cells["dataset"]))
    keys = [(name, order) for order in UNSHUFFLED for name in datasets if (name, order) in chosen.index]
    cost = {key: reported(evidence.final_costs[cell]) for key, cell in chosen["cell"].items()}
    found = evidence.compare({(name, order): (cost[name, "reshuffle"], cost[name, order]) for name, order in keys})
    ratio = {(name, order): paired_ratio(cost[name, order], cost[name, "reshuffle"]) for name, order in keys}
    edges = {(name, order): _edges(chosen.loc[name].loc[[order, "reshuffle"]]) for name, order in keys}
    parts = {key: Verdict.UNRESOLVED if edges[key] else lower(found[key]) for key in keys}
    whole = float(np.max(list(_whole(evidence, cells).values())))
    n_replicas = {key: len(evidence.final_costs[chosen["cell"][key]]) for key in keys}
    told = {key: f"{interval(ratio[key])}{edges[key] or _needed(found[key], n_replicas[key])}" for key in keys}
    verdict = all_hold([together(parts.values()), exactly(whole, ROUNDING)])
    said = (
        f"{name} {answers.spread(ratio[key] for key in keys if key[1] == order)}"
        for order, name in UNSHUFFLED.items()
        if any(key[1] == order for key in keys)
    )
    return Finding(
        "C18",
        verdict,
        f"Final cost at B={SMALL} over that of reshuffled examples, each at its best rate, by data: {'; '.join(said)}. "
        f"At B=N they differ by at most {whole:.0e}, relatively."
        + answers.why_undecided((found[key], edges[key], n_replicas[key]) for key in keys),
        unit=f"× the final cost of reshuffled examples at B={SMALL} ({', '.join(keys[0])})",
        effect=ratio[keys[0]] if np.isfinite(ratio[keys[0]].high) else None,
        replicas=min(found[key].pairs for key in keys),
        panels=[_rates(cells, datasets[0]), _by_order(evidence, cells)],
        rows=[
            ("data", "order", "× reshuffled, best rates", "× reshuffled, one rate", "verdict"),
            *_by_data(told, _ratios(evidence, cells), parts),
        ],
        plain="" if verdict in answers.DECIDED else f"At B = {SMALL}, examples {_needing(parts)}.",
    )


def _needing(parts: Mapping[tuple[str, str], Verdict]) -> str:
    """On which data the examples of each order have to be shuffled."""
    orders = {order: name for order, name in UNSHUFFLED.items() if any(of == order for _, of in parts)}
    return answers.differing({(order, name): verdict for (name, order), verdict in parts.items()}, orders)


def _by_data(
    told: Mapping[tuple[str, str], str],
    at_one: Mapping[tuple[str, str], Interval],
    parts: Mapping[tuple[str, str], Verdict],
) -> Iterator[tuple[str, ...]]:
    """What each order makes of the cost, at the best rates and at one; empty where it was not trained or judged."""
    for key in dict.fromkeys([*told, *at_one]):
        rate = interval(at_one[key]) if key in at_one else ""
        yield key[0], WORDS.get(key[1], key[1]), told.get(key, ""), rate, parts.get(key, "")


def _edges(chosen: pd.DataFrame) -> str:
    """What to extend, in words, if a best rate of the orders compared is the last of its grid."""
    at = [
        f"{row['edge']} end, {number(row['learning_rate'])}, of the rates for {order}"
        for order, row in chosen.iterrows()
        if row["edge"]
    ]
    return f" (best at the {' and at the '.join(at)}: extend them)" if at else ""


def _needed(comparison: Comparison, n_replicas: int) -> str:
    """What would decide it, counted in replicas of the sweep; one half of them reports."""
    if not comparison.seeds_needed:
        return ""
    return f" (about {comparison.seeds_needed * n_replicas / comparison.pairs:.0f} seeds would tell)"


def _whole(evidence: Evidence, cells: pd.DataFrame) -> dict[str, float]:
    """Dataset -> largest relative difference of final costs at B=N between unshuffled and reshuffled."""
    found = {}
    for name, own in cells[cells["batch_size"] == cells["n_train"]].groupby("dataset"):
        cell = own.set_index("order")["cell"]
        b = evidence.final_costs[cell["reshuffle"]]
        others = [evidence.final_costs[cell[order]] for order in UNSHUFFLED if order in cell]
        found[str(name)] = float(np.max([np.abs(a - b) / b for a in others]))
    return found


def _ratios(evidence: Evidence, cells: pd.DataFrame) -> dict[tuple[str, str], Interval]:
    """(dataset, order) -> median final cost over reshuffled, at B=8 and the rate at which every order was run."""
    found = {}
    for name, own in cells[cells["batch_size"] == SMALL].groupby("dataset", sort=False):
        shared = own.groupby("learning_rate")["order"].nunique()
        at = own[own["learning_rate"] == shared.idxmax()].set_index("order")["cell"]
        for order in (order for order in ORDERS if order in at):
            found[str(name), order] = _median_ratio(*(evidence.final_costs[at[key]] for key in (order, "reshuffle")))
    return found


def _median_ratio(a: Array, b: Array) -> Interval:
    """Of the replicas that both have; a replica that was lost is +inf in a and 0 in b, and counts."""
    n = min(len(a), len(b))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = a[:n] / b[:n]
    return median_interval(ratio[~np.isnan(ratio)])


def _rates(cells: pd.DataFrame, dataset: str) -> Panel:
    own = cells[(cells["dataset"] == dataset) & (cells["batch_size"] == SMALL)].sort_values("learning_rate")
    lines = []
    for order in ("reshuffle", *UNSHUFFLED):
        at = own[own["order"] == order]
        lines.append(Series(order, at["learning_rate"], at["score"], at["q25"], at["q75"]))
    return Panel(f"Final cost, {dataset}, B={SMALL}", "learning rate", "training cost per example", lines)


def _by_order(evidence: Evidence, cells: pd.DataFrame) -> Panel:
    ratios = _ratios(evidence, cells)
    datasets = list(dict.fromkeys(name for name, _ in ratios))
    orders = [order for order in ORDERS if any(key[1] == order for key in ratios)]
    lines = []
    for i, name in enumerate(datasets):
        found = [ratios.get((name, order), Interval(np.nan, np.nan, np.nan)) for order in orders]
        x = np.arange(len(orders)) + 0.15 * (i - (len(datasets) - 1) / 2)
        y, low, high = ([getattr(value, part) for value in found] for part in ("estimate", "low", "high"))
        lines.append(Series(name, x, y, low, high, kind="marks"))
    one = Series("", [-0.5, len(orders) - 0.5], [1, 1], kind="reference")
    return Panel(f"Final cost over that of reshuffled, B={SMALL}", "", "ratio", [*lines, one], log="y", names=orders)


# C19


def inflation(batch_size: int, block: float, correlation: float) -> float:
    """1 + (B − 1) ρ̄ of B consecutive examples that begin anywhere in blocks of so many examples.

    Two that are k apart are of one block with probability 1 − k/block, or never.
    """
    k = np.arange(1, batch_size)
    return float(1 + 2 * correlation * np.sum((1 - k / batch_size) * np.maximum(0, 1 - k / block)))


def apart(updates: NDArray[np.integer], gap: float) -> NDArray[np.bool_]:
    """Which of the updates, ascending, to keep so that neighbours are at least `gap` apart: each as early as it can."""
    kept, last = np.zeros(len(updates), dtype=bool), -np.inf
    for i, update in enumerate(updates):
        if update - last >= gap:
            kept[i], last = True, update
    return kept


def independent(evidence: Evidence, cells: pd.DataFrame) -> Finding:
    """C19: the two laws, and what it costs."""
    observed = cells[cells["diagnostics"] == "full"]
    measured = pd.DataFrame([_distance(evidence, cell) for _, cell in observed.iterrows()])
    held = {order: mean_interval(own["ratio"]) for order, own in measured.groupby("order")}
    laws = {factor: all_hold(inside(held[order], 1 / factor, factor) for order in held) for factor in LAWS}
    costs = _costs(evidence, cells[cells["diagnostics"] != "full"])
    found = evidence.compare(costs)
    ends = {f"{B}": lower(comparison) for B, comparison in found.items()}
    verdict = all_hold([together(laws.values()), together(ends.values())])
    after = "; ".join(f"{interval(found[B].ratio)} at B={B}" for B in found)
    within = answers.where({number(factor): own for factor, own in laws.items()}, "within a factor of ")
    return Finding(
        "C19",
        verdict,
        "In the order of the source the squared distance of a batch's gradient from the true one is "
        f"{interval(held['source'])} × what the correlation of its examples predicts; reshuffled it is "
        f"{interval(held['reshuffle'])} × the law of independent ones. Final cost, reshuffled over in order: {after}.",
        unit="× the variance that the correlation predicts, in order",
        effect=held["source"],
        replicas=int(measured.groupby(["block", "batch_size", "order"]).size().min()),
        panels=[_variances(measured), _ends(evidence, cells[cells["diagnostics"] != "full"])],
        rows=[("batches", "squared distance × that of independent examples", "× the law"), *_by_blocks(measured)],
        along={"the factor within which both laws hold": laws},
        plain=""
        if verdict in answers.DECIDED
        else f"Both laws {within}; a lower cost {answers.where(ends, 'at B = ')}.",
    )


def _distance(evidence: Evidence, cell: pd.Series) -> dict[str, object]:
    """One run: ‖g_B − G‖² over that of independent examples (inflation), and over what the law says (ratio)."""
    table = evidence.table(cell["cell"], "diagnostics.csv")
    B, N, block = int(cell["batch_size"]), int(cell["n_train"]), int(str(cell["dataset"]).removeprefix("blocks"))
    source = cell["order"] == "source"
    if source:
        table = table[apart(table["update"].to_numpy(), 1 + block / B)]
    inflated = float((table["squared_distance"] / (table["variance"] / B)).mean())
    expected = inflation(B, block * KEPT, CORRELATION) if source else (N - B) / (N - 1)
    return {
        "order": str(cell["order"]), "block": block, "batch_size": B, "inflation": inflated,
        "ratio": inflated / expected, "expected": expected,
    }  # fmt: skip


def _costs(evidence: Evidence, cells: pd.DataFrame) -> dict[int, tuple[Array, Array]]:
    """Batch size -> final costs reshuffled, and in the order of the source."""
    found = {}
    for B, own in cells.groupby("batch_size"):
        cell = own.set_index("order")["cell"]
        found[int(B)] = (evidence.final_costs[cell["reshuffle"]], evidence.final_costs[cell["source"]])
    return found


def _by_blocks(measured: pd.DataFrame) -> Iterator[tuple[str, str, str]]:
    """Of each batch size, size of blocks and order: medians over the runs."""
    found = measured.groupby(["batch_size", "block", "order"])[["inflation", "ratio"]].median()
    for (B, block, order), row in found.iterrows():
        name = "in order" if order == "source" else "shuffled"
        yield f"B={B}, blocks of {block}, {name}", number(row["inflation"]), number(row["ratio"])


def _variances(measured: pd.DataFrame) -> Panel:
    lines = []
    for (order, block), own in measured.groupby(["order", "block"], sort=False):
        by_size = own.groupby("batch_size")["inflation"]
        name = f"{'in order' if order == 'source' else 'shuffled'}, blocks of {block}"
        lines.append(Series(name, by_size.mean().index, by_size.mean(), by_size.min(), by_size.max(), kind="marks"))
    sizes = np.unique(np.geomspace(1, measured["batch_size"].max() * 1.5, 40).round()).astype(int)
    for block in sorted(measured["block"].unique()):
        law = [inflation(int(B), block * KEPT, CORRELATION) for B in sizes]
        lines.append(Series(f"law, blocks of {block}", sizes, law, kind="reference"))
    return Panel("Variance of a batch's gradient", "batch size B (examples)", "× that of B independent examples", lines)


def _ends(evidence: Evidence, cells: pd.DataFrame) -> Panel:
    lines = []
    for order, own in cells.sort_values("batch_size").groupby("order", sort=False):
        label = f"{'in order' if order == 'source' else 'shuffled'}, blocks of 64"
        lines.append(Series(label, own["batch_size"], own["score"], own["q25"], own["q75"], kind="marks"))
    return Panel("Final training cost, blocks of 64", BATCH_SIZE, "cost per example", lines, log="x")
