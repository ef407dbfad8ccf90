"""A sweep as tables, what it answers, and a study's evidence: tables in, tables out.

May import the rooms before it: `training` for the tables of a cell, `inference` for tests and intervals. Draws nothing,
and loads nothing but the evidence of a study: its judge, and the files of its cells.
"""

from harness.analysis.answers import SEED, TUNED, Answer, answer
from harness.analysis.arms import Arm, Tuning
from harness.analysis.batch_sizes import TARGET_LABELS, fits_table, targets_table, updates_to_target
from harness.analysis.comparisons import CLOCK_COLUMNS, MARGIN, Question, Standing, costs_at, spent
from harness.analysis.evidence import Evidence, at_the_edge, limits, quartiles
from harness.analysis.headlines import Headline, Lead
from harness.analysis.improvement import Improvement
from harness.analysis.more_replicas import Need, arms_of, needs, seconds_for
from harness.analysis.parts import WALL, joined
from harness.analysis.planned import n_comparisons, too_few_seeds
from harness.analysis.ratios import Ratio, ratio_of
from harness.analysis.reductions import Pair, SumOrMean
from harness.analysis.study import (
    BATCH_SIZE,
    Claim,
    Finding,
    Panel,
    Series,
    Study,
    judge_of,
    judged,
    median_cost,
    study_from,
)
from harness.analysis.sweep_tables import DATA_NOTES, LOOKS, SweepCell, SweepData, sweep_data
from harness.analysis.timing import BLOCKS, interruption, usable
from harness.analysis.trained import MakeEngine, Trained, relative, train_again
from harness.analysis.variance import Shares
