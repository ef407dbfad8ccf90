"""Where an update's time goes: each operation of the vectorised engine, as it was and as it is.

    python -m benchmarks.kernel_profile      (from the root of the project; writes docs/benchmarks/kernel_profile.csv)

Digits' shapes, 64-32-10 sigmoid, float64, one thread. `before` spells out what the kernel did until it was tuned: 3-D
products, `out=` by name, views made in every update, a row maximum along rows of ten. Whole updates are run, a stretch
of the one and a stretch of the other in turns, reading the clock between operations (0.1 µs each time); medians
over turns. The loop around an update is not in it: drawing a batch, calls, the optimiser's bookkeeping.
"""

import argparse
import csv
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from time import perf_counter

import numpy as np

from harness.network import ACTIVATIONS, LOSSES, Memory, Parameters, gather
from harness.network.memory import Buffers
from harness.training import pinned_blas

OUT = Path(__file__).resolve().parent.parent / "docs" / "benchmarks" / "kernel_profile.csv"
SIZES, N, TURNS = (64, 32, 10), 1437, 31
Operation = Callable[[], object]


def before(n_stack: int, n_examples: int) -> dict[str, Operation]:
    """The operations of an update as they were."""
    rng = np.random.default_rng(0)
    params, grads = (Parameters(SIZES, rng.normal(size=(n_stack, Parameters.count(SIZES))) / 10) for _ in range(2))
    X, Y = rng.normal(size=(N, 64)), np.eye(10)[rng.integers(10, size=N)]
    rows = rng.integers(N, size=(n_stack, n_examples))
    X_here, A, Z, Y_here = (np.zeros((n_stack, n_examples, n)) for n in (64, 32, 10, 10))
    delta, ones, eta = np.zeros_like(A), np.ones((1, n_examples)), np.array([[1e-9]])

    def gather() -> None:
        X.take(rows, axis=0, out=X_here, mode="clip")
        Y.take(rows, axis=0, out=Y_here, mode="clip")

    def sigmoid() -> None:
        np.negative(A, out=A)
        np.exp(A, out=A)
        np.add(A, 1, out=A)
        np.reciprocal(A, out=A)

    def softmax() -> None:
        np.subtract(Z, np.maximum.reduce(Z, axis=-1, keepdims=True), out=Z)
        np.exp(Z, out=Z)
        np.divide(Z, np.add.reduce(Z, axis=-1, keepdims=True), out=Z)
        np.subtract(Z, Y_here, out=Z)

    def slope() -> None:
        np.multiply(delta, A, out=delta)
        np.subtract(1, A, out=A)
        np.multiply(delta, A, out=delta)

    def weights_gradient(layer: int, A: np.ndarray, delta: np.ndarray) -> None:
        np.matmul(A.swapaxes(-1, -2), delta, out=grads.W[layer])
        np.matmul(ones, delta, out=grads.b[layer])

    def step() -> None:
        np.multiply(grads.flat, eta, out=grads.flat)
        np.subtract(params.flat, grads.flat, out=params.flat)

    return {
        "gather X, Y": gather,
        "X W1": lambda: np.matmul(X_here, params.W[0], out=A),
        "+ b1": lambda: np.add(A, params.b[0], out=A),
        "sigmoid": sigmoid,
        "A W2 + b2": lambda: (np.matmul(A, params.W[1], out=Z), np.add(Z, params.b[1], out=Z)),
        "softmax − Y": softmax,
        "dW2, db2": lambda: weights_gradient(1, A, Z),
        "delta W2ᵀ": lambda: np.matmul(Z, params.W[1].swapaxes(-1, -2), out=delta),
        "∘ A(1 − A)": slope,
        "dW1, db1": lambda: weights_gradient(0, X_here, delta),
        "sgd": step,
    }


