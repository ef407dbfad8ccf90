"""Costs and deltas from the logits: equal to the textbook's formulas where those can be computed, right where not."""

import numpy as np
import pytest
from scipy.special import expit, log_expit, log_softmax, softmax, xlogy

from harness.network.losses import LOSSES

HUGE = 1000.0  # e^1000 is far beyond both dtypes
DTYPES = [np.float64, np.float32]


def naive_costs(loss: str, Z: np.ndarray, Y: np.ndarray) -> np.ndarray:
    """The definitions, through the output activation and its logarithm: fine for moderate logits only."""
    return {
        "sigmoid_cross_entropy": lambda: -(Y * np.log(expit(Z)) + (1 - Y) * np.log(1 - expit(Z))).sum(axis=-1),
        "softmax_cross_entropy": lambda: -(Y * np.log(np.exp(Z) / np.exp(Z).sum(axis=-1, keepdims=True))).sum(axis=-1),
        "half_squared_error": lambda: ((Z - Y) ** 2).sum(axis=-1) / 2,
    }[loss]()


def draw(loss: str, spread: float, shape: tuple[int, ...] = (3, 50, 4)) -> tuple[np.ndarray, np.ndarray]:
    """Logits of a stack, and soft labels or values."""
    rng = np.random.default_rng(1)
    Z = spread * rng.normal(size=shape)
    if loss == "half_squared_error":
        return Z, rng.normal(size=shape)
    Y = rng.uniform(size=shape)
    return Z, Y / Y.sum(axis=-1, keepdims=True) if loss == "softmax_cross_entropy" else Y


def predicted(loss: str, Z: np.ndarray) -> np.ndarray:
    """As the network calls it: an overflow of e^(−z) to inf is right, and its callers say so; no other warning is."""
    Z = Z.copy()
    with np.errstate(over="ignore"):
        LOSSES[loss].inplace_predict(Z)
    return Z


def delta(loss: str, Z: np.ndarray, Y: np.ndarray) -> np.ndarray:
    Z = Z.copy()
    with np.errstate(over="ignore"):
        LOSSES[loss].inplace_delta(Z, Y)
    return Z


@pytest.mark.parametrize("loss", LOSSES)
def test_costs_are_the_definition_at_moderate_logits(loss):
    """One value per example, (R, B): no reduction over examples hides in a loss."""
    Z, Y = draw(loss, spread=2)
    costs = LOSSES[loss].costs(Z, Y)
    assert costs.shape == (3, 50)
    np.testing.assert_allclose(costs, naive_costs(loss, Z, Y), rtol=1e-12, atol=0)


@pytest.mark.parametrize("spread", [1, 30, 1e3, 1e6])
def test_cross_entropies_are_those_of_scipy_at_any_logits(spread):
    """log σ and log softmax from a library that computes them from the logits too."""
    Z, Y = draw("sigmoid_cross_entropy", spread)
    expected = -(Y * log_expit(Z) + (1 - Y) * log_expit(-Z)).sum(axis=-1)
    np.testing.assert_allclose(LOSSES["sigmoid_cross_entropy"].costs(Z, Y), expected, rtol=1e-12)
    Z, Y = draw("softmax_cross_entropy", spread)
    expected = -(Y * log_softmax(Z, axis=-1)).sum(axis=-1)
    np.testing.assert_allclose(LOSSES["softmax_cross_entropy"].costs(Z, Y), expected, rtol=1e-12)


@pytest.mark.parametrize("spread", [1, 30, 1e3])
def test_predictions_are_those_of_scipy(spread):
    Z, _ = draw("softmax_cross_entropy", spread)
    np.testing.assert_allclose(predicted("sigmoid_cross_entropy", Z), expit(Z), rtol=1e-12)
    np.testing.assert_allclose(predicted("softmax_cross_entropy", Z), softmax(Z, axis=-1), rtol=1e-12)
    np.testing.assert_array_equal(predicted("half_squared_error", Z), Z)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("spread", [1, 30, 1e3])
def test_delta_is_prediction_minus_target(loss, spread):
    """The same expression for all three, which is why no output layer needs a derivative of its own."""
    Z, Y = draw(loss, spread)
    np.testing.assert_array_equal(delta(loss, Z, Y), predicted(loss, Z) - Y)


