"""The numbers behind the pictures of docs/concepts. Nothing is drawn here; every random number has a fixed seed."""

from functools import cache
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

import harness
from harness.network import inplace_update

Array = NDArray[np.floating]

# The example of all pages: one neuron p = σ(wx + b) at w = b = 0, with cross-entropy. X (4, 1), Y (4, 1).
X = np.array([[2.0], [-1.0], [1.0], [-2.0]])
Y = np.array([[1.0], [0.0], [1.0], [1.0]])


def neuron(w: float = 0.0, b: float = 0.0, loss: str = "sigmoid_cross_entropy") -> harness.MLP:
    return harness.MLP(harness.Parameters.from_weights([[[w]]], [[b]]), loss=loss)


def example_gradients(X: Array, Y: Array, w: float = 0.0, b: float = 0.0) -> Array:
    """(N, 2): the gradient (∂/∂w, ∂/∂b) of each example."""
    return np.concatenate([neuron(w, b).gradient(X[i : i + 1], Y[i : i + 1]).flat for i in range(len(X))])


def costs_of_training(network: harness.MLP, X: Array, Y: Array, rate: float, reduction: str, updates: int) -> Array:
    """(updates + 1,): mean cost before each update and after the last one; a batch is the whole set."""
    sgd, costs = harness.SGD(network.params, rate), [network.costs(X, Y).mean()]
    for _ in range(updates):
        inplace_update(network, sgd, X, Y, reduction)
        costs.append(network.costs(X, Y).mean())
    return np.array(costs)


# One weight of curvature λ = mean x²: targets are 0, and x = ±√λ in turn, so that the bias stays 0.


def bowl(curvature: float, n_examples: int) -> tuple[Array, Array]:
    """X and Y (N, 1), N even, whose mean cost is ½ λ w² for a neuron without activation."""
    signs = np.resize([[1.0], [-1.0]], (n_examples, 1))
    return np.sqrt(curvature) * signs, np.zeros((n_examples, 1))


def relative_costs(rates: Array, reduction: str, updates: int, n_examples: int, curvature: float = 1.0) -> Array:
    """(L, updates + 1): cost over the initial cost for each learning rate, on the bowl; w begins at 1."""
    data = bowl(curvature, n_examples)
    runs = [costs_of_training(neuron(1, 0, "half_squared_error"), *data, rate, reduction, updates) for rate in rates]
    return np.array([run / run[0] for run in runs])


# Batches


def noisy_examples(n_examples: int = 40, seed: int = 3) -> tuple[Array, Array]:
    """X and Y (N, 1) of two classes that overlap."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_examples, 1))
    return X, (X + 0.8 * rng.normal(size=X.shape) > -0.4).astype(float)


def noise(gradients: Array) -> tuple[Array, float]:
    """G (P,) and S of gradients (N, P): their mean, and the mean squared distance from it."""
    mean = gradients.mean(axis=0)
    return mean, float(np.square(gradients - mean).sum(axis=1).mean())


def batch_means(gradients: Array, batch_size: int, n_batches: int, seed: int = 0) -> Array:
    """(n_batches, P): the mean gradient of batches drawn without replacement."""
    rng = np.random.default_rng(seed)
    return np.array([gradients[rng.permutation(len(gradients))[:batch_size]].mean(axis=0) for _ in range(n_batches)])


def mean_squared_distance(gradients: Array, batch_size: int) -> float:
    """E‖g_B − G‖² over all batches of this size, each counted once."""
    mean, _ = noise(gradients)
    batches = [gradients[list(rows)].mean(axis=0) for rows in combinations(range(len(gradients)), batch_size)]
    return float(np.square(np.array(batches) - mean).sum(axis=1).mean())


def sampling_law(spread: float, batch_size: Array | int, n_examples: int) -> Array | float:
    """(S/B)(N − B)/(N − 1)."""
    return spread / batch_size * (n_examples - batch_size) / (n_examples - 1)


def updates_to_target(batch_size: Array, s_min: float, b_crit: float) -> Array:
    """S_min (1 + B_crit/B)."""
    return s_min * (1 + b_crit / batch_size)


# Clocks

CLOCK_SIZES = {1: 0.1, 8: 0.4, "full": 0.8}  # batch size -> learning rate
PER_UPDATE, PER_EXAMPLE = 20e-6, 0.5e-6  # seconds: an assumption for the picture, no measurement


@cache
def courses() -> dict[int | str, dict[str, Array]]:
    """Batch size -> its median training cost, with epochs, updates and modelled seconds at every checkpoint."""
    found = {}
    for size, rate in CLOCK_SIZES.items():
        run = harness.train("iris", batch_size=size, learning_rate=rate, epochs=30, seeds=5, diagnostics="off")
        table = run.history().groupby("update", as_index=False)[["epoch", "examples", "train_cost"]].median()
        seconds = PER_UPDATE * table["update"] + PER_EXAMPLE * table["examples"]
        found[size] = {name: table[name].to_numpy() for name in table} | {"seconds": seconds.to_numpy()}
    return found
