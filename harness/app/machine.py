"""What this machine has, and cells for which it is too little."""

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from harness.config import ConfigError
from harness.runs import GridCell
from harness.training import least_bytes

CONTAINER = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")  # of cgroups 2 and 1
FEWER = "fewer seeds, epochs or updates, a smaller model.hidden or batch_size, or float32"


def check_memory(cells: Sequence[GridCell]) -> None:
    """Raises ConfigError for a cell that needs more memory than there is."""
    there = memory_bytes()
    for cell in cells:
        if (needed := least_bytes(cell.config, cell.identity.plan)) > there:
            allowed = f"at most the {_readable(there)} of this machine ({FEWER})"
            raise ConfigError(f"memory of {cell.label}", allowed, f"{_readable(needed)} or more")


def memory_bytes() -> float:
    """The memory that this process may have; infinite if the system does not say."""
    return min(_limits(), default=math.inf)


def _limits() -> Iterator[float]:
    with suppress(AttributeError, ValueError, OSError):  # no such function, or no such name
        yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for file in CONTAINER:
        with suppress(OSError, ValueError):  # it is not there, or says "max"
            yield int(Path(file).read_text(encoding="ascii"))
    with suppress(ImportError):
        import resource

        soft, _ = resource.getrlimit(resource.RLIMIT_AS)
        yield math.inf if soft == resource.RLIM_INFINITY else soft


def _readable(n_bytes: float) -> str:
    return f"{n_bytes / 1e9:.3g} GB"
