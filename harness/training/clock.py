"""The training clock, which runs only while updating, and the thread pin that makes its readings comparable."""

import sys
from contextlib import AbstractContextManager
from functools import lru_cache
from time import perf_counter, thread_time
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController


class Clock:
    """Seconds spent inside `with clock:` so far, but for those in which the process was stopped, as by Ctrl-Z.

    Where it was stopped inside, the CPU seconds of this thread count: it does nothing else there than to compute.
    """

    n_stops: ClassVar[int] = 0  # of this process so far; see `count_stop`

    def __init__(self) -> None:
        self.seconds = 0.0
        self._started = self._cpu_before = 0.0
        self._stops_before = 0

    @classmethod
    def count_stop(cls) -> None:
        """To be called when the process goes on (SIGCONT): how long it was stopped, nobody says."""
        Clock.n_stops += 1

    def __enter__(self) -> None:
        self._stops_before, self._cpu_before = Clock.n_stops, thread_time()
        self._started = perf_counter()

    def __exit__(self, *_: object) -> None:
        seconds = perf_counter() - self._started
        if Clock.n_stops > self._stops_before:
            seconds = min(seconds, thread_time() - self._cpu_before)
        self.seconds += seconds


def pinned_blas(threads: int) -> AbstractContextManager[object]:
    """Limit BLAS to `threads` threads inside the context: sums keep their order, and timings their meaning."""
    return thread_pools().limit(limits=threads, user_api="blas")


def thread_pools() -> "ThreadpoolController":
    """The libraries of this process that have threads of their own.

    Looked for again once a module has been imported, as only that loads another library: a look takes milliseconds.
    """
    return _thread_pools(len(sys.modules))


@lru_cache(maxsize=1)
def _thread_pools(n_modules: int) -> "ThreadpoolController":
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
