"""The updates of a replica as machine code: the equations of `mlp`, `losses`, `optimizers`, compiled by Numba.

For small batches NumPy pays the interpreter for every operation, some twenty per update. Here a whole run of updates is
one call, so an update costs its arithmetic. Each replica is trained by itself, which makes a stack and its replicas
alone the same bits; against the vectorised engine only the order of sums and the last bit of e^x differ.

Rows of weights, activations and deltas are drawn out to whole lines (see `lanes`) with zeros, and a batch is gone
through in pieces whose numbers stay in the core's cache. Wide layers are left to BLAS. Compiled once per dtype and kept
on disk (`cache=True`). Only who asks for `engine=compiled` imports this module.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from queue import SimpleQueue
from typing import Any

import numpy as np
import scipy.linalg.cython_blas  # noqa: F401  Numba's products call it: loaded here, before somebody pins BLAS threads
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from harness import reduction
from harness.lanes import (
    LINE,
    all_of,
    compiled,
    fetch_ahead,
    inplace_exp,
    largest,
    line_at,
    number_at,
    plus,
    set_line,
    total,
    whole_lines,
)  # fmt: skip
from harness.mlp import MLP, Parameters
from harness.optimizers import SGD, Adam, Momentum, Nesterov, Optimizer, RMSProp

Array = NDArray[np.floating]
Batch = slice | NDArray[np.intp]

ACTIVATIONS = {"identity": 0, "sigmoid": 1, "tanh": 2, "relu": 3}
LOSSES = {"half_squared_error": 0, "sigmoid_cross_entropy": 1, "softmax_cross_entropy": 2}
RULES: dict[type[Optimizer], int] = {SGD: 0, Momentum: 1, Nesterov: 2, Adam: 3, RMSProp: 4}
PIECE = 64  # examples
RATES = ("momentum", "beta1", "beta2", "epsilon")


inplace_compiled_reduce = compiled(
    reduction.inplace_reduce
)  # the one place where sum becomes mean, from its own source


# Activations, of all numbers of a layer in a row: (n,).


@compiled
def inplace_sigmoid(z: Any) -> None:
    """1 / (1 + e^(−z))."""
    one = z.dtype.type(1)
    for i in range(z.size):
        z[i] = -z[i]
    inplace_exp(z)
    for i in range(z.size):
        z[i] = one / (one + z[i])


@compiled
def inplace_activation(code: int, z: Any) -> None:
    """z <- θ(z)."""
    zero = z.dtype.type(0)
    if code == 1:
        inplace_sigmoid(z)
    elif code == 2:
        for i in range(z.size):
            z[i] = np.tanh(z[i])
    elif code == 3:
        for i in range(z.size):
            z[i] = zero if z[i] < zero else z[i]


@compiled
def inplace_activation_backward(code: int, delta: Any, a: Any) -> None:
    """delta <- delta ∘ θ'(z), written in a = θ(z)."""
    zero, one = a.dtype.type(0), a.dtype.type(1)
    if code == 1:
        for i in range(a.size):
            delta[i] = delta[i] * a[i] * (one - a[i])
    elif code == 2:
        for i in range(a.size):
            delta[i] = delta[i] * (one - a[i] * a[i])
    elif code == 3:
        for i in range(a.size):
            delta[i] = delta[i] if a[i] > zero else delta[i] * zero


# Losses: logits z of n examples, K columns each in rows of `width`, become ∂cost/∂z = prediction − y.


