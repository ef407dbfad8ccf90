"""What a cell leaves behind: trains it and writes its run - parameters, live curves, tables, weights, figures, note.

Joins the pure side (configuration in, tables out) to the edges (MLflow, figures, terminal). Knows no Hydra: a sweep is
the run id of its parent, and what there is to know about it is read back from the store, so any launcher will do.
"""

import json
import tempfile
import time
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from harness import __version__, plots, tables
from harness.cell import Cell, CellResult, Setting
from harness.config import Config, DatasetConfig, flatten
from harness.data import Dataset, load
from harness.interrupts import INTERRUPTS
from harness.labels import cell_label
from harness.mlp import Parameters
from harness.progress import CellProgress
from harness.provenance import commit, environment, signature, uncommitted
from harness.tracking import RunWriter, Store
from harness.train import Outcome, Record

if TYPE_CHECKING:
    import pandas as pd

FIRST_PARAMS = ("batch_size", "learning_rate", "reduction")


@lru_cache(maxsize=4)
def _load(dataset: str) -> Dataset:
    return load(DatasetConfig(**json.loads(dataset)))


def load_dataset(config: DatasetConfig) -> Dataset:
    """The data that a configuration names; the cells of a sweep share one copy. Raises ConfigError."""
    return _load(json.dumps(asdict(config), sort_keys=True))


def source_tags() -> dict[str, str]:
    """Version, commit and whether the checkout differs from it."""
    head = commit()
    checkout = {"mlflow.source.git.commit": head, "dirty": str(bool(uncommitted())).lower()} if head else {}
    return {"version": __version__, **checkout}


def record_cell(config: Config, store: Store, sweep: str | None, number: int, exclusive: bool) -> Outcome:
    """Train one cell and write its run. Whatever is raised ends the run as FAILED or KILLED and goes on to the caller.

    sweep: run id of the parent. number: of the cell in its sweep, from 0. exclusive: nothing else trains meanwhile.
    """
    started = time.perf_counter()
    dataset = load_dataset(config.dataset)
    about = store.get(sweep).data.tags if sweep else {}
    name = cell_label(config, json.loads(about.get("varied", "[]")))
    with (
        store.start(name, _tags(config, dataset, sweep, exclusive), parent=sweep) as run,
        CellProgress(name, number, int(about.get("cells", 1)), live=exclusive) as progress,
    ):
        cell = Cell(config, dataset)
        run.params(params(config, cell.setting))
        _warn_if_clipped(config, cell.setting, run, progress)
        progress.start(cell.budget, cell.setting.updates_per_epoch)
        for record in cell.train():
            _write_record(run, record, cell.setting, tables.SCORES[config.dataset.task])
            progress.show(record)
            INTERRUPTS.check()
        outcome = _write_result(run, config, dataset, cell.result(), name, started)
        progress.finish(outcome)
    return outcome


def _tags(config: Config, dataset: Dataset, sweep: str | None, exclusive: bool) -> dict[str, str]:
    return {
        "kind": "cell",
        "signature": signature(config, dataset.digest),
        "engine": config.engine,
        "timing": "exclusive" if exclusive else "shared",
        **({"sweep": sweep} if sweep else {}),
        **({"study": config.study["name"]} if "name" in config.study else {}),
        **source_tags(),
    }


def params(config: Config, plan: Setting) -> dict[str, Any]:
    """Flat and few: the knobs as they came out, the canonical rates, then the rest of what was asked."""
    knobs = {"batch_size": plan.batch_size, "learning_rate": plan.learning_rate, "reduction": config.reduction}
    derived = {"lr_mean": plan.lr_mean, "lr_per_example": plan.lr_per_example, "n_train": plan.n_train}
    asked = {
        key: value
        for key, value in flatten(asdict(config)).items()
        if value is not None and key not in FIRST_PARAMS and key.split(".")[0] not in ("study", "dataset")
    }
    names = {"dataset": config.dataset.name, "n_parameters": Parameters.count(plan.sizes), "loss": plan.loss}
    return {**knobs, **derived, **names, **asked}


