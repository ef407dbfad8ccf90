"""The least time that an update could take on this machine, from what its parts take in the best of cases.

Products at the measured peak of multiply-adds, exponentials in the cache, one pass over the weights, one after the
other. Not in it: shuffling and gathering, biases, maxima and sums of softmax, slopes, loads and stores of products.
"""

from collections.abc import Callable
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from benchmarks.kernel.arms import SIZES

D, H, K = SIZES
FLOP = 2 * (2 * (D * H + H * K) + H * K)  # of the products, per example: forward, gradients, delta Wᵀ
EXPONENTIALS = H + K  # per example
N_WEIGHTS = (D + 1) * H + (H + 1) * K
REPEATS, CHAINS = 15, 8


class Floor(NamedTuple):
    """Flop per microsecond at the peak; microseconds of an exponential and of a pass over the weights."""

    peak: float
    exponential: float
    weights: float

    def microseconds(self, batch_size: int) -> float:
        return batch_size * (FLOP / self.peak + EXPONENTIALS * self.exponential) + self.weights

    def percent_of_peak(self, batch_size: int, microseconds: float) -> float:
        return 100 * batch_size * FLOP / microseconds / self.peak


def measured_floor(dtype: str) -> Floor:
    """By machine code of the compiled engine's own vectors, in one thread; the fastest of some repeats."""
    from harness.compiled import vectors

    multiply, exponentiate, step = _functions()
    number, n = np.dtype(dtype).type, 100_000
    lanes = vectors.BYTES // np.dtype(dtype).itemsize
    out, z = vectors.aligned(CHAINS * lanes, dtype), vectors.aligned(64 * H, dtype)
    theta, g = vectors.aligned(N_WEIGHTS, dtype), vectors.aligned(N_WEIGHTS, dtype)
    peak = 2 * CHAINS * lanes * n / _fastest(lambda: multiply(out, number(0.5), n))
    exponential = _fastest(lambda: exponentiate(z, 100)) / (100 * z.size)
    return Floor(peak, exponential, _fastest(lambda: step(theta, g, number(0.1), 100)) / 100)


def _fastest(run: Callable[[], Any]) -> float:
    """Microseconds."""
    run()
    times = []
    for _ in range(REPEATS):
        started = perf_counter()
        run()
        times.append(perf_counter() - started)
    return min(times) * 1e6


def _functions() -> tuple[Callable[..., Any], ...]:
    import numba

    from harness.compiled.vectors import BYTES, filled, inplace_exp, load, plus, store

    @numba.njit
    def multiply(out: Any, a: Any, n: int) -> None:
        """n multiply-adds of each of eight vectors, which do not wait for one another."""
        lanes, x = BYTES // out.itemsize, filled(a)
        s0, s1, s2, s3 = load(out, 0), load(out, lanes), load(out, 2 * lanes), load(out, 3 * lanes)
        s4, s5, s6, s7 = load(out, 4 * lanes), load(out, 5 * lanes), load(out, 6 * lanes), load(out, 7 * lanes)
        for _ in range(n):
            s0, s1, s2, s3 = plus(x, s0, x), plus(x, s1, x), plus(x, s2, x), plus(x, s3, x)
            s4, s5, s6, s7 = plus(x, s4, x), plus(x, s5, x), plus(x, s6, x), plus(x, s7, x)
        store(out, 0, plus(plus(s0, a, s1), a, plus(s2, a, s3)))
        store(out, lanes, plus(plus(s4, a, s5), a, plus(s6, a, s7)))

    @numba.njit(error_model="numpy")
    def exponentiate(z: Any, n: int) -> None:
        for _ in range(n):
            for i in range(z.size):
                z[i] = -z[i]
            inplace_exp(z)

    @numba.njit
    def step(theta: Any, g: Any, eta: Any, n: int) -> None:
        for _ in range(n):
            for i in range(g.size):
                theta[i] -= eta * g[i]

    return multiply, exponentiate, step
