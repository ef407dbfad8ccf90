"""A sweep as three tidy tables, read back from the store: its cells, their replicas, their histories.

Whatever answers, draws or reports works on these tables and on nothing else, so it works on a hand-written table too.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from harness.grid import GridCell
    from harness.tracking import Store

SUMMARIES = ("final", "best", "to_target", "diverged", "time", "noise")  # groups of metrics that say one thing a cell
FIRST = ("batch_size", "learning_rate", "reduction")  # of the params in a table
GRID = "grid.csv"  # of the parent run
BUDGETS = ("epochs=", "updates=", "train_seconds=")
KNOBS = ("batch_size", "learning_rate", "lr_mean", "lr_per_example", "n_train")


@dataclass(frozen=True, eq=False)
class SweepData:
    """Tables of one sweep.

    cells: one row per run - facet (what its label says besides B, η and reduction), cell (the label), status, outcome,
    params, summary metrics, score (median final training cost, NaN if all diverged) with q25 and q75, n_replicas,
    n_diverged, run_id. replicas and histories: the rows of replicas.csv and history.csv of the finished cells, with
    facet, cell, batch_size, learning_rate and reduction in front. timing: how the cells were timed - exclusive, shared
    (other workers trained meanwhile), or mixed (not all alike, or not on one machine: their seconds do not compare).
    """

    title: str
    about: dict[str, str]
    cells: "pd.DataFrame"
    replicas: "pd.DataFrame"
    histories: "pd.DataFrame"
    timing: str = "exclusive"


def write_grid(folder: Path, cells: "Sequence[GridCell]") -> None:
    """The cells that a sweep consists of, by signature, and what this sweep calls them: a file for its parent run."""
    import pandas as pd

    rows = [(cell.label, cell.signature) for cell in cells]
    pd.DataFrame(rows, columns=["cell", "signature"]).to_csv(folder / GRID, index=False)


def grid_labels(store: "Store", sweep: Any) -> dict[str, str]:
    """Signature -> label of the cells that a sweep, given as its run, consists of."""
    table = _read(store, sweep, GRID)
    return dict(zip(table["signature"], table["cell"], strict=True))


def load_sweep(store: "Store", sweep: str, *others: str) -> SweepData:
    """Read a sweep, and others as parts of it; cells that are not finished have a row in `cells` only.

    Of the runs of one cell the one that was started last counts, a finished one before any that is not.
    """
    import pandas as pd

    parent, *more = (store.get(run_id) for run_id in (sweep, *others))
    labels = {key: label for part in (*more, parent) for key, label in grid_labels(store, part).items()}
    runs = _latest([run for part in (sweep, *others) for run in store.cells(part)])
    rows, replicas, histories = [], [], []
    for run in runs:
        row = _cell_row(run, labels[run.data.tags["signature"]])
        if run.info.status == "FINISHED":
            own = _read(store, run, "replicas.csv")
            row |= _spread(own)
            shared = {key: row[key] for key in ("facet", "cell", "batch_size", "learning_rate", "reduction")}
            replicas.append(_with(own, shared))
            histories.append(_with(_read(store, run, "history.csv"), shared))
        rows.append(row)
    both = [pd.concat(parts, ignore_index=True) if parts else pd.DataFrame() for parts in (replicas, histories)]
    about = dict(parent.data.tags) | ({"cells": str(len(runs))} if others else {})
    merged = _facets([row["cell"] for row in rows])
    for table in (cells := pd.DataFrame(rows), *both):
        if len(table):
            table["facet"] = table["cell"].map(merged)
    return SweepData(parent.info.run_name, about, cells, both[0], both[1], _timing(runs))


def _timing(runs: list[Any]) -> str:
    finished = [run.data.tags for run in runs if run.info.status == "FINISHED"]
    ways = {(tags["timing"], tags["process.host"]) for tags in finished}
    return "mixed" if len(ways) > 1 else next(iter(ways), ("exclusive",))[0]


def _latest(runs: list[Any]) -> list[Any]:
    in_order = sorted(runs, key=lambda run: (run.info.status == "FINISHED", run.info.start_time))
    chosen = {run.data.tags["signature"]: run for run in in_order}
    return [run for run in runs if chosen[run.data.tags["signature"]] is run]


def _read(store: "Store", run: Any, name: str) -> "pd.DataFrame":
    import pandas as pd

    with tempfile.TemporaryDirectory() as scratch:
        return pd.read_csv(store.download(run, name, Path(scratch)), keep_default_na=False, na_values=["", "nan"])


def _with(table: "pd.DataFrame", shared: dict[str, Any]) -> "pd.DataFrame":
    outcome = table["outcome"].fillna("")
    return table.assign(**shared, outcome=outcome)


def _cell_row(run: Any, label: str) -> dict[str, Any]:
    params: dict[str, Any] = dict(sorted(run.data.params.items(), key=lambda item: (item[0] not in FIRST, item)))
    params |= {key: float(params[key]) for key in KNOBS if key in params}
    summary = {key: value for key, value in sorted(run.data.metrics.items()) if key.split("/")[0] in SUMMARIES}
    return {
        "facet": "",  # when all are known
        "cell": label,
        "status": run.info.status,
        "outcome": run.data.tags.get("outcome", ""),
        **params,
        **summary,
        "run_id": run.info.run_id,
    }


def facet_of(label: str) -> str:
    """The label without its B, η and reduction."""
    words = [word for word in label.split() if not word.startswith(("B=", "η=")) and word not in ("sum", "mean")]
    return " ".join(words)


def _facets(labels: "Sequence[str]") -> dict[str, str]:
    """Label -> facet. A budget that only follows from the other knobs (few epochs at B=1, many at B=N) makes none."""
    without = {label: " ".join(word for word in label.split() if not word.startswith(BUDGETS)) for label in labels}
    merged = len(set(without.values())) == len(without)
    return {label: facet_of(without[label] if merged else label) for label in labels}


def _spread(replicas: "pd.DataFrame") -> dict[str, float]:
    diverged = replicas["outcome"] == "diverged"
    costs = replicas.loc[~diverged, "final_train_cost"].to_numpy()
    q25, score, q75 = np.quantile(costs, [0.25, 0.5, 0.75]) if len(costs) else [np.nan] * 3
    return {"score": score, "q25": q25, "q75": q75, "n_replicas": len(replicas), "n_diverged": int(diverged.sum())}
