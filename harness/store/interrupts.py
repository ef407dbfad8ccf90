"""SIGINT and SIGTERM as exceptions: they unwind the stack, so that every open run ends as KILLED.

A signal is remembered and raised later in two cases: during a write to the store, which must not be cut in two, and
inside one of the interpreter's own callbacks, where Python drops the exception.
"""

import math
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Interrupted(SystemExit):
    """Raised by a signal: the process has to end. A `sys.exit` in user code, in contrast, fails that code only."""


class Interrupts:
    """A context in which SIGINT and SIGTERM raise Interrupted, once each, at a moment that is safe."""

    def __init__(self) -> None:
        self._received: int | None = None
        self._raised, self._n_received, self._n_entered = False, 0, 0
        self._deferred_below: list[float] = []  # of each open deferral, the number of signals that ends it

    def __enter__(self) -> None:
        """Inside itself, and in a thread that signals never reach, it changes nothing."""
        self._n_entered += 1
        if self._n_entered > 1 or threading.current_thread() is not threading.main_thread():
            return
        self._hook, sys.unraisablehook = sys.unraisablehook, self._on_dropped_exception
        self._handlers = {number: signal.signal(number, self._handle) for number in (signal.SIGINT, signal.SIGTERM)}

    def __exit__(self, *unused: object) -> None:
        self._n_entered -= 1
        if self._n_entered or threading.current_thread() is not threading.main_thread():
            return
        sys.unraisablehook = self._hook
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def check(self) -> None:
        """Raise Interrupted if a signal has come that is not raised yet and not deferred."""
        deferred = self._n_received < max(self._deferred_below, default=0)
        if self._received is not None and not (self._raised or deferred):
            self._raised = True
            raise Interrupted(128 + self._received)

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


INTERRUPTS = Interrupts()  # of the process