@compiled
def inplace_softmax(z: Any, n: int, width: int, K: int) -> None:
    """z_k <- e^(z_k − max z) / Σ_k e^(z_k − max z), row by row; what is beyond K counts for nothing."""
    lanes, one, lowest = LINE // z.itemsize, z.dtype.type(1), z.dtype.type(-1e30)
    zeros, ones = all_of(z.dtype.type(0)), all_of(one)
    for start in range(0, n * width, width):
        for k in range(start + K, start + width):
            z[k] = lowest
        top = largest(line_at(z, start))
        for k in range(start + lanes, start + width, lanes):
            top = max(top, largest(line_at(z, k)))
        for k in range(start, start + width, lanes):
            set_line(z, k, plus(line_at(z, k), -top, ones))
    inplace_exp(z)
    for start in range(0, n * width, width):
        whole = zeros
        for k in range(start, start + width, lanes):
            whole = plus(whole, one, line_at(z, k))
        share = one / total(whole)
        for k in range(start, start + width, lanes):
            set_line(z, k, plus(zeros, share, line_at(z, k)))


@compiled
def inplace_delta(code: int, z: Any, n: int, width: int, y: Any, y_at: int, K: int) -> None:
    """z <- prediction − y, and zero beyond K."""
    if code == 1:
        inplace_sigmoid(z)
    elif code == 2:
        inplace_softmax(z, n, width, K)
    for i in range(n):
        for k in range(K):
            z[i * width + k] -= y[y_at + i * K + k]
        for k in range(K, width):
            z[i * width + k] = 0


# Products of matrices whose rows lie one after the other. W, Z, delta and the gradients have rows of whole lines, with
# zeros at their ends: so nothing is left over, and zeros they stay.


@compiled
def add_products(
    C: Any, c: int, n_rows: int, A: Any, at: int, row: int, step: int, n: int, B: Any, b: int, width: int
) -> None:
    """C_r += Σ_k A_rk B_k, k < n; rows C_r = C[c + r width …], B_k = B[b + k width …], numbers A[at + r row + k step].

    Four lines at a time: of four rows, or, where there are fewer, the sums over every fourth k.
    """
    fours, whole, lanes = n_rows - n_rows % 4, n - n % 4, LINE // C.itemsize
    one, zeros = C.dtype.type(1), all_of(C.dtype.type(0))
    for j in range(0, width, lanes):
        for r in range(0, fours, 4):
            first, i, k = c + r * width + j, at + r * row, b + j
            C0, C1 = line_at(C, first), line_at(C, first + width)
            C2, C3 = line_at(C, first + 2 * width), line_at(C, first + 3 * width)
            for _ in range(n):
                B_k = line_at(B, k)
                C0, C1 = plus(C0, number_at(A, i), B_k), plus(C1, number_at(A, i + row), B_k)
                C2, C3 = plus(C2, number_at(A, i + 2 * row), B_k), plus(C3, number_at(A, i + 3 * row), B_k)
                i, k = i + step, k + width
            set_line(C, first, C0)
            set_line(C, first + width, C1)
            set_line(C, first + 2 * width, C2)
            set_line(C, first + 3 * width, C3)
        for r in range(fours, n_rows):
            first, i, k = c + r * width + j, at + r * row, b + j
            C0 = line_at(C, first)
            if whole:
                C1, C2, C3 = zeros, zeros, zeros
                for _ in range(0, whole, 4):
                    C0, C1 = (
                        plus(C0, number_at(A, i), line_at(B, k)),
                        plus(C1, number_at(A, i + step), line_at(B, k + width)),
                    )
                    C2 = plus(C2, number_at(A, i + 2 * step), line_at(B, k + 2 * width))
                    C3 = plus(C3, number_at(A, i + 3 * step), line_at(B, k + 3 * width))
                    i, k = i + 4 * step, k + 4 * width
                C0 = plus(plus(C0, one, C1), one, plus(C2, one, C3))
            for _ in range(whole, n):
                C0 = plus(C0, number_at(A, i), line_at(B, k))
                i, k = i + step, k + width
            set_line(C, first, C0)


WIDE, MANY = 1 << 13, 16  # numbers of a matrix, and examples, from which on BLAS, which tiles for caches, is faster


