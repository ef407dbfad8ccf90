"""The cells that a call asks for: configurations that are checked, each with its data."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

from harness.api.keywords import full_name, words_of
from harness.app import configurations
from harness.config import Config, ConfigError, DatasetConfig, check
from harness.data import Dataset, check_parts, in_memory
from harness.runs import GridCell, grid, load_dataset

Loader = Callable[[DatasetConfig], Dataset]


class Planned(NamedTuple):
    """What a call asks for. cells: all different. load: gives the data of each. command: the same on a command line."""

    cells: list[GridCell]
    load: Loader
    command: str


def planned(grids: Sequence[Mapping[str, Any]], dataset: Any, settings: Mapping[str, Any]) -> Planned:
    """Every cell of the grids, in their order, with the settings that all share.

    Raises ConfigError for a cell that cannot be trained.
    """
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
    lines = [shlex.join(["python", "-m", "harness", *words]) for words in commands]
    command = " && ".join(lines if named else [f"{line} (on data from Python)" for line in lines])
    return Planned(grid.grid([(config, []) for config in configs], load), load, command)


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
    examples = cache(lambda task: in_memory(data, task, column))
    return lambda config: examples(config.task if "dataset.task" in keys else None)


def _with_data(config: Config, keys: set[str], load: Loader) -> Config:
    """The configuration of a cell on data from Python. It has no loader; signatures hold a digest of the data."""
    found = load(config.dataset)
    name = config.dataset.name if "dataset.name" in keys else found.name
    about = replace(config.dataset, name=name, task=found.task, load={})
    check_parts(found, about.validation_fraction, about.test_fraction)
    return replace(config, dataset=about)
