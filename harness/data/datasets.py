"""A checked dataset, from a function that a configuration names or from Python: the same values, the same digest."""

import inspect
import socket
import warnings
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from typing import Any

from harness.config import ConfigError, DatasetConfig
from harness.data.bundled import kept_dataset
from harness.data.checks import Dataset, Tables, checked, tables_of
from harness.data.columns import one_line, take_columns, word
from harness.data.inputs import TableOptions
from harness.data.loaders import check_arguments, check_stored_path, offline, resolve
from harness.data.parts import check_parts
from harness.data.targets import likely_task
from harness.network import raised_by

DEFAULTS = {"return_X_y": True, "n_retries": 1, "delay": 0.05}  # given to a loader that has them; delay in seconds
REFUSALS = (TypeError, ValueError, LookupError, OverflowError, OSError, MemoryError, ImportError)  # of arguments
RETRIES = ("n_retries", "delay")
MOST_TRIED = 5  # columns that are looked at as targets, from the last one on
MOST_CELLS = 10_000_000  # of a table in which they are looked for: it takes seconds
SILENT_SECONDS = 10.0  # seconds that a server may stay silent during a download


def load(config: DatasetConfig) -> Dataset:
    """Call `config.load['_target_']` with the other entries of `config.load` and check what it returns.

    The function returns (X, y) or a Bunch, as arrays or as pandas frames. Raises ConfigError for one that is not
    allowed or refuses its arguments, a download without a network, and examples that cannot be trained on.
    """
    return kept_dataset(config, partial(_load, config))


def _load(config: DatasetConfig) -> Dataset:
    tables = tables_of(_call(config), "dataset.load._target_", "a function that returns (X, y)")
    try:
        return _divisible(config, tables)
    except ConfigError as refused:
        raise ConfigError(refused.key, refused.allowed + _further(refused, config, tables), refused.received) from None


def _divisible(config: DatasetConfig, tables: Tables) -> Dataset:
    dataset = checked(config.name, config.task, tables, TableOptions.of(config, _drop_key(config)))
    check_parts(dataset, config.validation_fraction, config.test_fraction)
    return dataset


def _further(refused: ConfigError, config: DatasetConfig, tables: Tables) -> str:
    """What else to type: keys that a refusal's own will ask for, and a target if none was given and one would do."""
    also = ""
    if refused.key == "dataset.missing_targets":
        try:
            _divisible(replace(config, missing_targets="drop"), tables)
        except ConfigError as then:
            also = f"; then {then.key}: {then.allowed}"
        else:
            return ""
    return also + _another_target(config, tables) * bool(_drop_key(config) and config.load.get("target") is None)


def _another_target(config: DatasetConfig, tables: Tables) -> str:
    """The key of the last column that could be predicted instead; "" if there is none, or the table is large."""
    if tables.inputs.size > MOST_CELLS:
        return ""
    for name in list(tables.inputs.columns)[: -MOST_TRIED - 1 : -1]:
        other = tables._replace(inputs=tables.inputs.drop(columns=name), targets=tables.inputs[[name]], notes=())
        for missing in dict.fromkeys((config.missing_targets, "drop")):
            with suppress(ConfigError):
                found = _divisible(replace(config, missing_targets=missing), other)
                if not any(note.startswith("the target") and "numbers the rows" in note for note in found.notes):
                    drop = " dataset.missing_targets=drop" * (missing != config.missing_targets)
                    return f"; {word('dataset.load.target', name)}{drop} predicts another column"
    return ""


def load_stored(config: DatasetConfig) -> Dataset:
    """`load` of a configuration that comes from a store: it reads ordinary files only and downloads nothing.

    Data in scikit-learn's own folder of downloads is used: that folder is the user's.
    """
    check_stored_path(config.load)
    patient = {key: DEFAULTS[key] for key in RETRIES if key in config.load}
    with offline():
        return load(replace(config, load=config.load | patient))


def _drop_key(config: DatasetConfig) -> str:
    """The key of the loader that leaves columns out, if it has one."""
    return "dataset.load.drop" * ("drop" in inspect.signature(resolve(config.load.get("_target_"))).parameters)


def _call(config: DatasetConfig) -> Any:
    """Call the function that `_target_` names. Its warnings, scikit-learn's about retrying a download, are hidden."""
    from http.client import HTTPException
    from urllib.error import URLError

    function = resolve(config.load.get("_target_"))
    arguments = _arguments(function, config.load)
    try:
        with warnings.catch_warnings(), ExitStack() as after:
            warnings.simplefilter("ignore")
            after.callback(socket.setdefaulttimeout, socket.getdefaulttimeout())
            socket.setdefaulttimeout(SILENT_SECONDS)  # scikit-learn has no such setting
            return function(**arguments)
    except ConfigError:
        raise
    except (URLError, ConnectionError, TimeoutError, HTTPException) as error:
        from sklearn.datasets import get_data_home

        name, folder = arguments.get("name", config.name), get_data_home()
        allowed = (
            f"a network, because dataset {name} must be downloaded and there is no network or no answer (once fetched "
            f"it is kept in scikit-learn's data folder {folder}; a bundled dataset such as digits needs none)"
        )
        raise ConfigError("dataset.load", allowed, one_line(error)) from error
    except Exception as error:
        found = raised_by(error)
        if found is None and not isinstance(error, REFUSALS):
            raise
        target = config.load["_target_"]
        allowed = f"{target} to return (X, y) ({found[1]})" if found else f"arguments that {target} accepts"
        raise ConfigError("dataset.load", allowed, one_line(error)) from error


def _arguments(function: Callable[..., Any], load: dict[str, Any]) -> dict[str, Any]:
    """The arguments in `load`, and the DEFAULTS that the function has and `load` does not mention."""
    parameters = inspect.signature(function).parameters
    given = {key: value for key, value in load.items() if key != "_target_"}
    if unset := [key for key, value in given.items() if value == "???"]:
        raise ConfigError(f"dataset.load.{unset[0]}", "a value, it has no default", "???")
    check_arguments(load["_target_"], function, given)
    return {key: value for key, value in DEFAULTS.items() if key in parameters} | given


def in_memory(
    data: Any,
    task: str | None = None,
    target_column: Any = None,
    name: str = "data",
    options: TableOptions | None = None,
) -> Dataset:
    """The examples in (X, y), in a DataFrame or in a scikit-learn Bunch; copies nothing that has the right type.

    X (n, D), y (n,) or (n, K): arrays, or of pandas. Of a lone DataFrame y is `target_column`, a name or a list of
    names (the last column unless given), and X the others. Without `task`, text, truth values and integers of at most
    20 different values are labels of a classification; floats with fractions or with more different values, and several
    columns, are targets of a regression; others need a task. Raises ConfigError for data that cannot be trained on.
    """
    import pandas as pd

    if isinstance(data, pd.DataFrame):
        data = take_columns(data, target_column, "target_column", "the DataFrame")
    elif target_column is not None:
        raise ConfigError("target_column", "None, because only a DataFrame has columns by name", target_column)
    tables = tables_of(data, "dataset", "a dataset's name, (X, y), a DataFrame or a scikit-learn Bunch")
    return checked(name, task or _certain_task(tables.targets), tables, options or TableOptions())


def _certain_task(targets: Any) -> str:
    """The task that these targets (n, K) mean. Raises ConfigError where they may mean either."""
    task, certain = likely_task(targets)
    if not certain:
        values = targets.iloc[:, 0].dropna()
        found = f"{values.nunique()} different values of type {values.dtype}"
        raise ConfigError("task", "classification or regression, because these targets may mean either", found)
    return task
