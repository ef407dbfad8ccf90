"""The same training by the harness and by other libraries, from the same weights through the same batches."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from harness.network import MLP, SGD, Engine, Parameters, Vectorized
from harness.training import Batches, Stack

N, SIZES, RATE = 1536, (64, 32, 10), 0.1
N_STACK = 30
PRODUCTS = "matrix products alone"


class Problem(NamedTuple):
    """What every arm is given: data, batch size, dtype, the initial weights of 30 networks, an order for each."""

    X: np.ndarray
    y: np.ndarray
    batch_size: int
    dtype: str
    start: Parameters

    def targets(self) -> np.ndarray:
        """Y, one-hot."""
        return np.eye(SIZES[-1], dtype=self.dtype)[self.y]

    @property
    def n_batches(self) -> int:
        return N // self.batch_size

    def orders(self, r: int) -> Iterator[np.ndarray]:
        """The permutation of every epoch of network r; of the whole set, none."""
        rng = np.random.default_rng(r)
        while True:
            yield np.arange(N) if self.batch_size == N else rng.permutation(N)


def problem(batch_size: int, dtype: str) -> Problem:
    from sklearn.datasets import load_digits

    digits = load_digits()
    rngs = [np.random.default_rng([1, r]) for r in range(N_STACK)]
    start = Parameters.initialized(SIZES, "glorot_uniform", rngs, np.dtype(dtype))
    return Problem((digits.data[:N] / 16).astype(dtype), digits.target[:N], batch_size, dtype, start)


class Arm:
    """`epochs(n)` trains n more epochs of `width` networks; `first()` returns the weights (W, b) of the first."""

    width = 1
    compile_seconds = 0.0

    def epochs(self, n: int) -> None:
        raise NotImplementedError

    def first(self) -> Parameters:
        raise NotImplementedError


class Ours(Arm):
    def __init__(self, problem: Problem, width: int, compiled: bool = False) -> None:
        engine: type[Engine] = Vectorized
        if compiled:
            from harness.compiled import Compiled

            engine = Compiled
        self.width, self.n_batches = width, problem.n_batches
        params = Parameters(SIZES, problem.start.flat[:width].copy())
        rngs = [np.random.default_rng(r) for r in range(width)]
        cut = Batches(N, problem.batch_size, "reshuffle", "keep", rngs)
        examples = problem.X, problem.targets()
        self.stack = Stack(
            range(width), engine(MLP(params), SGD(params, RATE), examples, "mean"), cut, examples,
            record_batch_costs=False,
        )  # fmt: skip
        started = perf_counter()
        self.stack.warm_up()
        self.compile_seconds = perf_counter() - started if compiled else 0.0

    def epochs(self, n: int) -> None:
        self.stack.advance(self.stack.update + n * self.n_batches)

    def first(self) -> Parameters:
        return Parameters(SIZES, self.stack.network.params.flat[:1])


class ScikitLearn(Arm):
    """MLPClassifier.fit, led to our weights and orders; each call fits anew, its preparations included."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.fitted: Any = None

    def epochs(self, n: int) -> None:
        import warnings
        from unittest.mock import patch

        from sklearn.neural_network import MLPClassifier, _multilayer_perceptron

        problem = self.problem
        weights = iter([(W[0].copy(), b[0, 0].copy()) for W, b in zip(problem.start.W, problem.start.b, strict=True)])
        orders = problem.orders(0)

        class Led(MLPClassifier):
            def _init_coef(self, fan_in: int, fan_out: int, dtype: Any) -> Any:
                return next(weights)

        led = Led(
            SIZES[1:-1], activation="logistic", solver="sgd", alpha=0, batch_size=problem.batch_size,
            learning_rate_init=RATE, momentum=0, max_iter=n, n_iter_no_change=n + 1,
        )  # fmt: skip
        with patch.object(_multilayer_perceptron, "shuffle", lambda *_, **__: next(orders)), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.fitted = led.fit(problem.X, problem.y)

    def first(self) -> Parameters:
        return Parameters.from_weights(self.fitted.coefs_, self.fitted.intercepts_)


class Torch(Arm):
    """The loop that everybody writes: zero_grad, loss, backward, step."""

    def __init__(self, problem: Problem) -> None:
        import torch

        torch.set_num_threads(1)
        self.problem, self.orders, self.torch = problem, problem.orders(0), torch
        linear = [torch.nn.Linear(n_in, n_out) for n_in, n_out in pairwise(SIZES)]
        for layer, W, b in zip(linear, problem.start.W, problem.start.b, strict=True):
            layer.weight = torch.nn.Parameter(torch.tensor(W[0].T.copy()))
            layer.bias = torch.nn.Parameter(torch.tensor(b[0, 0].copy()))
        self.linear, self.model = linear, torch.nn.Sequential(linear[0], torch.nn.Sigmoid(), linear[1])
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=RATE)
        self.loss = torch.nn.CrossEntropyLoss()
        self.X, self.y = torch.tensor(problem.X), torch.tensor(problem.y)

    def epochs(self, n: int) -> None:
        for _ in range(n):
            order = self.torch.from_numpy(next(self.orders))
            for rows in order.split(self.problem.batch_size):
                self.optimizer.zero_grad()
                self.loss(self.model(self.X[rows]), self.y[rows]).backward()
                self.optimizer.step()

    def first(self) -> Parameters:
        return Parameters.from_weights(
            [layer.weight.detach().numpy().T for layer in self.linear],
            [layer.bias.detach().numpy() for layer in self.linear],
        )


