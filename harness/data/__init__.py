"""Where examples come from: scikit-learn's datasets, the user's files and arrays, and their three scaled parts.

The home of scikit-learn. May import the rooms before it: `network`, `compiled`, `config`.
"""

from harness.data.checks import Dataset, check_parts
from harness.data.datasets import in_memory, load, load_stored
from harness.data.splits import Examples, Splits, loss_for, n_outputs_of, n_train_of, split
