"""What cells and sweeps are called: a cell by its three knobs and whatever else tells it apart from its siblings."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from harness.config import Config, flatten

ALWAYS = ("dataset.name", "batch_size", "learning_rate", "reduction")


def varied_keys(configs: Sequence[Config]) -> list[str]:
    """The flat keys in which the cells of a sweep differ; a group's name stands for all keys that follow from it."""
    flat = [flatten(asdict(config)) for config in configs]
    keys = dict.fromkeys(key for values in flat for key in values)
    return [
        key
        for key in keys
        if any(values.get(key) != flat[0].get(key) for values in flat) and not _follows_from_the_name(key, flat)
    ]


def _follows_from_the_name(key: str, flat: Sequence[dict[str, Any]]) -> bool:
    """dataset.load.noise from dataset.name, unless two datasets of one name differ in it."""
    name = f"{key.split('.')[0]}.name"
    if name == key or name not in flat[0]:
        return False
    found: dict[object, object] = {}
    return all(found.setdefault(values[name], values.get(key)) == values.get(key) for values in flat)


def distinguishing(varied: Sequence[str]) -> list[str]:
    """Of the keys that vary, those that a name needs besides the ones it always has."""
    return [key for key in varied if key not in ALWAYS]


def cell_label(config: Config, varied: Sequence[str]) -> str:
    """`digits B=64 η=0.1 mean`, then `key=value` for what else varies."""
    values = flatten(asdict(config))
    extra = [f"{short_name(key)}={_text(values.get(key))}" for key in distinguishing(varied)]
    knobs = [config.dataset.name, f"B={config.batch_size}", f"η={config.learning_rate:g}", config.reduction]
    return " ".join([*knobs, *extra])


def sweep_label(configs: Sequence[Config]) -> str:
    """`digits: batch_size=1,64,512`, or the study's name in front."""
    datasets = ", ".join(dict.fromkeys(config.dataset.name for config in configs))
    keys = [key for key in varied_keys(configs) if key in ALWAYS[1:]] + distinguishing(varied_keys(configs))
    grid = " ".join(f"{short_name(key)}={_values(configs, key)}" for key in keys)
    study = configs[0].study.get("name")
    return " ".join(part for part in (study and f"{study}:", datasets, grid) if part)[:250]


def short_name(key: str) -> str:
    """optimizer.name -> optimizer; model.hidden -> hidden."""
    return key.removesuffix(".name").split(".")[-1]


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _values(configs: Sequence[Config], key: str) -> str:
    values = list(dict.fromkeys(_text(flatten(asdict(config)).get(key)) for config in configs))
    return ",".join(values if len(values) <= 8 else [*values[:7], f"({len(values)} values)"])
