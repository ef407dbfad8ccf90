"""`harness.train`: one cell, in this process, into no store."""

import warnings
from collections.abc import Generator
from contextlib import closing
from typing import Any, cast

from harness.api.cells import planned
from harness.api.keywords import Data, keywords, with_keywords
from harness.api.results import Result, result_of
from harness.data import Dataset
from harness.runs import GridCell, SweepProgress
from harness.training import Cell, Record


@with_keywords(keywords)
def train(dataset: Data = "digits", **settings: Any) -> Result:
    """Train one cell: `seeds` replicas of a network at one batch size, learning rate and reduction.

    The result is the one of `python -m harness` with the same keys, bit for bit. Nothing is written to disk.

    Data
    dataset: the name of one (iris, digits, diabetes, ... as on the command line), (X, y), a DataFrame, or a Bunch of
        scikit-learn. X has shape (n, D), y (n,) or (n, K).
    target_column: of a DataFrame, the column(s) to predict; the last one unless given.
    task: classification or regression. Found from y when not given: text, truth values and integers of at most 20
        different values are classes; floats with fractions or of more values are quantities.
    validation_fraction, test_fraction: parts of the examples that are held out. resample: a new split per replica.

    Model
    model: mlp (one hidden layer of 32) or linear (none). hidden: widths of the hidden layers. activation: sigmoid,
        tanh, relu, identity. initializer: glorot_uniform, glorot_normal, he_uniform, he_normal, zeros.

    Updates
    batch_size: examples per update, or "full". learning_rate: multiplies the reduced gradient. reduction: mean or sum
        over the examples of a batch.
    learning_rate_rule: constant, linear or sqrt in batch_size / reference_batch_size.
    optimizer: sgd, momentum, nesterov, adam or rmsprop, with weight_decay, clip_norm, momentum, beta1, beta2, epsilon;
        None is the value that conf/optimizer has for it.
    order: reshuffle, once, none, sorted, source, replacement. last_batch: keep or drop a short one.

    Budget: training ends with the first of epochs, updates and train_seconds that is spent; None is no limit.
    target: mean cost per example, on target_on (train or validation), at which a replica ends.

    Replicas and arithmetic
    seeds: number of replicas R. seed: the root of all randomness. dtype: float64 or float32. engine: vectorized,
        per_example or compiled. threads: of BLAS. diagnostics: off, cheap or full.

    A key of conf/ without a keyword is given by its full name: train(**{"dataset.load.n_samples": 500}).
    Raises ConfigError, a ValueError of one line, before anything is trained.

    >>> import harness
    >>> result = harness.train("iris", batch_size=16, learning_rate=0.5, epochs=20)
    >>> result.outcome, result.weights["W0"].shape
    ('completed', (10, 4, 32))
    >>> history = result.history()
    >>> bool(history["train_cost"].iloc[-1] < history["train_cost"].iloc[0])
    True
    """
    (cell,), load = planned([{}], dataset, settings)
    with SweepProgress(1) as progress:
        return trained(cell, load(cell.config.dataset), progress)


def trained(cell: GridCell, dataset: Dataset, progress: SweepProgress) -> Result:
    """Train a cell in this process."""
    config, run = cell.config, Cell(cell.config, dataset)
    n_train = run.plan.n_train
    if config.batch_size != "full" and int(config.batch_size) > n_train:
        warnings.warn(f"batch_size={config.batch_size} is larger than N={n_train}: clipped to N", stacklevel=3)
    training = cast("Generator[Record, None, None]", run.train())
    with closing(training) as records:  # after an interrupt BLAS has its threads again at once
        for record in records:
            progress.show(cell.label, run.plan, run.budget, record)
    progress.next_cell()
    return result_of(run.result(), config, cell.signature, cell.label)
