"""The updates of a replica as machine code: the equations of `network.optimizers`, around those of `network`.

For small batches NumPy pays the interpreter for every operation, some twenty per update. Here a whole run of updates is
one call, so an update costs its arithmetic.
"""

from typing import Any

import numpy as np

from harness.compiled.network import add_gradients
from harness.compiled.single import single_updates
from harness.compiled.vectors import compiled, entry_point
from harness.network import inplace_reduce

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


@entry_point
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
