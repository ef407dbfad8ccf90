"""A sweep as three tidy tables: its cells, their replicas, their histories. Answers and figures take nothing else."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from harness.analysis.timing import BLOCKS, ONE_READING, timed, usable
from harness.config import KNOBS, Values, exact_text, labels, texts, visible
from harness.network import Parameters
from harness.training import Identity, quartiles

if TYPE_CHECKING:
    import pandas as pd

BUDGETS = ("epochs", "updates", "train_seconds")
TASK = (
    "seed",
    "seeds",
    "first_replica",
    "target",
    "target_on",
    "code",
    "data",
    *BUDGETS,
)  # and all keys of the dataset
DATA_NOTES = "data_notes"  # in SweepData.about: a JSON list of what was found out about the data and done to them
LOOKS = "looks"  # in SweepData.about, of seeds=auto: numbers of replicas
HEAD = ("setting", "cell", *KNOBS)  # in front of every row of replicas and histories


@dataclass(frozen=True, eq=False)
class SweepCell:
    """One cell of a sweep as it stands.

    status: FINISHED, FAILED, KILLED, RUNNING or MISSING. reason: why it is not finished. summary: its metrics by name.
    replicas, history: the tables of `harness.training.tables`, of a finished cell. arithmetic: the libraries and the
    processor that its bits depend on, as a text; empty if they are not known. more_runs: of its further parts.
    """

    identity: Identity
    status: str
    outcome: str = ""
    reason: str = ""
    run_id: str = ""
    summary: Mapping[str, float] = field(default_factory=dict)
    replicas: "pd.DataFrame | None" = None
    history: "pd.DataFrame | None" = None
    arithmetic: str = ""
    more_runs: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class SweepData:
    """Tables of one sweep.

    cells: one row per cell of the grid - setting (a name for the cells that agree in all that decides numbers but batch
    size, learning rate and reduction; these four name one cell), task and variant (see `Family`), name (what a sentence
    calls the cell beside others of its setting), cell (the signature), label (a name, unique in the sweep), status,
    outcome, reason, the configuration, asked_rate (the key `learning_rate`, which the column of that name has as its
    rule scaled it), summary metrics, score (median final training cost over all replicas, +inf if
    half diverged) with q25 and q75, n_replicas, n_diverged, n_stopped, run_id, more_runs (ids). replicas and histories:
    the rows of replicas.csv and history.csv of the finished cells, with HEAD in front. timing: BLOCKS if all seconds,
    per update and of trainings, come from `blocks` (a table of `harness.training.time_updates`), else ONE_READING:
    those of each cell's own clock, which do not compare. here: the arithmetic of this process, as the column of that
    name has it of a cell.
    """

    title: str
    about: Mapping[str, str]
    cells: "pd.DataFrame"
    replicas: "pd.DataFrame"
    histories: "pd.DataFrame"
    timing: str = BLOCKS
    blocks: "pd.DataFrame | None" = None
    here: str = ""

    @property
    def finished(self) -> "pd.DataFrame":
        """The finished cells."""
        return self.cells[self.cells["status"] == "FINISHED"]

    @property
    def best_first(self) -> "pd.DataFrame":
        """All cells: of each task, whose costs do not compare with another's, those with the lowest cost first."""
        order = self.cells.assign(place=self.cells.groupby("task", sort=False).ngroup())
        keys = ["place", *(key for key in ("score", "q25") if key in order)]
        return order.sort_values(keys, kind="stable", na_position="last").drop(columns="place")

    def other_arithmetic(self, here: str = "") -> list[str]:
        """Where it differs between the finished cells, and from `here`: `numpy: 2.1 | 2.2`. Then bits may differ."""
        texts = dict.fromkeys([*self.finished.get("arithmetic", ()), *([here] if here else [])])
        known = [json.loads(text or "{}") for text in texts]
        keys = dict.fromkeys(key for one in known for key in one)
        values = {key: dict.fromkeys(one[key] for one in known if key in one) for key in keys}  # of some engines only
        unknown = ["not recorded for some cells"] if len(known) > 1 and {} in known else []
        return unknown + [f"{key}: {' | '.join(own)}" for key, own in values.items() if len(own) > 1]

    @property
    def data_notes(self) -> list[str]:
        """What was found out about the data, and done to them, a line each."""
        return [str(line) for line in json.loads(self.about.get(DATA_NOTES, "[]"))]

    @property
    def looks(self) -> tuple[int, ...]:
        """Of seeds=auto: the planned numbers of replicas at which comparisons are tested; else none."""
        return tuple(map(int, self.about.get(LOOKS, "").split()))

    @property
    def n_blocks(self) -> int | None:
        """The fewest blocks of a cell: seconds of so many replicas in a row are independent; None: all are."""
        return None if self.blocks is None else int(self.blocks.groupby("signature")["block"].nunique().min())


