"""A trained cell and a grid of cells as a Python program sees them; `harness.load` reads both from the store."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from io import StringIO
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.analysis import Answer, SweepData, answer
from harness.config import Config
from harness.network import Array
from harness.report import figures, note, own_figures, png, pngs
from harness.runs import cell_tables, find_run, load_runs, weights
from harness.store import Store, read_run
from harness.training import tables

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

# How a notebook or a terminal shows a sweep's table, and its columns by those of `cells`.
FORMAT: dict[str, Any] = {"index": False, "max_rows": 20, "float_format": "{:.4g}".format, "na_rep": ""}
SHOWN = {
    "label": "cell",
    "outcome": "outcome",
    "score": "training cost",
    "final/validation_accuracy": "validation accuracy",
    "baseline/validation_accuracy": "accuracy baseline",
    "final/validation_r2": "validation r2",
    "baseline/validation_r2": "r2 baseline",
    "time/update_us": "µs per update",
}


NUMBERS = ("mean", "standard_deviation")  # columns of columns.csv that hold numbers, or nothing


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """One cell after its training: R replicas of one configuration. Costs are means per example.

    label: the cell's name for people. config: every setting.
    signature: 16 hexadecimal digits that identify what was trained; the command line has the same.
    outcome: how most replicas ended - completed, reached or diverged.
    summary: medians over all replicas, named like metrics in MLflow: final/..., best/..., baseline/..., to_target/...,
        diverged/fraction, time/... (seconds, or microseconds per update and example), noise/... (examples). What does
        not exist is left out, as are medians where half of the replicas diverged.
    weights: at the end, W0 (R, D, H), b0 (R, H), W1, ... up to the output layer.
    """

    label: str
    signature: str
    config: Config
    outcome: str
    summary: dict[str, float]
    weights: dict[str, Array]
    _history: "pd.DataFrame" = field(repr=False)
    _replicas: "pd.DataFrame" = field(repr=False)
    _columns: str = field(repr=False)  # the text of columns.csv

    def history(self) -> "pd.DataFrame":
        """One row for each replica and checkpoint.

        Columns: replica, update, epoch, examples (seen so far), train_seconds (of replica 0), train_cost,
        validation_cost, validation_accuracy or validation_r2, outcome (empty until the replica has ended).
        """
        return self._history.copy()

    def replicas(self) -> "pd.DataFrame":
        """One row for each replica: outcome, where it ended, its final, best and test figures."""
        return self._replicas.copy()

    def columns(self) -> "pd.DataFrame":
        """One row for each column of the data: its kind, what was done to it, and which inputs it became.

        Columns: column, kind, missing (rows without a value), done, inputs (their places in X, from 0; of a column with
        gaps the last one marks them), and what the training part of the first replica taught: filled_with (in place of
        a missing value), mean, standard_deviation, levels (those that have an input; "other" is shared by the rest).
        """
        import pandas as pd

        return pd.read_csv(StringIO(self._columns), keep_default_na=False, na_values={name: [""] for name in NUMBERS})

    def __repr__(self) -> str:
        score = tables.score_of(self.config)
        figures = {"training cost": "final/train_cost", f"validation {score}": f"final/validation_{score}"}
        said = [f"{name} {self.summary[key]:.3g}" for name, key in figures.items() if key in self.summary]
        if len(said) > 1 and (baseline := self.summary.get(f"baseline/validation_{score}")) is not None:
            said[-1] += f" (baseline {baseline:.3g})"
        n = len(self._replicas)
        return f"<{self.label}: {', '.join([self.outcome, *said])} ({n} {'replicas' if n > 1 else 'replica'})>"


class Note(str):
    """Markdown that a notebook shows formatted."""

    __slots__ = ()

    def _repr_markdown_(self) -> str:
        return str(self)


class Figures(dict[str, "Figure"]):
    """Figures by name; a notebook shows them all."""

    def _repr_html_(self) -> str:
        from base64 import b64encode
        from html import escape

        pictures = {escape(name): b64encode(picture).decode() for name, picture in pngs(self).items()}
        return "\n".join(f'<img alt="{name}" src="data:image/png;base64,{data}">' for name, data in pictures.items())


def _drawable(figure: "Figure") -> "Figure":
    """The same. Raises what its drawing raises."""
    png(figure)
    return figure


class Sweep:
    """A grid of cells after its training, or as a store holds it. Costs are means per example.

    The tables are copies. Their column `cell` is a cell's signature, by which they are joined; `label` its name for
    people; `setting` names the cells that are compared: they differ in batch size, learning rate and reduction only.
    """

    def __init__(self, data: SweepData, read_results: Callable[[], list[Result]]) -> None:
        self._data, self._read_results = data, read_results

    @property
    def cells(self) -> "pd.DataFrame":
        """One row for each cell: what it is, how it ended (status, outcome, reason), every setting, its summary.

        score is the median training cost at the end over all replicas, diverged ones as inf, between its quartiles q25
        and q75. lr_mean and lr_per_example are the learning rate in canonical units.
        """
        return self._data.cells.copy()

    @property
    def replicas(self) -> "pd.DataFrame":
        """One row for each replica of each finished cell: outcome, where it ended, final, best and test figures."""
        return self._data.replicas.copy()

    @property
    def histories(self) -> "pd.DataFrame":
        """One row for each checkpoint of each replica of each finished cell: the columns of `Result.history`.

        train_seconds of replica r are its updates times the r-th measurement of the time of an update, all cells in
        turns; without these (cells by id, an interrupted pass) the clock of replica 0, which does not compare.
        """
        return self._data.histories.copy()

    @cached_property
    def results(self) -> list[Result]:
        """The finished cells one by one, with their weights; those of a stored sweep are read at the first use."""
        return self._read_results()

    @cached_property
    def _answer(self) -> Answer:
        return answer(self._data)

    def answer(self) -> Answer:
        """What the sweep found, as tables: best learning rates, updates to target, sum against mean, winners."""
        return self._answer

    def note(self) -> str:
        """The answer in words, as Markdown."""
        return Note(note(self._data, self._answer))

    def figures(self) -> "dict[str, Figure]":
        """The figures that suit what the sweep varied, by name, as Figures of matplotlib."""
        own = own_figures(self._data, self._answer, partial(warnings.warn, stacklevel=3), _drawable)
        return Figures({**figures(self._data, self._answer), **own})

    def _table(self) -> "pd.DataFrame":
        cells = self._data.cells
        table = cells[[column for column in SHOWN if column in cells]].rename(columns=SHOWN)
        return table.assign(outcome=table["outcome"].where(table["outcome"] != "", cells["status"].str.lower()))

    def __len__(self) -> int:
        """The number of cells."""
        return len(self._data.cells)

    def _heading(self) -> str:
        return f"{self._data.title}: {len(self)} {'cell' if len(self) == 1 else 'cells'}"

    def __repr__(self) -> str:
        return f"{self._heading()}\n{self._table().to_string(**FORMAT)}"

    def _repr_html_(self) -> str:
        from html import escape

        return f"<p>{escape(self._heading())}</p>\n{self._table().to_html(**FORMAT)}"


def load(run_id: str, *more: str) -> Sweep:
    """Read a sweep, or a single cell, from the store: that of the current folder, or of MLFLOW_TRACKING_URI.

    run_id: of a sweep or of a cell, 32 hexadecimal digits as MLflow shows them, or the first 6 or more of them.
    more: ids of further sweeps, whose cells count as the first one's; or, if the first is a cell, of further cells.

    Cells that are not finished are in `cells` only, with a reason. Nothing is written.
    Raises ConfigError for an id that no run has, or several, and for a run that another version wrote.

    After `python -m harness -m dataset=iris batch_size=8,64`, with the id that it printed:

    >>> import harness
    >>> sweep = harness.load(run_id)
    >>> sweep.cells["label"].to_list()
    ['iris B=8 η=0.1 mean', 'iris B=64 η=0.1 mean']
    """
    store = Store.open_to_read()
    data = load_runs(store, [find_run(store, digits) for digits in (run_id, *more)])
    finished = data.cells[data.cells["status"] == "FINISHED"].to_dict("records")
    return Sweep(data, lambda: [_result(store, cell) for cell in finished])


def _result(store: Store, cell: dict[str, Any]) -> Result:
    """A finished cell, from its row of a sweep's table and the files of its runs."""
    parts = []
    for run in map(store.get, (cell["run_id"], *cell["more_runs"].split())):
        stored, (replicas, history) = read_run(store, run), cell_tables(store, run, "replicas", "history")
        arrays = weights(stored.parameters)
        parts.append(
            Result(cell["label"], cell["cell"], stored.config, "", {}, arrays, history, replicas, stored.columns)
        )
    return result_of(cell, parts)


def result_of(cell: dict[str, Any], parts: Sequence[Result]) -> Result:
    """The result of a cell from its row of a sweep's table and the results of its parts, in the order of replicas."""
    import pandas as pd

    first, last = parts[0], parts[-1]
    history, replicas = (
        pd.concat([getattr(part, name) for part in parts], ignore_index=True) for name in ("_history", "_replicas")
    )
    return replace(
        first,
        label=cell["label"],
        config=replace(first.config, seeds=last.config.seeds),
        outcome=cell["outcome"],
        summary={name: value for name, value in cell.items() if "/" in name and value == value},
        weights={name: np.concatenate([part.weights[name] for part in parts]) for name in first.weights},
        _history=history.sort_values("update", kind="stable", ignore_index=True),
        _replicas=replicas,
    )
