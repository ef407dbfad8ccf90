"""Python's names and values as the words of a command line: `batch_size=1,64`.

Values go through the same words as on the command line, so a configuration is put together in one place, from one set
of defaults (conf/), and refused in one way.
"""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from harness.api.keywords import keyword_names
from harness.config import ConfigError, DatasetConfig, ModelConfig, OptimizerConfig

PARTS = {"dataset": DatasetConfig, "model": ModelConfig, "optimizer": OptimizerConfig}
# A keyword of a part is written without the part's name: hidden is model.hidden.
FULL_NAMES = {
    field.name: f"{part}.{field.name}"
    for part, kind in PARTS.items()
    for field in fields(kind)
    if field.name not in ("name", "load")
}
PLAIN = re.compile(r"(?!(null|true|false|nan|inf)$)[a-z][a-z0-9_]*")  # text that is text without quotes


def words_of(grid: Mapping[str, Any], fixed: Mapping[str, Any]) -> list[str]:
    """`key=value` of what all cells share, then `key=value,value` of the grid. Raises ConfigError.

    Of a part's keywords None stands for the value that the chosen dataset, model or optimizer has.
    """
    shared = [(full_name(key), value) for key, value in fixed.items() if not (value is None and key in FULL_NAMES)]
    varied = [(full_name(key), _values(key, values)) for key, values in grid.items()]
    keys = [key for key, _ in (*shared, *varied)]
    if repeated := [key for key in keys if keys.count(key) > 1]:
        raise ConfigError(repeated[0], "each key once, in the grid or as a keyword", f"{repeated[0]} twice")
    alone = [f"{key}={_word(key, _single(key, value))}" for key, value in shared]
    return alone + [f"{key}={','.join(_word(key, value) for value in values)}" for key, values in varied]


def full_name(key: str) -> str:
    """The configuration's key for a keyword or for itself: hidden and model.hidden are model.hidden."""
    known = keyword_names()
    if key in FULL_NAMES or key in known:
        return FULL_NAMES.get(key, key)
    if "." in key and key.removeprefix("+").split(".")[0] in PARTS:
        return key  # Hydra knows what there is
    closest = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    hint = f"did you mean {closest[0]}? " if closest else ""
    raise ConfigError(key, f"a known keyword ({hint}help(harness.train) lists them)", key)


def _values(key: str, values: Any) -> list[Any]:
    """The values of a key in a grid."""
    if isinstance(values, str | Mapping) or not isinstance(values, Iterable):
        raise ConfigError(key, "a list of values in the grid (a value that all cells share is a keyword)", values)
    listed = list(values)
    if not listed:
        raise ConfigError(key, "at least one value in the grid", listed)
    return listed


def _single(key: str, value: Any) -> Any:
    may_be_list = key == "model.hidden" or ("." in key and key not in FULL_NAMES.values())
    if isinstance(value, list | tuple) and not may_be_list:
        raise ConfigError(key, "one value (harness.sweep trains a cell for each of several)", value)
    return value


def _word(key: str, value: Any) -> str:
    if key in PARTS and not isinstance(value, str):
        raise ConfigError(key, "a name; its settings are keywords of their own", value)
    return _text(key, value)


def _text(key: str, value: Any) -> str:
    """A value in Hydra's grammar; text that is no plain word is quoted, so that nothing in it counts as grammar."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int | float):
        return float.__repr__(value) if isinstance(value, float) else int.__repr__(value)  # plain for NumPy's, too
    if isinstance(value, str):
        if PLAIN.fullmatch(value):
            return value
        return "'" + re.sub(r"(\\*)('|$)", lambda found: 2 * found[1] + found[2].replace("'", r"\'"), value) + "'"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{name}:{_text(key, item)}" for name, item in value.items()) + "}"
    if isinstance(value, Sequence):
        return "[" + ",".join(_text(key, item) for item in value) + "]"
    if hasattr(value, "tolist"):  # of NumPy
        return _text(key, value.tolist())
    raise ConfigError(key, "a number, text, a truth value, None, or a list of these", value)
