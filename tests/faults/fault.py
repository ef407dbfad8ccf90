"""A fault: what happens to a sweep, and what must be true afterwards."""

from collections.abc import Callable
from dataclasses import dataclass

from .records import Tally


class NotHere(Exception):  # noqa: N818 - it is no error
    """This machine does not allow the fault."""


@dataclass(frozen=True)
class Fault:
    """title: as in the table. group: faults of one group share what is slow to start.

    bug: an error is planted in the program, so that a traceback is due.
    """

    name: str
    title: str
    group: str
    bug: bool
    try_it: Callable[..., Tally]


FAULTS: dict[str, Fault] = {}


def fault(title: str, group: str = "", bug: bool = False) -> Callable[[Callable[..., Tally]], Callable[..., Tally]]:
    def register(try_it: Callable[..., Tally]) -> Callable[..., Tally]:
        FAULTS[try_it.__name__] = Fault(try_it.__name__, title, group or try_it.__name__, bug, try_it)
        return try_it

    return register
