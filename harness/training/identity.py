"""What identifies a cell: one hash of all that decides its numbers, which are configuration, source code and data."""

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from harness.config import Config, Values, digests, effective_batch_size, effective_learning_rate, flatten
from harness.data import Dataset
from harness.network import SCHEDULES
from harness.training.cell import Plan, plan_of, with_task

PACKAGE = Path(__file__).resolve().parents[1]
ROOMS = ("network", "compiled", "config", "data", "training")  # whose code computes numbers
NO_NUMBERS = (  # but for these: they compute none
    *("config/folders.py", "config/kept.py", "config/labels.py"),
    *("training/estimate.py", "training/timer.py", "training/timing.py", "training/work.py"),
)
AUTO = ("seeds_at_most", "seeds_at_most_seconds")
# Keys that change nothing in what a run holds.
WITHOUT_EFFECT = ("study", "size", "rerun", "dry_run", "cells_per_job", "log_model", *AUTO)
NOT_DECISIVE = (*WITHOUT_EFFECT, "reference_batch_size")  # the last is in the learning rate


def decisive_values(config: Config, n_train: int) -> Values:
    """The flat configuration of a cell without NOT_DECISIVE, a first_replica of 0, a loss of null and `_unused` keys.

    Batch size (examples) and learning rate are the effective ones. So `full`, N and sizes above N are one cell, and so
    are learning rates that a rule scales to the same number. Not merged, because cells are compared with those that
    agree in the key, though they train the same: budgets of the same number of updates, last_batch where B divides N,
    order where B = N, target_on without a target, activation without hidden layers, sum and mean at B = 1.
    """
    batch_size = effective_batch_size(config, n_train)
    rate = effective_learning_rate(config, batch_size)
    values = {key: value for key, value in asdict(config).items() if key not in NOT_DECISIVE}
    for key in _unused(config):
        del values[key]
    if config.model.loss is None:
        del values["model"]["loss"]
    return flatten(values) | {"batch_size": batch_size, "learning_rate": rate}


def _unused(config: Config) -> list[str]:
    """Keys whose value the training of this cell never asks for. A rule is in the learning rate, unless B grows."""
    grows, schedule = config.batch_size_schedule != "constant", config.learning_rate_schedule
    steps = grows or schedule == "step" or schedule not in SCHEDULES  # an extension may have milestones
    unused = {
        ("first_replica",): not config.first_replica,
        ("milestones", "milestone_factor"): not steps,
        ("learning_rate_rule",): not grows or config.learning_rate_rule == "constant",
        ("accumulate",): config.micro_batches == 1,
    }
    return [key for keys, is_unused in unused.items() if is_unused for key in keys]


def signature(values: Values, data_digest: str) -> str:
    """16 hexadecimal digits for decisive values, this source and these data."""
    text = json.dumps([values, code_of(values), data_digest], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Identity:
    """A cell's signature, what it was computed from (code, data: digests), and the plan of the values on the data."""

    signature: str
    values: Values
    code: str
    data: str
    plan: Plan

    @property
    def asked(self) -> Values:
        """The values with the key `learning_rate` as it was given, before its rule scaled it."""
        rate = float(f"{self.plan.learning_rate / self.plan.rate_factor:.12g}")
        return self.values | {"learning_rate": rate}


def identify(config: Config, dataset: Dataset) -> Identity:
    """The cell that this process would train."""
    plan = plan_of(config, dataset)
    values = decisive_values(with_task(config, dataset), plan.n_train)
    return Identity(signature(values, dataset.digest), values, code_of(values), dataset.digest, plan)


def code_of(values: Values) -> str:
    """Digest of the source that computes a cell's numbers: this package's, and that of the extensions it names."""
    own = digests(values)
    return hashlib.sha256("\n".join([code_digest(), *own]).encode()).hexdigest()[:16] if own else code_digest()


def code_digest() -> str:
    """Digest of the files that compute numbers, as they were at the first call: this process runs no later code."""
    return _code_digest(PACKAGE)


@cache
def _code_digest(package: Path) -> str:
    digest = hashlib.sha256()
    for file in numeric_files(package):
        digest.update(file.relative_to(package).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


def numeric_files(package: Path) -> list[Path]:
    """The source files of ROOMS, in one order everywhere."""
    left_out = {package / name for name in NO_NUMBERS}
    return [file for room in ROOMS for file in sorted((package / room).glob("*.py")) if file not in left_out]
