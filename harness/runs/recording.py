"""Trains a cell and writes its run: parameters, live curves, tables, weights, figures, note.

Knows no Hydra: a sweep is the run id of its parent, so any launcher will do.
"""

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from harness import __version__
from harness.config import Config, ConfigError, clipping, flatten, labels
from harness.data import Dataset
from harness.network import Parameters
from harness.report import BASELINES, about_data, harmless, number
from harness.runs.jobs import Assignment, Job, SweepContext
from harness.runs.kept import draw_kept, load_dataset
from harness.runs.live_curves import LiveCurves
from harness.runs.models import write_model
from harness.runs.pictures import LATER, MOST_DRAWN, draw_cell
from harness.runs.progress import CellProgress
from harness.store import (
    ARITHMETIC,
    COMMIT_TAG,
    INTERRUPTS,
    TakenError,
    arithmetic,
    commit,
    environment,
    first_line,
    note_tags,
    redacted,
    sweep_tag,
    uncommitted_diff,
)
from harness.training import HELD_OUT, WITHOUT_EFFECT, Cell, Outcome, identify, pinned_blas, tables, with_task

if TYPE_CHECKING:
    import pandas as pd

    from harness.store import RunWriter, Store
    from harness.training import CellResult, Identity, Plan


DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # in C, if PyYAML was built with it: a quarter of the time
NO_CHARTS = ("baseline/", "best/")  # of a summary: no metrics, as a chart of each would stand before the curves
Warn = Callable[[str], None]


def source_tags() -> dict[str, str]:
    """Version, commit and whether the checkout differs from it."""
    head = commit()
    checkout = {COMMIT_TAG: head, "dirty": str(bool(uncommitted_diff())).lower()} if head else {}
    return {"version": __version__, **checkout}


def record_cell(config: Config, store: "Store", sweep: SweepContext | None, job: Job) -> Outcome:
    """Train one cell and write its run: FINISHED, FAILED or KILLED. Raises ConfigError for a cell not asked for.

    Raises TakenError if another process trains the cell or has finished it. With rerun=all it asks for no claim.
    """
    started, dataset = time.perf_counter(), load_dataset(config.dataset)
    config, own = with_task(config, dataset), identify(config, dataset)
    asked = job.assignment or Assignment.of(own, *labels([own.values]))
    tags, parent = _tags(config, own, asked, sweep, job), sweep.run_id if sweep else None
    with (
        store.start(asked.label, tags, parent, claim=config.rerun != "all") as run,
        store.heartbeat(run) as heartbeat,
        CellProgress(
            asked.label, job.number, sweep.n_cells if sweep else 1, job.exclusive, job.forecast, asked.signature
        ) as progress,
    ):
        _refuse_another(asked, own)
        cell = Cell(config, dataset, draw_kept)
        _write_provenance(run, config, dataset, job, cell.plan.sizes[0])
        run.params(params(config, cell.plan))
        _warn_if_clipped(config, cell.plan, run, progress)
        curves = LiveCurves(run, cell.plan, cell.budget, tables.score_of(config))
        for record in cell.train():
            curves.add(record)
            progress.show(cell.plan, cell.budget, record)
            run.flush()
            progress.warn_once(run.trouble, f"what waits is in {store.undelivered}")
            INTERRUPTS.check()
            heartbeat.check()
        curves.end()
        warn = progress.warn if sweep is None or sweep.n_cells <= MOST_DRAWN else None
        result = cell.result()
        outcome, summary = _write_result(run, config, result, asked.label, dataset.notes, warn)
        if config.log_model:
            replicas = tables.replicas(result, config)
            about = config, dataset, cell.splits, cell.plan.loss, result.parameters, replicas
            _is_written(run, f"{asked.label}: its model was", partial(write_model, run, *about), progress.warn)
        wall = time.perf_counter() - started
        run.points({"time/wall_seconds": wall, "time/tracking_share": run.seconds / wall})
        progress.finish(outcome, _with_quartiles(summary, "time/update_us"), _score(config, summary))
    if run.taken:
        raise TakenError
    return outcome


def _refuse_another(asked: Assignment, own: "Identity") -> None:
    """The parent's answer is about the cell that it asked for; another one, even if trained, would not be in it."""
    if own.signature != asked.signature:
        changed = [name for name in ("code", "data") if getattr(own, name) != getattr(asked, name)]
        allowed = "code, data and configuration as the sweep began with (its command again starts from today's)"
        raise ConfigError("cell", allowed, f"other {' and '.join(changed) or 'values in the configuration'}")


