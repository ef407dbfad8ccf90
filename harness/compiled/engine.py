"""The engine of machine code: what a stack of replicas has in NumPy arrays, in the layout of compiled functions.

Each replica is trained by itself, so a replica in a stack has the bits that it has alone. Functions are compiled once
per dtype and kept on disk.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from queue import SimpleQueue
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from harness.compiled.evaluation import evaluated
from harness.compiled.network import BLAS_EXAMPLES, BLAS_WEIGHTS, PIECE, copy_rows, flat_rows, layout, n_padded
from harness.compiled.updates import updates
from harness.network import MLP, SGD, Adam, Engine, Momentum, Nesterov, Optimizer, RMSProp, Rows, Set, score

Array = NDArray[np.floating]
T = TypeVar("T")
U = TypeVar("U")

# Codes of `inplace_step`.
STEP_CODES: dict[type[Optimizer], int] = {SGD: 0, Momentum: 1, Nesterov: 2, Adam: 3, RMSProp: 4}
STEP_CONSTANTS = ("momentum", "beta1", "beta2", "epsilon")


class Compiled(Engine):
    """Updates the stack replica by replica, each in one call; threads: replicas that are trained at the same time."""

    def __init__(self, network: MLP, optimizer: Optimizer, train_set: Set, reduction: str, threads: int = 1) -> None:
        super().__init__(network, optimizer, train_set, reduction)
        self.threads = threads
        self._batch_size = 0  # for which there are workspaces
        self._idle: SimpleQueue[Workspace] = SimpleQueue()  # those in which no replica is trained at the moment
        self._bind()

    def make_updates(self, rows: Rows, batch_size: int) -> None:
        n_examples = rows.stop - rows.start if isinstance(rows, slice) else rows.shape[1]
        if batch_size != self._batch_size:
            self._prepare(batch_size)
        if self.threads == 1:
            for replica in self._replicas:
                self._train(replica, rows, n_examples)
        else:
            self._each(lambda replica: self._train(replica, rows, n_examples), self._replicas)
        self.optimizer.n_steps += -(-n_examples // batch_size)

    def warm_up(self, batch_size: int) -> None:
        """Compile, or load from disk."""
        self.make_updates(slice(0, 0), batch_size)

    def evaluate(self, network: MLP, X: Array, Y: Array) -> tuple[Array, Array]:
        """As `network.evaluate`, with the costs of a replica added up in another order."""
        dtype = network.params.flat.dtype

        def of_replica(r: int) -> tuple[float, Array]:
            return evaluated(network, r, flat_rows(X, r, dtype), flat_rows(Y, r, dtype))

        costs, quality = zip(*self._each(of_replica, range(len(network.params.flat))), strict=True)
        return np.array(costs) / X.shape[-2], score(network.loss_name, np.stack(quality), Y)

    def select(self, keep: NDArray[np.intp]) -> None:
        super().select(keep)
        self._bind()

    def _bind(self) -> None:
        every = range(len(self.network.params.flat))
        self._replicas = [Replica(r, self.network, self.optimizer, self.train_set) for r in every]

    def _prepare(self, batch_size: int) -> None:
        self._batch_size, self._idle = batch_size, SimpleQueue()
        for _ in self._replicas[: self.threads]:
            self._idle.put(Workspace(self.network, self.optimizer, batch_size, self.reduction))

    def _each(self, work: Callable[[T], U], replicas: Iterable[T]) -> list[U]:
        if self.threads == 1:
            return [work(replica) for replica in replicas]
        # BLAS stays at one thread, for a replica alone too: the same bits
        with threadpool_limits(1, "blas"), ThreadPoolExecutor(self.threads) as pool:
            return list(pool.map(work, replicas))

    def _train(self, replica: "Replica", rows: Rows, n_examples: int) -> None:
        space = self._idle.get()
        try:
            replica.train(space, rows, n_examples)
        finally:
            self._idle.put(space)


class Workspace:
    """Parameters, gradient and state of one replica in padded rows, and room for a piece of a batch."""

    def __init__(self, network: MLP, optimizer: Optimizer, batch_size: int, reduction: str) -> None:
        dtype, K = network.params.flat.dtype, network.params.sizes[-1]
        self.sizes, self.widths, codes = layout(network)
        wide = batch_size >= BLAS_EXAMPLES and any(h * w >= BLAS_WEIGHTS for h, w in pairwise(self.widths))
        piece = batch_size if wide else min(PIECE, batch_size)
        theta, g, decay, *slots = (np.zeros(n_padded(self.widths), dtype) for _ in range(3 + len(optimizer.slots)))
        self.moving = theta, *slots
        if optimizer.decay is not None:
            copy_rows(optimizer.decay[0], decay, self.sizes, self.widths, False)
        nothing = np.empty(0, dtype)
        slot, slot2, *_ = *slots, nothing, nothing
        transposed = max(self.sizes[2:] * self.widths[1:-1], default=0)
        n_outputs = self.widths[1:].sum()
        per_example = n_outputs, n_outputs, self.sizes[0], K
        A, deltas, X_here, Y_here = (np.empty(piece * n, dtype) for n in per_example)
        self.constant = (
            theta, g, slot, slot2, nothing if optimizer.decay is None else decay, optimizer.clip_norm or 0.0,
            np.array([*codes, STEP_CODES[type(optimizer)]]), self.sizes, self.widths, batch_size, reduction, piece,
            A, deltas, np.empty(transposed, dtype), X_here, Y_here,
        )  # fmt: skip

    def copy(self, flats: Sequence[Array], back: bool) -> None:
        """Parameters and state of a replica, in or out."""
        for flat, padded in zip(flats, self.moving, strict=True):
            copy_rows(flat, padded, self.sizes, self.widths, back)


class Replica:
    """One replica of a stack: where its parameters and state are, and its data."""

    def __init__(self, r: int, network: MLP, optimizer: Optimizer, train_set: Set) -> None:
        self.r, self.optimizer = r, optimizer
        self.flats = [flat[r] for flat in (network.params.flat, *optimizer.slots)]
        dtype = network.params.flat.dtype
        self.X, self.Y = (flat_rows(V, r, dtype) for V in train_set)
        self.n_columns = train_set[0].shape[-1], train_set[1].shape[-1]

    def train(self, space: Workspace, rows: Rows, n_examples: int) -> None:
        rule, X, Y = self.optimizer, self.X, self.Y
        if isinstance(rows, slice):
            D, K = self.n_columns
            X, Y, order = X[rows.start * D :], Y[rows.start * K :], np.empty(0, np.intp)
        else:
            order = np.ascontiguousarray(rows[self.r])
        eta = rule.eta[self.r if len(rule.eta) > 1 else 0, 0]
        rates = np.array([eta, *(getattr(rule, name, 0.0) for name in STEP_CONSTANTS)])
        space.copy(self.flats, back=False)
        updates(*space.constant, rates, rule.n_steps, X, Y, order, n_examples)
        space.copy(self.flats, back=True)