def _warn_if_clipped(config: Config, plan: Setting, run: RunWriter, progress: CellProgress) -> None:
    if config.batch_size != "full" and int(config.batch_size) > plan.n_train:
        progress.say(f"batch_size={config.batch_size} is larger than N={plan.n_train}: clipped to N")
        run.tags({"batch_size_requested": str(config.batch_size)})


def _write_record(run: RunWriter, record: Record, plan: Setting, score: str) -> None:
    run.points(tables.checkpoint_metrics(record, plan, score), record.update)
    for update, _, cost in record.batch_costs:
        run.points({"batch/cost": cost}, update)


def _write_result(
    run: RunWriter, config: Config, dataset: Dataset, result: CellResult, name: str, started: float
) -> Outcome:
    """Tables, weights, figures, provenance, summary and note; ends with the share of wall time that all this took."""
    replicas = tables.replicas(result, config)
    outcome = tables.cell_outcome(replicas)
    with run.timed(), tempfile.TemporaryDirectory() as folder:
        _write_files(Path(folder), config, result, replicas, name)
        run.client.log_artifacts(run.run_id, folder)
    summary = tables.summary(result, replicas)
    inputs = result.setting.sizes[0]
    run.dataset(dataset.name, dataset.digest, config.dataset.load, len(dataset.X), inputs)
    run.tags({"outcome": outcome, "mlflow.note.content": cell_note(name, config, outcome, replicas, summary)})
    wall = time.perf_counter() - started
    run.points({**summary, "time/wall_seconds": wall, "time/tracking_share": run.seconds / wall})
    return outcome


def _write_files(folder: Path, config: Config, result: CellResult, replicas: "pd.DataFrame", name: str) -> None:
    history, batch_costs = tables.history(result, config), tables.batch_costs(result)
    history.to_csv(folder / "history.csv", index=False)
    batch_costs.to_csv(folder / "batch_costs.csv", index=False)
    replicas.to_csv(folder / "replicas.csv", index=False)
    if len(diagnostics := tables.diagnostics(result)):
        diagnostics.to_csv(folder / "diagnostics.csv", index=False)
    plots.save(plots.cell_curves(history, name), folder / "figures" / "curves.png")
    plots.save(plots.cell_batch_costs(batch_costs, history, name), folder / "figures" / "batch_costs.png")
    np.savez(folder / "weights.npz", **weights(result.parameters))
    (folder / "config.yaml").write_text(yaml.safe_dump(asdict(config), sort_keys=False, allow_unicode=True))
    (folder / "environment.json").write_text(json.dumps(environment(), indent=2))
    if diff := uncommitted():
        (folder / "uncommitted.diff").write_text(diff + "\n")


def weights(parameters: Parameters) -> dict[str, Any]:
    """W0, b0, W1, ... with one entry per replica in front: (R, n_in, n_out) and (R, n_out)."""
    layers = enumerate(zip(parameters.W, parameters.b, strict=True))
    return {name: array for i, (W, b) in layers for name, array in ((f"W{i}", W), (f"b{i}", b[:, 0]))}


def cell_note(name: str, config: Config, outcome: Outcome, replicas: "pd.DataFrame", summary: dict[str, float]) -> str:
    """The run's description: how it ended and its main figures, in Markdown."""
    counts = replicas["outcome"].value_counts()
    ended = ", ".join(f"{counts[o]} of {len(replicas)} replicas {o}" for o in Outcome if o in counts)
    score = tables.SCORES[config.dataset.task]
    rows = [
        ("training cost per example, at the end", "final/train_cost"),
        ("validation cost per example, at the end", "final/validation_cost"),
        (f"validation {score}, at the end", f"final/validation_{score}"),
        (f"test {score}, at the end", f"final/test_{score}"),
        ("gradient noise scale B_simple, time average along the run, examples", "noise/b_simple"),
        ("the same, pooled from single batches, examples", "noise/b_simple_pooled"),
        ("time per update, µs", "time/update_us"),
        ("time per example, µs", "time/example_us"),
    ]
    table = "\n".join(f"| {text} | {summary[key]:.4g} |" for text, key in rows if key in summary)
    return f"**{name}**: {outcome} ({ended}).\n\n| median over replicas | |\n|---|---|\n{table}\n"
