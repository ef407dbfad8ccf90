"""`harness.train` and `harness.sweep`: cells trained in this process, into no store."""

import json
import shlex
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import cache, partial
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from harness.analysis import DATA_NOTES, LOOKS, SEED, WALL, SweepCell, SweepData, joined, sweep_data
from harness.api.keywords import Data, Grid, full_name, keywords, with_grid_and_keywords, with_keywords, words_of
from harness.api.results import Result, Sweep, result_of
from harness.app import configurations
from harness.config import Config, ConfigError, DatasetConfig, check, check_together, clipping, sweep_label
from harness.data import Dataset, Doubt, TableOptions, check_parts, in_memory
from harness.runs import GridCell, Rounds, SweepProgress, grid, load_dataset, weights
from harness.store import arithmetic
from harness.training import Cell, pass_seconds, tables, time_updates

if TYPE_CHECKING:
    import pandas as pd

Loader = Callable[[DatasetConfig], Dataset]


@with_keywords(keywords)
def train(dataset: Data = "digits", *more: object, **settings: Any) -> Result:
    """Train one cell: `seeds` replicas of a network at one batch size, learning rate and reduction.

    The result is the one of `python -m harness` with the same keys, bit for bit. Nothing is written to disk.

    Data
    dataset: the name of one (iris, digits, diabetes, ... as on the command line), (X, y), a DataFrame, or a Bunch of
        scikit-learn. X has shape (n, D), y (n,) or (n, K).
    target_column: of a DataFrame, the column(s) to predict; the last one unless given.
    task: classification or regression. Found from y when not given: text, truth values and integers of at most 20
        different values are classes; floats with fractions or of more values are quantities; others need it.
    validation_fraction, test_fraction: parts of the examples that are held out. resample: a new split per replica.
    prepare: auto (text becomes one-hot inputs, gaps are filled and marked, dates are days, and constant columns of a
        DataFrame are left out) or strict (all that is refused). max_categories: inputs of a text column.
    missing_targets: refuse, or drop rows without one. rare_classes: refuse, merge or drop those too small to split.

    Model
    model: mlp (one hidden layer of 32) or linear (none). hidden: widths of the hidden layers. activation: sigmoid,
        tanh, relu, identity. initializer: glorot_uniform, glorot_normal, he_uniform, he_normal, zeros.

    Updates
    batch_size: examples per update, or "full". reduction: mean or sum over them. learning_rate: multiplies the reduced
        gradient. learning_rate_rule: constant, linear or sqrt in batch_size / reference_batch_size, of that rate: so
        linear for a mean is constant for a sum.
    learning_rate_schedule: constant, step, cosine, linear or inverse: how the rate falls while training goes on.
        warm_up_epochs: during which it rises to its full value. batch_size_schedule: constant or step. A step, at each
        epoch of milestones, divides the rate, or multiplies the batch size, by milestone_factor.
    optimizer: sgd, momentum, nesterov, adam or rmsprop, with weight_decay, clip_norm, momentum, beta1, beta2, epsilon;
        None is the value that conf/optimizer has for it.
    order: reshuffle, once, none, sorted, source, replacement. last_batch: keep or drop a short one.
    micro_batches: that a batch is cut into; accumulate: by_examples, mean_of_means or sum of their reduced gradients.

    Budget: training ends with the first of epochs, updates and train_seconds that is spent; None is no limit.
    target: mean cost per example, on target_on (train or validation), at which a replica ends.

    Replicas and arithmetic
    seeds: number of replicas R; a sweep also takes "auto". first_replica: replicas first_replica ... R - 1 are trained.
        seed: the root of all randomness. dtype: float64 or float32. engine: vectorized, per_example or compiled.
        threads: of BLAS; compiled: replicas at a time. diagnostics: off, cheap or full.

    A key of conf/ without a keyword is given by its full name, in a mapping: a dict[str, Any], for a type checker.
    Raises ConfigError, a ValueError of one line, before anything is trained.

    >>> import harness
    >>> result = harness.train("iris", batch_size=16, learning_rate=0.5, epochs=20)
    >>> result.outcome, result.weights["W0"].shape
    ('completed', (10, 4, 32))
    >>> history = result.history()
    >>> bool(history["train_cost"].iloc[-1] < history["train_cost"].iloc[0])
    True
    >>> from typing import Any
    >>> settings: dict[str, Any] = {"dataset.load.n_samples": 500, "batch_size": 4}
    >>> harness.train("blobs", epochs=1, **settings).config.dataset.load["n_samples"]
    500
    """
    _refuse(more, "train((X, y), batch_size=64)")
    plan = planned([{}], dataset, settings)
    (cell,) = plan.cells
    check_together([cell.config], sweep=False)
    _warn_of_clipped(plan.cells)
    _warn_of_data(plan.cells)
    with SweepProgress(1) as progress:
        for note in plan.notes:
            progress.tell(f"data: {note}")
        return _trained(cell, plan.load(cell.config.dataset), progress)


