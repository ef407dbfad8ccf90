"""Train a recorded cell again, from what the store holds and not from today's conf/, and compare bit by bit."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.config import ConfigError, DatasetConfig, flatten, visible
from harness.data import Dataset, load_stored
from harness.network import Parameters
from harness.runs.kept import keeping
from harness.store import (
    ARITHMETIC,
    COMMIT_TAG,
    INTERRUPTS,
    Fingerprints,
    FinishedRun,
    Store,
    commit,
    environment,
    read_run,
)
from harness.training import Budget, Cell, CellResult, code_of, digest, pinned_blas, tables

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.entities import Run


@dataclass(frozen=True)
class Verification:
    """Of one cell: a line, and if it is not identical what differs in its surroundings (`key: then -> now`)."""

    identical: bool
    line: str
    reasons: tuple[str, ...] = ()


def verify(store: Store, run: "Run", say: Callable[[str], None]) -> bool:
    """Train the cell of a run again, or every finished cell of a sweep; True when every one is identical.

    `say` gets one line per cell, then what differs in environment and code, then for a sweep a summary. Raises
    ConfigError for a sweep without finished cells, and for a cell (in a sweep that is a line) with unreadable files.
    Not compared: clocks, test figures, diagnostics, pictures.
    """
    say = partial(_say_visibly, say)
    loader, found, is_sweep = keeping(1, load_stored), list[Verification](), run.data.tags["kind"] == "sweep"
    cells = [cell for cell in store.cells(run.info.run_id) if cell.info.status == "FINISHED"] if is_sweep else [run]
    if not cells:
        raise ConfigError("verify", "a sweep with finished cells", run.info.run_id)
    for cell in cells:
        try:
            found.append(verify_cell(store, cell, loader))
        except ConfigError as refused:
            if not is_sweep:
                raise
            found.append(Verification(False, f"not verified: {cell.info.run_name}: {refused}"))
        say(found[-1].line)
    for reason in dict.fromkeys(reason for verification in found for reason in verification.reasons):
        say(f"  {reason}")
    n_identical = sum(verification.identical for verification in found)
    if is_sweep:
        say(f"{n_identical} of {len(found)} finished cells are identical bit for bit")
    return n_identical == len(found)


def _say_visibly(say: Callable[[str], None], text: str) -> None:
    """What a store says stays in its line."""
    say(visible(text))


def verify_cell(store: Store, run: "Run", loader: Callable[[DatasetConfig], Dataset] = load_stored) -> Verification:
    """Read one cell's run, load its data, train it again and compare. Other data than then: nothing is trained."""
    stored = read_run(store, run)
    dataset = loader(stored.config.dataset)
    if dataset.digest != stored.tags["data_digest"]:
        digests = f"data {stored.tags['data_digest']} -> {dataset.digest}"
        return Verification(False, f"not identical: {stored.label}: other data, nothing trained: {digests}")
    return compare(stored, retrain(stored, dataset))


def retrain(stored: FinishedRun, dataset: Dataset) -> CellResult:
    """Train the stored cell; in place of a budget in seconds, its stored updates, judged at its stored checkpoints."""
    cell = Cell(stored.config, dataset)
    if stored.config.train_seconds is not None:
        updates = sorted({int(update) for update in stored.history["update"]})
        cell.budget = Budget(updates=updates[-1], extra_checkpoints=tuple(updates))
    for _ in cell.train():
        INTERRUPTS.check()
    return cell.result()


def compare(stored: FinishedRun, result: CellResult) -> Verification:
    """Fingerprints in the order of the updates, history, weights, columns: the line names the first that differs."""
    now = {(record.update, taken.replica): taken for record in result.records for taken in record.fingerprints}
    history, final = tables.history(result, stored.config), result.parameters
    difference = (
        _fingerprints_differ(stored, now, history, final)
        or _history_differs(stored.history, history)
        or _weights_differ(stored.parameters, final)
        or _columns_differ(stored.columns, tables.columns_text(result))
    )
    if difference:
        return Verification(False, f"not identical: {stored.label}{difference}", tuple(_reasons(stored)))
    size = f"{len(now)} fingerprints of {len(stored.config.replicas)} replicas up to update {max(now)[0]}"
    seconds = stored.config.train_seconds
    instead = "" if seconds is None else f" (its updates trained again, not its budget of {seconds:g} s)"
    return Verification(True, f"identical bit for bit: {stored.label}, {size}{instead}")


