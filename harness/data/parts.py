"""How many examples each of the three parts gets, and how many are needed for that."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.config import ConfigError

if TYPE_CHECKING:
    from harness.data.checks import Dataset

ROUNDING = 1e-9  # an excess that is not rounded up: 10 × (0.1 + 0.2) is 3
LARGER = "dataset.validation_fraction=0.3 dataset.test_fraction=0.3"
SMALLEST_CLASS = 4  # examples: a smaller class fits into three parts by no round fraction


def part_sizes(n: int, validation_fraction: float, test_fraction: float) -> tuple[int, int, int]:
    """Training, validation and test sizes: what is held out is rounded up, and then the test part of it."""
    held_out = math.ceil(n * (validation_fraction + test_fraction) - ROUNDING)
    n_test = math.ceil(held_out * test_fraction / (validation_fraction + test_fraction) - ROUNDING)
    return n - held_out, held_out - n_test, n_test


def least_of_class(validation_fraction: float, test_fraction: float) -> int:
    """The fewest examples of a class of which stratification gives each part about one."""
    smallest = min(1 - validation_fraction - test_fraction, validation_fraction, test_fraction)
    return math.ceil(1 / smallest - ROUNDING)


def check_parts(dataset: "Dataset", validation_fraction: float, test_fraction: float) -> None:
    """Refuse too few examples: a class needs about one in each part, as stratification does; R² needs two in each."""
    if dataset.class_names:
        least = least_of_class(validation_fraction, test_fraction)
        counts = np.bincount(dataset.y, minlength=len(dataset.class_names))
        if counts[rarest := int(counts.argmin())] < least:
            allowed = f"at least {least} examples of every class, for one in each of train, validation and test"
            ways = "; ".join(_ways(counts, least, dataset.class_names, (validation_fraction, test_fraction)))
            found = f"{counts[rarest]} of class {dataset.class_names[rarest]!r}, {len(dataset.y)} examples in all"
            raise ConfigError("dataset", f"{allowed} ({ways})", found)
    elif min(sizes := part_sizes(len(dataset.y), validation_fraction, test_fraction)) < 2:
        enough = min(part_sizes(len(dataset.y), 0.3, 0.3)) >= 2
        way_out = f" ({LARGER} gives them)" if enough else ""
        allowed = f"at least 2 examples in each of train / validation / test{way_out}"
        found = f"{sum(sizes)} examples: {sizes[0]} / {sizes[1]} / {sizes[2]}"
        raise ConfigError("dataset", allowed, found)


def _ways(
    counts: NDArray[np.int64], least: int, class_names: tuple[str, ...], fractions: tuple[float, float]
) -> Iterator[str]:
    """What makes classes of so few examples possible: each of these keys, by itself, is enough."""
    n_kept, fewest = int(np.sum(counts >= least)), int(counts.min())
    if n_kept >= 2:
        yield "dataset.rare_classes=drop leaves out the rows of rare classes"
    if _may_merge(counts, least):
        yield "dataset.rare_classes=merge makes one class of them"
    if fewest >= SMALLEST_CLASS:
        fraction = math.ceil(100 / fewest) / 100
        yield f"dataset.validation_fraction={fraction:g} dataset.test_fraction={fraction:g} hold out enough of each"
    if all(name.lstrip("-").isdigit() for name in class_names):
        n = int(counts.sum())
        if min(part_sizes(n, *fractions)) >= 2:
            yield "dataset.task=regression predicts the number"
        elif min(part_sizes(n, 0.3, 0.3)) >= 2:
            yield f"dataset.task=regression {LARGER} predicts the number"
    if len(class_names) * least > counts.sum():
        yield f"{len(class_names)} classes are many for {counts.sum()} examples: is it the right target?"


def _may_merge(counts: NDArray[np.int64], least: int) -> bool:
    rare = counts < least
    return not rare.all() and bool(counts[rare].sum() >= least)


def way_with_rare(counts: NDArray[np.int64], least: int) -> str | None:
    """The key with which classes of so many examples can be split, behind a blank; None if there is none."""
    if counts.min() >= least:
        return ""
    if (counts >= least).sum() >= 2:
        return " dataset.rare_classes=drop"
    return " dataset.rare_classes=merge" if _may_merge(counts, least) else None
