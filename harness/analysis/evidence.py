"""What the judge of a study is given: the sweep's tables, its answer, and the files of its cells."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import yaml
from numpy.typing import ArrayLike

from harness.analysis.answers import Answer
from harness.analysis.batch_sizes import targets_table, to_goals
from harness.analysis.comparisons import MARGIN, costs_when_spent
from harness.analysis.courses import Courses
from harness.analysis.parts import WALL
from harness.analysis.sweep_tables import SweepData
from harness.inference import Array, Comparison, Interval, compare_family, reported
from harness.training import block_seconds
from harness.training import quartiles as quartiles_of

if TYPE_CHECKING:
    import pandas as pd

    from harness.training import Cell

K = TypeVar("K")
SIDES = {"low": "lower", "high": "higher", "both": "lower and higher"}  # the edge of a grid -> where to add rates


@dataclass(frozen=True, eq=False)
class Evidence:
    """A study's sweep, its answer, and the files of its cells. download: (run id, artifact's name) -> a local copy."""

    data: SweepData
    answer: Answer
    download: Callable[[str, str], Path]
    rng: np.random.Generator

    @cached_property
    def cells(self) -> "pd.DataFrame":
        """The finished cells."""
        return self.data.finished

    @property
    def final_costs(self) -> dict[str, Array]:
        """Cell -> final training cost (R,), +inf where the replica diverged."""
        return self.answer.final_costs

    @cached_property
    def to_target(self) -> dict[str, dict[str, Array]]:
        """Cell -> "updates", "epochs", "seconds" -> (R,) until its setting's target, +inf where it was not reached.

        Seconds: of as many replicas as were timed independently.
        """
        n = self.data.n_blocks
        return {cell: own | {"seconds": own["seconds"][:n]} for cell, own in self.answer.to_target.items()}

    def at_target(self, times: float) -> "Evidence":
        """The same at so many times the target of each setting: `Answer.to_target` and `Answer.targets` are new."""
        if times == 1:
            return self
        goals = {setting: times * cost for setting, cost in self.answer.targets_at.items()}
        reached = to_goals(self._courses, goals, self.cells)
        targets = targets_table(self.cells, reached, self.rng, self.data.n_blocks)
        own = replace(self.answer, targets_at=goals, to_target=reached, targets=targets)
        return Evidence(self.data, own, self.download, self.rng)

    def reported(self, reached: Mapping[str, Array], clock: str) -> Array:
        """What one cell of `Answer.to_target` needs on a clock, of the replicas that did not choose its rate."""
        own = reported(reached[clock])
        return own[: self.data.n_blocks] if clock == "seconds" else own

    @cached_property
    def histories(self) -> "dict[str, pd.DataFrame]":
        """Cell -> the checkpoints of its replicas."""
        return {str(cell): own for cell, own in self.data.histories.groupby("cell", sort=False)}

    def when_spent(self, cells: "pd.DataFrame", column: str) -> tuple[float, dict[str, Array]]:
        """The most of a clock that each of these cells has spent, and cell -> costs then (`costs_when_spent`)."""
        return costs_when_spent(cells, self._courses, column, self.data.n_blocks)

    def log_costs(self, cell: str, epoch: float) -> Array:
        """(R,): log of the training costs after so many epochs; +inf of a replica that ended or diverged before."""
        history, columns = self.histories[cell], ["epoch", "train_cost"]
        before = history[history["epoch"] <= epoch].groupby("replica")[columns].last()
        after = history[history["epoch"] >= epoch].groupby("replica")[columns].first()  # of those that came so far
        ended = history.groupby("replica")["outcome"].last()
        after = after[ended.loc[after.index] != "diverged"]
        x0, x1 = before.loc[after.index, "epoch"], after["epoch"]
        y0, y1 = np.log(before.loc[after.index, "train_cost"]), np.log(after["train_cost"])
        between = y0 + (y1 - y0) * (epoch - x0) / (x1 - x0).where(x1 > x0, 1)
        return between.reindex(ended.index, fill_value=np.inf).to_numpy()

    @cached_property
    def _courses(self) -> Courses:
        return Courses(self.data.histories)

    @cached_property
    def critical_sizes(self) -> dict[str, float]:
        """Dataset -> B_crit, fitted to the updates to target of the mean's cells, where that is resolved."""
        fits = self.answer.fits
        fits = fits[(fits["reduction"] == "mean") & fits["resolved"].astype(bool)]
        dataset = self.cells.drop_duplicates("setting").set_index("setting")["dataset"]
        return {str(dataset[row.setting]): float(row.b_crit) for row in fits.itertuples()}

    def replicas(self, cell: str, column: str) -> Array:
        """A column of replicas.csv of one cell, (R,) in the order of the replicas."""
        own = self.data.replicas[self.data.replicas["cell"] == cell].sort_values("replica")
        return own[column].to_numpy(dtype=float)

    def table(self, cell: str, name: str) -> "pd.DataFrame":
        """A table among the files of a cell, such as diagnostics.csv or batch_costs.csv."""
        import pandas as pd

        return pd.read_csv(self._file(cell, name), keep_default_na=False, na_values=["", "nan"])

    def weights(self, cell: str) -> Array:
        """The parameters that every replica of a cell ended with, (R, P)."""
        with np.load(self._file(cell, "weights.npz")) as stored:
            return np.concatenate([stored[name].reshape(len(stored[name]), -1) for name in sorted(stored)], axis=1)

    def again(self, cell: str) -> "Cell":
        """The cell as its run's configuration describes it, before its first update."""
        from harness.config import config_from
        from harness.data import load
        from harness.training import Cell

        config = config_from(yaml.safe_load(self._file(cell, "config.yaml").read_text(encoding="utf8")))
        return Cell(config, load(config.dataset))

    def blocks(self, cells: "pd.DataFrame") -> "pd.DataFrame":
        """Train time per example in µs: a row for each block of the timing pass, a column for each B of these cells."""
        import pandas as pd

        if self.data.blocks is None:
            return pd.DataFrame(columns=sorted(set(cells["batch_size"])))
        own = self.data.blocks.merge(cells, left_on="signature", right_on="cell")
        own["us"] = 1e6 * block_seconds(own) * own["time/example_us"] / own["time/update_us"]
        return own.pivot_table(index="block", columns="batch_size", values="us", aggfunc="median").dropna()

    def price(
        self, pairs: Iterable[int | None], n: int, cells: "pd.DataFrame | None" = None
    ) -> tuple[float, float] | None:
        """Seeds that would tell, and seconds to train these cells (None: all) with them; None: no number is known.

        pairs: how many each of several effects needs (`pairs_to_tell`, `Comparison.seeds_needed`) that has n of them.
        """
        own = self.cells if cells is None else cells
        needed = [np.nan if each is None else each for each in pairs]
        if not needed or np.isnan(needed).any():
            return None
        factor = max(needed) / n
        seconds = float(own[WALL].sum()) if WALL in own else np.nan
        replicas = self.answer.n_replicas if cells is None else int(own["n_replicas"].max())
        return factor * replicas, factor * seconds

    def _file(self, cell: str, name: str) -> Path:
        return self.download(str(self.cells.set_index("cell").loc[cell, "run_id"]), name)

    def compare(self, arms: Mapping[K, tuple[ArrayLike, ArrayLike]], margin: float = MARGIN) -> dict[K, Comparison]:
        """Each pair of arms (R,) compared replica by replica; one family of claims."""
        return compare_family(arms, margin)


