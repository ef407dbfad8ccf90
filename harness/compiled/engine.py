"""The engine of machine code: what a stack of replicas has in NumPy arrays, in the layout of compiled functions.

Each replica is trained by itself, so a replica in a stack has the bits that it has alone. Functions are compiled once
per dtype, activation and loss, and kept on disk. The first one of new sources removes the code of older ones, unless
that was made within the hour.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np

from harness.compiled.compiler import remove_old_caches
from harness.compiled.network import BLAS_EXAMPLES, BLAS_WEIGHTS, PIECE, copy_rows, flat_rows, layout, n_padded
from harness.compiled.updates import evaluate_rows, single_updates, updates
from harness.compiled.vectors import aligned
from harness.network import (
    MLP,
    SGD,
    Adam,
    Array,
    Engine,
    Indices,
    Momentum,
    Nesterov,
    Optimizer,
    RMSProp,
    Rows,
    Set,
    score,
)

T = TypeVar("T")

# Codes of `inplace_step`.
STEP_CODES: dict[type[Optimizer], int] = {SGD: 0, Momentum: 1, Nesterov: 2, Adam: 3, RMSProp: 4}
STEP_CONSTANTS = ("momentum", "beta1", "beta2", "epsilon")


class Compiled(Engine):
    """Updates the stack replica by replica, each in one call; threads: replicas that are trained at the same time."""

    def __init__(self, network: MLP, optimizer: Optimizer, train_set: Set, reduction: str, threads: int = 1) -> None:
        super().__init__(network, optimizer, train_set, reduction)
        self.threads = threads
        self._batch_size = 0  # that the workspaces, one for each thread, are made for
        self._spaces: list[Workspace] = []
        self._pool: ThreadPoolExecutor | None = None
        self._bind()

    def make_updates(self, rows: Rows, batch_size: int, factors: Array | None = None) -> None:
        factors = np.ones(1) if factors is None else factors
        n_examples = rows.stop - rows.start if isinstance(rows, slice) else rows.shape[1]
        if batch_size != self._batch_size:
            setup = self.network, self.optimizer, batch_size, self.reduction
            self._batch_size, self._spaces = batch_size, [Workspace(*setup) for _ in self._replicas[: self.threads]]
        self._each(len(self._spaces), partial(self._train_share, rows, n_examples, factors))
        self.optimizer.n_steps += -(-n_examples // batch_size)

    def warm_up(self, batch_size: int) -> None:
        """Compile, or load from disk."""
        remove_old_caches()
        self.make_updates(slice(0, 0), batch_size)

    def evaluate(self, network: MLP, X: Array, Y: Array) -> tuple[Array, Array]:
        """As `network.evaluate`, with the costs of a replica added up in another order."""
        dtype, (sizes, widths, *choices) = network.params.flat.dtype, layout(network)

        def of_replica(r: int) -> tuple[float, Array]:
            theta, quality = aligned(n_padded(widths), dtype), np.zeros(sizes[-1])
            copy_rows(network.params.flat[r], theta, sizes, widths, False)
            A, own_X, own_Y = aligned(PIECE * widths[1:].sum(), dtype), flat_rows(X, r, dtype), flat_rows(Y, r, dtype)
            n = X.shape[-2]
            return evaluate_rows(theta, sizes, widths, *choices, np.arange(PIECE), own_X, own_Y, n, A, quality), quality

        costs, quality = zip(*self._each(len(network.params.flat), of_replica), strict=True)
        return np.array(costs) / X.shape[-2], score(network.loss_name, np.stack(quality), Y)

    def select(self, keep: Indices) -> None:
        super().select(keep)
        self._bind()

    def _bind(self) -> None:
        """For each replica: its parameters and state, the rates of its rule, X and Y."""
        rule, (X, Y), dtype = self.optimizer, self.train_set, self.network.params.flat.dtype
        constants = [getattr(rule, name, 0.0) for name in STEP_CONSTANTS]
        self._replicas = []
        for r, moving in enumerate(zip(self.network.params.flat, *rule.slots, strict=True)):
            rates = np.array([rule.rate[r if len(rule.rate) > 1 else 0, 0], *constants])
            self._replicas.append((moving, rates, flat_rows(X, r, dtype), flat_rows(Y, r, dtype)))

    def _each(self, n: int, work: Callable[[int], T]) -> list[T]:
        """work(0), …, work(n − 1), in threads if there are several to do."""
        if self.threads == 1 or n == 1:
            return list(map(work, range(n)))
        self._pool = self._pool or ThreadPoolExecutor(self.threads)  # kept: there are thousands of short calls
        return list(self._pool.map(work, range(n)))

    def _train_share(self, rows: Rows, n_examples: int, factors: Array, thread: int) -> None:
        """The replicas of one thread, one after the other in its workspace."""
        rule, space, sizes = self.optimizer, self._spaces[thread], self.network.params.sizes
        for r in range(thread, len(self._replicas), self.threads):
            moving, rates, X, Y = self._replicas[r]
            etas = rates[0] * factors
            if isinstance(rows, slice):
                X, Y, order = X[rows.start * sizes[0] :], Y[rows.start * sizes[-1] :], np.empty(0, np.intp)
            else:
                order = np.ascontiguousarray(rows[r])
            space.copy(moving, back=False)
            if space.is_single:
                single_updates(*space.constant, etas, X, Y, order, n_examples)
            else:
                updates(*space.constant, etas, rates[1:], rule.n_steps, X, Y, order, n_examples)
            space.copy(moving, back=True)


class Workspace:
    """Parameters, gradient and state of one replica in padded rows, and room for a piece of a batch."""

    def __init__(self, network: MLP, optimizer: Optimizer, batch_size: int, reduction: str) -> None:
        dtype = network.params.flat.dtype
        self.sizes, self.widths, *_ = layers = layout(network)
        decay, clip_norm = optimizer.decay, optimizer.clip_norm
        is_plain = isinstance(optimizer, SGD) and decay is None and not clip_norm
        self.is_single = batch_size == 1 and is_plain
        wide = batch_size >= BLAS_EXAMPLES and any(h * w >= BLAS_WEIGHTS for h, w in pairwise(self.widths))
        piece = batch_size if wide else min(PIECE, batch_size)
        theta, g, own_decay, *slots = (aligned(n_padded(self.widths), dtype) for _ in range(3 + len(optimizer.slots)))
        self.moving = theta, *slots
        if decay is not None:
            copy_rows(decay[0], own_decay, self.sizes, self.widths, False)
        nothing = np.empty(0, dtype)
        slot, slot2, *_ = *slots, nothing, nothing
        n_outputs = self.widths[1:].sum()
        A, deltas = (aligned(piece * n_outputs, dtype) for _ in range(2))
        in_order, first_weights = np.arange(piece), self.widths[0] * self.widths[1]
        X_here = aligned(piece * self.sizes[0] if wide and first_weights >= BLAS_WEIGHTS else 0, dtype)
        transposed = aligned(max(self.widths[2:] * self.widths[1:-1], default=0) + self.widths.max(), dtype)
        if self.is_single:
            self.constant: tuple[Any, ...] = theta, *layers, A, deltas, in_order
        else:
            self.constant = (
                theta, g, slot, slot2, nothing if decay is None else own_decay, clip_norm or 0.0, *layers,
                STEP_CODES[type(optimizer)], is_plain and batch_size <= PIECE and not wide, reduction == "mean",
                aligned(1, dtype), batch_size, piece, A, deltas, transposed, in_order, X_here,
            )  # fmt: skip

    def copy(self, flats: tuple[Array, ...], back: bool) -> None:
        """Parameters and state of a replica, in or out."""
        for flat, padded in zip(flats, self.moving, strict=True):
            if not back:  # a replica that overflowed leaves NaN where zeros are
                padded[:] = 0
            copy_rows(flat, padded, self.sizes, self.widths, back)
