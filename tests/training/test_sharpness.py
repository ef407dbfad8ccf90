"""λ_max against NumPy's eigenvalues of the Hessian itself: in closed form where there is one, else by differences."""

import math

import numpy as np
import pytest

import harness.training.sharpness
from harness.network.activations import ACTIVATIONS
from harness.network.mlp import MLP
from harness.network.parameters import Parameters
from harness.training.sharpness import TOLERANCE, largest_eigenvalue, mean_hessian, sharpness

LOSSES = ["sigmoid_cross_entropy", "softmax_cross_entropy", "half_squared_error"]


def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def hessian(network: MLP, X: np.ndarray, Y: np.ndarray, step: float = 1e-6) -> np.ndarray:
    """(P, P), one column per parameter: the difference of the mean gradients at θ ± step·e_j."""

    def gradient(theta: np.ndarray) -> np.ndarray:
        params = Parameters(network.params.sizes, theta[None])
        return MLP(params, network.activation_name, network.loss_name).gradient(X, Y).flat[0] / X.shape[-2]

    theta = network.params.flat[0]
    columns = [gradient(theta + step * e) - gradient(theta - step * e) for e in np.eye(len(theta))]
    matrix = np.array(columns) / (2 * step)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-7)
    return (matrix + matrix.T) / 2


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_sharpness_is_the_largest_eigenvalue_of_the_hessian(draw_network, draw_examples, activation, loss):
    network, (X, Y) = draw_network(loss, [4], activation), draw_examples(loss, 40)
    expected = np.linalg.eigvalsh(hessian(network, X, Y))[-1]
    assert sharpness(network, X, Y, rng()) == pytest.approx(expected, rel=2e-3)


@pytest.mark.parametrize(("tolerance", "error"), [(TOLERANCE, 1e-3), (1e-5, 1e-8)])
def test_least_squares_has_its_hessian_in_closed_form(draw_network, draw_examples, monkeypatch, tolerance, error):
    """½ mean ‖Wᵀx + b − y‖²: the Hessian is that of [x 1], once per output, wherever the weights are."""
    monkeypatch.setattr(harness.training.sharpness, "TOLERANCE", tolerance)
    network, (X, Y) = draw_network("half_squared_error", []), draw_examples("half_squared_error", 40)
    inputs = np.hstack([X, np.ones((40, 1))])
    expected = np.linalg.eigvalsh(inputs.T @ inputs / 40)[-1]
    assert sharpness(network, X, Y, rng()) == pytest.approx(expected, rel=error)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_product_with_the_hessian_forms_no_hessian(draw_network, draw_examples, loss):
    """A set of the replica's own, (1, N, D), and single-precision weights are taken as they come."""
    network, (X, Y) = draw_network(loss, [4, 3]), draw_examples(loss, 30)
    vector = rng().normal(size=network.params.flat.shape[1])
    expected = hessian(network, X, Y) @ vector
    atol = 1e-6 * np.abs(expected).max()
    np.testing.assert_allclose(mean_hessian(network, X, Y)(vector), expected, atol=atol)
    np.testing.assert_allclose(mean_hessian(network, X[None], Y[None])(vector), expected, atol=atol)
    single = MLP(Parameters(network.params.sizes, network.params.flat.astype(np.float32)), "tanh", loss)
    product = mean_hessian(single, X.astype(np.float32), Y.astype(np.float32))(vector)
    np.testing.assert_allclose(product, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize(
    "eigenvalues",
    [
        [5.0, 2.0, 1.0, 0.1],
        [-7.0, 5.0, 2.0, 0.1],  # the largest in absolute value is not the largest
        [5.0, -5.0, 1.0, 0.1],
        [-1.0, -2.0, -3.0, -8.0],
        [5.0, 5.0, 5.0, 5.0],
        [5.0, 0.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, 0.0],
    ],
    ids=str,
)
def test_the_largest_eigenvalue_of_a_matrix_is_found_whatever_the_others_are(eigenvalues):
    basis, _ = np.linalg.qr(rng().normal(size=(4, 4)))
    matrix = basis @ np.diag(eigenvalues) @ basis.T
    found = largest_eigenvalue(lambda v: matrix @ v, 4, rng())
    assert found == pytest.approx(max(eigenvalues), abs=TOLERANCE * np.abs(eigenvalues).max() / 10)


def test_a_start_in_the_null_space_does_not_pass_for_converged():
    """Of a thousand directions one is 1 and one is -10: nearly every vector is one that the matrix maps to 0."""
    eigenvalues = np.zeros(1000)
    eigenvalues[:2] = -10, 1
    found = largest_eigenvalue(lambda v: eigenvalues * v, 1000, rng())
    assert found == pytest.approx(1, rel=TOLERANCE)


def test_a_matrix_of_zeros_has_no_curvature_and_one_that_overflows_none_that_is_known():
    assert largest_eigenvalue(lambda v: 0 * v, 100, rng()) == 0
    for size in (4, 100):
        entries = np.r_[np.inf, np.ones(size - 1)]
        assert math.isnan(largest_eigenvalue(lambda v, e=entries: e * v, size, rng()))


def test_close_eigenvalues_are_told_apart():
    """As of 512 examples with 20 inputs that are not correlated: their largest eigenvalue stands among others."""
    inputs = rng().normal(size=(512, 20))
    matrix = np.kron(np.eye(2), inputs.T @ inputs / 512)
    found = largest_eigenvalue(lambda v: matrix @ v, 40, rng())
    assert found == pytest.approx(np.linalg.eigvalsh(matrix)[-1], rel=TOLERANCE)


def test_what_has_not_converged_is_not_known(monkeypatch):
    """The ends of this spectrum take more products than a handful."""
    eigenvalues = np.linspace(0, 1, 3000)
    monkeypatch.setattr(harness.training.sharpness, "RESTARTS", 1)
    assert math.isnan(largest_eigenvalue(lambda v: eigenvalues * v, 3000, rng()))
    monkeypatch.setattr(harness.training.sharpness, "RESTARTS", 100)
    assert largest_eigenvalue(lambda v: eigenvalues * v, 3000, rng()) == pytest.approx(1, rel=TOLERANCE)


def test_a_large_set_is_represented_by_some_of_its_examples(draw_network, draw_examples, monkeypatch):
    """By the same ones when the rng starts in the same state; and well, as 300 of 400 are most of them."""
    network, (X, Y) = draw_network(LOSSES[1], [4]), draw_examples(LOSSES[1], 400)
    whole = sharpness(network, X, Y, rng())
    monkeypatch.setattr(harness.training.sharpness, "MAX_EXAMPLES", 300)
    part = sharpness(network, X, Y, rng())
    assert part == sharpness(network, X, Y, rng())
    assert part != whole
    assert part == pytest.approx(whole, rel=0.2)


def test_an_overflow_is_no_sharpness_and_no_warning(draw_network, draw_examples):
    network, (X, Y) = draw_network("half_squared_error", [4], "relu"), draw_examples("half_squared_error", 20)
    network.params.flat[:] *= 1e200
    assert math.isnan(sharpness(network, X, Y, rng()))