# (loss, logits, target, cost, delta) where the exact answer is known although e^1000 is not a number.
EXTREMES = [
    ("sigmoid_cross_entropy", [HUGE], [1.0], 0.0, [0.0]),
    ("sigmoid_cross_entropy", [HUGE], [0.0], HUGE, [1.0]),
    ("sigmoid_cross_entropy", [-HUGE], [1.0], HUGE, [-1.0]),
    ("sigmoid_cross_entropy", [-HUGE], [0.0], 0.0, [0.0]),
    ("sigmoid_cross_entropy", [HUGE], [0.25], 0.75 * HUGE, [0.75]),
    ("sigmoid_cross_entropy", [0.0], [1.0], np.log(2), [-0.5]),
    ("softmax_cross_entropy", [HUGE, 0, -HUGE], [1.0, 0, 0], 0.0, [0.0, 0, 0]),
    ("softmax_cross_entropy", [HUGE, 0, -HUGE], [0.0, 1, 0], HUGE, [1.0, -1, 0]),
    ("softmax_cross_entropy", [HUGE, 0, -HUGE], [0.0, 0, 1], 2 * HUGE, [1.0, 0, -1]),
    ("softmax_cross_entropy", [HUGE, HUGE, -HUGE], [0.5, 0.25, 0.25], np.log(2) + HUGE / 2, [0.0, 0.25, -0.25]),
    ("softmax_cross_entropy", [-HUGE, -HUGE], [1.0, 0], np.log(2), [-0.5, 0.5]),
    ("half_squared_error", [HUGE, -HUGE], [0.0, 0.0], HUGE**2, [HUGE, -HUGE]),
    ("half_squared_error", [-HUGE, HUGE], [HUGE, HUGE], 2 * HUGE**2, [-2 * HUGE, 0.0]),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("loss", "z", "y", "cost", "expected_delta"), EXTREMES)
def test_extreme_logits_give_the_exact_cost_and_delta(loss, z, y, cost, expected_delta, dtype):
    """Finite and right; the cost without any warning, of which the overflow is one: warnings are errors here."""
    Z, Y = np.array([[z]], dtype), np.array([[y]], dtype)
    np.testing.assert_allclose(LOSSES[loss].costs(Z, Y), [[cost]], rtol=np.finfo(dtype).eps, atol=0)
    np.testing.assert_allclose(delta(loss, Z, Y), [[expected_delta]], rtol=np.finfo(dtype).eps, atol=0)


