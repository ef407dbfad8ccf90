"""From numbers to statements: tests, intervals, fits, verdicts.

Pure functions of arrays; randomness is an argument. May import the rooms before it, and needs none of them.
"""

from harness.inference.scaling import (
    RESAMPLES,
    BatchScaling,
    Exponent,
    Split,
    Status,
    best_learning_rate,
    fit_batch_scaling,
    resampled_medians,
    scaling_exponent,
    split_replicas,
)
from harness.inference.statistics import (
    CONFIDENCE,
    SIGNIFICANCE,
    Comparison,
    Interval,
    censored,
    compare,
    geometric_mean_ratio,
    holm,
    mean_interval,
    median_interval,
    percentile_interval,
    proportion,
)
from harness.inference.verdicts import Verdict, all_hold, equal, exactly, inside, lower, opposite, together

__all__ = [
    "CONFIDENCE",
    "RESAMPLES",
    "SIGNIFICANCE",
    "BatchScaling",
    "Comparison",
    "Exponent",
    "Interval",
    "Split",
    "Status",
    "Verdict",
    "all_hold",
    "best_learning_rate",
    "censored",
    "compare",
    "equal",
    "exactly",
    "fit_batch_scaling",
    "geometric_mean_ratio",
    "holm",
    "inside",
    "lower",
    "mean_interval",
    "median_interval",
    "opposite",
    "percentile_interval",
    "proportion",
    "resampled_medians",
    "scaling_exponent",
    "split_replicas",
    "together",
]
