"""Five mistakes that are easily made, put into the kernel; each must be caught by a test or a study that is named.

The tests are those of the suite, called as they are: they pass, and with the mistake planted they fail. Where a study
would report the mistake too, its judge looks at small cells that were trained with it.
"""

from collections.abc import Callable

import numpy as np
import pytest

import harness.network.engine
from experiments import errata, sum_vs_mean
from harness.inference.verdicts import Verdict
from harness.network.engine import Engine, cut, gather
from harness.network.mlp import MLP
from harness.network.reduction import inplace_reduce
from harness.training.order import Batches, Order
from tests.network import test_gradients, test_reduction
from tests.studies.test_study_sum_vs_mean import pair
from tests.training import test_batches, test_engines, test_sklearn_oracle

fit, fit_both = test_reduction.fit, test_sklearn_oracle.fit_both
LOSS = "softmax_cross_entropy"
Patch = pytest.MonkeyPatch


def forget_the_division(patch: Patch) -> None:
    """The mean that stays a sum."""
    patch.setattr(harness.network.engine, "inplace_reduce", lambda grads, reduction, n_examples: None)


def divide_by_the_nominal_size(patch: Patch) -> None:
    """The mean over B examples, also of a last batch that has fewer."""

    patch.setattr(
        harness.network.engine,
        "cut",
        lambda rows, batch_size: ((batch, batch_size) for batch, _ in cut(rows, batch_size)),
    )


def decay_inside_the_sum(patch: Patch) -> None:
    """The penalty added to the summed gradient, so that the mean divides it by B too."""

    def make_updates(self, rows, batch_size, factors=None):
        network, grads, optimizer, (X, Y) = self.network, self.grads, self.optimizer, self.train_set
        decay, optimizer.decay = optimizer.decay, None
        for batch, n_examples in cut(rows, batch_size):
            self.gradient_into(network, grads, gather(X, batch), gather(Y, batch))
            if decay is not None:
                grads.flat += decay * network.params.flat
            inplace_reduce(grads.flat, self.reduction, n_examples)
            optimizer.inplace_step(network.params.flat, grads.flat)
        optimizer.decay = decay

    patch.setattr(Engine, "make_updates", make_updates)


def shuffle_batches(patch: Patch) -> None:
    """Batches cut once from the data as it lies; what is shuffled is their order."""
    right_init, right_draw = Batches.__init__, Order.draw

    def init(self, n_examples, batch_size, *others):
        right_init(self, n_examples, batch_size, *others)
        if self.order:
            self.order.batch_size = batch_size

    def draw(self):
        indices = right_draw(self)
        for row in indices:
            row[:] = _blocks(row.copy(), self.batch_size)
        return indices

    patch.setattr(Batches, "__init__", init)
    patch.setattr(Order, "draw", draw)


def _blocks(permutation: np.ndarray, batch_size: int) -> np.ndarray:
    whole, n = len(permutation) // batch_size, len(permutation)
    order = permutation[permutation < whole]  # itself a permutation, of the blocks
    return np.concatenate(
        [np.arange(whole * batch_size).reshape(-1, batch_size)[order].ravel(), np.arange(n)[whole * batch_size :]]
    )


def lose_the_bias_gradient(patch: Patch) -> None:
    """db = 0: biases never move."""
    right = MLP._backward

    def wrong(self, grads, *others):
        right(self, grads, *others)
        for db in grads.b:
            db[:] = 0

    patch.setattr(MLP, "_backward", wrong)


def lose_the_bias(patch: Patch) -> None:
    """Z = A W, without b."""

    def forward(self, A, arrays):
        for (W, _, _), Z in zip(self.params.layers, arrays, strict=True):
            self.params.product(A, W, Z)
            if Z is not arrays[-1]:
                self.activation.inplace(Z)
            A = Z

    patch.setattr(MLP, "_forward", forward)