def _fingerprints_differ(stored: FinishedRun, now: Fingerprints, history: "pd.DataFrame", final: Parameters) -> str:
    """Where the trainings part and how far apart they are, there and at the end; empty when they never do."""
    then = stored.fingerprints
    digests = [{key: taken.digest for key, taken in side.items()} for side in (then, now)]
    differing = sorted(key for key in then | now if digests[0].get(key) != digests[1].get(key))
    if not differing:
        return ""
    first = update, replica = differing[0]
    place = f", first at update {update}, replica {replica} ({len(differing)} of {len(then | now)} fingerprints differ)"
    if first not in now or first not in then:
        return f"{place}: taken {'then' if first in then else 'now'} only, because the replica ended at another update"
    indexed = (table.set_index(["update", "replica"]) for table in (stored.history, history))
    costs = [table["train_cost"].get(first, math.nan) for table in indexed]
    return (
        f"{place}: ‖θ‖ there off by {_relative(then[first].norm, now[first].norm):.2g} (relative), "
        f"training cost by {_relative(*costs):.2g} (relative), {_farthest(stored.parameters, final)}"
    )


def _relative(then: float, now: float) -> float:
    """|now − then| / the larger of the two; inf when only one of them is finite."""
    if then == now or (math.isnan(then) and math.isnan(now)):
        return 0.0
    gap = abs(now - then) / max(abs(then), abs(now))
    return gap if math.isfinite(gap) else math.inf


def _history_differs(then: "pd.DataFrame", now: "pd.DataFrame") -> str:
    """The first row that says something else, clocks left out; empty when there is none."""
    columns = [name for name in now if name != "train_seconds"]
    if missing := sorted(set(columns) - set(then)):
        return f": the parameters repeat, but history.csv has no column {', '.join(missing)}"
    if len(then) != len(now):
        return f": the parameters repeat, but history.csv has {len(then)} rows in place of {len(now)}"
    one, other = (table.sort_values(["update", "replica"], ignore_index=True) for table in (then, now))
    for name in columns:
        same = (one[name] == other[name]) | (one[name].isna() & other[name].isna())
        if not same.all():
            at = int(np.argmin(same))
            where = f"{name} at update {other['update'][at]}, replica {other['replica'][at]}"
            return f": the parameters repeat, but {where} is not as stored: {one[name][at]} -> {other[name][at]}"
    return ""


def _weights_differ(then: Parameters, now: Parameters) -> str:
    if then.sizes == now.sizes and digest(then.flat) == digest(now.flat):
        return ""
    return f": the parameters repeat, but the stored weights are others, {_farthest(then, now)}"


def _columns_differ(then: str, now: str) -> str:
    """The first line of columns.csv that says something else: a column was taken for something else, or gaps filled
    with other values."""
    lines = zip_longest(then.splitlines(), now.splitlines(), fillvalue="nothing")
    first = next((f"{one} -> {other}" for one, other in lines if one != other), "")
    return f": the parameters repeat, but columns.csv is not as stored: {first}" if first else ""


def _farthest(then: Parameters, now: Parameters) -> str:
    """The largest |Δθ| over all weights of all replicas at the end; two NaN are equal, one alone is infinitely far."""
    if then.sizes != now.sizes or then.flat.shape != now.flat.shape:
        return "weights of other shapes at the end"
    with np.errstate(all="ignore"):
        equal = (then.flat == now.flat) | (np.isnan(then.flat) & np.isnan(now.flat))
        gaps = np.where(equal, 0.0, np.abs(then.flat - now.flat))
    return f"largest |Δθ| at the end {np.nan_to_num(gaps, nan=np.inf).max():.2g}"


def _reasons(stored: FinishedRun) -> list[str]:
    """What differs between the surroundings of the two trainings, `key: then -> now`; or that nothing does.

    First what the bits depend on: where that differs, it is the likely reason.
    """
    with pinned_blas(stored.config.blas_threads):
        today = environment(stored.config.engine)
    moved = _moved(stored, today.pop(ARITHMETIC))
    then = {key: stored.environment.get(key) for key in today}  # the file has more: how the command was given
    source = {"code": stored.tags.get("code"), "commit": stored.tags.get(COMMIT_TAG)}
    surroundings = _changes(_leaves(then), _leaves(today)) or ["environment: the same"]
    now = {"code": code_of(flatten(asdict(stored.config))), "commit": commit()}
    return [moved, *surroundings, *(_changes(source, now) or ["code: the same"])]


def _moved(stored: FinishedRun, now: dict[str, str]) -> str:
    then = stored.environment.get(ARITHMETIC)
    if then is None:
        return "arithmetic: not recorded then, so another machine may be the reason"
    if changes := _changes(then, now):
        return f"likely reason: another machine or library ({'; '.join(changes)})"
    return "arithmetic: the same"


def _changes(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    keys = dict.fromkeys([*then, *now])
    return [f"{key}: {then.get(key)} -> {now.get(key)}" for key in keys if then.get(key) != now.get(key)]


def _leaves(tree: object, key: str = "") -> dict[str, Any]:
    """{'blas': [{'version': 1}]} -> {'blas.0.version': 1}."""
    if not isinstance(tree, dict | list):
        return {key: tree}
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    return {name: leaf for k, value in items for name, leaf in _leaves(value, f"{key}.{k}" if key else str(k)).items()}
