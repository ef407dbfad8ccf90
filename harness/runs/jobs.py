"""What a job has to know of its sweep and of its cell, in words that any launcher passes on to its workers."""

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from harness.runs.pace import Pace
    from harness.training import Identity


class Word:
    """A dataclass that travels to workers as one word, whatever the launcher."""

    def to_word(self) -> str:
        return base64.urlsafe_b64encode(json.dumps(vars(self)).encode()).decode().rstrip("=")

    @classmethod
    def from_word(cls, word: str) -> Self:
        return cls(**json.loads(base64.urlsafe_b64decode(word + "=" * (-len(word) % 4))))


@dataclass(frozen=True)
class SweepContext(Word):
    """What a job has to know of its sweep without asking the store."""

    run_id: str
    experiment_id: str
    n_cells: int


@dataclass(frozen=True)
class Assignment(Word):
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
    pace: of all cells of the command.
    """

    number: int
    exclusive: bool
    launcher: str
    overrides: list[str]
    assignment: Assignment | None = None
    pace: "Pace | None" = None
