"""How long a process waits for a store that does not answer: for all its questions together, not for each.

The last steps of a sweep ask a dozen of them, and the store may be gone for good.
"""

import time

OUTAGE_SECONDS = 60.0  # that a process waits in one outage


class Outage:
    """An outage begins with the first question in vain, and ends with an answer, or when nobody asked for as long."""

    def __init__(self) -> None:
        self._began = self._failed = float("-inf")

    def left(self, asked: float) -> float:
        """Seconds for which a question, asked then (monotonic) and just now in vain, may be asked again."""
        now = time.monotonic()
        if now - self._failed > OUTAGE_SECONDS:
            self._began = asked
        self._failed = now
        return self._began + OUTAGE_SECONDS - now

    def ends(self) -> None:
        """The store has answered."""
        self._failed = float("-inf")


OUTAGE = Outage()  # of the process, as its questions go to one store
