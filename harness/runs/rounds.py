"""Rounds of a sweep with seeds=auto: every cell with the replicas of the first look, then more where they are needed.

Each round trains parts of cells, which are ordinary cells with a `first_replica`: the store finds them when the command
is repeated, so a sweep that was ended between two rounds, or within one, goes on.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from harness.analysis import LOOKS, WALL, SweepData, answer, n_comparisons, needs
from harness.config import ConfigError, exact_text
from harness.inference import plan_looks
from harness.report import duration
from harness.runs import grid, parent
from harness.runs.grid import GridCell, Loader
from harness.runs.kept import load_dataset
from harness.runs.loading import load_sweep
from harness.store import Store, UnreachableError
from harness.training import Identity, identify

MOST_NAMED = 3  # comparisons
Say = Callable[[str], None]
LookUp = Callable[[Sequence[GridCell]], list[GridCell]]


@dataclass
class Rounds:
    """What the rounds of one command have in common, and the parts of which they have consisted so far.

    cells: as asked for, with seeds=auto. looks: planned numbers of replicas. workers: that train at the same time.
    """

    cells: Sequence[GridCell]
    load: Loader = load_dataset
    workers: int = 1
    parts: list[GridCell] = field(default_factory=list)
    cell_of: dict[str, GridCell] = field(default_factory=dict)  # signature of a part -> the cell that was asked for

    def __post_init__(self) -> None:
        count = n_comparisons([cell.identity.values for cell in self.cells])
        self.looks = plan_looks(count, self.cells[0].config.seeds_at_most)
        self.started = time.perf_counter()

    def first(self) -> list[GridCell]:
        """The parts of the first round: all cells."""
        self.parts = [self._part(cell, 0, self.looks[0]) for cell in self.cells]
        return list(self.parts)

    def refuse_other_looks(self, store: Store) -> None:
        """Raises ConfigError if an earlier sweep planned other looks at the same cells.

        Its looks share the whole probability of a false claim, so a further one, or one at another level, exceeds it.
        """
        own, planned = self._family(part.identity for part in self.first()), " ".join(map(str, self.looks))
        for sweep in store.sweeps_with(LOOKS):
            tested = sweep.data.tags[LOOKS]
            if tested != planned and self._family(parent.read_grid(store, sweep).values()) == own:
                allowed = f"{tested.split()[-1]}, as these cells were tested at {tested.replace(' ', ', ')} replicas"
                raise ConfigError("seeds_at_most", f"{allowed} before (other replicas: another seed)", self.looks[-1])

    @staticmethod
    def _family(cells: Iterable[Identity]) -> set[str]:
        """What the cells are, whatever their numbers of replicas."""
        without = ("seeds", "first_replica")
        values = ({key: own for key, own in one.values.items() if key not in without} for one in cells)
        return set(map(exact_text, values))

    def following(self, data: SweepData, say: Say, look_up: LookUp = list) -> list[GridCell]:
        """The parts of the next round, none if all is resolved or a bound is spent; says which and why.

        look_up: gives parts the runs in which they were trained before.
        """
        wanted: dict[str, int] = {}
        why = []
        for need in needs(data, answer(data)):
            wanted |= {cell: max(need.seeds, wanted.get(cell, 0)) for cell in need.cells}
            why.append(need.why)
        tried = {part.signature for part in self.parts}
        have = data.cells.set_index("cell")["n_replicas"] if wanted else {}
        new = {key: self._part(self.cell_of[key], int(have[key]), n) for key, n in wanted.items() if have[key] < n}
        parts = look_up([part for part in new.values() if part.signature not in tried])
        if not parts or not self._affordable(parts, data, say):
            return []
        self.parts += parts
        say(f"{_replicas(parts)}: {'; '.join(why[:MOST_NAMED])}{_and_more(why)}")
        return parts

    def _part(self, cell: GridCell, first: int, seeds: int) -> GridCell:
        config = replace(cell.config, seeds=seeds, first_replica=first)
        words = [*cell.overrides, f"seeds={seeds}", f"first_replica={first}"]
        label = f"{cell.label} replicas {first}-{seeds - 1}" if first else cell.label
        part = GridCell(config, words, identify(config, self.load(config.dataset)), label)
        self.cell_of[part.signature] = cell
        return part

    def _affordable(self, parts: Sequence[GridCell], data: SweepData, say: Say) -> bool:
        """Whether the round ends within seeds_at_most_seconds, at the time per replica so far."""
        bound = self.cells[0].config.seeds_at_most_seconds
        if bound is None:
            return True
        seconds = zip(data.cells["cell"], data.cells[WALL] / data.cells["n_replicas"], strict=True)
        each = {self.cell_of[key].signature: own for key, own in seconds}  # by the cell that was asked for
        todo = grid.missing(parts)
        prices = [each[self.cell_of[part.signature].signature] * len(part.config.replicas) for part in todo]
        price = sum(prices) / self.workers
        if not todo or time.perf_counter() - self.started + price <= bound:
            return True
        say(
            f"no further round: it would take about {duration(price)}, more than seeds_at_most_seconds={bound:g} leaves"
        )
        return False


def _replicas(parts: Sequence[GridCell]) -> str:
    """4 cells get replicas 10-19, 1 cell gets replicas 20-39."""
    count: dict[tuple[int, int], int] = {}
    for part in parts:
        ends = part.config.first_replica, part.config.replicas[-1]
        count[ends] = count.get(ends, 0) + 1
    clauses = [f"{n} cell{'s get' if n > 1 else ' gets'} replicas {a}-{b}" for (a, b), n in sorted(count.items())]
    return ", ".join(clauses)


def _and_more(why: Sequence[str]) -> str:
    return f"; and {len(why) - MOST_NAMED} comparisons more" if len(why) > MOST_NAMED else ""


def _say_in_round(say: Say, number: int, text: str) -> None:
    say(f"round {number}: {text}")


def in_store(rounds: Rounds, store: Store, sweep: str, say: Say) -> Iterator[list[GridCell]]:
    """The parts of each round after the first, with the runs of those that are finished; all are part of the sweep.

    Each is to be trained before the next is asked for. They end too if the store does not answer.
    """
    for number in range(2, 2 + len(rounds.cells) * len(rounds.looks)):
        try:
            store.deliver_waiting()
            new = rounds.following(
                load_sweep(store, sweep), partial(_say_in_round, say, number), partial(grid.look_up, store=store)
            )
            if not new:
                return
            parent.add_cells(store, sweep, rounds.parts, new)
        except (UnreachableError, OSError) as away:
            say(f"no further round, as {store.uri} does not answer: {away}")
            return
        yield new
