"""In which order the examples are visited, and how an epoch is cut into batches.

Shuffle, then partition: an epoch is one permutation of the *examples* per replica, cut into consecutive batches whose
last one may be short. Each replica draws from its own generator, so its order never depends on what else is trained.
An order takes 8 bytes per example and replica, in one array that every epoch writes over. (Four would do; but NumPy
shuffles 32-bit numbers at half the speed, and turns them into 64-bit ones in every gather.)
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from harness.network import Memory

Array = NDArray[np.floating]
Indices = NDArray[np.intp]
Batch = slice | Indices  # a slice of the data as it lies, or (R, b) indices: one row per replica
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


def batches(n_examples: int, batch_size: int, order: str, last_batch: str, rngs: Sequence[Generator]) -> "Batches":
    """Batches without end: `order` is reshuffle | once | none | replacement, rngs holds one generator per replica.

    The whole set needs no shuffling, and data in the order in which it lies needs no gathering: both give slices.
    """
    end = n_examples if last_batch == "keep" else n_examples - n_examples % batch_size
    whole_set = batch_size == n_examples and order != "replacement"
    in_order = order == "none" or whole_set
    return Batches(None if in_order else Order(n_examples, order, rngs), end, batch_size)


class Order:
    """The order of the examples for each replica, (R, N): `draw` writes that of the next epoch over the last."""

    def __init__(self, n_examples: int, rule: str, rngs: Sequence[Generator]) -> None:
        self.rule, self.rngs = rule, list(rngs)
        self.indices: Indices = np.empty((len(rngs), n_examples), np.intp)
        self._drawn = False

    def draw(self) -> Indices:
        if self.rule != "once" or not self._drawn:
            for row, rng in zip(self.indices, self.rngs, strict=True):
                INPLACE_DRAW[self.rule](row, rng)
            self._drawn = True
        return self.indices

    def select(self, keep: NDArray[np.intp]) -> None:
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
    "reshuffle": _inplace_permute,
    "once": _inplace_permute,
    "replacement": _inplace_draw_with_replacement,
}


class Batches(Iterator[Batch]):
    """Epochs, each cut at `end` and into batches; `take` gives several at once, `next` one. No order: as they lie.

    Indices are views of the order, which the next epoch changes.
    """

    def __init__(self, order: Order | None, end: int, batch_size: int) -> None:
        self.order, self.end, self.batch_size = order, end, batch_size
        self._start = end

    def __next__(self) -> Batch:
        return self.take(1)

    def take(self, n_batches: int) -> Batch:
        """The examples of the next n_batches in a row, or of those that are left of this epoch."""
        if self._start >= self.end:
            self._start = 0
            if self.order:
                self.order.draw()
        start = self._start
        self._start = stop = min(start + n_batches * self.batch_size, self.end)
        return slice(start, stop) if self.order is None else self.order.indices[:, start:stop]

    def select(self, keep: NDArray[np.intp]) -> None:
        """Forget every replica but `keep`."""
        if self.order:
            self.order.select(keep)


class Gatherer:
    """Fetches the rows of a batch from X (N, D) shared by the stack, or (R, N, D) one set per replica; Y alike.

    Gathered rows land in `memory`, where the next batch writes over them; a slice and a single row are views, without
    a copy.
    """

    def __init__(self, X: Array, Y: Array, n_stack: int, memory: Memory | None = None) -> None:
        self.X, self.Y = X, Y
        self.memory = memory or Memory()
        self.rows_X, self.rows_Y = X.reshape(-1, X.shape[-1]), Y.reshape(-1, Y.shape[-1])
        self.single_X, self.single_Y = self.rows_X[:, None], self.rows_Y[:, None]  # (N, 1, ...)
        self.offsets = np.arange(n_stack)[:, None] * X.shape[-2] if X.ndim == 3 else None

    def __call__(self, batch: Batch) -> tuple[Array, Array]:
        if isinstance(batch, slice):
            return self.X[..., batch, :], self.Y[..., batch, :]
        if batch.size == 1:  # of a stack of one
            row = batch.item()
            return self.single_X[row : row + 1], self.single_Y[row : row + 1]
        rows = batch if self.offsets is None else batch + self.offsets
        X, Y = self.memory.kept.get(rows.shape) or self._arrays(rows.shape)
        self.rows_X.take(rows, axis=0, out=X, mode="clip")  # clip: any other mode copies through a temporary
        self.rows_Y.take(rows, axis=0, out=Y, mode="clip")
        return X, Y

    def _arrays(self, shape: tuple[int, ...]) -> list[Array]:
        arrays = self.memory.arrays([(*shape, V.shape[-1]) for V in (self.X, self.Y)], self.X.dtype)
        self.memory.kept[shape] = arrays
        return arrays
