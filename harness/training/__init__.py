"""From a configuration and data to a trained cell: order of examples, clock, loop, and the tables of what happened.

Also what identifies a cell (`identity`), how long it will take (`estimate`), and the time of an update (`timing`). May
import `network`, `compiled`, `config` and `data`; nothing here writes a file or reads a store.
"""

from harness.training.cell import Cell, CellResult, Plan, plan_for, with_task
from harness.training.checkpoints import DIVERGED_AT, Outcome, is_geometric, next_checkpoint
from harness.training.clock import Clock, pinned_blas, thread_pools
from harness.training.diagnostics import OBSERVERS, Diagnostics, Observer
from harness.training.estimate import estimate_seconds
from harness.training.footprint import least_bytes
from harness.training.identity import WITHOUT_EFFECT, Identity, code_digest, code_of, decisive_values, identify
from harness.training.loop import Budget, Fingerprint, Record, digest
from harness.training.noise import average_noise_scale, pooled_noise_scale
from harness.training.order import Batches
from harness.training.sets import HELD_OUT, draw_sets, keeping_last
from harness.training.spread import Latest, curve, quartiles
from harness.training.stack import Stack
from harness.training.tables import to_target
from harness.training.timing import MOST_BLOCKS, block_seconds, pass_seconds, readings, replica_seconds, time_updates
