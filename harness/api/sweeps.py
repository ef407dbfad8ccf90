"""A grid of cells as a Python program sees it: tables, answer, figures."""

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

from harness.analysis import Answer, SweepData, answer
from harness.api.results import Result
from harness.report import figures, note, png

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

MOST_ROWS = 20  # of the table that a notebook shows
# Columns of that table, by those of `cells`.
SHOWN = {
    "label": "cell",
    "outcome": "outcome",
    "score": "training cost",
    "final/validation_accuracy": "validation accuracy",
    "final/validation_r2": "validation r2",
    "time/update_us": "µs per update",
}


class Note(str):
    """Markdown that a notebook shows formatted."""

    __slots__ = ()

    def _repr_markdown_(self) -> str:
        return str(self)


class Figures(dict[str, "Figure"]):
    """Figures by name; a notebook shows them all."""

    def _repr_html_(self) -> str:
        from base64 import b64encode

        pictures = {name: b64encode(png(figure)).decode() for name, figure in self.items()}
        return "\n".join(f'<img alt="{name}" src="data:image/png;base64,{data}">' for name, data in pictures.items())


class Sweep:
    """A grid of cells after its training, or as a store holds it. Costs are means per example.

    The tables are copies: they may be changed. Their column `cell` is the signature of a cell, by which they are
    joined; `label` is its name for people, and `setting` names the cells that are compared: those that differ in batch
    size, learning rate and reduction only.
    """

    def __init__(self, data: SweepData, read_results: Callable[[], list[Result]]) -> None:
        self._data, self._read_results = data, read_results

    @property
    def cells(self) -> "pd.DataFrame":
        """One row for each cell: what it is, how it ended (status, outcome, reason), every setting, its summary.

        score is the median training cost at the end over the replicas that did not diverge, between its quartiles q25
        and q75. lr_mean and lr_per_example are the learning rate in canonical units.
        """
        return self._data.cells.copy()

    @property
    def replicas(self) -> "pd.DataFrame":
        """One row for each replica of each finished cell: outcome, where it ended, final, best and test figures."""
        return self._data.replicas.copy()

    @property
    def histories(self) -> "pd.DataFrame":
        """One row for each checkpoint of each replica of each finished cell: the columns of `Result.history`."""
        return self._data.histories.copy()

    @cached_property
    def results(self) -> list[Result]:
        """The finished cells one by one, with their weights."""
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
        return Figures(figures(self._data, self._answer))

    def _table(self) -> "pd.DataFrame":
        cells = self._data.cells
        table = cells[[column for column in SHOWN if column in cells]].rename(columns=SHOWN)
        return table.assign(outcome=table["outcome"].where(table["outcome"] != "", cells["status"].str.lower()))

    def __len__(self) -> int:
        """The number of cells."""
        return len(self._data.cells)

    def __repr__(self) -> str:
        table = self._table().to_string(index=False, max_rows=MOST_ROWS, float_format="{:.4g}".format, na_rep="")
        return f"{self._data.title}: {len(self)} cells\n{table}"

    def _repr_html_(self) -> str:
        from html import escape

        table = self._table().to_html(index=False, max_rows=MOST_ROWS, float_format="{:.4g}".format, na_rep="")
        return f"<p>{escape(self._data.title)}: {len(self)} cells</p>\n{table}"
