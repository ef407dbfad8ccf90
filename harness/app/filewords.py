"""Words of the command line that name a file or its columns: what to type where Hydra could not read them."""

import difflib
import inspect
from pathlib import Path

from harness.config import ConfigError
from harness.data import DATASETS, columns

LISTS = ("target", "inputs", "drop", "missing")  # arguments that may be several
LOAD = "dataset.load."


def unquoted(word: str) -> ConfigError | None:
    """The refusal of a word about a file that Hydra's grammar does not have, with the quotes that help; else None."""
    key, _, value = (part.strip() for part in word.partition("="))
    if key == "dataset":
        return no_dataset(value) if looks_like_a_file(value) else None
    if not key.startswith(LOAD):
        return None
    return ConfigError(key, f"quotes around a value with such signs: {columns.word(key, _bare(value))}", value)


def _bare(value: str) -> str | list[str]:
    """The value without what the user may have tried: brackets of a list, quotes."""
    if value.startswith("[") and value.endswith("]"):
        return [item.strip(" '\"") for item in value[1:-1].split(",")]
    return value.strip("'\"")


def looks_like_a_file(option: str) -> bool:
    """Whether `dataset=option` means a file: it has a suffix, or a folder."""
    return bool(Path(option).suffix) or "/" in option or "\\" in option


def no_dataset(option: str) -> ConfigError:
    """The refusal of `dataset=FILE`."""
    return ConfigError("dataset", f"a file as dataset=file {columns.word(f'{LOAD}path', option)}", option)


def listed(key: str, value: str) -> ConfigError | None:
    """The refusal of a,b for an argument that takes several names, in brackets; else None."""
    if key == "dataset" and looks_like_a_file(value):
        return no_dataset(value)
    if not key.startswith(LOAD):
        return None
    names = [name.strip(" '\"") for name in value.split(",")]
    several = f"several as {columns.word(key, names)}, " if key.removeprefix(LOAD) in LISTS else ""
    allowed = f"one value ({several}one with a comma as {columns.word(key, value)})"
    return ConfigError(key, allowed, value)


def unknown_argument(key: str, dataset: str = "file") -> ConfigError:
    """The refusal of an argument that the function of the dataset, which may be an extension, does not have yet."""
    from harness.data import files

    function = files.read_file if dataset == "file" else DATASETS[dataset]
    known = list(inspect.signature(function).parameters)
    near = difflib.get_close_matches(key.removeprefix(LOAD), known, n=1, cutoff=0.5)
    hint = f"did you mean {LOAD}{near[0]}? " if near else ""
    others = f"; +{key} adds one that the function of another dataset has" if dataset == "file" else ""
    arguments = ", ".join(known) or "none"
    allowed = f"an argument that --cfg job lists ({hint}dataset={dataset} has {arguments}{others})"
    return ConfigError(key, allowed, key)
