"""What a study is: a question, claims with what would support or refute them, and how its runs become findings.

The claims stand in experiments/NAME.yaml and are stored with the sweep when it begins; experiments/NAME.py judges them
afterwards. A judge gets tables and returns findings; it reads no store, draws nothing and draws no random numbers but
from the generator that it is handed.
"""

import importlib.util
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import yaml
from numpy.typing import ArrayLike, NDArray

from harness.analysis.answers import MARGIN, Answer, adjusted, final_costs, updates_to_target
from harness.analysis.sweep_tables import SweepData
from harness.config import ConfigError
from harness.inference import Comparison, Interval, Verdict, compare

if TYPE_CHECKING:
    import pandas as pd

    from harness.training import Cell

K = TypeVar("K")
Array = NDArray[np.floating]
BATCH_SIZE = "batch size (examples)"  # an axis of this name has its ticks at the sizes
TEXTS = ("says", "source", "measure", "supported", "refuted")  # of a claim, each a sentence or more


@dataclass(frozen=True)
class Claim:
    """A sentence that somebody holds to be true, and what is measured to find out - fixed before anything runs."""

    id: str
    says: str
    source: str
    measure: str
    supported: str
    refuted: str


@dataclass(frozen=True)
class Study:
    """A named sweep with a question and its claims, by id.

    alone: whether its cells are never to be trained side by side, because somebody reads their seconds.
    timed: whether that is the study itself, whose verdicts rest on them.
    """

    name: str
    question: str
    claims: Mapping[str, Claim]
    alone: bool = False
    timed: bool = False


@dataclass(frozen=True, eq=False)
class Series:
    """A series of a panel, (n,) each: a line with marks, its limits as bars or a band; marks only; or a reference.

    kind: "line", "marks" or "reference" (thin and dashed, no marks). Values that are not finite are left out.
    """

    label: str
    x: ArrayLike
    y: ArrayLike
    low: ArrayLike | None = None
    high: ArrayLike | None = None
    kind: str = "line"


@dataclass(frozen=True, eq=False)
class Panel:
    """Axes: what they show, their names with units, what is drawn.

    log: which axes are logarithmic, "xy", "x", "y" or "". names: of the places 0, 1, ... along the axis `named`: on x
    from the left, on y from the top, which makes the panel a table with a row for each name.
    """

    title: str
    x: str
    y: str
    lines: Sequence[Series]
    log: str = "xy"
    names: Sequence[str] = ()
    named: str = "x"


@dataclass(frozen=True, eq=False)
class Finding:
    """What the runs say of one claim.

    sentence: with its numbers, for somebody who reads nothing else. effect: the main number with its 95 % interval, of
    what `unit` says; None where the claim is exact. replicas: per cell. panels: the figure that shows it.
    """

    claim: str
    verdict: Verdict
    sentence: str
    unit: str = ""
    effect: Interval | None = None
    replicas: int = 0
    panels: Sequence[Panel] = field(default=())


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a judge has: the sweep's tables, its answer, the files of its cells, and a source of randomness.

    download: (run id, name of an artifact) -> a local copy of it.
    """

    data: SweepData
    answer: Answer
    download: Callable[[str, str], Path]
    rng: np.random.Generator

    @cached_property
    def cells(self) -> "pd.DataFrame":
        """The finished cells, one row each."""
        return self.data.cells[self.data.cells["status"] == "FINISHED"]

    @cached_property
    def final_costs(self) -> dict[str, Array]:
        """Cell -> final training cost (R,), +inf where the replica diverged."""
        return final_costs(self.data.replicas)

    @cached_property
    def to_target(self) -> dict[str, dict[str, Array]]:
        """Cell -> "updates", "epochs", "seconds" -> (R,) until its setting's target, +inf where it was not reached."""
        return updates_to_target(self.data.histories, self.answer.targets_at, self.cells)

    @cached_property
    def histories(self) -> "dict[str, pd.DataFrame]":
        """Cell -> the checkpoints of its replicas."""
        return {str(cell): own for cell, own in self.data.histories.groupby("cell")}

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

    def example_us(self, cell: str) -> float:
        """Train time per example of replica 0 in µs: the median over the stretches between its checkpoints.

        Weighted by their examples; what interrupts a stretch on a busy machine then counts little, unlike in the
        `time/example_us` of the whole run. NaN without an update.
        """
        own = self.histories[cell]
        own = own[own["replica"] == 0]
        examples, seconds = (np.diff(own[name].to_numpy(dtype=float)) for name in ("examples", "train_seconds"))
        return 1e6 * weighted_median(seconds[examples > 0] / examples[examples > 0], examples[examples > 0])

    def steady_seconds(self, cell: str) -> Array:
        """Train seconds to target, (R,): the examples that it takes, each at the time of an example; +inf: not reached.

        That time is the median `example_us` of the cells of the setting with this batch size: it does not depend on the
        learning rate. The seconds of `to_target` are those of one clock as it went, whatever the machine did besides.
        """
        own = self.cells.set_index("cell").loc[cell]
        same = (self.cells["setting"] == own["setting"]) & (self.cells["batch_size"] == own["batch_size"])
        us = np.nanmedian([self.example_us(other) for other in self.cells.loc[same, "cell"]])
        return self.to_target[cell]["epochs"] * float(own["n_train"]) * us / 1e6

    def blocks(self, cells: "pd.DataFrame") -> "pd.DataFrame":
        """`example_us` of cells that were repeated with several root seeds: a row for each seed, a column for each B.

        The first block is left out, unless it is the only one: it pays for what the machine does once.
        """
        timed = cells.assign(us=cells["cell"].map(self.example_us), block=cells["seed"].astype(int))
        table = timed.pivot(index="block", columns="batch_size", values="us").sort_index()
        return table.iloc[1:] if len(table) > 1 else table

    def _file(self, cell: str, name: str) -> Path:
        return self.download(str(self.cells.set_index("cell").loc[cell, "run_id"]), name)

    def compare(self, arms: Mapping[K, tuple[ArrayLike, ArrayLike]], margin: float = MARGIN) -> dict[K, Comparison]:
        """Each pair of arms (R,) compared replica by replica; one family of claims, so the p-values are Holm's."""
        found = [compare(a, b, margin=margin, rng=self.rng) for a, b in arms.values()]
        return dict(zip(arms, adjusted(found), strict=True))


