"""What must hold on any machine, however slow or busy: every phase is found, and an answer is not a training."""

from collections.abc import Iterator

from benchmarks.command.report import typical
from benchmarks.command.runs import HELP, OLD, REFUSED, UNKNOWN, Runs

SHARE = 0.6  # of the CPU time of a sweep that hardly trains


def broken(found: Runs) -> Iterator[str]:
    """A line for everything that does not hold."""
    for name in sorted({name for runs in found.values() for one in runs for name in one.missing}):
        yield f"{name} is not there any more: its time is charged to whatever calls it"
    sweep = typical(found[OLD]).cpu
    for name in (HELP, REFUSED, UNKNOWN):
        share = typical(found[name]).cpu / sweep
        if share > SHARE:
            yield f"{name} takes {share:.0%} of the CPU time of a sweep: something heavy is imported"
