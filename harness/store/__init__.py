"""What a run has to say and how it reaches MLflow: journal, delivery, provenance, secrets, signals.

The home of MLflow. May import the rooms before it; knows runs, not sweeps.
"""

from harness.store.checkout import commit, uncommitted_diff
from harness.store.environment import environment
from harness.store.interrupts import INTERRUPTS, Interrupted
from harness.store.reading import Fingerprints, FinishedRun, first_line, read_run
from harness.store.redaction import redacted
from harness.store.tracking import OUTAGE_SECONDS, Store, sweep_tag
from harness.store.writer import RunWriter, UnreachableError, print_traceback

__all__ = [
    "INTERRUPTS",
    "OUTAGE_SECONDS",
    "Fingerprints",
    "FinishedRun",
    "Interrupted",
    "RunWriter",
    "Store",
    "UnreachableError",
    "commit",
    "environment",
    "first_line",
    "print_traceback",
    "read_run",
    "redacted",
    "sweep_tag",
    "uncommitted_diff",
]
