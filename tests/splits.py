"""One split, for tests that need no more."""

from typing import Any

from harness.data import Dataset, Splits, split_each


def split(dataset: Dataset, validation_fraction: float, test_fraction: float, seed: Any, dtype: Any) -> Splits:
    return next(split_each(dataset, validation_fraction, test_fraction, [seed], dtype))
