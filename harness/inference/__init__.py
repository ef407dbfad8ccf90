"""From numbers to statements: intervals, p-values, comparisons, fits over batch sizes, verdicts on claims.

Pure functions of arrays; randomness is an argument. May import `network`, `compiled`, `config`, `data` and `training`,
and needs none of them.
"""

from harness.inference.comparison import Comparison, compare_family
from harness.inference.crossings import Slowdown, bounded_interval, crossing, ratio_of_bounds
from harness.inference.fits import RESAMPLES, BatchScaling, Status, fit_batch_scaling, grid_excess, resampled_medians
from harness.inference.intervals import (
    CENTRAL,
    CONFIDENCE,
    ROUNDING,
    SIGNIFICANCE,
    UNKNOWN,
    Array,
    Interval,
    as_ratio,
    censored,
    geometric_mean_ratio,
    mean_interval,
    median_interval,
    median_intervals,
    paired_ratio,
    percentile_interval,
    proportion,
)
from harness.inference.learning_rates import (
    SCALING_POWERS,
    BestRate,
    Exponent,
    Split,
    best_learning_rate,
    edge_of,
    scaling_exponent,
    split_replicas,
)
from harness.inference.looks import plan_looks
from harness.inference.sign_flips import fewest_pairs
from harness.inference.verdicts import (
    Verdict,
    all_hold,
    equal,
    exactly,
    inside,
    lower,
    opposite,
    pairs_to_tell,
    together,
)