def sweep_data(
    title: str, about: Mapping[str, str], cells: Sequence[SweepCell], blocks: "pd.DataFrame | None" = None
) -> SweepData:
    """The tables of these cells, which have different signatures. blocks: not used unless it has all finished cells."""
    import pandas as pd

    finished = [cell.identity.signature for cell in cells if cell.history is not None]
    if blocks is not None and usable(blocks, finished):
        blocks = blocks[blocks["signature"].isin(finished)]
        cells, timing = timed(cells, blocks), BLOCKS
    else:
        blocks, timing = None, ONE_READING
    cells = [_auto(cell, about.get(LOOKS, "").split()) for cell in cells]
    values = [{**one.values, "code": one.code, "data": one.data} for one in (cell.identity for cell in cells)]
    rows = [
        {**family._asdict(), "name": name, **_cell_row(cell, label)}
        for cell, label, family, name in zip(cells, labels(values), families(values), names(values), strict=True)
    ]
    whole = {i: cell for i, cell in enumerate(cells) if cell.replicas is not None and cell.history is not None}
    for i, own in zip(whole, spreads([cell.replicas for cell in whole.values()]), strict=True):
        rows[i] |= own
    heads = pd.DataFrame([{key: rows[i][key] for key in HEAD} for i in whole])
    replicas, histories = (
        _joined(heads, [getattr(cell, name) for cell in whole.values()]) for name in ("replicas", "history")
    )
    return SweepData(title, about, pd.DataFrame(rows), replicas, histories, timing, blocks)


def _joined(heads: "pd.DataFrame", parts: "Sequence[pd.DataFrame]") -> "pd.DataFrame":
    """One table of the cells' own, with what the head of each cell says in each of its rows."""
    import pandas as pd

    if not parts:
        return pd.DataFrame()
    table = pd.concat(parts, ignore_index=True)
    rows = heads.loc[np.repeat(heads.index, list(map(len, parts)))].reset_index(drop=True)
    return table.assign(**dict(rows.items()), outcome=table["outcome"].fillna(""))


def _auto(cell: SweepCell, looks: Sequence[str]) -> SweepCell:
    """With seeds=auto as the value where the number of replicas is that of a look: it is not what cells differ in."""
    identity = cell.identity
    if str(identity.values.get("seeds")) not in looks:
        return cell
    return replace(cell, identity=replace(identity, values=identity.values | {"seeds": "auto"}))


class Family(NamedTuple):
    """Which cells one may be compared with.

    task: a name for data, seeds, target and, where it is part of the setting, budget: the same replicas are trained for
    the same costs. variant: a name for the other values but the three knobs, "" where none differs in the sweep.
    setting: a name for both.
    """

    task: str
    variant: str
    setting: str


def families(cells: Sequence[Values]) -> list[Family]:
    """The task, variant and setting of each cell."""
    found = _without_knobs(cells)
    tasks = [{key: value for key, value in one.items() if _of_task(key)} for one in found]
    rest = [{key: value for key, value in one.items() if not _of_task(key)} for one in found]
    variants = _named(rest) if len(set(map(exact_text, rest))) > 1 else [""] * len(cells)
    return [Family(*three) for three in zip(_named(tasks), variants, _named(found), strict=True)]


