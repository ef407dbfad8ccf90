"""Each update rule against its textbook formula, in another algebraic form where there is one, and closed forms."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from harness.network.optimizers import OPTIMIZERS, SGD, Momentum, Nesterov
from harness.network.parameters import Parameters

SIZES = (3, 4, 2)
N_STACK = 3
N_STEPS = 5
DTYPES = [np.float64, np.float32]
ROUNDING = {np.float64: 1e-14, np.float32: 1e-5}
RATE = 0.1

# Each takes the gradients as they come and yields the parameters after each of them.


def sgd(theta: np.ndarray, grads: list[np.ndarray]) -> Iterator[np.ndarray]:
    for g in grads:
        theta = theta - RATE * g
        yield theta


def momentum(theta: np.ndarray, grads: list[np.ndarray]) -> Iterator[np.ndarray]:
    """Polyak's form without a velocity: θ_(t+1) = θ_t − η g_t + μ (θ_t − θ_(t−1))."""
    before = theta
    for g in grads:
        theta, before = theta - RATE * g + 0.9 * (theta - before), theta
        yield theta


def nesterov(lookahead: np.ndarray, grads: list[np.ndarray]) -> Iterator[np.ndarray]:
    """Sutskever's form: g is the gradient at θ + μv, and θ + μv is what a library stores as its parameters."""
    theta, v = lookahead, 0.0 * lookahead
    for g in grads:
        v = 0.9 * v - RATE * g
        theta = theta + v
        yield theta + 0.9 * v


