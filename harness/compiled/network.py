"""The equations of `network.mlp` as machine code: forward and backward, for a piece of a batch of one replica.

Rows of weights, activations and deltas are padded with zeros to whole vectors, so that no loop has a remainder. Wide
layers are left to BLAS. Only roundings differ from the vectorised engine: sums come in another order, e^x in its last
bit, and a mean is multiplied by 1/B.
"""

from itertools import pairwise
from typing import Any

import numpy as np
import scipy.linalg.cython_blas  # noqa: F401  Numba's products call it: loaded before BLAS threads are pinned
from numpy.typing import NDArray

from harness.compiled.compiler import Choice, chosen, compiled, entry_point, has_feature
from harness.compiled.functions import inplace_activation, inplace_backward, inplace_delta
from harness.compiled.vectors import (
    BYTES,
    LINE,
    between,
    filled,
    lanes_of,
    load,
    number_at,
    place,
    plus,
    store,
    tile,
    total,
    transpose_square,
)
from harness.network import MLP

Array = NDArray[np.floating]

PIECE = 64  # examples whose numbers stay in the core's cache
BLAS_WEIGHTS, BLAS_EXAMPLES = 1 << 13, 16  # from as many of both on, BLAS, which tiles for caches, is faster


def padded_width(n: int, itemsize: int) -> int:
    """n, padded to whole vectors; above four lines to an odd number, or a column would fall on few sets of a cache."""
    n_bytes = -(-n * itemsize // BYTES) * BYTES
    return (n_bytes if n_bytes <= 4 * LINE else (-(-n_bytes // LINE) | 1) * LINE) // itemsize


def layout(network: MLP) -> tuple[Array, Array, Choice, Choice, Choice]:
    """What compiled functions need to know of a network: layer sizes, padded widths, θ, loss, who multiplies."""
    sizes, itemsize = network.params.sizes, network.params.flat.itemsize
    widths = [sizes[0], *(padded_width(n, itemsize) for n in sizes[1:])]
    products = Choice("BLAS" if any(h * w >= BLAS_WEIGHTS for h, w in pairwise(widths)) else "vectors")
    return np.array(sizes), np.array(widths), Choice(network.activation_name), Choice(network.loss_name), products


def n_padded(widths: Array) -> int:
    """The number of parameters of a network in padded rows."""
    return int(((widths[:-1] + 1) * widths[1:]).sum())


def flat_rows(V: Array, r: int, dtype: Any) -> Array:
    """The rows of X or Y, (N, D) or (R, N, D), that replica r has, one after the other in one dimension."""
    return np.require(V if V.ndim == 2 else V[r], dtype, ["C", "W"]).reshape(-1)


@entry_point
def copy_rows(flat: Any, padded: Any, sizes: Any, widths: Any, unpack: bool) -> None:
    """padded <- flat (P,), row by row; or back."""
    start, at, lanes = 0, 0, lanes_of(flat)
    for layer in range(1, sizes.size):
        n_in, n_out, height, width = sizes[layer - 1], sizes[layer], widths[layer - 1], widths[layer]
        for i in range(n_in + 1):
            row = at + (i if i < n_in else height) * width  # the last is b
            whole = n_out - n_out % lanes
            for j in range(0, whole, lanes):
                if unpack:
                    store(flat, start + j, load(padded, row + j))
                else:
                    store(padded, row + j, load(flat, start + j))
            for j in range(whole, n_out):
                if unpack:
                    flat[start + j] = padded[row + j]
                else:
                    padded[row + j] = flat[start + j]
            start += n_out
        at += (height + 1) * width


# Products of matrices whose rows lie one after the other. The rows of W, Z, delta and the gradients are padded with
# zeros, which stay zeros as long as all numbers are finite.


ROWS = 8 if has_feature("avx512f") else 4  # of two vectors each: there are 32 registers, or 16
high_pair, four = tile(ROWS, 2), tile(4, 1)


@compiled
def add_products(
    C: Any, c: int, width: int, S: Any, s: int, s_row: int, factor: Any, n_rows: int, A: Any, at: int, r_places: Any,
    row: int, k_places: Any, step: int, n: int, B: Any, b: int,
) -> None:  # fmt: skip
    """C_r = S_r + factor Σ_k A_rk B_k: all rows and columns of a `tile`.

    Columns that make no pair of vectors, and rows that fill no high tile, come in fours, the rest row by row.
    """
    lanes, high, fours = lanes_of(C), n_rows - n_rows % ROWS, n_rows - n_rows % 4
    pairs = width - width % (2 * lanes)
    for j in range(0, pairs, 2 * lanes):
        for r in range(0, high, ROWS):
            to, start = c + r * width + j, s + r * s_row + j
            high_pair(C, to, width, S, start, s_row, factor, A, at, r, r_places, row, k_places, step, n, B, b + j)
    for j in range(0, width, lanes):
        for r in range(high if j < pairs else 0, fours, 4):
            to, start = c + r * width + j, s + r * s_row + j
            four(C, to, width, S, start, s_row, factor, A, at, r, r_places, row, k_places, step, n, B, b + j)
        for r in range(fours, n_rows):
            i = at + place(r_places, r) * row
            sums = sum_of_products(A, i, k_places, step, n, B, b + j, width)
            store(C, c + r * width + j, plus(load(S, s + r * s_row + j), factor, sums))


@compiled
def sum_of_products(A: Any, at: int, places: Any, step: int, n: int, B: Any, b: int, width: int) -> Any:
    """A vector: Σ_k A_k B_k, every fourth k in a sum of its own, so that none waits for the last."""
    zeros, one, whole = filled(B.dtype.type(0)), B.dtype.type(1), n - n % 4
    C0, C1, C2, C3 = zeros, zeros, zeros, zeros
    for k in range(0, whole, 4):
        C0 = plus(C0, number_at(A, at + place(places, k) * step), load(B, b))
        C1 = plus(C1, number_at(A, at + place(places, k + 1) * step), load(B, b + width))
        C2 = plus(C2, number_at(A, at + place(places, k + 2) * step), load(B, b + 2 * width))
        C3 = plus(C3, number_at(A, at + place(places, k + 3) * step), load(B, b + 3 * width))
        b += 4 * width
    C0 = plus(plus(C0, one, C1), one, plus(C2, one, C3))
    for k in range(whole, n):
        C0 = plus(C0, number_at(A, at + place(places, k) * step), load(B, b))
        b += width
    return C0


@compiled
def no_blas(A: Any, at: int, W: Any, w: int, Z: Any, z: int, n: int, n_in: int, n_out: int, what: int) -> None:
    """No layer is wide."""


def _inplace_blas(A: Any, at: int, W: Any, w: int, Z: Any, z: int, n: int, n_in: int, n_out: int, what: int) -> None:
    """Z <- A W (what = 0), W <- Aᵀ Z (1), A <- Z Wᵀ (2) of matrices (n, n_in), (n_in, n_out), (n, n_out)."""
    a = between(A, at, at + n * n_in).reshape(n, n_in)
    m = between(W, w, w + n_in * n_out).reshape(n_in, n_out)
    c = between(Z, z, z + n * n_out).reshape(n, n_out)
    if what == 0:
        np.dot(a, m, c)
    elif what == 1:
        np.dot(a.T, c, m)
    else:
        np.dot(c, m.T, a)


inplace_blas = chosen({"vectors": no_blas, "BLAS": compiled(_inplace_blas, _nrt=True, forceinline=False)})


@compiled
def forward(
    products: Any, n: int, A: Any, at: int, rows: Any, height: int, theta: Any, W: int, Z: Any, z: int, width: int
) -> None:
    """Z = A W + b, of those n rows of A."""
    b, lanes, one = W + height * width, lanes_of(Z), Z.dtype.type(1)
    if n >= BLAS_EXAMPLES and height * width >= BLAS_WEIGHTS:
        inplace_blas(products, A, at, theta, W, Z, z, n, height, width, 0)
        for i in range(z, z + n * width, width):
            for j in range(0, width, lanes):
                store(Z, i + j, plus(load(theta, b + j), one, load(Z, i + j)))
    else:
        add_products(Z, z, width, theta, b, 0, one, n, A, at, rows, height, None, 1, height, theta, W)


@compiled
def add_gradient(
    products: Any, n: int, A: Any, at: int, rows: Any, height: int, delta: Any, d: int, width: int, factor: Any, g: Any,
    W: int,
) -> None:  # fmt: skip
    """dW += factor Aᵀ delta; db += factor Σ_rows delta.

    BLAS writes over dW, without the factor: a wide network's batch comes in one piece.
    """
    if n >= BLAS_EXAMPLES and height * width >= BLAS_WEIGHTS:
        inplace_blas(products, A, at, g, W, delta, d, n, height, width, 1)
    else:
        add_products(g, W, width, g, W, width, factor, height, A, at, None, 1, rows, height, n, delta, d)
    lanes, one = lanes_of(g), g.dtype.type(1)
    for b in range(W + height * width, W + (height + 1) * width, lanes):
        sums = filled(g.dtype.type(0))
        for k in range(n):
            sums = plus(sums, one, load(delta, d + k * width))
        store(g, b, plus(load(g, b), factor, sums))
        d += lanes


@compiled
def back(
    products: Any, n: int, delta: Any, d: int, n_out: int, width: int, theta: Any, W: int, height: int, before: Any,
    to: int, transposed: Any,
) -> None:  # fmt: skip
    """before = delta Wᵀ; from four examples on, W is transposed first. `transposed` ends with a row of zeros."""
    lanes, zeros = lanes_of(theta), filled(theta.dtype.type(0))
    if n >= BLAS_EXAMPLES and height * width >= BLAS_WEIGHTS:
        inplace_blas(products, before, to, theta, W, delta, d, n, height, width, 2)
    elif n >= 4:
        for i in range(0, height, lanes):
            for j in range(0, width, lanes):
                transpose_square(theta, W + i * width + j, width, transposed, j * height + i, height)
        one, nothing = theta.dtype.type(1), transposed.size - height
        add_products(
            before, to, height, transposed, nothing, 0, one, n, delta, d, None, width, None, 1, n_out, transposed, 0
        )
    else:
        for i in range(n * height):
            r, w = d + i // height * width, W + i % height * width
            vector = zeros
            for j in range(0, width, lanes):
                vector = plus(vector, load(theta, w + j), load(delta, r + j))
            before[to + i] = total(vector)


@compiled
def forward_from(
    first: int, theta: Any, sizes: Any, widths: Any, activation: Any, products: Any, n: int, X: Any, x: int, rows: Any,
    in_order: Any, A: Any,
) -> tuple[int, int]:  # fmt: skip
    """Z_l = A_(l−1) W_l + b_l; A_l = θ(Z_l): from layer `first` on, 2 when A begins with Z_1; where W_L and Z_L begin.

    A_0 is those n rows of X, which begins at x; in_order: 0, 1, …, the rows of the other A_l.
    """
    W = z = to = 0
    below, at, places = X, x, rows
    for layer in range(first, sizes.size):
        height, width = widths[layer - 1], widths[layer]
        if layer > 1:
            to = z + n * height
            inplace_activation(activation, between(A, z, to))
            for i in range(z, to, height):  # sigmoid made ½ of the padding
                for j in range(i + sizes[layer - 1], i + height):
                    A[j] = 0
            W += (widths[layer - 2] + 1) * height
            below, at, places = A, z, in_order
        forward(products, n, below, at, places, height, theta, W, A, to, width)
        z = to
    return W, z


@compiled
def add_gradients(
    theta: Any, factor: Any, g: Any, sizes: Any, widths: Any, activation: Any, loss: Any, products: Any, n: int, X: Any,
    x: int, X_rows: Any, Y: Any, y: int, Y_rows: Any, in_order: Any, A: Any, deltas: Any, transposed: Any,
) -> None:  # fmt: skip
    """delta_L = ∂cost/∂Z_L; delta_(l−1) = delta_l W_lᵀ ∘ θ'(Z_(l−1)); dW_l += factor A_(l−1)ᵀ delta_l.

    n examples, whose gradients are added to g, which may be theta itself: a layer has been read when it moves. theta,
    g: the layers' W and b one after the other, in padded rows; A and deltas hold the layers' A_l, delta_l. X and Y
    begin at x and y; theirs are the rows X_rows and Y_rows, those of A and deltas come in_order.
    """
    last = sizes.size - 1
    W, z = forward_from(1, theta, sizes, widths, activation, products, n, X, x, X_rows, in_order, A)
    inplace_delta(loss, between(A, z, z + n * widths[last]), n, widths[last], Y, y, Y_rows, sizes[last])
    delta, d = A, z
    for layer in range(last, 0, -1):
        height, width = widths[layer - 1], widths[layer]
        below, at, places = X, x, X_rows
        if layer > 1:
            z -= n * height
            below, at, places = A, z, in_order
            back(products, n, delta, d, sizes[layer], width, theta, W, height, deltas, z, transposed)
        add_gradient(products, n, below, at, places, height, delta, d, width, factor, g, W)
        if layer > 1:
            inplace_backward(activation, between(deltas, z, z + n * height), between(A, z, z + n * height))
            delta, d, W = deltas, z, W - (widths[layer - 2] + 1) * height
