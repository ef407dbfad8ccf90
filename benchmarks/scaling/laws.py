"""Laws of time, fitted and held against cells that they have not seen."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from benchmarks.scaling.memory import widest_stack
from benchmarks.scaling.points import N_INPUTS, Point
from benchmarks.scaling.times import Timing


class Law(NamedTuple):
    """value = Σ coefficient × term, with what it misses: median and largest relative error over its points."""

    coefficients: dict[str, float]
    typical: float
    worst: float

    def __call__(self, terms: Mapping[str, float]) -> float:
        return sum(coefficient * terms[name] for name, coefficient in self.coefficients.items())


def fit(terms: Mapping[str, Sequence[float]], values: Sequence[float]) -> Law:
    """Least squares of the relative errors, no coefficient negative: a term of cost cannot save anything."""
    from scipy.optimize import nnls

    goal = np.asarray(values, dtype=float)
    matrix = np.column_stack([np.asarray(term, dtype=float) for term in terms.values()]) / goal[:, None]
    scale = np.where(matrix.any(axis=0), np.abs(matrix).max(axis=0), 1.0)
    coefficients = nnls(matrix / scale, np.ones(len(goal)))[0] / scale
    errors = np.abs(matrix @ coefficients - 1)
    named = dict(zip(terms, map(float, coefficients), strict=True))
    return Law(named, float(np.median(errors)), float(errors.max()))


def linear(x: Sequence[float], values: Sequence[float]) -> Law:
    """a + b·x."""
    return fit({"1": [1.0] * len(x), "x": x}, values)


def update_terms(point: Point) -> dict[str, float]:
    """Of one update: interpreter per layer, products of matrices, elementwise work, and the optimiser."""
    B, P = point.batch_size, point.n_params
    return {"1": 1.0, "L": len(point.sizes) - 1, "B·P": B * P, "B·U": B * (point.n_units + N_INPUTS), "P": P}


def checkpoint_terms(point: Point) -> dict[str, float]:
    """Of one checkpoint of one replica: cost and score of training and validation set."""
    N = 0.9 * point.n_examples
    return {"1": 1.0, "N·P": N * point.n_params, "N·U": N * (point.n_units + N_INPUTS), "P": point.n_params}


FLOPS = ("1", "B·P", "P")


class Laws(NamedTuple):
    """Times in seconds: of an update, of a checkpoint of a replica, of preparing an example, of a replica more."""

    flops: Law
    update: Law
    checkpoint: Law
    batch: Law
    replicas: Law


Times = dict[Point, list[Timing]]


def fit_laws(times: Times) -> Laws:
    """The laws of time, from all points with one replica; that of replicas from its own axis."""
    alone = [point for point in times if point.replicas == 1]
    update = [median(times[point], "update") for point in alone]
    terms = _columns([update_terms(point) for point in alone])
    looks = _columns([checkpoint_terms(point) for point in alone])
    sizes, stacks = ([p for p in times if p.axis == axis] for axis in ("batch size", "replicas"))
    return Laws(
        flops=fit({name: terms[name] for name in FLOPS}, update),
        update=fit(terms, update),
        checkpoint=fit(looks, [median(times[point], "checkpoint") for point in alone]),
        batch=linear([p.batch_size for p in sizes], [median(times[p], "update") for p in sizes]),
        replicas=linear([p.replicas for p in stacks], [median(times[p], "wall") for p in stacks]),
    )


def _columns(rows: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


def median(timings: Sequence[Timing], name: str) -> float:
    return float(np.median([getattr(timing, name) for timing in timings]))


def n_checkpoints(n_updates: int, updates_per_epoch: int) -> int:
    """Update 0, ten per decade of updates, and every end of an epoch."""
    geometric = {round(10 ** (k / 10)) for k in range(10 * len(str(n_updates)))}
    looks = geometric | set(range(updates_per_epoch, n_updates, updates_per_epoch)) | {n_updates}
    return 1 + sum(update <= n_updates for update in looks)


def predict(point: Point, laws: Laws, epochs: int) -> float:
    """Wall seconds of a cell's training: updates and checkpoints of replica 0, then of the stacks of the others.

    What an update takes whatever the batch, a stack takes once; the rest every replica.
    """
    per_epoch = math.ceil(point.n_train / point.batch_size)
    n_updates = epochs * per_epoch
    n_looks = n_checkpoints(n_updates, per_epoch)
    others = point.replicas - 1
    stacks = math.ceil(others / widest_stack(replace(point, n_examples=min(point.n_examples, 20_000))))
    return sum(
        n * ((1 + others) * law(terms) - (others - stacks) * law({**dict.fromkeys(terms, 0.0), **_shared(terms)}))
        for n, law, terms in (
            (n_updates, laws.update, update_terms(point)),
            (n_looks, laws.checkpoint, checkpoint_terms(point)),
        )
    )


def _shared(terms: Mapping[str, float]) -> dict[str, float]:
    """The terms that do not grow with the work: calls from the interpreter."""
    return {name: terms[name] for name in ("1", "L") if name in terms}
