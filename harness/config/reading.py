"""A configuration from the plain values of a YAML file, checked key by key: the file may come from anywhere."""

from dataclasses import fields
from typing import Any

from harness.config.schema import Config, ConfigError, DatasetConfig, ModelConfig, OptimizerConfig, check

PARTS: dict[str, Any] = {"dataset": DatasetConfig, "model": ModelConfig, "optimizer": OptimizerConfig}
TYPES = {"name": str, "load": dict, "resample": bool, "study": dict}  # of what `check` has no rule for


def config_from(tree: object) -> Config:
    """The configuration that a config.yaml holds, checked. Raises ConfigError, for every key too many or too few."""
    values = _exactly(tree, Config, "")
    parts = {name: kind(**_exactly(values[name], kind, f"{name}.")) for name, kind in PARTS.items()}
    config = Config(**(values | parts))
    check(config)
    return config


def _exactly(tree: object, kind: Any, prefix: str) -> dict[str, Any]:
    """A dictionary with the fields of a dataclass as its keys, none more, none less."""
    if not isinstance(tree, dict):
        raise ConfigError("config.yaml", f"keys and values in {prefix or 'the file'}", tree)
    names = {field.name for field in fields(kind)}
    unknown, missing = sorted(map(str, tree.keys() - names)), sorted(names - tree.keys())
    if unknown or missing:
        said = [("unknown", unknown), ("missing", missing)]
        found = "; ".join(f"{word} {', '.join(prefix + key for key in keys)}" for word, keys in said if keys)
        raise ConfigError("config.yaml", "the keys of this version (the run was made by one with other keys)", found)
    for key, value in tree.items():
        if key in TYPES and prefix in ("", "dataset.") and not isinstance(value, TYPES[key]):
            raise ConfigError(f"config.yaml: {prefix}{key}", f"a {TYPES[key].__name__}", value)
    return tree