def limits(intervals: Iterable[Interval]) -> tuple[list[float], list[float], list[float]]:
    """The estimates, the lower and the upper limits: what a `Series` takes after x."""
    found = list(intervals)
    return [i.estimate for i in found], [i.low for i in found], [i.high for i in found]


def quartiles(samples: Iterable[ArrayLike]) -> tuple[list[float], list[float], list[float]]:
    """The medians of samples, and their lower and upper quartiles: what a `Series` takes after x.

    Diverged costs and unreached targets are coded +inf and count; NaN is left out.
    """
    known = [np.asarray(own)[~np.isnan(own)] for own in samples]
    found = [quartiles_of(own) if len(own) else np.full(3, np.nan) for own in known]
    low, middle, high = np.reshape(found, (-1, 3)).T.tolist()
    return middle, low, high


def at_the_edge(best: "pd.DataFrame") -> str:
    """Which best rates lie on the edge of their grid, and where to extend it, as a sentence; empty if none does.

    best: rows of `Answer.best` or `Answer.targets`.
    """
    parts = []
    for row in best[best["edge"] != ""].itertuples():
        found = "no rate reaches the target" if np.isnan(row.learning_rate) else f"add {SIDES[row.edge]} rates"
        parts.append(f"{row.setting} B={row.batch_size:g}: {found}")
    return f" A best rate lies on the edge of its grid ({'; '.join(parts)})." if parts else ""