def _tags(config: Config, own: "Identity", asked: Assignment, sweep: SweepContext | None, job: Job) -> dict[str, str]:
    return {
        "kind": "cell",
        "signature": asked.signature,
        "data_digest": own.data,
        "code": own.code,
        "engine": config.engine,
        ARITHMETIC: json.dumps(arithmetic(config.engine)),
        "timing": "exclusive" if job.exclusive else "shared",
        "launcher": job.launcher,
        **({"sweep": sweep.run_id, sweep_tag(sweep.run_id): "yes"} if sweep else {}),
        **({"study": config.study["name"]} if "name" in config.study else {}),
        **source_tags(),
    }


def params(config: Config, plan: "Plan") -> dict[str, Any]:
    """Flat and few: the knobs as they came out, the canonical rates, then the rest of what was asked."""
    knobs = {"batch_size": plan.batch_size, "learning_rate": plan.learning_rate, "reduction": config.reduction}
    derived = {"lr_mean": plan.lr_mean, "lr_per_example": plan.lr_per_example, "n_train": plan.n_train}
    names = {"dataset": config.dataset.name, "n_parameters": Parameters.count(plan.sizes), "loss": plan.loss}
    asked = flatten({k: v for k, v in asdict(config).items() if k not in (*WITHOUT_EFFECT, *knobs, "dataset")})
    return {**knobs, **derived, **names, **{key: value for key, value in asked.items() if value is not None}}


def _warn_if_clipped(config: Config, plan: "Plan", run: "RunWriter", progress: CellProgress) -> None:
    if said := clipping(config, plan.n_train):
        progress.warn(said)
    if config.batch_size != "full" and int(config.batch_size) > plan.n_train:
        run.tags({"batch_size_requested": str(config.batch_size)})


def _write_provenance(run: "RunWriter", config: Config, dataset: Dataset, job: Job, n_inputs: int) -> None:
    """What is needed to repeat the cell, before it is trained: a cell that fails is to be repeated, too."""
    run.dataset(dataset.name, dataset.digest, config.dataset.load, len(dataset.X), n_inputs)
    with run.files() as folder:
        config_text = yaml.dump(asdict(config), Dumper=DUMPER, sort_keys=False, allow_unicode=True)
        (folder / "config.yaml").write_text(redacted(config_text), encoding="utf8")
        with pinned_blas(config.blas_threads):  # as many threads as will train
            about = {**environment(config.engine), "overrides": job.overrides, "launcher": job.launcher}
        (folder / "environment.json").write_text(redacted(json.dumps(about, indent=2)), encoding="utf8")
        if diff := uncommitted_diff():
            (folder / "uncommitted.diff").write_text(diff, encoding="utf8", newline="")


def _write_result(
    run: "RunWriter", config: Config, result: "CellResult", name: str, notes: Sequence[str], warn: Warn | None
) -> tuple[Outcome, dict[str, float]]:
    """Tables and weights, summary, figures, note. The numbers go first: a figure that fails costs none of them.

    warn: what says that the figures failed; None: they are drawn later.
    """
    replicas = tables.replicas(result, config)
    outcome = tables.cell_outcome(replicas)
    summary = tables.summary(result, replicas)
    run.points({name: value for name, value in summary.items() if not name.startswith(NO_CHARTS)})
    with run.files() as folder:
        _write_tables(folder, config, result, replicas)
    drawn = warn is not None and _draw(run, config, result, replicas, name, warn)
    parts = cell_note(name, config, outcome, replicas, summary), about_data(notes), "" if drawn else LATER
    note = "\n".join(part for part in parts if part)
    run.tags({"outcome": outcome, "cost": _readable_cost(summary, replicas), **note_tags(note)})
    return outcome, summary


def _draw(
    run: "RunWriter", config: Config, result: "CellResult", replicas: "pd.DataFrame", name: str, warn: Warn
) -> bool:
    """Whether the figures could be drawn."""

    def draw() -> None:
        with run.files() as folder:
            draw_cell(folder, tables.history(result, config), tables.batch_costs(result), replicas, name)

    return _is_written(run, f"{name}: its figures were", draw, warn)


def _is_written(run: "RunWriter", what: str, write: Callable[[], None], warn: Warn) -> bool:
    """Call `write`: a mistake there costs a picture or a model, not the cell; the run keeps its traceback.

    A disk without room fails the cell, as it does wherever it is met.
    """
    try:
        write()
    except OSError:
        raise
    except Exception as error:
        run.traceback(error)
        warn(f"{what} left out: {type(error).__name__}: {first_line(error)} (traceback.txt of its run)")
        return False
    return True


