"""The updates of a replica as machine code: the equations of `mlp`, `losses`, `optimizers`, compiled by Numba.

For small batches NumPy pays the interpreter for every operation, some twenty per update. Here a whole run of updates is
one call, so an update costs its arithmetic. Each replica is trained by itself, which makes a stack and its replicas
alone the same bits; against the vectorised engine only the order of sums and the last bit of e^x differ.

Compiled once per dtype and kept on disk (`cache=True`). This is the only module that knows Numba, and it is imported
only by who asks for `engine=compiled`. The exponential is written out because Numba would call the C library for each
number, while a loop of multiplications and additions becomes SIMD: a quarter of the time, same error of 1 ulp.
"""

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numba
import numpy as np
import scipy.linalg.cython_blas  # noqa: F401  Numba's products call it: loaded here, before somebody pins BLAS threads
from numpy.typing import NDArray

from harness import reduction
from harness.mlp import MLP, Parameters
from harness.optimizers import SGD, Adam, Momentum, Nesterov, Optimizer, RMSProp

Array = NDArray[np.floating]
Batch = slice | NDArray[np.intp]
Function = Callable[..., Any]

ACTIVATIONS = {"identity": 0, "sigmoid": 1, "tanh": 2, "relu": 3}
LOSSES = {"half_squared_error": 0, "sigmoid_cross_entropy": 1, "softmax_cross_entropy": 2}
RULES: dict[type[Optimizer], int] = {SGD: 0, Momentum: 1, Nesterov: 2, Adam: 3, RMSProp: 4}
RATES = ("momentum", "beta1", "beta2", "epsilon")


def cache_directory() -> str:
    """Another one whenever a source changes: Numba watches the file of a function, not those of what it calls."""
    sources = b"".join(Path(file).read_bytes() for file in (__file__, reduction.__file__))
    digest = hashlib.sha256(sources).hexdigest()[:16]
    return str(Path(numba.config.CACHE_DIR or Path(__file__).parent / "__pycache__") / f"compiled-{digest}")


CACHE = cache_directory()


def compiled(function: Function) -> Function:
    """IEEE semantics but for one thing: a b + c may be rounded once (fused). x / 0 is inf, as in NumPy."""
    elsewhere, numba.config.CACHE_DIR = numba.config.CACHE_DIR, CACHE
    try:
        return numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})(function)
    finally:
        numba.config.CACHE_DIR = elsewhere


inplace_compiled_reduce = compiled(
    reduction.inplace_reduce
)  # the one place where sum becomes mean, from its own source


# e^x = 2^k e^r, k = round(x / log 2), |r| <= ½ log 2, e^r by its Taylor series. Adding 1.5 · 2^52 rounds to an integer
# that sits in the low bits of the sum, from where it is shifted into the exponent. NaN goes through.

ROUND64, ROUND32 = 1.5 * 2.0**52, np.float32(1.5 * 2.0**23)
LOG2_E64, LOG2_E32 = 1 / np.log(2), np.float32(1 / np.log(2))
LN2_HIGH64, LN2_LOW64 = 6.93147180369123816490e-01, 1.90821492927058770002e-10  # of fdlibm: k · high is exact
LN2_HIGH32, LN2_LOW32 = np.float32(0.693359375), np.float32(-2.12194440e-4)  # of Cephes
SERIES64 = tuple(1 / float(np.prod(np.arange(1.0, n + 1))) for n in range(13, -1, -1))
SERIES32 = tuple(np.float32(c) for c in SERIES64[6:])
LOWEST64, HIGHEST64 = -708.0, 709.0
LOWEST32, HIGHEST32 = np.float32(-87.0), np.float32(88.0)


@compiled
def exp64(x: Any) -> Any:
    x = LOWEST64 if x < LOWEST64 else (HIGHEST64 if x > HIGHEST64 else x)
    shifted = x * LOG2_E64 + ROUND64
    k = shifted - ROUND64
    r = (x - k * LN2_HIGH64) - k * LN2_LOW64
    e_r = SERIES64[0]
    for c in SERIES64[1:]:
        e_r = e_r * r + c
    return e_r * np.int64((np.float64(shifted).view(np.int64) + 1023) << 52).view(np.float64)