def after(n_stack: int, n_examples: int) -> dict[str, Operation]:
    """The same operations through the kernel's own functions and buffers, products as `MLP` writes them."""
    rng = np.random.default_rng(0)
    params, grads = (Parameters(SIZES, rng.normal(size=(n_stack, Parameters.count(SIZES))) / 10) for _ in range(2))
    here = Buffers(SIZES, n_stack, n_examples, np.dtype(float), Memory())
    train_set = rng.normal(size=(N, 64)), np.eye(10)[rng.integers(10, size=N)]
    rows = rng.integers(N, size=(n_stack, n_examples))
    X, Y = (V if n_stack > 1 else V[0] for V in (gather(own, rows) for own in train_set))
    (W1, _, b1), (W2, W2_T, b2) = params.layers
    (A, Z), (delta, _), product, eta = here.Z, here.delta, params.product, np.array([[1e-9]])
    sigmoid = ACTIVATIONS["sigmoid"]

    def weights_gradient(layer: int, A: np.ndarray, delta: np.ndarray) -> None:
        dW, _, db = grads.layers[layer]
        if here.outer is None:
            product(A.mT, delta, dW)
        else:
            pair = here.outer[layer]
            pair.A_row[...], pair.delta_row[...] = A, delta
            product(pair.A_T, pair.delta, dW)
        if n_examples == 1:
            db[...] = delta
        else:
            product(here.ones, delta, db)

    def step() -> None:
        np.multiply(grads.flat, eta, grads.flat)
        np.subtract(params.flat, grads.flat, params.flat)

    return {
        "gather X, Y": lambda: [gather(V, rows) for V in train_set],
        "X W1": lambda: product(X, W1, A),
        "+ b1": lambda: np.add(A, b1, A),
        "sigmoid": lambda: sigmoid.inplace(A),
        "A W2 + b2": lambda: (product(A, W2, Z), np.add(Z, b2, Z)),
        "softmax − Y": lambda: LOSSES["softmax_cross_entropy"].inplace_delta(Z, Y),
        "dW2, db2": lambda: weights_gradient(1, A, Z),
        "delta W2ᵀ": lambda: product(Z, W2_T, delta),
        "∘ A(1 − A)": lambda: sigmoid.inplace_backward(delta, A),
        "dW1, db1": lambda: weights_gradient(0, X, delta),
        "sgd": step,
    }


def microseconds(operations: dict[str, Operation], n_updates: int) -> np.ndarray:
    """Of each operation within an update: the mean over n_updates."""
    total = np.zeros(len(operations))
    for _ in range(n_updates):
        ticks = [perf_counter()]
        for operation in operations.values():
            operation()
            ticks.append(perf_counter())
        total += np.diff(ticks)
    return total / n_updates * 1e6


def profile(n_stack: int, n_examples: int) -> list[dict[str, object]]:
    """One row per operation and one for their sum: medians over turns, per network; ratio within a turn."""
    old, new = before(n_stack, n_examples), after(n_stack, n_examples)
    n_updates = max(5, 2000 // (n_stack * n_examples))
    turns = np.array([[microseconds(operations, n_updates) for operations in (old, new)] for _ in range(TURNS)])
    was, now = np.median(turns, axis=0) / n_stack
    ratio = np.median(turns[:, 0] / turns[:, 1], axis=0)
    was, now, ratio = (*was, was.sum()), (*now, now.sum()), (*ratio, was.sum() / now.sum())
    return [
        {"networks": n_stack, "batch_size": n_examples, "operation": name, "before_us": b, "after_us": a, "ratio": q}
        for name, b, a, q in zip([*old, "all of these"], was, now, ratio, strict=True)
    ]


def main() -> None:
    argparse.ArgumentParser(
        "python -m benchmarks.kernel_profile", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    with pinned_blas(1), np.errstate(all="ignore"):
        rows = [row for R in (1, 9) for B in (1, 64, 512) for row in profile(R, B)]
    with OUT.open("w", newline="", encoding="utf8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows({k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()} for row in rows)
    cuts = [
        i for i in range(len(rows) + 1) if i in (0, len(rows)) or rows[i]["batch_size"] != rows[i - 1]["batch_size"]
    ]
    for start, stop in pairwise(cuts):
        print(f"{rows[start]['networks']} networks, B = {rows[start]['batch_size']}: µs before, after, ratio")
        for row in rows[start:stop]:
            print(f"  {row['operation']:12} {row['before_us']:9.2f} {row['after_us']:9.2f} {row['ratio']:6.2f}")


if __name__ == "__main__":
    main()
