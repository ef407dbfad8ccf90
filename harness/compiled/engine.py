"""The updates of a replica as machine code: the equations of `network.optimizers`, around those of `network`.

For small batches NumPy pays the interpreter for every operation, some twenty per update. Here a whole run of updates is
one call, so an update costs its arithmetic. Each replica is trained by itself, which makes a stack and its replicas
alone the same bits. Compiled once per dtype and kept on disk (`cache=True`). Only `engine=compiled`
imports this module.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from queue import SimpleQueue
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from harness.compiled.evaluation import evaluated
from harness.compiled.network import (
    BLAS_EXAMPLES,
    BLAS_WEIGHTS,
    PIECE,
    add_gradients,
    copy_rows,
    flat_rows,
    layout,
    n_padded,
)
from harness.compiled.single import single_updates
from harness.compiled.vectors import compiled
from harness.network import (
    MLP,
    SGD,
    Adam,
    Engine,
    Momentum,
    Nesterov,
    Optimizer,
    RMSProp,
    Rows,
    Set,
    inplace_reduce,
    score,
)

Array = NDArray[np.floating]
T = TypeVar("T")
U = TypeVar("U")

RULES: dict[type[Optimizer], int] = {SGD: 0, Momentum: 1, Nesterov: 2, Adam: 3, RMSProp: 4}
RATES = ("momentum", "beta1", "beta2", "epsilon")


# The one place where sum becomes mean, from its own source.
inplace_compiled_reduce = compiled(inplace_reduce)


# What a reduced gradient g (P,) does to theta: clip, decay, then the optimiser's rule; see `optimizers`.


@compiled
def inplace_clip(g: Any, clip_norm: float) -> None:
    """g <- g · min(1, c / ‖g‖)."""
    squared = 0.0
    for i in range(g.size):
        squared += np.float64(g[i]) * np.float64(g[i])
    norm = np.sqrt(squared)
    if not norm <= clip_norm:
        scale = g.dtype.type(clip_norm / norm)
        for i in range(g.size):
            g[i] *= scale


@compiled
def inplace_step(code: int, theta: Any, g: Any, slot: Any, slot2: Any, rates: Any, t: int) -> None:
    """One step of the rule `code`; rates: η, μ, β1, β2, ε. t counts updates from 1."""
    number = theta.dtype.type
    eta, mu, beta1, beta2, epsilon = (
        number(rates[0]), number(rates[1]), number(rates[2]), number(rates[3]), number(rates[4]),
    )  # fmt: skip
    rest1, rest2 = number(1 - rates[2]), number(1 - rates[3])
    if code == 0:  # θ <- θ − η g
        for i in range(g.size):
            theta[i] -= eta * g[i]
    elif code == 1:  # v <- μ v − η g; θ <- θ + v
        for i in range(g.size):
            slot[i] = mu * slot[i] - eta * g[i]
            theta[i] += slot[i]
    elif code == 2:  # v <- μ v − η g; θ <- θ + μ v − η g
        for i in range(g.size):
            slot[i] = mu * slot[i] - eta * g[i]
            theta[i] += mu * slot[i] - eta * g[i]
    elif code == 3:  # m <- β1 m + (1 − β1) g; v <- β2 v + (1 − β2) g²; θ <- θ − η √(1 − β2ᵗ)/(1 − β1ᵗ) · m / (√v + ε)
        correction = np.sqrt(1 - rates[3] ** t) / (1 - rates[2] ** t)
        corrected = eta * number(correction)
        for i in range(g.size):
            slot[i] = beta1 * slot[i] + rest1 * g[i]
            slot2[i] = beta2 * slot2[i] + rest2 * (g[i] * g[i])
            theta[i] -= corrected * (slot[i] / (np.sqrt(slot2[i]) + epsilon))
    else:  # v <- β2 v + (1 − β2) g²; θ <- θ − η g / (√v + ε)
        for i in range(g.size):
            slot[i] = beta2 * slot[i] + rest2 * (g[i] * g[i])
            theta[i] -= eta * (g[i] / (np.sqrt(slot[i]) + epsilon))


@compiled
def gather(X: Any, rows: Any, start: int, n: int, n_columns: int, out: Any) -> None:
    """out_i = X_rows[start + i], i < n."""
    for i in range(n):
        source = rows[start + i] * n_columns
        for j in range(n_columns):
            out[i * n_columns + j] = X[source + j]


@compiled
def updates(
    theta: Any, g: Any, slot: Any, slot2: Any, decay: Any, clip_norm: float, codes: Any, sizes: Any, widths: Any,
    batch_size: int, kind: str, piece: int, A: Any, deltas: Any, transposed: Any, X_here: Any, Y_here: Any,
    rates: Any, t: int, X: Any, Y: Any, rows: Any, n_examples: int,
) -> None:  # fmt: skip
    """One replica through n_examples in batches of batch_size: gradient, reduction, step; the weights move.

    kind: of the reduction. piece: examples whose gradients are computed at a time. rows: the examples in their order;
    empty when X and Y begin with them and lie in order.
    """
    D, K = sizes[0], sizes[sizes.size - 1]
    if batch_size == 1 and codes[2] == 0 and clip_norm == 0 and decay.size == 0:
        eta = theta.dtype.type(rates[0])
        single_updates(theta, sizes, widths, codes[0], codes[1], eta, X, Y, rows, n_examples, A, deltas)
        return
    for start in range(0, n_examples, batch_size):
        stop = min(start + batch_size, n_examples)
        g[:] = 0
        for here in range(start, stop, piece):
            n = min(piece, stop - here)
            X_of, x, Y_of, y = X, here * D, Y, here * K
            if rows.size and n == 1:
                x, y = rows[here] * D, rows[here] * K
            elif rows.size:
                gather(X, rows, here, n, D, X_here)
                gather(Y, rows, here, n, K, Y_here)
                X_of, x, Y_of, y = X_here, 0, Y_here, 0
            add_gradients(theta, g, sizes, widths, codes[0], codes[1], n, X_of, x, Y_of, y, A, deltas, transposed)
        t += 1
        inplace_compiled_reduce(g, kind, g.dtype.type(stop - start))
        if clip_norm > 0:
            inplace_clip(g, clip_norm)
        for i in range(decay.size):
            g[i] += decay[i] * theta[i]
        inplace_step(codes[2], theta, g, slot, slot2, rates, t)


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
            np.array([*codes, RULES[type(optimizer)]]), self.sizes, self.widths, batch_size, reduction, piece,
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
        eta = rule.learning_rate[self.r if len(rule.learning_rate) > 1 else 0, 0]
        rates = np.array([eta, *(getattr(rule, name, 0.0) for name in RATES)])
        space.copy(self.flats, back=False)
        updates(*space.constant, rates, rule.n_steps, X, Y, order, n_examples)
        space.copy(self.flats, back=True)
