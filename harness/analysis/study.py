"""What a study is: a question, claims with what would support or refute them, and how its runs become findings.

The claims stand in experiments/NAME.yaml and are stored with the sweep when it begins; experiments/NAME.py judges them
afterwards: a judge takes tables and returns findings.
"""

import re
import runpy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from harness.analysis.evidence import Evidence
from harness.analysis.sweep_tables import SweepData
from harness.analysis.timing import BLOCKS
from harness.config import ConfigError
from harness.inference import Interval, Verdict
from harness.training import curve

if TYPE_CHECKING:
    import pandas as pd

BATCH_SIZE = "batch size (examples)"  # an axis of this name has its ticks at the sizes
PLAIN = ("question", Verdict.SUPPORTED, Verdict.REFUTED, Verdict.CONDITIONAL)  # texts of a claim in plain words
REFERENCE = re.compile(r"\b[Aa]s for ([A-Z]\d+(?:\.\w+)?)")


@dataclass(frozen=True)
class Claim:
    """A sentence that somebody holds to be true, and how it is tested; fixed before anything runs.

    exact: what is compared to the bit or to rounding, which another machine may change: "cells" with each other, or
    "again", cells with a training of the process that judges.
    plain: "question" -> the claim as a short question; verdict -> its answer in one sentence, which has to be true
    whatever numbers lead to that verdict. "unresolved" has many reasons, so it has none; a verdict without an answer
    gets a general one.
    """

    id: str
    says: str
    source: str
    measure: str
    supported: str
    refuted: str
    exact: str = ""
    plain: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Study:
    """A named sweep with a question and its claims, by id. timed: its verdicts compare seconds."""

    name: str
    question: str
    claims: Mapping[str, Claim]
    timed: bool = False


@dataclass(frozen=True, eq=False)
class Series:
    """A series of a panel, (n,) each: a line with marks, its limits as bars or a band; marks only; or a reference.

    kind: "line", "marks" or "reference" (thin and dashed, no marks). NaN is left out. A y of +inf (diverged, target not
    reached) is drawn at the upper edge, of a line the first one; a limit of +inf reaches up to there.
    """

    label: str
    x: ArrayLike
    y: ArrayLike
    low: ArrayLike | None = None
    high: ArrayLike | None = None
    kind: str = "line"


def median_cost(history: "pd.DataFrame", label: str) -> Series:
    """Median and quartiles of the training cost of one cell along the epochs, over all its replicas."""
    own = curve(history, "train_cost")
    return Series(label, own["epoch"], own["median"], own["q25"], own["q75"])


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
    """The verdict on one claim, and a sentence or two with the numbers that carry it.

    effect: the main number with its 95 % interval, in `unit`; None where the claim is exact. replicas: per cell.
    panels: the figure that shows it. rows: the numbers as a table, names of its columns first. along: what else could
    have been asked, as a free constant of the rule ("the margin") -> its values -> the verdict with each. plain: the
    answer in one sentence of plain words, where these runs say more than the claim's own text for the verdict.
    """

    claim: str
    verdict: Verdict
    sentence: str
    unit: str = ""
    effect: Interval | None = None
    replicas: int = 0
    panels: Sequence[Panel] = ()
    rows: Sequence[Sequence[str]] = ()
    along: Mapping[str, Mapping[float, Verdict]] = field(default_factory=dict)
    plain: str = ""


Judge = Callable[[Evidence], Iterable[Finding]]


