"""Seconds of a sweep's cells, from the blocks in which the time of their updates was measured after training."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.inference import Array
from harness.training import quartiles, readings, replica_seconds, tables

if TYPE_CHECKING:
    import pandas as pd

    from harness.analysis.sweep_tables import SweepCell

BLOCKS, ONE_READING = "blocks", "one reading"  # what seconds are: measured in turns, or each cell's own clock
FEWEST = 2  # blocks that have a spread
COLUMNS = ("signature", "work", "block", "update_seconds", "update_cpu_seconds", "interrupted")


def usable(blocks: "pd.DataFrame | None", finished: Sequence[str]) -> bool:
    """Whether a table of `harness.training.time_updates` has several blocks of each finished cell."""
    if blocks is None or not {*COLUMNS} <= {*blocks.columns} or not finished:
        return False
    count = _with_phases(blocks).groupby(["signature", "phase"])["block"].nunique()
    count = count.groupby("signature").min().reindex(list(finished), fill_value=0)
    seconds = blocks["update_seconds"]
    return bool((count >= FEWEST).all() and ((seconds > 0) & np.isfinite(seconds)).all())


def interruption(blocks: "pd.DataFrame") -> str:
    """Of blocks that were stopped, or had to wait for a CPU, however often they were measured; empty if none was."""
    own = blocks.drop_duplicates(["work", "block"])
    stopped = own[own["interrupted"].astype(bool)]
    if stopped.empty:
        return ""
    longer = (stopped["update_seconds"] / stopped["update_cpu_seconds"]).median()
    were = "was" if len(stopped) == 1 else "were"
    return (
        f"{len(stopped)} of {len(own)} blocks {were} interrupted (the process was stopped, or others had its CPU) and "
        f"took {longer:.2g} times their CPU time, which counts"
    )


def timed(cells: "Sequence[SweepCell]", blocks: "pd.DataFrame") -> "list[SweepCell]":
    """The cells with measured seconds in place of those of the clock of replica 0."""
    known = [readings(own) for _, own in _with_phases(blocks).groupby("phase")]
    return [
        _timed(cell, [phase[name] for phase in known if (name := cell.identity.signature) in phase])
        if cell.history is not None
        else cell
        for cell in cells
    ]


def _with_phases(blocks: "pd.DataFrame") -> "pd.DataFrame":
    """Tables of former versions, when no batch size grew, have no such column."""
    return blocks if "phase" in blocks else blocks.assign(phase=0)


def _timed(cell: "SweepCell", own: Sequence[Array]) -> "SweepCell":
    """own: for each batch size (K,), seconds per update of its blocks. All times are updates times these."""
    assert cell.history is not None
    assert cell.replicas is not None
    history, replicas, passes = cell.history, cell.replicas, cell.identity.plan.passes

    def seconds(update: Array, replica: NDArray[np.integer]) -> Array:
        parts = zip(passes.by_phase(np.asarray(update)), own, strict=True)
        return np.sum([replica_seconds(n, replica, phase) for n, phase in parts], axis=0)

    update, replica, examples = (history[name].to_numpy() for name in ("update", "replica", "examples"))
    history = history.assign(train_seconds=seconds(update, replica))
    last = np.flatnonzero(replica == replica.min())[-1]
    summary = dict(cell.summary)
    if n_updates := update[last]:
        n_blocks = min(map(len, own))
        shares = np.array(passes.by_phase(n_updates)) / n_updates
        spread = quartiles(np.sum([share * phase[:n_blocks] for share, phase in zip(shares, own, strict=True)], axis=0))
        summary |= tables.update_times(1e6 * spread, examples[last] / n_updates)
        summary["time/train_seconds"] = float(n_updates * spread[1])
    if "to_target_updates" in replicas:
        to_target = seconds(replicas["to_target_updates"], replicas["replica"])
        replicas = replicas.assign(to_target_seconds=to_target)
        if "to_target/seconds" in summary:
            summary["to_target/seconds"] = float(quartiles(to_target)[1])
    return replace(cell, history=history, replicas=replicas, summary=summary)
