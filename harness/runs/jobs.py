"""What a worker has to know of its sweep and of its cells; any launcher passes it on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from harness.config import Config

if TYPE_CHECKING:
    from harness.runs.forecast import Forecast
    from harness.training import Identity


@dataclass(frozen=True)
class SweepContext:
    """What a job has to know of its sweep without asking the store, and the store's address, with its password."""

    run_id: str
    experiment_id: str
    n_cells: int
    tracking_uri: str


@dataclass(frozen=True)
class Assignment:
    """The cell that a job is to train: its signature and its name in the sweep; digests of code and data as then."""

    signature: str
    label: str
    code: str
    data: str

    @classmethod
    def of(cls, cell: "Identity", label: str) -> Self:
        return cls(cell.signature, label, cell.code, cell.data)


@dataclass(frozen=True)
class Job:
    """How a cell is being trained: number, from 0, among those that its command trains; overrides as Hydra got them.

    exclusive: nothing else trains meanwhile, so that timings mean something. assignment: of a job of a sweep.
    forecast: of all cells of the command, for an exclusive job.
    """

    number: int
    exclusive: bool
    launcher: str
    overrides: list[str]
    assignment: Assignment | None = None
    forecast: "Forecast | None" = None


@dataclass(frozen=True)
class Pack:
    """Cells of a sweep that one worker trains, one after the other."""

    sweep: SweepContext
    cells: Sequence[tuple[Config, Job]]
