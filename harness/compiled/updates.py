"""The updates of a replica as machine code: the equations of `network.optimizers`, around those of `network`.

For small batches NumPy pays the interpreter for every operation, some twenty per update. Here a whole run of updates is
one call, so an update costs its arithmetic.
"""

from typing import Any

import numpy as np

from harness.compiled.compiler import Choice, compiled, entry_point
from harness.compiled.functions import costs, inplace_backward, inplace_delta
from harness.compiled.network import add_gradients, forward_from
from harness.compiled.vectors import between, filled, lanes_of, load, number_at, plus, prefetch, store, total
from harness.network import inplace_reduce

# The one place where sum becomes mean, from its own source.
inplace_compiled_reduce = compiled(inplace_reduce)
SUM, MEAN = Choice("sum"), Choice("mean")


@compiled
def inplace_clip(g: Any, clip_norm: float) -> None:
    """g <- g · min(1, c / ‖g‖), g (P,)."""
    squared = 0.0
    for i in range(g.size):
        squared += np.float64(g[i]) * np.float64(g[i])
    norm = np.sqrt(squared)
    if not norm <= clip_norm:
        scale = g.dtype.type(clip_norm / norm)
        for i in range(g.size):
            g[i] *= scale


@compiled
def inplace_step(code: int, theta: Any, g: Any, slot: Any, slot2: Any, rate: float, rates: Any, t: int) -> None:
    """One step of the rule `code`; rate: η; rates: μ, β1, β2, ε. t counts updates from 1."""
    number = theta.dtype.type
    eta, mu, epsilon = number(rate), number(rates[0]), number(rates[3])
    beta1, beta2 = number(rates[1]), number(rates[2])
    rest1, rest2 = number(1 - rates[1]), number(1 - rates[2])
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
        correction = np.sqrt(1 - rates[2] ** t) / (1 - rates[1] ** t)
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
    """out_i = X_rows[start + i], i < n; vector by vector, for LLVM would call the C library for every row."""
    lanes = lanes_of(X)
    whole = n_columns - n_columns % lanes
    for i in range(n):
        source, to = rows[start + i] * n_columns, i * n_columns
        for j in range(0, whole, lanes):
            store(out, to + j, load(X, source + j))
        for j in range(whole, n_columns):
            out[to + j] = number_at(X, source + j)


# Plain gradient steps from one example each: 2.5 times as fast as the general code, because passing over the weights
# takes almost all of such an update. So no gradient is stored, and the pass that moves the first layer's weights, which
# are most, also multiplies them with the next example. Sum and mean are the same.


@compiled
def inplace_back_and_step(
    eta: Any, A: Any, at: int, n_in: int, delta: Any, delta_at: int, width: int, theta: Any, W: int, before: Any
) -> None:
    """before = W delta, at the same place as A; then W <- W − η Aᵀ delta and b <- b − η delta: row by row of W."""
    lanes, zeros = lanes_of(theta), filled(theta.dtype.type(0))
    for i in range(at, at + n_in):
        vector, a = zeros, -eta * number_at(A, i)
        for j in range(0, width, lanes):
            W_j, delta_j = load(theta, W + j), load(delta, delta_at + j)
            vector = plus(vector, W_j, delta_j)
            store(theta, W + j, plus(W_j, a, delta_j))
        before[i] = total(vector)
        W += width
    for j in range(0, width, lanes):
        store(theta, W + j, plus(load(theta, W + j), -eta, load(delta, delta_at + j)))


@compiled
def inplace_step_and_forward(
    eta: Any, X: Any, x: int, following: int, n_in: int, delta: Any, delta_at: int, width: int, theta: Any, Z: Any
) -> None:
    """The step of the first layer, and Z = X W + b of the example that begins at `following`, with `forward`'s bits."""
    lanes, whole, one = lanes_of(theta), n_in - n_in % 4, theta.dtype.type(1)
    zeros = filled(theta.dtype.type(0))
    for j in range(0, width, lanes):
        vector, w, b = load(delta, delta_at + j), j, n_in * width + j
        Z0, Z1, Z2, Z3 = zeros, zeros, zeros, zeros
        for k in range(0, whole, 4):
            W0 = plus(load(theta, w), -eta * number_at(X, x + k), vector)
            W1 = plus(load(theta, w + width), -eta * number_at(X, x + k + 1), vector)
            W2 = plus(load(theta, w + 2 * width), -eta * number_at(X, x + k + 2), vector)
            W3 = plus(load(theta, w + 3 * width), -eta * number_at(X, x + k + 3), vector)
            store(theta, w, W0)
            store(theta, w + width, W1)
            store(theta, w + 2 * width, W2)
            store(theta, w + 3 * width, W3)
            Z0, Z1 = plus(Z0, number_at(X, following + k), W0), plus(Z1, number_at(X, following + k + 1), W1)
            Z2, Z3 = plus(Z2, number_at(X, following + k + 2), W2), plus(Z3, number_at(X, following + k + 3), W3)
            w += 4 * width
        Z0 = plus(plus(Z0, one, Z1), one, plus(Z2, one, Z3))
        for k in range(whole, n_in):
            W0 = plus(load(theta, w), -eta * number_at(X, x + k), vector)
            store(theta, w, W0)
            Z0 = plus(Z0, number_at(X, following + k), W0)
            w += width
        bias = plus(load(theta, b), -eta, vector)
        store(theta, b, bias)
        store(Z, j, plus(bias, one, Z0))


