"""The cells of a command beside those that the store already holds: which are to be trained, and for how long.

A cell is recognised by its signature, never by its name. Cells of one grid that share a signature are one cell.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.analysis import n_comparisons, too_few_seeds
from harness.config import Config, labels
from harness.data import Doubt
from harness.runs.kept import Loader, load_dataset
from harness.store import Store
from harness.training import Identity, identify, with_task

MOST_NOTES = 15  # on data; MLflow keeps 8000 characters of a tag


@dataclass(frozen=True)
class GridCell:
    """One cell: what makes it, what it is, what this grid calls it, and its finished run, if the store has one.

    asked: its configuration as it was composed; in `config` the task of its data is decided.
    """

    config: Config
    overrides: list[str]
    identity: Identity
    label: str = ""
    notes: tuple[str, ...] = ()  # what was found out about its data, and done to them
    run_id: str | None = None
    asked: Config | None = None

    @property
    def signature(self) -> str:
        return self.identity.signature


def grid(cells: Sequence[tuple[Config, list[str]]], load: Loader = load_dataset) -> list[GridCell]:
    """The different cells of a command, in its order. load: gives the data of a configuration."""
    found: dict[str, GridCell] = {}
    for config, overrides in cells:
        dataset = load(config.dataset)
        own = identify(config, dataset)
        cell = GridCell(with_task(config, dataset), overrides, own, notes=dataset.notes, asked=config)
        found.setdefault(own.signature, cell)
    names = labels([cell.identity.values for cell in found.values()])
    return [replace(cell, label=name) for cell, name in zip(found.values(), names, strict=True)]


def data_notes(cells: Sequence[GridCell]) -> list[str]:
    """What was found out about the data of cells, and done to them; with the dataset's name where there are several."""
    notes = {cell.identity.data: (cell.config.dataset.name, cell.notes) for cell in cells if cell.notes}
    several = len(notes) > 1
    lines = [f"{f'{name}: ' * several}{_told(note)}" for name, own in notes.values() for note in own]
    return [*lines[:MOST_NOTES], *([f"and {len(lines) - MOST_NOTES} more lines"] if len(lines) > MOST_NOTES else [])]


def _told(note: str) -> str:
    return f"warning: {note}" if isinstance(note, Doubt) else note


def look_up(cells: Sequence[GridCell], store: Store) -> list[GridCell]:
    """The same cells, with the run of each that is finished in the store, unless `rerun=all` asks to train it again."""
    runs = store.finished_cells([cell.signature for cell in cells if cell.config.rerun != "all"])
    found = {signature: run.info.run_id for signature, run in runs.items()}
    return [replace(cell, run_id=found[cell.signature]) if cell.signature in found else cell for cell in cells]


def missing(cells: Sequence[GridCell]) -> list[GridCell]:
    return [cell for cell in cells if cell.run_id is None]


def unresolvable(cells: Sequence[GridCell], looks: Sequence[int] = ()) -> str:
    """A sentence if some are to be trained and together can never resolve what their answer compares; else empty."""
    if not missing(cells):
        return ""
    count = n_comparisons([cell.identity.values for cell in cells])
    n_replicas = sorted(len(cell.config.replicas) for cell in cells)
    seeds = looks[-1] if looks else n_replicas[-2:][0]  # the most pairs that two cells can have
    return too_few_seeds(count, seeds, at_most=True)