def limits(intervals: Iterable[Interval]) -> tuple[list[float], list[float], list[float]]:
    """The estimates, the lower and the upper limits: what a `Series` takes after x."""
    found = list(intervals)
    return [i.estimate for i in found], [i.low for i in found], [i.high for i in found]


def quartiles(samples: Iterable[ArrayLike]) -> tuple[list[float], list[float], list[float]]:
    """The medians of samples, and their lower and upper quartiles: what a `Series` takes after x.

    Values that were observed, not between two, since a training that never arrives has infinitely many updates; NaN is
    left out.
    """
    known = [np.asarray(own)[~np.isnan(own)] for own in samples]
    found = [np.quantile(own, [0.5, 0.25, 0.75], method="nearest") if len(own) else [np.nan] * 3 for own in known]
    middle, low, high = ([float(own[i]) for own in found] for i in range(3))
    return middle, low, high


def weighted_median(values: Array, weights: Array) -> float:
    """The smallest of the values (n,) that at least half of the weight is not above; NaN of none."""
    if not len(values):
        return float("nan")
    order = np.argsort(values)
    share = np.cumsum(weights[order]) / weights.sum()
    return float(values[order][np.searchsorted(share, 0.5)])


def at_the_edge(best: "pd.DataFrame") -> str:
    """Which best rates lie on the edge of their grid, and where to extend it, as a sentence; empty if none does.

    best: rows of `Answer.best` or `Answer.targets`.
    """
    parts = []
    for row in best[best["edge"] != ""].itertuples():
        side = {"low": "lower rates", "high": "higher rates"}.get(row.edge, "more rates")
        found = "no rate reaches the target" if np.isnan(row.learning_rate) else f"extend it to {side}"
        parts.append(f"{row.setting} B={row.batch_size:g}: {found}")
    return f" A best rate lies on the edge of its grid ({'; '.join(parts)})." if parts else ""


Judge = Callable[[Evidence], Iterable[Finding]]


def study_from(tree: Mapping[str, Any]) -> Study:
    """The study that a file of experiments/ describes. Raises ConfigError for a claim that does not say enough."""
    name = str(tree.get("name") or "")
    claims = {}
    for key in ("name", "question", "claims"):
        if not tree.get(key):
            raise ConfigError(f"study.{key}", "what experiments/README.md lists", tree.get(key))
    for claim, texts in tree["claims"].items():
        if missing := [text for text in TEXTS if not (isinstance(texts, Mapping) and texts.get(text))]:
            raise ConfigError(f"study.claims.{claim}", f"a sentence for each of {', '.join(TEXTS)}", missing)
        claims[str(claim)] = Claim(str(claim), **{text: " ".join(str(texts[text]).split()) for text in TEXTS})
    timed = bool(tree.get("timed", False))
    return Study(name, str(tree["question"]), claims, timed or bool(tree.get("alone", False)), timed)


def judge_of(study: str, folder: Path) -> Judge:
    """The function `judge` of the study's module in experiments/."""
    spec = importlib.util.spec_from_file_location(f"experiments_{study}", folder / f"{study}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: Judge = module.judge
    return found


def judged(study: Study, judge: Judge, evidence: Evidence) -> list[Finding]:
    """One finding for each claim, in the study's order; nothing is concluded from a grid with holes.

    Nor from seconds of cells that others trained beside, where a study rests on seconds.

    Raises ValueError for a judge that leaves a claim out or makes one up.
    """
    missing = int((evidence.data.cells["status"] != "FINISHED").sum())
    missing += int(evidence.data.about.get("cells", 0)) - len(evidence.data.cells)
    if missing:
        return _unresolved(study, f"{missing} cells of the grid are missing, so nothing is concluded.")
    if study.timed and evidence.data.timing != "exclusive":
        text = "Cells were trained side by side: nothing is concluded from their seconds. Repeat it with rerun=all."
        return _unresolved(study, text)
    found = {finding.claim: finding for finding in judge(evidence)}
    if found.keys() != study.claims.keys():
        raise ValueError(f"experiments/{study.name}.py judges {sorted(found)}, its claims are {sorted(study.claims)}")
    return [found[claim] for claim in study.claims]


def _unresolved(study: Study, why: str) -> list[Finding]:
    return [Finding(claim, Verdict.UNRESOLVED, why) for claim in study.claims]