@entry_point
def single_updates(
    theta: Any, sizes: Any, widths: Any, activation: Any, loss: Any, products: Any, A: Any, deltas: Any, in_order: Any,
    etas: Any, X: Any, Y: Any, rows: Any, n_examples: int,
) -> None:  # fmt: skip
    """One replica through n_examples, of the numbers in rows or, without any, in order; see `add_gradients`.

    etas: η of each update, or one for all.
    """
    last, D, K = sizes.size - 1, sizes[0], sizes[sizes.size - 1]
    for i in range(n_examples):
        number, eta = rows[i] if rows.size else i, theta.dtype.type(etas[min(i, etas.size - 1)])
        W, z = forward_from(
            2 if i else 1, theta, sizes, widths, activation, products, 1, X, number * D, in_order, in_order, A
        )
        inplace_delta(loss, between(A, z, z + widths[last]), 1, widths[last], Y, number * K, in_order, K)
        delta, d = A, z
        for layer in range(last, 1, -1):
            height, width = widths[layer - 1], widths[layer]
            z -= height
            inplace_back_and_step(eta, A, z, height, delta, d, width, theta, W, deltas)
            inplace_backward(activation, between(deltas, z, z + height), between(A, z, z + height))
            delta, d, W = deltas, z, W - (widths[layer - 2] + 1) * height
        if rows.size > i + 2:  # the example after the next may lie anywhere in memory: load it meanwhile
            for j in range(rows[i + 2] * D, (rows[i + 2] + 1) * D, lanes_of(X)):
                prefetch(X, j)
        following = min(i + 1, n_examples - 1)  # after the last, itself: that product is not used
        if rows.size:
            following = rows[following]
        inplace_step_and_forward(eta, X, number * D, following * D, D, delta, d, widths[1], theta, A)


@entry_point
def updates(
    theta: Any, g: Any, slot: Any, slot2: Any, decay: Any, clip_norm: float, sizes: Any, widths: Any, activation: Any,
    loss: Any, products: Any, rule: int, at_once: bool, mean: bool, share: Any, batch_size: int, piece: int, A: Any,
    deltas: Any, transposed: Any, in_order: Any, X_here: Any, etas: Any, rates: Any, t: int, X: Any, Y: Any, rows: Any,
    n_examples: int,
) -> None:  # fmt: skip
    """One replica through n_examples in batches of batch_size: gradient, reduction, step; the weights move.

    at_once: each product moves its weights, and no gradient is stored. mean: the reduction; share: room for a number.
    piece: examples whose gradients are computed at a time. etas: η of each update, or one for all. rows: the examples
    in their order; empty when X and Y begin with them and lie in order. in_order: 0, 1, … X_here: room for the inputs
    of a piece, which BLAS wants one after the other; empty where the first layer is not wide.
    """
    D, K, first = sizes[0], sizes[sizes.size - 1], t
    for start in range(0, n_examples, batch_size):
        stop, eta = min(start + batch_size, n_examples), etas[min(t - first, etas.size - 1)]
        share[0] = 1  # of an example in the gradient: multiplying with it takes a tenth of the time of dividing
        if mean:
            inplace_compiled_reduce(share, MEAN, g.dtype.type(stop - start))
        else:
            inplace_compiled_reduce(share, SUM, g.dtype.type(stop - start))
        into, factor = (theta, -g.dtype.type(eta) * share[0]) if at_once else (g, g.dtype.type(1))
        for i in range(0 if at_once else g.size):
            g[i] = 0
        for here in range(start, stop, piece):
            n = min(piece, stop - here)
            X_of, x, y, X_rows, Y_rows = X, here * D, here * K, in_order, in_order
            if rows.size:
                x, y, X_rows = 0, 0, between(rows, here, here + n)
                Y_rows = X_rows
            if rows.size and X_here.size:
                gather(X, rows, here, n, D, X_here)
                X_of, X_rows = X_here, in_order
            add_gradients(
                theta, factor, into, sizes, widths, activation, loss, products, n, X_of, x, X_rows, Y, y, Y_rows,
                in_order, A, deltas, transposed,
            )  # fmt: skip
        t += 1
        if not at_once:
            for i in range(g.size):
                g[i] *= share[0]
            if clip_norm > 0:
                inplace_clip(g, clip_norm)
            for i in range(decay.size):
                g[i] += decay[i] * theta[i]
            inplace_step(rule, theta, g, slot, slot2, eta, rates, t)


@entry_point
def evaluate_rows(
    theta: Any, sizes: Any, widths: Any, activation: Any, loss: Any, products: Any, in_order: Any, X: Any, Y: Any,
    n_examples: int, A: Any, quality: Any,
) -> float:  # fmt: skip
    """The summed cost of n_examples; in_order: 0, 1, …, as many as are taken at a time."""
    cost, last, piece = 0.0, sizes.size - 1, in_order.size
    D, K, width = sizes[0], sizes[last], widths[last]
    for here in range(0, n_examples, piece):
        n = min(piece, n_examples - here)
        _, at = forward_from(1, theta, sizes, widths, activation, products, n, X, here * D, in_order, in_order, A)
        cost += costs(loss, between(A, at, at + n * width), n, width, Y, here * K, K, quality)
    return cost
