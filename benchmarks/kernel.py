"""What one update costs, here and with what else is at hand: microseconds per update and network, by batch size.

    python -m benchmarks.kernel [--short]      (from the root of the project)

Digits, 64-32-10 sigmoid, softmax cross-entropy, plain gradient steps, N = 1536 = 3 · 512 so that every batch is whole
and a compiled loop of fixed shape can take part. One thread for everybody, on one core where the system can be told.
Every arm starts from the same weights and takes the same examples in the same order; before anything is timed, all must
have reached the same cost after two epochs. Then the arms take turns, in an order that rotates from round to round;
times are medians over rounds, ratios are taken within a round.

Included: shuffling, gathering, updating; elsewhere the order is handed in, but drawn on the clock too. Not included:
compilation (reported apart). An arm whose library is missing is left out. `--short` compares with scikit-learn only and
fails when the ratio falls below a floor: no absolute time is asserted.
"""

import argparse
import csv
import os
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from harness.network import MLP, SGD, Engine, Parameters, Vectorized, evaluate
from harness.store import environment
from harness.training import Batches, Stack, pinned_blas

OUT = Path(__file__).resolve().parent.parent / "docs" / "benchmarks"
N, SIZES, RATE = 1536, (64, 32, 10), 0.1
BATCH_SIZES = (1, 8, 64, 512, N)
N_STACK = 30
EPOCHS = 30  # of training from its beginning to its end
PRODUCTS = "matrix products alone"
SECONDS = 0.06  # that a turn of an arm lasts at least
ROUNDS = 9
SHORT_SIZES, FLOORS = (1, 64, 512), {1: 2.5, 64: 1.5, 512: 1.2}  # scikit-learn's time over ours
TOLERANCE = {"float64": 1e-9, "float32": 1e-3}  # of the cost after two epochs, relative


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
    """`epochs(n)` trains n more epochs of `width` networks; `first()` gives the weights (W, b) of the first."""

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


def check(arms: dict[str, Arm], problem: Problem) -> None:
    """Two epochs, then the costs of all first networks: the same but for rounding, and lower than at the start."""
    start = _cost(Parameters(SIZES, problem.start.flat[:1]), problem)
    costs = {}
    for name, arm in arms.items():
        arm.epochs(2)
        if not isinstance(arm, Products):
            costs[name] = _cost(arm.first(), problem)
    low, high = min(costs.values()), max(costs.values())
    if not (high - low <= TOLERANCE[problem.dtype] * high and high < start):
        raise SystemExit(f"B = {problem.batch_size}, {problem.dtype}: different costs, from {start}: {costs}")


def _cost(params: Parameters, problem: Problem) -> float:
    network = MLP(Parameters(SIZES, params.flat.astype(np.float64)))
    return float(evaluate(network, problem.X.astype(np.float64), problem.targets().astype(np.float64))[0][0])


def timed(arm: Arm, n_epochs: int, n_batches: int) -> float:
    """Microseconds per update and network."""
    started = perf_counter()
    arm.epochs(n_epochs)
    return (perf_counter() - started) / (n_epochs * n_batches * arm.width) * 1e6


def measure(problem: Problem, kinds: tuple[Kind, ...], n_rounds: int) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """({arm: microseconds in each round}, {arm: seconds of compilation})."""
    arms = {kind.name: kind.build(problem) for kind in kinds}
    check(arms, problem)
    turns = {}
    for name, arm in arms.items():
        seconds = timed(arm, 1, problem.n_batches) * 1e-6 * problem.n_batches * arm.width
        turns[name] = max(1, round(SECONDS / seconds))
    times: dict[str, list[float]] = {name: [] for name in arms}
    names = list(arms)
    for i in range(n_rounds):
        for name in names[i % len(names) :] + names[: i % len(names)]:
            times[name].append(timed(arms[name], turns[name], problem.n_batches))
    compilation = {name: arm.compile_seconds for name, arm in arms.items() if arm.compile_seconds}
    return {name: np.array(values) for name, values in times.items()}, compilation