@with_grid_and_keywords(keywords)
def sweep(grid: Grid | Sequence[Grid], dataset: Data = "digits", *more: object, **settings: Any) -> Sweep:
    """Train every cell of a grid, one after the other, and compare them.

    The cells, signatures and bits are those of `python -m harness -m` with the same keys. Nothing is written to disk:
    for MLflow, all cores, or to go on after an interrupt, use the command line.

    grid: a mapping from keys to lists of values: the cells are their product. A list of mappings is several grids, one
        after the other. Keys are the keywords of `train`, or full names ("model.hidden", "dataset.load.n_samples").
    dataset, settings: what all cells share; see `harness.train`. A mapping of settings is a dict[str, Any].

    Cells that come to the same (a batch size of N and "full") are one. Replica r has the same split, initial weights
    and order of examples in every cell.
    seeds="auto": all cells have 10 replicas at first (or as many as can resolve the comparisons); those whose
        comparisons are unresolved get about twice as many, until they are resolved, a cell has seeds_at_most, or
        seeds_at_most_seconds are over. The p-values are corrected for these looks.
    Raises ConfigError, a ValueError of one line, before anything is trained; what a training raises ends the sweep.

    >>> import harness
    >>> sweep = harness.sweep({"batch_size": [8, "full"], "learning_rate": [0.1, 1.0]}, "iris", seeds=3, epochs=5)
    >>> sweep.cells["label"].to_list()
    ['iris B=8 η=0.1 mean', 'iris B=8 η=1 mean', 'iris B=90 η=0.1 mean', 'iris B=90 η=1 mean']
    >>> histories = sweep.histories  # tidy: one row per cell, replica and checkpoint
    >>> sorted(sweep.figures())
    ['clocks', 'learning_rates', 'outcomes', 'slices', 'stability', 'timing', 'to_target']

    Values that belong together are grids of their own:

    >>> pairs = [{"batch_size": [8], "epochs": [2]}, {"batch_size": [64], "epochs": [16]}]
    >>> len(harness.sweep(pairs, "iris", seeds=2))
    2
    """
    _refuse(more, "sweep(grid, (X, y), epochs=10)")
    grids = [grid] if isinstance(grid, Mapping) else grid
    if not (isinstance(grids, list | tuple) and grids and all(isinstance(one, Mapping) for one in grids)):
        raise ConfigError("grid", "a mapping from keys to lists of values, or a list of such mappings", grid)
    plan = planned(grids, dataset, settings)
    _warn_of_clipped(plan.cells)
    _warn_of_data(plan.cells)
    rounds = Rounds(plan.cells, plan.load) if plan.cells[0].config.seeds == "auto" else None
    title = sweep_label([cell.identity.asked for cell in plan.cells])
    about = {"command": plan.command, "cells": str(len(plan.cells))}
    about |= {DATA_NOTES: json.dumps(notes)} if (notes := plan.notes) else {}
    about |= {LOOKS: " ".join(map(str, rounds.looks))} if rounds else {}
    started, trained, results = perf_counter(), list[SweepCell](), list[tuple[GridCell, Result]]()
    parts = rounds.first() if rounds else plan.cells
    while parts:
        with SweepProgress(len(parts)) as progress:
            for note in [] if trained else plan.notes:
                progress.tell(f"data: {note}")
            for part in parts:
                began, result = perf_counter(), _trained(part, plan.load(part.config.dataset), progress)
                trained.append(_finished(part, result, perf_counter() - began))
                results.append((part, result))
        blocks = _blocks([part for part, _ in results], plan.load, perf_counter() - started)
        data = sweep_data(title, about, joined(trained), blocks)
        parts = rounds.following(data, progress.tell) if rounds else []
    return Sweep(data, partial(_results, data, results, rounds))


def _results(data: SweepData, trained: Sequence[tuple[GridCell, Result]], rounds: Rounds | None) -> list[Result]:
    """Of each cell the results of its parts as one."""
    if rounds is None:
        return [result for _, result in trained]
    of_cell: dict[str, list[Result]] = {}
    for part, result in trained:
        of_cell.setdefault(rounds.cell_of[part.signature].signature, []).append(result)
    return [result_of(row, parts) for row, parts in zip(data.cells.to_dict("records"), of_cell.values(), strict=True)]


def _finished(cell: GridCell, result: Result, seconds: float) -> SweepCell:
    """seconds: wall seconds that it took."""
    return SweepCell(
        cell.identity, "FINISHED", result.outcome, summary=result.summary | {WALL: seconds},
        replicas=result.replicas(), history=result.history(), arithmetic=json.dumps(arithmetic(cell.config.engine)),
    )  # fmt: skip