Plant = Callable[[Patch], None]


def caught(plant: Plant, check: Callable[[], None]) -> None:
    """The check passes, fails with the mistake planted, and passes again."""
    check()
    with Patch.context() as patch:
        plant(patch)
        with pytest.raises(AssertionError):
            check()
    check()


@pytest.mark.parametrize("plant", [forget_the_division], ids=lambda plant: plant.__name__)
def test_the_reduction_is_caught_by_equal_bits_of_sum_and_mean(fit, plant):
    exact = test_reduction.test_sum_at_lr_over_b_is_mean_at_lr_to_the_bit_when_b_is_a_power_of_two
    caught(plant, lambda: exact(fit, "sgd", 64, np.float64))


@pytest.mark.parametrize("plant", [forget_the_division, divide_by_the_nominal_size, lose_the_bias])
def test_scikit_learn_catches_what_changes_an_update(fit_both, plant):
    led = test_sklearn_oracle.test_weights_after_training_are_those_of_scikit_learn
    caught(plant, lambda: led(fit_both, LOSS, "tanh", "sgd"))


def test_the_nominal_size_is_caught_by_the_short_batch(fit):
    own_size = test_reduction.test_ragged_last_batch_is_exact_with_lr_over_its_own_size
    caught(divide_by_the_nominal_size, lambda: own_size(fit, "sgd"))


def test_decay_inside_the_sum_is_caught_by_its_scaling(fit):
    scaled = test_reduction.test_weight_decay_must_be_multiplied_by_b_for_the_sum
    caught(decay_inside_the_sum, lambda: scaled(fit, "sgd", np.float64))


def test_shuffled_batches_are_caught_by_who_shares_a_batch():
    caught(shuffle_batches, test_batches.test_examples_are_shuffled_not_batches)


@pytest.mark.parametrize("plant", [lose_the_bias_gradient, lose_the_bias])
def test_a_lost_bias_is_caught_by_central_differences(draw_examples, draw_network, plant):
    derivative = test_gradients.test_gradient_is_the_derivative_of_the_reported_cost
    caught(plant, lambda: derivative(draw_examples, draw_network, "tanh", LOSS, "mean", 1))


@pytest.mark.parametrize("plant", [lose_the_bias_gradient, lose_the_bias])
def test_a_lost_bias_is_caught_by_the_textbook_loop(draw_examples, draw_network, plant):
    summed = test_engines.test_batch_gradient_is_the_sum_of_the_gradients_of_its_examples
    caught(plant, lambda: summed(draw_examples, draw_network, "tanh", LOSS, 1, False))


# What a study says of cells that were trained with the mistake.


def test_a_study_refutes_equal_bits_without_the_division():
    """C2.power: η/B no longer makes up for anything."""
    with Patch.context() as patch:
        forget_the_division(patch)
        assert (pair() > sum_vs_mean.VISIBLE).all()


def test_a_study_refutes_that_a_short_batch_matters_with_the_nominal_size():
    """C2.ragged: the difference that has to be there is gone."""
    with Patch.context() as patch:
        divide_by_the_nominal_size(patch)
        assert (pair(last_batch="keep") < sum_vs_mean.RAGGED[0]).all()


def test_a_study_refutes_that_decay_must_be_scaled_when_it_is_inside_the_sum():
    """C2.decay: λ as it is makes the same training, and λB another."""
    with Patch.context() as patch:
        decay_inside_the_sum(patch)
        assert (pair(optimizer_weight_decay=0.5) == 0).all()
        assert (pair(optimizer_weight_decay=0.5, also={"optimizer_weight_decay": 4.0}) > sum_vs_mean.VISIBLE).all()


def test_a_study_refutes_back_propagation_without_biases():
    """C7."""
    with Patch.context() as patch:
        lose_the_bias_gradient(patch)
        assert errata._recursion(np.random.default_rng(0)).verdict is Verdict.REFUTED
