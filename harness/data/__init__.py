"""Where examples come from: scikit-learn's datasets, the user's files and arrays, and their three scaled parts.

The home of scikit-learn. May import the rooms before it: `network`, `compiled`, `config`.
"""

from harness.data.checks import Dataset
from harness.data.columns import Doubt
from harness.data.datasets import in_memory, load, load_stored
from harness.data.inputs import TableOptions
from harness.data.loaders import DATASETS, EXTENSION
from harness.data.parts import check_parts
from harness.data.preparation import column_table
from harness.data.recipe import Recipe, recipe
from harness.data.splits import Examples, Splits, loss_for, n_inputs_of, n_outputs_of, n_train_of, split_each
