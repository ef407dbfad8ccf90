"""From records to tables: a cell's training as tidy rows, and as a few summary numbers.

Everything after training (metrics, figures, notes) reads these tables, never the arrays of the training loop. The
spread over replicas is the interquartile range; diverged replicas are counted, never averaged in.
"""

from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.config import Config
from harness.training.cell import CellResult, Plan
from harness.training.diagnostics import Diagnostics
from harness.training.fingerprint import Fingerprint
from harness.training.judge import SUSTAINED, Outcome
from harness.training.loop import Record
from harness.training.noise import average_noise_scale, pooled_noise_scale
from harness.training.order import examples_seen

if TYPE_CHECKING:
    import pandas as pd

SCORES = {"classification": "accuracy", "regression": "r2"}

# Field of Diagnostics -> metric: gradient/norm, gradient/variance and so on, but sharpness/lambda_max.
DIAGNOSTICS = {
    field.name: f"{'sharpness' if 'lambda' in field.name else 'gradient'}/{field.name.removeprefix('gradient_')}"
    for field in fields(Diagnostics)
}


def history(result: CellResult, config: Config) -> "pd.DataFrame":
    """One row per replica and checkpoint: update, epoch, examples, train_seconds, costs, score, outcome (or empty)."""
    import pandas as pd

    records, counts = result.records, [len(record.replica) for record in result.records]
    examples = [_examples(result.plan, record.update) for record in records]

    def of_checkpoint(values: Sequence[float]) -> NDArray[Any]:
        return np.repeat(values, counts)

    def of_replica(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(record, name) for record in records])

    return pd.DataFrame(
        {
            "replica": of_replica("replica"),
            "update": of_checkpoint([record.update for record in records]),
            "epoch": of_checkpoint([n / result.plan.n_train for n in examples]),
            "examples": of_checkpoint(examples),
            "train_seconds": of_checkpoint([record.train_seconds for record in records]),
            "train_cost": of_replica("train_cost"),
            "validation_cost": of_replica("validation_cost"),
            f"validation_{SCORES[config.dataset.task]}": of_replica("validation_score"),
            "outcome": [outcome or "" for record in records for outcome in record.outcome],
        }
    )


def _examples(plan: Plan, update: int) -> int:
    return examples_seen(update, plan.n_train, plan.batch_size, plan.last_batch)


def batch_costs(result: CellResult) -> "pd.DataFrame":
    """One row per recorded update of replica 0: mean cost of the batch just before that update moved the weights."""
    import pandas as pd

    rows = [cost for record in result.records for cost in record.batch_costs]
    table = pd.DataFrame(rows, columns=["update", "replica", "batch_cost"])
    examples = {update: _examples(result.plan, int(update)) for update in table["update"].unique()}
    table["epoch"] = table["update"].map(examples) / result.plan.n_train
    return table


def diagnostics(result: CellResult) -> "pd.DataFrame":
    """One row per diagnosed update of replica 0, numbered from 1: the fields of Diagnostics, NaN where unknown."""
    import pandas as pd

    rows = [{"update": r.update, **asdict(r.diagnostics)} for r in result.records if r.diagnostics]
    return pd.DataFrame(rows, columns=["update", *DIAGNOSTICS], dtype=float)


def fingerprints(result: CellResult) -> "pd.DataFrame":
    """One row per replica and fingerprinted update: update, replica, digest (text), norm ‖θ‖₂."""
    import pandas as pd

    rows = [(record.update, *taken) for record in result.records for taken in record.fingerprints]
    return pd.DataFrame(rows, columns=["update", *Fingerprint._fields])


def replicas(result: CellResult, config: Config) -> "pd.DataFrame":
    """One row per replica: outcome, where it ended, last finite cost, final, best and test figures, to-target."""
    import pandas as pd

    table = history(result, config)
    score = SCORES[config.dataset.task]
    rows = []
    for replica, own in table.groupby("replica"):
        last, finite = own.iloc[-1], own[np.isfinite(own["train_cost"])]
        best = own.loc[own["validation_cost"].idxmin()] if own["validation_cost"].notna().any() else last
        row = {
            "replica": int(replica),
            "outcome": last["outcome"],
            "end_update": int(last["update"]),
            "last_finite_cost": float(finite["train_cost"].iloc[-1]) if len(finite) else np.nan,
            "final_train_cost": last["train_cost"],
            "final_validation_cost": last["validation_cost"],
            f"final_validation_{score}": last[f"validation_{score}"],
            "final_test_cost": result.test_cost[int(replica)],
            f"final_test_{score}": result.test_score[int(replica)],
            "best_validation_cost": best["validation_cost"],
            f"best_validation_{score}": best[f"validation_{score}"],
            "best_epoch": best["epoch"],
        }
        rows.append(row | to_target(own, config.target, config.target_on))
    return pd.DataFrame(rows)


def to_target(history: "pd.DataFrame", target: float | None, on: str) -> dict[str, float]:
    """Updates, epochs and train seconds until one replica's cost is at or below the target at two checkpoints running.

    Log-linear interpolation in the cost between the checkpoint before and the first one below; NaN: not reached.
    """
    axes = {"updates": "update", "epochs": "epoch", "seconds": "train_seconds"}
    if target is None:
        return {}
    cost = history[f"{on}_cost"].to_numpy()
    below = cost <= target
    sustained = np.convolve(below, np.ones(SUSTAINED), "valid") == SUSTAINED
    if not sustained.any():
        return {f"to_target_{axis}": np.nan for axis in axes}
    first = int(np.argmax(sustained))
    before = max(first - 1, 0)
    span = np.log(cost[before]) - np.log(cost[first])
    part = (np.log(cost[before]) - np.log(target)) / span if span > 0 else 1.0
    values = {axis: history[column].to_numpy() for axis, column in axes.items()}
    return {f"to_target_{a}": float(v[before] + part * (v[first] - v[before])) for a, v in values.items()}


