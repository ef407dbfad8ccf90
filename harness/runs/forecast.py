"""How long a command's cells will take: an estimate before they train, corrected by their own speed while they do."""

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from harness.config import ConfigError
from harness.report import duration
from harness.runs.grid import GridCell
from harness.runs.kept import load_dataset
from harness.training import Cell, estimate_seconds, least_bytes, pass_seconds

SAME_TIME = ("learning_rate", "reduction")  # keys on which the time of a cell hardly depends
PATIENCE = 0.3  # wall seconds that the estimates of a command may take together
MOST_BYTES = 3e8  # of a cell: a single evaluation of a larger one takes longer than that
ANSWER_SECONDS = 3.0  # figures and report
LINE_SECONDS = 30.0
PRIOR_SECONDS = 3.0  # of training, after which the speed of the cells counts as much as the estimate


@dataclass
class Forecast:
    """seconds: signature -> estimated wall seconds of a cell. workers: that train at the same time.

    rough: some cells were not estimated by themselves. told: when a line was last said, in seconds since 1970 as
    `started`.
    """

    seconds: dict[str, float]
    workers: int = 1
    rough: bool = False
    started: float = field(default_factory=time.time)
    told: float = field(default_factory=time.time)
    _done: set[str] = field(default_factory=set, init=False)  # signatures of cells that have ended
    _spent: float = field(
        default=0.0, init=False
    )  # their estimated seconds: a sweep asks at each checkpoint, and may have many cells

    def __post_init__(self) -> None:
        self._of_all = sum(self.seconds.values())

    def ended(self, cells: Iterable[str]) -> None:
        """Count cells, of which some may have been counted, as done."""
        new = (self.seconds.keys() & cells) - self._done
        self._done |= new
        self._spent += sum(self.seconds[cell] for cell in new)

    @property
    def total(self) -> float:
        """Estimated wall seconds of the command."""
        trained = self._of_all / self.workers
        return trained + pass_seconds(trained) + ANSWER_SECONDS

    def left(self, share: float = 0.0, of: str = "") -> float:
        """Wall seconds until the end, with the cells that are done and a share of another one."""
        spent = (self._spent + share * self.seconds.get(of, 0.0)) / self.workers
        return max(0.0, self.total - spent) * (self.elapsed + PRIOR_SECONDS) / (spent + PRIOR_SECONDS)

    @property
    def elapsed(self) -> float:
        return time.time() - self.started

    def state(self, share: float = 0.0, of: str = "") -> str:
        """3 of 12 cells, about 40 s left."""
        return f"{len(self._done)} of {len(self.seconds)} cells, about {duration(self.left(share, of))} left"

    def part(self, share: float = 0.0, of: str = "") -> float:
        """Of the command's time, 0 to 1."""
        return self.elapsed / max(self.elapsed + self.left(share, of), 1e-9)

    def is_due(self) -> bool:
        """Whether a line may be said where no live one is: every LINE_SECONDS."""
        if due := time.time() - self.told > LINE_SECONDS:
            self.told = time.time()
        return due


def forecast_of(cells: Sequence[GridCell], workers: int = 1) -> Forecast:
    """The forecast of cells that are to be trained. One of each kind is timed, as long as that does not take long."""
    kinds: dict[str, list[GridCell]] = {}
    for cell in cells:
        values = {key: value for key, value in cell.identity.values.items() if key not in SAME_TIME}
        kinds.setdefault(json.dumps(values, default=str), []).append(cell)
    begun, known = time.perf_counter(), dict[str, float]()
    for kind in _from_both_ends(list(kinds)):
        one = kinds[kind][0]
        if time.perf_counter() - begun < PATIENCE and _is_quick(one):
            try:
                own = Cell(one.config, load_dataset(one.config.dataset))
                known[kind] = estimate_seconds(own, PATIENCE / len(kinds))
            except (ConfigError, MemoryError):
                raise
            except Exception:  # its training meets it again, and fails alone
                continue
    if not known:
        return Forecast({}, workers)
    typical = float(np.median(list(known.values())))
    seconds = {cell.signature: known.get(kind, typical) for kind, same in kinds.items() for cell in same}
    return Forecast(seconds, workers, rough=len(known) < len(kinds))


def _is_quick(cell: GridCell) -> bool:
    return cell.config.engine == "vectorized" and least_bytes(cell.config, cell.identity.plan) < MOST_BYTES


def _from_both_ends(kinds: Sequence[str]) -> Iterable[str]:
    """First, last, second, ...: where time is short, those that are timed span the grid."""
    for i in range(len(kinds)):
        yield kinds[i // 2] if i % 2 == 0 else kinds[-1 - i // 2]


def announcement(forecast: Forecast, n_todo: int, n_cells: int) -> str:
    """training 12 of 15 cells, about 40 s on 2 workers."""
    how_many = f"training {n_todo} of {n_cells} cells" if n_cells > 1 else "training 1 cell"
    if not forecast.seconds:
        return how_many
    roughly = "roughly" if forecast.rough else "about"
    return f"{how_many}, {roughly} {duration(forecast.total)}" + (
        f" on {forecast.workers} workers" if forecast.workers > 1 else ""
    )
