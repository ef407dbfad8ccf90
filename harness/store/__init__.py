"""What a run has to say and how it reaches MLflow: journal, delivery, provenance, secrets, signals.

The home of MLflow. May import the rooms before it; knows runs, not sweeps.
"""

from harness.store.interrupts import INTERRUPTS, Interrupted
from harness.store.provenance import commit, environment, uncommitted
from harness.store.redaction import redacted
from harness.store.stored import Fingerprints, Stored, first_line, read
from harness.store.tracking import PATIENCE, Store, membership
from harness.store.writer import RunWriter, UnreachableError, print_traceback

__all__ = [
    "INTERRUPTS",
    "PATIENCE",
    "Fingerprints",
    "Interrupted",
    "RunWriter",
    "Store",
    "Stored",
    "UnreachableError",
    "commit",
    "environment",
    "first_line",
    "membership",
    "print_traceback",
    "read",
    "redacted",
    "uncommitted",
]
