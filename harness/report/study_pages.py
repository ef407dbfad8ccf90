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

# Studies of the harness in the order in which a beginner asks, each with the claim that answers its question best;
# others follow by name, with their first claim.
MAIN = {
    "sum_vs_mean": "C2", "accumulation": "K1", "accumulation_cost": "K8", "three_methods": "C14",
    "typical_sizes": "C16", "powers_of_two": "C17", "large_n": "C10", "vectorisation": "C9", "order": "C18",
    "noise": "C11", "online_vs_batch": "L9", "learning_rate_scaling": "L1", "rules_of_thumb": "G1", "schedules": "H1",
    "stability": "C15", "edge_of_stability": "S2", "critical_batch_size": "L3", "noise_scale": "L4",
    "critical_batch_growth": "B1", "critical_batch_data": "B4", "batch_warm_up": "B3", "generalisation": "L5",
    "optimisers": "L7", "adam_batch": "A3", "textbook": "D5", "training_curves": "T5", "errata": "E7", "formulas": "C3",
}  # fmt: skip
FEW = 20  # claims, which are read without a choice of them

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
    counts = f"{len(studies)} studies, {n_claims} claims; their cells took {minutes:.0f} minutes, one after the other."
    lines = "\n".join(table(("question", "answer", "verdict"), rows))
    parts = [INTRODUCTION, counts, CHANGED * changed, *_in_five_minutes(studies, n_claims), lines, ENDING]
    return "\n\n".join(filter(None, parts)) + "\n"


def _in_five_minutes(studies: Sequence[Record], n_claims: int) -> Iterator[str]:
    """One question of each study, and the heading of all of them; nothing where these are few."""
    if n_claims > FEW:
        rows = [(study["study"], _main_of(study)) for study in sorted(studies, key=_place)]
        lines = [
            f"- {_link(_question(row), _address(name, row))} {harmless(_answer(row))} (**{row['verdict']}**)"
            for name, row in rows
        ]
        yield "\n\n".join(["## In five minutes", "One question of each study:", "\n".join(lines), "## All questions"])


def _main_of(study: Record) -> Row:
    first, *others = study["findings"]
    chosen: Row = next((row for row in others if row["claim"]["id"] == MAIN.get(study["study"])), first)
    return chosen


def _place(study: Record) -> tuple[int, str]:
    name = study["study"]
    order = list(MAIN)
    return (order.index(name) if name in MAIN else len(order), name)


def _answers(study: Record) -> Iterator[tuple[str, str, str]]:
    name = study["study"]
    yield f"**{_link(study['question'], f'findings/{name}.md')}**", "", ""
    for row in study["findings"]:
        claim = _link(row["claim"]["id"], _address(name, row))
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


def _address(study: str, row: Row) -> str:
    """Of a finding, from the page of all."""
    return f"findings/{study}.md#{_anchor(_heading(row))}"


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