class Jax(Arm):
    """An epoch is one jitted lax.scan over its batches; of several networks vmapped over weights and orders."""

    def __init__(self, problem: Problem, width: int) -> None:
        import jax

        jax.config.update("jax_enable_x64", True)
        self.width, self.jax = width, jax
        self.orders = [problem.orders(r) for r in range(width)]
        self.shape = width, problem.n_batches, problem.batch_size
        X, Y = jax.numpy.array(problem.X), jax.numpy.array(problem.targets())
        rate = problem.X.dtype.type(RATE)

        def cost(weights: Any, rows: Any) -> Any:
            (W1, b1), (W2, b2) = weights
            Z = jax.nn.sigmoid(X[rows] @ W1 + b1) @ W2 + b2
            return -(Y[rows] * jax.nn.log_softmax(Z)).sum(axis=-1).mean()

        def update(weights: Any, rows: Any) -> Any:
            gradient = jax.grad(cost)(weights, rows)
            return jax.tree.map(lambda w, g: w - rate * g, weights, gradient), None

        def epoch(weights: Any, order: Any) -> Any:
            return jax.lax.scan(update, weights, order)[0]

        start = zip(problem.start.W, problem.start.b, strict=True)
        weights = [(jax.numpy.array(W[:width]), jax.numpy.array(b[:width, 0])) for W, b in start]
        self.weights = weights if width > 1 else jax.tree.map(lambda w: w[0], weights)
        started = perf_counter()
        order = np.zeros(self.shape, np.int32) if width > 1 else np.zeros(self.shape[1:], np.int32)
        self.epoch = jax.jit(epoch if width == 1 else jax.vmap(epoch)).lower(self.weights, order).compile()
        self.compile_seconds = perf_counter() - started

    def epochs(self, n: int) -> None:
        for _ in range(n):
            order = np.stack([next(own) for own in self.orders]).astype(np.int32).reshape(self.shape)
            self.weights = self.epoch(self.weights, order if self.width > 1 else order[0])
        self.jax.block_until_ready(self.weights)

    def first(self) -> Parameters:
        own = self.weights if self.width == 1 else self.jax.tree.map(lambda w: w[0], self.weights)
        return Parameters.from_weights([np.asarray(W) for W, _ in own], [np.asarray(b) for _, b in own])


class Products(Arm):
    """The five matrix products of an update by np.dot and nothing else: a floor for batches that are not small."""

    def __init__(self, problem: Problem) -> None:
        B, (D, H, K), dtype = problem.batch_size, SIZES, problem.dtype
        X, A, delta1, delta2 = (np.full((B, n), 0.1, dtype) for n in (D, H, H, K))
        W1, W2 = problem.start.W[0][0], problem.start.W[1][0]
        dW1, dW2, Z1, Z2 = np.empty_like(W1), np.empty_like(W2), A.copy(), delta2.copy()
        self.products = [(X, W1, Z1), (A, W2, Z2), (A.T, delta2, dW2), (delta2, W2.T, delta1), (X.T, delta1, dW1)]
        self.n_batches = problem.n_batches

    def epochs(self, n: int) -> None:
        for _ in range(n * self.n_batches):
            for A, B, out in self.products:
                np.dot(A, B, out)


class Kind(NamedTuple):
    """An arm's name, how to build it, the library that it needs, and how it is drawn."""

    name: str
    build: Callable[[Problem], Arm]
    needs: str
    color: str
    style: str


KINDS = (
    Kind("harness", lambda p: Ours(p, 1), "numpy", "#0072B2", "-"),
    Kind("harness, stack", lambda p: Ours(p, N_STACK), "numpy", "#0072B2", "--"),
    Kind("harness, compiled", lambda p: Ours(p, 1, compiled=True), "numba", "#D55E00", "-"),
    Kind("harness, compiled stack", lambda p: Ours(p, N_STACK, compiled=True), "numba", "#D55E00", "--"),
    Kind("scikit-learn", ScikitLearn, "sklearn", "#009E73", "-"),
    Kind("PyTorch eager", Torch, "torch", "#CC79A7", "-"),
    Kind("JAX jit, scan", lambda p: Jax(p, 1), "jax", "#000000", "-"),
    Kind("JAX jit, vmap", lambda p: Jax(p, N_STACK), "jax", "#000000", "--"),
    Kind(PRODUCTS, Products, "numpy", "#999999", ":"),
)
PEERS = ("scikit-learn", "PyTorch eager", "JAX jit, scan", "JAX jit, vmap")
