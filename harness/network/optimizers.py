"""What a reduced gradient does to the parameters: sgd, momentum, nesterov, adam, rmsprop.

An optimiser works on the flat (R, P) array of a stack, so one update is a handful of array operations at any depth.
Before its own rule it applies, in this order, clipping at a global norm and weight decay, both to the gradient *after*
the reduction: that is why neither commutes with sum versus mean unless it is rescaled by B.
"""

from dataclasses import InitVar, dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from harness.network.extensions import Table
from harness.network.parameters import Array, Indices, Parameters


@dataclass(eq=False)
class Optimizer:
    """Holds the learning rate η and the state of one stack; `inplace_step` moves its parameters.

    learning_rate: one number, or one per network of the stack. weight_decay: λ of the penalty ½λ‖W‖² (weights, not
    biases), added to the reduced gradient. clip_norm: the largest global norm that a network's reduced gradient may
    have; a longer one is scaled down to it.
    """

    params: InitVar[Parameters]
    learning_rate: ArrayLike
    weight_decay: float = field(default=0.0, kw_only=True)
    clip_norm: float | None = field(default=None, kw_only=True)

    hyperparameters: ClassVar[tuple[str, ...]] = ()
    grows_with_gradient: ClassVar[bool] = True  # twice the gradient, twice the step: summing multiplies η by B
    n_slots: ClassVar[int] = 0  # arrays of state, each of the size of the parameters

    def __post_init__(self, params: Parameters) -> None:
        if not isinstance(params, Parameters):
            raise TypeError(f"{type(self).__name__} takes Parameters, got {type(params).__name__}: write mlp.params")
        flat = params.flat
        self.rate = np.array(self.learning_rate, dtype=np.float64).reshape(-1, 1)
        self.eta, self.factor = self.rate.astype(flat.dtype), 1.0
        self.decay = _decay_vector(params, self.weight_decay) if self.weight_decay else None
        self.slots = [np.zeros_like(flat) for _ in range(self.n_slots)]
        self.scratch = np.empty_like(flat)
        self.n_steps = 0

    def scale(self, factor: float) -> None:
        """Give the following steps the learning rate times a schedule's factor. State keeps what it has of former η."""
        if factor != self.factor:
            self.eta, self.factor = (self.rate * factor).astype(self.eta.dtype), factor

    def inplace_step(self, theta: Array, grads: Array) -> None:
        """One update of theta (R, P) from the reduced gradient grads (R, P); grads is destroyed."""
        if self.clip_norm is not None:
            _inplace_clip(grads, self.clip_norm)
        if self.decay is not None:
            np.multiply(theta, self.decay, out=self.scratch)
            np.add(grads, self.scratch, out=grads)
        self.n_steps += 1
        self._inplace_move(theta, grads)

    def select(self, keep: Indices) -> None:
        """Forget every network of the stack but `keep`."""
        if len(self.eta) > 1:
            self.rate, self.eta = self.rate[keep], self.eta[keep]
        self.slots = [slot[keep] for slot in self.slots]
        self.scratch = self.scratch[keep]

    def _inplace_move(self, theta: Array, grads: Array) -> None:
        raise NotImplementedError


def _decay_vector(params: Parameters, weight_decay: float) -> Array:
    """λ at every weight, 0 at every bias, (1, P)."""
    vector = Parameters.empty(params.sizes, 1, params.flat.dtype)
    for W, b in zip(vector.W, vector.b, strict=True):
        W[:], b[:] = weight_decay, 0
    return vector.flat


def _inplace_clip(grads: Array, clip_norm: float) -> None:
    """grads <- grads · min(1, c / ‖grads‖), for each network of the stack."""
    norms = np.sqrt(np.einsum("rp,rp->r", grads, grads, dtype=np.float64))  # a float32 square overflows at 1e19
    scales = clip_norm / np.maximum(norms, clip_norm)
    np.multiply(grads, scales[:, None].astype(grads.dtype), out=grads)


class SGD(Optimizer):
    """θ <- θ − η g."""

    def _inplace_move(self, theta: Array, grads: Array) -> None:
        np.multiply(grads, self.eta, grads)
        np.subtract(theta, grads, theta)