def ratio(times: dict[str, np.ndarray], name: str, ours: str) -> float:
    """How many times as long `name` takes, as the median of the rounds."""
    return float(np.median(times[name] / times[ours]))


def short() -> int:
    """scikit-learn against ours; 1 when a ratio is below its floor."""
    kinds = tuple(kind for kind in KINDS if kind.name in ("harness", "scikit-learn"))
    failed = False
    for batch_size in SHORT_SIZES:
        times, _ = measure(problem(batch_size, "float64"), kinds, ROUNDS)
        own = ratio(times, "scikit-learn", "harness")
        failed |= own < FLOORS[batch_size]
        print(f"B = {batch_size:3d}: scikit-learn takes {own:.2f} × as long; floor {FLOORS[batch_size]}")
    return int(failed)


def rows_of(problem: Problem, times: dict[str, np.ndarray], compilation: dict[str, float]) -> list[dict[str, Any]]:
    """One row per arm, for the CSV."""
    rows = []
    for name, values in times.items():
        q25, median, q75 = np.quantile(values, [0.25, 0.5, 0.75]).round(3)
        rows.append(
            {
                "dtype": problem.dtype, "batch_size": problem.batch_size, "arm": name, "median_us": median,
                "q25_us": q25, "q75_us": q75, "rounds": len(values),
                "time_over_harness": round(ratio(times, name, "harness"), 3),
                "time_over_products": round(ratio(times, name, PRODUCTS), 3),
                "compile_seconds": round(compilation.get(name, 0.0), 2),
            }
        )  # fmt: skip
    return rows


def markdown(rows: list[dict[str, Any]], machine: str) -> str:
    names = list(dict.fromkeys(row["arm"] for row in rows))
    lines = [
        "# What an update costs",
        "",
        "Microseconds per update and network: median over rounds [quartiles]. Digits, 64-32-10 sigmoid, plain gradient",
        f"steps, N = {N}, one thread; stack and vmap: {N_STACK} networks, time per network. The arms take turns.",
        "Compilation is not included, but where it says so. Written by `python -m benchmarks.kernel`, like kernel.csv.",
        "",
        machine,
        "",
    ]
    for dtype in dict.fromkeys(row["dtype"] for row in rows):
        own = [row for row in rows if row["dtype"] == dtype]
        sizes = list(dict.fromkeys(row["batch_size"] for row in own))
        lines += [
            f"## {dtype}",
            "",
            f"| | {' | '.join(f'B = {size}' for size in sizes)} |",
            "|---" * (len(sizes) + 1) + "|",
        ]
        for name in names:
            cells = {row["batch_size"]: row for row in own if row["arm"] == name}
            texts = [f"{c['median_us']:.4g} [{c['q25_us']:.4g}, {c['q75_us']:.4g}]" for c in cells.values()]
            lines.append(f"| {name} | {' | '.join(texts)} |")
        lines += [*_verdict(own, sizes), "", *_end_to_end(own, names, sizes), ""]
    return "\n".join(lines)


def _end_to_end(rows: list[dict[str, Any]], names: list[str], sizes: list[int]) -> Iterator[str]:
    """Compilation counted: what somebody waits for who trains the networks once."""
    yield f"By these times, seconds for {N_STACK} networks and {EPOCHS} epochs, with compilation. `engine=compiled` is"
    yield "loaded from disk; its first use, which takes half a minute for each dtype, has put it there."
    yield ""
    yield f"| | {' | '.join(f'B = {size}' for size in sizes)} |"
    yield "|---" * (len(sizes) + 1) + "|"
    for name in names:
        cells = [row for row in rows if row["arm"] == name and name != PRODUCTS]
        waited = [r["compile_seconds"] + r["median_us"] * 1e-6 * EPOCHS * N_STACK * N / r["batch_size"] for r in cells]
        if waited:
            yield f"| {name} | {' | '.join(f'{seconds:.3g}' for seconds in waited)} |"