@compiled
def exp32(x: Any) -> Any:
    x = LOWEST32 if x < LOWEST32 else (HIGHEST32 if x > HIGHEST32 else x)
    shifted = x * LOG2_E32 + ROUND32
    k = shifted - ROUND32
    r = (x - k * LN2_HIGH32) - k * LN2_LOW32
    e_r = SERIES32[0]
    for c in SERIES32[1:]:
        e_r = e_r * r + c
    return e_r * np.int32((np.float32(shifted).view(np.int32) + 127) << 23).view(np.float32)


@compiled
def inplace_exp(z: Any) -> None:
    """z <- e^z, z (n,); below -708 (-87 in single precision) as at it, above 709 (88) likewise: never 0, never inf."""
    if z.itemsize == 8:
        for i in range(z.size):
            z[i] = exp64(z[i])
    else:
        for i in range(z.size):
            z[i] = exp32(z[i])


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


# Losses: logits z of b examples, K columns each, become ∂cost/∂z = prediction − y.


@compiled
def inplace_softmax(z: Any, n_columns: int) -> None:
    """z_k <- e^(z_k − max z) / Σ_k e^(z_k − max z), row by row."""
    for start in range(0, z.size, n_columns):
        row = z[start : start + n_columns]
        largest = row[0]
        for k in range(1, n_columns):
            largest = row[k] if row[k] > largest else largest
        for k in range(n_columns):
            row[k] -= largest
    inplace_exp(z)
    for start in range(0, z.size, n_columns):
        row = z[start : start + n_columns]
        total = row[0]
        for k in range(1, n_columns):
            total += row[k]
        for k in range(n_columns):
            row[k] /= total


@compiled
def inplace_delta(code: int, z: Any, y: Any, n_columns: int) -> None:
    """z <- prediction − y."""
    if code == 1:
        inplace_sigmoid(z)
    elif code == 2:
        inplace_softmax(z, n_columns)
    for i in range(z.size):
        z[i] -= y[i]


# Products of matrices whose rows lie one after the other: BLAS, but loops where its overhead exceeds the arithmetic.

SMALL = 16  # examples


@compiled
def inplace_add_rows(out: Any, c: Any, step: int, n_rows: int, rows: Any) -> None:
    """out += Σ_k c[k step] row_k; four rows at a time, so that `out` is read and written a quarter as often."""
    n = out.size
    fours = n_rows - n_rows % 4
    for k in range(0, fours, 4):
        c0, c1, c2, c3 = c[k * step], c[(k + 1) * step], c[(k + 2) * step], c[(k + 3) * step]
        row0, row1 = rows[k * n : (k + 1) * n], rows[(k + 1) * n : (k + 2) * n]
        row2, row3 = rows[(k + 2) * n : (k + 3) * n], rows[(k + 3) * n : (k + 4) * n]
        for j in range(n):
            out[j] += c0 * row0[j] + c1 * row1[j] + c2 * row2[j] + c3 * row3[j]
    for k in range(fours, n_rows):
        c0, row0 = c[k * step], rows[k * n : (k + 1) * n]
        for j in range(n):
            out[j] += c0 * row0[j]


@compiled
def forward(n: int, A: Any, W: Any, b: Any, Z: Any) -> None:
    """Z = A W + b."""
    n_in, n_out = A.size // n, b.size
    if n > SMALL:
        np.dot(A.reshape(n, n_in), W.reshape(n_in, n_out), Z.reshape(n, n_out))
        for i in range(n):
            row = Z[i * n_out : (i + 1) * n_out]
            for j in range(n_out):
                row[j] += b[j]
        return
    for i in range(n):
        row = Z[i * n_out : (i + 1) * n_out]
        for j in range(n_out):
            row[j] = b[j]
        inplace_add_rows(row, A[i * n_in :], 1, n_in, W)


@compiled
def gradient(n: int, A: Any, delta: Any, dW: Any, db: Any) -> None:
    """dW = Aᵀ delta; db = Σ_rows delta."""
    n_in, n_out = A.size // n, db.size
    if n > 1:
        np.dot(A.reshape(n, n_in).T, delta.reshape(n, n_out), dW.reshape(n_in, n_out))
    else:
        for i in range(n_in):
            a, row = A[i], dW[i * n_out : (i + 1) * n_out]
            for j in range(n_out):
                row[j] = a * delta[j]
    for j in range(n_out):
        db[j] = delta[j]
    for i in range(1, n):
        row = delta[i * n_out : (i + 1) * n_out]
        for j in range(n_out):
            db[j] += row[j]


