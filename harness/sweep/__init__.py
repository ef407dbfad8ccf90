"""Which cells a command needs, their runs, the parent run with its answer, recovery after faults, verification.

Joins `training`, `analysis`, `report` and `store`; may import every room but `app`.
"""

from harness.sweep.grid import GridCell, missing
from harness.sweep.parent import close_sweep, open_sweep, write_answer
from harness.sweep.progress import SweepProgress
from harness.sweep.recording import Assignment, Job, SweepContext, load_dataset, record_cell, weights
from harness.sweep.recovery import recover
from harness.sweep.verification import verify

__all__ = [
    "Assignment",
    "GridCell",
    "Job",
    "SweepContext",
    "SweepProgress",
    "close_sweep",
    "load_dataset",
    "missing",
    "open_sweep",
    "record_cell",
    "recover",
    "verify",
    "weights",
    "write_answer",
]
