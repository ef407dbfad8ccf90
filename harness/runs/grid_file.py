"""grid.json of a sweep's parent run: what each cell is, known also of a cell that never starts. Read as anybody's."""

import json
import math
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.config import KNOBS, ConfigError, schema
from harness.network import LOSSES
from harness.runs.grid import GridCell
from harness.store import Store, redacted, stored_json
from harness.training import Identity, Plan

if TYPE_CHECKING:
    from mlflow.entities import Run

GRID = "grid.json"
MOST = 1 << 53  # integers above it are no exact floats
COUNTS, RATES = ("n_train", "batch_size", "updates_per_epoch"), ("learning_rate", "lr_mean", "lr_per_example")
OF_THE_MACHINE = ("engine",)  # a value whose rule asks what is installed here


def write_grid(folder: Path, cells: Sequence[GridCell]) -> None:
    """What each cell of a sweep is, as a file for its parent run."""
    rows = [asdict(cell.identity) for cell in cells]
    text = redacted(json.dumps(rows, indent=1, ensure_ascii=False))
    (folder / GRID).write_text(text, encoding="utf8", errors="backslashreplace")  # of paths that are no UTF-8


def read_grid(store: Store, sweep: "Run") -> dict[str, Identity]:
    """Signature -> cell. Raises ConfigError for a sweep whose grid cannot be read."""
    again = "a sweep of this version (run its command again: finished cells of this version are found)"
    if not store.has_file(sweep.info.run_id, GRID):
        raise ConfigError(f"sweep {sweep.info.run_id}", again, f"one without {GRID}")
    try:
        with tempfile.TemporaryDirectory() as scratch:
            rows = stored_json(store.download(sweep, GRID, Path(scratch)))
        if not rows:
            raise ValueError("no cells")
        return {row["signature"]: _identity(**row) for row in rows}
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        why = str(error) if isinstance(error, ConfigError) else repr(error)
        raise ConfigError(f"sweep {sweep.info.run_id}", again, f"a {GRID} of another form ({why})") from error


def _identity(values: dict[str, Any], plan: dict[str, Any], **about: Any) -> Identity:
    if lacking := {"dataset.name", *KNOBS} - values.keys():
        raise LookupError(*sorted(lacking))
    later = tuple((epoch, size) for epoch, size in plan.get("later_sizes", []))
    sizes = tuple(plan["sizes"])
    found = Identity(values=values, plan=Plan(**{**plan, "sizes": sizes, "later_sizes": later}), **about)
    if not all(isinstance(text, str) and re.fullmatch(r"\w{1,64}", text, re.ASCII) for text in about.values()):
        raise ValueError(f"{', '.join(about)}: expected letters and digits")
    _check_values(values)
    _check_plan(found.plan)
    return found


def _check_values(values: Mapping[str, Any]) -> None:
    """By the rules of a configuration, for the keys that have one. Raises ValueError."""
    for key, value in values.items():
        rule = schema.RULES.get(key) if key not in OF_THE_MACHINE else None
        if rule and not rule.holds(value):
            raise ConfigError(key, rule.allowed, value)
        if not (isinstance(value, list) or key == "seed" or _is_plain(value)):
            raise ConfigError(key, "a plain value, or a list", value)
    if not _is_count(values["batch_size"]):
        raise ConfigError("batch_size", "an integer >= 1", values["batch_size"])
    if not isinstance(values["dataset.name"], str):
        raise ConfigError("dataset.name", "a text", values["dataset.name"])


def _check_plan(plan: Plan) -> None:
    """Raises ValueError."""
    wrong = [key for key in COUNTS if not _is_count(getattr(plan, key))]
    wrong += [key for key in (*RATES, "rate_factor") if not _is_rate(getattr(plan, key))]
    if len(plan.sizes) < 2 or not all(map(_is_count, plan.sizes)):
        wrong.append("sizes")
    epochs = [epoch for epoch, _ in plan.later_sizes]
    if not all(map(_is_count, chain(*plan.later_sizes))) or sorted(set(epochs)) != epochs:
        wrong.append("later_sizes")
    if not LOSSES.knows(plan.loss):
        wrong.append("loss")
    if wrong:
        raise ConfigError(f"plan.{wrong[0]}", "a value as a plan has it", getattr(plan, wrong[0]))


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, str | float) or (isinstance(value, int) and abs(value) < MOST)


def _is_count(value: object) -> bool:
    return type(value) is int and 1 <= value < MOST


def _is_rate(value: object) -> bool:
    """Above 0; a product of two large ones may be infinite."""
    return _is_plain(value) and isinstance(value, int | float) and not math.isnan(value) and value > 0
