"""The time of an update, measured for all cells of a sweep in short blocks.

In each round one process makes every kind of update for a short block, in an order drawn anew. Block r is the clock of
replica r, so paired tests see how much readings differ (Kalibera and Jones 2013). Each block has new arrays, as their
place in memory changes the time of an update by some per cent (Mytkowicz et al. 2009).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from harness.config import Config, DatasetConfig
from harness.data import Dataset
from harness.training.cell import Plan
from harness.training.clock import pinned_blas
from harness.training.timer import LEAD_IN, Block, Timer, lead_in
from harness.training.work import cells_of, work_of

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.floating]

SHARE_OF_TRAINING, LEAST_SECONDS = 0.05, 1.0  # what a pass may take
PLANNED = 0.75  # of that; the rest is kept for blocks that are measured again
BLOCK_SECONDS = 0.01  # a block takes no longer, unless a single update does; longer ones are interrupted more often
FEWEST_BLOCKS, MOST_BLOCKS = 5, 256
TRIES = 5  # times that a block is measured while it is interrupted


def pass_seconds(trained: float) -> float:
    """Wall seconds that the pass of a sweep may take which trained for so many wall seconds."""
    return max(LEAST_SECONDS, SHARE_OF_TRAINING * trained)


def time_updates(
    cells: Mapping[str, tuple[Config, Plan]], load: Callable[[DatasetConfig], Dataset], seconds: float, rng: Generator
) -> "pd.DataFrame":
    """Measure the time of an update for each cell, in as many blocks as the cells have replicas (5 to 256).

    cells: by signature. seconds: wall time of the measurement; estimates and first blocks are made whatever they take,
    and cells whose single updates take long have fewer blocks (at least 5, if time allows). rng: order of the blocks.

    One row per cell, phase and block, block from 0: signature, phase (from 0, of the batch sizes of the cell; 0 unless
    it grows), work (cells that share a measurement have the same number), block, updates, update_seconds,
    update_cpu_seconds (both per update; CPU time of the process when the cell has several threads, else of the thread
    that trains), interrupted (in all tries).
    """
    import pandas as pd

    phases = [
        (signature, phase, config, plan)
        for signature, (config, whole) in cells.items()
        for phase, plan in enumerate(whole.constant_sizes())
    ]
    works = {work_of(config, plan): (config, plan) for _, _, config, plan in phases}
    number = {work: i for i, work in enumerate(works)}
    n_blocks = max((config.replicas.stop for config, _ in cells.values()), default=0)
    timers = [Timer(cell) for cell in cells_of(works, load)]
    measured = Turns(timers, int(np.clip(n_blocks, FEWEST_BLOCKS, MOST_BLOCKS)), seconds).measure(rng)
    rows = [(w, k, b.updates, b.seconds / b.updates, b.cpu_seconds / b.updates, b.interrupted) for w, k, b in measured]
    columns = ["work", "block", "updates", "update_seconds", "update_cpu_seconds", "interrupted"]
    owners = [(signature, phase, number[work_of(config, plan)]) for signature, phase, config, plan in phases]
    owned = pd.DataFrame(owners, columns=["signature", "phase", "work"])
    return owned.merge(pd.DataFrame(rows, columns=columns), on="work")


def readings(table: "pd.DataFrame") -> dict[str, Array]:
    """Signature -> seconds per update of its blocks, (K,), of one phase of the cells in the table of `time_updates`."""
    in_order = table.sort_values("block")
    seconds = block_seconds(in_order)
    return {str(key): own.to_numpy(dtype=float) for key, own in seconds.groupby(in_order["signature"])}


def block_seconds(table: "pd.DataFrame") -> "pd.Series":
    """Seconds per update of each row of the table of `time_updates`.

    Of an interrupted block the CPU time counts: during the rest of its wall time others had the CPU.
    """
    waited = table["interrupted"].astype(bool) & (table["update_cpu_seconds"] > 0)
    return table["update_seconds"].mask(waited, table["update_cpu_seconds"])


def replica_seconds(update: Array, replica: NDArray[np.integer], readings: Array) -> Array:
    """Train seconds of the rows of a history, (n,): updates × seconds per update of the replica's block.

    readings (K,): of the cell. Replica r has block r mod K, so the seconds of any K replicas in a row are independent.
    """
    return np.asarray(update) * readings[np.asarray(replica) % len(readings)]


class Turns:
    """Measures works in turns: a first block of each, which only serves the plan, then n_blocks rounds."""

    def __init__(self, timers: Sequence[Timer], n_blocks: int, seconds: float) -> None:
        self.timers, self.n_blocks = timers, n_blocks
        self.end, self.spare = perf_counter() + seconds, (1 - PLANNED) * seconds
        each = PLANNED * seconds / max(1, len(timers)) / (n_blocks + 1)  # wall seconds of a block and its lead-in
        length = min(BLOCK_SECONDS, each / (1 + 1 / LEAD_IN))
        first = [self._undisturbed(timer.first_block, length) for timer in timers]
        rates = np.array([block.seconds / block.updates for block in first])
        self.n_updates = [timer.fitting(length / rate) for timer, rate in zip(timers, rates, strict=True)]
        self.costs = rates * [n + lead_in(n) for n in self.n_updates]  # wall seconds
        self.is_slow = self.costs > each
        left = self.end - perf_counter() - self.spare - n_blocks * self.costs[~self.is_slow].sum()
        affordable = int(np.clip(left / (self.costs[self.is_slow].sum() or 1.0), FEWEST_BLOCKS, n_blocks))
        self.own_blocks = np.where(self.is_slow, affordable, n_blocks)

    def measure(self, rng: Generator) -> Iterator[tuple[int, int, Block]]:
        """(work, number of the block, block) in the order of measurement.

        When the time is over, no block begins but the first of a work.
        """
        for k in range(self.n_blocks):
            for w in rng.permutation(np.flatnonzero(self.own_blocks > k)).tolist():
                begin = perf_counter()
                if k > 0 and begin >= self.end:
                    return
                with pinned_blas(self.timers[w].threads):
                    block = self._undisturbed(self.timers[w].block, self.n_updates[w])
                self.costs[w] = perf_counter() - begin
                yield w, k, block
            self._shorten(k)

    def _shorten(self, k: int) -> None:
        """After round k: if the machine has become too slow, blocks of up to half the length; not fewer blocks."""
        to_come = self.costs * np.maximum(0, self.own_blocks - 1 - k)
        left, needed = self.end - perf_counter() - to_come[self.is_slow].sum(), to_come[~self.is_slow].sum()
        if needed > max(0.0, left):
            factor = max(0.5, left / needed)
            self.n_updates = [t.fitting(n * factor) for t, n in zip(self.timers, self.n_updates, strict=True)]

    def _undisturbed(self, measure: Callable[[float], Block], size: float) -> Block:
        """The first block without interruption, or the last of TRIES, each half as long as the one before."""
        for attempt in range(TRIES):
            block = measure(size / 2**attempt)
            if not block.interrupted or self.spare <= 0:
                break
            self.spare -= block.seconds
        return block
