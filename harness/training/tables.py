"""From records to tables: a cell's training as tidy rows, which metrics, figures and notes read, and as a few numbers.

Spread over replicas is the interquartile range around the median, over all replicas (`spread`): diverged ones count as
the worst. MLflow keeps no infinite value, so a median is left out where half of the replicas have diverged.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.config import Config
from harness.network import Array
from harness.training.cell import CellResult, Plan
from harness.training.checkpoints import SUSTAINED, Outcome
from harness.training.diagnostics import Diagnostics
from harness.training.loop import Fingerprint, Record
from harness.training.noise import average_noise_scale, pooled_noise_scale
from harness.training.spread import WORST, quartiles

if TYPE_CHECKING:
    import pandas as pd

SCORES = {"classification": "accuracy", "regression": "r2"}

# Field of Diagnostics -> metric, like gradient/norm or sharpness/lambda_max.
DIAGNOSTICS = {
    field.name: ("sharpness/" if "lambda" in field.name else "gradient/") + field.name.removeprefix("gradient_")
    for field in fields(Diagnostics)
}

OF_BATCHES = ("example_norm", "batch_variance", "batch_squared_norm")


def _frame(rows: Any, columns: Any = None, dtype: Any = None) -> "pd.DataFrame":
    import pandas as pd

    return pd.DataFrame(rows, columns=columns, dtype=dtype)


def score_of(config: Config) -> str:
    """accuracy or r2, by the task, which the data have decided by now (`with_task`)."""
    return SCORES[str(config.dataset.task)]


def history(result: CellResult, config: Config) -> "pd.DataFrame":
    """One row per replica and checkpoint: update, epoch, examples, train_seconds, costs, score, outcome (or empty)."""
    return _frame(_history(result, config))


def _history(result: CellResult, config: Config) -> dict[str, Array]:
    """The columns of `history`: a table costs milliseconds, and small cells hardly more."""

    def column(name: str) -> Array:
        return np.concatenate([np.broadcast_to(getattr(r, name), r.replica.shape) for r in result.records])

    update = column("update")
    examples = _examples(result.plan, update)
    return {
        "replica": column("replica"),
        "update": update,
        "epoch": examples / result.plan.n_train,
        "examples": examples,
        **{name: column(name) for name in ("train_seconds", "train_cost", "validation_cost")},
        f"validation_{score_of(config)}": column("validation_score"),
        "outcome": np.array([outcome or "" for r in result.records for outcome in r.outcome], dtype=object),
    }


def _examples(plan: Plan, update: Any) -> Any:
    """Examples seen by one update, or by each of an array."""
    return plan.passes.examples(update)


def batch_costs(result: CellResult) -> "pd.DataFrame":
    """One row per recorded update of replica 0: mean cost of the batch just before that update moved the weights."""
    rows = [cost for record in result.records for cost in record.batch_costs]
    update, replica, cost = zip(*rows, strict=True) if rows else ((), (), ())
    epoch = _examples(result.plan, np.array(update, dtype=int)) / result.plan.n_train
    return _frame({"update": update, "replica": replica, "batch_cost": cost, "epoch": epoch})


def diagnostics(result: CellResult) -> "pd.DataFrame":
    """One row per diagnosed update of replica 0, numbered from 1: the fields of Diagnostics, NaN where unknown."""
    return _frame(_diagnostics(result))


def _diagnostics(result: CellResult) -> dict[str, Array]:
    """The columns of `diagnostics`."""
    taken = [(r.update, r.diagnostics) for r in result.records if r.diagnostics]
    columns = {name: [getattr(one, name) for _, one in taken] for name in DIAGNOSTICS}
    return {name: np.array(own, float) for name, own in {"update": [at for at, _ in taken], **columns}.items()}


def fingerprints(result: CellResult) -> "pd.DataFrame":
    """One row per replica and fingerprinted update: update, replica, digest (text), norm ‖θ‖₂."""
    rows = [(record.update, *taken) for record in result.records for taken in record.fingerprints]
    return _frame(rows, ["update", *Fingerprint._fields])


def columns_text(result: CellResult) -> str:
    """columns.csv: one row per column of the data, what it is and what was done to it (`harness.data.column_table`)."""
    return "" if result.columns is None else str(result.columns.to_csv(index=False, lineterminator="\n"))


def replicas(result: CellResult, config: Config) -> "pd.DataFrame":
    """One row per replica: outcome, where it ended, last finite cost, final, best and test figures, to-target.

    Beside the scores their baselines, and the balanced accuracy where classes are uneven.
    """
    score, rows, every = score_of(config), [], _history(result, config)
    validation = ["validation_cost", f"validation_{score}"]
    for place, replica in enumerate(np.unique(every["replica"])):
        own = {name: values[every["replica"] == replica] for name, values in every.items()}
        finite, costs = own["train_cost"][np.isfinite(own["train_cost"])], own["validation_cost"]
        best = -1 if np.isnan(costs).all() else int(np.nanargmin(costs))
        row = {
            "replica": int(replica),
            "outcome": own["outcome"][-1],
            "end_update": int(own["update"][-1]),
            "last_finite_cost": float(finite[-1]) if len(finite) else np.nan,
        }
        row |= {f"final_{column}": own[column][-1] for column in ("train_cost", *validation)}
        row |= {"final_test_cost": result.test_cost[place], f"final_test_{score}": result.test_score[place]}
        row |= {f"best_{column}": own[column][best] for column in (*validation, "epoch")}
        row |= {f"baseline_{part}_{score}": values[place] for part, values in result.baseline.items()}
        for part, values in result.balanced.items():
            row[f"final_{part}_balanced_{score}"] = values[place]
            row[f"baseline_{part}_balanced_{score}"] = 1 / max(2, result.plan.sizes[-1])
        rows.append(row | to_target(own, config.target, config.target_on))
    return _frame(rows)


def to_target(history: "Mapping[str, Array] | pd.DataFrame", target: float | None, on: str) -> dict[str, float]:
    """Updates, epochs and train seconds until one replica's cost is at or below the target at two checkpoints running.

    Log-linear interpolation in the cost between the checkpoint before and the first one below; NaN: not reached.
    """
    axes = {"updates": "update", "epochs": "epoch", "seconds": "train_seconds"}
    if target is None:
        return {}
    cost = np.asarray(history[f"{on}_cost"])
    below = cost <= target
    sustained = np.convolve(below, np.ones(SUSTAINED), "valid") == SUSTAINED
    if not sustained.any():
        return {f"to_target_{axis}": np.nan for axis in axes}
    first = int(np.argmax(sustained))
    before = max(first - 1, 0)
    span = np.log(cost[before]) - np.log(cost[first])
    part = (np.log(cost[before]) - np.log(target)) / span if span > 0 else 1.0
    values = {axis: np.asarray(history[column]) for axis, column in axes.items()}
    return {f"to_target_{a}": float(v[before] + part * (v[first] - v[before])) for a, v in values.items()}


def cell_outcome(replicas: "pd.DataFrame") -> Outcome:
    """How most replicas ended; of equals, the worse."""
    counts = Counter(replicas["outcome"])
    worst_first = [Outcome.DIVERGED, Outcome.COMPLETED, Outcome.REACHED]
    return max(worst_first, key=lambda outcome: counts[outcome])


def checkpoint_metrics(record: Record, latest: Mapping[str, Array], plan: Plan, score: str) -> dict[str, float]:
    """Medians over all replicas as metrics of one checkpoint, without infinite ones, and two clocks beside its update.

    latest: what `Latest.take` made of the record. MLflow's UI draws charts in the order of their names, and compares
    runs by the first metric of a record: costs come first in both.
    """
    names = ("cost/train", "cost/validation", f"validation/{score}")
    medians = {
        name: quartiles(values, WORST[field])[1] for name, (field, values) in zip(names, latest.items(), strict=True)
    }
    epochs = _examples(plan, record.update) / plan.n_train
    return _finite(medians | {"progress/epochs": epochs, "progress/train_seconds": record.train_seconds})


def diagnostics_metrics(diagnostics: Diagnostics) -> dict[str, float]:
    """What is known of one update, without what one batch says of the noise: that is for averages, in the table."""
    values = {metric: getattr(diagnostics, field) for field, metric in DIAGNOSTICS.items() if field not in OF_BATCHES}
    if diagnostics.squared_norm > 0:
        values["gradient/noise_scale"] = diagnostics.variance / diagnostics.squared_norm
    return _finite(values)


def summary(result: CellResult, replicas: "pd.DataFrame") -> dict[str, float]:
    """The cell in one row: medians final/, best/, to_target/, baseline/ over all replicas; diverged/, time/, noise/.

    What does not exist is left out; so are medians that are infinite because half of the replicas diverged.
    """
    return of_replicas(replicas) | _finite(_time_summary(result) | _noise_summary(result))


def of_replicas(replicas: "pd.DataFrame") -> dict[str, float]:
    """The part of `summary` that the table of replicas decides."""
    columns = {name: own.to_numpy() for name, own in replicas.items()}  # pandas takes five times as long below
    lost = columns["outcome"] == Outcome.DIVERGED
    values = {
        "diverged/fraction": lost.mean(),
        "diverged/first_update": columns["end_update"][lost].min() if lost.any() else np.nan,
        "diverged/last_finite_cost": _median(columns["last_finite_cost"][lost]),
    }
    ends = [name for name in columns if name.startswith(("final_", "best_"))]
    worst = np.array([-np.inf if name.endswith(tuple(SCORES.values())) else np.inf for name in ends])
    ended = np.where(lost[:, None], worst, np.stack([columns[name] for name in ends], axis=1).astype(float))
    values |= dict(zip((name.replace("_", "/", 1) for name in ends), quartiles(ended, worst)[1], strict=True))
    values |= {name.replace("_", "/", 1): _median(own) for name, own in columns.items() if name.startswith("baseline_")}
    return _finite(values | _to_target_summary(columns))


def _median(values: Array) -> float:
    """Of those that are known; NaN if none is."""
    known = values[~np.isnan(values)]
    return float(np.median(known)) if known.size else np.nan


def _finite(values: Mapping[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items() if np.isfinite(value)}


def _to_target_summary(columns: Mapping[str, Array]) -> dict[str, float]:
    """Medians over all replicas; those that did not reach the target count as later than all others."""
    own = {name.removeprefix("to_target_"): values for name, values in columns.items() if name.startswith("to_target_")}
    if not own:
        return {}
    medians = {f"to_target/{axis}": float(quartiles(values)[1]) for axis, values in own.items()}
    return medians | {"to_target/fraction": float((~np.isnan(next(iter(own.values())))).mean())}


def _noise_summary(result: CellResult) -> dict[str, float]:
    """B_simple along the run of replica 0, in examples: its time average if exact, and pooled from the batches alone.

    Left out when unresolved: nothing could be estimated, or the squared norm of the mean gradient drowns in noise.
    """
    of = _diagnostics(result)
    return {
        "noise/b_simple": average_noise_scale(of["update"], of["variance"], of["squared_norm"]),
        "noise/b_simple_pooled": pooled_noise_scale(of["update"], of["batch_variance"], of["batch_squared_norm"]),
    }


def _time_summary(result: CellResult) -> dict[str, float]:
    """The train clock of the first replica: seconds, and microseconds per update and per example with their scatter.

    Medians over its stretches between checkpoints, weighted by their updates, so that one interruption counts little.
    """
    first = result.records[0].replica[0]
    clocked = np.array([(record.update, record.train_seconds) for record in result.records if first in record.replica])
    updates, seconds = np.diff(clocked, axis=0).T
    if not len(updates):
        return {}
    last, total = clocked[-1]
    per_update = 1e6 * np.quantile(seconds / updates, [0.25, 0.5, 0.75], weights=updates, method="inverted_cdf")
    return {"time/train_seconds": float(total), **update_times(per_update, _examples(result.plan, int(last)) / last)}


def update_times(quartiles: Array, examples: float) -> dict[str, float]:
    """The metrics of the time of an update. quartiles (3,): microseconds. examples: of an update, on average."""
    q25, median, q75 = map(float, quartiles)
    spread = {"time/update_us_q25": q25, "time/update_us_q75": q75}
    return {"time/update_us": median, **spread, "time/example_us": median / examples}
