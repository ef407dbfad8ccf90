"""The loop that the lessons share: a stack of networks is trained with `harness.network`, and its weights are kept.

NumPy is all that it needs, so the page browser.html runs this same file in a browser.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.network import MLP, SGD, Parameters, evaluate, inplace_update

Array = NDArray[np.floating]


class Course(NamedTuple):
    """What a training left at T checkpoints of R networks.

    updates: (T,), how many had been made. flat: (T, R, P), all weights and biases, in the order of `Parameters.flat`.
    costs: (T, R), the mean cost per example over the whole training set, whatever the reduction.
    """

    updates: NDArray[np.intp]
    flat: Array
    costs: Array


def train(
    X: Array, Y: Array, sizes: Sequence[int], *, batch_size: int, learning_rate: ArrayLike, reduction: str, epochs: int,
    seeds: Sequence[int], start: Array | None = None,
) -> Course:  # fmt: skip
    """Train len(seeds) networks together; seeds[r] draws the first weights of network r and the order of its
    examples.

    X: (N, D). Y: (N, 1), classes 0 and 1. sizes: [D, 1] is a neuron, [D, 16, 1] has a hidden layer (tanh).
    learning_rate: one for all, or (R,). start: (P,), first weights of all networks, instead of drawn ones.
    """
    rngs = [np.random.default_rng(seed) for seed in seeds]
    network = MLP(Parameters.initialized(sizes, "glorot_uniform", rngs), "tanh", "sigmoid_cross_entropy")
    if start is not None:
        network.params.flat[:] = start
    sgd = SGD(network.params, learning_rate)
    per_epoch = -(-len(X) // batch_size)
    kept = set(checkpoints(per_epoch * epochs).tolist())
    updates, flat, costs = [0], [network.params.flat.copy()], [evaluate(network, X, Y)[0]]
    for epoch in range(epochs):
        order = np.stack([rng.permutation(len(X)) for rng in rngs])  # (R, N): each network has an order of its own
        for k in range(per_epoch):
            batch = order[:, k * batch_size : (k + 1) * batch_size]
            inplace_update(network, sgd, X[batch], Y[batch], reduction)
            if (update := epoch * per_epoch + k + 1) in kept:
                updates.append(update)
                flat.append(network.params.flat.copy())
                costs.append(evaluate(network, X, Y)[0])
    return Course(np.array(updates), np.stack(flat), np.stack(costs))


def checkpoints(last: int, most: int = 60) -> NDArray[np.intp]:
    """At most `most` different numbers of updates from 1 to `last`, each about the same factor above the one before."""
    return np.unique(np.geomspace(1, last, most).round().astype(np.intp))


def networks(sizes: Sequence[int], flat: Array) -> MLP:
    """A stack of networks with these weights and biases, (R, P)."""
    return MLP(Parameters(sizes, flat), "tanh", "sigmoid_cross_entropy")


# Data: X (n, 2) and Y (n, 1), classes 0 and 1 in turns.


def line(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Two overlapping clouds, which a straight line separates as well as anything can."""
    Y = np.arange(n) % 2
    X = rng.normal(size=(n, 2)) + np.outer(2 * Y - 1, [1.0, 0.6])
    return X, Y[:, None].astype(float)


def moons(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Two half circles that reach into each other."""
    Y, angle = np.arange(n) % 2, rng.uniform(0, np.pi, n)
    X = np.stack([np.cos(angle) - 0.5, np.sin(angle) - 0.25], axis=1) * (1 - 2 * Y)[:, None]
    return X * 1.5 + rng.normal(scale=0.2, size=(n, 2)), Y[:, None].astype(float)


def rings(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """A ring around a cloud."""
    Y, angle = np.arange(n) % 2, rng.uniform(0, 2 * np.pi, n)
    X = np.stack([np.cos(angle), np.sin(angle)], axis=1) * (0.6 + 1.4 * Y)[:, None]
    return X + rng.normal(scale=0.25, size=(n, 2)), Y[:, None].astype(float)


DATA: dict[str, Callable[[int, np.random.Generator], tuple[Array, Array]]] = {
    "rings": rings, "moons": moons, "line": line,
}  # fmt: skip


# Lesson 4, and the page for a browser.

N, EPOCHS, HIDDEN = 128, 10, 12
SIZES = (1, 4, 16, 64, 128)  # batch sizes; powers of two, and N itself
RATES = 2.0 ** np.arange(-7, 5)  # learning rates of a U-curve, as rates of a mean
REPLICAS = 8


def bands(data: str, batch_size: int, learning_rate: float, reduction: str) -> dict[str, list[float]]:
    """Cost against updates of one cell: median, lower and upper quartile over the replicas."""
    X, Y = DATA[data](N, np.random.default_rng(0))
    course = train(
        X, Y, [2, HIDDEN, 1], batch_size=batch_size, learning_rate=learning_rate, reduction=reduction, epochs=EPOCHS,
        seeds=range(1, REPLICAS + 1),
    )  # fmt: skip
    lower, median, upper = np.quantile(course.costs, [0.25, 0.5, 0.75], axis=1)
    return {
        "updates": course.updates.tolist(), "epochs": (course.updates / -(-N // batch_size)).tolist(),
        "median": median.tolist(), "lower": lower.tolist(), "upper": upper.tolist(),
    }  # fmt: skip


def u_curve(data: str, batch_size: int, reduction: str) -> dict[str, list[float]]:
    """Cost at the end against the learning rate: median and quartiles over replicas; all rates are one stack."""
    X, Y = DATA[data](N, np.random.default_rng(0))
    rates = RATES / (batch_size if reduction == "sum" else 1)
    course = train(
        X, Y, [2, HIDDEN, 1], batch_size=batch_size, learning_rate=np.repeat(rates, REPLICAS), reduction=reduction,
        epochs=EPOCHS, seeds=[*range(1, REPLICAS + 1)] * len(rates),
    )  # fmt: skip
    lower, median, upper = np.quantile(course.costs[-1].reshape(len(rates), REPLICAS), [0.25, 0.5, 0.75], axis=1)
    return {"rates": rates.tolist(), "median": median.tolist(), "lower": lower.tolist(), "upper": upper.tolist()}