def _verdict(rows: list[dict[str, Any]], sizes: list[int]) -> Iterator[str]:
    """How many times as long the fastest peer takes as the fastest of ours, and ours over its matrix products."""
    median = {(row["arm"], row["batch_size"]): row["median_us"] for row in rows}
    for label, own in (("harness or its stack", ("harness", "harness, stack")), ("any of the harness", None)):
        texts = []
        for size in sizes:
            ours = [n for n, s in median if s == size and n.startswith("harness") and (own is None or n in own)]
            peer = min((n for n, s in median if s == size and n in PEERS), key=lambda n: median[n, size])
            best = min(median[n, size] for n in ours)
            texts.append(f"{median[peer, size] / best:.2f} ({peer})")
        yield f"| **fastest peer over the fastest of {label}** | {' | '.join(texts)} |"


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    dtypes = list(dict.fromkeys(row["dtype"] for row in rows))
    figure, axes = plt.subplots(1, len(dtypes), figsize=(13, 6), sharey=True, layout="constrained", squeeze=False)
    for ax, dtype in zip(axes[0], dtypes, strict=True):
        for kind in KINDS:
            own = [row for row in rows if row["arm"] == kind.name and row["dtype"] == dtype]
            if own:
                x, y = [row["batch_size"] for row in own], [row["median_us"] for row in own]
                ax.plot(x, y, kind.style, color=kind.color, marker="o", markersize=3, linewidth=2, label=kind.name)
        sizes = sorted({row["batch_size"] for row in rows})
        ax.set(xscale="log", yscale="log", xlabel="batch size B, examples", title=dtype)
        ax.set_xticks(sizes, [str(size) for size in sizes])
        ax.minorticks_off()
        ax.grid(alpha=0.3)
    axes[0][0].set_ylabel("µs per update and network")
    axes[0][0].legend(frameon=False, fontsize=9, handlelength=4)
    figure.suptitle(
        "Time of one update (lower is faster): digits 64-32-10, one thread. "
        f"Dashed: {N_STACK} networks at once, per network"
    )
    figure.savefig(path, dpi=120)


def full() -> int:
    about = environment()
    kinds = tuple(kind for kind in KINDS if find_spec(kind.needs))
    versions = [f"{name} {_version(name)}" for name in ("numpy", "numba", "scikit-learn", "torch", "jax")]
    rows: list[dict[str, Any]] = []
    for dtype in ("float64", "float32"):
        for batch_size in BATCH_SIZES:
            case = problem(batch_size, dtype)
            rows += rows_of(case, *measure(case, kinds, ROUNDS))
            for row in rows[-len(kinds) :]:
                print(
                    *(f"{value:>22}" if isinstance(value, str) else f"{value:>9}" for value in row.values()), flush=True
                )
    OUT.mkdir(parents=True, exist_ok=True)
    with (OUT / "kernel.csv").open("w", newline="", encoding="utf8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    machine = f"{about['cpu']}, Python {about['python']}, {', '.join(versions)}; {ROUNDS} rounds; "
    machine += f"load average {os.getloadavg()[1]:.1f} at the end, 1 of it ours: above that, read ratios only."
    (OUT / "kernel.md").write_text(markdown(rows, machine), encoding="utf8")
    draw(rows, OUT / "kernel.png")
    return 0


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.kernel", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--short", action="store_true", help="against scikit-learn only; fails below a floor")
    arguments = parser.parse_args(words)
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    if find_spec("numba") and not arguments.short:
        import harness.compiled.engine  # noqa: F401  its BLAS must be loaded before it is pinned
    with pinned_blas(1):
        return short() if arguments.short else full()


if __name__ == "__main__":
    raise SystemExit(main())
