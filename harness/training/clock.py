"""The training clock, which runs only while updating, and the thread pin that makes its readings comparable."""

from contextlib import AbstractContextManager
from time import perf_counter


class Clock:
    """Seconds spent inside `with clock:` so far."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._started = 0.0

    def __enter__(self) -> None:
        self._started = perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds += perf_counter() - self._started


def pinned_blas(threads: int) -> AbstractContextManager[object]:
    """Limit BLAS to `threads` threads inside the context: sums keep their order, and timings their meaning."""
    from threadpoolctl import threadpool_limits

    return threadpool_limits(limits=threads, user_api="blas")