def names(cells: Sequence[Values]) -> list[str]:
    """`B=64 (η=0.1, mean)`."""
    knobs = zip(*(texts(cells, key) for key in KNOBS), strict=True)
    return [f"B={size} (η={rate}, {reduction})" for size, rate, reduction in knobs]


def _of_task(key: str) -> bool:
    return key.startswith("dataset.") or key in TASK


def _named(parts: Sequence[Values]) -> list[str]:
    different = {exact_text(one): one for one in parts}
    found = dict(zip(different, labels(list(different.values())), strict=True))
    return [found[exact_text(one)] for one in parts]


def _without_knobs(cells: Sequence[Values]) -> list[Values]:
    """Without the budget too where no two cells differ in it alone: there it follows from the knobs."""
    alike = [exact_text(_without(one, (*KNOBS, *BUDGETS))) for one in cells]
    count = Counter((rest, *(one[key] for key in KNOBS)) for rest, one in zip(alike, cells, strict=True))
    by_budget = {rest for (rest, *_), n in count.items() if n > 1}
    keys = [KNOBS if rest in by_budget else (*KNOBS, *BUDGETS) for rest in alike]
    return [_without(one, without) for one, without in zip(cells, keys, strict=True)]


def _without(values: Values, keys: Sequence[str]) -> Values:
    return {key: value for key, value in values.items() if key not in keys}


def _cell_row(cell: SweepCell, label: str) -> dict[str, Any]:
    values, plan = dict(cell.identity.values), cell.identity.plan
    return {
        "cell": cell.identity.signature,
        "label": label,
        "status": cell.status,
        "outcome": cell.outcome,
        "reason": cell.reason,
        "arithmetic": cell.arithmetic,
        "batch_size": float(values.pop("batch_size")),
        **{key: values.pop(key) for key in ("learning_rate", "reduction")},
        "asked_rate": plan.learning_rate / plan.rate_factor,
        "lr_mean": plan.lr_mean,
        "lr_per_example": plan.lr_per_example,
        "n_train": float(plan.n_train),
        "dataset": visible(values.pop("dataset.name")),
        "n_parameters": Parameters.count(plan.sizes),
        "loss": plan.loss,
        **{key: _plain(value) for key, value in values.items()},
        **cell.summary,
        "run_id": cell.run_id,
        "more_runs": " ".join(cell.more_runs),
    }


def _plain(value: Any) -> Any:
    """A value as a column holds it: a list as text, half characters (of paths that are no UTF-8) by their code."""
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    return exact_text(value) if isinstance(value, list) else value


def spreads(tables: "Sequence[pd.DataFrame]") -> list[dict[str, float]]:
    """Of each table of replicas: score and quartiles (costs per example) over all, diverged ones as +inf; counts.

    n_stopped: replicas that ended at their target.
    """
    found: list[dict[str, float]] = [{} for _ in tables]
    sizes = np.array(list(map(len, tables)), dtype=int)
    for n in np.unique(sizes):
        alike = np.flatnonzero(sizes == n).tolist()
        outcome = np.stack([tables[i]["outcome"].to_numpy(dtype=object) for i in alike], axis=1)
        cost = np.stack([tables[i]["final_train_cost"].to_numpy(dtype=float) for i in alike], axis=1)
        lost, stopped = outcome == "diverged", (outcome == "reached").sum(axis=0)
        q25, score, q75 = quartiles(np.where(lost, np.inf, cost))
        for place, i in enumerate(alike):
            counts = {"n_replicas": int(n), "n_diverged": int(lost[:, place].sum()), "n_stopped": int(stopped[place])}
            found[i] = {"score": score[place], "q25": q25[place], "q75": q75[place], **counts}
    return found
