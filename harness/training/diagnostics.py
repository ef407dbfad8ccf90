"""What a single update of one replica does, in figures: gradient, noise, step and curvature.

An observer has its own randomness and works off the clock: training is the same with and without it, to the bit.
"""

from dataclasses import dataclass

import numpy as np
from numpy.random import SeedSequence, default_rng

from harness.network import MLP, Array, Set
from harness.training.noise import batch_noise, mean_gradient
from harness.training.sharpness import sharpness


@dataclass(frozen=True)
class Diagnostics:
    """One update, at the parameters that it started from. g_B: the batch's mean gradient, G: the whole set's.

    NaN is what was not measured (everything below update_size is `full` only) or cannot be said (noise for B = 1, a
    sharpness that has not converged).
    Gradients are those of the mean cost: before clipping and weight decay, for both reductions.
    """

    gradient_norm: float  # ‖g_B‖
    example_norm: float  # root of the mean ‖g_i‖² of the batch
    batch_variance: float  # unbiased estimate of S from this batch alone
    batch_squared_norm: float  # unbiased estimate of ‖G‖² from this batch alone: may be negative
    update_size: float  # ‖Δθ‖
    variance: float = np.nan  # S = mean ‖g_i − G‖²
    squared_norm: float = np.nan  # ‖G‖²
    cosine: float = np.nan  # of the angle between g_B and G
    squared_distance: float = np.nan  # ‖g_B − G‖²
    lambda_max: float = np.nan  # sharpness
    eta_lambda_max: float = np.nan  # with the learning rate of the mean gradient; means nothing for adam and rmsprop


class Observer:
    """Diagnoses updates from the batch alone: about the cost of one more gradient each.

    population: the number of examples that a batch is a random sample of, inf when drawn with replacement, NaN when a
    batch is no random sample. learning_rate: η of the mean gradient. stream: of random numbers.
    """

    per_decade = 5  # of the geometric grid of updates: sparse, because at B = N a cell has few updates to hide it in
    batch_costs_per_decade = 300  # of the grid on which the costs of single batches are recorded
    shown_batch_costs_per_decade = 5  # of those that become metrics: the store takes longer for one than the batch

    def __init__(self, population: float, learning_rate: float, stream: SeedSequence) -> None:
        self.population, self.learning_rate, self.stream = population, learning_rate, stream

    def before_update(self, network: MLP, X: Array, Y: Array, train_set: Set) -> None:
        """Measure all but the update's size. X (b, D) or (1, b, D): the batch of the stack's one network."""
        self._start = network.params.flat[0].copy()
        (gradient,), (mean_squared_norm,) = mean_gradient(network, X, Y)
        squared = gradient @ gradient
        spread, squared_mean = batch_noise(mean_squared_norm, squared, X.shape[-2], self.population)
        self._measured = {
            "gradient_norm": float(np.sqrt(squared)),
            "example_norm": float(np.sqrt(mean_squared_norm)),
            "batch_variance": float(spread),
            "batch_squared_norm": float(squared_mean),
            **self._whole_set(network, gradient, train_set),
        }

    def after_update(self, network: MLP) -> Diagnostics:
        """The figures of the update, which has been made meanwhile."""
        change = np.subtract(network.params.flat[0], self._start, dtype=np.float64)
        return Diagnostics(update_size=float(np.linalg.norm(change)), **self._measured)

    def _whole_set(self, network: MLP, gradient: Array, train_set: Set) -> dict[str, float]:
        return {}


class FullObserver(Observer):
    """Holds the batch's gradient against that of the whole training set, and measures the sharpness there.

    Lanczos' method starts from the same random vector each time: the sharpness depends on the weights alone.
    """

    per_decade = 10
    batch_costs_per_decade = 30_000  # every batch of the first 13 000 updates: averages over whole epochs

    def _whole_set(self, network: MLP, gradient: Array, train_set: Set) -> dict[str, float]:
        (mean,), (mean_squared_norm,) = mean_gradient(network, *train_set)
        squared = mean @ mean
        lambda_max = sharpness(network, *train_set, default_rng(self.stream))
        return {
            "variance": float(mean_squared_norm - squared),
            "squared_norm": float(squared),
            "cosine": float(gradient @ mean / (np.linalg.norm(gradient) * np.linalg.norm(mean))),
            "squared_distance": float(np.square(gradient - mean).sum()),
            "lambda_max": lambda_max,
            "eta_lambda_max": self.learning_rate * lambda_max,
        }


OBSERVERS: dict[str, type[Observer]] = {"cheap": Observer, "full": FullObserver}  # `off` has none
