"""Which cells need further replicas for their comparisons to be resolved, and what these would cost."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from harness.analysis.answers import Answer
from harness.analysis.arms import Arm
from harness.analysis.comparisons import Question
from harness.analysis.headlines import Lead
from harness.analysis.parts import WALL
from harness.analysis.reductions import SumOrMean
from harness.analysis.sweep_tables import SweepData


@dataclass(frozen=True)
class Need:
    """A comparison that is unresolved: the cells (signatures) that are to have so many replicas, and why, in words."""

    cells: tuple[str, ...]
    seeds: int
    why: str


def needs(data: SweepData, found: Answer) -> list[Need]:
    """The unresolved comparisons of a sweep of seeds=auto that may be resolved with the replicas of its last look.

    All cells of both arms get as many as the next look has, whatever their learning rates: with the lucky one of ten
    replicas alone, a rate that was not the best would be compared as if it were. No more replicas for arms that may not
    be compared (a best rate on the edge of its grid), and where the timing pass has fewer blocks than there are
    replicas, or could never have as many as are needed.
    """
    n_replicas = dict(zip(data.cells["cell"], data.cells.get("n_replicas", 0), strict=True)) if len(data.cells) else {}
    wanted = []
    for question in questions(found):
        arms, compared = arms_of(question), question.comparison
        if compared is None or compared.verdict != "unresolved" or question.arms is None:
            continue
        n, have = (min(map(len, question.arms)), min(int(n_replicas[arm.best]) for arm in arms))
        following = next((look for look in data.looks if look > n), None)
        most = min(data.looks[-1], question.most_pairs) if data.looks else 0
        if n == have and following and compared.seeds_hoped and compared.seeds_hoped <= most:
            cells = tuple(dict.fromkeys(cell for arm in arms for cell in arm.cells["cell"]))
            wanted.append(Need(cells, following, f"{_name(question)} is unresolved (p = {compared.p:.2g})"))
    return wanted


def questions(found: Answer) -> Iterator[Question]:
    for headline in found.headlines:
        yield from headline.leads
    yield from found.sum_or_mean


def arms_of(question: Question) -> list[Arm]:
    """The arms that are compared."""
    if isinstance(question, Lead):
        return [question.first, question.second]
    assert isinstance(question, SumOrMean)
    return [arm for B in question.sizes for arm in question.best[B]]


def _name(question: Question) -> str:
    if isinstance(question, Lead):
        first, second = (_named(arm) for arm in (question.first, question.second))
        return f"{first} against {second} at equal {question.clock}"
    assert isinstance(question, SumOrMean)
    return f"sum against mean in {question.setting}"


def _named(arm: Arm) -> str:
    own = arm.cells.set_index("cell").loc[arm.best]
    return f"{own['variant']}, {own['name']}" if own["variant"] else str(own["name"])


def seconds_for(arms: Sequence[Arm], seeds: int) -> float:
    """Wall seconds to train all cells of these arms up to so many replicas, at their time per replica so far.

    One after the other; NaN where the wall time of a cell is not known.
    """
    import pandas as pd

    cells = pd.concat([arm.cells for arm in arms]).drop_duplicates("cell")
    if WALL not in cells:
        return np.nan
    each = cells[WALL] / cells["n_replicas"]
    return float((each * (seeds - cells["n_replicas"]).clip(lower=0)).sum(skipna=False))
