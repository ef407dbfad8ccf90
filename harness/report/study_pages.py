"""The pages of all studies, as Markdown: the questions with their answers, and a page for each study.

A study is what `findings.records` gives of it, read from its sweep, with "command", "cells" and their "seconds" added.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from harness.analysis import Claim
from harness.inference import Interval
from harness.report.findings import GENERAL, effect
from harness.report.markdown import code, harmless, table

Row = dict[str, Any]
Record = dict[str, Any]

# Studies of the harness in the order in which a beginner asks; others follow by name.
ORDER = (
    "sum_vs_mean", "accumulation", "accumulation_cost", "three_methods", "typical_sizes", "powers_of_two", "large_n",
    "vectorisation", "order", "noise", "online_vs_batch", "learning_rate_scaling", "rules_of_thumb", "schedules",
    "stability", "edge_of_stability", "critical_batch_size", "noise_scale", "critical_batch_growth",
    "critical_batch_data", "batch_warm_up", "generalisation", "optimisers", "adam_batch", "textbook", "training_curves",
    "errata", "formulas",
)  # fmt: skip

INTRODUCTION = """# Findings

What people say about batch size, learning rate, and sum or mean, and what runs of this harness say to it. Behind each
answer stand a claim with its source, what would support or refute it, the numbers and a figure: follow its link.

- **supported**: the runs show what the study asks for.
- **refuted**: the runs show what the study says would refute the claim; that no difference was seen is not enough.
- **conditional**: it holds in some settings (data, batch size, clock, a constant) and fails in others.
- **unresolved**: these runs do not decide it."""

ENDING = """## How these answers were made

`experiments/` says what is measured, and what supports or refutes a claim, before a study runs; the verdict is computed
from its runs. Grids, budgets and rules were chosen on pilot runs with root seed 0; the runs shown have other seeds. A
rule that was changed after its runs is named where changed verdicts are listed. A machine has no seeds: a result in
seconds holds for this machine, within its intervals. Intervals are 95 %. All holds for what was run: small networks
on small data.

`python -m harness studies --all` runs all studies and writes these pages; `python -m harness studies` lists the
verdicts of your own runs."""

CHANGED = "[Verdicts that were other ones before](findings/changed.md), and why; rules that were changed after runs."

BACK = "[All findings](../findings.md)"


def index(studies: Sequence[Record], changed: bool = False) -> str:
    """Markdown of the questions and answers; the pages of the studies are expected below findings/.

    changed: there, too, is changed.md, on the verdicts of earlier rules and runs.
    """
    rows = [row for study in sorted(studies, key=_place) for row in _answers(study)]
    n_claims = sum(len(study["findings"]) for study in studies)
    minutes = sum(study["seconds"] for study in studies) / 60
    counts = (
        f"{len(studies)} studies, {n_claims} claims; training and recording their cells took {minutes:.0f} minutes."
    )
    lines = "\n".join(table(("question", "answer", "verdict"), rows))
    return "\n\n".join(part for part in (INTRODUCTION, counts, CHANGED * changed, lines, ENDING) if part) + "\n"


def _place(study: Record) -> tuple[int, str]:
    name = study["study"]
    return (ORDER.index(name) if name in ORDER else len(ORDER), name)


def _answers(study: Record) -> Iterator[tuple[str, str, str]]:
    page = f"findings/{study['study']}.md"
    yield f"**{_link(study['question'], page)}**", "", ""
    for row in study["findings"]:
        claim = _link(row["claim"]["id"], f"{page}#{_anchor(_heading(row))}")
        yield harmless(_question(row)), harmless(_answer(row)), f"**{row['verdict']}** {claim}"


def study_page(study: Record) -> str:
    """Markdown of one study; its pictures are expected in the folder of its name beside the page."""
    spent = f"{study['cells']} cells, {study['seconds'] / 60:.1f} minutes one after the other"
    head = (f"# {harmless(study['question'])}", f"Repeat it: {code(study['command'])} ({spent}).\n{BACK}")
    return "\n\n".join([*head, *(part for row in study["findings"] for part in _finding(study["study"], row))]) + "\n"


def _of_replicas(n: int | None) -> str:
    return f" {n} replica{'s' * (n != 1)}." if n else ""


def _finding(study: str, row: Row) -> Iterator[str]:
    """Question, answer, claim, figure, sentence, numbers, rule and source."""
    claim = Claim(**row["claim"])
    shown, replicas = _effect_of(row), _of_replicas(row["replicas"])
    yield harmless(f"## {_heading(row)}")
    yield harmless(f"**{row['verdict'].capitalize()}.** {_answer(row)}")
    yield harmless(f"The claim: {claim.says}")
    if row["picture"]:
        title = f"{row['verdict'].capitalize()}, {claim.id}"
        yield f"![{harmless(title)}]({study}/{row['picture'].replace(' ', '%20')})"
    yield harmless(row["sentence"] + (f" Effect: {shown}." if shown else "") + replicas)
    for columns, *rows in row.get("tables", []):
        yield harmless("\n".join(table(columns, rows)))
    texts = (
        f"Measured: {claim.measure}", f"Supported if {claim.supported}", f"Refuted if {claim.refuted}",
        f"Source: {claim.source}.",
    )  # fmt: skip
    yield "\n".join(f"- {harmless(text)}" for text in texts)


def _heading(row: Row) -> str:
    return f"{row['claim']['id']}: {_question(row)}"


def _anchor(heading: str) -> str:
    """The address of a heading within its page, as GitHub and MyST make it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _link(text: str, address: str) -> str:
    """A link, whose text cannot be an image or another link."""
    return f"[{harmless(text).replace('[', '&#91;').replace(']', '&#93;')}]({address})"


def _question(row: Row) -> str:
    claim = Claim(**row["claim"])
    return claim.plain.get("question", claim.says)


def _answer(row: Row) -> str:
    """In plain words; a general one for a sweep of a version that stored none."""
    return str(row.get("plain") or GENERAL[row["verdict"]])


def _effect_of(row: Row) -> str:
    return effect(Interval(*map(float, row["effect"])) if row["effect"] else None, row["unit"])
