"""What a user may ask for: the typed schema of a cell with its checks, and what cells are called.

Knows no Hydra: the command line fills these classes, a program may fill them by hand. May import `network`, for the
names of what there is.
"""

from harness.config.errors import ConfigError
from harness.config.folders import judge_file, shipped, study_file, study_names
from harness.config.kept import keep, kept_place, kept_text
from harness.config.labels import KNOBS, Values, exact_text, labels, sweep_label, texts, varied_keys, visible
from harness.config.names import LEARNING_RATE_RULES, digests, fault_of_extension
from harness.config.nearest import did_you_mean, nearest
from harness.config.schedules import batch_sizes, check_within, clipping
from harness.config.schema import (
    RULES,
    Config,
    DatasetConfig,
    ModelConfig,
    OptimizerConfig,
    Rule,
    check,
    check_together,
    config_from,
    effective_batch_size,
    effective_learning_rate,
    flatten,
    learning_rate_factor,
)  # fmt: skip
