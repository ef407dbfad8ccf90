"""Update formulas as a text has them in print, mistakes included: what they do to training is a question for a study.

Each takes the place of the derived gradient before the reduction and the optimiser, and is written so that plain
gradient descent on the mean then makes the printed step to the bit of rounding. n: examples of the batch.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from harness.network.mlp import MLP, Parameters

Array = NDArray[np.floating]
Misprint = Callable[[MLP, Parameters, Array, Array, float], None]
DERIVED = "derived"


def _bias_without_rate(network: MLP, grads: Parameters, X: Array, Y: Array, learning_rate: float) -> None:
    """b <- b − Σ_i ∂J_i/∂z: neither learning rate nor 1/n."""
    for db in grads.b:
        db *= X.shape[-2] / learning_rate


def _bias_mean_without_rate(network: MLP, grads: Parameters, X: Array, Y: Array, learning_rate: float) -> None:
    """b <- b − Σ_i ∂J_i/∂z / n: no learning rate."""
    for db in grads.b:
        db /= learning_rate


def _bias_of_one_example(network: MLP, grads: Parameters, X: Array, Y: Array, learning_rate: float) -> None:
    """b <- b − η ∂J_i/∂z, without a sum over i: of the last example, where a loop over i leaves it."""
    last = network.gradient(X[..., -1:, :], Y[..., -1:, :])
    for db, own in zip(grads.b, last.b, strict=True):
        db[:] = own * X.shape[-2]


def _bias_from_weights(network: MLP, grads: Parameters, X: Array, Y: Array, learning_rate: float) -> None:
    """b <- w − η Σ_i ∂J_i/∂z / n: from the weight of a neuron's first input."""
    for db, W, b in zip(grads.b, network.params.W, network.params.b, strict=True):
        db += (b - W[:, :1]) * (X.shape[-2] / learning_rate)


def _lost_sign(network: MLP, grads: Parameters, X: Array, Y: Array, learning_rate: float) -> None:
    """∂J/∂a = (y − a)/(a(1 − a)) at the output: every derivative behind it changes its sign."""
    np.negative(grads.flat, grads.flat)


def _divided_twice(network: MLP, grads: Parameters, X: Array, Y: Array, learning_rate: float) -> None:
    """1/n in ∂J/∂a, and once more in the update."""
    grads.flat /= X.shape[-2]


MISPRINTS: dict[str, Misprint] = {
    "bias_without_rate": _bias_without_rate,
    "bias_mean_without_rate": _bias_mean_without_rate,
    "bias_of_one_example": _bias_of_one_example,
    "bias_from_weights": _bias_from_weights,
    "lost_sign": _lost_sign,
    "divided_twice": _divided_twice,
}
FORMULAS = (DERIVED, *MISPRINTS)


def printed(formula: str, learning_rate: float) -> Callable[[MLP, Parameters, Array, Array], None]:
    """A stand-in for `MLP.gradient_into`: mean, then plain descent at this learning rate, makes the printed step."""
    if formula == DERIVED:
        return MLP.gradient_into
    misprint = MISPRINTS[formula]

    def gradient_into(network: MLP, grads: Parameters, X: Array, Y: Array) -> None:
        network.gradient_into(grads, X, Y)
        misprint(network, grads, X, Y, learning_rate)

    return gradient_into