@compiled
def inplace_plain_step(eta: Any, A: Any, delta: Any, W: Any, b: Any) -> None:
    """W <- W − η Aᵀ delta; b <- b − η delta, of one example: without a pass over memory for the gradient."""
    n_out = b.size
    for i in range(A.size):
        a, row = eta * A[i], W[i * n_out : (i + 1) * n_out]
        for j in range(n_out):
            row[j] -= a * delta[j]
    for j in range(n_out):
        b[j] -= eta * delta[j]


@compiled
def back(n: int, delta: Any, W: Any, before: Any) -> None:
    """before = delta Wᵀ."""
    n_out = delta.size // n
    if n > 1:
        np.dot(delta.reshape(n, n_out), W.reshape(before.size // n, n_out).T, before.reshape(n, before.size // n))
        return
    for i in range(before.size):
        row = W[i * n_out : (i + 1) * n_out]
        total = delta[0] * row[0]
        for j in range(1, n_out):
            total += delta[j] * row[j]
        before[i] = total


@compiled
def gradient_into(
    theta: Any, grads: Any, sizes: Any, activation: int, loss: int, n: int, X: Any, Y: Any, A: Any, deltas: Any,
    step_at_once: bool, eta: Any,
) -> None:  # fmt: skip
    """A_0 = X; Z_l = A_(l−1) W_l + b_l; A_l = θ(Z_l). delta_L = ∂cost/∂Z_L; delta_(l−1) = delta_l W_lᵀ ∘ θ'(Z_(l−1)).

    n examples. theta, grads: (P,), the layers' W and b one after the other; A and deltas hold the layers' A_l, delta_l.
    step_at_once: the plain step of a single example, layer by layer, when delta has gone back through W; no gradient.
    """
    last = sizes.size - 1
    below, start, at = X, 0, 0
    for layer in range(1, last + 1):
        n_out = sizes[layer]
        b, end = start + sizes[layer - 1] * n_out, start + (sizes[layer - 1] + 1) * n_out
        Z = A[at : at + n * n_out]
        forward(n, below, theta[start:b], theta[b:end], Z)
        if layer < last:
            inplace_activation(activation, Z)
        below, start, at = Z, end, at + Z.size
    delta = below
    inplace_delta(loss, delta, Y, sizes[last])
    at -= delta.size
    for layer in range(last, 0, -1):
        n_in, n_out = sizes[layer - 1], sizes[layer]
        end, start = start, start - (n_in + 1) * n_out
        b = start + n_in * n_out
        below = X
        before = delta  # of the first layer nothing goes back
        if layer > 1:
            at -= n * n_in
            below, before = A[at : at + n * n_in], deltas[at : at + n * n_in]
            back(n, delta, theta[start:b], before)
        if step_at_once:
            inplace_plain_step(eta, below, delta, theta[start:b], theta[b:end])
        else:
            gradient(n, below, delta, grads[start:b], grads[b:end])
        if layer > 1:
            inplace_activation_backward(activation, before, below)
            delta = before


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
def gather(X: Any, rows: Any, n_columns: int, out: Any) -> None:
    """out_i = X_rows[i]."""
    for i in range(rows.size):
        source = X[rows[i] * n_columns : (rows[i] + 1) * n_columns]
        target = out[i * n_columns : (i + 1) * n_columns]
        for j in range(n_columns):
            target[j] = source[j]


@compiled
def batch_of(X: Any, rows: Any, n_columns: int, start: int, n: int, out: Any) -> Any:
    """n examples from the place `start` of the order: as they lie if there are no rows, else gathered in `out`."""
    if rows.size and n > 1:
        gather(X, rows[start : start + n], n_columns, out)
        return out[: n * n_columns]
    first = rows[start] if rows.size else start
    return X[first * n_columns : (first + n) * n_columns]


@compiled
def updates(
    theta: Any, grads: Any, slot: Any, slot2: Any, decay: Any, clip_norm: float, codes: Any, sizes: Any,
    batch_size: int, kind: str, A: Any, deltas: Any, X_here: Any, Y_here: Any,
    rates: Any, t: int, X: Any, Y: Any, rows: Any, n_examples: int,
) -> None:  # fmt: skip
    """One replica through n_examples in batches of batch_size: gradient, reduction, step; the weights move.

    kind: of the reduction. rows: the examples in their order; empty when X and Y begin with them and lie in order.
    """
    D, K = sizes[0], sizes[sizes.size - 1]
    plain = codes[2] == 0 and clip_norm == 0 and decay.size == 0
    eta = theta.dtype.type(rates[0])
    for start in range(0, n_examples, batch_size):
        n = min(batch_size, n_examples - start)
        X_batch, Y_batch = batch_of(X, rows, D, start, n, X_here), batch_of(Y, rows, K, start, n, Y_here)
        alone = plain and n == 1  # then sum is mean, and the step needs no gradient of all layers
        gradient_into(theta, grads, sizes, codes[0], codes[1], n, X_batch, Y_batch, A, deltas, alone, eta)
        t += 1
        if alone:
            continue
        inplace_compiled_reduce(grads, kind, grads.dtype.type(n))
        if clip_norm > 0:
            inplace_clip(grads, clip_norm)
        for i in range(decay.size):
            grads[i] += decay[i] * theta[i]
        inplace_step(codes[2], theta, grads, slot, slot2, rates, t)


class Compiled:
    """Runs the updates of a stack, replica by replica; several at the same time when threads > 1."""

    def __init__(self, threads: int = 1) -> None:
        self.threads = threads
        self._network: MLP | None = None  # whose replicas are bound
        self._replicas: list[Replica] = []

    def run(
        self, network: MLP, grads: Parameters, optimizer: Optimizer, train_set: tuple[Array, Array], examples: Batch,
        batch_size: int, kind: str,
    ) -> int:  # fmt: skip
        """All updates that come of cutting `examples`, a slice or (R, n) rows, into batches; returns how many."""
        if self._network is not network:
            every = range(len(network.params.flat))
            self._replicas = [Replica(r, network, grads, optimizer, train_set, batch_size, kind) for r in every]
            self._network = network
        if self.threads == 1 or len(self._replicas) == 1:
            for replica in self._replicas:
                replica(examples)
        else:
            with ThreadPoolExecutor(self.threads) as pool:
                list(pool.map(lambda replica: replica(examples), self._replicas))
        n_examples = examples.stop - examples.start if isinstance(examples, slice) else examples.shape[1]
        n_updates = -(-n_examples // batch_size)
        optimizer.n_steps += n_updates
        return n_updates


class Replica:
    """One replica of a stack: what `updates` takes of it, gathered once."""

    def __init__(
        self, r: int, network: MLP, grads: Parameters, optimizer: Optimizer, train_set: tuple[Array, Array],
        batch_size: int, kind: str,
    ) -> None:  # fmt: skip
        self.r, self.optimizer = r, optimizer
        sizes, self.dtype = network.params.sizes, network.params.flat.dtype
        X, Y = (np.require(V if V.ndim == 2 else V[r], self.dtype, ["C", "W"]) for V in train_set)
        self.X, self.Y, self.n_columns = X.reshape(-1), Y.reshape(-1), (X.shape[1], Y.shape[1])
        self.no_rows = np.empty(0, np.intp)
        nothing = np.empty(0, self.dtype)
        slots = [*(slot[r] for slot in optimizer.slots), nothing, nothing]
        codes = ACTIVATIONS[network.activation_name], LOSSES[network.loss_name], RULES[type(optimizer)]
        self.constant = (
            network.params.flat[r], grads.flat[r], slots[0], slots[1],
            nothing if optimizer.decay is None else optimizer.decay[0], optimizer.clip_norm or 0.0,
            np.array(codes), np.array(sizes), batch_size, kind,
            *(np.empty(batch_size * n, self.dtype) for n in (sum(sizes[1:]), sum(sizes[1:]), sizes[0], sizes[-1])),
        )  # fmt: skip

    def __call__(self, examples: Batch) -> None:
        rule, X, Y, rows = self.optimizer, self.X, self.Y, self.no_rows
        if isinstance(examples, slice):
            D, K = self.n_columns
            X, Y, n_examples = X[examples.start * D :], Y[examples.start * K :], examples.stop - examples.start
        else:
            rows = np.ascontiguousarray(examples[self.r])
            n_examples = rows.size
        eta = rule.learning_rate[self.r if len(rule.learning_rate) > 1 else 0, 0]
        rates = np.array([eta, *(getattr(rule, name, 0.0) for name in RATES)])
        updates(*self.constant, rates, rule.n_steps, X, Y, rows, n_examples)
