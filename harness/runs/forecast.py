"""How long a command's cells will take: an estimate before they train, corrected by their own speed while they do."""

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from harness.config import Config, ConfigError
from harness.report import duration
from harness.runs.grid import GridCell, missing
from harness.runs.kept import load_dataset
from harness.training import Cell, estimate_seconds, least_bytes, pass_seconds

SAME_TIME = ("learning_rate", "reduction")  # keys on which the time of a cell hardly depends
PATIENCE = 0.3  # wall seconds that the estimates of a command may take together
PLAN_PATIENCE = 10.0  # the same of a dry run, which times long ones, too
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
    kinds, known = _kinds(cells), dict[str, float]()
    for kind in _as_time_allows(list(kinds), PATIENCE):
        if _is_quick(one := kinds[kind][0]):
            try:
                known[kind] = _estimated(one, PATIENCE / len(kinds))
            except (ConfigError, MemoryError):
                raise
            except Exception:  # its training meets it again, and fails alone
                continue
    return _forecast(kinds, known, workers)


def _kinds(cells: Sequence[GridCell]) -> dict[str, list[GridCell]]:
    """The cells by what their time depends on."""
    kinds: dict[str, list[GridCell]] = {}
    for cell in cells:
        values = {key: value for key, value in cell.identity.values.items() if key not in SAME_TIME}
        kinds.setdefault(json.dumps(values, default=str), []).append(cell)
    return kinds


def _estimated(cell: GridCell, patience: float) -> float:
    return estimate_seconds(Cell(cell.config, load_dataset(cell.config.dataset)), patience)


def _forecast(kinds: dict[str, list[GridCell]], known: dict[str, float], workers: int = 1) -> Forecast:
    """known: kind -> seconds; a kind that was not timed takes the median."""
    if not known:
        return Forecast({}, workers)
    typical = float(np.median(list(known.values())))
    seconds = {cell.signature: known.get(kind, typical) for kind, same in kinds.items() for cell in same}
    return Forecast(seconds, workers, rough=len(known) < len(kinds))


def _is_quick(cell: GridCell) -> bool:
    return cell.config.engine == "vectorized" and least_bytes(cell.config, cell.identity.plan) < MOST_BYTES


def _as_time_allows(kinds: Sequence[str], patience: float) -> Iterable[str]:
    """First, last, second, ... until the seconds are over: those that are timed span the grid."""
    begun = time.perf_counter()
    for i in range(len(kinds)):
        if i and time.perf_counter() - begun > patience:
            return
        yield kinds[i // 2] if i % 2 == 0 else kinds[-1 - i // 2]


def timed(cells: Sequence[GridCell]) -> Forecast:
    """The forecast of a dry run, which has more time, also for long cells. Raises what their training raises."""
    kinds = _kinds(cells)
    share = min(1.0, PLAN_PATIENCE / max(1, len(kinds)))
    known = {kind: _estimated(kinds[kind][0], share) for kind in _as_time_allows(list(kinds), PLAN_PATIENCE)}
    return _forecast(kinds, known)


def plan(cells: Sequence[GridCell], forecast: Forecast, looks: Sequence[int] = ()) -> str:
    """What a dry run prints: a line for each cell with its estimated wall seconds, and their sum, trained in a row.

    forecast: of those that are missing, or, with looks, of all. looks: of seeds=auto, of which the cells are the first
    round.
    """
    todo = missing(cells)
    seconds, about = forecast.seconds, "roughly" if forecast.rough else "about"
    width = max(len(cell.label) for cell in cells)
    states = {cell.signature: f"{about} {duration(seconds[cell.signature])}" for cell in todo}
    lines = [f"{cell.label:<{width}}  {states.get(cell.signature, f'done, run {cell.run_id}')}" for cell in cells]
    total = duration(sum(seconds[cell.signature] for cell in todo))
    lines.append(f"{len(cells)} cells, {len(cells) - len(todo)} done, {about} {total} to train")
    return "\n".join([*lines, *_at_most(sum(seconds.values()), cells[0].config, looks)])


def _at_most(first: float, config: Config, looks: Sequence[int]) -> list[str]:
    """first: wall seconds of the first round."""
    if not looks:
        return []
    whole, bound = first * looks[-1] / looks[0], config.seeds_at_most_seconds
    price = duration(whole if bound is None else min(whole, max(first, bound)))
    numbers = ", ".join(map(str, looks))
    return [
        f"seeds=auto: this is the first round; comparisons are tested at {numbers} replicas. "
        f"Cells of unresolved ones get the next number: at most about {price} together, if all cells need all replicas"
    ]


def announcement(forecast: Forecast, n_todo: int, n_cells: int) -> str:
    """training 12 of 15 cells, about 40 s on 2 workers."""
    how_many = f"training {n_todo} of {n_cells} cells" if n_cells > 1 else "training 1 cell"
    if not forecast.seconds:
        return how_many
    roughly = "roughly" if forecast.rough else "about"
    return f"{how_many}, {roughly} {duration(forecast.total)}" + (
        f" on {forecast.workers} workers" if forecast.workers > 1 else ""
    )