@dataclass(eq=False)
class Momentum(Optimizer):
    """v <- μ v − η g; θ <- θ + v (Polyak 1964, heavy ball).

    v holds η: after a change of η, earlier gradients count with the rate of their own update (scikit-learn does the
    same). Frameworks that keep η out of v change the weight of all of them at once.
    """

    momentum: float = 0.9

    hyperparameters = ("momentum",)
    n_slots = 1

    def _inplace_velocity(self, grads: Array) -> Array:
        """v <- μ v − η g."""
        (velocity,) = self.slots
        np.multiply(grads, self.eta, out=grads)
        np.multiply(velocity, self.momentum, out=velocity)
        np.subtract(velocity, grads, out=velocity)
        return velocity

    def _inplace_move(self, theta: Array, grads: Array) -> None:
        np.add(theta, self._inplace_velocity(grads), out=theta)


class Nesterov(Momentum):
    """v <- μ v − η g; θ <- θ + μ v − η g (Sutskever et al. 2013, in the shifted parameters that libraries store)."""

    def _inplace_move(self, theta: Array, grads: Array) -> None:
        velocity = self._inplace_velocity(grads)  # grads now holds η g
        np.multiply(velocity, self.momentum, out=self.scratch)
        np.subtract(self.scratch, grads, out=self.scratch)
        np.add(theta, self.scratch, out=theta)


@dataclass(eq=False)
class Adam(Optimizer):
    """m <- β1 m + (1 − β1) g; v <- β2 v + (1 − β2) g²; θ <- θ − η √(1 − β2ᵗ)/(1 − β1ᵗ) · m / (√v + ε).

    Kingma & Ba 2015 in the efficient form at the end of their section 2 (their ε̂), which scikit-learn uses too;
    PyTorch adds ε to the bias-corrected √v̂ instead. Multiplying g and ε by B changes nothing.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    hyperparameters = ("beta1", "beta2", "epsilon")
    grows_with_gradient = False
    n_slots = 2

    def _inplace_move(self, theta: Array, grads: Array) -> None:
        m, v = self.slots
        _inplace_average(m, grads, self.beta1, self.scratch)
        np.multiply(grads, grads, out=grads)
        _inplace_average(v, grads, self.beta2, self.scratch)
        correction = np.sqrt(1 - self.beta2**self.n_steps) / (1 - self.beta1**self.n_steps)
        np.sqrt(v, out=grads)
        np.add(grads, self.epsilon, out=grads)
        np.divide(m, grads, out=grads)
        np.multiply(grads, self.eta * self.eta.dtype.type(correction), out=grads)
        np.subtract(theta, grads, out=theta)


@dataclass(eq=False)
class RMSProp(Optimizer):
    """v <- β2 v + (1 − β2) g²; θ <- θ − η g / (√v + ε) (Tieleman & Hinton 2012, lecture 6e)."""

    beta2: float = 0.99
    epsilon: float = 1e-8

    hyperparameters = ("beta2", "epsilon")
    grows_with_gradient = False
    n_slots = 1

    def _inplace_move(self, theta: Array, grads: Array) -> None:
        (v,) = self.slots
        np.multiply(grads, grads, out=self.scratch)
        _inplace_average(v, self.scratch, self.beta2, self.scratch)
        np.sqrt(v, out=self.scratch)
        np.add(self.scratch, self.epsilon, out=self.scratch)
        np.divide(grads, self.scratch, out=grads)
        np.multiply(grads, self.eta, out=grads)
        np.subtract(theta, grads, out=theta)


def _inplace_average(average: Array, value: Array, beta: float, scratch: Array) -> None:
    """average <- β average + (1 − β) value; value may be the scratch array itself."""
    np.multiply(average, beta, out=average)
    np.multiply(value, 1 - beta, out=scratch)
    np.add(average, scratch, out=average)


HYPERPARAMETERS = ("momentum", "beta1", "beta2", "epsilon")  # that a rule may have
OPTIMIZERS: Table[type[Optimizer]] = Table(
    "optimizers",
    {"sgd": SGD, "momentum": Momentum, "nesterov": Nesterov, "adam": Adam, "rmsprop": RMSProp},
    lambda thing: (
        isinstance(thing, type)
        and issubclass(thing, Optimizer)
        and all(name in HYPERPARAMETERS and hasattr(thing, name) for name in thing.hyperparameters)
    ),
    f"a subclass of Optimizer whose hyperparameters have defaults and are among {', '.join(HYPERPARAMETERS)}",
)
