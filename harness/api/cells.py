"""The cells that a call asks for: configurations that are checked, each with its data."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from harness.api.words import full_name, words_of
from harness.app import configurations
from harness.config import Config, ConfigError, DatasetConfig, check
from harness.data import Dataset, check_parts, in_memory
from harness.runs import GridCell, grid, load_dataset

Loader = Callable[[DatasetConfig], Dataset]


def planned(
    grids: Sequence[Mapping[str, Any]], dataset: Any, settings: Mapping[str, Any]
) -> tuple[list[GridCell], Loader]:
    """The different cells of the grids, in their order, with the settings that all share; and what loads their data.

    Raises ConfigError for any cell that cannot be trained.
    """
    fixed = dict(settings)
    column = fixed.pop("target_column", None)
    keys = {full_name(key) for mapping in (fixed, *grids) for key in mapping}
    named = isinstance(dataset, str)
    if named and column is not None:
        allowed = "None, because only a DataFrame has columns (of dataset=file it is dataset.load.target)"
        raise ConfigError("target_column", allowed, column)
    if named and "dataset" not in keys:
        fixed["dataset"] = dataset
    load = load_dataset if named else _loader(dataset, column, keys)
    configs = [config for varied in grids for config in configurations(["-m", *words_of(varied, fixed)])]
    for config in configs:
        check(config)
    if not named:
        configs = [_with_data(config, keys, load) for config in configs]
    return grid.grid([(config, []) for config in configs], load), load


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
