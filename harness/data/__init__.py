"""Where examples come from: scikit-learn's datasets, the user's files, and their three scaled parts.

The home of scikit-learn. May import the rooms before it: `network`, `compiled`, `config`.
"""

from harness.data.datasets import Dataset, load
from harness.data.splits import Examples, Splits, loss_for, split

__all__ = [
    "Dataset",
    "Examples",
    "Splits",
    "load",
    "loss_for",
    "split",
]
