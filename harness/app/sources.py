"""The user's datasets and optimisers as options of the groups `dataset` and `optimizer`, as if conf/ had them."""

import inspect
from typing import Any

from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigResult, ConfigSource
from omegaconf import OmegaConf

from harness.config import ConfigError
from harness.data import DATASETS, EXTENSION
from harness.network import OPTIMIZERS, ExtensionError, Table

TABLES: dict[str, Table[Any]] = {"dataset": DATASETS, "optimizer": OPTIMIZERS}


class Extensions(ConfigSource):  # type: ignore[misc]
    """GROUP/NAME for each of the extensions; what conf/ has is found before."""

    @staticmethod
    def scheme() -> str:
        return "extensions"

    def available(self) -> bool:
        return True

    def is_group(self, config_path: str) -> bool:
        return config_path in ("", *TABLES)

    def is_config(self, config_path: str) -> bool:
        group, _, name = config_path.removesuffix(".yaml").partition("/")
        return group in TABLES and name in _names(TABLES[group])

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        kind = ObjectType.CONFIG if config_path else ObjectType.GROUP
        names = _names(TABLES[config_path]) if config_path in TABLES else [] if config_path else [*TABLES]
        return names if results_filter in (None, kind) else []

    def load_config(self, config_path: str) -> ConfigResult:
        group, _, name = config_path.removesuffix(".yaml").partition("/")
        try:
            own = OPTIONS[group](name, TABLES[group][name])
        except ExtensionError as error:
            raise ConfigError(group, "an extension that can be used", str(error)) from error
        config = OmegaConf.create({"defaults": [f"/every_{group}@_here_", "_self_"], "name": name, **own})
        return ConfigResult(self.provider, self.full_path(), config, header={"package": None})


def _names(table: Table[Any]) -> list[str]:
    return [name for name in table.names() if name not in table]


def _dataset(name: str, function: Any) -> dict[str, Any]:
    """The arguments of the function with their defaults; one without a default must be given."""
    defaults = {
        p.name: "???" if p.default is p.empty else p.default for p in inspect.signature(function).parameters.values()
    }
    return {"task": None, "load": {"_target_": f"{EXTENSION}{name}", **defaults}}


def _optimizer(_: str, rule: Any) -> dict[str, Any]:
    return {key: getattr(rule, key) for key in rule.hyperparameters}


OPTIONS = {"dataset": _dataset, "optimizer": _optimizer}
