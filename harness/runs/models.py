"""Which replica of a cell is handed on as a model, and how a finished cell gets one: from its weights, untrained."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from harness.config import Config, ConfigError
from harness.data import Dataset, Splits, recipe
from harness.network import Parameters
from harness.runs.cell_files import cell_tables
from harness.store import RunWriter, Store, read_run, save_model
from harness.training import Outcome, draw_sets, with_task

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.entities import Run

    from harness.runs.grid import GridCell
    from harness.runs.kept import Loader

MODEL = "model"  # folder of a run, and the tag that says which replica it is, or why there is none
NONE = "none: half of the replicas or more diverged"


def median_replica(replicas: "pd.DataFrame") -> int | None:
    """The replica whose final validation cost is the median (of two the lower), diverged ones as +inf; None if it is
    infinite."""
    costs = replicas["final_validation_cost"].where(replicas["outcome"] != Outcome.DIVERGED).fillna(np.inf)
    middle = np.argsort(costs.to_numpy(), kind="stable")[(len(costs) - 1) // 2]
    return int(replicas["replica"].iloc[middle]) if np.isfinite(costs.iloc[middle]) else None


def write_model(
    run: RunWriter, config: Config, dataset: Dataset, splits: Sequence[Splits], loss: str, parameters: Parameters,
    replicas: "pd.DataFrame",
) -> None:  # fmt: skip
    """Write the median replica as an MLflow model into the run. splits: one, or one for each replica."""
    replica = median_replica(replicas)
    if replica is None:
        run.tags({MODEL: NONE})
        return
    place = replica - config.first_replica
    own = parameters.select(np.array([place]))
    layers = enumerate(zip(own.W, own.b, strict=True))
    weights = {name: array for i, (W, b) in layers for name, array in ((f"W{i}", W[0]), (f"b{i}", b[0, 0]))}
    made = recipe(dataset, splits[place if len(splits) > 1 else 0])
    with run.files() as folder:
        save_model(folder / MODEL, made, weights, config.model.activation, loss, replica=replica)
    run.tags({MODEL: f"replica {replica}"})


def add_models(
    cells: "Sequence[GridCell]", runs: "Sequence[Run]", store: Store, load: "Loader", say: Callable[[str], None]
) -> None:
    """Give each finished run of a cell with log_model=true the model that it lacks; nothing is trained."""
    wanted = {cell.signature: cell for cell in cells if cell.config.log_model}
    for run in runs:
        cell = wanted.get(run.data.tags.get("signature", ""))
        if cell is None or run.info.status != "FINISHED" or MODEL in run.data.tags:
            continue
        try:
            _add_model(cell, run, store, load)
            say(f"{run.info.run_name}: its model was made from the stored weights")
        except ConfigError as refused:
            say(f"harness: {run.info.run_name} has no model: {refused}")


def _add_model(cell: "GridCell", run: "Run", store: Store, load: "Loader") -> None:
    stored, (replicas,) = read_run(store, run), cell_tables(store, run, "replicas")
    dataset = load(cell.config.dataset)
    config = with_task(cell.config, dataset)
    splits, _ = draw_sets(config, dataset)
    with store.attach(run.info.run_id) as writer:
        write_model(writer, config, dataset, splits, cell.identity.plan.loss, stored.parameters, replicas)
