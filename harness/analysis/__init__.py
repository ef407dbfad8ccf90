"""A sweep as tables, what it answers, and a study's evidence: tables in, tables out.

May import `training` for the tables of a cell and `inference` for what may be said of them; loads and draws nothing.
"""

from harness.analysis.answers import (
    CLOCKS,
    MARGIN,
    SEED,
    Answer,
    Pair,
    Winner,
    answer,
    costs_at,
    targets_table,
    updates_to_target,
)
from harness.analysis.study import (
    BATCH_SIZE,
    Claim,
    Evidence,
    Finding,
    Panel,
    Series,
    Study,
    at_the_edge,
    judge_of,
    judged,
    limits,
    quartiles,
    study_from,
)
from harness.analysis.sweep_tables import SweepData, settings, spread

__all__ = [
    "BATCH_SIZE",
    "CLOCKS",
    "MARGIN",
    "SEED",
    "Answer",
    "Claim",
    "Evidence",
    "Finding",
    "Pair",
    "Panel",
    "Series",
    "Study",
    "SweepData",
    "Winner",
    "answer",
    "at_the_edge",
    "costs_at",
    "judge_of",
    "judged",
    "limits",
    "quartiles",
    "settings",
    "spread",
    "study_from",
    "targets_table",
    "updates_to_target",
]
