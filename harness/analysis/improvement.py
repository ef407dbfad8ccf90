"""Across datasets: how probable it is that one value of a key gives a lower cost than another."""

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from harness.analysis.arms import COMPARED, Arm, arm, tuning
from harness.analysis.comparisons import costs_when_spent
from harness.analysis.courses import Courses
from harness.analysis.headlines import Headline
from harness.inference import CENTRAL, Array, Interval

RESAMPLES = 2000
MOST_VALUES = 6


class Improvement(NamedTuple):
    """P(first lower) over n datasets, at equal epochs, each at its best cell. Its limits are of other seeds only."""

    along: str
    first: object
    second: object
    probability: Interval
    n: int


def improvements(headlines: Sequence[Headline], courses: Courses, rng: np.random.Generator) -> list[Improvement]:
    """For each pair of the values that arms of several tasks have in common (Agarwal et al. 2021, § 4.3).

    Not of a pair that was not tuned alike in each task: the lowest of many cells is lower by chance than the lowest of
    few. Replicas of a dataset are paired by their seeds. A tie counts as half.
    """
    tasks = [each for each in headlines if each.of in set(each.cells["task"]) and each.along]
    along = {each.along for each in tasks}
    if len(tasks) < 2 or len(along) > 1:
        return []
    (key,) = along
    arms = [_arms(each, courses, key) for each in tasks]
    common = [value for value in arms[0] if all(value in own for own in arms)][:MOST_VALUES]
    return [
        Improvement(key, a, b, _probability([(own[a].costs, own[b].costs) for own in arms], rng), len(tasks))
        for a, b in combinations(common, 2)
        if all(tuning(own[a], own[b], key) in COMPARED for own in arms)
    ]


def _arms(headline: Headline, courses: Courses, key: str) -> dict[object, Arm]:
    _, costs = costs_when_spent(headline.cells, courses, "epoch")
    column = "variant" if key == "setting" else key
    groups = headline.cells.groupby(column, sort=True) if costs else ()
    return {value: arm(own, costs, headline.cells) for value, own in groups}


def _probability(pairs: Sequence[tuple[Array, Array]], rng: np.random.Generator) -> Interval:
    """The mean over datasets of the part of replicas in which the first is lower; replicas are resampled for limits."""
    wins = [np.where(a == b, 0.5, a < b) for a, b in ((a[: len(b)], b[: len(a)]) for a, b in pairs)]
    drawn = np.mean([own[rng.integers(len(own), size=(RESAMPLES, len(own)))].mean(axis=1) for own in wins], axis=0)
    low, high = np.quantile(drawn, CENTRAL)
    return Interval(float(np.mean([own.mean() for own in wins])), float(low), float(high))