def adam(theta: np.ndarray, grads: list[np.ndarray]) -> Iterator[np.ndarray]:
    """Kingma & Ba's algorithm 1 with bias-corrected m̂ and v̂, where their ε is ε̂ / √(1 − β2ᵗ)."""
    m, v = 0.0 * theta, 0.0 * theta
    for t, g in enumerate(grads, start=1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        m_hat, v_hat, epsilon = m / (1 - 0.9**t), v / (1 - 0.999**t), 1e-3 / np.sqrt(1 - 0.999**t)
        theta = theta - RATE * m_hat / (np.sqrt(v_hat) + epsilon)
        yield theta


def rmsprop(theta: np.ndarray, grads: list[np.ndarray]) -> Iterator[np.ndarray]:
    """The average of the squares written out: v = Σ_s (1 − β2) β2^(t−s) g_s²."""
    for t, g in enumerate(grads, start=1):
        v = sum(0.1 * 0.9 ** (t - s) * grads[s - 1] ** 2 for s in range(1, t + 1))
        theta = theta - RATE * g / (np.sqrt(v) + 1e-3)
        yield theta


TEXTBOOK: dict[str, Callable[[np.ndarray, list[np.ndarray]], Iterator[np.ndarray]]] = {
    "sgd": sgd,
    "momentum": momentum,
    "nesterov": nesterov,
    "adam": adam,
    "rmsprop": rmsprop,
}
SETTINGS = {
    "sgd": {},
    "momentum": {"momentum": 0.9},
    "nesterov": {"momentum": 0.9},
    "adam": {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-3},  # an ε large enough to be seen
    "rmsprop": {"beta2": 0.9, "epsilon": 1e-3},
}


def draw(dtype: type = np.float64, n_stack: int = N_STACK) -> tuple[Parameters, list[np.ndarray]]:
    """Parameters and five gradients, (R, P), of sizes from 0.01 to 100."""
    rng = np.random.default_rng(2)
    shape = n_stack, Parameters.count(SIZES)
    grads = [rng.normal(size=shape) * 10 ** rng.uniform(-2, 2, size=shape) for _ in range(N_STEPS)]
    return Parameters(SIZES, rng.normal(size=shape).astype(dtype)), [g.astype(dtype) for g in grads]


def build(name: str, params: Parameters, learning_rate=RATE, **common):
    return OPTIMIZERS[name](params, learning_rate, **SETTINGS[name], **common)


def steps(optimizer, theta: np.ndarray, grads: list[np.ndarray]) -> list[np.ndarray]:
    """The parameters after each step; the optimiser destroys its gradient, so it gets a copy."""
    path = []
    for g in grads:
        optimizer.inplace_step(theta, g.copy())
        path.append(theta.copy())
    return path


def test_every_optimizer_has_its_textbook_here():
    assert set(TEXTBOOK) == set(SETTINGS) == set(OPTIMIZERS)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_hyperparameters_name_what_the_constructor_takes(name):
    """The configuration fills them by name."""
    assert set(OPTIMIZERS[name].hyperparameters) == set(SETTINGS[name])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_five_steps_follow_the_textbook(name, dtype):
    """The reference is in double precision; in single the path stays single, and close."""
    params, grads = draw(dtype)
    start = params.flat.astype(np.float64)
    path = steps(build(name, params), params.flat, grads)
    for own, expected in zip(path, TEXTBOOK[name](start, [g.astype(np.float64) for g in grads]), strict=True):
        assert own.dtype == dtype
        np.testing.assert_allclose(own, expected, rtol=ROUNDING[dtype], atol=ROUNDING[dtype])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_learning_rates_of_a_stack_are_those_of_separate_runs_to_the_bit(name):
    params, grads = draw()
    start, rates = params.flat.copy(), np.array([0.3, 1e-3, 0.07])
    together = steps(build(name, params, rates, weight_decay=0.1, clip_norm=1.0), params.flat, grads)
    for r, rate in enumerate(rates):
        alone = Parameters(SIZES, start[r : r + 1].copy())
        rule = build(name, alone, rate, weight_decay=0.1, clip_norm=1.0)
        for one, own in zip(together, steps(rule, alone.flat, [g[r : r + 1] for g in grads]), strict=True):
            assert own.tobytes() == one[r].tobytes()


@pytest.mark.parametrize("rates", [RATE, (0.3, 1e-3, 0.07)], ids=["one rate", "a rate each"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_forgetting_a_network_leaves_the_others_their_state(name, rates):
    """`select` after two steps: networks 0 and 2 go on as if 1 had stayed, to the bit."""
    params, grads = draw()
    start = params.flat.copy()
    expected = steps(build(name, params, rates), params.flat, grads)[-1]
    rule = build(name, Parameters(SIZES, start), rates)
    steps(rule, start, grads[:2])
    keep = np.array([0, 2])
    rule.select(keep)
    kept = start[keep]
    assert steps(rule, kept, [g[keep] for g in grads[2:]])[-1].tobytes() == expected[keep].tobytes()


def weights_mask() -> np.ndarray:
    """1 at every weight, 0 at every bias, (1, P)."""
    mask = Parameters(SIZES, np.zeros((1, Parameters.count(SIZES))))
    for W in mask.W:
        W[:] = 1
    return mask.flat


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_weight_decay_is_the_gradient_of_its_penalty_on_weights_only(name):
    """λθ added to the gradient: central differences of ½λ‖W‖² say what to add; biases move as without it."""
    params, grads = draw()
    start, decayed = params.flat.copy(), Parameters(SIZES, params.flat.copy())

    def penalty(theta: np.ndarray) -> float:
        return 0.5 * 0.2 * sum((W**2).sum() for W in Parameters(SIZES, theta).W)

    slope = np.empty_like(start)
    for index in np.ndindex(start.shape):
        up, down = start.copy(), start.copy()
        up[index] += 0.5
        down[index] -= 0.5
        slope[index] = penalty(up) - penalty(down)  # exact but for rounding: the penalty is a parabola
    (expected,) = steps(build(name, params), params.flat, [grads[0] + slope])
    (own,) = steps(build(name, decayed, weight_decay=0.2), decayed.flat, grads[:1])
    np.testing.assert_allclose(own, expected, rtol=1e-11, atol=1e-11)
    biases = weights_mask()[0] == 0
    plain = Parameters(SIZES, start.copy())
    (without,) = steps(build(name, plain), plain.flat, grads[:1])
    assert (own[:, biases] == without[:, biases]).all()
    assert (own[:, ~biases] != without[:, ~biases]).any()


def test_weight_decay_alone_shrinks_weights_geometrically():
    """With no gradient W_t = (1 − ηλ)ᵗ W_0, and b stays."""
    params, _ = draw()
    start = params.flat.copy()
    steps(SGD(params, RATE, weight_decay=0.5), params.flat, 100 * [np.zeros_like(start)])
    np.testing.assert_allclose(params.flat, start * np.where(weights_mask(), (1 - RATE * 0.5) ** 100, 1), rtol=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_clipping_leaves_shorter_gradients_alone_to_the_bit(name, dtype):
    params, grads = draw(dtype)
    clipped, longest = Parameters(SIZES, params.flat.copy()), max(np.linalg.norm(g, axis=1).max() for g in grads)
    free = steps(build(name, params), params.flat, grads)
    held = steps(build(name, clipped, clip_norm=float(longest) * 1.001), clipped.flat, grads)
    assert all((a == b).all() for a, b in zip(free, held, strict=True))


@pytest.mark.parametrize("dtype", DTYPES)
def test_clipping_shortens_each_network_to_the_norm_without_turning_it(dtype):
    """Global means over all layers of one network, not over the stack: the short one of the stack is left as it is."""
    params, (grad, *_) = draw(dtype)
    grad[1] *= dtype(0.5 / np.linalg.norm(grad[1]))
    start = params.flat.copy()
    SGD(params, 1.0, clip_norm=1.0).inplace_step(params.flat, grad.copy())
    norms = np.linalg.norm(grad.astype(np.float64), axis=1, keepdims=True)
    expected = grad * np.minimum(1, 1 / norms)
    np.testing.assert_allclose(start - params.flat, expected, rtol=1e-4, atol=5 * np.finfo(dtype).eps)
    assert norms.round(3).flatten()[1] == 0.5


def test_clipping_comes_before_weight_decay():
    """The penalty is not part of what is clipped: a decay larger than the norm goes through whole."""
    params, (grad, *_) = draw()
    start, norms = params.flat.copy(), np.linalg.norm(grad, axis=1, keepdims=True)
    SGD(params, 1.0, clip_norm=1e-3, weight_decay=0.5).inplace_step(params.flat, grad.copy())
    expected = grad * 1e-3 / norms + 0.5 * start * weights_mask()
    np.testing.assert_allclose(start - params.flat, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_no_gradient_is_no_step_and_no_warning(name):
    """0/0 must not arise in clipping or in an adaptive rule: a dead unit has a gradient of exactly zero."""
    params, _ = draw()
    start = params.flat.copy()
    steps(build(name, params, clip_norm=1.0), params.flat, 3 * [np.zeros_like(start)])
    assert (params.flat == start).all()


# Closed forms on a parabola ½hθ².

H = np.array([[0.1, 1.0, 5.0, 19.0]])


def path_on_parabola(rule: type[SGD], learning_rate: float, n_steps: int, **settings: float) -> np.ndarray:
    """θ after each step from θ = 1, (t, 4): one column per curvature."""
    params = Parameters((1, 2), np.ones((1, 4)))
    optimizer = rule(params, learning_rate, **settings)
    path = [params.flat[0].copy()]
    for _ in range(n_steps):
        optimizer.inplace_step(params.flat, H * params.flat)
        path.append(params.flat[0].copy())
    return np.array(path)


def test_sgd_on_a_parabola_is_a_geometric_series():
    """θ_t = (1 − ηh)ᵗ θ_0, which also swings (ηh > 1) and at ηh = 2 would no longer shrink."""
    t = np.arange(101)[:, None]
    np.testing.assert_allclose(path_on_parabola(SGD, RATE, 100), (1 - RATE * H) ** t, rtol=1e-12, atol=1e-15)
    assert abs(path_on_parabola(SGD, 2.01 / 19, 100)[-1, 3]) > 2
    assert abs(path_on_parabola(SGD, 1.99 / 19, 100)[-1, 3]) < 0.5


@pytest.mark.parametrize("rule", [Momentum, Nesterov])
def test_momentum_on_a_parabola_decays_like_its_characteristic_roots(rule):
    """Both are linear recurrences of order two; the closed form is A r₁ᵗ + B r₂ᵗ with the roots of their polynomial."""
    path = path_on_parabola(rule, RATE, 60, momentum=0.8)
    for h, own in zip(H[0], path.T, strict=True):
        damping = 1 - RATE * h if rule is Nesterov else 1  # Nesterov: θ_(t+1) = (1−ηh)((1+μ)θ_t − μθ_(t−1))
        linear = damping * 1.8 if rule is Nesterov else 1.8 - RATE * h
        roots = np.roots([1, -linear, 0.8 * damping])
        A, B = np.linalg.solve([[1, 1], roots], own[:2].astype(complex))
        closed = [(A * roots[0] ** t + B * roots[1] ** t).real for t in range(61)]
        np.testing.assert_allclose(own, closed, rtol=1e-9, atol=1e-9)


def test_sgd_on_a_noisy_parabola_has_the_published_cost():
    """Zhang et al. 2019: E l(t) = (1−ηh)²ᵗ l(0) + ηh²σ²/(2B(2−ηh)) · (1 − (1−ηh)²ᵗ), gradients h(θ − c), var c = σ².

    4000 replicas in one stack; the average must lie within five standard errors, at three times and two batch sizes.
    """
    n_replicas, h, sigma, rng = 4000, 2.0, 1.5, np.random.default_rng(6)
    for batch_size in (1, 16):
        params = Parameters((1, 1), np.full((n_replicas, 2), 3.0))
        optimizer = SGD(params, RATE)
        for t in range(1, 61):
            noise = sigma / np.sqrt(batch_size) * rng.normal(size=params.flat.shape)
            optimizer.inplace_step(params.flat, h * (params.flat - noise))
            if t in (1, 10, 60):
                shrunk = (1 - RATE * h) ** (2 * t)
                floor = RATE * h**2 * sigma**2 / (2 * batch_size * (2 - RATE * h))
                costs = 0.5 * h * params.flat**2
                error = costs.std() / np.sqrt(costs.size)
                assert abs(costs.mean() - (shrunk * 0.5 * h * 9 + floor * (1 - shrunk))) < 5 * error
