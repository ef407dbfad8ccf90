"""Parts of a cell, which train some of its replicas each (`first_replica`), joined to one cell with all of them."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile
from typing import Any

from harness.analysis.sweep_tables import SweepCell
from harness.config import exact_text
from harness.training import tables

OF_THE_FIRST = ("time/", "noise/")  # metrics of the first replica
WALL = "time/wall_seconds"


def joined(cells: Sequence[SweepCell]) -> list[SweepCell]:
    """The cells, each with the parts that continue it: alike in all but their replicas, which begin where it ends.

    A joined cell is the first part, with the replicas of the parts up to the first that has not finished. What nothing
    comes before stays a cell of its own.
    """
    after: dict[tuple[str, int], list[SweepCell]] = defaultdict(list)
    for cell in cells:
        if first := cell.identity.values.get("first_replica"):
            after[_but_replicas(cell), first].append(cell)
    chains = [_chain(cell, after) for cell in cells if "first_replica" not in cell.identity.values]
    first_of = {chain[0].identity.signature: chain for chain in chains}
    left = [id(cell) for waiting in after.values() for cell in waiting]
    kept = [cell for cell in cells if cell.identity.signature in first_of or id(cell) in left]
    return [_joined(first_of.get(cell.identity.signature, [cell])) for cell in kept]


def _chain(cell: SweepCell, after: dict[tuple[str, int], list[SweepCell]]) -> list[SweepCell]:
    """The parts from this one on, taken out of `after`; of several that begin at one replica the finished, longest."""
    chain = [cell]
    while following := after.get((_but_replicas(cell), chain[-1].identity.values.get("seeds", 0))):
        chain.append(max(following, key=lambda one: (one.status == "FINISHED", one.identity.values["seeds"])))
        following.remove(chain[-1])
    return chain


def _but_replicas(cell: SweepCell) -> str:
    own, replicas = cell.identity, ("seeds", "first_replica")
    values = {key: value for key, value in own.values.items() if key not in replicas}
    return exact_text([values, own.code, own.data])


def _joined(parts: Sequence[SweepCell]) -> SweepCell:
    import pandas as pd

    first, done = parts[0], list(takewhile(lambda part: part.status == "FINISHED", parts))
    asked = replace(first.identity, values=first.identity.values | _seeds(parts[-1]))
    if len(done) < 2:
        return replace(first, identity=asked)
    replicas, history = (
        pd.concat([getattr(part, name) for part in done], ignore_index=True) for name in ("replicas", "history")
    )
    summary = {key: value for key, value in first.summary.items() if key.startswith(OF_THE_FIRST)}
    if all(WALL in part.summary for part in done):
        summary[WALL] = sum(part.summary[WALL] for part in done)
    found: dict[str, Any] = {"replicas": replicas, "history": history.sort_values("update", kind="stable")}
    found |= {"summary": tables.of_replicas(replicas) | summary, "outcome": str(tables.cell_outcome(replicas))}
    found["arithmetic"] = first.arithmetic if len({part.arithmetic for part in done}) == 1 else ""
    return replace(first, identity=asked, more_runs=tuple(part.run_id for part in done[1:]), **found)


def _seeds(part: SweepCell) -> dict[str, Any]:
    return {key: value for key, value in part.identity.values.items() if key == "seeds"}