def _readable_cost(summary: dict[str, float], replicas: "pd.DataFrame") -> str:
    """For the UI's table: three significant digits, and how many replicas diverged."""
    lost = int((replicas["outcome"] == Outcome.DIVERGED).sum())
    parts = [number(summary["final/train_cost"])] if "final/train_cost" in summary else []
    return ", ".join([*parts, *([f"{lost}/{len(replicas)} diverged"] if lost else [])])


def _write_tables(folder: Path, config: Config, result: "CellResult", replicas: "pd.DataFrame") -> None:
    named = {
        "history": tables.history(result, config),
        "batch_costs": tables.batch_costs(result),
        "replicas": replicas,
        "fingerprints": tables.fingerprints(result),
        "diagnostics": tables.diagnostics(result),
    }
    for name, table in named.items():
        if len(table):
            table.to_csv(folder / f"{name}.csv", index=False)
    (folder / "columns.csv").write_text(tables.columns_text(result), encoding="utf8", newline="")
    np.savez(folder / "weights.npz", **weights(result.parameters))


def weights(parameters: Parameters) -> dict[str, Any]:
    """W0, b0, W1, ... with one entry per replica in front: (R, n_in, n_out) and (R, n_out)."""
    layers = enumerate(zip(parameters.W, parameters.b, strict=True))
    return {name: array for i, (W, b) in layers for name, array in ((f"W{i}", W), (f"b{i}", b[:, 0]))}


def cell_note(name: str, config: Config, outcome: Outcome, replicas: "pd.DataFrame", summary: dict[str, float]) -> str:
    """The run's description: how it ended and its main figures, in Markdown."""
    counts = Counter(replicas["outcome"])
    ended = ", ".join(f"{counts[o]} of {len(replicas)} replicas {o}" for o in Outcome if o in counts)
    score, timed = tables.score_of(config), f"replica {config.first_replica}"
    names = [name for name in (score, f"balanced_{score}") if f"final_test_{name}" in replicas]
    rows = [
        ("training cost per example, at the end", "final/train_cost"),
        ("validation cost per example, at the end", "final/validation_cost"),
        *(
            (f"{part} {name.replace('_', ' ')}, at the end", f"final/{part}_{name}")
            for name in names
            for part in HELD_OUT
        ),
        ("gradient noise scale B_simple, time average along the run, examples", "noise/b_simple"),
        ("gradient noise scale B_simple, pooled from single batches along the run, examples", "noise/b_simple_pooled"),
        (f"time per update of this training ({timed}) [quartiles between checkpoints], µs", "time/update_us"),
        (f"time per example of this training ({timed}), µs", "time/example_us"),
    ]
    said = {key: _with_quartiles(summary, key) + _beside(key, config, summary) for key in summary}
    unknown = replicas[replicas["outcome"] != Outcome.DIVERGED].isna()
    undefined = [column.replace("_", "/", 1) for column in unknown if len(unknown) and unknown[column].all()]
    said |= dict.fromkeys((key for key in undefined if key.endswith(score)), "undefined")
    table = "\n".join(f"| {text} | {said[key]} |" for text, key in rows if key in said)
    return f"**{harmless(name)}**: {outcome} ({ended}).\n\n| median over replicas | |\n|---|---|\n{table}\n"


def _with_quartiles(summary: dict[str, float], key: str) -> str:
    """52.1 [50.2, 55.3]; without brackets where the spread is not known, empty without a value."""
    if key not in summary:
        return ""
    spread = [f"{summary[name]:.4g}" for name in (f"{key}_q25", f"{key}_q75") if name in summary]
    return f"{summary[key]:.4g} [{', '.join(spread)}]" if spread else f"{summary[key]:.4g}"


def _score(config: Config, summary: dict[str, float]) -> str:
    """, validation accuracy 0.94 (always the most frequent class: 0.1); empty where it is not known."""
    score = tables.score_of(config)
    key = f"final/validation_{score}"
    return f", validation {score} {summary[key]:.3g}{_beside(key, config, summary)}" if key in summary else ""


def _beside(metric: str, config: Config, summary: dict[str, float]) -> str:
    """What a score is to be compared with."""
    baseline = summary.get(metric.replace("final/", "baseline/"))
    if baseline is None or not metric.startswith("final/"):
        return ""
    return f" ({BASELINES[f'validation_{tables.score_of(config)}']}: {baseline:.4g})"
