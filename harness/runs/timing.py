"""The timing pass of a sweep: after training, one process measures the updates of all its cells in turns.

The table goes to the parent run. Whatever fails here costs the sweep its comparisons at equal seconds and nothing else.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.analysis import SEED, interruption, usable
from harness.config import Config, ConfigError, config_from, flatten
from harness.runs.kept import Loader, load_dataset, load_stored_dataset
from harness.runs.loading import TIMING, latest_runs, read_blocks, whole_grid
from harness.store import Store, first_line, stored_yaml, sweep_tag
from harness.training import Plan, code_of, pass_seconds, time_updates

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.entities import Run

OF_SWEEP = sweep_tag("")  # begins the names of the tags that make a cell part of sweeps
MOST_ASKED = 8  # earlier sweeps
Timed = dict[str, tuple[Config, Plan]]  # by signature


def measure(store: Store, sweep: str, cells: Timed) -> str:
    """Time the finished ones of a sweep's cells and keep the table; returns what went wrong, or an empty text.

    A sweep that has trained nothing keeps the table of an earlier one that had all its cells, and that is said.
    """
    with suppress(Exception):  # whatever is wrong with another sweep: then the cells are timed
        runs = {run.data.tags["signature"]: run for run in store.cells(sweep) if run.info.status == "FINISHED"}
        if earlier := _timed_earlier(store, sweep, runs):
            other, table = earlier
            _keep(store, sweep, table)
            return f"Seconds are those that sweep {other[:8]} measured of the same cells."
    return _measure(
        store, [sweep], load_dataset, lambda runs: {key: cell for key, cell in cells.items() if key in runs}
    )


def _timed_earlier(store: Store, sweep: str, runs: "Mapping[str, Run]") -> "tuple[str, pd.DataFrame] | None":
    """Id and table of a sweep that has timed all these cells, none of which this sweep has trained."""
    if not runs or any(run.data.tags.get("sweep") == sweep for run in runs.values()):
        return None
    shared = set.intersection(*({key for key in run.data.tags if key.startswith(OF_SWEEP)} for run in runs.values()))
    others = [key.removeprefix(OF_SWEEP) for key in sorted(shared - {sweep_tag(sweep)})]
    for other in others[:MOST_ASKED]:
        if (table := read_blocks(store, list(runs), other)) is not None:
            return other, table[table["signature"].isin(runs.keys())]
    return None


def _keep(store: Store, sweep: str, table: "pd.DataFrame") -> None:
    with store.attach(sweep) as parent, parent.files() as folder:
        table.to_csv(folder / TIMING, index=False)


def measure_again(store: Store, *sweeps: str) -> str:
    """Time the finished cells of sweeps, from what the store holds, unless one of these has timed them all.

    Not if they were trained by other code or on other data than there are now. Returns what went wrong.
    """

    def untimed(runs: "Mapping[str, Run]") -> Timed:
        if read_blocks(store, list(runs), *sweeps) is not None:
            return {}
        grid = whole_grid(store, *sweeps)
        return {key: (_config(store, run), grid[key].plan) for key, run in runs.items()}

    return _measure(store, sweeps, load_stored_dataset, untimed)


def _measure(
    store: Store, sweeps: Sequence[str], load: Loader, cells_of: "Callable[[Mapping[str, Run]], Timed]"
) -> str:
    """cells_of: which are timed, of the finished runs by signature. The first sweep keeps the table."""
    try:
        latest = latest_runs(store, *sweeps)
        runs = {key: run for key, run in latest.items() if run.info.status == "FINISHED"}
        if not (cells := cells_of(runs)):
            return ""
        trained = sum(run.data.metrics.get("time/wall_seconds", 0.0) for run in runs.values())
        table = time_updates(cells, load, pass_seconds(trained), np.random.default_rng(SEED))
        _keep(store, sweeps[0], table)
    except Exception as error:
        return f"Seconds were not measured ({first_line(error)}): nothing is concluded from them."
    if not usable(table, list(cells)):
        return "Seconds: there was no time for two blocks of every cell; nothing is concluded from them."
    return f"Seconds: {text}." if (text := interruption(table)) else ""


def _config(store: Store, run: "Run") -> Config:
    """Of a finished cell. Raises ConfigError for a cell whose updates this process would not repeat."""
    with tempfile.TemporaryDirectory() as scratch:
        config: Config = config_from(stored_yaml(store.download(run, "config.yaml", Path(scratch))))
    then = {name: run.data.tags.get(name) for name in ("code", "data_digest")}
    now = {"code": code_of(flatten(asdict(config))), "data_digest": load_stored_dataset(config.dataset).digest}
    if changed := [name for name in now if then[name] != now[name]]:
        raise ConfigError(f"run {run.info.run_id}", "the code and data of its training", f"another {changed[0]}")
    return config
