"""The time of an update of one kind, in a block of updates: by the wall clock and by the CPU time of the process."""

import sys
from time import process_time, thread_time
from typing import NamedTuple

from harness.training.cell import Cell
from harness.training.clock import Clock, pinned_blas
from harness.training.order import examples_seen
from harness.training.stack import Stack

LEAD_IN = 4  # a block starts with a quarter of its updates off the clock
INTERRUPTED_AT = 1.1  # wall seconds per second of CPU time
CPU_TICK = 1 / 64 if sys.platform == "win32" else 0.0  # seconds; CPU time on Windows counts whole ticks


class Block(NamedTuple):
    """Updates in a row, and the wall and CPU seconds that they took together."""

    updates: int
    seconds: float
    cpu_seconds: float

    @property
    def interrupted(self) -> bool:
        """Whether the process was stopped, or other processes had its CPU, for a noticeable part of the wall time."""
        return self.seconds > INTERRUPTED_AT * self.cpu_seconds + CPU_TICK


class WallAndCPU(Clock):
    """A clock that also accumulates CPU seconds: of this thread, or of all threads of the process."""

    def __init__(self, threads: int) -> None:
        super().__init__()
        self.cpu_seconds = 0.0
        self._cpu_time = thread_time if threads == 1 else process_time

    def __enter__(self) -> None:
        self._cpu_started = self._cpu_time()
        super().__enter__()

    def __exit__(self, *raised: object) -> None:
        super().__exit__(*raised)
        self.cpu_seconds += self._cpu_time() - self._cpu_started


def lead_in(n_updates: int) -> int:
    """Updates off the clock before so many that are timed: they bring code and data into the caches."""
    return max(1, n_updates // LEAD_IN)


class Timer:
    """Measures one work: a replica alone and its updates, as in training; nothing is evaluated or recorded."""

    def __init__(self, cell: Cell) -> None:
        self.cell, self.per_epoch, self.threads = cell, cell.plan.updates_per_epoch, cell.config.blas_threads

    def first_block(self, seconds: float) -> Block:
        """A block of about so many seconds, after one update that may have to compile the code."""
        stack, n_updates = self._stack(), 1
        with pinned_blas(self.threads):
            stack.advance(1)
            while (block := self._run(stack, n_updates)).seconds < seconds / 4:
                n_updates *= 2
        return block

    def fitting(self, n_updates: float) -> int:
        """The number of updates of a block that is to have about n_updates: whole epochs, or at most half of one."""
        fit = max(1, int(n_updates))
        if fit >= self.per_epoch:
            return fit - fit % self.per_epoch
        return min(fit, (self.per_epoch - 1) // 2) or self.per_epoch

    def block(self, n_updates: float) -> Block:
        """Time about so many updates of a new stack.

        Part of an epoch is timed within its full batches; its shuffling and a short last batch count in proportion.
        """
        stack, plan, n_updates = self._stack(), self.cell.plan, self.fitting(n_updates)
        stack.advance(lead_in(n_updates))
        timed = self._run(stack, n_updates)
        if n_updates >= self.per_epoch:
            return timed
        drawing = WallAndCPU(self.threads)
        if stack.batches.order is not None:
            with drawing:
                stack.batches.order.draw()
        seen = examples_seen(self.per_epoch, plan.n_train, plan.batch_size, plan.last_batch)
        full, share = seen / (self.per_epoch * plan.batch_size), n_updates / self.per_epoch
        seconds, cpu_seconds = full * timed.seconds, full * timed.cpu_seconds
        return Block(n_updates, seconds + share * drawing.seconds, cpu_seconds + share * drawing.cpu_seconds)

    def _stack(self) -> Stack:
        """Replica 1 alone: what is recorded of a training is recorded of replica 0 only."""
        _, stack = self.cell.stacks()
        return stack

    def _run(self, stack: Stack, n_updates: int) -> Block:
        stack.clock = clock = WallAndCPU(self.threads)
        stack.advance(stack.update + n_updates)
        return Block(n_updates, clock.seconds, clock.cpu_seconds)