def _inplace_blas(A: Any, at: int, W: Any, w: int, Z: Any, z: int, n: int, n_in: int, n_out: int, what: int) -> None:
    """Z <- A W (what = 0), W <- Aᵀ Z (1), A <- Z Wᵀ (2) of matrices (n, n_in), (n_in, n_out), (n, n_out)."""
    a = A[at : at + n * n_in].reshape(n, n_in)
    m = W[w : w + n_in * n_out].reshape(n_in, n_out)
    c = Z[z : z + n * n_out].reshape(n, n_out)
    if what == 0:
        np.dot(a, m, c)
    elif what == 1:
        np.dot(a.T, c, m)
    else:
        np.dot(c, m.T, a)


inplace_blas = compiled(_inplace_blas, counted=True)


@compiled
def add_rows(n: int, delta: Any, delta_at: int, width: int, g: Any, db: int) -> None:
    """db += Σ_rows delta."""
    for j in range(0, width, LINE // g.itemsize):
        line, one = line_at(g, db + j), g.dtype.type(1)
        for k in range(delta_at + j, delta_at + n * width, width):
            line = plus(line, one, line_at(delta, k))
        set_line(g, db + j, line)


@compiled
def forward(n: int, A: Any, at: int, height: int, theta: Any, W: int, Z: Any, z: int, width: int) -> None:
    """Z = A W + b."""
    b, lanes, one = W + height * width, LINE // Z.itemsize, Z.dtype.type(1)
    wide = n >= MANY and height * width >= WIDE
    if wide:
        inplace_blas(A, at, theta, W, Z, z, n, height, width, 0)
    for i in range(z, z + n * width, width):
        for j in range(0, width, lanes):
            bias = line_at(theta, b + j)
            set_line(Z, i + j, plus(bias, one, line_at(Z, i + j)) if wide else bias)
    if not wide:
        add_products(Z, z, n, A, at, height, 1, height, theta, W, width)


@compiled
def add_gradient(n: int, A: Any, at: int, height: int, delta: Any, d: int, width: int, g: Any, W: int) -> None:
    """dW += Aᵀ delta; db += Σ_rows delta. BLAS writes over dW: a wide network's batch comes in one piece."""
    if n >= MANY and height * width >= WIDE:
        inplace_blas(A, at, g, W, delta, d, n, height, width, 1)
    else:
        add_products(g, W, height, A, at, 1, height, n, delta, d, width)
    add_rows(n, delta, d, width, g, W + height * width)


@compiled
def back(
    n: int, delta: Any, d: int, n_out: int, width: int, theta: Any, W: int, height: int, before: Any, to: int,
    turned: Any,
) -> None:  # fmt: skip
    """before = delta Wᵀ; for some examples W is turned first."""
    lanes, zeros = LINE // theta.itemsize, all_of(theta.dtype.type(0))
    if n >= MANY and height * width >= WIDE:
        inplace_blas(before, to, theta, W, delta, d, n, height, width, 2)
    elif n >= 4:
        for j in range(n_out):
            for i in range(height):
                turned[j * height + i] = theta[W + i * width + j]
        for i in range(to, to + n * height, lanes):
            set_line(before, i, zeros)
        add_products(before, to, n, delta, d, width, 1, n_out, turned, 0, height)
    else:
        for i in range(n * height):
            r, w = d + i // height * width, W + i % height * width
            line = zeros
            for j in range(0, width, lanes):
                line = plus(line, line_at(theta, w + j), line_at(delta, r + j))
            before[to + i] = total(line)


@compiled
def inplace_plain_step(
    eta: Any, A: Any, at: int, n_in: int, delta: Any, delta_at: int, width: int, theta: Any, W: int
) -> None:
    """W <- W − η Aᵀ delta; b <- b − η delta, of one example: without a pass over memory for the gradient."""
    lanes = LINE // theta.itemsize
    for j in range(0, width - lanes, 2 * lanes):
        line, next_line, w = line_at(delta, delta_at + j), line_at(delta, delta_at + j + lanes), W + j
        for i in range(at, at + n_in):
            a = -eta * number_at(A, i)
            set_line(theta, w, plus(line_at(theta, w), a, line))
            set_line(theta, w + lanes, plus(line_at(theta, w + lanes), a, next_line))
            w += width
        set_line(theta, w, plus(line_at(theta, w), -eta, line))
        set_line(theta, w + lanes, plus(line_at(theta, w + lanes), -eta, next_line))
    if width // lanes % 2:
        line, w = line_at(delta, delta_at + width - lanes), W + width - lanes
        for i in range(at, at + n_in):
            set_line(theta, w, plus(line_at(theta, w), -eta * number_at(A, i), line))
            w += width
        set_line(theta, w, plus(line_at(theta, w), -eta, line))


@compiled
def add_gradients(
    theta: Any, g: Any, sizes: Any, widths: Any, activation: int, loss: int, n: int, X: Any, x: int, Y: Any, y: int,
    A: Any, deltas: Any, turned: Any, step_at_once: bool, eta: Any,
) -> None:  # fmt: skip
    """A_0 = X; Z_l = A_(l−1) W_l + b_l; A_l = θ(Z_l). delta_L = ∂cost/∂Z_L; delta_(l−1) = delta_l W_lᵀ ∘ θ'(Z_(l−1)).

    n examples, whose gradients are added to g. theta, g: the layers' W and b one after the other, in rows of whole
    lines; A and deltas hold the layers' A_l, delta_l. X and Y begin at x and y.
    step_at_once: the plain step of a single example, layer by layer, when delta has gone back through W; no gradient.
    """
    last = sizes.size - 1
    below, at, W, z = X, x, 0, 0
    for layer in range(1, last + 1):
        height, width = widths[layer - 1], widths[layer]
        forward(n, below, at, height, theta, W, A, z, width)
        below, at = A, z
        if layer < last:
            inplace_activation(activation, A[z : z + n * width])
            zero_ends(A, z, n, width, sizes[layer])
            W, z = W + (height + 1) * width, z + n * width
    inplace_delta(loss, A[z : z + n * widths[last]], n, widths[last], Y, y, sizes[last])
    delta, d = A, z
    for layer in range(last, 0, -1):
        height, width = widths[layer - 1], widths[layer]
        below, at = X, x
        if layer > 1:
            z -= n * height
            below, at = A, z
            back(n, delta, d, sizes[layer], width, theta, W, height, deltas, z, turned)
        if step_at_once:
            inplace_plain_step(eta, below, at, height, delta, d, width, theta, W)
        else:
            add_gradient(n, below, at, height, delta, d, width, g, W)
        if layer > 1:
            inplace_activation_backward(activation, deltas[z : z + n * height], A[z : z + n * height])
            delta, d, W = deltas, z, W - (widths[layer - 2] + 1) * height


@compiled
def zero_ends(A: Any, at: int, n: int, width: int, n_out: int) -> None:
    """What fills up rows of n_out numbers: sigmoid has made ½ of it."""
    for i in range(at, at + n * width, width):
        for j in range(i + n_out, i + width):
            A[j] = 0


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
def copy_rows(flat: Any, packed: Any, sizes: Any, widths: Any, unpack: bool) -> None:
    """packed <- flat: (P,) with every row drawn out to whole lines; or back."""
    start = at = 0
    for layer in range(1, sizes.size):
        n_in, n_out, height, width = sizes[layer - 1], sizes[layer], widths[layer - 1], widths[layer]
        for i in range(n_in + 1):
            row = at + (i if i < n_in else height) * width  # the last is b
            for j in range(n_out):
                if unpack:
                    flat[start + j] = packed[row + j]
                else:
                    packed[row + j] = flat[start + j]
            start += n_out
        at += (height + 1) * width


@compiled
def updates(
    theta: Any, g: Any, slot: Any, slot2: Any, decay: Any, clip_norm: float, codes: Any, sizes: Any, widths: Any,
    batch_size: int, kind: str, piece: int, A: Any, deltas: Any, turned: Any, X_here: Any, Y_here: Any,
    rates: Any, t: int, X: Any, Y: Any, rows: Any, n_examples: int,
) -> None:  # fmt: skip
    """One replica through n_examples in batches of batch_size: gradient, reduction, step; the weights move.

    kind: of the reduction. piece: examples whose gradients are computed at a time. rows: the examples in their order;
    empty when X and Y begin with them and lie in order.
    """
    D, K = sizes[0], sizes[sizes.size - 1]
    plain = codes[2] == 0 and clip_norm == 0 and decay.size == 0
    eta = theta.dtype.type(rates[0])
    for start in range(0, n_examples, batch_size):
        stop = min(start + batch_size, n_examples)
        alone = plain and stop - start == 1  # then sum is mean, and the step needs no gradient of all layers
        if not alone:
            g[:] = 0
        for here in range(start, stop, piece):
            n = min(piece, stop - here)
            if rows.size and n > 1:
                gather(X, rows, here, n, D, X_here)
                gather(Y, rows, here, n, K, Y_here)
                add_gradients(
                    theta, g, sizes, widths, codes[0], codes[1], n, X_here, 0, Y_here, 0, A, deltas, turned, alone, eta
                )
            else:
                first = rows[here] if rows.size else here
                if rows.size > here + 1:  # the next example may lie anywhere: it is on its way during this update
                    for j in range(rows[here + 1] * D, (rows[here + 1] + 1) * D, LINE // X.itemsize):
                        fetch_ahead(X, j)
                add_gradients(
                    theta,
                    g,
                    sizes,
                    widths,
                    codes[0],
                    codes[1],
                    n,
                    X,
                    first * D,
                    Y,
                    first * K,
                    A,
                    deltas,
                    turned,
                    alone,
                    eta,
                )
        t += 1
        if alone:
            continue
        inplace_compiled_reduce(g, kind, g.dtype.type(stop - start))
        if clip_norm > 0:
            inplace_clip(g, clip_norm)
        for i in range(decay.size):
            g[i] += decay[i] * theta[i]
        inplace_step(codes[2], theta, g, slot, slot2, rates, t)


class Compiled:
    """Runs the updates of a stack, replica by replica; several at the same time when threads > 1."""

    def __init__(self, threads: int = 1) -> None:
        self.threads = threads
        self._network: MLP | None = None  # whose replicas are bound
        self._replicas: list[Replica] = []
        self._spaces: SimpleQueue[Workspace] = SimpleQueue()  # those that no replica is in

    def run(
        self, network: MLP, grads: Parameters, optimizer: Optimizer, train_set: tuple[Array, Array], examples: Batch,
        batch_size: int, kind: str,
    ) -> int:  # fmt: skip
        """All updates that come of cutting `examples`, a slice or (R, n) rows, into batches; returns how many."""
        if self._network is not network:
            self._bind(network, optimizer, train_set, batch_size, kind)
        if self.threads == 1:
            for replica in self._replicas:
                self._train(replica, examples)
        else:  # BLAS stays at one thread, for a replica alone too: the same bits
            with threadpool_limits(1, "blas"), ThreadPoolExecutor(self.threads) as pool:
                list(pool.map(lambda replica: self._train(replica, examples), self._replicas))
        n_examples = examples.stop - examples.start if isinstance(examples, slice) else examples.shape[1]
        n_updates = -(-n_examples // batch_size)
        optimizer.n_steps += n_updates
        return n_updates

    def _bind(
        self, network: MLP, optimizer: Optimizer, train_set: tuple[Array, Array], batch_size: int, kind: str
    ) -> None:
        every = range(len(network.params.flat))
        self._network, self._spaces = network, SimpleQueue()
        self._replicas = [Replica(r, network, optimizer, train_set) for r in every]
        for _ in every[: self.threads]:
            self._spaces.put(Workspace(network, optimizer, batch_size, kind))

    def _train(self, replica: "Replica", examples: Batch) -> None:
        space = self._spaces.get()
        try:
            replica(space, examples)
        finally:
            self._spaces.put(space)


class Workspace:
    """Parameters, gradient and state of one replica in rows of whole lines, and room for a piece of a batch."""

    def __init__(self, network: MLP, optimizer: Optimizer, batch_size: int, kind: str) -> None:
        sizes, dtype = network.params.sizes, network.params.flat.dtype
        widths = [sizes[0], *(whole_lines(n, dtype.itemsize) for n in sizes[1:])]
        shapes = [*pairwise(widths)]
        wide = batch_size >= MANY and any(height * width >= WIDE for height, width in shapes)
        piece = batch_size if wide else min(PIECE, batch_size)
        self.sizes, self.widths = np.array(sizes), np.array(widths)
        n_packed = sum((height + 1) * width for height, width in shapes)
        theta, g, decay, *slots = (np.zeros(n_packed, dtype) for _ in range(3 + len(optimizer.slots)))
        self.moving = theta, *slots
        if optimizer.decay is not None:
            copy_rows(optimizer.decay[0], decay, self.sizes, self.widths, False)
        nothing = np.empty(0, dtype)
        slot, slot2, *_ = *slots, nothing, nothing
        codes = ACTIVATIONS[network.activation_name], LOSSES[network.loss_name], RULES[type(optimizer)]
        turned = max((n_out * height for n_out, height in zip(sizes[2:], widths[1:], strict=False)), default=0)
        per_example = sum(widths[1:]), sum(widths[1:]), sizes[0], sizes[-1]
        A, deltas, X_here, Y_here = (np.empty(piece * n, dtype) for n in per_example)
        self.constant = (
            theta, g, slot, slot2, nothing if optimizer.decay is None else decay, optimizer.clip_norm or 0.0,
            np.array(codes), self.sizes, self.widths, batch_size, kind, piece,
            A, deltas, np.empty(turned, dtype), X_here, Y_here,
        )  # fmt: skip

    def copy(self, flats: Sequence[Array], back: bool) -> None:
        """Parameters and state of a replica, in or out."""
        for flat, packed in zip(flats, self.moving, strict=True):
            copy_rows(flat, packed, self.sizes, self.widths, back)


class Replica:
    """One replica of a stack: where its parameters and state are, and its data."""

    def __init__(self, r: int, network: MLP, optimizer: Optimizer, train_set: tuple[Array, Array]) -> None:
        self.r, self.optimizer = r, optimizer
        self.flats = [flat[r] for flat in (network.params.flat, *optimizer.slots)]
        dtype = network.params.flat.dtype
        X, Y = (np.require(V if V.ndim == 2 else V[r], dtype, ["C", "W"]) for V in train_set)
        self.X, self.Y, self.n_columns = X.reshape(-1), Y.reshape(-1), (X.shape[1], Y.shape[1])
        self.no_rows = np.empty(0, np.intp)

    def __call__(self, space: Workspace, examples: Batch) -> None:
        rule, X, Y, rows = self.optimizer, self.X, self.Y, self.no_rows
        if isinstance(examples, slice):
            D, K = self.n_columns
            X, Y, n_examples = X[examples.start * D :], Y[examples.start * K :], examples.stop - examples.start
        else:
            rows = np.ascontiguousarray(examples[self.r])
            n_examples = rows.size
        eta = rule.learning_rate[self.r if len(rule.learning_rate) > 1 else 0, 0]
        rates = np.array([eta, *(getattr(rule, name, 0.0) for name in RATES)])
        space.copy(self.flats, back=False)
        updates(*space.constant, rates, rule.n_steps, X, Y, rows, n_examples)
        space.copy(self.flats, back=True)
