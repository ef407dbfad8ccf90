"""The memory that a cell needs, counted without making anything: more than a machine has is refused before training."""

from harness.config import Config
from harness.network import OPTIMIZERS, Parameters
from harness.training.cell import Plan, most_updates
from harness.training.estimate import count_work

RECORD_BYTES = 600  # of a checkpoint: four arrays, three lists, what holds them
ENTRY_BYTES = 100  # and for each replica: its entries there, and its row in the table of the history


def least_bytes(config: Config, plan: Plan) -> int:
    """A lower bound: what is surely there at the same time, when training ends.

    Parameters and gradients of all replicas with what the optimiser keeps, the order of their examples, one pass over
    a batch, and a record for each checkpoint, unless a target or a time ends training before them. Not counted: the
    data, libraries, temporary arrays.
    """
    number, item = int(config.seeds) - config.first_replica, 4 if config.dtype == "float32" else 8
    kept = 2 + OPTIMIZERS[config.optimizer.name].n_slots
    parameters = number * Parameters.count(plan.sizes) * kept * item
    order = number * plan.n_train * 8
    layers = sum(plan.sizes[1:]) + sum(plan.sizes[1:-1])
    batch = plan.largest_batch * layers * item
    return parameters + order + batch + _n_records(config, plan) * (RECORD_BYTES + number * ENTRY_BYTES)


def _n_records(config: Config, plan: Plan) -> int:
    open_end = config.target is not None or config.train_seconds is not None
    return 0 if open_end else count_work(most_updates(config, plan) or 0, plan.passes, None).checkpoints
