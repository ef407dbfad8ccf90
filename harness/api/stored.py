"""`harness.load`: a sweep or cells from the store."""

from typing import Any

from harness.api.results import Result
from harness.api.sweeps import Sweep
from harness.runs import cell_tables, find_run, load_runs, weights
from harness.store import Store, read_run


def load(run_id: str, *more: str) -> Sweep:
    """Read a sweep, or a single cell, from the store: that of the current folder, or of MLFLOW_TRACKING_URI.

    run_id: of a sweep or of a cell, 32 hexadecimal digits as MLflow shows them; the first 6 or more are enough where
        no other run begins with them.
    more: ids of further sweeps, whose cells count as the first one's; or, if the first is a cell, of further cells.

    Cells that are not finished are in `cells` only, with a reason. `results` reads the weights of every cell when it is
    used first. Nothing is written.
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
    """A finished cell, from its row of a sweep's table and the files of its run."""
    run = store.get(cell["run_id"])
    stored, (replicas, history) = read_run(store, run), cell_tables(store, run)
    return Result(
        label=cell["label"],
        signature=cell["cell"],
        config=stored.config,
        outcome=cell["outcome"],
        summary={name: value for name, value in cell.items() if "/" in name and value == value},
        weights=weights(stored.parameters),
        _history=history,
        _replicas=replicas,
    )
