"""The sets of examples of a cell's replicas, and where the random numbers of a replica come from."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.random import SeedSequence

from harness.config import Config
from harness.data import Dataset, Examples, Splits, split_each
from harness.network import Array, Set

Drawn = tuple[list[Splits], dict[str, Set]]
PARTS = ("train", "validation", "test")
HELD_OUT = PARTS[1:]
# Orders in which the examples of the training part are laid out once, by the field of Splits that sorts them.
PRESORTED = {"sorted": "sort_key", "source": "rows"}


class Streams(NamedTuple):
    """The sources of randomness of one replica: three that decide its training, one for its diagnostics."""

    split: SeedSequence
    weights: SeedSequence
    order: SeedSequence
    diagnostics: SeedSequence


def streams(seed: int, replica: int) -> Streams:
    """Independent streams for one replica; the same for every cell that shares the root seed."""
    return Streams(*SeedSequence(seed, spawn_key=(replica,)).spawn(len(Streams._fields)))


def draw_sets(config: Config, dataset: Dataset) -> Drawn:
    """The splits, and each part of all: (n, D) of one split; (R, n, D) of several, which are views of these arrays."""
    replicas = config.replicas if config.dataset.resample else range(1)
    n_splits = len(replicas)
    drawn = _splits(config, dataset, replicas)
    if n_splits == 1:
        one = next(drawn)
        return [one], {name: (getattr(one, name).X, getattr(one, name).Y) for name in PARTS}
    sets: dict[str, Set] = {}
    kept = []
    for i, one in enumerate(drawn):
        for name in PARTS:
            examples = getattr(one, name)
            X, Y = sets[name] = sets.get(name) or (_room(examples.X, n_splits), _room(examples.Y, n_splits))
            X[i], Y[i] = examples.X, examples.Y
        train, validation, test = (Examples(X[i], Y[i]) for X, Y in sets.values())
        kept.append(replace(one, train=train, validation=validation, test=test))
        del one, examples  # before the next is drawn
    return kept, sets


def keeping_last(most_bytes: int) -> Callable[[Config, Dataset], Drawn]:
    """`draw_sets` that keeps the last sets, unless they are larger: the cells of a sweep mostly share them."""
    kept: dict[tuple[object, ...], Drawn] = {}

    def draw(config: Config, dataset: Dataset) -> Drawn:
        replicas = tuple(config.replicas) if config.dataset.resample else ()
        order = config.order if config.order in PRESORTED else ""
        fractions = config.dataset.validation_fraction, config.dataset.test_fraction
        key = dataset.digest, *fractions, config.seed, replicas, config.dtype, order
        if key in kept:
            return kept[key]
        kept.clear()  # before the next are drawn
        drawn = draw_sets(config, dataset)
        if sum(X.nbytes + Y.nbytes for X, Y in drawn[1].values()) <= most_bytes:
            kept[key] = drawn
        return drawn

    return draw


def _splits(config: Config, dataset: Dataset, replicas: Sequence[int]) -> Iterator[Splits]:
    """The parts of each replica; training examples are laid out in the order of the cell, if that is PRESORTED."""
    fractions = config.dataset.validation_fraction, config.dataset.test_fraction
    seeds = [streams(config.seed, replica).split for replica in replicas]
    drawn = split_each(dataset, *fractions, seeds, np.dtype(config.dtype))
    return map(partial(_in_order, config.order), drawn) if config.order in PRESORTED else drawn


def _in_order(order: str, drawn: Splits) -> Splits:
    places = np.argsort(getattr(drawn, PRESORTED[order]), kind="stable")
    train = Examples(drawn.train.X[places], drawn.train.Y[places])
    return replace(drawn, train=train, sort_key=drawn.sort_key[places], rows=drawn.rows[places])


def _room(V: Array, n_splits: int) -> Array:
    return np.empty((n_splits, *V.shape), V.dtype)


def set_of(replicas: Sequence[int], examples: Set) -> Set:
    """The set of a stack of consecutive replicas: the shared one, or their slice of (R, n, D)."""
    X, Y = examples
    own = slice(replicas[0], replicas[-1] + 1)
    return (X[own], Y[own]) if X.ndim == 3 else examples
