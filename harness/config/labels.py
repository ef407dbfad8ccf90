"""What cells and sweeps are called: a cell by its three knobs and whatever else tells it apart from its siblings."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from harness.config.schema import Config, flatten

ALWAYS = ("dataset.name", "batch_size", "learning_rate", "reduction")


def varied_keys(configs: Sequence[Config]) -> list[str]:
    """The flat keys in which the cells of a sweep differ, without those that the name of their group decides."""
    flat = [flatten(asdict(config)) for config in configs]
    keys = dict.fromkeys(key for values in flat for key in values)
    return [key for key in keys if any(_differ(key, values, flat[0]) for values in flat) and not _implied(key, flat)]


def _differ(key: str, one: dict[str, Any], other: dict[str, Any]) -> bool:
    return bool(one.get(key) != other.get(key))


def _implied(key: str, flat: Sequence[dict[str, Any]]) -> bool:
    """Whether the name of the key's group decides its value, as adam decides that there is a beta2."""
    name = f"{key.split('.')[0]}.name"
    if key == name or name not in flat[0]:
        return False
    by_name = {values[name]: values for values in flat}
    return not any(_differ(key, values, by_name[values[name]]) for values in flat)


def distinguishing(varied: Sequence[str]) -> list[str]:
    """Of the keys that vary, those that a name needs besides the ones it always has."""
    return [key for key in varied if key not in ALWAYS]


def cell_label(config: Config, varied: Sequence[str]) -> str:
    """`digits B=64 η=0.1 mean`, then `key=value` for what else varies, unless the cell has no such thing (null)."""
    values = flatten(asdict(config))
    named = [key for key in distinguishing(varied) if values.get(key) is not None]
    extra = [f"{short_name(key)}={_text(values[key])}" for key in named]
    knobs = [config.dataset.name, f"B={config.batch_size}", f"η={config.learning_rate:g}", config.reduction]
    return " ".join([*knobs, *extra])


def sweep_label(configs: Sequence[Config]) -> str:
    """`digits batch_size=1,64,512`; of a study, whose grids are many, its name and its data."""
    datasets = ", ".join(dict.fromkeys(config.dataset.name for config in configs))
    if study := configs[0].study.get("name"):
        return f"{study}{' (small)' if configs[0].size == 'small' else ''}: {datasets}"
    keys = [key for key in varied_keys(configs) if key in ALWAYS[1:]] + distinguishing(varied_keys(configs))
    grid = " ".join(f"{short_name(key)}={_values(configs, key)}" for key in keys)
    return f"{datasets} {grid}".strip()[:250]


def short_name(key: str) -> str:
    """optimizer.name -> optimizer; model.hidden -> hidden."""
    return key.removesuffix(".name").split(".")[-1]


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _values(configs: Sequence[Config], key: str) -> str:
    values = list(dict.fromkeys(_text(flatten(asdict(config)).get(key)) for config in configs))
    return ",".join(values if len(values) <= 8 else [*values[:7], f"({len(values)} values)"])
