"""The cells that a call asks for: configurations that are checked, each with its data."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

from harness.api.words import full_name, words_of
from harness.app import configurations
from harness.config import Config, ConfigError, check
from harness.data import Dataset, check_parts, in_memory
from harness.sweep import load_dataset


class Planned(NamedTuple):
    """A cell before it is trained."""

    config: Config
    dataset: Dataset


def planned(grids: Sequence[Mapping[str, Any]], dataset: Any, settings: Mapping[str, Any]) -> list[Planned]:
    """Every cell of the grids, in their order, with the settings that all share. Raises ConfigError for any of them."""
    fixed = dict(settings)
    column = fixed.pop("target_column", None)
    keys = {full_name(key) for mapping in (fixed, *grids) for key in mapping}
    if isinstance(dataset, str):
        if column is not None:
            allowed = "None, because only a DataFrame has columns (of dataset=file it is dataset.load.target)"
            raise ConfigError("target_column", allowed, column)
        fixed |= {} if "dataset" in keys else {"dataset": dataset}
        with_data: Callable[[Config], Planned] = _by_name
    else:
        with_data = _given(dataset, column, keys)
    configs = [config for grid in grids for config in configurations(["-m", *words_of(grid, fixed)])]
    for config in configs:
        check(config)
    return [with_data(config) for config in configs]


def _by_name(config: Config) -> Planned:
    return Planned(config, load_dataset(config.dataset))


def _given(data: Any, column: Any, keys: set[str]) -> Callable[[Config], Planned]:
    """Puts the data in place of the dataset that a configuration has. There is no loader; signatures hold a digest."""
    if loaders := [key for key in keys if key == "dataset" or ".load." in key]:
        raise ConfigError(loaders[0], "no loader beside data from Python", loaders[0])
    examples = cache(lambda task: in_memory(data, task, column))

    def with_data(config: Config) -> Planned:
        found = examples(config.dataset.task if "dataset.task" in keys else None)
        name = config.dataset.name if "dataset.name" in keys else found.name
        about = replace(config.dataset, name=name, task=found.task, load={})
        check_parts(found, about.validation_fraction, about.test_fraction)
        return Planned(replace(config, dataset=about), replace(found, name=name))

    return with_data
