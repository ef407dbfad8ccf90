"""In which order the examples are visited, and how an epoch is cut into batches.

An epoch is one permutation of the *examples* per replica, cut into consecutive batches; the last one may be short.
"""

from collections.abc import Callable, Iterator, Sequence

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
    it lies, give slices; other rows are (R, n) views of the order, which the next epoch changes.
    """

    def __init__(self, n_examples: int, batch_size: int, order: str, last_batch: str, rngs: Sequence[Generator]):
        whole_set = batch_size == n_examples and order != "replacement"
        self.order = None if order == "none" or whole_set else Order(n_examples, order, rngs)
        self.batch_size = batch_size
        self._end = n_examples if last_batch == "keep" else n_examples - n_examples % batch_size
        self._start = self._end

    def __next__(self) -> Rows:
        return self.take(1)[0]

    def take(self, n_batches: int) -> tuple[Rows, int]:
        """The rows of the next n_batches, or of those that are left of this epoch; and how many batches they are."""
        if self._start >= self._end:
            self._start = 0
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
