"""The findings of a study in words: for the note on its sweep, for a file beside it, for the page of all studies."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from harness.analysis import Claim, Finding, Study
from harness.inference import Interval
from harness.report.markdown import interval, table

INTRODUCTION = """# Findings

The claims of the two documents that started this project, and claims of the literature on the same questions, each
tested by runs. `experiments/` says what is measured, and what supports or refutes a claim, before a study runs; the
verdict is computed from its runs. Intervals are 95 %. Written by `python -m harness studies --all`; one study is
repeated by the command under its name, and `python -m harness studies` lists the verdicts of your own runs.

Grids, budgets and rules were chosen on pilot runs with root seed 0; the runs shown have other seeds, on which no rule
was chosen. A machine has no seeds: a result in seconds holds for this machine, within its intervals.
"""


def note(study: Study, findings: Sequence[Finding]) -> str:
    """The head of the sweep's note: the question, and a row for each claim."""
    rows = [(f.claim, f"**{f.verdict}**", f"{study.claims[f.claim].says} {f.sentence}", effect(f)) for f in findings]
    return f"**{study.question}**\n\n" + "\n".join(table(("claim", "verdict", "what was found", "effect"), rows))


def effect(finding: Finding) -> str:
    """The main number with its interval and unit; nothing for an exact claim without one."""
    return f"{interval(finding.effect)} {finding.unit}".strip() if finding.effect else ""


def picture_name(finding: Finding) -> str:
    return f"claim {finding.claim}"


def caption(study: Study, finding: Finding) -> tuple[str, str]:
    """Title and note of the figure that shows a finding."""
    return f"{finding.claim}: {study.claims[finding.claim].says}", f"{finding.verdict.capitalize()}. {finding.sentence}"


def records(study: Study, findings: Iterable[Finding]) -> dict[str, Any]:
    """Question, claims and findings as plain values, to be kept as a file."""
    rows = []
    for found in findings:
        limits = None
        if found.effect:
            values = (found.effect.estimate, found.effect.low, found.effect.high)
            limits = [float(value) if np.isfinite(value) else str(value) for value in values]
        rows.append(
            {
                "claim": asdict(study.claims[found.claim]),
                "verdict": str(found.verdict),
                "sentence": found.sentence,
                "effect": limits,
                "unit": found.unit,
                "replicas": found.replicas,
                "picture": f"{picture_name(found)}.png" if found.panels else None,
            }
        )
    return {"study": study.name, "question": study.question, "findings": rows}


def _effect_of(row: dict[str, Any]) -> str:
    if row["effect"] is None:
        return ""
    return f"{interval(Interval(*(float(value) for value in row['effect'])))} {row['unit']}".strip()


def page(studies: Sequence[dict[str, Any]]) -> str:
    """Markdown of all studies, each as `records` gives it with "command", "cells" and their "seconds" added.

    Pictures are expected below findings/STUDY/.
    """
    summary = [
        (f"[{row['claim']['id']}](#{study['study']})", row["claim"]["says"], f"**{row['verdict']}**", _effect_of(row))
        for study in studies
        for row in study["findings"]
    ]
    head = "\n".join(table(("claim", "says", "verdict", "effect"), summary))
    minutes = sum(study["seconds"] for study in studies) / 60
    spent = (
        f"{len(studies)} studies, {len(summary)} claims; training and recording their cells took {minutes:.0f} minutes."
    )
    return "\n\n".join([INTRODUCTION.strip(), spent, head, *(_section(study) for study in studies)]) + "\n"


def _section(study: dict[str, Any]) -> str:
    spent = f"{study['cells']} cells, {study['seconds'] / 60:.1f} minutes one after the other"
    head = f'<a id="{study["study"]}"></a>\n\n## {study["question"]}\n\n`{study["command"]}` ({spent})'
    return "\n\n".join([head, *(_claim(study["study"], row) for row in study["findings"])])


def _claim(study: str, row: dict[str, Any]) -> str:
    claim = Claim(**row["claim"])
    replicas = f" {row['replicas']} replicas." if row["replicas"] else ""
    shown = _effect_of(row)
    lines = [
        f"### {claim.id}: {claim.says}",
        f"**{row['verdict']}.** {row['sentence']}" + (f" Effect: {shown}." if shown else "") + replicas,
        f"Source: {claim.source}. Measured: {claim.measure} Supported if {claim.supported} Refuted if {claim.refuted}",
    ]
    if row["picture"]:
        lines.append(f"![{claim.id}](findings/{study}/{row['picture'].replace(' ', '%20')})")
    return "\n\n".join(lines)