def study_from(tree: Mapping[str, Any]) -> Study:
    """The study that a file of experiments/ describes. Raises ConfigError for a claim that does not say enough."""
    claims, sentences = {}, [part.name for part in fields(Claim) if part.name not in ("id", "exact", "plain")]
    for key in ("name", "question", "claims"):
        if not tree.get(key):
            raise ConfigError(f"study.{key}", "what experiments/README.md lists", tree.get(key))
    for claim, texts in tree["claims"].items():
        if missing := [text for text in sentences if not (isinstance(texts, Mapping) and texts.get(text))]:
            raise ConfigError(f"study.claims.{claim}", f"a sentence for each of {', '.join(sentences)}", missing)
        said = {text: _written_out(str(texts[text]), text, tree["claims"]) for text in sentences}
        if (exact := str(texts.get("exact", ""))) not in ("", "cells", "again"):
            raise ConfigError(f"study.claims.{claim}.exact", "cells | again, or no such key", exact)
        claims[str(claim)] = Claim(str(claim), **said, exact=exact, plain=_plain(str(claim), texts.get("plain") or {}))
    return Study(str(tree["name"]), str(tree["question"]), claims, bool(tree.get("timed", False)))


def _written_out(text: str, key: str, claims: Mapping[Any, Any]) -> str:
    """The text on one line; where it says `as for E1`, also what E1 says there: a claim is read alone."""
    others = {
        str(claim): " ".join(str(texts[key]).split())
        for claim, texts in claims.items()
        if isinstance(texts, Mapping) and texts.get(key)
    }
    one_line = " ".join(text.split())
    whole = REFERENCE.fullmatch(one_line.removesuffix("."))
    if whole and whole[1] in others:
        return others[whole[1]]
    return REFERENCE.sub(
        lambda at: f"{at[0]} ({others[at[1]].removesuffix('.')})" if at[1] in others else at[0], one_line
    )


def _plain(claim: str, texts: Any) -> dict[str, str]:
    """Question and answers. Raises ConfigError for a text that is none of them, or empty."""
    if not isinstance(texts, Mapping) or set(texts) - set(PLAIN) or not all(texts.values()):
        raise ConfigError(f"study.claims.{claim}.plain", f"a sentence for {' | '.join(PLAIN)}, or no such key", texts)
    return {str(key): " ".join(str(text).split()) for key, text in texts.items()}


def judge_of(study: str, folder: Path) -> Judge:
    """The function `judge` of the study's module in experiments/."""
    found: Judge = runpy.run_path(str(folder / f"{study}.py"), run_name=f"experiments_{study}")["judge"]
    return found


def judged(study: Study, judge: Judge, evidence: Evidence) -> list[Finding]:
    """One finding for each claim, in the study's order.

    All are unresolved when a cell of the grid is missing, or when a timed study has no seconds that compare; exact ones
    when cells of several machines disagree. Raises ValueError for a judge that leaves a claim out or adds one.
    """
    why = ""
    if missing := int((evidence.data.cells["status"] != "FINISHED").sum()):
        why = f"{missing} cells of the grid are missing, so nothing is concluded."
    elif study.timed and evidence.data.timing != BLOCKS:
        why = "One reading of each cell's clock: nothing is concluded from seconds. `report` measures them in blocks."
    if why:
        return [Finding(claim, Verdict.UNRESOLVED, why) for claim in study.claims]
    found = {finding.claim: finding for finding in judge(evidence)}
    if found.keys() != study.claims.keys():
        raise ValueError(f"experiments/{study.name}.py judges {sorted(found)}, its claims are {sorted(study.claims)}")
    return [_on_one_machine(claim, found[claim.id], evidence.data) for claim in study.claims.values()]


def _on_one_machine(claim: Claim, finding: Finding, data: SweepData) -> Finding:
    """An exact claim is neither refuted nor conditional by trainings whose bits may differ for another reason."""
    differing = data.other_arithmetic(data.here if claim.exact == "again" else "")
    if not (claim.exact and differing and finding.verdict in (Verdict.REFUTED, Verdict.CONDITIONAL)):
        return finding
    why = f"Not judged: it was trained with different arithmetic ({'; '.join(differing)}). Repeat it with rerun=all."
    return replace(finding, verdict=Verdict.UNRESOLVED, sentence=f"{finding.sentence} {why}", plain="")
