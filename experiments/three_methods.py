"""Judges three_methods: who is fastest on which clock, and what is exact about the three methods."""

from collections.abc import Iterator
from math import ceil

import numpy as np

from harness.notes import number
from harness.statistics import Comparison, geometric_mean_ratio
from harness.study import BATCH_SIZE, Evidence, Finding, Line, Panel
from harness.verdicts import Verdict, exactly, inside, lower, together

CLOCKS = {"updates": "updates", "epochs": "epochs", "seconds": "train seconds"}
ROUNDING = 1e-10
FASTER = 0.95  # a ratio of times below which one is faster
CLOCK = 1.25  # factor by which the clock of a cell, read once, may be off on a machine that does other things too


def judge(evidence: Evidence) -> Iterator[Finding]:
    yield order_of_a_whole_set(evidence)
    yield updates_of_an_epoch(evidence)
    yield time_of_an_update(evidence)
    yield convergence(evidence)


def order_of_a_whole_set(evidence: Evidence) -> Finding:
    """C4: pairs of cells at B=N that differ in the order only."""
    whole = evidence.cells[evidence.cells["batch_size"] == evidence.cells["n_train"]]
    residuals = {}
    for name, own in whole.groupby("dataset"):
        still = own.set_index("order").loc["none"]
        shuffled = own[(own["order"] == "reshuffle") & (own["epochs"] == still["epochs"])]
        a, b = (evidence.weights(cell) for cell in (still["cell"], shuffled["cell"].iloc[0]))
        residuals[str(name)] = float(np.abs(a - b).max() / np.abs(a).max())
    worst = max(residuals.values())
    return Finding(
        "C4",
        exactly(worst, ROUNDING),
        f"Parameters trained with and without shuffling differ by at most {worst:.1e}, relative to the largest, on "
        f"{', '.join(residuals)}.",
        replicas=int(whole["n_replicas"].min()),
    )


def updates_of_an_epoch(evidence: Evidence) -> Finding:
    """C5: what every replica that was not stopped counted."""
    wrong, counted = 0, 0
    for _, cell in evidence.cells.iterrows():
        expected = int(cell["epochs"]) * ceil(cell["n_train"] / cell["batch_size"])
        ended = evidence.data.replicas[evidence.data.replicas["cell"] == cell["cell"]]
        whole = ended[ended["outcome"] == "completed"]
        wrong, counted = wrong + int((whole["end_update"] != expected).sum()), counted + len(whole)
    text = f"{counted - wrong} of {counted} trainings made ceil(N/B) updates in every epoch."
    return Finding("C5", exactly(wrong, 0), text)


def time_of_an_update(evidence: Evidence) -> Finding:
    """C13: readings at several learning rates, which the time does not depend on, are repetitions."""
    ratios = {}
    for name, own in evidence.cells.groupby("dataset"):
        for unit in ("update", "example"):
            one, batch = (own.loc[own["batch_size"] == B, f"time/{unit}_us"].to_numpy() for B in (1, 64))
            n = min(len(one), len(batch))
            ratios[str(name), unit] = geometric_mean_ratio(np.log(one[:n] / batch[:n]), evidence.rng)
    by_unit = {
        unit: together(inside(ratio, 0, FASTER) for (_, u), ratio in ratios.items() if u == unit)
        for unit in ("update", "example")
    }
    shown = "; ".join(
        f"{name}: {number(ratios[name, 'update'].estimate)} of the time per update, "
        f"{number(ratios[name, 'example'].estimate)} times the time per example"
        for name in dict.fromkeys(name for name, _ in ratios)
    )
    return Finding(
        "C13",
        together(by_unit.values()),
        f"B=1 against B=64 - {shown}.",
        unit="× the time per update of B=64 (first dataset)",
        effect=next(iter(ratios.values())),
        panels=[_times(evidence, unit) for unit in ("update", "example")],
    )


def _times(evidence: Evidence, unit: str) -> Panel:
    lines = []
    for name, own in evidence.cells.groupby("dataset"):
        by_size = own.groupby("batch_size")[f"time/{unit}_us"]
        low, middle, high = (by_size.quantile(q) for q in (0.25, 0.5, 0.75))
        lines.append(Line(str(name), middle.index, middle, low, high))
    return Panel(f"Time per {unit}", BATCH_SIZE, f"µs per {unit}", lines)


def convergence(evidence: Evidence) -> Finding:
    """C14: B=64 against the two others, each at its own best rate, on three clocks."""
    best = evidence.answer.targets[evidence.answer.targets["facet"].map(_is_shuffled)]
    arms = {}
    for facet, own in best.groupby("facet"):
        cell = own.set_index("batch_size")["cell"]
        for other in cell.index.drop(64.0, errors="ignore"):
            for clock in CLOCKS:
                a, b = (evidence.to_target[cell[B]][clock] for B in (64.0, other))
                arms[str(facet), float(other), clock] = (a, b)
    found = evidence.compare(arms)
    verdicts = {
        key: inside(comparison.ratio, 0, 1 / CLOCK) if key[2] == "seconds" else lower(comparison)
        for key, comparison in found.items()
    }
    on = {clock: together(v for key, v in verdicts.items() if key[2] == clock) for clock in CLOCKS}
    words = "; ".join(f"in {CLOCKS[clock]} {verdict}" + _ratios(found, clock) for clock, verdict in on.items())
    edges = "" if (best["edge"] == "").all() else " A best rate lies on the edge of its grid: extend it."
    return Finding(
        "C14",
        together(verdicts.values()) if not edges else Verdict.UNRESOLVED,
        f"To a tenth of the initial cost, B=64 is the faster {words}.{edges}",
        unit="× the updates of B=1 (first dataset)",
        effect=next(iter(found.values())).ratio,
        replicas=int(evidence.answer.n_replicas),
        panels=[_to_target(evidence, clock) for clock in CLOCKS],
    )


def _is_shuffled(facet: str) -> bool:
    return "order=none" not in facet


def _ratios(found: dict[tuple[str, float, str], Comparison], clock: str) -> str:
    parts: dict[float, list[str]] = {1.0: [], 0.0: []}
    for (_, other, own), comparison in found.items():
        if own == clock:
            parts[1.0 if other == 1 else 0.0].append(number(comparison.ratio.estimate))
    return f" ({', '.join(parts[1.0])} × B=1, {', '.join(parts[0.0])} × B=N)"


def _to_target(evidence: Evidence, clock: str) -> Panel:
    best = evidence.answer.targets[evidence.answer.targets["facet"].map(_is_shuffled)]
    lines = [
        Line(str(facet).split()[0], own["batch_size"], own[clock], own[f"{clock}_low"], own[f"{clock}_high"])
        for facet, own in best.groupby("facet")
    ]
    return Panel(f"{CLOCKS[clock]} to a tenth of the cost", BATCH_SIZE, CLOCKS[clock], lines)
