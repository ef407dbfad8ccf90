"""The three parts of a dataset as a network takes them, standardised with the mean and spread of the training part."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from harness.config import DatasetConfig
from harness.data.bundled import Parts, kept_parts
from harness.data.checks import Dataset
from harness.data.inputs import prepared_width
from harness.data.parts import check_parts, part_sizes
from harness.data.preparation import Scaler, fitted

LOSSES = {0: "half_squared_error", 2: "sigmoid_cross_entropy"}  # by number of classes; softmax for any other


@dataclass(frozen=True, eq=False)
class Examples:
    """Inputs X (n, D) and targets Y (n, K) as a network takes them: the run's dtype, C-contiguous."""

    X: NDArray[Any]
    Y: NDArray[Any]


@dataclass(frozen=True, eq=False)
class Splits:
    """Three disjoint parts that together are the dataset.

    sort_key (n_train,): class index, or first target in its own unit, of each training example in training order.
    rows (n_train,): its row number in the dataset. Training order is random, whatever the order of the source.
    transformer: what made X of all parts, fitted on the training part; see `preparation`. target_scaler: of a
    regression, what made Y.
    """

    train: Examples
    validation: Examples
    test: Examples
    sort_key: NDArray[Any]
    rows: NDArray[np.intp]
    transformer: Any = None
    target_scaler: Any = None


def split_each(
    dataset: Dataset,
    validation_fraction: float,
    test_fraction: float,
    seeds: Sequence[np.random.SeedSequence],
    dtype: DTypeLike,
) -> Iterator[Splits]:
    """Training, validation and test examples in the run's dtype, decided by each seed alone.

    Classes keep their proportions. X of all parts is standardised: (X - mean) / std of each column of the training
    part, after gaps were filled and categories encoded (`preparation.fitted`). Y is {0, 1} (n, 1) for two classes,
    one-hot (n, K) for more. Regression targets are standardised like X, so that a cost is in units of their variance.
    Raises ConfigError for a class, or of a regression a part, too small.
    """
    check_parts(dataset, validation_fraction, test_fraction)
    sizes = part_sizes(len(dataset.y), validation_fraction, test_fraction)
    states = [int(seed.generate_state(1)[0]) for seed in seeds]
    for parts in kept_parts(dataset, (validation_fraction, test_fraction), states, partial(_parts, dataset, sizes)):
        yield _with_values(dataset, parts, dtype)


def _parts(dataset: Dataset, sizes: tuple[int, int, int], state: int) -> Parts:
    rows = _partition(dataset, sizes, state)
    transformer = fitted(dataset.columns, dataset.X[rows[0]])
    return Parts(rows, transformer, None if dataset.class_names else Scaler.fitted(_targets(dataset)[rows[0]]))


def _targets(dataset: Dataset) -> NDArray[Any]:
    """(n, 1) or (n, K)."""
    return dataset.y.reshape(len(dataset.y), -1)


def _with_values(dataset: Dataset, parts: Parts, dtype: DTypeLike) -> Splits:
    targets, scaler, K = _targets(dataset), parts.target_scaler, len(dataset.class_names)
    X = [parts.transformer.transform(dataset.X[rows]) for rows in parts.rows]
    if scaler is not None:
        Y = [scaler.transform(targets[rows]) for rows in parts.rows]
    else:
        Y = [targets[rows] if K == 2 else np.eye(K)[dataset.y[rows]] for rows in parts.rows]
    X, Y = ([np.ascontiguousarray(part, dtype=dtype) for part in arrays] for arrays in (X, Y))
    train, validation, test = map(Examples, X, Y)
    return Splits(train, validation, test, targets[parts.rows[0], 0], parts.rows[0], parts.transformer, scaler)


def loss_for(dataset: Dataset) -> str:
    """The name of the loss whose output delta is A - Y: by the number of classes, or squared error for regression."""
    return LOSSES.get(len(dataset.class_names), "softmax_cross_entropy")


def n_train_of(dataset: Dataset, config: DatasetConfig) -> int:
    """N, the number of training examples of every split."""
    return part_sizes(len(dataset.y), config.validation_fraction, config.test_fraction)[0]


def n_inputs_of(dataset: Dataset) -> int:
    """D', the width of X after preparation; the same for every split."""
    return prepared_width(dataset.columns) if dataset.columns else dataset.X.shape[1]


def n_outputs_of(dataset: Dataset) -> int:
    """K, the width of Y: 1 for two classes."""
    n_classes = len(dataset.class_names)
    return 1 if n_classes == 2 else n_classes or dataset.y[:1].size


def _partition(dataset: Dataset, sizes: tuple[int, int, int], state: int) -> list[NDArray[np.intp]]:
    """Row numbers of the training, validation and test examples, in their order of use."""
    from sklearn.model_selection import train_test_split

    def cut(rows: NDArray[np.intp], size: int) -> list[NDArray[np.intp]]:
        strata = dataset.y[rows] if dataset.class_names else None
        return train_test_split(rows, test_size=size, random_state=state, stratify=strata)

    train, held_out = cut(np.arange(len(dataset.y)), sizes[1] + sizes[2])
    return [train, *cut(held_out, sizes[2])]
