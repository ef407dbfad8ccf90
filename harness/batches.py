"""In which order the examples are visited, and how an epoch is cut into batches.

Shuffle, then partition: an epoch is one permutation of the *examples* per replica, cut into consecutive batches whose
last one may be short. Each replica draws from its own generator, so its order never depends on what else is trained.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Array = NDArray[np.floating]
Indices = NDArray[np.intp]
Batch = slice | Indices  # a slice of the data as it lies, or (R, b) indices: one row per replica


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
    return Batches(_epochs(n_examples, "none" if whole_set else order, rngs), end, batch_size)


class Batches(Iterator[Batch]):
    """The epochs, each cut at `end` and into batches; `take` gives several at once, `next` one."""

    def __init__(self, epochs: Iterator[Indices | None], end: int, batch_size: int) -> None:
        self.epochs, self.end, self.batch_size = epochs, end, batch_size
        self._start = end
        self._indices: Indices | None = None

    def __next__(self) -> Batch:
        return self.take(1)

    def take(self, n_batches: int) -> Batch:
        """The examples of the next n_batches in a row, or of those that are left of this epoch."""
        if self._start >= self.end:
            self._start, self._indices = 0, next(self.epochs)
        start = self._start
        self._start = stop = min(start + n_batches * self.batch_size, self.end)
        return slice(start, stop) if self._indices is None else self._indices[:, start:stop]


def _epochs(n_examples: int, order: str, rngs: Sequence[Generator]) -> Iterator[Indices | None]:
    """The (R, N) indices of one epoch after the other; None is the data as it lies."""
    if order == "once":
        permutation = _permutations(n_examples, rngs)
    while True:
        if order == "reshuffle":
            yield _permutations(n_examples, rngs)
        elif order == "replacement":
            yield np.stack([rng.integers(n_examples, size=n_examples) for rng in rngs])
        else:
            yield permutation if order == "once" else None


def _permutations(n_examples: int, rngs: Sequence[Generator]) -> Indices:
    return np.stack([rng.permutation(n_examples) for rng in rngs])


class Gatherer:
    """Fetches the rows of a batch from X (N, D) shared by the stack, or (R, N, D) one set per replica; Y alike.

    Gathered rows land in arrays that are kept per batch size; a slice and a single row are views, without a copy.
    """

    def __init__(self, X: Array, Y: Array, n_stack: int) -> None:
        self.X, self.Y = X, Y
        self.rows_X, self.rows_Y = X.reshape(-1, X.shape[-1]), Y.reshape(-1, Y.shape[-1])
        self.single_X, self.single_Y = self.rows_X[:, None], self.rows_Y[:, None]  # (N, 1, ...)
        self.offsets = np.arange(n_stack)[:, None] * X.shape[-2] if X.ndim == 3 else None
        self._gathered: dict[int, tuple[Array, Array]] = {}

    def __call__(self, batch: Batch) -> tuple[Array, Array]:
        if isinstance(batch, slice):
            return self.X[..., batch, :], self.Y[..., batch, :]
        if batch.size == 1:  # of a stack of one
            row = batch.item()
            return self.single_X[row : row + 1], self.single_Y[row : row + 1]
        rows = batch if self.offsets is None else batch + self.offsets
        X, Y = self._buffers(rows.shape)
        self.rows_X.take(rows, axis=0, out=X, mode="clip")  # clip: any other mode copies through a temporary
        self.rows_Y.take(rows, axis=0, out=Y, mode="clip")
        return X, Y

    def _buffers(self, shape: tuple[int, ...]) -> tuple[Array, Array]:
        if shape[1] not in self._gathered:
            X = np.empty((*shape, self.X.shape[-1]), self.X.dtype)
            self._gathered[shape[1]] = X, np.empty((*shape, self.Y.shape[-1]), self.Y.dtype)
        return self._gathered[shape[1]]
