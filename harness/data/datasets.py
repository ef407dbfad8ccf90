"""Calls the function that a configuration names, scikit-learn's or a reader of files, and checks what it returns.

The heavy libraries are imported where they are used: a file is refused without loading scikit-learn.
"""

import inspect
import pkgutil
import re
import socket
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from harness.config import ConfigError, DatasetConfig
from harness.data.checks import Dataset, check_parts, checked, tables_of
from harness.data.files import one_line

READ_FILE, MAKE_BLOCKS = "harness.data.files.read_file", "harness.data.blocks.make_blocks"
LOADERS = re.compile(rf"sklearn\.datasets\.(load|make|fetch)_\w+|{re.escape(READ_FILE)}|{re.escape(MAKE_BLOCKS)}")
DEFAULTS = {"return_X_y": True, "n_retries": 1, "delay": 0.05}  # given to a loader that has them; delay in seconds
SILENT_SECONDS = 10.0  # seconds that a server may stay silent during a download


def load(config: DatasetConfig) -> Dataset:
    """Call `config.load['_target_']` with the other entries of `config.load` and check what it returns.

    The function returns (X, y) or a Bunch with data and target, as arrays or as pandas frames. Raises ConfigError for
    a function that is not allowed or refuses its arguments, a download without a network, and examples that cannot be
    trained on. Not checked: whether inputs are informative, whether examples repeat.
    """
    dataset = checked(config.name, config.task, *tables_of(_call(config)))
    check_parts(dataset, config.validation_fraction, config.test_fraction)
    return dataset


# Calling the function that `_target_` names.


def _call(config: DatasetConfig) -> Any:
    """What the loader returns. Its warnings are hidden: scikit-learn's are about retrying a download."""
    from http.client import HTTPException
    from urllib.error import URLError

    function = _resolve(config.load.get("_target_"))
    arguments = _arguments(function, config.load)
    try:
        with warnings.catch_warnings(), _socket_timeout(SILENT_SECONDS):
            warnings.simplefilter("ignore")
            return function(**arguments)
    except ConfigError:
        raise
    except (URLError, ConnectionError, TimeoutError, HTTPException) as error:
        raise _no_network(arguments.get("name", config.name), arguments, error) from error
    except (TypeError, ValueError, OSError, MemoryError, ImportError) as error:
        allowed = f"arguments that {config.load['_target_']} accepts"
        raise ConfigError("dataset.load", allowed, one_line(error)) from error


def _resolve(target: object) -> Callable[..., Any]:
    allowed = (
        "sklearn.datasets.load_* | make_* | fetch_*, harness.data.files.read_file or harness.data.blocks.make_blocks"
    )
    if not (isinstance(target, str) and LOADERS.fullmatch(target)):
        raise ConfigError("dataset.load._target_", allowed, target)
    try:
        return pkgutil.resolve_name(target)
    except (ImportError, AttributeError) as error:
        raise ConfigError("dataset.load._target_", f"a function that exists: {allowed}", target) from error


def _arguments(function: Callable[..., Any], load: dict[str, Any]) -> dict[str, Any]:
    """The arguments in `load`, and the DEFAULTS that the function has and `load` does not mention."""
    parameters = inspect.signature(function).parameters
    given = {key: value for key, value in load.items() if key != "_target_"}
    for key, value in given.items():
        if value == "???":
            raise ConfigError(f"dataset.load.{key}", "a value, it has no default", value)
    return {key: value for key, value in DEFAULTS.items() if key in parameters} | given


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    """Sockets that are opened meanwhile give up after so many silent seconds; scikit-learn has no such setting."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _no_network(name: str, arguments: dict[str, Any], error: Exception) -> ConfigError:
    from sklearn.datasets import get_data_home

    folder = get_data_home(arguments.get("data_home"))
    allowed = (
        f"a network, because dataset {name} must be downloaded and there is no network or no answer (once fetched it "
        f"is kept in scikit-learn's data folder {folder}; a bundled dataset such as digits needs none)"
    )
    return ConfigError("dataset.load", allowed, one_line(error))
