"""SIGINT and SIGTERM as an orderly end: they unwind like an exception, so that every open run is closed as KILLED.

Signals belong to the process, so this is the one piece of process-wide state. Two things make it more than a handler
that raises: a write to the store must not be torn, and Python drops an exception that is raised while one of the
interpreter's own callbacks runs. Both times the signal is remembered and raised at the next opportunity.
"""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

KILLED = (128 + signal.SIGINT, 128 + signal.SIGTERM)  # exit codes


class Interrupted(SystemExit):
    """What a signal raises: the process is to end. A `sys.exit` in somebody's code is a failure of that code only."""


class Interrupts:
    """A context in which SIGINT and SIGTERM raise Interrupted, once each, at a moment that is safe."""

    def __init__(self) -> None:
        self._received: int | None = None
        self._raised = False
        self._deferred = 0
        self._patient, self._n_received = False, 0
        self._entered = 0

    def __enter__(self) -> None:
        """Within itself, and in a thread that signals never reach, it changes nothing."""
        self._entered += 1
        if self._entered > 1 or threading.current_thread() is not threading.main_thread():
            return
        self._hook, sys.unraisablehook = sys.unraisablehook, self._dropped
        self._handlers = {number: signal.signal(number, self._handle) for number in (signal.SIGINT, signal.SIGTERM)}

    def __exit__(self, *unused: object) -> None:
        self._entered -= 1
        if self._entered or threading.current_thread() is not threading.main_thread():
            return
        sys.unraisablehook = self._hook
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def check(self) -> None:
        """Raise Interrupted if a signal came that has not been raised yet."""
        waits = self._deferred or (self._patient and self._n_received < 2)
        if self._received is not None and not (self._raised or waits):
            self._raised = True
            raise Interrupted(128 + self._received)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """What comes while this context is open is raised when it closes."""
        self._deferred += 1
        try:
            yield
        finally:
            self._deferred -= 1
        self.check()

    @contextmanager
    def deferred_unless_repeated(self) -> Iterator[None]:
        """As `deferred`, for what may take long: a second signal does not wait for the end of it."""
        self._patient = True
        try:
            yield
        finally:
            self._patient = False
        self.check()

    def _handle(self, number: int, frame: object) -> None:
        """A second signal is raised again: it ends the orderly end."""
        self._received, self._raised, self._n_received = number, False, self._n_received + 1
        self.check()

    def _dropped(self, unraisable: Any) -> None:
        """Python reports an exception that it dropped: if it was ours, it is still to be raised, and no news."""
        if unraisable.exc_type is Interrupted and self._raised:
            self._raised = False
        else:
            self._hook(unraisable)


INTERRUPTS = Interrupts()
