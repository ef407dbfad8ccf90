"""What multiplies the learning rate while training goes on: constant, step, cosine, linear, inverse.

A schedule is a function of the moments at which updates are made. It knows epochs, not updates, so cells of all batch
sizes have the same rate after the same examples.
"""

from collections.abc import Callable
from inspect import signature
from typing import NamedTuple

import numpy as np

from harness.network.extensions import Table
from harness.network.parameters import Array, Indices


class Moments(NamedTuple):
    """n updates in a row, and what a schedule may depend on. An epoch is a pass over the training examples.

    update, epoch (n,): how many were made before each update; epochs with their fraction. n_epochs: of the budget, inf
    where only seconds end training. warm_up: epochs during which the rate rises to its full value.
    """

    update: Indices
    epoch: Array
    n_epochs: float
    n_examples: int
    warm_up: float
    milestones: tuple[int, ...]  # epochs, ascending
    milestone_factor: float

    @property
    def part(self) -> Array:
        """(n,): which part of the time from the end of the warm-up to the end of the budget is over, 0 to 1.

        Raises ValueError where the end is not known.
        """
        if np.isinf(self.n_epochs):
            raise ValueError("part needs a budget of epochs or updates: with train_seconds alone no end is known")
        fall = max(self.n_epochs - self.warm_up, np.finfo(float).tiny)
        return np.clip((self.epoch - self.warm_up) / fall, 0, 1)


Schedule = Callable[[Moments], Array]  # -> (n,), factors >= 0 of the learning rate


def constant(at: Moments) -> Array:
    return np.ones(len(at.epoch))


def step(at: Moments) -> Array:
    """1/f^k after k milestones."""
    return 1 / at.milestone_factor ** np.searchsorted(at.milestones, at.epoch, side="right")


def cosine(at: Moments) -> Array:
    """½ (1 + cos πs), s from 0 to 1 (Loshchilov & Hutter 2017, without restarts)."""
    return (1 + np.cos(np.pi * at.part)) / 2


def linear(at: Moments) -> Array:
    """1 − s, s from 0 to 1."""
    return 1 - at.part


def inverse(at: Moments) -> Array:
    """1/√(t + 1), t the examples seen when the epoch began: `invscaling` of scikit-learn's MLP with power_t = ½."""
    return 1 / np.sqrt(np.floor(at.epoch) * at.n_examples + 1)


def _takes_moments(thing: object) -> bool:
    """Whether it can be called with one value."""
    if not callable(thing):
        return False
    try:
        signature(thing).bind(None)
    except TypeError:
        return False
    except ValueError:  # machine code, which does not say what it takes
        pass
    return True


ENDING = ("cosine", "linear")  # fall to 0 at the end of the budget, which must be known
SCHEDULES: Table[Schedule] = Table(
    "schedules",
    {"constant": constant, "step": step, "cosine": cosine, "linear": linear, "inverse": inverse},
    _takes_moments,
    "a function of Moments that returns a factor of the learning rate for each update",
)