def cell_outcome(replicas: "pd.DataFrame") -> Outcome:
    """How most replicas ended; of equals, the worse."""
    counts = replicas["outcome"].value_counts()
    worst_first = [Outcome.DIVERGED, Outcome.COMPLETED, Outcome.REACHED]
    return max(worst_first, key=lambda outcome: counts.get(outcome, 0))


def checkpoint_metrics(record: Record, plan: Plan, score: str) -> dict[str, float]:
    """Median and quartiles over the replicas that have not diverged, as metrics of one checkpoint."""
    fine = np.array([outcome is not Outcome.DIVERGED for outcome in record.outcome])
    examples = _examples(plan, record.update)
    series = {
        "train/cost": record.train_cost,
        "validation/cost": record.validation_cost,
        f"validation/{score}": record.validation_score,
    }
    metrics = {
        "progress/updates": record.update,
        "progress/epochs": examples / plan.n_train,
        "progress/examples_seen": examples,
        "progress/train_seconds": record.train_seconds,
        "progress/replicas": int(fine.sum()),
    }
    if record.diagnostics:
        metrics |= _diagnostics_metrics(record.diagnostics)
    for name, values in series.items():
        if fine.any():
            q25, median, q75 = np.quantile(values[fine], [0.25, 0.5, 0.75])
            flat = name.replace("/", "_")
            metrics |= {name: median, f"spread/{flat}_q25": q25, f"spread/{flat}_q75": q75}
    return metrics


def _diagnostics_metrics(diagnostics: Diagnostics) -> dict[str, float]:
    """What is known of one update; the noise scale of one checkpoint only where it is exact."""
    values = {metric: getattr(diagnostics, field) for field, metric in DIAGNOSTICS.items()}
    if diagnostics.squared_norm > 0:
        values["gradient/noise_scale"] = diagnostics.variance / diagnostics.squared_norm
    return {metric: value for metric, value in values.items() if np.isfinite(value)}


def summary(result: CellResult, replicas: "pd.DataFrame") -> dict[str, float]:
    """The cell in one row: medians final/, best/, to_target/, and diverged/, time/; what does not exist is left out."""
    diverged = replicas[replicas["outcome"] == Outcome.DIVERGED]
    fine = replicas[replicas["outcome"] != Outcome.DIVERGED]
    values: dict[str, float] = {"diverged/fraction": len(diverged) / len(replicas)}
    if len(diverged):
        values["diverged/first_update"] = float(diverged["end_update"].min())
        values["diverged/last_finite_cost"] = float(diverged["last_finite_cost"].median())
    for column in fine.columns:
        group, _, name = column.partition("_")
        if group in ("final", "best") and len(fine):
            values[f"{group}/{name}"] = float(fine[column].median())
    values |= _to_target_summary(replicas) | _time_summary(result) | _noise_summary(result)
    return {name: value for name, value in values.items() if np.isfinite(value)}


def _to_target_summary(replicas: "pd.DataFrame") -> dict[str, float]:
    """Medians over all replicas; those that did not reach the target count as later than all others."""
    columns = [c for c in replicas.columns if c.startswith("to_target_")]
    if not columns:
        return {}
    medians = {f"to_target/{c.removeprefix('to_target_')}": float(replicas[c].fillna(np.inf).median()) for c in columns}
    return medians | {"to_target/fraction": float(replicas[columns[0]].notna().mean())}


def _noise_summary(result: CellResult) -> dict[str, float]:
    """B_simple along the run of replica 0, in examples: its time average if exact, and pooled from the batches alone.

    Left out when unresolved: nothing could be estimated, or the squared norm of the mean gradient drowns in noise.
    """
    table = diagnostics(result)
    updates = table["update"].to_numpy()
    return {
        "noise/b_simple": average_noise_scale(updates, *table[["variance", "squared_norm"]].to_numpy().T),
        "noise/b_simple_pooled": pooled_noise_scale(
            updates, *table[["batch_variance", "batch_squared_norm"]].to_numpy().T
        ),
    }


def _time_summary(result: CellResult) -> dict[str, float]:
    """Per update and per example, in microseconds of replica 0's train clock."""
    clocked = [record for record in result.records if 0 in record.replica]
    updates, seconds = clocked[-1].update, clocked[-1].train_seconds
    if not updates:
        return {}
    examples = _examples(result.plan, updates)
    return {
        "time/train_seconds": seconds,
        "time/update_us": 1e6 * seconds / updates,
        "time/example_us": 1e6 * seconds / examples,
    }


def curve(history: "pd.DataFrame", column: str) -> "pd.DataFrame":
    """Median and quartiles of a column over the replicas at each checkpoint; diverged values are left out.

    Columns: update, epoch, examples, train_seconds, median, q25, q75; empty when every replica diverged at once.
    """
    import pandas as pd

    axes = ["update", "epoch", "examples", "train_seconds"]
    fine = history[(history["outcome"] != Outcome.DIVERGED) & np.isfinite(history[column])]
    quartiles = ["q25", "median", "q75"]
    if fine.empty:
        return pd.DataFrame(columns=axes + quartiles, dtype=float)
    table = fine.groupby(axes)[column].quantile([0.25, 0.5, 0.75]).unstack()
    table.columns = pd.Index(quartiles)
    return table.reset_index()