class Planned(NamedTuple):
    """What a call asks for. cells: all different. load: gives the data of each. command: the same on a command line.

    notes: what was found out about the data, and done to them.
    """

    cells: list[GridCell]
    load: Loader
    command: str
    notes: list[str]


def planned(grids: Sequence[Mapping[str, Any]], dataset: Any, settings: Mapping[str, Any]) -> Planned:
    """Every cell of the grids, in their order, with the shared settings. ConfigError: one cannot be trained."""
    fixed = dict(settings)
    column = fixed.pop("target_column", None)
    keys = {full_name(key) for mapping in (fixed, *grids) for key in mapping}
    if isinstance(goal := fixed.get("target"), str):
        raise ConfigError("target", "a cost per example (target_column names the column to predict)", goal)
    named = isinstance(dataset, str)
    if named and column is not None:
        allowed = "None, because only a DataFrame has columns (of dataset=file it is dataset.load.target)"
        raise ConfigError("target_column", allowed, column)
    if named and "dataset" not in keys:
        fixed["dataset"] = dataset
    load = load_dataset if named else _loader(dataset, column, keys)
    commands = [["-m", *words_of(varied, fixed)] for varied in grids]
    configs = [config for words in commands for config in _composed(words)]
    if not named:
        configs = [_with_data(config, keys, load) for config in configs]
    check_together(configs, sweep=True)
    lines = [shlex.join(["python", "-m", "harness", *words]) for words in commands]
    command = " && ".join(lines if named else [f"{line} (on data from Python)" for line in lines])
    cells = grid.grid([(config, []) for config in configs], load)
    return Planned(cells, load, command, grid.data_notes(cells))


def _composed(words: list[str]) -> list[Config]:
    """The configurations, checked. What is refused says all in its line: no traceback of Hydra's comes with it."""
    try:
        found = configurations(words)
    except ConfigError as refused:
        raise refused from None
    for config in found:
        check(config)
    return found


def _loader(data: Any, column: Any, keys: set[str]) -> Loader:
    """Gives the examples of the program in place of those that a configuration names."""
    if loaders := [key for key in keys if key == "dataset" or ".load." in key]:
        raise ConfigError(loaders[0], "no loader beside data from Python", loaders[0])
    examples = cache(lambda task, options: in_memory(data, task, column, options=options))
    return lambda config: examples(config.task if "dataset.task" in keys else None, TableOptions.of(config))


def _with_data(config: Config, keys: set[str], load: Loader) -> Config:
    """The configuration of a cell on data from Python. It has no loader; signatures hold a digest of the data."""
    found = load(config.dataset)
    name = config.dataset.name if "dataset.name" in keys else found.name
    about = replace(config.dataset, name=name, task=found.task, load={})
    check_parts(found, about.validation_fraction, about.test_fraction)
    return replace(config, dataset=about)


def _refuse(more: tuple[object, ...], usage: str) -> None:
    if more:
        raise TypeError(f"the data is one argument, and every setting has a keyword: write {usage}")


def _warn_of_clipped(cells: Sequence[GridCell]) -> None:
    for said in dict.fromkeys(clipping(cell.config, cell.identity.plan.n_train) for cell in cells):
        if said:
            warnings.warn(said, stacklevel=3)


def _warn_of_data(cells: Sequence[GridCell]) -> None:
    for note in dict.fromkeys(note for cell in cells for note in cell.notes if isinstance(note, Doubt)):
        warnings.warn(f"data: {note}", stacklevel=3)


def _trained(cell: GridCell, dataset: Dataset, progress: SweepProgress) -> Result:
    """Train a cell in this process."""
    run = Cell(cell.config, dataset)
    with closing(run.train()) as records:  # after an interrupt BLAS has its threads again at once
        for record in records:
            progress.show(cell.label, run.plan, run.budget, record)
    progress.next_cell()
    trained, config = run.result(), cell.config
    history, replicas = tables.history(trained, config), tables.replicas(trained, config)
    outcome, summary = str(tables.cell_outcome(replicas)), tables.summary(trained, replicas)
    arrays = weights(trained.parameters)
    columns = tables.columns_text(trained)
    return Result(cell.label, cell.signature, config, outcome, summary, arrays, history, replicas, columns)


def _blocks(trained_cells: Sequence[GridCell], load: Loader, trained: float) -> "pd.DataFrame | None":
    """Time the updates of all cells in turns. trained: wall seconds. An interrupt ends this and no more."""
    cells = {cell.signature: (cell.config, cell.identity.plan) for cell in trained_cells}
    try:
        return time_updates(cells, load, pass_seconds(trained), np.random.default_rng(SEED))
    except (Exception, KeyboardInterrupt) as error:
        warnings.warn(f"seconds were not measured ({error!r}): nothing is concluded from them", stacklevel=3)
        return None
