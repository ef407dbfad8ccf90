"""SIGINT, SIGTERM and SIGHUP as exceptions: they unwind the stack, so that every open run ends as KILLED.

A signal is remembered and raised later in two cases: during a write to the store, which must not be cut in two, and
inside one of the interpreter's own callbacks, where Python drops the exception.
"""

import math
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP
STOPPING = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]


class Interrupted(SystemExit):
    """Raised by a signal: the process has to end. A `sys.exit` in user code, in contrast, fails that code only."""


class Interrupts:
    """A context in which SIGINT, SIGTERM and SIGHUP raise Interrupted, once each, at a moment that is safe.

    A SIGHUP that is ignored, as after `nohup`, stays ignored.
    """

    def __init__(self) -> None:
        self._received: int | None = None
        self._raised, self._n_received, self._n_entered = False, 0, 0
        self._deferred_below: list[float] = []  # of each open deferral, the number of signals that ends it

    def __enter__(self) -> None:
        """Inside itself, and in a thread that signals never reach, it changes nothing but `insist`s."""
        self.insist()
        self._n_entered += 1
        if self._n_entered > 1 or threading.current_thread() is not threading.main_thread():
            return
        self._received, self._n_received = None, 0  # those of an earlier context have been answered
        self._hook, sys.unraisablehook = sys.unraisablehook, self._on_dropped_exception
        stopping = [number for number in STOPPING if not _is_ignored_hangup(number)]
        self._handlers = {number: signal.signal(number, self._handle) for number in stopping}

    def __exit__(self, *unused: object) -> None:
        self._n_entered -= 1
        if self._n_entered or threading.current_thread() is not threading.main_thread():
            return
        sys.unraisablehook = self._hook
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    @property
    def exit_code(self) -> int:
        """Of a process that the last signal ends; 0 if none came."""
        return 0 if self._received is None else 128 + self._received

    def check(self) -> None:
        """Raise Interrupted if a signal has come that is not raised yet and not deferred."""
        deferred = self._n_received < max(self._deferred_below, default=0)
        if self._received is not None and not (self._raised or deferred):
            self._raised = True
            raise Interrupted(self.exit_code)

    def insist(self) -> None:
        """Raise Interrupted if a signal has come: where work goes on, a library must have swallowed its exception."""
        if self._n_entered and self._received is not None:
            self._raised = True
            raise Interrupted(self.exit_code)

    @contextmanager
    def deferred(self, unless_repeated: bool = False) -> Iterator[None]:
        """Signals that come inside this context are raised when it closes; unless_repeated: a second one at once."""
        n_signals = 2 if unless_repeated else math.inf
        self._deferred_below.append(n_signals)
        try:
            yield
        finally:
            self._deferred_below.remove(n_signals)
        self.check()

    def _handle(self, number: int, frame: object) -> None:
        self._received, self._raised, self._n_received = number, False, self._n_received + 1
        self.check()

    def _on_dropped_exception(self, unraisable: Any) -> None:
        """Python reports an exception that it dropped. An Interrupted is raised again later instead of reported."""
        if unraisable.exc_type is Interrupted and self._raised:
            self._raised = False
        else:
            self._hook(unraisable)


def _is_ignored_hangup(number: int) -> bool:
    return number not in (signal.SIGINT, signal.SIGTERM) and signal.getsignal(number) is signal.SIG_IGN


@contextmanager
def when_continued(call: Callable[[], None]) -> Iterator[None]:
    """Call a function each time that the process goes on after it was stopped, as by Ctrl-Z."""
    if not hasattr(signal, "SIGCONT") or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGCONT, lambda number, frame: call())
    try:
        yield
    finally:
        signal.signal(signal.SIGCONT, before)


INTERRUPTS = Interrupts()  # of the process