def test_the_cost_of_a_confident_right_answer_keeps_its_digits():
    """log1p, not log: at z = 50 and y = 1 the cost is e^(−50), of which 1 + e^(−50) has lost every digit."""
    Z = np.linspace(0, 100, 101)[None, :, None]
    for sign, y in [(1, 1.0), (-1, 0.0)]:
        costs = LOSSES["sigmoid_cross_entropy"].costs(sign * Z, np.full_like(Z, y))
        np.testing.assert_allclose(costs, -log_expit(Z[..., 0]), rtol=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_cost_of_a_confident_right_class_keeps_its_digits(dtype):
    """The same for softmax: with logits (z, 0, 0) it is log(1 + 2 e^(−z)), wherever the class is."""
    z = np.linspace(0, 80, 81, dtype=dtype)
    Z = np.stack([z, 0 * z, 0 * z], axis=-1)[None]
    Y = np.broadcast_to(np.eye(3, dtype=dtype)[0], Z.shape)
    expected = np.log1p(2 * np.exp(-z.astype(float)))
    for shift in range(3):
        costs = LOSSES["softmax_cross_entropy"].costs(np.roll(Z, shift, axis=-1), np.roll(Y, shift, axis=-1))
        np.testing.assert_allclose(costs[0], expected, rtol=8 * np.finfo(dtype).eps)
    tie = LOSSES["softmax_cross_entropy"].costs(np.full((1, 1, 3), 900.0, dtype), Y[:, :1])
    np.testing.assert_allclose(tie, np.log(3), rtol=8 * np.finfo(dtype).eps)


@pytest.mark.parametrize("z", [-HUGE, -50, -5, 0, 5, 50, HUGE])
@pytest.mark.parametrize("loss", LOSSES)
def test_delta_is_the_derivative_of_the_cost_at_any_logit(loss, z):
    """Central differences in each logit; at ±1000 the cost is a straight line, where any other delta would show."""
    Y, step = np.array([[[0.3, 0.7]]]), 2.0**-10
    Z = np.array([[[z, 0.25]]])
    for k, direction in enumerate(np.eye(2)):
        up, down = (LOSSES[loss].costs(Z + sign * step * direction, Y) for sign in (1, -1))
        numeric = (up - down) / (2 * step)
        np.testing.assert_allclose(delta(loss, Z, Y)[..., k], numeric, rtol=0, atol=1e-6)


@pytest.mark.parametrize("y", [0.0, 0.1, 0.5, 0.8, 1.0])
def test_sigmoid_cross_entropy_is_minimal_where_the_prediction_is_the_target(y):
    """C8: along a scan of predictions the best is ŷ = y; its cost is the entropy of y, so zero for hard labels only."""
    prediction = np.linspace(0.001, 0.999, 999)
    Z = np.log(prediction / (1 - prediction))[None, :, None]
    costs = LOSSES["sigmoid_cross_entropy"].costs(Z, np.full_like(Z, y))[0]
    entropy = -xlogy(y, y) - xlogy(1 - y, 1 - y)
    assert prediction[costs.argmin()] == pytest.approx(np.clip(y, 0.001, 0.999))
    assert (costs >= entropy).all()
    if 0 < y < 1:
        assert costs.min() == pytest.approx(entropy, rel=1e-12)
    else:
        assert LOSSES["sigmoid_cross_entropy"].costs(np.array([[[HUGE * (2 * y - 1)]]]), np.array([[[y]]])) == 0


@pytest.mark.parametrize("y", [[0.2, 0.3, 0.5], [0.98, 0.01, 0.01], [1 / 3, 1 / 3, 1 / 3]])
def test_softmax_cross_entropy_is_minimal_where_the_prediction_is_the_target(y):
    """C8 for more classes: no other distribution of a grid over the triangle costs less than the entropy of y."""
    p, q = (grid.ravel() for grid in np.meshgrid(*2 * [np.linspace(0.01, 0.98, 98)]))
    others = np.array([p, q, 1 - p - q]).T[p + q <= 0.99 + 1e-12]
    costs = LOSSES["softmax_cross_entropy"].costs(np.log(others)[None], np.array(y))[0]
    best = LOSSES["softmax_cross_entropy"].costs(np.log([[y]]), np.array(y))
    assert best == pytest.approx(-xlogy(y, y).sum(), rel=1e-12)
    assert (costs >= best - 1e-15).all()
    assert np.abs(others[costs.argmin()] - y).max() <= 0.01


@pytest.mark.parametrize("loss", LOSSES)
def test_float32_stays_float32_and_is_close(loss):
    """A double in the wrong place would double the memory and hide what single precision does."""
    Z, Y = draw(loss, spread=3)
    Z32, Y32 = Z.astype(np.float32), Y.astype(np.float32)
    for single, double in [
        (LOSSES[loss].costs(Z32, Y32), LOSSES[loss].costs(Z, Y)),
        (delta(loss, Z32, Y32), delta(loss, Z, Y)),
        (predicted(loss, Z32), predicted(loss, Z)),
    ]:
        assert single.dtype == np.float32
        np.testing.assert_allclose(single, double, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_network_with_extreme_logits_predicts_and_differentiates_in_silence(draw_network, loss):
    """The callers of the sigmoid keep the promise above: no warning (an error here), every number finite."""
    network = draw_network(loss, [])
    network.params.flat *= HUGE
    X, Y = np.array([[1.0, 1, 1, 1], [-1, -1, -1, -1]]), np.full((2, network.params.sizes[-1]), 0.5)
    assert np.isfinite(network.predict(X)).all()
    assert np.isfinite(network.costs(X, Y)).all()
    assert np.isfinite(network.gradient(X, Y).flat).all()
    assert np.isfinite(network.gradient_and_norms(X, Y)[0].flat).all()
