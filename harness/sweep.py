"""A sweep's parent run: opened before the cells, closed on every path with the answer from whatever they left.

Everything about the cells is read back from the store, never handed over in memory: cells may have been trained in
this process, in workers, or earlier, and the answer can be written again at any time.
"""

import io
import json
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness import clock_plots, plots, rate_plots, report, sweep_plots
from harness.answer import Answer, answer
from harness.config import Config
from harness.labels import sweep_label, varied_keys
from harness.notes import note, number, shortened
from harness.recording import source_tags
from harness.sweep_data import SweepData, load_sweep
from harness.tracking import Store

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from mlflow.entities import Run

VIEW = [
    "params.`batch_size`",
    "params.`learning_rate`",
    "params.`reduction`",
    "tags.`outcome`",
    "metrics.`final/train_cost`",
    "metrics.`final/validation_cost`",
    "metrics.`time/train_seconds`",
    "metrics.`time/update_us`",
    "metrics.`time/example_us`",
]  # what the UI's table shows of the cells
FEW = 12  # cells up to which all of them are compared in one figure of coloured lines


def open_sweep(store: Store, configs: Sequence[Config], command: str) -> str:
    """Create the parent run; returns its run id, which is the sweep's name everywhere else."""
    study = configs[0].study.get("name")
    tags = {
        "kind": "sweep",
        "cells": str(len(configs)),
        "varied": json.dumps(varied_keys(configs)),
        "command": command,
        "mlflow.note.content": f"`{command}`\n\n{len(configs)} cells: training.",
        **({"study": study} if study else {}),
        **source_tags(),
    }
    sweep = store.start(sweep_label(configs), tags).run_id
    store.save_view(sweep, VIEW, order_by="metrics.`final/train_cost`")
    return sweep


def close_sweep(store: Store, sweep: str, killed: bool) -> list["Run"]:
    """Write the answer and end the parent; returns the cells. FAILED if a cell failed, or the answer did."""
    status = "FAILED"
    try:
        cells = store.cells(sweep)
        finished = sum(cell.info.status == "FINISHED" for cell in cells)
        complete = finished == int(store.get(sweep).data.tags["cells"])
        write_answer(store, sweep)
        status = "KILLED" if killed else "FINISHED" if complete else "FAILED"
    except Exception:
        traceback.print_exc()
        store.attach(sweep).text("traceback.txt", traceback.format_exc())
    finally:
        store.attach(sweep).finish(status)
    return cells


def write_answer(store: Store, sweep: str, *others: str) -> None:
    """Note, figures, table of cells and report on the parent, from the store; replaces files of the same names.

    others: sweeps whose cells count as this one's, for a grid that was spread over several commands.
    """
    data = load_sweep(store, sweep, *others)
    found = answer(data)
    words = note(data, found)
    parent = store.attach(sweep)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pictures = {title: _png(figure) for title, figure in figures(data, found).items()}
        (folder / "figures").mkdir()
        for title, png in pictures.items():
            (folder / "figures" / f"{title}.png").write_bytes(png)
        table = data.cells.merge(found.cells, on="cell", how="left") if len(data.cells) else data.cells
        table.to_csv(folder / "cells.csv", index=False)
        (folder / "report.html").write_text(report.html(data.title, words, pictures), encoding="utf8")
        parent.folder(folder)
    parent.table("cells.json", table)
    parent.note(shortened(words))


def figures(data: SweepData, found: Answer) -> dict[str, "Figure"]:
    """The figures that suit what the sweep varied, by file name."""
    cells, title = data.cells[data.cells["status"] == "FINISHED"], data.title
    if cells.empty:
        return {}
    facets = cells.groupby("facet")
    n_sizes, n_rates = (facets[key].nunique().max() for key in ("batch_size", "learning_rate"))
    drawn: dict[str, Figure] = {}
    if len(cells) <= FEW or facets.size().max() == 1:
        drawn |= _named("comparison", _comparisons(cells, data))
    if facets.size().max() > 1:
        drawn |= _named("clocks", clock_plots.clocks(data.histories, found.best, title))
    if n_sizes > 1:
        goals = "; ".join(f"{facet}: {number(cost)}" for facet, cost in found.targets_at.items())
        drawn["to_target"] = sweep_plots.to_target(found.targets, found.fits, f"training cost {goals}", title)
        drawn["timing"] = sweep_plots.timing(cells, title)
    if n_rates > 1:
        drawn["learning_rates"] = rate_plots.rate_heatmaps(cells, found.best, title)
        drawn["stability"] = rate_plots.stability(found.frontier, title)
    if len(cells) > 1:
        drawn["outcomes"] = sweep_plots.outcomes(cells, title)
    return drawn


def _comparisons(cells: "pd.DataFrame", data: SweepData) -> dict[str, "Figure"]:
    """Dataset -> one line for each of its cells; costs of different data do not share an axis."""
    histories = dict(iter(data.histories.groupby("cell")))
    dataset = cells["facet"].str.split().str[0]
    return {
        str(name): plots.comparison({cell: histories[cell] for cell in own["cell"]}, data.title)
        for name, own in cells.groupby(dataset)
    }


def _named(name: str, figures: dict[str, "Figure"]) -> dict[str, "Figure"]:
    """File names: `name`, with what a figure is of where there are several."""
    return {f"{name} {of}" if len(figures) > 1 else name: figure for of, figure in figures.items()}


def _png(figure: "Figure") -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return stream.getvalue()
