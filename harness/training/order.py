"""In which order the examples are visited, and how an epoch is cut into batches.

An epoch is one permutation of the *examples* per replica, cut into consecutive batches; the last one may be short.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator

from harness.network import Indices, Rows

PIECE = 1 << 13  # indices that are drawn at a time, so that drawing needs no second order


def updates_per_epoch(n_examples: int, batch_size: int, last_batch: str) -> int:
    """⌈N/B⌉, or ⌊N/B⌋ when a short last batch is dropped (never less than 1, as B <= N)."""
    whole, rest = divmod(n_examples, batch_size)
    return whole + (1 if rest and last_batch == "keep" else 0)


def examples_seen(update: int, n_examples: int, batch_size: int, last_batch: str) -> int:
    """Examples consumed by the first `update` updates."""
    epochs, within = divmod(update, updates_per_epoch(n_examples, batch_size, last_batch))
    per_epoch = n_examples if last_batch == "keep" else n_examples - n_examples % batch_size
    return epochs * per_epoch + within * batch_size


class Phase(NamedTuple):
    """Epochs in a row with one batch size: the number of the first, and of the first update; updates per epoch."""

    epoch: int
    update: int
    batch_size: int
    per_epoch: int


class Passes:
    """Passes over N examples, epoch after epoch: how updates, epochs and examples correspond.

    sizes: pairs (epoch, batch size from its beginning on), ascending, the first of epoch 0.
    """

    def __init__(self, n_examples: int, last_batch: str, sizes: Sequence[tuple[int, int]]) -> None:
        self.n_examples, self.last_batch, self.phases, update = n_examples, last_batch, list[Phase](), 0
        for epoch, batch_size in sizes:
            if self.phases:
                update += (epoch - self.phases[-1].epoch) * self.phases[-1].per_epoch
            self.phases.append(Phase(epoch, update, batch_size, updates_per_epoch(n_examples, batch_size, last_batch)))

    def updates(self, epochs: int) -> int:
        """In the first so many epochs."""
        phase = self.phases[bisect_right([phase.epoch for phase in self.phases], epochs) - 1]
        return phase.update + (epochs - phase.epoch) * phase.per_epoch

    def phase_at(self, update: int) -> Phase:
        """The one in which the update after so many is made."""
        return self.phases[bisect_right([phase.update for phase in self.phases], update) - 1]

    def epochs_done(self, update: int) -> int:
        """Whole epochs in so many updates."""
        phase = self.phase_at(update)
        return phase.epoch + (update - phase.update) // phase.per_epoch

    def end_after(self, update: int) -> int:
        """The update at which the epoch after so many updates ends."""
        return self.updates(self.epochs_done(update) + 1)

    def by_phase(self, update: Any) -> list[Any]:
        """Of so many updates, a number or an array, those that are made in each phase."""
        *others, last = self.phases
        ends = [following.update - phase.update for phase, following in pairwise(self.phases)]
        own = [np.clip(update - phase.update, 0, n) for phase, n in zip(others, ends, strict=True)]
        return [*own, np.maximum(update - last.update, 0)] if own else [update]

    def examples(self, update: Any) -> Any:
        """Examples seen by so many updates, a number or an array."""
        parts = zip(self.by_phase(update), self.phases, strict=True)
        return sum(examples_seen(n, self.n_examples, phase.batch_size, self.last_batch) for n, phase in parts)

    def epoch(self, update: Any) -> Any:
        """Epochs, with their fraction, that so many updates make; short of examples / N where batches are dropped."""
        done: Any = 0
        for n, phase in zip(self.by_phase(update), self.phases, strict=True):
            whole, within = np.divmod(n, phase.per_epoch)
            of_epoch = examples_seen(phase.per_epoch, self.n_examples, phase.batch_size, self.last_batch)
            done = done + whole + within * phase.batch_size / of_epoch
        return done


class Order:
    """The order of the examples for each replica, (R, N): `draw` writes that of the next epoch over the last."""

    def __init__(self, n_examples: int, rule: str, rngs: Sequence[Generator]) -> None:
        self.rule, self.rngs = rule, list(rngs)
        self.indices: Indices = np.empty((len(rngs), n_examples), np.intp)  # 32 bits are slower to shuffle and gather
        self._drawn = False

    def draw(self) -> Indices:
        if self.rule != "once" or not self._drawn:
            for row, rng in zip(self.indices, self.rngs, strict=True):
                INPLACE_DRAW[self.rule](row, rng)
            self._drawn = True
        return self.indices

    def select(self, keep: Indices) -> None:
        """Forget every replica but `keep` (ascending); the others go on as they are."""
        for place, r in enumerate(keep):
            self.indices[place] = self.indices[r]
        self.indices = self.indices[: len(keep)] if len(keep) else np.empty((0, self.indices.shape[1]), np.intp)
        self.rngs = [self.rngs[r] for r in keep]


def _inplace_permute(row: Indices, rng: Generator) -> None:
    """row <- rng.permutation(N), to the bit."""
    for start in range(0, row.size, PIECE):
        row[start : start + PIECE] = np.arange(start, min(start + PIECE, row.size))
    rng.shuffle(row)


def _inplace_draw_with_replacement(row: Indices, rng: Generator) -> None:
    """row <- rng.integers(N, size=N), to the bit."""
    for start in range(0, row.size, PIECE):
        row[start : start + PIECE] = rng.integers(row.size, size=min(PIECE, row.size - start))


INPLACE_DRAW: dict[str, Callable[[Indices, Generator], None]] = {
    "reshuffle": _inplace_permute, "once": _inplace_permute, "replacement": _inplace_draw_with_replacement,
}  # fmt: skip


class Batches(Iterator[Rows]):
    """Batches without end, epoch after epoch: `next` gives one, `take` several in a row.

    order: reshuffle | once | none | replacement; rngs: one per replica. The whole set, and data in the order in which
    it lies, give slices; other rows are (R, n) views of the order, which the next epoch changes. later: pairs (epoch,
    batch size from its beginning on); batch_size: that of the batches that were taken last.
    """

    def __init__(
        self, n_examples: int, batch_size: int, order: str, last_batch: str, rngs: Sequence[Generator],
        later: Sequence[tuple[int, int]] = (),
    ) -> None:  # fmt: skip
        whole_set = batch_size == n_examples and order != "replacement"
        self.order = None if order == "none" or whole_set else Order(n_examples, order, rngs)
        self.passes = Passes(n_examples, last_batch, [(0, batch_size), *later])
        self.batch_size, self._epoch, self._start, self._end = batch_size, -1, 0, 0  # before the first epoch

    def _begin(self, epoch: int) -> None:
        passes = self.passes
        self.batch_size = passes.phase_at(passes.updates(epoch)).batch_size
        rest = passes.n_examples % self.batch_size if passes.last_batch == "drop" else 0
        self._epoch, self._start, self._end = epoch, 0, passes.n_examples - rest

    def __next__(self) -> Rows:
        return self.take(1)[0]

    def take(self, n_batches: int) -> tuple[Rows, int]:
        """The rows of the next n_batches, or of those that are left of this epoch; and how many batches they are."""
        if self._start >= self._end:
            self._begin(self._epoch + 1)
            if self.order:
                self.order.draw()
        start = self._start
        self._start = stop = min(start + n_batches * self.batch_size, self._end)
        rows = slice(start, stop) if self.order is None else self.order.indices[:, start:stop]
        return rows, -(-(stop - start) // self.batch_size)

    def select(self, keep: Indices) -> None:
        """Forget every replica but `keep`."""
        if self.order:
            self.order.select(keep)
